"""What several processes can't do together is refused before any of them starts to work."""

import pytest

from mmst_cli import processes
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
    for name, value in zip(processes.VARIABLES, ("1", "1", "2", "localhost", "1"), strict=True):
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("datasets.train.on_bad_row=skip", "--write-clean FILE"),
        ("datasets.train.streaming=true", "train in one process"),
        ("training.accelerator_config={split_batches: true}", "Leave it out"),
        ("training.auto_find_batch_size=true", "Leave it out"),
        ("training.accelerator_config=some.json", "Write what is in it here"),
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


@pytest.mark.parametrize("way", ["FSDP", "DEEPSPEED", "MEGATRON_LM", "PARALLELISM_CONFIG"])
@pytest.mark.parametrize("yes", ["true", "1", "Yes"])
def test_so_it_is_where_the_launcher_asks_for_it(faults, monkeypatch, way, yes):
    monkeypatch.setenv(f"ACCELERATE_USE_{way}", yes)
    (fault,) = faults()
    assert f"ACCELERATE_USE_{way}" in fault and "--num-processes" in fault


def test_a_launcher_that_compiles_what_the_record_does_not_is_refused(faults, monkeypatch):
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR")  # as from accelerate's config file
    (fault,) = faults()
    assert "training.torch_compile=true and training.torch_compile_backend=inductor" in fault
    assert faults("training.torch_compile=true") == []
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "NO")  # as accelerate's launcher says without being asked
    assert faults() == []


@pytest.mark.parametrize(
    "said", [{"OMPI_COMM_WORLD_SIZE": "2"}, {"PMI_SIZE": "2", "RANK": "1"}, {"LOCAL_RANK": "0"}, {"WORLD_SIZE": "2"}]
)
def test_a_launcher_that_says_half_is_refused(faults, monkeypatch, said):
    """The trainer would be one of several, and everything else would take it for the only one."""
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    (fault,) = faults()
    assert next(iter(said)) in fault and "MASTER_ADDR" in fault and "torchrun" in fault


def test_what_one_process_of_a_launcher_has_in_its_environment_is_fine(faults, monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "1")
    assert faults() == []
    for name, value in zip(processes.VARIABLES, ("0", "0", "1", "localhost", "1"), strict=True):
        monkeypatch.setenv(name, value)
    assert faults() == []
