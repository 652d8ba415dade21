"""Samples in tar shards, local or in an object store."""
