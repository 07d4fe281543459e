/* test_kernels [brief] - every kernel of this machine against the portable one (equal bits) and against double precision.
 * brief, for emulated machines: fewer points of the scalar functions. */
#include "check.h"
#define MIM_IMPLEMENTATION
#include "../mim.h"

#define MOST 2048       /* elements of a row */

static const mimp_kernels *const oracle = &mimp_kernels_scalar;
static guard ga, gw, gx, gy, gz;
static int sparse = 1;

static uint32_t bits_of(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
static float float_of(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }

/* Index of the first float that differs, n if none: equal bits, any NaN like another. */
static size_t differs(const float *a, const float *b, size_t n)
{
    size_t i;
    for (i = 0; i < n && (bits_of(a[i]) == bits_of(b[i]) || (isnan(a[i]) && isnan(b[i]))); i++) {}
    return i;
}

#define SAME(a, b, n, what) \
    do { const size_t at_ = differs(a, b, n); \
         CHECK_THAT(at_ == (n), "%s %s [%d] of %d: %.9g, not %.9g", k->name, what, (int)at_, (int)(n), \
                    (double)(a)[at_ < (n) ? at_ : 0], (double)(b)[at_ < (n) ? at_ : 0]); } while (0)

/* Calls test(kernel) for each kernel that runs here. */
static void each(const char *name, void (*test)(const mimp_kernels *))
{
    size_t i;
    group(name);
    for (i = 0; i < MIMP_TABLE; i++)
        if (mimp_available(mimp_table[i]->cpu))
            test(mimp_table[i]);
}

/* Rows of numbers of one kind each: what models hold, and what they should not. */
enum { ORDINARY, TINY, BIG, CONSTANT, ZERO, SIGNED_ZERO, SHIFTED, ONE_NAN, ONE_INFINITY, BOTH_INFINITIES, ALL_NAN, ANY_BITS, KINDS };

static void fill(float *x, uint32_t n, int kind)
{
    const float c = uniform(-3, 3);
    uint32_t i;
    for (i = 0; i < n; i++)
        switch (kind) {
        case TINY:     x[i] = float_of(between(0, 0x01000000) | (any32() & 0x80000000u)); break;
        case BIG:    x[i] = uniform(-3.4e38f, 3.4e38f); break;
        case CONSTANT: x[i] = c; break;
        case ZERO:     x[i] = 0; break;
        case SIGNED_ZERO: x[i] = any32() & 1 ? -0.0f : 0.0f; break;
        case SHIFTED:  x[i] = 1000 + uniform(-1, 1); break;
        case ALL_NAN:  x[i] = NAN; break;
        case ANY_BITS: x[i] = float_of(any32()); break;
        default:       x[i] = uniform(-4, 4);
        }
    if (kind == ONE_NAN)
        x[between(0, n - 1)] = NAN;
    if (kind == ONE_INFINITY || kind == BOTH_INFINITIES)
        x[between(0, n - 1)] = INFINITY;
    if (kind == BOTH_INFINITIES)
        x[between(0, n - 1)] = -INFINITY;
}

static float *copy(guard *g, const float *x, size_t n) { return (float *)memcpy(guard_high(g, n * 4, 4), x, n * 4); }

/* ---- products ---- */

/* From FOURS on: fours of weights as large as they may be, of inputs likewise. */
enum { FOURS = 5 };

static int8_t weight_of(int pattern, uint32_t i, int lo, int hi)
{
    switch (pattern) {
    case 0:  return (int8_t)lo;
    case 1:  return (int8_t)hi;
    case 2:  return (int8_t)(i & 1 ? lo : hi);
    case 3:  return (int8_t)(i & 2 ? lo : hi);
    case FOURS:     return (int8_t)(lo + (int)between(0, (uint32_t)(hi - lo)));
    case FOURS + 1: return i & 64 ? 0 : i & 1 ? 1 : 127;
    case FOURS + 2: return i & 64 && i & 1 ? -128 : 0;
    case FOURS + 3: return i & 1 ? -64 : 64;
    default: return (int8_t)(lo + (int)between(0, (uint32_t)(hi - lo)));
    }
}

/* Where byte i of row r lies in a packed tile. */
static size_t byte_at(const mimp_kernels *k, uint32_t columns, uint32_t r, uint32_t i)
{
    return k->row_unit ? (size_t)r * ((columns + k->row_unit - 1) / k->row_unit * k->row_unit) + i
        : (size_t)(i / 4) * 4 * k->rows_q8 + 4 * r + i % 4;
}

static size_t tile_bytes(const mimp_kernels *k, uint32_t columns) { return byte_at(k, columns, k->rows_q8 - 1, columns - 1) + 1; }

static void enter(const mimp_kernels *k, size_t columns) { if (k->enter) k->enter(columns); }
static void leave(const mimp_kernels *k) { if (k->leave) k->leave(); }

typedef void (*bytes_leaf)(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k);

static void bytes_product(const mimp_kernels *k, bytes_leaf leaf, uint32_t columns, int pattern, int input_max, int lo, int hi)
{
    const uint32_t rows = k->rows_q8;
    uint8_t *a = (uint8_t *)guard_high(&ga, tile_bytes(k, columns), 1);
    int8_t *w = (int8_t *)guard_high(&gw, (size_t)columns * 16, 1);
    int32_t *acc = (int32_t *)guard_high(&gy, (size_t)rows * 64, 4);
    uint32_t r, j, i;
    memset(acc, 0xff, (size_t)rows * 64);
    for (i = 0; i < tile_bytes(k, columns); i++)
        a[i] = (uint8_t)(pattern != 4 ? (uint32_t)input_max : between(0, (uint32_t)input_max));
    for (i = 0; i < columns * 16; i++)
        w[i] = weight_of(pattern, i, lo, hi);
    enter(k, columns);
    leaf(acc, a, w, columns);
    leave(k);
    for (r = 0; r < rows; r++)
        for (j = 0; j < 16; j++) {
            int64_t sum = 0;
            for (i = 0; i < columns; i++)
                sum += (int32_t)a[byte_at(k, columns, r, i)] * w[i / 4 * 64 + 4 * j + i % 4];
            CHECK_THAT(acc[r * 16 + j] == sum, "%s: %u columns, pattern %d, inputs to %d, weights %d..%d: %d, not %d", k->name, columns,
                       pattern, input_max, lo, hi, acc[r * 16 + j], (int)sum);
        }
    CHECK(guard_intact(&gy));
}

static void test_tile_q7(const mimp_kernels *k)
{
    uint32_t columns;
    int pattern;
    for (columns = 16; columns <= 400; columns += 16)
        for (pattern = 0; pattern < 5; pattern++)
            bytes_product(k, k->tile_q7, columns, pattern, 127, -64, 63);
    bytes_product(k, k->tile_q7, MIM_MAX_COLUMNS, 0, 127, -64, 63);
    for (columns = 32; columns <= 416; columns += 32)
        for (pattern = 0; pattern < FOURS + 4; pattern++)
            bytes_product(k, k->tile_q7, columns, pattern, 255, -32, 32);
}

/* A panel of random or extreme weights, as the leaves get it. */
static void q4_product(const mimp_kernels *k, uint32_t columns, uint32_t step, int pattern)
{
    const uint32_t rows = k->rows_q8;
    const size_t size = columns * 8 + (columns + step - 1) / step * 8;
    const size_t unpacked = k->tile_q4 ? columns * 18 : columns * 16;
    uint8_t *a = (uint8_t *)guard_high(&ga, tile_bytes(k, columns), 1), *panel = (uint8_t *)guard_high(&gw, size, 1);
    int32_t *acc = (int32_t *)guard_high(&gy, (size_t)rows * 64, 4);
    const uint8_t *w = panel;
    uint32_t r, j, i;
    memset(acc, 0xff, (size_t)rows * 64);
    for (i = 0; i < tile_bytes(k, columns); i++)
        a[i] = (uint8_t)(pattern ? between(0, 255) : 255);
    for (i = 0; i < size; i++)                  /* the least and the greatest weights by the greatest multiplier, or anything */
        panel[i] = (uint8_t)(pattern == 2 ? between(0, 255) : i >= columns * 8 ? 0xff : pattern == 1 ? 0xff : 0);
    if (k->unpack_q4) {
        uint8_t *out = (uint8_t *)guard_high(&gz, unpacked, 1);
        k->unpack_q4(out, panel, columns, step);
        CHECK(guard_intact(&gz));
        w = out;
    }
    enter(k, columns);
    if (k->tile_q4)
        k->tile_q4(acc, a, w, columns, step);
    else
        k->tile_q8_wide(acc, a, (const int8_t *)w, columns);
    leave(k);
    for (r = 0; r < rows; r++)
        for (j = 0; j < 16; j++) {
            int64_t sum = 0;
            for (i = 0; i < columns; i++) {
                const int half = panel[i / 8 * 64 + 4 * j + i % 4] >> (i / 4 % 2 * 4) & 15;
                const int multiplier = panel[columns * 8 + i / step * 8 + j % 8] >> (j / 8 * 4) & 15;
                sum += (half - 8) * multiplier * a[byte_at(k, columns, r, i)];
            }
            CHECK_THAT(acc[r * 16 + j] == sum, "%s: %u columns in groups of %u, pattern %d: %d, not %d", k->name, columns, step, pattern,
                       acc[r * 16 + j], (int)sum);
        }
    CHECK(guard_intact(&gy));
}

static void test_tile_q4(const mimp_kernels *k)
{
    uint32_t columns, step;
    int pattern;
    for (step = 32; step <= 128; step *= 2)
        for (pattern = 0; pattern < 3; pattern++) {
            for (columns = 32; columns <= 416; columns += 32)
                q4_product(k, columns, step, pattern);
            q4_product(k, pattern == 2 ? 3072 : MIM_MAX_COLUMNS, step, pattern);
        }
}

/* Panels that lie apart: the bits of tile_q8_wide. */
static void test_several_q8(const mimp_kernels *k)
{
    const uint32_t rows = k->rows_q8, panels = k->several_panels;
    uint32_t columns, p, i, r;
    for (columns = 16; columns <= 336 && k->several_q8; columns += 16) {
        const size_t step = (size_t)columns * 16 + 64, tile = (size_t)rows * 16;
        uint8_t *a = (uint8_t *)guard_high(&ga, tile_bytes(k, columns), 1);
        int8_t *w = (int8_t *)guard_high(&gw, (panels - 1) * step + (size_t)columns * 16, 1);
        int32_t *acc = (int32_t *)guard_high(&gy, panels * tile * 4, 4), *one = (int32_t *)guard_high(&gz, tile * 4, 4);
        CHECK(panels <= MIMP_MAX_PANELS && rows <= MIMP_MAX_ROWS);
        for (i = 0; i < tile_bytes(k, columns); i++)
            a[i] = (uint8_t)any32();
        for (i = 0; i < (panels - 1) * step + (size_t)columns * 16; i++)
            w[i] = (int8_t)any32();
        enter(k, columns);
        for (r = 1; r <= rows; r++) {
            memset(acc, 0xff, panels * tile * 4);
            k->several_q8(acc, a, w, columns, step, r);
            for (p = 0; p < panels; p++) {
                k->tile_q8_wide(one, a, w + p * step, columns);
                CHECK_THAT(memcmp(one, acc + p * tile, r * 64) == 0, "%s: %u columns, panel %u of %u rows differs", k->name, columns, p, r);
            }
        }
        leave(k);
        CHECK(guard_intact(&gy) && guard_intact(&gz));
    }
}

static void test_tile_q8(const mimp_kernels *k)
{
    uint32_t columns;
    int pattern;
    for (columns = 16; columns <= 400; columns += 16)
        for (pattern = 0; pattern < 5; pattern++) {
            bytes_product(k, k->tile_q8, columns, pattern, 255, -64, 63);
            bytes_product(k, k->tile_q8, columns, pattern, 127, -128, 127);
        }
    bytes_product(k, k->tile_q8, 8192, 4, 255, -64, 63);
}

static void test_tile_q8_wide(const mimp_kernels *k)
{
    uint32_t columns;
    int pattern;
    for (columns = 16; columns <= 400; columns += 16)
        for (pattern = 0; pattern < 5; pattern++)
            bytes_product(k, k->tile_q8_wide, columns, pattern, 255, -128, 127);
    bytes_product(k, k->tile_q8_wide, MIM_MAX_COLUMNS, 0, 255, -128, 127);
    bytes_product(k, k->tile_q8_wide, MIM_MAX_COLUMNS, 1, 255, -128, 127);
}

/* The first rows of x (16 x columns), packed for a kernel's tile. */
static float *pack_rows(const mimp_kernels *k, const float *x, uint32_t columns)
{
    const uint32_t rows = k->rows_f32;
    float *a = (float *)guard_high(&ga, (size_t)columns * rows * 4, 4);
    uint32_t r, i;
    for (i = 0; i < columns; i++)
        for (r = 0; r < rows; r++)
            a[(size_t)i * rows + r] = x[(size_t)r * columns + i];
    return a;
}

static void float_product(const mimp_kernels *k, uint32_t columns, int kind)
{
    static float x[16 * MOST], w[16 * MOST + 5];
    float *acc, *a;
    uint32_t r, j, i;
    fill(x, 16 * columns, kind == BIG ? ORDINARY : kind);
    fill(w, 16 * columns + 5, kind == SHIFTED ? ORDINARY : kind);
    a = pack_rows(k, x, columns);
    if (k->pair_f32) {                      /* two panels that lie apart */
        const size_t step = (size_t)columns * 16 + 32, tile = (size_t)k->rows_f32 * 16, apart = tile + 24;
        float *two = (float *)guard_high(&gw, (step + (size_t)columns * 16) * 4, 4), *one = (float *)guard_high(&gz, tile * 4, 4);
        acc = (float *)guard_high(&gy, (apart + tile) * 4, 4);
        for (i = 0; i < 2; i++)
            memcpy(two + i * step, w + 5 * i, (size_t)columns * 64);
        for (r = 1; r <= k->rows_f32; r++) {
            k->pair_f32(acc, apart, a, two, columns, step, r);
            for (i = 0; i < 2; i++) {
                k->tile_f32(one, a, two + i * step, columns);
                SAME(acc + i * apart, one, r * 16, "pair_f32");
            }
            memset(acc, 0xff, (apart + tile) * 4);
        }
        CHECK(guard_intact(&gy));
    }
    acc = (float *)guard_high(&gy, (size_t)k->rows_f32 * 64, 4);
    k->tile_f32(acc, a, copy(&gw, w, (size_t)columns * 16), columns);
    CHECK(guard_intact(&gy));
    if (kind != ORDINARY && kind != SHIFTED && kind != CONSTANT)
        return;
    for (r = 0; r < k->rows_f32; r++)
        for (j = 0; j < 16; j++) {
            double sum = 0, size = 0;
            for (i = 0; i < columns; i++) {
                const double product = (double)x[(size_t)r * columns + i] * (double)w[(size_t)i * 16 + j];
                sum += product;
                size += fabs(product);
            }
            CHECK_THAT(fabs((double)acc[r * 16 + j] - sum) <= size * columns * 6e-8, "%s tile_f32, %u columns: %.9g, not %.9g", k->name,
                       columns, (double)acc[r * 16 + j], sum);
        }
}

static void test_tile_float(const mimp_kernels *k)
{
    uint32_t columns;
    int kind;
    for (kind = 0; kind < KINDS; kind++)
        for (columns = 16; columns <= 336; columns += columns < 64 ? 16 : 64)
            float_product(k, columns, kind);
    float_product(k, MOST, ORDINARY);
}

static void test_halves(const mimp_kernels *k)
{
    uint16_t *in = (uint16_t *)guard_high(&ga, 65536 * 2, 2);
    float *out = (float *)guard_high(&gy, 65536 * 4, 4);
    uint32_t i;
    for (i = 0; i < 65536; i++)
        in[i] = (uint16_t)i;
    k->halves(out, in, 65536);
    for (i = 0; i < 65536; i++) {
        const int e = (int)(i >> 10 & 31), m = (int)(i & 1023);
        double x = e == 31 ? m ? nan("") : HUGE_VAL : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
        x = i & 0x8000 ? -x : x;
        CHECK_THAT(isnan(x) ? isnan(out[i]) : bits_of(out[i]) == bits_of((float)x), "%s: half %04x is %.9g, not %.9g", k->name, i,
                   (double)out[i], x);
    }
    k->halves(out + 65536 - 16, in, 16);
    CHECK(guard_intact(&gy));
}

/* ---- rows ---- */

static void test_pack(const mimp_kernels *k)
{
    static float x[16 * 200], expected[16 * 160];
    const uint32_t steps[2] = { k->rows_f32, 16 };
    uint32_t rows, n, i, r, kind = 0;
    for (i = 0; i < 2; i++)
        for (rows = 1; rows <= steps[i]; rows++)
            for (n = 16; n <= 160; n += n < 64 ? 16 : 96) {
                const uint32_t step = steps[i], stride = n + between(0, 3), size = (rows - 1) * stride + n;
                const float factor = kind % 2 ? uniform(-2, 2) : 1;
                float *out = (float *)guard_high(&gy, (size_t)n * step * 4, 4);
                fill(x, size, (int)(kind++ % KINDS));
                for (r = 0; r < n * step; r++)
                    expected[r] = (r % step < rows ? x[r % step * stride + r / step] : 0) * factor;
                memset(out, 0xff, (size_t)n * step * 4);
                k->pack(out, step, copy(&gx, x, size), stride, rows, n, factor);
                SAME(out, expected, (size_t)n * step, "pack");
                CHECK(guard_intact(&gy));
            }
}

static void norm_row(const mimp_kernels *k, uint32_t n, int kind)
{
    static float x[MOST], w[2 * MOST], expected[MOST + 16];
    const uint32_t n16 = (n + 15) / 16 * 16;
    const float eps = kind == CONSTANT ? 1e-12f : 1e-6f;
    float *y = (float *)guard_high(&gy, (size_t)n16 * 4, 4), *wg;
    double mean = 0, variance = 0, size = 0;
    uint32_t i;
    fill(x, n, kind);
    fill(w, 2 * n, ORDINARY);
    wg = copy(&gw, w, 2 * (size_t)n);
    oracle->norm(expected, x, w, n, eps);
    memset(y, 0xff, (size_t)n16 * 4);
    k->norm(y, copy(&gx, x, n), wg, n, eps);
    SAME(y, expected, (size_t)n16, "norm");
    memcpy(y, x, (size_t)n * 4);
    k->norm(y, y, wg, n, eps);                  /* in place */
    SAME(y, expected, (size_t)n16, "norm in place");
    CHECK(guard_intact(&gy));
    for (i = n; i < n16; i++)
        CHECK_THAT(bits_of(y[i]) == 0, "%s norm of %u: padding is not zero", k->name, n);
    if (kind != ORDINARY && kind != CONSTANT && kind != ZERO && kind != SHIFTED)
        return;
    for (i = 0; i < n; i++)
        mean += (double)x[i] / n, size = fmax(size, fabs((double)x[i]));
    for (i = 0; i < n; i++)
        variance += ((double)x[i] - mean) * ((double)x[i] - mean) / n;
    for (i = 0; i < n; i++) {
        const double rate = 1 / sqrt(variance + (double)eps), centered = ((double)x[i] - mean) * rate;
        const double error = 1e-6 * fabs(centered) + (n / 16.0 + 6) * 6e-8 * size * rate;   /* of the mean, in units of the deviation */
        const double reference = centered * (double)w[i] + (double)w[n + i];
        CHECK_THAT(fabs((double)y[i] - reference) <= error * (fabs(centered) + 1) * fabs((double)w[i]) + 1e-6 * (1 + fabs(reference)),
                   "%s norm of %u, kind %d: %.9g, not %.9g", k->name, n, kind, (double)y[i], reference);
    }
}

static void test_norm(const mimp_kernels *k)
{
    static const uint32_t wide[] = { 192, 383, 384, 385, 768, 1024, MOST };
    uint32_t n;
    int kind;
    for (kind = 0; kind < KINDS; kind++) {
        for (n = 1; n <= 68; n++)
            norm_row(k, n, kind);
        for (n = 0; n < sizeof wide / sizeof *wide; n++)
            norm_row(k, wide[n], kind);
    }
}

static void quantize_row(const mimp_kernels *k, uint32_t n, int kind, uint32_t limit, uint32_t is_signed, size_t stride)
{
    static float x[MOST], rest[MOST], expected_rest[MOST];
    const size_t size = (n / 4 - 1) * stride + 4;
    uint8_t *out = (uint8_t *)guard_high(&gy, size, 1), *expected = (uint8_t *)guard_high(&gz, size, 1);
    mimp_quantized q, e;
    int64_t sum = 0;
    uint32_t i;
    fill(x, n, kind);
    memset(out, 0x77, size);
    memset(expected, 0x77, size);
    e = oracle->quantize(expected, stride, x, n, limit, is_signed, expected_rest);
    memcpy(rest, x, (size_t)n * 4);
    q = k->quantize(out, stride, rest, n, limit, is_signed, rest);
    CHECK_THAT(memcmp(out, expected, size) == 0, "%s quantize with a rest, kind %d, limit %u, n %u: other bytes", k->name, kind, limit, n);
    SAME(rest, expected_rest, (size_t)n, "quantize's rest");
    memset(out, 0x77, size);
    q = k->quantize(out, stride, copy(&gx, x, n), n, limit, is_signed, NULL);
    CHECK_THAT(bits_of(q.scale) == bits_of(e.scale) && q.zero == e.zero && q.sum == e.sum, "%s quantize, kind %d, limit %u: scale %.9g zero %d "
               "sum %d, not %.9g %d %d", k->name, kind, limit, (double)q.scale, q.zero, q.sum, (double)e.scale, e.zero, e.sum);
    CHECK_THAT(memcmp(out, expected, size) == 0, "%s quantize, kind %d, limit %u, n %u: other bytes", k->name, kind, limit, n);
    CHECK(guard_intact(&gy));
    CHECK(q.zero >= 0 && q.zero <= (int32_t)limit && !(is_signed && q.zero));
    for (i = 0; i < n; i++) {
        const uint8_t b = out[i / 4 * stride + i % 4];
        const int32_t v = is_signed ? (int8_t)b : b;
        const double scale = (double)q.scale;
        sum += v;
        CHECK_THAT(v <= (int32_t)limit && v >= (is_signed ? -(int32_t)limit : 0), "%s quantize: %d is beyond %u", k->name, v, limit);
        if (kind == ORDINARY || kind == CONSTANT || kind == SHIFTED)    /* half a step, and half a step's share of rounding the zero point */
            CHECK_THAT(fabs(((double)v - q.zero) * scale - (double)x[i]) <= scale * 1.002, "%s quantize: %.9g became %.9g", k->name,
                       (double)x[i], ((double)v - q.zero) * scale);
        if (kind == ORDINARY || kind == CONSTANT || kind == SHIFTED)
            CHECK_THAT(fabs(((double)v - q.zero) * scale + (double)rest[i] - (double)x[i]) <= 2e-7 * (fabs((double)x[i]) + scale * limit),
                       "%s quantize: of %.9g %.9g is left", k->name, (double)x[i], (double)rest[i]);
    }
    CHECK(sum == q.sum);
}

static void test_quantize(const mimp_kernels *k)
{
    uint32_t n;
    int kind;
    for (kind = 0; kind < KINDS; kind++)
        for (n = 16; n <= 1024; n += n < 128 ? 16 : 224) {
            quantize_row(k, n, kind, 127, 0, 4 * k->rows_q8);
            quantize_row(k, n, kind, 255, 0, 4 * k->rows_q8);
            quantize_row(k, n, kind, 63, 1, 64);
            quantize_row(k, n, kind, 127, 1, 64);
        }
}

static void test_finish(const mimp_kernels *k)
{
    static float scale[16], bias[16], factor[16], old[16 * 40], expected[16 * 40];
    static int32_t sum[16], zero[16], ints[256];
    static float floats[256];
    uint32_t combination, rows, i;
    for (combination = 0; combination < 2 * 16 * 4 * 2; combination++)
        for (rows = 1; rows <= MIMP_MAX_ROWS; rows += rows < 6 ? 1 : 5) {
            const size_t stride = combination % 3 ? 16 : 40, size = (rows - 1) * stride + 16;
            const int kind = (int)between(0, KINDS - 1);
            mimp_epilogue e;
            float *y = (float *)guard_high(&gy, size * 4, 4);
            for (i = 0; i < 16; i++)
                sum[i] = (int32_t)any32(), zero[i] = (int32_t)between(0, 255);
            for (i = 0; i < 256; i++)
                ints[i] = (int32_t)any32() >> between(0, 24);
            fill(floats, 256, kind);
            fill(scale, 16, kind);
            fill(bias, 16, ORDINARY);
            fill(factor, 16, kind == BIG ? BIG : ORDINARY);
            fill(old, 16 * 40, ORDINARY);
            memset(&e, 0, sizeof e);
            e.integer = combination & 1;
            e.sum = e.integer && combination & 2 ? sum : NULL;
            e.zero = e.sum ? (const int32_t *)memcpy(guard_high(&gx, rows * 4, 4), zero, rows * 4) : NULL;
            e.factor = combination & 4 ? copy(&ga, factor, rows) : NULL;
            e.scale = combination & 8 ? scale : NULL;
            e.bias = combination & 16 ? bias : NULL;
            e.act = between(0, 1) ? combination >> 5 & 3 : between(0, MIM_SILU);
            e.add = combination >> 7;
            memcpy(expected, old, sizeof old);
            memcpy(y, old, size * 4);
            oracle->finish(expected, stride, e.integer ? (const void *)ints : floats, rows, &e);
            k->finish(y, stride, memcpy(guard_high(&gw, rows * 64, 4), e.integer ? (const void *)ints : floats, rows * 64), rows, &e);
            SAME(y, expected, size, "finish");
            CHECK(guard_intact(&gy));
            for (i = 16; i < stride && rows > 1; i++)
                CHECK_THAT(bits_of(y[i]) == bits_of(old[i]), "%s finish writes between the rows", k->name);
        }
}

static void test_gate(const mimp_kernels *k)
{
    static float x[2 * 512], expected[512];
    uint32_t n, act, i;
    int kind;
    for (kind = 0; kind < KINDS; kind++)
        for (act = MIM_GELU_ERF; act <= MIM_SILU; act++)
            for (n = 16; n <= 512; n += n < 64 ? 16 : 64) {
                float *y = (float *)guard_high(&gy, (size_t)n * 4, 4);
                fill(x, 2 * n, kind);
                oracle->gate(expected, x, n, act);
                k->gate(y, copy(&gx, x, 2 * (size_t)n), n, act);
                SAME(y, expected, (size_t)n, "gate");
                CHECK(guard_intact(&gy));
                for (i = 0; i < n && kind == ORDINARY && act == MIM_SILU; i++) {
                    const double g = (double)x[i], reference = g / (1 + exp(-g)) * (double)x[n + i];
                    CHECK_THAT(fabs((double)y[i] - reference) <= 4e-7 * fabs(reference), "%s gate: %.9g, not %.9g", k->name, (double)y[i], reference);
                }
            }
}

static void test_dot(const mimp_kernels *k)
{
    static float x[512], w[512], y[512], expected[512];
    uint32_t n;
    int kind;
    for (kind = 0; kind < KINDS; kind++)
        for (n = 16; n <= 512; n += n < 64 ? 16 : 64) {
            float *to, one, sum;
            fill(x, n, kind);
            fill(w, n, ORDINARY);
            fill(y, n, ORDINARY);
            one = oracle->dot(x, w, n);
            sum = k->dot(copy(&gx, x, n), copy(&gw, w, n), n);
            SAME(&sum, &one, 1, "dot");
            memcpy(expected, y, (size_t)n * 4);
            oracle->accumulate(expected, x, w, n);
            to = copy(&gy, y, n);
            k->accumulate(to, copy(&gx, x, n), copy(&gw, w, n), n);
            SAME(to, expected, (size_t)n, "accumulate");
            CHECK(guard_intact(&gy));
        }
}

/* The epilogue's terms, by their definition: one channel of one row at a time. */
static void test_epilogue_value(void)
{
    uint32_t i;
    group("finish: definition");
    for (i = 0; i < 2000; i++) {
        int32_t acc[16], sum[16], zero = (int32_t)between(0, 255);
        float scale[16], bias[16], y[16], factor = uniform(0, 0.01f);
        mimp_epilogue e;
        int j;
        for (j = 0; j < 16; j++) {
            acc[j] = (int32_t)any32() >> 8, sum[j] = (int32_t)any32() >> 18;
            scale[j] = uniform(0, 0.01f), bias[j] = y[j] = uniform(-1, 1);
        }
        memset(&e, 0, sizeof e);
        e.integer = 1, e.sum = sum, e.zero = &zero, e.factor = &factor, e.scale = scale, e.bias = bias, e.add = 1;
        oracle->finish(y, 16, acc, 1, &e);
        for (j = 0; j < 16; j++) {
            const double term = ((double)acc[j] - (double)zero * sum[j]) * (double)factor * (double)scale[j];
            CHECK(fabs((double)y[j] - (term + 2 * (double)bias[j])) <= 3e-7 * (fabs(term) + 3));
        }
    }
}

static void softmax_row(const mimp_kernels *k, uint32_t n, int kind, size_t stride)
{
    static float x[MOST];
    const uint32_t n16 = (n + 15) / 16 * 16;
    const size_t size = (n16 / 4 - 1) * stride + 4;
    float *y = (float *)guard_high(&gx, (size_t)n16 * 4, 4);
    uint8_t *out = (uint8_t *)guard_high(&gy, size, 1), *bytes = (uint8_t *)guard_high(&gz, size, 1);
    double top = -HUGE_VAL;
    uint32_t i, sum, total = 0;
    fill(x, n16, kind);
    memset(out, 0x77, size);
    memset(bytes, 0x77, size);
    for (i = n; i < n16; i++)
        x[i] = -3.4e38f;
    memcpy(y, x, (size_t)n16 * 4);
    sum = k->softmax(y, n16, out, stride);
    CHECK_THAT(sum == oracle->softmax(x, n16, bytes, stride), "%s softmax of %u, kind %d: another sum", k->name, n, kind);
    CHECK_THAT(memcmp(out, bytes, size) == 0, "%s softmax of %u, kind %d: other bytes", k->name, n, kind);
    for (i = 0; i < n16; i++) {
        const uint32_t byte = out[i / 4 * stride + i % 4];
        total += byte;
        CHECK_THAT(i < n || byte == 0, "%s softmax of %u: padding is not zero", k->name, n);
    }
    CHECK_THAT(total == sum, "%s softmax of %u: bytes sum to %u, not %u", k->name, n, total, sum);
    for (i = 0; i < n; i++)
        top = fmax(top, (double)x[i]);
    for (i = 0; i < n && (kind == ORDINARY || kind == SHIFTED || kind == CONSTANT || kind == ZERO); i++)
        CHECK_THAT(fabs((double)out[i / 4 * stride + i % 4] - 255 * exp((double)x[i] - top)) <= 0.5 + 255 * 8e-5, "%s softmax: 255 exp(%.9g) is %u", k->name,
                   (double)x[i] - top, out[i / 4 * stride + i % 4]);
    CHECK(guard_intact(&gx) && guard_intact(&gy));
}

/* Keys in two blocks, as if in one: plain to the bit, fused within its tolerance. */
static void weigh_columns(const mimp_kernels *k, uint32_t n, int kind, uint32_t fused)
{
    enum { ROWS = 3 };
    static float x[16 * 160], y[16 * 160], expected[(2 + ROWS) * 16];
    float *to = (float *)guard_high(&gx, (size_t)n * 64, 4), *state = (float *)guard_high(&gy, sizeof expected, 4);
    const uint32_t half = n / 2;
    uint32_t i, q, block;
    fill(x, 16 * n, kind);
    memcpy(y, x, (size_t)n * 64);
    for (i = 0; i < (2 + ROWS) * 16; i++)
        expected[i] = state[i] = i < 16 ? -3.0e38f : (float)(i / 16 - 1);
    for (block = 0; block < 2; block++) {
        memcpy(to, x + (block ? half * 16 : 0), (size_t)(block ? n - half : half) * 64);
        k->weigh(to, block ? n - half : half, state, ROWS, fused);
        oracle->weigh(y + (block ? half * 16 : 0), block ? n - half : half, expected, ROWS, fused);
        if (!fused)
            SAME(to, y + (block ? half * 16 : 0), (size_t)(block ? n - half : half) * 16, "weigh, plain");
    }
    if (!fused)
        SAME(state, expected, (2 + ROWS) * 16, "weigh, plain");
    CHECK(guard_intact(&gx) && guard_intact(&gy));
    for (q = 0; q < 16 && (kind == ORDINARY || kind == SHIFTED || kind == CONSTANT || kind == ZERO); q++) {
        double top = -HUGE_VAL, sum = 0;
        for (i = 0; i < n; i++)
            top = fmax(top, (double)x[16 * i + q]);
        for (i = 0; i < n; i++)
            sum += exp((double)x[16 * i + q] - top);
        CHECK_THAT((double)state[q] == top, "%s weigh of %u: the largest is %.9g, not %.9g", k->name, n, (double)state[q], top);
        CHECK_THAT(fabs((double)state[16 + q] - sum) <= 3e-6 * sum, "%s weigh of %u: sum %.9g, not %.9g", k->name, n, (double)state[16 + q], sum);
        for (i = half; i < n; i++)
            CHECK_THAT(fabs((double)to[16 * (i - half) + q] - exp((double)x[16 * i + q] - top)) <= 2e-7 * exp((double)x[16 * i + q] - top),
                       "%s weigh: exp(%.9g) is %.9g", k->name, (double)x[16 * i + q] - top, (double)to[16 * (i - half) + q]);
        for (i = 0; i < ROWS; i++)
            CHECK(state[16 * (2 + i) + q] < 1e-30f);           /* what was there before anything was seen weighs nothing */
    }
}

static void test_weigh(const mimp_kernels *k)
{
    uint32_t n;
    int kind;
    for (kind = 0; kind < KINDS; kind++)
        for (n = 1; n <= 160; n += n < 40 ? 1 : 30)
            weigh_columns(k, n, kind, n & 1), weigh_columns(k, n, kind, !(n & 1));
}

static void test_softmax(const mimp_kernels *k)
{
    uint32_t n;
    int kind;
    for (kind = 0; kind < KINDS; kind++)
        for (n = 1; n <= 1025; n += n < 66 ? 1 : 137)
            softmax_row(k, n, kind, 4 * k->rows_q8);
}

static void values_panel(const mimp_kernels *k, uint32_t n, int kind, uint32_t limit)
{
    static float x[48 * 80];
    const uint32_t n4 = between(0, 1) ? (n + 15) / 16 * 16 : (n + 3) / 4 * 4, stride = 16 * between(1, 3);
    int8_t *panel = (int8_t *)guard_high(&gy, (size_t)n4 * 16, 1), *expected = (int8_t *)guard_high(&gz, (size_t)n4 * 16, 1);
    float *scale = (float *)guard_high(&gw, 64, 4), wanted[16];
    uint32_t i, j;
    fill(x, stride * n, kind);
    memset(panel, 0x77, (size_t)n4 * 16);
    oracle->values(expected, wanted, x, stride, n, n4, limit);
    k->values(panel, scale, copy(&gx, x, (n - 1) * stride + 16), stride, n, n4, limit);
    SAME(scale, wanted, 16, "scale of values");
    CHECK_THAT(memcmp(panel, expected, (size_t)n4 * 16) == 0, "%s values (%u x 16), kind %d: other bytes", k->name, n, kind);
    CHECK(guard_intact(&gy) && guard_intact(&gw));
    for (i = 0; i < n4; i++)
        for (j = 0; j < 16; j++) {
            const int v = panel[i / 4 * 64 + 4 * j + i % 4];
            CHECK_THAT(i < n ? v <= (int)limit && v >= -(int)limit : v == 0, "%s values: %d at row %u of %u", k->name, v, i, n);
            if (i < n && (kind == ORDINARY || kind == SHIFTED))
                CHECK(fabs(v * (double)scale[j] - (double)x[i * stride + j]) <= 0.5001 * (double)scale[j]);
        }
}

static void test_values(const mimp_kernels *k)
{
    uint32_t n;
    int kind;
    for (kind = 0; kind < KINDS; kind++)
        for (n = 1; n <= 70; n++)
            values_panel(k, n, kind, n & 1 ? 63 : 127);
}

/* ---- scalar functions ---- */

static void test_sqrt(void)
{
    static const uint32_t special[] = { 0, 1, 2, 3, 0x7fffff, 0x800000, 0x800001, 0x3f7fffff, 0x3f800000, 0x3f800001, 0x40800000, 0x7f7fffff };
    uint32_t i;
    group("sqrt: correctly rounded");
    for (i = 0; i < 3000000 / (uint32_t)sparse; i++) {
        const uint32_t u = i < 12 ? special[i] : i < 500000 ? any32() & 0x7fffff : any32() % 0x7f800000;
        const float x = float_of(u), root = mimp_sqrt(x);
        CHECK_THAT(bits_of(root) == bits_of(sqrtf(x)), "sqrt(%.9g) is %.9g, not %.9g", (double)x, (double)root, (double)sqrtf(x));
    }
    CHECK(isinf(mimp_sqrt(INFINITY)) && isnan(mimp_sqrt(NAN)));
}

/* coarse: of a product of bytes */
static float act_of(float x, uint32_t act, uint32_t coarse)
{
    static const float one[16] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };
    float y[16], acc[16];
    int32_t integers[16];
    mimp_epilogue e;
    int j;
    for (j = 0; j < 16; j++) {
        acc[j] = x;
        integers[j] = 1;
    }
    memset(&e, 0, sizeof e);
    e.act = act;
    e.integer = coarse;
    e.scale = one;
    e.factor = coarse ? acc : NULL;
    oracle->finish(y, 16, coarse ? (const void *)integers : acc, 1, &e);
    return y[7];
}

