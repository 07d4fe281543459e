/* families.c - see families.h. */
#include "families.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- names of tensors ----
 * In a pattern '%' is the number of the block, '@' that of the stage, '&' that of the stage counted from 1, and '#' any number;
 * a final '*' is "weight" or "bias", '**' anything. Those of
 * role PATCH come first: they show where an encoder is. */

typedef struct name_row {
    const char *pattern;
    uint8_t role;
    uint8_t bias;                 /* 1: this is the role's bias */
    const char *ignored;          /* why it is left out; with a role it is looked at all the same */
} name_row;

enum { BLOCKS_MAX = 6 };

typedef struct naming {
    const char *name, *title;
    const char *sign;             /* that must be there, too, where another naming projects patches under the same name; or NULL */
    const char *blocks[BLOCKS_MAX], *decoder_blocks[BLOCKS_MAX];
    const name_row *top, *in_block;
    const name_row *beside;       /* names of what is not under the encoder's prefix; NULL: as those that are */
} naming;

static const char mask_reason[] = "mask token, used only in pretraining";
static const char pixel_head_reason[] = "pixel head, used only in pretraining";

static const char pretraining_reason[] = "used only in pretraining";
static const char text_reason[] = "of the text encoder beside it";
static const char index_reason[] = "index of the relative positions, computed";
static const char rotary_reason[] = "table of the rotary embedding, computed";
static const char windowed_reason[] = "decoder with windows, used only in pretraining";
static const char unturned_reason[] = "positions, of no use to a model with rotary ones";
static const char window_reason[] = "mask of the shifted windows, computed";
static const char coordinates_reason[] = "distances inside a window, computed";
static const char prompt_reason[] = "of the prompts and masks, beside the image encoder";
static const char pyramid_reason[] = "feature pyramid beside the encoder";

/* timm, and before it DINO; the authors of MAE, BEiT, EVA, DINOv2, DINOv3, I-JEPA, iBOT and MSN follow it. */
static const name_row timm_top[] = {
    { "patch_embed.proj.*", PATCH, 0, NULL },
    { "patch_embed.0.proj.*", PATCH, 0, NULL },
    { "patch_embed1.proj.*", PATCH, 0, NULL },
    { "channel_embed", CHANNEL_EMBED, 0, NULL },
    { "channel_cls_embed", CHANNEL_CLS, 0, NULL },
    { "temporal_embed_enc.scale", TIME_SCALE, 0, NULL },
    { "location_embed_enc.scale", PLACE_SCALE, 0, NULL },
    { "temporal_embed_dec.scale", ROLE_NONE, 0, pretraining_reason },
    { "location_embed_dec.scale", ROLE_NONE, 0, pretraining_reason },
    { "decoder_channel_embed", ROLE_NONE, 0, pretraining_reason },
    { "decoder_pred.#.*", ROLE_NONE, 0, pretraining_reason },
    { "decoder_blocks.#.attn.tau", ROLE_NONE, 0, windowed_reason },
    { "decoder_blocks.#.attn.logit_scale", ROLE_NONE, 0, windowed_reason },
    { "decoder_blocks.#.attn.meta_mlp.**", ROLE_NONE, 0, windowed_reason },
    { "decoder_blocks.#.attn.relative_**", ROLE_NONE, 0, windowed_reason },
    { "decoder_blocks.#.attn_mask", ROLE_NONE, 0, windowed_reason },
    { "predictor.**", ROLE_NONE, 0, pretraining_reason },
    { "encoder_to_decoder.weight", ROLE_NONE, 0, pretraining_reason },
    { "cls_token", CLS, 0, NULL },
    { "reg_token", REGISTERS, 0, NULL },
    { "register_tokens", REGISTERS, 0, NULL },
    { "storage_tokens", REGISTERS, 0, NULL },
    { "pos_embed", POSITIONS, 0, NULL },
    { "absolute_pos_embed", POSITIONS, 0, NULL },
    { "pos_embed_spatial", POSITIONS, 0, NULL },
    { "pos_embed_temporal", FRAME_POSITIONS, 0, NULL },
    { "pos_embed_win", UNIT_POSITIONS, 0, NULL },
    { "patch_embed.norm.*", PATCH_NORM, 0, NULL },
    { "norm_pre.*", PRE_NORM, 0, NULL },
    { "patch_embed1.norm.*", PATCH_NORM, 0, NULL },
    { "patch_embed&.proj.*", MERGE, 0, NULL },
    { "patch_embed&.norm.*", MERGE_NORM, 0, NULL },
    { "patch_embed4.*", MERGE_LINEAR, 0, NULL },
    { "layers.@.downsample.reduction.*", MERGE, 0, NULL },
    { "layers.@.downsample.norm.*", MERGE_NORM, 0, NULL },
    { "stage&_output_decode.*", FUSE, 0, NULL },
    { "multi_scale_fusion_heads.@.*", FUSE, 0, NULL },
    { "neck.0.*", NECK, 0, NULL },
    { "neck.1.*", NECK_NORM, 0, NULL },
    { "neck.2.*", NECK2, 0, NULL },
    { "neck.3.*", NECK2_NORM, 0, NULL },
    { "neck.*", NECK_NORM, 0, NULL },
    { "relative_position_index", ROLE_NONE, 0, index_reason },
    { "rel_pos_bias.relative_position_bias_table", RELATIVE_BIAS, 0, NULL },
    { "rel_pos_bias.relative_position_index", ROLE_NONE, 0, index_reason },
    { "rope_embed.periods", PERIODS, 0, NULL },
    { "rope.freqs_cos", ROTARY_COS, 0, NULL },
    { "rope.freqs_sin", ROLE_NONE, 0, rotary_reason },
    { "norm.*", NORM, 0, NULL },
    { "encoder_norm.*", NORM, 0, NULL },
    { "fc_norm.*", POOL_NORM, 0, NULL },
    { "head.norm.*", POOL_NORM, 0, NULL },
    { "head.*", HEAD, 0, NULL },
    { "head.fc.*", HEAD, 0, NULL },
    { "head.projection.*", HEAD, 0, NULL },
    { "mask_token", MASK_TOKEN, 0, NULL },
    { "vis_mask_token", ROLE_NONE, 0, mask_reason },
    { "decoder_embed.*", DECODER_EMBED, 0, NULL },
    { "decoder_pos_embed", DECODER_POSITIONS, 0, NULL },
    { "decoder_norm.*", DECODER_NORM, 0, NULL },
    { "decoder_pred.*", DECODER_PREDICT, 0, NULL },
    { "decoder.0.*", ROLE_NONE, 0, pixel_head_reason },
    { "text.**", ROLE_NONE, 0, text_reason },
    { "logit_scale", ROLE_NONE, 0, text_reason },
    { "transformer.**", ROLE_NONE, 0, text_reason },
    { "token_embedding.weight", ROLE_NONE, 0, text_reason },
    { "positional_embedding", ROLE_NONE, 0, text_reason },
    { "ln_final.*", ROLE_NONE, 0, text_reason },
    { "text_projection", ROLE_NONE, 0, text_reason },
    { "lm_head**", ROLE_NONE, 0, pretraining_reason },
    { "cls_pt_layers.**", ROLE_NONE, 0, pretraining_reason },
    { "local_cls_norm.*", ROLE_NONE, 0, pretraining_reason },
    { "rd_pos_embed", ROLE_NONE, 0, pretraining_reason },
    { "alignment_encoder.**", ROLE_NONE, 0, pretraining_reason },
    { "encoder_to_regresser**", ROLE_NONE, 0, pretraining_reason },
    { "regresser.**", ROLE_NONE, 0, pretraining_reason },
    { "decoder.**", ROLE_NONE, 0, pretraining_reason },
    /* iBOT, MSN, I-JEPA; DMAE; BootMAE; LocalMIM, which norms four layers; MaskFeat; MaskDistill */
    { "masked_embed", ROLE_NONE, 0, mask_reason },
    { "head.mlp.**", ROLE_NONE, 0, pretraining_reason },
    { "head.last_layer**", ROLE_NONE, 0, pretraining_reason },
    { "fc.fc1.*", ROLE_NONE, 0, pretraining_reason },
    { "fc.fc2.*", ROLE_NONE, 0, pretraining_reason },
    { "fc.fc3.*", ROLE_NONE, 0, pretraining_reason },
    { "fc.bn1.**", ROLE_NONE, 0, pretraining_reason },
    { "fc.bn2.**", ROLE_NONE, 0, pretraining_reason },
    { "prototypes", ROLE_NONE, 0, pretraining_reason },
    { "predictor.**", ROLE_NONE, 0, pretraining_reason },
    { "aligned_feature_projection_heads.**", ROLE_NONE, 0, pretraining_reason },
    { "decode_blocks**", ROLE_NONE, 0, pretraining_reason },
    { "decode_norm**", ROLE_NONE, 0, pretraining_reason },
    { "down.*", ROLE_NONE, 0, pretraining_reason },
    { "down_1.*", ROLE_NONE, 0, pretraining_reason },
    { "mask_token_1", ROLE_NONE, 0, mask_reason },
    { "de_pos_embed", ROLE_NONE, 0, pretraining_reason },
    { "norm.0.*", ROLE_NONE, 0, "norm of an earlier block, used only in pretraining" },
    { "norm.1.*", ROLE_NONE, 0, "norm of an earlier block, used only in pretraining" },
    { "norm.2.*", ROLE_NONE, 0, "norm of an earlier block, used only in pretraining" },
    { "norm.3.*", NORM, 0, NULL },
    { "hog_enc.**", ROLE_NONE, 0, pretraining_reason },
    { "hogs.**", ROLE_NONE, 0, pretraining_reason },
    { "pred_head.**", ROLE_NONE, 0, pretraining_reason },
    { "distill_head.*", ROLE_NONE, 0, pretraining_reason },
    { "prompt_encoder.**", ROLE_NONE, 0, prompt_reason },
    { "mask_decoder.**", ROLE_NONE, 0, prompt_reason },
    { "align_dim_**", ROLE_NONE, 0, pyramid_reason },
    { "fpn_modules.**", ROLE_NONE, 0, pyramid_reason },
    { "up&.**", ROLE_NONE, 0, pyramid_reason },
    { "split_16to8.**", ROLE_NONE, 0, pyramid_reason },
    { "split_8to4.**", ROLE_NONE, 0, pyramid_reason },
    { "block_16to8.**", ROLE_NONE, 0, pyramid_reason },
    { "block_8to4.**", ROLE_NONE, 0, pyramid_reason },
    { NULL, 0, 0, NULL }
};
static const name_row timm_block[] = {
    { "norm1.*", NORM1, 0, NULL },
    { "attn.qkv.*", QKV, 0, NULL },
    { "attn.qkv.bias_mask", QKV_MASK, 0, NULL },
    { "attn.q_bias", QUERY, 1, NULL },
    { "attn.k_bias", KEY, 1, NULL },
    { "attn.v_bias", VALUE, 1, NULL },
    { "attn.q_proj.*", QUERY, 0, NULL },
    { "attn.k_proj.*", KEY, 0, NULL },
    { "attn.v_proj.*", VALUE, 0, NULL },
    { "attn.relative_position_bias_table", RELATIVE_BIAS, 0, NULL },
    { "attn.relative_position_index", ROLE_NONE, 0, index_reason },
    { "attn.relative_coords_table", COORDINATES, 0, coordinates_reason },
    { "attn_mask", WINDOW_MASK, 0, window_reason },
    { "attn.cpb_mlp.0.*", BIAS_MLP1, 0, NULL },
    { "attn.cpb_mlp.2.*", BIAS_MLP2, 0, NULL },
    { "attn.posmlp.0.*", BIAS_MLP1, 0, NULL },
    { "attn.posmlp.2.*", BIAS_MLP2, 0, NULL },
    { "attn.logit_scale", LOGIT_SCALE, 0, NULL },
    { "attn.rel_pos_h", AXIS_Y, 0, NULL },
    { "attn.rel_pos_w", AXIS_X, 0, NULL },
    { "attn.rel_pos_t", AXIS_T, 0, NULL },
    { "attn.pool_q.*", THIN_QUERY, 0, NULL },
    { "attn.pool_k.*", THIN_KEY, 0, NULL },
    { "attn.pool_v.*", THIN_VALUE, 0, NULL },
    { "attn.norm_q.*", THIN_QUERY_NORM, 0, NULL },
    { "attn.norm_k.*", THIN_KEY_NORM, 0, NULL },
    { "attn.norm_v.*", THIN_VALUE_NORM, 0, NULL },
    { "shortcut_proj_attn.*", SHORTCUT, 0, NULL },
    { "shortcut_proj_mlp.*", MLP_SHORTCUT, 0, NULL },
    { "proj.*", SHORTCUT, 0, NULL },
    { "conv1.*", CONV1, 0, NULL },
    { "attn.*", DEPTHWISE, 0, NULL },
    { "conv2.*", CONV2, 0, NULL },
    { "norm.*", MERGE_NORM, 0, NULL },
    { "reduction.*", MERGE, 0, NULL },
    { "downsample.norm.*", MERGE_NORM, 0, NULL },
    { "downsample.proj.*", MERGE, 0, NULL },
    { "attn.sr.*", REDUCE, 0, NULL },
    { "attn.rope.freqs_cos", ROLE_NONE, 0, rotary_reason },
    { "attn.rope.freqs_sin", ROLE_NONE, 0, rotary_reason },
    { "attn.q.*", QUERY, 0, NULL },
    { "attn.k.*", KEY, 0, NULL },
    { "attn.v.*", VALUE, 0, NULL },
    { "attn.kv.*", KEY_VALUE, 0, NULL },
    { "attn.q_norm.*", QUERY_NORM, 0, NULL },
    { "attn.k_norm.*", KEY_NORM, 0, NULL },
    { "attn.norm.*", ATTENTION_NORM, 0, NULL },
    { "attn.inner_attn_ln.*", ATTENTION_NORM, 0, NULL },
    { "attn.proj.*", PROJ, 0, NULL },
    { "ls1.gamma", SCALE1, 0, NULL },
    { "gamma_1", SCALE1, 0, NULL },
    { "norm2.*", NORM2, 0, NULL },
    { "mlp.fc1.*", FC1, 0, NULL },
    { "mlp.fc1_g.*", GATE, 0, NULL },
    { "mlp.fc1_x.*", UP, 0, NULL },
    { "mlp.norm.*", MLP_NORM, 0, NULL },
    { "mlp.fc2.*", FC2, 0, NULL },
    { "mlp.lin1.*", FC1, 0, NULL },
    { "mlp.lin2.*", FC2, 0, NULL },
    { "mlp.w12.*", FC1, 0, NULL },
    { "mlp.w1.*", GATE, 0, NULL },
    { "mlp.w2.*", UP, 0, NULL },
    { "mlp.ffn_ln.*", MLP_NORM, 0, NULL },
    { "mlp.w3.*", FC2, 0, NULL },
    { "ls2.gamma", SCALE2, 0, NULL },
    { "gamma_2", SCALE2, 0, NULL },
    { NULL, 0, 0, NULL }
};

/* Twins, and GreenMIM's: as the authors and timm have them. */
static const name_row twins_top[] = {
    { "patch_embeds.0.proj.*", PATCH, 0, NULL },
    { "patch_embeds.0.norm.*", PATCH_NORM, 0, NULL },
    { "patch_embeds.@.proj.*", MERGE, 0, NULL },
    { "patch_embeds.@.norm.*", MERGE_NORM, 0, NULL },
    { "pos_block.@.proj.0.*", GRID_CONV, 0, NULL },
    { "norm.*", NORM, 0, NULL },
    { "head.*", HEAD, 0, NULL },
    { "mask_token", ROLE_NONE, 0, mask_reason },
    { "decoder_**", ROLE_NONE, 0, pretraining_reason },
    { NULL, 0, 0, NULL }
};

