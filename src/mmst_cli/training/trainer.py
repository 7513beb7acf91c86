"""SentenceTransformerTrainer with typed columns, our run folder, and a clock on the data."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformerTrainer
from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
from torch import nn
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from mmst_cli.config.schema import Role
from mmst_cli.data.columns import RowSet
from mmst_cli.encoding.pipeline import as_input


class TypedCollator(SentenceTransformerDataCollator):  # type: ignore[misc]
    """The collator of sentence-transformers, told what each column is instead of guessing from its values."""

    def declare(self, row_sets: Sequence[RowSet]) -> TypedCollator:
        """Take modalities and label columns from the declared columns."""
        columns = [column for rows in row_sets for column in rows.columns]
        self.modalities = {c.name: c.modality for c in columns if c.role is not Role.label}
        self.valid_label_columns = [column.name for column in columns if column.role is Role.label]
        return self

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate rows; texts can't be taken for paths or addresses."""
        typed = [
            {
                name: as_input(value, self.modalities[name]) if name in self.modalities else value
                for name, value in row.items()
            }
            for row in features
        ]
        return super().__call__(typed)  # type: ignore[no-any-return]

    def maybe_warn_about_column_order(self, column_names: list[str]) -> None:
        """Say nothing: roles, not names, decide the order."""


class RunTrainer(SentenceTransformerTrainer):  # type: ignore[misc]
    """The trainer of sentence-transformers, saving safetensors only and printing nothing by itself.

    Args:
        train: the rows to train on.
        evaluated: rows whose loss is evaluated, by name; may be empty.
        loss: the loss.
        write_card: writes a model card into a folder, in place of the generated one, which would decode
            rows and embed texts as media to describe them.
        arguments: what SentenceTransformerTrainer takes.
    """

    def __init__(
        self,
        *,
        train: RowSet,
        evaluated: Mapping[str, RowSet],
        loss: nn.Module,
        write_card: Callable[[Path], None],
        **arguments: Any,
    ) -> None:
        self.row_sets = [train, *evaluated.values()]
        self.write_card = write_card
        self.data_seconds = 0.0
        sets = {key: rows.rows for key, rows in evaluated.items()}
        eval_dataset = next(iter(sets.values())) if len(sets) == 1 else sets or None
        super().__init__(train_dataset=train.rows, eval_dataset=eval_dataset, loss=loss, **arguments)
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)

    def get_data_collator(self, model: Any, args: Any, processing_class: Any = None) -> TypedCollator:
        """Return a collator that knows the declared columns."""
        collator = super().get_data_collator(model, args, processing_class)
        return TypedCollator(
            preprocess_fn=collator.preprocess_fn,
            router_mapping=collator.router_mapping,
            prompts=collator.prompts,
        ).declare(self.row_sets)

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Add none: the run has a card of its own."""

    def get_batch_samples(self, *arguments: Any, **keywords: Any) -> Any:
        """Fetch the batches of a step, adding up how long the step waited for them."""
        begun = time.perf_counter()
        try:
            return super().get_batch_samples(*arguments, **keywords)
        finally:
            self.data_seconds += time.perf_counter() - begun

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or os.fspath(self.args.output_dir))
        self.model.save_pretrained(str(folder), create_model_card=False)
        self.write_card(folder)
