"""Columns of sounds, clips, chats and mixed inputs."""

import json

import numpy
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from media_samples import animation, as_floats, clip, tone, wav

from mmst_cli.config.schema import MediaConfig
from mmst_cli.errors import MmstError
from mmst_cli.media.video import read_video

PITCHES = (220, 440)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_lines(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")


def test_columns_of_sounds(here, encode, read_output, clap, clap_folder):
    expected = clap.encode([as_floats(tone(pitch)) for pitch in PITCHES])
    for pitch in PITCHES:
        (here / f"{pitch}.wav").write_bytes(wav(tone(pitch)))
    (here / "rows.csv").write_text("path\n220.wav\n440.wav\n")
    arrays = [{"array": as_floats(tone(pitch))["array"].tolist(), "sampling_rate": 8000} for pitch in PITCHES]
    write_lines(here / "rows.jsonl", [{"sound": sound} for sound in arrays])
    content = [wav(tone(pitch)) for pitch in PITCHES]
    pq.write_table(pa.table({"bytes": content, "both": [{"bytes": c, "path": None} for c in content]}), "rows.parquet")
    for file, column in (
        ("rows.csv", "path:audio"),
        ("rows.jsonl", "sound"),
        ("rows.parquet", "bytes:audio"),
        ("rows.parquet", "both:audio"),
    ):
        encode([file], here / "out", model=clap_folder, columns=[column], overwrite=True)
        assert numpy.array_equal(read_output(here / "out")[1], expected), column


def test_media_that_datasets_wrote_are_known_for_what_they_are(
    here, encode, read_output, model, clap, clap_folder, pages
):
    from datasets import Audio, Dataset, Features, Image, Video

    moving = animation(clip(3), "GIF")
    rows = {
        "sound": [{"bytes": wav(tone(pitch)), "path": None} for pitch in PITCHES],
        "clip": [{"bytes": moving, "path": None}] * 2,
        "page": pages[:2],
    }
    features = Features({"sound": Audio(decode=False), "clip": Video(decode=False), "page": Image()})
    Dataset.from_dict(rows, features=features).to_parquet("rows.parquet")
    encode(["rows.parquet"], here / "sounds", columns=["sound"], model=clap_folder)
    expected = clap.encode([as_floats(tone(pitch)) for pitch in PITCHES])
    assert numpy.array_equal(read_output(here / "sounds")[1], expected)
    encode(["rows.parquet"], here / "clips", columns=["clip"])
    assert numpy.array_equal(read_output(here / "clips")[1], model.encode([read_video(moving, MediaConfig())] * 2))
    encode(["rows.parquet"], here / "pages", columns=["page"])
    assert numpy.array_equal(read_output(here / "pages")[1], model.encode(pages[:2]))
    with pytest.raises(MmstError, match="column sound holds audio, not image"):
        encode(["rows.parquet"], here / "out", columns=["sound:image"])


def chat(query, page):
    return [
        {"role": "system", "content": [{"type": "text", "text": "Find the page."}]},
        {"role": "user", "content": [{"type": "text", "text": query}, {"type": "image", "image": page}]},
    ]


def test_columns_of_chats(here, encode, read_output, read_errors, model, pages, queries):
    pages[0].save(here / "0.png")
    chats = [chat(queries[0], "0.png"), [{"role": "user", "content": queries[1]}], chat(queries[2], {"path": "0.png"})]
    write_lines(here / "rows.jsonl", [{"chat": value, "text": json.dumps(value)} for value in chats])
    expected = model.encode(
        [chat(queries[0], pages[0]), [{"role": "user", "content": queries[1]}], chat(queries[2], pages[0])]
    )
    for column in ("chat", "chat:message", "text:message"):
        encode(["rows.jsonl"], here / "out", columns=[column], overwrite=True)
        assert read_errors(here / "out") == {}
        assert numpy.array_equal(read_output(here / "out")[1], expected), column


def test_chats_that_cannot_be_read_fail_alone(here, encode, read_output, read_errors):
    (here / "220.wav").write_bytes(wav(tone(220)))
    contents = [
        "fine",
        [{"type": "picture", "picture": "0.png"}],
        [{"type": "image", "image": "gone.png"}],
        [{"type": "audio", "audio": "220.wav"}],
    ]
    write_lines(here / "rows.jsonl", [{"chat": [{"role": "user", "content": content}]} for content in contents])
    encode(["rows.jsonl"], here / "out", columns=["chat"])
    assert read_output(here / "out")[0] == ["rows.jsonl#0"]
    unknown, gone, sound = read_errors(here / "out").values()
    assert "column chat: message 0, part 0: unknown type picture; it is one of text, image, audio, video" in unknown
    assert "no such file" in gone
    assert sound == "message with audio, but the model takes text, image, video, message"


def test_rows_that_lack_a_part_are_what_is_there(here, encode, read_output, read_errors, model, pages, queries):
    for number, page in enumerate(pages[:2]):
        page.save(here / f"{number}.png")
    write_lines(
        here / "rows.jsonl",
        [
            {"file": "0.png"},
            {"ocr": queries[1], "file": "1.png"},
            {"ocr": queries[2], "file": None},
            {"ocr": None},
        ],
    )
    encode(["rows.jsonl"], here / "out", columns=["ocr", "file:image"])
    ids, vectors = read_output(here / "out")
    assert ids == [f"rows.jsonl#{number}" for number in (0, 1, 2)]
    both = {"text": queries[1], "image": pages[1]}
    expected = [model.encode([value])[0] for value in (pages[0], both, {"text": queries[2]})]
    assert numpy.array_equal(vectors, expected)
    assert read_errors(here / "out") == {"rows.jsonl#3": "columns ocr and file are empty"}


def test_an_empty_cell_of_a_csv_is_a_part_that_is_missing(here, encode, read_output, read_errors, model, pages):
    pages[0].save(here / "0.png")
    (here / "rows.csv").write_text("ocr,file\n,0.png\n,\n")
    encode(["rows.csv"], here / "out", columns=["ocr", "file:image"])
    assert numpy.array_equal(read_output(here / "out")[1], model.encode([pages[0]]))
    assert list(read_errors(here / "out")) == ["rows.csv#1"]


def test_a_column_of_mixed_inputs(here, encode, read_output, read_errors, model, pages, queries):
    pages[0].save(here / "0.png")
    (here / "220.wav").write_bytes(wav(tone(220)))
    values = [
        {"text": queries[0], "image": "0.png"},
        {"text": queries[1]},
        {"text": queries[2], "audio": "220.wav"},
        {"text": queries[3], "sound": "220.wav"},
        {"text": None, "image": None},
    ]
    write_lines(here / "rows.jsonl", [{"document": value} for value in values])
    encode(["rows.jsonl"], here / "out", columns=["document"])
    expected = [model.encode([{"text": queries[0], "image": pages[0]}])[0], model.encode([queries[1]])[0]]
    assert numpy.array_equal(read_output(here / "out")[1], expected)
    sound, unknown, empty = read_errors(here / "out").values()
    assert sound == "audio with text, but the model takes text, image, video, message"
    assert "a mixed input holds text, image, audio, video; found sound" in unknown
    assert "all parts of this mixed input are empty" in empty
