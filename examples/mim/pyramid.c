/* pyramid.c - see build.h: windows of attention, stages that merge or thin out their tokens, necks.
 *
 * What a block is follows from its parts; what parts do not show is the family's layout, or settled beforehand. */
#include "build.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- shapes ---- */

/* A convolution's weights, [rows, channels, side, side], in videos [rows, channels, frames, side, side]. frames: 0: of pictures. */
static int is_convolution(const part *p, uint64_t rows_expected, uint64_t channels, uint64_t frames, uint64_t side)
{
    const tensor *t = p->weight;
    const uint32_t video = frames > 0;
    char expected[96], deep[24] = "";
    if (t->rank == 4 + video && t->shape[0] == rows_expected && t->shape[1] == channels && (!video || t->shape[2] == frames) &&
        t->shape[2 + video] == side && t->shape[3 + video] == side)
        return is_vector(p->bias, rows_expected);
    if (video)
        snprintf(deep, sizeof deep, "%" PRIu64 ", ", frames);
    snprintf(expected, sizeof expected, "[%" PRIu64 ", %" PRIu64 ", %s%" PRIu64 ", %" PRIu64 "]", rows_expected, channels, deep, side, side);
    return wrong_shape(t, expected);
}

/* The side of a square kernel, odd if it keeps the grid as it is. */
static int kernel_side(const tensor *t, int odd, uint32_t *side)
{
    uint32_t high = t->rank - 2, wide = t->rank - 1;
    if (t->rank < 4 || t->rank > 5 || t->shape[high] != t->shape[wide] || t->shape[wide] < 1 || t->shape[wide] > MIM_MAX_KERNEL ||
        (odd && t->shape[wide] % 2 == 0))
        return wrong_shape(t, odd ? "[rows, channels, k, k] with an odd k" : "[rows, channels, k, k]");
    *side = (uint32_t)t->shape[wide];
    return 0;
}

static uint64_t root_of(uint64_t n)
{
    uint64_t root = (uint64_t)sqrt((double)n);       /* n < 2^53 */
    return root * root == n ? root : 0;
}

/* How many heads so many columns make of a block's attention. */
static int set_heads(block_measure *m, const checkpoint *cp, const tensor *t, uint64_t heads)
{
    if (heads < 1 || heads > MIM_MAX_HEADS || m->inner % heads || (m->heads && m->heads != heads))
        return fail("%s: '%s' is not of the heads of an attention %" PRIu32 " wide", cp->path, t->name, m->inner);
    m->heads = (uint32_t)heads;
    return 0;
}

/* Windows that know nothing of distances: Twins'. */
static int has_plain_windows(const vit *model, const part *b)
{
    return model->layout.side && !b[RELATIVE_BIAS].weight && !b[BIAS_MLP1].weight;
}

/* A table of relative positions in windows, or what makes one. side: of those that make it without knowing their own; else 0. */
static int measure_window(block_measure *m, const checkpoint *cp, const part *b, uint32_t side)
{
    const tensor *table = b[RELATIVE_BIAS].weight, *scale = b[LOGIT_SCALE].weight;
    const part *mlp = &b[BIAS_MLP1], *out = &b[BIAS_MLP2];
    if (!table && !mlp->weight)
        return fail("%s: '%s' is of a block without relative positions, which its windows need", cp->path, b[PROJ].weight->name);
    if (table) {
        if (table->rank != 2)
            return wrong_shape(table, "[relative positions, heads]");
        return within(cp, "the number of relative positions", table->shape[0], MIM_MAX_COLUMNS) ||
               set_heads(m, cp, table, table->shape[1]);
    }
    if (!out->weight || (!scale && !side))
        return fail("%s: '%s' has no %s beside it", cp->path, mlp->weight->name, out->weight ? "logit_scale" : "second layer");
    if (scale && (scale->rank < 1 || scale->count != scale->shape[0]))
        return wrong_shape(scale, "[heads, 1, 1]");
    if (mlp->weight->rank < 2 || out->weight->rank < 2)
        return wrong_shape(mlp->weight->rank < 2 ? mlp->weight : out->weight, "[hidden, 2] and [heads, hidden]");
    if (scale && out->bias)
        return fail("%s: '%s' is of another kind of bias than '%s'", cp->path, out->bias->name, scale->name);
    return within(cp, "the hidden width of a relative position bias", mlp->weight->shape[0], MIM_MAX_HIDDEN) ||
           set_heads(m, cp, scale ? scale : out->weight, (scale ? scale : out->weight)->shape[0]) || is_linear(mlp, mlp->weight->shape[0], 2) ||
           is_linear(out, m->heads, mlp->weight->shape[0]);
}

