"""Record what the tiny twins of recipes do, as names and values; `same_as.py` runs this in two trees and compares.

    PYTHONPATH=TREE/src python tools/same_as_recorder.py record.jsonl [--only PATTERN ...] [--double]

Each recipe is run as a user runs it, into a folder of its own. What happens inside is seen from four places that
outlive a change of the code around them: the data loader's `epoch`, the forward pass of the task, torch's hook
before an optimizer's step, and the files of the run folder. The tables below hold all that differs between trees.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import functools
import hashlib
import importlib
import inspect
import json
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.optim.optimizer import register_optimizer_step_pre_hook

PLACES = {  # what: where it may stand, as module:name; the first that a tree has is taken
    "RECIPES": ("muntin.recipes.index:RECIPES", "muntin.recipes.cookbook:RECIPES"),
    "tiny": ("muntin.runs.tiny:tiny", "muntin.recipes.tiny:tiny"),
    "run": ("muntin.runs.run:run", "muntin.recipes.run:run"),
    "report": ("muntin.runs.run:write_report", "muntin.recipes.run:write_report"),
    "to_json": ("muntin.recipes.recipe:to_json", "muntin.recipes:to_json"),
    "from_json": ("muntin.recipes.recipe:from_json", "muntin.recipes:from_json"),
    "hash_of_run": ("muntin.recipes:hash_of_run",),
    "recipe_hash": ("muntin.recipes.recipe:recipe_hash", "muntin.recipes:recipe_hash", "muntin.runs:recipe_hash"),
    "use": ("muntin.ops.fast.choice:use",),
    "choice": ("muntin.ops.fast.choice:BEFORE_THE_TABLE",),
    "Loader": ("muntin.data.loading.loader:Loader", "muntin.data.loader:Loader"),
}
GROUPS = ("inputs", "target")  # fields of a batch that hold further named tensors; a batch that is a dict has none
BATCH_NAMES = {"indices": "index", "names": "name"}
NOT_RECORDED = {"places"}  # of a batch
CLOCK = {"images_per_second", "samples_per_second", "data_wait", "memory_gib", "seconds", "report"}  # never the same


def owner(what: str) -> tuple[Any, str]:
    """The module that holds a thing of `PLACES`, and its name there. Raises LookupError where this tree has none."""
    for place in PLACES[what]:
        path, name = place.split(":")
        try:
            module = importlib.import_module(path)
        except ModuleNotFoundError as error:
            if not f"{path}.".startswith(f"{error.name}."):  # the module is there, and something that it needs is not
                raise
            continue
        if hasattr(module, name):
            return module, name
    raise LookupError(
        f"{what} is at none of {', '.join(PLACES[what])}; add its place to PLACES in {Path(__file__).name}"
    )


def found(what: str) -> Any:
    return getattr(*owner(what))


def fields(batch: Any) -> dict[str, Any]:
    """What a batch holds, by the names of `BATCH_NAMES`: a dict, or a NamedTuple with groups of named tensors."""
    flat = dict(batch) if isinstance(batch, dict) else batch._asdict()
    for group in GROUPS:
        inside = flat.get(group)
        if isinstance(inside, dict):
            del flat[group]
            flat |= inside
    named = {BATCH_NAMES.get(name, name): value for name, value in flat.items() if name not in NOT_RECORDED}
    index = torch.as_tensor(named["index"], dtype=torch.int64)
    return named | {"index": index, "name": [str(name) for name in named["name"]]}


def as_double(value: Any) -> Any:
    """The same batch with every floating-point tensor in fp64."""
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {name: as_double(each) for name, each in value.items()}
    return type(value)(*map(as_double, value)) if hasattr(value, "_asdict") else value


class Facts(dict):
    """Names and values of one run, in the order in which they came about. whole: keep the contents of fp64 tensors."""

    def __init__(self, whole: bool = False):
        super().__init__()
        self._whole = whole

    def add(self, name: str, value: Any) -> None:
        """A tensor goes in as its type, shape and the SHA-256 of its bytes. What is met again must be the same."""
        if isinstance(value, Tensor):
            value = self._digest(value)
        if self.setdefault(name, value) != value:
            self[f"{name} when met again"] = value

    def _digest(self, tensor: Tensor) -> dict[str, Any]:
        tensor = tensor.detach().cpu().contiguous()
        content = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
        whole = self._whole and tensor.dtype == torch.float64
        return {
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "shape": list(tensor.shape),
            "sha256": hashlib.sha256(content).hexdigest(),
        } | ({"fp64": base64.b64encode(content).decode()} if whole else {})


class Recorder:
    """Watches this process: while `facts` is set, what is read, computed and learned goes into it."""

    def __init__(self, double: bool = False):
        self.facts, self.double = Facts(), double
        self._steps = self._updates = 0
        self._task: nn.Module | None = None

    def start(self) -> Facts:
        self.facts, self._steps, self._updates, self._task = Facts(self.double), 0, 0, None
        return self.facts

    def watch(self) -> None:
        """From now on, for good."""
        self._watch_loader(found("Loader"))
        register_module_forward_hook(self._saw_forward)
        register_optimizer_step_pre_hook(self._saw_step)

    def _watch_loader(self, loader: type) -> None:
        init, epoch = loader.__init__, loader.epoch  # type: ignore[misc, attr-defined]

        @functools.wraps(init)
        def noted_init(self_: Any, *args: Any, **kwargs: Any) -> None:
            bound = inspect.signature(init).bind(self_, *args, **kwargs)
            bound.apply_defaults()
            object.__setattr__(self_, "_recorded_as", "train" if bound.arguments["shuffle"] else "val")
            init(self_, *args, **kwargs)

        @functools.wraps(epoch)
        def noted_epoch(self_: Any, number: int, start: int = 0) -> Iterator[Any]:
            for place, batch in enumerate(epoch(self_, number, start), start):
                self._saw_batch(f"{self_._recorded_as}/epoch {number}/batch {place}", batch)
                yield as_double(batch) if self.double else batch

        loader.__init__, loader.epoch = noted_init, noted_epoch  # type: ignore[misc, attr-defined]

    def _saw_batch(self, where: str, batch: Any) -> None:
        for name, value in fields(batch).items():
            self.facts.add(f"{where}/{name}", value)

    def _saw_forward(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Batch and losses of a training step, which is the forward pass of a task in training."""
        if not (module.training and torch.is_grad_enabled() and hasattr(module, "losses")):
            return
        self._task = module
        self._saw_batch(f"step {self._steps}", args[0])
        for name, loss in getattr(output, "terms", output).items():
            self.facts.add(f"step {self._steps}/loss/{name}", loss.detach().double().item())
        self._steps += 1

    def _saw_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        """Gradients, after clipping."""
        assert self._task is not None
        for name, parameter in self._task.named_parameters():
            self.facts.add(f"update {self._updates}/gradient/{name}", parameter.grad)
        self._updates += 1


