/* build.c - see build.h. */
#include "build.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- shapes ---- */

static int wrong_shape(const tensor *t, const char *expected)
{
    char shape[160];
    tensor_describe(t, shape, sizeof shape);
    return fail("%s: tensor '%s' is %s; %s was expected", t->file, t->name, shape, expected);
}

static int within(const checkpoint *cp, const char *what, uint64_t value, uint64_t limit)
{
    if (value >= 1 && value <= limit)
        return 0;
    return fail("%s: %s is %" PRIu64 "; mim allows 1 to %" PRIu64, cp->path, what, value, limit);
}

/* `count` numbers whose last dimension is `columns`: [1, 1, D], [1, R, D], [D]. */
static int is_rows(const tensor *t, uint64_t count, uint32_t columns)
{
    char expected[64];
    if (t->rank >= 1 && t->shape[t->rank - 1] == columns && t->count == count * columns)
        return 0;
    snprintf(expected, sizeof expected, "%" PRIu64 " x %" PRIu32, count, columns);
    return wrong_shape(t, expected);
}

static int is_vector(const tensor *t, uint64_t length)
{
    char expected[32];
    if (!t || (t->rank == 1 && t->shape[0] == length))
        return 0;
    snprintf(expected, sizeof expected, "[%" PRIu64 "]", length);
    return wrong_shape(t, expected);
}

static int is_linear(const part *p, uint64_t rows_expected, uint64_t columns)
{
    char expected[64];
    if (p->weight->rank != 2 || p->weight->shape[0] != rows_expected || p->weight->shape[1] != columns) {
        snprintf(expected, sizeof expected, "[%" PRIu64 ", %" PRIu64 "]", rows_expected, columns);
        return wrong_shape(p->weight, expected);
    }
    return is_vector(p->bias, rows_expected);
}

static int is_norm(const part *p, uint64_t length) { return is_vector(p->weight, length) || is_vector(p->bias, length); }

static int measure_block(const checkpoint *cp, const part *b, uint32_t dim, uint32_t *inner, uint32_t *hidden, uint32_t *gated)
{
    const tensor *q = b[QKV].weight ? b[QKV].weight : b[QUERY].weight, *fc1 = b[GATE].weight ? b[GATE].weight : b[FC1].weight;
    uint32_t gate = is_gated(b) != 0, halves = gate && !b[GATE].weight ? 2 : 1;
    uint64_t thirds = b[QKV].weight ? 3 : 1;
    if (q->rank != 2 || q->shape[0] % thirds)
        return wrong_shape(q, b[QKV].weight ? "[3 * heads * width of a head, dim]" : "[heads * width of a head, dim]");
    if (fc1->rank != 2)
        return wrong_shape(fc1, "[hidden, dim]");
    uint64_t units = fc1->shape[0] / halves;
    if (*inner == 0) {
        if (within(cp, "the attention's width", q->shape[0] / thirds, MIM_MAX_HIDDEN) ||
            within(cp, "the hidden width of the MLP", units, MIM_MAX_HIDDEN))
            return 1;
        *inner = (uint32_t)(q->shape[0] / thirds);
        *hidden = (uint32_t)units;
        *gated = gate;
    }
    if (gate != *gated)
        return fail("%s: only some of its blocks have a gated MLP ('%s')", cp->path, fc1->name);
    if (b[QKV].weight) {
        if (is_linear(&b[QKV], (uint64_t)*inner * 3, dim) || is_vector(b[QUERY].bias, *inner) ||
            is_vector(b[KEY].bias, *inner) || is_vector(b[VALUE].bias, *inner))
            return 1;
    } else if (is_linear(&b[QUERY], *inner, dim) || is_linear(&b[KEY], *inner, dim) || is_linear(&b[VALUE], *inner, dim)) {
        return 1;
    }
    if (b[GATE].weight ? is_linear(&b[GATE], *hidden, dim) || is_linear(&b[UP], *hidden, dim)
                       : is_linear(&b[FC1], (uint64_t)*hidden * halves, dim))
        return 1;
    return is_norm(&b[NORM1], dim) || is_norm(&b[ATTENTION_NORM], *inner) || is_linear(&b[PROJ], dim, *inner) ||
           is_vector(b[SCALE1].weight, dim) || is_norm(&b[NORM2], dim) || is_norm(&b[MLP_NORM], *hidden) ||
           is_linear(&b[FC2], dim, *hidden) || is_vector(b[SCALE2].weight, dim);
}

