/* test_api.c - the calls of mim.h: every status, every output against double precision, and what must not change a bit.
 * MIM_TEST_VERBOSE=1 also prints how far from double precision each type came. */
#include "check.h"
#define MIM_IMPLEMENTATION
#include "../mim.h"
#include "blob_builder.h"
#include "threads.h"

static const char *const type_name[] = { "", "f32", "f16", "q8", "q4" };

typedef struct subject { uint8_t *blob; size_t bytes; mim_model model; } subject;

static subject subject_of(spec p)
{
    const uint64_t state = check_state;
    mim_status status;
    subject s;
    s.blob = blob_build(&p, &s.bytes);
    check_state = state;
    status = mim_open(&s.model, s.blob, s.bytes);
    CHECK_THAT(status == MIM_OK, "%s at %d", s.model.fault, (int)s.model.fault_at);
    return s;
}

static float planes[16 * 96 * 96];
static guard arena, arena2;
static results one, two;

static mim_image planes_of(const mim_model *model, const mim_session_desc *desc)
{
    mim_image image;
    memset(&image, 0, sizeof image);
    image.format = MIM_PLANES;
    image.height = desc && desc->height ? desc->height : model->header->image_height;
    image.width = desc && desc->width ? desc->width : model->header->image_width;
    image.pixels = planes;
    return image;
}

static size_t first_difference(const float *a, const float *b, size_t n)
{
    size_t i = 0;
    while (i < n && memcmp(a + i, b + i, 4) == 0)
        i++;
    return i;
}

#define SAME_RESULTS(a, b, ...) \
    do { const size_t at_ = (a).count == (b).count ? first_difference((a).values, (b).values, (a).count) : 0; \
         CHECK_THAT((a).count == (b).count && at_ == (a).count, __VA_ARGS__); } while (0)

/* ---- the reference: a vision transformer in double precision, straight from the blob's documentation ---- */

static double weight(const mim_model *m, uint32_t tensor, uint32_t row, uint32_t column)
{
    const mim_blob_tensor *t = &m->tensors[tensor - 1];
    const uint8_t *at = (const uint8_t *)m->header + t->at;
    const size_t n = (t->rows + 15) / 16 * 16, k = (t->columns + 31) / 32 * 32, panel = row / 16 * k * 16;
    float x, scale;
    uint16_t half;
    if (t->layout == MIM_PLAIN) {
        memcpy(&x, at + ((size_t)row * t->columns + column) * 4, 4);
        return (double)x;
    }
    if (t->type == MIM_Q4) {
        const size_t panel_bytes = k * 8 + (k + t->group - 1) / t->group * 8;
        const uint8_t *p = at + row / 16 * panel_bytes;
        const int half4 = p[column / 8 * 64 + row % 16 * 4 + column % 4] >> (column & 4 ? 4 : 0) & 15;
        memcpy(&scale, at + n / 16 * panel_bytes + (size_t)row * 4, 4);
        return (double)scale * (half4 - 8) * (p[k * 8 + column / t->group * 8 + row % 8] >> (row & 8 ? 4 : 0) & 15);
    }
    if (t->type == MIM_F32) {
        memcpy(&x, at + (panel + (size_t)column * 16 + row % 16) * 4, 4);
        return (double)x;
    }
    memcpy(&scale, at + n * k * (t->type == MIM_F16 ? 2 : 1) + (size_t)row * 4, 4);
    if (t->type == MIM_Q8)
        return (double)scale * (int8_t)at[panel + column / 4 * 64 + row % 16 * 4 + column % 4];
    memcpy(&half, at + (panel + (size_t)column * 16 + row % 16) * 2, 2);
    x = (float)ldexp(half >> 10 & 31 ? 1024 + (half & 1023) : half & 1023, (half >> 10 & 31 ? half >> 10 & 31 : 1) - 25);
    return (double)scale * (double)(half & 0x8000 ? -x : x);
}

static double bias_of(const mim_model *m, uint32_t tensor, uint32_t row)
{
    const mim_blob_tensor *t = &m->tensors[tensor - 1];
    float x;
    memcpy(&x, (const uint8_t *)m->header + t->at + mim_tensor_bytes(t) - (t->rows + 15) / 16 * 64 + (size_t)row * 4, 4);
    return (double)x;
}

/* y (t, rows) = x (t, columns) through a matrix */
static double *ref_linear(const mim_model *m, uint32_t tensor, const double *x, size_t t)
{
    const uint32_t rows = m->tensors[tensor - 1].rows, columns = m->tensors[tensor - 1].columns;
    double *y = (double *)malloc(t * rows * sizeof *y);
    uint32_t r, c;
    size_t i;
    for (r = 0; r < rows; r++)
        for (i = 0; i < t; i++)
            y[i * rows + r] = bias_of(m, tensor, r);
    for (r = 0; r < rows; r++)
        for (c = 0; c < columns; c++) {
            const double w = weight(m, tensor, r, c);
            for (i = 0; i < t; i++)
                y[i * rows + r] += w * x[i * columns + c];
        }
    return y;
}

static double *ref_norm(const mim_model *m, uint32_t tensor, const double *x, size_t t, size_t d, double eps)
{
    double *y = (double *)malloc(t * d * sizeof *y);
    size_t i, j;
    for (i = 0; i < t; i++) {
        double mean = 0, variance = 0;
        for (j = 0; j < d; j++)
            mean += x[i * d + j] / (double)d;
        for (j = 0; j < d; j++)
            variance += (x[i * d + j] - mean) * (x[i * d + j] - mean) / (double)d;
        for (j = 0; j < d; j++)
            y[i * d + j] = (x[i * d + j] - mean) / sqrt(variance + eps) * weight(m, tensor, 0, (uint32_t)j) + weight(m, tensor, 1, (uint32_t)j);
    }
    return y;
}

static double ref_act(double x, uint32_t rule)
{
    return rule == MIM_GELU_ERF ? 0.5 * x * erfc(-x * 0.70710678118654752)
        : rule == MIM_GELU_TANH ? x / (1 + exp(-1.5957691216057308 * (x + 0.044715 * x * x * x)))
        : x / (1 + exp((rule == MIM_SILU ? -1 : -1.702) * x));
}

/* Where tokens stand: `prefix` without a place, then patches on a grid of height x width. */
typedef struct places { const uint32_t *patch; size_t prefix; uint32_t height, width; } places;

/* The bias of query i against key j. */
static double ref_bias(const mim_model *m, const mim_blob_step *s, const places *at, uint32_t head, size_t i, size_t j)
{
    const uint32_t last = s->tensor[3] ? m->tensors[s->tensor[3] - 1].columns - 1 : 0;
    uint32_t qi, kj;
    if (!s->tensor[3])
        return 0;
    if (i < at->prefix || j < at->prefix)
        return weight(m, s->tensor[3], head, i >= at->prefix ? last - 1 : j >= at->prefix ? last - 2 : last);
    qi = at->patch[i - at->prefix], kj = at->patch[j - at->prefix];
    return weight(m, s->tensor[3], head, (qi / at->width + at->height - 1 - kj / at->width) * (2 * at->width - 1)
                                         + qi % at->width + at->width - 1 - kj % at->width);
}

static void ref_rotate(const mim_model *m, const mim_blob_step *s, const places *at, size_t token, double *x)
{
    const uint32_t half = s->head_dim / 2, patch = token < at->prefix ? 0 : at->patch[token - at->prefix];
    double place[4] = { 0, patch / at->width, patch % at->width, 0 };
    uint32_t i;
    if (!s->tensor[4] || token < at->prefix)
        return;
    if (s->rotary_grid == MIM_GRID_SCALED)
        place[1] *= (double)s->stored_height / at->height, place[2] *= (double)s->stored_width / at->width;
    if (s->rotary_grid == MIM_GRID_CENTERED)
        place[1] = (2 * place[1] + 1) / at->height - 1, place[2] = (2 * place[2] + 1) / at->width - 1;
    for (i = 0; i < half; i++) {
        const uint32_t c = s->rotary == MIM_ROTARY_PAIRS ? 2 * i : i, d = s->rotary == MIM_ROTARY_PAIRS ? c + 1 : c + half;
        const double angle_c = weight(m, s->tensor[4], 0, c) * place[(int)weight(m, s->tensor[4], 1, c)];
        const double angle_d = weight(m, s->tensor[4], 0, d) * place[(int)weight(m, s->tensor[4], 1, d)];
        const double u = x[c], v = x[d];
        x[c] = u * cos(angle_c) - v * sin(angle_c);
        x[d] = v * cos(angle_d) + u * sin(angle_d);
    }
}

