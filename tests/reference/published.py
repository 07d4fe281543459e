"""Compares the references of video.py with the code that their authors published, as far as PyPI carries it.

    pip install --no-deps einops==0.8.2 terratorch==1.2.13 rslearn==0.1.19 rshf==0.2.2 cc-vjepa2==0.0.3
    python published.py

Only the modules with the models are loaded, so that the packages' own requirements are not needed. Prints ok, FAIL or
skip for each; exits 1 on a difference.
"""
import functools
import importlib.machinery
import importlib.util
import logging
import os
import sys
import types

sys.dont_write_bytecode = True

import numpy as np

import video
from references import generator, torch

LIMIT = 1e-9  # of the largest value; what the authors compute in float32 whatever their input is allows less


def load(package, path):
    """One file of an installed package, without the package around it."""
    found = importlib.util.find_spec(package)
    if found is None:
        raise ModuleNotFoundError(package)
    path = os.path.join(list(found.submodule_search_locations)[0], path)
    spec = importlib.util.spec_from_file_location("published_" + package, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def encoder_state(model, prefix):
    return {k[len(prefix):]: v for k, v in model.state().items() if k.startswith(prefix)}


def into(net, state, missing=()):
    """Loads the checkpoint as video.py writes it; nothing may be left over, and nothing missing but what is named."""
    gone, extra = net.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    assert not extra and set(gone) <= set(missing), (gone, extra)
    return net.double().eval()


def pairs(name, mine, theirs, limit=LIMIT):
    return name, float((mine - theirs).abs().max() / theirs.abs().max()), limit


def prithvi():
    mae = load("terratorch", "models/backbones/prithvi_mae.py")
    for model, sizes, _ in video.golden_models():
        if not isinstance(model, video.Prithvi):
            continue
        prefix = "encoder." if model.version == 2 else ""
        wanted = {k: v for k, v in encoder_state(model, prefix).items() if "decoder" not in k and k != "mask_token"}
        for index, size in enumerate([(model.frames, model.height, model.width), *sizes]):
            x, coordinates = model.sample(generator("published", model.name, index), 2, size)
            # frames are the model's for the time of each of them to fit
            net = mae.PrithviViT(img_size=model.height, patch_size=(1, *model.patch), num_frames=size[0], in_chans=6, embed_dim=model.dim,
                                 depth=model.depth, num_heads=model.heads, mlp_ratio=model.mlp,
                                 coords_encoding=["time", "location"] if model.coordinates else [], coords_scale_learn=True)
            made = {k: v for k, v in wanted.items() if k != "pos_embed" or size[0] == model.frames}
            into(net, made, () if size[0] == model.frames else ("pos_embed",))
            given = {}
            if model.coordinates:
                c = torch.from_numpy(coordinates)
                given = dict(temporal_coords=c[..., :2], location_coords=c[:, 0, 2:])
            layers = net.forward_features(torch.from_numpy(x).double().transpose(1, 2), **given)
            mine = model.run(x, coordinates=coordinates)
            # theirs makes angles of years in float32
            yield pairs(f"{model.name} {size}", mine["tokens"], layers[-1], 2e-5 if model.coordinates else 1e-7)
            if index == 0 and not model.coordinates:
                keep = net.random_masking(torch.arange(mine["tokens"].shape[1] - 1.0)[None, :, None], 0.6, torch.rand(1, mine["tokens"].shape[1] - 1))
                order = keep[0][0, :, 0].long()
                noise = torch.full((2, mine["tokens"].shape[1] - 1), 2.0)
                noise[:, order] = torch.linspace(0, 1, len(order))
                net.random_masking = lambda s, r, whole=net.random_masking: whole(s, r, noise)
                theirs = net(torch.from_numpy(x).double().transpose(1, 2), mask_ratio=0.6)[0]
                yield pairs(model.name + " subset", model.run(x, order.numpy())["tokens"], theirs, 1e-7)


def vjepa2():
    found = importlib.util.find_spec("vjepa2")
    if found is None:
        raise ModuleNotFoundError("cc-vjepa2")
    from vjepa2.models.vision_transformer import VisionTransformer
    for model, sizes, _ in video.golden_models():
        if not isinstance(model, video.AuthorsVJepa2):
            continue
        net = VisionTransformer(img_size=(model.height, model.width), patch_size=model.patch[0], num_frames=model.frames, embed_dim=48,
                                depth=model.depth, num_heads=model.heads, mlp_ratio=1.0, use_rope=True, use_sdpa=False,
                                norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6))
        state = encoder_state(model, "target_encoder.module.backbone.")
        state.pop("pos_embed")
        into(net, state)
        for index, size in enumerate([(model.frames, model.height, model.width), *sizes]):
            rng = generator("published", model.name, index)
            x, _ = model.sample(rng, 2, size)
            clip = torch.from_numpy(x).double().transpose(1, 2)
            yield pairs(f"vjepa2 {size}", model.run(x)["tokens"], net(clip))
            keep = rng.permutation(int(np.prod(model.grid(*size))))[:5]
            theirs = net(clip, masks=torch.from_numpy(keep).expand(2, -1))
            yield pairs(f"vjepa2 {size} subset", model.run(x, keep)["tokens"], theirs)


