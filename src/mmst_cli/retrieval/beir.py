"""Layout beir: a corpus, queries and judgements (qrels), found as files in a folder or as configurations.

The layout is that of BEIR (https://github.com/beir-cellar/beir) and of its copies on the hub.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmst_cli.config.schema import ColumnConfig, DatasetConfig, Role
from mmst_cli.errors import DataError, did_you_mean
from mmst_cli.retrieval.qrels import CORPUS_IDS, OWN_IDS, QUERY_IDS, TITLE, Table
from mmst_cli.sources.library_builders import NoConfigurationError, mendable
from mmst_cli.sources.places import FILE_READERS, media_folder, names_a_local_path
from mmst_cli.sources.saved_datasets import slice_splits
from mmst_cli.sources.tables import load_rows
from mmst_cli.storage import expand_home

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Tables:
    """The three tables of a dataset in layout beir."""

    queries: Table
    corpus: Table
    qrels: Table


def load_tables(key: str, section: DatasetConfig) -> Tables:
    """Load queries, corpus and qrels, all columns of them.

    Raises:
        DataError: one isn't there or can't be read, or qrels have no such split.
    """
    path = expand_home(section.path)
    section = section.model_copy(update={"max_rows": None})
    if path.is_file() or (not path.is_dir() and names_a_local_path(section.path)):
        found = "a file" if path.is_file() else "nothing there"
        raise DataError(f"datasets.{key}.path: {section.path}: layout beir reads a folder or a hub id, found {found}.")
    if path.is_dir() and any(_files(path, "corpus")):
        queries, corpus = _load_file(key, section, path, "queries"), _load_file(key, section, path, "corpus")
        return Tables(queries, corpus, _load_qrels_file(key, section, path))
    return _load_configurations(key, section)


def _files(folder: Path, name: str, suffixes: Iterable[str] = FILE_READERS) -> list[Path]:
    return [file for suffix in suffixes if (file := folder / f"{name}{suffix}").is_file()]


def _load_file(key: str, section: DatasetConfig, folder: Path, name: str) -> Table:
    files = _files(folder, name)
    if not files:
        raise DataError(f"datasets.{key}.path: {section.path} has corpus files, but no {name}.jsonl, .parquet or .csv.")
    return Table(files[0].name, _load_rows_of(key, section, files[0]), folder.absolute())


def _load_qrels_file(key: str, section: DatasetConfig, folder: Path) -> Table:
    split = section.split.partition("[")[0]
    suffixes = (".tsv", ".csv", *FILE_READERS)
    files = _files(folder / "qrels", split, dict.fromkeys(suffixes))
    if not files:
        known = sorted({file.stem for file in (folder / "qrels").glob("*") if file.suffix in suffixes})
        if not known:
            raise DataError(f"datasets.{key}.path: {section.path} has corpus files, but no qrels/{split}.tsv.")
        there = ", ".join(known)
        raise DataError(f"datasets.{key}.split: {section.split}: qrels has {there}.{did_you_mean(split, known)}")
    rows = slice_splits(f"datasets.{key}.split", section.split, {split: _load_rows_of(key, section, files[0])})
    return Table(f"qrels/{files[0].name}", rows, folder.absolute())


def _load_rows_of(key: str, section: DatasetConfig, file: Path) -> Dataset:
    """Return the rows of a file whose ids are texts as they stand there: 7 and 007 are two."""
    declared = {name.rpartition("/")[2]: column for name, column in section.columns.items()}
    texts = dict.fromkeys((*OWN_IDS, *QUERY_IDS, *CORPUS_IDS, TITLE), ColumnConfig(role=Role.anchor))
    fields = {"path": str(file.absolute()), "split": "train", "columns": {**declared, **texts}}
    return load_rows(key, section.model_copy(update=fields))


def _load_configurations(key: str, section: DatasetConfig) -> Tables:
    try:
        queries, corpus = (
            _load_configuration(key, section, name, _split_of(key, section.model_copy(update={"name": name})))
            for name in ("queries", "corpus")
        )
    except NoConfigurationError as error:
        raise DataError(
            f"datasets.{key}.path: {section.path} has neither the files queries.jsonl and corpus.jsonl nor"
            f" configurations of these names; its configurations are {', '.join(error.known)}."
        ) from error
    return Tables(queries, corpus, _load_qrels_configuration(key, section))


def _load_qrels_configuration(key: str, section: DatasetConfig) -> Table:
    known: list[str] = []
    for name in ("qrels", "default"):
        try:
            return _load_configuration(key, section, name, section.split)
        except NoConfigurationError as error:
            known = error.known
    if expand_home(section.path).is_dir():
        raise DataError(
            f"datasets.{key}.path: {section.path} has neither a configuration qrels nor one called default;"
            f" its configurations are {', '.join(known)}."
        )
    beside = f"{section.path}-qrels"  # where BEIR's own copies on the hub have them
    return Table(
        beside, load_rows(key, section.model_copy(update={"path": beside, "revision": None})), media_folder(section)
    )


def _load_configuration(key: str, section: DatasetConfig, name: str, split: str) -> Table:
    rows = load_rows(key, section.model_copy(update={"name": name, "split": split}))
    return Table(f"configuration {name}", rows, media_folder(section))


def _split_of(key: str, section: DatasetConfig) -> str:
    """Return the split of queries or corpus: of that name, that of the qrels, or the only one."""
    from datasets import get_dataset_split_names

    with mendable(f"datasets.{key}", section):
        known: list[str] = get_dataset_split_names(section.path, section.name, revision=section.revision)
    for split in (section.name, section.split.partition("[")[0]):
        if split in known:
            return str(split)
    if len(known) > 1:
        raise DataError(
            f"datasets.{key}.split: {section.split}: configuration {section.name} has {', '.join(known)}, and none is"
            f" called {section.name} or {section.split}."
        )
    return known[0]
