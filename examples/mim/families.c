/* families.c - see families.h. */
#include "families.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- names of tensors ----
 * In a pattern '%' is the number of the block and '#' any number; a final '*' is "weight" or "bias". */

typedef struct name_row {
    const char *pattern;
    uint8_t role;
    uint8_t bias;                 /* 1: this is the role's bias */
    const char *ignored;          /* ROLE_NONE: why it is left out */
} name_row;

typedef struct naming {
    const char *name, *title;
    const char *blocks[3], *decoder_blocks[3];
    const name_row *top, *in_block;
} naming;

static const char mask_reason[] = "mask token, used only in pretraining";
static const char pixel_head_reason[] = "pixel head, used only in pretraining";

/* timm, and before it DINO; the MAE authors, DINOv2, I-JEPA, iBOT and MSN follow it. */
static const name_row timm_top[] = {
    { "patch_embed.proj.*", PATCH, 0, NULL },
    { "cls_token", CLS, 0, NULL },
    { "reg_token", REGISTERS, 0, NULL },
    { "register_tokens", REGISTERS, 0, NULL },
    { "pos_embed", POSITIONS, 0, NULL },
    { "norm.*", NORM, 0, NULL },
    { "fc_norm.*", POOL_NORM, 0, NULL },
    { "head.*", HEAD, 0, NULL },
    { "mask_token", MASK_TOKEN, 0, NULL },
    { "decoder_embed.*", DECODER_EMBED, 0, NULL },
    { "decoder_pos_embed", DECODER_POSITIONS, 0, NULL },
    { "decoder_norm.*", DECODER_NORM, 0, NULL },
    { "decoder_pred.*", DECODER_PREDICT, 0, NULL },
    { "decoder.0.*", ROLE_NONE, 0, pixel_head_reason },
    { NULL, 0, 0, NULL }
};
static const name_row timm_block[] = {
    { "norm1.*", NORM1, 0, NULL },
    { "attn.qkv.*", QKV, 0, NULL },
    { "attn.q_bias", QUERY, 1, NULL },
    { "attn.k_bias", KEY, 1, NULL },
    { "attn.v_bias", VALUE, 1, NULL },
    { "attn.q_proj.*", QUERY, 0, NULL },
    { "attn.k_proj.*", KEY, 0, NULL },
    { "attn.v_proj.*", VALUE, 0, NULL },
    { "attn.proj.*", PROJ, 0, NULL },
    { "ls1.gamma", SCALE1, 0, NULL },
    { "gamma_1", SCALE1, 0, NULL },
    { "norm2.*", NORM2, 0, NULL },
    { "mlp.fc1.*", FC1, 0, NULL },
    { "mlp.fc2.*", FC2, 0, NULL },
    { "ls2.gamma", SCALE2, 0, NULL },
    { "gamma_2", SCALE2, 0, NULL },
    { NULL, 0, 0, NULL }
};

/* transformers: the names in published files, and those of its modules since version 5. */
static const name_row hf_top[] = {
    { "embeddings.patch_embeddings.projection.*", PATCH, 0, NULL },
    { "embeddings.cls_token", CLS, 0, NULL },
    { "embeddings.register_tokens", REGISTERS, 0, NULL },
    { "embeddings.position_embeddings", POSITIONS, 0, NULL },
    { "embeddings.mask_token", ROLE_NONE, 0, mask_reason },
    { "layernorm.*", NORM, 0, NULL },
    { "classifier.*", HEAD, 0, NULL },
    { "pooler.dense.*", ROLE_NONE, 0, "pooler (dense and tanh), not one of mim's features" },
    { "decoder.decoder_embed.*", DECODER_EMBED, 0, NULL },
    { "decoder.mask_token", MASK_TOKEN, 0, NULL },
    { "decoder.decoder_pos_embed", DECODER_POSITIONS, 0, NULL },
    { "decoder.decoder_norm.*", DECODER_NORM, 0, NULL },
    { "decoder.decoder_pred.*", DECODER_PREDICT, 0, NULL },
    { "decoder.0.*", ROLE_NONE, 0, pixel_head_reason },
    { NULL, 0, 0, NULL }
};
static const name_row hf_block[] = {
    { "layernorm_before.*", NORM1, 0, NULL },
    { "norm1.*", NORM1, 0, NULL },
    { "attention.attention.query.*", QUERY, 0, NULL },
    { "attention.attention.key.*", KEY, 0, NULL },
    { "attention.attention.value.*", VALUE, 0, NULL },
    { "attention.q_proj.*", QUERY, 0, NULL },
    { "attention.k_proj.*", KEY, 0, NULL },
    { "attention.v_proj.*", VALUE, 0, NULL },
    { "attention.output.dense.*", PROJ, 0, NULL },
    { "attention.o_proj.*", PROJ, 0, NULL },
    { "layer_scale1.lambda1", SCALE1, 0, NULL },
    { "layernorm_after.*", NORM2, 0, NULL },
    { "norm2.*", NORM2, 0, NULL },
    { "intermediate.dense.*", FC1, 0, NULL },
    { "output.dense.*", FC2, 0, NULL },
    { "mlp.fc1.*", FC1, 0, NULL },
    { "mlp.fc2.*", FC2, 0, NULL },
    { "layer_scale2.lambda1", SCALE2, 0, NULL },
    { NULL, 0, 0, NULL }
};

