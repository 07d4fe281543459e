/* test_resize.c [GOLDEN] - mim_resize and the preprocessing against Pillow and torchvision, bit by bit: GOLDEN/resize (by default
 * tests/golden) as its README says. */
#include "check.h"
#define MIM_IMPLEMENTATION
#include "../mim.h"

static guard scratch, source, target;
static const char *golden = "tests/golden";

static FILE *golden_file(const char *folder, const char *name)
{
    char path[600];
    snprintf(path, sizeof path, "%.400s/%s%.100s", golden, folder, name);
    return fopen(path, "rb");
}

/* Resizes rows `stride` apart into exactly the memory that is needed; the result lies in target. */
static const uint8_t *resized(const uint8_t *pixels, size_t stride, uint32_t sw, uint32_t sh, uint32_t channels, uint32_t dw, uint32_t dh,
                              uint32_t filter)
{
    const size_t row = (size_t)sw * channels, bytes = mim_resize_bytes(dw, dh, sw, sh, channels, filter), padded = stride ? stride : row;
    uint8_t *src = (uint8_t *)guard_high(&source, padded * (sh - 1) + row, 1), *dst = (uint8_t *)guard_high(&target, (size_t)dw * dh * channels, 1);
    uint32_t y;
    memset(src, 0xff, source.bytes);
    for (y = 0; y < sh; y++)
        memcpy(src + y * padded, pixels + y * row, row);
    memset(dst, 0x77, target.bytes);
    CHECK_THAT(bytes > 0, "mim_resize_bytes is 0");
    memset(guard_high(&scratch, bytes, 16), 0xff, bytes);
    CHECK(mim_resize(dst, dw, dh, src, sw, sh, stride, channels, filter, scratch.piece) == MIM_OK);
    CHECK_THAT(guard_intact(&scratch) && guard_intact(&target), "%ux%u to %ux%u writes beyond its memory", sw, sh, dw, dh);
    return dst;
}

static void test_golden(void)
{
    static uint8_t pixels[512 * 512 * 4], plane[512 * 512], result[512 * 512 * 4];
    FILE *file = golden_file("resize/", "resize.txt");
    char line[200], filter[20];
    uint32_t sw, sh, channels, dw, dh, seed, c, lines = 0;
    unsigned long long expected;
    if (!file) {
        skip("resize as Pillow", "golden/resize/resize.txt is not there");
        return;
    }
    group("resize: the bytes of Pillow");
    while (fgets(line, sizeof line, file)) {
        uint64_t hash = 0xcbf29ce484222325u;
        const size_t stride = lines % 3;
        size_t i, n;
        if (sscanf(line, "%u %u %u %u %u %19s %u %llx", &sw, &sh, &channels, &dw, &dh, filter, &seed, &expected) != 8)
            continue;
        n = (size_t)dw * dh * channels;
        CHECK((size_t)sw * sh * channels <= sizeof pixels && n <= sizeof result);
        for (i = 0; i < (size_t)sw * sh * channels; i++) {
            seed ^= seed << 13, seed ^= seed >> 17, seed ^= seed << 5;
            pixels[i] = (uint8_t)(seed >> 24);
        }
        for (c = 0; c < (channels == 3 ? 1 : channels); c++) {
            const uint32_t kernel = strcmp(filter, "bicubic") ? MIM_BILINEAR : MIM_BICUBIC, together = channels == 3 ? 3 : 1;
            const uint8_t *one;
            for (i = 0; i < (size_t)sw * sh * together; i++)
                plane[i] = together == 3 ? pixels[i] : pixels[i * channels + c];
            one = resized(plane, stride ? (size_t)sw * together + stride : 0, sw, sh, together, dw, dh, kernel);
            for (i = 0; i < (size_t)dw * dh * together; i++)
                result[together == 3 ? i : i * channels + c] = one[i];
        }
        for (i = 0; i < n; i++)
            hash = (hash ^ result[i]) * 0x100000001b3u;
        CHECK_THAT(hash == expected, "%s", line);
        lines++;
    }
    CHECK_THAT(lines > 100, "only %u lines", lines);
    fclose(file);
}

