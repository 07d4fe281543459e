"""The reference implementations, brought to one form.

A Reference is a model of timm or transformers (or the authors' model, put together from timm's
parts) with spread random weights. It runs in float64 and writes the checkpoint as its ecosystem
publishes it.
"""
import copy
import functools
import json
import logging
import os
import re
import struct
import warnings
import zlib

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

try:
    import torchvision  # noqa: F401
except RuntimeError:
    # timm imports torchvision, whose wheel fails beside a CPU build of torch: its detection
    # operators are missing. Nothing here uses them, so declaring them is enough.
    operators = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        operators.define(name + "(Tensor boxes, Tensor scores, float threshold) -> Tensor")

import timm  # noqa: E402
import transformers  # noqa: E402
from safetensors import safe_open  # noqa: E402, F401
from safetensors.torch import load_file, save_file  # noqa: E402
from timm.layers import PatchEmbed  # noqa: E402
from timm.models.beit import Beit  # noqa: E402
from timm.models.eva import Eva  # noqa: E402
from timm.models.vision_transformer import Block  # noqa: E402

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
logging.getLogger("timm").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="timm.layers.interpolate")
torch.set_grad_enabled(False)


def generator(*key):
    """Random numbers that depend on the key alone."""
    return np.random.Generator(np.random.PCG64(zlib.crc32("/".join(map(str, key)).encode())))


