/* util.c - errors, files, models and command lines. */
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- saying what went wrong ---- */

/* A path may hold a line break; the message stays one line. */
static void one_line(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 32 || *text == 127) *text = '?';
}

int fail(const char *format, ...)
{
    char line[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    one_line(line);
    fprintf(stderr, "mim: %s\n", line);
    return 1;
}

int because(reason *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why->text, sizeof why->text, format, args);
    va_end(args);
    return 1;
}

/* ---- output ---- */

enum { PARTS_MAX = 64 };
static const char *volatile parts_at_risk[PARTS_MAX];   /* what a signal has to remove */

static void put_at_risk(const char *part, const char *instead_of)
{
    for (int i = 0; i < PARTS_MAX; i++)
        if (parts_at_risk[i] == instead_of) {
            parts_at_risk[i] = part;
            return;
        }
}

static void remove_part(int number)
{
    for (int i = 0; i < PARTS_MAX; i++) {
        const char *part = parts_at_risk[i];
        if (part) unlink(part);
    }
    signal(number, SIG_DFL);
    raise(number);
}

static void watch_signals(void)
{
    static const int fatal[] = { SIGHUP, SIGINT, SIGTERM };
    struct sigaction action;
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) {
        if (sigaction(fatal[i], NULL, &action) || action.sa_handler == SIG_IGN) continue;
        memset(&action, 0, sizeof action);
        action.sa_handler = remove_part;
        sigemptyset(&action.sa_mask);
        sigaction(fatal[i], &action, NULL);
    }
    signal(SIGXFSZ, SIG_IGN);               /* a file size limit becomes a write error, which is reported */
}

int out_open(out_file *out, const char *path)
{
    struct stat st;
    size_t length = strlen(path);
    memset(out, 0, sizeof *out);
    if (!length) return fail("the output's name is empty");
    int exists = stat(path, &st) == 0, direct = exists && !S_ISREG(st.st_mode);
    if (exists && S_ISDIR(st.st_mode)) return fail("%s is a folder; name a file", path);

    out->path = malloc(length + 1);
    out->part = malloc(length + sizeof ".part");
    if (!out->path || !out->part) {
        out_discard(out);
        return fail("%s: not enough memory", path);
    }
    memcpy(out->path, path, length + 1);
    memcpy(out->part, path, length);
    memcpy(out->part + length, ".part", sizeof ".part");
    if (direct) {
        free(out->part);
        out->part = NULL;
    }
    watch_signals();
    const char *target = direct ? path : out->part;
    out->file = fopen(target, "wb");
    if (!out->file) {
        fail("cannot write %s: %s", target, strerror(errno));
        free(out->part);                    /* not ours to remove */
        out->part = NULL;
        out_discard(out);
        return 1;
    }
    if (out->part) put_at_risk(out->part, NULL);
    return 0;
}

int out_write(out_file *out, const void *data, size_t bytes)
{
    if (bytes == 0 || fwrite(data, 1, bytes, out->file) == bytes) return 0;
    return fail("cannot write %s: %s", out->path, strerror(errno));
}

int out_commit(out_file *out)
{
    int broken = fflush(out->file) != 0;
    if (!broken && out->part) broken = fsync(fileno(out->file)) != 0 && errno != EINVAL;
    int cause = errno;
    if (fclose(out->file) != 0 && !broken) {
        broken = 1;
        cause = errno;
    }
    out->file = NULL;
    if (!broken && out->part && rename(out->part, out->path) != 0) {
        broken = 1;
        cause = errno;
    }
    if (broken) {
        fail("cannot write %s: %s", out->path, strerror(cause));
        out_discard(out);
        return 1;
    }
    if (out->part) put_at_risk(NULL, out->part);
    free(out->path);
    free(out->part);
    memset(out, 0, sizeof *out);
    return 0;
}

