"""A device that has no room for a batch: it is halved, in every command, and what doesn't fit at all is a sentence."""

import gc
from contextlib import contextmanager

import numpy
import pyarrow
import pyarrow.parquet
import pytest
import torch
from small_job import write_job
from text_job import evaluated, run, text_job, text_rows

from mmst_cli.config.load import load_config
from mmst_cli.encoding.encode import run_encode
from mmst_cli.errors import ConfigError, MmstError, WorkError, is_memory_shortage
from mmst_cli.evaluation.evaluate import run_evaluation
from mmst_cli.vectors.fitting_batches import MemoryShortageError, encode_fitting
from mmst_cli.vectors.input_stream import encode_stream


@contextmanager
def room_for(inputs, error=torch.OutOfMemoryError, *, evaluating_only=False):
    """Let every encoder of transformers run out of memory above so many inputs; gives the sizes that were tried."""
    from sentence_transformers.base.modules import Transformer

    forward, tried = Transformer.forward, []

    def forward_if_it_fits(module, features, **options):
        count = len(features["input_ids"])
        if not (evaluating_only and torch.is_grad_enabled()):
            tried.append(count)
            if count > inputs:
                raise error("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(module, features, **options)

    Transformer.forward = forward_if_it_fits
    try:
        yield tried
    finally:
        Transformer.forward = forward


@pytest.fixture
def text_model():
    from sentence_transformers import SentenceTransformer

    from mmst_cli.builtin.tiny_text import build_tiny_text

    return SentenceTransformer(str(build_tiny_text()), device="cpu")


TEXTS = [{"text": row["query"]} for row in text_rows(40)]


NO_ROOM = pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError, MemoryError])


@NO_ROOM
def test_a_batch_is_halved_until_it_fits_and_stays_so(text_model, caplog, error):
    whole = torch.cat(list(encode_stream(text_model, TEXTS, batch_size=32)))
    with room_for(9, error) as tried:
        halved = torch.cat(list(encode_stream(text_model, TEXTS, batch_size=32)))
        assert max(tried[3:]) == 8
        again = torch.cat(list(encode_stream(text_model, TEXTS, batch_size=16)))
        assert max(tried[3:]) == 8
    torch.testing.assert_close(halved, whole, atol=1e-6, rtol=0)
    assert torch.equal(halved, again)
    assert [record.message for record in caplog.records if "out of memory" in record.message] == [
        "out of memory with 32 inputs in a batch. Going on with 8, which gives the same vectors."
    ]


@pytest.mark.parametrize(
    "words",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "MPS backend out of memory (MPS allocated: 8.00 GB)",
        "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to",
    ],
)
def test_what_libraries_say_of_it_is_known(words):
    assert is_memory_shortage(RuntimeError(words)) and not is_memory_shortage(ValueError(words))
    assert not is_memory_shortage(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."))


def test_other_errors_are_not_taken_for_it(text_model):
    with room_for(9, ValueError), pytest.raises(ValueError, match="out of memory"):
        list(encode_stream(text_model, TEXTS, batch_size=32))


def test_nothing_of_the_failed_batch_is_held_while_a_smaller_one_runs(text_model):
    import weakref

    left = []

    def encode(size):
        assert all(reference() is None for reference in left)
        held = numpy.zeros(3)
        left.append(weakref.ref(held))
        if size > 2:
            raise torch.OutOfMemoryError("no room")
        return size

    gc.disable()
    try:
        assert encode_fitting(text_model, encode, 8) == 2
    finally:
        gc.enable()
    assert len(left) == 3


def test_one_input_that_has_no_room(text_model):
    with room_for(0), pytest.raises(MemoryShortageError, match=r"one input in a batch \(32 were asked for\)$"):
        list(encode_stream(text_model, TEXTS, batch_size=32))


def told(terminal):
    return terminal.console.file.getvalue().replace("\n", " ")


def test_encode(tmp_path, quiet):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(text_rows(40)), tmp_path / "rows.parquet")

    def encode(name, **options):
        run_encode(
            *("builtin:tiny-text", [str(tmp_path / "rows.parquet")], tmp_path / name),
            columns=["query"],
            rows_per_part=8,
            terminal=quiet,
            **options,
        )

    encode("whole", batch_size=16)
    with room_for(5):
        encode("halved", batch_size=16)
    vectors = [pyarrow.parquet.read_table(tmp_path / name / "part-00002.parquet") for name in ("whole", "halved")]
    numpy.testing.assert_allclose(*(numpy.stack(table["embedding"].to_numpy()) for table in vectors), atol=1e-6)
    assert told(quiet).count("out of memory") == 1
    with room_for(0), pytest.raises(WorkError, match=r"one input in a batch .* Lower what an input holds"):
        encode("none", batch_size=16)
    assert not list((tmp_path / "none").glob("*part*"))


