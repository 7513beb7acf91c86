"""The rows of a training set that take the most memory: those with the most tokens in a column."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

import torch

from mmst_cli.config.schema import Modality
from mmst_cli.rows.columns import RowSet
from mmst_cli.rows.stored_cells import text_lengths
from mmst_cli.training.collator import BAD_ROWS
from mmst_cli.training.trainer import RunTrainer
from mmst_cli.vectors.prepared_batches import feature_bytes

LOOKED_AT = 256  # rows that are read for it


def largest_rows(trainer: RunTrainer, drawn: Any, rows: RowSet) -> list[dict[str, Any]]:
    """Return drawn rows, those first that have the most tokens in one column, or the most bytes where none has tokens.

    Looked at are the rows with the longest texts and others from all over the set; of a stream the first ones.
    """
    weighed = [(weight, row) for row in _looked_at(drawn, rows) if (weight := _weigh(trainer.data_collator([row])))]
    return [row for _, row in sorted(weighed, key=lambda one: one[0], reverse=True)]


def _looked_at(drawn: Any, rows: RowSet) -> list[dict[str, Any]]:
    if rows.is_stream:
        return list(islice(iter(drawn), LOOKED_AT))
    count = min(LOOKED_AT, len(drawn))
    places = [index * len(drawn) // count for index in range(count)]
    names = [name for column in rows.columns if Modality.text in column.modalities for name in column.sources]
    if rows.stored is None and count < len(drawn):
        lengths = [found for name in names if (found := text_lengths(rows.rows, name)) is not None]
        longest = [
            place for of_one in lengths for place in of_one.argsort()[::-1][: count // (2 * len(lengths))].tolist()
        ]
        places = [*longest, *places[:: 2 if longest else 1]]
    return [drawn[place] for place in dict.fromkeys(places)]


def _weigh(batch: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the most tokens that a row has in a column, and the bytes of all; None for a broken row."""
    if batch.get(BAD_ROWS):
        return None
    tokens = [
        value.shape[-1]
        for name, value in batch.items()
        if name.endswith("attention_mask") and isinstance(value, torch.Tensor)
    ]
    tokens += [int(value[-1]) for name, value in batch.items() if name.endswith("cu_seq_lens_q")]
    return max(tokens, default=0), feature_bytes(batch)
