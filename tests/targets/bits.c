/* bits MODEL.mim - what a quantized blob computes, as one hash that is the same on every machine; or, of a blob that is refused, why.
 *
 * Built with -DBLOB_IN_IMAGE the blob is in flash (data.S) and the program runs on a board of examples/firmware. A picture made of
 * numbers is encoded as a whole; again with memory in two regions; then a quarter of its patches, or, where there is a decoder, they and
 * what it predicts of the others. All in exactly mim_plan's minimum between guards. Of an integer blob the hash is over int16, else
 * over the bits of floats, so that builds with MIM_NO_FLOAT have the same. */
#include "../../examples/firmware/board.h"

#ifdef BLOB_IN_IMAGE
#define MIM_NO_STDIO
#endif
#define MIM_IMPLEMENTATION
#include "../../mim.h"

enum { GUARD = 64, MOST_VISIBLE = 256 };

#define HASH_OF_NOTHING 14695981039346656037u      /* FNV-1a */
static uint64_t hash = HASH_OF_NOTHING;

/* ---- where it runs ---- */

#ifdef BLOB_IN_IMAGE
extern const uint8_t model[], model_end[];
#else
void board_print(const char *text) { fputs(text, stdout); }
void board_exit(int status) { exit(status); }
uint8_t *board_memory(size_t *bytes)
{
    *bytes = (size_t)1 << 22;
    return (uint8_t *)malloc(*bytes);       /* aligned by take() */
}
#endif

static uint8_t *free_memory;
static size_t free_bytes;

static void end(const char *what, const char *why)
{
    board_print(what);
    board_print(": ");
    board_print(why);
    board_print("\n");
    board_exit(1);
}

/* From the front of what is free. */
static void *take(size_t bytes)
{
    uint8_t *at = free_memory + (-(uintptr_t)free_memory & 15);
    const size_t all = (size_t)(at - free_memory) + bytes;
    if (all > free_bytes)
        end("memory", "this machine has too little for the model");
    free_memory += all;
    free_bytes -= all;
    return at;
}

/* Memory between guards. */
static uint8_t *guarded[3];
static size_t guarded_bytes[3];
static uint32_t regions;

static void *take_guarded(size_t bytes)
{
    uint8_t *at = (uint8_t *)take(bytes + 2 * GUARD);
    MIM_MEMSET(at, 0x5a, bytes + 2 * GUARD);
    guarded[regions] = at;
    guarded_bytes[regions++] = bytes;
    return at + GUARD;
}

static void check_guards(void)
{
    uint32_t r, i;
    for (r = 0; r < regions; r++)
        for (i = 0; i < GUARD; i++)
            if (guarded[r][i] != 0x5a || guarded[r][GUARD + guarded_bytes[r] + i] != 0x5a)
                end("arena", "a guard has changed");
}

/* ---- what is computed ---- */

static int row_of_numbers(void *user, uint32_t y, void *row)
{
    const mim_session *s = (const mim_session *)user;
    uint8_t *to = (uint8_t *)row;
    uint32_t i;
    for (i = 0; i < s->width * 3; i++)
        to[i] = (uint8_t)((y * s->width * 3 + i) * 2654435761u >> 24);
    return 0;
}

/* Where `count` results go, of either kind. */
static void *results(uint32_t count, int integer, float **floats, int16_t **integers)
{
    void *to = take((size_t)count * (integer ? 2 : 4));
    *floats = integer ? NULL : (float *)to;
    *integers = integer ? (int16_t *)to : NULL;
    return to;
}

static void add(const void *values, uint32_t count, int integer)
{
    uint32_t i, bits;
    for (i = 0; i < count; i++) {
        if (integer)
            bits = ((const uint16_t *)values)[i];
        else
            MIM_MEMCPY(&bits, (const uint8_t *)values + 4 * (size_t)i, 4);
        hash = (hash ^ bits) * 1099511628211u;
    }
}

static void need(mim_status status, const char *what)
{
    if (status)
        end(what, mim_status_string(status));
}

