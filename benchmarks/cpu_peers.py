"""muntin beside timm, torchvision and transformers on a CPU: inference and training steps of Swin-T and Swin V2-T.

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
from peers import LIBRARIES, NETWORKS, PEERS, Network, build, check, contenders, inference, training_step
from tables import load, machine, markdown, publish, versions
from timing import Job, Ratio, compare, interleave, milliseconds

LIMIT = 1.25  # with --gate: the slowest that muntin may be, as a multiple of the fastest peer
CONTROL = 1024  # side of the control's matrices


def _inference_fp32(network: Network, library: str, attention: str, images: torch.Tensor) -> Job:
    return inference(build(network, library, attention), images)


def _inference_bf16(network: Network, library: str, attention: str, images: torch.Tensor) -> Job:
    return inference(build(network, library, attention).to(torch.bfloat16), images.to(torch.bfloat16))


def _training_bf16(network: Network, library: str, attention: str, images: torch.Tensor) -> Job:
    labels = torch.arange(len(images)) % 1000
    return training_step(build(network, library, attention), images, labels)


WORK: dict[str, Callable[[Network, str, str, torch.Tensor], Job]] = {
    "inference fp32": _inference_fp32,
    "inference bf16 (weights cast)": _inference_bf16,
    "training step, bf16 autocast": _training_bf16,
}


def measure(network: Network, work: str, batch: int, rounds: int, warmup: int) -> dict[str, list[float]]:
    """Seconds of each library's better way, round by round; and of the control."""
    torch.manual_seed(0)
    images = torch.randn(batch, 3, network.side, network.side)
    jobs: dict[str, Job] = {}
    for library, attention in contenders(network):
        name = f"{library} {attention}".strip()
        jobs[name] = WORK[work](network, library, attention, images)
        check(f"{name} ({network.title}, {work})", jobs[name](), batch)
    square = torch.randn(CONTROL, CONTROL, dtype=torch.float32 if "fp32" in work else torch.bfloat16)
    jobs["control"] = lambda: square @ square
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds = interleave(jobs, rounds=rounds, warmup=warmup, clock=clock)
    for name in jobs:
        print(f"  {name:<20} {milliseconds(seconds[name])} ms", flush=True)
    ways = {library: [seconds[name] for name in jobs if name.split()[0] == library] for library in LIBRARIES}
    return {library: min(times, key=min) for library, times in ways.items()} | {"control": seconds["control"]}


def fastest_peer(seconds: dict[str, list[float]]) -> tuple[str, Ratio]:
    """The peer with the shortest time, and muntin's ratio to it."""
    peer = min(PEERS, key=lambda name: min(seconds[name]))
    return peer, compare(seconds["muntin"], seconds[peer])


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
            peer, ratio = fastest_peer(seconds)
            print(f"  ratio to {peer}: {ratio}", flush=True)
            spread = max(seconds["control"]) / min(seconds["control"])
            rows.append([title, *(milliseconds(seconds[name]) for name in LIBRARIES), peer, ratio, f"{spread:.2f}"])
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
