"""Reference models with windows and pyramids (class E): Swin, Swin V2, SAM, Hiera, EfficientSAM, HiViT and iTPN, MixMIM,
ConvMAE, MViTv2, in the names of timm, transformers and their authors.

What a pyramid gives as layer K is stage K: what the following merging or pooling sees. Tokens are in raster order.
"""
import functools
import json
import os
import re
from unittest import mock

import torch
from torch import nn
from torch.nn import functional as F

from references import IMAGENET, Reference, dinov2_processor, filler, rename, spread, timm, transformers

from timm.layers import LayerNorm2d, Mlp, PatchEmbed
from timm.models import mvitv2, swin_transformer, swin_transformer_v2
from timm.models.eva import EvaBlock
from timm.models.swin_transformer import get_relative_position_index
from timm.models.vision_transformer import Attention, Block


class Pyramid(Reference):
    """depth counts stages. No tokens but those of the grid."""
    prefix = has_cls = 0
    faint = r"patch_embed|patch_embeddings|embeddings\.norm"  # so small that the eps of the first norms counts

    def finish(self, net, heads, gain=0.8):
        spread(net, self.name, (heads, heads), gain)
        names = dict(net.named_parameters())
        scales = [p for name, p in names.items() if "logit_scale" in name]  # Swin V2, whose norms are behind
        faint = r"proj(ection)?\.weight" if scales else ""
        for name, p in names.items():
            if re.search(self.faint, name) and re.search(faint, name):
                p *= 0.1
            elif scales and re.search(r"blocks.*norm", name):
                p *= 0.5
            elif "rel_pos_" in name:
                p *= 2 / p.shape[1] ** 0.5  # they are multiplied by queries
            elif "logit_scale" in name:
                p.mul_(0.4).add_(2.3)  # about ln 10, as training begins
        for scale in scales[-1:]:
            scale[0] = 4.8  # one beyond ln 100, where it is cut off
        for p in net.parameters():
            p.data = p.data.to(self.dtype)
        self.net = net.eval()

    def layer_names(self):
        return [f"layers:{k}" for k in range(1, self.depth + 1)]

    def places(self, height, width):
        """Subsets are not for windows."""
        return 0

    def results(self, tokens, layers, pooled=None, classify=None, **more):
        pooled = tokens.mean(1) if pooled is None else pooled
        return {"tokens": tokens, "layers": layers, "pooled": pooled,
                "logits": classify(pooled) if self.classes else None, **more}


def flat(x):
    """(N, C, H, W) as tokens."""
    return x.flatten(2).transpose(1, 2)


# ---------------------------------------------------------------------------------------- timm

class TimmPyramid(Pyramid):
    """A model of timm's, created anew for every size: its windows are what they would have been trained at that size."""

    def __init__(self, name, architecture, convert="", dtype=torch.float32, **options):
        self.name, self.architecture, self.convert, self.dtype, self.options = name, architecture, convert, dtype, options
        net = self.create(options["img_size"])
        self.finish(net, options["num_heads"][0] if isinstance(options["num_heads"], tuple) else options["num_heads"])
        size = options["img_size"]
        self.height, self.width = size if isinstance(size, tuple) else (size, size)
        self.channels = net.patch_embed.proj.in_channels
        self.patch = net.patch_embed.proj.stride
        self.classes = net.num_classes
        self.depth = len(net.feature_info)

    def create(self, size):
        return timm.create_model(self.architecture, **{**self.options, "img_size": size})

    def loaded(self, state, net):
        """timm's own reading of a checkpoint, which resizes what depends on the size, if anything does."""
        return state

    def at(self, net, size):
        if tuple(size) == (self.height, self.width):
            return net
        new = self.create(tuple(size)).to(next(net.parameters()).dtype).eval()
        new.load_state_dict(self.loaded(net.state_dict(), new))
        return new

    def forward(self, net, x, keep):
        net = self.at(net, x.shape[2:])
        tokens, layers = net.forward_intermediates(x)
        return self.results(tokens.flatten(1, 2), [flat(f) for f in layers],
                            net.forward_head(tokens, pre_logits=True), net.head.fc)

    def write(self, folder):
        timm.models.save_for_hf(self.net, folder, safe_serialization=True)


class TimmSwin(TimmPyramid):
    def loaded(self, state, net):
        module = swin_transformer_v2 if isinstance(net, swin_transformer_v2.SwinTransformerV2) else swin_transformer
        return module.checkpoint_filter_fn(dict(state), net)


def authors_swin(state):
    """timm's names as Microsoft has them: merging belongs to the stage before it."""
    state = {re.sub(r"layers\.(\d+)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", k): v for k, v in state.items()}
    return rename(state, {r"^head\.fc": "head"})


class Swin(TimmSwin):
    """microsoft/Swin-Transformer's names, with its stored buffers."""
    prefix_of_names = ""
    masks = True

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        again = self.loaded(self.authors(), self.net)
        own = self.net.state_dict()
        assert again.keys() == own.keys() and all(torch.equal(again[k], own[k]) for k in own), self.name

    def authors(self):
        return authors_swin(Reference.state(self))

    def others(self):
        return {}

    def state(self):
        state = self.authors()
        for s, stage in enumerate(self.net.layers):
            for j, block in enumerate(stage.blocks):
                at = f"layers.{s}.blocks.{j}."
                state[at + "attn.relative_position_index"] = block.attn.relative_position_index.clone()
                if hasattr(block.attn, "relative_coords_table"):
                    state[at + "attn.relative_coords_table"] = block.attn.relative_coords_table.clone()
                if self.masks and block.attn_mask is not None:
                    state[at + "attn_mask"] = block.attn_mask.clone()
        state = {self.prefix_of_names + k: v for k, v in state.items()}
        return {**state, **{k: v.to(self.dtype) for k, v in self.others().items()}}

    def write(self, folder):
        Reference.write(self, folder)


class SimMimSwin(Swin):
    """microsoft/SimMIM's Swin, with what predicts pixels."""
    prefix_of_names = "encoder."

    def others(self):
        dim, stride = self.net.num_features, self.patch[0] * 2 ** (self.depth - 1)
        pixels = stride * stride * self.channels
        return {"encoder.mask_token": filler(self.name, "mask_token", 1, 1, self.net.embed_dim),
                "decoder.0.weight": filler(self.name, "decoder.0.weight", pixels, dim, 1, 1),
                "decoder.0.bias": filler(self.name, "decoder.0.bias", pixels)}


