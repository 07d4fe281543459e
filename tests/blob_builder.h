/* blob_builder.h - small models with random weights, laid out as mim.h documents its blobs. Include after check.h and mim.h. */
#ifndef BLOB_BUILDER_H
#define BLOB_BUILDER_H

typedef struct spec {
    uint32_t type;                              /* MIM_F32, MIM_F16, MIM_Q8, MIM_Q4 (then a third of the matrices are q8) */
    uint32_t channels, patch_height, patch_width, grid_height, grid_width;
    uint32_t dim, blocks, heads, head_dim, hidden, cls, registers;
    uint32_t positions, stored_height, stored_width;
    float    position_offset;
    uint32_t pre_norm, norm, pool, fc_norm, classes, gelu;
    uint32_t weight_max, input_max, key_max, value_max;     /* q8 */
    uint32_t decoder_dim, decoder_blocks, decoder_heads, decoder_head_dim, decoder_hidden, decoder_prefix, norm_pix;
    uint32_t resize, filter, edge;
    uint32_t bias, rotary, rotary_grid, gated, inner_norms;     /* of the encoder's blocks */
    uint64_t seed;                              /* of the weights */
} spec;

typedef struct builder {
    mim_blob_step step[64];
    mim_blob_tensor tensor[256];
    uint32_t row_head[256];                     /* true head dimension where rows come in padded heads; else 0 */
    uint32_t steps, tensors;
    const spec *model;
} builder;

static inline uint32_t builder_up(uint32_t x, uint32_t n) { return (x + n - 1) / n * n; }

/* A float of ordinary size as a half, rounded toward zero. */
static inline uint16_t builder_half(float x)
{
    uint32_t bits;
    int32_t exponent;
    memcpy(&bits, &x, 4);
    exponent = (int32_t)(bits >> 23 & 255) - 112;
    if (exponent <= 0)
        return (uint16_t)(bits >> 16 & 0x8000);
    return (uint16_t)((bits >> 16 & 0x8000) | (uint32_t)exponent << 10 | (bits >> 13 & 0x3ff));
}

static inline uint16_t builder_plain(builder *b, uint32_t rows, uint32_t columns)
{
    mim_blob_tensor *t = &b->tensor[b->tensors++];
    t->rows = rows;
    t->columns = columns;
    t->type = MIM_F32;
    t->layout = MIM_PLAIN;
    return (uint16_t)b->tensors;
}

static inline uint16_t builder_matrix(builder *b, uint32_t type, uint32_t rows, uint32_t columns, uint32_t row_head)
{
    mim_blob_tensor *t = &b->tensor[b->tensors];
    if (type == MIM_Q4 && b->tensors % 3 == 2)
        type = MIM_Q8;
    b->row_head[b->tensors] = row_head;
    b->tensors++;
    t->rows = rows;
    t->columns = columns;
    t->type = (uint8_t)type;
    t->layout = MIM_PANEL16;
    t->weight_max = type == MIM_Q8 ? (uint8_t)b->model->weight_max : 0;
    t->fours = t->weight_max == 127 && (b->tensors + b->model->seed) % 2;
    t->input_max = type >= MIM_Q8 ? (uint8_t)b->model->input_max : 0;
    t->group = type == MIM_Q4 ? (uint8_t)(32u << (b->tensors + b->model->seed) % 3) : 0;
    return (uint16_t)b->tensors;
}

static inline mim_blob_step *builder_step(builder *b, uint16_t kind)
{
    mim_blob_step *s = &b->step[b->steps++];
    s->kind = kind;
    if (kind == MIM_STEP_ATTENTION || kind == MIM_STEP_MLP || kind == MIM_STEP_NORM)
        s->eps = 1e-5f;
    return s;
}

static inline void builder_positions(mim_blob_step *s, const spec *p)
{
    s->rule = p->positions;
    s->stored_frames = p->positions ? 1 : 0;
    s->stored_height = p->positions ? p->stored_height : 0;
    s->stored_width = p->positions ? p->stored_width : 0;
    s->position_offset = p->positions == MIM_POSITIONS_CUBIC || p->positions == MIM_POSITIONS_LINEAR ? p->position_offset : 0;
}

static inline void builder_attention_extras(builder *b, mim_blob_step *s)
{
    const spec *p = b->model;
    if (p->bias || p->rotary_grid == MIM_GRID_SCALED) {
        s->stored_height = p->stored_height;
        s->stored_width = p->stored_width;
    }
    if (p->bias) {
        s->rule = p->bias;
        s->tensor[3] = builder_plain(b, s->heads, (2 * p->stored_height - 1) * (2 * p->stored_width - 1) + (p->cls ? 3 : 0));
    }
    if (p->rotary) {
        s->rotary = (uint8_t)p->rotary;
        s->rotary_grid = (uint8_t)p->rotary_grid;
        s->tensor[4] = builder_plain(b, 2, s->head_dim);
    }
    if (p->inner_norms)
        s->tensor[5] = builder_plain(b, 2, s->heads * s->head_dim);
}

static inline void builder_blocks(builder *b, uint32_t blocks, uint32_t dim, uint32_t heads, uint32_t head_dim, uint32_t hidden, int tap)
{
    const uint32_t type = b->model->type, inner = heads * builder_up(head_dim, 16);
    mim_blob_step *s;
    while (blocks--) {
        s = builder_step(b, MIM_STEP_ATTENTION);
        s->tensor[0] = builder_plain(b, 2, dim);
        s->tensor[1] = builder_matrix(b, type, inner * 3, dim, head_dim);
        s->tensor[2] = builder_matrix(b, type, dim, heads * head_dim, 0);
        s->heads = heads;
        s->head_dim = head_dim;
        s->scale = 1.0f / sqrtf((float)head_dim);
        s->key_max = type >= MIM_Q8 ? (uint8_t)b->model->key_max : 0;
        s->value_max = type >= MIM_Q8 ? (uint8_t)b->model->value_max : 0;
        if (tap)
            builder_attention_extras(b, s);
        s = builder_step(b, MIM_STEP_MLP);
        s->tensor[0] = builder_plain(b, 2, dim);
        s->tensor[1] = builder_matrix(b, type, tap && b->model->gated ? 2 * builder_up(hidden, 16) : hidden, dim, 0);
        s->tensor[2] = builder_matrix(b, type, dim, hidden, 0);
        if (tap && b->model->inner_norms)
            s->tensor[3] = builder_plain(b, 2, hidden);
        s->activation = b->model->gelu;
        s->flags = tap ? (uint16_t)(MIM_STEP_TAP | (b->model->gated ? MIM_STEP_GATED : 0)) : 0;
    }
}

