import io

import pytest
from PIL import Image

from mmst_cli.config.schema import MediaConfig
from mmst_cli.errors import DataError
from mmst_cli.media.reading import Reader
from mmst_cli.searching.queries import find_queries, read_query


@pytest.fixture
def find(tmp_path, monkeypatch, quiet):
    """A function that finds queries in a folder of some files, and returns their names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pages").mkdir()
    for name in ("pages/0.png", "pages/1.png", "a page.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "lines.txt").write_text("one\n\ntwo\n")
    (tmp_path / "rows.csv").write_text("a\nb\n")
    (tmp_path / "README").write_text("words")
    return lambda *given: find_queries(given, Reader(MediaConfig(), tmp_path), quiet)


@pytest.mark.parametrize(
    ("given", "names", "kind"),
    [
        ("red header", ["red header"], "text"),
        ("README", ["README"], "text"),
        ("pages", ["pages"], "text"),
        ("what is in it?", ["what is in it?"], "text"),
        ("http://host/page", ["http://host/page"], "text"),
        ("word " * 2000, ["word " * 2000], "text"),
        ("and/or", ["and/or"], "text"),
        ("lines.txt", ["one", "two"], "text"),
        ("pages/", ["pages/0.png", "pages/1.png"], "image"),
        ("./pages/1.png", ["pages/1.png"], "image"),
        ("pages/*.png", ["pages/0.png", "pages/1.png"], "image"),
        ("a page.png", ["a page.png"], "image"),
    ],
)
def test_what_is_looked_for(find, given, names, kind):
    found = find(given)
    assert [query.name for query in found] == names
    assert {query.item.modalities for query in found} == {(kind,)}
    read = [read_query(query.item) for query in found]
    assert read == [{"text": name} for name in names] if kind == "text" else all(one.size == (8, 8) for one in read)


def test_lines_of_stdin_stand_in_their_order(find, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("ä page\n\nanother.png\n".encode())))
    assert [query.name for query in find("first", "-", "last")] == ["first", "ä page", "another.png", "last"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("gone.png", "QUERY: gone.png: no such file. If it is meant as a text, give it as a line of stdin"),
        ("./gone", "QUERY: ./gone: no such file"),
        ("~/gone", "QUERY: ~/gone: no such file"),
        ("https://host/page.png", "QUERY: https://host/page.png: no such file"),
        ("a folder/my scan.png", "QUERY: a folder/my scan.png: no such file"),
        ("gone.pdf#3", "QUERY: gone.pdf#3: no such file"),
        ("gone.jsonl.gz", "no such file"),
        ("nothing/*.png", "matches no file"),
        ("", "QUERY: an empty text"),
        (" ", "QUERY: an empty text"),
        ("rows.csv", "QUERY: rows.csv: a table. Embed its rows by `mmst encode`"),
        ("./README", "can't tell what this file is"),
    ],
)
def test_what_looks_like_a_path_that_is_not_there_is_refused(find, given, sentence):
    with pytest.raises(DataError) as error:
        find(given)
    assert sentence in str(error.value)


def test_what_could_be_taken_for_something_else_is_said(find, quiet):
    find("find my scan.png", "pages")
    assert 'there is no file "find my scan.png"; it is looked for as a text.' in quiet.shown.getvalue()
    assert '"pages" is looked for as a text; for what is in it, write ./pages.' in quiet.shown.getvalue()


def test_a_file_that_can_not_be_read_is_named(find, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    (query,) = find("broken.png")
    with pytest.raises(DataError, match=r"QUERY: broken\.png: "):
        read_query(query.item)


def test_pages_of_documents(find, tmp_path):
    pytest.importorskip("pypdfium2")
    Image.new("RGB", (80, 80)).save(tmp_path / "two.pdf", save_all=True, append_images=[Image.new("RGB", (80, 80))])
    assert [query.name for query in find("two.pdf")] == ["two.pdf#1", "two.pdf#2"]
    assert [query.name for query in find("two.pdf#2")] == ["two.pdf#2"]
    with pytest.raises(DataError, match="no page 3"):
        read_query(find("two.pdf#3")[0].item)
