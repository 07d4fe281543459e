"""Writes tests/golden: checkpoints of small random models, inputs, and what the reference implementations make of them.

    python make_golden.py [FOLDER]

The formats are described in tests/golden/README.md. Everything is a function of fixed seeds.
"""
import os
import sys
import zlib

import numpy as np
import torch
from PIL import Image

# before torchvision, which it makes importable
from references import (HALF, IMAGENET, Cae, Clip, Eva02, Eva02Clip, Finetuned, Mae, OriginalDinov2, OriginalDinov3, SimMim, Timm,
                        Transformers, UmMae, beit_processor, clip_processor, dinov2_processor, dinov3_processor, generator, vit_processor)

import authors
import ggufs
import pyramids
import train_small
import video
from torchvision import transforms
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil
from torchvision.transforms import InterpolationMode

HERE = os.path.dirname(os.path.abspath(__file__))

# whose first input holds two images
BATCHED = ("mae", "timm_reg4", "hf_vit_cls", "timm_beit", "timm_eva02_base", "hf_dinov3_gated")


def models():
    """(reference, sizes other than the trained one, pictures); made one at a time."""
    half, bf16 = torch.float16, torch.bfloat16
    squash = "--resize squash"  # timm's rule for inputs that are not square is its own
    cifar = {"image": "16", "patch": "4", "dim": "32", "depth": "1", "heads": "2", "decoder_dim": "24", "decoder_depth": "1",
             "decoder_heads": "3", "eps": "1e-6", "gelu": "erf", "norm_pix_loss": "true", "method": "MAE",
             "mean": "0.4914 0.4822 0.4465", "std": "0.247 0.2435 0.2616", "data": "none: random weights"}

    yield Mae("mae", "--heads 3 --keep-decoder --decoder-heads 2 --norm-pix no",
              image=20, patch=4, channels=3, dim=48, depth=3, heads=3, decoder_dim=64, decoder_depth=1, decoder_heads=2,
              mlp=1.0), [(28, 36), (12, 8)], ["wide.ppm", "tall.ppm"]
    yield Mae("mae_metadata", "--keep-decoder", cifar,
              image=16, patch=4, channels=3, dim=32, depth=1, heads=2, decoder_dim=24, decoder_depth=1,
              decoder_heads=3), [(12, 20)], []
    yield UmMae("um_mae", "--heads 2 --keep-decoder --decoder-heads 2 --norm-pix yes",
                image=16, patch=4, channels=3, dim=40, depth=2, heads=2, decoder_dim=32, decoder_depth=1, decoder_heads=2,
                mlp=1.5), [(20, 28)], []
    yield Finetuned("mae_finetuned", "--family mae --heads 2",
                    img_size=20, patch_size=4, embed_dim=48, depth=2, num_heads=2, mlp_ratio=2.0,
                    num_classes=10), [(28, 24), (8, 16)], []

    yield Timm("timm_cls", "vit_tiny_patch16_224", squash, half,
               img_size=(40, 56), patch_size=8, embed_dim=80, depth=2, num_heads=2, mlp_ratio=1.0,
               num_classes=7), [(64, 72), (24, 16)], []
    yield Timm("timm_avg", "vit_base_patch16_224", squash, half,
               img_size=(25, 15), patch_size=5, in_chans=1, embed_dim=48, depth=2, num_heads=2, class_token=False,
               global_pool="avg", num_classes=5, act_layer="gelu_tanh"), [(20, 35), (10, 10)], []
    yield Timm("timm_square", "vit_small_patch16_224",
               img_size=48, embed_dim=40, depth=1, num_heads=1, mlp_ratio=0.5,
               num_classes=3), [(32, 64)], ["wide.ppm", "tall.ppm", "gray.pgm", "alpha.bmp", "odd.bmp"]
    yield Timm("timm_reg4", "vit_small_patch14_reg4_dinov2", dtype=bf16,
               img_size=42, embed_dim=64, depth=2, num_heads=1, mlp_ratio=2.0, init_values=1.0,
               num_classes=0), [(56, 42), (28, 14)], []
    yield Timm("timm_gap", "vit_medium_patch16_reg4_gap_256", dtype=half,
               img_size=24, patch_size=8, embed_dim=32, depth=4, num_heads=2, mlp_ratio=2.0, reg_tokens=3,
               num_classes=6), [(32, 24)], []
    yield Timm("timm_nobias", "vit_base_patch16_224", squash, half,
               img_size=(32, 20), patch_size=(8, 4), in_chans=4, embed_dim=160, depth=1, num_heads=2, mlp_ratio=0.3,
               qkv_bias=False, global_pool="avg", num_classes=9, act_layer="quick_gelu"), [(40, 12)], []
    yield Timm("timm_wide", "vit_giant_patch14_224", squash, bf16,
               img_size=(12, 20), patch_size=4, in_chans=13, embed_dim=176, depth=1, num_heads=2, mlp_ratio=0.25,
               num_classes=0), [(20, 24)], []
    yield Timm("timm_deep16", "vit_tiny_patch16_224", squash,
               img_size=(14, 42), patch_size=7, in_chans=16, embed_dim=16, depth=4, num_heads=1,
               num_classes=0), [(21, 21)], []

    yield Transformers("hf_vit", "ViTModel", vit_processor(16, 16), half, "100KB",
                       image_size=16, patch_size=4, hidden_size=128, num_hidden_layers=1, num_attention_heads=1,
                       intermediate_size=64, hidden_act="gelu_new",
                       layer_norm_eps=1e-12), [(20, 28), (8, 12)], ["wide.ppm", "tall.ppm", "gray.pgm"]
    yield Transformers("hf_vit_cls", "ViTForImageClassification", vit_processor(24, 56), bf16,
                       image_size=[24, 56], patch_size=8, hidden_size=48, num_hidden_layers=2, num_attention_heads=3,
                       intermediate_size=96, num_labels=11, hidden_act="quick_gelu", qkv_bias=False), [], ["wide.ppm"]
    yield Transformers("hf_mae", "ViTMAEForPreTraining", {**vit_processor(30, 30), **IMAGENET}, half,
                       image_size=30, patch_size=5, hidden_size=48, num_hidden_layers=2, num_attention_heads=2,
                       intermediate_size=100, decoder_hidden_size=32, decoder_num_hidden_layers=2,
                       decoder_num_attention_heads=2, decoder_intermediate_size=52, norm_pix_loss=True,
                       layer_norm_eps=1e-12), [(35, 45), (15, 20)], []
    yield Transformers("hf_msn", "ViTMSNModel", vit_processor(32, 32),
                       image_size=32, patch_size=8, hidden_size=40, num_hidden_layers=2, num_attention_heads=1,
                       intermediate_size=72), [(48, 40), (16, 24)], []
    yield Transformers("hf_dinov2", "Dinov2Model", dinov2_processor(80, 70), bf16,
                       image_size=70, patch_size=14, hidden_size=48, num_hidden_layers=2, num_attention_heads=2,
                       mlp_ratio=2, layer_norm_eps=1e-6), [(84, 70), (28, 42)], ["wide.ppm", "tall.ppm"]
    yield Transformers("hf_dinov2_cls", "Dinov2ForImageClassification", dinov2_processor(36, 32), half,
                       image_size=32, patch_size=8, hidden_size=32, num_hidden_layers=3, num_attention_heads=1,
                       num_labels=13), [(40, 48)], []
    yield Transformers("hf_dinov2_reg", "Dinov2WithRegistersModel", dinov2_processor(80, 70), bf16,
                       image_size=70, patch_size=14, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                       num_register_tokens=4), [(98, 56), (42, 28)], []
    yield Transformers("hf_ijepa", "IJepaModel", vit_processor(24, 24),
                       image_size=24, patch_size=4, hidden_size=80, num_hidden_layers=1, num_attention_heads=1,
                       intermediate_size=80, layer_norm_eps=1e-6), [(32, 36), (16, 12)], []

    yield OriginalDinov2("dinov2", "--heads 2", 0,
                         image=70, patch=14, dim=32, depth=2, heads=2), [(84, 98), (56, 28)], []
    yield OriginalDinov2("dinov2_reg", "--heads 2", 4,
                         image=70, patch=14, dim=32, depth=1, heads=2), [(84, 70), (42, 28)], []

    # relative biases
    yield Timm("timm_beit", "beit_base_patch16_224", squash, half,
               img_size=(20, 12), patch_size=4, embed_dim=48, depth=2, num_heads=2, mlp_ratio=1.0,
               num_classes=7), [(28, 24), (12, 16), (20, 24)], []
    yield Timm("timm_beit_shared", "beitv2_large_patch16_224", dtype=bf16,
               img_size=24, patch_size=4, embed_dim=32, depth=2, num_heads=4, mlp_ratio=2.0, use_rel_pos_bias=False,
               use_shared_rel_pos_bias=True, global_pool="token", num_classes=0), [(12, 44)], ["wide.ppm", "tall.ppm"]
    yield Timm("timm_eva01", "eva_giant_patch14_224", dtype=half,
               img_size=20, patch_size=4, embed_dim=80, depth=1, num_heads=2, mlp_ratio=0.5,
               num_classes=6), [(28, 16), (12, 12)], []
    yield Transformers("hf_beit", "BeitModel", beit_processor(20), half,
                       image_size=20, patch_size=4, hidden_size=48, num_hidden_layers=2, num_attention_heads=3,
                       intermediate_size=40, use_relative_position_bias=True,
                       use_mask_token=True), [(28, 24), (12, 20)], ["wide.ppm"]
    yield Transformers("hf_beit_cls", "BeitForImageClassification", vit_processor(16, 16), bf16,
                       image_size=16, patch_size=4, hidden_size=64, num_hidden_layers=2, num_attention_heads=2,
                       intermediate_size=40, use_relative_position_bias=True, use_absolute_position_embeddings=True,
                       layer_scale_init_value=0.0, layer_norm_eps=1e-6, num_labels=9), [(24, 20), (12, 8)], []
    yield Transformers("hf_beit_mim", "BeitForMaskedImageModeling", beit_processor(20), half,
                       image_size=20, patch_size=4, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                       intermediate_size=64, use_shared_relative_position_bias=True, use_mask_token=True, vocab_size=20,
                       hidden_act="gelu_new"), [(12, 28)], []
    yield Transformers("hf_data2vec", "Data2VecVisionModel", beit_processor(16), half,
                       image_size=16, patch_size=4, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                       intermediate_size=64, use_shared_relative_position_bias=True, use_relative_position_bias=True,
                       use_mask_token=True), [(20, 24), (12, 12)], []
    yield Transformers("hf_data2vec_cls", "Data2VecVisionForImageClassification", beit_processor(20),
                       image_size=20, patch_size=4, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                       intermediate_size=40, use_relative_position_bias=True, use_mean_pooling=False,
                       num_labels=5), [(16, 28)], []
    yield SimMim("simmim", "beit_base_patch16_224", "", half,
                 img_size=20, patch_size=4, embed_dim=48, depth=2, num_heads=2, mlp_ratio=1.0, use_rel_pos_bias=False,
                 use_shared_rel_pos_bias=True, global_pool="token", num_classes=0), [(28, 24), (12, 16)], []
    yield Cae("cae", "beit_base_patch16_224", "--heads 4", half,
              img_size=20, patch_size=4, embed_dim=32, depth=2, num_heads=4, mlp_ratio=2.0, use_rel_pos_bias=False,
              use_abs_pos_emb=True, global_pool="token", num_classes=0), [(28, 24), (12, 16)], []

    # rotations of neighbouring channels, gated MLPs
    yield Timm("timm_eva02_tiny", "eva02_tiny_patch14_224", dtype=half,
               img_size=20, patch_size=4, embed_dim=48, depth=2, num_heads=2, mlp_ratio=1.1,
               num_classes=0), [(24, 28), (12, 8)], ["tall.ppm"]
    yield Timm("timm_eva02_base", "eva02_base_patch14_448", squash, half,
               img_size=(20, 12), patch_size=4, embed_dim=32, depth=2, num_heads=2, ref_feat_shape=(4, 7),
               num_classes=5), [(28, 24), (12, 16)], ["wide.ppm"]
    yield Timm("timm_eva02_clip", "eva02_base_patch16_clip_224", dtype=bf16,
               img_size=16, patch_size=4, embed_dim=80, depth=1, num_heads=2, mlp_ratio=0.4,
               num_classes=8), [(24, 20)], []
    yield Eva02("eva02_mim", "eva02_large_patch14_224", "", half,
                img_size=16, patch_size=4, embed_dim=64, depth=2, num_heads=2, mlp_ratio=0.6, global_pool="token",
                num_classes=0), [(24, 20), (12, 28)], []
    yield Eva02("eva02_finetuned", "eva02_small_patch14_224", "",
                img_size=20, patch_size=4, embed_dim=32, depth=1, num_heads=2, mlp_ratio=1.4, num_classes=5), [(24, 28)], []
    yield Eva02Clip("eva02_clip", "eva02_large_patch14_clip_224", "", half,
                    img_size=12, patch_size=4, embed_dim=48, depth=1, num_heads=2, mlp_ratio=1.2, num_classes=6), [(16, 20)], []

    # a norm before the blocks
    yield Timm("timm_clip", "vit_base_patch32_clip_quickgelu_224", dtype=half,
               img_size=20, patch_size=4, embed_dim=48, depth=2, num_heads=2, mlp_ratio=1.5,
               num_classes=9), [(28, 24), (12, 16)], ["wide.ppm"]
    yield Timm("timm_clip_gap", "vit_medium_patch16_clip_224", squash, half,
               img_size=(12, 20), patch_size=4, embed_dim=32, depth=1, num_heads=2, mlp_ratio=2.0, global_pool="avg",
               num_classes=0), [(24, 20)], []
    yield Clip("hf_clip", "CLIPModel", clip_processor(20), half, projection=10, image_size=20, patch_size=4, hidden_size=48,
               num_hidden_layers=2, num_attention_heads=2, intermediate_size=72), [(28, 24), (12, 16)], ["tall.ppm"]
    yield Clip("hf_clip_vision", "CLIPVisionModel", clip_processor(16), bf16, image_size=16, patch_size=4, hidden_size=64,
               num_hidden_layers=1, num_attention_heads=2, intermediate_size=80, hidden_act="gelu"), [(16, 28)], []

    # rotations of channels half a head apart, gated MLPs
    yield Timm("timm_dinov2_giant", "vit_giant_patch14_dinov2", dtype=half,
               img_size=28, patch_size=7, embed_dim=48, depth=2, num_heads=2, mlp_ratio=2.0, num_classes=0), [(35, 21)], []
    yield OriginalDinov2("dinov2_giant", "--heads 2", 0, architecture="vit_giant_patch14_dinov2", dtype=half,
                         image=42, patch=14, dim=32, depth=1, heads=2), [(56, 28)], []
    yield Transformers("hf_dinov2_giant", "Dinov2Model", dinov2_processor(32, 28), half,
                       image_size=28, patch_size=7, hidden_size=48, num_hidden_layers=1, num_attention_heads=2,
                       mlp_ratio=2, use_swiglu_ffn=True), [(35, 42)], []
    yield Timm("timm_dinov3", "vit_small_patch16_dinov3", squash, half,
               img_size=(20, 12), patch_size=4, embed_dim=48, depth=2, num_heads=2, mlp_ratio=1.0), [(28, 24), (8, 16)], []
    yield Timm("timm_dinov3_plus", "vit_small_plus_patch16_dinov3_qkvb", dtype=bf16,
               img_size=16, patch_size=4, embed_dim=80, depth=1, num_heads=2, mlp_ratio=0.4, global_pool="token",
               num_classes=4), [(24, 12)], []
    yield Timm("timm_rope", "vit_medium_patch16_rope_reg1_gap_256", squash, half,
               img_size=(20, 28), patch_size=4, embed_dim=48, depth=2, num_heads=2, mlp_ratio=1.0, num_classes=5), [(28, 24), (12, 16)], []
    yield Timm("timm_rope_nobias", "vit_mediumd_patch16_rope_reg1_gap_256", dtype=bf16,
               img_size=16, patch_size=4, embed_dim=80, depth=1, num_heads=2, mlp_ratio=0.5, num_reg_tokens=4, ref_feat_shape=(5, 5),
               num_classes=0), [(24, 12)], []
    yield Transformers("hf_dinov3", "DINOv3ViTModel", dinov3_processor(20, 20), half,
                       image_size=20, patch_size=4, hidden_size=64, num_hidden_layers=1, num_attention_heads=1,
                       intermediate_size=48, num_register_tokens=4), [(28, 24), (12, 16)], []
    yield Transformers("hf_dinov3_gated", "DINOv3ViTModel", dinov3_processor(16, 16),
                       image_size=16, patch_size=4, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                       intermediate_size=40, hidden_act="silu", use_gated_mlp=True,
                       num_register_tokens=2), [(20, 28)], []
    yield OriginalDinov3("dinov3", "vit_small_plus_patch16_dinov3_qkvb", "--image-size 20", half,
                         img_size=20, patch_size=4, embed_dim=64, depth=2, num_heads=2, mlp_ratio=0.5,
                         global_pool="token"), [(28, 24), (12, 32)], []


