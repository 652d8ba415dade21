"""Which samples a webdataset shard holds: members that share a key, `key.jpg` with `key.cls` or `key.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import BinaryIO, NamedTuple

import numpy as np

from muntin.data.sources.files import SUFFIXES
from muntin.data.sources.listing import listing
from muntin.data.sources.shards.tar_index import Member, members
from muntin.errors import UserError

LABEL_LIMIT = {"cls": 1024, "json": 2**20}  # bytes; where a sample has both, the first counts


class ShardIndex(NamedTuple):
    """The pictures of one shard, in its order, in arrays: a shard may hold a million."""

    names: bytes
    """Members' names, UTF-8, one after the other."""
    name_ends: np.ndarray
    """Where each name ends in `names`, int64."""
    offsets: np.ndarray
    """Where each picture begins in the shard, int64."""
    sizes: np.ndarray
    """Bytes of each, int64."""
    labels: np.ndarray
    """Each label's place in `label_texts`, int64; of length 0 without labels."""
    label_texts: tuple[str, ...]
    """The labels that were met, class names or numbers, each once."""

    def __len__(self) -> int:
        return len(self.sizes)

    def name(self, number: int) -> str:
        begin = self.name_ends[number - 1] if number else 0
        return self.names[begin : self.name_ends[number]].decode()


def index_shard(handle: BinaryIO, name: str, *, labelled: bool = True) -> ShardIndex:
    """Find the pictures of the shard `name` and read their labels, from a seekable handle.

    As in webdataset, neighbouring members are one sample when their names are the same up to the first dot of the last
    part. The rest of the name is the kind, in any case: one picture (jpg, png, ...), and as label `cls` (a whole number
    or a class name) or `json` (an object with "label"). All other members, such as pickled ones (pyd, pkl), are never
    read. Memory grows with the number of pictures, time with the number of members, not with what the headers claim.

    Raises `UserError` where `tar_index.members` does, and for a sample with two pictures or without a readable label.
    """
    pictures: list[Member] = []
    labels: list[int] = []
    met: dict[str, int] = {}
    unlabelled: list[str] = []
    for key, sample in groupby(_keyed(members(handle, name)), itemgetter(0)):
        kinds: dict[str, Member] = {}
        for _, kind, member in sample:
            if kind in kinds:
                raise UserError(f"{name} has {member.name} twice in a row; keys must differ from sample to sample")
            if f".{kind}" in SUFFIXES or kind in LABEL_LIMIT:
                kinds[kind] = member
        found = [member for kind, member in kinds.items() if kind not in LABEL_LIMIT]
        if len(found) > 1:
            raise UserError(f"{name} has {len(found)} pictures of the key {key}: {listing(m.name for m in found)}")
        if not found:
            continue
        pictures += found
        if labelled:
            if label := _label(handle, name, kinds):
                labels.append(met.setdefault(label, len(met)))
            else:
                unlabelled.append(found[0].name)
    if unlabelled:
        raise UserError(
            f"{name}: {len(unlabelled)} of {len(pictures)} pictures have no label ({listing(unlabelled, 3)}); each "
            'needs a member key.cls (a number or a class name) or key.json with "label" beside its picture'
        )
    names = [member.name.encode() for member in pictures]
    return ShardIndex(
        names=b"".join(names),
        name_ends=np.cumsum([len(each) for each in names], dtype=np.int64),
        offsets=np.array([member.offset for member in pictures], dtype=np.int64),
        sizes=np.array([member.size for member in pictures], dtype=np.int64),
        labels=np.array(labels, dtype=np.int64),
        label_texts=tuple(met),
    )


def _keyed(found: Iterator[Member]) -> Iterator[tuple[str, str, Member]]:
    """Key and kind of each member; hidden ones and those without a dot are left out."""
    for member in found:
        folder, slash, file = member.name.rpartition("/")
        stem, dot, kind = file.partition(".")
        if stem and dot:
            yield folder + slash + stem, kind.lower(), member


def _label(handle: BinaryIO, name: str, kinds: dict[str, Member]) -> str:
    """The text of a sample's label; empty where it has none."""
    for kind, limit in LABEL_LIMIT.items():
        if kind not in kinds:
            continue
        member = kinds[kind]
        if member.size > limit:
            raise UserError(f"{name}!{member.name} has {member.size:,} bytes; a label has at most {limit:,}")
        handle.seek(member.offset)
        content = handle.read(member.size)
        try:
            return content.decode().strip() if kind == "cls" else _json_label(content)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{name}!{member.name} cannot be read as a label ({error})") from None
    return ""


def _json_label(content: bytes) -> str:
    values = json.loads(content)
    label = values.get("label", "") if isinstance(values, dict) else ""
    if isinstance(label, bool) or not isinstance(label, int | str):
        raise ValueError(f'"label" must be a number or a class name, not {type(label).__name__}')
    if len(text := str(label).strip()) > LABEL_LIMIT["cls"]:
        raise ValueError(f'"label" has {len(text):,} characters')
    return text
