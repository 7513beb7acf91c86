"""From drawn rows to a batch: read as declared, with the prompt and the route of each column's role."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from sentence_transformers.base.modules import Router
from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator

from mmst_cli.config.schema import OnBadRow, Role
from mmst_cli.media.message import clip_options
from mmst_cli.rows.bad_rows import BadRow
from mmst_cli.rows.columns import RowSet
from mmst_cli.rows.skipping import try_read
from mmst_cli.training.dead_run import drawn_rows

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

NAME = "dataset_name"
"""Under this key ST's trainer looks for the set that a row is of, to choose the loss."""
BAD_ROWS = "mmst_bad_rows"
"""Under this key a batch carries the broken rows that were left out of it, from the worker that found them."""
DRAWN_ROWS = "mmst_drawn_rows"
"""Under this key a batch carries what finds its rows again: see :mod:`mmst_cli.training.dead_run`."""

_TASKS = {Role.anchor: "query", Role.positive: "document", Role.negative: "document"}


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
            batch: dict[str, Any] = super().__call__([{**self.current.read(row), **kept} for row in features])
            return {**batch, **added}
        read = [try_read(self.current, row) for row in features]
        bad = [row for row in read if isinstance(row, BadRow)]
        batch = super().__call__([{**row, **kept} for row in read if not isinstance(row, BadRow)])
        return {**batch, **added, **({BAD_ROWS: bad} if bad else {})}

    def _resolve_prompts(self, batch: dict[str, Any]) -> Any:
        return self.prompts_of_role.get(self.current.key) or super()._resolve_prompts(batch)

    def _get_task_for_column(
        self, column_name: str, column_position: int, router_mapping: dict[str, str]
    ) -> str | None:
        if router_mapping:
            return super()._get_task_for_column(column_name, column_position, router_mapping)  # type: ignore[no-any-return]
        role = next(column.role for column in self.current.columns if column.name == column_name)
        return _TASKS[role] if _TASKS[role] in self.tasks else None

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
    return [task for task in dict.fromkeys(_TASKS.values()) if task in known]