/* Tables of relative positions along each axis, [distances, width of a head]. */
static int measure_axes(measures *m, block_measure *w, const checkpoint *cp, const part *b)
{
    uint32_t *const largest[] = { &m->axis_height, &m->axis_width, &m->axis_frames };
    for (uint32_t axis = 0; axis < 2 + (b[AXIS_T].weight != NULL); axis++) {
        const tensor *t = b[AXIS_Y + axis].weight;
        uint32_t *most = largest[axis];
        if (!t)
            return fail("%s: '%s' is of a block with one of two tables of relative positions", cp->path, b[PROJ].weight->name);
        if (t->rank != 2 || t->shape[0] % 2 == 0 || t->shape[0] > 2 * (axis < 2 ? 4096 : MIM_MAX_FRAMES) || t->shape[1] < 1 || t->shape[1] > MIM_MAX_HEAD_DIM ||
            w->inner % t->shape[1])
            return wrong_shape(t, "[2 * side - 1, width of a head]");
        if (set_heads(w, cp, t, w->inner / t->shape[1]))
            return 1;
        *most = *most < (t->shape[0] + 1) / 2 ? (uint32_t)(t->shape[0] + 1) / 2 : *most;
    }
    return 0;
}

/* Convolutions that thin out queries, keys and values, and their norms, all of the width of a head. */
static int measure_thinning(block_measure *w, const checkpoint *cp, const part *b, int video)
{
    const tensor *first = b[THIN_QUERY].weight;
    uint32_t side = 0;
    if (kernel_side(first, 1, &side))
        return 1;
    uint64_t head = first->shape[0], frames = first->rank == 5 ? first->shape[2] : 0;
    if ((first->rank == 5) != video || frames > MIM_MAX_KERNEL || (video && frames % 2 == 0))
        return wrong_shape(first, video ? "[width of a head, 1, frames, k, k] with odd ones" : "[width of a head, 1, k, k]");
    if (head < 1 || head > MIM_MAX_HEAD_DIM || w->inner % head)
        return wrong_shape(b[THIN_QUERY].weight, "[width of a head, 1, k, k]");
    for (uint32_t i = 0; i < 3; i++) {
        const part *p = &b[THIN_QUERY + i], *norm = &b[THIN_QUERY_NORM + i];
        if (!p->weight || !norm->weight || p->bias)
            return fail("%s: '%s' needs convolutions without biases and norms of queries, keys and values", cp->path,
                        b[THIN_QUERY].weight->name);
        if (is_convolution(p, head, 1, frames, side) || is_norm(norm, head))
            return 1;
    }
    return set_heads(w, cp, b[THIN_QUERY].weight, w->inner / head);
}

/* The weights of cells of tokens: [rows, channels, k, k], or with the channels last. */
static int is_cell(const part *p, const layout *l, uint64_t rows_expected, uint64_t channels, uint32_t *side)
{
    const tensor *t = p->weight;
    if (!l->by_rows)
        return kernel_side(t, 0, side) || is_convolution(p, rows_expected, channels, 0, *side);
    if (t->rank != 4 || t->shape[0] != rows_expected || t->shape[1] < 1 || t->shape[1] > MIM_MAX_KERNEL || t->shape[2] != t->shape[1] ||
        t->shape[3] != channels)
        return wrong_shape(t, "[rows, k, k, channels]");
    *side = (uint32_t)t->shape[1];
    return is_vector(p->bias, rows_expected);
}

/* Cells along each side of which one key is: their weights', or UM-MAE's, which takes the mean of a cell first. */
static uint32_t reduction_side(const vit *model, uint32_t i)
{
    uint32_t stride = model->layout.key_stride >> model->stage_of[i];
    if (model->layout.key_stride)
        return stride ? stride : 1;
    return (uint32_t)model->block[i][REDUCE].weight->shape[model->layout.by_rows ? 1 : 2];
}