/* The table of positions, [1, rows, D] or [1, height, width, D]. */
static int measure_positions(const checkpoint *cp, const tensor *t, uint32_t dim, uint32_t *count, uint32_t *height,
                             uint32_t *width)
{
    if (!t)
        return 0;
    if (t->rank < 2 || t->rank > 4 || t->shape[t->rank - 1] != dim || (t->rank > 2 && t->shape[0] != 1))
        return wrong_shape(t, "[1, positions, dim]");
    uint64_t n = t->shape[t->rank - 2];
    if (within(cp, "the number of positions", n, MIM_MAX_TOKENS))
        return 1;
    if (t->rank == 4) {
        if (within(cp, "the number of rows of positions", t->shape[1], MIM_MAX_TOKENS) ||
            within(cp, "the number of positions", t->shape[1] * n, MIM_MAX_TOKENS))
            return 1;
        *height = (uint32_t)t->shape[1];
        *width = (uint32_t)n;
        n *= t->shape[1];
    }
    *count = (uint32_t)n;
    return 0;
}

/* Tables of relative positions, [positions, heads]: of all blocks, and one for each. */
static int measure_bias(measures *m, const vit *model, const checkpoint *cp)
{
    for (uint32_t i = 0; i <= model->depth; i++) {
        const part *p = i < model->depth ? &model->block[i][RELATIVE_BIAS] : &model->top[RELATIVE_BIAS];
        const tensor *t = p->weight;
        char expected[64];
        if (!t)
            continue;
        if (t->rank != 2)
            return wrong_shape(t, "[relative positions, heads]");
        if (m->bias_rows == 0) {
            if (within(cp, "the number of relative positions", t->shape[0], MIM_MAX_COLUMNS) ||
                within(cp, "the number of heads", t->shape[1], MIM_MAX_HEADS))
                return 1;
            m->bias_rows = (uint32_t)t->shape[0];
            m->heads = (uint32_t)t->shape[1];
        }
        snprintf(expected, sizeof expected, "[%" PRIu32 ", %" PRIu32 "]", m->bias_rows, m->heads);
        if (t->shape[0] != m->bias_rows || t->shape[1] != m->heads)
            return wrong_shape(t, expected);
    }
    if (m->bias_rows && m->registers)
        return fail("%s: relative position bias and registers together are not available in this version", cp->path);
    return 0;
}

/* Tables of the rotary embedding are computed anew; their shape tells how wide a head is. */
static int measure_rotary(measures *m, const vit *model, const checkpoint *cp)
{
    const tensor *periods = model->top[PERIODS].weight, *cosines = model->top[ROTARY_COS].weight;
    uint64_t width = 0;
    if (periods) {
        if (periods->rank != 1 || periods->shape[0] < 1 || periods->shape[0] > MIM_MAX_HEAD_DIM / 4)
            return wrong_shape(periods, "[a quarter of the width of a head]");
        width = 4 * periods->shape[0];
    } else if (cosines) {
        if (cosines->rank != 2 || cosines->shape[1] < 1 || cosines->shape[1] > MIM_MAX_HEAD_DIM)
            return wrong_shape(cosines, "[patches, width of a head]");
        width = cosines->shape[1];
    }
    if (width && m->inner % width)
        return fail("%s: an attention width of %" PRIu32 " is not made of heads of %" PRIu64 " ('%s')", cp->path, m->inner,
                    width, (periods ? periods : cosines)->name);
    if (width)
        m->heads = (uint32_t)(m->inner / width);
    return 0;
}