def spread(net, key, heads, gain=1.0):
    """Fills every parameter so that no part of the arithmetic can hide: norms with spread, all biases,
    signed layer scales, tokens and positions of order one, attention uniform in some heads and sharp in others.
    Models whose positions are relative begin with faint tokens, so that the norms' eps counts."""
    faint = 0.1 if re.search("dinov3|beit|simmim$|data2vec", key) else 1.0
    norms = {id(p) for m in net.modules() if isinstance(m, nn.LayerNorm) for p in m.parameters()}
    for name, p in net.named_parameters():
        rng, shape = generator(key, name), tuple(p.shape)
        normal = lambda s: rng.standard_normal(shape) * s
        if id(p) in norms:
            value = (1 if name.endswith("weight") else 0) + normal(0.3)
        elif re.search(r"gamma|lambda", name):
            value = rng.uniform(0.1, 1.0, shape) * rng.choice([-1, 1], shape)
        elif name.endswith("bias"):
            value = normal(0.2)
        elif p.ndim >= 2 and not re.search(r"token|pos", name):
            value = normal(gain / np.sqrt(np.prod(shape[1:])))
            part = re.search(r"qkv|query|key|\bq_proj|\bk_proj", name)
            if part:
                rows = shape[0] // 3 * 2 if part[0] == "qkv" else shape[0]
                count = heads["decoder" in name]
                width = shape[0] // (3 if part[0] == "qkv" else 1) // count
                sharp = 1 + 0.6 * ((np.arange(rows) // width % count + (count == 1)) % 2)
                value[:rows] *= sharp[:, None]
        else:
            value = normal(0.7)
        if re.search(r"patch_embed|cls_token|reg_token|register", name):
            value = value * faint
        p.copy_(torch.from_numpy(np.asarray(value, np.float32)))


class Keep(nn.Module):
    """Keeps the prefix and the listed patches, in the list's order."""

    def __init__(self, keep, prefix):
        super().__init__()
        self.keep = torch.as_tensor(keep, dtype=torch.long)
        self.index = torch.cat([torch.arange(prefix), self.keep + prefix])

    def forward(self, x):
        return x[:, self.index]

    def bias(self, bias):
        """The same rows and columns of a bias (..., tokens, tokens)."""
        return bias[..., self.index, :][..., self.index]


class KeepWithIndices(Keep):
    """As timm's PatchDropoutWithIndices: Eva gathers its rotary table by the indices."""

    def forward(self, x):
        return super().forward(x), self.keep.expand(x.shape[0], -1)


class Reference:
    """name, convert (options that the checkpoint needs), height, width, patch, channels, prefix, depth;
    run(x, keep) -> {tokens, cls, registers, patches, pooled, logits, attention, layers, normed, reconstruct}."""

    convert = ""
    checkpoint = "model.safetensors"
    decoder = False
    dtype = torch.float32
    classes = 0

    def finish(self, net, heads, gain=1.0):
        spread(net, self.name, heads if isinstance(heads, tuple) else (heads, heads), gain)
        for p in net.parameters():
            p.data = p.data.to(self.dtype)  # not the buffers: rotary tables, which are float32 whatever the weights are
        self.net = net.eval()

    def state(self):
        return {k: v.contiguous() for k, v in self.net.state_dict().items()}

    def double(self):
        return copy.deepcopy(self.net).double()

    def run(self, x, keep=None, dtype=torch.float64):
        out = self.forward(copy.deepcopy(self.net).to(dtype), torch.from_numpy(x).to(dtype), keep)
        tokens = out["tokens"]
        first = self.has_cls
        out["cls"], out["registers"], out["patches"] = tokens[:, :first], tokens[:, first:self.prefix], tokens[:, self.prefix:]
        out["cls"] = out["cls"][:, 0] if first else None
        return {k: v for k, v in out.items() if v is not None}

    def write(self, folder):
        os.makedirs(folder, exist_ok=True)
        save_file(self.state(), os.path.join(folder, self.checkpoint))

    def sample(self, rng, count, height, width):
        """An input."""
        return rng.standard_normal((count, self.channels, height, width)).astype(np.float32)

    def layer_names(self):
        """The outputs of layers to ask for, as cases.txt names them."""
        return ["layers:" + ",".join(map(str, sorted({1, max(1, self.depth - 1), self.depth})))]

    def places(self, height, width):
        """How many patches subsets are chosen from; none where the model takes no subsets."""
        return height // self.patch[0] * (width // self.patch[1])


# ---------------------------------------------------------------------------------------- timm

class Timm(Reference):
    def __init__(self, name, architecture, convert="", dtype=torch.float32, **options):
        self.name, self.convert, self.dtype = name, convert, dtype
        net = timm.create_model(architecture, **options)
        self.finish(net, net.blocks[0].attn.num_heads)
        self.adopt(net)

    def adopt(self, net):
        self.height, self.width = net.patch_embed.img_size
        self.patch = net.patch_embed.patch_size
        self.channels = net.patch_embed.proj.in_channels
        self.prefix, self.has_cls = net.num_prefix_tokens, int(net.cls_token is not None)
        self.depth, self.classes = len(net.blocks), net.num_classes

    def positions(self, net, height, width):
        net.set_input_size(img_size=(height, width))

    def select(self, net, keep):
        """Goes on with some of the patches once positions are added, and with their part of biases and rotations."""
        if isinstance(net, Eva):
            net.patch_drop = KeepWithIndices(keep, self.prefix)
            return
        keep = Keep(keep, self.prefix)
        if not isinstance(net, Beit):
            net.patch_drop = keep
            return
        net.pos_drop = keep
        if net.rel_pos_bias is not None:
            net.rel_pos_bias.register_forward_hook(lambda m, i, o: keep.bias(o))
        for block in net.blocks:
            if block.attn.relative_position_bias_table is not None:
                block.attn._get_rel_pos_bias = lambda whole=block.attn._get_rel_pos_bias: keep.bias(whole())

    def forward(self, net, x, keep):
        if x.shape[2:] != (self.height, self.width):
            self.positions(net, *x.shape[2:])
        if keep is not None:
            self.select(net, keep)
        hidden, attention = [], []
        for block in net.blocks:
            block.register_forward_hook(lambda m, i, o: hidden.append(o))
        last = net.blocks[-1].attn
        last.fused_attn = False
        last.attn_drop.register_forward_hook(lambda m, i, o: attention.append(o))
        tokens = net.forward_features(x)
        pooled = net.forward_head(tokens, pre_logits=True)
        return {"tokens": tokens, "pooled": pooled, "logits": net.head(pooled) if self.classes else None,
                "attention": attention[0], "layers": hidden,
                "normed": None if isinstance(net.norm, nn.Identity) else [net.norm(h) for h in hidden]}

    def write(self, folder):
        timm.models.save_for_hf(self.net, folder, safe_serialization=True)


# ---------------------------------------------------------------------------------------- the MAE authors' names

class MaskedAutoencoder(nn.Module):
    """models_mae.py of the authors, from timm's blocks: modules have the authors' names."""

    def __init__(self, image, patch, channels, dim, depth, heads, decoder_dim, decoder_depth, decoder_heads, mlp=4.0):
        super().__init__()
        norm = functools.partial(nn.LayerNorm, eps=1e-6)
        blocks = lambda d, h, n: nn.ModuleList(Block(d, h, mlp, qkv_bias=True, norm_layer=norm) for _ in range(n))
        self.image, self.patch = image, patch
        self.patch_embed = PatchEmbed(image, patch, channels, dim, strict_img_size=False)
        count = self.patch_embed.num_patches
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + count, dim))
        self.blocks, self.norm = blocks(dim, heads, depth), norm(dim)
        self.decoder_embed = nn.Linear(dim, decoder_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_dim))
        self.decoder_pos_embed = nn.Parameter(torch.zeros(1, 1 + count, decoder_dim))
        self.decoder_blocks, self.decoder_norm = blocks(decoder_dim, decoder_heads, decoder_depth), norm(decoder_dim)
        self.decoder_pred = nn.Linear(decoder_dim, patch * patch * channels)

    def encode(self, x, keep, hidden, positions):
        x = self.patch_embed(x) + positions[:, 1:]
        if keep is not None:
            x = x[:, keep]
        cls = self.cls_token + positions[:, :1]
        x = torch.cat([cls.expand(x.shape[0], -1, -1), x], 1)
        for block in self.blocks:
            x = block(x)
            hidden.append(x)
        return self.norm(x)

    def decode(self, x, keep, patches, positions):
        x = self.decoder_embed(x)
        keep = torch.arange(patches) if keep is None else keep
        full = self.mask_token.repeat(x.shape[0], patches, 1)
        full[:, keep] = x[:, 1:]
        x = torch.cat([x[:, :1], full], 1) + positions
        for block in self.decoder_blocks:
            x = block(x)
        return self.decoder_pred(self.decoder_norm(x))[:, 1:]


