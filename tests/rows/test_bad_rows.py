"""Rows that can't be read: found, told once, counted, left out."""

import io
import json
import os

import datasets
import pytest
from PIL import Image

from mmst_cli.config.schema import ColumnConfig, DatasetConfig, Modality, OnBadRow, Role, Use
from mmst_cli.errors import DataError
from mmst_cli.retrieval.retrieval_set import RowRetrieval
from mmst_cli.rows.bad_rows import MAX_BAD_ROWS, BadRow, BadRows
from mmst_cli.rows.row_keys import row_keys
from mmst_cli.rows.row_preparation import prepare_rows
from mmst_cli.rows.skipping import try_read

ANCHOR = ColumnConfig(role=Role.anchor)
PAGES = {"query": ANCHOR, "image": ColumnConfig(role=Role.positive, modality=Modality.image)}
TEXTS = {"query": ANCHOR, "page": ColumnConfig(role=Role.positive)}


@pytest.fixture
def look(quiet):
    """A function that prepares a set whose broken rows are left out, and returns it with them."""

    def prepare(path, columns=PAGES, drop=False, **fields):
        section = DatasetConfig(use=Use.train, path=str(path), columns=columns, on_bad_row=OnBadRow.skip, **fields)
        bad = BadRows.of({"train": section}, quiet)
        return prepare_rows("train", section, 0, bad_rows=bad, drop=drop), bad

    return prepare


def found(bad):
    return [(row.row, row.column, row.error) for row in bad.of_dataset("train")]


def noise(kind):
    file = io.BytesIO()
    Image.frombytes("RGB", (40, 40), os.urandom(4800)).save(file, kind)
    return file.getvalue()


# Each kind of broken row


@pytest.fixture
def of_each_kind(parquet, png, tmp_path):
    """Sixty rows of files, of which each fifth from row 3 on is broken in another way."""
    cells = []
    for number in range(60):
        (tmp_path / f"{number}.png").write_bytes(png())
        cells.append(f"{number}.png")
    cells[3] = "gone.png"
    (tmp_path / "8.png").write_bytes(noise("PNG")[:-900])
    (tmp_path / "13.png").write_bytes(noise("JPEG")[:-700])
    cells[18] = None
    cells[23] = "a page about apples"
    (tmp_path / "28.png").write_bytes(b"")
    cells[33] = "https://example.invalid/a.png"
    (tmp_path / "38.png").write_text("<html>404</html>")
    queries = [f"query {number}" for number in range(60)]
    queries[43] = None
    return parquet(query=queries, image=cells)


BROKEN = [3, 8, 13, 18, 23, 28, 33, 38, 43]


def test_each_kind_is_found_told_and_stays_where_it_is(of_each_kind, look, quiet):
    rows, bad = look(of_each_kind)
    assert sorted(row for row, _, _ in found(bad)) == BROKEN
    assert len(rows) == 60
    errors = {row: error for row, _, error in found(bad)}
    assert "no such file" in errors[3] and "gone.png" in errors[3]
    assert "truncated" in errors[8] or "broken" in errors[8]
    assert "empty" in errors[18]
    assert "no such file" in errors[23] and "a page about apples" in errors[23]
    assert "0 bytes" in errors[28]
    assert "allow_urls" in errors[33]
    assert {row: column for row, column, _ in found(bad)}[43] == "query"
    said = quiet.console.file.getvalue()
    assert said.count("left out: ") == len(BROKEN)
    assert "warning: left out: datasets.train, row 3, column image: no such file" in said
    whole = [try_read(rows, row) for row in rows.rows]
    assert [row for row, read in enumerate(whole) if isinstance(read, BadRow)] == BROKEN


def test_they_are_gone_where_all_are_read(of_each_kind, look, quiet):
    rows, bad = look(of_each_kind, drop=True)
    assert sorted(row for row, _, _ in found(bad)) == BROKEN
    assert len(rows) == 60 - len(BROKEN)
    assert "data: train: of 60 rows 51 can be read" in quiet.console.file.getvalue()
    retrieval = RowRetrieval(rows)
    assert len(list(retrieval.corpus())) == len(list(retrieval.queries())) == len(retrieval.corpus_ids) == 51
    assert [row["__row__"] for row in rows.rows] == [row for row in range(60) if row not in BROKEN]


def test_messages_about_the_rows_that_are_left_have_the_number_in_the_source(of_each_kind, look, tmp_path):
    rows, _ = look(of_each_kind, drop=True)
    (tmp_path / "9.png").unlink()
    with pytest.raises(DataError, match=r"^datasets\.train, row 9, column image: no such file"):
        list(rows.values(rows.columns[1]))


def test_embedded_images(parquet, look, png):
    whole = png()
    cells = [{"bytes": whole, "path": None}] * 70
    cells[40] = {"bytes": noise("PNG")[:-900], "path": None}
    cells[50] = {"bytes": b"", "path": None}
    cells[60] = {"bytes": None, "path": None}
    _, bad = look(parquet(query=["a"] * 70, image=cells))
    assert [(row, column) for row, column, _ in found(bad)] == [(40, "image"), (50, "image"), (60, "image")]


