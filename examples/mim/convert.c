/* convert.c - `mim convert`: a published checkpoint becomes a blob. */
#include "integer.h"
#include "settings.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char usage[] =
    "mim convert CHECKPOINT -o OUT.mim [options]\n"
    "\n"
    "CHECKPOINT is a .safetensors, PyTorch (.pth, .pt, .bin, .ckpt), .npz or .gguf file, a *.index.json with its shards, or a\n"
    "folder with either. Nothing in a PyTorch file is executed.\n"
    "config.json and preprocessor_config.json beside it are read. What neither they nor the tensors tell is asked for.\n"
    "\n"
    "  -o OUT.mim                 the blob to write\n"
    "  --type f32|f16|q8|q7|q4    kind of numbers of the matrices (f32); q7: q8 with inputs of 7 bits\n"
    "  --group 32|64|128          q4: columns that share a scale (32)\n"
    "  --numerics float|integer   what a q8 or q4 blob computes in between its products (float); integer runs without a\n"
    "                             floating-point unit, has scales that pictures are needed for, and does plain transformers only\n"
    "  --calib FOLDER             those pictures: 24 to 48 of the kind that the model will see\n"
    "  --layout panels|pairs      of integer q8 matrices (panels, which all kernels but one read); pairs: for Helium, as on\n"
    "                             Cortex-M55; elsewhere portable code reads it; also `mim convert MODEL.mim --layout ... -o ...`\n"
    "  --config FILE              the configuration, where it is not config.json beside the checkpoint\n"
    "  --keep-decoder             keep a masked autoencoder's decoder, for `mim reconstruct`\n"
    "  --licence TEXT             licence of the weights, recorded in the blob\n"
    "\n"
    "These win over configurations, and over what is fixed for a family:\n"
    "  --family NAME              whose file this is: mae, mae-lite, dmae, sdae, milan, tinymim, semmae, localmim, bootmae,\n"
    "                             maskfeat, cmae, mmpretrain, ibot (also AttMask), msn, ijepa, simmim, cae, beit, data2vec,\n"
    "                             maskdistill, eva, eva02, eva02-clip, eva02-clip-e, timm, timm-eva02, timm-clip, hf-clip, open-clip,\n"
    "                             timm-dinov3, timm-rope, dinov2, dinov2-reg, dinov3, hf-vit, hf-vit_mae, hf-vit_msn, hf-ijepa,\n"
    "                             hf-beit, hf-data2vec, hf-dinov2, hf-dinov2-reg, hf-dinov3; swin, simmim-swin, greenmim, mixmim,\n"
    "                             timm-swin, hf-swin, swinv2, timm-swinv2, hf-swinv2, sam, timm-sam, hf-sam, efficientsam, hiera,\n"
    "                             timm-hiera, hf-hiera, hivit, itpn, fast-itpn, convmae, mvitv2, maskfeat-mvitv2, timm-mvitv2;\n"
    "                             videomae, hiera-video, hf-videomae, vjepa2, hf-vjepa2, audiomae, satmae, satmae-groups, prithvi, presto, galileo\n"
    "  --prefix NAME              of several encoders in the file, the one whose names begin so\n"
    "  --wrapper NAME             of several state dicts in a PyTorch file, the one under this key\n"
    "  --heads N                  heads of the attention; --decoder-heads N for a decoder that is kept\n"
    "  --eps E                    epsilon of the norms\n"
    "  --act gelu|gelu_tanh|quick_gelu|silu   activation of the MLP, or of its gate\n"
    "  --pool cls|mean|mean_all|cls_mean\n"
    "  --image-size N|HxW         pixels of the input\n"
    "  --frames N                 frames of a video, as trained with\n"
    "  --groups 0,1,2,6;3,4,5,7;8,9   channels of each group, where the channels are in groups\n"
    "  --window N|N:P             tokens along a side of the windows; P: of those it was pretrained with (Swin V2)\n"
    "  --positions fixed|cubic|cubic:OFFSET|cubic_antialias|linear|corners\n"
    "                             how stored positions are interpolated to other sizes\n"
    "  --mean R,G,B --std R,G,B   of pixels in 0..1, one number for each channel\n"
    "  --resize short:EDGE|squash|pad\n"
    "                             short edge to EDGE, then the middle; straight to the input's size; or fitted in, zeros beside it\n"
    "  --filter bilinear|bicubic  of that resize\n"
    "  --norm-pix yes|no          the decoder predicts pixels normalised patch by patch\n";

