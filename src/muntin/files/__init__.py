"""Reads foreign files safely, and writes our own whole or not at all, with checksums."""

from .sums import check_recorded as check_recorded
from .sums import config_beside as config_beside
from .tensors import open_tensors as open_tensors
from .tensors import read_tensors as read_tensors
from .writing import flush as flush
from .writing import write_file as write_file
from .writing import write_model_folder as write_model_folder
from .writing import write_pickle as write_pickle
from .writing import write_tensors as write_tensors

__all__ = [
    "check_recorded",
    "config_beside",
    "flush",
    "open_tensors",
    "read_tensors",
    "write_file",
    "write_model_folder",
    "write_pickle",
    "write_tensors",
]
