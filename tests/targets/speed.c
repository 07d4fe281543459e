/* speed.c - on a bare board under QEMU: the leaves of the best level against products written out, by equality, and then what the
 * counting plugin counts: integer products with all that belongs to them, softmax, activation and norm. */
#define MIM_IMPLEMENTATION
#define MIM_STATIC
#define MIM_NO_FLOAT
#define MIM_NO_STDIO
#define MIM_MEMCPY __builtin_memcpy
#define MIM_MEMSET __builtin_memset
#define MIM_MEMCMP __builtin_memcmp
#include "../../examples/firmware/board.h"
#include "../../mim.h"

#define REGION(name) __attribute__((noinline, used)) void region_##name(void) { __asm__ volatile(""); }
void region_int8_197(void), region_int8_65(void), region_int4_197(void), region_int4_65(void), region_softmax(void), region_bytes(void), region_gelu(void), region_norm(void), region_end(void);
REGION(int8_197) REGION(int8_65) REGION(int4_197) REGION(int4_65) REGION(softmax) REGION(bytes) REGION(gelu) REGION(norm) REGION(end)

enum { ROWS = 197, MOST_K = 192, MOST_N = 768, TOKENS16 = 208 };

static uint32_t state = 1;
static uint32_t any(void) { return (state = state * 1664525u + 1013904223u) >> 8; }

static uint8_t room[600 * 1024] __attribute__((aligned(64)));
static uint8_t panels[MOST_N * MOST_K * 2] __attribute__((aligned(64)));
static int16_t x[ROWS * MOST_K];
static int32_t acc[MIMP_MAX_ROWS * TOKENS16], offset[MOST_N], rate[MOST_N], factor[MOST_N], gain[2 * MOST_N];
static uint16_t curve[1024];

static void say(const char *what, const char *name)
{
    board_print(what);
    board_print(name);
    board_print("\n");
}

/* ---- by equality ---- */

static int leaf(const mimp_kernels *kernels)
{
    static const uint32_t ks[] = { 16, 32, 48, 64, 80, 96, 112, 128, 192, 208, 768 };
    static uint8_t rows[MIMP_MAX_ROWS * 768] __attribute__((aligned(64)));
    static int8_t panel[16 * 768] __attribute__((aligned(64)));
    uint32_t i, kind, r, j, c;
    for (i = 0; i < sizeof ks / sizeof *ks; i++)
        for (kind = 0; kind < 4; kind++) {
            const uint32_t k = ks[i], narrow = kind == 3;
            mimp_arena arena = { rows, 0, 0 };
            const mimp_bytes b = mimp_bytes_memory(&arena, kernels, k, kernels->rows_q8);
            for (r = 0; r < b.rows; r++)
                for (c = 0; c < k; c++)
                    *mimp_byte_at(&b, r, c) = (uint8_t)(kind == 0 || kind == 1 ? 255 : any());
            for (j = 0; j < 16; j++)
                for (c = 0; c < k; c++)
                    *mimp_weight_at(kernels, (uint8_t *)panel, k, j, c) =
                        mimp_weight_byte(kernels, kind == 0 ? -128 : kind == 1 ? 127 : narrow ? (int32_t)(any() & 127) - 64 : (int32_t)(any() & 255) - 128);
            for (r = 0; r < b.rows * 16; r++)
                acc[r] = (int32_t)any();
            (narrow ? kernels->tile_q8 : kernels->tile_q8_wide)(acc, b.data, panel, k);
            for (r = 0; r < b.rows; r++)
                for (j = 0; j < 16; j++) {
                    int32_t sum = 0;
                    for (c = 0; c < k; c++)
                        sum += *mimp_byte_at(&b, r, c) * (int8_t)mimp_weight_byte(kernels, (int8_t)*mimp_weight_at(kernels, (uint8_t *)panel, k, j, c));
                    if (sum != acc[16 * r + j])
                        return 1;
                }
        }
    return 0;
}

/* ---- to be counted ---- */

/* int16 rows of k become bytes, n channels of them bytes of what follows. */
static void product(const mimp_kernels *kernels, uint32_t rows, uint32_t k, uint32_t n, uint32_t group)
{
    mimp_arena arena = { room, 0, 0 };
    const mimp_bytes in = mimp_bytes_memory(&arena, kernels, k, rows), out = mimp_bytes_memory(&arena, kernels, n, rows);
    uint8_t *const unpacked = (uint8_t *)mimp_take_tiles(&arena, kernels, group ? 16 * k : 0);
    const mimp_channels c = { gain, gain + k, 12 };
    mimp_matrix m;
    uint32_t p, r;
    MIM_MEMSET(&m, 0, sizeof m);
    m.panels = panels;
    m.n = n;
    m.k = k;
    m.type = group ? MIM_Q4 : MIM_Q8;
    m.group = group;
    m.weight_max = 63;
    m.panel_bytes = group ? mimp_q4_panel_bytes(k, group) : 16 * k;
    m.offset = offset;
    m.rate = rate;
    mimp_bytes_end(&in, rows);
    for (r = 0; r < rows; r++)
        mimp_bytes_put(&in, r, x + r * k, k, &c, 0);
    for (p = 0; p < n / 16; p++) {
        const mimp_weights w = mimp_weights_panel(kernels, &m, p, unpacked);
        for (r = 0; r < rows; r += in.rows) {
            mimp_multiply(kernels, acc, mimp_bytes_tile(&in, r), &w, 1);
            mimp_rescale_bytes(&out, r, 16 * p, acc, &w, NULL);
        }
    }
}

