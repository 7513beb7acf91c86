"""The gate catches what was saved otherwise than it was measured, planted between saving and the gate."""

import json
import random
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from small_job import job, write_job

from mmst_cli.config.load import load_config
from mmst_cli.errors import WorkError
from mmst_cli.model.patch_embedding import PatchProduct, multiply_patches
from mmst_cli.model.precision import Precision
from mmst_cli.preparing.prepared_config import prepare_config
from mmst_cli.preparing.saved_model_gate import SavedModelGate

MAX_PIXELS = 12288  # the size of a page
PROMPTS = {"anchor": "Find the page: ", "positive": "A page: "}


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    """A gate of a model that has moved since the gate was opened, with prompts and pixel bounds."""
    from mmst_cli.terminal import Terminal

    folder = tmp_path_factory.mktemp("gate")
    config = job(folder) | {"prompts": PROMPTS}
    config["model"]["processor"] = {"min_pixels": 1024, "max_pixels": MAX_PIXELS}
    config = load_config(write_job(config, folder / "job.yaml"))
    prepared = prepare_config(config, Terminal(), list(config.datasets))
    gate = SavedModelGate(prepared.model, prepared.rows, Precision())
    gate.take_base()
    prepared.model.save_pretrained(str(folder / "base"), create_model_card=False)
    move(prepared.model, seed=1)
    return gate


