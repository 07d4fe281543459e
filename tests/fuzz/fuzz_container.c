/* fuzz_container.c - hostile checkpoints in the containers of PyTorch, NumPy and GGUF, down to every number of every tensor.
 *
 * `fuzz_container ROUNDS|SECONDSs SEED FILE...` mutates those files, the same way every time; `fuzz_container FILE...` replays
 * files. With clang -fsanitize=fuzzer -DFUZZ_LIBFUZZER it is a libFuzzer target. Link it with the readers of examples/mim, not
 * with util.c; build with the address and undefined behaviour sanitizers. Archives are taken apart and put together again, so
 * that mutants of what is in them arrive there; pickles are mutated opcode by opcode. What is checked: a refusal gives one
 * reason, tensors are sorted and unique, every number of a tensor can be asked for, and none of it takes long. */
#define _POSIX_C_SOURCE 200809L
#include "../../examples/mim/archive.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void require(int holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "fuzz_container: %s\n", what);
    abort();
}

/* ---- util.c ---- */

static unsigned refusals;

int fail(const char *format, ...)
{
    char line[8192];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    require(length > 0 && length < 2000, "a reason is empty or longer than a line");
    for (int i = 0; i < length; i++) require((unsigned char)line[i] >= 32 && (unsigned char)line[i] < 127, "a reason is not printable");
    refusals++;
    return 1;
}

int in_open(in_file *in, const char *path)
{
    memset(in, 0, sizeof *in);
    return fail("%s: a file was opened", path);
}

void in_close(in_file *in) { (void)in; require(0, "a file was closed"); }

/* ---- one input ---- */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static unsigned opened;
static const char *wrapper;           /* the state dict asked for */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    checkpoint cp;
    float numbers[64];
    char text[160];
    if (bytes == 0) return 0;
    uint8_t *copy = malloc(bytes);                                /* of this size, so that a read beyond it is seen */
    require(copy != NULL, "no memory");
    memcpy(copy, data, bytes);
    double start = seconds();
    refusals = 0;
    int failed = checkpoint_parse(&cp, copy, bytes, "seed", wrapper);
    require(refusals == (failed ? 1 : 0), "a refusal without exactly one reason");
    require(strlen(cp.origin) < sizeof cp.origin, "an origin is too long");
    for (size_t i = 0; i < cp.count && !failed; i++) {
        const tensor *t = &cp.tensors[i];
        require(i == 0 || strcmp(t[-1].name, t->name) < 0, "tensors are not sorted");
        require(checkpoint_find(&cp, t->name) == t, "a tensor is not found");
        tensor_describe(t, text, sizeof text);
        for (uint64_t at = 0; at < t->count && at < 1 << 16;) {
            size_t n = t->count - at < 64 ? (size_t)(t->count - at) : 64;
            if (tensor_read(t, at, n, numbers)) break;
            at += n;
        }
        if (t->count) tensor_read(t, t->count - 1, 1, numbers);
    }
    for (size_t i = 0; i < cp.metadata_count && !failed; i++)
        require(strlen(cp.metadata[i].key) < 65536 && strlen(cp.metadata[i].value) <= bytes + 64, "metadata is not text");
    opened += !failed;
    checkpoint_close(&cp);
    require(seconds() - start < 20, "an input takes too long");
    free(copy);
    return 0;
}

#ifndef FUZZ_LIBFUZZER

/* ---- bytes ---- */

enum { ROOM = 1 << 17 };

typedef struct sample {
    uint8_t data[ROOM];
    size_t bytes;
} sample;

static uint32_t state;

static uint32_t roll(uint32_t below)
{
    state = state * 1664525u + 1013904223u;
    return below ? (uint32_t)((uint64_t)state * below >> 32) : 0;
}

/* Replaces `was` bytes at `at` by these; what does not fit is left out. */
static void splice(sample *s, size_t at, size_t was, const void *bytes, size_t n)
{
    if (at > s->bytes || was > s->bytes - at || n > sizeof s->data - (s->bytes - was)) return;
    memmove(s->data + at + n, s->data + at + was, s->bytes - at - was);
    if (n) memcpy(s->data + at, bytes, n);
    s->bytes += n - was;
}

static void put(sample *s, const void *bytes, size_t n) { splice(s, s->bytes, 0, bytes, n); }

static void put_u(sample *s, uint64_t value, int width)
{
    for (int i = 0; i < width; i++, value >>= 8) put(s, &(uint8_t){ (uint8_t)value }, 1);
}

static uint64_t extreme(void)
{
    static const uint64_t values[] = { 0, 1, 2, 7, 8, 9, 24, 31, 32, 33, 255, 256, 4095, 65535, 65536, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF,
                                       (uint64_t)1 << 32, (uint64_t)1 << 40, (uint64_t)1 << 62, INT64_MAX, (uint64_t)1 << 63, UINT64_MAX - 31, UINT64_MAX };
    return roll(3) ? values[roll(sizeof values / sizeof *values)] : roll(1000);
}