enum { BUILDER_TABLE, BUILDER_NORM, BUILDER_ROTARY, BUILDER_METADATA };

static inline void builder_fill_plain(uint8_t *at, const mim_blob_tensor *t, int use)
{
    uint32_t i, n = t->rows * t->columns;
    for (i = 0; i < n; i++) {
        const float x = use == BUILDER_NORM ? (i < t->columns) + uniform(-0.2f, 0.2f)
            : use == BUILDER_ROTARY && i >= t->columns ? (float)between(0, 3)
            : use == BUILDER_METADATA && i / t->columns % 5 == 0 ? (float)between(0, 4) - 2 : uniform(-0.5f, 0.5f);
        memcpy(at + (size_t)i * 4, &x, 4);
    }
}

static inline void builder_fill_matrix(uint8_t *at, const mim_blob_tensor *t, uint32_t row_head)
{
    const uint32_t n = builder_up(t->rows, 16), k = builder_up(t->columns, 32);
    const uint32_t groups = t->type == MIM_Q4 ? (k + t->group - 1) / t->group : 0;
    const size_t panel_bytes = t->type == MIM_F32 ? (size_t)k * 64 : t->type == MIM_F16 ? (size_t)k * 32
        : t->type == MIM_Q8 ? (size_t)k * 16 : (size_t)k * 8 + groups * 8;
    const float spread = 1.7f / sqrtf((float)t->columns);
    uint8_t *scales = at + n / 16 * panel_bytes, *sums = scales + (size_t)n * 4;
    uint8_t *biases = t->type == MIM_F32 ? scales : t->type == MIM_F16 ? sums : sums + (size_t)n * 4;
    uint32_t row, c;
    if (t->type == MIM_Q4)                      /* what is padded is a weight of 0, which is stored as 8 */
        for (row = 0; row < n / 16; row++)
            memset(at + row * panel_bytes, 0x88, (size_t)k * 8);
    for (row = 0; row < t->rows; row++) {
        const int live = !row_head || row % builder_up(row_head, 16) < row_head;
        const float scale = t->type == MIM_F16 ? uniform(0.5f, 2.0f) : spread / 127 * uniform(0.5f, 2.0f);
        const float bias = live ? uniform(-0.1f, 0.1f) : 0;
        int32_t sum = 0;
        for (c = 0; c < t->columns; c++) {
            uint8_t *panel = at + row / 16 * panel_bytes;
            const size_t cell = (size_t)c * 16 + row % 16;
            float x = uniform(-spread, spread);
            uint16_t half = builder_half(x);
            const uint32_t most = t->fours ? 32 : t->weight_max;
            int32_t q = (int32_t)between(0, t->type == MIM_Q4 ? 15 : 2 * most) - (int32_t)(t->type == MIM_Q4 ? 8 : most);
            if (!live)
                x = 0, half = 0, q = 0;
            if (t->type == MIM_F32)
                memcpy(panel + cell * 4, &x, 4);
            else if (t->type == MIM_F16)
                memcpy(panel + cell * 2, &half, 2);
            else if (t->type == MIM_Q8)
                panel[(size_t)(c / 4) * 64 + row % 16 * 4 + c % 4] = (uint8_t)q;
            else {
                uint8_t *byte = panel + (size_t)(c / 8) * 64 + row % 16 * 4 + c % 4;
                uint8_t *multiplier = panel + (size_t)k * 8 + c / t->group * 8 + row % 8;
                if (c % t->group == 0)
                    *multiplier |= (uint8_t)(between(0, 15) << (row & 8 ? 4 : 0));
                *byte = (uint8_t)((*byte & (c & 4 ? 0x0f : 0xf0)) | (q + 8) << (c & 4 ? 4 : 0));
                q *= *multiplier >> (row & 8 ? 4 : 0) & 15;
            }
            sum += q;
        }
        if (t->type != MIM_F32)
            memcpy(scales + (size_t)row * 4, &scale, 4);
        if (t->type >= MIM_Q8)
            memcpy(sums + (size_t)row * 4, &sum, 4);
        memcpy(biases + (size_t)row * 4, &bias, 4);
    }
}

static inline mim_blob_header builder_header(const spec *p)
{
    mim_blob_header h;
    uint32_t c;
    memset(&h, 0, sizeof h);
    memcpy(h.magic, MIM_BLOB_MAGIC, 8);
    h.version = MIM_BLOB_VERSION;
    h.header_bytes = sizeof h;
    h.type = p->type;
    h.numerics = MIM_NUMERICS_FLOAT;
    h.channels = p->channels;
    h.image_height = p->grid_height * p->patch_height;
    h.image_width = p->grid_width * p->patch_width;
    h.patch_height = p->patch_height;
    h.frames = h.patch_frames = h.groups = h.unit_height = h.unit_width = 1;
    h.patch_width = p->patch_width;
    h.dim = p->dim;
    h.depth = p->blocks;
    h.has_cls = p->cls;
    h.registers = p->registers;
    h.pooled_dim = p->pool == MIM_POOL_CLS_MEAN ? 2 * p->dim : p->dim;
    h.classes = p->classes;
    h.decoder_dim = p->decoder_dim;
    h.norm_pix = p->decoder_dim ? p->norm_pix : 0;
    h.resize = p->resize;
    h.resize_filter = p->filter;
    h.resize_edge = p->resize == MIM_RESIZE_SHORT_EDGE ? p->edge : 0;
    for (c = 0; c < 16; c++) {
        h.mean[c] = c < p->channels ? 0.4f + (float)c / 64 : 0;
        h.std[c] = c < p->channels ? 0.2f + (float)c / 128 : 1;
    }
    h.parameters = 12345;
    strcpy(h.name, "random");
    strcpy(h.family, "test");
    strcpy(h.method, "MAE");
    strcpy(h.source, "blob_builder.h");
    strcpy(h.licence, "MIT");
    return h;
}

