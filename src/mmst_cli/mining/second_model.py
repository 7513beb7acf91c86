"""A second model, asked how similar anchors and documents are: a CrossEncoder or another embedding model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmst_cli.config.schema import ModelConfig
from mmst_cli.errors import ModelError
from mmst_cli.media.reading import Reader
from mmst_cli.mining.mining_embedding import Embedder, embed_again
from mmst_cli.mining.mining_vectors import FloatArray, Numbers, Side, write_array
from mmst_cli.mining.pairs import inner_products, to_similarity
from mmst_cli.model.checkpoint import read_checkpoint_config
from mmst_cli.model.fit import check_columns
from mmst_cli.model.load import find_model, load_model
from mmst_cli.model.media import fit_media
from mmst_cli.model.precision import Precision
from mmst_cli.rows.columns import Column, RowSet, as_input

if TYPE_CHECKING:
    import torch

    from mmst_cli.mining.negative_search import Search
    from mmst_cli.terminal import Terminal

PAIRS_AT_A_TIME = 512  # whose inputs are in memory, decoded
ANCHORS_PER_PART = 256  # whose candidates are rescored before that is written down


@dataclass(frozen=True)
class SecondModel:
    """A second model, loaded: an embedding model in ``embedding``, or a CrossEncoder in ``cross``."""

    name: str
    precision: Precision
    embedding: Any = None
    cross: Any = None

    def rescore(
        self,
        search: Search,
        anchors: Side,
        documents: Side,
        places: Numbers,
        pairs: tuple[Numbers, Numbers],
        terminal: Terminal,
    ) -> tuple[FloatArray, FloatArray]:
        """Return the scores of the candidates, shape of ``places``, and those of the (anchor, positive) pairs."""
        ask = _of_cross if self.cross is not None else _of_embedding
        return ask(self, search, anchors, documents, places, pairs, terminal)


def load_second(name: str, device: torch.device, precision: Precision) -> SecondModel:
    """Load a CrossEncoder, or an embedding model where it is none.

    Raises:
        ModelError: it can't be loaded.
    """
    if not is_cross_encoder(name):
        model, _ = load_model(ModelConfig(name_or_path=name), device, precision)
        return SecondModel(name, precision, embedding=model)
    from sentence_transformers import CrossEncoder

    try:
        return SecondModel(name, precision, cross=CrossEncoder(find_model(name), device=str(device)))
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(f"second_model: {name} can't be loaded: {' '.join(str(error).split())}") from error


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


def _of_embedding(
    second: SecondModel,
    search: Search,
    anchors: Side,
    documents: Side,
    places: Numbers,
    pairs: tuple[Numbers, Numbers],
    terminal: Terminal,
) -> tuple[FloatArray, FloatArray]:
    similarity = to_similarity(str(second.embedding.similarity_fn_name))
    settings = search.rows.reader
    reader = Reader(settings.settings, settings.folder, settings.allow_urls)
    fit_media(second.embedding, [reader])
    rows = replace(search.rows, reader=reader)
    embedder = Embedder(second.embedding, search.folder, search.mine.batch_size, second.precision, search.rows_per_part)
    count = len(anchors.first_row) + len(documents.first_row)
    with terminal.progress("embedding again", count, unit="inputs") as progress:
        of_documents = embed_again(embedder, rows, search.positive, "document", documents.first_row, progress)
        of_anchors = embed_again(embedder, rows, search.anchor, "query", anchors.first_row, progress)
    there = places >= 0
    asked = (np.nonzero(there)[0], places[there])
    scores = np.full(places.shape, -np.inf, dtype=np.float32)
    scores[there] = similarity(inner_products(of_anchors, of_documents, asked))
    return scores, similarity(inner_products(of_anchors, of_documents, pairs))


def _of_cross(
    second: SecondModel,
    search: Search,
    anchors: Side,
    documents: Side,
    places: Numbers,
    pairs: tuple[Numbers, Numbers],
    terminal: Terminal,
) -> tuple[FloatArray, FloatArray]:
    ask = _Asker(second, search, anchors, documents)
    scores = np.full(places.shape, -np.inf, dtype=np.float32)
    with terminal.progress("scoring again", len(places), unit="anchors") as progress:
        for start in range(0, len(places), ANCHORS_PER_PART):
            some = slice(start, start + ANCHORS_PER_PART)
            there = places[some] >= 0
            owners = np.nonzero(there)[0] + start
            path = search.folder / f"second-scores-{start // ANCHORS_PER_PART:05d}.npy"
            scores[some][there] = ask.kept(path, owners, places[some][there])
            progress.advance(len(there))
    step = ANCHORS_PER_PART * 10
    pieces = [slice(start, start + step) for start in range(0, len(pairs[0]), step)]
    files = [search.folder / f"second-positives-{number:05d}.npy" for number in range(len(pieces))]
    of_positives = [ask.kept(f, pairs[0][s], pairs[1][s]) for f, s in zip(files, pieces, strict=True)]
    return scores, np.concatenate(of_positives)


class _Asker:
    """Asks a CrossEncoder for the scores of pairs, reading each input when it is needed."""

    def __init__(self, second: SecondModel, search: Search, anchors: Side, documents: Side) -> None:
        self.second, self.search = second, search
        self.anchors, self.documents = anchors, documents

    def kept(self, path: Path, owners: Numbers, places: Numbers) -> FloatArray:
        """Return the scores of (anchor, document) pairs, from the file if it is there, else into it."""
        if not path.is_file():
            pieces = [slice(start, start + PAIRS_AT_A_TIME) for start in range(0, len(owners), PAIRS_AT_A_TIME)]
            found = [self._ask(owners[piece], places[piece]) for piece in pieces]
            write_array(path, np.concatenate(found) if found else np.empty(0, dtype=np.float32))
        return np.load(path)  # type: ignore[no-any-return]

    def _ask(self, owners: Numbers, places: Numbers) -> FloatArray:
        rows, search = self.search.rows, self.search
        first = zip(self.anchors.first_row[owners].tolist(), self.documents.first_row[places].tolist(), strict=True)
        asked = [(_value(rows, search.anchor, one), _value(rows, search.positive, other)) for one, other in first]
        with self.second.precision.context(self.second.cross.device):
            found = self.second.cross.predict(asked, batch_size=search.mine.batch_size, show_progress_bar=False)
        return np.asarray(found, dtype=np.float32).reshape(-1)


def _value(rows: RowSet, column: Column, row: int) -> Any:
    value = rows.value_at(column, row)
    return value if column.modality == "text" else as_input(value, column.modality)
