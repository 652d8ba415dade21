"""Where the randomness of training data comes from.

Every draw is a function of the run's seed and of its purpose, never of the process or the time of drawing. So batches
are the same for any number of worker processes, and a resumed run continues them.
"""

from __future__ import annotations

import numpy as np


def order_stream(seed: int, epoch: int) -> np.random.Generator:
    """For the order of the samples in an epoch."""
    return np.random.default_rng((0, seed, epoch))


def sample_stream(seed: int, epoch: int, view: int) -> np.random.Generator:
    """For one sample's augmentation and mask; `view` is its number or, for a copy of it, one of its own (`Order`)."""
    return np.random.default_rng((1, seed, epoch, view))


def batch_stream(seed: int, epoch: int, number: int, rank: int) -> np.random.Generator:
    """For the mixing of one batch."""
    return np.random.default_rng((2, seed, epoch, number, rank))


def replacement_stream(seed: int, epoch: int, view: int) -> np.random.Generator:
    """For the samples that are tried in place of one that cannot be read."""
    return np.random.default_rng((3, seed, epoch, view))
