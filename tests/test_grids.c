/* test_grids.c - models whose grid changes on the way: windows, merging, thinning, convolutions, videos, groups, tokens. The golden
 * models say that their numbers are right; here, that no setting changes a bit, that nothing beyond the plan is touched, and that
 * damaged blobs are refused or harmless. MIM_TEST_STRIDE=n damages every n-th byte only. */
#include "check.h"
#define MIM_IMPLEMENTATION
#include "../mim.h"
#include "blob_builder.h"
#include "threads.h"

static const char *const kind_name[] = { "Swin", "Hiera", "ViTDet", "MViTv2", "ConvMAE", "Twins", "video", "channel groups", "tokens" };
static const char *const type_name[] = { "", "f32", "f16", "q8", "q4" };

static float planes[1 << 16], coordinates[64];
static guard arena, at_end;
static results one, two;

static mim_image image_of(const mim_model *model, uint32_t *visible, uint32_t units)
{
    mim_image image;
    memset(&image, 0, sizeof image);
    image.format = MIM_PLANES;
    image.height = model->header->image_height;
    image.width = model->header->image_width;
    image.pixels = planes;
    image.coordinates = coordinates;
    if (visible) {
        uint32_t i, n = between(1, units);
        for (i = 0; i < units; i++)
            visible[i] = i;
        for (i = 0; i < n; i++) {
            const uint32_t j = between(i, units - 1), swap = visible[i];
            visible[i] = visible[j];
            visible[j] = swap;
        }
        image.visible = visible;
        image.visible_count = n;
    }
    return image;
}

static double apart(const float *a, const float *b, size_t n)
{
    double difference = 0, size = 1e-12;
    size_t i;
    for (i = 0; i < n; i++)
        difference += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]), size += (double)a[i] * (double)a[i];
    return sqrt(difference / size);
}

/* One model in every setting against the portable one in the least memory. */
static void test_settings(uint32_t kind, uint32_t type)
{
    uint32_t trial, cpu;
    char name[100];
    snprintf(name, sizeof name, "%s, %s: no instruction set, memory or number of threads changes the results", kind_name[kind], type_name[type]);
    group(name);
    for (trial = 0; trial < 16; trial++) {
        size_t bytes;
        uint8_t *blob = blob_grid(kind, type, &bytes);
        const setting least = { 0, 0, 0xff };
        uint32_t visible[128], units;
        mim_session_desc desc;
        mim_memory memory;
        mim_model model;
        mim_image image;
        mim_status status = mim_open(&model, blob, bytes);
        if (!CHECK_THAT(status == MIM_OK, "trial %u: %s at %d", trial, model.fault, (int)model.fault_at))
            return;
        CHECK(mim_verify(&model) == MIM_OK);
        units = model.header->unit_height ? (model.header->image_height / model.header->patch_height / model.header->unit_height)
            * (model.header->image_width / model.header->patch_width / model.header->unit_width)
            * (model.header->frames / model.header->patch_frames * model.header->groups) : 0;
        image = image_of(&model, units && trial % 2 ? visible : NULL, units);
        memset(&desc, 0, sizeof desc);
        desc.cpu = MIM_CPU_SCALAR;
        status = run_model(&one, &arena, &model, &desc, &image, least);
        if (status == MIM_ERR_SIZE) {                        /* windows and tables that do not fit this grid */
            free(blob);
            continue;
        }
        CHECK_THAT(status == MIM_OK && results_whole(&one), "trial %u: status %d", trial, (int)status);
        CHECK(mim_plan(&model, &desc, &memory) == MIM_OK);
        for (cpu = 0; cpu < MIMP_TABLE; cpu++) {
            uint32_t round;
            desc.cpu = mimp_table[cpu]->cpu;
            if (!mimp_available(desc.cpu))
                continue;
            for (round = 0; round < 3; round++) {
                setting how = { 0, 0, 0 };
                double far;
                desc.threads = round ? between(2, 3) : 1;
                desc.parallel = round ? threads : NULL;
                desc.split = between(0, 1);
                CHECK(mim_plan(&model, &desc, &memory) == MIM_OK);
                how.bytes = round == 2 ? memory.useful : memory.bytes + (round ? between(0, (uint32_t)(memory.useful - memory.bytes)) : 0);
                how.low = (int)round & 1;
                how.dirt = (int)between(0, 255);
                CHECK(run_model(&two, &arena, &model, &desc, &image, how) == MIM_OK && results_whole(&two) && one.count == two.count);
                far = apart(one.values, two.values, one.count);
                CHECK_THAT(type >= MIM_Q8 ? memcmp(one.values, two.values, one.count * 4) == 0 : far < 1e-4, "trial %u, %s: %.2g apart",
                           trial, mimp_table[cpu]->name, far);
            }
            desc.threads = desc.split = 0, desc.parallel = NULL;
        }
        free(blob);
    }
}

