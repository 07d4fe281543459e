/* container.h - what the readers of the formats share; checkpoint.h is for everybody else.
 *
 * A reader turns the bytes of a shard into tensors. It trusts nothing: every length is checked before it is used, memory
 * stays linear in the size of the file, and nothing is executed. Each returns 0, or 1 after fail(). */
#ifndef CONTAINER_H
#define CONTAINER_H

#include "checkpoint.h"

#define TENSORS_MAX (1u << 20)

int read_safetensors(checkpoint *cp, shard *s);
int read_zip(checkpoint *cp, shard *s);             /* PyTorch since 1.6, or .npz */
int read_torch_stream(checkpoint *cp, shard *s);    /* PyTorch before */
int read_gguf(checkpoint *cp, shard *s);

/* ---- types of numbers (checkpoint.c) ---- */

/* By the name that safetensors or GGUF gives it. 1 if there is one. */
int dtype_named(const char *name, uint32_t *dtype);

/* Whether elements come in blocks with a scale, as in GGUF. */
int dtype_is_blocks(uint32_t dtype);

/* Bytes of so many elements: 1, or 0 where they do not fill whole bytes or whole blocks, or are too many. */
int dtype_bytes(uint32_t dtype, uint64_t count, uint64_t *bytes);

/* ---- adding (checkpoint.c) ---- */

/* Memory that lives as long as the shard, zeroed; NULL after fail(). */
void *shard_memory(shard *s, size_t bytes);
char *shard_text(shard *s, const void *text, size_t bytes);             /* a copy, NUL-terminated */

/* Room for `more` tensors. */
int checkpoint_reserve(checkpoint *cp, size_t more);

/* A new tensor without shape, after checkpoint_reserve; its name is copied. NULL after fail(): not a name. */
tensor *checkpoint_add(checkpoint *cp, shard *s, const void *name, size_t bytes);

/* What the file says of itself; key and value must live as long as the shard. */
int checkpoint_add_metadata(checkpoint *cp, const char *key, const char *value);

/* One more dimension. 1, or 0: too many, or the elements are too many for 64 bits. */
int tensor_append(tensor *t, uint64_t size);

/* ---- bytes and text ---- */

static inline uint64_t read_le(const uint8_t *p, uint32_t bytes)
{
    uint64_t value = 0;
    for (uint32_t i = bytes; i-- > 0;)
        value = value << 8 | p[i];
    return value;
}

/* Text that is a name here: 1 to 511 characters of printable ASCII. */
int printable(const void *text, size_t bytes);

/* Any bytes made fit for a message: at most 60, what is not printable as '?'. Four at a time may be in use. */
const char *shown(const void *text, size_t bytes);

#endif
