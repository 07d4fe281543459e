"""Makes the golden data anew and compares it with what is committed: texts, pictures, inputs and weights must be
the same, expectations within 1e-6 of their largest value. Prints one line a folder; exits 1 on a difference."""
import contextlib
import io
import os
import sys
import tempfile

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from make_golden import HERE, write_all


def difference(new, old):
    """What differs between two files, or nothing."""
    if new.endswith(".safetensors"):
        a, b = load_file(new), load_file(old)
        with safe_open(new, "np") as f, safe_open(old, "np") as g:
            if f.metadata() != g.metadata():
                return "other metadata"
        if a.keys() != b.keys():
            return "other tensor names"
        wrong = [k for k in a if a[k].dtype != b[k].dtype or not torch.equal(a[k], b[k])]
        return f"{wrong[0]} differs" if wrong else ""
    if new.endswith(".npy"):
        a, b = np.load(new), np.load(old)
        if a.dtype != b.dtype or a.shape != b.shape:
            return f"{a.dtype}{a.shape} instead of {b.dtype}{b.shape}"
        exact = a.dtype != np.float32 or os.path.basename(new).startswith("in")
        off = np.abs(a.astype(np.float64) - b).max() / max(np.abs(b).max(), 1e-30)
        return f"off by {off:.1e}" if off > (0 if exact else 1e-6) else ""
    with open(new, "rb") as f, open(old, "rb") as g:
        return "" if f.read() == g.read() else "other bytes"


def main():
    golden = os.path.join(HERE, "..", "golden")
    failed = 0
    with tempfile.TemporaryDirectory() as fresh:
        with contextlib.redirect_stdout(io.StringIO()):
            write_all(fresh)
        committed = {name for name in os.listdir(golden) if os.path.exists(os.path.join(golden, name, "cases.txt"))}
        for name in sorted(set(os.listdir(fresh)) | committed):
            a, b = os.path.join(fresh, name), os.path.join(golden, name)
            there = [set(os.listdir(d)) if os.path.isdir(d) else set() for d in (a, b)]
            there[1] = {f for f in there[1] if not f.endswith(".mim")}                # made by mim, not by the references
            wrong = [f"{f}: only in one of the two" for f in sorted(there[0] ^ there[1])]
            for f in sorted(there[0] & there[1]):
                why = difference(os.path.join(a, f), os.path.join(b, f))
                wrong += [f"{f}: {why}"] if why else []
            failed += bool(wrong)
            print(f"FAIL golden {name}: {wrong[0]}" if wrong else f"ok golden {name}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
