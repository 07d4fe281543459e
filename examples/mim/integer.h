/* integer.h - integer numerics for `mim convert`. */
#ifndef INTEGER_H
#define INTEGER_H

#include "pack.h"

/* Runs a plan of f32 over the pictures of a folder and writes the integer blob that follows; its header comes back in `written`.
 * 0, or 1 after fail(): what integers cannot do yet is named. */
int integer_write(const plan *from, const char *calibration, const char *output, mim_blob_header *written);

#endif
