#!/usr/bin/env python3
"""Integer numerics once more, in numpy, from what mim.h says of them: an oracle for blobs of `mim convert --numerics integer`.

    integer.py MIM MODEL.mim...     (MIM: the tool)

Every model encodes pictures of random bytes, black, white and noise, all and some of their patches; tokens, pooled features and
logits must equal the tool's to the bit. All is computed in 64 bits, and that it fits the 32 that C has is asserted.
"""
import os
import struct
import subprocess
import sys
import tempfile
from types import SimpleNamespace
import numpy as np

EMBED, ATTENTION, MLP, NORM, POOL, HEAD, UNMASK = range(1, 8)
HEADER = struct.Struct("<8sIIQQ28I16f16fQ64s16s16s48s24s64s")
STEP = struct.Struct("<HH12H7I4f10B10H2sQ16s")
TENSOR = struct.Struct("<QII6B10s")
FIELDS = ("steps tensors decoder type numerics channels height width patch_height patch_width frames patch_frames groups coordinates "
          "unit_height unit_width dim depth has_cls registers pooled classes decoder_dim norm_pix resize filter edge reserved").split()
assert (HEADER.size, STEP.size, TENSOR.size) == (512, 128, 32)
EXP = np.floor(255 * 2.0 ** (-9 * np.arange(256) / 255) + 0.5).astype(np.int64)
SEED = (2287070249, 1304596316)


# ---- arithmetic -------------------------------------------------------------------------------------------------------

def fits(x, bits=31):
    assert -(1 << bits) <= x.min() and x.max() < 1 << bits, (int(x.min()), int(x.max()))
    return x


def clamp(x, low, high):
    return np.minimum(np.maximum(x, low), high)


def saturate(x):
    return clamp(x, -32768, 32767)


def product(a, b):
    """Exact: below 2^53."""
    return fits((a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64))


def scaled(a, m):
    return (a * m + (1 << 31)) >> 32


def rsqrt(v):
    """r and h with 1 / sqrt(v) = r 2^(h - 61)."""
    v, h = v.astype(np.uint64), np.zeros(v.shape, np.int64)
    for n in (16, 8, 4, 2, 1):
        small = v < np.uint64(1 << (64 - 2 * n))
        v = np.where(small, v << np.uint64(2 * n), v)
        h += n * small
    u = v >> np.uint64(32)
    r = np.uint64(SEED[0]) - (u * np.uint64(SEED[1]) >> np.uint64(32))
    for _ in range(3):
        r = r * (np.uint64(3 << 28) - ((r * r >> np.uint64(32)) * u >> np.uint64(32))) >> np.uint64(29)
    return (r >> np.uint64(1)).astype(np.int64), h


def normalise(x, variance):
    dim = x.shape[-1]
    bits = (dim - 1).bit_length()
    a, q = 15 - bits, 15 - (bits + 1) // 2
    total = x.sum(-1, keepdims=True)
    r, h = rsqrt(fits(dim * (x * x).sum(-1, keepdims=True) - total * total + variance, 62))
    shift = a + 29 - q - h
    return fits((((fits((dim << a) * x - (total << a)) * r) >> 32) + ((1 << shift) >> 1)) >> shift, 15)


def requantize(t, c, low, high):
    return clamp(fits(t * c.gain + c.offset) >> c.k, low, high)


def linear(a, m):
    return scaled(fits(product(a, m.weight.T) + m.bias), m.rate)


# ---- a blob -----------------------------------------------------------------------------------------------------------

