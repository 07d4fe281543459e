/* An unaligned load: the board must stop at it, or the tests that nothing is unaligned would show nothing. */
#include "../../examples/firmware/board.h"

int main(void)
{
    static uint8_t bytes[8];
    uint32_t word;
    volatile uintptr_t at = (uintptr_t)bytes + 1;
    __asm__ volatile("ldr %0, [%1]" : "=r"(word) : "r"(at) : "memory");
    return (int)(word & 1);
}
