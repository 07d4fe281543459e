/* integer.c - `mim convert --numerics integer`: a plan of floats becomes one of integers.
 *
 * The model runs in floats over calibration pictures, and of every place where numbers are to become bytes, the least and the
 * largest of each channel are kept. From these follow all scales; what one part has to know of the next is folded into weights,
 * rates and biases. See MIM_STEP_... in mim.h for what is written, and >>integer there for what is computed from it. */
#include "integer.h"
#include "picture.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEVELS 1024               /* of an activation's table */
#define MARGIN 1.5                /* of a stream, above the largest number seen */
#define ROOM 2.001                /* a result's step over its row's: rates are below 2^31 */

/* A matrix in panels, [rows/16][columns][16]; a plain tensor as it is. */
typedef struct layer {
    uint32_t rows, columns;
    float *w, *bias;
} layer;

/* Least and largest of each channel. */
typedef struct range {
    float *low, *top;
} range;

/* What is known of a step: its tensors, and what was seen. */
typedef struct known {
    layer tensor[7];
    range input, middle, output;          /* bytes that go in (normalised, without weight and bias); ATTENTION: q, k, v, then o; MLP: hidden */
} known;

typedef struct work {
    const plan *from;
    const integer_kind *kind;
    plan *to;
    known *step;
    uint32_t height, width, patches, prefix;
    float *x, *u, *y, *z, *scores;        /* rows of tokens, and of what they become */
    float most[2];                        /* of the streams of encoder and decoder */
    double least[2];                      /* what a stream's step must be at least, for the rows that are added to it */
    double features;                      /* of one in the stream, or of what the last norm made of it */
    int written;                          /* 0: only least is found out */
    struct block *blocks;
} work;

/* ---- memory that lives as long as the plan ---- */

struct block {
    struct block *next;
    double aligned[];
};

static void *keep(work *k, size_t count, size_t size)
{
    struct block *b = count > SIZE_MAX / 2 / size ? NULL : calloc(1, sizeof *b + count * size);
    if (!b) {
        fail("%s: not enough memory", k->from->path);
        return NULL;
    }
    b->next = k->blocks;
    k->blocks = b;
    return b->aligned;
}

static int load(work *k, uint16_t index, layer *l)
{
    const mim_blob_tensor *t = &k->from->tensors[index - 1];
    uint32_t n16 = round_up(t->rows, 16);
    l->rows = t->rows;
    l->columns = t->columns;
    l->w = keep(k, (size_t)n16 * t->columns, sizeof(float));
    l->bias = keep(k, n16, sizeof(float));
    float *row = malloc(t->columns * sizeof *row);
    int failed = !l->w || !l->bias || !row;
    for (uint32_t n = 0; n < t->rows && !failed; n++) {
        failed = plan_row(&k->from->rows[index - 1], n, t->columns, row, &l->bias[n]);
        for (uint32_t i = 0; i < t->columns; i++)
            l->w[t->layout == MIM_PLAIN ? (size_t)n * t->columns + i : ((size_t)(n / 16) * t->columns + i) * 16 + n % 16] = row[i];
    }
    free(row);
    return failed;
}

static int watch(work *k, range *r, uint32_t channels)
{
    r->low = keep(k, channels, sizeof(float));
    r->top = keep(k, channels, sizeof(float));
    for (uint32_t i = 0; r->low && r->top && i < channels; i++) {
        r->low[i] = INFINITY;
        r->top[i] = -INFINITY;
    }
    return !r->low || !r->top;
}

static void see(range *r, const float *x, uint32_t tokens, uint32_t channels)
{
    for (uint32_t t = 0; t < tokens; t++, x += channels)
        for (uint32_t i = 0; i < channels; i++) {
            r->low[i] = x[i] < r->low[i] ? x[i] : r->low[i];
            r->top[i] = x[i] > r->top[i] ? x[i] : r->top[i];
        }
}

static double middle_of(const range *r, uint32_t i) { return ((double)r->low[i] + (double)r->top[i]) / 2; }
static double half_of(const range *r, uint32_t i) { return ((double)r->top[i] - (double)r->low[i]) / 2; }
static double most_of(const range *r, uint32_t i) { return fmax(-(double)r->low[i], (double)r->top[i]); }

/* ---- what cannot be done yet ---- */

static int refuse(const plan *p)
{
    const mim_blob_header *h = &p->header;
    const char *what = h->frames > 1 || h->patch_frames > 1 ? "video" : h->groups > 1 ? "groups of channels"
                     : h->coordinates ? "coordinates of the caller's" : h->unit_height > 1 ? "mask units"
                     : h->resize == MIM_RESIZE_PAD ? "pictures that are padded" : NULL;
    for (uint32_t i = 0; i < h->step_count && !what; i++) {
        const mim_blob_step *s = &p->steps[i];
        int other = s->rule == MIM_POSITIONS_FIXED && (s->stored_height != h->image_height / h->patch_height ||
                                                      s->stored_width != h->image_width / h->patch_width);
        switch (s->kind) {
        case MIM_STEP_EMBED:
            what = !s->tensor[0] ? "models of tokens" : s->tensor[3] || s->activation ? "a norm or activation after the patches"
                 : s->kernel_height != h->patch_height || s->kernel_width != h->patch_width ? "patches that overlap"
                 : other ? "another image size, for which there is no rule" : NULL;
            break;
        case MIM_STEP_ATTENTION:
            what = s->rule ? "relative position bias" : s->rotary ? "rotary positions" : s->tensor[5] ? "a norm inside attention"
                 : s->qk_norm ? "norms of queries and keys" : s->window ? "windows" : s->thin || s->tensor[7] ? "thinning of tokens" : NULL;
            break;
        case MIM_STEP_MLP:
            what = s->flags & MIM_STEP_GATED ? "a gated MLP" : s->tensor[3] ? "a norm inside the MLP"
                 : s->tensor[4] ? "a convolution inside the MLP" : NULL;
            break;
        case MIM_STEP_CONV:
            what = "convolutions over the grid";
            break;
        case MIM_STEP_NORM:
            what = s[-1].kind == MIM_STEP_POOL ? "a norm after pooling"
                 : i < h->decoder_step && s[1].kind != MIM_STEP_POOL ? "a norm before the blocks" : NULL;
            break;
        default:
            what = NULL;
        }
        if (s->flags & MIM_STEP_POST_NORM)
            what = "norms after the blocks";
    }
    return what ? fail("%s: --numerics integer cannot do %s; leave it out, or use --type q8", p->path, what) : 0;
}