void out_discard(out_file *out)
{
    if (out->file) fclose(out->file);
    if (out->part) {
        unlink(out->part);
        put_at_risk(NULL, out->part);
    }
    free(out->path);
    free(out->part);
    memset(out, 0, sizeof *out);
}

/* ---- input ---- */

#define READ_MAX ((size_t)1 << 31)

/* Reads to the end; room is a guess of how much that is. */
static int read_all(in_file *in, int fd, size_t room, reason *why)
{
    size_t used = 0;
    void *block = NULL;
    if (posix_memalign(&block, 64, room)) return because(why, "not enough memory to read it");
    for (;;) {
        if (used == room) {
            void *larger = NULL;
            int refused = room >= READ_MAX ? because(why, "is larger than 2 GiB")
                        : posix_memalign(&larger, 64, room * 2) ? because(why, "not enough memory to read it") : 0;
            if (refused) {
                free(block);
                return 1;
            }
            memcpy(larger, block, used);
            free(block);
            block = larger;
            room *= 2;
        }
        ssize_t got = read(fd, (uint8_t *)block + used, room - used);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            because(why, "cannot read: %s", strerror(errno));
            free(block);
            return 1;
        }
        if (got == 0) break;
        used += (size_t)got;
    }
    in->data = block;
    in->bytes = used;
    return 0;
}

static int load(in_file *in, const char *path, int map, reason *why)
{
    struct stat st;
    int failed = 0;
    memset(in, 0, sizeof *in);
    int fd = open(path, O_RDONLY);
    if (fd < 0) return because(why, "cannot open: %s", strerror(errno));
    if (fstat(fd, &st)) {
        failed = because(why, "cannot read: %s", strerror(errno));
    } else if (S_ISDIR(st.st_mode)) {
        failed = because(why, "is a folder, not a file");
    } else if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode)) {
        failed = because(why, "is neither a file nor a pipe");
    } else if (S_ISREG(st.st_mode) && map && st.st_size > 0 && (uintmax_t)st.st_size <= SIZE_MAX) {
        void *at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        in->mapped = at != MAP_FAILED;
        in->data = in->mapped ? at : NULL;
        in->bytes = in->mapped ? (size_t)st.st_size : 0;
    }
    if (!failed && !in->mapped) {
        if (st.st_size > 0 && (uintmax_t)st.st_size >= READ_MAX) failed = because(why, "is larger than 2 GiB");
        else failed = read_all(in, fd, st.st_size > 0 ? (size_t)st.st_size + 1 : (size_t)1 << 16, why);
    }
    close(fd);
    if (!failed && in->bytes == 0) {
        in_close(in);
        failed = because(why, "is empty");
    }
    return failed;
}

int in_open(in_file *in, const char *path)
{
    reason why;
    return load(in, path, 1, &why) ? fail("%s: %s", path, why.text) : 0;
}

int in_read(in_file *in, const char *path, reason *why)
{
    return load(in, path, 0, why);
}

void in_close(in_file *in)
{
    void *data = (void *)(uintptr_t)in->data;
    if (in->mapped) munmap(data, in->bytes);
    else free(data);
    memset(in, 0, sizeof *in);
}

/* ---- models and sessions ---- */

int model_open(mim_model *model, in_file *file, const char *path)
{
    if (in_open(file, path)) return 1;
    mim_status status = mim_open(model, file->data, file->bytes);
    if (status == MIM_OK) status = mim_verify(model);
    if (status == MIM_OK) return 0;
    if (model->fault && *model->fault)
        fail("%s: %s (byte %" PRIu64 ": %s)", path, mim_status_string(status), model->fault_at, model->fault);
    else
        fail("%s: %s", path, mim_status_string(status));
    in_close(file);
    return 1;
}

