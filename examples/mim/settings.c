/* settings.c - see settings.h. */
#include "settings.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char option_from[] = "option", config_from[] = "config.json", picture_from[] = "preprocessor_config.json";
static const char metadata_from[] = "__metadata__", gguf_from[] = "GGUF", tensor_from[] = "tensors";

/* ---- names of values ---- */

typedef struct choice { const char *name; uint32_t value; } choice;

static const choice activations[] = {
    { "gelu", MIM_GELU_ERF }, { "gelu_tanh", MIM_GELU_TANH }, { "quick_gelu", MIM_GELU_QUICK },
    { "silu", MIM_SILU }, { NULL, 0 }
};
/* as transformers and timm call them */
static const choice published_activations[] = {
    { "gelu", MIM_GELU_ERF }, { "gelu_python", MIM_GELU_ERF }, { "gelu_erf", MIM_GELU_ERF }, { "erf", MIM_GELU_ERF },
    { "gelu_new", MIM_GELU_TANH }, { "gelu_fast", MIM_GELU_TANH }, { "gelu_pytorch_tanh", MIM_GELU_TANH },
    { "gelu_tanh", MIM_GELU_TANH }, { "tanh", MIM_GELU_TANH }, { "quick_gelu", MIM_GELU_QUICK },
    { "quick", MIM_GELU_QUICK }, { "silu", MIM_SILU }, { "swish", MIM_SILU }, { NULL, 0 }
};
static const choice pools[] = {
    { "cls", MIM_POOL_CLS }, { "mean", MIM_POOL_MEAN_PATCHES }, { "mean_all", MIM_POOL_MEAN_ALL },
    { "cls_mean", MIM_POOL_CLS_MEAN }, { NULL, 0 }
};
static const choice position_rules[] = {
    { "fixed", MIM_POSITIONS_FIXED }, { "cubic", MIM_POSITIONS_CUBIC },
    { "cubic_antialias", MIM_POSITIONS_CUBIC_ANTIALIAS }, { "linear", MIM_POSITIONS_LINEAR }, { "corners", MIM_POSITIONS_CORNERS },
    { NULL, 0 }
};
static const choice bias_rules[] = {
    { "fixed", MIM_BIAS_FIXED }, { "linear", MIM_BIAS_LINEAR }, { "geometric", MIM_BIAS_GEOMETRIC }, { NULL, 0 }
};
static const choice filters[] = { { "bilinear", MIM_BILINEAR }, { "bicubic", MIM_BICUBIC }, { NULL, 0 } };

static uint32_t choose(const choice *choices, const char *name, size_t length)
{
    for (; choices->name; choices++)
        if (strlen(choices->name) == length && memcmp(choices->name, name, length) == 0)
            return choices->value;
    return 0;
}

static const char *name_of(const choice *choices, uint32_t value)
{
    while (choices->name && choices->value != value)
        choices++;
    return choices->name ? choices->name : "none";
}

const char *activation_name(uint32_t activation) { return name_of(activations, activation); }
const char *pool_name(uint32_t pool) { return name_of(pools, pool); }
const char *positions_name(uint32_t positions) { return name_of(position_rules, positions); }
const char *bias_name(uint32_t bias) { return name_of(bias_rules, bias); }

static void set(fact *f, double value, const char *from)
{
    f->value = value;
    f->from = from;
}

/* Into a fixed field of the blob: ASCII, NUL-padded. */
static void set_text(char *field, size_t bytes, const char *text)
{
    memset(field, 0, bytes);
    for (size_t i = 0; text[i] && i + 1 < bytes; i++)
        field[i] = text[i] < 0x20 || text[i] > 0x7E ? '?' : text[i];
}

/* ---- documents ---- */

static int read_document(json *doc, const char *path)
{
    in_file file;
    if (in_open(&file, path))
        return 1;
    int failed = json_parse(doc, file.data, file.bytes);
    if (failed)
        fail("%s: not valid JSON: %s (byte %zu)", path, doc->error, doc->error_at);
    else if (json_root(doc)->type != JSON_OBJECT)
        failed = fail("%s: not a configuration: it is not an object", path);
    in_close(&file);
    return failed;
}

int configs_open(configs *c, const char *checkpoint_path, const char *config)
{
    memset(c, 0, sizeof *c);
    if (!(c->model_path = config ? malloc(strlen(config) + 1) : path_beside(checkpoint_path, "config.json")))
        return config ? fail("%s: not enough memory", config) : 1;
    if (config)
        memcpy(c->model_path, config, strlen(config) + 1);
    const char *beside = config ? config : checkpoint_path;
    if (!(c->picture_path = path_beside(beside, "preprocessor_config.json")))
        return 1;
    if (!path_exists(c->picture_path)) {                          /* newer files of video models */
        free(c->picture_path);
        if (!(c->picture_path = path_beside(beside, "video_preprocessor_config.json")))
            return 1;
    }
    if ((config || path_exists(c->model_path)) && read_document(&c->model, c->model_path))
        return 1;
    return path_exists(c->picture_path) && read_document(&c->picture, c->picture_path);
}

void configs_close(configs *c)
{
    json_free(&c->model);
    json_free(&c->picture);
    free(c->model_path);
    free(c->picture_path);
    memset(c, 0, sizeof *c);
}

/* Of a model of several parts, the part that sees. */
static const json_node *model_value(const configs *c, const char *key)
{
    const json_node *root = json_root(&c->model), *vision = json_member(&c->model, root, "vision_config");
    const json_node *found = json_member(&c->model, root, key);
    return found || !vision ? found : json_member(&c->model, vision, key);
}

/* timm puts how its models see pictures into pretrained_cfg; its older files, at the root. */
static const json_node *timm_value(const configs *c, const char *key)
{
    const json_node *nested = model_value(c, "pretrained_cfg");
    return nested ? json_member(&c->model, nested, key) : model_value(c, key);
}

static const json_node *timm_argument(const configs *c, const char *key)
{
    return json_member(&c->model, model_value(c, "model_args"), key);
}

static int is_null(const json_node *node) { return !node || node->type == JSON_NULL; }

int configs_family(const configs *c, const wishes *w, const family **wanted, const char **from)
{
    const char *model_type = NULL, *architecture = NULL;
    const json_node *encoder = json_member(&c->model, model_value(c, "model"), "encoder");
    *wanted = NULL;
    *from = NULL;
    json_string(&c->model, model_value(c, "model_type"), &model_type);
    json_string(&c->model, model_value(c, "architecture"), &architecture);
    if (c->model.count && architecture && strncmp(architecture, "prithvi_", 8) == 0) {
        *wanted = family_find("prithvi");
        *from = config_from;
    } else if (c->model.count && !model_type && !architecture && json_member(&c->model, encoder, "embedding_size")) {
        *wanted = family_find("galileo");
        *from = config_from;
    } else if (c->model.count && architecture && (!model_type || strcmp(model_type, "timm_wrapper") == 0)) {
        static const char *const computed[] = { "rope", "dinov3", "eva", "beit_", "_rpn_" };  /* same names, other arithmetic */
        uint32_t heads, activation;
        *wanted = timm_architecture(architecture, &heads, &activation);
        *from = config_from;
        for (size_t i = 0; i < sizeof computed / sizeof *computed && !*wanted; i++)
            if (strstr(architecture, computed[i]))
                return fail("%s: timm's architecture '%.64s' is not available in this version", c->model_path, architecture);
        if (*wanted && w->family && strcmp((*wanted)->name, "timm") != 0 && strcmp((*wanted)->name, w->family) != 0)
            return fail("%s: timm's architecture '%.64s' is of the family %s, not %.64s (--family)", c->model_path, architecture,
                        (*wanted)->name, w->family);
        if (!w->family && !*wanted)
            return fail("%s: timm's architecture '%.64s' is not one with plain blocks that this version knows; if it is one, "
                        "give --family timm", c->model_path, architecture);
    } else if (c->model.count && model_type) {
        *wanted = family_of_model_type(model_type);
        *from = config_from;
        if (!*wanted && !w->family)
            return fail("%s: model_type '%.64s' is not available in this version", c->model_path, model_type);
    } else if (c->model.count) {
        return fail("%s: names neither model_type nor architecture, so it is not a configuration this version knows; "
                    "move it away or name another with --config", c->model_path);
    }
    if (w->family) {
        char names[400];
        family_names(names, sizeof names);
        if (!(*wanted = family_find(w->family)))
            return fail("--family: no family '%.64s'; there are %s", w->family, names);
        *from = option_from;
    }
    return 0;
}

/* ---- checks against the tensors ---- */

static int expect(const char *path, const char *key, double says, uint32_t is)
{
    if (says == is)
        return 0;
    return fail("%s: %s is %g, the tensors say %" PRIu32 "; the two are not of the same model", path, key, says, is);
}