/* ---- the model in floats ---- */

static void linear(const layer *l, const float *x, uint32_t tokens, float *y)
{
    for (uint32_t n = 0; n < l->rows; n += 16)
        for (uint32_t t = 0; t < tokens; t += 4) {
            uint32_t count = tokens - t < 4 ? tokens - t : 4, channels = l->rows - n < 16 ? l->rows - n : 16;
            const float *w = l->w + (size_t)n * l->columns;
            float sum[4][16] = {{0}};
            for (uint32_t i = 0; i < l->columns; i++, w += 16)
                for (uint32_t r = 0; r < 4; r++) {
                    float a = x[(size_t)(t + (r < count ? r : 0)) * l->columns + i];
                    for (uint32_t j = 0; j < 16; j++)
                        sum[r][j] += a * w[j];
                }
            for (uint32_t r = 0; r < count; r++)
                for (uint32_t j = 0; j < channels; j++)
                    y[(size_t)(t + r) * l->rows + n + j] = sum[r][j] + l->bias[n + j];
        }
}

static void normalise(const float *x, uint32_t tokens, uint32_t n, float eps, float *u)
{
    for (uint32_t t = 0; t < tokens; t++, x += n, u += n) {
        double mean = 0, square = 0;
        for (uint32_t i = 0; i < n; i++)
            mean += (double)x[i] / n;
        for (uint32_t i = 0; i < n; i++)
            square += ((double)x[i] - mean) * ((double)x[i] - mean) / n;
        for (uint32_t i = 0; i < n; i++)
            u[i] = (float)(((double)x[i] - mean) / sqrt(square + (double)eps));
    }
}

/* u = u * weight + bias */
static void affine(float *u, uint32_t tokens, const layer *norm)
{
    for (uint32_t t = 0; t < tokens; t++, u += norm->columns)
        for (uint32_t i = 0; i < norm->columns; i++)
            u[i] = u[i] * norm->w[i] + norm->w[norm->columns + i];
}

static double activate(uint32_t kind, double x)
{
    switch (kind) {
    case MIM_GELU_ERF:   return 0.5 * x * (1 + erf(x * 0.70710678118654752));
    case MIM_GELU_TANH:  return 0.5 * x * (1 + tanh(0.79788456080286536 * (x + 0.044715 * x * x * x)));
    case MIM_GELU_QUICK: return x / (1 + exp(-1.702 * x));
    default:             return x / (1 + exp(-x));
    }
}

static void grow(float *most, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        *most = fabsf(x[i]) > *most ? fabsf(x[i]) : *most;
}

static void add(float *x, const float *y, size_t n, float *most)
{
    for (size_t i = 0; i < n; i++)
        x[i] += y[i];
    grow(most, x, n);
}

static void attention(work *k, const mim_blob_step *s, known *a, uint32_t tokens, uint32_t dim, float *most)
{
    uint32_t hd = s->head_dim, wide = round_up(hd, 16), row = s->heads * 3 * wide, inner = s->heads * hd;
    normalise(k->x, tokens, dim, s->eps, k->u);
    see(&a->input, k->u, tokens, dim);
    affine(k->u, tokens, &a->tensor[0]);
    linear(&a->tensor[1], k->u, tokens, k->y);
    see(&a->middle, k->y, tokens, row);
    for (uint32_t h = 0; h < s->heads; h++)
        for (uint32_t i = 0; i < tokens; i++) {
            const float *q = k->y + (size_t)i * row + h * 3 * wide;
            float *o = k->z + (size_t)i * inner + h * hd, top = -INFINITY, sum = 0;
            for (uint32_t j = 0; j < tokens; j++) {
                const float *key = k->y + (size_t)j * row + (h * 3 + 1) * wide;
                float dot = 0;
                for (uint32_t c = 0; c < hd; c++)
                    dot += q[c] * key[c];
                k->scores[j] = dot * s->scale;
                top = k->scores[j] > top ? k->scores[j] : top;
            }
            memset(o, 0, hd * sizeof *o);
            for (uint32_t j = 0; j < tokens; j++) {
                const float *value = k->y + (size_t)j * row + (h * 3 + 2) * wide, p = expf(k->scores[j] - top);
                sum += p;
                for (uint32_t c = 0; c < hd; c++)
                    o[c] += p * value[c];
            }
            for (uint32_t c = 0; c < hd; c++)
                o[c] /= sum;
        }
    see(&a->output, k->z, tokens, inner);
    linear(&a->tensor[2], k->z, tokens, k->y);
    add(k->x, k->y, (size_t)tokens * dim, most);
}

static void mlp(work *k, const mim_blob_step *s, known *m, uint32_t tokens, uint32_t dim, float *most)
{
    uint32_t hidden = m->tensor[1].rows;
    normalise(k->x, tokens, dim, s->eps, k->u);
    see(&m->input, k->u, tokens, dim);
    affine(k->u, tokens, &m->tensor[0]);
    linear(&m->tensor[1], k->u, tokens, k->y);
    see(&m->middle, k->y, tokens, hidden);
    for (size_t i = 0; i < (size_t)tokens * hidden; i++)
        k->y[i] = (float)activate(s->activation, (double)k->y[i]);
    linear(&m->tensor[2], k->y, tokens, k->z);
    add(k->x, k->z, (size_t)tokens * dim, most);
}

