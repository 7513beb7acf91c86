"""Prompts by role in training, as evaluation and the saved model have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mmst_cli.config.schema import Config, Role
from mmst_cli.model.prompts import NAMES
from mmst_cli.rows.columns import RowSet

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def column_prompts(config: Config, rows: Mapping[str, RowSet]) -> dict[str, dict[str, str]]:
    """Return dataset to column to prompt: the dataset's own by role, else the file's; none for a label."""
    return {
        key: {
            column.name: prompt
            for column in data.columns
            if (prompt := _prompt_for(column.role, config.datasets[key].prompts, config.prompts)) is not None
        }
        for key, data in rows.items()
    }


def prompt_warning(config: Config, model: SentenceTransformer) -> str | None:
    """Return a warning where evaluation uses prompts of the model that training doesn't know of."""
    by_role = [config.prompts, *(dataset.prompts for dataset in config.datasets.values())]
    declared = {NAMES[Role(role)] for prompts in by_role for role in prompts}
    used = [f'{name} ("{model.prompts[name]}")' for name in dict.fromkeys(NAMES.values()) if model.prompts.get(name)]
    unknown = [entry for entry in used if entry.split()[0] not in declared]
    if not unknown or config.training.get("prompts"):
        return None
    return (
        f"the model has prompts for {' and '.join(unknown)}; evaluation uses them and training doesn't."
        " Set prompts: to train with them."
    )


def _prompt_for(role: Role, *by_role: Mapping[str, str]) -> str | None:
    """Return the first prompt for a role; negatives are documents as positives are, and share their prompt."""
    roles = (Role.negative, Role.positive) if role is Role.negative else (role,)
    return next((prompts[name] for prompts in by_role for name in roles if name in prompts), None)
