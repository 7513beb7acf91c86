"""The third stage of a Ray Data pipeline: prepared batches through models, each in an actor of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import torch

from mmst_cli.config.schema import Dtype, ModelConfig
from mmst_cli.encoding.encoder import Encoder, load_encoder
from mmst_cli.encoding.job import EncodeJob
from mmst_cli.encoding.local_engine import told_of_memory
from mmst_cli.encoding.ray_blocks import pack, readers_of, unpack
from mmst_cli.encoding.ray_place import Messages, Place
from mmst_cli.encoding.ray_prepare import PreparedBlock, ReadHere
from mmst_cli.encoding.shards import content_bytes
from mmst_cli.errors import MmstError
from mmst_cli.inputs.items import Item, Source
from mmst_cli.model.load_model import find_model
from mmst_cli.model.precision import Runtime
from mmst_cli.model.precision_of_run import encoding_runtime
from mmst_cli.vectors.batches import Batch, mixes_sizes
from mmst_cli.vectors.data_workers import Workers, one_thread
from mmst_cli.vectors.forward_pass import how_to_encode, prompt_of
from mmst_cli.vectors.prepared_batches import Preparation, Prepared
from mmst_cli.vectors.ranges import Ranges
from mmst_cli.vectors.windows import Piece


@dataclass(frozen=True)
class Loading:
    """What it takes to load the model."""

    job: EncodeJob
    config: ModelConfig
    runtime: Runtime
    sources: list[Source]
    """With readers and kinds, and no items."""
    ranges: Ranges | None
    place: Place

    def __call__(self) -> Encoder:
        """Load it; see :func:`load_encoder`.

        Raises:
            MmstError: it can't be loaded, or can't do the job.
        """
        self.place.enter()
        if self.place.threads is not None:
            torch.set_num_threads(self.place.threads)
        return load_encoder(self.job, self.config, self.runtime, self.sources, self.ranges)


@dataclass(frozen=True)
class Seen:
    """What was seen of a model where it runs."""

    encoder: Encoder
    """Without weights."""
    prepare: Preparation
    sources: list[Source]
    """With readers that were told what it wants."""
    anywhere: bool
    """Whether processes without the model can prepare its inputs."""
    mix: bool
    """See :func:`in_batches`."""
    options: dict[str, Any]
    """What preprocessing is told: task and prompt."""


class Scout:
    """Looks at the model where it will run, before anything is begun, and makes every check that needs it."""

    def __init__(self, place: Place) -> None:
        self._place, self._messages = place, Messages()

    def runtime(self, model: str, dtype: Dtype) -> tuple[Runtime | MmstError, Dtype, list[str]]:
        """Return what :func:`encoding_runtime` does here, and what was said; an error of ours is returned."""
        runtime: Runtime | MmstError
        try:
            self._place.enter()
            runtime, dtype = encoding_runtime(find_model(model), dtype, self._messages.terminal)
        except MmstError as error:
            runtime = error
        return runtime, dtype, self._messages.take()

    def load(self, loading: Loading) -> tuple[Seen | MmstError, list[str]]:
        """Load the model, and return what is seen of it and what was said; an error of ours is returned."""
        try:
            return _look(loading), self._messages.take()
        except MmstError as error:
            return error, self._messages.take()


def _look(loading: Loading) -> Seen:
    encoder = loading()
    pipeline = encoder.pipeline(Workers())
    for source in loading.sources:  # they hold the model; processes that prepare inputs have their own
        source.reader.shrink = source.reader.seen = None
    task, name = how_to_encode(encoder.job.prompt_name)
    options = {"task": task, "prompt": prompt_of(encoder.model, task, None, name)}
    return Seen(encoder, pipeline.prepare, loading.sources, pipeline.anywhere, mixes_sizes(encoder.model), options)


@dataclass(frozen=True)
class Named:
    """An input of which no more is needed than its name."""

    id: str


@dataclass(frozen=True)
class EmbeddedBlock:
    """What became of the batches of a block."""

    batches: list[tuple[Batch, list[Piece]]]
    """Of :class:`Named`."""
    said: list[str]
    """What a person is to hear."""
    missing: list[str]
    """Files that aren't on the machine where they were looked for."""


class Embed:
    """A model that embeds block after block.

    Args:
        loading: what it takes to load the model.
    """

    def __init__(self, loading: Loading) -> None:
        self._messages = Messages()
        self._failed: Exception | None = None
        self._readers = readers_of(loading.sources)
        try:
            self._pipeline = loading().pipeline(Workers())
        except Exception as error:  # raised when there is something to embed: Ray would only say that the actor died
            self._failed = error
            return
        self._read = self._pipeline.prepare.read = ReadHere(self._pipeline.prepare.read)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return a block with what became of its batches, or with the error that ends the command."""
        number, content = unpack(block, self._readers)
        if isinstance(content, MmstError):
            return block
        found = content if isinstance(content, PreparedBlock) else PreparedBlock([(one, None) for one in content], [])
        try:
            if self._failed is not None:
                raise self._failed
            with told_of_memory():
                # A GPU computes all of a block before any of it is waited for.
                done = [(batch, self._run(batch, prepared)) for batch, prepared in found.batches]
        except MmstError as error:
            return pack(number, error)
        batches = [(_named(batch), [_on_host(batch, piece) for piece in pieces]) for batch, pieces in done]
        missing = found.missing + self._read.take_missing()
        return pack(number, EmbeddedBlock(batches, self._messages.take(), missing))

    def _run(self, batch: Batch, prepared: Prepared | None) -> list[Piece]:
        if prepared is None:
            with one_thread():
                prepared = self._pipeline.prepare.if_it_fits(batch)
        return self._pipeline.run(batch, prepared)


def _named(batch: Batch) -> Batch:
    return replace(batch, references=[Named(item.id) for item in batch.references], options={})


def _on_host(batch: Batch, piece: Piece) -> Piece:
    """Return a piece that can go to another machine, with what tells apart inputs that couldn't be read."""
    unread: dict[int, Item] = dict(zip(batch.places, batch.references, strict=True))
    notes = {place: content_bytes(unread[place]) for place in piece.faults if place not in piece.notes}
    vectors = [torch.cat(piece.vectors).cpu()] if piece.vectors else []
    return replace(piece, vectors=vectors, notes={**piece.notes, **notes})
