/* reconstruct.c - mim reconstruct: hide patches of a picture, and show what a masked autoencoder makes of the rest. */
#include "picture.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "mim reconstruct MODEL.mim IMAGE -o OUT.ppm [options]\n"
    "\n"
    "Draws three panels: the picture as the model gets it, what the encoder saw (hidden patches gray), and the same with\n"
    "the decoder's predictions in the hidden patches. Prints the masked patches' loss as MAE defines it. OUT is a PNG if\n"
    "its name ends in .png, else a PPM. The blob needs its decoder: `mim convert --keep-decoder`.\n"
    "\n"
    "  --ratio R        part of the patches to hide, 0 to 1; default 0.75\n"
    "  --seed N         which ones: patches are shuffled (Fisher and Yates, from the last one down) with splitmix64\n"
    "                   started at N, and the first ones kept; default 0\n"
    "  --size HxW       input size in pixels; default: as trained\n"
    "  --png            a PNG, whatever OUT is called\n";

/* ---- which patches ---- */

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* A random order of 0..count-1. The high half of a product with 32 random bits picks evenly enough: count is at most 2^14. */
static void shuffle(uint32_t *order, uint32_t count, uint64_t seed)
{
    for (uint32_t i = 0; i < count; i++) order[i] = i;
    for (uint32_t i = count; i > 1; i--) {
        uint32_t k = (uint32_t)((splitmix64(&seed) >> 32) * i >> 32), held = order[i - 1];
        order[i - 1] = order[k];
        order[k] = held;
    }
}

/* ---- patches and pixels ---- */

typedef struct view {
    const mim_blob_header *h;
    const picture *p;                 /* prepared */
    uint32_t grid_width;
} view;

/* Where value i of patch n lies, in the decoder's order y, x, channel. */
static size_t sample_at(const view *v, uint32_t n, uint32_t i)
{
    uint32_t c = i % v->h->channels, x = i / v->h->channels % v->h->patch_width, y = i / v->h->channels / v->h->patch_width;
    x += n % v->grid_width * v->h->patch_width;
    y += n / v->grid_width * v->h->patch_height;
    return ((size_t)y * v->p->width + x) * v->h->channels + c;
}

/* The model's normalised pixel. */
static double target(const view *v, uint32_t n, uint32_t i)
{
    uint32_t c = i % v->h->channels;
    return (v->p->pixels[sample_at(v, n, i)] / 255.0 - (double)v->h->mean[c]) / (double)v->h->std[c];
}

static void patch_moments(const view *v, uint32_t n, uint32_t values, double *mean, double *deviation)
{
    double sum = 0, square = 0;
    for (uint32_t i = 0; i < values; i++) sum += target(v, n, i);
    *mean = sum / values;
    for (uint32_t i = 0; i < values; i++) square += (target(v, n, i) - *mean) * (target(v, n, i) - *mean);
    *deviation = sqrt(square / (values > 1 ? values - 1 : 1) + 1e-6);    /* unbiased, as in MAE's loss */
}

/* The hidden patches' predictions in place of their pixels; returns the mean over them of the mean squared error. */
static double fill_hidden(const view *v, uint8_t *pixels, const float *prediction, const uint32_t *hidden, uint32_t count)
{
    uint32_t values = v->h->patch_height * v->h->patch_width * v->h->channels;
    double loss = 0;
    for (uint32_t k = 0; k < count; k++) {
        double mean = 0, deviation = 1, error = 0;
        const float *patch = prediction + (size_t)hidden[k] * values;
        if (v->h->norm_pix) patch_moments(v, hidden[k], values, &mean, &deviation);
        for (uint32_t i = 0; i < values; i++) {
            uint32_t c = i % v->h->channels;
            double predicted = (double)patch[i], difference = predicted - (target(v, hidden[k], i) - mean) / deviation;
            double byte = 255 * ((predicted * deviation + mean) * (double)v->h->std[c] + (double)v->h->mean[c]);
            error += difference * difference;
            pixels[sample_at(v, hidden[k], i)] = round_byte(byte);
        }
        loss += error / values;
    }
    return loss / count;
}

static void paint(const canvas *c, uint32_t panel, const uint8_t *pixels, uint32_t width, uint32_t height, uint32_t channels)
{
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++, pixels += channels) {
            uint8_t gray[3] = { pixels[0], pixels[0], pixels[0] };
            canvas_paint(c, panel, x, y, channels == 3 ? pixels : gray);
        }
}

/* ---- the whole ---- */

