/* encode.c - mim encode: images in, one array of features out. */
#include "npy.h"
#include "picture.h"
#include "pool.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "mim encode MODEL.mim INPUT... -o OUT.npy [options]\n"
    "\n"
    "INPUT is a picture, a folder of pictures (by name), @LIST (a file with one path a line), or an .npy array of\n"
    "float32, (C,H,W) or (N,C,H,W), already normalised. Pictures go through the model's preprocessing.\n"
    "Of a video model's inputs each is T pictures, one after the other, or an array (T,C,H,W) or (N,T,C,H,W); models of\n"
    "tokens that their caller makes take arrays (T,D) or (N,T,D).\n"
    "OUT.npy is one float32 array; its first dimension counts the images, in the order given. Layers of unequal size, as a\n"
    "pyramid has them, go to one array each: OUT.1.npy, OUT.2.npy...\n"
    "\n"
    "  --out WHAT       pooled (the default), cls, patches, registers, tokens (CLS, registers, patches),\n"
    "                   layers:3,6,12 (tokens after these layers, from 1), attention (of the last layer), logits\n"
    "  --norm           layers go through the final norm\n"
    "  --size HxW       input size in pixels, a multiple of the patch; default: as trained\n"
    "  --frames T       frames of a video, a multiple of the patch's; default: as trained. 1 is a still, shown for a patch\n"
    "  --coordinates FILE.npy   what the model wants to know of each frame: float32, (frames, n) or (N, frames, n); NaN: unknown\n"
    "  --keep FILE.npy  encode only these patches (mask units): int32 or int64, raster order (frame, y, x), no duplicates\n"
    "  --skip-bad       name unreadable pictures and fill their rows with NaN, instead of stopping\n"
    "  --threads N      work on several images at a time, or where there are fewer on parts of each, 1 to 64; default 1\n"
    "  --cpu NAME       instruction set: see `mim info`; default: the best\n";

/* ---- what is asked for ---- */

typedef enum output_kind {
    OUT_POOLED, OUT_CLS, OUT_PATCHES, OUT_REGISTERS, OUT_TOKENS, OUT_LAYERS, OUT_ATTENTION, OUT_LOGITS
} output_kind;

static const char *const output_names[] = { "pooled", "cls", "patches", "registers", "tokens", "layers", "attention", "logits" };

typedef struct array_size {
    uint64_t shape[4];                /* N first */
    uint32_t dims;
    size_t row;                       /* floats of one image */
} array_size;

typedef struct request {
    output_kind kind;
    uint32_t layers[MIM_MAX_DEPTH], layer_count;
    int norm;
    array_size array[MIM_MAX_DEPTH];  /* one, or for layers of unequal size one for each */
    uint32_t arrays;
    size_t row;                       /* floats of one image in all */
} request;

/* 3,6,12: ascending, from 1 to depth. */
static int parse_layers(request *r, const char *text, uint32_t depth)
{
    uint32_t last = 0;
    do {
        uint64_t value = 0;
        size_t digits = 0;
        for (; *text >= '0' && *text <= '9' && digits < 9; text++, digits++) value = value * 10 + (uint64_t)(*text - '0');
        if (digits == 0 || (*text && *text != ',')) return fail("--out layers: needs numbers with commas between, as in layers:3,6,12");
        if (value == 0 || value > depth)
            return fail("--out layers: there is no layer %" PRIu64 "; they count from 1 to %" PRIu32, value, depth);
        if (value <= last)
            return fail("--out layers: layer %" PRIu64 " after %" PRIu32 "; name them in ascending order, each once", value, last);
        last = (uint32_t)value;
        r->layers[r->layer_count++] = last;
    } while (*text++ == ',');
    return 0;
}