static int parse_layout(const char *text, uint8_t *result)
{
    *result = text && strcmp(text, "pairs") == 0 ? MIM_PAIRS16 : MIM_PANEL16;
    return text && *result != MIM_PAIRS16 && strcmp(text, "panels") != 0 ? fail("--layout: '%.64s' is none of panels, pairs", text) : 0;
}

/* Values of options that are settled, but come later. */
static int check_available(const wishes *w, number_kind *n, integer_kind *integer)
{
    static const struct { const char *name; number_kind as; } types[] = {
        { "f32", { MIM_F32, 0, 0 } }, { "f16", { MIM_F16, 0, 0 } }, { "q8", { MIM_Q8, 255, 0 } }, { "q7", { MIM_Q8, 127, 0 } },
        { "q4", { MIM_Q4, 255, 32 } },
    };
    static const char *const groups[] = { "32", "64", "128" };
    const char *given = w->type ? w->type : "f32";
    size_t i = 0, count = sizeof types / sizeof *types, group = 0;
    while (i < count && strcmp(types[i].name, given) != 0)
        i++;
    if (i == count)
        return fail("--type: '%.64s' is none of f32, f16, q8, q7, q4", given);
    *n = types[i].as;
    if (w->group && n->type != MIM_Q4)
        return fail("--group %.64s: only q4 has groups; add --type q4", w->group);
    while (w->group && group < 3 && strcmp(groups[group], w->group) != 0)
        group++;
    if (group == 3)
        return fail("--group: '%.64s' is none of 32, 64, 128", w->group);
    if (w->group)
        n->group = (uint8_t)(32u << group);
    int integers = w->numerics && strcmp(w->numerics, "integer") == 0;
    if (parse_layout(w->layout, &integer->layout))
        return 1;
    if (w->numerics && !integers && strcmp(w->numerics, "float") != 0)
        return fail("--numerics: '%.64s' is none of float, integer", w->numerics);
    if (integers && w->type && strcmp(w->type, "q8") != 0 && n->type != MIM_Q4)
        return fail("--numerics integer makes q8 or q4 blobs; leave out --type %.64s", w->type);
    if (integers && !w->calib)
        return fail("--numerics integer needs --calib FOLDER, with 24 to 48 pictures of the kind that the model will see");
    if (!integers && w->calib)
        return fail("--calib is for --numerics integer; other blobs find their scales as they run");
    if (integer->layout == MIM_PAIRS16 && (!integers || n->type == MIM_Q4))
        return fail("--layout pairs is for --numerics integer with 8 bits; leave it out");
    integer->type = !integers ? 0 : n->type == MIM_Q4 ? MIM_Q4 : MIM_Q8;
    integer->group = n->group;
    if (integers)
        *n = types[0].as;                 /* f32 is what is run over the pictures, and then quantized */
    return 0;
}

/* The output must not be one of the inputs: they are mapped, and are the user's. */
static int check_output(const checkpoint *cp, const char *output)
{
    struct stat out, in;
    if (stat(output, &out))
        return 0;
    for (size_t i = 0; i < cp->shard_count; i++)
        if (stat(cp->shards[i].path, &in) == 0 && in.st_dev == out.st_dev && in.st_ino == out.st_ino)
            return fail("%s is the checkpoint itself; name another output", output);
    return 0;
}

/* ---- what is said on success ---- */