int engine_start(engine *e, const mim_model *model, const mim_session_desc *desc, reason *why)
{
    mim_memory memory;
    engine_stop(e);
    mim_status status = mim_plan(model, desc, &memory);
    if (status != MIM_OK) return because(why, "%s", mim_status_string(status));
    if (posix_memalign(&e->arena, 64, memory.useful)) {
        e->arena = NULL;
        return because(why, "not enough memory: the encoder works in %zu bytes", memory.useful);
    }
    memory.base = e->arena;
    memory.bytes = memory.useful;
    status = mim_begin(&e->session, model, desc, &memory);
    if (status != MIM_OK) {
        engine_stop(e);
        return because(why, "%s", mim_status_string(status));
    }
    return 0;
}

void engine_stop(engine *e)
{
    free(e->arena);
    memset(e, 0, sizeof *e);
}

const mim_blob_step *model_step(const mim_model *model, uint16_t kind)
{
    for (uint32_t i = model->header->decoder_step; i-- > 0;)
        if (model->steps[i].kind == kind) return &model->steps[i];
    return NULL;
}

const mim_blob_tensor *step_tensor(const mim_model *model, const mim_blob_step *step, unsigned slot)
{
    return step->tensor[slot] ? &model->tensors[step->tensor[slot] - 1] : NULL;
}

uint64_t model_prefix(const mim_model *model)
{
    return (uint64_t)model->header->has_cls + model->header->registers;
}

int model_takes_tokens(const mim_model *model)
{
    return !model->steps[0].tensor[0];
}

mim_grid model_grid(const mim_model *model, uint32_t height, uint32_t width, uint32_t frames)
{
    const mim_blob_header *h = model->header;
    mim_grid grid = { frames / h->patch_frames * h->groups, height / h->patch_height, width / h->patch_width, 0, h->dim };
    grid.tokens = (uint32_t)model_prefix(model) + grid.frames * grid.height * grid.width;
    return grid;
}

/* Cells of a convolution along n tokens; those that do not overlap cover the grid, unless whole. */
static uint32_t cells(uint32_t n, uint32_t kernel, uint32_t stride, uint32_t padding, uint32_t whole)
{
    if (kernel == stride && !padding && !whole) return (n + stride - 1) / stride;
    return n + 2 * padding < kernel ? 0 : (n + 2 * padding - kernel) / stride + 1;
}

/* Sum of the squares of the parts into which windows divide n tokens. */
static uint64_t squares(uint32_t n, uint32_t window)
{
    uint64_t rest = n % window;
    return (uint64_t)(n / window) * window * window + rest * rest;
}

/* branch: tokens of the branch, of which keys and values may be. */
static uint64_t attention_macs(const mim_model *model, const mim_blob_step *step, mim_grid *grid, uint64_t branch)
{
    uint64_t inner = (uint64_t)step->heads * step->head_dim, prefix = model_prefix(model), tokens = grid->tokens, dim = grid->dim;
    uint64_t next = step_tensor(model, step, 2)->rows, pairs = tokens * tokens, macs = tokens * dim * inner * 3;
    uint64_t kernel = (uint64_t)step->kernel_height * step->kernel_width, key_height = grid->height, key_width = grid->width;
    if (step->flags & MIM_STEP_JOIN) {
        pairs = tokens * branch;
        macs = (tokens + 2 * branch) * dim * inner;
    }
    if (step->window) {
        key_height = step->window_height < grid->height ? step->window_height : grid->height;
        key_width = step->window_width < grid->width ? step->window_width : grid->width;
        pairs = squares(grid->height, (uint32_t)key_height) * squares(grid->width, (uint32_t)key_width) * grid->frames;
    }
    if (step->tensor[7]) macs += tokens * dim * step_tensor(model, step, 7)->rows;
    if (step->thin == MIM_THIN_MAX) {
        grid->height /= step->stride_height;
        grid->width /= step->stride_width;
        pairs /= (uint64_t)step->stride_height * step->stride_width;
    } else if (step->thin == MIM_THIN_CONV) {
        key_height = cells(grid->height, step->kernel_height, step->key_stride, step->kernel_height / 2u, 1);
        key_width = cells(grid->width, step->kernel_width, step->key_stride, step->kernel_width / 2u, 1);
        grid->height = cells(grid->height, step->kernel_height, step->stride_height, step->kernel_height / 2u, 1);
        grid->width = cells(grid->width, step->kernel_width, step->stride_width, step->kernel_width / 2u, 1);
        uint64_t queries = prefix + (uint64_t)grid->frames * grid->height * grid->width;
        uint64_t keys = prefix + (uint64_t)grid->frames * key_height * key_width;
        pairs = queries * keys;
        macs += (queries + 2 * keys) * kernel * step->kernel_frames * inner;
    }
    grid->tokens = (uint32_t)(prefix + (uint64_t)grid->frames * grid->height * grid->width);
    grid->dim = (uint32_t)next;
    if (step->rule == MIM_BIAS_AXES) macs += (grid->tokens - prefix) * (key_height + key_width + (step->stored_frames ? grid->frames : 0)) * inner;
    return macs + pairs * inner * 2 + grid->tokens * inner * next;
}

