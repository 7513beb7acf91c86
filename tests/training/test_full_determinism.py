import os

import pytest
import torch
from small_job import job, write_job

from mmst_cli.config.load import load_config
from mmst_cli.errors import WorkError
from mmst_cli.evaluation.evaluate import run_evaluation
from mmst_cli.evaluation.evaluation_request import find_config
from mmst_cli.evaluation.retrieval_evaluator import MatryoshkaRetrievalEvaluator
from mmst_cli.model.determinism import told_of_missing_algorithms
from mmst_cli.model.precision import choose_runtime
from mmst_cli.training.train import run_training


@pytest.fixture(autouse=True)
def as_before():
    environment = dict(os.environ)
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture
def seen(monkeypatch):
    """Whether torch was deterministic each time an evaluator began."""
    found, call = [], MatryoshkaRetrievalEvaluator.__call__

    def look(self, *arguments, **options):
        found.append(torch.are_deterministic_algorithms_enabled() and "CUBLAS_WORKSPACE_CONFIG" in os.environ)
        return call(self, *arguments, **options)

    monkeypatch.setattr(MatryoshkaRetrievalEvaluator, "__call__", look)
    return found


def test_it_holds_from_the_evaluation_before_training_on(tmp_path, quiet, seen):
    config = job(tmp_path, max_steps=1, full_determinism=True)
    run_training(load_config(write_job(config, tmp_path / "job.yaml")), terminal=quiet)
    assert seen == [True, True]
    torch.use_deterministic_algorithms(False)
    run_evaluation(find_config(str(tmp_path / "run"), None, []), terminal=quiet)
    assert seen == [True, True, True]


def test_it_has_to_be_asked_for():
    choose_runtime({"use_cpu": True, "full_determinism": False})
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_operation_without_such_an_algorithm_is_told():
    told = r"^training\.full_determinism: true, but some_backward has no deterministic"
    with pytest.raises(WorkError, match=told), told_of_missing_algorithms():
        raise RuntimeError("some_backward does not have a deterministic implementation, but you set ...")
    with pytest.raises(RuntimeError, match="another"), told_of_missing_algorithms():
        raise RuntimeError("another")
