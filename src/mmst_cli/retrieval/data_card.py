"""Datasets in words, and what they hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mmst_cli.config.schema import Config, Modality
from mmst_cli.media.reading import Reader
from mmst_cli.retrieval.retrieval_set import RetrievalSet
from mmst_cli.rows.columns import Column, RowSet
from mmst_cli.rows.filling import filled_in_words

Rows = RowSet | RetrievalSet


def data_card(config: Config, rows: Mapping[str, Rows]) -> list[dict[str, str]]:
    """Return what each dataset is, in words: name, used for, source, rows, columns."""
    card = []
    for key, data in rows.items():
        section = config.datasets[key]
        if isinstance(data, RowSet):
            size = "a stream of rows" if data.is_stream else ", ".join([f"{len(data):,} rows", *filled_in_words(data)])
            size = "; ".join([size, *data.remarks])
        else:
            size = f"{len(data.query_ids):,} queries, {len(data.corpus_ids):,} documents"
        card.append(
            {
                "name": key,
                "used for": str(section.use),
                "source": section.path + (f" / {section.name}" if section.name else "") + f" [{section.split}]",
                "rows": size,
                "columns": columns_in_words(data.columns),
            }
        )
    return card


def columns_in_words(columns: Iterable[Column]) -> str:
    """Return ``query (anchor, text), page (positive, image)``."""
    return ", ".join(f"{column.name} ({column.role}, {'+'.join(column.modalities)})" for column in columns)


def readers_of(data: Rows) -> list[Reader]:
    """Return what reads a dataset: one reader, or those of queries and corpus."""
    return [data.reader] if isinstance(data, RowSet) else [data.query_rows.reader, data.corpus_rows.reader]


def held_modalities(rows: Iterable[Rows]) -> set[Modality]:
    """Return the modalities of all declared columns."""
    return {modality for data in rows for column in data.columns for modality in column.modalities}