static int measure_decoder(measures *m, const vit *model, const checkpoint *cp)
{
    static const struct { uint8_t role; const char *what; } needed[] = {
        { DECODER_EMBED, "embedding" }, { MASK_TOKEN, "mask token" }, { DECODER_POSITIONS, "positions" },
        { DECODER_NORM, "norm" }, { DECODER_PREDICT, "prediction layer" },
    };
    const part *top = model->top;
    uint32_t no_height = 0, no_width = 0;
    if (!top[DECODER_EMBED].weight && !model->decoder_depth)
        return fail("%s: has no decoder to keep (--keep-decoder)", cp->path);
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!top[needed[i].role].weight)
            return fail("%s: its decoder has no %s, so it cannot be kept", cp->path, needed[i].what);
    if (model->decoder_depth == 0)
        return fail("%s: its decoder has no blocks, so it cannot be kept", cp->path);
    const tensor *embed = top[DECODER_EMBED].weight;
    if (embed->rank != 2)
        return wrong_shape(embed, "[decoder dim, dim]");
    if (within(cp, "the decoder's width", embed->shape[0], MIM_MAX_DIM))
        return 1;
    m->decoder_dim = (uint32_t)embed->shape[0];
    if (is_linear(&top[DECODER_EMBED], m->decoder_dim, m->dim) || is_rows(top[MASK_TOKEN].weight, 1, m->decoder_dim) ||
        measure_positions(cp, top[DECODER_POSITIONS].weight, m->decoder_dim, &m->decoder_position_rows, &no_height, &no_width) ||
        is_norm(&top[DECODER_NORM], m->decoder_dim) ||
        is_linear(&top[DECODER_PREDICT], (uint64_t)m->patch_height * m->patch_width * m->channels, m->decoder_dim))
        return 1;
    for (uint32_t i = 0; i < model->decoder_depth; i++) {
        if (model->decoder[i][RELATIVE_BIAS].weight)
            return fail("%s: '%s' is of a decoder: not available in this version", cp->path,
                        model->decoder[i][RELATIVE_BIAS].weight->name);
        if (measure_block(cp, model->decoder[i], m->decoder_dim, &m->decoder_inner, &m->decoder_hidden, &m->decoder_gated))
            return 1;
    }
    if (m->gated != m->decoder_gated)
        return fail("%s: a decoder whose MLP is %s under an encoder whose is %s is not available in this version", cp->path,
                    m->decoder_gated ? "gated" : "plain", m->gated ? "gated" : "plain");
    return 0;
}

int measure(measures *m, const vit *model, const checkpoint *cp, int keep_decoder)
{
    const part *top = model->top;
    const tensor *patch = top[PATCH].weight, *registers = top[REGISTERS].weight;
    memset(m, 0, sizeof *m);
    if (patch->rank == 5)
        return wrong_shape(patch, "[dim, channels, height, width] (video is not available in this version)");
    if (patch->rank != 4)
        return wrong_shape(patch, "[dim, channels, height, width]");
    if (within(cp, "dim", patch->shape[0], MIM_MAX_DIM) ||
        within(cp, "the number of channels", patch->shape[1], MIM_MAX_CHANNELS) ||
        within(cp, "the patch's height", patch->shape[2], MIM_MAX_PATCH) ||
        within(cp, "the patch's width", patch->shape[3], MIM_MAX_PATCH) ||
        within(cp, "the size of a patch", patch->shape[1] * patch->shape[2] * patch->shape[3], MIM_MAX_COLUMNS))
        return 1;
    m->dim = (uint32_t)patch->shape[0];
    m->channels = (uint32_t)patch->shape[1];
    m->patch_height = (uint32_t)patch->shape[2];
    m->patch_width = (uint32_t)patch->shape[3];
    if (is_vector(top[PATCH].bias, m->dim))
        return 1;
    m->has_cls = top[CLS].weight != NULL;
    if (m->has_cls && is_rows(top[CLS].weight, 1, m->dim))
        return 1;
    if (registers) {
        uint64_t count = registers->rank >= 2 ? registers->shape[registers->rank - 2] : 1;
        if (count > MIM_MAX_PREFIX - m->has_cls)
            return fail("%s: %" PRIu64 " registers are more than mim allows (%u)", cp->path, count, MIM_MAX_PREFIX - m->has_cls);
        if (is_rows(registers, count, m->dim))
            return 1;
        m->registers = (uint32_t)count;
    }
    if (measure_positions(cp, top[POSITIONS].weight, m->dim, &m->position_rows, &m->grid_height, &m->grid_width))
        return 1;
    for (uint32_t i = 0; i < model->depth; i++)
        if (measure_block(cp, model->block[i], m->dim, &m->inner, &m->hidden, &m->gated))
            return 1;
    if (measure_bias(m, model, cp) || measure_rotary(m, model, cp))
        return 1;
    if ((top[NORM].weight && is_norm(&top[NORM], m->dim)) || (top[POOL_NORM].weight && is_norm(&top[POOL_NORM], m->dim)))
        return 1;
    if (top[HEAD].weight) {
        const tensor *head = top[HEAD].weight;
        if (head->rank != 2)
            return wrong_shape(head, "[classes, width]");
        if (within(cp, "the number of classes", head->shape[0], MIM_MAX_CLASSES))
            return 1;
        if (head->shape[1] != m->dim && head->shape[1] != 2 * (uint64_t)m->dim)
            return wrong_shape(head, "[classes, dim or 2 * dim]");
        m->classes = (uint32_t)head->shape[0];
        m->head_columns = (uint32_t)head->shape[1];
        if (is_vector(top[HEAD].bias, m->classes))
            return 1;
    }
    if (keep_decoder && measure_decoder(m, model, cp))
        return 1;

    for (uint32_t role = 0; role < ROLE_COUNT; role++) {
        int encoder = role == PATCH || role == CLS || role == REGISTERS || role == POSITIONS || role == NORM ||
                      role == POOL_NORM || role == RELATIVE_BIAS;
        if (encoder && top[role].weight)
            m->parameters += top[role].weight->count + (top[role].bias ? top[role].bias->count : 0);
        for (uint32_t i = 0; i < model->depth && role != QKV_MASK; i++) {
            const part *p = &model->block[i][role];
            m->parameters += (p->weight ? p->weight->count : 0) + (p->bias ? p->bias->count : 0);
        }
    }
    return 0;
}

