import pytest
import torch
import yaml
from small_job import job

from mmst_cli.config.load import load_config
from mmst_cli.config.schema import Dtype
from mmst_cli.errors import ConfigError
from mmst_cli.model.precision import Precision
from mmst_cli.model.precision_of_run import as_recorded, encoding_runtime, settled, with_environment

BF16, FP16 = Precision(torch.bfloat16), Precision(torch.float16)


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)


@pytest.fixture
def device(monkeypatch):
    """A function that says which device there is."""

    def there_is(name):
        monkeypatch.setattr("sentence_transformers.util.get_device_name", lambda: name)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)

    return there_is


def says(precision):
    return {"ACCELERATE_MIXED_PRECISION": precision}


@pytest.mark.parametrize(
    ("training", "environment", "found"),
    [
        ({}, {}, {}),
        ({}, says("no"), {}),
        ({}, says(""), {}),
        ({}, says("bf16"), {"bf16": True}),
        ({}, says("BF16"), {"bf16": True}),
        ({}, says("fp16"), {"fp16": True}),
        ({"fp16": True}, says("bf16"), {"fp16": True}),
        ({"bf16": True}, says("no"), {"bf16": True}),
        ({"bf16": False}, says("bf16"), {"bf16": False}),
        ({"bf16": False}, says("fp16"), {"bf16": False, "fp16": True}),
        ({"use_cpu": True}, says("bf16"), {"use_cpu": True, "bf16": True}),
        ({}, {"ACCELERATE_USE_CPU": "true"}, {"use_cpu": True}),
        ({}, {"ACCELERATE_USE_CPU": "false"}, {}),
    ],
)
def test_the_environment_is_settled_into_the_section_unless_the_file_says_otherwise(
    training, environment, found, device
):
    device("cuda")
    assert settled(training, environment) == found


def test_bfloat16_on_the_cpu_is_meant_by_whoever_sets_the_variable(device):
    device("cpu")
    assert settled({}, says("bf16")) == {"bf16": True, "use_cpu": True}


@pytest.mark.parametrize(("precision", "reason"), [("fp16", "needs a GPU"), ("fp8", "there is no, bf16 and fp16")])
def test_what_can_not_be_is_a_fault_of_the_variable(precision, reason, device):
    device("cpu")
    with pytest.raises(ConfigError, match=rf"^ACCELERATE_MIXED_PRECISION: {precision}.*{reason}"):
        settled({}, says(precision))


def test_what_the_environment_adds_is_said(quiet, tmp_path, monkeypatch, device):
    device("cpu")
    config = load_config(written(job(tmp_path), tmp_path / "job.yaml"))
    assert with_environment(config, quiet) is config
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert with_environment(config, quiet).training == {**config.training, "bf16": True}
    assert "from the environment: training.bf16=true" in quiet.shown.getvalue()


def written(config, path):
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


@pytest.fixture
def run(tmp_path):
    """A function that makes the folder of a run with such a section `training`."""

    def make(dtype="float32", **training):
        config = job(tmp_path, **training)
        config["model"]["dtype"] = dtype
        (tmp_path / "run/model").mkdir(parents=True)
        (tmp_path / "run/model/modules.json").write_text("[]")
        written(config, tmp_path / "run/config.yaml")
        return str(tmp_path / "run/model")

    return make


def test_a_config_without_a_word_on_it_measures_a_run_in_the_precision_of_its_record(run, tmp_path, quiet, monkeypatch):
    other = job(tmp_path)
    other["model"]["name_or_path"] = run(bf16=True)
    config = load_config(written(other, tmp_path / "other.yaml"))
    assert as_recorded(config, quiet).training["bf16"] is True
    of_folder = config.model_copy(
        update={"model": config.model.model_copy(update={"name_or_path": str(tmp_path / "run")})}
    )
    assert as_recorded(of_folder, quiet).training["bf16"] is True
    config.training["bf16"] = False
    assert as_recorded(config, quiet).training["bf16"] is False
    builtin = load_config(written(job(tmp_path), tmp_path / "builtin.yaml"))
    assert as_recorded(builtin, quiet, str(tmp_path / "run")).training["bf16"] is True
    assert as_recorded(builtin, quiet) is builtin


def test_the_environment_is_not_asked_about_a_run(run, tmp_path, quiet, monkeypatch):
    other = job(tmp_path)
    other["model"]["name_or_path"] = run()
    config = load_config(written(other, tmp_path / "other.yaml"))
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert as_recorded(config, quiet) == config


@pytest.mark.parametrize(
    ("there", "training", "wanted"),
    [
        ("cuda", {"bf16": True, "use_cpu": False}, BF16),
        ("cuda", {"fp16": True, "use_cpu": False}, FP16),
        ("cuda", {}, Precision()),
        ("cpu", {"bf16": True}, BF16),
        ("cpu", {"bf16": True, "use_cpu": False}, Precision()),
        ("cpu", {"fp16": True, "use_cpu": False}, Precision()),
    ],
)
def test_a_run_is_encoded_as_it_was_evaluated_where_the_machine_can(there, training, wanted, run, device, quiet):
    device(there)
    runtime, _ = encoding_runtime(run(**training), Dtype.auto, quiet)
    assert (runtime.device.type, runtime.precision) == (there, wanted)
    asked = any(training.get(name) for name in ("bf16", "fp16"))
    assert ("encoding in float32" in quiet.shown.getvalue()) == (asked and wanted == Precision())


@pytest.mark.parametrize(
    ("there", "held", "asked", "wanted"),
    [
        ("cpu", "bfloat16", "auto", "bfloat16"),
        ("cpu", "bfloat16", "float32", "float32"),
        ("cpu", "float32", "auto", "auto"),
        ("cuda", "bfloat16", "auto", "auto"),
    ],
)
def test_weights_are_held_as_the_run_held_them(there, held, asked, wanted, run, device, quiet):
    device(there)
    assert encoding_runtime(run(held), Dtype(asked), quiet)[1] == wanted


def test_another_model_is_encoded_as_the_environment_says(device, quiet, monkeypatch, tmp_path):
    device("cuda")
    assert encoding_runtime("some/model", Dtype.auto, quiet)[0].precision == Precision()
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert encoding_runtime("some/model", Dtype.auto, quiet)[0].precision == BF16
