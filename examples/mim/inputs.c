/* inputs.c - from the command line's arguments to a numbered list of images. */
#include "npy.h"
#include "picture.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Room for one more of size bytes each; doubles. */
static int reserve(void **block, size_t *room, size_t needed, size_t size)
{
    if (needed <= *room) return 0;
    size_t larger = *room ? *room : 64;
    while (larger < needed) larger = larger > SIZE_MAX / 2 ? needed : larger * 2;
    void *moved = larger > SIZE_MAX / size ? NULL : realloc(*block, larger * size);
    if (!moved) return fail("not enough memory for the list of inputs");
    *block = moved;
    *room = larger;
    return 0;
}

/* Copies a path to the end of names; *at says where it lies. */
static int keep_name(inputs *all, const char *folder, const char *name, size_t *at)
{
    size_t head = folder ? strlen(folder) : 0, slash = head && folder[head - 1] != '/', length = strlen(name);
    void *block = all->names;
    if (reserve(&block, &all->names_room, all->names_used + head + slash + length + 1, 1)) return 1;
    all->names = block;
    *at = all->names_used;
    char *to = all->names + all->names_used;
    if (head) memcpy(to, folder, head);
    if (slash) to[head] = '/';
    memcpy(to + head + slash, name, length + 1);
    all->names_used += head + slash + length + 1;
    return 0;
}

static int add_source(inputs *all, size_t name, int kind, uint64_t images)
{
    void *block = all->sources;
    if (reserve(&block, &all->room, all->count + 1, sizeof *all->sources)) return 1;
    all->sources = block;
    all->sources[all->count++] = (source){ all->images, name, kind };
    if (images > (UINT64_C(1) << 48) - all->images) return fail("%s: too many images", all->names + name);
    all->images += images;
    return 0;
}

/* A picture is an image, or the next frame of a video. */
static int add_picture(inputs *all, size_t name)
{
    all->pending++;
    int whole = all->pending == all->frames;
    if (add_source(all, name, SOURCE_PICTURE, whole ? 1 : 0)) return 1;
    if (whole) all->pending = 0;
    return 0;
}

int inputs_end(const inputs *all)
{
    if (!all->pending) return 0;
    return fail("%s: is picture %" PRIu32 " of a video of %" PRIu32 ", and no more follow; a video is so many pictures",
                all->names + all->sources[all->count - 1].name, all->pending, all->frames);
}

static int add_tokens(inputs *all, size_t name, const npy_array *array, const mim_model *model)
{
    const char *path = all->names + name;
    if (array->dims != 2 && array->dims != 3)
        return fail("%s: has %" PRIu32 " dimensions; tokens are (T,D) or (N,T,D)", path, array->dims);
    const uint64_t *shape = array->shape + (array->dims - 2);
    if (shape[1] != model->header->dim)
        return fail("%s: holds tokens of %" PRIu64 "; the model's have %" PRIu32, path, shape[1], model->header->dim);
    if (array->dims == 3 && shape[-1] == 0) return fail("%s: holds no input", path);
    uint64_t prefix = model_prefix(model);
    if (shape[0] <= prefix || shape[0] > MIM_MAX_TOKENS)
        return fail("%s: holds %" PRIu64 " tokens; they may be %" PRIu64 " to %u", path, shape[0], prefix + 1, MIM_MAX_TOKENS);
    if (all->tokens && all->tokens != shape[0])
        return fail("%s: holds %" PRIu64 " tokens, those before %" PRIu64 "; encode them by themselves", path, shape[0], all->tokens);
    all->tokens = shape[0];
    return add_source(all, name, SOURCE_ARRAY, array->dims == 3 ? array->shape[0] : 1);
}

