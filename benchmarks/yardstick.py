"""How fast this machine is: the seconds of one fixed training step of Swin-T, to be read beside every absolute time.

    python benchmarks/yardstick.py [--steps 5]

The step is forward, cross-entropy, backward and AdamW on 8 pictures of 224 pixels, in fp32, on two threads. The network
is Swin-T in plain PyTorch, written out here: it stays the same when muntin gets faster, and needs torch alone.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

THREADS, BATCH, SIDE, WINDOW = 2, 8, 224, 7
INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "sve", "bf16")  # those that decide a matmul's speed


def yardstick(steps: int = 5) -> str:
    """`yardstick 1.42 s (1.40 to 1.47)`, the median of some steps and their range, and on which processor."""
    seconds = measure(steps)
    spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
    return f"yardstick {statistics.median(seconds):.2f} s ({spread}) on {processor()}"


def measure(steps: int = 5) -> list[float]:
    """Seconds of each of some training steps, after one that is not counted. The caller's threads and draws stay."""
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        with torch.random.fork_rng(devices=[]):
            return _seconds(steps)
    finally:
        torch.set_num_threads(threads)


def _seconds(steps: int) -> list[float]:
    torch.manual_seed(0)
    model = SwinTiny()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    images, labels = torch.randn(BATCH, 3, SIDE, SIDE), torch.arange(BATCH)
    seconds = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def processor() -> str:
    """The processor's name and the instruction sets that matter here, such as `AMD EPYC (avx2, avx512_bf16)`."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    about = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    found = (about.get("flags") or about.get("Features") or "").split()  # of x86, of ARM
    sets = [name for name in INSTRUCTION_SETS if name in found] or [torch.backends.cpu.get_cpu_capability()]
    return f"{about.get('model name') or platform.processor() or platform.machine()} ({', '.join(sets)})"


# --- Swin-T, under the official names ---------------------------------------------------------------------------------


class SwinTiny(nn.Module):
    """The classifier of 1000 classes, without drop path; (B, 3, 224, 224) -> (B, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, 96, 4, 4), "norm": nn.LayerNorm(96)})
        self.layers = nn.ModuleList(Stage(96 * 2**s, 3 * 2**s, depth, s < 3) for s, depth in enumerate((2, 2, 6, 2)))
        self.norm, self.head = nn.LayerNorm(768), nn.Linear(768, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed["norm"](self.patch_embed["proj"](x).permute(0, 2, 3, 1))
        for stage in self.layers:
            x = stage(x)
        return self.head(self.norm(x).mean((1, 2)))


class Stage(nn.Module):
    """Blocks of one size, then four neighbours merged into one; the last stage has no merging."""

    def __init__(self, dim: int, heads: int, depth: int, merge: bool):
        super().__init__()
        side = SIDE * 24 // dim  # 96 channels at a quarter of the picture
        shifts = [WINDOW // 2 if b % 2 and side > WINDOW else 0 for b in range(depth)]
        self.blocks = nn.ModuleList(Block(dim, heads, side, shift) for shift in shifts)
        self.downsample = None
        if merge:
            reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
            self.downsample = nn.Sequential()
            self.downsample.add_module("norm", nn.LayerNorm(4 * dim))
            self.downsample.add_module("reduction", reduction)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        if self.downsample is None:
            return x
        quarters = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return self.downsample(torch.cat(quarters, -1))


class Block(nn.Module):
    """Window attention and an MLP, each behind a norm and beside a residual path; (B, H, W, C) -> (B, H, W, C)."""

    def __init__(self, dim: int, heads: int, side: int, shift: int):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim), Attention(dim, heads, side, shift)
        self.norm2, self.mlp = nn.LayerNorm(dim), nn.Sequential()
        for name, part in (("fc1", nn.Linear(dim, 4 * dim)), ("act", nn.GELU()), ("fc2", nn.Linear(4 * dim, dim))):
            self.mlp.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Attention(nn.Module):
    """Attention in windows of 7 x 7 with a table of relative positions, on a map that is rolled by `shift`."""

    def __init__(self, dim: int, heads: int, side: int, shift: int):
        super().__init__()
        self.heads, self.shift = heads, shift
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.relative_position_bias_table = nn.Parameter(0.02 * torch.randn((2 * WINDOW - 1) ** 2, heads))
        cells = torch.cartesian_prod(torch.arange(WINDOW), torch.arange(WINDOW))
        offset = (cells[:, None] - cells + WINDOW - 1) * torch.tensor([2 * WINDOW - 1, 1])
        self.register_buffer("index", offset.sum(-1), persistent=False)
        part = torch.bucketize(torch.arange(side), torch.tensor([side - WINDOW, side - shift]), right=True)
        region = windows((3 * part[:, None] + part)[None, :, :, None])[..., 0]
        mask = -100.0 * (region[:, None] != region[:, :, None])[:, None]
        self.register_buffer("mask", mask if shift else None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        B, H, W, C = x.shape
        x = windows(x.roll((-self.shift, -self.shift), (1, 2)) if self.shift else x)  # (B * nW, N, C)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        bias = self.relative_position_bias_table[self.index].permute(2, 0, 1)
        bias = bias.expand(len(x), -1, -1, -1) if self.mask is None else (bias + self.mask).repeat(B, 1, 1, 1)
        x = F.scaled_dot_product_attention(q, k, v, bias).transpose(1, 2).flatten(2)
        x = x.view(B, H // WINDOW, W // WINDOW, WINDOW, WINDOW, C).transpose(2, 3).reshape(B, H, W, C)
        return self.proj(x.roll((self.shift, self.shift), (1, 2)) if self.shift else x)


def windows(x: Tensor) -> Tensor:
    """(B, H, W, C) -> (B * nW, N, C)."""
    B, H, W, C = x.shape
    x = x.view(B, H // WINDOW, WINDOW, W // WINDOW, WINDOW, C).transpose(2, 3)
    return x.reshape(-1, WINDOW * WINDOW, C)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5, help="timed steps, of which the median counts (default 5)")
    print(yardstick(parser.parse_args().steps))
    step = f"a training step of Swin-T, batch {BATCH}, {SIDE} px, fp32, AdamW, {THREADS} threads"
    print(f"{step}; torch {torch.__version__}")


if __name__ == "__main__":
    main()
