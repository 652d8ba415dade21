"""Opens what the user names as data: a folder, a CSV file, tar shards, or the built-in digits."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from muntin.data.sources.csv import Table
from muntin.data.sources.digits import Digits
from muntin.data.sources.files import folders_in
from muntin.data.sources.folder import Folder
from muntin.data.sources.listing import listing
from muntin.data.sources.shards.files import VALIDATION, ShardFiles, find_shards
from muntin.data.sources.shards.shards import Shards
from muntin.data.sources.shards.storage import is_url
from muntin.data.sources.source import Source, Splits
from muntin.data.sources.subset import Subset, hold_out
from muntin.data.sources.unlabelled import Unlabelled, WithoutLabels
from muntin.errors import UserError


def open_data(place: str | Path, *, labelled: bool = True, val_share: float = 0.1, seed: int = 0) -> Splits:
    """Recognise data by looking at it, and split it into what is trained on and what is held out.

    - "digits": the built-in set with its own split (a folder of that name is "./digits").
    - a folder with `train/` and one of `val/ valid/ validation/`; class folders in both, the same in both.
    - a folder (or a `train/` alone) of class folders, of which `val_share` of every class is held out, drawn by `seed`.
    - a `.csv` file of `path,label`, with the split from its column `split` or else drawn likewise.
    - tar shards in a folder, or at a URL that fsspec knows (s3://bucket/folder), see `shards/files.py`; where none are
      for validation, `val_share` of every class is held out likewise.
    labelled: whether the task needs labels. Without them folders are searched to any depth, labels are ignored, and
    `classes` is ().

    Raises `UserError` where the data is missing, empty, has no or one class, or classes that differ between the two.
    """
    if str(place) == "digits":
        train, val = Digits("train"), Digits("val")
        return Splits(train, val) if labelled else Splits(WithoutLabels(train), WithoutLabels(val))
    path = Path(place)
    if (is_url(str(place)) or path.exists()) and (shards := find_shards(str(place))):
        return _open_shards(str(place), shards, labelled, val_share, seed)
    if not path.exists():
        raise UserError(
            f"there is no data at {path}; muntin needs a folder of pictures or tar shards, a .csv file of path,label, "
            "a URL of tar shards, or 'digits'"
        )
    if path.is_dir():
        return _open_folder(path, labelled, val_share, seed)
    if path.suffix.lower() == ".csv":
        return _open_table(path, labelled, val_share, seed)
    raise UserError(
        f"{path} is a file; muntin needs a folder of pictures, a .csv file of path,label, a tar shard, or 'digits'"
    )


def _open_folder(root: Path, labelled: bool, val_share: float, seed: int) -> Splits:
    kind = Folder if labelled else Unlabelled
    folders = folders_in(root)
    held_out = [name for name in VALIDATION if name in folders]
    if len(held_out) > 1:
        raise UserError(f"{root} has {listing(held_out)}: keep one folder for validation")
    if held_out and "train" not in folders:
        raise UserError(f"{root} has {held_out[0]}/ but no train/: put the pictures to train on into {root}/train")
    if held_out:
        train, val = kind(root / "train"), kind(root / held_out[0])
        if labelled:
            _require_same_classes(root, train.classes, val.classes)
        return Splits(train, val)
    # `train` may be a class of its own, beside `car` and `bus`; it is a split when it has folders inside
    if "train" in folders and (folders == ["train"] or folders_in(root / "train")):
        root = root / "train"
    return hold_out(kind(root), val_share, seed)


def _open_shards(place: str, files: ShardFiles, labelled: bool, val_share: float, seed: int) -> Splits:
    train = Shards(files.train, classes=files.classes, labelled=labelled)
    if not files.val:
        return hold_out(train, val_share, seed)
    val = Shards(files.val, classes=files.classes, labelled=labelled)
    _require_same_classes(place, train.classes, val.classes)
    return Splits(train, val)


def _open_table(path: Path, labelled: bool, val_share: float, seed: int) -> Splits:
    table = Table(path, labelled=labelled)
    if table.splits is None:
        return hold_out(table, val_share, seed)
    train, val = (
        Subset(table, [index for index, split in enumerate(table.splits) if split == wanted])
        for wanted in ("train", "val")
    )
    if not len(train):
        raise UserError(f"{path} has no line with split train: there is nothing to train on")
    if not len(val):
        return Splits(train, None)
    if labelled:
        _require_same_classes(path, _classes_met(train), _classes_met(val))
    return Splits(train, val)


def _classes_met(source: Source) -> list[str]:
    met = {source.label(index) for index in range(len(source))}
    return [name for label, name in enumerate(source.classes) if label in met]


def _require_same_classes(place: str | Path, train: Iterable[str], val: Iterable[str]) -> None:
    train, val = dict.fromkeys(train), dict.fromkeys(val)
    differences = [
        f"{one} has {len(extra)} {'class' if len(extra) == 1 else 'classes'} missing from {other}: {listing(extra)}"
        for one, other, extra in (
            ("val", "train", [name for name in val if name not in train]),
            ("train", "val", [name for name in train if name not in val]),
        )
        if extra
    ]
    if differences:
        raise UserError(f"{place}: {'; '.join(differences)}. Rename or move pictures until both have the same classes")
