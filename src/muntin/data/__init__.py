"""Where samples come from, and how they become batches."""

from muntin.data.checking.check import Findings as Findings
from muntin.data.checking.check import check_data as check_data
from muntin.data.decoding.picture import open_picture as open_picture
from muntin.data.loading.batch import Batch as Batch
from muntin.data.loading.batch import Collate as Collate
from muntin.data.loading.batch import Prepare as Prepare
from muntin.data.loading.batch import stack as stack
from muntin.data.loading.batch import unprepared as unprepared
from muntin.data.loading.loader import Loader as Loader
from muntin.data.loading.mixing import Mixing as Mixing
from muntin.data.loading.mixing import make_mixing as make_mixing
from muntin.data.sources.csv import Table as Table
from muntin.data.sources.digits import Digits as Digits
from muntin.data.sources.files import pictures_below as pictures_below
from muntin.data.sources.folder import Folder as Folder
from muntin.data.sources.open import open_data as open_data
from muntin.data.sources.place import Affine as Affine
from muntin.data.sources.place import Place as Place
from muntin.data.sources.source import Sample as Sample
from muntin.data.sources.source import Source as Source
from muntin.data.sources.source import Splits as Splits
from muntin.data.sources.source import picture_sample as picture_sample
from muntin.data.sources.subset import Subset as Subset
from muntin.data.sources.subset import few_labels as few_labels
from muntin.data.sources.unlabelled import Unlabelled as Unlabelled
from muntin.data.sources.unlabelled import WithoutLabels as WithoutLabels
from muntin.data.transforms.augment import Augment as Augment
from muntin.data.transforms.inputs import Inputs as Inputs
from muntin.data.transforms.inputs import PictureInput as PictureInput
from muntin.data.transforms.inputs import inputs_from as inputs_from
from muntin.data.transforms.masking import MaskGenerator as MaskGenerator
from muntin.data.transforms.training import eval_transform as eval_transform
from muntin.data.transforms.training import train_transform as train_transform
from muntin.data.transforms.transform import Transform as Transform

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
    "MaskGenerator",
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
    "eval_transform",
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
