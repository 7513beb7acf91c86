"""Evaluators from the config: ours, and sentence-transformers' own as far as columns can feed them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sentence_transformers.sentence_transformer import evaluation as library
from sentence_transformers.sentence_transformer.evaluation import BaseEvaluator

from mmst_cli.config.schema import EvaluatorConfig, Role
from mmst_cli.data.columns import Column, RowSet
from mmst_cli.data.retrieval import RetrievalSet
from mmst_cli.encoding.pipeline import as_input
from mmst_cli.errors import ConfigError
from mmst_cli.evaluation.results import BYTES_PER_VALUE, Cell, EvaluationResult
from mmst_cli.evaluation.retrieval import MatryoshkaRetrievalEvaluator
from mmst_cli.model.precision import Precision

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def build_evaluator(name: str, config: EvaluatorConfig, rows: RowSet, precision: Precision) -> BaseEvaluator:
    """Build one evaluator from its section and its dataset.

    Raises:
        ConfigError: the class refuses its arguments.
    """
    if config.type == MatryoshkaRetrievalEvaluator.__name__:
        build: Callable[..., BaseEvaluator] = MatryoshkaRetrievalEvaluator
        data: dict[str, Any] = {"retrieval": RetrievalSet(rows), "dims": config.dims, "precision": precision}
    else:
        build = getattr(library, config.type)
        data = _INPUTS[config.type](rows)
    try:
        return build(**data, name=name, **config.args)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"evaluators.{name}.args: {config.type}: {error}") from error


class EvaluatorSuite(BaseEvaluator):  # type: ignore[misc]
    """All evaluators of a config, run under the precision that the run declares.

    The trainer calls it like any evaluator; :attr:`results` keeps what each found.
    """

    def __init__(self, evaluators: Mapping[str, BaseEvaluator], precision: Precision, model_name: str) -> None:
        super().__init__()
        self.evaluators = dict(evaluators)
        self.precision = precision
        self.model_name = model_name
        self.results: dict[str, EvaluationResult] = {}
        self.last_step: int | None = None
        self.before_evaluator: Callable[[str, BaseEvaluator], None] | None = None

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Run every evaluator and return all metrics. Nothing is written: the run folder has its own layout."""
        metrics: dict[str, float] = {}
        for name, evaluator in self.evaluators.items():
            if self.before_evaluator:
                self.before_evaluator(name, evaluator)
            with self.precision.context(model.device):
                found = evaluator(model, None, epoch, steps)
            metrics |= found
            self.results[name] = self._result(name, evaluator, found, model)
        self.last_step = steps
        return metrics

    def _result(
        self, name: str, evaluator: BaseEvaluator, found: dict[str, float], model: SentenceTransformer
    ) -> EvaluationResult:
        if isinstance(evaluator, MatryoshkaRetrievalEvaluator) and evaluator.result is not None:
            return EvaluationResult(**{**evaluator.result.__dict__, "model": self.model_name})
        dim = getattr(evaluator, "truncate_dim", None) or model.get_embedding_dimension() or 0
        plain = {key.removeprefix(f"{name}_"): float(value) for key, value in found.items()}
        primary = str(evaluator.primary_metric).removeprefix(f"{name}_")
        cell = Cell(dim, "float32", dim * BYTES_PER_VALUE["float32"], plain)
        queries = len(getattr(evaluator, "queries", ()) or ())
        corpus = len(getattr(evaluator, "corpus", ()) or ())
        return EvaluationResult(name, self.model_name, queries, corpus, primary, [cell])


def _inputs(rows: RowSet, column: Column) -> list[Any]:
    return [as_input(value, column.modality) for value in rows.values(column)]


def _labels(rows: RowSet) -> list[Any]:
    return list(rows.values(rows.with_role(Role.label)[0]))


def _information_retrieval(rows: RowSet) -> dict[str, Any]:
    retrieval = RetrievalSet(rows)
    queries = [as_input(value, modality) for modality, value in retrieval.queries()]
    corpus = [as_input(value, modality) for modality, value in retrieval.corpus()]
    return {
        "queries": dict(zip(retrieval.query_ids, queries, strict=True)),
        "corpus": dict(zip(retrieval.corpus_ids, corpus, strict=True)),
        "relevant_docs": retrieval.relevant,
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


_INPUTS: dict[str, Callable[[RowSet], dict[str, Any]]] = {
    "InformationRetrievalEvaluator": _information_retrieval,
    "TripletEvaluator": _triplets,
    "EmbeddingSimilarityEvaluator": lambda rows: _pairs(rows, "scores"),
    "BinaryClassificationEvaluator": lambda rows: _pairs(rows, "labels"),
    "RerankingEvaluator": _reranking,
}
