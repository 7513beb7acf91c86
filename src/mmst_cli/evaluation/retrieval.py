"""Retrieval quality at every Matryoshka dimension, from one encoding pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers.sentence_transformer.evaluation import BaseEvaluator

from mmst_cli.data.retrieval import RetrievalSet
from mmst_cli.encoding.pipeline import Task, as_input, encode_stream
from mmst_cli.evaluation.ranking import metrics_per_query, relevance, relevant_ranks
from mmst_cli.evaluation.results import BYTES_PER_VALUE, Cell, EvaluationResult
from mmst_cli.model.precision import Precision

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class MatryoshkaRetrievalEvaluator(BaseEvaluator):  # type: ignore[misc]
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
        super().__init__()
        self.retrieval = retrieval
        self.dims = sorted(dims, reverse=True)
        self.name = name
        self.precision = precision or Precision()
        self.batch_size = batch_size
        self.query_prompts = {"prompt": query_prompt, "prompt_name": query_prompt_name}
        self.corpus_prompts = {"prompt": corpus_prompt, "prompt_name": corpus_prompt_name}
        self.ks = {
            "accuracy": accuracy_at_k,
            "precision": precision_recall_at_k,
            "recall": precision_recall_at_k,
            "ndcg": ndcg_at_k,
            "mrr": mrr_at_k,
            "map": map_at_k,
        }
        self.wanted = relevance(retrieval.query_ids, retrieval.corpus_ids, retrieval.relevant)
        self.on_encoded: Callable[[int], None] | None = None
        self.result: EvaluationResult | None = None

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Encode once, measure at every dimension, and return all metrics under this evaluator's name.

        The cells are kept in :attr:`result`.
        """
        queries = self._encode(model, self.retrieval.queries(), "query", self.query_prompts)
        corpus = self._encode(model, self.retrieval.corpus(), "document", self.corpus_prompts)
        primary = f"ndcg@{max(self.ks['ndcg'])}"
        cells: list[Cell] = []
        per_query: list[float] = []
        for dim in self.dims or [corpus.shape[1]]:
            # What encode(truncate_dim=dim) gives: the first values, not normalised again.
            ranks = relevant_ranks(queries[:, :dim], corpus[:, :dim], self.wanted, model.similarity)
            metrics = metrics_per_query(ranks, self.wanted, self.ks)
            means = {name: float(values.mean()) for name, values in metrics.items()}
            cells.append(Cell(dim, "float32", dim * BYTES_PER_VALUE["float32"], means))
            per_query = per_query or metrics[primary].tolist()
        self.result = EvaluationResult(
            self.name, "", len(queries), len(corpus), primary, cells, primary_per_query=per_query
        )
        return self._named_metrics(model, self.result)

    @property
    def inputs(self) -> int:
        """How many queries and documents it encodes."""
        return self.wanted.queries + len(self.wanted.order)

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

    def _named_metrics(self, model: SentenceTransformer, result: EvaluationResult) -> dict[str, float]:
        similarity = model.similarity_fn_name
        named = {f"{similarity}_{name}": value for name, value in result.full.metrics.items()}
        for cell in result.cells:
            named |= {f"dim_{cell.dim}_{similarity}_{name}": value for name, value in cell.metrics.items()}
        self.primary_metric = f"{similarity}_{result.primary_metric}"
        return self.prefix_name_to_metrics(named, self.name)  # type: ignore[no-any-return]