def ibot_block(self, x):
    """A block of iBOT's Swin: windows and shifts stay what they were trained with, padding comes before rolling."""
    shortcut, (b, h, w, c), side, shift = x, x.shape, self.window_size[0], self.shift_size[0]
    x = F.pad(self.norm1(x), (0, 0, 0, -w % side, 0, -h % side))
    high, wide = x.shape[1:3]
    windows = lambda t: t.unflatten(2, (-1, side)).unflatten(1, (-1, side)).transpose(2, 3).flatten(0, 2).flatten(1, 2)
    x, mask = torch.roll(x, (-shift, -shift), (1, 2)), None
    if shift:
        part = lambda n: torch.bucketize(torch.arange(n), torch.tensor([n - side, n - shift]), right=True)
        region = windows((3 * part(high)[:, None] + part(wide))[None, :, :, None])[..., 0]
        mask = (region[:, None] != region[:, :, None]).to(x.dtype) * -100
    x = self.attn(windows(x), mask=mask)
    x = x.unflatten(1, (side, side)).unflatten(0, (b, high // side, wide // side)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
    x = shortcut + torch.roll(x, (shift, shift), (1, 2))[:, :h, :w]
    return x + self.mlp(self.norm2(x))


class IbotSwin(Swin):
    """bytedance/ibot's Swin, the student's."""
    masks = False

    def create(self, size):
        """Of the size trained at, whatever the input."""
        net = super().create(self.options["img_size"])
        for stage in net.layers:
            for block in stage.blocks:
                block.forward = functools.partial(ibot_block, block)
        net.patch_embed.strict_img_size = False
        return net

    def forward(self, net, x, keep):
        for stage in net.layers:  # the copy's blocks, not those it was copied from
            for block in stage.blocks:
                block.forward = functools.partial(ibot_block, block)
        return super().forward(net, x, keep)

    def loaded(self, state, net):
        return swin_transformer.checkpoint_filter_fn(dict(state), net)

    def others(self):
        return {"masked_embed": filler(self.name, "masked_embed", 1, self.net.embed_dim)}


class RowMerging(swin_transformer.PatchMerging):
    """Takes the four tokens row by row."""

    def forward(self, x):
        b, h, w, c = x.shape
        x = x.reshape(b, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5).flatten(3)
        return self.reduction(self.norm(x))


class GreenMim(SimMimSwin):
    """LayneH/GreenMIM: Swin with another order of channels in merging. With nothing masked its groups of windows are
    Swin's windows."""
    masks = False

    def create(self, size):
        net = super().create(size)
        for stage in net.layers[1:]:
            stage.downsample.__class__ = RowMerging
        return net

    def others(self):
        dim = self.net.num_features
        return {"mask_token": filler(self.name, "mask_token", 1, 1, 24), "decoder_embed.weight": filler(self.name, "embed", 24, dim),
                "decoder_embed.bias": filler(self.name, "embed.bias", 24), "decoder_pos_embed": filler(self.name, "pos", 1, 4, 24),
                "decoder_norm.weight": filler(self.name, "norm", 24), "decoder_norm.bias": filler(self.name, "norm.bias", 24),
                "decoder_pred.weight": filler(self.name, "pred", 192, 24), "decoder_pred.bias": filler(self.name, "pred.bias", 192)}


class LocalMimSwin(GreenMim):
    """huawei-noah's LocalMIM: a norm behind each stage's merging, the last of which is Swin's; a decoder for each."""

    def state(self):
        return rename(super().state(), {r"^encoder\.norm\.(weight|bias)$": r"encoder.norm.3.\1"})

    def others(self):
        dim = self.net.embed_dim
        norms = {f"encoder.norm.{i}.{part}": filler(self.name, f"norm.{i}.{part}", dim * 2 ** min(i + 1, len(self.net.layers) - 1))
                 for i in range(3) for part in ("weight", "bias")}
        return {**norms, "decoder.3.embed.weight": filler(self.name, "embed", 24, self.net.num_features),
                "decoder.3.blocks.0.attn.qkv.weight": filler(self.name, "qkv", 72, 24),
                "hog_enc.3.conv.weight": filler(self.name, "hog", 2, 1, 3, 3)}


class MixMim(Swin):
    """Sense-X/MixMIM: Swin's blocks and merging, never shifted, a window for each stage, sine and cosine positions."""
    masks = False

    def create(self, size):
        net = super().create(size)
        for stage in net.layers:
            for block in stage.blocks:
                block.shift_size, block.attn_mask = (0, 0), None
        return net

    def positions(self):
        side, quarter = self.height // self.patch[0], self.net.embed_dim // 4
        frequencies = 10000.0 ** (-torch.arange(quarter) / quarter)
        row, column = (a.reshape(-1, 1) * frequencies for a in torch.meshgrid(*[torch.arange(side)] * 2, indexing="ij"))
        # columns first, as in MAE
        return torch.cat([column.sin(), column.cos(), row.sin(), row.cos()], 1).to(self.dtype)

    def forward(self, net, x, keep):
        table = self.positions().to(x.dtype)
        net.patch_embed.register_forward_hook(lambda m, i, o: o + table.reshape(o.shape[1:]))
        return super().forward(net, x, keep)

    def others(self):
        return {"absolute_pos_embed": self.positions()[None]}


class TimmSam(TimmPyramid):
    """Blocks are its layers, and it takes other sizes as it is."""
    faint = r"patch_embed|pos_embed"

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.depth = len(self.net.blocks)

    layer_names = Reference.layer_names

    def forward(self, net, x, keep):
        attention = []
        last = net.blocks[-1]
        last.attn.fused_attn = False
        last.attn.attn_drop.register_forward_hook(lambda m, i, o: attention.append(o.unflatten(0, (x.shape[0], -1))))
        tokens, layers = net.forward_intermediates(x, indices=len(net.blocks))
        return self.results(flat(tokens), [flat(f) for f in layers], flat(tokens).mean(1), getattr(net.head, "fc", None),
                            attention=None if last.window_size else attention[0])


class TimmTwins(TimmPyramid):
    """Takes other sizes as it is; what is left over of the grid is padded for windows, and left out in cells."""
    faint = r"patch_embeds\.0"

    def __init__(self, name, architecture, convert="", dtype=torch.float32, **options):
        self.name, self.architecture, self.convert, self.dtype, self.options = name, architecture, convert, dtype, options
        net = self.create(options["img_size"])
        self.finish(net, options["num_heads"][0])
        for key, p in net.named_parameters():
            if "pos_block" in key:
                p.data *= 0.4
        self.height = self.width = options["img_size"]
        self.channels, self.patch = net.patch_embeds[0].proj.in_channels, net.patch_embeds[0].proj.stride
        self.classes, self.depth = net.num_classes, len(net.depths)

    def forward(self, net, x, keep):
        tokens, layers = net.forward_intermediates(x)
        return self.results(tokens, [flat(f) for f in layers], classify=net.head)


class GreenMimTwins(TimmTwins):
    """LayneH/GreenMIM's Twins: sparse convolutions, whose weights have the channels last; the convolution that tells places apart
    replaces the tokens; one eps."""

    def create(self, size):
        net = super().create(size)
        for module in net.modules():
            if isinstance(module, nn.LayerNorm):
                module.eps = 1e-6
        for conv in net.pos_block:
            conv.stride = 0  # which timm takes for a reason not to add the tokens
        return net

    def state(self):
        state = {}
        for k, v in Reference.state(self).items():
            sparse = re.search(r"attn\.sr\.weight|patch_embeds\.[1-9]\.proj\.weight", k)
            state["encoder." + k] = v.permute(0, 2, 3, 1).contiguous() if sparse else v
        dim, out = self.net.num_features, 24
        shapes = {"mask_token": (1, 1, out), "decoder_embed.weight": (out, dim), "decoder_embed.bias": (out,), "decoder_pos_embed": (1, 4, out),
                  "decoder_blocks.0.attn.qkv.weight": (3 * out, out), "decoder_norm.weight": (out,), "decoder_norm.bias": (out,),
                  "decoder_pred.weight": (192, out), "decoder_pred.bias": (192,)}
        return {**state, **{k: filler(self.name, k, *s).to(self.dtype) for k, s in shapes.items()}}

    def write(self, folder):
        Reference.write(self, folder)


def prompts(name):
    """What of SAM prompts and draws masks."""
    shapes = {"prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": (2, 8), "prompt_encoder.no_mask_embed.weight": (1, 16),
              "mask_decoder.iou_token.weight": (1, 16), "mask_decoder.transformer.layers.0.self_attn.q_proj.weight": (16, 16),
              "mask_decoder.transformer.layers.0.mlp.lin1.weight": (24, 16), "mask_decoder.output_upscaling.0.weight": (16, 4, 2, 2)}
    return {k: filler(name, k, *s) for k, s in shapes.items()}


class Sam(TimmSam):
    """facebookresearch/segment-anything's names, and its eps."""

    def create(self, size):
        return timm.create_model(self.architecture, norm_layer=functools.partial(nn.LayerNorm, eps=1e-6),
                                 **{**self.options, "img_size": size})

    def state(self):
        state = rename(Reference.state(self), {r"mlp\.fc": "mlp.lin", r"^": "image_encoder."})
        return {**state, **{k: v.to(self.dtype) for k, v in prompts(self.name).items()}}

    def write(self, folder):
        Reference.write(self, folder)


class TimmHiera(TimmPyramid):
    """Its subsets are of mask units. Where positions are one for each place, only the size trained at."""
    faint = r"patch_embed|pos_embed"
    unit = 8

    def places(self, height, width):
        return height // (4 * self.unit) * (width // (4 * self.unit))

    def mask(self, x, keep):
        mask = torch.zeros(x.shape[0], self.places(*x.shape[2:]), dtype=torch.bool)
        mask[:, torch.as_tensor(keep, dtype=torch.long)] = True
        return mask

    def forward(self, net, x, keep):
        net = self.at(net, x.shape[2:])
        tokens, layers = net.forward_features(x, None if keep is None else self.mask(x, keep), True)
        if keep is not None:
            return {"tokens": in_order(tokens.unflatten(1, (len(keep), -1)), keep)}
        return self.results(layers[-1].flatten(1, 2), [f.flatten(1, 2) for f in layers],
                            net.forward_head(tokens, pre_logits=True), net.head.fc)


def in_order(units, keep):
    """Units (N, U, ..., C), which a reference gives in raster order, in the order of the list."""
    order = torch.as_tensor(keep, dtype=torch.long).argsort().argsort()
    return units[:, order].flatten(1, -2)


class Hiera(TimmHiera):
    """facebookresearch/hiera's names."""

    def state(self):
        return rename(Reference.state(self), {r"^head\.norm": "norm", r"^head\.fc": "head.projection"})

    def write(self, folder):
        Reference.write(self, folder)


class HieraMae(TimmHiera):
    """facebookresearch/hiera for pretraining: queries are pooled twice, stages fused, then normed."""

    def create(self, size):
        net = super().create(size)
        width = net.num_features
        final = net.mask_unit_size[0] // 2 ** net.q_pool
        net.head = nn.Identity()
        net.encoder_norm = nn.LayerNorm(width, eps=1e-6)
        net.multi_scale_fusion_heads = nn.ModuleList()
        for i in range(net.q_pool):
            side = net.mask_unit_size[0] // 2 ** i // final
            net.multi_scale_fusion_heads.append(nn.Conv2d(net.feature_info[i]["num_chs"], width, side, side))
        return net

    def forward(self, net, x, keep):
        units = list(range(self.places(*x.shape[2:]))) if keep is None else keep
        _, layers = net.forward_features(x, self.mask(x, units), True)
        fused = layers[-1]
        for head, f in zip(net.multi_scale_fusion_heads, layers):
            fused = fused + head(f.flatten(0, 1).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).unflatten(0, f.shape[:2])
        tokens = net.encoder_norm(fused)
        if keep is not None:
            return {"tokens": in_order(tokens, keep)}
        grid = [s // (4 * self.unit) for s in x.shape[2:]]
        raster = lambda f: f.unflatten(1, grid).permute(0, 1, 3, 2, 4, 5).flatten(1, 4)
        return self.results(raster(tokens), [raster(f) for f in layers])

    def state(self):
        width, dim = self.net.num_features, 16
        places = self.height // 16 * (self.width // 16)
        shapes = {"decoder_embed.weight": (dim, width), "decoder_embed.bias": (dim,), "mask_token": (1, 1, dim),
                  "decoder_pos_embed": (1, places, dim), "decoder_norm.weight": (dim,), "decoder_norm.bias": (dim,),
                  "decoder_pred.weight": (16 * 16 * 3, dim), "decoder_pred.bias": (16 * 16 * 3,)}
        block = {"norm1.weight": (dim,), "norm1.bias": (dim,), "attn.qkv.weight": (3 * dim, dim), "attn.qkv.bias": (3 * dim,),
                 "attn.proj.weight": (dim, dim), "attn.proj.bias": (dim,), "norm2.weight": (dim,), "norm2.bias": (dim,),
                 "mlp.fc1.weight": (4 * dim, dim), "mlp.fc1.bias": (4 * dim,), "mlp.fc2.weight": (dim, 4 * dim), "mlp.fc2.bias": (dim,)}
        shapes.update({"decoder_blocks.0." + k: s for k, s in block.items()})
        return {**Reference.state(self), **{k: filler(self.name, k, *s).to(self.dtype) for k, s in shapes.items()}}

    def write(self, folder):
        Reference.write(self, folder)


class TimmMvit(TimmPyramid):
    """MViTv2 with timm's widths replaced; its biases are of the size it is created at."""

    def create(self, size):
        options = dict(self.options)
        widths = {k: options.pop(k) for k in ("depths", "embed_dim", "num_heads", "expand_attn", "use_cls_token") if k in options}
        with mock.patch.dict(mvitv2.model_cfgs, {self.architecture: mvitv2.MultiScaleVitCfg(**widths)}):
            return timm.create_model(self.architecture, **{**options, "img_size": size})

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.prefix = self.has_cls = int(self.net.cls_token is not None)

    def loaded(self, state, net):
        return mvitv2.checkpoint_filter_fn(dict(state), net)

    def forward(self, net, x, keep):
        net = self.at(net, x.shape[2:])
        layers = []
        for stage in net.stages:
            stage.register_forward_hook(lambda m, i, o: layers.append(o[0]))
        tokens = net.forward_features(x)
        return self.results(tokens, layers, net.forward_head(tokens, pre_logits=True), net.head.fc)


class Mvit(TimmMvit):
    """facebookresearch/mvit's names: blocks are counted through, a shortcut's projection is proj."""

    def state(self):
        starts = [sum(self.net.depths[:s]) for s in range(len(self.net.depths))]
        names = {re.sub(r"stages\.(\d+)\.blocks\.(\d+)", lambda m: f"blocks.{starts[int(m[1])] + int(m[2])}", k): v
                 for k, v in Reference.state(self).items()}
        state = rename(names, {r"shortcut_proj_(attn|mlp)": "proj", r"^head\.fc": "head.projection"})
        again = mvitv2.checkpoint_filter_fn({"model_state": state}, self.net)
        assert all(torch.equal(again[k], v) for k, v in self.net.state_dict().items()), self.name
        return state

    def write(self, folder):
        Reference.write(self, folder)


# ---------------------------------------------------------------------------------------- transformers

SWIN_PROCESSOR = {"do_normalize": True, "do_resize": True, "feature_extractor_type": "ViTFeatureExtractor", **IMAGENET, "resample": 3}


class TransformersPyramid(Pyramid):
    """A model of transformers', written by its save_pretrained."""

    def __init__(self, name, model, preprocessor=None, dtype=torch.float32, **config):
        self.name, self.dtype, self.preprocessor = name, dtype, preprocessor
        kind = getattr(transformers, model)
        net = kind(kind.config_class(**config))
        c = getattr(net.config, "vision_config", net.config)
        heads = c.num_heads[0] if hasattr(c, "num_heads") else c.num_attention_heads
        self.finish(net, heads)
        both = lambda v: tuple(v) if isinstance(v, (list, tuple)) else (v, v)
        self.height, self.width = both(c.image_size)
        self.patch, self.channels = both(getattr(c, "patch_stride", c.patch_size)), c.num_channels
        self.depth = len(c.depths) if hasattr(c, "depths") else c.num_hidden_layers
        self.classes = c.num_labels if model.endswith("ForImageClassification") else 0

    def write(self, folder):
        self.net.save_pretrained(folder)
        if self.preprocessor:
            with open(os.path.join(folder, "preprocessor_config.json"), "w") as f:
                json.dump(self.preprocessor, f, indent=2)
                f.write("\n")


def sam_processor(side):
    """As SAM's releases have it: the long edge resized, the rest padded."""
    return {"do_convert_rgb": True, "do_normalize": True, "do_pad": True, "do_rescale": True, "do_resize": True, **IMAGENET,
            "image_processor_type": "SamImageProcessor", "pad_size": {"height": side, "width": side}, "resample": 2,
            "rescale_factor": 1 / 255, "size": {"longest_edge": side}}


class HfSwin(TransformersPyramid):
    """Windows stay what they are at every size; the module remembers the size it has seen, so each run has its own copy."""

    def forward(self, net, x, keep):
        base = getattr(net, net.base_model_prefix, net)
        layers = []
        for stage in base.encoder.layers:
            stage.blocks[-1].register_forward_hook(lambda m, i, o: layers.append(o[0]))
        result = base(x)
        pooled = result.pooler_output
        return self.results(result.last_hidden_state, layers, pooled, getattr(net, "classifier", None))


class HfSam(TransformersPyramid):
    faint = r"patch_embed|pos_embed"
    layer_names = Reference.layer_names

    def forward(self, net, x, keep):
        layers = []
        for layer in net.vision_encoder.layers:
            layer.register_forward_hook(lambda m, i, o: layers.append(o.flatten(1, 2)))
        tokens = flat(net.vision_encoder(x).last_hidden_state)
        return self.results(tokens, layers)


def rerolled(x, grid, levels):
    """Hiera's order, in which a token's place within its unit comes first, finest part foremost, as raster."""
    batch, _, width = x.shape
    sides = [g // 2 ** levels for g in grid]
    x = x.reshape(batch, *[2] * (2 * levels), *sides, width)
    fine = range(2 * levels - 1, 0, -2)  # the rows of each level, coarsest first
    order = [0, 2 * levels + 1, *fine, 2 * levels + 2, *[f + 1 for f in fine], 2 * levels + 3]
    return x.permute(order).reshape(batch, -1, width)


class HfHiera(TransformersPyramid):
    faint = r"embeddings"
    unit = 8

    def places(self, height, width):
        return 0 if self.pooled_stages == 3 else TimmHiera.places(self, height, width)

    @property
    def pooled_stages(self):
        return self.net.config.num_query_pool

    def forward(self, net, x, keep):
        base = getattr(net, net.base_model_prefix, net)
        layers = []
        for stage in base.encoder.stages:
            stage.register_forward_hook(lambda m, i, o: layers.append(o[0]))
        options = {} if x.shape[2:] == (self.height, self.width) else {"interpolate_pos_encoding": True}
        grid = [s // 4 for s in x.shape[2:]]
        if self.pooled_stages < 3:
            return self.pretraining(net, x, keep, layers, grid)
        result = base(x, **options)
        layers = [rerolled(f, [g >> min(i, 3) for g in grid], 3 - i) for i, f in enumerate(layers)]
        return self.results(result.last_hidden_state, layers, result.pooler_output, getattr(net, "classifier", None))

    def pretraining(self, net, x, keep, layers, grid):
        """The noise chooses the units; stages are fused and normed for the decoder."""
        count = self.places(*x.shape[2:])
        units = list(range(count)) if keep is None else keep
        noise = torch.full((x.shape[0], count), 2.0, dtype=x.dtype)
        noise[:, torch.as_tensor(units, dtype=torch.long)] = torch.linspace(0, 1, len(units), dtype=x.dtype)
        net.hiera.embeddings.patch_embeddings.mask_ratio = 1 - (len(units) + 0.5) / count
        maps = net.hiera(x, noise=noise, output_hidden_states=True).reshaped_hidden_states
        fused = net.encoder_norm(net.multiscale_fusion((*maps[1:self.pooled_stages + 1], maps[-1])))
        if keep is not None:
            return {"tokens": in_order(fused, keep)}
        shape = [g // self.unit for g in grid]
        tokens = fused.unflatten(1, shape).permute(0, 1, 3, 2, 4, 5).flatten(1, 4)
        return self.results(tokens, [rerolled(f, [g >> min(i, 2) for g in grid], 3 - min(i, 2)) for i, f in enumerate(layers)])


# ---------------------------------------------------------------------------------------- put together from timm's parts

class Assembled(Pyramid):
    """A model that no library has, of timm's blocks under its authors' names. names is what stands in front of them."""
    names = ""
    patch = (16, 16)

    def state(self):
        state = {self.names + k: v for k, v in super().state().items()}
        return {**state, **{k: v.to(self.dtype) if v.is_floating_point() else v for k, v in self.others().items()}}

    def others(self):
        return {}

    def adopt(self, net, image, channels, heads, classes=0):
        self.finish(net, heads)
        self.height = self.width = image
        self.channels, self.classes = channels, classes


def cubic(table, grid, offset=0.0):
    """Square positions (1, N, D) for a grid, not antialiased; with an offset it enters the scale as in DINO."""
    side = round(table.shape[1] ** 0.5)
    if tuple(grid) == (side, side):
        return table
    table = table.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    how = {"scale_factor": tuple((g + offset) / side for g in grid)} if offset else {"size": tuple(grid)}
    return flat(F.interpolate(table, mode="bicubic", **how))


class EfficientSamNet(nn.Module):
    def __init__(self, patch, channels, dim, depth, heads, stored, neck):
        super().__init__()
        self.patch_embed = PatchEmbed(None, patch, channels, dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + stored * stored, dim))
        norm = functools.partial(nn.LayerNorm, eps=1e-6)
        self.blocks = nn.ModuleList(Block(dim, heads, qkv_bias=True, mlp_ratio=2.0, norm_layer=norm) for _ in range(depth))
        self.neck = nn.Sequential(nn.Conv2d(dim, neck, 1, bias=False), LayerNorm2d(neck),
                                  nn.Conv2d(neck, neck, 3, padding=1, bias=False), LayerNorm2d(neck))


class EfficientSam(Assembled):
    """yformer/EfficientSAM: a plain ViT without a class token, which its positions still have, and SAM's neck."""
    names = "image_encoder."
    faint = r"patch_embed|pos_embed"
    layer_names = Reference.layer_names

    def __init__(self, name, convert, dtype, image, **shape):
        self.name, self.convert, self.dtype = name, convert, dtype
        self.patch, self.depth = (shape["patch"],) * 2, shape["depth"]
        self.adopt(EfficientSamNet(**shape), image, shape["channels"], shape["heads"])

    def forward(self, net, x, keep):
        grid = [s // p for s, p in zip(x.shape[2:], self.patch)]
        layers, attention = [], []
        net.blocks[-1].attn.fused_attn = False
        net.blocks[-1].attn.attn_drop.register_forward_hook(lambda m, i, o: attention.append(o))
        x = net.patch_embed(x) + cubic(net.pos_embed[:, 1:], grid)
        for block in net.blocks:
            x = block(x)
            layers.append(x)
        return self.results(flat(net.neck(x.transpose(1, 2).unflatten(2, grid))), layers, attention=attention[0])

    def others(self):
        return prompts(self.name)


class BiasedAttention(Attention):
    """Attention with a relative bias over the whole grid; weights are kept."""

    def __init__(self, dim, heads, side):
        super().__init__(dim, heads, qkv_bias=True)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * side - 1) ** 2, heads)) if side else None
        self.index = get_relative_position_index(side, side) if side else None

    def forward(self, x, keep):
        q, k, v = self.qkv(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        logits = q @ k.transpose(-2, -1) * self.scale
        if self.index is not None:
            index = self.index if keep is None else self.index[keep][:, keep]
            logits = logits + self.relative_position_bias_table[index].permute(2, 0, 1)
        self.weights = logits.softmax(-1)
        return self.proj((self.weights @ v).transpose(1, 2).flatten(2))


class HiVitBlock(nn.Module):
    """Without heads only an MLP."""

    def __init__(self, dim, heads, side, ratio):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6) if heads else None
        self.attn = BiasedAttention(dim, heads, side) if heads else None
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, int(dim * ratio))

    def forward(self, x, keep=None):
        if self.attn is not None:
            x = x + self.attn(self.norm1(x), keep)
        return x + self.mlp(self.norm2(x))


class HiVitMerge(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim, eps=1e-6)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x):
        parts = [x[..., r::2, c::2, :] for r, c in ((0, 0), (1, 0), (0, 1), (1, 1))]
        return self.reduction(self.norm(torch.cat(parts, -1)))


class HiVitNet(nn.Module):
    def __init__(self, image, channels, dim, depths, heads, biased, classes, ratio):
        super().__init__()
        side = image // 16
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(channels, dim // 4, 4, 4)
        self.patch_embed.norm = nn.LayerNorm(dim // 4, eps=1e-6)
        self.absolute_pos_embed = nn.Parameter(torch.zeros(1, side * side, dim))
        stem = [m for i in (0, 1) for m in [*(HiVitBlock(dim >> 2 - i, 0, 0, 3) for _ in range(depths[i])), HiVitMerge(dim >> 2 - i)]]
        self.blocks = nn.ModuleList(stem + [HiVitBlock(dim, heads, side if biased else 0, ratio) for _ in range(depths[2])])
        if classes:
            self.fc_norm, self.head = nn.LayerNorm(dim, eps=1e-6), nn.Linear(dim, classes)


class HiVit(Assembled):
    """zhangxiaosong18/hivit: cells of four pixels are merged within tokens of sixteen; subsets are of these."""
    depth = 3

    def __init__(self, name, convert, dtype, **shape):
        self.name, self.convert, self.dtype = name, convert, dtype
        self.adopt(HiVitNet(**shape), shape["image"], shape["channels"], shape["heads"], shape["classes"])

    def places(self, height, width):
        return height // 16 * (width // 16)

    def positions(self, net, grid):
        return net.absolute_pos_embed

    def forward(self, net, x, keep):
        grid = [s // 16 for s in x.shape[2:]]
        kept = torch.arange(grid[0] * grid[1]) if keep is None else torch.as_tensor(keep, dtype=torch.long)
        x = net.patch_embed.proj(x).permute(0, 2, 3, 1)
        x = x.unflatten(1, (-1, 4)).unflatten(3, (-1, 4)).permute(0, 1, 3, 2, 4, 5).flatten(1, 2)
        x = net.patch_embed.norm(x)[:, kept]
        layers = []
        for block in net.blocks:
            if isinstance(block, HiVitMerge):
                layers.append(x)
                x = block(x)
                if x.shape[2] == 1:
                    x = x[:, :, 0, 0] + self.positions(net, grid)[:, kept]
            else:
                x = block(x) if block.attn is None else block(x, kept)
        if keep is None:
            layers = [f.unflatten(1, grid).permute(0, 1, 3, 2, 4, 5).flatten(1, 4) for f in layers] + [x]
        return self.results(x, layers, net.fc_norm(x.mean(1)) if self.classes else None, getattr(net, "head", None),
                            attention=net.blocks[-1].attn.weights)

    def others(self):
        side = self.height // 16
        return {"relative_position_index": get_relative_position_index(side, side)} if self.classes else {}


class Itpn(HiVit):
    """sunsmarterjie/iTPN before fine-tuning: HiViT beside a pyramid and a decoder, which are of no use. Positions at another
    size as in DINO."""

    def positions(self, net, grid):
        return cubic(net.absolute_pos_embed, grid, 0.1)

    def others(self):
        dim, out = self.net.absolute_pos_embed.shape[2], 16
        shapes = {"align_dim_16tofpn.weight": (out, dim), "align_dim_16tofpn.bias": (out,), "align_dim_16to8.weight": (out, dim // 2),
                  "split_16to8.norm.weight": (dim,), "split_16to8.reduction.weight": (4 * out, dim), "align_dim_8to4.weight": (out, dim // 4),
                  "mask_token": (1, 1, out), "decoder_pos_embed": (1, (self.height // 16) ** 2, out), "decoder_norm.weight": (out,)}
        for block in ("fpn_modules.0", "block_16to8.0", "decoder_blocks.0"):
            shapes.update({block + ".norm2.weight": (out,), block + ".mlp.fc1.weight": (24, out), block + ".mlp.fc2.weight": (out, 24)})
        shapes["decoder_blocks.0.attn.qkv.weight"] = (3 * out, out)
        return {k: filler(self.name, k, *s) for k, s in shapes.items()}


class ConvMlp(nn.Module):
    """The MLP of a block without attention, its norm behind the activation. Layers are convolutions of single pixels."""

    def __init__(self, dim, ratio):
        super().__init__()
        norm = functools.partial(nn.LayerNorm, eps=1e-6)
        self.norm2, self.mlp = norm(dim), nn.Module()
        self.mlp.fc1, self.mlp.ffn_ln, self.mlp.fc2 = nn.Conv2d(dim, dim * ratio, 1), norm(dim * ratio), nn.Conv2d(dim * ratio, dim, 1)

    def forward(self, x):
        last = lambda f, y: f(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + self.mlp.fc2(last(self.mlp.ffn_ln, F.gelu(self.mlp.fc1(last(self.norm2, x)))))


class ConvMerge(nn.Module):
    """Each token is normed, then four of them merged."""

    def __init__(self, dim):
        super().__init__()
        self.norm, self.reduction = nn.LayerNorm(dim, eps=1e-6), nn.Conv2d(dim, 2 * dim, 2, 2)

    def forward(self, x):
        return self.reduction(self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


class FastItpnNet(nn.Module):
    def __init__(self, image, channels, dim, depths, heads, classes):
        super().__init__()
        norm = functools.partial(nn.LayerNorm, eps=1e-6)
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(channels, dim // 4, 4, 4)
        self.pos_embed = nn.Parameter(torch.zeros(1, (image // 16) ** 2, dim))
        stem = [m for i in (0, 1) for m in [*(ConvMlp(dim >> 2 - i, 3) for _ in range(depths[i])), ConvMerge(dim >> 2 - i)]]
        self.blocks = nn.ModuleList(stem + [
            EvaBlock(dim, heads, qkv_fused=False, mlp_ratio=3, swiglu_mlp=True, scale_mlp=True, init_values=0.1, norm_layer=norm)
            for _ in range(depths[2])])
        if classes:
            self.fc_norm, self.head = norm(dim), nn.Linear(dim, classes)
        else:
            self.norm = norm(dim)


class FastItpn(Assembled):
    """sunsmarterjie/iTPN's fast_itpn: convolutions and their MLPs in the first stages, in the last attention without a key bias and
    gated MLPs; fine-tuned with classes. Positions at another size as in MAE."""
    depth = 3
    places = HiVit.places

    def __init__(self, name, convert, dtype, **shape):
        self.name, self.convert, self.dtype, self.shape = name, convert, dtype, shape
        self.adopt(FastItpnNet(**shape), shape["image"], shape["channels"], shape["heads"], shape["classes"])

    def forward(self, net, x, keep):
        grid = [s // 16 for s in x.shape[2:]]
        kept = torch.arange(grid[0] * grid[1]) if keep is None else torch.as_tensor(keep, dtype=torch.long)
        layers, attention = [], []
        last = net.blocks[-1].attn
        last.fused_attn = False
        last.attn_drop.register_forward_hook(lambda m, i, o: attention.append(o))
        x = net.patch_embed.proj(x)
        for block in net.blocks:
            if isinstance(block, ConvMerge):
                layers.append(flat(x))
            x = block(x)
            if isinstance(block, ConvMerge) and len(layers) == 2:
                x = (flat(x) + cubic(net.pos_embed, grid))[:, kept]
        layers.append(x)
        tokens = x if self.classes else net.norm(x)
        return self.results(tokens, layers, net.fc_norm(x.mean(1)) if self.classes else None, getattr(net, "head", None),
                            attention=attention[0])

    def state(self):
        last = len(self.net.blocks) - self.shape["depths"][2]
        gated = "|".join(str(i) for i in range(last, len(self.net.blocks)))
        return rename(super().state(), {r"mlp\.fc1_g": "mlp.w1", r"mlp\.fc1_x": "mlp.w2", rf"(blocks\.({gated})\.mlp)\.fc2": r"\1.w3",
                                        r"mlp\.norm": "mlp.ffn_ln", r"([qv])_proj\.bias": r"\1_bias"})

    def others(self):
        return {} if self.classes else {"mask_token": filler(self.name, "mask_token", 1, 1, self.net.pos_embed.shape[2] // 4)}


class ConvPatches(nn.Module):
    """A convolution, a norm over its channels, GELU."""

    def __init__(self, channels, dim, side):
        super().__init__()
        self.proj, self.norm = nn.Conv2d(channels, dim, side, side), nn.LayerNorm(dim)

    def forward(self, x):
        return F.gelu(self.norm(self.proj(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


class ConvBlock(nn.Module):
    """A depthwise convolution in place of attention."""

    def __init__(self, dim, ratio):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.conv1, self.conv2 = nn.Conv2d(dim, dim, 1), nn.Conv2d(dim, dim, 1)
        self.attn = nn.Conv2d(dim, dim, 5, padding=2, groups=dim)
        self.mlp = Mlp(dim, dim * ratio, use_conv=True)

    def forward(self, x, visible):
        normed = lambda norm: norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = x + self.conv2(self.attn(visible * self.conv1(normed(self.norm1))))
        return x + self.mlp(normed(self.norm2))


class ConvMaeNet(nn.Module):
    def __init__(self, image, channels, dims, depths, heads, classes, ratio):
        super().__init__()
        for i, side in enumerate((4, 2, 2)):
            setattr(self, f"patch_embed{i + 1}", ConvPatches((channels, *dims)[i], dims[i], side))
        self.patch_embed4 = nn.Linear(dims[2], dims[2])
        self.pos_embed = nn.Parameter(torch.zeros(1, (image // 16) ** 2, dims[2]))
        norm = functools.partial(nn.LayerNorm, eps=1e-6)
        self.blocks1 = nn.ModuleList(ConvBlock(dims[0], ratio) for _ in range(depths[0]))
        self.blocks2 = nn.ModuleList(ConvBlock(dims[1], ratio) for _ in range(depths[1]))
        self.blocks3 = nn.ModuleList(Block(dims[2], heads, ratio, qkv_bias=True, norm_layer=norm) for _ in range(depths[2]))
        if classes:
            self.fc_norm, self.head = norm(dims[2]), nn.Linear(dims[2], classes)
        else:
            self.stage1_output_decode = nn.Conv2d(dims[0], dims[2], 4, 4)
            self.stage2_output_decode = nn.Conv2d(dims[1], dims[2], 2, 2)
            self.norm = norm(dims[2])


class ConvMae(Assembled):
    """Alpha-VL/ConvMAE: fine-tuned with classes, else as it is trained, with the first stages added before the norm."""
    depth = 3
    faint = r"patch_embed1"

    def __init__(self, name, convert, dtype, **shape):
        self.name, self.convert, self.dtype = name, convert, dtype
        self.adopt(ConvMaeNet(**shape), shape["image"], shape["channels"], shape["heads"], shape["classes"])

    def places(self, height, width):
        return 0 if self.classes else height // 16 * (width // 16)

    def forward(self, net, x, keep):
        grid = [s // 16 for s in x.shape[2:]]
        kept = torch.arange(grid[0] * grid[1]) if keep is None else torch.as_tensor(keep, dtype=torch.long)
        visible = torch.zeros(grid[0] * grid[1], dtype=x.dtype)
        visible[kept] = 1
        visible = visible.reshape(1, 1, *grid)
        layers, fused = [], 0
        for i in (1, 2):
            x = getattr(net, f"patch_embed{i}")(x)
            for block in getattr(net, f"blocks{i}"):
                x = block(x, F.interpolate(visible, scale_factor=8 // 2 ** i))
            layers.append(flat(x))
            if not self.classes:
                fused = fused + flat(getattr(net, f"stage{i}_output_decode")(x))[:, kept]
        attention = []
        net.blocks3[-1].attn.fused_attn = False
        net.blocks3[-1].attn.attn_drop.register_forward_hook(lambda m, i, o: attention.append(o))
        x = (net.patch_embed4(flat(net.patch_embed3(x))) + net.pos_embed)[:, kept]
        for block in net.blocks3:
            x = block(x)
        layers.append(x)
        tokens = x if self.classes else net.norm(x + fused)
        return self.results(tokens, layers, net.fc_norm(x.mean(1)) if self.classes else None, getattr(net, "head", None),
                            attention=attention[0])

    def others(self):
        if self.classes:
            return {}
        dim, out = self.net.pos_embed.shape[2], 16
        shapes = {"decoder_embed.weight": (out, dim), "decoder_embed.bias": (out,), "mask_token": (1, 1, out), "decoder_pred.weight": (768, out),
                  "decoder_pos_embed": (1, (self.height // 16) ** 2, out), "decoder_norm.weight": (out,), "decoder_norm.bias": (out,),
                  "decoder_blocks.0.attn.qkv.weight": (3 * out, out), "decoder_blocks.0.mlp.fc1.weight": (24, out)}
        return {k: filler(self.name, k, *s) for k, s in shapes.items()}


class DistanceAttention(Attention):
    """Attention in windows, with a bias that an MLP makes of the logarithms of the distances from query to key."""

    def __init__(self, dim, heads, hidden):
        super().__init__(dim, heads, qkv_bias=True)
        self.posmlp = nn.Sequential(nn.Conv2d(2, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, heads, 1))

    def forward(self, x, mask=None):
        side, (q, k, v) = round(x.shape[1] ** 0.5), self.qkv(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        place = torch.stack(torch.meshgrid(*[torch.arange(side, dtype=x.dtype)] * 2, indexing="ij")).flatten(1)
        away = place[:, None] - place[:, :, None]
        logits = q @ k.transpose(-2, -1) * self.scale + self.posmlp((away.sign() * (1 + away.abs()).log())[None])
        if mask is not None:
            logits = logits + mask.repeat(x.shape[0] // mask.shape[0], 1, 1)[:, None]
        return self.proj((logits.softmax(-1) @ v).transpose(1, 2).flatten(2))


class CellMerge(nn.Module):
    """Whole cells of 2x2 tokens, which may be normed first."""

    def __init__(self, dim, out, norm):
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6) if norm else nn.Identity()
        self.proj = nn.Conv2d(dim, out, 2, 2)

    def forward(self, x):
        return self.proj(self.norm(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class UmBlock(nn.Module):
    """A block on a grid (N, H, W, C), which may merge first."""

    def __init__(self, dim, attn, ratio, before, norm):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn, self.mlp = attn, Mlp(dim, dim * ratio)
        self.downsample = CellMerge(before, dim, norm) if before else nn.Identity()


class UmSwinBlock(UmBlock):
    def __init__(self, dim, heads, window, shift, ratio, before):
        super().__init__(dim, DistanceAttention(dim, heads, 32), ratio, before, True)
        self.side, self.shift = window, shift

    def forward(self, x):
        x = self.downsample(x)
        whole = min(x.shape[1:3]) <= self.side
        self.window_size, self.shift_size = (min(self.side, *x.shape[1:3]),), (0 if whole else self.shift,)
        return ibot_block(self, x)


class MeanKeys(nn.Module):
    """Keys and values are of the means of cells."""

    def __init__(self, dim, heads, ratio):
        super().__init__()
        self.heads, self.ratio = heads, ratio
        self.q, self.kv, self.proj = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.sr, self.norm = nn.Conv2d(dim, dim, 1), nn.LayerNorm(dim)

    def forward(self, x):
        cells = self.norm(flat(self.sr(F.avg_pool2d(x.permute(0, 3, 1, 2), self.ratio))))
        q = self.q(x.flatten(1, 2)).unflatten(2, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv(cells).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.proj(y).unflatten(1, x.shape[1:3])


class UmPvtBlock(UmBlock):
    def __init__(self, dim, heads, keys, ratio, before):
        super().__init__(dim, MeanKeys(dim, heads, keys), ratio, before, False)

    def forward(self, x):
        x = self.downsample(x)
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class UmNet(nn.Module):
    def __init__(self, image, channels, dims, depths, heads, ratio, classes, window=0):
        super().__init__()
        self.ends = [sum(depths[:i + 1]) - 1 for i in range(len(depths))]
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(channels, dims[0], 4, 4)
        self.patch_embed.norm = nn.LayerNorm(dims[0], eps=1e-6) if window else nn.Identity()
        if not window:
            self.pos_embed = nn.Parameter(torch.zeros(1, (image // 4) ** 2, dims[0]))
        self.blocks = nn.ModuleList()
        for i, depth in enumerate(depths):
            for j in range(depth):
                before = dims[i - 1] if i and not j else 0
                self.blocks.append(UmSwinBlock(dims[i], heads[i], window, j % 2 * (window // 2), ratio, before) if window else
                                   UmPvtBlock(dims[i], heads[i], 8 >> i, ratio, before))
        norm = nn.LayerNorm(dims[-1], eps=1e-6)
        if classes:
            self.fc_norm, self.head = norm, nn.Linear(dims[-1], classes)
        else:
            self.norm = norm


class UmMae(Assembled):
    """implus/UM-MAE's Swin (with windows) and PVT, with all patches, as they are fine-tuned. At other sizes as their code for detection:
    what is left over of the grid is padded for windows and left out in cells; windows are those of a model for that size."""
    patch = (4, 4)

    def __init__(self, name, convert, dtype, **shape):
        self.name, self.convert, self.dtype, self.depth = name, convert, dtype, len(shape["depths"])
        self.adopt(UmNet(**shape), shape["image"], shape["channels"], shape["heads"][0], shape["classes"])
        for key, p in self.net.named_parameters():
            if "posmlp.2" in key:
                p.data *= 0.3

    def forward(self, net, x, keep):
        x = net.patch_embed.norm(net.patch_embed.proj(x).permute(0, 2, 3, 1))
        if hasattr(net, "pos_embed"):
            x = x + cubic(net.pos_embed, x.shape[1:3]).unflatten(1, x.shape[1:3])
        layers = []
        for i, block in enumerate(net.blocks):
            x = block(x)
            layers += [x.flatten(1, 2)] if i in net.ends else []
        x = layers[-1]
        return self.results(x if self.classes else net.norm(x), layers, net.fc_norm(x.mean(1)) if self.classes else None,
                            getattr(net, "head", None))

    def others(self):
        if self.classes:
            return {}
        dim, out, first = self.net.norm.weight.numel(), 16, self.net.patch_embed.proj.out_channels
        shapes = {"decoder_embed.weight": (4 * out, dim), "decoder_embed.bias": (4 * out,), "mask_token": (1, 1, out),
                  "vis_mask_token": (1, 1, first), "decoder_pos_embed": (1, (self.height // 16) ** 2, out), "decoder_norm.weight": (out,),
                  "decoder_norm.bias": (out,), "decoder_blocks.0.norm1.weight": (out,), "decoder_blocks.0.norm1.bias": (out,),
                  "decoder_blocks.0.attn.qkv.weight": (3 * out, out), "decoder_pred.weight": (16 * 16 * self.channels, out)}
        return {k: filler(self.name, k, *s) for k, s in shapes.items()}


# ---------------------------------------------------------------------------------------- the models

def golden_models():
    """(reference, sizes other than the trained one, pictures); made one at a time."""
    half, bf16 = torch.float16, torch.bfloat16

    # windows of four: two stages shift; grids that are no multiples, odd ones, and one smaller than the window
    yield TimmSwin("timm_swin", "swin_tiny_patch4_window7_224", "", half, img_size=32, patch_size=2, embed_dim=16, window_size=4,
                   depths=(2, 3, 1), num_heads=(1, 2, 4), mlp_ratio=2.0, num_classes=5), [(36, 26), (20, 40)], ["wide.ppm"]
    yield TimmSwin("timm_swin_oblong", "swin_base_patch4_window7_224", "--resize squash", bf16, img_size=(24, 32), patch_size=2,
                   in_chans=1, embed_dim=16, window_size=4, depths=(1, 2, 2), num_heads=(2, 2, 2), mlp_ratio=2.0,
                   num_classes=0), [(24, 44)], []
    yield Swin("swin", "swin_tiny_patch4_window7_224", "", half, img_size=24, patch_size=2, embed_dim=16, window_size=3,
               depths=(2, 2, 1), num_heads=(2, 4, 8), mlp_ratio=2.0, num_classes=6), [(30, 36)], []
    yield SimMimSwin("simmim_swin", "swin_tiny_patch4_window7_224", "", half, img_size=32, patch_size=2, embed_dim=16, window_size=4,
                     depths=(2, 2, 1), num_heads=(2, 2, 4), mlp_ratio=1.5, num_classes=0), [(34, 50)], []
    yield IbotSwin("ibot_swin", "swin_tiny_patch4_window7_224", "--image-size 24", half, img_size=24, patch_size=2, embed_dim=16,
                   window_size=3, depths=(2, 2, 2), num_heads=(2, 2, 4), mlp_ratio=2.0, num_classes=0,
                   norm_layer=functools.partial(nn.LayerNorm, eps=1e-6)), [(36, 36), (28, 40)], []
    yield GreenMim("greenmim", "swin_tiny_patch4_window7_224", "--family greenmim --image-size 24", half, img_size=24, patch_size=2, embed_dim=16,
                   window_size=3, depths=(2, 2, 1), num_heads=(2, 4, 8), mlp_ratio=2.0, num_classes=0,
                   norm_layer=functools.partial(nn.LayerNorm, eps=1e-6)), [], []
    yield LocalMimSwin("localmim_swin", "swin_tiny_patch4_window7_224", "--image-size 32", half, img_size=32, patch_size=2, embed_dim=16,
                       window_size=4, depths=(1, 2, 1, 1), num_heads=(2, 2, 4, 4), mlp_ratio=1.5, num_classes=0,
                       norm_layer=functools.partial(nn.LayerNorm, eps=1e-6)), [(48, 64)], []
    yield HfSwin("hf_swin", "SwinForImageClassification", {**SWIN_PROCESSOR, "size": 24}, half, image_size=24, patch_size=2,
                 embed_dim=16, depths=[2, 3, 1], num_heads=[2, 4, 8], window_size=3, mlp_ratio=2.0, layer_norm_eps=1e-4,
                 num_labels=7), [(26, 40), (34, 28)], ["tall.ppm"]
    yield HfSwin("hf_swin_mim", "SwinForMaskedImageModeling", {**SWIN_PROCESSOR, "size": 32}, bf16, image_size=32, patch_size=4,
                 embed_dim=24, depths=[2, 2], num_heads=[3, 3], window_size=4, encoder_stride=8, qkv_bias=False,
                 hidden_act="gelu_new"), [(36, 44)], []

    # windows and global attention in one grid
    yield TimmSam("timm_sam", "samvit_base_patch16", "--resize squash", half, img_size=(56, 40), patch_size=4, embed_dim=32, depth=3,
                  num_heads=2, window_size=4, global_attn_indexes=(1,), mlp_ratio=2.0, neck_chans=24), [(36, 68), (12, 8)], []
    yield TimmSam("timm_sam_plain", "samvit_base_patch16_224", "", bf16, img_size=24, patch_size=4, embed_dim=40, depth=3, num_heads=1,
                  window_size=4, global_attn_indexes=(1,), mlp_ratio=1.5, num_classes=5), [(32, 20)], []
    yield Sam("sam", "samvit_base_patch16", "", half, img_size=36, patch_size=4, embed_dim=32, depth=3, num_heads=2, window_size=7,
              global_attn_indexes=(2,), mlp_ratio=2.0, neck_chans=16), [], []
    yield HfSam("hf_sam", "SamModel", sam_processor(36), half,
                vision_config=dict(hidden_size=48, output_channels=16, num_hidden_layers=3, num_attention_heads=2, image_size=36, patch_size=4,
                                   window_size=4, global_attn_indexes=[1], mlp_ratio=2.0),
                prompt_encoder_config=dict(hidden_size=16, image_size=36, patch_size=4, mask_input_channels=4),
                mask_decoder_config=dict(hidden_size=16, mlp_dim=16, num_hidden_layers=1, num_attention_heads=2, iou_head_hidden_dim=16)), [], ["wide.ppm", "tall.ppm"]
    yield EfficientSam("efficientsam", "--heads 2 --image-size 36", half, image=36, patch=4, channels=3, dim=40, depth=2, heads=2, stored=4,
                       neck=16), [], []

    # queries pooled by their maximum, and subsets of mask units
    yield TimmHiera("timm_hiera", "hiera_tiny_224", "--resize squash", half, img_size=(64, 96), embed_dim=8, num_heads=1,
                    stages=(1, 2, 2, 1), mlp_ratio=2.0, num_classes=5), [], []
    yield TimmHiera("timm_hiera_abswin", "hiera_small_abswin_256", "", half, img_size=64, in_chans=1, embed_dim=8, num_heads=1,
                    stages=(1, 1, 2, 1), mlp_ratio=2.0, global_pos_size=(5, 5), num_classes=0), [(32, 96)], []
    yield Hiera("hiera", "hiera_base_224", "--heads 1 --mean 0.45 --std 0.22", half, img_size=64, in_chans=1, embed_dim=8, num_heads=1, stages=(1, 1, 2, 2),
                mlp_ratio=1.5, num_classes=4), [], []
    yield HieraMae("hiera_mae", "hiera_tiny_224", "--heads 1 --mean 0.45 --std 0.22", half, img_size=96, in_chans=1, embed_dim=8, num_heads=1,
                   stages=(1, 2, 2, 1), mlp_ratio=2.0, q_pool=2, num_classes=0), [], []
    yield HfHiera("hf_hiera", "HieraForImageClassification", dinov2_processor(73, 64), half, embed_dim=8, image_size=[64, 64],
                  depths=[1, 1, 2, 1], num_heads=[1, 2, 4, 8], mlp_ratio=2.0, num_labels=6), [(32, 96)], ["wide.ppm"]
    yield HfHiera("hf_hiera_mae", "HieraForPreTraining", dinov2_processor(73, 64), bf16, embed_dim=8, image_size=[64, 64],
                  depths=[1, 1, 2, 1], num_heads=[1, 2, 4, 4], mlp_ratio=2.0, num_query_pool=2, decoder_hidden_size=16, decoder_depth=1,
                  decoder_num_heads=2), [], []

    # norms behind, cosines, biases from an MLP
    yield TimmSwin("timm_swinv2", "swinv2_tiny_window8_256", "", half, img_size=32, patch_size=2, embed_dim=16, window_size=4,
                   depths=(2, 2, 1), num_heads=(1, 2, 4), mlp_ratio=2.0, num_classes=5), [(36, 26), (20, 40)], []
    yield TimmSwin("timm_swinv2_tuned", "swinv2_base_window12to16_192to256", "", half, img_size=32, patch_size=4, embed_dim=16,
                   window_size=4, depths=(2, 2), num_heads=(2, 4), mlp_ratio=2.0, pretrained_window_sizes=(3, 3),
                   num_classes=0), [(44, 36)], []
    yield Swin("swinv2", "swinv2_tiny_window8_256", "", half, img_size=24, patch_size=2, embed_dim=16, window_size=3, depths=(2, 2),
               num_heads=(2, 2), mlp_ratio=2.0, pretrained_window_sizes=(2, 2), num_classes=4), [], []
    yield HfSwin("hf_swinv2", "Swinv2ForImageClassification", {**SWIN_PROCESSOR, "size": 28}, half, image_size=28, patch_size=2,
                 embed_dim=16, depths=[2, 2, 1], num_heads=[2, 2, 4], window_size=4, mlp_ratio=2.0, layer_norm_eps=1e-4,
                 pretrained_window_sizes=[3, 3, 2], num_labels=7), [(26, 40), (14, 22)], []

    # tokens merged within tokens
    yield HiVit("hivit", "", half, image=48, channels=3, dim=64, depths=(2, 2, 2), heads=4, biased=True, classes=5, ratio=2), [], []
    yield Itpn("itpn", "--heads 2 --mean 0.45 --std 0.22", half, image=64, channels=1, dim=48, depths=(1, 2, 2), heads=2, biased=False, classes=0,
               ratio=2), [(32, 80)], []

    yield FastItpn("fast_itpn", "--heads 2 --resize short:55 --filter bicubic", half, image=48, channels=3, dim=64, depths=(2, 1, 2), heads=2,
                   classes=5), [(64, 32)], []
    yield FastItpn("fast_itpn_mean", "--heads 3 --mean 0.45 --std 0.22 --resize squash --filter bicubic", half, image=64, channels=1, dim=48,
                   depths=(1, 2, 1), heads=3, classes=0), [(32, 80)], []

    # never shifted, a window for each stage
    yield MixMim("mixmim", "swin_base_patch4_window7_224", "--family mixmim", half, img_size=32, patch_size=2, embed_dim=16,
                 window_size=(8, 4, 2), depths=(1, 2, 1), num_heads=(1, 2, 4), mlp_ratio=2.0, num_classes=5), [], []

    # convolutions first
    yield ConvMae("convmae", "--heads 2", half, image=48, channels=3, dims=(16, 24, 48), depths=(1, 2, 2), heads=2, classes=6, ratio=2), [], []
    yield ConvMae("convmae_mae", "--heads 2 --mean 0.45 --std 0.22", half, image=64, channels=1, dims=(16, 24, 48), depths=(2, 1, 1), heads=2, classes=0,
                  ratio=2), [], []

    # biases from an MLP of absolute distances, norms before merging; keys of the means of cells
    yield UmMae("um_mae_swin", "--image-size 64 --window 4", half, image=64, channels=3, dims=(16, 32, 48), depths=(2, 2, 1), heads=(2, 2, 4),
                ratio=2, classes=6, window=4), [(76, 84), (44, 60)], []
    yield UmMae("um_mae_swin_pretrain", "--image-size 48 --window 3 --mean 0.45 --std 0.22", half, image=48, channels=1, dims=(16, 32), depths=(2, 2),
                heads=(2, 4), ratio=2, classes=0, window=3), [(64, 48)], []
    yield UmMae("um_mae_pvt", "--heads 1", half, image=64, channels=3, dims=(16, 32, 48, 64), depths=(1, 2, 1, 1), heads=(1, 2, 3, 4), ratio=2,
                classes=6), [(76, 100), (64, 44)], []
    yield UmMae("um_mae_pvt_pretrain", "--heads 2 --mean 0.45 --std 0.22", half, image=48, channels=1, dims=(24, 48), depths=(2, 2), heads=(2, 4),
                ratio=2, classes=0), [(64, 36)], []

    # windows and keys of cells by turns, a convolution that tells places apart
    yield TimmTwins("timm_twins", "twins_svt_small", "", half, img_size=64, embed_dims=(16, 32, 48), num_heads=(1, 2, 3), mlp_ratios=(2, 2, 2),
                    depths=(2, 2, 3), sr_ratios=(4, 2, 1), wss=(7, 7, 7), num_classes=5), [(76, 100), (52, 36)], ["wide.ppm"]
    yield TimmTwins("timm_twins_pcpvt", "twins_pcpvt_small", "--heads 2", bf16, img_size=32, in_chans=1, embed_dims=(16, 40), num_heads=(2, 5), mlp_ratios=(2, 2),
                    depths=(1, 2), sr_ratios=(2, 1), num_classes=0), [(44, 28)], []
    yield GreenMimTwins("greenmim_twins", "twins_svt_small", "--heads 1 --image-size 64 --window 3", half, img_size=64, embed_dims=(16, 32, 48), num_heads=(1, 2, 3),
                        mlp_ratios=(2, 2, 2), depths=(2, 2, 2), sr_ratios=(4, 2, 1), wss=(3, 3, 3), num_classes=0), [(96, 32)], []

    # queries, keys and values pooled by convolutions
    yield TimmMvit("timm_mvitv2", "mvitv2_tiny", "", half, img_size=64, in_chans=1, depths=(1, 2, 2, 1), embed_dim=8, num_heads=1,
                   num_classes=5), [(96, 96)], []
    yield TimmMvit("timm_mvitv2_cls", "mvitv2_base_cls", "", half, img_size=32, depths=(1, 2), embed_dim=16, num_heads=2,
                   use_cls_token=True, num_classes=0), [], []
    yield Mvit("mvitv2", "mvitv2_large", "--mean 0.45 --std 0.22", half, img_size=64, in_chans=1, depths=(1, 2, 1), embed_dim=16, num_heads=1,
               expand_attn=False, num_classes=4), [], []


def live_models():
    """Wider and deeper than the committed ones: the model, and sizes, the one trained at first."""
    yield TimmSwin("live swin", "swin_tiny_patch4_window7_224", "", img_size=112, embed_dim=64, window_size=7, depths=(2, 2, 4, 2),
                   num_heads=(2, 4, 8, 16), num_classes=20), [(112, 112), (128, 92)]
    yield SimMimSwin("live swin simmim", "swin_base_patch4_window7_224", "", img_size=96, embed_dim=64, window_size=6, depths=(2, 2, 4, 2),
                     num_heads=(2, 4, 8, 16), num_classes=0), [(96, 96), (96, 160)]
    yield HfSwin("live hf swin", "SwinModel", {**SWIN_PROCESSOR, "size": 96}, image_size=96, embed_dim=48, depths=[2, 2, 4, 2],
                 num_heads=[2, 4, 8, 16], window_size=3), [(96, 96), (140, 100)]
    yield TimmSwin("live swinv2", "swinv2_tiny_window8_256", "", img_size=128, embed_dim=64, window_size=8, depths=(2, 2, 4, 2),
                   num_heads=(2, 4, 8, 16), num_classes=20), [(128, 128), (144, 92)]
    yield HfSwin("live hf swinv2", "Swinv2Model", {**SWIN_PROCESSOR, "size": 128}, image_size=128, embed_dim=64, depths=[2, 2, 4, 2],
                 num_heads=[2, 4, 8, 16], window_size=8), [(128, 128), (92, 144)]
    yield TimmSam("live sam t", "samvit_base_patch16", "", img_size=256, embed_dim=192, depth=4, num_heads=3, window_size=7,
                  global_attn_indexes=(1, 3), neck_chans=64), [(256, 256), (208, 320)]
    yield Sam("live sam", "samvit_base_patch16", "", img_size=160, embed_dim=256, depth=4, num_heads=4, window_size=4,
              global_attn_indexes=(1, 3), neck_chans=64), [(160, 160)]
    yield HfSam("live hf sam", "SamVisionModel", None, hidden_size=192, output_channels=64, num_hidden_layers=4, num_attention_heads=3,
                image_size=160, window_size=4, global_attn_indexes=[1, 3]), [(160, 160)]
    yield EfficientSam("live efficientsam", "--heads 3 --image-size 192", torch.float32, image=192, patch=16, channels=3, dim=192, depth=4,
                       heads=3, stored=8, neck=64), [(192, 192)]
    yield TimmHiera("live hiera t", "hiera_tiny_224", "", img_size=128, embed_dim=48, num_heads=1, stages=(1, 2, 4, 2),
                    num_classes=20), [(128, 128)]
    yield HieraMae("live hiera mae", "hiera_tiny_224", "--heads 1", img_size=128, embed_dim=48, num_heads=1, stages=(1, 2, 4, 2), q_pool=2,
                   num_classes=0), [(128, 128)]
    yield HfHiera("live hf hiera", "HieraModel", dinov2_processor(146, 128), embed_dim=48, image_size=[128, 128], depths=[1, 2, 4, 2],
                  num_heads=[1, 2, 4, 8]), [(128, 128), (96, 160)]
    yield HiVit("live hivit", "", torch.float32, image=128, channels=3, dim=192, depths=(2, 2, 6), heads=3, biased=True, classes=20,
                ratio=4), [(128, 128)]
    yield MixMim("live mixmim", "swin_base_patch4_window7_224", "--family mixmim", img_size=128, embed_dim=48, window_size=(8, 8, 8, 4),
                 depths=(2, 2, 4, 2), num_heads=(2, 4, 8, 16), num_classes=20), [(128, 128)]
    yield ConvMae("live convmae", "--heads 3", torch.float32, image=128, channels=3, dims=(64, 96, 192), depths=(2, 2, 4), heads=3, classes=20,
                  ratio=4), [(128, 128)]
    yield UmMae("live um-mae swin", "", torch.float32, image=256, channels=3, dims=(32, 64, 96, 128), depths=(2, 2, 3, 1), heads=(2, 2, 3, 4), ratio=4,
                classes=20, window=16), [(256, 256), (304, 180)]
    yield UmMae("live um-mae pvt", "--heads 1", torch.float32, image=128, channels=3, dims=(64, 128, 320, 512), depths=(2, 2, 2, 1),
                heads=(1, 2, 5, 8), ratio=4, classes=0), [(128, 128), (180, 104)]
    yield TimmTwins("live twins svt", "twins_svt_small", "", img_size=128, depths=(2, 2, 4, 2), num_classes=20, embed_dims=(64, 128, 256, 512),
                    num_heads=(2, 4, 8, 16), mlp_ratios=(4, 4, 4, 4), sr_ratios=(8, 4, 2, 1), wss=(7, 7, 7, 7)), [(128, 128), (180, 104)]
    yield TimmTwins("live twins pcpvt", "twins_pcpvt_small", "", img_size=128, depths=(1, 2, 2, 1), num_classes=20, embed_dims=(64, 128, 320, 512),
                    num_heads=(1, 2, 5, 8), mlp_ratios=(8, 8, 4, 4), sr_ratios=(8, 4, 2, 1)), [(128, 128), (104, 164)]
    yield TimmMvit("live mvitv2", "mvitv2_tiny", "", img_size=128, depths=(1, 2, 4, 2), embed_dim=48, num_heads=1,
                   num_classes=20), [(128, 128), (160, 160)]
