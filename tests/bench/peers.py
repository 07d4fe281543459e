"""mim beside the other ways to run the same Vision Transformer on this CPU.

    python tests/bench/peers.py [--models Ti,S,B] [--threads 1,2] [--builds gcc,clang] [--cpu NAME]
                                [--rounds 5] [--tries 3] [--seconds 0.3]

Each model is one timm ViT-*/16 at 224 with random weights, exported once; every peer starts from those weights, and its
tokens are held against torch's in f32 before anything is timed. The peers then run in turn, round after round, so that all
see the same machine. Of each turn the fastest encode counts: what else a shared machine does can only add. For the same reason
one thread is timed by what the processor spends on it, several by the time that passes. A ratio is the median of the rounds'. Where they lie more than 10 % apart the rounds are run again, as often as --tries says, and
what still does not agree is refused. Peers that are not installed are left out and named. Where the checkpoint of the shipped
model is (../shared/models), the cosines on it and the shipped pictures are told as well. Prints Markdown.

    pip install -r tests/reference/requirements.txt openvino nncf onnx_ir executorch torchao
"""
import argparse
import contextlib
import datetime
import functools
import importlib.util
import io
import json
import logging
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

# before numpy and its like start their threads
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "..", ".."))
sys.path.insert(0, os.path.join(HERE, "..", "reference"))
sys.dont_write_bytecode = True

import numpy as np  # noqa: E402
from references import timm, torch  # noqa: E402

STABLE = 0.10
MODELS = {"Ti": "vit_tiny_patch16_224", "S": "vit_small_patch16_224", "B": "vit_base_patch16_224"}


class Tokens(torch.nn.Module):
    """Picture to normalised tokens: what every peer computes."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net.forward_features(x)


def call(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"peers.py: {' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


@contextlib.contextmanager
def quiet():
    """Quantizers and exporters that talk."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def least_ms(run, seconds, threads):
    """Of one thread the processor's time, or what passed if a peer's idle threads made that the longer."""
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start, busy = time.perf_counter(), time.process_time()
        run()
        busy = time.process_time() - busy
        passed = time.perf_counter() - start
        times.append(min(busy, passed) if threads == 1 else passed)
    return min(times) * 1e3


class Model:
    """One network: its weights on disk in the forms that the peers read, and what its tokens are on some pictures."""

    def __init__(self, folder, net, checkpoint, pictures):
        self.folder, self.net, self.checkpoint, self.pictures, self.x = folder, net.eval(), checkpoint, pictures, pictures[0]
        with torch.inference_mode():
            self.expected = [Tokens(self.net)(torch.from_numpy(x)).numpy() for x in pictures]

    @classmethod
    def of_timm(cls, label, folder):
        """Random weights, a random picture."""
        torch.manual_seed(0)
        net = timm.create_model(MODELS[label], num_classes=0)
        timm.models.save_for_hf(net, os.path.join(folder, "timm"), safe_serialization=True)
        x = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)
        return cls(folder, net, os.path.join(folder, "timm", "model.safetensors"), [x])

    @classmethod
    def shipped(cls, folder):
        """What examples/models was converted from, on the middles of the shipped pictures; None where it is not."""
        checkpoint = os.path.join(ROOT, "..", "shared", "models", "mae-cifar10-d128l6.safetensors")
        if not os.path.exists(checkpoint):
            return None
        from PIL import Image
        from safetensors import safe_open
        with safe_open(checkpoint, "pt") as f:
            meta, state = f.metadata(), {key: f.get_tensor(key) for key in f.keys()}
        side = int(meta["image"])
        net = timm.models.vision_transformer.VisionTransformer(
            img_size=side, patch_size=int(meta["patch"]), embed_dim=int(meta["dim"]), depth=int(meta["depth"]), num_heads=int(meta["heads"]),
            num_classes=0, norm_layer=functools.partial(torch.nn.LayerNorm, eps=float(meta["eps"])))
        net.load_state_dict({key: state[key] for key in net.state_dict()})
        mean, std = (np.array(meta[key].split(), np.float32) for key in ("mean", "std"))
        images = os.path.join(ROOT, "examples", "images", "small")
        pictures = []
        for name in sorted(os.listdir(images)):
            with Image.open(os.path.join(images, name)) as picture:
                middle = picture.convert("RGB").resize((side, side), Image.BICUBIC)
            x = (np.asarray(middle, np.float32) / 255 - mean) / std
            pictures.append(np.ascontiguousarray(x.transpose(2, 0, 1)[None], np.float32))
        return cls(folder, net, checkpoint, pictures)

    def path(self, name):
        return os.path.join(self.folder, name)

    def once(self, name, make):
        """A file of the folder, made when it is first asked for."""
        if not os.path.exists(self.path(name)):
            with quiet():
                make(self.path(name))
        return self.path(name)

    def onnx(self):
        def export(path):
            timm.layers.set_fused_attn(False)
            try:
                torch.onnx.export(Tokens(self.net), (torch.from_numpy(self.x),), path, input_names=["x"], output_names=["tokens"],
                                  opset_version=17, dynamo=False)
            finally:
                timm.layers.set_fused_attn(True)
        return self.once("model.onnx", export)


