"""Writes tests/golden/containers: one small model in every container that the converter reads, saved by the libraries that
publish in it, and what each file holds.

    python make_containers.py [FOLDER]

NAME.list has a line for every tensor that must be found in NAME: its name, type and shape, and the FNV-1a of its values as
f32; the last line may say, in brackets, which state dict must be taken. `same` names the files that must convert to what
vit.safetensors converts to, byte by byte; `refused` names files with the phrase that they must be refused with.

Weights are multiples of 1/64 no larger than 1: every float type holds them exactly. What torch saves is loaded again before
it is kept. Streams differ from run to run in the names of their storages, which torch makes of addresses; nothing else does.
"""
import argparse
import collections
import io
import os
import pathlib
import pickle
import struct
import sys
import zipfile

import gguf
import numpy as np
import timm
import torch
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
NAMES = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16", torch.float64: "f64", torch.int64: "i64",
         torch.int32: "i32", torch.int16: "i16", torch.int8: "i8", torch.uint8: "u8", torch.uint16: "u16"}

folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "..", "golden", "containers")
same, refused = [], []


def path(name):
    full = os.path.join(folder, name)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    return full


def random(seed, *shape):
    values = torch.randint(-64, 65, shape, generator=torch.Generator().manual_seed(seed))
    return values.float() / 64


def fnv(values):
    digest = 14695981039346656037
    for byte in np.ascontiguousarray(values, dtype="<f4").tobytes():
        digest = ((digest ^ byte) * 1099511628211) & (2**64 - 1)
    return digest


def write_list(name, tensors, origin=None):
    """tensors: name -> (type, values)."""
    lines = [f"{key} {kind} [{', '.join(map(str, values.shape))}] {fnv(values):016x}"
             for key, (kind, values) in sorted(tensors.items())]
    with open(path(name + ".list"), "w") as out:
        out.write("".join(line + "\n" for line in lines + ([f"({origin})"] if origin else [])))


def torch_list(name, state, origin=None):
    write_list(name, {key: (NAMES[t.dtype], t.detach().to(torch.float64).float().numpy()) for key, t in state.items()}, origin)


def save(name, thing, state, origin=None, is_same=True, **options):
    """Saves with torch, and says what must be found in it: the state dict that it holds somewhere."""
    torch.save(thing, path(name), **options)
    torch.load(path(name), weights_only=False)
    torch_list(name, state, origin)
    if is_same:
        same.append(name)


def refuse(name, phrase):
    refused.append(f"{name}|{phrase}")


def model():
    vit = timm.create_model("vit_tiny_patch16_224", img_size=6, patch_size=2, embed_dim=8, depth=1, num_heads=2, mlp_ratio=2.0,
                            num_classes=3)
    with torch.no_grad():
        for i, t in enumerate(vit.parameters()):
            t.copy_(random(i, *t.shape))
    return vit


def rearranged(state):
    """The same numbers as views of few storages: slices of one, transposed ones, every second element, tied ones."""
    pool = torch.zeros(5 + sum(t.numel() for t in state.values()))
    views, at = collections.OrderedDict(), 5
    for i, (key, t) in enumerate(state.items()):
        if t.ndim == 2 and i % 2:
            views[key] = t.t().contiguous().t()
        elif t.ndim == 4:
            views[key] = t.contiguous(memory_format=torch.channels_last)
        elif key == "norm.bias":
            views[key] = torch.stack([t, t + 1], 1)[:, 0]
        elif key == "norm.weight":
            views[key] = torch.cat([t[:1], t])[1:]
        else:
            views[key] = pool[at:at + t.numel()].view(t.shape)
            views[key].copy_(t)
            at += t.numel()
    for key, t in views.items():
        assert torch.equal(t, state[key]), key
    return views