/* What keys and values are of. */
static int measure_reduction(const vit *model, const block_measure *w, const checkpoint *cp, uint32_t i)
{
    const part *b = model->block[i];
    uint32_t side = 0;
    if (!b[KEY_VALUE].weight || !b[REDUCE_NORM].weight)
        return fail("%s: '%s' has no %s beside it", cp->path, b[REDUCE].weight->name, b[KEY_VALUE].weight ? "norm" : "keys and values");
    if (is_cell(&b[REDUCE], &model->layout, w->dim, w->dim, &side) || is_norm(&b[REDUCE_NORM], w->dim))
        return 1;
    if (model->layout.key_stride && side > 1)
        return wrong_shape(b[REDUCE].weight, "a convolution of single tokens");
    side = reduction_side(model, i);
    return within(cp, "the size of a cell of tokens", (uint64_t)side * side * w->dim, MIM_MAX_COLUMNS);
}

int measure_extras(measures *m, const vit *model, const checkpoint *cp, uint32_t i)
{
    const part *b = model->block[i];
    block_measure *w = &m->block[i];
    if (b[DEPTHWISE].weight) {
        uint32_t side = 0;
        if (kernel_side(b[DEPTHWISE].weight, 1, &side) || within(cp, "the width of a convolution", b[DEPTHWISE].weight->shape[0], MIM_MAX_HIDDEN))
            return 1;
        uint64_t inside = b[DEPTHWISE].weight->shape[0];
        return is_linear(&b[CONV1], inside, w->dim) || is_convolution(&b[DEPTHWISE], inside, 1, 0, side) ||
               is_linear(&b[CONV2], w->dim, inside) || is_norm(&b[NORM1], w->dim);
    }
    if (!w->inner)
        return 0;
    if (is_windowed(model, b) && !has_plain_windows(model, b) && measure_window(w, cp, b, model->layout.side))
        return 1;
    if (b[REDUCE].weight && measure_reduction(model, w, cp, i))
        return 1;
    if (b[AXIS_T].weight && !model->layout.frame_stride)
        return fail("%s: '%s' is of videos, which %s does not take; give another --family", cp->path, b[AXIS_T].weight->name,
                    model->family->name);
    if ((b[AXIS_Y].weight || b[AXIS_X].weight || b[AXIS_T].weight) && measure_axes(m, w, cp, b))
        return 1;
    return b[THIN_QUERY].weight ? measure_thinning(w, cp, b, model->layout.frame_stride > 0) : 0;
}

int measure_merge(const checkpoint *cp, const layout *l, const part *parts, uint32_t dim, uint32_t *next, uint32_t *cell)
{
    const part *w = &parts[MERGE], *norm = &parts[MERGE_NORM];
    *cell = 2;
    if (w->weight->rank == 4 && is_cell(w, l, w->weight->shape[0], dim, cell))
        return 1;
    uint64_t columns = (uint64_t)*cell * *cell * dim;
    if (w->weight->rank < 1 || within(cp, "the width of a stage", w->weight->shape[0], MIM_MAX_DIM) ||
        within(cp, "the size of a cell of tokens", columns, MIM_MAX_COLUMNS))
        return w->weight->rank < 1 ? wrong_shape(w->weight, "[dim, channels of a cell]") : 1;
    *next = (uint32_t)w->weight->shape[0];
    if (norm->weight && is_norm(norm, l->token_norm ? dim : norm->weight->count == columns ? columns : *next))
        return 1;
    return w->weight->rank != 4 && is_linear(w, *next, columns);
}

