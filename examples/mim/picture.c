/* picture.c - see picture.h. Every length that a file states is checked against the file before anything is allocated. */
#include "picture.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#ifdef MIM_HAVE_STB_IMAGE
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_MAX_DIMENSIONS 16384
#if defined(__has_include)
#if __has_include(<stb/stb_image.h>)
#include <stb/stb_image.h>
#else
#include <stb_image.h>
#endif
#else
#include <stb_image.h>
#endif
#endif

/* ---- sizes ---- */

static int check_size(uint64_t width, uint64_t height, reason *why)
{
    if (width == 0 || height == 0) return because(why, "is a picture of %" PRIu64 "x%" PRIu64 " pixels", width, height);
    if (width > PICTURE_MAX_SIDE || height > PICTURE_MAX_SIDE || width * height > PICTURE_MAX_PIXELS)
        return because(why, "claims %" PRIu64 "x%" PRIu64 " pixels; at most %u a side and %" PRIu32 " in all are read",
                       width, height, PICTURE_MAX_SIDE, PICTURE_MAX_PIXELS);
    return 0;
}

/* Allocates a picture whose size has been checked. */
static int make(picture *p, uint32_t width, uint32_t height, uint32_t format, reason *why)
{
    size_t channels = format == MIM_GRAY8 ? 1 : 3;
    if (check_size(width, height, why)) return 1;
    p->pixels = malloc((size_t)width * height * channels);
    if (!p->pixels) return because(why, "not enough memory for %" PRIu32 "x%" PRIu32 " pixels", width, height);
    p->width = width;
    p->height = height;
    p->format = format;
    return 0;
}

/* ---- PPM and PGM ---- */

typedef struct cursor {
    const uint8_t *at, *end;
} cursor;

static int is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Blanks, and comments to the end of their line. */
static void skip_blanks(cursor *c)
{
    while (c->at < c->end && (is_blank(*c->at) || *c->at == '#')) {
        if (*c->at == '#')
            while (c->at < c->end && *c->at != '\n' && *c->at != '\r') c->at++;
        else c->at++;
    }
}

/* The next number, which must be at most `most`; 0 if there is none. */
static int take_number(cursor *c, uint32_t most, uint32_t *result)
{
    uint64_t value = 0;
    skip_blanks(c);
    if (c->at == c->end || *c->at < '0' || *c->at > '9') return 0;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
        value = value * 10 + (uint64_t)(*c->at - '0');
        if (value > most) return 0;
    }
    *result = (uint32_t)value;
    return 1;
}

static uint8_t to_byte(uint32_t value, uint32_t maxval)
{
    return (uint8_t)((value * 510 + maxval) / (2 * maxval));  /* value <= maxval <= 65535 */
}

static int decode_pnm(picture *p, const uint8_t *data, size_t bytes, reason *why)
{
    cursor c = { data + 2, data + bytes };
    int plain = data[1] == '2' || data[1] == '3', gray = data[1] == '2' || data[1] == '5';
    uint32_t width, height, maxval;

    if (!take_number(&c, UINT32_MAX, &width) || !take_number(&c, UINT32_MAX, &height))
        return because(why, "has no sound width and height after P%c", data[1]);
    if (!take_number(&c, 65535, &maxval) || maxval == 0) return because(why, "has no sound maximum value (1 to 65535) after its size");
    if (check_size(width, height, why)) return 1;
    size_t samples = (size_t)width * height * (gray ? 1 : 3), left = (size_t)(c.end - c.at);
    size_t size = maxval > 255 ? 2 : 1;

    /* A plain sample takes a digit and a blank, the last one's blank apart; a raw raster follows one blank. */
    size_t needed = plain ? samples * 2 : samples * size + 1;
    if (left < needed || (!plain && !is_blank(*c.at)))
        return because(why, "ends too early for %" PRIu32 "x%" PRIu32 " pixels", width, height);
    if (make(p, width, height, gray ? MIM_GRAY8 : MIM_RGB8, why)) return 1;

    if (plain) {
        for (size_t i = 0; i < samples; i++) {
            uint32_t value;
            if (!take_number(&c, maxval, &value))
                return because(why, "has no sound value (0 to %" PRIu32 ") for sample %zu of %zu", maxval, i + 1, samples);
            p->pixels[i] = to_byte(value, maxval);
        }
    } else {
        const uint8_t *raster = c.at + 1;
        for (size_t i = 0; i < samples; i++) {
            uint32_t value = size == 1 ? raster[i] : (uint32_t)raster[2 * i] << 8 | raster[2 * i + 1];
            if (value > maxval) return because(why, "holds a value of %" PRIu32 "; its maximum is %" PRIu32, value, maxval);
            p->pixels[i] = maxval == 255 ? (uint8_t)value : to_byte(value, maxval);
        }
        c.at = raster + samples * size;
    }
    while (c.at < c.end && is_blank(*c.at)) c.at++;
    if (c.at < c.end) return because(why, "goes on after its picture (%zu bytes); one picture a file is read", (size_t)(c.end - c.at));
    return 0;
}

