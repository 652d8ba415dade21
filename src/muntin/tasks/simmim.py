"""SimMIM: A Simple Framework for Masked Image Modeling (Xie et al., 2022, arXiv:2111.09886).

- a mask token replaces the embedding of masked patches, after the patch norm (sec. 3.2);
- the encoder sees all tokens, masked or not;
- one linear layer predicts the pixels of each coarsest cell (sec. 3.3);
- l1 loss on masked pixels alone (sec. 3.4), against the picture or, for Swin V2, its locally normalised version.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from muntin.data import Augment
from muntin.errors import UserError, refuse
from muntin.models.backbone import Backbone
from muntin.ops.cached import without_autocast


@dataclass(frozen=True, kw_only=True)
class SimMIMChoice:
    """Masked pixels, learnt without labels."""

    kind: Literal["simmim"] = field(default="simmim", init=False)
    mask_patch: int = 32
    """Side of a masked square in pixels; the picture's side and the model's patch divide it evenly."""
    mask_ratio: float = 0.6
    """Share of the squares that are masked, in (0, 1)."""
    target_window: int = 0
    """Odd side of the sliding window that normalises the target (SimMIM for Swin V2: 47); 0 for raw pixels."""

    def __post_init__(self) -> None:
        """Raises UserError with every value that is out of range."""
        wrong = []
        if self.mask_patch < 1:
            wrong.append(f"mask_patch is {self.mask_patch}; it must be at least 1")
        if not 0 < self.mask_ratio < 1:
            wrong.append(f"mask_ratio is {self.mask_ratio}; it must be above 0 and below 1")
        if self.target_window and (self.target_window < 3 or self.target_window % 2 == 0):
            wrong.append(f"target_window is {self.target_window}; it must be 0 or odd, from 3")
        refuse("task", wrong)

    def check(self, augment: Augment) -> None:
        """Every augmentation of pictures will do; mixing them is refused where it would take place."""

    def tiny(self) -> SimMIMChoice:
        """The choice for pictures of 32 x 32 pixels."""
        return replace(self, mask_patch=8, target_window=min(self.target_window, 7))


class SimMIM(nn.Module):
    """Pre-trains any backbone with `embed` and `encode` by predicting masked pixels.

    batch: "image" (B, C, H, W) and "mask" (B, h, w), 1 = masked, one number a patch of the model.
    normalised_target: side in pixels of the sliding window that normalises the target (odd; V2's recipe: 47), 0: the
    picture as it is. eps: of the norm before the decoder (Swin 1e-5, ViT 1e-6).
    """

    def __init__(self, backbone: Backbone, normalised_target: int = 0, eps: float = 1e-5):
        super().__init__()
        if normalised_target and normalised_target % 2 == 0:
            raise ValueError(f"the window of the normalised target must be odd, got {normalised_target}")
        self.backbone, self.normalised_target = backbone, normalised_target
        dim, stride = backbone.channels[-1], backbone.strides[-1]
        in_chans = backbone.config.in_chans  # type: ignore[attr-defined]
        self.stride = stride
        self.mask_token = nn.Parameter(torch.empty(backbone.embed_dim))
        self.norm = nn.LayerNorm(dim, eps)
        self.decoder = nn.Linear(dim, in_chans * stride**2)
        self.initialise()

    def initialise(self) -> None:
        """Mask token N(0, 0.02); the decoder keeps PyTorch's default, the same for a 1 x 1 convolution."""
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(self, batch: dict) -> dict[str, Tensor]:
        return self.losses(batch)

    def losses(self, batch: dict) -> dict[str, Tensor]:
        image, mask = batch["image"], batch["mask"]
        reconstruction, pixels = self.reconstruct(image, mask).float(), self.pixel_mask(mask)
        distance = (reconstruction - self.target(image)).abs() * pixels
        # the official denominator: pixels counted once, not per channel, then divided by the channels
        return {"reconstruction": distance.sum() / (pixels.sum() + 1e-5) / image.shape[1]}

    def predict(self, batch: dict) -> dict[str, Tensor]:
        image, mask = batch["image"], batch["mask"]
        return {
            "reconstruction": self.reconstruct(image, mask).float(),
            "target": self.target(image),
            "pixel_mask": self.pixel_mask(mask),
        }

    def reconstruct(self, image: Tensor, mask: Tensor) -> Tensor:
        """Predicted pixels of the whole picture: (B, C, H, W) and (B, h, w) -> (B, C, H, W)."""
        x = self.decoder(self.encode(image, mask))  # (B, H/s, W/s, C * s * s)
        x = x.unflatten(-1, (image.shape[1], self.stride, self.stride))
        return x.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)

    def encode(self, image: Tensor, mask: Tensor) -> Tensor:
        """Normalised features of the coarsest level with masked patches replaced: -> (B, H/s, W/s, C).

        Raises UserError for a picture that the coarsest cells do not divide, and for a mask of another grid.
        """
        if any(side % self.stride for side in image.shape[2:]):
            size = "x".join(map(str, image.shape[2:]))
            raise UserError(f"the picture of {size} pixels is not cut evenly by cells of {self.stride}; resize it")
        tokens = self.backbone.embed(image)
        if mask.shape != tokens.shape[:-1]:
            given, needed = tuple(mask.shape), tuple(tokens.shape[:-1])
            raise UserError(f"the mask has shape {given}; these pictures need {needed}, one number a patch")
        tokens = torch.where(mask[..., None].bool(), self.mask_token.to(tokens.dtype), tokens)
        return self.norm(self.backbone.encode(tokens).levels[-1].movedim(1, -1))

    def pixel_mask(self, mask: Tensor) -> Tensor:
        """(B, h, w) patches -> (B, 1, H, W) pixels, float."""
        patch = self.backbone.strides[0]
        return mask.repeat_interleave(patch, 1).repeat_interleave(patch, 2)[:, None].float()

    def target(self, image: Tensor) -> Tensor:
        return normalise_locally(image.float(), self.normalised_target) if self.normalised_target else image.float()

    def layers(self) -> list[list[nn.Module]]:
        return [*self.backbone.layers(), [self.norm, self.decoder]]

    def no_weight_decay(self) -> set[str]:
        return {"mask_token"}