/* Puts the parts together: the blob, 64-byte aligned; free() it. */
static inline uint8_t *builder_finish(builder *of, mim_blob_header h, size_t *bytes)
{
    builder b = *of;
    uint64_t end;
    void *memory;
    uint8_t *blob;
    uint32_t i, j;
    h.step_count = b.steps;
    h.tensor_count = b.tensors;
    end = sizeof h + b.steps * sizeof b.step[0] + b.tensors * sizeof b.tensor[0];
    for (i = 0; i < b.tensors; i++) {
        b.tensor[i].at = (end + MIM_BLOB_ALIGN - 1) / MIM_BLOB_ALIGN * MIM_BLOB_ALIGN;
        end = b.tensor[i].at + mim_tensor_bytes(&b.tensor[i]);
    }
    h.bytes = end;
    *bytes = (size_t)end;
    if (posix_memalign(&memory, 64, *bytes))
        perror("posix_memalign"), exit(2);
    blob = (uint8_t *)memset(memory, 0, *bytes);
    memcpy(blob, &h, sizeof h);
    memcpy(blob + sizeof h, b.step, b.steps * sizeof b.step[0]);
    memcpy(blob + sizeof h + b.steps * sizeof b.step[0], b.tensor, b.tensors * sizeof b.tensor[0]);
    check_state = b.model->seed * 2 + 1;
    for (i = 0; i < b.tensors; i++) {
        int use = BUILDER_TABLE;
        for (j = 0; j < b.steps; j++) {
            const uint16_t *slot = b.step[j].tensor, kind = b.step[j].kind;
            const uint16_t inner = kind == MIM_STEP_ATTENTION ? slot[5] : kind == MIM_STEP_MLP || kind == MIM_STEP_EMBED ? slot[3]
                : kind == MIM_STEP_CONV ? slot[2] : 0;
            if (b.step[j].eps > 0 && (slot[0] == i + 1 || inner == i + 1))
                use = BUILDER_NORM;
            if (kind == MIM_STEP_ATTENTION && slot[4] == i + 1)
                use = BUILDER_ROTARY;
            if (kind == MIM_STEP_EMBED && slot[4] == i + 1)
                use = BUILDER_METADATA;
        }
        if (b.tensor[i].layout == MIM_PLAIN)
            builder_fill_plain(blob + b.tensor[i].at, &b.tensor[i], use);
        else
            builder_fill_matrix(blob + b.tensor[i].at, &b.tensor[i], b.row_head[i]);
    }
    h.checksum = mim_checksum(blob, *bytes);
    memcpy(blob, &h, sizeof h);
    return blob;
}

static inline uint8_t *blob_build(const spec *p, size_t *bytes)
{
    const uint32_t prefix = p->cls + p->registers, pixels = p->channels * p->patch_height * p->patch_width;
    mim_blob_header h = builder_header(p);
    builder b;
    mim_blob_step *s;
    memset(&b, 0, sizeof b);
    b.model = p;
    s = builder_step(&b, MIM_STEP_EMBED);
    s->kernel_height = (uint16_t)p->patch_height;
    s->kernel_width = (uint16_t)p->patch_width;
    s->tensor[0] = builder_matrix(&b, p->type >= MIM_Q8 ? (uint32_t)MIM_Q8 : p->type, p->dim, pixels, 0);
    if (prefix)
        s->tensor[1] = builder_plain(&b, prefix, p->dim);
    if (p->positions)
        s->tensor[2] = builder_plain(&b, p->stored_height * p->stored_width, p->dim);
    builder_positions(s, p);
    if (p->pre_norm && p->blocks)
        builder_step(&b, MIM_STEP_NORM)->tensor[0] = builder_plain(&b, 2, p->dim);
    builder_blocks(&b, p->blocks, p->dim, p->heads, p->head_dim, p->hidden, 1);
    if (p->norm)
        builder_step(&b, MIM_STEP_NORM)->tensor[0] = builder_plain(&b, 2, p->dim);
    s = builder_step(&b, MIM_STEP_POOL);
    s->rule = p->pool;
    if (p->fc_norm) {
        s->tensor[0] = builder_plain(&b, 2, h.pooled_dim);
        s->eps = 1e-6f;
    }
    if (p->classes)
        builder_step(&b, MIM_STEP_HEAD)->tensor[0] = builder_matrix(&b, p->type, p->classes, h.pooled_dim, 0);
    h.decoder_step = b.steps;
    if (p->decoder_dim) {
        s = builder_step(&b, MIM_STEP_UNMASK);
        s->tensor[0] = builder_matrix(&b, p->type, p->decoder_dim, p->dim, 0);
        s->tensor[1] = builder_plain(&b, 1, p->decoder_dim);
        if (prefix && p->decoder_prefix)
            s->tensor[2] = builder_plain(&b, prefix, p->decoder_dim);
        if (p->positions)
            s->tensor[3] = builder_plain(&b, p->stored_height * p->stored_width, p->decoder_dim);
        builder_positions(s, p);
        builder_blocks(&b, p->decoder_blocks, p->decoder_dim, p->decoder_heads, p->decoder_head_dim, p->decoder_hidden, 0);
        builder_step(&b, MIM_STEP_NORM)->tensor[0] = builder_plain(&b, 2, p->decoder_dim);
        builder_step(&b, MIM_STEP_PREDICT)->tensor[0] = builder_matrix(&b, p->type, pixels, p->decoder_dim, 0);
    }
    return builder_finish(&b, h, bytes);
}