def add_run_folder(facts: Facts, out: Path) -> None:
    """Metrics, summary, data, the trained model, and the training state and recipe hash of the last checkpoint."""
    for text in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        add_numbers(facts, f"metrics/{line['split']} after step {line['step']}", line)
    for file in ("summary.json", "data.json"):
        add_numbers(facts, file.removesuffix(".json"), json.loads((out / file).read_text(encoding="utf-8")))
    last = max((out / "checkpoints").glob("step_*"))
    facts.add("hash/checkpoint", json.loads((last / "manifest.json").read_text(encoding="utf-8"))["recipe"])
    for name, folder in (("model", out / "model"), ("state", last)):
        for file in sorted(folder.glob("*.safetensors")):
            for key, tensor in sorted(load_file(file).items()):
                facts.add(f"{name}/{key}", tensor)


def add_numbers(facts: Facts, where: str, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, dict):
            add_numbers(facts, f"{where}/{name}", value)
        elif name not in CLOCK:
            facts.add(f"{where}/{name}", value)


def at_precision(recipe: Any, precision: str) -> Any:
    """The recipe in this number format: "auto" means bf16 on some CPUs, whose rounding hides differences in fp32."""
    return replace(recipe, training=replace(recipe.training, precision=precision))


def record(name: str, recorder: Recorder, out: Path, *, precision: str, keep: bool) -> dict[str, Any]:
    """{"recipe", "facts", "saved": {size: recipe.json}, "error"} of one recipe and its twin."""
    facts, saved, error, start = recorder.start(), {}, "", time.perf_counter()
    shutil.rmtree(out, ignore_errors=True)  # of an earlier comparison
    try:
        full = found("RECIPES")[name]()
        for size, recipe in (("full", full), ("tiny", found("tiny")(full))):
            facts.add(f"hash/{size}", found("recipe_hash")(recipe))
            saved[size] = found("to_json")(recipe)
        found("run")(at_precision(recipe, precision), out, quiet=True)
        add_run_folder(facts, out)
    except Exception as failure:
        traceback.print_exc()
        error = f"{type(failure).__name__}: {failure}"
    if not keep:
        shutil.rmtree(out, ignore_errors=True)
    seconds = round(time.perf_counter() - start, 2)
    return {"recipe": name, "facts": facts, "saved": saved, "error": error, "seconds": seconds}


