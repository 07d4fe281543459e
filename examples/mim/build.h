/* build.h - from a recognised checkpoint and settled questions to the plan of a blob. */
#ifndef BUILD_H
#define BUILD_H

#include "pack.h"

/* What the shapes of the tensors tell. */
typedef struct measures {
    uint32_t channels, patch_height, patch_width, patch_frames;
    uint32_t groups, group_channels[MIM_MAX_GROUPS];       /* 1: the channels are not in groups */
    uint32_t coordinates;                     /* numbers that the caller gives of each frame */
    uint32_t clock;                           /* channels for each number of a date; 0: none */
    uint32_t vectors;                         /* for the caller, who makes the tokens; 0: there is a projection */
    uint32_t dim, inner, hidden, gated;       /* inner: heads times head_dim; gated: the MLP is */
    uint32_t has_cls, registers;
    uint32_t position_rows;                   /* 0: no such table */
    uint32_t bias_rows, heads;                /* of the relative position bias; heads also of rotary tables; 0: they do not tell */
    uint32_t grid_height, grid_width;         /* of the positions, where their shape tells; else 0 */
    uint32_t classes, head_columns;           /* of the head; 0: none */
    uint32_t decoder_dim, decoder_inner, decoder_hidden, decoder_gated, decoder_position_rows;   /* 0 unless it is kept */
    uint64_t parameters;                      /* of the encoder */
} measures;

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
    fact resize, filter;
    fact edge_over, edge_under;               /* short edge = floor(size * over / under) */
    float mean[MIM_MAX_CHANNELS], std[MIM_MAX_CHANNELS];
    const char *mean_from, *std_from;
    char name[64], method[16], source[48], licence[24];
} settings;

/* Verifies the shape of every tensor that is used, and that all is within mim's limits. 0, or 1 after fail(). */
int measure(measures *m, const vit *model, const checkpoint *cp, int keep_decoder);

/* Lays out header, steps and tensors. All facts are known. 0, or 1 after fail(). */
int build(plan *p, const vit *model, const checkpoint *cp, const measures *m, const settings *s, const number_kind *n);

#endif
