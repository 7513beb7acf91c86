"""A second model, asked how similar anchors and documents are: a CrossEncoder or another embedding model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmst_cli.config.schema import ModelConfig, Role
from mmst_cli.errors import ConfigError, DataError, ModelError, WorkError
from mmst_cli.mining.mining_embedding import Embedder, embed_again
from mmst_cli.mining.mining_vectors import FloatArray, Numbers, Side, inner_products, to_similarity, write_array
from mmst_cli.model.checkpoint import read_checkpoint_config
from mmst_cli.model.large_images import shrink_large_images
from mmst_cli.model.load_model import find_model
from mmst_cli.model.model_media import fit_media
from mmst_cli.model.precision import HALF, Precision, Runtime
from mmst_cli.preparing.prepared_model import check_columns, prepare_model, with_own_reader
from mmst_cli.rows.columns import ROW, Column, RowSet, as_input, place
from mmst_cli.vectors.fitting_batches import encode_fitting
from mmst_cli.work import part_path

if TYPE_CHECKING:
    import torch

    from mmst_cli.terminal import Terminal

PAIRS_AT_A_TIME = 512  # whose inputs are in memory, decoded
ANCHORS_PER_PART = 256  # whose candidates are rescored before that is written down
POSITIVES_PER_PART = 2_560  # the same of pairs of anchors and positives
SECOND_MODEL = "second_model"


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
    key: str = SECOND_MODEL
    """What names it, for messages."""

    def rescore(self, asked: Rescoring, terminal: Terminal) -> tuple[FloatArray, FloatArray]:
        """Return the scores of the candidates, in their shape, and those of the pairs of anchors and positives."""
        ask = _of_cross if self.cross is not None else _of_embedding
        return ask(self, asked, terminal)


def load_second(
    config: ModelConfig, device: torch.device, precision: Precision, key: str = SECOND_MODEL, *, logits: bool = False
) -> SecondModel:
    """Load a CrossEncoder, or an embedding model where it is none.

    Args:
        config: which one.
        device: where it runs.
        precision: mixed precision to run under.
        key: what names it, for messages.
        logits: whether a CrossEncoder's scores are those before its activation, such as a sigmoid.

    Raises:
        ConfigError: logits are asked of an embedding model.
        ModelError: it can't be loaded, or scores classes.
    """
    name = config.name_or_path
    if not is_cross_encoder(name, config.revision):
        if logits:
            raise ConfigError(f"--logits: {name} is an embedding model, which has none. Leave it out.")
        return SecondModel(name, precision, prepare_model(config, Runtime(device, precision)).model, key=key)
    from sentence_transformers import CrossEncoder
    from torch import nn

    options: dict[str, Any] = {"revision": config.revision, "trust_remote_code": config.trust_remote_code}
    if logits:
        options["activation_fn"] = nn.Identity()
    try:
        cross = CrossEncoder(find_model(name), device=str(device), **options)
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(f"{key}: {name} can't be loaded: {' '.join(str(error).split())}") from error
    if cross.num_labels != 1:
        raise ModelError(f"{key}: {name} tells {cross.num_labels} classes of pairs. Take one that gives each a score.")
    _score_in_float32(cross, precision)
    return SecondModel(name, precision, cross=cross, key=key)


def _score_in_float32(cross: Any, precision: Precision) -> None:
    """Let the layer that gives the scores compute in float32: in half precision many pairs would have the same one."""
    from torch import nn

    if precision.autocast is None and cross.dtype not in HALF:
        return
    found = [name for name, part in cross.named_modules() if type(part) is nn.Linear]
    last = [name for name in found if cross.get_submodule(name).out_features == cross.num_labels][-1:]
    with suppress(ValueError):  # a layer that was changed keeps what it does
        cross.set_keep_in_fp32_modules(list(dict.fromkeys([*(cross.keep_in_fp32_modules or []), *last])))


def is_cross_encoder(name: str, revision: str | None = None) -> bool:
    """Whether a model scores pairs: it says so, or it is a checkpoint with a head that classifies."""
    from sentence_transformers.util import load_file_path

    source = find_model(name)
    config = read_checkpoint_config(source, revision, SECOND_MODEL) or {}
    if any(str(kind).endswith("ForSequenceClassification") for kind in config.get("architectures") or []):
        return True
    own = load_file_path(source, "config_sentence_transformers.json", revision=revision)
    return own is not None and '"CrossEncoder"' in Path(own).read_text(encoding="utf-8")


def check_second(second: SecondModel, key: str, *columns: Column) -> None:
    """Check that the second model takes what the rows hold.

    Raises:
        ModelError: it doesn't.
    """
    if second.cross is None:
        try:
            check_columns(second.embedding, key, columns)
        except ModelError as error:
            raise ModelError(f"{second.key}: {second.name}: {error}") from error
        return
    taken = {str(modality) for modality in getattr(second.cross, "modalities", ["text"])}
    for column in columns:
        if missing := [str(modality) for modality in column.modalities if str(modality) not in taken]:
            raise ModelError(
                f"{second.key}: {second.name} is a CrossEncoder of {', '.join(sorted(taken))}, and column {column.name}"
                f" holds {missing[0]}. Take an embedding model, or a CrossEncoder for {missing[0]}."
            )


def _of_embedding(second: SecondModel, asked: Rescoring, terminal: Terminal) -> tuple[FloatArray, FloatArray]:
    similarity = to_similarity(str(second.embedding.similarity_fn_name))
    rows, (anchor, document) = with_own_reader(asked.rows), asked.columns
    fit_media(second.embedding, [rows.reader])
    shrink_large_images(second.embedding, [rows.reader])
    anchors, documents = asked.anchors.first_row, asked.documents.first_row
    embedder = replace(asked.embedder, model=second.embedding, precision=second.precision, prompts={})
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
            (input_at(rows, anchor, first), input_at(rows, document, second))
            for first, second in zip(one.tolist(), other.tolist(), strict=True)
        ]
        found = score_pairs(self.second, pairs, self.asked.embedder.batch_size)
        check_scores(found, self.second, lambda pair: rows.rows[int(one[pair])], rows, anchor)
        return found


def score_pairs(second: SecondModel, pairs: list[tuple[Any, Any]], batch_size: int) -> FloatArray:
    """Return the scores that a CrossEncoder gives pairs of inputs, as its `predict` does, shape (pairs,)."""
    pairs = [_with_texts(*pair) for pair in pairs]
    with second.precision.forward_of(second.cross):
        found = encode_fitting(
            second.cross,
            lambda size: second.cross.predict(pairs, batch_size=size, show_progress_bar=False),
            batch_size,
        )
    return np.asarray(found, dtype=np.float32).reshape(-1)


def _with_texts(one: Any, other: Any) -> tuple[Any, Any]:
    """Return a pair whose texts stay texts: beside media one that is an address of media would be taken for those."""
    from sentence_transformers.base.modality import infer_modality

    if isinstance(one, str) and isinstance(other, str):
        return one, other
    named = ({"text": v} if isinstance(v, str) and infer_modality(v) != "text" else v for v in (one, other))
    return next(named), next(named)


def check_scores(
    scores: FloatArray, second: SecondModel, drawn: Callable[[int], Any], rows: RowSet, column: Column
) -> None:
    """Check that a model scored every pair.

    Args:
        scores: those of the pairs, shape (pairs,).
        second: the model.
        drawn: gives the row of a pair, to name it.
        rows: the rows.
        column: the column to name.

    Raises:
        WorkError: a score is not finite; the message names the row.
    """
    broken = np.flatnonzero(~np.isfinite(scores))
    if len(broken):
        number = rows.find(drawn(int(broken[0])), column.origin).get(ROW)
        raise WorkError(
            f"{place(rows.key, number, column.name)}: {second.name} gave a score that is not finite. Remove the row, or"
            " take another precision."
        )


def input_at(rows: RowSet, column: Column, row: int) -> Any:
    """Return one input as a CrossEncoder takes it.

    Raises:
        WorkError: it can't be read.
    """
    try:
        value = rows.value_at(column, row)
    except DataError as error:
        raise WorkError(str(error)) from error
    return value if column.modality == "text" else as_input(value, column.modality)
