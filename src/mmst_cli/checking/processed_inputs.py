"""What the model's processor makes of inputs: tokens, what is cut off, pixels before and after its bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mmst_cli.checking.checked_sets import CheckedSet, Numbers
from mmst_cli.checking.findings import EXAMPLES, Checked, Finding, counted
from mmst_cli.config.schema import Modality
from mmst_cli.media.input_errors import concerns_input
from mmst_cli.model.model_parts import encoders_of
from mmst_cli.model.prompts import TASKS
from mmst_cli.model.seen_media import pixels_of, token_counts
from mmst_cli.model.text_cutting import NO_LIMIT, without_limit
from mmst_cli.rows.columns import Column, as_input
from mmst_cli.sources.tables import choose_indices
from mmst_cli.vectors.forward_pass import prompt_of
from mmst_cli.vectors.refused_inputs import refused_of_many

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

TEXTS, MEDIA = 20_000, 32  # inputs of a column that are given to the processor at most
BATCH = 64  # texts at a time

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Processed:
    """What became of the inputs of a column that were given to the processor."""

    dataset: str
    column: str
    count: int
    """How many were given to it."""
    limit: int | None
    """Tokens of a text at most; None where the model has no such limit."""
    tokens: Values | None
    """After the limit; None where inputs don't become tokens that can be counted."""
    uncut: Values | None
    """Tokens that each would have without a limit."""
    rows: Numbers
    """Rows of the set."""
    pixels_before: Values | None = None
    pixels_after: Values | None = None
    refused: dict[int, str] = field(default_factory=dict)
    """Row of the set to why the processor refuses its input; these are not among ``rows``."""

    @property
    def cut(self) -> npt.NDArray[np.bool_]:
        """Which of them lose tokens."""
        if self.tokens is None or self.uncut is None:
            return np.zeros(self.count, dtype=bool)
        return self.uncut > self.tokens

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        found: dict[str, Any] = {"looked_at": self.count, "max_tokens": self.limit}
        if self.tokens is not None:
            found["tokens"] = quantiles(self.tokens)
            found["truncated"] = int(self.cut.sum())
        if self.pixels_before is not None and self.pixels_after is not None:
            found |= {"pixels": quantiles(self.pixels_before), "pixels_seen": quantiles(self.pixels_after)}
        return found


def quantiles(values: Values) -> dict[str, float]:
    """Return least, 5%, median, 95% and largest of the values that are known."""
    known = values[np.isfinite(values)]
    if not len(known):
        return {}
    levels = {"min": 0.0, "p5": 0.05, "median": 0.5, "p95": 0.95, "max": 1.0}
    return {name: float(np.quantile(known, level)) for name, level in levels.items()}


def process_columns(
    model: SentenceTransformer, checked: Checked, prompts: Mapping[str, Mapping[str, str]]
) -> list[Processed]:
    """Give a sample of every column to the processor: up to 20,000 texts and 32 of anything else.

    Args:
        model: the model; its weights need not be there.
        checked: what was examined; only what can be read is processed.
        prompts: training set to column to prompt; sets that are evaluated on have the model's own.
    """
    found = []
    for number in range(len(checked.sets)):
        for place, column in enumerate(checked.inputs(number)):
            rows = checked.examined_rows[number]
            places = checked.examined_of(number, place)[rows]
            rows = rows[[not checked.examined.error[i] for i in places]]
            at_most = TEXTS if column.modality is Modality.text else MEDIA
            rows = rows[choose_indices(len(rows), at_most, seed=0)]
            if len(rows):
                found.append(_process(_Prompted(model, prompts), checked, number, column, rows))
    return found


@dataclass(frozen=True)
class _Prompted:
    """A model's processor, which gets each input with its prompt: that takes some of the tokens there are."""

    model: SentenceTransformer
    prompts: Mapping[str, Mapping[str, str]]

    def options(self, checked_set: CheckedSet, column: Column) -> dict[str, str]:
        """Return the prompt of a column, as training or evaluation has it, as an argument for the processor."""
        if checked_set.is_training:
            prompt = self.prompts.get(checked_set.name, {}).get(column.name)
        else:
            prompt = prompt_of(self.model, TASKS.get(column.role), None, None)
        return {"prompt": prompt} if prompt else {}


def _process(prompted: _Prompted, checked: Checked, number: int, column: Column, rows: Numbers) -> Processed:
    model = prompted.model
    try:
        return _process_rows(prompted, checked, number, column, rows)
    except Exception as error:  # processors raise whatever they like
        if not concerns_input(error):
            raise
        whole = checked.sets[number].rows
        inputs = (as_input(whole.value_at(column, int(row)), column.modality) for row in rows)
        refused = refused_of_many(model, inputs, TASKS.get(column.role))
        if not refused:
            raise
    kept = rows[[place for place in range(len(rows)) if place not in refused]]
    where = (checked.sets[number].name, column.name, 0)
    found = (
        _process_rows(prompted, checked, number, column, kept)
        if len(kept)
        else Processed(*where, None, None, None, kept)
    )
    return replace(found, refused={int(rows[place]): reason for place, reason in refused.items()})


