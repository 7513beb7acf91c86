"""Negatives for the training sets of a config that say `mine:`, kept in the cache by content."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file, save_file

from mmst_cli.cached import MINED
from mmst_cli.config.rules_mining import fills_by_mining
from mmst_cli.config.schema import Config, Fill, MineConfig
from mmst_cli.errors import WorkError
from mmst_cli.mining.doubtful_rows import doubtful_in_words
from mmst_cli.mining.mine import open_search
from mmst_cli.mining.mined_sets import MinedSet
from mmst_cli.mining.mining_job import mining_model, models_identity
from mmst_cli.mining.mining_summary import MiningFacts, advice, facts_of, nothing_kept
from mmst_cli.mining.negative_search import mine_rows
from mmst_cli.rows.columns import RowSet
from mmst_cli.rows.filling import filled_lists, missing_places
from mmst_cli.rows.row_keys import rows_identity
from mmst_cli.storage import build_folder, cache_folder, digest, write_json
from mmst_cli.terminal import Terminal
from mmst_cli.vectors.fitting_batches import MemoryShortageError
from mmst_cli.vectors.nearest import check_index

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

FACTS = "facts.json"
VERSION = 2
"""To be raised when other negatives come of the same data, model and settings."""


def mine_training_sets(
    config: Config, rows: Mapping[str, object], model: SentenceTransformer, terminal: Terminal
) -> dict[str, MinedSet]:
    """Return the negatives of the sets that say `mine:`, mined now, or taken from the cache.

    What is kept is row numbers and scores; the rows stay where they are.

    Args:
        config: the whole config.
        rows: dataset to its rows.
        model: the model of the config, loaded, as it is before training.
        terminal: where to show progress and the outcome.

    Raises:
        MmstError: a model can't be loaded or doesn't take the rows, or no row gets its negatives.
    """
    found = {}
    for key, section in config.datasets.items():
        data = rows.get(key)
        if not isinstance(data, RowSet):
            continue
        if fills_by_mining(section):
            mine = section.mine or MineConfig()
            if mine.every_epochs is not None and not filled_lists(data, Fill.mine):
                terminal.warn(f"datasets.{key}.mine.every_epochs: no list lacks a negative: there is nothing to renew.")
            if filled_lists(data, Fill.mine) or mine.min_positive_score is not None:
                found[key] = _fill_set(config, mine, data, model, terminal)
        elif section.mine is not None:
            found[key] = _mine_set(config, section.mine, data, model, terminal)
    return found


def _fill_set(
    config: Config, mine: MineConfig, rows: RowSet, model: SentenceTransformer, terminal: Terminal
) -> MinedSet:
    """Return the negatives that rows lack in lists that are filled up."""
    lists = filled_lists(rows, Fill.mine)
    most = max((int(missing_places(rows, *listed).sum(axis=1).max()) for listed in lists.items()), default=1)
    wanted = mine.model_copy(update={"num_negatives": most})
    mined = replace(_mine_set(config, wanted, rows, model, terminal, tell=False), fills=True)
    found = mined.with_negatives()
    names = ", ".join(name for name, column in config.datasets[rows.key].columns.items() if column.fill is Fill.mine)
    if not len(found):
        raise WorkError(f"datasets.{rows.key}.columns.{names}.fill: no row got its negatives. Set fill: sample.")
    terminal.say(f"negatives: {rows.key}: {names} filled up for {len(found):,} of {len(rows):,} rows")
    if left_out := len(rows) - len(found) - len(mined.doubtful):
        terminal.warn(
            f"datasets.{rows.key}.columns.{names}.fill: {left_out:,} row{' was' if left_out == 1 else 's were'} left"
            f" out: mining found fewer than {most} documents for them. More get theirs by looser limits in"
            f" datasets.{rows.key}.mine, a smaller take, or fill: sample."
        )
    return mined


def check_minings(config: Config) -> None:
    """Check that the indexes that are asked for are installed.

    Raises:
        ConfigError: one isn't.
    """
    for section in config.datasets.values():
        if section.mine is not None:
            check_index(str(section.mine.index))


def _mine_set(
    config: Config,
    mine: MineConfig,
    rows: RowSet,
    model: SentenceTransformer,
    terminal: Terminal,
    *,
    tell: bool = True,
) -> MinedSet:
    """Return the negatives of a set, mined now or taken from the cache."""
    folder = cache_folder() / f"{MINED}-{digest(_identity(config, mine, rows))}"
    known = folder.is_dir()
    build_folder(folder, lambda target: _build(target, config, mine, rows, model, terminal))
    facts = MiningFacts(**json.loads((folder / FACTS).read_text(encoding="utf-8")))
    origin = f"from {folder}" if known else "mined"
    scores = ", ".join(f"{name} {value:.4f}" for name, value in facts.scores.items())
    terminal.say(
        f"negatives: {rows.key}: {origin}: {mine.num_negatives} for each of {facts.kept:,} of {facts.rows:,} rows"
        f" (mean similarity: {scores})"
    )
    if tell and (sentence := advice(facts, mine)):
        terminal.warn(f"datasets.{rows.key}.mine: {sentence}")
    if sentence := doubtful_in_words(facts.doubtful, mine.min_positive_score, f"in {folder / FACTS}"):
        terminal.warn(f"datasets.{rows.key}.mine: {sentence}")
    stored = load_file(folder / "negatives.safetensors")
    nothing = np.empty(0, dtype=np.int64)  # what a cache of before has
    remark = (sentence or "").rstrip(".")
    return MinedSet(rows, stored["kept"], stored["negatives"], stored.get("doubtful", nothing), remark=remark)


def _identity(config: Config, mine: MineConfig, rows: RowSet) -> dict[str, Any]:
    seed = config.seed
    unset = {name for name in ("min_positive_score",) if getattr(mine, name) is None}  # an older cache hasn't got it
    return {
        "version": VERSION,
        "rows": rows_identity(rows),
        **models_identity(config, mine, seed),
        "settings": mine.model_dump(exclude={"every_epochs", *unset}),
        "seed": seed,
        "media": config.media.record(),
        "prompts": {**config.prompts, **config.datasets[rows.key].prompts},
        "precision": [config.training.get(name) for name in ("bf16", "fp16")],
    }


def _build(
    target: Path, config: Config, mine: MineConfig, rows: RowSet, model: SentenceTransformer, terminal: Terminal
) -> None:
    work = target / "work"
    work.mkdir()
    seed = config.seed
    loaded = model if mine.model is None else None
    try:
        search = open_search(config, mine, mining_model(config, mine), rows, work, seed, terminal, loaded)
        found = mine_rows(search, terminal)
    except MemoryShortageError as error:
        raise WorkError(
            f"datasets.{rows.key}.mine.batch_size: {error}. Lower model.processor.max_pixels or what media are read"
            " at, or free the device."
        ) from error
    facts = facts_of(found, search.rows)
    if not facts.kept:
        raise WorkError(f"datasets.{rows.key}.mine: {nothing_kept(facts, mine)}")
    arrays = {"kept": found.kept, "negatives": found.negatives, "scores": found.scores, "doubtful": found.doubtful}
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, target / "negatives.safetensors")
    write_json(target / FACTS, asdict(facts))
    shutil.rmtree(work)