static void ref_attention(const mim_model *m, const mim_blob_step *s, const places *at, double *x, size_t t, size_t d, double *attention)
{
    const size_t p = (s->head_dim + 15) / 16 * 16, inner = s->heads * p, outer = (size_t)s->heads * s->head_dim;
    double *y = ref_norm(m, s->tensor[0], x, t, d, (double)s->eps), *qkv = ref_linear(m, s->tensor[1], y, t), *z;
    double *o = (double *)calloc(t * outer, sizeof *o), *a = (double *)malloc(t * sizeof *a);
    uint32_t h;
    size_t i, j, k;
    for (h = 0; h < s->heads; h++) {
        for (i = 0; i < t; i++) {
            ref_rotate(m, s, at, i, qkv + i * inner * 3 + h * 3 * p);
            ref_rotate(m, s, at, i, qkv + i * inner * 3 + h * 3 * p + p);
        }
        for (i = 0; i < t; i++) {
            double sum = 0, top = -HUGE_VAL;
            for (j = 0; j < t; j++) {
                a[j] = 0;
                for (k = 0; k < s->head_dim; k++)
                    a[j] += qkv[i * inner * 3 + h * 3 * p + k] * qkv[j * inner * 3 + h * 3 * p + p + k];
                a[j] = a[j] * (double)s->scale + ref_bias(m, s, at, h, i, j);
                top = fmax(top, a[j]);
            }
            for (j = 0; j < t; j++)
                sum += a[j] = exp(a[j] - top);
            for (j = 0; j < t; j++) {
                a[j] /= sum;
                if (attention)
                    attention[(h * t + i) * t + j] = a[j];
                for (k = 0; k < s->head_dim; k++)
                    o[i * outer + h * s->head_dim + k] += a[j] * qkv[j * inner * 3 + h * 3 * p + 2 * p + k];
            }
        }
    }
    if (s->tensor[5]) {
        free(y);
        y = ref_norm(m, s->tensor[5], o, t, outer, (double)s->eps);
    }
    z = ref_linear(m, s->tensor[2], s->tensor[5] ? y : o, t);
    for (i = 0; i < t * d; i++)
        x[i] += z[i];
    free(y), free(qkv), free(o), free(a), free(z);
}

static void ref_mlp(const mim_model *m, const mim_blob_step *s, double *x, size_t t, size_t d)
{
    const uint32_t rows = m->tensors[s->tensor[1] - 1].rows, hidden = m->tensors[s->tensor[2] - 1].columns;
    double *y = ref_norm(m, s->tensor[0], x, t, d, (double)s->eps), *f = ref_linear(m, s->tensor[1], y, t), *z;
    double *h = (double *)malloc(t * hidden * sizeof *h);
    size_t i, j;
    for (i = 0; i < t; i++)
        for (j = 0; j < hidden; j++)
            h[i * hidden + j] = ref_act(f[i * rows + j], s->activation) * (s->flags & MIM_STEP_GATED ? f[i * rows + rows / 2 + j] : 1);
    if (s->tensor[3]) {
        free(y);
        y = ref_norm(m, s->tensor[3], h, t, hidden, (double)s->eps);
    }
    z = ref_linear(m, s->tensor[2], s->tensor[3] ? y : h, t);
    for (i = 0; i < t * d; i++)
        x[i] += z[i];
    free(y), free(f), free(h), free(z);
}

/* Runs the model on the planes as trained and fills r->values, in the caller's order, as run_model does. */
static void reference(results *r, const mim_session *session, const uint32_t *visible, uint32_t n, int decoder)
{
    const mim_model *m = session->model;
    const mim_blob_header *h = m->header;
    const uint32_t gw = h->image_width / h->patch_width, grid = gw * (h->image_height / h->patch_height), prefix = h->has_cls + h->registers;
    const size_t t = prefix + n, pixels = (size_t)h->channels * h->patch_height * h->patch_width;
    size_t d = h->dim, tokens = t, i, j, last = 0;
    double *x = (double *)calloc((prefix + grid) * (d + h->decoder_dim), sizeof *x), *y, *pooled = NULL;
    uint32_t taps = 0, c, py, px, all[64];
    float *features = NULL;
    places at;
    for (c = 0; c < grid; c++)
        all[c] = c;
    at.patch = visible ? visible : all;
    at.prefix = prefix;
    at.height = grid / gw, at.width = gw;
    results_for(r, session, n, decoder);
    for (i = 0; i < h->decoder_step; i++)
        if (m->steps[i].kind == MIM_STEP_ATTENTION)
            last = i;
    for (i = 0; i < h->step_count; i++) {
        const mim_blob_step *s = &m->steps[i];
        switch (s->kind) {
        case MIM_STEP_EMBED: {
            double *patch = (double *)malloc(pixels * sizeof *patch);
            for (j = 0; j < prefix * d; j++)
                x[j] = weight(m, s->tensor[1], (uint32_t)(j / d), (uint32_t)(j % d));
            for (j = 0; j < n; j++) {
                const uint32_t patch_at = at.patch[j];
                size_t k = 0;
                for (c = 0; c < h->channels; c++)
                    for (py = 0; py < h->patch_height; py++)
                        for (px = 0; px < h->patch_width; px++)
                            patch[k++] = (double)planes[((size_t)c * h->image_height + patch_at / gw * h->patch_height + py)
                                                        * h->image_width + patch_at % gw * h->patch_width + px];
                y = ref_linear(m, s->tensor[0], patch, 1);
                for (k = 0; k < d; k++)
                    x[(prefix + j) * d + k] = y[k] + (s->tensor[2] ? weight(m, s->tensor[2], patch_at, (uint32_t)k) : 0);
                free(y);
            }
            free(patch);
            break;
        }
        case MIM_STEP_ATTENTION: {
            double *a = i == last && r->out.attention ? (double *)malloc(s->heads * t * t * sizeof *a) : NULL;
            ref_attention(m, s, &at, x, tokens, d, a);
            for (j = 0; a && j < s->heads * t * t; j++)
                r->out.attention[j] = (float)a[j];
            free(a);
            break;
        }
        case MIM_STEP_MLP:
            ref_mlp(m, s, x, tokens, d);
            break;
        case MIM_STEP_NORM:
            y = ref_norm(m, s->tensor[0], x, tokens, d, (double)s->eps);
            memcpy(x, y, tokens * d * sizeof *x);
            free(y);
            break;
        case MIM_STEP_POOL: {
            const size_t first = s->rule == MIM_POOL_MEAN_ALL ? 0 : prefix, shift = s->rule == MIM_POOL_CLS_MEAN ? d : 0;
            for (j = 0; j < t * d; j++)
                r->out.tokens[j] = (float)x[j];
            for (j = 0; j < d && h->has_cls; j++)
                r->out.cls[j] = (float)x[j];
            for (j = 0; j < h->registers * d; j++)
                r->out.registers[j] = (float)x[h->has_cls * d + j];
            for (j = 0; j < n * d; j++)
                r->out.patches[j] = (float)x[prefix * d + j];
            pooled = (double *)calloc(h->pooled_dim, sizeof *pooled);
            for (j = 0; j < d; j++) {
                size_t k;
                if (s->rule == MIM_POOL_CLS || shift)
                    pooled[j] = x[j];
                for (k = first; k < t && s->rule != MIM_POOL_CLS; k++)
                    pooled[shift + j] += x[k * d + j] / (double)(t - first);
            }
            if (s->tensor[0]) {
                y = ref_norm(m, s->tensor[0], pooled, 1, h->pooled_dim, (double)s->eps);
                free(pooled);
                pooled = y;
            }
            for (j = 0; j < h->pooled_dim; j++)
                r->out.pooled[j] = (float)pooled[j];
            break;
        }
        case MIM_STEP_HEAD:
            y = ref_linear(m, s->tensor[0], pooled, 1);
            for (j = 0; j < h->classes; j++)
                r->out.logits[j] = (float)y[j];
            free(y);
            break;
        case MIM_STEP_UNMASK: {
            double *e = ref_linear(m, s->tensor[0], x, t);
            d = h->decoder_dim;
            tokens = prefix + grid;
            for (j = 0; j < tokens * d; j++)
                x[j] = j < prefix * d ? e[j] : weight(m, s->tensor[1], 0, (uint32_t)(j % d));
            for (j = 0; j < n * d; j++)
                x[(prefix + at.patch[j / d]) * d + j % d] = e[prefix * d + j];
            for (j = 0; j < tokens * d; j++)
                if (j >= prefix * d && s->tensor[3])
                    x[j] += weight(m, s->tensor[3], (uint32_t)(j / d - prefix), (uint32_t)(j % d));
                else if (j < prefix * d && s->tensor[2])
                    x[j] += weight(m, s->tensor[2], (uint32_t)(j / d), (uint32_t)(j % d));
            free(e);
            break;
        }
        case MIM_STEP_PREDICT:
            y = ref_linear(m, s->tensor[0], x + prefix * d, grid);
            for (j = 0; j < grid * pixels && decoder; j++)
                r->prediction[j] = (float)y[j];
            free(y);
            break;
        default: ;
        }
        if (s->flags & MIM_STEP_TAP) {
            features = r->out.layers + taps++ * t * d;
            for (j = 0; j < t * d; j++)
                features[j] = (float)x[j];
        }
    }
    free(x), free(pooled);
}

/* Root mean square of the difference between two outputs, as a share of that of the first. */
static double apart(const float *a, const float *b, size_t n)
{
    double difference = 0, size = 1e-12;
    size_t i;
    for (i = 0; i < n; i++)
        difference += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]), size += (double)a[i] * (double)a[i];
    return sqrt(difference / size);
}

