/* integer.h - integer numerics for `mim convert`. */
#ifndef INTEGER_H
#define INTEGER_H

#include "pack.h"

/* What becomes of the matrices. */
typedef struct integer_kind {
    uint32_t type;                /* MIM_Q8, MIM_Q4 */
    uint8_t group;                /* q4 */
    uint8_t layout;               /* MIM_PANEL16, or of q8 MIM_PAIRS16 */
} integer_kind;

/* Where weight i of row n lies, in panels of k columns as any build reads them: a byte for MIM_PAIRS16 has 128 added. */
size_t integer_place(uint8_t lay, uint32_t k, uint32_t n, uint32_t i);

/* Runs a plan of f32 over the pictures of a folder and writes the integer blob that follows; its header comes back in `written`.
 * 0, or 1 after fail(): what integers cannot do yet is named. */
int integer_write(const plan *from, const integer_kind *kind, const char *calibration, const char *output, mim_blob_header *written);

#endif
