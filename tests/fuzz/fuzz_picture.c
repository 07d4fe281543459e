/* fuzz_picture.c - hostile pictures and .npy headers.
 *
 * Alone: `fuzz_picture [ROUNDS [SEED]]` mutates the seeds below, the same way every time; `fuzz_picture FILE...` replays
 * files. With clang -fsanitize=fuzzer -DFUZZ_LIBFUZZER it is a libFuzzer target. Build it with the address and undefined
 * behaviour sanitizers: what is checked here is only that a refusal gives a reason and a picture is whole. */
#include "../../examples/mim/npy.h"
#include "../../examples/mim/picture.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void require(int holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "fuzz_picture: %s\n", what);
    abort();
}

static volatile uint32_t sink;

static int try_picture(const uint8_t *data, size_t bytes)
{
    picture p;
    reason why = { "" };
    if (picture_decode(&p, data, bytes, &why)) {
        require(why.text[0] != '\0' && !p.pixels, "a refused picture has no reason, or pixels");
        return 0;
    }
    require(p.width && p.height && p.width <= PICTURE_MAX_SIDE && p.height <= PICTURE_MAX_SIDE, "a picture's size is out of range");
    uint32_t sum = 0;
    for (size_t i = 0; i < (size_t)p.width * p.height * (p.format == MIM_GRAY8 ? 1 : 3); i++) sum += p.pixels[i];
    sink = sum;
    picture_free(&p);
    return 1;
}

static int try_array(const uint8_t *data, size_t bytes)
{
    npy_array array;
    reason why = { "" };
    if (npy_parse(&array, data, bytes, bytes, &why)) {
        require(why.text[0] != '\0', "a refused array has no reason");
        return 0;
    }
    uint64_t count = 1;
    for (uint32_t i = 0; i < array.dims; i++) count *= array.shape[i];
    require(count == array.count && array.data_at + count * (array.type == NPY_I8 ? 8 : 4) == bytes, "an array leaves its file");
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    try_picture(data, bytes);
    try_array(data, bytes);
    return 0;
}

#ifndef FUZZ_LIBFUZZER

/* ---- seeds ---- */

typedef struct sample {
    uint8_t data[1024];
    size_t bytes;
} sample;

static const char *const texts[] = {
    "P3\n# a comment\n2 2\n255\n0 1 2  3 4 5\n6 7 8  9 10 255\n",
    "P2 3 2 100 0 50 100 1 2 3",
    "P6 3 2 255\n0123456789abcdefgh",
    "P6 2 1 65535\n0123456789ab",
    "P5\n#\n4 3\n63\n000000000000",
    "P5 2 2 1000\n\1\2\1\3\2\1\1\1",
};

/* Each followed by 24 bytes of elements. */
static const char *const dictionaries[] = {
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 2), }",
    "{\"shape\":(3,),'descr':'<i8','fortran_order':False}",
    "{'descr': '<i4', 'fortran_order': False, 'shape': (6,), }  \n",
};

static const char *const hexes[] = {
    /* PNG, RGB */
    "89504e470d0a1a0a0000000d49484452000000040000000308020000003b9639910000001b49444154789c636460f8cfcefc939de5273bf3"
    "4f1611ae37d83900e30e0c3b510a61230000000049454e44ae426082",
    /* PNG, 16-bit gray */
    "89504e470d0a1a0a0000000d4948445200000004000000031000000000c10f2d590000001849444154789c63646060676767676767141181"
    "3058600c000a5300d53075ab3d0000000049454e44ae426082",
    /* PNG, palette */
    "89504e470d0a1a0a0000000d4948445200000005000000040403000000b41de87300000018504c54454e27b14020bf361bc92c16d32211dd"
    "180ce70e07f10000ff0670b5a70000001949444154789c632c7ff79ae5debbb72cf7debd6710646000004c0b07dffb7f6ca5000000004945"
    "4e44ae426082",
    /* JPEG, gray */
    "ffd8ffe000104a46494600010100000100010000ffdb00430064454b584b3f64585158716a647796faa3968a8a96ffdbe7b5faffffffffff"
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffc0000b080009000b01011100ffc40015000101000000"
    "00000000000000000000000203ffc40017100101010100000000000000000000000000020313ffda0008010100003f0013929c94937fffd9",
    /* JPEG, gray, progressive */
    "ffd8ffe000104a46494600010100000100010000ffdb00430064454b584b3f64585158716a647796faa3968a8a96ffdbe7b5faffffffffff"
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffc2000b080009000b01011100ffc40014000100000000"
    "000000000000000000000002ffda0008010100000001292fffc400161001010100000000000000000000000000110010ffda000801010001"
    "0502237fffc40014100100000000000000000000000000000020ffda0008010100063f021fffc40015100101000000000000000000000000"
    "00000110ffda0008010100013f21204fffda0008010100000010efffc40014100100000000000000000000000000000020ffda0008010100"
    "013f100dffd9",
    /* JPEG, colour, subsampled, with restart markers */
    "ffd8ffe000104a46494600010100000100010000ffdb00430064454b584b3f64585158716a647796faa3968a8a96ffdbe7b5faffffffffff"
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffdb0043016a7171968396ffa3a3ffffffffffffffffff"
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffc00011080009000b03"
    "012200021101031101ffc400160001010100000000000000000000000000020103ffc4001710010101010000000000000000000000000001"
    "0212ffc4001501010100000000000000000000000000000102ffc400161101010100000000000000000000000000010002ffdd00040001ff"
    "da000c03010002110311003f00ce65792841db585fffd9",
};

