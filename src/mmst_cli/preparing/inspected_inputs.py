"""What a model sees of inputs: pushed through its processor, without reading a weight."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from mmst_cli.config.schema import Modality, ModelConfig
from mmst_cli.errors import DataError, ModelError, visible
from mmst_cli.inputs.given_inputs import GivenWords, find_given, read_given
from mmst_cli.inputs.items import Item
from mmst_cli.inputs.media_options import in_options, media_settings
from mmst_cli.media.input_errors import concerns_input
from mmst_cli.media.reading import Reader
from mmst_cli.model.model_parts import encoders_of, taken_by, takes
from mmst_cli.model.prompts import check_prompt_name
from mmst_cli.model.seen_media import clip_of, pixels_of, token_counts
from mmst_cli.model.text_cutting import lost_tokens
from mmst_cli.preparing.prepared_model import prepare_model
from mmst_cli.terminal import Terminal
from mmst_cli.vectors.data_workers import one_thread
from mmst_cli.vectors.forward_pass import how_to_encode, prompt_of
from mmst_cli.vectors.refused_inputs import find_refused

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_WORDS = GivenWords(
    argument="INPUT",
    use="taken",
    by_stdin="mmst inspect-modalities MODEL -",
    of_tables="Name single inputs; `mmst check` looks at the rows of tables.",
)
_SHOWN = 40  # characters of a name in the table


@dataclass(frozen=True)
class InputFacts:
    """What becomes of one input before it reaches the model. None where that says nothing of it."""

    input: str
    modality: str
    tokens: int | None
    """With the prompt, and those that stand for media."""
    lost_tokens: int
    """Which the model's limit cuts off."""
    size: list[int] | None
    """Width and height of an image or of a frame, as it was read."""
    seen_pixels: int | None
    """Of an image, in all of its tiles; of a clip, of each frame."""
    frames: int | None
    """That were read."""
    seen_frames: int | None
    seconds: float | None
    """Of a sound that was read, or of a clip."""
    samples: int | None
    """Of a sound, at the rate that the model wants."""
    read_ms: float
    """Milliseconds to read and decode it, on one processor."""
    processed_ms: float
    """Milliseconds that the processor takes, likewise."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def run_input_inspection(
    config: ModelConfig, given: Sequence[str], terminal: Terminal, prompt_name: str | None = None
) -> list[InputFacts]:
    """Push inputs through a model's processor, as `mmst encode` does with its own.

    Args:
        config: the model.
        given: texts, files, folders, or `-`.
        terminal: where to say what an input could be taken for.
        prompt_name: one of its prompts, `query` for that side; documents if left out.

    Raises:
        ConfigError: the run's media settings are none.
        DataError: an input that isn't there, can't be read or is refused by the processor.
        ModelError: the model isn't there, can't be read, or doesn't take what is given.
    """
    reader = Reader(media_settings(config.name_or_path, {}), Path())
    found = list(find_given(given, reader, terminal, _WORDS))
    model = prepare_model(config, None, readers=[reader], key_of=lambda key: in_options(f"media.{key}")).model
    check_prompt_name(model, prompt_name, config.name_or_path)
    return list(see_inputs(model, found, prompt_name))


def see_inputs(
    model: SentenceTransformer, found: Sequence[tuple[str, Item]], prompt_name: str | None = None
) -> Iterator[InputFacts]:
    """Yield what a model, with or without its weights, sees of inputs.

    Raises:
        DataError: one can't be read, or the processor refuses it.
        ModelError: the model doesn't take one.
    """
    task, named = how_to_encode(prompt_name)
    options = {"prompt": prompt_of(model, task, None, named), **({"task": task} if task else {})}
    for _, item in found:
        kind = tuple(map(str, item.modalities))
        if not takes(model, kind if len(kind) > 1 else kind[0]):
            raise ModelError(
                f"INPUT: {visible(item.id)}: {' with '.join(kind)}, but the model takes {taken_by(model)}."
            )
    with one_thread():
        for name, item in found:
            yield _see(model, name, item, options)


def _see(model: SentenceTransformer, name: str, item: Item, options: dict[str, Any]) -> InputFacts:
    modality = Modality(item.modalities[0])
    begun = time.perf_counter()
    value = read_given(item, _WORDS.argument)
    read = time.perf_counter() - begun
    _preprocess(model, item, value, options)  # the first time, processors prepare themselves
    begun = time.perf_counter()
    features = _preprocess(model, item, value, options)
    processed = time.perf_counter() - begun
    encoder = (encoders_of(model, modality) or [model[0]])[0]
    counts = token_counts(features, 1)
    tokens = None if counts is None else int(counts[0])
    return InputFacts(
        input=name,
        modality=str(modality),
        tokens=tokens,
        lost_tokens=_lost(model, encoder, item, value, options, tokens),
        read_ms=1000 * read,
        processed_ms=1000 * processed,
        **_of_media(encoder, modality, value, features),
    )


def _preprocess(model: SentenceTransformer, item: Item, value: Any, options: dict[str, Any]) -> Any:
    try:
        return model.preprocess([value], **options)
    except Exception as error:  # processors raise whatever they like
        if not concerns_input(error):
            raise
        refused = find_refused(model, [value], options.get("task"))
        if not refused:
            raise
        raise DataError(f"INPUT: {visible(item.id)}: {refused[0]}") from error


def _lost(
    model: SentenceTransformer, encoder: Any, item: Item, value: Any, options: dict[str, Any], tokens: int | None
) -> int:
    """Return how many tokens of a text are cut off."""
    if item.modalities != (Modality.text,):
        return 0
    return lost_tokens(encoder, tokens, lambda: token_counts(_preprocess(model, item, value, options), 1))


def _of_media(encoder: Any, modality: Modality, value: Any, features: Any) -> dict[str, Any]:
    unknown: dict[str, Any] = dict.fromkeys(("size", "seen_pixels", "frames", "seen_frames", "seconds", "samples"))
    if modality is Modality.image:
        return {**unknown, "size": [value.width, value.height], "seen_pixels": pixels_of(encoder, features)}
    if modality is Modality.audio:
        sound = value[modality]
        samples = len(sound["array"])
        return {**unknown, "samples": samples, "seconds": samples / sound["sampling_rate"]}
    if modality is Modality.video:
        clip, seen = value[modality], clip_of(encoder, features)
        frames, height, width = clip["array"].shape[:3]
        told = clip["video_metadata"]
        seconds = told["total_num_frames"] / told["fps"] if told.get("fps") else None
        size = {"size": [width, height], "frames": frames, "seconds": seconds}
        return {**unknown, **size, "seen_pixels": seen.pixels, "seen_frames": seen.frames}
    return unknown


def inputs_table(facts: Sequence[InputFacts]) -> Table:
    """Return what became of inputs, a line each."""
    table = Table(title="inputs", title_justify="left", box=SIMPLE_HEAD)
    table.pad_edge, table.show_edge, table.collapse_padding = False, False, True  # so that 80 columns hold it
    for name in ("input", "holds", "as it is", "as the model\nsees it"):
        table.add_column(name)
    for name in ("tokens", "ms to\nread", "ms to\nprocess"):
        table.add_column(name, justify="right")
    for one in facts:
        cut = f", {one.lost_tokens:,} cut off" if one.lost_tokens else ""
        tokens = "-" if one.tokens is None else f"{one.tokens:,}{cut}"
        name = one.input if len(one.input) <= _SHOWN else f"{one.input[:_SHOWN]} …"
        table.add_row(
            name, one.modality, _given(one), _as_seen(one), tokens, f"{one.read_ms:.1f}", f"{one.processed_ms:.1f}"
        )
    return table


def _given(one: InputFacts) -> str:
    size = f"{one.size[0]:,}x{one.size[1]:,}" if one.size else ""
    frames = f"{one.frames:,} frames" if one.frames is not None else ""
    seconds = f"{one.seconds:.2f} s" if one.seconds is not None else ""
    return ", ".join(filter(None, [frames, size, seconds])) or f"{len(one.input):,} characters"


def _as_seen(one: InputFacts) -> str:
    samples = f"{one.samples:,} samples" if one.samples is not None else ""
    frames = f"{one.seen_frames:,} frames of " if one.seen_frames is not None else ""
    pixels = f"{frames}{one.seen_pixels:,} pixels" if one.seen_pixels is not None else ""
    return samples or pixels or "-"
