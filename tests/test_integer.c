/* test_integer - integer numerics: the primitives against exact arithmetic, the memory that is promised, and models of random
 * numbers, sane and not, that must give the same bits on every instruction set, for any number of threads and any arena. */
#define MIM_IMPLEMENTATION
#include "../mim.h"
#include "check.h"
#include "integer_builder.h"
#include "threads.h"

/* ---- primitives ---- */

static uint64_t any64(void)
{
    const uint64_t high = any32();
    return high << 32 | any32();
}

static void test_rsqrt(void)
{
    uint32_t i, h, r;
    double worst = 0;
    group("integer: 1 / sqrt within 2^-23");
    for (i = 0; i < 400000; i++) {
        const uint64_t v = i < 1000 ? i + 1 : i < 2000 ? ((uint64_t)1 << 62) - 1 - i : (any64() >> 2 >> between(0, 61)) + 1;
        double error;
        if (v >= (uint64_t)1 << 62)
            continue;
        r = mimp_rsqrt(v, &h);
        error = fabs(ldexp((double)r, (int)h - 61) * sqrt((double)v) - 1);
        worst = error > worst ? error : worst;
        if (!CHECK_THAT(r <= 1u << 30 && error < 1.2e-7, "1 / sqrt(%llu): %u 2^(%u - 61), error %g", (unsigned long long)v, r, h, error))
            return;
    }
}

/* Against the exact mean and, for the root, long double. */
static void test_normalise(void)
{
    static const uint32_t dims[] = { 1, 2, 3, 48, 64, 128, 192, 384, 768, 1000, 4096, 16384 };
    static int16_t x[16384];
    uint32_t d, kind, round, i, a, q;
    group("integer: rows less their mean, by their deviation");
    for (d = 0; d < sizeof dims / sizeof *dims; d++)
        for (kind = 0; kind < 6; kind++)
            for (round = 0; round < 3; round++) {
                const uint32_t n = dims[d];
                uint64_t variance;
                int64_t sum = 0;
                long double squares = 0, deviation;
                mimp_moments m;
                mimp_norm_bits(n, &a, &q);
                variance = (uint64_t)1 << (4 + 2 * q > 2 * a ? 4 + 2 * q - 2 * a : 0);
                variance = round == 1 ? variance * 1000 : round == 2 ? (uint64_t)1 << 60 : variance;
                for (i = 0; i < n; i++) {
                    x[i] = (int16_t)(kind == 0 ? 0 : kind == 1 ? (i == n / 2 ? 32767 : 0) : kind == 2 ? (i % 2 ? 32767 : -32768)
                                     : kind == 3 ? -32768 : kind == 4 ? (int)between(0, 65535) - 32768 : (int)between(0, 20) - 10);
                    sum += x[i];
                }
                for (i = 0; i < n; i++) {
                    const long double t = (long double)((int64_t)n * x[i] - sum);
                    squares += t * t;
                }
                deviation = sqrtl(squares / (long double)n + (long double)variance);
                m = mimp_moments_of(x, n, variance);
                for (i = 0; i < n; i++) {
                    const long double exact = (long double)((int64_t)n * x[i] - sum) / deviation * (long double)(1u << q);
                    const int32_t t = mimp_normalised(&m, x[i]);
                    /* half a step, the root's error, and what the shift of the product leaves off */
                    const long double allowed = 0.5L + fabsl(exact) * 1.3e-7L + 1.0L / (1u << (m.shift < 30 ? m.shift : 30)) + 1e-6L;
                    if (!CHECK_THAT(t >= -32768 && t <= 32767 && fabsl((long double)t - exact) <= allowed,
                                    "%u numbers, kind %u: %d, exactly %Lf", n, kind, t, exact))
                        return;
                }
            }
}

static void test_small(void)
{
    uint32_t i;
    group("integer: rounding, clamping and the table of the exponential");
    for (i = 0; i < 100000; i++) {
        const int32_t a = (int32_t)any32(), b = (int32_t)(any32() >> 1);
        const long double exact = (long double)a * (long double)b / 4294967296.0L;
        CHECK((long double)mimp_scaled(a, b) == floorl(exact + 0.5L));
        CHECK((long double)mimp_high(a, b) == floorl(exact));
        CHECK(mimp_short(a) == (a < -32768 ? -32768 : a > 32767 ? 32767 : a));
    }
    CHECK(mimp_scaled(INT32_MIN, INT32_MIN) == 1 << 30 && mimp_scaled(1, 1 << 30) == 0 && mimp_scaled(2, 1 << 30) == 1 && mimp_scaled(-2, 1 << 30) == 0);
    for (i = 0; i < 256; i++)
        CHECK_THAT(mimp_exp[i] == floor(255 * pow(2, -9.0 * i / 255) + 0.5), "entry %u of the exponential", i);
}

