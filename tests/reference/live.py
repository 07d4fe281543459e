"""Runs build/mim beside the reference implementations on models made here and now, and prints one table.

    python tests/reference/live.py [build/mim] [--quick]

f32 blobs are held to 5e-5 of the largest reference value (the reference runs in float64); f16 and q8 blobs are compared
token by token with the cosine. Where ../shared/models and ../shared/data are there, the small MAE pretrained on
CIFAR-10 is held to its bounds, too. Exits 1 if anything is out of bounds.
"""
import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile

sys.dont_write_bytecode = True

import numpy as np

from references import (Cae, Eva02, Eva02Clip, Finetuned, Mae, MaskedAutoencoder, OriginalDinov2, OriginalDinov3, SimMim, Timm,
                        Transformers, beit_processor, dinov2_processor, dinov3_processor, generator, load_file, safe_open, torch,
                        vit_processor)
import pyramids
import video

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "..", ".."))
SHARED = os.path.join(ROOT, "..", "shared")

F32_BOUND = 5e-5
F16_COSINE = 0.99999
Q8_MEAN, Q8_MIN = 0.998, 0.995  # random weights quantize worse than trained ones
CIFAR_MEAN, CIFAR_MIN = 0.9997, 0.996


class Failure(Exception):
    pass


class Table:
    """Prints rows as they come."""
    widths = (19, 11, 26, 9, 8, 0)

    def __init__(self):
        self.failed = 0
        self.row("model", "size", "compared", "result", "bound", "verdict")

    def row(self, *cells):
        print("  ".join(str(c).ljust(w) for c, w in zip(cells, self.widths)).rstrip(), flush=True)

    def verdict(self, model, size, compared, result, bound, good):
        self.failed += not good
        self.row(model, size, compared, result, bound, "ok" if good else "FAIL")