/* A ViT as they come, of a size that takes microseconds: CLS, positions, two blocks, norm, head. */
static inline spec spec_small(uint32_t type)
{
    spec p;
    memset(&p, 0, sizeof p);
    p.type = type;
    p.channels = 3;
    p.patch_height = p.patch_width = 4;
    p.grid_height = 3, p.grid_width = 4;
    p.dim = 24, p.blocks = 2, p.heads = 2, p.head_dim = 12, p.hidden = 40;
    p.cls = 1;
    p.positions = MIM_POSITIONS_CUBIC, p.stored_height = 3, p.stored_width = 4;
    p.norm = 1, p.pool = MIM_POOL_CLS, p.classes = 10, p.gelu = MIM_GELU_ERF;
    p.weight_max = 63, p.input_max = 255, p.key_max = 63, p.value_max = 63;
    p.resize = MIM_RESIZE_SHORT_EDGE, p.filter = MIM_BICUBIC, p.edge = 14;
    p.seed = 1;
    return p;
}

/* Any model, drawn from the state of the random numbers. */
static inline spec spec_random(uint32_t type)
{
    spec p = spec_small(type);
    p.channels = between(1, 4);
    p.patch_height = between(1, 6), p.patch_width = between(1, 6);
    p.grid_height = between(1, 6), p.grid_width = between(1, 6);
    p.dim = between(1, 70), p.hidden = between(1, 90);
    p.blocks = between(0, 3), p.heads = between(1, 4), p.head_dim = between(1, 36);
    p.cls = between(0, 1), p.registers = between(0, 1) ? between(1, 4) : 0;
    p.positions = between(MIM_POSITIONS_NONE, MIM_POSITIONS_LINEAR);
    p.stored_height = p.grid_height, p.stored_width = p.grid_width;
    if (p.positions > MIM_POSITIONS_FIXED && between(0, 1))
        p.stored_height = between(1, 8), p.stored_width = between(1, 8);
    p.position_offset = between(0, 1) ? 0.1f : 0;
    p.norm = between(0, 1), p.fc_norm = between(0, 1), p.classes = between(0, 1) ? between(1, 40) : 0;
    p.pool = between(MIM_POOL_CLS, MIM_POOL_CLS_MEAN);
    if (!p.cls && (p.pool == MIM_POOL_CLS || p.pool == MIM_POOL_CLS_MEAN))
        p.pool = MIM_POOL_MEAN_PATCHES;
    p.gelu = between(MIM_GELU_ERF, MIM_GELU_QUICK);
    p.weight_max = between(0, 1) ? 63 : 127, p.input_max = between(0, 1) ? 127 : 255;
    p.key_max = between(0, 1) ? 63 : 127, p.value_max = between(0, 1) ? 63 : 127;
    if (between(0, 1)) {
        p.decoder_dim = between(1, 40), p.decoder_blocks = between(0, 2), p.decoder_heads = between(1, 3);
        p.decoder_head_dim = between(1, 20), p.decoder_hidden = between(1, 50), p.decoder_prefix = between(0, 1), p.norm_pix = between(0, 1);
    }
    p.resize = between(MIM_RESIZE_SHORT_EDGE, MIM_RESIZE_PAD), p.filter = between(MIM_BILINEAR, MIM_BICUBIC);
    p.edge = p.grid_height * p.patch_height + p.grid_width * p.patch_width;
    p.seed = any32();
    return p;
}

/* The same with what the blocks of BEiT, EVA-02 and DINOv3 have besides. */
static inline spec spec_random_block(uint32_t type)
{
    spec p = spec_random(type);
    p.bias = p.registers ? 0 : between(MIM_BIAS_NONE, MIM_BIAS_GEOMETRIC);
    if (p.bias == MIM_BIAS_FIXED)
        p.stored_height = p.grid_height, p.stored_width = p.grid_width;
    p.rotary = between(MIM_ROTARY_NONE, MIM_ROTARY_HALVES);
    p.rotary_grid = p.rotary ? between(MIM_GRID_INDEX, MIM_GRID_CENTERED) : 0;
    p.head_dim += p.head_dim % 2;
    p.gated = between(0, 1), p.inner_norms = between(0, 1), p.pre_norm = between(0, 1);
    p.gelu = between(MIM_GELU_ERF, MIM_SILU);
    return p;
}

/* ---- models on grids that change ---- */

enum { GRID_SWIN, GRID_HIERA, GRID_VITDET, GRID_MVIT, GRID_CONVMAE, GRID_TWINS, GRID_VIDEO, GRID_GROUPS, GRID_TOKENS, GRID_KINDS };

static inline mim_blob_step *grid_attention(builder *b, uint32_t dim, uint32_t to, uint32_t heads, uint32_t head_dim)
{
    const int q8 = b->model->type >= MIM_Q8;
    mim_blob_step *s = builder_step(b, MIM_STEP_ATTENTION);
    s->flags = between(0, 1) && dim == to ? MIM_STEP_POST_NORM : 0;
    s->tensor[0] = builder_plain(b, 2, s->flags ? to : dim);
    s->tensor[1] = builder_matrix(b, b->model->type, heads * 3 * builder_up(head_dim, 16), dim, head_dim);
    s->tensor[2] = builder_matrix(b, b->model->type, to, heads * head_dim, 0);
    s->heads = heads;
    s->head_dim = head_dim;
    s->scale = 1.0f / sqrtf((float)head_dim);
    s->key_max = q8 ? (uint8_t)b->model->key_max : 0;
    s->value_max = q8 ? (uint8_t)b->model->value_max : 0;
    s->qk_norm = (uint8_t)between(MIM_QK_NONE, MIM_QK_UNIT);
    if (s->qk_norm)
        s->tensor[6] = s->qk_norm == MIM_QK_UNIT ? builder_plain(b, 1, heads) : builder_plain(b, 4, head_dim);
    if (s->qk_norm == MIM_QK_UNIT)
        s->scale = 0;
    if (dim != to)
        s->tensor[7] = builder_matrix(b, b->model->type, to, dim, 0);
    return s;
}