def move(model, seed, by=0.01):
    """Change every weight a little, as training does."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(by * torch.randn(parameter.shape, generator=generator))


@pytest.fixture
def saved(gate, tmp_path):
    gate.model.save_pretrained(str(tmp_path / "model"), create_model_card=False)
    return tmp_path / "model"


def edit(path, change):
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def test_what_was_saved_as_measured_passes_bitwise(gate, saved):
    result = gate.check(saved)
    assert result.passed, result.sentence
    figures = result.to_dict()
    assert (figures["device"], figures["dtype"], figures["tolerance"]) == ("cpu", "float32", 1e-6)
    assert figures["largest_difference"] == 0.0 and figures["smallest_movement"] > 0.01
    kinds = {(kind["side"], kind["modality"]): kind for kind in figures["kinds"]}
    assert kinds.keys() == {("query", "text"), ("document", "image")}
    assert all(kind["inputs"] == 4 and kind["smallest_movement"] > 0 for kind in kinds.values())
    assert figures["tensors_not_saved_as_measured"] == 0 and figures["tensors_changed_by_training"] > 50


def test_patches_that_were_multiplied_in_training_are_convolved_for_the_comparison(gate, saved):
    count = multiply_patches(gate.model)
    try:
        assert gate.check(saved).to_dict()["largest_difference"] == 0.0
        assert sum(isinstance(module, PatchProduct) for module in gate.model.modules()) == count == 1
    finally:
        for module in gate.model.modules():
            if isinstance(module, PatchProduct):
                module.__class__ = torch.nn.Conv3d


def other_weights(saved, gate):
    """Those of another run."""
    other = {name: tensor + 0.01 * torch.randn_like(tensor) for name, tensor in load_weights(saved).items()}
    save_file(other, saved / "model.safetensors", metadata={"format": "pt"})


def load_weights(folder):
    return load_file(folder / "model.safetensors")


def untrained(saved, gate):
    shutil.copy(saved.parent / "base.safetensors", saved / "model.safetensors")


def other_pooling(saved, gate):
    def change(values):
        values["pooling_mode"] = "mean"

    edit(next(saved.glob("*_Pooling/config.json")), change)


def wider_bounds(saved, gate):
    change_bounds(saved, 4)


def narrower_bounds(saved, gate):
    change_bounds(saved, 0.5)


def change_bounds(saved, by):
    """In both places that transformers reads them from: those that the tokenizer was loaded with win."""

    def of_processor(values):
        values["image_processor"]["size"]["longest_edge"] = int(by * MAX_PIXELS)

    def of_tokenizer(values):
        values["max_pixels"] = int(by * MAX_PIXELS)

    edit(saved / "processor_config.json", of_processor)
    edit(saved / "tokenizer_config.json", of_tokenizer)


def lost_prompt(saved, gate):
    edit(saved / "config_sentence_transformers.json", lambda values: values["prompts"].pop("query"))


def one_tensor(saved, gate):
    """A single number of a single tensor, less than any tolerance would show."""
    weights = load_weights(saved)
    name = next(name for name in weights if "visual" in name and "bias" in name)
    weights[name][0] += 1e-7
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})


def lower_precision(saved, gate):
    """Under autocast to it the vectors would hardly differ."""
    weights = {name: tensor.bfloat16() for name, tensor in load_weights(saved).items()}
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    edit(saved / "config.json", lambda values: values.update(dtype="bfloat16"))


def tokens_swapped(saved, gate):
    """Two that are in no text of the probe."""

    def change(values):
        vocabulary = values["model"]["vocab"]
        one, other = list(vocabulary)[-2:]
        vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]

    edit(saved / "tokenizer.json", change)


def texts_cut(saved, gate):
    """Behind all that the texts of the probe have."""
    cut = {"direction": "Right", "max_length": 100, "strategy": "LongestFirst", "stride": 0}
    edit(saved / "tokenizer.json", lambda values: values.update(truncation=cut))


def padded_at_the_other_end(saved, gate):
    def change(values):
        values["padding_side"] = "right" if values.get("padding_side") == "left" else "left"

    edit(saved / "tokenizer_config.json", change)


def other_template(saved, gate):
    """For clips, of which the probe has none."""
    template = saved / "chat_template.jinja"
    template.write_text(template.read_text().replace("video", "clip"))


def other_bounds_of_clips(saved, gate):
    """Of which the probe has none; halved they may even make the same of some."""
    edit(saved / "processor_config.json", lambda values: values["video_processor"]["size"].update(longest_edge=6144))


def lost_normalisation(saved, gate):
    edit(saved / "modules.json", lambda values: values.pop())


FAULTS = {
    lower_precision: "Dtype: 'bfloat16' in the folder, 'float32' in memory",
    tokens_swapped: "Vocabulary: ",
    texts_cut: "f a long query beside a short one the saved processor makes other ",
    padded_at_the_other_end: "f a long query beside a short one the saved processor makes other ",
    other_template: "Chat template: ",
    other_bounds_of_clips: "Video_processor.size of module 0: {'longest_edge': 6144, ",
    lost_normalisation: "Modules: ['Transformer', 'Pooling'] in the folder, ",
    other_weights: "vectors differ from those that were measured",
    other_pooling: "Pooling: 'mean' in the folder, 'lasttoken' in memory",
    wider_bounds: "Of an image enlarged the saved processor makes other ",
    narrower_bounds: "row 0, column image the saved processor makes other ",
    lost_prompt: "Prompts: {'document': 'A page: '} in the folder, ",
    untrained: "They are those of the model before training.",
    one_tensor: "The folder holds 1 of the",
}


@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
def test_planted_faults_are_caught(gate, saved, plant, tmp_path_factory):
    base = next(tmp_path_factory.getbasetemp().glob("gate*/base/model.safetensors"))
    shutil.copy(base, saved.parent / "base.safetensors")
    plant(saved, gate)
    SentenceTransformer(str(saved), device="cpu")  # nobody else would notice
    result = gate.check(saved)
    assert not result.passed
    assert FAULTS[plant] in result.sentence, result.sentence


def test_a_model_that_training_left_alone_is_no_trained_one(gate, saved):
    """Also where saving went well: unless the learning rate was 0 all along."""
    moved, gate.base = gate.base, gate.embed()
    try:
        assert "Training has changed nothing" in gate.check(saved).sentence
        assert gate.check(saved, may_stay=True).passed
    finally:
        gate.base = moved


def test_what_cannot_be_loaded_is_told(gate, saved):
    (saved / "modules.json").write_text("[")
    result = gate.check(saved)
    assert not result.passed
    assert result.sentence.startswith("plain sentence-transformers can't use what was saved: ")
    assert gate.check(saved.parent / "nothing").sentence.count("can't use what was saved") == 1


def test_numbers_that_are_none_do_not_pass(gate, saved):
    weights = load_weights(saved)
    for tensor in weights.values():
        tensor.fill_(float("nan"))
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    result = gate.check(saved)
    assert not result.passed and result.figures["largest_difference"] == "nan"
    json.dumps(result.to_dict(), allow_nan=False)


def test_no_random_state_is_disturbed(gate):
    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = states()
    gate.embed()
    assert states() == before


def test_a_variable_left_over_in_the_environment_lets_no_model_through(gate, monkeypatch, tmp_path):
    monkeypatch.setenv("RANK", "1")  # of a launcher that isn't there: this process is the only one
    other = SavedModelGate(gate.model, {}, Precision())
    assert not other.check(tmp_path / "nothing").passed
    other.close()


def test_bfloat16_under_autocast_has_its_own_tolerance(gate, saved):
    measured = SavedModelGate.__new__(SavedModelGate)
    measured.__dict__ |= gate.__dict__ | {"autocast": "bfloat16", "base": None}
    figures = measured.check(saved).to_dict()
    assert figures["passed"] and figures["dtype"] == "bfloat16" and figures["tolerance"] == 2e-2
    assert figures["largest_difference"] == 0.0


def on_gpu(gate, monkeypatch, free):
    """The gate of a model on a GPU with so many bytes free, that asks nobody."""
    from types import SimpleNamespace

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 80 * 2**30))
    other = SavedModelGate.__new__(SavedModelGate)
    other.__dict__ |= gate.__dict__
    other.model = SimpleNamespace(device=torch.device("cuda:0"), state_dict=gate.model.state_dict)
    other.embed = lambda: gate.embed()
    return other


def test_a_second_model_is_loaded_on_the_gpu_only_where_there_is_room(gate, monkeypatch):
    assert on_gpu(gate, monkeypatch, 4 * 2**30)._choose_device() == "cuda:0"
    assert on_gpu(gate, monkeypatch, 1 * 2**30)._choose_device() == "cpu"
    assert gate._choose_device() == "cpu"


@pytest.mark.parametrize("said", ["OutOfMemoryError: CUDA out of memory.", "AcceleratorError: all devices are busy"])
def test_where_the_gpu_takes_no_second_model_after_all_the_cpu_compares(gate, saved, monkeypatch, said):
    other, asked = on_gpu(gate, monkeypatch, 4 * 2**30), []

    def load(folder, device):
        asked.append(device)
        return (None, said) if device != "cpu" else gate._load(folder, device)

    other._load = load
    figures = other.check(saved).to_dict()
    assert figures["passed"], figures["sentence"]
    assert asked == ["cuda:0", "cpu"] and (figures["measured_on"], figures["device"]) == ("cuda:0", "cpu")
    assert figures["tolerance"] == 1e-3 and "measured on cuda, loaded on cpu" in figures["tolerance_reason"]
    assert figures["not_on_gpu"] == said


def test_an_input_that_has_no_room_is_left_out_of_no_comparison(gate, saved, monkeypatch):
    def refuse(*_arguments, **_options):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(type(gate.model[0]), "forward", refuse)
    with pytest.raises(WorkError, match=r"^out of memory with .*, row 0, column query alone in a batch"):
        gate._takes(gate.inputs[0])
    result = gate.check(saved)
    assert not result.passed and "no room to embed a few inputs in memory: CUDA out of memory" in result.sentence


def test_inputs_that_the_library_alone_refuses_are_left_out_by_name(gate, saved):
    """What is done for them in memory, plain sentence-transformers doesn't do after loading."""
    from mmst_cli.preparing.saved_model_gate import plain

    encoder = gate.model[0]
    own = encoder.preprocess

    def helped(inputs, *arguments, **options):
        return own(["a" if value == {"text": "hard"} else value for value in inputs], *arguments, **options)

    encoder.preprocess = helped
    try:
        with plain(gate.model):
            assert "preprocess" not in vars(encoder)
        assert encoder.preprocess is helped
        other = SavedModelGate(gate.model, {}, Precision())
        item = {"value": {"no": "kind"}, "side": "query", "kind": "text", "place": "row 7", "options": {}}
        with plain(gate.model):
            assert not other._takes(item) and other.left_out[0]["input"] == "row 7"
        other.base = other.embed()
        result = other.check(saved, may_stay=True)
        assert result.passed and "No vector was compared" in result.sentence
        assert result.figures["left_out"][0]["input"] == "row 7"
    finally:
        vars(encoder).pop("preprocess")