static int parse_out(request *r, const mim_model *model, const char *text, int norm)
{
    const mim_blob_header *header = model->header;
    const mim_blob_step *last_norm = model_step(model, MIM_STEP_NORM);
    size_t kind = 0, count = sizeof output_names / sizeof *output_names;
    if (text) {
        size_t length = strcspn(text, ":");
        while (kind < count && !(strlen(output_names[kind]) == length && strncmp(output_names[kind], text, length) == 0)) kind++;
        if (kind == count || (text[length] == ':') != (kind == OUT_LAYERS))
            return fail("--out: '%s' is none of pooled, cls, patches, registers, tokens, layers:3,6,12, attention, logits", text);
        if (kind == OUT_LAYERS && parse_layers(r, text + length + 1, header->depth)) return 1;
    }
    r->kind = (output_kind)kind;
    r->norm = norm;
    if (norm && r->kind != OUT_LAYERS) return fail("--norm goes with --out layers:...; tokens are normalised already");
    if (norm && (!last_norm || (last_norm[-1].kind != MIM_STEP_POOL && last_norm[1].kind != MIM_STEP_POOL))) return fail("--norm: the model has no final norm");
    if (r->kind == OUT_CLS && !header->has_cls) return fail("--out cls: the model has no CLS token; try pooled");
    if (r->kind == OUT_REGISTERS && !header->registers) return fail("--out registers: the model has none");
    if (r->kind == OUT_LOGITS && !header->classes) return fail("--out logits: the model has no classification head");
    if (r->kind == OUT_ATTENTION && !model_step(model, MIM_STEP_ATTENTION)) return fail("--out attention: the model has no attention");
    return 0;
}

/* An array's shape, of which N is still to come. */
static int size_array(array_size *a, const request *r, uint32_t dims, uint64_t second, uint64_t third, uint64_t fourth)
{
    const uint64_t shape[4] = { 0, second, third, fourth };
    uint64_t row = 1;
    memcpy(a->shape, shape, sizeof a->shape);
    a->dims = dims;
    for (uint32_t i = 1; i < dims; i++) row *= shape[i];         /* within 2^37 by the blob's limits */
    if (row > SIZE_MAX / sizeof(float)) return fail("--out %s: one image's is too large for this machine", output_names[r->kind]);
    a->row = (size_t)row;
    return 0;
}

/* The shapes of the output. kept: how many of `all` mask units. */
static int size_output(request *r, const mim_session *session, uint64_t kept, uint64_t all)
{
    const mim_blob_header *header = session->model->header;
    uint32_t number[MIM_MAX_DEPTH] = { 0 }, count = r->kind == OUT_LAYERS ? r->layer_count : 1;
    uint64_t tokens[MIM_MAX_DEPTH] = { 0 };
    mim_grid grid[MIM_MAX_DEPTH];
    int failed = 0, equal = 1;
    if (r->kind == OUT_LAYERS) memcpy(number, r->layers, sizeof number);
    for (uint32_t i = 0; i < count; i++) {
        mim_status status = mim_shape(session, number[i], &grid[i]);
        if (status != MIM_OK) return fail("%s", mim_status_string(status));
        if (r->norm && grid[i].dim != header->dim)
            return fail("--norm: layer %" PRIu32 " is %" PRIu32 " wide, the final norm %" PRIu32, number[i], grid[i].dim, header->dim);
        tokens[i] = session->prefix + (grid[i].tokens - session->prefix) * kept / all;
        equal &= tokens[i] == tokens[0] && grid[i].dim == grid[0].dim;
    }
    uint64_t t = tokens[0], dim = grid[0].dim, heads = 0;
    array_size *a = r->array;
    r->arrays = equal ? 1 : count;
    switch (r->kind) {
    case OUT_CLS:       failed = size_array(a, r, 2, dim, 1, 1); break;
    case OUT_PATCHES:   failed = size_array(a, r, 3, t - session->prefix, dim, 1); break;
    case OUT_REGISTERS: failed = size_array(a, r, 3, header->registers, dim, 1); break;
    case OUT_TOKENS:    failed = size_array(a, r, 3, t, dim, 1); break;
    case OUT_ATTENTION:
        heads = model_step(session->model, MIM_STEP_ATTENTION)->heads;
        failed = size_array(a, r, 4, heads, t, t);
        break;
    case OUT_LOGITS:    failed = size_array(a, r, 2, header->classes, 1, 1); break;
    case OUT_POOLED:    failed = size_array(a, r, 2, header->pooled_dim, 1, 1); break;
    case OUT_LAYERS:
        for (uint32_t i = 0; i < r->arrays && !failed; i++)
            failed = size_array(&a[i], r, 4, equal ? count : 1, tokens[i], grid[i].dim);
        break;
    }
    r->row = 0;
    for (uint32_t i = 0; i < r->arrays && !failed; i++) {        /* 64 of at most 2^37 floats */
        if (a[i].row > SIZE_MAX / sizeof(float) - r->row) failed = fail("--out layers: one image's are too large for this machine");
        r->row += a[i].row;
    }
    return failed;
}