int triptych_make(triptych *t, const mim_model *model, const char *path, uint32_t height, uint32_t width, double ratio, uint32_t seed)
{
    const mim_blob_header *h = model->header;
    uint32_t patches = height / h->patch_height * (width / h->patch_width), side = height > width ? height : width;
    uint32_t factor = side >= 192 ? 1 : 256 / side;                      /* small ones are drawn larger */
    size_t values = (size_t)h->patch_height * h->patch_width * h->channels, samples = values * patches;
    uint32_t *order = NULL;
    uint8_t *pixels = NULL;
    float *prediction = NULL;
    picture p;
    reason why;
    engine e;
    mim_session_desc desc;
    memset(&p, 0, sizeof p);
    memset(&e, 0, sizeof e);
    memset(&desc, 0, sizeof desc);
    memset(t, 0, sizeof *t);
    if (h->decoder_step >= h->step_count)
        return fail("the model has no decoder to reconstruct with; convert a checkpoint that has one with --keep-decoder");
    t->patches = patches;
    t->kept = (uint32_t)(patches * (1 - ratio));
    if (t->kept == 0 || t->kept >= patches)
        return fail("--ratio %g keeps %" PRIu32 " of %" PRIu32 " patches; at least one must be kept and one hidden",
                    ratio, t->kept, patches);
    desc.height = height;
    desc.width = width;
    desc.visible_max = t->kept;
    desc.decoder = 1;

    int failed = picture_read(&p, path, &why) || picture_prepare(&p, model, width, height, &why);
    if (failed) fail("%s: %s", path, why.text);
    else if (engine_start(&e, model, &desc, &why)) failed = fail("%s", why.text);
    if (!failed) {
        order = malloc(patches * sizeof *order);
        prediction = samples <= SIZE_MAX / sizeof *prediction ? malloc(samples * sizeof *prediction) : NULL;
        pixels = malloc(samples);
        failed = !order || !prediction || !pixels ? fail("%s: not enough memory", path) : canvas_make(&t->drawn, 3, width, height, factor);
    }
    if (!failed) {
        mim_image image;
        shuffle(order, patches, seed);
        memset(&image, 0, sizeof image);
        image.format = p.format;
        image.height = height;
        image.width = width;
        image.exact = 1;
        image.pixels = p.pixels;
        image.visible = order;
        image.visible_count = t->kept;
        mim_status status = mim_reconstruct(&e.session, &image, NULL, prediction);
        if (status != MIM_OK) failed = fail("%s: %s", path, mim_status_string(status));
    }
    if (!failed) {
        view v = { h, &p, width / h->patch_width };
        const uint32_t *hidden = order + t->kept;
        memcpy(pixels, p.pixels, samples);
        paint(&t->drawn, 0, pixels, width, height, h->channels);
        for (uint32_t k = 0; k < patches - t->kept; k++)
            for (uint32_t i = 0; i < values; i++) pixels[sample_at(&v, hidden[k], i)] = 128;
        paint(&t->drawn, 1, pixels, width, height, h->channels);
        t->loss = fill_hidden(&v, pixels, prediction, hidden, patches - t->kept);
        paint(&t->drawn, 2, pixels, width, height, h->channels);
    }
    if (failed) canvas_free(&t->drawn);
    engine_stop(&e);
    picture_free(&p);
    free(order);
    free(prediction);
    free(pixels);
    return failed;
}

int cmd_reconstruct(int argc, char **argv)
{
    const char *out_path = NULL, *ratio_text = NULL, *seed_text = NULL, *size = NULL;
    int png = 0, positional = 0;
    const option options[] = {
        { "-o", &out_path, NULL }, { "--ratio", &ratio_text, NULL }, { "--seed", &seed_text, NULL }, { "--size", &size, NULL },
        { "--png", NULL, &png },
    };
    int parsed = parse_options(argc, argv, options, sizeof options / sizeof *options, usage, &positional);
    if (parsed != PARSED) return parsed == PARSE_FAILED;
    if (positional != 2) return fail("reconstruct needs one model and one picture; see `mim reconstruct --help`");
    if (!out_path) return fail("reconstruct needs -o OUT.ppm or -o OUT.png");

    double ratio = 0.75;
    uint32_t seed = 0, height, width;
    mim_model model;
    in_file blob;
    triptych t;
    if (parse_real("--ratio", ratio_text, 0, 1, &ratio) || parse_number("--seed", seed_text, 0, UINT32_MAX, &seed)
        || model_open(&model, &blob, argv[1])) return 1;
    int failed = parse_size(&model, size, &height, &width) || triptych_make(&t, &model, argv[2], height, width, ratio, seed);
    if (!failed) {
        failed = canvas_write(&t.drawn, out_path, png || has_extension(out_path, ".png"));
        if (!failed) {
            printf("%s: the picture | the %" PRIu32 " of %" PRIu32 " patches that the encoder saw | the others as predicted\n",
                   out_path, t.kept, t.patches);
            if (model.header->norm_pix)
                printf("The decoder predicts pixels normalised per patch; they are drawn with each original patch's mean and deviation.\n");
            printf("loss of the hidden patches: %.6f\n", t.loss);
        }
        canvas_free(&t.drawn);
    }
    in_close(&blob);
    return failed;
}
