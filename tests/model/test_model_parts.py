import copy

import pytest
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer

from mmst_cli.config.schema import Dtype, ModelConfig, Pooling, RouteConfig
from mmst_cli.errors import ModelError
from mmst_cli.model.load_model import check_loadable, load_model, model_label
from mmst_cli.model.model_parts import routes_for, takes

CPU = torch.device("cpu")
PAGE = Image.new("RGB", (96, 128), "red")


def section(dimension=None, **routes):
    names = {route: RouteConfig(name_or_path=str(path)) for route, path in routes.items()}
    return ModelConfig(routes=names, dimension=dimension)


def put_together(dimension=None, seed=42, **routes):
    return load_model(section(dimension, **routes), CPU, seed=seed)[0]


def of_modalities(dimension=96):
    return put_together(dimension, text="builtin:tiny-text", image="builtin:tiny-clip")


@pytest.fixture(scope="module")
def model():
    """Texts by one encoder, images by another; shared: leave it as it is."""
    return of_modalities()


def fault(config):
    with pytest.raises(ModelError) as caught:
        load_model(config, CPU)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_each_modality_goes_through_its_own_encoder(model):
    for route, name, value in (("text", "builtin:tiny-text", "a red page"), ("image", "builtin:tiny-clip", PAGE)):
        encoder, _ = load_model(ModelConfig(name_or_path=name, normalize=False), CPU)
        dense = model[0].sub_modules[route][-1]
        expected = dense.linear(encoder.encode([value], convert_to_tensor=True).clone())
        for encode in (model.encode, model.encode_query, model.encode_document):
            vector = encode([value], convert_to_tensor=True)
            assert torch.allclose(vector, torch.nn.functional.normalize(expected, dim=1), atol=1e-6)
            assert torch.equal(encode([{route: value}], convert_to_tensor=True), vector)


def test_the_projections_come_from_the_seed_and_leave_the_random_state_alone(model):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    again = of_modalities()
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))
    other = put_together(96, seed=1, text="builtin:tiny-text", image="builtin:tiny-clip")
    assert not torch.equal(*(m[0].sub_modules["text"][-1].linear.weight for m in (other, model)))
    both = [model[0].sub_modules[route][-1].linear.weight for route in ("text", "image")]
    assert not torch.equal(*both)


def test_it_trains_and_reloads_in_plain_sentence_transformers_bitwise(page_rows, tmp_path):
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss, MatryoshkaLoss

    model = of_modalities()
    before = copy.deepcopy(model.state_dict())
    queries, pages = (list(column) for column in zip(*page_rows(12), strict=True))
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path / "run"),
        max_steps=3,
        per_device_train_batch_size=4,
        learning_rate=1e-3,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        router_mapping={"query": "query", "image": "document"},  # the trainer wants one, whatever decides
    )
    loss = MatryoshkaLoss(model, CachedMultipleNegativesRankingLoss(model, mini_batch_size=2), [96, 32])
    rows = Dataset.from_dict({"query": queries, "image": pages})
    SentenceTransformerTrainer(model=model, args=arguments, train_dataset=rows, loss=loss).train()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    for part in ("text.0.model.embeddings", "text.2.linear", "image.0.model.vision_model", "image.1.linear"):
        assert any(part in name for name in changed), part
    model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    saved = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    for inputs in (queries, pages):
        expected = model.encode(inputs, convert_to_tensor=True)
        assert torch.equal(saved.encode(inputs, convert_to_tensor=True), expected)
    loaded, _ = load_model(ModelConfig(name_or_path=str(tmp_path / "saved")), CPU)
    assert torch.equal(loaded.encode(pages, convert_to_tensor=True), expected)


def test_sides_of_equal_encoders_share_one(tmp_path):
    model = put_together(64, query="builtin:tiny-text", document="builtin:tiny-text")
    query, document = (model[0].sub_modules[side] for side in ("query", "document"))
    assert query[0] is document[0]
    assert query[-1] is not document[-1]
    text = ["a red page"]
    assert not (model.encode_query(text) == model.encode_document(text)).all()
    assert (model.encode(text) == model.encode_document(text)).all()
    model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    saved = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    assert len(list(tmp_path.rglob("*_Transformer"))) == 1
    assert (saved.encode_query(text) == model.encode_query(text)).all()
    assert sum(p.numel() for p in saved.parameters()) == sum(p.numel() for p in model.parameters())


def test_a_side_and_a_modality_together():
    routes = {
        "query/text": "builtin:tiny-text",
        "document/image": "builtin:tiny-clip",
        "document/text": "builtin:tiny-clip",
    }
    model = put_together(**routes)
    assert list(model[0].sub_modules) == ["query_text", "document_image", "document_text"]
    assert not (model.encode_query(["a page"]) == model.encode_document(["a page"])).all()
    assert (model.encode(["a page"]) == model.encode_document(["a page"])).all()
    assert routes_for(model, "text") == ["query_text", "document_text"]
    assert (model.encode([PAGE]) == model.encode_document([PAGE])).all()


def test_queries_alone_are_for_a_modality_that_has_no_documents():
    model = put_together(**{"query/text": "builtin:tiny-text", "document/image": "builtin:tiny-clip"})
    assert (model.encode(["a page"]) == model.encode_query(["a page"])).all()