uint64_t model_macs(const mim_model *model, mim_grid grid)
{
    /* The blob's limits keep every product below 2^64: 1024 steps of at most 2^14 tokens by 2^13 by 2^16. */
    uint64_t prefix = model_prefix(model), patches = grid.tokens - prefix, macs = 0, branch = 0;
    for (uint32_t i = 0; i < model->header->decoder_step; i++) {
        const mim_blob_step *step = &model->steps[i];
        const mim_blob_tensor *t = step_tensor(model, step, step->kind == MIM_STEP_EMBED ? 0 : 1);
        if (step->kind == MIM_STEP_EMBED) {
            grid.dim = t && model->header->groups == 1 ? t->rows : model->header->dim;
            macs += t ? patches * grid.dim * t->columns : 0;
        } else if (step->kind == MIM_STEP_ATTENTION) {
            macs += attention_macs(model, step, &grid, branch);
        } else if (step->kind == MIM_STEP_MLP) {
            const mim_blob_tensor *fc2 = step_tensor(model, step, 2);
            uint64_t kernel = step->tensor[4] ? (uint64_t)step->kernel_height * step->kernel_width : 0;
            uint64_t first = (uint64_t)grid.dim * (step->flags & MIM_STEP_GATED ? 2 : 1) + kernel;
            macs += grid.tokens * (first + fc2->rows) * fc2->columns;
            macs += step->tensor[5] ? (uint64_t)grid.tokens * grid.dim * fc2->rows : 0;
            grid.dim = fc2->rows;
        } else if (step->kind == MIM_STEP_CONV) {
            uint32_t height = cells(grid.height, step->kernel_height, step->stride_height, step->padding_height, step->flags & MIM_STEP_WHOLE);
            uint32_t width = cells(grid.width, step->kernel_width, step->stride_width, step->padding_width, step->flags & MIM_STEP_WHOLE);
            uint64_t made = (uint64_t)grid.frames * height * width;
            macs += made * (t ? (uint64_t)t->rows * t->columns : (uint64_t)grid.dim * step->kernel_height * step->kernel_width);
            if (step->flags & MIM_STEP_BRANCH) branch = made;
            if (step->flags & MIM_STEP_BRANCH || !t) continue;
            grid.height = height;
            grid.width = width;
            grid.tokens = grid.frames * height * width;
            grid.dim = t->rows;
        }
    }
    return macs;
}

const char *type_name(uint32_t type)
{
    return type == MIM_F32 ? "f32" : type == MIM_F16 ? "f16" : type == MIM_Q8 ? "q8" : type == MIM_Q4 ? "q4" : "unknown";
}

/* ---- command lines ---- */

static const option *find_option(const option *options, size_t count, const char *text, size_t length)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(options[i].name) == length && memcmp(options[i].name, text, length) == 0) return &options[i];
    return NULL;
}

