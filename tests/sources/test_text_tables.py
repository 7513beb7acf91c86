"""Text files and files of many types: what stands there is what is read, by every command."""

import gzip
import json
import uuid

import datasets
import numpy
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

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


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
)
def test_whatever_a_text_is_written_in(tmp_path, load, encoding):
    texts = ["a red header", "die größte Brücke", "find\u3000the\u2028page"]
    (tmp_path / "lines.txt").write_bytes("".join(f"{text}\n" for text in texts).encode(encoding))
    (source,) = open_sources([str(tmp_path / "lines.txt")])
    assert [item.read()["text"] for item in source.items()] == texts
    (tmp_path / "rows.csv").write_bytes(("query,doc\n" + "".join(f"{text},x\n" for text in texts)).encode(encoding))
    assert load(tmp_path / "rows.csv")["query"] == encoded_texts(tmp_path / "rows.csv", "query") == texts
    lines = "".join(json.dumps({"query": text, "doc": "x"}, ensure_ascii=False) + "\n" for text in texts)
    (tmp_path / "rows.jsonl").write_bytes(lines.encode(encoding))
    assert load(tmp_path / "rows.jsonl")["query"] == encoded_texts(tmp_path / "rows.jsonl", "query") == texts


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "text", ["Где красный дом?", "ГДЕ ДОМ?", "أين البيت الأحمر", "ΠΟΥ είναι το σπίτι", "היכן הבית", "บ้านสีแดง", "où est"]
)
def test_utf_16_without_a_mark_in_other_scripts(tmp_path, encoding, text):
    (tmp_path / "lines.txt").write_bytes(f"{text}\n{text}\n".encode(encoding))
    (source,) = open_sources([str(tmp_path / "lines.txt")])
    assert [item.read()["text"] for item in source.items()] == [text, text]


def test_zero_bytes_alone_do_not_make_utf_16(tmp_path):
    (tmp_path / "lines.txt").write_bytes(b"one\0x\ntwo\n")
    (source,) = open_sources([str(tmp_path / "lines.txt")])
    assert [item.read()["text"] for item in source.items()] == ["one\0x", "two"]
    (tmp_path / "lines.txt").write_bytes(gzip.compress(b"one\ntwo\n"))  # made letters of some script, and a vector
    (source,) = open_sources([str(tmp_path / "lines.txt")])
    with pytest.raises(ValueError, match="codec can't decode"):
        [item.read() for item in source.items()]


@pytest.mark.parametrize("end", ["\r", "\r\n"])
def test_whatever_ends_a_line(tmp_path, load, end):
    texts = ["a red header", "a blue one", "find the page"]
    (tmp_path / "lines.txt").write_bytes(end.join(texts).encode())
    (source,) = open_sources([str(tmp_path / "lines.txt")])
    assert [item.read()["text"] for item in source.items()] == texts
    (tmp_path / "rows.csv").write_bytes(end.join(["", "query,doc", *(f"{text},x" for text in texts)]).encode())
    (tmp_path / "rows.jsonl").write_bytes(end.join(json.dumps({"query": text, "doc": "x"}) for text in texts).encode())
    for name in ("rows.csv", "rows.jsonl"):
        assert load(tmp_path / name)["query"] == encoded_texts(tmp_path / name, "query") == texts


@pytest.mark.parametrize("lost", [4, 9, 40])
@pytest.mark.parametrize("name", ["rows.csv.gz", "rows.jsonl.gz", "rows.csv.zst", "rows.jsonl.zst"])
def test_a_file_that_was_cut_off_is_named(tmp_path, load, name, lost):
    rng = numpy.random.default_rng(0)
    rows = [{"query": rng.bytes(8).hex(), "doc": rng.bytes(8).hex()} for _ in range(50)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    values = "query,doc\n" + "".join(f"{row['query']},{row['doc']}\n" for row in rows)
    content = (values if "csv" in name else lines).encode()
    # Of zstd the first frame is whole, and the rows in it must not pass for all of them.
    packed = gzip.compress(content) if name.endswith("gz") else 2 * pa.compress(content, "zstd", asbytes=True)
    (tmp_path / name).write_bytes(packed[:-lost])
    with pytest.raises(DataError, match=rf"{name}.*can't be read: .*(ended before|[Tt]runcated)"):
        load(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ('[["a", "b"]]', "entry 0 of the list is no JSON object"),
        ('{"query": "a", "doc": "b"}\n["c", "d"]\n', "line 2 is no JSON object"),
        (
            '{"query": "a", "doc": "b"}\n{"query": "cut',
            r"line 2 is no JSON: Unterminated string starting at character 11\. Mend or remove it\.$",
        ),
        ('{"query": "a \\ud83d", "doc": "b"}', r"line 1: text is made of characters, and \\ud83d is half a one"),
        (
            '[{"query": "a", "doc": "\xe9"}]'.encode("latin-1"),
            "the list is no JSON: 'utf-8' codec can't decode byte 0xe9",
        ),
        ("query,doc\nété,a\n".encode("latin-1"), "row 0, column query: .* the byte 0xe9 is not UTF-8"),
    ],
)
def test_what_is_no_text_is_named_with_its_place(tmp_path, load, content, fault):
    path = tmp_path / ("rows.csv" if content[:5] in (b"query", "query") else "rows.json")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=f"{path.name} can't be read: {fault}"):
        load(path)