def test_without_dimension_the_sizes_must_be_equal(raw_vit):
    model = put_together(text="builtin:tiny-text", image="builtin:tiny-clip")
    assert (model.get_embedding_dimension(), len(model[0].sub_modules["text"])) == (128, 2)
    assert fault(section(text="builtin:tiny-text", image=raw_vit)) == (
        "model.routes: the encoders' vectors differ in size: text 128, image 32. "
        "Set model.dimension, such as 32, to project them to one."
    )


def test_raw_checkpoints_with_a_pooling(raw_vit, raw_bert):
    config = section(48, text=raw_bert, image=raw_vit)
    config.routes["text"].pooling = Pooling.cls
    model, _ = load_model(config, CPU)
    assert model[0].sub_modules["text"][1].pooling_mode == "cls"
    assert model[0].sub_modules["image"][1].pooling_mode == "mean"
    assert torch.allclose(model.encode([PAGE], convert_to_tensor=True).norm(), torch.tensor(1.0))


def test_vectors_may_keep_their_length():
    config = section(48, text="builtin:tiny-text", image="builtin:tiny-clip")
    config.normalize = False
    model, _ = load_model(config, CPU)
    assert [type(module).__name__ for module in model] == ["Router"]


def test_an_encoder_must_take_what_its_route_is_for():
    message = fault(section(64, text="builtin:tiny-clip", image="builtin:tiny-text"))
    assert message.startswith("model.routes.image: image: its encoder takes text.")


def test_what_no_route_is_for_is_not_taken(tiny_model_path):
    model = put_together(text="builtin:tiny-text", image=tiny_model_path)
    assert {name: takes(model, name) for name in ("text", "image", "video", "message")} == {
        "text": True,
        "image": True,
        "video": False,
        "message": False,
    }
    assert not takes(model, ("image", "text"))
    with pytest.raises(ValueError, match="modality='image'"):
        model.encode([[{"role": "user", "content": [{"type": "text", "text": "a"}]}]])
    sided = put_together(64, query="builtin:tiny-text", document=tiny_model_path)
    assert takes(sided, "message")
    assert takes(sided, ("text", "image"))


def test_routers_without_mappings_are_understood_by_their_names():
    from sentence_transformers.base.modules import Router

    text, clip = (load_model(ModelConfig(name_or_path=f"builtin:tiny-{name}"), CPU)[0] for name in ("text", "clip"))
    model = SentenceTransformer(modules=[Router({"text": list(text), "image": list(clip)})], device="cpu")
    assert (routes_for(model, "text"), routes_for(model, "image")) == (["text"], ["image"])
    model = SentenceTransformer(modules=[Router.for_query_document(list(text), list(clip))], device="cpu")
    assert (routes_for(model, "text"), routes_for(model, "image")) == (["query", "document"], ["document"])


def test_a_model_of_one_encoder_has_no_routes(tiny_model):
    assert routes_for(tiny_model, "text") == []
    assert takes(tiny_model, "text") and not takes(tiny_model, "audio")


def test_a_route_whose_model_is_not_there_is_named():
    config = section(64, text="builtin:tiny-text", image="./gone")
    assert fault(config).startswith("model.routes.image.name_or_path: ./gone: no such folder.")
    with pytest.raises(ModelError, match=r"^model\.routes\.image\.name_or_path: \./gone"):
        check_loadable(config, CPU)
    message = fault(section(64, text="nobody/nothing", image="builtin:tiny-clip"))
    assert message.startswith("model.routes.text.name_or_path: nobody/nothing can't be loaded: ")


def test_pixel_bounds_of_a_route_are_checked(tiny_model_path):
    config = section(64, text="builtin:tiny-text", image="builtin:tiny-clip")
    config.routes["image"].processor = {"max_pixels": 1000}
    assert fault(config).startswith("model.routes.image.processor.max_pixels: 1000: the processor made 16384 pixels")
    config = section(64, text="builtin:tiny-text", image=tiny_model_path)
    config.routes["image"].processor = {"max_pixels": 4096}
    load_model(config, CPU)


def test_half_precision_would_not_reload():
    config = section(64, text="builtin:tiny-text", image="builtin:tiny-clip")
    config.dtype = Dtype.bfloat16
    assert fault(config).startswith("model.dtype: bfloat16: a model with routes and dimension is held in float32.")
    config.dtype = Dtype.float32
    assert load_model(config, CPU)[0].dtype == torch.float32


def test_a_saved_one_runs_in_half_precision(model, tmp_path):
    model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    half, _ = load_model(ModelConfig(name_or_path=str(tmp_path / "saved"), dtype=Dtype.bfloat16), CPU)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    assert half.encode([PAGE]).shape == (1, 96)


def test_encoders_with_different_attention():
    _, attention = load_model(section(64, text="builtin:tiny-text", audio="builtin:tiny-clap"), CPU)
    assert attention.implementation == "sdpa, eager"
    assert "audio: eager, ClapModel has no sdpa" in attention.reason


def test_what_it_is_called():
    config = section(64, text="builtin:tiny-text", image="builtin:tiny-clip")
    assert model_label(config) == "text: builtin:tiny-text, image: builtin:tiny-clip"
    assert model_label(ModelConfig(name_or_path="some/model")) == "some/model"
