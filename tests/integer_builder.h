/* integer_builder.h - blobs with integer numerics, of random numbers: `make` leaves one in `blob`, of `bytes`. Needs check.h and the
 * implementation of mim.h. */
#ifndef INTEGER_BUILDER_H
#define INTEGER_BUILDER_H

typedef struct shape {
    uint32_t image, patch, channels, dim, heads, head_dim, hidden, depth, cls, registers, pool, pool_norm, norm, classes;
    uint32_t decoder_dim, decoder_heads, weight_max, wild;      /* wild: contents without sense */
    uint32_t group;                 /* most matrices are q4 of this group; 0: all are q8 */
} shape;

static uint8_t *blob;
static size_t room, bytes;

static mim_blob_header *header(void) { return (mim_blob_header *)(void *)blob; }
static mim_blob_step *step(uint32_t i) { return (mim_blob_step *)(void *)(blob + sizeof(mim_blob_header)) + i; }

typedef struct draft {
    const shape *s;
    mim_blob_step step[64];
    mim_blob_tensor tensor[512];
    uint8_t role[512];
    uint32_t steps, tensors;
} draft;

enum { MATRIX, GAINS, NUMBERS, HEADS, CURVE, FACTORS };

static mim_blob_step *add_step(draft *d, uint32_t kind)
{
    mim_blob_step *s = &d->step[d->steps++];
    memset(s, 0, sizeof *s);
    s->kind = (uint16_t)kind;
    return s;
}

static void add(draft *d, mim_blob_step *s, uint32_t slot, uint32_t role, uint32_t rows, uint32_t columns)
{
    mim_blob_tensor *t = &d->tensor[d->tensors];
    memset(t, 0, sizeof *t);
    t->rows = rows;
    t->columns = columns;
    t->type = role == MATRIX ? d->s->group && s->kind != MIM_STEP_EMBED && between(0, 3) ? MIM_Q4 : MIM_Q8 : role == GAINS || role == HEADS || role == FACTORS ? MIM_I32 : MIM_I16;
    t->layout = role == MATRIX ? MIM_PANEL16 : MIM_PLAIN;
    t->weight_max = (uint8_t)(t->type == MIM_Q8 ? d->s->weight_max : 0);
    t->group = (uint8_t)(t->type == MIM_Q4 ? d->s->group : 0);
    t->input_max = role == MATRIX ? 255 : 0;
    t->shift = (uint8_t)(role == GAINS ? (s->kind == MIM_STEP_NORM || s->kind == MIM_STEP_POOL ? 15 : between(8, 18)) : 0);
    d->role[d->tensors++] = (uint8_t)role;
    s->tensor[slot] = (uint16_t)d->tensors;
}

static void set_variance(mim_blob_step *s, uint32_t n)
{
    uint32_t a, q;
    mimp_norm_bits(n, &a, &q);
    s->variance = ((uint64_t)1 << (4 + 2 * q > 2 * a ? 4 + 2 * q - 2 * a : 0)) + between(0, 10000);
}

static void add_blocks(draft *d, uint32_t dim, uint32_t heads, uint32_t depth, uint32_t tap)
{
    const shape *f = d->s;
    const uint32_t padded = mimp_up(f->head_dim, 16);
    mim_blob_step *s;
    uint32_t i;
    for (i = 0; i < depth; i++) {
        s = add_step(d, MIM_STEP_ATTENTION);
        s->heads = heads;
        s->head_dim = f->head_dim;
        s->key_max = s->value_max = (uint8_t)f->weight_max;
        set_variance(s, dim);
        add(d, s, 0, GAINS, 2, dim);
        add(d, s, 1, MATRIX, heads * padded * 3, dim);
        add(d, s, 2, MATRIX, dim, heads * f->head_dim);
        add(d, s, 6, HEADS, 2, heads);
        s = add_step(d, MIM_STEP_MLP);
        s->flags = (uint16_t)tap;
        set_variance(s, dim);
        add(d, s, 0, GAINS, 2, dim);
        add(d, s, 1, MATRIX, f->hidden, dim);
        add(d, s, 2, MATRIX, dim, f->hidden);
        add(d, s, 4, CURVE, 1, 1024);
        add(d, s, 5, FACTORS, 1, mimp_up(f->hidden, 16));
    }
}

static void add_norm(draft *d, uint32_t dim)
{
    mim_blob_step *s = add_step(d, MIM_STEP_NORM);
    s->scale = 0.001f;
    set_variance(s, dim);
    add(d, s, 0, GAINS, 2, dim);
}

