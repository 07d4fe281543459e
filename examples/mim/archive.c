/* archive.c - see archive.h. */
#include "archive.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- the directory ---- */

/* Where the directory lies and how many entries it has. */
typedef struct directory {
    uint64_t at, bytes, count;
} directory;

enum { END_BYTES = 22, LOCATOR_BYTES = 20, END64_BYTES = 56, ENTRY_BYTES = 46, LOCAL_BYTES = 30 };

/* A field of the old record is the new one's, or all ones. */
static int agree(uint64_t old, uint64_t new_one, uint32_t bytes)
{
    return old == new_one || old == ((uint64_t)1 << 8 * bytes) - 1;
}

static int find_directory(const uint8_t *data, size_t bytes, const char *path, directory *d)
{
    size_t at = bytes >= END_BYTES ? bytes - END_BYTES : 0, least = at > 0xFFFF ? at - 0xFFFF : 0;
    while (at > least && !(memcmp(data + at, "PK\5\6", 4) == 0 && read_le(data + at + 20, 2) == bytes - at - END_BYTES))
        at--;
    if (at == 0 || memcmp(data + at, "PK\5\6", 4) != 0 || read_le(data + at + 20, 2) != bytes - at - END_BYTES)
        return fail("%s: a zip archive without a directory at its end; the file is truncated or damaged", path);
    const uint8_t *end = data + at;
    uint64_t disks = read_le(end + 4, 2) | read_le(end + 6, 2);
    d->count = read_le(end + 10, 2);
    d->bytes = read_le(end + 12, 4);
    d->at = read_le(end + 16, 4);
    uint64_t here = read_le(end + 8, 2);
    if (at >= LOCATOR_BYTES && memcmp(end - LOCATOR_BYTES, "PK\6\7", 4) == 0) {
        const uint8_t *locator = end - LOCATOR_BYTES;
        uint64_t at64 = read_le(locator + 8, 8), before = at - LOCATOR_BYTES;
        if (at64 > before || before - at64 < END64_BYTES || memcmp(data + at64, "PK\6\6", 4) != 0)
            return fail("%s: the zip archive's directory is damaged (its zip64 record is not at byte %" PRIu64 ")", path, at64);
        const uint8_t *end64 = data + at64;
        directory wide = { read_le(end64 + 48, 8), read_le(end64 + 40, 8), read_le(end64 + 32, 8) };
        if (!agree(d->at, wide.at, 4) || !agree(d->bytes, wide.bytes, 4) || !agree(d->count, wide.count, 2))
            return fail("%s: the zip archive's two directories contradict each other", path);
        disks = read_le(locator + 4, 4) | read_le(end64 + 16, 4) | read_le(end64 + 20, 4);
        here = read_le(end64 + 24, 8);
        *d = wide;
        at = (size_t)at64;
    }
    if (disks || here != d->count)
        return fail("%s: a zip archive in several parts: not available", path);
    if (d->at > at || d->bytes != at - d->at || d->count > d->bytes / ENTRY_BYTES)
        return fail("%s: the zip archive's directory does not lie before its end record; the file is truncated or damaged", path);
    return 0;
}

/* The zip64 field of an entry holds, in this order, those of its three numbers that are all ones. */
static int read_extra(const uint8_t *extra, size_t bytes, uint64_t *unpacked, uint64_t *packed, uint64_t *at)
{
    uint64_t *wanted[3] = { unpacked, packed, at };
    for (size_t i = 0; bytes - i >= 4;) {
        size_t length = (size_t)read_le(extra + i + 2, 2), field = i + 4;
        if (length > bytes - field)
            return 1;
        i = field + length;
        if (read_le(extra + field - 4, 2) != 1)
            continue;
        for (size_t k = 0; k < 3; k++)
            if (wanted[k] && *wanted[k] == UINT32_MAX) {
                if (i - field < 8)
                    return 1;
                *wanted[k] = read_le(extra + field, 8);
                field += 8;
            }
        return 0;
    }
    return 0;
}

typedef struct place {
    uint64_t begin, end;
} place;

