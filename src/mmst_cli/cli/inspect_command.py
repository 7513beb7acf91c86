"""`mmst inspect-modalities`: its arguments."""

from __future__ import annotations

from typing import Annotated

import typer

from mmst_cli.cli.app import Json, loading, print_json, told_in_one_line


def inspect_modalities(
    model: Annotated[str, typer.Argument(help="A run folder, a model folder or a hub id.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub id.")] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run Python code that comes with the model.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Say what a model takes, without reading its weights.

    Example: mmst inspect-modalities Qwen/Qwen3-VL-Embedding-2B
    """
    with told_in_one_line():
        from mmst_cli.terminal import Terminal, quiet_libraries

        terminal = Terminal()
        with loading(terminal):
            from mmst_cli.model.inspect_model import facts_table, run_inspection

            quiet_libraries(terminal)
        facts = run_inspection(model, revision=revision, trust_remote_code=trust_remote_code)
        if json_output:
            print_json(facts.to_dict())
        else:
            terminal.show(facts_table(facts))
