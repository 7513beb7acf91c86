"""What is said where a decoder is missing."""

from __future__ import annotations

import importlib.util

import pytest

from mmst_cli.config.schema import MediaConfig
from mmst_cli.errors import DataError
from mmst_cli.media.audio import read_audio
from mmst_cli.media.pdf import page_numbers
from mmst_cli.media.video import read_video


def test_a_missing_extra_is_named(monkeypatch, tmp_path):
    find = importlib.util.find_spec
    missing = ("av", "pypdfium2")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else find(name))
    for name in ("a.mp3", "v.mp4", "d.pdf"):
        (tmp_path / name).write_bytes(b"something")
    with pytest.raises(DataError, match=r"a\.mp3: reading sound needs the extra: pip install 'mmst-cli\[audio\]'"):
        read_audio(tmp_path / "a.mp3", MediaConfig())
    with pytest.raises(DataError, match=r"v\.mp4: reading video needs the extra: pip install 'mmst-cli\[video\]'"):
        read_video(tmp_path / "v.mp4", MediaConfig())
    with pytest.raises(DataError, match=r"d\.pdf: reading PDF files needs the extra: pip install 'mmst-cli\[pdf\]'"):
        page_numbers(tmp_path / "d.pdf")
