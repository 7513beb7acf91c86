"""`mmst train`: its arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmst_cli import processes
from mmst_cli.cli.app import Json, Overrides, loading, print_json, told_in_one_line
from mmst_cli.errors import ConfigError


def train(
    config: Annotated[Path, typer.Argument(help="The YAML file of the run.")],
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last whole checkpoint.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that is in output_dir.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Build and check everything, try one batch, write nothing.")
    ] = False,
    num_processes: Annotated[
        int | None, typer.Option(help="Train in so many processes on this machine, one a GPU.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Build everything the file declares and train.

    Example: mmst train configs/quickstart.yaml training.learning_rate=1e-3
    """
    with told_in_one_line():
        from mmst_cli.config.rules import load_checked_config

        settings = load_checked_config(config, overrides or [])  # before torch is imported, which takes seconds
        if num_processes is not None:
            from mmst_cli.config.rules_processes import check_together
            from mmst_cli.launcher import launch

            if faults := check_together(settings, num_processes):
                raise ConfigError(*faults)
            flags = {"--resume": resume, "--overwrite": overwrite, "--dry-run": dry_run, "--json": json_output}
            arguments = ["train", str(config), *(overrides or []), *(flag for flag, given in flags.items() if given)]
            launch(num_processes, arguments, on_cpu=bool(settings.training.get("use_cpu")))
            return
        from mmst_cli.terminal import Terminal

        terminal = Terminal(json_results=json_output)
        with loading(terminal):
            from mmst_cli.training.train import run_training
        result = run_training(
            settings, overrides=overrides or [], resume=resume, overwrite=overwrite, dry_run=dry_run, terminal=terminal
        )
        if json_output and processes.is_first():
            print_json(result.to_dict())