static const naming namings[] = {
    { "timm", "timm's names", { "blocks.%.", "blocks.#.%.", NULL }, { "decoder_blocks.%.", NULL, NULL },
      timm_top, timm_block },
    { "transformers", "transformers' names", { "encoder.layer.%.", "layers.%.", NULL },
      { "decoder.decoder_layers.%.", "decoder.decoder_encoder.layer.%.", NULL }, hf_top, hf_block },
};
#define NAMING_COUNT (sizeof namings / sizeof *namings)

/* What some names mean, for the message that they cannot be used. */
static const struct { const char *part, *what; } beyond[] = {
    { "relative_position_bias", "relative position bias" }, { "rel_pos", "relative positions" },
    { "rope", "rotary positions" }, { "q_norm", "norm of queries and keys" }, { "k_norm", "norm of queries and keys" },
    { "w12", "gated MLP" }, { "weights_in", "gated MLP" }, { "gate_proj", "gated MLP" }, { "fc1_g", "gated MLP" },
    { "mlp.w1", "gated MLP" }, { "norm_pre", "norm before the blocks" }, { "attn_pool", "attention pooling" },
    { "dist_token", "distillation token" }, { "head_dist", "distillation token" }, { "attn.norm.", "norm inside attention" },
    { "attn.gate", "gated attention" }, { "mlp.norm", "norm inside the MLP" }, { "neck.", "convolutional neck" },
    { "downsample", "merging of patches" }, { "running_mean", "batch norm" }, { "cls_pt_layers", "BEiT v2's extra layers" },
};

/* ---- families ----
 * Only what the authors fixed for all their files; the rest comes from configurations and options. Positions: read in
 * transformers 5.23 (interpolate_pos_encoding of each model), timm 1.0.31 (resample_abs_pos_embed) and the authors' own
 * repositories. */

static const float imagenet_mean[3] = { 0.485f, 0.456f, 0.406f };
static const float imagenet_std[3] = { 0.229f, 0.224f, 0.225f };

static const published_size mae_sizes[] = {
    { 768, 12, 3072, 12 }, { 1024, 24, 4096, 16 }, { 1280, 32, 5120, 16 }, { 0, 0, 0, 0 }
};
static const published_size dinov2_sizes[] = {
    { 384, 12, 1536, 6 }, { 768, 12, 3072, 12 }, { 1024, 24, 4096, 16 }, { 0, 0, 0, 0 }
};

#define NO_PICTURE { 0, 0, 0, 0, 0 }
#define NO_DECODER { 0, 0, 0, 0 }

