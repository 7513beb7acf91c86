"""Text files and files of many types: what stands there is what is read, by every command."""

import gzip
import json
import uuid

import numpy
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmst_cli.config.schema import ColumnConfig, Role
from mmst_cli.errors import DataError
from mmst_cli.inputs.collection import open_sources
from mmst_cli.sources.tables import load_rows, load_stream

PAIR = {"query": ColumnConfig(role=Role.anchor), "doc": ColumnConfig(role=Role.positive)}
LABELLED = {**PAIR, "score": ColumnConfig(role=Role.label)}


@pytest.fixture
def load(section):
    return lambda path, columns=PAIR, **fields: load_rows("train", section(path, columns, **fields))


def encoded_texts(path, column):
    (source,) = open_sources([str(path)], [column])
    return [item.read()["text"] for item in source.items()]


def test_texts_that_look_like_something_else_stay_texts(tmp_path, load):
    texts = ["007", "1.50", "NA", "None", "null", "2021-03-01", "true", "1e3", " padded ", "12", "nan"]
    csv = tmp_path / "rows.csv"
    csv.write_text("query,doc\n" + "".join(f"{text},answer {text}\n" for text in texts))
    lines = tmp_path / "rows.jsonl"
    lines.write_text("".join(json.dumps({"query": text, "doc": f"answer {text}"}) + "\n" for text in texts))
    for path in (csv, lines):
        assert load(path)["query"] == texts
        assert list(load_stream("train", load_section(path)))  # a stream has them, too, in an order of its own
        assert encoded_texts(path, "query") == texts


def load_section(path):
    from mmst_cli.config.schema import DatasetConfig, Use

    return DatasetConfig(use=Use.train, path=str(path), columns=PAIR, streaming=True)


def test_a_late_row_retypes_nothing(tmp_path, load):
    rows = [(f"film {number}", f"about {number}") for number in range(10_000)] + [("007", "1.50")]
    (tmp_path / "films.csv").write_text("query,doc\n" + "".join(f"{a},{b}\n" for a, b in rows))
    loaded = load(tmp_path / "films.csv")
    assert loaded[-1] == {"query": "007", "doc": "1.50"}
    found = load(tmp_path / "films.csv", sql="select query, doc from rows where query = '007'")
    assert found.to_list() == [{"query": "007", "doc": "1.50"}]


def test_labels_and_what_a_query_compares_are_numbers(tmp_path, load):
    (tmp_path / "rows.csv").write_text("query,doc,score,price\na,b,0.50,1.50\nc,d,1,2.00\n")
    assert load(tmp_path / "rows.csv", LABELLED)["score"] == [0.5, 1.0]
    assert load(tmp_path / "rows.csv")["price"] == ["1.50", "2.00"]
    assert load(tmp_path / "rows.csv", sql="select query, doc from rows where price > 1.75")["query"] == ["c"]


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_a_mark_that_is_never_closed_is_named_with_its_line(tmp_path, load, ending):
    content = b'query,doc\n"a, b",b\n"a 3 inch nail,c\nd,e\nf,g\n'
    path = tmp_path / f"rows{ending}"
    path.write_bytes(gzip.compress(content) if ending.endswith(".gz") else content)
    with pytest.raises(DataError, match=r"line 3: a quotation mark opens a value and is not closed"):
        load(path)
    with pytest.raises(DataError, match=r"line 3: a quotation mark opens a value and is not closed"):
        encoded_texts(path, "query")


def test_marks_that_enclose_nothing_are_text(tmp_path, load):
    path = tmp_path / "rows.csv"
    path.write_text('query,doc\na,b\n"a 3 inch nail,c\nd,e\nf,a 5" pipe\n')
    assert load(path)["query"] == encoded_texts(path, "query") == ["a", '"a 3 inch nail', "d", "f"]
    assert load(path)["doc"] == encoded_texts(path, "doc") == ["b", "c", "e", 'a 5" pipe']


