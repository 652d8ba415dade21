"""When a run ends, and after which updates it logs, evaluates and saves."""

from __future__ import annotations

from dataclasses import dataclass

from muntin.engine.settings import Training


@dataclass(frozen=True)
class Timetable:
    """The plan of a run of `updates` updates, which are numbered from 1; so are epochs.

    The last epoch is cut short where the length of the run is no multiple of an epoch's.
    """

    updates: int
    updates_per_epoch: int
    training: Training

    @property
    def epochs(self) -> int:
        """How many epochs the run begins."""
        return self.epoch(self.updates)

    def epoch(self, update: int) -> int:
        """The epoch that an update belongs to."""
        return (update - 1) // self.updates_per_epoch + 1

    def last_of(self, epoch: int) -> int:
        """The last update of an epoch."""
        return min(epoch * self.updates_per_epoch, self.updates)

    def ends_epoch(self, update: int) -> bool:
        return update == self.last_of(self.epoch(update))

    def logs(self, update: int) -> bool:
        return self.ends_epoch(update) or _every(self.training.log_every, update)

    def evaluates(self, update: int) -> bool:
        return self._due(update, self.training.eval_every, self.training.eval_steps)

    def saves(self, update: int) -> bool:
        return self._due(update, self.training.save_every, self.training.save_steps)

    def _due(self, update: int, epochs: int, steps: int) -> bool:
        """Whether what happens every `epochs` epochs, every `steps` updates and at the end happens after an update."""
        if update == self.updates or _every(steps, update):
            return True
        return self.ends_epoch(update) and _every(epochs, self.epoch(update))


def _every(count: int, number: int) -> bool:
    """Whether what happens at every `count`-th (0: never) happens at this one."""
    return count > 0 and number % count == 0