static const family families[] = {
    { "mae", "the MAE authors' release", "MAE", "timm", NULL, { "decoder_embed.weight", "decoder_pred.weight", NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_CLS, MIM_POSITIONS_CUBIC, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 1, 0, MIM_BICUBIC }, mae_sizes, { 512, 8, 2048, 16 } },
    /* with registers the authors interpolate antialiased to the exact size; without, plainly and by a factor with 0.1 in it */
    { "dinov2-reg", "DINOv2 with registers, the authors' release", "DINOv2", "timm", NULL, { "register_tokens", NULL, NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_CLS, MIM_POSITIONS_CUBIC_ANTIALIAS, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 0, 518, MIM_BICUBIC }, dinov2_sizes, NO_DECODER },
    { "dinov2", "DINOv2, the authors' release", "DINOv2", "timm", NULL, { "mask_token", "*.ls1.gamma", "!decoder_embed.weight" },
      1e-6f, MIM_GELU_ERF, MIM_POOL_CLS, MIM_POSITIONS_CUBIC, 0.1f, 0,
      imagenet_mean, imagenet_std, { 224, 256, 0, 518, MIM_BICUBIC }, dinov2_sizes, NO_DECODER },
    { "timm", "timm", "", "timm", NULL, { "reg_token", NULL, NULL },
      1e-6f, MIM_GELU_ERF, 0, MIM_POSITIONS_CUBIC_ANTIALIAS, 0, 1, NULL, NULL, NO_PICTURE, NULL, NO_DECODER },
    /* the names alone do not tell timm's files from the MAE authors': only what both share */
    { "vit", "names that timm and the MAE authors share", "", "timm", NULL, { NULL, NULL, NULL },
      1e-6f, MIM_GELU_ERF, 0, MIM_POSITIONS_FIXED, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER },

    { "hf-vit_mae", "transformers' ViTMAE", "MAE", "transformers", "vit_mae", { "decoder.decoder_embed.weight", NULL, NULL },
      0, 0, MIM_POOL_CLS, MIM_POSITIONS_CUBIC, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER },
    { "hf-dinov2-reg", "transformers' Dinov2WithRegisters", "DINOv2", "transformers", "dinov2_with_registers",
      { "embeddings.register_tokens", NULL, NULL },
      0, 0, MIM_POOL_CLS, MIM_POSITIONS_CUBIC_ANTIALIAS, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER },
    { "hf-dinov2", "transformers' Dinov2", "DINOv2", "transformers", "dinov2", { "*.layer_scale1.lambda1", NULL, NULL },
      0, 0, MIM_POOL_CLS, MIM_POSITIONS_CUBIC, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER },
    { "hf-ijepa", "transformers' IJepa", "I-JEPA", "transformers", "ijepa", { "!embeddings.cls_token", NULL, NULL },
      0, 0, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_CUBIC, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER },
    /* without a config.json also ViTMSN and ViTMAE without its decoder: same names, same rules */
    { "hf-vit", "transformers' ViT", "", "transformers", "vit", { NULL, NULL, NULL },
      0, 0, MIM_POOL_CLS, MIM_POSITIONS_CUBIC, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER },
    { "hf-vit_msn", "transformers' ViTMSN", "MSN", "transformers", "vit_msn", { NULL, NULL, NULL },
      0, 0, MIM_POOL_CLS, MIM_POSITIONS_CUBIC, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER },
};
#define FAMILY_COUNT (sizeof families / sizeof *families)

