"""Looks at real rows before training, so that a broken one is named before a GPU-hour is spent.

Every row gets a look that costs microseconds (is a value there, is the file there, does it begin and end as its
format does); the first, the last and a seeded sample are decoded in full, and so is everything that looks broken.
"""

from __future__ import annotations

import random
from itertools import islice
from typing import TYPE_CHECKING

from mmst_cli.config.schema import Modality, Role
from mmst_cli.errors import ColumnError, DataError
from mmst_cli.media.content import show
from mmst_cli.rows.cells import SEVERAL, fits, is_text, label_kind, stored_type
from mmst_cli.rows.columns import ROW, Column, RowSet
from mmst_cli.rows.labels import check_lengths
from mmst_cli.rows.media_checks import find_broken
from mmst_cli.rows.shapes import has_lists
from mmst_cli.rows.stored_cells import column_chunks, empty_cells, place_of, rows_with_unusable_labels

if TYPE_CHECKING:
    from datasets import Dataset

SAMPLE = 30  # rows decoded in full, besides the first and the last


def check_types(rows: RowSet, *, lists: bool) -> None:
    """Check that what is stored can be what is declared.

    Args:
        rows: the rows.
        lists: whether cells may be lists of inputs, to be opened later.

    Raises:
        DataError: it can't; the message names the column.
    """
    for column in rows.columns:
        source = column.sources[0]
        if column.role is Role.label and label_kind(rows.rows.features[source]) is None:
            row, found = _first_no_number(rows, source)
            raise ColumnError(
                f"{place_of(rows, row, column.name)}: a label is a number, or a list of numbers where a"
                f" loss takes a teacher's scores or vectors; found {found}."
            )
        for modality, source in media_and_texts(column):
            _check_type(rows, column, modality, source)
        if not lists and has_lists(rows, column):
            raise DataError(
                f"datasets.{rows.key}.columns.{column.name}: the cells are lists of inputs, which a stream and layout"
                " beir don't have. Write one input a row, or read rows without streaming."
            )


def _first_no_number(rows: RowSet, source: str) -> tuple[int, str]:
    """Return the first row of a column of texts, or of values of several kinds, in which no number stands, and what."""
    found = stored_type(rows.rows, source)
    if not rows.is_stream and (is_text(rows.rows.features[source]) or found == SEVERAL):
        for start, chunk in column_chunks(rows.rows, source):
            for index, cell in enumerate(chunk.to_pylist()):
                if cell is not None and not is_number(cell):
                    return start + index, f"{show(cell)}, in a column of {found}"
    return 0, found


def is_number(text: str) -> bool:
    """Say whether a text is read as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def check_inputs(rows: RowSet, seed: int) -> None:
    """Check that every row has what it needs, and read the rows that look broken and a sample of the others.

    Raises:
        DataError: the message names row and column.
    """
    chosen = set(sample_rows(len(rows), seed))
    looked_at: dict[tuple[Modality, str], set[int]] = {}
    for column in rows.columns:
        _check_nothing_missing(rows, column)
        sources = media_and_texts(column)
        for modality, source in sources:
            if (modality, source) not in looked_at:
                looked_at[modality, source] = find_broken(rows, source, modality)
        if column.role is Role.label:
            check_lengths(rows, column)
            for row in sorted(rows_drawn_of(rows, rows_with_unusable_labels(rows.source, column.sources[0])))[:1]:
                rows.value_at(column, row)  # says which it is
            continue
        broken = rows_drawn_of(rows, {row for source in sources for row in looked_at[source]})
        for row in sorted(broken | (chosen if column.modalities != (Modality.text,) else set())):
            try:
                rows.value_at(column, row)
            except DataError as error:
                what = "Write one" if column.modalities == (Modality.text,) else "Replace the file"
                advice = f" {what}, or remove the row." if row in broken else ""
                raise DataError(f"{error}{advice}") from error


def check_stream(rows: RowSet) -> None:
    """Read the first rows of a stream.

    Raises:
        DataError: one can't be read, or there is none.
    """
    seen = False
    for row in islice(iter(rows.rows), SAMPLE):
        seen = True
        rows.read(row)
    if not seen:
        raise DataError(f"datasets.{rows.key}.path: the stream holds no rows.")


def sample_rows(count: int, seed: int) -> list[int]:
    """Return the first, the last and a seeded sample of the row numbers below ``count``, ascending."""
    chosen = random.Random(seed).sample(range(count), min(SAMPLE, count))
    return sorted({0, count - 1, *chosen})


def media_and_texts(column: Column) -> list[tuple[Modality, str]]:
    """Return (modality, stored column) of what a column is read from, but for labels and what fills up texts."""
    if column.role is Role.label:
        return []
    if column.message:
        content = [part for message in column.message for part in message.content]
        return [(Modality(kind), source) for kind, source in content if kind != "text"]
    return list(column.parts) or [(column.modality, column.sources[0])]


def _check_type(rows: RowSet, column: Column, modality: Modality, source: str) -> None:
    feature = rows.rows.features[source]
    if fits(feature.feature if has_lists(rows, column) else feature, modality):
        return
    found = stored_type(rows.rows, source)
    if source != column.name:
        found += f" in column {source}"
    if modality is Modality.text:
        raise ColumnError(
            f"datasets.{rows.key}, row 0, column {column.name}: declared text, found {found}. "
            "Declare another modality, or choose a column of strings."
        )
    raise DataError(
        f"datasets.{rows.key}.columns.{column.name}: declared {modality}, but the column holds {found}. "
        f"{_forms(modality)}"
    )


def _forms(modality: Modality) -> str:
    if modality is Modality.message:
        return "A chat is a list of messages with role and content, or such a list as JSON text."
    if modality is Modality.mixed:
        return "A mixed input is a mapping of text, image, audio and video."
    kinds = {Modality.image: "Images", Modality.audio: "Sounds", Modality.video: "Clips"}
    return f"{kinds[modality]} are embedded, or given as paths or arrays."


def _check_nothing_missing(rows: RowSet, column: Column) -> None:
    """Every input must be there, or of several parts at least one. Reading a chat says what it needs."""
    if column.message:
        return
    missing = [empty_rows(rows.source, source) for source in column.sources]
    if nowhere := set.intersection(*missing):
        what = "nothing there" if len(missing) == 1 else f"nothing in {' and '.join(column.sources)}"
        raise DataError(f"{place_of(rows, min(nowhere), column.name)}: {what}. Remove the row, or fill it.")


def empty_rows(rows: Dataset, name: str) -> set[int]:
    """Return the rows in whose cell of a column nothing is."""
    return {start + index for start, chunk in column_chunks(rows, name) for index in empty_cells(chunk)}


def rows_drawn_of(rows: RowSet, stored: set[int]) -> set[int]:
    """Return the places of the drawn rows that mean these stored ones."""
    if rows.stored is None or not stored:
        return stored
    return {index for index, row in enumerate(rows.rows[ROW]) if row in stored}
