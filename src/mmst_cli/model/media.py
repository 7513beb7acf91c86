"""A model and the readers of its inputs, brought together: rates of sounds, frames of clips."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mmst_cli.config.schema import MediaConfig
from mmst_cli.media.reading import Reader
from mmst_cli.model.checks import sampling_rate
from mmst_cli.model.frames import check_video_bounds, least_frames, take_frames_as_given
from mmst_cli.model.parts import encoders_of, processor_part

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def fit_media(model: SentenceTransformer, readers: Iterable[Reader]) -> None:
    """Have sounds read at the rate the model wants, and clips taken with the frames that the settings choose.

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
        check_video_bounds(model, settings)


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
