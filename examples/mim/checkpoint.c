/* checkpoint.c - see checkpoint.h. */
#include "checkpoint.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SHARDS_MAX 4096u

/* ---- numbers ---- */

enum { KIND_NONE, KIND_F64, KIND_F32, KIND_F16, KIND_BF16, KIND_SIGNED, KIND_UNSIGNED };

/* Every dtype of the format; those of KIND_NONE may lie in a file but cannot become weights. */
static const struct dtype {
    const char *name, *lower;
    uint32_t bits, kind;
} dtypes[] = {
    { "F32", "f32", 32, KIND_F32 },       { "F16", "f16", 16, KIND_F16 },       { "BF16", "bf16", 16, KIND_BF16 },
    { "F64", "f64", 64, KIND_F64 },       { "I8", "i8", 8, KIND_SIGNED },       { "U8", "u8", 8, KIND_UNSIGNED },
    { "I16", "i16", 16, KIND_SIGNED },    { "U16", "u16", 16, KIND_UNSIGNED },  { "I32", "i32", 32, KIND_SIGNED },
    { "U32", "u32", 32, KIND_UNSIGNED },  { "I64", "i64", 64, KIND_SIGNED },    { "U64", "u64", 64, KIND_UNSIGNED },
    { "BOOL", "bool", 8, KIND_NONE },     { "C64", "c64", 64, KIND_NONE },      { "F8_E5M2", "f8_e5m2", 8, KIND_NONE },
    { "F8_E4M3", "f8_e4m3", 8, KIND_NONE },            { "F8_E8M0", "f8_e8m0", 8, KIND_NONE },
    { "F8_E4M3FNUZ", "f8_e4m3fnuz", 8, KIND_NONE },    { "F8_E5M2FNUZ", "f8_e5m2fnuz", 8, KIND_NONE },
    { "F6_E2M3", "f6_e2m3", 6, KIND_NONE },            { "F6_E3M2", "f6_e3m2", 6, KIND_NONE },
    { "F4", "f4", 4, KIND_NONE },
};

static uint64_t read_le(const uint8_t *p, uint32_t bytes)
{
    uint64_t value = 0;
    for (uint32_t i = bytes; i-- > 0;)
        value = value << 8 | p[i];
    return value;
}

