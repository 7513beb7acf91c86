"""Faults of single inputs, of every modality."""

import json

import numpy as np
import pytest
from media_samples import wav
from PIL import Image

from mmst_cli.checking.examined_input import examine_input
from mmst_cli.rows.row_preparation import open_rows

TEXT_AND_IMAGE = {"query": "anchor:text", "image": "positive:image"}


def kinds(result, column=None):
    return {f.kind: set(f.rows) for f in result.findings if f.rows and (column is None or f.column == column)}


def test_images_that_cannot_be_read_show_nothing_or_are_no_images(job, check, picture, blank, tmp_path):
    (tmp_path / "cut.png").write_bytes((tmp_path / picture(0)).read_bytes()[:200])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("this is no image at all")
    Image.new("RGB", (20, 400), "red").save(tmp_path / "narrow.png")
    images = [picture(1), "cut.png", "empty.png", "text.png", "missing.png", None, blank, "narrow.png", "find the page"]
    rows = [{"query": f"the page number {i}", "image": image} for i, image in enumerate(images)]
    found = kinds(check(job(TEXT_AND_IMAGE, train=rows)))
    assert found["broken"] == {1, 2, 3, 4, 5}
    assert found["wrong-content"] == {8}
    assert found["blank"] == {6, 7}
    assert found["extreme"] == {7}


def test_texts_that_are_empty_far_too_long_or_name_media(job, check, picture):
    texts = [
        "find it",
        "",
        "  \n",
        "page 3.png",
        "https://a.b/c.jpg?size=2",
        "data:image/png;base64,AAAA",
        "word " * 900,
    ]
    texts += ["what is report.pdf about, please tell me", "see http://a.b", *(f"find number {i}" for i in range(9))]
    rows = [{"query": text, "image": picture(i)} for i, text in enumerate(texts)]
    found = kinds(check(job(TEXT_AND_IMAGE, train=rows)), "query")
    assert found["empty"] == {1, 2}
    assert found["wrong-content"] == {3, 4, 5}
    assert found["extreme"] == {6}


def test_sounds_that_are_silent_or_far_too_long(job, check, tmp_path):
    sounds = {"a.wav": np.sin(np.arange(800) * 0.3), "silent.wav": np.zeros(800), "click.wav": np.ones(10) * 0.5}
    sounds |= {f"{i}.wav": np.sin(np.arange(800 + i) * 0.01 * (i + 3)) for i in range(6)}
    sounds["long.wav"] = np.sin(np.arange(8000 * 70) * 0.1)
    for name, samples in sounds.items():
        (tmp_path / name).write_bytes(wav((samples * 20000).astype(np.int16), 8000))
    rows = [{"query": f"the sound number {i}", "sound": name} for i, name in enumerate(sounds)]
    places = {name: i for i, name in enumerate(sounds)}
    found = kinds(check(job({"query": "anchor:text", "sound": "positive:audio"}, train=rows)))
    assert found["silence"] == {places["silent.wav"]}
    assert found["extreme"] == {places["long.wav"], places["click.wav"]}


@pytest.fixture
def opened(tmp_path):
    def run(columns, rows):
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        section = {"use": "train", "path": str(tmp_path / "rows.jsonl"), "columns": columns}
        config = {"model": {"name_or_path": "x"}, "datasets": {"d": section}, "loss": [{"type": "CoSENTLoss"}]}
        (tmp_path / "c.yaml").write_text(json.dumps(config))
        from mmst_cli.config.load import load_config

        return open_rows("d", load_config(tmp_path / "c.yaml").datasets["d"])

    return run


def test_an_examined_large_jpeg_knows_its_full_size(opened, tmp_path):
    Image.effect_noise((1600, 2000), 60).convert("RGB").save(tmp_path / "a.jpg")
    rows = opened({"image": {"role": "positive", "modality": "image"}}, [{"image": "a.jpg"}])
    seen = examine_input(rows, rows.columns[0], 0)
    assert (seen.width, seen.height, seen.drafted, seen.error) == (1600, 2000, True, "")
    assert seen.level > 24


def test_an_error_says_why_and_not_where(opened):
    rows = opened({"image": {"role": "positive", "modality": "image"}}, [{"image": "missing.png"}])
    assert examine_input(rows, rows.columns[0], 0).error.startswith("no such file: ")


def test_inputs_of_several_parts_and_chats_are_looked_at_whole(opened, picture, tmp_path):
    columns = {
        "document": {"role": "positive", "parts": {"text": "ocr", "image": "page"}},
        "chat": {"role": "anchor", "modality": "message"},
    }
    said = [{"role": "user", "content": "find the page"}]
    rows = opened(columns, [{"ocr": "some words", "page": picture(0), "chat": said}])
    chat, document = (examine_input(rows, column, 0) for column in rows.columns)
    assert (document.length, chat.length) == (10, 13)
    assert [part.modality for part in document.sketch.parts] == ["image", "text"]
    broken = opened(columns, [{"ocr": "some words", "page": "missing.png", "chat": said}])
    assert "no such file" in examine_input(broken, broken.columns[1], 0).error
