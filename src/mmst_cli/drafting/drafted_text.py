"""A config as text, each guess in it marked."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mmst_cli.config.load import as_yaml
from mmst_cli.config.rules_mining import MINED_SCORES
from mmst_cli.config.schema import DatasetConfig, Role
from mmst_cli.config.schema_file import MODELINE
from mmst_cli.drafting.column_contents import Contents
from mmst_cli.drafting.column_roles import Guess, Guesses, negatives_a_row
from mmst_cli.drafting.starters import Starter
from mmst_cli.shell_words import quoted

_COLUMN = 43  # where comments begin
_HELD_BACK = 100  # rows from which on a tenth is held back
_JUDGED = 1000  # rows that are evaluated on
_LARGEST_BATCH = 32
HIDDEN = 8  # columns that aren't used and are named


@dataclass(frozen=True)
class Draft:
    """What a config is written of."""

    data: DatasetConfig
    """Where the rows are."""
    output: Path
    guesses: Guesses
    rows: int | None
    """Of the data; None where only reading would tell."""
    starter: Starter

    @property
    def is_judged(self) -> bool:
        """Whether there are rows enough to hold some back for the evaluation."""
        whole = "[" not in self.data.split and "+" not in self.data.split
        return whole and (self.rows is None or self.rows >= _HELD_BACK) and bool(self.guesses.with_role(Role.positive))

    @property
    def batch_size(self) -> int:
        """Rows of a batch: at least two batches an epoch."""
        rows = (self.rows or 2 * _LARGEST_BATCH) * (0.9 if self.is_judged else 1)
        return min(_LARGEST_BATCH, max(2, int(rows) // 2))

    @property
    def has_label(self) -> bool:
        """Whether one column is a label: a class, or how well a pair belongs together."""
        return bool(self.guesses.with_role(Role.label)) and self.scores is None

    @property
    def scores(self) -> Guess | None:
        """The lists of a teacher's scores, which negatives stand beside."""
        return next((guess for guess in self.guesses.with_role(Role.label) if guess.contents.numbers), None)

    @property
    def scores_are_margins(self) -> bool:
        """Whether they say of each negative what the positive has more, rather than of each document what it has."""
        count = negatives_a_row(self.guesses.with_role(Role.negative))
        return self.scores is not None and self.scores.contents.numbers == (count, count)


def draft_text(draft: Draft) -> str:
    """Return the config."""
    at = quoted(draft.output)
    commands = (f"mmst train {at} --dry-run", f"mmst check {at}", f"mmst train {at}")
    parts = [head(draft.data.path, draft.output, commands), model(draft.starter), _datasets(draft), _loss(draft)]
    if draft.is_judged:
        parts.append(_evaluators(draft))
    return "\n".join([*parts, _training(draft)])


def head(data: str, output: Path, commands: Iterable[str]) -> str:
    """Return what a drafted config begins with.

    Args:
        data: what it was drafted from.
        output: where it will be.
        commands: what to do with it.
    """
    said = f"# Drafted from {one_line(data)} by `mmst init --from`. What was guessed is marked: look at it first."
    named = [f"run_name: {in_yaml(output.stem)}", "output_dir: runs/${run_name}", ""]
    return "\n".join([MODELINE, said, *(f"#   {command}" for command in commands), *named])


def model(starter: Starter) -> str:
    """Return the `model` of a drafted config, and what goes with it."""
    takes = ", ".join(sorted(starter.takes))
    lines = [
        "model:",
        line(f"  name_or_path: {starter.builtin}", f"guessed: takes {takes}. Random weights, for a first try;"),
        line("", f"take a trained one to learn in earnest, such as {starter.trained}"),
    ]
    return "\n".join([*lines, *starter.settings.splitlines(), ""])


