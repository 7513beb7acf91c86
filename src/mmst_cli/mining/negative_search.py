"""From rows to negatives: embed both sides, find the nearest documents, ask a second model, choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mmst_cli.config.schema import MineConfig, Role
from mmst_cli.media.input_digest import digest_of_input
from mmst_cli.mining.doubtful_rows import are_doubtful
from mmst_cli.mining.mining_embedding import ROWS_PER_PART, Embedder, embed_side, read_values
from mmst_cli.mining.mining_vectors import (
    FloatArray,
    Numbers,
    Side,
    find_positives,
    flat_pairs,
    inner_products,
    to_similarity,
)
from mmst_cli.mining.negative_selection import (
    ROOM,
    Candidates,
    NearDuplicates,
    Selection,
    judge,
    range_max_of,
    same_kind,
    select,
)
from mmst_cli.mining.second_model import Rescoring, SecondModel
from mmst_cli.model.precision import Precision
from mmst_cli.rows.columns import Column, RowSet
from mmst_cli.terminal import Terminal
from mmst_cli.vectors.data_workers import Workers
from mmst_cli.vectors.forward_pass import Task
from mmst_cli.vectors.nearest import nearest

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@dataclass(frozen=True)
class Search:
    """What is needed to mine one set of rows.

    Attributes:
        rows: with one anchor and one positive column; their reader fits the model.
        model: finds the negatives.
        mine: the settings.
        folder: where vectors are kept until the negatives are chosen.
        precision: what the model runs under.
        seed: of the random sampling.
        second: whose scores the limits are about, if there is one.
        rows_per_part: how many rows a killed command may lose.
        label: what the model is called.
        workers: processes that prepare inputs; chosen by what preparing costs if left out.
        prompts: task to the prompt that the set has for it, where that isn't the model's own.
    """

    rows: RowSet
    model: SentenceTransformer
    mine: MineConfig
    folder: Path
    precision: Precision
    seed: int
    second: SecondModel | None = None
    rows_per_part: int = ROWS_PER_PART
    label: str = ""
    workers: Workers | None = None
    prompts: Mapping[Task, str] = field(default_factory=dict)

    @property
    def anchor(self) -> Column:
        """The column of anchors."""
        return self.rows.with_role(Role.anchor)[0]

    @property
    def positive(self) -> Column:
        """The column of positives, which are the documents."""
        return self.rows.with_role(Role.positive)[0]

    @property
    def embedder(self) -> Embedder:
        """How the model runs, and where its vectors are kept."""
        size, rows = self.mine.batch_size, self.rows_per_part
        return Embedder(self.model, self.folder, size, self.precision, rows, self.workers, prompts=self.prompts)


@dataclass(frozen=True)
class Found:
    """The negatives of a set of rows, and how they came about.

    Attributes:
        kept: the rows that got all their negatives, shape (kept,).
        negatives: the rows whose positives these are, shape (kept, negatives).
        scores: similarity of the positive, then of each negative, shape (kept, 1 + negatives).
        doubtful: the rows that are left out for the similarity of their positive, shape (doubtful,).
        anchors, documents: the distinct inputs.
        candidates: the nearest documents of each anchor.
        selection: what was chosen, and why others were not.
        considered: how many of the candidates counted.
        range_max: how many of those that could be negatives counted.
    """

    kept: Numbers
    negatives: Numbers
    scores: FloatArray
    doubtful: Numbers
    anchors: Side
    documents: Side
    candidates: Candidates
    selection: Selection
    considered: int
    range_max: int


def mine_rows(search: Search, terminal: Terminal) -> Found:
    """Mine the negatives of all rows.

    Raises:
        ModelError: the model's similarity can't be searched.
        WorkError: an input can't be read.
    """
    similarity = to_similarity(str(search.model.similarity_fn_name))
    anchors, documents = embed_both(search, terminal)
    positives = find_positives(anchors.place_of, documents.place_of)
    range_max = range_max_of(search.mine, positives.most)
    considered = range_max + positives.most
    products, places = nearest(anchors.vectors, documents.vectors, considered + ROOM, index=str(search.mine.index))
    scores = np.where(places < 0, -np.inf, similarity(products)).astype(np.float32)
    pairs = flat_pairs(positives)
    of_positives = similarity(inner_products(anchors.vectors, documents.vectors, pairs))
    if search.second is not None:
        asked = Rescoring(search.rows, anchors, documents, places, pairs, search.embedder)
        scores, of_positives = search.second.rescore(asked, terminal)
    bar = _smallest(of_positives, pairs[0], search.mine.min_positive_score)
    candidates = Candidates(places, scores, bar, in_order=search.second is None)
    reasons = judge(candidates, positives.of, search.mine, known_negatives(search.rows, anchors, documents))
    is_same_kind = same_kind(search.anchor.modalities, search.positive.modalities)
    selection = select(
        candidates,
        reasons,
        search.mine,
        considered=considered,
        range_max=range_max,
        guard=NearDuplicates(anchors, documents, positives, same_kind=is_same_kind),
        seed=search.seed,
    )
    own = _scores_of(pairs, of_positives, (anchors.place_of, documents.place_of))
    doubtful = are_doubtful(own, search.mine.min_positive_score)
    return _by_row(anchors, documents, own, doubtful, candidates, selection, (considered, range_max))


def embed_both(search: Search, terminal: Terminal) -> tuple[Side, Side]:
    """Return anchors and documents, embedded or read from where they were left."""
    embedder = search.embedder
    alike = same_kind(search.anchor.modalities, search.positive.modalities)
    with terminal.progress("embedding", 2 * len(search.rows), unit="rows") as progress:
        documents = embed_side(embedder, search.rows, search.positive, "document", with_prints=True, progress=progress)
        anchors = embed_side(embedder, search.rows, search.anchor, "query", with_prints=alike, progress=progress)
    return anchors, documents


def known_negatives(rows: RowSet, anchors: Side, documents: Side) -> Sequence[Numbers] | None:
    """Return anchor to the documents that its rows name as negatives; None where no row names any."""
    columns = rows.with_role(Role.negative)
    if not columns:
        return None
    found: list[set[int]] = [set() for _ in anchors.first_row]
    for column in columns:
        for anchor, value in zip(anchors.place_of.tolist(), read_values(rows, column), strict=True):
            place = documents.digests.get(digest_of_input(column.modality, value))
            if place is not None:
                found[anchor].add(place)
    return [np.array(sorted(one), dtype=np.int64) for one in found]


def _smallest(scores: FloatArray, owners: Numbers, least: float | None) -> FloatArray:
    """Return the smallest score of each anchor's positives that aren't doubtful: what margins are counted from."""
    found = np.full(int(owners.max()) + 1, np.inf, dtype=np.float32)
    every = found.copy()
    trusted = ~are_doubtful(scores, least)
    np.minimum.at(found, owners[trusted], scores[trusted])
    np.minimum.at(every, owners, scores)
    return np.where(np.isinf(found), every, found)


def _by_row(
    anchors: Side,
    documents: Side,
    own: FloatArray,
    doubtful: npt.NDArray[np.bool_],
    candidates: Candidates,
    selection: Selection,
    counts: tuple[int, int],
) -> Found:
    kept = np.flatnonzero(selection.is_full[anchors.place_of] & ~doubtful)
    owners = anchors.place_of[kept]
    scores = np.column_stack([own[kept], selection.scores[owners]])
    negatives = documents.first_row[selection.places[owners]]
    return Found(kept, negatives, scores, np.flatnonzero(doubtful), anchors, documents, candidates, selection, *counts)


def _scores_of(pairs: tuple[Numbers, Numbers], scores: FloatArray, wanted: tuple[Numbers, Numbers]) -> FloatArray:
    """Look up the scores of some (anchor, document) pairs."""
    many = 1 + max(int(pairs[1].max()), 0)
    codes, asked = (anchors * many + documents for anchors, documents in (pairs, wanted))
    order = np.argsort(codes)
    found: FloatArray = scores[order[np.searchsorted(codes, asked, sorter=order)]]
    return found
