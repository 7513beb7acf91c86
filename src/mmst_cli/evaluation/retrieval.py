"""Retrieval quality at every Matryoshka dimension, from one encoding pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

from mmst_cli.data.retrieval import RetrievalSet
from mmst_cli.encoding.pipeline import Task, as_input, encode_stream
from mmst_cli.evaluation.results import BYTES_PER_VALUE, Cell, EvaluationResult
from mmst_cli.model.precision import Precision

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PRIMARY = "ndcg@10"


class _SlicedEvaluator(InformationRetrievalEvaluator):  # type: ignore[misc]
    """The evaluator of sentence-transformers over vectors that are there already.

    Its scores, ranking and metrics are inherited; only ``embed_inputs`` is replaced, by slices of the
    vectors' first ``truncate_dim`` values, which is what it would get from ``encode(truncate_dim=...)``.
    """

    queries_at: torch.Tensor
    hits: list[list[dict[str, Any]]]

    def embed_inputs(self, model: SentenceTransformer, sentences: Any, **_: Any) -> torch.Tensor:
        return self.queries_at[:, : self.truncate_dim]

    def compute_metrics(self, queries_result_list: list[Any]) -> dict[str, dict[int, float]]:
        self.hits = queries_result_list
        return super().compute_metrics(queries_result_list)  # type: ignore[no-any-return]

    def measure(self, model: SentenceTransformer, queries: torch.Tensor, corpus: torch.Tensor) -> dict[str, float]:
        """Return metric name to value for vectors of shape (queries, full) and (corpus, full)."""
        self.queries_at = queries
        self.score_functions = self._model_score_functions(model)
        self.score_function_names = list(self.score_functions)
        scores = self.compute_all_metrics(model, corpus_embeddings=corpus[:, : self.truncate_dim])
        return {
            name.replace("@k", f"@{k}"): float(value)
            for name, at_k in scores[model.similarity_fn_name].items()
            for k, value in at_k.items()
        }

    def ndcg_per_query(self, k: int = 10) -> list[float]:
        """Return NDCG@k of each query of the last measurement."""
        values = []
        for query, hits in zip(self.queries_ids, self.hits, strict=True):
            relevant = self.relevant_docs[query]
            ranked = sorted(hits, key=lambda hit: (-hit["score"], hit["corpus_id"]))[:k]
            found = self.compute_dcg_at_k([float(hit["corpus_id"] in relevant) for hit in ranked], k)
            values.append(float(found / self.compute_dcg_at_k([1] * len(relevant), k)))
        return values


class MatryoshkaRetrievalEvaluator(InformationRetrievalEvaluator):  # type: ignore[misc]
    """Retrieval metrics at several embedding dimensions; each query and document is encoded once.

    Every metric equals that of sentence-transformers' InformationRetrievalEvaluator with that
    ``truncate_dim``. Scores are computed in float32, whatever the model runs in.

    Args:
        retrieval: queries, corpus and relevance.
        dims: embedding dimensions to measure; the model's own if empty.
        name: name in metrics: ``<name>_cosine_ndcg@10`` at the largest dimension and
            ``<name>_dim_<dim>_cosine_ndcg@10`` at each.
        precision: mixed precision to encode under.
        batch_size: inputs per forward pass.
        query_prompt: text to prompt queries with, instead of the model's query prompt.
        query_prompt_name: the same, by a name among the model's prompts.
        corpus_prompt: text to prompt documents with, instead of the model's document prompt.
        corpus_prompt_name: the same, by a name among the model's prompts.
        accuracy_at_k: ranks at which to measure, for this and the following metrics.

    """

    def __init__(
        self,
        retrieval: RetrievalSet,
        dims: Sequence[int] = (),
        *,
        name: str = "",
        precision: Precision | None = None,
        batch_size: int = 32,
        query_prompt: str | None = None,
        query_prompt_name: str | None = None,
        corpus_prompt: str | None = None,
        corpus_prompt_name: str | None = None,
        accuracy_at_k: Sequence[int] = (1, 3, 5, 10),
        precision_recall_at_k: Sequence[int] = (1, 3, 5, 10),
        mrr_at_k: Sequence[int] = (10,),
        ndcg_at_k: Sequence[int] = (10,),
        map_at_k: Sequence[int] = (100,),
    ) -> None:
        self.retrieval = retrieval
        self.dims = sorted(dims, reverse=True)
        self.precision = precision or Precision()
        self.ranks = {
            "accuracy_at_k": list(accuracy_at_k),
            "precision_recall_at_k": list(precision_recall_at_k),
            "mrr_at_k": list(mrr_at_k),
            "ndcg_at_k": list(ndcg_at_k),
            "map_at_k": list(map_at_k),
        }
        self.on_encoded: Callable[[int], None] | None = None
        self.result: EvaluationResult | None = None
        super().__init__(
            dict.fromkeys(retrieval.query_ids),
            dict.fromkeys(retrieval.corpus_ids),
            retrieval.relevant,
            batch_size=batch_size,
            name=name,
            query_prompt=query_prompt,
            query_prompt_name=query_prompt_name,
            corpus_prompt=corpus_prompt,
            corpus_prompt_name=corpus_prompt_name,
            write_csv=False,
            **self.ranks,
        )

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Encode once, measure at every dimension, and return all metrics under this evaluator's name.

        The cells are kept in :attr:`result`.
        """
        prompts = {"prompt": self.query_prompt, "prompt_name": self.query_prompt_name}
        queries = self._encode(model, self.retrieval.queries(), "query", prompts)
        prompts = {"prompt": self.corpus_prompt, "prompt_name": self.corpus_prompt_name}
        corpus = self._encode(model, self.retrieval.corpus(), "document", prompts)
        full = corpus.shape[1]
        primary = f"ndcg@{max(self.ndcg_at_k)}"
        cells: list[Cell] = []
        per_query: list[float] = []
        for dim in self.dims or [full]:
            sliced = self._at(dim)
            metrics = sliced.measure(model, queries, corpus)
            cells.append(Cell(dim, "float32", dim * BYTES_PER_VALUE["float32"], metrics))
            per_query = per_query or sliced.ndcg_per_query(max(self.ndcg_at_k))
        self.result = EvaluationResult(
            self.name, "", len(queries), len(corpus), primary, cells, primary_per_query=per_query
        )
        return self._named_metrics(model, self.result)

    def _encode(
        self, model: SentenceTransformer, values: Any, task: Task, prompts: dict[str, str | None]
    ) -> torch.Tensor:
        chunks = encode_stream(
            model,
            (as_input(value, modality) for modality, value in values),
            batch_size=self.batch_size,
            task=task,
            precision=self.precision,
            on_encoded=self.on_encoded,
            **prompts,
        )
        return torch.cat(list(chunks))

    def _at(self, dim: int) -> _SlicedEvaluator:
        return _SlicedEvaluator(
            dict.fromkeys(self.queries_ids),
            dict.fromkeys(self.corpus_ids),
            self.relevant_docs,
            truncate_dim=dim,
            **self.ranks,
        )

    def _named_metrics(self, model: SentenceTransformer, result: EvaluationResult) -> dict[str, float]:
        similarity = model.similarity_fn_name
        named = {f"{similarity}_{name}": value for name, value in result.full.metrics.items()}
        for cell in result.cells:
            named |= {f"dim_{cell.dim}_{similarity}_{name}": value for name, value in cell.metrics.items()}
        self.primary_metric = f"{similarity}_{result.primary_metric}"
        return self.prefix_name_to_metrics(named, self.name)  # type: ignore[no-any-return]
