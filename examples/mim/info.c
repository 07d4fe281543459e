/* info.c - mim info: what a blob is. */
#include "tool.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "mim info MODEL.mim [--json]\n"
    "\n"
    "Verifies the blob and says what it is: structure, preprocessing, outputs, provenance, and the memory that an encode\n"
    "takes at the size as trained (the exact minimum, and the most that is of use).\n"
    "\n"
    "  --json           the same facts for programs\n";

static const char *numerics_name(uint32_t numerics)
{
    return numerics == MIM_NUMERICS_INTEGER ? "integer" : numerics == MIM_NUMERICS_FLOAT ? "float" : "unknown";
}

static const char *filter_name(uint32_t filter)
{
    return filter == MIM_BICUBIC ? "bicubic" : "bilinear";
}

static const char *pool_name(uint32_t rule)
{
    switch (rule) {
    case MIM_POOL_CLS:          return "CLS";
    case MIM_POOL_MEAN_PATCHES: return "mean of the patches";
    case MIM_POOL_MEAN_ALL:     return "mean of all tokens";
    case MIM_POOL_CLS_MEAN:     return "CLS, then the mean of the patches";
    default:                    return "unknown";
    }
}

static const char *activation_name(uint32_t rule)
{
    switch (rule) {
    case MIM_GELU_ERF:   return "gelu";
    case MIM_GELU_TANH:  return "gelu (tanh)";
    case MIM_GELU_QUICK: return "quick gelu";
    case MIM_SILU:       return "silu";
    case 0:              return "no activation";
    default:             return "unknown";
    }
}

/* A name of the header as text: its bytes to the first zero, what is not printable ASCII shown as '?'. */
static const char *text_of(char *to, const char *from, size_t bytes)
{
    size_t length = 0;
    for (; length < bytes && from[length]; length++) to[length] = from[length] >= 32 && from[length] < 127 ? from[length] : '?';
    to[length] = '\0';
    return to;
}

/* ---- structure ---- */

enum { LINE = 192 };

static void describe_positions(char line[LINE], const mim_blob_step *step)
{
    static const char *const rules[] = { "", "for this grid only", "cubic", "cubic, antialiased", "linear", "cubic, from corner to corner" };
    const char *waves = step->tensor[4] ? ", and computed waves" : "";
    if (step->rule == MIM_POSITIONS_NONE || step->rule >= sizeof rules / sizeof *rules) {
        snprintf(line, LINE, step->tensor[4] ? "computed waves" : "none");
        return;
    }
    int used = snprintf(line, LINE, "stored for %" PRIu32 "x%" PRIu32 " patches, %s%s%s", step->stored_height, step->stored_width,
                        step->rule == MIM_POSITIONS_FIXED ? "" : "interpolation ", rules[step->rule], waves);
    if (step->position_offset != 0.0f && used > 0)
        snprintf(line + used, LINE - (size_t)used, ", offset %g", (double)step->position_offset);
}

/* The step that adds positions; without any, the embedding. */
static const mim_blob_step *positioned_step(const mim_model *model)
{
    for (uint32_t i = 0; i < model->header->decoder_step; i++)
        if (model->steps[i].kind == MIM_STEP_CONV && model->steps[i].rule) return &model->steps[i];
    return model_step(model, MIM_STEP_EMBED);
}

static void describe_bias(char line[LINE], const mim_blob_step *step)
{
    static const char *const rules[] = { "", "for this grid only", "linear", "geometric", "along each axis", "cropped", "of distances" };
    if (step->rule == MIM_BIAS_NONE || step->rule >= sizeof rules / sizeof *rules)
        snprintf(line, LINE, "none");
    else if (step->stored_frames)
        snprintf(line, LINE, "%" PRIu32 "x%" PRIu32 "x%" PRIu32 " %s", step->stored_frames, step->stored_height, step->stored_width, rules[step->rule]);
    else
        snprintf(line, LINE, "%" PRIu32 "x%" PRIu32 " %s", step->stored_height, step->stored_width,
                 step->rule == MIM_BIAS_FIXED && step->window ? "for this window only" : rules[step->rule]);
}