/* transformers: the names in published files, and those of its modules since version 5. */
static const name_row hf_top[] = {
    { "embeddings.patch_embeddings.projection.*", PATCH, 0, NULL },
    { "embeddings.patch_embeddings.*", PATCH, 0, NULL },
    { "patch_embed.projection.*", PATCH, 0, NULL },
    { "embeddings.norm.*", PATCH_NORM, 0, NULL },
    { "embeddings.cls_token", CLS, 0, NULL },
    { "embeddings.register_tokens", REGISTERS, 0, NULL },
    { "embeddings.position_embeddings", POSITIONS, 0, NULL },
    { "pos_embed", POSITIONS, 0, NULL },
    { "embeddings.mask_token", ROLE_NONE, 0, mask_reason },
    { "encoder.relative_position_bias.relative_position_bias_table", RELATIVE_BIAS, 0, NULL },
    { "encoder.relative_position_bias.relative_position_index", ROLE_NONE, 0, index_reason },
    { "encoder.layers.@.downsample.reduction.*", MERGE, 0, NULL },
    { "encoder.layers.@.downsample.norm.*", MERGE_NORM, 0, NULL },
    { "multiscale_fusion.multi_scale_fusion_heads.@.*", FUSE, 0, NULL },
    { "neck.conv1.*", NECK, 0, NULL },
    { "neck.layer_norm1.*", NECK_NORM, 0, NULL },
    { "neck.conv2.*", NECK2, 0, NULL },
    { "neck.layer_norm2.*", NECK2_NORM, 0, NULL },
    { "layernorm.*", NORM, 0, NULL },
    { "norm.*", NORM, 0, NULL },
    { "encoder_norm.*", NORM, 0, NULL },
    { "pooler.layernorm.*", POOL_NORM, 0, NULL },
    { "fc_norm.*", POOL_NORM, 0, NULL },
    { "mask_token", ROLE_NONE, 0, mask_reason },
    { "encoder_to_decoder.weight", ROLE_NONE, 0, pretraining_reason },
    { "decoder.norm.*", ROLE_NONE, 0, pretraining_reason },
    { "decoder.head.*", ROLE_NONE, 0, pretraining_reason },
    { "classifier.*", HEAD, 0, NULL },
    { "lm_head.*", ROLE_NONE, 0, pretraining_reason },
    { "pooler.dense.*", ROLE_NONE, 0, "pooler (dense and tanh), not one of mim's features" },
    { "decoder.decoder_embed.*", DECODER_EMBED, 0, NULL },
    { "decoder.mask_token", MASK_TOKEN, 0, NULL },
    { "decoder.decoder_pos_embed", DECODER_POSITIONS, 0, NULL },
    { "decoder.decoder_norm.*", DECODER_NORM, 0, NULL },
    { "decoder.decoder_pred.*", DECODER_PREDICT, 0, NULL },
    { "decoder.0.*", ROLE_NONE, 0, pixel_head_reason },
    { "decoder.decoder_embeddings.*", ROLE_NONE, 0, pretraining_reason },
    { "decoder.decoder_position_embeddings", ROLE_NONE, 0, pretraining_reason },
    { "decoder.decoder_block.**", ROLE_NONE, 0, pretraining_reason },
    { "prompt_encoder.**", ROLE_NONE, 0, prompt_reason },
    { "mask_decoder.**", ROLE_NONE, 0, prompt_reason },
    { "shared_image_embedding.**", ROLE_NONE, 0, prompt_reason },
    { NULL, 0, 0, NULL }
};
static const name_row hf_block[] = {
    { "layernorm_before.*", NORM1, 0, NULL },
    { "norm1.*", NORM1, 0, NULL },
    { "attention.attention.query.*", QUERY, 0, NULL },
    { "attention.attention.key.*", KEY, 0, NULL },
    { "attention.attention.value.*", VALUE, 0, NULL },
    { "attention.attention.q_bias", QUERY, 1, NULL },
    { "attention.attention.v_bias", VALUE, 1, NULL },
    { "attention.self.query.*", QUERY, 0, NULL },
    { "attention.self.key.*", KEY, 0, NULL },
    { "attention.self.value.*", VALUE, 0, NULL },
    { "attention.self.relative_position_bias_table", RELATIVE_BIAS, 0, NULL },
    { "attention.self.relative_position_index", ROLE_NONE, 0, index_reason },
    { "attention.self.relative_coords_table", ROLE_NONE, 0, coordinates_reason },
    { "attention.self.continuous_position_bias_mlp.0.*", BIAS_MLP1, 0, NULL },
    { "attention.self.continuous_position_bias_mlp.2.*", BIAS_MLP2, 0, NULL },
    { "attention.self.logit_scale", LOGIT_SCALE, 0, NULL },
    { "layer_norm1.*", NORM1, 0, NULL },
    { "layer_norm2.*", NORM2, 0, NULL },
    { "attn.qkv.*", QKV, 0, NULL },
    { "attn.proj.*", PROJ, 0, NULL },
    { "attn.rel_pos_h", AXIS_Y, 0, NULL },
    { "attn.rel_pos_w", AXIS_X, 0, NULL },
    { "proj.*", SHORTCUT, 0, NULL },
    { "mlp.lin1.*", FC1, 0, NULL },
    { "mlp.lin2.*", FC2, 0, NULL },
    { "attention.q_proj.*", QUERY, 0, NULL },
    { "attention.k_proj.*", KEY, 0, NULL },
    { "attention.v_proj.*", VALUE, 0, NULL },
    { "attention.attention.relative_position_bias.relative_position_bias_table", RELATIVE_BIAS, 0, NULL },
    { "attention.attention.relative_position_bias.relative_position_index", ROLE_NONE, 0, index_reason },
    { "attention.output.dense.*", PROJ, 0, NULL },
    { "attention.o_proj.*", PROJ, 0, NULL },
    { "layer_scale1.lambda1", SCALE1, 0, NULL },
    { "lambda_1", SCALE1, 0, NULL },
    { "layernorm_after.*", NORM2, 0, NULL },
    { "norm2.*", NORM2, 0, NULL },
    { "intermediate.dense.*", FC1, 0, NULL },
    { "output.dense.*", FC2, 0, NULL },
    { "mlp.fc1.*", FC1, 0, NULL },
    { "mlp.fc2.*", FC2, 0, NULL },
    { "mlp.weights_in.*", FC1, 0, NULL },
    { "mlp.weights_out.*", FC2, 0, NULL },
    { "mlp.gate_proj.*", GATE, 0, NULL },
    { "mlp.up_proj.*", UP, 0, NULL },
    { "mlp.down_proj.*", FC2, 0, NULL },
    { "layer_scale2.lambda1", SCALE2, 0, NULL },
    { "lambda_2", SCALE2, 0, NULL },
    { NULL, 0, 0, NULL }
};

/* transformers' V-JEPA 2: its pooler and classifier attend to the tokens and are not among mim's features. */
static const char probe_reason[] = "attentive probe, not one of mim's features";
static const name_row vjepa2_top[] = {
    { "embeddings.patch_embeddings.proj.*", PATCH, 0, NULL },
    { "layernorm.*", NORM, 0, NULL },
    { "predictor.**", ROLE_NONE, 0, pretraining_reason },
    { "pooler.**", ROLE_NONE, 0, probe_reason },
    { "classifier.*", ROLE_NONE, 0, probe_reason },
    { NULL, 0, 0, NULL }
};
static const name_row vjepa2_block[] = {
    { "norm1.*", NORM1, 0, NULL },
    { "attention.query.*", QUERY, 0, NULL },
    { "attention.key.*", KEY, 0, NULL },
    { "attention.value.*", VALUE, 0, NULL },
    { "attention.proj.*", PROJ, 0, NULL },
    { "norm2.*", NORM2, 0, NULL },
    { "mlp.fc1.*", FC1, 0, NULL },
    { "mlp.fc2.*", FC2, 0, NULL },
    { NULL, 0, 0, NULL }
};

/* OpenAI's CLIP, and after it open_clip. The text encoder beside it has the same names. */
static const name_row open_clip_top[] = {
    { "conv1.*", PATCH, 0, NULL },
    { "class_embedding", CLS, 0, NULL },
    { "positional_embedding", POSITIONS, 0, NULL },
    { "ln_pre.*", PRE_NORM, 0, NULL },
    { "ln_post.*", NORM, 0, NULL },
    { "proj", PROJECTION, 0, NULL },
    { NULL, 0, 0, NULL }
};
static const name_row open_clip_block[] = {
    { "ln_1.*", NORM1, 0, NULL },
    { "attn.in_proj_weight", QKV, 0, NULL },
    { "attn.in_proj_bias", QKV, 1, NULL },
    { "attn.out_proj.*", PROJ, 0, NULL },
    { "ls_1.gamma", SCALE1, 0, NULL },
    { "ln_2.*", NORM2, 0, NULL },
    { "mlp.c_fc.*", FC1, 0, NULL },
    { "mlp.c_proj.*", FC2, 0, NULL },
    { "ls_2.gamma", SCALE2, 0, NULL },
    { NULL, 0, 0, NULL }
};
static const name_row open_clip_beside[] = {
    { "text.**", ROLE_NONE, 0, text_reason },
    { "transformer.**", ROLE_NONE, 0, text_reason },
    { "token_embedding.weight", ROLE_NONE, 0, text_reason },
    { "positional_embedding", ROLE_NONE, 0, text_reason },
    { "cls_emb", ROLE_NONE, 0, text_reason },
    { "ln_final.*", ROLE_NONE, 0, text_reason },
    { "text_projection", ROLE_NONE, 0, text_reason },
    { "logit_scale", ROLE_NONE, 0, text_reason },
    { "logit_bias", ROLE_NONE, 0, text_reason },
    { "attn_mask", ROLE_NONE, 0, text_reason },
    { "input_resolution", ROLE_NONE, 0, text_reason },
    { "context_length", ROLE_NONE, 0, text_reason },
    { "vocab_size", ROLE_NONE, 0, text_reason },
    { NULL, 0, 0, NULL }
};

/* transformers' CLIP, whose last norm is of CLS alone. */
static const name_row hf_clip_top[] = {
    { "embeddings.patch_embedding.*", PATCH, 0, NULL },
    { "embeddings.class_embedding", CLS, 0, NULL },
    { "embeddings.position_embedding.weight", POSITIONS, 0, NULL },
    { "embeddings.position_ids", ROLE_NONE, 0, "index of the positions, computed" },
    { "pre_layrnorm.*", PRE_NORM, 0, NULL },
    { "post_layernorm.*", NORM, 0, NULL },
    { "visual_projection.weight", HEAD, 0, NULL },
    { "text_model.**", ROLE_NONE, 0, text_reason },
    { "text_projection.weight", ROLE_NONE, 0, text_reason },
    { "logit_scale", ROLE_NONE, 0, text_reason },
    { NULL, 0, 0, NULL }
};
static const name_row hf_clip_block[] = {
    { "layer_norm1.*", NORM1, 0, NULL },
    { "self_attn.q_proj.*", QUERY, 0, NULL },
    { "self_attn.k_proj.*", KEY, 0, NULL },
    { "self_attn.v_proj.*", VALUE, 0, NULL },
    { "self_attn.out_proj.*", PROJ, 0, NULL },
    { "layer_norm2.*", NORM2, 0, NULL },
    { "mlp.fc1.*", FC1, 0, NULL },
    { "mlp.fc2.*", FC2, 0, NULL },
    { NULL, 0, 0, NULL }
};

/* Models of tokens that the caller makes, from vectors of the file. */
static const name_row presto_top[] = {
    { "eo_patch_embed.S1.*", PATCH, 0, NULL },
    { "norm.*", NORM, 0, NULL },
    { "decoder.**", ROLE_NONE, 0, pretraining_reason },
    { NULL, 0, 0, NULL }
};
#define LINEAR(name) { name ".weight", 1, 0 }, { name ".bias", 0, 0 }
static const vector_row presto_vectors[] = {
    LINEAR("eo_patch_embed.S1"), LINEAR("eo_patch_embed.S2_RGB"), LINEAR("eo_patch_embed.S2_Red_Edge"),
    LINEAR("eo_patch_embed.S2_NIR_10m"), LINEAR("eo_patch_embed.S2_NIR_20m"), LINEAR("eo_patch_embed.S2_SWIR"),
    LINEAR("eo_patch_embed.ERA5"), LINEAR("eo_patch_embed.SRTM"), LINEAR("eo_patch_embed.NDVI"),
    { "dw_embed.weight", 0, 0 }, LINEAR("latlon_embed"),
    { "month_embed.weight", 0, 0 }, { "channel_embed.weight", 0, 1 }, { "pos_embed", 0, 2 },
    { NULL, 0, 0 }
};
static const name_row galileo_top[] = {
    { "space_time_embed.S1.proj.*", PATCH, 0, NULL },
    { "norm.*", NORM, 0, NULL },
    { NULL, 0, 0, NULL }
};
static const name_row galileo_block[] = {
    { "norm1.*", NORM1, 0, NULL },
    { "attn.q.*", QUERY, 0, NULL },
    { "attn.k.*", KEY, 0, NULL },
    { "attn.v.*", VALUE, 0, NULL },
    { "attn.proj.*", PROJ, 0, NULL },
    { "norm2.*", NORM2, 0, NULL },
    { "mlp.fc1.*", FC1, 0, NULL },
    { "mlp.fc2.*", FC2, 0, NULL },
    { NULL, 0, 0, NULL }
};
static const vector_row galileo_vectors[] = {
    LINEAR("space_time_embed.S1.proj"), LINEAR("space_time_embed.S2_RGB.proj"), LINEAR("space_time_embed.S2_Red_Edge.proj"),
    LINEAR("space_time_embed.S2_NIR_10m.proj"), LINEAR("space_time_embed.S2_NIR_20m.proj"), LINEAR("space_time_embed.S2_SWIR.proj"),
    LINEAR("space_time_embed.NDVI.proj"),
    LINEAR("space_embed.SRTM.proj"), LINEAR("space_embed.DW.proj"), LINEAR("space_embed.WC.proj"),
    LINEAR("time_embed.ERA5"), LINEAR("time_embed.TC"), LINEAR("time_embed.VIIRS"),
    LINEAR("static_embed.LS"), LINEAR("static_embed.location"), LINEAR("static_embed.DW_static"), LINEAR("static_embed.WC_static"),
    { "s_t_channel_embed", 0, 0 }, { "sp_channel_embed", 0, 0 }, { "t_channel_embed", 0, 0 }, { "st_channel_embed", 0, 0 },
    { "pos_embed", 0, 1 }, { "month_embed.weight", 0, 2 },
    { NULL, 0, 0 }
};
#undef LINEAR

static const struct { const char *naming; const vector_row *rows; } vectors[] = {
    { "presto", presto_vectors }, { "galileo", galileo_vectors }
};

static const vector_row *naming_vectors(const char *name)
{
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        if (strcmp(vectors[i].naming, name) == 0)
            return vectors[i].rows;
    return NULL;
}

/* mmpretrain, and before it mmcls and mmselfsup; the authors of CMAE. */
static const name_row mmpretrain_top[] = {
    { "patch_embed.projection.*", PATCH, 0, NULL },
    { "cls_token", CLS, 0, NULL },
    { "pos_embed", POSITIONS, 0, NULL },
    { "ln1.*", NORM, 0, NULL },
    { "ln2.*", POOL_NORM, 0, NULL },
    { "fc_norm.*", POOL_NORM, 0, NULL },
    { "head.fc.*", HEAD, 0, NULL },
    { "head.layers.head.*", HEAD, 0, NULL },
    { "head.predictor.**", ROLE_NONE, 0, pretraining_reason },
    { "mask_token", ROLE_NONE, 0, mask_reason },
    { "neck.**", ROLE_NONE, 0, pretraining_reason },
    { "pixel_decoder.**", ROLE_NONE, 0, pretraining_reason },
    { "feature_decoder.**", ROLE_NONE, 0, pretraining_reason },
    { "projector.**", ROLE_NONE, 0, pretraining_reason },
    { "target_projector.**", ROLE_NONE, 0, pretraining_reason },
    { NULL, 0, 0, NULL }
};
static const name_row mmpretrain_block[] = {
    { "ln1.*", NORM1, 0, NULL },
    { "attn.qkv.*", QKV, 0, NULL },
    { "attn.q_bias", QUERY, 1, NULL },
    { "attn.v_bias", VALUE, 1, NULL },
    { "attn.proj.*", PROJ, 0, NULL },
    { "gamma_1", SCALE1, 0, NULL },
    { "attn.gamma1.weight", SCALE1, 0, NULL },
    { "ln2.*", NORM2, 0, NULL },
    { "ffn.layers.0.0.*", FC1, 0, NULL },
    { "ffn.layers.1.*", FC2, 0, NULL },
    { "gamma_2", SCALE2, 0, NULL },
    { "ffn.gamma2.weight", SCALE2, 0, NULL },
    { NULL, 0, 0, NULL }
};

/* torchvision's MViT, a port of SlowFast's. */
static const name_row torchvision_top[] = {
    { "conv_proj.*", PATCH, 0, NULL },
    { "pos_encoding.class_token", CLS, 0, NULL },
    { "norm.*", NORM, 0, NULL },
    { "head.1.*", HEAD, 0, NULL },
    { NULL, 0, 0, NULL }
};
static const name_row torchvision_block[] = {
    { "norm1.*", NORM1, 0, NULL },
    { "attn.qkv.*", QKV, 0, NULL },
    { "attn.pool_q.pool.*", THIN_QUERY, 0, NULL },
    { "attn.pool_k.pool.*", THIN_KEY, 0, NULL },
    { "attn.pool_v.pool.*", THIN_VALUE, 0, NULL },
    { "attn.pool_q.norm_act.0.*", THIN_QUERY_NORM, 0, NULL },
    { "attn.pool_k.norm_act.0.*", THIN_KEY_NORM, 0, NULL },
    { "attn.pool_v.norm_act.0.*", THIN_VALUE_NORM, 0, NULL },
    { "attn.rel_pos_h", AXIS_Y, 0, NULL },
    { "attn.rel_pos_w", AXIS_X, 0, NULL },
    { "attn.rel_pos_t", AXIS_T, 0, NULL },
    { "attn.project.0.*", PROJ, 0, NULL },
    { "project.*", SHORTCUT, 0, NULL },
    { "norm2.*", NORM2, 0, NULL },
    { "mlp.0.*", FC1, 0, NULL },
    { "mlp.3.*", FC2, 0, NULL },
    { NULL, 0, 0, NULL }
};