static void fill(const draft *d, uint32_t i, uint8_t *data)
{
    const mim_blob_tensor *t = &d->tensor[i];
    const uint32_t n16 = mimp_up(t->rows, 16), k32 = mimp_up(t->columns, 32), wild = d->s->wild;
    const uint64_t size = mim_tensor_bytes(t);
    int32_t *words = (int32_t *)(void *)data;
    uint16_t *shorts = (uint16_t *)(void *)data;
    uint64_t j;
    if (d->role[i] == MATRIX) {
        const size_t panel_bytes = t->type == MIM_Q4 ? mimp_q4_panel_bytes(k32, t->group) : 16 * (size_t)k32;
        int32_t *rate = (int32_t *)(void *)(data + n16 / 16 * panel_bytes), *sum = rate + n16, *bias = sum + n16;
        uint32_t n, k;
        for (n = 0; n < n16 && t->type == MIM_Q4; n++)
            for (k = 0; k < k32; k++) {
                uint8_t *panel = data + n / 16 * panel_bytes, *w = panel + k / 8 * 64 + n % 16 * 4 + k % 4;
                uint8_t *m = panel + 8 * (size_t)k32 + k / t->group * 8 + n % 8;
                const uint32_t half = n < t->rows && k < t->columns ? between(0, 15) : 8, shift = n % 16 < 8 ? 0 : 4;
                if (k % t->group == 0)
                    *m = (uint8_t)(*m | between(wild ? 0 : 1, 15) << shift);
                *w = (uint8_t)(*w | half << (k / 4 % 2 * 4));
                sum[n] += ((int32_t)half - 8) * (*m >> shift & 15);
            }
        for (n = 0; n < t->rows; n++) {
            for (k = 0; k < t->columns && t->type == MIM_Q8; k++) {
                const int32_t w = (int32_t)between(0, 2 * t->weight_max) - t->weight_max;
                data[((size_t)(n / 16) * k32 + k / 4 * 4) * 16 + n % 16 * 4 + k % 4] = (uint8_t)w;
                sum[n] += w;
            }
            rate[n] = wild ? (int32_t)any32() : (int32_t)(4294967296.0 / (60.0 * sqrt((double)t->columns) * between(10, 60)));
            bias[n] = wild ? (int32_t)any32() : -128 * sum[n] + (int32_t)between(0, 4000) - 2000;
        }
        return;
    }
    for (j = 0; j < size / 4 && t->type == MIM_I32; j++)
        words[j] = wild ? (int32_t)any32() : d->role[i] == FACTORS ? (int32_t)between(0, 32767) : d->role[i] == HEADS ? (int32_t)(j < t->columns ? between(0, 7) ? between(1u << 16, 1u << 22) : between(0, 2) : between(1u << 28, 0xf0000000u))
            : j < t->columns ? (int32_t)between(1, 30000) : (int32_t)(128u << t->shift) + (int32_t)between(0, 1u << t->shift);
    for (j = 0; j < size / 2 && t->type == MIM_I16; j++)
        shorts[j] = (uint16_t)(wild || d->role[i] != NUMBERS ? any32() : between(0, 4000) - 2000u);
}