/* ---- memory ---- */

static guard region, second;

/* A session in exactly the memory planned: at least (size 0), useful (1), or something between. */
static int begin(mim_session *s, const mim_model *model, mim_session_desc d, uint32_t size, int low)
{
    mim_memory m;
    if (!CHECK(mim_plan(model, &d, &m) == MIM_OK))
        return 0;
    CHECK((m.slow_bytes != 0) == (d.split != 0));
    m.bytes = size == 0 ? m.bytes : size == 1 ? m.useful : m.bytes + (m.useful - m.bytes) / between(2, 5);
    m.base = low ? guard_low(&region, m.bytes) : guard_high(&region, m.bytes, 16);
    m.slow = low ? guard_low(&second, m.slow_bytes) : guard_high(&second, m.slow_bytes, 16);
    memset(m.base, 0x5a, m.bytes);
    memset(m.slow, 0x5a, m.slow_bytes);
    return CHECK(mim_begin(s, model, &d, &m) == MIM_OK);
}

static int intact(void) { return guard_intact(&region) && guard_intact(&second); }

static void test_memory(void)
{
    static uint8_t pixels[224 * 224 * 3];
    static int16_t pooled[2][768];
    static const struct { const char *name; shape s; size_t most; } models[] = {
        { "the shipped model's shape at 32x32", { 32, 4, 3, 128, 4, 32, 512, 2, 1, 0, MIM_POOL_CLS, 0, 1, 0, 0, 0, 63, 0, 0 }, 36 * 1024 },
        { "ViT-Ti/16 at 224", { 224, 16, 3, 192, 3, 64, 768, 2, 1, 0, MIM_POOL_CLS, 0, 1, 0, 0, 0, 63, 0, 0 }, 150 * 1024 },
        { "ViT-S/16 at 224", { 224, 16, 3, 384, 6, 64, 1536, 1, 1, 0, MIM_POOL_CLS, 0, 1, 0, 0, 0, 63, 0, 0 }, 270 * 1024 },
        { "ViT-B/16 at 224", { 224, 16, 3, 768, 12, 64, 3072, 1, 1, 0, MIM_POOL_CLS, 0, 1, 0, 0, 0, 63, 0, 0 }, 510 * 1024 },
    };
    uint32_t i;
    group("integer: the memory that is promised, and not a byte beside it");
    for (i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)any32();
    for (i = 0; i < sizeof models / sizeof *models; i++) {
        mim_session_desc d;
        mim_session s;
        mim_memory need, parts;
        mim_model model;
        mim_image image;
        mim_integers n;
        mim_output out;
        memset(&d, 0, sizeof d);
        memset(&image, 0, sizeof image);
        memset(&n, 0, sizeof n);
        memset(&out, 0, sizeof out);
        d.cpu = MIM_CPU_SCALAR;
        make(&models[i].s);
        CHECK_THAT(mim_open(&model, blob, bytes) == MIM_OK, "%s: %s", models[i].name, model.fault);
        CHECK(mim_plan(&model, &d, &need) == MIM_OK);
        if (CHECK_THAT(need.bytes <= models[i].most, "%s: %zu bytes, promised %zu", models[i].name, need.bytes, models[i].most) && getenv("VERBOSE"))
            printf("ok integer: %s in %zu bytes, up to %zu\n", models[i].name, need.bytes, need.useful);
        image.width = image.height = models[i].s.image;
        image.pixels = pixels;
        out.integers = &n;
        n.pooled = pooled[0];
        if (begin(&s, &model, d, 0, 0))
            CHECK_THAT(mim_encode(&s, &image, &out) == MIM_OK && intact(), "%s: writes beside its %zu bytes", models[i].name, need.bytes);
        d.split = 1;
        CHECK(mim_plan(&model, &d, &parts) == MIM_OK && parts.bytes + parts.slow_bytes >= need.bytes);
        CHECK_THAT(parts.bytes + parts.slow_bytes <= need.bytes + 4096, "%s: %zu and %zu bytes in two regions, %zu in one", models[i].name,
                   parts.bytes, parts.slow_bytes, need.bytes);
        if (getenv("VERBOSE"))
            printf("ok integer: %s in %zu bytes, up to %zu, and %zu slow ones\n", models[i].name, parts.bytes, parts.useful, parts.slow_bytes);
        n.pooled = pooled[1];
        if (begin(&s, &model, d, 0, 0))
            CHECK_THAT(mim_encode(&s, &image, &out) == MIM_OK && intact() && !memcmp(pooled[0], pooled[1], sizeof pooled[0]),
                       "%s: other bits in two regions, or beside them", models[i].name);
    }
}

