"""Pages of PDF files."""

from __future__ import annotations

import base64
import multiprocessing
import resource
import threading
from pathlib import Path

import numpy
import pytest

from mmst_cli.errors import DataError
from mmst_cli.media.image import read_image
from mmst_cli.media.pdf import page_numbers, render_page, split_page

pytest.importorskip("pypdfium2")

# A blank page, encrypted with a user password.
LOCKED = (
    "JVBERi0xLjQKJb/3ov4KMSAwIG9iago8PCAvUGFnZXMgMiAwIFIgL1R5cGUgL0NhdGFsb2cgPj4KZW5kb2JqCjIgMCBvYmoKPDwgL0NvdW50"
    "IDEgL0tpZHMgWyAzIDAgUiBdIC9UeXBlIC9QYWdlcyA+PgplbmRvYmoKMyAwIG9iago8PCAvQ29udGVudHMgNCAwIFIgL01lZGlhQm94IFsg"
    "MCAwIDcyIDcyIF0gL1BhcmVudCAyIDAgUiAvUmVzb3VyY2VzIDw8ID4+IC9UeXBlIC9QYWdlID4+CmVuZG9iago0IDAgb2JqCjw8IC9MZW5n"
    "dGggMCAvRmlsdGVyIC9GbGF0ZURlY29kZSA+PgpzdHJlYW0KCmVuZHN0cmVhbQplbmRvYmoKNSAwIG9iago8PCAvRmlsdGVyIC9TdGFuZGFy"
    "ZCAvTGVuZ3RoIDEyOCAvTyA8MmEyZjBhMTk5MDE5MmM2MDExNDczMGJkY2QzOWYzNzgyOGE1M2M4OWEzNDBkZDQ3M2M4NTI5OWRjNTI1OGUx"
    "Yz4gL1AgLTEwMjggL1IgMyAvVSA8ZjRiZGNmMmJhNzAxZGE5OGI0ZmI4ZGQ5MTI0ZmZhNWQwMDIxNDQ2OTkwYjllNDExNDA3MWE0ZDkxMDQ5"
    "ODRjMT4gL1YgMiA+PgplbmRvYmoKeHJlZgowIDYKMDAwMDAwMDAwMCA2NTUzNSBmIAowMDAwMDAwMDE1IDAwMDAwIG4gCjAwMDAwMDAwNjQg"
    "MDAwMDAgbiAKMDAwMDAwMDEyMyAwMDAwMCBuIAowMDAwMDAwMjI3IDAwMDAwIG4gCjAwMDAwMDAyOTcgMDAwMDAgbiAKdHJhaWxlciA8PCAv"
    "Um9vdCAxIDAgUiAvU2l6ZSA2IC9JRCBbPDYwNGViOTUyNjAxYjgzNWFjZmQ3ODgwMmNlZTY2YTg3Pjw2MDRlYjk1MjYwMWI4MzVhY2ZkNzg4"
    "MDJjZWU2NmE4Nz5dIC9FbmNyeXB0IDUgMCBSID4+CnN0YXJ0eHJlZgo1MDcKJSVFT0YK"
)


def test_a_page_is_named_by_its_number():
    assert split_page("docs/manual.pdf#12") == (Path("docs/manual.pdf"), 12)
    assert split_page("MANUAL.PDF#1") == (Path("MANUAL.PDF"), 1)
    assert split_page("manual.pdf") == (Path("manual.pdf"), None)
    assert split_page("image#3.png") == (Path("image#3.png"), None)


def test_pages_are_all_the_first_or_those_listed(write_pdf):
    path = write_pdf(pages=3)
    assert page_numbers(path) == page_numbers(path, "all") == [1, 2, 3]
    assert page_numbers(path, "first") == [1]
    assert page_numbers(path, [3, 1]) == [3, 1]


