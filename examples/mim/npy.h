/* npy.h - NumPy's .npy files: arrays read piece by piece, and the header of one being written. */
#ifndef NPY_H
#define NPY_H

#include "tool.h"

#define NPY_MAX_DIMS 8u
#define NPY_MAX_HEADER 65536u         /* longest header accepted, in bytes */

enum { NPY_F4 = 1, NPY_I4 = 2, NPY_I8 = 3 };   /* little-endian */

typedef struct npy_array {
    int type;                         /* NPY_... */
    uint32_t dims;                    /* 0: a single number */
    uint64_t shape[NPY_MAX_DIMS];
    uint64_t count;                   /* elements */
    uint64_t data_at;                 /* bytes from the file's start */
    int fd;                           /* npy_open */
} npy_array;

/* Reads the header in head[0, bytes), the beginning of a file of file_bytes. Only C order, the types above, and a file
 * exactly as long as its shape says. 0, or 1 with the reason. */
int  npy_parse(npy_array *array, const uint8_t *head, size_t bytes, uint64_t file_bytes, reason *why);

int  npy_open(npy_array *array, const char *path, reason *why);
/* Elements [first, first + count), which must lie within the array. Threads may read one array at the same time. */
int  npy_read(const npy_array *array, uint64_t first, size_t count, void *elements, reason *why);
void npy_close(npy_array *array);

/* The header of a float32 array of 2 to 8 dimensions; its elements follow with out_write. 0, or 1 after fail(). */
int  npy_write_header(out_file *out, const uint64_t *shape, uint32_t dims);

#endif