@pytest.mark.parametrize("kind", ["MatryoshkaRetrievalEvaluator", "InformationRetrievalEvaluator"])
def test_evaluations_of_a_run_and_afterwards(tmp_path, quiet, kind):
    config = evaluated(text_job(tmp_path, eval_strategy="steps", eval_steps=2), type=kind)
    whole = run(config, tmp_path, quiet).after["texts"].result.full.metrics
    with room_for(3, evaluating_only=True):
        halved = run(config, tmp_path, quiet, overwrite=True).after["texts"].result.full.metrics
        assert halved == whole
        assert told(quiet).count("out of memory") == 1
        evaluation = run_evaluation(load_config(tmp_path / "job.yaml"), terminal=quiet).evaluations["texts"]
        assert told(quiet).count("out of memory") == 2  # of another model in memory
        assert evaluation.result.queries == 48
    with room_for(0), pytest.raises(WorkError) as caught:
        run_evaluation(load_config(tmp_path / "job.yaml"), terminal=quiet)
    said = str(caught.value)
    assert said.startswith("evaluators.texts.args.batch_size: out of memory with one input in a batch")
    assert "mini_batch" not in said
    with room_for(0, evaluating_only=True), pytest.raises(WorkError, match=r"^out of memory with .* alone in a batch"):
        run(config, tmp_path, quiet, overwrite=True)  # before anything is measured


@NO_ROOM
def test_the_loss_of_an_evaluated_set_is_not_computed_on_smaller_batches(tmp_path, quiet, error):
    config = text_job(tmp_path, eval_strategy="steps", eval_steps=2, per_device_eval_batch_size=16)
    config["datasets"]["eval"] = {**config["datasets"]["train"], "use": "eval"}
    with room_for(15, error, evaluating_only=True), pytest.raises(WorkError) as caught:
        run(config, tmp_path, quiet)
    assert str(caught.value).startswith("training.per_device_eval_batch_size: out of memory with 16 rows")


def test_an_evaluated_batch_of_more_rows_than_there_are_takes_no_room_for_them(tmp_path, quiet):
    config = text_job(tmp_path, eval_strategy="steps", eval_steps=1, max_steps=1)
    config["training"]["per_device_eval_batch_size"] = 2**31 - 1
    config["datasets"]["eval"] = {**config["datasets"]["train"], "use": "eval"}
    run(config, tmp_path, quiet)
    assert '"eval_loss": ' in (tmp_path / "run/metrics.jsonl").read_text()
    config["training"]["per_device_eval_batch_size"] = 10**12
    with pytest.raises(
        ConfigError, match=r"^training\.per_device_eval_batch_size: found 1000000000000, but it is betw"
    ):
        run(config, tmp_path, quiet, overwrite=True)