static void test_functions(void)
{
    static const double most[2][5] = { { 0, 4e-7, 4e-7, 4e-7, 4e-7 }, { 0, 1.7e-4, 4e-7, 4e-7, 4e-7 } };
    double worst[2][5] = { { 0 } };
    uint32_t coarse, act;
    int i;
    group("exp: relative error under 1.2e-7, of the coarse one 8e-5");
    for (i = -860000; i <= 860000; i += 3 * sparse) {
        const float x = (float)i * 1e-4f;
        const double y = (double)mimp_scalar_exp(mimp_scalar_set(x)).v[3], reference = exp((double)x);
        const double z = (double)mimp_scalar_exp_coarse(mimp_scalar_set(x)).v[3];
        CHECK_THAT(fabs(y - reference) <= 1.2e-7 * reference, "exp(%.9g) is %.9g, not %.9g", (double)x, y, reference);
        CHECK_THAT(i > 800000 || fabs(z - 255 * reference) <= 8e-5 * 255 * reference, "exp_coarse(%.9g) is %.9g", (double)x, z);
    }
    CHECK(mimp_scalar_exp(mimp_scalar_set(-86.0f)).v[0] < 1e-37f && isfinite(mimp_scalar_exp(mimp_scalar_set(86.0f)).v[0]));
    CHECK(mimp_scalar_exp(mimp_scalar_set(0)).v[0] == 1.0f);
    group("GELU by erf, tanh and logistic, and SiLU on -30..30");
    for (i = -300000; i <= 300000; i += sparse) {
        const float xf = (float)i * 1e-4f;
        const double x = (double)xf;
        double reference[5];
        /* absolute, in units of max(1, |x|): erf's polynomial ends at 4e-7 of |x|, the logistic ones are a few roundings */
        const double unit = fmax(1, fabs(x));
        reference[MIM_GELU_ERF] = 0.5 * x * erfc(-x * 0.70710678118654752);
        reference[MIM_GELU_TANH] = x / (1 + exp(-1.5957691216057308 * (x + 0.044715 * x * x * x)));
        reference[MIM_GELU_QUICK] = x / (1 + exp(-1.702 * x));
        reference[MIM_SILU] = x / (1 + exp(-x));
        for (coarse = 0; coarse < 2; coarse++)
            for (act = MIM_GELU_ERF; act <= MIM_SILU; act++)
                worst[coarse][act] = fmax(worst[coarse][act], fabs((double)act_of(xf, act, coarse) - reference[act]) / unit);
    }
    for (coarse = 0; coarse < 2; coarse++)
        for (act = MIM_GELU_ERF; act <= MIM_SILU; act++) {
            CHECK_THAT(worst[coarse][act] <= most[coarse][act], "activation %u%s: %.3g", act, coarse ? ", coarse" : "", worst[coarse][act]);
            CHECK(act_of(0, act, coarse) == 0 && isnan(act_of(NAN, act, coarse)));
            CHECK(isinf(act_of(INFINITY, act, coarse)) && act_of(3e38f, act, coarse) == 3e38f);
        }
    CHECK(act_of(-4, MIM_GELU_ERF, 1) == 0 && act_of(-3e38f, MIM_GELU_ERF, 1) == 0);
}