/* Where the layer goes when each has its own array: OUT.npy and 3 give OUT.3.npy. NULL after fail(). */
static char *layer_path(const char *path, uint32_t layer)
{
    size_t length = strlen(path), stem = length;
    if (length > 4 && strcmp(path + length - 4, ".npy") == 0) stem -= 4;
    char *made = malloc(length + 16);
    if (!made) fail("%s: not enough memory", path);
    else snprintf(made, length + 16, "%.*s.%" PRIu32 "%s", (int)(stem > INT_MAX ? INT_MAX : stem), path, layer, path + stem);
    return made;
}

static mim_output output_to(const request *r, float *row)
{
    mim_output output;
    memset(&output, 0, sizeof output);
    switch (r->kind) {
    case OUT_CLS:       output.cls = row;       break;
    case OUT_PATCHES:   output.patches = row;   break;
    case OUT_REGISTERS: output.registers = row; break;
    case OUT_TOKENS:    output.tokens = row;    break;
    case OUT_ATTENTION: output.attention = row; break;
    case OUT_LOGITS:    output.logits = row;    break;
    case OUT_POOLED:    output.pooled = row;    break;
    case OUT_LAYERS:
        output.layers = row;
        output.layer = r->layers;
        output.layer_count = r->layer_count;
        output.layer_norm = (uint32_t)r->norm;
        break;
    }
    return output;
}

/* ---- --keep ---- */

/* Indices of patches, or of mask units, each within the grid and named once. */
static int read_keep(const char *path, uint64_t patches, uint32_t **result, uint32_t *result_count)
{
    npy_array array;
    reason why;
    if (npy_open(&array, path, &why)) return fail("--keep %s: %s", path, why.text);
    size_t size = array.type == NPY_I8 ? 8 : 4, count = 0;
    uint32_t *keep = NULL;
    uint8_t *bytes = NULL, *seen = NULL;
    int failed = 0;
    if (array.type == NPY_F4) failed = fail("--keep %s: holds float32; patch indices are int32 or int64", path);
    else if (array.dims != 1) failed = fail("--keep %s: has %" PRIu32 " dimensions; patch indices have one", path, array.dims);
    else if (array.count == 0) failed = fail("--keep %s: names no patch", path);
    else if (array.count > patches)
        failed = fail("--keep %s: names %" PRIu64 " patches; the grid has %" PRIu64, path, array.count, patches);
    if (!failed) {
        count = (size_t)array.count;
        keep = malloc(count * sizeof *keep);
        bytes = malloc(count * size);
        seen = calloc((size_t)patches, 1);
        if (!keep || !bytes || !seen) failed = fail("--keep %s: not enough memory", path);
        else if (npy_read(&array, 0, count, bytes, &why)) failed = fail("--keep %s: %s", path, why.text);
    }
    for (size_t i = 0; !failed && i < count; i++) {
        int64_t value = 0;
        int32_t narrow = 0;
        if (size == 8) memcpy(&value, bytes + 8 * i, 8);
        else memcpy(&narrow, bytes + 4 * i, 4);
        if (size == 4) value = narrow;
        if (value < 0 || (uint64_t)value >= patches)
            failed = fail("--keep %s: index %" PRId64 " is outside the grid of %" PRIu64 " patches", path, value, patches);
        else if (seen[value]++) failed = fail("--keep %s: names patch %" PRId64 " twice", path, value);
        else keep[i] = (uint32_t)value;
    }
    npy_close(&array);
    free(bytes);
    free(seen);
    if (failed) {
        free(keep);
        return 1;
    }
    *result = keep;
    *result_count = (uint32_t)count;
    return 0;
}

/* ---- --coordinates ---- */

