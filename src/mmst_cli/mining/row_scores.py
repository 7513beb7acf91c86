"""A teacher's scores of the documents that rows name: of each row's positive, then of its negatives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mmst_cli.config.schema import Role
from mmst_cli.mining.mining_embedding import ROWS_PER_PART, Embedder, embed_columns
from mmst_cli.mining.mining_vectors import AT_A_TIME, FloatArray, Numbers, StoredVectors, write_array
from mmst_cli.mining.second_model import PAIRS_AT_A_TIME, SecondModel, check_scores, input_at, score_pairs
from mmst_cli.model.large_images import shrink_large_images
from mmst_cli.model.model_media import fit_media
from mmst_cli.preparing.prepared_model import with_own_reader
from mmst_cli.rows.columns import Column, RowSet
from mmst_cli.terminal import Progress, Terminal
from mmst_cli.vectors.data_workers import Workers
from mmst_cli.work import part_path


@dataclass(frozen=True)
class RowScoring:
    """What is needed to score one set of rows.

    Attributes:
        rows: with one anchor column, one positive column and negative columns.
        teacher: gives the scores.
        folder: where vectors, or scores, are kept part by part until all are there.
        batch_size: inputs, or pairs, per forward pass.
        rows_per_part: how many rows a killed command may lose.
        workers: processes that prepare inputs; chosen by what preparing costs if left out.
    """

    rows: RowSet
    teacher: SecondModel
    folder: Path
    batch_size: int
    rows_per_part: int = ROWS_PER_PART
    workers: Workers | None = None

    @property
    def anchor(self) -> Column:
        """The column of anchors."""
        return self.rows.with_role(Role.anchor)[0]

    @property
    def documents(self) -> list[Column]:
        """The columns of the positive and the negatives, in that order."""
        return [*self.rows.with_role(Role.positive), *self.rows.with_role(Role.negative)]


def score_rows(scoring: RowScoring, terminal: Terminal) -> FloatArray:
    """Return the teacher's score of each document of each row, shape (rows, 1 + negatives).

    An embedding model's is its own similarity of the vectors of anchor and document; a CrossEncoder's is what its
    `predict` gives. What is whole in the folder is not computed again.

    Raises:
        WorkError: an input can't be read, or has no finite score; the message names its row.
    """
    return _by_pairs(scoring, terminal) if scoring.teacher.cross is not None else _by_vectors(scoring, terminal)


def _by_vectors(scoring: RowScoring, terminal: Terminal) -> FloatArray:
    """Embed each distinct input once, and compare what belongs together."""
    rows, model = with_own_reader(scoring.rows), scoring.teacher.embedding
    fit_media(model, [rows.reader])
    shrink_large_images(model, [rows.reader])
    embedder = Embedder(
        *(model, scoring.folder, scoring.batch_size, scoring.teacher.precision, scoring.rows_per_part, scoring.workers),
        normalize=False,  # the similarity may be that of the vectors as they are
    )
    documents = scoring.documents
    with terminal.progress("embedding", (1 + len(documents)) * len(rows), unit="inputs") as progress:
        there, of_documents = embed_columns(embedder, rows, documents, "document", progress)
        own, of_anchors = embed_columns(embedder, rows, [scoring.anchor], "query", progress)
    scores = np.empty(there.shape, dtype=np.float32)
    for number in range(len(documents)):
        scores[:, number] = _similarities(model, of_anchors, of_documents, (own[:, 0], there[:, number]))
        check_scores(scores[:, number], scoring.teacher, rows.rows.__getitem__, rows, documents[number])
    return scores


def _similarities(
    model: object, anchors: StoredVectors, documents: StoredVectors, pairs: tuple[Numbers, Numbers]
) -> FloatArray:
    """Return the model's own similarity of each pair of places, shape (pairs,)."""
    one, other = pairs
    found = np.empty(len(one), dtype=np.float32)
    for start in range(0, len(one), AT_A_TIME):
        some = slice(start, start + AT_A_TIME)
        vectors = (torch.from_numpy(side.take(places[some])) for side, places in ((anchors, one), (documents, other)))
        found[some] = model.similarity_pairwise(*vectors).numpy()  # type: ignore[attr-defined]
    return found


def _by_pairs(scoring: RowScoring, terminal: Terminal) -> FloatArray:
    """Ask a CrossEncoder for each pair of anchor and document, some rows at a time."""
    count, found = len(scoring.rows), []
    with terminal.progress("scoring", count, unit="rows") as progress:
        for number, start in enumerate(range(0, count, scoring.rows_per_part)):
            path = part_path(scoring.folder, "scores", number, ".npy")
            part = range(start, min(count, start + scoring.rows_per_part))
            if path.is_file():
                progress.advance(len(part))
            else:
                write_array(path, _part_of_pairs(scoring, part, progress))
            found.append(np.load(path))
    return np.concatenate(found)


def _part_of_pairs(scoring: RowScoring, part: range, progress: Progress) -> FloatArray:
    rows, teacher, documents = with_own_reader(scoring.rows), scoring.teacher, scoring.documents
    step = max(1, PAIRS_AT_A_TIME // len(documents))
    found = []
    for start in range(part.start, part.stop, step):
        some = range(start, min(part.stop, start + step))
        anchors = [input_at(rows, scoring.anchor, row) for row in some]
        pairs = [
            (anchor, input_at(rows, column, row))
            for row, anchor in zip(some, anchors, strict=True)
            for column in documents
        ]
        scores = score_pairs(teacher, pairs, scoring.batch_size).reshape(len(some), len(documents))
        for number, column in enumerate(documents):
            check_scores(scores[:, number], teacher, lambda at, some=some: rows.rows[some[at]], rows, column)  # type: ignore[misc]
        found.append(scores)
        progress.advance(len(some))
    return np.concatenate(found)
