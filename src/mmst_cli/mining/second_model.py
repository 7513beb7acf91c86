"""A second model, asked how similar anchors and documents are: a CrossEncoder or another embedding model."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmst_cli.config.schema import ModelConfig, Role
from mmst_cli.errors import ModelError
from mmst_cli.mining.mining_embedding import Embedder, embed_again
from mmst_cli.mining.mining_vectors import FloatArray, Numbers, Side, inner_products, to_similarity, write_array
from mmst_cli.model.checkpoint import read_checkpoint_config
from mmst_cli.model.large_images import shrink_large_images
from mmst_cli.model.load_model import find_model
from mmst_cli.model.model_media import fit_media
from mmst_cli.model.precision import HALF, Precision, Runtime
from mmst_cli.preparing.prepared_model import check_columns, prepare_model, with_own_reader
from mmst_cli.rows.columns import Column, RowSet, as_input
from mmst_cli.vectors.fitting_batches import encode_fitting
from mmst_cli.work import part_path

if TYPE_CHECKING:
    import torch

    from mmst_cli.terminal import Terminal

PAIRS_AT_A_TIME = 512  # whose inputs are in memory, decoded
ANCHORS_PER_PART = 256  # whose candidates are rescored before that is written down
POSITIVES_PER_PART = 2_560  # the same of pairs of anchors and positives


@dataclass(frozen=True)
class Rescoring:
    """What a second model is asked.

    Attributes:
        rows: with one anchor and one positive column.
        anchors, documents: their distinct inputs.
        candidates: the documents that the first model found for each anchor; -1 where there is none. Shape
            (anchors, candidates).
        positives: the (anchor, positive) pairs, shape (pairs,) both.
        embedder: how the first model runs, and where the answers are kept.
    """

    rows: RowSet
    anchors: Side
    documents: Side
    candidates: Numbers
    positives: tuple[Numbers, Numbers]
    embedder: Embedder

    @property
    def columns(self) -> tuple[Column, Column]:
        """The columns of anchors and of documents."""
        return self.rows.with_role(Role.anchor)[0], self.rows.with_role(Role.positive)[0]


@dataclass(frozen=True)
class SecondModel:
    """A second model, loaded: an embedding model in ``embedding``, or a CrossEncoder in ``cross``."""

    name: str
    precision: Precision
    embedding: Any = None
    cross: Any = None

    def rescore(self, asked: Rescoring, terminal: Terminal) -> tuple[FloatArray, FloatArray]:
        """Return the scores of the candidates, in their shape, and those of the pairs of anchors and positives."""
        ask = _of_cross if self.cross is not None else _of_embedding
        return ask(self, asked, terminal)


def load_second(name: str, device: torch.device, precision: Precision) -> SecondModel:
    """Load a CrossEncoder, or an embedding model where it is none.

    Raises:
        ModelError: it can't be loaded.
    """
    if not is_cross_encoder(name):
        prepared = prepare_model(ModelConfig(name_or_path=name), Runtime(device, precision))
        return SecondModel(name, precision, embedding=prepared.model)
    from sentence_transformers import CrossEncoder

    try:
        cross = CrossEncoder(find_model(name), device=str(device))
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(f"second_model: {name} can't be loaded: {' '.join(str(error).split())}") from error
    _score_in_float32(cross, precision)
    return SecondModel(name, precision, cross=cross)


def _score_in_float32(cross: Any, precision: Precision) -> None:
    """Let the layer that gives the scores compute in float32: in half precision many pairs would have the same one."""
    from torch import nn

    if precision.autocast is None and cross.dtype not in HALF:
        return
    found = [name for name, part in cross.named_modules() if type(part) is nn.Linear]
    last = [name for name in found if cross.get_submodule(name).out_features == cross.num_labels][-1:]
    with suppress(ValueError):  # a layer that was changed keeps what it does
        cross.set_keep_in_fp32_modules(list(dict.fromkeys([*(cross.keep_in_fp32_modules or []), *last])))


def is_cross_encoder(name: str) -> bool:
    """Whether a model scores pairs: it says so, or it is a checkpoint with a head that classifies."""
    from sentence_transformers.util import load_file_path

    source = find_model(name)
    config = read_checkpoint_config(source, None, "second_model") or {}
    if any(str(kind).endswith("ForSequenceClassification") for kind in config.get("architectures") or []):
        return True
    own = load_file_path(source, "config_sentence_transformers.json")
    return own is not None and '"CrossEncoder"' in Path(own).read_text(encoding="utf-8")


def check_second(second: SecondModel, key: str, anchor: Column, positive: Column) -> None:
    """Check that the second model takes what the rows hold.

    Raises:
        ModelError: it doesn't.
    """
    if second.cross is None:
        try:
            check_columns(second.embedding, key, (anchor, positive))
        except ModelError as error:
            raise ModelError(f"second_model: {second.name}: {error}") from error
        return
    taken = {str(modality) for modality in getattr(second.cross, "modalities", ["text"])}
    for column in (anchor, positive):
        if missing := [str(modality) for modality in column.modalities if str(modality) not in taken]:
            raise ModelError(
                f"second_model: {second.name} is a CrossEncoder of {', '.join(sorted(taken))}, and column {column.name}"
                f" holds {missing[0]}. Take an embedding model, or a CrossEncoder for {missing[0]}."
            )


def _of_embedding(second: SecondModel, asked: Rescoring, terminal: Terminal) -> tuple[FloatArray, FloatArray]:
    similarity = to_similarity(str(second.embedding.similarity_fn_name))
    rows, (anchor, document) = with_own_reader(asked.rows), asked.columns
    fit_media(second.embedding, [rows.reader])
    shrink_large_images(second.embedding, [rows.reader])
    anchors, documents = asked.anchors.first_row, asked.documents.first_row
    embedder = replace(asked.embedder, model=second.embedding, precision=second.precision)
    with terminal.progress("embedding again", len(anchors) + len(documents), unit="inputs") as progress:
        of_documents = embed_again(embedder, rows, document, "document", documents, progress)
        of_anchors = embed_again(embedder, rows, anchor, "query", anchors, progress)
    there = asked.candidates >= 0
    pairs = (np.nonzero(there)[0], asked.candidates[there])
    scores = np.full(there.shape, -np.inf, dtype=np.float32)
    scores[there] = similarity(inner_products(of_anchors, of_documents, pairs))
    return scores, similarity(inner_products(of_anchors, of_documents, asked.positives))


def _of_cross(second: SecondModel, asked: Rescoring, terminal: Terminal) -> tuple[FloatArray, FloatArray]:
    places, folder = asked.candidates, asked.embedder.folder
    ask = _Asker(second, asked)
    scores = np.full(places.shape, -np.inf, dtype=np.float32)
    with terminal.progress("scoring again", len(places), unit="anchors") as progress:
        for number, start in enumerate(range(0, len(places), ANCHORS_PER_PART)):
            some = slice(start, start + ANCHORS_PER_PART)
            there = places[some] >= 0
            owners = np.nonzero(there)[0] + start
            path = part_path(folder, "second-scores", number, ".npy")
            scores[some][there] = ask.kept(path, owners, places[some][there])
            progress.advance(len(there))
    of_positives = []
    for number, start in enumerate(range(0, len(asked.positives[0]), POSITIVES_PER_PART)):
        owners, positives = (part[start : start + POSITIVES_PER_PART] for part in asked.positives)
        of_positives.append(ask.kept(part_path(folder, "second-positives", number, ".npy"), owners, positives))
    return scores, np.concatenate(of_positives)


class _Asker:
    """Asks a CrossEncoder for the scores of pairs, reading each input when it is needed."""

    def __init__(self, second: SecondModel, asked: Rescoring) -> None:
        self.second, self.asked = second, replace(asked, rows=with_own_reader(asked.rows))

    def kept(self, path: Path, owners: Numbers, places: Numbers) -> FloatArray:
        """Return the scores of (anchor, document) pairs, from the file if it is there, else into it."""
        if not path.is_file():
            pieces = [slice(start, start + PAIRS_AT_A_TIME) for start in range(0, len(owners), PAIRS_AT_A_TIME)]
            found = [self._ask(owners[piece], places[piece]) for piece in pieces]
            write_array(path, np.concatenate(found) if found else np.empty(0, dtype=np.float32))
        return np.load(path)  # type: ignore[no-any-return]

    def _ask(self, owners: Numbers, places: Numbers) -> FloatArray:
        rows, (anchor, document) = self.asked.rows, self.asked.columns
        one, other = self.asked.anchors.first_row[owners], self.asked.documents.first_row[places]
        pairs = [
            (_value(rows, anchor, first), _value(rows, document, second))
            for first, second in zip(one.tolist(), other.tolist(), strict=True)
        ]
        with self.second.precision.forward_of(self.second.cross):
            found = encode_fitting(
                self.second.cross,
                lambda size: self.second.cross.predict(pairs, batch_size=size, show_progress_bar=False),
                self.asked.embedder.batch_size,
            )
        return np.asarray(found, dtype=np.float32).reshape(-1)


def _value(rows: RowSet, column: Column, row: int) -> Any:
    value = rows.value_at(column, row)
    return value if column.modality == "text" else as_input(value, column.modality)