/* A list of whole numbers, one for each stage; a single one counts for all. 0, or 1 after fail(). */
static int read_list(const configs *c, const json_node *node, const char *key, uint32_t stages, uint32_t most, list *into)
{
    const json_node *child = node && node->type == JSON_ARRAY ? json_first(&c->model, node) : node;
    if (is_null(node))
        return 0;
    uint32_t count = node->type == JSON_ARRAY ? (uint32_t)(node->count > STAGES_MAX ? STAGES_MAX + 1 : node->count) : stages;
    list read = { { 0 }, count };
    int good = count == stages;
    for (uint32_t i = 0; i < count && good; i++) {
        uint64_t value = 0;
        good = json_u64(&c->model, child, &value) && value <= most;
        read.value[i] = (uint32_t)value;
        child = node->type == JSON_ARRAY ? json_next(&c->model, child) : child;
    }
    if (!good)
        return fail("%s: %s is not a number up to %" PRIu32 " for each of %" PRIu32 " stages", c->model_path, key, most, stages);
    *into = read;
    return 0;
}

static int expect_member(const configs *c, const char *key, uint32_t is)
{
    double value;
    return json_number(&c->model, model_value(c, key), &value) && expect(c->model_path, key, value, is);
}

/* A size as n, [n], [h, w] or [c, h, w] (the first is then dropped), or {"height": h, "width": w}. */
static int read_size(const json *doc, const json_node *node, uint32_t *height, uint32_t *width)
{
    uint64_t h, w;
    if (!node)
        return 0;
    const json_node *first = node, *second = node;
    if (node->type == JSON_ARRAY && node->count >= 1 && node->count <= 3) {
        first = json_first(doc, node);
        if (node->count == 3)
            first = json_next(doc, first);
        second = node->count == 1 ? first : json_next(doc, first);
    } else if (node->type == JSON_OBJECT) {
        first = json_member(doc, node, "height");
        second = json_member(doc, node, "width");
    }
    if (!json_u64(doc, first, &h) || !json_u64(doc, second, &w) || h < 1 || w < 1 || h > MIM_MAX_IMAGE || w > MIM_MAX_IMAGE)
        return 0;
    *height = (uint32_t)h;
    *width = (uint32_t)w;
    return 1;
}

/* ---- sources of facts, one by one ---- */

typedef struct extent { uint32_t height, width; const char *from; } extent;

/* What is gathered on the way: sizes of images that several sources speak of. */
typedef struct gathering {
    settings *s;
    const configs *c;
    const wishes *w;
    const vit *model;
    const checkpoint *cp;
    const measures *m;
    extent wished;                        /* --image-size */
    uint32_t stored_frames;               /* of the stored positions; 1 */
    extent trained;                       /* that of the stored positions */
    extent picture;                       /* what the preprocessing delivers */
    const char *resize_note;              /* why a configured resize is of no use */
} gathering;

static int is_size(const published_size *size, uint32_t dim, uint32_t depth, uint32_t hidden)
{
    return size->dim && size->dim == dim && size->depth == depth && size->hidden == hidden;
}

/* What a family fixed for all its files, of norms, activation and pictures. */
static void from_published(gathering *g, const family *f)
{
    const measures *m = g->m;
    settings *s = g->s;
    uint32_t activation = m->gated ? f->arithmetic.gate : f->activation;
    int sure = 1;
    for (const published_size *size = f->picture.others; size && size->dim; size++)
        sure &= !is_size(size, m->dim, g->model->depth, m->hidden);
    if (f->eps > 0)
        set(&s->eps, (double)f->eps, f->name);
    if (activation)
        set(&s->activation, activation, m->gated ? "gated MLP" : f->name);
    if (f->mean && m->channels == 3 && sure) {
        memcpy(s->mean, f->mean, 3 * sizeof *s->mean);
        memcpy(s->std, f->std, 3 * sizeof *s->std);
        s->mean_from = s->std_from = f->name;
    }
    if (f->picture.size) {
        set(&s->resize, f->picture.edge == EDGE_PADDED ? MIM_RESIZE_PAD : f->picture.edge ? MIM_RESIZE_SHORT_EDGE : MIM_RESIZE_SQUASH, f->name);
        set(&s->filter, f->picture.filter, f->name);
    }
}

static void from_family(gathering *g)
{
    const family *f = g->model->family;
    const measures *m = g->m;
    settings *s = g->s;
    uint32_t pool = f->pool;
    from_published(g, f);
    if (pool == POOL_BY_NORM)
        pool = g->model->top[NORM].weight && (m->has_cls || !g->model->layout.known) ? MIM_POOL_CLS : MIM_POOL_MEAN_PATCHES;
    if (pool == POOL_THEN_NORM || pool == CLS_THEN_NORM)
        pool = pool == CLS_THEN_NORM ? MIM_POOL_CLS : MIM_POOL_MEAN_PATCHES;
    if (pool && !(pool == MIM_POOL_CLS && !m->has_cls))
        set(&s->pool, pool, f->name);
    set(&s->positions, m->position_rows ? f->positions : MIM_POSITIONS_NONE, m->position_rows ? f->name : tensor_from);
    set(&s->position_offset, m->position_rows ? (double)f->position_offset : 0, f->name);
    if (m->unit_positions)                            /* beside those that repeat, these are interpolated */
        set(&s->positions, MIM_POSITIONS_CUBIC_ANTIALIAS, tensor_from);
    if (m->bias_rows)
        set(&s->bias, f->arithmetic.bias ? f->arithmetic.bias : MIM_BIAS_FIXED, f->name);
    if (f->arithmetic.rotary) {
        set(&s->rotary, f->arithmetic.rotary, f->name);
        set(&s->rotary_grid, f->arithmetic.rotary_grid, f->name);
        set(&s->rotary_base, (double)f->arithmetic.rotary_base, g->model->top[PERIODS].weight ? tensor_from : f->name);
        set(&s->rotary_height, f->arithmetic.rotary_side, f->name);
        set(&s->rotary_width, f->arithmetic.rotary_side, f->name);
    }
    const scheme *own = family_scheme(f);
    if (own->channels && m->channels <= own->channels) {
        memcpy(s->mean, own->mean, m->channels * sizeof *s->mean);
        memcpy(s->std, own->std, m->channels * sizeof *s->std);
        s->mean_from = s->std_from = f->name;
    }
    if (own->frames)
        set(&s->frames, own->frames, own->family ? f->name : tensor_from);
    if (own->heads)
        set(&s->heads, own->heads, f->name);
    for (const published_size *size = f->sizes; size && size->dim; size++)
        if (is_size(size, m->dim, g->model->depth, m->hidden))
            set(&s->heads, size->heads, f->name);
    if (m->heads)
        set(&s->heads, m->heads, tensor_from);
    if (is_size(&f->decoder, m->decoder_dim, g->model->decoder_depth, m->decoder_hidden))
        set(&s->decoder_heads, f->decoder.heads, f->name);
    set_text(s->method, sizeof s->method, f->method);
    s->pools = g->model->layout.pools;
    s->unit_stages = (1u << g->model->layout.unit_stages) - 1;
    for (uint32_t i = 0, fused = 0; i < g->model->stages && s->pools; i++)
        if (g->model->stage[i][FUSE].weight)
            s->pools = ++fused;                       /* what is fused is what was thinned out since */

    if (g->model->top[POOL_NORM].weight && f->pool != CLS_THEN_NORM)
        set(&s->pool, MIM_POOL_MEAN_PATCHES, "fc_norm");
    if (m->head_columns == 2 * m->dim && m->has_cls)
        set(&s->pool, MIM_POOL_CLS_MEAN, "the head's width");
}

static uint32_t square_root(uint32_t n)
{
    uint32_t root = (uint32_t)sqrt((double)n);        /* exact, rounded down: n < 2^53 */
    return root;
}

/* The size that it was trained at: what shifted windows hide shows how many there are of them, tables along axes how far they
 * reach. */
static void from_tensors(gathering *g)
{
    const vit *model = g->model;
    const measures *m = g->m;
    for (uint32_t i = 0; i < model->depth && !g->trained.from; i++) {
        const tensor *mask = model->block[i][WINDOW_MASK].weight;
        uint32_t stage = model->stage_of[i];
        if (!mask || mask->rank != 3 || mask->count > UINT32_MAX || mask->shape[1] != mask->shape[2] || mask->shape[0] == 0)
            continue;
        uint32_t side = square_root((uint32_t)(mask->shape[0] * mask->shape[1]));
        uint64_t pixels = (uint64_t)side * m->patch_height << stage;
        if ((uint64_t)side * side == mask->shape[0] * mask->shape[1] && m->patch_height == m->patch_width && pixels <= MIM_MAX_IMAGE)
            g->trained = (extent){ (uint32_t)pixels, (uint32_t)pixels, tensor_from };
    }
    if (m->axis_height && !m->position_rows && m->axis_height * m->patch_height <= MIM_MAX_IMAGE &&
        m->axis_width * m->patch_width <= MIM_MAX_IMAGE)
        g->trained = (extent){ m->axis_height * m->patch_height, m->axis_width * m->patch_width, tensor_from };
    if (m->frame_positions)
        set(&g->s->frames, m->frame_positions * m->patch_frames, tensor_from);
    if (m->axis_frames && m->axis_frames * m->patch_frames <= MIM_MAX_FRAMES)
        set(&g->s->frames, m->axis_frames * m->patch_frames, tensor_from);
}

