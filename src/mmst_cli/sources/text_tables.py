"""Text files as tables of `datasets`: texts stay the texts that stand there, whatever they look like.

The library's own readers take 007 for 7, from row 10,000 on or from the first, 2021-03-01 for a time, NA for nothing,
and one column of two types makes them refuse all others.
"""

from __future__ import annotations

import zlib
from collections.abc import Container, Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from pathlib import PurePath
from typing import Any

import pyarrow as pa
from datasets import ArrowBasedBuilder, DatasetInfo, Features, SplitGenerator, Value
from datasets.builder import Key
from datasets.packaged_modules.folder_based_builder.folder_based_builder import FolderBasedBuilder
from datasets.table import table_cast

from mmst_cli.sources.declared_columns import DeclaredColumns
from mmst_cli.sources.text_rows import json_rows, separated_values
from mmst_cli.sources.text_types import CHUNK, Rows, Types, infer_types, to_table

_METADATA = {".csv": ",", ".jsonl": ""}  # ending to what separates the values
PEEKED = 1000  # rows of a stream that its types are inferred from


def read_rows(file: str, name: str, delimiter: str) -> Rows:
    """Yield the rows of a file of separated values, or of JSON where nothing separates them.

    Raises:
        ValueError: it can't be read to its end; the message names it.
    """
    try:
        yield from separated_values(file, delimiter, name) if delimiter else json_rows(file, name)
    except (ValueError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{PurePath(name).name}: {error}") from error


def _tables(file: str, name: str, delimiter: str, types: Types, unused: Container[str]) -> Iterator[pa.Table]:
    rows = read_rows(file, name, delimiter)
    for number, chunk in enumerate(iter(lambda: list(islice(rows, CHUNK)), [])):
        try:
            yield to_table(chunk, types, number * CHUNK, separated=bool(delimiter), unused=unused)
        except ValueError as error:
            raise ValueError(f"{PurePath(name).name}: {error}") from error


class TextTable(ArrowBasedBuilder):  # type: ignore[misc]
    """Rows of JSON or of separated values.

    Of a stream the types are those of its first rows; where another has something else, a column that isn't declared
    is empty.
    """

    declared = DeclaredColumns()
    documented: Mapping[str, Any] = {}
    """The features that the dataset itself says its columns have."""
    delimiter = ","
    """Between values; nothing for JSON."""

    def _info(self) -> DatasetInfo:
        return DatasetInfo()

    def _split_generators(self, dl_manager: Any) -> list[SplitGenerator]:
        splits, sources = [], []
        for split, names in self.config.data_files.items():
            files = dl_manager.download(list(names))
            sources += list(zip(files, names, strict=True))
            splits.append(SplitGenerator(split, gen_kwargs={"files": files, "names": list(names)}))
        rows = chain.from_iterable(read_rows(file, name, self.delimiter) for file, name in sources)
        texts = [name for name, feature in self.documented.items() if feature == Value("string")]
        declared = replace(self.declared, texts=(*self.declared.texts, *texts))
        peeked = islice(rows, PEEKED) if dl_manager.is_streaming else rows
        self._types = infer_types(peeked, declared, separated=bool(self.delimiter))
        self._unused = set(self._types) - set(declared.names) if dl_manager.is_streaming else set()
        features = Features.from_arrow_schema(pa.schema(self._types.items()))
        # What a number or a time is, the files say: the library may have guessed it.
        known = {n: f for n, f in self.documented.items() if n in features and not isinstance(f, Value)}
        self.info.features = Features({**features, **known})
        return splits

    def _generate_shards(self, files: list[str], names: list[str]) -> Iterator[str]:
        yield from names

    def _generate_tables(self, files: list[str], names: list[str]) -> Iterator[tuple[Key, pa.Table]]:
        for shard, (file, name) in enumerate(zip(files, names, strict=True)):
            for number, table in enumerate(_tables(file, name, self.delimiter, self._types, self._unused)):
                yield Key(shard, number), table_cast(table, self.info.features.arrow_schema)


class TextMetadata(FolderBasedBuilder):  # type: ignore[misc]
    """Reads `metadata.csv` and `metadata.jsonl` beside media as other text files are read, sorted by path."""

    declared = DeclaredColumns()

    def _split_generators(self, dl_manager: Any) -> list[SplitGenerator]:
        splits: list[SplitGenerator] = super()._split_generators(dl_manager)
        for split in splits:
            split.gen_kwargs["metadata_files"] = sorted(split.gen_kwargs["metadata_files"], key=str)
        return splits

    def _read_metadata(self, metadata_file: str, metadata_ext: str = "") -> Iterator[pa.Table]:
        if metadata_ext not in _METADATA:
            yield from super()._read_metadata(metadata_file, metadata_ext)
            return
        name, delimiter = f"metadata{metadata_ext}", _METADATA[metadata_ext]
        found = infer_types(read_rows(metadata_file, name, delimiter), self.declared, separated=bool(delimiter))
        # Beside other media the same columns may hold other values.
        unused = set() if self.declared.for_query else set(found) - set(self.declared.names)
        types = {
            column: pa.string() if kind == pa.json_() or (column in unused and pa.types.is_primitive(kind)) else kind
            for column, kind in found.items()
        }
        yield from _tables(metadata_file, name, delimiter, types, unused)
