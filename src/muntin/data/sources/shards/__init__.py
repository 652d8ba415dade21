"""Pictures in webdataset tar shards, in a folder or an object store."""

from muntin.data.sources.shards.files import find_shards as find_shards
from muntin.data.sources.shards.shards import Shards as Shards

__all__ = ["Shards", "find_shards"]
