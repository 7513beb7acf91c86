"""`mmst inspect-modalities`: its arguments."""

from __future__ import annotations

from typing import Annotated

import typer

from mmst_cli.cli.app import Json, loading, print_json, told_in_one_line
from mmst_cli.cli.completion import complete_run


def inspect_modalities(
    model: Annotated[
        str, typer.Argument(help="A run folder, a model folder or a hub id.", autocompletion=complete_run)
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="INPUT...", help="Texts, files, folders or -: what its processor makes of each."),
    ] = None,
    prompt_name: Annotated[
        str | None, typer.Option(help="A prompt of the model for the inputs, such as query; as documents if left out.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub id.")] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run Python code that comes with the model.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Say what a model takes, and what it sees of inputs. No weight is read.

    Example: mmst inspect-modalities Qwen/Qwen3-VL-Embedding-2B page.png "a text"
    """
    with told_in_one_line():
        from mmst_cli.terminal import Terminal, quiet_libraries

        terminal = Terminal()
        with loading(terminal):
            from mmst_cli.config.schema import ModelConfig
            from mmst_cli.model.inspect_model import facts_table, run_inspection
            from mmst_cli.preparing.inspected_inputs import inputs_table, run_input_inspection

            quiet_libraries(terminal)
        facts = run_inspection(model, revision=revision, trust_remote_code=trust_remote_code)
        seen = []
        if inputs:
            where = ModelConfig(name_or_path=model, revision=revision, trust_remote_code=trust_remote_code)
            seen = run_input_inspection(where, inputs, terminal, prompt_name)
        if json_output:
            print_json({**facts.to_dict(), **({"inputs": [one.to_dict() for one in seen]} if inputs else {})})
        else:
            terminal.show(facts_table(facts))
            if seen:
                terminal.show(inputs_table(seen))
