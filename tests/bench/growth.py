"""How mim's time and memory grow with the picture.

    python tests/bench/growth.py [build/mim] [--models Ti,S,B] [--types f32,q8] [--sizes 224,336,448,672,896]
                                 [--cpu NAME] [--seconds 2]

ViT-*/16 with random weights, one thread. Times are those of the fastest encode: what else a shared machine does can only add.
Of peak: of the best that the same instructions did on registers alone, in turn with the encodes. The share of attention is that
of scores, softmax and values, by `mim bench --profile`. Prints Markdown, and fails if the arena grows faster than the tokens.
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
    parser.add_argument("--types", default="f32,q8")
    parser.add_argument("--sizes", default="224,336,448,672,896")
    parser.add_argument("--cpu")
    parser.add_argument("--seconds", default="2")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")]
    if len(sizes) < 3 or sizes != sorted(set(sizes)):
        parser.error("--sizes: at least three, ascending, or nothing would tell how the arena grows")
    if not os.access(arguments.mim, os.X_OK):
        sys.exit(f"growth.py: {arguments.mim} is not there; run make first")
    level = ["--cpu", arguments.cpu] if arguments.cpu else []
    steep = []
    with tempfile.TemporaryDirectory() as folder:
        for label in arguments.models.split(","):
            for kind in arguments.types.split(","):
                blob = blob_of(label, kind, arguments.mim, folder)
                runs = [json.loads(call(arguments.mim, "bench", blob, "--size", f"{size}x{size}", "--profile", "--json",
                                        "--seconds", arguments.seconds, *level)) for size in sizes]
                if label == arguments.models.split(",")[0] and kind == arguments.types.split(",")[0]:
                    print(f"{datetime.date.today()}; {cpu_name()}; mim on {runs[0]['cpu']}, one thread.\n")
                per_token = [run["arena_bytes"] / run["tokens"] for run in runs]
                for run, bytes_here in zip(runs, per_token):
                    if bytes_here > MORE * min(per_token[:runs.index(run) + 1]):
                        steep.append(f"ViT-{label} {kind}: {bytes_here:.0f} bytes a token at {run['height']} pixels, {min(per_token):.0f} at least")
                rows = []
                for run in runs:
                    p, gops = run["profile"], 2e-6 * run["macs"] / run["ms_min"]
                    rows.append((f"ViT-{label}/16", kind, str(run["height"]), str(run["tokens"]), f"{run['ms_min']:.1f}", f"{gops:.0f}",
                                 f"{100 * gops / run['peak_gops_max']:.0f} %", f"{100 * (p['scores'] + p['softmax'] + p['values']):.0f} %",
                                 f"{100 * p['softmax']:.0f} %", f"{run['arena_bytes'] / 1e6:.2f}", f"{run['arena_bytes'] / run['tokens']:.0f}"))
                markdown(("model", "type", "pixels", "tokens", "ms", "Gop/s", "of peak", "attention", "of it softmax", "arena, MB", "bytes a token"), rows)
    for line in steep:
        print(f"growth.py: the arena grows faster than the tokens: {line}", file=sys.stderr)
    return bool(steep)


if __name__ == "__main__":
    sys.exit(main())