def save(path, array):
    with open(path, "wb") as f:
        np.lib.format.write_array(f, np.ascontiguousarray(array), version=(1, 0))


# ---------------------------------------------------------------------------------------- pictures

def pictures(folder):
    """Small pictures: a coloured wave with noise, so that every resize has something to lose."""
    os.makedirs(folder, exist_ok=True)

    def picture(name, width, height, channels):
        rng = generator("picture", name)
        y, x = np.mgrid[:height, :width]
        wave = [128 + 70 * np.sin(x / (3 + c) + y / (7 - c)) + 40 * np.cos(y / 2.5 - c) for c in range(channels)]
        return np.clip(np.stack(wave, -1) + rng.integers(-30, 31, (height, width, channels)), 0, 255).astype(np.uint8)

    for name, width, height in (("wide.ppm", 97, 61), ("tall.ppm", 41, 123), ("exact.ppm", 48, 48), ("small.ppm", 19, 23)):
        Image.fromarray(picture(name, width, height, 3)).save(os.path.join(folder, name))
    Image.fromarray(picture("gray.pgm", 66, 50, 1)[..., 0]).save(os.path.join(folder, "gray.pgm"))
    Image.fromarray(picture("odd.bmp", 53, 71, 3)).save(os.path.join(folder, "odd.bmp"))
    Image.fromarray(picture("alpha.bmp", 50, 64, 4), "RGBA").save(os.path.join(folder, "alpha.bmp"))


