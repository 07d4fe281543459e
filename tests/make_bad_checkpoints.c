/* make_bad_checkpoints.c - fixtures for test_convert.sh, made from nothing but this file.
 *
 *   make_bad_checkpoints make GOOD BAD     into these folders, with the phrase that each bad one must be refused with
 *   make_bad_checkpoints check BLOB FORM   every number of a converted good one against what it was made from
 *
 * Every weight is a multiple of 1/64 no larger than 1, so that f64, f32, f16 and bf16 files hold the same numbers. */
#include "../mim.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIM = 20, HEADS = 2, HEAD = 10, HIDDEN = 36, DEPTH = 2, SIDE = 3, PATCH = 2, CHANNELS = 3 };
enum { DECODER_DIM = 12, DECODER_HEADS = 2, DECODER_HEAD = 6, DECODER_HIDDEN = 24, PIXELS = PATCH * PATCH * CHANNELS };

/* What a good model has. */
typedef struct form {
    const char *name;
    int cls, registers, scale, norm, fc_norm, classes, wide_head, decoder, bias;   /* bias: 0 none, 1 all, 2 q and v only */
} form;

static const form forms[] = {
    { "mae", 1, 0, 0, 1, 0, 0, 0, 1, 1 },
    { "vit", 1, 0, 0, 1, 0, 5, 0, 0, 1 },
    { "dinov2", 1, 0, 1, 1, 0, 0, 0, 0, 1 },
    { "dinov2-head", 1, 0, 1, 1, 0, 5, 1, 0, 1 },
    { "registers", 1, 2, 1, 1, 0, 0, 0, 0, 1 },
    { "nocls", 0, 0, 0, 1, 0, 5, 0, 0, 1 },
    { "finetuned", 1, 0, 0, 0, 1, 5, 0, 0, 1 },
    { "qvbias", 1, 0, 0, 1, 0, 0, 0, 0, 2 },
    { "nobias", 1, 0, 0, 1, 0, 0, 0, 0, 0 },
};

static void die(const char *what, const char *where)
{
    fprintf(stderr, "make_bad_checkpoints: %s: %s\n", what, where);
    exit(2);
}

/* ---- the weights ---- */

/* Element i of the tensor of this (timm) name. */
static float weight(const char *name, long i)
{
    uint32_t h = 2166136261u;
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 16777619u;
    h ^= (uint32_t)i * 2654435761u;
    h = (h ^ h >> 15) * 2246822519u;
    h ^= h >> 13;
    return (float)((int)(h % 129) - 64) / 64;
}

/* ---- a checkpoint being made ---- */

typedef struct item {
    char name[96], source[96];     /* in the file; whose numbers */
    const char *dtype;
    int rank;
    long shape[5], first, count;   /* first: element of the source that it begins with */
    float *value;                  /* NULL: weight(source, first + i) */
} item;

static item items[256];
static int item_count;
static const char *default_dtype = "F32";

static item *add(const char *name, const char *source, long first, int rank, ...)
{
    item *t = &items[item_count++];
    va_list sizes;
    memset(t, 0, sizeof *t);
    snprintf(t->name, sizeof t->name, "%s", name);
    snprintf(t->source, sizeof t->source, "%s", source);
    t->dtype = default_dtype;
    t->rank = rank;
    t->first = first;
    t->count = 1;
    va_start(sizes, rank);
    for (int i = 0; i < rank; i++)
        t->count *= t->shape[i] = va_arg(sizes, int);
    va_end(sizes);
    return t;
}

static item *find(const char *name)
{
    for (int i = 0; i < item_count; i++)
        if (strcmp(items[i].name, name) == 0)
            return &items[i];
    die("no such tensor", name);
    return NULL;
}

static void drop(const char *name)
{
    item *t = find(name);
    memmove(t, t + 1, (size_t)(items + item_count - t - 1) * sizeof *t);
    item_count--;
}

static long bits_of(const char *dtype)
{
    return strstr(dtype, "64") ? 64 : strstr(dtype, "32") ? 32 : strstr(dtype, "16") ? 16 : 8;
}

static void put_le(FILE *out, uint64_t value, long bytes)
{
    for (long i = 0; i < bytes; i++)
        putc((int)(value >> 8 * i & 255), out);
}

static void put_number(FILE *out, const char *dtype, float value)
{
    uint32_t bits;
    uint64_t wide;
    double number = (double)value;
    memcpy(&bits, &value, 4);
    memcpy(&wide, &number, 8);
    if (strcmp(dtype, "F32") == 0) {
        put_le(out, bits, 4);
    } else if (strcmp(dtype, "F64") == 0) {
        put_le(out, wide, 8);
    } else if (strcmp(dtype, "BF16") == 0) {
        put_le(out, bits >> 16, 2);
    } else if (strcmp(dtype, "F16") == 0) {
        uint32_t magnitude = bits & 0x7FFFFFFF;
        put_le(out, (bits >> 16 & 0x8000) | (magnitude ? (magnitude - 0x38000000) >> 13 : 0), 2);
    } else {
        put_le(out, (uint64_t)(int64_t)value, bits_of(dtype) / 8);
    }
}

static char header[65536];

static void make_header(const char *metadata)
{
    size_t used = 0;
    long at = 0;
    used += (size_t)snprintf(header, sizeof header, "{");
    if (metadata)
        used += (size_t)snprintf(header + used, sizeof header - used, "\"__metadata__\":%s%s", metadata, item_count ? "," : "");
    for (int i = 0; i < item_count; i++) {
        const item *t = &items[i];
        long bytes = t->count * (bits_of(t->dtype) / 8);
        used += (size_t)snprintf(header + used, sizeof header - used, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i ? "," : "", t->name, t->dtype);
        for (int k = 0; k < t->rank; k++)
            used += (size_t)snprintf(header + used, sizeof header - used, "%s%ld", k ? "," : "", t->shape[k]);
        used += (size_t)snprintf(header + used, sizeof header - used, "],\"data_offsets\":[%ld,%ld]}", at, at + bytes);
        at += bytes;
    }
    snprintf(header + used, sizeof header - used, "}");
}

static FILE *create(const char *path)
{
    FILE *out = fopen(path, "wb");
    if (!out)
        die("cannot write", path);
    return out;
}

static void finish(FILE *out, const char *path)
{
    if (fclose(out))
        die("cannot write", path);
}

static void text_file(const char *path, const char *text)
{
    FILE *out = create(path);
    fputs(text, out);
    finish(out, path);
}

/* Writes header[] and the items' data; padded to 8 as the format's writers do. */
static void save(const char *path)
{
    FILE *out = create(path);
    size_t length = strlen(header), padded = (length + 7) / 8 * 8;
    put_le(out, padded, 8);
    fprintf(out, "%s%*s", header, (int)(padded - length), "");
    for (int i = 0; i < item_count; i++)
        for (long k = 0; k < items[i].count; k++)
            put_number(out, items[i].dtype, items[i].value ? items[i].value[k] : weight(items[i].source, items[i].first + k));
    finish(out, path);
}

/* ---- good models ---- */

enum { TIMM, HF, HF_MODULES };

static void add_pair(const char *name, const char *source, int rows, int columns, int bias)
{
    char full[96], from[96];
    snprintf(full, sizeof full, "%s.weight", name);
    snprintf(from, sizeof from, "%s.weight", source);
    if (columns)
        add(full, from, 0, 2, rows, columns);
    else
        add(full, from, 0, 1, rows);
    snprintf(full, sizeof full, "%s.bias", name);
    snprintf(from, sizeof from, "%s.bias", source);
    if (bias)
        add(full, from, 0, 1, rows);
}