static uint32_t shuffled(uint32_t *list, uint32_t grid, uint32_t n)
{
    uint32_t i;
    for (i = 0; i < grid; i++)
        list[i] = i;
    for (i = 0; i < n; i++) {
        const uint32_t j = between(i, grid - 1), swap = list[i];
        list[i] = list[j];
        list[j] = swap;
    }
    return n;
}

static void test_reference(uint32_t type)
{
    static const double bound[] = { 0, 3e-6, 3e-6, 0.1, 0.1 };
    static double worst[5];
    char name[80];
    uint32_t trial;
    snprintf(name, sizeof name, "%s: every output against double precision, subsets and decoder included", type_name[type]);
    group(name);
    for (trial = 0; trial < 120; trial++) {
        spec p = trial % 2 ? spec_random_block(type) : spec_random(type);
        uint32_t visible[36], i;
        const setting how = { 0, 0, 0xff };
        mim_session_desc desc;
        mim_session prepared;
        mim_image image;
        subject s;
        p.stored_height = p.grid_height, p.stored_width = p.grid_width;
        if (p.rotary_grid == MIM_GRID_SCALED && !p.bias)       /* scaled to another grid; interpolation is for the golden models */
            p.positions = MIM_POSITIONS_NONE, p.stored_height = between(1, 9), p.stored_width = between(1, 9);
        p.dim = between(16, 70), p.decoder_dim = p.decoder_dim ? between(16, 40) : 0;     /* a norm over less is a coin toss */
        p.hidden = between(8, 90), p.head_dim = p.inner_norms ? between(4, 18) * 2 : p.head_dim;
        p.weight_max = 127, p.input_max = 255;
        s = subject_of(p);
        memset(&desc, 0, sizeof desc);
        desc.decoder = p.decoder_dim != 0;
        image = planes_of(&s.model, NULL);
        if (trial % 3) {
            image.visible = visible;
            image.visible_count = shuffled(visible, p.grid_height * p.grid_width, between(1, p.grid_height * p.grid_width));
        }
        CHECK(mimp_prepare(&prepared, &s.model, &desc) == MIM_OK);
        reference(&two, &prepared, image.visible, image.visible ? image.visible_count : p.grid_height * p.grid_width, desc.decoder != 0);
        for (i = 0; i < MIMP_TABLE; i++) {
            const double far = (desc.cpu = mimp_table[i]->cpu, mimp_available(desc.cpu))
                ? (CHECK(run_model(&one, &arena, &s.model, &desc, &image, how) == MIM_OK), apart(two.values, one.values, one.count)) : 0;
            CHECK(!mimp_available(desc.cpu) || results_whole(&one));
            CHECK_THAT(far <= bound[type], "%s, trial %u: %.2g apart", mimp_table[i]->name, trial, far);
            worst[type] = fmax(worst[type], far);
        }
        free(s.blob);
    }
    if (getenv("MIM_TEST_VERBOSE"))
        fprintf(stderr, "%s: at most %.3g apart\n", type_name[type], worst[type]);
}

/* ---- statuses ---- */

static void nothing(void *user, mim_task task, void *arg, uint32_t count) { (void)user, (void)task, (void)arg, (void)count; }

static void test_texts(void)
{
    int i, j;
    group("names: a text for every status, a name for every CPU level of this build");
    for (i = 0; i < MIM_STATUS_COUNT; i++)
        for (CHECK(strlen(mim_status_string((mim_status)i)) > 1), j = 0; j < i; j++)
            CHECK(strcmp(mim_status_string((mim_status)i), mim_status_string((mim_status)j)) != 0);
    CHECK(mim_status_string((mim_status)MIM_STATUS_COUNT) && mim_status_string((mim_status)1000) && mim_status_string((mim_status)-1));
    CHECK(strcmp(mim_cpu_name(MIM_CPU_SCALAR), "scalar") == 0);
    CHECK(!mim_cpu_name(MIM_CPU_BEST) && !mim_cpu_name(MIM_CPU_COUNT) && !mim_cpu_name(0xffffffff));
}