@pytest.mark.parametrize(
    ("pages", "sentence"),
    [
        ([1, 4], "no page 4; the document has 3 pages, numbered from 1"),
        ([0], "no page 0"),
        ("last", "all, first or a list of page numbers from 1, found 'last'"),
        (2, "found 2"),
        ([True], r"found \[True\]"),
    ],
)
def test_pages_that_are_not_there_are_told(write_pdf, pages, sentence):
    with pytest.raises(DataError, match=sentence):
        page_numbers(write_pdf(pages=3), pages)


def test_a_page_is_drawn_at_the_dpi(write_pdf):
    path = write_pdf(pages=3)
    assert render_page(path, 3, 100).size == (300, 100)
    assert read_image(f"{path}#2", dpi=50).size == (100, 50)
    assert read_image(f"{path}#2").mode == "RGB"
    assert numpy.asarray(read_image(f"{path}#2")).min() == 255


def test_a_whole_document_is_an_image_where_it_has_one_page(write_pdf):
    assert read_image(write_pdf("one.pdf", pages=1), dpi=72).size == (72, 72)
    with pytest.raises(DataError, match=r"a document of 3 pages.*name a page, as in three.pdf#1"):
        read_image(write_pdf("three.pdf", pages=3))


def test_broken_protected_and_missing_files_are_told(tmp_path, write_pdf):
    (tmp_path / "locked.pdf").write_bytes(base64.b64decode(LOCKED))
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing more")
    with pytest.raises(DataError, match=r"locked.pdf: protected by a password; save a copy without one"):
        page_numbers(tmp_path / "locked.pdf")
    with pytest.raises(DataError, match=r"empty.pdf: no PDF that can be read\.$"):  # PDFium repeats the reason above
        page_numbers(write_pdf("empty.pdf", pages=0))
    with pytest.raises(DataError, match=r"broken.pdf: no PDF that can be read"):
        render_page(tmp_path / "broken.pdf", 1)
    with pytest.raises(DataError, match="no such file"):
        page_numbers(tmp_path / "none.pdf")
    assert render_page(write_pdf(), 1, 72).size == (72, 72)  # and the next file is read


def test_a_page_that_would_be_too_large_is_told(write_pdf):
    with pytest.raises(DataError, match=r"huge.pdf#1: at 150 dpi a page of 29167x29167 pixels"):
        render_page(write_pdf("huge.pdf", pages=1, width=14000, height=14000), 1)


@pytest.mark.parametrize("name", ["a.docx", "a.PPTX", "a.xlsx", "a.odt", "a.odp", "a.doc", "a.ppt", "a.xls"])
def test_office_files_are_refused_with_a_hint(name):
    for read in (page_numbers, render_page, read_image):
        with pytest.raises(DataError, match=f"libreoffice --headless --convert-to pdf {name}"):
            read(name)


def test_a_file_that_changes_is_opened_again(write_pdf):
    path = write_pdf(pages=1)
    assert page_numbers(path) == [1]
    assert page_numbers(write_pdf(pages=2)) == [1, 2]


def test_a_long_document_is_drawn_in_flat_memory(write_pdf):
    path = write_pdf(pages=1, width=600, height=800)
    for _ in range(10):
        render_page(path, 1, 100)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(300):
        render_page(path, 1, 100)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 * 1024  # KiB; 300 pages are 800 MB


def test_threads_and_forked_processes_draw_the_same_pages(write_pdf):
    path = write_pdf(pages=8)
    sizes = [(72 * page, 72) for page in range(1, 9)]
    assert render_page(path, 1, 72).size == sizes[0]
    drawn = [None] * 8
    threads = [
        threading.Thread(target=lambda page=page: drawn.__setitem__(page, render_page(path, page + 1, 72).size))
        for page in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert drawn == sizes
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.starmap(_size_of, [(path, page) for page in range(1, 9)]) == sizes
    assert render_page(path, 8, 72).size == sizes[7]


def _size_of(path, page):
    return render_page(path, page, 72).size
