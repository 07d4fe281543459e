/* test_blob.c - blobs from a stranger: every field, every truncation, every byte.
 *
 * MIM_TEST_STRIDE=n changes only every n-th byte in the sweeps, for slow builds. */
#include "check.h"
#define MIM_IMPLEMENTATION
#include "../mim.h"
#include "blob_builder.h"

static uint8_t *blob;               /* a valid one */
static size_t bytes;
static guard at_end, arena;
static results out[2];

static mim_blob_header *header(void) { return (mim_blob_header *)(void *)blob; }
static mim_blob_step *step(uint32_t i) { return (mim_blob_step *)(void *)(blob + sizeof(mim_blob_header)) + i; }
static mim_blob_tensor *tensor(uint32_t i) { return (mim_blob_tensor *)(void *)(step(header()->step_count)) + i; }

static void load(const spec *p)
{
    free(blob);
    blob = blob_build(p, &bytes);
}

/* Every part that a blob may have. */
static spec spec_full(uint32_t type)
{
    spec p = spec_small(type);
    p.registers = 2, p.edge = 20;
    p.fc_norm = 1;
    p.decoder_dim = 20, p.decoder_blocks = 1, p.decoder_heads = 2, p.decoder_head_dim = 10, p.decoder_hidden = 24, p.decoder_prefix = 1;
    return p;
}

static mim_status open_now(mim_model *model) { return mim_open(model, blob, bytes); }

/* Opens the blob with n bytes at `at` replaced: the status must be `expected`, its fault inside [lo, hi). */
static void expect(size_t at, const void *value, size_t n, mim_status expected, size_t lo, size_t hi, const char *what)
{
    mim_model model;
    mim_status status;
    uint8_t old[512];
    memcpy(old, blob + at, n);
    memcpy(blob + at, value, n);
    status = open_now(&model);
    CHECK_THAT(status == expected, "%s: status %d, not %d", what, (int)status, (int)expected);
    if (status)
        CHECK_THAT(model.fault_at >= lo && model.fault_at < hi && model.fault && model.fault[0] && !model.header,
                   "%s: fault \"%s\" at %d, not in %d..%d", what, model.fault ? model.fault : "", (int)model.fault_at, (int)lo, (int)hi);
    else
        CHECK_THAT(model.fault && !model.fault[0] && model.header, "%s: a fault after success", what);
    memcpy(blob + at, old, n);
}