/* (frames, n) or (N, frames, n); *each: floats from input to input, 0 where all share them. */
static int read_coordinates(const char *path, uint64_t frames, uint64_t n, uint64_t *inputs_in_it, float **result)
{
    npy_array array;
    reason why;
    if (npy_open(&array, path, &why)) return fail("--coordinates %s: %s", path, why.text);
    const uint64_t *shape = array.shape + (array.dims >= 2 ? array.dims - 2 : 0);
    float *values = NULL;
    int failed = 0;
    if (array.type != NPY_F4) failed = fail("--coordinates %s: holds integers; coordinates are float32", path);
    else if ((array.dims != 2 && array.dims != 3) || shape[0] != frames || shape[1] != n || array.count == 0)
        failed = fail("--coordinates %s: is not (%" PRIu64 ", %" PRIu64 ") or (N, %" PRIu64 ", %" PRIu64 "): frames, and what the model "
                      "wants to know of each", path, frames, n, frames, n);
    else if (array.count > SIZE_MAX / sizeof *values || !(values = malloc((size_t)array.count * sizeof *values)))
        failed = fail("--coordinates %s: not enough memory", path);
    else if (npy_read(&array, 0, (size_t)array.count, values, &why)) failed = fail("--coordinates %s: %s", path, why.text);
    *inputs_in_it = array.dims == 3 ? array.shape[0] : 0;
    npy_close(&array);
    if (failed) {
        free(values);
        return 1;
    }
    *result = values;
    return 0;
}

/* ---- the work ---- */

/* What one thread needs: a session, and the image and row in hand. */
typedef struct worker {
    engine engine;
    pool *inside;                     /* for its encodes; NULL: one thread */
    uint32_t room_height, room_width; /* largest picture the session can resize */
    float *row;
    float *planes;                    /* an array's image; allocated by the first */
    npy_array array;                  /* the array open at present; fd < 0: none */
    size_t array_source;
} worker;

typedef struct job {
    const mim_model *model;
    const request *request;
    const inputs *inputs;
    mim_session_desc desc;            /* height, width, threads... of every session */
    const uint32_t *keep;
    uint32_t keep_count;
    const float *coordinates;         /* of the first input; NULL: the model wants none */
    size_t coordinates_each;          /* floats from input to input */
    int skip_bad;
    worker *workers;
    out_file *out;                    /* request.arrays of them */

    pthread_mutex_t lock;             /* guards what follows */
    pthread_cond_t turn;              /* written has grown, or failed is set */
    uint64_t next, written, skipped;
    int failed, terminal, shown;
    double start, last_shown;
} job;

static int start_engine(const job *j, worker *w, mim_session_desc *desc, reason *why)
{
    desc->parallel = w->inside ? pool_run : NULL;
    desc->user = w->inside;
    return engine_start(&w->engine, j->model, desc, why);
}

/* The arena grows with the pictures, in steps, so that a new size seldom means a new session. */
static int fit_picture(const job *j, worker *w, uint32_t height, uint32_t width, reason *why)
{
    if (w->engine.arena && height <= w->room_height && width <= w->room_width) return 0;
    mim_session_desc desc = j->desc;
    uint32_t h = (height + 255) / 256 * 256, v = (width + 255) / 256 * 256;
    desc.source_height = h > w->room_height ? h : w->room_height;
    desc.source_width = v > w->room_width ? v : w->room_width;
    if (start_engine(j, w, &desc, why)) return 1;
    w->room_height = desc.source_height;
    w->room_width = desc.source_width;
    return 0;
}

static int encode_image(worker *w, const mim_image *image, const mim_output *output, reason *why)
{
    mim_status status = mim_encode(&w->engine.session, image, output);
    return status == MIM_OK ? 0 : because(why, "%s", mim_status_string(status));
}

static void describe_image(const job *j, uint64_t number, mim_image *image)
{
    memset(image, 0, sizeof *image);
    image->visible = j->keep;
    image->visible_count = j->keep_count;
    image->coordinates = j->coordinates ? j->coordinates + number * j->coordinates_each : NULL;
}

/* The pictures of one input: as many as it has frames, or a single one, which then is every frame. */
typedef struct clip {
    picture *frames;
    uint32_t count;
} clip;

static int read_clip_row(void *user, uint32_t y, void *row)
{
    const clip *c = user;
    const picture *p = &c->frames[y / c->frames->height % c->count];
    size_t bytes = (size_t)p->width * (p->format == MIM_GRAY8 ? 1 : 3);
    memcpy(row, p->pixels + y % p->height * bytes, bytes);
    return 0;
}

