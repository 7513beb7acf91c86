"""Other processes that prepare inputs: the same vectors, errors in a sentence, and nothing left behind."""

import copy
import multiprocessing
import os
import pickle
import signal
import time

import pytest
import torch

from mmst_cli import processes
from mmst_cli.errors import DataError, WorkError
from mmst_cli.model.preprocessor import Preprocessor, without_weights
from mmst_cli.vectors import data_workers
from mmst_cli.vectors.batches import Batch
from mmst_cli.vectors.data_workers import Cost, WorkerPool, Workers, choose_workers
from mmst_cli.vectors.input_stream import InputPipeline, all_vectors
from mmst_cli.vectors.prepared_batches import Preparation, read_plainly

CPU, GPU = torch.device("cpu"), torch.device("cuda")
PAGE = Cost(0.05, 8 << 20)


class Unread:
    """A reference of which nothing is known."""

    size, weight = None, 0

    def __init__(self, value, seconds=0.0):
        self.value, self.seconds = value, seconds

    def read(self):
        time.sleep(self.seconds)
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


class Killed(Unread):
    def read(self):
        os.kill(os.getpid(), signal.SIGKILL)


def encode(model, references, workers, **options):
    with InputPipeline(model, batch_size=2, workers=workers) as pipeline:
        return list(pipeline.encode(references, **options))


_EARLIER = set()


@pytest.fixture(autouse=True)
def other_workers():
    """Those of a training that an earlier test broke off run until somebody collects garbage."""
    _EARLIER.update(multiprocessing.active_children())


def workers_left():
    """Return the processes of loaders that still run."""
    return [child for child in multiprocessing.active_children() if child.is_alive() and child not in _EARLIER]


@pytest.fixture
def references(pages, queries):
    chat = [{"role": "user", "content": [{"type": "text", "text": queries[0]}, {"type": "image", "image": pages[0]}]}]
    inputs = [*pages, {"text": queries[1]}, chat, {"text": queries[2], "image": pages[1]}, pages[2]]
    return [*map(Unread, inputs), Unread(DataError("row 3: broken")), Unread(pages[0].resize((900, 2)))]


def test_vectors_faults_and_order_are_those_of_one_process(tiny_model, references):
    alone, beside = (encode(tiny_model, references, Workers(count), task="document") for count in (0, 2))
    assert len(alone) == len(beside) == 6
    for one, other in zip(alone, beside, strict=True):
        assert torch.equal(one.vectors, other.vectors)
        assert (one.good, one.faults, one.references) == (other.good, other.faults, other.references)
    assert [fault.refused for fault in beside[-1].faults.values()] == [False, True]
    assert not workers_left()


def test_processes_stay_for_the_next_stream(tiny_model, references):
    with InputPipeline(tiny_model, batch_size=2, workers=Workers(2)) as pipeline:
        first = torch.cat(list(all_vectors(pipeline.encode(references[:6]))))
        processes = {child.pid for child in workers_left()}
        assert torch.equal(first, torch.cat(list(all_vectors(pipeline.encode(references[:6])))))
        assert {child.pid for child in workers_left()} == processes and len(processes) == 2
    assert not workers_left()


def test_a_stream_that_is_left_early_leaves_no_process(tiny_model, references):
    with InputPipeline(tiny_model, batch_size=1, workers=Workers(2)) as pipeline:
        stream = pipeline.encode([*references[:4], *(Unread(1, seconds=60) for _ in range(8))])
        next(stream)
        begun = time.monotonic()
    assert time.monotonic() - begun < 50  # and not the minute of a row
    assert not workers_left()