/* ---- the plan ---- */

static rows linear_rows(const part *p, const tensor *gain)
{
    rows r = { .kind = ROWS_LINEAR, .gain = gain };
    r.part[0] = *p;
    return r;
}

static rows norm_rows(const part *p)
{
    rows r = { .kind = ROWS_NORM };
    r.part[0] = *p;
    return r;
}

static void add_norm(plan *p, mim_blob_step *step, const part *norm, uint32_t dim, float eps)
{
    rows r = norm_rows(norm);
    plan_plain(p, step, 0, 2, dim, &r);
    step->eps = eps;
}

static void add_linear(plan *p, mim_blob_step *step, unsigned slot, const part *layer, const tensor *gain)
{
    rows r = linear_rows(layer, gain);
    plan_matrix(p, step, slot, (uint32_t)layer->weight->shape[0],
                (uint32_t)(layer->weight->count / layer->weight->shape[0]), &r);
}

/* What the blocks of an encoder, or of a decoder, have in common. */
typedef struct stack {
    uint32_t dim, inner, hidden, heads, gated, activation;
    float eps;
    const part *top;                      /* of an encoder: where its shared tables are; NULL: a decoder, it has none */
    const settings *s;
    uint32_t bias_rows;
    uint16_t bias, rotary;                /* tensors that blocks share, once planned */
} stack;

/* What the attention knows of positions. */
static void add_attention_positions(plan *p, mim_blob_step *step, stack *k, const part *b)
{
    const tensor *shared = k->top[RELATIVE_BIAS].weight, *own = b[RELATIVE_BIAS].weight;
    const settings *s = k->s;
    if (shared || own) {
        rows r = { .kind = ROWS_BIAS, .heads = k->heads };
        r.part[0].weight = shared;
        r.part[1].weight = own;
        step->rule = (uint32_t)s->bias.value;
        step->stored_height = (uint32_t)s->grid_height.value;
        step->stored_width = (uint32_t)s->grid_width.value;
        step->tensor[3] = k->bias;
        if (own || !k->bias)
            plan_plain(p, step, 3, k->heads, k->bias_rows, &r);
        k->bias = step->tensor[3];
    }
    if (s->rotary.value > 0) {
        rows r = { .kind = ROWS_ROTARY, .head_dim = step->head_dim, .rotary = (uint32_t)s->rotary.value,
                   .grid = (uint32_t)s->rotary_grid.value, .base = s->rotary_base.value };
        r.part[0].weight = k->top[PERIODS].weight;
        step->rotary = (uint8_t)r.rotary;
        step->rotary_grid = (uint8_t)r.grid;
        if (r.grid == MIM_GRID_SCALED) {
            step->stored_height = (uint32_t)s->rotary_height.value;
            step->stored_width = (uint32_t)s->rotary_width.value;
        }
        step->tensor[4] = k->rotary;
        if (!k->rotary)
            plan_plain(p, step, 4, 2, step->head_dim, &r);
        k->rotary = step->tensor[4];
    }
}

