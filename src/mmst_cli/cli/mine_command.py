"""`mmst mine`: its arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmst_cli.cli.app import Json, Overrides, loading, path_option, print_json, told_in_one_line
from mmst_cli.cli.row_options import Anchor, Dataset, Name, Positive, Revision, Split, Sql, Target


def mine(
    target: Target,
    output: Annotated[Path, path_option("The parquet file to write.")],
    overrides: Overrides = None,
    dataset: Dataset = None,
    model: Annotated[
        str | None, typer.Option(help="A run folder, a model folder or a hub id; that of the config if left out.")
    ] = None,
    revision: Revision = None,
    anchor: Anchor = None,
    positive: Positive = None,
    name: Name = None,
    split: Split = None,
    sql: Sql = None,
    num_negatives: Annotated[int | None, typer.Option(help="Negatives for each row. [default: 3]")] = None,
    range_min: Annotated[
        int | None, typer.Option(help="Skip so many of the nearest documents that could be negatives. [default: 0]")
    ] = None,
    range_max: Annotated[int | None, typer.Option(help="Consider at most so many of the nearest.")] = None,
    max_score: Annotated[float | None, typer.Option(help="A negative's similarity is this at most.")] = None,
    min_score: Annotated[float | None, typer.Option(help="A negative's similarity is this at least.")] = None,
    absolute_margin: Annotated[
        float | None, typer.Option(help="A negative's similarity is so far below the positive's.")
    ] = None,
    relative_margin: Annotated[
        float | None, typer.Option(help="The same as a share of the positive's: 0.05 is 5% below it.")
    ] = None,
    min_positive_score: Annotated[
        float | None, typer.Option(help="Leave out rows whose own positive scores below this, as doubtful.")
    ] = None,
    sampling_strategy: Annotated[
        str | None, typer.Option(help="top, or random among those considered. [default: top]")
    ] = None,
    second_model: Annotated[
        str | None, typer.Option(help="A CrossEncoder or embedding model whose scores the limits are about.")
    ] = None,
    index: Annotated[str | None, typer.Option(help="exact, or faiss. [default: exact]")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Inputs per forward pass. [default: 32]")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of random sampling; training.seed of the config, or 42, if left out.")
    ] = None,
    embed_media: Annotated[
        bool, typer.Option("--embed-media", help="Put media into the file instead of naming other files.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what a killed command left.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output, and begin anew.")] = False,
    json_output: Json = False,
) -> None:
    """Find hard negatives for the rows of a dataset. False ones are guarded against.

    Settings are named as in mine_hard_negatives of sentence-transformers; a `mine` section of the config gives their
    defaults. Beside the output there is a page to look at what was mined.

    Example: mmst mine configs/quickstart.yaml --model runs/quickstart --relative-margin 0.05 --output mined.parquet
    """
    with told_in_one_line():
        from mmst_cli.mining.mining_target import find_target, given_settings

        found = find_target(  # before torch is imported, which takes seconds
            target,
            overrides or [],
            dataset=dataset,
            data={"anchor": anchor, "positive": positive, "name": name, "split": split, "sql": sql},
            settings=given_settings(locals()),
        )
        from mmst_cli.terminal import Terminal

        terminal = Terminal(json_results=json_output)
        with loading(terminal):
            from mmst_cli.config.rules_mining import LOSSES_OF_SCORES
            from mmst_cli.inputs.media_options import media_settings
            from mmst_cli.mining.mine import run_mining
            from mmst_cli.mining.mined_columns import dataset_section, training_command
            from mmst_cli.mining.mining_job import MiningOptions
        config = found.config
        if found.path is None:  # as the model's run was trained, as `mmst encode` does it
            config = config.model_copy(update={"media": media_settings(config.model.name_or_path, {})})
        options = MiningOptions(
            dataset=found.dataset,
            mine=found.mine,
            output=output,
            seed=config.seed if seed is None else seed,
            embed_media=embed_media,
            resume=resume,
            overwrite=overwrite,
        )
        result = run_mining(
            config,
            options,
            terminal,
            lambda section, added: (
                dataset_section(section, output, added)
                if found.path is None
                else training_command(
                    *(found.path, overrides or [], found.dataset, section, output, added),
                    of_scores=found.loss in LOSSES_OF_SCORES,
                )
            ),
        )
        if json_output:
            print_json(result.to_dict())
