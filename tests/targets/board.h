/* board.h - bare metal under QEMU: text out and an end, by semihosting. */
#ifndef BOARD_H
#define BOARD_H
#include <stddef.h>
#include <stdint.h>

void board_write(const char *text);
void board_exit(int status);

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);
int   memcmp(const void *a, const void *b, size_t n);

#endif