class Python2(pickle._Pickler):
    """Pickles as Python 2 did: short byte strings, an ordered dictionary made from a list of pairs."""
    dispatch = dict(pickle._Pickler.dispatch)

    def save_text(self, text):
        data = text.encode("latin1")
        self.write(pickle.SHORT_BINSTRING + bytes([len(data)]) + data)
        self.memoize(text)

    dispatch[str] = save_text

    def reducer_override(self, thing):
        if isinstance(thing, collections.OrderedDict):
            return collections.OrderedDict, ([[key, value] for key, value in thing.items()],)
        return NotImplemented


def save_python2(name, state):
    """The stream that torch.save wrote before 1.6, tensors being views of one storage."""
    numbers = torch.cat([t.reshape(-1) for t in state.values()])
    out, at = io.BytesIO(), 0
    for thing in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True,
                                                 "type_sizes": {"short": 2, "int": 4, "long": 8}}):
        Python2(out, 2).dump(thing)

    class Storage:
        def __init__(self, first, count):
            self.first, self.count = first, count

    class Rebuilt:
        def __init__(self, t, first):
            self.t, self.first = t, first

        def __reduce__(self):
            storage = Storage(self.first, self.t.numel())
            return torch._utils._rebuild_tensor_v2, (storage, 0, tuple(self.t.shape), tuple(self.t.contiguous().stride()), False,
                                                     collections.OrderedDict())

    class Objects(Python2):
        def persistent_id(self, thing):
            if not isinstance(thing, Storage):
                return None
            return "storage", torch.FloatStorage, "0", "cpu", numbers.numel(), (f"view{thing.first}", thing.first, thing.count)

    things = collections.OrderedDict()
    for key, t in state.items():
        things[key] = Rebuilt(t, at)
        at += t.numel()
    Objects(out, 2).dump(things)
    Python2(out, 2).dump(["0"])
    out.write(struct.pack("<q", numbers.numel()) + numbers.numpy().tobytes())
    with open(path(name), "wb") as file:
        file.write(out.getvalue())
    read = torch.load(path(name), weights_only=False)
    assert all(torch.equal(read[key], t) for key, t in state.items())
    torch_list(name, state)
    same.append(name)


def save_big_endian(name, state):
    """As PyTorch saves on a big-endian machine."""
    little = io.BytesIO()
    torch.save(state, little)
    types = {str(i): t.dtype.itemsize for i, t in enumerate(state.values())}
    with zipfile.ZipFile(little) as source, zipfile.ZipFile(path(name), "w") as out:
        for entry in source.infolist():
            data = source.read(entry)
            if "/data/" in entry.filename:
                size = types[entry.filename.rsplit("/", 1)[1]]
                data = np.frombuffer(data, f"<u{size}").byteswap().tobytes()
            out.writestr(zipfile.ZipInfo(entry.filename), b"big" if entry.filename.endswith("byteorder") else data)
    read = torch.load(path(name), weights_only=False)
    assert all(torch.equal(read[key], t) for key, t in state.items())
    torch_list(name, state)


