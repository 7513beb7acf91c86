"""`mmst schema`: its arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmst_cli.cli.app import path_option, print_json, told_in_one_line
from mmst_cli.cli.completion import complete_key


def schema(
    key: Annotated[
        str | None,
        typer.Argument(
            metavar="KEY",
            help="A key such as model.adapter.r, or a loss or evaluator; the whole JSON Schema if left out.",
            autocompletion=complete_key,
        ),
    ] = None,
    output: Annotated[Path | None, path_option("Write the JSON Schema to this file, for editors.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
) -> None:
    """Explain a key of a config, a loss or an evaluator. Without one, print the JSON Schema that editors go by.

    Example: mmst schema training.learning_rate
    """
    with told_in_one_line():
        from mmst_cli.config.json_schema import config_schema
        from mmst_cli.config.key_help import explanation
        from mmst_cli.config.schema_file import write_schema
        from mmst_cli.errors import ConfigError
        from mmst_cli.terminal import Terminal

        if key is not None and output is not None:
            raise ConfigError("--output: the whole schema is written. Leave out the key, or --output.")
        terminal = Terminal()
        if key is not None:
            for part in explanation(key.removesuffix(".")):  # where completion goes on to what is in a section
                terminal.show(part)
        elif output is None:
            print_json(config_schema())
        else:
            write_schema(output, overwrite=overwrite)
            terminal.show(f"wrote {output}")
