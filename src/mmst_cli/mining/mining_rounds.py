"""A round of mining in training: the negatives of a set renewed by the model as trained so far, and kept in a file."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from mmst_cli.config.schema import Config, MineConfig
from mmst_cli.errors import RunError, WorkError, first_line
from mmst_cli.mining.mine import open_search
from mmst_cli.mining.mined_sets import MinedSet, Round
from mmst_cli.mining.negative_search import mine_rows
from mmst_cli.model.load_model import model_label
from mmst_cli.storage import whole_file
from mmst_cli.terminal import Terminal
from mmst_cli.vectors.fitting_batches import MemoryShortageError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def mine_round(
    config: Config, mined: MinedSet, model: SentenceTransformer, epoch: int, work: Path, terminal: Terminal
) -> MinedSet:
    """Return a set with negatives that a model finds as it is now.

    Which rows there are is decided before training, so that all epochs have as many steps: a row that gets too few
    negatives this time keeps those it had, and `min_positive_score` was looked at then.

    Args:
        config: the whole config.
        mined: the set with the negatives that it had until now.
        model: the model that is trained.
        epoch: at the beginning of which this is, from 0; another one draws others where negatives are drawn at random.
        work: a folder for vectors; it is gone afterwards.
        terminal: where to show progress.

    Raises:
        WorkError: an input can't be read, or has no finite vector or score.
    """
    key, again = mined.rows.key, config.datasets[mined.rows.key].mine or MineConfig()
    settings = {"model": None, "revision": None, "min_positive_score": None, "num_negatives": mined.negatives.shape[1]}
    shutil.rmtree(work, ignore_errors=True)  # of a round that a killed process was in
    work.mkdir(parents=True)
    try:
        asked = again.model_copy(update=settings)
        label = f"{model_label(config.model)} as trained so far"
        of_epoch = config.seed + epoch
        search = open_search(config, asked, config.model, mined.rows, work, of_epoch, terminal, model, label)
        found = mine_rows(search, terminal)
    except MemoryShortageError as error:
        raise WorkError(
            f"datasets.{key}.mine.batch_size: {error}. Lower model.processor.max_pixels or what media are read at, or"
            " free the device."
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return mined.renewed(epoch, found.kept, found.negatives)


def save_round(path: Path, mined: MinedSet) -> None:
    """Write the negatives of a set as a round left them."""
    told = {"rounds": json.dumps([asdict(one) for one in mined.rounds])}
    arrays = {"kept": mined.kept, "negatives": mined.negatives}
    with whole_file(path) as partial:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, partial, metadata=told)


def load_round(path: Path, mined: MinedSet) -> MinedSet:
    """Return a set with the negatives that a round left.

    Raises:
        RunError: the file can't be read, or is of other rows.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            kept, negatives = file.get_tensor("kept"), file.get_tensor("negatives")
            rounds = tuple(Round(**one) for one in json.loads(file.metadata()["rounds"]))
    except Exception as error:  # safetensors has errors of its own, and json and dataclasses others
        raise RunError(f"{path} is damaged: {first_line(error).rstrip('.')}. Begin anew by --overwrite.") from error
    if not np.array_equal(kept, mined.kept) or negatives.shape != mined.negatives.shape:
        raise RunError(f"{path} is of other rows than datasets.{mined.rows.key} has. Begin anew by --overwrite.")
    return replace(mined, negatives=negatives, rounds=rounds)