/* clip.cpp, and llama.cpp for what sees in its models, as GGUF. */
static const char language_reason[] = "of the language model beside it";
static const name_row clip_top[] = {
    { "v.patch_embd.*", PATCH, 0, NULL },
    { "v.class_embd", CLS, 0, NULL },
    { "v.position_embd.weight", POSITIONS, 0, NULL },
    { "v.pre_ln.*", PRE_NORM, 0, NULL },
    { "v.post_ln.*", NORM, 0, NULL },
    { "visual_projection.weight", HEAD, 0, NULL },
    { "t.**", ROLE_NONE, 0, text_reason },
    { "text_projection.weight", ROLE_NONE, 0, text_reason },
    { "mm.**", ROLE_NONE, 0, language_reason },
    { "model.image_newline", ROLE_NONE, 0, language_reason },
    { NULL, 0, 0, NULL }
};
static const name_row clip_block[] = {
    { "ln1.*", NORM1, 0, NULL },
    { "attn_qkv.*", QKV, 0, NULL },
    { "attn_q.*", QUERY, 0, NULL },
    { "attn_k.*", KEY, 0, NULL },
    { "attn_v.*", VALUE, 0, NULL },
    { "attn_out.*", PROJ, 0, NULL },
    { "ls1.weight", SCALE1, 0, NULL },
    { "ln2.*", NORM2, 0, NULL },
    { "ffn_up.*", FC1, 0, NULL },
    { "ffn_down.*", FC2, 0, NULL },
    { "ls2.weight", SCALE2, 0, NULL },
    { NULL, 0, 0, NULL }
};

static const naming namings[] = {
    { "mmpretrain", "mmpretrain's names", "layers.0.ln1.weight", { "layers.%.", NULL }, { NULL }, mmpretrain_top, mmpretrain_block, NULL },
    { "timm", "timm's names", NULL, { "blocks.%.", "blocks.#.%.", "layers.@.blocks.%.", "stages.@.blocks.%.", "blocks&.%.", NULL }, { "decoder_blocks.%.", NULL },
      timm_top, timm_block, NULL },
    { "transformers", "transformers' names", NULL, { "encoder.layer.%.", "layers.%.", "layer.%.", "model.layer.%.",
      "encoder.layers.@.blocks.%.", "encoder.stages.@.layers.%." },
      { "decoder.decoder_layers.%.", "decoder.decoder_encoder.layer.%.", NULL }, hf_top, hf_block, NULL },
    { "twins", "Twins' names", NULL, { "blocks.@.%.", NULL }, { NULL }, twins_top, timm_block, NULL },
    { "torchvision", "torchvision's names", "pos_encoding.class_token", { "blocks.%.", NULL }, { NULL }, torchvision_top, torchvision_block, NULL },
    { "clip", "clip.cpp's names", NULL, { "v.blk.%.", NULL }, { NULL }, clip_top, clip_block, NULL },
    { "open-clip", "open_clip's names", "transformer.resblocks.0.attn.in_proj_weight", { "transformer.resblocks.%.", NULL }, { NULL },
      open_clip_top, open_clip_block, open_clip_beside },
    { "hf-clip", "transformers' names", NULL, { "encoder.layers.%.", NULL }, { NULL }, hf_clip_top, hf_clip_block, NULL },
    { "vjepa2", "transformers' names", NULL, { "layer.%.", NULL }, { NULL }, vjepa2_top, vjepa2_block, NULL },
    { "presto", "the authors' names", NULL, { "blocks.%.", NULL }, { NULL }, presto_top, timm_block, NULL },
    { "galileo", "the authors' names", NULL, { "blocks.%.", NULL }, { NULL }, galileo_top, galileo_block, NULL },
};
#define NAMING_COUNT (sizeof namings / sizeof *namings)

/* What some names mean, for the message that they cannot be used. */
static const struct { const char *part, *what; } beyond[] = {
    { "rope", "learned rotary positions" }, { "q_norm", "norm of queries and keys" }, { "k_norm", "norm of queries and keys" },
    { "attn_pool", "attention pooling" }, { "head.probe", "attention pooling" }, { "dist_token", "distillation token" },
    { "head_dist", "distillation token" }, { "attn.gate", "gated attention" }, { "spatial_pos", "positions in space and time" },
    { "norms_block", "V-JEPA 2.1's norms between the blocks" }, { "mod_embed", "V-JEPA 2.1's embeddings of pictures and videos" },
    { "mlp.fc3", "a gated MLP of three layers (V-JEPA's use_silu)" },
    { "pos_embed_class", "positions of MViT's first version" }, { "running_mean", "batch norm" }, { "cls_norm", "a norm of CLS and registers alone" },
};

/* ---- families ----
 * Only what the authors fixed for all their files; the rest comes from configurations and options. Positions: read in
 * transformers 5.23 (interpolate_pos_encoding of each model), timm 1.0.31 (resample_abs_pos_embed) and the authors' own
 * repositories. */

static const float imagenet_mean[3] = { 0.485f, 0.456f, 0.406f };
static const float imagenet_std[3] = { 0.229f, 0.224f, 0.225f };
static const float slowfast_mean[3] = { 0.45f, 0.45f, 0.45f };
static const float slowfast_std[3] = { 0.225f, 0.225f, 0.225f };
static const float clip_mean[3] = { 0.48145466f, 0.4578275f, 0.40821073f };
static const float clip_std[3] = { 0.26862954f, 0.26130258f, 0.27577711f };

static const published_size mae_sizes[] = {
    { 768, 12, 3072, 12 }, { 1024, 24, 4096, 16 }, { 1280, 32, 5120, 16 }, { 0, 0, 0, 0 }
};
static const published_size dinov2_sizes[] = {
    { 384, 12, 1536, 6 }, { 768, 12, 3072, 12 }, { 1024, 24, 4096, 16 }, { 1536, 40, 4096, 24 }, { 0, 0, 0, 0 }
};
static const published_size cae_sizes[] = {
    { 384, 12, 1536, 6 }, { 768, 12, 3072, 12 }, { 1024, 24, 4096, 16 }, { 0, 0, 0, 0 }
};
static const published_size eva_sizes[] = {
    { 1408, 40, 6144, 16 }, { 0, 0, 0, 0 }
};
static const published_size eva02_sizes[] = {
    { 192, 12, 512, 3 }, { 384, 12, 1024, 6 }, { 768, 12, 2048, 12 }, { 1024, 24, 2730, 16 }, { 0, 0, 0, 0 }
};

static const published_size videomae_sizes[] = {
    { 384, 12, 1536, 6 }, { 768, 12, 3072, 12 }, { 1024, 24, 4096, 16 }, { 1280, 32, 5120, 16 }, { 0, 0, 0, 0 }
};
static const published_size vjepa2_sizes[] = {
    { 1024, 24, 4096, 16 }, { 1280, 32, 5120, 16 }, { 1408, 40, 6144, 22 }, { 0, 0, 0, 0 }
};
static const published_size galileo_sizes[] = {
    { 128, 4, 512, 8 }, { 192, 12, 768, 3 }, { 768, 12, 3072, 12 }, { 0, 0, 0, 0 }
};
static const float satmae_mean[3] = { 0.4182007312774658f, 0.4214799106121063f, 0.3991275727748871f };
static const float satmae_std[3] = { 0.28774282336235046f, 0.27541765570640564f, 0.2764017581939697f };

/* What the bands of Sentinel-2 and the tables of the callers are normalised by is up to the caller: they arrive in 0..1. */
static const float no_mean[MIM_MAX_CHANNELS] = { 0 };
static const float no_std[MIM_MAX_CHANNELS] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };
/* of AudioSet's log mel energies: (x + 4.2677393) / (2 * 4.5689974) */
static const float audiomae_mean[1] = { -4.2677393f }, audiomae_std[1] = { 9.1379948f };
/* of reflectances times 10000, Prithvi's first version; the second's are in its config.json */
static const float prithvi_mean[6] = { 775, 1081, 1229, 2497, 2204, 1611 };
static const float prithvi_std[6] = { 1282, 1270, 1399, 1368, 1292, 1155 };
static const published_size mae_lite_sizes[] = {
    { 192, 12, 768, 12 }, { 384, 12, 1536, 12 }, { 768, 12, 3072, 12 }, { 0, 0, 0, 0 }
};
/* of 192, pretrained with 6 heads and fine-tuned with 3 by the same code: asked for */
static const published_size tinymim_sizes[] = {
    { 384, 12, 1536, 6 }, { 768, 12, 3072, 12 }, { 0, 0, 0, 0 }
};
static const published_size distilled_sizes[] = {
    { 384, 12, 1536, 6 }, { 768, 12, 3072, 12 }, { 1024, 24, 4096, 16 }, { 1280, 32, 5120, 16 }, { 0, 0, 0, 0 }
};
static const published_size joint_sizes[] = {
    { 192, 12, 768, 3 }, { 384, 12, 1536, 6 }, { 768, 12, 3072, 12 }, { 1024, 24, 4096, 16 }, { 1280, 32, 5120, 16 },
    { 1408, 40, 6144, 16 }, { 0, 0, 0, 0 }
};
static const published_size base_sizes[] = {
    { 768, 12, 3072, 12 }, { 1024, 24, 4096, 16 }, { 0, 0, 0, 0 }
};
static const published_size clip_sizes[] = {
    { 384, 12, 1536, 6 }, { 512, 12, 2048, 8 }, { 640, 12, 2560, 10 }, { 768, 12, 3072, 12 }, { 896, 12, 3584, 14 },
    { 1024, 24, 4096, 16 }, { 1280, 32, 5120, 16 }, { 1408, 40, 6144, 16 }, { 1664, 48, 8192, 16 }, { 0, 0, 0, 0 }
};
static const published_size clip_e_sizes[] = {
    { 1792, 64, 15360, 16 }, { 0, 0, 0, 0 }
};
/* of pyramids: width of the last stage, blocks with those that merge, the last hidden width, heads of the first attention */
static const published_size hiera_sizes[] = {
    { 768, 12, 3072, 1 }, { 768, 16, 3072, 1 }, { 768, 24, 3072, 1 }, { 896, 24, 3584, 2 }, { 1152, 48, 4608, 2 },
    { 2048, 48, 8192, 4 }, { 0, 0, 0, 0 }
};
static const published_size efficientsam_sizes[] = {
    { 256, 12, 768, 3 }, { 256, 12, 1536, 6 }, { 0, 0, 0, 0 }
};
static const published_size hivit_sizes[] = {
    { 384, 16, 1536, 6 }, { 384, 30, 1536, 6 }, { 512, 30, 2048, 8 }, { 512, 34, 2048, 8 }, { 512, 38, 2048, 8 }, { 768, 50, 3072, 12 },
    { 0, 0, 0, 0 }
};
static const published_size twins_sizes[] = {
    { 512, 18, 2048, 2 }, { 768, 24, 3072, 3 }, { 1024, 24, 4096, 4 }, { 512, 16, 2048, 1 }, { 512, 28, 2048, 1 }, { 512, 41, 2048, 1 },
    { 0, 0, 0, 0 }
};
static const published_size pvt_sizes[] = {
    { 512, 16, 2048, 1 }, { 0, 0, 0, 0 }
};
static const published_size fast_itpn_sizes[] = {
    { 384, 16, 1152, 6 }, { 384, 26, 1152, 6 }, { 512, 32, 1536, 8 }, { 768, 46, 2304, 12 }, { 0, 0, 0, 0 }
};
static const published_size convmae_sizes[] = {
    { 768, 15, 3072, 12 }, { 0, 0, 0, 0 }
};

/* DINOv3's models of satellite pictures have these sizes, too */
static const published_size dinov3_satellite[] = {
    { 1024, 24, 4096, 16 }, { 4096, 40, 8192, 32 }, { 0, 0, 0, 0 }
};

#define NO_PICTURE { 0, 0, 0, 0, 0, NULL }
#define NO_DECODER { 0, 0, 0, 0 }
#define PLAIN { 0, 0, 0, 0, 0, 0, 0 }
#define SWIGLU { 0, 0, 0, 0, 0, MIM_SILU, 0 }
#define BIAS(rule) { rule, 0, 0, 0, 0, 0, 0 }
#define ROTARY_CAT { 0, MIM_ROTARY_PAIRS, MIM_GRID_SCALED, 10000, 16, MIM_SILU, 0 }
#define ROTARY_DINOV3(gate) { 0, MIM_ROTARY_HALVES, MIM_GRID_CENTERED, 100, 0, gate, 0 }
#define ROTARY_VIDEO { 0, MIM_ROTARY_PAIRS, MIM_GRID_INDEX, 10000, 0, 0, 0 }
#define SQUASHED { 224, 0, 0, 0, MIM_BILINEAR, NULL }
#define POST_NORM { 0, 0, 0, 0, 0, 0, 1 }
#define BY_OPTION { "--family", NULL, NULL }     /* never by its names: they are those of others */

