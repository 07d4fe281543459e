/* pack.c - see pack.h. */
#include "made.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- rows ---- */

static int multiply(const rows *r, uint32_t n, uint32_t count, float *row, float *bias)
{
    float gain;
    for (uint32_t i = 0; r->factor > 0 && i < count; i++)
        row[i] = (float)((double)row[i] * r->factor);
    *bias = r->factor > 0 ? (float)((double)*bias * r->factor) : *bias;
    if (!r->gain)
        return 0;
    if (tensor_read(r->gain, n, 1, &gain))
        return 1;
    for (uint32_t i = 0; i < count; i++)       /* the product of two floats is exact in double: one rounding */
        row[i] = (float)((double)row[i] * (double)gain);
    *bias = (float)((double)*bias * (double)gain);
    for (uint32_t i = 0; i < count; i++)
        if (!isfinite(row[i]))
            return fail("%s: '%s' times '%s' is too large for f32", r->gain->file, r->part[0].weight->name, r->gain->name);
    return isfinite(*bias) ? 0 : fail("%s: '%s' makes a bias too large for f32", r->gain->file, r->gain->name);
}

/* One head's column of the tables of relative positions, that of all blocks and the block's own. */
static int read_bias(const rows *r, uint32_t head, uint32_t columns, float *row)
{
    for (uint32_t i = 0; i < columns; i++) {
        double sum = 0;
        for (int k = 0; k < 2; k++) {
            float value;
            if (!r->part[k].weight)
                continue;
            if (tensor_read(r->part[k].weight, (uint64_t)i * r->heads + head, 1, &value))
                return 1;
            sum += (double)value;
        }
        row[i] = (float)sum;
        if (!isfinite(row[i]))
            return fail("%s: '%s' plus '%s' is too large for f32", r->part[0].weight->file, r->part[0].weight->name,
                        r->part[1].weight->name);
    }
    return 0;
}

/* Row 0: angles, row 1: coordinates. The first half of the rotated pairs turns with y, the second with x, both through
 * periods from 1 to almost the base; centred coordinates span -1..1, one period of 1 is then a whole turn. */
static int read_rotary(const rows *r, uint32_t n, uint32_t columns, float *row)
{
    const tensor *periods = r->part[0].weight;
    uint32_t quarter = r->head_dim / 4;
    double turn = r->grid == MIM_GRID_CENTERED ? 6.283185307179586 : 1;
    for (uint32_t c = 0; c < columns; c++) {
        uint32_t pair = r->rotary == MIM_ROTARY_PAIRS ? c / 2 : c % (columns / 2);
        double period = pow(r->base, (double)(pair % quarter) / quarter);
        float stored;
        if (periods) {
            if (tensor_read(periods, pair % quarter, 1, &stored))
                return 1;
            period = (double)stored;
        }
        row[c] = n ? (pair < quarter ? 1.0f : 2.0f) : (float)(turn / period);
        if (!(period > 0) || !isfinite(row[c]))
            return fail("%s: '%s' holds %g, which is no period", periods ? periods->file : "", periods ? periods->name : "", period);
    }
    return 0;
}

/* `columns` floats from `at` on, the places of a cell brought into order. */
static int read_cells(const rows *r, const tensor *t, uint64_t at, uint32_t columns, float *row)
{
    uint32_t height = r->cell_height, width = r->cell_width, channels;
    if (r->order == CELLS_BY_ROW)
        return tensor_read(t, at, columns, row);
    channels = columns / (height * width);
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++, row += channels) {
            if (r->order == CELLS_BY_COLUMN && tensor_read(t, at + ((uint64_t)x * height + y) * channels, channels, row))
                return 1;
            if (r->order == CELLS_ALIKE && tensor_read(t, at / (height * width), channels, row))
                return 1;
            for (uint32_t c = 0; r->order == CELLS_ALIKE && c < channels; c++)
                row[c] /= (float)(height * width);
            for (uint32_t c = 0; r->order == CELLS_INSIDE && c < channels; c++)
                if (tensor_read(t, at + ((uint64_t)c * height + y) * width + x, 1, &row[c]))
                    return 1;
        }
    return 0;
}