int parse_options(int argc, char **argv, const option *options, size_t count, const char *usage, int *positional)
{
    int kept = 0, only_names = 0;
    for (int i = 1; i < argc; i++) {
        char *text = argv[i];
        if (only_names || text[0] != '-' || text[1] == '\0') {
            argv[1 + kept++] = text;
            continue;
        }
        if (strcmp(text, "--") == 0) {
            only_names = 1;
            continue;
        }
        if (strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0) {
            fputs(usage, stdout);
            return PARSE_HELP;
        }
        size_t length = strcspn(text, "=");
        const option *found = find_option(options, count, text, length);
        if (!found) return fail("%s: unknown option '%s'; see `mim %s --help`", argv[0], text, argv[0]);
        if (!found->value) {
            if (text[length]) return fail("%s: %s takes no value", argv[0], found->name);
            *found->given = 1;
            continue;
        }
        if (*found->value) return fail("%s: %s is given twice", argv[0], found->name);
        if (text[length]) *found->value = text + length + 1;
        else if (i + 1 < argc) *found->value = argv[++i];
        else return fail("%s: %s needs a value; see `mim %s --help`", argv[0], found->name, argv[0]);
    }
    *positional = kept;
    return PARSED;
}

/* Decimal digits only, so that neither signs nor blanks nor other bases pass. Returns what follows, or NULL. */
static const char *read_digits(const char *text, uint32_t most, uint32_t *result)
{
    uint64_t value = 0;
    if (*text < '0' || *text > '9') return NULL;
    for (; *text >= '0' && *text <= '9'; text++) {
        value = value * 10 + (uint64_t)(*text - '0');
        if (value > most) return NULL;
    }
    *result = (uint32_t)value;
    return text;
}

int parse_number(const char *name, const char *text, uint32_t least, uint32_t most, uint32_t *result)
{
    uint32_t value;
    if (!text) return 0;
    const char *rest = read_digits(text, most, &value);
    if (!rest || *rest || value < least)
        return fail("%s: '%s' is not a whole number from %" PRIu32 " to %" PRIu32, name, text, least, most);
    *result = value;
    return 0;
}

int parse_real(const char *name, const char *text, double least, double most, double *result)
{
    char *rest;
    if (!text) return 0;
    double value = strtod(text, &rest);
    if (rest == text || *rest || strspn(text, "0123456789.eE+-") != strlen(text) || !(value >= least && value <= most))
        return fail("%s: '%s' is not a number from %g to %g", name, text, least, most);
    *result = value;
    return 0;
}

int parse_cpu(const char *text, uint32_t *cpu)
{
    char known[128] = "";
    if (!text) return 0;
    for (uint32_t level = MIM_CPU_SCALAR; level < MIM_CPU_COUNT; level++) {
        const char *name = mim_cpu_name(level);
        if (!name) continue;
        if (strcmp(name, text) == 0) {
            *cpu = level;
            return 0;
        }
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, " %s", name);
    }
    return fail("--cpu: no level '%s' in this build; it knows:%s", text, known);
}

int parse_size(const mim_model *model, const char *text, uint32_t *height, uint32_t *width)
{
    const mim_blob_header *header = model->header;
    uint32_t h, w;
    *height = header->image_height;
    *width = header->image_width;
    if (!text) return 0;
    const char *rest = read_digits(text, MIM_MAX_IMAGE, &h);
    rest = rest && *rest == 'x' ? read_digits(rest + 1, MIM_MAX_IMAGE, &w) : NULL;
    if (!rest || *rest || h == 0 || w == 0)
        return fail("--size: '%s' is not HEIGHTxWIDTH in pixels, each from 1 to %u", text, MIM_MAX_IMAGE);
    if (h % header->patch_height || w % header->patch_width)
        return fail("--size: %" PRIu32 "x%" PRIu32 " is not a multiple of the patch, %" PRIu32 "x%" PRIu32,
                    h, w, header->patch_height, header->patch_width);
    *height = h;
    *width = w;
    return 0;
}

/* ---- the clock ---- */

double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double processor_seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
