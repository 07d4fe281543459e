/* bench.c - mim bench: how fast a model encodes here, and how much of the machine that is. */
#include "pool.h"
#include "tool.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
#define BENCH_X86
#include <immintrin.h>
#elif defined(__GNUC__) && defined(__aarch64__)
#define BENCH_NEON
#include <arm_neon.h>
#endif

static const char usage[] =
    "mim bench MODEL.mim [options]\n"
    "\n"
    "Times the encoding of one fixed synthetic picture or video, from normalised planes to all final tokens, and compares it with\n"
    "the rate of the same instructions on registers alone, measured in turn with it so that both see the same clock. One thread\n"
    "is timed by what the processor spends on it, several by the time that passes.\n"
    "\n"
    "  --size HxW       input size in pixels; default: as trained\n"
    "  --seconds S      how long to measure, 0.1 to 3600; default 2\n"
    "  --threads N      1 to 64; default 1\n"
    "  --cpu NAME       instruction set: see `mim info`; default: the best\n"
    "  --profile        then encode for as long again with a clock at every stage: each stage's share; one thread only\n"
    "  --json           the results for programs\n";

/* One thread is timed by what the processor spent on it, so that whoever else uses the machine does not count; several by
 * the time that passes. */
static double (*time_now)(void) = seconds_now;

/* ---- peak: what the arithmetic instructions can do when nothing else is done ---- */

/* Runs its instructions `rounds` times and returns how many operations that were (a multiplication and an addition are
 * two). An empty asm that claims to change a value keeps the compiler from computing the products once for all rounds,
 * from taking equal accumulators for one, and from dropping them all. */
typedef uint64_t (*peak_loop)(uint32_t rounds);

typedef struct peak {
    uint32_t cpu, type;
    uint8_t weight_max, input_max;    /* of the blobs whose kernel this is; 0: any */
    const char *name;
    peak_loop run;
} peak;

#ifdef __GNUC__
#define PIN(kind, value) __asm__ volatile("" : "+" kind(value))
#else
static volatile int32_t pinned;
#define PIN(kind, value) (pinned = 0)
#endif

/* Eight accumulators in flight cover a latency of four cycles on two ports. */
#define EIGHT(step) step(0) step(1) step(2) step(3) step(4) step(5) step(6) step(7)

/* The portable leaves' own shape, 4 rows by 16 channels, on operands that stay where they are. */
static uint64_t peak_portable_f32(uint32_t rounds)
{
    volatile float seed = 0.5f;
    float a[4], w[16], sum[4][16] = { { 0 } };
    for (int i = 0; i < 4; i++) a[i] = seed;
    for (int j = 0; j < 16; j++) w[j] = seed;
    for (uint32_t n = 0; n < rounds; n++) {
        PIN("m", a);
        PIN("m", w);
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 16; j++) sum[i][j] += a[i] * w[j];
    }
    for (int i = 0; i < 64; i++) seed = sum[i / 16][i % 16];
    return (uint64_t)rounds * 64 * 2;
}

static uint64_t peak_portable_q8(uint32_t rounds)
{
    volatile int8_t seed = 3;
    uint8_t a[4][4];
    int8_t w[16][4];
    int32_t sum[4][16] = { { 0 } };
    for (int i = 0; i < 16; i++) a[i / 4][i % 4] = (uint8_t)seed;
    for (int i = 0; i < 64; i++) w[i / 4][i % 4] = seed;
    for (uint32_t n = 0; n < rounds; n++) {
        PIN("m", a);
        PIN("m", w);
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 16; j++) {
                int32_t products = a[i][0] * w[j][0] + a[i][1] * w[j][1] + a[i][2] * w[j][2] + a[i][3] * w[j][3];
                sum[i][j] = (int32_t)((uint32_t)sum[i][j] + (uint32_t)products);   /* wraps, whatever the rounds */
            }
    }
    for (int i = 0; i < 64; i++) seed = (int8_t)(sum[i / 16][i % 16] & 1);
    return (uint64_t)rounds * 64 * 4 * 2;
}

#ifdef BENCH_X86