#define PLAN(field, value, status) \
    do { mim_session_desc d_; \
         memset(&d_, 0, sizeof d_); \
         d_.field = value; \
         CHECK_THAT(mim_plan(&s.model, &d_, &need) == status, "%s = %s: %d", #field, #value, (int)mim_plan(&s.model, &d_, &need)); \
         if ((status) != MIM_OK) \
             CHECK(need.bytes == 0 && need.useful == 0 && need.slow_bytes == 0); } while (0)

static void test_plan(void)
{
    subject s = subject_of(spec_small(MIM_F32));
    const mim_model closed = { NULL, NULL, NULL, 0, NULL };
    mim_session_desc desc;
    mim_session session;
    mim_memory need, given;
    uint32_t i;
    spec p = spec_small(MIM_Q8);
    group("mim_plan and mim_begin: every status");
    memset(&desc, 0, sizeof desc);
    CHECK(mim_plan(&s.model, NULL, NULL) == MIM_ERR_ARGUMENT && mim_plan(NULL, NULL, &need) == MIM_ERR_ARGUMENT);
    CHECK(mim_plan(&closed, NULL, &need) == MIM_ERR_ARGUMENT && mim_plan(&s.model, NULL, &need) == MIM_OK && need.bytes <= need.useful);
    PLAN(height, 13, MIM_ERR_SIZE);
    PLAN(height, 3, MIM_ERR_SIZE);
    PLAN(width, 1, MIM_ERR_SIZE);
    PLAN(height, 4, MIM_OK);
    PLAN(width, 16388, MIM_ERR_SIZE);
    PLAN(width, 0xfffffffc, MIM_ERR_SIZE);
    PLAN(width, 16384, MIM_OK);                             /* 3 x 4096 patches */
    desc.height = 7 * 4, desc.width = 16384;                /* 7 x 4096, and CLS */
    CHECK(mim_plan(&s.model, &desc, &need) == MIM_OK);
    desc.height = 8 * 4;
    CHECK(mim_plan(&s.model, &desc, &need) == MIM_ERR_SIZE);
    PLAN(visible_max, 12, MIM_OK);
    PLAN(visible_max, 13, MIM_ERR_VISIBLE);
    PLAN(visible_max, 0xffffffff, MIM_ERR_VISIBLE);
    PLAN(decoder, 1, MIM_ERR_MISSING);
    PLAN(split, 1, MIM_OK);
    PLAN(split, 2, MIM_ERR_ARGUMENT);
    PLAN(source_height, 10, MIM_ERR_ARGUMENT);
    PLAN(source_width, 10, MIM_ERR_ARGUMENT);
    memset(&desc, 0, sizeof desc);
    desc.height = desc.width = 4;
    desc.source_height = desc.source_width = 65535;         /* 6 GB of rows between the two passes */
    CHECK(mim_plan(&s.model, &desc, &need) == (sizeof(size_t) == 4 ? MIM_ERR_LIMIT : MIM_OK));
    desc.source_height = 65536;
    CHECK(mim_plan(&s.model, &desc, &need) == MIM_ERR_ARGUMENT);
    memset(&desc, 0, sizeof desc);
    desc.parallel = nothing;
    desc.threads = MIM_MAX_THREADS + 1;
    CHECK(mim_plan(&s.model, &desc, &need) == MIM_ERR_ARGUMENT);
    desc.threads = MIM_MAX_THREADS;
    CHECK(mim_plan(&s.model, &desc, &need) == MIM_OK);
    for (i = 0; i < MIM_CPU_COUNT + 3; i++) {
        int here = i == MIM_CPU_BEST;
        size_t j;
        for (j = 0; j < MIMP_TABLE; j++)
            here |= mimp_table[j]->cpu == i && mimp_available(i);
        PLAN(cpu, i, (here ? MIM_OK : MIM_ERR_CPU));
    }
    PLAN(cpu, 0xffffffff, MIM_ERR_CPU);
    CHECK(mim_plan(&s.model, NULL, &need) == MIM_OK);
    given = need;
    given.base = guard_high(&arena, need.bytes + 16, 16);
    CHECK(mim_begin(NULL, &s.model, NULL, &given) == MIM_ERR_ARGUMENT && mim_begin(&session, NULL, NULL, &given) == MIM_ERR_ARGUMENT);
    CHECK(mim_begin(&session, &s.model, NULL, NULL) == MIM_ERR_ARGUMENT && session.arena == NULL);
    for (i = 1; i < 16; i++) {
        given.base = arena.piece + i;
        CHECK(mim_begin(&session, &s.model, NULL, &given) == MIM_ERR_ALIGNMENT && !session.model);
    }
    given.base = NULL;
    CHECK(mim_begin(&session, &s.model, NULL, &given) == MIM_ERR_ARGUMENT);
    given.base = arena.piece;
    given.bytes = need.bytes - 1;
    CHECK(mim_begin(&session, &s.model, NULL, &given) == MIM_ERR_MEMORY && !session.model);
    given.bytes = 0;
    CHECK(mim_begin(&session, &s.model, NULL, &given) == MIM_ERR_MEMORY);
    given.bytes = need.bytes;
    CHECK(mim_begin(&session, &s.model, NULL, &given) == MIM_OK && session.arena_bytes == need.bytes && session.tokens == 13
          && session.grid_height == 3 && session.grid_width == 4 && session.prefix == 1 && session.height == 12 && session.width == 16);
    desc.threads = 65;
    CHECK(mim_begin(&session, &s.model, &desc, &given) == MIM_ERR_ARGUMENT);
    memset(&desc, 0, sizeof desc);
    desc.split = 1;
    CHECK(need.slow_bytes == 0 && mim_plan(&s.model, &desc, &given) == MIM_OK && given.slow_bytes > 0 && given.bytes < need.bytes
          && given.bytes + given.slow_bytes >= need.bytes);
    given.base = arena.piece;
    CHECK(mim_begin(&session, &s.model, &desc, &given) == MIM_ERR_ARGUMENT);
    given.slow = (uint8_t *)guard_high(&arena2, given.slow_bytes + 16, 16) + 8;
    CHECK(mim_begin(&session, &s.model, &desc, &given) == MIM_ERR_ALIGNMENT);
    given.slow = arena2.piece;
    CHECK(mim_begin(&session, &s.model, &desc, &given) == MIM_OK && session.arena_bytes == given.bytes);
    given.slow_bytes--;
    CHECK(mim_begin(&session, &s.model, &desc, &given) == MIM_ERR_MEMORY && !session.model);
    given.slow_bytes++, given.bytes--;
    CHECK(mim_begin(&session, &s.model, &desc, &given) == MIM_ERR_MEMORY && !session.model);
    free(s.blob);
    p.positions = MIM_POSITIONS_FIXED;
    s = subject_of(p);
    PLAN(height, 16, MIM_ERR_SIZE);
    PLAN(width, 8, MIM_ERR_SIZE);
    PLAN(height, 12, MIM_OK);
    free(s.blob);
}

static int never(void *user, uint32_t y, void *row) { (void)user, (void)y, (void)row; return 1; }

static void test_encode_statuses(void)
{
    spec p = spec_small(MIM_F32);
    subject s;
    mim_session_desc desc;
    mim_session session, closed;
    mim_memory memory;
    mim_image image;
    mim_output out;
    static float y[4096];
    uint32_t list[14] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13 }, layer[3] = { 1, 2, 3 };
    group("mim_encode and mim_reconstruct: every status");
    s = subject_of(p);
    memset(&desc, 0, sizeof desc);
    desc.source_height = 30, desc.source_width = 40;
    CHECK(mim_plan(&s.model, &desc, &memory) == MIM_OK);
    memory.base = guard_high(&arena, memory.bytes, 16);
    CHECK(mim_begin(&session, &s.model, &desc, &memory) == MIM_OK);
    memset(&closed, 0, sizeof closed);
    memset(&out, 0, sizeof out);
    image = planes_of(&s.model, NULL);
    out.tokens = y;
#define ENCODE(status) CHECK_THAT(mim_encode(&session, &image, &out) == status, "%s: %d", #status, (int)mim_encode(&session, &image, &out))
    ENCODE(MIM_OK);
    CHECK(mim_encode(NULL, &image, &out) == MIM_ERR_ARGUMENT && mim_encode(&closed, &image, &out) == MIM_ERR_ARGUMENT);
    CHECK(mim_encode(&session, NULL, &out) == MIM_ERR_ARGUMENT && mim_encode(&session, &image, NULL) == MIM_ERR_ARGUMENT);
    CHECK(mim_reconstruct(NULL, &image, &out, y) == MIM_ERR_ARGUMENT && mim_reconstruct(&session, &image, &out, NULL) == MIM_ERR_ARGUMENT);
    CHECK(mim_reconstruct(&session, &image, &out, y) == MIM_ERR_MISSING && mim_reconstruct(&closed, &image, &out, y) != MIM_OK);
    for (image.format = 6; image.format; image.format = image.format < 100 ? image.format + 1 : image.format < 200 ? 0xffffffff : 0)
        ENCODE(MIM_ERR_ARGUMENT);
    image.format = MIM_PLANES;
    image.pixels = NULL;
    ENCODE(MIM_ERR_ARGUMENT);
    image.read_row = never;
    ENCODE(MIM_ERR_ABORTED);
    image = planes_of(&s.model, NULL);
    image.width++;
    ENCODE(MIM_ERR_SIZE);
    image.width -= 2;
    ENCODE(MIM_ERR_SIZE);
    image.format = MIM_RGB8;
    image.pixels = memset(planes, 0, 0);
    ENCODE(MIM_OK);                                         /* resized */
    image.exact = 1;
    ENCODE(MIM_ERR_SIZE);
    image.width++;
    ENCODE(MIM_OK);
    image.exact = 0;
    image.width = 0;
    ENCODE(MIM_ERR_SIZE);
    image.width = 41;
    ENCODE(MIM_ERR_MEMORY);
    image.width = 40, image.height = 31;
    ENCODE(MIM_ERR_MEMORY);
    image.height = 0xffffffff;
    ENCODE(MIM_ERR_MEMORY);
    image = planes_of(&s.model, NULL);
    image.visible = list;
    ENCODE(MIM_ERR_VISIBLE);                                /* none */
    image.visible_count = 13;
    ENCODE(MIM_ERR_VISIBLE);
    image.visible_count = 0xffffffff;
    ENCODE(MIM_ERR_VISIBLE);
    image.visible_count = 12;
    ENCODE(MIM_OK);
    list[5] = 12;
    ENCODE(MIM_ERR_VISIBLE);
    list[5] = 0xffffffff;
    ENCODE(MIM_ERR_VISIBLE);
    list[5] = 11;
    ENCODE(MIM_ERR_VISIBLE);                                /* twice */
    image.visible_count = 11;
    ENCODE(MIM_OK);
    image.visible = NULL;
    out.registers = y;
    ENCODE(MIM_ERR_MISSING);
    out.registers = NULL;
    out.layers = y;
    ENCODE(MIM_ERR_ARGUMENT);
    out.layer = layer;
    ENCODE(MIM_ERR_ARGUMENT);
    out.layer_count = 3;
    ENCODE(MIM_ERR_ARGUMENT);                               /* there are two */
    out.layer_count = 2;
    ENCODE(MIM_OK);
    layer[1] = 1;
    ENCODE(MIM_ERR_ARGUMENT);
    layer[0] = 2;
    ENCODE(MIM_ERR_ARGUMENT);
    layer[0] = 0, layer[1] = 2;
    ENCODE(MIM_ERR_ARGUMENT);
    layer[0] = 1, layer[1] = 0xffffffff;
    ENCODE(MIM_ERR_ARGUMENT);
    free(s.blob);
    p.cls = 0, p.pool = MIM_POOL_MEAN_ALL, p.classes = 0, p.blocks = 0, p.channels = 4;
    s = subject_of(p);
    desc.visible_max = 11;
    CHECK(mim_plan(&s.model, &desc, &memory) == MIM_OK);
    memory.base = guard_high(&arena, memory.bytes, 16);
    CHECK(mim_begin(&session, &s.model, &desc, &memory) == MIM_OK);
    image = planes_of(&s.model, NULL);
    memset(&out, 0, sizeof out);
    out.tokens = y;
    ENCODE(MIM_ERR_VISIBLE);                                /* all of them, in a session for 11 */
    image.visible = list;
    image.visible_count = 12;
    ENCODE(MIM_ERR_VISIBLE);
    image.visible_count = 3;
    ENCODE(MIM_OK);
    image.format = MIM_RGB8;
    ENCODE(MIM_ERR_FORMAT);
    image.format = MIM_GRAY8;
    ENCODE(MIM_ERR_FORMAT);
    image.format = MIM_PLANES;
    out.cls = y;
    ENCODE(MIM_ERR_MISSING);
    out.cls = NULL, out.logits = y;
    ENCODE(MIM_ERR_MISSING);
    out.logits = NULL, out.attention = y;
    ENCODE(MIM_ERR_MISSING);
    free(s.blob);
    /* a picture so narrow that its resized size is beyond 32 bits */
    p = spec_small(MIM_F32);
    p.edge = MIM_MAX_IMAGE;
    s = subject_of(p);
    memset(&desc, 0, sizeof desc);
    desc.source_height = 65535, desc.source_width = 1;
    desc.height = 48, desc.width = 64;
    CHECK(mim_plan(&s.model, &desc, &memory) == MIM_OK);
    memory.base = guard_high(&arena, memory.bytes, 16);
    CHECK(mim_begin(&session, &s.model, &desc, &memory) == MIM_OK);
    image.format = MIM_GRAY8, image.width = 1, image.height = 65535, image.visible = NULL;
    memset(&out, 0, sizeof out);
    out.pooled = y;
    ENCODE(MIM_ERR_SIZE);
    image.height = 1;
    ENCODE(MIM_OK);
    CHECK(guard_intact(&arena));
    free(s.blob);
}

typedef struct watch { uint32_t stop, done, calls, total, wrong; } watch;

static int progress(void *user, uint32_t done, uint32_t total)
{
    watch *w = (watch *)user;
    w->calls++;
    w->wrong |= done != w->calls || done > total || (w->total && w->total != total);
    w->total = total;
    return done == w->stop;
}

