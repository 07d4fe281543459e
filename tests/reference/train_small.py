"""Trains a small model of each class of encoders on CIFAR-10: a Swin, a BEiT, an EVA-02, a DINOv3, and a plain ViT for
microcontrollers, each as SimMIM trains: hidden places are replaced by a token, and the pixels there predicted by one layer.

    train_small.py cifar10-jpeg.tar.xz [NAME...] [FOLDER]

A few minutes each on one core. Encoders go to FOLDER/NAME (tests/golden/NAME) in float16; make_golden.py then writes
what they make of other pictures. Training gives other weights on another machine.
"""
import os
import shutil
import sys
import time

sys.dont_write_bytecode = True

import numpy as np
from PIL import Image

from pyramids import SimMimSwin
from references import IMAGENET, Timm, load_file, torch
from torch import nn
from torch.nn import functional as F
from train_video import pictures

HERE = os.path.dirname(os.path.abspath(__file__))
SIZE, UNIT, HIDDEN = 32, 8, 0.5  # what is hidden comes in squares of UNIT pixels
BATCH, STEPS = 64, 800


def normalised(pixels):
    """uint8 pictures (N, H, W, 3) as (N, 3, H, W)."""
    mean, std = (np.array(IMAGENET[k], np.float32)[:, None, None] for k in ("image_mean", "image_std"))
    return (pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255 - mean) / std


class Trained:
    """A reference with the weights that this script left in the folder of golden data, on parts of the shipped
    photographs. Without that folder its weights are random, to begin with."""
    source = None

    def read(self):
        self.source = os.path.join(HERE, "..", "golden", self.name)
        self.load(load_file(os.path.join(self.source, self.checkpoint)))
        return self

    def load(self, state):
        self.net.load_state_dict(state)

    def sample(self, rng, count, height, width):
        folder = os.path.join(HERE, "..", "..", "examples", "images", "small")
        parts = []
        for name in rng.choice(sorted(os.listdir(folder)), count, replace=False):
            picture = np.asarray(Image.open(os.path.join(folder, name)).convert("RGB"))
            y, x = rng.integers(0, np.array(picture.shape[:2]) - (height, width) + 1)
            parts.append(picture[y:y + height, x:x + width])
        return normalised(np.stack(parts))

    def write(self, folder):
        """As it is: training is not repeated."""
        if self.source is None:
            super().write(folder)
        elif not (os.path.isdir(folder) and os.path.samefile(self.source, folder)):
            os.makedirs(folder, exist_ok=True)
            for name in ("config.json", self.checkpoint):
                if os.path.exists(os.path.join(self.source, name)):
                    shutil.copyfile(os.path.join(self.source, name), os.path.join(folder, name))


class TrainedSwin(Trained, SimMimSwin):
    """Only the encoder."""

    def others(self):
        return {}

    def load(self, state):
        own = {k[len(self.prefix_of_names):]: v for k, v in state.items()}
        self.net.load_state_dict(self.loaded(own, self.net))


class TrainedTimm(Trained, Timm):
    pass


def models():
    """The references, and the sizes other than the trained one."""
    half = torch.float16
    yield TrainedSwin("trained_swin", "swin_tiny_patch4_window7_224", "", half, img_size=SIZE, patch_size=2, embed_dim=16, window_size=4,
                      depths=(2, 2, 1), num_heads=(2, 2, 4), mlp_ratio=2.0, num_classes=0), [(40, 36)]
    yield TrainedTimm("trained_beit", "beit_base_patch16_224", "", half, img_size=SIZE, patch_size=4, embed_dim=48, depth=3, num_heads=3,
                      mlp_ratio=2.0, global_pool="token", num_classes=0), [(40, 48)]
    yield TrainedTimm("trained_eva02", "eva02_tiny_patch14_224", "", half, img_size=SIZE, patch_size=4, embed_dim=48, depth=3, num_heads=3,
                      mlp_ratio=1.5, global_pool="token", num_classes=0), [(40, 48)]
    yield TrainedTimm("trained_dinov3", "vit_small_patch16_dinov3", "", half, img_size=SIZE, patch_size=4, embed_dim=48, depth=3, num_heads=3,
                      mlp_ratio=2.0, init_values=0.1), [(40, 48)]
    yield TrainedTimm("trained_tiny", "vit_base_patch16_224.mae", "", half, img_size=SIZE, patch_size=8, embed_dim=32, depth=4, num_heads=2,
                      num_classes=0), [(40, 48)]


