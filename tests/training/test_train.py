import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from small_job import DIMS, job, write_job

from mmst_cli.config.load import load_config
from mmst_cli.errors import ConfigError, RunError
from mmst_cli.evaluation.evaluate import run_evaluation
from mmst_cli.evaluation.evaluation_request import find_config
from mmst_cli.evaluation.evaluation_results import load_evaluation
from mmst_cli.time_shares import add_up
from mmst_cli.training.train import run_training


def train(config, folder, **options):
    return run_training(load_config(write_job(config, folder / "job.yaml")), **options)


def lines(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def losses(run):
    return {line["step"]: line["loss"] for line in lines(run) if "loss" in line}


def measured(evaluation):
    """Everything of an evaluation but the clock."""
    cells = [(cell.key, cell.metrics, cell.interval) for cell in evaluation.result.cells]
    return cells, {key: values.tolist() for key, values in evaluation.per_query.items()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with evaluations and checkpoints on the way."""
    folder = tmp_path_factory.mktemp("finished")
    config = job(folder, eval_strategy="steps", eval_steps=2, save_strategy="steps", save_steps=2)
    return folder, train(config, folder, overrides=["training.max_steps=4"])


def test_the_run_folder_is_complete(finished):
    folder, result = finished
    run = folder / "run"
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    expected = {"config.yaml", "overrides.txt", "environment.json", "log.txt", "metrics.jsonl"}
    expected |= {"model/model.safetensors", "model/modules.json", "model/README.md"}
    expected |= {
        f"eval/pages{suffix}" for suffix in (".json", ".csv", ".queries.parquet", ".before.json", ".before.csv")
    }
    expected |= {"checkpoint-2/complete.json", "checkpoint-4/complete.json"}
    assert expected <= names
    assert not [name for name in names if name.endswith(("training_args.bin", ".partial"))]
    assert (run / "overrides.txt").read_text() == "training.max_steps=4\n"
    environment = json.loads((run / "environment.json").read_text())
    assert environment["versions"]["torch"] == torch.__version__.split("+")[0] or environment["versions"]["torch"]
    assert environment["devices"] == [f"cpu, {(count := torch.get_num_threads())} thread{'s' if count != 1 else ''}"]
    assert load_config(run / "config.yaml") == load_config(folder / "job.yaml")
    assert result.steps == 4 and result.run == str(run)


def test_metrics_have_a_line_per_log_and_evaluation(finished):
    folder, _ = finished
    logged = [line for line in lines(folder / "run") if "loss" in line]
    assert [line["step"] for line in logged] == [1, 2, 3, 4]
    for line in logged:
        assert {"epoch", "learning_rate", "grad_norm", "samples_per_second", "tokens_per_second"} <= set(line)
        assert list(line["loss_per_dim"]) == ["128", "32", "8"]
        assert sum(line["loss_per_dim"].values()) == pytest.approx(line["loss"], rel=1e-5)
        spent = line["seconds"]
        assert min(spent["data"], spent["forward"], spent["backward"]) > 0 and line["tokens_per_second"] > 0
    whole = add_up(lines(folder / "run"))
    assert min(whole["evaluation"], whole["saving"]) > 0
    # All of the time is accounted for, but for what stands before the first step and behind the last.
    assert sum(whole.values()) == pytest.approx(finished[1].training_seconds, abs=3)
    scored = [line["step"] for line in lines(folder / "run") if "eval_pages_dim_8_cosine_ndcg@10" in line]
    assert scored == [0, 2, 4]


def test_the_log_begins_with_what_the_run_then_takes(finished):
    folder, result = finished
    log = (folder / "run" / "log.txt").read_text()
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    evaluations = sum("eval_pages_cosine_ndcg@10" in line for line in lines)
    saved = len(list((folder / "run").glob("checkpoint-*")))
    told = f"plan: {result.steps} steps of 16 rows, 64 in all, 15 negatives an anchor, {evaluations} evaluations of 48"
    assert told in log and "plan: tokens of the rows that were tried: train.query " in log
    assert f"; {saved} checkpoints of " in log and log.index("plan: ") < log.index("step 1/")


def test_the_log_and_the_card_have_the_table(finished):
    folder, result = finished
    log = (folder / "run" / "log.txt").read_text()
    card = (folder / "run" / "model" / "README.md").read_text()
    found = result.after["pages"].result
    for cell in found.cells:
        assert f"{found.primary(cell):.4f}" in log
        assert f"| {cell.dim} |" in card
    assert result.verdict in log and result.verdict in card
    assert "train.parquet" in card and "name_or_path: builtin:tiny-qwen3-vl" in card


def test_the_hub_reads_the_card(finished):
    from huggingface_hub import ModelCard

    folder, result = finished
    data = ModelCard.load(folder / "run" / "model" / "README.md").data
    assert (data.library_name, data.pipeline_tag) == ("sentence-transformers", "sentence-similarity")
    assert "mmst" in data.tags and data.base_model is None
    found = [entry.metric_value for entry in data.eval_results]
    evaluations = [evaluation.result for evaluation in result.after.values()]
    assert found == [pytest.approx(one.primary(cell)) for one in evaluations for cell in one.cells]


def test_the_saved_results_are_those_returned(finished):
    folder, result = finished
    for name, found in (("pages", result.after["pages"]), ("pages.before", result.before["pages"])):
        saved = load_evaluation(folder / f"run/eval/{name}.json")
        assert saved.result == found.result
        assert all((saved.per_query[key] == values).all() for key, values in found.per_query.items())
    assert result.before["pages"].result != result.after["pages"].result


def test_the_saved_model_in_a_fresh_process_is_the_measured_one(finished):
    """Plain SentenceTransformer(path) gives, bitwise, the vectors that the evaluation saw."""
    folder, result = finished
    script = f"""
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer
model = SentenceTransformer({str(folder / "run/model")!r}, device="cpu")
rows = Dataset.from_parquet({str(folder / "eval.parquet")!r})
queries = model.encode_query([{{"text": t}} for t in rows["query"]], convert_to_tensor=True)
pages = model.encode_document(list(rows["image"]), convert_to_tensor=True)
torch.save([queries, pages], {str(folder / "vectors.pt")!r})
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    queries, pages = torch.load(folder / "vectors.pt")
    seen = run_evaluation(find_config(str(folder / "run"), None, [])).evaluations["pages"]
    assert measured(seen) == measured(result.after["pages"])
    from mmst_cli.evaluation.evaluator_suite import prepare_evaluation
    from mmst_cli.terminal import Terminal

    prepared = prepare_evaluation(find_config(str(folder / "run"), None, []), Terminal(), ["eval"])
    evaluator = prepared.suite.evaluators["pages"]
    evaluator(prepared.model)
    assert torch.equal(evaluator._last[0].queries, queries)
    assert torch.equal(evaluator.corpus_vectors, pages)


def test_losses_equal_a_plain_script_bitwise(finished, tmp_path, tiny_model_path):
    folder, _ = finished
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss, MatryoshkaLoss

    model = SentenceTransformer(str(tiny_model_path), device="cpu")
    loss = CachedMultipleNegativesRankingLoss(model, mini_batch_size=8)
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(tmp_path),
            max_steps=4,
            per_device_train_batch_size=16,
            learning_rate=1e-3,
            batch_sampler="no_duplicates",
            use_cpu=True,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
        ),
        train_dataset=Dataset.from_parquet(str(folder / "train.parquet")),
        loss=MatryoshkaLoss(model, loss, matryoshka_dims=DIMS),
    )
    trainer.train()
    plain = {entry["step"]: entry["loss"] for entry in trainer.state.log_history if "loss" in entry}
    assert losses(folder / "run") == plain
    saved = load_file(folder / "run/model/model.safetensors")
    weights = model[0].model.state_dict()
    assert all(torch.equal(saved[f"model.{name}"], weight) for name, weight in weights.items())


