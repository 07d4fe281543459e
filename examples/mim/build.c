/* build.c - see build.h. */
#include "made.h"
#include "build.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- shapes ---- */

int wrong_shape(const tensor *t, const char *expected)
{
    char shape[160];
    tensor_describe(t, shape, sizeof shape);
    return fail("%s: tensor '%s' is %s; %s was expected", t->file, t->name, shape, expected);
}

int within(const checkpoint *cp, const char *what, uint64_t value, uint64_t limit)
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

int is_vector(const tensor *t, uint64_t length)
{
    char expected[32];
    if (!t || (t->rank == 1 && t->shape[0] == length))
        return 0;
    if (t->rank == 4 && t->shape[1] == length && t->count == length)      /* [1, D, 1, 1], as dinov2.cpp keeps a bias */
        return 0;
    snprintf(expected, sizeof expected, "[%" PRIu64 "]", length);
    return wrong_shape(t, expected);
}

int is_linear(const part *p, uint64_t rows_expected, uint64_t columns)
{
    char expected[64];
    const tensor *t = p->weight;          /* or a convolution of single pixels */
    int flat = t->rank == 2 || (t->rank == 4 && t->shape[2] == 1 && t->shape[3] == 1);
    if (!flat || t->shape[0] != rows_expected || t->shape[1] != columns) {
        snprintf(expected, sizeof expected, "[%" PRIu64 ", %" PRIu64 "]", rows_expected, columns);
        return wrong_shape(t, expected);
    }
    return is_vector(p->bias, rows_expected);
}

int is_norm(const part *p, uint64_t length) { return is_vector(p->weight, length) || is_vector(p->bias, length); }

/* like: another block of the same kind and widths, or NULL. widens: without a shortcut, too, its attention may make tokens
 * twice as wide. */
static int measure_block(const checkpoint *cp, const part *b, uint32_t dim, const block_measure *like, int widens, block_measure *m)
{
    const tensor *q = b[QKV].weight ? b[QKV].weight : b[QUERY].weight, *fc1 = b[GATE].weight ? b[GATE].weight : b[FC1].weight;
    uint32_t gate = is_gated(b) != 0, halves = gate && !b[GATE].weight ? 2 : 1;
    uint64_t thirds = b[QKV].weight ? 3 : 1;
    memset(m, 0, sizeof *m);
    m->dim = m->next = dim;
    if (q && (q->rank != 2 || q->shape[0] % thirds))
        return wrong_shape(q, b[QKV].weight ? "[3 * heads * width of a head, dim]" : "[heads * width of a head, dim]");
    if ((fc1->rank != 2 && fc1->rank != 4) || (b[FC2].weight->rank != 2 && b[FC2].weight->rank != 4))
        return wrong_shape(fc1->rank != 2 ? fc1 : b[FC2].weight, "[hidden, dim]");
    uint64_t units = fc1->shape[0] / halves;
    if (like) {
        m->inner = like->inner;
        m->hidden = like->hidden;
    } else {
        if ((q && within(cp, "the attention's width", q->shape[0] / thirds, MIM_MAX_HIDDEN)) ||
            within(cp, "the hidden width of the MLP", units, MIM_MAX_HIDDEN))
            return 1;
        m->inner = q ? (uint32_t)(q->shape[0] / thirds) : 0;
        m->hidden = (uint32_t)units;
    }
    m->gated = gate;
    if (like && gate != like->gated)
        return fail("%s: only some of its blocks have a gated MLP ('%s')", cp->path, fc1->name);
    if (b[QKV].weight) {
        if (is_linear(&b[QKV], (uint64_t)m->inner * 3, dim) || is_vector(b[QUERY].bias, m->inner) ||
            is_vector(b[KEY].bias, m->inner) || is_vector(b[VALUE].bias, m->inner))
            return 1;
    } else if (q && (is_linear(&b[QUERY], m->inner, dim) ||
                     (b[KEY_VALUE].weight ? is_linear(&b[KEY_VALUE], (uint64_t)m->inner * 2, dim)
                                          : is_linear(&b[KEY], m->inner, dim) || is_linear(&b[VALUE], m->inner, dim)))) {
        return 1;
    }
    if (q && b[PROJ].weight->rank == 2 && (b[SHORTCUT].weight || (widens && b[PROJ].weight->shape[0] == 2 * (uint64_t)dim))) {
        if (within(cp, "the width of a stage", b[PROJ].weight->shape[0], MIM_MAX_DIM))
            return 1;
        m->next = (uint32_t)b[PROJ].weight->shape[0];
    }
    m->last = m->next;
    if (b[MLP_SHORTCUT].weight) {
        if (within(cp, "the width of a stage", b[FC2].weight->shape[0], MIM_MAX_DIM))
            return 1;
        m->last = (uint32_t)b[FC2].weight->shape[0];
    }
    if (b[GATE].weight ? is_linear(&b[GATE], m->hidden, m->next) || is_linear(&b[UP], m->hidden, m->next)
                       : is_linear(&b[FC1], (uint64_t)m->hidden * halves, m->next))
        return 1;
    if (q && (is_norm(&b[NORM1], dim) || is_norm(&b[ATTENTION_NORM], m->inner) || is_linear(&b[PROJ], m->next, m->inner) ||
              is_vector(b[SCALE1].weight, m->next) || (b[SHORTCUT].weight && is_linear(&b[SHORTCUT], m->next, dim))))
        return 1;
    return is_norm(&b[NORM2], m->next) || is_norm(&b[MLP_NORM], m->hidden) || is_linear(&b[FC2], m->last, m->hidden) ||
           is_vector(b[SCALE2].weight, m->last) || (b[MLP_SHORTCUT].weight && is_linear(&b[MLP_SHORTCUT], m->last, m->next));
}

