"""Pictures: where they come from, how they become batches."""

from muntin.data.augment import Augment as Augment
from muntin.data.batches import Batch as Batch
from muntin.data.check import Findings as Findings
from muntin.data.check import check_data as check_data
from muntin.data.digits import Digits as Digits
from muntin.data.files import pictures_below as pictures_below
from muntin.data.folder import Folder as Folder
from muntin.data.loader import Loader as Loader
from muntin.data.masking import MaskGenerator as MaskGenerator
from muntin.data.mixing import Mixing as Mixing
from muntin.data.mixing import make_mixing as make_mixing
from muntin.data.opening import open_data as open_data
from muntin.data.picture import open_picture as open_picture
from muntin.data.preprocess import Preprocess as Preprocess
from muntin.data.source import Sample as Sample
from muntin.data.source import Source as Source
from muntin.data.source import Splits as Splits
from muntin.data.subset import Subset as Subset
from muntin.data.subset import few_labels as few_labels
from muntin.data.table import Table as Table
from muntin.data.transform import Transform as Transform
from muntin.data.transform import eval_transform as eval_transform
from muntin.data.transform import mask_transform as mask_transform
from muntin.data.transform import train_transform as train_transform
from muntin.data.unlabelled import Unlabelled as Unlabelled
from muntin.data.unlabelled import WithoutLabels as WithoutLabels

__all__ = [
    "Augment",
    "Batch",
    "Digits",
    "Findings",
    "Folder",
    "Loader",
    "MaskGenerator",
    "Mixing",
    "Preprocess",
    "Sample",
    "Source",
    "Splits",
    "Subset",
    "Table",
    "Transform",
    "Unlabelled",
    "WithoutLabels",
    "check_data",
    "eval_transform",
    "few_labels",
    "make_mixing",
    "mask_transform",
    "open_data",
    "open_picture",
    "pictures_below",
    "train_transform",
]