int main(int argc, char **argv)
{
    size_t i;
    if (argc > 1 && strcmp(argv[1], "brief") == 0)
        sparse = 60;
    if (!mimp_little_endian()) {
        skip("kernels", "they work on blobs, which a big-endian machine refuses");
        return finish();
    }
    for (i = 0; i < MIMP_TABLE; i++)
        if (!mimp_available(mimp_table[i]->cpu))
            skip(mimp_table[i]->name, "this machine has no such instructions");
    each("tile_q7: exact within its ranges", test_tile_q7);
    each("tile_q4, unpack_q4: exact for any blob", test_tile_q4);
    each("tile_q8: exact within its ranges", test_tile_q8);
    each("tile_q8_wide: exact for any bytes", test_tile_q8_wide);
    each("several_q8: bits of as many tiles", test_several_q8);
    each("tile_f32: close; pair_f32: bits of two tiles", test_tile_float);
    each("halves: all of them", test_halves);
    each("pack", test_pack);
    each("norm", test_norm);
    each("quantize", test_quantize);
    each("finish", test_finish);
    each("gate", test_gate);
    each("dot and accumulate", test_dot);
    each("softmax", test_softmax);
    each("weigh", test_weigh);
    each("values", test_values);
    test_epilogue_value();
    test_sqrt();
    test_functions();
    return finish();
}
