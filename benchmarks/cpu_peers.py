"""muntin beside timm, torchvision and transformers on a CPU: inference and training steps of one model a family.

    python benchmarks/cpu_peers.py [--threads 1] [--rounds 7] [--rows training] [--gate]

Needs the extras `train` and `peers`. All take turns in one process on the same pictures. The ratio is muntin's shortest
time over that of the fastest peer. With one thread CPU time is measured, which other processes on the machine disturb
less than the clock on the wall. A large matrix product runs along as a control: where its times spread, so do the rest.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from peers import LIBRARIES, NETWORKS, PEERS, Network, best, build, check, fastest_peer, inference, training_step
from tables import load, machine, markdown, publish, versions
from timing import Job, compare, interleave, milliseconds
from torch import nn

LIMIT = 1.25  # with --gate: the slowest that muntin may be, as a multiple of the fastest peer
CONTROL = 1024  # side of the control's matrices


def _inference_bf16(model: nn.Module, images: torch.Tensor) -> Job:
    return inference(model.to(torch.bfloat16), images.to(torch.bfloat16))


def _training_bf16(model: nn.Module, images: torch.Tensor) -> Job:
    return training_step(model, images, torch.arange(len(images)) % 1000)


WORK: dict[str, Callable[[nn.Module, torch.Tensor], Job]] = {
    "inference fp32": inference,
    "inference bf16 (weights cast)": _inference_bf16,
    "training step, bf16 autocast": _training_bf16,
}


def measure(network: Network, work: str, batch: int, rounds: int, warmup: int) -> dict[str, list[float]]:
    """Seconds of the better way of each library that has the network, round by round; and of the control."""
    torch.manual_seed(0)
    images = torch.randn(batch, 3, network.side, network.side)
    jobs: dict[str, Job] = {}
    for name in network.contenders:
        jobs[name] = WORK[work](build(network, name), images)
        check(f"{name} ({network.title}, {work})", jobs[name](), batch)
    square = torch.randn(CONTROL, CONTROL, dtype=torch.float32 if "fp32" in work else torch.bfloat16)
    jobs["control"] = lambda: square @ square
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds = interleave(jobs, rounds=rounds, warmup=warmup, clock=clock)
    for name in jobs:
        print(f"  {name:<20} {milliseconds(seconds[name])} ms", flush=True)
    return best(seconds) | {"control": seconds["control"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1, the steadiest)")
    parser.add_argument("--rounds", type=int, default=7, help="timed calls of each library (default 7)")
    parser.add_argument("--warmup", type=int, default=1, help="untimed calls before, beside the one that is checked")
    parser.add_argument("--batch", type=int, default=8, help="pictures a call (default 8)")
    parser.add_argument("--rows", default="", help="only rows whose title contains this, such as 'V2' or 'training'")
    parser.add_argument("--gate", action="store_true", help=f"exit with 1 when a ratio of minima is above {LIMIT}")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also put the table into this document")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    rows, slow, load_before = [], [], load()
    for network in NETWORKS:
        for work in WORK:
            title = f"{network.title}, {work}"
            if options.rows.lower() not in title.lower():
                continue
            print(title, flush=True)
            seconds = measure(network, work, options.batch, options.rounds, options.warmup)
            peer = fastest_peer(seconds)
            ratio = compare(seconds["muntin"], seconds[peer])
            print(f"  ratio to {peer}: {ratio}", flush=True)
            spread = max(seconds["control"]) / min(seconds["control"])
            times = [milliseconds(seconds[name]) if name in seconds else "" for name in LIBRARIES]
            rows.append([title, *times, peer, ratio, f"{spread:.2f}"])
            if ratio.of_minima > LIMIT:
                slow.append(f"{title}: {ratio.of_minima:.2f} x {peer}")
    if not rows:
        parser.error(f"no row's title contains '{options.rows}'")

    header = ["ms, median / minimum", *LIBRARIES, "fastest peer", "muntin / fastest peer", "control, max / min"]
    clock = "CPU time of the process" if options.threads == 1 else "wall-clock time"
    said = (
        f"{machine(options.threads)}, {versions(*PEERS)}. Batch {options.batch}, {options.rounds} interleaved rounds "
        f"after {options.warmup + 1} untimed calls, {clock}, plain eager mode. "
        f"Load average {load_before} before, {load()} after."
    )
    publish("cpu_peers", f"{markdown(header, rows)}\n\n{said}", options.markdown)
    if options.gate and slow:
        print("too slow (limit " + f"{LIMIT}): " + "; ".join(slow), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
