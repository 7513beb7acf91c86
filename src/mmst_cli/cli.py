"""The commands: their signatures, and errors in one line. Nothing else imports typer, and this imports no torch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from mmst_cli import __version__
from mmst_cli.errors import ConfigError, MmstError

app = typer.Typer(
    name="mmst",
    help="Train, evaluate, apply and inspect multimodal embedding models with sentence-transformers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Changes of the file, such as training.learning_rate=1e-5."),
]
LOADING = "loading torch and sentence-transformers"
Json = Annotated[bool, typer.Option("--json", help="Put the result on stdout as JSON.")]


def main() -> None:
    """Run the command line."""
    # A tokenizer's threads and forked data workers get into each other's way.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Each dataset that is opened would be counted at a server, with a wait where none is reached.
    os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "0")
    app()


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """Turn a user's mistake into one line a fault, without a traceback, and the exit code that goes with it."""
    try:
        yield
    except ConfigError as error:
        for fault in error.faults:
            typer.echo(f"error: {fault}", err=True)
        raise typer.Exit(error.exit_code) from error
    except MmstError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def print_json(value: Any) -> None:
    """Print a result for a script."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mmst {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="The YAML file of the run.")],
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last whole checkpoint.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that is in output_dir.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Build and check everything, try one batch, write nothing.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Build everything the file declares and train.

    Example: mmst train configs/quickstart.yaml training.learning_rate=1e-3
    """
    with told_in_one_line():
        from mmst_cli.config.rules import load_checked_config

        settings = load_checked_config(config, overrides or [])  # before torch is imported, which takes seconds
        from mmst_cli.terminal import Terminal

        terminal = Terminal(json_results=json_output)
        with terminal.waiting(LOADING):
            from mmst_cli.training.train import run_training
        result = run_training(
            settings,
            overrides=overrides or [],
            resume=resume,
            overwrite=overwrite,
            dry_run=dry_run,
            terminal=terminal,
        )
        if json_output:
            print_json(result.to_dict())


@app.command(name="eval")
def evaluate(
    target: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET KEY=VALUE",
            help="A run folder, a model (hub id or folder) or a config; the newest run if left out. "
            "Then changes of the config.",
        ),
    ] = None,
    dims: Annotated[str | None, typer.Option(help="Embedding dimensions to measure, such as 2048,512,64.")] = None,
    precisions: Annotated[
        str | None, typer.Option(help="Precisions: float32,float16,int8,binary,binary-rescored.")
    ] = None,
    keep: Annotated[float, typer.Option(help="Share of the full score that a size to ship must keep.")] = 0.99,
    config: Annotated[Path | None, typer.Option(help="What to evaluate a model on: a config.")] = None,
    compare: Annotated[
        str | None, typer.Option(help="Compare with a run, a model or a saved result, query by query.")
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Write a page about it: report.html.")] = False,
    output: Annotated[Path | None, typer.Option(help="Folder for the results as JSON, CSV and parquet.")] = None,
    save_run: Annotated[Path | None, typer.Option(help="Folder for TREC run files and judgements.")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Ranges or float32 vectors (parquet) for int8, instead of the corpus.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    json_output: Json = False,
) -> None:
    """Say how good a model is at each embedding dimension and precision, and which to ship.

    Example: mmst eval --dims 128,32,8 --precisions float32,int8,binary
    """
    with told_in_one_line():
        named, overrides = split_target(target or [])
        wanted = parse_dims(dims)
        from mmst_cli.evaluation.target import find_config

        settings = find_config(named, config, overrides)  # before torch is imported, which takes seconds
        from mmst_cli.terminal import Terminal

        terminal = Terminal(json_results=json_output)
        with terminal.waiting(LOADING):
            from mmst_cli.evaluation.evaluate import EvaluationOptions, report_path, run_evaluation
        options = EvaluationOptions(
            dims=tuple(wanted),
            precisions=tuple(part.strip() for part in precisions.split(",")) if precisions else (),
            keep=keep,
            output=output,
            calibration=calibration,
            save_run=save_run,
            compare=compare,
            report=report_path(settings, output) if report else None,
            overwrite=overwrite,
        )
        outcome = run_evaluation(settings, options, terminal)
        if json_output:
            print_json(outcome.to_dict())


@app.command()
def encode(
    model: Annotated[str, typer.Argument(help="A run folder, a model folder or a hub id.")],
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Images, sounds, clips, PDF files, folders of these, .jsonl, .parquet, .csv, .txt (a text a line), "
            "or - for stdin."
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder for the vectors.")],
    dim: Annotated[int | None, typer.Option(help="Keep this many dimensions, and normalise again.")] = None,
    precision: Annotated[
        str, typer.Option(help="What the vectors are stored in: float32, float16, int8 or binary.")
    ] = "float32",
    ranges: Annotated[
        Path | None,
        typer.Option(
            help="What int8 is made with: ranges saved by mmst eval, or a parquet file of float32 vectors. "
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
    batch_size: Annotated[int, typer.Option(min=1, help="Inputs per forward pass.")] = 32,
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
        from mmst_cli.terminal import Terminal

        terminal = Terminal(json_results=json_output)
        with terminal.waiting(LOADING):
            from mmst_cli.encoding.encode import run_encode
        result = run_encode(
            model,
            inputs,
            output,
            columns=column,
            dim=dim,
            prompt_name=prompt_name,
            batch_size=batch_size,
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
            },
            pages=pages,
            terminal=terminal,
        )
        if json_output:
            print_json(result.to_dict())
    if result.failed:
        raise typer.Exit(1)


@app.command(name="inspect-modalities")
def inspect_modalities(
    model: Annotated[str, typer.Argument(help="A run folder, a model folder or a hub id.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub id.")] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run Python code that comes with the model.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Say what a model takes, without reading its weights.

    Example: mmst inspect-modalities Qwen/Qwen3-VL-Embedding-2B
    """
    with told_in_one_line():
        from mmst_cli.terminal import Terminal, quiet_libraries

        terminal = Terminal()
        with terminal.waiting(LOADING):
            from mmst_cli.model.facts_table import facts_table
            from mmst_cli.model.inspect import run_inspection

            quiet_libraries(terminal)
        facts = run_inspection(model, revision=revision, trust_remote_code=trust_remote_code)
        if json_output:
            print_json(facts.to_dict())
        else:
            terminal.show(facts_table(facts))


def split_target(arguments: list[str]) -> tuple[str | None, list[str]]:
    """Tell a target from the KEY=VALUE arguments behind it."""
    if arguments and "=" not in arguments[0]:
        return arguments[0], arguments[1:]
    return None, arguments


def parse_dims(text: str | None) -> list[int]:
    """Parse ``2048,512,64``.

    Raises:
        ConfigError: something in it is no whole number.
    """
    try:
        return [int(part) for part in text.split(",")] if text else []
    except ValueError as error:
        raise ConfigError(f"--dims: {text}: write whole numbers with commas between, such as 2048,512,64.") from error