/* ---- more memory is faster ---- */

/* Bytes of weights that come from flash where two panels stay in a cache. */
static uint64_t traffic;
static const int8_t *cached[2];
static void counted(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k)
{
    const uint8_t *at = (const uint8_t *)w;
    if (at >= blob && at < blob + bytes && w != cached[0] && w != cached[1]) {      /* the keys and values of attention are panels, too */
        traffic += 16 * k;
        cached[1] = cached[0];
        cached[0] = w;
    }
    mimp_kernels_scalar.tile_q8_wide(acc, a, w, k);
}

static void test_traffic(void)
{
    static const shape f = { 56, 4, 3, 64, 4, 16, 128, 2, 1, 0, MIM_POOL_CLS, 0, 1, 0, 0, 0, 63, 0, 0 };
    static const uint32_t steps = 48;
    static uint8_t pixels[56 * 56 * 3];
    static int16_t pooled[2][64];
    mimp_kernels kernels = mimp_kernels_scalar;
    uint64_t weights = 0, least = 0, before = 0;
    uint32_t i, heads = 0, rows = 0;
    mim_session_desc d;
    mim_memory need;
    mim_model model;
    mim_image image;
    mim_integers n;
    mim_output out;
    group("integer: more memory reads weights less often, up to once");
    make(&f);
    memset(&d, 0, sizeof d);
    memset(&image, 0, sizeof image);
    memset(&n, 0, sizeof n);
    memset(&out, 0, sizeof out);
    d.cpu = MIM_CPU_SCALAR;
    if (!CHECK(mim_open(&model, blob, bytes) == MIM_OK && mim_plan(&model, &d, &need) == MIM_OK))
        return;
    for (i = 0; i < header()->tensor_count; i++)
        if (model.tensors[i].layout == MIM_PANEL16)
            weights += (uint64_t)mimp_up(model.tensors[i].rows, 16) * mimp_up(model.tensors[i].columns, 32);
    for (i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)any32();
    kernels.tile_q8 = kernels.tile_q8_wide = counted;
    image.width = image.height = f.image;
    image.pixels = pixels;
    out.integers = &n;
    for (i = 0; i <= steps; i++) {
        mim_memory given = need;
        mim_session s;
        given.bytes = need.bytes + (need.useful - need.bytes) * i / steps + (i == steps ? 4096 : 0);
        given.base = guard_high(&region, given.bytes, 16);
        n.pooled = pooled[i != 0];
        if (!CHECK(mim_begin(&s, &model, &d, &given) == MIM_OK))
            return;
        s.kernels = &kernels;
        traffic = 0;
        cached[0] = cached[1] = NULL;
        CHECK(mim_encode(&s, &image, &out) == MIM_OK && guard_intact(&region) && !memcmp(pooled[0], pooled[i != 0], sizeof pooled[0]));
        CHECK_THAT(i == 0 || traffic <= before, "%zu bytes: %llu of weights, with less memory %llu", given.bytes, (unsigned long long)traffic,
                   (unsigned long long)before);
        CHECK(s.tile_rows > rows || (s.tile_rows == rows && s.group_heads >= heads));
        before = traffic;
        least = i ? least : traffic;
        heads = s.group_heads;
        rows = s.tile_rows;
        CHECK(i < steps || s.arena_bytes == need.useful);
    }
    CHECK(rows >= 197 && heads == f.heads);
    CHECK_THAT(before == weights, "%llu bytes of weights with all the memory that is useful, the blob has %llu", (unsigned long long)before,
               (unsigned long long)weights);
    CHECK_THAT(least > 10 * before, "%llu bytes of weights at the minimum", (unsigned long long)least);
}

/* ---- the same bits everywhere ---- */

typedef struct results {
    int16_t tokens[80 * 160], pooled[320], logits[16], layers[2 * 80 * 160], prediction[64 * 256];
    float f_tokens[80 * 160], f_pooled[320], f_logits[16], f_attention[8 * 80 * 80], f_layers[2 * 80 * 160], f_prediction[64 * 256];
} results;