def opened(path, channels):
    """What a data loader hands on: RGB (a grey picture repeated, alpha dropped), or Pillow's luma."""
    return Image.open(path).convert("RGB").convert("RGB" if channels == 3 else "L")


def prepare(path, channels, size, resize, edge, bicubic, mean, std):
    """torchvision's transforms on a Pillow image; padded, transformers' processor of SAM."""
    mode = InterpolationMode.BICUBIC if bicubic else InterpolationMode.BILINEAR
    if resize == "pad":
        if channels == 3 and size[0] == size[1]:
            return sam_processor(size[0], 3 if bicubic else 2, mean, std)(opened(path, 3), return_tensors="np")["pixel_values"][0]
        picture = opened(path, channels)
        scale = min(size[0] / picture.height, size[1] / picture.width)
        inside = (int(picture.height * scale + 0.5), int(picture.width * scale + 0.5))
        x = transforms.Compose([transforms.Resize(inside, mode), transforms.ToTensor(), transforms.Normalize(mean, std)])(picture)
        return torch.nn.functional.pad(x, (0, size[1] - inside[1], 0, size[0] - inside[0])).numpy()
    steps = [transforms.Resize(edge, mode), transforms.CenterCrop(size)] if resize == "short_edge" else \
        [transforms.Resize(size, mode)]
    steps += [transforms.ToTensor(), transforms.Normalize(mean, std)]
    return transforms.Compose(steps)(opened(path, channels)).numpy()