int measure_ends(measures *m, const vit *model, const checkpoint *cp)
{
    const part *top = model->top;
    uint32_t side = 0, thins = 0;
    for (uint32_t s = 0; s < model->stages; s++) {
        const part *fuse = &model->stage[s][FUSE], *conv = &model->stage[s][GRID_CONV];
        uint32_t dim = 0;
        for (uint32_t i = 0; i < model->depth; i++)
            dim = model->stage_of[i] == s ? m->block[i].last : dim;
        if (fuse->weight && (kernel_side(fuse->weight, 0, &side) || is_convolution(fuse, m->width, dim, model->layout.frame_stride ? 1 : 0, side)))
            return 1;
        if (!conv->weight != !model->stage[0][GRID_CONV].weight)
            return fail("%s: stage %" PRIu32 " has no convolution like '%s', or is alone in having one", cp->path, s,
                        (conv->weight ? conv : &model->stage[0][GRID_CONV])->weight->name);
        if (conv->weight && (kernel_side(conv->weight, 1, &side) || is_convolution(conv, dim, 1, 0, side)))
            return 1;
        if (fuse->weight && !top[NORM].weight)
            return fail("%s: '%s' adds to tokens that have no norm", cp->path, fuse->weight->name);
    }
    if (top[MERGE_LINEAR].weight && is_linear(&top[MERGE_LINEAR], m->width, m->width))
        return 1;
    m->dim = m->width;
    if (top[NECK].weight) {
        if (!top[NECK_NORM].weight || !top[NECK2].weight || !top[NECK2_NORM].weight)
            return fail("%s: '%s' is of a neck without its second convolution or its norms", cp->path, top[NECK].weight->name);
        if (kernel_side(top[NECK2].weight, 1, &side) || top[NECK].weight->rank < 1 ||
            within(cp, "the width of the neck", top[NECK].weight->shape[0], MIM_MAX_DIM) ||
            within(cp, "the width of the neck", top[NECK2].weight->shape[0], MIM_MAX_DIM))
            return 1;
        m->dim = (uint32_t)top[NECK2].weight->shape[0];
        if (is_linear(&top[NECK], top[NECK].weight->shape[0], m->width) || is_norm(&top[NECK_NORM], top[NECK].weight->shape[0]) ||
            is_convolution(&top[NECK2], m->dim, top[NECK].weight->shape[0], 0, side) || is_norm(&top[NECK2_NORM], m->dim))
            return 1;
    } else if (top[NECK_NORM].weight && is_norm(&top[NECK_NORM], m->dim)) {
        return 1;
    }
    for (uint32_t i = 0; i < model->depth; i++)
        thins |= model->block[i][THIN_QUERY].weight || model->block[i][REDUCE].weight;
    /* windows that are not units, convolutions and distances along axes need all of their neighbours */
    m->unit = model->layout.window || m->axis_height || top[NECK].weight || thins ? 0 : 1u << (model->stages - 1);
    return 0;
}

/* ---- windows ---- */

typedef struct windows {
    uint32_t side, shift;           /* of the windows, in tokens */
    uint32_t height, width;         /* of the window that the table is of */
    uint32_t rule;                  /* MIM_BIAS_... */
    uint32_t reach_y, reach_x;      /* see ROWS_DISTANCES */
} windows;

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* A side of the grid of a stage, each half of the one before, rounded up or down. */
static uint32_t side_at(uint32_t n, uint32_t stage, int down)
{
    while (stage--)
        n = (n + !down) / 2;
    return n;
}

/* The side of the largest window that a table is of. */
static uint32_t largest_window(const vit *model)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < model->depth; i++) {
        const tensor *table = model->block[i][RELATIVE_BIAS].weight;
        uint64_t side = table ? (root_of(table->shape[0]) + 1) / 2 : 0;
        most = side > most ? side : most;
    }
    return most > 256 ? 256 : (uint32_t)most;
}

/* Of a stored table. It is square, or was cut to the grid it was trained at. */
static int windows_of_table(windows *w, const vit *model, const checkpoint *cp, const measures *m, const settings *s, uint32_t stage,
                            const tensor *table)
{
    uint32_t asked = (uint32_t)s->window.value;
    uint32_t pixels = (uint32_t)(s->trained_height.from ? s->trained_height.value : s->image_height.value);
    uint64_t root = root_of(table->shape[0]);
    w->rule = model->family->arithmetic.bias;
    w->height = least(asked, side_at((uint32_t)s->trained_height.value / m->patch_height, stage, 0));
    w->width = least(asked, side_at((uint32_t)s->trained_width.value / m->patch_width, stage, 0));
    if (!w->height || !w->width || (2 * (uint64_t)w->height - 1) * (2 * (uint64_t)w->width - 1) != table->shape[0]) {
        if (root % 2 == 0)
            return fail("%s: '%s' is not the table of a square window; give --window N, and in a config.json the size it was trained at",
                        cp->path, table->name);
        w->height = w->width = (uint32_t)(root + 1) / 2;
    }
    if (!asked && model->layout.one_window && w->height == side_at(pixels / m->patch_height, stage, 0))
        asked = largest_window(model);
    w->side = asked ? asked : w->height;
    if (w->side < w->height || w->side < w->width)
        return fail("%s: '%s' is of a window of %" PRIu32 ", not of %" PRIu32 " (%s)", cp->path, table->name, w->height, w->side,
                    s->window.from);
    w->shift = w->side / 2;
    if (model->layout.frozen && side_at(pixels / m->patch_height, stage, 1) <= w->side)
        w->shift = 0;
    return 0;
}

