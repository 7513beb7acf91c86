"""What a model's processors make of sounds and clips, and the readers of its inputs told of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from math import isqrt
from typing import TYPE_CHECKING, Any

from mmst_cli.config.schema import MediaConfig
from mmst_cli.errors import ModelError, first_line
from mmst_cli.media.reading import Reader
from mmst_cli.model.model_parts import encoders_of, processor_part
from mmst_cli.model.seen_media import SeenClip, see_clip, temporal_patch

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

FRAMES, MAX_FRAMES = 8, 64  # of the probe clips
SIDE = 64  # pixels of a probe frame, both ways, where only frames are counted
FPS = 4.0
_OF_TOKENIZERS = ("max_length", "pad_to_multiple_of")  # arguments that feature extractors have as well


def media_key(setting: str) -> str:
    """Return what a setting of ``media`` is called in a config."""
    return f"media.{setting}"


def fit_media(model: SentenceTransformer, readers: Iterable[Reader], key_of: Callable[[str], str] = media_key) -> None:
    """Have sounds read at the rate the model wants, and clips taken with the frames that the settings choose.

    Args:
        model: the model; changed in place.
        readers: of its inputs; changed in place.
        key_of: what a setting of ``media`` is called in messages.

    Raises:
        ModelError: the model's processor makes more, or other, frames of a clip than the settings say.
    """
    rate, least = sampling_rate(model), least_frames(model)
    checked: list[MediaConfig] = []
    for reader in readers:
        reader.sampling_rate, reader.least_frames = rate, least
        settings = reader.settings
        if settings in checked:
            continue
        checked.append(settings)
        if settings.fps is not None or settings.max_frames is not None:
            take_frames_as_given(model)
        check_video_bounds(model, settings, key_of)


def random_crop_warning(model: SentenceTransformer, media: MediaConfig, setting: str) -> str | None:
    """Return a warning if the model hears a random piece of longer sounds, so that no two runs agree, else None.

    Args:
        model: the model.
        media: how sounds are read.
        setting: what ``max_seconds`` is called where it can be set.
    """
    for encoder in encoders_of(model, "audio"):
        extractor = processor_part(encoder, "audio")
        seconds = getattr(extractor, "max_length_s", None)
        is_random = getattr(extractor, "truncation", None) == "rand_trunc"
        if is_random and seconds and (media.max_seconds is None or media.max_seconds > seconds):
            return (
                f"of sounds of over {seconds:g} s the model takes {seconds:g} s at random, so that their vectors "
                f"differ from run to run; {setting} {seconds:g} takes the beginning."
            )
    return None


def sampling_rate(model: SentenceTransformer) -> int | None:
    """Return the rate of the sounds that the model wants, in Hz; None if it takes no audio.

    Raises:
        ModelError: two routes of it want different rates.
    """
    rates = {int(processor_part(encoder, "audio").sampling_rate) for encoder in encoders_of(model, "audio")}
    if len(rates) > 1:
        found = " and ".join(f"{rate} Hz" for rate in sorted(rates))
        raise ModelError(
            f"model.routes: the encoders of audio want different sampling rates, {found}, and a dataset is read at"
            " one. Name encoders of one rate."
        )
    return rates.pop() if rates else None


def keep_whole_sounds(model: SentenceTransformer) -> None:
    """Say in so many words how much of a sound a model hears: what its feature extractor takes by itself.

    A tokenizer that has truncated a text is saved with the length it truncated to. transformers hands that length
    to every part of a processor that is loaded again, and the model then hears the first few samples of each sound.
    What is said here is saved with the model, so that it holds in plain sentence-transformers as well.
    """
    for encoder in encoders_of(model, "audio"):
        if getattr(encoder, "tokenizer", None) is None:
            continue
        part = processor_part(encoder, "audio")
        taken = inspect.signature(type(part).__call__).parameters
        own = {name: taken[name].default for name in _OF_TOKENIZERS if name in taken}
        if own.get("max_length", "not taken") is None:  # then it is what a CLAP and a Whisper have it computed to
            own["max_length"] = getattr(part, "nb_max_samples", None) or getattr(part, "n_samples", None)
        for name, value in own.items():
            if value is not None:
                encoder.processing_kwargs.setdefault("audio", {}).setdefault(name, int(value))


def take_frames_as_given(model: SentenceTransformer) -> None:
    """Let the model see every frame of a clip that it is handed, and no other choice of them.

    Video processors sample frames again by default: of 8 frames read at 4 per second, Qwen's keep 4. The setting is
    saved with the model's processor.

    Args:
        model: the model; changed in place. One that takes no video stays as it is.
    """
    for encoder in encoders_of(model, "video"):
        part = processor_part(encoder, "video")
        part.do_sample_frames = False
        if _chooses(encoder):
            # A processor that passes its rate on asks for sampling by that (SmolVLM); the third repeats the two, and
            # wins when they are read back.
            part.fps = part.num_frames = None
            vars(part).pop("video_sampling", None)


def _chooses(encoder: Any) -> bool:
    """Say whether a processor takes other frames of a clip than all of them."""
    frames = max(FRAMES, temporal_patch(encoder))
    try:
        return see_clip(encoder, frames, SIDE, SIDE, FPS).frames < frames
    except Exception:  # what is wrong with it is told where a clip is read for it
        return False


def check_video_bounds(
    model: SentenceTransformer, media: MediaConfig, key_of: Callable[[str], str] = media_key
) -> None:
    """Check on probe clips that the model sees what ``fps``, ``max_frames`` and ``max_pixels`` say.

    A clip is cut to these when it is read; a processor that samples frames again or scales them up undoes it.

    Raises:
        ModelError: a clip comes out with other frames or more pixels than it was handed over with.
    """
    for encoder in encoders_of(model, "video"):
        if media.fps is not None or media.max_frames is not None:
            _check_frames(encoder, media, key_of)
        if media.max_pixels is not None:
            _check_pixels(encoder, media.max_pixels, key_of)


def _check_frames(encoder: Any, media: MediaConfig, key_of: Callable[[str], str]) -> None:
    least = temporal_patch(encoder)
    if media.max_frames is not None and media.max_frames < least:
        raise ModelError(
            f"{key_of('max_frames')}: {media.max_frames}: the model takes {least} frames at a time."
            f" Write {least} or more."
        )
    frames = max(least, min(media.max_frames or FRAMES, MAX_FRAMES))
    key, value = ("max_frames", media.max_frames) if media.max_frames is not None else ("fps", media.fps)
    seen = _see(encoder, frames, SIDE, media.fps or FPS, f"{key_of(key)}: {value}")
    if not frames <= seen.frames < frames + least:
        raise ModelError(
            f"{key_of(key)}: {value}: of a clip of {frames} frames the processor took {seen.frames}. It chooses frames"
            " itself; leave fps and max_frames out, or choose a model whose processor takes them as they are."
        )


def _check_pixels(encoder: Any, max_pixels: int, key_of: Callable[[str], str]) -> None:
    side = isqrt(max_pixels)
    seen = _see(encoder, temporal_patch(encoder), side, FPS, f"{key_of('max_pixels')}: {max_pixels}")
    if seen.pixels > max_pixels:
        raise ModelError(
            f"{key_of('max_pixels')}: {max_pixels}: the processor made {seen.pixels} pixels of a {side}x{side} frame."
            f" It scales frames up; write {seen.pixels} or more."
        )


def _see(encoder: Any, frames: int, side: int, fps: float, setting: str) -> SeenClip:
    try:
        return see_clip(encoder, frames, side, side, fps)
    except Exception as error:  # processors raise whatever they like
        raise ModelError(
            f"{setting}: the processor can't take a clip of {frames} frames of {side}x{side}: {first_line(error)}"
            " Leave this out, or choose another value."
        ) from error


def least_frames(model: SentenceTransformer) -> int:
    """Return how many frames the model takes at a time; 1 if it takes single ones, or no video."""
    return max((temporal_patch(encoder) for encoder in encoders_of(model, "video")), default=1)