/* One loop for each width of register: c0 to c7 are the accumulators, a and b stay as they are. */
#define PEAK_LOOP(name, isa, vector, constraint, zero, one, step, last, operations) \
    __attribute__((target(isa))) static uint64_t name(uint32_t rounds) \
    { \
        vector a = one, b = one, c0 = zero, c1 = zero, c2 = zero, c3 = zero, c4 = zero, c5 = zero, c6 = zero, c7 = zero; \
        EIGHT(KEEP_##constraint) \
        for (uint32_t r = 0; r < rounds; r++) { \
            EIGHT(step) \
            last \
        } \
        EIGHT(KEEP_##constraint) \
        PIN(#constraint, b); \
        return (uint64_t)rounds * 8 * (operations); \
    }
#define KEEP_x(i) PIN("x", c##i);
#define KEEP_v(i) PIN("v", c##i);

#define FMA_Y(i) c##i = _mm256_fmadd_ps(a, b, c##i);
#define FMA_Z(i) c##i = _mm512_fmadd_ps(a, b, c##i);
PEAK_LOOP(peak_avx2_f32, "avx2,fma", __m256, x, _mm256_setzero_ps(), _mm256_set1_ps(0.5f), FMA_Y, PIN("x", a);, 8 * 2)
PEAK_LOOP(peak_avx512_f32, "avx512f", __m512, v, _mm512_setzero_ps(), _mm512_set1_ps(0.5f), FMA_Z, PIN("v", a);, 16 * 2)

#define DOT_Y(i) c##i = _mm256_dpbusd_avx_epi32(c##i, a, b);
#define DOT_Z(i) c##i = _mm512_dpbusd_epi32(c##i, a, b);
PEAK_LOOP(peak_avxvnni_dpbusd, "avx2,avxvnni", __m256i, x, _mm256_setzero_si256(), _mm256_set1_epi8(3), DOT_Y, PIN("x", a);, 32 * 2)
PEAK_LOOP(peak_avx512_dpbusd, "avx512f,avx512bw,avx512vnni", __m512i, v, _mm512_setzero_si512(), _mm512_set1_epi8(3), DOT_Z,
          PIN("v", a);, 64 * 2)

/* Two bytes at a time, four in 16 bits, or any bytes in 16 bits from the start; a serves as the ones. */
#define MADDUBS(i, reg, w) PIN(#reg, a); c##i = w##_add_epi32(c##i, w##_madd_epi16(w##_maddubs_epi16(a, b), a));
#define MADDUBS2(i, reg, w) PIN(#reg, a); PIN(#reg, b); \
    c##i = w##_add_epi32(c##i, w##_madd_epi16(w##_add_epi16(w##_maddubs_epi16(a, a), w##_maddubs_epi16(b, a)), a));
#define MADD(i, reg, w) PIN(#reg, a); c##i = w##_add_epi32(c##i, w##_madd_epi16(a, b));
#define MADDUBS_Y(i) MADDUBS(i, x, _mm256)
#define MADDUBS_Z(i) MADDUBS(i, v, _mm512)
#define MADDUBS2_Y(i) MADDUBS2(i, x, _mm256)
#define MADDUBS2_Z(i) MADDUBS2(i, v, _mm512)
#define MADD_Y(i) MADD(i, x, _mm256)
#define MADD_Z(i) MADD(i, v, _mm512)
#define BW "avx512f,avx512bw"
PEAK_LOOP(peak_avx2_maddubs, "avx2", __m256i, x, _mm256_setzero_si256(), _mm256_set1_epi8(3), MADDUBS_Y, , 32 * 2)
PEAK_LOOP(peak_avx512_maddubs, BW, __m512i, v, _mm512_setzero_si512(), _mm512_set1_epi8(3), MADDUBS_Z, , 64 * 2)
PEAK_LOOP(peak_avx2_maddubs2, "avx2", __m256i, x, _mm256_setzero_si256(), _mm256_set1_epi8(3), MADDUBS2_Y, , 64 * 2)
PEAK_LOOP(peak_avx512_maddubs2, BW, __m512i, v, _mm512_setzero_si512(), _mm512_set1_epi8(3), MADDUBS2_Z, , 128 * 2)
PEAK_LOOP(peak_avx2_madd, "avx2", __m256i, x, _mm256_setzero_si256(), _mm256_set1_epi16(3), MADD_Y, , 16 * 2)
PEAK_LOOP(peak_avx512_madd, BW, __m512i, v, _mm512_setzero_si512(), _mm512_set1_epi16(3), MADD_Z, , 32 * 2)

/* Eight products are added in 16 bits; then vpmaddwd and an addition to sums in memory, as in the leaf. */
#define NIBBLES(i, reg, w) PIN(#reg, a); c##i = w##_add_epi16(c##i, w##_maddubs_epi16(a, b)); PIN(#reg, c##i);
#define NIBBLES_Y(i) NIBBLES(i, x, _mm256)
#define NIBBLES_Z(i) NIBBLES(i, v, _mm512)
#define FLUSH_Y(i) sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(c##i, b)); c##i = _mm256_setzero_si256();
#define FLUSH_Z(i) sums[i] = _mm512_add_epi32(sums[i], _mm512_madd_epi16(c##i, b)); c##i = _mm512_setzero_si512();
#define PEAK_NIBBLES(name, isa, vector, w, suffix, z) \
    __attribute__((target(isa))) static uint64_t name(uint32_t rounds) \
    { \
        vector a = w##_set1_epi8(3), b = a, c0 = z, c1 = z, c2 = z, c3 = z, c4 = z, c5 = z, c6 = z, c7 = z, sums[8]; \
        memset(sums, 0, sizeof sums); \
        for (uint32_t r = 0; r < rounds; r++) { \
            for (int k = 0; k < 8; k++) { EIGHT(NIBBLES_##suffix) } \
            EIGHT(FLUSH_##suffix) \
            PIN("m", sums); \
        } \
        return (uint64_t)rounds * 8 * 8 * sizeof(vector) * 2; \
    }
PEAK_NIBBLES(peak_avx2_maddubs8, "avx2", __m256i, _mm256, Y, _mm256_setzero_si256())
PEAK_NIBBLES(peak_avx512_maddubs8, BW, __m512i, _mm512, Z, _mm512_setzero_si512())

/* Four sums of 16 x 16 by 64, as they come out of the leaf's own configuration; the library has asked for permission. */
#if defined(__linux__) && defined(__x86_64__)
#define BENCH_AMX
__attribute__((target("amx-tile,amx-int8")))
static uint64_t peak_amx(uint32_t rounds)
{
    uint8_t config[64] = { 1 };
    for (int t = 0; t < 8; t++) config[16 + 2 * t] = 64, config[48 + t] = 16;
    __asm__ volatile("" : : "r"(config) : "memory");
    _tile_loadconfig(config);
    for (uint32_t r = 0; r < rounds; r++) {
        _tile_dpbusd(0, 4, 5);
        _tile_dpbusd(1, 4, 5);
        _tile_dpbusd(2, 4, 5);
        _tile_dpbusd(3, 4, 5);
    }
    _tile_release();
    return (uint64_t)rounds * 4 * 16 * 16 * 64 * 2;
}
#endif

#endif /* BENCH_X86 */

#ifdef BENCH_NEON

#define KEEP_N(i) PIN("w", c##i);

static uint64_t peak_neon_f32(uint32_t rounds)
{
#define ZERO(i) float32x4_t c##i = vdupq_n_f32(0.0f);
#define STEP(i) c##i = vfmaq_f32(c##i, a, b);
    float32x4_t a = vdupq_n_f32(0.5f), b = a;
    EIGHT(ZERO) EIGHT(KEEP_N)
    for (uint32_t r = 0; r < rounds; r++) {
        PIN("w", a);
        EIGHT(STEP)
    }
    EIGHT(KEEP_N)
#undef ZERO
#undef STEP
    return (uint64_t)rounds * 8 * 4 * 2;
}

static uint64_t peak_neon_q8(uint32_t rounds)
{
#define ZERO(i) uint32x4_t c##i = vdupq_n_u32(0);
#define STEP(i) PIN("w", a); c##i = vpadalq_u16(c##i, vmull_u8(a, b));
    uint8x8_t a = vdup_n_u8(3), b = a;
    EIGHT(ZERO) EIGHT(KEEP_N)
    for (uint32_t r = 0; r < rounds; r++) { EIGHT(STEP) }
    EIGHT(KEEP_N)
#undef ZERO
#undef STEP
    return (uint64_t)rounds * 8 * 8 * 2;
}

/* The compilers for which the library has these levels without a -march. */
#if !defined(__clang__) || __clang_major__ >= 16
#define BENCH_DOTS

__attribute__((target("arch=armv8.2-a+dotprod"))) static uint64_t peak_dotprod_q8(uint32_t rounds)
{
#define ZERO(i) uint32x4_t c##i = vdupq_n_u32(0);
#define STEP(i) c##i = vdotq_u32(c##i, a, b);
    uint8x16_t a = vdupq_n_u8(3), b = a;
    EIGHT(ZERO) EIGHT(KEEP_N)
    for (uint32_t r = 0; r < rounds; r++) {
        PIN("w", a);
        EIGHT(STEP)
    }
    EIGHT(KEEP_N)
#undef ZERO
#undef STEP
    return (uint64_t)rounds * 8 * 16 * 2;
}

__attribute__((target("arch=armv8.2-a+i8mm"))) static uint64_t peak_i8mm_q8(uint32_t rounds)
{
#define ZERO(i) int32x4_t c##i = vdupq_n_s32(0);
#define STEP(i) c##i = vusmmlaq_s32(c##i, a, b);
    uint8x16_t a = vdupq_n_u8(3);
    int8x16_t b = vdupq_n_s8(3);
    EIGHT(ZERO) EIGHT(KEEP_N)
    for (uint32_t r = 0; r < rounds; r++) {
        PIN("w", a);
        EIGHT(STEP)
    }
    EIGHT(KEEP_N)
#undef ZERO
#undef STEP
    return (uint64_t)rounds * 8 * 32 * 2;
}
#endif

#endif /* BENCH_NEON */

/* The first that fits; the portable loops, which the compiler may vectorize as it likes, fit last. */
static const peak peaks[] = {
#ifdef BENCH_X86
    { MIM_CPU_AVX2, MIM_Q8, 127, 255, "vpmaddwd, vpaddd", peak_avx2_madd },
    { MIM_CPU_AVX2, MIM_Q8, 63, 127, "two vpmaddubsw, vpaddw, vpmaddwd, vpaddd", peak_avx2_maddubs2 },
    { MIM_CPU_AVX2, MIM_Q8, 0, 0, "vpmaddubsw, vpmaddwd, vpaddd", peak_avx2_maddubs },
    { MIM_CPU_AVX2, MIM_Q4, 0, 0, "eight of vpmaddubsw, vpaddw; vpmaddwd, vpaddd", peak_avx2_maddubs8 },
    { MIM_CPU_AVX2, 0, 0, 0, "vfmadd231ps ymm", peak_avx2_f32 },
    { MIM_CPU_AVXVNNI, MIM_Q8, 0, 0, "vpdpbusd ymm", peak_avxvnni_dpbusd },
    { MIM_CPU_AVXVNNI, MIM_Q4, 0, 0, "vpdpbusd ymm", peak_avxvnni_dpbusd },
    { MIM_CPU_AVXVNNI, 0, 0, 0, "vfmadd231ps ymm", peak_avx2_f32 },
    { MIM_CPU_AVX512BW, MIM_Q8, 127, 255, "vpmaddwd, vpaddd zmm", peak_avx512_madd },
    { MIM_CPU_AVX512BW, MIM_Q8, 63, 127, "two vpmaddubsw, vpaddw, vpmaddwd, vpaddd zmm", peak_avx512_maddubs2 },
    { MIM_CPU_AVX512BW, MIM_Q8, 0, 0, "vpmaddubsw, vpmaddwd, vpaddd zmm", peak_avx512_maddubs },
    { MIM_CPU_AVX512BW, MIM_Q4, 0, 0, "eight of vpmaddubsw, vpaddw; vpmaddwd, vpaddd zmm", peak_avx512_maddubs8 },
    { MIM_CPU_AVX512BW, 0, 0, 0, "vfmadd231ps zmm", peak_avx512_f32 },
    { MIM_CPU_AVX512, MIM_Q8, 0, 0, "vpdpbusd zmm", peak_avx512_dpbusd },
    { MIM_CPU_AVX512, MIM_Q4, 0, 0, "vpdpbusd zmm", peak_avx512_dpbusd },
    { MIM_CPU_AVX512, 0, 0, 0, "vfmadd231ps zmm", peak_avx512_f32 },
#ifdef BENCH_AMX
    { MIM_CPU_AMX, MIM_Q8, 0, 0, "tdpbusd", peak_amx },
    { MIM_CPU_AMX, MIM_Q4, 0, 0, "tdpbusd", peak_amx },
    { MIM_CPU_AMX, 0, 0, 0, "vfmadd231ps zmm", peak_avx512_f32 },
#endif
#endif
#ifdef BENCH_NEON
#ifdef BENCH_DOTS
    { MIM_CPU_I8MM, MIM_Q8, 0, 0, "usmmla", peak_i8mm_q8 },
    { MIM_CPU_I8MM, MIM_Q4, 0, 0, "usmmla", peak_i8mm_q8 },
    { MIM_CPU_I8MM, 0, 0, 0, "fmla", peak_neon_f32 },
    { MIM_CPU_DOTPROD, MIM_Q8, 0, 0, "udot", peak_dotprod_q8 },
    { MIM_CPU_DOTPROD, MIM_Q4, 0, 0, "udot", peak_dotprod_q8 },
    { MIM_CPU_DOTPROD, 0, 0, 0, "fmla", peak_neon_f32 },
#endif
    { MIM_CPU_NEON, MIM_Q8, 0, 0, "umull, uadalp", peak_neon_q8 },
    { MIM_CPU_NEON, MIM_Q4, 0, 0, "umull, uadalp", peak_neon_q8 },
    { MIM_CPU_NEON, 0, 0, 0, "fmla", peak_neon_f32 },
#endif
    { 0, MIM_Q8, 0, 0, "a portable C loop", peak_portable_q8 },
    { 0, MIM_Q4, 0, 0, "a portable C loop", peak_portable_q8 },
    { 0, 0, 0, 0, "a portable C loop", peak_portable_f32 },
};

/* By the instruction set in use and the blob's last matrix of its type: the first are of pixels. */
static const peak *find_peak(const mim_model *model, const char *cpu)
{
    const mim_blob_tensor *t = model->tensors + model->header->tensor_count - 1;
    const peak *p = peaks;
    while (t > model->tensors && (t->type != model->header->type || t->layout == MIM_PLAIN))
        t--;
    for (;; p++) {
        const char *level = p->cpu ? mim_cpu_name(p->cpu) : cpu;
        if (!level || strcmp(level, cpu) != 0) continue;
        if (p->type && p->type != t->type) continue;
        if (p->weight_max && (p->weight_max != (t->fours ? 63 : t->weight_max) || p->input_max != (t->fours ? 127 : t->input_max)))
            continue;                 /* fours are multiplied as bytes of 7 bits are */
        return p;                     /* the last entry fits everything */
    }
}

/* Every thread runs its own copy. */
typedef struct peak_work {
    const peak *peak;
    uint32_t rounds;
    uint64_t operations[MIM_MAX_THREADS];
} peak_work;

static void peak_task(void *arg, uint32_t index)
{
    peak_work *w = arg;
    w->operations[index] = w->peak->run(w->rounds);
}

/* Operations per second of all threads together, over about `duration` seconds. */
static double measure_peak(peak_work *w, pool *threads, uint32_t count, double duration)
{
    for (;;) {
        double start = time_now();
        if (threads) pool_run(threads, peak_task, w, count);
        else peak_task(w, 0);
        double elapsed = time_now() - start;
        if (elapsed >= duration / 2 || w->rounds > UINT32_MAX / 2) {
            double operations = 0;
            for (uint32_t i = 0; i < count; i++) operations += (double)w->operations[i];
            return operations / elapsed;
        }
        w->rounds *= 2;               /* settles within the first calls */
    }
}

/* ---- the encoder ---- */

enum { RUNS_MAX = 65536 };

typedef struct result {
    double stage[MIM_STAGE_COUNT];    /* of a profile: shares of an encode */
    double seconds[RUNS_MAX];         /* of each encode */
    double peak[RUNS_MAX];            /* operations a second, measured after it */
    size_t runs;
    double open;                      /* of one mim_open */
} result;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, by_value);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* One mim_open of a blob that has been read before. */
static double time_open(const in_file *blob)
{
    double seconds[9];
    mim_model model;
    for (int i = 0; i < 9; i++) {
        double start = seconds_now();
        (void)mim_open(&model, blob->data, blob->bytes);
        seconds[i] = seconds_now() - start;
    }
    return median(seconds, 9);
}

/* Planes between -2 and 2, the same on every machine. */
static void draw_planes(float *planes, size_t count)
{
    uint32_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        planes[i] = (float)(state >> 8) * (4.0f / 16777216.0f) - 2.0f;
    }
}

/* What is asked of the library each time: planes, or tokens where their caller makes them. */
typedef struct task {
    mim_session *session;
    float *input, *coordinates, *tokens;
} task;

static mim_status encode_once(const task *t)
{
    mim_session *session = t->session;
    mim_image image;
    mim_output output;
    memset(&image, 0, sizeof image);
    memset(&output, 0, sizeof output);
    image.format = MIM_PLANES;
    image.height = session->height;
    image.width = session->width;
    image.exact = 1;
    image.pixels = t->input;
    image.coordinates = t->coordinates;
    output.tokens = t->tokens;
    if (model_takes_tokens(session->model))
        return mim_encode_tokens(session, t->input, NULL, session->tokens - session->prefix, &output);
    return mim_encode(session, &image, &output);
}

/* Encode and peak in turn until the time is over, at least three times. */
static mim_status measure(result *r, const task *t, peak_work *work, pool *threads, uint32_t thread_count, double seconds)
{
    double begin = seconds_now(), now;
    mim_status status = MIM_OK;
    do status = encode_once(t);                                                /* warm-up */
    while (status == MIM_OK && seconds_now() - begin < seconds / 10);
    begin = seconds_now();
    do {
        double start = time_now();
        status = encode_once(t);
        r->seconds[r->runs] = time_now() - start;
        double slice = r->seconds[r->runs] / 8;
        r->peak[r->runs] = measure_peak(work, threads, thread_count, slice < 2e-4 ? 2e-4 : slice > 5e-3 ? 5e-3 : slice);
        r->runs++;
        now = seconds_now();
    } while (status == MIM_OK && r->runs < RUNS_MAX && (r->runs < 3 || now - begin < seconds));
    return status;
}

/* ---- the profile ---- */

static const char *const stage_names[MIM_STAGE_COUNT] = {
    [MIM_STAGE_REST] = "rest", [MIM_STAGE_EMBED] = "embed", [MIM_STAGE_PACK] = "norms", [MIM_STAGE_QKV] = "qkv",
    [MIM_STAGE_SCORES] = "scores", [MIM_STAGE_SOFTMAX] = "softmax", [MIM_STAGE_VALUES] = "values",
    [MIM_STAGE_PROJECTION] = "projection", [MIM_STAGE_MLP] = "mlp",
};

static struct {
    double since, seconds[MIM_STAGE_COUNT];
    int stage;                        /* the one that runs since then */
} profiler;

static void enter_stage(int stage)
{
    double now = time_now();
    profiler.seconds[profiler.stage] += now - profiler.since;
    profiler.since = now;
    profiler.stage = stage;
}

/* Encodes until the time is over, at least three times, and keeps the shares of the fastest: what interrupts an encode would
 * count for one stage. */
static mim_status measure_stages(result *r, const task *t, double seconds)
{
    double begin = seconds_now(), least = 0;
    mim_status status = MIM_OK;
    stage_hook = enter_stage;
    for (int runs = 0; status == MIM_OK && (runs < 3 || seconds_now() - begin < seconds); runs++) {
        double all = 0;
        memset(&profiler, 0, sizeof profiler);
        profiler.since = time_now();
        profiler.stage = MIM_STAGE_REST;
        status = encode_once(t);
        enter_stage(MIM_STAGE_REST);
        for (int i = 0; i < MIM_STAGE_COUNT; i++) all += profiler.seconds[i];
        if (runs > 0 && all >= least) continue;
        least = all;
        for (int i = 0; i < MIM_STAGE_COUNT; i++) r->stage[i] = profiler.seconds[i] / all;
    }
    stage_hook = NULL;
    return status;
}

static void report_stages(const result *r, double half, int json)
{
    for (int i = 1; i <= MIM_STAGE_COUNT; i++) {         /* the rest comes last */
        int stage = i % MIM_STAGE_COUNT;
        if (json) printf("%s\n    \"%s\": %.6f", i > 1 ? "," : ",\n  \"profile\": {", stage_names[stage], r->stage[stage]);
        else printf("%-10s%-12s%6.2f %%  %10.3f ms\n", i > 1 ? "" : "profile", stage_names[stage], 100 * r->stage[stage], 1e3 * half * r->stage[stage]);
    }
    if (json) printf("\n  }");
}

static void report(const mim_model *model, const mim_session *session, const result *r, double half, double top,
                   const char *loop, uint32_t threads, int profile, int json)
{
    /* both lists are sorted by now */
    mim_grid grid = { session->grid_frames, session->grid_height, session->grid_width, session->tokens, model->header->dim };
    uint64_t macs = model_macs(model, grid);
    double gops = 2e-9 * (double)macs / half, peak_gops = 1e-9 * top, least = r->seconds[0];
    const char *type = type_name(model->header->type);
    if (json) {
        printf("{\n  \"type\": \"%s\",\n  \"cpu\": \"%s\",\n  \"threads\": %" PRIu32 ",\n  \"height\": %" PRIu32 ",\n  \"width\": %" PRIu32
               ",\n  \"frames\": %" PRIu32 ",\n  \"tokens\": %" PRIu32 ",\n  \"runs\": %zu,\n  \"clock\": \"%s\",\n  \"ms_median\": %.6f,\n  \"ms_min\": %.6f,\n  \"macs\": %" PRIu64
               ",\n  \"open_ms\": %.6f,\n  \"gops\": %.4f,\n  \"arena_bytes\": %zu,\n  \"peak_gops\": %.4f,\n  \"peak_gops_max\": %.4f,\n  \"peak_loop\": \"%s\",\n  \"of_peak\": %.4f",
               type, session->cpu, threads, session->height, session->width, session->frames, session->tokens, r->runs, threads == 1 ? "processor" : "wall", half * 1e3, least * 1e3, macs,
               r->open * 1e3, gops, session->arena_bytes, peak_gops, 1e-9 * r->peak[r->runs - 1], loop, gops / peak_gops);
        if (profile) report_stages(r, half, json);
        printf("\n}\n");
        return;
    }
    printf("%-10s%" PRIu32 "x%" PRIu32, "input", session->height, session->width);
    if (session->frames > 1) printf(", %" PRIu32 " frames", session->frames);
    printf(", %" PRIu32 " tokens, %s\n", session->tokens, type);
    printf("%-10s%s, %" PRIu32 " thread%s\n", "cpu", session->cpu, threads, threads == 1 ? "" : "s");
    printf("%-10s%.3f ms median, %.3f ms least, of %zu runs%s\n", "time", half * 1e3, least * 1e3, r->runs, threads == 1 ? "; of the processor" : "");
    printf("%-10s%.4f ms\n", "open", r->open * 1e3);
    printf("%-10s%.4f G multiply-accumulates: %.2f Gop/s\n", "work", 1e-9 * (double)macs, gops);
    printf("%-10s%.2f Gop/s (%s): %.1f %% of it reached\n", "peak", peak_gops, loop, 100 * gops / peak_gops);
    printf("%-10s%zu bytes\n", "arena", session->arena_bytes);
    if (profile) report_stages(r, half, json);
}

int cmd_bench(int argc, char **argv)
{
    const char *size = NULL, *cpu = NULL, *threads_text = NULL, *seconds_text = NULL;
    int json = 0, profile = 0, positional = 0;
    const option options[] = {
        { "--size", &size, NULL }, { "--cpu", &cpu, NULL }, { "--threads", &threads_text, NULL },
        { "--seconds", &seconds_text, NULL }, { "--json", NULL, &json }, { "--profile", NULL, &profile },
    };
    int parsed = parse_options(argc, argv, options, sizeof options / sizeof *options, usage, &positional);
    if (parsed != PARSED) return parsed == PARSE_FAILED;
    if (positional != 1) return fail("bench needs one model; see `mim bench --help`");

    mim_session_desc desc;
    uint32_t threads = 1;
    double seconds = 2;
    mim_model model;
    in_file blob;
    engine e;
    reason why;
    memset(&desc, 0, sizeof desc);
    memset(&e, 0, sizeof e);
    if (parse_number("--threads", threads_text, 1, MIM_MAX_THREADS, &threads) || parse_cpu(cpu, &desc.cpu)
        || parse_real("--seconds", seconds_text, 0.1, 3600, &seconds)) return 1;
    if (profile && threads > 1) return fail("--profile: times the stages of one thread; leave --threads out");
    if (model_open(&model, &blob, argv[1])) return 1;

    if (threads == 1) time_now = processor_seconds_now;
    pool *workers = NULL;
    task t = { &e.session, NULL, NULL, NULL };
    result *r = NULL;
    int failed = parse_size(&model, size, &desc.height, &desc.width);
    if (!failed && threads > 1) {
        workers = pool_create(threads);
        if (!workers) failed = fail("cannot start %" PRIu32 " threads", threads);
        desc.threads = threads;
        desc.parallel = pool_run;
        desc.user = workers;
    }
    if (!failed && engine_start(&e, &model, &desc, &why)) failed = fail("%s: %s", argv[1], why.text);
    if (!failed) {
        const mim_blob_header *h = model.header;
        mim_grid last;
        size_t outputs = mim_shape(&e.session, 0, &last) == MIM_OK ? (size_t)last.tokens * last.dim : 0;
        size_t known = (size_t)e.session.grid_frames * h->coordinates;
        uint64_t numbers = model_takes_tokens(&model) ? outputs : (uint64_t)h->channels * desc.height * desc.width * e.session.frames;
        t.input = numbers <= SIZE_MAX / sizeof *t.input ? malloc((size_t)numbers * sizeof *t.input) : NULL;
        t.coordinates = malloc((known + 1) * sizeof *t.coordinates);
        t.tokens = malloc(outputs * sizeof *t.tokens);
        r = calloc(1, sizeof *r);
        if (!t.input || !t.coordinates || !t.tokens || !r) {
            failed = fail("not enough memory for the picture and its tokens");
        } else {
            peak_work work = { find_peak(&model, e.session.cpu), 1024, { 0 } };
            r->open = time_open(&blob);
            draw_planes(t.input, (size_t)numbers);
            draw_planes(t.coordinates, known);
            mim_status status = measure(r, &t, &work, workers, threads, seconds);
            if (status == MIM_OK && profile) status = measure_stages(r, &t, seconds);
            if (status != MIM_OK) {
                failed = fail("%s: %s", argv[1], mim_status_string(status));
            } else {
                double half = median(r->seconds, r->runs), top = median(r->peak, r->runs);
                report(&model, &e.session, r, half, top, work.peak->name, threads, profile, json);
            }
        }
    }
    engine_stop(&e);
    pool_destroy(workers);
    free(t.input);
    free(t.coordinates);
    free(t.tokens);
    free(r);
    in_close(&blob);
    return failed;
}
