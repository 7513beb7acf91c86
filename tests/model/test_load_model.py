import json
import shutil

import pytest
import torch

from mmst_cli.builtin import tiny_qwen3vl
from mmst_cli.config.schema import Attention, Dtype, ModelConfig
from mmst_cli.errors import ModelError
from mmst_cli.model.load_model import check_loadable, find_model, load_model, resolve_dtype
from mmst_cli.model.precision import Precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def copy(tiny_model_path, tmp_path):
    """A copy of the tiny model to harm."""
    return shutil.copytree(tiny_model_path, tmp_path / "copy")


def load(path, **fields):
    return load_model(ModelConfig(name_or_path=str(path), **fields), CPU)[0]


def fault(path, **fields):
    with pytest.raises(ModelError) as caught:
        load(path, **fields)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_builtin_model_is_a_folder(tiny_model_path):
    assert find_model("builtin:tiny-qwen3-vl") == str(tiny_model_path)


@pytest.mark.parametrize("file", ["modules.json", "config.json"])
def test_a_folder_with_a_model(file, tmp_path):
    (tmp_path / file).touch()
    assert find_model(str(tmp_path)) == str(tmp_path)


def test_a_run_folder_stands_for_its_model(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "config.yaml").touch()
    (tmp_path / "model" / "modules.json").touch()
    assert find_model(str(tmp_path)) == str(tmp_path / "model")


def test_a_folder_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "config.json").touch()
    assert find_model("~/") == str(tmp_path)


def test_a_folder_without_a_model(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(ModelError, match="this folder holds no model"):
        find_model(str(tmp_path))


def test_a_file_is_no_model(tmp_path):
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelError, match="a model is a folder or a hub id"):
        find_model(str(tmp_path / "model.safetensors"))


def test_a_run_that_is_not_there_is_not_looked_for_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_model("runs/quikstart") == "runs/quikstart"  # nothing says that it isn't a hub id
    (tmp_path / "runs/quickstart").mkdir(parents=True)
    (tmp_path / "runs/quickstart/config.yaml").touch()
    with pytest.raises(ModelError) as caught:
        find_model("runs/quikstart")
    assert str(caught.value) == "runs/quikstart: no such run in runs, which holds 1. Did you mean quickstart?"


@pytest.mark.parametrize("name", ["/gone", "./gone", "../gone", "~/gone", "~nobody/gone", "runs/a/gone"])
def test_a_folder_that_is_not_there(name):
    with pytest.raises(ModelError, match=r"^'runs/quickstart\\r': no such folder"):
        find_model("runs/quickstart\r")
    with pytest.raises(ModelError, match="no such folder"):
        find_model(name)


@pytest.mark.parametrize("name", ["Qwen/Qwen3-VL-Embedding-2B", "all-MiniLM-L6-v2"])
def test_anything_else_is_a_hub_id(name):
    assert find_model(name) == name


def test_a_hub_id_that_cannot_be_reached_names_its_revision():
    message = fault("nobody/nothing", revision="refs/pr/23")
    assert message.startswith("model.name_or_path: nobody/nothing at revision refs/pr/23 can't be loaded: ")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_declared_dtype_is_taken_everywhere(dtype):
    assert resolve_dtype(Dtype(dtype), CPU) is resolve_dtype(Dtype(dtype), GPU) is getattr(torch, dtype)


def test_auto_is_float32_on_a_cpu_and_left_to_the_checkpoint_elsewhere():
    assert resolve_dtype(Dtype.auto, CPU) is torch.float32
    assert resolve_dtype(Dtype.auto, GPU) is None


def test_loading_with_dtype_attention_and_processor(tiny_model_path):
    from mmst_cli.model.model_checks import produced_pixels

    config = ModelConfig(
        name_or_path=str(tiny_model_path),
        dtype=Dtype.bfloat16,
        attn_implementation=Attention.eager,
        processor={"max_pixels": 4096},
    )
    model, attention = load_model(config, CPU, Precision(torch.bfloat16))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert model[0].model.config._attn_implementation == attention.implementation == "eager"
    from PIL import Image

    assert produced_pixels(model, Image.new("RGB", (500, 500))) <= 4096