static void mutate_bytes(sample *s)
{
    size_t at = roll((uint32_t)s->bytes), length = 1 + roll(8);
    uint8_t number[8];
    uint64_t value = extreme();
    for (int i = 0; i < 8; i++) number[i] = (uint8_t)(value >> 8 * i);
    switch (roll(7)) {
    case 0: if (s->bytes) s->data[at] ^= (uint8_t)(1u << roll(8)); break;
    case 1: if (s->bytes) s->data[at] = (uint8_t)roll(256); break;
    case 2: if (!roll(4)) s->bytes = at; break;
    case 3: splice(s, at, length, NULL, 0); break;
    case 4: {
        size_t n = (size_t)1 << roll(4);
        splice(s, at, n, number, n);
        break;
    }
    case 5: {                                                     /* a piece from elsewhere */
        uint8_t piece[64];
        size_t from = roll((uint32_t)s->bytes), n = 1 + roll(sizeof piece);
        if (n > s->bytes - from) n = s->bytes - from;
        memcpy(piece, s->data + from, n);
        splice(s, at, roll(2) ? n : 0, piece, n);
        break;
    }
    default: splice(s, at, 0, number, length); break;
    }
}

/* ---- pickles ---- */

/* Where the opcode after `at` begins, or the end. */
static size_t next_opcode(const uint8_t *p, size_t n, size_t at)
{
    static const char one[] = "JK\2M\3G\x09h\2q\2j\5r\5";
    uint8_t op = p[at++];
    uint64_t length = 0;
    if (op == 'c' || op == 'i') {
        for (int lines = 0; lines < 2 && at < n; at++) lines += p[at] == '\n';
        return at;
    }
    if (strchr("SVILFpg", op) && op) {
        while (at < n && p[at++] != '\n') ;
        return at;
    }
    int width = op == 'X' || op == 'T' || op == 'B' || op == 0x8B ? 4 : op == 'U' || op == 'C' || op == 0x8A || op == 0x8C ? 1 :
                op == 0x8D || op == 0x8E || op == 0x96 ? 8 : 0;
    if (width) {
        if (n - at < (size_t)width) return n;
        length = read_le(p + at, (uint32_t)width) + (uint64_t)width;
        return length > n - at ? n : at + (size_t)length;
    }
    size_t more = op == 'J' ? 4 : op == 0x80 ? 1 : op == 0x95 ? 8 : 0;
    for (size_t i = 1; i + 1 < sizeof one; i += 2)
        if (op == (uint8_t)one[i]) more = (size_t)one[i + 1] - 1;
    return more > n - at ? n : at + more;
}

/* One opcode of [from, from + *bytes) of s is replaced, doubled, moved or dropped, or a new one comes in. *bytes follows. */
static void mutate_pickle(sample *s, size_t from, size_t *bytes)
{
#define W(text) { text, sizeof text - 1 }
    static const struct { const char *data; size_t n; } words[] = {
        W("("), W(")"), W("]"), W("}"), W("N"), W("t"), W("l"), W("d"), W("a"), W("e"), W("s"), W("u"), W("R"), W("b"), W("Q"), W("0"),
        W("1"), W("2"), W("o"), W("."), W("\x81"), W("\x92"), W("\x93"), W("\x94"), W("\x85"), W("\x86"), W("\x87"), W("\x8f"), W("\x90"),
        W("\x91"), W("\x88"), W("\x89"), W("h\0"), W("h\1"), W("h\2"), W("h\3"), W("q\0"), W("q\1"), W("q\2"), W("K\0"), W("K\1"), W("K\2"),
        W("K\xff"), W("J\xff\xff\xff\xff"), W("J\0\0\0\x80"), W("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"), W("\x8a\x08\0\0\0\0\0\0\0\x40"),
        W("\x8a\x09\0\0\0\0\0\0\0\0\1"), W("G?\xf0\0\0\0\0\0\0"), W("X\5\0\0\0model"), W("X\7\0\0\0teacher"), W("X\7\0\0\0encoder"),
        W("X\x0e\0\0\0target_encoder"), W("X\11\0\0\0predictor"), W("U\7storage"), W("X\1\0\0\0000"), W("ccollections\nOrderedDict\n"),
        W("ctorch._utils\n_rebuild_tensor_v2\n"), W("ctorch._utils\n_rebuild_tensor_v3\n"), W("ctorch._utils\n_rebuild_tensor\n"),
        W("ctorch._utils\n_rebuild_parameter\n"), W("ctorch._tensor\n_rebuild_from_type_v2\n"), W("ctorch\nFloatStorage\n"),
        W("ctorch\nDoubleStorage\n"), W("ctorch.storage\nUntypedStorage\n"), W("ctorch\nfloat64\n"), W("ctorch\nuint16\n"), W("ctorch\nTensor\n"),
        W("ctorch\nSize\n"), W("cevil\nThing\n"), W("cos\nsystem\n"), W("ievil\nThing\n"), W("I01\n"), W("L5L\n"), W("S'x'\n"), W("Vx\n"),
        W("F1.5\n"), W("p3\n"), W("g3\n"), W("r\0\1\0\0"), W("j\0\1\0\0"), W("\x82\1"), W("\x95\0\0\0\0\0\0\0\0"), W("]q\0h\0a"), W("}q\0h\0h\0s"),
    };
#undef W
    size_t at = from, end = from + *bytes, before = s->bytes;
    uint32_t skip = roll((uint32_t)*bytes / 2 + 1);
    while (at < end && skip--) at = from + next_opcode(s->data + from, *bytes, at - from);
    if (at >= end) at = from + roll((uint32_t)*bytes);
    if (at >= end) return;
    size_t length = from + next_opcode(s->data + from, *bytes, at - from) - at, word = roll(sizeof words / sizeof *words);
    switch (roll(6)) {
    case 0: splice(s, at, length, words[word].data, words[word].n); break;
    case 1: splice(s, at, 0, words[word].data, words[word].n); break;
    case 2: splice(s, at, length, NULL, 0); break;
    case 3: {
        uint8_t copy[256];
        if (length > sizeof copy) break;
        memcpy(copy, s->data + at, length);
        size_t to = from + roll((uint32_t)*bytes);
        splice(s, roll(2) ? at : to, 0, copy, length);
        break;
    }
    case 4:                                                       /* a number or a length within it */
        if (length > 1) s->data[at + 1 + roll((uint32_t)length - 1)] = (uint8_t)extreme();
        break;
    default:
        if (length > 1) s->data[at + 1 + roll((uint32_t)length - 1)] ^= (uint8_t)(1u << roll(8));
        break;
    }
    *bytes += s->bytes - before;
}

