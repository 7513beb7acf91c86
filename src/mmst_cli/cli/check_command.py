"""`mmst check`: its arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmst_cli.cli.app import Json, Overrides, loading, path_option, print_json, told_in_one_line


def check(
    config: Annotated[Path, typer.Argument(help="The YAML file of the run.")],
    overrides: Overrides = None,
    all_rows: Annotated[bool, typer.Option("--all", help="Look at every row, not at a sample.")] = False,
    sample: Annotated[int, typer.Option(help="Rows of each dataset to look at without --all.")] = 1000,
    output: Annotated[
        Path | None, path_option("Folder for check.json and check.html; checks/RUN_NAME if left out.")
    ] = None,
    fail_on: Annotated[
        str | None,
        typer.Option(help="Kinds of findings to end with exit code 1 on, such as leakage,broken; none for none."),
    ] = None,
    write_clean: Annotated[Path | None, path_option("Parquet file for the rows that remain; needs --all.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Which dataset --write-clean writes.")] = None,
    drop: Annotated[str | None, typer.Option(help="Kinds of findings whose rows --write-clean leaves out.")] = None,
    no_model: Annotated[bool, typer.Option("--no-model", help="Leave out what the model makes of inputs.")] = False,
    workers: Annotated[int | None, typer.Option(help="Processes that look; one a processor if left out.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a check that was interrupted.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier check wrote.")] = False,
    json_output: Json = False,
) -> None:
    """Look for what spoils training in a config's data. Broken, leaking, repeated and mismatched rows are named.

    Exit code 1 where something serious was found. No weight is read.

    Example: mmst check configs/quickstart.yaml --all
    """
    with told_in_one_line():
        from mmst_cli.config.rules import load_checked_config

        settings = load_checked_config(config, overrides or [])  # before torch is imported, which takes seconds
        from mmst_cli.terminal import Terminal

        terminal = Terminal(json_results=json_output)
        with loading(terminal):
            from mmst_cli.checking.check import CheckOptions, run_check
            from mmst_cli.checking.findings import DROPPED
            from mmst_cli.training.training_start import check_trainable
        options = CheckOptions(
            sample=None if all_rows else sample,
            output=output,
            fail_on=None if fail_on is None else tuple(_kinds(fail_on)),
            write_clean=write_clean,
            dataset=dataset,
            drop=DROPPED if drop is None else tuple(_kinds(drop)),
            model=not no_model,
            workers=workers,
            resume=resume,
            overwrite=overwrite,
        )
        result = run_check(settings, options, terminal, check_trainable)
        if json_output:
            print_json(result.to_dict())
    if result.failed:
        raise typer.Exit(1)


def _kinds(text: str) -> list[str]:
    return [] if text == "none" else [part.strip() for part in text.split(",") if part.strip()]
