"""Names for pictures: a saved model asked about files, folders and globs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from muntin.data import inputs_from
from muntin.draw.classes import draw, drawn_file
from muntin.errors import UserError
from muntin.weights.folder import Saved, load_model

from .files import Picture, find_pictures


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model says about one picture. Scores are softmax probabilities, in [0, 1]."""

    file: str
    label: str
    score: float
    top: tuple[tuple[str, float], ...]  # (label, score), best first; the first is `label`, `score`

    def record(self) -> dict[str, Any]:
        """The prediction as a plain dictionary, ready for JSON."""
        top = [{"label": label, "score": score} for label, score in self.top]
        return {"file": self.file, "label": self.label, "score": self.score, "top": top}


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """One `Prediction` a readable picture, in the order asked, and why each of the others was skipped."""

    found: list[Prediction] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # file -> one sentence


class Predictor:
    """A saved model with its preprocessing and class names, ready to be asked.

    >>> Predictor.load("runs/first").predict(["photos", "one.jpg"]).found[0].label
    """

    def __init__(self, saved: Saved, device: torch.device | str = "cpu"):
        self.model = saved.model.to(device)
        self.classes = saved.classes
        self.device = torch.device(device)
        self._transform = inputs_from(saved.preprocess).eval_transform()

    @classmethod
    def load(cls, place: str | Path, device: torch.device | str = "cpu") -> Predictor:
        """From a run folder or a model folder. Raises UserError where `load_model` does."""
        return cls(load_model(place), device)

    def predict(
        self, places: Iterable[str | Path], *, top: int = 5, batch_size: int = 32, save: Path | None = None
    ) -> Predictions:
        """Name every picture of the files, folders and globs; `top` labels each.

        `save` is a folder for copies of the pictures with label and score drawn below. A file that is no picture is
        skipped and listed. Raises UserError for a place without pictures.
        """
        answer, pictures = Predictions(), find_pictures(places)
        taken = {Path(picture.name).resolve() for picture in pictures}
        for start in range(0, len(pictures), batch_size):
            batch = self._read(pictures[start : start + batch_size], answer.skipped)
            if not batch:
                continue
            names, images, inputs = zip(*batch)
            scores, order = self.scores(torch.stack(inputs)).topk(min(top, len(self.classes)), dim=1)  # (B, top) each
            for name, image, row, indices in zip(names, images, scores.tolist(), order.tolist()):
                best = tuple((self.classes[i], score) for i, score in zip(indices, row))
                answer.found.append(Prediction(file=name, label=best[0][0], score=best[0][1], top=best))
                if save:
                    save.mkdir(parents=True, exist_ok=True)
                    draw(image, *best[0]).save(drawn_file(save, name, taken))
        return answer

    @torch.inference_mode()
    def scores(self, inputs: Tensor) -> Tensor:
        """Preprocessed pictures (B, C, H, W) -> probabilities of all classes (B, K), on the CPU."""
        return self.model(inputs.to(self.device)).float().softmax(dim=1).cpu()

    def _read(self, pictures: list[Picture], skipped: dict[str, str]) -> list[tuple[str, Image.Image, Tensor]]:
        """Name, picture and model input of those that can be read; the others are added to `skipped`."""
        read, rng = [], np.random.default_rng(0)
        for name, open_it in pictures:
            try:
                sample = open_it()
                image = sample.inputs["image"]
                read.append((name, image, self._transform(sample, rng).inputs["image"]))
            except UserError as error:
                skipped[name] = str(error) if name in str(error) else f"{name}: {error}"
        return read
