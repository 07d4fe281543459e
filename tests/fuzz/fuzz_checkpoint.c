/* fuzz_checkpoint.c - hostile checkpoints and configurations, through everything that `mim convert` does with them.
 *
 * Alone: `fuzz_checkpoint [ROUNDS|SECONDSs [SEED]]` mutates the seeds below, the same way every time; `fuzz_checkpoint
 * FILE...` replays files. With clang -fsanitize=fuzzer -DFUZZ_LIBFUZZER it is a libFuzzer target. Link it with library.c,
 * json.c, the readers of checkpoints, families.c, settings.c, build.c, pyramid.c, made.c and pack.c of examples/mim, not util.c; build with the
 * address and undefined behaviour sanitizers. What is not safetensors is fuzz_container's. An input is: u16 length, config.json, u16 length, preprocessor_config.json, the checkpoint. What is
 * checked: a refusal gives one reason, and a blob that was written passes mim_verify. */
#define _POSIX_C_SOURCE 200809L
#include "../../examples/mim/settings.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void require(int holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "fuzz_checkpoint: %s\n", what);
    abort();
}

/* ---- util.c, in memory; what makes a reason one line is there ---- */

static unsigned refusals;

int fail(const char *format, ...)
{
    char line[8192];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    require(length > 0 && length < 4000, "a reason is empty or longer than a line");
    refusals++;
    return 1;
}

static FILE *written;

int out_open(out_file *out, const char *path)
{
    memset(out, 0, sizeof *out);
    out->file = written = tmpfile();
    out->path = malloc(strlen(path) + 1);
    out->part = malloc(sizeof "part");
    require(out->file && out->path && out->part, "no memory or no temporary file");
    strcpy(out->path, path);
    strcpy(out->part, "part");
    return 0;
}

int out_write(out_file *out, const void *data, size_t bytes) { return bytes != 0 && fwrite(data, 1, bytes, out->file) != bytes; }

void out_discard(out_file *out)
{
    if (out->file) fclose(out->file);
    free(out->path);
    free(out->part);
    memset(out, 0, sizeof *out);
}

/* Only ever what was just written. */
int in_open(in_file *in, const char *path)
{
    void *copy = NULL;
    require(strcmp(path, "part") == 0 && fseek(written, 0, SEEK_END) == 0, "a file was opened");
    in->bytes = (size_t)ftell(written);
    rewind(written);
    require(posix_memalign(&copy, 64, in->bytes) == 0 && fread(copy, 1, in->bytes, written) == in->bytes, "no memory");
    in->data = copy;
    in->mapped = 0;
    return 0;
}

void in_close(in_file *in) { free((void *)(uintptr_t)in->data); }

int out_commit(out_file *out)
{
    in_file blob;
    mim_model model;
    in_open(&blob, "part");
    require(mim_open(&model, blob.data, blob.bytes) == MIM_OK && mim_verify(&model) == MIM_OK, "a blob was written that is not valid");
    in_close(&blob);
    out_discard(out);
    return 0;
}

/* No options are given. */
int parse_number(const char *name, const char *text, uint32_t least, uint32_t most, uint32_t *result)
{
    (void)name, (void)least, (void)most, (void)result;
    return text != NULL;
}
int parse_real(const char *name, const char *text, double least, double most, double *result)
{
    (void)name, (void)least, (void)most, (void)result;
    return text != NULL;
}

/* ---- one input ---- */

static int read_config(json *doc, const uint8_t *text, size_t bytes)
{
    memset(doc, 0, sizeof *doc);
    if (bytes == 0) return 0;
    int failed = json_parse(doc, text, bytes) || json_root(doc)->type != JSON_OBJECT;
    require(!failed || doc->error || doc->count, "a refused document has no reason");
    return failed;
}

static vit recognised;
static plan planned;

