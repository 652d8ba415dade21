"""Which samples make up each batch of an epoch, on each process."""

from __future__ import annotations

import numpy as np

from muntin.data.loading.streams import order_stream

BLOCK = 256  # samples; with repeats an epoch has as many as there are, rounded down to whole blocks
SHARDS_AT_ONCE = 8  # samples are shuffled among so many shards: enough to mix, few enough to read them side by side


class Order:
    """Cuts `count` samples into batches of `batch_size` for each of `world` processes.

    Batch b of all processes together has the same samples as batch b of one process with batches of batch_size * world:
    each process takes every world-th of them.

    shards: the shard of each sample, to read shard by shard. repeats: how often each sample comes in a row, for
    repeated augmentation (Hoffer et al., 2019, arXiv:1901.09335) as in DeiT (samplers.py, RASampler): on several
    processes the copies of a sample are on different ones, and an epoch sees about 1 / repeats of the samples. With
    fewer than `BLOCK` samples there is then no batch.

    Batches hold views: sample s itself is view s, its c-th copy is view s + c * count.

    In training (`shuffle` or `drop_last`) all processes have the same number of batches: a last batch that is too small
    to give each process a sample is left out; with `drop_last`, every incomplete one. In evaluation each sample comes
    exactly once.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        *,
        seed: int,
        shuffle: bool,
        drop_last: bool,
        rank: int,
        world: int,
        shards: np.ndarray | None = None,
        repeats: int = 1,
    ):
        self.shards, self.repeats = shards, repeats
        self.count, self.together, self.seed, self.shuffle = count, batch_size * world, seed, shuffle
        self.rank, self.world = rank, world
        self.views = count if repeats == 1 else count // BLOCK * BLOCK
        full, rest = divmod(self.views, self.together)
        if drop_last:
            self.batches = full
        elif shuffle:
            self.batches = full + (rest >= world)
        else:
            self.batches = full + (rest > rank)

    def __len__(self) -> int:
        return self.batches

    def epoch(self, epoch: int) -> list[np.ndarray]:
        """The views in each batch of this process."""
        return self.cut(self._shuffled(order_stream(self.seed, epoch)) if self.shuffle else np.arange(self.count))

    def cut(self, samples: np.ndarray) -> list[np.ndarray]:
        """The views in each batch of this process when the samples come in the order of `samples`."""
        place, copy = np.divmod(np.arange(self.views), self.repeats)
        views = samples[place] + copy * self.count
        starts = range(0, self.batches * self.together, self.together)
        return [views[start : start + self.together][self.rank :: self.world] for start in starts]

    def _shuffled(self, rng: np.random.Generator) -> np.ndarray:
        return rng.permutation(self.count) if self.shards is None else shard_by_shard(self.shards, rng)


def shard_by_shard(shards: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A permutation of the samples in which the shards come in random order, `SHARDS_AT_ONCE` of them shuffled as one.

    shards: the number of the shard that each sample lies in.
    """
    groups = rng.permutation(shards.max() + 1) // SHARDS_AT_ONCE
    return np.lexsort((rng.random(len(shards)), groups[shards]))
