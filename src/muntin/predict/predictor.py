"""A saved model that answers about files, folders and globs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from muntin.data import Sample
from muntin.draw import draw
from muntin.engine.device import to_device
from muntin.errors import UserError
from muntin.tasks.index import for_answering
from muntin.weights.folder import Saved, load_model

from . import records
from .files import Picture, drawn_file, find_pictures


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """One record a readable picture, in the order asked, and why each of the others was skipped."""

    kind: str  # of the answers, which says what a record holds: a `Prediction` for classes
    found: list[Any] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # file -> one sentence


class Predictor:
    """A saved model with its inputs and class names.

    >>> Predictor.load("runs/first").predict(["photos", "one.jpg"]).found[0].label
    """

    def __init__(self, saved: Saved, device: torch.device | str = "cpu"):
        self.inputs, self.device = saved.fed(), torch.device(device)
        task: Any = for_answering(saved.model, saved.answering(), self.inputs, saved.classes)
        self.task = task.to(device).eval()
        self._transform = self.inputs.eval_transform()

    @classmethod
    def load(cls, place: str | Path, device: torch.device | str = "cpu") -> Predictor:
        """Load a run folder or a model folder. Raises UserError where `load_model` does."""
        return cls(load_model(place), device)

    def predict(
        self, places: Iterable[str | Path], *, top: int = 5, batch_size: int = 32, save: Path | None = None
    ) -> Predictions:
        """Ask about every picture of the files, folders and globs; `top` labels each.

        `save` is a folder for copies of the pictures with the answer drawn on them. A file that is no picture is
        skipped and listed. Raises UserError for a place without pictures.
        """
        said, pictures = Predictions(kind=self.task.answers), find_pictures(places, self.inputs.read)
        taken = {Path(picture.name).resolve() for picture in pictures}
        for start in range(0, len(pictures), batch_size):
            read = self._read(pictures[start : start + batch_size], start, said.skipped)
            if not read:
                continue
            names, images = [sample.name for _, sample in read], [image for image, _ in read]
            answer = self.answer([sample for _, sample in read])
            said.found.extend(records.of(said.kind).read(answer, names, self.task.classes, top))
            if save:
                save.mkdir(parents=True, exist_ok=True)
                for number, image in enumerate(images):
                    drawn = draw(image, answer, number, self.task.classes, self.inputs)
                    drawn.save(drawn_file(save, names[number], taken))
        return said

    @torch.inference_mode()
    def answer(self, samples: list[Sample]) -> Any:
        """What the task answers to prepared samples, on the CPU: a type of `muntin.answers`."""
        batch = self.task.collate(samples, range(len(samples)))
        return to_device(self.task.answer(to_device(batch, self.device)), torch.device("cpu"))

    def _read(self, pictures: list[Picture], first: int, skipped: dict[str, str]) -> list[tuple[Image.Image, Sample]]:
        """The picture and prepared sample of each picture that can be read; the others are added to `skipped`.

        first: number of the first of them among all that are asked about. What is random in an answer, such as a mask,
        follows from a picture's number.
        """
        read = []
        for number, (name, open_it) in enumerate(pictures, first):
            rng = np.random.default_rng((0, number))
            try:
                sample = open_it()
                prepared = self.task.prepare(self._transform(sample, rng), rng, False)
                read.append((sample.inputs["image"], prepared))
            except UserError as error:
                skipped[name] = str(error) if name in str(error) else f"{name}: {error}"
        return read
