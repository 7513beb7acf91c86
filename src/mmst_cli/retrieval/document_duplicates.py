"""Identical documents, found while the corpus streams by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mmst_cli.config.schema import Modality
from mmst_cli.media.input_digest import digest


class Deduplicator:
    """Lets the first of identical documents pass, and remembers which document each is a copy of.

    It keeps a digest of 16 bytes and two indices a document, never a document.

    Attributes:
        first_of: for each document that was read, the place of its content among the distinct documents.
    """

    def __init__(self) -> None:
        self.first_of: list[int] = []
        self._places: dict[bytes, int] = {}

    def unique(self, documents: Iterable[tuple[Modality, Any]]) -> Iterator[tuple[int, Modality, Any]]:
        """Yield (index, modality, value) of each document whose content no earlier one has."""
        for index, (modality, value) in enumerate(documents):
            distinct = len(self._places)
            place = self._places.setdefault(digest(modality, value), distinct)
            self.first_of.append(place)
            if place == distinct:
                yield index, modality, value