class Model:
    def __init__(self, path):
        self.blob = open(path, "rb").read()
        field = HEADER.unpack_from(self.blob)
        self.h = h = SimpleNamespace(**dict(zip(FIELDS, field[5:33])))
        self.mean, self.std = np.float32(field[33:49]), np.float32(field[49:65])
        assert h.numerics == 2
        raw = [STEP.unpack_from(self.blob, 512 + i * STEP.size) for i in range(h.steps)]
        self.directory = 512 + h.steps * STEP.size
        self.steps = [SimpleNamespace(kind=r[0], slot=r[2:14], rule=r[14], heads=r[16], head_dim=r[17], scale=np.float32(r[22]),
                                      key_max=r[25], value_max=r[26], variance=r[46]) for r in raw]

    def tensor(self, step, slot):
        return TENSOR.unpack_from(self.blob, self.directory + (step.slot[slot] - 1) * TENSOR.size)

    def plain(self, step, slot, kind):
        if not step.slot[slot]:
            return None
        at, rows, columns = self.tensor(step, slot)[:3]
        return np.frombuffer(self.blob, kind, rows * columns, at).reshape(rows, columns).astype(np.int64)

    def channels(self, step, slot):
        gain, offset = self.plain(step, slot, "<i4")
        return SimpleNamespace(gain=gain, offset=offset, k=self.tensor(step, slot)[8])

    def matrix(self, step, slot, rows=None):
        at, n, k, kind, layout, _, _, group = self.tensor(step, slot)[:8]
        n16, k32 = (n + 15) // 16 * 16, (k + 31) // 32 * 32
        if kind == 4:
            groups = (k32 + group - 1) // group
            panels = np.frombuffer(self.blob, np.uint8, n16 // 16 * 8 * (k32 + groups), at).reshape(n16 // 16, -1).astype(np.int64)
            halves = panels[:, :8 * k32].reshape(-1, k32 // 8, 1, 16, 4) >> np.array([0, 4]).reshape(2, 1, 1) & 15
            factors = panels[:, 8 * k32:].reshape(-1, groups, 1, 8) >> np.array([0, 4]).reshape(2, 1) & 15
            w = (halves - 8).transpose(0, 3, 1, 2, 4).reshape(n16, k32)
            w = w * np.repeat(factors.reshape(-1, groups, 16).transpose(0, 2, 1).reshape(n16, groups), group, 1)[:, :k32]
            at += panels.size
        elif layout == 2:
            w = np.frombuffer(self.blob, np.uint8, n16 * k32, at).reshape(n16 // 2, k32 // 16, 2, 16).transpose(0, 2, 1, 3)
            w = w.reshape(n16, k32).astype(np.int64) - 128
            at += n16 * k32
        else:
            w = np.frombuffer(self.blob, np.int8, n16 * k32, at).reshape(n16 // 16, k32 // 4, 16, 4).transpose(0, 2, 1, 3)
            w = w.reshape(n16, k32).astype(np.int64)
            at += n16 * k32
        rate, total, bias = np.frombuffer(self.blob, "<i4", 3 * n16, at).reshape(3, n16).astype(np.int64)
        assert (w.sum(1) == total).all() and not w[:, k:].any() and not w[n:].any()
        rows = np.arange(n) if rows is None else rows
        return SimpleNamespace(weight=w[rows][:, :k], rate=rate[rows], bias=bias[rows])

    # ---- its steps ----

    def embed(self, s, pixels, keep):
        h, prefix = self.h, self.plain(s, 1, "<i2")
        n, ph, pw = len(pixels), h.patch_height, h.patch_width
        rows = pixels.reshape(n, h.channels, h.height // ph, ph, h.width // pw, pw).transpose(0, 2, 4, 1, 3, 5)
        rows = rows.reshape(n, -1, h.channels * ph * pw).astype(np.int64)
        positions, two = self.plain(s, 2, "<i2"), self.matrix(s, 0)
        half = len(two.rate) // 2
        m = SimpleNamespace(weight=(127 * two.weight[:half] + two.weight[half:])[:h.dim], rate=two.rate[:h.dim], bias=two.bias[:h.dim])
        if keep is not None:
            rows, positions = rows[:, keep], positions[keep]
        x = saturate(linear(rows, m) + positions)
        return x if prefix is None else np.concatenate([np.broadcast_to(prefix, (n,) + prefix.shape), x], 1)

    def attention(self, s, x):
        n, tokens, _ = x.shape
        wide = (s.head_dim + 15) // 16 * 16
        rows = (np.arange(3 * s.heads)[:, None] * wide + np.arange(s.head_dim)).reshape(-1)
        a = requantize(normalise(x, s.variance), self.channels(s, 0), 0, 255)
        qkv = linear(a, self.matrix(s, 1, rows)).reshape(n, tokens, s.heads, 3, -1).transpose(3, 0, 2, 1, 4)
        q, k, v = clamp(qkv[0], -128, 127), clamp(qkv[1], -s.key_max, s.key_max), clamp(qkv[2], -s.value_max, s.value_max)
        octaves, share = self.plain(s, 6, "<u4")
        scores = product(q, k.swapaxes(-1, -2))
        octaves = octaves[:, None, None]
        p = EXP[np.minimum((scores.max(-1, keepdims=True) + (1 << 31) // (octaves | 1) - scores) * octaves >> 32, 255)]
        total = p.sum(-1, keepdims=True)
        rate = (share[:, None, None] + total // 2) // total
        o = clamp(scaled(fits(4 * product(p, v)), rate), -128, 127) + 128
        return saturate(x + linear(o.transpose(0, 2, 1, 3).reshape(n, tokens, -1), self.matrix(s, 2)))

    def mlp(self, s, x):
        a = requantize(normalise(x, s.variance), self.channels(s, 0), 0, 255)
        g = self.plain(s, 4, "<u2")[0][clamp(linear(a, self.matrix(s, 1)), 0, 1023)]
        y = np.minimum(g * self.plain(s, 5, "<i4")[0, :g.shape[-1]] + (1 << 15) >> 16, 255)
        return saturate(x + linear(y, self.matrix(s, 2)))

    def pool(self, s, x):
        prefix = self.h.has_cls + self.h.registers
        part = x[:, 0 if s.rule == 3 else prefix:]
        count = part.shape[1]
        mean = (part.sum(1) + 32768 * count + count // 2) // count - 32768
        y = x[:, 0] if s.rule == 1 else np.concatenate([x[:, 0], mean], 1) if s.rule == 4 else mean
        return requantize(normalise(y, s.variance), self.channels(s, 0), -32768, 32767) if s.slot[0] else y

    def encode(self, pixels, keep=None):
        out, scale = {}, None
        for s in self.steps[:self.h.decoder]:
            if s.kind == EMBED:
                x, scale = self.embed(s, pixels, keep), s.scale
            elif s.kind == ATTENTION:
                x = self.attention(s, x)
            elif s.kind == MLP:
                x = self.mlp(s, x)
            elif s.kind == NORM:
                x, scale = requantize(normalise(x, s.variance), self.channels(s, 0), -32768, 32767), s.scale
            elif s.kind == POOL:
                pooled = self.pool(s, x)
                out["pooled"] = pooled.astype(np.float32) * s.scale
            else:
                bytes_in = requantize(pooled, self.channels(s, 1), 0, 255)
                out["logits"] = saturate(linear(bytes_in, self.matrix(s, 0))).astype(np.float32) * s.scale
        out["tokens"] = x.astype(np.float32) * scale
        return out


def check(tool, path):
    m = Model(path)
    h, rng = m.h, np.random.default_rng(1)
    shape = (h.channels, h.height, h.width)
    smooth = rng.integers(0, 256, (3, h.channels, 1, 1)) + rng.integers(-20, 20, (3,) + shape)
    pixels = np.stack([*np.clip(smooth, 0, 255), np.zeros(shape), np.full(shape, 255), rng.integers(0, 2, shape) * 255]).astype(np.uint8)
    c = h.channels
    planes = (pixels.astype(np.float32) / 255 - m.mean[:c, None, None]) / m.std[:c, None, None]
    patches = (h.height // h.patch_height) * (h.width // h.patch_width)
    keep = rng.permutation(patches)[:(patches + 3) // 4].astype(np.int32)
    with tempfile.TemporaryDirectory() as folder:
        files = [os.path.join(folder, name) for name in ("in.npy", "keep.npy", "out.npy")]
        np.save(files[0], planes.astype(np.float32))
        np.save(files[1], keep)
        for some in (None, keep):
            for name, expected in m.encode(pixels, some).items():
                subprocess.run([tool, "encode", path, files[0], "-o", files[2], "--out", name] + (["--keep", files[1]] if some is not None else []),
                               check=True)
                if not np.array_equal(np.load(files[2]).reshape(expected.shape), expected):
                    return f"{name}{'' if some is None else ' of some patches'} differ"
    return None


def main():
    failed = 0
    for path in sys.argv[2:]:
        why = check(sys.argv[1], path)
        print(f"FAIL integer oracle, {os.path.basename(path)}: {why}" if why else f"ok integer oracle, {os.path.basename(path)}")
        failed |= why is not None
    return failed


if __name__ == "__main__":
    sys.exit(main())
