/* demo.c - the main job from C: a photograph in, features out, and something to look at.
 *
 *     demo MODEL.mim PHOTOGRAPH OUTDIR
 *
 * Encodes the photograph with more patches than the model was trained with, prints what it took and the first numbers of
 * the feature, and draws the patch features' three principal components as colours: patches that the model finds alike
 * get like colours. Features also tell where their patch lies; what a blank picture gives at the same places is taken off
 * first, so that the colours show what is there. If the blob carries its decoder, the demo also draws the model at the task
 * that it was pretrained on. */
#include "mim/picture.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- principal components ---- */

enum { COMPONENTS = 3 };

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* Makes the axes orthonormal, one after the other. */
static void orthonormalize(double *axes, size_t dim)
{
    for (size_t k = 0; k < COMPONENTS; k++) {
        double *a = axes + k * dim;
        for (size_t j = 0; j < k; j++) {
            double along = dot(a, axes + j * dim, dim);
            for (size_t i = 0; i < dim; i++) a[i] -= along * axes[j * dim + i];
        }
        double length = sqrt(dot(a, a, dim));
        for (size_t i = 0; i < dim; i++) a[i] = length > 0 ? a[i] / length : 0;
    }
}

/* Orthogonal iteration on the covariance of rows (count, dim), which is never formed: each round multiplies the axes by
 * the centred rows and by their transpose. Leaves the rows' coordinates in scores (count, COMPONENTS), signs chosen so that
 * the component of largest magnitude along each axis is positive. */