/* Patches of one picture, of several frames, of groups of channels; or none. Sets dim. */
static int measure_patches(measures *m, const vit *model, const checkpoint *cp)
{
    const part *top = model->top;
    const tensor *patch = top[PATCH].weight;
    const enum made made = family_scheme(model->family)->made;
    const int video = made == MADE_NUMBER_WAVES || made == MADE_FRAME_WAVES || made == MADE_TURNS || model->layout.frame_stride;
    const uint32_t rank = video ? 5 : 4;
    m->patch_frames = m->kernel_frames = m->patch_height = m->patch_width = m->kernel_height = m->kernel_width = m->channels = m->groups = 1;
    if (made == MADE_VECTORS) {
        if (patch->rank < 2 || within(cp, "dim", patch->shape[0], MIM_MAX_DIM))
            return patch->rank < 2 ? wrong_shape(patch, "[dim, ...]") : 1;
        m->dim = (uint32_t)patch->shape[0];
        return 0;
    }
    if (patch->rank != rank)
        return wrong_shape(patch, video ? "[dim, channels, frames, height, width]" : patch->rank == 5 ?
                           "[dim, channels, height, width] (for a video give another --family)" : "[dim, channels, height, width]");
    const uint64_t *size = patch->shape + rank - 2;
    uint64_t frames = video ? patch->shape[2] : 1;
    if (within(cp, "dim", patch->shape[0], MIM_MAX_DIM) ||
        within(cp, "the number of channels", patch->shape[1], MIM_MAX_CHANNELS) ||
        within(cp, "the patch's frames", frames, MIM_MAX_PATCH_FRAMES) ||
        within(cp, "the patch's height", size[0], MIM_MAX_PATCH) ||
        within(cp, "the patch's width", size[1], MIM_MAX_PATCH))
        return 1;
    m->dim = (uint32_t)patch->shape[0];
    m->channels = (uint32_t)patch->shape[1];
    m->patch_frames = m->kernel_frames = (uint32_t)frames;
    m->patch_height = (uint32_t)size[0];
    m->patch_width = (uint32_t)size[1];
    if (made == MADE_GROUPS) {
        m->channels = m->groups = 0;
        for (uint32_t g = 0; g < MIM_MAX_GROUPS && model->group[g].weight; g++, m->groups++) {
            const part *p = &model->group[g];
            char expected[96];
            snprintf(expected, sizeof expected, "[%" PRIu32 ", channels, %" PRIu32 ", %" PRIu32 "]", m->dim, m->patch_height,
                     m->patch_width);
            if (p->weight->rank != 4 || p->weight->shape[0] != m->dim || p->weight->shape[2] != m->patch_height ||
                p->weight->shape[3] != m->patch_width)
                return wrong_shape(p->weight, expected);
            if (is_vector(p->bias, m->dim) ||
                within(cp, "the number of channels", p->weight->shape[1] + m->channels, MIM_MAX_CHANNELS))
                return 1;
            m->group_channels[g] = (uint32_t)p->weight->shape[1];
            m->channels += m->group_channels[g];
        }
    }
    m->kernel_height = m->patch_height;
    m->kernel_width = m->patch_width;
    if (model->layout.stride) {
        m->patch_height = m->patch_width = model->layout.stride;
        if (m->kernel_height < m->patch_height || m->kernel_width < m->patch_width || m->kernel_height % 2 == 0 || m->kernel_width % 2 == 0)
            return wrong_shape(patch, "[dim, channels, k, k] with an odd k of more than the stride");
    }
    if (model->layout.frame_stride) {                 /* half of them, rounded down, lie before its own */
        m->patch_frames = model->layout.frame_stride;
        if (m->kernel_frames < m->patch_frames || m->kernel_frames - m->patch_frames != m->kernel_frames / 2)
            return wrong_shape(patch, "[dim, channels, 3, height, width]");
    }
    return within(cp, "the size of a patch", (uint64_t)m->channels * frames * size[0] * size[1], MIM_MAX_COLUMNS) ||
           is_vector(top[PATCH].bias, m->dim) || (top[PATCH_NORM].weight && is_norm(&top[PATCH_NORM], m->dim));
}