static void pool(work *k, const mim_blob_step *s, known *p, uint32_t tokens, uint32_t dim, const mim_blob_step *head)
{
    uint32_t pooled_dim = k->from->header.pooled_dim, first = s->rule == MIM_POOL_MEAN_ALL ? 0 : k->prefix;
    float *mean = k->z + (s->rule == MIM_POOL_CLS_MEAN ? dim : 0);
    memcpy(k->z, k->x, dim * sizeof *k->z);
    for (uint32_t i = 0; i < dim && s->rule != MIM_POOL_CLS; i++) {
        double sum = 0;
        for (uint32_t t = first; t < tokens; t++)
            sum += (double)k->x[(size_t)t * dim + i];
        mean[i] = (float)(sum / (tokens - first));
    }
    if (s->tensor[0]) {
        normalise(k->z, 1, pooled_dim, s->eps, k->z);
        affine(k->z, 1, &p->tensor[0]);
    }
    if (head) {
        known *h = &k->step[head - k->from->steps];
        see(&h->input, k->z, 1, pooled_dim);
        linear(&h->tensor[0], k->z, 1, k->y);
        see(&h->output, k->y, 1, h->tensor[0].rows);
    }
}

/* One picture, normalised pixels [channels][height][width], through the encoder; with `seen`, some of its patches, and the decoder. */
static void run(work *k, const float *pixels, const uint32_t *seen, uint32_t count)
{
    const mim_blob_header *h = &k->from->header;
    uint32_t prefix = k->prefix, tokens = prefix + count, dim = 0, gw = h->image_width / h->patch_width, end = seen ? h->step_count : h->decoder_step;
    float *most = &k->most[0];
    for (uint32_t i = 0; i < end; i++) {
        const mim_blob_step *s = &k->from->steps[i];
        known *n = &k->step[i];
        switch (s->kind) {
        case MIM_STEP_EMBED: {
            uint32_t columns = n->tensor[0].columns;
            dim = n->tensor[0].rows;
            for (uint32_t t = 0; t < count; t++) {
                uint32_t place = seen ? seen[t] : t, at = 0;
                for (uint32_t c = 0; c < h->channels; c++)
                    for (uint32_t y = 0; y < h->patch_height; y++)
                        for (uint32_t x = 0; x < h->patch_width; x++)
                            k->u[(size_t)t * columns + at++] =
                                pixels[((size_t)c * h->image_height + place / gw * h->patch_height + y) * h->image_width + place % gw * h->patch_width + x];
            }
            linear(&n->tensor[0], k->u, count, k->x + (size_t)prefix * dim);
            if (prefix)
                memcpy(k->x, n->tensor[1].w, (size_t)prefix * dim * sizeof *k->x);
            for (uint32_t t = 0; t < count && s->tensor[2]; t++)
                add(k->x + (size_t)(prefix + t) * dim, n->tensor[2].w + (size_t)(seen ? seen[t] : t) * dim, dim, most);
            grow(most, k->x, (size_t)tokens * dim);
            break;
        }
        case MIM_STEP_ATTENTION: attention(k, s, n, tokens, dim, most); break;
        case MIM_STEP_MLP:       mlp(k, s, n, tokens, dim, most); break;
        case MIM_STEP_NORM:
            normalise(k->x, tokens, dim, s->eps, k->x);
            affine(k->x, tokens, &n->tensor[0]);
            break;
        case MIM_STEP_POOL:
            pool(k, s, n, tokens, dim, i + 1 < h->decoder_step && s[1].kind == MIM_STEP_HEAD ? s + 1 : NULL);
            break;
        case MIM_STEP_UNMASK: {
            see(&n->input, k->x, tokens, dim);
            linear(&n->tensor[0], k->x, tokens, k->y);
            dim = h->decoder_dim;
            for (uint32_t t = 0; t < k->patches; t++)
                memcpy(k->x + (size_t)(prefix + t) * dim, n->tensor[1].w, dim * sizeof *k->x);
            for (uint32_t t = 0; t < tokens; t++)
                memcpy(k->x + (size_t)(t < prefix ? t : prefix + seen[t - prefix]) * dim, k->y + (size_t)t * dim, dim * sizeof *k->x);
            tokens = prefix + k->patches;
            most = &k->most[1];
            if (s->tensor[2])
                add(k->x, n->tensor[2].w, (size_t)prefix * dim, most);
            add(k->x + (size_t)prefix * dim, n->tensor[3].w, (size_t)k->patches * dim, most);
            break;
        }
        case MIM_STEP_PREDICT:
            see(&n->input, k->x + (size_t)prefix * dim, k->patches, dim);
            linear(&n->tensor[0], k->x + (size_t)prefix * dim, k->patches, k->y);
            see(&n->output, k->y, k->patches, n->tensor[0].rows);
            break;
        default: ;
        }
    }
}

/* ---- from ranges to integers ---- */

static double half_up(double x) { return floor(x + 0.5); }

/* A matrix whose inputs and results are still to get their units. */
typedef struct folded {
    uint32_t rows, columns;
    double *w, *bias;
} folded;

static int fold(work *k, const layer *l, folded *f)
{
    f->rows = l->rows;
    f->columns = l->columns;
    f->w = malloc((size_t)l->rows * l->columns * sizeof *f->w);
    f->bias = malloc(l->rows * sizeof *f->bias);
    if (!f->w || !f->bias)
        return fail("%s: not enough memory", k->from->path);
    for (uint32_t n = 0; n < l->rows; n++) {
        f->bias[n] = (double)l->bias[n];
        for (uint32_t i = 0; i < l->columns; i++)
            f->w[(size_t)n * l->columns + i] = (double)l->w[((size_t)(n / 16) * l->columns + i) * 16 + n % 16];
    }
    return 0;
}

/* Inputs become offset[i] + scale[i] * input[i]; either may be NULL. */
static void fold_inputs(folded *f, const float *scale_f, const float *offset_f, const double *scale, const double *offset)
{
    for (uint32_t n = 0; n < f->rows; n++) {
        double *w = f->w + (size_t)n * f->columns;
        for (uint32_t i = 0; i < f->columns; i++) {
            f->bias[n] += w[i] * (offset_f ? (double)offset_f[i] : offset ? offset[i] : 0);
            w[i] *= scale_f ? (double)scale_f[i] : scale ? scale[i] : 1;
        }
    }
}

static void unfold(folded *f)
{
    free(f->w);
    free(f->bias);
    memset(f, 0, sizeof *f);
}