int main(int argc, char **argv)
{
    uint32_t *visible, units, count, i;
    mim_session_desc desc;
    mim_integers integers;
    mim_memory memory;
    mim_session session;
    mim_image image;
    mim_output out;
    mim_model m;
    mim_status status;
    const void *blob;
    size_t bytes;
    uint64_t whole;
    void *tokens, *pooled, *prediction = NULL;
    float *floats = NULL;
    int integer;
#ifdef BLOB_IN_IMAGE
    (void)argc;
    (void)argv;
    blob = model;
    bytes = (size_t)(model_end - model);
#else
    void *loaded;
    if (argc != 2)
        end("bits", "needs a model");
    need(mim_load(argv[1], &loaded, &bytes), argv[1]);
    blob = loaded;
#endif
    free_memory = board_memory(&free_bytes);
    status = mim_open(&m, blob, bytes);
    if (status)
        end(m.fault, mim_status_string(status));
    status = mim_verify(&m);                /* what is wrong here is no harm: it computes nonsense, the same everywhere */
    if (status) {
        board_print(mim_status_string(status));
        board_print("\n");
    }

    MIM_MEMSET(&desc, 0, sizeof desc);
    MIM_MEMSET(&integers, 0, sizeof integers);
    MIM_MEMSET(&image, 0, sizeof image);
    MIM_MEMSET(&out, 0, sizeof out);
    desc.decoder = m.header->decoder_step < m.header->step_count;
    desc.cpu = MIM_CPU_BEST;
    need(mim_plan(&m, &desc, &memory), "the plan");
    memory.base = take_guarded(memory.bytes);
    need(mim_begin(&session, &m, &desc, &memory), "the session");

    integer = m.header->numerics == MIM_NUMERICS_INTEGER;
    units = m.header->unit_height ? (session.tokens - session.prefix) / (m.header->unit_height * m.header->unit_width) : 0;
    image.width = session.width;
    image.height = session.height;
    image.read_row = row_of_numbers;
    image.user = &session;
    out.integers = integer ? &integers : NULL;
    count = session.tokens * m.header->dim;
    tokens = results(count, integer, &out.tokens, &integers.tokens);
    pooled = results(m.header->pooled_dim, integer, &out.pooled, &integers.pooled);
    need(mim_encode(&session, &image, &out), "the encode");
    add(tokens, count, integer);
    add(pooled, m.header->pooled_dim, integer);

    desc.split = 1;
    need(mim_plan(&m, &desc, &memory), "the plan of two regions");
    memory.base = take_guarded(memory.bytes);
    memory.slow = take_guarded(memory.slow_bytes);
    need(mim_begin(&session, &m, &desc, &memory), "the session in two regions");
    need(mim_encode(&session, &image, &out), "the encode in two regions");
    whole = hash;
    hash = HASH_OF_NOTHING;
    add(tokens, count, integer);
    add(pooled, m.header->pooled_dim, integer);
    if (hash != whole)
        end("two regions", "other bits");

    if (units >= 4 && units / 4 <= MOST_VISIBLE) {
        visible = (uint32_t *)take(units / 4 * sizeof *visible);
        for (i = 0; i < units / 4; i++)
            visible[i] = units - 1 - 3 * i;
        image.visible = visible;
        image.visible_count = units / 4;
        count = (session.prefix + (session.tokens - session.prefix) / units * (units / 4)) * m.header->dim;
        if (desc.decoder) {
            i = m.header->channels * m.header->patch_frames * m.header->patch_height * m.header->patch_width * (session.tokens - session.prefix);
            prediction = results(i, integer, &floats, &integers.prediction);
            need(mim_reconstruct(&session, &image, &out, floats), "the reconstruction");
            add(prediction, i, integer);
        } else
            need(mim_encode(&session, &image, &out), "the encode of some patches");
        add(tokens, count, integer);
        add(pooled, m.header->pooled_dim, integer);
    }
    check_guards();
    {
        char text[18];
        for (i = 0; i < 16; i++)
            text[i] = "0123456789abcdef"[hash >> (60 - 4 * i) & 15];
        text[16] = '\n';
        text[17] = 0;
        board_print(text);
    }
    return 0;
}
