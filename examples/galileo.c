/* galileo.c - a small square of satellite data over time becomes a feature, with Galileo.
 *
 *     mim convert folder/of/encoder.pt -o galileo.mim
 *     galileo galileo.mim ST.npy ST_MASK.npy S.npy S_MASK.npy T.npy T_MASK.npy STATIC.npy STATIC_MASK.npy MONTHS.npy
 *             PATCH RESOLUTION TOKENS.npy FEATURE.npy
 *
 * Normalised bands, and by group of bands whether they are missing (1): in space and time (H, W, T, 13) and (H, W, T, 7), in
 * space (H, W, 16) and (H, W, 3), in time (T, 6) and (T, 3), static (18) and (4). MONTHS (T), 0 to 11. PATCH pixels a side,
 * of RESOLUTION metres, make a token; the patch's first pixel says whether it is missing.
 *
 * As in presto.c, the tokens are sums of vectors of the blob: one for each band and each pixel of the patch as trained. */
#include "embed.h"

#include <math.h>

enum { IN_SPACE_TIME, IN_SPACE, IN_TIME, STATIC, KINDS };
enum { GROUPS = 17, MONTHS_MAX = 24, BASE_MAX = 32 };

/* Groups of bands, in the order of the arrays, of tokens, and of vectors. */
static const struct { uint8_t kind, bands; } groups[GROUPS] = {
    { IN_SPACE_TIME, 2 }, { IN_SPACE_TIME, 3 }, { IN_SPACE_TIME, 3 }, { IN_SPACE_TIME, 1 }, { IN_SPACE_TIME, 1 }, { IN_SPACE_TIME, 2 },
    { IN_SPACE_TIME, 1 },                                                     /* S1, RGB, red edge, two NIR, SWIR, NDVI */
    { IN_SPACE, 2 }, { IN_SPACE, 9 }, { IN_SPACE, 5 },                        /* SRTM, Dynamic World, WorldCereal */
    { IN_TIME, 2 }, { IN_TIME, 3 }, { IN_TIME, 1 },                           /* ERA5, TerraClimate, VIIRS */
    { STATIC, 1 }, { STATIC, 3 }, { STATIC, 9 }, { STATIC, 5 }                /* LandScan, location, the classes again */
};
static const uint32_t bands_of[KINDS] = { 13, 16, 6, 18 }, groups_of[KINDS] = { 7, 3, 3, 4 };

typedef struct square {
    array values[KINDS], missing[KINDS], months;
    uint32_t rows, columns, steps;    /* of tokens; months */
    uint32_t patch, base;             /* pixels a side: of a token, and as trained */
    double reach;                     /* of a token, in 10 metres */
    double enlarge[BASE_MAX][BASE_MAX];       /* [patch][base]: see find_enlarge */
    uint32_t vector[GROUPS];          /* a group's first vector; */
    uint32_t group, step, month;      /*   those of the groups, of the months from the first, of the months of the year */
} square;

/* ---- patches of other sizes ---- */

/* Bicubic with a = -0.5. */
static double cubic(double x)
{
    x = fabs(x);
    return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

/* A smaller patch is enlarged to the trained size before it meets the trained vectors: by the pseudo-inverse of the matrix that
 * resizes a line of base pixels to patch pixels, bicubic and antialiased; A (patch x base), (A A')^-1 A. */
static int find_enlarge(square *s)
{
    const uint32_t n = s->patch, m = s->base;
    double a[BASE_MAX][BASE_MAX], left[BASE_MAX][BASE_MAX];
    const double scale = (double)m / n;
    for (uint32_t i = 0; i < n; i++) {
        double sum = 0, centre = scale * (i + 0.5);
        for (uint32_t j = 0; j < m; j++) sum += a[i][j] = cubic((j + 0.5 - centre) / scale);
        for (uint32_t j = 0; j < m; j++) s->enlarge[i][j] = a[i][j] /= sum;
    }
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++) {
            left[i][j] = 0;
            for (uint32_t k = 0; k < m; k++) left[i][j] += a[i][k] * a[j][k];
        }
    for (uint32_t i = 0; i < n; i++) {        /* Gauss and Jordan; A A' is positive definite, so its diagonal will do */
        const double pivot = left[i][i];
        if (!(pivot > 1e-12)) return fail("patches of %" PRIu32 " pixels cannot be told from those of %" PRIu32, n, m);
        for (uint32_t j = 0; j < n; j++) left[i][j] /= pivot;
        for (uint32_t j = 0; j < m; j++) s->enlarge[i][j] /= pivot;
        for (uint32_t k = 0; k < n; k++) {
            const double times = left[k][i];
            for (uint32_t j = 0; j < n && k != i; j++) left[k][j] -= times * left[i][j];
            for (uint32_t j = 0; j < m && k != i; j++) s->enlarge[k][j] -= times * s->enlarge[i][j];
        }
    }
    return 0;
}

