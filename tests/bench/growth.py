"""How mim's time and memory grow with the picture.

    python tests/bench/growth.py [build/mim] [--models Ti,S,B] [--types f32,f16,q8,q7,q4] [--sizes 224,448,896] [--cpu NAME]
                                 [--seconds 1]

ViT-*/16 with random weights, one thread; `--models B` takes about five minutes on a machine of its own. Times are those of the
fastest encode: what else a shared machine does can only add. Of peak: of the best that the same instructions did on registers
alone, in turn with the encodes; kept: that, as a part of what it was at the first size. Attention: the share of scores, softmax
and values, by `mim bench --profile`; softmax: its part of the whole. Prints one Markdown table, and fails if the arena grows
faster than the tokens.
"""
import argparse
import datetime
import json
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

from peers import MODELS, call, cpu_name, markdown, timm, torch  # noqa: E402

MORE = 1.05         # times as many bytes a token as a smaller picture takes are too many: rows are rounded up to tiles


def blob_of(label, kind, mim, folder):
    checkpoint, blob = os.path.join(folder, label), os.path.join(folder, f"{label}.{kind}.mim")
    if not os.path.isdir(checkpoint):
        torch.manual_seed(0)
        timm.models.save_for_hf(timm.create_model(MODELS[label], num_classes=0), checkpoint, safe_serialization=True)
    call(mim, "convert", os.path.join(checkpoint, "model.safetensors"), "--type", kind, "-o", blob)
    return blob


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mim", nargs="?", default=os.path.normpath(os.path.join(HERE, "..", "..", "build", "mim")))
    parser.add_argument("--models", default="Ti,S,B")
    parser.add_argument("--types", default="f32,f16,q8,q7,q4")
    parser.add_argument("--sizes", default="224,448,896")
    parser.add_argument("--cpu")
    parser.add_argument("--seconds", default="1")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")]
    if len(sizes) < 3 or sizes != sorted(set(sizes)):
        parser.error("--sizes: at least three, ascending, or nothing would tell how the arena grows")
    if not os.access(arguments.mim, os.X_OK):
        sys.exit(f"growth.py: {arguments.mim} is not there; run make first")
    level = ["--cpu", arguments.cpu] if arguments.cpu else []
    models, kinds = arguments.models.split(","), arguments.types.split(",")
    steep, rows, cpu = [], [], None
    with tempfile.TemporaryDirectory() as folder:
        for label, kind in ((label, kind) for label in models for kind in kinds):
            blob = blob_of(label, kind, arguments.mim, folder)
            runs = [json.loads(call(arguments.mim, "bench", blob, "--size", f"{size}x{size}", "--profile", "--json",
                                    "--seconds", arguments.seconds, *level)) for size in sizes]
            os.remove(blob)
            cpu = runs[0]["cpu"]
            per_token = [run["arena_bytes"] / run["tokens"] for run in runs]
            of_peak = [2e-6 * run["macs"] / run["ms_min"] / run["peak_gops_max"] for run in runs]
            for i, run in enumerate(runs):
                if per_token[i] > MORE * min(per_token[:i + 1]):
                    steep.append(f"ViT-{label} {kind}: {per_token[i]:.0f} bytes a token at {run['height']} pixels, {min(per_token):.0f} at least")
                p = run["profile"]
                rows.append((f"ViT-{label}/16", kind, str(run["height"]), str(run["tokens"]), f"{run['ms_min']:.1f}",
                             f"{100 * of_peak[i]:.0f} %", f"{100 * of_peak[i] / of_peak[0]:.0f} %",
                             f"{100 * (p['scores'] + p['softmax'] + p['values']):.0f} %", f"{100 * p['softmax']:.0f} %",
                             f"{run['arena_bytes'] / 1e6:.1f}"))
    print(f"{datetime.date.today()}; {cpu_name()}; mim on {cpu}, one thread.\n")
    markdown(("model", "type", "pixels", "tokens", "ms", "of peak", "kept", "attention", "softmax", "arena, MB"), rows)
    for line in steep:
        print(f"growth.py: the arena grows faster than the tokens: {line}", file=sys.stderr)
    return bool(steep)


if __name__ == "__main__":
    sys.exit(main())
