from .readout import LevelNorms as LevelNorms
from .readout import PooledReadout as PooledReadout

__all__ = ["LevelNorms", "PooledReadout"]
