import io

import numpy as np
import pytest
from PIL import Image

from mmst_cli.config.schema import Modality
from mmst_cli.media.input_digest import digest_of_input
from mmst_cli.retrieval.retrieval_set import Deduplicator

TEXT, IMAGE, AUDIO = Modality.text, Modality.image, Modality.audio


def image(colour="red", size=(6, 4), mode="RGB"):
    return Image.new("RGB", size, colour).convert(mode)


def same(one, other, modality=IMAGE):
    return digest_of_input(modality, one) == digest_of_input(modality, other)


def passed(*documents):
    duplicates = Deduplicator()
    return list(duplicates.unique(documents)), duplicates.first_of


def test_first_occurrences_pass_and_copies_point_to_them():
    documents = [(TEXT, text) for text in ("a", "b", "a", "c", "b", "a")]
    unique, first_of = passed(*documents)
    assert unique == [(0, TEXT, "a"), (1, TEXT, "b"), (3, TEXT, "c")]
    assert first_of == [0, 1, 0, 2, 1, 0]


def test_nothing_in_nothing_out():
    assert passed() == ([], [])


def test_a_digest_is_small_and_names_the_content():
    assert len(digest_of_input(IMAGE, image())) == 16
    assert same(image(), image())


def test_the_file_format_of_an_image_does_not_matter():
    files = []
    for kind in ("PNG", "BMP"):
        image().save(file := io.BytesIO(), kind)
        files.append(Image.open(file))
    assert same(*files)


@pytest.mark.parametrize("other", [image("blue"), image(size=(4, 6)), image(mode="L"), image(mode="RGBA")])
def test_images_that_differ(other):
    assert not same(image(), other)


def test_one_pixel_makes_a_difference():
    other = image()
    other.putpixel((5, 3), (254, 0, 0))
    assert not same(image(), other)


def test_indexed_images_with_different_palettes_differ():
    one, other = Image.new("P", (2, 2)), Image.new("P", (2, 2))
    one.putpalette([255, 0, 0])
    other.putpalette([0, 0, 255])
    assert one.tobytes() == other.tobytes()
    assert not same(one, other)
    assert same(one, one.copy())


@pytest.mark.parametrize("other", ["a ", "A", "á", "", "a\n"])
def test_texts_are_compared_to_the_letter(other):
    assert not same("a", other, TEXT)


def test_text_of_any_kind_has_a_digest():
    assert not same("\ud800", "\0", TEXT)


def test_a_text_and_another_modality_are_two_documents():
    assert digest_of_input(TEXT, "a") != digest_of_input(IMAGE, "a")


def test_inputs_of_several_parts():
    both = {"text": "a", "image": image()}
    assert same(both, {"image": image(), "text": "a"})
    for other in (
        {"text": "a"},
        {**both, "text": "b"},
        {**both, "image": image("blue")},
        {"ocr": "a", "image": image()},
    ):
        assert not same(both, other)
    assert not same({"a": "b", "c": "d"}, {"a": "bc", "d": ""})


def test_sounds():
    sound = np.zeros(8, np.float32)
    one = {"array": sound, "sampling_rate": 8000}
    assert same(one, {"array": sound.copy(), "sampling_rate": 8000}, AUDIO)
    for other in ({**one, "sampling_rate": 16000}, {**one, "array": sound[:7]}, {**one, "array": sound.astype(float)}):
        assert not same(one, other, AUDIO)


def test_what_is_no_document():
    with pytest.raises(TypeError, match="holds no set"):
        digest_of_input(TEXT, {"a", "b"})


def test_documents_are_read_one_at_a_time_and_not_kept():
    alive, read = [], []

    class Watched(np.ndarray):
        def __del__(self):
            alive.remove(1)

    def documents():
        for number in range(20):
            alive.append(1)
            read.append(number)
            yield IMAGE, np.full(4, number % 5).view(Watched)

    duplicates = Deduplicator()
    for count, (_index, _, _value) in enumerate(duplicates.unique(documents()), start=1):
        assert read[-1] == count - 1
        assert len(alive) <= 3
    assert duplicates.first_of == [number % 5 for number in range(20)]


def test_many_documents():
    numbers = np.random.default_rng(0).integers(0, 3000, 10_000)
    unique, first_of = passed(*((TEXT, f"document {number}") for number in numbers))
    assert len(unique) == len(set(numbers.tolist()))
    assert [unique[place][2] for place in first_of] == [f"document {number}" for number in numbers]


def test_what_readers_return_can_be_told_apart(tmp_path):
    import soundfile

    from mmst_cli.config.schema import MediaConfig
    from mmst_cli.media.reading import Reader

    for name, pitch in (("a.wav", 9), ("b.wav", 9), ("c.wav", 8)):
        soundfile.write(tmp_path / name, np.sin(np.arange(800) / pitch), 8000)
    reader = Reader(MediaConfig(), tmp_path)
    sounds = [reader.read(AUDIO, name) for name in ("a.wav", "b.wav", "c.wav")]
    assert same(*sounds[:2], AUDIO)
    assert not same(*sounds[1:], AUDIO)
    clips = [reader.read(Modality.video, np.full((2, 8, 8, 3), n, np.uint8)) for n in (1, 1, 2)]
    assert same(*clips[:2], Modality.video)
    assert not same(*clips[1:], Modality.video)
    chats = [reader.read(Modality.message, [{"role": "user", "content": [{"audio": n}]}]) for n in ("a.wav", "b.wav")]
    assert same(*chats, Modality.message)