static mim_status encode(mim_session *s, const mim_image *image, results *r, uint32_t norm)
{
    static const uint32_t layers[] = { 1, 2 };
    const mim_blob_header *h = s->model->header;
    mim_integers n;
    mim_output out;
    memset(r, 0, sizeof *r);
    memset(&n, 0, sizeof n);
    memset(&out, 0, sizeof out);
    n.tokens = r->tokens, n.pooled = r->pooled, n.logits = h->classes ? r->logits : NULL, n.layers = r->layers, n.prediction = r->prediction;
    out.tokens = r->f_tokens, out.pooled = r->f_pooled, out.logits = h->classes ? r->f_logits : NULL, out.attention = r->f_attention;
    out.layers = r->f_layers, out.layer = layers, out.layer_count = 2, out.layer_norm = norm;
    out.integers = &n;
    return s->desc.decoder ? mim_reconstruct(s, image, &out, r->f_prediction) : mim_encode(s, image, &out);
}

/* Leaves whose rows lie one after the other, and which must be entered and left, as AMX's: on any machine. */
static int inside;
static void enter(size_t k) { (void)k; CHECK(!inside++); }
static void leave(void) { CHECK(!--inside); }
static void tile_rows(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k)
{
    const size_t row = (k + 63) / 64 * 64;
    size_t r, i, j;
    CHECK(inside);
    for (r = 0; r < 16; r++)
        for (j = 0; j < 16; j++) {
            acc[16 * r + j] = 0;
            for (i = 0; i < k; i++)
                acc[16 * r + j] += a[row * r + i] * w[(i / 4 * 16 + j) * 4 + i % 4];
        }
}

