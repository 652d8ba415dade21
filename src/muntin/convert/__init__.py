from .files import open_tensors as open_tensors
from .files import read_tensors as read_tensors
from .records import config_beside as config_beside
from .writing import write_file as write_file
from .writing import write_model_folder as write_model_folder
from .writing import write_tensors as write_tensors

__all__ = [
    "config_beside",
    "open_tensors",
    "read_tensors",
    "write_file",
    "write_model_folder",
    "write_tensors",
]