/* timm's architectures with plain pre-norm blocks, by number of heads and activation (timm 1.0.31); all have eps 1e-6. */
static const struct { uint32_t heads, activation; const char *names; } timm_heads[] = {
    { 3, MIM_GELU_ERF, " vit_tiny_patch16_224 vit_tiny_patch16_384 deit_tiny_patch16_224 " },
    { 4, MIM_GELU_ERF, " vit_wee_patch16_reg1_gap_256 vit_dwee_patch16_reg1_gap_256 " },
    { 5, MIM_GELU_ERF, " vit_little_patch16_reg1_gap_256 vit_little_patch16_reg4_gap_256 vit_dlittle_patch16_reg1_gap_256 " },
    { 6, MIM_GELU_ERF, " vit_small_patch8_224 vit_small_patch16_224 vit_small_patch16_384 vit_small_patch32_224"
                       " vit_small_patch32_384 vit_small_patch16_36x1_224 vit_small_patch14_dinov2"
                       " vit_small_patch14_reg4_dinov2 flexivit_small deit_small_patch16_224 deit3_small_patch16_224"
                       " deit3_small_patch16_384 " },
    { 8, MIM_GELU_ERF, " vit_medium_patch16_gap_240 vit_medium_patch16_gap_256 vit_medium_patch16_gap_384"
                       " vit_medium_patch16_reg1_gap_256 vit_medium_patch16_reg4_gap_256 vit_mediumd_patch16_reg4_gap_256"
                       " vit_mediumd_patch16_reg4_gap_384 deit3_medium_patch16_224 " },
    { 10, MIM_GELU_ERF, " vit_betwixt_patch16_gap_256 vit_betwixt_patch16_reg1_gap_256 vit_betwixt_patch16_reg4_gap_256"
                        " vit_betwixt_patch16_reg4_gap_384 " },
    { 12, MIM_GELU_ERF, " vit_base_patch8_224 vit_base_patch16_224 vit_base_patch16_384 vit_base_patch32_224"
                        " vit_base_patch32_384 vit_base_patch16_224_miil vit_base_patch14_dinov2"
                        " vit_base_patch14_reg4_dinov2 vit_base_patch16_reg4_gap_256 vit_base_patch16_siglip_gap_224"
                        " vit_base_patch16_siglip_gap_256 vit_base_patch16_siglip_gap_384"
                        " vit_base_patch16_siglip_gap_512 flexivit_base deit_base_patch16_224 deit_base_patch16_384"
                        " deit3_base_patch16_224 deit3_base_patch16_384 " },
    { 12, MIM_GELU_TANH, " vit_base_patch32_siglip_gap_256 " },
    { 13, MIM_GELU_ERF, " vit_so150m2_patch16_reg1_gap_256 vit_so150m2_patch16_reg1_gap_384 vit_so150m2_patch16_reg1_gap_448 " },
    { 14, MIM_GELU_ERF, " vit_base_patch16_plus_240 vit_base_patch32_plus_256 vit_so150m_patch16_reg4_gap_256"
                        " vit_so150m_patch16_reg4_gap_384 " },
    { 16, MIM_GELU_ERF, " vit_large_patch14_224 vit_large_patch16_224 vit_large_patch16_384 vit_large_patch32_224"
                        " vit_large_patch32_384 vit_large_patch14_dinov2 vit_large_patch14_reg4_dinov2"
                        " vit_huge_patch14_224 vit_giant_patch14_224 vit_gigantic_patch14_224 vit_base_patch16_gap_224"
                        " vit_huge_patch14_gap_224 vit_huge_patch16_gap_448 vit_giant_patch16_gap_224"
                        " vit_large_patch16_siglip_gap_256 vit_large_patch16_siglip_gap_384"
                        " vit_so400m_patch14_siglip_gap_224 vit_so400m_patch14_siglip_gap_378"
                        " vit_so400m_patch14_siglip_gap_384 vit_so400m_patch14_siglip_gap_448"
                        " vit_so400m_patch14_siglip_gap_896 vit_intern300m_patch14_448 eva_large_patch14_196"
                        " eva_large_patch14_336 flexivit_large deit3_large_patch16_224 deit3_large_patch16_384"
                        " deit3_huge_patch14_224 " },
    { 16, MIM_GELU_TANH, " vit_large_patch16_siglip_gap_512 vit_so400m_patch16_siglip_gap_256"
                         " vit_so400m_patch16_siglip_gap_384 vit_so400m_patch16_siglip_gap_512"
                         " vit_giantopt_patch16_siglip_gap_256 vit_giantopt_patch16_siglip_gap_384 " },
};

int timm_architecture(const char *name, uint32_t *heads, float *eps, uint32_t *activation)
{
    char word[80];
    if (strchr(name, ' ') || (size_t)snprintf(word, sizeof word, " %s ", name) >= sizeof word)
        return 0;
    for (size_t i = 0; i < sizeof timm_heads / sizeof *timm_heads; i++)
        if (strstr(timm_heads[i].names, word)) {
            *heads = timm_heads[i].heads;
            *activation = timm_heads[i].activation;
            *eps = 1e-6f;
            return 1;
        }
    return 0;
}

const family *family_find(const char *name)
{
    for (size_t i = 0; i < FAMILY_COUNT; i++)
        if (strcmp(families[i].name, name) == 0)
            return &families[i];
    return NULL;
}

const family *family_of_model_type(const char *model_type)
{
    for (size_t i = 0; i < FAMILY_COUNT; i++)
        if (families[i].model_type && strcmp(families[i].model_type, model_type) == 0)
            return &families[i];
    return NULL;
}

/* Appends to a bounded string; what does not fit is cut. */
static void append(char *into, size_t bytes, const char *text)
{
    size_t used = strlen(into);
    snprintf(into + used, bytes - used, "%s", text);
}

void family_names(char *into, size_t bytes)
{
    into[0] = 0;
    for (size_t i = 0; i < FAMILY_COUNT; i++) {
        append(into, bytes, i ? ", " : "");
        append(into, bytes, families[i].name);
    }
}

/* ---- matching ---- */

static const char *skip_digits(const char *text)
{
    while (*text >= '0' && *text <= '9')
        text++;
    return text;
}

