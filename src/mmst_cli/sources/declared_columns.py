"""What a section says of the columns of its files: a reader that knows it takes no text for a number."""

from __future__ import annotations

from dataclasses import dataclass

from mmst_cli.config.chat_templates import parse_template
from mmst_cli.config.schema import DatasetConfig, Role


@dataclass(frozen=True)
class DeclaredColumns:
    """The stored columns that are read, each by its name in the file."""

    texts: tuple[str, ...] = ()
    """Those that are texts, or name media: nothing in them is a number."""
    labels: tuple[str, ...] = ()
    """Those that are numbers, however they are written."""
    for_query: bool = False
    """Whether a query may compare further columns as numbers."""

    @classmethod
    def of(cls, config: DatasetConfig) -> DeclaredColumns:
        """Return what a section declares."""
        texts: list[str] = []
        labels: list[str] = []
        for name, column in config.columns.items():
            templates = parse_template(column.message) if column.message else ()
            sources = column.parts.values() or [source for part in templates for source in part.sources] or [name]
            (labels if column.role is Role.label else texts).extend(sources)
        return cls(tuple(texts), tuple(labels), config.sql is not None)

    @property
    def names(self) -> tuple[str, ...]:
        """All of them; none where nothing is declared, as for a table that is only looked at."""
        return (*self.texts, *self.labels)
