"""What stands on a PDF page besides its own content, and pages that can't be drawn."""

from __future__ import annotations

import io
import shutil
import subprocess

import numpy
import pytest
from PIL import Image

from mmst_cli.config.schema import MediaConfig, Modality
from mmst_cli.errors import DataError
from mmst_cli.media.pdf import page_numbers, render_page
from mmst_cli.media.reading import Reader

pytest.importorskip("pypdfium2")

PAGE = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 260 260]/Resources<</Font<</F1 5 0 R>>>>/Contents 4 0 R/Annots[6 0 R]>>"
FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
BOX = b"/BBox[0 0 220 100]/Resources<</Font<</F1 5 0 R>>>>/Type/XObject/Subtype/Form"
WIDGET = b"/Type/Annot/Subtype/Widget/T(state)/F 4/Rect[20 80 240 180]/P 3 0 R/AP<</N 7 0 R>>"


def stream(text, more=b""):
    return b"<<%s/Length %d>>stream\n" % (more, len(text)) + text + b"\nendstream"


def write(path, objects):
    """Write numbered objects as a file, the first one its catalog."""
    out, places = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(out))
    path.write_bytes(out + b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + table + end)
    return path


def with_annotation(path, annotation, look, form=b"/AcroForm<</Fields[6 0 R]/DA(/F1 0 Tf 0 g)>>"):
    objects = [b"<</Type/Catalog/Pages 2 0 R%s>>" % form, b"<</Type/Pages/Kids[3 0 R]/Count 1>>", PAGE]
    content = stream(b"BT /F1 20 Tf 20 220 Td (Invoice state:) Tj ET")
    return write(path, [*objects, content, FONT, b"<<%s>>" % annotation, stream(look, BOX)])


def drawn(path, page=None):
    return numpy.asarray(render_page(path, page, dpi=72)).astype(int)


RED = b"0.8 0 0 rg 9 9 90 50 re f"
ANNOTATIONS = {
    "text": (WIDGET + b"/FT/Tx/V(PAID)/DA(/F1 60 Tf 0.8 0 0 rg)", b"q BT /F1 60 Tf 0.8 0 0 rg 5 20 Td (PAID) Tj ET Q"),
    "choice": (
        WIDGET + b"/FT/Ch/Ff 131072/Opt[(PAID)(OPEN)]/V(PAID)/DA(/F1 60 Tf 0.8 0 0 rg)",
        RED,
    ),
    "button": (
        WIDGET.replace(b"/N 7 0 R", b"/N<</Yes 7 0 R>>") + b"/FT/Btn/V/Yes/AS/Yes",
        RED,
    ),
    "stamp": (
        b"/Type/Annot/Subtype/Stamp/F 4/Rect[20 80 240 180]/P 3 0 R/AP<</N 7 0 R>>",
        RED,
    ),
}


@pytest.mark.parametrize("kind", list(ANNOTATIONS))
def test_what_was_filled_in_or_stamped_is_drawn(tmp_path, kind):
    annotation, look = ANNOTATIONS[kind]
    empty = drawn(with_annotation(tmp_path / "empty.pdf", annotation, b"q Q"))
    filled = drawn(with_annotation(tmp_path / "filled.pdf", annotation, look))
    red = (filled[..., 0] > 150) & (filled[..., 1] < 90)
    assert red.sum() > 500
    assert not ((empty[..., 0] > 150) & (empty[..., 1] < 90)).any()


def test_a_field_is_drawn_without_the_tint_of_a_viewer(tmp_path):
    annotation, look = ANNOTATIONS["text"]
    page = drawn(with_annotation(tmp_path / "filled.pdf", annotation, look))
    assert page[170, 230].tolist() == [255, 255, 255]  # within the field, beside what was typed


def test_hidden_fields_stay_hidden(tmp_path):
    annotation, look = ANNOTATIONS["text"]
    page = drawn(with_annotation(tmp_path / "hidden.pdf", annotation.replace(b"/F 4", b"/F 2"), look))
    assert not ((page[..., 0] > 150) & (page[..., 1] < 90)).any()


@pytest.mark.skipif(shutil.which("pdftoppm") is None, reason="no pdftoppm to compare with")
@pytest.mark.parametrize("kind", list(ANNOTATIONS))
def test_pdftoppm_shows_the_same(tmp_path, kind):
    path = with_annotation(tmp_path / "filled.pdf", *ANNOTATIONS[kind])
    other = subprocess.run(["pdftoppm", "-r", "72", "-singlefile", path], capture_output=True, check=True).stdout
    there = numpy.asarray(Image.open(io.BytesIO(other)).convert("RGB")).astype(int)
    # Their fonts and edges differ by a little.
    assert (numpy.abs(there - drawn(path)).max(axis=2) > 90).mean() < 0.03


def test_a_form_that_is_drawn_by_adobe_alone_is_refused(tmp_path, caplog):
    annotation, look = ANNOTATIONS["text"]
    xfa = b"/AcroForm<</Fields[6 0 R]/DA(/F1 0 Tf 0 g)/XFA(x)>>"
    static = with_annotation(tmp_path / "static.pdf", annotation, look, xfa)
    assert (drawn(static) == drawn(with_annotation(tmp_path / "plain.pdf", annotation, look))).all()
    dynamic = with_annotation(tmp_path / "dynamic.pdf", annotation, look, xfa + b"/NeedsRendering true")
    with pytest.raises(DataError, match=r"dynamic.pdf: a dynamic form \(XFA\), whose pages only Adobe"):
        render_page(dynamic)
    assert not caplog.records


@pytest.fixture
def book(tmp_path):
    """Three pages, of which the second is not there."""
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 120 160]/Contents 5 0 R>>"
    kids = b"<</Type/Pages/Kids[3 0 R 17 0 R 4 0 R]/Count 3>>"
    content = stream(b"0 0.5 0 rg 20 20 60 90 re f")
    return write(tmp_path / "book.pdf", [b"<</Type/Catalog/Pages 2 0 R>>", kids, page, page, content])


def test_a_page_that_cannot_be_loaded_is_told_and_the_others_are_drawn(book):
    assert page_numbers(book) == [1, 2, 3]
    with pytest.raises(DataError, match=r"book.pdf#2: the page can't be drawn: Failed to load page"):
        render_page(book, 2)
    assert (drawn(book, 1) == drawn(book, 3)).all()
    with pytest.raises(DataError, match=r"book.pdf#2: the page can't be drawn"):
        Reader(MediaConfig(), book.parent).read(Modality.image, "book.pdf#2")
