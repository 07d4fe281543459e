/* made.h - tables of a blob that no tensor of the checkpoint holds as they are: waves, turns, groups of channels, vectors.
 *
 * Waves follow the papers: sin and cos of a value times 10000^(-i / n), computed in double and stored as the float32 that is
 * nearest; frequencies as two floats, so that a year times one is right. */
#ifndef MADE_H
#define MADE_H

#include "pack.h"

/* Row n of rows of kind ROWS_MADE: columns floats, and a bias. 0, or 1 after fail(). */
int made_row(const rows *r, uint32_t n, uint32_t columns, float *row, float *bias);

/* How many vectors the tensor of a vector_row holds. */
uint64_t made_vectors(const vector_row *row, const tensor *t);

#endif
