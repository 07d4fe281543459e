/* vit.c - ViT-Ti/16 at 224 with integer numerics, whole.
 *     here: vit FILE panels|pairs writes a blob of random weights in that layout, and says what its results are
 *     on a bare board: encodes with the blob that QEMU laid at VIT_BLOB, in memory at VIT_ARENA, and says the same */
#define MIM_IMPLEMENTATION
#ifdef VIT_BLOB
#define MIM_STATIC
#define MIM_NO_FLOAT
#define MIM_NO_STDIO
#define MIM_MEMCPY __builtin_memcpy
#define MIM_MEMSET __builtin_memset
#define MIM_MEMCMP __builtin_memcmp
#include "../../examples/firmware/board.h"
#include "../../mim.h"
#define REGION(name) __attribute__((noinline, used)) void region_##name(void) { __asm__ volatile(""); }
#else
#include "../check.h"
#include "../../mim.h"
#include "../integer_builder.h"
#define REGION(name) void region_##name(void) { }
#endif

void region_vit(void), region_vit_least(void), region_end(void);
REGION(vit) REGION(vit_least) REGION(end)

/* A row of the camera's, made up. */
static int row(void *user, uint32_t y, void *to)
{
    uint8_t *p = (uint8_t *)to;
    uint32_t x;
    (void)user;
    for (x = 0; x < 224 * 3; x++)
        p[x] = (uint8_t)((x * 2654435761u + y * 40503u) >> 16);
    return 0;
}

/* With all the memory that is useful, or the least. */
static int encode(const mim_model *model, void *arena, int least, uint32_t *hash)
{
    static int16_t pooled[192];
    mim_session_desc use;
    mim_session session;
    mim_memory memory;
    mim_integers n;
    mim_output out;
    mim_image image;
    uint32_t i;
    MIM_MEMSET(&use, 0, sizeof use);
    MIM_MEMSET(&n, 0, sizeof n);
    MIM_MEMSET(&out, 0, sizeof out);
    MIM_MEMSET(&image, 0, sizeof image);
    if (mim_plan(model, &use, &memory))
        return 1;
    memory.base = arena;
    if (!least)
        memory.bytes = memory.useful;
    image.width = image.height = 224;
    image.read_row = row;
    out.integers = &n;
    n.pooled = pooled;
    if (mim_begin(&session, model, &use, &memory))
        return 1;
    if (least)
        region_vit_least();
    else
        region_vit();
    if (mim_encode(&session, &image, &out))
        return 1;
    region_end();
    *hash = 2166136261u;
    for (i = 0; i < 192; i++)
        *hash = (*hash ^ (uint16_t)pooled[i]) * 16777619u;
    return 0;
}

#ifdef VIT_BLOB
int main(void)
{
    static char line[] = "result 00000000\n";
    const mim_blob_header *h = (const mim_blob_header *)VIT_BLOB;
    mim_model model;
    uint32_t one, other, i;
    if (mim_open(&model, h, (size_t)h->bytes) || encode(&model, (void *)VIT_ARENA, 0, &one) || encode(&model, (void *)VIT_ARENA, 1, &other)) {
        board_print("FAIL the model does not run\n");
        return 1;
    }
    for (i = 0; i < 8; i++)
        line[7 + i] = "0123456789abcdef"[one >> (28 - 4 * i) & 15];
    board_print(one == other ? line : "FAIL other results with less memory\n");
    return one != other;
}
#else
int main(int argc, char **argv)
{
    static const shape tiny = { 224, 16, 3, 192, 3, 64, 768, 12, 1, 0, MIM_POOL_CLS, 0, 1, 0, 0, 0, 63, 0, 0 };
    mim_model model;
    uint32_t result;
    FILE *f;
    if (argc != 3 || !(f = fopen(argv[1], "wb")))
        return 1;
    make(&tiny);
    if (strcmp(argv[2], "pairs") == 0)
        to_pairs();
    if (mim_open(&model, blob, bytes) || encode(&model, malloc(1 << 24), 0, &result))
        return 1;
    printf("result %08x\n", result);
    return fwrite(blob, bytes, 1, f) != 1 || fclose(f);
}
#endif
