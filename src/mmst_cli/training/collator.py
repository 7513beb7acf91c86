"""From drawn rows to a batch: read as declared, with the prompt and the route of each column's role."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sentence_transformers.base.modules import Router
from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator

from mmst_cli.config.schema import OnBadRow, Role
from mmst_cli.errors import DataError
from mmst_cli.media.input_errors import concerns_input
from mmst_cli.media.message import clip_options
from mmst_cli.model.preprocessor import Preprocessor, runs_anywhere
from mmst_cli.model.prompts import TASKS
from mmst_cli.model.raw_pixels import RawPixels, raw_pixels_of
from mmst_cli.rows.bad_rows import BadRow
from mmst_cli.rows.columns import RowSet
from mmst_cli.rows.skipping import bad_row, try_read
from mmst_cli.training.dead_run import drawn_rows
from mmst_cli.vectors.refused_inputs import in_words

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

NAME = "dataset_name"
"""Under this key ST's trainer looks for the set that a row is of, to choose the loss."""
BAD_ROWS = "mmst_bad_rows"
"""Under this key a batch carries the broken rows that were left out of it, from the worker that found them."""
DRAWN_ROWS = "mmst_drawn_rows"
"""Under this key a batch carries what finds its rows again: see :mod:`mmst_cli.training.dead_run`."""
ROWS = "mmst_rows"
"""Under this key a batch carries how many rows it has, which not every kind of tensor tells."""

TOKENS = "mmst_tokens"
"""Under this key a batch carries how many tokens it has, padding left out; of models without tokens none."""