/* Numbers separated by blanks or commas, exactly `count` of them. */
static int parse_numbers(const char *text, uint32_t count, float *into)
{
    for (uint32_t i = 0; i < count; i++) {
        char *end;
        text += strspn(text, i ? " ,\t" : " \t[(");
        double value = strtod(text, &end);
        if (end == text || !isfinite((float)value) || strspn(text, "0123456789.eE+-") < (size_t)(end - text))
            return 0;
        into[i] = (float)value;
        text = end;
    }
    return text[strspn(text, " \t])")] == 0;
}

static int positive(const float *numbers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!(numbers[i] > 0))
            return 0;
    return 1;
}

static int metadata_number(const gathering *g, const char *key, double *value)
{
    const char *text = checkpoint_metadata(g->cp, key);
    char *end;
    if (!text)
        return 0;
    *value = strtod(text, &end);
    return end != text && *end == 0 && isfinite(*value);
}

static int expect_metadata(const gathering *g, const char *key, uint32_t is)
{
    double value;
    return metadata_number(g, key, &value) && expect(g->cp->path, key, value, is);
}

/* A training script may describe its model by name: heads, dim, eps, gelu, mean, std and so on, as text. */
static int from_metadata(gathering *g)
{
    settings *s = g->s;
    const measures *m = g->m;
    const char *text;
    double value;
    if (!checkpoint_metadata(g->cp, "heads") || !checkpoint_metadata(g->cp, "dim"))
        return 0;
    if (expect_metadata(g, "dim", m->dim) || expect_metadata(g, "depth", g->model->depth) ||
        expect_metadata(g, "patch", m->patch_height) || (m->decoder_dim && (expect_metadata(g, "decoder_dim", m->decoder_dim) ||
        expect_metadata(g, "decoder_depth", g->model->decoder_depth))))
        return 1;
    if (metadata_number(g, "heads", &value))
        set(&s->heads, value, metadata_from);
    if (metadata_number(g, "decoder_heads", &value))
        set(&s->decoder_heads, value, metadata_from);
    if (metadata_number(g, "eps", &value))
        set(&s->eps, value, metadata_from);
    if (metadata_number(g, "image", &value) && value >= 1 && value <= MIM_MAX_IMAGE && value == floor(value)) {
        g->trained.height = g->trained.width = (uint32_t)value;
        g->trained.from = metadata_from;
    }
    if ((text = checkpoint_metadata(g->cp, "gelu")) != NULL) {
        uint32_t activation = choose(published_activations, text, strlen(text));
        if (!activation)
            return fail("%s: __metadata__ says gelu '%.40s', which this version does not know; give --act", g->cp->path, text);
        set(&s->activation, activation, metadata_from);
    }
    if ((text = checkpoint_metadata(g->cp, "norm_pix_loss")) != NULL && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0))
        set(&s->norm_pix, strcmp(text, "true") == 0, metadata_from);
    const char *mean = checkpoint_metadata(g->cp, "mean"), *std = checkpoint_metadata(g->cp, "std");
    if (mean && std) {
        if (!parse_numbers(mean, m->channels, s->mean) || !parse_numbers(std, m->channels, s->std) ||
            !positive(s->std, m->channels))
            return fail("%s: mean and std of __metadata__ are not %" PRIu32 " numbers each", g->cp->path, m->channels);
        s->mean_from = s->std_from = metadata_from;
        /* it states its normalisation and no crop: pictures enter whole */
        set(&s->edge_over, 1, metadata_from);
        set(&s->edge_under, 1, metadata_from);
    }
    if ((text = checkpoint_metadata(g->cp, "method")) != NULL)
        set_text(s->method, sizeof s->method, text);
    if ((text = checkpoint_metadata(g->cp, "data")) != NULL)
        set_text(s->source, sizeof s->source, text);
    return 0;
}

/* What dinov2.cpp says of its model; what it leaves out is the same in all that its authors published. */
static int from_dinov2_gguf(gathering *g)
{
    const family *published = family_find("dinov2");
    const measures *m = g->m;
    settings *s = g->s;
    double value;
    if (expect_metadata(g, "hidden_size", m->dim) || expect_metadata(g, "num_hidden_layers", g->model->depth) ||
        expect_metadata(g, "patch_size", m->patch_height) || expect_metadata(g, "num_register_tokens", m->registers))
        return 1;
    from_published(g, published);
    set(&s->edge_over, published->picture.edge, published->name);
    set(&s->edge_under, published->picture.size, published->name);
    g->picture = (extent){ published->picture.size, published->picture.size, published->name };
    if (metadata_number(g, "num_attention_heads", &value))
        set(&s->heads, value, gguf_from);
    if (metadata_number(g, "img_size", &value) && value >= 1 && value <= MIM_MAX_IMAGE && value == floor(value))
        g->trained = (extent){ (uint32_t)value, (uint32_t)value, gguf_from };
    return 0;
}

static int is_true(const char *text) { return text && strcmp(text, "true") == 0; }

/* What clip.cpp and llama.cpp say of a vision encoder: all but how its pictures are resized. "use_gelu" they say of the
 * activation by erf and of its approximation by tanh alike, so it is asked for. */
static int from_clip_gguf(gathering *g)
{
    const char *mean = checkpoint_metadata(g->cp, "clip.vision.image_mean"), *std = checkpoint_metadata(g->cp, "clip.vision.image_std");
    const measures *m = g->m;
    settings *s = g->s;
    double value;
    if (expect_metadata(g, "clip.vision.embedding_length", m->dim) || expect_metadata(g, "clip.vision.block_count", g->model->depth) ||
        expect_metadata(g, "clip.vision.patch_size", m->patch_height))
        return 1;
    if (metadata_number(g, "clip.vision.attention.head_count", &value))
        set(&s->heads, value, gguf_from);
    if (metadata_number(g, "clip.vision.attention.layer_norm_epsilon", &value))
        set(&s->eps, value, gguf_from);
    if (metadata_number(g, "clip.vision.image_size", &value) && value >= 1 && value <= MIM_MAX_IMAGE && value == floor(value))
        g->trained = (extent){ (uint32_t)value, (uint32_t)value, gguf_from };
    if (is_true(checkpoint_metadata(g->cp, "clip.use_silu")))
        set(&s->activation, MIM_SILU, gguf_from);
    else if (!is_true(checkpoint_metadata(g->cp, "clip.use_gelu")))
        set(&s->activation, MIM_GELU_QUICK, gguf_from);
    if (mean && std) {
        if (!parse_numbers(mean, m->channels, s->mean) || !parse_numbers(std, m->channels, s->std) || !positive(s->std, m->channels))
            return fail("%s: clip.vision.image_mean and image_std are not %" PRIu32 " numbers each", g->cp->path, m->channels);
        s->mean_from = s->std_from = gguf_from;
    }
    return 0;
}

static int from_gguf(gathering *g)
{
    const char *architecture = checkpoint_metadata(g->cp, "general.architecture"), *naming = g->model->family->naming;
    if (architecture && strcmp(architecture, "dinov2") == 0 && strcmp(naming, "transformers") == 0)
        return from_dinov2_gguf(g);
    return architecture && strcmp(naming, "clip") == 0 ? from_clip_gguf(g) : 0;
}

static int read_floats(const json *doc, const json_node *node, uint32_t count, float *into)
{
    const json_node *child = json_first(doc, node);
    if (!node || node->type != JSON_ARRAY || node->count != count)
        return 0;
    for (uint32_t i = 0; i < count; i++, child = json_next(doc, child)) {
        double value;
        if (!json_number(doc, child, &value) || !isfinite((float)value))
            return 0;
        into[i] = (float)value;
    }
    return 1;
}

static int read_statistics(gathering *g, const json *doc, const char *path, const json_node *mean, const json_node *std,
                           const char *from)
{
    settings *s = g->s;
    if (is_null(mean) && is_null(std))
        return 0;
    if (!read_floats(doc, mean, g->m->channels, s->mean) || !read_floats(doc, std, g->m->channels, s->std) ||
        !positive(s->std, g->m->channels))
        return fail("%s: mean and standard deviation must be %" PRIu32 " numbers each, one for each channel", path,
                    g->m->channels);
    s->mean_from = s->std_from = from;
    return 0;
}

/* Frames as trained with, of a configuration. */
static int configured_frames(gathering *g, const json_node *node, const char *key)
{
    double value;
    if (!json_number(&g->c->model, node, &value))
        return 0;
    if (!(value >= 1 && value <= MIM_MAX_FRAMES && value == floor(value)))
        return fail("%s: %s is %g; mim allows 1 to %u", g->c->model_path, key, value, MIM_MAX_FRAMES);
    set(&g->s->frames, value, config_from);
    return 0;
}