static int try_convert(const uint8_t *data, size_t bytes, const configs *c)
{
    checkpoint cp;
    measures m;
    settings s;
    static const number_kind kinds[] = { { MIM_F32, 0, 0 }, { MIM_F16, 0, 0 }, { MIM_Q8, 255, 0 }, { MIM_Q8, 127, 0 }, { MIM_Q4, 255, 32 } };
    const wishes none = { .output = "out.mim" };
    const family *wanted = NULL;
    const char *from;
    memset(&recognised, 0, sizeof recognised);
    int failed = checkpoint_parse(&cp, data, bytes, "seed.safetensors", NULL) || configs_family(c, &none, &wanted, &from) ||
                 vit_recognise(&recognised, &cp, wanted, NULL);
    if (!failed) {
        char names[300];
        int keep = recognised.top[DECODER_EMBED].weight && bytes & 1;
        list_names(names, sizeof names, &cp, recognised.ignored, NULL, 1);
        if (!keep) vit_drop_decoder(&recognised, &cp, "decoder");
        failed = measure(&m, &recognised, &cp, keep) || settle(&s, c, &none, &recognised, &cp, &m) ||
                 build(&planned, &recognised, &cp, &m, &s, &kinds[(bytes >> 1) % (sizeof kinds / sizeof *kinds)]) || plan_write(&planned, "out.mim");
    }
    vit_free(&recognised);
    checkpoint_close(&cp);
    return !failed;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    configs c = { .model_path = (char[]){ "config.json" }, .picture_path = (char[]){ "preprocessor_config.json" } };
    const uint8_t *texts[2];
    size_t lengths[2];
    int made = 0;
    for (int i = 0; i < 2; i++) {
        if (bytes < 2) return 0;
        lengths[i] = (size_t)data[0] | (size_t)data[1] << 8;
        if (lengths[i] > bytes - 2) lengths[i] = bytes - 2;
        texts[i] = data + 2;
        data += 2 + lengths[i];
        bytes -= 2 + lengths[i];
    }
    refusals = 0;
    int failed = read_config(&c.model, texts[0], lengths[0]);
    failed |= read_config(&c.picture, texts[1], lengths[1]);
    if (!failed) {
        uint8_t *copy = malloc(bytes ? bytes : 1);                 /* of this size, so that a read beyond it is seen */
        require(copy != NULL, "no memory");
        memcpy(copy, data, bytes);
        made = try_convert(copy, bytes, &c);
        free(copy);
        require(refusals == (made ? 0 : 1), "a refusal without exactly one reason");
    }
    json_free(&c.model);
    json_free(&c.picture);
    return made * 0;
}

#ifndef FUZZ_LIBFUZZER

/* ---- seeds ---- */

typedef struct sample {
    uint8_t data[12288];
    size_t bytes;
} sample;

/* Names and shapes of one block of width 4, two heads, patches of 1 x 1 of one channel, a grid of 2 x 2. */
static const char timm[] =
    "patch_embed.proj.weight 4,1,1,1;patch_embed.proj.bias 4;cls_token 1,1,4;pos_embed 1,5,4;blocks.0.norm1.weight 4;"
    "blocks.0.norm1.bias 4;blocks.0.attn.qkv.weight 12,4;blocks.0.attn.qkv.bias 12;blocks.0.attn.proj.weight 4,4;"
    "blocks.0.ls1.gamma 4;blocks.0.norm2.weight 4;blocks.0.norm2.bias 4;blocks.0.mlp.fc1.weight 6,4;blocks.0.mlp.fc1.bias 6;"
    "blocks.0.mlp.fc2.weight 4,6;norm.weight 4;norm.bias 4;head.weight 3,4;head.bias 3";
static const char mae[] =
    "patch_embed.proj.weight 4,1,1,1;cls_token 1,1,4;pos_embed 1,5,4;blocks.0.norm1.weight 4;blocks.0.norm1.bias 4;"
    "blocks.0.attn.qkv.weight 12,4;blocks.0.attn.q_bias 4;blocks.0.attn.v_bias 4;blocks.0.attn.proj.weight 4,4;"
    "blocks.0.norm2.weight 4;blocks.0.norm2.bias 4;blocks.0.mlp.fc1.weight 6,4;blocks.0.mlp.fc2.weight 4,6;norm.weight 4;"
    "norm.bias 4;decoder_embed.weight 2,4;mask_token 1,1,2;decoder_pos_embed 1,5,2;decoder_blocks.0.norm1.weight 2;"
    "decoder_blocks.0.norm1.bias 2;decoder_blocks.0.attn.qkv.weight 6,2;decoder_blocks.0.attn.proj.weight 2,2;"
    "decoder_blocks.0.norm2.weight 2;decoder_blocks.0.norm2.bias 2;decoder_blocks.0.mlp.fc1.weight 4,2;"
    "decoder_blocks.0.mlp.fc2.weight 2,4;decoder_norm.weight 2;decoder_norm.bias 2;decoder_pred.weight 1,2";
