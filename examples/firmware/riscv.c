/* RISC-V in machine mode: start, traps, and the counter of instructions (on silicon, mcycle). */
#include "board.h"

/* gcc 12 wants CSRs' extension named; the libraries' names for the architecture do not have it yet. */
#define CSR(instruction) ".option push\n\t.option arch, +zicsr\n\t" instruction "\n\t.option pop"

__asm__(".section .start, \"ax\"\n"
        ".global start\n"
        "start:\n\t"
        ".option push\n\t.option norelax\n\tla gp, __global_pointer$\n\t.option pop\n\t"
        "la sp, image_stack_top\n\t"
        "la t0, trap\n\t"
        CSR("csrw mtvec, t0") "\n\t"
        "li t0, 0x2200\n\t"
        CSR("csrs mstatus, t0") "\n\t"          /* the FPU and the vectors, where there are such */
        "j board_start\n\t"
        ".text\n");

__attribute__((used, aligned(4))) static void trap(void)
{
    uintptr_t cause, at;
    __asm__ volatile(CSR("csrr %0, mcause") : "=r"(cause));
    __asm__ volatile(CSR("csrr %0, mepc") : "=r"(at));
    board_print("trap: cause ");
    board_number((int32_t)cause, 0);
    board_print(" at ");
    board_hex(at);
    board_print("\n");
    board_exit(99);
}

uint32_t board_count(void)
{
    uintptr_t n;
    __asm__ volatile(CSR("csrr %0, minstret") : "=r"(n));
    return (uint32_t)n;
}