/* An array says how many images it holds; a picture is one, and is read when its turn comes. */
static int add_file(inputs *all, const char *path, const mim_model *model, uint32_t height, uint32_t width)
{
    npy_array array;
    reason why;
    size_t name;
    if (keep_name(all, NULL, path, &name)) return 1;
    if (!has_extension(path, ".npy")) {
        if (!all->tolerant && access(path, R_OK)) return fail("%s: cannot open: %s", path, strerror(errno));
        if (model_takes_tokens(model)) return fail("%s: the model takes tokens, in .npy arrays, not pictures", path);
        return add_picture(all, name);
    }

    if (inputs_end(all)) return 1;
    uint32_t channels = model->header->channels;
    if (npy_open(&array, path, &why)) return fail("%s: %s", path, why.text);
    npy_close(&array);
    if (array.type != NPY_F4) return fail("%s: holds integers; images are float32, already normalised", path);
    if (model_takes_tokens(model)) return add_tokens(all, name, &array, model);
    const mim_blob_header *h = model->header;
    int video = h->frames > 1 || all->frames > 1;
    uint32_t one = all->frames > 1 ? 4 : 3;         /* dimensions of one input; those of a single frame may be stated */
    if (array.dims != one && array.dims != one + 1 && !(video && array.dims == 5))
        return fail("%s: has %" PRIu32 " dimensions; %s", path, array.dims, one == 4 ? "videos are (T,C,H,W) or (N,T,C,H,W)" :
                    video ? "inputs of one frame are (C,H,W), (N,C,H,W) or (N,1,C,H,W)" : "images are (C,H,W) or (N,C,H,W)");
    uint64_t stated = array.dims == 5 || one == 4 ? array.shape[array.dims - 4] : 1;
    int many = array.dims == 5 || array.dims == one + 1;
    const uint64_t *shape = array.shape + (array.dims - 3);
    if (shape[0] != channels)
        return fail("%s: has %" PRIu64 " channels; the model takes %" PRIu32, path, shape[0], channels);
    if (shape[1] != height || shape[2] != width)
        return fail("%s: holds images of %" PRIu64 "x%" PRIu64 "; the input is %" PRIu32 "x%" PRIu32 " (--size changes it)",
                    path, shape[1], shape[2], height, width);
    if (stated != all->frames)
        return fail("%s: holds videos of %" PRIu64 " frames; the input is %" PRIu32 " (--frames changes it)", path, stated, all->frames);
    if (many && array.shape[0] == 0) return fail("%s: holds no image", path);
    return add_source(all, name, SOURCE_ARRAY, many ? array.shape[0] : 1);
}

static const char *sorted_names;      /* qsort's comparison has no argument of its own */

static int by_name(const void *a, const void *b)
{
    return strcmp(sorted_names + ((const source *)a)->name, sorted_names + ((const source *)b)->name);
}

static int add_folder(inputs *all, const char *path, const mim_model *model)
{
    size_t first = all->count;
    uint64_t first_image = all->images;
    uint32_t pending = all->pending;
    DIR *folder = opendir(path);
    if (folder && model_takes_tokens(model)) {
        closedir(folder);
        return fail("%s: the model takes tokens, in .npy arrays, not folders of pictures", path);
    }
    if (!folder) return fail("%s: cannot read the folder: %s", path, strerror(errno));
    for (;;) {
        struct stat st;
        size_t name;
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (!entry) break;
        if (!picture_named(entry->d_name)) continue;
        int failed = keep_name(all, path, entry->d_name, &name);
        if (!failed && stat(all->names + name, &st) == 0 && S_ISREG(st.st_mode)) failed = add_picture(all, name);
        else if (!failed) all->names_used = name;
        if (failed) {
            closedir(folder);
            return 1;
        }
    }
    int cause = errno;
    closedir(folder);
    if (cause) return fail("%s: cannot read the folder: %s", path, strerror(cause));
    if (all->count == first) return fail("%s: no pictures in this folder (by extension: .ppm .pgm .pnm .bmp .png .jpg .jpeg)", path);
    sorted_names = all->names;
    qsort(all->sources + first, all->count - first, sizeof *all->sources, by_name);
    for (size_t i = first; i < all->count; i++) all->sources[i].first = first_image + (pending + (i - first)) / all->frames;
    return 0;
}

static int add_list(inputs *all, const char *path, const mim_model *model, uint32_t height, uint32_t width)
{
    char line[4096];
    size_t length = 0, number = 1, first = all->count;
    int failed = 0, c;
    FILE *list = fopen(path, "rb");
    if (!list) return fail("%s: cannot open the list: %s", path, strerror(errno));
    do {
        c = getc(list);
        if (c == '\0') {
            failed = fail("%s: line %zu holds a zero byte; a list has one path a line", path, number);
        } else if (c != '\n' && c != EOF) {
            if (length == sizeof line - 1) failed = fail("%s: line %zu is longer than a path can be", path, number);
            else line[length++] = (char)c;
        } else {
            if (length && line[length - 1] == '\r') length--;
            line[length] = '\0';
            if (length) failed = add_file(all, line, model, height, width);
            length = 0;
            number++;
        }
    } while (!failed && c != EOF);
    if (!failed && ferror(list)) failed = fail("%s: cannot read the list: %s", path, strerror(errno));
    fclose(list);
    if (!failed && all->count == first) failed = fail("%s: the list names no file", path);
    return failed;
}

int inputs_add(inputs *all, const char *argument, const mim_model *model, uint32_t height, uint32_t width)
{
    struct stat st;
    if (argument[0] == '@') return add_list(all, argument + 1, model, height, width);
    if (stat(argument, &st) == 0 && S_ISDIR(st.st_mode)) return add_folder(all, argument, model);
    return add_file(all, argument, model, height, width);
}

void inputs_free(inputs *all)
{
    free(all->sources);
    free(all->names);
    memset(all, 0, sizeof *all);
}

size_t inputs_find(const inputs *all, uint64_t image)
{
    size_t low = 0, high = all->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (all->sources[middle].first <= image) low = middle;
        else high = middle;
    }
    while (low && all->sources[low - 1].first == all->sources[low].first) low--;
    return low;
}