static const char hf[] =
    "d.embeddings.patch_embeddings.projection.weight 4,1,1,1;d.embeddings.cls_token 1,1,4;d.embeddings.register_tokens 1,2,4;"
    "d.embeddings.position_embeddings 1,5,4;d.encoder.layer.0.norm1.weight 4;d.encoder.layer.0.norm1.bias 4;"
    "d.encoder.layer.0.attention.attention.query.weight 4,4;d.encoder.layer.0.attention.attention.key.weight 4,4;"
    "d.encoder.layer.0.attention.attention.value.weight 4,4;d.encoder.layer.0.attention.attention.value.bias 4;"
    "d.encoder.layer.0.attention.output.dense.weight 4,4;d.encoder.layer.0.layer_scale1.lambda1 4;"
    "d.encoder.layer.0.norm2.weight 4;d.encoder.layer.0.norm2.bias 4;d.encoder.layer.0.mlp.fc1.weight 6,4;"
    "d.encoder.layer.0.mlp.fc2.weight 4,6;d.encoder.layer.0.layer_scale2.lambda1 4;d.layernorm.weight 4;d.layernorm.bias 4;"
    "classifier.weight 3,8;classifier.bias 3";

#define BLOCK(p, d, h) p "norm1.weight " d ";" p "norm1.bias " d ";" p "attn.proj.weight " d "," d ";" p "norm2.weight " d ";" p "norm2.bias " d ";" \
    p "mlp.fc1.weight " h "," d ";" p "mlp.fc2.weight " d "," h ";"
static const char video[] =
    "encoder.patch_embed.proj.weight 16,1,2,1,1;encoder.blocks.0.attn.qkv.weight 48,16;encoder.blocks.0.attn.q_bias 16;"
    "encoder.blocks.0.attn.v_bias 16;" BLOCK("encoder.blocks.0.", "16", "6") "encoder.norm.weight 16;encoder.norm.bias 16;"
    "encoder_to_decoder.weight 2,16;mask_token 1,1,2;decoder.head.weight 2,2";
static const char turned[] =
    "target_encoder.a.patch_embed.proj.weight 16,1,2,1,1;target_encoder.a.blocks.0.attn.qkv.weight 48,16;"
    "target_encoder.a.blocks.0.attn.qkv.bias 48;" BLOCK("target_encoder.a.blocks.0.", "16", "6") "target_encoder.a.norm.weight 16;"
    "target_encoder.a.norm.bias 16;target_encoder.a.pos_embed 1,9,16;encoder.a.patch_embed.proj.weight 16,1,2,1,1;"
    "predictor.a.predictor_embed.weight 2,16";
static const char earth[] =
    "encoder.patch_embed.proj.weight 16,2,1,1,1;encoder.cls_token 1,1,16;encoder.pos_embed 1,9,16;encoder.temporal_embed_enc.scale 1;"
    "encoder.location_embed_enc.scale 1;encoder.blocks.0.attn.qkv.weight 48,16;" BLOCK("encoder.blocks.0.", "16", "6")
    "encoder.norm.weight 16;encoder.norm.bias 16;decoder.mask_token 1,1,2;decoder.temporal_embed_dec.scale 1";
static const char dated[] =
    "patch_embed.proj.weight 16,1,1,1;cls_token 1,1,16;pos_embed 1,5,4;blocks.0.attn.qkv.weight 48,16;" BLOCK("blocks.0.", "16", "6")
    "fc_norm.weight 16;fc_norm.bias 16;head.weight 3,16";
static const char grouped[] =
    "patch_embed.0.proj.weight 8,4,1,1;patch_embed.1.proj.weight 8,4,1,1;patch_embed.2.proj.weight 8,2,1,1;patch_embed.2.proj.bias 8;"
    "cls_token 1,1,8;pos_embed 1,5,6;channel_embed 1,3,2;channel_cls_embed 1,1,2;blocks.0.attn.qkv.weight 24,8;" BLOCK("blocks.0.", "8", "6")
    "fc_norm.weight 8;fc_norm.bias 8";