def test_texts_of_a_parquet_file_that_are_not_utf8(tmp_path, load):
    texts = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xe9")]
    )
    pq.write_table(pa.table({"query": texts, "doc": ["b", "c"]}), tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=r"column query is damaged: .*UTF8 sequence at string index 1"):
        load(tmp_path / "rows.parquet")


def test_a_list_of_rows_may_be_compressed(tmp_path, load):
    rows = [{"query": "a", "doc": "b"}, {"query": "c", "doc": "d"}]
    (tmp_path / "rows.json.zst").write_bytes(pa.compress(json.dumps(rows).encode(), "zstd", asbytes=True))
    assert load(tmp_path / "rows.json.zst").to_list() == rows


LATE = [{"query": "a", "doc": "b", "score": 1, "other": 1}] * 1000


def test_a_number_among_texts_is_a_broken_row(tmp_path, prepare):
    rows = [{"query": f"page {number}", "doc": "b"} for number in range(50)]
    rows[41]["query"] = 7
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for query in (None, "select query, doc from rows"):
        with pytest.raises(DataError, match=r"row 41, column query: text is a string, found 7 \(int\). Write one"):
            prepare(tmp_path / "rows.jsonl", PAIR, sql=query)
    kept = prepare(tmp_path / "rows.jsonl", PAIR, on_bad_row="skip", sql="select query, doc from rows where doc = 'b'")
    assert kept.value_at(kept.columns[0], 40) == "page 40"  # in no quotation marks


