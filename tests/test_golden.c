/* test_golden MODEL.mim DIR HASHES [brief] - runs the cases of DIR/cases.txt (see tests/golden/README.md) on a converted model.
 *
 * Every case runs on every instruction set of the machine, in exactly mim_plan's minimum between guard pages, in the useful
 * maximum, and with two threads (brief, for emulated machines: on the best one, in the minimum). f32 results must lie within
 * 1e-5 of the largest reference value, f16 within 4e-3; q8 must reach a mean token cosine of 0.999, q4 of 0.96, be the same bits
 * in every run, and hash to what HASHES records for the model. */
#define MIM_IMPLEMENTATION
#include "../mim.h"
#include "threads.h"
#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

static char why[2048];

static int bad(const char *what, const char *where)
{
    snprintf(why, sizeof why, "%s: %s", where, what);
    return 1;
}

/* ---- .npy files: version 1, little-endian float32 or int32, C order ---- */

typedef struct npy {
    size_t shape[6], rank, count;
    void *data;
    int is_float;
} npy;

static int npy_load(npy *a, const char *dir, const char *name)
{
    char path[1024], header[1024], *p;
    unsigned char lead[10];
    size_t n;
    FILE *f;
    memset(a, 0, sizeof *a);
    snprintf(path, sizeof path, "%s/%s", *name == '/' ? "" : dir, name);
    f = fopen(path, "rb");
    if (!f)
        return bad("cannot be opened", path);
    if (fread(lead, 1, 10, f) != 10 || memcmp(lead, "\x93NUMPY\1\0", 8) || (n = (size_t)(lead[8] | lead[9] << 8)) >= sizeof header
        || fread(header, 1, n, f) != n) {
        fclose(f);
        return bad("not a version 1 .npy", path);
    }
    header[n] = 0;
    a->is_float = strstr(header, "<f4") != NULL;
    p = strstr(header, "'shape': (");
    if ((!a->is_float && !strstr(header, "<i4")) || !strstr(header, "'fortran_order': False") || !p) {
        fclose(f);
        return bad("wrong dtype or order", path);
    }
    a->count = 1;
    for (p += 10; *p && *p != ')' && a->rank < 6; ) {
        if (*p >= '0' && *p <= '9') {
            a->shape[a->rank] = strtoul(p, &p, 10);
            a->count *= a->shape[a->rank++];
        } else
            p++;
    }
    a->data = malloc(a->count * 4 + 4);
    n = fread(a->data, 4, a->count, f);
    fclose(f);
    return n == a->count ? 0 : bad("is truncated", path);
}

/* ---- an arena between guard pages ---- */

typedef struct guarded {
    uint8_t *map, *base;
    size_t mapped;
} guarded;

static guarded guarded_arena(size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (bytes + page - 1) / page * page;
    guarded g;
    g.mapped = whole + 2 * page;
    g.map = (uint8_t *)mmap(NULL, g.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g.map == MAP_FAILED || mprotect(g.map + page, whole, PROT_READ | PROT_WRITE)) {
        perror("mmap");
        exit(2);
    }
    g.base = g.map + page + whole - bytes;      /* plans are multiples of 16, so this is aligned; the end is exact */
    memset(g.base, 0xff, bytes);
    return g;
}

/* ---- a case ---- */

typedef struct test_case {
    char input[128], embedded[128], keep[128], coordinates[128], out[128], expect[128];
    uint32_t height, width, frames, norm;
} test_case;

static int parse(test_case *c, char *line)
{
    char *word;
    memset(c, 0, sizeof *c);
    for (word = strtok(line, " \t\r\n"); word; word = strtok(NULL, " \t\r\n")) {
        unsigned h, w;
        if (!strcmp(word, "case"))
            continue;
        if (sscanf(word, "size=%ux%u", &h, &w) == 2) {
            c->height = h;
            c->width = w;
        } else if (sscanf(word, "input=%127s", c->input) != 1 && sscanf(word, "keep=%127s", c->keep) != 1
                   && sscanf(word, "embedded=%127s", c->embedded) != 1 && sscanf(word, "coordinates=%127s", c->coordinates) != 1
                   && sscanf(word, "frames=%u", &c->frames) != 1
                   && sscanf(word, "out=%127s", c->out) != 1 && sscanf(word, "expect=%127s", c->expect) != 1
                   && sscanf(word, "norm=%u", &c->norm) != 1)
            return bad("unknown key", word);
    }
    return !*c->input != !*c->embedded && *c->out && *c->expect ? 0 : bad("needs input= or embedded=, out= and expect=", "cases.txt");
}

