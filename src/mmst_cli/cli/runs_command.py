"""`mmst runs`: its arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmst_cli.cli.app import Json, path_option, print_json, told_in_one_line
from mmst_cli.cli.completion import complete_run


def runs(
    named: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN...", help="Runs or folders of runs; `runs/` if left out.", autocompletion=complete_run
        ),
    ] = None,
    html: Annotated[Path | None, path_option("Write a page about those that are named: scores, keys, curves.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a page that is there.")] = False,
    json_output: Json = False,
) -> None:
    """List runs with what they scored. Of several that are named, say by which keys they differ.

    Example: mmst runs runs/quickstart runs/slower
    """
    with told_in_one_line():
        from mmst_cli.evaluation import run_overview
        from mmst_cli.terminal import Terminal

        terminal = Terminal()
        found = run_overview.find_runs(named or [])
        summaries = [run_overview.summarise(run) for run in found]
        several = bool(named) and len(found) > 1
        differing = run_overview.differing_keys(found) if several else {}
        if html is not None:
            from mmst_cli.errors import ConfigError
            from mmst_cli.evaluation.runs_page import write_runs_page

            if not several:
                raise ConfigError("--html: name two runs or more, or a folder of them.")
            write_runs_page(html, found, summaries, differing, overwrite=overwrite)
        if json_output:
            told = {"runs": [one.to_dict() for one in summaries]}
            print_json({**told, "differing": differing} if named else told)
            return
        terminal.show(run_overview.runs_table(summaries))
        if differing:
            terminal.show(run_overview.differences_table(found, differing))
        if html is not None:
            terminal.say(f"page: {html}")
        if several:
            terminal.say(f"next: {run_overview.compare_command(found)} says whether the difference is one")
