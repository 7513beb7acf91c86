"""One preparation of a model for what it will be given, with weights or without."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from mmst_cli.config.schema import Config, EvaluatorConfig, LossConfig, MediaConfig, Modality, ModelConfig, Role
from mmst_cli.errors import ModelError
from mmst_cli.media.reading import Reader
from mmst_cli.model.patch_embedding import PatchProduct
from mmst_cli.model.precision import choose_runtime
from mmst_cli.preparing.prepared_model import declared_dims, prepare_model, with_own_reader
from mmst_cli.rows.columns import Column, RowSet

TEXT, CLAP = ModelConfig(name_or_path="builtin:tiny-text"), ModelConfig(name_or_path="builtin:tiny-clap")
RUNTIMES = pytest.mark.parametrize("runtime", [choose_runtime({"use_cpu": True}), None], ids=["weights", "none"])


def rows_of(modality, **media):
    columns = (Column("query", Role.anchor, Modality.text), Column("found", Role.positive, modality))
    return {"train": RowSet("train", None, columns, Reader(MediaConfig(**media), Path()))}


@RUNTIMES
def test_readers_are_told_and_prompts_are_set(runtime):
    rows, reader = rows_of(Modality.audio), Reader(MediaConfig(), Path())
    prepared = prepare_model(CLAP, runtime, rows, readers=[reader], prompts={"anchor": "find: "})
    assert rows["train"].reader.sampling_rate == reader.sampling_rate == 8000
    assert prepared.model.prompts["query"] == "find: "
    assert (prepared.attention is None) == (runtime is None)
    assert {p.device for p in prepared.model.parameters()} == {torch.device("meta" if runtime is None else "cpu")}


@RUNTIMES
def test_what_does_not_fit_is_told_by_its_key(runtime):
    with pytest.raises(ModelError, match=r"^datasets\.train\.columns\.found\.modality: image: the model takes text\."):
        prepare_model(TEXT, runtime, rows_of(Modality.image))
    with pytest.raises(ModelError, match=r"^evaluators\.e\.dims: 999: the model's embeddings have 128 dimensions\."):
        prepare_model(TEXT, runtime, dims={"evaluators.e.dims": [64, 999]})
    frozen = ModelConfig(name_or_path="builtin:tiny-text", frozen=["nothing"])
    with pytest.raises(ModelError, match=r"^model\.frozen\.0: nothing: no parameter matches\."):
        prepare_model(frozen, runtime)


@RUNTIMES
def test_settings_are_called_what_they_are_where_they_are_set(runtime):
    config, reader = ModelConfig(name_or_path="builtin:tiny-qwen3-vl-video"), Reader(MediaConfig(max_frames=1), Path())
    with pytest.raises(ModelError, match=r"^media\.max_frames: 1: the model takes 8 frames at a time\."):
        prepare_model(config, runtime, readers=[reader])
    with pytest.raises(ModelError, match=r"^--max-frames: 1: the model takes 8 frames at a time\."):
        prepare_model(config, runtime, readers=[reader], key_of=lambda name: f"--{name.replace('_', '-')}")


def test_parameters_are_frozen():
    frozen = ModelConfig(name_or_path="builtin:tiny-text", frozen=["embeddings"])
    prepared = prepare_model(frozen, choose_runtime({"use_cpu": True}))
    some = sum(p.numel() for p in prepared.model.parameters() if not p.requires_grad)
    assert prepared.frozen == (some, sum(p.numel() for p in prepared.model.parameters()))
    assert some > 0


def test_rows_of_their_own_reader_leave_the_other_as_it_was():
    rows = rows_of(Modality.audio, max_seconds=2.0)["train"]
    own = with_own_reader(rows)
    own.reader.sampling_rate = 8000
    assert rows.reader.sampling_rate is None
    assert own.reader.settings == rows.reader.settings


def test_the_dimensions_of_a_config():
    config = Config(
        model=TEXT,
        datasets={},
        matryoshka_dims=[64],
        loss=[LossConfig(type="A"), LossConfig(type="MatryoshkaLoss", args={"matryoshka_dims": [32]})],
        evaluators={"e": EvaluatorConfig(type="B", dataset="d", dims=[8])},
    )
    found = {key: dims for key, dims in declared_dims(config).items() if dims}
    assert found == {"matryoshka_dims": [64], "loss.1.args.matryoshka_dims": [32], "evaluators.e.dims": [8]}


@RUNTIMES
def test_patches_are_multiplied_where_there_are_any(tiny_model_path, monkeypatch, runtime):
    asked = ModelConfig(name_or_path=str(tiny_model_path), linear_patches=True)
    monkeypatch.setattr(torch.nn.Conv3d, "forward", None)
    model = prepare_model(asked, runtime).model
    assert any(isinstance(module, PatchProduct) for module in model.modules())
    if runtime:
        assert model.encode([Image.new("RGB", (64, 64))]).shape == (1, 128)


def test_a_model_without_patches_to_multiply_is_refused():
    with pytest.raises(ModelError, match=r"^model\.linear_patches: true, but builtin:tiny-text has no .* Remove it\.$"):
        prepare_model(ModelConfig(name_or_path="builtin:tiny-text", linear_patches=True), None)