static void test_progress(void)
{
    spec p = spec_small(MIM_Q8);
    subject s;
    mim_session_desc desc;
    mim_image image;
    watch w;
    const setting how = { 0, 0, 0 };
    uint32_t i;
    group("progress: called after every step, and aborts");
    p.decoder_dim = 20, p.decoder_blocks = 1, p.decoder_heads = 1, p.decoder_head_dim = 20, p.decoder_hidden = 10;
    s = subject_of(p);
    memset(&desc, 0, sizeof desc);
    desc.progress = progress;
    desc.user = &w;
    image = planes_of(&s.model, NULL);
    for (desc.decoder = 0; desc.decoder < 2; desc.decoder++) {
        const uint32_t steps = desc.decoder ? s.model.header->step_count : s.model.header->decoder_step;
        for (i = 0; i <= steps; i++) {
            memset(&w, 0, sizeof w);
            w.stop = i;
            CHECK(run_model(&one, &arena, &s.model, &desc, &image, how) == (i ? MIM_ERR_ABORTED : MIM_OK));
            CHECK_THAT(!w.wrong && w.total == steps && w.calls == (i ? i : steps), "%u calls of %u, stopped at %u", w.calls, steps, i);
        }
    }
    free(s.blob);
}

/* ---- outputs ---- */

static void test_outputs(uint32_t type)
{
    char name[80];
    uint32_t trial;
    snprintf(name, sizeof name, "%s: outputs agree with each other, alone and together", type_name[type]);
    group(name);
    for (trial = 0; trial < 100; trial++) {
        spec p = trial % 2 ? spec_random_block(type) : spec_random(type);
        subject s = subject_of(p);
        const mim_blob_header *h = s.model.header;
        const size_t d = h->dim, prefix = h->has_cls + h->registers;
        const uint32_t grid = p.grid_height * p.grid_width;
        const setting how = { 0, (int)trial & 1, 0xff };
        uint32_t visible[36], i, j;
        mim_session_desc desc;
        mim_image image = planes_of(&s.model, NULL);
        mim_output *o = &one.out, single;
        size_t t, k;
        guard small = { NULL, NULL, NULL, 0 };
        mim_session session;
        mim_memory memory;
        memset(&desc, 0, sizeof desc);
        desc.decoder = between(0, 1) && p.decoder_dim;
        if (between(0, 1)) {
            image.visible = visible;
            image.visible_count = shuffled(visible, grid, between(1, grid));
        }
        t = prefix + (image.visible ? image.visible_count : grid);
        CHECK(run_model(&one, &arena, &s.model, &desc, &image, how) == MIM_OK && results_whole(&one));
        for (k = 0; k < one.count; k++)
            CHECK_THAT(isfinite(one.values[k]), "output [%d] is not finite", (int)k);
        if (o->cls)
            CHECK(memcmp(o->cls, o->tokens, d * 4) == 0);
        if (o->registers)
            CHECK(memcmp(o->registers, o->tokens + h->has_cls * d, h->registers * d * 4) == 0);
        CHECK(memcmp(o->patches, o->tokens + prefix * d, (t - prefix) * d * 4) == 0);
        if (o->layers && !p.norm)
            CHECK(memcmp(o->layers + (h->depth - 1) * t * d, o->tokens, t * d * 4) == 0);
        if (!p.fc_norm && (p.pool == MIM_POOL_CLS || p.pool == MIM_POOL_CLS_MEAN))
            CHECK(memcmp(o->pooled, o->cls, d * 4) == 0);
        if (!p.fc_norm && p.pool != MIM_POOL_CLS)
            for (k = 0; k < d; k++) {
                const size_t first = p.pool == MIM_POOL_MEAN_ALL ? 0 : prefix;
                double mean = 0;
                for (i = (uint32_t)first; i < t; i++)
                    mean += (double)o->tokens[i * d + k] / (double)(t - first);
                CHECK(fabs((double)o->pooled[(p.pool == MIM_POOL_CLS_MEAN ? d : 0) + k] - mean) < 1e-5 * (1 + fabs(mean)));
            }
        for (k = 0; o->attention && k < p.heads * t; k++) {
            double sum = 0;
            for (i = 0; i < t; i++)
                sum += (double)o->attention[k * t + i];
            CHECK_THAT(fabs(sum - 1) < 1e-5, "a row of attention sums to %.9g", sum);
        }
        /* each alone, in the same session one after the other */
        CHECK(mim_plan(&s.model, &desc, &memory) == MIM_OK);
        memory.base = guard_high(&arena, memory.bytes, 16);
        CHECK(mim_begin(&session, &s.model, &desc, &memory) == MIM_OK);
#define ALONE(field, n) \
        if (o->field) { \
            memset(&single, 0, sizeof single); \
            single.field = (float *)guard_high(&small, (n) * 4, 4); \
            CHECK(mim_encode(&session, &image, &single) == MIM_OK && memcmp(single.field, o->field, (n) * 4) == 0); \
            CHECK(guard_intact(&small)); \
        }
        ALONE(logits, h->classes)
        ALONE(tokens, t * d)
        ALONE(cls, d)
        ALONE(registers, h->registers * d)
        ALONE(attention, p.heads * t * t)
        ALONE(patches, (t - prefix) * d)
        ALONE(pooled, h->pooled_dim)
        for (j = 0; j < h->depth; j++) {
            const uint32_t layer = j + 1;
            memset(&single, 0, sizeof single);
            single.layers = (float *)guard_high(&small, t * d * 4, 4);
            single.layer = &layer;
            single.layer_count = 1;
            CHECK(mim_encode(&session, &image, &single) == MIM_OK && memcmp(single.layers, o->layers + j * t * d, t * d * 4) == 0);
            single.layer_norm = 1;
            CHECK(mim_encode(&session, &image, &single) == MIM_OK);
            if (layer == h->depth || !p.norm)
                CHECK(memcmp(single.layers, p.norm ? o->tokens : o->layers + j * t * d, t * d * 4) == 0);
            else
                CHECK(memcmp(single.layers, o->layers + j * t * d, t * d * 4) != 0);
            CHECK(guard_intact(&small));
        }
        if (o->layers && h->depth > 1) {    /* the first and the last of them */
            const uint32_t layer[2] = { 1, h->depth };
            memset(&single, 0, sizeof single);
            single.layers = (float *)guard_high(&small, 2 * t * d * 4, 4);
            single.layer = layer;
            single.layer_count = 2;
            CHECK(mim_encode(&session, &image, &single) == MIM_OK);
            CHECK(memcmp(single.layers, o->layers, t * d * 4) == 0
                  && memcmp(single.layers + t * d, o->layers + (h->depth - 1) * t * d, t * d * 4) == 0);
        }
        if (desc.decoder) {
            const size_t n = (size_t)grid * h->channels * h->patch_height * h->patch_width;
            float *prediction = (float *)guard_high(&small, n * 4, 4);
            CHECK(mim_reconstruct(&session, &image, NULL, prediction) == MIM_OK && memcmp(prediction, one.prediction, n * 4) == 0);
            CHECK(guard_intact(&small));
        }
        memset(&single, 0, sizeof single);
        CHECK(mim_encode(&session, &image, &single) == MIM_OK);      /* nothing wanted */
        CHECK(guard_intact(&arena));
        munmap(small.first - sysconf(_SC_PAGESIZE), (size_t)(small.end - small.first) + 2 * (size_t)sysconf(_SC_PAGESIZE));
        free(s.blob);
    }
}

static void test_visible(uint32_t type)
{
    char name[80];
    uint32_t trial;
    snprintf(name, sizeof name, "%s: visible patches in any order give the same bits in that order", type_name[type]);
    group(name);
    for (trial = 0; trial < 60; trial++) {
        spec p = trial % 3 ? spec_random_block(type) : spec_random(type);
        subject s = subject_of(p);
        const uint32_t grid = p.grid_height * p.grid_width, prefix = p.cls + p.registers;
        const uint32_t n = trial & 1 ? grid : between(1, grid);
        const size_t t = prefix + n, d = p.dim;
        uint32_t chosen[36], order[36], list[36], row[64], i, j, k;
        const setting how = { 0, 0, 0xff };
        mim_session_desc desc;
        mim_image image = planes_of(&s.model, NULL);
        memset(&desc, 0, sizeof desc);
        desc.visible_max = n == grid ? 0 : between(n, grid);
        desc.decoder = p.decoder_dim != 0;
        shuffled(chosen, grid, n);
        for (i = 1; i < n; i++)             /* in raster order: what NULL means where all are visible */
            for (j = i; j > 0 && chosen[j - 1] > chosen[j]; j--) {
                const uint32_t swap = chosen[j];
                chosen[j] = chosen[j - 1];
                chosen[j - 1] = swap;
            }
        image.visible = n == grid ? NULL : chosen;
        image.visible_count = n;
        CHECK(run_model(&one, &arena, &s.model, &desc, &image, how) == MIM_OK);
        shuffled(order, n, n);
        for (i = 0; i < n; i++)
            list[i] = chosen[order[i]];
        image.visible = list;
        CHECK(run_model(&two, &arena, &s.model, &desc, &image, how) == MIM_OK && results_whole(&two));
        for (i = 0; i < t; i++)
            row[i] = i < prefix ? i : prefix + order[i - prefix];
        for (i = 0; i < t; i++) {
            CHECK(memcmp(two.out.tokens + i * d, one.out.tokens + row[i] * d, d * 4) == 0);
            for (j = 0; j < p.blocks; j++)
                CHECK(memcmp(two.out.layers + (j * t + i) * d, one.out.layers + (j * t + row[i]) * d, d * 4) == 0);
            for (k = 0; two.out.attention && k < p.heads; k++)
                for (j = 0; j < t; j++)
                    CHECK(memcmp(two.out.attention + (k * t + i) * t + j, one.out.attention + (k * t + row[i]) * t + row[j], 4) == 0);
        }
        CHECK(memcmp(two.out.pooled, one.out.pooled, s.model.header->pooled_dim * 4) == 0);
        if (one.prediction)
            CHECK(memcmp(two.prediction, one.prediction, (size_t)grid * p.channels * p.patch_height * p.patch_width * 4) == 0);
        free(s.blob);
    }
}

