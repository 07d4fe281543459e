"""mim beside other ways to run the same Vision Transformers on this CPU, one thread each.

    python tests/bench/peers.py [build/mim] [--models Ti,S,B] [--rounds 7] [--seconds 1]

Each model is one random timm ViT-*/16 at 224, converted for every peer from the same weights, and each peer's tokens
are compared with the others' before anything is timed. The peers then run in turn, round after round, so that all
see the same machine; a ratio is the median of the rounds' ratios, and is not given if they lie more than 10 % apart.
Prints Markdown.
"""
import argparse
import datetime
import json
import os
import platform
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
sys.path.insert(0, os.path.join(HERE, "..", "reference"))
sys.dont_write_bytecode = True

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime  # noqa: E402
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


def median_ms(run, seconds):
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


class Mim:
    """mim with one of its types; times itself."""

    def __init__(self, kind):
        self.kind, self.name = kind, f"mim {kind}"
        self.bound = {"f32": 1e-4}.get(kind)

    def version(self):
        return ""

    def prepare(self, net, x, folder):
        checkpoint = os.path.join(folder, "timm")
        if not os.path.isdir(checkpoint):
            timm.models.save_for_hf(net, checkpoint, safe_serialization=True)
        self.blob = os.path.join(folder, self.kind + ".mim")
        call(self.mim, "convert", os.path.join(checkpoint, "model.safetensors"), "--type", self.kind, "-o", self.blob)
        source, target = os.path.join(folder, "x.npy"), os.path.join(folder, "tokens.npy")
        np.save(source, x)
        call(self.mim, "encode", self.blob, source, "--out", "tokens", "-o", target)
        return np.load(target)

    def measure(self, seconds):
        self.last = json.loads(call(self.mim, "bench", self.blob, "--threads", "1", "--seconds", str(seconds), "--json"))
        return self.last["ms_median"]


class OnnxRuntime:
    """onnxruntime's CPU provider with all its graph optimisations, on the graph torch.onnx exports."""
    name, bound = "onnxruntime f32", 1e-4

    def version(self):
        return f"onnxruntime {onnxruntime.__version__}, onnx {onnx.__version__}"

    def prepare(self, net, x, folder):
        path = os.path.join(folder, "model.onnx")
        timm.layers.set_fused_attn(False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(Tokens(net), (torch.from_numpy(x),), path, input_names=["x"], output_names=["tokens"],
                              opset_version=17, dynamo=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.feed = {"x": x}
        return self.session.run(None, self.feed)[0]

    def measure(self, seconds):
        return median_ms(lambda: self.session.run(None, self.feed), seconds)


# A peer has name, bound (largest difference from the first peer's tokens, of the largest; None: quantized),
# version(), prepare(net, x, folder) -> tokens, and measure(seconds) -> milliseconds a picture.
PEERS = [Mim("f32"), Mim("q8"), OnnxRuntime()]

# (what, numerator, denominator): below 1 the first is faster.
RATIOS = [("mim f32 / onnxruntime f32", "mim f32", "onnxruntime f32"),
          ("mim q8 / onnxruntime f32", "mim q8", "onnxruntime f32"),
          ("mim q8 / mim f32", "mim q8", "mim f32")]


def call(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"peers.py: {' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def spread(values):
    return (max(values) - min(values)) / statistics.median(values)


def cpu_name():
    try:
        with open("/proc/cpuinfo") as f:
            return next(line.split(":", 1)[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def random_net(name):
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=0).eval()


def bench(label, arguments, folder):
    net = random_net(MODELS[label])
    x = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)
    expected = Tokens(net)(torch.from_numpy(x)).numpy()
    for peer in PEERS:
        tokens = peer.prepare(net, x, folder).reshape(expected.shape)
        off = np.abs(tokens - expected).max() / np.abs(expected).max()
        cosine = (tokens * expected).sum(-1) / np.linalg.norm(tokens, axis=-1) / np.linalg.norm(expected, axis=-1)
        if peer.bound and not off < peer.bound or not cosine.min() > 0.9:
            sys.exit(f"peers.py: {peer.name} computes something else on ViT-{label}/16: "
                     f"off by {off:.1e}, cosine {cosine.min():.4f}")
        peer.measure(max(0.2, arguments.seconds / 4))
    rounds = {peer.name: [] for peer in PEERS}
    for _ in range(arguments.rounds):
        for peer in PEERS:
            rounds[peer.name].append(peer.measure(arguments.seconds))

    table = [(f"ViT-{label}/16", peer.name, f"{statistics.median(rounds[peer.name]):.2f}", f"{min(rounds[peer.name]):.2f}",
              f"{100 * spread(rounds[peer.name]):.0f} %",
              f"{100 * peer.last['of_peak']:.0f} %" if isinstance(peer, Mim) else "") for peer in PEERS]
    ratios = []
    for what, a, b in RATIOS:
        each = [p / q for p, q in zip(rounds[a], rounds[b])]
        far = spread(each)
        value = f"{statistics.median(each):.3f}" if far <= STABLE else f"unstable (rounds {100 * far:.0f} % apart)"
        ratios.append((f"ViT-{label}/16", what, value))
    for peer in PEERS:
        if isinstance(peer, Mim) and "open_ms" in peer.last:
            ratios.append((f"ViT-{label}/16", f"mim_open, {peer.kind}", f"{peer.last['open_ms']:.3f} ms"))
    return table, ratios


def markdown(head, rows):
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mim", nargs="?", default=os.path.normpath(os.path.join(HERE, "..", "..", "build", "mim")))
    parser.add_argument("--models", default="Ti,S,B")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    arguments = parser.parse_args()
    labels = arguments.models.split(",")
    if arguments.rounds < 3:
        parser.error("--rounds: at least 3, or nothing would tell whether they agree")
    if not set(labels) <= MODELS.keys():
        parser.error(f"--models: choose from {','.join(MODELS)}")
    if not os.access(arguments.mim, os.X_OK):
        print(f"skip peers: {os.path.relpath(arguments.mim)} is not there; run make first")
        return
    Mim.mim = arguments.mim
    torch.set_num_threads(1)

    load = os.getloadavg()[0]
    table, ratios = [], []
    for label in labels:
        with tempfile.TemporaryDirectory() as folder:
            t, r = bench(label, arguments, folder)
        table += t
        ratios += r
    versions = [f"torch {torch.__version__}, timm {timm.__version__}"] + [p.version() for p in PEERS if p.version()]
    print(f"{datetime.date.today()}, {cpu_name()}, {platform.system()} {platform.machine()}, mim on {PEERS[0].last['cpu']}; "
          f"{'; '.join(versions)}; one thread each; {arguments.rounds} rounds of {arguments.seconds:g} s in turn; "
          f"load when it began: {load:.1f}.\n")
    markdown(("model", "what", "ms, median of rounds", "ms, least", "rounds apart", "of peak"), table)
    markdown(("model", "ratio", "value"), ratios)


if __name__ == "__main__":
    main()
