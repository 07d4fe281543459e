/* made.c - see made.h. */
#include "made.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- waves ---- */

/* What EMBED adds to one channel: scale * sin(value * frequency), or the cosine. */
typedef struct wave {
    float which;                          /* as in mim.h: a coordinate, -1 the token's number, -2 its frame, 0 nothing */
    double frequency;
    int cosine;
    float scale;
} wave;

/* Channel i of n: sines, then cosines, of n / 2 frequencies. */
static wave sines(float which, uint32_t i, uint32_t n)
{
    wave w = { which, pow(10000, -(double)(i % (n / 2)) / (n / 2)), i >= n / 2, 1 };
    return w;
}

/* The term of a channel. A date and a place each have a scale in the file. */
static int find_wave(wave *w, const rows *r, uint32_t term, uint32_t channel, uint32_t dim)
{
    static const wave silent = { 0, 0, 0, 0 };
    uint32_t half = dim / 2, first;
    *w = silent;
    switch (r->made) {
    case MADE_NUMBER_WAVES:
        w->which = -1;
        w->frequency = pow(10000, -2.0 * (channel / 2) / dim);
        w->cosine = channel % 2;
        w->scale = 1;
        return 0;
    case MADE_FRAME_WAVES:
        if (term == 0) {
            first = dim / 16 * 12;
            if (channel >= first)
                *w = sines(-2, channel - first, dim - first);
            return 0;
        }
        first = term == 1 && r->part[0].weight ? 1 : 3;
        *w = sines((float)(first + channel / half), channel % half, half);
        return tensor_read(r->part[first == 3].weight, 0, 1, &w->scale);
    default:
        first = dim - 3 * r->width;
        if (channel >= first)
            *w = sines((float)(1 + (channel - first) / r->width), (channel - first) % r->width, r->width);
        return 0;
    }
}

static int wave_row(const rows *r, uint32_t n, uint32_t columns, float *row)
{
    for (uint32_t c = 0; c < columns; c++) {
        wave w;
        if (find_wave(&w, r, n / 5, c, columns))
            return 1;
        const float high = (float)w.frequency, low = (float)(w.frequency - (double)high);
        const float values[5] = { w.which, high, low, (float)w.cosine, w.scale };
        row[c] = values[n % 5];
    }
    return 0;
}

/* Prithvi's positions but for their frames: the column, the row, and room for the frame. */
static void place_row(const rows *r, uint32_t n, uint32_t columns, float *row)
{
    const uint32_t wide = columns / 16 * 6;
    memset(row, 0, columns * sizeof *row);
    for (uint32_t c = 0; c < 2 * wide; c++) {
        const wave w = sines(0, c % wide, wide);
        const double angle = w.frequency * (c < wide ? n % r->width : n / r->width);
        row[c] = (float)(w.cosine ? cos(angle) : sin(angle));
    }
}

/* Position n: that of a place of a frame, and that of the frame. */
static int sum_row(const rows *r, uint32_t n, uint32_t columns, float *row)
{
    if (tensor_read(r->part[0].weight, (uint64_t)(n % r->width) * columns, columns, row))
        return 1;
    for (uint32_t c = 0; c < columns; c++) {
        float frame;
        if (tensor_read(r->part[1].weight, (uint64_t)(n / r->width) * columns + c, 1, &frame))
            return 1;
        row[c] += frame;
        if (!isfinite(row[c]))
            return fail("%s: '%s' makes a position too large for f32", r->part[1].weight->file, r->part[1].weight->name);
    }
    return 0;
}

/* A third of a head's channels, rounded down to pairs, turns with the frame, the next with the row, the next with the column. What
 * is paired are neighbours; the frequencies run twice through each third, so that the two of a pair turn by different angles. */
static void turn_row(const rows *r, uint32_t n, uint32_t columns, float *row)
{
    static const float axes[3] = { 3, 1, 2 };
    const uint32_t third = columns / 3 / 2 * 2;
    for (uint32_t c = 0; c < columns; c++) {
        const double angle = pow(r->base, -(double)(c % third % (third / 2)) / (third / 2));
        row[c] = c >= 3 * third ? 0.0f : n ? axes[c / third] : (float)angle;
    }
}

/* ---- groups of channels ---- */

/* Row n of one matrix for all groups: zeros for the channels of others. What tells the groups apart is in the bias. */
static int group_row(const rows *r, uint32_t n, uint32_t columns, float *row, float *bias)
{
    const vit *model = r->of;
    const uint32_t dim = (uint32_t)model->top[PATCH].weight->shape[0], padded = round_up(dim, 16), g = n / padded, i = n % padded;
    const part *p = &model->group[g];
    const tensor *embed = model->top[CHANNEL_EMBED].weight;
    const uint32_t wide = (uint32_t)embed->shape[embed->rank - 1], area = (uint32_t)(p->weight->shape[2] * p->weight->shape[3]);
    float channel = 0;
    memset(row, 0, columns * sizeof *row);
    if (i >= dim)
        return 0;
    for (uint32_t c = 0; c < columns / area; c++)
        if (r->channel_group[c] == g &&
            tensor_read(p->weight, (i * p->weight->shape[1] + r->channel_place[c]) * area, area, row + (size_t)c * area))
            return 1;
    if ((p->bias && tensor_read(p->bias, i, 1, bias)) ||
        (i >= dim - wide && tensor_read(embed, (uint64_t)g * wide + i - (dim - wide), 1, &channel)))
        return 1;
    *bias += channel;
    return isfinite(*bias) ? 0 : fail("%s: '%s' makes a bias too large for f32", embed->file, embed->name);
}

/* ---- vectors ---- */

uint64_t made_vectors(const vector_row *row, const tensor *t)
{
    return row->columns ? t->count / t->shape[0] : t->count / t->shape[t->rank - 1];
}

static int vector_values(const rows *r, uint64_t n, uint32_t columns, float *row)
{
    const vector_row *rows_of = family_vectors(r->of->family);
    uint32_t k = 0;
    for (uint64_t here; rows_of[k].name && n >= (here = made_vectors(&rows_of[k], r->of->vectors[k])); k++)
        n -= here;
    const tensor *t = r->of->vectors[k];
    memset(row, 0, columns * sizeof *row);
    if (!rows_of[k].columns) {
        const uint64_t wide = t->shape[t->rank - 1];
        return tensor_read(t, n * wide, (size_t)wide, row + (size_t)columns * rows_of[k].quarter / 4);
    }
    const uint64_t across = t->count / t->shape[0];
    for (uint32_t i = 0; i < columns; i++)
        if (tensor_read(t, i * across + n, 1, &row[i]))
            return 1;
    return 0;
}

int made_row(const rows *r, uint32_t n, uint32_t columns, float *row, float *bias)
{
    *bias = 0;
    switch (r->made) {
    case MADE_GROUPS:
        return group_row(r, n, columns, row, bias);
    case MADE_VECTORS:
        return vector_values(r, n, columns, row);
    case MADE_FRAME_SUMS:
        return sum_row(r, n, columns, row);
    case MADE_TURNS:
        turn_row(r, n, columns, row);
        return 0;
    default:
        if (!r->places)
            return wave_row(r, n, columns, row);
        place_row(r, n, columns, row);
        return 0;
    }
}