static const family families[] = {
    /* Videos, sound, satellites. Their decoders are the MAE authors' or have its names, so they come first. MaskFeat pretrains
     * without a norm behind the blocks, and averages before it where it is tuned; unlike others, it widens in the MLPs. */
    { "hiera-video", "Hiera of videos, the authors' release", "MAE", "timm", NULL, { "tubelets", "pos_embed_temporal", "widening blocks", NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_FIXED, 0, 0,
      slowfast_mean, slowfast_std, { 224, 256, 0, 0, MIM_BILINEAR, NULL }, hiera_sizes, NO_DECODER, PLAIN },
    { "maskfeat-video", "MaskFeat's MViTv2 of videos, as SlowFast has it", "MaskFeat", "timm", NULL,
      { "tubelets", "*.attn.pool_q.weight", "mask_token|widening MLPs", NULL },
      1e-6f, MIM_GELU_ERF, POOL_THEN_NORM, MIM_POSITIONS_NONE, 0, 0,
      slowfast_mean, slowfast_std, { 224, 256, 0, 0, MIM_BILINEAR, NULL }, NULL, NO_DECODER, BIAS(MIM_BIAS_AXES) },
    { "mvitv2-video", "MViTv2 of videos, as SlowFast has it", "", "timm", NULL, { "tubelets", "*.attn.pool_q.weight", NULL },
      1e-6f, MIM_GELU_ERF, POOL_BY_NORM, MIM_POSITIONS_NONE, 0, 0,
      slowfast_mean, slowfast_std, { 224, 256, 0, 0, MIM_BILINEAR, NULL }, NULL, NO_DECODER, BIAS(MIM_BIAS_AXES) },
    { "tv-mvitv2", "torchvision's MViTv2 of videos", "", "torchvision", NULL, { NULL },
      1e-6f, MIM_GELU_ERF, POOL_BY_NORM, MIM_POSITIONS_NONE, 0, 0,
      slowfast_mean, slowfast_std, { 224, 256, 0, 0, MIM_BILINEAR, NULL }, NULL, NO_DECODER, BIAS(MIM_BIAS_AXES) },
    { "videomae", "VideoMAE, the authors' release", "VideoMAE", "timm", NULL, { "tubelets", "*.attn.q_bias", "!cls_token", NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_MEAN_ALL, MIM_POSITIONS_NONE, 0, 1,
      imagenet_mean, imagenet_std, { 224, 224, 1, 0, MIM_BILINEAR, NULL }, videomae_sizes, NO_DECODER, PLAIN },
    { "vjepa2", "V-JEPA 2, the authors' release", "V-JEPA 2", "timm", NULL, { "tubelets", "*.attn.qkv.bias", "!cls_token", NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_MEAN_ALL, MIM_POSITIONS_NONE, 0, 1,
      imagenet_mean, imagenet_std, { 256, 292, 0, 0, MIM_BILINEAR, NULL }, vjepa2_sizes, NO_DECODER, ROTARY_VIDEO },
    { "prithvi", "Prithvi-EO, the authors' release", "Prithvi", "timm", NULL, { "tubelets", "cls_token", "pos_embed", NULL },
      1e-5f, MIM_GELU_ERF, MIM_POOL_CLS, MIM_POSITIONS_CORNERS, 0, 1,
      NULL, NULL, SQUASHED, mae_sizes, NO_DECODER, PLAIN },
    { "satmae-groups", "SatMAE of groups of channels, the authors' release", "SatMAE", "timm", NULL,
      { "channel_embed", "pos_embed", "cls_token", NULL },
      1e-6f, MIM_GELU_ERF, POOL_BY_NORM, MIM_POSITIONS_CUBIC, 0, 0, NULL, NULL, SQUASHED, mae_sizes, NO_DECODER, PLAIN },
    { "satmae", "SatMAE of times, the authors' release", "SatMAE", "timm", NULL, { "narrow positions", "cls_token", NULL },
      1e-6f, MIM_GELU_ERF, POOL_BY_NORM, MIM_POSITIONS_CUBIC, 0, 0,
      satmae_mean, satmae_std, { 224, 256, 1, 0, MIM_BICUBIC, NULL }, mae_sizes, NO_DECODER, PLAIN },
    /* MAE's names and other positions; without its decoder nothing in the file tells */
    { "audiomae", "AudioMAE, the authors' release", "AudioMAE", "timm", NULL,
      { "decoder_blocks.0.attn.meta_mlp.fc1.weight", "decoder_blocks.0.attn.tau|decoder_blocks.0.attn.logit_scale", NULL },
      1e-6f, MIM_GELU_ERF, POOL_BY_NORM, MIM_POSITIONS_FIXED, 0, 1, NULL, NULL, SQUASHED, mae_sizes, NO_DECODER, PLAIN },
    { "presto", "Presto, the authors' release", "Presto", "presto", NULL, { NULL },
      1e-5f, MIM_GELU_ERF, MIM_POOL_MEAN_ALL, MIM_POSITIONS_NONE, 0, 1, NULL, NULL, SQUASHED, NULL, NO_DECODER, PLAIN },
    { "galileo", "Galileo, the authors' release", "Galileo", "galileo", NULL, { NULL },
      1e-5f, MIM_GELU_ERF, MIM_POOL_MEAN_ALL, MIM_POSITIONS_NONE, 0, 1, NULL, NULL, SQUASHED, galileo_sizes, NO_DECODER, PLAIN },
    { "hf-vjepa2", "transformers' VJEPA2", "V-JEPA 2", "vjepa2", "vjepa2", { NULL },
      0, 0, MIM_POOL_MEAN_ALL, MIM_POSITIONS_NONE, 0, 1, NULL, NULL, NO_PICTURE, NULL, NO_DECODER, ROTARY_VIDEO },
    { "hf-videomae", "transformers' VideoMAE", "VideoMAE", "transformers", "videomae", { "tubelets", NULL },
      0, 0, MIM_POOL_MEAN_ALL, MIM_POSITIONS_NONE, 0, 1, NULL, NULL, NO_PICTURE, NULL, NO_DECODER, PLAIN },
    /* Their names are those of MAE and BEiT, with others beside them. */
    { "ibot", "iBOT or AttMask, the authors' release", "iBOT", "timm", NULL,
      { "masked_embed|*.masked_embed|head.last_layer2.weight_g", "!decoder_embed.weight", "!layers.0.downsample.reduction.weight", NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_CLS, MIM_POSITIONS_CUBIC, 0.1f, 0,
      imagenet_mean, imagenet_std, { 224, 256, 0, 0, MIM_BICUBIC, NULL }, joint_sizes, NO_DECODER, PLAIN },
    { "msn", "MSN, the authors' release", "MSN", "timm", NULL, { "fc.fc1.weight", "cls_token", NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_CLS, MIM_POSITIONS_CUBIC, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 0, 0, MIM_BILINEAR, NULL }, joint_sizes, NO_DECODER, PLAIN },
    /* the authors' code for other sizes takes the first patch for a class token, and fails */
    { "ijepa", "I-JEPA, the authors' release", "I-JEPA", "timm", NULL,
      { "!cls_token", "!*.ls1.gamma", "pos_embed", "predictor.mask_token|predictor.module.mask_token", NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_FIXED, 0, 0,
      imagenet_mean, imagenet_std, NO_PICTURE, joint_sizes, NO_DECODER, PLAIN },
    { "mae-lite", "MAE-Lite, the authors' release", "MAE-Lite", "timm", NULL,
      { "module.model.decoder_embed.weight", NULL, NULL },
      1e-6f, MIM_GELU_ERF, POOL_BY_NORM, MIM_POSITIONS_CUBIC, 0, 0,
      imagenet_mean, imagenet_std, NO_PICTURE, mae_lite_sizes, { 96, 1, 384, 3 }, BIAS(MIM_BIAS_GEOMETRIC) },
    { "dmae", "DMAE, the authors' release", "DMAE", "timm", NULL,
      { "aligned_feature_projection_heads.0.weight|aligned_feature_projection_heads.0.fc1.weight", NULL, NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_CLS, MIM_POSITIONS_CUBIC, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 1, 0, MIM_BICUBIC, NULL }, distilled_sizes, { 512, 8, 2048, 16 }, PLAIN },
    { "sdae", "SdAE, the authors' release", "SdAE", "timm", NULL, { "model_teacher.patch_embed.proj.weight", NULL, NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_CLS, MIM_POSITIONS_CUBIC, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 1, 0, MIM_BICUBIC, NULL }, distilled_sizes, NO_DECODER, PLAIN },
    { "milan", "MILAN, the authors' release", "MILAN", "timm", NULL, { "decoder_embed.weight", "decoder_blocks.0.attn.kv.weight", NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_CLS, MIM_POSITIONS_CUBIC, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 1, 0, MIM_BICUBIC, NULL }, distilled_sizes, NO_DECODER, PLAIN },
    { "tinymim", "TinyMIM, the authors' release", "TinyMIM", "timm", NULL, BY_OPTION,
      1e-6f, MIM_GELU_ERF, POOL_BY_NORM, MIM_POSITIONS_CUBIC, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 1, 0, MIM_BICUBIC, NULL }, tinymim_sizes, NO_DECODER, PLAIN },
    { "semmae", "SemMAE, the authors' release", "SemMAE", "timm", NULL, BY_OPTION,
      1e-6f, MIM_GELU_ERF, POOL_BY_NORM, MIM_POSITIONS_CUBIC, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 1, 0, MIM_BICUBIC, NULL }, mae_sizes, { 512, 8, 2048, 16 }, PLAIN },
    { "localmim", "LocalMIM's ViT, the authors' release", "LocalMIM", "timm", NULL, { "norm.3.weight", "decoder.3.embed.weight", "!layers.0.downsample.reduction.weight", NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_CLS, MIM_POSITIONS_CUBIC, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 1, 0, MIM_BICUBIC, NULL }, distilled_sizes, NO_DECODER, PLAIN },
    { "bootmae", "BootMAE, the authors' release", "BootMAE", "timm", NULL, { "decode_norm_1.weight", "pos_embed", "*.attn.q_bias" },
      1e-6f, MIM_GELU_ERF, POOL_BY_NORM, MIM_POSITIONS_FIXED, 0, 0, NULL, NULL, NO_PICTURE, base_sizes, NO_DECODER, PLAIN },
    /* SlowFast: the tokens are averaged first, then normed */
    { "maskfeat", "MaskFeat's ViT, as SlowFast has it", "MaskFeat", "timm", NULL,
      { "pred_head.**|head.projection.weight", "cls_token", "pos_embed", "!*.attn.rel_pos_h", "!*.attn.pool_q.weight" },
      1e-6f, MIM_GELU_ERF, POOL_THEN_NORM, MIM_POSITIONS_LINEAR, 0, 0,
      imagenet_mean, imagenet_std, NO_PICTURE, base_sizes, NO_DECODER, PLAIN },
    { "maskdistill", "MaskDistill", "MaskDistill", "timm", NULL, { "distill_head.weight", "*.relative_position_bias_table", NULL },
      1e-6f, MIM_GELU_ERF, POOL_BY_NORM, MIM_POSITIONS_FIXED, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER,
      BIAS(MIM_BIAS_GEOMETRIC) },
    { "data2vec", "data2vec-vision, the authors' release", "data2vec", "timm", NULL, BY_OPTION,
      1e-6f, MIM_GELU_ERF, POOL_BY_NORM, MIM_POSITIONS_FIXED, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER,
      BIAS(MIM_BIAS_GEOMETRIC) },
    /* EVA's tensors, but the norms follow the attention and the MLP */
    { "eva02-clip-e", "EVA-02-CLIP E, the authors' release", "EVA-CLIP", "timm", NULL,
      { "1792 wide", "pos_embed", "*.attn.q_bias", NULL },
      1e-6f, MIM_GELU_ERF, POOL_BY_NORM, MIM_POSITIONS_CUBIC, 0, 0,
      clip_mean, clip_std, { 224, 224, 1, 0, MIM_BICUBIC, NULL }, clip_e_sizes, NO_DECODER, POST_NORM },
    { "cmae", "CMAE, the authors' release", "CMAE", "mmpretrain", NULL, { "target_projector.**|pixel_decoder.**", NULL, NULL },
      1e-6f, MIM_GELU_ERF, POOL_BY_NORM, MIM_POSITIONS_CUBIC, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 0, 0, MIM_BICUBIC, NULL }, base_sizes, NO_DECODER, PLAIN },
    { "mmpretrain", "mmpretrain's ViT", "", "mmpretrain", NULL, { NULL, NULL, NULL },
      1e-6f, MIM_GELU_ERF, POOL_BY_NORM, MIM_POSITIONS_CUBIC, 0, 0, NULL, NULL, NO_PICTURE, base_sizes, NO_DECODER, PLAIN },

    /* Windows and pyramids. Swin at other sizes as in timm: windows stay what they are, and tables that windows grow out of follow BEiT's rule. */
    { "swinv2", "Swin V2, the authors' release", "", "timm", NULL, { "layers.0.downsample.reduction.weight", "*.attn.logit_scale", NULL },
      1e-5f, MIM_GELU_ERF, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_FIXED, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 0, 0, MIM_BICUBIC, NULL }, NULL, NO_DECODER, BIAS(MIM_BIAS_CROP) },
    { "timm-swinv2", "timm's Swin V2", "", "timm", NULL, { "layers.1.downsample.reduction.weight", "*.attn.logit_scale", NULL },
      1e-5f, MIM_GELU_ERF, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_FIXED, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER,
      BIAS(MIM_BIAS_CROP) },
    { "simmim-swin", "SimMIM's Swin, the authors' release", "SimMIM", "timm", NULL,
      { "layers.0.downsample.reduction.weight", "decoder.0.weight", NULL },
      1e-5f, MIM_GELU_ERF, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_FIXED, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 0, 0, MIM_BICUBIC, NULL }, NULL, NO_DECODER, BIAS(MIM_BIAS_GEOMETRIC) },
    /* its teacher alone has Swin's names */
    { "ibot-swin", "iBOT's Swin, the authors' release", "iBOT", "timm", NULL,
      { "layers.0.downsample.reduction.weight", "masked_embed|*.masked_embed|head.last_layer2.weight_g", NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_FIXED, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 0, 0, MIM_BICUBIC, NULL }, NULL, NO_DECODER, BIAS(MIM_BIAS_FIXED) },
    { "greenmim", "GreenMIM's Swin, the authors' release", "GreenMIM", "timm", NULL,
      { "layers.0.downsample.reduction.weight", "decoder_embed.weight", "!absolute_pos_embed", NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_FIXED, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 0, 0, MIM_BICUBIC, NULL }, NULL, NO_DECODER, BIAS(MIM_BIAS_GEOMETRIC) },
    { "localmim-swin", "LocalMIM's Swin, the authors' release", "LocalMIM", "timm", NULL,
      { "layers.0.downsample.reduction.weight", "norm.3.weight", NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_FIXED, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 0, 0, MIM_BICUBIC, NULL }, NULL, NO_DECODER, BIAS(MIM_BIAS_GEOMETRIC) },
    { "mixmim", "MixMIM, the authors' release", "MixMIM", "timm", NULL,
      { "layers.0.downsample.reduction.weight", "decoder_embed.weight", "absolute_pos_embed", NULL },
      1e-5f, MIM_GELU_ERF, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_FIXED, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 0, 0, MIM_BICUBIC, NULL }, NULL, NO_DECODER, BIAS(MIM_BIAS_GEOMETRIC) },
    { "um-mae-swin", "UM-MAE's Swin, the authors' release", "UM-MAE", "timm", NULL, { "*.attn.posmlp.0.weight", "*.downsample.proj.weight", NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_FIXED, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 1, 0, MIM_BICUBIC, NULL }, NULL, NO_DECODER, BIAS(MIM_BIAS_CROP) },
    { "um-mae-pvt", "UM-MAE's PVT, the authors' release", "UM-MAE", "timm", NULL, { "*.attn.sr.weight", "*.downsample.proj.weight", NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_CUBIC, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 1, 0, MIM_BICUBIC, NULL }, pvt_sizes, NO_DECODER, PLAIN },
    { "greenmim-twins", "GreenMIM's Twins, the authors' release", "GreenMIM", "twins", NULL, { "decoder_embed.weight", NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_NONE, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 0, 0, MIM_BICUBIC, NULL }, twins_sizes, NO_DECODER, PLAIN },
    { "timm-twins", "timm's Twins, and the authors'", "", "twins", NULL, { NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_NONE, 0, 0, NULL, NULL, NO_PICTURE, twins_sizes, NO_DECODER, PLAIN },
    { "swin", "Swin, the authors' release", "", "timm", NULL, { "layers.0.downsample.reduction.weight", NULL },
      1e-5f, MIM_GELU_ERF, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_FIXED, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 0, 0, MIM_BICUBIC, NULL }, NULL, NO_DECODER, BIAS(MIM_BIAS_GEOMETRIC) },
    { "timm-swin", "timm's Swin", "", "timm", NULL, { "layers.1.downsample.reduction.weight", NULL },
      1e-5f, MIM_GELU_ERF, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_FIXED, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER,
      BIAS(MIM_BIAS_GEOMETRIC) },
    { "sam", "SAM's image encoder, the authors' release", "SAM", "timm", NULL, { "*.attn.rel_pos_h", "*.mlp.lin1.weight", NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_FIXED, 0, 0,
      imagenet_mean, imagenet_std, { 1024, EDGE_PADDED, 0, 0, MIM_BILINEAR, NULL }, NULL, NO_DECODER, BIAS(MIM_BIAS_AXES) },
    { "efficientsam", "EfficientSAM's image encoder, the authors' release", "SAMI", "timm", NULL,
      { "neck.0.weight", "!*.attn.rel_pos_h", NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_CUBIC, 0, 0,
      imagenet_mean, imagenet_std, { 1024, 0, 0, 0, MIM_BILINEAR, NULL }, efficientsam_sizes, NO_DECODER, PLAIN },
    { "timm-mvitv2", "timm's MViTv2", "", "timm", NULL, { "stages.0.blocks.0.attn.pool_q.weight", NULL },
      1e-6f, MIM_GELU_ERF, POOL_BY_NORM, MIM_POSITIONS_FIXED, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER, BIAS(MIM_BIAS_AXES) },
    { "maskfeat-mvitv2", "MaskFeat's MViTv2, the authors' release", "MaskFeat", "timm", NULL,
      { "*.attn.pool_q.weight", "mask_token", NULL },
      1e-6f, MIM_GELU_ERF, POOL_BY_NORM, MIM_POSITIONS_FIXED, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 0, 0, MIM_BICUBIC, NULL }, NULL, NO_DECODER, BIAS(MIM_BIAS_AXES) },
    { "mvitv2", "MViTv2, the authors' release", "", "timm", NULL, { "*.attn.pool_q.weight", NULL },
      1e-6f, MIM_GELU_ERF, POOL_BY_NORM, MIM_POSITIONS_FIXED, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 0, 0, MIM_BICUBIC, NULL }, NULL, NO_DECODER, BIAS(MIM_BIAS_AXES) },
    { "timm-sam", "timm's SAM", "SAM", "timm", NULL, { "*.attn.rel_pos_h", NULL },
      1e-5f, MIM_GELU_ERF, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_CUBIC_ANTIALIAS, 0, 1, NULL, NULL, NO_PICTURE, NULL, NO_DECODER,
      BIAS(MIM_BIAS_AXES) },
    { "convmae", "ConvMAE, the authors' release", "ConvMAE", "timm", NULL, { "patch_embed4.weight", NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_FIXED, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 0, 0, MIM_BICUBIC, NULL }, convmae_sizes, NO_DECODER, PLAIN },
    { "itpn", "iTPN, the authors' release", "iTPN", "timm", NULL, { "align_dim_16tofpn.weight", NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_CUBIC, 0.1f, 0,
      imagenet_mean, imagenet_std, { 224, 256, 0, 0, MIM_BICUBIC, NULL }, hivit_sizes, NO_DECODER, PLAIN },
    { "fast-itpn", "Fast-iTPN, the authors' release", "iTPN", "timm", NULL, { "*.reduction.weight", "*.mlp.w1.weight", "pos_embed", NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_CUBIC, 0, 0,
      imagenet_mean, imagenet_std, NO_PICTURE, fast_itpn_sizes, NO_DECODER, SWIGLU },
    { "hivit", "HiViT, the authors' release", "MAE", "timm", NULL, { "blocks.0.norm2.weight", "*.reduction.weight", "absolute_pos_embed|pos_embed", NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_FIXED, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 0, 0, MIM_BICUBIC, NULL }, hivit_sizes, NO_DECODER, PLAIN },
    { "timm-hiera", "timm's Hiera", "MAE", "timm", NULL, { "widening blocks", "head.norm.weight|pos_embed_win", NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_FIXED, 0, 0, NULL, NULL, NO_PICTURE, hiera_sizes, NO_DECODER, PLAIN },
    { "hiera", "Hiera, the authors' release", "MAE", "timm", NULL, { "widening blocks", NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_FIXED, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 0, 0, MIM_BICUBIC, NULL }, hiera_sizes, NO_DECODER, PLAIN },
    { "mae", "the MAE authors' release", "MAE", "timm", NULL, { "decoder_embed.weight", "decoder_pred.weight", NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_CLS, MIM_POSITIONS_CUBIC, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 1, 0, MIM_BICUBIC, NULL }, mae_sizes, { 512, 8, 2048, 16 }, PLAIN },
    { "dinov3", "DINOv3, the authors' release", "DINOv3", "timm", NULL, { "rope_embed.periods|storage_tokens", NULL },
      1e-5f, MIM_GELU_ERF, MIM_POOL_CLS, MIM_POSITIONS_NONE, 0, 1,
      imagenet_mean, imagenet_std, { 256, 0, 0, 0, MIM_BILINEAR, dinov3_satellite }, NULL, NO_DECODER, ROTARY_DINOV3(MIM_SILU) },
    /* with registers the authors interpolate antialiased to the exact size; without, plainly and by a factor with 0.1 in it */
    { "dinov2-reg", "DINOv2 with registers, the authors' release", "DINOv2", "timm", NULL, { "register_tokens", NULL, NULL },
      1e-6f, MIM_GELU_ERF, MIM_POOL_CLS, MIM_POSITIONS_CUBIC_ANTIALIAS, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 0, 518, MIM_BICUBIC, NULL }, dinov2_sizes, NO_DECODER, SWIGLU },
    { "dinov2", "DINOv2, the authors' release", "DINOv2", "timm", NULL, { "mask_token", "*.ls1.gamma", "!decoder_embed.weight" },
      1e-6f, MIM_GELU_ERF, MIM_POOL_CLS, MIM_POSITIONS_CUBIC, 0.1f, 0,
      imagenet_mean, imagenet_std, { 224, 256, 0, 518, MIM_BICUBIC, NULL }, dinov2_sizes, NO_DECODER, SWIGLU },
    /* Relative positions go to other grids by timm's rule; the authors' fine-tuning code has splines through the same knots. */
    { "simmim", "SimMIM's ViT, the authors' release", "SimMIM", "timm", NULL,
      { "decoder.0.weight", "*.relative_position_bias_table", NULL },
      1e-6f, MIM_GELU_ERF, POOL_BY_NORM, MIM_POSITIONS_FIXED, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 0, 0, MIM_BICUBIC, NULL }, NULL, NO_DECODER, BIAS(MIM_BIAS_GEOMETRIC) },
    { "beit", "BEiT, names that timm and the authors share", "BEiT", "timm", NULL, { "*.relative_position_bias_table", NULL },
      1e-6f, MIM_GELU_ERF, POOL_BY_NORM, MIM_POSITIONS_FIXED, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER,
      BIAS(MIM_BIAS_GEOMETRIC) },
    { "cae", "CAE, the authors' release", "CAE", "timm", NULL, { "alignment_encoder.cls_token", NULL },
      1e-6f, MIM_GELU_ERF, POOL_BY_NORM, MIM_POSITIONS_CUBIC, 0, 0,
      imagenet_mean, imagenet_std, { 224, 256, 0, 0, MIM_BICUBIC, NULL }, cae_sizes, NO_DECODER, PLAIN },
    { "eva02-clip", "EVA-02-CLIP, the authors' release", "EVA-CLIP", "timm", NULL,
      { "*.attn.inner_attn_ln.weight", "gated MLP", "pos_embed", NULL },
      1e-6f, MIM_GELU_ERF, POOL_BY_NORM, MIM_POSITIONS_CUBIC, 0, 0,
      clip_mean, clip_std, { 224, 224, 1, 0, MIM_BICUBIC, NULL }, eva02_sizes, NO_DECODER, ROTARY_CAT },
    { "eva02", "EVA-02, the authors' release", "EVA-02", "timm", NULL,
      { "*.mlp.w12.weight|*.mlp.w1.weight", "*.attn.q_bias", "pos_embed", NULL },
      1e-6f, MIM_GELU_ERF, POOL_BY_NORM, MIM_POSITIONS_CUBIC, 0, 0,
      clip_mean, clip_std, { 224, 256, 1, 0, MIM_BICUBIC, NULL }, eva02_sizes, NO_DECODER, ROTARY_CAT },
    { "timm-eva02", "timm's EVA-02", "EVA-02", "timm", NULL,
      { "gated MLP", "pos_embed", "*.attn.q_bias|*.attn.q_proj.bias", "!*.ls1.gamma", NULL },
      1e-6f, MIM_GELU_ERF, POOL_BY_NORM, MIM_POSITIONS_CUBIC_ANTIALIAS, 0, 1, NULL, NULL, NO_PICTURE, eva02_sizes, NO_DECODER,
      ROTARY_CAT },
    /* EVA, and what has its names and its arithmetic: CAE's encoder alone, BEiT with absolute positions only */
    { "eva", "EVA, names that timm and the authors share", "", "timm", NULL, { "pos_embed", "*.attn.q_bias", NULL },
      1e-6f, MIM_GELU_ERF, POOL_BY_NORM, MIM_POSITIONS_FIXED, 0, 0, NULL, NULL, NO_PICTURE, eva_sizes, NO_DECODER, PLAIN },
    { "timm-dinov3", "timm's DINOv3", "DINOv3", "timm", NULL,
      { "reg_token", "cls_token", "*.gamma_1", "!pos_embed", "!*.attn.qkv.bias" },
      1e-5f, MIM_GELU_ERF, 0, MIM_POSITIONS_NONE, 0, 1, NULL, NULL, NO_PICTURE, NULL, NO_DECODER, ROTARY_DINOV3(MIM_SILU) },
    { "timm-rope", "timm's ViT with registers and rotary positions", "", "timm", NULL,
      { "reg_token", "!cls_token", "*.gamma_1", "!pos_embed", NULL },
      1e-6f, MIM_GELU_ERF, POOL_BY_NORM, MIM_POSITIONS_NONE, 0, 1, NULL, NULL, NO_PICTURE, NULL, NO_DECODER, ROTARY_CAT },
    { "timm-clip", "timm's CLIP", "", "timm", NULL, { "norm_pre.weight", "pos_embed", NULL },
      1e-5f, 0, 0, MIM_POSITIONS_CUBIC_ANTIALIAS, 0, 1, NULL, NULL, NO_PICTURE, NULL, NO_DECODER, PLAIN },
    { "timm", "timm", "", "timm", NULL, { "reg_token", NULL, NULL },
      1e-6f, MIM_GELU_ERF, 0, MIM_POSITIONS_CUBIC_ANTIALIAS, 0, 1, NULL, NULL, NO_PICTURE, NULL, NO_DECODER, PLAIN },
    /* the names alone do not tell timm's files from the MAE authors': only what both share */
    { "vit", "names that timm and the MAE authors share", "", "timm", NULL, { NULL, NULL, NULL },
      1e-6f, MIM_GELU_ERF, 0, MIM_POSITIONS_FIXED, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER, PLAIN },

    { "clip-gguf", "a vision encoder as clip.cpp keeps it", "", "clip", NULL, { NULL },
      0, 0, POOL_BY_NORM, MIM_POSITIONS_FIXED, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER, PLAIN },

    { "open-clip", "CLIP, as OpenAI and open_clip keep it", "", "open-clip", NULL, { "ln_pre.weight", NULL },
      1e-5f, 0, POOL_BY_NORM, MIM_POSITIONS_CUBIC_ANTIALIAS, 0, 0,
      clip_mean, clip_std, { 224, 224, 1, 0, MIM_BICUBIC, NULL }, clip_sizes, NO_DECODER, PLAIN },
    { "hf-clip", "transformers' CLIPVision", "", "hf-clip", "clip|clip_vision_model", { "pre_layrnorm.weight", NULL },
      0, 0, CLS_THEN_NORM, MIM_POSITIONS_CUBIC, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER, PLAIN },
    { "hf-vit_mae", "transformers' ViTMAE", "MAE", "transformers", "vit_mae", { "decoder.decoder_embed.weight", NULL, NULL },
      0, 0, MIM_POOL_CLS, MIM_POSITIONS_CUBIC, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER, PLAIN },
    { "hf-swinv2", "transformers' Swinv2", "", "transformers", "swinv2", { "*.logit_scale", NULL },
      0, 0, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_CUBIC, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER, BIAS(MIM_BIAS_CROP) },
    { "hf-swin", "transformers' Swin", "", "transformers", "swin", { "*.downsample.reduction.weight", NULL },
      0, 0, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_CUBIC, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER, BIAS(MIM_BIAS_FIXED) },
    { "hf-sam", "transformers' Sam", "SAM", "transformers", "sam|sam_vision_model", { "neck.conv1.weight", NULL },
      0, 0, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_FIXED, 0, 0,
      imagenet_mean, imagenet_std, { 1024, EDGE_PADDED, 0, 0, MIM_BILINEAR, NULL }, NULL, NO_DECODER, BIAS(MIM_BIAS_AXES) },
    { "hf-hiera", "transformers' Hiera", "MAE", "transformers", "hiera", { "widening blocks", NULL },
      0, 0, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_CUBIC, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER, PLAIN },
    { "hf-dinov3", "transformers' DINOv3ViT", "DINOv3", "transformers", "dinov3_vit",
      { "embeddings.patch_embeddings.weight", "!embeddings.position_embeddings", NULL },
      0, 0, MIM_POOL_CLS, MIM_POSITIONS_NONE, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER, ROTARY_DINOV3(0) },
    { "hf-dinov2-reg", "transformers' Dinov2WithRegisters", "DINOv2", "transformers", "dinov2_with_registers",
      { "embeddings.register_tokens", NULL, NULL },
      0, 0, MIM_POOL_CLS, MIM_POSITIONS_CUBIC_ANTIALIAS, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER, PLAIN },
    { "hf-dinov2", "transformers' Dinov2", "DINOv2", "transformers", "dinov2", { "*.layer_scale1.lambda1", NULL, NULL },
      0, 0, MIM_POOL_CLS, MIM_POSITIONS_CUBIC, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER, SWIGLU },
    { "hf-beit", "transformers' Beit", "BEiT", "transformers", "beit", { "*.relative_position_bias_table", NULL },
      0, 0, POOL_BY_NORM, MIM_POSITIONS_CUBIC, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER, BIAS(MIM_BIAS_LINEAR) },
    /* without a config.json a Beit: same names, same rules */
    { "hf-data2vec", "transformers' Data2VecVision", "data2vec", "transformers", "data2vec-vision",
      { "*.relative_position_bias_table", NULL },
      0, 0, POOL_BY_NORM, MIM_POSITIONS_CUBIC, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER, BIAS(MIM_BIAS_LINEAR) },
    { "hf-ijepa", "transformers' IJepa", "I-JEPA", "transformers", "ijepa", { "!embeddings.cls_token", NULL, NULL },
      0, 0, MIM_POOL_MEAN_PATCHES, MIM_POSITIONS_CUBIC, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER, PLAIN },
    /* without a config.json also ViTMSN and ViTMAE without its decoder: same names, same rules */
    { "hf-vit", "transformers' ViT", "", "transformers", "vit", { NULL, NULL, NULL },
      0, 0, MIM_POOL_CLS, MIM_POSITIONS_CUBIC, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER, PLAIN },
    { "hf-vit_msn", "transformers' ViTMSN", "MSN", "transformers", "vit_msn", { NULL, NULL, NULL },
      0, 0, MIM_POOL_CLS, MIM_POSITIONS_CUBIC, 0, 0, NULL, NULL, NO_PICTURE, NULL, NO_DECODER, PLAIN },
};
#define FAMILY_COUNT (sizeof families / sizeof *families)