#define LINEAR(name, n) name ".weight 16," n ";" name ".bias 16;"
static const char tokens[] =
    LINEAR("eo_patch_embed.S1", "2") LINEAR("eo_patch_embed.S2_RGB", "3") LINEAR("eo_patch_embed.S2_Red_Edge", "3")
    LINEAR("eo_patch_embed.S2_NIR_10m", "1") LINEAR("eo_patch_embed.S2_NIR_20m", "1") LINEAR("eo_patch_embed.S2_SWIR", "2")
    LINEAR("eo_patch_embed.ERA5", "2") LINEAR("eo_patch_embed.SRTM", "2") LINEAR("eo_patch_embed.NDVI", "1") LINEAR("latlon_embed", "3")
    "dw_embed.weight 10,16;month_embed.weight 12,4;channel_embed.weight 10,4;pos_embed 1,24,8;blocks.0.attn.qkv.weight 48,16;"
    BLOCK("blocks.0.", "16", "6") "norm.weight 16;norm.bias 16;decoder.mask_token 2";

static const char windows[] =
    "patch_embed.proj.weight 4,1,1,1;patch_embed.norm.weight 4;patch_embed.norm.bias 4;layers.0.blocks.0.attn.qkv.weight 12,4;"
    "layers.0.blocks.0.attn.relative_position_bias_table 9,2;layers.0.blocks.0.attn_mask 4,4,4;" BLOCK("layers.0.blocks.0.", "4", "6")
    "layers.0.downsample.norm.weight 16;layers.0.downsample.norm.bias 16;layers.0.downsample.reduction.weight 8,16;"
    "layers.1.blocks.0.attn.qkv.weight 24,8;layers.1.blocks.0.attn.relative_position_bias_table 9,2;" BLOCK("layers.1.blocks.0.", "8", "6")
    "norm.weight 8;norm.bias 8;head.weight 3,8";
#define THIN(p, d) p "attn.pool_" d ".weight 8,1,3,3,3;" p "attn.norm_" d ".weight 8;" p "attn.norm_" d ".bias 8;"
#define AXES(p) p "attn.rel_pos_h 3,8;" p "attn.rel_pos_w 3,8;" p "attn.rel_pos_t 3,8;" THIN(p, "q") THIN(p, "k") THIN(p, "v")
static const char thinned[] =
    "patch_embed.proj.weight 8,1,3,5,5;patch_embed.proj.bias 8;cls_token 1,1,8;mask_token 1,1,8;blocks.0.attn.qkv.weight 24,8;" AXES("blocks.0.")
    BLOCK("blocks.0.", "8", "6") "blocks.1.attn.qkv.weight 48,8;blocks.1.attn.proj.weight 16,16;blocks.1.proj.weight 16,8;" AXES("blocks.1.")
    "blocks.1.norm1.weight 8;blocks.1.norm1.bias 8;blocks.1.norm2.weight 16;blocks.1.norm2.bias 16;blocks.1.mlp.fc1.weight 6,16;"
    "blocks.1.mlp.fc2.weight 16,6;norm.weight 16;norm.bias 16";
#define NORM_OF(p, d) p ".weight " d ";" p ".bias " d ";"
#define KEYS(p, d, dd, cell) p "attn.q.weight " d "," d ";" p "attn.kv.weight " dd "," d ";" p "attn.sr.weight " d "," cell ";" NORM_OF(p "attn.norm", d)
static const char branched[] =
    "encoder.patch_embeds.0.proj.weight 4,1,2,2;" NORM_OF("encoder.patch_embeds.0.norm", "4") "encoder.patch_embeds.1.proj.weight 8,2,2,4;"
    NORM_OF("encoder.patch_embeds.1.norm", "8") "encoder.pos_block.0.proj.0.weight 4,1,3,3;encoder.pos_block.0.proj.0.bias 4;"
    "encoder.pos_block.1.proj.0.weight 8,1,3,3;encoder.blocks.0.0.attn.qkv.weight 12,4;" BLOCK("encoder.blocks.0.0.", "4", "6")
    KEYS("encoder.blocks.0.1.", "4", "8", "2,2,4") BLOCK("encoder.blocks.0.1.", "4", "6") "encoder.blocks.1.0.attn.q.weight 8,8;"
    "encoder.blocks.1.0.attn.kv.weight 16,8;" BLOCK("encoder.blocks.1.0.", "8", "6") NORM_OF("encoder.norm", "8") "decoder_embed.weight 2,8";
