"""The file that `mmst mine` writes: the source's rows with columns of negatives, ready to train on."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import pyarrow.parquet as pq

from mmst_cli.config.schema import Modality, Role
from mmst_cli.errors import DataError, WorkError
from mmst_cli.mining.media_cells import MediaCells
from mmst_cli.mining.mined_columns import new_columns
from mmst_cli.mining.negative_search import Found
from mmst_cli.mining.output_places import Places
from mmst_cli.rows.cells import holds_lists
from mmst_cli.rows.columns import ROW, Column, RowSet, entry_of
from mmst_cli.rows.shapes import drawn_from
from mmst_cli.sources.tables import leave_undecoded

ROWS_PER_GROUP, EMBEDDED_PER_GROUP = 1_000, 100
_KINDS = {"Image": Modality.image, "Pdf": Modality.image, "Audio": Modality.audio, "Video": Modality.video}


class Output:
    """Writes the rows that were kept.

    Args:
        source: all columns of the source, each row once, in the order of the numbers that ``rows`` has for them.
        rows: what was mined in.
        found: what was mined.
        places: where to write.
        embed: put media into the cells.
    """

    def __init__(self, source: Any, rows: RowSet, found: Found, places: Places, *, embed: bool) -> None:
        self.rows, self.found, self.places, self.embed = rows, found, places, embed
        self.features = dict(source.features)
        self.source = leave_undecoded(source, list(source.column_names))
        self.cells = MediaCells(places.output.parent, places.media, rows.reader, embed=embed)
        self.positive = rows.with_role(Role.positive)[0]
        self.added = new_columns(source.column_names, self.positive, found.negatives.shape[1])
        self._selected: dict[tuple[str, ...], Any] = {}
        self.modality_of = {**_by_feature(self.features), **_declared(rows.columns)}

    def write(self, job: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Write the file, under another name until it is whole, with what it came from and what was found.

        Raises:
            WorkError: a medium can't be read.
        """
        from datasets import Dataset

        features = self._features()
        schema = features.arrow_schema
        partial = self.places.work / self.places.output.name
        try:
            with pq.ParquetWriter(partial, schema) as file:
                for group in self._groups():
                    columns = {name: [row[name] for row in group] for name in features}
                    table = Dataset.from_dict(columns, features=features).with_format("arrow")[:]
                    file.write_table(table.cast(schema))
                file.add_key_value_metadata({self.places.key: json.dumps({"job": job, "facts": facts})})
        except DataError as error:
            raise WorkError(str(error)) from error
        partial.replace(self.places.output)

    def _features(self) -> Any:
        from datasets import Features, List, Value

        turned = {name: self._feature(name) for name in self.source.column_names}
        for sources in self.added.negatives.values():
            turned |= {new: copy.deepcopy(turned[source]) for source, new in sources.items()}
        return Features({**turned, self.added.scores: List(Value("float32"))})

    def _feature(self, name: str) -> Any:
        feature, modality = self.features[name], self.modality_of.get(name, Modality.text)
        if name == self.rows.listed and holds_lists(feature, modality):
            feature = feature.feature
        return self.cells.feature(feature, modality) if modality is not Modality.text else feature

    def _groups(self) -> Iterator[list[dict[str, Any]]]:
        step = EMBEDDED_PER_GROUP if self.embed else ROWS_PER_GROUP
        for start in range(0, len(self.found.kept), step):
            yield [self._row(index) for index in range(start, min(start + step, len(self.found.kept)))]

    def _row(self, index: int) -> dict[str, Any]:
        row = self._read(int(self.found.kept[index]), list(self.source.column_names))
        for sources, number in zip(self.added.negatives.values(), self.found.negatives[index].tolist(), strict=True):
            cells = self._read(number, list(sources))
            row |= {new: cells[source] for source, new in sources.items()}
        return {**row, self.added.scores: self.found.scores[index].tolist()}

    def _read(self, drawn: int, names: list[str]) -> dict[str, Any]:
        """Return cells of the source row that a drawn one means, as they are written."""
        number, entry = self._origin[0][drawn], self._origin[1][drawn]
        found: dict[str, Any] = self._narrow(tuple(names))[number]
        if self.rows.listed in found:
            found[self.rows.listed] = self._entry(found[self.rows.listed], entry)
        return {name: self._turn(name, cell) for name, cell in found.items()}

    def _entry(self, cell: Any, entry: int) -> Any:
        """Return one entry of a list; one page of a document in the form that the cell has."""
        one = entry_of(cell, entry)
        return {"bytes": None, "path": one} if isinstance(cell, dict) and isinstance(one, str) else one

    def _turn(self, name: str, cell: Any) -> Any:
        modality = self.modality_of.get(name, Modality.text)
        return cell if modality is Modality.text else self.cells.cell(modality, cell)

    @cached_property
    def _origin(self) -> tuple[list[int], list[int]]:
        """The source row, and which entry of it, that each drawn row means."""
        places, entries = drawn_from(self.rows)
        numbers = list(self.rows.source[ROW])
        return [numbers[place] for place in places.tolist()], entries.tolist()

    def _narrow(self, names: tuple[str, ...]) -> Any:
        if names not in self._selected:
            self._selected[names] = self.source.select_columns(list(names))
        return self._selected[names]


def _declared(columns: Sequence[Column]) -> dict[str, Modality]:
    """Return what the stored columns hold, by the declaration."""
    found: dict[str, Modality] = {}
    for column in columns:
        found |= {source: modality for modality, source in column.parts}
        for message in column.message:
            found |= {name: Modality(kind) for kind, name in message.content if kind != "text"}
        if not column.parts and not column.message and column.role is not Role.label:
            found[column.sources[0]] = column.modality
    return found


def _by_feature(features: Mapping[str, Any]) -> dict[str, Modality]:
    """Return the columns that the source itself says are media, which a new file would otherwise copy."""
    return {name: _KINDS[kind] for name, feature in features.items() if (kind := type(feature).__name__) in _KINDS}