/* Swin V2's distance along an axis, as float32 has it: log2(1 + 8 d / reach) / log2(8), with d's sign. */
static float log_distance(uint32_t i, uint32_t window, uint32_t reach)
{
    float d = ((float)i - (float)(window - 1)) / (float)reach * 8.0f;
    float far = (float)log2((double)(fabsf(d) + 1.0f)) / 3.0f;
    return d < 0 ? -far : far;
}

/* UM-MAE's, from the query to the key: log(1 + d). */
static double plain_distance(uint32_t i, uint32_t window)
{
    double d = (double)(window - 1) - (double)i;
    return d < 0 ? -log1p(-d) : log1p(d);
}

/* One head's biases: 16 sigmoid(w2 relu(w1 distance + b1)), or UM-MAE's w2 relu(w1 distance + b1) + b2. */
static int read_distances(const rows *r, uint32_t head, uint32_t columns, float *row)
{
    const tensor *w1 = r->part[0].weight, *b1 = r->part[0].bias, *w2 = r->part[1].weight, *b2 = r->part[1].bias;
    float last = 0;
    uint32_t hidden = (uint32_t)w1->shape[0], wide = 2 * r->cell_width - 1;
    float *w = malloc((size_t)hidden * 4 * sizeof *w);
    int failed = !w ? fail("%s: not enough memory", w1->file)
                    : tensor_read(w1, 0, 2 * (size_t)hidden, w) || tensor_read(w2, (uint64_t)head * hidden, hidden, w + 2 * (size_t)hidden);
    if (!failed && b1)
        failed = tensor_read(b1, 0, hidden, w + 3 * (size_t)hidden);
    if (!failed && b2)
        failed = tensor_read(b2, head, 1, &last);
    for (uint32_t i = 0; i < columns && !failed; i++) {
        double sum = (double)last, y = r->reach_y ? (double)log_distance(i / wide, r->cell_height, r->reach_y) : plain_distance(i / wide, r->cell_height);
        double x = r->reach_y ? (double)log_distance(i % wide, r->cell_width, r->reach_x) : plain_distance(i % wide, r->cell_width);
        for (uint32_t k = 0; k < hidden; k++) {
            double unit = (double)w[2 * k] * y + (double)w[2 * k + 1] * x + (b1 ? (double)w[3 * hidden + k] : 0);
            sum += unit > 0 ? unit * (double)w[2 * hidden + k] : 0;
        }
        row[i] = (float)(r->reach_y ? 16 / (1 + exp(-sum)) : sum);
        failed = !isfinite(row[i]) && fail("%s: '%s' makes a bias too large for f32", w2->file, w2->name);
    }
    free(w);
    return failed;
}