static void put16(uint8_t *p, uint32_t v) { p[0] = (uint8_t)v; p[1] = (uint8_t)(v >> 8); }
static void put32(uint8_t *p, uint32_t v) { put16(p, v); put16(p + 2, v >> 16); }

/* A BMP of 5 x 3, its pixels counted up. */
static void make_bmp(sample *s, uint32_t header, uint32_t bits, uint32_t compression, uint32_t colours, int top_down)
{
    uint32_t masks = header == 40 && compression == 3 ? 12 : 0, offset = 14 + header + masks + 4 * colours;
    uint32_t stride = (5 * bits + 31) / 32 * 4;
    s->bytes = offset + 3 * stride;
    for (uint32_t i = 0; i < s->bytes; i++) s->data[i] = i < 54 ? 0 : bits <= 8 && i >= offset ? (uint8_t)(i & 1) : (uint8_t)(i * 37);
    s->data[0] = 'B';
    s->data[1] = 'M';
    put32(s->data + 2, (uint32_t)s->bytes);
    put32(s->data + 10, offset);
    put32(s->data + 14, header);
    put32(s->data + 18, 5);
    put32(s->data + 22, top_down ? 0u - 3u : 3);
    put16(s->data + 26, 1);
    put16(s->data + 28, bits);
    put32(s->data + 30, compression);
    put32(s->data + 46, colours);
    if (compression == 3)
        for (uint32_t i = 0; i < 3; i++) put32(s->data + 54 + 4 * i, bits == 16 ? 0x1fu << (5 * i) : 0xffu << (8 * i));
}

/* Into zeroed memory. */
static size_t make_seeds(sample *all)
{
    size_t count = 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++, count++) {
        all[count].bytes = strlen(texts[i]);
        memcpy(all[count].data, texts[i], all[count].bytes);
    }
    for (size_t i = 0; i < sizeof dictionaries / sizeof *dictionaries; i++, count++) {
        size_t length = strlen(dictionaries[i]);
        memcpy(all[count].data, "\x93NUMPY\1", 8);
        all[count].data[8] = (uint8_t)length;
        memcpy(all[count].data + 10, dictionaries[i], length);
        all[count].bytes = 10 + length + 24;
    }
    for (size_t i = 0; i < sizeof hexes / sizeof *hexes; i++, count++) {
        sample *s = &all[count];
        for (const char *h = hexes[i]; h[0] && h[1]; h += 2) {
            char two[3] = { h[0], h[1], 0 };
            s->data[s->bytes++] = (uint8_t)strtoul(two, NULL, 16);
        }
    }
    make_bmp(&all[count++], 40, 24, 0, 0, 0);
    make_bmp(&all[count++], 40, 32, 0, 0, 1);
    make_bmp(&all[count++], 40, 8, 0, 16, 0);
    make_bmp(&all[count++], 40, 1, 0, 2, 0);
    make_bmp(&all[count++], 40, 16, 3, 0, 0);
    make_bmp(&all[count++], 124, 32, 3, 0, 0);
    return count;
}

/* ---- mutation ---- */

static uint32_t state;

static uint32_t roll(uint32_t below)
{
    state = state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)state * below >> 32);
}