/* Of a table that an MLP computes, from distances that the window it was pretrained with scales; without one, its own. */
static int windows_of_distances(windows *w, const vit *model, const checkpoint *cp, const measures *m, const settings *s, uint32_t i)
{
    const tensor *known = model->block[i][COORDINATES].weight;
    uint32_t stage = model->stage_of[i], pretrained = stage < s->pretrained_windows.count ? s->pretrained_windows.value[stage] : 0;
    w->side = s->window.from ? (uint32_t)s->window.value : model->layout.side;
    if (model->layout.side) {                       /* distances that no window scales */
        w->height = w->width = w->side;
        w->shift = w->side / 2;
        w->rule = MIM_BIAS_CROP;
        return 0;
    }
    if (known) {
        float corner;
        if (known->rank != 4 || known->shape[1] % 2 == 0 || known->shape[1] != known->shape[2] || known->shape[3] != 2)
            return wrong_shape(known, "[1, 2 * window - 1, 2 * window - 1, 2]");
        uint64_t side = (known->shape[1] + 1) / 2;
        if (within(cp, "the window", side, 256) || tensor_read(known, known->count - 1, 1, &corner))
            return 1;
        if (!s->window.from)
            w->side = (uint32_t)side;
        /* its last entry is log2(1 + 8 (side - 1) / (pretrained - 1)) / 3 */
        double scale = exp2(3 * (double)corner) - 1, reach = side > 1 && scale > 0 ? floor(8 * (double)(side - 1) / scale + 0.5) : 0;
        if (!s->pretrained_windows.count && reach >= 1 && reach <= 256 && reach != (double)(side - 1))
            pretrained = (uint32_t)reach + 1;
    }
    if (!w->side)
        return fail("%s: its windows have no tables that tell their size; give --window N, or N:P if they were of P at pretraining",
                    cp->path);
    w->shift = w->side / 2;
    w->height = w->width = w->side;
    w->rule = MIM_BIAS_CROP;
    if (model->layout.frozen) {
        uint32_t side = side_at((uint32_t)s->trained_height.value / m->patch_height, stage, 1);
        if (!side)
            return fail("%s: its windows depend on the size it was trained at; give --image-size", cp->path);
        if (side <= w->side)
            w->shift = 0;
        w->height = w->width = w->side = least(side, w->side);
        w->rule = MIM_BIAS_FIXED;
    } else if (!pretrained) {       /* other windows have other distances */
        w->height = least(w->side, side_at((uint32_t)s->image_height.value / m->patch_height, stage, 0));
        w->width = least(w->side, side_at((uint32_t)s->image_width.value / m->patch_width, stage, 0));
        w->rule = MIM_BIAS_DISTANCES;
    }
    w->reach_y = pretrained ? pretrained - 1 : w->height - 1;
    w->reach_x = pretrained ? pretrained - 1 : w->width - 1;
    w->reach_y += !w->reach_y;
    w->reach_x += !w->reach_x;
    return 0;
}

static void set_windows(mim_blob_step *step, uint32_t kind, uint32_t side, uint32_t shift)
{
    step->window = (uint8_t)kind;
    step->window_height = step->window_width = (uint16_t)side;
    step->shift_height = step->shift_width = (uint16_t)shift;
}

/* Windows whose tokens know of each other by a table of distances. */
static int add_windows(plan *p, mim_blob_step *step, const vit *model, const checkpoint *cp, const measures *m, const settings *s,
                       uint32_t i)
{
    const part *b = model->block[i];
    const layout *l = &model->layout;
    windows w;
    uint32_t before = 0;
    memset(&w, 0, sizeof w);
    if (has_plain_windows(model, b)) {
        set_windows(step, l->window, s->window.from ? (uint32_t)s->window.value : l->side, 0);
        return 0;
    }
    if (b[RELATIVE_BIAS].weight ? windows_of_table(&w, model, cp, m, s, model->stage_of[i], b[RELATIVE_BIAS].weight)
                                : windows_of_distances(&w, model, cp, m, s, i))
        return 1;
    if (within(cp, "the window", w.side, 256))
        return 1;
    while (before < i && model->stage_of[i - before - 1] == model->stage_of[i])
        before++;
    set_windows(step, l->window, w.side, l->shifts && before % 2 ? w.shift : 0);
    if (step->shift_height) {
        step->mask = l->mask;
        step->roll_padded = (uint8_t)l->roll_padded;
    }
    step->rule = w.rule;
    step->stored_height = w.height;
    step->stored_width = w.width;
    rows r = { .kind = b[RELATIVE_BIAS].weight ? ROWS_BIAS : ROWS_DISTANCES, .heads = step->heads, .cell_height = w.height,
               .cell_width = w.width, .reach_y = w.reach_y, .reach_x = w.reach_x };
    r.part[0] = b[RELATIVE_BIAS].weight ? b[RELATIVE_BIAS] : b[BIAS_MLP1];
    r.part[1] = b[BIAS_MLP2];
    plan_plain(p, step, 3, step->heads, (2 * w.height - 1) * (2 * w.width - 1), &r);
    if (w.rule == MIM_BIAS_DISTANCES) {
        r.kind = ROWS_DISTANCE_MLP;
        plan_plain(p, step, 10, 3 + step->heads, round_up((uint32_t)b[BIAS_MLP1].weight->shape[0], 16), &r);
        r.kind = ROWS_DISTANCE_INPUTS;
        plan_plain(p, step, 11, w.side, 2 * w.side - 1, &r);
    }
    return 0;
}

