"""`mmst merge`: its arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmst_cli.cli.app import Json, loading, path_option, print_json, told_in_one_line
from mmst_cli.cli.completion import complete_run


def merge(
    models: Annotated[
        list[str],
        typer.Argument(metavar="RUN RUN ...", help="Runs, model folders or hub ids.", autocompletion=complete_run),
    ],
    output: Annotated[Path, path_option("The folder to write.")],
    weights: Annotated[str | None, typer.Option(help="One a model, such as 0.7,0.3; equal ones if left out.")] = None,
    method: Annotated[str, typer.Option(help="linear, or slerp between two.")] = "linear",
    choose: Annotated[
        Path | None,
        path_option("A config: measure the models and mixes of them on its evaluators, and keep the best."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier output that is there.")] = False,
    json_output: Json = False,
) -> None:
    """Average the weights of models trained from one model.

    Example: mmst merge runs/seed-1 runs/seed-2 runs/seed-3 --output merged --choose configs/quickstart.yaml
    """
    with told_in_one_line():
        from mmst_cli.config.rules import load_checked_config
        from mmst_cli.errors import ConfigError
        from mmst_cli.terminal import Terminal

        try:
            parsed = tuple(float(part) for part in weights.split(",")) if weights is not None else ()
        except ValueError as error:
            raise ConfigError(f"--weights: {weights}: numbers with commas between them, such as 0.7,0.3.") from error
        config = load_checked_config(choose, (), for_training=False) if choose else None
        if config is not None and not config.evaluators:
            raise ConfigError(f"--choose: {choose} has no evaluators. Name a config that has some.")
        terminal = Terminal(json_results=json_output)
        with loading(terminal):
            from mmst_cli.merging.merge import MergeOptions, run_merge
        options = MergeOptions(parsed, method, choose is not None, overwrite)
        found = run_merge(models, output, config, options, terminal)
        if json_output:
            print_json(found.to_dict())