static double row_step(const folded *f, uint32_t n, double most)
{
    double largest = 0;
    for (uint32_t i = 0; i < f->columns; i++)
        largest = fmax(largest, fabs(f->w[(size_t)n * f->columns + i]));
    return largest / most;
}

static double largest_step(const folded *f, double most)
{
    double largest = 0;
    for (uint32_t n = 0; n < f->rows; n++)
        largest = fmax(largest, row_step(f, n, most));
    return largest;
}

static void put_table(work *k, mim_blob_step *s, unsigned slot, uint32_t count, uint32_t columns, uint8_t type, uint8_t shift, const void *data)
{
    mim_blob_tensor t = { .rows = count, .columns = columns, .type = type, .layout = MIM_PLAIN, .shift = shift };
    plan_ready(k->to, s, slot, &t, data);
}

size_t integer_place(uint8_t lay, uint32_t k, uint32_t n, uint32_t i)
{
    return lay == MIM_PAIRS16 ? (size_t)(n / 2) * 2 * k + i / 16 * 32 + n % 2 * 16 + i % 16
                                 : ((size_t)(n / 16) * k + i / 4 * 4) * 16 + n % 16 * 4 + i % 4;
}

/* Weight i of row `lane` of a panel of q4. */
static int32_t weight_of(const uint8_t *panel, uint32_t group, uint32_t k, uint32_t lane, uint32_t i)
{
    int32_t half = panel[(i / 8 * 16 + lane) * 4 + i % 4] >> (i / 4 % 2 * 4) & 15;
    return (half - 8) * (panel[(size_t)k * 8 + i / group * 8 + lane % 8] >> (lane / 8 * 4) & 15);
}

/* Inputs are bytes - zero in units of 1; results + out_zero in units of out[n], where 0 is a row of padding. `planes`: weights of 14
 * bits in two planes. */
static int put_matrix(work *k, mim_blob_step *s, unsigned slot, const folded *f, int zero, const double *out, double out_zero, int planes)
{
    uint32_t n16 = round_up(f->rows, 16), all = planes ? 2 * n16 : n16, k32 = round_up(f->columns, 32);
    double limit = planes ? fmin(8064, floor(1073741824.0 / (255.0 * f->columns))) : PACK_WEIGHT_MAX;
    int q4 = k->kind->type == MIM_Q4 && !planes && !stays_q8(k->from->blocks, (uint32_t)(s - k->to->steps));
    mim_blob_tensor t = { .rows = planes ? all : f->rows, .columns = f->columns, .type = q4 ? MIM_Q4 : MIM_Q8, .layout = k->kind->layout,
                          .weight_max = q4 ? 0 : PACK_WEIGHT_MAX, .input_max = 255, .group = q4 ? k->kind->group : 0 };
    size_t bytes = (size_t)mim_tensor_bytes(&t), panel_bytes = (bytes - all * (size_t)12) / (all / 16);
    uint8_t *data = keep(k, bytes, 1), zero_byte = t.layout == MIM_PAIRS16 ? 128 : 0;
    float *row = q4 ? keep(k, k32, sizeof *row) : NULL;
    if (!data || (q4 && !row))
        return 1;
    int32_t *rate = (int32_t *)(void *)(data + all / 16 * panel_bytes), *sum = rate + all, *bias = sum + all;
    memset(data, zero_byte, all / 16 * panel_bytes);
    for (uint32_t n = 0; n < f->rows; n++) {
        double step = fmax(row_step(f, n, limit), out[n] / 32768), up = 0, down = 0;
        if (!(out[n] > 0))
            continue;
        if (q4) {
            uint8_t *panel = data + n / 16 * panel_bytes;
            float scale;
            for (uint32_t i = 0; i < f->columns; i++)
                row[i] = (float)f->w[(size_t)n * f->columns + i];
            sum[n] = pack_row_q4(panel, t.group, n % 16, k32, row, (float)(out[n] / 32768), &scale);
            step = (double)scale;
            for (uint32_t i = 0; i < f->columns; i++) {
                int32_t w = weight_of(panel, t.group, k32, n % 16, i);
                up += w > 0 ? w : 0;
                down += w < 0 ? -w : 0;
            }
        }
        for (uint32_t i = 0; i < f->columns && !q4; i++) {
            int32_t w = (int32_t)rint(f->w[(size_t)n * f->columns + i] / step), high = (w + 63 + 127 * 128) / 127 - 128;
            for (uint32_t plane = 0; plane < (planes ? 2u : 1u); plane++) {
                int32_t q = !planes ? w : plane ? w - 127 * high : high;
                uint32_t row_of = n + plane * n16;
                data[integer_place(t.layout, k32, row_of, i)] = (uint8_t)(q + zero_byte);
                sum[row_of] += q;
            }
            up += w > 0 ? w : 0;
            down += w < 0 ? -w : 0;
        }
        double m = half_up(step / out[n] * 4294967296.0), b = half_up((f->bias[n] / out[n] + out_zero) * 4294967296.0 / m) - zero * (up - down);
        if (!(m > 0 && m < 2147483648.0 && 255 * fmax(up, down) + fabs(b) < 2147483648.0))
            return fail("%s: the numbers of a layer (step %td) lie too far apart for --numerics integer", k->from->path, s - k->to->steps);
        rate[n] = (int32_t)m;
        bias[n] = (int32_t)b;
    }
    plan_ready(k->to, s, slot, &t, data);
    return 0;
}

/* int16 in units of `unit` become bytes 128 + (value - middle) / step, which is folded into the matrix. Channels that weigh more in
 * the matrix get finer steps. */