/* One pass over rows of n samples, `step` apart, in the words of Pillow's documentation: windows, weights in double, 22 bits. */
static void pass(uint8_t *to, const uint8_t *from, uint32_t n, uint32_t m, size_t step, uint32_t filter)
{
    const double scale = (double)n / m, stretch = scale > 1 ? scale : 1, support = (filter == MIM_BICUBIC ? 2 : 1) * stretch;
    static double w[70000];
    uint32_t i, j;
    for (i = 0; i < m; i++) {
        const double center = (i + 0.5) * scale;
        const int64_t low = (int64_t)(center - support + 0.5), high = (int64_t)(center + support + 0.5);
        const uint32_t first = low < 0 ? 0 : (uint32_t)low, end = high > n ? n : (uint32_t)high;
        int64_t sum = 1 << 21;
        double all = 0;
        for (j = first; j < end; j++) {
            const double x = fabs((j + 0.5 - center) / stretch);
            w[j - first] = filter == MIM_BILINEAR ? fmax(0, 1 - x)
                : x < 1 ? 1.5 * x * x * x - 2.5 * x * x + 1 : x < 2 ? -0.5 * x * x * x + 2.5 * x * x - 4 * x + 2 : 0;
            all += w[j - first];
        }
        for (j = first; j < end; j++)
            sum += from[j * step] * (int64_t)floor(w[j - first] / all * (1 << 22) + 0.5);
        sum = sum < 0 ? 0 : sum >> 22;
        to[i * step] = (uint8_t)(sum > 255 ? 255 : sum);
    }
}

/* Sizes as of photographs, and extreme ones; a weight may be a last bit apart here, so a byte may be one apart. */
static void test_sizes(void)
{
    static const uint32_t sizes[][4] = {
        { 1000, 700, 224, 224 }, { 3000, 9, 3, 200 }, { 9, 3000, 200, 3 }, { 65535, 1, 5, 1 }, { 1, 65535, 1, 7 }, { 65535, 2, 1, 1 },
        { 2, 3, 65535, 1 }, { 1, 1, 1, 1 }, { 1, 1, 300, 300 }, { 300, 300, 1, 1 }, { 640, 480, 341, 256 }, { 641, 480, 641, 480 },
        { 17, 900, 900, 17 }, { 900, 17, 17, 900 },
    };
    uint32_t i, x, y, filter, channels;
    group("resize: sizes as of photographs, and extreme ones");
    for (i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (filter = MIM_BILINEAR; filter <= MIM_BICUBIC; filter++)
            for (channels = 1; channels <= 3; channels += 2) {
                const uint32_t sw = sizes[i][0], sh = sizes[i][1], dw = sizes[i][2], dh = sizes[i][3];
                const int vertical_first = sh > dh && (int64_t)sh - dh > 2 * ((int64_t)sw - dw);
                const size_t most = (size_t)(sw > dw ? sw : dw) * (sh > dh ? sh : dh) * channels;
                uint8_t *from = (uint8_t *)malloc(most), *middle = (uint8_t *)malloc(most), *to = (uint8_t *)malloc(most);
                const uint32_t middle_width = vertical_first ? sw : dw;
                const uint8_t *result;
                int worst = 0;
                for (x = 0; x < sw * sh * channels; x++)
                    from[x] = (uint8_t)(any32() & 1 ? any32() : any32() & 1 ? 255u : 0u);
                if (!vertical_first)
                    for (y = 0; y < sh * channels; y++)
                        pass(middle + y / channels * dw * channels + y % channels, from + y / channels * sw * channels + y % channels, sw, dw,
                             channels, filter);
                for (x = 0; x < middle_width * channels; x++)
                    pass((vertical_first ? middle : to) + x, (vertical_first ? from : middle) + x, sh, dh, (size_t)middle_width * channels, filter);
                for (y = 0; y < dh * channels && vertical_first; y++)
                    pass(to + y / channels * dw * channels + y % channels, middle + y / channels * sw * channels + y % channels, sw, dw, channels,
                         filter);
                result = resized(from, 0, sw, sh, channels, dw, dh, filter);
                for (x = 0; x < dw * dh * channels; x++)
                    worst = abs(result[x] - to[x]) > worst ? abs(result[x] - to[x]) : worst;
                CHECK_THAT(worst <= 1, "%ux%ux%u to %ux%u, filter %u: %d apart", sw, sh, channels, dw, dh, filter, worst);
                if (sw == dw && sh == dh)
                    CHECK(memcmp(result, from, (size_t)sw * sh * channels) == 0);
                free(from), free(middle), free(to);
            }
}

static void test_statuses(void)
{
    uint8_t pixels[64], *memory = (uint8_t *)guard_high(&scratch, 4096, 16);
    static const uint32_t bad[][6] = {       /* dw dh sw sh channels filter */
        { 0, 4, 4, 4, 1, 1 }, { 4, 0, 4, 4, 1, 1 }, { 4, 4, 0, 4, 1, 1 }, { 4, 4, 4, 0, 1, 1 }, { 4, 4, 4, 4, 0, 1 }, { 4, 4, 4, 4, 2, 1 },
        { 4, 4, 4, 4, 4, 1 }, { 4, 4, 4, 4, 1, 0 }, { 4, 4, 4, 4, 1, 3 }, { 65536, 4, 4, 4, 1, 1 }, { 4, 65536, 4, 4, 1, 1 },
        { 4, 4, 65536, 4, 1, 1 }, { 4, 4, 4, 65536, 1, 1 }, { 0xffffffff, 4, 4, 4, 1, 1 }, { 4, 4, 4, 4, 0xffffffff, 1 },
    };
    size_t i;
    group("resize: every status");
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(mim_resize_bytes(bad[i][0], bad[i][1], bad[i][2], bad[i][3], bad[i][4], bad[i][5]) == 0);
        CHECK(mim_resize(pixels, bad[i][0], bad[i][1], pixels, bad[i][2], bad[i][3], 0, bad[i][4], bad[i][5], memory) == MIM_ERR_ARGUMENT);
    }
    memset(pixels, 9, sizeof pixels);
    CHECK(mim_resize_bytes(2, 2, 4, 4, 1, MIM_BICUBIC) <= 4096);
    CHECK(mim_resize(NULL, 2, 2, pixels, 4, 4, 0, 1, MIM_BICUBIC, memory) == MIM_ERR_ARGUMENT);
    CHECK(mim_resize(pixels, 2, 2, NULL, 4, 4, 0, 1, MIM_BICUBIC, memory) == MIM_ERR_ARGUMENT);
    CHECK(mim_resize(pixels, 2, 2, pixels, 4, 4, 0, 1, MIM_BICUBIC, NULL) == MIM_ERR_ARGUMENT);
    for (i = 1; i < 16; i++)
        CHECK(mim_resize(pixels, 2, 2, pixels, 4, 4, 0, 1, MIM_BICUBIC, memory + i) == MIM_ERR_ALIGNMENT);
    CHECK(mim_resize(pixels + 32, 2, 2, pixels, 4, 4, 0, 1, MIM_BICUBIC, memory) == MIM_OK && pixels[32] == 9 && pixels[35] == 9);
    if (sizeof(size_t) == 4) {              /* more than such a machine can address */
        CHECK(mim_resize_bytes(1, 1, 30000, 65535, 3, MIM_BICUBIC) == 0);
        CHECK(mim_resize(pixels, 1, 1, pixels, 30000, 65535, 0, 3, MIM_BICUBIC, memory) == MIM_ERR_LIMIT);
    } else
        CHECK(mim_resize_bytes(1, 1, 30000, 65535, 3, MIM_BICUBIC) > 0);
}

