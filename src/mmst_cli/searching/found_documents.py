"""What was found, read again from where it was embedded: for looking at it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmst_cli.config.schema import MediaConfig, Modality
from mmst_cli.errors import DataError, MmstError
from mmst_cli.html.previews import Preview, preview
from mmst_cli.inputs.collection import MODALITY_OF, STDIN, open_sources
from mmst_cli.inputs.table_inputs import TableOptions
from mmst_cli.media.pdf import split_page
from mmst_cli.media.reading import Reader
from mmst_cli.searching.queries import look
from mmst_cli.vectors.vector_folder import RECORD, VectorFolder, damaged


def media_of(folder: VectorFolder) -> MediaConfig:
    """Return how media were read for the collection.

    Raises:
        DataError: its record is damaged.
    """
    try:
        recorded = dict(folder.job.get("media", {}))
        return MediaConfig(**{name: recorded[name] for name in MediaConfig.model_fields if name in recorded})
    except (TypeError, ValueError) as error:
        raise DataError(damaged(folder.path / RECORD, "it doesn't say how media were read")) from error


def look_up(folder: VectorFolder, ids: Iterable[str]) -> dict[str, Preview]:
    """Return what is shown of some documents; a note where one can't be read any more.

    Files are read where their ids say; of tables and texts the rows are walked through up to the last one wanted.

    Args:
        folder: the collection.
        ids: of documents in it.
    """
    reader = Reader(media_of(folder), Path())
    found: dict[str, Preview] = {}
    rows: dict[str, set[str]] = {}
    inputs = [str(given.get("name")) for given in folder.job.get("inputs", []) if isinstance(given, Mapping)]
    for one in dict.fromkeys(ids):
        path, page = split_page(one)
        kind = MODALITY_OF.get(path.suffix.lower())
        source = next((name for name in inputs if one.startswith(f"{name}#") and not (kind and page)), None)
        if source is not None:
            rows.setdefault(source, set()).add(one)
        elif kind and path.is_file():
            found[one] = preview(lambda kind=kind, one=one: _read(reader, kind, one))  # type: ignore[misc]
        else:
            found[one] = Preview(note="No longer where it was.")
    for source, wanted in rows.items():
        found |= _look_in(folder, source, wanted, reader)
    return found


def _read(reader: Reader, kind: Modality, name: str) -> tuple[Modality, Any]:
    return kind, reader.read(kind, str(Path(name).absolute()))


def _look_in(folder: VectorFolder, source: str, wanted: set[str], reader: Reader) -> dict[str, Preview]:
    """Return what is shown of rows of a table, or lines of a text."""
    if source == STDIN:
        return dict.fromkeys(wanted, Preview(note="It came from stdin and was not kept."))
    job = folder.job
    table = TableOptions(name=job.get("table_name"), split=job.get("split") or "train", sql=job.get("sql"))
    found: dict[str, Preview] = {}
    try:
        (opened,) = open_sources([source], job.get("columns"), reader, job.get("pages"), table)
        for item in opened.items():
            if item.id in wanted:
                found[item.id] = look(item)
                if len(found) == len(wanted):
                    break
    except (MmstError, OSError) as error:
        return dict.fromkeys(wanted, Preview(note=f"Cannot be shown: {error}")) | found
    return dict.fromkeys(wanted, Preview(note="No longer where it was.")) | found
