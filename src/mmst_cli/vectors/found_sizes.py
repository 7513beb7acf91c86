"""How many inputs of a batch the memory of the device takes.

That is found on the largest inputs of the first window. Texts are sorted, the longest first, so that
from there on as many go into a batch as have as many tokens together, padding included: short ones in larger batches.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from mmst_cli.model.device_memory import DeviceMemory, find_largest, room_in
from mmst_cli.vectors.batches import Batch, Decoded
from mmst_cli.vectors.prepared_batches import Preparation, Prepared, feature_bytes

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DEFAULT = 32
"""Inputs of a batch where nobody says how many, and where there are no more there is nothing to find."""
MOST = 1_024
"""Inputs of a batch, above which no device becomes faster."""
MOST_UNSIZED = 128
"""Of images, sounds, clips and what else only reading tells the size of: they have hundreds of tokens each."""
MOST_BYTES = 2**28
"""Of the features of a batch, which the host holds several of."""
WINDOWS_HELD = 3
"""Whose vectors a device holds at a time: one that is filled, one behind it, and the copy that brings it into order."""


BatchLimits = dict[str, dict[str, Any]]
"""What was found for each kind of inputs, sized or unsized, in plain values."""


@dataclass
class BatchLimit:
    """How much of a kind of inputs goes into a batch."""

    inputs: int
    """Of the largest."""
    tokens: int | None = None
    """Padding included; None where they have none, or are of a size that only reading tells."""
    tried: int = 0
    """How many there were to try it on."""


class FoundSize:
    """As many as the memory of the device takes. See :func:`mmst_cli.vectors.batch_sizes.choose_sizes`."""

    def __init__(
        self,
        model: SentenceTransformer,
        memory: DeviceMemory,
        prepare: Preparation,
        forward: Callable[[Prepared], object],
        say: Callable[[str], None],
        limits: BatchLimits,
    ) -> None:
        self._model, self._memory, self._say = model, memory, say
        self._prepare, self._forward = prepare, forward
        self._limits = {name: BatchLimit(**limit) for name, limit in limits.items()}
        self._longest: int | None = None

    def record(self) -> BatchLimits:
        """Return what was found, in plain values."""
        return {name: asdict(limit) for name, limit in self._limits.items()}

    def take(self, found: Sequence[BatchLimits]) -> None:
        """Take what several processes found, the smallest of each, so that all have the same from here on."""
        for name in ("sized", "unsized"):
            limits = [BatchLimit(**one[name]) for one in found if name in one]
            if not limits:
                continue
            tokens = [limit.tokens for limit in limits if limit.tokens is not None]
            smallest = BatchLimit(
                min(limit.inputs for limit in limits), min(tokens, default=None), min(limit.tried for limit in limits)
            )
            if name not in self._limits:
                self._say(_in_words(smallest))
            self._limits[name] = smallest

    def fitting(self) -> MutableMapping[Any, int]:
        """Return what takes the size that fits, where one doesn't: a number of inputs holds for this batch alone."""
        return {}

    def inputs(self, *, sized: bool) -> int:
        """See :class:`BatchSize`."""
        limit = self._limits.get(_kind(sized))
        return limit.inputs if limit else DEFAULT

    def begin(self, window: Sequence[Any], options: dict[str, Any]) -> None:
        """Find how many inputs fit, where that isn't known yet for their kind and there are enough to find it."""
        self._longest = None
        sized = window[0].size is not None
        limit = self._limits.get(_kind(sized))
        small = limit is not None and limit.inputs == limit.tried < MOST and len(window) > 2 * limit.tried
        if len(window) >= DEFAULT and (limit is None or (sized and small)):
            found = self._find_on_sized(window, options) if sized else self._find_on_unsized(window, options)
            if found is not None:
                self._limits[_kind(sized)] = found
                self._say(_in_words(found))

    def next(self, *, sized: bool) -> int:
        """See :class:`BatchSize`: by the tokens of the longest text of the batch before, where texts are sorted."""
        limit = self._limits.get(_kind(sized))
        if limit is None or not sized or not limit.tokens or not self._longest:
            return self.inputs(sized=sized)
        return min(MOST, max(1, limit.tokens // self._longest))

    def note(self, batch: Batch, prepared: Prepared | None, fitted: int | None) -> None:
        """Take note of a batch that was encoded.

        Args:
            batch: what of the stream it is.
            prepared: its features; None where the host had no room for them.
            fitted: how many of its inputs fit, where it didn't fit as it was.
        """
        longest = None if prepared is None else longest_of(prepared)
        sized = batch.references[0].size is not None
        if sized:
            self._longest = longest or self._longest
        if fitted is None:
            return
        limit = self._limits.setdefault(_kind(sized), BatchLimit(fitted))
        limit.inputs = min(limit.inputs, fitted)
        if limit.tokens and longest:
            limit.tokens = min(limit.tokens, fitted * longest)

    def _find_on_sized(self, window: Sequence[Any], options: dict[str, Any]) -> BatchLimit:
        largest = sorted(window, key=lambda reference: -reference.size)[:MOST]
        lengths: dict[int, int | None] = {}

        def encode(size: int) -> None:
            prepared = self._prepare(Batch(list(range(size)), largest[:size], options))
            lengths[size] = longest_of(prepared)
            self._forward(prepared)

        inputs = self._largest(encode, len(largest), len(window))
        longest = lengths.get(inputs)
        return BatchLimit(inputs, inputs * longest if longest else None, len(largest))

    def _find_on_unsized(self, window: Sequence[Any], options: dict[str, Any]) -> BatchLimit | None:
        """Find it with the largest of them, again and again; None where none of them can be read."""
        weighed = [(self._weigh(reference, options), reference) for reference in window]
        weight, largest = max(weighed, key=lambda one: one[0])
        if not any(weight):
            return None
        value = Decoded(self._prepare.read(largest)[0])
        prepare = Preparation(self._prepare.preprocess)

        def encode(size: int) -> None:
            self._forward(prepare(Batch(list(range(size)), [value] * size, options)))

        most = max(1, min(MOST_UNSIZED, MOST_BYTES // max(1, weight[1])))
        return BatchLimit(self._largest(encode, most, most), None, most)

    def _weigh(self, reference: Any, options: dict[str, Any]) -> tuple[int, int]:
        """Return tokens and bytes of an input's features; zeros where it can't be read."""
        prepared = self._prepare(Batch([0], [reference], options))
        return longest_of(prepared) or 0, sum(feature_bytes(group.features) for group in prepared.groups)

    def _largest(self, encode: Callable[[int], None], most: int, window: int) -> int:
        """Return how many inputs fit; one goes into a batch in any case."""
        dimension = int(self._model.get_embedding_dimension() or 0)
        room = room_in(self._memory, WINDOWS_HELD * window * dimension * 4)
        return max(1, find_largest(lambda size: self._memory.peak_of(lambda: encode(size)), most, room))


def longest_of(prepared: Prepared) -> int | None:
    """Return how many tokens the longest input of a batch has, and with padding all; None for inputs without tokens."""
    found = []
    for group in prepared.groups:
        mask, ends = group.features.get("attention_mask"), group.features.get("cu_seq_lens_q")
        if isinstance(ends, torch.Tensor):  # one after the other, without padding
            found.append(int(ends.diff().max()))
        elif isinstance(mask, torch.Tensor) and mask.ndim == 2:
            found.append(mask.shape[1])
    return max(found, default=None)


def _kind(sized: bool) -> str:
    return "sized" if sized else "unsized"


def _in_words(limit: BatchLimit) -> str:
    if limit.tokens is None:
        return f"{limit.inputs:,} inputs go into a batch, as the memory of the device allows."
    return (
        f"{limit.inputs:,} of the longest texts go into a batch, as the memory of the device allows, and of others as"
        f" many as have {limit.tokens:,} tokens, at most {MOST:,}."
    )
