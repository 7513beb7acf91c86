"""`mmst encode`: a collection in, parquet parts of vectors out, in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from mmst_cli.config.schema import Dtype, ModelConfig
from mmst_cli.encoding.encoder import EncodeJob, Encoder, load_encoder
from mmst_cli.encoding.inputs import open_sources
from mmst_cli.encoding.items import Item, Source
from mmst_cli.encoding.manifest import write_manifest
from mmst_cli.encoding.progress import show_progress
from mmst_cli.encoding.quantise import check_precision
from mmst_cli.encoding.ranges import find_ranges, ranges_digest, save_ranges
from mmst_cli.encoding.shards import (
    ERRORS,
    RANGES,
    PartRecord,
    begin_output,
    check_output,
    check_same_inputs,
    whole_parts,
)
from mmst_cli.errors import ConfigError, DataError
from mmst_cli.model.load import find_model
from mmst_cli.storage import digest
from mmst_cli.terminal import Terminal, quiet_libraries

FINGERPRINT_BYTES = 65536  # of the end of a weights file: enough to tell a retrained model


@dataclass(frozen=True)
class EncodeResult:
    """What was done."""

    output: Path
    count: int
    """Vectors written, those of kept parts included."""
    parts: int
    dimension: int
    failed: int
    """Inputs that couldn't be encoded; `errors.jsonl` names them."""
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "output": str(self.output)}


def run_encode(
    model: str,
    inputs: list[str],
    output: Path,
    *,
    columns: list[str] | None = None,
    dim: int | None = None,
    prompt_name: str | None = None,
    batch_size: int = 32,
    resume: bool = False,
    overwrite: bool = False,
    revision: str | None = None,
    dtype: Dtype = Dtype.auto,
    rows_per_part: int = 50_000,
    precision: str = "float32",
    ranges: Path | None = None,
    terminal: Terminal,
) -> EncodeResult:
    """Encode inputs into parquet parts with columns `id` and `embedding`.

    Args:
        model: a hub id, a model folder, a run folder or a built-in model.
        inputs: files, folders, or `-` for lines of stdin.
        output: the folder to write; new or empty, unless one of the next two is given.
        columns: columns of row files, as `name` or `name:modality`; several make one input together.
        dim: truncate to so many dimensions and normalise again.
        prompt_name: a prompt of the model.
        batch_size: inputs per forward pass.
        resume: keep the whole parts of the same job and go on behind them.
        overwrite: replace what an earlier job wrote.
        revision: branch, tag or commit of a hub id.
        dtype: what the weights are held in.
        rows_per_part: inputs a part covers.
        precision: what the vectors are stored in: float32, float16, int8 or binary.
        ranges: for int8, a file of ranges or of float32 vectors; those saved in the run folder if left out.
        terminal: where progress is shown.

    Raises:
        MmstError: arguments, inputs, output folder or model don't fit; nothing was written.
    """
    started = time.monotonic()
    _check_arguments(dim, batch_size, rows_per_part, resume, overwrite)
    _check_precision(precision, ranges)
    found = find_ranges(model, ranges, dim) if precision == "int8" else None
    sources = open_sources(inputs, columns)
    weights = _fingerprint(find_model(model))
    described = [{"name": source.name, "bytes": source.bytes} for source in sources]
    job = EncodeJob(
        *(model, revision, str(dtype), weights, dim, prompt_name, described, columns or [], batch_size),
        rows_per_part=rows_per_part,
        precision=precision,
        ranges=ranges_digest(found[1]) if found else None,
    )
    check_output(output, asdict(job), resume=resume, overwrite=overwrite)
    items = chain.from_iterable(source.items() for source in sources)
    kept = _skip_kept(output, items) if resume else []
    first = next(items, None)
    if first is None and not kept:
        raise DataError(f"{', '.join(inputs)}: nothing to encode in it.")
    quiet_libraries(terminal)
    encoder = load_encoder(
        job, ModelConfig(name_or_path=model, revision=revision, dtype=dtype), sources, found and found[1]
    )
    _announce(sources, kept, encoder, output, terminal)
    begin_output(output, asdict(job), kept)
    if found:  # whoever searches needs them for the queries
        save_ranges(output / RANGES, found[1])
    rest = chain([first], items) if first else iter(())
    with show_progress(terminal, _total(sources), sum(record.items for record in kept)) as progress:
        records = kept + encoder.write_parts(rest, output, len(kept), progress)
    write_manifest(output, encoder, records, found)
    result = EncodeResult(
        output,
        count=sum(record.rows for record in records),
        parts=len(records),
        dimension=encoder.dimension,
        failed=sum(len(record.failed) for record in records),
        seconds=time.monotonic() - started,
    )
    _say_result(result, terminal)
    return result