/* ---- whole preprocessing ---- */

typedef struct picture { uint32_t width, height, channels; uint8_t *pixels; } picture;

static uint32_t little(const uint8_t *p, int n) { return n ? p[0] | little(p + 1, n - 1) << 8 : 0; }

/* PPM, PGM and uncompressed BMP of 24 and 32 bits, as the golden pictures are. */
static int read_picture(picture *p, const char *name)
{
    static uint8_t data[1 << 20];
    FILE *file = golden_file("resize/", name);
    size_t n = file ? fread(data, 1, sizeof data - 1, file) : 0;
    uint32_t y, x, c;
    int begin = 0;
    if (file)
        fclose(file);
    data[n] = 0;
    if (n > 54 && data[0] == 'B') {
        const uint32_t bytes = little(data + 28, 2) / 8, rows = little(data + 10, 4);
        p->width = little(data + 18, 4), p->height = little(data + 22, 4), p->channels = 3;
        p->pixels = (uint8_t *)malloc((size_t)p->width * p->height * 3);
        for (y = 0; y < p->height; y++)
            for (x = 0; x < p->width; x++)
                for (c = 0; c < 3; c++)
                    p->pixels[(y * p->width + x) * 3 + c] = data[rows + (p->height - 1 - y) * ((p->width * bytes + 3) / 4 * 4) + x * bytes + 2 - c];
        return 1;
    }
    if (n < 2 || sscanf((const char *)data + 2, "%u %u 255%n", &p->width, &p->height, &begin) != 2 || !begin)
        return 0;
    p->channels = data[1] == '6' ? 3 : 1;
    p->pixels = (uint8_t *)malloc((size_t)p->width * p->height * p->channels);
    memcpy(p->pixels, data + 2 + begin + 1, (size_t)p->width * p->height * p->channels);
    return 1;
}

