/* checkpoint.h - named tensors from a checkpoint file, whatever its format.
 *
 * safetensors; PyTorch's .pth, .pt, .bin, .ckpt (zip and the stream before it), read without executing anything; NumPy's
 * .npz; GGUF. In one file, in shards with an index, or in a folder with either. Everything is verified when it is opened;
 * the numbers themselves are read, and checked to be finite, when asked for. */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include "json.h"
#include "tool.h"

#define TENSOR_RANK 8u

typedef struct tensor {
    const char *name;             /* printable ASCII, unique in the checkpoint */
    const char *file;             /* path it was read from, for messages */
    const uint8_t *data;          /* of the first element; not aligned; all of them lie in the file, or in its shard's memory */
    uint64_t count;               /* elements: the product of shape */
    uint64_t shape[TENSOR_RANK];
    uint64_t stride[TENSOR_RANK]; /* elements from one index to the next, where strided */
    uint32_t rank;
    uint32_t dtype;               /* index in checkpoint.c's table */
    int strided;                  /* 0: row-major */
    int swapped;                  /* 1: big-endian */
} tensor;

typedef struct metadata_pair {
    const char *key, *value;
} metadata_pair;

typedef struct shard {
    char *path;
    in_file file;
    json header;                  /* safetensors: names and metadata live in its text */
    struct block *memory;         /* other formats: they live here, and what had to be unpacked */
} shard;

typedef struct checkpoint {
    char *path;                   /* of the file that was opened: the model or its index */
    tensor *tensors;              /* sorted by name */
    size_t count, room;
    metadata_pair *metadata;      /* what the file says about itself */
    size_t metadata_count;
    shard *shards;
    size_t shard_count;
    const char *wrapper;          /* the state dict asked for, of a file that holds several; NULL: by rule */
    char origin[500];             /* which was taken, and what was left out of it, for people; "": the file is all tensors */
} checkpoint;

/* Opens a file or folder. wrapper: the key of the state dict in a PyTorch file, or NULL. 0, or 1 after fail().
 * checkpoint_close in either case. */
int  checkpoint_open(checkpoint *cp, const char *path, const char *wrapper);
void checkpoint_close(checkpoint *cp);

/* Reads a checkpoint from bytes in memory, which must outlive it. As checkpoint_open. */
int  checkpoint_parse(checkpoint *cp, const void *data, size_t bytes, const char *path, const char *wrapper);

const tensor *checkpoint_find(const checkpoint *cp, const char *name);            /* or NULL */
const char *checkpoint_metadata(const checkpoint *cp, const char *key);           /* or NULL */

/* Elements [first, first + count) as floats, rounded once. 0, or 1 after fail(): not numbers, not finite, too large. */
int  tensor_read(const tensor *t, uint64_t first, size_t count, float *into);

/* "f32 [768, 3, 16, 16]", into 128 bytes or more. */
void tensor_describe(const tensor *t, char *into, size_t bytes);

/* A sibling of path, or of what is in the folder path: "dir/name". NULL after fail(): no memory. */
char *path_beside(const char *path, const char *name);
int   path_is_folder(const char *path);
int   path_exists(const char *path);

#endif