/* The rest of name after pattern ("blocks.%."), or NULL; the number at '%' (capped, its caller refuses large ones). */
static const char *match_block(const char *pattern, const char *name, uint32_t *index)
{
    for (; *pattern; pattern++) {
        if (*pattern != '%' && *pattern != '#') {
            if (*name++ != *pattern)
                return NULL;
            continue;
        }
        const char *end = skip_digits(name);
        if (end == name || (*name == '0' && end > name + 1))
            return NULL;
        if (*pattern == '%')
            *index = end - name > 6 ? 999999 : (uint32_t)strtoul(name, NULL, 10);
        name = end;
    }
    return name;
}

/* Whether name is the row's; *bias says which of the pair it is. */
static int match_row(const name_row *row, const char *name, int *bias)
{
    size_t n = strlen(row->pattern);
    *bias = row->bias;
    if (row->pattern[n - 1] != '*')
        return strcmp(row->pattern, name) == 0;
    if (strncmp(row->pattern, name, n - 1) != 0)
        return 0;
    *bias = strcmp(name + n - 1, "bias") == 0;
    return *bias || strcmp(name + n - 1, "weight") == 0;
}

static const name_row *find_row(const name_row *rows, const char *name, int *bias)
{
    for (; rows->pattern; rows++)
        if (match_row(rows, name, bias))
            return rows;
    return NULL;
}

/* Names are looked for under the encoder's prefix and under what precedes it: "a.b.", "a.", "". */
static int shorten_prefix(const char *prefix, size_t *length)
{
    if (*length == 0)
        return 0;
    for (--*length; *length && prefix[*length - 1] != '.';)
        --*length;
    return 1;
}

static const tensor *find_relative(const checkpoint *cp, const char *prefix, const char *name)
{
    char full[1024];
    size_t length = strlen(prefix);
    const tensor *found = NULL;
    do {
        int fits = snprintf(full, sizeof full, "%.*s%s", (int)length, prefix, name);
        if (fits > 0 && (size_t)fits < sizeof full)
            found = checkpoint_find(cp, full);
    } while (!found && shorten_prefix(prefix, &length));
    return found;
}

static int place(part *p, const tensor *t, int bias)
{
    const tensor **slot = bias ? &p->bias : &p->weight;
    if (*slot)
        return fail("%s: '%s' and '%s' have the same role; the file holds more than one model", t->file, (*slot)->name, t->name);
    *slot = t;
    return 0;
}

static const char unknown[] = "unknown";

/* Gives one tensor its role. *why: unknown, a reason, or NULL where it is used. alone: the file holds one encoder, so that
 * what lies beside it (a head, a decoder) is its own. */
static int assign(vit *model, const naming *names, const tensor *t, int alone, const char **why)
{
    size_t length = strlen(model->prefix);
    *why = unknown;
    do {
        if (strncmp(t->name, model->prefix, length) != 0)
            continue;
        const char *name = t->name + length, *rest;
        uint32_t index = 0;
        int bias, decoder;
        const name_row *row = find_row(names->top, name, &bias);
        if (row) {
            *why = row->ignored;
            return row->ignored ? 0 : place(&model->top[row->role], t, bias);
        }
        for (size_t i = 0; i < 6; i++) {
            decoder = i >= 3;
            const char *pattern = decoder ? names->decoder_blocks[i - 3] : names->blocks[i];
            if (!pattern || !(rest = match_block(pattern, name, &index)) || !(row = find_row(names->in_block, rest, &bias)))
                continue;
            if (index >= MIM_MAX_DEPTH)
                return fail("%s: tensor '%s' is of block %" PRIu32 "; mim's limit is %u blocks", t->file, t->name, index,
                            MIM_MAX_DEPTH);
            uint32_t *depth = decoder ? &model->decoder_depth : &model->depth;
            if (*depth <= index)
                *depth = index + 1;
            *why = NULL;
            return place(decoder ? &model->decoder[index][row->role] : &model->block[index][row->role], t, bias);
        }
    } while (alone && shorten_prefix(model->prefix, &length));
    return 0;
}

/* ---- lists of names ---- */

static void to_pattern(const char *name, char *into, size_t bytes, int brief)
{
    size_t used = 0;
    for (const char *at = name; *at && used + 8 < bytes;) {
        const char *end = skip_digits(at);
        int whole = end > at && (at == name || at[-1] == '.') && (*end == '.' || *end == 0);
        if (!whole) {
            into[used++] = *at++;
            continue;
        }
        into[used++] = '*';
        at = end;
        if (brief && *at) {
            memcpy(into + used, ".\xE2\x80\xA6", 4);     /* an ellipsis */
            used += 4;
            break;
        }
    }
    into[used] = 0;
}

