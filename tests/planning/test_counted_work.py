"""Steps, evaluations and checkpoints as they are counted for a plan, beside what a trainer counts and does."""

import pytest
from small_job import write_job
from text_job import evaluated, text_job, text_rows

from mmst_cli.config.load import load_config
from mmst_cli.config.schema import Role
from mmst_cli.evaluation.evaluator_suite import prepare_evaluation
from mmst_cli.planning.counted_work import count_steps, count_work, schedule_of, steps_of_epoch
from mmst_cli.preparing.prepared_config import load_rows
from mmst_cli.rows.bad_rows import BadRows
from mmst_cli.runs import RunFolder
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
        args = build_arguments(changed, tmp_path / "run")
        assert count_steps(args, steps_of_epoch(args, rows)) == counted, schedule


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        ({"eval_strategy": "steps", "eval_steps": 0.25, "save_strategy": "steps", "save_steps": 4}, (4, 3, True)),
        ({"eval_strategy": "steps", "eval_steps": 4, "save_strategy": "no"}, (3, 0, True)),
        ({"eval_strategy": "epoch", "save_strategy": "epoch"}, (2, 2, True)),
        ({"eval_strategy": "epoch", "save_strategy": "epoch", "max_steps": 15}, (3, 3, True)),
        ({"eval_strategy": "epoch", "eval_delay": 1.5, "save_strategy": "no"}, (1, 0, True)),
        ({"eval_strategy": "no", "save_strategy": "steps", "save_steps": 4, "save_total_limit": 2}, (0, 3, False)),
    ],
)
def test_a_schedule_is_asked_of_the_trainer_s_own_callback(tmp_path, training, expected):
    config = load_config(write_job(text_job(tmp_path, **{"max_steps": 12, **training}), tmp_path / "job.yaml"))
    schedule = schedule_of(build_arguments(config, tmp_path / "run"), config.training["max_steps"], 6)
    assert (schedule.evaluations, schedule.saves, schedule.evaluates_last) == expected


@pytest.mark.parametrize(("best", "evaluations"), [(False, 3), (True, 4)])
def test_the_model_is_measured_before_and_after_training(tmp_path, quiet, best, evaluations):
    """After it once more where the last step's evaluation was of another model than the one that is kept."""
    training = {"max_steps": 8, "eval_strategy": "steps", "eval_steps": 4, "save_strategy": "steps", "save_steps": 4}
    more = {"load_best_model_at_end": True, "metric_for_best_model": "eval_texts_cosine_ndcg@10"} if best else {}
    job = evaluated(text_job(tmp_path, **training, **more))
    config = load_config(write_job(job, tmp_path / "job.yaml"))
    rows = load_rows(config, ["train"], BadRows.of(config.datasets), quiet)
    work = count_work(config, build_arguments(config, tmp_path / "run"), rows, None, 10, evaluates=True)
    assert (work.evaluations, work.saves, work.samples) == (evaluations, 2, 64)
    assert work.negatives == {"train": 7}


def test_a_batch_holds_no_more_rows_than_a_set_has(tmp_path, quiet):
    training = {"max_steps": -1, "num_train_epochs": 1, "per_device_train_batch_size": 40}
    config = load_config(write_job(two_sets(tmp_path, **training), tmp_path / "job.yaml"))
    rows = load_rows(config, list(config.datasets), BadRows.of(config.datasets), quiet)
    count = {name: len(one) for name, one in rows.items()}
    assert count["more"] < 40 < count["train"]
    args = build_arguments(config, tmp_path / "run")
    work = count_work(config, args, rows, None, 0, evaluates=False)
    assert (work.batch, work.negatives) == (40, {"train": 39, "more": count["more"] - 1})
    alone = config.model_copy(update={"datasets": {"more": config.datasets["more"]}})
    few = count_work(alone, args, {"more": rows["more"]}, None, 0, evaluates=False)
    assert (few.batch, few.samples, few.steps) == (count["more"], count["more"], 1)


def test_negatives_that_are_yet_to_be_mined_are_counted(tmp_path, quiet):
    job = text_job(tmp_path)
    job["datasets"]["train"]["mine"] = {"num_negatives": 2}
    config = load_config(write_job(job, tmp_path / "job.yaml"))
    rows = load_rows(config, ["train"], BadRows.of(config.datasets), quiet)
    assert rows["train"].with_role(Role.negative) == []
    work = count_work(config, build_arguments(config, tmp_path / "run"), rows, None, 0, evaluates=False)
    assert work.negatives == {"train": work.batch * 3 - 1}
