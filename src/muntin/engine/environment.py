"""The machine and the versions of a run, for `environment.json`, `doctor` and reports."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import Any

import torch


def environment() -> dict[str, Any]:
    """Versions, processor, threads and devices, as values that JSON can hold. Names no user, host or path."""
    cuda = range(torch.cuda.device_count()) if torch.cuda.is_available() else range(0)
    return {
        "muntin": version("muntin"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "cpu": torch.cpu.get_capabilities().get("cpu_name") or platform.processor() or platform.machine(),
        "cpu_cores": os.cpu_count(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
        "cuda_devices": [torch.cuda.get_device_name(number) for number in cuda],
    }
