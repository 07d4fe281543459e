/* checkpoint.c - see checkpoint.h. */
#include "container.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SHARDS_MAX 4096u

/* ---- numbers ---- */

enum {
    KIND_NONE, KIND_F64, KIND_F32, KIND_F16, KIND_BF16, KIND_SIGNED, KIND_UNSIGNED,
    KIND_Q8_0, KIND_Q4_0, KIND_Q4_1, KIND_Q5_0, KIND_Q5_1
};

/* Every dtype of the formats; those of KIND_NONE may lie in a file but cannot become weights. GGUF's quantized types are
 * stored in blocks of 32 elements; of those, bits are the bits of a block. */
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
    { "F4", "f4", 4, KIND_NONE },                      { "C128", "c128", 128, KIND_NONE },
    { "Q8_0", "q8_0", 34 * 8, KIND_Q8_0 },             { "Q4_0", "q4_0", 18 * 8, KIND_Q4_0 },
    { "Q4_1", "q4_1", 20 * 8, KIND_Q4_1 },             { "Q5_0", "q5_0", 22 * 8, KIND_Q5_0 },
    { "Q5_1", "q5_1", 24 * 8, KIND_Q5_1 },
};

enum { BLOCK = 32 };

int dtype_named(const char *name, uint32_t *dtype)
{
    for (*dtype = 0; *dtype < sizeof dtypes / sizeof *dtypes; ++*dtype)
        if (strcmp(dtypes[*dtype].name, name) == 0)
            return 1;
    return 0;
}

int dtype_is_blocks(uint32_t dtype) { return dtypes[dtype].kind >= KIND_Q8_0; }

