"""Seconds an epoch of the digits recipe, training alone, and the share of them spent waiting for data.

    python benchmarks/digits_speed.py [--epochs 3] [--threads 2]

A model this small is bound by the number of operations, so the overhead of blocks, engine and data shows at once.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from tables import load, machine, markdown, publish

from muntin import recipes
from muntin.engine import fit
from muntin.runs.build import build


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=3, help="epochs to train; the first warms up (default 3)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also put the table into this document")
    options = parser.parse_args()

    recipe = recipes.get("digits")
    schedule = replace(recipe.schedule, epochs=options.epochs, warmup_epochs=1)
    training = replace(recipe.training, threads=options.threads, save_every=0)
    parts = build(recipe, torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        result = fit(
            parts.task, parts.train, optim=recipe.optim, schedule=schedule, training=training, out=Path(folder)
        )
        cpu_seconds = (time.process_time() - start) / options.epochs

    images = len(parts.train) * training.batch_size
    rows = []
    for line in result.history:
        speed = line["samples_per_second"]
        rows.append([line["epoch"], f"{images / speed:.2f}", f"{speed:.0f}", f"{line['data_wait']:.1%}"])
    header = ["epoch", "seconds", "samples/s", "waiting for data"]
    said = (
        f"{images} pictures an epoch in batches of {training.batch_size}, {training.workers} data workers; "
        f"{cpu_seconds:.2f} CPU seconds an epoch in the training process. "
        f"{machine(options.threads)}. Load average {load()}."
    )
    publish("digits_speed", f"{markdown(header, rows)}\n\n{said}", options.markdown)


if __name__ == "__main__":
    main()