static uint64_t hash = 14695981039346656037u;
static double worst_ratio, worst_cosine = 1, sum_cosine, cosines;
static size_t runs, cases;
static int rounds = 3;

typedef struct setting {
    uint32_t cpu, threads;
    int useful;
} setting;

/* Floats of one image's tokens after a layer (0: at the end), as mim_shape has them; `visible` mask units, 0: all. */
static size_t layer_floats(const mim_session *s, uint32_t layer, uint32_t visible)
{
    const mim_blob_header *h = s->model->header;
    const uint32_t all = h->unit_height ? (s->tokens - s->prefix) / (h->unit_height * h->unit_width) : 1;
    mim_grid grid;
    if (mim_shape(s, layer, &grid))
        return 0;
    return (size_t)(s->prefix + (grid.tokens - s->prefix) / all * (visible ? visible : all)) * grid.dim;
}

/* Encodes every image of the case under one setting into result. coordinates: of each, or NULL. */
static int run_case(const mim_model *m, const test_case *c, const setting *set, const npy *in, const npy *keep,
                    const float *coordinates, float *result, size_t per_image)
{
    const size_t image_floats = in->count / in->shape[0];
    mim_session_desc d;
    mim_memory need, memory;
    mim_session s;
    mim_status status;
    guarded g;
    size_t image;
    memset(&d, 0, sizeof d);
    d.height = c->height;
    d.width = c->width;
    d.frames = c->frames ? (c->frames + m->header->patch_frames - 1) / m->header->patch_frames * m->header->patch_frames : 0;
    d.cpu = set->cpu;
    d.threads = set->threads;
    d.parallel = set->threads > 1 ? threads : NULL;
    d.decoder = !strcmp(c->out, "reconstruct");
    d.visible_max = keep->data ? (uint32_t)keep->shape[keep->rank - 1] : *c->embedded ? (uint32_t)in->shape[1] : 0;
    status = mim_plan(m, &d, &need);
    if (status)
        return bad(mim_status_string(status), "mim_plan");
    memory = need;
    memory.bytes = set->useful ? need.useful : need.bytes;
    g = guarded_arena(memory.bytes);
    memory.base = g.base;
    if (!set->useful) {
        memory.bytes--;
        if (mim_begin(&s, m, &d, &memory) != MIM_ERR_MEMORY)
            return bad("one byte less than the minimum was accepted", "mim_begin");
        memory.bytes++;
    }
    status = mim_begin(&s, m, &d, &memory);
    if (status)
        return bad(mim_status_string(status), "mim_begin");
    for (image = 0; image < in->shape[0]; image++) {
        float *to = result + image * per_image;
        uint32_t layer[64], i;
        size_t floats = 0;
        mim_image picture;
        mim_output out;
        memset(&picture, 0, sizeof picture);
        memset(&out, 0, sizeof out);
        picture.format = MIM_PLANES;
        picture.height = (uint32_t)in->shape[in->rank - 2];
        picture.width = (uint32_t)in->shape[in->rank - 1];
        picture.pixels = (const float *)in->data + image * image_floats;
        if (coordinates)
            picture.coordinates = coordinates + image * s.grid_frames * m->header->coordinates;
        if (keep->data) {
            picture.visible_count = d.visible_max;
            picture.visible = (const uint32_t *)keep->data + (keep->rank == 2 && keep->shape[0] > 1 ? image * d.visible_max : 0);
        }
        if (!strncmp(c->out, "layers:", 7)) {
            const char *p = c->out + 7;
            out.layers = to;
            out.layer = layer;
            out.layer_norm = c->norm;
            while (*p && out.layer_count < 64) {
                layer[out.layer_count++] = (uint32_t)strtoul(p, (char **)(uintptr_t)&p, 10);
                p += *p == ',';
            }
            for (i = 0; i < out.layer_count; i++)
                floats += layer_floats(&s, layer[i], d.visible_max);
        } else if (!strcmp(c->out, "tokens")) out.tokens = to;
        else if (!strcmp(c->out, "cls")) out.cls = to;
        else if (!strcmp(c->out, "registers")) out.registers = to;
        else if (!strcmp(c->out, "patches")) out.patches = to;
        else if (!strcmp(c->out, "pooled")) out.pooled = to;
        else if (!strcmp(c->out, "logits")) out.logits = to;
        else if (!strcmp(c->out, "attention")) out.attention = to;
        else if (!d.decoder)
            return bad("unknown output", c->out);
        if (out.tokens)
            floats = layer_floats(&s, 0, d.visible_max);
        if ((out.tokens || out.layers) && floats != per_image)
            return bad("the reference has another number of tokens than mim_shape", c->expect);
        status = *c->embedded ? mim_encode_tokens(&s, (const float *)picture.pixels, NULL, (uint32_t)in->shape[1], &out)
            : d.decoder ? mim_reconstruct(&s, &picture, NULL, to) : mim_encode(&s, &picture, &out);
        if (status)
            return bad(mim_status_string(status), c->expect);
    }
    munmap(g.map, g.mapped);
    runs++;
    return 0;
}

