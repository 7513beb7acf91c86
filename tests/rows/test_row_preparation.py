import json

import datasets
import numpy
import pytest
from PIL import Image

from mmst_cli.config.schema import ColumnConfig, MediaConfig, Modality, Role
from mmst_cli.errors import ConfigError, DataError
from mmst_cli.rows.row_preparation import prepare_rows

ANCHOR = ColumnConfig(role=Role.anchor)
TEXTS = {"query": ANCHOR, "page": ColumnConfig(role=Role.positive)}


def sounds():
    return {"query": ANCHOR, "sound": ColumnConfig(role=Role.positive, modality=Modality.audio)}


def clips():
    return {"query": ANCHOR, "clip": ColumnConfig(role=Role.positive, modality=Modality.video)}


def second(rows):
    return list(rows.values(rows.columns[1]))


# Row numbers


def test_messages_name_the_row_in_the_source(parquet, prepare, png):
    path = parquet(query=[str(n) for n in range(60)], image=[png()] * 59 + [png()[:-40]])
    seen = set()
    for seed in range(40):
        try:
            prepare(path, seed=seed, max_rows=5)
        except DataError as error:
            seen.add(str(error).split(":")[0])
    assert seen == {"datasets.train, row 59, column image"}


def test_reading_while_training_names_dataset_row_and_column(parquet, prepare, png, tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    rows = prepare(parquet(query=["a", "b"], image=["a.png"] * 2))
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r"^datasets\.train, row 1, column image: no such file"):
        rows.read(rows.rows[1])


def test_a_column_that_is_called_like_the_number(parquet, prepare):
    path = parquet(query=["a"], page=["b"], __row__=[7])
    with pytest.raises(DataError, match=r"^datasets\.train: a column is called __row__"):
        prepare(path, TEXTS)


# Sounds and clips in every storage


@pytest.fixture
def wav(tmp_path):
    """A function that writes a sound of so many samples at 8 kHz, and returns its name."""
    import soundfile

    def write(name="a.wav", count=800):
        soundfile.write(tmp_path / name, numpy.sin(numpy.arange(count) / 9) / 2, 8000, subtype="PCM_16")
        return name

    return write


def test_sounds_in_every_form(parquet, prepare, wav, tmp_path):
    content = (tmp_path / wav()).read_bytes()
    expected = numpy.sin(numpy.arange(800) / 9) / 2
    forms = [
        "a.wav",
        str(tmp_path / "a.wav"),
        content,
        {"bytes": content, "path": None},
        {"bytes": None, "path": "a.wav"},
        {"array": expected.tolist(), "sampling_rate": 8000},
    ]
    for form in forms:
        (sound,) = second(prepare(parquet(query=["a"], sound=[form]), sounds()))
        assert sound["sampling_rate"] == 8000
        assert sound["array"].dtype == numpy.float32
        assert numpy.abs(sound["array"] - expected).max() < 1e-4, form


@pytest.mark.parametrize("decode", [True, False])
def test_sounds_of_datasets(decode, tmp_path, prepare, wav):
    features = datasets.Features({"query": datasets.Value("string"), "sound": datasets.Audio(decode=decode)})
    values = {"query": ["a"], "sound": [{"bytes": (tmp_path / wav()).read_bytes(), "path": None}]}
    datasets.Dataset.from_dict(values, features=features).save_to_disk(tmp_path / "saved")
    assert second(prepare(tmp_path / "saved", sounds()))[0]["array"].shape == (800,)


def test_arrays_keep_their_type(tmp_path, prepare):
    type_of = datasets.List(datasets.Value("int32"))
    features = datasets.Features(
        {"query": datasets.Value("string"), "sound": {"array": type_of, "sampling_rate": datasets.Value("int64")}}
    )
    values = {"query": ["a"], "sound": [{"array": [0, 2**30, -(2**30)], "sampling_rate": 8000}]}
    datasets.Dataset.from_dict(values, features=features).save_to_disk(tmp_path / "saved")
    assert second(prepare(tmp_path / "saved", sounds()))[0]["array"].tolist() == [0, 0.5, -0.5]


def test_sixteen_bit_images_in_lists(tmp_path, prepare):
    features = datasets.Features(
        {"query": datasets.Value("string"), "image": datasets.List(datasets.List(datasets.Value("uint16")))}
    )
    values = {"query": ["a"], "image": [[[0, 65535], [257, 514]]]}
    datasets.Dataset.from_dict(values, features=features).save_to_disk(tmp_path / "saved")
    (image,) = second(prepare(tmp_path / "saved"))
    assert numpy.asarray(image)[:, :, 0].tolist() == [[0, 255], [1, 2]]


