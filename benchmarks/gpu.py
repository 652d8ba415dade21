"""muntin beside its peers on a GPU: speed in eager and compiled bf16, training memory, accuracy of bf16.

    python benchmarks/gpu.py [--parts speed memory accuracy] [--batch 64] [--rounds 7]

Needs a CUDA device and the extras `train` and `peers`. Everything runs once per part, in one process, in turns.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from pathlib import Path

import torch
from peers import LIBRARIES, NETWORKS, PEERS, Network, best, build, check, fastest_peer, inference, training_step
from tables import markdown, publish, versions
from timing import Job, compare, interleave
from torch import Tensor, nn

import muntin

MEMORY_SIDE = 1024  # pixels: its coarsest map is 32 x 32, which windows of 16 and of 32 both divide
MEMORY_MODELS = {
    "swin_v2_tiny_window16": "swinv2_tiny_window16_256",
    "swin_v2_base_window16": "swinv2_base_window16_256",
}
CALLS = 10  # a timed job makes this many calls, so that the host's own time does not show
GIB = 2**30


def device_clock() -> float:
    """Seconds, after the device has done all that was asked of it."""
    torch.cuda.synchronize()
    return time.perf_counter()


def speed_job(network: Network, contender: str, images: Tensor, training: bool, compiled: bool) -> Job:
    """bf16 inference with cast weights, or a training step under bf16 autocast."""
    model = build(network, contender).to(images.device)
    model = model if training else model.to(torch.bfloat16)
    called = torch.compile(model, dynamic=False) if compiled else model
    if training:
        return training_step(called, images, torch.arange(len(images), device=images.device) % 1000)
    return inference(called, images.to(torch.bfloat16))


def speed(batch: int, rounds: int, device: torch.device) -> str:
    """Images a second of each library's better way."""
    rows = []
    for network in NETWORKS:
        images = torch.randn(batch, 3, network.side, network.side, device=device)
        for training in (False, True):
            for compiled in (False, True):
                work = "training step, bf16 autocast" if training else "inference, bf16 (weights cast)"
                title = f"{network.title}, {work}, {'compiled' if compiled else 'eager'}"
                jobs: dict[str, Job] = {}
                for name in network.contenders:
                    job = speed_job(network, name, images, training, compiled)
                    check(f"{name} ({title})", job(), batch)
                    jobs[name] = repeated(job, CALLS)
                times = best(interleave(jobs, rounds=rounds, warmup=2, clock=device_clock))
                peer = fastest_peer(times)
                rates = [f"{batch * CALLS / min(times[name]):.0f}" if name in times else "" for name in LIBRARIES]
                rows.append([title, *rates, peer, compare(times["muntin"], times[peer])])
                print("  ".join(str(cell) for cell in rows[-1]), flush=True)
                del jobs, job
                free()
    header = ["images/s", *LIBRARIES, "fastest peer", "time of muntin / fastest peer"]
    return f"{markdown(header, rows)}\n\nBatch {batch}, {rounds} interleaved rounds of {CALLS} calls, fastest round."


def repeated(job: Job, calls: int) -> Job:
    def run() -> None:
        for _ in range(calls):
            job()

    return run


def memory(batch: int, device: torch.device) -> str:
    """Peak memory of a training step of Swin V2 with windows of 16 and 32, for each attention backend and for timm."""
    rows = []
    for name, foreign in MEMORY_MODELS.items():
        for window in (16, 32):
            row: list[object] = [name.removesuffix("_window16"), window]
            for backend in ("auto", "reference", "chunked"):
                row.append(peak(own_model(name, window, backend), batch, device))
            row.append(peak(timm_model(foreign, window), batch, device))
            rows.append(row)
            print("  ".join(str(cell) for cell in row), flush=True)
    header = ["GiB", "window", "muntin auto", "muntin reference", "muntin chunked", "timm"]
    return (
        f"{markdown(header, rows)}\n\n{MEMORY_SIDE} pixels, batch {batch}, bf16 autocast, AdamW, "
        "no activation checkpointing; torch.cuda.max_memory_allocated over the second step."
    )


def own_model(name: str, window: int, backend: str) -> nn.Module:
    model = muntin.create_model(name, window=window)
    model.backbone.set_attention(backend)
    return model


def timm_model(name: str, window: int) -> nn.Module:
    import timm

    return timm.create_model(name, img_size=MEMORY_SIDE, window_size=window, drop_path_rate=0.0)


def peak(model: nn.Module, batch: int, device: torch.device) -> str:
    """GiB that a training step needs at most, weights and optimizer included."""
    free()
    try:
        images = torch.randn(batch, 3, MEMORY_SIDE, MEMORY_SIDE, device=device)
        step = training_step(model.to(device), images, torch.zeros(batch, dtype=torch.long, device=device))
        step()
        torch.cuda.reset_peak_memory_stats()
        step()
        return f"{torch.cuda.max_memory_allocated() / GIB:.2f}"
    except torch.cuda.OutOfMemoryError:
        return "out of memory"


def accuracy(batch: int, device: torch.device) -> str:
    """How far bf16 moves the answers of muntin's models from those of fp32."""
    torch.backends.cudnn.allow_tf32 = False  # its convolutions would otherwise round what is to be exact
    rows = []
    for network in NETWORKS:
        model = build(network, "muntin").to(device).eval()
        images = torch.randn(batch, 3, network.side, network.side, device=device)
        with torch.inference_mode():
            exact = model(images)
            with torch.autocast(device.type, torch.bfloat16):
                autocast = model(images).float()
            cast = model.to(torch.bfloat16)(images.to(torch.bfloat16)).float()
        for way, logits in {"bf16 autocast": autocast, "bf16, weights cast": cast}.items():
            error = (logits - exact).norm() / exact.norm()
            same = (logits.argmax(1) == exact.argmax(1)).float().mean()
            rows.append([network.title, way, f"{error:.2e}", f"{same:.3f}"])
    header = ["model", "way", "relative error of logits", "same top-1 as fp32"]
    said = f"{batch} pictures of noise, fresh weights (answers lie close together: a hard case for top-1), TF32 off."
    return f"{markdown(header, rows)}\n\n{said}"


def free() -> None:
    """Give memory back between two measurements, and forget what torch.compile knows."""
    torch.compiler.reset()
    gc.collect()
    torch.cuda.empty_cache()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("speed", "memory", "accuracy")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts, help="what to measure (default: all)")
    parser.add_argument("--batch", type=int, default=64, help="pictures a call, for speed and accuracy (default 64)")
    parser.add_argument("--memory-batch", type=int, default=2, help="pictures a step, for memory (default 2)")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds (default 7)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also put the tables into this document")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device: this benchmark needs an NVIDIA GPU and a PyTorch built for it", file=sys.stderr)
        return 2

    device = torch.device("cuda")
    torch.manual_seed(0)
    measured = []
    if "speed" in options.parts:
        measured.append(speed(options.batch, options.rounds, device))
    if "memory" in options.parts:
        measured.append(memory(options.memory_batch, device))
    if "accuracy" in options.parts:
        measured.append(accuracy(options.batch, device))
    measured.append(f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}; {versions('torch', *PEERS)}.")
    publish("gpu", "\n\n".join(measured), options.markdown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