/* The float32 of an .npy file of n numbers. */
static int read_npy(float *to, size_t n, const char *name)
{
    uint8_t head[10];
    FILE *file = golden_file("resize/", name);
    int whole = file && fread(head, 1, 10, file) == 10 && fseek(file, (long)(10 + little(head + 8, 2)), SEEK_SET) == 0
        && fread(to, 4, n, file) == n && fgetc(file) == EOF;
    if (file)
        fclose(file);
    return whole;
}

static void test_preprocessing(void)
{
    static float expected[3 * 64 * 64];
    FILE *file = golden_file("resize/", "preprocess.txt");
    char line[400], input[100], expect[100], rule[20], filter[20], mean[60], deviation[60];
    uint32_t h, w, channels, edge, cases = 0;
    if (!file) {
        skip("preprocessing as torchvision", "golden/resize/preprocess.txt is not there");
        return;
    }
    group("preprocessing: the floats of torchvision on Pillow");
    while (fgets(line, sizeof line, file)) {
        mim_blob_header header;
        mim_session_desc desc;
        mimp_arena arena;
        mimp_input in;
        mim_image image;
        picture p;
        uint32_t c, x, y;
        if (sscanf(line, "case input=%99s channels=%u size=%ux%u resize=%19s edge=%u filter=%19s mean=%59s std=%59s expect=%99s", input, &channels,
                   &h, &w, rule, &edge, filter, mean, deviation, expect) != 10)
            continue;
        if (!CHECK_THAT(read_picture(&p, input) && h <= 64 && w <= 64 && read_npy(expected, (size_t)channels * h * w, expect),
                        "cannot read %s or %s", input, expect))
            break;
        memset(&header, 0, sizeof header);
        header.channels = channels;
        header.image_height = header.patch_height = h;      /* one strip is the whole picture */
        header.image_width = header.patch_width = w;
        header.resize = !strcmp(rule, "pad") ? MIM_RESIZE_PAD : strcmp(rule, "squash") ? MIM_RESIZE_SHORT_EDGE : MIM_RESIZE_SQUASH;
        header.resize_edge = edge;
        header.resize_filter = strcmp(filter, "bicubic") ? MIM_BILINEAR : MIM_BICUBIC;
        for (c = 0; c < channels; c++) {
            const char *m = mean, *d = deviation;
            for (x = 0; x < c; x++)
                m = strchr(m, ',') + 1, d = strchr(d, ',') + 1;
            header.mean[c] = strtof(m, NULL);
            header.std[c] = strtof(d, NULL);
        }
        memset(&desc, 0, sizeof desc);
        desc.source_width = p.width, desc.source_height = p.height;
        memset(&image, 0, sizeof image);
        image.format = p.channels == 3 ? MIM_RGB8 : MIM_GRAY8;
        image.width = p.width, image.height = p.height;
        image.pixels = p.pixels;
        memset(&in, 0, sizeof in);
        in.header = &header;
        in.image = &image;
        in.height = in.rows = h, in.width = w, in.channels = channels;
        memset(&arena, 0, sizeof arena);
        mimp_input_memory(&in, &arena, &desc);
        arena.base = (uint8_t *)memset(guard_high(&scratch, (size_t)arena.high, 16), 0xff, (size_t)arena.high);
        arena.used = arena.high = 0;
        mimp_input_memory(&in, &arena, &desc);
        CHECK(mimp_input_start(&in, &desc) == MIM_OK && mimp_input_strip(&in, 0) == 0 && guard_intact(&scratch));
        for (c = 0; c < channels; c++)
            for (y = 0; y < h; y++)
                for (x = 0; x < w; x++) {
                    const float *a = (const float *)(const void *)in.strip + ((size_t)y * channels + c) * w + x, *b = expected + ((size_t)c * h + y) * w + x;
                    CHECK_THAT(memcmp(a, b, 4) == 0, "%s to %s: channel %u, row %u, column %u is %.9g, not %.9g", input, expect, c, y, x,
                               (double)*a, (double)*b);
                }
        free(p.pixels);
        cases++;
    }
    CHECK_THAT(cases > 10, "only %u cases", cases);
    fclose(file);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        golden = argv[1];
    test_statuses();
    test_golden();
    test_sizes();
    test_preprocessing();
    return finish();
}
