from itertools import islice

import pytest
from PIL import Image

from mmst_cli.config.schema import ColumnConfig, Modality, Role
from mmst_cli.retrieval.retrieval_set import RowRetrieval


@pytest.fixture
def retrieval(parquet, prepare, png):
    colours = {"easy": ["red", "green", "blue"], "page": ["cyan", "pink", "gold"], "scan": ["gray", "white", "black"]}
    path = parquet(**{k: [png(c) for c in v] for k, v in colours.items()}, query=["a", "b", "c"], hint=["d", "e", "f"])
    columns = {
        "easy": ColumnConfig(role=Role.negative, modality=Modality.image),
        "hint": ColumnConfig(role=Role.negative),
        "scan": ColumnConfig(role=Role.positive, modality=Modality.image),
        "query": ColumnConfig(role=Role.anchor),
        "page": ColumnConfig(role=Role.positive, modality=Modality.image),
    }
    return RowRetrieval(prepare(path, columns))


def test_ids_follow_the_corpus_positives_first(retrieval):
    assert retrieval.query_ids == ["q0", "q1", "q2"]
    names = ["scan", "page", "easy", "hint"]
    assert [column.name for column in retrieval.documents] == names
    assert retrieval.corpus_ids == [f"{name}:{row}" for name in names for row in range(3)]


def test_every_positive_of_a_row_answers_its_anchor(retrieval):
    assert retrieval.relevant == {f"q{row}": {f"scan:{row}": 1, f"page:{row}": 1} for row in range(3)}
    assert set().union(*retrieval.relevant.values()) <= set(retrieval.corpus_ids)


def test_queries_and_corpus_come_with_their_modality(retrieval):
    assert list(retrieval.queries()) == [("text", "a"), ("text", "b"), ("text", "c")]
    corpus = list(retrieval.corpus())
    assert len(corpus) == len(retrieval.corpus_ids) == 12
    assert [modality for modality, _ in corpus] == ["image"] * 9 + ["text"] * 3
    assert corpus[0][1].getpixel((0, 0)) == (128, 128, 128)  # scan:0 is gray
    assert corpus[5][1].getpixel((0, 0)) == (255, 215, 0)  # page:2 is gold
    assert corpus[9][1] == "d"


def test_any_one_can_be_read(retrieval):
    assert [retrieval.query_at(index) for index in range(3)] == list(retrieval.queries())
    for index, document in enumerate(retrieval.corpus()):
        assert retrieval.document_at(index) == document


def test_what_it_is_made_of(retrieval):
    assert [column.name for column in retrieval.columns] == ["query", "scan", "page", "easy", "hint"]
    assert retrieval.notes == []


def test_the_corpus_can_be_read_again(retrieval):
    read = [[value.tobytes() if modality == "image" else value for modality, value in retrieval.corpus()] for _ in "ab"]
    assert read[0] == read[1]


def test_one_image_is_decoded_at_a_time(retrieval, monkeypatch):
    opened, real = [], Image.open
    monkeypatch.setattr(Image, "open", lambda file, *args, **kw: opened.append(1) or real(file, *args, **kw))
    corpus = retrieval.corpus()
    assert opened == []
    for count, (_, image) in enumerate(islice(corpus, 4), start=1):
        assert isinstance(image, Image.Image)
        assert len(opened) == count
    list(retrieval.queries())
    assert len(opened) == 4


def test_ids_decode_nothing(retrieval, monkeypatch):
    monkeypatch.setattr(Image, "open", None)
    assert len(retrieval.corpus_ids) == 12
    assert len(retrieval.relevant) == 3


def test_rows_that_repeat_a_query_are_answers_to_one_query(parquet, prepare):
    path = parquet(query=["a", "b", "a", "c", "a"], page=["1", "2", "3", "4", "1"], other=["x", "y", "z", "u", "v"])
    columns = {
        "query": ColumnConfig(role=Role.anchor),
        "page": ColumnConfig(role=Role.positive),
        "other": ColumnConfig(role=Role.positive),
    }
    found = RowRetrieval(prepare(path, columns))
    assert found.query_ids == ["q0", "q1", "q3"] and found.repeats == 2
    assert [value for _, value in found.queries()] == ["a", "b", "c"]
    assert [found.query_at(place)[1] for place in range(3)] == ["a", "b", "c"]
    assert list(found.relevant["q0"]) == ["page:0", "page:2", "page:4", "other:0", "other:2", "other:4"]
    assert found.relevant["q3"] == {"page:3": 1, "other:3": 1}
    assert len(found.corpus_ids) == 10


def test_images_that_are_asked_again_are_one_query(parquet, prepare, png):
    path = parquet(query=[png(colour) for colour in ("red", "blue", "red")], page=["1", "2", "3"])
    columns = {
        "query": ColumnConfig(role=Role.anchor, modality=Modality.image),
        "page": ColumnConfig(role=Role.positive),
    }
    found = RowRetrieval(prepare(path, columns))
    assert found.relevant == {"q0": {"page:0": 1, "page:2": 1}, "q1": {"page:1": 1}}
    assert [value.getpixel((0, 0)) for _, value in found.queries()] == [(255, 0, 0), (0, 0, 255)]


def test_lists_and_rows_that_say_the_same_give_the_same_judgements(parquet, prepare):
    columns = {"query": ColumnConfig(role=Role.anchor), "page": ColumnConfig(role=Role.positive)}
    rows = RowRetrieval(prepare(parquet(query=["a", "a", "b"], page=["1", "2", "3"]), columns))
    listed = parquet(name="lists.parquet", query=["a", "b", "a"], page=[["1", "2"], ["3"], ["4"]])
    lists = RowRetrieval(prepare(listed, columns))
    assert [len(answers) for answers in rows.relevant.values()] == [2, 1]
    assert lists.repeats == 1
    assert [len(answers) for answers in lists.relevant.values()] == [3, 1]
    assert [value for _, value in lists.queries()] == ["a", "b"]
