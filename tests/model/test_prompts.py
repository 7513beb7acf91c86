import copy

import pytest
import torch

from mmst_cli.config.schema import ModelConfig
from mmst_cli.errors import ConfigError
from mmst_cli.model.load_model import load_model
from mmst_cli.model.prompts import set_prompts

PROMPTS = {"anchor": "Find the page: ", "positive": "A page: ", "negative": "A page: "}


@pytest.fixture
def text_model():
    return load_model(ModelConfig(name_or_path="builtin:tiny-text"), torch.device("cpu"))[0]


def test_queries_and_documents_get_them_in_the_saved_model_too(text_model, tmp_path):
    from sentence_transformers import SentenceTransformer

    without = text_model.encode(["a red header"])
    set_prompts(text_model, PROMPTS)
    assert {k: text_model.prompts[k] for k in ("query", "document")} == {
        "query": "Find the page: ",
        "document": "A page: ",
    }
    text_model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    for model in (text_model, SentenceTransformer(str(tmp_path / "saved"), device="cpu")):
        assert (model.encode_query(["a red header"]) == model.encode(["Find the page: a red header"])).all()
        assert (model.encode_document(["a red header"]) == model.encode(["A page: a red header"])).all()
        assert (model.encode(["a red header"]) == without).all()


def test_a_model_of_messages_gets_a_system_message(tiny_model):
    model = copy.deepcopy(tiny_model)
    set_prompts(model, {"anchor": "Find the page."})
    message = [
        {"role": "system", "content": [{"type": "text", "text": "Find the page."}]},
        {"role": "user", "content": [{"type": "text", "text": "a red header"}]},
    ]
    asked = model.encode_query(["a red header"], convert_to_tensor=True)
    assert torch.equal(asked, model.encode([message], convert_to_tensor=True))
    assert not torch.equal(asked, model.encode(["a red header"], convert_to_tensor=True))


def test_roles_that_are_not_named_keep_the_prompts_of_the_model(text_model):
    text_model.prompts["document"] = "Its own: "
    set_prompts(text_model, {"anchor": "Find: "})
    assert text_model.prompts == {"query": "Find: ", "document": "Its own: "}


def test_positives_and_negatives_must_agree(text_model):
    with pytest.raises(ConfigError, match=r"^prompts\.negative: found 'No: ', and another role .* has 'Yes: '\."):
        set_prompts(text_model, {"positive": "Yes: ", "negative": "No: "})


@pytest.mark.parametrize("role", ["query", "label"])
def test_a_role_without_prompts(role, text_model):
    with pytest.raises(ConfigError, match=rf"^prompts\.{role}: prompts are for anchor, positive, negative\."):
        set_prompts(text_model, {role: "x"})