def test_clips_as_arrays_and_frames(parquet, prepare, png, tmp_path):
    (tmp_path / "0.png").write_bytes(png("red"))
    (tmp_path / "1.png").write_bytes(png("blue"))
    array = numpy.random.default_rng(0).integers(0, 256, (4, 8, 6, 3), numpy.uint8)
    (clip,) = second(prepare(parquet(query=["a"], clip=[array.tolist()]), clips()))
    assert numpy.array_equal(clip["array"], array)
    (clip,) = second(prepare(parquet(query=["a"], clip=[["0.png", "1.png"]]), clips()))
    assert clip["array"].shape == (2, 24, 20, 3)
    assert [tuple(frame[0, 0]) for frame in clip["array"]] == [(255, 0, 0), (0, 0, 255)]


def test_a_folder_of_frames(parquet, prepare, png, tmp_path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "0.png").write_bytes(png())
    assert second(prepare(parquet(query=["a"], clip=["frames"]), clips()))[0]["array"].shape == (1, 24, 20, 3)


def test_media_settings_reach_the_reader(section, parquet, wav):
    config = section(parquet(query=["a"], sound=[wav()]), sounds())
    rows = prepare_rows("train", config, 0, MediaConfig(max_seconds=0.05))
    assert second(rows)[0]["array"].shape == (400,)


@pytest.mark.parametrize("array", [[[1, 2], [3]], [[1, None], [2, 3]]])
def test_lists_that_are_no_array(array, parquet, prepare):
    with pytest.raises(DataError, match="row 1, column image: the rows of this array differ in length"):
        prepare(parquet(query=["a", "b"], image=[[[1, 2], [3, 4]], array]))


# Memory


def test_one_image_is_decoded_at_a_time(parquet, prepare, png, monkeypatch):
    rows = prepare(parquet(query=["a"] * 9, image=[png()] * 9))
    opened, real = [], Image.open
    monkeypatch.setattr(Image, "open", lambda file, *args, **kw: opened.append(1) or real(file, *args, **kw))
    values = rows.values(rows.columns[1])
    for count in range(1, 5):
        next(values)
        assert len(opened) == count
    rows.value_at(rows.columns[0], 3)
    assert len(opened) == 4


# Streams


@pytest.fixture
def lines(tmp_path):
    """A function that writes rows as JSON lines, and returns the file."""

    def write(*rows):
        (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
        return tmp_path / "rows.jsonl"

    return write


def test_a_stream_is_read_as_it_comes(lines, prepare, png, tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    rows = prepare(lines(*({"query": f"{n}", "image": "a.png", "more": n} for n in range(40))), streaming=True)
    assert rows.is_stream
    read = [rows.read(row) for row in rows.rows]
    assert sorted(int(row["query"]["text"]) for row in read) == list(range(40))
    assert list(read[0]) == ["query", "image"]
    assert read[0]["image"].getpixel((0, 0)) == (255, 0, 0)


def test_rows_at_hand_are_no_stream(parquet, prepare):
    assert not prepare(parquet(query=["a"], page=["b"]), TEXTS).is_stream


def test_the_first_rows_of_a_stream_are_checked(lines, prepare):
    with pytest.raises(DataError, match=r"^datasets\.train, a row of the stream, column image: no such file"):
        prepare(lines({"query": "a", "image": "gone.png"}), streaming=True)


def test_the_types_of_a_stream_are_checked(lines, prepare):
    with pytest.raises(DataError, match="column page: declared text, found int64"):
        prepare(lines({"query": "a", "page": 5}), TEXTS, streaming=True)
    with pytest.raises(ConfigError, match=r"columns\.page: no such column"):
        prepare(lines({"query": "a", "pag": "b"}), TEXTS, streaming=True)


def test_an_empty_cell_in_a_stream(lines, prepare):
    path = lines({"query": "a", "page": "b"}, {"query": "a", "page": None})
    with pytest.raises(DataError, match="a row of the stream, column page: there is no text here"):
        prepare(path, TEXTS, streaming=True)


def test_lists_and_pages_in_a_stream(lines, prepare):
    with pytest.raises(DataError, match=r"columns\.page: the cells are lists of inputs"):
        prepare(lines({"query": "a", "page": ["b", "c"]}), TEXTS, streaming=True)
    declared = {"query": ANCHOR, "page": ColumnConfig(role=Role.positive, modality=Modality.image, pages="first")}
    with pytest.raises(ConfigError, match=r"columns\.page\.pages: in a stream"):
        prepare(lines({"query": "a", "page": "a.pdf"}), declared, streaming=True)