/* ---- tokens ---- */

/* Adds, to a quarter of the token in hand, sine and cosine codes of the place. */
static void add_place(embedder *e, double x, double y)
{
    const uint32_t quarter = e->dim / 4, half = quarter / 2;
    for (uint32_t i = 0; i < 2 * half; i++) {
        const uint32_t k = i % half % (half / 2);
        const double angle = (i < half ? x : y) * pow(10000, -(double)k / (2 * half));
        e->token[3 * quarter + i] += i % half < half / 2 ? sin(angle) : cos(angle);
    }
}

/* One token: a group's bands at a place, a time, both or neither. band: of its kind's bands the first. */
static void make_token(embedder *e, const square *s, uint32_t g, uint32_t band, uint32_t within, uint32_t row, uint32_t column, uint32_t t)
{
    const uint32_t kind = groups[g].kind, bands = groups[g].bands, p = s->patch, b = s->base, wide = s->columns * p;
    const uint32_t steps = kind == IN_SPACE_TIME ? s->steps : 1, spatial = kind == IN_SPACE_TIME || kind == IN_SPACE;
    const double *values = s->values[kind].at, *missing = s->missing[kind].at;
    uint32_t pixels = spatial ? b * b : 1;
    for (uint32_t c = 0; c < bands; c++)
        for (uint32_t i = 0; i < pixels; i++) {
            double value = spatial ? 0 : values[(size_t)t * bands_of[kind] + band + c];
            for (uint32_t y = 0; y < p && spatial; y++)
                for (uint32_t x = 0; x < p; x++) {
                    const size_t pixel = (size_t)(row * p + y) * wide + column * p + x;
                    value += s->enlarge[y][i / b] * s->enlarge[x][i % b] * values[(pixel * steps + t) * bands_of[kind] + band + c];
                }
            add_vector(e, s->vector[g] + c * pixels + i, value);
        }
    add_vector(e, s->vector[g] + bands * pixels, 1);
    add_vector(e, s->group + g, 1);
    if (kind == IN_SPACE_TIME || kind == IN_TIME) {
        add_vector(e, s->step + t, 1);
        add_vector(e, s->month + (uint32_t)s->months.at[t], 1);
    }
    if (spatial) add_place(e, column * s->reach, row * s->reach);
    const size_t first = spatial ? (size_t)row * p * wide + column * p : 0;
    end_token(e, missing[(first * steps + t) * groups_of[kind] + within] < 1);
}

static void make_tokens(embedder *e, const square *s)
{
    uint32_t first = 0;
    for (uint32_t kind = 0; kind < KINDS; first += groups_of[kind], kind++) {
        const uint32_t spatial = kind == IN_SPACE_TIME || kind == IN_SPACE, timed = kind == IN_SPACE_TIME || kind == IN_TIME;
        for (uint32_t row = 0; row < (spatial ? s->rows : 1); row++)
            for (uint32_t column = 0; column < (spatial ? s->columns : 1); column++)
                for (uint32_t t = 0; t < (timed ? s->steps : 1); t++)
                    for (uint32_t within = 0, band = 0; within < groups_of[kind]; band += groups[first + within].bands, within++)
                        make_token(e, s, first + within, band, within, row, column, t);
    }
}

/* ---- what there is ---- */

/* The order of vectors: of each group those of its bands' pixels and one by itself; the groups; the months from the first; the
 * months of the year. Their number tells the side of the patch as trained. */