static void test_bits(uint32_t rounds, uint32_t wild)
{
    static results first, again;
    static uint8_t pixels[64 * 64 * 3];
    uint32_t round, cpu, size, i;
    group(wild ? "integer: contents without sense, the same bits" : "integer: the same bits everywhere");
    for (round = 0; round < rounds; round++) {
        shape f;
        uint32_t side, visible[64], count, t;
        mim_model model;
        mim_image image;
        mim_status status;
        int begun = 0;
        memset(&f, 0, sizeof f);
        f.wild = wild;
        f.weight_max = between(0, 1) ? 63 : 127;
        f.group = round % 3 ? 0 : 32u << between(0, 2);
        f.channels = between(0, 3) ? 3 : 1;
        f.patch = between(1, 5);
        side = between(1, 8);
        f.image = side * f.patch;
        f.heads = between(1, 4);
        f.head_dim = between(1, 40);
        f.dim = between(1, 160);
        f.hidden = between(1, 200);
        f.depth = 2;
        f.cls = between(0, 1);
        f.registers = between(0, 3);
        f.norm = between(0, 2) != 0;
        f.pool = f.cls ? between(MIM_POOL_CLS, MIM_POOL_CLS_MEAN) : between(MIM_POOL_MEAN_PATCHES, MIM_POOL_MEAN_ALL);
        f.pool_norm = between(0, 1);
        f.classes = between(0, 1) ? between(1, 16) : 0;
        f.decoder_dim = between(0, 1) ? between(1, 100) : 0;
        f.decoder_heads = between(1, 3);
        make(&f);
        status = mim_open(&model, blob, bytes);
        if (!CHECK_THAT(status == MIM_OK, "%s (%s)", mim_status_string(status), model.fault))
            continue;
        if (!f.wild)
            CHECK_THAT(mim_verify(&model) == MIM_OK, "%s", model.fault);
        for (i = 0; i < sizeof pixels; i++)
            pixels[i] = (uint8_t)any32();
        for (i = 0; i < side * side; i++)
            visible[i] = i;
        for (i = side * side; i-- > 1; ) {
            const uint32_t j = between(0, i), kept = visible[i];
            visible[i] = visible[j];
            visible[j] = kept;
        }
        count = between(1, side * side);
        memset(&image, 0, sizeof image);
        image.format = f.channels == 1 ? MIM_GRAY8 : MIM_RGB8;
        image.width = image.height = f.image;
        image.pixels = pixels;
        if (between(0, 1)) {
            image.visible = visible;
            image.visible_count = count;
        } else
            count = side * side;
        t = f.cls + f.registers + count;
        for (cpu = MIM_CPU_SCALAR; cpu < MIM_CPU_COUNT; cpu++)
            for (size = 0; size < 4 && mimp_choose(cpu, MIM_PANEL16); size++) {
                mim_session_desc d;
                mim_session s;
                results *to = begun ? &again : &first;
                memset(&d, 0, sizeof d);
                d.cpu = cpu;
                d.threads = size == 3 ? 3 : 1;
                d.parallel = threads;
                d.decoder = f.decoder_dim != 0;
                d.visible_max = image.visible && size & 1 ? count : 0;
                d.split = begun && between(0, 1);
                if (!begin(&s, &model, d, size == 3 ? between(0, 2) : size, (int)between(0, 1)))
                    continue;
                status = encode(&s, &image, to, round % 2);
                CHECK_THAT(status == MIM_OK && intact(), "%s on %s", mim_status_string(status), mim_cpu_name(cpu));
                CHECK_THAT(!begun++ || !memcmp(&first, &again, sizeof first), "other bits on %s, setting %u", mim_cpu_name(cpu), size);
            }
        /* the other layout of weights, which every build runs, too */
        if (!f.group)
            to_pairs();
        CHECK_THAT(mim_open(&model, blob, bytes) == MIM_OK && (f.wild || mim_verify(&model) == MIM_OK), "pairs: %s", model.fault);
        for (size = 0; size < 3 && !f.group; size++) {
            mim_session_desc d;
            mim_session s;
            memset(&d, 0, sizeof d);
            d.threads = size == 2 ? 3 : 1;
            d.parallel = threads;
            d.decoder = f.decoder_dim != 0;
            CHECK(begin(&s, &model, d, size, 0) && encode(&s, &image, &again, round % 2) == MIM_OK && intact());
            CHECK_THAT(!memcmp(&first, &again, sizeof first), "other bits with pairs of channels, setting %u", size);
        }
        if (!f.group)
            to_pairs();
        CHECK(mim_open(&model, blob, bytes) == MIM_OK);
        {
            static mimp_kernels others;
            mim_session_desc d;
            mim_session s;
            memset(&d, 0, sizeof d);
            d.cpu = MIM_CPU_SCALAR;
            d.decoder = f.decoder_dim != 0;
            others = mimp_kernels_scalar;
            others.rows_q8 = 16;
            others.row_unit = 64;
            others.tile_q8 = others.tile_q8_wide = tile_rows;
            others.enter = enter;
            others.leave = leave;
            if (begin(&s, &model, d, 0, 0)) {
                uint64_t slow;
                s.kernels = &others;
                s.tile_rows = s.group_heads = 1;
                s.arena = (uint8_t *)guard_high(&region, (size_t)mimp_plan_bytes(&s, &slow), 64);
                CHECK(encode(&s, &image, &again, round % 2) == MIM_OK && guard_intact(&region) && !memcmp(&first, &again, sizeof first));
            }
        }
        /* floats are integers times the scale, and attention sums to 1 */
        for (i = 0; i < t * f.dim; i++) {
            const float scale = f.norm ? 0.001f : 0.01f;
            CHECK(first.f_tokens[i] == (float)first.tokens[i] * scale);
            CHECK(first.f_layers[i] == (float)first.layers[i] * (round % 2 ? scale : 0.01f));
        }
        for (i = 0; i < header()->pooled_dim; i++)
            CHECK(first.f_pooled[i] == (float)first.pooled[i] * 0.002f);
        for (i = 0; i < f.classes; i++)
            CHECK(first.f_logits[i] == (float)first.logits[i] * 0.003f);
        for (i = 0; f.decoder_dim && i < side * side * f.channels * f.patch * f.patch; i++)
            CHECK(first.f_prediction[i] == (float)first.prediction[i] * 0.004f);
        for (i = 0; i < f.heads * t; i++) {
            double sum = 0;
            uint32_t j;
            for (j = 0; j < t; j++)
                sum += (double)first.f_attention[(size_t)i * t + j];
            CHECK_THAT(fabs(sum - 1) < 1e-4, "a row of the attention sums to %g", sum);
        }
        if (f.pool == MIM_POOL_CLS && !f.pool_norm)
            CHECK(!memcmp(first.pooled, first.tokens, f.dim * 2));
        /* pixels normalised by the caller come back as the bytes that they are of */
        if (!image.visible) {
            static float planes[3 * 64 * 64];
            mim_session_desc d;
            mim_session s;
            uint32_t x, c;
            for (c = 0; c < f.channels; c++)
                for (x = 0; x < f.image * f.image; x++)
                    planes[c * f.image * f.image + x] = ((float)pixels[x * f.channels + c] / 255.0f - 0.45f) / 0.25f;
            image.format = MIM_PLANES;
            image.pixels = planes;
            memset(&d, 0, sizeof d);
            d.decoder = f.decoder_dim != 0;
            if (begin(&s, &model, d, 0, 0))
                CHECK(encode(&s, &image, &again, round % 2) == MIM_OK && !memcmp(&first, &again, sizeof first));
        }
    }
}