static void describe_rotary(char line[LINE], const mim_blob_step *step)
{
    const char *kind = step->rotary == MIM_ROTARY_HALVES ? "halves" : "pairs";
    if (step->rotary == MIM_ROTARY_NONE)
        snprintf(line, LINE, "none");
    else if (step->rotary_grid == MIM_GRID_SCALED)
        snprintf(line, LINE, "%s scaled to %" PRIu32 "x%" PRIu32, kind, step->stored_height, step->stored_width);
    else
        snprintf(line, LINE, "%s %s", kind, step->rotary_grid == MIM_GRID_CENTERED ? "centred" : "indexed");
}

static const char *plural(uint64_t n) { return n == 1 ? "" : "s"; }

/* Appends to a line. */
static void add(char line[LINE], const char *format, ...) PRINTF_LIKE(2, 3);
static void add(char line[LINE], const char *format, ...)
{
    size_t used = strlen(line);
    va_list args;
    va_start(args, format);
    vsnprintf(line + used, LINE - used, format, args);
    va_end(args);
}

static void describe_attention(char line[LINE], const mim_model *model, const mim_blob_step *step)
{
    char text[LINE];
    snprintf(line, LINE, "attention %" PRIu32 " head%s of %" PRIu32, step->heads, plural(step->heads), step->head_dim);
    if (step->window) add(line, " in windows of %ux%u", (unsigned)step->window_height, (unsigned)step->window_width);
    if (step->shift_height || step->shift_width) add(line, " shifted by %u,%u", (unsigned)step->shift_height, (unsigned)step->shift_width);
    if (step->rule) {
        describe_bias(text, step);
        add(line, ", relative bias %.40s", text);
    }
    if (step->rotary) {
        describe_rotary(text, step);
        add(line, ", rotary %.40s", text);
    }
    if (step->qk_norm) add(line, step->qk_norm == MIM_QK_UNIT ? ", cosines" : ", norms of queries and keys");
    if (step->thin == MIM_THIN_MAX) add(line, ", largest query of %ux%u", (unsigned)step->stride_height, (unsigned)step->stride_width);
    if (step->thin == MIM_THIN_CONV) {
        add(line, ", convolutions of ");
        if (step->kernel_frames > 1) add(line, "%ux", (unsigned)step->kernel_frames);
        add(line, "%ux%u, queries %u apart, keys %u apart", (unsigned)step->kernel_height, (unsigned)step->kernel_width,
            (unsigned)step->stride_height, (unsigned)step->key_stride);
    }
    if (step->flags & MIM_STEP_JOIN) add(line, ", keys and values of these");
    if (step->tensor[5]) add(line, ", inner norm");
    if (step->flags & MIM_STEP_POST_NORM) add(line, ", norm behind");
    if (step->tensor[7]) add(line, ", into %" PRIu32, step_tensor(model, step, 7)->rows);
    add(line, ", %s", type_name(step_tensor(model, step, 1)->type));
}

/* Cells of tokens into one, or a convolution over them. A branch is added to the last tokens, or is what the next attention's keys are of. */
static void describe_convolution(char line[LINE], const mim_model *model, const mim_blob_step *step)
{
    int merges = step->kernel_height == step->stride_height && step->kernel_width == step->stride_width && step->kernel_height * step->kernel_width > 1;
    if (step->tensor[4]) {
        snprintf(line, LINE, "depthwise convolution %ux%u", (unsigned)step->kernel_height, (unsigned)step->kernel_width);
        return;
    }
    snprintf(line, LINE, "%s %ux%u into %" PRIu32, step->flags & MIM_STEP_BRANCH ? step[1].flags & MIM_STEP_JOIN ? "beside them, reduce" : "add to the last layer" : merges ? "merge" : "convolution",
             (unsigned)step->kernel_height, (unsigned)step->kernel_width, step_tensor(model, step, 1)->rows);
    if (step->tensor[0] || step->tensor[2]) add(line, ", norm");
    if (step->activation) add(line, ", %s", activation_name(step->activation));
    if (step->tensor[3]) add(line, ", positions");
    add(line, ", %s", type_name(step_tensor(model, step, 1)->type));
}