/* *bad: the source that an error is about. */
static int read_clip(const job *j, clip *c, size_t first, size_t *bad, reason *why)
{
    for (c->count = 0; c->count < j->inputs->frames; c->count++) {
        picture *p = &c->frames[c->count];
        *bad = first + c->count;
        if (picture_read(p, j->inputs->names + j->inputs->sources[*bad].name, why)) return 1;
        const picture *other = &c->frames[0];
        if (p->width == other->width && p->height == other->height && p->format == other->format) continue;
        c->count++;                   /* it is to be freed, too */
        return because(why, "is not like the video's first picture: %" PRIu32 "x%" PRIu32 " %s, not %" PRIu32 "x%" PRIu32 " %s", p->height,
                       p->width, p->format == MIM_GRAY8 ? "gray" : "RGB", other->height, other->width,
                       other->format == MIM_GRAY8 ? "gray" : "RGB");
    }
    return 0;
}

static int encode_pictures(const job *j, worker *w, uint64_t number, size_t first, const mim_output *output, size_t *bad, reason *why)
{
    clip c = { calloc(j->inputs->frames, sizeof *c.frames), 0 };
    mim_image image;
    *bad = first;
    if (!c.frames) return because(why, "not enough memory for its pictures");
    int failed = read_clip(j, &c, first, bad, why);
    if (!failed) {
        describe_image(j, number, &image);
        image.format = c.frames->format;
        image.width = c.frames->width;
        image.height = c.frames->height;
        image.read_row = read_clip_row;
        image.user = &c;
        failed = fit_picture(j, w, c.frames->height, c.frames->width, why) || encode_image(w, &image, output, why);
    }
    for (uint32_t i = 0; i < c.count; i++) picture_free(&c.frames[i]);
    free(c.frames);
    return failed;
}

static int encode_array(const job *j, worker *w, uint64_t which, size_t number, const mim_output *output, reason *why)
{
    const source *from = &j->inputs->sources[number];
    const uint64_t index = which - from->first;
    const int given = model_takes_tokens(j->model);
    /* at most 2^8 frames of 2^32 floats; a still is shown for a patch */
    uint64_t frame = given ? j->inputs->tokens * j->model->header->dim
                           : (uint64_t)j->model->header->channels * j->desc.height * j->desc.width;
    uint32_t repeats = given ? 1 : j->desc.frames / j->inputs->frames;
    uint64_t floats = given ? frame : frame * j->desc.frames;
    size_t count = (size_t)(floats / repeats);
    mim_image image;
    if (w->array.fd < 0 || w->array_source != number) {
        npy_close(&w->array);
        if (npy_open(&w->array, j->inputs->names + from->name, why)) return 1;
        w->array_source = number;
    }
    /* It was checked when the inputs were listed; a file that has changed since is caught here. */
    if (w->array.type != NPY_F4 || (index + 1) * count > w->array.count) return because(why, "has changed since it was listed");
    if (!w->planes && floats <= SIZE_MAX / sizeof *w->planes) w->planes = malloc((size_t)floats * sizeof *w->planes);
    if (!w->planes) return because(why, "not enough memory for one image");
    if (npy_read(&w->array, index * count, count, w->planes, why)) return 1;
    for (uint32_t i = 1; i < repeats; i++) memcpy(w->planes + i * count, w->planes, count * sizeof *w->planes);
    mim_session_desc desc = j->desc;
    if (!w->engine.arena && start_engine(j, w, &desc, why)) return 1;
    if (given) {
        mim_status status = mim_encode_tokens(&w->engine.session, w->planes, NULL,
                                              (uint32_t)(j->inputs->tokens - model_prefix(j->model)), output);
        return status == MIM_OK ? 0 : because(why, "%s", mim_status_string(status));
    }
    describe_image(j, which, &image);
    image.format = MIM_PLANES;
    image.height = j->desc.height;
    image.width = j->desc.width;
    image.exact = 1;
    image.pixels = w->planes;
    return encode_image(w, &image, output, why);
}

static void clear_progress(job *j)
{
    if (j->shown) fputs("\r\033[K", stderr);
    j->shown = 0;
}

