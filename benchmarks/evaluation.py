"""Evaluation at seven dimensions and three precisions: one encoding pass, mmst, and by hand.

    python benchmarks/evaluation.py [--rounds 5]

By hand means one pass a cell with the public API of sentence-transformers: its evaluator with ``truncate_dim``
for float32, ``encode(truncate_dim=..., precision=...)`` and its metrics for the others.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from reporting import report, row
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sentence_transformers.util import cos_sim, quantize_embeddings

from mmst_cli.builtin.tiny_qwen3vl import build_tiny_qwen3vl
from mmst_cli.config.schema import ColumnConfig, DatasetConfig, Modality, Role, Use
from mmst_cli.evaluation.retrieval_evaluator import MatryoshkaRetrievalEvaluator
from mmst_cli.retrieval.retrieval_set import RowRetrieval
from mmst_cli.rows.row_preparation import prepare_rows

DIMS = [128, 96, 64, 48, 32, 16, 8]
PRECISIONS = ["float32", "int8", "binary"]
BATCH = 64


class Quantised(InformationRetrievalEvaluator):
    """The library's evaluator on vectors that its quantisation has gone over, one pass a cell."""

    precision = "float32"

    def embed_inputs(self, model, sentences, encode_fn_name=None, **kwargs):
        vectors = super().embed_inputs(model, sentences, encode_fn_name, normalize_embeddings=True)
        if self.precision == "float32":
            return vectors
        if self.precision == "binary":
            return torch.where(vectors > 0, 1.0, -1.0)
        if encode_fn_name == "query":  # the ranges are those of the corpus, which is encoded later
            return vectors
        self.ranges = torch.stack([vectors.min(0).values, vectors.max(0).values]).numpy()
        return torch.from_numpy(quantize_embeddings(vectors, "int8", ranges=self.ranges)).float()

    def score(self, queries, corpus):
        if self.precision == "int8":
            queries = torch.from_numpy(quantize_embeddings(queries, "int8", ranges=self.ranges)).float()
        # Whole numbers, so that equal Hamming distances stay equal; a cosine would tell them apart by rounding.
        return queries @ corpus.T if self.precision == "binary" else cos_sim(queries, corpus)


def timed(work):
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result


def by_hand(model, retrieval, queries, corpus):
    """Return the metrics of every cell, each from an encoding pass of its own."""
    relevant = {query: set(answers) for query, answers in retrieval.relevant.items()}
    found = {}
    for dim in DIMS:
        for precision in PRECISIONS:
            evaluator = Quantised(queries, corpus, relevant, truncate_dim=dim, batch_size=BATCH, write_csv=False)
            evaluator.precision = precision
            evaluator.score_functions = {"cosine": evaluator.score}
            evaluator._score_functions_from_model = False
            evaluator.score_function_names = ["cosine"]
            found[dim, precision] = evaluator(model)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default=None, help="a model folder; the untrained tiny model if left out")
    options = parser.parse_args()
    model = SentenceTransformer(options.model or str(build_tiny_qwen3vl()), device="cpu")
    columns = {
        "query": ColumnConfig(role=Role.anchor),
        "image": ColumnConfig(role=Role.positive, modality=Modality.image),
    }
    rows = prepare_rows("eval", DatasetConfig(use=Use.eval, path="builtin:pages", name="eval", columns=columns))
    retrieval = RowRetrieval(rows)
    ours = MatryoshkaRetrievalEvaluator(retrieval, DIMS, precisions=PRECISIONS, name="p", batch_size=BATCH)

    def encode_once():
        queries = [{"text": text} for text in rows.rows["query"]]
        model.encode_query(queries, batch_size=BATCH, convert_to_tensor=True)
        model.encode_document(list(rows.rows["image"]), batch_size=BATCH, convert_to_tensor=True)

    encode_once()
    passes, mmst = [], []
    for _ in range(options.rounds):
        passes.append(timed(encode_once)[0])
        seconds, found = timed(lambda: ours(model))
        mmst.append(seconds)
    queries = dict(zip(retrieval.query_ids, [{"text": t} for t in rows.rows["query"]], strict=True))
    corpus = dict(zip(retrieval.corpus_ids, list(rows.rows["image"]), strict=True))
    plain, expected = timed(lambda: by_hand(model, retrieval, queries, corpus))
    compare(passes, mmst, plain, found, expected)


def compare(passes, mmst, plain, found, expected) -> None:
    ratio = statistics.median(b / a for a, b in zip(passes, mmst, strict=True))
    differences = dict.fromkeys(PRECISIONS, 0.0)
    for (dim, precision), metrics in expected.items():
        at = f"p_dim_{dim}" if precision == "float32" else f"p_dim_{dim}_{precision}"
        for name, value in metrics.items():
            differences[precision] = max(differences[precision], abs(value - found[f"{at}_{name}"]))
    rows = [
        row(
            f"evaluation at {len(DIMS)} dimensions x {len(PRECISIONS)} precisions beside one encoding pass",
            "1.15x or less",
            f"median {ratio:.3f}x ({statistics.median(mmst):.2f} s, the pass {statistics.median(passes):.2f} s)",
            ratio <= 1.15,
        ),
        row("by hand, one pass a cell", "-", f"{plain:.1f} s, {plain / statistics.median(mmst):.1f}x as long", None),
    ]
    for precision, difference in differences.items():
        what = f"metrics at {precision} equal to those by hand (105 of them)"
        rows.append(row(what, "1e-6", f"largest difference {difference:.1e}", difference <= 1e-6))
    report("evaluation", rows, {"pass_seconds": passes, "mmst_seconds": mmst, "by_hand_seconds": plain})


if __name__ == "__main__":
    main()
