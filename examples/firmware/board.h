/* What an application needs of a board: board.c and, for the core, cortex-m.c or riscv.c. On a PC, to debug there, host.c. */
#ifndef BOARD_H
#define BOARD_H

#include <stddef.h>
#include <stdint.h>

/* RAM that nothing else uses: between the program's variables and the stack. 16-byte aligned. */
uint8_t *board_memory(size_t *bytes);

/* The most of the stack that was in use since the start, in bytes; 0: not known. */
size_t board_stack(void);

/* Counts up, modulo 2^32: cycles on silicon, instructions under QEMU with -icount. */
uint32_t board_count(void);

void board_print(const char *text);
void board_exit(int status);

/* print.c: the same for numbers, in at least `width` places. */
void board_number(int32_t n, int width);
void board_hex(uint64_t n);

/* What a core's start goes on with: fills in the variables, runs main, exits with what it returns. */
void board_start(void);

#endif