static int put_bytes(work *k, mim_blob_step *s, unsigned slot, const range *seen, folded *f, double unit)
{
    uint32_t n = f->columns, shift = 18;
    double *spread = calloc(4 * (size_t)n, sizeof *spread), *column = spread + n, *step = column + n, *middle = step + n;
    int32_t *table = keep(k, 2 * (size_t)n, sizeof *table);
    double widest = 0, heaviest = 0, ratio = 0, finest = HUGE_VAL;
    int failed = !spread || !table;
    for (uint32_t i = 0; i < n && !failed; i++) {
        spread[i] = half_of(seen, i);
        middle[i] = middle_of(seen, i);
        for (uint32_t r = 0; r < f->rows; r++)
            column[i] += f->w[(size_t)r * n + i] * f->w[(size_t)r * n + i] / f->rows;
        column[i] = sqrt(column[i]);
        widest = fmax(widest, spread[i]);
        heaviest = fmax(heaviest, column[i]);
    }
    widest = widest > 0 ? widest : 1;
    heaviest = heaviest > 0 ? heaviest : 1;
    for (uint32_t i = 0; i < n && !failed; i++) {
        step[i] = sqrt(fmax(spread[i], widest / 64) / fmax(column[i], heaviest / 64));
        ratio = fmax(ratio, fmax(spread[i], widest / 64) / step[i]);
    }
    for (uint32_t i = 0; i < n && !failed; i++) {
        step[i] *= ratio / 127;
        finest = fmin(finest, step[i]);
    }
    while (shift && unit / finest * ldexp(1, (int)shift) > 32767)
        shift--;
    for (uint32_t i = 0; i < n && !failed; i++) {
        double one = ldexp(1, (int)shift), gain = half_up(unit / step[i] * one), offset;
        step[i] = gain > 0 ? unit / gain * one : 0;
        offset = half_up((128.5 - middle[i] / step[i]) * one);
        if (!(gain > 0 && gain <= 32767 && fabs(offset) < 1073741824.0))
            failed = fail("%s: the inputs of a layer (step %td) lie too far apart for --numerics integer", k->from->path, s - k->to->steps);
        table[i] = failed ? 0 : (int32_t)gain;
        table[n + i] = failed ? 0 : (int32_t)offset;
    }
    if (!failed) {
        if (k->written)
            put_table(k, s, slot, 2, n, MIM_I32, (uint8_t)shift, table);
        fold_inputs(f, NULL, NULL, step, middle);
    }
    free(spread);
    return failed;
}

/* The widths of a norm of n numbers: see mim_blob_step.variance. */
static void norm_widths(uint32_t n, int *a, int *q)
{
    int bits = 0;
    while (UINT32_C(1) << bits < n)
        bits++;
    *a = 15 - bits;
    *q = 15 - (bits + 1) / 2;
}

static int set_variance(work *k, mim_blob_step *s, float eps, uint32_t n, double scale)
{
    int a, q;
    norm_widths(n, &a, &q);
    double variance = half_up((double)eps * n * n / (scale * scale)), least = ldexp(1, 4 + 2 * q > 2 * a ? 4 + 2 * q - 2 * a : 0);
    if (!(variance <= ldexp(1, 60)))
        return fail("%s: epsilon of the norms is too large for --numerics integer", k->from->path);
    s->variance = (uint64_t)fmax(variance, least);
    return 0;
}

static double norm_unit(uint32_t n)
{
    int a, q;
    norm_widths(n, &a, &q);
    return ldexp(1, -q);
}

/* A last norm, weight and bias included, as int16 that cannot saturate; sets the step's scale. */
static int put_norm(work *k, mim_blob_step *s, const layer *norm, float eps, double scale)
{
    uint32_t n = norm->columns;
    double one = 32768 * norm_unit(n), largest = 0;
    int32_t *table = keep(k, 2 * (size_t)n, sizeof *table);
    if (!table || set_variance(k, s, eps, n, scale))
        return 1;
    for (uint32_t i = 0; i < n; i++) {
        double gamma = fabs((double)norm->w[i]), beta = fabs((double)norm->w[n + i]);
        largest = fmax(largest, fmax((gamma * sqrt((double)n) + beta) / 32766, gamma * one / 32767));
    }
    s->scale = (float)(largest > 0 ? largest : 1);
    for (uint32_t i = 0; i < n; i++) {
        table[i] = (int32_t)fmax(-32767, fmin(32767, half_up((double)norm->w[i] / (double)s->scale * one)));
        table[n + i] = (int32_t)half_up(((double)norm->w[n + i] / (double)s->scale + 0.5) * 32768);
    }
    put_table(k, s, 0, 2, n, MIM_I32, 15, table);
    return 0;
}

static int16_t *stream_rows(work *k, const layer *l, uint32_t count, uint32_t columns, double scale)
{
    int16_t *to = keep(k, (size_t)count * columns, sizeof *to);
    for (size_t i = 0; to && l->w && i < (size_t)count * columns; i++)
        to[i] = (int16_t)fmax(-32768, fmin(32767, half_up((double)l->w[i] / scale)));
    return to;
}

static int put_rows(work *k, mim_blob_step *s, unsigned slot, const layer *l, uint32_t count, uint32_t columns, double scale)
{
    int16_t *data = stream_rows(k, l, count, columns, scale);
    if (data)
        put_table(k, s, slot, count, columns, MIM_I16, 0, data);
    return !data;
}

/* All rows alike. */
static double *outs(uint32_t count, double scale)
{
    double *out = malloc(count * sizeof *out);
    for (uint32_t i = 0; out && i < count; i++)
        out[i] = scale;
    return out;
}

/* Rows that are added to stream `of`: their matrix, or only what it asks of the stream's scale. */
static int put_added(work *k, mim_blob_step *s, unsigned slot, const folded *f, int zero, int planes, int of, double scale)
{
    double most = planes ? fmin(8064, floor(1073741824.0 / (255.0 * f->columns))) : PACK_WEIGHT_MAX;
    k->least[of] = fmax(k->least[of], ROOM * largest_step(f, most));
    if (!k->written)
        return 0;
    double *out = outs(f->rows, scale);
    int failed = !out || put_matrix(k, s, slot, f, zero, out, 0, planes);
    free(out);
    return failed;
}