class Tool:
    def __init__(self, program, folder):
        self.program, self.folder = program, folder

    def __call__(self, *arguments):
        done = subprocess.run([self.program, *arguments], capture_output=True, text=True)
        if done.returncode:
            raise Failure(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit status {done.returncode}")

    def convert(self, checkpoint, kind, options):
        blob = os.path.join(self.folder, kind + ".mim")
        self("convert", checkpoint, "-o", blob, "--type", kind, *options)
        return blob

    def encode(self, blob, x, out, size=None, keep=None, norm=False, coordinates=None):
        """size: None, or frames, height and width; frames: None as trained."""
        path = lambda name: os.path.join(self.folder, name)
        np.save(path("x.npy"), x)
        arguments = ["encode", blob, path("x.npy"), "-o", path("y.npy"), "--out", out]
        if size:
            arguments += ["--size", f"{size[1]}x{size[2]}"] + (["--frames", str(size[0])] if size[0] else [])
        if coordinates is not None:
            np.save(path("coordinates.npy"), coordinates)
            arguments += ["--coordinates", path("coordinates.npy")]
        if keep is not None:
            np.save(path("keep.npy"), np.asarray(keep, np.int32))
            arguments += ["--keep", path("keep.npy")]
        self(*arguments, *(["--norm"] if norm else []))
        return np.load(path("y.npy"))


def cosines(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(-1) / np.maximum(np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1), 1e-300)


def inputs(model, size, rng, images):
    """Pictures, or videos with what is known of their frames: sizes are height and width, or frames first."""
    if isinstance(model, video.Clip):
        return model.sample(rng, images, size)
    return rng.standard_normal((images, model.channels, *size)).astype(np.float32), None


def compare(table, tool, model, sizes, kinds=("f32", "f16", "q8"), images=2, outputs=True):
    """Everything the model has, at the size trained at and others, and quantized copies at the first size."""
    checkpoint = os.path.join(tool.folder, "checkpoint")
    model.write(checkpoint)
    checkpoint = os.path.join(checkpoint, model.checkpoint)
    options = model.convert.split()
    clip = isinstance(model, video.Clip)
    trained = (model.frames, model.height, model.width) if clip else (None, model.height, model.width)
    first = None
    try:
        blob = tool.convert(checkpoint, "f32", options)
        for index, place in enumerate(sizes):
            rng = generator("live", model.name, index)
            x, coordinates = inputs(model, place, rng, images)
            size = (None,) * (not clip) + tuple(place)
            size = None if size == trained else size if clip and model.video else (None, *size[1:])
            run = lambda keep=None: model.run(x, keep, coordinates=coordinates) if clip else model.run(x, keep)
            place = "x".join(map(str, place))

            def check(out, expected, keep=None, norm=False):
                got = tool.encode(blob, x, out, size, keep, norm, coordinates)
                expected = expected.numpy()
                what = out + (" --norm" if norm else "") + (f" of {len(keep)} patches" if keep is not None else "")
                if got.shape != expected.shape:
                    table.verdict(model.name, place, what, f"{got.shape}", f"{expected.shape}", False)
                    return
                off = np.abs(got - expected).max() / np.abs(expected).max()
                table.verdict(model.name, place, what, f"{off:.1e}", f"{F32_BOUND:.0e}", bool(off <= F32_BOUND))

            whole = run()
            check("tokens", whole["tokens"])
            if first is None:
                first = (x, coordinates, size, place, whole["tokens"].numpy())
                if outputs:
                    for out in ("cls", "registers", "patches", "pooled", "logits", "attention"):
                        if out in whole and whole[out].numel():
                            check(out, whole[out])
                    for layers in model.layer_names():
                        for key, norm in (("layers", False), ("normed", True)):
                            if key in whole:
                                check(layers, torch.stack([whole[key][int(i) - 1] for i in layers[7:].split(",")], 1), norm=norm)
            count = int(np.prod(model.grid(*sizes[index]))) * model.subsets if clip else model.places(*sizes[index])
            if outputs and count:
                keep = rng.permutation(count)[:max(1, count // 4)]
                check("tokens", run(keep)["tokens"], keep)
        for kind in kinds[1:]:
            blob = tool.convert(checkpoint, kind, options)
            x, coordinates, size, place, expected = first
            c = cosines(tool.encode(blob, x, "tokens", size, coordinates=coordinates), expected)
            if kind == "f16":
                table.verdict(model.name, place, "f16 tokens, cosine min", f"{c.min():.7f}", F16_COSINE,
                              bool(c.min() >= F16_COSINE))
            else:
                table.verdict(model.name, place, f"{kind} tokens, cosine mean", f"{c.mean():.5f}", Q8_MEAN, bool(c.mean() >= Q8_MEAN))
                table.verdict(model.name, place, f"{kind} tokens, cosine min", f"{c.min():.5f}", Q8_MIN, bool(c.min() >= Q8_MIN))
    except Failure as failure:
        table.verdict(model.name, "", str(failure), "", "", False)
    finally:
        for name in ("f32", "f16", "q8"):
            path = os.path.join(tool.folder, name + ".mim")
            if os.path.exists(path):
                os.remove(path)


def small_models():
    """Every family, wider and deeper than the committed ones: the model, and sizes, the one trained at first."""
    yield Mae("live mae", "--heads 3 --keep-decoder --decoder-heads 2 --norm-pix no",
              image=96, patch=16, channels=3, dim=192, depth=4, heads=3, decoder_dim=64, decoder_depth=2,
              decoder_heads=2), [(96, 96), (128, 80), (48, 64)]
    yield Finetuned("live mae finetuned", "--family mae --heads 3",
                    img_size=64, patch_size=8, embed_dim=192, depth=4, num_heads=3,
                    num_classes=100), [(64, 64), (80, 48)]
    yield Timm("live timm", "vit_small_patch16_224", "--resize squash",
               img_size=(96, 160), depth=4, embed_dim=192, num_heads=6), [(96, 160), (64, 208)]
    yield Timm("live timm avg", "vit_base_patch16_224", "--resize squash",
               img_size=(75, 45), patch_size=(15, 9), in_chans=6, embed_dim=240, depth=3, num_heads=3, class_token=False,
               global_pool="avg", num_classes=20), [(75, 45), (60, 63)]
    yield Timm("live timm reg4", "vit_small_patch14_reg4_dinov2",
               img_size=126, depth=5, num_classes=0), [(126, 126), (84, 182)]
    yield Timm("live timm hd88", "vit_giant_patch14_224",
               img_size=84, embed_dim=352, num_heads=4, depth=2, mlp_ratio=2.0, num_classes=0), [(84, 84)]
    yield Transformers("live hf vit", "ViTForImageClassification", vit_processor(96, 96),
                       image_size=96, hidden_size=192, num_hidden_layers=4, num_attention_heads=3, intermediate_size=768,
                       num_labels=50), [(96, 96), (160, 112)]
    yield Transformers("live hf mae", "ViTMAEForPreTraining", vit_processor(96, 96),
                       image_size=96, hidden_size=160, num_hidden_layers=3, num_attention_heads=2, intermediate_size=640,
                       decoder_hidden_size=96, decoder_num_hidden_layers=1, decoder_num_attention_heads=3,
                       decoder_intermediate_size=384), [(96, 96), (64, 144)]
    yield Transformers("live hf msn", "ViTMSNModel", vit_processor(64, 64),
                       image_size=64, patch_size=8, hidden_size=192, num_hidden_layers=3, num_attention_heads=12,
                       intermediate_size=768), [(64, 64), (40, 88)]
    yield Transformers("live hf dinov2", "Dinov2ForImageClassification", dinov2_processor(144, 126),
                       image_size=126, patch_size=14, hidden_size=256, num_hidden_layers=4, num_attention_heads=4,
                       num_labels=30), [(126, 126), (84, 140)]
    yield Transformers("live hf dinov2 reg", "Dinov2WithRegistersModel", dinov2_processor(144, 126),
                       image_size=126, patch_size=14, hidden_size=192, num_hidden_layers=4,
                       num_attention_heads=3), [(126, 126), (84, 140), (182, 98)]
    yield Transformers("live hf ijepa", "IJepaModel", vit_processor(112, 112),
                       image_size=112, patch_size=14, hidden_size=320, num_hidden_layers=2, num_attention_heads=4,
                       intermediate_size=1280, layer_norm_eps=1e-6), [(112, 112), (84, 140)]
    yield OriginalDinov2("live dinov2", "--heads 3", 0,
                         image=126, patch=14, dim=192, depth=3, heads=3), [(126, 126), (84, 140)]
    yield OriginalDinov2("live dinov2 reg", "--heads 3", 4,
                         image=126, patch=14, dim=192, depth=3, heads=3), [(126, 126), (84, 140)]
    yield OriginalDinov2("live dinov2 giant", "--heads 2", 0, architecture="vit_giant_patch14_dinov2",
                         image=126, patch=14, dim=192, depth=2, heads=2), [(126, 126), (84, 140)]
    yield Timm("live dinov2 giant t", "vit_giant_patch14_dinov2",
               img_size=126, embed_dim=192, depth=3, num_heads=3), [(126, 126), (154, 84)]
    yield Transformers("live dinov2 giant h", "Dinov2Model", dinov2_processor(144, 126),
                       image_size=126, patch_size=14, hidden_size=192, num_hidden_layers=3, num_attention_heads=3,
                       use_swiglu_ffn=True), [(126, 126), (84, 140)]

    yield Timm("live beit", "beit_base_patch16_224", "--resize squash",
               img_size=(128, 80), embed_dim=192, depth=4, num_heads=6, num_classes=30), [(128, 80), (112, 160), (64, 80)]
    yield Timm("live beit shared", "beit_base_patch16_224",
               img_size=112, embed_dim=160, depth=4, num_heads=2, use_rel_pos_bias=False, use_shared_rel_pos_bias=True,
               global_pool="token", num_classes=0), [(112, 112), (64, 144)]
    yield Timm("live eva01", "eva_giant_patch14_224",
               img_size=112, embed_dim=176, depth=3, num_heads=2, num_classes=20), [(112, 112), (140, 84)]
    yield Transformers("live hf beit", "BeitModel", beit_processor(112),
                       image_size=112, hidden_size=192, num_hidden_layers=4, num_attention_heads=3, intermediate_size=768,
                       use_relative_position_bias=True), [(112, 112), (80, 144)]
    yield Transformers("live hf beit mim", "BeitForMaskedImageModeling", beit_processor(96),
                       image_size=96, hidden_size=192, num_hidden_layers=3, num_attention_heads=12, intermediate_size=768,
                       use_shared_relative_position_bias=True, use_mask_token=True, vocab_size=50), [(96, 96), (128, 64)]
    yield Transformers("live hf data2vec", "Data2VecVisionForImageClassification", beit_processor(96),
                       image_size=96, hidden_size=192, num_hidden_layers=3, num_attention_heads=3, intermediate_size=768,
                       use_relative_position_bias=True, use_shared_relative_position_bias=True,
                       num_labels=30), [(96, 96), (80, 112)]
    yield SimMim("live simmim", "beit_base_patch16_224",
                 img_size=96, embed_dim=192, depth=4, num_heads=3, use_rel_pos_bias=False, use_shared_rel_pos_bias=True,
                 global_pool="token", num_classes=0), [(96, 96), (112, 144)]
    yield Cae("live cae", "beit_base_patch16_224", "--heads 6",
              img_size=96, embed_dim=192, depth=3, num_heads=6, use_rel_pos_bias=False, use_abs_pos_emb=True,
              global_pool="token", num_classes=0), [(96, 96), (128, 64)]

    yield Timm("live eva02 tiny", "eva02_tiny_patch14_224",
               img_size=112, embed_dim=192, depth=4, num_heads=3, num_classes=0), [(112, 112), (140, 84)]
    yield Timm("live eva02 base", "eva02_base_patch14_448",
               img_size=112, embed_dim=192, depth=3, num_heads=3, num_classes=20), [(112, 112), (84, 168)]
    yield Timm("live eva02 clip", "eva02_base_patch16_clip_224",
               img_size=96, embed_dim=240, depth=3, num_heads=3, num_classes=20), [(96, 96), (128, 80)]
    yield Eva02("live eva02 mim", "eva02_large_patch14_224",
                img_size=112, embed_dim=192, depth=3, num_heads=3, global_pool="token", num_classes=0), [(112, 112), (140, 84)]
    yield Eva02("live eva02 tuned", "eva02_small_patch14_224",
                img_size=112, embed_dim=192, depth=3, num_heads=6, num_classes=20), [(112, 112), (140, 84)]
    yield Eva02Clip("live eva02 clip own", "eva02_large_patch14_clip_224",
                    img_size=112, embed_dim=192, depth=3, num_heads=3, num_classes=20), [(112, 112), (140, 84)]

    yield Timm("live timm dinov3", "vit_small_patch16_dinov3", "--resize squash",
               img_size=(96, 128), embed_dim=192, depth=4, num_heads=3), [(96, 128), (160, 64)]
    yield Timm("live timm dinov3+", "vit_huge_plus_patch16_dinov3_qkvb",
               img_size=96, embed_dim=160, depth=3, num_heads=2, global_pool="token", num_classes=20), [(96, 96), (64, 144)]
    yield Transformers("live hf dinov3", "DINOv3ViTModel", dinov3_processor(96, 96),
                       image_size=96, hidden_size=192, num_hidden_layers=4, num_attention_heads=3, intermediate_size=768,
                       num_register_tokens=4), [(96, 96), (128, 80)]
    yield Transformers("live hf dinov3+", "DINOv3ViTModel", dinov3_processor(96, 96),
                       image_size=96, hidden_size=192, num_hidden_layers=4, num_attention_heads=6, intermediate_size=512,
                       hidden_act="silu", use_gated_mlp=True, num_register_tokens=4), [(96, 96), (64, 144)]
    yield OriginalDinov3("live dinov3", "vit_small_plus_patch16_dinov3_qkvb", "--image-size 96",
                         img_size=96, embed_dim=192, depth=4, num_heads=3, global_pool="token"), [(96, 96), (144, 80)]


def large_models():
    yield Transformers("DINOv2-S/14", "Dinov2Model", dinov2_processor(518, 518),
                       image_size=518, patch_size=14, hidden_size=384, num_hidden_layers=12,
                       num_attention_heads=6), [(224, 224), (518, 518), (308, 420)]
    yield Timm("ViT-B/16", "vit_base_patch16_224", num_classes=0), [(224, 224)]
    yield Timm("ViT-L/16", "vit_large_patch16_224", num_classes=0), [(224, 224)]


def shipped(table, tool):
    """The shipped model on pictures it was not trained on: q8 beside f32, and f32 beside the reference."""
    checkpoint = os.path.join(SHARED, "models", "mae-cifar10-d128l6.safetensors")
    archive = os.path.join(SHARED, "data", "cifar10-jpeg.tar.xz")
    if not (os.path.exists(checkpoint) and os.path.exists(archive)):
        table.row("mae-cifar10", "", "skipped: ../shared/models or ../shared/data is not there")
        return
    from PIL import Image
    with safe_open(checkpoint, "np") as f:
        meta = f.metadata()
    mean, std = (np.array(meta[k].split(), np.float32)[:, None, None] for k in ("mean", "std"))
    pictures = []
    with tarfile.open(archive) as tar:
        for entry in tar:
            part, _, name = (entry.name.split("/") + ["", ""])[:3]
            if entry.isfile() and part == "test" and int(name.split(".")[0]) % 10 == 0:
                picture = np.asarray(Image.open(io.BytesIO(tar.extractfile(entry).read())).convert("RGB"), np.float32) / 255
                pictures.append((picture.transpose(2, 0, 1) - mean) / std)
    x = np.stack(pictures)
    try:
        f32 = tool.encode(tool.convert(checkpoint, "f32", []), x, "tokens")
        q8 = tool.encode(tool.convert(checkpoint, "q8", []), x, "tokens")
    except Failure as failure:
        table.verdict("mae-cifar10", "", str(failure), "", "", False)
        return
    sizes = {k: int(meta[k]) for k in ("image", "patch", "dim", "depth", "heads", "decoder_dim", "decoder_depth", "decoder_heads")}
    net = MaskedAutoencoder(channels=3, **sizes)
    net.load_state_dict(load_file(checkpoint))
    expected = net.double().encode(torch.from_numpy(x[:100]).double(), None, [], net.pos_embed).numpy()
    off = np.abs(f32[:100] - expected).max() / np.abs(expected).max()
    table.verdict("mae-cifar10", "100 images", "f32 tokens", f"{off:.1e}", f"{F32_BOUND:.0e}", bool(off <= F32_BOUND))
    c = cosines(q8, f32)
    size = f"{len(x)} images"
    table.verdict("mae-cifar10", size, "q8 beside f32, cosine mean", f"{c.mean():.6f}", CIFAR_MEAN, bool(c.mean() >= CIFAR_MEAN))
    table.verdict("mae-cifar10", size, "q8 beside f32, cosine min", f"{c.min():.6f}", CIFAR_MIN, bool(c.min() >= CIFAR_MIN))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mim", nargs="?", default=os.path.join(ROOT, "build", "mim"))
    parser.add_argument("--quick", action="store_true", help="leave out the full-size models")
    arguments = parser.parse_args()
    if not os.access(arguments.mim, os.X_OK):
        sys.exit(f"live.py: {os.path.relpath(arguments.mim)} is not there; run make first")
    table = Table()
    for group in (small_models, pyramids.live_models, video.live_models, *(() if arguments.quick else (large_models,))):
        for model, sizes in group():
            with tempfile.TemporaryDirectory() as folder:
                compare(table, Tool(arguments.mim, folder), model, sizes, images=1 if group is large_models else 2,
                        outputs=group is not large_models)
    with tempfile.TemporaryDirectory() as folder:
        shipped(table, Tool(arguments.mim, folder))
    print(f"{table.failed} out of bounds" if table.failed else "all within bounds")
    return 1 if table.failed else 0


if __name__ == "__main__":
    sys.exit(main())
