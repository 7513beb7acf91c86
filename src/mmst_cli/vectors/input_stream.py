"""Encoding a stream of inputs in bounded memory, with the vectors that `model.encode` gives.

References go in; they are cut into batches, read and preprocessed, in other processes where that pays, and run through
the model in this one; vectors come out in the order of the references.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Self

import torch

from mmst_cli.errors import DataError
from mmst_cli.model.precision import Precision
from mmst_cli.model.preprocessor import Preprocessor, runs_anywhere
from mmst_cli.model.raw_pixels import raw_pixels_of
from mmst_cli.vectors.batch_sizes import choose_sizes
from mmst_cli.vectors.batches import Batch, Decoded, Reference, in_batches, in_pieces, mixes_sizes
from mmst_cli.vectors.data_workers import Cost, WorkerPool, Workers, choose_workers, cost_of, measure, one_thread
from mmst_cli.vectors.fitting_batches import encode_fitting
from mmst_cli.vectors.forward_pass import Task, forward, prompt_of, ready_to_encode
from mmst_cli.vectors.found_sizes import BatchLimits
from mmst_cli.vectors.prepared_batches import Preparation, Prepared, Read, read_plainly
from mmst_cli.vectors.refused_inputs import RefusedInputError
from mmst_cli.vectors.windows import Encoded, Piece, Window

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class InputPipeline:
    """Encodes streams of references with one model; the processes that prepare inputs stay from stream to stream.

    Args:
        model: the model.
        read: reads a reference, in whatever process.
        batch_size: inputs per forward pass; fewer, and said once, where the memory is too small for so many. None finds
            it by the memory of the device, which has to be measured there.
        precision: mixed precision to run under.
        workers: processes that prepare inputs; chosen by what preparing costs if left out.
        setting: what sets their number, for messages.
        limits: what was found of batch sizes before, as :attr:`limits` has it.
        say: takes the sentence about a batch size that was found.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        *,
        read: Read = read_plainly,
        batch_size: int | None,
        precision: Precision | None = None,
        workers: Workers | None = None,
        setting: str = "training.dataloader_num_workers",
        limits: BatchLimits | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.setting = setting
        self.model, self.batch_size, self.precision = model, batch_size, precision or Precision()
        self._device = ready_to_encode(model)
        self.anywhere = runs_anywhere(model)
        """Whether other processes can prepare its inputs."""
        self.prepare = Preparation(Preprocessor(model, raw_pixels_of(model) if self.anywhere else None), read)
        self._asked = workers if self.anywhere else Workers()
        self._pool: WorkerPool | None = None
        self._size = choose_sizes(model, batch_size, self.prepare, self._try, say, limits)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes that prepare inputs, whatever they are doing."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    @property
    def limits(self) -> BatchLimits:
        """What was found of batch sizes, in plain values; nothing where one was asked for."""
        return self._size.record()

    def encode(
        self,
        references: Iterable[Reference],
        *,
        task: Task | None = None,
        prompt: str | None = None,
        prompt_name: str | None = None,
        left: int | None = None,
    ) -> Iterator[Encoded]:
        """Yield what becomes of a stream, in order.

        A stream that fits into one window, of inputs whose size is known, is encoded as by one call of
        ``model.encode``.

        Args:
            references: the inputs.
            task: encode as queries or documents, with the prompt and route the model has for them.
            prompt: text to prompt with, instead of the task's prompt.
            prompt_name: the same, by a name among the model's prompts.
            left: how many inputs there are, if that is known.

        Raises:
            MemoryShortageError: there is no room for a single input.
            WorkError: the system ended a process that prepares inputs.
        """
        options = {"task": task, "prompt": prompt_of(self.model, task, prompt, prompt_name)}
        if self.model._distributed_inference is None:
            yield from self.encode_here(references, options, left)
            return
        settings = {"read": self.prepare.read, "batch_size": self.batch_size, "workers": self._asked}
        for piece in in_pieces(references):
            told = {"options": options, "limits": self.limits}
            found = self.model._distributed_inference(piece, stream={**settings, **told})
            self._size.take([encoded.limits for encoded in found])
            first = 0
            for encoded in found:
                there = piece[first : first + len(encoded.references)]
                first += len(there)
                yield replace(encoded, references=there, vectors=encoded.vectors.to(self.model.device))

    def encode_here(
        self, references: Iterable[Reference], options: dict[str, Any], left: int | None = None
    ) -> Iterator[Encoded]:
        """Do what :meth:`encode` does in this process, whatever others there are.

        Args:
            references: the inputs.
            options: task and prompt.
            left: as there.
        """
        mix = self.batch_size is not None and mixes_sizes(self.model)  # what was found goes by sorted sizes
        batches = in_batches(references, self._size, options, mix)
        window, ready = Window(), None
        for batch, prepared in self._prepared(batches, left):
            window.take(batch, self.run(batch, prepared))
            del prepared  # or it would be held while the next one is prepared
            if not batch.ends_window:
                continue
            if ready is not None:  # one behind, so that a device has work while its vectors are taken up
                yield ready
            ready, window = window.close(), Window()
        if ready is not None:
            yield ready

    def _prepared(self, batches: Iterator[Batch], left: int | None) -> Iterator[tuple[Batch, Prepared | None]]:
        """Yield batches with what they became, prepared here until other processes are worth it; None without room."""
        cost: Cost | None = None
        for batch in batches:
            unread = batch.references[0].size is None
            if self._pool is None and (workers := self._choose(batch, cost, left) if unread else self._asked):
                self._start_pool(workers)
            if self._pool is not None:
                yield from self._pool.prepare(chain([batch], batches))
                return
            begun = time.perf_counter()
            with one_thread() if unread else nullcontext():
                prepared = self.prepare.if_it_fits(batch)
            cost = cost_of(prepared, time.perf_counter() - begun) if unread and prepared is not None else None
            yield batch, prepared
            del prepared  # or it would be held while the next one is prepared
            left = None if left is None else left - len(batch.places)

    def _choose(self, batch: Batch, cost: Cost | None, left: int | None) -> Workers | None:
        """Return how many processes shall prepare inputs from here on, by the cost of those before or of the first."""
        if self._asked is not None:
            return self._asked
        size = self._size.inputs(sized=False)
        if left is None and len(batch.places) < size:
            left = len(batch.places)  # a batch that isn't full is the last of its kind
        asked = self.batch_size or size
        if left is not None and left <= asked:
            return None  # beside what shall it be prepared?
        cost = cost or measure(self.prepare, batch)
        return None if cost is None else choose_workers(cost, asked, self.model.device, left)

    def _start_pool(self, workers: Workers) -> None:
        if workers.count:
            self._pool = WorkerPool(self.prepare, workers, self.model.device, self.setting)

    def run(self, batch: Batch, prepared: Prepared | None) -> list[Piece]:
        """Run a batch through the model, in smaller ones where it doesn't fit, and return what became of it.

        Args:
            batch: the inputs, of which some are prepared again where the batch is too large.
            prepared: their features; None where there was no room for all of them.
        """
        size = len(batch.places)

        def in_batches_of(fitting: int) -> list[Piece]:
            if fitting >= size:
                return self._forward(prepared or self.prepare(batch))
            # What was prepared is for a larger batch, and is prepared again.
            return [piece for part in batch.cut(fitting) for piece in self._forward(self.prepare(part))]

        fitting = self._size.fitting()
        with self.precision.forward_of(self.model):
            pieces = encode_fitting(self.model, in_batches_of, size, self.batch_size or size, fitting)
        self._size.note(batch, prepared, fitting.get(self.model))
        return pieces

    def _try(self, prepared: Prepared) -> None:
        with self.precision.forward_of(self.model):
            self._forward(prepared)

    def _forward(self, prepared: Prepared) -> list[Piece]:
        vectors = [forward(self.model, self._device, group, self.prepare.preprocess.raw) for group in prepared.groups]
        places = [place for group in prepared.groups for place in group.places]
        pieces = [Piece(places, vectors, prepared.faults, prepared.notes)]
        if prepared.left is not None:
            pieces += self._forward(self.prepare(prepared.left))
        return pieces