/* A field's value and what comes of it: at the field itself, or (ELSEWHERE) somewhere behind it. */
#define FIELD(field, type, value, status) \
    do { const type v_ = (type)(value); \
         expect(offsetof(mim_blob_header, field), &v_, sizeof v_, status, offsetof(mim_blob_header, field), \
                offsetof(mim_blob_header, field) + sizeof header()->field, #field " = " #value); } while (0)
#define HEADER(field, value, status) FIELD(field, uint32_t, value, status)
#define ELSEWHERE(field, value, status) \
    do { const uint32_t v_ = (uint32_t)(value); \
         expect(offsetof(mim_blob_header, field), &v_, sizeof v_, status, 0, bytes + 1, #field " = " #value); } while (0)

static void test_header(void)
{
    const mim_blob_header h = *header();
    size_t i, j;
    group("header: every field, inside and outside its range");
    for (i = 0; i < 8; i++)
        for (j = 1; j < 256; j++) {
            const uint8_t byte = (uint8_t)(h.magic[i] ^ j);
            expect(i, &byte, 1, MIM_ERR_MAGIC, 0, 8, "magic");
        }
    HEADER(version, 0, MIM_ERR_VERSION);
    HEADER(version, 2, MIM_ERR_VERSION);
    HEADER(version, 0x01000000, MIM_ERR_VERSION);
    HEADER(header_bytes, 0, MIM_ERR_HEADER);
    HEADER(header_bytes, 511, MIM_ERR_HEADER);
    HEADER(header_bytes, 513, MIM_ERR_HEADER);
    FIELD(bytes, uint64_t, 0, MIM_ERR_HEADER);
    FIELD(bytes, uint64_t, bytes - 1, MIM_ERR_HEADER);
    FIELD(bytes, uint64_t, bytes + 1, MIM_ERR_TRUNCATED);
    FIELD(bytes, uint64_t, UINT64_MAX, MIM_ERR_TRUNCATED);
    FIELD(bytes, uint64_t, (uint64_t)bytes | (uint64_t)1 << 32, MIM_ERR_TRUNCATED);
    FIELD(checksum, uint64_t, 0, MIM_OK);
    HEADER(step_count, 0, MIM_ERR_LIMIT);
    HEADER(step_count, 1, MIM_ERR_LIMIT);
    HEADER(step_count, MIM_MAX_STEPS + 1, MIM_ERR_LIMIT);
    HEADER(step_count, 0xffffffff, MIM_ERR_LIMIT);
    ELSEWHERE(step_count, h.step_count - 1, MIM_ERR_TENSOR);
    ELSEWHERE(step_count, h.step_count + 1, MIM_ERR_LAYOUT);        /* the directory begins two records later */
    HEADER(tensor_count, 0, MIM_ERR_LIMIT);
    HEADER(tensor_count, MIM_MAX_TENSORS + 1, MIM_ERR_LIMIT);
    HEADER(tensor_count, 0xffffffff, MIM_ERR_LIMIT);
    ELSEWHERE(tensor_count, h.tensor_count - 1, MIM_ERR_LAYOUT);
    ELSEWHERE(tensor_count, h.tensor_count + 1, MIM_ERR_LAYOUT);
    HEADER(decoder_step, 0, MIM_ERR_HEADER);
    HEADER(decoder_step, 1, MIM_ERR_HEADER);
    HEADER(decoder_step, h.step_count + 1, MIM_ERR_HEADER);
    HEADER(decoder_step, 0xffffffff, MIM_ERR_HEADER);
    ELSEWHERE(decoder_step, h.step_count, MIM_ERR_HEADER);
    ELSEWHERE(decoder_step, h.decoder_step - 1, MIM_ERR_HEADER);    /* classes, but no head in what is left */
    ELSEWHERE(decoder_step, h.decoder_step + 1, MIM_ERR_STEP);
    HEADER(type, 0, MIM_ERR_HEADER);
    HEADER(type, MIM_Q4 + 1, MIM_ERR_HEADER);
    ELSEWHERE(type, MIM_F16, MIM_ERR_TENSOR);
    ELSEWHERE(type, MIM_Q8, MIM_ERR_TENSOR);
    HEADER(numerics, 0, MIM_ERR_HEADER);
    HEADER(numerics, 2, MIM_ERR_HEADER);
    HEADER(channels, 0, MIM_ERR_HEADER);
    HEADER(channels, MIM_MAX_CHANNELS + 1, MIM_ERR_HEADER);
    ELSEWHERE(channels, MIM_MAX_CHANNELS, MIM_ERR_TENSOR);
    HEADER(image_height, 0, MIM_ERR_HEADER);
    HEADER(image_height, h.patch_height - 1, MIM_ERR_HEADER);
    HEADER(image_height, h.image_height + 1, MIM_ERR_HEADER);
    HEADER(image_height, MIM_MAX_IMAGE + h.patch_height, MIM_ERR_HEADER);
    HEADER(image_height, 0xfffffffc, MIM_ERR_HEADER);
    HEADER(image_height, h.patch_height, MIM_OK);
    header()->image_width = h.patch_width * 8;
    header()->resize_edge = h.resize == MIM_RESIZE_SHORT_EDGE ? MIM_MAX_IMAGE : 0;
    HEADER(image_height, h.patch_height * 4095, MIM_OK);            /* 8 * 4095 patches and 3 tokens before them fit 32768 */
    HEADER(image_height, MIM_MAX_IMAGE, MIM_ERR_LIMIT);
    *header() = h;
    HEADER(image_width, 0, MIM_ERR_HEADER);
    HEADER(image_width, h.patch_width - 1, MIM_ERR_HEADER);
    HEADER(image_width, h.image_width - 1, MIM_ERR_HEADER);
    HEADER(image_width, MIM_MAX_IMAGE + h.patch_width, MIM_ERR_HEADER);
    HEADER(image_width, 0x80000000, MIM_ERR_HEADER);
    HEADER(image_width, h.patch_width, MIM_OK);
    HEADER(patch_height, 0, MIM_ERR_HEADER);
    HEADER(patch_height, MIM_MAX_PATCH + 1, MIM_ERR_HEADER);
    HEADER(patch_width, 0, MIM_ERR_HEADER);
    HEADER(patch_width, MIM_MAX_PATCH + 1, MIM_ERR_HEADER);
    ELSEWHERE(patch_width, h.patch_width * 2, MIM_ERR_STEP);
    HEADER(frames, 0, MIM_ERR_HEADER);
    ELSEWHERE(frames, 2, MIM_ERR_STEP);
    HEADER(frames, MIM_MAX_FRAMES + 1, MIM_ERR_HEADER);
    HEADER(patch_frames, 0, MIM_ERR_HEADER);
    HEADER(patch_frames, MIM_MAX_PATCH_FRAMES + 1, MIM_ERR_HEADER);
    HEADER(groups, 0, MIM_ERR_HEADER);
    HEADER(groups, MIM_MAX_GROUPS + 1, MIM_ERR_HEADER);
    ELSEWHERE(groups, 2, MIM_ERR_TENSOR);
    HEADER(coordinates, MIM_MAX_COORDINATES + 1, MIM_ERR_HEADER);
    ELSEWHERE(coordinates, 1, MIM_ERR_STEP);
    HEADER(unit_height, 0x80000000, MIM_ERR_HEADER);
    HEADER(unit_width, 0, MIM_ERR_HEADER);
    HEADER(dim, 0, MIM_ERR_HEADER);
    HEADER(dim, MIM_MAX_DIM + 1, MIM_ERR_HEADER);
    HEADER(dim, 0xffffffff, MIM_ERR_HEADER);
    HEADER(dim, h.dim - 1, MIM_ERR_HEADER);
    HEADER(dim, h.dim + 1, MIM_ERR_HEADER);
    HEADER(dim, MIM_MAX_DIM, MIM_ERR_HEADER);
    HEADER(depth, MIM_MAX_DEPTH + 1, MIM_ERR_HEADER);
    HEADER(depth, h.depth - 1, MIM_ERR_HEADER);
    HEADER(depth, h.depth + 1, MIM_ERR_HEADER);
    HEADER(depth, 0, MIM_ERR_HEADER);
    HEADER(has_cls, 2, MIM_ERR_HEADER);
    HEADER(has_cls, 0xffffffff, MIM_ERR_HEADER);
    ELSEWHERE(has_cls, 0, MIM_ERR_TENSOR);
    HEADER(registers, MIM_MAX_PREFIX, MIM_ERR_HEADER);
    HEADER(registers, 0xffffffff, MIM_ERR_HEADER);
    ELSEWHERE(registers, MIM_MAX_PREFIX - 1, MIM_ERR_TENSOR);
    ELSEWHERE(registers, h.registers - 1, MIM_ERR_TENSOR);
    HEADER(pooled_dim, 0, MIM_ERR_HEADER);
    HEADER(pooled_dim, 2 * MIM_MAX_DIM + 1, MIM_ERR_HEADER);
    ELSEWHERE(pooled_dim, h.pooled_dim + 1, MIM_ERR_STEP);
    HEADER(classes, MIM_MAX_CLASSES + 1, MIM_ERR_HEADER);
    ELSEWHERE(classes, 0, MIM_ERR_STEP);
    ELSEWHERE(classes, h.classes + 1, MIM_ERR_TENSOR);
    HEADER(decoder_dim, 0, MIM_ERR_HEADER);
    HEADER(decoder_dim, MIM_MAX_DIM + 1, MIM_ERR_HEADER);
    ELSEWHERE(decoder_dim, h.decoder_dim + 1, MIM_ERR_TENSOR);
    HEADER(norm_pix, 1, MIM_OK);
    HEADER(norm_pix, 2, MIM_ERR_HEADER);
    HEADER(resize, 0, MIM_ERR_HEADER);
    HEADER(resize, 4, MIM_ERR_HEADER);
    ELSEWHERE(resize, MIM_RESIZE_PAD, MIM_ERR_HEADER);              /* with an edge */
    ELSEWHERE(resize, MIM_RESIZE_SQUASH, MIM_ERR_HEADER);           /* with an edge */
    HEADER(resize_filter, 0, MIM_ERR_HEADER);
    HEADER(resize_filter, 3, MIM_ERR_HEADER);
    HEADER(resize_filter, MIM_BILINEAR, MIM_OK);
    HEADER(resize_edge, 0, MIM_ERR_HEADER);
    HEADER(resize_edge, h.image_height - 1, MIM_ERR_HEADER);
    HEADER(resize_edge, h.image_height, MIM_OK);
    HEADER(resize_edge, MIM_MAX_IMAGE, MIM_OK);
    HEADER(resize_edge, MIM_MAX_IMAGE + 1, MIM_ERR_HEADER);
    HEADER(reserved0, 1, MIM_ERR_RESERVED);
    HEADER(reserved0, 0x80000000, MIM_ERR_RESERVED);
    for (i = 0; i < 16; i++) {
        static const float bad[] = { -INFINITY, INFINITY, NAN }, nought[] = { 0.0f, -0.0f, -1.0f };
        const size_t mean = offsetof(mim_blob_header, mean), std = offsetof(mim_blob_header, std);
        for (j = 0; j < 3; j++) {
            expect(mean + i * 4, &bad[j], 4, MIM_ERR_HEADER, mean, mean + 64, "mean is not finite");
            expect(std + i * 4, &bad[j], 4, MIM_ERR_HEADER, std, std + 64, "std is not finite");
            expect(std + i * 4, &nought[j], 4, i < h.channels ? MIM_ERR_HEADER : MIM_OK, std, std + 64, "std is not positive");
        }
    }
    FIELD(parameters, uint64_t, UINT64_MAX, MIM_OK);
    for (i = 0; i < sizeof h.reserved; i++) {
        const uint8_t one = 1;
        expect(offsetof(mim_blob_header, reserved) + i, &one, 1, MIM_ERR_RESERVED, offsetof(mim_blob_header, reserved), sizeof h, "reserved");
    }
}

static void test_texts(void)
{
    static const struct { size_t at, n; } text[] = {
        { offsetof(mim_blob_header, name), 64 }, { offsetof(mim_blob_header, family), 16 }, { offsetof(mim_blob_header, method), 16 },
        { offsetof(mim_blob_header, source), 48 }, { offsetof(mim_blob_header, licence), 24 },
    };
    char value[64];
    size_t i;
    int c;
    group("header: texts are printable ASCII with a zero behind");
    for (i = 0; i < 5; i++) {
        const size_t at = text[i].at, n = text[i].n;
        for (c = 0; c < 256; c++) {
            memset(value, 0, sizeof value);
            memset(value, c, n - 1);
            expect(at, value, n, c == 0 || (c >= 32 && c < 127) ? MIM_OK : MIM_ERR_HEADER, at, at + n, "text");
        }
        memset(value, 'x', sizeof value);
        expect(at, value, n, MIM_ERR_HEADER, at, at + n, "text without an end");
        value[2] = 0;
        value[n - 1] = 0;
        expect(at, value, n, MIM_ERR_HEADER, at, at + n, "text behind its end");
    }
}

/* ---- tensors ---- */

static void test_tensors(void)
{
    static const uint32_t sizes[] = { 0, 1, MIM_MAX_COLUMNS + 1, MIM_MAX_ROWS + 1, 0x7fffffff, 0x80000000, 0x80000001, 0xfffffff0, 0xffffffff };
    const size_t directory = (size_t)((uint8_t *)tensor(0) - blob);
    uint32_t i, j;
    group(header()->type == MIM_Q4 ? "tensors of q4: every field" : header()->type == MIM_Q8 ? "tensors of q8: every field" : "tensors: every field");
    for (i = 0; i < header()->tensor_count; i++) {
        const mim_blob_tensor t = *tensor(i);
        const size_t at = directory + i * sizeof t, end = at + sizeof t;
        const int q8 = t.type == MIM_Q8, bytes_in = t.type >= MIM_Q8;
        mim_model model;
        for (j = 0; j < 256; j++) {
            const uint8_t v = (uint8_t)j;
            if (v != t.type) {      /* another type has another size, so that what follows is not in its place, or misses its limits; integers are
                                       no step's here */
                tensor(i)->type = v;
                CHECK(open_now(&model) != MIM_OK && (model.fault_at >= at || v == MIM_I32 || v == MIM_I16) && model.fault_at <= bytes);
                if (v < MIM_F32 || v > MIM_I16)
                    CHECK(open_now(&model) == MIM_ERR_TENSOR && model.fault_at < end);
                tensor(i)->type = t.type;
            }
            if (v != t.layout) {
                tensor(i)->layout = v;
                if (v == MIM_PAIRS16 && t.type == MIM_Q8)           /* a valid tensor, which no step of a float blob takes */
                    CHECK(open_now(&model) == MIM_ERR_TENSOR && strstr(model.fault, "layout"));
                else
                    CHECK(open_now(&model) != MIM_OK && model.fault_at >= at);
                if (v > MIM_PAIRS16)
                    CHECK(open_now(&model) == MIM_ERR_TENSOR && model.fault_at < end);
                tensor(i)->layout = t.layout;
            }
            expect(at + offsetof(mim_blob_tensor, weight_max), &v, 1, (q8 ? v == 63 || v == 127 : v == 0) ? MIM_OK : MIM_ERR_TENSOR,
                   at + offsetof(mim_blob_tensor, weight_max), at + offsetof(mim_blob_tensor, weight_max) + 1, "weight_max");
            expect(at + offsetof(mim_blob_tensor, input_max), &v, 1, (bytes_in ? v == 127 || v == 255 : v == 0) ? MIM_OK : MIM_ERR_TENSOR,
                   at + offsetof(mim_blob_tensor, input_max), at + offsetof(mim_blob_tensor, input_max) + 1, "input_max");
            expect(at + offsetof(mim_blob_tensor, fours), &v, 1, v <= (q8 && t.layout == MIM_PANEL16) ? MIM_OK : MIM_ERR_TENSOR,
                   at + offsetof(mim_blob_tensor, fours), at + offsetof(mim_blob_tensor, fours) + 1, "fours");
            if (v != t.group) {     /* another group has another size, but where one holds all of k; others have none */
                const uint32_t k = (t.columns + 31) / 32 * 32;
                tensor(i)->group = v;
                if (t.type == MIM_Q4 && (v == 32 || v == 64 || v == 128) && (k + v - 1) / v == (k + t.group - 1) / t.group)
                    CHECK(open_now(&model) == MIM_OK);
                else
                    CHECK(open_now(&model) != MIM_OK && model.fault_at >= at);
                tensor(i)->group = t.group;
            }
        }
        for (j = 0; j < sizeof t.reserved; j++) {
            const uint8_t one = 0x80;
            expect(at + offsetof(mim_blob_tensor, reserved) + j, &one, 1, MIM_ERR_RESERVED, at + offsetof(mim_blob_tensor, reserved), end,
                   "reserved");
        }
        for (j = 0; j < 64; j++) {
            const uint64_t v = t.at ^ (uint64_t)1 << j;
            expect(at, &v, 8, MIM_ERR_LAYOUT, at, at + 8, "at");
        }
        for (j = 0; j < sizeof sizes / sizeof *sizes + 4; j++) {
            const uint32_t more = j - (uint32_t)(sizeof sizes / sizeof *sizes);
            const uint32_t rows = j < 9 ? sizes[j] : more == 0 ? t.rows - 1 : more == 1 ? t.rows + 1 : more == 2 ? t.rows + 16 : t.rows * 2;
            const uint32_t columns = j < 9 ? sizes[j] : more == 0 ? t.columns - 1 : more == 1 ? t.columns + 1 : t.columns * 2;
            if (rows != t.rows) {
                tensor(i)->rows = rows;
                CHECK_THAT(open_now(&model) != MIM_OK, "tensor %u with %u rows", i, rows);
                tensor(i)->rows = t.rows;
            }
            if (columns != t.columns) {
                tensor(i)->columns = columns;
                CHECK_THAT(open_now(&model) != MIM_OK, "tensor %u with %u columns", i, columns);
                tensor(i)->columns = t.columns;
            }
        }
        for (j = i + 1; j < header()->tensor_count; j++) {      /* two tensors at one place */
            const uint64_t v = tensor(j)->at;
            expect(at, &v, 8, MIM_ERR_LAYOUT, at, at + 8, "overlap");
        }
    }
}

static void test_padding(void)
{
    uint32_t i;
    size_t end = (size_t)((uint8_t *)tensor(header()->tensor_count) - blob);
    int gaps = 0;
    group("padding between tensors is zero");
    for (i = 0; i < header()->tensor_count; i++) {
        const size_t gap = (size_t)tensor(i)->at - end;
        size_t j;
        for (j = 0; j < gap; j++) {
            const uint8_t one = 1;
            expect(end + j, &one, 1, MIM_ERR_LAYOUT, end, end + gap, "padding");
        }
        gaps += gap != 0;
        end = (size_t)(tensor(i)->at + mim_tensor_bytes(tensor(i)));
    }
    CHECK(gaps > 3);
}

static void test_tensor_bytes(void)
{
    mim_blob_tensor t;
    group("mim_tensor_bytes");
    memset(&t, 0, sizeof t);
    CHECK(mim_tensor_bytes(NULL) == 0 && mim_tensor_bytes(&t) == 0);
    t.rows = 17, t.columns = 33, t.type = MIM_F32;
    CHECK(mim_tensor_bytes(&t) == 17 * 33 * 4);
    t.layout = MIM_PANEL16;
    CHECK(mim_tensor_bytes(&t) == 32 * 64 * 4 + 32 * 4);
    t.type = MIM_F16;
    CHECK(mim_tensor_bytes(&t) == 32 * 64 * 2 + 32 * 8);
    t.type = MIM_Q8;
    CHECK(mim_tensor_bytes(&t) == 32 * 64 + 32 * 12);
    t.layout = MIM_PAIRS16;
    CHECK(mim_tensor_bytes(&t) == 32 * 64 + 32 * 12);
    t.type = MIM_F32;
    CHECK(mim_tensor_bytes(&t) == 0);
    t.type = MIM_Q4, t.group = 32;
    CHECK(mim_tensor_bytes(&t) == 0);
    t.layout = MIM_PANEL16, t.group = 0;
    CHECK(mim_tensor_bytes(&t) == 0);
    t.group = 32;
    CHECK(mim_tensor_bytes(&t) == 2 * (64 * 8 + 2 * 8) + 32 * 12);
    t.group = 64;
    CHECK(mim_tensor_bytes(&t) == 2 * (64 * 8 + 8) + 32 * 12);
    t.group = 128;
    CHECK(mim_tensor_bytes(&t) == 2 * (64 * 8 + 8) + 32 * 12);
    t.layout = MIM_PLAIN;
    CHECK(mim_tensor_bytes(&t) == 0);
    t.type = MIM_F32, t.rows = MIM_MAX_ROWS, t.columns = MIM_MAX_COLUMNS;
    CHECK(mim_tensor_bytes(&t) == (uint64_t)MIM_MAX_ROWS * MIM_MAX_COLUMNS * 4);
    t.rows = 2147418113u, t.columns = 2147549185u;          /* whose product times 4 is 4, modulo 2^64 */
    CHECK(mim_tensor_bytes(&t) == 0);
}

/* ---- steps ---- */

static uint32_t find(uint16_t kind)
{
    uint32_t i = 0;
    while (step(i)->kind != kind)
        i++;
    return i;
}

#define STEP(kind, field, type, value, status) \
    do { const uint32_t i_ = find(kind); \
         const type v_ = (type)(value); \
         const size_t at_ = sizeof(mim_blob_header) + i_ * sizeof(mim_blob_step) + offsetof(mim_blob_step, field); \
         expect(at_, &v_, sizeof v_, status, at_, at_ + sizeof step(0)->field, #kind " " #field " = " #value); } while (0)

static void test_steps(void)
{
    static const uint16_t kinds[] = { MIM_STEP_EMBED, MIM_STEP_ATTENTION, MIM_STEP_MLP, MIM_STEP_NORM, MIM_STEP_POOL, MIM_STEP_HEAD,
                                      MIM_STEP_UNMASK, MIM_STEP_PREDICT };
    const int q8 = header()->type >= MIM_Q8;
    uint32_t i, j, v;
    group(header()->type == MIM_Q4 ? "steps of q4: every field" : q8 ? "steps of q8: every field" : "steps: every field");
    for (i = 0; i < header()->step_count; i++) {
        const mim_blob_step s = *step(i);
        const size_t at = sizeof(mim_blob_header) + i * sizeof s, end = at + sizeof s;
        const int block = s.kind == MIM_STEP_ATTENTION || s.kind == MIM_STEP_MLP, encoder = i < header()->decoder_step;
        const uint32_t flags = !block ? 0u : !encoder ? (uint32_t)MIM_STEP_POST_NORM : s.kind == MIM_STEP_MLP ? MIM_STEP_POST_NORM | MIM_STEP_TAP
            : MIM_STEP_POST_NORM | MIM_STEP_TAP | MIM_STEP_ADD_QUERY | MIM_STEP_ADD_PREFIX_QUERY;
        const int attention = s.kind == MIM_STEP_ATTENTION, normalizes = block || s.kind == MIM_STEP_NORM || s.kind == MIM_STEP_POOL;
        mim_model model;
        for (v = 0; v < 65536; v += v < 300 ? 1 : 251) {
            const uint16_t word = (uint16_t)v;
            if (word != s.kind) {
                step(i)->kind = word;
                CHECK_THAT(open_now(&model) != MIM_OK, "step %u as kind %u", i, v);
                if (v == 0 || v > MIM_STEP_CONV)
                    CHECK(open_now(&model) == MIM_ERR_STEP && model.fault_at == at);
                step(i)->kind = s.kind;
            }
            if (s.kind != MIM_STEP_MLP && (word & ~flags))
                expect(at + offsetof(mim_blob_step, flags), &word, 2, MIM_ERR_STEP, at, end, "flags");
        }
        for (j = 0; j < 12; j++) {
            const size_t slot = at + offsetof(mim_blob_step, tensor) + 2 * j;
            for (v = 0; v < 65536; v += v <= header()->tensor_count ? 1 : 509) {
                step(i)->tensor[j] = (uint16_t)v;
                if (v == 0 && s.tensor[j] == 0)
                    continue;
                if (v > header()->tensor_count)
                    CHECK_THAT(open_now(&model) == MIM_ERR_STEP && model.fault_at >= at && model.fault_at < end, "step %u tensor[%u] = %u", i,
                               j, v);
                else if (open_now(&model) == MIM_OK) {       /* only another tensor of the same shape, or none where it may be absent */
                    const int optional = (s.kind == MIM_STEP_EMBED && j == 5) || (s.kind == MIM_STEP_UNMASK && j == 2) || (attention && j > 2) || (s.kind == MIM_STEP_MLP && (j == 3 || j == 5));
                    if (v && !s.tensor[j])
                        CHECK_THAT(optional, "step %u tensor[%u] = %u", i, j, v);
                    else if (v)
                        CHECK_THAT(tensor(v - 1)->rows == tensor(s.tensor[j] - 1u)->rows
                                   && tensor(v - 1)->columns == tensor(s.tensor[j] - 1u)->columns, "step %u tensor[%u] = %u", i, j, v);
                    else
                        CHECK_THAT(optional, "step %u without tensor[%u]", i, j);
                } else
                    CHECK(model.fault_at >= at && model.fault_at < end);
            }
            step(i)->tensor[j] = s.tensor[j];
            if (j < 3 && attention) {
                const uint16_t none = 0;
                expect(slot, &none, 2, MIM_ERR_STEP, slot, slot + 2, "missing tensor");
            }
        }
        for (v = 0; v < 256; v++) {
            const uint8_t byte = (uint8_t)v;
            const int fits = attention && q8 ? v == 63 || v == 127 : v == 0;
            expect(at + offsetof(mim_blob_step, key_max), &byte, 1, fits ? MIM_OK : MIM_ERR_STEP, at, end, "key_max");
            expect(at + offsetof(mim_blob_step, value_max), &byte, 1, fits ? MIM_OK : MIM_ERR_STEP, at, end, "value_max");
        }
        for (v = 0; v < sizeof s.reserved; v++) {
            const uint8_t one = 1;
            expect(at + offsetof(mim_blob_step, reserved) + v, &one, 1, MIM_ERR_RESERVED, at + offsetof(mim_blob_step, reserved), end, "reserved");
        }
        {
            static const float bad[] = { 0.0f, -0.0f, -1e-6f, INFINITY, -INFINITY, NAN };
            const float small = 1e-45f;
            for (v = 0; v < 6; v++)
                expect(at + offsetof(mim_blob_step, eps), &bad[v], 4, normalizes || v ? MIM_ERR_STEP : MIM_OK, at, end, "eps");
            expect(at + offsetof(mim_blob_step, eps), &small, 4, normalizes ? MIM_OK : MIM_ERR_STEP, at, end, "eps");
            for (v = 3; v < 6; v++)
                expect(at + offsetof(mim_blob_step, scale), &bad[v], 4, MIM_ERR_STEP, at, end, "scale");
            expect(at + offsetof(mim_blob_step, scale), &small, 4, attention ? MIM_OK : MIM_ERR_STEP, at, end, "scale");
            for (v = 2; v < 6; v++)
                expect(at + offsetof(mim_blob_step, position_offset), &bad[v], 4, MIM_ERR_STEP, at, end, "position_offset");
        }
    }
    for (i = 0; i < 8; i++) {       /* what a kind has no use for */
        if (kinds[i] != MIM_STEP_ATTENTION) {
            STEP(kinds[i], heads, uint32_t, 1, MIM_ERR_STEP);
            step(find(kinds[i]))->head_dim = 1;
            expect(0, blob, 1, MIM_ERR_STEP, sizeof(mim_blob_header), bytes, "head_dim");
            step(find(kinds[i]))->head_dim = 0;
        }
        if (kinds[i] != MIM_STEP_EMBED && kinds[i] != MIM_STEP_UNMASK) {
            STEP(kinds[i], stored_height, uint32_t, 1, MIM_ERR_STEP);
            step(find(kinds[i]))->stored_width = 1;
            expect(0, blob, 1, MIM_ERR_STEP, sizeof(mim_blob_header), bytes, "stored_width");
            step(find(kinds[i]))->stored_width = 0;
        }
        if (kinds[i] == MIM_STEP_ATTENTION || kinds[i] == MIM_STEP_NORM || kinds[i] == MIM_STEP_HEAD || kinds[i] == MIM_STEP_PREDICT)
            STEP(kinds[i], rule, uint32_t, 1, MIM_ERR_STEP);
    }
    STEP(MIM_STEP_EMBED, rule, uint32_t, MIM_POSITIONS_NONE, MIM_ERR_STEP);
    STEP(MIM_STEP_EMBED, rule, uint32_t, MIM_POSITIONS_FIXED, MIM_OK);
    STEP(MIM_STEP_EMBED, rule, uint32_t, MIM_POSITIONS_LINEAR, MIM_OK);
    STEP(MIM_STEP_EMBED, rule, uint32_t, MIM_POSITIONS_CORNERS + 1, MIM_ERR_STEP);
    STEP(MIM_STEP_EMBED, rule, uint32_t, 0x80000002, MIM_ERR_STEP);
    STEP(MIM_STEP_UNMASK, rule, uint32_t, MIM_POSITIONS_NONE, MIM_ERR_STEP);
    STEP(MIM_STEP_EMBED, stored_height, uint32_t, 0, MIM_ERR_STEP);
    STEP(MIM_STEP_EMBED, stored_height, uint32_t, MIM_MAX_TOKENS + 1, MIM_ERR_STEP);
    STEP(MIM_STEP_EMBED, stored_width, uint32_t, 0, MIM_ERR_STEP);
    STEP(MIM_STEP_EMBED, stored_width, uint32_t, 0xffffffff, MIM_ERR_STEP);
    STEP(MIM_STEP_EMBED, position_offset, float, 0.1f, MIM_OK);
    STEP(MIM_STEP_EMBED, position_offset, float, 0.999f, MIM_OK);
    STEP(MIM_STEP_EMBED, position_offset, float, 1, MIM_ERR_STEP);
    step(0)->rule = MIM_POSITIONS_CUBIC_ANTIALIAS;
    STEP(MIM_STEP_EMBED, position_offset, float, 0.1f, MIM_ERR_STEP);
    step(0)->rule = MIM_POSITIONS_CUBIC;
    STEP(MIM_STEP_ATTENTION, heads, uint32_t, 0, MIM_ERR_STEP);
    STEP(MIM_STEP_ATTENTION, heads, uint32_t, MIM_MAX_HEADS + 1, MIM_ERR_STEP);
    STEP(MIM_STEP_ATTENTION, heads, uint32_t, 0xffffffff, MIM_ERR_STEP);
    STEP(MIM_STEP_ATTENTION, head_dim, uint32_t, 0, MIM_ERR_STEP);
    STEP(MIM_STEP_ATTENTION, head_dim, uint32_t, MIM_MAX_HEAD_DIM + 1, MIM_ERR_STEP);
    STEP(MIM_STEP_ATTENTION, head_dim, uint32_t, 0xffffffff, MIM_ERR_STEP);
    STEP(MIM_STEP_ATTENTION, scale, float, 0, MIM_OK);
    STEP(MIM_STEP_MLP, activation, uint32_t, 0, MIM_ERR_STEP);
    STEP(MIM_STEP_MLP, activation, uint32_t, MIM_GELU_QUICK, MIM_OK);
    STEP(MIM_STEP_MLP, activation, uint32_t, MIM_SILU, MIM_OK);
    STEP(MIM_STEP_MLP, activation, uint32_t, MIM_SILU + 1, MIM_ERR_STEP);
    STEP(MIM_STEP_ATTENTION, rotary, uint8_t, MIM_ROTARY_PAIRS, MIM_ERR_STEP);
    STEP(MIM_STEP_ATTENTION, rotary_grid, uint8_t, MIM_GRID_INDEX, MIM_ERR_STEP);
    STEP(MIM_STEP_MLP, rotary, uint8_t, MIM_ROTARY_PAIRS, MIM_ERR_STEP);
    STEP(MIM_STEP_MLP, rotary_grid, uint8_t, MIM_GRID_SCALED, MIM_ERR_STEP);
    STEP(MIM_STEP_POOL, rule, uint32_t, 0, MIM_ERR_STEP);
    STEP(MIM_STEP_POOL, rule, uint32_t, MIM_POOL_MEAN_ALL, MIM_OK);
    STEP(MIM_STEP_POOL, rule, uint32_t, MIM_POOL_CLS_MEAN, MIM_ERR_STEP);
    STEP(MIM_STEP_POOL, rule, uint32_t, MIM_POOL_CLS_MEAN + 1, MIM_ERR_STEP);
}

/* Whether kinds k[0..n) are EMBED (ATTENTION | MLP | NORM)... POOL HEAD without two NORMs in a row, or one before and one after POOL, written
 * another way than mim.h does. */
static int grammatical(const uint16_t *k, uint32_t n)
{
    uint32_t i = 0;
    if (k[i++] != MIM_STEP_EMBED)
        return 0;
    while (i < n && (k[i] == MIM_STEP_ATTENTION || k[i] == MIM_STEP_MLP || (k[i] == MIM_STEP_NORM && k[i - 1] != MIM_STEP_NORM)))
        i++;
    if (i + 3 == n && k[i + 1] == MIM_STEP_NORM && k[i - 1] != MIM_STEP_NORM)
        return k[i] == MIM_STEP_POOL && k[i + 2] == MIM_STEP_HEAD;
    return i + 2 == n && k[i] == MIM_STEP_POOL && k[i + 1] == MIM_STEP_HEAD;
}

static void test_grammar(void)
{
    const uint32_t n = header()->step_count;
    mim_blob_step old[16];
    uint32_t i, trial, right = 0;
    group("steps: only in the documented order");
    memcpy(old, step(0), n * sizeof *old);
    for (trial = 0; trial < 20000; trial++) {
        uint16_t kinds[16];
        mim_model model;
        mim_status status;
        for (i = n - 1; i > 0; i--) {       /* a permutation; often of a few only */
            const uint32_t j = between(trial % 4 ? (i > 2 ? i - 2 : 0) : 0, i);
            const mim_blob_step s = *step(i);
            *step(i) = *step(j);
            *step(j) = s;
        }
        if (trial % 5 == 0)
            *step(between(0, n - 1)) = *step(between(0, n - 1));
        header()->depth = 0;
        for (i = 0; i < n; i++)
            kinds[i] = step(i)->kind, header()->depth += step(i)->flags;
        status = open_now(&model);
        CHECK_THAT((status == MIM_OK) == grammatical(kinds, n), "order %u %u %u %u %u %u %u %u: status %d", kinds[0], kinds[1], kinds[2],
                   kinds[3], kinds[4], kinds[5], kinds[6], kinds[7], (int)status);
        CHECK(status == MIM_OK || status == MIM_ERR_STEP || status == MIM_ERR_HEADER);
        right += status == MIM_OK;
        memcpy(step(0), old, n * sizeof *old);
    }
    CHECK(right > 50);
}

/* ---- the call itself ---- */

static void test_open(void)
{
    mim_model model;
    uint8_t *moved;
    void *memory;
    size_t i;
    group("mim_open: arguments and alignment");
    CHECK(mim_open(NULL, blob, bytes) == MIM_ERR_ARGUMENT);
    CHECK(mim_open(&model, NULL, bytes) == MIM_ERR_ARGUMENT && model.header == NULL);
    CHECK(mim_verify(NULL) == MIM_ERR_ARGUMENT && mim_verify(&model) == MIM_ERR_ARGUMENT);
    if (posix_memalign(&memory, 64, bytes + 64))
        perror("posix_memalign"), exit(2);
    for (i = 0; i < 64; i++) {
        moved = (uint8_t *)memmove((uint8_t *)memory + i, blob, bytes);
        CHECK(mim_open(&model, moved, bytes) == (i % 16 ? MIM_ERR_ALIGNMENT : MIM_OK));
        if (i % 16 == 0)
            CHECK(mim_verify(&model) == MIM_OK);
    }
    free(memory);
    CHECK(mim_open(&model, blob, bytes + 1) == MIM_ERR_HEADER);
    group("checksum");
    {
        uint8_t pattern[523];
        for (i = 0; i < sizeof pattern; i++)
            pattern[i] = (uint8_t)(i * 7 + (i >> 3));
        CHECK(mim_checksum(pattern, sizeof pattern) == 0xd3e5aaa306bbe97bu);       /* computed elsewhere */
    }
}

static void test_truncation(void)
{
    size_t n;
    group("truncation at every byte");
    for (n = 0; n < bytes; n++) {
        uint8_t *exact = (uint8_t *)malloc(n ? n : 1), *edge = (uint8_t *)guard_high(&at_end, n, 16);
        const uint64_t claimed = n;
        mim_model model;
        mim_status status;
        memcpy(exact, blob, n);
        memcpy(edge, blob, n);
        status = mim_open(&model, exact, n);
        CHECK_THAT(status == MIM_ERR_TRUNCATED && model.fault_at <= bytes, "%d of %d bytes: status %d", (int)n, (int)bytes, (int)status);
        CHECK(mim_open(&model, edge, n) == status);
        if (n >= 24) {              /* a header that says so itself */
            memcpy(exact + offsetof(mim_blob_header, bytes), &claimed, 8);
            status = mim_open(&model, exact, n);
            CHECK_THAT(status == MIM_ERR_TRUNCATED || status == MIM_ERR_LAYOUT, "%d of %d bytes, claimed: status %d", (int)n, (int)bytes,
                       (int)status);
            memcpy(edge + offsetof(mim_blob_header, bytes), &claimed, 8);
            CHECK(mim_open(&model, edge, n) == status);
        }
        free(exact);
    }
}

static void test_verify(uint32_t type, int fours)
{
    static const char *const name[] = { "", "mim_verify: f32", "mim_verify: f16", "mim_verify: q8", "mim_verify: q4" };
    const float bad[3] = { NAN, INFINITY, -INFINITY };
    mim_model model;
    uint32_t i, j, v;
    group(fours ? "mim_verify: fours" : name[type]);
    CHECK(open_now(&model) == MIM_OK && mim_verify(&model) == MIM_OK);
    for (i = 0; i < header()->tensor_count; i++) {
        const mim_blob_tensor t = *tensor(i);
        const size_t size = (size_t)mim_tensor_bytes(&t), n = (t.rows + 15) / 16 * 16;
        const size_t floats = t.layout == MIM_PLAIN || t.type == MIM_F32 ? 0 : size - n * (t.type >= MIM_Q8 ? 12 : 8);
        for (j = 0; j < 60; j++) {
            const size_t at = (size_t)t.at + (floats + (j < 20 ? j * 4 : (size_t)between(0, (uint32_t)((size - floats) / 4 - 1)) * 4));
            const int is_sum = t.layout == MIM_PANEL16 && t.type >= MIM_Q8 && at >= t.at + floats + n * 4 && at < t.at + floats + n * 8;
            uint8_t old[4];
            if (at + 4 > t.at + size)
                continue;
            memcpy(old, blob + at, 4);
            memcpy(blob + at, &bad[j % 3], 4);
            header()->checksum = mim_checksum(blob, bytes);
            CHECK(open_now(&model) == MIM_OK);
            if (is_sum)
                CHECK(mim_verify(&model) == MIM_OK);
            else
                CHECK_THAT(mim_verify(&model) == MIM_ERR_RANGE && model.fault_at == at && model.fault[0], "tensor %u at %d", i, (int)at);
            memcpy(blob + at, old, 4);
        }
        for (j = 0; j < 6 && t.layout == MIM_PANEL16 && t.type != MIM_F32 && t.type != MIM_Q4; j++) {
            const size_t unit = t.type == MIM_F16 ? 2 : 1, at = (size_t)t.at + between(0, (uint32_t)(floats / unit - 1)) * unit;
            const uint16_t half = j & 1 ? 0x7c00 : 0xfe01;
            const uint8_t byte = (uint8_t)(j & 1 ? t.weight_max + 1 : -t.weight_max - 1);
            uint8_t old[2];
            memcpy(old, blob + at, unit);
            memcpy(blob + at, unit == 2 ? (const void *)&half : &byte, unit);
            header()->checksum = mim_checksum(blob, bytes);
            CHECK(open_now(&model) == MIM_OK);
            CHECK_THAT(mim_verify(&model) == MIM_ERR_RANGE && model.fault_at == at, "tensor %u weight at %d", i, (int)at);
            if (t.weight_max == 63 && j == 0)       /* what the kernels rely on: -64..63 */
                for (v = 0; v < 256; v++) {
                    mim_session s;
                    mim_memory memory;
                    blob[at] = (uint8_t)v;
                    CHECK(open_now(&model) == MIM_OK && mim_plan(&model, NULL, &memory) == MIM_OK);
                    memory.base = guard_high(&arena, memory.bytes, 16);
                    CHECK_THAT(mim_begin(&s, &model, NULL, &memory) == ((int8_t)v >= -64 && (int8_t)v <= 63 ? MIM_OK : MIM_ERR_RANGE),
                               "mim_begin with a weight of %d", (int8_t)v);
                }
            memcpy(blob + at, old, unit);
        }
        for (j = 0; j < 16 && t.fours; j++) {                     /* 128 or 129, above 0 or below */
            const size_t block = (size_t)t.at + between(0, (uint32_t)(floats / 128 - 1)) * 128, at = block + between(0, 31) * 2;
            uint8_t *const four[4] = { blob + at, blob + at + 1, blob + at + 64, blob + at + 65 }, old[4] = { *four[0], *four[1], *four[2], *four[3] };
            const int sign = j & 1 ? -1 : 1, over = j >> 1 & 1;
            mim_session s;
            mim_memory memory;
            for (v = 0; v < 4; v++)
                *four[v] = (uint8_t)(sign * (v == j / 4 ? 127 : v == (j / 4 + 1) % 4 ? 1 + over : v == (j / 4 + 2) % 4 ? -100 : 0));
            header()->checksum = mim_checksum(blob, bytes);
            CHECK(open_now(&model) == MIM_OK && mim_plan(&model, NULL, &memory) == MIM_OK);
            memory.base = guard_high(&arena, memory.bytes, 16);
            CHECK_THAT(mim_begin(&s, &model, NULL, &memory) == (over && MIMP_FOURS ? MIM_ERR_RANGE : MIM_OK), "mim_begin with fours of %d", sign * (128 + over));
            CHECK_THAT(mim_verify(&model) == (over ? MIM_ERR_RANGE : MIM_OK) && (!over || model.fault_at == block), "fours in tensor %u at %d", i,
                       (int)block);
            for (v = 0; v < 4; v++)
                *four[v] = old[v];
        }
    }
    header()->checksum = mim_checksum(blob, bytes);
}

/* ---- every byte ---- */

static uint32_t kernel[MIMP_TABLE];     /* what this machine has beside the portable ones, best first */
static size_t kernels;
static float planes[1 << 15];
static uint8_t pixels[1 << 15];

/* Runs what mim_open accepted, if it is small enough, in the least memory: on the portable kernels, and on `others` of the
 * machine's, which must agree if the blob is quantized. Returns whether it ran. */
static int run_model_on(const mim_model *model, size_t others)
{
    const mim_blob_header *h = model->header;
    const size_t size = (size_t)h->image_height * h->image_width * h->channels;
    const setting how = { 0, 0, 0xff };
    mim_session_desc desc;
    mim_image image;
    mim_status status;
    size_t i;
    if (size > sizeof pixels || (h->image_height / h->patch_height) * (h->image_width / h->patch_width) > 48)
        return 0;
    memset(&desc, 0, sizeof desc);
    memset(&image, 0, sizeof image);
    desc.decoder = h->decoder_dim != 0;
    desc.cpu = MIM_CPU_SCALAR;
    image.width = h->image_width;
    image.height = h->image_height;
    image.exact = 1;
    image.format = h->channels == 3 ? MIM_RGB8 : h->channels == 1 ? MIM_GRAY8 : MIM_PLANES;
    image.pixels = image.format == MIM_PLANES ? (const void *)planes : pixels;
    status = run_model(&out[0], &arena, model, &desc, &image, how);
    CHECK_THAT(status == MIM_OK || (h->type >= MIM_Q8 && status == MIM_ERR_RANGE), "status %d", (int)status);
    CHECK(status || results_whole(&out[0]));
    for (i = 0; i < kernels && i < others; i++) {
        desc.cpu = kernel[i];
        CHECK(run_model(&out[1], &arena, model, &desc, &image, how) == status);
        if (status)
            continue;
        CHECK_THAT(results_whole(&out[1]), "%s: results incomplete, or written beyond", mim_cpu_name(kernel[i]));
        if (h->type >= MIM_Q8)
            CHECK_THAT(memcmp(out[0].values, out[1].values, out[0].count * 4) == 0, "%s differs", mim_cpu_name(kernel[i]));
    }
    return status == MIM_OK;
}

/* Steps with everything that a block can have. */
static void test_blocks(void)
{
    spec p = spec_small(MIM_Q8);
    p.bias = MIM_BIAS_LINEAR, p.rotary = MIM_ROTARY_PAIRS, p.rotary_grid = MIM_GRID_SCALED, p.gated = p.inner_norms = 1;
    p.gelu = MIM_SILU;
    load(&p);
    group("steps: relative bias, rotary embedding, gates, inner norms");
    STEP(MIM_STEP_ATTENTION, rule, uint32_t, MIM_BIAS_NONE, MIM_ERR_STEP);
    STEP(MIM_STEP_ATTENTION, rule, uint32_t, MIM_BIAS_GEOMETRIC, MIM_OK);
    STEP(MIM_STEP_ATTENTION, rule, uint32_t, MIM_BIAS_CROP, MIM_OK);
    STEP(MIM_STEP_ATTENTION, rule, uint32_t, MIM_BIAS_CROP + 1, MIM_ERR_STEP);
    STEP(MIM_STEP_ATTENTION, rotary, uint8_t, MIM_ROTARY_NONE, MIM_ERR_STEP);
    STEP(MIM_STEP_ATTENTION, rotary, uint8_t, MIM_ROTARY_HALVES, MIM_OK);
    STEP(MIM_STEP_ATTENTION, rotary, uint8_t, MIM_ROTARY_HALVES + 1, MIM_ERR_STEP);
    STEP(MIM_STEP_ATTENTION, rotary_grid, uint8_t, 0, MIM_ERR_STEP);
    STEP(MIM_STEP_ATTENTION, rotary_grid, uint8_t, MIM_GRID_CENTERED, MIM_OK);
    STEP(MIM_STEP_ATTENTION, rotary_grid, uint8_t, MIM_GRID_CENTERED + 1, MIM_ERR_STEP);
    STEP(MIM_STEP_ATTENTION, stored_height, uint32_t, 0, MIM_ERR_STEP);
    STEP(MIM_STEP_ATTENTION, stored_width, uint32_t, 0, MIM_ERR_STEP);
    STEP(MIM_STEP_ATTENTION, stored_height, uint32_t, 4097, MIM_ERR_STEP);
    STEP(MIM_STEP_ATTENTION, stored_width, uint32_t, 0xffffffff, MIM_ERR_STEP);
    STEP(MIM_STEP_MLP, flags, uint16_t, MIM_STEP_TAP | MIM_STEP_GATED | MIM_STEP_ADD_QUERY, MIM_ERR_STEP);
    step(find(MIM_STEP_MLP))->flags = MIM_STEP_TAP;       /* not gated: fc1 then has too many rows */
    expect(0, blob, 1, MIM_ERR_TENSOR, sizeof(mim_blob_header), bytes, "gate");
    step(find(MIM_STEP_MLP))->flags = MIM_STEP_TAP | MIM_STEP_GATED;
}

static void test_bytes(uint32_t type, uint32_t stride, int extras)
{
    static const char *const name[] = { "", "every byte changed: f32", "every byte changed: f16", "every byte changed: q8", "every byte changed: q4",
                                        "every byte changed: f32 with bias, rotary and gate", "", "every byte changed: q8 with bias, rotary and gate" };
    static const uint8_t flips[] = { 0x80, 0x40, 0x7f };
    size_t i, structure;
    uint32_t runs = 0, opened = 0;
    mim_model model;
    uint8_t *b;
    spec p = spec_small(type);
    p.patch_height = p.patch_width = 2;
    p.grid_height = p.grid_width = p.stored_height = p.stored_width = 2;
    p.dim = 16, p.blocks = 1, p.heads = 1, p.head_dim = 16, p.hidden = 16, p.classes = 3, p.edge = 5;
    p.weight_max = 127;
    if (extras) {
        p.bias = MIM_BIAS_LINEAR, p.rotary = MIM_ROTARY_HALVES, p.rotary_grid = MIM_GRID_SCALED, p.gated = p.inner_norms = 1;
        p.gelu = MIM_SILU;
    }
    load(&p);
    structure = (size_t)((uint8_t *)tensor(header()->tensor_count) - blob);
    b = (uint8_t *)memcpy(guard_high(&at_end, bytes, 16), blob, bytes);
    group(name[type + (extras ? 4 : 0)]);
    CHECK(mim_open(&model, b, bytes) == MIM_OK && mim_verify(&model) == MIM_OK && run_model_on(&model, kernels));
    for (i = 0; i < bytes; i += stride) {
        const uint8_t old = b[i];
        uint32_t v, values = i < structure ? 255 : 2;
        for (v = 0; v < values; v++) {
            b[i] = i < structure ? (uint8_t)(old + 1 + v) : (uint8_t)(old ^ flips[(i + v) % 3]);
            if (mim_open(&model, b, bytes) == MIM_OK) {
                opened++;
                CHECK_THAT(mim_verify(&model) == MIM_ERR_CHECKSUM, "byte %d from %02x to %02x", (int)i, old, b[i]);
                /* in the structure: every value on the portable kernels where these are the oracle, else every fourth */
                if (mim_open(&model, b, bytes) == MIM_OK && (i >= structure || type >= MIM_Q8 || v % 4 == i % 4))
                    runs += (uint32_t)run_model_on(&model, i < structure && v % 16 != i % 16 ? 0 : type >= MIM_Q8 ? kernels : 1);
            } else
                CHECK_THAT(model.fault_at <= bytes && model.fault && !model.header, "byte %d from %02x to %02x", (int)i, old, b[i]);
        }
        b[i] = old;
    }
    CHECK_THAT(opened > (bytes - structure) / stride && runs > (bytes - structure) / stride / 2, "only %u opened, %u ran", opened, runs);
    CHECK(mim_open(&model, b, bytes) == MIM_OK && mim_verify(&model) == MIM_OK);
}

int main(void)
{
    const char *text = getenv("MIM_TEST_STRIDE");
    const uint32_t stride = text && atoi(text) > 1 ? (uint32_t)atoi(text) : 1;
    mim_model model;
    spec p;
    uint32_t type;
    size_t i;
    for (i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)any32(), planes[i] = uniform(-2, 2);
    for (i = 0; i < MIMP_TABLE; i++)
        if (mimp_table[i]->cpu != MIM_CPU_SCALAR && mimp_available(mimp_table[i]->cpu))
            kernel[kernels++] = mimp_table[i]->cpu;
    p = spec_full(MIM_F32);
    load(&p);
    if (!mimp_little_endian()) {
        group("a big-endian machine refuses blobs by their own status");
        CHECK(open_now(&model) == MIM_ERR_ENDIAN);
        return finish();
    }
    group("the builder's blobs are valid");
    for (i = 0; i < 300; i++) {
        p = i % 2 ? spec_random(1 + (uint32_t)i % 4) : spec_random_block(1 + (uint32_t)i % 4);
        load(&p);
        CHECK_THAT(open_now(&model) == MIM_OK && mim_verify(&model) == MIM_OK, "%s at %d", model.fault, (int)model.fault_at);
    }
    p = spec_full(MIM_F32);
    load(&p);
    test_header();
    test_texts();
    test_tensors();
    test_padding();
    test_tensor_bytes();
    test_steps();
    test_open();
    test_truncation();
    p = spec_full(MIM_Q8);
    load(&p);
    test_tensors();
    test_steps();
    p = spec_full(MIM_Q4);
    load(&p);
    test_tensors();
    test_steps();
    p = spec_small(MIM_F32);
    load(&p);
    test_grammar();
    for (type = MIM_F32; type <= MIM_Q4; type++) {
        p = spec_full(type);
        load(&p);
        test_verify(type, 0);
    }
    p = spec_full(MIM_Q8);
    p.weight_max = 127;
    load(&p);
    test_verify(MIM_Q8, 1);
    test_blocks();
    for (type = MIM_F32; type <= MIM_Q4; type++)
        test_bytes(type, stride, 0);
    test_bytes(MIM_F32, 3 * stride, 1);
    test_bytes(MIM_Q8, 3 * stride, 1);
    free(blob);
    return finish();
}
