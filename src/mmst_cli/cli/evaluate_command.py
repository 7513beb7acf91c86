"""`mmst eval`: its arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmst_cli.cli.app import Json, loading, path_option, print_json, told_in_one_line
from mmst_cli.cli.completion import complete_target
from mmst_cli.errors import ConfigError


def evaluate(
    target: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET KEY=VALUE",
            help="A run folder, a model (hub id or folder) or a config; the newest run if left out. "
            "Then changes of the config.",
            autocompletion=complete_target,
        ),
    ] = None,
    dims: Annotated[str | None, typer.Option(help="Embedding dimensions to measure, such as 2048,512,64.")] = None,
    precisions: Annotated[
        str | None, typer.Option(help="Precisions: float32,float16,int8,binary,binary-rescored.")
    ] = None,
    keep: Annotated[float, typer.Option(help="Share of the full score that a size to ship must keep.")] = 0.99,
    config: Annotated[Path | None, path_option("What to evaluate a model on: a config.")] = None,
    compare: Annotated[
        str | None, typer.Option(help="Compare with a run, a model or a saved result, query by query.")
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Write a page about it: report.html.")] = False,
    output: Annotated[Path | None, path_option("Folder for the results as JSON, CSV and parquet.")] = None,
    save_run: Annotated[Path | None, path_option("Folder for TREC run files and judgements.")] = None,
    calibration: Annotated[
        Path | None, path_option("Ranges or float32 vectors (parquet) for int8, instead of the corpus.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    json_output: Json = False,
) -> None:
    """Measure a model at each dimension and precision. The last line says which to ship.

    Example: mmst eval --dims 128,32,8 --precisions float32,int8,binary
    """
    with told_in_one_line():
        named, overrides = split_target(target or [])
        wanted = parse_dims(dims)
        from mmst_cli.evaluation.evaluation_request import EvaluationOptions, find_config, report_path

        settings = find_config(named, config, overrides)  # before torch is imported, which takes seconds
        from mmst_cli.terminal import Terminal

        terminal = Terminal(json_results=json_output)
        with loading(terminal):
            from mmst_cli.evaluation.evaluate import run_evaluation
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