static int from_prithvi(gathering *g)
{
    const configs *c = g->c;
    const json *doc = &c->model;
    const measures *m = g->m;
    const struct { const char *key; uint32_t is; } facts[] = {
        { "embed_dim", m->dim }, { "depth", g->model->depth }, { "in_chans", m->channels }
    };
    uint32_t height, width;
    double value;
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        if (json_number(doc, timm_value(c, facts[i].key), &value) && expect(c->model_path, facts[i].key, value, facts[i].is))
            return 1;
    if (read_size(doc, timm_value(c, "patch_size"), &height, &width) &&
        (expect(c->model_path, "patch_size", height, m->patch_height) || expect(c->model_path, "patch_size", width, m->patch_width)))
        return 1;
    if (json_number(doc, timm_value(c, "num_heads"), &value))
        set(&g->s->heads, value, config_from);
    if (read_size(doc, timm_value(c, "img_size"), &g->trained.height, &g->trained.width))
        g->trained.from = config_from;
    return configured_frames(g, timm_value(c, "num_frames"), "num_frames") ||
           read_statistics(g, doc, c->model_path, timm_value(c, "mean"), timm_value(c, "std"), config_from);
}

static int from_galileo(gathering *g)
{
    const configs *c = g->c;
    const json_node *encoder = json_member(&c->model, model_value(c, "model"), "encoder");
    double value;
    if ((json_number(&c->model, json_member(&c->model, encoder, "embedding_size"), &value) &&
         expect(c->model_path, "embedding_size", value, g->m->dim)) ||
        (json_number(&c->model, json_member(&c->model, encoder, "depth"), &value) &&
         expect(c->model_path, "depth", value, g->model->depth)))
        return 1;
    if (json_number(&c->model, json_member(&c->model, encoder, "num_heads"), &value))
        set(&g->s->heads, value, config_from);
    return 0;
}

/* What transformers says of windows and stages. */
static int from_stages(gathering *g)
{
    const configs *c = g->c;
    const json *doc = &c->model;
    const vit *model = g->model;
    settings *s = g->s;
    list depths = { { 0 }, 0 };
    double value;
    uint32_t stages = model->stages;
    if (read_list(c, model_value(c, "depths"), "depths", stages, MIM_MAX_DEPTH, &depths) ||
        read_list(c, model_value(c, "num_heads"), "num_heads", stages, MIM_MAX_HEADS, &s->stage_heads) ||
        read_list(c, model_value(c, "pretrained_window_sizes"), "pretrained_window_sizes", stages, 256, &s->pretrained_windows))
        return 1;
    for (uint32_t i = 0; i < depths.count; i++) {
        uint32_t count = 0;
        for (uint32_t n = 0; n < model->depth; n++)
            count += model->stage_of[n] == i;
        if (expect(c->model_path, "depths", depths.value[i], count))
            return 1;
    }
    for (uint32_t i = 0; i < model->depth && s->stage_heads.count; i++)
        if (g->m->block[i].heads && expect(c->model_path, "num_heads", s->stage_heads.value[model->stage_of[i]], g->m->block[i].heads))
            return 1;
    if (s->stage_heads.count)
        set(&s->heads, s->stage_heads.value[0], config_from);
    if (model->layout.window && json_number(doc, model_value(c, "window_size"), &value) && value >= 1 && value <= 256)
        set(&s->window, value, config_from);
    if (model->layout.pools && json_number(doc, model_value(c, "num_query_pool"), &value)) {
        if (model->stage[0][FUSE].weight && expect(c->model_path, "num_query_pool", value, s->pools))
            return 1;
        if (!(value >= 0 && value < stages))
            return fail("%s: num_query_pool is %g of %" PRIu32 " stages", c->model_path, value, stages);
        s->pools = (uint32_t)value;
    }
    const json_node *within_units = json_first(doc, model_value(c, "masked_unit_attention"));
    for (uint32_t i = 0; within_units && i < stages; i++, within_units = json_next(doc, within_units)) {
        int truth = 0;
        if (!json_bool(within_units, &truth))
            return fail("%s: masked_unit_attention is not true or false for each stage", c->model_path);
        s->unit_stages = (s->unit_stages & ~(1u << i)) | (uint32_t)(truth != 0) << i;
    }
    return 0;
}

static int from_transformers(gathering *g)
{
    const configs *c = g->c;
    const json *doc = &c->model;
    const measures *m = g->m;
    settings *s = g->s;
    const char *text;
    double value;
    int truth;
    uint32_t height, width;
    if (expect_member(c, "hidden_size", m->width) || expect_member(c, "num_hidden_layers", g->model->depth) ||
        expect_member(c, "embed_dim", m->embed_dim) || expect_member(c, "output_channels", m->dim) ||
        expect_member(c, "intermediate_size", m->hidden) || expect_member(c, "num_channels", m->channels) ||
        expect_member(c, "num_register_tokens", m->registers) || expect_member(c, "in_chans", m->channels) ||
        expect_member(c, "tubelet_size", m->patch_frames))
        return 1;
    if (family_scheme(g->model->family)->family &&
        (configured_frames(g, model_value(c, "num_frames"), "num_frames") ||
         configured_frames(g, model_value(c, "frames_per_clip"), "frames_per_clip")))
        return 1;
    if (m->registers && is_null(model_value(c, "num_register_tokens")))
        return fail("%s: speaks of no registers, the tensors hold %" PRIu32 "; the two are not of the same model",
                    c->model_path, m->registers);
    if (m->decoder_dim && (expect_member(c, "decoder_hidden_size", m->decoder_dim) ||
                           expect_member(c, "decoder_num_hidden_layers", g->model->decoder_depth)))
        return 1;
    if (read_size(doc, model_value(c, "patch_size"), &height, &width) &&
        (expect(c->model_path, "patch_size", height, m->kernel_height) ||
         expect(c->model_path, "patch_size", width, m->kernel_width)))
        return 1;
    if (read_size(doc, model_value(c, "patch_stride"), &height, &width) &&
        (expect(c->model_path, "patch_stride", height, m->patch_height) ||
         expect(c->model_path, "patch_stride", width, m->patch_width)))
        return 1;
    if (g->model->layout.known && from_stages(g))
        return 1;
    if (json_number(doc, model_value(c, "num_attention_heads"), &value))
        set(&s->heads, value, config_from);
    if (json_number(doc, model_value(c, "head_dim"), &value) && s->heads.from && value * s->heads.value != m->inner)
        return fail("%s: %g heads of head_dim %g do not make the attention's width, %" PRIu32, c->model_path,
                    s->heads.value, value, m->inner);
    if (json_number(doc, model_value(c, "decoder_num_attention_heads"), &value))
        set(&s->decoder_heads, value, config_from);
    if (json_number(doc, model_value(c, "layer_norm_eps"), &value))
        set(&s->eps, value, config_from);
    if (json_bool(model_value(c, "norm_pix_loss"), &truth))
        set(&s->norm_pix, truth, config_from);
    if (json_string(doc, model_value(c, "hidden_act"), &text)) {
        uint32_t activation = choose(published_activations, text, strlen(text));
        if (!activation && !g->w->act)
            return fail("%s: hidden_act '%.40s' is not available in this version", c->model_path, text);
        if (!(m->gated && g->model->family->arithmetic.gate))         /* Dinov2's gate is always SiLU's */
            set(&s->activation, activation, config_from);
    }
    if (s->rotary.from && (json_number(doc, model_value(c, "rope_theta"), &value) ||
                           json_number(doc, json_member(doc, model_value(c, "rope_parameters"), "rope_theta"), &value))) {
        if (!(value > 0 && isfinite(value)))
            return fail("%s: rope_theta is %g; it must be positive", c->model_path, value);
        set(&s->rotary_base, value, config_from);
    }
    if (read_size(doc, model_value(c, "image_size"), &g->trained.height, &g->trained.width) ||
        read_size(doc, model_value(c, "crop_size"), &g->trained.height, &g->trained.width))
        g->trained.from = config_from;
    if (json_string(doc, model_value(c, "_name_or_path"), &text) && text[0] && text[0] != '/' && text[0] != '.')
        set_text(s->name, sizeof s->name, text);
    return 0;
}

/* How timm's evaluation prepares pictures: transforms_imagenet_eval. */
static int from_timm_picture(gathering *g)
{
    const configs *c = g->c;
    const json *doc = &c->model;
    settings *s = g->s;
    const char *text, *mode = "center";
    double crop = 0;
    if (read_statistics(g, doc, c->model_path, timm_value(c, "mean"), timm_value(c, "std"), config_from))
        return 1;
    if (json_string(doc, timm_value(c, "interpolation"), &text) && choose(filters, text, strlen(text)))
        set(&s->filter, choose(filters, text, strlen(text)), config_from);
    json_string(doc, timm_value(c, "crop_mode"), &mode);
    if (!json_number(doc, timm_value(c, "crop_pct"), &crop) || !(crop > 0 && crop <= 1))
        return 0;
    if (strcmp(mode, "center") == 0) {
        set(&s->resize, MIM_RESIZE_SHORT_EDGE, config_from);
        set(&s->edge_over, 1, config_from);
        set(&s->edge_under, crop, config_from);
    } else if (strcmp(mode, "squash") == 0 && crop == 1) {
        set(&s->resize, MIM_RESIZE_SQUASH, config_from);
    } else {
        g->resize_note = "config.json crops in a way that mim does not";
    }
    return 0;
}