static void show_progress(job *j)
{
    double now = seconds_now(), elapsed = now - j->start;
    if (!j->terminal || now - j->last_shown < 0.2 || j->written == 0) return;
    double rate = (double)j->written / (elapsed > 0 ? elapsed : 1e-9);
    double rest = (double)(j->inputs->images - j->written) / rate;
    unsigned long left = rest < 1e9 ? (unsigned long)rest : 1000000000ul;
    fprintf(stderr, "\r%" PRIu64 " of %" PRIu64 " images, %.1f a second, %lu:%02lu:%02lu left \033[K",
            j->written, j->inputs->images, rate, left / 3600, left / 60 % 60, left % 60);
    j->last_shown = now;
    j->shown = 1;
}

/* The row of the next image in order; called with the lock held. */
static void deliver(job *j, worker *w, const source *from, int bad, const reason *why)
{
    const char *path = j->inputs->names + from->name;
    if (bad && from->kind == SOURCE_PICTURE && j->skip_bad) {
        clear_progress(j);
        fail("skipped %s: %s", path, why->text);
        for (size_t i = 0; i < j->request->row; i++) w->row[i] = NAN;
        j->skipped++;
    } else if (bad) {
        clear_progress(j);
        j->failed = fail("%s: %s", path, why->text);
        return;
    }
    const float *row = w->row;
    for (uint32_t i = 0; i < j->request->arrays; row += j->request->array[i++].row)
        if (out_write(&j->out[i], row, j->request->array[i].row * sizeof *row)) j->failed = 1;
    j->written++;
    show_progress(j);
}

/* Takes images in order as long as there are any, and writes each when its turn comes. Whoever holds the lowest number
 * never waits, so the order costs no deadlock and at most one row a thread. */
static void work(void *arg, uint32_t index)
{
    job *j = arg;
    worker *w = &j->workers[index];
    mim_output output = output_to(j->request, w->row);
    reason why;
    pthread_mutex_lock(&j->lock);
    while (!j->failed && j->next < j->inputs->images) {
        uint64_t image = j->next++;
        pthread_mutex_unlock(&j->lock);
        size_t number = inputs_find(j->inputs, image);
        const source *from = &j->inputs->sources[number];
        int bad = from->kind == SOURCE_ARRAY ? encode_array(j, w, image, number, &output, &why)
                                             : encode_pictures(j, w, image, number, &output, &number, &why);
        from = &j->inputs->sources[number];
        pthread_mutex_lock(&j->lock);
        while (!j->failed && j->written != image) pthread_cond_wait(&j->turn, &j->lock);
        if (!j->failed) deliver(j, w, from, bad, &why);
        pthread_cond_broadcast(&j->turn);
    }
    pthread_mutex_unlock(&j->lock);
}

static int run(job *j, uint32_t threads)
{
    /* an image for each thread, or several threads for each image, where the library divides the work itself */
    uint32_t workers = j->inputs->images < threads ? (uint32_t)j->inputs->images : threads, started = 0;
    pool *p = workers > 1 ? pool_create(workers) : NULL;
    int failed = workers > 1 && !p ? fail("cannot start %" PRIu32 " threads", threads) : 0;
    j->desc.threads = threads / workers;
    j->workers = calloc(workers, sizeof *j->workers);
    for (; !failed && started < workers; started++) {
        worker *w = j->workers ? &j->workers[started] : NULL;
        if (w) w->row = malloc(j->request->row * sizeof *w->row);
        if (!w || !w->row) {
            failed = fail("not enough memory for one image's output of %zu numbers", j->request->row);
            break;
        }
        w->array.fd = -1;
        if (j->desc.threads > 1 && !(w->inside = pool_create(j->desc.threads)))
            failed = fail("cannot start %" PRIu32 " threads", threads);
    }
    if (!failed) {
        pthread_mutex_init(&j->lock, NULL);
        pthread_cond_init(&j->turn, NULL);
        j->terminal = isatty(STDERR_FILENO);
        j->start = seconds_now();
        if (p) pool_run(p, work, j, workers);
        else work(j, 0);
        clear_progress(j);
        pthread_cond_destroy(&j->turn);
        pthread_mutex_destroy(&j->lock);
        failed = j->failed;
    }
    pool_destroy(p);
    for (uint32_t i = 0; i < started; i++) {
        worker *w = &j->workers[i];
        engine_stop(&w->engine);
        npy_close(&w->array);
        pool_destroy(w->inside);
        free(w->planes);
        free(w->row);
    }
    free(j->workers);
    return failed;
}

