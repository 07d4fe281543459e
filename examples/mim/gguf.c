/* gguf.c - GGUF, versions 2 and 3: counts, keys with values, places of tensors, then their numbers, aligned. */
#include "container.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64, TYPES };
enum { KEY_MAX = 65535, RANK_MAX = 4 };

static const uint8_t type_bytes[TYPES] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };

typedef struct reader {
    const char *path;
    const uint8_t *data;
    size_t bytes, at;
} reader;

static int damaged(const reader *r, const char *what)
{
    return fail("%s: %s (byte %zu); the file is truncated or damaged", r->path, what, r->at);
}

static int take(reader *r, uint32_t bytes, uint64_t *n)
{
    *n = 0;
    if (r->bytes - r->at < bytes)
        return damaged(r, "its header does not end");
    *n = read_le(r->data + r->at, bytes);
    r->at += bytes;
    return 0;
}

static int take_string(reader *r, const uint8_t **text, uint64_t *bytes)
{
    *text = NULL;
    if (take(r, 8, bytes))
        return 1;
    if (*bytes > r->bytes - r->at)
        return damaged(r, "a string is longer than the file");
    *text = r->data + r->at;
    r->at += (size_t)*bytes;
    return 0;
}

/* A number as text. */
static void print_number(char *into, size_t room, uint32_t type, uint64_t bits)
{
    float narrow;
    double wide;
    uint32_t low = (uint32_t)bits;
    uint64_t sign = (uint64_t)1 << (8 * type_bytes[type] - 1);
    memcpy(&narrow, &low, 4);
    memcpy(&wide, &bits, 8);
    if (type == F32 || type == F64)
        snprintf(into, room, "%.9g", type == F32 ? (double)narrow : wide);
    else if (type == BOOL)
        snprintf(into, room, "%s", bits ? "true" : "false");
    else if ((type == I8 || type == I16 || type == I32 || type == I64) && bits & sign)
        snprintf(into, room, "-%" PRIu64, (~bits & (2 * (sign - 1) + 1)) + 1);
    else
        snprintf(into, room, "%" PRIu64, bits);
}

enum { LISTED_NUMBERS = 16, NUMBER_ROOM = 40, LIST_ROOM = LISTED_NUMBERS * NUMBER_ROOM };

/* A short array of numbers as text, with commas; any other is passed over, and the text is empty. */
static int read_array(reader *r, char into[LIST_ROOM])
{
    uint64_t type, count, bytes, n;
    const uint8_t *text;
    into[0] = 0;
    if (take(r, 4, &type) || take(r, 8, &count))
        return 1;
    if (type >= TYPES || type == ARRAY)
        return damaged(r, "an array is of an unknown type");
    if (type != STRING && count > (r->bytes - r->at) / type_bytes[type])
        return damaged(r, "an array is longer than the file");
    if (type != STRING && count > LISTED_NUMBERS) {
        r->at += (size_t)count * type_bytes[type];
        return 0;
    }
    for (uint64_t i = 0; i < count; i++) {                       /* of strings each takes eight bytes or fails */
        size_t used = strlen(into);
        if (type == STRING ? take_string(r, &text, &bytes) : take(r, type_bytes[type], &n))
            return 1;
        if (type == STRING)
            continue;
        into[used] = ',';
        print_number(into + used + (i > 0), NUMBER_ROOM - 1, (uint32_t)type, n);
    }
    return 0;
}

static int read_pair(checkpoint *cp, shard *s, reader *r, uint64_t *alignment)
{
    const uint8_t *key, *text = NULL;
    uint64_t key_bytes, bytes = 0, type, n = 0;
    char number[LIST_ROOM];
    if (take_string(r, &key, &key_bytes) || take(r, 4, &type))
        return 1;
    if (key_bytes == 0 || key_bytes > KEY_MAX || type >= TYPES)
        return damaged(r, "its metadata is malformed");
    if (type == ARRAY ? read_array(r, number) : type == STRING ? take_string(r, &text, &bytes) : take(r, type_bytes[type], &n))
        return 1;
    static const char aligned[] = "general.alignment";
    if (key_bytes == sizeof aligned - 1 && memcmp(key, aligned, sizeof aligned - 1) == 0) {
        if (type != U32 || n == 0 || (n & (n - 1)) != 0)
            return damaged(r, "its alignment is not a power of two");
        *alignment = n;
    }
    if (type != STRING) {
        if (type != ARRAY)
            print_number(number, NUMBER_ROOM, (uint32_t)type, n);
        text = (const uint8_t *)number;
        bytes = strlen(number);
    }
    if (!printable(key, (size_t)key_bytes) || memchr(text, 0, (size_t)bytes) || (type == ARRAY && !bytes))
        return 0;                                                /* nothing that is asked for is called so */
    const char *name = shard_text(s, key, (size_t)key_bytes), *is = name ? shard_text(s, text, (size_t)bytes) : NULL;
    return is ? checkpoint_add_metadata(cp, name, is) : 1;
}