/* How much of dim the stored positions have: what is made fills the rest. */
static int measure_width(measures *m, const vit *model, uint32_t *width)
{
    const tensor *positions = model->top[POSITIONS].weight, *embed = model->top[CHANNEL_EMBED].weight, *cls = model->top[CHANNEL_CLS].weight;
    *width = m->dim;
    switch (family_scheme(model->family)->made) {
    case MADE_DATE_WAVES: {
        uint64_t wide = positions && positions->rank ? positions->shape[positions->rank - 1] : 0;
        if (!positions || wide >= m->dim || (m->dim - wide) % 6)
            return wrong_shape(positions ? positions : model->top[PATCH].weight,
                               "a table of positions that leaves room for year, month and hour");
        *width = (uint32_t)wide;
        m->clock = (m->dim - *width) / 3;
        m->coordinates = 3;
        return 0;
    }
    case MADE_GROUPS:
        if (embed->rank < 1 || embed->shape[embed->rank - 1] >= m->dim || is_rows(embed, m->groups, (uint32_t)embed->shape[embed->rank - 1]))
            return embed->rank < 1 || embed->shape[embed->rank - 1] >= m->dim ? wrong_shape(embed, "[1, groups, less than dim]") : 1;
        *width = m->dim - (uint32_t)embed->shape[embed->rank - 1];
        return cls && is_rows(cls, 1, m->dim - *width);
    case MADE_FRAME_WAVES: {
        const tensor *scales[2] = { model->top[TIME_SCALE].weight, model->top[PLACE_SCALE].weight };
        if (m->dim % 16)
            return wrong_shape(model->top[PATCH].weight, "a projection to a multiple of 16, which these positions need");
        for (size_t i = 0; i < 2; i++)
            if (scales[i] && is_vector(scales[i], 1))
                return 1;
        m->coordinates = scales[0] || scales[1] ? 4 : 0;
        if (m->coordinates && m->patch_frames != 1)
            return wrong_shape(model->top[PATCH].weight, "a projection of single frames, which each have a date");
        return 0;
    }
    default:
        return 0;
    }
}

static int measure_vectors(measures *m, const vit *model, const checkpoint *cp)
{
    const vector_row *rows_of = family_vectors(model->family);
    uint64_t count = 0;
    for (uint32_t i = 0; rows_of && rows_of[i].name; i++) {
        const tensor *t = model->vectors[i];
        uint32_t room = m->dim - m->dim * rows_of[i].quarter / 4;
        if (t->rank < 1 || t->count == 0 || (rows_of[i].columns ? t->rank < 2 || t->shape[0] != m->dim : t->shape[t->rank - 1] > room))
            return wrong_shape(t, rows_of[i].columns ? "[dim, ...]" : "rows of at most dim");
        count += made_vectors(&rows_of[i], t);
        m->parameters += t->count;
    }
    if (rows_of && (m->dim % 4 || within(cp, "the number of vectors", count, MIM_MAX_ROWS)))
        return m->dim % 4 ? wrong_shape(model->top[PATCH].weight, "a width of a multiple of 4") : 1;
    m->vectors = (uint32_t)count;
    return 0;
}

/* All blocks, and what stands between them: the width of the tokens from one to the next. */
static int measure_blocks(measures *m, const vit *model, const checkpoint *cp)
{
    uint32_t dim = m->embed_dim, cells = 1;
    const block_measure *like = NULL;
    for (uint32_t i = 0; i < model->depth; i++) {
        const part *b = model->block[i], *before = model->stage[model->stage_of[i]];
        block_measure *w = &m->block[i];
        int begins = i && model->stage_of[i] != model->stage_of[i - 1];
        uint32_t cell = 1;
        like = begins ? NULL : like;
        if ((begins && before[MERGE].weight && measure_merge(cp, &model->layout, before, dim, &dim, &cell)) ||
            (is_merging(b) && measure_merge(cp, &model->layout, b, dim, &dim, &cell)))
            return 1;
        cells = cells * cell > MIM_MAX_IMAGE ? MIM_MAX_IMAGE : cells * cell;
        if (is_merging(b)) {
            w->dim = w->next = w->last = dim;
            continue;
        }
        if (measure_block(cp, b, dim, like, model->layout.pools != 0, w) || measure_extras(m, model, cp, i))
            return 1;
        if (w->inner && !m->inner) {
            m->inner = w->inner;
            m->heads = w->heads;
        }
        m->hidden = w->hidden;
        m->gated |= w->gated;
        dim = w->last;
        like = w;
    }
    m->width = dim;
    m->cell_height = m->patch_height * cells;
    m->cell_width = m->patch_width * cells;
    return measure_ends(m, model, cp);
}

/* The table of positions, [1, rows, D] or [1, height, width, D]; inside: [1, D, height, width]. */
static int measure_positions(const checkpoint *cp, const tensor *t, uint32_t dim, int inside, uint32_t *count, uint32_t *height,
                             uint32_t *width)
{
    if (!t)
        return 0;
    if (t->rank < (inside ? 4 : 2) || t->rank > 4 || t->shape[inside ? 1 : t->rank - 1] != dim || (t->rank > 2 && t->shape[0] != 1))
        return wrong_shape(t, inside ? "[1, dim, height, width]" : "[1, positions, dim]");
    uint64_t n = t->shape[inside ? 3 : t->rank - 2];
    if (within(cp, "the number of positions", n, MIM_MAX_TOKENS))
        return 1;
    if (t->rank == 4) {
        uint64_t high = t->shape[inside ? 2 : 1];
        if (within(cp, "the number of rows of positions", high, MIM_MAX_TOKENS) ||
            within(cp, "the number of positions", high * n, MIM_MAX_TOKENS))
            return 1;
        *height = (uint32_t)high;
        *width = (uint32_t)n;
        n *= high;
    }
    *count = (uint32_t)n;
    return 0;
}