static const char averaged[] =
    "patch_embed.proj.weight 4,1,1,1;pos_embed 1,64,4;" KEYS("blocks.0.", "4", "8", "4,1,1") BLOCK("blocks.0.", "4", "6")
    "blocks.1.downsample.proj.weight 8,4,2,2;" KEYS("blocks.1.", "8", "16", "8,1,1") BLOCK("blocks.1.", "8", "6") NORM_OF("norm", "8")
    "vis_mask_token 1,1,4;decoder_embed.weight 2,8";
#define DISTANCES(p, n) p "attn.posmlp.0.weight 2,2,1,1;" p "attn.posmlp.0.bias 2;" p "attn.posmlp.2.weight " n ",2,1,1;" p "attn.posmlp.2.bias " n ";"
static const char distances[] =
    "patch_embed.proj.weight 4,1,1,1;" NORM_OF("patch_embed.norm", "4") "blocks.0.attn.qkv.weight 12,4;" DISTANCES("blocks.0.", "2")
    BLOCK("blocks.0.", "4", "6") "blocks.1.downsample.proj.weight 8,4,2,2;" NORM_OF("blocks.1.downsample.norm", "4") "blocks.1.attn.qkv.weight 24,8;"
    DISTANCES("blocks.1.", "4") BLOCK("blocks.1.", "8", "6") NORM_OF("fc_norm", "8") "head.weight 3,8";
static const char clip[] =
    "v.patch_embd.weight 4,1,1,1;v.class_embd 4;v.position_embd.weight 5,4;v.blk.0.ln1.weight 4;v.blk.0.ln1.bias 4;v.blk.0.attn_q.weight 4,4;"
    "v.blk.0.attn_k.weight 4,4;v.blk.0.attn_v.weight 4,4;v.blk.0.attn_v.bias 4;v.blk.0.attn_out.weight 4,4;v.blk.0.ln2.weight 4;v.blk.0.ln2.bias 4;"
    "v.blk.0.ffn_down.weight 6,4;v.blk.0.ffn_down.bias 6;v.blk.0.ffn_up.weight 4,6;v.post_ln.weight 4;v.post_ln.bias 4;mm.0.weight 2,4";

static const char window_metadata[] = "\"__metadata__\":{\"image\":\"4\",\"patch\":\"1\",\"dim\":\"8\",\"depth\":\"2\",\"heads\":\"2\","
    "\"mean\":\"0.5\",\"std\":\"0.25\"},";
static const char branched_metadata[] = "\"__metadata__\":{\"image\":\"8\",\"patch\":\"2\",\"dim\":\"8\",\"depth\":\"3\",\"heads\":\"2\","
    "\"mean\":\"0.5\",\"std\":\"0.25\"},";
static const char distance_metadata[] = "\"__metadata__\":{\"image\":\"8\",\"patch\":\"1\",\"dim\":\"8\",\"depth\":\"2\",\"heads\":\"2\","
    "\"mean\":\"0.5\",\"std\":\"0.25\"},";
static const char thinned_metadata[] = "\"__metadata__\":{\"image\":\"8\",\"patch\":\"4\",\"dim\":\"16\",\"depth\":\"2\",\"heads\":\"1\","
    "\"mean\":\"0.5\",\"std\":\"0.25\"},";
/* as GGUF says it, and how pictures are resized, which it does not */
static const char clip_metadata[] = "\"__metadata__\":{\"general.architecture\":\"clip\",\"clip.vision.embedding_length\":\"4\","
    "\"clip.vision.block_count\":\"1\",\"clip.vision.patch_size\":\"1\",\"clip.vision.attention.head_count\":\"2\","
    "\"clip.vision.attention.layer_norm_epsilon\":\"1e-5\",\"clip.vision.image_size\":\"2\",\"clip.vision.image_mean\":\"0.5\","
    "\"clip.vision.image_std\":\"0.25\",\"clip.use_gelu\":\"false\"},";
