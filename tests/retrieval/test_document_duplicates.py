import io
import pickle

import numpy as np
import pytest
from PIL import Image

from mmst_cli.config.schema import Modality
from mmst_cli.media.input_digest import digest_of_input
from mmst_cli.retrieval.retrieval_set import Deduplicator, RowRetrieval

TEXT, IMAGE, AUDIO = Modality.text, Modality.image, Modality.audio


def image(colour="red", size=(6, 4), mode="RGB"):
    return Image.new("RGB", size, colour).convert(mode)


def same(one, other, modality=IMAGE):
    return digest_of_input(modality, one) == digest_of_input(modality, other)


class Document:
    """Stored under a name, and holding what is read of it."""

    def __init__(self, stored, content):
        self.stored, self.content = stored, content

    def identity(self):
        return self.stored


def settled(*documents):
    """Return which documents are read, which of those are kept, and of which kept one each document is a copy."""
    duplicates = Deduplicator()
    read = list(duplicates.distinctly_stored(documents))
    assert [documents[duplicates.index_of(place)] for place in range(len(read))] == read
    kept = duplicates.settle([document.content for document in read])
    return [document.stored for document in read], [read[place].stored for place in kept], duplicates.first_of


def test_what_is_stored_alike_is_read_once_and_what_is_read_alike_is_one():
    documents = [Document(*pair) for pair in ("aA", "bB", "aA", "cA", "dD", "bB", "cA")]
    assert settled(*documents) == (["a", "b", "c", "d"], ["a", "b", "d"], [0, 1, 0, 0, 2, 1, 0])


def test_nothing_in_nothing_out():
    assert settled() == ([], [], [])


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


def test_many_documents():
    numbers = np.random.default_rng(0).integers(0, 3000, 10_000).tolist()
    _, kept, first_of = settled(*(Document(number, number // 2) for number in numbers))
    assert len(kept) == len({number // 2 for number in numbers})
    assert [kept[place] // 2 for place in first_of] == [number // 2 for number in numbers]


def test_stored_content_is_told_apart_by_all_of_it(prepare, tmp_path, encoded):
    """Files of which only a byte in the middle differs are two, and a name that stands in two rows is one."""
    content = np.zeros((300, 300, 3), "uint8")
    for number, name in enumerate(("one", "other")):
        content[150, 150] = number
        Image.fromarray(content).save(tmp_path / f"{name}.bmp")
    pages = ["one.bmp", "other.bmp", "one.bmp"]
    rows = "".join(f'{{"query": "{number}", "image": "{page}"}}\n' for number, page in enumerate(pages))
    (tmp_path / "rows.jsonl").write_text(rows)
    inputs = list(RowRetrieval(prepare(tmp_path / "rows.jsonl")).corpus_inputs())
    identities = [one.identity() for one in inputs]
    assert identities[0] == identities[2] != identities[1]
    assert not same(inputs[0].read(), inputs[1].read())
    again = pickle.loads(pickle.dumps(inputs[1]))
    assert again.identity() == identities[1] and same(again.read(), inputs[1].read())


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
