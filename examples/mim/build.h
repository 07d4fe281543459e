/* build.h - from a recognised checkpoint and settled questions to the plan of a blob. */
#ifndef BUILD_H
#define BUILD_H

#include "pack.h"

/* The widths in one block. */
typedef struct block_measure {
    uint32_t dim, next, last;                 /* of a token before it, after its attention, after it */
    uint32_t inner, hidden, gated;            /* inner: heads times head_dim, 0: no attention; gated: the MLP is */
    uint32_t heads;                           /* 0: its tensors do not tell */
} block_measure;

/* What the shapes of the tensors tell. */
typedef struct measures {
    uint32_t patch_frames, kernel_frames;     /* from patch to patch; that a patch is projected from */
    uint32_t groups, group_channels[MIM_MAX_GROUPS];       /* 1: the channels are not in groups */
    uint32_t coordinates;                     /* numbers that the caller gives of each frame */
    uint32_t clock;                           /* channels for each number of a date; 0: none */
    uint32_t vectors;                         /* for the caller, who makes the tokens; 0: there is a projection */
    uint32_t channels, kernel_height, kernel_width;
    uint32_t patch_height, patch_width;       /* from patch to patch */
    uint32_t embed_dim, width, dim;           /* of a token as embedded, after the blocks, at the end */
    uint32_t inner, hidden, gated;            /* of the first block with attention, of the last block */
    block_measure block[MIM_MAX_DEPTH];
    uint32_t cell_height, cell_width;         /* pixels from one stored position, or relative position, to the next */
    uint32_t unit;                            /* patches along each side of a mask unit; 0: subsets are not possible */
    uint32_t positions_last;                  /* positions are added before the last stage, not the first */
    uint32_t unit_positions;                  /* side of the table of positions that repeat; 0: none */
    uint32_t axis_height, axis_width, axis_frames;         /* of the largest tables of relative positions along axes; 0: none */
    uint32_t has_cls, registers;
    uint32_t position_rows;                   /* 0: no such table; of one frame, where frames have some of their own: */
    uint32_t frame_positions;                 /*   of so many; else 0 */
    uint32_t bias_rows, heads;                /* of the relative position bias; heads also of rotary tables; 0: they do not tell */
    uint32_t grid_height, grid_width;         /* of the positions, where their shape tells; else 0 */
    uint32_t classes, head_columns;           /* of the head; 0: none */
    uint32_t decoder_dim, decoder_inner, decoder_hidden, decoder_gated, decoder_position_rows;   /* 0 unless it is kept */
    uint64_t parameters;                      /* of the encoder */
} measures;

/* A row of numbers, one for each stage; count 0: nobody told. */
typedef struct list {
    uint32_t value[STAGES_MAX], count;
} list;

/* A value that the tensors do not tell, and who did. */
typedef struct fact {
    double value;
    const char *from;                         /* NULL: nobody */
} fact;

typedef struct settings {
    fact heads, decoder_heads, eps, activation, pool, positions, position_offset, norm_pix;
    fact image_height, image_width;           /* of the input */
    fact frames, groups;                      /* of the input; of its channels */
    uint8_t channel_group[MIM_MAX_CHANNELS], channel_place[MIM_MAX_CHANNELS];      /* where there are groups */
    fact grid_height, grid_width;             /* of the stored positions and relative positions; 0: neither */
    fact bias;                                /* MIM_BIAS_... */
    fact rotary, rotary_grid, rotary_base;    /* MIM_ROTARY_..., MIM_GRID_... */
    fact rotary_height, rotary_width;         /* of the grid that MIM_GRID_SCALED refers to */
    uint32_t position_prefix;                 /* rows of the positions before the patches' */
    fact window, pretrained_window;           /* of tokens; pretrained: 0: the same */
    list pretrained_windows, stage_heads;
    fact trained_height, trained_width;       /* pixels, which windows may depend on */
    uint32_t pools, unit_stages;              /* stages that begin by thinning out queries; bit n: stage n keeps to mask units */
    fact resize, filter;
    fact edge_over, edge_under;               /* short edge = floor(size * over / under) */
    float mean[MIM_MAX_CHANNELS], std[MIM_MAX_CHANNELS];
    const char *mean_from, *std_from;
    char name[64], method[16], source[48], licence[24];
} settings;

/* Verifies the shape of every tensor that is used, and that all is within mim's limits. 0, or 1 after fail(). */
int measure(measures *m, const vit *model, const checkpoint *cp, int keep_decoder);

/* Heads of a block's attention. 0: unknown. */
uint32_t heads_of(const vit *model, const measures *m, const settings *s, uint32_t block);

/* ---- pyramid.c: windows, stages and necks ---- */

/* Shapes of what a block has besides attention and MLP, once m->block[i] has its widths; of what stands between stages
 * and after them. 0, or 1 after fail(). */
int measure_extras(measures *m, const vit *model, const checkpoint *cp, uint32_t i);
int measure_merge(const checkpoint *cp, const layout *l, const part *parts, uint32_t dim, uint32_t *next, uint32_t *cell);
int measure_ends(measures *m, const vit *model, const checkpoint *cp);

/* Their steps. add_extras completes the attention step of a block. 0, or 1 after fail(). */
int  add_extras(plan *p, mim_blob_step *step, const vit *model, const checkpoint *cp, const measures *m, const settings *s, uint32_t i);
int  add_merge(plan *p, const vit *model, const checkpoint *cp, const measures *m, const settings *s, uint32_t stage, const part *parts,
               uint32_t dim);
void add_convolutions(plan *p, const part *b, float eps, uint32_t dim);
void add_fusion(plan *p, const part *fuse, uint32_t dim);
void add_neck(plan *p, const vit *model, const measures *m, const settings *s);
mim_blob_step *add_reduction(plan *p, const vit *model, const measures *m, const settings *s, uint32_t i);    /* but its first norm */
mim_blob_step *add_grid_conv(plan *p, const part *w, int added);
float outer_eps(const vit *model, const settings *s);     /* of norms outside the blocks */
float block_eps(const vit *model, const settings *s);     /* and inside */

/* ---- build.c: for them ---- */
int  wrong_shape(const tensor *t, const char *expected);
int  within(const checkpoint *cp, const char *what, uint64_t value, uint64_t limit);
int  is_vector(const tensor *t, uint64_t length);
int  is_linear(const part *p, uint64_t rows_expected, uint64_t columns);
int  is_norm(const part *p, uint64_t length);
void add_positions(plan *p, mim_blob_step *step, unsigned slot, const vit *model, const measures *m, const settings *s, uint32_t dim);

/* Lays out header, steps and tensors. All facts are known. 0, or 1 after fail(). */
int build(plan *p, const vit *model, const checkpoint *cp, const measures *m, const settings *s, const number_kind *n);

#endif