/* Distances along each axis, over the whole grid or, where the tables are smaller than that, in windows; thinned out blocks
 * have no windows. */
static void add_axes(plan *p, mim_blob_step *step, const vit *model, const settings *s, uint32_t i)
{
    const part *b = model->block[i];
    uint32_t height = (uint32_t)(b[AXIS_Y].weight->shape[0] + 1) / 2, width = (uint32_t)(b[AXIS_X].weight->shape[0] + 1) / 2;
    uint32_t grid_height = (uint32_t)s->grid_height.value, grid_width = (uint32_t)s->grid_width.value;
    uint32_t distances = b[AXIS_T].weight ? (uint32_t)b[AXIS_T].weight->shape[0] : 0;
    rows r = { .kind = ROWS_AXES, .head_dim = step->head_dim, .part = { b[AXIS_Y], b[AXIS_X], b[AXIS_T] } };
    if (!b[THIN_QUERY].weight && (height != grid_height || width != grid_width)) {
        set_windows(step, MIM_WINDOW_FIXED, height, 0);
        step->window_width = (uint16_t)width;
    }
    step->rule = MIM_BIAS_AXES;
    step->stored_height = height;
    step->stored_width = width;
    step->stored_frames = (distances + 1) / 2;
    plan_plain(p, step, 3, 2 * height - 1 + 2 * width - 1 + distances, round_up(step->head_dim, 16), &r);
}

/* ---- thinning out ---- */

/* Hiera: the first block of a stage takes the largest query of each cell, and still attends as the stage before it. */
static void add_units(mim_blob_step *step, const vit *model, const measures *m, const settings *s, uint32_t i)
{
    uint32_t stage = model->stage_of[i], first = i && model->stage_of[i - 1] != stage, done = least(stage - first, s->pools);
    if (s->unit_stages >> (stage - first) & 1)
        set_windows(step, MIM_WINDOW_FIXED, m->unit >> done, 0);
    if (first && stage <= s->pools) {
        step->thin = MIM_THIN_MAX;
        step->kernel_height = step->kernel_width = step->stride_height = step->stride_width = 2;
    }
}

/* Whether the first block of a stage halves the grid: its later blocks have smaller tables than the stage before. MaskFeat
 * pretrains with a last stage that does not. Where there are none to tell, it does. */
static int halves(const vit *model, uint32_t stage)
{
    uint32_t first = 0, last;
    while (model->stage_of[first] < stage)
        first++;
    for (last = first; last + 1 < model->depth && model->stage_of[last + 1] == stage;)
        last++;
    const tensor *before = model->block[first - 1][AXIS_Y].weight, *later = model->block[last][AXIS_Y].weight;
    return !before || last == first || later->shape[0] < before->shape[0];
}

/* MViTv2: the first block of a stage halves the grid of its queries, and all have about as many keys. */
static void add_thinning(plan *p, mim_blob_step *step, const vit *model, uint32_t i)
{
    const part *b = model->block[i];
    const tensor *kernel = b[THIN_QUERY].weight;
    uint32_t stage = model->stage_of[i], side = (uint32_t)kernel->shape[kernel->rank - 1], padded = round_up(step->head_dim, 16);
    uint32_t frames = kernel->rank == 5 ? (uint32_t)kernel->shape[2] : 1, key_stride = model->layout.key_stride;
    rows kernels = { .kind = ROWS_DEPTHWISE, .count = 3, .cell_height = frames * side, .cell_width = side }, norms = { .kind = ROWS_NORMS, .count = 3 };
    for (uint32_t k = 1; k <= stage; k++)
        key_stride = halves(model, k) && key_stride > 1 ? key_stride / 2 : key_stride;
    for (uint32_t k = 0; k < 3; k++) {
        kernels.part[k] = b[THIN_QUERY + k];
        norms.part[k] = b[THIN_QUERY_NORM + k];
    }
    step->thin = MIM_THIN_CONV;
    step->kernel_height = step->kernel_width = (uint16_t)side;
    step->kernel_frames = (uint8_t)frames;
    step->stride_height = step->stride_width = i && model->stage_of[i - 1] != stage && halves(model, stage) ? 2 : 1;
    step->key_stride = (uint8_t)key_stride;
    step->flags |= MIM_STEP_ADD_QUERY;
    if (model->layout.prefix_query)
        step->flags |= MIM_STEP_ADD_PREFIX_QUERY;
    plan_plain(p, step, 8, 3 * frames * side * side, padded, &kernels);
    plan_plain(p, step, 9, 6, step->head_dim, &norms);
}