/* Every byte of the structure changed, in some ways; what is still accepted must run without touching what is not its own. */
static void test_damage(uint32_t kind, uint32_t type, uint32_t stride)
{
    uint32_t opened = 0, ran = 0;
    size_t bytes, i, structure;
    uint8_t *blob, *b;
    mim_model model;
    char name[80];
    snprintf(name, sizeof name, "%s, %s: every byte of the structure changed", kind_name[kind], type_name[type]);
    group(name);
    blob = blob_grid(kind, type, &bytes);
    b = (uint8_t *)memcpy(guard_high(&at_end, bytes, 16), blob, bytes);
    free(blob);
    if (!CHECK(mim_open(&model, b, bytes) == MIM_OK))
        return;
    structure = sizeof(mim_blob_header) + model.header->step_count * sizeof(mim_blob_step) + model.header->tensor_count * sizeof(mim_blob_tensor);
    for (i = 0; i < structure; i += stride) {
        const uint8_t old = b[i];
        uint32_t v;
        for (v = 0; v < 24; v++) {
            b[i] = (uint8_t)(v < 8 ? old ^ (1u << v) : v < 16 ? v - 8 : any32());
            if (b[i] != old && mim_open(&model, b, bytes) == MIM_OK) {
                const mim_blob_header *h = model.header;
                const setting least = { 0, 0, 0xff };
                mim_session_desc desc;
                mim_memory memory;
                mim_image image = image_of(&model, NULL, 0);
                opened++;
                memset(&desc, 0, sizeof desc);
                if ((uint64_t)h->frames * h->image_height * h->image_width * h->channels > sizeof planes / sizeof *planes
                    || (uint64_t)h->frames * h->coordinates * h->groups > sizeof coordinates / sizeof *coordinates
                    || mim_plan(&model, &desc, &memory) || memory.bytes > 1 << 20)
                    continue;
                if (!h->classes && h->image_height / h->patch_height * (h->image_width / h->patch_width) * h->frames * h->groups * h->dim < 40000) {
                    const mim_status status = run_model(&one, &arena, &model, &desc, &image, least);
                    CHECK_THAT(status == MIM_OK || status == MIM_ERR_RANGE, "byte %d from %02x to %02x: status %d", (int)i, old, b[i], (int)status);
                    CHECK(status || results_whole(&one));
                    ran += status == MIM_OK;
                }
            }
        }
        b[i] = old;
    }
    CHECK_THAT(opened > 20 / stride && ran > 10 / stride, "only %u opened, %u ran", opened, ran);
}