/* Row n: columns floats and its bias. Sizes were verified when the plan was made. */
int plan_row(const rows *r, uint32_t n, uint32_t columns, float *row, float *bias)
{
    const part *p = &r->part[0];
    uint32_t padded = round_up(r->head_dim, 16);
    *bias = 0;
    switch (r->kind) {
    case ROWS_LINEAR:
        return read_cells(r, p->weight, (uint64_t)n * columns, columns, row) ||
               (p->bias && tensor_read(p->bias, n, 1, bias)) || multiply(r, n, columns, row, bias);
    case ROWS_COLUMNS:
        for (uint32_t i = 0; i < columns; i++)
            if (tensor_read(p->weight, i * p->weight->shape[1] + n, 1, &row[i]))
                return 1;
        return 0;
    case ROWS_QKV: {
        uint32_t head = n / (3 * padded), which = n / padded % 3, i = n % padded;
        if (i >= r->head_dim) {
            memset(row, 0, columns * sizeof *row);
            return 0;
        }
        uint64_t within = (uint64_t)head * r->head_dim + i, at = r->first[which] + within;
        p = &r->part[which];
        /* a bias of its own (q_bias) counts from 0, one fused with the others from where its weights begin */
        uint64_t bias_at = p->bias && p->bias->count == p->weight->shape[0] ? at : within;
        return tensor_read(p->weight, at * columns, columns, row) || (p->bias && tensor_read(p->bias, bias_at, 1, bias));
    }
    case ROWS_GATED: {
        uint32_t half = round_up(r->hidden, 16), which = n / half, i = n % half;
        if (i >= r->hidden) {
            memset(row, 0, columns * sizeof *row);
            return 0;
        }
        uint64_t at = r->first[which] + i;
        p = &r->part[which];
        return tensor_read(p->weight, at * columns, columns, row) || (p->bias && tensor_read(p->bias, at, 1, bias));
    }
    case ROWS_BIAS:
        return read_bias(r, n, columns, row);
    case ROWS_ROTARY:
        return read_rotary(r, n, columns, row);
    case ROWS_MADE:
        return made_row(r, n, columns, row, bias);
    case ROWS_NORM:
        return read_cells(r, n ? p->bias : p->weight, 0, columns, row);
    case ROWS_AXES:
        while (n >= p->weight->shape[0])
            n -= (uint32_t)(p++)->weight->shape[0];
        memset(row, 0, columns * sizeof *row);
        return tensor_read(p->weight, (uint64_t)n * r->head_dim, r->head_dim, row);
    case ROWS_NORMS:
        p = &r->part[n / 2];
        memset(row, 0, columns * sizeof *row);
        return tensor_read(n % 2 ? p->bias : p->weight, 0, (size_t)p->weight->count, row);
    case ROWS_DEPTHWISE: {
        uint32_t places = r->cell_height * r->cell_width;
        memset(row, 0, columns * sizeof *row);
        if (n == r->count * places)
            return p->bias && tensor_read(p->bias, 0, columns, row);
        p = &r->part[n / places];
        for (uint32_t c = 0; c < p->weight->shape[0]; c++)
            if (tensor_read(p->weight, (uint64_t)c * places + n % places, 1, &row[c]))
                return 1;
        for (uint32_t c = 0; n == places / 2 && r->factor > 0 && c < p->weight->shape[0]; c++)
            row[c] = (float)((double)row[c] + r->factor);
        return 0;
    }
    case ROWS_SCALES:
        if (tensor_read(p->weight, 0, columns, row))
            return 1;
        for (uint32_t i = 0; i < columns; i++)
            row[i] = (float)exp((double)row[i] < log(100) ? (double)row[i] : log(100));
        return 0;
    case ROWS_DISTANCES:
        return read_distances(r, n, columns, row);
    case ROWS_DISTANCE_MLP: {
        size_t hidden = (size_t)p->weight->shape[0];
        memset(row, 0, columns * sizeof *row);
        if (n >= 3)
            return tensor_read(r->part[1].weight, (n - 3) * (uint64_t)hidden, hidden, row);
        if (n == 2)
            return p->bias && tensor_read(p->bias, 0, hidden, row);
        for (size_t i = 0; i < hidden; i++)
            if (tensor_read(p->weight, 2 * i + n, 1, &row[i]))
                return 1;
        return 0;
    }
    case ROWS_DISTANCE_INPUTS:
        for (uint32_t i = 0; i < columns; i++)
            row[i] = i < 2 * n + 1 ? log_distance(i, n + 1, n ? n : 1) : 0;
        return 0;
    case ROWS_TOKENS: {
        uint32_t first = p->weight != NULL;
        const tensor *token = n < first ? p->weight : r->part[1].weight;
        if (!token)
            memset(row, 0, columns * sizeof *row);
        else if (tensor_read(token, n < first ? 0 : (uint64_t)(n - first) * columns, columns, row))
            return 1;
        for (uint32_t i = 0; n < r->first[2] && i < columns; i++) {
            const tensor *table = r->part[2].weight;
            const uint32_t wide = (uint32_t)table->shape[table->rank - 1];
            float position = 0;
            if (i < wide ? tensor_read(table, (uint64_t)n * wide + i, 1, &position)
                         : r->tail && tensor_read(r->tail, i - wide, 1, &position))
                return 1;
            row[i] += position;
            if (!isfinite(row[i]))
                return fail("%s: '%s' plus a token is too large for f32", r->part[2].weight->file, r->part[2].weight->name);
        }
        return 0;
    }
    default:
        if (r->order == CELLS_BY_ROW) {
            const uint32_t wide = (uint32_t)p->weight->shape[p->weight->rank - 1];
            memset(row + wide, 0, (columns - wide) * sizeof *row);
            return tensor_read(p->weight, (r->first[0] + n) * wide, wide, row);
        }
        for (uint32_t i = 0; i < columns; i++)       /* channel by channel */
            if (tensor_read(p->weight, (uint64_t)i * r->cell_height * r->cell_width + n, 1, &row[i]))
                return 1;
        return 0;
    }
}

