/* test_accuracy MODEL.mim PICTURES TOKENS.npy HASHES [N] - the shipped model on the shipped pictures, or on the first N of them
 * and with fewer settings, for emulated machines.
 *
 * Each picture goes through the model's own preprocessing; the tokens behind the last norm are held to the reference's
 * (tests/reference/shipped.py): cosine per token, mean >= 0.9997, minimum >= 0.996. Every instruction set, one and two
 * threads, the smallest and the largest useful arena must give the same bits, and those that HASHES records. */
#define MIM_IMPLEMENTATION
#include "../mim.h"
#include "threads.h"
#include <dirent.h>
#include <math.h>

typedef struct picture {
    char name[256];
    uint32_t width, height;
    uint8_t *pixels;
} picture;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const picture *)a)->name, ((const picture *)b)->name);
}

static int read_ppm(picture *p, const char *dir)
{
    char path[1300];
    unsigned w, h, max;
    size_t n;
    FILE *f;
    snprintf(path, sizeof path, "%.1000s/%.255s", dir, p->name);
    f = fopen(path, "rb");
    if (!f)
        return 1;
    if (fscanf(f, "P6 %u %u %u", &w, &h, &max) != 3 || max != 255 || fgetc(f) == EOF) {
        fclose(f);
        return 1;
    }
    p->width = w;
    p->height = h;
    n = (size_t)w * h * 3;
    p->pixels = (uint8_t *)malloc(n);
    n -= fread(p->pixels, 1, n, f);
    fclose(f);
    return n != 0;
}

static int failed(const char *why)
{
    printf("FAIL accuracy: %s\n", why);
    return 1;
}

