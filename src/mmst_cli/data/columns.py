"""From loaded rows to what a loss or an evaluator reads: the declared columns, in order, ready to decode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmst_cli.config.schema import DatasetConfig, Modality, Role
from mmst_cli.data.checks import check_column
from mmst_cli.data.media import prepare_images
from mmst_cli.data.sources import load_rows, media_folder
from mmst_cli.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset

ORDER = (Role.anchor, Role.positive, Role.negative, Role.label)
READABLE = (Modality.text, Modality.image)  # what rows can be decoded to so far


@dataclass(frozen=True)
class Column:
    """A column as declared."""

    name: str
    role: Role
    modality: Modality


@dataclass(frozen=True)
class RowSet:
    """Rows whose columns stand in the order the loss sees: anchor, positive, negatives as listed, label.

    Text columns hold strings, image columns decode to PIL images on access, a label column holds numbers.
    """

    key: str
    rows: Dataset
    columns: tuple[Column, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def with_role(self, *roles: Role) -> list[Column]:
        """Return the columns of these roles, in order."""
        return [column for column in self.columns if column.role in roles]

    def values(self, column: Column) -> Iterator[Any]:
        """Yield the values of a column one at a time, so that one image at a time is decoded."""
        for row in self.rows.select_columns([column.name]):
            yield row[column.name]

    def value_at(self, column: Column, row: int) -> Any:
        """Return one value of a column, decoding nothing else."""
        return self.rows.select_columns([column.name])[row][column.name]


def prepare_rows(key: str, config: DatasetConfig, seed: int = 0) -> RowSet:
    """Load a dataset section, keep its declared columns in order, and check real rows against the declaration.

    Args:
        key: name of the section under ``datasets``.
        config: the section.
        seed: chooses rows for ``max_rows`` and for the check.

    Raises:
        ConfigError: a declared column isn't there.
        DataError: rows can't be loaded, or aren't what is declared; the message names row and column.
    """
    rows = load_rows(key, config, seed)
    columns = _order_columns(key, config, rows.column_names)
    rows = prepare_columns(key, rows, columns, media_folder(config), seed, allow_urls=config.allow_urls)
    return RowSet(key, rows, tuple(columns))


def prepare_columns(
    key: str,
    rows: Dataset,
    columns: Sequence[Column],
    folder: Path,
    seed: int,
    *,
    allow_urls: bool,
    also: Sequence[str] = (),
) -> Dataset:
    """Keep these columns, and those named in ``also``; make images decode on access; check real rows.

    Raises:
        DataError: rows aren't what is declared; the message names row and column.
    """
    names = [*(column.name for column in columns), *also]
    rows = rows.select_columns(names)
    for column in columns:
        if column.role is not Role.label and column.modality is Modality.image:
            rows = prepare_images(key, column.name, rows, folder, allow_urls=allow_urls)
        check_column(key, column.name, column.modality, rows, seed, label=column.role is Role.label)
    return rows.select_columns(names)  # replacing a column moves it to the end


def _order_columns(key: str, config: DatasetConfig, names: list[str]) -> list[Column]:
    missing = [
        f"datasets.{key}.columns.{name}: no such column; the dataset has {', '.join(names)}."
        + did_you_mean(name, names)
        for name in config.columns
        if name not in names
    ]
    if missing:
        raise ConfigError(*missing)
    declared = [Column(name, column.role, column.modality) for name, column in config.columns.items()]
    return sorted(declared, key=lambda column: ORDER.index(column.role))