def _process_rows(prompted: _Prompted, checked: Checked, number: int, column: Column, rows: Numbers) -> Processed:
    model, checked_set = prompted.model, checked.sets[number]
    options = prompted.options(checked_set, column)
    values = (as_input(checked_set.rows.value_at(column, int(row)), column.modality) for row in rows)
    where = (checked_set.name, column.name, len(rows))
    if column.modality is Modality.text:
        return _process_texts(model, where, list(values), rows, options)
    if column.modality is Modality.image:
        encoder = encoders_of(model, Modality.image)[0]
        seen = [(value.width * value.height, encoder.preprocess([value], **options)) for value in values]
        counted_tokens = [token_counts(features, 1) for _, features in seen]
        before, after = ([area for area, _ in seen], [pixels_of(encoder, features) for _, features in seen])
        known = _joined(counted_tokens)
        return Processed(*where, None, known, None, rows, np.array(before, float), np.array(after, float))
    tokens = [_tokens_of(model, column.modality, [value], options) for value in values]
    return Processed(*where, None, _joined(tokens), None, rows)


def _process_texts(
    model: SentenceTransformer,
    where: tuple[str, str, int],
    texts: list[Any],
    rows: Numbers,
    options: Mapping[str, str],
) -> Processed:
    encoder = encoders_of(model, Modality.text)[0]
    limit = getattr(encoder, "max_seq_length", None)
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]["text"]))  # alike in a batch, little padding
    tokens = np.zeros(len(texts))
    for first in range(0, len(order), BATCH):
        batch = order[first : first + BATCH]
        made = _tokens_of(model, Modality.text, [texts[place] for place in batch], options)
        if made is None:
            return Processed(*where, None, None, None, rows)
        tokens[batch] = made
    uncut = tokens.copy()
    if limit is not None and limit < NO_LIMIT:
        with without_limit(encoder):
            for place in np.flatnonzero(tokens >= limit).tolist():
                found = _tokens_of(model, Modality.text, [texts[place]], options)
                uncut[place] = tokens[place] if found is None else found[0]
    return Processed(*where, limit, tokens, uncut, rows)


def _tokens_of(
    model: SentenceTransformer, modality: Modality, values: list[Any], options: Mapping[str, str]
) -> Values | None:
    """Return how many tokens each input has; None where the processor says nothing of it."""
    encoders = encoders_of(model, modality)
    return token_counts((encoders[0] if encoders else model).preprocess(values, **options), len(values))


def _joined(found: list[Values | None]) -> Values | None:
    known = [counts for counts in found if counts is not None]
    return np.concatenate(known) if len(known) == len(found) else None


def find_refused_inputs(checked: Checked, processed: list[Processed]) -> Iterator[Finding]:
    """Yield the columns of which the model's processor refuses inputs, among those that it was given."""
    for one in processed:
        if not one.refused:
            continue
        number = next(place for place, checked_set in enumerate(checked.sets) if checked_set.name == one.dataset)
        column = [declared.name for declared in checked.inputs(number)].index(one.column)
        count, of = len(one.refused), one.count + len(one.refused)
        yield Finding(
            "refused",
            one.dataset,
            one.column,
            count,
            of,
            f"{counted(count, 'input')} of {of:,} that were tried can be read, but the model doesn't take them.",
            "A run stops there, or leaves the row out with on_bad_row: skip. Change these inputs, or remove the rows.",
            [checked.example((number, column, row), note=why) for row, why in list(one.refused.items())[:EXAMPLES]],
            one.refused,
        )


def find_truncated(checked: Checked, processed: list[Processed]) -> Iterator[Finding]:
    """Yield the columns whose texts lose tokens to the model's limit."""
    for one in processed:
        cut = np.flatnonzero(one.cut)
        if not len(cut) or one.tokens is None or one.uncut is None:
            continue
        number = next(place for place, checked_set in enumerate(checked.sets) if checked_set.name == one.dataset)
        column = [declared.name for declared in checked.inputs(number)].index(one.column)
        lost = one.uncut - one.tokens
        worst = cut[np.argsort(-lost[cut], kind="stable")]
        yield Finding(
            "truncated",
            one.dataset,
            one.column,
            len(cut),
            one.count,
            f"{counted(len(cut), 'text')} are cut at {one.limit:,} tokens and lose"
            f" {np.median(lost[cut]):,.0f} in the middle, {lost.max():,.0f} at most.",
            "The model never sees what is cut off. Split these texts, or set model.processor.model_max_length.",
            [
                checked.example((number, column, one.rows[i]), note=f"{one.uncut[i]:,.0f} tokens")
                for i in worst[:EXAMPLES]
            ],
        )
