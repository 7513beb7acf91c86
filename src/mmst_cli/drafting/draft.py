"""`mmst init --from`: a config drafted from data."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mmst_cli.config.rules import load_checked_config
from mmst_cli.config.schema import DatasetConfig, Modality, Role, Use
from mmst_cli.drafting.column_contents import Contents
from mmst_cli.drafting.column_roles import guess_roles
from mmst_cli.drafting.drafted_text import Draft, draft_text
from mmst_cli.drafting.judged_text import is_judged, judged_text
from mmst_cli.drafting.pair_labels import check_pairs
from mmst_cli.drafting.seen_tables import see_table
from mmst_cli.drafting.starters import starter_for
from mmst_cli.errors import ConfigError, visible
from mmst_cli.inputs.collection import LINES, MODALITY_OF
from mmst_cli.shell_words import quoted
from mmst_cli.sources.folder_walk import walk
from mmst_cli.sources.places import READERS, is_saved, local_path, media_folder, row_ending

_MEDIA = {
    Modality.image: "an image or a document",
    Modality.audio: "a recording",
    Modality.video: "a clip",
}
_METADATA = "metadata.csv with the columns file_name and caption"


@dataclass(frozen=True)
class Drafted:
    """A config, and the command to try it with."""

    text: str
    command: str


def run_draft(
    data: str,
    output: Path,
    named: Mapping[Role, str | None] | None = None,
    *,
    name: str | None = None,
    split: str | None = None,
) -> Drafted:
    """Return a config for data, with every guess in it marked.

    The first 100 rows are looked at: what their columns are called and what they hold.

    Args:
        data: a file, a pattern, a folder, an address or a hub id, as `datasets.X.path` of a config has it.
        output: where the config will be written.
        named: the columns that are the anchor and the positive, where the user says which.
        name: configuration of a hub dataset, or part of a built-in one.
        split: of the data; train if left out.

    Raises:
        ConfigError: something could not be told, or no config can be made of it.
        DataError: the data can't be read.
    """
    path = local_path(data)
    if path.is_file() and (named_kind := MODALITY_OF.get(path.suffix.lower())) is not None:
        raise ConfigError(
            f"--from: {data}: it is {_MEDIA[named_kind]}, and training takes pairs. Name a table (.csv, .jsonl or"
            " .parquet) with a column of the names of such files and one of texts that ask for them, or a folder with"
            f" {_METADATA}. `mmst encode` embeds it as it is."
        )
    if path.is_dir() and is_judged(path):
        options = {str(role): column for role, column in (named or {}).items()} | {"name": name, "split": split}
        if given := [option for option, value in options.items() if value is not None]:
            raise ConfigError(f"--{given[0]}: {data} is laid out as BEIR has it, with a table for each. Leave it out.")
        text = judged_text(data, path, output)
        _check(data, output, text, for_training=False)
        return Drafted(text, f"mmst eval {quoted(output)}")
    if path.is_dir():
        _refuse_bare_folder(data, path)
    section = DatasetConfig(use=Use.train, path=data, name=name, split=split or "train", columns={})
    folder = media_folder(section)
    seen = see_table(section, folder)
    if path.is_dir():
        _refuse_unread_table(data, path, seen.columns)
    _refuse_lost(data, seen.columns, folder)
    if seen.rows == 1:
        raise ConfigError(f"--from: {data}: it has one row. Training tells rows apart, so that it takes more.")
    guesses = check_pairs(data, section, guess_roles(seen.columns, seen.looked_at, data, named))
    inputs = {guess.contents.kind for guess in guesses.used if isinstance(guess.contents.kind, Modality)}
    starter = starter_for(inputs)
    if starter is None:
        raise ConfigError(
            f"--from: {data}: no built-in model takes {' and '.join(sorted(inputs))} together. Put one together by"
            " `model.routes`, as the config of `mmst init quickstart-routes` does."
        )
    text = draft_text(Draft(section, output, guesses, seen.rows, starter))
    _check(data, output, text, for_training=True)
    return Drafted(text, f"mmst train {quoted(output)} --dry-run")


def _refuse_lost(data: str, columns: list[Contents], folder: Path) -> None:
    """Raise where a column names media that aren't there, and no other one holds media of that kind."""
    for column in columns:
        there = [other for other in columns if other.kind is column.kind and other.lost is None]
        if column.lost is not None and not there:
            raise ConfigError(
                f"--from: {data}: column {column.name} names {visible(column.lost)}, which isn't in {folder}. Paths are"
                " relative to the folder of the file: move it, or write others."
            )


def _refuse_bare_folder(data: str, folder: Path) -> None:
    """Raise where a folder holds media and nothing that goes with them."""
    files = list(walk(folder))
    if is_saved(folder) or any(row_ending(file.name) in READERS for file in files):
        return
    media = [file for file in files if file.suffix.lower() in MODALITY_OF]
    captions = {file.with_suffix("") for file in files if file.suffix == LINES}
    if any(file.with_suffix("") in captions for file in media):
        raise ConfigError(f"--from: {data}: captions in {LINES} files beside media aren't read. Write {_METADATA}.")
    if media and len({file.parent for file in media}) == 1:
        raise ConfigError(
            f"--from: {data}: it holds media and nothing that asks for them, and training takes pairs. Write"
            f" {_METADATA} into it. `mmst encode` embeds it as it is."
        )


def _refuse_unread_table(data: str, folder: Path, columns: list[Contents]) -> None:
    """Raise where a folder is read as media alone, beside a table that isn't called as its readers want it."""
    tables = [file for file in walk(folder) if row_ending(file.name) in READERS]
    if tables and len(columns) == 1 and isinstance(columns[0].kind, Modality) and columns[0].kind != Modality.text:
        raise ConfigError(
            f"--from: {data}: it is read as {columns[0].in_words} alone, without {visible(tables[0])}. Name that table:"
            f" `--from {quoted(tables[0])}`."
        )


def _check(data: str, output: Path, text: str, *, for_training: bool) -> None:
    """Raise where a draft breaks a rule of configs."""
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / output.name
        draft.write_text(text, encoding="utf-8")
        try:
            load_checked_config(draft, for_training=for_training)
        except ConfigError as error:
            faults = [fault for fault in error.faults if not fault.startswith("datasets.eval.columns")]  # as of train
            raise ConfigError(*(f"--from: {data}: in the config that was drafted, {f}" for f in faults)) from error