/* Fails early and by name where the library's own answer would come late. */
static int check_session(const job *j)
{
    mim_memory need;
    mim_status status = mim_plan(j->model, &j->desc, &need);
    if (status == MIM_OK) return 0;
    const char *culprit = status == MIM_ERR_CPU ? "--cpu: " : status != MIM_ERR_SIZE ? "" :
                          j->desc.frames != j->model->header->frames ? "--size or --frames: " : "--size: ";
    return fail("%s%s", culprit, mim_status_string(status));
}

/* How many pictures, or planes of an array, an input is; and how many frames the session sees. */
static int parse_frames(const mim_model *model, const char *text, mim_session_desc *desc, uint32_t *given)
{
    const mim_blob_header *h = model->header;
    desc->frames = *given = h->frames;
    if (!text) return 0;
    if (model_takes_tokens(model) || h->groups > 1 || (h->frames == 1 && !model->steps[0].tensor[4]))
        return fail("--frames: the model takes no videos");
    if (parse_number("--frames", text, 1, MIM_MAX_FRAMES, given)) return 1;
    desc->frames = *given == 1 ? h->patch_frames : *given;
    if (desc->frames % h->patch_frames)
        return fail("--frames: %" PRIu32 " is neither 1 nor a multiple of a patch's frames, %" PRIu32, *given, h->patch_frames);
    return 0;
}

/* Tokens of the caller: all that there is to the input is how many, and the arrays tell. */
static int check_tokens(const mim_model *model, const char *size, const char *keep, const char *coordinates)
{
    const char *name = size ? "--size" : keep ? "--keep" : coordinates ? "--coordinates" : NULL;
    return name && model_takes_tokens(model) ? fail("%s: the model takes tokens of its caller; leave it out", name) : 0;
}

/* --keep, and the shapes of the output: both depend on what the model makes of this size. The engine that tells encodes nothing,
 * but lives on: glibc keeps for itself what is as large as the largest block that has been freed. */
static int prepare(job *j, request *r, engine *e, const char *keep_path, uint32_t **keep)
{
    const mim_blob_header *header = j->model->header;
    uint64_t all = model_grid(j->model, j->desc.height, j->desc.width, j->desc.frames).tokens - model_prefix(j->model);
    reason why;
    if (keep_path && !header->unit_height) return fail("--keep: the model cannot do without some of its patches");
    if (header->unit_height) all /= (uint64_t)header->unit_height * header->unit_width;
    if (keep_path && read_keep(keep_path, all, keep, &j->keep_count)) return 1;
    j->keep = *keep;
    j->desc.visible_max = j->keep_count;
    if (engine_start(e, j->model, &j->desc, &why)) return fail("%s", why.text);
    return size_output(r, &e->session, *keep ? j->keep_count : all, all);
}

/* Opens the files of the output, writes their headers, does the work and completes them; or leaves none behind. */
static int write_output(job *j, request *r, const char *path, uint32_t threads)
{
    uint32_t opened = 0;
    int failed = 0;
    j->out = calloc(r->arrays, sizeof *j->out);
    if (!j->out) return fail("%s: not enough memory", path);
    for (; opened < r->arrays && !failed; opened += !failed) {
        char *own = r->arrays > 1 ? layer_path(path, r->layers[opened]) : NULL;
        r->array[opened].shape[0] = j->inputs->images;
        failed = (r->arrays > 1 && !own) || out_open(&j->out[opened], own ? own : path);
        free(own);
    }
    for (uint32_t i = 0; i < opened && !failed; i++) failed = npy_write_header(&j->out[i], r->array[i].shape, r->array[i].dims);
    failed = failed || run(j, threads);
    for (uint32_t i = 0; i < opened; i++) {
        if (failed) out_discard(&j->out[i]);
        else failed = out_commit(&j->out[i]);
    }
    free(j->out);
    return failed;
}

