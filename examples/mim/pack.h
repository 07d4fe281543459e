/* pack.h - rows of numbers become the tensors of a blob, and a plan becomes a file.
 *
 * A plan is a header, steps, and for every tensor of the directory the rows it is made of. Rows are gathered
 * from the checkpoint and packed 16 at a time, so writing needs the memory of one panel. */
#ifndef PACK_H
#define PACK_H

#include "families.h"

/* Of 8-bit blobs: the largest weight, quantized key and quantized value, and the largest quantized input. Products of
 * +-63 and 0..255 are exact in the fast 16-bit sums of AVX2; see mim_blob_tensor. */
#define PACK_WEIGHT_MAX 63
#define PACK_INPUT_MAX 255
#define PACK_ATTENTION_MAX 63

enum rows_kind {
    ROWS_LINEAR,       /* part[0]: rows and bias, as they are */
    ROWS_QKV,          /* per head the rows of part[0], part[1], part[2], each padded to 16s with zero rows */
    ROWS_NORM,         /* part[0]: weight, bias */
    ROWS_GATED,        /* rows of part[0] then part[1], each padded to 16s with zero rows */
    ROWS_BIAS,         /* the columns of part[0] plus those of part[1], either may be absent */
    ROWS_ROTARY,       /* per channel its angle and its coordinate, from part[0] (periods) or from the base */
    ROWS_TOKENS,       /* the row of part[0], then those of part[1], each plus the row of part[2] while it has one */
    ROWS_POSITIONS,    /* the rows of part[0] from first[0] on */
    ROWS_READY         /* the tensor's data as it goes into the blob */
};

typedef struct rows {
    enum rows_kind kind;
    part part[3];                 /* QKV: may be three times the same, a fused matrix */
    uint64_t first[3];            /* QKV, GATED, POSITIONS: first row in each; TOKENS: [2] rows of part[2] that are added */
    const tensor *gain;           /* LINEAR, PROJ: factor of every row and its bias (layer scale), or NULL */
    uint32_t heads, head_dim;     /* QKV; BIAS: heads; ROTARY: head_dim */
    uint32_t hidden;              /* GATED: rows of each half */
    uint32_t rotary, grid;        /* ROTARY: MIM_ROTARY_..., MIM_GRID_... */
    double base;                  /* ROTARY */
    const void *ready;            /* READY */
} rows;

typedef struct plan {
    mim_blob_header header;
    mim_blob_step steps[MIM_MAX_STEPS];
    mim_blob_tensor tensors[MIM_MAX_TENSORS];
    rows rows[MIM_MAX_TENSORS];
    const char *path;             /* of the checkpoint, for messages */
} plan;

/* Appends a step; all zero but its kind. Never NULL for plans within the limits of mim.h, which the caller checks first. */
mim_blob_step *plan_step(plan *p, uint16_t kind);

/* Appends a tensor to the step's slot: PLAIN f32, or PANEL16 of the plan's type (of a q8 blob's EMBED: f16). */
void plan_plain(plan *p, mim_blob_step *step, unsigned slot, uint32_t count, uint32_t columns, const rows *from);
void plan_matrix(plan *p, mim_blob_step *step, unsigned slot, uint32_t count, uint32_t columns, const rows *from);

/* Appends a tensor that is ready: its record (but `at`) and its data, which must outlive the plan. */
void plan_ready(plan *p, mim_blob_step *step, unsigned slot, const mim_blob_tensor *t, const void *data);

/* Row n of a tensor of a plan, and of a matrix its bias. 0, or 1 after fail(). */
int  plan_row(const rows *r, uint32_t n, uint32_t columns, float *row, float *bias);

/* Completes the header (counts, sizes), writes the blob and opens what was written with mim_open. 0, or 1 after fail(). */
int  plan_write(plan *p, const char *path);

static inline uint32_t round_up(uint32_t n, uint32_t to) { return (n + to - 1) / to * to; }

#endif