/* ---- BMP ---- */

static uint32_t u16_at(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8; }
static uint32_t u32_at(const uint8_t *p) { return u16_at(p) | u16_at(p + 2) << 16; }

/* A channel of a pixel: mask = max << shift. */
typedef struct channel {
    uint32_t mask, shift, max;
} channel;

static int set_channel(channel *c, uint32_t mask)
{
    c->mask = mask;
    c->shift = 0;
    if (!mask) return 0;
    while (!(mask & 1)) {
        mask >>= 1;
        c->shift++;
    }
    c->max = mask;
    return (mask & (mask + 1)) == 0;  /* one run of ones */
}

static int decode_bmp(picture *p, const uint8_t *data, size_t bytes, reason *why)
{
    if (bytes < 54) return because(why, "ends within its BMP header");
    uint32_t offset = u32_at(data + 10), header = u32_at(data + 14);
    uint32_t width = u32_at(data + 18), height = u32_at(data + 22), bits = u16_at(data + 28), compression = u32_at(data + 30);
    int top_down = height >> 31 != 0;
    if (top_down) height = 0u - height;
    if (header < 40 || header > 1024) return because(why, "is a BMP with a header of %" PRIu32 " bytes, a kind that is not read", header);
    int masked = compression == 3 || compression == 6;
    if (compression != 0 && !masked) return because(why, "is a compressed BMP; save it without compression");
    if (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32)
        return because(why, "is a BMP of %" PRIu32 " bits a pixel; 1, 4, 8, 16, 24 and 32 are read", bits);
    if (masked && bits != 16 && bits != 32) return because(why, "is a BMP of %" PRIu32 " bits a pixel with channel masks", bits);
    if (check_size(width, height, why)) return 1;

    /* What follows the header: three or four masks if it is of 40 bytes and has them, then the palette. */
    uint64_t after = 14 + (uint64_t)header + (masked && header == 40 ? (compression == 6 ? 16 : 12) : 0);
    uint64_t stride = ((uint64_t)width * bits + 31) / 32 * 4;
    uint32_t colours = bits <= 8 ? u32_at(data + 46) : 0;
    if (bits <= 8 && colours == 0) colours = 1u << bits;
    if (bits <= 8 && colours > 1u << bits) return because(why, "is a BMP with a palette of %" PRIu32 " colours", colours);
    if (offset < after + 4 * (uint64_t)colours) return because(why, "is a BMP whose pixels begin within its header");
    if (bytes < offset + stride * height) return because(why, "ends too early for %" PRIu32 "x%" PRIu32 " pixels", width, height);

    channel channels[3];
    for (size_t i = 0; i < 3; i++) {
        uint32_t mask = masked ? u32_at(data + 54 + 4 * i) : bits == 16 ? 0x7c00u >> (5 * i) : 0xff0000u >> (8 * i);
        if (!set_channel(&channels[i], mask) || (bits == 16 && mask > 0xffff)) return because(why, "is a BMP with senseless channel masks");
    }
    if (make(p, width, height, MIM_RGB8, why)) return 1;

    const uint8_t *palette = data + after;
    for (uint32_t y = 0; y < height; y++) {
        const uint8_t *row = data + offset + stride * (top_down ? y : height - 1 - y);
        uint8_t *to = p->pixels + (size_t)y * width * 3;
        for (uint32_t x = 0; x < width; x++, to += 3) {
            if (bits <= 8) {
                uint32_t first = x * bits, index = (uint32_t)row[first / 8] >> (8 - bits - first % 8) & ((1u << bits) - 1);
                if (index >= colours) return because(why, "uses colour %" PRIu32 " of a palette of %" PRIu32, index, colours);
                const uint8_t *colour = palette + 4 * index;
                to[0] = colour[2];
                to[1] = colour[1];
                to[2] = colour[0];
            } else {
                uint32_t pixel = 0;
                for (uint32_t i = 0; i < bits / 8; i++) pixel |= (uint32_t)row[x * (bits / 8) + i] << (8 * i);
                for (size_t i = 0; i < 3; i++) {
                    uint64_t value = (pixel & channels[i].mask) >> channels[i].shift, max = channels[i].max;
                    to[i] = (uint8_t)((value * 510 + max) / (2 * max));
                }
            }
        }
    }
    return 0;
}

