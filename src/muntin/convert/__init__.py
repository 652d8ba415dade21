from .files import open_tensors as open_tensors
from .files import read_tensors as read_tensors

__all__ = ["open_tensors", "read_tensors"]
