"""Which libraries decode sound and video: torchcodec where it loads, else PyAV and soundfile."""

from __future__ import annotations

import functools
import importlib.util
import os

from mmst_cli.errors import DataError

DECODERS = ("torchcodec", "pyav")
VARIABLE = "MMST_DECODER"
# What each extra brings. PyAV and soundfile carry their own libraries and need nothing from the system.
EXTRAS = {"audio": ("soundfile", "av"), "video": ("av",), "pdf": ("pypdfium2",)}


@functools.cache
def find_decoder() -> str:
    """Return the decoder of this process: ``torchcodec`` or ``pyav``.

    torchcodec is taken where it really loads, with the shared libraries of FFmpeg. The environment variable
    ``MMST_DECODER`` set to ``torchcodec`` or ``pyav`` takes that one and no other.

    Raises:
        DataError: the variable names no decoder, or torchcodec where it doesn't load.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen and chosen not in DECODERS:
        raise DataError(f"{VARIABLE}={chosen}: no such decoder; it is {' or '.join(DECODERS)}.")
    if chosen == "torchcodec" and (fault := torchcodec_fault()):
        raise DataError(f"{VARIABLE}=torchcodec: {fault}.")
    return chosen or ("pyav" if torchcodec_fault() else "torchcodec")


@functools.cache
def torchcodec_fault() -> str | None:
    """Return why torchcodec can't decode, or None if it can. Importing it succeeds without FFmpeg's libraries."""
    if importlib.util.find_spec("torchcodec") is None:
        return "torchcodec is not installed"
    try:
        from torchcodec.decoders import AudioDecoder

        AudioDecoder(b"")
    except (ImportError, OSError) as error:
        return f"torchcodec does not load: {str(error).strip().splitlines()[0]}"
    except RuntimeError as error:
        if "libtorchcodec" in str(error):
            return "torchcodec finds no shared libraries of FFmpeg, which the system's package ffmpeg brings"
    except ValueError:
        pass  # it was asked to decode nothing, and could say so
    return None


def audio_decoder() -> str:
    """Return what decodes sound: ``torchcodec``, or ``pyav``, by which soundfile is meant for wav and flac.

    Raises:
        DataError: as :func:`find_decoder`.
    """
    return find_decoder()


def video_decoder() -> str:
    """Return what decodes clips: ``torchcodec`` or ``pyav``.

    Raises:
        DataError: as :func:`find_decoder`.
    """
    return find_decoder()


def decoder_sentence() -> str:
    """Return one sentence that says what decodes sound and clips, and why.

    Raises:
        DataError: as :func:`find_decoder`.
    """
    decoder = find_decoder()
    if os.environ.get(VARIABLE):
        why = f"{VARIABLE} says so"
    elif decoder == "torchcodec":
        why = "it loads, with the system's FFmpeg"
    else:
        why = torchcodec_fault() or ""
    names = {"torchcodec": "torchcodec", "pyav": "PyAV and soundfile"}
    return f"Sounds and clips are decoded by {names[decoder]}; {why}."


def require(extra: str, reading: str) -> None:
    """Check that what an extra brings is installed.

    Args:
        extra: ``audio``, ``video`` or ``pdf``.
        reading: what it is wanted for, as the beginning of a sentence: ``reading mp3 files``.

    Raises:
        DataError: it isn't installed; names the extra.
    """
    if any(importlib.util.find_spec(module) is None for module in EXTRAS[extra]):
        raise DataError(f"{reading} needs the extra: pip install 'mmst-cli[{extra}]'")
