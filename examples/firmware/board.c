/* What is the same on every board: the memory at the start, and words to the outside by semihosting, which a debugger or QEMU
 * does. On a product, board_print is a UART, and board_exit a reset. */
#include "board.h"

/* From the linker script. The last `image_stack_top - image_stack` of RAM are the stack; image_free is what the variables leave. */
extern uint32_t image_data_from[], image_data[], image_data_end[], image_bss[], image_bss_end[], image_stack[], image_stack_top[];
extern uint8_t image_free[];

int main(void);

#define PAINT 0xa5a5a5a5u       /* what the stack has not reached */

void board_start(void)
{
    const uint32_t *from = image_data_from;
    uint32_t *to;
    for (to = image_data; to < image_data_end; )
        *to++ = *from++;
    for (to = image_bss; to < image_bss_end; )
        *to++ = 0;
    for (to = image_stack; to < (uint32_t *)__builtin_frame_address(0) - 32; )
        *to++ = PAINT;
    board_exit(main());
}

uint8_t *board_memory(size_t *bytes)
{
    *bytes = (size_t)((uint8_t *)image_stack - image_free);
    return image_free;
}

size_t board_stack(void)
{
    const uint32_t *p = image_stack;
    while (*p == PAINT)
        p++;
    return (size_t)(image_stack_top - p) * sizeof *p;
}

enum { SYS_WRITE0 = 0x04, SYS_EXIT_EXTENDED = 0x20 };

static void semihost(uintptr_t operation, const void *argument)
{
#ifdef __riscv
    register uintptr_t r0 __asm__("a0") = operation;
    register const void *r1 __asm__("a1") = argument;
    /* these three, uncompressed and in one page, are the call */
    __asm__ volatile(".option push\n.option norvc\n.balign 16\nslli x0, x0, 0x1f\nebreak\nsrai x0, x0, 7\n.option pop"
                     : "+r"(r0) : "r"(r1) : "memory");
#else
    register uintptr_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
#endif
}

void board_print(const char *text)
{
    semihost(SYS_WRITE0, text);
}

void board_exit(int status)
{
    const uintptr_t block[2] = { 0x20026, (uintptr_t)status };      /* the reason: the application's own exit */
    for (;;)
        semihost(SYS_EXIT_EXTENDED, block);
}
