"""`mmst init`: its arguments."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmst_cli.cli.app import Json, loading, path_option, print_json, told_in_one_line
from mmst_cli.cli.completion import complete_shipped
from mmst_cli.errors import ConfigError

if TYPE_CHECKING:
    from mmst_cli.terminal import Terminal


def init(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="A config that comes with mmst; all are listed if left out.",
            autocompletion=complete_shipped,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--from", metavar="DATA", help="Draft one for data: a file, folder, pattern, address or hub id."),
    ] = None,
    anchor: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Of DATA: what is asked, if it can't be guessed.")
    ] = None,
    positive: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Of DATA: what answers it, if it can't be guessed.")
    ] = None,
    configuration: Annotated[
        str | None, typer.Option("--name", help="Of DATA: the configuration of a hub or built-in dataset.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Of DATA: the split; train if left out.")] = None,
    output: Annotated[
        Path | None, path_option("The YAML file to write; NAME.yaml, or that of the data, here if left out.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    json_output: Json = False,
) -> None:
    """Write a config to start from. One that comes with mmst, or one for your data; without either, list them.

    Example: mmst init --from pages.parquet --output pages.yaml
    """
    with told_in_one_line():
        from mmst_cli.config.schema_file import schema_beside
        from mmst_cli.config.shipped import check_writable
        from mmst_cli.storage import write_text
        from mmst_cli.terminal import Terminal

        terminal = Terminal(json_results=json_output)
        options = {"anchor": anchor, "positive": positive, "name": configuration, "split": split}
        if data is None and (given := [option for option, value in options.items() if value is not None]):
            raise ConfigError(f"--{given[0]}: it is about data. Name them by --from.")
        if name is None and data is None:
            _list(terminal, output, as_json=json_output)
            return
        if name is not None and data is not None:
            raise ConfigError(f"--from: mmst init {name} writes that config as it is. Leave out one of the two.")
        target = output or Path(f"{name or _name_for(str(data))}.yaml")
        check_writable(target, overwrite=overwrite)
        text, command = _shipped(name, target) if name is not None else _drafted(str(data), target, options, terminal)
        write_text(target, text)
        schema, said = schema_beside(target)
        if json_output:
            print_json({"config": str(target), "schema": str(schema)})
            return
        terminal.show(f"wrote {target}")
        terminal.say(said)
        terminal.say(f"next: {command}")


def _list(terminal: Terminal, output: Path | None, *, as_json: bool) -> None:
    from mmst_cli.config.shipped import shipped_configs, shipped_table

    if output is not None:
        raise ConfigError("--output: name the config to write, as in `mmst init quickstart`.")
    if as_json:
        print_json({"configs": [asdict(config) for config in shipped_configs()]})
        return
    terminal.show(shipped_table())
    terminal.say("next: mmst init NAME --output my.yaml, or mmst init --from DATA --output my.yaml")


def _shipped(name: str, target: Path) -> tuple[str, str]:
    """Return the text of a config that comes with mmst, and what to do with it."""
    from mmst_cli.config.shipped import shipped_text
    from mmst_cli.shell_words import quoted

    return shipped_text(name, target), f"mmst train {quoted(target)} --dry-run"


def _drafted(data: str, target: Path, options: dict[str, str | None], terminal: Terminal) -> tuple[str, str]:
    """Return the text of a config for data, and what to do with it."""
    from mmst_cli.config.schema import Role

    with loading(terminal):
        from mmst_cli.drafting.draft import run_draft
        from mmst_cli.terminal import quiet_libraries

        quiet_libraries(terminal)
    with terminal.waiting(f"looking at {data}"):
        named = {role: options[role] for role in (Role.anchor, Role.positive)}
        draft = run_draft(data, target, named, name=options["name"], split=options["split"])
    return draft.text, draft.command


def _name_for(data: str) -> str:
    """Return what a config for data is called: `pages` for `s3://bucket/pages-*.parquet` and `builtin:pages`."""
    last = re.split(r"[/:]", data.rstrip("/"))[-1]
    return re.sub(r"[^\w-]", "", last.split(".")[0]).strip("-_") or "mine"