/* ---- number formats ---- */

static uint32_t float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Round to nearest, ties to even. |value| <= 2, so nothing overflows. */
static uint16_t to_half(float value)
{
    uint32_t bits = float_bits(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;
    if (magnitude < 0x38800000) {             /* below 2^-14: a subnormal, a multiple of 2^-24; adding 0.5 rounds to one */
        float shifted = (sign ? -value : value) + 0.5f;
        return (uint16_t)(sign | (float_bits(shifted) - 0x3F000000));
    }
    uint32_t odd = magnitude >> 13 & 1;       /* a carry out of the fraction raises the exponent, as it should */
    return (uint16_t)(sign | (magnitude - 0x38000000 + 0xFFF + odd) >> 13);
}

/* The power of two in (max / 2, max]; 1 for 0. */
static float half_scale(float max)
{
    int exponent;
    if (!(max > 0))
        return 1;
    frexp((double)max, &exponent);
    return (float)ldexp(1.0, exponent - 1);   /* as small as 2^-149: exact */
}

/* Half to even; |value| < 2^31. */
static int32_t round_even(double value)
{
    double low = floor(value), rest = value - low;
    int32_t whole = (int32_t)low;
    return whole + (rest > 0.5 || (rest == 0.5 && (whole & 1)));
}

static int32_t quantize(float value, float scale, int32_t most)
{
    int32_t q = round_even((double)value / (double)scale);
    return q > most ? most : q < -most ? -most : q;
}

/* -128..127; half up, and much faster than round_even. */
static int32_t nearest(float x)
{
    float up = x + 128.5f;
    return (int32_t)up - 128;
}

/* Eight weights by the step 1 / inverse, held to what `fours` of mim_blob_tensor says: what is too much is taken one by one from
 * the weight whose error that leaves least. Returns the squared error in steps. */
static double quantize_fours(const float *w, float inverse, int32_t *q)
{
    static const uint8_t places[2][4] = { { 0, 1, 4, 5 }, { 2, 3, 6, 7 } };
    float x[8], error = 0;
    for (uint32_t i = 0; i < 8; i++) {
        x[i] = w[i] * inverse;
        q[i] = nearest(x[i]);
    }
    for (uint32_t f = 0; f < 4; f++) {
        const uint8_t *at = places[f / 2];
        int32_t sign = f % 2 ? -1 : 1, sum = 0;
        for (uint32_t j = 0; j < 4; j++)
            sum += q[at[j]] * sign > 0 ? q[at[j]] * sign : 0;
        for (; sum > 128; sum--) {
            uint32_t worst = 0;
            float most = -256;
            for (uint32_t j = 0; j < 4; j++) {
                float excess = ((float)q[at[j]] - x[at[j]]) * (float)sign;
                if (q[at[j]] * sign > 0 && excess > most) {
                    most = excess;
                    worst = at[j];
                }
            }
            q[worst] -= sign;
        }
    }
    for (uint32_t i = 0; i < 8; i++) {
        float rest = (float)q[i] - x[i];
        rest *= rest;
        error += rest;
    }
    return (double)error;
}

/* The step of the least squared error, and that error. Where the largest weight is 32 of them, fours need no holding. */
static float fours_step(const float *row, uint32_t k, float max, double *least)
{
    float step = 1;
    *least = HUGE_VAL;
    for (uint32_t steps = 32; steps < 128; steps += 8) {
        float trial = max / (float)steps;
        double unit = (double)trial * (double)trial, error = 0;
        int32_t q[8];
        for (uint32_t i = 0; i < k && error * unit < *least; i += 8)
            error += quantize_fours(row + i, 1 / trial, q);
        if (error * unit < *least) {
            *least = error * unit;
            step = trial;
        }
    }
    return step;
}

static float largest(const float *row, uint32_t k)
{
    float max = 0;
    for (uint32_t i = 0; i < k; i++)
        max = fabsf(row[i]) > max ? fabsf(row[i]) : max;
    return max;
}

/* The fours of a q8 matrix are held, its weights not, where that leaves no larger an error: the squares' sum of each row as a share
 * of the row's, of all rows together. */
static int choose_range(plan *p, uint32_t index)
{
    mim_blob_tensor *t = &p->tensors[index];
    uint32_t k = round_up(t->columns, 32);
    float *row = calloc(k, sizeof *row), *steps = calloc(round_up(t->rows, 16), sizeof *steps), bias;
    double gain = 0;
    int failed = row && steps ? 0 : fail("%s: not enough memory", p->path);
    p->rows[index].steps = steps;
    for (uint32_t n = 0; n < t->rows && !failed; n++) {
        failed = plan_row(&p->rows[index], n, t->columns, row, &bias);
        float max = largest(row, k), scale = max / PACK_WEIGHT_MAX;
        double least, error = 0, square = 0;
        if (failed || !(max / 128 > 0))
            continue;
        steps[n] = fours_step(row, k, max, &least);
        for (uint32_t i = 0; i < t->columns; i++) {
            float x = row[i] / scale, rest = (float)nearest(x) - x;
            rest *= rest;
            error += (double)rest;
            x *= x;
            square += (double)x;
        }
        least /= (double)scale * (double)scale;
        gain += (error - least) / square;
    }
    free(row);
    t->fours = gain >= 0;
    t->weight_max = t->fours ? 127 : PACK_WEIGHT_MAX;
    return failed;
}

/* Stores row `lane` of a panel; k = padded columns; step: its own where fours are held. Returns the row's sum and scale for types
 * that have them. */
static int32_t pack_row(uint8_t *panel, const mim_blob_tensor *t, float step, uint32_t lane, uint32_t k, const float *row, float *scale)
{
    float max = largest(row, k);
    int32_t sum = 0, q[8];
    *scale = 1;
    if (t->type == MIM_F16)
        *scale = half_scale(max);
    if (t->type == MIM_Q8 && !t->fours && (float)(max / (float)t->weight_max) > 0)
        *scale = max / (float)t->weight_max;
    if (t->fours && step > 0)
        *scale = step;
    for (uint32_t i = 0; i < k; i++) {
        if (t->type == MIM_F32) {
            memcpy(panel + ((size_t)i * 16 + lane) * 4, &row[i], 4);
        } else if (t->type == MIM_F16) {
            uint16_t half = to_half(row[i] / *scale);     /* exact but where it is far below half's least step */
            memcpy(panel + ((size_t)i * 16 + lane) * 2, &half, 2);
        } else {
            if (t->fours && i % 8 == 0)
                quantize_fours(row + i, 1 / *scale, q);
            else if (!t->fours)
                q[i % 8] = quantize(row[i], *scale, t->weight_max);
            sum += q[i % 8];
            panel[((size_t)(i / 4) * 16 + lane) * 4 + i % 4] = (uint8_t)q[i % 8];
        }
    }
    return sum;
}

/* ---- 4 bits ---- */

/* The best of -8..7 for value = q * step, plus 8. */
static int32_t nibble(float value, float inverse)
{
    float q = value * inverse + 8.5f;
    return q > 0 ? q < 15.5f ? (int32_t)q : 15 : 0;
}

static double group_error(const float *w, uint32_t n, float step)
{
    float inverse = 1 / step, sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        float rest = (float)(nibble(w[i], inverse) - 8) * step;
        rest -= w[i];
        rest *= rest;
        sum += rest;
    }
    return (double)sum;
}

