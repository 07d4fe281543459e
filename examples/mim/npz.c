/* npz.c - NumPy's .npz: a zip archive of arrays, plain or deflated. */
#include "archive.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_MAX = 65536 };

/* What unpacking may need beyond the file's own size: a stranger's archive can promise a thousand times that. */
static const uint64_t unpacked_factor = 64, unpacked_free = (uint64_t)64 << 20;

/* ---- the header of an array: magic, version, length, a Python dictionary ---- */

typedef struct cursor {
    const uint8_t *at, *end;
} cursor;

static void skip_blanks(cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n'))
        c->at++;
}

/* Takes this text if it is next. */
static int take(cursor *c, const char *text)
{
    size_t n = strlen(text);
    skip_blanks(c);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, text, n) != 0)
        return 0;
    c->at += n;
    return 1;
}

static int take_quoted(cursor *c, const uint8_t **text, size_t *bytes)
{
    skip_blanks(c);
    const uint8_t *from = c->at < c->end && (*c->at == '\'' || *c->at == '"') ? c->at + 1 : NULL;
    const uint8_t *to = from ? memchr(from, c->at[0], (size_t)(c->end - from)) : NULL;
    if (!to)
        return 0;
    *text = from;
    *bytes = (size_t)(to - from);
    c->at = to + 1;
    return 1;
}

/* 1, or 0: malformed, too many dimensions, or too many elements. */
static int take_shape(cursor *c, tensor *t)
{
    if (!take(c, "("))
        return 0;
    while (!take(c, ")")) {
        uint64_t n = 0;
        const uint8_t *from = c->at;
        for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
            if (n > (UINT64_MAX - 9) / 10)
                return 0;
            n = n * 10 + (uint64_t)(*c->at - '0');
        }
        if (c->at == from || !tensor_append(t, n))
            return 0;
        if (!take(c, ","))
            return take(c, ")");
    }
    return 1;
}

/* numpy's name of a type: byte order, kind, bytes. 1, or 0: not one of numbers. */
static int type_of(const uint8_t *text, size_t bytes, tensor *t)
{
    static const char *const names[][2] = {
        { "f4", "F32" }, { "f2", "F16" }, { "f8", "F64" }, { "i1", "I8" }, { "i2", "I16" }, { "i4", "I32" }, { "i8", "I64" },
        { "u1", "U8" }, { "u2", "U16" }, { "u4", "U32" }, { "u8", "U64" }, { "b1", "BOOL" }, { "c8", "C64" }, { "c16", "C128" },
    };
    if (bytes < 3 || !memchr("<>|=", text[0], 4))
        return 0;
    t->swapped = text[0] == '>';
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i][0]) == bytes - 1 && memcmp(names[i][0], text + 1, bytes - 1) == 0)
            return dtype_named(names[i][1], &t->dtype);
    return 0;
}

/* Bytes before the numbers; 0: not an array's beginning. */
static size_t header_bytes(const uint8_t *head, size_t bytes)
{
    if (bytes < 12 || memcmp(head, "\x93NUMPY", 6) != 0 || head[6] < 1 || head[6] > 3)
        return 0;
    uint64_t length = head[6] == 1 ? 10 + read_le(head + 8, 2) : 12 + read_le(head + 8, 4);
    return length <= HEADER_MAX ? (size_t)length : 0;
}

