"""What all commands stand on: the app, errors in one line, and results as JSON."""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmst_cli import __version__, ending_together, processes
from mmst_cli.cli.completion import complete_override
from mmst_cli.errors import ConfigError, Interrupted, MmstError, WorkError, first_line, is_memory_shortage
from mmst_cli.storage import disk_fault, expand_home, in_json
from mmst_cli.streams import drain, takes_any_character

if TYPE_CHECKING:
    from mmst_cli.terminal import Terminal

app = typer.Typer(
    name="mmst",
    help="Train, evaluate, apply and inspect multimodal embedding models with sentence-transformers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Changes of the file, such as training.learning_rate=1e-5.",
        autocompletion=complete_override,
    ),
]
ALONE = "Start it without torchrun or accelerate; only `mmst train` and `mmst encode` take several."
Json = Annotated[bool, typer.Option("--json", help="Put the result on stdout as JSON.")]


def path_option(description: str) -> Any:
    """Return an option that names a file or folder, with its line of help."""
    return typer.Option(parser=path_named, metavar="PATH", help=description)


def path_named(text: str) -> Path:
    """Return the path that an option names, with `~` at its beginning replaced, which a shell leaves in `--output=~/x`.

    Raises:
        BadParameter: it names none, as an empty variable of a shell does.
    """
    if not text:
        raise typer.BadParameter("it is empty. Name a file or a folder.")
    return expand_home(text)


@contextmanager
def loading(terminal: Terminal) -> Iterator[None]:
    """Show that torch and sentence-transformers are imported, which takes seconds; what they print goes to stderr."""
    with terminal.waiting("loading torch and sentence-transformers"):
        yield
        if os.environ.get("WANDB_MODE") == "offline":  # then this prints a line, wherever it is imported first
            importlib.import_module("transformers.integrations.integration_utils")


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """Turn a user's mistake into one line a fault, without a traceback, and the exit code that goes with it.

    Of several processes the one that fails first says why, and all end.
    """
    try:
        yield
    except MmstError as error:
        faults = error.faults if isinstance(error, ConfigError) else [error]
        raise _ended(error.exit_code, *(f"error: {fault}" for fault in faults)) from error
    except KeyboardInterrupt as error:
        if ending_together.is_lost(error):
            raise _ended(WorkError.exit_code, f"error: {ending_together.LOST}") from None
        ending_together.let_first_speak()
        raise _ended(error.exit_code if isinstance(error, Interrupted) else 130) from None
    except Exception as error:
        said = _in_a_sentence(error)
        if said is None and processes.count() == 1:
            raise
        raise _ended(WorkError.exit_code, f"error: {said}" if said else traceback.format_exc()) from error


def _ended(exit_code: int, *lines: str) -> typer.Exit:
    """Say why the command ends, of several processes in the first that fails, and return what ends it."""
    if ending_together.speaks(exit_code):
        for line in lines:
            typer.echo(line, err=True)
    if processes.count() > 1:
        ending_together.end(exit_code)
    return typer.Exit(exit_code)


def _in_a_sentence(error: Exception) -> str | None:
    """Return what a user can do about an error that isn't of ours; None of a bug."""
    if is_memory_shortage(error):
        return f"out of memory: {first_line(error)}. Use smaller batches or inputs, or free it."
    if refused := disk_fault(error):
        return f"{refused}."
    return ending_together.LOST if ending_together.is_lost(error) else None


def print_json(value: Any) -> None:
    """Print a result for a script."""
    text = json.dumps(in_json(value), indent=2, ensure_ascii=not takes_any_character(sys.stdout))
    try:
        typer.echo(text.encode("utf-8", "backslashreplace").decode())  # a file's name may hold bytes that are no text
    except OSError as error:
        drain(sys.stdout)
        if refused := disk_fault(error):
            raise WorkError(f"the result could not be put out: {refused}.") from error
        # Nobody reads it; the work is done.


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mmst {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if processes.count() > 1 and context.invoked_subcommand not in ("train", "encode"):
        if processes.is_first():
            typer.echo(f"error: mmst {context.invoked_subcommand}: it runs in one process. {ALONE}", err=True)
        raise typer.Exit(2)