def read_again(text: str) -> tuple[str, str]:
    """Of a recipe.json of another tree: the hash that its checkpoints hold, and that of the recipe as this tree has it.

    Why there is none, where it cannot be read.
    """
    try:
        with tempfile.TemporaryDirectory() as run:
            Path(run, "recipe.json").write_text(text, encoding="utf-8")
            return found("hash_of_run")(run), found("recipe_hash")(found("from_json")(text))
    except Exception as error:
        return (f"{type(error).__name__}: {error}",) * 2


def one_choice() -> contextlib.AbstractContextManager[None]:
    """Inside, tuned code is used as on any processor before there was a table of measurements, and not by the table."""
    try:
        return found("use")(found("choice"))
    except LookupError:  # a tree from that time
        return contextlib.nullcontext()


def in_double() -> None:
    """Let everything be computed in fp64, what asks for fp32 by `.float()`, too."""
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign, assignment]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("record", type=Path, help="a line of JSON for each recipe goes here; runs go beside it")
    parser.add_argument("--only", nargs="*", default=["*"], help="names or patterns of recipes")
    parser.add_argument("--double", action="store_true", help="compute in fp64, and keep the tensors whole")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"], help="of forward passes")
    parser.add_argument("--keep", action="store_true", help="keep the run folders")
    parser.add_argument("--read", type=Path, help="run nothing: the hashes of the recipes in this file, {name: text}")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.read:
        texts = json.loads(args.read.read_text(encoding="utf-8"))
        args.record.write_text(json.dumps({name: read_again(text) for name, text in texts.items()}), encoding="utf-8")
        return
    if args.double:
        in_double()
    recorder, runs = Recorder(args.double), args.record.with_suffix("")
    recorder.watch()
    with contextlib.suppress(LookupError):  # nothing in a report is compared; it would only take time
        setattr(*owner("report"), _no_report)
    with args.record.open("w", encoding="utf-8") as file, one_choice():
        for name in filter(_wanted(args.only), found("RECIPES")):
            made = record(name, recorder, runs / name, precision=args.precision, keep=args.keep)
            file.write(json.dumps(made) + "\n")
            file.flush()


def _no_report(*_: Any, **__: Any) -> None:
    pass


def _wanted(patterns: list[str]) -> Callable[[str], bool]:
    return lambda name: any(fnmatchcase(name, pattern) for pattern in patterns)


if __name__ == "__main__":
    main()
