import pytest
from datasets import Dataset

from mmst_cli.config.schema import Modality, Role
from mmst_cli.errors import ConfigError
from mmst_cli.rows.columns import Column, RowSet
from mmst_cli.training.mixing import weigh_rows


@pytest.fixture
def rows():
    column = Column("text", Role.anchor, Modality.text, ("text",))
    return RowSet("train", Dataset.from_dict({"text": [str(i) for i in range(10)]}), (column,), reader=None)


def seen(rows):
    return [row["text"] for row in rows.rows]


@pytest.mark.parametrize(("weight", "count"), [(2, 20), (0.5, 5), (1.5, 15), (3.25, 32), (0.04, 0)])
def test_rows_are_there_as_often_as_the_weight_says(rows, weight, count):
    if not count:
        with pytest.raises(ConfigError, match=r"datasets\.train\.weight: 0\.04 of 10 rows is none\."):
            weigh_rows(rows, weight, 0)
        return
    texts = seen(weigh_rows(rows, weight, 0))
    assert len(texts) == count
    times = {text: texts.count(text) for text in seen(rows)}
    assert set(times.values()) <= {int(weight), int(weight) + 1}


def test_the_seed_chooses_and_nothing_else(rows):
    assert seen(weigh_rows(rows, 0.5, 1)) == seen(weigh_rows(rows, 0.5, 1))
    assert seen(weigh_rows(rows, 0.5, 1)) != seen(weigh_rows(rows, 0.5, 2))
    assert weigh_rows(rows, 1, 0) is rows