def sam_processor(side, resample=2, mean=IMAGENET["image_mean"], std=IMAGENET["image_std"]):
    return SamImageProcessorPil(size={"longest_edge": side}, pad_size={"height": side, "width": side}, resample=resample, image_mean=mean,
                                image_std=std)


def model_preprocessing(model):
    """How the model's own ecosystem prepares a picture."""
    size = (model.height, model.width)
    if not isinstance(model, Mae) and not hasattr(model, "preprocessor"):
        cfg = model.net.pretrained_cfg
        how = dict(size=size, bicubic=cfg["interpolation"] == "bicubic", mean=cfg["mean"], std=cfg["std"])
        if cfg["crop_mode"] == "squash":
            assert cfg["crop_pct"] == 1
            return dict(how, resize="squash", edge=0)
        assert cfg["crop_mode"] == "center" and size[0] == size[1]
        return dict(how, resize="short_edge", edge=int(np.floor(size[0] / cfg["crop_pct"])))
    if isinstance(model, Mae):
        # the authors' evaluation: crop_pct 0.875 up to 224, bicubic, ImageNet statistics
        return dict(size=size, resize="short_edge", edge=int(size[0] / (224 / 256)), bicubic=True,
                    mean=IMAGENET["image_mean"], std=IMAGENET["image_std"])
    p = model.preprocessor
    if isinstance(p["size"], dict) and "longest_edge" in p["size"]:
        return dict(size=size, resize="pad", edge=0, bicubic=p["resample"] == 3, mean=p["image_mean"], std=p["image_std"])
    edge = p["size"].get("shortest_edge", 0) if isinstance(p["size"], dict) else 0
    return dict(size=size, resize="short_edge" if edge else "squash", edge=edge,
                bicubic=p["resample"] == 3, mean=p["image_mean"], std=p["image_std"])


