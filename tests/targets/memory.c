/* memory.c - memcpy and its like, so that counts do not depend on the libraries of the compilers. */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);
int   memcmp(const void *a, const void *b, size_t n);

/* Compilers would make calls of memcpy from memcpy. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-tree-loop-distribute-patterns")
#endif

/* By words where both are aligned, as any library does. */
void *memcpy(void *to, const void *from, size_t n)
{
    uint8_t *a = to;
    const uint8_t *b = from;
    if ((((uintptr_t)a | (uintptr_t)b) & 3) == 0)
        for (; n >= 4; n -= 4, a += 4, b += 4)
            *(uint32_t *)(void *)a = *(const uint32_t *)(const void *)b;
    while (n--)
        *a++ = *b++;
    return to;
}

void *memset(void *to, int value, size_t n)
{
    uint8_t *a = to;
    const uint32_t four = (uint8_t)value * 0x01010101u;
    for (; n && (uintptr_t)a & 3; n--)
        *a++ = (uint8_t)value;
    for (; n >= 4; n -= 4, a += 4)
        *(uint32_t *)(void *)a = four;
    while (n--)
        *a++ = (uint8_t)value;
    return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const uint8_t *x = a, *y = b;
    for (; n; n--, x++, y++)
        if (*x != *y)
            return *x - *y;
    return 0;
}

#ifdef __clang__
/* What clang calls on Arm in place of the above. */
void __aeabi_memcpy(void *to, const void *from, size_t n);
void __aeabi_memcpy4(void *to, const void *from, size_t n);
void __aeabi_memcpy8(void *to, const void *from, size_t n);
void __aeabi_memclr(void *to, size_t n);
void __aeabi_memclr4(void *to, size_t n);
void __aeabi_memclr8(void *to, size_t n);
void __aeabi_memcpy(void *to, const void *from, size_t n) { memcpy(to, from, n); }
void __aeabi_memcpy4(void *to, const void *from, size_t n) { memcpy(to, from, n); }
void __aeabi_memcpy8(void *to, const void *from, size_t n) { memcpy(to, from, n); }
void __aeabi_memclr(void *to, size_t n) { memset(to, 0, n); }
void __aeabi_memclr4(void *to, size_t n) { memset(to, 0, n); }
void __aeabi_memclr8(void *to, size_t n) { memset(to, 0, n); }
#endif