/* What a branch, its join and a convolution of each channel may not be. */
static void test_branches(void)
{
    enum { REDUCE, ATTENTION, MLP, DEPTHWISE, MERGE };
    static const struct { uint32_t step; size_t at; uint32_t bytes, value; } wrong[] = {
#define FIELD(field) offsetof(mim_blob_step, field), sizeof ((mim_blob_step *)0)->field
        { REDUCE, FIELD(flags), MIM_STEP_BRANCH | MIM_STEP_TAP },
        { REDUCE, FIELD(flags), MIM_STEP_BRANCH | MIM_STEP_JOIN },
        { ATTENTION, FIELD(flags), 0 },                 /* nothing joins it */
        { ATTENTION, FIELD(flags), MIM_STEP_JOIN | MIM_STEP_WHOLE },
        { ATTENTION, FIELD(flags), MIM_STEP_JOIN | MIM_STEP_BRANCH },
        { ATTENTION, FIELD(window), MIM_WINDOW_FIXED },
        { ATTENTION, FIELD(thin), MIM_THIN_MAX },
        { ATTENTION, FIELD(thin), MIM_THIN_CONV },
        { ATTENTION, FIELD(rotary), MIM_ROTARY_PAIRS },
        { ATTENTION, FIELD(rule), MIM_BIAS_LINEAR },
        { MLP, FIELD(flags), MIM_STEP_TAP | MIM_STEP_JOIN },
        { MLP, FIELD(flags), MIM_STEP_TAP | MIM_STEP_WHOLE },
        { DEPTHWISE, FIELD(flags), MIM_STEP_WHOLE },
        { DEPTHWISE, FIELD(flags), MIM_STEP_BRANCH },
        { DEPTHWISE, FIELD(stride_height), 2 },
        { DEPTHWISE, FIELD(stride_width), 2 },
        { DEPTHWISE, FIELD(kernel_height), 7 },
        { DEPTHWISE, FIELD(kernel_width), 16 },
        { DEPTHWISE, FIELD(padding_height), 3 },
        { DEPTHWISE, FIELD(tensor), 1 },                /* a norm beside it */
        { MERGE, FIELD(tensor[4]), 1 },
        { MERGE, FIELD(tensor[1]), 0 },
#undef FIELD
    };
    const mim_blob_step *s[5] = { NULL };
    mim_model model;
    size_t bytes, i;
    uint8_t *blob = blob_grid(GRID_TWINS, MIM_Q8, &bytes);
    group("Twins: branches that nothing joins, joins without a branch, convolutions that are half of two kinds");
    if (!CHECK(mim_open(&model, blob, bytes) == MIM_OK))
        return;
    for (i = model.header->step_count; i-- > 0;) {
        const mim_blob_step *step = &model.steps[i];
        const uint32_t conv = step->flags & MIM_STEP_BRANCH ? REDUCE : step->tensor[4] ? DEPTHWISE : MERGE;
        if (step->kind == MIM_STEP_CONV || step->kind == MIM_STEP_MLP || step->flags & MIM_STEP_JOIN)
            s[step->kind == MIM_STEP_CONV ? conv : step->kind == MIM_STEP_MLP ? MLP : ATTENTION] = step;
    }
    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint8_t *at = blob + ((const uint8_t *)s[wrong[i].step] - blob) + wrong[i].at, old[sizeof s[0]->tensor];
        mim_model damaged;
        memcpy(old, at, sizeof old);
        memcpy(at, &wrong[i].value, wrong[i].bytes < 4 ? wrong[i].bytes : wrong[i].at == offsetof(mim_blob_step, tensor) ? 2 : 4);
        CHECK_THAT(mim_open(&damaged, blob, bytes) != MIM_OK && damaged.fault[0], "case %u is accepted", (unsigned)i);
        memcpy(at, old, sizeof old);
    }
    CHECK(mim_open(&model, blob, bytes) == MIM_OK);
    free(blob);
}

int main(void)
{
    const char *text = getenv("MIM_TEST_STRIDE");
    const uint32_t stride = text && atoi(text) > 1 ? (uint32_t)atoi(text) : 1;
    uint32_t kind, type;
    size_t i;
    if (!mimp_little_endian()) {
        skip("grids", "big-endian machine");
        return finish();
    }
    for (i = 0; i < sizeof planes / sizeof *planes; i++)
        planes[i] = uniform(-2, 2);
    for (i = 0; i < sizeof coordinates / sizeof *coordinates; i++)
        coordinates[i] = i % 7 ? uniform(-3, 3) : NAN;
    test_branches();
    for (kind = 0; kind < GRID_KINDS; kind++)
        for (type = MIM_F32; type <= MIM_Q4; type++)
            test_settings(kind, type);
    for (kind = 0; kind < GRID_KINDS; kind++)
        for (i = 0; i < 3; i++)
            test_damage(kind, i == 1 ? MIM_Q8 : i ? MIM_Q4 : MIM_F32, stride);
    return finish();
}