static int principal_components(const float *rows, size_t count, size_t dim, double *scores)
{
    double *mean = calloc(dim, sizeof *mean), *centred = malloc(dim * sizeof *centred);
    double *axes = malloc(COMPONENTS * dim * sizeof *axes), *next = malloc(COMPONENTS * dim * sizeof *next);
    int failed = !mean || !axes || !next || !centred;
    for (size_t n = 0; !failed && n < count; n++)
        for (size_t i = 0; i < dim; i++) mean[i] += (double)rows[n * dim + i] / (double)count;
    for (size_t i = 0; !failed && i < COMPONENTS * dim; i++) axes[i] = sin(1.0 + 12.9898 * (double)i);   /* any start will do */
    for (int round = 0; !failed && round <= 60; round++) {
        orthonormalize(axes, dim);
        memset(next, 0, COMPONENTS * dim * sizeof *next);
        for (size_t n = 0; n < count; n++) {
            for (size_t i = 0; i < dim; i++) centred[i] = (double)rows[n * dim + i] - mean[i];
            for (size_t k = 0; k < COMPONENTS; k++) {
                double score = dot(centred, axes + k * dim, dim);
                scores[n * COMPONENTS + k] = score;
                for (size_t i = 0; i < dim; i++) next[k * dim + i] += score * centred[i];
            }
        }
        if (round < 60) memcpy(axes, next, COMPONENTS * dim * sizeof *axes);
    }
    for (size_t k = 0; !failed && k < COMPONENTS; k++) {
        double largest = 0;
        for (size_t i = 0; i < dim; i++)
            if (fabs(axes[k * dim + i]) > fabs(largest)) largest = axes[k * dim + i];
        for (size_t n = 0; n < count; n++) scores[n * COMPONENTS + k] *= largest < 0 ? -1 : 1;
    }
    free(mean);
    free(axes);
    free(next);
    free(centred);
    return failed;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Each component to 0..255, the 2nd percentile to 0 and the 98th to 255. */
static int scores_to_rgb(const double *scores, size_t count, uint8_t *rgb)
{
    double *sorted = malloc(count * sizeof *sorted);
    for (size_t k = 0; sorted && k < COMPONENTS; k++) {
        for (size_t n = 0; n < count; n++) sorted[n] = scores[n * COMPONENTS + k];
        qsort(sorted, count, sizeof *sorted, by_value);
        double low = sorted[count / 50], high = sorted[count - 1 - count / 50], span = high > low ? high - low : 1;
        for (size_t n = 0; n < count; n++) rgb[n * COMPONENTS + k] = round_byte(255 * (scores[n * COMPONENTS + k] - low) / span);
    }
    free(sorted);
    return !sorted;
}

/* ---- the demo ---- */

/* An input size of the photograph's shape with 40 to 64 patches in the short edge: about 256 pixels where the patch allows it.
 * A model whose positions fit one grid only gets that. */
static void choose_size(const mim_model *model, const picture *photo, uint32_t *height, uint32_t *width)
{
    const mim_blob_header *h = model->header;
    uint32_t patch = h->patch_height > h->patch_width ? h->patch_height : h->patch_width;
    uint32_t across = 256 / patch < 40 ? 40 : 256 / patch > 64 ? 64 : 256 / patch;
    double edge = (double)across * patch, shorter = photo->width < photo->height ? photo->width : photo->height;
    if (model->steps[0].rule == MIM_POSITIONS_FIXED) {
        *height = h->image_height;
        *width = h->image_width;
        return;
    }
    double tall = photo->height / shorter, wide = photo->width / shorter;
    if (tall > 3) tall = 3;           /* a panorama is squeezed rather than have its tokens exceed every limit */
    if (wide > 3) wide = 3;
    *height = (uint32_t)(edge * tall / h->patch_height + 0.5) * h->patch_height;
    *width = (uint32_t)(edge * wide / h->patch_width + 0.5) * h->patch_width;
}

static int draw_features(const mim_session *session, const picture *photo, const float *patches, size_t dim, const char *path)
{
    size_t count = (size_t)session->grid_height * session->grid_width;
    double *scores = malloc(count * COMPONENTS * sizeof *scores);
    picture map = { session->grid_width, session->grid_height, MIM_RGB8, malloc(count * COMPONENTS) };
    canvas c;
    reason why;
    int failed = !scores || !map.pixels || principal_components(patches, count, dim, scores) || scores_to_rgb(scores, count, map.pixels)
        ? fail("%s: not enough memory", path) : 0;
    if (!failed && picture_resize(&map, photo->width, photo->height, MIM_BILINEAR, &why)) failed = fail("%s: %s", path, why.text);
    if (!failed && !(failed = canvas_make(&c, 2, photo->width, photo->height, 1))) {
        for (uint32_t y = 0; y < photo->height; y++)
            for (uint32_t x = 0; x < photo->width; x++) {
                size_t at = 3 * ((size_t)y * photo->width + x);
                canvas_paint(&c, 0, x, y, photo->pixels + at);
                canvas_paint(&c, 1, x, y, map.pixels + at);
            }
        failed = canvas_write(&c, path, 1);
        canvas_free(&c);
    }
    free(scores);
    picture_free(&map);
    return failed;
}

/* Plans, allocates the arena and begins. */
static int begin(mim_session *session, void **arena, mim_memory *need, const mim_model *model, const mim_session_desc *desc)
{
    mim_memory given;
    mim_status status = mim_plan(model, desc, need);
    if (status != MIM_OK) return fail("%s", mim_status_string(status));
    if (posix_memalign(arena, 64, need->useful)) return fail("not enough memory: %zu bytes to encode", need->useful);
    given.base = *arena;
    given.bytes = need->useful;
    status = mim_begin(session, model, desc, &given);
    return status == MIM_OK ? 0 : fail("%s", mim_status_string(status));
}

/* One encode of RGB pixels of the session's size. Returns the seconds it took, or a negative number after fail(). */
static double encode(mim_session *session, const uint8_t *rgb, float *feature, float *patches)
{
    mim_image image;
    mim_output output;
    memset(&image, 0, sizeof image);
    memset(&output, 0, sizeof output);
    image.format = MIM_RGB8;
    image.height = session->height;
    image.width = session->width;
    image.exact = 1;
    image.pixels = rgb;
    output.patches = patches;
    if (session->model->header->has_cls) output.cls = feature;
    else output.pooled = feature;
    double start = seconds_now();
    mim_status status = mim_encode(session, &image, &output);
    double elapsed = seconds_now() - start;
    return status == MIM_OK ? elapsed : -fail("%s", mim_status_string(status));
}

static void print_facts(const mim_session *session, const mim_memory *need, double elapsed, const float *feature, uint32_t length)
{
    const mim_blob_header *h = session->model->header;
    printf("model      %.*s, %s, %" PRIu32 " wide, %" PRIu32 " layers, patches of %" PRIu32 "x%" PRIu32 ", %" PRIu64 " bytes\n",
           (int)sizeof h->name, h->name, type_name(h->type), h->dim, h->depth, h->patch_height, h->patch_width, h->bytes);
    printf("input      %" PRIu32 "x%" PRIu32 " pixels, %" PRIu32 " tokens (trained with %" PRIu32 "x%" PRIu32 ")\n",
           session->height, session->width, session->tokens, h->image_height, h->image_width);
    printf("memory     %zu bytes (%zu would do)\n", session->arena_bytes, need->bytes);
    printf("time       %.1f ms on one core (%s)\n", elapsed * 1e3, session->cpu);
    printf("feature    %s:", h->has_cls ? "CLS" : "pooled");
    for (uint32_t i = 0; i < length && i < 8; i++) printf(" %.4f", (double)feature[i]);
    printf(length > 8 ? " ... (%" PRIu32 ")\n\n" : " (%" PRIu32 ")\n\n", length);
}

static int show_features(const mim_model *model, const char *photo_path, const char *path)
{
    const mim_blob_header *h = model->header;
    uint32_t length = h->has_cls ? h->dim : h->pooled_dim;
    float *feature = NULL, *patches = NULL, *blank_patches = NULL;
    uint8_t *blank = NULL;
    picture photo;
    reason why;
    void *arena = NULL;
    mim_memory need;
    mim_session session;
    mim_session_desc desc;
    memset(&desc, 0, sizeof desc);
    if (picture_read(&photo, photo_path, &why)) return fail("%s: %s", photo_path, why.text);
    choose_size(model, &photo, &desc.height, &desc.width);

    int failed = picture_to_rgb(&photo, &why) || picture_resize(&photo, desc.width, desc.height, h->resize_filter, &why)
        ? fail("%s: %s", photo_path, why.text) : begin(&session, &arena, &need, model, &desc);
    if (!failed) {
        size_t pixels = (size_t)desc.height * desc.width, values = (size_t)session.grid_height * session.grid_width * h->dim;
        feature = malloc(length * sizeof *feature);
        patches = malloc(values * sizeof *patches);
        blank_patches = malloc(values * sizeof *blank_patches);
        blank = malloc(pixels * 3);
        if (!feature || !patches || !blank_patches || !blank) {
            failed = fail("%s: not enough memory", photo_path);
        } else {
            for (size_t i = 0; i < pixels * 3; i++) blank[i] = round_byte(255 * (double)h->mean[i % 3]);
            failed = encode(&session, blank, NULL, blank_patches) < 0;
            double elapsed = failed ? -1 : encode(&session, photo.pixels, feature, patches);
            failed = elapsed < 0;
            if (!failed) {
                print_facts(&session, &need, elapsed, feature, length);
                for (size_t i = 0; i < values; i++) patches[i] -= blank_patches[i];
                failed = draw_features(&session, &photo, patches, h->dim, path);
            }
            if (!failed)
                printf("%s: the photograph | its patches' features, less those of a blank picture: "
                       "the first three principal components as red, green, blue\n", path);
        }
    }
    free(feature);
    free(patches);
    free(blank_patches);
    free(blank);
    free(arena);
    picture_free(&photo);
    return failed;
}

static int show_reconstruction(const mim_model *model, const char *photo_path, const char *path)
{
    triptych t;
    if (triptych_make(&t, model, photo_path, model->header->image_height, model->header->image_width, 0.75, 0)) return 1;
    int failed = canvas_write(&t.drawn, path, 1);
    canvas_free(&t.drawn);
    if (!failed)
        printf("%s: the photograph at the model's own size | the %" PRIu32 " of %" PRIu32 " patches that it saw | "
               "what it made of the others%s\n",
               path, t.kept, t.patches, model->header->norm_pix ? " (with each original patch's mean and contrast)" : "");
    return failed;
}

int main(int argc, char **argv)
{
    char features[4096], reconstruction[4096];
    mim_model model;
    void *blob;
    size_t bytes;
    if (argc != 4) return fail("usage: demo MODEL.mim PHOTOGRAPH OUTDIR");
    int a = snprintf(features, sizeof features, "%s/features.png", argv[3]);
    int b = snprintf(reconstruction, sizeof reconstruction, "%s/reconstruction.png", argv[3]);
    if (a < 0 || b < 0 || (size_t)a >= sizeof features || (size_t)b >= sizeof reconstruction) return fail("OUTDIR: the path is too long");

    mim_status status = mim_load(argv[1], &blob, &bytes);
    if (status != MIM_OK) return fail("%s: %s", argv[1], mim_status_string(status));
    status = mim_open(&model, blob, bytes);
    int failed = status != MIM_OK ? fail("%s: %s", argv[1], mim_status_string(status))
               : model.header->channels != 3 || model.header->frames > 1 || model.header->groups > 1 || model.header->coordinates
               ? fail("%s: the demo needs a model of single pictures of three channels", argv[1])
               : show_features(&model, argv[2], features);
    if (!failed && model.header->decoder_step < model.header->step_count) failed = show_reconstruction(&model, argv[2], reconstruction);
    mim_unload(blob);
    return failed;
}