int main(void)
{
    const mimp_kernels *kernels = mimp_table[0];
    uint32_t i, sum = 0, r;
    size_t t;
#ifdef MIMP_MVE
    kernels = mimp_table_pairs[0];
#endif
    for (t = 0; t < MIMP_TABLE + MIMP_TABLE_PAIRS; t++) {
        const mimp_kernels *one = t < MIMP_TABLE ? mimp_table[t] : mimp_table_pairs[t - MIMP_TABLE];
        if (leaf(one)) {
            say("FAIL leaves differ from products written out: ", one->name);
            return 1;
        }
        say("leaf ", one->name);
    }
    say("rows ", kernels->rows_q8 == 3 ? "3" : "4");         /* that softmax and activation are counted on: those of a leaf */
    for (i = 0; i < sizeof panels; i++)
        panels[i] = (uint8_t)(((int32_t)any() & 127) - 64);
    for (i = 0; i < ROWS * MOST_K; i++)
        x[i] = (int16_t)any();
    for (i = 0; i < MOST_N; i++) {
        offset[i] = (int32_t)(any() & 0xffff);
        rate[i] = (int32_t)(any() & 0xffffff);
        gain[i] = 16 + (int32_t)(any() & 15);
        gain[MOST_N + i] = 128 << 12;
        factor[i] = 256 + (int32_t)(any() & 511);           /* which leave hidden units below 255, where nearly all are */
    }
    for (i = 0; i < 1024; i++)
        curve[i] = (uint16_t)(64 * i);
    region_int8_197();
    product(kernels, 197, 192, 576, 0);
    region_end();
    region_int8_65();
    product(kernels, 65, 128, 384, 0);
    region_end();
    region_int4_197();
    product(mimp_table[0], 197, 192, 576, 32);
    region_end();
    region_int4_65();
    product(mimp_table[0], 65, 128, 384, 32);
    region_end();
    {
        static mim_session session;
        static mimp_run run;
        static int32_t scores[MIMP_MAX_ROWS * TOKENS16], k_sum[TOKENS16];
        mimp_arena arena = { room, 0, 0 };
        mimp_integer_attention a;
        mimp_integer_rows rows;
        MIM_MEMSET(&a, 0, sizeof a);
        MIM_MEMSET(&rows, 0, sizeof rows);
        session.kernels = kernels;
        run.s = &session;
        run.tokens = ROWS;
        a.run = &run;
        a.keys16 = TOKENS16;
        rows.scores = scores;
        rows.p = mimp_bytes_memory(&arena, kernels, TOKENS16, kernels->rows_q8);
        for (i = 0; i < sizeof scores / sizeof *scores; i++)
            scores[i] = (int32_t)(any() & 0xffff);
        for (i = 0; i < TOKENS16; i++)
            k_sum[i] = (int32_t)(any() & 0xfff);
        region_softmax();
        for (r = 0; r < kernels->rows_q8; r++)
            sum += mimp_integer_softmax(&a, &rows, r, k_sum, 1u << 24);
        region_end();
    }
    {
        mimp_arena arena = { room, 0, 0 };
        static mimp_activation activation = { curve, factor };
        static mimp_bytes tile;
        mimp_activation *volatile act = &activation;         /* not to be seen through by the compiler */
        mimp_bytes *volatile hidden = &tile;
        mimp_weights w = mimp_weights_of(panels, MOST_K, 63);
        tile = mimp_bytes_memory(&arena, kernels, MOST_N, kernels->rows_q8);
        for (i = 0; i < 16 * MIMP_MAX_ROWS; i++)
            acc[i] = (int32_t)(any() & 2047) - 512;
        region_bytes();
        for (i = 0; i < MOST_N; i += 16) {
            w.offset = offset + i, w.rate = rate + i;
            mimp_rescale_bytes(hidden, 0, i, acc, &w, NULL);
        }
        region_end();
        region_gelu();
        for (i = 0; i < MOST_N; i += 16) {
            w.offset = offset + i, w.rate = rate + i;
            mimp_rescale_bytes(hidden, 0, i, acc, &w, act);
        }
        region_end();
    }
    {
        mimp_arena arena = { room, 0, 0 };
        const mimp_bytes in = mimp_bytes_memory(&arena, kernels, MOST_K, kernels->rows_q8);
        const mimp_channels c = { gain, gain + MOST_N, 12 };
        region_norm();
        mimp_bytes_put(&in, 0, x, MOST_K, &c, 1u << 20);
        region_end();
    }
    *(volatile uint32_t *)acc = sum;                 /* it is wanted */
    return 0;
}
