import numpy
import pytest
import torch

from mmst_cli.vectors import input_stream as pipeline
from mmst_cli.vectors.input_stream import chunk_inputs, decoded_bytes, encode_stream

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


def test_a_text_embeds_the_same_whatever_stands_beside_it(tiny_model, pages, queries):
    text = {"text": queries[0]}
    (alone,) = encode_stream(tiny_model, [text], batch_size=4)
    (beside,) = encode_stream(tiny_model, [pages[0], text, {"text": "", "image": pages[1]}], batch_size=4)
    assert torch.equal(beside[1], alone[0])


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


def test_chunks_are_whole_batches_that_fit_into_the_bounds(monkeypatch):
    monkeypatch.setattr(pipeline, "CHUNK_BYTES", 1000)
    assert [len(chunk) for chunk in chunk_inputs([b"x" * 100] * 25, 4)] == [8, 8, 8, 1]
    assert [len(chunk) for chunk in chunk_inputs([b"x" * 600] * 5, 2)] == [2, 2, 1]
    assert [len(chunk) for chunk in chunk_inputs([b"x"] * 50, 4)] == [50]
    monkeypatch.setattr(pipeline, "CHUNK_INPUTS", 20)
    assert [len(chunk) for chunk in chunk_inputs([b"x"] * 50, 4)] == [20, 20, 10]


def test_a_batch_of_large_inputs_is_cut_short(monkeypatch):
    monkeypatch.setattr(pipeline, "CHUNK_BYTES", 1000)
    monkeypatch.setattr(pipeline, "BATCH_BYTES", 2000)

    def sizes(*weights, batch_size=8):
        return [len(chunk) for chunk in chunk_inputs([b"x" * weight for weight in weights], batch_size)]

    assert sizes(*[600] * 8) == [3, 3, 2]
    assert sizes(*[250] * 17) == [8, 8, 1]  # a batch of 2,000 bytes stays whole
    assert sizes(9000, 9000, 10) == [1, 1, 1]
    assert sizes(*[10] * 5, 1500, *[10] * 5) == [6, 5]
    assert sizes(*[100] * 8, *[900] * 3, *[100] * 8) == [8, 2, 8, 1]


def test_nothing_is_read_ahead_of_a_chunk(monkeypatch):
    monkeypatch.setattr(pipeline, "CHUNK_BYTES", 1000)
    read = []

    def inputs():
        for number in range(12):
            read.append(number)
            yield b"x" * 400

    chunks = chunk_inputs(inputs(), 2)
    next(chunks)
    assert read == [0, 1]