/* The multiplier, 1 to 15, of the least squared error for a group whose largest magnitude is top, and that error. The best
 * step maps the largest weight to somewhere between 5.5 and 9 of them. */
static double group_multiplier(const float *w, uint32_t n, float top, float unit, uint32_t *multiplier)
{
    uint32_t first = (uint32_t)(top / (9 * unit)), last = (uint32_t)(top / (5.5f * unit)) + 1;
    double best = HUGE_VAL;
    first = first < 1 ? 1 : first > 15 ? 15 : first;
    last = last > 15 ? 15 : last;
    for (uint32_t m = first; m <= last; m++) {
        double error = group_error(w, n, unit * (float)m);
        if (error < best) {
            best = error;
            *multiplier = m;
        }
    }
    return best;
}

/* Tries units around the one that gives the widest group a multiplier of 15, and moves the best to where the squared error of the
 * halves then chosen is least. */
int32_t pack_row_q4(uint8_t *panel, uint32_t group, uint32_t lane, uint32_t k, const float *row, float least, float *scale)
{
    enum { TRIES = 16, GROUPS = MIM_MAX_COLUMNS / 32 };
    uint32_t groups = (k + group - 1) / group, multiplier[GROUPS], trial[GROUPS];
    float top[GROUPS], most = 0;
    double best = HUGE_VAL, product = 0, square = 0;
    int32_t sum = 0;
    for (uint32_t g = 0; g < groups; g++) {
        top[g] = 0;
        for (uint32_t i = g * group; i < k && i < (g + 1) * group; i++)
            top[g] = fabsf(row[i]) > top[g] ? fabsf(row[i]) : top[g];
        most = top[g] > most ? top[g] : most;
        multiplier[g] = 1;
    }
    *scale = least > 0 ? least : 1;
    for (uint32_t t = 0; t < TRIES && most / 240 > 0; t++) {
        float unit = most / (15 * (6.4f + 0.15f * (float)t));
        unit = unit > least ? unit : least;
        double error = 0;
        for (uint32_t g = 0; g < groups && error < best; g++)
            error += group_multiplier(row + g * group, k - g * group < group ? k - g * group : group, top[g], unit, &trial[g]);
        if (error < best) {
            best = error;
            *scale = unit;
            memcpy(multiplier, trial, groups * sizeof *trial);
        }
    }
    for (uint32_t g = 0; g < groups; g++) {
        uint8_t *at = panel + (size_t)k * 8 + g * 8 + lane % 8;
        *at = (uint8_t)(lane < 8 ? (*at & 0xF0) | multiplier[g] : (*at & 0x0F) | multiplier[g] << 4);
    }
    for (uint32_t i = 0; i < k; i++) {
        uint32_t m = multiplier[i / group], shift = i / 4 % 2 * 4;
        int32_t q = nibble(row[i], 1 / (*scale * (float)m)), w = (q - 8) * (int32_t)m;
        uint8_t *at = panel + ((size_t)(i / 8) * 16 + lane) * 4 + i % 4;
        *at = (uint8_t)((*at & ~(15u << shift)) | (uint32_t)q << shift);
        double term = (double)w * (double)row[i];
        product += term;
        square += (double)(w * w);
        sum += w;
    }
    if (product > 0 && (float)(product / square) > least)
        *scale = (float)(product / square);
    return sum;
}