static void add_block(const form *f, int naming, const char *prefix, const char *source, int dim, int hidden)
{
    static const char *const names[3][9] = {
        { "norm1", "attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2", "ls%d.gamma" },
        { "layernorm_before", "attention.attention.query", "attention.attention.key", "attention.attention.value",
          "attention.output.dense", "layernorm_after", "intermediate.dense", "output.dense", "layer_scale%d.lambda1" },
        { "layernorm_before", "attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.o_proj",
          "layernorm_after", "mlp.fc1", "mlp.fc2", "layer_scale%d.lambda1" },
    };
    const char *const *n = names[naming];
    int linear = f->bias != 0;
    char name[96], from[96];
#define NAME(part) (snprintf(name, sizeof name, "%s%s", prefix, part), name)
#define FROM(part) (snprintf(from, sizeof from, "%s%s", source, part), from)
    /* transformers' Dinov2 names its norms and MLP as timm does */
    add_pair(NAME(f->scale ? "norm1" : n[0]), FROM("norm1"), dim, 0, 1);
    if (naming == TIMM) {
        add_pair(NAME("attn.qkv"), FROM("attn.qkv"), 3 * dim, dim, f->bias == 1);
        for (int i = 0; i < 3 && f->bias == 2; i += 2)
            add(NAME(i ? "attn.v_bias" : "attn.q_bias"), FROM("attn.qkv.bias"), (long)i * dim, 1, dim);
    } else {
        for (int i = 0; i < 3; i++) {
            char part[96];
            snprintf(part, sizeof part, "%s.weight", n[1 + i]);
            add(NAME(part), FROM("attn.qkv.weight"), (long)i * dim * dim, 2, dim, dim);
            snprintf(part, sizeof part, "%s.bias", n[1 + i]);
            if (f->bias == 1)
                add(NAME(part), FROM("attn.qkv.bias"), (long)i * dim, 1, dim);
        }
    }
    add_pair(NAME(n[4]), FROM("attn.proj"), dim, dim, linear);
    add_pair(NAME(f->scale ? "norm2" : n[5]), FROM("norm2"), dim, 0, 1);
    add_pair(NAME(f->scale ? "mlp.fc1" : n[6]), FROM("mlp.fc1"), hidden, dim, linear);
    add_pair(NAME(f->scale ? "mlp.fc2" : n[7]), FROM("mlp.fc2"), dim, hidden, linear);
    for (int i = 1; i <= 2 && f->scale; i++) {
        char part[96], gamma[16];
        snprintf(part, sizeof part, i == 1 ? "%.*s1%s" : "%.*s2%s", (int)(strchr(n[8], '%') - n[8]), n[8], strchr(n[8], '%') + 2);
        snprintf(gamma, sizeof gamma, "ls%d.gamma", i);
        add(NAME(part), FROM(gamma), 0, 1, dim);
    }
#undef NAME
#undef FROM
}

/* prefix: of the encoder's names ("", "vit."). outer: of what lies beside the encoder. */
static void model(const form *f, int naming, const char *prefix, const char *outer)
{
    static const char *const names[2][8] = {
        { "patch_embed.proj", "cls_token", "register_tokens", "pos_embed", "norm", "head", "blocks.%d.", "decoder_blocks.%d." },
        { "embeddings.patch_embeddings.projection", "embeddings.cls_token", "embeddings.register_tokens",
          "embeddings.position_embeddings", "layernorm", "classifier", "encoder.layer.%d.", "decoder.decoder_layers.%d." },
    };
    const char *const *n = names[naming != TIMM];
    char name[96], source[96], part[96];
    int rows = SIDE * SIDE + f->cls;
    item_count = 0;
#define NAME(what) (snprintf(name, sizeof name, "%s%s", prefix, what), name)
#define OUTER(what) (snprintf(name, sizeof name, "%s%s%s", outer, naming == TIMM ? "" : "decoder.", what), name)
    snprintf(part, sizeof part, "%s.weight", n[0]);
    add(NAME(part), "patch_embed.proj.weight", 0, 4, DIM, CHANNELS, PATCH, PATCH);
    snprintf(part, sizeof part, "%s.bias", n[0]);
    if (f->bias)
        add(NAME(part), "patch_embed.proj.bias", 0, 1, DIM);
    if (f->cls)
        add(NAME(n[1]), "cls_token", 0, 3, 1, 1, DIM);
    if (f->registers)
        add(NAME(n[2]), "register_tokens", 0, 3, 1, f->registers, DIM);
    add(NAME(n[3]), "pos_embed", 0, 3, 1, rows, DIM);
    for (int i = 0; i < DEPTH; i++) {
        const char *block = naming == HF_MODULES && !f->scale ? "layers.%d." : n[6];
        snprintf(part, sizeof part, "%.*s%d.", (int)(strchr(block, '%') - block), block, i);
        snprintf(source, sizeof source, "blocks.%d.", i);
        add_block(f, naming, NAME(part), source, DIM, HIDDEN);
    }
    if (f->norm)
        add_pair(NAME(n[4]), "norm", DIM, 0, 1);
    if (f->fc_norm)
        add_pair(NAME("fc_norm"), "fc_norm", DIM, 0, 1);
    snprintf(part, sizeof part, "%s%s", outer, n[5]);
    if (f->classes)
        add_pair(part, "head", f->classes, DIM * (f->wide_head ? 2 : 1), 1);
    if (f->decoder) {
        add_pair(OUTER("decoder_embed"), "decoder_embed", DECODER_DIM, DIM, 1);
        add(OUTER("mask_token"), "mask_token", 0, 3, 1, 1, DECODER_DIM);
        add(OUTER("decoder_pos_embed"), "decoder_pos_embed", 0, 3, 1, rows, DECODER_DIM);
        snprintf(part, sizeof part, "%s%.*s0.", outer, (int)(strchr(n[7], '%') - n[7]), n[7]);
        add_block(f, naming, part, "decoder_blocks.0.", DECODER_DIM, DECODER_HIDDEN);
        add_pair(OUTER("decoder_norm"), "decoder_norm", DECODER_DIM, 0, 1);
        add_pair(OUTER("decoder_pred"), "decoder_pred", PIXELS, DECODER_DIM, 1);
    }
#undef NAME
#undef OUTER
}

static const form *form_named(const char *name)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (strcmp(forms[i].name, name) == 0)
            return &forms[i];
    die("no such form", name);
    return NULL;
}

static const char *in_folder(const char *folder, const char *name, const char *ending)
{
    static char paths[4][512];
    static int turn;
    char *path = paths[turn = (turn + 1) % 4];
    if (snprintf(path, 512, "%s/%s%s", folder, name, ending) >= 512)
        die("path too long", folder);
    return path;
}

static void good(const char *folder, const char *file, const char *form_name, int naming, const char *prefix, const char *outer)
{
    model(form_named(form_name), naming, prefix, outer);
    if (strcmp(file, "dinov2") == 0)
        add("mask_token", "mask_token", 0, 2, 1, DIM);
    make_header("{\"format\":\"pt\"}");
    save(in_folder(folder, file, ".safetensors"));
}

