"""What several processes can't do together is refused before any of them starts to work."""

import pytest

from mmst_cli.config.load import load_config
from mmst_cli.config.rules import check_config
from mmst_cli.errors import ConfigError

SMALL = """
model: {name_or_path: some/model}
datasets:
  train: {use: train, path: some/data, columns: {query: {role: anchor}, doc: {role: positive}}}
loss: [{type: MultipleNegativesRankingLoss}]
training: {max_steps: 4}
"""


@pytest.fixture
def faults(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(SMALL)

    def found(*overrides):
        try:
            check_config(load_config(path, overrides))
        except ConfigError as error:
            return error.faults
        return []

    return found


@pytest.fixture
def two_processes(monkeypatch):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("datasets.train.on_bad_row=skip", "--write-clean FILE"),
        ("datasets.train.streaming=true", "train in one process"),
        ("training.accelerator_config={split_batches: true}", "Leave it out"),
    ],
)
def test_what_two_processes_cannot_do_is_fine_in_one(faults, request, override, words):
    assert faults(override) == []
    request.getfixturevalue("two_processes")
    assert faults() == []
    (fault,) = faults(override)
    assert fault.startswith(override.partition("=")[0]) and words in fault


@pytest.mark.parametrize(
    "override", ["training.fsdp=full_shard", "training.deepspeed=zero.json", "training.fsdp_config={version: 2}"]
)
def test_a_model_spread_over_processes_is_refused(faults, override):
    (fault,) = faults(override)
    assert fault.startswith(override.partition("=")[0]) and "gradient_checkpointing" in fault


def test_so_it_is_where_the_launcher_asks_for_it(faults, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    (fault,) = faults()
    assert "ACCELERATE_USE_FSDP" in fault and "--num-processes" in fault