/* ---- plans ---- */

mim_blob_step *plan_step(plan *p, uint16_t kind)
{
    mim_blob_step *step = &p->steps[p->header.step_count++];
    memset(step, 0, sizeof *step);
    step->kind = kind;
    return step;
}

static uint32_t matrix_type(const plan *p, const mim_blob_step *step)
{
    if (p->kind.input_max && step->kind == MIM_STEP_EMBED)
        return MIM_Q8;
    uint32_t at = (uint32_t)(step - p->steps) - (p->steps[1].kind == MIM_STEP_NORM);       /* a norm may stand before the blocks */
    return p->kind.type == MIM_Q4 && stays_q8(p->blocks, at) ? (uint32_t)MIM_Q8 : p->kind.type;
}

static void plan_tensor(plan *p, mim_blob_step *step, unsigned slot, uint32_t count, uint32_t columns, const rows *from,
                        int matrix)
{
    uint32_t index = p->header.tensor_count++;
    mim_blob_tensor *t = &p->tensors[index];
    memset(t, 0, sizeof *t);
    t->rows = count;
    t->columns = columns;
    t->type = (uint8_t)(matrix ? matrix_type(p, step) : MIM_F32);
    t->layout = matrix ? MIM_PANEL16 : MIM_PLAIN;
    t->weight_max = t->type == MIM_Q8 ? PACK_WEIGHT_MAX : 0;
    t->input_max = t->type == MIM_Q8 || t->type == MIM_Q4 ? p->kind.input_max : 0;
    if (t->type == MIM_Q8 && step->kind == MIM_STEP_EMBED)       /* of pixels the more precise way to exact sums of 16 bits */
        t->weight_max = t->input_max = 127;
    t->group = t->type == MIM_Q4 ? p->kind.group : 0;
    p->rows[index] = *from;
    step->tensor[slot] = (uint16_t)(index + 1);
}

