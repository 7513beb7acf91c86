"""Chats, with their media where they stand."""

from __future__ import annotations

import json

import numpy
import pytest
from PIL import Image

from mmst_cli.config.schema import MediaConfig, Modality, ModelConfig
from mmst_cli.errors import DataError
from mmst_cli.media.message import clip_options, read_message
from mmst_cli.media.reading import Reader


def read(value):
    """The chat with each value replaced by its modality and itself, to see where it went."""
    return read_message(value, lambda modality, part: part if modality is Modality.text else f"<{modality} {part}>")


CHAT = [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, {"type": "image", "image": "a.png"}]}]
READ = [
    {"role": "user", "content": [{"type": "text", "text": "what is it?"}, {"type": "image", "image": "<image a.png>"}]}
]


@pytest.mark.parametrize(
    "value",
    [
        CHAT,
        tuple(CHAT),
        CHAT[0],
        json.dumps(CHAT),
        json.dumps(CHAT[0]),
        [{"role": "user", "content": ["what is it?", {"image": "a.png"}], "name": "ann"}],
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what is it?", "image": None},
                    {"type": "image", "text": None, "image": "a.png"},
                ],
            }
        ],
        [{"role": "user", "content": ["what is it?", {"type": "image_url", "image_url": {"url": "a.png"}}]}],
        [{"role": "user", "content": ["what is it?", {"image_url": "a.png"}]}],
    ],
)
def test_every_form_is_the_same_chat(value):
    assert read(value) == READ


def test_a_string_stays_a_string():
    chat = [{"role": "system", "content": "Represent it."}, {"role": "user", "content": "a.png"}]
    assert read(chat) == chat


def test_the_value_is_not_changed():
    before = json.dumps(CHAT)
    read(CHAT)
    assert json.dumps(CHAT) == before


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([], "a list of messages with role and content"),
        (7, "found 7|found '7'"),
        ("hello", "a list of messages or JSON of one, found 'hello'"),
        ([{"role": "user"}], "message 0: a message has role and content"),
        ([{"role": None, "content": "x"}], "message 0: role is a string"),
        ([CHAT[0], {"role": "user", "content": None}], "message 1: content is a string or a list of parts, found None"),
        ([{"role": "user", "content": []}], "message 0: content is a string or a list of parts"),
        ([{"role": "user", "content": [3]}], "message 0, part 0: a part is a mapping"),
        (
            [{"role": "user", "content": [{"type": "imege", "imege": "a"}]}],
            r"message 0, part 0: unknown type imege; it is one of text, image, audio, video\. Did you mean image\?",
        ),
        ([{"role": "user", "content": [{"type": "image", "url": "a"}]}], "has its value under image, found type, url"),
        ([{"role": "user", "content": [{"text": "a", "image": "b"}]}], "a part has one of text, image, audio, video"),
        ([{"role": "user", "content": [{"text": None}]}], "a part has one of text, image, audio, video, found nothing"),
    ],
)
def test_what_is_no_chat_is_told(value, sentence):
    with pytest.raises(DataError, match=sentence):
        read(value)


def test_a_part_that_cant_be_read_is_told_by_its_place(tmp_path):
    reader = Reader(MediaConfig(), tmp_path)
    with pytest.raises(DataError, match=r"message 0, part 1: no such file: .*a\.png"):
        reader.read(Modality.message, CHAT)
    with pytest.raises(DataError, match="message 0, part 0: text is a string, found 3"):
        reader.read(Modality.message, {"role": "user", "content": [{"type": "text", "text": 3}]})


def test_sounds_and_clips_stand_in_a_chat_as_arrays(tmp_path):
    frames = numpy.zeros((2, 4, 4, 3), dtype=numpy.uint8)
    sound = {"array": [0.5, 0.25], "sampling_rate": 10}
    content = [{"audio": sound}, {"video": {"array": frames, "video_metadata": {"fps": 2}}}]
    chat = Reader(MediaConfig(), tmp_path).read(Modality.message, {"role": "user", "content": content})
    audio, video = chat[0]["content"]
    assert audio["array" if "array" in audio else "audio"].tolist() == [0.5, 0.25]
    assert (audio["type"], audio["sampling_rate"]) == ("audio", 10)
    assert numpy.array_equal(video["video"], frames)
    assert clip_options([chat, [{"role": "user", "content": "none"}]]) == {
        "video": {"video_metadata": [{"fps": 2, "total_num_frames": 2, "duration": 1.0, "frames_indices": [0, 1]}]}
    }
    assert clip_options([[{"role": "user", "content": "none"}], {"text": "no chat"}]) == {}


def test_a_chat_gives_the_vector_of_the_same_content(tmp_path):
    import torch

    from mmst_cli.model.load_model import load_model

    model = load_model(ModelConfig(name_or_path="builtin:tiny-qwen3-vl"), torch.device("cpu"))[0]
    reader = Reader(MediaConfig(), tmp_path)
    Image.effect_noise((128, 96), 80).convert("RGB").save(tmp_path / "a.png")
    frames = numpy.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=numpy.uint8)
    clip = {"array": frames, "video_metadata": {"fps": 2}}
    for parts in ({"text": "a page"}, {"image": "a.png"}, {"text": "a page", "image": "a.png"}, {"video": clip}):
        chat = reader.read(
            Modality.message, {"role": "user", "content": [{name: part} for name, part in parts.items()]}
        )
        direct = model.encode([reader.read(Modality.mixed, parts)])
        read = model.encode([chat], processing_kwargs=clip_options([chat]))
        assert numpy.array_equal(direct, read), parts
