/* The library's code: mim.h in one file of the program. */
#define MIM_IMPLEMENTATION
#define MIM_NO_STDIO
#include "mim.h"
