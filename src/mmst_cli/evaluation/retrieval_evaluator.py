"""Retrieval quality at every Matryoshka dimension and precision, from one encoding pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sentence_transformers.sentence_transformer.evaluation import BaseEvaluator

from mmst_cli.config.schema import Modality
from mmst_cli.errors import DataError
from mmst_cli.evaluation.cell_measures import measure_cells
from mmst_cli.evaluation.cell_scores import RetrievalVectors, cell_scoring
from mmst_cli.evaluation.evaluation_results import Cell, Evaluation, EvaluationResult, Hits
from mmst_cli.evaluation.finite_vectors import check_vectors
from mmst_cli.evaluation.query_pairing import name_answers
from mmst_cli.media.input_digest import digest_of_input
from mmst_cli.model.precision import Precision
from mmst_cli.retrieval.retrieval_set import Deduplicator, RetrievalSet
from mmst_cli.rows.columns import as_input
from mmst_cli.rows.stored_inputs import StoredInput
from mmst_cli.vectors.data_workers import Workers
from mmst_cli.vectors.forward_pass import Task
from mmst_cli.vectors.input_stream import InputPipeline, all_vectors
from mmst_cli.vectors.ranking import Relevance, best_hits, relevance
from mmst_cli.vectors.refused_inputs import RefusedInputError
from mmst_cli.vectors.scoring import Scoring

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class MatryoshkaRetrievalEvaluator(BaseEvaluator):  # type: ignore[misc]
    """Retrieval metrics at several embedding dimensions and precisions; each input is encoded once.

    At float32 every metric equals that of sentence-transformers' InformationRetrievalEvaluator with that
    ``truncate_dim``. Scores are computed in float32, whatever the model runs in.

    Args:
        retrieval: queries, corpus and relevance.
        dims: embedding dimensions to measure; the model's own if empty.
        precisions: precisions to measure at each dimension; float32 if empty. The largest dimension is
            measured in float32 in any case: the others are compared with it.
        deduplicate: make documents with the same decoded content one, relevant to every query that names any.
        ranges: dimension to int8 ranges of shape (2, dim), instead of those of the corpus.
        name: name in metrics: ``<name>_cosine_ndcg@10`` at the largest dimension in float32,
            ``<name>_dim_<dim>_cosine_ndcg@10`` and ``<name>_dim_<dim>_<precision>_cosine_ndcg@10`` elsewhere.
        precision: mixed precision to encode under.
        workers: processes that prepare inputs; chosen by what preparing costs if left out.
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
        precisions: Sequence[str] = (),
        deduplicate: bool = True,
        ranges: dict[int, np.ndarray] | None = None,
        name: str = "",
        precision: Precision | None = None,
        workers: Workers | None = None,
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
        self.retrieval, self.name, self.batch_size = retrieval, name, batch_size
        self.dims, self.precisions = sorted(dims, reverse=True), list(precisions) or ["float32"]
        self.deduplicate, self.given_ranges = deduplicate, ranges or {}
        self.precision, self.workers = precision or Precision(), workers
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
        self.on_encoded: Callable[[int], None] | None = None
        self.evaluation: Evaluation | None = None
        self.ranges: dict[int, np.ndarray] = {}
        """Dimension to the int8 ranges that were used."""
        self._last: tuple[RetrievalVectors, Relevance, np.ndarray] | None = None

    @property
    def inputs(self) -> int:
        """How many queries and documents there are to encode."""
        return len(self.retrieval.query_ids) + len(self.retrieval.corpus_ids)

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Encode once, measure every cell, and return all metrics under this evaluator's name.

        Everything else that was found is kept in :attr:`evaluation`.
        """
        duplicates = Deduplicator()
        with InputPipeline(
            model, read=read_with_digest, batch_size=self.batch_size, precision=self.precision, workers=self.workers
        ) as pipeline:
            with self._refused(self.retrieval.place_of_query):
                queries, contents = self._encode(pipeline, self.retrieval.query_inputs(), "query")
            documents = duplicates.distinctly_stored(self.retrieval.corpus_inputs())
            with self._refused(lambda place: self.retrieval.place_of_document(duplicates.index_of(place))):
                corpus, digests = self._encode(pipeline, documents, "document")
        self._contents = [digest.hex() for digest in contents]
        places = duplicates.settle(digests) if self.deduplicate else duplicates.read_as
        corpus = corpus if places == list(range(len(corpus))) else corpus[places]
        wanted, kept = self._relevance(duplicates)
        self._answers = name_answers(wanted, self._names(kept, [digests[place] for place in duplicates.read_as]))
        self.evaluation = self._measure(RetrievalVectors(queries, corpus, model.similarity), wanted, kept)
        # On the CPU, so that a GPU keeps its memory for training.
        self._last = RetrievalVectors(queries.cpu(), corpus.cpu(), model.similarity), wanted, kept
        return self._named_metrics(model, self.evaluation.result)

    def judgements(self) -> dict[str, dict[str, int]]:
        """Return query id to document id to grade, as the last evaluation used them: without identical documents."""
        assert self._last is not None, "nothing was evaluated yet"
        _, wanted, kept = self._last
        judged: dict[str, dict[str, int]] = {query: {} for query in self.retrieval.query_ids}
        for query, document, grade in zip(wanted.query, wanted.document, wanted.grade, strict=True):
            judged[self.retrieval.query_ids[query]][self.retrieval.corpus_ids[kept[document]]] = int(grade)
        return judged

    @property
    def corpus_vectors(self) -> torch.Tensor:
        """The vectors of the corpus in the last evaluation, float32 of shape (documents, full), on the CPU."""
        assert self._last is not None, "nothing was evaluated yet"
        return self._last[0].corpus

    def hits(self, cell: Cell, k: int) -> Hits:
        """Return the ``k`` best documents of each query at a cell of the last evaluation."""
        assert self._last is not None, "nothing was evaluated yet"
        vectors, wanted, kept = self._last
        scoring = cell_scoring(vectors, cell.dim, cell.precision, max(self.ks["ndcg"]), self.ranges.get(cell.dim))
        documents, scores = best_hits(scoring if isinstance(scoring, Scoring) else scoring.scoring(), wanted, k)
        first = torch.arange(wanted.queries) * len(wanted.order)
        relevant = torch.isin(first[:, None] + documents, first[wanted.query] + wanted.document)
        return Hits(kept[documents.numpy()], scores.numpy(), relevant.numpy())

    @contextmanager
    def _refused(self, place_of: Callable[[int], str]) -> Iterator[None]:
        """Name the row of an input that the model's processor refuses."""
        try:
            yield
        except RefusedInputError as error:
            raise DataError(f"{place_of(error.place)}: {error.reason} Remove the row, or change it.") from error

    def _relevance(self, duplicates: Deduplicator) -> tuple[Relevance, np.ndarray]:
        """Return what is relevant among the distinct documents, and where each of those stands in the corpus."""
        names = self.retrieval.corpus_ids
        place = np.array(duplicates.first_of) if self.deduplicate else np.arange(len(names))
        kept = np.unique(place, return_index=True)[1]
        one_of = {name: names[kept[index]] for name, index in zip(names, place.tolist(), strict=True)}
        relevant: dict[str, dict[str, int]] = {}
        for query, answers in self.retrieval.relevant.items():
            grades: dict[str, int] = {}
            for document, grade in answers.items():
                grades[one_of[document]] = max(grade, grades.get(one_of[document], 0))
            relevant[query] = grades
        return relevance(self.retrieval.query_ids, [names[index] for index in kept], relevant), kept

    def _names(self, kept: np.ndarray, digests: Sequence[bytes]) -> list[bytes]:
        """Return what names each document: media go by their kind, for what is decoded of them depends on the model."""
        rows, kinds = len(self.retrieval.corpus_rows), [column.modality for column in self.retrieval.documents]
        of = ((kinds[index // rows], digests[index]) for index in kept.tolist())
        return [digest if kind is Modality.text else kind.encode() for kind, digest in of]

    def _measure(self, vectors: RetrievalVectors, wanted: Relevance, kept: np.ndarray) -> Evaluation:
        grid = self._grid(vectors.full)
        dims = dict.fromkeys(dim for dim, precision in grid if precision == "int8")
        self.ranges = {dim: self.given_ranges[dim] if dim in self.given_ranges else vectors.ranges(dim) for dim in dims}
        cells, per_query = measure_cells(vectors, wanted, grid, self.ks, self.ranges)
        result = EvaluationResult(
            evaluator=self.name,
            model="",
            queries=len(vectors.queries),
            corpus=len(kept),
            primary_metric=f"ndcg@{max(self.ks['ndcg'])}",
            cells=cells,
            duplicates=len(self.retrieval.corpus_ids) - len(kept),
        )
        return Evaluation(result, self.retrieval.query_ids, per_query, contents=self._contents, answers=self._answers)

    def _grid(self, full: int) -> list[tuple[int, str]]:
        dims = self.dims or [full]
        grid = [(dim, precision) for dim in dims for precision in self.precisions]
        reference = (dims[0], "float32")
        return [reference, *(cell for cell in grid if cell != reference)]

    def _encode(
        self, pipeline: InputPipeline, inputs: Iterable[StoredInput], task: Task
    ) -> tuple[torch.Tensor, list[bytes]]:
        """Return the vectors of inputs and the digests of what they hold."""
        digests: list[bytes] = []
        prompts = self.query_prompts if task == "query" else self.corpus_prompts
        left = len(self.retrieval.query_ids if task == "query" else self.retrieval.corpus_ids)
        stream = pipeline.encode(inputs, task=task, left=left, **prompts)
        vectors = torch.cat(list(all_vectors(stream, self.on_encoded, digests)))
        return check_vectors(vectors, "queries" if task == "query" else "documents", self.name), digests

    def _named_metrics(self, model: SentenceTransformer, result: EvaluationResult) -> dict[str, float]:
        similarity = model.similarity_fn_name
        named = {f"{similarity}_{name}": value for name, value in result.full.metrics.items()}
        for cell in result.cells:
            at = f"dim_{cell.dim}" if cell.precision == "float32" else f"dim_{cell.dim}_{cell.precision}"
            named |= {f"{at}_{similarity}_{name}": value for name, value in cell.metrics.items()}
        self.primary_metric = f"{similarity}_{result.primary_metric}"
        return self.prefix_name_to_metrics(named, self.name)  # type: ignore[no-any-return]


def read_with_digest(stored: StoredInput) -> tuple[Any, bytes]:
    """Return a model input, read, and the digest of what it holds."""
    value, modality = stored.read(), stored.column.modality
    return as_input(value, modality), digest_of_input(modality, value)