# ---------------------------------------------------------------------------------------- models

def output(results, name):
    """An output by its name in cases.txt, or None. normed:... are layers with norm=1."""
    kind, _, numbers = name.partition(":")
    if kind not in results:
        return None
    value = results[kind]
    return torch.stack([value[int(n) - 1] for n in numbers.split(",")], 1) if numbers else value if value.numel() else None


def write_model(model, sizes, images, root):
    folder = os.path.join(root, model.name)
    model.write(folder)
    lines = [f"checkpoint {model.checkpoint}"] if model.checkpoint != "model.safetensors" else []
    lines += [f"convert {model.convert}"] if model.convert else []
    worst = 0.0

    def cases(x, source, stem, names, size="", keep=None):
        """Runs the reference once and writes those of the named outputs that it has."""
        nonlocal worst
        results = model.run(x, keep)
        single = model.run(x, keep, torch.float32)["tokens"].double()
        worst = max(worst, float((single - results["tokens"]).abs().max() / results["tokens"].abs().max()))
        if keep is not None:
            save(os.path.join(folder, stem + ".keep.npy"), keep.astype(np.int32))
        for name in names:
            value = output(results, name)
            if value is None:
                continue
            expect = f"{stem}.{name.replace(':', '') if len(layers) > 1 else name.split(':')[0]}.npy"
            save(os.path.join(folder, expect), value.double().numpy().astype(np.float32))
            lines.append(f"case input={source} out={name.replace('normed', 'layers')} expect={expect}" + size
                         + (f" keep={stem}.keep.npy" if keep is not None else "") + (" norm=1" if "normed" in name else ""))

    layers = model.layer_names()
    patches = ["patches"] * (model.name in BATCHED)
    everything = ["tokens", *layers, "normed:1", "cls", "registers", *patches, "pooled", "logits", "attention", "reconstruct"]
    for index, (height, width) in enumerate([(model.height, model.width)] + list(sizes)):
        batched = index == 0 and model.name in BATCHED
        rng = generator(model.name, "input", index)
        x = model.sample(rng, 2 if batched else 1, height, width)
        source, stem = f"in{index}.npy", f"out{index}"
        size = f" size={height}x{width}" if index else ""
        save(os.path.join(folder, source), x)
        # stages have grids of their own, which the size changes
        cases(x, source, stem, ["tokens", *(layers if index == 1 < len(layers) else []), "logits"] if index else everything, size)
        count = model.places(height, width)
        if index < 2 and count >= 4:
            # a quarter in random order, as masked autoencoders train; at the trained size one patch alone, too
            some = rng.permutation(count)[:max(2, count // 4)]
            cases(x, source, stem + "a", ["tokens", "pooled", *([] if index else ["attention"]), "reconstruct"], size, some)
            if index == 0:
                cases(x, source, stem + "b", ["tokens", "reconstruct"], size, np.array([count - 1]))
    for picture in images:
        x = prepare(os.path.join(root, "pictures", picture), model.channels, **model_preprocessing(model))[None]
        cases(x, f"../pictures/{picture}", picture.split(".")[0], ["tokens"])

    with open(os.path.join(folder, "cases.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")
    print(f"{model.name:16s} {len(lines):3d} lines, reference in float32 is off by {worst:.1e} of the largest token value")
    assert worst < 1e-5, "ill-conditioned: no float32 implementation could be held to this"


# ---------------------------------------------------------------------------------------- resizing

def xorshift_bytes(seed, count):
    """Marsaglia's xorshift32 (13, 17, 5); each byte is the state's top byte after a step."""
    out, s = bytearray(count), seed
    for i in range(count):
        s ^= s << 13 & 0xFFFFFFFF
        s ^= s >> 17
        s ^= s << 5 & 0xFFFFFFFF
        out[i] = s >> 24
    return bytes(out)


def fnv1a(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = (h ^ b) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


def resize_cases():
    rng = generator("resize")
    edges = [1, 2, 3, 4, 5, 7, 8, 13, 16, 17, 31, 32, 33, 48, 63, 64, 65, 97, 100, 127, 128]
    seen = []
    for _ in range(340):
        seen.append(tuple(int(v) for v in rng.choice(edges, 4)))
    # aspect kept, as a short-edge resize does it, up and down, upright and lying
    for w, h, s in ((160, 120, 56), (120, 160, 56), (50, 175, 32), (175, 50, 32), (30, 40, 64), (40, 30, 64), (99, 101, 98), (60, 140, 59)):
        seen.append((w, h, *((s, int(s * h / w)) if w <= h else (int(s * w / h), s))))
        seen.append((w, h, s, s))
    # extreme ratios, where versions of Pillow differ in the order of the passes
    for w, h, dw, dh in ((3, 301, 5, 30), (3, 300, 5, 30), (3, 299, 5, 30), (1, 200, 7, 20), (2, 450, 1, 9), (4, 401, 3, 400),
                         (4, 401, 40, 402), (4, 401, 40, 401), (301, 3, 30, 5), (450, 2, 9, 1), (500, 1, 10, 10), (1, 500, 10, 10),
                         (40, 90, 20, 50), (40, 90, 20, 49), (40, 90, 20, 51), (40, 40, 30, 20), (40, 40, 31, 20), (40, 40, 29, 20),
                         (700, 40, 16, 16), (40, 700, 16, 16), (16, 16, 300, 20), (16, 16, 20, 300), (1, 1, 50, 50), (50, 50, 1, 1)):
        seen.append((w, h, dw, dh))
    return list(dict.fromkeys(seen))


def write_resize(folder):
    lines = ["# src_w src_h channels dst_w dst_h filter seed fnv1a64 rule   (see ../README.md)"]
    order13 = lambda w, h, dw, dh: dh < h and 2 * (w - dw) < h - dh
    order12 = lambda w, h, dw, dh: dh < h and h > 100 * w
    for i, (w, h, dw, dh) in enumerate(resize_cases()):
        channels = 1 if i % 3 == 1 else 3
        for name, how in (("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)):
            seed = zlib.crc32(f"{w} {h} {channels} {dw} {dh} {name}".encode()) or 1
            image = Image.frombytes("L" if channels == 1 else "RGB", (w, h), xorshift_bytes(seed, w * h * channels))
            got = image.resize((dw, dh), how).tobytes()
            first, vertical = (image.resize(middle, how).resize((dw, dh), how).tobytes() for middle in ((dw, h), (w, dh)))
            assert got == (vertical if order13(w, h, dw, dh) else first), "this Pillow orders its passes by another rule"
            older = vertical if order12(w, h, dw, dh) else first
            rule = "any" if got == older == first else "13"
            lines.append(f"{w} {h} {channels} {dw} {dh} {name} {seed} {fnv1a(got):016x} {rule}")
    with open(os.path.join(folder, "resize.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")
    return len(lines) - 1


def write_preprocess(folder, pictures_folder):
    lines = ["# whole preprocessing of a picture   (see ../README.md)"]
    one = dict(mean=[0.449], std=[0.226])
    three, half = (dict(mean=s["image_mean"], std=s["image_std"]) for s in (IMAGENET, HALF))
    plan = [
        ("wide.ppm", 3, (32, 32), "short_edge", 36, "bicubic", three), ("wide.ppm", 3, (32, 32), "short_edge", 37, "bilinear", half),
        ("wide.ppm", 3, (24, 40), "squash", 0, "bilinear", half), ("wide.ppm", 1, (28, 28), "short_edge", 32, "bicubic", one),
        ("tall.ppm", 3, (32, 32), "short_edge", 36, "bicubic", three), ("tall.ppm", 3, (33, 33), "short_edge", 40, "bilinear", three),
        ("tall.ppm", 3, (32, 32), "squash", 0, "bicubic", half), ("tall.ppm", 1, (32, 16), "squash", 0, "bilinear", one),
        ("exact.ppm", 3, (48, 48), "short_edge", 48, "bicubic", three), ("exact.ppm", 3, (42, 42), "short_edge", 48, "bicubic", three),
        ("exact.ppm", 3, (43, 43), "short_edge", 48, "bicubic", three), ("exact.ppm", 3, (45, 45), "short_edge", 48, "bicubic", three),
        ("exact.ppm", 3, (41, 41), "short_edge", 48, "bicubic", three),
        ("small.ppm", 3, (56, 56), "short_edge", 64, "bicubic", three), ("small.ppm", 3, (16, 16), "short_edge", 18, "bilinear", half),
        ("gray.pgm", 3, (32, 32), "short_edge", 36, "bicubic", three), ("gray.pgm", 1, (32, 32), "short_edge", 36, "bicubic", one),
        ("odd.bmp", 3, (28, 28), "short_edge", 32, "bicubic", three), ("odd.bmp", 1, (28, 28), "squash", 0, "bicubic", one),
        ("alpha.bmp", 3, (32, 32), "short_edge", 36, "bicubic", three), ("alpha.bmp", 1, (20, 20), "short_edge", 20, "bilinear", one),
        ("wide.ppm", 3, (32, 32), "pad", 0, "bilinear", three), ("tall.ppm", 3, (40, 40), "pad", 0, "bilinear", three),
        ("exact.ppm", 3, (24, 24), "pad", 0, "bilinear", half), ("small.ppm", 3, (64, 64), "pad", 0, "bicubic", three),
        ("odd.bmp", 3, (36, 36), "pad", 0, "bilinear", three), ("wide.ppm", 1, (28, 24), "pad", 0, "bicubic", one),
        ("tall.ppm", 3, (20, 44), "pad", 0, "bilinear", half),
    ]
    for i, (name, channels, size, resize, edge, kind, stats) in enumerate(plan):
        expect = f"pre{i:02d}.npy"
        x = prepare(os.path.join(pictures_folder, name), channels, size, resize, edge, kind == "bicubic", **stats)
        save(os.path.join(folder, expect), x)
        numbers = lambda v: ",".join(map(str, v))
        lines.append(f"case input=../pictures/{name} channels={channels} size={size[0]}x{size[1]} resize={resize} edge={edge} "
                     f"filter={kind} mean={numbers(stats['mean'])} std={numbers(stats['std'])} expect={expect}")
    with open(os.path.join(folder, "preprocess.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")
    return len(plan)


def write_all(root):
    torch.set_num_threads(1)
    pictures(os.path.join(root, "pictures"))
    for family in (models, authors.golden_models, ggufs.golden_models, pyramids.golden_models, train_small.golden_models):
        for model, sizes, images in family():
            write_model(model, sizes, images, root)
    video.write_golden(root)
    folder = os.path.join(root, "resize")
    os.makedirs(folder, exist_ok=True)
    print(f"resize           {write_resize(folder)} resizes, {write_preprocess(folder, os.path.join(root, 'pictures'))} whole preprocessings")


if __name__ == "__main__":
    write_all(sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "..", "golden"))
