/* npy.c - see npy.h. The format: magic, version, header length, a Python dictionary in ASCII, then the elements. */
#include "npy.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint8_t magic[6] = { 0x93, 'N', 'U', 'M', 'P', 'Y' };

/* The dictionary's text, read left to right. */
typedef struct cursor {
    const uint8_t *at, *end;
} cursor;

static void skip_blanks(cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r')) c->at++;
}

/* Takes the next mark if it is this one. */
static int take(cursor *c, char mark)
{
    skip_blanks(c);
    if (c->at == c->end || *c->at != (uint8_t)mark) return 0;
    c->at++;
    return 1;
}

static int take_word(cursor *c, const char *word)
{
    size_t length = strlen(word);
    skip_blanks(c);
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0) return 0;
    c->at += length;
    return 1;
}

static int take_string(cursor *c, char text[32])
{
    size_t length = 0;
    skip_blanks(c);
    if (c->at == c->end || (*c->at != '\'' && *c->at != '"')) return 0;
    uint8_t quote = *c->at++;
    while (c->at < c->end && *c->at != quote) {
        if (length == 31 || *c->at < 32 || *c->at > 126) return 0;
        text[length++] = (char)*c->at++;
    }
    text[length] = '\0';
    return take(c, (char)quote);
}

static int take_shape(cursor *c, npy_array *array)
{
    array->dims = 0;
    if (!take(c, '(')) return 0;
    while (!take(c, ')')) {
        uint64_t value = 0;
        if (array->dims == NPY_MAX_DIMS || c->at == c->end || *c->at < '0' || *c->at > '9') return 0;
        for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
            value = value * 10 + (uint64_t)(*c->at - '0');
            if (value > UINT64_C(1) << 48) return 0;
        }
        array->shape[array->dims++] = value;
        if (!take(c, ',')) return take(c, ')');
    }
    return 1;
}

int npy_parse(npy_array *array, const uint8_t *head, size_t bytes, uint64_t file_bytes, reason *why)
{
    int have_type = 0, have_order = 0, have_shape = 0, fortran = 0;
    char type[32] = "", key[32];
    size_t start, length;

    memset(array, 0, sizeof *array);
    array->fd = -1;
    if (bytes < 10 || memcmp(head, magic, sizeof magic) != 0) return because(why, "is not an .npy array");
    if (head[6] == 1) {
        start = 10;
        length = (size_t)head[8] | (size_t)head[9] << 8;
    } else if ((head[6] == 2 || head[6] == 3) && bytes >= 12) {
        start = 12;
        length = (size_t)head[8] | (size_t)head[9] << 8 | (size_t)head[10] << 16 | (size_t)head[11] << 24;
    } else {
        return because(why, "is an .npy array of an unknown version");
    }
    if (length > NPY_MAX_HEADER) return because(why, "has an .npy header of %zu bytes; at most %u are read", length, NPY_MAX_HEADER);
    if (length > bytes - start) return because(why, "ends within its .npy header");

    cursor c = { head + start, head + start + length };
    int sound = take(&c, '{');
    while (sound && !take(&c, '}')) {
        sound = take_string(&c, key) && take(&c, ':');
        if (!sound) break;
        if (strcmp(key, "descr") == 0 && !have_type++) sound = take_string(&c, type);
        else if (strcmp(key, "fortran_order") == 0 && !have_order++) sound = (fortran = take_word(&c, "True")) || take_word(&c, "False");
        else if (strcmp(key, "shape") == 0 && !have_shape++) sound = take_shape(&c, array);
        else sound = 0;
        if (sound && !take(&c, ',')) {
            sound = take(&c, '}');
            break;
        }
    }
    skip_blanks(&c);
    if (!sound || c.at != c.end || !have_type || !have_order || !have_shape)
        return because(why, "has an .npy header that cannot be read (it must give descr, fortran_order and shape, "
                            "of a plain type and at most %u dimensions)", NPY_MAX_DIMS);

    array->type = strcmp(type, "<f4") == 0 ? NPY_F4 : strcmp(type, "<i4") == 0 ? NPY_I4 : strcmp(type, "<i8") == 0 ? NPY_I8 : 0;
    if (!array->type)
        return because(why, "holds elements of type '%s'; only little-endian float32 ('<f4') and, for indices, int32 and int64 are read", type);
    if (fortran) return because(why, "is stored in Fortran order; save numpy.ascontiguousarray of it");

    uint64_t size = array->type == NPY_I8 ? 8 : 4;
    array->count = 1;
    for (uint32_t i = 0; i < array->dims; i++) {
        if (array->shape[i] && array->count > (UINT64_C(1) << 48) / array->shape[i]) return because(why, "has an absurd shape");
        array->count *= array->shape[i];
    }
    array->data_at = start + length;
    uint64_t needed = array->data_at + array->count * size;
    if (file_bytes < needed) return because(why, "ends after %" PRIu64 " of %" PRIu64 " bytes", file_bytes, needed);
    if (file_bytes > needed) return because(why, "holds %" PRIu64 " bytes more than its shape says", file_bytes - needed);
    return 0;
}

