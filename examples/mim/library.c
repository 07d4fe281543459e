/* library.c - the one file of the tool that holds the library itself. */
#define MIM_IMPLEMENTATION
#include "../../mim.h"
