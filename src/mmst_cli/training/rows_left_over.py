"""Rows that an epoch never comes to, because too many share an input and no two of these stand in one batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from datasets import Dataset

from mmst_cli.config.rules_loss import DUPLICATE_FREE
from mmst_cli.config.schema import Config
from mmst_cli.rows.columns import RowSet
from mmst_cli.rows.row_keys import row_keys

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformerTrainingArguments


def keys_apart(config: Config, rows: Mapping[str, RowSet]) -> dict[str, Dataset]:
    """Return what tells the rows of each set apart, where batches are drawn without duplicates; nothing of streams."""
    if str(config.training.get("batch_sampler")) not in DUPLICATE_FREE:
        return {}
    return {name: row_keys(own) for name, own in rows.items() if not own.is_stream}


def tell_rows_left_over(
    config: Config,
    rows: Mapping[str, RowSet],
    keys: Mapping[str, Dataset],
    args: SentenceTransformerTrainingArguments,
    processes: int,
) -> Iterator[str]:
    """Yield a sentence for each training set of which an epoch leaves rows out.

    The trainer takes rows / batch steps an epoch. Where an input is in more rows than that, batches without duplicates
    are smaller than asked for, there are more of them, and those that are too many are never drawn. What is told is
    the least: how the other inputs fall together may leave out a few more.

    Args:
        config: the whole config.
        rows: the training sets, by name.
        keys: what tells the rows of a set apart, by its name; nothing is told of a set without.
        args: the trainer's.
        processes: that take the rows of a batch together.
    """
    sampler = str(config.training.get("batch_sampler"))
    if sampler not in DUPLICATE_FREE:
        return
    size = args.train_batch_size * processes
    for name, own in rows.items():
        if name not in keys:
            continue
        batches = len(own) // size if args.dataloader_drop_last else -(-len(own) // size)
        inputs = [column.name for column in own.inputs]
        left, column, most = max(_left_over(keys[name], column, batches) for column in inputs)
        if left:
            fitting = len(own) // most // processes
            yield (
                f"training.batch_sampler: of datasets.{name} at least {left:,} of {len(own):,} rows are left out of"
                f" every epoch: column {column} holds the same in up to {most:,} rows, {sampler} puts no two of"
                f" these into a batch, and an epoch is {batches:,} {'batch' if batches == 1 else 'batches'} of"
                f" {size:,} rows. {_remedy(fitting)}"
            )


def _left_over(keys: Dataset, column: str, batches: int) -> tuple[int, str, int]:
    """Return how many rows are too many, the column, and how often its commonest input is there."""
    counts = Counter(keys[column])
    return sum(count - batches for count in counts.values() if count > batches), column, max(counts.values())


def _remedy(fitting: int) -> str:
    lower = f"Lower training.per_device_train_batch_size to {fitting:,}, or train" if fitting > 1 else "Train"
    return f"{lower} on fewer rows with the same."
