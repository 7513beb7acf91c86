"""`mmst encode`: its arguments."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mmst_cli import processes
from mmst_cli.cli.app import Json, loading, path_option, print_json, told_in_one_line
from mmst_cli.cli.completion import complete_run
from mmst_cli.errors import ConfigError


def encode(
    model: Annotated[
        str, typer.Argument(help="A run folder, a model folder or a hub id.", autocompletion=complete_run)
    ],
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Images, sounds, clips, PDF files, folders of these, .txt (a text a line), - for stdin, or a table: "
            ".parquet, .jsonl, .csv, .tsv, .gz, .zst, .tar, a pattern, s3://..., or a hub id with --column."
        ),
    ],
    output: Annotated[Path, path_option("Folder for the vectors.")],
    dim: Annotated[int | None, typer.Option(help="Keep this many dimensions, and normalise again.")] = None,
    precision: Annotated[
        str, typer.Option(help="What the vectors are stored in: float32, float16, int8 or binary.")
    ] = "float32",
    ranges: Annotated[
        Path | None,
        path_option(
            "What int8 is made with: ranges saved by mmst eval, or a parquet file of float32 vectors. "
            "A run folder has its own."
        ),
    ] = None,
    prompt_name: Annotated[
        str | None, typer.Option(help="A prompt of the model, such as query; left out, that of documents.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="Column of a table to encode, such as query, or file:audio for paths and bytes of text, image, audio, "
            "video, message or mixed. Several make one input."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of a table: the configuration of a hub dataset.")] = None,
    split: Annotated[
        str, typer.Option(help="Of a table: the split, of which slices such as train[:300] work.")
    ] = "train",
    sql: Annotated[
        str | None, typer.Option(help="Of a table: a query over its rows, such as: select page from rows limit 9.")
    ] = None,
    pages: Annotated[str | None, typer.Option(help="Pages of PDF files: all, first, or numbers such as 1,3.")] = None,
    dpi: Annotated[int | None, typer.Option(help="Resolution at which pages are drawn, in dots per inch.")] = None,
    max_seconds: Annotated[
        float | None, typer.Option(help="Read so much of a sound or clip, from its beginning.")
    ] = None,
    fps: Annotated[float | None, typer.Option(help="Frames a second to take of a clip.")] = None,
    max_frames: Annotated[int | None, typer.Option(help="Frames to take of a clip at most, spread evenly.")] = None,
    max_pixels: Annotated[
        int | None, typer.Option(help="Scale the frames of a clip down to so many pixels, in width x height.")
    ] = None,
    fast_jpeg: Annotated[
        bool | None,
        typer.Option(
            "--fast-jpeg/--no-fast-jpeg",
            help="Decode a JPEG at 1/2, 1/4 or 1/8 of its size where the model sees it smaller still.",
        ),
    ] = None,
    batch_size: Annotated[
        str,
        typer.Option(
            metavar="NUMBER|auto",
            help="Inputs per forward pass; auto takes as many as the memory of a GPU allows, of short texts more.",
        ),
    ] = "32",
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Processes that read and preprocess inputs beside the model; 0 does it in the model's own. "
            "Left out, as many as pay.",
        ),
    ] = None,
    num_processes: Annotated[
        int | None,
        typer.Option(
            help="Encode in so many processes, one a GPU: on this machine, or with --engine ray on a cluster."
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="What encodes: local, this machine, or ray, a Ray cluster (RAY_ADDRESS) or a Ray here.")
    ] = "local",
    rows_per_part: Annotated[int, typer.Option(min=1, help="Rows of one output file.")] = 50_000,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub id.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Keep the parts that are there, and go on.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the vectors in --output.")] = False,
    json_output: Json = False,
) -> None:
    """Embed a collection into parquet files.

    A run folder brings the settings for media that it was trained with; the options stand above them.

    Example: mmst encode runs/quickstart pages/ --output vectors --dim 64
    """
    with told_in_one_line():
        if num_processes is not None and processes.count() == 1 and engine != "ray":
            from mmst_cli.launcher import launch, no_gpu

            launch(num_processes, sys.argv[1:], on_cpu=no_gpu())
            return
        from mmst_cli.terminal import Terminal

        terminal = Terminal(json_results=json_output)
        with loading(terminal):
            from mmst_cli.encoding.encode import run_encode
            from mmst_cli.inputs.table_inputs import TableOptions
        result = run_encode(
            model,
            inputs,
            output,
            columns=column,
            table=TableOptions(name=name, split=split, sql=sql),
            dim=dim,
            prompt_name=prompt_name,
            batch_size=_batch_size(batch_size),
            resume=resume,
            overwrite=overwrite,
            revision=revision,
            rows_per_part=rows_per_part,
            precision=precision,
            ranges=ranges,
            media={
                "dpi": dpi,
                "max_seconds": max_seconds,
                "fps": fps,
                "max_frames": max_frames,
                "max_pixels": max_pixels,
                "fast_jpeg": fast_jpeg,
            },
            pages=pages,
            workers=workers,
            engine=engine,
            num_processes=num_processes,
            terminal=terminal,
        )
        if json_output and processes.is_first():
            print_json(result.to_dict())
    if result.failed:
        raise typer.Exit(1)


def _batch_size(given: str) -> int | None:
    """Return what `--batch-size` says; None for auto."""
    if given == "auto":
        return None
    if not given.isdecimal() or not int(given):
        raise ConfigError(f"--batch-size: {given}; write a whole number above 0, or auto.")
    return int(given)
