"""The quickstart's job by hand on the public API of sentence-transformers, as its documentation shows it.

    python benchmarks/plain_script.py --model MODEL_FOLDER --train FOLDER --eval FOLDER --out RESULT.json

It knows nothing of mmst: the yardstick for losses, scores and time. `benchmarks/training.py` runs both.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

started = time.perf_counter()

from datasets import load_from_disk  # noqa: E402
from sentence_transformers import (  # noqa: E402
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator  # noqa: E402
from sentence_transformers.sentence_transformer.losses import (  # noqa: E402
    CachedMultipleNegativesRankingLoss,
    MatryoshkaLoss,
)

DIMS = [128, 96, 64, 48, 32, 16, 8]


def build_evaluators(eval_dataset):
    queries = {f"q{i}": row for i, row in enumerate(eval_dataset["query"])}
    corpus = {f"d{i}": row for i, row in enumerate(eval_dataset["image"])}
    relevant = {f"q{i}": {f"d{i}"} for i in range(len(eval_dataset))}
    return {
        dim: InformationRetrievalEvaluator(
            queries, corpus, relevant, truncate_dim=dim, batch_size=64, name=f"pages-{dim}", write_csv=False
        )
        for dim in DIMS
    }


def evaluate(model, evaluators):
    begin = time.perf_counter()
    scores = {dim: evaluator(model) for dim, evaluator in evaluators.items()}
    return scores, time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--train", required=True)
    parser.add_argument("--eval", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the training arguments, as JSON")
    parser.add_argument("--mini-batch-size", type=int, default=64)
    parser.add_argument("--min-pixels", type=int, default=1024)
    parser.add_argument("--max-pixels", type=int, default=12288)
    options = parser.parse_args()

    pixels = {"min_pixels": options.min_pixels, "max_pixels": options.max_pixels}
    model = SentenceTransformer(options.model, device="cpu", processor_kwargs=pixels)
    train_dataset, eval_dataset = load_from_disk(options.train), load_from_disk(options.eval)
    loss = CachedMultipleNegativesRankingLoss(model, mini_batch_size=options.mini_batch_size)
    loss = MatryoshkaLoss(model, loss, matryoshka_dims=DIMS)
    settings = {key: json.loads(value) for key, value in (item.split("=", 1) for item in options.set)}
    args = SentenceTransformerTrainingArguments(output_dir=str(Path(options.out).with_suffix("")), **settings)
    evaluators = build_evaluators(eval_dataset)
    before, before_seconds = evaluate(model, evaluators)
    trainer = SentenceTransformerTrainer(model=model, args=args, train_dataset=train_dataset, loss=loss)
    begin = time.perf_counter()
    trainer.train()
    train_seconds = time.perf_counter() - begin
    after, after_seconds = evaluate(model, evaluators)
    model.save_pretrained(str(Path(options.out).with_suffix("") / "model"))
    result = {
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
        "before": before,
        "after": after,
        "seconds": {
            "train": train_seconds,
            "evaluate": before_seconds + after_seconds,
            "all": time.perf_counter() - started,
        },
    }
    Path(options.out).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
