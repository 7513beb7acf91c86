"""`mmst encode`: a collection in, parquet parts of vectors out, in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from mmst_cli import ending_together, processes
from mmst_cli.aside import drop_aside
from mmst_cli.config.schema import AUTO, Dtype, ModelConfig
from mmst_cli.encoding.encoder import Encoder
from mmst_cli.encoding.engines import check_engine, open_engine
from mmst_cli.encoding.job import EncodeJob
from mmst_cli.encoding.manifest import write_manifest
from mmst_cli.encoding.several_processes import serve
from mmst_cli.encoding.shards import (
    PartRecord,
    begin_output,
    begun_with,
    bring_back,
    check_output,
    holds_same_inputs,
    whole_parts,
)
from mmst_cli.encoding.summary import EncodeResult, count_inputs, say_beginning, say_result
from mmst_cli.errors import ConfigError, DataError
from mmst_cli.inputs.items import Item, Source, items_of
from mmst_cli.inputs.media_options import media_settings, parse_pages
from mmst_cli.inputs.opening import Opening
from mmst_cli.inputs.table_inputs import TableOptions
from mmst_cli.media.reading import Reader
from mmst_cli.model import device_memory
from mmst_cli.model.model_identity import weights_identity
from mmst_cli.model.precision import Runtime
from mmst_cli.model.precision_of_run import name_of, recorded_config
from mmst_cli.output_claim import claimed
from mmst_cli.storage import told_of_disk
from mmst_cli.terminal import Progress, Terminal, quiet_libraries
from mmst_cli.vectors.found_sizes import DEFAULT, BatchLimits
from mmst_cli.vectors.quantise import check_precision
from mmst_cli.vectors.ranges import Ranges, find_ranges, ranges_digest, save_ranges
from mmst_cli.vectors.vector_folder import RANGES, vectors_path
from mmst_cli.vectors.windows import Encoded
from mmst_cli.work import check_choice

_WHOLE_PARTS_STAY = "Whole parts stay: the same command with --resume goes on behind them."


def run_encode(
    model: str,
    inputs: list[str],
    output: Path,
    *,
    columns: list[str] | None = None,
    table: TableOptions | None = None,
    dim: int | None = None,
    prompt_name: str | None = None,
    batch_size: int | None = DEFAULT,
    resume: bool = False,
    overwrite: bool = False,
    revision: str | None = None,
    dtype: Dtype = Dtype.auto,
    rows_per_part: int = 50_000,
    precision: str = "float32",
    ranges: Path | None = None,
    media: Mapping[str, Any] | None = None,
    pages: str | None = None,
    workers: int | None = None,
    engine: str = "local",
    num_processes: int | None = None,
    terminal: Terminal,
) -> EncodeResult:
    """Encode inputs into parquet parts with columns `id` and `embedding`.

    Args:
        model: a hub id, a model folder, a run folder or a built-in model.
        inputs: files, folders, tables, or `-` for lines of stdin.
        output: the folder to write; new or empty, unless `resume` or `overwrite` is given.
        columns: columns of tables, as `name` or `name:modality`; several make one input together.
        table: which rows of tables: configuration, split, query.
        dim: truncate to so many dimensions and normalise again.
        prompt_name: a prompt of the model; as documents are evaluated, with their prompt, if left out.
        batch_size: inputs per forward pass; None finds it by the memory of the device.
        resume: keep the whole parts of the same job and go on behind them.
        overwrite: replace what an earlier job wrote.
        revision: branch, tag or commit of a hub id.
        dtype: what the weights are held in; auto is as a run has it, else the checkpoint's own on a GPU.
        rows_per_part: inputs a part covers.
        precision: what the vectors are stored in: float32, float16, int8 or binary.
        ranges: for int8, a file of ranges or of float32 vectors; those saved in the run folder if left out.
        media: fields of MediaConfig, over those that a run folder was trained with.
        pages: which pages of documents: all, first, or numbers from 1 with commas.
        workers: processes that prepare inputs beside the model; chosen by what preparing costs if left out.
        engine: local, or ray for the workers of a Ray cluster.
        num_processes: with Ray, actors with a model; see :func:`ray_cluster.joined`.
        terminal: where progress is shown.

    Raises:
        MmstError: arguments, inputs, output folder or model don't fit; nothing was written.
    """
    started = time.monotonic()
    _check_arguments(dim, batch_size, rows_per_part)
    check_choice(resume=resume, overwrite=overwrite)
    _check_precision(precision, ranges)
    check_engine(engine, inputs, num_processes, batch_size)
    found = find_ranges(model, ranges, dim) if precision == "int8" else None
    reader = Reader(media_settings(model, media or {}), Path())
    reader.names_whole = False
    table = table or TableOptions()
    opening = Opening(inputs, columns, reader, parse_pages(pages), table, Path.cwd())
    sources = opening.sources(again=resume) if processes.is_first() else []
    recorded = str((begun_with(output) or {}).get("weights") or "") if resume else None
    with open_engine(engine, opening, num_processes, workers, terminal) as begun:
        runtime, dtype = begun.runtime(model, dtype, terminal)
        job = EncodeJob(
            *(model, revision, str(dtype), weights_identity(model, recorded), dim, prompt_name),
            inputs=[{"name": source.name, "bytes": source.bytes} for source in sources],
            columns=columns or [],
            table_name=table.name,
            split=table.split if table.split != "train" else None,
            sql=table.sql,
            batch_size=_batch_size(batch_size, runtime, terminal),
            rows_per_part=rows_per_part,
            precision=precision,
            ranges=ranges_digest(found[1]) if found else None,
            media=reader.settings.record(),
            pages=opening.pages,
            mixed_precision=None if runtime.precision.autocast is None else name_of(runtime.precision),
        )
        trained = recorded_config(model)
        linear = trained is not None and trained.model.linear_patches
        config = ModelConfig(name_or_path=model, revision=revision, dtype=dtype, linear_patches=linear)
        load = partial(begun.load, job, config, runtime)
        if not processes.is_first():
            return serve(partial(load, sources, found[1] if found else None), output)
        with claimed(output, "--output"), told_of_disk(output, "" if overwrite else _WHOLE_PARTS_STAY):
            bring_back(output)  # of an --overwrite that was killed
            check_output(output, asdict(job), resume=resume, overwrite=overwrite)
            items, kept = _begin_items(sources, output, terminal, resume=resume)
            quiet_libraries(terminal)
            encoder = load(sources, found[1] if found else None)
            say_beginning(sources, kept, encoder, output, terminal)
            done, total = sum(record.items for record in kept), count_inputs(sources)
            progress = terminal.progress("encoding", total, done=done, unit="inputs")
            stream = begun.encode(encoder, items, kept, None if total is None else total - done)
            with _said_if_brought_back(output, terminal), closing(stream):
                records = _write(encoder, stream, kept, found, output, progress, begun.limits, overwrite=overwrite)
    result = EncodeResult(
        output,
        count=sum(record.rows for record in records),
        parts=len(records),
        dimension=encoder.dimension,
        failed=sum(len(record.failed) for record in records),
        seconds=time.monotonic() - started,
    )
    ending_together.leave()
    say_result(result, terminal)
    return result


def _begin_items(
    sources: list[Source], output: Path, terminal: Terminal, *, resume: bool
) -> tuple[Iterator[Item], list[PartRecord]]:
    """Return the inputs that are to be encoded, and the records of the whole parts that are kept."""
    items = items_of(sources)
    kept: list[PartRecord] = []
    for number, record in enumerate(whole_parts(output) if resume else ()):
        if not holds_same_inputs(record, number, islice(items, record.items)):
            terminal.warn(
                f"--resume: inputs of {vectors_path(Path(), number)} have changed since it was made:"
                " it is made again, and all that is behind it."
            )
            done = sum(one.items for one in kept)
            items = islice(items_of(sources), done, None)
            break
        kept.append(record)
    first = next(items, None)
    if first is None and not kept:
        raise DataError(f"{', '.join(source.name for source in sources)}: nothing to encode in it.")
    return chain([first], items) if first else iter(()), kept


def _write(
    encoder: Encoder,
    stream: Iterator[Encoded],
    kept: list[PartRecord],
    found: tuple[Path, Ranges] | None,
    output: Path,
    progress: Progress,
    limits: Callable[[], BatchLimits],
    *,
    overwrite: bool,
) -> list[PartRecord]:
    """Write the output folder and return the records of all its parts."""
    begin_output(output, asdict(encoder.job), kept, overwrite=overwrite)
    if found:  # whoever searches needs them for the queries
        save_ranges(output / RANGES, found[1])
    with progress:
        records = kept + encoder.write_parts(stream, output, len(kept), progress, limits)
    write_manifest(output, encoder, records, found)
    drop_aside(output)  # also where there was nothing to write
    return records


@contextmanager
def _said_if_brought_back(output: Path, terminal: Terminal) -> Iterator[None]:
    """Bring back what was set aside where the new comes to nothing, and say so."""
    try:
        yield
    except BaseException:
        if bring_back(output):
            terminal.say(f"The vectors that were in {output} are there again, as they were.")
        raise


def _batch_size(asked: int | None, runtime: Runtime, terminal: Terminal) -> int | str:
    """Return what the job says of the batch size: a number, or auto where the memory of the device is measured."""
    if asked is None and device_memory.memory_of(runtime.device) is None:
        why = device_memory.not_measured(runtime.device)
        terminal.say(f"--batch-size auto: {DEFAULT} inputs go into a batch, for {why}.")
        return DEFAULT
    return asked or AUTO


def _check_arguments(dim: int | None, batch_size: int | None, rows_per_part: int) -> None:
    numbers = {"--dim": dim, "--batch-size": batch_size, "rows_per_part": rows_per_part}
    faults = [
        f"{name}: {value}; write a whole number above 0."
        for name, value in numbers.items()
        if value is not None and value < 1
    ]
    if faults:
        raise ConfigError(*faults)


def _check_precision(precision: str, ranges: Path | None) -> None:
    check_precision(precision)
    if ranges is not None and precision != "int8":
        raise ConfigError(f"--ranges: only int8 vectors have ranges; leave it out for {precision}.")
