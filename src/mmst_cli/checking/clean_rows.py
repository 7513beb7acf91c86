"""The rows that remain without those that were found to be faulty, and for each that doesn't, why."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmst_cli.checking.findings import Checked, Finding
from mmst_cli.config.chat_templates import MEDIA
from mmst_cli.config.schema import Config, Layout
from mmst_cli.errors import ConfigError
from mmst_cli.media.content import URL_SCHEMES
from mmst_cli.media.reading import Reader
from mmst_cli.rows.columns import ROW, named_file
from mmst_cli.sources.tables import leave_undecoded, load_rows
from mmst_cli.storage import whole_file, write_text

if TYPE_CHECKING:
    from datasets import Dataset

WRITTEN = 500  # rows converted at a time


@dataclass(frozen=True)
class Cleaned:
    """What was written."""

    path: Path
    dataset: str
    kept: int
    dropped: int
    reasons: Path
    """A line for each row that was left out: its number in the source, the kind of fault, and why."""


def choose_dataset(config: Config, name: str | None) -> str:
    """Return the dataset that is cleaned: the one that is named, or the only one to train on.

    Raises:
        ConfigError: there is no such dataset, or several and none is named; or it can't be written as rows.
    """
    training = [key for key, section in config.datasets.items() if str(section.use) == "train"]
    if name is None and len(training) != 1:
        raise ConfigError(f"--dataset: name the one to write: {', '.join(config.datasets)}.")
    name = name or training[0]
    if name not in config.datasets:
        raise ConfigError(f"--dataset: {name}: the config has {', '.join(config.datasets)}.")
    section = config.datasets[name]
    if section.layout is Layout.beir:
        raise ConfigError(f"--dataset: {name}: layout beir is three tables, and only rows are written. Name another.")
    if section.streaming:
        raise ConfigError(f"--dataset: {name}: a stream isn't looked at as a whole. Set streaming: false to clean it.")
    return name


def reasons_path(target: Path) -> Path:
    """Return where it is said why rows were left out."""
    return target.with_name(f"{target.stem}.dropped.jsonl")


def write_clean(
    config: Config, checked: Checked, findings: Sequence[Finding], name: str, kinds: Sequence[str], target: Path
) -> Cleaned:
    """Write the rows of a dataset that have none of these faults, with all columns of the source.

    Media are written as the source has them: what is embedded stays so, and a file is named by a path that leads
    there from the new file's folder.

    Args:
        config: the config.
        checked: what was examined.
        findings: what was found.
        name: the dataset.
        kinds: kinds of findings whose rows are left out.
        target: the parquet file.
    """
    number = next(place for place, one in enumerate(checked.sets) if one.name == name)
    dropped = _dropped(checked, number, [one for one in findings if one.dataset == name and one.kind in kinds])
    section = config.datasets[name].model_copy(update={"max_rows": None})
    rows = load_rows(name, section, config.seed)
    examined = sorted(set(checked.source_rows(number).tolist()))
    kept = [row for row in examined if row not in dropped]
    _write(rows.select(kept), checked, number, target)
    lines = [_line(row, kind, reason) for row, (kind, reason) in sorted(dropped.items())]
    write_text(reasons_path(target), "".join(lines))
    return Cleaned(target, name, len(kept), len(dropped), reasons_path(target))


def _dropped(checked: Checked, number: int, findings: Sequence[Finding]) -> dict[int, tuple[str, str]]:
    """Return row in the source to the kind and reason of its worst fault."""
    dropped: dict[int, tuple[str, str]] = {}
    for finding in sorted(findings, key=lambda one: one.harm):
        for row, reason in finding.rows.items():
            dropped.setdefault(checked.source_row(number, row), (finding.kind, reason))
    return dropped


def _line(row: int, kind: str, reason: str) -> str:
    return json.dumps({"row": row, "kind": kind, "reason": reason}, ensure_ascii=False) + "\n"


def _write(rows: Dataset, checked: Checked, number: int, target: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    reader = checked.sets[number].rows.reader
    media = _media_columns(checked, number)
    rows = leave_undecoded(rows, [name for name in rows.column_names if name != ROW])
    schema = rows.features.arrow_schema
    with whole_file(target) as partial, pq.ParquetWriter(partial, schema) as file:
        for batch in rows.iter(batch_size=WRITTEN):
            for name in media & batch.keys():
                batch[name] = [_moved(cell, reader, target.parent) for cell in batch[name]]
            file.write_table(pa.Table.from_pydict(batch, schema=schema))


def _media_columns(checked: Checked, number: int) -> set[str]:
    """Return the stored columns whose strings name files."""
    names: set[str] = set()
    for column in checked.sets[number].rows.columns:
        parts = column.parts or tuple((column.modality, source) for source in column.sources[:1])
        names |= {source for modality, source in parts if modality in MEDIA}
        for message in column.message:
            names |= {source for kind, source in message.content if kind != "text"}
    return names


def _moved(cell: Any, reader: Reader, folder: Path) -> Any:
    """Return a cell whose path leads to the same file from another folder."""
    if isinstance(cell, list):
        return [_moved(entry, reader, folder) for entry in cell]
    path = named_file(cell)
    if not path or path.startswith(URL_SCHEMES):
        return cell
    found = path if Path(path).is_absolute() else _relative(str(reader.locate(path)), folder)
    return {**cell, "path": found} if isinstance(cell, Mapping) else found


def _relative(path: str, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive
        return path