static int same_bits(const float *a, const float *b, size_t n)
{
    return !memcmp(a, b, n * 4);
}

static int check_case(const mim_model *m, const char *dir, const test_case *c)
{
    npy in, keep, expect, coordinates;
    float *result, *first;
    size_t i, j, width, per_image;
    uint32_t cpu;
    double largest = 0, limit = m->header->type == MIM_F32 ? 1e-5 : 4e-3;
    int round, run = 0;
    memset(&keep, 0, sizeof keep);
    memset(&coordinates, 0, sizeof coordinates);
    if (npy_load(&in, dir, *c->input ? c->input : c->embedded) || npy_load(&expect, dir, c->expect)
        || (*c->keep && npy_load(&keep, dir, c->keep)) || (*c->coordinates && npy_load(&coordinates, dir, c->coordinates)))
        return 1;
    if (expect.shape[0] != in.shape[0]
        || (*c->embedded ? in.rank != 3 || in.shape[2] != m->header->dim
                         : (in.rank != 4 && in.rank != 5) || in.shape[in.rank - 3] != m->header->channels))
        return bad("shapes do not fit", c->expect);
    if (in.rank == 5 && in.shape[1] == 1 && m->header->patch_frames > 1) {     /* a picture, shown for as long as a patch lasts */
        const size_t each = in.count / in.shape[0], times = m->header->patch_frames;
        float *longer = (float *)malloc(in.count * times * 4);
        for (i = 0; i < in.shape[0] * times; i++)
            memcpy(longer + i * each, (const float *)in.data + i / times * each, each * 4);
        free(in.data);
        in.data = longer;
        in.count *= times;
    }
    if (m->header->coordinates && !coordinates.data) {               /* nothing is known */
        coordinates.count = in.count;
        coordinates.data = malloc(in.count * 4);
        for (i = 0; i < in.count; i++)
            ((float *)coordinates.data)[i] = (float)NAN;
    }
    per_image = expect.count / expect.shape[0];
    width = expect.shape[expect.rank - 1];
    result = (float *)malloc(expect.count * 4 + 4);
    first = (float *)malloc(expect.count * 4 + 4);
    for (i = 0; i < expect.count; i++)
        largest = fmax(largest, fabs((double)((float *)expect.data)[i]));
    for (cpu = MIM_CPU_SCALAR; cpu < MIM_CPU_COUNT; cpu++) {
        if (!mimp_choose(cpu, MIM_PANEL16) || (rounds == 1 && mimp_choose(MIM_CPU_BEST, MIM_PANEL16)->cpu != cpu))
            continue;
        for (round = 0; round < rounds; round++) {
            setting set;
            double ratio = 0;
            float *to = round ? result : first;
            set.cpu = cpu;
            set.useful = round > 0;
            set.threads = round == 2 ? 2 : 1;
            if (m->header->type >= MIM_Q8)      /* one result for all settings and instruction sets */
                to = run++ ? result : first;
            if (run_case(m, c, &set, &in, &keep, (const float *)coordinates.data, to, per_image))
                return 1;
            if (to == result && !same_bits(first, result, expect.count))
                return bad(round == 2 ? "two threads change the bits" : round ? "a larger arena changes the bits"
                                      : "another instruction set changes the bits", c->expect);
            if (round)
                continue;
            for (i = 0; i < expect.count; i++) {
                double d = fabs((double)to[i] - (double)((float *)expect.data)[i]);
                ratio = d > ratio || d != d ? d : ratio;
            }
            ratio /= largest;
            if (m->header->type < MIM_Q8) {
                worst_ratio = fmax(worst_ratio, ratio);
                if (!(ratio <= limit)) {
                    snprintf(why, sizeof why, "%s on %s: largest difference is %.3g of the largest value, limit %.3g", c->expect,
                             mim_cpu_name(cpu), ratio, limit);
                    return 1;
                }
            }
        }
    }
    if (m->header->type >= MIM_Q8) {
        const int tokens = !strcmp(c->out, "tokens") || !strcmp(c->out, "patches") || !strncmp(c->out, "layers", 6);
        for (i = 0; i < expect.count; i += width) {
            double ab = 0, aa = 0, bb = 0;
            for (j = i; j < i + width; j++) {
                const double a = (double)first[j], b = (double)((float *)expect.data)[j];
                ab += a * b;
                aa += a * a;
                bb += b * b;
            }
            ab /= sqrt(aa * bb) + 1e-30;
            if (tokens) {
                worst_cosine = ab < worst_cosine ? ab : worst_cosine;
                sum_cosine += ab;
                cosines++;
            }
        }
        for (i = 0; i < expect.count; i++) {
            uint32_t bits;
            memcpy(&bits, first + i, 4);
            hash = (hash ^ bits) * 1099511628211u;
        }
    }
    free(in.data);
    free(coordinates.data);
    free(keep.data);
    free(expect.data);
    free(result);
    free(first);
    cases++;
    return 0;
}