enum { LISTED_MAX = 24 };

void list_names(char *into, size_t bytes, const checkpoint *cp, const char *const *chosen, const char *why, int brief)
{
    char (*patterns)[128] = calloc(LISTED_MAX, sizeof *patterns);
    size_t counts[LISTED_MAX] = {0}, n = 0, more = 0;
    into[0] = 0;
    for (size_t i = 0; patterns && i < cp->count; i++) {
        char pattern[128];
        size_t k = 0;
        if (chosen[i] != why)
            continue;
        to_pattern(cp->tensors[i].name, pattern, sizeof pattern, brief);
        while (k < n && strcmp(patterns[k], pattern) != 0)
            k++;
        if (k == LISTED_MAX) {
            more++;
            continue;
        }
        if (k == n)
            memcpy(patterns[n++], pattern, sizeof pattern);
        counts[k]++;
    }
    for (size_t k = 0; k < n; k++) {
        char text[192];
        if (counts[k] > 1)
            snprintf(text, sizeof text, "%s%s (%zu)", k ? ", " : "", patterns[k], counts[k]);
        else
            snprintf(text, sizeof text, "%s%s", k ? ", " : "", patterns[k]);
        if (strlen(into) + strlen(text) + 32 > bytes)
            more += counts[k];
        else
            append(into, bytes, text);
    }
    if (more) {
        char text[32];
        snprintf(text, sizeof text, " and %zu more", more);
        append(into, bytes, text);
    }
    free(patterns);
}

/* ---- recognition ---- */

static int refuse_unknown(const vit *model, const checkpoint *cp)
{
    char names[600], what[160] = "";
    int inside = 0;
    list_names(names, sizeof names, cp, model->ignored, unknown, 0);
    for (size_t i = 0; i < cp->count; i++) {
        if (model->ignored[i] != unknown)
            continue;
        inside |= strncmp(cp->tensors[i].name, model->prefix, strlen(model->prefix)) == 0;
        for (size_t k = 0; k < sizeof beyond / sizeof *beyond; k++)
            if (strstr(cp->tensors[i].name, beyond[k].part) && !strstr(what, beyond[k].what)) {
                append(what, sizeof what, what[0] ? ", " : " (");
                append(what, sizeof what, beyond[k].what);
            }
    }
    if (what[0])
        append(what, sizeof what, ")");
    if (!inside)
        return fail("%s: holds tensors that this version does not know: %s%s; to take only the encoder, give --prefix %s",
                    cp->path, names, what, model->prefix);
    return fail("%s: holds tensors that this version cannot use: %s%s", cp->path, names, what);
}

/* The naming of an encoder whose patch projection this is, and the length of what precedes its names; else NULL. */
static const naming *encoder_at(const tensor *t, size_t *length)
{
    for (size_t k = 0; k < NAMING_COUNT; k++) {
        char stem[80];
        snprintf(stem, sizeof stem, "%.*sweight", (int)strlen(namings[k].top[0].pattern) - 1, namings[k].top[0].pattern);
        size_t n = strlen(t->name), m = strlen(stem);
        if (n < m || strcmp(t->name + n - m, stem) != 0 || (n > m && t->name[n - m - 1] != '.'))
            continue;
        *length = n - m;
        return &namings[k];
    }
    return NULL;
}

/* The encoders of a file, by their patch projections. */
enum { ENCODERS_MAX = 16 };

typedef struct encoders {
    const naming *naming[ENCODERS_MAX];
    const char *name[ENCODERS_MAX];       /* begins with the prefix, */
    size_t length[ENCODERS_MAX];          /*   which is so long */
    size_t count, chosen;
} encoders;

