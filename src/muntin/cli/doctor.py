"""`muntin doctor`: says what this machine has and lacks, and runs a tiny model to be sure."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import platform
import shutil
import sys
import time
from pathlib import Path
from typing import NamedTuple

from .arguments import Parser

OPTIONAL = {  # package -> the extra that brings it, what it is for
    "torchvision": ("train", "changing pictures while training: train, demo"),
    "tensorboard": ("train", "curves of a run, live"),
    "timm": ("peers", "the speed comparison in benchmarks/"),
    "transformers": ("peers", "the speed comparison in benchmarks/"),
    "pytest": ("dev", "make test"),
    "ruff": ("dev", "make lint"),
    "mypy": ("dev", "make lint"),
}
NEEDED = "train"  # the extra without which not every verb works


class Finding(NamedTuple):
    """What was checked, what was found, and what to do ("" if there is nothing to do)."""

    what: str
    found: str
    todo: str = ""


def parser() -> Parser:
    options = Parser("doctor", "Look whether this machine has everything that muntin needs.")
    options.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    return options


def run(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    findings = [python(), torch_build(), processor(), accelerators(), disk(Path.cwd())]
    for name, (extra, use) in OPTIONAL.items():
        findings += [package(name, extra, use)] + ([torchvision_operators()] if name == "torchvision" else [])
    findings += [bundled_data(), self_check()]
    missing = [f.todo for f in findings if f.todo]
    if given.json:
        print(json.dumps({"findings": [f._asdict() for f in findings], "todo": missing}, indent=2))
        return 0
    width = max(len(f.what) for f in findings)
    for f in findings:
        print(f"{'!' if f.todo else ' '} {f.what:<{width}}  {f.found}")
    print()
    print("\n".join(dict.fromkeys(missing)) if missing else "everything needed is here")
    return 0


def python() -> Finding:
    found = (
        f"{platform.python_version()} on {platform.platform(terse=True)}, muntin {importlib.metadata.version('muntin')}"
    )
    return Finding("python", found, "" if sys.version_info >= (3, 11) else "install Python 3.11 or newer")


def torch_build() -> Finding:
    import torch

    old = tuple(int(n) for n in torch.__version__.split(".")[:2]) < (2, 11)
    return Finding("torch", torch.__version__, 'pip install --upgrade "torch>=2.11"' if old else "")


def processor() -> Finding:
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    hardware = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    bf16 = "bf16 in hardware" if hardware else "no bf16 in hardware"
    return Finding("CPU", f"{torch.get_num_threads()} threads, {capability}, {bf16}")


def accelerators() -> Finding:
    import torch

    found = [
        f"{torch.cuda.get_device_name(i)} ({torch.cuda.get_device_properties(i).total_memory / 2**30:.0f} GiB)"
        for i in range(torch.cuda.device_count())
    ]
    if torch.backends.mps.is_available():
        found.append("Apple GPU (mps)")
    return Finding("GPU", ", ".join(found) or "none; muntin works on the CPU")


def disk(place: Path) -> Finding:
    free = shutil.disk_usage(place).free / 2**30
    todo = "" if free > 1 else f"free some space where runs are written: {free:.1f} GiB are left"
    return Finding("disk", f"{free:,.0f} GiB free here", todo)


def package(name: str, extra: str, use: str) -> Finding:
    """Present or not, without importing it."""
    if importlib.util.find_spec(name):
        return Finding(name, importlib.metadata.version(name))
    todo = f'pip install "muntin[{extra}]"' if extra == NEEDED else ""
    return Finding(name, f'not here; for {use}: pip install "muntin[{extra}]"', todo)


def torchvision_operators() -> Finding:
    """Check torchvision. A wheel built for another torch imports only with muntin's help; muntin calls none of its
    operators.
    """
    if not importlib.util.find_spec("torchvision"):
        return Finding("its operators", "not here, not needed")
    import torch

    from muntin.data.transforms.vision import functional

    functional()
    boxes, scores = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1)
    try:
        torch.ops.torchvision.nms(boxes, scores, 0.5)
    except NotImplementedError:
        return Finding("its operators", "do not load beside this torch; muntin works without them")
    return Finding("its operators", "work; muntin does not need them")


def bundled_data() -> Finding:
    from muntin.data import open_data

    digits = open_data("digits")
    return Finding("bundled digits", f"{len(digits.train):,} to train, {len(digits.val or ()):,} to test")


def self_check() -> Finding:
    """A small Swin V2 on one picture."""
    import torch

    from muntin.weights.create import create_model

    start = time.perf_counter()
    model = create_model("swin_v2_tiny_window8", num_classes=2, dim=24, depths=(1, 1), heads=(1, 2)).eval()
    with torch.inference_mode():
        logits = model(torch.zeros(1, 3, 64, 64))
    good = logits.shape == (1, 2) and bool(logits.isfinite().all())
    todo = "" if good else "a tiny model gave no finite answer: reinstall torch"
    return Finding("self-check", f"a tiny Swin V2 answered in {time.perf_counter() - start:.1f} s", todo)
