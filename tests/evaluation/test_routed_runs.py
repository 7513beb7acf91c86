"""A run whose model was put together from routes is evaluated as the whole that it now is, and others in its place."""

import json

from small_job import write_job

from mmst_cli.config.rules import load_checked_config
from mmst_cli.evaluation.evaluate import run_evaluation
from mmst_cli.evaluation.evaluation_request import EvaluationOptions, find_config
from mmst_cli.training.train import run_training

ROWS = [{"q": f"find item {i}", "d": f"this is item {i}"} for i in range(8)]


def test_the_run_another_model_and_a_comparison(tmp_path, quiet):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    columns = {"q": {"role": "anchor"}, "d": {"role": "positive"}}
    config = {
        "output_dir": str(tmp_path / "run"),
        "model": {
            "routes": {side: {"name_or_path": "builtin:tiny-text"} for side in ("query", "document")},
            "dimension": 16,
            "frozen": [r"sub_modules\.query\.0"],
        },
        "datasets": {
            use: {"use": use, "path": str(tmp_path / "rows.jsonl"), "columns": columns} for use in ("train", "eval")
        },
        "loss": [{"type": "MultipleNegativesRankingLoss"}],
        "evaluators": {"rows": {"type": "MatryoshkaRetrievalEvaluator", "dataset": "eval"}},
        "training": {"max_steps": 1, "per_device_train_batch_size": 4, "use_cpu": True, "save_strategy": "no"},
    }
    path = write_job(config, tmp_path / "job.yaml")
    trained = run_training(load_checked_config(path, []), terminal=quiet)
    run = tmp_path / "run"
    compared = EvaluationOptions(dims=(16,), compare="builtin:tiny-text")
    again = run_evaluation(find_config(str(run), None, []), compared, quiet)
    assert again.evaluations["rows"].result.full.metrics == trained.after["rows"].result.full.metrics
    other = run_evaluation(find_config("builtin:tiny-text", path, []), terminal=quiet)
    assert other.evaluations["rows"].result.full.dim > 16
