"""Means of weights: what is written is what was asked for, or the best of what was measured."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from text_job import evaluated, text_job
from text_job import run as train
from typer.testing import CliRunner

from mmst_cli.builtin.registry import build_builtin
from mmst_cli.cli import app
from mmst_cli.config.load import load_config
from mmst_cli.config.schema import Config, ModelConfig
from mmst_cli.errors import ConfigError, ModelError, WorkError
from mmst_cli.merging import merge
from mmst_cli.merging.merge import RECORD, MergeOptions, run_merge
from mmst_cli.merging.mixes import Measured, choose, equal, mixed
from mmst_cli.model.precision import Precision, Runtime
from mmst_cli.preparing import compared_folder
from mmst_cli.preparing.prepared_model import prepare_model


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folders = []
    for seed in (1, 2, 3):
        folder = tmp_path_factory.mktemp(f"seed{seed}")
        train(evaluated(text_job(folder, seed=seed, learning_rate=1e-3)), folder, None)
        folders.append(str(folder / "run"))
    return folders


def weights_of(folder):
    return load_file(f"{folder}/model.safetensors")


@pytest.mark.parametrize("given", [(), (3.0, 1.0)])
def test_weights_are_averaged(runs, tmp_path, given):
    found = run_merge(runs[:2], tmp_path / "out", options=MergeOptions(weights=given))
    shares = (0.75, 0.25) if given else (0.5, 0.5)
    assert found.mix.weights == shares
    one, two, merged = (weights_of(folder) for folder in (f"{runs[0]}/model", f"{runs[1]}/model", tmp_path / "out"))
    for name, tensor in merged.items():
        torch.testing.assert_close(tensor, shares[0] * one[name] + shares[1] * two[name], rtol=0, atol=1e-6)
    assert any(not torch.equal(merged[name], one[name]) for name in merged)
    record = json.loads((tmp_path / "out" / RECORD).read_text())
    assert record == found.to_dict() and record["gate"]["passed"]
    assert record["gate"]["largest_difference"] == 0.0


def test_slerp_goes_between_two(runs, tmp_path):
    run_merge(runs[:2], tmp_path / "out", options=MergeOptions(method="slerp"))
    one, two, merged = (weights_of(folder) for folder in (f"{runs[0]}/model", f"{runs[1]}/model", tmp_path / "out"))
    assert any(not torch.equal(merged[name], one[name]) for name in merged)
    name = max(one, key=lambda name: (one[name] - two[name]).abs().max())
    assert (merged[name] - (one[name] + two[name]) / 2).abs().max() < (one[name] - two[name]).abs().max()


def test_the_best_of_what_was_measured_is_kept(runs, tmp_path, quiet):
    config = load_config(f"{runs[0]}/config.yaml")
    found = run_merge(runs, tmp_path / "out", config, MergeOptions(choose=True), quiet)
    assert len(found.measured) == 5  # three alone, and two more steps
    assert max(one.score for one in found.measured) == next(one.score for one in found.measured if one.mix == found.mix)
    alone = found.measured[:3]
    for one, run in zip(alone, runs, strict=True):
        saved = json.loads((tmp_path / f"{run}/eval" / "texts.json").read_text())
        cell = next(iter(one.evaluations.values())).result.full
        assert cell.metrics == saved["cells"][0]["metrics"]
    assert bool(found.comparisons) == (sum(weight > 0 for weight in found.mix.weights) > 1)


def test_more_models_are_added_as_long_as_the_score_grows():
    scores = {(0,): 0.5, (1,): 0.7, (2,): 0.6, (3,): 0.1, (1, 2): 0.8, (0, 1, 2): 0.75, (1, 2, 3): 0.9}
    asked = []

    class Scored(Measured):
        score = property(lambda self: scores[self.evaluations])

    def measure(mix):
        asked.append(tuple(index for index, weight in enumerate(mix.weights) if weight))
        return Scored(mix, asked[-1])

    best, found = choose(4, measure)
    assert asked == [(0,), (1,), (2,), (3,), (1, 2), (0, 1, 2), (1, 2, 3)]
    assert best.mix == equal(4, [1, 2, 3]) and best.mix.weights[1] == pytest.approx(1 / 3)
    assert len(found) == 7


@pytest.mark.parametrize(
    ("models", "options", "words"),
    [
        (1, {}, "name two or more different models"),
        (2, {"weights": (1.0,)}, "--weights: found 1 for 2 models"),
        (2, {"weights": (1.0, 0.0)}, "each has to be above 0"),
        (2, {"weights": (1.0, float("nan"))}, "each has to be above 0"),
        (3, {"method": "slerp"}, "goes between two models, found 3"),
        (2, {"method": "ties"}, "there are linear and slerp"),
        (2, {"choose": True, "weights": (1.0, 1.0)}, "finds the weights itself"),
    ],
)
def test_mistakes_are_told(runs, tmp_path, models, options, words):
    with pytest.raises(ConfigError, match=words):
        run_merge(runs[:models], tmp_path / "out", options=MergeOptions(**options))
    assert not (tmp_path / "out").exists()


def test_one_model_by_two_names_is_refused(tiny_model_path, tmp_path):
    (tmp_path / "link").symlink_to(tiny_model_path)
    with pytest.raises(ConfigError, match=r"builtin:tiny-qwen3-vl and .*link are the same model\. Name it once\."):
        run_merge(["builtin:tiny-qwen3-vl", str(tmp_path / "link")], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_whose_sum_is_infinite_are_shares_all_the_same():
    assert merge._declared(["one", "two"], MergeOptions(weights=(1e308, 1e308))).weights == (0.5, 0.5)


def test_models_are_loaded_as_the_first_is(tiny_model_path):
    section = ModelConfig(name_or_path=str(tiny_model_path), linear_patches=True, processor={"max_pixels": 64 * 64})
    config = Config(model=section, datasets={})
    runtime = Runtime(torch.device("cpu"), Precision())
    prepared = SimpleNamespace(model=prepare_model(section, runtime).model, runtime=runtime)
    models = [prepared.model, merge._load(str(tiny_model_path), config, prepared)]
    assert len(list(mixed(models, equal(2, [0, 1]), ["one", "two"]).parameters())) > 0


def test_models_that_do_not_go_together_are_refused(runs, tmp_path):
    with pytest.raises(ModelError, match=r"they can't be merged: .*builtin:tiny-qwen3-vl"):
        run_merge([runs[0], "builtin:tiny-qwen3-vl"], tmp_path / "out")
    with pytest.raises(ConfigError, match="none of these is a run"):
        run_merge(["builtin:tiny-text", "builtin:tiny-qwen3-vl"], tmp_path / "out")
    prompted = train_with_prompt(tmp_path)
    with pytest.raises(ModelError, match=r"its set of prompts is \{'query': 'find: '.* Merge models"):
        run_merge([runs[0], prompted], tmp_path / "out")
    shutil.copytree(Path(runs[1]) / "model", tmp_path / "dot")
    file = tmp_path / "dot/config_sentence_transformers.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"similarity_fn_name": "dot"}))
    with pytest.raises(ModelError, match=r"dot: its similarity is dot, and that of \S+ is cosine\. Merge models"):
        run_merge([runs[0], str(tmp_path / "dot")], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_trained_model_goes_with_its_base_whatever_their_configs_note(runs, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(build_builtin("builtin:tiny-text"), base)
    config = json.loads((base / "config.json").read_text())
    for token in ("bos_token_id", "eos_token_id"):  # training writes them into a config that lacks them
        del config[token]
    (base / "config.json").write_text(json.dumps(config))
    run_merge([runs[0], str(base)], tmp_path / "out", options=MergeOptions(weights=(1.0, 3.0)))
    one, other, merged = (load_file(f"{f}/model.safetensors") for f in (f"{runs[0]}/model", base, tmp_path / "out"))
    for name, tensor in merged.items():
        torch.testing.assert_close(tensor, 0.25 * one[name] + 0.75 * other[name], rtol=0, atol=1e-6)


def test_what_changes_vectors_is_no_note(runs, tmp_path):
    other = shutil.copytree(f"{runs[1]}/model", tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    with pytest.raises(ModelError, match=r"they can't be merged: .* different configuration in .*other"):
        run_merge([runs[0], str(other)], tmp_path / "out")


def test_a_weight_that_is_no_number_is_told_though_no_compared_input_meets_it(runs, tmp_path):
    broken = shutil.copytree(f"{runs[1]}/model", tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][-1, 0] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"broken: its weights in .*word_embeddings\.weight are not finite"):
        run_merge([runs[0], str(broken)], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def train_with_prompt(folder):
    job = evaluated(text_job(folder)) | {"prompts": {"anchor": "find: "}}
    train(job, folder, None)
    return str(folder / "run")


def test_what_is_saved_otherwise_is_not_left_there(runs, tmp_path, monkeypatch):
    def spoil(model, folder, dims):
        with torch.no_grad():
            model.get_submodule("0").model.embeddings.word_embeddings.weight.add_(1)
        save(model, folder, dims)
        with torch.no_grad():
            model.get_submodule("0").model.embeddings.word_embeddings.weight.add_(-1)

    save = compared_folder.save_for_servers
    monkeypatch.setattr(compared_folder, "save_for_servers", spoil)
    with pytest.raises(WorkError, match="nothing was written"):
        run_merge(runs[:2], tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_the_command(runs, tmp_path):
    given = ["merge", *runs[:2], "--output", str(tmp_path / "out"), "--weights", "0.7,0.3", "--json"]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    assert list(json.loads(done.stdout)["weights"].values()) == [0.7, 0.3]
    wrong = CliRunner().invoke(app, [*given, "--overwrite", "--weights", "half"])
    assert wrong.exit_code == 2 and "--weights: half" in wrong.stderr
    chosen = [*given[:5], "--choose", f"{runs[0]}/config.yaml", "--overwrite"]
    done = CliRunner().invoke(app, chosen)
    assert done.exit_code == 0, done.output
    assert "kept" in done.stdout and f"next: mmst encode {tmp_path}/out INPUT" in done.stderr.replace("\n", "")