def encode_stream(
    model: SentenceTransformer,
    inputs: Iterable[Any],
    *,
    batch_size: int,
    task: Task | None = None,
    prompt_name: str | None = None,
    precision: Precision | None = None,
) -> Iterator[torch.Tensor]:
    """Yield vectors of inputs that are read already, in order, some at a time. See :class:`InputPipeline`.

    Args:
        model: the model.
        inputs: model inputs, taken lazily.
        batch_size: inputs per forward pass.
        task: see :meth:`InputPipeline.encode`.
        prompt_name: see there.
        precision: mixed precision to run under.

    Yields:
        float32 tensors of shape (some inputs, embedding dimension) on the model's device.

    Raises:
        RefusedInputError: the model's processor refuses inputs; it says which.
        MemoryShortageError: there is no room for a single input.
    """
    with InputPipeline(model, batch_size=batch_size, precision=precision, workers=Workers()) as pipeline:
        yield from all_vectors(pipeline.encode(map(Decoded, inputs), task=task, prompt_name=prompt_name))


def all_vectors(
    stream: Iterable[Encoded], on_encoded: Callable[[int], None] | None = None, notes: list[Any] | None = None
) -> Iterator[torch.Tensor]:
    """Yield the vectors of a stream all of whose inputs must have one.

    Args:
        stream: what :meth:`InputPipeline.encode` yields.
        on_encoded: called with the number of inputs that were encoded.
        notes: takes what was noted of each input.

    Raises:
        DataError: an input can't be read; the message is that of reading it.
        RefusedInputError: the model's processor refuses inputs; it says which, counted from the stream's first.
    """
    done = 0
    for encoded in stream:
        unread = [fault.reason for fault in encoded.faults.values() if not fault.refused]
        if unread:
            raise DataError(unread[0])
        if encoded.faults:
            raise RefusedInputError({done + place: fault.reason for place, fault in encoded.faults.items()})
        done += len(encoded.references)
        if notes is not None:
            notes += encoded.notes
        yield encoded.vectors
        if on_encoded:
            on_encoded(len(encoded.references))
