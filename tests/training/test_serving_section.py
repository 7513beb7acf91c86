"""Requests in the card put into a model what training put into it."""

import base64
import json
import re
from io import BytesIO

import pytest
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer

from mmst_cli.builtin.tiny_clip import build_tiny_clip
from mmst_cli.builtin.tiny_text import build_tiny_text
from mmst_cli.model.precision import Precision
from mmst_cli.training.serving_section import TEXT, serving_section

BODY = re.compile(r"-d '(.+)'$", re.MULTILINE)


@pytest.fixture
def qwen(tiny_model_path):
    model = SentenceTransformer(str(tiny_model_path), device="cpu")
    model.prompts |= {"query": "Find the page: it's ", "document": "Keep: "}
    return model


def bodies(section):
    return [json.loads(found.replace("'\\''", "'")) for found in BODY.findall(section)]


def first_values(section):
    return [[float(value) for value in found.split(", ")] for found in re.findall(r"begins with (.+):$", section, re.M)]


def test_chats_are_tokenized_to_what_the_model_is_trained_on(qwen):
    section = serving_section(qwen, Precision(), [128, 8])
    assert '"dimensions": 8' in section and "dimensions" not in serving_section(qwen, Precision())
    text, image, rendered = bodies(section)
    processor = qwen[0].processor
    options = {"add_generation_prompt": text["add_generation_prompt"], "tokenize": True, "return_dict": True}
    ids = processor.apply_chat_template(text["messages"], **options)["input_ids"]
    ours = qwen.preprocess([TEXT], prompt=qwen.prompts["query"])["input_ids"]
    assert torch.equal(torch.as_tensor(ids).reshape(1, -1), ours)
    assert processor.tokenizer(rendered["input"])["input_ids"] == ours[0].tolist()
    url = image["messages"][1]["content"][0]["image_url"]["url"]
    sent = Image.open(BytesIO(base64.b64decode(url.partition(",")[2])))
    assert image["messages"][0] == {"role": "system", "content": [{"type": "text", "text": "Keep: "}]}
    expected = [qwen.encode_query(TEXT), qwen.encode_document([sent])[0]]
    assert first_values(section) == [pytest.approx(vector[:4].tolist(), abs=1e-4) for vector in expected]


def test_a_model_of_texts_is_asked_by_texts():
    model = SentenceTransformer(str(build_tiny_text()), device="cpu")
    model.prompts |= {"query": "query: "}
    first, second = bodies(serving_section(model, Precision()))
    assert first["input"] == second["input"] == f"query: {TEXT}"


def test_two_towers_are_left_out():
    assert serving_section(SentenceTransformer(str(build_tiny_clip()), device="cpu"), Precision()) == ""
