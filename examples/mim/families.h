/* families.h - what the published vision transformers are called and what is fixed about them.
 *
 * Two tables of data, and one function that reads them: a naming maps names of tensors to roles; a family says
 * which files are its own and which facts its authors published. A new family is a new row. */
#ifndef FAMILIES_H
#define FAMILIES_H

#include "checkpoint.h"

/* What a tensor is for. Those from NORM1 on exist once per block. */
enum role {
    ROLE_NONE,
    PATCH, CLS, REGISTERS, POSITIONS, FRAME_POSITIONS, NORM, POOL_NORM, HEAD, PROJECTION, MASK_TOKEN,    /* PROJECTION: a head whose columns are its outputs */
    PERIODS, ROTARY_COS,                  /* of the rotary embedding; its cosines, whose shape tells the width of a head */
    CHANNEL_EMBED, CHANNEL_CLS,           /* of groups of channels: what each adds to its tokens, and to CLS */
    TIME_SCALE, PLACE_SCALE,              /* of what is added for a date and for a place */
    DECODER_EMBED, DECODER_POSITIONS, DECODER_NORM, DECODER_PREDICT,
    PATCH_NORM, PRE_NORM,                 /* of the patches; of all tokens, before the blocks */
    UNIT_POSITIONS,                       /* that repeat from mask unit to mask unit */
    NECK, NECK_NORM, NECK2, NECK2_NORM,   /* convolutions after the blocks */
    MERGE, MERGE_NORM,                    /* before a stage: how it takes cells of tokens; a block may be nothing but that */
    MERGE_LINEAR,                         /* after the last merging, before its positions */
    GRID_CONV,                            /* after a stage's first block: a convolution of each channel that tells places apart */
    FUSE,                                 /* after a stage: what it adds to the last one's tokens */
    NORM1, QKV, QKV_MASK, KEY_VALUE, QUERY, KEY, VALUE, QUERY_NORM, KEY_NORM, ATTENTION_NORM, PROJ, SCALE1,
    NORM2, FC1, GATE, UP, MLP_NORM, FC2, SCALE2,    /* a gated MLP has GATE and UP, or both in FC1, the gate's rows first */
    RELATIVE_BIAS,                        /* of a block, or at the top: of all of them; both are added */
    BIAS_MLP1, BIAS_MLP2,                 /* compute such a bias from distances */
    COORDINATES, WINDOW_MASK,             /* their inputs, and what a shift hides: evidence of windows and sizes */
    AXIS_Y, AXIS_X, AXIS_T,               /* relative positions along each axis, that queries multiply */
    LOGIT_SCALE,                          /* of queries and keys of unit length */
    THIN_QUERY, THIN_KEY, THIN_VALUE,     /* convolutions that thin them out, */
    THIN_QUERY_NORM, THIN_KEY_NORM, THIN_VALUE_NORM,      /* and what follows */
    SHORTCUT, MLP_SHORTCUT,               /* beside attention or MLP, where they change the width */
    CONV1, DEPTHWISE, CONV2,              /* in place of attention */
    REDUCE, REDUCE_NORM,                  /* what keys and values are of: cells of tokens */
    ROLE_COUNT
};

typedef struct part {
    const tensor *weight, *bias;          /* NULL: absent */
} part;

typedef struct published_size {
    uint32_t dim, depth, hidden, heads;
} published_size;

#define EDGE_PADDED 1u                    /* the picture is fitted into the input, and zeros fill it up */

typedef struct preparation {              /* of a picture: the short edge becomes edge, the middle size x size is kept */
    uint32_t size, edge;                  /* as published; size 0: none; edge 0: squashed; EDGE_PADDED */
    uint32_t larger;                      /* 1: above `size` the short edge becomes the size; 0: the same proportion */
    uint32_t stored;                      /* positions of this size (pixels) are interpolated to `size` by default */
    uint32_t filter;
    const published_size *others;         /* sizes that were also published with another mean; NULL: none */
} preparation;

/* What the attention knows of positions, and the gate of an MLP. */
typedef struct arithmetic {
    uint32_t bias;                        /* MIM_BIAS_...: how a relative position bias goes to other grids */
    uint32_t rotary, rotary_grid;         /* MIM_ROTARY_..., MIM_GRID_... */
    float rotary_base;                    /* what the longest period tends to, over the shortest */
    uint32_t rotary_side;                 /* of the square grid that MIM_GRID_SCALED refers to */
    uint32_t gate;                        /* activation of a gated MLP; 0: differs */
    uint32_t post_norm;                   /* 1: the blocks' norms follow the attention and the MLP */
} arithmetic;