static void say(char *text, size_t bytes, const char *value, const char *from)
{
    size_t used = strlen(text);
    if (used < bytes)
        snprintf(text + used, bytes - used, "; %s (%s)", value, from);
}

/* How many blocks each stage has. */
static void print_stages(const vit *model, const measures *m)
{
    printf(" in %" PRIu32 " stages (", model->stages);
    for (uint32_t stage = 0; stage < model->stages; stage++) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < model->depth; i++)
            count += model->stage_of[i] == stage && !is_merging(model->block[i]);
        printf("%s%" PRIu32, stage ? ", " : "", count);
    }
    printf("), %" PRIu32 " to %" PRIu32 " wide", m->embed_dim, m->width);
}

/* The sizes of windows, each once. */
static void print_windows(const mim_blob_header *h, const mim_blob_step *steps)
{
    for (uint32_t i = 0, told = 0; i < h->step_count; i++) {
        uint32_t k = 0;
        while (k < i && (!steps[k].window || steps[k].window_height != steps[i].window_height || steps[k].window_width != steps[i].window_width))
            k++;
        if (steps[i].window && k == i)
            printf("%s%ux%u", told++ ? " and " : ", windows of ", (unsigned)steps[i].window_height, (unsigned)steps[i].window_width);
    }
}

static void print_recognised(const vit *model, const checkpoint *cp, const measures *m, const settings *s, const plan *p)
{
    printf("recognised %s (%s", model->family->title, model->naming);
    printf("%s%s", model->evidence[0] ? ", " : "", model->evidence);
    if (model->prefix[0])
        printf(", under '%s'", model->prefix);
    if (cp->origin[0])
        printf(", %s", cp->origin);
    uint32_t blocks = 0;
    for (uint32_t i = 0; i < model->depth; i++)
        blocks += !is_merging(model->block[i]);
    printf("): %" PRIu32 " block%s", blocks, blocks == 1 ? "" : "s");
    if (model->stages > 1)
        print_stages(model, m);
    else
        printf(", %" PRIu32 " wide", m->width);
    if (m->vectors)
        printf(", %" PRIu32 " vectors that its caller makes tokens of", m->vectors);
    else
        printf(", patches of %" PRIu32 "x%" PRIu32 "x%" PRIu32, m->kernel_height, m->kernel_width, m->channels);
    if (m->kernel_height != m->patch_height || m->kernel_width != m->patch_width)
        printf(" %" PRIu32 "x%" PRIu32 " apart", m->patch_height, m->patch_width);
    if (m->patch_frames > 1)
        printf(" in %" PRIu32 " frames", m->kernel_frames);
    if (m->kernel_frames != m->patch_frames)
        printf(" %" PRIu32 " apart", m->patch_frames);
    print_windows(&p->header, p->steps);
    if (m->dim != m->width)
        printf(", neck of %" PRIu32, m->dim);
    if (m->groups > 1)
        printf(" in %" PRIu32 " groups of channels", m->groups);
    if (m->coordinates)
        printf(", %" PRIu32 " coordinates of each frame", m->coordinates);
    if (m->position_rows)
        printf(", %.0fx%.0f positions", s->grid_height.value, s->grid_width.value);
    if (m->bias_rows)
        printf(", relative positions of %.0fx%.0f", s->grid_height.value, s->grid_width.value);
    if (s->rotary.value > 0)
        printf(", rotary positions");
    if (m->gated)
        printf(", gated MLP");
    printf(", %s", m->has_cls ? "CLS" : "no CLS");
    if (m->registers)
        printf(", %" PRIu32 " register%s", m->registers, m->registers == 1 ? "" : "s");
    if (m->classes)
        printf(", %" PRIu32 " classes", m->classes);
    if (m->decoder_dim)
        printf(", decoder of %" PRIu32 " block%s, %" PRIu32 " wide", model->decoder_depth, model->decoder_depth == 1 ? "" : "s", m->decoder_dim);
    printf(", %.2f M parameters\n", (double)m->parameters / 1e6);
}

