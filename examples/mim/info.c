/* info.c - mim info: what a blob is. */
#include "tool.h"

#include <inttypes.h>
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
    case 0:              return "by table";              /* of an integer blob */
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
    static const char *const rules[] = { "", "for this grid only", "cubic", "cubic, antialiased", "linear" };
    if (step->rule == MIM_POSITIONS_NONE || step->rule >= sizeof rules / sizeof *rules) {
        snprintf(line, LINE, "none");
        return;
    }
    int used = snprintf(line, LINE, "stored for %" PRIu32 "x%" PRIu32 " patches, %s%s", step->stored_height, step->stored_width,
                        step->rule == MIM_POSITIONS_FIXED ? "" : "interpolation ", rules[step->rule]);
    if (step->position_offset != 0.0f && used > 0)
        snprintf(line + used, LINE - (size_t)used, ", offset %g", (double)step->position_offset);
}

static void describe_bias(char line[LINE], const mim_blob_step *step)
{
    static const char *const rules[] = { "", "for this grid only", "linear", "geometric" };
    if (step->rule == MIM_BIAS_NONE || step->rule >= sizeof rules / sizeof *rules)
        snprintf(line, LINE, "none");
    else
        snprintf(line, LINE, "%" PRIu32 "x%" PRIu32 " %s", step->stored_height, step->stored_width, rules[step->rule]);
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

static void describe_attention(char line[LINE], const mim_model *model, const mim_blob_step *step)
{
    char bias[LINE], rotary[LINE];
    describe_bias(bias, step);
    describe_rotary(rotary, step);
    snprintf(line, LINE, "attention %" PRIu32 " heads of %" PRIu32 "%s%.40s%s%.40s%s, %s", step->heads, step->head_dim,
             step->rule ? ", relative bias " : "", step->rule ? bias : "", step->rotary ? ", rotary " : "",
             step->rotary ? rotary : "", step->tensor[5] ? ", inner norm" : "", type_name(step_tensor(model, step, 1)->type));
}

static void describe_step(char line[LINE], const mim_model *model, const mim_blob_step *step)
{
    const mim_blob_header *h = model->header;
    switch (step->kind) {
    case MIM_STEP_EMBED:
        snprintf(line, LINE, "embed patches of %" PRIu32 "x%" PRIu32 "x%" PRIu32 " into %" PRIu32 ", %s",
                 h->patch_height, h->patch_width, h->channels, h->dim, type_name(step_tensor(model, step, 0)->type));
        break;
    case MIM_STEP_ATTENTION:
        describe_attention(line, model, step);
        break;
    case MIM_STEP_MLP:
        snprintf(line, LINE, "mlp %" PRIu32 "%s %s%s, %s", step_tensor(model, step, 2)->columns,
                 step->flags & MIM_STEP_GATED ? " gated" : "", activation_name(step->activation),
                 step->tensor[3] ? ", inner norm" : "", type_name(step_tensor(model, step, 1)->type));
        break;
    case MIM_STEP_NORM:
        snprintf(line, LINE, "norm");
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

/* Pairs of steps that repeat become one line. */
static void print_steps(const mim_model *model, uint32_t from, uint32_t to, const char *title)
{
    char a[LINE], b[LINE], next[LINE];
    printf("%s", title);
    for (uint32_t i = from; i < to;) {
        uint32_t repeats = 0;
        describe_step(a, model, &model->steps[i]);
        if (i + 1 < to) {
            describe_step(b, model, &model->steps[i + 1]);
            for (uint32_t k = i; k + 1 < to; k += 2, repeats++) {
                describe_step(next, model, &model->steps[k]);
                if (strcmp(next, a) != 0) break;
                describe_step(next, model, &model->steps[k + 1]);
                if (strcmp(next, b) != 0) break;
            }
        }
        if (i != from) printf("%16s", "");
        if (repeats > 1) printf("%" PRIu32 " x (%s; %s)\n", repeats, a, b);
        else printf("%s\n", a);
        i += repeats > 1 ? 2 * repeats : 1;
    }
}

/* Within which ranges the quantized matrices lie: what decides how fast they can be multiplied. */
static void print_ranges(const mim_model *model)
{
    static const struct { uint8_t weight, input; } kinds[] = { { 63, 127 }, { 63, 255 }, { 127, 127 }, { 127, 255 } };
    int printed = 0;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < model->header->tensor_count; i++) {
            const mim_blob_tensor *t = &model->tensors[i];
            count += t->type == MIM_Q8 && t->weight_max == kinds[k].weight && t->input_max == kinds[k].input;
        }
        if (!count) continue;
        printf("%-16s%" PRIu32 " matrices with weights in +-%u and inputs in 0..%u\n", printed++ ? "" : "ranges", count,
               (unsigned)kinds[k].weight, (unsigned)kinds[k].input);
    }
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
    if (model_step(model, MIM_STEP_ATTENTION)) names[count++] = "attention";
    if (h->classes) names[count++] = "logits";
    for (size_t i = 0; i < count; i++) printf("%s%s%s%s", i ? between : "", before, names[i], before);
}

/* ---- text ---- */

static void print_mean(const char *label, const float *values, uint32_t count)
{
    printf("%s", label);
    for (uint32_t c = 0; c < count; c++) printf("%s%.6g", c ? " " : "", (double)values[c]);
}

static void print_text(const mim_model *model, const char *cpu, const mim_memory *need, const mim_memory *scalar, uint32_t heads)
{
    const mim_blob_header *h = model->header;
    const mim_blob_step *embed = model_step(model, MIM_STEP_EMBED), *pool = model_step(model, MIM_STEP_POOL);
    uint64_t patches = (uint64_t)(h->image_height / h->patch_height) * (h->image_width / h->patch_width);
    char text[LINE];
    const struct { const char *label, *text; size_t bytes; } names[] = {
        { "name", h->name, sizeof h->name }, { "family", h->family, sizeof h->family }, { "method", h->method, sizeof h->method },
        { "source", h->source, sizeof h->source }, { "licence", h->licence, sizeof h->licence },
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        printf("%-16s%s\n", names[i].label, *text_of(text, names[i].text, names[i].bytes) ? text : "not recorded");
    printf("%-16s%s, %s numerics\n", "type", type_name(h->type), numerics_name(h->numerics));
    printf("%-16s%" PRIu32 "x%" PRIu32 ", %" PRIu32 " channels, patches of %" PRIu32 "x%" PRIu32 "\n", "image",
           h->image_height, h->image_width, h->channels, h->patch_height, h->patch_width);
    printf("%-16s%s%" PRIu32 " registers, %" PRIu64 " patches\n", "tokens", h->has_cls ? "CLS, " : "", h->registers, patches);
    printf("%-16s%" PRIu32 " wide, %" PRIu32 " layers, %" PRIu32 " heads\n", "encoder", h->dim, h->depth, heads);
    print_steps(model, 0, h->decoder_step, "structure       ");
    if (has_decoder(model)) print_steps(model, h->decoder_step, h->step_count, "decoder         ");
    print_ranges(model);
    describe_positions(text, embed);
    printf("%-16s%s\n", "positions", text);
    if (h->resize == MIM_RESIZE_SHORT_EDGE)
        printf("%-16sshort edge to %" PRIu32 " (%s), centre crop", "preprocessing", h->resize_edge, filter_name(h->resize_filter));
    else
        printf("%-16sresize to the input (%s)", "preprocessing", filter_name(h->resize_filter));
    print_mean("; mean ", h->mean, h->channels);
    print_mean("; std ", h->std, h->channels);
    printf("\n%-16s%s, %" PRIu32 " wide\n", "pooled", pool ? pool_name(pool->rule) : "none", h->pooled_dim);
    printf("%-16s", "outputs");
    print_outputs(model, "", ", ");
    printf("%s\n", has_decoder(model) ? "; reconstruction" : "");
    printf("%-16s%" PRIu64 "\n", "parameters", h->parameters);
    printf("%-16s%.3f G multiply-accumulates an image\n", "work", 1e-9 * (double)model_macs(model, patches));
    printf("%-16s%" PRIu64 " bytes\n", "blob", h->bytes);
    printf("%-16s%zu bytes at least; up to %zu, more is faster; %zu at least in portable code\n", "arena", need->bytes, need->useful,
           scalar->bytes);
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

static void print_json(const mim_model *model, const char *cpu, const mim_memory *need, const mim_memory *scalar, uint32_t heads)
{
    const mim_blob_header *h = model->header;
    const mim_blob_step *embed = model_step(model, MIM_STEP_EMBED), *pool = model_step(model, MIM_STEP_POOL);
    uint64_t patches = (uint64_t)(h->image_height / h->patch_height) * (h->image_width / h->patch_width);
    char text[LINE];
    printf("{\n");
    json_text("name", text_of(text, h->name, sizeof h->name));
    json_text("family", text_of(text, h->family, sizeof h->family));
    json_text("method", text_of(text, h->method, sizeof h->method));
    json_text("source", text_of(text, h->source, sizeof h->source));
    json_text("licence", text_of(text, h->licence, sizeof h->licence));
    json_text("type", type_name(h->type));
    json_text("numerics", numerics_name(h->numerics));
    printf("  \"image\": [%" PRIu32 ", %" PRIu32 "],\n", h->image_height, h->image_width);
    printf("  \"patch\": [%" PRIu32 ", %" PRIu32 "],\n", h->patch_height, h->patch_width);
    json_number("channels", h->channels);
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
    json_text("resize", h->resize == MIM_RESIZE_SHORT_EDGE ? "short edge" : "squash");
    json_number("resize_edge", h->resize_edge);
    json_text("resize_filter", filter_name(h->resize_filter));
    json_floats("mean", h->mean, h->channels);
    json_floats("std", h->std, h->channels);
    printf("  \"outputs\": [");
    print_outputs(model, "\"", ", ");
    printf("],\n");
    json_number("params", h->parameters);
    json_number("macs", model_macs(model, patches));
    json_number("blob_bytes", h->bytes);
    json_number("arena_bytes", need->bytes);
    json_number("arena_max_bytes", need->useful);
    json_number("arena_scalar_bytes", scalar->bytes);
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
    mim_memory need, scalar;
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
    int failed = status != MIM_OK ? fail("%s: %s", argv[1], mim_status_string(status))
               : engine_start(&e, &model, NULL, &why) ? fail("%s: %s", argv[1], why.text) : 0;
    if (!failed) {
        const mim_blob_step *attention = model_step(&model, MIM_STEP_ATTENTION);
        uint32_t heads = attention ? attention->heads : 0;
        if (json) print_json(&model, e.session.cpu, &need, &scalar, heads);
        else print_text(&model, e.session.cpu, &need, &scalar, heads);
    }
    engine_stop(&e);
    in_close(&blob);
    return failed;
}