/* Positions of an encoder: added to the tokens as embedded, or, where they are as wide as the last stage's, before that. */
/* `wide`: that of positions at the embedding. */
static int measure_encoder_positions(measures *m, const vit *model, const checkpoint *cp, uint32_t wide)
{
    const tensor *t = model->top[POSITIONS].weight, *unit = model->top[UNIT_POSITIONS].weight;
    int merges = model->stage[1][MERGE].weight != NULL;
    for (uint32_t i = 0; i < model->depth; i++)
        merges |= is_merging(model->block[i]);
    m->positions_last = t && merges && t->rank >= 1 && t->shape[t->rank - 1] == m->width && m->width != m->embed_dim;
    if (unit) {
        uint32_t count, height = 0, width = 0;
        if (!t)
            return fail("%s: '%s' has no pos_embed beside it", cp->path, unit->name);
        if (measure_positions(cp, unit, m->embed_dim, 1, &count, &height, &width))
            return 1;
        if (height != width || height != m->unit)
            return wrong_shape(unit, "[1, dim, side, side] of a mask unit");
        m->unit_positions = height;
    }
    if (measure_positions(cp, t, m->positions_last ? m->width : wide, unit != NULL, &m->position_rows, &m->grid_height,
                          &m->grid_width))
        return 1;
    if (model->top[FRAME_POSITIONS].weight) {
        const tensor *frames = model->top[FRAME_POSITIONS].weight;
        if (frames->rank < 2 || within(cp, "the number of frames", frames->shape[frames->rank - 2], MIM_MAX_FRAMES / m->patch_frames))
            return frames->rank < 2 ? wrong_shape(frames, "[1, frames, dim]") : 1;
        m->frame_positions = (uint32_t)frames->shape[frames->rank - 2];
        if (is_rows(frames, m->frame_positions, m->embed_dim) ||
            within(cp, "the number of positions", (uint64_t)m->frame_positions * m->position_rows, MIM_MAX_TOKENS))
            return 1;
    }
    if (model->top[MERGE_LINEAR].weight && !m->positions_last)
        return fail("%s: '%s' needs positions as wide as the last stage beside it", cp->path, model->top[MERGE_LINEAR].weight->name);
    if (t && !m->positions_last) {
        m->cell_height = m->patch_height;
        m->cell_width = m->patch_width;
    }
    return 0;
}

