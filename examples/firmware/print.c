/* Numbers, without printf. */
#include "board.h"

void board_number(int32_t n, int width)
{
    uint32_t left = n < 0 ? 0u - (uint32_t)n : (uint32_t)n;
    char text[24], *p = text + sizeof text;
    *--p = 0;
    do
        *--p = (char)('0' + left % 10);
    while ((left /= 10) != 0);
    if (n < 0)
        *--p = '-';
    while (p > text && p > text + sizeof text - 1 - width)
        *--p = ' ';
    board_print(p);
}

void board_hex(uint64_t n)
{
    char text[17];
    int i;
    for (i = 15; i >= 0; i--, n >>= 4)
        text[i] = "0123456789abcdef"[n & 15];
    text[16] = 0;
    board_print(text);
}