static void describe_step(char line[LINE], const mim_model *model, const mim_blob_step *step)
{
    const mim_blob_header *h = model->header;
    const int integer = h->numerics == MIM_NUMERICS_INTEGER;
    switch (step->kind) {
    case MIM_STEP_EMBED:
        if (model_takes_tokens(model)) {
            snprintf(line, LINE, "tokens of the caller, %" PRIu32 " wide", h->dim);
            break;
        }
        snprintf(line, LINE, "embed patches of %ux%ux%" PRIu32, (unsigned)step->kernel_height, (unsigned)step->kernel_width, h->channels);
        if (step->kernel_height != h->patch_height || step->kernel_width != h->patch_width)
            add(line, ", %" PRIu32 "x%" PRIu32 " apart,", h->patch_height, h->patch_width);
        if (step->padding_frames)
            add(line, " in %" PRIu32 " frames, %" PRIu32 " apart,", h->patch_frames + step->padding_frames, h->patch_frames);
        add(line, " into %" PRIu32 "%s, %s", h->groups > 1 || integer ? h->dim : step_tensor(model, step, 0)->rows, step->tensor[3] ? ", norm" : "",
            type_name(step_tensor(model, step, 0)->type));
        break;
    case MIM_STEP_ATTENTION:
        describe_attention(line, model, step);
        break;
    case MIM_STEP_MLP:
        if (integer) {
            snprintf(line, LINE, "mlp %" PRIu32 ", activation by table, %s", step_tensor(model, step, 2)->columns,
                     type_name(step_tensor(model, step, 1)->type));
            break;
        }
        snprintf(line, LINE, "mlp %" PRIu32 "%s %s%s", step_tensor(model, step, 2)->columns,
                 step->flags & MIM_STEP_GATED ? " gated" : "", activation_name(step->activation), step->tensor[3] ? ", inner norm" : "");
        if (step->tensor[4]) add(line, ", depthwise %ux%u", (unsigned)step->kernel_height, (unsigned)step->kernel_width);
        if (step->flags & MIM_STEP_POST_NORM) add(line, ", norm behind");
        if (step->tensor[5]) add(line, ", into %" PRIu32, step_tensor(model, step, 2)->rows);
        add(line, ", %s", type_name(step_tensor(model, step, 1)->type));
        break;
    case MIM_STEP_CONV:
        describe_convolution(line, model, step);
        break;
    case MIM_STEP_NORM:
        snprintf(line, LINE, step->flags & MIM_STEP_JOIN ? "norm of the sum" : "norm");
        break;
    case MIM_STEP_POOL:
        snprintf(line, LINE, "pool: %s%s", pool_name(step->rule), step->tensor[0] ? ", norm" : "");
        break;
    case MIM_STEP_HEAD:
        snprintf(line, LINE, "head: %" PRIu32 " classes, %s", h->classes, type_name(step_tensor(model, step, 0)->type));
        break;
    case MIM_STEP_UNMASK:
        snprintf(line, LINE, "mask tokens, %" PRIu32 " wide, %s", h->decoder_dim, type_name(step_tensor(model, step, 0)->type));
        break;
    case MIM_STEP_PREDICT:
        snprintf(line, LINE, "predict %s, %s", h->norm_pix ? "pixels normalised per patch" : "pixels",
                 type_name(step_tensor(model, step, 0)->type));
        break;
    default:
        snprintf(line, LINE, "step of kind %u", (unsigned)step->kind);
        break;
    }
}

/* How often the `period` steps from `at` on come one after the other. */
static uint32_t count_repeats(const mim_model *model, uint32_t at, uint32_t to, uint32_t period)
{
    char first[LINE], next[LINE];
    uint32_t repeats = 1;
    for (;; repeats++)
        for (uint32_t i = 0; i < period; i++) {
            if (at + repeats * period + i >= to) return repeats;
            describe_step(first, model, &model->steps[at + i]);
            describe_step(next, model, &model->steps[at + repeats * period + i]);
            if (strcmp(first, next) != 0) return repeats;
        }
}

/* Steps that repeat become one line, or pairs of them, or pairs of pairs, as where every other block's windows are shifted. */
static void print_steps(const mim_model *model, uint32_t from, uint32_t to, const char *title)
{
    char line[LINE];
    printf("%s", title);
    for (uint32_t i = from; i < to;) {
        uint32_t period = 1, repeats = count_repeats(model, i, to, 1);
        for (uint32_t n = 2; n <= 6 && repeats == 1; n++)
            if ((repeats = count_repeats(model, i, to, n)) > 1) period = n;
        if (i != from) printf("%16s", "");
        if (repeats > 1) printf("%" PRIu32 " x %s", repeats, period > 1 ? "(" : "");
        for (uint32_t k = 0; k < period; k++) {
            describe_step(line, model, &model->steps[i + k]);
            printf("%s%s", k ? "; " : "", line);
        }
        printf("%s\n", repeats > 1 && period > 1 ? ")" : "");
        i += period * repeats;
    }
}

