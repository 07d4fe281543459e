/* list_checkpoint.c - what the readers of checkpoints make of a file. For test_convert.sh; linked with the readers of
 * examples/mim, not with util.c.
 *
 *   list_checkpoint FILE [WRAPPER]      every tensor: name, type and shape, and a digest of its values as f32; a last line says
 *                                       which state dict was taken
 *   list_checkpoint --cuts FILE...      whether each file, cut short at every byte, is refused with one reason */
#define _POSIX_C_SOURCE 200809L
#include "../examples/mim/checkpoint.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static unsigned long refusals;
static int quiet;

int fail(const char *format, ...)
{
    va_list args;
    refusals++;
    if (quiet)
        return 1;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    putc('\n', stderr);
    return 1;
}

int in_open(in_file *in, const char *path)
{
    FILE *file = fopen(path, "rb");
    long bytes = file && fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    uint8_t *data = bytes > 0 ? malloc((size_t)bytes) : NULL;
    int failed = !data;
    if (data) {
        rewind(file);
        failed = fread(data, 1, (size_t)bytes, file) != (size_t)bytes;
    }
    if (file)
        fclose(file);
    in->data = data;
    in->bytes = (size_t)bytes;
    in->mapped = 0;
    return failed ? fail("%s: cannot be read", path) : 0;
}

void in_close(in_file *in) { free((void *)(uintptr_t)in->data); }

/* FNV-1a of the bits, low byte first. */
static int digest(const tensor *t, uint64_t *hash)
{
    float part[256];
    *hash = 14695981039346656037u;
    for (uint64_t at = 0; at < t->count;) {
        size_t n = t->count - at < 256 ? (size_t)(t->count - at) : 256;
        if (tensor_read(t, at, n, part))
            return 1;
        for (size_t i = 0; i < n; i++) {
            uint32_t bits;
            memcpy(&bits, &part[i], 4);
            for (int k = 0; k < 32; k += 8)
                *hash = (*hash ^ (bits >> k & 255)) * 1099511628211u;
        }
        at += n;
    }
    return 0;
}

static int check_cuts(const char *path)
{
    in_file in;
    int wrong = in_open(&in, path);
    quiet = 1;
    for (size_t n = 1; n < in.bytes && !wrong; n++) {
        uint8_t *cut = malloc(n);                                /* of this size, so that a read beyond it is seen */
        checkpoint cp;
        if (!cut)
            return 1;
        memcpy(cut, in.data, n);
        refusals = 0;
        if (!checkpoint_parse(&cp, cut, n, path, NULL) || refusals != 1) {
            printf("%s, cut after %zu bytes: %lu reasons\n", path, n, refusals);
            wrong = 1;
        }
        checkpoint_close(&cp);
        free(cut);
    }
    quiet = 0;
    in_close(&in);
    return wrong;
}

int main(int argc, char **argv)
{
    checkpoint cp;
    if (argc > 2 && strcmp(argv[1], "--cuts") == 0) {
        int wrong = 0;
        for (int i = 2; i < argc; i++)
            wrong |= check_cuts(argv[i]);
        return wrong;
    }
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: list_checkpoint FILE [WRAPPER]\n");
        return 2;
    }
    int failed = checkpoint_open(&cp, argv[1], argc == 3 ? argv[2] : NULL);
    for (size_t i = 0; i < cp.count && !failed; i++) {
        char what[160];
        uint64_t hash;
        failed = digest(&cp.tensors[i], &hash);
        tensor_describe(&cp.tensors[i], what, sizeof what);
        if (!failed)
            printf("%s %s %016" PRIx64 "\n", cp.tensors[i].name, what, hash);
    }
    if (!failed && cp.origin[0])
        printf("(%s)\n", cp.origin);
    checkpoint_close(&cp);
    return failed;
}
