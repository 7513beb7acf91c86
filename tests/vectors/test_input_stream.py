import numpy
import pytest
import torch

from mmst_cli.model.raw_pixels import PIXELS, RawPixels
from mmst_cli.vectors import batches as batching
from mmst_cli.vectors import input_stream
from mmst_cli.vectors.batch_sizes import AskedSize
from mmst_cli.vectors.batches import Decoded, decoded_bytes, in_batches
from mmst_cli.vectors.input_stream import encode_stream

METADATA = {"fps": 2.0, "total_num_frames": 4, "frames_indices": [0, 1, 2, 3]}


@pytest.fixture
def inputs(pages, queries):
    """Texts, images, a chat, a clip and mixed inputs, in no order."""
    return [
        {"text": queries[0]},
        pages[0],
        {"text": queries[1], "image": pages[1]},
        [{"role": "user", "content": [{"type": "text", "text": queries[2]}, {"type": "image", "image": pages[2]}]}],
        {"text": queries[3]},
        {"array": numpy.zeros((4, 32, 32, 3), "uint8"), "video_metadata": METADATA},
        pages[3],
        {"image": pages[4], "text": queries[4]},
    ]


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_vectors_of_mixed_batches_stand_in_the_order_of_the_inputs(batch_size, inputs, tiny_model):
    vectors = torch.cat(list(encode_stream(tiny_model, inputs, batch_size=batch_size)))
    alone = torch.cat([tiny_model.encode([value], convert_to_tensor=True) for value in inputs])
    torch.testing.assert_close(vectors, alone, atol=1e-6, rtol=0)


def test_pixels_are_handed_over_as_bytes_and_the_vectors_are_bitwise_the_same(inputs, tiny_model, monkeypatch):
    seen = []
    restore = RawPixels.restore
    monkeypatch.setattr(
        RawPixels, "restore", lambda raw, features: (seen.append(features.get(PIXELS)), restore(raw, features))
    )
    found = torch.cat(list(encode_stream(tiny_model, inputs, batch_size=3)))
    assert {one.dtype for one in seen if one is not None} == {torch.uint8}
    monkeypatch.setattr(input_stream, "raw_pixels_of", lambda model: None)
    expected = torch.cat(list(encode_stream(tiny_model, inputs, batch_size=3)))
    assert torch.equal(found, expected)


def test_a_text_embeds_the_same_whatever_stands_beside_it(tiny_model, pages, queries):
    text = {"text": queries[0]}
    (alone,) = encode_stream(tiny_model, [text], batch_size=4)
    (beside,) = encode_stream(tiny_model, [pages[0], text, {"text": "", "image": pages[1]}], batch_size=4)
    assert torch.equal(beside[1], alone[0])


def test_texts_are_batched_as_by_the_library(tiny_model, queries):
    texts = [{"text": " ".join(queries[: 1 + number % 7])} for number in range(50)]
    vectors = torch.cat(list(encode_stream(tiny_model, texts, batch_size=8, task="query")))
    assert torch.equal(vectors, tiny_model.encode_query(texts, batch_size=8, convert_to_tensor=True))


def test_decoded_inputs_weigh_what_their_values_do(pages):
    page = pages[0].width * pages[0].height * 3
    sound = {"array": numpy.zeros(8000, "float32"), "sampling_rate": 8000}
    clip = {"array": numpy.zeros((8, 32, 32, 3), "uint8"), "video_metadata": {"fps": 4.0}}
    chat = [{"role": "user", "content": [{"type": "image", "image": pages[0]}, {"type": "audio", "audio": sound}]}]
    assert decoded_bytes(pages[0]) == page
    assert 32_000 <= decoded_bytes(sound) < 32_200
    assert 24_576 <= decoded_bytes(clip) < 24_800
    assert page + 32_000 <= decoded_bytes(chat) < page + 32_500
    assert page + 32_000 <= decoded_bytes({"image": pages[0], "audio": sound}) < page + 32_500


class Unread:
    """A reference of which nothing is known."""

    size, weight = None, 0

    def __init__(self, value):
        self.value = value

    def read(self):
        return self.value


def cut(references, batch_size):
    return list(in_batches(references, AskedSize(torch.nn.Identity(), batch_size), {}, mix=False))


def windows(references, batch_size):
    """Return how many inputs each window has."""
    counts, count = [], 0
    for batch in cut(references, batch_size):
        count += len(batch.places)
        if batch.ends_window:
            counts.append(count)
            count = 0
    return counts


def test_windows_are_whole_batches_that_fit_into_the_bounds(monkeypatch):
    monkeypatch.setattr(batching, "WINDOW_BYTES", 1000)
    assert windows([Decoded("x" * 100)] * 25, 4) == [8, 8, 8, 1]
    assert windows([Decoded("x" * 600)] * 5, 2) == [2, 2, 1]
    assert windows([Decoded("x")] * 50, 4) == [50]
    monkeypatch.setattr(batching, "WINDOW_INPUTS", 20)
    assert windows([Decoded("x")] * 50, 4) == [20, 20, 10]


def test_a_window_is_sorted_by_size_and_knows_its_order():
    found = cut([Decoded("x" * size) for size in (3, 9, 1, 7, 5)], 2)
    assert [batch.places for batch in found] == [[1, 3], [4, 0], [2]]
    assert [batch.ends_window for batch in found] == [False, False, True]


def test_what_has_no_size_is_taken_as_it_comes_and_parts_windows():
    references = [Decoded("a"), Decoded("bb"), *map(Unread, "cdefg"), Decoded("hhh")]
    found = cut(references, 4)
    assert [[one.value for one in batch.references] for batch in found] == [["bb", "a"], [*"cdef"], ["g"], ["hhh"]]
    assert all(batch.ends_window for batch in found)


def test_nothing_is_read_ahead_of_a_window():
    read = []

    def references():
        for number in range(12):
            read.append(number)
            yield Unread(number)

    batches = in_batches(references(), AskedSize(torch.nn.Identity(), 2), {}, mix=False)
    next(batches)
    assert read == [0, 1]
