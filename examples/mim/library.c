/* library.c - the one file of the tool that holds the library itself. */
#include "tool.h"

void (*stage_hook)(int stage);

#define MIM_STAGE(stage) (stage_hook ? stage_hook(stage) : (void)0)
#define MIM_IMPLEMENTATION
#include "../../mim.h"