static int find_encoder(encoders *e, const checkpoint *cp, const char *prefix)
{
    char found[400] = "";
    size_t count = 0, wanted = prefix ? strlen(prefix) : 0;
    wanted += wanted && prefix[wanted - 1] != '.';            /* "vit" is "vit." */
    e->count = 0;
    for (size_t i = 0; i < cp->count; i++) {
        size_t length;
        const char *name = cp->tensors[i].name;
        const naming *names = encoder_at(&cp->tensors[i], &length);
        if (!names)
            continue;
        if (e->count == ENCODERS_MAX)
            return fail("%s: holds more than %d encoders", cp->path, ENCODERS_MAX);
        e->naming[e->count] = names;
        e->name[e->count] = name;
        e->length[e->count++] = length;
        if (prefix && !(length == wanted && strncmp(name, prefix, strlen(prefix)) == 0))
            continue;
        e->chosen = e->count - 1;
        char text[160];
        snprintf(text, sizeof text, "%s'%.*s'", count++ ? ", " : "", (int)(length > 140 ? 140 : length), name);
        append(found, sizeof found, text);
    }
    if (count == 1)
        return 0;
    if (count)
        return fail("%s: holds %zu encoders, under %s; choose one with --prefix", cp->path, count, found);
    if (prefix)
        return fail("%s: has no patch projection under '%s' (--prefix)", cp->path, prefix);
    const char **all = calloc(cp->count, sizeof *all);
    if (all)
        list_names(found, sizeof found, cp, all, NULL, 1);
    free(all);
    return fail("%s: no vision transformer that this version knows: it has neither patch_embed.proj.weight nor "
                "embeddings.patch_embeddings.projection.weight, but %s", cp->path, found);
}

/* Whether a tensor is not of the encoder that was chosen: not under its prefix, or under a longer one of another. */
static int is_outside(const encoders *e, const char *name)
{
    if (strncmp(name, e->name[e->chosen], e->length[e->chosen]) != 0)
        return 1;
    for (size_t i = 0; i < e->count; i++)
        if (e->length[i] > e->length[e->chosen] && strncmp(name, e->name[i], e->length[i]) == 0)
            return 1;
    return 0;
}

static int has_evidence(const family *f, const checkpoint *cp, const char *prefix)
{
    for (size_t i = 0; i < 3 && f->evidence[i]; i++) {
        const char *name = f->evidence[i];
        int absent = name[0] == '!', present = 0;
        if (name[0] != '*')
            present = find_relative(cp, prefix, name + absent) != NULL;
        for (size_t k = 0; k < cp->count && name[0] == '*' && !present; k++)
            present = strlen(cp->tensors[k].name) > strlen(name) &&
                      strcmp(cp->tensors[k].name + strlen(cp->tensors[k].name) - strlen(name + 1), name + 1) == 0;
        if (present == absent)
            return 0;
    }
    return 1;
}

static void find_family(vit *model, const naming *names, const checkpoint *cp)
{
    for (size_t i = 0; i < FAMILY_COUNT && !model->family; i++)
        if (strcmp(families[i].naming, names->name) == 0 && has_evidence(&families[i], cp, model->prefix))
            model->family = &families[i];
    append(model->evidence, sizeof model->evidence, model->family->evidence[0] ? "by " : "");
    for (size_t i = 0; i < 3 && model->family->evidence[i]; i++) {
        const char *name = model->family->evidence[i];
        append(model->evidence, sizeof model->evidence, i ? ", " : "");
        append(model->evidence, sizeof model->evidence, name[0] == '!' ? "no " : "");
        append(model->evidence, sizeof model->evidence, name + (name[0] == '!'));
    }
}

/* Every block must have what its steps need. A norm without bias is an RMS norm: other arithmetic, not an absent bias. */
static int check_blocks(const checkpoint *cp, part (*blocks)[ROLE_COUNT], uint32_t depth, const char *which)
{
    static const struct { uint8_t role; uint8_t norm; const char *what; } needed[] = {
        { NORM1, 1, "first norm" }, { PROJ, 0, "attention projection" }, { NORM2, 1, "second norm" },
        { FC1, 0, "first linear layer of the MLP" }, { FC2, 0, "second linear layer of the MLP" },
    };
    for (uint32_t i = 0; i < depth; i++) {
        for (size_t k = 0; k < sizeof needed / sizeof *needed; k++) {
            const part *p = &blocks[i][needed[k].role];
            if (!p->weight)
                return fail("%s: %s block %" PRIu32 " of %" PRIu32 " has no %s", cp->path, which, i, depth, needed[k].what);
            if (needed[k].norm && !p->bias)
                return fail("%s: '%s' has no bias beside it: RMS norm is not available in this version", cp->path,
                            p->weight->name);
        }
        const part *b = blocks[i];
        int split = (b[QUERY].weight != NULL) + (b[KEY].weight != NULL) + (b[VALUE].weight != NULL);
        int split_bias = b[QUERY].bias || b[KEY].bias || b[VALUE].bias;
        if (b[QKV].weight ? split != 0 : split != 3)
            return fail("%s: %s block %" PRIu32 " of %" PRIu32 " must have either qkv or all of query, key and value",
                        cp->path, which, i, depth);
        if (b[QKV].bias && (split_bias || split))
            return fail("%s: %s block %" PRIu32 " has its query, key and value biases twice", cp->path, which, i);
    }
    return 0;
}