/* ---- PNG and JPEG ---- */

static const uint8_t png_magic[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n' };

#ifdef MIM_HAVE_STB_IMAGE

static uint32_t u32_big(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* stb_image reads past damage: it ignores checksums, and takes the end of a JPEG's data for zeros.
 * So the chain of chunks, with their checksums, is followed to its end first... */
static int check_png(const uint8_t *data, size_t bytes, reason *why)
{
    for (size_t at = sizeof png_magic;;) {
        if (bytes - at < 12 || u32_big(data + at) > bytes - at - 12) return because(why, "is a PNG that ends too early");
        size_t length = u32_big(data + at);
        if (png_crc(0, data + at + 4, 4 + length) != u32_big(data + at + 8 + length))
            return because(why, "is a damaged PNG: the checksum at byte %zu does not match", at + 8 + length);
        if (memcmp(data + at + 4, "IEND", 4) == 0) return 0;
        at += 12 + length;
    }
}

/* A DHT segment's tables: each at most 256 codes (stb_image 2.27 writes past its own table beyond), and all of them whole. */
static int check_huffman(const uint8_t *segment, size_t bytes)
{
    while (bytes) {
        size_t codes = 0;
        if (bytes < 17) return 1;
        for (size_t i = 1; i <= 16; i++) codes += segment[i];
        if (codes > 256 || codes > bytes - 17) return 1;
        segment += 17 + codes;
        bytes -= 17 + codes;
    }
    return 0;
}

/* ...and the chain of segments to the end-of-image marker. */
static int check_jpeg(const uint8_t *data, size_t bytes, reason *why)
{
    for (size_t at = 2; bytes - at >= 2;) {
        size_t start = at;
        while (bytes - at >= 2 && data[at] == 0xff && data[at + 1] == 0xff) at++;      /* fill */
        if (bytes - at < 2) break;
        uint8_t marker = data[at + 1];
        if (data[at] != 0xff || marker == 0) return because(why, "is a damaged JPEG: no marker at byte %zu", start);
        if (marker == 0xd9) return 0;
        at += 2;
        if (bytes - at < 2) break;
        size_t length = (size_t)data[at] << 8 | data[at + 1];
        if (length < 2) return because(why, "is a damaged JPEG: a segment of %zu bytes at byte %zu", length, at);
        if (length > bytes - at) break;
        if (marker == 0xc4 && check_huffman(data + at + 2, length - 2))
            return because(why, "is a damaged JPEG: senseless Huffman tables at byte %zu", at);
        at += length;
        if (marker != 0xda) continue;
        for (;; at++) {                                    /* compressed data: to the next marker that is not a restart */
            while (bytes - at >= 2 && data[at] != 0xff) at++;
            while (bytes - at >= 2 && data[at + 1] == 0xff) at++;
            if (bytes - at < 2) break;
            if (data[at + 1] != 0 && (data[at + 1] < 0xd0 || data[at + 1] > 0xd7)) break;
        }
    }
    return because(why, "is a JPEG that ends too early");
}

static int decode_stb(picture *p, const uint8_t *data, size_t bytes, const char *kind, reason *why)
{
    int width, height, channels;
    if (bytes > INT32_MAX) return because(why, "is a %s of more than 2 GiB", kind);
    int length = (int)bytes;
    if (!stbi_info_from_memory(data, length, &width, &height, &channels) || width < 0 || height < 0)
        return because(why, "is a %s that cannot be read: %s", kind, stbi_failure_reason());
    if (check_size((uint64_t)width, (uint64_t)height, why)) return 1;
    int wanted = channels <= 2 ? 1 : 3;
    size_t samples = (size_t)width * (size_t)height * (size_t)wanted;
    void *decoded;
    if (stbi_is_16_bit_from_memory(data, length)) {
        uint16_t *wide = stbi_load_16_from_memory(data, length, &width, &height, &channels, wanted);
        uint8_t *narrow = (uint8_t *)wide;                 /* narrowed in place: byte i is read before it is written */
        for (size_t i = 0; wide && i < samples; i++) {
            uint16_t value;
            memcpy(&value, narrow + 2 * i, sizeof value);
            narrow[i] = to_byte(value, 65535);
        }
        decoded = wide;
    } else {
        decoded = stbi_load_from_memory(data, length, &width, &height, &channels, wanted);
    }
    if (!decoded) return because(why, "is a %s that cannot be read: %s", kind, stbi_failure_reason());
    p->width = (uint32_t)width;
    p->height = (uint32_t)height;
    p->format = wanted == 1 ? MIM_GRAY8 : MIM_RGB8;
    p->pixels = decoded;                                   /* stb_image allocates with malloc */
    return 0;
}

static int decode_png(picture *p, const uint8_t *data, size_t bytes, reason *why)
{
    return check_png(data, bytes, why) || decode_stb(p, data, bytes, "PNG", why);
}

static int decode_jpeg(picture *p, const uint8_t *data, size_t bytes, reason *why)
{
    return check_jpeg(data, bytes, why) || decode_stb(p, data, bytes, "JPEG", why);
}

const char *picture_formats(void) { return "PPM, PGM, BMP, PNG, JPEG"; }

#else

static int decode_png(picture *p, const uint8_t *data, size_t bytes, reason *why)
{
    (void)p, (void)data, (void)bytes;
    return because(why, "PNG needs a build with stb_image.h (Debian: libstb-dev)");
}

static int decode_jpeg(picture *p, const uint8_t *data, size_t bytes, reason *why)
{
    (void)p, (void)data, (void)bytes;
    return because(why, "JPEG needs a build with stb_image.h (Debian: libstb-dev)");
}

const char *picture_formats(void) { return "PPM, PGM, BMP (PNG and JPEG need a build with stb_image.h)"; }

#endif

/* ---- any picture ---- */

int picture_decode(picture *p, const uint8_t *data, size_t bytes, reason *why)
{
    int failed;
    memset(p, 0, sizeof *p);
    if (bytes >= 2 && data[0] == 'P' && (data[1] == '2' || data[1] == '3' || data[1] == '5' || data[1] == '6'))
        failed = decode_pnm(p, data, bytes, why);
    else if (bytes >= 2 && data[0] == 'B' && data[1] == 'M') failed = decode_bmp(p, data, bytes, why);
    else if (bytes >= 8 && memcmp(data, png_magic, 8) == 0) failed = decode_png(p, data, bytes, why);
    else if (bytes >= 3 && data[0] == 0xff && data[1] == 0xd8 && data[2] == 0xff) failed = decode_jpeg(p, data, bytes, why);
    else failed = because(why, "is no picture of a kind that is read: %s", picture_formats());
    if (failed) picture_free(p);
    return failed;
}

int picture_read(picture *p, const char *path, reason *why)
{
    in_file file;
    memset(p, 0, sizeof *p);
    if (in_read(&file, path, why)) return 1;
    int failed = picture_decode(p, file.data, file.bytes, why);
    in_close(&file);
    return failed;
}

void picture_free(picture *p)
{
    free(p->pixels);
    memset(p, 0, sizeof *p);
}

/* ---- other sizes ---- */

static uint32_t channels_of(const picture *p)
{
    return p->format == MIM_GRAY8 ? 1 : 3;
}

int picture_resize(picture *p, uint32_t width, uint32_t height, uint32_t filter, reason *why)
{
    picture small;
    uint32_t channels = channels_of(p);
    void *scratch = NULL;
    if (width == p->width && height == p->height) return 0;
    if (make(&small, width, height, p->format, why)) return 1;
    size_t bytes = mim_resize_bytes(width, height, p->width, p->height, channels, filter);
    if (posix_memalign(&scratch, 64, bytes ? bytes : 1)) {
        picture_free(&small);
        return because(why, "not enough memory to resize it");
    }
    mim_status status = mim_resize(small.pixels, width, height, p->pixels, p->width, p->height, 0, channels, filter, scratch);
    free(scratch);
    if (status != MIM_OK) {
        picture_free(&small);
        return because(why, "%s", mim_status_string(status));
    }
    picture_free(p);
    *p = small;
    return 0;
}

/* Pillow's luma, in 16 bits of fraction. */
static void to_gray(picture *p)
{
    size_t pixels = (size_t)p->width * p->height;
    for (size_t i = 0; i < pixels; i++) {
        const uint8_t *rgb = p->pixels + 3 * i;
        p->pixels[i] = (uint8_t)((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
    }
    p->format = MIM_GRAY8;
}

int picture_to_rgb(picture *p, reason *why)
{
    picture wide;
    if (p->format == MIM_RGB8) return 0;
    size_t pixels = (size_t)p->width * p->height;
    if (make(&wide, p->width, p->height, MIM_RGB8, why)) return 1;
    for (size_t i = 0; i < pixels; i++) memset(wide.pixels + 3 * i, p->pixels[i], 3);
    picture_free(p);
    *p = wide;
    return 0;
}

/* Half of what is left over, halves to even: torchvision's centre crop. */
static uint32_t crop_offset(uint32_t size, uint32_t crop)
{
    uint32_t over = size - crop;
    return over / 2 + (over % 2 && over / 2 % 2);
}

static void crop_centre(picture *p, uint32_t width, uint32_t height)
{
    size_t channels = channels_of(p), left = crop_offset(p->width, width), top = crop_offset(p->height, height);
    for (size_t y = 0; y < height; y++)              /* towards the front, row by row: what is read lies ahead of what is written */
        memmove(p->pixels + y * width * channels, p->pixels + ((y + top) * p->width + left) * channels, width * channels);
    p->width = width;
    p->height = height;
}

int picture_prepare(picture *p, const mim_model *model, uint32_t width, uint32_t height, reason *why)
{
    const mim_blob_header *h = model->header;
    if (h->channels != 1 && h->channels != 3)
        return because(why, "the model takes %" PRIu32 " channels, which no picture has", h->channels);
    if (h->channels == 1 && p->format == MIM_RGB8) to_gray(p);
    if (h->channels == 3 && picture_to_rgb(p, why)) return 1;
    if (h->resize == MIM_RESIZE_PAD)
        return because(why, "would have to be padded for this model, which no colour stands for");
    uint64_t new_width = width, new_height = height;
    if (h->resize == MIM_RESIZE_SHORT_EDGE) {
        /* The edge grows with the input; a picture covers both sides of what it makes. */
        uint64_t base = h->image_height < h->image_width ? h->image_height : h->image_width;
        uint64_t edge_height = (uint64_t)height * h->resize_edge / base, edge_width = (uint64_t)width * h->resize_edge / base;
        if (p->width * edge_height <= p->height * edge_width) {
            new_width = edge_width;
            new_height = edge_width * p->height / p->width;
        } else {
            new_height = edge_height;
            new_width = edge_height * p->width / p->height;
        }
    }
    if (new_width > PICTURE_MAX_SIDE || new_height > PICTURE_MAX_SIDE)
        return because(why, "is too narrow: resized for the model it would have %" PRIu64 "x%" PRIu64 " pixels", new_width, new_height);
    if (picture_resize(p, (uint32_t)new_width, (uint32_t)new_height, h->resize_filter, why)) return 1;
    crop_centre(p, width, height);
    return 0;
}

/* ---- small things ---- */

uint8_t round_byte(double value)
{
    return (uint8_t)(value > 0 ? value < 255 ? value + 0.5 : 255 : 0);
}

int has_extension(const char *path, const char *extension)
{
    size_t length = strlen(path), tail = strlen(extension);
    if (length < tail) return 0;
    for (size_t i = 0; i < tail; i++) {
        char c = path[length - tail + i];
        if (c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
        if (c != extension[i]) return 0;
    }
    return 1;
}

int picture_named(const char *name)
{
    static const char *const known[] = { ".ppm", ".pgm", ".pnm", ".bmp", ".png", ".jpg", ".jpeg" };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (has_extension(name, known[i])) return 1;
    return 0;
}

/* ---- writing ---- */

int ppm_write(out_file *out, const uint8_t *rgb, uint32_t width, uint32_t height)
{
    char header[64];
    int length = snprintf(header, sizeof header, "P6\n%" PRIu32 " %" PRIu32 "\n255\n", width, height);
    return out_write(out, header, (size_t)length) || out_write(out, rgb, (size_t)width * height * 3);
}

enum { CANVAS_GAP = 8 };

int canvas_make(canvas *c, uint32_t panels, uint32_t panel_width, uint32_t panel_height, uint32_t factor)
{
    uint64_t width = (uint64_t)panels * panel_width * factor + (uint64_t)(panels - 1) * CANVAS_GAP;
    uint64_t height = (uint64_t)panel_height * factor;
    memset(c, 0, sizeof *c);
    if (width <= UINT32_MAX / 3 && height <= UINT32_MAX && width * 3 <= SIZE_MAX / height) c->rgb = malloc((size_t)(width * height * 3));
    if (!c->rgb) return fail("not enough memory to draw %" PRIu64 "x%" PRIu64 " pixels", width, height);
    memset(c->rgb, 255, (size_t)(width * height * 3));
    c->panel_width = panel_width;
    c->factor = factor;
    c->width = (uint32_t)width;
    c->height = (uint32_t)height;
    return 0;
}

void canvas_paint(const canvas *c, uint32_t panel, uint32_t x, uint32_t y, const uint8_t rgb[3])
{
    size_t left = (size_t)panel * ((size_t)c->panel_width * c->factor + CANVAS_GAP) + (size_t)x * c->factor;
    for (uint32_t row = 0; row < c->factor; row++) {
        uint8_t *to = c->rgb + (((size_t)y * c->factor + row) * c->width + left) * 3;
        for (uint32_t i = 0; i < c->factor; i++, to += 3) memcpy(to, rgb, 3);
    }
}

int canvas_write(const canvas *c, const char *path, int png)
{
    out_file out;
    if (out_open(&out, path)) return 1;
    if (png ? png_write(&out, c->rgb, c->width, c->height) : ppm_write(&out, c->rgb, c->width, c->height)) {
        out_discard(&out);
        return 1;
    }
    return out_commit(&out);
}

void canvas_free(canvas *c)
{
    free(c->rgb);
    memset(c, 0, sizeof *c);
}
