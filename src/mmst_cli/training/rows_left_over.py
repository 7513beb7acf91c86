"""Rows that an epoch never comes to, because too many share an input and no two of these stand in one batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from datasets import Dataset

from mmst_cli.config.rules_loss import DUPLICATE_FREE
from mmst_cli.config.schema import Config
from mmst_cli.rows.columns import RowSet
from mmst_cli.training.trainer import RunTrainer


def tell_rows_left_over(config: Config, rows: Mapping[str, RowSet], trainer: RunTrainer) -> Iterator[str]:
    """Yield a sentence for each training set of which an epoch leaves rows out.

    The trainer takes rows / batch steps an epoch. Where an input is in more rows than that, batches without duplicates
    are smaller than asked for, there are more of them, and those that are too many are never drawn. What is told is
    the least: how the other inputs fall together may leave out a few more.

    Args:
        config: the whole config.
        rows: the training sets, by name.
        trainer: one that has its loader, and knows what tells the rows apart.
    """
    sampler = str(config.training.get("batch_sampler"))
    if sampler not in DUPLICATE_FREE:
        return
    size = trainer.args.train_batch_size * trainer.args.world_size
    for name, own in rows.items():
        if name not in trainer.keys:
            continue
        batches = len(own) // size if trainer.args.dataloader_drop_last else -(-len(own) // size)
        inputs = [column.name for column in own.inputs]
        left, column, most = max(_left_over(trainer.keys[name], column, batches) for column in inputs)
        if left:
            fitting = len(own) // most // trainer.args.world_size
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