def golden_models():
    for model, sizes in models():
        yield model.read(), sizes, []


class Pretraining(nn.Module):
    """The encoder with a token for hidden places and one layer that predicts pixels."""

    def __init__(self, encoder, dim, stride):
        super().__init__()
        self.encoder, self.stride, self.hide = encoder, stride, None
        first = encoder.patch_embed.proj.out_channels
        self.mask_token = nn.Parameter(torch.zeros(first))
        self.pixels = nn.Linear(dim, stride * stride * 3)
        encoder.patch_embed.register_forward_hook(self.hidden)

    def hidden(self, module, inputs, x):
        side = SIZE // module.patch_size[0]
        hide = F.interpolate(self.hide[:, None].float(), size=side).reshape(*x.shape[:1], *([side, side] if x.ndim == 4 else [-1]), 1)
        return x * (1 - hide) + self.mask_token * hide

    def forward(self, x, hide):
        self.hide = hide
        tokens = self.encoder.forward_features(x)
        side = SIZE // self.stride
        tokens = tokens if tokens.ndim == 4 else tokens[:, -side * side:].unflatten(1, (side, side))
        predicted = F.pixel_shuffle(self.pixels(tokens).permute(0, 3, 1, 2), self.stride)
        where = F.interpolate(hide[:, None].float(), size=SIZE)
        return ((predicted - x).abs() * where).sum() / where.sum() / 3


def train(model, images, folder):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    if isinstance(model, Timm):
        encoder, stride = model.net, model.patch[0]
        dim = encoder.embed_dim
    else:
        encoder, stride = model.net, UNIT
        dim = encoder.num_features
    encoder.float()
    encoder.apply(lambda m: m.reset_parameters() if hasattr(m, "reset_parameters") else None)
    encoder.init_weights() if hasattr(encoder, "init_weights") else None
    for name, p in encoder.named_parameters():
        begins = {"gamma": 0.1, "bias": 0.0}.get(next((k for k in ("gamma", "bias") if k in name.split("relative_position_")[0]), ""), None)
        if begins is not None:
            nn.init.constant_(p, begins)
        elif "token" in name or "table" in name or "pos_embed" in name:
            nn.init.normal_(p, std=0.02)
    net = Pretraining(encoder, dim, stride).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0, betas=(0.9, 0.95), weight_decay=0.05)
    hiding = lambda rng, count: torch.from_numpy(rng.random((count, SIZE // UNIT, SIZE // UNIT)) < HIDDEN)
    held = torch.from_numpy(normalised(images[:256])), hiding(np.random.default_rng(1), 256)
    begin = time.time()
    with torch.enable_grad():
        for step in range(STEPS):
            for group in optimizer.param_groups:
                group["lr"] = 2e-3 * min((step + 1) / 100, 0.5 + 0.5 * np.cos(np.pi * step / STEPS))
            batch = normalised(images[256:][rng.integers(len(images) - 256, size=BATCH)])
            loss = net(torch.from_numpy(batch), hiding(rng, BATCH))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            if step % 250 == 0 or step == STEPS - 1:
                with torch.no_grad():
                    print(f"{model.name:16s} step {step:5d}, loss {loss.item():.3f}, of pictures not trained on "
                          f"{net(*held).item():.3f}, {time.time() - begin:.0f} s", flush=True)
    encoder.patch_embed._forward_hooks.clear()
    for p in encoder.parameters():
        p.data = p.data.half()
    encoder.eval()
    model.write(folder)


def main():
    names = [a for a in sys.argv[2:] if os.sep not in a]
    root = next((a for a in sys.argv[2:] if os.sep in a), os.path.join(HERE, "..", "golden"))
    torch.set_num_threads(1)
    images = np.stack(list(pictures(sys.argv[1], "train", 5)))
    for model, _ in models():
        if not names or model.name in names:
            train(model, images, os.path.join(root, model.name))


if __name__ == "__main__":
    main()
