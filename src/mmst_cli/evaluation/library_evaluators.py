"""Sentence-transformers' own evaluators, fed from columns and run at several dimensions on one encoding pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers.sentence_transformer import evaluation as library
from sentence_transformers.sentence_transformer.evaluation import BaseEvaluator

from mmst_cli.config.schema import Role
from mmst_cli.evaluation.evaluation_results import Cell, Evaluation, EvaluationResult
from mmst_cli.retrieval.retrieval_set import RetrievalSet, RowRetrieval
from mmst_cli.rows.columns import Column, RowSet, as_input
from mmst_cli.vectors.quantise import bytes_per_vector

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class LibraryEvaluator(BaseEvaluator):  # type: ignore[misc]
    """An evaluator of sentence-transformers, at each of several dimensions.

    Args:
        kind: its class name.
        rows: the dataset it reads.
        dims: embedding dimensions; the model's own if empty.
        name: name in metrics, as for MatryoshkaRetrievalEvaluator.
        arguments: further arguments of the class.
    """

    def __init__(
        self, kind: str, rows: RowSet | RetrievalSet, dims: Sequence[int] = (), *, name: str = "", **arguments: Any
    ) -> None:
        super().__init__()
        self.name, self.several = name, bool(dims)
        data = _INPUTS[kind](rows)
        build = getattr(library, kind)
        sizes: list[int | None] = [*sorted(dims, reverse=True)] or [arguments.pop("truncate_dim", None)]
        self.at_dim = {dim: build(**data, truncate_dim=dim, name="", **arguments) for dim in sizes}
        self.queries, self.corpus = (len(data.get(part, ())) for part in ("queries", "corpus"))
        self.evaluation: Evaluation | None = None

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Measure at every dimension, and return all metrics under this evaluator's name."""
        once = EncodeOnce(model)
        cells: list[Cell] = []
        named: dict[str, float] = {}
        for dim, evaluator in self.at_dim.items():
            found = {key: float(value) for key, value in evaluator(once, None, epoch, steps).items()}
            size = dim or model.get_embedding_dimension() or 0
            cells.append(Cell(size, "float32", bytes_per_vector(size, "float32"), found))
            named |= found if len(cells) == 1 else {}
            named |= {f"dim_{size}_{key}": value for key, value in found.items()} if self.several else {}
        primary = str(next(iter(self.at_dim.values())).primary_metric)
        self.evaluation = Evaluation(EvaluationResult(self.name, "", self.queries, self.corpus, primary, cells))
        self.primary_metric = primary
        return self.prefix_name_to_metrics(named, self.name)  # type: ignore[no-any-return]


class EncodeOnce:
    """A model that encodes each list of inputs once, and gives slices of its vectors at other dimensions."""

    def __init__(self, model: SentenceTransformer) -> None:
        self._model = model
        self._encoded: dict[Any, torch.Tensor] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, inputs: Any, **options: Any) -> Any:
        """Encode as the model does."""
        return self._encode("encode", inputs, options)

    def encode_query(self, inputs: Any, **options: Any) -> Any:
        """Encode queries as the model does."""
        return self._encode("encode_query", inputs, options)

    def encode_document(self, inputs: Any, **options: Any) -> Any:
        """Encode documents as the model does."""
        return self._encode("encode_document", inputs, options)

    def _encode(self, how: str, inputs: Any, options: dict[str, Any]) -> Any:
        options = {key: value for key, value in options.items() if value is not None}
        dim, normalise = options.pop("truncate_dim", None), options.pop("normalize_embeddings", False)
        as_tensor = options.pop("convert_to_tensor", False)
        as_numpy = options.pop("convert_to_numpy", True)
        if not isinstance(inputs, list) or options.get("precision", "float32") != "float32":
            raise TypeError("only lists of inputs are encoded, in float32")
        # The evaluators of all dimensions hold the same inputs, so that their identities name them.
        key = (how, tuple(map(id, inputs)), str(sorted(options.items())))
        if key not in self._encoded:
            self._encoded[key] = getattr(self._model, how)(inputs, convert_to_tensor=True, **options).float()
        vectors = self._encoded[key] if dim is None else self._encoded[key][:, :dim]
        vectors = torch.nn.functional.normalize(vectors, p=2, dim=1) if normalise else vectors
        if as_tensor:
            return vectors
        return vectors.cpu().numpy() if as_numpy else list(vectors)


def _inputs(rows: RowSet, column: Column) -> list[Any]:
    return [as_input(value, column.modality) for value in rows.values(column)]


def _labels(rows: RowSet) -> list[Any]:
    return list(rows.values(rows.with_role(Role.label)[0]))


def _information_retrieval(rows: RowSet | RetrievalSet) -> dict[str, Any]:
    retrieval = RowRetrieval(rows) if isinstance(rows, RowSet) else rows
    queries = [as_input(value, modality) for modality, value in retrieval.queries()]
    corpus = [as_input(value, modality) for modality, value in retrieval.corpus()]
    return {
        "queries": dict(zip(retrieval.query_ids, queries, strict=True)),
        "corpus": dict(zip(retrieval.corpus_ids, corpus, strict=True)),
        "relevant_docs": {query: set(answers) for query, answers in retrieval.relevant.items()},
    }


def _triplets(rows: RowSet) -> dict[str, Any]:
    roles = {"anchors": Role.anchor, "positives": Role.positive, "negatives": Role.negative}
    return {argument: _inputs(rows, rows.with_role(role)[0]) for argument, role in roles.items()}


def _pairs(rows: RowSet, labels: str) -> dict[str, Any]:
    anchor, positive = rows.with_role(Role.anchor)[0], rows.with_role(Role.positive)[0]
    return {
        "sentences1": _inputs(rows, anchor),
        "sentences2": _inputs(rows, positive),
        labels: _labels(rows),
    }


def _reranking(rows: RowSet) -> dict[str, Any]:
    anchor = _inputs(rows, rows.with_role(Role.anchor)[0])
    positives = list(zip(*(_inputs(rows, c) for c in rows.with_role(Role.positive)), strict=True))
    negatives = list(zip(*(_inputs(rows, c) for c in rows.with_role(Role.negative)), strict=True))
    samples = zip(anchor, positives, negatives, strict=True)
    return {"samples": [{"query": q, "positive": list(p), "negative": list(n)} for q, p, n in samples]}


_INPUTS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "InformationRetrievalEvaluator": _information_retrieval,
    "TripletEvaluator": _triplets,
    "EmbeddingSimilarityEvaluator": lambda rows: _pairs(rows, "scores"),
    "BinaryClassificationEvaluator": lambda rows: _pairs(rows, "labels"),
    "RerankingEvaluator": _reranking,
}