def normalise_locally(image: Tensor, window: int) -> Tensor:
    """Each pixel minus the mean of its window, over its unbiased standard deviation: (B, C, H, W) -> (B, C, H, W).

    Border windows count only pixels of the picture. In fp32: the variance is a small difference of large numbers.
    """
    mean, deviation = _around(image, window)
    return (image - mean) / deviation


def denormalise_locally(values: Tensor, image: Tensor, window: int) -> Tensor:
    """`normalise_locally` undone with the windows of `image`: values on its scale to pixels, all (B, C, H, W)."""
    mean, deviation = _around(image, window)
    return values * deviation + mean


def _around(image: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Mean and unbiased standard deviation of the window around each pixel, each (B, C, H, W)."""
    with without_autocast(image.device):
        mean, square = _window_means(image, window, inside=True), _window_means(image.square(), window, inside=True)
        inside = _window_means(torch.ones_like(image[:1, :1]), window, inside=False) * window**2
        variance = ((square - mean.square()) * inside / (inside - 1)).clamp_min(0)
        return mean, (variance + 1e-6).sqrt()


def _window_means(x: Tensor, window: int, *, inside: bool) -> Tensor:
    """Mean of the window around each pixel, of those in the picture or, with `inside` off, of all with 0 beyond it.

    Rows first, then columns: a window of 47 x 47 costs 94 numbers a pixel so, where both at once cost 2,209.
    """
    pad = window // 2
    rows = F.avg_pool2d(x, (window, 1), 1, (pad, 0), count_include_pad=not inside)
    return F.avg_pool2d(rows, (1, window), 1, (0, pad), count_include_pad=not inside)