static void print_written(const plan *p, const char *output, const vit *model, const measures *m, const settings *s)
{
    const mim_blob_header *h = &p->header;
    char text[1200] = "", value[160];
    if (m->vectors)
        snprintf(value, sizeof value, "%" PRIu32 " tokens", h->image_width);
    else
        snprintf(value, sizeof value, "image %" PRIu32 "x%" PRIu32, h->image_height, h->image_width);
    say(text, sizeof text, value, s->image_height.from);
    if (h->frames > 1) {
        snprintf(value, sizeof value, "frames %" PRIu32, h->frames);
        say(text, sizeof text, value, s->frames.from);
    }
    if (m->groups > 1) {
        snprintf(value, sizeof value, "channels");
        for (uint32_t i = 0; i < m->channels; i++)
            snprintf(value + strlen(value), sizeof value - strlen(value), "%s%u", i ? "," : " in groups ", (unsigned)s->channel_group[i]);
        say(text, sizeof text, value, s->groups.from);
    }
    snprintf(value, sizeof value, "heads %.0f", s->heads.value);
    say(text, sizeof text, value, s->heads.from);
    snprintf(value, sizeof value, "eps %g", s->eps.value);
    say(text, sizeof text, value, s->eps.from);
    say(text, sizeof text, activation_name((uint32_t)s->activation.value), s->activation.from);
    snprintf(value, sizeof value, "pool %s", pool_name((uint32_t)s->pool.value));
    say(text, sizeof text, value, s->pool.from);
    const enum made made = family_scheme(model->family)->made;
    const char *rule = made == MADE_NUMBER_WAVES || made == MADE_TURNS ? "computed" : m->vectors ? "the caller's" : NULL;
    snprintf(value, sizeof value, "positions %s", rule ? rule : positions_name((uint32_t)s->positions.value));
    if (s->position_offset.value > 0)
        snprintf(value + strlen(value), sizeof value - strlen(value), " with offset %g", s->position_offset.value);
    say(text, sizeof text, value, rule ? model->family->name : s->positions.from);
    if (s->bias.from) {
        snprintf(value, sizeof value, "relative bias %s", bias_name((uint32_t)s->bias.value));
        say(text, sizeof text, value, s->bias.from);
    }
    if (s->rotary.from) {
        if (s->rotary_grid.value == MIM_GRID_SCALED)
            snprintf(value, sizeof value, "rotary base %g, scaled to %.0fx%.0f", s->rotary_base.value, s->rotary_height.value,
                     s->rotary_width.value);
        else if (s->rotary_base.from && strcmp(s->rotary_base.from, "tensors") == 0)
            snprintf(value, sizeof value, "rotary periods");
        else
            snprintf(value, sizeof value, "rotary base %g", s->rotary_base.value);
        say(text, sizeof text, value, s->rotary_base.from);
    }
    for (int std = 0; std < 2; std++) {
        snprintf(value, sizeof value, std ? "std" : "mean");
        for (uint32_t i = 0; i < h->channels && i < 4; i++)
            snprintf(value + strlen(value), sizeof value - strlen(value), "%s%g", i ? "," : " ",
                     (double)(std ? h->std : h->mean)[i]);
        say(text, sizeof text, value, std ? s->std_from : s->mean_from);
    }
    if (h->resize == MIM_RESIZE_SQUASH)
        snprintf(value, sizeof value, "resize squash");
    else if (h->resize == MIM_RESIZE_PAD)
        snprintf(value, sizeof value, "resize pad");
    else
        snprintf(value, sizeof value, "resize short:%" PRIu32, h->resize_edge);
    say(text, sizeof text, value, h->resize == MIM_RESIZE_SHORT_EDGE ? s->edge_over.from : s->resize.from);
    say(text, sizeof text, h->resize_filter == MIM_BICUBIC ? "bicubic" : "bilinear", s->filter.from);
    if (m->decoder_dim) {
        snprintf(value, sizeof value, "decoder heads %.0f", s->decoder_heads.value);
        say(text, sizeof text, value, s->decoder_heads.from);
        say(text, sizeof text, h->norm_pix ? "normalised pixels" : "plain pixels", s->norm_pix.from);
    }
    printf("wrote %s: %s%s, %" PRIu64 " bytes%s\n", output, type_name(h->type),
           h->numerics == MIM_NUMERICS_INTEGER ? ", integer numerics" : "", h->bytes, text);
}