def test_auto_loads_a_half_precision_checkpoint_as_float32_on_a_cpu(tmp_path, tiny_model_path):
    load(tiny_model_path, dtype=Dtype.bfloat16).save_pretrained(str(tmp_path / "half"), create_model_card=False)
    assert load(tmp_path / "half").dtype == torch.float32
    assert load(tmp_path / "half", dtype=Dtype.float16).dtype == torch.float16


def test_flash_attention_is_refused_before_anything_is_looked_for():
    config = ModelConfig(name_or_path="/gone", attn_implementation=Attention.flash_attention_2)
    with pytest.raises(ModelError, match=r"^model\.attn_implementation: flash_attention_2 can't be used"):
        load_model(config, CPU)


def test_what_can_be_known_without_loading(tiny_model_path):
    check_loadable(ModelConfig(name_or_path=str(tiny_model_path)), CPU)
    check_loadable(ModelConfig(name_or_path="nobody/nothing"), CPU)  # no connection: loading decides
    with pytest.raises(ModelError, match="no such folder"):
        check_loadable(ModelConfig(name_or_path="./gone"), CPU)
    with pytest.raises(ModelError, match=r"^model\.attn_implementation: "):
        check_loadable(ModelConfig(name_or_path="./gone", attn_implementation=Attention.flash_attention_2), CPU)
    with pytest.raises(ModelError, match=r"^model\.name_or_path: not a name"):
        check_loadable(ModelConfig(name_or_path="not a name"), CPU)


@pytest.mark.parametrize(("held", "chosen"), [("bfloat16", "flash_attention_2"), ("float32", "sdpa")])
def test_auto_on_a_gpu_goes_by_the_dtype_of_the_checkpoint(held, chosen, tmp_path, monkeypatch):
    from mmst_cli.model import attention
    from mmst_cli.model.load_model import _choose_attention

    monkeypatch.setattr(attention, "flash_attention_installed", lambda *_: True)
    (tmp_path / "modules.json").write_text("[]")
    (tmp_path / "config.json").write_text(json.dumps({"dtype": held}))
    assert _choose_attention(ModelConfig(name_or_path=str(tmp_path)), GPU, None).implementation == chosen


def test_auto_goes_without_a_kernel_that_this_machine_has_not(tiny_model_path, monkeypatch):
    from mmst_cli.model import load_model as loading
    from mmst_cli.model.attention import AttentionChoice

    def refuse(implementation, *_, **__):
        raise FileNotFoundError(f"{implementation} has no build for this machine\nand much more")

    monkeypatch.setattr(
        loading, "choose_attention", lambda wanted, *_: AttentionChoice("flash_attention_2", f"it is {wanted}")
    )
    monkeypatch.setattr("transformers.modeling_utils.is_kernels_available", lambda: True)
    monkeypatch.setattr("transformers.modeling_utils.lazy_import_flash_attention", refuse)
    monkeypatch.setattr("transformers.PreTrainedModel._flash_attn_can_dispatch", lambda *_, **__: True)
    model, attention = load_model(ModelConfig(name_or_path=str(tiny_model_path)), CPU)
    assert model[0].model.config._attn_implementation == attention.implementation == "sdpa"
    assert attention.reason.startswith("flash_attention_2 was not taken: kernels-community/flash-attn2 has no build")
    assert "\n" not in attention.reason
    with pytest.raises(ModelError, match="has no build for this machine"):
        load_model(ModelConfig(name_or_path=str(tiny_model_path), attn_implementation="flash_attention_2"), CPU)


def test_an_architecture_without_sdpa_is_loaded_with_what_it_has():
    model, attention = load_model(ModelConfig(name_or_path="builtin:tiny-clap"), CPU)
    assert attention.implementation == model[0].model.config._attn_implementation == "eager"
    assert attention.reason == "ClapModel has no sdpa"
    message = fault("builtin:tiny-clap", attn_implementation=Attention.sdpa)
    assert message.startswith("model.name_or_path: builtin:tiny-clap can't be loaded: ClapModel does not support")


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