static const char *name_of_type(uint64_t type)
{
    static const struct { uint32_t type; const char *name; } names[] = {
        { 0, "F32" }, { 1, "F16" }, { 2, "Q4_0" }, { 3, "Q4_1" }, { 6, "Q5_0" }, { 7, "Q5_1" }, { 8, "Q8_0" }, { 24, "I8" },
            { 25, "I16" },
        { 26, "I32" }, { 27, "I64" }, { 28, "F64" }, { 30, "BF16" },
        { 9, "Q8_1" }, { 10, "Q2_K" }, { 11, "Q3_K" }, { 12, "Q4_K" }, { 13, "Q5_K" }, { 14, "Q6_K" }, { 15, "Q8_K" },
        { 20, "IQ4_NL" }, { 23, "IQ4_XS" },
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].type == type)
            return names[i].name;
    return NULL;
}

typedef struct place {
    uint64_t begin, end;
    size_t tensor;
} place;

static int compare_places(const void *a, const void *b)
{
    const place *x = a, *y = b;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

static int read_info(checkpoint *cp, shard *s, reader *r, place *where)
{
    const uint8_t *name;
    uint64_t name_bytes, rank, size[RANK_MAX] = { 0 }, type, bytes;
    if (take_string(r, &name, &name_bytes) || take(r, 4, &rank))
        return 1;
    tensor *t = checkpoint_add(cp, s, name, (size_t)name_bytes);
    if (!t)
        return 1;
    if (rank > RANK_MAX)
        return fail("%s: tensor '%s' has %" PRIu64 " dimensions, more than %d", s->path, t->name, rank, RANK_MAX);
    for (uint64_t i = 0; i < rank; i++)
        if (take(r, 8, &size[i]))
            return 1;
    if (take(r, 4, &type) || take(r, 8, &where->begin))
        return 1;
    for (uint64_t i = rank; i-- > 0;)                            /* the file has the fastest index first */
        if (!tensor_append(t, size[i]))
            return fail("%s: tensor '%s' has an impossible size", s->path, t->name);
    const char *known = name_of_type(type);
    if (!known || !dtype_named(known, &t->dtype))
        return fail("%s: tensor '%s' is of the type %s (%" PRIu64 "), which this reader does not know; F32, F16, BF16, Q8_0, Q5_0, Q5_1, "
                    "Q4_0 and Q4_1 are read", s->path, t->name, known ? known : "?", type);
    if (!dtype_bytes(t->dtype, t->count, &bytes) || (dtype_is_blocks(t->dtype) && size[0] % 32) ||
        bytes > UINT64_MAX - where->begin)
        return fail("%s: tensor '%s' has a size that its type cannot have", s->path, t->name);
    where->end = where->begin + bytes;
    where->tensor = cp->count - 1;
    return 0;
}

/* Tensors have their places after `at`; none may overlap. */
static int place_tensors(checkpoint *cp, const reader *r, place *places, size_t count, uint64_t alignment)
{
    uint64_t start = (r->at + alignment - 1) / alignment * alignment;
    uint64_t room = start < r->bytes ? r->bytes - start : 0;
    qsort(places, count, sizeof *places, compare_places);
    for (size_t i = 0; i < count; i++) {
        tensor *t = &cp->tensors[places[i].tensor];
        if (places[i].end > room)
            return fail("%s: tensor '%s' ends at byte %" PRIu64 " of the data, which has %" PRIu64 "; the file is truncated or damaged",
                        r->path, t->name, places[i].end, room);
        if (places[i].begin % alignment)
            return fail("%s: tensor '%s' is not aligned", r->path, t->name);
        if (i && places[i].begin < places[i - 1].end)
            return fail("%s: tensors '%s' and '%s' overlap", r->path, cp->tensors[places[i - 1].tensor].name, t->name);
        t->data = r->data + start + places[i].begin;
    }
    return 0;
}

int read_gguf(checkpoint *cp, shard *s)
{
    reader r = { s->path, s->file.data, s->file.bytes, 4 };
    uint64_t version, tensors, pairs, alignment = 32;
    enum { PAIR_BYTES = 8 + 4 + 1, INFO_BYTES = 8 + 1 + 4 + 4 + 8 };     /* at least */
    if (take(&r, 4, &version))
        return 1;
    if (version != 2 && version != 3)
        return fail("%s: GGUF of version %" PRIu64 "%s; 2 and 3 are read", s->path, version,
                    version && version % 65536 == 0 ? " (it looks big-endian)" : "");
    if (take(&r, 8, &tensors) || take(&r, 8, &pairs))
        return 1;
    if (tensors > (r.bytes - r.at) / INFO_BYTES || pairs > (r.bytes - r.at) / PAIR_BYTES)
        return damaged(&r, "it promises more tensors and metadata than a file of its size can hold");
    if (checkpoint_reserve(cp, (size_t)tensors))
        return 1;
    while (pairs--)
        if (read_pair(cp, s, &r, &alignment))
            return 1;
    place *places = malloc(((size_t)tensors + 1) * sizeof *places);
    int failed = places ? 0 : fail("%s: not enough memory", s->path);
    for (size_t i = 0; i < tensors && !failed; i++)
        failed = read_info(cp, s, &r, &places[i]);
    if (!failed)
        failed = place_tensors(cp, &r, places, (size_t)tensors, alignment);
    free(places);
    return failed;
}
