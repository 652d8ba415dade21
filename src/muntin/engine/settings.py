"""The settings of the training loop in a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from muntin.engine.precision import Precision
from muntin.engine.ranges import at_least, listed, require
from muntin.errors import UserError

COUNTS_FROM_0 = (
    "workers",
    "threads",
    "save_every",
    "save_steps",
    "eval_every",
    "eval_steps",
    "log_every",
    "skip_nonfinite",
)
COUNTS_FROM_1 = ("batch_size", "accumulate", "keep_last")


@dataclass(frozen=True, kw_only=True)
class Training:
    """How the loop runs."""

    batch_size: int = 64
    """Samples an update of the weights, over all processes and micro-steps."""
    accumulate: int = 1
    """Micro-steps an update: each takes 1/accumulate of the batch, for less memory and the same result."""
    precision: Precision = "auto"
    """Matrix products in bfloat16 (bf16) or not (fp32); auto: bf16 where the hardware has it."""
    ema: float = 0.0
    """Decay of an exponential moving average of the weights, which is then evaluated and kept; 0: none."""
    checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, about a third more time."""
    compile: bool = False
    """Compile each layer with torch.compile: slower start, faster steps."""
    seed: int = 0
    """Seed of everything random: weights, order of the samples, augmentation, drop path."""
    workers: int = 2
    """Processes that read and transform samples, beside each training process; 0: the training process does it."""
    threads: int = 0
    """CPU threads of each training process; 0: as torch chooses."""
    save_every: int = 1
    """Epochs between two checkpoints; the end of training always has one. 0: only the end, and each new best."""
    save_steps: int = 0
    """Updates between two checkpoints, in the middle of an epoch too; 0: only those of `save_every`."""
    keep_last: int = 2
    """Newest checkpoints to keep, beside the best."""
    eval_every: int = 1
    """Epochs between two evaluations; the end of training always has one. 0: only the end."""
    eval_steps: int = 0
    """Updates between two evaluations, in the middle of an epoch too; 0: only those of `eval_every`."""
    log_every: int = 0
    """Updates between two train lines in metrics.jsonl; each epoch ends with one. 0: only those."""
    skip_nonfinite: int = 0
    """Updates that may be skipped in the whole run because loss or gradients are not finite; one more stops it."""

    def __post_init__(self) -> None:
        counts = {name: at_least(0, getattr(self, name)) for name in COUNTS_FROM_0}
        counts |= {name: at_least(1, getattr(self, name)) for name in COUNTS_FROM_1}
        rules = {
            "precision": (self.precision in get_args(Precision), listed(get_args(Precision))),
            "ema": (0 <= self.ema < 1, "a decay of at least 0 (none) and below 1"),
            "seed": (0 <= self.seed < 2**63, "at least 0 and below 2^63"),
        }
        require(self, counts | rules)

    def micro_batch(self, world: int) -> int:
        """Samples that each of `world` processes takes at a time: the batch size of its loader."""
        parts = world * self.accumulate
        if self.batch_size % parts:
            raise UserError(
                f"batch_size {self.batch_size} cannot be shared evenly by {world} processes x {self.accumulate} "
                f"micro-steps; use a multiple of {parts}"
            )
        return self.batch_size // parts