/* pread, whole or not at all. */
static int read_at(int fd, uint64_t at, void *data, size_t bytes, reason *why)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t got = pread(fd, (uint8_t *)data + done, bytes - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return because(why, "cannot read: %s", strerror(errno));
        if (got == 0) return because(why, "became shorter while it was read");
        done += (size_t)got;
    }
    return 0;
}

int npy_open(npy_array *array, const char *path, reason *why)
{
    struct stat st;
    int failed = 0;
    memset(array, 0, sizeof *array);
    array->fd = -1;
    int fd = open(path, O_RDONLY);
    if (fd < 0) return because(why, "cannot open: %s", strerror(errno));
    if (fstat(fd, &st)) failed = because(why, "cannot read: %s", strerror(errno));
    else if (!S_ISREG(st.st_mode)) failed = because(why, "is not a file; an array is read piece by piece, which needs one");
    else if (st.st_size == 0) failed = because(why, "is empty");
    if (!failed) {
        size_t prefix = NPY_MAX_HEADER + 12;
        if ((uint64_t)st.st_size < prefix) prefix = (size_t)st.st_size;
        uint8_t *head = malloc(prefix);
        failed = head ? read_at(fd, 0, head, prefix, why) : because(why, "not enough memory to read it");
        if (!failed) failed = npy_parse(array, head, prefix, (uint64_t)st.st_size, why);
        free(head);
    }
    if (failed) close(fd);
    else array->fd = fd;
    return failed;
}

int npy_read(const npy_array *array, uint64_t first, size_t count, void *elements, reason *why)
{
    size_t size = array->type == NPY_I8 ? 8 : 4;
    return read_at(array->fd, array->data_at + first * size, elements, count * size, why);
}

void npy_close(npy_array *array)
{
    if (array->fd >= 0) close(array->fd);
    array->fd = -1;
}

int npy_write_header(out_file *out, const uint64_t *shape, uint32_t dims)
{
    /* 8 dimensions of 20 digits fit with room to spare; the elements begin at a multiple of 64. */
    char text[256], header[320];
    size_t used = (size_t)snprintf(text, sizeof text, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    for (uint32_t i = 0; i < dims && i < NPY_MAX_DIMS; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%" PRIu64, i ? ", " : "", shape[i]);
    used += (size_t)snprintf(text + used, sizeof text - used, "), }");
    size_t total = (10 + used + 1 + 63) / 64 * 64, length = total - 10;
    memset(header, ' ', sizeof header);
    memcpy(header, magic, sizeof magic);
    header[6] = 1;
    header[7] = 0;
    header[8] = (char)(length & 255);
    header[9] = (char)(length >> 8);
    memcpy(header + 10, text, used);
    header[total - 1] = '\n';
    return out_write(out, header, total);
}
