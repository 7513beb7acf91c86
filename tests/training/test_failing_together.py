"""What fails in one of two processes of a run ends both, soon, with one sentence and an exit code that isn't 0."""

import signal

import pytest
import yaml
from process_pair import GRACE
from small_job import job
from text_job import evaluated, text_job

from mmst_cli.runs import RunFolder

PLANTED = """
import os, signal, torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.evaluation import SentenceEvaluator
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

FAULT, HERE = os.environ.get("FAULT"), os.environ.get("RANK") == os.environ.get("FAILS")

class Loss(MultipleNegativesRankingLoss):
    steps = 0
    def forward(self, *inputs):
        self.steps += self.model.training  # the first is tried before the run
        if self.steps == 4 and HERE:
            if FAULT == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if FAULT == "memory":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            if FAULT == "bug":
                raise RuntimeError("planted")
        return super().forward(*inputs) * (float("nan") if self.steps == 4 and HERE and FAULT == "nan" else 1)

class Evaluator(SentenceEvaluator):
    def __init__(self, queries):
        super().__init__()
    def __call__(self, model, output_path=None, epoch=-1, steps=-1):
        if FAULT == "evaluator" and steps == 2:
            raise RuntimeError("planted")
        return 1.0

forward = SentenceTransformer.forward
def share(self, features, **options):
    if HERE and not self.training and len(features["input_ids"]) > 8:
        if FAULT == "share":
            raise RuntimeError("planted")
        if FAULT == "room":
            open("no-room", "w").close()
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    return forward(self, features, **options)
SentenceTransformer.forward = share
"""
GONE = "another process of the run is gone without a word"
SHARE = "inputs couldn't be encoded in process 1: RuntimeError: planted"
ENDINGS = {
    # what fails, in which process, what is said, exit codes
    "memory": ("memory", 1, "out of memory at step 3. Lower training.per_device_train_batch_size", [1, 1]),
    "no number": ("nan", 1, "step 3: the loss is nan", [1, 1]),
    "killed": ("killed", 1, GONE, [1, -signal.SIGKILL]),
    "the first killed": ("killed", 0, GONE, [-signal.SIGKILL, 1]),
    "a share of an evaluation": ("share", 1, SHARE, [1, 1]),
}
pytestmark = pytest.mark.slow


@pytest.fixture
def train(pair, tmp_path):
    """A function that trains with a fault planted in one of two processes, and checks that both end soon."""
    (tmp_path / "planted.py").write_text(PLANTED)
    config = evaluated(text_job(tmp_path, loss="planted.Loss", max_steps=8, per_device_train_batch_size=4))
    config["evaluators"]["own"] = {"type": "planted.Evaluator", "dataset": "eval"}
    config["training"] |= {"eval_strategy": "steps", "eval_steps": 2}

    def train(fault=None, rank=1, *arguments, config=config, send=None):
        (tmp_path / "job.yaml").write_text(yaml.safe_dump(config))
        environment = {"FAULT": str(fault), "FAILS": str(rank)}
        ended = pair.run(tmp_path, "train", "job.yaml", *arguments, environment=environment, send=send)
        assert ended.seconds < GRACE
        said = "".join(ended.err)
        return ended.codes, said, [line for line in said.splitlines() if line.startswith("error: ")]

    return train


@pytest.mark.parametrize("name", ENDINGS)
def test_a_fault_ends_both_with_its_sentence(train, tmp_path, name):
    fault, rank, words, expected = ENDINGS[name]
    codes, said, errors = train(fault, rank)
    assert codes == expected, said
    assert len(errors) == 1 and words in errors[0] and "Traceback" not in said
    assert not (tmp_path / "run/model").exists()
    if fault == "nan":  # whichever says it lists the rows of the one whose loss it was, and no others
        listed = {path.read_text() for path in (tmp_path / "run").glob("dead_batch*")}
        assert len(listed) == 1 and listed.pop().count("\n") == 4


@pytest.mark.parametrize(("fault", "rank"), [("bug", 1), ("evaluator", 0)])
def test_a_bug_has_one_traceback(train, fault, rank):
    codes, said, errors = train(fault, rank)
    assert codes == [1, 1]
    assert said.count("Traceback") == 1 and said.rstrip().endswith("RuntimeError: planted") and not errors


def test_a_broken_row_is_named_by_the_process_that_reads_it(train, tmp_path):
    import pyarrow.parquet

    config = job(tmp_path, max_steps=8, per_device_train_batch_size=4, batch_sampler="batch_sampler")
    table = pyarrow.parquet.read_table(tmp_path / "train.parquet").to_pylist()
    whole = table[43]["image"]["bytes"]
    half = len(whole) // 2
    # Not one of those that are tried beforehand, and whole at both ends, so that it doesn't look broken.
    table[43]["image"]["bytes"] = whole[:half] + bytes(60) + whole[half + 60 :]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), tmp_path / "train.parquet")
    config["evaluators"] = {}
    codes, said, errors = train(config=config)
    assert codes == [1, 1], said
    assert len(errors) == 1 and "row 43" in errors[0] and "column image" in errors[0] and "Traceback" not in said


def test_a_run_that_was_to_be_replaced_is_there_again(train, tmp_path, pair):
    (tmp_path / "run").mkdir()
    kept = {"config.yaml": "seed: 7\n", "metrics.jsonl": '{"step": 1}\n'}
    for name, text in kept.items():
        (tmp_path / "run" / name).write_text(text)
    codes, said, _ = train("memory", 1, "--overwrite")
    assert codes == [1, 1]
    if "is there again, as it was" not in said:  # the first was ended in an exchange; the next command does it
        assert RunFolder(tmp_path / "run").put_back()
    assert {name: (tmp_path / "run" / name).read_text() for name in kept} == kept


def test_a_share_that_has_no_room_is_halved(train, tmp_path):
    codes, said, _ = train("room", 1)
    assert codes == [0, 0], said
    assert (tmp_path / "no-room").exists() and (tmp_path / "run/model").is_dir()


def test_ctrl_c_before_the_first_step(train):
    codes, said, errors = train(send=("model:", signal.SIGINT))
    assert codes == [130, 130] and "Traceback" not in said and not errors
