"""Seconds an epoch of the digits recipe, training alone, and the share of them spent waiting for data.

    python benchmarks/digits_speed.py [--epochs 3] [--threads 2]

A model this small is bound by the number of operations, so the overhead of blocks, engine and data shows at once.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

from tables import load, machine, markdown, publish

from muntin import recipes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=3, help="epochs to train; the first warms up (default 3)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also put the table into this document")
    options = parser.parse_args()

    recipe = recipes.get("digits")
    recipe = replace(
        recipe,
        schedule=replace(recipe.schedule, epochs=options.epochs, warmup_epochs=1),
        training=replace(recipe.training, threads=options.threads, eval_every=0, save_every=0),
    )
    with tempfile.TemporaryDirectory() as folder:
        recipes.run(recipe, folder, overwrite=True, quiet=True)
        lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    epochs = [line for line in lines if line["split"] == "train"]
    images = recipe.training.batch_size * (epochs[-1]["step"] // len(epochs))
    rows = [
        [
            line["epoch"],
            f"{images / line['images_per_second']:.2f}",
            f"{line['images_per_second']:.0f}",
            f"{line['data_wait']:.1%}",
        ]
        for line in epochs
    ]
    header = ["epoch", "seconds", "images/s", "waiting for data"]
    said = f"{images} pictures an epoch, {recipe.training.workers} data workers. {machine(options.threads)}. "
    publish("digits_speed", f"{markdown(header, rows)}\n\n{said}Load average {load()}.", options.markdown)


if __name__ == "__main__":
    main()
