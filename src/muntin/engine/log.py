"""What a run reports while it runs: one live line, `metrics.jsonl`, TensorBoard."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from rich.console import Console
from rich.live import Live
from rich.text import Text

from muntin.engine.disk_errors import writing

DRAW_SECONDS = 0.25  # between two drawings of the live line
FORMAT = "muntin-metrics/2"
OLD_NAMES = {"images_per_second": "samples_per_second"}  # in files that name no format


class Log:
    """Reports of one training run; `with Log(...) as log`.

    A line of `metrics.jsonl` is {"epoch", "step", "split": "train" | "val", ...}: epochs count from 1, step is the
    number of updates done. Train lines hold the means over the updates since the train line before, the last update's
    "lr", and speed: "samples_per_second", "data_wait" (share of the time), "memory_gib". The first line of the file
    also names its "format". On a terminal one line is redrawn in place; elsewhere every train line is printed.
    Process 0 alone writes and prints.
    """

    def __init__(
        self,
        out: Path,
        *,
        main: bool,
        epochs: int,
        updates: int,
        samples: int,
        device: torch.device,
        done: int = 0,
        evaluated: bool = True,
        console: Console | None = None,
    ):
        """updates: of the whole run; samples: of one update; main: whether this is process 0.

        done: the updates that a resumed run has done already. Lines of metrics.jsonl after them are removed, and so is
        a val line of the last of them unless it was `evaluated`.
        """
        self.history = _lines_until(done, evaluated, out / "metrics.jsonl")
        self._main, self._epochs, self._updates, self._samples, self._device = main, epochs, updates, samples, device
        self._out, self._first, self._started = out, done, time.perf_counter()
        self._console = console or Console(highlight=False, markup=False, emoji=False)
        self._live: Live | None = None
        self._drawn = 0.0
        self._board: Any = None
        self.restart_clock()

    def __enter__(self) -> Log:
        if not self._main:
            return self
        self._out.mkdir(parents=True, exist_ok=True)
        self._rewrite()
        if (writer := _summary_writer()) is not None:
            self._board = writer(str(self._out / "tensorboard"), purge_step=self._first + 1)
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        if self._board is not None:
            with contextlib.suppress(OSError):  # a full disk has been spoken of by then
                self._board.close()

    def say(self, text: str) -> None:
        """One line of text."""
        if self._main:
            self._console.print(text, soft_wrap=True)

    def restart_clock(self) -> None:
        """Forget the time since the last train line; call it after an evaluation or a save."""
        self._since, self._waited, self._counted = time.perf_counter(), 0.0, 0

    @contextlib.contextmanager
    def pause(self, doing: str) -> Iterator[None]:
        """Time that is not training: shown as `doing`, and not counted in samples/s."""
        if self._live is not None:
            self._live.update(Text(doing), refresh=True)
        yield
        self.restart_clock()

    def progress(self, epoch: int, step: int, loss: float, lr: float, waited: float) -> None:
        """After every update: its loss, and the seconds it waited for data. Redraws the live line now and then."""
        self._waited += waited
        self._counted += 1
        if self._live is not None and (now := time.perf_counter()) - self._drawn > DRAW_SECONDS:
            self._drawn = now
            line = {"epoch": epoch, "step": step, "loss": loss, "lr": lr} | self._speed()
            self._live.update(Text(self._words(line), no_wrap=True, overflow="ellipsis"), refresh=True)

    def train(self, epoch: int, step: int, means: dict[str, float], lr: float, epoch_ended: bool) -> None:
        """A train line, from the means since the one before."""
        line = {"epoch": epoch, "step": step, "split": "train"} | means | {"lr": lr} | self._speed()
        self._add(line)
        if epoch_ended or self._live is None:
            self.say(self._words(line))
        self.restart_clock()

    def val(self, epoch: int, step: int, metrics: dict[str, float]) -> None:
        """A val line."""
        self._add({"epoch": epoch, "step": step, "split": "val"} | metrics)
        numbers = " · ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        self.say(f"epoch {epoch}/{self._epochs} · val · {numbers}")

    def _rewrite(self) -> None:
        """metrics.jsonl with the lines of `history`: the old file or the new one, whenever the run is killed."""
        with writing("metrics.jsonl", self._out):
            new = self._out / ".metrics.jsonl.unfinished"
            new.write_text("".join(json.dumps(line) + "\n" for line in self.history), encoding="utf-8")
            new.replace(self._out / "metrics.jsonl")

    def _speed(self) -> dict[str, float]:
        seconds = max(time.perf_counter() - self._since, 1e-9)
        return {
            "samples_per_second": self._counted * self._samples / seconds,
            "data_wait": self._waited / seconds,
            "memory_gib": memory(self._device) / 2**30,
        }

    def _words(self, line: dict[str, Any]) -> str:
        done = line["step"]
        pace = (time.perf_counter() - self._started) / max(done - self._first, 1)
        parts = [
            f"epoch {line['epoch']}/{self._epochs}",
            f"step {done}/{self._updates}",
            f"loss {line['loss']:.4f}",
            f"lr {line['lr']:.2e}",
            f"{line['samples_per_second']:.0f} samples/s",
            f"waiting for data {line['data_wait']:.0%}",
            f"{line['memory_gib']:.1f} GiB",
            f"ETA {timedelta(seconds=round(pace * (self._updates - done)))}",
        ]
        return " · ".join(parts)

    def _add(self, line: dict[str, Any]) -> None:
        if not self.history:
            line = {"format": FORMAT} | line
        self.history.append(line)
        if not self._main:
            return
        with writing("metrics.jsonl", self._out), (self._out / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())  # a checkpoint on the disk must find the lines before it there
        if self._board is not None:
            for name, value in line.items():
                if name not in ("format", "step", "split"):
                    self._board.add_scalar(f"{line['split']}/{name}", value, line["step"])


def memory(device: torch.device) -> int:
    """Bytes: the most that tensors have taken on a CUDA device, or that this process has taken of the main memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource  # not on Windows
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _lines_until(step: int, evaluated: bool, file: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file up to `step`, under today's names.

    A resumed run repeats what came after its checkpoint.
    """
    if step == 0 or not file.is_file():
        return []
    lines = []
    for text in file.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(json.JSONDecodeError):  # the last line may be cut short by a crash
            lines.append(json.loads(text))
    again = None if evaluated else (step, "val")
    whole = [_renamed(line) for line in lines if isinstance(line, dict) and {"step", "split"} <= line.keys()]
    kept = [line for line in whole if line["step"] <= step and (line["step"], line["split"]) != again]
    return [{"format": FORMAT} | kept[0], *kept[1:]] if kept else []


def _renamed(line: dict[str, Any]) -> dict[str, Any]:
    """A line of metrics.jsonl, of any version, under today's names."""
    return {OLD_NAMES.get(name, name): value for name, value in line.items()}


@functools.cache
def _summary_writer() -> Any:
    """TensorBoard's writer class; None if TensorBoard is not installed, which is printed once a process."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        print('no TensorBoard curves (metrics.jsonl has the numbers); to get them: pip install "muntin[train]"')
        return None
    return SummaryWriter