def test_a_taken_folder_is_refused_replaced_or_gone_on_with(finished, tmp_path):
    folder, result = finished
    config = load_config(folder / "job.yaml")
    with pytest.raises(RunError, match=r"already holds a run\. Go on with it by --resume"):
        run_training(config)
    with pytest.raises(ConfigError, match="exclude each other"):
        run_training(config, resume=True, overwrite=True)
    done = run_training(config, resume=True)  # at its end already
    assert measured(done.after["pages"]) == measured(result.after["pages"])


def test_overwriting_leaves_nothing_of_the_old_run(tmp_path):
    train(job(tmp_path, max_steps=2, save_strategy="steps", save_steps=1), tmp_path)
    foreign = tmp_path / "run" / "notes.txt"
    foreign.write_text("mine")
    train(job(tmp_path, max_steps=1), tmp_path, overwrite=True)
    assert not list((tmp_path / "run").glob("checkpoint-*"))
    assert list(losses(tmp_path / "run")) == [1]
    assert foreign.read_text() == "mine"


def test_a_dry_run_writes_nothing(tmp_path):
    before = {path: path.stat().st_mtime for path in [tmp_path, *tmp_path.rglob("*")]} | {}
    config = job(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    result = train(config, tmp_path, dry_run=True)
    assert result.dry_run and "one batch of 16 gives a loss of" in result.verdict
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "job.yaml"])


