"""Rows of a table written to another file: all columns as the source has them, and media by paths that lead there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmst_cli.config.chat_templates import MEDIA
from mmst_cli.config.schema import Modality, Role
from mmst_cli.media.content import URL_SCHEMES
from mmst_cli.media.reading import Reader
from mmst_cli.rows.columns import ROW, Column, named_file
from mmst_cli.rows.stored_cells import parse_json
from mmst_cli.sources.tables import leave_undecoded
from mmst_cli.storage import whole_file

if TYPE_CHECKING:
    from datasets import Dataset

WRITTEN = 500  # rows converted at a time


def write_rows(
    rows: Dataset,
    columns: Iterable[Column],
    reader: Reader,
    target: Path,
    *,
    folder: Path | None = None,
    scores: tuple[str, Any] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write rows as parquet; what is embedded stays so, and paths lead from the new file to where they led.

    Args:
        rows: the rows, with all columns.
        columns: those that are declared, which say where media are.
        reader: says where the paths of the source lead.
        target: the parquet file.
        folder: where it will be, if it is to be moved there.
        scores: name and numbers of a column of lists that is added, shape (rows, numbers of a row).
        metadata: what the file says about itself.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Features, List, Value

    rows = leave_undecoded(rows, [name for name in rows.column_names if name != ROW])
    names = media_columns(columns)
    features = Features({**rows.features, **({} if scores is None else {scores[0]: List(Value("float32"))})})
    schema = features.arrow_schema
    start = 0
    with whole_file(target) as partial, pq.ParquetWriter(partial, schema) as file:
        for batch in rows.iter(batch_size=WRITTEN):
            for name in names.keys() & batch.keys():
                batch[name] = [moved(cell, names[name], reader, folder or target.parent) for cell in batch[name]]
            count = len(next(iter(batch.values())))
            if scores is not None:
                batch[scores[0]] = scores[1][start : start + count].tolist()
            start += count
            file.write_table(pa.Table.from_pydict(batch, schema=schema))
        if metadata:
            file.add_key_value_metadata(dict(metadata))


def media_columns(columns: Iterable[Column]) -> dict[str, Modality]:
    """Return the stored columns that may name files, and what they hold."""
    found: dict[str, Modality] = {}
    for column in columns:
        if column.parts:
            found |= {source: modality for modality, source in column.parts if modality in MEDIA}
        elif column.message:
            for message in column.message:
                found |= {name: Modality(kind) for kind, name in message.content if kind != "text"}
        elif column.role is not Role.label and column.modality is not Modality.text:
            found[column.sources[0]] = column.modality
    return found


def moved(cell: Any, modality: Modality, reader: Reader, folder: Path) -> Any:
    """Return a cell whose paths lead to the same files from another folder, those in mixed cells and chats too."""
    if isinstance(cell, list):
        return [moved(entry, modality, reader, folder) for entry in cell]
    if modality is Modality.message and isinstance(cell, str):
        chat = parse_json(cell)
        turned = chat if isinstance(chat, str) else moved(chat, modality, reader, folder)
        return cell if turned == chat else json.dumps(turned, ensure_ascii=False)
    if isinstance(cell, Mapping) and not (modality in MEDIA and "path" in cell):
        outside = modality if modality is Modality.message else Modality.mixed
        kinds = {name: Modality(name) if name in MEDIA else outside for name in cell}
        return {name: moved(entry, kinds[name], reader, folder) for name, entry in cell.items()}
    path = named_file(cell)
    if modality not in MEDIA or not path or path.startswith(URL_SCHEMES):
        return cell
    found = path if Path(path).is_absolute() else _relative(str(reader.locate(path)), folder)
    return {**cell, "path": found} if isinstance(cell, Mapping) else found


def _relative(path: str, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive
        return path