/* The entry at `at` of the directory, which ends at `end`; *at moves behind it. Local headers lie in [0, limit). */
static int read_zip_entry(const archive *a, const uint8_t *data, uint64_t *at, uint64_t end, uint64_t limit, zip_entry *e,
                          place *where)
{
    const uint8_t *p = data + *at;
    if (end - *at < ENTRY_BYTES || memcmp(p, "PK\1\2", 4) != 0)
        return fail("%s: the zip archive's directory is damaged (byte %" PRIu64 ")", a->path, *at);
    uint64_t flags = read_le(p + 8, 2), local = read_le(p + 42, 4), room = end - *at - ENTRY_BYTES;
    size_t name = (size_t)read_le(p + 28, 2), extra = (size_t)read_le(p + 30, 2), comment = (size_t)read_le(p + 32, 2);
    if (name + extra + comment > room)
        return fail("%s: the zip archive's directory is damaged (byte %" PRIu64 ")", a->path, *at);
    e->name = (const char *)p + ENTRY_BYTES;
    e->name_bytes = name;
    e->method = (uint32_t)read_le(p + 10, 2);
    e->crc = (uint32_t)read_le(p + 16, 4);
    e->bytes = read_le(p + 20, 4);
    e->unpacked = read_le(p + 24, 4);
    *at += ENTRY_BYTES + name + extra + comment;
    const char *shows = shown(e->name, name);
    if (read_extra(p + ENTRY_BYTES + name, extra, &e->unpacked, &e->bytes, &local))
        return fail("%s: entry '%s' of the zip archive has a damaged field", a->path, shows);
    if (flags & (1u | 1u << 6 | 1u << 13))
        return fail("%s: entry '%s' of the zip archive is encrypted", a->path, shows);
    if (e->method != ZIP_STORED && e->method != ZIP_DEFLATED)
        return fail("%s: entry '%s' of the zip archive is compressed with method %" PRIu32 ", which is not available", a->path,
                    shows, e->method);
    if (e->method == ZIP_STORED && e->bytes != e->unpacked)
        return fail("%s: entry '%s' of the zip archive is stored with two different sizes", a->path, shows);

    if (local > limit || limit - local < LOCAL_BYTES || memcmp(data + local, "PK\3\4", 4) != 0)
        return fail("%s: entry '%s' of the zip archive does not begin at byte %" PRIu64 ", as its directory says", a->path,
                    shows, local);
    const uint8_t *q = data + local;
    uint64_t flags_there = read_le(q + 6, 2), packed = read_le(q + 18, 4), unpacked = read_le(q + 22, 4);
    uint64_t name_there = read_le(q + 26, 2), extra_there = read_le(q + 28, 2), head = LOCAL_BYTES + name_there + extra_there;
    if (head > limit - local || e->bytes > limit - local - head)
        return fail("%s: entry '%s' of the zip archive ends beyond the file; the file is truncated or damaged", a->path, shows);
    int sizes_follow = flags_there >> 3 & 1 && packed == 0 && unpacked == 0;
    if (name_there != name || memcmp(q + LOCAL_BYTES, e->name, name) != 0 || read_le(q + 8, 2) != e->method ||
        ((flags_there ^ flags) & 1) || read_extra(q + LOCAL_BYTES + name, (size_t)extra_there, &unpacked, &packed, NULL) ||
        (!sizes_follow && (packed != e->bytes || unpacked != e->unpacked)))
        return fail("%s: entry '%s' of the zip archive contradicts its directory (byte %" PRIu64 ")", a->path, shows, local);
    e->data = q + head;
    where->begin = local;
    where->end = local + head + e->bytes;
    return 0;
}