def util_positions(table, side, grid):
    """util/pos_embed.py of the authors: the class row stays, the patches' rows are resized, bicubic, not antialiased."""
    if grid == (side, side):
        return table
    rest = table[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    rest = F.interpolate(rest, size=grid, mode="bicubic", align_corners=False)
    return torch.cat([table[:, :1], rest.permute(0, 2, 3, 1).flatten(1, 2)], 1)


class Mae(Reference):
    decoder = True

    def __init__(self, name, convert, metadata=None, **shape):
        self.name, self.convert, self.metadata, self.shape = name, convert, metadata, shape
        net = MaskedAutoencoder(**shape)
        self.finish(net, (shape["heads"], shape["decoder_heads"]))
        self.height = self.width = shape["image"]
        self.patch, self.channels = (shape["patch"],) * 2, shape["channels"]
        self.prefix = self.has_cls = 1
        self.depth = shape["depth"]
        self.check()

    def forward(self, net, x, keep):
        keep = None if keep is None else torch.as_tensor(keep, dtype=torch.long)
        side = net.image // net.patch
        grid = tuple(s // net.patch for s in x.shape[2:])
        hidden, attention = [], []
        last = net.blocks[-1].attn
        last.fused_attn = False
        last.attn_drop.register_forward_hook(lambda m, i, o: attention.append(o))
        tokens = net.encode(x, keep, hidden, util_positions(net.pos_embed, side, grid))
        # the authors have no rule for the decoder's positions at another size
        prediction = net.decode(tokens, keep, side * side, net.decoder_pos_embed) if grid == (side, side) else None
        return {"tokens": tokens, "pooled": tokens[:, 0], "attention": attention[0], "layers": hidden,
                "normed": [net.norm(h) for h in hidden], "reconstruct": prediction}

    def check(self):
        """transformers' own ViTMAE with these weights must agree."""
        s = self.shape
        hf = transformers.ViTMAEForPreTraining(transformers.ViTMAEConfig(
            image_size=s["image"], patch_size=s["patch"], num_channels=s["channels"], hidden_size=s["dim"],
            num_hidden_layers=s["depth"], num_attention_heads=s["heads"], intermediate_size=int(s["dim"] * s.get("mlp", 4)),
            decoder_hidden_size=s["decoder_dim"], decoder_num_hidden_layers=s["decoder_depth"],
            decoder_num_attention_heads=s["decoder_heads"], decoder_intermediate_size=int(s["decoder_dim"] * s.get("mlp", 4)),
            layer_norm_eps=1e-6, mask_ratio=0.5)).double().eval()
        net = self.double()
        own = net.state_dict()

        def load(module, prefix):
            for part, name in (("weight", ".weight"), ("bias", ".bias")):
                getattr(module, part).copy_(own[prefix + name])

        def load_block(layer, prefix):
            w, b = own[prefix + ".attn.qkv.weight"].chunk(3), own[prefix + ".attn.qkv.bias"].chunk(3)
            modules = dict(layer.named_modules())
            linear = [m for m in modules.values() if isinstance(m, nn.Linear)]
            norms = [m for m in modules.values() if isinstance(m, nn.LayerNorm)]
            for i in range(3):
                linear[i].weight.copy_(w[i])
                linear[i].bias.copy_(b[i])
            for module, name in zip(linear[3:] + norms, ("attn.proj", "mlp.fc1", "mlp.fc2", "norm1", "norm2")):
                load(module, prefix + "." + name)

        embed = hf.vit.embeddings
        load(embed.patch_embeddings.projection, "patch_embed.proj")
        embed.cls_token.copy_(net.cls_token)
        embed.position_embeddings.copy_(net.pos_embed)
        for i, layer in enumerate(hf.vit.layers):
            load_block(layer, f"blocks.{i}")
        load(hf.vit.layernorm, "norm")
        for name in ("decoder_embed", "decoder_norm", "decoder_pred"):
            load(getattr(hf.decoder, name), name)
        hf.decoder.mask_token.copy_(net.mask_token)
        hf.decoder.decoder_pos_embed.copy_(net.decoder_pos_embed)
        for i, layer in enumerate(hf.decoder.decoder_layers):
            load_block(layer, f"decoder_blocks.{i}")

        rng = generator(self.name, "check")
        x = rng.standard_normal((2, s["channels"], s["image"], s["image"])).astype(np.float32)
        patches = (s["image"] // s["patch"]) ** 2
        noise = rng.permutation(patches)
        order = np.argsort(noise)[:patches // 2]
        theirs = hf(torch.from_numpy(x).double(), noise=torch.from_numpy(noise).double().expand(2, -1))
        encoded = hf.vit(torch.from_numpy(x).double(), noise=torch.from_numpy(noise).double().expand(2, -1))
        mine = self.run(x, order)
        for a, b in ((mine["reconstruct"], theirs.logits), (mine["tokens"], encoded.last_hidden_state)):
            assert (a - b).abs().max() < 1e-9 * b.abs().max(), self.name + ": transformers' ViTMAE disagrees"

    def write(self, folder):
        super().write(folder)
        if self.metadata:
            # by hand, because save_file puts several entries in a random order
            path = os.path.join(folder, self.checkpoint)
            with open(path, "rb") as f:
                size, = struct.unpack("<Q", f.read(8))
                header, data = json.loads(f.read(size)), f.read()
            text = json.dumps({"__metadata__": self.metadata, **header}).encode()
            text += b" " * (-len(text) % 8)
            with open(path, "wb") as f:
                f.write(struct.pack("<Q", len(text)) + text + data)


class UmMae(Mae):
    """implus/UM-MAE's ViT: MAE's, where visible patches may be hidden as well. Which ones are seen follows from its sampling alone."""

    def state(self):
        return {**super().state(), "vis_mask_token": filler(self.name, "vis_mask_token", 1, 1, self.shape["dim"])}


class Finetuned(Timm):
    """models_vit.py of the authors with global pooling: timm's own class with the same names."""

    def __init__(self, name, convert, **options):
        super().__init__(name, "vit_base_patch16_224", convert, global_pool="avg", **options)

    def positions(self, net, height, width):
        side, grid = self.height // self.patch[0], (height // self.patch[0], width // self.patch[1])
        table = util_positions(net.pos_embed, side, grid)
        net.patch_embed.set_input_size(img_size=(height, width))
        net.pos_embed = nn.Parameter(table)

    def write(self, folder):
        Reference.write(self, folder)


# ---------------------------------------------------------------------------------------- DINOv2's own names

class OriginalDinov2(Timm):
    """facebookresearch/dinov2: timm's blocks, which have the same names, and the original rule for positions.
    Without registers the scale factor is (grid + 0.1) / stored; with them the size is given and antialiased."""

    def __init__(self, name, convert, registers, image, patch, dim, depth, heads, architecture="vit_base_patch16_224",
                 dtype=torch.float32):
        self.registers = registers
        super().__init__(name, architecture, convert, dtype, img_size=image, patch_size=patch, embed_dim=dim, depth=depth,
                         num_heads=heads, init_values=1.0, reg_tokens=registers, num_classes=0)
        side = image // patch
        rng = generator(name, "pos_embed")
        # one row for CLS and one a patch: registers have none
        self.table = torch.from_numpy((rng.standard_normal((1, 1 + side * side, dim)) * 0.7).astype(np.float32)).to(dtype)
        self.mask = filler(name, "mask_token", 1, dim).to(dtype)

    def state(self):
        state = super().state()
        if self.net.blocks[0].mlp.fc1.out_features == 2 * self.net.blocks[0].mlp.fc2.in_features:
            state = rename(state, {r"mlp\.fc1": "mlp.w12", r"mlp\.fc2": "mlp.w3"})
        state["pos_embed"], state["mask_token"] = self.table, self.mask
        if self.registers:
            state["register_tokens"] = state.pop("reg_token")
        return state

    def forward(self, net, x, keep):
        height, width = x.shape[2:]
        side, grid = self.height // self.patch[0], (height // self.patch[0], width // self.patch[1])
        table = self.table.to(x.dtype)
        cls, rest = table[:, :1], table[:, 1:]
        if grid != (side, side):
            rest = rest.reshape(1, side, side, -1).permute(0, 3, 1, 2)
            if self.registers:
                rest = F.interpolate(rest, size=grid, mode="bicubic", antialias=True)
            else:
                scale = tuple(float(g + 0.1) / side for g in grid)
                rest = F.interpolate(rest, scale_factor=scale, mode="bicubic", antialias=False)
            assert rest.shape[2:] == grid
            rest = rest.permute(0, 2, 3, 1).flatten(1, 2)
        none = torch.zeros(1, self.registers, table.shape[2], dtype=x.dtype)
        net.patch_embed.set_input_size(img_size=(height, width))
        net.pos_embed = nn.Parameter(torch.cat([cls, none, rest], 1))
        return super().forward(net, x, keep)

    def positions(self, net, height, width):
        """Already set by forward."""

    def write(self, folder):
        Reference.write(self, folder)


# ---------------------------------------------------------------------------------------- other authors' names

def filler(name, tensor, *shape):
    """A tensor that the encoder has no use for."""
    return torch.from_numpy(generator(name, tensor).standard_normal(shape).astype(np.float32))


def rename(state, names):
    """Replaces regular expressions in tensor names, one after the other."""
    for pattern, name in names.items():
        state = {re.sub(pattern, name, k): v for k, v in state.items()}
    return state


class Authors(Timm):
    """A model of timm's under its authors' names, with what else their files hold. Absolute positions follow
    the authors' fine-tuning code, which in all of them is that of MAE."""
    names = {}

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        if isinstance(self.net, Eva):
            self.check()

    def check(self):
        """timm's own reading of these names must give its tensors back."""
        own = self.net.state_dict()
        again = timm.models.eva.checkpoint_filter_fn(self.state(), self.net)
        if self.net.global_pool == "token":
            again = rename(again, {"fc_norm": "norm"})  # timm takes what was not fine-tuned for something to fine-tune
        assert again.keys() == own.keys() and all(torch.equal(again[k], own[k]) for k in own), self.name

    def others(self):
        return {}

    def state(self):
        others = {k: v.to(self.dtype) if v.is_floating_point() else v for k, v in self.others().items()}
        return {**rename(super().state(), self.names), **others}

    def positions(self, net, height, width):
        table, net.pos_embed = net.pos_embed, None
        net.set_input_size(img_size=(height, width))
        if table is not None:
            side = self.height // self.patch[0]
            net.pos_embed = nn.Parameter(util_positions(table, side, net.patch_embed.grid_size))

    def write(self, folder):
        Reference.write(self, folder)


class SimMim(Authors):
    """microsoft/SimMIM's ViT: a shared bias with its index stored, and the layer that predicts pixels."""
    names = {r"^": "encoder."}

    def others(self):
        dim, pixels = self.net.embed_dim, self.patch[0] * self.patch[1] * 3
        return {"encoder.mask_token": filler(self.name, "mask_token", 1, 1, dim),
                "encoder.rel_pos_bias.relative_position_index": self.net.rel_pos_bias.relative_position_index,
                "decoder.0.weight": filler(self.name, "decoder.0.weight", pixels, dim, 1, 1),
                "decoder.0.bias": filler(self.name, "decoder.0.bias", pixels)}


class Cae(Authors):
    """Atten4Vis/CAE: sine and cosine positions, rows first, and beside the encoder its copy, a regressor and a decoder."""
    names = {r"^": "encoder."}

    def finish(self, net, heads, gain=1.0):
        super().finish(net, heads, gain)
        side, quarter = net.patch_embed.grid_size[0], net.embed_dim // 4
        frequencies = 10000.0 ** (-torch.arange(quarter) / quarter)
        row, column = (a.reshape(-1, 1) * frequencies for a in torch.meshgrid(*[torch.arange(side)] * 2, indexing="ij"))
        net.pos_embed[:] = 0
        net.pos_embed[0, 1:] = torch.cat([row.sin(), row.cos(), column.sin(), column.cos()], 1).to(self.dtype)

    def others(self):
        dim = self.net.embed_dim
        shapes = {"mask_token": (1, 1, dim), "rd_pos_embed": tuple(self.net.pos_embed.shape),
                  "regresser.regressor_blocks.0.norm1_q.weight": (dim,), "regresser.regressor_blocks.0.cross_attn.q.weight": (dim, dim),
                  "regresser.norm.weight": (dim,), "decoder.decoder_blocks.0.attn.qkv.weight": (3 * dim, dim),
                  "decoder.norm.weight": (dim,), "decoder.head.weight": (20, dim)}
        shapes.update({"alignment_encoder." + k: tuple(v.shape) for k, v in self.net.state_dict().items()})
        return {k: filler(self.name, k, *shape) for k, shape in shapes.items()}


class Eva02(Authors):
    """baaivision/EVA's EVA-02. Rotary tables are stored once for the model and once more in every block."""
    names = {r"mlp\.fc1_g": "mlp.w1", r"mlp\.fc1_x": "mlp.w2", r"mlp\.fc1": "mlp.w12", r"mlp\.fc2": "mlp.w3",
             r"mlp\.norm": "mlp.ffn_ln", r"attn\.norm": "attn.inner_attn_ln", r"([qv])_proj\.bias": r"\1_bias"}

    def others(self):
        sin, cos = (table.contiguous() for table in self.net.rope.get_embed().chunk(2, -1))
        others = {"rope.freqs_cos": cos, "rope.freqs_sin": sin}
        for i in range(self.depth):
            others.update({f"blocks.{i}.attn.{k}": others[k].clone() for k in ("rope.freqs_cos", "rope.freqs_sin")})
        if not self.classes:
            dim = self.net.embed_dim
            others.update({"mask_token": filler(self.name, "mask_token", 1, 1, dim),
                           "lm_head.weight": filler(self.name, "lm_head.weight", 24, dim),
                           "lm_head.bias": filler(self.name, "lm_head.bias", 24)})
        return others


class Eva02Clip(Eva02):
    """The picture's half of EVA-02-CLIP, beside the text's."""
    names = {**Eva02.names, r"^": "visual."}

    def others(self):
        others = {"visual." + k: v for k, v in super().others().items()}
        others.update({"logit_scale": torch.tensor(4.6), "text.positional_embedding": filler(self.name, "text", 5, 16),
                       "text.transformer.resblocks.0.attn.in_proj_weight": filler(self.name, "in_proj", 48, 16),
                       "text.ln_final.weight": filler(self.name, "ln_final", 16)})
        return others


class OriginalDinov3(Authors):
    """facebookresearch/dinov3: periods rounded to bfloat16 and stored; a key bias is stored, and masked."""
    names = {r"reg_token": "storage_tokens", r"gamma_(\d)": r"ls\1.gamma", r"mlp\.fc1_g": "mlp.w1", r"mlp\.fc1_x": "mlp.w2",
             r"mlp\.fc2": "mlp.w3"}

    def finish(self, net, heads, gain=1.0):
        super().finish(net, heads, gain)
        net.rope.periods = net.rope.periods.bfloat16().float()

    def others(self):
        dim = self.net.embed_dim
        return {"mask_token": filler(self.name, "mask_token", 1, dim), "local_cls_norm.weight": filler(self.name, "weight", dim),
                "local_cls_norm.bias": filler(self.name, "bias", dim)}

    def state(self):
        state = super().state()
        state["rope_embed.periods"] = self.net.rope.periods.bfloat16()
        for i in range(self.depth):
            q, v = (state.pop(f"blocks.{i}.attn.{part}_bias") for part in "qv")
            k = filler(self.name, f"k_bias {i}", len(q)).to(self.dtype)
            state[f"blocks.{i}.attn.qkv.bias"] = torch.cat([q, k, v])
            state[f"blocks.{i}.attn.qkv.bias_mask"] = torch.cat([torch.ones_like(q), torch.zeros_like(k), torch.ones_like(v)])
        return state


# ---------------------------------------------------------------------------------------- transformers

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}


def vit_processor(height, width):
    """As ViT and MSN releases have it: the whole picture squashed, bilinear."""
    return {"do_normalize": True, "do_rescale": True, "do_resize": True, **HALF, "image_processor_type": "ViTImageProcessor",
            "resample": 2, "rescale_factor": 1 / 255, "size": {"height": height, "width": width}}


def dinov2_processor(edge, crop):
    """As DINOv2 releases have it: short edge, centre crop, bicubic."""
    return {"crop_size": {"height": crop, "width": crop}, "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True,
            "do_rescale": True, "do_resize": True, **IMAGENET, "image_processor_type": "BitImageProcessor", "resample": 3,
            "rescale_factor": 1 / 255, "size": {"shortest_edge": edge}}


def beit_processor(edge):
    """As BEiT releases have it: a side without a name, which means a square."""
    return {"crop_size": edge, "do_center_crop": False, "do_normalize": True, "do_resize": True,
            "feature_extractor_type": "BeitFeatureExtractor", **HALF, "resample": 2, "size": edge}


def dinov3_processor(height, width):
    """As DINOv3 releases have it, with what is not set spelled out."""
    nothing = dict.fromkeys(("crop_size", "device", "disable_grouping", "do_center_crop", "do_convert_rgb", "input_data_format"))
    return {**nothing, "data_format": "channels_first", "default_to_square": True, "do_normalize": True, "do_rescale": True,
            "do_resize": True, **IMAGENET, "image_processor_type": "DINOv3ViTImageProcessorFast", "resample": 2,
            "rescale_factor": 1 / 255, "size": {"height": height, "width": width}}


def clip_processor(edge):
    """As CLIP releases have it: short edge and centre crop of the same length, bicubic."""
    return {"crop_size": {"height": edge, "width": edge}, "do_center_crop": True, "do_normalize": True, "do_resize": True,
            "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
            "image_processor_type": "CLIPImageProcessor", "resample": 3, "size": {"shortest_edge": edge}}


class Transformers(Reference):
    """A model of transformers, written by its save_pretrained, with the preprocessor_config.json of its releases."""

    def __init__(self, name, model, preprocessor, dtype=torch.float32, shard=None, **config):
        self.name, self.dtype, self.shard, self.preprocessor = name, dtype, shard, preprocessor
        kind = getattr(transformers, model)
        # Data2VecVision chooses when it is made, and gives its attention only so
        eager = {"attn_implementation": "eager"} if model.startswith("Data2Vec") else {}
        net = kind(kind.config_class(**config, **eager))
        c = net.config
        self.finish(net, (c.num_attention_heads, getattr(c, "decoder_num_attention_heads", 1)))
        both = lambda v: tuple(v) if isinstance(v, (list, tuple)) else (v, v)
        self.height, self.width = both(c.image_size)
        self.patch, self.channels = both(c.patch_size), c.num_channels
        self.depth = c.num_hidden_layers
        self.has_cls = int(c.model_type != "ijepa")
        self.prefix = self.has_cls + getattr(c, "num_register_tokens", 0)
        self.decoder = model == "ViTMAEForPreTraining"
        self.convert = "--keep-decoder" if self.decoder else ""
        self.classes = c.num_labels if model.endswith("ForImageClassification") else 0
        if shard:
            self.checkpoint = "model.safetensors.index.json"

    def base(self, net):
        # DINOv3's model.model is its stack of layers
        return net if net.config.model_type == "dinov3_vit" else getattr(net, net.base_model_prefix, net)

    def select(self, base, keep):
        """Goes on with some of the patches once positions are added, and with their part of biases and rotations."""
        keep = Keep(keep, self.prefix)
        base.embeddings.register_forward_hook(lambda m, i, o: (keep(o[0]), *o[1:]) if isinstance(o, tuple) else keep(o))
        for name, module in base.named_modules():
            if name.endswith(("relative_position_bias", "shared_position_bias")):
                module.register_forward_hook(lambda m, i, o: keep.bias(o))
            elif name == "rope_embeddings":
                module.register_forward_hook(lambda m, i, o: tuple(table[keep.keep] for table in o))

    def forward(self, net, x, keep):
        base = self.base(net)
        kind = net.config.model_type
        grid = (x.shape[2] // self.patch[0], x.shape[3] // self.patch[1])
        options = {}
        if x.shape[2:] != (self.height, self.width) and kind not in (
                "dinov2", "dinov2_with_registers", "dinov3_vit", "beit", "data2vec-vision"):
            options["interpolate_pos_encoding"] = True
        if kind == "vit_mae":
            # the order of the noise defines what is kept, and in which order
            count = grid[0] * grid[1]
            keep = np.arange(count) if keep is None else keep
            noise = np.full(count, 2.0)
            noise[keep] = np.linspace(0, 1, len(keep))
            net.config.mask_ratio = 1 - (len(keep) + 0.5) / count
            options["noise"] = torch.from_numpy(noise).expand(x.shape[0], -1)
        elif keep is not None:
            self.select(base, keep)
        layers = base.layers if hasattr(base, "layers") else base.model.layer if kind == "dinov3_vit" else base.encoder.layer
        hidden = []
        for layer in layers:
            layer.register_forward_hook(lambda m, i, o: hidden.append(o[0] if isinstance(o, tuple) else o))
        result = base(x, **options)
        tokens, layer_outputs = result.last_hidden_state, list(hidden)
        norm = base.norm if kind == "dinov3_vit" else base.layernorm
        if hasattr(net, "lm_head"):
            assert isinstance(norm, nn.Identity)  # the norm of a BEiT that was not fine-tuned stands beside the head
            norm = net.layernorm
            tokens = norm(tokens)
        out = {"tokens": tokens, "layers": layer_outputs}
        out["normed"] = None if isinstance(norm, nn.Identity) else [norm(h) for h in layer_outputs]
        out["pooled"] = tokens[:, 0] if self.has_cls else tokens.mean(1)
        if kind in ("beit", "data2vec-vision") and not hasattr(net, "lm_head"):
            out["pooled"] = tokens[:, 1:].mean(1) if base.pooler is None else result.pooler_output
        if self.classes:
            out["logits"] = net(x, **options).logits if keep is None else None
            if kind.startswith("dinov2"):
                out["pooled"] = torch.cat([tokens[:, 0], tokens[:, self.prefix:].mean(1)], 1)
            if keep is None:
                assert (net.classifier(out["pooled"]) - out["logits"]).abs().max() < 1e-5, self.name
            out["logits"] = net.classifier(out["pooled"])
        if self.decoder and x.shape[2:] == (self.height, self.width):
            out["reconstruct"] = net(x, **options).logits
        net.set_attn_implementation("eager")
        out["attention"] = base(x, output_attentions=True, **options).attentions[-1]
        return out

    def write(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.net.save_pretrained(folder, **({"max_shard_size": self.shard} if self.shard else {}))
        path = os.path.join(folder, "model.safetensors")
        if self.decoder:
            # save_pretrained of this version calls the decoder's blocks decoder_encoder.layer; releases have decoder_layers
            save_file({k.replace("decoder_encoder.layer.", "decoder_layers."): v for k, v in load_file(path).items()},
                      path, {"format": "pt"})
        with open(os.path.join(folder, "preprocessor_config.json"), "w") as f:
            json.dump(self.preprocessor, f, indent=2)
            f.write("\n")


class Clip(Transformers):
    """transformers' CLIP, whole or what sees of it: a norm before the blocks, one of the class token behind them, a projection."""

    def __init__(self, name, model, preprocessor, dtype=torch.float32, projection=0, **config):
        self.name, self.dtype, self.shard, self.preprocessor = name, dtype, None, preprocessor
        text = dict(vocab_size=12, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
                    max_position_embeddings=6, projection_dim=projection)
        net = getattr(transformers, model)(
            transformers.CLIPConfig(vision_config={**config, "projection_dim": projection}, text_config=text, projection_dim=projection)
            if model == "CLIPModel" else transformers.CLIPVisionConfig(**config))
        self.finish(net, (config["num_attention_heads"],) * 2)
        self.height = self.width = config["image_size"]
        self.patch, self.channels = (config["patch_size"],) * 2, 3
        self.depth, self.classes, self.has_cls, self.prefix = config["num_hidden_layers"], projection, 1, 1

    def forward(self, net, x, keep):
        base = getattr(net, "vision_model", net)
        hidden = []
        if keep is not None:
            base.embeddings.register_forward_hook(lambda m, i, o: Keep(keep, 1)(o))
        for layer in base.encoder.layers:
            layer.register_forward_hook(lambda m, i, o: hidden.append(o[0] if isinstance(o, tuple) else o))
        options = {"interpolate_pos_encoding": x.shape[2:] != (self.height, self.width)}
        result = base(x, **options)
        out = {"tokens": result.last_hidden_state, "pooled": result.pooler_output, "layers": list(hidden)}
        out["logits"] = net.visual_projection(result.pooler_output) if self.classes else None
        net.set_attn_implementation("eager")
        out["attention"] = base(x, output_attentions=True, **options).attentions[-1]
        return out
