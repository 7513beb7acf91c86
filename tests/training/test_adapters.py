"""LoRA runs: killed and resumed, in two processes, merged, kept apart, and taken as a model by every command."""

import json
import re
import shutil
import signal

import pytest
import torch
import yaml
from resumed_job import text_job, train
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from small_job import job, write_job

from mmst_cli.config.load import load_config
from mmst_cli.config.schema import Dtype
from mmst_cli.errors import ConfigError, ModelError, WorkError
from mmst_cli.evaluation.evaluate import run_evaluation
from mmst_cli.evaluation.evaluation_request import EvaluationOptions, find_config
from mmst_cli.exporting.export import run_export
from mmst_cli.model.inspect_model import run_inspection
from mmst_cli.model.model_identity import model_identity, weights_identity
from mmst_cli.runs import RunFolder
from mmst_cli.training.training_job import TrainingJob

LORA = {"r": 8, "alpha": 16, "dropout": 0.1}
TEXTS = ["where is stone 3", "by hill 5"]


def tensors(folder):
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= load_file(path)
    return found


def same(one, other):
    one, other = tensors(one), tensors(other)
    return one.keys() == other.keys() and bool(one) and all(torch.equal(one[name], other[name]) for name in one)


def gate_of(run):
    return json.loads((run / "gate.json").read_text())


def losses(run):
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [(line["step"], line["loss"]) for line in lines if "loss" in line]


