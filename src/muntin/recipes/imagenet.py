"""What the papers' recipes for ImageNet share: augmentation, pictures, and how one recipe follows another."""

from __future__ import annotations

from dataclasses import replace

from muntin.data import Augment, Preprocess
from muntin.engine import Optim, Schedule, Training
from muntin.tasks import ClassificationChoice, Loss

from .recipe import About, DataChoice, ModelChoice, Recipe

# rand-m9-mstd0.5-inc1 in timm's words; the official colour jitter of 0.3 or 0.4 has no effect beside RandAugment
AUGMENT = Augment(crop="auto", flip=0.5, randaugment=9, erasing=0.25, mixup=0.8, cutmix=1.0, smoothing=0.1)
# what some keep of it for fine-tuning
UNMIXED = replace(AUGMENT, mixup=0.0, cutmix=0.0)
PICTURES = Preprocess(image_size=(224, 224), crop_ratio=0.875, interpolation="bicubic")
PICTURES_384 = replace(PICTURES, image_size=(384, 384))
WARPED_384 = replace(PICTURES_384, crop_ratio=0.0)

FP16 = "The official code runs fp16 with a scaled loss; here it is bf16 where the device has it."
CLASSES_22K = "The official head has the 21,841 classes of the release of fall 2011; here it has those of the folder."


def classification(
    model: ModelChoice,
    *,
    optim: Optim,
    schedule: Schedule,
    batch_size: int,
    about: About,
    name: str = "",
    augment: Augment = AUGMENT,
    inputs: Preprocess = PICTURES,
    loss: Loss = "cross_entropy",
) -> Recipe:
    """A recipe that classifies pictures of a folder yet to be named; `name`: the model's."""
    return Recipe(
        name=name or model.name,
        task=ClassificationChoice(loss=loss),
        model=model,
        data=DataChoice(path=""),
        inputs=inputs,
        augment=augment,
        optim=optim,
        schedule=schedule,
        training=Training(batch_size=batch_size, workers=8),
        about=about,
    )


def command(name: str, *, gpus: int = 8, data: str = "IMAGENET", options: str = "") -> str:
    """The command that runs a recipe on one machine."""
    return f"torchrun --nproc-per-node {gpus} -m muntin train {name} --data {data} {options}".rstrip()


def top1(percent: float, source: str = "official repository") -> str:
    """A published number and where it stands."""
    return f"{percent} % top-1 on the ImageNet-1K validation set ({source})"


def starting_from(recipe: Recipe, pretraining: str, official: str, *, options: str = "") -> Recipe:
    """The recipe, from the weights of a run of another recipe or, as the paper, from the `official` ones."""
    return replace(
        recipe,
        model=replace(recipe.model, from_scratch=False),
        about=replace(
            recipe.about,
            command=f"{recipe.about.command} --weights runs/{pretraining} {options}".rstrip(),
            starts_from=f"a run of {pretraining}, or {official}",
        ),
    )
