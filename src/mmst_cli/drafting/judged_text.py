"""A config of judged data in layout beir, which evaluates: from the tables in its folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mmst_cli.config.schema import DatasetConfig, Role, Use
from mmst_cli.drafting.column_contents import Contents
from mmst_cli.drafting.column_roles import Guess, may_be_input
from mmst_cli.drafting.drafted_text import column_line, head, in_yaml, line, model
from mmst_cli.drafting.seen_tables import see_table
from mmst_cli.drafting.starters import starter_for
from mmst_cli.errors import ConfigError
from mmst_cli.shell_words import quoted
from mmst_cli.sources.places import FILE_READERS

_TABLES = {"queries": Role.anchor, "corpus": Role.positive}
_SPLITS = ("test", "dev", "validation", "train")  # in the order in which one is chosen


def is_judged(folder: Path) -> bool:
    """Whether a folder holds a corpus and queries as BEIR lays them out."""
    return all(_file(folder, name) is not None for name in _TABLES)


def judged_text(data: str, folder: Path, output: Path) -> str:
    """Return a config that evaluates on a folder in layout beir.

    Raises:
        ConfigError: it can't be told which column holds the inputs, or there are no judgements.
        DataError: a table can't be read.
    """
    guesses = [_guess(data, folder, table, role) for table, role in _TABLES.items()]
    splits = sorted({file.stem for file in (folder / "qrels").glob("*") if file.suffix in (".tsv", *FILE_READERS)})
    if not splits:
        raise ConfigError(
            f"--from: {data}: it has a corpus and queries, but no judgements: qrels/test.tsv isn't there."
        )
    split = next((name for name in _SPLITS if name in splits), splits[0])
    others = ", ".join(name for name in splits if name != split)
    starter = starter_for({guess.contents.kind for guess in guesses})  # type: ignore[misc]
    if starter is None:
        raise ConfigError(f"--from: {data}: no built-in model takes what its queries and its corpus hold.")
    lines = [
        head(data, output, [f"mmst eval {quoted(output)}"]),
        "# Judgements are for evaluation. To train, add a dataset with `use: train` and pairs, and a loss.",
        model(starter),
        "datasets:",
        "  judged:",
        "    use: eval",
        line("    layout: beir", "guessed: by the files corpus, queries and qrels"),
        f"    path: {in_yaml(data)}",
        line(
            f"    split: {split}", f"guessed: the judgements in qrels/{split}" + (f"; also {others}" if others else "")
        ),
        "    columns:",
        *(column_line(guess, why=True) for guess in guesses),
        "",
        "evaluators:",
        "  judged:",
        line("    type: MatryoshkaRetrievalEvaluator", "queries: anchors; corpus: positives"),
        "    dataset: judged",
        "",
    ]
    return "\n".join(lines)


def _guess(data: str, folder: Path, table: str, role: Role) -> Guess:
    """Return the column of a table that holds its inputs, named with the table."""
    file = _file(folder, table)
    seen = see_table(DatasetConfig(use=Use.eval, path=str(file), columns={}), folder)
    inputs = [column for column in seen.columns if may_be_input(column, seen.looked_at)]
    chosen = [column for column in inputs if column.is_medium] or [c for c in inputs if c.name == "text"] or inputs
    if len({column.name for column in chosen} - {"title"}) != 1:
        found = ", ".join(f"{column.name} ({column.in_words})" for column in seen.columns)
        raise ConfigError(f"--from: {data}: it could not be told which column of {table} to embed among {found}.")
    column: Contents = next(column for column in chosen if column.name != "title")
    why = column.found or "texts"
    return Guess(replace(column, name=f"{table}/{column.name}"), role, f"{why}, of {table}")


def _file(folder: Path, name: str) -> Path | None:
    return next((file for ending in FILE_READERS if (file := folder / f"{name}{ending}").is_file()), None)
