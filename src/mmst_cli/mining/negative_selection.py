"""Which of the nearest documents become negatives: as `mine_hard_negatives` of sentence-transformers chooses them.

The rules are those of ST 6.2 with `output_format="n-tuple"`, and so is the order in which they are asked: positives,
absolute_margin, relative_margin, max_score, min_score, then the range, then the sampling. Added are the guards against
near duplicates, which take a document out as being a positive does.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from mmst_cli.config.rules_mining import LIMITS
from mmst_cli.config.schema import MineConfig, Modality, Sampling
from mmst_cli.mining.mining_vectors import FloatArray, Numbers, Positives, Side
from mmst_cli.similarity.sketch import is_near

ROOM = 32  # documents beyond those that sentence-transformers looks at, to stand in for what only we refuse


class Reason(IntEnum):
    """Why a document is no negative of an anchor."""

    NONE = 0
    POSITIVE = 1
    KNOWN = 2
    ABSOLUTE_MARGIN = 3
    RELATIVE_MARGIN = 4
    MAX_SCORE = 5
    MIN_SCORE = 6
    NEAR_POSITIVE = 7
    NEAR_ANCHOR = 8
    MISSING = 9

    @property
    def words(self) -> str:
        """What is said of such a document."""
        return _WORDS[self]


_WORDS = {
    Reason.NONE: "not taken",
    Reason.POSITIVE: "a positive",
    Reason.KNOWN: "a negative of the row already",
    Reason.ABSOLUTE_MARGIN: "absolute_margin",
    Reason.RELATIVE_MARGIN: "relative_margin",
    Reason.MAX_SCORE: "max_score",
    Reason.MIN_SCORE: "min_score",
    Reason.NEAR_POSITIVE: "near duplicate of a positive",
    Reason.NEAR_ANCHOR: "near duplicate of the anchor",
    Reason.MISSING: "nothing found",
}
TOLD = (
    *(Reason.ABSOLUTE_MARGIN, Reason.RELATIVE_MARGIN, Reason.MAX_SCORE, Reason.MIN_SCORE),
    *(Reason.NEAR_POSITIVE, Reason.NEAR_ANCHOR),
)
"""The reasons that say something of the data and the settings."""
_STOOD_IN_FOR = (Reason.KNOWN, Reason.NEAR_POSITIVE, Reason.NEAR_ANCHOR)

Guard = Callable[[int, int], Reason]
"""Given an anchor and a document, says whether one is a near duplicate of the other or of its positives."""


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


def range_max_of(mine: MineConfig, most_positives: int) -> int:
    """Return how many of the nearest documents are considered, as sentence-transformers chooses it."""
    if mine.range_max is not None:
        return mine.range_max
    thinned = any(getattr(mine, limit) is not None for limit in LIMITS if limit != "min_score")
    thinned |= mine.second_model is not None and mine.min_score is not None
    return mine.range_min + mine.num_negatives * (10 if thinned else 1) + most_positives


@dataclass(frozen=True)
class Candidates:
    """The nearest documents of each anchor, most similar first, shape (anchors, candidates).

    Attributes:
        places: which documents; -1 where there is none.
        scores: their similarity to the anchor, by the second model where there is one.
        positive_scores: the smallest similarity of a positive to the anchor, shape (anchors,).
        in_order: whether the scores fall along each row, as those of the model that found the documents do.
    """

    places: Numbers
    scores: FloatArray
    positive_scores: FloatArray
    in_order: bool = True


def judge(
    candidates: Candidates, positives: Sequence[Numbers], mine: MineConfig, known: Sequence[Numbers] | None = None
) -> npt.NDArray[np.uint8]:
    """Return the first :class:`Reason` against each candidate but near duplicates, shape (anchors, candidates).

    Args:
        candidates: the nearest documents.
        positives: anchor to its positives.
        mine: the limits.
        known: anchor to documents that are its negatives already.
    """
    places, scores = candidates.places, candidates.scores
    reasons = np.zeros(places.shape, dtype=np.uint8)
    reasons[places < 0] = Reason.MISSING
    for row, own in enumerate(positives):
        reasons[row, np.isin(places[row], own)] = Reason.POSITIVE
        if known is not None:
            reasons[row, np.isin(places[row], known[row]) & (reasons[row] == 0)] = Reason.KNOWN
    bar: Any = candidates.positive_scores[:, None]
    refused: dict[Reason, Any] = {}
    if mine.absolute_margin is not None:
        refused[Reason.ABSOLUTE_MARGIN] = scores + np.float32(mine.absolute_margin) > bar
    if mine.relative_margin is not None:
        refused[Reason.RELATIVE_MARGIN] = scores > bar - np.abs(bar) * np.float32(mine.relative_margin)
    if mine.max_score is not None:
        refused[Reason.MAX_SCORE] = scores > np.float32(mine.max_score)
    if mine.min_score is not None:
        refused[Reason.MIN_SCORE] = scores < np.float32(mine.min_score)
    for reason, where in refused.items():
        reasons[(reasons == 0) & where] = reason
    return reasons


@dataclass(frozen=True)
class Selection:
    """The negatives of each anchor.

    Attributes:
        places: the documents, most similar first; -1 where there are too few. Shape (anchors, negatives).
        scores: their similarity, shape (anchors, negatives).
        reasons: why each candidate was refused, as far as it was looked at; shape (anchors, candidates).
    """

    places: Numbers
    scores: FloatArray
    reasons: npt.NDArray[np.uint8]

    @property
    def is_full(self) -> npt.NDArray[np.bool_]:
        """Which anchors got all the negatives that were wanted."""
        found: Any = (self.places >= 0).all(axis=1)
        return found  # type: ignore[no-any-return]


def select(
    candidates: Candidates,
    reasons: npt.NDArray[np.uint8],
    mine: MineConfig,
    *,
    considered: int,
    range_max: int,
    guard: Guard,
    seed: int,
) -> Selection:
    """Choose the negatives of each anchor.

    Args:
        candidates: the nearest documents.
        reasons: what :func:`judge` has against them; near duplicates are added.
        mine: the settings.
        considered: how many of the candidates count; those behind stand in for near duplicates.
        range_max: how many of those that may be negatives are considered.
        guard: tells near duplicates; asked as rarely as the result allows.
        seed: of the random sampling.
    """
    wanted, rng = mine.num_negatives, random.Random(seed)
    places = np.full((len(reasons), wanted), -1, dtype=np.int64)
    scores = np.full((len(reasons), wanted), -np.inf, dtype=np.float32)
    enough = range_max
    if mine.sampling_strategy is Sampling.top and candidates.in_order:
        enough = mine.range_min + wanted
    for row in range(len(reasons)):
        found = _eligible(row, candidates, reasons[row], guard, considered, enough)
        window = np.array(found[:range_max][mine.range_min :], dtype=np.int64)
        chosen = _sample(window, mine, rng)
        if len(chosen) == wanted:
            places[row], scores[row] = candidates.places[row, chosen], candidates.scores[row, chosen]
    return Selection(places, scores, reasons)


def _eligible(
    row: int, candidates: Candidates, reasons: npt.NDArray[np.uint8], guard: Guard, considered: int, enough: int
) -> list[int]:
    """Return the candidates that may be negatives, most similar first, and note near duplicates in ``reasons``."""
    found: list[int] = []
    seen = 0
    for index, document in enumerate(candidates.places[row].tolist()):
        if seen == considered or (candidates.in_order and len(found) == enough):
            break
        if not reasons[index]:
            reasons[index] = guard(row, document)
        if reasons[index] not in _STOOD_IN_FOR:
            seen += 1
        if not reasons[index]:
            found.append(index)
    if candidates.in_order:
        return found
    return sorted(found, key=lambda index: -float(candidates.scores[row, index]))


def _sample(window: Numbers, mine: MineConfig, rng: random.Random) -> Numbers:
    """Return what is taken of a window, most similar first."""
    wanted = mine.num_negatives
    if mine.sampling_strategy is Sampling.top:
        return window[:wanted]
    options = max(len(window), wanted)
    # One draw an anchor, whether it succeeds or not, is what sentence-transformers does.
    drawn = sorted(rng.sample(range(options), k=wanted))
    return window[drawn] if drawn[-1] < len(window) else window[:0]