static inline void grid_window(mim_blob_step *s, uint32_t window, uint32_t height, uint32_t width, int shift)
{
    s->window = (uint8_t)window;
    s->window_height = (uint16_t)height;
    s->window_width = (uint16_t)width;
    if (shift) {
        s->shift_height = (uint16_t)between(0, height - 1);
        s->shift_width = (uint16_t)between(0, width - 1);
    }
    s->mask = s->shift_height || s->shift_width ? 100.0f : 0;
    s->roll_padded = (uint8_t)(s->mask > 0 && between(0, 1));
}

static inline mim_blob_step *grid_mlp(builder *b, uint32_t dim, int depthwise)
{
    const uint32_t hidden = between(8, 50);
    mim_blob_step *s = builder_step(b, MIM_STEP_MLP);
    s->flags = (uint16_t)(MIM_STEP_TAP | (between(0, 1) ? MIM_STEP_POST_NORM : 0));
    s->tensor[0] = builder_plain(b, 2, dim);
    s->tensor[1] = builder_matrix(b, b->model->type, hidden, dim, 0);
    s->tensor[2] = builder_matrix(b, b->model->type, dim, hidden, 0);
    s->activation = depthwise && between(0, 1) ? 0 : between(MIM_GELU_ERF, MIM_SILU);
    if (depthwise) {
        s->kernel_height = (uint16_t)(2 * between(0, 2) + 1);
        s->kernel_width = (uint16_t)(2 * between(0, 2) + 1);
        s->tensor[4] = builder_plain(b, (uint32_t)s->kernel_height * s->kernel_width + 1, hidden);
    }
    return s;
}

/* kernel = stride: cells that do not overlap. */
static inline mim_blob_step *grid_conv(builder *b, uint32_t dim, uint32_t to, uint32_t kernel, uint32_t stride, uint32_t padding)
{
    mim_blob_step *s = builder_step(b, MIM_STEP_CONV);
    s->kernel_height = s->kernel_width = (uint16_t)kernel;
    s->stride_height = s->stride_width = (uint16_t)stride;
    s->padding_height = s->padding_width = (uint16_t)padding;
    s->flags = (uint16_t)(kernel == stride && between(0, 3) == 0 ? MIM_STEP_WHOLE : 0);
    if (between(0, 1))                                       /* of a cell, or of each token */
        s->tensor[0] = builder_plain(b, 2, between(0, 1) ? kernel * kernel * dim : dim);
    s->tensor[1] = builder_matrix(b, b->model->type, to, kernel * kernel * dim, 0);
    if (between(0, 1))
        s->tensor[2] = builder_plain(b, 2, to);
    s->eps = s->tensor[0] || s->tensor[2] ? 1e-5f : 0;
    s->activation = between(0, 2) ? 0 : MIM_GELU_ERF;
    return s;
}

/* A convolution of each channel. */
static inline mim_blob_step *grid_depthwise(builder *b, uint32_t dim)
{
    mim_blob_step *s = builder_step(b, MIM_STEP_CONV);
    s->padding_height = (uint16_t)between(0, 2);
    s->padding_width = (uint16_t)between(0, 2);
    s->kernel_height = (uint16_t)(2 * s->padding_height + 1);
    s->kernel_width = (uint16_t)(2 * s->padding_width + 1);
    s->stride_height = s->stride_width = 1;
    s->tensor[4] = builder_plain(b, (uint32_t)s->kernel_height * s->kernel_width + 1, dim);
    return s;
}

static inline void grid_table(builder *b, mim_blob_step *s, uint32_t rule, uint32_t height, uint32_t width, uint32_t cls)
{
    s->rule = rule;
    s->stored_height = height;
    s->stored_width = width;
    s->tensor[3] = rule == MIM_BIAS_AXES ? builder_plain(b, 2 * height + 2 * width - 2 + (s->stored_frames ? 2 * s->stored_frames - 1 : 0), builder_up(s->head_dim, 16))
                                         : builder_plain(b, s->heads, (2 * height - 1) * (2 * width - 1) + (cls ? 3 : 0));
}

