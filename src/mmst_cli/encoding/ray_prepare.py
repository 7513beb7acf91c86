"""The second stage of a Ray Data pipeline: batches read and preprocessed on CPUs, without the model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import pyarrow as pa
import ray

from mmst_cli.encoding.ray_blocks import number_of, pack, unpack
from mmst_cli.encoding.ray_place import Place, find_remote_code
from mmst_cli.errors import MmstError
from mmst_cli.media.reading import Reader
from mmst_cli.model.large_images import shrink_large_images
from mmst_cli.vectors.batches import Batch
from mmst_cli.vectors.data_workers import one_thread
from mmst_cli.vectors.prepared_batches import Preparation, Prepared, Read


@dataclass(frozen=True)
class Plan:
    """How the inputs of a model are prepared, for processes that have no model."""

    prepare: Preparation
    readers: list[Reader]
    """Of the sources, told what the model wants."""
    place: Place


@dataclass
class ReadHere:
    """Reads inputs as another reading does, and keeps the names of the files that aren't on this machine."""

    read: Read
    missing: list[str] = field(default_factory=list)

    def __call__(self, item: Any) -> tuple[Any, Any]:
        """Read an input."""
        try:
            return self.read(item)
        except Exception as error:
            self.missing += _missing(error)
            raise

    def take_missing(self) -> list[str]:
        """Return those that were missed since this was last asked."""
        missing, self.missing = self.missing, []
        return missing


def _missing(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        if isinstance(error, FileNotFoundError) and error.filename:
            yield os.path.abspath(error.filename)  # noqa: PTH100 - links stay links
        error = error.__cause__ or error.__context__


@dataclass(frozen=True)
class PreparedBlock:
    """Batches with their features."""

    batches: list[tuple[Batch, Prepared | None]]
    """None where a batch wasn't prepared, or there was no room for it."""
    missing: list[str]
    """Files that aren't on the machine where it was prepared."""


def prepare_block(block: pa.Table, plan: ray.ObjectRef) -> pa.Table:
    """Return a block of batches prepared; one that says why it can't be gone on with goes through."""
    try:
        prepare, read, readers = _load_plan(plan)
    except MmstError as error:
        return pack(number_of(block), error)
    number, batches = unpack(block, readers)
    if isinstance(batches, MmstError):
        return block
    with one_thread():
        prepared = [(batch, prepare.if_it_fits(batch)) for batch in batches]
    return pack(number, PreparedBlock(prepared, read.take_missing()), readers)


@lru_cache(maxsize=1)  # a process prepares many blocks
def _load_plan(plan: ray.ObjectRef) -> tuple[Preparation, ReadHere, list[Reader]]:
    find_remote_code()
    found: Plan = ray.get(plan)
    found.place.enter()
    prepare = found.prepare
    shrink_large_images(prepare.preprocess.model, found.readers)
    prepare.read = ReadHere(prepare.read)
    return prepare, prepare.read, found.readers