/* ---- pictures, row by row ---- */

typedef struct camera { const uint8_t *pixels; size_t row; uint32_t next; } camera;

static int camera_row(void *user, uint32_t y, void *row)
{
    camera *c = (camera *)user;
    CHECK_THAT(y == c->next, "row %u is asked for after row %u", y, c->next - 1);
    c->next = y + 1;
    memcpy(row, c->pixels + y * c->row, c->row);
    return 0;
}

/* What of a picture w by h remains as the input, `side` square: resized so that it just covers it, cropped in the middle. */
static void prepare(uint8_t *to, uint32_t side, const uint8_t *from, uint32_t w, uint32_t h, uint32_t channels)
{
    static uint8_t whole[200 * 200 * 3];
    static guard scratch;
    const uint32_t nw = w <= h ? side : side * w / h, nh = w <= h ? side * h / w : side;
    const uint32_t dx = nw - side, dy = nh - side, left = dx / 2 + (dx & 1 && dx / 2 & 1), top = dy / 2 + (dy & 1 && dy / 2 & 1);
    uint32_t y;
    CHECK((size_t)nw * nh * channels <= sizeof whole);
    guard_high(&scratch, mim_resize_bytes(nw, nh, w, h, channels, MIM_BICUBIC), 16);
    CHECK(mim_resize(whole, nw, nh, from, w, h, 0, channels, MIM_BICUBIC, scratch.piece) == MIM_OK && guard_intact(&scratch));
    for (y = 0; y < side; y++)
        memcpy(to + (size_t)y * side * channels, whole + ((size_t)(y + top) * nw + left) * channels, (size_t)side * channels);
}

static void test_pictures(uint32_t rounds)
{
    static const uint32_t sizes[] = { 3, 4, 3, 1, 2 };       /* bytes of a pixel, by format */
    static uint8_t raw[90 * 90 * 4], colors[90 * 90 * 3], input[40 * 40 * 3];
    static results first, again;
    uint32_t round, i;
    group("integer: pictures of all formats and sizes, row by row");
    for (round = 0; round < rounds; round++) {
        const uint32_t format = round % 5, channels = between(0, 3) ? 3 : 1, side = 4 * between(1, 6), exact = round / 5 % 3 == 0;
        const shape f = { side, 4, channels, 20, 2, 10, 24, 2, 1, 0, MIM_POOL_CLS, 0, 1, 0, 0, 0, 63, 0, 0 };
        const uint32_t w = exact ? side : between(side / 3 + 1, 90), h = exact ? side : between(mimp_max(w / 4, 1), mimp_min(4 * w, 90));
        mim_session_desc d;
        mim_session s;
        mim_model model;
        mim_image image;
        camera c = { raw, (size_t)w * sizes[format], 0 };
        make(&f);
        for (i = 0; i < w * h * sizes[format]; i++)
            raw[i] = (uint8_t)any32();
        for (i = 0; i < w * h; i++) {
            const uint8_t *p = raw + (size_t)i * sizes[format];
            const uint32_t v = format == MIM_RGB565 ? p[0] | (uint32_t)p[1] << 8 : 0;
            const uint32_t red = format == MIM_RGB565 ? (v >> 11) * 8 + (v >> 13) : format == MIM_BGR8 ? p[2] : p[0];
            const uint32_t green = format == MIM_RGB565 ? (v >> 5 & 63) * 4 + (v >> 9 & 3) : format == MIM_GRAY8 ? p[0] : p[1];
            const uint32_t blue = format == MIM_RGB565 ? (v & 31) * 8 + (v >> 2 & 7) : format == MIM_GRAY8 || format == MIM_BGR8 ? p[0] : p[2];
            if (channels == 1)
                colors[i] = (uint8_t)((red * 19595 + green * 38470 + blue * 7471 + 32768) >> 16);
            else
                colors[3 * i] = (uint8_t)red, colors[3 * i + 1] = (uint8_t)green, colors[3 * i + 2] = (uint8_t)blue;
        }
        if (exact)
            memcpy(input, colors, (size_t)side * side * channels);
        else
            prepare(input, side, colors, w, h, channels);
        memset(&d, 0, sizeof d);
        memset(&image, 0, sizeof image);
        d.cpu = MIM_CPU_SCALAR;
        image.format = channels == 3 ? MIM_RGB8 : MIM_GRAY8;
        image.width = image.height = side;
        image.pixels = input;
        if (!CHECK(mim_open(&model, blob, bytes) == MIM_OK) || !begin(&s, &model, d, 0, 0))
            continue;
        CHECK(encode(&s, &image, &first, 0) == MIM_OK && intact());
        d.source_width = exact ? 0 : w + between(0, 20), d.source_height = exact ? 0 : h + between(0, 20);
        d.split = between(0, 1);
        image.format = format;
        image.width = w, image.height = h;
        image.pixels = NULL;
        image.read_row = camera_row;
        image.user = &c;
        if (!begin(&s, &model, d, 0, (int)between(0, 1)))
            continue;
        CHECK_THAT(encode(&s, &image, &again, 0) == MIM_OK && intact() && !memcmp(&first, &again, sizeof first),
                   "format %u, %ux%u for %u, %u channels: other results by rows", format, w, h, side, channels);
        c.next = 0;                                          /* again in the same session, and from memory */
        CHECK(encode(&s, &image, &again, 0) == MIM_OK && !memcmp(&first, &again, sizeof first));
        image.pixels = raw;
        CHECK(encode(&s, &image, &again, 0) == MIM_OK && !memcmp(&first, &again, sizeof first));
    }
}

