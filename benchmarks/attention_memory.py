"""Peak memory of forward and backward of one Swin V2 block with window 32, for each attention backend, on a CPU.

    python benchmarks/attention_memory.py [--grid 192] [--gate]

A 1536-pixel picture has a first stage of 384 x 384 cells; memory of the attention grows with the number of windows, so
192 x 192 (a quarter) stands in for it on small machines. Each backend has a process of its own, and is measured
twice there: growth of the resident set, as the system sees it (Linux), and bytes of all live tensors, counted at every
operation, which is the same on every machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
import weakref
from pathlib import Path

import torch
from tables import machine, markdown, publish
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from muntin import create_backbone

BACKENDS = ("reference", "sdpa", "direct", "chunked")
LIMIT = 1 / 3  # with --gate: chunked stays below this share of reference
MIB = 2**20


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of every storage that an operation returns, from then until it is freed."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        inputs = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in inputs | self._known:
                    self._add(storage)
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        self._known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


def measure(backend: str, shifted: bool, options: argparse.Namespace) -> dict[str, float]:
    """Peaks in bytes and the CPU seconds of forward and backward, in this process."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    window = (options.window, options.window)
    backbone = create_backbone(
        "swin_v2_tiny_window8", dim=options.dim, depths=(2,), heads=(options.heads,), window=window
    )
    backbone.set_attention(backend)
    block = backbone.stages[0][1 if shifted else 0]

    def run(side: int) -> None:
        x = torch.randn(1, side, side, options.dim, requires_grad=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
            out = block(x)
        out.backward(torch.ones_like(out))
        block.zero_grad()

    run(2 * options.window)  # what is made once: threads, caches, kernels
    before = _resident_bytes()
    start = time.process_time()
    run(options.grid)
    seconds = time.process_time() - start
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    with LiveBytes() as counter:
        run(options.grid)
    return {"resident": resident, "live": counter.peak, "seconds": seconds}


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", type=int, default=192, help="cells a side (default 192)")
    parser.add_argument("--window", type=int, default=32, help="cells a side of a window (default 32)")
    parser.add_argument("--dim", type=int, default=96, help="channels (default 96)")
    parser.add_argument("--heads", type=int, default=3, help="attention heads (default 3)")
    parser.add_argument("--bf16", action="store_true", help="under bf16 autocast instead of fp32")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--gate", action="store_true", help="exit with 1 unless chunked is below a third of reference")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also put the table into this document")
    parser.add_argument(
        "--only", help=argparse.SUPPRESS
    )  # "backend 0" or "backend 1" (shifted): the process of one row
    options = parser.parse_args()
    if options.only:
        backend, shifted = options.only.split()
        print(json.dumps(measure(backend, shifted == "1", options)))
        return 0

    rows, failed = [], []
    for shifted in (False, True):
        found: dict[str, dict[str, float]] = {}
        for backend in BACKENDS:
            command = [sys.executable, __file__, *sys.argv[1:], "--only", f"{backend} {int(shifted)}"]
            found[backend] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            one, whole = found[backend], found["reference"]
            shares = {what: one[what] / whole[what] for what in ("resident", "live")}
            cells = [f"{one[what] / MIB:.0f} ({shares[what]:.2f})" for what in ("resident", "live")]
            rows.append(["shifted" if shifted else "plain", backend, *cells, f"{one['seconds']:.1f}"])
            print("  ".join(rows[-1]), flush=True)
            if backend == "chunked" and max(shares.values()) >= LIMIT:
                failed.append(f"{rows[-1][0]}: {max(shares.values()):.2f} of reference")

    header = ["windows", "backend", "MiB resident (share of reference)", "MiB live tensors (share)", "CPU seconds"]
    precision = "bf16 autocast" if options.bf16 else "fp32"
    said = (
        f"One block, {options.grid} x {options.grid} cells, window {options.window}, {options.dim} channels, "
        f"{options.heads} heads, one picture, {precision}. {machine(options.threads)}."
    )
    publish("attention_memory", f"{markdown(header, rows)}\n\n{said}", options.markdown)
    if options.gate and failed:
        print(f"chunked needs too much memory (limit {LIMIT:.2f}): " + "; ".join(failed), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