static void add_gated(plan *p, mim_blob_step *step, const stack *k, const part *b)
{
    rows r = { .kind = ROWS_GATED, .hidden = k->hidden };
    r.part[0] = b[GATE].weight ? b[GATE] : b[FC1];
    r.part[1] = b[GATE].weight ? b[UP] : b[FC1];
    r.first[1] = b[GATE].weight ? 0 : k->hidden;
    step->flags |= MIM_STEP_GATED;
    plan_matrix(p, step, 1, 2 * round_up(k->hidden, 16), k->dim, &r);
}

static void add_block(plan *p, const part *b, stack *k)
{
    uint32_t dim = k->dim, inner = k->inner, heads = k->heads, head_dim = inner / heads, padded = round_up(head_dim, 16);
    mim_blob_step *step = plan_step(p, MIM_STEP_ATTENTION);
    step->heads = heads;
    step->head_dim = head_dim;
    step->scale = (float)(1.0 / sqrt((double)head_dim));
    step->key_max = step->value_max = p->header.type == MIM_Q8 ? PACK_ATTENTION_MAX : 0;
    add_norm(p, step, &b[NORM1], dim, k->eps);

    rows qkv = { .kind = ROWS_QKV, .heads = heads, .head_dim = head_dim };
    for (uint32_t i = 0; i < 3; i++) {
        qkv.part[i] = b[QUERY + i];
        if (b[QKV].weight) {
            qkv.part[i].weight = b[QKV].weight;
            qkv.first[i] = (uint64_t)inner * i;
            if (b[QKV].bias)
                qkv.part[i].bias = b[QKV].bias;
        }
    }
    if (b[QKV_MASK].weight)               /* it is 1 for queries and values and 0 for keys, whatever the file holds */
        qkv.part[1].bias = NULL;
    plan_matrix(p, step, 1, heads * 3 * padded, dim, &qkv);
    rows proj = linear_rows(&b[PROJ], b[SCALE1].weight);
    plan_matrix(p, step, 2, dim, heads * head_dim, &proj);
    if (k->top)
        add_attention_positions(p, step, k, b);
    if (b[ATTENTION_NORM].weight) {
        rows r = norm_rows(&b[ATTENTION_NORM]);
        plan_plain(p, step, 5, 2, inner, &r);
    }

    step = plan_step(p, MIM_STEP_MLP);
    step->activation = k->activation;
    add_norm(p, step, &b[NORM2], dim, k->eps);
    if (k->gated)
        add_gated(p, step, k, b);
    else
        add_linear(p, step, 1, &b[FC1], NULL);
    add_linear(p, step, 2, &b[FC2], b[SCALE2].weight);
    if (b[MLP_NORM].weight) {
        rows r = norm_rows(&b[MLP_NORM]);
        plan_plain(p, step, 3, 2, k->hidden, &r);
    }
}

static void add_positions(plan *p, mim_blob_step *step, unsigned slot, const tensor *table, uint32_t prefix, uint32_t dim)
{
    rows r = { .kind = ROWS_POSITIONS };
    r.part[0].weight = table;
    r.first[0] = prefix;
    plan_plain(p, step, slot, step->stored_height * step->stored_width, dim, &r);
}

static int check_heads(const checkpoint *cp, const char *what, uint32_t inner, uint32_t heads)
{
    if (heads == 0 || inner % heads)
        return fail("%s: %s of %" PRIu32 " cannot have %" PRIu32 " heads", cp->path, what, inner, heads);
    if (heads > MIM_MAX_HEADS || inner / heads > MIM_MAX_HEAD_DIM || heads * round_up(inner / heads, 16) > MIM_MAX_HIDDEN)
        return fail("%s: %" PRIu32 " heads of %" PRIu32 " are beyond mim's limits (%u heads, %u wide)", cp->path,
                    heads, inner / heads, MIM_MAX_HEADS, MIM_MAX_HEAD_DIM);
    return 0;
}

