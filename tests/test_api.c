/* test_api.c - the calls of mim.h: every status, every output against double precision, and what must not change a bit. */
#include "check.h"
#define MIM_IMPLEMENTATION
#include "../mim.h"
#include "blob_builder.h"
#include <pthread.h>

static const char *const type_name[] = { "", "f32", "f16", "q8" };

typedef struct subject { uint8_t *blob; size_t bytes; mim_model model; } subject;

static subject subject_of(spec p)
{
    subject s;
    const uint64_t state = check_state;
    s.blob = blob_build(&p, &s.bytes);
    check_state = state;
    CHECK_THAT(mim_open(&s.model, s.blob, s.bytes) == MIM_OK, "%s at %d", s.model.fault, (int)s.model.fault_at);
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
        : rule == MIM_GELU_TANH ? x / (1 + exp(-1.5957691216057308 * (x + 0.044715 * x * x * x))) : x / (1 + exp(-1.702 * x));
}

static void ref_attention(const mim_model *m, const mim_blob_step *s, double *x, size_t t, size_t d, double *attention)
{
    const size_t p = (s->head_dim + 15) / 16 * 16, inner = s->heads * p;
    double *y = ref_norm(m, s->tensor[0], x, t, d, (double)s->eps), *qkv = ref_linear(m, s->tensor[1], y, t), *z;
    double *o = (double *)calloc(t * inner, sizeof *o), *a = (double *)malloc(t * sizeof *a);
    size_t h, i, j, k;
    for (h = 0; h < s->heads; h++)
        for (i = 0; i < t; i++) {
            double sum = 0, top = -HUGE_VAL;
            for (j = 0; j < t; j++) {
                a[j] = 0;
                for (k = 0; k < s->head_dim; k++)
                    a[j] += qkv[i * inner * 3 + h * 3 * p + k] * qkv[j * inner * 3 + h * 3 * p + p + k];
                a[j] *= (double)s->scale;
                top = fmax(top, a[j]);
            }
            for (j = 0; j < t; j++)
                sum += a[j] = exp(a[j] - top);
            for (j = 0; j < t; j++) {
                a[j] /= sum;
                if (attention)
                    attention[(h * t + i) * t + j] = a[j];
                for (k = 0; k < s->head_dim; k++)
                    o[i * inner + h * p + k] += a[j] * qkv[j * inner * 3 + h * 3 * p + 2 * p + k];
            }
        }
    z = ref_linear(m, s->tensor[2], o, t);
    for (i = 0; i < t * d; i++)
        x[i] += z[i];
    free(y), free(qkv), free(o), free(a), free(z);
}

static void ref_mlp(const mim_model *m, const mim_blob_step *s, double *x, size_t t, size_t d)
{
    double *y = ref_norm(m, s->tensor[0], x, t, d, (double)s->eps), *h = ref_linear(m, s->tensor[1], y, t), *z;
    size_t i;
    for (i = 0; i < t * m->tensors[s->tensor[1] - 1].rows; i++)
        h[i] = ref_act(h[i], s->rule);
    z = ref_linear(m, s->tensor[2], h, t);
    for (i = 0; i < t * d; i++)
        x[i] += z[i];
    free(y), free(h), free(z);
}

/* Runs the model on the planes as trained and fills r->values, in the caller's order, as run_model does. */
static void reference(results *r, const mim_model *m, const uint32_t *visible, uint32_t n, int decoder)
{
    const mim_blob_header *h = m->header;
    const uint32_t gw = h->image_width / h->patch_width, grid = gw * (h->image_height / h->patch_height), prefix = h->has_cls + h->registers;
    const size_t t = prefix + n, pixels = (size_t)h->channels * h->patch_height * h->patch_width;
    size_t d = h->dim, tokens = t, i, j, last = 0;
    double *x = (double *)calloc((prefix + grid) * (d + h->decoder_dim), sizeof *x), *y, *pooled = NULL;
    uint32_t taps = 0, c, py, px;
    float *features = NULL;
    results_for(r, m, n, grid, decoder);
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
                const uint32_t at = visible ? visible[j] : (uint32_t)j;
                size_t k = 0;
                for (c = 0; c < h->channels; c++)
                    for (py = 0; py < h->patch_height; py++)
                        for (px = 0; px < h->patch_width; px++)
                            patch[k++] = (double)planes[((size_t)c * h->image_height + at / gw * h->patch_height + py) * h->image_width
                                                        + at % gw * h->patch_width + px];
                y = ref_linear(m, s->tensor[0], patch, 1);
                for (k = 0; k < d; k++)
                    x[(prefix + j) * d + k] = y[k] + (s->tensor[2] ? weight(m, s->tensor[2], at, (uint32_t)k) : 0);
                free(y);
            }
            free(patch);
            break;
        }
        case MIM_STEP_ATTENTION: {
            double *a = i == last && r->out.attention ? (double *)malloc(s->heads * t * t * sizeof *a) : NULL;
            ref_attention(m, s, x, tokens, d, a);
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
                x[(prefix + (visible ? visible[j / d] : j / d)) * d + j % d] = e[prefix * d + j];
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
    static const double bound[] = { 0, 2e-5, 2e-5, 0.2 };
    static double worst[4];
    char name[80];
    uint32_t trial;
    snprintf(name, sizeof name, "%s: every output against double precision, subsets and decoder included", type_name[type]);
    group(name);
    for (trial = 0; trial < 60; trial++) {
        spec p = spec_random(type);
        uint32_t visible[36], i;
        const setting how = { 0, 0, 0xff };
        mim_session_desc desc;
        mim_image image;
        subject s;
        p.stored_height = p.grid_height, p.stored_width = p.grid_width;
        p.dim = between(8, 70), p.decoder_dim = p.decoder_dim ? between(8, 40) : 0;     /* a norm over less is a coin toss */
        p.weight_max = 127, p.input_max = 255;
        s = subject_of(p);
        memset(&desc, 0, sizeof desc);
        desc.decoder = p.decoder_dim != 0;
        image = planes_of(&s.model, NULL);
        if (trial % 3) {
            image.visible = visible;
            image.visible_count = shuffled(visible, p.grid_height * p.grid_width, between(1, p.grid_height * p.grid_width));
        }
        reference(&two, &s.model, image.visible, image.visible ? image.visible_count : p.grid_height * p.grid_width, desc.decoder != 0);
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

int main(void)
{
    size_t i;
    uint32_t type;
    for (i = 0; i < sizeof planes / sizeof *planes; i++)
        planes[i] = uniform(-2, 2);
    for (type = MIM_F32; type <= MIM_Q8; type++)
        test_reference(type);
    return finish();
}
