/* picture.h - pictures from files and to files. */
#ifndef PICTURE_H
#define PICTURE_H

#include "tool.h"

#define PICTURE_MAX_SIDE MIM_MAX_IMAGE          /* pixels */
#define PICTURE_MAX_PIXELS (UINT32_C(1) << 27)  /* 400 MB as RGB */

typedef struct picture {
    uint32_t width, height;
    uint32_t format;                  /* MIM_RGB8 or MIM_GRAY8, one byte a sample, rows end to end */
    uint8_t *pixels;                  /* from malloc */
} picture;

/* Reads PPM (P3, P6) and PGM (P2, P5) of any maxval to 65535, BMP without compression, and, in a build with stb_image.h,
 * PNG and JPEG; which of them it is, the file's first bytes tell. Samples of another range than 0..255 become
 * v * 255 / maxval, rounded, halves up. Transparency is dropped; EXIF orientation is not applied.
 * 0, or 1 with the reason (without the path); the picture is then empty. */
int  picture_read(picture *p, const char *path, reason *why);
int  picture_decode(picture *p, const uint8_t *data, size_t bytes, reason *why);
void picture_free(picture *p);

/* Whether a file of this name is taken for a picture when a folder is read: .ppm .pgm .pnm .bmp .png .jpg .jpeg */
int  picture_named(const char *name);

/* Which formats this build reads. */
const char *picture_formats(void);

/* p in another size, as the model's preprocessing would: filter is MIM_BILINEAR or MIM_BICUBIC. */
int  picture_resize(picture *p, uint32_t width, uint32_t height, uint32_t filter, reason *why);

int  picture_to_rgb(picture *p, reason *why);

/* p as the model's preprocessing makes it an input of this size, in one byte a sample: RGB for three channels, gray for
 * one; other models do not take pictures. */
int  picture_prepare(picture *p, const mim_model *model, uint32_t width, uint32_t height, reason *why);

/* Write RGB pixels (rows end to end) as binary PPM or PNG. 0, or 1 after fail(). */
int  ppm_write(out_file *out, const uint8_t *rgb, uint32_t width, uint32_t height);
int  png_write(out_file *out, const uint8_t *rgb, uint32_t width, uint32_t height);

/* CRC-32 of PNG chunks: start with 0, feed the parts in order. */
uint32_t png_crc(uint32_t crc, const uint8_t *data, size_t bytes);

/* To the nearest of 0..255; what is not a number becomes 0. */
uint8_t round_byte(double value);

/* Whether path ends in this extension (".png"), in any case. */
int  has_extension(const char *path, const char *extension);

/* Panels of one size side by side on white, each pixel drawn as factor x factor. */
typedef struct canvas {
    uint32_t panel_width, factor;
    uint32_t width, height;                            /* of the whole */
    uint8_t *rgb;                                      /* from malloc */
} canvas;

int  canvas_make(canvas *c, uint32_t panels, uint32_t panel_width, uint32_t panel_height, uint32_t factor);  /* likewise */
void canvas_paint(const canvas *c, uint32_t panel, uint32_t x, uint32_t y, const uint8_t rgb[3]);
int  canvas_write(const canvas *c, const char *path, int png);   /* 0, or 1 after fail() */
void canvas_free(canvas *c);

/* reconstruct.c: a masked autoencoder at work, as three panels: the prepared picture, what the encoder saw, and that with
 * the predictions in the hidden patches. */
typedef struct triptych {
    canvas drawn;
    uint32_t kept, patches;
    double loss;                      /* the masked patches' mean squared error, as MAE defines it */
} triptych;

/* Keeps int(patches * (1 - ratio)) patches, drawn from seed. height, width: input size. 0, or 1 after fail() naming path. */
int  triptych_make(triptych *t, const mim_model *model, const char *path, uint32_t height, uint32_t width,
                   double ratio, uint32_t seed);

#endif
