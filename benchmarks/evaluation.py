"""Evaluation at seven dimensions: one pass of encoding, mmst, and the library's evaluator once a dimension.

python benchmarks/evaluation.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import statistics
import time

from reporting import report, row
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

from mmst_cli.config.schema import ColumnConfig, DatasetConfig, Modality, Role, Use
from mmst_cli.data.columns import prepare_rows
from mmst_cli.data.retrieval import RetrievalSet
from mmst_cli.evaluation.retrieval import MatryoshkaRetrievalEvaluator
from mmst_cli.model.tiny_qwen3vl import build_tiny_qwen3vl

DIMS = [128, 96, 64, 48, 32, 16, 8]
BATCH = 64


def timed(work):
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default=None, help="a model folder; the untrained tiny model if left out")
    options = parser.parse_args()
    model = SentenceTransformer(options.model or str(build_tiny_qwen3vl()), device="cpu")
    columns = {
        "query": ColumnConfig(Role.anchor),
        "image": ColumnConfig(Role.positive, Modality.image),
    }
    rows = prepare_rows("eval", DatasetConfig(use=Use.eval, path="builtin:pages", name="eval", columns=columns))
    retrieval = RetrievalSet(rows)
    ours = MatryoshkaRetrievalEvaluator(retrieval, DIMS, name="p", batch_size=BATCH)

    def encode_once():
        queries = [{"text": text} for text in rows.rows["query"]]
        model.encode_query(queries, batch_size=BATCH, convert_to_tensor=True)
        model.encode_document(list(rows.rows["image"]), batch_size=BATCH, convert_to_tensor=True)

    def by_hand():
        queries = dict(zip(retrieval.query_ids, [{"text": t} for t in rows.rows["query"]], strict=True))
        corpus = dict(zip(retrieval.corpus_ids, list(rows.rows["image"]), strict=True))
        return {
            dim: InformationRetrievalEvaluator(
                queries, corpus, retrieval.relevant, truncate_dim=dim, batch_size=BATCH, write_csv=False
            )(model)
            for dim in DIMS
        }

    encode_once()
    passes, mmst, plain = [], [], []
    for _ in range(options.rounds):
        passes.append(timed(encode_once)[0])
        seconds, found = timed(lambda: ours(model))
        mmst.append(seconds)
    for _ in range(2):
        seconds, expected = timed(by_hand)
        plain.append(seconds)
    compare(passes, mmst, plain, found, expected)


def compare(passes, mmst, plain, found, expected) -> None:
    ratio = statistics.median(b / a for a, b in zip(passes, mmst, strict=True))
    differences = [
        abs(value - found[f"p_dim_{dim}_{name}"])
        for dim, metrics in expected.items()
        for name, value in metrics.items()
    ]
    rows = [
        row(
            "evaluation at 7 dimensions beside one encoding pass",
            "1.15x or less",
            f"median {ratio:.3f}x ({statistics.median(mmst):.2f} s, the pass {statistics.median(passes):.2f} s)",
            ratio <= 1.15,
        ),
        row(
            "the library's evaluator, once a dimension",
            "-",
            f"{min(plain):.2f} s, {min(plain) / statistics.median(mmst):.1f}x as long",
            None,
        ),
        row(
            f"metrics equal to the library's ({len(differences)} of them)",
            "1e-6",
            f"largest difference {max(differences):.1e}",
            max(differences) <= 1e-6,
        ),
    ]
    report("evaluation", rows, {"pass_seconds": passes, "mmst_seconds": mmst, "plain_seconds": plain})


if __name__ == "__main__":
    main()
