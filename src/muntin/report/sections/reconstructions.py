"""What SimMIM fills in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from muntin.draw.pixels import from_tensor
from muntin.errors import UserError
from muntin.report import pictures
from muntin.report.markup import Html, element
from muntin.report.page import Page


def reconstructions(
    page: Page,
    original: Tensor,
    pixel_mask: Tensor,
    reconstruction: Tensor,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    count: int = 8,
    title: str = "Reconstructions",
    text: str = "Self-supervised pre-training: the model sees a picture with holes and must paint what was there.",
) -> None:
    """Add the first `count` pictures of a batch as columns of original, masked and reconstructed.

    original, reconstruction (B, C, H, W) normalised by mean and std; pixel_mask (B, 1, H, W), 1 = hidden. Only hidden
    pixels are taken from the reconstruction: the loss asks for nothing else.
    """
    if not len(original):
        raise UserError("no reconstruction to show: the batch is empty")
    original, reconstruction = original[:count].detach().float().cpu(), reconstruction[:count].detach().float().cpu()
    hidden = pixel_mask[:count].cpu().bool()
    level = torch.tensor([0.5], dtype=torch.float32)
    grey = (level - torch.tensor(mean, dtype=torch.float32)) / torch.tensor(std, dtype=torch.float32)
    rows = {
        "original": original,
        "masked": torch.where(hidden, grey.view(1, -1, 1, 1), original),
        "painted in": torch.where(hidden, reconstruction, original),
    }
    page.section(title, text)
    strips = [_strip(name, [from_tensor(image, mean, std) for image in images]) for name, images in rows.items()]
    share = float(hidden.float().mean())
    page.figure(
        element("div", {"class": "strips"}, *strips),
        f"Top: the picture. Middle: what the model sees; {100 * share:.0f}\u202f% of it is hidden (grey). Bottom: the "
        "hidden squares as the model paints them, among the visible pixels as they are. It is trained with the plain "
        "l1 distance, which favours a middle between all plausible answers: soft edges are expected, right shapes are "
        "the point.",
    )


def _strip(name: str, images: list) -> Html:
    return element("div", {"class": "strip"}, element("span", None, name), *[pictures.img(one, name) for one in images])