static int compare_places(const void *a, const void *b)
{
    const place *x = a, *y = b;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

static int compare_entries(const void *a, const void *b)
{
    const zip_entry *x = a, *y = b;
    int order = memcmp(x->name, y->name, x->name_bytes < y->name_bytes ? x->name_bytes : y->name_bytes);
    return order ? order : x->name_bytes < y->name_bytes ? -1 : x->name_bytes > y->name_bytes;
}

int archive_open(archive *a, const in_file *file, const char *path)
{
    directory d = {0};
    memset(a, 0, sizeof *a);
    a->path = path;
    if (find_directory(file->data, file->bytes, path, &d))
        return 1;
    place *places = calloc((size_t)d.count + 1, sizeof *places);
    a->entries = calloc((size_t)d.count + 1, sizeof *a->entries);
    int failed = places && a->entries ? 0 : fail("%s: not enough memory", path);
    uint64_t at = d.at;
    for (; a->count < d.count && !failed; a->count++)
        failed = read_zip_entry(a, file->data, &at, d.at + d.bytes, d.at, &a->entries[a->count], &places[a->count]);
    if (!failed && at != d.at + d.bytes)
        failed = fail("%s: the zip archive's directory has %" PRIu64 " bytes more than its entries", path, d.at + d.bytes - at);
    if (!failed) {
        qsort(places, a->count, sizeof *places, compare_places);
        qsort(a->entries, a->count, sizeof *a->entries, compare_entries);
        for (size_t i = 1; i < a->count && !failed; i++)
            if (places[i].begin < places[i - 1].end)
                failed = fail("%s: entries of the zip archive overlap (byte %" PRIu64 ")", path, places[i].begin);
        for (size_t i = 1; i < a->count && !failed; i++)
            if (compare_entries(&a->entries[i - 1], &a->entries[i]) == 0)
                failed = fail("%s: entry '%s' is in the zip archive twice", path, shown(a->entries[i].name,
                                                                                        a->entries[i].name_bytes));
    }
    free(places);
    return failed;
}

void archive_close(archive *a)
{
    free(a->entries);
    memset(a, 0, sizeof *a);
}

const zip_entry *archive_find(const archive *a, const char *name, size_t bytes)
{
    zip_entry key = {0};
    key.name = name;
    key.name_bytes = bytes;
    return a->count ? bsearch(&key, a->entries, a->count, sizeof key, compare_entries) : NULL;
}

/* ---- deflate (RFC 1951) ---- */

enum { CODE_BITS = 15, FAST_BITS = 10, CODES_MAX = 288 };

/* A canonical prefix code: codes of up to FAST_BITS bits by table, longer ones by counting. */
typedef struct code {
    uint16_t fast[1 << FAST_BITS];            /* symbol * 16 + length; 0: longer, or no code */
    uint16_t count[CODE_BITS + 1];            /* codes of each length */
    uint16_t symbol[CODES_MAX];               /* by length, then by value */
} code;

typedef struct inflater {
    const uint8_t *at, *end;
    uint64_t bits;                            /* not yet used, the next one lowest */
    uint32_t have;                            /*   how many; those beyond the input's end are zeros */
    uint32_t beyond;                          /* bits made up after the end */
    code lengths, distances;
} inflater;

/* At least 32 bits. */
static void refill(inflater *in)
{
    while (in->have <= 56) {
        if (in->at < in->end)
            in->bits |= (uint64_t)*in->at++ << in->have;
        else
            in->beyond += 8;
        in->have += 8;
    }
}

static uint32_t take_bits(inflater *in, uint32_t n)
{
    refill(in);
    uint32_t value = (uint32_t)(in->bits & (((uint64_t)1 << n) - 1));
    in->bits >>= n;
    in->have -= n;
    return value;
}

/* 0, or 1: the lengths are those of no code. A code may lack values only where it has a single one. */
static int make_code(code *c, const uint8_t *lengths, uint32_t n)
{
    uint16_t first[CODE_BITS + 2] = { 0 };
    uint32_t next = 0, used = 0;
    int32_t left = 1;
    memset(c, 0, sizeof *c);
    for (uint32_t i = 0; i < n; i++)
        c->count[lengths[i]]++;
    c->count[0] = 0;
    for (uint32_t length = 1; length <= CODE_BITS; length++) {
        left = 2 * left - c->count[length];
        if (left < 0)
            return 1;
        used += c->count[length];
        first[length + 1] = (uint16_t)(first[length] + c->count[length]);
    }
    if (left > 0 && (used > 1 || c->count[1] != used))
        return 1;
    for (uint32_t i = 0; i < n; i++)
        if (lengths[i])
            c->symbol[first[lengths[i]]++] = (uint16_t)i;
    const uint16_t *symbol = c->symbol;
    for (uint32_t length = 1; length <= FAST_BITS; length++, next <<= 1)
        for (uint32_t i = 0; i < c->count[length]; i++, next++, symbol++) {
            uint32_t reversed = 0;                        /* codes are sent from their highest bit */
            for (uint32_t k = 0; k < length; k++)
                reversed |= (next >> k & 1) << (length - 1 - k);
            for (; reversed < 1 << FAST_BITS; reversed += 1u << length)
                c->fast[reversed] = (uint16_t)((uint32_t)*symbol << 4 | length);
        }
    return 0;
}

/* The next symbol, or UINT32_MAX: no code begins so. */
static uint32_t take_symbol(inflater *in, const code *c)
{
    refill(in);
    uint32_t fast = c->fast[in->bits & ((1 << FAST_BITS) - 1)];
    if (fast) {
        in->bits >>= fast & 15;
        in->have -= fast & 15;
        return fast >> 4;
    }
    uint32_t value = 0, first = 0, index = 0;
    for (uint32_t length = 1; length <= CODE_BITS; length++) {
        value |= (uint32_t)(in->bits >> (length - 1)) & 1;
        if (value - first < c->count[length]) {
            in->bits >>= length;
            in->have -= length;
            return c->symbol[index + value - first];
        }
        index += c->count[length];
        first = (first + c->count[length]) << 1;
        value <<= 1;
    }
    return UINT32_MAX;
}

static int read_codes(inflater *in)
{
    static const uint8_t order[19] = { 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15 };
    uint8_t lengths[CODES_MAX + 32] = { 0 };
    uint32_t n = take_bits(in, 5) + 257, m = take_bits(in, 5) + 1, k = take_bits(in, 4) + 4;
    if (n > 286 || m > 30)
        return 1;
    for (uint32_t i = 0; i < k; i++)
        lengths[order[i]] = (uint8_t)take_bits(in, 3);
    if (make_code(&in->lengths, lengths, 19))
        return 1;
    for (uint32_t i = 0; i < n + m;) {
        uint32_t symbol = take_symbol(in, &in->lengths), repeat = 1;
        uint8_t length = (uint8_t)symbol;
        if (symbol > 18 || (symbol == 16 && i == 0))
            return 1;
        if (symbol == 16) {
            length = lengths[i - 1];
            repeat = 3 + take_bits(in, 2);
        } else if (symbol > 16) {
            length = 0;
            repeat = symbol == 17 ? 3 + take_bits(in, 3) : 11 + take_bits(in, 7);
        }
        if (repeat > n + m - i)
            return 1;
        while (repeat--)
            lengths[i++] = length;
    }
    return lengths[256] == 0 || make_code(&in->lengths, lengths, n) || make_code(&in->distances, lengths + n, m);
}

static void fixed_codes(inflater *in)
{
    uint8_t lengths[CODES_MAX];
    for (uint32_t i = 0; i < CODES_MAX; i++)
        lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    make_code(&in->lengths, lengths, CODES_MAX);
    memset(lengths, 5, 32);
    make_code(&in->distances, lengths, 32);
}

/* Unpacks until into[0, bytes) is full, or the stream ends. How many were written; *failed if the stream is damaged. */
static size_t inflate(const uint8_t *data, uint64_t packed, uint8_t *into, size_t bytes, int *failed)
{
    static const uint16_t length_base[29] = { 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83,
                                              99, 115, 131, 163, 195, 227, 258 };
    static const uint8_t length_bits[29] = { 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5,
                                             5, 0 };
    static const uint16_t distance_base[30] = { 1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769,
                                                1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577 };
    inflater in;
    size_t done = 0;
    uint32_t last = 0;
    in.at = data;
    in.end = data + packed;
    in.bits = 0;
    in.have = in.beyond = 0;
    *failed = 0;
    while (!last && done < bytes && !*failed) {
        last = take_bits(&in, 1);
        uint32_t type = take_bits(&in, 2);
        if (type == 0) {
            take_bits(&in, in.have % 8);
            uint32_t n = take_bits(&in, 16);
            *failed = n != (take_bits(&in, 16) ^ 0xFFFF);
            for (; n && done < bytes && !*failed; n--) {
                into[done++] = (uint8_t)take_bits(&in, 8);
                *failed = in.beyond > in.have;
            }
            continue;
        }
        if (type == 1)
            fixed_codes(&in);
        else
            *failed = type == 3 || read_codes(&in);
        while (done < bytes && !*failed) {
            uint32_t symbol = take_symbol(&in, &in.lengths);
            if (symbol < 256) {
                into[done++] = (uint8_t)symbol;
            } else if (symbol == 256) {
                break;
            } else if (symbol - 257 < 29) {
                size_t n = length_base[symbol - 257] + take_bits(&in, length_bits[symbol - 257]);
                uint32_t far = take_symbol(&in, &in.distances);
                size_t back = far < 30 ? distance_base[far] + take_bits(&in, far < 2 ? 0 : far / 2 - 1) : 0;
                *failed = back == 0 || back > done;
                for (; n && done < bytes && !*failed; n--, done++)
                    into[done] = into[done - back];
            } else {
                *failed = 1;
            }
            *failed |= in.beyond > in.have;               /* bits were used that are not there */
        }
    }
    *failed |= in.beyond > in.have;
    return done;
}

static uint32_t crc32(const uint8_t *data, size_t bytes)
{
    uint32_t table[256], crc = UINT32_MAX;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int k = 0; k < 8; k++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xEDB88320u : 0);
    }
    for (size_t i = 0; i < bytes; i++)
        crc = crc >> 8 ^ table[(crc ^ data[i]) & 255];
    return ~crc;
}

int archive_read(const archive *a, const zip_entry *e, uint8_t *into, size_t bytes)
{
    int failed = 0;
    if (bytes > e->unpacked)
        return fail("%s: entry '%s' of the zip archive is too short", a->path, shown(e->name, e->name_bytes));
    if (e->method == ZIP_STORED)
        memcpy(into, e->data, bytes);
    else
        failed = inflate(e->data, e->bytes, into, bytes, &failed) != bytes || failed ||
                 (bytes == e->unpacked && crc32(into, bytes) != e->crc);
    return failed ? fail("%s: entry '%s' of the zip archive cannot be unpacked; the file is damaged", a->path,
                         shown(e->name, e->name_bytes)) : 0;
}