static const char clip_picture[] = "{\"do_resize\":true,\"size\":{\"height\":2,\"width\":2},\"resample\":2,\"image_mean\":[0.5],\"image_std\":[0.5]}";

static const char earth_config[] =
    "{\"architecture\":\"prithvi_eo_v2_300_tl\",\"num_features\":16,\"pretrained_cfg\":{\"img_size\":2,\"num_frames\":2,"
    "\"patch_size\":[1,1,1],\"in_chans\":2,\"embed_dim\":16,\"depth\":1,\"num_heads\":2,\"mean\":[1,2],\"std\":[1,2]}}";
static const char wide_metadata[] =
    "\"__metadata__\":{\"image\":\"2\",\"patch\":\"1\",\"dim\":\"16\",\"depth\":\"1\",\"heads\":\"2\"},";
static const char group_metadata[] = "\"__metadata__\":{\"image\":\"2\",\"patch\":\"1\",\"dim\":\"8\",\"depth\":\"1\",\"heads\":\"2\",\"mean\":"
    "\"0,0,0,0,0,0,0,0,0,0\",\"std\":\"1,1,1,1,1,1,1,1,1,1\"},";
/* the statistics of a single channel, which no family has */
static const char gray_metadata[] = "\"__metadata__\":{\"image\":\"2\",\"patch\":\"1\",\"dim\":\"16\",\"depth\":\"1\",\"heads\":\"2\","
    "\"mean\":\"0.5\",\"std\":\"0.25\"},";

static const char timm_config[] =
    "{\"architecture\":\"vit_tiny_patch16_224\",\"num_features\":4,\"global_pool\":\"token\",\"model_args\":{\"num_heads\":2,"
    "\"img_size\":[2,2]},\"pretrained_cfg\":{\"tag\":\"mae\",\"input_size\":[1,2,2],\"interpolation\":\"bicubic\",\"crop_pct\":0.9,"
    "\"crop_mode\":\"center\",\"mean\":[0.5],\"std\":[0.5],\"license\":\"mit\"}}";
static const char hf_config[] =
    "{\"model_type\":\"dinov2_with_registers\",\"hidden_size\":4,\"num_hidden_layers\":1,\"num_attention_heads\":2,"
    "\"hidden_act\":\"gelu\",\"layer_norm_eps\":1e-06,\"image_size\":2,\"patch_size\":1,\"num_channels\":1,\"num_register_tokens\":2}";
static const char hf_picture[] =
    "{\"do_resize\":true,\"do_center_crop\":true,\"crop_size\":{\"height\":2,\"width\":2},\"size\":{\"shortest_edge\":3},"
    "\"image_mean\":[0.5],\"image_std\":[0.5],\"resample\":3,\"rescale_factor\":0.00392156862745098,\"do_normalize\":true}";
static const char metadata[] =
    "\"__metadata__\":{\"image\":\"2\",\"patch\":\"1\",\"dim\":\"4\",\"depth\":\"1\",\"heads\":\"2\",\"decoder_heads\":\"1\",\"eps\":\"1e-6\","
    "\"gelu\":\"erf\",\"norm_pix_loss\":\"true\",\"mean\":\"0.5\",\"std\":\"0.25\"},";

static void put(sample *s, const void *data, size_t bytes)
{
    require(bytes <= sizeof s->data - s->bytes, "a seed is too large");
    memcpy(s->data + s->bytes, data, bytes);
    s->bytes += bytes;
}

