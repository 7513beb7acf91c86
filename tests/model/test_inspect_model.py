import io
import json
import shutil
import socket

import pytest
import torch
from rich.console import Console

from mmst_cli.builtin.tiny_qwen3vl import build_tiny_qwen3vl
from mmst_cli.errors import ModelError
from mmst_cli.model.inspect_model import facts_table, run_inspection


def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"[UNK]": 0, "[PAD]": 1, "a": 2, "page": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", eos_token="[UNK]", model_max_length=64
    )


def bert(folder, dtype="float32"):
    from transformers import BertConfig, BertModel

    config = BertConfig(vocab_size=4, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    BertModel(config).to(getattr(torch, dtype)).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def bert_with_dense(folder, parts):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

    modules = [Transformer(str(bert(parts))), Pooling(16, "cls"), Dense(16, 8), Normalize()]
    model = SentenceTransformer(modules=modules, device="cpu", prompts={"query": "find: "})
    model.similarity_fn_name = "dot"
    model.save_pretrained(str(folder), create_model_card=False)
    return folder


def clip(folder):
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**sizes, "vocab_size": 4, "max_position_embeddings": 20, "eos_token_id": 0},
        vision_config={**sizes, "image_size": 32, "patch_size": 16},
        projection_dim=12,
    )
    CLIPModel(config).save_pretrained(folder)
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(image_processor=images, tokenizer=tokenizer()).save_pretrained(folder)
    return folder


def static(folder):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    embedding = StaticEmbedding(tokenizer().backend_tokenizer, embedding_dim=8)
    SentenceTransformer(modules=[embedding], device="cpu").save_pretrained(str(folder), create_model_card=False)
    return folder


def routed(folder):
    from mmst_cli.config.schema import ModelConfig, RouteConfig
    from mmst_cli.model.load_model import load_model

    routes = {
        "text": RouteConfig(name_or_path="builtin:tiny-text"),
        "image": RouteConfig(name_or_path="builtin:tiny-qwen3-vl"),
    }
    model, _ = load_model(ModelConfig(routes=routes, dimension=96), torch.device("cpu"))
    model.save_pretrained(str(folder), create_model_card=False)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("models")
    shutil.copytree(build_tiny_qwen3vl(), base / "qwen")
    return {
        "qwen": base / "qwen",
        "dense": bert_with_dense(base / "dense", base / "parts"),
        "raw": bert(base / "raw", "bfloat16"),
        "clip": clip(base / "clip"),
        "routed": routed(base / "routed"),
    }


def taken(facts):
    return [fact.modality for fact in facts.modalities if fact.supported]


def by_name(facts):
    return {fact.modality: fact for fact in facts.modalities}


def test_qwen3vl(folders):
    from sentence_transformers import SentenceTransformer

    facts = run_inspection(str(folders["qwen"]))
    model = SentenceTransformer(str(folders["qwen"]), device="cpu")
    assert taken(facts) == ["text", "image", "video", "message"]
    assert by_name(facts)["image"].part == "image_processor"
    assert by_name(facts)["image"].part_class == "Qwen2VLImageProcessor"
    assert by_name(facts)["message"].part == "chat_template"
    assert by_name(facts)["audio"].part is None
    assert facts.architecture == "Qwen3VLModel"
    assert facts.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert (facts.dimension, facts.pooling, facts.normalised) == (128, "lasttoken", True)
    assert (facts.message_format, facts.similarity, facts.dtype) == ("structured", "cosine", "float32")
    assert facts.image_size == {"min_pixels": 256, "max_pixels": 96 * 128}
    assert facts.max_length == model.max_seq_length
    assert facts.matryoshka_dims is None


def test_a_text_model_with_a_dense_layer(folders):
    facts = run_inspection(str(folders["dense"]))
    assert taken(facts) == ["text"]
    assert facts.message_format is None
    assert (facts.dimension, facts.pooling, facts.normalised, facts.similarity) == (8, "cls", True, "dot")
    assert facts.prompts["query"] == "find: "
    assert (facts.max_length, facts.image_size) == (64, None)