/* Windows by the architecture's name, or by arguments. timm pretrains the last stage with half the window: its grid was. */
static int from_timm_windows(gathering *g, const char *architecture)
{
    const configs *c = g->c;
    settings *s = g->s;
    uint32_t window, pretrained, width, stages = g->model->stages;
    timm_window(architecture, &window, &pretrained);
    if (read_size(&c->model, timm_argument(c, "window_size"), &window, &width) && window != width)
        return fail("%s: window_size is %" PRIu32 "x%" PRIu32 ": only square windows are available in this version", c->model_path, window,
                    width);
    if (window >= 1 && window <= 256)
        set(&s->window, window, config_from);
    if (pretrained) {
        s->pretrained_windows.count = stages;
        for (uint32_t i = 0; i < stages; i++)
            s->pretrained_windows.value[i] = i + 1 < stages ? pretrained : pretrained / 2;
    }
    return read_list(c, timm_argument(c, "pretrained_window_sizes"), "pretrained_window_sizes", stages, 256, &s->pretrained_windows);
}

/* What timm lists for each stage: heads, and the sides of windows, which are alike. */
static int from_timm_stages(gathering *g)
{
    const configs *c = g->c;
    const json_node *heads = timm_argument(c, "num_heads");
    settings *s = g->s;
    list sides = { { 0 }, 0 };
    uint32_t stages = g->model->stages;
    if (heads && heads->type == JSON_ARRAY && read_list(c, heads, "num_heads", stages, MIM_MAX_HEADS, &s->stage_heads))
        return 1;
    if (s->stage_heads.count)
        set(&s->heads, s->stage_heads.value[0], config_from);
    if (read_list(c, timm_argument(c, "wss"), "wss", stages, 256, &sides))
        return 1;
    for (uint32_t i = 0; i < sides.count; i++)
        if (sides.value[i] != sides.value[0] || !sides.value[i])
            return fail("%s: wss has windows of several sizes: not available in this version", c->model_path);
    if (sides.count)
        set(&s->window, sides.value[0], config_from);
    return 0;
}

static int from_timm(gathering *g)
{
    static const char *const foreign[] = { "block_fn", "attn_layer", "mlp_layer", "embed_layer", "use_post_norm",
                                           "use_pre_transformer_norm", "rope_mixed_mode", "rope_grid_offset", "rope_grid_indexing",
                                           "rope_type", "rotate_half", "attn_type", "always_partition",
                                           "mask_unit_attn", "q_pool", "q_stride", "mask_unit_size",
                                           "dim_mul", "head_mul", "patch_kernel", "patch_stride", "patch_padding" };
    static const struct { const char *part, *method; } methods[] = {
        { "dinov2", "DINOv2" }, { "ijepa", "I-JEPA" }, { ".mae", "MAE" }, { "beitv2", "BEiT v2" }, { "eva_giant", "EVA" },
        { "eva_giant_patch14_clip", "EVA-CLIP" }, { "eva02_base_patch16_clip", "EVA-CLIP" }, { "eva02_large_patch14_clip", "EVA-CLIP" },
    };
    const configs *c = g->c;
    const json *doc = &c->model;
    const measures *m = g->m;
    settings *s = g->s;
    const char *architecture = "", *tag = "", *text;
    char name[160];
    double value;
    uint32_t heads, activation;
    const family *published;
    int truth;
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (!is_null(timm_argument(c, foreign[i])) && !(json_bool(timm_argument(c, foreign[i]), &truth) && !truth))
            return fail("%s: model_args has %s: only timm's plain blocks are available in this version", c->model_path,
                        foreign[i]);
    if (expect_member(c, "num_features", m->dim))
        return 1;
    json_string(doc, model_value(c, "architecture"), &architecture);
    json_string(doc, timm_value(c, "tag"), &tag);
    if ((published = timm_architecture(architecture, &heads, &activation)) != NULL) {
        if (heads)
            set(&s->heads, heads, config_from);
        set(&s->eps, (double)published->eps, config_from);
        if (m->position_rows && !g->w->family && !g->model->layout.known && s->positions.value != MIM_POSITIONS_CUBIC_ANTIALIAS)
            set(&s->positions, MIM_POSITIONS_CUBIC_ANTIALIAS, config_from);
        if (activation)
            set(&s->activation, activation, config_from);
    } else {
        s->eps.from = s->activation.from = NULL;
    }
    if (json_number(doc, timm_argument(c, "num_heads"), &value))
        set(&s->heads, value, config_from);
    if ((g->model->layout.known && from_timm_stages(g)) || (g->model->layout.window && from_timm_windows(g, architecture)))
        return 1;
    if (!is_null(timm_argument(c, "norm_layer")))
        s->eps.from = NULL;                                   /* its epsilon is not written down */
    if (json_string(doc, timm_argument(c, "act_layer"), &text)) {
        activation = choose(published_activations, text, strlen(text));
        if (!activation && !g->w->act)
            return fail("%s: act_layer '%.40s' is not available in this version", c->model_path, text);
        set(&s->activation, activation, config_from);
    }

    if (s->rotary.from && json_number(doc, timm_argument(c, "rope_temperature"), &value)) {
        if (!(value > 0 && isfinite(value)))
            return fail("%s: rope_temperature is %g; it must be positive", c->model_path, value);
        set(&s->rotary_base, value, config_from);
    }
    if (s->rotary_grid.value == MIM_GRID_SCALED && !is_null(timm_argument(c, "ref_feat_shape"))) {
        uint32_t height, width;
        if (!read_size(doc, timm_argument(c, "ref_feat_shape"), &height, &width))
            return fail("%s: ref_feat_shape is not a grid", c->model_path);
        set(&s->rotary_height, height, config_from);
        set(&s->rotary_width, width, config_from);
    }
    const json_node *pool = timm_argument(c, "global_pool");
    if (!json_string(doc, is_null(pool) ? model_value(c, "global_pool") : pool, &text))
        text = "";
    if (strcmp(text, "token") == 0)
        set(&s->pool, MIM_POOL_CLS, config_from);
    else if (strcmp(text, "avg") == 0)
        set(&s->pool, json_bool(timm_argument(c, "pool_include_prefix"), &truth) && truth ? MIM_POOL_MEAN_ALL
                                                                                          : MIM_POOL_MEAN_PATCHES, config_from);
    else if (text[0] && !g->w->pool)
        return fail("%s: global_pool '%.40s' is not available in this version; --pool takes another", c->model_path, text);

    if (read_size(doc, timm_argument(c, "img_size"), &g->trained.height, &g->trained.width) ||
        read_size(doc, timm_value(c, "input_size"), &g->trained.height, &g->trained.width))
        g->trained.from = config_from;
    if (from_timm_picture(g))
        return 1;
    snprintf(name, sizeof name, "%.79s%s%.79s", architecture, tag[0] ? "." : "", tag);
    set_text(s->name, sizeof s->name, name);
    if (json_string(doc, timm_value(c, "license"), &text))
        set_text(s->licence, sizeof s->licence, text);
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strstr(name, methods[i].part))
            set_text(s->method, sizeof s->method, methods[i].method);
    return 0;
}

