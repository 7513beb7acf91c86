"""`mmst score`: its arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmst_cli.cli.app import Json, Overrides, loading, path_option, print_json, told_in_one_line
from mmst_cli.cli.row_options import COLUMN, Anchor, Dataset, Name, Positive, Revision, Split, Sql, Target


def score(
    target: Target,
    output: Annotated[Path, path_option("The parquet file to write.")],
    overrides: Overrides = None,
    model: Annotated[
        str | None, typer.Option(help="The teacher: a CrossEncoder or an embedding model; a folder, a run or a hub id.")
    ] = None,
    revision: Revision = None,
    dataset: Dataset = None,
    anchor: Anchor = None,
    positive: Positive = None,
    negative: Annotated[
        list[str] | None,
        typer.Option(metavar=COLUMN, help="Of DATA: a column of negatives, or of lists of them; repeat."),
    ] = None,
    take: Annotated[int | None, typer.Option(help="Of DATA: so many entries of each list of negatives.")] = None,
    name: Name = None,
    split: Split = None,
    sql: Sql = None,
    column: Annotated[str | None, typer.Option(help="The new column. [default: teacher_scores]")] = None,
    min_positive_score: Annotated[
        float | None, typer.Option(help="Leave out rows whose positive scores below this, as doubtful.")
    ] = None,
    logits: Annotated[
        bool,
        typer.Option("--logits", help="A CrossEncoder's scores before its activation: a sigmoid brings many to 1."),
    ] = False,
    batch_size: Annotated[int, typer.Option(help="Inputs, or pairs, per forward pass.")] = 32,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what a killed command left.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output, and begin anew.")] = False,
    json_output: Json = False,
) -> None:
    """Write a teacher's scores beside rows with negatives. They are labels for a distillation.

    The table gets one column more: of each row a list of the positive's score, then of each negative's, in the order
    of their columns. The last lines are the columns for a config.

    Example: mmst score mined.yaml --model some/reranker --output scored.parquet
    """
    with told_in_one_line():
        from mmst_cli.config.schema import MineConfig
        from mmst_cli.mining.scored_target import find_scored

        found = find_scored(  # before torch is imported, which takes seconds
            target,
            overrides or [],
            dataset=dataset,
            data={"anchor": anchor, "positive": positive, "name": name, "split": split, "sql": sql},
            negatives=negative or [],
            take=take,
            teacher=MineConfig(
                model=model, revision=revision, min_positive_score=min_positive_score, batch_size=batch_size
            ),
        )
        from mmst_cli.terminal import Terminal

        terminal = Terminal(json_results=json_output)
        with loading(terminal):
            from mmst_cli.inputs.media_options import media_settings
            from mmst_cli.mining.score import ScoringOptions, run_scoring
        config = found.config
        if found.path is None:  # as the model's run was trained, as `mmst encode` does it
            config = config.model_copy(update={"media": media_settings(config.model.name_or_path, {})})
        options = ScoringOptions(
            dataset=found.dataset,
            teacher=found.mine,
            output=output,
            column=column,
            logits=logits,
            resume=resume,
            overwrite=overwrite,
        )
        result = run_scoring(config, options, terminal)
        if json_output:
            print_json(result.to_dict())