int add_extras(plan *p, mim_blob_step *step, const vit *model, const checkpoint *cp, const measures *m, const settings *s, uint32_t i)
{
    const part *b = model->block[i];
    if (b[LOGIT_SCALE].weight) {
        rows r = { .kind = ROWS_SCALES };
        r.part[0] = b[LOGIT_SCALE];
        step->qk_norm = MIM_QK_UNIT;
        step->scale = 0;
        plan_plain(p, step, 6, 1, step->heads, &r);
    }
    if (is_windowed(model, b) && add_windows(p, step, model, cp, m, s, i))
        return 1;
    if (b[AXIS_Y].weight)
        add_axes(p, step, model, s, i);
    if (model->layout.pools)
        add_units(step, model, m, s, i);
    if (b[THIN_QUERY].weight)
        add_thinning(p, step, model, i);
    if (b[SHORTCUT].weight) {
        rows r = { .kind = ROWS_LINEAR };
        r.part[0] = b[SHORTCUT];
        plan_matrix(p, step, 7, m->block[i].next, m->block[i].dim, &r);
    }
    return 0;
}

/* ---- convolutions ---- */

float outer_eps(const vit *model, const settings *s)
{
    return model->layout.eps > 0 ? model->layout.eps : (float)s->eps.value;
}

float block_eps(const vit *model, const settings *s)
{
    return model->layout.block_eps > 0 ? model->layout.block_eps : (float)s->eps.value;
}

/* A convolution over the grid: columns in the order of the cell, as the file has them. */
static mim_blob_step *add_convolution(plan *p, const part *w, uint32_t dim, uint32_t side, uint32_t stride, uint32_t order)
{
    mim_blob_step *step = plan_step(p, MIM_STEP_CONV);
    rows r = { .kind = ROWS_LINEAR, .cell_height = side, .cell_width = side, .order = order };
    r.part[0] = *w;
    step->kernel_height = step->kernel_width = (uint16_t)side;
    step->stride_height = step->stride_width = (uint16_t)stride;
    step->padding_height = step->padding_width = (uint16_t)(stride < side ? side / 2 : 0);
    plan_matrix(p, step, 1, (uint32_t)w->weight->shape[0], side * side * dim, &r);
    return step;
}

static void add_outer_norm(plan *p, mim_blob_step *step, unsigned slot, const part *norm, float eps, uint32_t side, uint32_t order)
{
    rows r = { .kind = ROWS_NORM, .cell_height = side, .cell_width = side, .order = order };
    r.part[0] = *norm;
    step->eps = eps;
    plan_plain(p, step, slot, 2, (uint32_t)norm->weight->count, &r);
}

int add_merge(plan *p, const vit *model, const checkpoint *cp, const measures *m, const settings *s, uint32_t stage, const part *parts,
              uint32_t dim)
{
    uint32_t next, side;
    const part *norm = &parts[MERGE_NORM], *linear = &model->top[MERGE_LINEAR];
    const layout *l = &model->layout;
    if (measure_merge(cp, l, parts, dim, &next, &side))
        return 1;
    uint32_t order = l->by_rows ? CELLS_BY_ROW : parts[MERGE].weight->rank == 4 ? CELLS_INSIDE : CELLS_BY_COLUMN;
    int before = norm->weight && norm->weight->count == (uint64_t)side * side * dim, last = stage + 1 == model->stages;
    mim_blob_step *step = add_convolution(p, &parts[MERGE], dim, side, side, order);
    if (l->whole)
        step->flags |= MIM_STEP_WHOLE;
    if (norm->weight)
        add_outer_norm(p, step, before || l->token_norm ? 0 : 2, norm, outer_eps(model, s), side, before ? order : CELLS_BY_ROW);
    step->activation = model->layout.activation;
    if (last && linear->weight)
        step = add_convolution(p, linear, next, 1, 1, CELLS_BY_ROW);
    if (last && m->position_rows && m->positions_last)
        add_positions(p, step, 3, model, m, s, next);
    return 0;
}

