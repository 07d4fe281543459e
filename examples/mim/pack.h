/* pack.h - rows of numbers become the tensors of a blob, and a plan becomes a file.
 *
 * A plan is a header, steps, and for every tensor of the directory the rows it is made of. Rows are gathered
 * from the checkpoint and packed 16 at a time, so writing needs the memory of one panel. */
#ifndef PACK_H
#define PACK_H

#include "families.h"

/* Of quantized blobs: the largest weight where fours are not held, quantized key and quantized value. Products of +-63 and 0..255
 * are exact in the fast 16-bit sums of AVX2; see mim_blob_tensor. */
#define PACK_WEIGHT_MAX 63
#define PACK_ATTENTION_MAX 63

/* What the matrices are stored as, and what their input becomes. */
typedef struct number_kind {
    uint32_t type;                /* MIM_F32... */
    uint8_t input_max;            /* quantized: 127 or 255, else 0 */
    uint8_t group;                /* q4: 32, 64 or 128, else 0 */
} number_kind;

enum rows_kind {
    ROWS_LINEAR,       /* part[0]: rows and bias, as they are */
    ROWS_COLUMNS,      /* part[0]: its columns */
    ROWS_QKV,          /* per head the rows of part[0], part[1], part[2], each padded to 16s with zero rows */
    ROWS_NORM,         /* part[0]: weight, bias */
    ROWS_GATED,        /* rows of part[0] then part[1], each padded to 16s with zero rows */
    ROWS_BIAS,         /* the columns of part[0] plus those of part[1], either may be absent */
    ROWS_ROTARY,       /* per channel its angle and its coordinate, from part[0] (periods) or from the base */
    ROWS_TOKENS,       /* the row of part[0], then those of part[1], each plus the row of part[2] while it has one */
    ROWS_MADE,         /* what made.c makes of parameters, or of several tensors */
    ROWS_POSITIONS,    /* the rows of part[0] from first[0] on; zeros behind narrow ones */
    ROWS_AXES,         /* the rows of part[0], part[1] and, where it is there, part[2], each padded to 16s */
    ROWS_DEPTHWISE,    /* of each of count parts the places of its kernel, each a row of all channels; last the bias of part[0];
                          factor: what is added to the middle of the kernel */
    ROWS_NORMS,        /* of each of count parts weight and bias */
    ROWS_SCALES,       /* the factors of cosines: exp(part[0]), 100 at most */
    ROWS_DISTANCES,    /* one head's column of a bias that an MLP, part[0] and part[1], makes of distances; reach_y 0: UM-MAE's */
    ROWS_DISTANCE_MLP, /* that MLP: weights of y, of x, biases, then each head's, padded to 16s */
    ROWS_DISTANCE_INPUTS,  /* its inputs for windows of 1, 2, 3... */
    ROWS_READY         /* the tensor's data as it goes into the blob */
};

/* How the numbers of a row that belong to a cell of tokens lie in the file; in a blob they lie by rows. */
enum { CELLS_BY_ROW = 0, CELLS_BY_COLUMN = 1, CELLS_INSIDE = 2,       /* INSIDE: all places of a channel, then the next's */
       CELLS_ALIKE = 3 };                                             /* of the mean of a cell: the same for all places */

typedef struct rows {
    enum rows_kind kind;
    part part[3];                 /* QKV: may be three times the same, a fused matrix */
    uint64_t first[3];            /* QKV, GATED, POSITIONS: first row in each; TOKENS: [2] rows of part[2] that are added */
    const tensor *gain;           /* LINEAR, PROJ: factor of every row and its bias (layer scale), or NULL */
    double factor;                /* LINEAR: another, of all of them; 0: none. DEPTHWISE */
    uint32_t heads, head_dim;     /* QKV; BIAS: heads; ROTARY: head_dim */
    uint32_t hidden;              /* GATED: rows of each half */
    uint32_t cell_height, cell_width, order;      /* LINEAR, NORM, POSITIONS: see above; DISTANCES: the window; DEPTHWISE: the
                                                     kernel's, frames times height */
    uint32_t count;               /* DEPTHWISE, NORMS */
    uint32_t reach_y, reach_x;    /* DISTANCES: what is farthest in the window it was pretrained with */
    uint32_t rotary, grid;        /* ROTARY: MIM_ROTARY_..., MIM_GRID_... */
    double base;                  /* ROTARY, MADE: turns */
    const tensor *tail;           /* TOKENS: what is added behind narrow rows of part[2], or NULL */
    enum made made;               /* MADE: what, */
    uint32_t places;              /*   1: positions on a grid, not waves */
    uint32_t width;               /*   of that grid; or channels that a number of a date has */
    const vit *of;                /*   and of which model: groups, vectors */
    const uint8_t *channel_group, *channel_place;       /* group of a channel, and its place in it */
    const void *ready;            /* READY */
    float *steps;                 /* q8 whose fours are held: of each row; plan_write's own */
} rows;

typedef struct plan {
    mim_blob_header header;
    mim_blob_step steps[MIM_MAX_STEPS];
    mim_blob_tensor tensors[MIM_MAX_TENSORS];
    rows rows[MIM_MAX_TENSORS];
    number_kind kind;
    uint32_t blocks;                      /* of the encoder */
    const char *path;             /* of the checkpoint, for messages */
} plan;

/* Appends a step; all zero but its kind. Never NULL for plans within the limits of mim.h, which the caller checks first. */
mim_blob_step *plan_step(plan *p, uint16_t kind);

/* Appends a tensor to the step's slot: PLAIN f32, or PANEL16 of the plan's type (of a quantized blob's EMBED: f16). */
void plan_plain(plan *p, mim_blob_step *step, unsigned slot, uint32_t count, uint32_t columns, const rows *from);
void plan_matrix(plan *p, mim_blob_step *step, unsigned slot, uint32_t count, uint32_t columns, const rows *from);

/* The first block of a q4 blob is q8, where there are enough others: they all work on its errors, and of the shipped model's
 * it alone would make 40 %. */
static inline int stays_q8(uint32_t blocks, uint32_t step) { return blocks >= 4 && step <= 2; }

/* Stores row `lane` of a panel of q4, k columns, by the step *scale, at least `least`, that comes back; returns its weights' sum. */
int32_t pack_row_q4(uint8_t *panel, uint32_t group, uint32_t lane, uint32_t k, const float *row, float least, float *scale);

/* Appends a tensor that is ready: its record (but `at`) and its data, which must outlive the plan. */
void plan_ready(plan *p, mim_blob_step *step, unsigned slot, const mim_blob_tensor *t, const void *data);

/* Row n of a tensor of a plan, and of a matrix its bias. 0, or 1 after fail(). */
int  plan_row(const rows *r, uint32_t n, uint32_t columns, float *row, float *bias);

/* Completes the header (counts, sizes), writes the blob and opens what was written with mim_open. 0, or 1 after fail(). */
int  plan_write(plan *p, const char *path);

static inline uint32_t round_up(uint32_t n, uint32_t to) { return (n + to - 1) / to * to; }

#endif
