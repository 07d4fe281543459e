"""Video, audio and satellite models, and models of tokens that the caller embedded.

    python video.py [FOLDER]

writes their golden data. VideoMAE and V-JEPA 2 are transformers' own, MViTv2 is torchvision's. The others were written from their authors'
publications, of timm's blocks; published.py compares them with their authors' code. A video is (N, T, C, H, W); tokens
are numbered by time, then row, then column. The files are described in tests/golden/README.md.
"""
import copy
import functools
import json
import os
import shutil
import sys

sys.dont_write_bytecode = True

import numpy as np
from PIL import Image

from references import IMAGENET, Reference, filler, generator, rename, torch, transformers, util_positions
import hiera  # after references, which makes torchvision importable
import hiera.hiera_mae
from pyramids import in_order
from timm.models.vision_transformer import Block
from torch import nn
from torch.nn import functional as F
from torchvision.models.video import mvit

HERE = os.path.dirname(os.path.abspath(__file__))
SHARED_PRESTO = "../../../../shared/models/presto-default_model.pt"  # from a folder of golden data
RELEASED_PRESTO = os.path.normpath(os.path.join(HERE, "..", "golden", "presto_released", SHARED_PRESTO))


def sincos(values, width, quirk=1):
    """Sines, then cosines, of the values (...) times 10000^(-i / (quirk * width / 2)): (..., width) in float64."""
    values = torch.as_tensor(values, dtype=torch.float64)[..., None]
    angles = values * 10000.0 ** (-torch.arange(width // 2, dtype=torch.float64) / (quirk * width / 2))
    return torch.cat([angles.sin(), angles.cos()], -1)


def split_qkv(state):
    """Separate projections in the place of one: what timm's blocks have in one tensor."""
    out = {}
    for name, value in state.items():
        if ".attn.qkv." in name:
            out.update({name.replace("qkv", part): v.clone() for part, v in zip("qkv", value.chunk(3))})
        else:
            out[name] = value
    return out


def join_qkv(state, query, key, value, joined):
    """One projection in the place of three."""
    out = {}
    for name, v in state.items():
        if query in name:
            out[name.replace(query, joined)] = torch.cat([state[name.replace(query, part)] for part in (query, key, value)])
        elif key not in name and value not in name:
            out[name] = v
    return out


def encode(net, x):
    """The blocks: what each of them puts out, and the attention of the last one."""
    hidden, attention = [], []
    last = net.blocks[-1].attn
    last.fused_attn = False
    last.attn_drop.register_forward_hook(lambda m, i, o: attention.append(o))
    for block in net.blocks:
        x = block(x)
        hidden.append(x)
    return {"layers": hidden, "attention": attention[0]}


def blocks(dim, depth, heads, mlp, eps):
    norm = functools.partial(nn.LayerNorm, eps=eps)
    return nn.ModuleList(Block(dim, heads, mlp, qkv_bias=True, norm_layer=norm) for _ in range(depth))


class Clip(Reference):
    """run(x, keep, dtype, coordinates): frames, tubelet, height, width, patch as they were trained;
    coordinates are the caller's numbers for every frame of tokens, `coordinates` of them."""
    video = True
    subsets = True
    frames = tubelet = 1
    coordinates = 0
    prefix = has_cls = 0

    def shape(self, frames, height, width):
        """Of one input."""
        return (frames, self.channels, height, width) if self.video else (self.channels, height, width)

    def grid(self, frames, height, width):
        return max(frames // self.tubelet, 1), height // self.patch[0], width // self.patch[1]

    def layer_names(self):
        """Of outputs; those of unequal sizes are asked for one by one."""
        return ["layers:" + ",".join(map(str, range(1, self.depth + 1)))]

    def run(self, x, keep=None, dtype=torch.float64, coordinates=None):
        keep = None if keep is None else torch.as_tensor(keep, dtype=torch.long)
        coordinates = None if coordinates is None else torch.from_numpy(coordinates).double()
        out = self.forward(copy.deepcopy(self.net).to(dtype), torch.from_numpy(x).to(dtype), keep, coordinates)
        if self.has_cls:
            out["cls"], out["patches"] = out["tokens"][:, 0], out["tokens"][:, 1:]
        return {k: v for k, v in out.items() if v is not None}

    def sample(self, rng, count, size):
        """An input, and coordinates if the model wants them."""
        x = rng.standard_normal((count, *self.shape(*size))).astype(np.float32)
        return x, self.sample_coordinates(rng, count, self.grid(*size)[0]) if self.coordinates else None

    def own_options(self):
        """What the checkpoints without a config.json leave open."""
        return f"--heads {self.heads} --image-size {self.height}x{self.width} --frames {self.frames}"


# ---------------------------------------------------------------------------------------- transformers

class TransformersVideo(Clip):
    """A model of transformers, written by its save_pretrained."""

    def __init__(self, name, model, dtype=torch.float32, faint=1.0, **config):
        self.name, self.dtype, self.kind = name, dtype, getattr(transformers, model)
        net = self.kind(self.kind.config_class(**config))
        c = net.config
        self.heads, self.depth, self.tubelet = c.num_attention_heads, c.num_hidden_layers, c.tubelet_size
        self.adopt(c)
        self.patch = (c.patch_size,) * 2
        self.finish(net, (self.heads, getattr(c, "decoder_num_attention_heads", 1)))
        for p in self.embedding(net).parameters():
            p *= faint
        self.classes = c.num_labels if model.endswith("ForVideoClassification") else 0

    def hooked(self, layers):
        hidden = []
        for layer in layers:
            layer.register_forward_hook(lambda m, i, o: hidden.append(o[0] if isinstance(o, tuple) else o))
        return hidden

    def write(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.net.save_pretrained(folder)
        self.processor().save_pretrained(folder)


class VideoMae(TransformersVideo):
    def adopt(self, c):
        self.frames, self.channels = c.num_frames, c.num_channels
        self.height, self.width = c.image_size if isinstance(c.image_size, list) else (c.image_size,) * 2

    def embedding(self, net):
        return net.base_model.embeddings.patch_embeddings

    def processor(self):
        return transformers.VideoMAEImageProcessor(size={"shortest_edge": self.height}, **IMAGENET,
                                                   crop_size={"height": self.height, "width": self.width})

    def forward(self, net, x, keep, coordinates):
        frames, height, width = x.shape[1], *x.shape[3:]
        if (frames, height, width) != (self.frames, self.height, self.width):
            # positions are made with the model, for its size
            config = copy.deepcopy(net.config)
            config.num_frames, config.image_size = frames, [height, width]
            other = self.kind(config).to(x.dtype).eval()
            other.load_state_dict(net.state_dict())
            if getattr(net, "fc_norm", None) is not None:
                other.fc_norm.eps = net.fc_norm.eps
            net = other
        base = net.base_model
        if keep is not None:
            # transformers' own mask keeps the order of the tokens; the same tokens in another order are the same
            masked = torch.ones(x.shape[0], base.embeddings.num_patches, dtype=torch.bool)
            masked[:, keep] = False
            theirs = base(x, bool_masked_pos=masked).last_hidden_state[:, keep.argsort().argsort()]
            base.embeddings.register_forward_hook(lambda m, i, o: o[:, keep])
            assert (base(x).last_hidden_state - theirs).abs().max() < 1e-5 * theirs.abs().max(), self.name
        elif self.classes:
            assert (net(x).logits - net.classifier(net.fc_norm(base(x).last_hidden_state.mean(1)))).abs().max() < 1e-5, self.name
        hidden = self.hooked(base.encoder.layer)
        tokens = base(x).last_hidden_state
        layers = list(hidden)
        pooled = tokens.mean(1)
        if getattr(net, "fc_norm", None) is not None:
            pooled = net.fc_norm(pooled)
        logits = net.classifier(pooled) if self.classes else None
        normed = None if base.layernorm is None else [base.layernorm(h) for h in layers]
        net.set_attn_implementation("eager")
        attention = base(x, output_attentions=True).attentions[-1]
        return {"tokens": tokens, "pooled": pooled, "logits": logits, "attention": attention, "layers": layers, "normed": normed}


class TrainedVideoMae(VideoMae):
    """What train_video.py left in the folder of golden data, on windows that move over the shipped photographs."""

    def __init__(self, name):
        self.name, self.folder = name, os.path.join(HERE, "..", "golden", name)
        with open(os.path.join(self.folder, "config.json")) as f:
            config = json.load(f)
        kind = config.pop("architectures")[0]
        super().__init__(name, kind, getattr(torch, config.pop("dtype")), **config)
        self.net = self.kind.from_pretrained(self.folder, dtype=self.dtype).eval()

    def sample(self, rng, count, size):
        folder = os.path.join(HERE, "..", "..", "examples", "images", "small")
        frames, height, width = size
        mean, std = (np.array(IMAGENET[k], np.float32)[:, None, None] for k in ("image_mean", "image_std"))
        clips = []
        for name in rng.choice(sorted(os.listdir(folder)), count, replace=False):
            picture = np.asarray(Image.open(os.path.join(folder, name)).convert("RGB"), np.float32).transpose(2, 0, 1) / 255
            free = np.array(picture.shape[1:]) - (height, width)
            start, end = rng.integers(0, free + 1, (2, 2))
            clip = []
            for f in range(frames):
                y, x = start + (end - start) * f // max(frames - 1, 1)
                clip.append((picture[:, y:y + height, x:x + width] - mean) / std)
            clips.append(clip)
        return np.array(clips), None

    def write(self, folder):
        """As it is: training is not repeated."""
        os.makedirs(folder, exist_ok=True)
        for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
            if not os.path.samefile(self.folder, folder):
                shutil.copyfile(os.path.join(self.folder, name), os.path.join(folder, name))


class AuthorsVideoMae(VideoMae):
    """MCG-NJU/VideoMAE: the same arithmetic with eps 1e-6 in every norm."""
    names = {r"^videomae\.embeddings\.patch_embeddings\.projection": "patch_embed.proj",
             r"^videomae\.encoder\.layer": "blocks", r"^videomae\.layernorm": "norm", r"^decoder\.decoder_layers": "decoder.blocks",
             r"attention\.attention\.query\.bias": "attn.q_bias", r"attention\.attention\.value\.bias": "attn.v_bias",
             r"attention\.output\.dense": "attn.proj", r"intermediate\.dense": "mlp.fc1", r"output\.dense": "mlp.fc2",
             r"layernorm_before": "norm1", r"layernorm_after": "norm2", r"^classifier": "head",
             r"^(patch_embed|blocks|norm)\b": None}

    def __init__(self, *arguments, **config):
        super().__init__(*arguments, layer_norm_eps=1e-6, **config)
        for m in self.net.modules():
            if isinstance(m, nn.LayerNorm):
                m.eps = 1e-6
        self.convert = self.own_options()

    def state(self):
        where = r"encoder.\1" if hasattr(self.net, "decoder") else r"\1"
        names = {k: where if v is None else v for k, v in self.names.items()}
        parts = [f"attention.attention.{part}.weight" for part in ("query", "key", "value")]
        return rename(join_qkv(super().state(), *parts, "attn.qkv.weight"), names)

    def write(self, folder):
        Reference.write(self, folder)


class VJepa2(TransformersVideo):
    def adopt(self, c):
        self.frames, self.channels, self.height, self.width = c.frames_per_clip, c.in_chans, c.crop_size, c.crop_size

    def embedding(self, net):
        return net.encoder.embeddings.patch_embeddings

    def processor(self):
        return transformers.VJEPA2VideoProcessor(crop_size=self.height)

    def places(self, attention, ids, grid):
        """Frame, row and column of the tokens, as transformers tells them: by the grid of the configuration."""
        assert grid[1:] == (attention.grid_size,) * 2, "transformers has no such positions"
        return type(attention).get_position_ids(attention, ids[None, :, None], ids[None])

    def forward(self, net, x, keep, coordinates):
        base = net.encoder
        grid = self.grid(x.shape[1], *x.shape[3:])
        ids = torch.arange(grid[0] * grid[1] * grid[2]) if keep is None else keep
        if keep is not None:
            base.embeddings.register_forward_hook(lambda m, i, o: o[:, keep])
        for layer in base.layer:
            attention = layer.attention
            attention.get_position_ids = lambda x, masks=None, attention=attention: self.places(attention, ids, grid)
        hidden = self.hooked(base.layer)
        tokens = base(x).last_hidden_state
        layers = list(hidden)
        weights = []
        base.layer[-1].attention.register_forward_hook(lambda m, i, o: weights.append(o[1]))
        net.set_attn_implementation("eager")
        base(x)
        return {"tokens": tokens, "pooled": tokens.mean(1), "attention": weights[0], "layers": layers,
                "normed": [base.layernorm(h) for h in layers]}


class AuthorsVJepa2(VJepa2):
    """facebookresearch/vjepa2: positions by the grid of the input. The file holds the encoder twice, as it was trained
    and as its average, which is the one to use, with positions that rotary models have no use for, and the predictor."""
    names = {r"^encoder\.embeddings\.patch_embeddings": "patch_embed", r"^encoder\.layer\.": "blocks.",
             r"^encoder\.layernorm": "norm", r"attention\.": "attn."}

    def __init__(self, *arguments, **config):
        super().__init__(*arguments, **config)
        self.convert = self.own_options()

    def places(self, attention, ids, grid):
        row = ids // grid[2]
        return row // grid[1], row % grid[1], ids % grid[2]

    def state(self):
        state = {k: v for k, v in super().state().items() if k.startswith("encoder.")}
        for part in ("weight", "bias"):
            state = join_qkv(state, *(f"attention.{name}.{part}" for name in ("query", "key", "value")), f"attention.qkv.{part}")
        state = rename(state, self.names)
        dim = self.net.config.hidden_size
        count = self.frames // self.tubelet * (self.height // self.patch[0]) ** 2
        state["pos_embed"] = filler(self.name, "pos_embed", 1, count, dim).to(self.dtype)
        others = {k: filler(self.name, k, *v.shape).to(self.dtype) for k, v in state.items()}
        predictor = {k: filler(self.name, k, *shape).to(self.dtype) for k, shape in (
            ("predictor_embed.weight", (8, dim)), ("predictor_embed.bias", (8,)), ("mask_tokens.0", (1, 1, 8)),
            ("predictor_blocks.0.attn.qkv.weight", (24, 8)), ("predictor_norm.weight", (8,)), ("predictor_proj.weight", (dim, 8)))}
        return {f"{part}.module.backbone.{k}": v for part, tensors in (
            ("target_encoder", state), ("encoder", others), ("predictor", predictor)) for k, v in tensors.items()}

    def write(self, folder):
        Reference.write(self, folder)


# ---------------------------------------------------------------------------------------- of timm's blocks

class Plain(Clip):
    """A net with the authors' names: cls_token, blocks, and either norm for all tokens or fc_norm behind the mean.
    embed() makes tokens of the input, with their positions; tokens may then be left out; CLS stands in front."""
    prefix = has_cls = 1
    eps = 1e-6

    def build(self, dim, depth, heads, mlp, classes=0, **modules):
        net = nn.Module()
        for name, module in modules.items():
            setattr(net, name, module)
        net.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        net.blocks = blocks(dim, depth, heads, mlp, self.eps)
        setattr(net, "fc_norm" if classes else "norm", nn.LayerNorm(dim, eps=self.eps))
        if classes:
            net.head = nn.Linear(dim, classes)
        self.depth, self.heads, self.classes, self.dim = depth, heads, classes, dim
        return net

    def finish(self, net, heads, gain=1.0):
        super().finish(net, heads, gain)
        net.cls_token *= 0.05  # without a position of its own it is faint, so that the norms' eps counts

    def patches(self, net, x):
        """A convolution without overlap over frames (N, T, C, H, W), or over pictures."""
        if x.ndim == 5:
            x = x.transpose(1, 2)
        return net.patch_embed.proj(x).flatten(2).transpose(1, 2)

    def cls(self, net):
        return net.cls_token

    def forward(self, net, x, keep, coordinates):
        count = x.shape[0]
        x = self.embed(net, x, coordinates)
        if keep is not None:
            x = x[:, keep]
        x = torch.cat([self.cls(net).to(x.dtype).expand(count, -1, -1), x], 1)
        out = encode(net, x)
        last = out["layers"][-1]
        if not self.classes:
            out["normed"] = [net.norm(h) for h in out["layers"]]
            tokens = out["normed"][-1]
            return {**out, "tokens": tokens, "pooled": tokens[:, 0]}
        pooled = net.fc_norm(last[:, 1:].mean(1))
        return {**out, "tokens": last, "pooled": pooled, "logits": net.head(pooled)}

    def others(self):
        return {}

    def state(self):
        others = {k: filler(self.name, k, *shape).to(self.dtype) for k, shape in self.others().items()}
        return {**super().state(), **others}


def convolution(channels, dim, *kernel):
    """Named as patch_embed.proj is."""
    holder = nn.Module()
    holder.proj = (nn.Conv3d if len(kernel) == 3 else nn.Conv2d)(channels, dim, kernel, kernel)
    return holder


def mae_decoder(dim, patches, pixels):
    """What the files of masked autoencoders hold behind the encoder."""
    return {"mask_token": (1, 1, 16), "decoder_pos_embed": (1, 1 + patches, 16), "decoder_embed.weight": (16, dim),
            "decoder_embed.bias": (16,), "decoder_blocks.0.norm1.weight": (16,), "decoder_blocks.0.attn.qkv.weight": (48, 16),
            "decoder_norm.weight": (16,), "decoder_norm.bias": (16,), "decoder_pred.weight": (pixels, 16), "decoder_pred.bias": (pixels,)}


class AudioMae(Plain):
    """facebookresearch/AudioMAE: a spectrogram, rows are times. Positions were made for the transposed grid, and stay so."""
    video = False
    channels = 1

    def __init__(self, name, image, patch, dim, depth, heads, mlp, classes=0, dtype=torch.float32):
        self.name, self.dtype, self.patch = name, dtype, (patch, patch)
        self.height, self.width = image
        rows, columns = image[0] // patch, image[1] // patch
        net = self.build(dim, depth, heads, mlp, classes, patch_embed=convolution(1, dim, patch, patch),
                         pos_embed=nn.Parameter(torch.zeros(1, 1 + rows * columns, dim)))
        self.finish(net, heads)
        row, column = (a.flatten() for a in torch.meshgrid(torch.arange(columns), torch.arange(rows), indexing="ij"))
        net.pos_embed[:] = 0
        net.pos_embed[0, 1:] = torch.cat([sincos(column, dim // 2), sincos(row, dim // 2)], 1).to(dtype)
        self.convert = f"--family audiomae --heads {heads} --image-size {image[0]}x{image[1]}"

    def embed(self, net, x, coordinates):
        return self.patches(net, x) + net.pos_embed[:, 1:]

    def cls(self, net):
        return net.cls_token + net.pos_embed[:, :1]

    def others(self):
        if self.classes:
            return {}
        window = {f"decoder_blocks.0.attn.{k}": shape for k, shape in (
            ("tau", (2,)), ("qkv.bias", (48,)), ("meta_mlp.fc1.weight", (12, 2)), ("meta_mlp.fc2.weight", (2, 12)))}
        return {**mae_decoder(self.dim, self.net.pos_embed.shape[1] - 1, self.patch[0] ** 2), **window}


class SatMaeTemporal(Plain):
    """sustainlab-group/SatMAE: a part of the width is for the place, the rest for year, month and hour of each frame.
    The code has three frames."""
    coordinates = 3
    frames = 3
    channels = 3

    def __init__(self, name, image, patch, dim, depth, heads, mlp, clock, dtype=torch.float32):
        self.name, self.dtype, self.clock, self.patch = name, dtype, clock, (patch, patch)
        self.height = self.width = image
        side = image // patch
        net = self.build(dim, depth, heads, mlp, patch_embed=convolution(3, dim, patch, patch),
                         pos_embed=nn.Parameter(torch.zeros(1, 1 + side * side, dim - 3 * clock)))
        self.finish(net, heads)
        net.pos_embed[:, 0] = 0  # what pretraining leaves out
        self.convert = f"--heads {heads}"

    def sample_coordinates(self, rng, count, frames):
        return np.stack([rng.integers(0, high, (count, frames)) for high in (17, 12, 24)], -1).astype(np.float32)

    def embed(self, net, x, coordinates):
        count, frames = x.shape[:2]
        assert frames == 3
        side = self.height // self.patch[0]
        place = util_positions(net.pos_embed, side, self.grid(1, *x.shape[3:])[1:])[:, 1:]
        when = torch.cat([sincos(coordinates[..., i], self.clock) for i in range(3)], -1).float().to(x.dtype)
        x = self.patches(net, x.flatten(0, 1)).unflatten(0, (count, frames))
        places = x.shape[2]
        x = x + torch.cat([place[:, None].expand(count, frames, -1, -1), when[:, :, None].expand(-1, -1, places, -1)], -1)
        return x.flatten(1, 2)

    def cls(self, net):
        return net.cls_token + F.pad(net.pos_embed[:, :1], (0, 3 * self.clock))

    def others(self):
        decoder = mae_decoder(self.dim, self.net.pos_embed.shape[1] - 1, self.patch[0] ** 2 * 3)
        return {**decoder, "decoder_pos_embed": (1, self.net.pos_embed.shape[1], 16 - 6)}


class SatMaeGroups(Plain):
    """sustainlab-group/SatMAE: each group of channels makes tokens of its own."""
    video = False
    groups = ((0, 1, 2, 6), (3, 4, 5, 7), (8, 9))
    channels = 10

    def __init__(self, name, image, patch, dim, depth, heads, mlp, channel_dim, classes=0, dtype=torch.float32):
        self.name, self.dtype, self.patch = name, dtype, (patch, patch)
        self.height = self.width = image
        side = image // patch
        net = self.build(dim, depth, heads, mlp, classes,
                         patch_embed=nn.ModuleList(convolution(len(g), dim, patch, patch) for g in self.groups),
                         pos_embed=nn.Parameter(torch.zeros(1, 1 + side * side, dim - channel_dim)),
                         channel_embed=nn.Parameter(torch.zeros(1, len(self.groups), channel_dim)))
        if classes:
            net.channel_cls_embed = nn.Parameter(torch.zeros(1, 1, channel_dim))
        self.finish(net, heads)
        if not classes:
            net.pos_embed[:, 0] = 0  # what pretraining leaves out
        self.convert = f"--heads {heads}"

    def grid(self, frames, height, width):
        return len(self.groups), height // self.patch[0], width // self.patch[1]

    def embed(self, net, x, coordinates):
        grid = self.grid(1, *x.shape[2:])[1:]
        place = util_positions(net.pos_embed, self.height // self.patch[0], grid)[:, 1:]
        tokens = []
        for i, (group, embed) in enumerate(zip(self.groups, net.patch_embed)):
            patches = embed.proj(x[:, group]).flatten(2).transpose(1, 2)
            channel = net.channel_embed[:, i:i + 1].expand(-1, patches.shape[1], -1)
            tokens.append(patches + torch.cat([place, channel], -1))
        return torch.cat(tokens, 1)

    def cls(self, net):
        channel = net.channel_cls_embed if self.classes else torch.zeros_like(net.channel_embed[:, :1])
        return net.cls_token + torch.cat([net.pos_embed[:, :1], channel], -1)

    def others(self):
        if self.classes:
            return {}
        decoder = mae_decoder(self.dim, self.net.pos_embed.shape[1] - 1, 1)
        predictions = {f"decoder_pred.{i}.weight": (len(g) * self.patch[0] ** 2, 16) for i, g in enumerate(self.groups)}
        return {**{k: v for k, v in decoder.items() if "pred" not in k}, **predictions,
                "decoder_channel_embed": (1, 1 + len(self.groups), 8), "decoder_pos_embed": (1, self.net.pos_embed.shape[1], 8)}


class Prithvi(Plain):
    """IBM and NASA's Prithvi-EO, as terratorch has it. The file's positions are those that the model makes anew."""
    eps = 1e-5
    channels = 6
    mean = {1: [775.0, 1081.0, 1229.0, 2497.0, 2204.0, 1611.0], 2: [1087.0, 1342.0, 1433.0, 2734.0, 1958.0, 1363.0]}
    std = {1: [1282.0, 1270.0, 1399.0, 1368.0, 1292.0, 1155.0], 2: [2248.0, 2179.0, 2178.0, 1850.0, 1242.0, 1049.0]}

    def __init__(self, name, architecture, frames, image, patch, dim, depth, heads, mlp, where_and_when=False,
                 dtype=torch.float32):
        self.name, self.dtype, self.architecture, self.mlp, self.frames = name, dtype, architecture, mlp, frames
        self.height = self.width = image
        self.patch = (patch, patch)
        scale = {}
        if where_and_when:
            self.coordinates = 4
            for part in ("temporal_embed_enc", "location_embed_enc"):
                scale[part] = nn.Module()
                scale[part].scale = nn.Parameter(torch.zeros(1))
        net = self.build(dim, depth, heads, mlp, patch_embed=convolution(6, dim, 1, patch, patch), **scale)
        self.finish(net, heads)
        if where_and_when:
            net.temporal_embed_enc.scale[:], net.location_embed_enc.scale[:] = 0.4, -0.3
        self.version = 1 if "_v1_" in architecture else 2
        if self.version == 1:
            self.convert = self.own_options()

    def sample_coordinates(self, rng, count, frames):
        """Year, day of the year, latitude and longitude; a place for all frames."""
        when = np.stack([rng.integers(2016, 2026, (count, frames)), rng.integers(1, 366, (count, frames))], -1)
        where = np.broadcast_to(rng.uniform((-60, -180), (70, 180), (count, 1, 2)), (count, frames, 2))
        return np.concatenate([when, where], -1).astype(np.float32)

    def made(self, frames, rows, columns):
        """Sine and cosine positions of column, row and frame: (frames, rows, columns, dim), float32 as they are stored."""
        widths = [self.dim // 16 * n for n in (6, 6, 4)]
        t, y, x = torch.meshgrid(*(torch.arange(n) for n in (frames, rows, columns)), indexing="ij")
        return torch.cat([sincos(v, w) for v, w in zip((x, y, t), widths)], -1).float()

    def positions(self, frames, rows, columns, dtype):
        trained = self.grid(self.frames, self.height, self.width)
        table = self.made(frames, *trained[1:]).to(dtype)
        if (frames, rows, columns) != trained:
            table = F.interpolate(table.permute(0, 3, 1, 2), size=(rows, columns), mode="bicubic", align_corners=True)
            table = table.permute(0, 2, 3, 1)
        return table.flatten(0, 2)

    def embed(self, net, x, coordinates):
        grid = self.grid(x.shape[1], *x.shape[3:])
        x = self.patches(net, x) + self.positions(*grid, x.dtype)
        if coordinates is not None:
            when = torch.cat([sincos(coordinates[..., i], self.dim // 2) for i in (0, 1)], -1).to(x.dtype)
            where = torch.cat([sincos(coordinates[:, :1, i], self.dim // 2) for i in (2, 3)], -1).to(x.dtype)
            x = x + net.temporal_embed_enc.scale * when.repeat_interleave(grid[1] * grid[2], 1)
            x = x + net.location_embed_enc.scale * where
        return x

    def state(self):
        state = {k: v.contiguous() for k, v in self.net.state_dict().items()}
        table = self.made(*self.grid(self.frames, self.height, self.width)).flatten(0, 2)[None]
        state["pos_embed"] = F.pad(table, (0, 0, 1, 0))  # a row of zeros for CLS; float32 whatever the weights are
        others = mae_decoder(self.dim, table.shape[1], self.patch[0] ** 2 * 6)
        if self.coordinates:
            others.update({"temporal_embed_dec.scale": (1,), "location_embed_dec.scale": (1,)})
        others = {k: filler(self.name, k, *shape).to(self.dtype) for k, shape in others.items()}
        if self.version == 1:
            return {**state, **others}
        return {**{"encoder." + k: v for k, v in state.items()}, **{"decoder." + k: v for k, v in others.items()}}

    def write(self, folder):
        super().write(folder)
        if self.version == 1:
            return
        both = ["time", "location"] if self.coordinates else []
        config = {"architecture": self.architecture, "num_features": self.dim, "pretrained_cfg": {
            "img_size": self.height, "num_frames": self.frames, "patch_size": [1, *self.patch], "in_chans": 6,
            "embed_dim": self.dim, "depth": self.depth, "num_heads": self.heads, "decoder_embed_dim": 16, "decoder_depth": 1,
            "decoder_num_heads": 2, "mlp_ratio": self.mlp, "coords_encoding": both, "coords_scale_learn": bool(both),
            "mask_ratio": 0.75, "norm_pix_loss": False, "bands": [f"B0{i}" for i in range(2, 8)],
            "mean": self.mean[2], "std": self.std[2]}}
        with open(os.path.join(folder, "config.json"), "w") as f:
            json.dump(config, f, indent=2)
            f.write("\n")


# ---------------------------------------------------------------------------------------- tokens of the caller

class Tokens(Reference):
    """run(embedded): the blocks over tokens (N, T, dim) that came from embed(raw)."""
    eps = 1e-5
    layer_names = Clip.layer_names

    def run(self, embedded, dtype=torch.float64):
        net = copy.deepcopy(self.net).to(dtype)
        out = encode(net, torch.as_tensor(embedded).to(dtype))
        out["normed"] = [net.norm(h) for h in out["layers"]]
        out["tokens"] = out["normed"][-1]
        out["pooled"] = self.pool(net, out["layers"][-1])
        return out

    def embed(self, raw):
        """(1, T, dim) in float32 from the arrays of one sample."""
        raw = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in raw.items()}
        raw = {k: v.double() if torch.is_tensor(v) and v.is_floating_point() else v for k, v in raw.items()}
        return self.tokens(self.double(), **raw)[None].numpy().astype(np.float32)


class Presto(Tokens):
    """nasaharvest/presto: a pixel's time series; a token for each group of bands and month."""
    groups = {"S1": [0, 1], "S2_RGB": [2, 3, 4], "S2_Red_Edge": [5, 6, 7], "S2_NIR_10m": [8], "S2_NIR_20m": [9],
              "S2_SWIR": [10, 11], "ERA5": [12, 13], "SRTM": [14, 15], "NDVI": [16]}
    months = 24

    def __init__(self, name, dim, depth, heads, mlp, dtype=torch.float32):
        self.name, self.dtype, self.dim, self.depth = name, dtype, dim, depth
        net = nn.Module()
        net.pos_embed = nn.Parameter(torch.zeros(1, self.months, dim // 2))
        net.eo_patch_embed = nn.ModuleDict({name: nn.Linear(len(bands), dim) for name, bands in self.groups.items()})
        net.dw_embed = nn.Embedding(10, dim)
        net.latlon_embed = nn.Linear(3, dim)
        net.blocks = blocks(dim, depth, heads, mlp, self.eps)
        net.norm = nn.LayerNorm(dim, eps=self.eps)
        net.month_embed = nn.Embedding(12, dim // 4)
        net.channel_embed = nn.Embedding(10, dim // 4)
        self.finish(net, heads)
        for p in net.latlon_embed.parameters():
            p *= 0.1  # the only token without encodings is faint, so that the norms' eps counts
        half = torch.arange(dim // 4, dtype=torch.float64)
        angles = torch.arange(self.months, dtype=torch.float64)[:, None] * 1000.0 ** (-2 * half / (dim // 2))
        net.pos_embed[0] = torch.stack([angles.sin(), angles.cos()], -1).flatten(1).to(dtype)
        year = (torch.arange(12, dtype=torch.float64) * np.pi / 6)[:, None].expand(-1, dim // 8)
        net.month_embed.weight[:] = torch.cat([year.sin(), year.cos()], 1).to(dtype)

    def tokens(self, net, x, mask, dynamic_world, latlons, month):
        steps = len(x)
        months = net.month_embed.weight[(int(month) + torch.arange(steps)) % 12]
        encoding = lambda channel: torch.cat([months, net.channel_embed.weight[channel].expand(steps, -1), net.pos_embed[0, :steps]], 1)
        tokens, missing = [], []
        for channel, (name, bands) in enumerate(self.groups.items()):
            group, masked = net.eo_patch_embed[name](x[:, bands]), mask[:, bands].amax(1) > 0
            if name == "SRTM":
                # it does not change with time: one token, with its channel only
                quarter = self.dim // 4
                tokens.append(group[:1] + F.pad(net.channel_embed.weight[channel], (quarter, 2 * quarter)))
                missing.append(masked[:1])
            else:
                tokens.append(group + encoding(channel))
                missing.append(masked)
        tokens.append(net.dw_embed(dynamic_world.long()) + encoding(len(self.groups)))
        missing.append(dynamic_world == 9)
        latitude, longitude = latlons * (np.pi / 180)
        place = torch.stack([latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin()])
        return torch.cat([net.latlon_embed(place)[None], torch.cat(tokens)[~torch.cat(missing)]])

    def pool(self, net, x):
        return net.norm(x.mean(1))

    def sample(self, rng, steps, masked):
        """In the units of the normalised bands."""
        mask = np.zeros((steps, 17), np.float32)
        world = rng.integers(0, 9, steps)
        if masked:
            for bands in self.groups.values():
                mask[rng.random(steps) < 0.4, rng.choice(bands)] = 1
            mask[0, 14] = 1
            world[rng.random(steps) < 0.4] = 9
        return {"x": rng.standard_normal((steps, 17)).astype(np.float32), "mask": mask, "dynamic_world": world.astype(np.int32),
                "latlons": rng.uniform((-60, -180), (70, 180)).astype(np.float32), "month": np.int32(rng.integers(12)).reshape(1)}

    def state(self):
        state = {"encoder." + k: v for k, v in super().state().items()}
        quarter = self.dim // 4
        decoder = {"mask_token": (16,), "pos_embed": (1, self.months, 4), "decoder_embed.weight": (16, self.dim),
                   "decoder_blocks.0.norm1.weight": (16,), "decoder_blocks.0.attn.qkv.weight": (48, 16), "decoder_norm.weight": (16,),
                   "eo_decoder_pred.S1.weight": (2, 16), "dw_decoder_pred.weight": (9, 16), "channel_embeddings.weight": (10, quarter)}
        return {**state, **{"decoder." + k: filler(self.name, k, *shape).to(self.dtype) for k, shape in decoder.items()}}


class ReleasedPresto(Presto):
    """The authors' checkpoint, which is not part of this project."""
    checkpoint = SHARED_PRESTO

    def __init__(self, name):
        super().__init__(name, 128, 2, 8, 4.0)
        state = torch.load(RELEASED_PRESTO, map_location="cpu", weights_only=True)
        self.net.load_state_dict({k[len("encoder."):]: v for k, v in state.items() if k.startswith("encoder.")})

    def write(self, folder):
        os.makedirs(folder, exist_ok=True)


class Galileo(Tokens):
    """nasaharvest/galileo: a small square of pixels over time. Its base kernels are resized to the patch."""
    kinds = {"space_time": {"S1": [0, 1], "S2_RGB": [2, 3, 4], "S2_Red_Edge": [5, 6, 7], "S2_NIR_10m": [8], "S2_NIR_20m": [9],
                            "S2_SWIR": [10, 11], "NDVI": [12]},
             "space": {"SRTM": [0, 1], "DW": list(range(2, 11)), "WC": list(range(11, 16))},
             "time": {"ERA5": [0, 1], "TC": [2, 3, 4], "VIIRS": [5]},
             "static": {"LS": [0], "location": [1, 2, 3], "DW_static": list(range(4, 13)), "WC_static": list(range(13, 18))}}
    short = {"space_time": "s_t", "space": "sp", "time": "t", "static": "st"}
    months = 24

    def __init__(self, name, dim, depth, heads, mlp, base, dtype=torch.float32):
        self.name, self.dtype, self.dim, self.depth, self.heads, self.mlp, self.base = name, dtype, dim, depth, heads, mlp, base
        net = nn.Module()
        net.blocks = blocks(dim, depth, heads, mlp, self.eps)
        net.pos_embed = nn.Parameter(torch.zeros(self.months, dim // 4))
        net.month_embed = nn.Embedding(12, dim // 4)
        for kind, groups in self.kinds.items():
            setattr(net, self.short[kind] + "_channel_embed", nn.Parameter(torch.zeros(len(groups), dim // 4)))
            embed = (lambda n: convolution(n, dim, base, base)) if "space" in kind else (lambda n: nn.Linear(n, dim))
            setattr(net, kind + "_embed", nn.ModuleDict({name: embed(len(bands)) for name, bands in groups.items()}))
        net.norm = nn.LayerNorm(dim, eps=self.eps)
        self.finish(net, heads)
        for p in (*net.static_embed.parameters(), net.st_channel_embed):
            p *= 0.1  # tokens with little else are faint, so that the norms' eps counts
        net.pos_embed[:] = sincos(torch.arange(self.months), dim // 4, quirk=4).to(dtype)
        year = (torch.arange(12, dtype=torch.float64) * np.pi / 6)[:, None].expand(-1, dim // 8)
        net.month_embed.weight[:] = torch.cat([year.sin(), year.cos()], 1).to(dtype)

    def kernel(self, weight, patch):
        """The kernel whose answers to a small patch are nearest to the base kernel's answers to that patch enlarged."""
        if patch == self.base:
            return weight
        axis = F.interpolate(torch.eye(self.base, dtype=weight.dtype)[None, None], (self.base, patch), mode="bicubic", antialias=True)[0, 0]
        inverse = torch.linalg.pinv(axis)  # (patch, base)
        return inverse @ weight @ inverse.T

    def tokens(self, net, s_t_x, sp_x, t_x, st_x, s_t_m, sp_m, t_m, st_m, months, patch, resolution):
        quarter, steps = self.dim // 4, len(months)
        month, position = net.month_embed.weight[months.long()], net.pos_embed[:steps]
        rows = s_t_x.shape[0] // patch
        y, x = torch.meshgrid(*[torch.arange(rows) * (patch * resolution / 10)] * 2, indexing="ij")
        place = torch.cat([sincos(v, quarter // 2, quirk=4) for v in (x, y)], -1)
        zeros = lambda *shape: torch.zeros(*shape, quarter, dtype=torch.float64)

        def conv(embed, planes):
            """(..., H, W, C) to (..., rows, columns, dim)."""
            out = F.conv2d(planes.flatten(0, -4).permute(0, 3, 1, 2), self.kernel(embed.proj.weight, patch), embed.proj.bias, patch)
            return out.permute(0, 2, 3, 1)

        def together(kind, values, *codes):
            """Tokens (..., groups, dim) of all groups, from values(embed, bands) and codes (..., dim / 4) behind the channel's."""
            channel = getattr(net, self.short[kind] + "_channel_embed")
            groups = []
            for i, (name, bands) in enumerate(self.kinds[kind].items()):
                value = values(getattr(net, kind + "_embed")[name], bands)
                codes_here = [c.expand(*value.shape[:-1], -1) for c in (channel[i], *codes)]
                groups.append(value + torch.cat(codes_here, -1))
            return torch.stack(groups, -2)

        space_time = together("space_time", lambda e, b: conv(e, s_t_x[..., b].permute(2, 0, 1, 3)).permute(1, 2, 0, 3),
                              position, month, place[:, :, None])
        space = together("space", lambda e, b: conv(e, sp_x[None][..., b])[0], zeros(1), zeros(1), place)
        time = together("time", lambda e, b: e(t_x[:, b]), position, month, zeros(1))
        static = together("static", lambda e, b: e(st_x[b]), *[zeros()] * 3)
        tokens = [space_time, space, time, static]
        masks = [s_t_m[::patch, ::patch], sp_m[::patch, ::patch], t_m, st_m]
        kept = torch.cat([m.flatten() for m in masks]) < 1
        return torch.cat([t.flatten(0, -2) for t in tokens])[kept]

    def pool(self, net, x):
        return net.norm(x).mean(1)

    def sample(self, rng, side, steps, patch, dropped):
        cells = side // patch
        mask = lambda *shape: (rng.random(shape) < dropped).astype(np.int32)
        enlarge = lambda m: m.repeat(patch, 0).repeat(patch, 1)
        normal = lambda *shape: rng.standard_normal(shape).astype(np.float32)
        return {"s_t_x": normal(side, side, steps, 13), "sp_x": normal(side, side, 16), "t_x": normal(steps, 6), "st_x": normal(18),
                "s_t_m": enlarge(mask(cells, cells, steps, 7)), "sp_m": enlarge(mask(cells, cells, 3)), "t_m": mask(steps, 3),
                "st_m": mask(4), "months": rng.integers(0, 12, steps).astype(np.int32), "patch": patch,
                "resolution": 10 if dropped == 0 else 20}

    def state(self):
        return split_qkv(super().state())

    def write(self, folder):
        super().write(folder)
        encoder = {"embedding_size": self.dim, "depth": self.depth, "num_heads": self.heads, "mlp_ratio": self.mlp,
                   "max_sequence_length": self.months, "freeze_projections": False, "drop_path": 0.1, "max_patch_size": self.base}
        with open(os.path.join(folder, "config.json"), "w") as f:
            json.dump({"training": {"normalization": "std"}, "model": {"encoder": encoder}}, f, indent=2)
            f.write("\n")


# ---------------------------------------------------------------------------------------- MViTv2

class Mvit(Clip):
    """torchvision's MViTv2, a port of SlowFast's. Stages are its layers. widths and depths are of the stages; where the
    attention does not widen the tokens, the MLP before it does. MaskFeat pretrains with a last stage on the grid of the one
    before it."""
    checkpoint = "model.safetensors"
    prefix = has_cls = 1
    subsets = False
    channels, patch, tubelet = 3, (4, 4), 2

    def __init__(self, name, frames, size, widths, depths, heads, classes=5, in_attention=True, last=2, dtype=torch.float16):
        self.name, self.dtype, self.frames, self.height, self.width = name, dtype, frames, size, size
        self.depth, self.classes = len(depths), classes
        settings, key, dim = [], 8, widths[0]
        for stage, depth in enumerate(depths):
            stride = 1 if stage == 0 else last if stage + 1 == len(depths) else 2
            key = max(key // stride, 1)
            for block in range(depth):
                ends = block + 1 == depth and stage + 1 < len(depths) and not in_attention
                out = widths[stage + 1] if ends else widths[stage]
                step = stride if block == 0 else 1
                settings.append(mvit.MSBlockConfig(heads[stage], dim, out, [3] * 3, [3] * 3, [1, step, step], [1, key, key]))
                dim = out
        self.ends = np.cumsum(depths) - 1
        net = mvit.MViT((size, size), frames, settings, residual_pool=True, residual_with_cls_embed=False, rel_pos_embed=True,
                        proj_after_attn=in_attention, num_classes=classes)
        self.finish(net, (heads[0], heads[0]), 0.8)
        for key, p in net.named_parameters():
            if "rel_pos_" in key:
                p *= 2 / p.shape[1] ** 0.5  # they are multiplied by queries
            elif "conv_proj" in key or "class_token" in key:
                p *= 0.3  # faint tokens, so that the norms' eps counts

    def pool(self, net, tokens):
        """What the head sees, and what the encoder emits."""
        tokens = net.norm(tokens)
        return tokens[:, 0], tokens

    def forward(self, net, x, keep, coordinates):
        grid = self.grid(x.shape[1], *x.shape[3:])
        net.pos_encoding.temporal_size, net.pos_encoding.spatial_size = grid[0], grid[1:]
        layers, stream = [], []
        for end in self.ends:
            net.blocks[end].register_forward_hook(lambda m, i, o: layers.append(o[0]))
        net.norm.register_forward_pre_hook(lambda m, i: stream.append(i[0]))
        theirs = net(x.transpose(1, 2))
        pooled, tokens = self.pool(net, stream[0])
        logits = net.head(pooled) if self.classes else None
        assert type(self).pool is not Mvit.pool or torch.equal(logits, theirs), self.name
        return {"tokens": tokens, "layers": layers, "pooled": pooled, "logits": logits}

    def layer_names(self):
        return [f"layers:{k}" for k in range(1, self.depth + 1)]


class SlowFastMvit(Mvit):
    """facebookresearch/SlowFast's names."""
    names = {r"^conv_proj": "patch_embed.proj", r"^pos_encoding\.class_token": "cls_token", r"attn\.project\.0": "attn.proj",
             r"attn\.pool_([qkv])\.pool": r"attn.pool_\1", r"attn\.pool_([qkv])\.norm_act\.0": r"attn.norm_\1",
             r"mlp\.0": "mlp.fc1", r"mlp\.3": "mlp.fc2", r"\.project\.": ".proj.", r"^head\.1": "head.projection"}

    def state(self):
        state = rename(super().state(), self.names)
        return {**state, "cls_token": state["cls_token"][None, None]}


class TunedMaskFeat(SlowFastMvit):
    """MaskFeat, fine-tuned: tokens are averaged without the class token, then normed."""

    def pool(self, net, tokens):
        return net.norm(tokens[:, 1:].mean(1)), tokens


class MaskFeat(SlowFastMvit):
    """MaskFeat, pretrained: no norm; what predicts gradients is beside it."""

    def pool(self, net, tokens):
        return tokens[:, 1:].mean(1), tokens

    def state(self):
        state = {k: v for k, v in super().state().items() if not k.startswith(("norm.", "head."))}
        dim = self.net.norm.weight.shape[0]
        shapes = {"mask_token": state["cls_token"].shape, "pred_head.projections.0.weight": (108, dim), "pred_head.projections.0.bias": (108,),
                  "hogs.0.weight_x": (3, 1, 3, 3), "hogs.0.weight_y": (3, 1, 3, 3)}
        return {**state, **{k: filler(self.name, k, *s).to(self.dtype) for k, s in shapes.items()}}


# ---------------------------------------------------------------------------------------- Hiera

class HieraVideo(Clip):
    """facebookresearch/hiera of videos, the authors' package itself. Subsets are of mask units, each of one frame of tokens."""
    channels, patch, tubelet, video_options = 1, (4, 4), 2, dict(
        q_stride=(1, 2, 2), mask_unit_size=(1, 8, 8), patch_kernel=(3, 7, 7), patch_stride=(2, 4, 4), patch_padding=(1, 3, 3), sep_pos_embed=True)
    convert = "--heads 1 --mean 0.45 --std 0.22"

    def __init__(self, name, frames, size, classes=0, dtype=torch.float16, **options):
        self.name, self.dtype, self.frames, self.height, self.width = name, dtype, frames, size, size
        self.depth, self.classes = len(options["stages"]), classes
        kind = hiera.Hiera if classes else hiera.hiera_mae.MaskedAutoencoderHiera
        net = kind(input_size=(frames, size, size), in_chans=1, num_heads=1, num_classes=classes, **self.video_options, **options)
        self.finish(net, 1, 0.8)
        for key, p in net.named_parameters():
            if "patch_embed" in key or "pos_embed" in key:
                p *= 0.3  # faint tokens, so that the norms' eps counts

    def grid(self, frames, height, width):
        """Of mask units."""
        return frames // 2, height // 32, width // 32

    def forward(self, net, x, keep, coordinates):
        count = int(np.prod(self.grid(x.shape[1], *x.shape[3:])))
        mask = torch.zeros(x.shape[0], count, dtype=torch.bool)
        mask[:, torch.arange(count) if keep is None else keep] = True
        whole = keep is None and self.classes
        _, stages = hiera.Hiera.forward(net, x.transpose(1, 2), None if whole else mask, return_intermediates=True)
        layers = [self.raster(f, x) if keep is None and not whole else f.flatten(1, -2) for f in stages]
        if not self.classes:
            fused = net.forward_encoder(x.transpose(1, 2), 0, mask)[0]
            tokens = self.raster(fused, x) if keep is None else in_order(fused, keep)
            return {"tokens": tokens, "pooled": tokens.mean(1), **({"layers": layers} if keep is None else {})}
        if keep is not None:
            return {"tokens": in_order(stages[-1], keep)}
        pooled = net.norm(layers[-1].mean(1))
        return {"tokens": layers[-1], "pooled": pooled, "logits": net.head.projection(pooled), "layers": layers}

    def raster(self, units, x):
        """Units (N, U, T, Y, X, C) as tokens of the grid."""
        return units.unflatten(1, self.grid(x.shape[1], *x.shape[3:])).permute(0, 1, 4, 2, 5, 3, 6, 7).flatten(1, 6)

    def layer_names(self):
        return [f"layers:{k}" for k in range(1, self.depth + 1)]


# ---------------------------------------------------------------------------------------- which models

def golden_models():
    """(reference, sizes other than the trained one as frames, height, width, pictures); made one at a time.
    Inputs have frames, and some coordinates: write_golden writes them, not make_golden.write_model."""
    half, bf16 = torch.float16, torch.bfloat16
    yield VideoMae("hf_videomae", "VideoMAEForVideoClassification", half, image_size=16, patch_size=4, num_frames=4,
                   hidden_size=48, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
                   num_labels=5), [(6, 12, 20), (2, 16, 16)], []
    yield VideoMae("hf_videomae_pretrain", "VideoMAEForPreTraining", half, image_size=12, patch_size=4, num_frames=6,
                   tubelet_size=3, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=40,
                   hidden_act="gelu_new", use_mean_pooling=False, decoder_hidden_size=16, decoder_num_hidden_layers=1,
                   decoder_num_attention_heads=2, decoder_intermediate_size=16), [(9, 16, 8)], []
    yield AuthorsVideoMae("videomae", "VideoMAEForVideoClassification", half, image_size=[12, 20], patch_size=4, num_frames=4,
                          hidden_size=48, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
                          num_labels=7), [(8, 12, 20), (2, 16, 12)], []
    yield AuthorsVideoMae("videomae_pretrain", "VideoMAEForPreTraining", half, image_size=16, patch_size=4, num_frames=4,
                          hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=48, use_mean_pooling=False,
                          decoder_hidden_size=16, decoder_num_hidden_layers=1, decoder_num_attention_heads=2,
                          decoder_intermediate_size=16), [(6, 20, 12)], []
    yield TrainedVideoMae("videomae_trained"), [(4, 24, 48)], []
    small = dict(pred_hidden_size=16, pred_num_attention_heads=1, pred_num_hidden_layers=1, pred_mlp_ratio=1.0, pred_num_mask_tokens=2)
    yield VJepa2("hf_vjepa2", "VJEPA2Model", half, 0.1, patch_size=4, crop_size=12, frames_per_clip=4, hidden_size=64,
                 num_attention_heads=2, num_hidden_layers=2, mlp_ratio=0.8, **small), [(8, 12, 12), (1, 12, 12)], []
    yield AuthorsVJepa2("vjepa2", "VJEPA2Model", half, 0.1, patch_size=4, crop_size=16, frames_per_clip=4, hidden_size=48,
                        num_attention_heads=2, num_hidden_layers=2, mlp_ratio=1.0, **small), [(6, 12, 20), (2, 24, 8)], []
    yield Mvit("tv_mvitv2", 4, 32, (16, 32, 48), (1, 2, 2), (1, 2, 3)), [(6, 20, 28), (2, 52, 36)], []
    yield SlowFastMvit("mvitv2_video", 4, 48, (16, 24, 32, 48), (1, 2, 1, 2), (1, 1, 2, 2), classes=6), [(8, 28, 48)], []
    yield MaskFeat("maskfeat_video", 4, 48, (16, 24, 32, 48), (1, 1, 2, 2), (1, 1, 2, 3), classes=0, in_attention=False,
                   last=1), [(2, 36, 60)], []
    yield TunedMaskFeat("maskfeat_video_tuned", 6, 32, (16, 24, 48), (2, 2, 2), (1, 1, 2), classes=4, in_attention=False), [(4, 44, 28)], []
    yield HieraVideo("hiera_video", 4, 64, 5, embed_dim=8, stages=(1, 2, 2, 1), mlp_ratio=2.0), [], []
    yield HieraVideo("hiera_video_mae", 6, 64, embed_dim=8, stages=(1, 1, 2, 1), mlp_ratio=1.5, q_pool=2, decoder_embed_dim=16, decoder_depth=1,
                     decoder_num_heads=2), [], []
    yield AudioMae("audiomae", (40, 16), 4, 48, 2, 2, 1.0, 9, half), [], []
    yield AudioMae("audiomae_pretrain", (24, 32), 8, 32, 1, 2, 2.0, dtype=bf16), [], []
    yield SatMaeTemporal("satmae_temporal", 16, 4, 48, 2, 2, 1.0, 8, half), [(3, 24, 24), (3, 12, 20)], []
    yield SatMaeGroups("satmae_group", 16, 4, 48, 2, 2, 1.0, 16, 6, half), [(1, 24, 24), (1, 12, 20)], []
    yield SatMaeGroups("satmae_group_pretrain", 12, 4, 32, 1, 2, 1.0, 8, dtype=half), [], []
    yield Prithvi("prithvi", "prithvi_eo_v1_100", 3, 12, 4, 48, 2, 3, 1.0, dtype=half), [(3, 20, 12), (1, 12, 12), (2, 16, 8)], []
    yield Prithvi("prithvi_v2", "prithvi_eo_v2_600", 2, 14, 7, 32, 2, 2, 2, dtype=half), [(2, 21, 28), (4, 14, 14)], []
    yield Prithvi("prithvi_tl", "prithvi_eo_v2_300_tl", 2, 16, 4, 64, 1, 2, 1, True, half), [(2, 20, 12), (3, 16, 16)], []


def golden_tokens():
    """(reference, samples as arguments of its sample())."""
    yield Presto("presto", 64, 2, 8, 2.0, torch.float16), [dict(steps=12, masked=False), dict(steps=5, masked=True)]
    if os.path.exists(RELEASED_PRESTO):
        yield ReleasedPresto("presto_released"), [dict(steps=12, masked=False), dict(steps=6, masked=True)]
    yield Galileo("galileo", 48, 2, 3, 1.0, 4, torch.float16), [
        dict(side=4, steps=3, patch=2, dropped=0), dict(side=8, steps=2, patch=4, dropped=0.4), dict(side=9, steps=1, patch=3, dropped=0.6)]


def live_models():
    """Wider and deeper than the committed ones: the model, and sizes as frames, height, width, the one trained at first."""
    yield VideoMae("live hf videomae", "VideoMAEForVideoClassification", image_size=64, patch_size=16, num_frames=8, hidden_size=192,
                   num_hidden_layers=4, num_attention_heads=3, intermediate_size=768, num_labels=20), [(8, 64, 64), (12, 48, 96)]
    yield AuthorsVideoMae("live videomae", "VideoMAEForVideoClassification", image_size=[48, 80], patch_size=16, num_frames=8,
                          hidden_size=192, num_hidden_layers=3, num_attention_heads=3, intermediate_size=768,
                          num_labels=20), [(8, 48, 80), (4, 64, 64)]
    small = dict(pred_hidden_size=16, pred_num_attention_heads=1, pred_num_hidden_layers=1, pred_mlp_ratio=1.0, pred_num_mask_tokens=2)
    yield VJepa2("live hf vjepa2", "VJEPA2Model", torch.float32, 0.1, patch_size=16, crop_size=64, frames_per_clip=8, hidden_size=192,
                 num_attention_heads=3, num_hidden_layers=4, **small), [(8, 64, 64), (12, 64, 64)]
    yield AuthorsVJepa2("live vjepa2", "VJEPA2Model", torch.float32, 0.1, patch_size=16, crop_size=64, frames_per_clip=8,
                        hidden_size=176, num_attention_heads=2, num_hidden_layers=3, **small), [(8, 64, 64), (4, 48, 96)]
    yield Mvit("live mvitv2 tv", 8, 96, (48, 96, 192), (1, 2, 3), (1, 2, 4), classes=20, dtype=torch.float32), [(8, 96, 96), (6, 80, 128)]
    yield MaskFeat("live maskfeat video", 8, 96, (48, 96, 144, 192), (1, 2, 3, 2), (1, 2, 3, 4), classes=0, in_attention=False, last=1,
                   dtype=torch.float32), [(8, 96, 96), (4, 112, 64)]
    yield AudioMae("live audiomae", (160, 64), 16, 192, 4, 3, 4.0, 30), [(1, 160, 64)]
    yield SatMaeTemporal("live satmae temporal", 64, 16, 192, 4, 3, 4.0, 16), [(3, 64, 64), (3, 96, 48)]
    yield SatMaeGroups("live satmae group", 48, 8, 192, 3, 3, 4.0, 64, 12), [(1, 48, 48), (1, 64, 32)]
    yield Prithvi("live prithvi", "prithvi_eo_v1_100", 3, 48, 16, 192, 4, 3, 4), [(3, 48, 48), (2, 64, 80)]
    yield Prithvi("live prithvi tl", "prithvi_eo_v2_300_tl", 4, 64, 16, 192, 3, 3, 4, True), [(4, 64, 64), (2, 48, 80)]


# ---------------------------------------------------------------------------------------- golden data

def save(path, array):
    with open(path, "wb") as f:
        np.lib.format.write_array(f, np.ascontiguousarray(array), version=(1, 0))


class Folder:
    """A model's folder while its cases are written."""

    def __init__(self, model, root):
        self.model, self.path = model, os.path.join(root, model.name)
        model.write(self.path)
        self.lines = [f"checkpoint {model.checkpoint}"] if model.checkpoint != "model.safetensors" else []
        self.lines += [f"convert {model.convert}"] if model.convert else []
        self.worst = 0.0

    def save(self, name, array):
        save(os.path.join(self.path, name), array)

    def cases(self, run, source, stem, names, options=""):
        """Runs the reference and writes those of the named outputs that it has. normed:... are layers with norm=1."""
        results, single = run(torch.float64), run(torch.float32)["tokens"].double()
        self.worst = max(self.worst, float((single - results["tokens"]).abs().max() / results["tokens"].abs().max()))
        for name in names:
            kind, _, numbers = name.partition(":")
            if kind in results:
                value = results[kind]
                value = torch.stack([value[int(n) - 1] for n in numbers.split(",")], 1) if numbers else value
                expect = f"{stem}.{name.replace(':', '') if len(self.model.layer_names()) > 1 else kind}.npy"
                self.save(expect, value.double().numpy().astype(np.float32))
                self.lines.append(f"case {source} out={name.replace('normed', 'layers')} expect={expect}"
                                  + options + (" norm=1" if kind == "normed" else ""))

    def close(self):
        with open(os.path.join(self.path, "cases.txt"), "w") as f:
            f.write("\n".join(self.lines) + "\n")
        print(f"{self.model.name:22s} {len(self.lines):3d} lines, reference in float32 is off by {self.worst:.1e} of the largest token value")
        assert self.worst < 1e-5, "ill-conditioned: no float32 implementation could be held to this"


# whose first input holds two videos
BATCHED = ("hf_videomae_pretrain", "prithvi_tl")


def write_clip(model, sizes, root):
    folder = Folder(model, root)
    trained = (model.frames, model.height, model.width)
    for index, size in enumerate([trained, *sizes]):
        rng = generator(model.name, "input", index)
        x, coordinates = model.sample(rng, 2 if index == 0 and model.name in BATCHED else 1, size)
        folder.save(f"in{index}.npy", x)
        options = f" size={size[1]}x{size[2]}" if size[1:] != trained[1:] else ""
        options += f" frames={size[0]}" if size[0] != trained[0] else ""
        source, stem = f"input=in{index}.npy", f"out{index}"

        def cases(stem, names, keep=None, coordinates=coordinates):
            more = options
            if keep is not None:
                folder.save(f"{stem}.keep.npy", keep.astype(np.int32))
                more += f" keep={stem}.keep.npy"
            if coordinates is not None:
                more += f" coordinates=in{index}.coordinates.npy"
            folder.cases(lambda dtype: model.run(x, keep, dtype, coordinates), source, stem, names, more)

        if coordinates is not None:
            folder.save(f"in{index}.coordinates.npy", coordinates)
        layers = model.layer_names()
        everything = ["tokens", *layers, "normed:1", "cls", "patches", "pooled", "logits", "attention"]
        # stages have grids of their own, which the size changes
        cases(stem, ["tokens", *(layers if len(layers) > 1 else []), "pooled", "logits"] if index else everything)
        count = int(np.prod(model.grid(*size)))
        if index < 2 and model.subsets:
            # a quarter in random order, as masked autoencoders train; at the trained size one token alone, too
            some = rng.permutation(count)[:max(2, count // 4)]
            cases(stem + "a", ["tokens", "pooled", *([] if index else ["attention"])], some)
            if index == 0:
                cases(stem + "b", ["tokens"], np.array([count - 1]))
        if isinstance(model, Prithvi) and coordinates is not None and index == 0:
            cases(stem + "c", ["tokens"], coordinates=None)
    folder.close()


def write_tokens(model, samples, root):
    """Raw arrays, the tokens made of them, and what the blocks make of those. embed.txt says which belong together."""
    folder = Folder(model, root)
    if isinstance(model, ReleasedPresto):
        folder.lines.append("optional")
    lines = []
    for index, sample in enumerate(samples):
        raw = model.sample(generator(model.name, "input", index), **sample)
        words = []
        for name, value in raw.items():
            if isinstance(value, np.ndarray):
                folder.save(f"in{index}.{name}.npy", value)
            words.append(f"{name}=in{index}.{name}.npy" if isinstance(value, np.ndarray) else f"{name}={value}")
        embedded = model.embed(raw)
        folder.save(f"emb{index}.npy", embedded)
        lines.append(" ".join(["embed", *words, f"expect=emb{index}.npy"]))
        names = ["tokens", "pooled"] + [*model.layer_names(), "normed:1", "attention"] * (index == 1 and "released" not in model.name)
        folder.cases(lambda dtype: model.run(embedded, dtype), f"embedded=emb{index}.npy", f"out{index}", names)
    with open(os.path.join(folder.path, "embed.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")
    folder.close()


def write_golden(root):
    torch.set_num_threads(1)
    for model, sizes, _ in golden_models():
        write_clip(model, sizes, root)
    for model, samples in golden_tokens():
        write_tokens(model, samples, root)
    kept, written = (os.path.join(r, "presto_released") for r in (os.path.join(HERE, "..", "golden"), root))
    if not os.path.exists(RELEASED_PRESTO) and not os.path.exists(written):
        shutil.copytree(kept, written)
        print("presto_released        as it is: the checkpoint is not there")


if __name__ == "__main__":
    write_golden(sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "..", "golden"))