class TypedCollator(SentenceTransformerDataCollator):  # type: ignore[misc]
    """The collator of sentence-transformers, told what each column is instead of guessing from its values.

    Media are decoded here, in the worker that needs them and for one batch at a time.
    """

    def declare(
        self,
        row_sets: Sequence[RowSet],
        prompts: Mapping[str, Mapping[str, str]] | None = None,
        tasks: Sequence[str] = (),
    ) -> TypedCollator:
        """Take what there is to know.

        Args:
            row_sets: where rows come from; those that carry no dataset name are of the first.
            prompts: dataset to column to prompt; the trainer's own ``prompts`` where left out.
            tasks: the tasks among query and document that the model has routes for.
        """
        self.row_sets = {rows.key: rows for rows in row_sets}
        self.current = row_sets[0]
        self.nameless = row_sets[0].key
        self.prompts_of_role, self.tasks = prompts or {}, tasks
        self.preprocess_fn: Any = partial(_preprocess, self.preprocess_fn)
        return self

    def renew(self, row_sets: Sequence[RowSet]) -> None:
        """Take other rows of the same sets, with the same columns."""
        self.row_sets = {rows.key: rows for rows in row_sets}
        self.current = row_sets[0]

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        """Read and collate rows of one dataset, without those that are broken where they are left out."""
        if not features:
            return {}
        name = features[0].get(NAME)
        self.current = self.row_sets[name or self.nameless]
        self.valid_label_columns = label_columns(self.current)
        kept = {} if name is None else {NAME: name}
        added: dict[str, Any] = {NAME: self.current.key, DRAWN_ROWS: drawn_rows(self.current, features)}
        if self.current.on_bad_row is OnBadRow.error:
            read: list[dict[str, Any] | BadRow] = [self.current.read(row) for row in features]
        else:
            read = [try_read(self.current, row) for row in features]
        batch, read = self._collate(features, read, kept)
        bad = [row for row in read if isinstance(row, BadRow)]
        added[ROWS] = len(read) - len(bad)
        masks = [value for key, value in batch.items() if key.endswith("attention_mask")]
        if masks:
            added[TOKENS] = sum(int(mask.sum()) for mask in masks)
        return {**batch, **added, **({BAD_ROWS: bad} if bad else {})}

    def _collate(
        self, features: list[dict[str, Any]], read: list[dict[str, Any] | BadRow], kept: dict[str, Any]
    ) -> tuple[dict[str, Any], list[dict[str, Any] | BadRow]]:
        """Return the batch of the rows that could be read, and these without those that the processor refuses.

        Raises:
            DataError: it refuses an input, and broken rows are not left out; the message names dataset, row and column.
        """
        self._check_label_lengths([row for row in read if not isinstance(row, BadRow)])
        try:
            return super().__call__([self._whole(row, kept) for row in read if not isinstance(row, BadRow)]), read
        except Exception as error:  # processors raise whatever they like
            if not concerns_input(error):
                raise
            whole = [
                row if isinstance(row, BadRow) else self._refused(drawn, row, kept) or row
                for drawn, row in zip(features, read, strict=True)
            ]
            found = [new for new, old in zip(whole, read, strict=True) if isinstance(new, BadRow) and new is not old]
            if not found:
                raise
            if self.current.on_bad_row is OnBadRow.error:
                raise DataError(str(found[0])) from error
        return super().__call__([self._whole(row, kept) for row in whole if not isinstance(row, BadRow)]), whole

    def _whole(self, row: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row with what it keeps, and a label that is an array as a tensor: the library stacks those."""
        labels = {name: row[name] for name in label_columns(self.current) if isinstance(row[name], np.ndarray)}
        return {**row, **kept, **{name: torch.from_numpy(label) for name, label in labels.items()}}

    def features_of(self, rows: RowSet, column: str, inputs: Sequence[Any]) -> dict[str, Any]:
        """Return what some inputs of one column become in a batch, under the names that the model knows."""
        self.current, self.valid_label_columns = rows, []
        kept = {} if self.nameless == rows.key else {NAME: rows.key}
        batch = super().__call__([{column: value, **kept} for value in inputs])
        start = f"{column}_"
        return {name.removeprefix(start): value for name, value in batch.items() if name.startswith(start)}

    def _check_label_lengths(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Raise where labels are lists that can't be one array: of a stream no other look was taken at all of them."""
        for name in label_columns(self.current):
            shapes = list(dict.fromkeys(np.shape(row[name]) for row in rows))
            if len(shapes) > 1:
                first, other = (" by ".join(map(str, shape)) or "no list" for shape in shapes[:2])
                raise DataError(
                    f"datasets.{self.current.key}.columns.{name}: a batch has labels that are lists of {first} and of"
                    f" {other} numbers. Give every row as many."
                )

    def _refused(self, drawn: dict[str, Any], row: dict[str, Any], kept: dict[str, Any]) -> BadRow | None:
        """Return what is broken about a row of which the processor refuses an input, None if it takes all of them."""
        for column in self.current.columns:
            if column.role is Role.label:
                continue
            try:
                super().__call__([{column.name: row[column.name], **kept}])
            except Exception as error:
                if not concerns_input(error):
                    raise
                return bad_row(self.current, column, drawn, DataError(in_words(error)))
        return None

    def _resolve_prompts(self, batch: dict[str, Any]) -> Any:
        return self.prompts_of_role.get(self.current.key) or super()._resolve_prompts(batch)

    def _get_task_for_column(
        self, column_name: str, column_position: int, router_mapping: dict[str, str]
    ) -> str | None:
        if router_mapping:
            return super()._get_task_for_column(column_name, column_position, router_mapping)  # type: ignore[no-any-return]
        role = next(column.role for column in self.current.columns if column.name == column_name)
        return TASKS[role] if TASKS[role] in self.tasks else None

    def maybe_warn_about_column_order(self, column_names: list[str]) -> None:
        """Say nothing: roles, not names, decide the order."""


def _preprocess(preprocess: Callable[..., dict[str, Any]], inputs: list[Any], **options: Any) -> dict[str, Any]:
    clips = clip_options(inputs)
    return preprocess(inputs, **options, **({"processing_kwargs": clips} if clips else {}))


def label_columns(rows: RowSet) -> list[str]:
    """Return the name of the label column, in a list that is empty without one."""
    return [column.name for column in rows.with_role(Role.label)]


def routed_tasks(model: SentenceTransformer) -> list[str]:
    """Return the tasks that the model's routers have a route for.

    A router by modality has none, and refuses a task that it doesn't know.
    """
    routers = [module for module in model.children() if isinstance(module, Router)]
    known = {task for router in routers for task in (*router.sub_modules, *(key[0] for key in router.route_mappings))}
    return [task for task in dict.fromkeys(TASKS.values()) if task in known]


def build_collator(
    model: Any, args: Any, row_sets: Sequence[RowSet], prompts: Mapping[str, Mapping[str, str]], raw: RawPixels | None
) -> TypedCollator:
    """Return what makes batches of the rows of some sets, for a model with or without its weights.

    Args:
        model: the model.
        args: the trainer's.
        row_sets: the sets.
        prompts: dataset to column to prompt.
        raw: how pixels are handed over as bytes; None where they aren't.
    """
    return TypedCollator(
        preprocess_fn=Preprocessor(model, raw), router_mapping=args.router_mapping, prompts=args.prompts
    ).declare(row_sets, prompts, routed_tasks(model))


def raw_pixels_for(model: Any, row_sets: Sequence[RowSet]) -> RawPixels | None:
    """Return how the pixels of sets are handed over as bytes; None where they hold no images, or it can't be done."""
    looks = any(column.may_hold_images for rows in row_sets for column in rows.columns)
    return raw_pixels_of(model) if looks and runs_anywhere(model) else None