int vit_recognise(vit *model, const checkpoint *cp, const family *wanted, const char *prefix)
{
    encoders found = {0};
    memset(model, 0, sizeof *model);
    model->ignored = calloc(cp->count, sizeof *model->ignored);
    if (!model->ignored)
        return fail("%s: not enough memory", cp->path);
    if (find_encoder(&found, cp, prefix))
        return 1;
    const naming *names = found.naming[found.chosen];
    model->naming = names->title;
    if (!(model->prefix = calloc(found.length[found.chosen] + 1, 1)))
        return fail("%s: not enough memory", cp->path);
    memcpy(model->prefix, found.name[found.chosen], found.length[found.chosen]);
    if (wanted && strcmp(wanted->naming, names->name) != 0)
        return fail("%s: has %s, which are not those of %s (%s)", cp->path, names->title, wanted->name, wanted->title);

    int strangers = 0;
    for (size_t i = 0; i < cp->count; i++) {
        const tensor *t = &cp->tensors[i];
        if (assign(model, names, t, found.count == 1, &model->ignored[i]))
            return 1;
        if (model->ignored[i] == unknown && prefix && is_outside(&found, t->name))
            model->ignored[i] = "outside the encoder chosen with --prefix";
        strangers |= model->ignored[i] == unknown;
    }
    if (strangers)
        return refuse_unknown(model, cp);

    model->family = wanted;
    if (!wanted)
        find_family(model, names, cp);
    const part *top = model->top;
    if (model->depth == 0)
        return fail("%s: has a patch projection but no blocks", cp->path);
    if (!top[POSITIONS].weight)       /* they are computed, or a bias of the attention, and leave no trace in some files */
        return fail("%s: holds no table of positions; models without one (rotary positions, relative bias) are not available "
                    "in this version", cp->path);
    if (check_blocks(cp, model->block, model->depth, "encoder") ||
        check_blocks(cp, model->decoder, model->decoder_depth, "decoder"))
        return 1;
    static const uint8_t norms[] = { NORM, POOL_NORM, DECODER_NORM };
    for (size_t i = 0; i < sizeof norms; i++)
        if (!top[norms[i]].weight != !top[norms[i]].bias)
            return fail("%s: '%s' is only half of a norm: RMS norm is not available in this version", cp->path,
                        (top[norms[i]].weight ? top[norms[i]].weight : top[norms[i]].bias)->name);
    if (top[HEAD].bias && !top[HEAD].weight)
        return fail("%s: '%s' has no weight beside it", cp->path, top[HEAD].bias->name);
    if (!top[DECODER_EMBED].weight && top[MASK_TOKEN].weight)
        model->ignored[top[MASK_TOKEN].weight - cp->tensors] = mask_reason;
    return 0;
}

void vit_drop_decoder(vit *model, const checkpoint *cp, const char *why)
{
    static const uint8_t roles[] = { DECODER_EMBED, DECODER_POSITIONS, DECODER_NORM, DECODER_PREDICT };
    const part *top = model->top;
    for (size_t i = 0; i < sizeof roles; i++) {
        if (top[roles[i]].weight)
            model->ignored[top[roles[i]].weight - cp->tensors] = why;
        if (top[roles[i]].bias)
            model->ignored[top[roles[i]].bias - cp->tensors] = why;
    }
    if (top[MASK_TOKEN].weight && top[DECODER_EMBED].weight)
        model->ignored[top[MASK_TOKEN].weight - cp->tensors] = why;
    for (uint32_t i = 0; i < model->decoder_depth; i++)
        for (uint32_t role = NORM1; role < ROLE_COUNT; role++) {
            const part *p = &model->decoder[i][role];
            if (p->weight)
                model->ignored[p->weight - cp->tensors] = why;
            if (p->bias)
                model->ignored[p->bias - cp->tensors] = why;
        }
}

void vit_free(vit *model)
{
    free(model->prefix);
    free(model->ignored);
    memset(model, 0, sizeof *model);
}