static const scheme schemes[] = {
    { "hiera-video", MADE_FRAME_SUMS, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL },
    { "maskfeat-video", MADE_NOTHING, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL },
    { "mvitv2-video", MADE_NOTHING, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL },
    { "um-mae-swin", MADE_NOTHING, 1, 256, 256, 0, 0, 0, 0, 0, NULL, NULL },
    { "tv-mvitv2", MADE_NOTHING, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL },
    { "videomae", MADE_NUMBER_WAVES, 16, 224, 224, 0, 0, 0, 0, 0, NULL, NULL },
    { "hf-videomae", MADE_NUMBER_WAVES, 16, 224, 224, 0, 0, 0, 1e-5f, 0, NULL, NULL },     /* its fc_norm is PyTorch's default */
    { "vjepa2", MADE_TURNS, 64, 0, 0, 0, 0, 0, 0, 0, NULL, NULL },
    { "hf-vjepa2", MADE_TURNS, 64, 0, 0, 0, 0, 0, 0, 0, NULL, NULL },
    { "prithvi", MADE_FRAME_WAVES, 0, 0, 0, 0, 0, 0, 0, 6, prithvi_mean, prithvi_std },
    { "satmae", MADE_DATE_WAVES, 3, 0, 0, 0, 0, 0, 0, 0, NULL, NULL },
    { "satmae-groups", MADE_GROUPS, 1, 0, 0, 0, 0, 0, 0, MIM_MAX_CHANNELS, no_mean, no_std },
    { "audiomae", MADE_NOTHING, 1, 1024, 128, 0, 0, 0, 0, 1, audiomae_mean, audiomae_std },
    { "presto", MADE_VECTORS, 1, 0, 0, 8, 218, 1, 0, MIM_MAX_CHANNELS, no_mean, no_std },     /* of 24 months */
    { "galileo", MADE_VECTORS, 1, 0, 0, 0, 247, 0, 0, MIM_MAX_CHANNELS, no_mean, no_std },    /* of 24 months in one place */
};

const scheme *family_scheme(const family *f)
{
    static const scheme nothing = { NULL, MADE_NOTHING, 1, 0, 0, 0, 0, 0, 0, 0, NULL, NULL };
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (strcmp(schemes[i].family, f->name) == 0)
            return &schemes[i];
    return &nothing;
}

const vector_row *family_vectors(const family *f) { return naming_vectors(f->naming); }


static const struct { const char *families; layout layout; } layouts[] = {
    { " swin simmim-swin ", { .window = MIM_WINDOW_FIT, .one_window = 1, .shifts = 1, .mask = 100, .eps = 1e-5f } },
    { " timm-swin ", { .window = MIM_WINDOW_FIT, .shifts = 1, .mask = 100, .eps = 1e-5f } },
    { " greenmim localmim-swin ", { .window = MIM_WINDOW_FIT, .one_window = 1, .shifts = 1, .mask = 100, .eps = 1e-6f, .by_rows = 1 } },
    { " ibot-swin ", { .window = MIM_WINDOW_FIXED, .shifts = 1, .roll_padded = 1, .mask = 100, .frozen = 1, .eps = 1e-6f } },
    { " mixmim ", { .window = MIM_WINDOW_FIT, .eps = 1e-5f } },
    { " hf-swin ", { .window = MIM_WINDOW_SQUARE, .shifts = 1, .roll_padded = 1, .mask = 100, .eps = 1e-5f } },
    { " swinv2 timm-swinv2 ", { .window = MIM_WINDOW_FIT, .shifts = 1, .mask = 100, .eps = 1e-5f, .post_norm = 1 } },
    /* which adds its mask twice */
    { " hf-swinv2 ", { .window = MIM_WINDOW_FIXED, .shifts = 1, .roll_padded = 1, .mask = 200, .frozen = 1, .eps = 1e-5f, .post_norm = 1 } },
    /* windows and pictures as it is fine-tuned: it pretrains on a quarter of the patches, in windows half as wide */
    { " um-mae-swin ", { .window = MIM_WINDOW_SQUARE, .side = 16, .shifts = 1, .roll_padded = 1, .mask = 100, .whole = 1, .token_norm = 1,
                         .block_eps = 1e-5f } },
    { " um-mae-pvt ", { .whole = 1, .key_stride = 8, .eps = 1e-5f, .block_eps = 1e-5f } },
    { " timm-twins ", { .window = MIM_WINDOW_FIXED, .side = 7, .whole = 1, .eps = 1e-5f } },
    /* its sparse convolutions have the channels last; what is around a token tells its place, without the token itself */
    { " greenmim-twins ", { .window = MIM_WINDOW_FIXED, .side = 7, .whole = 1, .by_rows = 1, .bare_grid_conv = 1 } },
    { " sam timm-sam hf-sam ", { .eps = 1e-6f } },
    { " efficientsam ", { .eps = 1e-6f, .extra_positions = 1 } },
    { " hiera ", { .stride = 4, .pools = 3, .unit_stages = 2, .pool_norm = 1 } },
    { " hiera-video ", { .stride = 4, .frame_stride = 2, .pools = 3, .unit_stages = 2, .pool_norm = 1 } },
    { " timm-hiera hf-hiera ", { .stride = 4, .pools = 3, .unit_stages = 2 } },
    { " hivit itpn ", { .by_rows = 0 } },
    { " fast-itpn ", { .token_norm = 1 } },
    { " convmae ", { .eps = 1e-5f, .activation = MIM_GELU_ERF } },
    { " mvitv2 timm-mvitv2 ", { .stride = 4, .key_stride = 4, .prefix_query = 1 } },
    { " maskfeat-mvitv2 ", { .stride = 4, .key_stride = 4 } },
    { " maskfeat-video mvitv2-video tv-mvitv2 ", { .stride = 4, .frame_stride = 2, .key_stride = 8 } },
};

