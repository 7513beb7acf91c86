import numpy
import pytest
from media_samples import LOCKED, write_pdf

from mmst_cli.media.pdf import render_page

pytest.importorskip("pypdfium2")


@pytest.fixture
def manual(tmp_path, monkeypatch):
    """A document of three pages in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_pdf(tmp_path / "manual.pdf", 3)
    return tmp_path / "manual.pdf"


@pytest.mark.parametrize(
    ("pages", "numbers"), [(None, (1, 2, 3)), ("all", (1, 2, 3)), ("first", (1,)), ("3,1,3", (3, 1))]
)
def test_pages_of_a_document(pages, numbers, manual, encode, read_output, model, tmp_path):
    encode(["manual.pdf"], tmp_path / "out", pages=pages)
    ids, vectors = read_output(tmp_path / "out")
    assert ids == [f"manual.pdf#{number}" for number in numbers]
    assert numpy.array_equal(vectors, model.encode([render_page(manual, number) for number in numbers]))


def test_the_resolution_of_pages(manual, encode, read_output, model, tmp_path):
    encode(["manual.pdf"], tmp_path / "out", pages="2", media={"dpi": 36})
    page = render_page(manual, 2, dpi=36)
    assert page.size == (150, 200)
    assert numpy.array_equal(read_output(tmp_path / "out")[1], model.encode([page]))


def test_a_document_that_cannot_be_opened_fails_by_name(manual, encode, read_output, read_errors, tmp_path, pages):
    folder = tmp_path / "documents"
    folder.mkdir()
    pages[0].save(folder / "1.png")
    (folder / "2.pdf").write_bytes(manual.read_bytes()[:500])
    (folder / "3.PDF").write_bytes(LOCKED)
    (folder / "4.pdf").write_bytes(b"")
    manual.rename(folder / "5.pdf")
    result = encode(["documents"], tmp_path / "out")
    assert read_output(tmp_path / "out")[0] == ["documents/1.png", *(f"documents/5.pdf#{n}" for n in (1, 2, 3))]
    errors = read_errors(tmp_path / "out")
    assert list(errors) == ["documents/2.pdf", "documents/3.PDF", "documents/4.pdf"]
    assert "no PDF that can be read" in errors["documents/2.pdf"]
    assert "protected by a password; save a copy without one" in errors["documents/3.PDF"]
    assert (result.count, result.failed) == (4, 3)


def test_pages_that_a_document_lacks_fail_by_number(manual, encode, read_output, read_errors, tmp_path):
    write_pdf(tmp_path / "leaflet.pdf", 1)
    encode(["leaflet.pdf", "manual.pdf"], tmp_path / "out", pages="1,3")
    assert read_output(tmp_path / "out")[0] == ["leaflet.pdf#1", "manual.pdf#1", "manual.pdf#3"]
    (error,) = read_errors(tmp_path / "out").values()
    assert "leaflet.pdf: no page 3; the document has 1 page." in error


def test_office_documents_of_a_folder_are_skipped_with_a_hint(manual, encode, tmp_path, said):
    folder = tmp_path / "documents"
    folder.mkdir()
    manual.rename(folder / "manual.pdf")
    (folder / "report.docx").write_bytes(b"PK")
    (folder / "note.md").touch()
    assert encode(["documents"], tmp_path / "out").failed == 0
    assert "skipped 2 files of no kind that can be embedded. 1 of them office documents; convert" in said.getvalue()


def test_resumed_within_a_document_equals_undisturbed(manual, encode, tmp_path, monkeypatch):
    from mmst_cli.media import image

    encode(["manual.pdf"], tmp_path / "whole", rows_per_part=2)
    drawn = []

    def note(path, page, dpi):
        if page == 3 and not drawn.count(3):
            drawn.append(page)
            raise KeyboardInterrupt
        drawn.append(page)
        return render_page(path, page, dpi)

    monkeypatch.setattr(image, "render_page", note)
    with pytest.raises(KeyboardInterrupt):
        encode(["manual.pdf"], tmp_path / "out", rows_per_part=2)
    encode(["manual.pdf"], tmp_path / "out", rows_per_part=2, resume=True)
    assert drawn == [1, 2, 3, 3]
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes(), path.name


def test_resume_with_other_pages_is_refused(manual, encode, tmp_path):
    from mmst_cli.errors import RunError

    encode(["manual.pdf"], tmp_path / "out", pages="first")
    with pytest.raises(RunError, match='begun with pages "first", and now it is null'):
        encode(["manual.pdf"], tmp_path / "out", resume=True)


def test_a_page_named_in_a_row(manual, encode, read_output, read_errors, model, tmp_path):
    (tmp_path / "rows.csv").write_text("page\nmanual.pdf#2\nmanual.pdf\nmanual.pdf#9\n")
    encode(["rows.csv"], tmp_path / "out", columns=["page:image"])
    assert numpy.array_equal(read_output(tmp_path / "out")[1], model.encode([render_page(manual, 2)]))
    assert list(read_errors(tmp_path / "out")) == ["rows.csv#1", "rows.csv#2"]


def test_documents_named_in_rows_are_their_pages_where_asked_for(manual, encode, read_output, model, tmp_path):
    (tmp_path / "rows.csv").write_text("page\nmanual.pdf#2\nmanual.pdf\n")
    encode(["rows.csv"], tmp_path / "out", columns=["page:image"], pages="all")
    ids, vectors = read_output(tmp_path / "out")
    assert ids == ["rows.csv#0", "rows.csv#1#1", "rows.csv#1#2", "rows.csv#1#3"]
    assert numpy.array_equal(vectors, model.encode([render_page(manual, number) for number in (2, 1, 2, 3)]))
