#!/usr/bin/env python3
"""Reference features of the shipped model on the shipped pictures: tests/expected/shipped-tokens.npy.

    shipped.py CHECKPOINT.safetensors     (the float32 checkpoint that examples/models was converted from)

Runs timm's VisionTransformer in float64 on the pictures as Pillow resizes them and writes the tokens behind the last norm
as float16 (pictures in name order, tokens, width): a rounding of 2e-4 relative, which moves a cosine by less than 1e-7.
"""
import functools, pathlib, sys
import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from timm.models.vision_transformer import VisionTransformer

root = pathlib.Path(__file__).resolve().parents[2]


def main():
    with safe_open(sys.argv[1], "pt") as f:
        meta, state = f.metadata(), {k: f.get_tensor(k) for k in f.keys()}
    image = int(meta["image"])
    model = VisionTransformer(img_size=image, patch_size=int(meta["patch"]), embed_dim=int(meta["dim"]),
                              depth=int(meta["depth"]), num_heads=int(meta["heads"]), num_classes=0,
                              norm_layer=functools.partial(torch.nn.LayerNorm, eps=float(meta["eps"])))
    wanted = model.state_dict().keys()
    model.load_state_dict({k: v for k, v in state.items() if k in wanted})
    model = model.double().eval()
    mean, std = (np.float32(meta[k].split()) for k in ("mean", "std"))
    tokens = []
    for path in sorted((root / "examples/images/small").glob("*.ppm"), key=lambda p: p.name.encode()):
        picture = Image.open(path).convert("RGB")
        w, h = picture.size
        short = min(w, h)
        picture = picture.resize((int(image * w / short), int(image * h / short)), Image.BICUBIC)
        left, top = (int(round((n - image) / 2.0)) for n in picture.size)
        pixels = np.asarray(picture.crop((left, top, left + image, top + image)), np.float32) / np.float32(255)
        x = torch.from_numpy(((pixels - mean) / std).transpose(2, 0, 1)[None].astype(np.float64))
        with torch.no_grad():
            tokens.append(model.forward_features(x)[0].numpy())
    out = root / "tests/expected/shipped-tokens.npy"
    out.parent.mkdir(exist_ok=True)
    np.save(out, np.asarray(tokens, "<f2"))
    print(out, np.asarray(tokens).shape)


if __name__ == "__main__":
    main()