@pytest.mark.parametrize("late", [{"score": 0.5}, {"query": 7}, {"doc": ["b"]}])
def test_a_stream_that_goes_on_otherwise_says_so(tmp_path, late):
    rows = [*LATE, {**LATE[0], **late}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    section = load_section(tmp_path / "rows.jsonl").model_copy(update={"columns": LABELLED})
    (column,) = late
    said = rf"rows.jsonl can't be read: row 1000, column {column}: found .*, and the rows before hold"
    with pytest.raises(DataError, match=said):
        list(load_stream("train", section))


@pytest.mark.parametrize("other", ["x", 0.5, None, {"a": 1}])
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_stream_whose_other_columns_change_goes_on(tmp_path, other, kind):
    for name, rows in (("a", LATE), ("b", [{**LATE[0], "query": "z", "other": other}])):
        if kind == "jsonl":
            (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")
    rows = list(load_stream("train", load_section(tmp_path / f"*.{kind}")))
    assert len(rows) == 1001
    assert "z" in {row["query"] for row in rows}


HARD = ["007", "1.50", "NA", "None", "2021-03-01", "true", "1984"]


@pytest.mark.parametrize("readme", [None, "sep: ';'", "sep: ';'\n  quoting: 3"])
def test_a_folder_of_texts_is_read_as_its_files_are(tmp_path, load, readme):
    separator = "," if readme is None else ";"
    texts = HARD if "quoting" not in (readme or "") else ["007", "1.50", "2021-03-01"]  # there NA is nothing, by pandas
    lines = [f"query{separator}doc", *(f"{text}{separator}{text}" for text in texts)]
    (tmp_path / "train.csv").write_text("\n".join(lines))
    if readme is not None:
        head = f"---\nconfigs:\n- config_name: default\n  data_files: train.csv\n  {readme}\n---\n"
        (tmp_path / "README.md").write_text(head)
    assert load(tmp_path)["query"] == texts
    assert {row["query"] for row in load_stream("train", load_section(tmp_path))} == set(texts)


def test_what_a_dataset_says_of_its_columns_holds(tmp_path, load):
    classes = "dtype:\n      class_label:\n        names:\n          '0': bad\n          '1': good"
    (tmp_path / "README.md").write_text(f"---\ndataset_info:\n  features:\n  - name: score\n    {classes}\n---\n")
    (tmp_path / "train.csv").write_text("query,doc,score\n007,b,good\nNA,d,bad\n")
    rows = load(tmp_path, LABELLED)
    assert rows.to_dict() == {"query": ["007", "NA"], "doc": ["b", "d"], "score": [1, 0]}


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_texts_beside_media(tmp_path, section, kind):
    for folder in ("b", "a"):
        (tmp_path / folder).mkdir()
        lines = [{"file_name": f"{n}.png", "query": f"{text}", "number": n or folder} for n, text in enumerate(HARD)]
        header = "file_name,query,number\n"
        values = header + "".join(",".join(map(str, line.values())) + "\n" for line in lines)
        text = values if kind == "csv" else "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / folder / f"metadata.{kind}").write_text(text)
        for number in range(len(HARD)):
            Image.new("RGB", (4, 4)).save(tmp_path / folder / f"{number}.png")
    rows = load_rows("train", section(tmp_path))
    assert rows["query"] == HARD * 2
    assert [row["path"].split("/")[-2] for row in rows.cast_column("image", datasets.Image(decode=False))["image"]] == [
        *["a"] * 7,
        *["b"] * 7,
    ]


ODD = {
    "uuid": pa.ExtensionArray.from_storage(
        pa.uuid(), pa.array([uuid.UUID(int=n).bytes for n in range(3)], pa.binary(16))
    ),
    "map": pa.array([[("a", "b")]] * 3, pa.map_(pa.string(), pa.string())),
    "decimal": pa.array([1, 2, 3], pa.decimal128(5, 2)),
    "large decimal": pa.array([10**37] * 3, pa.decimal128(38, 0)),
    "list of views": pa.array([["a"], [], ["b", "c"]], pa.list_(pa.string_view())),
    "view of a list": pa.array([[1], [], [2, 3]], pa.list_view(pa.int8())),
    "views in a structure": pa.array([{"a": "x"}] * 3, pa.struct([("a", pa.string_view())])),
    "map in a structure": pa.array([{"a": [("x", "y")]}] * 3, pa.struct([("a", pa.map_(pa.string(), pa.string()))])),
    "half": pa.array([0.5, 1, 2], pa.float16()),
}


def write_kinds(folder, table):
    """Write a table as files that are named, as files of a folder, and as what Arrow calls a stream."""
    pq.write_table(table, folder / "rows.parquet")
    (folder / "parts").mkdir()
    pq.write_table(table, folder / "parts" / "train.parquet")
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return [folder / name for name in ("rows.parquet", "parts", "rows.arrow")]


@pytest.mark.parametrize("kind", ODD)
def test_a_column_that_is_not_declared_makes_no_table_unreadable(tmp_path, load, kind):
    texts = {"query": ["a", "b", "c"], "doc": ["d", "e", "f"]}
    for path in write_kinds(tmp_path, pa.table({**texts, "other": ODD[kind]})):
        assert load(path).select_columns(["query", "doc"]).to_dict() == texts
        assert load(path, sql="select query, doc from rows").to_dict() == texts
        assert len(list(load_stream("train", load_section(path)))) == 3
        assert encoded_texts(path, "doc") == texts["doc"]


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
    for path in write_kinds(tmp_path, pa.table({"query": pa.array(["a", "b"]).cast(kind), "doc": ["c", "d"]})):
        assert load(path)["query"] == encoded_texts(path, "query") == ["a", "b"]


def test_a_text_in_a_column_of_json_is_what_the_quotation_marks_hold(tmp_path, load):
    column = pa.ExtensionArray.from_storage(pa.json_(), pa.array(['"a"', '"007"']))
    pq.write_table(pa.table({"query": column, "doc": ["c", "d"]}), tmp_path / "rows.parquet")
    path = tmp_path / "rows.parquet"
    assert list(load(path)["query"]) == encoded_texts(path, "query") == ["a", "007"]


def test_a_row_that_is_longer_than_the_header_is_named(tmp_path, load):
    (tmp_path / "rows.csv").write_text("query,doc\na,b\nc,d,e\n")
    with pytest.raises(DataError, match="line 3 has 3 values, and the header 2"):
        load(tmp_path / "rows.csv")