static void mutate(sample *s, const sample *other)
{
    static const uint8_t odd[] = { 0, 1, 2, 4, 15, 16, 24, 32, 0x7f, 0x80, 0xff, '0', '9', ' ', '#', '\n', '-', 'P' };
    for (uint32_t n = 1 + roll(6); n; n--) {
        size_t at = s->bytes ? roll((uint32_t)s->bytes) : 0, near = at > 60 && roll(2) ? roll(60) : at;
        switch (roll(7)) {
        case 0: if (s->bytes) s->data[near] ^= (uint8_t)(1u << roll(8)); break;
        case 1: if (s->bytes) s->data[near] = odd[roll(sizeof odd)]; break;
        case 2: if (near + 4 <= s->bytes) put32(s->data + near, roll(2) ? UINT32_MAX >> roll(32) : roll(70000)); break;
        case 3: s->bytes = at; break;
        case 4:                                                            /* a byte more */
            if (s->bytes < sizeof s->data) {
                memmove(s->data + near + 1, s->data + near, s->bytes - near);
                s->data[near] = roll(3) ? (uint8_t)('0' + roll(10)) : odd[roll(sizeof odd)];
                s->bytes++;
            }
            break;
        case 5:                                                            /* a byte less */
            if (s->bytes > 1) {
                memmove(s->data + near, s->data + near + 1, s->bytes - near - 1);
                s->bytes--;
            }
            break;
        default:                                                           /* the tail of another */
            if (!roll(4) && at < other->bytes) {
                memcpy(s->data + at, other->data + at, other->bytes - at);
                s->bytes = other->bytes;
            }
            break;
        }
    }
    /* Most PNGs get their checksums mended, or nothing behind that check would be reached. */
    if (s->bytes > 8 && s->data[1] == 'P' && s->data[2] == 'N' && roll(8)) {
        for (size_t at = 8; s->bytes - at >= 12;) {
            uint32_t length = (uint32_t)s->data[at] << 24 | (uint32_t)s->data[at + 1] << 16 | (uint32_t)s->data[at + 2] << 8 | s->data[at + 3];
            if (length > s->bytes - at - 12) break;
            uint32_t crc = png_crc(0, s->data + at + 4, 4 + (size_t)length);
            for (uint32_t i = 0; i < 4; i++) s->data[at + 8 + length + i] = (uint8_t)(crc >> (24 - 8 * i));
            at += 12 + (size_t)length;
        }
    }
}

/* In memory of exactly its size, so that a sanitizer sees the first byte too many. */
static int run_exact(const uint8_t *data, size_t bytes, int (*run)(const uint8_t *, size_t))
{
    uint8_t *copy = malloc(bytes ? bytes : 1);
    require(copy != NULL, "not enough memory");
    memcpy(copy, data, bytes);
    int result = run(copy, bytes);
    free(copy);
    return result;
}

static int replay(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        in_file file;
        if (in_open(&file, argv[i])) return 1;
        run_exact(file.data, file.bytes, LLVMFuzzerTestOneInput);
        in_close(&file);
    }
    return 0;
}

int main(int argc, char **argv)
{
    static sample seeds[64];
    static const sample empty;
    size_t count = make_seeds(seeds);
    unsigned long rounds = 20000, accepted = 0;
    if (argc > 1 && strspn(argv[1], "0123456789") != strlen(argv[1])) return replay(argc, argv);
    if (argc > 1) rounds = strtoul(argv[1], NULL, 10);
    state = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1;

    for (size_t i = 0; i < count; i++) {
        int needs_stb = seeds[i].data[1] == 'P' || seeds[i].data[0] == 0xff, taken;
        taken = run_exact(seeds[i].data, seeds[i].bytes, try_picture) || run_exact(seeds[i].data, seeds[i].bytes, try_array);
        require(taken || (needs_stb && strstr(picture_formats(), "need")), "a seed is refused");
        for (size_t bytes = 0; bytes < seeds[i].bytes; bytes++) run_exact(seeds[i].data, bytes, LLVMFuzzerTestOneInput);
    }
    for (unsigned long n = 0; n < rounds; n++) {
        sample s = seeds[roll((uint32_t)count)];
        mutate(&s, roll(8) ? &seeds[roll((uint32_t)count)] : &empty);
        accepted += (unsigned long)(run_exact(s.data, s.bytes, try_picture) || run_exact(s.data, s.bytes, try_array));
    }
    printf("ok fuzz_picture (%lu mutants, %lu of them sound; reads %s)\n", rounds, accepted, picture_formats());
    return 0;
}

#endif
