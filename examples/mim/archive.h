/* archive.h - zip archives from strangers, as PyTorch and NumPy write them.
 *
 * The whole directory is verified when an archive is opened: every entry lies in the file, its local header agrees with
 * the directory, no two entries overlap, none is encrypted, no name is there twice. */
#ifndef ARCHIVE_H
#define ARCHIVE_H

#include "container.h"

enum { ZIP_STORED = 0, ZIP_DEFLATED = 8 };

typedef struct zip_entry {
    const char *name;             /* any bytes, not terminated */
    size_t name_bytes;
    const uint8_t *data;          /* as it lies in the file */
    uint64_t bytes, unpacked;     /* there; and after unpacking */
    uint32_t crc;                 /* of the unpacked bytes */
    uint32_t method;              /* ZIP_... */
} zip_entry;

typedef struct archive {
    const char *path;             /* for messages */
    zip_entry *entries;           /* sorted by name */
    size_t count;
} archive;

/* 0, or 1 after fail(). archive_close in either case. */
int  archive_open(archive *a, const in_file *file, const char *path);
void archive_close(archive *a);

const zip_entry *archive_find(const archive *a, const char *name, size_t bytes);       /* or NULL */

/* The first `bytes` bytes of an entry that is stored or deflated; where they are all of it, its checksum is verified too if
 * it was deflated. 0, or 1 after fail(). */
int  archive_read(const archive *a, const zip_entry *e, uint8_t *into, size_t bytes);

/* npz.c: the arrays of NumPy's archives. */
int read_npz(checkpoint *cp, shard *s, const archive *a);

#endif