static int integer_attention(work *k, mim_blob_step *s, const mim_blob_step *from, known *a, int of, double scale)
{
    uint32_t heads = from->heads, hd = from->head_dim, wide = round_up(hd, 16), dim = a->tensor[0].columns, inner = heads * hd;
    folded qkv = {0}, proj = {0};
    double *out = calloc((size_t)heads * 3 * wide, sizeof *out), *step = calloc(2 * (size_t)inner, sizeof *step), *center = step + inner;
    uint32_t *table = keep(k, 2 * (size_t)heads, sizeof *table);
    int failed = !out || !step || !table || fold(k, &a->tensor[1], &qkv) || fold(k, &a->tensor[2], &proj);
    if (!failed) {
        fold_inputs(&qkv, a->tensor[0].w, a->tensor[0].w + dim, NULL, NULL);
        failed = put_bytes(k, s, 0, &a->input, &qkv, norm_unit(dim));
    }
    for (uint32_t h = 0; h < heads && !failed; h++) {
        double *q = out + h * 3 * wide, *key = q + wide, *value = key + wide, worth = 0, reach = 0;
        for (uint32_t c = 0; c < hd; c++) {
            uint32_t row = h * 3 * wide + c;
            q[c] = fmax(fmax(most_of(&a->middle, row) / 127, ROOM * row_step(&qkv, row, PACK_WEIGHT_MAX)), 1e-30);
            key[c] = fmax(fmax(half_of(&a->middle, row + wide) / 63, ROOM * row_step(&qkv, row + wide, PACK_WEIGHT_MAX)), 1e-30);
            value[c] = fmax(fmax(half_of(&a->middle, row + 2 * wide) / 63, ROOM * row_step(&qkv, row + 2 * wide, PACK_WEIGHT_MAX)), 1e-30);
            /* less their middles: in k it moves all scores of a row alike, in v the output, which the projection's bias makes good */
            qkv.bias[row + wide] -= middle_of(&a->middle, row + wide);
            center[h * hd + c] = middle_of(&a->middle, row + 2 * wide);
            qkv.bias[row + 2 * wide] -= center[h * hd + c];
            worth = fmax(worth, sqrt(q[c] * key[c]));
            reach = fmax(reach, fmax((double)a->output.top[h * hd + c] - center[h * hd + c], center[h * hd + c] - (double)a->output.low[h * hd + c]) / value[c]);
        }
        for (uint32_t c = 0; c < hd; c++) {              /* a step of a score is worth the same in all channels */
            double even = sqrt(q[c] / key[c]);
            q[c] = worth * even;
            key[c] = worth / even;
        }
        double ratio = reach > 0 ? fmin(127 / reach, 3.99) : 3.99;
        double octaves = half_up(worth * worth * (double)from->scale / log(2) * 255 / 9 * 4294967296.0);
        if (!(octaves >= 0 && octaves < 2147483648.0))
            failed = fail("%s: the scores of a head (step %td) are too large for --numerics integer", k->from->path, s - k->to->steps);
        else {
            table[h] = (uint32_t)octaves;
            table[heads + h] = (uint32_t)half_up(ratio * 1073741824.0);
        }
        for (uint32_t c = 0; c < hd; c++)
            step[h * hd + c] = value[c] / ratio;
    }
    if (!failed) {
        fold_inputs(&proj, NULL, NULL, step, center);
        failed = (k->written && put_matrix(k, s, 1, &qkv, 128, out, 0, 0)) || put_added(k, s, 2, &proj, 128, 0, of, scale);
    }
    if (!failed && k->written) {
        s->heads = heads;
        s->head_dim = hd;
        s->key_max = s->value_max = PACK_ATTENTION_MAX;
        put_table(k, s, 6, 2, heads, MIM_I32, 0, table);
        failed = set_variance(k, s, from->eps, dim, scale);
    }
    unfold(&qkv);
    unfold(&proj);
    free(out);
    free(step);
    return failed;
}

static int integer_mlp(work *k, mim_blob_step *s, const mim_blob_step *from, known *m, int of, double scale)
{
    uint32_t hidden = m->tensor[1].rows, dim = m->tensor[0].columns;
    double flat = from->activation == MIM_SILU ? -10 : from->activation == MIM_GELU_QUICK ? -8 : -4;      /* below, an activation is flat */
    double low = HUGE_VAL, top = -HUGE_VAL, least = HUGE_VAL, most = -HUGE_VAL, widest = 0, ratio = 0, curve[LEVELS];
    folded fc1 = {0}, fc2 = {0};
    double *out = NULL, *step = calloc(3 * (size_t)hidden, sizeof *step), *spread = step + hidden, *offset = spread + hidden;
    uint16_t *act = keep(k, LEVELS, sizeof *act);
    int32_t *factor = keep(k, round_up(hidden, 16), sizeof *factor);
    int failed = !step || !act || !factor || fold(k, &m->tensor[1], &fc1) || fold(k, &m->tensor[2], &fc2);
    if (!failed) {
        fold_inputs(&fc1, m->tensor[0].w, m->tensor[0].w + dim, NULL, NULL);
        failed = put_bytes(k, s, 0, &m->input, &fc1, norm_unit(dim));
    }
    for (uint32_t j = 0; j < hidden && !failed; j++) {
        low = fmin(low, (double)m->middle.low[j]);
        top = fmax(top, (double)m->middle.top[j]);
    }
    if (!failed) {
        low = fmax(low, flat);
        double hs = fmax(fmax((top - low) / (LEVELS - 1), ROOM * largest_step(&fc1, PACK_WEIGHT_MAX)), 1e-30);
        for (int i = 0; i < LEVELS; i++) {
            curve[i] = activate(from->activation, low + hs * i);
            least = fmin(least, curve[i]);
            most = fmax(most, curve[i]);
        }
        double unit = most > least ? (most - least) / 65535 : 1;
        for (int i = 0; i < LEVELS; i++)
            act[i] = (uint16_t)half_up((curve[i] - least) / unit);
        for (uint32_t j = 0; j < hidden; j++) {
            spread[j] = fmax(activate(from->activation, (double)m->middle.top[j]), activate(from->activation, (double)m->middle.low[j])) - least;
            widest = fmax(widest, spread[j]);
        }
        widest = widest > 0 ? widest : 1;
        for (uint32_t j = 0; j < hidden; j++) {
            step[j] = sqrt(fmax(spread[j], widest / 64));
            ratio = fmax(ratio, fmax(spread[j], widest / 64) / step[j]);
        }
        for (uint32_t j = 0; j < hidden; j++) {
            double f = fmax(1, fmin(32767, half_up(65536 * unit / (step[j] * ratio / 255))));
            factor[j] = (int32_t)f;
            step[j] = 65536 * unit / f;
            offset[j] = least;
        }
        fold_inputs(&fc2, NULL, NULL, step, offset);
        out = outs(hidden, hs);
        failed = !out || (k->written && put_matrix(k, s, 1, &fc1, 128, out, -low / hs, 0)) || put_added(k, s, 2, &fc2, 0, 0, of, scale);
    }
    if (!failed && k->written) {
        put_table(k, s, 4, 1, LEVELS, MIM_I16, 0, act);
        put_table(k, s, 5, 1, round_up(hidden, 16), MIM_I32, 0, factor);
        failed = set_variance(k, s, from->eps, dim, scale);
    }
    unfold(&fc1);
    unfold(&fc2);
    free(out);
    free(step);
    return failed;
}