/* ---- what is refused ---- */

static const shape plain = { 12, 3, 3, 40, 2, 20, 50, 2, 1, 1, MIM_POOL_CLS, 1, 1, 5, 24, 1, 63, 0, 0 };

static int stop(void *user, uint32_t done, uint32_t total) { (void)total; return done == *(uint32_t *)user; }

static void test_refusals(void)
{
    static results r;
    static uint8_t pixels[12 * 12 * 3];
    static float floats[400];
    mim_model model;
    mim_session_desc d;
    mim_session s;
    mim_image image;
    mim_memory need;
    mim_output out;
    mim_integers n;
    uint32_t i, abort_at = 3;
    group("integer: what is refused");
    make(&plain);
    if (!CHECK(mim_open(&model, blob, bytes) == MIM_OK))
        return;
    memset(&d, 0, sizeof d);
    d.height = 15;
    CHECK(mim_plan(&model, &d, &need) == MIM_ERR_SIZE);
    memset(&d, 0, sizeof d);
    d.progress = stop;
    d.user = &abort_at;
    memset(&image, 0, sizeof image);
    image.width = image.height = 12;
    image.pixels = pixels;
    if (begin(&s, &model, d, 0, 0)) {
        CHECK(encode(&s, &image, &r, 0) == MIM_ERR_ABORTED);
        abort_at = 100;
        CHECK(encode(&s, &image, &r, 0) == MIM_OK);
        memset(&out, 0, sizeof out);
        out.tokens = floats;
        CHECK(mim_encode_tokens(&s, floats, NULL, 1, &out) == MIM_ERR_UNSUPPORTED);
        image.width = 11;
        CHECK(encode(&s, &image, &r, 0) == MIM_ERR_SIZE);
        image.width = 12;
        memset(&n, 0, sizeof n);
        memset(&out, 0, sizeof out);
        out.integers = &n;
        n.layers = r.layers;
        CHECK(mim_encode(&s, &image, &out) == MIM_ERR_ARGUMENT);
        CHECK(mim_reconstruct(&s, &image, &out, NULL) == MIM_ERR_ARGUMENT);
    }
    /* every byte of the header's structure, of the steps and of the directory, in turn and at random: refused, or it runs */
    for (i = 32; i < sizeof(mim_blob_header) + header()->step_count * sizeof(mim_blob_step) + header()->tensor_count * sizeof(mim_blob_tensor); i++) {
        uint8_t kept;
        mim_status status;
        if (i == offsetof(mim_blob_header, mean))
            i = sizeof(mim_blob_header);         /* numbers and texts, which other tests know */
        kept = blob[i];
        blob[i] = (uint8_t)(i % 2 ? between(0, 255) : kept ^ 1u << between(0, 7));
        status = mim_open(&model, blob, bytes);
        memset(&d, 0, sizeof d);
        if (status == MIM_OK && mim_plan(&model, &d, &need) == MIM_OK && need.bytes < 1 << 20 && begin(&s, &model, d, 0, 0)) {
            image.width = s.width, image.height = s.height;
            status = s.width * s.height <= 144 && s.model->header->channels <= 3 ? encode(&s, &image, &r, 0) : MIM_OK;
            CHECK_THAT(intact(), "byte %u: wrote outside", i);
        } else if (status != MIM_OK)
            CHECK_THAT(model.fault && model.fault[0], "byte %u: no fault is named", i);
        blob[i] = kept;
    }
    CHECK(mim_open(&model, blob, bytes) == MIM_OK);
    for (i = 0; i < header()->step_count; i++) {
        const mim_blob_step kept = *step(i);
        if (!kept.variance)
            continue;
        step(i)->variance = 0;
        CHECK(mim_open(&model, blob, bytes) == MIM_ERR_STEP && !strcmp(model.fault, "variance"));
        step(i)->variance = ((uint64_t)1 << 60) + 1;
        CHECK(mim_open(&model, blob, bytes) == MIM_ERR_STEP && !strcmp(model.fault, "variance"));
        *step(i) = kept;
    }
    header()->type = MIM_F32;
    CHECK(mim_open(&model, blob, bytes) == MIM_ERR_HEADER);
    header()->type = MIM_Q8;

    group("integer: what mim_verify finds");
    for (i = 0; i < 3; i++) {
        int32_t *word;
        CHECK(mim_open(&model, blob, bytes) == MIM_OK && mim_verify(&model) == MIM_OK);
        word = (int32_t *)(void *)(blob + model.tensors[step(1)->tensor[i == 0 ? 0 : i == 1 ? 1 : 6] - 1].at);
        if (i == 1)
            word += mimp_up(2 * mimp_up(20, 16) * 3, 16) * 64 / 4;
        {
            const int32_t kept = *word;
            *word = i == 0 ? 32768 : -1;
            header()->checksum = mim_checksum(blob, bytes);
            CHECK_THAT(mim_verify(&model) == MIM_ERR_RANGE, "case %u", i);
            *word = kept;
            header()->checksum = mim_checksum(blob, bytes);
        }
    }
    for (i = 0; i < 2; i++) {                            /* a hidden unit's factor, and a weight, by both layouts */
        uint8_t *at = blob + model.tensors[step(2)->tensor[5] - 1].at + 3, kept = *at;
        *at = 0x80;
        header()->checksum = mim_checksum(blob, bytes);
        CHECK(mim_verify(&model) == MIM_ERR_RANGE);
        *at = kept;
        at = blob + model.tensors[step(2)->tensor[1] - 1].at, kept = *at;
        *at = i ? 128 + 64 : 64;
        header()->checksum = mim_checksum(blob, bytes);
        CHECK(mim_verify(&model) == MIM_ERR_RANGE && model.fault_at == (uint64_t)(at - blob));
        *at = i ? 128 - 63 : (uint8_t)-63;
        header()->checksum = mim_checksum(blob, bytes);
        CHECK(mim_verify(&model) == MIM_OK);
        *at = kept;
        to_pairs();
        CHECK(mim_open(&model, blob, bytes) == MIM_OK && mim_verify(&model) == MIM_OK);
    }
    {                                                    /* one layout for all matrices */
        mim_blob_tensor *t = (mim_blob_tensor *)(void *)(step(0) + header()->step_count) + step(2)->tensor[1] - 1;
        t->layout = MIM_PAIRS16;
        CHECK(mim_open(&model, blob, bytes) == MIM_ERR_TENSOR);
        t->layout = MIM_PANEL16;
        to_pairs();
        memset(&d, 0, sizeof d);
        d.cpu = MIM_CPU_AVX2;                            /* which does not read it, or is not there */
        CHECK(mim_open(&model, blob, bytes) == MIM_OK && mim_plan(&model, &d, &need) == MIM_ERR_CPU);
        d.cpu = MIM_CPU_SCALAR;
        CHECK(mim_plan(&model, &d, &need) == MIM_OK);
    }
}

int main(void)
{
    const char *stride = getenv("MIM_TEST_STRIDE");
    test_small();
    test_rsqrt();
    test_normalise();
    test_memory();
    test_traffic();
    test_pictures(stride ? 30 : 120);
    test_bits(stride ? 8 : 40, 0);
    test_bits(stride ? 8 : 40, 1);
    test_refusals();
    return finish();
}