def _datasets(draft: Draft) -> str:
    split = draft.data.split
    lines = ["datasets:", *_section(draft, "train", f"{split}[:90%]" if draft.is_judged else split)]
    if draft.is_judged:
        lines += _section(draft, "eval", f"{split}[90%:]")
    elif draft.guesses.with_role(Role.positive):
        lines += [
            f"  # Of fewer than {_HELD_BACK} rows none is held back to evaluate on. Add a dataset with `use: eval`",
            "  # and an evaluator that reads it, as the config of `mmst init quickstart` has them.",
        ]
    return "\n".join([*lines, ""])


def _section(draft: Draft, use: str, split: str) -> Iterable[str]:
    shown = split if draft.data.split.isidentifier() else in_yaml(split)
    yield f"  {use}:"
    yield f"    use: {use}"
    yield f"    path: {in_yaml(draft.data.path)}"
    if draft.data.name is not None:
        yield f"    name: {in_yaml(draft.data.name)}"
    if draft.is_judged and use == "train":
        yield line(f"    split: {shown}", "guessed: the last tenth is held back for the evaluation; better are rows")
        yield line("", "of their own, which share no document with these")
    elif split != "train":
        yield f"    split: {shown}"
    if use == "eval" and (draft.rows is None or draft.rows > 10 * _JUDGED):
        yield line(f"    max_rows: {_JUDGED}", "at most so many of these, drawn at random")
    if any(guess.contents.urls for guess in draft.guesses.used):
        yield line("    allow_urls: true", "guessed: media are given as addresses, which are fetched")
    if use == "train":
        yield from _left_out(draft.guesses.left)
    yield "    columns:"
    used = [guess for guess in draft.guesses.used if use == "train" or guess is not draft.scores]
    yield from (column_line(guess, why=use == "train") for guess in used)
    if use == "train" and any(guess.contents.documents for guess in draft.guesses.used):
        yield "    # Every page of a file becomes a row, with all else of its row. Where one page alone belongs"
        yield "    # to a row, write it in the table as manual.pdf#3 for the third, and leave `pages: all` out."


def _left_out(columns: list[Contents]) -> Iterable[str]:
    if columns:
        named = ", ".join(f"{column.name} ({column.in_words})" for column in columns[:HIDDEN])
        more = f" and {len(columns) - HIDDEN} more" if len(columns) > HIDDEN else ""
        yield f"    # guessed: not used are {one_line(named)}{more}"
    if scores := next((column.name for column in columns if column.name in MINED_SCORES), None):
        yield f"    # {one_line(scores)} would be {{role: label}} for DistillKLDivLoss, if they are a teacher's"


def column_line(guess: Guess, *, why: bool) -> str:
    """Return the line of a column, with why it is taken for that if wanted."""
    column = guess.contents
    fields = [f"role: {guess.role}"]
    if guess.role is not Role.label:
        fields.append(f"modality: {column.kind}")
    if column.documents:
        fields.append("pages: all")
    if guess.take is not None:
        fields.append(f"take: {guess.take}" + (", fill: sample" if guess.fill else ""))
    found = "" if column.found in guess.why else f"; {column.found}"
    taken = f"; of lists of {column.lists[0]} to {column.lists[1]}" if column.lists and guess.take is not None else ""
    taken += ", an empty one filled with a document of another row" if guess.fill else ""
    declared = f"      {key_in_yaml(column.name)}: {{{', '.join(fields)}}}"
    comment = f"{guess.why}{found}{taken}" if guess.told else f"guessed: {guess.why}{found}{taken}"
    return line(declared, comment) if why else declared