def _check_arguments(dim: int | None, batch_size: int, rows_per_part: int, resume: bool, overwrite: bool) -> None:
    numbers = {"--dim": dim, "--batch-size": batch_size, "rows_per_part": rows_per_part}
    faults = [
        f"{name}: {value}; write a whole number above 0."
        for name, value in numbers.items()
        if value is not None and value < 1
    ]
    if resume and overwrite:
        faults.append("--resume keeps what is there and --overwrite replaces it. Choose one.")
    if faults:
        raise ConfigError(*faults)


def _check_precision(precision: str, ranges: Path | None) -> None:
    check_precision(precision)
    if ranges is not None and precision != "int8":
        raise ConfigError(f"--ranges: only int8 vectors have ranges; leave it out for {precision}.")


def _fingerprint(source: str) -> str:
    """Name the weights of a model folder by content, reading a few kilobytes of them."""
    ends = []
    for path in sorted(Path(source).glob("**/*")) if Path(source).is_dir() else []:
        if path.suffix in (".safetensors", ".bin"):
            with path.open("rb") as file:
                size = path.stat().st_size
                file.seek(max(0, size - FINGERPRINT_BYTES))
                ends.append((path.relative_to(source).as_posix(), size, file.read().hex()))
    return digest(ends) if ends else ""


def _skip_kept(output: Path, items: Iterator[Item]) -> list[PartRecord]:
    """Pass over the inputs that whole parts cover, without reading them."""
    kept = []
    for number, record in enumerate(whole_parts(output)):
        check_same_inputs(record, number, (item.id for item in islice(items, record.items)))
        kept.append(record)
    return kept


def _total(sources: list[Source]) -> int | None:
    counts = [source.count for source in sources]
    return sum(count for count in counts if count is not None) if None not in counts else None


def _announce(
    sources: list[Source], kept: list[PartRecord], encoder: Encoder, output: Path, terminal: Terminal
) -> None:
    for source in sources:
        if source.skipped:
            others = "1 file that is no image" if source.skipped == 1 else f"{source.skipped:,} files, no images"
            terminal.say(f"{source.name}: skipped {others}.")
    done = sum(record.items for record in kept)
    if done:
        terminal.say(f"Keeping {len(kept)} whole parts of {output}, which cover {done:,} inputs.")
    total = _total(sources)
    what = f"{total - done:,} inputs" if total is not None else "inputs"
    terminal.say(f"Encoding {what} with {encoder.job.model} on {encoder.model.device}, {_size(encoder)}.")


def _size(encoder: Encoder) -> str:
    precision = encoder.job.precision
    of = f" of {precision}" if precision != "float32" else ""
    return f"{encoder.dimension} dimensions{of}"


def _say_result(result: EncodeResult, terminal: Terminal) -> None:
    vectors = "1 vector" if result.count == 1 else f"{result.count:,} vectors"
    parts = "1 part" if result.parts == 1 else f"{result.parts} parts"
    terminal.show(
        f"Wrote {vectors} of {result.dimension} dimensions to {result.output} in {parts} and {result.seconds:.1f} s."
    )
    if result.failed:
        inputs = "1 input" if result.failed == 1 else f"{result.failed:,} inputs"
        terminal.warn(f"{inputs} couldn't be encoded; {result.output / ERRORS} says which and why.")
    query = f"select id, embedding from '{result.output}/*.parquet' limit 3"
    terminal.show(f'next: duckdb -c "{query}"')