static void make_good(const char *folder)
{
    static const char *const dtypes[] = { "F64", "F16", "BF16" };
    good(folder, "mae", "mae", TIMM, "", "");
    good(folder, "hf-mae", "mae", HF, "vit.", "");
    good(folder, "vit", "vit", TIMM, "", "");
    good(folder, "hf-vit", "vit", HF, "vit.", "");
    good(folder, "hf-vit-modules", "vit", HF_MODULES, "vit.", "");
    good(folder, "wrapped", "vit", TIMM, "module.backbone.", "module.");
    good(folder, "dinov2", "dinov2", TIMM, "", "");
    good(folder, "hf-dinov2", "dinov2", HF, "", "");
    good(folder, "hf-dinov2-modules", "dinov2", HF_MODULES, "", "");
    good(folder, "hf-dinov2-head", "dinov2-head", HF, "dinov2.", "");
    good(folder, "registers", "registers", TIMM, "", "");
    good(folder, "hf-registers", "registers", HF, "", "");
    good(folder, "hf-ijepa", "nocls", HF, "ijepa.", "");
    good(folder, "finetuned", "finetuned", TIMM, "", "");
    good(folder, "qvbias", "qvbias", TIMM, "", "");
    good(folder, "nobias", "nobias", TIMM, "", "");
    for (int i = 0; i < 3; i++) {
        default_dtype = dtypes[i];
        good(folder, dtypes[i], "vit", TIMM, "", "");
    }
    default_dtype = "F32";

    /* one model that says everything about itself, in the manner of small training scripts */
    model(form_named("mae"), TIMM, "", "");
    make_header("{\"image\":\"6\",\"patch\":\"2\",\"dim\":\"20\",\"depth\":\"2\",\"heads\":\"2\",\"decoder_dim\":\"12\","
                "\"decoder_depth\":\"1\",\"decoder_heads\":\"2\",\"eps\":\"1e-6\",\"gelu\":\"erf\",\"norm_pix_loss\":\"true\","
                "\"mean\":\"0.5 0.4 0.3\",\"std\":\"0.2 0.25 0.3\",\"method\":\"MAE\",\"data\":\"none\"}");
    save(in_folder(folder, "stated", ".safetensors"));

    /* shards: the first tensors in one file, the rest in another */
    model(form_named("vit"), TIMM, "", "");
    int all = item_count, half = all / 2;
    char map[8192] = "{\"metadata\":{\"total_size\":1},\"weight_map\":{";
    for (int i = 0; i < all; i++)
        snprintf(map + strlen(map), sizeof map - strlen(map), "%s\"%.95s\":\"part-%d.safetensors\"", i ? "," : "", items[i].name, i < half ? 1 : 2);
    strcat(map, "}}");
    text_file(in_folder(folder, "whole", ".safetensors.index.json"), map);
    item_count = half;
    make_header(NULL);
    save(in_folder(folder, "part-1", ".safetensors"));
    item_count = all - half;
    memmove(items, items + half, (size_t)item_count * sizeof *items);
    make_header(NULL);
    save(in_folder(folder, "part-2", ".safetensors"));
}

/* ---- bad files ---- */

static const char *bad_folder;

static void expect(const char *file, const char *phrase) { text_file(in_folder(bad_folder, file, ".expect"), phrase); }

/* The model "vit", and what is wrong with its header's text: the first `from` becomes `to`. */
static void bad_text(const char *file, const char *from, const char *to, const char *phrase)
{
    model(form_named("vit"), TIMM, "", "");
    make_header(NULL);
    char *at = strstr(header, from);
    if (!at || strlen(header) + strlen(to) >= sizeof header)
        die("cannot edit for", file);
    memmove(at + strlen(to), at + strlen(from), strlen(at + strlen(from)) + 1);
    memcpy(at, to, strlen(to));
    save(in_folder(bad_folder, file, ".safetensors"));
    expect(file, phrase);
}

/* The file as it stands in items. */
static void bad_items(const char *file, const char *phrase)
{
    make_header(NULL);
    save(in_folder(bad_folder, file, ".safetensors"));
    expect(file, phrase);
}

static void bad_bytes(const char *file, const char *bytes, size_t n, const char *phrase)
{
    const char *path = in_folder(bad_folder, file, ".safetensors");
    FILE *out = create(path);
    fwrite(bytes, 1, n, out);
    finish(out, path);
    expect(file, phrase);
}

/* A header of this text, the length it claims, and `data` zero bytes. */
static void bad_header(const char *file, uint64_t claimed, const char *text, size_t data, const char *phrase)
{
    const char *path = in_folder(bad_folder, file, ".safetensors");
    FILE *out = create(path);
    put_le(out, claimed ? claimed : strlen(text), 8);
    fputs(text, out);
    while (data--)
        putc(0, out);
    finish(out, path);
    expect(file, phrase);
}

/* A good file cut to `keep` bytes (from its end if negative), or with one more. */
static void bad_length(const char *file, long keep, const char *phrase)
{
    const char *path = in_folder(bad_folder, file, ".safetensors");
    model(form_named("vit"), TIMM, "", "");
    make_header(NULL);
    save(path);
    FILE *in = fopen(path, "rb");
    static char bytes[1 << 17];
    size_t n = in ? fread(bytes, 1, sizeof bytes, in) : 0;
    if (!in || n == 0 || n == sizeof bytes)
        die("cannot read back", path);
    fclose(in);
    bad_bytes(file, bytes, keep == 1 << 20 ? n + 1 : keep < 0 ? n - (size_t)-keep : (size_t)keep, phrase);
}

static item *base(const char *name)
{
    model(form_named("vit"), TIMM, "", "");
    return name ? find(name) : NULL;
}

static void set_shape(item *t, int rank, long a, long b, long c, long d, long e)
{
    long shape[5] = { a, b, c, d, e };
    t->rank = rank;
    t->count = 1;
    for (int i = 0; i < rank; i++)
        t->count *= t->shape[i] = shape[i];
}

static void bad_shape(const char *file, const char *name, int rank, long a, long b, long c, long d, long e, const char *phrase)
{
    set_shape(base(name), rank, a, b, c, d, e);
    bad_items(file, phrase);
}

static void bad_value(const char *file, const char *name, const char *dtype, long at, float value, const char *phrase)
{
    item *t = base(name);
    float *values = malloc((size_t)t->count * sizeof *values);
    if (!values)
        die("no memory for", file);
    for (long i = 0; i < t->count; i++)
        values[i] = i == at ? value : 0;
    t->value = values;
    t->dtype = dtype;
    bad_items(file, phrase);
    free(values);
}

#include "bad_containers.h"