def test_a_transformers_folder_alone(folders):
    facts = run_inspection(str(folders["raw"]))
    assert taken(facts) == ["text"]
    assert (facts.dimension, facts.pooling, facts.normalised) == (16, "mean", False)
    assert (facts.architecture, facts.dtype) == ("BertModel", "bfloat16")


def test_clip(folders):
    facts = run_inspection(str(folders["clip"]))
    assert taken(facts) == ["text", "image"]
    assert by_name(facts)["image"].method == "get_image_features"
    assert (facts.dimension, facts.pooling) == (12, None)
    assert facts.image_size == {"shortest_edge": 32, "crop_height": 32, "crop_width": 32}


def test_the_builtin_models():
    clap = run_inspection("builtin:tiny-clap")
    assert taken(clap) == ["text", "audio"]
    assert by_name(clap)["audio"].part_class == "ClapFeatureExtractor"
    assert by_name(clap)["audio"].method == "get_audio_features"
    assert (clap.architecture, clap.dimension, clap.pooling, clap.sampling_rate) == ("ClapModel", 128, None, 8000)
    clip = run_inspection("builtin:tiny-clip")
    assert taken(clip) == ["text", "image"]
    assert (clip.dimension, clip.pooling, clip.normalised, clip.sampling_rate) == (128, None, True, None)
    assert clip.image_size == {"height": 128, "width": 128}
    text = run_inspection("builtin:tiny-text")
    assert (taken(text), text.dimension, text.pooling, text.normalised) == (["text"], 128, "mean", True)
    video = run_inspection("builtin:tiny-qwen3-vl-video")
    assert taken(video) == ["text", "image", "video", "message"]
    assert (video.pooling, video.normalised, video.message_format) == ("lasttoken", True, "structured")


def test_a_routed_model(folders):
    facts = run_inspection(str(folders["routed"]))
    assert taken(facts) == ["text", "image"]  # the image encoder takes more, and no route leads there
    text, image = by_name(facts)["text"], by_name(facts)["image"]
    assert (text.route, text.part, text.method) == ("text", "tokenizer", "forward")
    assert (image.route, image.part_class) == ("image", "Qwen2VLImageProcessor")
    assert (facts.dimension, facts.normalised, facts.max_length) == (96, True, 128)
    assert (facts.architecture, facts.pooling) == (
        "text: BertModel, image: Qwen3VLModel",
        "text: mean, image: lasttoken",
    )
    assert facts.image_size == {"min_pixels": 256, "max_pixels": 96 * 128}
    assert [route.takes for route in facts.routes] == [["text"], ["image"]]
    assert [(r.encoder_dimension, r.dimension, r.projected) for r in facts.routes] == [(128, 96, True)] * 2
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(facts_table(facts))
    shown = console.export_text()
    assert "image: Qwen3VLModel, lasttoken pooling, 128 dimensions projected to 96" in shown
    assert json.loads(json.dumps(facts.to_dict()))["routes"][0]["route"] == "text"


def test_a_routed_model_by_sides(tmp_path):
    from mmst_cli.config.schema import ModelConfig, RouteConfig
    from mmst_cli.model.load_model import load_model

    routes = {
        "query": RouteConfig(name_or_path="builtin:tiny-text"),
        "document": RouteConfig(name_or_path="builtin:tiny-clip"),
    }
    model, _ = load_model(ModelConfig(routes=routes), torch.device("cpu"))
    model.save_pretrained(str(tmp_path / "sides"), create_model_card=False)
    facts = run_inspection(str(tmp_path / "sides"))
    found = [(fact.modality, fact.route) for fact in facts.modalities if fact.supported]
    assert found == [("text", "query"), ("text", "document"), ("image", "document")]