/* transformers' image processors: resize, centre crop, rescale, normalise, each of which may be switched off. */
static int from_preprocessor(gathering *g)
{
    const json *doc = &g->c->picture;
    const json_node *root = json_root(doc), *size = json_member(doc, root, "size"), *crop = json_member(doc, root, "crop_size");
    const char *path = g->c->picture_path, *kind = "";
    settings *s = g->s;
    double factor = 1.0 / 255, edge = 0, filter;
    int resize = 1, centre = 0, rescale = 1, normalise = 1;
    uint32_t height = 0, width = 0, crop_height = 0, crop_width = 0;
    json_bool(json_member(doc, root, "do_resize"), &resize);
    json_bool(json_member(doc, root, "do_center_crop"), &centre);
    json_bool(json_member(doc, root, "do_rescale"), &rescale);
    json_bool(json_member(doc, root, "do_normalize"), &normalise);
    json_number(doc, json_member(doc, root, "rescale_factor"), &factor);
    if (!json_string(doc, json_member(doc, root, "image_processor_type"), &kind))
        json_string(doc, json_member(doc, root, "feature_extractor_type"), &kind);

    if (!(g->w->mean && g->w->std)) {
        if (!rescale || fabs(factor * 255 - 1) > 1e-9)
            return fail("%s: pixels are not scaled to 0..1 there; give --mean and --std for pixels in 0..1", path);
        if (!normalise) {
            for (uint32_t i = 0; i < g->m->channels; i++) {
                s->mean[i] = 0;
                s->std[i] = 1;
            }
            s->mean_from = s->std_from = picture_from;
        } else if (read_statistics(g, doc, path, json_member(doc, root, "image_mean"), json_member(doc, root, "image_std"),
                                   picture_from)) {
            return 1;
        }
    }
    if (json_number(doc, json_member(doc, root, "resample"), &filter)) {
        s->filter.from = NULL;
        if (filter == 2 || filter == 3)                       /* Pillow's numbers */
            set(&s->filter, filter == 2 ? MIM_BILINEAR : MIM_BICUBIC, picture_from);
    }

    /* a bare number is the short edge to the processors that crop, and both edges to ViT's and BEiT's */
    double longest = 0;
    int bare = size && size->type == JSON_NUMBER, square = strncmp(kind, "ViT", 3) == 0 || strncmp(kind, "Beit", 4) == 0;
    s->resize.from = NULL;
    s->edge_over.from = s->edge_under.from = NULL;
    if (!resize || (bare && !square && !centre) || (centre && !read_size(doc, crop, &crop_height, &crop_width))) {
        g->resize_note = "preprocessor_config.json does not say";
        return 0;
    }
    if (json_number(doc, json_member(doc, size, "longest_edge"), &longest) && !json_member(doc, size, "shortest_edge")) {
        int padded = 1;
        json_bool(json_member(doc, root, "do_pad"), &padded);
        if (!padded || centre || !read_size(doc, json_member(doc, root, "pad_size"), &height, &width) || height != longest || width != longest) {
            g->resize_note = "preprocessor_config.json does not say to what size it pads";
            return 0;
        }
        set(&s->resize, MIM_RESIZE_PAD, picture_from);
    } else if (json_number(doc, json_member(doc, size, "shortest_edge"), &edge) ||
        (bare && !square && json_number(doc, size, &edge))) {
        if (!centre || crop_height != crop_width || !(edge >= crop_height)) {
            g->resize_note = "preprocessor_config.json keeps the picture's shape, mim's input has one size";
            return 0;
        }
        set(&s->resize, MIM_RESIZE_SHORT_EDGE, picture_from);
        set(&s->edge_over, edge, picture_from);
        set(&s->edge_under, crop_height, picture_from);
        height = crop_height;
        width = crop_width;
    } else if (read_size(doc, size, &height, &width)) {
        if (centre && (crop_height != height || crop_width != width)) {
            g->resize_note = "preprocessor_config.json squashes and then crops, which mim does not do";
            return 0;
        }
        set(&s->resize, MIM_RESIZE_SQUASH, picture_from);
    } else {
        g->resize_note = "preprocessor_config.json does not say";
        return 0;
    }
    g->picture.height = height;
    g->picture.width = width;
    g->picture.from = picture_from;
    return 0;
}

/* ---- options ---- */

static int option_choice(const char *name, const char *text, const choice *choices, fact *f)
{
    if (!text)
        return 0;
    uint32_t value = choose(choices, text, strlen(text));
    if (!value) {
        char names[128] = "";
        for (; choices->name; choices++)
            snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", names[0] ? ", " : "", choices->name);
        return fail("%s: '%.64s' is none of %s", name, text, names);
    }
    set(f, value, option_from);
    return 0;
}

static int option_number(const char *name, const char *text, uint32_t least, uint32_t most, fact *f)
{
    uint32_t value = 0;
    if (parse_number(name, text, least, most, &value))
        return 1;
    if (text)
        set(f, value, option_from);
    return 0;
}

static int option_positions(const char *text, const checkpoint *cp, const measures *m, settings *s)
{
    double offset = 0;
    if (!text)
        return 0;
    size_t length = strcspn(text, ":");
    uint32_t rule = choose(position_rules, text, length);
    if (text[length] && parse_real("--positions", text + length + 1, 0, 0.999, &offset))
        return 1;
    if (!rule || (offset > 0 && rule != MIM_POSITIONS_CUBIC && rule != MIM_POSITIONS_LINEAR))
        return fail("--positions: '%.64s' is none of fixed, cubic, cubic:OFFSET, cubic_antialias, linear, corners", text);
    if (!m->position_rows)
        return fail("%s: has no stored positions for --positions to interpolate", cp->path);
    set(&s->positions, rule, option_from);
    set(&s->position_offset, offset, option_from);
    return 0;
}

static int option_statistics(const char *name, const char *text, uint32_t count, int above_zero, float *into, const char **from)
{
    if (!text)
        return 0;
    if (!parse_numbers(text, count, into) || (above_zero && !positive(into, count)))
        return fail("%s: '%.80s' is not %" PRIu32 " %snumber%s separated by commas, one for each channel", name, text, count,
                    above_zero ? "positive " : "", count == 1 ? "" : "s");
    *from = option_from;
    return 0;
}

/* 0,1,2,6;3,4,5,7;8,9: the channels of each group, in the order of its projection. */
static int option_groups(gathering *g)
{
    static const char released[] = "0,1,2,6;3,4,5,7;8,9";
    const measures *m = g->m;
    const char *text = g->w->groups;
    uint32_t seen = 0;
    if (m->groups == 1)
        return text ? fail("--groups: %s has no groups of channels", g->model->family->name) : 0;
    set(&g->s->groups, m->groups, option_from);
    if (!text && m->groups == 3 && m->group_channels[0] == 4 && m->group_channels[1] == 4 && m->group_channels[2] == 2) {
        text = released;
        set(&g->s->groups, m->groups, g->model->family->name);
    }
    if (!text)
        return fail("%s: not in the file: which channels its %" PRIu32 " groups are of (--groups, as in \"%s\")", g->cp->path, m->groups,
                    released);
    const char *at = text;
    for (uint32_t group = 0; group < m->groups; group++)
        for (uint32_t i = 0; i < m->group_channels[group]; i++) {
            uint32_t channel = 0;
            size_t digits = strspn(at, "0123456789");
            for (size_t k = 0; k < digits && k < 3; k++)
                channel = channel * 10 + (uint32_t)(at[k] - '0');
            char next = at[digits], wanted = i + 1 < m->group_channels[group] ? ',' : group + 1 < m->groups ? ';' : 0;
            if (digits < 1 || digits > 2 || channel >= m->channels || seen >> channel & 1 || next != wanted)
                return fail("--groups: '%.64s' does not give each of the channels 0 to %" PRIu32 " once, to groups of the sizes of the "
                            "tensors, as in \"%s\"", text, m->channels - 1, released);
            seen |= 1u << channel;
            g->s->channel_group[channel] = (uint8_t)group;
            g->s->channel_place[channel] = (uint8_t)i;
            at += digits + (next != 0);
        }
    return 0;
}

/* N or HxW */
static int option_size(const char *text, extent *size)
{
    char half[16];
    if (!text)
        return 0;
    size_t length = strcspn(text, "x");
    if (length >= sizeof half)
        return fail("--image-size: '%.64s' is not N or HxW in pixels", text);
    memcpy(half, text, length);
    half[length] = 0;
    if (parse_number("--image-size", half, 1, MIM_MAX_IMAGE, &size->height) ||
        parse_number("--image-size", text[length] ? text + length + 1 : half, 1, MIM_MAX_IMAGE, &size->width))
        return 1;
    size->from = option_from;
    return 0;
}

/* N or N:P, of tokens */
static int option_window(gathering *g)
{
    const char *text = g->w->window;
    settings *s = g->s;
    char first[8];
    uint32_t window = 0, pretrained = 0;
    if (!text)
        return 0;
    size_t length = strcspn(text, ":");
    if (length >= sizeof first)
        return fail("--window: '%.64s' is not N or N:P in tokens", text);
    memcpy(first, text, length);
    first[length] = 0;
    if (parse_number("--window", first, 1, 256, &window) || (text[length] && parse_number("--window N:P", text + length + 1, 1, 256, &pretrained)))
        return 1;
    int windowed = 0;
    for (uint32_t i = 0; i < g->model->depth; i++)
        windowed |= is_windowed(g->model, g->model->block[i]);
    if (!windowed)
        return fail("--window: %s has no windows of a size to be given", g->model->family->name);
    if (text[length] && g->model->layout.side)
        return fail("--window: what %s knows of distances does not depend on a window; give N alone", g->model->family->name);
    set(&s->window, window, option_from);
    s->pretrained_windows.count = text[length] ? g->model->stages : s->pretrained_windows.count;
    for (uint32_t i = 0; text[length] && i < g->model->stages; i++)
        s->pretrained_windows.value[i] = pretrained;
    return 0;
}

