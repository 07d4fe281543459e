"""Models of transformers in GGUF: as dinov2.cpp writes them, and as clip.cpp and llama.cpp keep a vision encoder."""
import os
import tempfile

import gguf
import numpy as np

from references import HALF, Clip, Transformers, clip_processor, dinov2_processor, load_file, rename, torch, vit_processor


class Gguf(Transformers):
    checkpoint = "model.gguf"
    architecture = ""

    def published(self):
        """The names in transformers' files, which those of its modules are no longer."""
        with tempfile.TemporaryDirectory() as folder:
            self.net.save_pretrained(folder)
            return load_file(os.path.join(folder, "model.safetensors"))

    def write(self, folder):
        os.makedirs(folder, exist_ok=True)
        writer = gguf.GGUFWriter(os.path.join(folder, self.checkpoint), self.architecture)
        self.describe(writer)
        for name, tensor in self.tensors().items():
            writer.add_tensor(name, tensor)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


class Dinov2Cpp(Gguf):
    """lavaman131/dinov2.cpp: transformers' names and sizes; a bias with four dimensions."""
    architecture = "dinov2"

    def describe(self, writer):
        c = self.net.config
        registers = getattr(c, "num_register_tokens", 0)
        for key, value in {"hidden_size": c.hidden_size, "num_hidden_layers": c.num_hidden_layers, "num_attention_heads": c.num_attention_heads,
                           "num_classes": 0, "patch_size": c.patch_size, "img_size": c.image_size, "ftype": 1,
                           "num_register_tokens": registers}.items():
            writer.add_uint32(key, value)

    def tensors(self):
        out = {}
        for name, t in self.published().items():
            name = name.removeprefix("dinov2.")
            small = t.ndim == 1 or name in ("embeddings.position_embeddings", "embeddings.cls_token", "embeddings.register_tokens")
            value = t.float().numpy().astype(np.float32 if small else np.float16)
            if name == "embeddings.patch_embeddings.projection.bias":
                value = value.reshape(1, -1, 1, 1)
            if name != "embeddings.mask_token":
                out[name] = value
        return out


class ClipCpp(Gguf):
    """A plain ViT under clip.cpp's names. Until 2025 the two layers of an MLP were called the other way round."""
    architecture = "clip"
    names = {r"^embeddings\.cls_token": "v.class_embd", r"^embeddings\.position_embeddings": "v.position_embd.weight",
             r"^embeddings\.patch_embeddings\.projection": "v.patch_embd", r"^encoder\.layer": "v.blk", r"^layernorm": "v.post_ln",
             r"layernorm_before": "ln1", r"layernorm_after": "ln2", r"attention\.attention\.(.)[a-z]+": r"attn_\1",
             r"attention\.output\.dense": "attn_out", r"intermediate\.dense": "ffn_1", r"output\.dense": "ffn_2"}

    def __init__(self, *arguments, older=False, convert="", **config):
        super().__init__(*arguments, **config)
        self.older, self.convert = older, convert

    def describe(self, writer):
        c = self.net.config
        writer.add_bool("clip.has_vision_encoder", True)
        for key, value in {"image_size": c.image_size, "patch_size": c.patch_size, "embedding_length": c.hidden_size,
                           "feed_forward_length": c.intermediate_size, "block_count": c.num_hidden_layers,
                           "attention.head_count": c.num_attention_heads, "projection_dim": 16}.items():
            writer.add_uint32("clip.vision." + key, value)
        writer.add_float32("clip.vision.attention.layer_norm_epsilon", c.layer_norm_eps)
        for key in ("image_mean", "image_std"):
            writer.add_array("clip.vision." + key, self.preprocessor[key])
        writer.add_bool("clip.use_gelu", c.hidden_act.startswith("gelu"))

    def tensors(self):
        up, down = ("ffn_down", "ffn_up") if self.older else ("ffn_up", "ffn_down")
        state = {k: v for k, v in self.published().items() if "pooler" not in k}
        state = rename(state, {**self.names, "ffn_1": up, "ffn_2": down})
        state["v.position_embd.weight"] = state["v.position_embd.weight"][0]
        state["v.class_embd"] = state["v.class_embd"].flatten()
        state["mm.0.weight"] = torch.ones(16, self.net.config.hidden_size)
        return {k: v.float().numpy().astype(np.float16 if v.ndim > 1 and "_embd" not in k else np.float32) for k, v in state.items()}


class ClipCppClip(Clip, ClipCpp):
    """CLIP itself under clip.cpp's names."""
    checkpoint = "model.gguf"
    names = {r"^vision_model\.": "", r"^embeddings\.class_embedding": "v.class_embd", r"^embeddings\.position_embedding": "v.position_embd",
             r"^embeddings\.patch_embedding": "v.patch_embd", r"^encoder\.layers": "v.blk", r"^pre_layrnorm": "v.pre_ln",
             r"^post_layernorm": "v.post_ln", r"layer_norm(\d)": r"ln\1", r"self_attn\.(q|k|v|out)_proj": r"attn_\1", r"mlp\.fc1": "ffn_down",
             r"mlp\.fc2": "ffn_up"}
    convert = "--resize short:20 --filter bicubic"

    def forward(self, net, x, keep):
        out = super().forward(net, x, keep)
        out["normed"] = [net.vision_model.post_layernorm(h) for h in out["layers"]]
        out["tokens"] = out["normed"][-1]  # the last norm is of the class token, but nothing in the file says so
        return out

    def write(self, folder):
        ClipCpp.write(self, folder)

    def tensors(self):
        return {k: v.float().numpy().astype(np.float16 if v.ndim > 1 and "_embd" not in k else np.float32)
                for k, v in rename(self.published(), self.names).items()}


def golden_models():
    half = torch.float16
    model = Dinov2Cpp("gguf_dinov2", "Dinov2Model", dinov2_processor(32, 28), half, image_size=28, patch_size=7, hidden_size=48,
                      num_hidden_layers=2, num_attention_heads=3, mlp_ratio=2, layer_norm_eps=1e-6)
    model.convert = "--image-size 28"
    yield model, [(21, 42)], ["wide.ppm"]
    model = Dinov2Cpp("gguf_dinov2_reg", "Dinov2WithRegistersModel", dinov2_processor(32, 28), half, image_size=35, patch_size=7,
                      hidden_size=32, num_hidden_layers=1, num_attention_heads=2, mlp_ratio=2, num_register_tokens=4, layer_norm_eps=1e-6)
    model.convert = "--image-size 35"
    yield model, [(28, 28)], []
    yield ClipCpp("gguf_clip", "ViTModel", {**vit_processor(24, 24), **HALF}, half, convert="--resize squash --filter bilinear", image_size=24, patch_size=4,
                  hidden_size=48, num_hidden_layers=2, num_attention_heads=2, intermediate_size=80, hidden_act="quick_gelu", layer_norm_eps=1e-5,
                  older=True), [], ["small.ppm"]
    yield ClipCpp("gguf_clip_gelu", "ViTModel", vit_processor(20, 20), half, convert="--act gelu --resize squash --filter bicubic", image_size=20, patch_size=5,
                  hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, hidden_act="gelu", layer_norm_eps=1e-6), [], []
    yield ClipCppClip("gguf_clip_pre", "CLIPVisionModelWithProjection", clip_processor(20), half, projection=6, projection_dim=6, image_size=20,
                      patch_size=4, hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=64), [], ["wide.ppm"]