static void make_seed(sample *s, const char *config, const char *picture, const char *meta, const char *tensors, const char *dtype, unsigned size)
{
    char header[8192] = "{";
    size_t used = (size_t)snprintf(header, sizeof header, "{%s", meta), at = 0;
    s->bytes = 0;
    for (const char *text = tensors; *text;) {
        char name[128], shape[64];
        int n = 0;
        require(sscanf(text, "%127s %63[0-9,]%n", name, shape, &n) == 2, "a seed is malformed");
        size_t count = 1;
        for (const char *p = shape; *p; p += *p == ',') count *= strtoul(p, (char **)(uintptr_t)&p, 10);
        used += (size_t)snprintf(header + used, sizeof header - used, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                                 text == tensors ? "" : ",", name, dtype, shape, at, at + count * size);
        at += count * size;
        text += n + (text[n] == ';');
    }
    used += (size_t)snprintf(header + used, sizeof header - used, "}");
    uint8_t length[8] = { (uint8_t)strlen(config), (uint8_t)(strlen(config) >> 8) };
    put(s, length, 2);
    put(s, config, strlen(config));
    length[0] = (uint8_t)strlen(picture);
    length[1] = (uint8_t)(strlen(picture) >> 8);
    put(s, length, 2);
    put(s, picture, strlen(picture));
    length[0] = (uint8_t)used;
    length[1] = (uint8_t)(used >> 8);
    put(s, length, 8);
    put(s, header, used);
    for (size_t i = 0; i < at; i++) put(s, &(uint8_t){ (uint8_t)(i % size == size - 1 ? 0x3c + (i & 3) : i * 37) }, 1);
}

enum { SEEDS = 17 };

static size_t make_seeds(sample *all)
{
    make_seed(&all[0], timm_config, "", "", timm, "F32", 4);
    make_seed(&all[1], hf_config, hf_picture, "", hf, "F16", 2);
    make_seed(&all[2], "", "", metadata, mae, "BF16", 2);
    make_seed(&all[3], timm_config, "", "", timm, "F64", 8);
    make_seed(&all[4], "", "", metadata, mae, "I8", 1);
    make_seed(&all[5], "", "", gray_metadata, video, "F16", 2);
    make_seed(&all[6], "", "", gray_metadata, turned, "I8", 1);
    make_seed(&all[7], earth_config, "", "", earth, "F16", 2);
    make_seed(&all[8], "", "", gray_metadata, dated, "F16", 2);
    make_seed(&all[9], "", "", group_metadata, grouped, "F16", 2);
    make_seed(&all[10], "", "", wide_metadata, tokens, "I8", 1);
    make_seed(&all[11], "", "", window_metadata, windows, "F16", 2);
    make_seed(&all[12], "", "", thinned_metadata, thinned, "I8", 1);
    make_seed(&all[13], "", clip_picture, clip_metadata, clip, "F16", 2);
    make_seed(&all[14], "", "", branched_metadata, branched, "F16", 2);
    make_seed(&all[15], "", "", distance_metadata, averaged, "I8", 1);
    make_seed(&all[16], "", "", distance_metadata, distances, "F16", 2);
    return SEEDS;
}

/* ---- mutation ---- */

static uint32_t state;

static uint32_t roll(uint32_t below)
{
    state = state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)state * below >> 32);
}

/* Replaces `was` bytes at `at` by these; what does not fit is left out. */
static void splice(sample *s, size_t at, size_t was, const char *bytes, size_t n)
{
    if (at > s->bytes || was > s->bytes - at || n > sizeof s->data - (s->bytes - was)) return;
    memmove(s->data + at + n, s->data + at + was, s->bytes - at - was);
    memcpy(s->data + at, bytes, n);
    s->bytes += n - was;
}

/* Where the checkpoint begins, or SIZE_MAX. */
static size_t checkpoint_at(const sample *s)
{
    size_t at = 0;
    for (int i = 0; i < 2; i++) {
        if (s->bytes - at < 2) return SIZE_MAX;
        at += 2 + (s->data[at] | (size_t)s->data[at + 1] << 8);
        if (at > s->bytes) return SIZE_MAX;
    }
    return s->bytes - at < 8 ? SIZE_MAX : at;
}

