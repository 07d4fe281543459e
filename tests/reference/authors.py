"""Plain and BEiT-like encoders under the names of more authors' files, with what else those files hold.

The arithmetic is timm's; names, wrappers and the rules for other sizes were read in the authors' repositories. Wrappers
are part of the names, as in a file made of the whole dictionary that they published.
"""
import math

import torch
from torch import nn
from torch.nn import functional as F

from references import Authors, Keep, Mae, Reference, Timm, clip_processor, filler, rename, util_positions  # first: it makes torchvision importable

import open_clip.model


# ---------------------------------------------------------------------------------------- positions at other sizes

def interpolated(table, prefix, side, grid, **how):
    """F.interpolate of the patches' rows; the first stay."""
    rest = table[:, prefix:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    rest = F.interpolate(rest, align_corners=False, **how)
    assert tuple(rest.shape[2:]) == tuple(grid)
    return torch.cat([table[:, :prefix], rest.permute(0, 2, 3, 1).flatten(1, 2)], 1)


def dino_positions(table, side, grid):
    """DINO's, which iBOT and AttMask have: by a factor with 0.1 in it."""
    return interpolated(table, 1, side, grid, scale_factor=tuple((g + 0.1) / side for g in grid), mode="bicubic")


def msn_positions(table, side, grid):
    """MSN's: one factor for both sides."""
    return interpolated(table, 1, side, grid, scale_factor=math.sqrt(grid[0] * grid[1] / (side * side)), mode="bicubic")


def slowfast_positions(table, side, grid):
    """SlowFast's: linear in time, height and width."""
    cls, rest = table[:, :1], table[:, 1:].reshape(1, 1, side, side, -1).permute(0, 4, 1, 2, 3)
    rest = F.interpolate(rest, size=(1, *grid), mode="trilinear")
    return torch.cat([cls, rest.reshape(1, -1, grid[0] * grid[1]).permute(0, 2, 1)], 1)


def patch_positions(table, side, grid):
    """transformers' for I-JEPA, whose authors' own fails: no class token, bicubic."""
    return interpolated(table, 0, side, grid, size=grid, mode="bicubic")


# ---------------------------------------------------------------------------------------- files

class File(Authors):
    """An architecture of timm under the authors' names. `others` are shapes of what else the file holds, `twins`
    prefixes under which there is a whole encoder more, of other numbers."""

    def __init__(self, name, architecture, convert="", dtype=torch.float16, prefix="", names=None, others=None, twins=(),
                 rule=util_positions, **options):
        self.rule, self.twins, self.shapes = rule, twins, others or {}
        self.layout = names or {}
        self.names = {**self.layout, r"^": prefix} if prefix else self.layout
        super().__init__(name, architecture, convert, dtype, **options)

    def check(self):
        """These are not names that timm reads."""

    def finish(self, net, heads, gain=1.0):
        super().finish(net, heads, gain)
        for p in (*net.patch_embed.parameters(), net.cls_token, net.pos_embed):
            if p is not None:
                p.mul_(0.1)  # faint tokens, so that the norms' eps counts

    def positions(self, net, height, width):
        table, net.pos_embed = net.pos_embed, None
        net.set_input_size(img_size=(height, width))
        if table is not None:
            net.pos_embed = nn.Parameter(self.rule(table, self.height // self.patch[0], net.patch_embed.grid_size))

    def others(self):
        shapes = dict(self.shapes)
        for prefix in self.twins:
            shapes.update({prefix + k: tuple(v.shape) for k, v in rename(self.net.state_dict(), self.layout).items()})
        found = {k: filler(self.name, k, *(shape or (1,))).reshape(shape) for k, shape in shapes.items()}
        return {k: v.abs().mul(9).long() if k.endswith("num_batches_tracked") else v for k, v in found.items()}


class FullBias(File):
    """MAE-Lite's fine-tuned models: the bias of q, k and v in one. That of k shifts all logits of a query alike."""

    def state(self):
        state = super().state()
        for i in range(self.depth):
            q, v = (state.pop(f"module.model.blocks.{i}.attn.{part}_bias") for part in "qv")
            state[f"module.model.blocks.{i}.attn.qkv.bias"] = torch.cat([q, filler(self.name, f"k {i}", len(q)).to(self.dtype), v])
        return state


class MaeLite(Mae):
    dtype = torch.float16

    def state(self):
        return rename(super().state(), {r"^": "module.model."})


# ---------------------------------------------------------------------------------------- what else the files hold

def mae_decoder(dim, width, pixels, patches, extra=None):
    """MAE's decoder of one block; extra replaces its query, key and value layer."""
    shapes = {"decoder_embed.weight": (width, dim), "decoder_embed.bias": (width,), "mask_token": (1, 1, width),
              "decoder_pos_embed": (1, 1 + patches, width), "decoder_norm.weight": (width,), "decoder_norm.bias": (width,),
              "decoder_pred.weight": (pixels, width), "decoder_pred.bias": (pixels,)}
    block = extra or {"attn.qkv.weight": (3 * width, width), "attn.qkv.bias": (3 * width,)}
    block = {**block, "norm1.weight": (width,), "norm1.bias": (width,), "attn.proj.weight": (width, width),
             "attn.proj.bias": (width,), "norm2.weight": (width,), "norm2.bias": (width,), "mlp.fc1.weight": (width, width),
             "mlp.fc1.bias": (width,), "mlp.fc2.weight": (width, width), "mlp.fc2.bias": (width,)}
    return {**shapes, **{"decoder_blocks.0." + k: v for k, v in block.items()}}


def dino_head(prefix, dim):
    return {prefix + k: v for k, v in {
        "mlp.0.weight": (16, dim), "mlp.0.bias": (16,), "mlp.2.weight": (16, 16), "mlp.2.bias": (16,), "mlp.4.weight": (8, 16),
        "mlp.4.bias": (8,), "last_layer.weight_g": (20, 1), "last_layer.weight_v": (20, 8), "last_layer2.weight_g": (20, 1),
        "last_layer2.weight_v": (20, 8)}.items()}


def msn_head(prefix, dim):
    shapes = {}
    for i in (1, 2, 3):
        shapes.update({f"fc{i}.weight": (16, 16 if i > 1 else dim), f"fc{i}.bias": (16,)})
        if i < 3:
            shapes.update({f"bn{i}.{k}": (16,) for k in ("weight", "bias", "running_mean", "running_var")})
            shapes[f"bn{i}.num_batches_tracked"] = ()
    return {prefix + "fc." + k: v for k, v in shapes.items()}


def ijepa_predictor(dim, patches):
    shapes = {"predictor_embed.weight": (16, dim), "predictor_embed.bias": (16,), "mask_token": (1, 1, 16),
              "predictor_pos_embed": (1, patches, 16), "predictor_blocks.0.attn.qkv.weight": (48, 16),
              "predictor_blocks.0.mlp.fc1.weight": (16, 16), "predictor_norm.weight": (16,), "predictor_proj.weight": (dim, 16)}
    return {"predictor.module." + k: v for k, v in shapes.items()}


def bootmae_decoders(dim, patches):
    shapes = {"de_pos_embed": (1, 1 + patches, 16), "down.weight": (16, dim), "down.bias": (16,), "mask_token": (1, 1, 16),
              "lm_head.proj.weight": (16, 3, 4, 4), "lm_head.proj.bias": (3,), "decode_norm.weight": (16,), "decode_norm.bias": (16,),
              "down_1.weight": (dim, dim), "down_1.bias": (dim,), "mask_token_1": (1, 1, dim), "decode_norm_1.weight": (dim,),
              "decode_norm_1.bias": (dim,), "lm_head_1.weight": (dim, dim), "lm_head_1.bias": (dim,)}
    for name, width in (("decode_blocks", 16), ("decode_blocks_1", dim)):
        shapes.update({f"{name}.0.attn.qkv.weight": (3 * width, width), f"{name}.0.attn.q_bias": (width,),
                       f"{name}.0.c_attn.q.weight": (width, width), f"{name}.0.c_attn.kv.weight": (2 * width, dim),
                       f"{name}.0.norm3.weight": (width,), f"{name}.0.norm4.weight": (dim,)})
    return shapes


def localmim_decoders(dim, patches):
    shapes = {f"norm.{k}.{part}": (dim,) for k in range(3) for part in ("weight", "bias")}
    for k, size in enumerate((4, 8, 16, 32)):
        d = f"decoder.{k}."
        shapes.update({d + "embed.weight": (16, dim), d + "embed.bias": (16,), d + "mask_token": (1, 1, 16),
                       d + "pos_embed": (1, 1 + patches, 16), d + "blocks.0.attn.qkv.weight": (48, 16), d + "norm.weight": (16,),
                       d + "pred.0.weight": (27, 16, 1, 1), f"hog_enc.{k}.conv.weight": (2, 1, 3, 3)})
    return shapes


def cmae_rest(dim):
    shapes = {f"{p}.decoder_blocks.0.attn.qkv.weight": (48, 16) for p in ("pixel_decoder", "feature_decoder")}
    shapes.update({"pixel_decoder.mask_token": (1, 1, 16), "feature_decoder.mask_token": (1, 1, 16)})
    for p in ("projector", "target_projector", "head.predictor"):
        shapes.update({p + ".fc0.weight": (16, dim), p + ".bn0.running_mean": (16,), p + ".bn0.num_batches_tracked": ()})
    return shapes


MMPRETRAIN = {r"patch_embed\.proj": "patch_embed.projection", r"^norm": "ln1", r"^fc_norm": "ln2", r"^blocks": "layers",
              r"norm([12])\.": r"ln\1.", r"mlp\.fc1": "ffn.layers.0.0", r"mlp\.fc2": "ffn.layers.1"}
CLIP_TEXT = {"token_embedding.weight": (9, 16), "positional_embedding": (5, 16), "text_projection": (16, 8),
             "ln_final.weight": (16,), "ln_final.bias": (16,), "logit_scale": (),
             "transformer.resblocks.0.attn.in_proj_weight": (48, 16), "transformer.resblocks.0.ln_1.weight": (16,)}


class OpenClip(Reference):
    """open_clip itself, with its text encoder: an antialiased table of positions, a norm of all tokens, a projection."""

    def __init__(self, name, convert, dtype, size, patch, width, layers, head_width, mlp_ratio, projection, quick):
        self.name, self.convert, self.dtype = name, convert, dtype
        self.height = self.width = size
        self.patch, self.channels, self.depth, self.classes, self.has_cls, self.prefix = (patch, patch), 3, layers, projection, 1, 1
        self.preprocessor = clip_processor(size)
        vision = open_clip.model.CLIPVisionCfg(layers=layers, width=width, head_width=head_width, patch_size=patch, image_size=size,
                                               mlp_ratio=mlp_ratio)
        text = open_clip.model.CLIPTextCfg(context_length=5, vocab_size=12, width=16, heads=2, layers=1)
        self.finish(open_clip.model.CLIP(projection, vision, text, quick_gelu=quick), width // head_width)

    def forward(self, net, x, keep):
        eye, side, grid = net.visual, self.height // self.patch[0], tuple(s // p for s, p in zip(x.shape[2:], self.patch))
        if grid != (side, side):
            table = interpolated(eye.positional_embedding[None], 1, side, grid, size=grid, mode="bicubic", antialias=True)
            eye.positional_embedding = nn.Parameter(table[0])
        if keep is not None:
            eye.patch_dropout = Keep(keep, 1)
        hidden, attention = [], []
        for block in eye.transformer.resblocks:
            block.register_forward_hook(lambda m, i, o: hidden.append(o))
        last = eye.transformer.resblocks[-1].attn
        last.register_forward_pre_hook(lambda m, i, o: (i, {**o, "need_weights": True, "average_attn_weights": False}), with_kwargs=True)
        last.register_forward_hook(lambda m, i, o: attention.append(o[1]))
        logits = eye(x)
        normed = [eye.ln_post(h) for h in hidden]
        assert torch.allclose(normed[-1][:, 0] @ eye.proj, logits)
        return {"tokens": normed[-1], "pooled": normed[-1][:, 0], "logits": logits, "layers": hidden, "normed": normed, "attention": attention[0]}


def golden_models():
    """(reference, sizes other than the trained one, pictures); made one at a time."""
    bf16 = torch.bfloat16
    vit, beit, eva = "vit_base_patch16_224", "beit_base_patch16_224", "eva_giant_patch14_224"
    plain = dict(img_size=20, patch_size=4, embed_dim=32, depth=2, num_heads=2, mlp_ratio=2.0, num_classes=0)

    yield OpenClip("open_clip", "--heads 3 --act quick_gelu --resize short:20 --filter bicubic", torch.float16, 20, 4, 48, 2, 16, 1.5, 10, True), [(28, 24), (12, 16)], ["wide.ppm"]
    yield File("ibot", vit, "--heads 2", prefix="teacher.backbone.", rule=dino_positions, twins=["student.module.backbone."],
               others={"student.module.backbone.masked_embed": (1, 32), **dino_head("student.module.head.", 32),
                       **dino_head("teacher.head.", 32)}, **plain), [(28, 24), (12, 16)], []
    yield File("attmask", vit, "--heads 4", dtype=bf16, prefix="module.backbone.", rule=dino_positions,
               others={"module.backbone.masked_embed": (1, 32), **dino_head("module.head.", 32)},
               **{**plain, "num_heads": 4, "depth": 1}), [(16, 28)], []
    yield File("msn", vit, "--heads 2", prefix="target_encoder.module.", rule=msn_positions, twins=["encoder.module."],
               others={**msn_head("encoder.module.", 32), **msn_head("target_encoder.module.", 32), "prototypes": (10, 16)},
               **plain), [(28, 28), (12, 12)], []
    yield File("ijepa", vit, "--heads 2 --resize squash --filter bilinear --positions cubic", prefix="encoder.module.",
               rule=patch_positions, twins=["target_encoder.module."], others=ijepa_predictor(32, 25), class_token=False,
               global_pool="avg", fc_norm=False, **plain), [(28, 24), (12, 16)], []

    yield MaeLite("mae_lite", "--heads 3 --keep-decoder --decoder-heads 2 --norm-pix yes --resize squash --filter bicubic",
                  image=20, patch=4, channels=3, dim=48, depth=2, heads=3, decoder_dim=32, decoder_depth=1, decoder_heads=2,
                  mlp=1.0), [(28, 24), (12, 16)], []
    yield FullBias("mae_lite_finetuned", beit, "--family mae-lite --resize squash --filter bicubic", prefix="module.model.",
                   use_abs_pos_emb=True, init_values=None,
                   **{**plain, "embed_dim": 48, "num_heads": 3, "num_classes": 5}), [(28, 24), (12, 16)], []
    yield File("dmae", vit, "--heads 2", others={**mae_decoder(32, 16, 48, 25), **{
        f"aligned_feature_projection_heads.0.{k}": s for k, s in (("fc1.weight", (40, 32)), ("fc1.bias", (40,)),
                                                                  ("fc2.weight", (40, 40)), ("fc2.bias", (40,)))}},
               **plain), [(28, 24)], []
    yield File("sdae", vit, "--heads 2", prefix="model.", twins=["model_teacher."],
               others={"model." + k: s for k, s in mae_decoder(32, 16, 32, 25).items()}, **plain), [(28, 24)], []
    yield File("milan", vit, "--heads 2", dtype=bf16, others=mae_decoder(32, 16, 48, 25, {
        "attn.q.weight": (16, 16), "attn.q.bias": (16,), "attn.kv.weight": (32, 16), "attn.kv.bias": (32,)}),
               **plain), [(28, 24)], []
    yield File("tinymim", vit, "--family tinymim --heads 6", **{**plain, "embed_dim": 48, "num_heads": 6}), [(12, 16)], []
    yield File("semmae", vit, "--family semmae --heads 2", others=mae_decoder(32, 16, 192, 25),
               **{**plain, "img_size": 40, "patch_size": 8}), [(24, 32)], []
    yield File("localmim", vit, "--heads 2", names={r"^norm": "norm.3"}, others=localmim_decoders(32, 25),
               **plain), [(28, 24), (12, 16)], []

    yield File("bootmae", beit, "--heads 2 --mean .485,.456,.406 --std .229,.224,.225 --resize short:24 --filter bicubic",
               others=bootmae_decoders(32, 25), use_abs_pos_emb=True, use_rel_pos_bias=False, init_values=None,
               global_pool="token", **plain), [], []
    yield File("maskdistill", beit, "--mean .5,.5,.5 --std .5,.5,.5 --resize short:24 --filter bicubic",
               prefix="module.student.", others={"module.distill_head.weight": (40, 32), "module.distill_head.bias": (40,),
                                                        "module.student.mask_token": (1, 1, 32)},
               use_rel_pos_bias=False, use_shared_rel_pos_bias=True, global_pool="token", **plain), [(28, 24), (12, 16)], []
    yield File("data2vec", beit, "--family data2vec --mean .5,.5,.5 --std .5,.5,.5 --resize short:24 --filter bicubic", dtype=bf16,
               others={"mask_token": (1, 1, 32), "lm_head.weight": (32, 32), "lm_head.bias": (32,)}, use_rel_pos_bias=False,
               use_shared_rel_pos_bias=True, global_pool="token", **plain), [(12, 16)], []

    yield File("maskfeat", vit, "--heads 2 --resize squash --filter bilinear", rule=slowfast_positions,
               others={"mask_token": (1, 1, 32), "pred_head.transforms.0.0.weight": (32,), "pred_head.transforms.0.0.bias": (32,),
                       "pred_head.projections.0.weight": (108, 32), "pred_head.projections.0.bias": (108,),
                       "hogs.0.weight_x": (3, 1, 3, 3), "hogs.0.weight_y": (3, 1, 3, 3)},
               final_norm=False, global_pool="avg", fc_norm=False, **plain), [(28, 24), (12, 16)], []
    yield File("maskfeat_finetuned", vit, "--heads 2 --resize squash --filter bilinear",
               names={r"^fc_norm": "norm", r"^head": "head.projection"},  # what is called norm is of the mean alone
               rule=slowfast_positions, global_pool="avg", **{**plain, "num_classes": 7}), [(28, 24)], []

    yield File("eva_clip", eva, "--heads 2 --mean .5,.5,.5 --std .3,.3,.3 --resize squash --filter bicubic --positions cubic",
               prefix="visual.", others=CLIP_TEXT, global_pool="token", **{**plain, "num_classes": 6}), [(28, 24)], []
    yield File("eva02_clip_e", eva, "--family eva02-clip-e --heads 2", dtype=bf16, prefix="visual.", others=CLIP_TEXT,
               use_post_norm=True, global_pool="token", **{**plain, "num_classes": 6}), [(28, 24), (12, 16)], []

    yield File("cmae", vit, "--heads 2", prefix="backbone.", names=MMPRETRAIN, twins=["target_backbone."],
               others=cmae_rest(32), **plain), [(28, 24), (12, 16)], []
    yield File("mmpretrain", vit, "--heads 2 --mean .5,.5,.5 --std .3,.3,.3 --resize squash --filter bicubic",
               names={**MMPRETRAIN, r"^(?!head)": "backbone.", r"^head": "head.fc"}, global_pool="avg",
               **{**plain, "num_classes": 6}), [(28, 24)], []

    yield Timm("timm_qk_norm", vit, dtype=torch.float16, qk_norm=True, **{**plain, "embed_dim": 48, "num_classes": 4}), [(28, 24)], []
