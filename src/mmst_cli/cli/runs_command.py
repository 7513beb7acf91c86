"""`mmst runs`: its arguments."""

from __future__ import annotations

from typing import Annotated

import typer

from mmst_cli.cli.app import Json, print_json, told_in_one_line
from mmst_cli.cli.completion import complete_run


def runs(
    named: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN...", help="Runs or folders of runs; `runs/` if left out.", autocompletion=complete_run
        ),
    ] = None,
    json_output: Json = False,
) -> None:
    """List runs with what they scored; of several that are named, say by which keys they differ.

    Example: mmst runs runs/quickstart runs/slower
    """
    with told_in_one_line():
        from mmst_cli.evaluation.run_overview import differences_table, differing_keys, find_runs, runs_table, summarise
        from mmst_cli.shell_words import quoted
        from mmst_cli.terminal import Terminal

        terminal = Terminal()
        found = find_runs(named or [])
        summaries = [summarise(run) for run in found]
        differing = differing_keys(found) if named and len(found) > 1 else {}
        if json_output:
            told = {"runs": [one.to_dict() for one in summaries]}
            print_json({**told, "differing": differing} if named else told)
            return
        terminal.show(runs_table(summaries))
        if differing:
            terminal.show(differences_table(found, differing))
            first, second = (quoted(run.path) for run in found[:2])
            terminal.say(f"next: mmst eval {second} --compare {first} says whether the difference is one")