def test_a_dry_run_of_a_resumption_writes_nothing_either(tmp_path):
    config = job(tmp_path, save_strategy="steps", save_steps=2, max_steps=3)
    train(config, tmp_path)
    run = tmp_path / "run"
    (run / "checkpoint-3" / "complete.json").unlink()  # as if it had been killed while writing
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert train(config, tmp_path, resume=True, dry_run=True).dry_run
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_the_best_model_is_kept(tmp_path):
    metric = "eval_pages_dim_8_cosine_ndcg@10"
    options = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1}
    # A learning rate that ruins the model, so that an early step is the best.
    config = job(tmp_path, **options, learning_rate=0.5, load_best_model_at_end=True, metric_for_best_model=metric)
    result = train(config, tmp_path)
    scores = {line["step"]: line[metric] for line in lines(tmp_path / "run") if metric in line and line["step"]}
    by_step = {step: score for step, score in scores.items() if step > 0}
    best = result.after["pages"].result.cell(8).metrics["ndcg@10"]
    assert best == max(by_step.values())
    state = json.loads((tmp_path / "run/checkpoint-4/trainer_state.json").read_text())
    kept = load_file(tmp_path / "run" / state["best_model_checkpoint"].rsplit("/", 1)[-1] / "model.safetensors")
    final = load_file(tmp_path / "run/model/model.safetensors")
    assert all(torch.equal(kept[name.removeprefix("model.")], tensor) for name, tensor in final.items())


def test_a_loss_is_evaluated_where_no_evaluator_reads_the_dataset(tmp_path):
    config = job(tmp_path, eval_strategy="steps", eval_steps=2)
    config["evaluators"] = {}
    result = train(config, tmp_path)
    assert [line["step"] for line in lines(tmp_path / "run") if "eval_loss" in line] == [2, 4]
    assert result.verdict == "Nothing was evaluated."


def test_half_precision_weights_are_warned_of(tmp_path, capsys):
    config = job(tmp_path)
    config["model"]["dtype"] = "bfloat16"
    train(config, tmp_path, dry_run=True)
    assert "0.85 / 0.53 / 0.24 / 0.12" in capsys.readouterr().err


def test_mixed_precision_on_float32_weights_runs_everywhere(tmp_path):
    config = job(tmp_path, bf16=True, eval_strategy="steps", eval_steps=2, max_steps=2)
    result = train(config, tmp_path)
    scored = [line for line in lines(tmp_path / "run") if line["step"] == 2 and "eval_pages_cosine_ndcg@10" in line]
    seen = run_evaluation(find_config(str(tmp_path / "run"), None, [])).evaluations["pages"]
    # In training, at the end and afterwards: the same autocast, so the same numbers.
    full = result.after["pages"].result.full
    assert scored[0]["eval_pages_cosine_ndcg@10"] == full.metrics["ndcg@10"]
    assert measured(seen) == measured(result.after["pages"])


def test_queries_that_look_like_media_are_trained_on_as_texts(tmp_path, monkeypatch):
    from datasets import Dataset, Features, Image, Value
    from PIL import Image as PILImage

    config = job(tmp_path, max_steps=2)
    decoy = tmp_path / "decoy.png"
    PILImage.new("RGB", (96, 128)).save(decoy)
    looks = [str(decoy), "https://example.invalid/page.png", "data:image/png;base64,iVBORw0KGgo="]
    features = Features({"query": Value("string"), "image": Image(decode=False)})
    for name in ("train", "eval"):
        rows = Dataset.from_parquet(str(tmp_path / f"{name}.parquet")).cast(features)
        decoyed = [{**row, "query": f"{looks[i % 3]}"} for i, row in enumerate(rows)]
        Dataset.from_list(decoyed, features=features).to_parquet(str(tmp_path / f"{name}.parquet"))
    opened = []
    original = PILImage.open
    monkeypatch.setattr(PILImage, "open", lambda file, *a, **k: opened.append(file) or original(file, *a, **k))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("something was fetched"))
    config["training"]["batch_sampler"] = "batch_sampler"  # three different texts make no batch of 16
    train(config, tmp_path)
    assert opened, "the pages are opened"
    assert not [file for file in opened if isinstance(file, str) and "decoy" in file]
    assert all(hasattr(file, "read") for file in opened), "pages are embedded: no path was opened"


def test_data_that_fill_no_batch_are_an_error_and_not_a_run_of_no_steps(tmp_path):
    config = job(tmp_path, per_device_train_batch_size=512, dataloader_drop_last=True)
    with pytest.raises(ConfigError, match="no batch of 512 rows can be drawn"):
        train(config, tmp_path, dry_run=True)
    with pytest.raises(ConfigError, match="no batch of 512 rows can be drawn"):
        train(config, tmp_path)
    assert not (tmp_path / "run").exists()
