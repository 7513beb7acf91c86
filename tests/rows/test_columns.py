import math

import datasets
import numpy
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmst_cli.config.schema import ColumnConfig, Modality, Role
from mmst_cli.errors import ConfigError, DataError
from mmst_cli.rows.columns import ROW, as_input

LIKE_MEDIA = [
    "http://127.0.0.1:9/page.png",
    "https://host.example/a.jpg",
    "data:image/png;base64,iVBORw0KGgo=",
    "file:///etc/hostname",
    "page.png",
    "/etc/hostname",
    "~/page.png",
]


def texts(**roles):
    return {name: ColumnConfig(role=Role(role)) for name, role in roles.items()}


def test_columns_stand_in_the_order_of_their_roles(parquet, prepare):
    names = ["hard", "score", "page", "other", "query", "second"]
    path = parquet(**{name: [1.0, 0.5] if name == "score" else [f"{name} 0", f"{name} 1"] for name in names})
    columns = texts(score="label", second="negative", page="positive", hard="negative", query="anchor")
    rows = prepare(path, columns)
    order = ["query", "page", "second", "hard", "score"]
    assert [column.name for column in rows.columns] == list(rows.read(rows.rows[0])) == order
    assert rows.rows.column_names == [*order, ROW]
    assert rows.read(rows.rows[1])["page"] == {"text": "page 1"}


def test_an_image_column_keeps_its_place(parquet, prepare, png, tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    path = parquet(hard=["a.png"] * 2, page=[png()] * 2, query=["a", "b"])
    columns = {
        "hard": ColumnConfig(role=Role.negative, modality=Modality.image),
        "page": ColumnConfig(role=Role.positive, modality=Modality.image),
        "query": ColumnConfig(role=Role.anchor),
    }
    assert prepare(path, columns).rows.column_names == ["query", "page", "hard", ROW]


def test_undeclared_columns_are_dropped_unread(parquet, prepare):
    path = parquet(query=["a", "b"], page=["c", "d"], image=[b"broken", None], note=[None, None])
    assert prepare(path, texts(query="anchor", page="positive")).rows.column_names == ["query", "page", ROW]


def test_values_by_role(parquet, prepare):
    rows = prepare(parquet(query=["a", "b"], page=["c", "d"]), texts(page="positive", query="anchor"))
    assert (rows.key, len(rows)) == ("train", 2)
    (anchor,) = rows.with_role(Role.anchor)
    assert list(rows.values(anchor)) == ["a", "b"]
    assert [column.name for column in rows.with_role(Role.positive, Role.anchor)] == ["query", "page"]
    assert rows.with_role(Role.label) == []


def test_missing_columns_are_all_named(parquet, prepare):
    with pytest.raises(ConfigError) as caught:
        prepare(parquet(query=["a"], image=["b"]), texts(query="anchor", imge="positive", zzz="negative"))
    assert caught.value.faults == [
        "datasets.train.columns.imge: no such column; the dataset has query, image. Did you mean image?",
        "datasets.train.columns.zzz: no such column; the dataset has query, image.",
    ]


def test_strings_that_look_like_media_stay_text(parquet, prepare, png, tmp_path, monkeypatch, no_way_out):
    (tmp_path / "page.png").write_bytes(png())
    monkeypatch.chdir(tmp_path)
    rows = prepare(parquet(query=LIKE_MEDIA, page=LIKE_MEDIA[::-1]), texts(query="anchor", page="positive"))
    assert list(rows.values(rows.columns[0])) == LIKE_MEDIA
    assert rows.rows[:]["page"] == LIKE_MEDIA[::-1]
    assert rows.rows.features["query"].dtype in ("string", "large_string")


def test_such_strings_are_embedded_as_text(parquet, prepare, png, tmp_path, monkeypatch, tiny_model, no_way_out):
    import torch

    from mmst_cli.vectors.input_stream import encode_stream

    (tmp_path / "page.png").write_bytes(png())
    monkeypatch.chdir(tmp_path)
    rows = prepare(parquet(query=LIKE_MEDIA, page=LIKE_MEDIA), texts(query="anchor", page="positive"))
    column = rows.columns[0]
    inputs = (as_input(value, column.modality) for value in rows.values(column))
    vectors = torch.cat(list(encode_stream(tiny_model, inputs, batch_size=4)))
    assert len({tuple(vector.tolist()) for vector in vectors}) == len(LIKE_MEDIA)


@pytest.mark.parametrize("column", ["query", "page", "score"])
def test_an_empty_cell(column, parquet, prepare):
    values = {"query": ["a", "b", "c"], "page": ["d", "e", "f"], "score": [1.0, 2.0, 3.0]}
    values[column] = [values[column][0], None, None]
    with pytest.raises(DataError, match=rf"^datasets\.train, row 1, column {column}: nothing there"):
        prepare(parquet(**values), texts(query="anchor", page="positive", score="label"))


def test_a_cell_that_a_json_line_leaves_out(tmp_path, prepare):
    (tmp_path / "rows.jsonl").write_text('{"query": "a", "page": "b"}\n{"query": "c"}\n')
    with pytest.raises(DataError, match="row 1, column page: nothing there"):
        prepare(tmp_path / "rows.jsonl", texts(query="anchor", page="positive"))


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([1, 2], "int64"),
        ([0.5, 1.0], "float64"),
        ([[1], [2]], "lists"),
        ([{"a": 1}, {"a": 2}], "a structure of a"),
        ([b"a", b"b"], "binary"),
    ],
)
def test_other_values_declared_text(values, found, parquet, prepare):
    with pytest.raises(DataError, match=rf"^datasets\.train, row 0, column page: declared text, found {found}\."):
        prepare(parquet(query=["a", "b"], page=values), texts(query="anchor", page="positive"))