# ---- what is compared: name, kind, needs (modules), exact (f32), and prepare(model, threads) -> (the tokens of each picture,
# ---- a function of seconds that returns milliseconds for the first)

class Mim:
    needs = ()

    def __init__(self, kind, build, binary, cpu, threads=None):
        self.kind, self.build, self.binary, self.cpu, self.threads = kind, build, binary, cpu, threads
        self.name = f"mim {kind}, {build}" + (f", {threads} thread" if threads else "")
        self.exact = kind == "f32"
        self.last = {}

    def prepare(self, model, threads):
        blob = model.once(self.kind + ".mim", lambda path: call(
            self.binary, "convert", model.checkpoint, "--type", self.kind, "-o", path))
        source = model.once("x.npy", lambda path: np.save(path, np.concatenate(model.pictures)))
        target = model.path("tokens.npy")
        level = ["--cpu", self.cpu] if self.cpu else []
        call(self.binary, "encode", blob, source, "--out", "tokens", "-o", target, *level)
        command = [self.binary, "bench", blob, "--threads", str(self.threads or threads), "--json", *level, "--seconds"]

        def measure(seconds):
            self.last = json.loads(call(*command, str(max(0.1, seconds))))
            return self.last["ms_min"]
        return list(np.load(target)), measure


class OnnxRuntime:
    """onnxruntime's CPU provider with all its graph optimisations. int8: quantize_dynamic, a scale per channel. int4:
    MatMulNBits in blocks of 32, computed in int8 (accuracy_level 4)."""

    def __init__(self, kind):
        self.kind, self.name, self.exact = kind, f"onnxruntime {kind}", kind == "f32"
        self.needs = ("onnx", "onnxruntime") + (("onnx_ir",) if kind == "int4" else ())

    def graph(self, model):
        plain = model.onnx()
        if self.kind == "int8":
            from onnxruntime.quantization import QuantType, quantize_dynamic, shape_inference

            def make(path):
                shape_inference.quant_pre_process(plain, path + ".inferred")
                quantize_dynamic(path + ".inferred", path, op_types_to_quantize=["MatMul", "Gemm"], per_channel=True,
                                 weight_type=QuantType.QInt8)
            return model.once("int8.onnx", make)
        if self.kind == "int4":
            import onnx
            from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

            def make(path):
                quantizer = MatMulNBitsQuantizer(onnx.load(plain), block_size=32, is_symmetric=True, accuracy_level=4)
                quantizer.process()
                quantizer.model.save_model_to_file(path)
            return model.once("int4.onnx", make)
        return plain

    def prepare(self, model, threads):
        import onnxruntime
        logging.disable(logging.WARNING)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = onnxruntime.InferenceSession(self.graph(model), options, providers=["CPUExecutionProvider"])
        feed = {"x": model.x}
        return ([session.run(None, {"x": x})[0] for x in model.pictures],
                lambda seconds: least_ms(lambda: session.run(None, feed), seconds, threads))


