/* For machines without page protection: guard pages are memory like any other, and only the bytes around a piece tell. */
#ifndef BARE_MMAN_H
#define BARE_MMAN_H

#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define sysconf(name) 4096      /* the size of a page */
#define PROT_NONE 0
#define PROT_READ 1
#define PROT_WRITE 2
#define MAP_PRIVATE 1
#define MAP_ANONYMOUS 2
#define MAP_FAILED ((void *)-1)

static inline void *mmap(void *at, size_t bytes, int protection, int flags, int file, long offset)
{
    void *memory = calloc(bytes + 80, 1), **base;   /* aligned to 64, malloc's own pointer before it */
    (void)at, (void)protection, (void)flags, (void)file, (void)offset;
    if (!memory)
        return MAP_FAILED;
    base = (void **)(((uintptr_t)memory + 80) & ~(uintptr_t)63);
    base[-1] = memory;
    return base;
}

static inline int mprotect(void *memory, size_t bytes, int protection)
{
    (void)memory, (void)bytes, (void)protection;
    return 0;
}

static inline int munmap(void *memory, size_t bytes)
{
    (void)bytes;
    free(((void **)memory)[-1]);
    return 0;
}

#endif
