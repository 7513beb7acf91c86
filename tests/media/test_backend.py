"""Which libraries decode, and what is said where one is missing."""

from __future__ import annotations

import importlib.util

import pytest

from mmst_cli.config.schema import MediaConfig
from mmst_cli.errors import DataError
from mmst_cli.media import backend
from mmst_cli.media.audio import read_audio
from mmst_cli.media.pdf import page_numbers
from mmst_cli.media.video import read_video


@pytest.fixture
def hide(monkeypatch):
    """Make modules look as if they weren't installed, and forget what was decided."""
    find = importlib.util.find_spec

    def hide_modules(*names):
        monkeypatch.delenv(backend.VARIABLE, raising=False)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in names else find(name))
        backend.find_decoder.cache_clear()
        backend.torchcodec_fault.cache_clear()

    yield hide_modules
    backend.find_decoder.cache_clear()
    backend.torchcodec_fault.cache_clear()


def test_pyav_decodes_where_torchcodec_is_missing(hide):
    hide("torchcodec")
    assert backend.audio_decoder() == backend.video_decoder() == "pyav"
    assert backend.decoder_sentence() == (
        "Sounds and clips are decoded by PyAV and soundfile; torchcodec is not installed."
    )


def test_pyav_decodes_where_torchcodec_does_not_load(hide, monkeypatch):
    torchcodec = pytest.importorskip("torchcodec.decoders")

    def fail(source):
        raise RuntimeError("Could not load libtorchcodec. Likely causes:\n ...")

    hide()
    monkeypatch.setattr(torchcodec, "AudioDecoder", fail)
    assert backend.find_decoder() == "pyav"
    assert "torchcodec finds no shared libraries of FFmpeg" in backend.decoder_sentence()
    monkeypatch.setenv(backend.VARIABLE, "torchcodec")
    backend.find_decoder.cache_clear()
    with pytest.raises(DataError, match="MMST_DECODER=torchcodec: torchcodec finds no shared libraries"):
        backend.find_decoder()


def test_the_variable_chooses(decoder):
    assert backend.find_decoder() == decoder
    assert "MMST_DECODER says so" in backend.decoder_sentence()


def test_an_unknown_decoder_is_told(monkeypatch):
    monkeypatch.setenv(backend.VARIABLE, "ffmpeg")
    backend.find_decoder.cache_clear()
    with pytest.raises(DataError, match="MMST_DECODER=ffmpeg: no such decoder; it is torchcodec or pyav"):
        backend.find_decoder()


def test_a_missing_extra_is_named(hide, tmp_path):
    for name in ("a.mp3", "v.mp4", "d.pdf"):
        (tmp_path / name).write_bytes(b"something")
    hide("torchcodec", "av", "soundfile", "pypdfium2")
    with pytest.raises(DataError, match=r"a\.mp3: reading sound needs the extra: pip install 'mmst-cli\[audio\]'"):
        read_audio(tmp_path / "a.mp3", MediaConfig())
    with pytest.raises(DataError, match=r"v\.mp4: reading video needs the extra: pip install 'mmst-cli\[video\]'"):
        read_video(tmp_path / "v.mp4", MediaConfig())
    with pytest.raises(DataError, match=r"d\.pdf: reading PDF files needs the extra: pip install 'mmst-cli\[pdf\]'"):
        page_numbers(tmp_path / "d.pdf")
