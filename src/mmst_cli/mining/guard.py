"""The guard against false negatives: near duplicates of a positive, or of the anchor itself, are never taken."""

from __future__ import annotations

from mmst_cli.config.schema import Modality
from mmst_cli.mining.mining_vectors import Side
from mmst_cli.mining.negative_selection import Reason
from mmst_cli.mining.pairs import Positives
from mmst_cli.similarity.sketch import is_near


class NearDuplicates:
    """Says whether a document is a near duplicate of a positive of an anchor, or of the anchor.

    Args:
        anchors: the anchors, with sketches where ``same_kind``.
        documents: the documents, with sketches.
        positives: what answers each anchor.
        same_kind: whether anchors and documents are of one modality, so that they can be the same.
    """

    def __init__(self, anchors: Side, documents: Side, positives: Positives, *, same_kind: bool) -> None:
        self._anchors, self._documents, self._positives = anchors, documents, positives
        self._same_kind = same_kind

    def __call__(self, anchor: int, document: int) -> Reason:
        """Return what keeps the document from being a negative, if anything does."""
        found = self._documents.prints.get(document)
        own = (self._documents.prints.get(int(positive)) for positive in self._positives.of[anchor])
        if any(is_near(one, found) for one in own):
            return Reason.NEAR_POSITIVE
        if self._same_kind and is_near(self._anchors.prints.get(anchor), found):
            return Reason.NEAR_ANCHOR
        return Reason.NONE


def same_kind(anchor: tuple[Modality, ...], positive: tuple[Modality, ...]) -> bool:
    """Whether an anchor could be the same input as a positive."""
    return set(anchor) == set(positive)