/* Whether two arrays of one shape differ by at most limit times the largest value of the second. */
static int compare(const char *got, const char *want, double limit)
{
    npy a, b;
    double worst = 0, largest = 0;
    size_t i;
    if (npy_load(&a, ".", got) || npy_load(&b, ".", want)) {
        printf("%s\n", why);
        return 1;
    }
    if (a.rank != b.rank || memcmp(a.shape, b.shape, sizeof a.shape)) {
        printf("%s and %s have different shapes\n", got, want);
        return 1;
    }
    for (i = 0; i < a.count; i++) {
        const double x = (double)((float *)a.data)[i], y = (double)((float *)b.data)[i];
        largest = fmax(largest, fabs(y));
        worst = fabs(x - y) > worst || x != x ? fabs(x - y) : worst;
    }
    printf("%.2e\n", worst / largest);
    free(a.data);
    free(b.data);
    return !(worst <= limit * largest);
}

int main(int argc, char **argv)
{
    char path[1024], line[1024], recorded[256], *name, *dot;
    unsigned long long value;
    void *blob;
    size_t bytes;
    mim_model m;
    mim_status status;
    uint32_t type;
    FILE *f;
    double least;
    int known = 0;
    if (argc == 5 && !strcmp(argv[1], "compare"))
        return compare(argv[2], argv[3], strtod(argv[4], NULL));
    if (argc == 5 && !strcmp(argv[4], "brief"))
        rounds = 1;
    else if (argc != 4)
        return 2;
    name = strrchr(argv[1], '/');
    snprintf(recorded, sizeof recorded, "%s", name ? name + 1 : argv[1]);
    dot = strstr(recorded, ".mim");
    if (dot)
        *dot = 0;
    status = mim_load(argv[1], &blob, &bytes);
    if (!status)
        status = mim_open(&m, blob, bytes);
    if (!status)
        status = mim_verify(&m);
    if (status) {
        printf("FAIL golden %s: %s\n", recorded, mim_status_string(status));
        return 1;
    }
    type = m.header->type;
    snprintf(path, sizeof path, "%s/cases.txt", argv[2]);
    f = fopen(path, "r");
    if (!f) {
        printf("FAIL golden %s: %s cannot be opened\n", recorded, path);
        return 1;
    }
    while (fgets(line, sizeof line, f)) {
        test_case c;
        if (strncmp(line, "case ", 5) || strstr(line, " input=../pictures/"))     /* pictures go through the tool */
            continue;
        if (parse(&c, line) || check_case(&m, argv[2], &c)) {
            printf("FAIL golden %s: %s\n", recorded, why);
            fclose(f);
            return 1;
        }
    }
    fclose(f);
    mim_unload(blob);
    if (!cases) {
        printf("FAIL golden %s: no cases\n", recorded);
        return 1;
    }
    least = type == MIM_Q4 ? 0.96 : 0.999;
    if (type < MIM_Q8) {
        printf("ok golden %s (%zu cases, %zu runs, worst %.2e)\n", recorded, cases, runs, worst_ratio);
        return 0;
    }
    f = fopen(argv[3], "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "%255s %llx", path, &value) == 2 && !strcmp(path, recorded)) {
            known = 1;
            if (value != hash) {
                printf("FAIL golden %s: hash %016llx, recorded %016llx: the bits have changed\n", recorded, (unsigned long long)hash, value);
                fclose(f);
                return 1;
            }
        }
    if (f)
        fclose(f);
    if (cosines && sum_cosine / cosines < least) {
        printf("FAIL golden %s: mean token cosine %.6f is below %g\n", recorded, sum_cosine / cosines, least);
        return 1;
    }
    if (!known) {
        printf("FAIL golden %s: no hash recorded; it is %016llx\n", recorded, (unsigned long long)hash);
        return 1;
    }
    printf("ok golden %s (%zu cases, %zu runs, token cosine mean %.6f, minimum %.6f, hash %016llx)\n", recorded, cases, runs,
           cosines ? sum_cosine / cosines : 1.0, worst_cosine, (unsigned long long)hash);
    return 0;
}
