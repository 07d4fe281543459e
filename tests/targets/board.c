/* board.c - see board.h. Starts a Cortex-M or a RISC-V core of QEMU's, and what of the C library a program needs. */
#include "board.h"

int main(void);

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

extern uint32_t _data_at[], _data[], _data_end[], _bss[], _bss_end[], _stack[];

__attribute__((used)) void reset_in_c(void)
{
    uint32_t *to, *from = _data_at;
#ifdef __arm__
#if __ARM_ARCH >= 7 || defined(__ARM_ARCH_8M_MAIN__)
    *(volatile uint32_t *)0xe000ed88 |= 0xf00000;                /* floats and vectors, where there are such */
    __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
#endif
    for (to = _data; to < _data_end; )
        *to++ = *from++;
    for (to = _bss; to < _bss_end; )
        *to++ = 0;
    board_exit(main());
}

__attribute__((used)) void fault(void)
{
    board_write("FAIL a fault of the processor\n");
    board_exit(99);
}

#ifdef __arm__
static int semihost(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

__attribute__((used, section(".vectors"))) void (*const vectors[16])(void) = {
    (void (*)(void))_stack, reset_in_c, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault
};
#else
static int semihost(int operation, const void *argument)
{
    register int a0 __asm__("a0") = operation;
    register const void *a1 __asm__("a1") = argument;
    __asm__ volatile(".option push\n\t.option norvc\n\t.balign 16\n\tslli zero, zero, 0x1f\n\tebreak\n\tsrai zero, zero, 7\n\t.option pop"
                     : "+r"(a0) : "r"(a1) : "memory");
    return a0;
}

__asm__(".section .vectors, \"ax\"\n.globl start\nstart:\n\tla sp, _stack\n\tla t0, trap\n\tcsrw mtvec, t0\n\tcall reset_in_c\n\t.balign 4\ntrap:\n\tcall fault\n\t.text");
#endif

void board_write(const char *text) { semihost(0x04, text); }

void board_exit(int status)
{
    const uintptr_t block[2] = { 0x20026, (uintptr_t)status };
    semihost(0x20, block);
    for (;;)
        ;
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