static int find_vectors(square *s, const embedder *e, const char *path)
{
    uint32_t next;
    for (s->base = 1; s->base <= BASE_MAX; s->base++) {
        next = 0;
        for (uint32_t g = 0; g < GROUPS; g++) {
            const uint32_t spatial = groups[g].kind == IN_SPACE_TIME || groups[g].kind == IN_SPACE;
            s->vector[g] = next;
            next += groups[g].bands * (spatial ? s->base * s->base : 1) + 1;
        }
        s->group = next;
        s->step = s->group + GROUPS;
        s->month = s->step + MONTHS_MAX;
        if (s->month + 12 == e->rows)
            return s->patch <= s->base ? 0 : fail("patches of %" PRIu32 " pixels are more than the %" PRIu32 " trained with", s->patch, s->base);
    }
    return fail("%s: holds %" PRIu32 " vectors, which are not those of any patch", path, e->rows);
}

static int has_shape(const array *a, const char *path, uint64_t rows, uint64_t columns, uint64_t steps, uint64_t last)
{
    const uint64_t wanted[4] = { rows, columns, steps, last };
    for (uint32_t i = 0, k = 0; i < 4; i++) {
        if (!wanted[i]) continue;             /* 0: it has no such dimension */
        if (a->shape[k++] != wanted[i])
            return fail("%s: dimension %" PRIu32 " is %" PRIu64 ", not %" PRIu64, path, k, a->shape[k - 1], wanted[i]);
    }
    return 0;
}

static int read_square(square *s, char **names)
{
    static const uint32_t dims[KINDS] = { 4, 3, 2, 1 };
    double resolution = 10;
    if (parse_number("PATCH", names[9], 1, BASE_MAX, &s->patch) || parse_real("RESOLUTION", names[10], 0.01, 1e6, &resolution)) return 1;
    s->reach = s->patch * resolution / 10;
    for (uint32_t k = 0; k < KINDS; k++)
        if (array_read(&s->values[k], names[2 * k], dims[k]) || array_read(&s->missing[k], names[2 * k + 1], dims[k])) return 1;
    if (array_read(&s->months, names[8], 1)) return 1;
    const uint64_t high = s->values[0].shape[0], wide = s->values[0].shape[1], steps = s->months.shape[0];
    if (high % s->patch || wide % s->patch || high > 4096 || wide > 4096)
        return fail("%s: %" PRIu64 "x%" PRIu64 " pixels are not made of patches of %" PRIu32, names[0], high, wide, s->patch);
    if (steps > MONTHS_MAX) return fail("%s: has %" PRIu64 " months; at most %d have a place", names[8], steps, MONTHS_MAX);
    for (uint64_t t = 0; t < steps; t++)
        if (!(s->months.at[t] >= 0 && s->months.at[t] < 12)) return fail("%s: holds %g, which is no month", names[8], s->months.at[t]);
    s->rows = (uint32_t)high / s->patch;
    s->columns = (uint32_t)wide / s->patch;
    s->steps = (uint32_t)steps;
    for (uint32_t k = 0; k < KINDS; k++) {
        const uint64_t spatial = k == IN_SPACE_TIME || k == IN_SPACE, timed = k == IN_SPACE_TIME || k == IN_TIME;
        if (has_shape(&s->values[k], names[2 * k], spatial * high, spatial * wide, timed * steps, bands_of[k]) ||
            has_shape(&s->missing[k], names[2 * k + 1], spatial * high, spatial * wide, timed * steps, groups_of[k])) return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static square s;
    embedder e;
    memset(&e, 0, sizeof e);
    if (argc != 15) return fail("usage: galileo MODEL.mim ST.npy ST_MASK.npy S.npy S_MASK.npy T.npy T_MASK.npy STATIC.npy STATIC_MASK.npy "
                                "MONTHS.npy PATCH RESOLUTION TOKENS.npy FEATURE.npy");
    int failed = read_square(&s, argv + 2);
    if (!failed) {
        const uint64_t most = (uint64_t)s.rows * s.columns * (s.steps * 7 + 3) + s.steps * 3 + 4;
        failed = most > MIM_MAX_TOKENS ? fail("%" PRIu64 " tokens are more than %u", most, MIM_MAX_TOKENS)
               : embedder_open(&e, argv[1], "galileo", (uint32_t)most) || find_vectors(&s, &e, argv[1]) || find_enlarge(&s);
    }
    if (!failed) {
        make_tokens(&e, &s);
        failed = e.count ? encode_and_write(&e, argv[13], argv[14]) : fail("everything is missing");
    }
    embedder_close(&e);
    for (uint32_t k = 0; k < KINDS; k++) {
        array_free(&s.values[k]);
        array_free(&s.missing[k]);
    }
    array_free(&s.months);
    return failed;
}