/* ---- seeds ---- */

enum { ENTRIES = 48 };

typedef struct seed {
    sample whole;
    archive zip;                      /* without entries: not an archive */
} seed;

static uint32_t crc(const uint8_t *data, size_t n)
{
    uint32_t sum = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        sum ^= data[i];
        for (int k = 0; k < 8; k++) sum = sum >> 1 ^ (sum & 1 ? 0xEDB88320u : 0);
    }
    return ~sum;
}

static int ends_with(const zip_entry *e, const char *tail)
{
    size_t n = strlen(tail);
    return e->name_bytes >= n && memcmp(e->name + e->name_bytes - n, tail, n) == 0;
}

/* The archive again, with one or two of its entries mutated, or a field of a header. */
static void rebuild(const seed *from, sample *out)
{
    static sample part;
    size_t at[ENTRIES], length[ENTRIES], count = from->zip.count < ENTRIES ? from->zip.count : ENTRIES;
    uint32_t chosen = roll((uint32_t)count), sums[ENTRIES], methods[ENTRIES];
    uint64_t unpacked[ENTRIES];
    for (size_t i = 0; i < count && roll(4); i++)
        if (ends_with(&from->zip.entries[i], "data.pkl")) chosen = (uint32_t)i;
    uint32_t fault = roll(8) ? UINT32_MAX : roll((uint32_t)count);
    out->bytes = 0;
    for (size_t i = 0; i < count; i++) {
        const zip_entry *e = &from->zip.entries[i];
        part.bytes = 0;
        put(&part, e->data, (size_t)e->bytes);
        if (i == chosen) {
            size_t bytes = part.bytes;
            int is_pickle = ends_with(e, ".pkl");
            for (uint32_t n = 1 + roll(4); n && part.bytes; n--) {
                if (is_pickle) mutate_pickle(&part, 0, &bytes);
                else mutate_bytes(&part);
            }
        }
        at[i] = out->bytes;
        length[i] = part.bytes;
        methods[i] = e->method;
        unpacked[i] = e->method ? e->unpacked : part.bytes;
        sums[i] = e->method ? e->crc : crc(part.data, part.bytes);
        put(out, "PK\3\4\24\0\0\0", 8);
        put_u(out, methods[i], 2);
        put_u(out, 0, 4);
        put_u(out, sums[i], 4);
        put_u(out, part.bytes, 4);
        put_u(out, unpacked[i], 4);
        put_u(out, e->name_bytes, 2);
        put_u(out, 0, 2);
        put(out, e->name, e->name_bytes);
        put(out, part.data, part.bytes);
    }
    size_t begin = out->bytes;
    for (size_t i = 0; i < count; i++) {
        const zip_entry *e = &from->zip.entries[i];
        uint64_t fields[5] = { methods[i], length[i], unpacked[i], at[i], 0 };
        if (i == fault) fields[roll(5)] = extreme();
        put(out, "PK\1\2\24\0\24\0", 8);
        put_u(out, fields[4], 2);
        put_u(out, fields[0], 2);
        put_u(out, 0, 4);
        put_u(out, sums[i], 4);
        put_u(out, fields[1], 4);
        put_u(out, fields[2], 4);
        put_u(out, e->name_bytes, 2);
        put_u(out, 0, 12);
        put_u(out, fields[3], 4);
        put(out, e->name, e->name_bytes);
    }
    size_t end = out->bytes;
    put(out, "PK\5\6\0\0\0\0", 8);
    put_u(out, count, 2);
    put_u(out, count, 2);
    put_u(out, end - begin, 4);
    put_u(out, begin, 4);
    put_u(out, 0, 2);
    if (!roll(16)) mutate_bytes(out);
}

