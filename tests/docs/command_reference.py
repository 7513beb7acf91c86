"""The reference of the commands: `python tests/docs/command_reference.py` writes docs/commands.md from their help."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer.main

from mmst_cli.cli import app

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
HEAD = """# Every command

Written from what `mmst COMMAND --help` says. A result is put on stdout, as text or with `--json` as JSON; progress and
warnings go to stderr. `KEY=VALUE` changes a key of the config: [every key](config.md). Exit codes: 0 done; 1 it failed
while working; 2 the command, the config or the data was wrong and nothing was started; 130 interrupted by Ctrl-C, 143
by SIGTERM.

`mmst --version` prints the version, `mmst --install-completion` teaches the shell you are in to complete all of this.
"""
PAGES = {  # where a command is explained
    "init": "starting.md",
    "check": "checking.md",
    "plan": "planning.md",
    "train": "training.md",
    "eval": "choosing-a-size.md",
    "encode": "encoding-and-search.md",
    "search": "encoding-and-search.md#search",
    "mine": "hard-negatives.md",
    "score": "losses.md#distillation",
    "merge": "merging.md",
    "export": "serving.md#in-half-precision",
    "schema": "starting.md#in-an-editor",
    "inspect-modalities": "model-families.md",
    "cache": "inputs.md",
    "runs": "training.md#runs-side-by-side",
}


def page() -> str:
    """Return the page."""
    group = typer.main.get_command(app)
    context = group.context_class(group, info_name="mmst")
    names = group.list_commands(context)
    return "\n".join([HEAD, *(section(name, group.get_command(context, name), context) for name in names)])


def section(name: str, command: Any, parent: Any) -> str:
    """Return what the page says of one command."""
    context = command.context_class(command, info_name=name, parent=parent)
    purpose, _, example = command.help.partition("Example: ")
    arguments = [value_of(parameter) for parameter in command.params if parameter.param_type_name == "argument"]
    needed = [parameter.required for parameter in command.params if parameter.param_type_name == "argument"]
    usage = [name if is_needed else f"[{name}]" for name, is_needed in zip(arguments, needed, strict=True)]
    parts = [f"## mmst {name}\n", f"{' '.join(purpose.split())}{more(name)}\n"]
    parts.append(f"```text\n{' '.join(['mmst', name, *usage, '[OPTIONS]'])}\n```\n")
    if example:
        parts.append(f"For example `{' '.join(example.split())}`.\n")
    rows = [line(parameter, context) for parameter in command.get_params(context) if parameter.name != "help"]
    return "\n".join([*parts, "| | what it is |\n| --- | --- |\n" + "".join(rows)])


def more(name: str) -> str:
    """Return a link to the page that explains a command."""
    return f" [More]({PAGES[name]})." if name in PAGES else ""


def line(parameter: Any, context: Any) -> str:
    """Return the line of an argument or an option."""
    if parameter.param_type_name == "argument":
        name, said = value_of(parameter), parameter.help
    else:
        name, said = parameter.get_help_record(context)
    name = re.sub(r"<(int|float)( range)?>", "NUMBER", re.sub(r"<(list\[)?str\]?>", "TEXT", name))
    said = " ".join((said or "").split()).replace("|", "&#124;")
    return f"| `{name.replace('|', ', ')}` | {said} |\n"


def value_of(argument: Any) -> str:
    """Return the word that stands for an argument, with dots where there may be several."""
    word = (argument.metavar or argument.name.upper()).strip("[]").removesuffix("...")
    return f"{word} ..." if argument.nargs == -1 else word


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
