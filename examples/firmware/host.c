/* The board that is a PC: to debug the application on, and to compare its results with. */
#include "board.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

uint8_t *board_memory(size_t *bytes)
{
    static uint64_t memory[1 << 18];
    *bytes = sizeof memory - 8;
    return (uint8_t *)memory + (-(uintptr_t)memory & 15);
}

size_t board_stack(void)
{
    return 0;
}

uint32_t board_count(void)
{
    return (uint32_t)clock();
}

void board_print(const char *text)
{
    fputs(text, stdout);
}

void board_exit(int status)
{
    exit(status);
}
