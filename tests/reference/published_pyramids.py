"""Compares references of pyramids.py with their authors' code and mmpretrain's, which PyPI carries.

    pip install --no-deps hiera-transformer==0.1.4 mmpretrain==1.2.0 mmengine==0.10.7 mmcv-lite==2.1.0 addict==2.4.0 \\
        yapf==0.43.0 termcolor rich markdown modelindex model-index ordered-set einops mat4py importlib_metadata==8.5.0 zipp \\
        opencv-python-headless matplotlib platformdirs prettytable wcwidth markdown-it-py mdurl pygments
    python published_pyramids.py

Prints ok, FAIL or skip for each; exits 1 on a difference.
"""
import re
import sys

sys.dont_write_bytecode = True

import numpy as np

import pyramids
from pyramids import HiVitMerge, authors_swin
from references import Reference, generator, torch

LIMIT = 1e-9  # of the largest value


def hiera(model, name):
    """The authors' inference class: its last block's tokens, its stages, its pooled feature."""
    from hiera import Hiera
    net = Hiera(input_size=(model.height, model.width), in_chans=model.channels, num_classes=model.classes, mlp_ratio=1.5, embed_dim=8,
                stages=(1, 1, 2, 2)).double().eval()
    net.load_state_dict(model.state())
    x, want = sample(model)
    features = []
    net.norm.register_forward_hook(lambda m, i, o: features.append(o))
    _, stages = net(x, return_intermediates=True)
    yield from zip(want["layers"], (s.flatten(1, 2) for s in stages))
    yield want["pooled"], features[0]
    x, want = sample(model, [2, 0])
    mask = torch.zeros(1, 4, dtype=torch.bool)
    mask[:, [0, 2]] = True
    yield want["tokens"], net(x, mask).unflatten(1, (2, -1))[:, [1, 0]].flatten(1, 2)


def hiera_mae(model, name):
    """The authors' pretraining class, with all units and with some."""
    from hiera.hiera_mae import MaskedAutoencoderHiera
    net = MaskedAutoencoderHiera(input_size=(model.height, model.width), in_chans=model.channels, mlp_ratio=2.0, embed_dim=8,
                                 stages=(1, 2, 2, 1), q_pool=2, decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2).double().eval()
    own = {k: v for k, v in model.state().items() if not k.startswith(("decoder", "mask_token"))}
    assert not net.load_state_dict(own, strict=False).unexpected_keys
    for keep in (list(range(9)), [7, 0, 4]):
        x, want = sample(model, keep)
        mask = torch.zeros(1, 9, dtype=torch.bool)
        mask[:, keep] = True
        tokens, _ = net.forward_encoder(x, 0, mask=mask)
        yield want["tokens"], tokens[:, np.argsort(np.argsort(keep))].flatten(1, 3)


def hivit(model, name):
    """mmpretrain's HiViT block by block: its own forward replaces what a stage gives by the picture of it."""
    from mmpretrain.models.backbones.hivit import HiViT
    own = model.double()
    depths = [0]
    for block in own.blocks:
        depths += [0] if isinstance(block, HiVitMerge) else []
        depths[-1] += not isinstance(block, HiVitMerge)
    dim, heads = own.absolute_pos_embed.shape[2], own.blocks[-1].attn.num_heads
    net = HiViT(arch={"embed_dims": dim, "depths": [(d + 1) // 2 for d in depths[:2]] + depths[2:], "num_heads": heads}, img_size=model.height,
                in_chans=model.channels, mlp_ratio=2.0, norm_cfg={"type": "LN", "eps": 1e-6}, rpe=name == "hivit").double()
    for i in reversed(range(2)):
        if depths[i] % 2:
            net.blocks.pop(sum(2 * ((d + 1) // 2) + 1 for d in depths[:i]))  # it makes blocks in pairs
    net.eval()
    state = {k.replace("absolute_pos_embed", "pos_embed"): v for k, v in own.state_dict().items()}
    assert all("index" in k for k in net.load_state_dict(state, strict=False).missing_keys)
    for size in ((model.height, model.width), *((32, 80),) * (name == "itpn")):
        x, want = sample(model, None, size)
        grid, stages = [s // 16 for s in size], []
        z = net.patch_embed(x)
        for block in net.blocks[:-net.num_main_blocks]:
            if "PatchMerge" in type(block).__name__:
                stages.append(z.unflatten(1, grid).permute(0, 1, 3, 2, 4, 5).flatten(1, 4))
            z = block(z)
        z = z[..., 0, 0, :]
        z = z + net.interpolate_pos_encoding(z, *size)
        for block in net.blocks[-net.num_main_blocks:]:
            z = block(z, True if net.rpe else None)
        yield from zip(want["layers"], [*stages, z])


def mixmim(model, name):
    """mmpretrain's MixMIM, whose merging counts channels of the four tokens alternately."""
    from mmpretrain.models.backbones.mixmim import MixMIMTransformer
    net = MixMIMTransformer(arch={"embed_dims": 16, "depths": [1, 2, 1], "num_heads": [1, 2, 4]}, mlp_ratio=2, img_size=model.height,
                            patch_size=model.patch[0], window_size=[8, 4, 2]).double()
    net.eval()
    state = {"absolute_pos_embed": model.positions()[None]}
    for k, v in authors_swin(Reference.state(model)).items():
        k = re.sub(r"(blocks\.\d+)\.norm(\d)", r"\1.ln\2", k.replace("patch_embed.proj", "patch_embed.projection"))
        k = k.replace("mlp.fc1", "ffn.layers.0.0").replace("mlp.fc2", "ffn.layers.1")
        if "downsample" in k:
            v = v.unflatten(-1, (2, 2, -1)).movedim(-1, -3).transpose(-1, -2).flatten(-3)
        state[k] = v
    left = net.load_state_dict(state, strict=False)
    assert all("index" in k for k in left.missing_keys) and all(k.startswith("head") for k in left.unexpected_keys)
    x, want = sample(model)
    yield want["pooled"], net(x)[0]


def sample(model, keep=None, size=None):
    x = generator("published", model.name).standard_normal((1, model.channels, *(size or (model.height, model.width)))).astype(np.float32)
    return torch.from_numpy(x).double(), model.run(x, keep)


def main():
    failed = 0
    checks = {"hiera": hiera, "hiera_mae": hiera_mae, "hivit": hivit, "itpn": hivit, "mixmim": mixmim}
    for model, _, _ in pyramids.golden_models():
        if model.name not in checks:
            continue
        try:
            off = max(float((a - b).abs().max() / b.abs().max()) for a, b in checks[model.name](model, model.name))
        except ModuleNotFoundError as missing:
            print(f"skip {model.name}: {missing.name} is not installed")
            continue
        failed += off > LIMIT
        print(f"FAIL {model.name}: off by {off:.1e}" if off > LIMIT else f"ok {model.name}: {off:.1e}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