def test_images_declared_text_are_not_even_decoded(tmp_path, prepare):
    features = datasets.Features({"query": datasets.Value("string"), "page": datasets.Image()})
    rows = {"query": ["a"], "page": [{"bytes": b"broken", "path": None}]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match="row 0, column page: declared text, found Image"):
        prepare(tmp_path / "saved", texts(query="anchor", page="positive"))


@pytest.mark.parametrize("values", [[1, 0], [0.5, 1.0], [True, False]])
def test_labels_are_numbers(values, parquet, prepare):
    path = parquet(query=["a", "b"], page=["c", "d"], score=values)
    assert prepare(path, texts(query="anchor", page="positive", score="label")).rows[:]["score"] == values


@pytest.mark.parametrize("entry", [math.nan, math.inf, 1e39, None])
@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float64()), pa.large_list(pa.float64()), pa.list_(pa.list_(pa.float64()))]
)
@pytest.mark.parametrize("streaming", [False, True])
def test_labels_in_lists_that_no_loss_can_be_computed_with(entry, kind, streaming, tmp_path, prepare):
    scores = [[0.5, 1.0] for _ in range(50)]
    scores[41] = [0.5, entry]
    nested = pa.array([[entry] for entry in scores] if "list<item: list" in str(kind) else scores, kind)
    pq.write_table(pa.table({"query": ["a"] * 50, "page": ["b"] * 50, "score": nested}), tmp_path / "rows.parquet")
    columns = texts(query="anchor", page="positive", score="label")
    with pytest.raises(
        DataError, match=rf"{'a row of the stream' if streaming else 'row 41'}, column score: the label"
    ):
        rows = prepare(tmp_path / "rows.parquet", columns, streaming=streaming)
        list(map(rows.read, rows.rows))


def test_minus_one_is_no_class(tmp_path, prepare):
    features = {"query": datasets.Value("string"), "page": datasets.Value("string")}
    classes = datasets.Features({**features, "kind": datasets.ClassLabel(names=["a", "b"])})
    rows = datasets.Dataset.from_dict({"query": ["a", "b"], "page": ["c", "d"], "kind": [1, -1]}, features=classes)
    rows.save_to_disk(tmp_path / "saved")
    columns = texts(query="anchor", page="positive", kind="label")
    with pytest.raises(DataError, match="row 1, column kind: there is no label here: the value is -1"):
        prepare(tmp_path / "saved", columns)
    assert list(prepare(tmp_path / "saved", columns, max_rows=1, seed=2).rows["kind"]) == [1]


def test_true_and_false_in_lists_are_numbers(tmp_path, prepare):
    table = pa.table({"query": ["a"], "page": ["b"], "score": [[True, False]]})
    pq.write_table(table, tmp_path / "rows.parquet")
    rows = prepare(tmp_path / "rows.parquet", texts(query="anchor", page="positive", score="label"))
    label = rows.read(rows.rows[0])["score"]
    assert label.tolist() == [1, 0]
    assert label.dtype == numpy.int64


def test_the_first_label_that_is_no_number_is_named(tmp_path, prepare):
    (tmp_path / "rows.csv").write_text("query,page,score\na,b,0.5\nc,d,NA\n")
    with pytest.raises(
        DataError, match=r"row 1, column score: a label is a number, .*; found NA, in a column of string"
    ):
        prepare(tmp_path / "rows.csv", texts(query="anchor", page="positive", score="label"))


@pytest.mark.parametrize("values", [["1", "0"], [b"a", b"b"], [["1"], ["2"]]])
def test_labels_that_are_none(values, parquet, prepare):
    path = parquet(query=["a", "b"], page=["c", "d"], score=values)
    with pytest.raises(DataError, match=r"row 0, column score: a label is a number, or a list of numbers .*; found"):
        prepare(path, texts(query="anchor", page="positive", score="label"))
