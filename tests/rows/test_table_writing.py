"""Rows written to another file: paths that lead where they led, whatever holds them."""

import json

import pytest

from mmst_cli.config.schema import MediaConfig, Modality
from mmst_cli.media.reading import Reader
from mmst_cli.rows.table_writing import moved

CHAT = [{"role": "user", "content": [{"type": "text", "text": "a.png"}, {"type": "image", "image": "a.png"}]}]
TURNED = [{"role": "user", "content": [{"type": "text", "text": "a.png"}, {"type": "image", "image": "../data/a.png"}]}]


@pytest.mark.parametrize(
    ("modality", "cell", "expected"),
    [
        ("image", "a.png", "../data/a.png"),
        ("image", ["a.png", "/b.png", "https://host/c.png"], ["../data/a.png", "/b.png", "https://host/c.png"]),
        ("image", {"bytes": None, "path": "a.png"}, {"bytes": None, "path": "../data/a.png"}),
        ("image", {"bytes": b"x", "path": "a.png"}, {"bytes": b"x", "path": "a.png"}),
        ("image", None, None),
        ("image", "a.pdf#2", "../data/a.pdf#2"),
        ("audio", {"array": [0.0], "sampling_rate": 8}, {"array": [0.0], "sampling_rate": 8}),
        ("mixed", {"text": "a.png", "image": "a.png"}, {"text": "a.png", "image": "../data/a.png"}),
        ("mixed", {"text": None, "image": {"bytes": None, "path": "a.png"}}, None),
        ("message", CHAT, TURNED),
        ("message", json.dumps(CHAT), json.dumps(TURNED)),
        ("message", "a.png", "a.png"),
    ],
)
def test_paths_lead_where_they_led(modality, cell, expected, tmp_path):
    reader = Reader(MediaConfig(), tmp_path / "data")
    found = moved(cell, Modality(modality), reader, tmp_path / "new")
    if expected is None and cell is not None:
        found, expected = found["image"]["path"], "../data/a.png"
    assert found == expected