def test_prompts_are_shown(tmp_path):
    from mmst_cli.config.schema import ModelConfig
    from mmst_cli.model.load_model import load_model
    from mmst_cli.model.prompts import set_prompts

    model, _ = load_model(ModelConfig(name_or_path="builtin:tiny-text"), torch.device("cpu"))
    shown = []
    for prompts in ({}, {"anchor": "Find the page: "}):
        set_prompts(model, prompts)
        model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
        facts = run_inspection(str(tmp_path / "saved"))
        console = Console(width=100, record=True, file=io.StringIO())
        console.print(facts_table(facts))
        shown.append(next(line for line in console.export_text().splitlines() if "│ prompts" in line))
    assert "none" in shown[0]
    assert "query: 'Find the page: '" in shown[1]
    assert facts.prompts == {"query": "Find the page: ", "document": ""}


@pytest.mark.parametrize("name", ["qwen", "dense", "raw", "clip", "routed"])
def test_no_weight_is_read(name, folders, tmp_path, monkeypatch):
    facts = run_inspection(str(folders[name])).to_dict()
    bare = tmp_path / "model"
    shutil.copytree(folders[name], bare, ignore=shutil.ignore_patterns("*.safetensors"))

    def refuse(*_args, **_kwargs):
        raise AssertionError("read or fetched")

    for target in ("safetensors.torch.load_file", "safetensors.safe_open", "torch.load"):
        monkeypatch.setattr(target, refuse)
    monkeypatch.setattr("transformers.modeling_utils.safe_open", refuse)
    monkeypatch.setattr("sentence_transformers.base.modules.module.load_safetensors_model", refuse)
    monkeypatch.setattr("sentence_transformers.base.modules.module.load_safetensors_file", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    without = run_inspection(str(bare)).to_dict()
    assert run_inspection(str(folders[name])).to_dict() == facts
    for of_folder in ("model", "bytes_on_disk"):
        facts.pop(of_folder), without.pop(of_folder)
    assert without == facts


def test_static_embeddings_have_their_size_in_the_weights_header(tmp_path):
    facts = run_inspection(str(static(tmp_path / "static")))
    assert (taken(facts), facts.dimension, facts.parameters) == (["text"], 8, 32)
    (tmp_path / "static" / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(ModelError, match=r"model\.safetensors: not a safetensors file: "):
        run_inspection(str(tmp_path / "static"))
    (tmp_path / "static" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="its weights aren't there"):
        run_inspection(str(tmp_path / "static"))


def test_loading_works_as_before_afterwards(folders):
    from sentence_transformers import SentenceTransformer

    run_inspection(str(folders["dense"]))
    model = SentenceTransformer(str(folders["dense"]), device="cpu")
    assert model.encode("a page").shape == (8,)


def test_matryoshka_dims_of_a_run_and_of_a_model_card(folders, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(folders["raw"], run / "model")
    (run / "model" / "README.md").write_text('"matryoshka_dims": [\n  16,\n  4\n]')
    assert run_inspection(str(run)).matryoshka_dims == [16, 4]
    (run / "config.yaml").write_text("matryoshka_dims: [16, 8]\n")
    assert run_inspection(str(run)).matryoshka_dims == [16, 8]
    (run / "config.yaml").write_text("[broken")
    assert run_inspection(str(run)).matryoshka_dims == [16, 4]


@pytest.mark.parametrize("content", ["{", "{}", '{"model_type": "no-such-model"}'])
def test_a_folder_without_a_usable_config(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ModelError) as caught:
        run_inspection(str(tmp_path))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_missing_folder(tmp_path):
    with pytest.raises(ModelError, match="no such folder"):
        run_inspection(str(tmp_path / "gone"))


@pytest.mark.parametrize("width", [80, 160])
def test_table_and_json(width, folders):
    facts = run_inspection(str(folders["clip"]))
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(facts_table(facts))
    text = console.export_text()
    assert "image processor CLIPImageProcessor" in text
    assert "get_image_features" in text
    assert max(map(len, text.splitlines())) <= width
    assert json.loads(json.dumps(facts.to_dict()))["dimension"] == 12
