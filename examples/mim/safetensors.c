/* safetensors.c - a length, a JSON header that names every tensor with its place, and the numbers. */
#include "container.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct extent { uint64_t begin, end; const char *name; } extent;

static int compare_extents(const void *a, const void *b)
{
    const extent *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* One entry of the header. Its bytes lie in [begin, end) of the data, which is `room` long. */
static int read_entry(checkpoint *cp, shard *s, const json_node *node, const uint8_t *data, uint64_t room, extent *where)
{
    const json *doc = &s->header;
    const char *dtype, *name = json_key(doc, node);
    tensor *t = checkpoint_add(cp, s, name, node->key_bytes);
    if (!t)
        return 1;
    const json_node *shape = json_member(doc, node, "shape"), *offsets = json_member(doc, node, "data_offsets");
    if (node->type != JSON_OBJECT || node->count != 3 || !json_string(doc, json_member(doc, node, "dtype"), &dtype) ||
        !shape || shape->type != JSON_ARRAY || !offsets || offsets->type != JSON_ARRAY || offsets->count != 2)
        return fail("%s: tensor '%s' must have dtype, shape and data_offsets, and nothing else", s->path, name);

    where->name = name;
    if (!dtype_named(dtype, &t->dtype) || dtype_is_blocks(t->dtype))
        return fail("%s: tensor '%s' has the unknown dtype '%s'", s->path, name, shown(dtype, strlen(dtype)));
    if (shape->count > TENSOR_RANK)
        return fail("%s: tensor '%s' has %" PRIu32 " dimensions, more than %u", s->path, name, shape->count, TENSOR_RANK);

    for (const json_node *size = json_first(doc, shape); size; size = json_next(doc, size)) {
        uint64_t n;
        if (!json_u64(doc, size, &n))
            return fail("%s: tensor '%s' has a dimension that is not a whole number", s->path, name);
        if (!tensor_append(t, n))
            return fail("%s: tensor '%s' has an impossible size", s->path, name);
    }
    const json_node *begin = json_first(doc, offsets);
    if (!json_u64(doc, begin, &where->begin) || !json_u64(doc, json_next(doc, begin), &where->end) ||
        where->begin > where->end)
        return fail("%s: tensor '%s' has malformed data_offsets", s->path, name);
    if (where->end > room)
        return fail("%s: tensor '%s' ends at byte %" PRIu64 " of the data, which has %" PRIu64
                    "; the file is truncated or damaged", s->path, name, where->end, room);
    uint64_t needed;
    if (!dtype_bytes(t->dtype, t->count, &needed) || needed != where->end - where->begin)
        return fail("%s: tensor '%s' has %" PRIu64 " bytes, which does not fit its shape and dtype",
                    s->path, name, where->end - where->begin);
    t->data = data + where->begin;
    return 0;
}

static int read_metadata(checkpoint *cp, const shard *s, const json_node *node)
{
    const json *doc = &s->header;
    if (node->type != JSON_OBJECT)
        return fail("%s: __metadata__ is not an object", s->path);
    for (const json_node *child = json_first(doc, node); child; child = json_next(doc, child)) {
        const char *value;
        if (child->type != JSON_STRING)
            return fail("%s: __metadata__ holds something that is not a string", s->path);
        if (json_string(doc, child, &value) && checkpoint_add_metadata(cp, json_key(doc, child), value))
            return 1;
    }
    return 0;
}

int read_safetensors(checkpoint *cp, shard *s)
{
    const uint8_t *data = s->file.data;
    size_t bytes = s->file.bytes;
    uint64_t header = bytes >= 8 ? read_le(data, 8) : 0;
    if (bytes < 8)
        return fail("%s: not safetensors: the file has only %zu bytes", s->path, bytes);
    if (header > JSON_BYTES)
        return fail("%s: not safetensors: its header would be %" PRIu64 " bytes, more than the format allows", s->path, header);
    if (header > bytes - 8)
        return fail("%s: the header says %" PRIu64 " bytes, the file has %zu; it is truncated or not safetensors",
                    s->path, header, bytes);
    if (header == 0 || data[8] != '{')
        return fail("%s: not safetensors: its header does not begin with '{'", s->path);
    if (json_parse(&s->header, data + 8, (size_t)header))
        return fail("%s: its header is not valid JSON: %s (byte %zu)", s->path, s->header.error, s->header.error_at + 8);

    const json_node *root = json_root(&s->header);
    if (checkpoint_reserve(cp, root->count))
        return 1;
    extent *extents = malloc((root->count + 1) * sizeof *extents);
    if (!extents)
        return fail("%s: not enough memory", s->path);

    uint64_t room = bytes - 8 - header, at = 0;
    size_t n = 0;
    int failed = 0;
    for (const json_node *child = json_first(&s->header, root); child && !failed; child = json_next(&s->header, child)) {
        if (strcmp(json_key(&s->header, child), "__metadata__") == 0)
            failed = read_metadata(cp, s, child);
        else
            failed = read_entry(cp, s, child, data + 8 + header, room, &extents[n]);
        n += !failed && strcmp(json_key(&s->header, child), "__metadata__") != 0;
    }
    if (!failed) {
        qsort(extents, n, sizeof *extents, compare_extents);
        for (size_t i = 0; i < n && !failed; at = extents[i++].end)
            if (extents[i].begin != at)
                failed = fail("%s: tensor '%s' begins at byte %" PRIu64 " of the data, where %" PRIu64 " was due: tensors %s",
                              s->path, extents[i].name, extents[i].begin, at, extents[i].begin < at ? "overlap" : "leave a hole");
        if (!failed && at != room)
            failed = fail("%s: the data has %" PRIu64 " bytes, the tensors end at %" PRIu64, s->path, room, at);
    }
    free(extents);
    return failed;
}
