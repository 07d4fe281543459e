/* families.h - what the published vision transformers are called and what is fixed about them.
 *
 * Two tables of data, and one function that reads them: a naming maps names of tensors to roles; a family says
 * which files are its own and which facts its authors published. A new family is a new row. */
#ifndef FAMILIES_H
#define FAMILIES_H

#include "checkpoint.h"

/* What a tensor is for. Those from NORM1 to SCALE2 exist once per block. */
enum role {
    ROLE_NONE,
    PATCH, CLS, REGISTERS, POSITIONS, NORM, POOL_NORM, HEAD, MASK_TOKEN,
    DECODER_EMBED, DECODER_POSITIONS, DECODER_NORM, DECODER_PREDICT,
    NORM1, QKV, QUERY, KEY, VALUE, PROJ, SCALE1, NORM2, FC1, FC2, SCALE2,
    ROLE_COUNT
};

typedef struct part {
    const tensor *weight, *bias;          /* NULL: absent */
} part;

typedef struct preparation {              /* of a picture: the short edge becomes edge, the middle size x size is kept */
    uint32_t size, edge;                  /* as published; 0: none */
    uint32_t larger;                      /* 1: above `size` the short edge becomes the size; 0: the same proportion */
    uint32_t stored;                      /* positions of this size (pixels) are interpolated to `size` by default */
    uint32_t filter;
} preparation;

typedef struct published_size {
    uint32_t dim, depth, hidden, heads;
} published_size;

typedef struct family {
    const char *name;                     /* --family, and in the blob */
    const char *title;
    const char *method;                   /* how it was pretrained; "": various */
    const char *naming;                   /* of its tensors */
    const char *model_type;               /* in transformers' config.json, or NULL */
    const char *evidence[3];              /* names that must be in the file, "*.name": of any block; "!name": that must not */
    float eps;                            /* 0: differs from file to file */
    uint32_t activation;                  /* MIM_GELU_..., 0: differs */
    uint32_t pool;                        /* MIM_POOL_..., 0: differs */
    uint32_t positions;                   /* MIM_POSITIONS_... */
    float position_offset;
    uint32_t any_grid;                    /* 1: the reference interpolates from non-square grids too */
    const float *mean, *std;              /* of RGB, or NULL */
    preparation picture;
    const published_size *sizes;          /* ends with 0; NULL: none */
    published_size decoder;
} family;

/* A checkpoint, recognised. */
typedef struct vit {
    const family *family;
    const char *naming;
    char evidence[192];                   /* why this family, for people */
    char *prefix;                         /* what precedes the encoder's names: "", "vit." */
    part top[ROLE_COUNT];
    part block[MIM_MAX_DEPTH][ROLE_COUNT];
    part decoder[MIM_MAX_DEPTH][ROLE_COUNT];
    uint32_t depth, decoder_depth;
    const char **ignored;                 /* per tensor of the checkpoint: why it is left out; NULL: used */
} vit;

const family *family_find(const char *name);
const family *family_of_model_type(const char *model_type);
void family_names(char *into, size_t bytes);      /* "mae, timm, ..." */

/* Gives every tensor its role, or its reason to be ignored, or fails naming those that have neither. wanted: the
 * family asked for, or NULL. prefix: that of the encoder asked for, or NULL. 0, or 1 after fail(). vit_free in either case. */
int  vit_recognise(vit *model, const checkpoint *cp, const family *wanted, const char *prefix);
void vit_free(vit *model);

/* What timm's architectures with plain blocks have in common, by name; 0 if it is none of them. */
int timm_architecture(const char *name, uint32_t *heads, float *eps, uint32_t *activation);

/* Marks what belongs to the decoder alone as ignored. */
void vit_drop_decoder(vit *model, const checkpoint *cp, const char *why);

/* The names of the tensors i for which chosen[i] == why, with their numbers as '*', each once and counted:
 * "blocks.*.norm1.weight (12), cls_token". brief: only up to the first number. */
void list_names(char *into, size_t bytes, const checkpoint *cp, const char *const *chosen, const char *why, int brief);

#endif