static void mutate(sample *s)
{
    static const char *const words[] = {
        "0", "1", "-1", "2.5", "1e9", "18446744073709551615", "9223372036854775808", "4294967296", "65537", "null", "true", "[]", "{}",
        "\"\"", "\"F16\"", "\"F64\"", "\"BOOL\"", "[1,2,3]", ",", ":", "}", "]", "\\u0000", "\\ud800", "\xc3\xa9", "\"a\":1,", "[[[[[[[[",
        "1e-6", "1e-46", "1e39", "blocks.1.", "weight", "bias", "cls_token", "gelu_new", "avg", "squash", "height", "3", "4", "16384",
    };
    for (uint32_t n = 1 + roll(4); n && s->bytes; n--) {
        size_t at = roll((uint32_t)s->bytes), length = 1 + roll(8);
        switch (roll(8)) {
        case 0: s->data[at] ^= (uint8_t)(1u << roll(8)); break;
        case 1: s->data[at] = (uint8_t)roll(256); break;
        case 2: s->bytes = roll(4) ? s->bytes : at; break;
        case 3: splice(s, at, length, "", 0); break;
        case 4: splice(s, at, roll(4), words[roll(sizeof words / sizeof *words)], strlen(words[roll(sizeof words / sizeof *words)]) % 3); break;
        case 5: {                                           /* another number in place of one */
            size_t end;
            while (at < s->bytes && (s->data[at] < '0' || s->data[at] > '9')) at++;
            for (end = at; end < s->bytes && s->data[end] >= '0' && s->data[end] <= '9';) end++;
            const char *word = words[roll(sizeof words / sizeof *words)];
            splice(s, at, end - at, word, strlen(word));
            break;
        }
        case 6: {                                           /* another value after a colon */
            while (at < s->bytes && s->data[at] != ':') at++;
            size_t end = at + 1;
            while (end < s->bytes && !strchr(",}]", s->data[end])) end++;
            const char *word = words[roll(sizeof words / sizeof *words)];
            if (at + 1 < s->bytes) splice(s, at + 1, end - at - 1, word, strlen(word));
            break;
        }
        default: {                                          /* one weight becomes something extreme */
            static const uint8_t extreme[][4] = { { 0, 0, 0x80, 0x7f }, { 0, 0, 0xc0, 0xff }, { 0xff, 0xff, 0x7f, 0x7f }, { 1, 0, 0, 0 } };
            if (s->bytes > 64) memcpy(s->data + s->bytes - 4 - roll(60), extreme[roll(4)], 4);
            break;
        }
        }
    }
    /* most edits change the header's length: more gets past the door when it is put right */
    size_t start = checkpoint_at(s);
    if (start != SIZE_MAX && roll(4)) {
        size_t open = start + 8, depth = 0, end = open;
        for (; end < s->bytes; end++) {
            depth += s->data[end] == '{';
            if (s->data[end] == '}' && --depth == 0) break;
        }
        if (end < s->bytes) {
            size_t length = end + 1 - open;
            for (int i = 0; i < 8; i++) s->data[start + (size_t)i] = (uint8_t)(i < 4 ? length >> 8 * i : 0);
        }
    }
}

static int replay(const char *path)
{
    static uint8_t data[1 << 20];
    FILE *in = fopen(path, "rb");
    if (!in) {
        fprintf(stderr, "fuzz_checkpoint: cannot open %s\n", path);
        return 1;
    }
    LLVMFuzzerTestOneInput(data, fread(data, 1, sizeof data, in));
    fclose(in);
    return 0;
}

static unsigned made_blobs;

static void run(const sample *s)
{
    LLVMFuzzerTestOneInput(s->data, s->bytes);
    made_blobs += refusals == 0;
}

int main(int argc, char **argv)
{
    static sample seeds[SEEDS], work;
    char *unit = (char[]){ "" };
    unsigned long rounds = argc > 1 ? strtoul(argv[1], &unit, 10) : 20000, done = 0;
    time_t until = time(NULL) + (time_t)rounds;
    int failed = 0;
    if (argc > 1 && (argv[1][0] < '0' || argv[1][0] > '9')) {
        for (int i = 1; i < argc; i++) failed |= replay(argv[i]);
        return failed;
    }
    state = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1;
    size_t count = make_seeds(seeds);
    for (size_t i = 0; i < count; i++) run(&seeds[i]);
    if (made_blobs != count) {
        printf("FAIL fuzz_checkpoint: %u of %zu seeds convert\n", made_blobs, count);
        return 1;
    }
    for (; *unit == 's' ? time(NULL) < until : done < rounds; done++) {
        work = seeds[roll((uint32_t)count)];
        mutate(&work);
        run(&work);
    }
    printf("ok fuzz_checkpoint: %lu mutants, %u of them still models\n", done, made_blobs - (unsigned)count);
    return 0;
}

#endif
