"""SimMIM: A Simple Framework for Masked Image Modeling (Xie et al., 2022, arXiv:2111.09886).

- a mask token replaces the embedding of masked patches, after the patch norm (sec. 3.2);
- the encoder sees all tokens, masked or not;
- one linear layer predicts the pixels of each coarsest cell (sec. 3.3);
- l1 loss on masked pixels alone (sec. 3.4), against the picture or, for Swin V2, its locally normalised version.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from dataclasses import fields as dataclass_fields
from typing import Any, ClassVar, Literal, get_type_hints

import torch
from torch import Tensor, nn

from muntin.answers import Reconstruction
from muntin.data import Augment, Batch, Inputs, Prepare, stack, unprepared
from muntin.errors import UserError, refuse, sides, unknown
from muntin.evals import ReconstructionMeter
from muntin.models.backbone import Backbone
from muntin.ops.local_norm import normalise_locally

from .masking import MaskGenerator
from .task import About, Best, Load, Losses, Models, Shown


class SimMIM(nn.Module):
    """Pre-trains any backbone with `embed` and `encode` by predicting masked pixels.

    batch: inputs "image" (B, C, *S) and "mask" (B, *s), 1 = masked, one number a patch of the model.
    normalised_target: side in pixels of the sliding window that normalises the target (odd; V2's recipe: 47), 0: the
    picture as it is. eps: of the norm before the decoder (Swin 1e-5, ViT 1e-6). masks: draws the mask of each sample in
    the workers; without it masks come with the batch.
    """

    kind = "simmim"  # of what a model folder holds
    best = Best("loss", higher=False)
    shown = (Shown("loss", "loss", share=False),)
    answers, classes = "reconstruction", ()
    collate = staticmethod(stack)

    def __init__(
        self,
        backbone: Backbone,
        normalised_target: int = 0,
        eps: float = 1e-5,
        masks: MaskGenerator | None = None,
    ):
        super().__init__()
        if normalised_target and normalised_target % 2 == 0:
            raise ValueError(f"the window of the normalised target must be odd, got {normalised_target}")
        self.backbone, self.normalised_target, self.masks = backbone, normalised_target, masks
        dim, self.stride = backbone.channels[-1], backbone.strides[-1]
        if normalised_target and len(self.stride) != 2:
            raise UserError("the normalised target is made for pictures; set it to 0 for a model of clips")
        self.mask_token = nn.Parameter(torch.empty(backbone.embed_dim))
        self.norm = nn.LayerNorm(dim, eps)
        self.decoder = nn.Linear(dim, backbone.config.in_chans * math.prod(self.stride))
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def initialise(self) -> None:
        """Backbone as its paper says, norm 1 and 0, mask token N(0, 0.02); the decoder has PyTorch's default, the same
        as for a 1 x 1 convolution.
        """
        self.backbone.initialise()
        self.norm.reset_parameters()
        self.decoder.reset_parameters()
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    @property
    def prepare(self) -> Prepare:
        return self.masks.prepare if self.masks else unprepared

    @staticmethod
    def kept(models: Models, num_classes: int) -> SimMIM:
        """An empty module of the kind that `keeps` gives."""
        return SimMIM(models.classifier(0).backbone)

    @staticmethod
    def for_answering(
        kept: SimMIM, fields: Mapping[str, Any], inputs: Inputs | None, classes: tuple[str, ...]
    ) -> SimMIM:
        """Make the task again from what was saved, with the masks of its training."""
        choice = _choice(fields)
        kept.normalised_target = choice.target_window
        kept.masks = choice.masks(kept.backbone, inputs) if inputs else None
        return kept

    def forward(self, batch: Batch) -> Losses:
        return self.losses(batch)

    def losses(self, batch: Batch) -> Losses:
        image, mask = batch.inputs["image"], batch.inputs["mask"]
        return Losses({"reconstruction": self.distance(self.reconstruct(image, mask), image, mask)})

    def answer(self, batch: Batch) -> Reconstruction:
        image, mask = batch.inputs["image"], batch.inputs["mask"]
        predicted = self.reconstruct(image, mask)
        loss = self.distance(predicted, image, mask)
        return Reconstruction(predicted.float(), image, self.pixel_mask(mask), self.normalised_target, loss)

    def distance(self, predicted: Tensor, image: Tensor, mask: Tensor) -> Tensor:
        """Mean l1 distance to the target over the masked pixels: (B, C, *S), twice, and (B, *s) -> scalar."""
        pixels = self.pixel_mask(mask)
        distance = (predicted.float() - self.target(image)).abs() * pixels
        # the official denominator: pixels counted once, not per channel, then divided by the channels
        return distance.sum() / (pixels.sum() + 1e-5) / image.shape[1]

    def meter(self) -> ReconstructionMeter:
        return ReconstructionMeter()

    def reconstruct(self, image: Tensor, mask: Tensor) -> Tensor:
        """Predicted pixels of the whole picture: (B, C, *S) and (B, *s) -> (B, C, *S)."""
        x, n = self.decoder(self.encode(image, mask)), len(self.stride)  # (B, *S / stride, C * prod(stride))
        x = x.unflatten(-1, (image.shape[1], *self.stride))
        x = x.permute(0, 1 + n, *[axis for i in range(n) for axis in (1 + i, 2 + n + i)])
        for axis in reversed(range(2, 2 + n)):
            x = x.flatten(2 * axis - 2, 2 * axis - 1)
        return x

    def encode(self, image: Tensor, mask: Tensor) -> Tensor:
        """Normalised features of the coarsest level with masked patches replaced: -> (B, *S / stride, C).

        Raises UserError for a picture that the coarsest cells do not divide, and for a mask of another grid.
        """
        if any(side % cell for side, cell in zip(image.shape[2:], self.stride)):
            size = "x".join(map(str, image.shape[2:]))
            raise UserError(
                f"the picture of {size} pixels is not cut evenly by cells of {sides(self.stride)}; resize it"
            )
        tokens = self.backbone.embed(image)
        if mask.shape != tokens.shape[:-1]:
            given, needed = tuple(mask.shape), tuple(tokens.shape[:-1])
            raise UserError(f"the mask has shape {given}; these pictures need {needed}, one number a patch")
        tokens = torch.where(mask[..., None].bool(), self.mask_token.to(tokens.dtype), tokens)
        return self.norm(self.backbone.encode(tokens).levels[-1].movedim(1, -1))

    def pixel_mask(self, mask: Tensor) -> Tensor:
        """(B, *s) patches -> (B, 1, *S) pixels, float."""
        for axis, patch in enumerate(self.backbone.strides[0], start=1):
            mask = mask.repeat_interleave(patch, axis)
        return mask[:, None].float()

    def target(self, image: Tensor) -> Tensor:
        return normalise_locally(image.float(), self.normalised_target) if self.normalised_target else image.float()

    def layers(self) -> list[list[nn.Module]]:
        return [*self.backbone.layers(), [self.norm, self.decoder]]

    def no_weight_decay(self) -> set[str]:
        return {"mask_token"}

    def parts(self) -> dict[str, nn.Module]:
        return {"backbone": self.backbone, "norm": self.norm, "decoder": self.decoder}  # type: ignore[dict-item]

    def companions(self) -> dict[str, nn.Module]:
        return {}

    def keeps(self) -> SimMIM:
        return self

    def answering(self) -> dict[str, Any]:
        fields = {"kind": SimMIMChoice.kind, "target_window": self.normalised_target}
        return fields | ({"mask_patch": self.masks.cell[0], "mask_ratio": self.masks.ratio} if self.masks else {})

    def opening(self) -> list[str]:
        return []

    def closing(self, summary: Mapping[str, Any]) -> str:
        return f"loss on masked pixels {summary['loss' if 'loss' in summary else 'train_loss']:.4f}"

    def then(self, run: str, data: str, inputs: Inputs) -> str:
        height, width = inputs.image_size
        data = data if data == "digits" else "LABELLED_FOLDER"
        return f"muntin train finetune --weights {run} --data {data} --image-size {height} {width}"


@dataclass(frozen=True, kw_only=True)
class SimMIMChoice:
    """Learn to predict masked pixels, without labels."""

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

    labelled: ClassVar[bool] = False
    task: ClassVar[type] = SimMIM

    def check(self, augment: Augment) -> None:
        """Accept every augmentation of pictures; mixing them is refused where it would take place."""

    def tiny(self) -> SimMIMChoice:
        """The choice for pictures of 32 x 32 pixels."""
        return replace(self, mask_patch=8, target_window=min(self.target_window, 7))

    def build(self, models: Models, about: About, load: Load) -> SimMIM:
        """Build the task with the chosen backbone; the norm of its readout goes before the decoder."""
        model = models.classifier(0)
        task = SimMIM(model.backbone, self.target_window, masks=self.masks(model.backbone, about.inputs))
        task.norm.load_state_dict(model.readout.norm.state_dict())
        _check_divides(about.inputs.image_size, task.stride, models.name)
        return task

    def masks(self, backbone: Backbone, inputs: Inputs) -> MaskGenerator:
        """The masks for pictures as this backbone gets them."""
        return MaskGenerator(inputs.image_size, self.mask_patch, backbone.strides[0], self.mask_ratio)


def _choice(fields: Mapping[str, Any]) -> SimMIMChoice:
    """The choice that a model folder names. Raises UserError for a field that there is not, and for another type."""
    kinds, given = get_type_hints(SimMIMChoice), {name: value for name, value in fields.items() if name != "kind"}
    own = [each.name for each in dataclass_fields(SimMIMChoice) if each.init]
    for name, value in given.items():
        if name not in own:
            raise unknown("field", name, own, see="the task that the model folder names")
        if type(value) not in ((int, float) if kinds[name] is float else (int,)):
            raise UserError(f"the model folder's task says {name} {value!r}; it must be a number like {kinds[name](1)}")
    return SimMIMChoice(**given)


def _check_divides(size: tuple[int, ...], stride: tuple[int, ...], model: str) -> None:
    """Raise UserError unless the coarsest cells divide the picture: SimMIM's decoder predicts whole cells."""
    if any(side % cell for side, cell in zip(size, stride)):
        given, needed = " x ".join(map(str, size)), sides(stride)
        raise UserError(f"image_size is {given}; SimMIM with {model} needs multiples of {needed} pixels")
