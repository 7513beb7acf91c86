"""Batches read and preprocessed: what a worker does, in this process."""

import numpy
import pytest
import torch

from mmst_cli.errors import DataError
from mmst_cli.model.preprocessor import Preprocessor
from mmst_cli.vectors import prepared_batches
from mmst_cli.vectors.batches import Batch
from mmst_cli.vectors.prepared_batches import Fault, Preparation


def batch_of(values):
    return Batch(list(range(len(values))), list(values), {"task": None, "prompt": None}, True)


def read(value):
    if isinstance(value, Exception):
        raise value
    return value, type(value).__name__


@pytest.fixture
def prepare(tiny_model):
    return Preparation(Preprocessor(tiny_model), read)


def places(prepared):
    return [group.places for group in prepared.groups]


def test_inputs_of_one_kind_are_one_group(prepare, pages, queries):
    prepared = prepare(batch_of([pages[0], {"text": queries[0]}, pages[1]]))
    assert places(prepared) == [[0, 2], [1]]
    assert prepared.notes == {0: "Image", 1: "dict", 2: "Image"}


def test_chats_with_clips_go_alone(prepare, queries):
    metadata = {"fps": 2.0, "total_num_frames": 4, "frames_indices": [0, 1, 2, 3]}
    clip = {"type": "video", "video": numpy.zeros((4, 32, 32, 3), "uint8"), "video_metadata": metadata}
    chats = [[{"role": "user", "content": [clip]}]] * 2
    prepared = prepare(batch_of([*chats, {"text": queries[0]}]))
    assert places(prepared) == [[0], [1], [2]]
    assert prepared.groups[0].options["processing_kwargs"] == {"video": {"video_metadata": [metadata]}}


def test_what_cannot_be_read_and_what_is_refused_leaves_the_others(prepare, pages):
    strip = pages[0].resize((900, 2))
    prepared = prepare(batch_of([pages[0], DataError("broken"), strip, ValueError(), pages[1]]))
    assert places(prepared) == [[0, 4]]
    assert prepared.faults[1] == Fault("broken", False)
    assert prepared.faults[3] == Fault("ValueError", False)
    assert prepared.faults[2].refused and "aspect ratio" in prepared.faults[2].reason


def test_what_concerns_no_input_is_raised(prepare):
    with pytest.raises(MemoryError):
        prepare(batch_of([MemoryError("no room")]))


def test_so_many_are_decoded_at_a_time_as_fit_and_vectors_stay_the_same(prepare, pages, monkeypatch):
    weight = pages[0].width * pages[0].height * 3
    monkeypatch.setattr(prepared_batches, "READ_BYTES", 3 * weight)
    prepared = prepare(batch_of([*pages, DataError("broken")]))
    assert places(prepared) == [[0, 1, 2], [3, 4, 5]]
    monkeypatch.setattr(prepared_batches, "FEATURE_BYTES", 1)
    first = prepare(batch_of([*pages, DataError("broken")]))
    assert places(first) == [[0, 1, 2]]
    assert first.left.places == [3, 4, 5, 6] and first.left.references[:3] == pages[3:]
    rest = prepare(first.left)
    assert places(rest) == [[3, 4, 5]] and prepare(rest.left).faults == prepared.faults
    assert torch.equal(rest.groups[0].features["pixel_values"], prepared.groups[1].features["pixel_values"])