static void mutate(const seed *from, sample *out)
{
    if (from->zip.count && roll(8)) {
        rebuild(from, out);
        return;
    }
    out->bytes = 0;
    put(out, from->whole.data, from->whole.bytes);
    int is_stream = from->whole.data[0] == 0x80;
    size_t bytes = out->bytes < 2048 ? out->bytes : 2048;         /* headers and pickles come first */
    if (is_stream) {
        const uint8_t *last = NULL;                               /* the object begins at the last PROTO that is near */
        for (size_t i = 0; i + 1 < bytes; i++)
            if (out->data[i] == 0x80 && out->data[i + 1] <= 5) last = last ? last : out->data + i;
        bytes = out->bytes - (size_t)(last - out->data);
        for (uint32_t n = 1 + roll(3); n; n--) mutate_pickle(out, (size_t)(last - out->data), &bytes);
        return;
    }
    for (uint32_t n = 1 + roll(4); n && out->bytes; n--) mutate_bytes(out);
    if (from->whole.bytes > 4 && memcmp(from->whole.data, "GGUF", 4) == 0 && roll(2)) {
        size_t at = roll((uint32_t)bytes);
        uint64_t value = extreme();
        for (size_t i = 0; i < 8 && at + i < out->bytes; i++) out->data[at + i] = (uint8_t)(value >> 8 * i);
    }
}

static int load(sample *s, const char *path)
{
    FILE *in = fopen(path, "rb");
    if (!in) {
        fprintf(stderr, "fuzz_container: cannot open %s\n", path);
        return 1;
    }
    s->bytes = fread(s->data, 1, sizeof s->data, in);
    fclose(in);
    return s->bytes == 0 || s->bytes == sizeof s->data;
}

int main(int argc, char **argv)
{
    static sample work;
    if (argc < 2) return 2;
    if (argv[1][0] < '0' || argv[1][0] > '9') {
        int failed = 0;
        for (int i = 1; i < argc; i++) {
            failed |= load(&work, argv[i]);
            LLVMFuzzerTestOneInput(work.data, work.bytes);
        }
        return failed;
    }
    char *unit;
    unsigned long rounds = strtoul(argv[1], &unit, 10), done = 0;
    double until = *unit == 's' ? seconds() + (double)rounds : 0;
    state = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1;
    size_t count = 0;
    seed *seeds = calloc((size_t)argc, sizeof *seeds);
    require(seeds != NULL && argc > 3, "no seeds");
    for (int i = 3; i < argc; i++, count++) {
        seed *s = &seeds[count];
        in_file file = { s->whole.data, 0, 0 };
        require(load(&s->whole, argv[i]) == 0, "a seed cannot be read, or is too large");
        LLVMFuzzerTestOneInput(s->whole.data, s->whole.bytes);
        file.bytes = s->whole.bytes;
        if (memcmp(s->whole.data, "PK", 2) == 0 && archive_open(&s->zip, &file, "seed")) require(0, "a seed is no archive");
    }
    if (opened != count) {
        printf("FAIL fuzz_container: %u of %zu seeds can be read\n", opened, count);
        exit(1);
    }
    for (; *unit == 's' ? seconds() < until : done < rounds; done++) {
        mutate(&seeds[roll((uint32_t)count)], &work);
        wrapper = roll(8) ? NULL : "teacher";
        FILE *last = getenv("FUZZ_KEEP") ? fopen(getenv("FUZZ_KEEP"), "wb") : NULL;      /* the input that did not come back */
        if (last) {
            fwrite(work.data, 1, work.bytes, last);
            fclose(last);
        }
        LLVMFuzzerTestOneInput(work.data, work.bytes);
    }
    for (size_t i = 0; i < count; i++) archive_close(&seeds[i].zip);
    free(seeds);
    printf("ok fuzz_container: %lu mutants of %zu files, %u of them still checkpoints\n", done, count, opened - (unsigned)count);
    return 0;
}

#endif