@NO_ROOM
@pytest.mark.parametrize("cached", ["", "Cached"])
def test_a_training_step_names_what_its_loss_has(tmp_path, quiet, cached, error):
    config = text_job(tmp_path, loss=f"{cached}MultipleNegativesRankingLoss", per_device_train_batch_size=16)
    with room_for(8, error), pytest.raises(WorkError) as caught:
        run(config, tmp_path, quiet)
    size = "loss.0.args.mini_batch_size" if cached else "training.per_device_train_batch_size"
    assert str(caught.value).startswith(f"out of memory at step 1. Lower {size} or ")


@NO_ROOM
@pytest.mark.parametrize("cached", ["", "Cached"])
def test_a_few_rows_that_have_no_room_are_told_before_anything_is_written(tmp_path, quiet, cached, error):
    config = text_job(tmp_path, loss=f"{cached}MultipleNegativesRankingLoss")
    with room_for(7, error), pytest.raises(ConfigError) as caught:
        run(config, tmp_path, quiet)
    size = "loss.0.args.mini_batch_size" if cached else "training.per_device_train_batch_size"
    assert str(caught.value).startswith(f"out of memory on 8 rows of datasets.train. Lower {size} or ")
    assert not (tmp_path / "run").exists()


def test_the_size_of_a_set_with_a_loss_of_its_own_is_named_by_its_key(tmp_path, quiet):
    config = text_job(tmp_path, per_device_train_batch_size=16)
    config["datasets"]["train"]["loss"] = [{"type": "CachedMultipleNegativesRankingLoss"}]
    del config["loss"]
    for room, where in ((7, "on 8 rows of datasets.train"), (8, "at step 1")):
        with room_for(room), pytest.raises(MmstError) as caught:
            run(config, tmp_path, quiet)
        assert str(caught.value).startswith(
            f"out of memory {where}. Lower datasets.train.loss.0.args.mini_batch_size or "
        )


def test_the_size_in_tokens_is_named_where_that_is_what_is_declared(tmp_path, quiet):
    config = text_job(tmp_path, loss="CachedMultipleNegativesRankingLoss", per_device_train_batch_size=16)
    config["loss"][0]["args"] = {"mini_batch_num_tokens": 4000}
    with room_for(8), pytest.raises(WorkError) as caught:
        run(config, tmp_path, quiet)
    assert str(caught.value).startswith("out of memory at step 1. Lower loss.0.args.mini_batch_num_tokens or ")


def test_mining_before_training(tmp_path, quiet, monkeypatch):
    monkeypatch.setenv("MMST_CACHE", str(tmp_path / "cache"))
    config = text_job(tmp_path, max_steps=1)
    config["datasets"]["train"]["mine"] = {"num_negatives": 1, "batch_size": 16}
    path = write_job(config, tmp_path / "job.yaml")
    with room_for(0), pytest.raises(WorkError, match=r"^datasets\.train\.mine\.batch_size: out of memory with one inp"):
        run(config, tmp_path, quiet)
    assert path.exists() and not (tmp_path / "run").exists()
    with room_for(5, evaluating_only=True):
        run(config, tmp_path, quiet)
    assert "Going on with 4" in told(quiet)


@NO_ROOM
def test_a_model_that_has_no_room(tmp_path, quiet, monkeypatch, error):
    import sentence_transformers

    from mmst_cli.builtin.tiny_text import build_tiny_text

    def refuse(*_args, **_kwargs):
        raise error("CUDA out of memory.")

    build_tiny_text()
    monkeypatch.setattr(sentence_transformers, "SentenceTransformer", refuse)
    with pytest.raises(WorkError, match=r"^model\.name_or_path: builtin:tiny-text: out of memory: its weights"):
        run(text_job(tmp_path), tmp_path, quiet)


@NO_ROOM
def test_memory_that_ends_anywhere_else(capsys, error):
    import typer

    from mmst_cli.cli.app import told_in_one_line

    with pytest.raises(typer.Exit) as caught, told_in_one_line():
        raise error("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore")
    assert caught.value.exit_code == 1
    assert capsys.readouterr().err.startswith("error: out of memory: CUDA out of memory. Tried to allocate 2.00 GiB.")