/* How a table of a family is made that its files do not hold, or not as the blob wants it. */
enum made {
    MADE_NOTHING,
    MADE_NUMBER_WAVES,                    /* positions: waves of the token's number (VideoMAE) */
    MADE_FRAME_WAVES,                     /* positions: waves of the frame, the row and the column; of date and place (Prithvi) */
    MADE_FRAME_SUMS,                      /* positions: those of a frame's places and those of the frames (Hiera of videos) */
    MADE_DATE_WAVES,                      /* behind stored positions, waves of year, month and hour (SatMAE) */
    MADE_GROUPS,                          /* one projection for all groups of channels, and stored positions for a part of the width */
    MADE_TURNS,                           /* a rotary embedding of frame, row and column (V-JEPA 2) */
    MADE_VECTORS                          /* no projection: vectors for the caller, who makes the tokens (Presto, Galileo) */
};

/* One tensor of MADE_VECTORS: its columns, or its rows, are vectors; narrow ones begin at dim * quarter / 4. */
typedef struct vector_row {
    const char *name;                     /* NULL ends a list */
    uint8_t columns, quarter;
} vector_row;

#define VECTORS_MAX 64u

/* What a family has besides patches of one picture; only a name and zeros for those that have nothing. */
typedef struct scheme {
    const char *family;
    enum made made;
    uint32_t frames;                      /* as published; 0: differs */
    uint32_t height, width;               /* of all published inputs; 0: they differ, or their files tell */
    uint32_t heads;                       /* of all its sizes; 0: they differ */
    uint32_t tokens;                      /* MADE_VECTORS: as many as are expected */
    uint32_t pool_first;                  /* 1: the last norm comes after pooling, too */
    float pool_eps;                       /* of the norm of what is pooled; 0: that of the others */
    uint32_t channels;                    /* that mean and std are of; 0: three, as in its row of families */
    const float *mean, *std;
} scheme;

enum { STAGES_MAX = 8 };

/* What the tensors of models with windows, stages or a neck do not show. All zero: a plain one. */
typedef struct layout {
    uint32_t known;                       /* 1: the family has one */
    uint32_t window;                      /* MIM_WINDOW_... of tables of relative positions; 0: they are of the whole grid */
    uint32_t side;                        /* of the windows, where neither tables nor anybody else tells; 0: one of them must */
    uint32_t one_window;                  /* all stages have one; tables are smaller where the grid was */
    uint32_t shifts, roll_padded;         /* every other block's windows are shifted; see mim_blob_step */
    float mask;
    uint32_t frozen;                      /* windows are settled by the size trained at, by the height alone */
    uint32_t post_norm;
    uint32_t by_rows;                     /* merging takes the tokens of a cell row by row; else column by column */
    uint32_t whole, token_norm;           /* merging takes whole cells alone; its norm is of each token */
    float eps;                            /* of norms outside the blocks, of blocks of convolutions, of what keys are of; 0: as inside */
    float block_eps;                      /* of norms inside the blocks; 0: as of the last norm */
    uint32_t activation;                  /* after projection and merging; 0: none */
    uint32_t stride, frame_stride;        /* pixels, and in videos frames, from patch to patch where patches overlap */
    uint32_t key_stride;                  /* tokens from key to key of the first stage: the later ones have as many keys */
    uint32_t bare_grid_conv;              /* GRID_CONV replaces the tokens; else it is added to them */
    uint32_t pools;                       /* stages that begin by thinning out their queries */
    uint32_t unit_stages;                 /* of them, the first so many attend within mask units */
    uint32_t pool_norm;                   /* the last norm is of the pooled feature */
    uint32_t prefix_query;                /* prefix tokens, too, have their query added */
    uint32_t extra_positions;             /* rows before those of the patches */
} layout;

#define POOL_BY_NORM 255u                 /* CLS where the last norm is of all tokens, else the mean of the patches */
#define POOL_THEN_NORM 254u               /* the mean of the patches, which alone is normed */
#define CLS_THEN_NORM 253u                /* CLS, which alone is normed */

