/* A frame of the camera in, features and a reconstruction error out: mim.h on a microcontroller, without heap, files, operating
 * system or floating-point unit.
 *
 * The reconstruction error is the masked autoencoder's own loss: three quarters of the picture are hidden from it, and what it
 * predicts there is compared with what there is. It is high where a picture is unlike those that it was trained on. */
#include "board.h"
#include <math.h>

static void stage_begins(unsigned stage);

#define MIM_IMPLEMENTATION
#define MIM_NO_FLOAT                    /* integer blobs only: no floating-point instruction in the library */
#define MIM_NO_STDIO
#define MIM_NO_RESIZE                  /* the camera has the model's size */
#define MIM_NO_Q4
#define MIM_STAGE(stage) stage_begins(stage)
#include "mim.h"

enum { SIDE = 32, PATCH = 4, PATCHES = 64, VALUES = PATCH * PATCH * 3, WIDTH = 128, VISIBLE = 16, GUARD = 64 };

extern const uint8_t model[], model_end[];      /* data.S: in flash, and they stay there */
extern const uint16_t frame[SIDE * SIDE];

/* ---- what each stage takes ---- */

enum { FRAME_RUN, LINES_RUN, RECONSTRUCT_RUN, RUNS };

static const char *const stage_names[MIM_STAGE_COUNT] = {
    "rest      ", "embedding ", "norms     ", "qkv       ", "scores    ", "softmax   ", "values    ", "projection", "MLP       "
};
static uint32_t stage_counts[RUNS][MIM_STAGE_COUNT], stage_since;
static unsigned stage_run, stage_now;

static void stage_begins(unsigned stage)
{
    const uint32_t now = board_count();
    stage_counts[stage_run][stage_now] += now - stage_since;
    stage_since = now;
    stage_now = stage;
}

static void stages_of(unsigned run)
{
    stage_run = run;
    stage_now = MIM_STAGE_REST;
    stage_since = board_count();
}

static void stages_print(void)
{
    uint32_t all[RUNS] = { 0 };
    unsigned stage, run;
    board_print("               frame       lines reconstruct\n");
    for (stage = 0; stage < MIM_STAGE_COUNT; stage++) {
        board_print(stage_names[stage]);
        for (run = 0; run < RUNS; run++) {
            board_number((int32_t)stage_counts[run][stage], run ? 12 : 10);
            all[run] += stage_counts[run][stage];
        }
        board_print("\n");
    }
    board_print("all       ");
    for (run = 0; run < RUNS; run++)
        board_number((int32_t)all[run], run ? 12 : 10);
    board_print("\n");
}

/* ---- the application ---- */

static void need(mim_status status, const char *what)
{
    if (status) {
        board_print(what);
        board_print(": ");
        board_print(mim_status_string(status));
        board_print("\n");
        board_exit(1);
    }
}

/* Between two steps: the place to feed a watchdog. Something else than 0 ends the encode with MIM_ERR_ABORTED. */
static int steps_done(void *user, uint32_t done, uint32_t total)
{
    uint32_t *count = (uint32_t *)user;
    ++*count;
    return done > total;
}

/* A camera without a frame buffer: its lines one at a time, as a DMA hands them over. */
static int camera_line(void *user, uint32_t y, void *row)
{
    (void)user;
    MIM_MEMCPY(row, frame + y * SIDE, SIDE * sizeof *frame);
    return 0;
}

static uint64_t hash_of(uint64_t hash, const int16_t *x, unsigned n)
{
    while (n--)
        hash = (hash ^ (uint16_t)*x++) * 1099511628211u;
    return hash;
}

/* A pixel of the frame in one of three channels, normalised like the model's input. */
static float normalised(const mim_blob_header *h, unsigned x, unsigned y, unsigned channel)
{
    const unsigned v = frame[y * SIDE + x], r = v >> 11, g = v >> 5 & 63, b = v & 31;
    const unsigned bytes[3] = { r << 3 | r >> 2, g << 2 | g >> 4, b << 3 | b >> 2 };
    return ((float)bytes[channel] / 255 - h->mean[channel]) / h->std[channel];
}

