/* library.c - the one file of the tool that holds the library itself. */
#include "tool.h"

void (*stage_hook)(int stage);

#define MIM_STAGE(stage) (stage_hook ? stage_hook(stage) : (void)0)
#define MIM_IMPLEMENTATION
#include "../../mim.h"

void positions_at(const mim_blob_step *step, const float *table, uint32_t height, uint32_t width, uint32_t dim, float *to)
{
    mimp_run run;
    memset(&run, 0, sizeof run);
    run.grid.height = height;
    run.grid.width = width;
    run.dim = dim;
    memset(to, 0, (size_t)height * width * dim * sizeof *to);
    for (uint32_t place = 0; place < height * width; place++)
        mimp_add_position(&run, step, table, place, to + (size_t)place * dim);
}