/* A model of one of these kinds, drawn from the state of the random numbers. */
static inline uint8_t *blob_grid(uint32_t kind, uint32_t type, size_t *bytes)
{
    spec p = spec_small(type);
    const uint32_t dim = between(8, 40), heads = between(1, 3), head_dim = between(1, 12) * 2, wide = between(8, 40), h2 = between(1, 3);
    uint32_t at = dim, joined = 0, normed, i, width[3];
    mim_blob_header h;
    mim_blob_step *s;
    builder b;
    uint8_t *blob;
    const uint64_t state = check_state;
    memset(&b, 0, sizeof b);
    p.seed = any32();
    p.channels = between(1, 4);
    p.patch_height = between(1, 4), p.patch_width = between(1, 4);
    p.grid_height = between(1, 9), p.grid_width = between(1, 9);
    p.cls = kind == GRID_MVIT ? between(0, 1) : kind == GRID_VIDEO || kind == GRID_GROUPS ? between(0, 1) : 0;
    p.registers = 0, p.classes = 0, p.resize = MIM_RESIZE_SQUASH, p.dim = dim;
    p.pool = MIM_POOL_MEAN_ALL;
    p.weight_max = between(0, 1) ? 63 : 127, p.input_max = between(0, 1) ? 127 : 255;
    p.key_max = between(0, 1) ? 63 : 127, p.value_max = between(0, 1) ? 63 : 127;
    if (kind == GRID_HIERA || kind == GRID_CONVMAE)
        p.grid_height = between(1, 3) * 4, p.grid_width = between(1, 3) * 4;
    if (kind == GRID_TOKENS)
        p.channels = p.patch_height = p.patch_width = p.grid_height = 1, p.grid_width = between(1, 40);
    if (kind == GRID_VIDEO || kind == GRID_GROUPS)
        p.grid_height = between(1, 4), p.grid_width = between(1, 4);
    b.model = &p;
    h = builder_header(&p);
    h.unit_height = h.unit_width = kind == GRID_HIERA || kind == GRID_CONVMAE ? 4 : kind >= GRID_VIDEO;
    h.patch_frames = kind == GRID_VIDEO || kind == GRID_MVIT ? between(1, 3) : kind == GRID_HIERA ? between(1, 2) : 1;
    h.frames = kind == GRID_VIDEO || kind == GRID_MVIT ? h.patch_frames * between(1, 3) : kind == GRID_HIERA ? h.patch_frames * between(1, 2) : 1;
    h.groups = kind == GRID_GROUPS ? between(2, 3) : 1;
    h.coordinates = kind == GRID_VIDEO ? 2 : 0;
    s = builder_step(&b, MIM_STEP_EMBED);
    s->kernel_height = (uint16_t)p.patch_height;
    s->kernel_width = (uint16_t)p.patch_width;
    if (kind == GRID_HIERA || kind == GRID_MVIT) {           /* patches that overlap */
        s->padding_height = (uint16_t)between(0, 2);
        s->padding_width = (uint16_t)between(0, 2);
        s->padding_frames = (uint8_t)(h.frames > 1 ? between(0, 2) : 0);
        s->kernel_height = (uint16_t)(p.patch_height + 2 * s->padding_height - (s->padding_height && p.patch_height > 1));
        s->kernel_width = (uint16_t)(p.patch_width + 2 * s->padding_width - (s->padding_width && p.patch_width > 1));
    }
    if (kind != GRID_TOKENS)
        s->tensor[0] = builder_matrix(&b, type >= MIM_Q8 ? (uint32_t)MIM_Q8 : type, h.groups > 1 ? h.groups * builder_up(dim, 16) : dim,
                                      p.channels * (h.patch_frames + s->padding_frames) * s->kernel_height * s->kernel_width, 0);
    else
        s->tensor[5] = builder_plain(&b, between(1, 5), dim);
    if (p.cls)
        s->tensor[1] = builder_plain(&b, 1, dim);
    if (kind != GRID_TOKENS && between(0, 1)) {
        s->rule = kind == GRID_VIDEO ? (uint32_t)MIM_POSITIONS_FIXED : between(MIM_POSITIONS_FIXED, MIM_POSITIONS_CORNERS);
        s->stored_frames = between(0, 1) ? 1 : h.frames / h.patch_frames * h.groups;
        s->stored_height = s->rule == MIM_POSITIONS_FIXED ? p.grid_height : between(1, 6);
        s->stored_width = s->rule == MIM_POSITIONS_FIXED ? p.grid_width : between(1, 6);
        s->tensor[2] = builder_plain(&b, s->stored_frames * s->stored_height * s->stored_width, dim);
    }
    if (kind != GRID_TOKENS && between(0, 1)) {
        s->tensor[3] = builder_plain(&b, 2, dim);
        s->eps = 1e-5f;
        s->activation = between(0, MIM_SILU);
    }
    if (h.coordinates)
        s->tensor[4] = builder_plain(&b, 5 * between(1, 2), dim);
    if (kind == GRID_HIERA && between(0, 1))
        s->tensor[6] = builder_plain(&b, h.unit_height * h.unit_width, dim);
    if (between(0, 2) == 0)                                  /* before the blocks */
        builder_step(&b, MIM_STEP_NORM)->tensor[0] = builder_plain(&b, 2, dim);
    switch (kind) {
    case GRID_SWIN:
        for (i = 0; i < 3; i++) {
            const uint32_t window = between(MIM_WINDOW_FIXED, MIM_WINDOW_SQUARE), wh = between(1, 5), ww = between(1, 5);
            s = grid_attention(&b, at, at, heads, head_dim);
            grid_window(s, window, wh, ww, between(0, 1) != 0);
            if (between(0, 2) == 0) {                        /* of a smaller window, and what makes those of others */
                const uint32_t side = wh > ww ? wh : ww;
                grid_table(&b, s, MIM_BIAS_DISTANCES, between(1, wh), between(1, ww), 0);
                s->tensor[10] = builder_plain(&b, 3 + heads, 16 * between(1, 3));
                s->tensor[11] = builder_plain(&b, side, 2 * side - 1);
            } else if (between(0, 2))
                grid_table(&b, s, window == MIM_WINDOW_FIXED ? MIM_BIAS_FIXED : between(0, 1) ? MIM_BIAS_LINEAR : MIM_BIAS_GEOMETRIC, wh, ww, 0);
            grid_mlp(&b, at, 0);
            if (i < 2) {
                if (between(0, 1))                           /* among the blocks */
                    builder_step(&b, MIM_STEP_NORM)->tensor[0] = builder_plain(&b, 2, at);
                grid_conv(&b, at, wide + i, 2, 2, 0);
                at = wide + i;
            }
        }
        break;
    case GRID_HIERA:
        width[0] = at;
        for (i = 1; i < 3; i++)
            width[i] = between(0, 1) ? 2 * width[i - 1] : wide + i;
        for (i = 0; i < 3; i++) {
            s = grid_attention(&b, at, width[i], heads, head_dim);
            if (i && width[i] == 2 * at && between(0, 1))    /* the largest and the mean of each cell */
                s->tensor[7] = 0;
            if (i < 2)
                grid_window(s, MIM_WINDOW_FIXED, i ? 4 : 4, 4, 0);
            if (i) {
                s->thin = MIM_THIN_MAX;
                s->kernel_height = s->kernel_width = s->stride_height = s->stride_width = 2;
                s->flags = 0;
                at = width[i];
            }
            grid_mlp(&b, at, 0);
            if (i < 2 && between(0, 1))
                grid_conv(&b, at, width[2], i ? 2 : 4, i ? 2 : 4, 0)->flags |= MIM_STEP_BRANCH;
        }
        break;
    case GRID_VITDET:
        for (i = 0; i < 2; i++) {
            s = grid_attention(&b, at, at, heads, head_dim);
            if (i == 0)
                grid_window(s, MIM_WINDOW_FIXED, between(1, 5), between(1, 5), 0);
            grid_table(&b, s, MIM_BIAS_AXES, between(1, 6), between(1, 6), 0);
            grid_mlp(&b, at, 0);
        }
        grid_conv(&b, at, wide, 1, 1, 0);
        grid_conv(&b, wide, wide, 3, 1, 1);
        at = wide;
        break;
    case GRID_MVIT:
        for (i = 0; i < 3; i++) {
            s = grid_attention(&b, at, i ? wide + i : at, heads, head_dim);
            s->flags = between(0, 1) ? MIM_STEP_ADD_QUERY | (between(0, 1) ? MIM_STEP_ADD_PREFIX_QUERY : 0) : 0;
            s->tensor[0] = builder_plain(&b, 2, at);
            s->thin = MIM_THIN_CONV;
            s->kernel_height = s->kernel_width = 3;
            s->stride_height = s->stride_width = (uint16_t)between(1, 2);
            s->key_stride = (uint8_t)between(1, 4);
            s->kernel_frames = (uint8_t)(2 * between(0, 1) + 1);
            s->stored_frames = between(0, 1) ? between(1, 4) : 0;
            if (!between(0, 1))
                s->stored_frames = 0;
            else
                grid_table(&b, s, MIM_BIAS_AXES, between(1, 6), between(1, 6), 0);
            s->tensor[8] = builder_plain(&b, 27u * s->kernel_frames, builder_up(head_dim, 16));
            s->tensor[9] = builder_plain(&b, 6, head_dim);
            at = i ? wide + i : at;
            s = grid_mlp(&b, at, 0);
            if (between(0, 2) == 0) {                        /* another width beside a shortcut */
                const uint32_t to = between(8, 40), hidden = between(8, 50);
                s->flags = MIM_STEP_TAP;
                s->tensor[1] = builder_matrix(&b, type, hidden, at, 0);
                s->tensor[2] = builder_matrix(&b, type, to, hidden, 0);
                s->tensor[5] = builder_matrix(&b, type, to, at, 0);
                at = to;
            }
        }
        break;
    case GRID_CONVMAE:
        grid_mlp(&b, at, 1);
        if (between(0, 1))
            grid_conv(&b, at, wide, 4, 4, 0)->flags |= MIM_STEP_BRANCH;
        s = grid_conv(&b, at, h2 + 20, 2, 2, 0);
        grid_mlp(&b, h2 + 20, 1);
        s = grid_conv(&b, h2 + 20, wide, 2, 2, 0);
        s->rule = MIM_POSITIONS_CUBIC;
        s->stored_frames = 1;
        s->stored_height = s->stored_width = between(1, 4);
        s->tensor[3] = builder_plain(&b, s->stored_height * s->stored_width, wide);
        at = wide;
        grid_attention(&b, at, at, heads, head_dim);
        grid_mlp(&b, at, 0);
        break;
    case GRID_TWINS:
        for (i = 0; i < 2; i++) {
            s = grid_attention(&b, at, at, heads, head_dim);
            grid_window(s, MIM_WINDOW_FIXED, between(1, 5), between(1, 5), 0);
            grid_mlp(&b, at, 0)->flags &= (uint16_t)~(i ? MIM_STEP_TAP : 0);
            grid_depthwise(&b, at)->flags = (uint16_t)(i ? MIM_STEP_TAP : 0);
            for (joined = between(1, 2); joined--;)          /* keys of cells, which overlap or not */
                grid_conv(&b, at, at, 2, i ? 1 : 2, i)->flags |= MIM_STEP_BRANCH | (i ? 0 : MIM_STEP_WHOLE);
            joined = 0;
            s = grid_attention(&b, at, at, heads, head_dim);
            s->flags |= MIM_STEP_JOIN;
            grid_mlp(&b, at, 0);
            if (i == 0) {
                grid_conv(&b, at, wide, 2, 2, 0);
                at = wide;
            }
        }
        break;
    default:
        for (i = 0; i < 2; i++) {
            s = grid_attention(&b, at, at, heads, head_dim);
            if (kind == GRID_VIDEO) {
                s->rotary = (uint8_t)between(MIM_ROTARY_PAIRS, MIM_ROTARY_HALVES);
                s->rotary_grid = MIM_GRID_INDEX;
                s->tensor[4] = builder_plain(&b, 2, head_dim);
            }
            grid_mlp(&b, at, 0);
        }
    }
    for (i = 0; i < b.steps; i++)
        joined = b.step[i].flags & MIM_STEP_JOIN ? 0 : joined | (b.step[i].flags & MIM_STEP_BRANCH);
    normed = joined || between(0, 1);
    if (normed) {
        s = builder_step(&b, MIM_STEP_NORM);
        s->flags = joined ? MIM_STEP_JOIN : 0;
        s->tensor[0] = builder_plain(&b, 2, at);
    }
    s = builder_step(&b, MIM_STEP_POOL);
    s->rule = p.pool;
    if (!normed && between(0, 1)) {                          /* the pooled feature is of tokens before the norm */
        s = builder_step(&b, MIM_STEP_NORM);
        s->tensor[0] = builder_plain(&b, 2, at);
    }
    for (i = 0, h.depth = 0; i < b.steps; i++) {
        h.depth += b.step[i].flags & MIM_STEP_TAP;
        if (b.step[i].kind == MIM_STEP_NORM)
            b.step[i].eps = 1e-5f;
    }
    h.dim = h.pooled_dim = at;
    h.decoder_step = b.steps;
    blob = builder_finish(&b, h, bytes);
    check_state = state + 0x9e3779b97f4a7c15u * (kind + 1);
    any32();
    return blob;
}

