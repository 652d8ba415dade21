"""Where samples come from, and how they become batches."""

from muntin.data.checking import Findings as Findings
from muntin.data.checking import check_data as check_data
from muntin.data.decoding import open_picture as open_picture
from muntin.data.loading import Batch as Batch
from muntin.data.loading import Collate as Collate
from muntin.data.loading import Loader as Loader
from muntin.data.loading import Mixing as Mixing
from muntin.data.loading import Prepare as Prepare
from muntin.data.loading import make_mixing as make_mixing
from muntin.data.loading import stack as stack
from muntin.data.loading import unprepared as unprepared
from muntin.data.sources import Affine as Affine
from muntin.data.sources import Digits as Digits
from muntin.data.sources import Folder as Folder
from muntin.data.sources import Place as Place
from muntin.data.sources import Sample as Sample
from muntin.data.sources import Source as Source
from muntin.data.sources import Splits as Splits
from muntin.data.sources import Subset as Subset
from muntin.data.sources import Table as Table
from muntin.data.sources import Unlabelled as Unlabelled
from muntin.data.sources import WithoutLabels as WithoutLabels
from muntin.data.sources import few_labels as few_labels
from muntin.data.sources import open_data as open_data
from muntin.data.sources import picture_sample as picture_sample
from muntin.data.sources import pictures_below as pictures_below
from muntin.data.transforms import Augment as Augment
from muntin.data.transforms import Inputs as Inputs
from muntin.data.transforms import PictureInput as PictureInput
from muntin.data.transforms import Transform as Transform
from muntin.data.transforms import inputs_from as inputs_from
from muntin.data.transforms import train_transform as train_transform

__all__ = [
    "Affine",
    "Augment",
    "Batch",
    "Collate",
    "Digits",
    "Findings",
    "Folder",
    "Inputs",
    "Loader",
    "Mixing",
    "PictureInput",
    "Place",
    "Prepare",
    "Sample",
    "Source",
    "Splits",
    "Subset",
    "Table",
    "Transform",
    "Unlabelled",
    "WithoutLabels",
    "check_data",
    "few_labels",
    "inputs_from",
    "make_mixing",
    "open_data",
    "open_picture",
    "picture_sample",
    "pictures_below",
    "stack",
    "train_transform",
    "unprepared",
]