def test_spawned_processes_get_no_weights(tiny_model, references):
    """As where processes can't be forked: what they are given is pickled."""
    model = copy.deepcopy(tiny_model)
    model.rope_deltas = torch.zeros(1, 1)  # as a forward pass leaves in Qwen3-VL's: neither a parameter nor a buffer
    prepare = Preparation(Preprocessor(model), read_plainly)
    weights = sum(parameter.nbytes for parameter in model.parameters())
    without = without_weights(model)
    assert without.rope_deltas.is_meta and all(parameter.is_meta for parameter in without.parameters())
    assert not any(parameter.is_meta for parameter in model.parameters())
    assert len(pickle.dumps(Preprocessor(model))) < weights
    batch = Batch([0, 1], [references[0], references[7]], {"task": None, "prompt": None}, True)
    pool = WorkerPool(prepare, Workers(1), CPU, method="spawn")
    try:
        ((_, found),) = pool.prepare([batch])
    finally:
        pool.close()
    for group, expected in zip(found.groups, prepare(batch).groups, strict=True):
        assert group.places == expected.places and group.features.keys() == expected.features.keys()
        for name, value in expected.features.items():
            same = torch.equal(value, group.features[name]) if torch.is_tensor(value) else value == group.features[name]
            assert same, name


def test_a_killed_process_is_a_sentence(tiny_model, pages):
    with pytest.raises(WorkError, match=r"^the system ended a process that prepares inputs \(\d+\).*dataloader_num"):
        encode(tiny_model, [*map(Unread, pages), Killed(None)], Workers(2))
    assert not workers_left()


def test_an_error_of_ours_in_another_process_is_its_sentence(tiny_model, pages):
    with pytest.raises(WorkError) as caught:
        encode(tiny_model, [*map(Unread, pages), Unread(WorkError("the disk is full: more: words"))], Workers(1))
    assert str(caught.value) == "the disk is full: more: words"


def test_the_random_state_of_a_training_stays(tiny_model, references):
    before = torch.get_rng_state()
    encode(tiny_model, references[:4], Workers(1))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("cost", "device", "left", "cores", "expected"),
    [
        (Cost(0.0005, 10_000), GPU, None, 16, Workers(0)),
        (PAGE, GPU, 30, 16, Workers(0)),  # under two seconds of work
        (PAGE, CPU, None, 2, Workers(2, 1)),
        (PAGE, CPU, None, 8, Workers(4, 1)),
        (PAGE, CPU, 60, 8, Workers(2, 1)),
        (Cost(0.05, 1 << 18), CPU, 1000, 2, Workers(2, 2)),
        (Cost(0.05, 1 << 18), GPU, None, 64, Workers(16, 2)),
        (PAGE, GPU, None, 16, Workers(15, 1)),
        (PAGE, GPU, None, 2, Workers(2, 1)),
        (PAGE, GPU, None, 1, Workers(1, 2)),
        (Cost(0.05, 40 << 20), GPU, None, 16, Workers(3, 1)),
        (Cost(5.0, 1 << 30), GPU, None, 16, Workers(0, 2)),
    ],
)
def test_how_many_there_are(cost, device, left, cores, expected, monkeypatch):
    monkeypatch.setattr(processes, "processors", lambda: cores)
    monkeypatch.setattr(data_workers, "_free_shared_memory", lambda: 64 << 30)
    assert choose_workers(cost, 32, device, left) == expected


def test_shared_memory_that_holds_no_batch_is_told(monkeypatch, caplog):
    monkeypatch.setattr(data_workers, "_free_shared_memory", lambda: 64 << 20)
    assert choose_workers(PAGE, 32, GPU, None) == Workers()
    assert "a batch of them takes 256 MiB, and processes share 64 MiB here" in caplog.text


def test_texts_start_none_and_costly_inputs_do(tiny_model, pages, queries, monkeypatch):
    from mmst_cli.vectors.batches import Decoded

    monkeypatch.setattr(data_workers, "WORTH", 0.05)
    with InputPipeline(tiny_model, batch_size=2) as pipeline:
        list(pipeline.encode([Decoded({"text": query}) for query in queries]))
        assert not workers_left()
        list(pipeline.encode([Decoded({"text": queries[0]}), *(Unread(page, 0.01) for page in pages)], left=7))
        assert workers_left()
