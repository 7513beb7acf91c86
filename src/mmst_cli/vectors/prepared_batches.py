"""From references to features: read and preprocessed, in this process or in one that only does that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from mmst_cli.errors import is_memory_shortage
from mmst_cli.media.input_errors import concerns_input
from mmst_cli.media.message import clip_options
from mmst_cli.model.preprocessor import Preprocessor
from mmst_cli.vectors.batches import Batch, decoded_bytes
from mmst_cli.vectors.refused_inputs import find_refused

READ_BYTES = 512 * 2**20  # decoded at a time; processors copy it once or twice
FEATURE_BYTES = 2**30  # of a batch, above which what is left of it is prepared when it is due
CLIPS = "chats with clips"

Read = Callable[[Any], tuple[Any, Any]]
"""From a reference to the model input and to what is noted of it, such as a digest."""


class Fault(NamedTuple):
    """Why an input has no features."""

    reason: str
    refused: bool
    """Whether it could be read, and the model's processor refuses it."""


class Group(NamedTuple):
    """Features of inputs of one kind, for one forward pass."""

    places: list[int]
    features: dict[str, Any]
    options: dict[str, Any]
    """What the forward pass is told."""


class Prepared(NamedTuple):
    """What became of a batch."""

    groups: list[Group]
    faults: dict[int, Fault]
    """By place."""
    notes: dict[int, Any]
    """By place, of all that could be read."""
    left: Any = None
    """The rest of the batch, whose features would take too much memory at once."""


def read_plainly(reference: Any) -> tuple[Any, Any]:
    """Read a reference, noting nothing."""
    return reference.read(), None


class Preparation:
    """Reads and preprocesses batches. It can be pickled, without the model's weights.

    Args:
        preprocess: the model's.
        read: reads a reference; can be pickled.
    """

    def __init__(self, preprocess: Preprocessor, read: Read = read_plainly) -> None:
        self.preprocess, self.read = preprocess, read

    def __call__(self, batch: Batch) -> Prepared:
        """Prepare a batch, inputs of the same modalities together: others would make all of it messages.

        What becomes of an input depends on the batch alone, wherever it is prepared.
        """
        prepared = Prepared([], {}, {})
        for piece in self._read_in_pieces(batch, prepared):
            self._preprocess(piece, batch.options, prepared)
            piece.clear()  # or it would be held while the next one is read
            done = len(prepared.notes) + sum(not fault.refused for fault in prepared.faults.values())
            if (
                done < len(batch.places)
                and sum(feature_bytes(group.features) for group in prepared.groups) > FEATURE_BYTES
            ):
                places, references = batch.places[done:], batch.references[done:]
                return prepared._replace(left=replace(batch, places=places, references=references))
        return prepared

    def if_it_fits(self, batch: Batch) -> Prepared | None:
        """Prepare a batch; None where there is no room for it, so that smaller ones are tried when it is its turn."""
        try:
            return self(batch)
        except Exception as error:
            if not is_memory_shortage(error):
                raise
            return None

    def _read_in_pieces(self, batch: Batch, prepared: Prepared) -> Iterator[dict[int, Any]]:
        """Yield the inputs by place, as many as may be held decoded."""
        piece: dict[int, Any] = {}
        size = 0
        for place, reference in zip(batch.places, batch.references, strict=True):
            try:
                value, prepared.notes[place] = self.read(reference)
            except Exception as error:  # what opens a file may raise whatever it likes; one file is one failure
                if not concerns_input(error):
                    raise
                prepared.faults[place] = Fault(str(error) or type(error).__name__, False)
                continue
            piece[place] = value
            weight = decoded_bytes(value)
            size += weight
            del value
            if size + weight > READ_BYTES:  # another one like it would be too much
                yield piece
                piece, size = {}, 0
        if piece:
            yield piece

    def _preprocess(self, piece: dict[int, Any], options: dict[str, Any], prepared: Prepared) -> None:
        kinds: dict[Any, list[int]] = {}
        for place, value in piece.items():
            # What is said about clips in chats goes by their order, so that these go one by one.
            kind = (CLIPS, place) if clip_options([value]) else kind_of(value)
            kinds.setdefault(kind, []).append(place)
        for places in kinds.values():
            self._preprocess_kind({place: piece[place] for place in places}, options, prepared)

    def _preprocess_kind(self, inputs: dict[int, Any], options: dict[str, Any], prepared: Prepared) -> None:
        values, clips = list(inputs.values()), clip_options(inputs.values())
        told = {"task": options["task"]} if options.get("task") else {}
        if clips:
            told["processing_kwargs"] = clips
        try:
            features = self.preprocess(values, prompt=options.get("prompt"), **told)
        except Exception as error:  # processors raise whatever they like
            if not concerns_input(error):
                raise
            refused = find_refused(self.preprocess.model, values, options.get("task"))
            if not refused:
                raise
            places = list(inputs)
            prepared.faults.update({places[index]: Fault(reason, True) for index, reason in refused.items()})
            taken = {place: inputs[place] for index, place in enumerate(places) if index not in refused}
            if taken:
                self._preprocess_kind(taken, options, prepared)
            return
        prepared.groups.append(Group(list(inputs), dict(features), told))


def kind_of(value: Any) -> Any:
    """Return the modality of an input, or the tuple of those that it holds, as sentence-transformers sees it."""
    if isinstance(value, dict) and value.keys() == {"text"}:
        return "text"  # as the library finds after seven looks at it
    from sentence_transformers.base.modality import infer_modality

    return infer_modality(value)


def feature_bytes(features: Mapping[str, Any]) -> int:
    """Return what features weigh."""
    return sum(value.nbytes for value in features.values() if isinstance(value, torch.Tensor))