def _loss(draft: Draft) -> str:
    if not draft.guesses.with_role(Role.positive):
        name, why = "BatchAllTripletLoss", "one input and the number of its class"
    elif draft.scores is not None:
        return _distillation(draft, draft.scores)
    elif draft.has_label:
        name, why = "CoSENTLoss", "pairs and a number that says how well they belong together"
    else:
        name, why = "CachedMultipleNegativesRankingLoss", "no label: the other rows of a batch are the wrong answers"
    lines = ["loss:", line(f"  - type: {name}", f"guessed: {why}")]
    if name.startswith("Cached") and draft.starter.normalises_batches:
        size = f"    args: {{mini_batch_size: {draft.batch_size}}}"
        lines.append(line(size, "the whole batch: the model holds BatchNorm, which sees one mini-batch at a time"))
    elif name.startswith("Cached"):
        lines.append(line("    args: {mini_batch_size: auto}", "rows at a time: as many as fit into a GPU's memory"))
    return "\n".join([*lines, ""])


def _distillation(draft: Draft, scores: Guess) -> str:
    """Return the loss that learns a teacher's scores, and how to train without them."""
    if draft.scores_are_margins:
        name, why = "MarginMSELoss", "what the positive scores more than each negative, by a teacher"
    else:
        name, why = "DistillKLDivLoss", "a score for each document of the row, by a teacher"
    lines = ["loss:", line(f"  - type: {name}", f"guessed: {why}")]
    if not draft.scores_are_margins:
        teacher = "0.05" if scores.contents.largest <= 1 else "1.0"
        kind = "similarities up to 1" if scores.contents.largest <= 1 else "raw scores of a reranker"
        lines.append(
            line(
                f"    args: {{student_temperature: 0.05, teacher_temperature: {teacher}}}",
                f"guessed: the teacher's are {kind}",
            )
        )
    without = f"  # CachedMultipleNegativesRankingLoss takes them without the column {one_line(scores.contents.name)}."
    return "\n".join([*lines, without, ""])


def _evaluators(draft: Draft) -> str:
    kind = "EmbeddingSimilarityEvaluator" if draft.has_label else "MatryoshkaRetrievalEvaluator"
    said = "" if draft.has_label else "queries: anchors; corpus: positives, then negatives"
    return "\n".join(["evaluators:", "  held-back:", line(f"    type: {kind}", said), "    dataset: eval", ""])


def _training(draft: Draft) -> str:
    ranked = not draft.has_label and draft.scores is None
    lines = [
        line("training:", "SentenceTransformerTrainingArguments, under their own names"),
        "  num_train_epochs: 1",
        line(
            f"  per_device_train_batch_size: {draft.batch_size}",
            "each row learns from all others of it" if ranked else "",
        ),
        line("  learning_rate: 1e-3", "for a model that starts from nothing; 2e-5 for a trained one"),
        "  warmup_steps: 0.05",
    ]
    if ranked:
        lines.append(line("  batch_sampler: no_duplicates", "a row that is there twice would be its own wrong answer"))
    elif draft.has_label and not draft.guesses.with_role(Role.positive):
        lines.append(line("  batch_sampler: group_by_label", "every batch holds several rows of a class"))
    lines += ["  eval_strategy: steps", "  eval_steps: 0.25"] if draft.is_judged else []
    lines += [
        "  save_strategy: steps",
        "  save_steps: 0.25",
        "  save_total_limit: 2",
        "  logging_steps: 0.05",
        "  seed: 42",
    ]
    return "\n".join([*lines, ""])


def line(declared: str, comment: str) -> str:
    """Return a line with a comment behind it, all of it on one line, whatever the names in it hold."""
    return f"{declared:<{_COLUMN - 2}}  # {one_line(comment)}" if comment else declared


def in_yaml(text: str) -> str:
    """Return a text as it stands for itself in YAML, on one line."""
    return as_yaml(text) if text.isprintable() else json.dumps(text)


def key_in_yaml(name: str) -> str:
    """Return a key as it stands for itself; other than in values, `${` is nothing special there."""
    return in_yaml(name) if "${" not in name else json.dumps(name)


def one_line(comment: str) -> str:
    """Return a comment without line breaks, behind which a name of the data would be read as keys."""
    return " ".join("".join(c if c.isprintable() else " " for c in comment).split())