/* ---- running what was built ---- */

/* Everything that one encode can give, end to end in one piece of memory with an inaccessible page behind it. */
typedef struct results {
    guard memory;
    float *values;
    size_t count;
    mim_output out;
    uint32_t layer[64];
    float *prediction;                          /* NULL: encode only */
} results;

static inline float *results_take(float **next, size_t n)
{
    float *p = *next;
    *next += n;
    return n ? p : NULL;
}

/* Room for everything that a session can give of `visible` mask units (0: all of the image). */
static inline void results_for(results *r, const mim_session *session, uint32_t visible, int decoder)
{
    const mim_blob_header *h = session->model->header;
    const uint32_t grid = session->tokens - session->prefix, units = h->unit_height ? grid / (h->unit_height * h->unit_width) : 1;
    const size_t pixels = decoder ? (size_t)grid * h->patch_frames * h->patch_height * h->patch_width * h->channels : 0;
    size_t heads = 0, layers = 0, t, d;
    mim_grid last, at;
    float *next;
    uint32_t i;
    visible = visible ? visible : units;
    CHECK(mim_shape(session, 0, &last) == MIM_OK && mim_shape(session, h->depth + 1, &at) == MIM_ERR_ARGUMENT);
    t = session->prefix + (size_t)(last.tokens - session->prefix) / units * visible;
    d = last.dim;
    for (i = 0; i < h->decoder_step; i++) {
        const mim_blob_step *s = &session->model->steps[i];
        if (s->kind == MIM_STEP_ATTENTION)
            heads = s->window || s->thin || s->flags & MIM_STEP_JOIN ? 0 : s->heads;
        if (s->kind == MIM_STEP_CONV && !(s->stride_height == 1 && s->stride_width == 1 && s->kernel_height == 2 * s->padding_height + 1
                                          && s->kernel_width == 2 * s->padding_width + 1))
            heads = 0;
    }
    for (i = 1; i <= h->depth; i++) {
        CHECK(mim_shape(session, i, &at) == MIM_OK && at.tokens == session->prefix + at.frames * at.height * at.width);
        layers += (session->prefix + (size_t)(at.tokens - session->prefix) / units * visible) * at.dim;
    }
    r->count = t * d + t * d + h->pooled_dim + h->classes + heads * t * t + layers + pixels;
    r->values = next = (float *)guard_high(&r->memory, r->count * 4, 4);
    memset(r->values, 0xff, r->count * 4);
    memset(&r->out, 0, sizeof r->out);
    r->out.tokens = results_take(&next, t * d);
    r->out.cls = results_take(&next, h->has_cls * d);
    r->out.registers = results_take(&next, h->registers * d);
    r->out.patches = results_take(&next, (t - session->prefix) * d);
    r->out.pooled = results_take(&next, h->pooled_dim);
    r->out.logits = results_take(&next, h->classes);
    r->out.attention = results_take(&next, heads * t * t);
    r->out.layers = results_take(&next, layers);
    for (i = 0; i < h->depth; i++)
        r->layer[i] = i + 1;
    r->out.layer = r->layer;
    r->out.layer_count = h->depth;
    r->prediction = results_take(&next, pixels);
}