/* Mean squared error of one patch's prediction. It is of values less their mean, by their deviation, in this patch (norm_pix). */
static float patch_error(const mim_blob_header *h, unsigned patch, const int16_t *prediction, float scale)
{
    float x[VALUES], mean = 0, variance = 0, error = 0;
    unsigned i;
    for (i = 0; i < VALUES; i++) {
        x[i] = normalised(h, patch % (SIDE / PATCH) * PATCH + i / 3 % PATCH, patch / (SIDE / PATCH) * PATCH + i / 3 / PATCH, i % 3);
        mean += x[i] / VALUES;
    }
    for (i = 0; i < VALUES; i++)
        variance += (x[i] - mean) * (x[i] - mean) / (VALUES - 1);
    for (i = 0; i < VALUES; i++) {
        const float e = (x[i] - mean) / sqrtf(variance + 1e-6f) - (float)prediction[i] * scale;
        error += e * e / VALUES;
    }
    return error;
}

static int16_t features[WIDTH], again[WIDTH], prediction[PATCHES * VALUES];

int main(void)
{
    mim_session_desc desc = { 0 };
    mim_image image = { 0 };
    mim_integers integers = { 0 };
    mim_output out = { 0 };
    uint32_t visible[VISIBLE], calls = 0, i;
    mim_memory memory;
    mim_session session;
    mim_model m;
    uint8_t *ram;
    size_t ram_bytes;
    float error = 0;

    /* The model, where it lies. mim_verify is for the factory or for after an update: it reads all of it. */
    need(mim_open(&m, model, (size_t)(model_end - model)), "the model");
    need(mim_verify(&m), "the model");
    if (m.header->image_width != SIDE || m.header->patch_width != PATCH || m.header->pooled_dim != WIDTH || !m.header->norm_pix)
        need(MIM_ERR_SIZE, "the model");

    /* The arena, here the least that does, between guards: what is behind them is not the library's. */
    desc.decoder = 1;
    desc.progress = steps_done;
    desc.user = &calls;
    need(mim_plan(&m, &desc, &memory), "the plan");
    ram = board_memory(&ram_bytes);
    if (ram_bytes < memory.bytes + 2 * GUARD)
        need(MIM_ERR_MEMORY, "the arena");
    MIM_MEMSET(ram, 0x5a, memory.bytes + 2 * GUARD);
    memory.base = ram + GUARD;
    need(mim_begin(&session, &m, &desc, &memory), "the session");

    /* Features of a frame in a buffer. */
    image.format = MIM_RGB565;
    image.width = image.height = SIDE;
    image.pixels = frame;
    out.integers = &integers;
    integers.pooled = features;
    stages_of(FRAME_RUN);
    need(mim_encode(&session, &image, &out), "the encode");
    stage_begins(MIM_STAGE_REST);

    /* The same without a buffer: the picture comes line by line. */
    image.pixels = NULL;
    image.read_row = camera_line;
    integers.pooled = again;
    stages_of(LINES_RUN);
    need(mim_encode(&session, &image, &out), "the encode by lines");
    stage_begins(MIM_STAGE_REST);
    if (MIM_MEMCMP(features, again, sizeof features) != 0)
        need(MIM_ERR_CHECKSUM, "the features by lines");

    /* The reconstruction of most of it: of four patches one is seen, in every row another one. */
    for (i = 0; i < VISIBLE; i++)
        visible[i] = i * 4 + (i / 2 & 3);
    image.visible = visible;
    image.visible_count = VISIBLE;
    integers.pooled = NULL;
    integers.prediction = prediction;
    stages_of(RECONSTRUCT_RUN);
    need(mim_reconstruct(&session, &image, &out, NULL), "the reconstruction");
    stage_begins(MIM_STAGE_REST);
    for (i = 0; i < PATCHES; i++)
        if (i % 4 != (i / 8 & 3))
            error += patch_error(m.header, i, prediction + i * VALUES, integers.prediction_scale) / (PATCHES - VISIBLE);

    for (i = 0; i < GUARD; i++)
        if (ram[i] != 0x5a || ram[GUARD + memory.bytes + i] != 0x5a)
            need(MIM_ERR_MEMORY, "a guard of the arena");

    stages_print();
    board_print("arena ");
    board_number((int32_t)memory.bytes, 0);
    board_print(", stack ");
    board_number((int32_t)board_stack(), 0);
    board_print(" bytes; ");
    board_number((int32_t)calls, 0);
    board_print(" calls of the watchdog\nfeatures");
    for (i = 0; i < 8; i++)
        board_number(features[i], 6);
    board_print(" ...\nreconstruction error ");
    board_number((int32_t)(error * 1000 + 0.5f), 0);
    board_print("/1000 of the variance\nhash ");
    board_hex(hash_of(hash_of(14695981039346656037u, features, WIDTH), prediction, PATCHES * VALUES));
    board_print("\n");
    return 0;
}