int cmd_encode(int argc, char **argv)
{
    const char *out_path = NULL, *out_text = NULL, *size = NULL, *keep_path = NULL, *cpu = NULL, *threads_text = NULL;
    const char *frames = NULL, *coordinates_path = NULL;
    int norm = 0, skip_bad = 0, positional = 0;
    const option options[] = {
        { "-o", &out_path, NULL }, { "--out", &out_text, NULL }, { "--size", &size, NULL }, { "--keep", &keep_path, NULL },
        { "--frames", &frames, NULL }, { "--coordinates", &coordinates_path, NULL },
        { "--cpu", &cpu, NULL }, { "--threads", &threads_text, NULL }, { "--norm", NULL, &norm }, { "--skip-bad", NULL, &skip_bad },
    };
    int parsed = parse_options(argc, argv, options, sizeof options / sizeof *options, usage, &positional);
    if (parsed != PARSED) return parsed == PARSE_FAILED;
    if (positional < 2) return fail("encode needs a model and at least one input; see `mim encode --help`");
    if (!out_path) return fail("encode needs -o OUT.npy");

    uint32_t threads = 1, *keep = NULL;
    uint64_t described = 0;
    float *coordinates = NULL;
    request r;
    job j;
    inputs all;
    engine sizes;
    mim_model model;
    in_file blob;
    memset(&r, 0, sizeof r);
    memset(&j, 0, sizeof j);
    memset(&all, 0, sizeof all);
    memset(&sizes, 0, sizeof sizes);
    if (parse_number("--threads", threads_text, 1, MIM_MAX_THREADS, &threads) || parse_cpu(cpu, &j.desc.cpu)) return 1;
    if (model_open(&model, &blob, argv[1])) return 1;
    const mim_blob_header *header = model.header;
    j.model = &model;
    j.request = &r;
    j.inputs = &all;
    j.skip_bad = all.tolerant = skip_bad;

    int given = model_takes_tokens(&model);
    int failed = check_tokens(&model, size, keep_path, coordinates_path) ||
                 parse_size(&model, size, &j.desc.height, &j.desc.width) || parse_frames(&model, frames, &j.desc, &all.frames) ||
                 parse_out(&r, &model, out_text, norm);
    for (int i = 2; !failed && given && i <= positional; i++) failed = inputs_add(&all, argv[i], &model, 0, 0);
    if (!failed && given) j.desc.width = (uint32_t)(all.tokens - model_prefix(&model)) * header->patch_width;
    failed = failed || check_session(&j);
    if (!failed && (coordinates_path != NULL) != (header->coordinates != 0))
        failed = coordinates_path ? fail("--coordinates: the model wants none") :
                 fail("the model wants %" PRIu32 " coordinates of each frame; give --coordinates FILE.npy (NaN where they are unknown)",
                      header->coordinates);
    if (!failed && coordinates_path) {
        uint64_t times = j.desc.frames / header->patch_frames * header->groups;
        failed = read_coordinates(coordinates_path, times, header->coordinates, &described, &coordinates);
        j.coordinates = coordinates;
        j.coordinates_each = described ? (size_t)(times * header->coordinates) : 0;
    }
    if (!failed) failed = prepare(&j, &r, &sizes, keep_path, &keep);
    for (int i = 2; !failed && !given && i <= positional; i++) failed = inputs_add(&all, argv[i], &model, j.desc.height, j.desc.width);
    failed = failed || inputs_end(&all);
    if (!failed && described && described != all.images)
        failed = fail("--coordinates %s: is for %" PRIu64 " inputs; there are %" PRIu64, coordinates_path, described, all.images);
    for (size_t i = 0; !failed && i < all.count; i++)
        if (all.sources[i].kind == SOURCE_PICTURE && header->channels != 1 && header->channels != 3)
            failed = fail("%s: the model takes %" PRIu32 " channels, which no picture has; give .npy arrays",
                          all.names + all.sources[i].name, header->channels);
    if (!failed && all.images > (UINT64_C(1) << 60) / sizeof(float) / r.row) failed = fail("the output would be too large for any file");

    failed = failed || write_output(&j, &r, out_path, threads);
    if (!failed && j.skipped)
        fail("%" PRIu64 " of %" PRIu64 " images could not be read; their rows are NaN", j.skipped, all.images);
    inputs_free(&all);
    engine_stop(&sizes);
    free(coordinates);
    free(keep);
    in_close(&blob);
    return failed;
}