/* Whether every float was written, every NaN as the same bits, and nothing beside them. */
static inline int results_whole(const results *r)
{
    size_t i;
    uint32_t bits;
    for (i = 0; i < r->count; i++) {
        memcpy(&bits, r->values + i, 4);
        if ((bits & 0x7fffffffu) > 0x7f800000u && bits != 0x7fc00000u)
            return 0;
    }
    return guard_intact(&r->memory);
}

/* Encodes the image into r, which it shapes, in `bytes` bytes of memory before an inaccessible page (0: the minimum; low: behind
 * one), filled with `dirt` beforehand. */
typedef struct setting { size_t bytes; int low, dirt; } setting;

static inline mim_status run_model(results *r, guard *arena, const mim_model *model, const mim_session_desc *desc, const mim_image *image,
                                   setting how)
{
    static guard slow;
    mim_session s;
    mim_memory memory;
    mim_status status = mim_plan(model, desc, &memory);
    if (status)
        return status;
    if (how.bytes)
        memory.bytes = how.bytes;
    memory.base = how.low ? guard_low(arena, memory.bytes) : guard_high(arena, memory.bytes, 16);
    memset(memory.base, how.dirt, memory.bytes);
    if (memory.slow_bytes) {
        memory.slow = how.low ? guard_low(&slow, memory.slow_bytes) : guard_high(&slow, memory.slow_bytes, 16);
        memset(memory.slow, how.dirt, memory.slow_bytes);
    }
    status = mim_begin(&s, model, desc, &memory);
    if (status)
        return status;
    results_for(r, &s, image->visible ? image->visible_count : 0, s.desc.decoder != 0);
    if (!model->steps[0].tensor[0])                          /* a token model: the planes are its tokens */
        status = mim_encode_tokens(&s, (const float *)image->pixels, image->visible, image->visible ? image->visible_count
            : (s.tokens - s.prefix) / (model->header->unit_height ? model->header->unit_height * model->header->unit_width : 1), &r->out);
    else
        status = r->prediction ? mim_reconstruct(&s, image, &r->out, r->prediction) : mim_encode(&s, image, &r->out);
    if (!guard_intact(arena) || (memory.slow && !guard_intact(&slow)))
        CHECK_THAT(0, "memory beside the arena was written");
    return status;
}

#endif