static void print_ignored(const vit *model, const checkpoint *cp)
{
    for (size_t i = 0; i < cp->count; i++) {
        const char *why = model->ignored[i];
        char names[1600];
        int told = !why;
        for (size_t k = 0; k < i && !told; k++)
            told = model->ignored[k] == why;
        if (told)
            continue;
        list_names(names, sizeof names, cp, model->ignored, why, 1);
        printf("ignored: %s: %s\n", why, names);
    }
}

/* ---- a blob that is converted already, in another layout ---- */

static int is_blob(const char *path)
{
    char magic[8];
    FILE *f = fopen(path, "rb");
    int is = f && fread(magic, 1, 8, f) == 8 && memcmp(magic, MIM_BLOB_MAGIC, 8) == 0;
    if (f)
        fclose(f);
    return is;
}

/* The same bytes of every matrix at other places, and 128 more or less, which is one bit. */
static void lay_out(uint8_t *blob, const mim_model *model, uint8_t to)
{
    const size_t directory = (size_t)((const uint8_t *)model->tensors - (const uint8_t *)model->header);
    for (uint32_t i = 0; i < model->header->tensor_count; i++) {
        const mim_blob_tensor *t = &model->tensors[i];
        const uint8_t *from = (const uint8_t *)model->header + t->at;
        const uint32_t k = (t->columns + 31) / 32 * 32, n16 = (t->rows + 15) / 16 * 16;
        if (t->layout == MIM_PLAIN || t->layout == to)
            continue;
        for (uint32_t n = 0; n < n16; n++)
            for (uint32_t c = 0; c < k; c++)
                blob[t->at + integer_place(to, k, n, c)] = from[integer_place(t->layout, k, n, c)] ^ 128;
        ((mim_blob_tensor *)(void *)(blob + directory))[i].layout = to;
    }
}

static int convert_layout(const char *path, const wishes *w)
{
    wishes others = *w, none = {0};
    mim_model model;
    in_file file;
    out_file out;
    uint8_t to, *blob = NULL;
    int failed = 1;
    others.output = others.layout = NULL;
    if (memcmp(&others, &none, sizeof none) != 0)
        return fail("%s: a blob already; with one, --layout and -o are all the options", path);
    if (parse_layout(w->layout, &to) || model_open(&model, &file, path))
        return 1;
    if (model.header->numerics != MIM_NUMERICS_INTEGER || model.header->type != MIM_Q8)
        fail("%s: --layout is for integer numerics with 8 bits; this has %s numerics and %s", path,
             model.header->numerics == MIM_NUMERICS_INTEGER ? "integer" : "float", type_name(model.header->type));
    else if (!(blob = malloc(file.bytes)))
        fail("%s: not enough memory", path);
    else {
        memcpy(blob, file.data, file.bytes);
        lay_out(blob, &model, to);
        ((mim_blob_header *)(void *)blob)->checksum = mim_checksum(blob, file.bytes);
        if (!out_open(&out, w->output)) {
            failed = out_write(&out, blob, file.bytes) || out_commit(&out);
            if (failed)
                out_discard(&out);
            else
                printf("wrote %s: %s's numbers in %s, %zu bytes\n", w->output, path, w->layout, file.bytes);
        }
    }
    free(blob);
    in_close(&file);
    return failed;
}

/* ---- the command ---- */

typedef struct work {
    checkpoint cp;
    configs found;
    vit *model;
    plan *plan;
} work;