int dtype_bytes(uint32_t dtype, uint64_t count, uint64_t *bytes)
{
    uint64_t bits = dtypes[dtype].bits;
    if (dtype_is_blocks(dtype)) {
        if (count % BLOCK)
            return 0;
        count /= BLOCK;
    }
    if (count > UINT64_MAX / bits || count * bits % 8)
        return 0;
    *bytes = count * bits / 8;
    return 1;
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
static float number(const struct dtype *type, uint64_t bits)
{
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

/* Element i of a block: a scale, a least value in types _1, in types Q5 the fifth bits, then the low four bits of elements
 * i and i + 16 in one byte. */
static float read_block(uint32_t kind, const uint8_t *block, uint32_t i)
{
    float scale = half_to_float((uint32_t)read_le(block, 2)), least = -0.0f;
    if (kind == KIND_Q8_0)
        return scale * (float)(block[2 + i] < 128 ? block[2 + i] : block[2 + i] - 256);
    const uint8_t *at = block + 2;
    int value = 0;
    if (kind == KIND_Q4_1 || kind == KIND_Q5_1) {
        least = half_to_float((uint32_t)read_le(at, 2));
        at += 2;
    }
    if (kind == KIND_Q5_0 || kind == KIND_Q5_1) {
        value = (int)(read_le(at, 4) >> i & 1) << 4;
        at += 4;
    }
    value |= i < BLOCK / 2 ? at[i] & 15 : at[i - BLOCK / 2] >> 4;
    value -= kind == KIND_Q4_0 ? 8 : kind == KIND_Q5_0 ? 16 : 0;
    return scale * (float)value + least;
}

/* The element that lies `at` elements after the first. */
static float read_number(const tensor *t, uint64_t at)
{
    const struct dtype *type = &dtypes[t->dtype];
    if (type->kind >= KIND_Q8_0)
        return read_block(type->kind, t->data + at / BLOCK * (type->bits / 8), (uint32_t)(at % BLOCK));
    uint32_t bytes = type->bits / 8;
    const uint8_t *p = t->data + at * bytes;
    uint64_t bits = 0;
    if (!t->swapped)
        return number(type, read_le(p, bytes));
    for (uint32_t i = 0; i < bytes; i++)
        bits = bits << 8 | p[i];
    return number(type, bits);
}

int tensor_read(const tensor *t, uint64_t first, size_t count, float *into)
{
    if (dtypes[t->dtype].kind == KIND_NONE)
        return fail("%s: tensor '%s' is %s; weights must be f64, f32, f16, bf16 or whole numbers",
                    t->file, t->name, dtypes[t->dtype].lower);
    if (first > t->count || count > t->count - first)
        return fail("%s: tensor '%s' is too short", t->file, t->name);
    if (count == 0)
        return 0;
    uint64_t index[TENSOR_RANK], at = first;
    if (t->strided) {
        uint64_t rest = first;
        at = 0;
        for (uint32_t d = t->rank; d-- > 0; rest /= t->shape[d]) {
            index[d] = rest % t->shape[d];
            at += index[d] * t->stride[d];
        }
    }
    for (size_t i = 0; i < count; i++) {
        into[i] = read_number(t, at);
        if (!isfinite(into[i]))
            return fail("%s: tensor '%s' holds a value that is not a finite f32 (element %" PRIu64
                        "); the checkpoint is damaged or its training diverged", t->file, t->name, first + i);
        if (!t->strided) {
            at++;
            continue;
        }
        for (uint32_t d = t->rank; d-- > 0;) {               /* the last index runs fastest */
            if (++index[d] < t->shape[d]) {
                at += t->stride[d];
                break;
            }
            at -= (t->shape[d] - 1) * t->stride[d];
            index[d] = 0;
        }
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

/* ---- text and memory ---- */

int printable(const void *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (((const uint8_t *)text)[i] < 0x20 || ((const uint8_t *)text)[i] > 0x7E)
            return 0;
    return bytes > 0 && bytes < 512;
}

const char *shown(const void *text, size_t bytes)
{
    static char turns[4][64];
    static unsigned turn;
    char *into = turns[turn++ % 4];
    size_t n = bytes < 60 ? bytes : 60;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = ((const uint8_t *)text)[i];
        into[i] = c < 0x20 || c > 0x7E ? '?' : (char)c;
    }
    snprintf(into + n, 4, "%s", n < bytes ? "..." : "");
    return into;
}

/* Memory of a shard comes in blocks, so that a name costs little more than its characters. */
typedef struct block {
    struct block *next;
    size_t used, room;
    uint64_t memory[];
} block;

void *shard_memory(shard *s, size_t bytes)
{
    block *b = s->memory;
    size_t words = bytes / 8 + 1;
    if (bytes > SIZE_MAX / 2 || !b || words > b->room - b->used) {
        size_t room = words > 8192 ? words : 8192;
        b = bytes > SIZE_MAX / 2 ? NULL : calloc(1, sizeof *b + room * 8);
        if (!b) {
            fail("%s: not enough memory for %zu bytes", s->path, bytes);
            return NULL;
        }
        b->room = room;
        b->next = s->memory;
        s->memory = b;
    }
    b->used += words;
    return b->memory + b->used - words;
}

char *shard_text(shard *s, const void *text, size_t bytes)
{
    char *copy = shard_memory(s, bytes + 1);
    return copy ? memcpy(copy, text, bytes) : NULL;
}

/* ---- adding ---- */

int checkpoint_reserve(checkpoint *cp, size_t more)
{
    if (more > TENSORS_MAX - cp->count)
        return fail("%s: holds more than %u tensors", cp->path, TENSORS_MAX);
    if (more <= cp->room - cp->count)
        return 0;
    size_t room = cp->count + more > 2 * cp->room ? cp->count + more : 2 * cp->room;
    tensor *grown = realloc(cp->tensors, room * sizeof *grown);
    if (!grown)
        return fail("%s: not enough memory", cp->path);
    cp->tensors = grown;
    cp->room = room;
    return 0;
}

tensor *checkpoint_add(checkpoint *cp, shard *s, const void *name, size_t bytes)
{
    tensor *t = &cp->tensors[cp->count];
    memset(t, 0, sizeof *t);
    if (!printable(name, bytes)) {
        fail("%s: a tensor's name is empty, too long or not printable ASCII", s->path);
        return NULL;
    }
    t->name = shard_text(s, name, bytes);
    t->file = s->path;
    t->count = 1;
    cp->count += t->name != NULL;
    return t->name ? t : NULL;
}

int checkpoint_add_metadata(checkpoint *cp, const char *key, const char *value)
{
    size_t n = cp->metadata_count;
    if ((n & (n - 1)) == 0) {                     /* it doubles at powers of two */
        metadata_pair *grown = realloc(cp->metadata, (n ? 2 * n : 1) * sizeof *grown);
        if (!grown)
            return fail("%s: not enough memory", cp->path);
        cp->metadata = grown;
    }
    cp->metadata[cp->metadata_count++] = (metadata_pair){ key, value };
    return 0;
}

int tensor_append(tensor *t, uint64_t size)
{
    if (t->rank == TENSOR_RANK || (size && t->count > UINT64_MAX / size))
        return 0;
    t->shape[t->rank++] = size;
    t->count *= size;
    return 1;
}

/* ---- one file ---- */

static int compare_names(const void *a, const void *b)
{
    const tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* What a file is that is none of the formats, where its first bytes tell; NULL: it may be safetensors. */
static const char *other_format(const uint8_t *data, size_t bytes)
{
    static const struct { const char *magic; size_t bytes; const char *what; } known[] = {
        { "PK\5\6", 4, "an empty zip archive" },
        { "\x89HDF", 4, "HDF5: not available in this version; save it as .safetensors" },
        { MIM_BLOB_MAGIC, 8, "a mim blob already: nothing to convert" },
        { "version https://git-lfs", 23, "a git-lfs pointer, not the file: fetch it with `git lfs pull`" },
        { "\x93NUMPY", 6, "a NumPy array, not a checkpoint" },
        { "lmgg", 4, "a file of ggml from before GGUF, as vit.cpp writes: give the checkpoint it was made from" },
        { "\x1F\x8B", 2, "compressed with gzip: unpack it first" },
        { "{", 1, "JSON; a checkpoint's index must be named *.safetensors.index.json, a configuration goes to --config" },
        { "<", 1, "a web page or XML, not a checkpoint" },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (bytes >= known[i].bytes && memcmp(data, known[i].magic, known[i].bytes) == 0)
            return known[i].what;
    if (bytes >= 512 && memcmp(data + 257, "ustar", 5) == 0)
        return "a tar archive, as PyTorch wrote before 0.1.10, or others around a checkpoint: unpack it, or load it in Python "
               "and torch.save its state dict";
    return NULL;
}

/* The file of a shard, mapped or in memory, becomes tensors at the end of cp->tensors. */
static int read_shard(checkpoint *cp, shard *s)
{
    const uint8_t *data = s->file.data;
    size_t bytes = s->file.bytes;
    if (bytes > 8 && read_le(data, 8) <= JSON_BYTES && data[8] == '{')     /* whatever the length looks like */
        return read_safetensors(cp, s);
    if (bytes >= 4 && memcmp(data, "PK\3\4", 4) == 0)
        return read_zip(cp, s);
    if (bytes >= 4 && memcmp(data, "GGUF", 4) == 0)
        return read_gguf(cp, s);
    if (bytes >= 2 && data[0] == 0x80 && data[1] >= 2 && data[1] <= 5)
        return read_torch_stream(cp, s);
    const char *other = other_format(data, bytes);
    return other ? fail("%s: this is %s", s->path, other) : read_safetensors(cp, s);
}

/* Sorts the tensors and refuses a name that is there twice. */
static int finish(checkpoint *cp)
{
    if (cp->count == 0)
        return fail("%s: holds no tensors", cp->path);
    qsort(cp->tensors, cp->count, sizeof *cp->tensors, compare_names);
    for (size_t i = 1; i < cp->count; i++) {
        const tensor *t = &cp->tensors[i];
        if (strcmp(t[-1].name, t->name) == 0 && strcmp(t[-1].file, t->file) == 0)
            return fail("%s: holds two tensors named '%s'", t->file, t->name);
        if (strcmp(t[-1].name, t->name) == 0)
            return fail("%s: tensor '%s' is also in %s", t->file, t->name, t[-1].file);
    }
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

int checkpoint_parse(checkpoint *cp, const void *data, size_t bytes, const char *path, const char *wrapper)
{
    in_file file = { data, bytes, 0 };
    memset(cp, 0, sizeof *cp);
    cp->wrapper = wrapper;
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

int checkpoint_open(checkpoint *cp, const char *path, const char *wrapper)
{
    memset(cp, 0, sizeof *cp);
    cp->wrapper = wrapper;
    if (path_is_folder(path)) {
        static const char *const names[] = { "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                                             "pytorch_model.bin.index.json" };
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            free(cp->path);
            if (!(cp->path = path_beside(path, names[i])))
                return 1;
            if (path_exists(cp->path))
                break;
            if (i + 1 == sizeof names / sizeof *names)
                return fail("%s: has neither model.safetensors nor model.safetensors.index.json nor pytorch_model.bin; name the "
                            "file", path);
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
        for (block *b = cp->shards[i].memory, *next; b; b = next) {
            next = b->next;
            free(b);
        }
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
