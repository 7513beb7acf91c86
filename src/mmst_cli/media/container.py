"""Files of sound and video, opened by PyAV, which carries FFmpeg's libraries; what goes wrong is said in a sentence."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from mmst_cli.errors import DataError
from mmst_cli.media.content import ending_of, head_of, name_of, reason, stream_of

EXTRAS = {"audio": "av", "video": "av", "pdf": "pypdfium2"}  # what each brings; the wheels need nothing from the system
PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"<?xml", b"<MPD", b"<SMIL")
WAV_PROBE = 4096  # bytes of sound that FFmpeg looks at; else 5 MB, to tell whether a wav file hides DTS


@contextmanager
def open_stream(content: Path | bytes, kind: Literal["audio", "video"]) -> Iterator[tuple[Any, Any]]:
    """Open a file and yield PyAV's container and its main stream of a kind, to be decoded while it is open.

    Args:
        content: the file or its bytes.
        kind: which stream.

    Raises:
        DataError: PyAV isn't installed, there is no such stream, or what was done with it failed; begins with the path.
    """
    name, noun = name_of(content), "sound" if kind == "audio" else "video"
    head = head_of(content)
    if head.startswith(PLAYLISTS):  # FFmpeg takes it for a medium and follows it
        raise DataError(f"{name}a list of other media, which isn't followed; give the media themselves.")
    require(kind, f"{name}reading {noun}")
    import av

    options = {"protocol_whitelist": "file"}
    if ending_of(head) == ".wav":
        options["probesize"] = str(WAV_PROBE)
    try:
        # Tags in whatever encoding say nothing about the sound.
        with av.open(stream_of(content), options=options, metadata_errors="replace") as container:
            stream = container.streams.best(kind)
            if stream is None:
                raise DataError(f"a file without {noun} in it.")
            yield container, stream
    except DataError as error:
        raise DataError(f"{name}{error}") from error
    except (av.FFmpegError, ValueError) as error:
        raise DataError(f"{name}no {noun} that can be read: {reason(error)}.") from error


def require(extra: str, reading: str) -> None:
    """Check that what an extra brings is installed.

    Args:
        extra: ``audio``, ``video`` or ``pdf``.
        reading: what it is wanted for, as the beginning of a sentence: ``reading mp3 files``.

    Raises:
        DataError: it isn't installed; names the extra.
    """
    if importlib.util.find_spec(EXTRAS[extra]) is None:
        raise DataError(f"{reading} needs the extra: pip install 'mmst-cli[{extra}]'")
