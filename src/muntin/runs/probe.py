"""A look at the first samples before a run writes anything: can they be read, does the model take them?"""

from __future__ import annotations

import torch

from muntin.engine import parallel, precision, to_device
from muntin.errors import UserError

from .build import Parts


def probe(parts: Parts, device: torch.device, number_format: precision.Precision) -> None:
    """Read a first batch of each part of the data and take one sample of each through the task.

    Raises UserError on every process when one cannot, so that none is left waiting. Draws no random number of the
    global generators, and changes nothing but that the task is in eval mode.
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