def torch_files(vit):
    state = vit.state_dict()
    plain = {key: t.clone() for key, t in state.items()}
    save_file(plain, path("vit.safetensors"), metadata={"format": "pt"})
    torch_list("vit.safetensors", plain)

    save("zip.pth", state, state)
    save("stream.pth", state, state, _use_new_zipfile_serialization=False)
    save("protocol4.bin", state, state, pickle_protocol=4)
    save("protocol5-stream.pt", state, state, pickle_protocol=5, _use_new_zipfile_serialization=False)
    save_python2("python2.pth", state)
    views = rearranged(state)
    save("views.pt", views, state)
    save("views-stream.pt", views, state, _use_new_zipfile_serialization=False)

    kinds = [torch.bfloat16, torch.float64, torch.float16]
    mixed = {key: t.to(kinds[i % 3]) for i, (key, t) in enumerate(state.items())}
    save("types.pth", mixed, mixed)

    held = dict(vit.named_parameters())
    attributed = torch.nn.Parameter(held["norm.weight"].detach().clone())
    attributed.no_decay = True
    with_state = held["norm.bias"].detach().clone()
    with_state.note = "a tensor with an attribute"
    save("parameters.bin", {**held, "norm.weight": attributed, "norm.bias": with_state}, state)

    momentum = torch.optim.SGD([p for p in vit.parameters() if p.ndim == 1][:4], lr=0.1, momentum=0.9)
    for group in momentum.param_groups:
        for p in group["params"]:
            p.grad = torch.ones_like(p)
    before = {key: t.clone() for key, t in state.items()}
    momentum.step()
    vit.load_state_dict(before)
    state = vit.state_dict()
    kinds = collections.defaultdict(list)
    kinds["loss"] += [1.5, float("inf"), None]
    save("training.ckpt",
         {"epoch": 7, "args": argparse.Namespace(lr=1e-3, layers=[1, 2], name="run", path=pathlib.PurePosixPath("a/b")), "best": np.float64(0.5),
          "history": kinds, "seen": {1, 2}, "table": np.arange(6).reshape(2, 3), "counter": collections.Counter("aab"), "raw": b"\0\1",
          "large": 1 << 200, "negative": -(1 << 40), "size": torch.Size([1, 2]), "device": torch.device("cpu"), "type": torch.float16,
          "optimizer": momentum.state_dict(), "model": state, "frozen": frozenset([1]), "complex": 1j, "scaler": {"scale": 65536.0}},
         state, "state dict 'model'")
    save("ddp.pth.tar", {"state_dict": collections.OrderedDict(("module." + key, t) for key, t in state.items()), "epoch": 1,
                         "arch": "vit_tiny"}, {"module." + key: t for key, t in state.items()}, "state dict 'state_dict'")
    teacher = {"backbone." + key: t for key, t in state.items()}
    student = {"module.backbone." + key: -t for key, t in state.items()}
    save("dino.pth", {"student": student, "teacher": teacher, "epoch": 2, "args": argparse.Namespace(arch="vit"), "fp16_scaler": None},
         teacher, "state dict 'teacher', not 'student'")
    averaged = {key: t * 1.0 for key, t in state.items()}
    save("ema.pth", {"model": {key: -t for key, t in state.items()}, "model_ema": averaged, "optimizer": {"state": {}}}, averaged,
         "state dict 'model_ema', not 'model'")
    save("nested.pth", {"net": {"module": {key: t for key, t in state.items()}, "steps": 3}}, state, "state dict 'net/module'")
    mixed = {**state, "epoch": 3, "note": "plain", "nothing": None}
    save("beside.pth", mixed, state, "3 values that are no tensors left out")

    patch = "patch_embed.proj.weight"
    image, frames = {"module." + patch: random(91, 2, 3, 2, 2)}, {"module.backbone." + patch: random(92, 2, 3, 2, 2, 2)}
    other = {"module.x": random(93, 2)}
    save("ijepa.pth.tar", {"encoder": image, "predictor": other, "target_encoder": frames, "opt": {}, "epoch": 1}, image,
         "state dict 'encoder', not 'predictor', 'target_encoder'", False)
    save("vjepa.pt", {"encoder": frames, "predictor": other, "target_encoder": {key: 2 * t for key, t in frames.items()}},
         {key: 2 * t for key, t in frames.items()}, "state dict 'target_encoder', not 'encoder', 'predictor'", False)
    save("msn.pth.tar", {"encoder": other, "target_encoder": image, "prototypes": random(94, 2, 2), "epoch": 1}, image,
         "state dict 'target_encoder', not 'encoder'", False)
    save("distilled.pt", {"encoder": other, "ema_encoder": image}, image, "state dict 'ema_encoder', not 'encoder'", False)
    save("unnamed.pt", {"something": image, "epoch": 1}, image, "state dict 'something'", False)

    odd = {"scalar": torch.tensor(0.5), "empty": torch.zeros(0, 3), "bytes": torch.tensor([1, 255], dtype=torch.uint8),
           "small": torch.tensor([-128, 127], dtype=torch.int8), "short": torch.tensor([-2, 3], dtype=torch.int16),
           "int": torch.tensor([-(1 << 31)], dtype=torch.int32), "long": torch.tensor([1 << 40, -5]),
           "unsigned": torch.tensor([65535, 0], dtype=torch.uint16), "half": torch.tensor([6e-8, -65504.0]).half(),
           "brain": torch.tensor([1e38]).bfloat16(), "seven": random(95, 1, 2, 1, 3, 1, 2, 1).permute(6, 3, 5, 2, 1, 4, 0),
           "double": torch.tensor([0.1, 1e-300], dtype=torch.float64), "diagonal": random(96, 4, 4).diagonal()}
    save("odd.pt", odd, odd, is_same=False)
    del odd["unsigned"]                                      # torch itself cannot load it from a stream
    save("odd-stream.pt", odd, odd, is_same=False, _use_new_zipfile_serialization=False)
    save_big_endian("big-endian.pt", {"half": odd["half"], "float": random(97, 2, 3), "double": odd["double"], "bytes": odd["bytes"]})

    both = list(state.items())
    halves = {"pytorch_model-00001-of-00002.bin": dict(both[:9]), "pytorch_model-00002-of-00002.bin": dict(both[9:])}
    for name, part in halves.items():
        torch.save(part, path("sharded/" + name))
    with open(path("sharded/pytorch_model.bin.index.json"), "w") as out:
        places = [f'"{key}": "{name}"' for name, part in halves.items() for key in part]
        out.write('{"metadata": {"total_size": 0}, "weight_map": {' + ", ".join(places) + "}}\n")
    same.append("sharded")

    torch.save({"one": image, "two": other}, path("several.pt"))
    refuse("several.pt", "holds several state dicts: 'one', 'two'; choose one with --wrapper")
    torch.save(torch.nn.Linear(2, 2), path("module.pt"))
    refuse("module.pt", "holds a whole module, torch.nn.modules.linear.Linear")
    torch.save({"model": {"optimizer": 1}}, path("no-tensors.pt"))
    refuse("no-tensors.pt", "holds no tensors where a state dict would be: model")
    torch.save({"weight": torch.eye(3).to_sparse()}, path("sparse.pt"))
    refuse("sparse.pt", "'weight' is made by torch._utils._rebuild_sparse_tensor (byte ")
    torch.save({"weight": torch.eye(3), "array": np.eye(2)}, path("array.pt"))
    refuse("array.pt", "'array' is made by numpy")
    torch.save({"weight": torch.eye(3).bool()}, path("bool.pt"))
    torch.save({"weight": torch.zeros(2).expand(3, 2)}, path("repeated.pt"))
    refuse("repeated.pt", "it has more elements than its storage")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path("script.pt"))
    refuse("script.pt", "this is TorchScript")
    deflated = path("deflated.pt")
    torch.save({"weight": torch.zeros(100)}, deflated + ".plain")
    with zipfile.ZipFile(deflated + ".plain") as source, zipfile.ZipFile(deflated, "w", zipfile.ZIP_DEFLATED) as out:
        for entry in source.infolist():
            info = zipfile.ZipInfo(entry.filename)
            info.compress_type = zipfile.ZIP_DEFLATED
            out.writestr(info, source.read(entry))
    os.remove(deflated + ".plain")
    refuse("deflated.pt", "is compressed, as torch.save does not")
    with open(path("plain.pkl"), "wb") as out:
        pickle.dump({"model": {"weight": np.zeros(3)}}, out)
    refuse("plain.pkl", "a Python pickle, but not one that torch.save wrote")


