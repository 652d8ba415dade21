"""Files of our own: written whole or not at all, with sums that tell a changed byte."""

from .records import check_recorded as check_recorded
from .records import config_beside as config_beside
from .writing import flush as flush
from .writing import write_file as write_file
from .writing import write_model_folder as write_model_folder
from .writing import write_tensors as write_tensors

__all__ = ["check_recorded", "config_beside", "flush", "write_file", "write_model_folder", "write_tensors"]
