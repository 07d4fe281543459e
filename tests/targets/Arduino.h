/* What the sketch uses of Arduino, to compile it with and to run it on a PC, until it first waits. */
#ifndef ARDUINO_H
#define ARDUINO_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct Port {
    void begin(unsigned long) {}
    void print(const char *text) { fputs(text, stdout); }
    void print(char c) { putchar(c); }
    void print(unsigned long n) { printf("%lu", n); }
    void print(int n) { printf("%d", n); }
    void println(const char *text) { puts(text); }
    void println() { putchar('\n'); }
};
static Port Serial;
inline unsigned long micros() { return 0; }
inline void delay(unsigned long) { exit(0); }

#endif
