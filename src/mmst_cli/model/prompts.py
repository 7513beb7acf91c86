"""Prompts by role: in the model, for encode_query and encode_document and saved with it, and in training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from mmst_cli.config.schema import Config, Role
from mmst_cli.errors import ConfigError, ModelError, did_you_mean
from mmst_cli.rows.columns import RowSet

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

TASKS: dict[Role, Literal["query", "document"]] = {
    Role.anchor: "query",
    Role.positive: "document",
    Role.negative: "document",
}
"""Role to what sentence-transformers encodes its inputs as, which is also the name of their prompt."""


def check_prompt_name(model: SentenceTransformer, prompt_name: str | None, called: str) -> None:
    """Check that a model has the prompt that the command line names; None asks for none.

    Args:
        model: the model.
        prompt_name: what ``--prompt-name`` says.
        called: the model, for messages.

    Raises:
        ModelError: it has no such prompt.
    """
    if prompt_name is not None and prompt_name not in model.prompts:
        known = ", ".join(model.prompts) or "none"
        raise ModelError(
            f"--prompt-name {prompt_name}: no such prompt; {called} has {known}."
            + did_you_mean(prompt_name, model.prompts)
        )


def set_prompts(model: SentenceTransformer, prompts: Mapping[str, str]) -> None:
    """Give the model the prompts of a config: what ``encode_query`` and ``encode_document`` use from now on.

    Where a model takes messages, sentence-transformers hands a prompt over as a system message; elsewhere it
    stands before the text.

    Args:
        model: the model; changed in place.
        prompts: role (anchor, positive, negative) to prompt.

    Raises:
        ConfigError: a role that has no prompt, or positives and negatives with different ones.
    """
    named: dict[str, str] = {}
    for role, prompt in prompts.items():
        if role not in {str(known) for known in TASKS}:
            raise ConfigError(f"prompts.{role}: prompts are for {', '.join(TASKS)}. Name one of these.")
        name = TASKS[Role(role)]
        if named.setdefault(name, prompt) != prompt:
            raise ConfigError(
                f"prompts.{role}: found {prompt!r}, and another role of documents has {named[name]!r}. Positives and"
                " negatives are documents alike when the model is used, so give them the same prompt."
            )
    model.prompts.update(named)


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


def prompts_by_task(config: Config, rows: RowSet) -> dict[Literal["query", "document"], str]:
    """Return the prompts that a dataset has of its own, as those of its anchors and of its positives; none for others.

    The file's are the model's, and need no telling.
    """
    own = config.datasets[rows.key].prompts
    return {
        TASKS[column.role]: prompt
        for column in rows.with_role(Role.anchor, Role.positive)
        if (prompt := _prompt_for(column.role, own)) is not None
    }


def prompt_warning(config: Config, model: SentenceTransformer) -> str | None:
    """Return a warning where evaluation uses prompts of the model that training doesn't know of."""
    by_role = [config.prompts, *(dataset.prompts for dataset in config.datasets.values())]
    declared = {TASKS[Role(role)] for prompts in by_role for role in prompts}
    used = [f'{name} ("{model.prompts[name]}")' for name in dict.fromkeys(TASKS.values()) if model.prompts.get(name)]
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
