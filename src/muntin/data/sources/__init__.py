"""Where samples come from: folders, CSV files, tar shards, the built-in digits. Knows no transform."""

from muntin.data.sources.csv import Table as Table
from muntin.data.sources.digits import Digits as Digits
from muntin.data.sources.files import Files as Files
from muntin.data.sources.files import pictures_below as pictures_below
from muntin.data.sources.folder import Folder as Folder
from muntin.data.sources.open import open_data as open_data
from muntin.data.sources.place import Affine as Affine
from muntin.data.sources.place import Place as Place
from muntin.data.sources.shards import Shards as Shards
from muntin.data.sources.source import Sample as Sample
from muntin.data.sources.source import Source as Source
from muntin.data.sources.source import Splits as Splits
from muntin.data.sources.source import picture_sample as picture_sample
from muntin.data.sources.subset import Subset as Subset
from muntin.data.sources.subset import few_labels as few_labels
from muntin.data.sources.unlabelled import Unlabelled as Unlabelled
from muntin.data.sources.unlabelled import WithoutLabels as WithoutLabels

__all__ = [
    "Affine",
    "Digits",
    "Files",
    "Folder",
    "Place",
    "Sample",
    "Shards",
    "Source",
    "Splits",
    "Subset",
    "Table",
    "Unlabelled",
    "WithoutLabels",
    "few_labels",
    "open_data",
    "picture_sample",
    "pictures_below",
]
