import pytest
from PIL import Image

from mmst_cli.config.schema import Modality, Role
from mmst_cli.data.columns import Column, RowSet
from mmst_cli.training.trainer import TypedCollator

ROWS = RowSet(
    "train",
    None,
    (
        Column("q", Role.anchor, Modality.text),
        Column("page", Role.positive, Modality.image),
        Column("grade", Role.label, Modality.text),
    ),
)


def test_texts_are_handed_over_as_texts_and_the_label_by_its_role(tmp_path, monkeypatch):
    page = tmp_path / "a.png"
    Image.new("RGB", (4, 4)).save(page)
    seen = {}

    def preprocess(inputs, prompt=None, task=None):
        seen[len(seen)] = inputs
        return {"input_ids": inputs}

    image = Image.new("RGB", (8, 8))
    batch = TypedCollator(preprocess_fn=preprocess).declare([ROWS])([{"q": str(page), "page": image, "grade": 3}])
    assert seen == {0: [{"text": str(page)}], 1: [image]}
    assert batch["label"].tolist() == [3]


def test_prompts_of_a_column_are_kept():
    prompts = []
    collator = TypedCollator(
        preprocess_fn=lambda inputs, prompt=None, task=None: prompts.append(prompt) or {}, prompts={"q": "Find: "}
    ).declare([ROWS])
    collator([{"q": "x", "page": None, "grade": 0}])
    assert prompts == ["Find: ", None]


@pytest.mark.parametrize("name", ["answer", "positive"])
def test_the_order_of_names_is_not_commented_on(name, caplog):
    rows = RowSet("t", None, (Column(name, Role.anchor, Modality.text), Column("query", Role.positive, Modality.text)))
    TypedCollator(preprocess_fn=lambda inputs, prompt=None, task=None: {}).declare([rows])([{name: "a", "query": "b"}])
    assert not caplog.records