/* timm's architectures by family, number of heads and activation (0: the family's), read in timm 1.0.31. */
static const struct { const char *family; uint32_t heads, activation; const char *names; } architectures[] = {
    { "timm", 3, MIM_GELU_ERF, " vit_tiny_patch16_224 vit_tiny_patch16_384 deit_tiny_patch16_224 " },
    { "timm", 4, MIM_GELU_ERF, " vit_wee_patch16_reg1_gap_256 vit_dwee_patch16_reg1_gap_256 " },
    { "timm", 5, MIM_GELU_ERF, " vit_little_patch16_reg1_gap_256 vit_little_patch16_reg4_gap_256 vit_dlittle_patch16_reg1_gap_256 " },
    { "timm", 6, MIM_GELU_ERF, " vit_small_patch8_224 vit_small_patch16_224 vit_small_patch16_384 vit_small_patch32_224"
                       " vit_small_patch32_384 vit_small_patch16_36x1_224 vit_small_patch14_dinov2"
                       " vit_small_patch14_reg4_dinov2 flexivit_small deit_small_patch16_224 deit3_small_patch16_224"
                       " deit3_small_patch16_384 " },
    { "timm", 8, MIM_GELU_ERF, " vit_medium_patch16_gap_240 vit_medium_patch16_gap_256 vit_medium_patch16_gap_384"
                       " vit_medium_patch16_reg1_gap_256 vit_medium_patch16_reg4_gap_256 vit_mediumd_patch16_reg4_gap_256"
                       " vit_mediumd_patch16_reg4_gap_384 deit3_medium_patch16_224 " },
    { "timm", 10, MIM_GELU_ERF, " vit_betwixt_patch16_gap_256 vit_betwixt_patch16_reg1_gap_256 vit_betwixt_patch16_reg4_gap_256"
                        " vit_betwixt_patch16_reg4_gap_384 " },
    { "timm", 12, MIM_GELU_ERF, " vit_base_patch8_224 vit_base_patch16_224 vit_base_patch16_384 vit_base_patch32_224"
                        " vit_base_patch32_384 vit_base_patch16_224_miil vit_base_patch14_dinov2"
                        " vit_base_patch14_reg4_dinov2 vit_base_patch16_reg4_gap_256 vit_base_patch16_siglip_gap_224"
                        " vit_base_patch16_siglip_gap_256 vit_base_patch16_siglip_gap_384"
                        " vit_base_patch16_siglip_gap_512 flexivit_base deit_base_patch16_224 deit_base_patch16_384"
                        " deit3_base_patch16_224 deit3_base_patch16_384 " },
    { "timm", 12, MIM_GELU_TANH, " vit_base_patch32_siglip_gap_256 " },
    { "timm", 13, MIM_GELU_ERF, " vit_so150m2_patch16_reg1_gap_256 vit_so150m2_patch16_reg1_gap_384 vit_so150m2_patch16_reg1_gap_448 " },
    { "timm", 14, MIM_GELU_ERF, " vit_base_patch16_plus_240 vit_base_patch32_plus_256 vit_so150m_patch16_reg4_gap_256"
                        " vit_so150m_patch16_reg4_gap_384 " },
    { "timm", 16, MIM_GELU_ERF, " vit_large_patch14_224 vit_large_patch16_224 vit_large_patch16_384 vit_large_patch32_224"
                        " vit_large_patch32_384 vit_large_patch14_dinov2 vit_large_patch14_reg4_dinov2"
                        " vit_huge_patch14_224 vit_giant_patch14_224 vit_gigantic_patch14_224 vit_base_patch16_gap_224"
                        " vit_huge_patch14_gap_224 vit_huge_patch16_gap_448 vit_giant_patch16_gap_224"
                        " vit_large_patch16_siglip_gap_256 vit_large_patch16_siglip_gap_384"
                        " vit_so400m_patch14_siglip_gap_224 vit_so400m_patch14_siglip_gap_378"
                        " vit_so400m_patch14_siglip_gap_384 vit_so400m_patch14_siglip_gap_448"
                        " vit_so400m_patch14_siglip_gap_896 vit_intern300m_patch14_448 eva_large_patch14_196"
                        " eva_large_patch14_336 flexivit_large deit3_large_patch16_224 deit3_large_patch16_384"
                        " deit3_huge_patch14_224 " },
    { "timm", 16, MIM_GELU_TANH, " vit_large_patch16_siglip_gap_512 vit_so400m_patch16_siglip_gap_256"
                         " vit_so400m_patch16_siglip_gap_384 vit_so400m_patch16_siglip_gap_512"
                         " vit_giantopt_patch16_siglip_gap_256 vit_giantopt_patch16_siglip_gap_384 " },
    { "timm", 24, MIM_SILU, " vit_giant_patch14_dinov2 vit_giant_patch14_reg4_dinov2 " },
    { "beit", 12, 0, " beit_base_patch16_224 beit_base_patch16_384 beitv2_base_patch16_224 " },
    { "beit", 16, 0, " beit_large_patch16_224 beit_large_patch16_384 beit_large_patch16_512 beitv2_large_patch16_224 " },
    { "eva", 16, 0, " eva_giant_patch14_224 eva_giant_patch14_336 eva_giant_patch14_560 eva_giant_patch14_clip_224 " },
    { "timm-eva02", 3, 0, " eva02_tiny_patch14_224 eva02_tiny_patch14_336 " },
    { "timm-eva02", 6, 0, " eva02_small_patch14_224 eva02_small_patch14_336 " },
    { "timm-eva02", 12, 0, " eva02_base_patch14_224 eva02_base_patch14_448 " },
    { "timm-eva02", 16, 0, " eva02_large_patch14_224 eva02_large_patch14_448 " },
    { "timm-eva02", 12, 0, " eva02_base_patch16_clip_224 " },
    { "timm-eva02", 16, 0, " eva02_large_patch14_clip_224 eva02_large_patch14_clip_336 " },
    { "timm-clip", 4, MIM_GELU_ERF, " vit_xsmall_patch16_clip_224 " },
    { "timm-clip", 8, MIM_GELU_ERF, " vit_medium_patch32_clip_224 vit_medium_patch16_clip_224 " },
    { "timm-clip", 10, MIM_GELU_ERF, " vit_betwixt_patch32_clip_224 " },
    { "timm-clip", 12, MIM_GELU_ERF, " vit_base_patch32_clip_224 vit_base_patch32_clip_256 vit_base_patch32_clip_384"
                             " vit_base_patch32_clip_448 vit_base_patch16_clip_224 vit_base_patch16_clip_384 " },
    { "timm-clip", 12, MIM_GELU_QUICK, " vit_base_patch32_clip_quickgelu_224 vit_base_patch16_clip_quickgelu_224 " },
    { "timm-clip", 14, MIM_GELU_ERF, " vit_base_patch16_plus_clip_240 " },
    { "timm-clip", 16, MIM_GELU_ERF, " vit_large_patch14_clip_224 vit_large_patch14_clip_336 vit_huge_patch14_clip_224"
                             " vit_huge_patch14_clip_336 vit_huge_patch14_clip_378 vit_giant_patch14_clip_224"
                             " vit_gigantic_patch14_clip_224 vit_gigantic_patch14_clip_378 " },
    { "timm-clip", 16, MIM_GELU_QUICK, " vit_large_patch14_clip_quickgelu_224 vit_large_patch14_clip_quickgelu_336"
                             " vit_huge_patch14_clip_quickgelu_224 vit_huge_patch14_clip_quickgelu_378"
                             " vit_gigantic_patch14_clip_quickgelu_224 " },
    { "timm-dinov3", 3, 0, " vit_tiny_patch16_dinov3_qkvb " },
    { "timm-dinov3", 6, 0, " vit_small_patch16_dinov3 vit_small_patch16_dinov3_qkvb vit_small_plus_patch16_dinov3"
                           " vit_small_plus_patch16_dinov3_qkvb " },
    { "timm-dinov3", 12, 0, " vit_base_patch16_dinov3 vit_base_patch16_dinov3_qkvb " },
    { "timm-dinov3", 16, 0, " vit_large_patch16_dinov3 vit_large_patch16_dinov3_qkvb " },
    { "timm-dinov3", 20, 0, " vit_huge_plus_patch16_dinov3 vit_huge_plus_patch16_dinov3_qkvb " },
    { "timm-dinov3", 32, 0, " vit_7b_patch16_dinov3 " },
    { "timm-rope", 8, 0, " vit_medium_patch16_rope_reg1_gap_256 vit_mediumd_patch16_rope_reg1_gap_256 " },
    { "timm-rope", 10, 0, " vit_betwixt_patch16_rope_reg4_gap_256 " },
    { "timm-rope", 12, 0, " vit_base_patch16_rope_reg1_gap_256 " },
    { "timm-swin", 0, 0, " swin_tiny_patch4_window7_224 swin_small_patch4_window7_224 swin_base_patch4_window7_224"
                         " swin_base_patch4_window12_384 swin_large_patch4_window7_224 swin_large_patch4_window12_384"
                         " swin_s3_tiny_224 swin_s3_small_224 swin_s3_base_224 " },
    { "timm-swinv2", 0, 0, " swinv2_tiny_window8_256 swinv2_tiny_window16_256 swinv2_small_window8_256 swinv2_small_window16_256"
                           " swinv2_base_window8_256 swinv2_base_window12_192 swinv2_base_window12to16_192to256"
                           " swinv2_base_window12to24_192to384 swinv2_base_window16_256 swinv2_large_window12_192"
                           " swinv2_large_window12to16_192to256 swinv2_large_window12to24_192to384 " },
    { "timm-sam", 0, 0, " samvit_base_patch16 samvit_large_patch16 samvit_huge_patch16 samvit_base_patch16_224 " },
    { "timm-twins", 0, 0, " twins_svt_small twins_svt_base twins_svt_large twins_pcpvt_small twins_pcpvt_base twins_pcpvt_large " },
    { "timm-hiera", 1, 0, " hiera_tiny_224 hiera_small_224 hiera_base_224 hiera_small_abswin_256 hiera_base_abswin_256 " },
    { "timm-hiera", 2, 0, " hiera_base_plus_224 hiera_large_224 " },
    { "timm-hiera", 4, 0, " hiera_huge_224 " },
    { "timm-mvitv2", 0, 0, " mvitv2_tiny mvitv2_small mvitv2_base mvitv2_large mvitv2_small_cls mvitv2_base_cls mvitv2_large_cls"
                           " mvitv2_huge_cls " },
};

/* "..._window12to24_...": pretrained with 12, tuned with 24. Stages of other windows (swin_s3_...) have tables that say so. */
void timm_window(const char *name, uint32_t *window, uint32_t *pretrained)
{
    const char *at = strstr(name, "_window");
    unsigned first = 0, second = 0;
    int found = at ? sscanf(at, "_window%3uto%3u", &first, &second) : 0;
    *window = found == 2 ? second : first;
    *pretrained = found == 2 ? first : 0;
}

const family *timm_architecture(const char *name, uint32_t *heads, uint32_t *activation)
{
    char word[80];
    if (strchr(name, ' ') || (size_t)snprintf(word, sizeof word, " %s ", name) >= sizeof word)
        return NULL;
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++)
        if (strstr(architectures[i].names, word)) {
            *heads = architectures[i].heads;
            *activation = architectures[i].activation;
            return family_find(architectures[i].family);
        }
    return NULL;
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
        for (const char *at = families[i].model_type; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
            if (strlen(model_type) == strcspn(at, "|") && strncmp(at, model_type, strlen(model_type)) == 0)
                return &families[i];
    return NULL;
}