def satmae():
    groups = load("rshf", "satmae/model.py")
    for model, _, _ in video.golden_models():
        if not isinstance(model, video.SatMaeGroups):
            continue
        dim, channel = model.dim, model.net.channel_embed.shape[2]
        mlp = model.net.blocks[0].mlp.fc1.out_features / dim
        x, _ = model.sample(generator("published", model.name), 2, (1, model.height, model.width))
        mine = model.run(x)
        common = dict(img_size=model.height, patch_size=model.patch[0], embed_dim=dim, depth=model.depth, num_heads=model.heads,
                      mlp_ratio=mlp, in_chans=10)
        if model.classes:
            net = groups.GroupChannelsVisionTransformer(global_pool=True, channel_embed=channel, num_classes=model.classes,
                                                        qkv_bias=True, norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6), **common)
            into(net, model.state())
            # their forward_features is older than timm's idea of what comes behind it
            yield pairs(model.name, mine["logits"], net.head(net.forward_features(torch.from_numpy(x).double())))
        else:
            net = groups.MaskedAutoencoderGroupChannelViT(dict(common, channel_groups=model.groups, channel_embed=channel, spatial_mask=False,
                                                               decoder_channel_embed=8, decoder_embed_dim=16, decoder_depth=1,
                                                               decoder_num_heads=2, norm_pix_loss=False))
            state = {k: v for k, v in model.state().items() if not k.startswith(("decoder", "mask_token"))}
            into(net, state, [k for k in net.state_dict() if k.startswith(("decoder", "mask_token"))])
            order = {}
            whole = net.random_masking
            def masking(tokens, ratio):
                kept, mask, restore = whole(tokens, ratio)
                order["keep"] = restore.argsort(1)[:, :kept.shape[1]]
                return kept, mask, restore
            net.random_masking = masking
            theirs = net.forward_encoder(torch.from_numpy(x).double(), 0.75)[0]
            for i in range(2):
                yield pairs(f"{model.name} subset {i}", model.run(x[i:i + 1], order["keep"][i].numpy())["tokens"], theirs[i:i + 1])


def presto():
    module = load("rslearn", "models/presto/single_file_presto.py")
    for model, samples in video.golden_tokens():
        if not isinstance(model, video.Presto):
            continue
        dim = model.dim
        heads = model.net.blocks[0].attn.num_heads
        net = module.Encoder(embedding_size=dim, depth=model.depth, mlp_ratio=model.net.blocks[0].mlp.fc1.out_features / dim,
                             num_heads=heads)
        state = encoder_state(model, "encoder.") if model.checkpoint == "model.safetensors" else dict(model.net.state_dict())
        into(net, state)
        for index, sample in enumerate(samples):
            raw = model.sample(generator("published", model.name, index), **sample)
            tensors = {k: torch.from_numpy(v)[None] for k, v in raw.items()}
            given = dict(x=tensors["x"].double(), dynamic_world=tensors["dynamic_world"].long(), latlons=tensors["latlons"].double(),
                         mask=tensors["mask"], month=tensors["month"][0].long())
            mine = model.run(model.embed(raw))
            # embedded tokens are handed over in float32
            yield pairs(f"{model.name} {index} pooled", mine["pooled"], net(**given), 2e-7)
            yield pairs(f"{model.name} {index} tokens", mine["tokens"], net(**given, eval_task=False)[0], 1e-6)


def galileo():
    logs = types.ModuleType("rslearn.log_utils")
    logs.get_logger = logging.getLogger
    sys.modules.setdefault("rslearn", types.ModuleType("rslearn"))
    sys.modules.setdefault("rslearn.log_utils", logs)
    path = importlib.machinery.PathFinder.find_spec("rslearn")
    if path is None:
        raise ModuleNotFoundError("rslearn")
    spec = importlib.util.spec_from_file_location("published_galileo", os.path.join(
        list(path.submodule_search_locations)[0], "models/galileo/single_file_galileo.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for model, samples in video.golden_tokens():
        if not isinstance(model, video.Galileo):
            continue
        net = module.Encoder(max_patch_size=model.base, embedding_size=model.dim, depth=model.depth, mlp_ratio=model.mlp, num_heads=model.heads)
        into(net, model.state())
        for embed in (*net.space_time_embed.values(), *net.space_embed.values()):
            embed.pinvs = {}
            embed._calculate_pinv = lambda old, new, whole=embed._calculate_pinv: whole(old, new).double()
        for index, sample in enumerate(samples):
            raw = model.sample(generator("published", model.name, index), **sample)
            t = {k: torch.from_numpy(v)[None] for k, v in raw.items() if isinstance(v, np.ndarray)}
            t = {k: v.double() if v.is_floating_point() else v for k, v in t.items()}
            t["months"] = t["months"].long()
            masks = ("s_t_m", "sp_m", "t_m", "st_m")
            out = net(**t, patch_size=raw["patch"], input_resolution_m=raw["resolution"])
            mine = model.run(model.embed(raw))
            # their resized kernels and places are float32
            yield pairs(f"galileo {index} pooled", mine["pooled"], net.average_tokens(*out[:8]), 2e-6)
            tokens, mask = net.collapse_and_combine_hwtc(*out[:8])
            yield pairs(f"galileo {index} tokens", mine["tokens"], tokens[mask < 1][None], 2e-6)


def main():
    failed = 0
    for check in (prithvi, vjepa2, satmae, presto, galileo):
        try:
            for name, off, limit in check():
                good = off <= limit
                failed += not good
                print(f"ok {name}: {off:.1e}" if good else f"FAIL {name}: off by {off:.1e} of the largest value, {limit:.0e} allowed")
        except ModuleNotFoundError as missing:
            print(f"skip {check.__name__}: {missing.name or missing} is not installed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