/* HEAD and PREDICT: results with a scale of their own. */
static int integer_results(work *k, mim_blob_step *s, known *n, double unit)
{
    folded f = {0};
    double scale = 0;
    int failed = fold(k, &n->tensor[0], &f) || put_bytes(k, s, 1, &n->input, &f, unit);
    for (uint32_t i = 0; i < f.rows && !failed; i++)
        scale = fmax(scale, most_of(&n->output, i) * 2 / 32767);
    if (!failed) {
        scale = fmax(fmax(scale, ROOM * largest_step(&f, PACK_WEIGHT_MAX)), 1e-30);
        double *out = outs(f.rows, scale);
        s->scale = (float)scale;
        failed = !out || put_matrix(k, s, 0, &f, 128, out, 0, 0);
        free(out);
    }
    unfold(&f);
    return failed;
}

static int integer_embed(work *k, mim_blob_step *s, const mim_blob_step *from, known *n, double scale)
{
    const mim_blob_header *h = &k->from->header;
    uint32_t pixels = h->patch_height * h->patch_width, dim = n->tensor[0].rows;
    folded f = {0};
    double *step = calloc(2 * (size_t)n->tensor[0].columns, sizeof *step), *offset = step + n->tensor[0].columns;
    int failed = !step || fold(k, &n->tensor[0], &f);
    for (uint32_t i = 0; i < f.columns && !failed; i++) {
        step[i] = 1 / (255 * (double)h->std[i / pixels]);
        offset[i] = -(double)h->mean[i / pixels] / (double)h->std[i / pixels];
    }
    if (!failed) {
        fold_inputs(&f, NULL, NULL, step, offset);
        failed = put_added(k, s, 0, &f, 0, 1, 0, scale);
    }
    if (!failed && k->written) {
        s->rule = MIM_POSITIONS_FIXED;
        s->stored_frames = 1;
        s->stored_height = h->image_height / h->patch_height;
        s->stored_width = h->image_width / h->patch_width;
        s->kernel_height = from->kernel_height;
        s->kernel_width = from->kernel_width;
        s->scale = (float)scale;
        failed = (k->prefix && put_rows(k, s, 1, &n->tensor[1], k->prefix, dim, scale)) ||
                 put_rows(k, s, 2, &n->tensor[2], k->patches, dim, scale);
    }
    unfold(&f);
    free(step);
    return failed;
}

static int integer_unmask(work *k, mim_blob_step *s, known *n, double scale)
{
    const mim_blob_header *h = &k->from->header;
    uint32_t dim = h->decoder_dim;
    folded f = {0};
    int failed = fold(k, &n->tensor[0], &f) || put_bytes(k, s, 4, &n->input, &f, k->features) || put_added(k, s, 0, &f, 128, 0, 1, scale);
    if (!failed && k->written) {
        s->rule = MIM_POSITIONS_FIXED;
        s->stored_frames = 1;
        s->stored_height = h->image_height / h->patch_height;
        s->stored_width = h->image_width / h->patch_width;
        s->scale = (float)scale;
        failed = put_rows(k, s, 1, &n->tensor[1], 1, dim, scale) || put_rows(k, s, 3, &n->tensor[3], k->patches, dim, scale) ||
                 (n->tensor[2].w && put_rows(k, s, 2, &n->tensor[2], k->prefix, dim, scale));
    }
    unfold(&f);
    return failed;
}

/* Every step. Without `written`, only k->least is found out. */
static int integer_steps(work *k, const double scale[2])
{
    int of = 0, failed = 0;
    double pooled = 1;
    k->features = scale[0];
    for (uint32_t i = 0; i < k->from->header.step_count && !failed; i++) {
        const mim_blob_step *from = &k->from->steps[i];
        known *n = &k->step[i];
        mim_blob_step *s = plan_step(k->to, from->kind);
        s->flags = from->flags;
        switch (from->kind) {
        case MIM_STEP_EMBED:     failed = integer_embed(k, s, from, n, scale[0]); break;
        case MIM_STEP_ATTENTION: failed = integer_attention(k, s, from, n, of, scale[of]); break;
        case MIM_STEP_MLP:       failed = integer_mlp(k, s, from, n, of, scale[of]); break;
        case MIM_STEP_NORM:
            failed = put_norm(k, s, &n->tensor[0], from->eps, scale[of]);
            k->features = (double)s->scale;
            break;
        case MIM_STEP_POOL:
            s->rule = from->rule;
            s->scale = (float)k->features;
            failed = from->tensor[0] && put_norm(k, s, &n->tensor[0], from->eps, k->features);
            pooled = (double)s->scale;
            break;
        case MIM_STEP_UNMASK:
            of = 1;
            failed = integer_unmask(k, s, n, scale[1]);
            break;
        default:
            failed = integer_results(k, s, n, from->kind == MIM_STEP_HEAD ? pooled : k->features);
        }
    }
    return failed;
}

/* ---- calibration ---- */