HARM = {
    "weights cut off": lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:9000]),
    "weights not fetched": lambda f: (f / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1"),
    "weights empty": lambda f: (f / "model.safetensors").write_bytes(b""),
    "weights gone": lambda f: (f / "model.safetensors").unlink(),
    "weights of another model": lambda f: edit(f / "config.json", text_config={"hidden_size": 64}),
    "modules broken": lambda f: (f / "modules.json").write_text("{"),
    "modules unknown": lambda f: (f / "modules.json").write_text(
        '[{"idx": 0, "name": "0", "path": "", "type": "nobody.Module"}]'
    ),
    "config broken": lambda f: (f / "config.json").write_text("{"),
    "tokenizer broken": lambda f: (f / "tokenizer.json").write_text("{}"),
    "pooling gone": lambda f: shutil.rmtree(f / "1_Pooling"),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_broken_folder_is_one_sentence(harm, copy):
    HARM[harm](copy)
    assert fault(copy).startswith(f"model.name_or_path: {copy} can't be loaded: ")


def test_code_that_comes_with_a_model_is_not_run(copy):
    (copy / "own.py").write_text("raise SystemExit('ran')")
    modules = json.loads((copy / "modules.json").read_text())
    modules[0]["type"] = "own.Module"
    (copy / "modules.json").write_text(json.dumps(modules))
    assert "own.Module" in fault(copy)


def test_the_tiny_model_is_what_it_says(tiny_model):
    assert sum(parameter.numel() for parameter in tiny_model.parameters()) < 1_000_000
    assert {parameter.dtype for parameter in tiny_model.parameters()} == {torch.float32}
    assert tiny_model.modalities == ["text", "image", "video", "message"]
    assert tiny_model.get_embedding_dimension() == tiny_qwen3vl.HIDDEN == 128
    assert type(tiny_model[0].model).__name__ == "Qwen3VLModel"
    assert [type(module).__name__ for module in tiny_model] == ["Transformer", "Pooling", "Normalize"]
    assert tiny_model[1].pooling_mode == "lasttoken"


def test_the_tiny_model_tells_pages_and_queries_apart(tiny_model, page_rows):
    queries, pages = zip(*page_rows(4), strict=True)
    for inputs in (list(queries), list(pages)):
        vectors = tiny_model.encode(inputs, convert_to_tensor=True)
        assert torch.allclose(vectors.norm(dim=1), torch.ones(4))
        assert (vectors @ vectors.T).fill_diagonal_(-1).max() < 0.99999


def test_the_tiny_model_takes_any_text(tiny_model):
    assert tiny_model.encode(["", "Ünïcödé 漢字 🦊", "<|im_end|>", "a" * 3000]).shape == (4, 128)


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_two_builds_are_the_same_and_leave_the_random_state_alone(tiny_model_path, tmp_path, monkeypatch):
    monkeypatch.setenv("MMST_CACHE", str(tmp_path))
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    built = tiny_qwen3vl.build_tiny_qwen3vl()
    assert torch.equal(torch.rand(1), expected)
    assert built != tiny_model_path
    assert files_of(built) == files_of(tiny_model_path)
    other = tiny_qwen3vl.build_tiny_qwen3vl(seed=1)
    assert (other / "model.safetensors").read_bytes() != (built / "model.safetensors").read_bytes()


def test_a_saved_model_gives_the_same_vectors_bitwise(tiny_model, page_rows, tmp_path):
    queries, pages = zip(*page_rows(5), strict=True)
    tiny_model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    saved = load(tmp_path / "saved")
    for inputs in (list(queries), list(pages)):
        assert torch.equal(
            saved.encode(inputs, convert_to_tensor=True), tiny_model.encode(inputs, convert_to_tensor=True)
        )