int main(int argc, char **argv)
{
    picture pictures[256];
    uint32_t count = 0, i, cpu, setting, widest = 0, highest = 0, variants = 0;
    uint8_t lead[10];
    uint16_t *reference;
    unsigned long long hash = 14695981039346656037u, recorded = 0;
    double sum = 0, least = 1;
    size_t tokens, per_picture, j, k;
    float *first, *again;
    char line[1024], text[300], key[32], name[1024];
    struct dirent *entry;
    mim_model m;
    mim_status status;
    void *blob;
    size_t bytes;
    DIR *dir;
    FILE *f;
    if (argc != 5 && argc != 6)
        return 2;
    status = mim_load(argv[1], &blob, &bytes);
    if (!status)
        status = mim_open(&m, blob, bytes);
    if (!status)
        status = mim_verify(&m);
    if (status)
        return failed(mim_status_string(status));
    dir = opendir(argv[2]);
    while (dir && (entry = readdir(dir)) != NULL && count < 256) {
        const size_t n = strlen(entry->d_name);
        if (n > 4 && n < sizeof pictures->name && !strcmp(entry->d_name + n - 4, ".ppm"))
            strcpy(pictures[count++].name, entry->d_name);
    }
    if (dir)
        closedir(dir);
    qsort(pictures, count, sizeof *pictures, by_name);
    for (i = 0; i < count; i++) {
        if (read_ppm(&pictures[i], argv[2]))
            return failed(pictures[i].name);
        widest = mimp_max(widest, pictures[i].width);
        highest = mimp_max(highest, pictures[i].height);
    }
    tokens = m.header->has_cls + m.header->registers
        + (size_t)(m.header->image_height / m.header->patch_height) * (m.header->image_width / m.header->patch_width);
    per_picture = tokens * m.header->dim;
    f = fopen(argv[3], "rb");
    if (!f || fread(lead, 1, 10, f) != 10 || fseek(f, 10 + lead[8] + 256 * lead[9], SEEK_SET))
        return failed(argv[3]);
    reference = (uint16_t *)malloc(count * per_picture * 2);
    if (!count || fread(reference, 2, count * per_picture, f) != count * per_picture || fgetc(f) != EOF)
        return failed("the reference tokens are not of these pictures; run tests/reference/shipped.py");
    fclose(f);
    snprintf(key, sizeof key, m.header->numerics == MIM_NUMERICS_INTEGER ? "shipped-integer" : "shipped");
    if (argc == 6) {
        count = mimp_min(count, (uint32_t)strtoul(argv[5], NULL, 10));
        snprintf(key + strlen(key), sizeof key - strlen(key), "-%u", count);
    }
    first = (float *)malloc(count * per_picture * 4);
    again = (float *)malloc(count * per_picture * 4);

    for (cpu = MIM_CPU_SCALAR; cpu < MIM_CPU_COUNT; cpu++)
        for (setting = 0; mimp_choose(cpu, MIM_PANEL16) && setting < 4; setting++) {     /* bit 0: two threads, bit 1: the larger arena */
            mim_session_desc d;
            mim_memory memory;
            mim_session s;
            uint8_t *arena;
            float *to = variants ? again : first;
            if (argc == 6 && (setting == 1 || setting == 2))
                continue;
            memset(&d, 0, sizeof d);
            d.cpu = cpu;
            d.threads = setting & 1 ? 2 : 1;
            d.parallel = threads;
            d.source_width = widest;
            d.source_height = highest;
            status = mim_plan(&m, &d, &memory);
            if (setting & 2)
                memory.bytes = memory.useful;
            arena = (uint8_t *)malloc(memory.bytes + 16);
            memory.base = arena + (-(uintptr_t)arena & 15);
            if (!status)
                status = mim_begin(&s, &m, &d, &memory);
            for (i = 0; i < count && !status; i++) {
                mim_image image;
                mim_output out;
                memset(&image, 0, sizeof image);
                memset(&out, 0, sizeof out);
                image.width = pictures[i].width;
                image.height = pictures[i].height;
                image.pixels = pictures[i].pixels;
                out.tokens = to + i * per_picture;
                status = mim_encode(&s, &image, &out);
            }
            free(arena);
            if (status)
                return failed(mim_status_string(status));
            if (variants++ && memcmp(first, again, count * per_picture * 4)) {
                snprintf(text, sizeof text, "%s, %u threads, %s arena: other bits", mim_cpu_name(cpu), d.threads, setting & 2 ? "large" : "small");
                return failed(text);
            }
        }

    for (j = 0; j < count * tokens; j++) {
        double ab = 0, aa = 0, bb = 0;
        for (k = j * m.header->dim; k < (j + 1) * m.header->dim; k++) {
            const double a = (double)first[k], b = (double)mimp_half(reference[k]);
            ab += a * b;
            aa += a * a;
            bb += b * b;
        }
        ab /= sqrt(aa * bb);
        sum += ab;
        least = fmin(least, ab);
    }
    for (j = 0; j < count * per_picture; j++) {
        uint32_t bits;
        memcpy(&bits, first + j, 4);
        hash = (hash ^ bits) * 1099511628211u;
    }
    f = fopen(argv[4], "r");
    while (f && fgets(line, sizeof line, f)) {
        unsigned long long value;
        if (sscanf(line, "%1023s %llx", name, &value) == 2 && !strcmp(name, key))
            recorded = value;
    }
    if (f)
        fclose(f);
    sum /= (double)(count * tokens);
    if (!(sum >= 0.9997 && least >= 0.996)) {
        snprintf(text, sizeof text, "token cosine mean %.6f (needs 0.9997), minimum %.6f (needs 0.996)", sum, least);
        return failed(text);
    }
    if (hash != recorded) {
        snprintf(text, sizeof text, "hash %016llx, recorded %016llx: the bits have changed", hash, recorded);
        return failed(text);
    }
    printf("ok accuracy of the %s model (%u pictures, %u variants with the same bits, token cosine mean %.6f, minimum %.6f)\n",
           m.header->numerics == MIM_NUMERICS_INTEGER ? "shipped integer" : "shipped", count, variants, sum, least);
    return 0;
}
