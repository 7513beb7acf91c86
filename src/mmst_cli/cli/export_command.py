"""`mmst export`: its arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmst_cli.cli.app import Json, loading, path_named, path_option, print_json, told_in_one_line
from mmst_cli.cli.completion import complete_run
from mmst_cli.config.schema import Dtype


def export(
    run: Annotated[
        Path,
        typer.Argument(
            parser=path_named, metavar="RUN", help="A run folder of mmst train.", autocompletion=complete_run
        ),
    ],
    output: Annotated[Path, path_option("The folder to write.")],
    dtype: Annotated[Dtype, typer.Option(help="What the weights are held in; auto leaves them as they are.")] = (
        Dtype.bfloat16
    ),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a folder that is there.")] = False,
    json_output: Json = False,
) -> None:
    """Write a run's model as a server takes it. Its vectors are compared with the measured ones.

    Example: mmst export runs/vdr --output vdr-bfloat16 --dtype bfloat16
    """
    with told_in_one_line():
        from mmst_cli.terminal import Terminal

        terminal = Terminal(json_results=json_output)
        with loading(terminal):
            from mmst_cli.exporting.export import run_export
            from mmst_cli.runs import RunFolder

        found = run_export(RunFolder(run), output, dtype, overwrite=overwrite, terminal=terminal)
        if json_output:
            print_json(found.to_dict())
