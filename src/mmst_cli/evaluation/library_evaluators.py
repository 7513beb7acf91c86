"""Sentence-transformers' evaluators and the user's own, fed from columns and run at several dimensions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers.sentence_transformer import evaluation as library
from sentence_transformers.sentence_transformer.evaluation import BaseEvaluator

from mmst_cli.config.schema import Role
from mmst_cli.config.signatures import evaluator_signature
from mmst_cli.config.user_classes import is_dotted, user_evaluator
from mmst_cli.errors import DataError
from mmst_cli.evaluation.evaluation_results import Cell, Evaluation, EvaluationResult
from mmst_cli.evaluation.finite_vectors import check_vectors
from mmst_cli.retrieval.retrieval_set import RetrievalSet, RowRetrieval
from mmst_cli.rows.columns import Column, RowSet, as_input
from mmst_cli.vectors.fitting_batches import encode_fitting
from mmst_cli.vectors.quantise import bytes_per_vector

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class LibraryEvaluator(BaseEvaluator):  # type: ignore[misc]
    """An evaluator of sentence-transformers or of the user's own, at each of several dimensions.

    Args:
        kind: its class name, or the path of the user's class.
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
        self.is_own = is_dotted(kind)
        build = user_evaluator(kind) if self.is_own else getattr(library, kind)
        signature = evaluator_signature(kind)
        names = set(signature.parameters if signature else ())
        data = _inputs_by_name(names, rows)
        if isinstance(rows, RowSet) and not self.is_own:
            _check_labels(rows, data.get("labels", data.get("scores", ())))
        sizes: list[int | None] = [*sorted(dims, reverse=True)] or [arguments.pop("truncate_dim", None)]
        if "name" in names:
            arguments["name"] = ""
        self.at_dim = {
            dim: build(**data, **({"truncate_dim": dim} if "truncate_dim" in names else {}), **arguments)
            for dim in sizes
        }
        self.queries, self.corpus = (len(data.get(part, ())) for part in ("queries", "corpus"))
        self.evaluation: Evaluation | None = None

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Measure at every dimension, and return all metrics under this evaluator's name."""
        # Of a user's there is no telling how it embeds.
        once: Any = model if self.is_own else EncodeOnce(model, self.name)
        cells: list[Cell] = []
        named: dict[str, float] = {}
        for dim, evaluator in self.at_dim.items():
            scores = evaluator(once, None, epoch, steps)
            scores = scores if isinstance(scores, Mapping) else {"score": scores}
            found = {key: float(value) for key, value in scores.items()}
            size = dim or model.get_embedding_dimension() or 0
            cells.append(Cell(size, "float32", bytes_per_vector(size, "float32"), found))
            named |= found if len(cells) == 1 else {}
            named |= {f"dim_{size}_{key}": value for key, value in found.items()} if self.several else {}
        declared = getattr(next(iter(self.at_dim.values())), "primary_metric", None)
        primary = declared if declared in cells[0].metrics else next(iter(cells[0].metrics), "score")
        self.evaluation = Evaluation(EvaluationResult(self.name, "", self.queries, self.corpus, primary, cells))
        self.primary_metric = primary
        return self.prefix_name_to_metrics(named, self.name)  # type: ignore[no-any-return]


class EncodeOnce:
    """A model that encodes each list of inputs once, and gives slices of its vectors at other dimensions."""

    def __init__(self, model: SentenceTransformer, evaluator: str = "") -> None:
        self._model, self._evaluator = model, evaluator
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
        batch_size = options.pop("batch_size", 32)
        if not isinstance(inputs, list) or options.get("precision", "float32") != "float32":
            raise TypeError("only lists of inputs are encoded, in float32")
        # The evaluators of all dimensions hold the same inputs, so that their identities name them.
        key = (how, tuple(map(id, inputs)), str(sorted(options.items())))
        if key not in self._encoded:
            encode = partial(getattr(self._model, how), inputs, convert_to_tensor=True, **options)
            vectors = encode_fitting(self._model, lambda size: encode(batch_size=size), batch_size).float()
            self._encoded[key] = check_vectors(vectors, "inputs", self._evaluator)
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


_COLUMN_OF = {
    **dict.fromkeys(("anchors", "sentences1"), Role.anchor),
    **dict.fromkeys(("positives", "sentences2"), Role.positive),
    "negatives": Role.negative,
    **dict.fromkeys(("labels", "scores"), Role.label),
}
"""The arguments of evaluators that are one column, and its role; of several columns it is the first."""


def _inputs_by_name(names: Collection[str], rows: RowSet | RetrievalSet) -> dict[str, Any]:
    """Return those of the arguments ``names`` that the data have, from columns or from judgements."""
    if not isinstance(rows, RowSet):
        return {name: value for name, value in _information_retrieval(rows).items() if name in names}
    columns = {name: rows.with_role(role) for name, role in _COLUMN_OF.items() if name in names}
    data: dict[str, Any] = {}
    for name, found in columns.items():
        if found:
            data[name] = _labels(rows) if _COLUMN_OF[name] is Role.label else _inputs(rows, found[0])
    if {"queries", "corpus", "relevant_docs"} & set(names) and all(map(rows.with_role, (Role.anchor, Role.positive))):
        data |= {name: value for name, value in _information_retrieval(rows).items() if name in names}
    if "samples" in names and all(map(rows.with_role, (Role.anchor, Role.positive, Role.negative))):
        data |= _reranking(rows)
    return data


def _check_labels(rows: RowSet, labels: Sequence[Any]) -> None:
    """Raise DataError where all labels are the same: correlations and thresholds of such mean nothing."""
    if len(labels) and all(label == labels[0] for label in labels):
        column = rows.with_role(Role.label)[0].name
        raise DataError(
            f"datasets.{rows.key}, column {column}: all labels are {labels[0]}, and an evaluator needs different ones."
        )


def _reranking(rows: RowSet) -> dict[str, Any]:
    anchor = _inputs(rows, rows.with_role(Role.anchor)[0])
    positives = list(zip(*(_inputs(rows, c) for c in rows.with_role(Role.positive)), strict=True))
    negatives = list(zip(*(_inputs(rows, c) for c in rows.with_role(Role.negative)), strict=True))
    samples = zip(anchor, positives, negatives, strict=True)
    return {"samples": [{"query": q, "positive": list(p), "negative": list(n)} for q, p, n in samples]}