/* ---- what must not change a bit ---- */

typedef struct crew { uint32_t most, backwards, wrong; } crew;

static void crew_run(void *user, mim_task task, void *arg, uint32_t count)
{
    crew *c = (crew *)user;
    uint32_t i;
    c->wrong |= count > c->most || count < 1;
    if (!c->backwards)
        threads(user, task, arg, count);
    for (i = count; c->backwards && i > 0; i--)
        task(arg, i - 1);
}

static void test_same_bits(uint32_t type)
{
    static const uint32_t tasks[] = { 2, 3, 7, 64, 5 };
    char name[100];
    uint32_t trial, i;
    snprintf(name, sizeof name, "%s: the same bits for any threads, arena and what was in it", type_name[type]);
    group(name);
    for (trial = 0; trial < 12; trial++) {
        spec p = trial % 3 ? spec_random_block(type) : spec_random(type);
        subject s;
        mim_session_desc desc;
        mim_memory need, more;
        mim_image image;
        setting how = { 0, 0, 0xff };
        crew c;
        size_t kernel;
        p.grid_height = between(4, 6), p.grid_width = between(4, 6);
        p.edge = 12 * (p.patch_height + p.patch_width);
        p.positions = MIM_POSITIONS_CUBIC;
        p.bias = p.bias == MIM_BIAS_FIXED ? MIM_BIAS_LINEAR : p.bias;
        s = subject_of(p);
        memset(&desc, 0, sizeof desc);
        desc.decoder = p.decoder_dim != 0;
        if (trial & 1)
            desc.height = p.patch_height * between(1, 8), desc.width = p.patch_width * between(1, 8);
        image = planes_of(&s.model, &desc);
        desc.user = &c;
        for (kernel = 0; kernel < MIMP_TABLE; kernel++) {
            desc.cpu = mimp_table[kernel]->cpu;
            desc.parallel = NULL;
            if (!mimp_available(desc.cpu))
                continue;
            CHECK(mim_plan(&s.model, &desc, &need) == MIM_OK);
            how.bytes = 0, how.low = 0, how.dirt = 0xff;
            CHECK(run_model(&one, &arena, &s.model, &desc, &image, how) == MIM_OK && results_whole(&one));
            for (i = 0; i < 9; i++) {
                how.bytes = i == 0 ? 0 : i == 1 ? need.useful : i == 2 ? need.useful + 4096 : i == 3 ? need.bytes + 15
                    : need.bytes + (need.useful - need.bytes) * between(0, 1000) / 1000;
                how.low = i & 1;
                how.dirt = i % 3 == 0 ? 0x7f : i % 3 == 1 ? 0 : 0xff;
                CHECK(run_model(&two, &arena, &s.model, &desc, &image, how) == MIM_OK);
                SAME_RESULTS(one, two, "%s, trial %u: another result in %d bytes of %d to %d", mimp_table[kernel]->name, trial, (int)how.bytes,
                             (int)need.bytes, (int)need.useful);
            }
            for (desc.split = 1, i = 0; i < 4; i++) {
                CHECK(mim_plan(&s.model, &desc, &more) == MIM_OK);
                how.bytes = i == 0 ? 0 : i == 1 ? more.useful : more.bytes + (more.useful - more.bytes) * between(0, 1000) / 1000;
                how.low = i & 1;
                CHECK(run_model(&two, &arena, &s.model, &desc, &image, how) == MIM_OK);
                SAME_RESULTS(one, two, "%s, trial %u: another result in two regions", mimp_table[kernel]->name, trial);
            }
            desc.split = 0;
            for (i = 0; i < 5; i++) {
                c.most = desc.threads = tasks[i];
                c.backwards = tasks[i] == 5, c.wrong = 0;
                desc.parallel = crew_run;
                CHECK(mim_plan(&s.model, &desc, &more) == MIM_OK && more.bytes >= need.bytes);
                how.bytes = trial & 2 ? more.useful : 0;
                if (tasks[i] == 64 && trial != 3)
                    continue;
                CHECK(run_model(&two, &arena, &s.model, &desc, &image, how) == MIM_OK);
                SAME_RESULTS(one, two, "%s, trial %u: another result by %u threads", mimp_table[kernel]->name, trial, tasks[i]);
                CHECK(!c.wrong);
            }
        }
        free(s.blob);
    }
}

static void test_kernels_agree(uint32_t type)
{
    char name[100];
    uint32_t trial;
    snprintf(name, sizeof name, "%s: every instruction set gives %s", type_name[type], type >= MIM_Q8 ? "the same bits" : "nearly the same");
    group(name);
    for (trial = 0; trial < 160; trial++) {
        spec p = trial % 4 < 2 ? spec_random_block(type) : spec_random(type);
        subject s;
        const setting how = { 0, 0, 0x7f };
        mim_session_desc desc;
        mim_image image;
        size_t i;
        if (type < MIM_Q8)
            p.dim = between(8, 70), p.decoder_dim = p.decoder_dim ? between(8, 40) : 0, p.hidden = between(8, 90);
        s = subject_of(p);
        memset(&desc, 0, sizeof desc);
        desc.decoder = p.decoder_dim != 0;
        if ((trial & 1) && p.positions != MIM_POSITIONS_FIXED && p.bias != MIM_BIAS_FIXED)
            desc.height = p.patch_height * between(1, 8), desc.width = p.patch_width * between(1, 8);
        image = planes_of(&s.model, &desc);
        desc.cpu = MIM_CPU_SCALAR;
        CHECK(run_model(&one, &arena, &s.model, &desc, &image, how) == MIM_OK);
        for (i = 0; i < MIMP_TABLE; i++) {
            desc.cpu = mimp_table[i]->cpu;
            if (!mimp_available(desc.cpu))
                continue;
            CHECK(run_model(&two, &arena, &s.model, &desc, &image, how) == MIM_OK && results_whole(&two));
            if (type >= MIM_Q8)
                SAME_RESULTS(one, two, "%s differs in trial %u", mimp_table[i]->name, trial);
            else
                CHECK_THAT(one.count == two.count && apart(one.values, two.values, one.count) < 3e-6, "%s, trial %u: %.2g apart",
                           mimp_table[i]->name, trial, apart(one.values, two.values, one.count));
        }
        free(s.blob);
    }
}

/* Fewer patches than planned: everything must still fit, in every size of arena. */
static void test_every_count(void)
{
    spec p = spec_small(MIM_F32);
    subject s;
    mim_session_desc desc;
    mim_image image;
    mim_memory need;
    static uint32_t list[289];
    uint32_t n, type;
    group("any number of visible patches fits a session planned for all");
    for (type = MIM_F32; type <= MIM_Q8; type += 2) {
        p.type = type;
        p.patch_height = p.patch_width = 1, p.grid_height = p.grid_width = 17, p.edge = 17;
        p.dim = 8, p.blocks = 1, p.heads = 1, p.head_dim = 8, p.hidden = 200;
        s = subject_of(p);
        memset(&desc, 0, sizeof desc);
        CHECK(mim_plan(&s.model, &desc, &need) == MIM_OK);
        image = planes_of(&s.model, NULL);
        image.visible = list;
        for (n = 1; n <= 289; n += type == MIM_Q8 ? 8 : 1) {
            uint32_t i;
            for (i = 0; i < 3; i++) {
                const size_t bytes = i == 0 ? need.useful : need.bytes + (need.useful - need.bytes) * between(0, 1000) / 1000;
                mim_session session;
                mim_memory memory;
                static float pooled[8];
                mim_output out;
                if (i && n % 16)
                    continue;
                memory.base = guard_high(&arena, bytes, 16);
                memory.bytes = bytes;
                memory.useful = 0;
                memset(&out, 0, sizeof out);
                out.pooled = pooled;
                image.visible_count = shuffled(list, 289, n);
                CHECK(mim_begin(&session, &s.model, &desc, &memory) == MIM_OK && mim_encode(&session, &image, &out) == MIM_OK);
                CHECK(guard_intact(&arena));
            }
        }
        free(s.blob);
    }
}

