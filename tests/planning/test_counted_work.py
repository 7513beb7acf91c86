"""Steps, evaluations and checkpoints as they are counted for a plan, beside what a trainer counts and does."""

import re

import pytest
from small_job import write_job
from text_job import evaluated, text_job, text_rows

from mmst_cli.config.load import load_config
from mmst_cli.evaluation.evaluator_suite import EvaluatorSuite, prepare_evaluation
from mmst_cli.planning.counted_work import count_steps, count_work, schedule_of
from mmst_cli.runs import RunFolder
from mmst_cli.training.train import run_training
from mmst_cli.training.training_job import TrainingJob
from mmst_cli.training.training_start import build_arguments

SCHEDULES = [
    {"max_steps": -1, "num_train_epochs": 2},
    {"max_steps": -1, "num_train_epochs": 1.5, "gradient_accumulation_steps": 4},
    {"max_steps": -1, "num_train_epochs": 3, "dataloader_drop_last": True, "per_device_train_batch_size": 7},
    {"max_steps": 11},
]


def two_sets(folder, **training):
    config = text_job(folder, text_rows(50), **training)
    config["datasets"]["more"] = {**config["datasets"]["train"], "max_rows": 21}
    return config


@pytest.mark.parametrize("build", [text_job, two_sets])
@pytest.mark.parametrize("sampler", ["proportional", "round_robin"])
def test_steps_are_those_that_the_trainer_counts(tmp_path, quiet, build, sampler):
    config = load_config(write_job(build(tmp_path), tmp_path / "job.yaml"))
    prepared = prepare_evaluation(config, quiet, list(config.datasets))
    for schedule in SCHEDULES:
        training = {**config.training, **schedule, "multi_dataset_batch_sampler": sampler}
        changed = config.model_copy(update={"training": training})
        job = TrainingJob(changed, RunFolder(tmp_path / "run"), prepared, quiet)
        trainer = job.build_trainer(tmp_path / "run", [])
        counted = trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())[-1]
        rows = {name: len(data) for name, data in job.loss_rows.items()}
        assert count_steps(build_arguments(changed, tmp_path / "run"), rows) == counted, schedule


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        ({"eval_strategy": "steps", "eval_steps": 0.25, "save_strategy": "steps", "save_steps": 4}, (4, 3, True)),
        ({"eval_strategy": "steps", "eval_steps": 4, "save_strategy": "no"}, (3, 0, True)),
        ({"eval_strategy": "epoch", "save_strategy": "epoch", "max_steps": -1, "num_train_epochs": 2}, (2, 2, True)),
        ({"eval_strategy": "no", "save_strategy": "steps", "save_steps": 4, "save_total_limit": 2}, (0, 3, False)),
    ],
)
def test_a_schedule_is_asked_of_the_trainer_s_own_callback(tmp_path, training, expected):
    config = load_config(write_job(text_job(tmp_path, **{"max_steps": 12, **training}), tmp_path / "job.yaml"))
    schedule = schedule_of(build_arguments(config, tmp_path / "run"), 12)
    assert (schedule.evaluations, schedule.saves, schedule.evaluates_last) == expected


def test_evaluations_and_checkpoints_are_as_many_as_a_run_makes(tmp_path, quiet, monkeypatch):
    """And the run says so before its first step."""
    training = {"max_steps": 6, "eval_strategy": "steps", "eval_steps": 4, "save_strategy": "steps", "save_steps": 4}
    more = {"load_best_model_at_end": True, "metric_for_best_model": "eval_texts_cosine_ndcg@10"}
    job = evaluated(text_job(tmp_path, **training, **more))
    config = load_config(write_job(job, tmp_path / "job.yaml"))
    encoded = []
    whole = EvaluatorSuite.__call__
    monkeypatch.setattr(
        EvaluatorSuite, "__call__", lambda *given, **named: [encoded.append(1), whole(*given, **named)][1]
    )
    run_training(config, terminal=quiet)
    args = build_arguments(config, tmp_path / "run")
    prepared = prepare_evaluation(config, quiet, list(config.datasets))
    rows = {"train": prepared.rows["train"]}
    work = count_work(config, args, rows, None, 10, evaluates=True)
    assert work.evaluations == len(encoded)
    assert work.saves == 2 and work.kept_checkpoints == 2 and work.samples == 48
    assert work.negatives == {"train": 7}
    told = (tmp_path / "run" / "log.txt").read_text()
    assert "plan: 6 steps of 8 rows, 48 in all, 7 negatives an anchor, 4 evaluations of 96 inputs" in told
    assert "plan: tokens of the rows that were tried: train.query 1" in told
    assert re.search(r"plan: weights 1.3 MiB, gradients 1.3 MiB, optimizer 2.7 MiB; 2 checkpoints of 4.0 MiB", told)