static int from_options(gathering *g)
{
    const wishes *w = g->w;
    settings *s = g->s;
    double eps;
    if (option_number("--heads", w->heads, 1, MIM_MAX_HEADS, &s->heads) ||
        option_number("--decoder-heads", w->decoder_heads, 1, MIM_MAX_HEADS, &s->decoder_heads) ||
        option_choice("--act", w->act, activations, &s->activation) || option_choice("--pool", w->pool, pools, &s->pool) ||
        option_choice("--filter", w->filter, filters, &s->filter) || option_groups(g) || option_positions(w->positions, g->cp, g->m, s) ||
        option_statistics("--mean", w->mean, g->m->channels, 0, s->mean, &s->mean_from) ||
        option_statistics("--std", w->std, g->m->channels, 1, s->std, &s->std_from) || option_size(w->image_size, &g->wished) || option_window(g))
        return 1;
    if (w->eps) {
        if (parse_real("--eps", w->eps, 1e-30, 1, &eps))
            return 1;
        set(&s->eps, eps, option_from);
    }
    if (w->norm_pix) {
        if (strcmp(w->norm_pix, "yes") != 0 && strcmp(w->norm_pix, "no") != 0)
            return fail("--norm-pix: '%.64s' is neither yes nor no", w->norm_pix);
        set(&s->norm_pix, strcmp(w->norm_pix, "yes") == 0, option_from);
    }
    if (w->licence)
        set_text(s->licence, sizeof s->licence, w->licence);
    if (w->frames && family_scheme(g->model->family)->frames == 1)
        return fail("--frames: %s takes single pictures, not videos", g->model->family->name);
    return option_number("--frames", w->frames, 1, MIM_MAX_FRAMES, &s->frames);
}

/* --resize, once the image's size is known: an edge is in pixels */
static int option_resize(gathering *g)
{
    const char *text = g->w->resize;
    settings *s = g->s;
    uint32_t edge = 0, height = (uint32_t)s->image_height.value, width = (uint32_t)s->image_width.value;
    if (!text)
        return 0;
    if (strcmp(text, "squash") == 0 || strcmp(text, "pad") == 0) {
        set(&s->resize, text[0] == 's' ? MIM_RESIZE_SQUASH : MIM_RESIZE_PAD, option_from);
        return 0;
    }
    if (strncmp(text, "short:", 6) != 0)
        return fail("--resize: '%.64s' is none of short:EDGE, squash, pad", text);
    if (parse_number("--resize short:EDGE", text + 6, height < width ? height : width, MIM_MAX_IMAGE, &edge))
        return 1;
    set(&s->resize, MIM_RESIZE_SHORT_EDGE, option_from);
    set(&s->edge_over, edge, option_from);
    set(&s->edge_under, height < width ? height : width, option_from);
    return 0;
}

/* ---- geometry ---- */

/* Whether positions for images of this size, after some prefix, and their relative positions are as many as are stored. */
static int fits(const measures *m, uint32_t frames, uint32_t extra, extent size, uint32_t *prefix)
{
    const uint32_t prefixes[] = { extra, m->has_cls, m->has_cls + m->registers };
    if (!size.from || size.height % m->cell_height || size.width % m->cell_width)
        return 0;
    uint64_t height = size.height / m->cell_height, width = size.width / m->cell_width, patches = height * width * frames;
    if (m->bias_rows && (patches == 0 || (2 * height - 1) * (2 * width - 1) + (m->has_cls ? 3 : 0) != m->bias_rows))
        return 0;
    *prefix = 0;
    if (!m->position_rows)
        return 1;
    for (size_t i = 0; i < 3; i++)
        if (patches + prefixes[i] == m->position_rows) {
            *prefix = prefixes[i];
            return 1;
        }
    return 0;
}

/* What is stored for one grid only, for messages. */
static const char *stored_what(const measures *m, char text[96])
{
    if (m->position_rows && m->bias_rows)
        snprintf(text, 96, "%" PRIu32 " stored positions and %" PRIu32 " relative ones", m->position_rows, m->bias_rows);
    else
        snprintf(text, 96, "%" PRIu32 " stored %spositions", m->bias_rows ? m->bias_rows : m->position_rows,
                 m->bias_rows ? "relative " : "");
    return text;
}

/* The grid of the stored positions: what the shape tells, else a size that fits, else the only square. Without stored
 * positions, that of the images it was trained on, where it is known. */
static int settle_grid(gathering *g, extent *stored)
{
    const measures *m = g->m;
    uint32_t *prefix = &g->s->position_prefix, found = 0, extra = g->model->layout.extra_positions;
    char what[96];
    const scheme *own = family_scheme(g->model->family);
    extent published = { own->height, own->width, own->height ? g->model->family->name : NULL };
    if ((!m->position_rows && !m->bias_rows) || m->unit_positions) {
        *stored = g->trained.from || g->wished.from ? g->trained : published;
        return 0;
    }
    if (extra && m->position_rows > extra && square_root(m->position_rows - extra) * square_root(m->position_rows - extra) == m->position_rows - extra) {
        uint32_t side = square_root(m->position_rows - extra);       /* not that of the images, which is never trained at */
        *stored = (extent){ side * m->cell_height, side * m->cell_width, tensor_from };
        *prefix = extra;
        return 0;
    }
    if (m->grid_height && !m->unit_positions) {
        stored->height = m->grid_height * m->cell_height;
        stored->width = m->grid_width * m->cell_width;
        stored->from = tensor_from;
        if (m->bias_rows && !fits(m, g->stored_frames, extra, *stored, prefix))
            return fail("%s: the %s are not of one grid", g->cp->path, stored_what(m, what));
        return 0;
    }
    if (fits(m, g->stored_frames, extra, g->wished, prefix)) {
        *stored = g->wished;
        return 0;
    }
    if (g->trained.from) {
        *stored = g->trained;
        if (fits(m, g->stored_frames, extra, g->trained, prefix))
            return 0;
        return fail("%s: %s says images of %" PRIu32 "x%" PRIu32 ", which do not fit the %s; give --image-size",
                    g->cp->path, g->trained.from, g->trained.height, g->trained.width, stored_what(m, what));
    }
    if (fits(m, g->stored_frames, extra, published, prefix)) {
        *stored = published;
        return 0;
    }
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t n = i == 0 ? extra : i == 1 ? m->has_cls : m->has_cls + m->registers, known = i && n == (i == 1 ? 0 : m->has_cls);
        uint32_t side = m->position_rows > n ? square_root((m->position_rows - n) / g->stored_frames) : 0, ignored;
        if (!m->position_rows && i == 0)
            side = (square_root(m->bias_rows - (m->has_cls && m->bias_rows > 3 ? 3 : 0)) + 1) / 2;
        extent square = { side * m->cell_height, side * m->cell_width, tensor_from };
        if (known || side == 0 || (m->position_rows && side * side * g->stored_frames + n != m->position_rows) || !fits(m, g->stored_frames, extra, square, &ignored))
            continue;
        found++;
        *prefix = n;
        *stored = square;
    }
    if (found != 1)
        return fail("%s: the %s are not those of one square grid; give --image-size HxW", g->cp->path, stored_what(m, what));
    return 0;
}

/* Tokens that the caller makes stand in one row. */
static int settle_row(gathering *g)
{
    const family *f = g->model->family;
    if (g->wished.from && g->wished.height != 1)
        return fail("--image-size: %s takes tokens of its caller, 1xN of them", f->name);
    set(&g->s->image_height, 1, f->name);
    set(&g->s->image_width, g->wished.from ? g->wished.width : family_scheme(f)->tokens, g->wished.from ? g->wished.from : f->name);
    return 0;
}

/* Whether the frames are made of tubelets, and how many of them the stored positions are of. */
static int settle_frames(gathering *g)
{
    const settings *s = g->s;
    g->stored_frames = 1;
    if (!s->frames.from)
        return 0;                                                 /* it will be asked for */
    uint32_t frames = (uint32_t)s->frames.value, tubelet = g->m->patch_frames;
    if (frames % tubelet)
        return fail("%s: %" PRIu32 " frames (%s) are not made of patches of %" PRIu32 "; give --frames", g->cp->path, frames,
                    s->frames.from, tubelet);
    if (g->m->frame_positions && frames / tubelet != g->m->frame_positions)
        return fail("%s: its positions are for %" PRIu32 " frames, not %" PRIu32 " (%s), and how to interpolate them is not known; leave out "
                    "--frames", g->cp->path, g->m->frame_positions * tubelet, frames, s->frames.from);
    if (family_scheme(g->model->family)->made == MADE_FRAME_WAVES)
        g->stored_frames = frames / tubelet;
    return 0;
}

