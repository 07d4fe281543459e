/* frame PHOTO.ppm OUT - what a camera that is set to 32 x 32 pixels of RGB565 would make of a photograph: on the PC. */
#define MIM_IMPLEMENTATION
#include "mim.h"

enum { SIDE = 32 };

int main(int argc, char **argv)
{
    unsigned width, height, side, i;
    uint8_t *photo, *scratch, small[SIDE * SIDE * 3];
    FILE *in = argc == 3 ? fopen(argv[1], "rb") : NULL, *out;
    if (!in || fscanf(in, "P6 %u %u 255", &width, &height) != 2 || fgetc(in) == EOF || width < SIDE || height < SIDE || width > 4096 || height > 4096) {
        fprintf(stderr, "frame: needs a PPM of 32x32 to 4096x4096 pixels and a name for the frame\n");
        return 1;
    }
    side = width < height ? width : height;         /* the square in the middle */
    photo = (uint8_t *)malloc((size_t)width * height * 3);
    scratch = (uint8_t *)malloc(mim_resize_bytes(SIDE, SIDE, side, side, 3, MIM_BICUBIC) + 16);
    if (!photo || !scratch || fread(photo, (size_t)width * 3, height, in) != height
        || mim_resize(small, SIDE, SIDE, photo + ((height - side) / 2 * width + (width - side) / 2) * 3, side, side, (size_t)width * 3, 3,
                      MIM_BICUBIC, scratch + (-(uintptr_t)scratch & 15))) {
        fprintf(stderr, "frame: %s is cut short\n", argv[1]);
        return 1;
    }
    out = fopen(argv[2], "wb");
    for (i = 0; out && i < SIDE * SIDE; i++) {
        const unsigned v = (unsigned)(small[3 * i] >> 3 << 11 | small[3 * i + 1] >> 2 << 5 | small[3 * i + 2] >> 3);
        fputc((int)(v & 255), out);
        fputc((int)(v >> 8), out);
    }
    if (!out || fclose(out)) {
        fprintf(stderr, "frame: %s cannot be written\n", argv[2]);
        return 1;
    }
    return 0;
}