def test_a_label_that_is_missing(tmp_path, look):
    columns = TEXTS | {"score": ColumnConfig(role=Role.label)}
    path = tmp_path / "rows.parquet"
    datasets.Dataset.from_dict({"query": ["a"] * 3, "page": ["b"] * 3, "score": [0.5, None, 1.0]}).to_parquet(path)
    rows, bad = look(path, columns)
    assert found(bad) == [(1, "score", "there is no label here: the value is empty.")]
    assert isinstance(try_read(rows, rows.rows[1]), BadRow)
    assert list(look(path, columns, drop=True)[0].rows["score"]) == [0.5, 1.0]


def test_parts_of_which_none_is_there(parquet, look):
    columns = {"query": ANCHOR, "page": ColumnConfig(role=Role.positive, parts={"text": "ocr", "image": "scan"})}
    path = parquet(query=["a", "b", "c"], ocr=["x", None, None], scan=[None, None, "gone.png"])
    _, bad = look(path, columns)
    assert [(row, column) for row, column, _ in found(bad)] == [(1, "page"), (2, "page")]


def test_what_is_no_fault_of_a_row_is_an_error_still(parquet, look):
    with pytest.raises(DataError, match="declared text, found int64"):
        look(parquet(query=["a"], page=[1]), TEXTS)


# Lists and pages


def test_lists_of_positives(parquet, look):
    columns = {"query": ANCHOR, "page": ColumnConfig(role=Role.positive)}
    path = parquet(query=["a", "b", None, "d", "e"], page=[["p", None], ["q"], ["r", "s"], None, []])
    rows, bad = look(path, columns)
    entries = [(row.row, row.entry, row.column) for row in bad.of_dataset("train")]
    assert entries == [(2, None, "query"), (0, 1, "page"), (3, 0, "page"), (4, 0, "page")]
    assert len(rows) == 7
    left, _ = look(path, columns, drop=True)
    assert [left.read(row)["page"]["text"] for row in left.rows] == ["p", "q"]
    retrieval = RowRetrieval(left)
    assert retrieval.query_ids == ["q0", "q1"]
    assert retrieval.relevant == {"q0": {"page:0.0": 1}, "q1": {"page:1.0": 1}}


def test_lists_of_negatives(parquet, look):
    columns = TEXTS | {"hard": ColumnConfig(role=Role.negative)}
    path = parquet(query=["a"] * 4, page=["b"] * 4, hard=[["p", "q"], None, ["r", None], []])
    rows, bad = look(path, columns)
    assert [column.name for column in rows.columns] == ["query", "page", "hard_0", "hard_1"]
    assert [(row, column) for row, column, _ in found(bad)] == [(1, "hard_0"), (3, "hard_0"), (2, "hard_1")]
    assert len(look(path, columns, drop=True)[0]) == 1
    with pytest.raises(DataError, match="row 1, column hard: a list of 1 negatives, and others have 2"):
        look(parquet(query=["a"] * 2, page=["b"] * 2, hard=[["p", "q"], ["r"]]), columns)


def test_lists_of_negatives_that_are_too_short(parquet, look):
    columns = TEXTS | {"hard": ColumnConfig(role=Role.negative, take=2)}
    path = parquet(query=["a"] * 5, page=["b"] * 5, hard=[["p", "q", "r"], ["s"], None, ["t", "u"], []])
    rows, bad = look(path, columns)
    assert [column.name for column in rows.columns] == ["query", "page", "hard_0", "hard_1"]
    assert sorted(row for row, _, _ in found(bad)) == [1, 2, 4]
    left, _ = look(path, columns, drop=True)
    assert [[left.read(row)[name]["text"] for name in ("hard_0", "hard_1")] for row in left.rows] == [
        ["p", "q"],
        ["t", "u"],
    ]
    with pytest.raises(DataError, match="a list of 1 negatives, and take is 2"):
        look(parquet(query=["a"] * 2, page=["b"] * 2, hard=[["p"], ["r"]]), columns)


def test_documents(parquet, look, tmp_path):
    import pypdfium2

    document = pypdfium2.PdfDocument.new()
    for _ in range(2):
        document.new_page(30, 30)
    document.save(tmp_path / "a.pdf")
    (tmp_path / "b.pdf").write_bytes(b"%PDF-1.4 and no more")
    path = parquet(query=list("abcd"), image=["a.pdf", "b.pdf", "gone.pdf", "a.pdf#3"])
    columns = {"query": ANCHOR, "image": ColumnConfig(role=Role.positive, modality=Modality.image, pages="all")}
    rows, bad = look(path, columns)
    assert [(row, column) for row, column, _ in found(bad)] == [(1, "image"), (2, "image"), (3, "image")]
    assert "no page 3; the document has 2 pages" in found(bad)[2][2]
    assert len(rows) == 5
    assert RowRetrieval(look(path, columns, drop=True)[0]).corpus_ids == ["a.pdf#1", "a.pdf#2"]
    columns["image"].pages = [1, 3]
    left, bad = look(path, columns, drop=True)
    assert [(row.row, row.entry) for row in bad.of_dataset("train")][:2] == [(0, 3), (1, 1)]
    assert len(left) == 1