/* ---- layers of unequal size ---- */

typedef struct layers {
    mim_grid grid[MIM_MAX_DEPTH];     /* after each, at the size as trained */
    const mim_blob_step *attention[MIM_MAX_DEPTH];     /* its last one, or NULL */
    uint32_t count;
    int unequal;
} layers;

static void find_layers(layers *l, const mim_session *session)
{
    const mim_blob_header *h = session->model->header;
    const mim_blob_step *attention = NULL;
    memset(l, 0, sizeof *l);
    for (uint32_t i = 0; i < h->decoder_step && l->count < h->depth; i++) {
        const mim_blob_step *step = &session->model->steps[i];
        if (step->kind == MIM_STEP_ATTENTION) attention = step;
        if (!(step->flags & MIM_STEP_TAP)) continue;
        l->attention[l->count] = attention;
        (void)mim_shape(session, l->count + 1, &l->grid[l->count]);
        l->unequal |= l->grid[l->count].tokens != l->grid[0].tokens || l->grid[l->count].dim != l->grid[0].dim;
        l->count++;
        attention = NULL;
    }
}

/* As --layout has it; a blob has one. */
static const char *layout_name(const mim_model *model)
{
    for (uint32_t i = 0; i < model->header->tensor_count; i++)
        if (model->tensors[i].layout == MIM_PAIRS16) return "pairs";
    return "panels";
}

/* Within which ranges the quantized matrices lie: what decides how fast they can be multiplied. */
static void print_ranges(const mim_model *model)
{
    static const struct { uint8_t weight, input, group, fours; } kinds[] = {
        { 63, 127, 0, 0 }, { 63, 255, 0, 0 }, { 127, 127, 0, 0 }, { 127, 255, 0, 0 },
        { 63, 127, 0, 1 }, { 63, 255, 0, 1 }, { 127, 127, 0, 1 }, { 127, 255, 0, 1 },
        { 0, 127, 32, 0 }, { 0, 255, 32, 0 }, { 0, 127, 64, 0 }, { 0, 255, 64, 0 }, { 0, 127, 128, 0 }, { 0, 255, 128, 0 },
    };
    int printed = 0;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < model->header->tensor_count; i++) {
            const mim_blob_tensor *t = &model->tensors[i];
            count += t->weight_max == kinds[k].weight && t->input_max == kinds[k].input && t->group == kinds[k].group &&
                     t->fours == kinds[k].fours;
        }
        if (!count) continue;
        printf("%-16s%" PRIu32 " matrices with weights ", printed++ ? "" : "ranges", count);
        if (kinds[k].group) printf("of 4 bits in groups of %u", (unsigned)kinds[k].group);
        else printf("in +-%u%s", (unsigned)kinds[k].weight, kinds[k].fours ? ", fours of them in +-128," : "");
        printf(" and inputs in 0..%u\n", (unsigned)kinds[k].input);
    }
}

static int has_windows(const mim_model *model)
{
    for (uint32_t i = 0; i < model->header->decoder_step; i++)
        if (model->steps[i].window) return 1;
    return 0;
}

static int has_decoder(const mim_model *model)
{
    return model->header->decoder_step < model->header->step_count;
}

static void print_outputs(const mim_model *model, const char *before, const char *between)
{
    const mim_blob_header *h = model->header;
    const char *names[8] = { "pooled", "patches", "tokens", "layers" };
    size_t count = 4;
    if (h->has_cls) names[count++] = "cls";
    if (h->registers) names[count++] = "registers";
    const mim_blob_step *attention = model_step(model, MIM_STEP_ATTENTION);
    if (attention && !attention->window && !attention->thin && !(attention->flags & MIM_STEP_JOIN)) names[count++] = "attention";
    if (h->classes) names[count++] = "logits";
    for (size_t i = 0; i < count; i++) printf("%s%s%s%s", i ? between : "", before, names[i], before);
}

/* ---- text ---- */

static void print_mean(const char *label, const float *values, uint32_t count)
{
    printf("%s", label);
    for (uint32_t c = 0; c < count; c++) printf("%s%.6g", c ? " " : "", (double)values[c]);
}

