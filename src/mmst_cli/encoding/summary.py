"""What `mmst encode` says before it begins and when it is done."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmst_cli.config.schema import Modality
from mmst_cli.encoding.encoder import Encoder
from mmst_cli.encoding.shards import PartRecord
from mmst_cli.inputs.items import Source
from mmst_cli.model.model_media import random_crop_warning
from mmst_cli.terminal import Terminal
from mmst_cli.vectors.ranges import without_width
from mmst_cli.vectors.vector_folder import ERRORS

SHOWN = 5  # folders named of those that are left out


@dataclass(frozen=True)
class EncodeResult:
    """What was done."""

    output: Path
    count: int
    """Vectors written, those of kept parts included."""
    parts: int
    dimension: int
    failed: int
    """Inputs that couldn't be encoded; `_errors.jsonl` names them."""
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "output": str(self.output)}


def count_inputs(sources: list[Source]) -> int | None:
    """Return the number of inputs; None where only reading would tell."""
    counts = [source.count for source in sources]
    return sum(count for count in counts if count is not None) if None not in counts else None


def say_beginning(
    sources: list[Source], kept: list[PartRecord], encoder: Encoder, output: Path, terminal: Terminal
) -> None:
    """Say what is left out, what is kept, and what is going to be done."""
    for source in sources:
        if source.skipped:
            terminal.say(_skipped(source))
        _warn_of_folders(source, terminal)
    _warn_of_crops(sources, encoder, terminal)
    if encoder.ranges and (flat := without_width(encoder.ranges)):
        terminal.warn(
            f"--ranges: {flat} of {encoder.dimension} dimensions have no width, so that int8 keeps nothing there."
        )
    done = sum(record.items for record in kept)
    if done:
        terminal.say(f"Keeping {len(kept)} whole parts of {output}, which cover {done:,} inputs.")
    total = count_inputs(sources)
    what = f"{total - done:,} inputs" if total is not None else "inputs"
    prompt, precision = encoder.model.prompts.get(encoder.job.prompt_name or "document"), encoder.job.precision
    size = f"{encoder.dimension} dimensions" + (f" of {precision}" if precision != "float32" else "")
    with_prompt = f', with the prompt "{prompt}"' if prompt else ""
    terminal.say(f"Encoding {what} with {encoder.job.model} on {encoder.device}, {size}{with_prompt}.")


def _skipped(source: Source) -> str:
    others = "1 file" if source.skipped == 1 else f"{source.skipped:,} files"
    sentence = f"{source.name}: skipped {others} of no kind that can be embedded."
    if source.office:
        sentence += f" {source.office:,} of them office documents; convert these to PDF to have them embedded."
    if source.rows:
        sentence += f" {source.rows:,} of them tables or texts; name these themselves to have their rows embedded."
    return sentence


def _warn_of_folders(source: Source, terminal: Terminal) -> None:
    if source.closed:
        terminal.warn(f"{source.name}: {_folders(source.closed)} can't be entered; nothing in there is embedded.")
    if source.links:
        terminal.warn(
            f"{source.name}: {_folders(source.links)} left out, for links aren't followed; name what is meant."
        )


def _folders(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return f"{len(names):,} {'folder' if len(names) == 1 else 'folders'} ({', '.join(names[:SHOWN])}{more})"


def _warn_of_crops(sources: list[Source], encoder: Encoder, terminal: Terminal) -> None:
    taken = {part for source in sources for kind in source.kinds if encoder.inputs.takes(kind) for part in kind}
    if Modality.audio in taken and (
        warning := random_crop_warning(encoder.model, sources[0].reader.settings, "--max-seconds")
    ):
        terminal.warn(warning)


def say_result(result: EncodeResult, terminal: Terminal) -> None:
    """Say what was written, what failed, and what to run next."""
    vectors = "1 vector" if result.count == 1 else f"{result.count:,} vectors"
    parts = "1 part" if result.parts == 1 else f"{result.parts} parts"
    terminal.show(
        f"Wrote {vectors} of {result.dimension} dimensions to {result.output} in {parts} and {result.seconds:.1f} s."
    )
    if result.failed:
        inputs = "1 input" if result.failed == 1 else f"{result.failed:,} inputs"
        terminal.warn(f"{inputs} couldn't be encoded; {result.output / ERRORS} says which and why.")
    if result.count:
        terminal.show(f"next: mmst search {shlex.quote(str(result.output))} QUERY")