static int build_decoder(plan *p, const vit *model, const checkpoint *cp, const measures *m, const settings *s)
{
    const part *top = model->top;
    uint32_t patches = (uint32_t)(s->grid_height.value * s->grid_width.value), prefix = m->has_cls + m->registers;
    uint32_t heads = (uint32_t)s->decoder_heads.value, table_prefix = m->decoder_position_rows - patches;
    if (m->decoder_position_rows < patches || (table_prefix && table_prefix != prefix))
        return fail("%s: the decoder has %" PRIu32 " positions for %" PRIu32 " patches", cp->path,
                    m->decoder_position_rows, patches);
    if (s->image_height.value != s->grid_height.value * m->patch_height ||
        s->image_width.value != s->grid_width.value * m->patch_width)
        return fail("%s: the decoder's positions are for images of %" PRIu32 "x%" PRIu32
                    " only; leave out --image-size or --keep-decoder",
                    cp->path, (uint32_t)s->grid_height.value * m->patch_height, (uint32_t)s->grid_width.value * m->patch_width);
    if (check_heads(cp, "a decoder attention width", m->decoder_inner, heads))
        return 1;

    mim_blob_step *step = plan_step(p, MIM_STEP_UNMASK);
    rows mask = { .kind = ROWS_POSITIONS };
    mask.part[0].weight = top[MASK_TOKEN].weight;
    add_linear(p, step, 0, &top[DECODER_EMBED], NULL);
    plan_plain(p, step, 1, 1, m->decoder_dim, &mask);
    step->rule = MIM_POSITIONS_FIXED;
    step->stored_frames = 1;
    step->stored_height = (uint32_t)s->grid_height.value;
    step->stored_width = (uint32_t)s->grid_width.value;
    if (table_prefix) {
        mask.part[0].weight = top[DECODER_POSITIONS].weight;
        plan_plain(p, step, 2, prefix, m->decoder_dim, &mask);
    }
    add_positions(p, step, 3, top[DECODER_POSITIONS].weight, table_prefix, m->decoder_dim);
    stack blocks = { .dim = m->decoder_dim, .inner = m->decoder_inner, .hidden = m->decoder_hidden, .heads = heads,
                     .gated = m->decoder_gated, .activation = (uint32_t)s->activation.value, .eps = (float)s->eps.value };
    for (uint32_t i = 0; i < model->decoder_depth; i++)
        add_block(p, model->decoder[i], &blocks);
    add_norm(p, plan_step(p, MIM_STEP_NORM), &top[DECODER_NORM], m->decoder_dim, (float)s->eps.value);
    add_linear(p, plan_step(p, MIM_STEP_PREDICT), 0, &top[DECODER_PREDICT], NULL);
    p->header.decoder_dim = m->decoder_dim;
    p->header.norm_pix = s->norm_pix.value != 0;
    return 0;
}

