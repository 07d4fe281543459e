"""What a type or integer numerics cost where features are used: nearest neighbours on two folders of pictures.

    python3 tests/bench/knn.py TRAIN TEST MODEL.mim... [--most 1000] [--k 20] [--mim build/mim]

TRAIN and TEST hold a folder a class (as CIFAR-10 and Imagenette are published). Every model encodes all of TRAIN and the first
--most of TEST, class by class in turn; a picture is told by its k nearest of TRAIN, by the cosine of pooled features, each voting
exp(cosine / 0.07). Prints for each model the share that is right and how near its tokens are to those of the first model: give
the f32 one first. Needs numpy and pillow.
"""
import argparse
import os
import subprocess
import tempfile

import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))


def pictures(folder, most, to):
    """Decoded once, so that every model sees the same bytes; (list file, labels)."""
    classes = sorted(os.listdir(folder))
    files = [sorted(os.listdir(os.path.join(folder, c))) for c in classes]
    chosen = [(label, files[label][i]) for i in range(max(map(len, files))) for label in range(len(classes)) if i < len(files[label])][:most]
    os.mkdir(to)
    with open(to + ".txt", "w", encoding="utf-8") as names:
        for n, (label, file) in enumerate(chosen):
            path = os.path.join(to, f"{n:06}.ppm")
            Image.open(os.path.join(folder, classes[label], file)).convert("RGB").save(path)
            names.write(path + "\n")
    return to + ".txt", np.array([label for label, _ in chosen])


def unit(x):
    x = x.astype(np.float32)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def encode(mim, model, names, out):
    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, "out.npy")
        subprocess.run([mim, "encode", model, "@" + names, "--out", out, "-o", target, "--threads", "2"], check=True, stderr=subprocess.DEVNULL)
        return unit(np.load(target))


def right(train, labels, test, truth, k):
    told = []
    for rows in np.array_split(test, max(1, len(test) // 500)):
        near = rows @ train.T
        best = np.argpartition(-near, k, axis=1)[:, :k]
        votes = np.zeros((len(rows), labels.max() + 1))
        for column in range(k):
            np.add.at(votes, (np.arange(len(rows)), labels[best[:, column]]), np.exp(np.take_along_axis(near, best[:, column:column + 1], 1)[:, 0] / 0.07))
        told.append(votes.argmax(1))
    return (np.concatenate(told) == truth).mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--most", type=int, default=1000)
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--mim", default=os.path.join(HERE, "..", "..", "build", "mim"))
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        train, labels = pictures(a.train, None, os.path.join(folder, "train"))
        test, truth = pictures(a.test, a.most, os.path.join(folder, "test"))
        print(f"{len(labels)} pictures to learn from, {len(truth)} to tell, k = {a.k}\n\n| model | right | tokens' cosine, mean | least |\n|---|---|---|---|")
        first = None
        for model in a.models:
            tokens = encode(a.mim, model, test, "tokens")
            first = tokens if first is None else first
            cosine = (tokens * first).sum(-1)
            share = right(encode(a.mim, model, train, "pooled"), labels, encode(a.mim, model, test, "pooled"), truth, a.k)
            print(f"| {os.path.basename(model)} | {100 * share:.2f} % | {cosine.mean():.6f} | {cosine.min():.4f} |", flush=True)


if __name__ == "__main__":
    main()
