"""Tries the first samples before a run writes anything: can they be read, does the model accept them?"""

from __future__ import annotations

import torch

from muntin.engine import parallel, precision, to_device
from muntin.errors import UserError

from .build import Parts


def probe(parts: Parts, device: torch.device, number_format: precision.Precision) -> None:
    """Read a first batch of each part of the data and put one sample of each through the task.

    Raises UserError on every process if one fails, so that none keeps waiting. Draws no random number of the global
    generators; its only change is that the task is in eval mode.
    """
    failure, task = None, parts.task.eval()
    try:
        with torch.no_grad(), precision.autocast(device, number_format):
            for loader in filter(None, (parts.train, parts.val)):
                if (batch := next(iter(loader.epoch(0)), None)) is not None:
                    task.losses(to_device(batch.first(), device))
    except UserError as error:
        failure = error
    parallel.agree(failure, UserError("the first pictures of another process cannot be used; its message says why"))