int build(plan *p, const vit *model, const checkpoint *cp, const measures *m, const settings *s, uint32_t type)
{
    const part *top = model->top;
    uint32_t heads = (uint32_t)s->heads.value, prefix = m->has_cls + m->registers, pool = (uint32_t)s->pool.value;
    float eps = (float)s->eps.value;
    mim_blob_header *h = &p->header;
    memset(p, 0, sizeof *p);
    p->path = cp->path;
    if (check_heads(cp, "an attention width", m->inner, heads))
        return 1;
    if (m->bias_rows && heads != m->heads)
        return fail("%s: its relative position bias has %" PRIu32 " heads, not %" PRIu32 " (%s)", cp->path, m->heads, heads,
                    s->heads.from);
    if (s->rotary.value > 0 && m->inner / heads % 4)
        return fail("%s: heads of %" PRIu32 " cannot have rotary positions in two directions; give --heads", cp->path,
                    m->inner / heads);
    if (top[PERIODS].weight && top[PERIODS].weight->count != m->inner / heads / 4)
        return fail("%s: '%s' is for heads of %" PRIu64 ", not of %" PRIu32 " (%s)", cp->path, top[PERIODS].weight->name,
                    top[PERIODS].weight->count * 4, m->inner / heads, s->heads.from);
    if (!(eps > 0) || !isfinite(eps))
        return fail("%s: epsilon of the norms is %g; it must be a positive f32", cp->path, s->eps.value);
    if ((pool == MIM_POOL_CLS || pool == MIM_POOL_CLS_MEAN) && !m->has_cls)
        return fail("%s: has no CLS token to pool (%s)", cp->path, s->pool.from);
    uint32_t pooled_dim = pool == MIM_POOL_CLS_MEAN ? 2 * m->dim : m->dim;
    if (m->head_columns && m->head_columns != pooled_dim)
        return fail("%s: '%s' takes %" PRIu32 " numbers, the pooled feature has %" PRIu32 " (pooling by %s); give --pool",
                    cp->path, top[HEAD].weight->name, m->head_columns, pooled_dim, s->pool.from);
    if (top[POOL_NORM].weight && pooled_dim != m->dim)
        return fail("%s: '%s' does not fit a pooled feature of %" PRIu32 "; give --pool", cp->path,
                    top[POOL_NORM].weight->name, pooled_dim);

    h->type = type;
    h->numerics = MIM_NUMERICS_FLOAT;
    h->channels = m->channels;
    h->image_height = (uint32_t)s->image_height.value;
    h->image_width = (uint32_t)s->image_width.value;
    h->patch_height = m->patch_height;
    h->patch_width = m->patch_width;
    h->frames = h->patch_frames = h->groups = h->unit_height = h->unit_width = 1;
    h->dim = m->dim;
    h->depth = model->depth;
    h->has_cls = m->has_cls;
    h->registers = m->registers;
    h->pooled_dim = pooled_dim;
    h->classes = m->classes;
    h->resize = (uint32_t)s->resize.value;
    h->resize_filter = (uint32_t)s->filter.value;
    if (h->resize == MIM_RESIZE_SHORT_EDGE) {
        uint32_t shorter = h->image_height < h->image_width ? h->image_height : h->image_width;
        double edge = floor(shorter * s->edge_over.value / s->edge_under.value);
        if (!(edge >= shorter && edge <= MIM_MAX_IMAGE))
            return fail("%s: resizing the short edge to %.0f leaves no %" PRIu32 "x%" PRIu32 " middle (%s); give --resize",
                        cp->path, edge, h->image_height, h->image_width, s->edge_over.from);
        h->resize_edge = (uint32_t)edge;
    }
    memcpy(h->mean, s->mean, sizeof h->mean);
    memcpy(h->std, s->std, sizeof h->std);
    h->parameters = m->parameters;
    memcpy(h->name, s->name, sizeof h->name);
    snprintf(h->family, sizeof h->family, "%s", model->family->name);
    memcpy(h->method, s->method, sizeof h->method);
    memcpy(h->source, s->source, sizeof h->source);
    memcpy(h->licence, s->licence, sizeof h->licence);

    mim_blob_step *step = plan_step(p, MIM_STEP_EMBED);
    add_linear(p, step, 0, &top[PATCH], NULL);
    if (prefix) {
        rows tokens = { .kind = ROWS_TOKENS };
        tokens.part[0] = top[CLS];
        tokens.part[1] = top[REGISTERS];
        tokens.part[2] = top[POSITIONS];
        tokens.first[2] = s->position_prefix;
        plan_plain(p, step, 1, prefix, m->dim, &tokens);
    }
    step->rule = (uint32_t)s->positions.value;
    step->kernel_height = (uint16_t)m->patch_height;
    step->kernel_width = (uint16_t)m->patch_width;
    if (top[POSITIONS].weight) {
        step->stored_frames = 1;
        step->stored_height = (uint32_t)s->grid_height.value;
        step->stored_width = (uint32_t)s->grid_width.value;
    }
    step->position_offset = (float)s->position_offset.value;
    if (top[POSITIONS].weight)
        add_positions(p, step, 2, top[POSITIONS].weight, s->position_prefix, m->dim);
    stack blocks = { .dim = m->dim, .inner = m->inner, .hidden = m->hidden, .heads = heads, .gated = m->gated,
                     .activation = (uint32_t)s->activation.value, .eps = eps, .top = top, .s = s, .bias_rows = m->bias_rows };
    for (uint32_t i = 0; i < model->depth; i++) {
        add_block(p, model->block[i], &blocks);
        p->steps[h->step_count - 1].flags |= MIM_STEP_TAP;
    }
    if (top[NORM].weight)
        add_norm(p, plan_step(p, MIM_STEP_NORM), &top[NORM], m->dim, eps);
    step = plan_step(p, MIM_STEP_POOL);
    step->rule = pool;
    if (top[POOL_NORM].weight)
        add_norm(p, step, &top[POOL_NORM], pooled_dim, eps);
    if (top[HEAD].weight)
        add_linear(p, plan_step(p, MIM_STEP_HEAD), 0, &top[HEAD], NULL);
    h->decoder_step = h->step_count;
    return m->decoder_dim ? build_decoder(p, model, cp, m, s) : 0;
}
