"""Trains the small VideoMAE of tests/golden/videomae_trained: crops that move over CIFAR-10's training pictures.

    train_video.py cifar10-jpeg.tar.xz [FOLDER] [STEPS]

A few minutes on one core. Weights go to FOLDER (tests/golden/videomae_trained) in float16, without the decoder;
video.py then writes what the model makes of other pictures. Training gives other weights on another machine.
"""
import io
import os
import sys
import tarfile
import time

sys.dont_write_bytecode = True

import numpy as np
from PIL import Image

from references import IMAGENET, torch, transformers
from torch.nn import functional as F

SIZE, PATCH, FRAMES, TUBELET = 32, 8, 8, 2
BATCH, MASKED = 48, 0.75


def pictures(archive, part, every):
    with tarfile.open(archive) as tar:
        for entry in tar:
            name = entry.name.split("/")
            if entry.isfile() and name[0] == part and int(name[-1].split(".")[0]) % every == 0:
                yield np.asarray(Image.open(io.BytesIO(tar.extractfile(entry).read())).convert("RGB"))


def clips(images, rng, count):
    """Windows that move at a steady speed over enlarged pictures: (count, frames, 3, 32, 32), normalised."""
    chosen = torch.from_numpy(images[rng.integers(len(images), size=count)]).permute(0, 3, 1, 2).float() / 255
    wide = F.interpolate(chosen, size=56, mode="bilinear")
    mean, std = (torch.tensor(IMAGENET[k])[:, None, None] for k in ("image_mean", "image_std"))
    wide = (wide - mean) / std
    start, end = rng.integers(0, 56 - SIZE + 1, (2, count, 2))
    out = torch.empty(count, FRAMES, 3, SIZE, SIZE)
    for i in range(count):
        for f in range(FRAMES):
            y, x = np.rint(start[i] + (end[i] - start[i]) * f / (FRAMES - 1)).astype(int)
            out[i, f] = wide[i, :, y:y + SIZE, x:x + SIZE]
    return out


def tubes(rng, count):
    """The same places hidden in all frames, another choice for each clip."""
    places, steps = (SIZE // PATCH) ** 2, FRAMES // TUBELET
    order = rng.random((count, places)).argsort(1)
    return torch.from_numpy(np.repeat((order < int(places * MASKED))[:, None], steps, 1).reshape(count, -1))


def main():
    archive = sys.argv[1]
    here = os.path.dirname(os.path.abspath(__file__))
    folder = sys.argv[2] if len(sys.argv) > 2 else os.path.join(here, "..", "golden", "videomae_trained")
    steps = int(sys.argv[3]) if len(sys.argv) > 3 else 3000
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    images = np.stack(list(pictures(archive, "train", 5)))
    config = transformers.VideoMAEConfig(
        image_size=SIZE, patch_size=PATCH, num_frames=FRAMES, tubelet_size=TUBELET, hidden_size=48, num_hidden_layers=3,
        num_attention_heads=3, intermediate_size=96, layer_norm_eps=1e-6, use_mean_pooling=False, decoder_hidden_size=48,
        decoder_num_hidden_layers=1, decoder_num_attention_heads=3, decoder_intermediate_size=96)
    net = transformers.VideoMAEForPreTraining(config)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0, betas=(0.9, 0.95), weight_decay=0.05)
    held = clips(images[:64], np.random.default_rng(1), 64), tubes(np.random.default_rng(1), 64)
    begin = time.time()
    with torch.enable_grad():
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = 3e-3 * min((step + 1) / 100, 0.5 + 0.5 * np.cos(np.pi * step / steps))
            loss = net(clips(images[64:], rng, BATCH), bool_masked_pos=tubes(rng, BATCH)).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            if step % 100 == 0 or step == steps - 1:
                with torch.no_grad():
                    print(f"step {step:5d}, loss {loss.item():.3f}, of pictures not trained on "
                          f"{net(held[0], bool_masked_pos=held[1]).loss.item():.3f}, {time.time() - begin:.0f} s", flush=True)
    os.makedirs(folder, exist_ok=True)
    net.videomae.half().save_pretrained(folder)
    transformers.VideoMAEImageProcessor(size={"shortest_edge": SIZE}, **IMAGENET,
                                        crop_size={"height": SIZE, "width": SIZE}).save_pretrained(folder)


if __name__ == "__main__":
    main()
