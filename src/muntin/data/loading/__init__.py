"""How samples become batches."""

from muntin.data.loading.batch import Batch as Batch
from muntin.data.loading.batch import Collate as Collate
from muntin.data.loading.batch import Prepare as Prepare
from muntin.data.loading.batch import stack as stack
from muntin.data.loading.batch import unprepared as unprepared
from muntin.data.loading.loader import Loader as Loader
from muntin.data.loading.mixing import Mixing as Mixing
from muntin.data.loading.mixing import make_mixing as make_mixing

__all__ = ["Batch", "Collate", "Loader", "Mixing", "Prepare", "make_mixing", "stack", "unprepared"]