/* *known: 0 where the elements are not numbers. */
static int read_header(tensor *t, const uint8_t *head, size_t bytes, int *known)
{
    cursor c = { head + (head[6] == 1 ? 10 : 12), head + bytes };
    int types = 0, orders = 0, shapes = 0, fortran = 0, sound = take(&c, "{");
    const uint8_t *key, *type;
    size_t key_bytes, type_bytes;
    *known = 1;
    while (sound && !take(&c, "}")) {
        sound = take_quoted(&c, &key, &key_bytes) && take(&c, ":");
        if (!sound)
            break;
        if (key_bytes == 5 && memcmp(key, "descr", 5) == 0 && !types++) {
            skip_blanks(&c);
            if (c.at < c.end && *c.at == '[') {                  /* records: fields of several types */
                *known = 0;
                return 0;
            }
            sound = take_quoted(&c, &type, &type_bytes);
            *known = sound && type_of(type, type_bytes, t);
        } else if (key_bytes == 13 && memcmp(key, "fortran_order", 13) == 0 && !orders++) {
            sound = (fortran = take(&c, "True")) || take(&c, "False");
        } else if (key_bytes == 5 && memcmp(key, "shape", 5) == 0 && !shapes++) {
            sound = take_shape(&c, t);
        } else {
            sound = 0;
        }
        if (sound && !take(&c, ",")) {
            sound = take(&c, "}");
            break;
        }
    }
    skip_blanks(&c);
    if (!sound || c.at != c.end || !types || !orders || !shapes)
        return fail("%s: array '%s' has a header that cannot be read", t->file, t->name);
    uint64_t stride = 1;
    for (uint32_t d = 0; d < t->rank && fortran; d++) {          /* the first index runs fastest */
        t->stride[d] = stride;
        t->strided |= t->shape[d] > 1 && d + 1 < t->rank;
        stride *= t->shape[d];
    }
    return 0;
}

/* ---- the archive ---- */

static int read_array(checkpoint *cp, shard *s, const archive *a, const zip_entry *e, size_t *skipped)
{
    static const char tail[] = ".npy";
    uint8_t start[12] = { 0 };
    tensor *t = checkpoint_add(cp, s, e->name, e->name_bytes - (sizeof tail - 1));
    int known = 0;
    if (!t)
        return 1;
    if (e->unpacked < sizeof start || archive_read(a, e, start, sizeof start))
        return e->unpacked < sizeof start ? fail("%s: array '%s' is too short", s->path, t->name) : 1;
    size_t header = header_bytes(start, sizeof start);
    if (header == 0 || header > e->unpacked)
        return fail("%s: array '%s' does not begin as NumPy's arrays do", s->path, t->name);

    uint8_t *head = malloc(header);
    int failed = head ? archive_read(a, e, head, header) || read_header(t, head, header, &known)
                      : fail("%s: not enough memory", s->path);
    free(head);
    if (failed)
        return 1;
    if (!known) {                                                /* text, or Python objects */
        cp->count--;
        ++*skipped;
        return 0;
    }
    uint64_t needed;
    if (!dtype_bytes(t->dtype, t->count, &needed) || needed != e->unpacked - header)
        return fail("%s: array '%s' has %" PRIu64 " bytes, which does not fit its shape and type", s->path, t->name,
                    e->unpacked - header);
    if (e->method == ZIP_STORED) {
        t->data = e->data + header;
        return 0;
    }
    uint8_t *unpacked = e->unpacked <= SIZE_MAX / 2 ? shard_memory(s, (size_t)e->unpacked) : NULL;
    if (!unpacked)
        return e->unpacked <= SIZE_MAX / 2 ? 1 : fail("%s: array '%s' is too large", s->path, t->name);
    t->data = unpacked + header;
    return archive_read(a, e, unpacked, (size_t)e->unpacked);
}

int read_npz(checkpoint *cp, shard *s, const archive *a)
{
    uint64_t unpacked = 0, most = s->file.bytes < UINT64_MAX / 128 ? s->file.bytes * unpacked_factor + unpacked_free : 0;
    size_t skipped = 0;
    for (size_t i = 0; i < a->count; i++) {
        const zip_entry *e = &a->entries[i];
        if (e->name_bytes < 5 || memcmp(e->name + e->name_bytes - 4, ".npy", 4) != 0)
            return fail("%s: entry '%s' of the archive is no array", s->path, shown(e->name, e->name_bytes));
        if (e->method == ZIP_DEFLATED && (e->unpacked > most || (unpacked += e->unpacked) > most))
            return fail("%s: would unpack to more than %" PRIu64 " times its size, as no weights do", s->path, unpacked_factor);
    }
    if (checkpoint_reserve(cp, a->count))
        return 1;
    for (size_t i = 0; i < a->count; i++)
        if (read_array(cp, s, a, &a->entries[i], &skipped))
            return 1;
    if (skipped && !cp->origin[0])
        snprintf(cp->origin, sizeof cp->origin, "%zu array%s without numbers left out", skipped, skipped > 1 ? "s" : "");
    return 0;
}