static void test_sessions(void)
{
    spec p = spec_small(MIM_Q8);
    subject s = subject_of(p), other;
    mim_session a, b;
    mim_memory ma, mb;
    mim_session_desc desc;
    mim_image image = planes_of(&s.model, NULL), smaller;
    mim_output out;
    static float first[13 * 24], second[13 * 24], third[13 * 24];
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    guard locked = { NULL, NULL, NULL, 0 };
    mim_model model;
    int i;
    group("sessions: interleaved, begun again in the same memory, over a read-only blob");
    memset(&desc, 0, sizeof desc);
    memset(&out, 0, sizeof out);
    desc.height = 8;
    CHECK(mim_plan(&s.model, NULL, &ma) == MIM_OK && mim_plan(&s.model, &desc, &mb) == MIM_OK);
    ma.base = guard_high(&arena, ma.bytes, 16);
    mb.base = guard_high(&arena2, mb.bytes, 16);
    CHECK(mim_begin(&a, &s.model, NULL, &ma) == MIM_OK && mim_begin(&b, &s.model, &desc, &mb) == MIM_OK);
    smaller = planes_of(&s.model, &desc);
    for (i = 0; i < 3; i++) {
        out.tokens = i ? third : first;
        CHECK(mim_encode(&a, &image, &out) == MIM_OK);
        CHECK(i == 0 || memcmp(first, third, sizeof first) == 0);
        out.tokens = i ? third : second;
        CHECK(mim_encode(&b, &smaller, &out) == MIM_OK);
        CHECK(i == 0 || memcmp(second, third, 9 * 24 * 4) == 0);
    }
    p.type = MIM_F32, p.dim = 20, p.pool = MIM_POOL_MEAN_ALL;       /* another model in between */
    other = subject_of(p);
    CHECK(mim_plan(&other.model, NULL, &mb) == MIM_OK);
    mb.base = guard_high(&arena, mb.bytes > ma.bytes ? mb.bytes : ma.bytes, 16);
    ma.base = mb.base;
    out.tokens = third;
    CHECK(mim_begin(&b, &other.model, NULL, &mb) == MIM_OK && mim_encode(&b, &image, &out) == MIM_OK);
    CHECK(mim_begin(&a, &s.model, NULL, &ma) == MIM_OK && mim_encode(&a, &image, &out) == MIM_OK && memcmp(first, third, sizeof first) == 0);
    memcpy(guard_low(&locked, s.bytes), s.blob, s.bytes);
    CHECK(mprotect(locked.first, (size_t)(locked.end - locked.first), PROT_READ) == 0);
    CHECK(mim_open(&model, locked.piece, s.bytes) == MIM_OK && mim_verify(&model) == MIM_OK);
    CHECK(mim_begin(&a, &model, NULL, &ma) == MIM_OK && mim_encode(&a, &image, &out) == MIM_OK && memcmp(first, third, sizeof first) == 0);
    munmap(locked.first - page, (size_t)(locked.end - locked.first) + 2 * page);
    free(s.blob), free(other.blob);
}

static struct { const mim_model *model; const mim_image *image; float *tokens; int failed; } shared[4];

static void *share(void *p)
{
    const size_t i = *(const size_t *)p;
    mim_session session;
    mim_memory memory;
    mim_output out;
    void *base;
    int k;
    memset(&out, 0, sizeof out);
    out.tokens = shared[i].tokens;
    shared[i].failed = mim_plan(shared[i].model, NULL, &memory) || posix_memalign(&base, 16, memory.bytes);
    if (shared[i].failed)
        return NULL;
    memory.base = base;
    for (k = 0; k < 20; k++)
        shared[i].failed |= mim_begin(&session, shared[i].model, NULL, &memory) || mim_encode(&session, shared[i].image, &out);
    free(base);
    return NULL;
}

