from .files import read_tensors as read_tensors

__all__ = ["read_tensors"]