# Streams


def test_the_first_rows_of_a_stream(tmp_path, look, png):
    (tmp_path / "a.png").write_bytes(png())
    lines = [{"query": str(n), "image": "a.png" if n % 5 else "gone.png"} for n in range(10)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    rows, bad = look(tmp_path / "rows.jsonl", streaming=True)
    assert len(found(bad)) == 2
    assert str(bad.of_dataset("train")[0]).startswith("datasets.train, a row of the stream, column image: no such file")
    for row in rows.rows:  # again, as in a second epoch
        if isinstance(broken := try_read(rows, row), BadRow):
            bad.add(broken)
    assert len(found(bad)) == 2


# What is counted and listed


def test_one_more_than_may_be_left_out(of_each_kind, look):
    look(of_each_kind, max_bad_rows=len(BROKEN))
    for drop in (False, True):
        with pytest.raises(DataError) as caught:
            look(of_each_kind, max_bad_rows=len(BROKEN) - 1, drop=drop)
        message = str(caught.value)
        assert message.startswith("datasets.train.max_bad_rows: found 9 broken rows, and 8 may be left out. The last: ")
        assert message.endswith("Mend or remove them, or raise max_bad_rows.") and "\n" not in message
    with pytest.raises(DataError, match="found 1 broken row, and 0 may be left out"):
        look(of_each_kind, max_bad_rows=0)


def test_a_hundred_may_be_left_out_if_nothing_is_said(parquet, look):
    assert MAX_BAD_ROWS == 100
    look(parquet(query=["a"] * 300, page=[None] * 100 + ["b"] * 200), TEXTS)
    with pytest.raises(DataError, match="found 101 broken rows, and 100 may be left out"):
        look(parquet(query=["a"] * 300, page=[None] * 200 + ["b"] * 100), TEXTS)


def test_no_row_is_left(parquet, look):
    with pytest.raises(DataError, match="none of its rows can be read"):
        look(parquet(query=["a"] * 3, image=["x", "y", "z"]), drop=True)


def test_the_list_is_written_read_back_and_added_to_once(tmp_path, quiet):
    path = tmp_path / "skipped_rows.jsonl"
    first, second = BadRow("train", 3, "image", "no such file: x"), BadRow("train", 5, "page", "a", entry=2)
    bad = BadRows({"train": 2}, quiet)
    bad.list_in(path)
    assert not path.exists()
    bad.add(first)
    bad.add(first)
    bad.add(second)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0] == {"dataset": "train", "row": 3, "column": "image", "error": "no such file: x"}
    assert lines[1]["entry"] == 2 and len(lines) == 2
    path.write_text(path.read_text() + '{"dataset": "tra')  # as if it was killed now
    resumed = BadRows({"train": 2}, quiet)
    resumed.read_back(path)
    assert resumed.of_dataset("train") == [first, second]
    said = quiet.console.file.getvalue()
    resumed.list_in(path)
    resumed.add(first)
    assert quiet.console.file.getvalue() == said
    assert len(path.read_text().splitlines()) == 2
    with pytest.raises(DataError, match=rf"found 3 broken rows.* All are listed in {path}\. "):
        resumed.add(BadRow("train", 9, "image", "x"))
    assert len(path.read_text().splitlines()) == 3
    with pytest.raises(DataError, match="found 3 broken rows, and 2 may be left out"):
        BadRows({"train": 2}).read_back(path)
    others = BadRows({"other": 0})
    others.read_back(path)
    assert others.summary() == []
    assert resumed.summary() == [f"data: train: 3 broken rows left out. All are listed in {path}."]


def test_broken_rows_that_are_alike_get_keys_of_their_own(parquet, look):
    path = parquet(query=list("abcdef"), page=[["p"], ["q", None], None, [None], ["r"], ["p"]])
    rows, bad = look(path, {"query": ANCHOR, "page": ColumnConfig(role=Role.positive)})
    keys = list(row_keys(rows, bad.of_dataset("train"))["page"])
    assert keys[0] == keys[6] == "p"
    assert len(set(keys)) == 6
    rows, bad = look(parquet(query=["a", None, "c", None], page=["p", "q", "r", "s"]), TEXTS)
    keys = list(row_keys(rows, bad.of_dataset("train"))["query"])
    assert keys[0] == "a" and len(set(keys)) == 4
    assert len(set(row_keys(rows)["query"])) == 3
