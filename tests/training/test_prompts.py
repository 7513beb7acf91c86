from types import SimpleNamespace

import pytest

from mmst_cli.config.schema import Config, DatasetConfig, Modality, ModelConfig, Role, Use
from mmst_cli.model.prompts import column_prompts, prompt_warning
from mmst_cli.rows.columns import Column, RowSet


@pytest.fixture
def config():
    section = DatasetConfig(use=Use.train, path="rows", columns={})
    return Config(model=ModelConfig(name_or_path="m"), datasets={"train": section, "other": section.model_copy()})


def rows(key):
    roles = {"q": Role.anchor, "p": Role.positive, "n": Role.negative, "s": Role.label}
    return RowSet(key, None, tuple(Column(name, role, Modality.text) for name, role in roles.items()), reader=None)


def test_columns_have_the_prompt_of_their_role_and_negatives_that_of_positives(config):
    config.prompts = {"anchor": "find: ", "positive": "page: "}
    config.datasets["other"].prompts = {"positive": "", "anchor": "look: "}
    assert column_prompts(config, {"train": rows("train"), "other": rows("other")}) == {
        "train": {"q": "find: ", "p": "page: ", "n": "page: "},
        "other": {"q": "look: ", "p": "", "n": ""},
    }


def test_a_negative_of_its_own(config):
    config.datasets["train"].prompts = {"negative": "not: "}
    config.prompts = {"positive": "page: "}
    assert column_prompts(config, {"train": rows("train")}) == {"train": {"p": "page: ", "n": "not: "}}


def test_prompts_that_only_evaluation_would_use_are_warned_of(config):
    model = SimpleNamespace(prompts={"query": "Represent: ", "document": "", "classify": "x"})
    assert prompt_warning(config, model) == (
        'the model has prompts for query ("Represent: "); evaluation uses them and training doesn\'t.'
        " Set prompts: to train with them."
    )
    config.prompts = {"anchor": "Represent: "}
    assert prompt_warning(config, model) is None
    model.prompts["document"] = "Page: "
    assert prompt_warning(config, model).startswith('the model has prompts for document ("Page: "); ')
    config.prompts, config.training = {}, {"prompts": {"q": "Represent: "}}
    assert prompt_warning(config, model) is None
    config.training = {}
    assert prompt_warning(config, SimpleNamespace(prompts={"query": "", "document": ""})) is None