static int convert(work *k, const wishes *w, const char *path, const number_kind *n, const integer_kind *integer)
{
    const family *wanted;
    const char *from;
    measures m;
    settings s;
    if (checkpoint_open(&k->cp, path, w->wrapper) || configs_open(&k->found, k->cp.path, w->config) ||
        configs_family(&k->found, w, &wanted, &from))
        return 1;
    if (!(k->model = calloc(1, sizeof *k->model)) || !(k->plan = malloc(sizeof *k->plan)))
        return fail("%s: not enough memory", path);
    if (vit_recognise(k->model, &k->cp, wanted, w->prefix))
        return 1;
    if (wanted)
        snprintf(k->model->evidence, sizeof k->model->evidence, "by %s", strcmp(from, "option") == 0 ? "--family" : from);
    if (!w->keep_decoder)
        vit_drop_decoder(k->model, &k->cp, "decoder, not kept");
    if (measure(&m, k->model, &k->cp, w->keep_decoder) || settle(&s, &k->found, w, k->model, &k->cp, &m) ||
        build(k->plan, k->model, &k->cp, &m, &s, n) || check_output(&k->cp, w->output))
        return 1;
    if (integer->type) {
        mim_blob_header written;
        if (integer_write(k->plan, integer, w->calib, w->output, &written))
            return 1;
        k->plan->header = written;
    } else if (plan_write(k->plan, w->output))
        return 1;
    print_recognised(k->model, &k->cp, &m, &s, k->plan);
    print_written(k->plan, w->output, k->model, &m, &s);
    print_ignored(k->model, &k->cp);
    return 0;
}

int cmd_convert(int argc, char **argv)
{
    wishes w = {0};
    const option options[] = {
        { "-o", &w.output, NULL }, { "--config", &w.config, NULL }, { "--type", &w.type, NULL }, { "--group", &w.group, NULL },
        { "--numerics", &w.numerics, NULL }, { "--calib", &w.calib, NULL }, { "--layout", &w.layout, NULL },
        { "--family", &w.family, NULL }, { "--prefix", &w.prefix, NULL }, { "--wrapper", &w.wrapper, NULL },
        { "--heads", &w.heads, NULL },
        { "--decoder-heads", &w.decoder_heads, NULL }, { "--image-size", &w.image_size, NULL }, { "--eps", &w.eps, NULL },
        { "--act", &w.act, NULL }, { "--pool", &w.pool, NULL }, { "--mean", &w.mean, NULL }, { "--std", &w.std, NULL },
        { "--positions", &w.positions, NULL }, { "--resize", &w.resize, NULL }, { "--filter", &w.filter, NULL },
        { "--frames", &w.frames, NULL }, { "--groups", &w.groups, NULL }, { "--window", &w.window, NULL }, { "--norm-pix", &w.norm_pix, NULL },
        { "--licence", &w.licence, NULL }, { "--keep-decoder", NULL, &w.keep_decoder },
    };
    integer_kind integer = {0};
    int positional;
    number_kind n = {0};
    int parsed = parse_options(argc, argv, options, sizeof options / sizeof *options, usage, &positional);
    if (parsed != PARSED)
        return parsed == PARSE_HELP ? 0 : 1;
    if (positional != 1)
        return fail("convert: give one checkpoint, not %d; see `mim convert --help`", positional);
    if (!w.output)
        return fail("convert: name the blob to write with -o OUT.mim");
    const uint16_t one = 1;
    if (*(const uint8_t *)&one == 0)
        return fail("convert: blobs are little-endian, this machine is not; convert on another");
    if (w.layout && is_blob(argv[1]))
        return convert_layout(argv[1], &w);
    if (check_available(&w, &n, &integer))
        return 1;

    work k = {0};
    int failed = convert(&k, &w, argv[1], &n, &integer);
    if (k.model)
        vit_free(k.model);
    free(k.model);
    free(k.plan);
    configs_close(&k.found);
    checkpoint_close(&k.cp);
    return failed;
}