void add_convolutions(plan *p, const part *b, float eps, uint32_t dim)
{
    uint32_t side = (uint32_t)b[DEPTHWISE].weight->shape[2], inside = (uint32_t)b[DEPTHWISE].weight->shape[0];
    mim_blob_step *step = plan_step(p, MIM_STEP_MLP);
    rows first = { .kind = ROWS_LINEAR, .part = { b[CONV1] } }, last = { .kind = ROWS_LINEAR, .part = { b[CONV2] } };
    rows depthwise = { .kind = ROWS_DEPTHWISE, .count = 1, .cell_height = side, .cell_width = side, .part = { b[DEPTHWISE] } };
    step->kernel_height = step->kernel_width = (uint16_t)side;
    add_outer_norm(p, step, 0, &b[NORM1], eps, 1, CELLS_BY_ROW);
    plan_matrix(p, step, 1, inside, dim, &first);
    plan_matrix(p, step, 2, dim, inside, &last);
    plan_plain(p, step, 4, side * side + 1, inside, &depthwise);
}

/* What keys and values are of: a convolution of the normed tokens and a norm. Both norms of a step have one eps; before the second,
 * a factor of the tokens is as good as one of the eps. */
mim_blob_step *add_reduction(plan *p, const vit *model, const measures *m, const settings *s, uint32_t i)
{
    const part *b = model->block[i];
    const layout *l = &model->layout;
    uint32_t side = reduction_side(model, i), order = l->key_stride ? CELLS_ALIKE : l->by_rows ? CELLS_BY_ROW : CELLS_INSIDE;
    mim_blob_step *step = add_convolution(p, &b[REDUCE], m->block[i].dim, side, side, order);
    p->rows[step->tensor[1] - 1].factor = sqrt((double)block_eps(model, s) / (double)outer_eps(model, s));
    add_outer_norm(p, step, 2, &b[REDUCE_NORM], block_eps(model, s), 1, CELLS_BY_ROW);
    step->flags |= MIM_STEP_BRANCH | MIM_STEP_WHOLE;
    return step;
}

mim_blob_step *add_grid_conv(plan *p, const part *w, int added)
{
    uint32_t side = (uint32_t)w->weight->shape[2], dim = (uint32_t)w->weight->shape[0];
    mim_blob_step *step = plan_step(p, MIM_STEP_CONV);
    rows r = { .kind = ROWS_DEPTHWISE, .count = 1, .cell_height = side, .cell_width = side, .factor = added, .part = { *w } };
    step->kernel_height = step->kernel_width = (uint16_t)side;
    step->stride_height = step->stride_width = 1;
    step->padding_height = step->padding_width = (uint16_t)(side / 2);
    plan_plain(p, step, 4, side * side + 1, dim, &r);
    return step;
}

void add_fusion(plan *p, const part *fuse, uint32_t dim)
{
    uint32_t side = (uint32_t)fuse->weight->shape[fuse->weight->rank - 1];
    add_convolution(p, fuse, dim, side, side, CELLS_INSIDE)->flags |= MIM_STEP_BRANCH;
}

void add_neck(plan *p, const vit *model, const measures *m, const settings *s)
{
    const part *top = model->top;
    if (top[NECK].weight) {
        uint32_t side = (uint32_t)top[NECK2].weight->shape[2], width = (uint32_t)top[NECK].weight->shape[0];
        mim_blob_step *step = add_convolution(p, &top[NECK], m->width, 1, 1, CELLS_BY_ROW);
        add_outer_norm(p, step, 2, &top[NECK_NORM], outer_eps(model, s), 1, CELLS_BY_ROW);
        step = add_convolution(p, &top[NECK2], width, side, 1, CELLS_INSIDE);
        add_outer_norm(p, step, 2, &top[NECK2_NORM], outer_eps(model, s), 1, CELLS_BY_ROW);
    } else if (top[NECK_NORM].weight) {
        add_outer_norm(p, plan_step(p, MIM_STEP_NORM), 0, &top[NECK_NORM], outer_eps(model, s), 1, CELLS_BY_ROW);
    }
}
