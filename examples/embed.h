/* embed.h - what presto.c and galileo.c share: arrays in, a list of tokens, the encoder, arrays out. */
#ifndef EMBED_H
#define EMBED_H

#include "mim/npy.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A small .npy array, its elements as double. */
typedef struct array {
    uint64_t shape[NPY_MAX_DIMS];
    uint32_t dims;
    double *at;
} array;

/* 0, or 1 after fail(). at: NULL, or what array_free is for. */
static int array_read(array *a, const char *path, uint32_t dims)
{
    npy_array file;
    reason why;
    memset(a, 0, sizeof *a);
    if (npy_open(&file, path, &why)) return fail("%s: %s", path, why.text);
    a->dims = file.dims;
    memcpy(a->shape, file.shape, sizeof a->shape);
    size_t size = file.type == NPY_I8 ? 8 : 4, count = file.count < 1u << 27 ? (size_t)file.count : 0;
    uint8_t *bytes = count ? malloc(count * size) : NULL;
    a->at = count ? malloc(count * sizeof *a->at) : NULL;
    int failed = file.dims != dims ? fail("%s: has %" PRIu32 " dimensions, not %" PRIu32, path, file.dims, dims)
               : !bytes || !a->at ? fail("%s: is empty, or too large", path)
               : npy_read(&file, 0, count, bytes, &why) ? fail("%s: %s", path, why.text) : 0;
    for (size_t i = 0; i < count && !failed; i++) {
        float real;
        int32_t narrow;
        int64_t wide;
        memcpy(&real, bytes + i * size, 4);
        memcpy(&narrow, bytes + i * size, 4);
        if (size == 8) memcpy(&wide, bytes + i * size, 8);
        else wide = narrow;
        a->at[i] = file.type == NPY_F4 ? (double)real : (double)wide;
    }
    npy_close(&file);
    free(bytes);
    return failed;
}

static void array_free(array *a)
{
    free(a->at);
    memset(a, 0, sizeof *a);
}

/* The model, the vectors of its blob, and the tokens made of them so far. */
typedef struct embedder {
    in_file file;
    mim_model model;
    const float *vectors;             /* (rows, dim): see mim_table */
    uint32_t rows, dim;
    uint32_t count, room;
    float *tokens;                    /* (count, dim) */
    double *token;                    /* (dim): the one in hand */
} embedder;

/* room: tokens at most. family: whose vectors are expected. */
static int embedder_open(embedder *e, const char *path, const char *family, uint32_t room)
{
    memset(e, 0, sizeof *e);
    if (model_open(&e->model, &e->file, path)) return 1;
    e->dim = e->model.header->dim;
    e->vectors = mim_table(&e->model, &e->rows);
    if (strcmp(e->model.header->family, family) != 0 || !e->vectors) return fail("%s: is no model of the family %s", path, family);
    e->room = room;
    e->tokens = malloc((size_t)room * e->dim * sizeof *e->tokens);
    e->token = calloc(e->dim, sizeof *e->token);
    return e->tokens && e->token ? 0 : fail("not enough memory for %" PRIu32 " tokens", room);
}

static void embedder_close(embedder *e)
{
    if (e->file.data) in_close(&e->file);
    free(e->tokens);
    free(e->token);
}

/* Adds a vector of the blob, so many times, to the token in hand. */
static void add_vector(embedder *e, uint32_t row, double times)
{
    const float *vector = e->vectors + (size_t)row * e->dim;
    for (uint32_t i = 0; i < e->dim; i++) e->token[i] += times * (double)vector[i];
}

/* Keeps the token in hand, or not, and begins another. */
static void end_token(embedder *e, int kept)
{
    float *to = e->tokens + (size_t)e->count * e->dim;
    for (uint32_t i = 0; i < e->dim && kept; i++) to[i] = (float)e->token[i];
    e->count += kept ? 1 : 0;
    memset(e->token, 0, e->dim * sizeof *e->token);
}

static int write_array(const char *path, const float *values, const uint64_t *shape, uint32_t dims)
{
    out_file out;
    size_t count = 1;
    for (uint32_t i = 0; i < dims; i++) count *= (size_t)shape[i];
    if (out_open(&out, path)) return 1;
    if (npy_write_header(&out, shape, dims) || out_write(&out, values, count * sizeof *values)) {
        out_discard(&out);
        return 1;
    }
    return out_commit(&out);
}

/* Encodes the tokens, writes them (1, count, dim) and what is made of them (1, dim), and says so. */
static int encode_and_write(embedder *e, const char *tokens_path, const char *pooled_path)
{
    mim_session_desc desc;
    mim_output output;
    engine encoder;
    reason why;
    uint32_t pooled_dim = e->model.header->pooled_dim;
    float *pooled = malloc(pooled_dim * sizeof *pooled);
    memset(&desc, 0, sizeof desc);
    memset(&output, 0, sizeof output);
    memset(&encoder, 0, sizeof encoder);
    desc.height = 1;
    desc.width = e->count;            /* a token model's grid is one row */
    output.pooled = pooled;
    if (!pooled || engine_start(&encoder, &e->model, &desc, &why)) {
        free(pooled);
        return pooled ? fail("%s", why.text) : fail("not enough memory");
    }
    mim_status status = mim_encode_tokens(&encoder.session, e->tokens, NULL, e->count, &output);
    uint64_t tokens_shape[3] = { 1, e->count, e->dim }, pooled_shape[2] = { 1, pooled_dim };
    int failed = status != MIM_OK ? fail("%s", mim_status_string(status))
               : write_array(tokens_path, e->tokens, tokens_shape, 3) || write_array(pooled_path, pooled, pooled_shape, 2);
    if (!failed)
        printf("%" PRIu32 " tokens in %s, their feature in %s: %g %g %g ...\n", e->count, tokens_path, pooled_path, (double)pooled[0],
               (double)pooled[1], (double)pooled[2]);
    engine_stop(&encoder);
    free(pooled);
    return failed;
}

#endif