class OpenVino:
    """OpenVINO's CPU plugin with f32 as its precision (its default may be bf16). int8: nncf.quantize for transformers,
    calibrated with 8 pictures like the one that is timed."""

    def __init__(self, kind):
        self.kind, self.name, self.exact = kind, f"OpenVINO {kind}", kind == "f32"
        self.needs = ("onnx", "openvino") + (("nncf",) if kind == "int8" else ())

    def prepare(self, model, threads):
        import openvino
        core = openvino.Core()
        if self.kind == "int8":
            import nncf

            def make(path):
                rng = np.random.default_rng(1)
                pictures = [model.x] + [rng.standard_normal(model.x.shape).astype(np.float32) for _ in range(7)]
                openvino.save_model(nncf.quantize(core.read_model(model.onnx()), nncf.Dataset(pictures), model_type=nncf.ModelType.TRANSFORMER,
                                                  subset_size=len(pictures)), path, compress_to_fp16=False)
            graph = model.once("int8.xml", make)
        else:
            graph = model.onnx()
        compiled = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1})
        request = compiled.create_infer_request()
        tokens = []
        for x in model.pictures:
            request.infer({0: x})
            tokens.append(request.get_output_tensor().data.copy())
        return tokens, lambda seconds: least_ms(lambda: request.infer({0: model.x}), seconds, threads)


class Torch:
    """torch, eager, with its fused attention. int8: quantize_dynamic of the linear layers."""

    def __init__(self, kind):
        self.kind, self.name, self.exact, self.needs = kind, f"torch {kind}", kind == "f32", ("torch",)

    def prepare(self, model, threads):
        net = Tokens(model.net)
        if self.kind == "int8":
            with quiet():
                net = torch.ao.quantization.quantize_dynamic(net, {torch.nn.Linear}, dtype=torch.qint8)

        def run(x):
            torch.set_num_threads(threads)
            with torch.inference_mode():
                return net(x)
        pictures = [torch.from_numpy(x) for x in model.pictures]
        return [run(x).numpy() for x in pictures], lambda seconds: least_ms(lambda: run(pictures[0]), seconds, threads)


class Xnnpack:
    """XNNPACK, by way of ExecuTorch. int8: weights per channel, inputs quantized when they come."""

    def __init__(self, kind):
        self.kind, self.name, self.exact = kind, f"XNNPACK {kind}", kind == "f32"
        self.needs = ("executorch",) + (("torchao",) if kind == "int8" else ())

    def program(self, model):
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackDynamicallyQuantizedPartitioner, XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower
        net, example, parts = Tokens(model.net), (torch.from_numpy(model.x),), [XnnpackPartitioner()]

        def make(path):
            graph = torch.export.export(net, example)
            if self.kind == "int8":
                from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
                from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
                quantizer = XNNPACKQuantizer()
                quantizer.set_global(get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True))
                prepared = prepare_pt2e(graph.module(), quantizer)
                prepared(*example)
                graph = torch.export.export(convert_pt2e(prepared), example)
                parts.insert(0, XnnpackDynamicallyQuantizedPartitioner())
            with open(path, "wb") as f:
                f.write(to_edge_transform_and_lower(graph, partitioner=parts).to_executorch().buffer)
        return model.once(self.kind + ".pte", make)

    def prepare(self, model, threads):
        path = self.program(model)
        from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
        from executorch.runtime import Runtime
        _unsafe_reset_threadpool(threads)
        method = Runtime.get().load_program(path).load_method("forward")
        pictures = [torch.from_numpy(x) for x in model.pictures]
        return ([method.execute([x])[0].numpy().copy() for x in pictures],
                lambda seconds: least_ms(lambda: method.execute([pictures[0]]), seconds, threads))


PEERS = [OnnxRuntime("f32"), OnnxRuntime("int8"), OnnxRuntime("int4"), OpenVino("f32"), OpenVino("int8"), Torch("f32"), Torch("int8"),
         Xnnpack("f32"), Xnnpack("int8")]

