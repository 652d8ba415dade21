from .readout import DistilledReadout as DistilledReadout
from .readout import LevelNorms as LevelNorms
from .readout import MeanNormReadout as MeanNormReadout
from .readout import MeanReadout as MeanReadout
from .readout import PooledReadout as PooledReadout
from .readout import Readout as Readout
from .readout import TokenReadout as TokenReadout
from .readout import mean_logits as mean_logits

__all__ = [
    "DistilledReadout",
    "LevelNorms",
    "MeanNormReadout",
    "MeanReadout",
    "PooledReadout",
    "Readout",
    "TokenReadout",
    "mean_logits",
]