static void make(const shape *f)
{
    static draft d;
    const uint32_t side = f->image / f->patch, prefix = f->cls + f->registers, pixels = f->channels * f->patch * f->patch;
    const uint32_t pooled = f->pool == MIM_POOL_CLS_MEAN ? 2 * f->dim : f->dim;
    mim_blob_step *s;
    mim_blob_header *h;
    uint64_t at;
    uint32_t i;
    memset(&d, 0, sizeof d);
    d.s = f;
    s = add_step(&d, MIM_STEP_EMBED);
    s->rule = MIM_POSITIONS_FIXED;
    s->stored_frames = 1;
    s->stored_height = s->stored_width = side;
    s->kernel_height = s->kernel_width = (uint16_t)f->patch;
    s->scale = 0.01f;
    add(&d, s, 0, MATRIX, 2 * mimp_up(f->dim, 16), pixels);
    if (prefix)
        add(&d, s, 1, NUMBERS, prefix, f->dim);
    add(&d, s, 2, NUMBERS, side * side, f->dim);
    add_blocks(&d, f->dim, f->heads, f->depth, MIM_STEP_TAP);
    if (f->norm)
        add_norm(&d, f->dim);
    s = add_step(&d, MIM_STEP_POOL);
    s->rule = f->pool;
    s->scale = 0.002f;
    if (f->pool_norm) {
        set_variance(s, pooled);
        add(&d, s, 0, GAINS, 2, pooled);
    }
    if (f->classes) {
        s = add_step(&d, MIM_STEP_HEAD);
        s->scale = 0.003f;
        add(&d, s, 0, MATRIX, f->classes, pooled);
        add(&d, s, 1, GAINS, 2, pooled);
    }
    i = d.steps;
    if (f->decoder_dim) {
        s = add_step(&d, MIM_STEP_UNMASK);
        s->rule = MIM_POSITIONS_FIXED;
        s->stored_frames = 1;
        s->stored_height = s->stored_width = side;
        s->scale = 0.01f;
        add(&d, s, 0, MATRIX, f->decoder_dim, f->dim);
        add(&d, s, 1, NUMBERS, 1, f->decoder_dim);
        if (prefix)
            add(&d, s, 2, NUMBERS, prefix, f->decoder_dim);
        add(&d, s, 3, NUMBERS, side * side, f->decoder_dim);
        add(&d, s, 4, GAINS, 2, f->dim);
        add_blocks(&d, f->decoder_dim, f->decoder_heads, 1, 0);
        add_norm(&d, f->decoder_dim);
        s = add_step(&d, MIM_STEP_PREDICT);
        s->scale = 0.004f;
        add(&d, s, 0, MATRIX, pixels, f->decoder_dim);
        add(&d, s, 1, GAINS, 2, f->decoder_dim);
    }
    at = sizeof *h + d.steps * sizeof *d.step + d.tensors * sizeof *d.tensor;
    for (i = 0; i < d.tensors; i++) {
        d.tensor[i].at = (at + 63) / 64 * 64;
        at = d.tensor[i].at + mim_tensor_bytes(&d.tensor[i]);
    }
    bytes = (size_t)at;
    if (bytes > room) {
        free(blob);
        room = (bytes + 63) / 64 * 64;
        if (posix_memalign((void **)&blob, 64, room))
            exit(2);
    }
    memset(blob, 0, bytes);
    h = header();
    memcpy(h->magic, MIM_BLOB_MAGIC, 8);
    h->version = MIM_BLOB_VERSION;
    h->header_bytes = sizeof *h;
    h->bytes = bytes;
    h->step_count = h->decoder_step = d.steps;
    for (i = 1; i < d.steps; i++)
        if (d.step[i].kind == MIM_STEP_UNMASK)
            h->decoder_step = i;
    h->tensor_count = d.tensors;
    h->type = f->group ? MIM_Q4 : MIM_Q8;
    h->numerics = MIM_NUMERICS_INTEGER;
    h->channels = f->channels;
    h->image_height = h->image_width = h->resize_edge = f->image;
    h->patch_height = h->patch_width = f->patch;
    h->frames = h->patch_frames = h->groups = h->unit_height = h->unit_width = 1;
    h->dim = f->dim;
    h->depth = f->depth;
    h->has_cls = f->cls;
    h->registers = f->registers;
    h->pooled_dim = pooled;
    h->classes = f->classes;
    h->decoder_dim = f->decoder_dim;
    h->resize = MIM_RESIZE_SHORT_EDGE;
    h->resize_filter = MIM_BICUBIC;
    for (i = 0; i < f->channels; i++) {
        h->mean[i] = 0.45f;
        h->std[i] = 0.25f;
    }
    memcpy(blob + sizeof *h, d.step, d.steps * sizeof *d.step);
    memcpy(blob + sizeof *h + d.steps * sizeof *d.step, d.tensor, d.tensors * sizeof *d.tensor);
    for (i = 0; i < d.tensors; i++)
        fill(&d, i, blob + d.tensor[i].at);
    h->checksum = mim_checksum(blob, bytes);
}

/* The blob's matrices from MIM_PANEL16 to MIM_PAIRS16, or back. */
static void to_pairs(void)
{
    mim_blob_tensor *tensors = (mim_blob_tensor *)(void *)(step(0) + header()->step_count);
    uint32_t i, n, k;
    for (i = 0; i < header()->tensor_count; i++) {
        mim_blob_tensor *t = &tensors[i];
        const uint32_t n16 = mimp_up(t->rows, 16), k32 = mimp_up(t->columns, 32), pairs = t->layout == MIM_PAIRS16;
        uint8_t *panels = blob + t->at, *old;
        if (t->layout == MIM_PLAIN)
            continue;
        old = (uint8_t *)malloc((size_t)n16 * k32);
        memcpy(old, panels, (size_t)n16 * k32);
        for (n = 0; n < n16; n++)
            for (k = 0; k < k32; k++) {
                const size_t panel = ((size_t)(n / 16) * k32 + k / 4 * 4) * 16 + n % 16 * 4 + k % 4, pair = (size_t)(n / 2) * 2 * k32 + k / 16 * 32 + n % 2 * 16 + k % 16;
                panels[pairs ? panel : pair] = (uint8_t)(old[pairs ? pair : panel] + 128);
            }
        free(old);
        t->layout = pairs ? MIM_PANEL16 : MIM_PAIRS16;
    }
    header()->checksum = mim_checksum(blob, bytes);
}

#endif