void plan_ready(plan *p, mim_blob_step *step, unsigned slot, const mim_blob_tensor *t, const void *data)
{
    uint32_t index = p->header.tensor_count++;
    p->tensors[index] = *t;
    memset(&p->rows[index], 0, sizeof p->rows[index]);
    p->rows[index].kind = ROWS_READY;
    p->rows[index].ready = data;
    step->tensor[slot] = (uint16_t)(index + 1);
}

void plan_plain(plan *p, mim_blob_step *step, unsigned slot, uint32_t count, uint32_t columns, const rows *from)
{
    plan_tensor(p, step, slot, count, columns, from, 0);
}

void plan_matrix(plan *p, mim_blob_step *step, unsigned slot, uint32_t count, uint32_t columns, const rows *from)
{
    plan_tensor(p, step, slot, count, columns, from, 1);
}

static int write_plain(out_file *out, const mim_blob_tensor *t, const rows *r, float *row)
{
    float bias;
    for (uint32_t n = 0; n < t->rows; n++)
        if (plan_row(r, n, t->columns, row, &bias) || out_write(out, row, t->columns * sizeof *row))
            return 1;
    return 0;
}

static int write_panels(out_file *out, const mim_blob_tensor *t, const rows *r, float *row, uint8_t *panel,
                        float *scales, int32_t *sums, float *biases)
{
    uint32_t n16 = round_up(t->rows, 16), k = round_up(t->columns, 32);
    int sum_of_row = t->type == MIM_Q8 || t->type == MIM_Q4;
    size_t panel_bytes = (size_t)((mim_tensor_bytes(t) - n16 * (t->type == MIM_F32 ? 4u : sum_of_row ? 12u : 8u)) / (n16 / 16));
    memset(row, 0, k * sizeof *row);
    for (uint32_t n = 0; n < n16; n++) {
        biases[n] = 0;
        if (n < t->rows) {
            if (plan_row(r, n, t->columns, row, &biases[n]))
                return 1;
        } else {
            memset(row, 0, k * sizeof *row);
        }
        sums[n] = t->type == MIM_Q4 ? pack_row_q4(panel, t->group, n % 16, k, row, 0, &scales[n])
                                    : pack_row(panel, t, t->fours ? r->steps[n] : 0, n % 16, k, row, &scales[n]);
        if (n % 16 == 15 && out_write(out, panel, panel_bytes))
            return 1;
    }
    return (t->type != MIM_F32 && out_write(out, scales, n16 * sizeof *scales)) ||
           (sum_of_row && out_write(out, sums, n16 * sizeof *sums)) ||
           out_write(out, biases, n16 * sizeof *biases);
}

