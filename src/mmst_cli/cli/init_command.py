"""`mmst init`: its arguments."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mmst_cli.cli.app import Json, path_option, print_json, told_in_one_line
from mmst_cli.cli.completion import complete_shipped


def init(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="A config that comes with mmst; all are listed if left out.",
            autocompletion=complete_shipped,
        ),
    ] = None,
    output: Annotated[Path | None, path_option("The YAML file to write; NAME.yaml here if left out.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    json_output: Json = False,
) -> None:
    """Write a config to start from: one that comes with mmst, comments included. Without a name, list them.

    Example: mmst init quickstart --output my.yaml
    """
    with told_in_one_line():
        from rich.table import Table

        from mmst_cli.config.json_schema import schema_beside
        from mmst_cli.config.shipped import shipped_configs, shipped_text, write_config
        from mmst_cli.errors import ConfigError
        from mmst_cli.shell_words import quoted
        from mmst_cli.terminal import Terminal

        terminal = Terminal(json_results=json_output)
        if name is None:
            if output is not None:
                raise ConfigError("--output: name the config to write, as in `mmst init quickstart`.")
            if json_output:
                print_json({"configs": [asdict(config) for config in shipped_configs()]})
                return
            table = Table.grid(padding=(0, 2))
            for config in shipped_configs():
                table.add_row(config.name, config.description)
            terminal.show(table)
            terminal.say("next: mmst init NAME --output my.yaml")
            return
        target = output or Path(f"{name}.yaml")
        write_config(target, shipped_text(name, target), overwrite=overwrite)
        schema = schema_beside(target)
        if json_output:
            print_json({"config": str(target), "schema": str(schema)})
            return
        terminal.show(f"wrote {target}, and {schema} for editors")
        terminal.say(f"next: mmst train {quoted(target)} --dry-run")