/* Stored positions become those of the image's grid, by the model's own rule. */
static int place(work *k, const mim_blob_step *s, layer *table)
{
    uint32_t height = k->from->header.image_height / k->from->header.patch_height;
    uint32_t width = k->from->header.image_width / k->from->header.patch_width;
    float *w = keep(k, (size_t)height * width * table->columns, sizeof *w);
    if (!w) return 1;
    positions_at(s, table->w, height, width, table->columns, w);
    table->rows = height * width;
    table->w = w;
    return 0;
}

static int prepare(work *k)
{
    const mim_blob_header *h = &k->from->header;
    size_t tokens = k->prefix + k->patches, widest = 0, dim = h->dim > h->decoder_dim ? h->dim : h->decoder_dim;
    k->step = keep(k, h->step_count, sizeof *k->step);
    if (!k->step)
        return 1;
    for (uint32_t i = 0; i < h->step_count; i++) {
        const mim_blob_step *s = &k->from->steps[i];
        known *n = &k->step[i];
        for (unsigned slot = 0; slot < 7; slot++)
            if (s->tensor[slot] && load(k, s->tensor[slot], &n->tensor[slot]))
                return 1;
        unsigned positions = s->kind == MIM_STEP_EMBED ? 2 : s->kind == MIM_STEP_UNMASK ? 3 : 0;
        if (positions && s->tensor[positions] && place(k, s, &n->tensor[positions]))
            return 1;
        for (unsigned slot = 0; slot < 7; slot++) {
            widest = n->tensor[slot].rows > widest && slot < 3 && s->kind != MIM_STEP_UNMASK ? n->tensor[slot].rows : widest;
            widest = n->tensor[slot].columns > widest ? n->tensor[slot].columns : widest;
        }
        if (s->kind == MIM_STEP_ATTENTION || s->kind == MIM_STEP_MLP) {
            if (watch(k, &n->input, n->tensor[0].columns) || watch(k, &n->middle, n->tensor[1].rows) ||
                watch(k, &n->output, n->tensor[2].columns))
                return 1;
        } else if (s->kind == MIM_STEP_HEAD || s->kind == MIM_STEP_UNMASK || s->kind == MIM_STEP_PREDICT) {
            if (watch(k, &n->input, n->tensor[0].columns) || watch(k, &n->output, n->tensor[0].rows))
                return 1;
        }
    }
    widest = widest > dim ? widest : dim;
    k->x = keep(k, tokens * dim, sizeof(float));
    k->u = keep(k, tokens * widest, sizeof(float));
    k->y = keep(k, tokens * widest, sizeof(float));
    k->z = keep(k, tokens * widest, sizeof(float));
    k->scores = keep(k, tokens, sizeof(float));
    return !k->x || !k->u || !k->y || !k->z || !k->scores;
}

static int calibrate(work *k, const char *folder)
{
    const mim_blob_header *h = &k->from->header;
    const mim_model view = { h, k->from->steps, k->from->tensors, 0, "" };
    size_t area = (size_t)h->image_height * h->image_width;
    uint32_t *order = keep(k, k->patches, sizeof *order), random = 1;
    float *pixels = keep(k, area * h->channels, sizeof *pixels);
    inputs all;
    memset(&all, 0, sizeof all);
    all.frames = 1;
    int failed = !order || !pixels || inputs_add(&all, folder, &view, h->image_height, h->image_width);
    for (size_t i = 0; i < all.count && !failed; i++) {
        const char *path = all.names + all.sources[i].name;
        picture p;
        reason why;
        if (all.sources[i].kind != SOURCE_PICTURE) {
            failed = fail("%s: --calib takes pictures, not arrays", path);
            break;
        }
        if (picture_read(&p, path, &why)) {
            failed = fail("%s: %s", path, why.text);
            break;
        }
        if (picture_prepare(&p, &view, h->image_width, h->image_height, &why))
            failed = fail("%s: %s", path, why.text);
        for (size_t j = 0; j < area && !failed; j++)
            for (uint32_t c = 0; c < h->channels; c++)
                pixels[c * area + j] = ((float)p.pixels[j * h->channels + c] / 255.0f - h->mean[c]) / h->std[c];
        picture_free(&p);
        if (failed)
            break;
        run(k, pixels, NULL, k->patches);
        for (uint32_t j = 0; j < k->patches; j++)
            order[j] = j;
        for (uint32_t j = k->patches; j-- > 1; ) {       /* the decoder sees a quarter of the patches, drawn alike at every conversion */
            random = random * 1664525u + 1013904223u;
            uint32_t other = (uint32_t)((uint64_t)random * (j + 1) >> 32), kept = order[j];
            order[j] = order[other];
            order[other] = kept;
        }
        if (h->decoder_dim)
            run(k, pixels, order, k->patches / 4 ? k->patches / 4 : 1);
    }
    inputs_free(&all);
    return failed;
}

int integer_write(const plan *from, const integer_kind *kind, const char *calibration, const char *output, mim_blob_header *written)
{
    work k = { .from = from, .kind = kind };
    const mim_blob_header *h = &from->header;
    k.prefix = h->has_cls + h->registers;
    k.patches = h->image_height / h->patch_height * (h->image_width / h->patch_width);
    if (refuse(from))
        return 1;
    k.to = calloc(1, sizeof *k.to);
    int failed = !k.to ? fail("%s: not enough memory", from->path) : prepare(&k) || calibrate(&k, calibration);
    double scale[2];
    for (k.written = 0; k.written < 2 && !failed; k.written++) {
        for (int of = 0; of < 2; of++)
            scale[of] = fmax(fmax((double)k.most[of] * MARGIN / 32767, k.least[of]), 1e-30);
        k.to->header = *h;
        k.to->header.step_count = k.to->header.tensor_count = 0;
        k.to->header.type = kind->type;
        k.to->header.numerics = MIM_NUMERICS_INTEGER;
        k.to->path = from->path;
        failed = integer_steps(&k, scale);
    }
    failed = failed || plan_write(k.to, output);
    if (!failed)
        *written = k.to->header;
    while (k.blocks) {
        struct block *next = k.blocks->next;
        free(k.blocks);
        k.blocks = next;
    }
    free(k.to);
    return failed;
}