static int settle_geometry(gathering *g)
{
    const measures *m = g->m;
    const family *f = g->model->family;
    settings *s = g->s;
    if (m->vectors)
        return settle_row(g);
    if (settle_frames(g))
        return 1;
    if (!s->frames.from)
        return 0;
    extent stored = { 0, 0, NULL }, image = g->wished.from ? g->wished : g->picture;
    if (settle_grid(g, &stored))
        return 1;
    if (!stored.from && !image.from)
        return 0;                                                 /* it will be asked for */
    if (stored.height != stored.width && !f->any_grid && s->positions.from == f->name && m->position_rows) {
        set(&s->positions, MIM_POSITIONS_FIXED, f->name);         /* the reference interpolates from squares only */
        set(&s->position_offset, 0, f->name);
    }
    if (s->bias.value == MIM_BIAS_LINEAR && stored.height / m->patch_height != stored.width / m->patch_width)
        return fail("%s: a relative position bias for a grid of %" PRIu32 "x%" PRIu32 " (%s): transformers confuses the sides of "
                    "those that are not square, so it is not available", g->cp->path, stored.height / m->patch_height,
                    stored.width / m->patch_width, stored.from);
    if (m->position_rows || m->bias_rows) {
        set(&s->grid_height, m->unit_positions ? m->grid_height : stored.height / m->cell_height, stored.from);
        set(&s->grid_width, m->unit_positions ? m->grid_width : stored.width / m->cell_width, stored.from);
    } else if (m->axis_height) {
        set(&s->grid_height, m->axis_height, tensor_from);
        set(&s->grid_width, m->axis_width, tensor_from);
    }
    if (g->trained.from || stored.from) {
        set(&s->trained_height, (g->trained.from ? g->trained : stored).height, g->trained.from ? g->trained.from : stored.from);
        set(&s->trained_width, (g->trained.from ? g->trained : stored).width, s->trained_height.from);
    }
    if (!image.from) {
        image = stored;
        if (f->picture.stored && stored.from == tensor_from && stored.height == f->picture.stored &&
            stored.width == f->picture.stored && s->positions.value != MIM_POSITIONS_FIXED) {
            image.height = image.width = f->picture.size;
            image.from = f->name;
        }
    }
    uint32_t unit = m->unit ? m->unit : 1;
    if (image.height % (m->patch_height * unit) || image.width % (m->patch_width * unit))
        return fail("%s: images of %" PRIu32 "x%" PRIu32 " (%s) are not made of %s of %" PRIu32 "x%" PRIu32
                    "; give --image-size", g->cp->path, image.height, image.width, image.from, unit > 1 ? "mask units" : "patches",
                    m->patch_height * unit, m->patch_width * unit);
    uint64_t times = (uint64_t)s->frames.value / m->patch_frames * m->groups;
    uint64_t tokens = (uint64_t)(image.height / m->patch_height) * (image.width / m->patch_width) * times + m->has_cls + m->registers;
    if (image.height > MIM_MAX_IMAGE || image.width > MIM_MAX_IMAGE || tokens > MIM_MAX_TOKENS)
        return fail("%s: images of %" PRIu32 "x%" PRIu32 " are beyond mim's limits (%u pixels a side, %u tokens)", g->cp->path,
                    image.height, image.width, MIM_MAX_IMAGE, MIM_MAX_TOKENS);
    if ((s->positions.value == MIM_POSITIONS_FIXED || s->bias.value == MIM_BIAS_FIXED) && stored.from && (image.height != stored.height || image.width != stored.width))
        return fail("%s: its positions are for images of %" PRIu32 "x%" PRIu32 ", not %" PRIu32 "x%" PRIu32 " (%s), and how to "
                    "interpolate them is not known; give --image-size or --positions", g->cp->path, stored.height, stored.width,
                    image.height, image.width, image.from);
    set(&s->image_height, image.height, image.from);
    set(&s->image_width, image.width, image.from);

    uint32_t shorter = image.height < image.width ? image.height : image.width;
    if (f->picture.edge > EDGE_PADDED && s->resize.from == f->name && !s->edge_over.from) {
        int larger = f->picture.larger && shorter > f->picture.size;
        set(&s->edge_over, larger ? 1 : f->picture.edge, f->name);
        set(&s->edge_under, larger ? 1 : f->picture.size, f->name);
    }
    int covers = s->edge_over.from == f->name && s->edge_over.value == s->edge_under.value && family_scheme(f)->family;
    if (image.height != image.width && s->resize.value == MIM_RESIZE_SHORT_EDGE && !covers) {
        s->resize.from = NULL;
        g->resize_note = "its input is not square";
    }
    return option_resize(g);
}

/* ---- asking ---- */

static void ask(char *text, size_t bytes, int missing, const char *what)
{
    if (missing && strlen(text) + strlen(what) + 3 < bytes)
        snprintf(text + strlen(text), bytes - strlen(text), "%s%s", text[0] ? "; " : "", what);
}

static int ask_for_missing(const gathering *g)
{
    const settings *s = g->s;
    const measures *m = g->m;
    char text[1200] = "", heads[128], resize[256];
    snprintf(heads, sizeof heads, "number of heads (give --heads N");
    if (m->inner % 64 == 0)
        snprintf(heads + strlen(heads), sizeof heads - strlen(heads), "; 64-wide heads would be %" PRIu32, m->inner / 64);
    snprintf(heads + strlen(heads), sizeof heads - strlen(heads), ")");
    snprintf(resize, sizeof resize, "how pictures are resized (%s%s--resize short:EDGE, squash or pad)",
             g->resize_note ? g->resize_note : "", g->resize_note ? ": " : "");
    ask(text, sizeof text, !s->frames.from, "number of frames that it was trained with (--frames N)");
    ask(text, sizeof text, !s->image_height.from && s->frames.from, "size of the pictures (--image-size N or HxW)");
    ask(text, sizeof text, !s->heads.from && m->inner, heads);
    ask(text, sizeof text, !s->eps.from, "epsilon of the norms (--eps E)");
    ask(text, sizeof text, !s->activation.from, m->gated ? "activation of the gate, which is the first half of a "
        "fused gated MLP (--act silu, gelu, gelu_tanh or quick_gelu)" : "activation (--act gelu, gelu_tanh, quick_gelu or silu)");
    ask(text, sizeof text, !s->pool.from, "pooling (--pool cls, mean, mean_all or cls_mean)");
    ask(text, sizeof text, !s->mean_from, "mean of the pixels (--mean R,G,B in 0..1)");
    ask(text, sizeof text, !s->std_from, "standard deviation of the pixels (--std R,G,B)");
    ask(text, sizeof text, !s->resize.from && (s->image_height.from || !g->w->resize), resize);
    ask(text, sizeof text, !s->filter.from, "resampling filter (--filter bilinear or bicubic)");
    ask(text, sizeof text, m->decoder_dim && !s->decoder_heads.from, "number of the decoder's heads (--decoder-heads N)");
    ask(text, sizeof text, m->decoder_dim && !s->norm_pix.from,
        "whether the decoder predicts normalised pixels (--norm-pix yes or no)");
    if (!text[0])
        return 0;
    const char *hint = "";
    if (strcmp(g->model->family->name, "vit") == 0)
        hint = "; --family mae or --family timm adds what its authors fixed";
    else if (strncmp(g->model->family->name, "hf-", 3) == 0 && !g->c->model.count)
        hint = "; its config.json and preprocessor_config.json beside it would tell";
    else if (strncmp(g->model->family->name, "hf-", 3) == 0 && !g->c->picture.count)
        hint = "; its preprocessor_config.json beside it would tell";
    else if (strncmp(g->model->family->name, "timm", 4) == 0 && !g->c->model.count)
        hint = "; its config.json beside it would tell";
    return fail("%s: not in the file: %s%s", g->cp->path, text, hint);
}

/* The file's name without folder and extension; a bare "model" is named after its folder. */
static void default_names(settings *s, const char *path)
{
    char copy[256], *name = copy, *slash;
    size_t length = strlen(path);
    snprintf(copy, sizeof copy, "%s", path + (length >= sizeof copy ? length - sizeof copy + 1 : 0));
    slash = strrchr(copy, '/');
    set_text(s->source, sizeof s->source, slash ? slash + 1 : copy);
    if (slash && strncmp(slash + 1, "model.safetensors", 17) == 0) {
        *slash = 0;
        slash = strrchr(copy, '/');
        name = slash ? slash + 1 : copy;
    } else {
        name = slash ? slash + 1 : copy;
        char *dot = strrchr(name, '.');
        if (dot && dot > name)
            *dot = 0;
    }
    set_text(s->name, sizeof s->name, name);
}

int settle(settings *s, const configs *c, const wishes *w, const vit *model, const checkpoint *cp, const measures *m)
{
    gathering g = { .s = s, .c = c, .w = w, .model = model, .cp = cp, .m = m };
    memset(s, 0, sizeof *s);
    for (uint32_t i = 0; i < MIM_MAX_CHANNELS; i++)
        s->std[i] = 1;
    default_names(s, cp->path);
    from_family(&g);
    from_tensors(&g);
    if (from_metadata(&g) || from_gguf(&g))
        return 1;
    int timm = c->model.count && model_value(c, "architecture");
    if (c->model.count && (strcmp(model->family->name, "prithvi") == 0 ? from_prithvi(&g) :
                           strcmp(model->family->name, "galileo") == 0 ? from_galileo(&g) :
                           timm ? from_timm(&g) : from_transformers(&g)))
        return 1;
    if (c->picture.count && from_preprocessor(&g))
        return 1;
    if (from_options(&g) || settle_geometry(&g) || ask_for_missing(&g))
        return 1;
    double facts[] = { s->heads.value, m->decoder_dim ? s->decoder_heads.value : 1 };
    for (size_t i = 0; i < 2; i++)
        if (m->inner && !(facts[i] >= 1 && facts[i] <= MIM_MAX_HEADS && facts[i] == floor(facts[i])))
            return fail("%s: %g is not a number of heads; give --%sheads", cp->path, facts[i], i ? "decoder-" : "");
    return 0;
}