static layout layout_of(const family *f)
{
    layout none = {0};
    char word[24];
    snprintf(word, sizeof word, " %s ", f->name);
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (strstr(layouts[i].families, word)) {
            layout found = layouts[i].layout;
            found.known = 1;
            return found;
        }
    return none;
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

/* What stands at the marks of a pattern; large numbers are capped, whoever uses them refuses them. */
typedef struct numbers {
    uint32_t stage, block;
    int staged;                           /* there is a stage */
} numbers;

/* The rest of name after what precedes the pattern's '*', or NULL. */
static const char *match_head(const char *pattern, const char *name, numbers *n)
{
    for (; *pattern && *pattern != '*'; pattern++) {
        if (!strchr("%@&#", *pattern)) {
            if (*name++ != *pattern)
                return NULL;
            continue;
        }
        const char *end = skip_digits(name);
        if (end == name || (*name == '0' && end > name + 1) || (*name == '0' && *pattern == '&'))
            return NULL;
        uint32_t number = end - name > 6 ? 999999 : (uint32_t)strtoul(name, NULL, 10);
        if (*pattern == '%')
            n->block = number;
        if (*pattern == '@' || *pattern == '&') {
            n->stage = number - (*pattern == '&');
            n->staged = 1;
        }
        name = end;
    }
    return name;
}

/* Whether name is the row's; *bias says which of the pair it is. */
static int match_row(const name_row *row, const char *name, int *bias, numbers *n)
{
    const char *rest = match_head(row->pattern, name, n), *tail = strchr(row->pattern, '*');
    *bias = row->bias;
    if (!rest || !tail)
        return rest && !*rest;
    if (tail[1] == '*')
        return 1;
    *bias = strcmp(rest, "bias") == 0;
    return *bias || strcmp(rest, "weight") == 0;
}

static const name_row *find_row(const name_row *rows, const char *name, int *bias, numbers *n)
{
    for (; rows->pattern; rows++) {
        memset(n, 0, sizeof *n);
        if (match_row(rows, name, bias, n))
            return rows;
    }
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

static const tensor *find_under(const checkpoint *cp, const char *prefix, const char *name)
{
    char full[1024];
    int fits = snprintf(full, sizeof full, "%s%s", prefix, name);
    return fits > 0 && (size_t)fits < sizeof full ? checkpoint_find(cp, full) : NULL;
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

/* What there may be many of at the top: projections of groups of channels, vectors for the caller. 1: it was one, and is
 * placed; -1 after fail(). */
static int assign_listed(vit *model, const naming *names, const tensor *t, const char *name)
{
    const vector_row *rows = naming_vectors(names->name);
    numbers at;
    const char *rest = match_head("patch_embed.%.proj.", name, &at);
    uint32_t index = at.block;
    if (rest && strcmp(names->name, "timm") == 0 && (strcmp(rest, "weight") == 0 || strcmp(rest, "bias") == 0)) {
        if (index >= MIM_MAX_GROUPS)
            return -fail("%s: tensor '%s' is of group %" PRIu32 "; mim's limit is %u groups of channels", t->file, t->name, index,
                         MIM_MAX_GROUPS);
        return place(&model->group[index], t, rest[0] == 'b') ? -1 : 1;
    }
    for (uint32_t i = 0; rows && rows[i].name; i++)
        if (strcmp(rows[i].name, name) == 0) {
            model->vectors[i] = t;
            return 1;
        }
    return 0;
}

/* A name, understood. */
typedef struct understood {
    const name_row *row;
    numbers at;
    int bias, in_block, decoder;
} understood;

static int understand(const naming *names, const char *name, understood *f)
{
    memset(f, 0, sizeof *f);
    f->row = find_row(names->top, name, &f->bias, &f->at);
    for (size_t i = 0; i < 2 * BLOCKS_MAX && !f->row; i++) {
        const char *pattern = i >= BLOCKS_MAX ? names->decoder_blocks[i - BLOCKS_MAX] : names->blocks[i], *rest;
        numbers inside;
        memset(&f->at, 0, sizeof f->at);
        if (!pattern || !(rest = match_head(pattern, name, &f->at)))
            continue;
        f->row = find_row(names->in_block, rest, &f->bias, &inside);
        f->in_block = 1;
        f->decoder = i >= BLOCKS_MAX;
    }
    return f->row != NULL;
}

/* The same under the encoder's prefix, of so many characters; where the file holds one encoder alone, under what precedes
 * it, too: what lies beside it (a head, a decoder) is its own. */
static int understand_tensor(const vit *model, const naming *names, const tensor *t, int alone, understood *f, size_t *length)
{
    *length = strlen(model->prefix);
    do {
        if (strncmp(t->name, model->prefix, *length) != 0)
            continue;
        if (names->beside && model->prefix[*length]) {
            memset(f, 0, sizeof *f);
            f->row = find_row(names->beside, t->name + *length, &f->bias, &f->at);
        } else
            understand(names, t->name + *length, f);
        if (f->row)
            return 1;
    } while (alone && shorten_prefix(model->prefix, length));
    return 0;
}

/* How many blocks each stage has, by their names. */
static int count_stages(const vit *model, const naming *names, const checkpoint *cp, int alone, uint32_t depths[STAGES_MAX])
{
    for (size_t i = 0; i < cp->count; i++) {
        understood f;
        size_t length;
        if (!understand_tensor(model, names, &cp->tensors[i], alone, &f, &length) || !f.at.staged || f.decoder)
            continue;
        if (f.at.stage >= STAGES_MAX || f.at.block >= MIM_MAX_DEPTH)
            return fail("%s: tensor '%s' is of stage %" PRIu32 ", block %" PRIu32 "; mim's limits are %d stages and %u blocks",
                        cp->path, cp->tensors[i].name, f.at.stage, f.at.block, STAGES_MAX, MIM_MAX_DEPTH);
        if (f.in_block && depths[f.at.stage] <= f.at.block)
            depths[f.at.stage] = f.at.block + 1;
    }
    return 0;
}

/* Gives one tensor its role. *why: unknown, a reason, or NULL where it is used. depths: blocks of each stage. */
static int assign(vit *model, const naming *names, const checkpoint *cp, const tensor *t, int alone,
                  const uint32_t depths[STAGES_MAX], const char **why)
{
    understood f;
    size_t length = strlen(model->prefix);
    int listed = 0;
    *why = unknown;
    do {
        if (strncmp(t->name, model->prefix, length) == 0)
            listed = assign_listed(model, names, t, t->name + length);
    } while (!listed && alone && shorten_prefix(model->prefix, &length));
    if (listed < 0)
        return 1;
    if (listed)
        *why = NULL;
    if (!understand_tensor(model, names, t, alone, &f, &length))
        return 0;
    *why = f.row->ignored;
    /* transformers' pretraining models have a norm of their own beside the encoder's */
    if (!f.in_block && f.row->role == NORM && model->prefix[length] && find_under(cp, model->prefix, t->name + length)) {
        *why = pretraining_reason;
        return 0;
    }
    if (f.row->role == ROLE_NONE)
        return 0;
    if (!f.in_block)
        return place(f.at.staged ? &model->stage[f.at.stage][f.row->role] : &model->top[f.row->role], t, f.bias);
    uint32_t index = f.at.block, *depth = f.decoder ? &model->decoder_depth : &model->depth;
    for (uint32_t i = 0; f.at.staged && i < f.at.stage; i++)
        index += depths[i];
    if (index >= MIM_MAX_DEPTH)
        return fail("%s: tensor '%s' is of block %" PRIu32 "; mim's limit is %u blocks", t->file, t->name, index, MIM_MAX_DEPTH);
    if (*depth <= index)
        *depth = index + 1;
    return place(f.decoder ? &model->decoder[index][f.row->role] : &model->block[index][f.row->role], t, f.bias);
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
static const naming *encoder_at(const checkpoint *cp, const tensor *t, size_t *length)
{
    for (size_t k = 0; k < NAMING_COUNT; k++)
        for (const name_row *row = namings[k].top; row->role == PATCH; row++) {      /* they come first */
            char stem[80], sign[1024];
            int bias;
            snprintf(stem, sizeof stem, "%.*sweight", (int)strlen(row->pattern) - 1, row->pattern);
            size_t n = strlen(t->name), m = strlen(stem);
            if (n < m || strcmp(t->name + n - m, stem) != 0 || (n > m && t->name[n - m - 1] != '.'))
                continue;
            int fits = !namings[k].sign ? 0 : snprintf(sign, sizeof sign, "%.*s%s", (int)(n - m), t->name, namings[k].sign);
            if (namings[k].sign && (fits < 0 || (size_t)fits >= sizeof sign || !checkpoint_find(cp, sign)))
                continue;
            *length = n - m;
            /* CAE's second encoder is one of the things to leave out */
            numbers ignored;
            const name_row *whole = find_row(namings[k].top, t->name, &bias, &ignored);
            return whole && whole->ignored ? NULL : &namings[k];
        }
    return NULL;
}

/* Of the encoders that were trained together, the one that their authors evaluate. I-JEPA's is the one that timm and
 * transformers took. */
typedef struct preference {
    const char *chosen, *other;           /* how the names begin */
    const char *sign;                     /* a name in the chosen one; "!": not in it; "tubelets": it takes videos */
    const char *why;                      /* the others are ignored */
} preference;

static const preference preferences[] = {
    { "teacher.", "student.", NULL, "student, whose teacher is what is evaluated" },
    { "target_encoder.", "encoder.", "cls_token", "encoder, whose average (target_encoder) is what is evaluated" },
    { "target_encoder.", "encoder.", "tubelets", "encoder, whose average (target_encoder) is what is evaluated" },
    { "encoder.", "target_encoder.", "!cls_token", "target encoder, the average of what is used" },
    { "model.", "model_teacher.", NULL, "teacher of the encoder" },
    { "module.model.", "module.ema_model.", NULL, "average of the encoder" },
    { "backbone.", "target_backbone.", NULL, "average of the encoder, used only in pretraining" },
};

/* The encoders of a file, by their patch projections. */
enum { ENCODERS_MAX = 16 };

typedef struct encoders {
    const naming *naming[ENCODERS_MAX];
    const char *name[ENCODERS_MAX];       /* begins with the prefix, */
    size_t length[ENCODERS_MAX];          /*   which is so long */
    size_t count, chosen;
    const preference *rule;               /* by which it was chosen, or NULL */
} encoders;

static int begins(const char *name, const char *with) { return strncmp(name, with, strlen(with)) == 0; }

/* Chooses where a rule covers all encoders, one of which it prefers. */
static int prefer(encoders *e, const checkpoint *cp)
{
    for (size_t k = 0; k < sizeof preferences / sizeof *preferences && e->count > 1; k++) {
        const preference *rule = &preferences[k];
        size_t chosen = 0, others = 0;
        for (size_t i = 0; i < e->count; i++) {
            others += begins(e->name[i], rule->other) != 0;
            if (begins(e->name[i], rule->chosen)) {
                e->chosen = i;
                chosen++;
            }
        }
        if (chosen != 1 || others != e->count - 1)
            continue;
        char name[1024];
        int absent = rule->sign && rule->sign[0] == '!';
        int fits = snprintf(name, sizeof name, "%.*s%s", (int)e->length[e->chosen], e->name[e->chosen],
                            rule->sign ? rule->sign + absent : "");
        if (rule->sign && strcmp(rule->sign, "tubelets") == 0) {
            if (checkpoint_find(cp, e->name[e->chosen])->rank != 5)
                continue;
        } else if (rule->sign && (fits < 0 || (size_t)fits >= sizeof name || (checkpoint_find(cp, name) != NULL) == absent))
            continue;
        e->rule = rule;
        return 1;
    }
    return 0;
}

static int find_encoder(encoders *e, const checkpoint *cp, const char *prefix)
{
    char found[400] = "";
    size_t count = 0, wanted = prefix ? strlen(prefix) : 0;
    wanted += wanted && prefix[wanted - 1] != '.';            /* "vit" is "vit." */
    e->count = 0;
    for (size_t i = 0; i < cp->count; i++) {
        size_t length;
        const char *name = cp->tensors[i].name;
        const naming *names = encoder_at(cp, &cp->tensors[i], &length);
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
    if (count == 1 || (!prefix && prefer(e, cp)))
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

int is_gated(const part *block)
{
    const tensor *fc1 = block[FC1].weight, *fc2 = block[FC2].weight;
    return block[GATE].weight || (fc1 && fc2 && fc1->rank == 2 && fc2->rank == 2 && fc1->shape[0] % 2 == 0 &&
                                  fc1->shape[0] / 2 == fc2->shape[1]);
}

enum { EVIDENCE_MAX = sizeof ((family *)0)->evidence / sizeof (char *) };

/* Whether names begin so, "head.**", under the encoder's prefix or what precedes it. */
static int has_any(const checkpoint *cp, const char *prefix, const char *pattern)
{
    size_t length = strlen(prefix), stem = strlen(pattern) - 2;
    do
        for (size_t i = 0; i < cp->count; i++)
            if (strncmp(cp->tensors[i].name, prefix, length) == 0 && strncmp(cp->tensors[i].name + length, pattern, stem) == 0)
                return 1;
    while (shorten_prefix(prefix, &length));
    return 0;
}

/* One name: of the top, or with '*' of any block. */
static int is_present(const vit *model, const checkpoint *cp, const char *name)
{
    const tensor *patch = model->top[PATCH].weight, *positions = model->top[POSITIONS].weight;
    if (strcmp(name, "gated MLP") == 0)
        return is_gated(model->block[0]);
    if (strcmp(name, "tubelets") == 0)
        return patch && patch->rank == 5;
    if (strcmp(name, "narrow positions") == 0)
        return patch && positions && positions->rank > 0 && positions->shape[positions->rank - 1] < patch->shape[0];
    if (strcmp(name, "--family") == 0)
        return 0;
    if (strstr(name, " wide"))
        return model->top[PATCH].weight->shape[0] == strtoull(name, NULL, 10);
    if (strstr(name, ".**"))
        return has_any(cp, model->prefix, name);
    if (strcmp(name, "widening blocks") == 0)
        return model->stages > 1;
    for (uint32_t i = 0; i < model->depth && strcmp(name, "widening MLPs") == 0; i++)
        if (model->block[i][MLP_SHORTCUT].weight)
            return 1;
    if (name[0] != '*')
        return find_relative(cp, model->prefix, name) != NULL;
    for (size_t k = 0; k < cp->count; k++)
        if (strlen(cp->tensors[k].name) > strlen(name) &&
            strcmp(cp->tensors[k].name + strlen(cp->tensors[k].name) - strlen(name + 1), name + 1) == 0)
            return 1;
    return 0;
}

enum { NAME_MAX_LENGTH = 80 };

/* The first of "a|b" that is in the file, or else the last. Whether there is one. */
static int find_present(const vit *model, const checkpoint *cp, const char *names, char name[NAME_MAX_LENGTH])
{
    for (;;) {
        size_t length = strcspn(names, "|");
        snprintf(name, NAME_MAX_LENGTH, "%.*s", (int)length, names);
        if (is_present(model, cp, name))
            return 1;
        if (!names[length])
            return 0;
        names += length + 1;
    }
}

static int has_evidence(const family *f, const vit *model, const checkpoint *cp)
{
    char name[NAME_MAX_LENGTH];
    for (size_t i = 0; i < EVIDENCE_MAX && f->evidence[i]; i++) {
        int absent = f->evidence[i][0] == '!';
        if (find_present(model, cp, f->evidence[i] + absent, name) == absent)
            return 0;
    }
    return 1;
}

static int find_family(vit *model, const naming *names, const checkpoint *cp)
{
    for (size_t i = 0; i < FAMILY_COUNT && !model->family; i++)
        if (strcmp(families[i].naming, names->name) == 0 && has_evidence(&families[i], model, cp))
            model->family = &families[i];
    if (!model->family)
        return fail("%s: has %s, but not what tells its families apart; give --family", cp->path, names->title);
    append(model->evidence, sizeof model->evidence, model->family->evidence[0] ? "by " : "");
    for (size_t i = 0; i < EVIDENCE_MAX && model->family->evidence[i]; i++) {
        int absent = model->family->evidence[i][0] == '!';
        char name[NAME_MAX_LENGTH];
        find_present(model, cp, model->family->evidence[i] + absent, name);
        append(model->evidence, sizeof model->evidence, i ? ", " : "");
        append(model->evidence, sizeof model->evidence, absent ? "no " : "");
        append(model->evidence, sizeof model->evidence, name);
    }
    return 0;
}

/* transformers' DINOv3 calls the first layer of an MLP without gate what it calls the value of one with it. */
static void settle_mlp(part *block)
{
    if (block[UP].weight && !block[GATE].weight && !block[GATE].bias && !block[FC1].weight && !block[FC1].bias) {
        block[FC1] = block[UP];
        memset(&block[UP], 0, sizeof block[UP]);
    }
}

/* What follows a reduction is called what other families call the norm of the attention's output. */
static void settle_reduction(part *block)
{
    if (!block[REDUCE].weight)
        return;
    block[REDUCE_NORM] = block[ATTENTION_NORM];
    memset(&block[ATTENTION_NORM], 0, sizeof block[ATTENTION_NORM]);
}

/* Older files of clip.cpp call the layers of an MLP the other way round. */
static void settle_order(part *block, uint64_t dim)
{
    const tensor *first = block[FC1].weight, *last = block[FC2].weight;
    const part swap = block[FC1];
    if (!first || !last || first->rank != 2 || last->rank != 2 || first->shape[1] == dim || last->shape[1] != dim)
        return;
    block[FC1] = block[FC2];
    block[FC2] = swap;
}

/* MILAN's decoder lets masked tokens alone ask; mim has no such step. */
static void drop_crossing_decoder(vit *model, const checkpoint *cp)
{
    static const uint8_t roles[] = { DECODER_EMBED, DECODER_POSITIONS, DECODER_NORM, DECODER_PREDICT };
    const part *first = model->decoder[0];
    if (!model->decoder_depth || !first[KEY_VALUE].weight)
        return;
    model->no_decoder = "decoder in which masked tokens alone attend, not available";
    vit_drop_decoder(model, cp, model->no_decoder);
    model->decoder_depth = 0;
    for (size_t i = 0; i < sizeof roles; i++)
        memset(&model->top[roles[i]], 0, sizeof *model->top);
}

/* Whether attention, or an MLP, ends wider than it began. */
static int widens(const tensor *in, const tensor *out)
{
    return in && out && in->rank == 2 && out->rank == 2 && in->shape[1] != out->shape[0];
}

static const tensor *query_of(const part *block) { return block[QKV].weight ? block[QKV].weight : block[QUERY].weight; }

/* Where names do not say it: a stage begins with a merging, or where the width changes beside a shortcut; Hiera with window
 * positions has none. */
static int begins_stage(const vit *model, uint32_t i)
{
    const part *b = model->block[i];
    return is_merging(b) || b[SHORTCUT].weight || model->block[i - 1][MLP_SHORTCUT].weight ||
           (model->top[UNIT_POSITIONS].weight && widens(query_of(b), b[PROJ].weight));
}

/* Swin's authors count merging among the stage before it, timm that after it. Either way it stands before all but the first. */
static int place_merges(vit *model, const checkpoint *cp)
{
    int late = model->stage[0][MERGE].weight != NULL, merges = 0;
    for (uint32_t i = 0; i < STAGES_MAX; i++) {
        const part *p = model->stage[i];
        merges |= p[MERGE].weight != NULL;
        const part *placed = &p[p[MERGE].weight ? MERGE : p[FUSE].weight ? FUSE : GRID_CONV];
        if (placed->weight && i + (placed == &p[MERGE] ? (uint32_t)late : 0) >= model->stages)
            return fail("%s: '%s' is of no stage: there are %" PRIu32, cp->path, placed->weight->name, model->stages);
    }
    for (uint32_t i = STAGES_MAX; late && i-- > 0;)
        for (uint32_t role = MERGE; role <= MERGE_NORM; role++) {
            if (i)
                model->stage[i][role] = model->stage[i - 1][role];
            else
                memset(&model->stage[i][role], 0, sizeof (part));
        }
    for (uint32_t i = 1; merges && i < model->stages; i++)
        if (!model->stage[i][MERGE].weight)
            return fail("%s: has %" PRIu32 " stages, but no merging before stage %" PRIu32, cp->path, model->stages, i);
    return 0;
}

/* Which block is of which stage, and what stands between them. */
static int find_stages(vit *model, const checkpoint *cp, const uint32_t depths[STAGES_MAX])
{
    uint32_t named = 0, stage = 0;
    for (uint32_t i = 0; i < STAGES_MAX; i++) {
        if (depths[i] && named < i)
            return fail("%s: has blocks of stage %" PRIu32 ", but none of stage %" PRIu32, cp->path, i, named);
        for (uint32_t n = 0; n < depths[i]; n++)
            model->stage_of[n + stage] = (uint8_t)i;
        named += depths[i] != 0;
        stage += depths[i];
    }
    if (named && stage != model->depth)
        return fail("%s: holds blocks of stages and others", cp->path);
    model->stages = named;
    for (uint32_t i = 0; i < model->depth; i++) {
        part *b = model->block[i];
        /* the authors of MViTv2 call either shortcut so */
        if (b[SHORTCUT].weight && !widens(query_of(b), b[PROJ].weight) && widens(b[FC1].weight, b[FC2].weight)) {
            b[MLP_SHORTCUT] = b[SHORTCUT];
            memset(&b[SHORTCUT], 0, sizeof b[SHORTCUT]);
        }
        if (named)
            continue;
        stage = i == 0 ? 0 : model->stage_of[i - 1] + (uint32_t)begins_stage(model, i);
        if (stage >= STAGES_MAX)
            return fail("%s: has more than %d stages", cp->path, STAGES_MAX);
        model->stage_of[i] = (uint8_t)stage;
        model->stages = stage + 1;
        if (!is_merging(b) || !b[FC1].weight)
            continue;
        if (!i)
            return fail("%s: '%s' merges before the first block", cp->path, b[MERGE].weight->name);
        for (uint32_t role = MERGE; role <= MERGE_NORM; role++) {         /* a whole block that merges first */
            model->stage[stage][role] = b[role];
            memset(&b[role], 0, sizeof b[role]);
        }
    }
    return place_merges(model, cp);
}

/* Biases and norms of what stands outside the blocks, or only in some: never without their weights, norms never without bias. */
static int check_pairs(const checkpoint *cp, const part *parts)
{
    static const struct { uint8_t role, norm; } pairs[] = {
        { PATCH_NORM, 1 }, { NECK, 0 }, { NECK_NORM, 1 }, { NECK2, 0 }, { NECK2_NORM, 1 }, { MERGE, 0 }, { MERGE_NORM, 1 },
        { MERGE_LINEAR, 0 }, { FUSE, 0 }, { GRID_CONV, 0 }, { REDUCE, 0 }, { REDUCE_NORM, 1 }, { KEY_VALUE, 0 }, { BIAS_MLP1, 0 }, { BIAS_MLP2, 0 }, { THIN_QUERY, 0 }, { THIN_KEY, 0 }, { THIN_VALUE, 0 },
        { THIN_QUERY_NORM, 1 }, { THIN_KEY_NORM, 1 }, { THIN_VALUE_NORM, 1 }, { SHORTCUT, 0 }, { MLP_SHORTCUT, 0 }, { CONV1, 0 },
        { DEPTHWISE, 0 }, { CONV2, 0 }, { MLP_NORM, 1 },
    };
    for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++) {
        const part *p = &parts[pairs[k].role];
        if (p->bias && !p->weight)
            return fail("%s: '%s' has no weight beside it", cp->path, p->bias->name);
        if (pairs[k].norm && p->weight && !p->bias)
            return fail("%s: '%s' has no bias beside it: RMS norm is not available in this version", cp->path, p->weight->name);
    }
    return 0;
}

/* A role without which there is no block of that kind. */
enum { OF_ATTENTION = 1, OF_CONVOLUTION = 2, OF_MLP = 4 };

/* Every block must have what its steps need. A norm without bias is an RMS norm: other arithmetic, not an absent bias.
 * stage_of: NULL for a decoder. */
static int check_blocks(const checkpoint *cp, const part (*blocks)[ROLE_COUNT], uint32_t depth, const uint8_t *stage_of, const char *which)
{
    static const struct { uint8_t role; uint8_t norm, of; const char *what; } needed[] = {
        { NORM1, 1, OF_ATTENTION | OF_CONVOLUTION, "first norm" }, { PROJ, 0, OF_ATTENTION, "attention projection" },
        { CONV1, 0, OF_CONVOLUTION, "first convolution" }, { CONV2, 0, OF_CONVOLUTION, "last convolution" },
        { NORM2, 1, OF_MLP, "second norm" }, { FC1, 0, OF_MLP, "first linear layer of the MLP" },
        { FC2, 0, OF_MLP, "second linear layer of the MLP" },
    };
    static const struct { uint8_t role; const char *what; } uniform[] = {
        { RELATIVE_BIAS, "relative position bias" }, { ATTENTION_NORM, "norm inside the attention" },
        { MLP_NORM, "norm inside the MLP" }, { QUERY_NORM, "norm of queries" },
        { KEY_NORM, "norm of keys" }, { SCALE1, "layer scale" }, { SCALE2, "layer scale" },
        { LOGIT_SCALE, "scale of the logits" }, { BIAS_MLP1, "MLP of the relative position bias" },
        { BIAS_MLP2, "MLP of the relative position bias" }, { AXIS_Y, "table of vertical distances" },
        { AXIS_X, "table of horizontal distances" }, { AXIS_T, "table of distances in time" }, { THIN_QUERY, "convolution of the queries" },
        { THIN_KEY, "convolution of the keys" }, { THIN_VALUE, "convolution of the values" },
    };
    const part *first = NULL;
    for (uint32_t i = 0; i < depth; i++) {
        const part *b = blocks[i];
        int last_stage = !stage_of || stage_of[i] == stage_of[depth - 1];
        if (is_merging(b))
            continue;
        int kind = OF_MLP;
        if (b[DEPTHWISE].weight && has_attention(b))
            return fail("%s: '%s' is of a block that has attention, too", cp->path, b[DEPTHWISE].weight->name);
        if (b[DEPTHWISE].weight)
            kind |= OF_CONVOLUTION;
        else if (last_stage || has_attention(b) || b[NORM1].weight || b[PROJ].weight)
            kind |= OF_ATTENTION;
        for (size_t k = 0; k < sizeof needed / sizeof *needed; k++) {
            const part *p = &b[needed[k].role];
            if (!(needed[k].of & kind) ||
                (needed[k].role == FC1 && b[GATE].weight && b[UP].weight && !p->weight && !p->bias))
                continue;
            if (!p->weight)
                return fail("%s: %s block %" PRIu32 " of %" PRIu32 " has no %s", cp->path, which, i, depth, needed[k].what);
            if (needed[k].norm && !p->bias)
                return fail("%s: '%s' has no bias beside it: RMS norm is not available in this version", cp->path,
                            p->weight->name);
        }
        if (b[FC1].weight && (b[GATE].weight || b[UP].weight || b[GATE].bias || b[UP].bias))
            return fail("%s: %s block %" PRIu32 " has the first layer of its MLP both whole and split", cp->path, which, i);
        if (!(kind & OF_ATTENTION))
            continue;
        first = first ? first : b;
        for (size_t k = 0; k < sizeof uniform / sizeof *uniform; k++) {
            const part *p = &b[uniform[k].role];
            if (!p->weight != !first[uniform[k].role].weight)
                return fail("%s: only some of its %s blocks have a %s", cp->path, which, uniform[k].what);
            int norm = uniform[k].role == ATTENTION_NORM || uniform[k].role == MLP_NORM || uniform[k].role == QUERY_NORM ||
                       uniform[k].role == KEY_NORM;
            if (norm && !p->weight != !p->bias)
                return fail("%s: '%s' is only half of a norm: RMS norm is not available in this version", cp->path,
                            (p->weight ? p->weight : p->bias)->name);
        }
        if (!b[QUERY_NORM].weight != !b[KEY_NORM].weight)
            return fail("%s: %s block %" PRIu32 " norms only one of queries and keys", cp->path, which, i);
        int split = (b[QUERY].weight != NULL) + (b[KEY].weight != NULL) + (b[VALUE].weight != NULL) + 2 * (b[KEY_VALUE].weight != NULL);
        int split_bias = b[QUERY].bias || b[KEY].bias || b[VALUE].bias || b[KEY_VALUE].bias;
        if (b[QKV].weight ? split != 0 : split != 3 || (b[KEY_VALUE].weight && (b[KEY].bias || b[VALUE].bias || !b[QUERY].weight)))
            return fail("%s: %s block %" PRIu32 " of %" PRIu32 " must have either qkv or all of query, key and value",
                        cp->path, which, i, depth);
        if (b[QKV].bias && (split_bias || split))
            return fail("%s: %s block %" PRIu32 " has its query, key and value biases twice", cp->path, which, i);
    }
    return 0;
}

/* Positions may be computed and leave no trace in the file: whether they are is the family's to say. */
static int check_positions(const vit *model, const checkpoint *cp)
{
    const part *top = model->top;
    const family *f = model->family;
    const enum made made = family_scheme(f)->made;
    const tensor *rotary = top[PERIODS].weight ? top[PERIODS].weight : top[ROTARY_COS].weight;
    static const uint8_t biases[] = { RELATIVE_BIAS, BIAS_MLP1, AXIS_Y };
    const tensor *bias = top[RELATIVE_BIAS].weight, *conv = model->stage[0][GRID_CONV].weight;
    for (uint32_t i = 0; i < model->depth * (uint32_t)sizeof biases && !bias; i++)
        bias = model->block[i / sizeof biases][biases[i % sizeof biases]].weight;
    if (rotary && !f->arithmetic.rotary)
        return fail("%s: '%s' is of rotary positions, which %s does not have; give another --family", cp->path, rotary->name,
                    f->name);
    if (!top[POSITIONS].weight && !bias && !conv && !f->arithmetic.rotary && made != MADE_NUMBER_WAVES && made != MADE_VECTORS)
        return fail("%s: holds no table of positions, and %s computes none; give another --family", cp->path, f->name);
    if (bias && f->arithmetic.rotary)
        return fail("%s: '%s' is a relative position bias, which %s does not have; give another --family", cp->path, bias->name,
                    f->name);
    if ((made == MADE_FRAME_SUMS) != (top[FRAME_POSITIONS].weight != NULL))
        return fail("%s: %s; give another --family", cp->path, made == MADE_FRAME_SUMS ? "has no positions of its frames ('pos_embed_temporal')"
                    : "has positions of its frames ('pos_embed_temporal'), which only Hiera of videos has");
    if (top[POSITIONS].weight && f->positions == MIM_POSITIONS_NONE)
        return fail("%s: '%s' is a table of positions, which %s does not have; give another --family", cp->path,
                    top[POSITIONS].weight->name, f->name);
    return 0;
}

/* Groups of channels from the first on, and every vector that the caller will need. */
static int check_vectors(const vit *model, const checkpoint *cp)
{
    const vector_row *rows = family_vectors(model->family);
    uint32_t groups = 0;
    for (uint32_t i = 0; i < MIM_MAX_GROUPS; i++) {
        const part *p = &model->group[i];
        if (p->weight && family_scheme(model->family)->made != MADE_GROUPS)
            return fail("%s: '%s' is of a group of channels, which %s does not have; give another --family", cp->path,
                        p->weight->name, model->family->name);
        if ((p->weight || p->bias) && (i > groups || !p->weight))
            return fail("%s: has a projection for group %" PRIu32 " of its channels but none for group %" PRIu32, cp->path, i, groups);
        groups += p->weight != NULL;
    }
    if (family_scheme(model->family)->made == MADE_GROUPS && (!groups || !model->top[CHANNEL_EMBED].weight))
        return fail("%s: has no groups of channels, which %s has; give another --family", cp->path, model->family->name);
    for (uint32_t i = 0; rows && rows[i].name; i++)
        if (!model->vectors[i])
            return fail("%s: has no '%s%s', which its tokens are made with", cp->path, model->prefix, rows[i].name);
    return 0;
}

/* What the family's layout makes of the parts. */
static int settle_layout(vit *model, const checkpoint *cp, int certain)
{
    static const uint8_t of_decoder[] = { DECODER_EMBED, DECODER_POSITIONS, DECODER_NORM, DECODER_PREDICT };
    const part *last = model->block[model->depth - 1];
    part *top = model->top;
    model->layout = layout_of(model->family);
    if (!model->layout.known) {
        if (model->stages > 1)
            return fail("%s: %s has no stages, and this file has %" PRIu32 "; give another --family", cp->path, model->family->name,
                        model->stages);
        if (top[NECK].weight)
            return fail("%s: '%s' is of a neck, and %s has no neck; give another --family", cp->path, top[NECK].weight->name,
                        model->family->name);
        return 0;
    }
    if (!certain && strcmp(model->family->name, "swin") == 0 && top[POSITIONS].weight)
        return fail("%s: '%s' is MixMIM's, or of a Swin with absolute positions, and nothing tells them apart; give --family mixmim "
                    "or --family swin", cp->path, top[POSITIONS].weight->name);
    for (uint32_t i = 0; i < model->depth; i++)
        if ((is_gated(model->block[i]) && !model->family->arithmetic.gate) || model->block[i][ATTENTION_NORM].weight)
            return fail("%s: '%s' is of a block that %s does not have; give another --family", cp->path,
                        (is_gated(model->block[i]) ? model->block[i][FC2] : model->block[i][ATTENTION_NORM]).weight->name, model->family->name);
    /* HiViT's decoder has a norm of features of all stages */
    if (top[NORM].weight && top[DECODER_EMBED].weight && last[FC2].weight && last[FC2].weight->shape[0] != top[NORM].weight->count) {
        model->ignored[top[NORM].weight - cp->tensors] = "norm of the decoder's features";
        if (top[NORM].bias)
            model->ignored[top[NORM].bias - cp->tensors] = "norm of the decoder's features";
        memset(&top[NORM], 0, sizeof top[NORM]);
    }
    if (model->layout.pool_norm && !model->stage[0][FUSE].weight && !top[POOL_NORM].weight) {
        top[POOL_NORM] = top[NORM];
        memset(&top[NORM], 0, sizeof top[NORM]);
    }
    vit_drop_decoder(model, cp, pretraining_reason);
    model->decoder_depth = 0;
    for (size_t i = 0; i < sizeof of_decoder; i++)
        memset(&top[of_decoder[i]], 0, sizeof *top);
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

    uint32_t depths[STAGES_MAX] = {0};
    int strangers = 0, alone = found.count == 1 || found.rule;
    if (count_stages(model, names, cp, alone, depths))
        return 1;
    for (size_t i = 0; i < cp->count; i++) {
        const tensor *t = &cp->tensors[i];
        if (found.rule && begins(t->name, found.rule->other)) {
            model->ignored[i] = found.rule->why;
            continue;
        }
        if (assign(model, names, cp, t, alone, depths, &model->ignored[i]))
            return 1;
        if (model->ignored[i] == unknown && prefix && is_outside(&found, t->name))
            model->ignored[i] = "outside the encoder chosen with --prefix";
        strangers |= model->ignored[i] == unknown;
    }
    if (strangers)
        return refuse_unknown(model, cp);

    drop_crossing_decoder(model, cp);
    for (uint32_t i = 0; i < model->depth; i++) {
        settle_mlp(model->block[i]);
        settle_reduction(model->block[i]);
        if (strcmp(names->name, "clip") == 0)
            settle_order(model->block[i], model->top[PATCH].weight->shape[0]);
    }
    for (uint32_t i = 0; i < model->decoder_depth; i++)
        settle_mlp(model->decoder[i]);
    if (model->depth == 0)
        return fail("%s: has a patch projection but no blocks", cp->path);
    if (find_stages(model, cp, depths))
        return 1;
    model->family = wanted;
    if (!wanted && find_family(model, names, cp))
        return 1;
    if ((model->family->pool == POOL_THEN_NORM || model->family->pool == CLS_THEN_NORM) && !model->top[POOL_NORM].weight) {
        model->top[POOL_NORM] = model->top[NORM];
        memset(&model->top[NORM], 0, sizeof *model->top);
    }
    const vit *seen = model;
    part *top = model->top;
    if (family_scheme(model->family)->made == MADE_TURNS && top[POSITIONS].weight) {
        model->ignored[top[POSITIONS].weight - cp->tensors] = unturned_reason;
        memset(&top[POSITIONS], 0, sizeof top[POSITIONS]);
    }
    if (settle_layout(model, cp, wanted != NULL) || check_positions(model, cp) || check_vectors(model, cp))
        return 1;
    for (uint32_t i = 0; i < model->depth; i++)
        if (check_pairs(cp, model->block[i]))
            return 1;
    for (uint32_t i = 0; i < STAGES_MAX; i++)
        if (check_pairs(cp, model->stage[i]))
            return 1;
    if (check_pairs(cp, top) || check_blocks(cp, seen->block, model->depth, model->stage_of, "encoder"))
        return 1;
    static const uint8_t norms[] = { NORM, POOL_NORM, PRE_NORM };
    for (size_t i = 0; i < sizeof norms; i++)
        if (!top[norms[i]].weight != !top[norms[i]].bias)
            return fail("%s: '%s' is only half of a norm: RMS norm is not available in this version", cp->path,
                        (top[norms[i]].weight ? top[norms[i]].weight : top[norms[i]].bias)->name);
    if (top[HEAD].bias && !top[HEAD].weight)
        return fail("%s: '%s' has no weight beside it", cp->path, top[HEAD].bias->name);
    if (family_scheme(model->family)->made == MADE_NUMBER_WAVES && top[HEAD].weight && top[NORM].weight)
        return fail("%s: its head takes the first token, not their mean: not available in this version", cp->path);
    if (!top[DECODER_EMBED].weight && top[MASK_TOKEN].weight)
        model->ignored[top[MASK_TOKEN].weight - cp->tensors] = mask_reason;
    return 0;
}

int vit_check_decoder(const vit *model, const checkpoint *cp)
{
    const part *norm = &model->top[DECODER_NORM];
    int kept = (model->top[DECODER_EMBED].weight || model->decoder_depth) && !model->layout.known && !family_scheme(model->family)->family;
    if (model->no_decoder)
        return fail("%s: holds a %s; leave out --keep-decoder", cp->path, model->no_decoder);
    for (size_t i = 0; i < cp->count; i++)
        if (model->ignored[i] && (model->ignored[i] == windowed_reason || (!kept && strstr(cp->tensors[i].name, "decod"))))
            return fail("%s: '%s' is of a decoder such as that of %s, and only those of plain MAEs can be kept; leave out --keep-decoder",
                        cp->path, cp->tensors[i].name, model->family->name);
    if (!kept)
        return fail("%s: has no decoder to keep (--keep-decoder)", cp->path);
    if (!norm->weight != !norm->bias)
        return fail("%s: '%s' is only half of a norm: RMS norm is not available in this version", cp->path,
                    (norm->weight ? norm->weight : norm->bias)->name);
    return check_blocks(cp, model->decoder, model->decoder_depth, NULL, "decoder");
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