static void make_bad_containers(void)
{
    bad_bytes("empty", "", 0, "empty");
    bad_bytes("three-bytes", "\1\0\0", 3, "has only 3 bytes");
    bad_bytes("length-only", "\x10\0\0\0\0\0\0\0", 8, "the header says 16 bytes");
    bad_header("length-zero", 0, "", 8, "does not begin with");
    bad_header("length-2-63", (uint64_t)1 << 63, "{}", 64, "not safetensors");
    bad_header("length-all-ones", UINT64_MAX, "{}", 64, "not safetensors");
    bad_header("length-over-cap", 100000001, "{}", 64, "more than the format allows");
    bad_header("length-beyond-file", 5000, "{}", 64, "truncated");
    bad_length("cut-in-length", 5, "has only 5 bytes");
    bad_length("cut-in-header", 300, "truncated");
    bad_length("cut-in-data", -2000, "truncated or damaged");
    bad_length("cut-last-byte", -1, "truncated or damaged");
    bad_length("one-byte-more", 1 << 20, "the tensors end at");
    bad_bytes("zip", "PK\3\4\x14\0\0\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 30, "without a directory at its end");
    bad_bytes("pickle", "\x80\2\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\2M\xe9\3.", 21, "its pickle does not end");
    bad_bytes("gguf", "GGUF\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20, "its header does not end");
    bad_bytes("blob", MIM_BLOB_MAGIC "\1\0\0\0\0\2\0\0", 16, "mim blob already");
    bad_bytes("page", "<!DOCTYPE html><html></html>", 28, "web page");
    bad_bytes("lfs", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", 56, "git-lfs");
    bad_bytes("json", "{\"model_type\": \"vit\"}", 21, "JSON");
    bad_bytes("noise", "\xde\xad\xbe\xef\xde\xad\xbe\xef\xde\xad\xbe\xef", 12, "not safetensors");

    bad_header("no-tensors", 0, "{}", 0, "no tensors");
    bad_header("only-metadata", 0, "{\"__metadata__\":{\"a\":\"b\"}}", 0, "no tensors");
    bad_header("array", 0, "[1,2]", 0, "does not begin with");
    bad_header("space-first", 0, " {}", 0, "does not begin with");
    bad_header("unclosed", 0, "{\"a\":{", 0, "not valid JSON");
    bad_header("open-string", 0, "{\"abc", 0, "ends inside a string");
    bad_header("trailing-text", 0, "{} x", 0, "after the end");
    bad_header("trailing-comma", 0, "{\"__metadata__\":{\"a\":\"b\",}}", 0, "not valid JSON");
    bad_header("no-colon", 0, "{\"a\" 1}", 0, "colon");
    bad_header("bare-key", 0, "{a:1}", 0, "key in quotes");
    bad_header("single-quotes", 0, "{'a':1}", 0, "key in quotes");
    bad_header("wrong-bracket", 0, "{\"a\":[1}", 0, "closing bracket");
    bad_header("nan-number", 0, "{\"a\":NaN}", 0, "not a JSON value");
    bad_header("leading-zero", 0, "{\"a\":012}", 0, "malformed number");
    bad_header("bare-point", 0, "{\"a\":1.}", 0, "malformed number");
    bad_header("huge-number", 0, "{\"a\":1e999}", 0, "out of range");
    bad_header("long-number", 0, "{\"a\":1111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111"
               "1111111111111111111111111111111111111111111111111111}", 0, "too long");
    bad_header("bad-escape", 0, "{\"\\x41\":1}", 0, "escape");
    bad_header("half-surrogate", 0, "{\"\\ud800\":1}", 0, "surrogate");
    bad_header("surrogate-order", 0, "{\"\\udc00\\ud800\":1}", 0, "surrogate");
    bad_header("bad-utf8", 0, "{\"\xff\":1}", 0, "UTF-8");
    bad_header("overlong-utf8", 0, "{\"\xc0\xaf\":1}", 0, "UTF-8");
    bad_header("control-in-string", 0, "{\"a\nb\":1}", 0, "control character");
    static char deep[200] = "{\"a\":";
    memset(deep + 5, '[', 100);
    bad_header("deep", 0, deep, 0, "too deep");

    bad_text("duplicate-name", "\"cls_token\"", "\"pos_embed\"", "duplicate key");
    bad_text("duplicate-escaped", "\"cls_token\"", "\"pos\\u005fembed\"", "duplicate key");
    bad_text("unknown-dtype", "\"F32\"", "\"F31\"", "unknown dtype");
    bad_text("lower-dtype", "\"F32\"", "\"f32\"", "unknown dtype");
    bad_text("newline-dtype", "\"F32\"", "\"F\\n1\"", "unknown dtype 'F?1'");
    bad_text("escape-dtype", "\"F32\"", "\"\\u001b[2J\"", "unknown dtype '?[2J'");
    bad_text("dtype-number", "\"F32\"", "32", "must have dtype");
    bad_text("no-dtype", "\"dtype\":\"F32\",", "", "must have dtype");
    bad_text("extra-field", "\"dtype\":\"F32\",", "\"dtype\":\"F32\",\"x\":1,", "nothing else");
    bad_text("twice-dtype", "\"dtype\":\"F32\",", "\"dtype\":\"F32\",\"dtype\":\"F32\",", "duplicate key");
    bad_text("shape-object", "[20,3,2,2]", "{}", "must have dtype");
    bad_text("shape-negative", "[20,3,2,2]", "[20,3,-2,2]", "not a whole number");
    bad_text("shape-fraction", "[20,3,2,2]", "[20,3,2.0,2]", "not a whole number");
    bad_text("shape-exponent", "[20,3,2,2]", "[2e1,3,2,2]", "not a whole number");
    bad_text("shape-string", "[20,3,2,2]", "[\"20\",3,2,2]", "not a whole number");
    bad_text("shape-beyond-u64", "[20,3,2,2]", "[18446744073709551616,3,2,2]", "not a whole number");
    bad_text("shape-overflow", "[20,3,2,2]", "[4294967296,4294967296,4,1]", "impossible size");
    bad_text("shape-bits-overflow", "[20,3,2,2]", "[2305843009213693952,1]", "does not fit its shape");
    bad_text("shape-wraps-to-fit", "[20,3,2,2]", "[4611686018427388144,1]", "does not fit its shape");
    bad_text("shape-too-small", "[20,3,2,2]", "[20,3,2,1]", "does not fit its shape");
    bad_text("shape-empty", "[20,3,2,2]", "[0,3,2,2]", "does not fit its shape");
    bad_text("rank-nine", "[20,3,2,2]", "[20,3,2,2,1,1,1,1,1]", "dimensions");
    bad_text("offsets-one", "[0,960]", "[960]", "must have dtype");
    bad_text("offsets-three", "[0,960]", "[0,960,960]", "must have dtype");
    bad_text("offsets-reversed", "[0,960]", "[960,0]", "malformed data_offsets");
    bad_text("offsets-negative", "[0,960]", "[-960,0]", "malformed data_offsets");
    bad_text("offsets-huge", "[0,960]", "[0,18446744073709551615]", "ends at byte");
    bad_text("hole-first", "[0,960]", "[4,964]", "hole");
    bad_text("overlap", "[960,1040]", "[956,1036]", "overlap");
    bad_text("same-place", "[1040,1120]", "[960,1040]", "overlap");
    bad_text("beyond-end", "[960,1040]", "[960960,961040]", "ends at byte");
    bad_text("name-empty", "\"cls_token\"", "\"\"", "printable ASCII");
    bad_text("name-newline", "\"cls_token\"", "\"cls\\ntoken\"", "printable ASCII");
    bad_text("name-nul", "\"cls_token\"", "\"cls_token\\u0000\"", "printable ASCII");
    bad_text("name-unicode", "\"cls_token\"", "\"cls_\xc3\xa9\"", "printable ASCII");
    bad_text("name-escape-codes", "\"cls_token\"", "\"\\u001b[2Jcls\"", "printable ASCII");
    bad_text("metadata-array", "{", "{\"__metadata__\":[],", "not an object");
    bad_text("metadata-number", "{", "{\"__metadata__\":{\"a\":1},", "not a string");
    bad_text("entry-number", "{", "{\"a\":1,", "must have dtype");
}

/* The model "vit" with this tensor in each of its blocks. */
static void blocks_with(const char *part, int rank, int a, int b)
{
    base(NULL);
    for (int i = 0; i < DEPTH; i++) {
        char name[96];
        snprintf(name, sizeof name, "blocks.%d.%s", i, part);
        add(name, name, 0, rank, a, b);
    }
}

/* Its MLPs gated, in two tensors. */
static void gated(void)
{
    char name[96];
    blocks_with("mlp.fc1_g.weight", 2, HIDDEN, DIM);
    for (int i = 0; i < DEPTH; i++) {
        snprintf(name, sizeof name, "blocks.%d.mlp.fc1.weight", i);
        drop(name);
        snprintf(name, sizeof name, "blocks.%d.mlp.fc1.bias", i);
        drop(name);
        snprintf(name, sizeof name, "blocks.%d.mlp.fc1_x.weight", i);
        add(name, name, 0, 2, HIDDEN, DIM);
    }
}

/* Relative positions, rotations, gates and inner norms. */
static void make_bad_relations(void)
{
    enum { RELATIVE = (2 * SIDE - 1) * (2 * SIDE - 1) + 3 };
    blocks_with("attn.relative_position_bias_table", 2, RELATIVE - 1, HEADS);
    bad_items("relative-rows", "10 stored positions and 27 relative ones are not those of one square grid");
    blocks_with("attn.relative_position_bias_table", 2, RELATIVE, HEADS + 1);
    bad_items("relative-heads", "relative position bias has 3 heads, not 2 (option)");
    blocks_with("attn.relative_position_bias_table", 2, RELATIVE, 300);
    bad_items("relative-heads-300", "number of heads is 300");
    blocks_with("attn.relative_position_bias_table", 1, RELATIVE, 0);
    bad_items("relative-vector", "[relative positions, heads] was expected");
    blocks_with("attn.relative_position_bias_table", 2, 0, HEADS);
    bad_items("relative-none", "number of relative positions is 0");
    blocks_with("attn.relative_position_bias_table", 2, 70000, 1);
    find("blocks.0.attn.relative_position_bias_table")->dtype = "I8";
    bad_items("relative-70000", "number of relative positions is 70000");
    blocks_with("attn.relative_position_bias_table", 2, RELATIVE, HEADS);
    set_shape(find("blocks.1.attn.relative_position_bias_table"), 2, RELATIVE + 1, HEADS, 0, 0, 0);
    bad_items("relative-differ", "[28, 2] was expected");
    blocks_with("attn.relative_position_bias_table", 2, RELATIVE, HEADS);
    add("rel_pos_bias.relative_position_bias_table", "x", 0, 2, RELATIVE, HEADS + 1);
    bad_items("relative-shared", "[28, 2] was expected");
    blocks_with("attn.relative_position_bias_table", 2, RELATIVE, HEADS);
    add("register_tokens", "x", 0, 3, 1, 2, DIM);
    bad_items("relative-registers", "relative position bias and registers together");
    blocks_with("attn.relative_position_bias_table", 2, RELATIVE, HEADS);
    float table[RELATIVE * HEADS] = { 0 };
    table[RELATIVE] = (float)NAN;
    find("blocks.1.attn.relative_position_bias_table")->value = table;
    bad_items("relative-nan", "'blocks.1.attn.relative_position_bias_table' holds a value that is not a finite f32 (element 28)");
    blocks_with("attn.relative_position_bias_table", 2, RELATIVE, HEADS);
    drop("pos_embed");
    set_shape(find("blocks.0.attn.relative_position_bias_table"), 2, 37, HEADS, 0, 0, 0);
    set_shape(find("blocks.1.attn.relative_position_bias_table"), 2, 37, HEADS, 0, 0, 0);
    bad_items("relative-alone", "37 stored relative positions are not those of one square grid");

    base(NULL);
    add("rope.freqs_cos", "x", 0, 2, SIDE * SIDE, HEAD);
    bad_items("rotary-stranger", "'rope.freqs_cos' is of rotary positions, which vit does not have");
    base(NULL);
    add("rope.freqs", "x", 0, 2, DEPTH, HEAD);
    bad_items("rotary-learned", "learned rotary positions");
    base(NULL);
    drop("pos_embed");
    add("rope_embed.periods", "x", 0, 1, 3);
    bad_items("periods-three", "not made of heads of 12 ('rope_embed.periods')");
    base(NULL);
    drop("pos_embed");
    add("rope_embed.periods", "x", 0, 1, 100);
    bad_items("periods-many", "[a quarter of the width of a head] was expected");
    base(NULL);
    drop("pos_embed");
    add("rope_embed.periods", "x", 0, 1, 5);
    bad_items("periods-heads", "size of the pictures (--image-size N or HxW)");
    base(NULL);
    add("rope_embed.periods", "x", 0, 1, 5);
    bad_items("periods-positions", "'pos_embed' is a table of positions, which dinov3 does not have");
    base(NULL);
    add("cls_norm.weight", "x", 0, 1, DIM);
    bad_items("two-norms", "a norm of CLS and registers alone");

    base("blocks.0.mlp.fc1.weight");
    set_shape(find("blocks.0.mlp.fc1.weight"), 2, 2 * HIDDEN + 1, DIM, 0, 0, 0);
    set_shape(find("blocks.0.mlp.fc1.bias"), 1, 2 * HIDDEN + 1, 0, 0, 0, 0);
    bad_items("gate-odd", "[20, 73] was expected");
    base(NULL);
    set_shape(find("blocks.0.mlp.fc1.weight"), 2, 2 * HIDDEN, DIM, 0, 0, 0);
    set_shape(find("blocks.0.mlp.fc1.bias"), 1, 2 * HIDDEN, 0, 0, 0, 0);
    bad_items("gate-some", "only some of its blocks have a gated MLP");
    gated();
    set_shape(find("blocks.1.mlp.fc1_x.weight"), 2, HIDDEN - 1, DIM, 0, 0, 0);
    bad_items("gate-value", "[36, 20] was expected");
    gated();
    set_shape(find("blocks.0.mlp.fc1_g.weight"), 2, HIDDEN + 1, DIM, 0, 0, 0);
    bad_items("gate-rows", "[37, 20] was expected");
    gated();
    drop("blocks.1.mlp.fc1_x.weight");
    bad_items("gate-alone", "block 1 of 2 has no first linear layer of the MLP");
    gated();
    add("blocks.0.mlp.fc1.weight", "x", 0, 2, 2 * HIDDEN, DIM);
    bad_items("gate-twice", "both whole and split");
    blocks_with("mlp.norm.weight", 1, HIDDEN, 0);
    bad_items("inner-rms", "RMS norm");
    blocks_with("mlp.norm.weight", 1, HIDDEN, 0);
    add("blocks.0.mlp.norm.bias", "x", 0, 1, HIDDEN);
    add("blocks.1.mlp.norm.bias", "x", 0, 1, HIDDEN + 1);
    bad_items("inner-norm", "[36] was expected");
    base(NULL);
    add("blocks.1.mlp.norm.weight", "x", 0, 1, HIDDEN);
    add("blocks.1.mlp.norm.bias", "x", 0, 1, HIDDEN);
    bad_items("inner-norm-some", "only some of its encoder blocks have a norm inside the MLP");
    blocks_with("attn.norm.weight", 1, DIM, 0);
    add("blocks.0.attn.norm.bias", "x", 0, 1, DIM);
    add("blocks.1.attn.norm.bias", "x", 0, 1, HEAD);
    bad_items("attention-norm", "[20] was expected");
}

static void make_bad_models(void)
{
    const float nan = (float)NAN, infinite = (float)INFINITY;
    char name[96];
    bad_value("nan", "blocks.1.mlp.fc1.weight", "F32", 77, nan, "'blocks.1.mlp.fc1.weight' holds a value that is not a finite f32 (element 77)");
    bad_value("infinity", "blocks.0.attn.qkv.weight", "F32", 0, infinite, "not a finite");
    bad_value("nan-norm", "norm.bias", "F32", 19, nan, "not a finite");
    bad_value("nan-bf16", "head.weight", "BF16", 3, nan, "not a finite");
    bad_value("nan-token", "cls_token", "F32", 3, nan, "not a finite");
    bad_value("nan-position", "pos_embed", "F32", 25, infinite, "not a finite");
    bad_value("bool-weights", "norm.weight", "BOOL", 0, 1, "weights must be");
    bad_value("complex-weights", "norm.weight", "C64", 0, 1, "weights must be");
    bad_value("float8-weights", "norm.weight", "F8_E4M3", 0, 1, "weights must be");

    bad_shape("patch-rank-2", "patch_embed.proj.weight", 2, DIM, 12, 0, 0, 0, "[dim, channels, height, width] was expected");
    bad_shape("patch-rank-5", "patch_embed.proj.weight", 5, DIM, 3, 1, 2, 2, "multiple of 16");
    bad_shape("patch-rank-0", "patch_embed.proj.weight", 0, 0, 0, 0, 0, 0, "was expected");
    bad_shape("channels-17", "patch_embed.proj.weight", 4, DIM, 17, 2, 2, 0, "number of channels is 17");
    bad_shape("channels-0", "patch_embed.proj.weight", 4, DIM, 0, 2, 2, 0, "number of channels is 0");
    bad_shape("patch-300", "patch_embed.proj.weight", 4, DIM, 1, 300, 1, 0, "patch's height is 300");
    bad_shape("dim-9000", "patch_embed.proj.weight", 4, 9000, 1, 1, 1, 0, "dim is 9000");
    bad_shape("dim-0", "patch_embed.proj.weight", 4, 0, 3, 2, 2, 0, "dim is 0");
    bad_shape("other-dim", "patch_embed.proj.weight", 4, 24, 3, 2, 2, 0, "was expected");
    bad_shape("patch-bias", "patch_embed.proj.bias", 1, DIM + 1, 0, 0, 0, 0, "[20] was expected");
    bad_shape("cls-wide", "cls_token", 3, 1, 1, 24, 0, 0, "was expected");
    bad_shape("cls-two", "cls_token", 3, 1, 2, DIM, 0, 0, "was expected");
    bad_shape("cls-scalar", "cls_token", 0, 0, 0, 0, 0, 0, "was expected");
    bad_shape("positions-wide", "pos_embed", 3, 1, 10, 24, 0, 0, "was expected");
    bad_shape("positions-batch", "pos_embed", 3, 2, 5, DIM, 0, 0, "was expected");
    bad_shape("positions-none", "pos_embed", 3, 1, 0, DIM, 0, 0, "number of positions is 0");
    bad_shape("positions-odd", "pos_embed", 3, 1, 12, DIM, 0, 0, "not those of one square grid");
    bad_shape("positions-many", "pos_embed", 3, 1, 40000, DIM, 0, 0, "number of positions is 40000");
    bad_shape("norm-short", "norm.weight", 1, DIM - 1, 0, 0, 0, 0, "[20] was expected");
    bad_shape("norm-rank-2", "blocks.0.norm1.bias", 2, 1, DIM, 0, 0, 0, "[20] was expected");
    bad_shape("qkv-thirds", "blocks.0.attn.qkv.weight", 2, 61, DIM, 0, 0, 0, "was expected");
    bad_shape("qkv-rank-3", "blocks.0.attn.qkv.weight", 3, 3, DIM, DIM, 0, 0, "was expected");
    bad_shape("qkv-columns", "blocks.1.attn.qkv.weight", 2, 3 * DIM, DIM + 1, 0, 0, 0, "[60, 20] was expected");
    bad_shape("qkv-none", "blocks.0.attn.qkv.weight", 2, 0, DIM, 0, 0, 0, "attention's width is 0");
    bad_shape("qkv-bias", "blocks.1.attn.qkv.bias", 1, DIM, 0, 0, 0, 0, "[60] was expected");
    bad_shape("proj-turned", "blocks.0.attn.proj.weight", 2, DIM, DIM + 4, 0, 0, 0, "[20, 20] was expected");
    bad_shape("fc1-vector", "blocks.0.mlp.fc1.weight", 1, DIM, 0, 0, 0, 0, "[hidden, dim] was expected");
    bad_shape("fc1-none", "blocks.0.mlp.fc1.weight", 2, 0, DIM, 0, 0, 0, "hidden width of the MLP is 0");
    bad_shape("fc1-huge", "blocks.0.mlp.fc1.weight", 2, 20000, 1, 0, 0, 0, "hidden width of the MLP is 20000");
    bad_shape("gated", "blocks.0.mlp.fc1.weight", 2, 2 * HIDDEN, DIM, 0, 0, 0, "[72] was expected");
    bad_shape("fc2-turned", "blocks.1.mlp.fc2.weight", 2, HIDDEN, DIM, 0, 0, 0, "[20, 36] was expected");
    bad_shape("head-vector", "head.weight", 1, DIM, 0, 0, 0, 0, "[classes, width] was expected");
    bad_shape("head-width", "head.weight", 2, 5, DIM + 1, 0, 0, 0, "was expected");
    bad_shape("head-bias", "head.bias", 1, 6, 0, 0, 0, 0, "[5] was expected");
    set_shape(base("head.weight"), 2, 70000, DIM, 0, 0, 0);
    find("head.weight")->dtype = "I8";
    bad_items("classes-70000", "number of classes is 70000");

    base(NULL);
    drop("patch_embed.proj.weight");
    bad_items("no-patch", "no vision transformer that this version knows");
    base(NULL);
    drop("pos_embed");
    bad_items("no-positions", "no table of positions");
    base(NULL);
    drop("blocks.1.attn.proj.weight");
    bad_items("no-proj", "block 1 of 2 has no attention projection");
    base(NULL);
    drop("blocks.0.norm2.bias");
    bad_items("rms-norm", "RMS norm");
    base(NULL);
    drop("norm.bias");
    bad_items("rms-final", "RMS norm");
    base(NULL);
    drop("blocks.0.attn.qkv.weight");
    bad_items("no-qkv", "either qkv or all of query, key and value");
    base(NULL);
    drop("head.weight");
    bad_items("head-bias-only", "no weight beside it");
    base(NULL);
    for (int i = 0; i < item_count;)
        if (strncmp(items[i].name, "blocks.", 7) == 0)
            drop(items[i].name);
        else
            i++;
    bad_items("no-blocks", "no blocks");
    base(NULL);
    for (int i = 0; i < item_count; i++)
        if (strncmp(items[i].name, "blocks.1.", 9) == 0)
            items[i].name[7] = '3';
    bad_items("gap", "block 1 of 4 has no first norm");
    base(NULL);
    add("blocks.64.norm1.weight", "x", 0, 1, DIM);
    bad_items("deep-model", "limit is 64 blocks");
    base(NULL);
    add("blocks.99999999999999999999.norm1.weight", "x", 0, 1, DIM);
    bad_items("absurd-block", "limit is 64 blocks");
    base(NULL);
    add("blocks.0.attn.q_proj.weight", "x", 0, 2, DIM, DIM);
    bad_items("qkv-twice", "either qkv or all of query, key and value");
    base(NULL);
    add("blocks.0.attn.q_bias", "x", 0, 1, DIM);
    bad_items("bias-twice", "biases twice");
    base(NULL);
    add("blocks.0.gamma_1", "x", 0, 1, DIM);
    add("blocks.0.ls1.gamma", "x", 0, 1, DIM);
    bad_items("scale-twice", "same role");
    base(NULL);
    for (int i = 0; i < DEPTH; i++) {
        snprintf(name, sizeof name, "blocks.%d.attn.q_norm.weight", i);
        add(name, "x", 0, 1, HEAD);
    }
    bad_items("query-norm", "blocks.0.attn.q_norm.weight' is only half of a norm: RMS norm");
    base(NULL);
    add("blocks.0.attn.relative_position_bias_table", "x", 0, 2, 25, HEADS);
    bad_items("relative-bias", "only some of its encoder blocks have a relative position bias");
    base(NULL);
    add("patch_embed.bn.weight", "x", 0, 1, DIM);
    bad_items("stranger", "cannot use: patch_embed.bn.weight");
    base(NULL);
    add("register_tokens", "x", 0, 3, 1, 100, DIM);
    bad_items("registers-100", "100 registers are more");
    base(NULL);
    add("teacher.patch_embed.proj.weight", "x", 0, 4, DIM, CHANNELS, PATCH, PATCH);
    bad_items("two-encoders", "choose one with --prefix");
    model(form_named("vit"), HF, "vit.", "");
    add("text_model.weight", "x", 0, 1, 4);
    bad_items("text-model", "--prefix vit.");
    model(form_named("vit"), HF, "beit.", "");
    add("beit.encoder.layer.0.lambda_1", "x", 0, 1, DIM);
    bad_items("beit", "only some of its encoder blocks have a layer scale");
    make_bad_relations();
}

/* Indexes with shards. The folder also gets one good shard, only.safetensors, with two tensors. */
static void make_bad_indexes(void)
{
    static const struct { const char *file, *text, *phrase; } indexes[] = {
        { "index-not-json", "{\"weight_map\":", "not valid JSON" },
        { "index-no-map", "{\"metadata\":{}}", "no weight_map" },
        { "index-empty-map", "{\"weight_map\":{}}", "no weight_map" },
        { "index-array", "{\"weight_map\":[]}", "no weight_map" },
        { "index-number", "{\"weight_map\":{\"a\":1}}", "must map names" },
        { "index-up", "{\"weight_map\":{\"a\":\"../only.shard\"}}", "not a file beside it" },
        { "index-absolute", "{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "not a file beside it" },
        { "index-backslash", "{\"weight_map\":{\"a\":\"..\\\\only.shard\"}}", "not a file beside it" },
        { "index-dots", "{\"weight_map\":{\"a\":\"..\"}}", "not a file beside it" },
        { "index-newline", "{\"weight_map\":{\"a\":\"x\\ny\"}}", "must map names" },
        { "index-missing-file", "{\"weight_map\":{\"a\":\"nowhere.shard\"}}", "nowhere.shard" },
        { "index-missing-tensor", "{\"weight_map\":{\"a\":\"only.shard\",\"b\":\"only.shard\",\"c\":\"only.shard\"}}", "in none of its files" },
        { "index-unlisted", "{\"weight_map\":{\"a\":\"only.shard\"}}", "not in the index" },
        { "index-twice", "{\"weight_map\":{\"a\":\"only.shard\",\"b\":\"same.shard\"}}", "is also in" },
        { "index-swapped", "{\"weight_map\":{\"a\":\"only.shard\",\"b\":\"only.shard\",\"c\":\"only.shard\",\"d\":\"other.shard\"}}", "should be in" },
    };
    item_count = 0;
    add("a", "a", 0, 1, 4);
    add("b", "b", 0, 1, 4);
    make_header(NULL);
    save(in_folder(bad_folder, "only", ".shard"));
    save(in_folder(bad_folder, "same", ".shard"));
    item_count = 0;
    add("c", "c", 0, 1, 4);
    add("d", "d", 0, 1, 4);
    make_header(NULL);
    save(in_folder(bad_folder, "other", ".shard"));
    for (size_t i = 0; i < sizeof indexes / sizeof *indexes; i++) {
        text_file(in_folder(bad_folder, indexes[i].file, ".safetensors.index.json"), indexes[i].text);
        expect(indexes[i].file, indexes[i].phrase);
    }
}

/* ---- checking a blob ---- */

static const uint8_t *blob;
static const mim_blob_header *h;
static const mim_blob_step *steps;
static const mim_blob_tensor *tensors;
static uint32_t used_tensors;

static void wrong(const char *what, long row, long column, double is, double should)
{
    printf("%s: row %ld, column %ld is %.9g, should be %.9g\n", what, row, column, is, should);
    exit(1);
}

static float half(uint16_t bits)
{
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float value = exponent ? ldexpf((float)(1024 + fraction), exponent - 25) : ldexpf((float)fraction, -24);
    return bits & 0x8000 ? -value : value;
}

/* What should be at row, column (column -1: the bias) of the matrix called name. */
typedef double (*should_be)(const void *with, long row, long column);

static void check_tensor(const mim_blob_step *s, int slot, const char *name, uint32_t rows, uint32_t columns, int matrix,
                         should_be should, const void *with)
{
    if (!s->tensor[slot] || s->tensor[slot] > h->tensor_count)
        wrong(name, 0, 0, s->tensor[slot], 1);
    const mim_blob_tensor *t = &tensors[s->tensor[slot] - 1];
    uint32_t n = (rows + 15) / 16 * 16, k = (columns + 31) / 32 * 32;
    const uint8_t *data = blob + t->at;
    uint32_t type = !matrix ? MIM_F32 : h->type >= MIM_Q8 && s->kind == MIM_STEP_EMBED ? MIM_Q8
        : h->type == MIM_Q4 && h->depth >= 4 && s - steps < 3 ? MIM_Q8 : h->type;     /* q4: the first of many blocks is q8 */
    size_t panel_bytes = type == MIM_F32 ? k * 64 : type == MIM_F16 ? k * 32 : type == MIM_Q8 ? k * 16
        : k * 8 + (t->group ? (k + t->group - 1) / t->group : 0) * 8;
    used_tensors++;
    if (t->rows != rows || t->columns != columns || t->layout != (matrix ? MIM_PANEL16 : MIM_PLAIN) || t->type != type)
        wrong(name, t->rows, t->columns, t->type, type);
    for (uint32_t r = 0; r < (matrix ? n : rows); r++) {
        double largest = 0, error = 0, power = 0;
        int32_t total = 0, sum = 0;
        float scale = 1, bias = 0, value;
        const uint8_t *tail = data + (matrix ? n / 16 * panel_bytes : 0);
        if (matrix && type != MIM_F32) {
            memcpy(&scale, tail + 4 * r, 4);
            tail += 4 * n;
        }
        if (matrix && type >= MIM_Q8) {
            memcpy(&sum, tail + 4 * r, 4);
            tail += 4 * n;
        }
        if (matrix)
            memcpy(&bias, tail + 4 * r, 4);
        for (uint32_t c = 0; c < columns && r < rows; c++)
            largest = fmax(largest, fabs(should(with, r, c)));
        for (uint32_t c = 0; c < (matrix ? k : columns); c++) {
            double want = r < rows && c < columns ? should(with, r, c) : 0, tolerance = 0;
            if (!matrix) {
                memcpy(&value, data + ((size_t)r * columns + c) * 4, 4);
            } else if (type == MIM_F32) {
                memcpy(&value, data + (((size_t)(r / 16) * k + c) * 16 + r % 16) * 4, 4);
            } else if (type == MIM_F16) {
                uint16_t bits;
                memcpy(&bits, data + (((size_t)(r / 16) * k + c) * 16 + r % 16) * 2, 2);
                value = half(bits) * scale;
                tolerance = fabs(want) / 2048;
            } else if (type == MIM_Q4) {
                const uint8_t *panel = data + r / 16 * panel_bytes;
                int bits = panel[((c / 8) * 16 + r % 16) * 4 + c % 4] >> (c & 4 ? 4 : 0) & 15;
                int q = (bits - 8) * (panel[k * 8 + c / t->group * 8 + r % 8] >> (r & 8 ? 4 : 0) & 15);
                total += q;
                value = (float)q * scale;
                error += ((double)value - want) * ((double)value - want);
                power += want * want;
                tolerance = 0.2 * largest;
            } else {
                int8_t q;
                memcpy(&q, data + (((size_t)(r / 16) * (k / 4) + c / 4) * 16 + r % 16) * 4 + c % 4, 1);
                if (q > t->weight_max || q < -t->weight_max)
                    wrong(name, r, c, q, t->weight_max);
                total += q;
                value = (float)q * scale;
                error += ((double)value - want) * ((double)value - want);
                power += want * want;
                tolerance = t->fours ? 0.1 * largest : (double)scale * 0.500001;
                if (largest > 0 && !t->fours && fabs((double)scale * t->weight_max - largest) > 1e-6)
                    wrong(name, r, c, (double)scale, largest / t->weight_max);
            }
            if (!(fabs((double)value - want) <= tolerance))
                wrong(name, r, c, (double)value, want);
        }
        if (type == MIM_Q4 && error > 0.02 * power)          /* 4 bits within 32 to 128 columns leave about 1 % */
            wrong(name, r, -3, error, power);
        if (type == MIM_Q8 && error > 0.001 * power)         /* steps of a 32nd to a 128th of the largest */
            wrong(name, r, -3, error, power);
        if (type >= MIM_Q8 && total != sum)
            wrong(name, r, -2, sum, total);
        if (matrix && fabs((double)bias - (r < rows ? should(with, r, -1) : 0)) > 1e-7)
            wrong(name, r, -1, (double)bias, r < rows ? should(with, r, -1) : 0);
    }
}

typedef struct linear {
    const char *name, *gain;       /* gain: the tensor of layer scales, or NULL */
    long columns, heads, head;     /* of the original; heads: of the attention it belongs to */
    int has_bias, added;           /* added: rows of pos_embed to add, for tokens */
    const form *f;
} linear;

static double at(const linear *l, const char *part, long i)
{
    char name[96];
    snprintf(name, sizeof name, "%s%s", l->name, part);
    return (double)weight(name, i);
}

static double linear_value(const void *with, long row, long column)
{
    const linear *l = with;
    double gain = l->gain ? (double)weight(l->gain, row) : 1;
    return gain * (column >= 0 ? at(l, ".weight", row * l->columns + column) : l->has_bias ? at(l, ".bias", row) : 0);
}

static double qkv_value(const void *with, long row, long column)
{
    const linear *l = with;
    long padded = (l->head + 15) / 16 * 16, head = row / (3 * padded), which = row / padded % 3, i = row % padded;
    long original = which * l->heads * l->head + head * l->head + i;
    if (i >= l->head)
        return 0;
    if (column >= 0)
        return at(l, ".weight", original * l->columns + column);
    return l->f->bias == 1 || (l->f->bias == 2 && which != 1) ? at(l, ".bias", original) : 0;
}

static double norm_value(const void *with, long row, long column)
{
    return at(with, row ? ".bias" : ".weight", column);
}

static double rows_value(const void *with, long row, long column)      /* plain rows, from `added` on */
{
    const linear *l = with;
    return at(l, "", (row + l->added) * l->columns + column);
}

static double token_value(const void *with, long row, long column)
{
    const linear *l = with;
    long first = l->f->cls;
    double token = row < first ? (double)weight("cls_token", column) : (double)weight("register_tokens", (row - first) * l->columns + column);
    return token + (row < first ? (double)weight("pos_embed", row * l->columns + column) : 0);
}

static void check_norm(const mim_blob_step *s, const char *name, long dim)
{
    linear l = { .name = name };
    check_tensor(s, 0, name, 2, (uint32_t)dim, 0, norm_value, &l);
}

static const mim_blob_step *check_block(const mim_blob_step *s, const form *f, const char *block, long dim, long heads, long head,
                                        long hidden)
{
    char name[5][96], gain[2][96];
    static const char *const parts[] = { "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2", "norm1" };
    long padded = (head + 15) / 16 * 16;
    for (int i = 0; i < 5; i++)
        snprintf(name[i], sizeof name[i], "%s%s", block, parts[i]);
    for (int i = 0; i < 2; i++)
        snprintf(gain[i], sizeof gain[i], "%sls%d.gamma", block, i + 1);
    const char *gain1 = f->scale ? gain[0] : NULL, *gain2 = f->scale ? gain[1] : NULL;
    linear qkv = { name[0], NULL, dim, heads, head, 1, 0, f }, proj = { name[1], gain1, dim, heads, head, f->bias != 0, 0, f };
    linear fc1 = { name[2], NULL, dim, 0, 0, f->bias != 0, 0, f }, fc2 = { name[3], gain2, hidden, 0, 0, f->bias != 0, 0, f };
    if (s->kind != MIM_STEP_ATTENTION || s->heads != heads || s->head_dim != head || s->scale != (float)(1 / sqrt((double)head)))
        wrong(block, s->heads, s->head_dim, (double)s->scale, 1 / sqrt((double)head));
    check_norm(s, name[4], dim);
    check_tensor(s, 1, name[0], (uint32_t)(heads * 3 * padded), (uint32_t)dim, 1, qkv_value, &qkv);
    check_tensor(s, 2, name[1], (uint32_t)dim, (uint32_t)(heads * head), 1, linear_value, &proj);
    s++;
    name[4][strlen(name[4]) - 1] = '2';
    if (s->kind != MIM_STEP_MLP || s->activation != MIM_GELU_ERF)
        wrong(block, s->kind, 0, s->activation, MIM_GELU_ERF);
    check_norm(s, name[4], dim);
    check_tensor(s, 1, name[2], (uint32_t)hidden, (uint32_t)dim, 1, linear_value, &fc1);
    check_tensor(s, 2, name[3], (uint32_t)dim, (uint32_t)hidden, 1, linear_value, &fc2);
    return s + 1;
}

static uint8_t blob_bytes[1 << 20];

static int check(const char *path, const form *f)
{
    FILE *in = fopen(path, "rb");
    size_t n = in ? fread(blob_bytes, 1, sizeof blob_bytes, in) : 0;
    if (!in || n < sizeof *h || n == sizeof blob_bytes)
        die("cannot read", path);
    fclose(in);
    blob = blob_bytes;
    h = (const mim_blob_header *)(const void *)blob_bytes;
    steps = (const mim_blob_step *)(const void *)(blob_bytes + sizeof *h);
    tensors = (const mim_blob_tensor *)(const void *)(steps + h->step_count);
    if (h->dim != DIM || h->depth != DEPTH || h->has_cls != (uint32_t)f->cls || h->registers != (uint32_t)f->registers ||
        h->classes != (uint32_t)f->classes || h->channels != CHANNELS || h->patch_height != PATCH || h->image_height != SIDE * PATCH ||
        h->image_width != SIDE * PATCH || h->pooled_dim != DIM * (f->wide_head ? 2 : 1))
        wrong("header", h->dim, h->depth, h->pooled_dim, DIM);

    const mim_blob_step *s = steps;
    linear patch = { "patch_embed.proj", NULL, PIXELS, 0, 0, f->bias != 0, 0, f }, tokens = { "", NULL, DIM, 0, 0, 0, 0, f };
    linear positions = { "pos_embed", NULL, DIM, 0, 0, 0, f->cls, f };
    if (s->kind != MIM_STEP_EMBED || s->stored_height != SIDE || s->stored_width != SIDE)
        wrong("embed", s->kind, 0, s->stored_height, SIDE);
    check_tensor(s, 0, "patch projection", DIM, PIXELS, 1, linear_value, &patch);
    if (f->cls + f->registers)
        check_tensor(s, 1, "tokens", (uint32_t)(f->cls + f->registers), DIM, 0, token_value, &tokens);
    check_tensor(s++, 2, "positions", SIDE * SIDE, DIM, 0, rows_value, &positions);
    s = check_block(s, f, "blocks.0.", DIM, HEADS, HEAD, HIDDEN);
    s = check_block(s, f, "blocks.1.", DIM, HEADS, HEAD, HIDDEN);
    if (f->norm)
        check_norm(s++, "norm", DIM);
    if (s->kind != MIM_STEP_POOL)
        wrong("pool", s->kind, 0, 0, MIM_STEP_POOL);
    if (f->fc_norm)
        check_norm(s, "fc_norm", DIM);
    s++;
    if (f->classes) {
        linear head = { "head", NULL, h->pooled_dim, 0, 0, 1, 0, f };
        check_tensor(s++, 0, "head", (uint32_t)f->classes, h->pooled_dim, 1, linear_value, &head);
    }
    if (h->decoder_dim) {
        linear embed = { "decoder_embed", NULL, DIM, 0, 0, 1, 0, f }, mask = { "mask_token", NULL, DECODER_DIM, 0, 0, 0, 0, f };
        linear table = { "decoder_pos_embed", NULL, DECODER_DIM, 0, 0, 0, 0, f };
        linear predict = { "decoder_pred", NULL, DECODER_DIM, 0, 0, 1, 0, f };
        check_tensor(s, 0, "decoder_embed", DECODER_DIM, DIM, 1, linear_value, &embed);
        check_tensor(s, 1, "mask_token", 1, DECODER_DIM, 0, rows_value, &mask);
        check_tensor(s, 2, "decoder's first position", 1, DECODER_DIM, 0, rows_value, &table);
        table.added = 1;
        check_tensor(s++, 3, "decoder's positions", SIDE * SIDE, DECODER_DIM, 0, rows_value, &table);
        s = check_block(s, f, "decoder_blocks.0.", DECODER_DIM, DECODER_HEADS, DECODER_HEAD, DECODER_HIDDEN);
        check_norm(s++, "decoder_norm", DECODER_DIM);
        check_tensor(s++, 0, "decoder_pred", PIXELS, DECODER_DIM, 1, linear_value, &predict);
    }
    if (s != steps + h->step_count || used_tensors != h->tensor_count)
        wrong("count of steps and tensors", s - steps, h->step_count, used_tensors, h->tensor_count);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "make") == 0) {
        bad_folder = argv[3];
        make_good(argv[2]);
        make_bad_containers();
        make_bad_pickles();
        make_bad_models();
        make_bad_indexes();
        return 0;
    }
    if (argc == 4 && strcmp(argv[1], "check") == 0)
        return check(argv[2], form_named(argv[3]));
    fprintf(stderr, "usage: make_bad_checkpoints make GOOD_FOLDER BAD_FOLDER | check BLOB FORM\n");
    return 2;
}