static void test_shared_model(void)
{
    static float tokens[4][13 * 24];
    static const size_t index[4] = { 0, 1, 2, 3 };
    subject s = subject_of(spec_small(MIM_Q8));
    mim_image image = planes_of(&s.model, NULL);
    pthread_t thread[4];
    size_t i;
    group("one model, four threads, a session each");
    for (i = 0; i < 4; i++) {
        size_t at = index[i];
        void *arg;
        const size_t *where = &index[i];
        shared[at].model = &s.model;
        shared[at].image = &image;
        shared[at].tokens = tokens[at];
        memcpy(&arg, &where, sizeof arg);
        if (pthread_create(&thread[i], NULL, share, arg))
            perror("pthread_create"), exit(2);
    }
    for (i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    for (i = 0; i < 4; i++)
        CHECK(!shared[i].failed && memcmp(tokens[i], tokens[0], sizeof tokens[0]) == 0);
    free(s.blob);
}

/* ---- pictures ---- */

static uint8_t picture[64 * 64 * 4];        /* RGB of what every format below shows */
static const uint32_t bytes_of[] = { 3, 4, 3, 1, 2 };

static void pixel(uint32_t format, uint8_t *to, const uint8_t *rgb)
{
    const uint32_t v = (uint32_t)rgb[0] >> 3 << 11 | (uint32_t)rgb[1] >> 2 << 5 | (uint32_t)rgb[2] >> 3;
    if (format == MIM_GRAY8)
        to[0] = rgb[0];
    else if (format == MIM_RGB565)
        to[0] = (uint8_t)v, to[1] = (uint8_t)(v >> 8);
    else {
        to[0] = rgb[format == MIM_BGR8 ? 2 : 0], to[1] = rgb[1], to[2] = rgb[format == MIM_BGR8 ? 0 : 2];
        if (format == MIM_RGBA8)
            to[3] = (uint8_t)any32();
    }
}

typedef struct rows { const mim_image *image; size_t stride, row_bytes; uint32_t next, count, wrong; } rows;

static int read_row(void *user, uint32_t y, void *row)
{
    rows *r = (rows *)user;
    r->wrong |= y < r->next || y >= r->image->height;
    r->next = y + 1;
    r->count++;
    memcpy(row, (const uint8_t *)r->image->pixels + y * r->stride, r->row_bytes);
    return 0;
}

static void test_formats(void)
{
    uint32_t channels, format, way, i, y;
    group("pixel formats, strides and rows by callback: the same bits for the same colours");
    for (channels = 1; channels <= 3; channels += 2)
        for (way = 0; way < 8; way++)
            for (format = MIM_RGB8; format <= MIM_RGB565; format++) {
                const int resized = way & 1, strided = way & 2, called = way & 4, gray = format == MIM_GRAY8;
                const setting how = { 0, 0, 0xff };
                spec p = spec_small(MIM_F32);
                subject s;
                mim_session_desc desc;
                mim_image image, same;
                uint32_t width, height;
                size_t stride, row;
                guard source = { NULL, NULL, NULL, 0 };
                rows r;
                p.channels = channels;
                p.resize = way & 2 ? MIM_RESIZE_SHORT_EDGE : MIM_RESIZE_SQUASH;
                s = subject_of(p);
                width = resized ? between(1, 60) : 16, height = resized ? between(1, 60) : 12;
                stride = row = (size_t)width * bytes_of[format];
                stride += strided ? between(1, 9) : 0;
                memset(&desc, 0, sizeof desc);
                if (resized)
                    desc.source_width = between(width, 61), desc.source_height = between(height, 61);
                memset(&image, 0, sizeof image);
                image.width = width, image.height = height;
                image.exact = !resized;
                same = image;
                image.format = format;
                image.stride = strided ? stride : 0;
                image.pixels = guard_high(&source, stride * (height - 1) + row, 1);     /* not a byte behind the last pixel */
                memset(source.piece, 0xcc, source.bytes);
                for (y = 0; y < height; y++)
                    for (i = 0; i < width; i++) {
                        uint8_t *rgb = picture + (y * width + i) * 3;
                        rgb[0] = (uint8_t)any32(), rgb[1] = (uint8_t)any32(), rgb[2] = (uint8_t)any32();
                        if (gray)
                            rgb[1] = rgb[2] = rgb[0];
                        if (format == MIM_RGB565)       /* what five and six bits stand for */
                            rgb[0] = (uint8_t)((rgb[0] & 0xf8) | rgb[0] >> 5), rgb[1] = (uint8_t)((rgb[1] & 0xfc) | rgb[1] >> 6),
                            rgb[2] = (uint8_t)((rgb[2] & 0xf8) | rgb[2] >> 5);
                        pixel(format, source.piece + y * stride + i * bytes_of[format], rgb);
                    }
                memset(&r, 0, sizeof r);
                r.image = &image, r.stride = stride, r.row_bytes = row;
                if (called) {
                    mim_image rows_only = image;
                    rows_only.pixels = NULL;
                    rows_only.stride = 7777;
                    rows_only.read_row = read_row;
                    rows_only.user = &r;
                    CHECK(run_model(&one, &arena, &s.model, &desc, &rows_only, how) == MIM_OK);
                    CHECK_THAT(!r.wrong && r.count <= height && r.next <= height, "rows: %u asked of %u, last %u", r.count, height, r.next);
                } else
                    CHECK(run_model(&one, &arena, &s.model, &desc, &image, how) == MIM_OK);
                CHECK(results_whole(&one) && guard_intact(&source));
                same.format = MIM_RGB8;
                if (channels == 1) {            /* Pillow's luma */
                    same.format = MIM_GRAY8;
                    for (i = 0; i < width * height; i++)
                        picture[i] = (uint8_t)((picture[3 * i] * 19595 + picture[3 * i + 1] * 38470 + picture[3 * i + 2] * 7471 + 0x8000) >> 16);
                }
                same.pixels = picture;
                CHECK(run_model(&two, &arena, &s.model, &desc, &same, how) == MIM_OK);
                SAME_RESULTS(one, two, "%u channels, format %u, %ux%u%s%s%s", channels, format, width, height, resized ? ", resized" : "",
                             strided ? ", strided" : "", called ? ", by rows" : "");
                if (!resized) {                 /* normalised by hand */
                    mim_image flat = planes_of(&s.model, NULL);
                    static float by_hand[3 * 12 * 16];
                    uint32_t c;
                    for (c = 0; c < channels; c++)
                        for (i = 0; i < 12 * 16; i++) {
                            const volatile float unit = (float)picture[i * channels + c] / 255.0f, centered = unit - s.model.header->mean[c];
                            by_hand[c * 12 * 16 + i] = centered / s.model.header->std[c];
                        }
                    flat.pixels = by_hand;
                    CHECK(run_model(&two, &arena, &s.model, &desc, &flat, how) == MIM_OK);
                    SAME_RESULTS(one, two, "%u channels, format %u: another normalisation", channels, format);
                }
                munmap(source.first - sysconf(_SC_PAGESIZE), (size_t)(source.end - source.first) + 2 * (size_t)sysconf(_SC_PAGESIZE));
                free(s.blob);
            }
}

static int read_planes(void *user, uint32_t y, void *row)
{
    rows *r = (rows *)user;
    uint32_t c;
    r->wrong |= y != r->count++;
    for (c = 0; c < r->row_bytes; c++)
        memcpy((float *)row + c * r->image->width, (const float *)r->image->pixels + (c * r->image->height + y) * r->image->width,
               r->image->width * 4);
    return 0;
}

static void test_planes(void)
{
    uint32_t channels, c, y;
    group("planes: strides and rows by callback");
    for (channels = 1; channels <= 16; channels += 5) {
        spec p = spec_small(MIM_F16);
        const setting how = { 0, 0, 0xff };
        subject s;
        mim_image image;
        guard source = { NULL, NULL, NULL, 0 };
        const size_t stride = 16 * 4 + 8, plane = 12 * stride + 20;
        rows r;
        p.channels = channels;
        s = subject_of(p);
        image = planes_of(&s.model, NULL);
        memset(&r, 0, sizeof r);
        r.image = &image;
        r.row_bytes = channels;
        CHECK(run_model(&one, &arena, &s.model, NULL, &image, how) == MIM_OK);
        {
            mim_image rows_only = image;
            rows_only.pixels = NULL;
            rows_only.read_row = read_planes;
            rows_only.user = &r;
            CHECK(run_model(&two, &arena, &s.model, NULL, &rows_only, how) == MIM_OK && !r.wrong && r.count == 12);
            SAME_RESULTS(one, two, "rows of planes");
        }
        memset(guard_high(&source, (channels - 1) * plane + 11 * stride + 16 * 4, 4), 0xff, source.bytes);
        for (c = 0; c < channels; c++)
            for (y = 0; y < 12; y++)
                memcpy(source.piece + c * plane + y * stride, planes + (c * 12 + y) * 16, 64);
        image.pixels = source.piece;
        image.stride = stride, image.plane_stride = plane;
        CHECK(run_model(&two, &arena, &s.model, NULL, &image, how) == MIM_OK);
        SAME_RESULTS(one, two, "strides of planes");
        free(s.blob);
    }
}

/* Any picture up to the planned source, in exactly the planned memory. */
static void test_sources(void)
{
    uint32_t trial, i;
    group("any picture up to the planned size is resized within the planned memory");
    for (trial = 0; trial < 150; trial++) {
        spec p = spec_small(MIM_F32);
        subject s;
        mim_session_desc desc;
        mim_memory memory;
        mim_session session;
        mim_image image;
        mim_output out;
        static float pooled[8];
        p.patch_height = between(1, 9), p.patch_width = between(1, 9), p.grid_height = between(1, 4), p.grid_width = between(1, 4);
        p.dim = 8, p.blocks = 0, p.classes = 0, p.channels = trial & 1 ? 3 : 1;
        p.resize = between(MIM_RESIZE_SHORT_EDGE, MIM_RESIZE_PAD), p.filter = between(MIM_BILINEAR, MIM_BICUBIC);
        p.edge = p.patch_height * p.grid_height;
        if (p.edge > p.patch_width * p.grid_width)
            p.edge = p.patch_width * p.grid_width;
        p.edge += between(0, 3) * between(0, 5);
        s = subject_of(p);
        memset(&desc, 0, sizeof desc);
        if (trial & 2)
            desc.height = p.patch_height * between(1, 6), desc.width = p.patch_width * between(1, 6);
        desc.source_width = between(1, between(1, 300)), desc.source_height = between(1, between(1, 300));
        CHECK(mim_plan(&s.model, &desc, &memory) == MIM_OK);
        memory.base = memset(guard_high(&arena, memory.bytes, 16), 0xff, memory.bytes);
        CHECK(mim_begin(&session, &s.model, &desc, &memory) == MIM_OK);
        memset(&image, 0, sizeof image);
        memset(&out, 0, sizeof out);
        out.pooled = pooled;
        image.format = MIM_GRAY8;
        image.pixels = planes;
        for (i = 0; i < 12; i++) {
            image.width = i == 0 ? desc.source_width : between(1, desc.source_width);
            image.height = i == 0 ? desc.source_height : between(1, desc.source_height);
            if (i % 4 == 1)
                image.width = desc.source_width;
            if (i % 4 == 2)
                image.height = desc.source_height;
            {
                /* what is padded may be too narrow for a single pixel */
                const double across = (double)session.width / image.width, down = (double)session.height / image.height;
                const double scale = across < down ? across : down;
                const int narrow = p.resize == MIM_RESIZE_PAD && (image.width * scale < 0.5 || image.height * scale < 0.5);
                CHECK_THAT(mim_encode(&session, &image, &out) == (narrow ? MIM_ERR_SIZE : MIM_OK) && guard_intact(&arena), "%u x %u in %u x %u",
                           image.width, image.height, desc.source_width, desc.source_height);
            }
        }
        free(s.blob);
    }
}

/* ---- files ---- */

static void test_files(void)
{
#ifndef MIM_NO_STDIO
    const char *folder = getenv("TMPDIR");
    char path[512];
    subject s = subject_of(spec_small(MIM_F16));
    FILE *file;
    void *blob = &path;
    size_t bytes = 1;
    int fd;
    group("mim_load");
    snprintf(path, sizeof path, "%.400s/mim-test-XXXXXX", folder ? folder : P_tmpdir);
    fd = mkstemp(path);
    CHECK(fd >= 0 && (file = fdopen(fd, "wb")) != NULL && fwrite(s.blob, 1, s.bytes, file) == s.bytes && fclose(file) == 0);
    CHECK(mim_load(path, &blob, &bytes) == MIM_OK && bytes == s.bytes && memcmp(blob, s.blob, bytes) == 0);
    CHECK(((uintptr_t)blob & 63) == 0);
    mim_unload(blob);
    file = fopen(path, "wb");
    CHECK(file && fclose(file) == 0);
    CHECK(mim_load(path, &blob, &bytes) == MIM_OK && bytes == 0 && ((uintptr_t)blob & 63) == 0);
    mim_unload(blob);
    remove(path);
    CHECK(mim_load(path, &blob, &bytes) == MIM_ERR_IO && blob == NULL && bytes == 0);
    CHECK(mim_load("/", &blob, &bytes) == MIM_ERR_IO && blob == NULL && bytes == 0);
    CHECK(mim_load(NULL, &blob, &bytes) == MIM_ERR_ARGUMENT && mim_load(path, NULL, &bytes) == MIM_ERR_ARGUMENT
          && mim_load(path, &blob, NULL) == MIM_ERR_ARGUMENT);
    mim_unload(NULL);
    free(s.blob);
#else
    skip("mim_load", "built with MIM_NO_STDIO");
#endif
}

int main(void)
{
    size_t i;
    uint32_t type;
    for (i = 0; i < sizeof planes / sizeof *planes; i++)
        planes[i] = uniform(-2, 2);
    if (!mimp_little_endian()) {
        skip("api", "a big-endian machine refuses blobs");
        return finish();
    }
    test_texts();
    test_plan();
    test_encode_statuses();
    test_progress();
    for (type = MIM_F32; type <= MIM_Q4; type++) {
        test_reference(type);
        test_outputs(type);
        test_visible(type);
        test_same_bits(type);
        test_kernels_agree(type);
    }
    test_every_count();
    test_sessions();
    test_shared_model();
    test_formats();
    test_planes();
    test_sources();
    test_files();
    return finish();
}