# (own kind, peer): how many times as fast
RATIOS = [("f32", "onnxruntime f32"), ("f32", "OpenVINO f32"), ("f32", "torch f32"), ("f32", "XNNPACK f32"),
          ("q8", "onnxruntime int8"), ("q8", "OpenVINO int8"), ("q8", "torch int8"), ("q8", "XNNPACK int8"),
          ("q7", "onnxruntime int8"), ("q4", "onnxruntime int4"), ("q8", "mim f32"), ("q4", "mim q8")]


def spread(values):
    return (max(values) - min(values)) / statistics.median(values)


def ratio(numerator, denominator):
    """Median of the rounds' ratios and how far apart they lie."""
    each = [a / b for a, b in zip(numerator, denominator)]
    return statistics.median(each), spread(each)


def pairs_of(ours):
    """The ratios to be told: (label, runner above, runner below)."""
    names = {m.name for m in ours}
    for build in dict.fromkeys(m.build for m in ours):
        for kind, peer in RATIOS:
            other = f"{peer}, {build}" if peer.startswith("mim ") else peer
            yield f"mim {kind} : {peer}", build, other, f"mim {kind}, {build}"
        for kind in ("f32", "q8", "q4"):
            if f"mim {kind}, {build}, 1 thread" in names:
                yield f"mim {kind} : on one thread", build, f"mim {kind}, {build}, 1 thread", f"mim {kind}, {build}"


