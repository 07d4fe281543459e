/* settings.h - what tensors do not tell: from configurations, from the family, from options; or asked for.
 *
 * Precedence, lowest first: the family's published facts, the file's own __metadata__, config.json,
 * preprocessor_config.json, options. Every fact remembers where it came from. */
#ifndef SETTINGS_H
#define SETTINGS_H

#include "build.h"

/* The command line; NULL: not given. */
typedef struct wishes {
    const char *output, *config, *type, *group, *numerics, *calib, *layout;
    const char *family, *prefix, *wrapper, *heads, *decoder_heads, *image_size, *eps, *act, *pool, *mean, *std;
    const char *positions, *resize, *filter, *norm_pix, *licence;
    const char *frames, *groups;
    const char *window;
    int keep_decoder;
} wishes;

/* The configurations found; a document without nodes was not found. */
typedef struct configs {
    json model, picture;                  /* config.json, preprocessor_config.json */
    char *model_path, *picture_path;
} configs;

/* Reads --config, or config.json beside the checkpoint, and preprocessor_config.json beside that. 0, or 1 after fail().
 * configs_close in either case. */
int  configs_open(configs *c, const char *checkpoint_path, const char *config);
void configs_close(configs *c);

/* The family that an option or a configuration names; NULL: none does. 0, or 1 after fail(). */
int  configs_family(const configs *c, const wishes *w, const family **wanted, const char **from);

/* Settles everything that `build` needs, or asks for what is missing by name. 0, or 1 after fail(). */
int  settle(settings *s, const configs *c, const wishes *w, const vit *model, const checkpoint *cp, const measures *m);

/* Names of values, as options spell them. */
const char *activation_name(uint32_t activation);
const char *pool_name(uint32_t pool);
const char *positions_name(uint32_t positions);
const char *bias_name(uint32_t bias);

#endif
