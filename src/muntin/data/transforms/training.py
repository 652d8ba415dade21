"""The changes that samples go through in training, in their order."""

from __future__ import annotations

from muntin.data.transforms.affine import RandomAffine
from muntin.data.transforms.augment import Augment
from muntin.data.transforms.color import ColorJitter
from muntin.data.transforms.crop import PaddedCrop, RandomResizedCrop, ReflectedCrop
from muntin.data.transforms.erasing import RandomErasing
from muntin.data.transforms.flip import Flip
from muntin.data.transforms.inputs import Inputs
from muntin.data.transforms.pixels import InMode, Normalise
from muntin.data.transforms.randaugment import RandAugment
from muntin.data.transforms.resize import Cover
from muntin.data.transforms.three_augment import three_augment
from muntin.data.transforms.transform import InOrder, Transform
from muntin.data.transforms.vision import functional

SMALL = 32  # pixels; inputs up to this side are shifted by crop="auto", larger ones cropped and resized


def train_transform(inputs: Inputs, augment: Augment) -> Transform:
    """`augment`'s changes of single samples, then normalisation, then erasing. Needs torchvision.

    "image" becomes float32 (C, H, W). What is switched off draws no random number.
    """
    functional()  # a missing torchvision is said here, not by the first worker
    steps: list[Transform] = [InMode(inputs.mode), *_crop(inputs, augment)]
    if augment.flip:
        steps.append(Flip(augment.flip))
    if augment.rotate or augment.translate or augment.shear or augment.zoom != (1.0, 1.0):
        steps.append(
            RandomAffine(
                rotate=augment.rotate,
                translate=augment.translate,
                zoom=augment.zoom,
                shear=augment.shear,
                resampling=inputs.resampling,
            )
        )
    if augment.randaugment:
        magnitude, std, ops = augment.randaugment, augment.randaugment_std, augment.randaugment_ops
        steps.append(RandAugment(magnitude, std, ops, inputs.mean, inputs.resampling))
    if augment.three_augment:
        steps.append(three_augment)
    if augment.color_jitter and not augment.randaugment:  # timm's rule, which the published recipes rely on
        steps.append(ColorJitter(augment.color_jitter))
    steps.append(Normalise(inputs.mean, inputs.std))
    if augment.erasing:
        steps.append(RandomErasing(augment.erasing))
    return InOrder(steps)


def _crop(inputs: Inputs, augment: Augment) -> list[Transform]:
    size, crop = inputs.image_size, augment.crop
    if crop == "auto":
        crop = "padded" if max(size) <= SMALL else "resized"
    if crop == "simple":
        return [Cover(size, inputs.resampling), ReflectedCrop(size, augment.pad)]
    if crop == "resized":
        return [RandomResizedCrop(size, augment.crop_scale, augment.crop_ratio, inputs.resampling)]
    return [*inputs.fit(), PaddedCrop(augment.pad)] if crop == "padded" else inputs.fit()