def cpu_name():
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
            return next(line.split(":", 1)[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def hold(model, label, threads, runners):
    """Every runner's tokens against torch's: ({name: its measure}, {name: (cosine mean, least)})."""
    measures, cosines = {}, {}
    expected = np.stack(model.expected)
    for runner in runners:
        tokens, measures[runner.name] = runner.prepare(model, threads)
        tokens = np.stack(tokens).reshape(expected.shape)
        off = np.abs(tokens - expected).max() / np.abs(expected).max()
        cosine = (tokens * expected).sum(-1) / np.linalg.norm(tokens, axis=-1) / np.linalg.norm(expected, axis=-1)
        if not cosine.min() > 0.5 or (runner.exact and not off < 1e-4):
            sys.exit(f"peers.py: {runner.name} computes something else on {label}: off by {off:.1e}, cosine {cosine.min():.4f}")
        cosines[runner.name] = (float(cosine.mean()), float(cosine.min()))
    return measures, cosines


def bench(model, label, threads, runners, arguments):
    """Returns ({name: (ms, cosine mean, cosine least)}, {(label, build): ratio or None, how far apart})."""
    measures, cosines = hold(model, f"ViT-{label}/16", threads, runners)
    for name in measures:
        measures[name](0)
    pairs = [p for p in pairs_of([r for r in runners if isinstance(r, Mim)]) if p[2] in measures and p[3] in measures]
    told, last = {}, {}
    for _ in range(arguments.tries):
        open_pairs = [p for p in pairs if told.get(p[:2], (0, 1))[1] > STABLE]
        wanted = {name for p in open_pairs for name in p[2:]} or set()
        wanted |= {name for name in measures if name not in last or spread(last[name]) > STABLE}
        if not wanted:
            break
        rounds = {name: [] for name in measures if name in wanted}
        for _ in range(arguments.rounds):
            for name, times in rounds.items():
                times.append(measures[name](arguments.seconds))
        for name, times in rounds.items():
            if name not in last or spread(times) < spread(last[name]):
                last[name] = times
        for p in open_pairs:
            value = ratio(rounds[p[2]], rounds[p[3]])
            if p[:2] not in told or value[1] < told[p[:2]][1]:
                told[p[:2]] = value
    return {name: (last[name], *cosines[name]) for name in measures}, told


def markdown(head, rows):
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def refused(apart):
    return f"refused ({100 * apart:.0f} %)"


def report(threads, labels, results):
    """results: {label: what bench returned}"""
    print(f"### {threads} thread{'s' if threads > 1 else ''}\n")
    names = list(dict.fromkeys(name for times, _ in results.values() for name in times))

    def cell(label, name):
        entry = results[label][0].get(name)
        if not entry:
            return "", ""
        times, mean, least = entry
        text = f"{statistics.median(times):.1f}" if spread(times) <= STABLE else refused(spread(times))
        return text, f"{mean:.5f}, {least:.4f}"
    markdown(("what", *(f"ViT-{label}, ms" for label in labels), *(f"ViT-{label}, cosine" for label in labels)),
             [(name, *(cell(label, name)[0] for label in labels), *(cell(label, name)[1] for label in labels)) for name in names])
    keys = list(dict.fromkeys(key for _, told in results.values() for key in told))

    def value(label, key):
        v = results[label][1].get(key)
        return "" if not v else f"{v[0]:.2f}" if v[1] <= STABLE else refused(v[1])
    builds = list(dict.fromkeys(build for _, build in keys))
    markdown(("times as fast", *(f"ViT-{label}, {build}" for label in labels for build in builds)),
             [(what, *(value(label, (what, build)) for label in labels for build in builds)) for what in dict.fromkeys(w for w, _ in keys)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="Ti,S,B")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--builds", default="gcc,clang", help="compilers to build mim with; those that are not installed are left out")
    parser.add_argument("--cpu", help="instruction set of mim; default: the best")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.3, help="least time of each turn; at least three encodes")
    arguments = parser.parse_args()
    labels, builds = arguments.models.split(","), {}
    if arguments.rounds < 3 or arguments.tries < 1:
        parser.error("at least 3 rounds and one try, or nothing would tell whether they agree")
    if not set(labels) <= MODELS.keys():
        parser.error(f"--models: choose from {','.join(MODELS)}")
    skipped = []
    for compiler in arguments.builds.split(","):
        if not shutil.which(compiler):
            skipped.append(f"mim by {compiler} (not installed)")
            continue
        folder = os.path.join(ROOT, "build", "peers-" + compiler)
        call("make", "-s", "-C", ROOT, "CC=" + compiler, "B=" + folder)
        builds[compiler] = os.path.join(folder, "mim")
    if not builds:
        parser.error("--builds: none of these compilers is installed")
    peers = []
    for peer in PEERS:
        lacking = [name for name in peer.needs if not importlib.util.find_spec(name)]
        if lacking:
            skipped.append(f"{peer.name} (pip install {' '.join(lacking)})")
        else:
            peers.append(peer)
    ours = [Mim(kind, build, binary, arguments.cpu) for build, binary in builds.items() for kind in ("f32", "q8", "q7", "q4")]

    load = os.getloadavg()[0]
    results = {int(n): {} for n in arguments.threads.split(",")}
    for label in labels:
        with tempfile.TemporaryDirectory() as folder:
            model = Model.of_timm(label, folder)
            for threads, of in results.items():
                alone = [Mim(kind, next(iter(builds)), next(iter(builds.values())), arguments.cpu, 1) for kind in ("f32", "q8", "q4")]
                of[label] = bench(model, label, threads, ours + peers + (alone if threads > 1 else []), arguments)
    with tempfile.TemporaryDirectory() as folder:
        model = Model.shipped(folder)
        small = hold(model, "the shipped model", 1, ours + peers)[1] if model else {}
        pictures = len(model.pictures) if model else 0
    from importlib.metadata import version
    versions = [f"{name} {version(name)}" for name in dict.fromkeys(n for p in peers for n in p.needs if n != "onnx_ir")]
    compilers = [call(compiler, "--version").splitlines()[0] for compiler in builds]
    print(f"{datetime.date.today()}; {cpu_name()}, {os.cpu_count()} processors, {platform.system()}; mim on {ours[0].last['cpu']}, by "
          f"{' and '.join(compilers)}; timm {timm.__version__}, {', '.join(versions)}. Up to {arguments.tries} times {arguments.rounds} rounds; "
          f"load when it began: {load:.1f}. ms: median of the rounds' fastest; cosine of a token to torch f32: mean, least.\n")
    for threads, of in results.items():
        report(threads, labels, of)
    if small:
        print(f"### The shipped model, {pictures} pictures\n")
        markdown(("what", "cosine"), [(name, f"{mean:.5f}, {least:.4f}") for name, (mean, least) in small.items()])
    for name in skipped:
        print(f"Left out: {name}.")


if __name__ == "__main__":
    main()