typedef struct family {
    const char *name;                     /* --family, and in the blob */
    const char *title;
    const char *method;                   /* how it was pretrained; "": various */
    const char *naming;                   /* of its tensors */
    const char *model_type;               /* in transformers' config.json, "a|b": either, or NULL */
    const char *evidence[5];              /* names that must be in the file, "*.name": of any block, "a|b": one of them;
                                             "!name": that must not; "name.**": that begins so;
                                             "gated MLP", "widening blocks", "widening MLPs", "1792 wide" */
    float eps;                            /* 0: differs from file to file */
    uint32_t activation;                  /* MIM_GELU_..., 0: differs */
    uint32_t pool;                        /* MIM_POOL_..., POOL_BY_NORM, 0: differs */
    uint32_t positions;                   /* MIM_POSITIONS_... */
    float position_offset;
    uint32_t any_grid;                    /* 1: the reference interpolates from non-square grids too */
    const float *mean, *std;              /* of RGB, or NULL */
    preparation picture;
    const published_size *sizes;          /* ends with 0; NULL: none */
    published_size decoder;
    arithmetic arithmetic;
} family;

/* A checkpoint, recognised. */
typedef struct vit {
    const family *family;
    const char *naming;
    char evidence[192];                   /* why this family, for people */
    char *prefix;                         /* what precedes the encoder's names: "", "vit." */
    part top[ROLE_COUNT];
    part group[MIM_MAX_GROUPS];           /* projections of groups of channels */
    const tensor *vectors[VECTORS_MAX];   /* of MADE_VECTORS, in the order of vector_rows */
    part block[MIM_MAX_DEPTH][ROLE_COUNT];
    part stage[STAGES_MAX][ROLE_COUNT];   /* MERGE, MERGE_NORM and FUSE */
    uint8_t stage_of[MIM_MAX_DEPTH];      /* of each block */
    uint32_t stages;
    layout layout;
    part decoder[MIM_MAX_DEPTH][ROLE_COUNT];
    uint32_t depth, decoder_depth;
    const char *no_decoder;               /* why the one in the file cannot be kept, or NULL */
    const char **ignored;                 /* per tensor of the checkpoint: why it is left out; NULL: used */
} vit;

const family *family_find(const char *name);
const scheme *family_scheme(const family *f);
const vector_row *family_vectors(const family *f);       /* of MADE_VECTORS; else NULL */
const family *family_of_model_type(const char *model_type);
void family_names(char *into, size_t bytes);      /* "mae, timm, ..." */

/* Gives every tensor its role, or its reason to be ignored, or fails naming those that have neither. wanted: the
 * family asked for, or NULL. prefix: that of the encoder asked for, or NULL. 0, or 1 after fail(). vit_free in either case. */
int  vit_recognise(vit *model, const checkpoint *cp, const family *wanted, const char *prefix);
void vit_free(vit *model);

/* A decoder may be left out whatever it is made of; one that is kept must be whole. 0, or 1 after fail(). */
int  vit_check_decoder(const vit *model, const checkpoint *cp);

/* The family of one of timm's architectures, by name, with its heads and activation (0: the family's); NULL: unknown. */
const family *timm_architecture(const char *name, uint32_t *heads, uint32_t *activation);

/* The window of one of timm's architectures, and the one that it was pretrained with; 0: unknown, or the same. */
void timm_window(const char *name, uint32_t *window, uint32_t *pretrained);

/* Whether a block's MLP is gated, by the shapes of its tensors. */
int is_gated(const part *block);

/* Whether a block has attention; attends in windows, not to keys of the whole grid; has nothing but the merging of tokens. */
static inline int has_attention(const part *block)
{
    return block[QKV].weight || block[QUERY].weight || block[KEY_VALUE].weight || block[REDUCE].weight;
}
static inline int is_windowed(const vit *model, const part *block)
{
    return model->layout.window && has_attention(block) && !block[KEY_VALUE].weight;
}
static inline int is_merging(const part *block) { return block[MERGE].weight != NULL; }

/* Marks what belongs to the decoder alone as ignored. */
void vit_drop_decoder(vit *model, const checkpoint *cp, const char *why);

/* The names of the tensors i for which chosen[i] == why, with their numbers as '*', each once and counted:
 * "blocks.*.norm1.weight (12), cls_token". brief: only up to the first number. */
void list_names(char *into, size_t bytes, const checkpoint *cp, const char *const *chosen, const char *why, int brief);

#endif