static float float_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float half_to_float(uint32_t half)
{
    uint32_t sign = (half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 0x3FF;
    if (exponent == 0) {              /* zero and subnormals: fraction * 2^-24, exact */
        float value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    return float_from_bits(sign | (exponent == 31 ? 255u : exponent + 112) << 23 | fraction << 13);
}

/* The narrowing of a double may overflow; the caller sees the infinity. */
static float read_number(const struct dtype *type, const uint8_t *at)
{
    uint64_t bits = read_le(at, type->bits / 8);
    double wide;
    switch (type->kind) {
    case KIND_F32: return float_from_bits((uint32_t)bits);
    case KIND_F16: return half_to_float((uint32_t)bits);
    case KIND_BF16: return float_from_bits((uint32_t)bits << 16);
    case KIND_UNSIGNED: return (float)bits;
    case KIND_SIGNED:
        if (bits >> (type->bits - 1)) {                        /* negative: its magnitude is the two's complement */
            uint64_t mask = type->bits == 64 ? UINT64_MAX : ((uint64_t)1 << type->bits) - 1;
            return -(float)((~bits & mask) + 1);
        }
        return (float)bits;
    default:
        memcpy(&wide, &bits, sizeof wide);
        return fabs(wide) > (double)3.4028234663852886e38f ? (float)INFINITY : (float)wide;
    }
}

int tensor_read(const tensor *t, uint64_t first, size_t count, float *into)
{
    const struct dtype *type = &dtypes[t->dtype];
    if (type->kind == KIND_NONE)
        return fail("%s: tensor '%s' is %s; weights must be f64, f32, f16, bf16 or whole numbers",
                    t->file, t->name, type->lower);
    if (first > t->count || count > t->count - first)
        return fail("%s: tensor '%s' is too short", t->file, t->name);
    const uint8_t *at = t->data + first * (type->bits / 8);
    for (size_t i = 0; i < count; i++, at += type->bits / 8) {
        into[i] = read_number(type, at);
        if (!isfinite(into[i]))
            return fail("%s: tensor '%s' holds a value that is not a finite f32 (element %" PRIu64
                        "); the checkpoint is damaged or its training diverged", t->file, t->name, first + i);
    }
    return 0;
}

void tensor_describe(const tensor *t, char *into, size_t bytes)
{
    size_t used = (size_t)snprintf(into, bytes, "%s [", dtypes[t->dtype].lower);
    for (uint32_t i = 0; i < t->rank && used < bytes; i++)
        used += (size_t)snprintf(into + used, bytes - used, "%s%" PRIu64, i ? ", " : "", t->shape[i]);
    if (used < bytes)
        snprintf(into + used, bytes - used, "]");
}

/* ---- paths ---- */

int path_is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int path_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

char *path_beside(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    size_t folder = path_is_folder(path) ? strlen(path) : slash ? (size_t)(slash - path) : 0;
    while (folder > 1 && path[folder - 1] == '/')
        folder--;
    size_t bytes = strlen(name) + 1;
    char *joined = malloc(folder + 1 + bytes);
    if (!joined) {
        fail("%s: not enough memory", path);
        return NULL;
    }
    memcpy(joined, path, folder);
    if (folder || slash)
        joined[folder++] = '/';
    memcpy(joined + folder, name, bytes);
    return joined;
}

/* ---- safetensors ---- */

static int printable(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (text[i] < 0x20 || text[i] > 0x7E)
            return 0;
    return bytes > 0 && bytes < 512;
}

/* What a file that is not safetensors is, where its first bytes tell. NULL also for what may be safetensors: bytes 4 to 7
 * of its length are zero. */
static const char *other_format(const uint8_t *data, size_t bytes)
{
    if (bytes >= 8 && read_le(data + 4, 4) == 0)
        return NULL;
    static const struct { const char *magic; size_t bytes; const char *what; } known[] = {
        { "PK\3\4", 4, "a zip archive, as PyTorch's .pth is: not available in this version; save it as .safetensors" },
        { "\x80\2\x8a\n", 4, "a PyTorch pickle: not available in this version; save it as .safetensors" },
        { "GGUF", 4, "GGUF: not available in this version; give the .safetensors it was made from" },
        { "\x89HDF", 4, "HDF5: not available in this version; save it as .safetensors" },
        { MIM_BLOB_MAGIC, 8, "a mim blob already: nothing to convert" },
        { "version https://git-lfs", 23, "a git-lfs pointer, not the file: fetch it with `git lfs pull`" },
        { "\x93NUMPY", 6, "a NumPy array, not a checkpoint" },
        { "{", 1, "JSON; a checkpoint's index must be named *.safetensors.index.json, a configuration goes to --config" },
        { "<", 1, "a web page or XML, not a checkpoint" },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (bytes >= known[i].bytes && memcmp(data, known[i].magic, known[i].bytes) == 0)
            return known[i].what;
    return NULL;
}

typedef struct extent { uint64_t begin, end; const char *name; } extent;

static int compare_extents(const void *a, const void *b)
{
    const extent *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static int compare_names(const void *a, const void *b)
{
    const tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* One entry of the header. Its bytes lie in [begin, end) of the data, which is `room` long. */
static int read_entry(const shard *s, const json_node *node, const uint8_t *data, uint64_t room, tensor *t, extent *where)
{
    const json *doc = &s->header;
    const char *dtype, *name = json_key(doc, node);
    if (!printable(name, node->key_bytes))
        return fail("%s: a tensor's name is empty, too long or not printable ASCII", s->path);
    const json_node *shape = json_member(doc, node, "shape"), *offsets = json_member(doc, node, "data_offsets");
    if (node->type != JSON_OBJECT || node->count != 3 || !json_string(doc, json_member(doc, node, "dtype"), &dtype) ||
        !shape || shape->type != JSON_ARRAY || !offsets || offsets->type != JSON_ARRAY || offsets->count != 2)
        return fail("%s: tensor '%s' must have dtype, shape and data_offsets, and nothing else", s->path, name);

    memset(t, 0, sizeof *t);
    t->name = where->name = name;
    t->file = s->path;
    while (t->dtype < sizeof dtypes / sizeof *dtypes && strcmp(dtypes[t->dtype].name, dtype) != 0)
        t->dtype++;
    if (t->dtype == sizeof dtypes / sizeof *dtypes)
        return fail("%s: tensor '%s' has the unknown dtype '%.32s'", s->path, name, dtype);
    if (shape->count > TENSOR_RANK)
        return fail("%s: tensor '%s' has %" PRIu32 " dimensions, more than %u", s->path, name, shape->count, TENSOR_RANK);

    t->count = 1;
    for (const json_node *size = json_first(doc, shape); size; size = json_next(doc, size)) {
        uint64_t *n = &t->shape[t->rank++];
        if (!json_u64(doc, size, n))
            return fail("%s: tensor '%s' has a dimension that is not a whole number", s->path, name);
        if (*n && t->count > UINT64_MAX / *n)
            return fail("%s: tensor '%s' has an impossible size", s->path, name);
        t->count *= *n;
    }
    const json_node *begin = json_first(doc, offsets);
    if (!json_u64(doc, begin, &where->begin) || !json_u64(doc, json_next(doc, begin), &where->end) ||
        where->begin > where->end)
        return fail("%s: tensor '%s' has malformed data_offsets", s->path, name);
    if (where->end > room)
        return fail("%s: tensor '%s' ends at byte %" PRIu64 " of the data, which has %" PRIu64
                    "; the file is truncated or damaged", s->path, name, where->end, room);
    uint32_t bits = dtypes[t->dtype].bits;
    if (t->count > UINT64_MAX / bits || t->count * bits % 8 || t->count * bits / 8 != where->end - where->begin)
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
    metadata_pair *grown = realloc(cp->metadata, (cp->metadata_count + node->count + 1) * sizeof *grown);
    if (!grown)
        return fail("%s: not enough memory", s->path);
    cp->metadata = grown;
    for (const json_node *child = json_first(doc, node); child; child = json_next(doc, child)) {
        metadata_pair *pair = &cp->metadata[cp->metadata_count];
        pair->key = json_key(doc, child);
        if (child->type != JSON_STRING)
            return fail("%s: __metadata__ holds something that is not a string", s->path);
        if (json_string(doc, child, &pair->value))
            cp->metadata_count++;
    }
    return 0;
}

/* The file of a shard, mapped or in memory, becomes tensors at the end of cp->tensors. */
static int read_shard(checkpoint *cp, shard *s)
{
    const uint8_t *data = s->file.data;
    size_t bytes = s->file.bytes;
    const char *other = other_format(data, bytes);
    uint64_t header = bytes >= 8 ? read_le(data, 8) : 0;
    if (other)
        return fail("%s: this is %s", s->path, other);
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
    size_t most = cp->count + root->count;
    tensor *tensors = realloc(cp->tensors, (most + 1) * sizeof *tensors);
    if (!tensors)
        return fail("%s: not enough memory", s->path);
    cp->tensors = tensors;
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
            failed = read_entry(s, child, data + 8 + header, room, &cp->tensors[cp->count + n], &extents[n]);
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
    if (!failed)
        cp->count += n;
    return failed;
}

/* Sorts the tensors and refuses a name that two files hold. */
static int finish(checkpoint *cp)
{
    qsort(cp->tensors, cp->count, sizeof *cp->tensors, compare_names);
    for (size_t i = 1; i < cp->count; i++)
        if (strcmp(cp->tensors[i - 1].name, cp->tensors[i].name) == 0)
            return fail("%s: tensor '%s' is also in %s", cp->tensors[i].file, cp->tensors[i].name, cp->tensors[i - 1].file);
    if (cp->count == 0)
        return fail("%s: holds no tensors", cp->path);
    return 0;
}

static int add_shard(checkpoint *cp, char *path, const in_file *file)
{
    shard *grown = path ? realloc(cp->shards, (cp->shard_count + 1) * sizeof *grown) : NULL;
    if (!grown) {
        free(path);
        return fail("%s: not enough memory", cp->path);
    }
    cp->shards = grown;
    shard *s = &cp->shards[cp->shard_count++];
    memset(s, 0, sizeof *s);
    s->path = path;
    if (file)
        s->file = *file;
    else if (in_open(&s->file, path))
        return 1;
    return read_shard(cp, s);
}

static char *copy_text(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = malloc(bytes);
    return copy ? memcpy(copy, text, bytes) : NULL;
}

/* ---- shards ---- */

typedef struct placement { const char *name, *file; } placement;

static int compare_files(const void *a, const void *b)
{
    const placement *x = a, *y = b;
    return strcmp(x->file, y->file);
}

static int compare_placements(const void *a, const void *b)
{
    const placement *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static int read_map(checkpoint *cp, const json *doc, placement *map, size_t n)
{
    size_t i = 0;
    const json_node *node = json_member(doc, json_root(doc), "weight_map");
    for (node = json_first(doc, node); node; node = json_next(doc, node), i++) {
        map[i].name = json_key(doc, node);
        if (!printable(map[i].name, node->key_bytes) || !json_string(doc, node, &map[i].file) ||
            !printable(map[i].file, node->text_bytes))
            return fail("%s: weight_map must map names of tensors to names of files, in printable ASCII", cp->path);
        if (strpbrk(map[i].file, "/\\") || strcmp(map[i].file, ".") == 0 || strcmp(map[i].file, "..") == 0)
            return fail("%s: weight_map names '%.80s', which is not a file beside it", cp->path, map[i].file);
    }
    qsort(map, n, sizeof *map, compare_files);
    for (i = 0; i < n; i++) {
        if (i && strcmp(map[i - 1].file, map[i].file) == 0)
            continue;
        if (cp->shard_count == SHARDS_MAX)
            return fail("%s: weight_map names more than %u files", cp->path, SHARDS_MAX);
        if (add_shard(cp, path_beside(cp->path, map[i].file), NULL))
            return 1;
    }
    if (finish(cp))
        return 1;

    /* the index and the files must tell the same story, tensor by tensor */
    qsort(map, n, sizeof *map, compare_placements);
    for (i = 0; i < n || i < cp->count; i++) {
        int order = i == n ? 1 : i == cp->count ? -1 : strcmp(map[i].name, cp->tensors[i].name);
        if (order < 0)
            return fail("%s: tensor '%s' is in none of its files", cp->path, map[i].name);
        if (order > 0)
            return fail("%s: tensor '%s' is not in the index %s", cp->tensors[i].file, cp->tensors[i].name, cp->path);
        const char *slash = strrchr(cp->tensors[i].file, '/');
        if (strcmp(slash ? slash + 1 : cp->tensors[i].file, map[i].file) != 0)
            return fail("%s: tensor '%s' should be in %s, it is in %s", cp->path, map[i].name, map[i].file, cp->tensors[i].file);
    }
    return 0;
}

static int read_index(checkpoint *cp)
{
    in_file file;
    json doc;
    if (in_open(&file, cp->path))
        return 1;
    int failed = json_parse(&doc, file.data, file.bytes);
    if (failed)
        fail("%s: not valid JSON: %s (byte %zu)", cp->path, doc.error, doc.error_at);
    in_close(&file);
    if (!failed) {
        const json_node *map = json_member(&doc, json_root(&doc), "weight_map");
        placement *placements = NULL;
        if (!map || map->type != JSON_OBJECT || map->count == 0)
            failed = fail("%s: has no weight_map", cp->path);
        else if (!(placements = malloc(map->count * sizeof *placements)))
            failed = fail("%s: not enough memory", cp->path);
        else
            failed = read_map(cp, &doc, placements, map->count);
        free(placements);
    }
    json_free(&doc);
    return failed;
}

/* ---- opening ---- */

int checkpoint_parse(checkpoint *cp, const void *data, size_t bytes, const char *path)
{
    in_file file = { data, bytes, 0 };
    memset(cp, 0, sizeof *cp);
    if (!(cp->path = copy_text(path)))
        return fail("%s: not enough memory", path);
    int failed = add_shard(cp, copy_text(path), &file);
    if (cp->shard_count)
        memset(&cp->shards[0].file, 0, sizeof cp->shards[0].file);  /* the caller's */
    return failed || finish(cp);
}

static int ends_with(const char *text, const char *tail)
{
    size_t n = strlen(text), m = strlen(tail);
    return n >= m && strcmp(text + n - m, tail) == 0;
}

int checkpoint_open(checkpoint *cp, const char *path)
{
    memset(cp, 0, sizeof *cp);
    if (path_is_folder(path)) {
        static const char *const names[] = { "model.safetensors", "model.safetensors.index.json" };
        for (size_t i = 0; i < 2; i++) {
            free(cp->path);
            if (!(cp->path = path_beside(path, names[i])))
                return 1;
            if (path_exists(cp->path))
                break;
            if (i == 1)
                return fail("%s: has neither model.safetensors nor model.safetensors.index.json; name the file", path);
        }
    } else if (!(cp->path = copy_text(path))) {
        return fail("%s: not enough memory", path);
    }
    if (ends_with(cp->path, ".index.json"))
        return read_index(cp);
    return add_shard(cp, copy_text(cp->path), NULL) || finish(cp);
}

void checkpoint_close(checkpoint *cp)
{
    for (size_t i = 0; i < cp->shard_count; i++) {
        if (cp->shards[i].file.data)
            in_close(&cp->shards[i].file);
        json_free(&cp->shards[i].header);
        free(cp->shards[i].path);
    }
    free(cp->shards);
    free(cp->tensors);
    free(cp->metadata);
    free(cp->path);
    memset(cp, 0, sizeof *cp);
}

const tensor *checkpoint_find(const checkpoint *cp, const char *name)
{
    tensor key = {0};
    key.name = name;
    return cp->count ? bsearch(&key, cp->tensors, cp->count, sizeof key, compare_names) : NULL;
}

const char *checkpoint_metadata(const checkpoint *cp, const char *key)
{
    for (size_t i = 0; i < cp->metadata_count; i++)
        if (strcmp(cp->metadata[i].key, key) == 0)
            return cp->metadata[i].value;
    return NULL;
}