/* Everything but the checksum. */
static int write_blob(plan *p, out_file *out)
{
    static const uint8_t zeros[MIM_BLOB_ALIGN];
    uint32_t rows_max = 16, k_max = 32;
    int failed = 0;
    for (uint32_t i = 0; i < p->header.tensor_count; i++) {
        uint32_t n = round_up(p->tensors[i].rows, 16), k = round_up(p->tensors[i].columns, 32);
        rows_max = n > rows_max ? n : rows_max;
        k_max = k > k_max ? k : k_max;
    }
    float *row = malloc(k_max * sizeof *row), *scales = malloc(rows_max * sizeof *scales);
    float *biases = malloc(rows_max * sizeof *biases);
    int32_t *sums = malloc(rows_max * sizeof *sums);
    uint8_t *panel = malloc((size_t)k_max * 64);
    if (!row || !scales || !biases || !sums || !panel)
        failed = fail("%s: not enough memory", p->path);

    uint64_t at = sizeof p->header + p->header.step_count * sizeof *p->steps + p->header.tensor_count * sizeof *p->tensors;
    failed = failed || out_write(out, &p->header, sizeof p->header) ||
             out_write(out, p->steps, p->header.step_count * sizeof *p->steps) ||
             out_write(out, p->tensors, p->header.tensor_count * sizeof *p->tensors);
    for (uint32_t i = 0; i < p->header.tensor_count && !failed; i++) {
        const mim_blob_tensor *t = &p->tensors[i];
        failed = out_write(out, zeros, (size_t)(t->at - at)) ||
                 (p->rows[i].kind == ROWS_READY ? out_write(out, p->rows[i].ready, (size_t)mim_tensor_bytes(t))
                  : t->layout == MIM_PLAIN ? write_plain(out, t, &p->rows[i], row)
                                           : write_panels(out, t, &p->rows[i], row, panel, scales, sums, biases));
        at = t->at + mim_tensor_bytes(t);
    }
    free(row);
    free(scales);
    free(biases);
    free(sums);
    free(panel);
    return failed;
}

/* Opens what was written as any user will, then writes the checksum into its header. */
static int seal(plan *p, out_file *out)
{
    in_file written;
    mim_model model;
    if (fflush(out->file))
        return fail("cannot write %s; is the disk full?", out->path);
    if (in_open(&written, out->part))
        return 1;
    p->header.checksum = mim_checksum(written.data, written.bytes);
    mim_status status = mim_open(&model, written.data, written.bytes);
    in_close(&written);
    if (status != MIM_OK)
        return fail("%s: converted, but the result cannot be used: %s (byte %" PRIu64 ": %s)", p->path,
                    mim_status_string(status), model.fault_at, model.fault);
    if (fseek(out->file, 0, SEEK_SET) || fwrite(&p->header, sizeof p->header, 1, out->file) != 1)
        return fail("cannot write %s; is the disk full?", out->path);
    return 0;
}

static int write_plan(plan *p, const char *path)
{
    mim_blob_header *h = &p->header;
    uint64_t at = sizeof *h + h->step_count * sizeof *p->steps + h->tensor_count * sizeof *p->tensors;
    for (uint32_t i = 0; i < h->tensor_count; i++) {    /* at most 8192 tensors of at most 2^33 bytes */
        at = (at + MIM_BLOB_ALIGN - 1) / MIM_BLOB_ALIGN * MIM_BLOB_ALIGN;
        p->tensors[i].at = at;
        at += mim_tensor_bytes(&p->tensors[i]);
    }
    memcpy(h->magic, MIM_BLOB_MAGIC, sizeof h->magic);
    h->version = MIM_BLOB_VERSION;
    h->header_bytes = sizeof *h;
    h->bytes = at;
    h->checksum = 0;

    out_file out;
    if (out_open(&out, path))
        return 1;
    int failed = !out.part ? fail("%s is not a regular file; a blob needs one", path) : write_blob(p, &out) || seal(p, &out);
    if (failed) {
        out_discard(&out);
        return 1;
    }
    return out_commit(&out);
}

int plan_write(plan *p, const char *path)
{
    int failed = 0;
    for (uint32_t i = 0; i < p->header.tensor_count; i++) {
        const mim_blob_tensor *t = &p->tensors[i];      /* rows of fewer than 64 weights save no time, and have few errors to even out */
        if (t->type == MIM_Q8 && t->input_max == 255 && t->columns >= 64 && p->rows[i].kind != ROWS_READY)
            failed = failed || choose_range(p, i);
    }
    failed = failed || write_plan(p, path);
    for (uint32_t i = 0; i < p->header.tensor_count; i++)
        free(p->rows[i].steps);
    return failed;
}