def test_marks_in_values_separated_by_tabs_are_text(tmp_path, load):
    path = tmp_path / "rows.tsv"
    path.write_text('query\tdoc\n"Lighthouse 1\tkeeper\nharbour\tpilot\n"Lighthouse 2\tkeeper\n')
    assert load(path)["query"] == encoded_texts(path, "query") == ['"Lighthouse 1', "harbour", '"Lighthouse 2']
    path.write_text('query\tdoc\n"two\nlines"\tkeeper\n')
    assert load(path)["query"] == encoded_texts(path, "query") == ["two\nlines"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_whatever_a_text_is_written_in(tmp_path, load, encoding):
    texts = ["a red header", "die größte Brücke", "find the page"]
    (tmp_path / "lines.txt").write_bytes("".join(f"{text}\n" for text in texts).encode(encoding))
    (source,) = open_sources([str(tmp_path / "lines.txt")])
    assert [item.read()["text"] for item in source.items()] == texts
    (tmp_path / "rows.csv").write_bytes(("query,doc\n" + "".join(f"{text},x\n" for text in texts)).encode(encoding))
    assert load(tmp_path / "rows.csv")["query"] == encoded_texts(tmp_path / "rows.csv", "query") == texts
    lines = "".join(json.dumps({"query": text, "doc": "x"}, ensure_ascii=False) + "\n" for text in texts)
    (tmp_path / "rows.jsonl").write_bytes(lines.encode(encoding))
    assert load(tmp_path / "rows.jsonl")["query"] == encoded_texts(tmp_path / "rows.jsonl", "query") == texts


@pytest.mark.parametrize("lost", [4, 9, 40])
@pytest.mark.parametrize("name", ["rows.csv.gz", "rows.jsonl.gz"])
def test_a_file_that_was_cut_off_is_named(tmp_path, load, name, lost):
    rng = numpy.random.default_rng(0)
    rows = [{"query": rng.bytes(8).hex(), "doc": rng.bytes(8).hex()} for _ in range(50)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    values = "query,doc\n" + "".join(f"{row['query']},{row['doc']}\n" for row in rows)
    (tmp_path / name).write_bytes(gzip.compress((values if "csv" in name else lines).encode())[:-lost])
    with pytest.raises(DataError, match=rf"{name}.*can't be read: .*ended before"):
        load(tmp_path / name)


ODD = {
    "uuid": pa.ExtensionArray.from_storage(
        pa.uuid(), pa.array([uuid.UUID(int=n).bytes for n in range(3)], pa.binary(16))
    ),
    "map": pa.array([[("a", "b")]] * 3, pa.map_(pa.string(), pa.string())),
    "decimal": pa.array([1, 2, 3], pa.decimal128(5, 2)),
}


@pytest.mark.parametrize("kind", ODD)
def test_a_column_that_is_not_declared_makes_no_table_unreadable(tmp_path, load, kind):
    texts = {"query": ["a", "b", "c"], "doc": ["d", "e", "f"]}
    pq.write_table(pa.table({**texts, "other": ODD[kind]}), tmp_path / "rows.parquet")
    assert load(tmp_path / "rows.parquet").select_columns(["query", "doc"]).to_dict() == texts
    assert encoded_texts(tmp_path / "rows.parquet", "doc") == texts["doc"]


@pytest.mark.parametrize(
    ("first", "second"),
    [({"note": None}, {"note": "x"}), ({}, {"note": "x"}), ({"n": 1}, {"n": 0.5}), ({"n": 1}, {"n": "x"})],
)
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_files_whose_other_columns_differ(tmp_path, load, first, second, kind):
    for name, other in (("a", first), ("b", second)):
        row = {"query": f"query {name}", "doc": f"doc {name}", **other}
        if kind == "jsonl":
            (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
        else:
            pq.write_table(pa.Table.from_pylist([row]), tmp_path / f"{name}.parquet")
    assert load(tmp_path / f"*.{kind}")["doc"] == ["doc a", "doc b"]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_any_type_of_strings_is_text(tmp_path, load, kind):
    pq.write_table(pa.table({"query": pa.array(["a", "b"]).cast(kind), "doc": ["c", "d"]}), tmp_path / "rows.parquet")
    assert load(tmp_path / "rows.parquet")["query"] == encoded_texts(tmp_path / "rows.parquet", "query") == ["a", "b"]


def test_a_row_that_is_longer_than_the_header_is_named(tmp_path, load):
    (tmp_path / "rows.csv").write_text("query,doc\na,b\nc,d,e\n")
    with pytest.raises(DataError, match="line 3 has 3 values, and the header 2"):
        load(tmp_path / "rows.csv")