static void print_text(const mim_model *model, const char *cpu, const mim_memory *need, const mim_memory *scalar, const mim_memory *split, uint32_t heads,
                       const layers *sizes)
{
    const mim_blob_header *h = model->header;
    const mim_blob_step *embed = positioned_step(model), *pool = model_step(model, MIM_STEP_POOL);
    mim_grid grid = model_grid(model, h->image_height, h->image_width, h->frames);
    uint64_t patches = grid.tokens - model_prefix(model);
    uint32_t vectors;
    char text[LINE];
    const struct { const char *label, *text; size_t bytes; } names[] = {
        { "name", h->name, sizeof h->name }, { "family", h->family, sizeof h->family }, { "method", h->method, sizeof h->method },
        { "source", h->source, sizeof h->source }, { "licence", h->licence, sizeof h->licence },
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        printf("%-16s%s\n", names[i].label, *text_of(text, names[i].text, names[i].bytes) ? text : "not recorded");
    printf("%-16s%s, %s numerics, layout %s\n", "type", type_name(h->type), numerics_name(h->numerics), layout_name(model));
    if (!model_takes_tokens(model))
        printf("%-16s%" PRIu32 "x%" PRIu32 ", %" PRIu32 " channel%s, patches of %" PRIu32 "x%" PRIu32 "\n", "image",
               h->image_height, h->image_width, h->channels, plural(h->channels), h->patch_height, h->patch_width);
    if (h->frames > 1) printf("%-16s%" PRIu32 ", %" PRIu32 " to a patch\n", "frames", h->frames, h->patch_frames);
    if (h->groups > 1) printf("%-16s%" PRIu32 " of channels, each with its own tokens\n", "groups", h->groups);
    if (h->coordinates) printf("%-16s%" PRIu32 " of each frame, from the caller\n", "coordinates", h->coordinates);
    if (mim_table(model, &vectors)) printf("%-16s%" PRIu32 ", for the caller to make tokens of\n", "vectors", vectors);
    printf("%-16s%s", "tokens", h->has_cls ? "CLS, " : "");
    if (h->registers) printf("%" PRIu32 " register%s, ", h->registers, plural(h->registers));
    printf("%" PRIu64 " patch%s", patches, patches == 1 ? "" : "es");
    if (h->unit_height != 1 || h->unit_width != 1) {
        if (h->unit_height) printf("; subsets are of units of %" PRIu32 "x%" PRIu32 " patches", h->unit_height, h->unit_width);
        else printf("; no subsets");
    }
    printf("\n");
    printf("%-16s%" PRIu32 " wide, %" PRIu32 " layer%s, %" PRIu32 " head%s\n", "encoder", h->dim, h->depth, plural(h->depth), heads, plural(heads));
    print_steps(model, 0, h->decoder_step, "structure       ");
    if (has_decoder(model)) print_steps(model, h->decoder_step, h->step_count, "decoder         ");
    for (uint32_t i = 0; sizes->unequal && i < sizes->count; i++) {
        const mim_grid *at = &sizes->grid[i];
        printf("%-16s%" PRIu32 ": ", i ? "" : "layers", i + 1);
        if (at->frames > 1) printf("%" PRIu32 "x", at->frames);
        printf("%" PRIu32 "x%" PRIu32 " tokens, %" PRIu32 " wide\n", at->height, at->width, at->dim);
    }
    print_ranges(model);
    describe_positions(text, embed);
    printf("%-16s%s\n", "positions", model_takes_tokens(model) ? "the caller's" : text);
    if (model_takes_tokens(model) || (h->channels != 1 && h->channels != 3))
        printf("%-16sthe caller's", "preprocessing");
    else if (h->resize == MIM_RESIZE_PAD)
        printf("%-16slong edge to the input (%s), zeros beside it", "preprocessing", filter_name(h->resize_filter));
    else if (h->resize == MIM_RESIZE_SHORT_EDGE)
        printf("%-16sshort edge to %" PRIu32 " (%s), centre crop", "preprocessing", h->resize_edge, filter_name(h->resize_filter));
    else
        printf("%-16sresize to the input (%s)", "preprocessing", filter_name(h->resize_filter));
    if (!model_takes_tokens(model)) {
        print_mean("; mean ", h->mean, h->channels);
        print_mean("; std ", h->std, h->channels);
    }
    printf("\n%-16s%s, %" PRIu32 " wide\n", "pooled", pool ? pool_name(pool->rule) : "none", h->pooled_dim);
    printf("%-16s", "outputs");
    print_outputs(model, "", ", ");
    printf("%s\n", has_decoder(model) ? "; reconstruction" : "");
    printf("%-16s%" PRIu64 "\n", "parameters", h->parameters);
    printf("%-16s%.3f G multiply-accumulates %s\n", "work", 1e-9 * (double)model_macs(model, grid),
           h->frames > 1 ? "a video" : model_takes_tokens(model) ? "an input" : "an image");
    printf("%-16s%" PRIu64 " bytes\n", "blob", h->bytes);
    printf("%-16s%zu bytes at least; up to %zu, more is faster\n", "arena", need->bytes, need->useful);
    printf("%-16s%zu bytes at least, up to %zu; in two regions %zu at least, up to %zu, and %zu that may be slow\n", "portable code",
           scalar->bytes, scalar->useful, split->bytes, split->useful, split->slow_bytes);
    printf("%-16s%s here; this build knows", "cpu", cpu);
    for (uint32_t level = MIM_CPU_SCALAR; level < MIM_CPU_COUNT; level++)
        if (mim_cpu_name(level)) printf(" %s", mim_cpu_name(level));
    printf("\n");
}

/* ---- JSON ---- */

static void json_text(const char *key, const char *text)
{
    printf("  \"%s\": \"", key);
    for (; *text; text++) printf(*text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    printf("\",\n");
}

static void json_number(const char *key, uint64_t value)
{
    printf("  \"%s\": %" PRIu64 ",\n", key, value);
}

static void json_floats(const char *key, const float *values, uint32_t count)
{
    printf("  \"%s\": [", key);
    for (uint32_t i = 0; i < count; i++) printf("%s%.9g", i ? ", " : "", (double)values[i]);
    printf("],\n");
}

static void print_json_blocks(const mim_model *model)
{
    const mim_blob_step *attention = model_step(model, MIM_STEP_ATTENTION), *mlp = model_step(model, MIM_STEP_MLP);
    char text[LINE];
    if (attention) {
        describe_bias(text, attention);
        json_text("relative_bias", text);
        describe_rotary(text, attention);
        json_text("rotary", text);
        json_number("attention_norm", attention->tensor[5] != 0);
    }
    if (mlp) {
        json_number("hidden", step_tensor(model, mlp, 2)->columns);
        json_text("activation", activation_name(mlp->activation));
        json_number("gated", (mlp->flags & MIM_STEP_GATED) != 0);
        json_number("mlp_norm", mlp->tensor[3] != 0);
    }
}

/* Layers as they follow each other: grid, width, and the windows of their last attention. */
static void print_json_layers(const layers *sizes)
{
    printf("  \"layers\": [");
    for (uint32_t i = 0; i < sizes->count; i++) {
        const mim_blob_step *a = sizes->attention[i];
        printf("%s\n    { \"grid\": [%" PRIu32 ", %" PRIu32 "], \"dim\": %" PRIu32, i ? "," : "", sizes->grid[i].height, sizes->grid[i].width,
               sizes->grid[i].dim);
        if (a) printf(", \"heads\": %" PRIu32, a->heads);
        if (a && a->window) printf(", \"window\": [%u, %u]", (unsigned)a->window_height, (unsigned)a->window_width);
        printf(" }");
    }
    printf("\n  ],\n");
}

static void print_json(const mim_model *model, const char *cpu, const mim_memory *need, const mim_memory *scalar, const mim_memory *split, uint32_t heads,
                       const layers *sizes)
{
    const mim_blob_header *h = model->header;
    const mim_blob_step *embed = positioned_step(model), *pool = model_step(model, MIM_STEP_POOL);
    mim_grid grid = model_grid(model, h->image_height, h->image_width, h->frames);
    uint64_t patches = grid.tokens - model_prefix(model);
    uint32_t vectors;
    char text[LINE];
    printf("{\n");
    json_text("name", text_of(text, h->name, sizeof h->name));
    json_text("family", text_of(text, h->family, sizeof h->family));
    json_text("method", text_of(text, h->method, sizeof h->method));
    json_text("source", text_of(text, h->source, sizeof h->source));
    json_text("licence", text_of(text, h->licence, sizeof h->licence));
    json_text("type", type_name(h->type));
    json_text("numerics", numerics_name(h->numerics));
    json_text("layout", layout_name(model));
    printf("  \"image\": [%" PRIu32 ", %" PRIu32 "],\n", h->image_height, h->image_width);
    printf("  \"patch\": [%" PRIu32 ", %" PRIu32 "],\n", h->patch_height, h->patch_width);
    json_number("channels", h->channels);
    json_number("frames", h->frames);
    json_number("patch_frames", h->patch_frames);
    json_number("groups", h->groups);
    json_number("coordinates", h->coordinates);
    (void)mim_table(model, &vectors);
    json_number("vectors", vectors);
    json_number("dim", h->dim);
    json_number("depth", h->depth);
    json_number("heads", heads);
    json_number("cls", h->has_cls);
    json_number("registers", h->registers);
    json_number("patches", patches);
    json_number("pooled_dim", h->pooled_dim);
    json_text("pooling", pool ? pool_name(pool->rule) : "none");
    json_number("classes", h->classes);
    json_number("decoder_dim", h->decoder_dim);
    json_number("norm_pix", h->norm_pix);
    describe_positions(text, embed);
    json_text("positions", text);
    print_json_blocks(model);
    printf("  \"unit\": [%" PRIu32 ", %" PRIu32 "],\n", h->unit_height, h->unit_width);
    if (sizes->unequal || has_windows(model)) print_json_layers(sizes);
    json_text("resize", h->resize == MIM_RESIZE_SHORT_EDGE ? "short edge" : h->resize == MIM_RESIZE_PAD ? "pad" : "squash");
    json_number("resize_edge", h->resize_edge);
    json_text("resize_filter", filter_name(h->resize_filter));
    json_floats("mean", h->mean, h->channels);
    json_floats("std", h->std, h->channels);
    printf("  \"outputs\": [");
    print_outputs(model, "\"", ", ");
    printf("],\n");
    json_number("params", h->parameters);
    json_number("macs", model_macs(model, grid));
    json_number("blob_bytes", h->bytes);
    json_number("arena_bytes", need->bytes);
    json_number("arena_max_bytes", need->useful);
    json_number("arena_scalar_bytes", scalar->bytes);
    json_number("arena_scalar_max_bytes", scalar->useful);
    json_number("arena_fast_bytes", split->bytes);
    json_number("arena_fast_max_bytes", split->useful);
    json_number("arena_slow_bytes", split->slow_bytes);
    printf("  \"cpu\": \"%s\"\n}\n", cpu);
}

int cmd_info(int argc, char **argv)
{
    int json = 0, positional = 0;
    const option options[] = { { "--json", NULL, &json } };
    int parsed = parse_options(argc, argv, options, 1, usage, &positional);
    if (parsed != PARSED) return parsed == PARSE_FAILED;
    if (positional != 1) return fail("info needs one model; see `mim info --help`");

    mim_model model;
    in_file blob;
    mim_memory need, scalar, split;
    mim_session_desc portable;
    engine e;
    reason why;
    memset(&e, 0, sizeof e);
    if (model_open(&model, &blob, argv[1])) return 1;
    memset(&portable, 0, sizeof portable);
    portable.cpu = MIM_CPU_SCALAR;
    mim_status status = mim_plan(&model, NULL, &need);
    if (status == MIM_OK)
        status = mim_plan(&model, &portable, &scalar);
    portable.split = 1;
    if (status == MIM_OK)
        status = mim_plan(&model, &portable, &split);
    int failed = status != MIM_OK ? fail("%s: %s", argv[1], mim_status_string(status))
               : engine_start(&e, &model, NULL, &why) ? fail("%s: %s", argv[1], why.text) : 0;
    if (!failed) {
        const mim_blob_step *attention = model_step(&model, MIM_STEP_ATTENTION);
        uint32_t heads = attention ? attention->heads : 0;
        layers sizes;
        find_layers(&sizes, &e.session);
        if (json) print_json(&model, e.session.cpu, &need, &scalar, &split, heads, &sizes);
        else print_text(&model, e.session.cpu, &need, &scalar, &split, heads, &sizes);
    }
    engine_stop(&e);
    in_close(&blob);
    return failed;
}