def encode(folder):
    return SentenceTransformer(str(folder), device="cpu").encode(TEXTS, convert_to_tensor=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of texts with an adapter, which is merged at the end."""
    folder = tmp_path_factory.mktemp("lora")
    config = text_job(folder, max_steps=3)
    config["model"]["adapter"] = LORA
    config["prompts"] = {"anchor": "Find: "}
    train(config, folder)
    return folder / "run"


@pytest.mark.slow
def test_a_cached_loss_in_matryoshka_killed_and_resumed_ends_bitwise_like_one_left_alone(pair, tmp_path):
    config = job(tmp_path, save_strategy="steps", save_steps=2) | {"evaluators": {}}
    config["model"] |= {"adapter": LORA, "frozen": ["visual.patch_embed"]}
    config["training"] |= {"per_device_train_batch_size": 8, "gradient_checkpointing": True}
    for name in ("alone", "killed"):
        write_job(config | {"output_dir": name}, tmp_path / f"{name}.yaml")
    assert pair.run(tmp_path, "train", "alone.yaml", count=1).codes == [0]
    assert pair.run(tmp_path, "train", "killed.yaml", count=1, send=("step 3/", signal.SIGKILL)).codes == [-9]
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    assert not (killed / "model").exists() and not (killed / "adapter").exists()
    resumed = pair.run(tmp_path, "train", "killed.yaml", "--resume", count=1)
    assert resumed.codes == [0], resumed.err
    assert losses(killed) == losses(alone) and len(losses(alone)) == 4
    for folder in ("model", "adapter", "checkpoint-4"):
        assert same(killed / folder, alone / folder), folder
    # Only the adapter has moved since it began.
    begun, ended = (load_file(alone / f"checkpoint-{step}/trained.safetensors") for step in (2, 4))
    assert all("lora_" in name for name in begun if not torch.equal(begun[name], ended[name]))
    assert any("visual" in name and not torch.equal(begun[name], ended[name]) for name in begun)


def test_two_processes_train_the_adapter_of_one(pair, tmp_path):
    config = text_job(tmp_path, max_steps=3)
    config["model"]["adapter"] = {**LORA, "dropout": 0.0}
    config["loss"] = [{"type": "CachedMultipleNegativesRankingLoss", "args": {"gather_across_devices": True}}]
    for name, count in (("one", 1), ("two", 2)):
        config["training"]["per_device_train_batch_size"] = 8 // count
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(config | {"output_dir": name}, sort_keys=False))
        ended = pair.run(tmp_path, "train", f"{name}.yaml", count=count)
        assert ended.codes == [0] * count, ended.err
    one, two = (tensors(tmp_path / name / "adapter") for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert all(torch.allclose(one[name], two[name], atol=1e-5) for name in one)
    assert gate_of(tmp_path / "two")["passed"] and gate_of(tmp_path / "two")["adapter"]["passed"]


def test_merged_and_adapter_agree_and_peft_loads_it_alike(trained):
    import peft

    merged, apart = encode(trained / "model"), encode(trained / "adapter")
    base = SentenceTransformer(
        json.loads((trained / "adapter/adapter_config.json").read_text())["base_model_name_or_path"], device="cpu"
    )
    assert (base.encode(TEXTS, convert_to_tensor=True) - merged).norm(dim=1).min() > 1e-3
    assert (merged - apart).norm(dim=1).max() <= 1e-5
    wrapped = peft.PeftModel.from_pretrained(base[0].model, str(trained / "adapter"))
    base[0].model = wrapped.base_model.model
    assert torch.equal(base.encode(TEXTS, convert_to_tensor=True), apart)
    found = gate_of(trained)
    assert found["moved_by_merging"] <= 1e-5 and found["adapter"]["largest_difference"] <= 1e-6
    assert not (trained / "model/adapter_config.json").exists() and (trained / "model/config.json").is_file()
    sizes = [sum(one.numel() for one in tensors(trained / name).values()) for name in ("adapter", "model")]
    assert sizes[0] < sizes[1] / 4


def test_an_adapter_folder_is_a_model_to_the_commands(trained, tmp_path, quiet):
    adapter = trained / "adapter"
    facts = run_inspection(str(adapter))
    assert facts.parameters > run_inspection(str(trained / "model")).parameters
    assert facts.prompts["query"] == "Find: " and facts.dtype == "float32"
    assert facts.adapter.startswith("LoRA of rank 8 over /") and "tiny-text" in facts.adapter
    assert weights_identity(str(adapter)) not in ("", weights_identity(str(trained / "model")))
    config = load_config(trained / "config.yaml")
    rows = tmp_path / "rows.jsonl"
    shutil.copy(trained.parent / "rows.jsonl", rows)
    section = yaml.safe_load((trained / "config.yaml").read_text())
    section["datasets"]["pairs"] |= {"path": str(rows), "use": "eval"}
    section["evaluators"] = {"found": {"type": "MatryoshkaRetrievalEvaluator", "dataset": "pairs"}}
    (tmp_path / "eval.yaml").write_text(yaml.safe_dump(section))
    measured = []
    for name in ("adapter", "model"):
        found = find_config(str(trained / name), tmp_path / "eval.yaml", [])
        measured.append(run_evaluation(found, EvaluationOptions(), terminal=quiet).evaluations["found"].result)
    adapters, merged = measured
    assert adapters.primary(adapters.full) == pytest.approx(merged.primary(merged.full), abs=1e-6)
    config.model.name_or_path = str(adapter)
    before = model_identity(config.model, 0)
    config.model.adapter = None
    assert model_identity(config.model, 0) == before  # what is trained beside a model doesn't change it
    again = text_job(tmp_path) | {"output_dir": str(tmp_path / "again")}
    again["model"]["name_or_path"] = str(adapter)
    with pytest.raises(ModelError, match=r"^model\.name_or_path: .*adapter is an adapter of /.*tiny-text.*--resume"):
        train(again, tmp_path)
    assert not (tmp_path / "again").exists()


def test_an_adapter_whose_base_changed_or_is_gone_is_noticed(trained, tmp_path):
    config_file = tmp_path / "adapter/adapter_config.json"
    shutil.copytree(trained / "adapter", tmp_path / "adapter")
    settings = json.loads(config_file.read_text())
    shutil.copytree(settings["base_model_name_or_path"], tmp_path / "base")
    config_file.write_text(json.dumps(settings | {"base_model_name_or_path": str(tmp_path / "base")}))
    config = load_config(trained / "config.yaml").model
    config.name_or_path = str(tmp_path / "adapter")
    before = model_identity(config, 0), weights_identity(str(tmp_path / "adapter"))
    shutil.copy(trained / "model/model.safetensors", tmp_path / "base/model.safetensors")
    (tmp_path / "base/README.md").write_text("another model")
    after = model_identity(config, 0), weights_identity(str(tmp_path / "adapter"))
    assert before[0] != after[0] and before[1] != after[1]
    shutil.rmtree(tmp_path / "base")
    with pytest.raises(ModelError, match=r"an adapter of the model in .*base, which isn't there.*base_model_name_or_p"):
        run_inspection(str(tmp_path / "adapter"))


def test_the_gate_refuses_an_unmerged_adapter_that_is_saved_as_the_model(tmp_path, monkeypatch):
    def save_adapter(self, folder):
        shutil.copytree(self.run.adapter, folder, dirs_exist_ok=True)

    monkeypatch.setattr(TrainingJob, "save_served", save_adapter)
    config = text_job(tmp_path, max_steps=2, save_strategy="no")
    config["model"]["adapter"] = LORA
    with pytest.raises(WorkError, match="Adapter: 'in it' in the folder, 'none' in memory"):
        train(config, tmp_path)
    assert not (tmp_path / "run/model").exists() and (tmp_path / "run/adapter").is_dir()
    assert (tmp_path / "run/model.failed/adapter_config.json").is_file()


def test_what_fails_once_it_is_merged_keeps_a_checkpoint_of_the_adapter(tmp_path, monkeypatch):
    config = text_job(tmp_path, max_steps=2, save_strategy="no")
    config["model"]["adapter"] = LORA

    def fail(self, folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TrainingJob, "save_served", fail)
    with pytest.raises((OSError, WorkError)):
        train(config, tmp_path)
    monkeypatch.undo()
    assert {"adapter_config.json", "trained.safetensors"} <= {p.name for p in (tmp_path / "run/checkpoint-2").iterdir()}
    assert train(config, tmp_path, resume=True).steps == 2
    straight = text_job(tmp_path, max_steps=2, save_strategy="no") | {"output_dir": str(tmp_path / "straight")}
    straight["model"]["adapter"] = LORA
    train(straight, tmp_path)
    assert same(tmp_path / "run/model", tmp_path / "straight/model")


@pytest.mark.parametrize("held", ["float32", "bfloat16"])
def test_dora_and_modules_trained_whole_are_in_both_folders(tmp_path, quiet, held):
    config = text_job(tmp_path, max_steps=2, learning_rate=1e-2)
    config["model"] |= {"dtype": held, "adapter": {**LORA, "use_dora": True, "modules_to_save": ["LayerNorm"]}}
    config["model"]["frozen"] = ["encoder.layer.0"]
    train(config, tmp_path, terminal=quiet)
    run, found = tmp_path / "run", gate_of(tmp_path / "run")
    assert found["passed"] and found["adapter"]["passed"], found
    assert found["moved_by_merging"] <= (1e-5 if held == "float32" else 2e-2)
    names = tensors(run / "adapter").keys()
    assert any("LayerNorm" in name for name in names) and any("lora_magnitude_vector" in name for name in names)
    assert not any("layer.0" in name for name in names)
    assert {one.dtype for name, one in tensors(run / "adapter").items() if "lora" in name} == {torch.float32}
    assert {one.dtype for one in tensors(run / "model").values()} == {getattr(torch, held)}


def test_frozen_half_precision_is_no_loss_and_an_adapter_can_stay_by_itself(tmp_path, quiet):
    config = text_job(tmp_path, max_steps=2, learning_rate=1e-2)
    config["model"] |= {"dtype": "bfloat16", "adapter": {**LORA, "merge": False, "init": "gaussian"}}
    config["datasets"]["held"] = {**config["datasets"]["pairs"], "use": "eval"}
    config["evaluators"] = {"found": {"type": "MatryoshkaRetrievalEvaluator", "dataset": "held"}}
    train(config, tmp_path, terminal=quiet)
    run, said = tmp_path / "run", quiet.console.file.getvalue()
    assert "rounding loses" not in said
    assert re.search(r"adapter: LoRA of rank 8 on 1\d layers: \d", said)
    assert not (run / "adapter").exists() and (run / "model/adapter_config.json").is_file()
    assert "It needs `builtin:tiny-text`" in (run / "model/README.md").read_text()
    export = run_export(RunFolder(run), tmp_path / "whole", Dtype.auto, terminal=quiet)
    assert export.gate.passed and (tmp_path / "whole/config.json").is_file()
    assert not (tmp_path / "whole/adapter_config.json").exists()
    config["model"]["adapter"]["merge"] = True  # of which there is time to think
    assert train(config, tmp_path, resume=True, terminal=quiet).steps == 2
    assert (run / "adapter/adapter_config.json").is_file() and not (run / "model/adapter_config.json").exists()
    assert same(run / "model", tmp_path / "whole")
    config["model"]["adapter"] |= {"merge": False, "r": 4}
    with pytest.raises(ConfigError, match=r"^model\.adapter\.r: the run was begun with 8, and now it is 4"):
        train(config, tmp_path, resume=True)


def test_the_best_adapter_is_the_one_that_is_merged(tmp_path):
    config = text_job(tmp_path, max_steps=4, save_steps=2, eval_strategy="steps", eval_steps=2, learning_rate=0.3)
    config["model"]["adapter"] = LORA
    config["datasets"]["held"] = {**config["datasets"]["pairs"], "use": "eval"}
    config["evaluators"] = {"found": {"type": "MatryoshkaRetrievalEvaluator", "dataset": "held"}}
    config["training"] |= {"load_best_model_at_end": True, "metric_for_best_model": "eval_loss"}
    config["training"] |= {"metric_for_best_model": "eval_found_cosine_ndcg@10"}
    train(config, tmp_path)
    run = tmp_path / "run"
    state = json.loads((run / "checkpoint-4/trainer_state.json").read_text())
    best, other = (
        tensors(run / f"checkpoint-{step}") for step in (state["best_global_step"], 6 - state["best_global_step"])
    )
    adapter = tensors(run / "adapter")
    assert all(torch.equal(adapter[name], best[name]) for name in adapter)
    assert not all(torch.equal(adapter[name], other[name]) for name in adapter)


def test_rates_by_name_reach_the_adapter_and_nothing_that_is_frozen(tmp_path):
    config = text_job(tmp_path, max_steps=1, save_steps=1)
    config["model"]["adapter"] = {**LORA, "target_modules": ["query", "value"]}
    config["training"]["learning_rate_mapping"] = {"query.*lora_B": 0.0}
    train(config, tmp_path)
    second = {name: one for name, one in tensors(tmp_path / "run/adapter").items() if "lora_B" in name}
    assert {bool(one.any()) for name, one in second.items() if "query" in name} == {False}
    assert {bool(one.any()) for name, one in second.items() if "value" in name} == {True}
    config["training"]["learning_rate_mapping"] = {"embeddings": 1e-5}
    with pytest.raises(
        ConfigError, match=r"^training\.learning_rate_mapping\.embeddings: the \d+ parameters that match"
    ):
        train(config, tmp_path, overwrite=True)


MISTAKES = {
    "target_modules": (
        ["qery", "value"],
        r"^model\.adapter\.target_modules\.0: qery: no module .* Did you mean query\?",
    ),
    "modules_to_save": (["norm"], r"^model\.adapter\.modules_to_save\.0: norm: no module .*called query, key, value"),
}


@pytest.mark.parametrize("field", MISTAKES)
def test_names_that_no_module_has_are_told_with_those_that_there_are(tmp_path, field):
    value, words = MISTAKES[field]
    config = text_job(tmp_path)
    config["model"]["adapter"] = {field: value}
    with pytest.raises(ModelError, match=words):
        train(config, tmp_path)
    assert not (tmp_path / "run").exists()


def test_without_peft_one_sentence_says_how_to_get_it(tmp_path, trained, monkeypatch):
    monkeypatch.setattr("mmst_cli.model.adapter_folder.find_spec", lambda name: None)
    config = text_job(tmp_path)
    config["model"]["adapter"] = {}
    with pytest.raises(ModelError, match=r"^model\.adapter: .*pip install 'mmst-cli\[peft\]'\.$"):
        train(config, tmp_path)
    with pytest.raises(ModelError, match=r"pip install 'mmst-cli\[peft\]'"):
        run_inspection(str(trained / "adapter"))
