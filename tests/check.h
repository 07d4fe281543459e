/* check.h - what the C tests share: groups of checks, random numbers that repeat, memory between guard pages. */
#ifndef CHECK_H
#define CHECK_H

#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE                 /* MAP_ANONYMOUS */
#endif
#define _DARWIN_C_SOURCE                /* the same, there */
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* One line per group, about its first failure: "ok NAME", "FAIL NAME: why", "skip NAME: why". */
static struct { char name[100], why[400]; int failed; } check_now;

static inline void check_end(void)
{
    if (check_now.name[0])
        printf(check_now.why[0] ? "FAIL %s: %s\n" : "ok %s\n", check_now.name, check_now.why);
    check_now.failed |= check_now.why[0] != 0;
    check_now.name[0] = check_now.why[0] = 0;
    fflush(stdout);
}

static inline void group(const char *name) { check_end(); snprintf(check_now.name, sizeof check_now.name, "%s", name); }
static inline void skip(const char *name, const char *why) { check_end(); printf("skip %s: %s\n", name, why); }
static inline int finish(void) { check_end(); return check_now.failed; }

#ifdef __GNUC__
__attribute__((format(printf, 3, 4)))
#endif
static inline int check_that(int holds, int line, const char *format, ...)
{
    if (!holds && !check_now.why[0]) {
        const int n = snprintf(check_now.why, sizeof check_now.why, "line %d: ", line);
        va_list args;
        va_start(args, format);
        vsnprintf(check_now.why + n, sizeof check_now.why - (size_t)n, format, args);
        va_end(args);
    }
    return holds;
}

#define CHECK(condition) check_that((condition) != 0, __LINE__, "%s", #condition)
#define CHECK_THAT(condition, ...) check_that((condition) != 0, __LINE__, __VA_ARGS__)     /* with a message of its own */

/* Random numbers, the same in every run: xorshift64*. */
static uint64_t check_state = 88172645463325252u;

static inline uint32_t any32(void)
{
    check_state ^= check_state >> 12, check_state ^= check_state << 25, check_state ^= check_state >> 27;
    return (uint32_t)((check_state * 2685821657736338717u) >> 32);
}
static inline uint32_t between(uint32_t lo, uint32_t hi) { return lo + (uint32_t)(((uint64_t)any32() * ((uint64_t)hi - lo + 1)) >> 32); }
static inline float uniform(float lo, float hi)         /* exact up to its last rounding, so that no contraction changes it */
{
    const float range = hi - lo;
    return (float)((double)lo + (double)range * (double)(any32() >> 8) / 16777216.0);
}

/* Pages between two that cannot be touched. A piece is cut to touch one of them, with 64 known bytes at its other side. */
typedef struct guard { uint8_t *first, *end, *piece; size_t bytes; } guard;

static inline uint8_t *guard_cut(guard *g, size_t bytes, size_t align, int low)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (bytes + 256 + page - 1) / page * page;
    if (!g->first || room > (size_t)(g->end - g->first)) {
        if (g->first)
            munmap(g->first - page, (size_t)(g->end - g->first) + 2 * page);
        g->first = (uint8_t *)mmap(NULL, room + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (g->first == (uint8_t *)MAP_FAILED || mprotect(g->first + page, room, PROT_READ | PROT_WRITE))
            perror("mmap"), exit(2);
        g->first += page;
        g->end = g->first + room;
    }
    g->bytes = bytes;
    g->piece = low ? g->first : g->end - (bytes + align - 1) / align * align;
    memset(low ? g->piece + bytes : g->piece - 64, 0xa5, 64);
    memset(g->piece + bytes, 0xa5, low ? 64 : (size_t)(g->end - g->piece) - bytes);
    return g->piece;
}
static inline void *guard_low(guard *g, size_t bytes) { return guard_cut(g, bytes, 16, 1); }
static inline void *guard_high(guard *g, size_t bytes, size_t align) { return guard_cut(g, bytes, align, 0); }

static inline int guard_intact(const guard *g)
{
    const uint8_t *behind = g->piece + g->bytes, *p = g->piece == g->first ? behind : g->piece - 64;
    const uint8_t *end = g->piece == g->first ? behind + 64 : g->end;
    while (p < end && *p == 0xa5)
        p += p + 1 == g->piece ? 1 + g->bytes : 1;
    return p == end;
}

#endif
