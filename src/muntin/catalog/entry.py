"""What the catalog knows of a family of models, and of one name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from muntin.errors import UserError
from muntin.formats.layout import Files
from muntin.heads import Readout
from muntin.ops.windows import Size


class BiasTables(NamedTuple):
    """The tables of a relative position bias, one row an offset. They must be resized for a model of other windows."""

    keys: str  # pattern of their names; its first group, if it has one, is the stage
    field: str  # of the config: what they are made for
    windows: Callable[[Any], Sequence[Size]]  # config -> that, of every stage or of the whole model
    option: str  # of `muntin adapt`, which changes it
    last_rows: int = 0  # that are no offset between two cells, and stay
    fixed: bool = False  # computed once from what is no longer there: they serve their own windows alone


def _must_agree(backbone: Any, told: Mapping[str, Any], assumed: Mapping[str, Any]) -> tuple[str, ...]:
    """The `adopt` of a family whose models cannot change their settings. Raises UserError where the weights have
    others.
    """
    for name, value in told.items():
        if value != (own := getattr(backbone.config, name)):
            raise UserError(
                f"the weights are of a model with {name} {value}, and this one has {own}; "
                f"build it with {name}={value!r}"
            )
    return ()


def _nothing(*_: Any) -> dict[str, Any]:
    return {}


def _no(*_: Any) -> bool:
    return False


class Family(NamedTuple):
    """What the models of one paper have in common.

    The rooms above ask a family everything that they need to know of a model, so none of them depends on which model it
    is. The functions get a config of the family; sizes of pictures are in pixels.
    """

    name: str  # that `files.sizes` gives it
    backbone: type[nn.Module]  # (config, drop_path_rate)
    config: type  # a frozen dataclass: what the paper's tables vary
    readout: Callable[[Any], Callable[[int, int], Readout]]  # config -> what makes the readout of a classifier
    files: Files  # its foreign checkpoints
    small: Mapping[str, Any]  # fields of a model that learns 32 x 32 pictures within seconds
    beginning: str = ""  # pattern of how others begin its names, where ours begin with `name`
    dense: Mapping[str, Any] = {}  # fields in which the official dense backbones differ from the classifiers

    # fields of the config
    structure: tuple[str, ...] = ()  # that make a variant
    squares: tuple[str, ...] = ()  # in which a whole number stands for a square
    stage_squares: tuple[str, ...] = ()  # that have one such size a stage
    hidden: Mapping[str, str] = {}  # that some files do not tell, in words: the published name does
    decided: tuple[str, ...] = ()  # that weights decide, and no tensor of a checkpoint holds
    in_use: tuple[str, ...] = ()  # that may be others in use than in training
    grid: str = ""  # cells of learned positions, one a cell of the pictures

    # tensors
    patch_kernel: str = "backbone.patch_embed.proj.weight"  # that sees the channels of a picture; "": has no such one
    positions: str = ""  # learned, of the grid
    tables: BiasTables | None = None

    # settings: fields that no tensor tells
    adopt: Callable[[Any, Mapping[str, Any], Mapping[str, Any]], tuple[str, ...]] = _must_agree
    """(backbone, what a file tells, what holds where neither file nor model tells) -> notes. Sets them, or refuses."""
    trained: Callable[[Any, Size | None], dict[str, Any]] = _nothing  # what training on such pictures fixes for good
    told: Callable[[Any, Size | None], dict[str, Any]] = _nothing  # the same, as a config.json of ours says it
    spelt: Callable[[Any], dict[str, Any]] = _nothing  # fields that files spell otherwise than the config
    same: Callable[[Entry, str, Any], bool] = _no  # whether a field that a file tells says what this entry is

    # other projects
    transformers: Callable[[Any, str], dict[str, Any]] | None = None  # config and kind -> its config.json there
    buffers: Callable[[str, Any, Size], dict[str, Tensor]] = _nothing
    """(layout, config, pictures) -> what files of a layout hold although it follows from sizes."""

    # what only some can do
    freeze_bias: Callable[[Any, Size], None] | None = None  # backbone and pictures of its training: bias to tables
    resembles: Callable[[Any], str] = lambda config: ""  # config -> the family that its tensors alone look like

    @property
    def title(self) -> str:
        return self.backbone.__name__

    def for_pictures(self, config: Any, size: Size) -> dict[str, Any]:
        """The fields that follow from the size of the pictures: learned positions have one row for each cell."""
        if not self.grid or not getattr(config, self.grid):
            return {}
        with torch.device("meta"):
            cells = self.backbone(config).embed(torch.empty(1, config.in_chans, *size))  # type: ignore[operator]
        return {self.grid: tuple(cells.shape[1:-1])}

    def beside(self, config: Any, size: Size | None) -> dict[str, Any]:
        """What config.json says of a model trained on such pictures, besides the config: what no tensor tells."""
        settings = {name: getattr(config, name) for name in self.files.settings}
        return ({"settings": settings} if settings else {}) | self.told(config, size)

    def changes(self, config: Any, base: Any) -> dict[str, Any]:
        """The fields in which a config differs from another, as files spell them."""
        spelt = self.spelt(config)
        alike = self.spelt(replace(config, **{field: getattr(base, field) for field in spelt}))
        old, new = {**vars(base), **alike}, {**vars(config), **spelt}
        return {field: value for field, value in new.items() if value != old[field]}

    def kept(self, config: Any, size: Size, before: Any, size_before: Size | None) -> dict[str, Any]:
        """The fields that a model must have so that weights of the config `before` keep their meaning in it.

        size, size_before: of the pictures that it gets, and of those it was trained on (None: unknown).
        """
        had, now = self.trained(before, size_before), self.trained(config, size)
        return {
            field: value
            for field, value in had.items()
            if getattr(config, field) is None and value != now[field] and len(value) == len(now[field])
        }

    def small_form(self, config: Any) -> dict[str, Any]:
        """The fields of the small model, with what the config says of its first stages."""
        stages = len(self.small.get("depths", ()))
        kept = {name: scales[:stages] for name in self.stage_squares if (scales := getattr(config, name))}
        return {**self.small, **kept}


class Entry(NamedTuple):
    """One name of the catalog. Numbers are published ones; None if there is no such number."""

    name: str
    family: Family
    config: Any  # of the family's type
    image_size: tuple[int, int]  # pixels of its published training
    top1: float | None = None  # ImageNet-1K accuracy in %
    trained_on: str = ""  # what that number was trained on
    source: str = ""  # where the number stands
    note: str = ""  # what sets it apart from the name before
    digits: float | None = None  # top-1 in % on the built-in digits, measured by a benchmark of this project