def presto_list():
    """What the released checkpoint of Presto holds, where it is at hand; the checkpoint itself is not copied."""
    file = os.path.join(HERE, "..", "..", "..", "shared", "models", "presto-default_model.pt")
    if os.path.exists(file):
        torch_list("presto-default_model.pt", torch.load(file, map_location="cpu", weights_only=True))


def numpy_files(state):
    arrays = {key: t.numpy() for key, t in state.items()}
    kinds = {np.dtype("float32"): "f32", np.dtype("float64"): "f64", np.dtype("float16"): "f16"}
    np.savez(path("vit.npz"), **arrays)
    write_list("vit.npz", {key: ("f32", a) for key, a in arrays.items()})
    same.append("vit.npz")
    forms = [lambda a: np.asfortranarray(a), lambda a: a.astype(">f4"), lambda a: a.astype("<f8"), lambda a: a.astype(">f2")]
    varied = {key: forms[i % 4](a) for i, (key, a) in enumerate(arrays.items())}
    np.savez_compressed(path("compressed.npz"), note=np.array("text"), **varied)
    write_list("compressed.npz", {key: (kinds[a.dtype.newbyteorder("=")], a) for key, a in varied.items()}, "1 array without numbers left out")
    same.append("compressed.npz")
    jax = {"Transformer/encoderblock_0/MlpBlock/Dense_0/kernel": random(98, 3, 40).numpy(), "opt/target/step": np.array(3, np.int64),
           "zeros": np.zeros((50, 100), np.float32), "empty": np.zeros((0, 2), np.float32), "ramp": np.arange(3000, dtype=np.int32)}
    np.savez_compressed(path("jax.npz"), **jax)
    write_list("jax.npz", {key: ({"float32": "f32", "int64": "i64", "int32": "i32"}[a.dtype.name], a) for key, a in jax.items()})