/* Tables of relative positions, [positions, heads]: of all blocks, and one for each. */
static int measure_bias(measures *m, const vit *model, const checkpoint *cp)
{
    for (uint32_t i = 0; i <= model->depth && !model->layout.window; i++) {
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
    block_measure first, block;
    if (vit_check_decoder(model, cp))
        return 1;
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
    uint64_t pixels = (uint64_t)m->patch_height * m->patch_width * m->channels;
    const tensor *predict = top[DECODER_PREDICT].weight;
    if (predict->rank == 2 && predict->shape[0] != pixels && predict->shape[1] == m->decoder_dim)
        return fail("%s: '%s' gives %" PRIu64 " numbers for each patch, not its %" PRIu64 " pixels, and only the decoders of plain MAEs "
                    "can be kept; leave out --keep-decoder", cp->path, predict->name, predict->shape[0], pixels);
    if (is_linear(&top[DECODER_EMBED], m->decoder_dim, m->dim) || is_rows(top[MASK_TOKEN].weight, 1, m->decoder_dim) ||
        measure_positions(cp, top[DECODER_POSITIONS].weight, m->decoder_dim, 0, &m->decoder_position_rows, &no_height, &no_width) ||
        is_norm(&top[DECODER_NORM], m->decoder_dim) ||
        is_linear(&top[DECODER_PREDICT], pixels, m->decoder_dim))
        return 1;
    for (uint32_t i = 0; i < model->decoder_depth; i++) {
        if (model->decoder[i][RELATIVE_BIAS].weight)
            return fail("%s: '%s' is of a decoder: not available in this version", cp->path,
                        model->decoder[i][RELATIVE_BIAS].weight->name);
        if (measure_block(cp, model->decoder[i], m->decoder_dim, i ? &first : NULL, 0, i ? &block : &first))
            return 1;
    }
    m->decoder_inner = first.inner;
    m->decoder_hidden = first.hidden;
    m->decoder_gated = first.gated;
    if (m->gated != m->decoder_gated)
        return fail("%s: a decoder whose MLP is %s under an encoder whose is %s is not available in this version", cp->path,
                    m->decoder_gated ? "gated" : "plain", m->gated ? "gated" : "plain");
    return 0;
}

int measure(measures *m, const vit *model, const checkpoint *cp, int keep_decoder)
{
    const part *top = model->top;
    const tensor *registers = top[REGISTERS].weight;
    uint32_t width;
    memset(m, 0, sizeof *m);
    if (measure_patches(m, model, cp) || measure_width(m, model, &width) || measure_vectors(m, model, cp))
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
    m->embed_dim = m->dim;
    if (measure_blocks(m, model, cp) || measure_encoder_positions(m, model, cp, width))
        return 1;
    if (measure_bias(m, model, cp) || measure_rotary(m, model, cp))
        return 1;
    const tensor *query_norm = model->block[0][QUERY_NORM].weight;      /* as wide as a head */
    if (query_norm && query_norm->count && m->inner % query_norm->count == 0)
        m->heads = (uint32_t)(m->inner / query_norm->count);
    if ((top[NORM].weight && is_norm(&top[NORM], m->dim)) || (top[POOL_NORM].weight && is_norm(&top[POOL_NORM], m->dim)) ||
        (top[PRE_NORM].weight && is_norm(&top[PRE_NORM], m->embed_dim)))
        return 1;
    if (top[HEAD].weight || top[PROJECTION].weight) {
        const tensor *head = top[HEAD].weight ? top[HEAD].weight : top[PROJECTION].weight;
        const uint32_t rows_at = head == top[PROJECTION].weight, columns_at = !rows_at;
        if (head->rank != 2)
            return wrong_shape(head, "[classes, width]");
        if (within(cp, "the number of classes", head->shape[rows_at], MIM_MAX_CLASSES))
            return 1;
        if (head->shape[columns_at] != m->dim && head->shape[columns_at] != 2 * (uint64_t)m->dim)
            return wrong_shape(head, rows_at ? "[dim, width of the projection]" : "[classes, dim or 2 * dim]");
        m->classes = (uint32_t)head->shape[rows_at];
        m->head_columns = (uint32_t)head->shape[columns_at];
        if (is_vector(top[HEAD].bias, m->classes))
            return 1;
    }
    if (keep_decoder && measure_decoder(m, model, cp))
        return 1;

    for (uint32_t role = 0; role < ROLE_COUNT; role++) {
        int encoder = (role == PATCH && m->groups == 1 && !m->vectors) || role == CHANNEL_EMBED || role == CHANNEL_CLS || role == CLS ||
                      role == REGISTERS || role == POSITIONS || role == FRAME_POSITIONS || role == NORM || role == POOL_NORM || role == RELATIVE_BIAS ||
                      (role >= PATCH_NORM && role <= FUSE);
        if (encoder && top[role].weight)
            m->parameters += top[role].weight->count + (top[role].bias ? top[role].bias->count : 0);
        for (uint32_t i = 0; i < model->depth + STAGES_MAX && role != QKV_MASK && role != COORDINATES && role != WINDOW_MASK; i++) {
            const part *p = i < model->depth ? &model->block[i][role] : &model->stage[i - model->depth][role];
            m->parameters += (p->weight ? p->weight->count : 0) + (p->bias ? p->bias->count : 0);
        }
    }
    for (uint32_t g = 0; g < m->groups && m->groups > 1; g++)
        m->parameters += model->group[g].weight->count + (model->group[g].bias ? model->group[g].bias->count : 0);
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

/* What the blocks of an encoder, or of a decoder, have in common; those of a pyramid, stage by stage. */
typedef struct stack {
    uint32_t dim, next, inner, hidden, heads, gated, activation;      /* next: a token's width after the attention */
    uint16_t post_norm;
    float eps;
    const part *top;                      /* of an encoder: where its shared tables are; NULL: a decoder, it has none */
    enum made made;
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
        if (k->made == MADE_TURNS) {
            r.kind = ROWS_MADE;
            r.made = MADE_TURNS;
        }
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
    plan_matrix(p, step, 1, 2 * round_up(k->hidden, 16), k->next, &r);
}

static mim_blob_step *add_attention(plan *p, const part *b, stack *k, int positions)
{
    uint32_t dim = k->dim, inner = k->inner, heads = k->heads, head_dim = inner / heads, padded = round_up(head_dim, 16);
    mim_blob_step *step = plan_step(p, MIM_STEP_ATTENTION);
    step->heads = heads;
    step->head_dim = head_dim;
    step->scale = (float)(1.0 / sqrt((double)head_dim));
    step->key_max = step->value_max = p->kind.input_max ? PACK_ATTENTION_MAX : 0;
    add_norm(p, step, &b[NORM1], k->post_norm ? k->next : dim, k->eps);
    step->flags |= k->post_norm;

    rows qkv = { .kind = ROWS_QKV, .heads = heads, .head_dim = head_dim };
    for (uint32_t i = 0; i < 3; i++) {
        qkv.part[i] = b[QUERY + i];
        if (b[QKV].weight) {
            qkv.part[i].weight = b[QKV].weight;
            qkv.first[i] = (uint64_t)inner * i;
            if (b[QKV].bias)
                qkv.part[i].bias = b[QKV].bias;
        } else if (i && b[KEY_VALUE].weight) {
            qkv.part[i] = b[KEY_VALUE];
            qkv.first[i] = (uint64_t)inner * (i - 1);
        }
    }
    if (b[QKV_MASK].weight)               /* it is 1 for queries and values and 0 for keys, whatever the file holds */
        qkv.part[1].bias = NULL;
    plan_matrix(p, step, 1, heads * 3 * padded, dim, &qkv);
    rows proj = linear_rows(&b[PROJ], b[SCALE1].weight);
    plan_matrix(p, step, 2, k->next, heads * head_dim, &proj);
    if (k->top && positions)
        add_attention_positions(p, step, k, b);
    if (b[ATTENTION_NORM].weight) {
        rows r = norm_rows(&b[ATTENTION_NORM]);
        plan_plain(p, step, 5, 2, inner, &r);
    }
    if (b[QUERY_NORM].weight) {
        rows r = { .kind = ROWS_NORMS };
        r.part[0] = b[QUERY_NORM];
        r.part[1] = b[KEY_NORM];
        step->qk_norm = MIM_QK_LAYER_NORM;
        plan_plain(p, step, 6, 4, head_dim, &r);
    }
    return step;
}

static mim_blob_step *add_mlp(plan *p, const part *b, const stack *k)
{
    mim_blob_step *step = plan_step(p, MIM_STEP_MLP);
    step->activation = k->activation;
    add_norm(p, step, &b[NORM2], k->next, k->eps);
    step->flags |= k->post_norm;
    if (k->gated)
        add_gated(p, step, k, b);
    else
        add_linear(p, step, 1, &b[FC1], NULL);
    add_linear(p, step, 2, &b[FC2], b[SCALE2].weight);
    if (b[MLP_NORM].weight) {
        rows r = norm_rows(&b[MLP_NORM]);
        plan_plain(p, step, 3, 2, k->hidden, &r);
    }
    if (b[MLP_SHORTCUT].weight)
        add_linear(p, step, 5, &b[MLP_SHORTCUT], NULL);
    return step;
}

/* Positions on a grid, and how they go to others. */
void add_positions(plan *p, mim_blob_step *step, unsigned slot, const vit *model, const measures *m, const settings *s, uint32_t dim)
{
    rows r = { .kind = ROWS_POSITIONS, .cell_height = m->grid_height, .cell_width = m->grid_width,
               .order = m->unit_positions ? CELLS_INSIDE : CELLS_BY_ROW };
    r.part[0].weight = model->top[POSITIONS].weight;
    r.first[0] = s->position_prefix;
    step->rule = (uint32_t)s->positions.value;
    step->stored_frames = 1;
    step->stored_height = (uint32_t)s->grid_height.value;
    step->stored_width = (uint32_t)s->grid_width.value;
    step->position_offset = (float)s->position_offset.value;
    plan_plain(p, step, slot, step->stored_height * step->stored_width, dim, &r);
}

uint32_t heads_of(const vit *model, const measures *m, const settings *s, uint32_t i)
{
    const block_measure *w = &m->block[i];
    uint32_t stage = model->stage_of[i], first = (uint32_t)s->heads.value;
    if (w->heads || !w->inner)
        return w->heads;
    if (stage < s->stage_heads.count)
        return s->stage_heads.value[stage];
    return (uint32_t)((uint64_t)w->inner * first / m->inner);      /* heads are as wide in all stages */
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

/* Norms of queries and keys are as wide as a head, which the number of heads tells. */
static int check_qk_norms(const vit *model, uint32_t head_dim)
{
    for (uint32_t i = 0; i < model->depth; i++)
        if (is_norm(&model->block[i][QUERY_NORM], head_dim) || is_norm(&model->block[i][KEY_NORM], head_dim))
            return 1;
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
    mask.part[0].weight = top[DECODER_POSITIONS].weight;
    mask.first[0] = table_prefix;
    plan_plain(p, step, 3, patches, m->decoder_dim, &mask);
    stack blocks = { .dim = m->decoder_dim, .next = m->decoder_dim, .inner = m->decoder_inner, .hidden = m->decoder_hidden, .heads = heads,
                     .gated = m->decoder_gated, .activation = (uint32_t)s->activation.value, .eps = (float)s->eps.value };
    for (uint32_t i = 0; i < model->decoder_depth; i++) {
        add_attention(p, model->decoder[i], &blocks, 0);
        add_mlp(p, model->decoder[i], &blocks);
    }
    add_norm(p, plan_step(p, MIM_STEP_NORM), &top[DECODER_NORM], m->decoder_dim, (float)s->eps.value);
    add_linear(p, plan_step(p, MIM_STEP_PREDICT), 0, &top[DECODER_PREDICT], NULL);
    p->header.decoder_dim = m->decoder_dim;
    p->header.norm_pix = s->norm_pix.value != 0;
    return 0;
}

/* The blocks of the encoder, with what stands between their stages. */
static int build_blocks(plan *p, const vit *model, const checkpoint *cp, const measures *m, const settings *s)
{
    stack k = { .eps = block_eps(model, s), .top = model->top, .made = family_scheme(model->family)->made, .s = s,
                .bias_rows = m->bias_rows, .post_norm = model->layout.post_norm || model->family->arithmetic.post_norm ? MIM_STEP_POST_NORM : 0 };
    uint32_t dim = m->embed_dim;
    for (uint32_t i = 0; i < model->depth; i++) {
        const part *b = model->block[i];
        const block_measure *w = &m->block[i];
        uint32_t stage = model->stage_of[i];
        int begins = i && model->stage_of[i - 1] != stage, ends = i + 1 == model->depth || model->stage_of[i + 1] != stage;
        if (begins && model->stage[stage][MERGE].weight && add_merge(p, model, cp, m, s, stage, model->stage[stage], dim))
            return 1;
        if (is_merging(b)) {
            if (ends)
                return fail("%s: stage %" PRIu32 " has no blocks but '%s'", cp->path, stage, b[MERGE].weight->name);
            if (add_merge(p, model, cp, m, s, stage, b, dim))
                return 1;
            dim = w->last;
            continue;
        }
        k.dim = w->dim;
        k.next = w->next;
        k.inner = w->inner;
        k.hidden = w->hidden;
        k.gated = w->gated;
        k.activation = m->gated && !w->gated ? model->family->activation : (uint32_t)s->activation.value;
        k.heads = heads_of(model, m, s, i);
        if (b[DEPTHWISE].weight)
            add_convolutions(p, b, outer_eps(model, s), k.dim);
        if (w->inner && check_heads(cp, "an attention width", w->inner, k.heads))
            return 1;
        mim_blob_step *reduction = b[REDUCE].weight ? add_reduction(p, model, m, s, i) : NULL;
        mim_blob_step *attention = w->inner ? add_attention(p, b, &k, !model->layout.window) : NULL;
        if (reduction) {
            reduction->tensor[0] = attention->tensor[0];        /* one norm for both */
            attention->flags |= MIM_STEP_JOIN;
        }
        if (attention && add_extras(p, attention, model, cp, m, s, i))
            return 1;
        mim_blob_step *last = add_mlp(p, b, &k);
        if (b[DEPTHWISE].weight)
            last->eps = outer_eps(model, s);
        if ((begins || !i) && model->stage[stage][GRID_CONV].weight)
            last = add_grid_conv(p, &model->stage[stage][GRID_CONV], !model->layout.bare_grid_conv);
        if (ends || model->stages == 1) {             /* layers are stages, or else blocks */
            last->flags |= MIM_STEP_TAP;
            p->header.depth++;
        }
        dim = w->last;
        if (ends && model->stage[stage][FUSE].weight)
            add_fusion(p, &model->stage[stage][FUSE], dim);
    }
    return 0;
}

/* What a family makes besides, or instead of, the projection and the positions that the file holds. */
static void add_made(plan *p, mim_blob_step *step, const vit *model, const measures *m, const settings *s)
{
    const part *top = model->top;
    rows r = { .kind = ROWS_MADE, .made = family_scheme(model->family)->made, .of = model,
               .channel_group = s->channel_group, .channel_place = s->channel_place };
    uint32_t terms = 1;
    switch (r.made) {
    case MADE_GROUPS:
        plan_matrix(p, step, 0, m->groups * round_up(m->dim, 16), m->channels * m->patch_height * m->patch_width, &r);
        return;
    case MADE_VECTORS:
        plan_plain(p, step, 5, m->vectors, m->dim, &r);
        return;
    case MADE_FRAME_WAVES:
        r.places = 1;
        r.width = step->stored_width;
        plan_plain(p, step, 2, step->stored_height * step->stored_width, m->dim, &r);
        r.places = 0;
        r.part[0] = top[TIME_SCALE];
        r.part[1] = top[PLACE_SCALE];
        terms += (top[TIME_SCALE].weight ? 1u : 0u) + (top[PLACE_SCALE].weight ? 1u : 0u);
        break;
    case MADE_FRAME_SUMS:
        r.part[0] = top[POSITIONS];
        r.part[1] = top[FRAME_POSITIONS];
        r.width = m->position_rows;
        plan_plain(p, step, 2, m->frame_positions * m->position_rows, m->embed_dim, &r);
        return;
    case MADE_DATE_WAVES:
        r.width = m->clock;
        break;
    case MADE_NUMBER_WAVES:
        break;
    default:
        return;
    }
    plan_plain(p, step, 4, 5 * terms, m->dim, &r);
}

int build(plan *p, const vit *model, const checkpoint *cp, const measures *m, const settings *s, const number_kind *n)
{
    const part *top = model->top;
    const scheme *own = family_scheme(model->family);
    uint32_t heads = (uint32_t)s->heads.value, prefix = m->has_cls + m->registers, pool = (uint32_t)s->pool.value;
    float eps = (float)s->eps.value;
    mim_blob_header *h = &p->header;
    memset(p, 0, sizeof *p);
    p->path = cp->path;
    if (m->bias_rows && heads != m->heads)
        return fail("%s: its relative position bias has %" PRIu32 " heads, not %" PRIu32 " (%s)", cp->path, m->heads, heads,
                    s->heads.from);
    if (m->inner && check_heads(cp, "an attention width", m->inner, heads))
        return 1;
    if (own->made == MADE_TURNS && (m->inner / heads < 6 || m->inner / heads % 2))
        return fail("%s: heads of %" PRIu32 " cannot have rotary positions in three directions; give --heads", cp->path,
                    m->inner / heads);
    if (s->rotary.value > 0 && own->made != MADE_TURNS && m->inner / heads % 4)
        return fail("%s: heads of %" PRIu32 " cannot have rotary positions in two directions; give --heads", cp->path,
                    m->inner / heads);
    if (top[PERIODS].weight && top[PERIODS].weight->count != m->inner / heads / 4)
        return fail("%s: '%s' is for heads of %" PRIu64 ", not of %" PRIu32 " (%s)", cp->path, top[PERIODS].weight->name,
                    top[PERIODS].weight->count * 4, m->inner / heads, s->heads.from);
    if (model->family->arithmetic.post_norm && model->block[0][SCALE1].weight)
        return fail("%s: '%s' scales what a norm follows, which %s does not; give another --family", cp->path,
                    model->block[0][SCALE1].weight->name, model->family->name);
    if (model->block[0][QUERY_NORM].weight && check_qk_norms(model, m->inner / heads))
        return 1;
    if (!(eps > 0) || !isfinite(eps))
        return fail("%s: epsilon of the norms is %g; it must be a positive f32", cp->path, s->eps.value);
    if ((pool == MIM_POOL_CLS || pool == MIM_POOL_CLS_MEAN) && !m->has_cls)
        return fail("%s: has no CLS token to pool (%s)", cp->path, s->pool.from);
    uint32_t pooled_dim = pool == MIM_POOL_CLS_MEAN ? 2 * m->dim : m->dim;
    if (m->head_columns && m->head_columns != pooled_dim)
        return fail("%s: '%s' takes %" PRIu32 " numbers, the pooled feature has %" PRIu32 " (pooling by %s); give --pool",
                    cp->path, (top[HEAD].weight ? top[HEAD] : top[PROJECTION]).weight->name, m->head_columns, pooled_dim, s->pool.from);
    if (top[POOL_NORM].weight && pooled_dim != m->dim)
        return fail("%s: '%s' does not fit a pooled feature of %" PRIu32 "; give --pool", cp->path,
                    top[POOL_NORM].weight->name, pooled_dim);

    h->type = n->type;
    p->kind = *n;
    p->blocks = model->depth;
    h->numerics = MIM_NUMERICS_FLOAT;
    h->channels = m->channels;
    h->image_height = (uint32_t)s->image_height.value;
    h->image_width = (uint32_t)s->image_width.value;
    h->patch_height = m->patch_height;
    h->patch_width = m->patch_width;
    h->frames = (uint32_t)s->frames.value;
    h->patch_frames = m->patch_frames;
    h->groups = m->groups;
    h->coordinates = m->coordinates;
    h->unit_height = h->unit_width = m->unit;
    h->dim = m->dim;
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
    if (m->groups == 1 && !m->vectors)
        add_linear(p, step, 0, &top[PATCH], NULL);
    if (prefix) {
        rows tokens = { .kind = ROWS_TOKENS };
        tokens.part[0] = top[CLS];
        tokens.part[1] = top[REGISTERS];
        tokens.part[2] = top[POSITIONS];
        tokens.first[2] = s->position_prefix;
        tokens.tail = top[CHANNEL_CLS].weight;
        plan_plain(p, step, 1, prefix, m->embed_dim, &tokens);
    }
    step->kernel_height = (uint16_t)m->kernel_height;
    step->kernel_width = (uint16_t)m->kernel_width;
    step->padding_height = (uint16_t)(m->kernel_height > m->patch_height ? m->kernel_height / 2 : 0);
    step->padding_width = (uint16_t)(m->kernel_width > m->patch_width ? m->kernel_width / 2 : 0);
    step->padding_frames = (uint8_t)(m->kernel_frames - m->patch_frames);
    step->activation = model->layout.activation;
    step->rule = (uint32_t)s->positions.value;
    if (top[POSITIONS].weight && !m->positions_last && (own->made == MADE_FRAME_WAVES || own->made == MADE_FRAME_SUMS)) {
        step->stored_frames = m->frame_positions ? m->frame_positions : 1;
        step->stored_height = (uint32_t)s->grid_height.value;
        step->stored_width = (uint32_t)s->grid_width.value;
    } else if (top[POSITIONS].weight && !m->positions_last)
        add_positions(p, step, 2, model, m, s, m->embed_dim);
    else
        step->rule = MIM_POSITIONS_NONE;
    if (top[PATCH_NORM].weight) {
        rows r = norm_rows(&top[PATCH_NORM]);
        plan_plain(p, step, 3, 2, m->embed_dim, &r);
        step->eps = outer_eps(model, s);
    }
    add_made(p, step, model, m, s);
    if (m->unit_positions) {
        rows r = { .kind = ROWS_POSITIONS, .cell_height = m->unit_positions, .cell_width = m->unit_positions, .order = CELLS_INSIDE };
        r.part[0].weight = top[UNIT_POSITIONS].weight;
        plan_plain(p, step, 6, m->unit_positions * m->unit_positions, m->embed_dim, &r);
    }
    if (top[PRE_NORM].weight)
        add_norm(p, plan_step(p, MIM_STEP_NORM), &top[PRE_NORM], m->embed_dim, outer_eps(model, s));
    if (build_blocks(p, model, cp, m, s))
        return 1;
    add_neck(p, model, m, s);
    if (top[NORM].weight && !own->pool_first) {
        step = plan_step(p, MIM_STEP_NORM);
        add_norm(p, step, &top[NORM], m->dim, eps);
        step->flags |= model->stage[0][FUSE].weight ? MIM_STEP_JOIN : 0;
    }
    step = plan_step(p, MIM_STEP_POOL);
    step->rule = pool;
    if (top[POOL_NORM].weight)
        add_norm(p, step, &top[POOL_NORM], pooled_dim, own->pool_eps > 0 ? own->pool_eps : eps);
    if (top[NORM].weight && own->pool_first) {
        add_norm(p, step, &top[NORM], pooled_dim, eps);
        add_norm(p, plan_step(p, MIM_STEP_NORM), &top[NORM], m->dim, eps);
    }
    if (top[HEAD].weight)
        add_linear(p, plan_step(p, MIM_STEP_HEAD), 0, &top[HEAD], NULL);
    if (top[PROJECTION].weight) {
        rows r = { .kind = ROWS_COLUMNS, .part = { top[PROJECTION] } };
        plan_matrix(p, plan_step(p, MIM_STEP_HEAD), 0, m->classes, m->head_columns, &r);
    }
    h->decoder_step = h->step_count;
    return m->decoder_dim ? build_decoder(p, model, cp, m, s) : 0;
}
