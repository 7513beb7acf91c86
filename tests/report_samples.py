"""Evaluations, documents and a page to test reports with."""

import json

import numpy as np
from PIL import Image

from mmst_cli.config.schema import Modality
from mmst_cli.evaluation.evaluation_results import Cell, Evaluation, EvaluationResult, Hits
from mmst_cli.evaluation.query_gallery import build_gallery
from mmst_cli.evaluation.report_page import ReportData

SCRIPT = '<script>window.hacked = "yes"</script>'
QUOTES = "\"'><img src=x onerror=\"window.hacked = 'yes'\">"
BYTES = {"float32": 4.0, "float16": 2.0, "int8": 1.0, "binary": 1 / 8, "binary-rescored": 1 / 8}


def make_evaluation(
    queries=40, documents=60, dims=(64, 16), precisions=("float32", "binary"), *, quality=0.8, seed=0, **result
):
    """Random values per query and random hits that agree with nothing but their shapes."""
    rng = np.random.default_rng(seed)
    cells, per_query, hits = [], {}, {}
    for dim in dims:
        for precision in precisions:
            values = np.clip(rng.normal(quality - 4 / dim - (precision == "binary") * 0.1, 0.2, queries), 0, 1)
            mean = float(values.mean())
            size = max(1, int(dim * BYTES[precision]))
            cell = Cell(dim, precision, size, {"ndcg@10": mean, "mrr@10": mean / 2}, (mean - 0.03, mean + 0.03), 0.25)
            cells.append(cell)
            per_query[cell.key] = values
            found = np.stack([rng.permutation(documents)[:10] for _ in range(queries)])
            scores = -np.sort(-rng.random((queries, 10)), axis=1)
            hits[cell.key] = Hits(found, scores, found == np.arange(queries)[:, None])
    about = {"evaluator": "pages", "model": "model", "primary_metric": "ndcg@10"} | result
    whole = EvaluationResult(queries=queries, corpus=documents, cells=cells, **about)
    return Evaluation(whole, [f"q{row}" for row in range(queries)], per_query, hits)


def advice(dim=16, precision="binary", *, shown=True, candidate=None, command="mmst encode runs/a INPUT"):
    """A recommendation as results keep it."""
    sentence = f"Ship {dim} dimensions as {precision}."
    about = {"shown": shown, "candidate": candidate, "keep": 0.99, "sentence": sentence, "command": command}
    return {"dim": dim, "precision": precision, **about}


class Documents:
    """Queries and documents by position; remembers what was read."""

    def __init__(self, count=60, *, query=None, document=None, ids=None):
        self.query = query or (lambda index: (Modality.text, f"query number {index}"))
        self.document = document or (lambda index: (Modality.image, Image.new("RGB", (60, 80), (index, 99, 200))))
        self.corpus_ids = ids or [f"image:{row}" for row in range(count)]
        self.read = []

    def query_at(self, index):
        return self.query(index)

    def document_at(self, index):
        self.read.append(index)
        return self.document(index)


def training_metrics(steps=30):
    """Lines of metrics.jsonl, as training writes them."""
    lines = [{"step": 0, "epoch": 0.0, "eval_pages_cosine_ndcg@10": 0.02, "eval_pages_dim_16_cosine_ndcg@10": 0.01}]
    for step in range(1, steps + 1):
        loss = 5 / step
        lines.append({"step": step, "loss": 2 * loss, "loss_per_dim": {"64": loss, "16": loss * 1.2}})
    return [*lines, {"step": steps, "eval_pages_cosine_ndcg@10": 0.8, "eval_pages_dim_16_cosine_ndcg@10": 0.7}]


def hostile_report():
    """Everything a page can have, with markup wherever data can have it."""
    before = make_evaluation(quality=0.3, seed=1, evaluator=SCRIPT)
    after = make_evaluation(evaluator=SCRIPT, recommendation=advice(command=f"mmst encode {QUOTES}"))
    after.query_ids[:] = [f"{row}{QUOTES}" for row in range(len(after.query_ids))]
    before.query_ids[:] = after.query_ids
    documents = Documents(
        query=lambda index: (Modality.text, f"{SCRIPT} number {index} {QUOTES}"),
        ids=[f"{SCRIPT}{QUOTES}:{row}" for row in range(60)],
    )
    return ReportData(
        title=f"a run {SCRIPT}",
        verdict=f"better {QUOTES}",
        after={SCRIPT: after},
        before={SCRIPT: before},
        created="2026-01-01",
        command=f"mmst train {SCRIPT}",
        metrics=training_metrics(),
        galleries={SCRIPT: build_gallery(after, before, documents, compared="16 binary")},
        data_card=[{"name": SCRIPT, "used for": "train", "source": QUOTES, "rows": 12345, "columns": "</td></table>"}],
        config_yaml=f"run_name: {json.dumps(SCRIPT)}\n</code></pre>{SCRIPT}",
        environment={"versions": {SCRIPT: QUOTES}, "devices": [SCRIPT], "git_commit": None},
    )
