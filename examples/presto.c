/* presto.c - months of satellite data of one place become a feature, with Presto.
 *
 *     mim convert presto-default_model.pt -o presto.mim
 *     presto presto.mim X.npy MASK.npy WORLD.npy LATLON.npy MONTH.npy TOKENS.npy FEATURE.npy
 *
 * X (months, 17) are normalised bands; MASK (months, 17) is 1 where one is missing; WORLD (months) are the classes of Dynamic
 * World, 0 to 8, 9 where it is missing; LATLON (2) degrees; MONTH (1), 0 to 11, that of the first row.
 *
 * A worked example of mim_encode_tokens: the tokens are sums of vectors that the blob holds for its caller (mim_table). */
#include "embed.h"

#include <math.h>

enum { BANDS = 17, GROUPS = 9, SRTM = 7, MONTHS_MAX = 24 };

/* Bands of each group, in the order of X: S1, S2 RGB, red edge, NIR of 10 m, NIR of 20 m, SWIR, ERA5, SRTM, NDVI. */
static const uint32_t bands_of[GROUPS] = { 2, 3, 3, 1, 1, 2, 2, 2, 1 };

/* The blob's vectors, in this order: of each group one for each band and one by itself; the classes; three for the place and
 * one by itself; the months of the year; the groups, the classes being the last; the months from the first. */
enum { WORLD = BANDS + GROUPS, PLACE = WORLD + 10, MONTH = PLACE + 4, GROUP = MONTH + 12, STEP = GROUP + GROUPS + 1, VECTORS = STEP + MONTHS_MAX };

typedef struct inputs_of {
    array x, mask, world, latlon, month;
} inputs_of;

static void make_tokens(embedder *e, const inputs_of *in)
{
    const uint32_t months = (uint32_t)in->x.shape[0];
    const double degree = 3.14159265358979323846 / 180, lat = in->latlon.at[0] * degree, lon = in->latlon.at[1] * degree;
    add_vector(e, PLACE, cos(lat) * cos(lon));
    add_vector(e, PLACE + 1, cos(lat) * sin(lon));
    add_vector(e, PLACE + 2, sin(lat));
    add_vector(e, PLACE + 3, 1);
    end_token(e, 1);

    uint32_t band = 0, vector = 0;
    for (uint32_t group = 0; group < GROUPS; band += bands_of[group], vector += bands_of[group] + 1, group++)
        for (uint32_t t = 0; t < (group == SRTM ? 1 : months); t++) {      /* the relief does not change */
            int kept = 1;
            for (uint32_t i = 0; i < bands_of[group]; i++) {
                add_vector(e, vector + i, in->x.at[t * BANDS + band + i]);
                kept &= !(in->mask.at[t * BANDS + band + i] > 0);
            }
            add_vector(e, vector + bands_of[group], 1);
            add_vector(e, GROUP + group, 1);
            if (group != SRTM) {
                add_vector(e, MONTH + ((uint32_t)in->month.at[0] + t) % 12, 1);
                add_vector(e, STEP + t, 1);
            }
            end_token(e, kept);
        }
    for (uint32_t t = 0; t < months; t++) {
        add_vector(e, WORLD + (uint32_t)in->world.at[t], 1);
        add_vector(e, GROUP + GROUPS, 1);
        add_vector(e, MONTH + ((uint32_t)in->month.at[0] + t) % 12, 1);
        add_vector(e, STEP + t, 1);
        end_token(e, in->world.at[t] < 9);
    }
}

static int check(const inputs_of *in, char **names)
{
    const uint64_t months = in->x.shape[0];
    if (in->x.shape[1] != BANDS || months > MONTHS_MAX) return fail("%s: is not (months, 17), of at most 24 months", names[0]);
    if (in->mask.shape[0] != months || in->mask.shape[1] != BANDS) return fail("%s: has not the shape of %s", names[1], names[0]);
    if (in->world.shape[0] != months) return fail("%s: is not one class for each month", names[2]);
    for (uint64_t t = 0; t < months; t++)
        if (!(in->world.at[t] >= 0 && in->world.at[t] <= 9)) return fail("%s: holds %g, which is no class", names[2], in->world.at[t]);
    if (in->latlon.shape[0] != 2) return fail("%s: is not a latitude and a longitude", names[3]);
    if (in->month.shape[0] != 1 || !(in->month.at[0] >= 0 && in->month.at[0] < 12)) return fail("%s: is not a month, 0 to 11", names[4]);
    return 0;
}

int main(int argc, char **argv)
{
    embedder e;
    inputs_of in;
    memset(&e, 0, sizeof e);
    memset(&in, 0, sizeof in);
    if (argc != 9) return fail("usage: presto MODEL.mim X.npy MASK.npy WORLD.npy LATLON.npy MONTH.npy TOKENS.npy FEATURE.npy");
    int failed = array_read(&in.x, argv[2], 2) || array_read(&in.mask, argv[3], 2) || array_read(&in.world, argv[4], 1) ||
                 array_read(&in.latlon, argv[5], 1) || array_read(&in.month, argv[6], 1) || check(&in, argv + 2) ||
                 embedder_open(&e, argv[1], "presto", 1 + (GROUPS + 1) * MONTHS_MAX);
    if (!failed && e.rows != VECTORS) failed = fail("%s: holds %" PRIu32 " vectors, not %d", argv[1], e.rows, VECTORS);
    if (!failed) {
        make_tokens(&e, &in);
        failed = encode_and_write(&e, argv[7], argv[8]);
    }
    embedder_close(&e);
    array_free(&in.x);
    array_free(&in.mask);
    array_free(&in.world);
    array_free(&in.latlon);
    array_free(&in.month);
    return failed;
}