def gguf_files(state):
    kinds = gguf.GGMLQuantizationType
    writer = gguf.GGUFWriter(path("vit.gguf"), "vit")
    writer.add_uint32("vit.block_count", 1)
    writer.add_float32("vit.eps", 1e-6)
    writer.add_array("labels", ["a", "b", "c"])
    expected = {}
    for i, (key, t) in enumerate(state.items()):
        kind = ["f32", "f16", "bf16"][i % 3] if t.ndim > 1 else "f32"
        if kind == "bf16":
            bits = (t.numpy().view(np.uint32) >> 16).astype(np.uint16)
            writer.add_tensor(key, bits.view(np.uint8), raw_dtype=kinds.BF16)
        else:
            writer.add_tensor(key, t.numpy() if kind == "f32" else t.half().numpy())
        expected[key] = (kind, t.numpy())
    finish_gguf(writer)
    write_list("vit.gguf", expected)
    same.append("vit.gguf")

    writer = gguf.GGUFWriter(path("quantized.gguf"), "vit")
    writer.add_custom_alignment(64)
    expected = {}
    for kind in (kinds.Q8_0, kinds.Q4_0, kinds.Q4_1, kinds.Q5_0, kinds.Q5_1):
        values = np.random.default_rng(int(kind)).standard_normal((3, 2, 64)).astype(np.float32)
        packed = gguf.quantize(values, kind)
        writer.add_tensor(kind.name + "/weight", packed, raw_dtype=kind)
        expected[kind.name + "/weight"] = (kind.name.lower(), gguf.dequantize(packed, kind))
    finish_gguf(writer)
    write_list("quantized.gguf", expected)
    writer = gguf.GGUFWriter(path("kquant.gguf"), "vit")
    writer.add_tensor("weight", np.zeros((1, 210), np.uint8), raw_dtype=kinds.Q6_K)
    finish_gguf(writer)
    refuse("kquant.gguf", "is of the type Q6_K (14), which this reader does not know")


def finish_gguf(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    torch.manual_seed(0)
    vit = model()
    torch_files(vit)
    state = {key: t.detach().clone() for key, t in vit.state_dict().items()}
    numpy_files(state)
    gguf_files(state)
    presto_list()
    refuse("bool.pt", "no vision transformer that this version knows")
    for name, lines in (("same", same), ("refused", refused)):
        with open(path(name), "w") as out:
            out.write("".join(line + "\n" for line in lines))


if __name__ == "__main__":
    main()
