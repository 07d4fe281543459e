/* Cortex-M without CMSIS: vectors, start, faults, and SysTick as a counter. */
#include "board.h"

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define SYST_CSR   REGISTER(0xE000E010)
#define SYST_RVR   REGISTER(0xE000E014)
#define SYST_CVR   REGISTER(0xE000E018)
#define SCB_CCR    REGISTER(0xE000ED14)
#define SCB_CFSR   REGISTER(0xE000ED28)
#define SCB_CPACR  REGISTER(0xE000ED88)

extern uint32_t image_stack_top[];

void start(void);
static void fault(void), wrap(void);

/* Word 0 is the stack, word 1 where to begin; numbers 2..14 are faults and calls that nobody makes; 15 is SysTick. */
__attribute__((section(".start"), used)) static const struct {
    uint32_t *stack;
    void (*handler[15])(void);
} vectors = {
    image_stack_top, { start, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, wrap }
};

void start(void)
{
#if __ARM_ARCH >= 7
    SCB_CPACR |= 0xFu << 20;    /* FPU and Helium on, before the first of their instructions */
    SCB_CCR |= 1u << 3;         /* UNALIGN_TRP: the library makes no unaligned access, so one is a bug */
    __asm__ volatile("dsb\n\tisb" : : : "memory");
#endif
    SYST_RVR = 0xFFFFFF;
    SYST_CVR = 0;
    SYST_CSR = 7;               /* on, at the core's clock, with an interrupt at each wrap */
    board_start();
}

static void fault(void)
{
    uint32_t number;
    __asm__ volatile("mrs %0, ipsr" : "=r"(number));
    board_print("fault: exception ");
    board_number((int32_t)number, 0);
#if __ARM_ARCH >= 7
    board_print(", CFSR ");
    board_hex(SCB_CFSR);
#endif
    board_print("\n");
    board_exit(99);
}

/* SysTick has 24 bits and counts down from one wrap to the next. */
static volatile uint32_t wraps;

static void wrap(void)
{
    wraps++;
}

/* QEMU's boards have clocks of 25 and 32 MHz, and -icount shift=5 makes an instruction take 32 ns: COUNT_TIMES / COUNT_BY is
 * instructions per tick. On silicon both are 1. */
uint32_t board_count(void)
{
    uint32_t high, low;
    do {                        /* again if it wrapped in between */
        high = wraps;
        low = SYST_CVR;
    } while (high != wraps);
    return (uint32_t)(((uint64_t)high << 24 | (0xFFFFFF - low)) * COUNT_TIMES / COUNT_BY);
}
