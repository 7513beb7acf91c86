import random

import datasets
import pypdfium2
import pytest

from mmst_cli.config.schema import ColumnConfig, Modality, Role
from mmst_cli.errors import ConfigError, DataError
from mmst_cli.retrieval.retrieval_set import RowRetrieval

ANCHOR, PAGE = ColumnConfig(role=Role.anchor), ColumnConfig(role=Role.positive, modality=Modality.image)


def positive(**fields):
    return {"query": ANCHOR, "answer": ColumnConfig(role=Role.positive, **fields)}


def negative(**fields):
    return {
        "query": ANCHOR,
        "page": ColumnConfig(role=Role.positive),
        "hard": ColumnConfig(role=Role.negative, **fields),
    }


def pages(wanted=None):
    return {"query": ANCHOR, "page": ColumnConfig(role=Role.positive, modality=Modality.image, pages=wanted)}


def read_all(rows):
    return [tuple(v["text"] if isinstance(v, dict) else v for v in rows.read(row).values()) for row in rows.rows]


@pytest.fixture
def fault(prepare, parquet):
    def of(columns, kind=DataError, fields=None, **values):
        with pytest.raises(kind) as caught:
            prepare(parquet(**values), columns, **(fields or {}))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return of


@pytest.fixture
def pdf(tmp_path):
    """A function that writes a PDF whose page n is 20 + n points wide, and returns its name."""

    def write(name, count):
        document = pypdfium2.PdfDocument.new()
        for number in range(1, count + 1):
            document.new_page(20 + number, 30)
        document.save(tmp_path / name)
        return name

    return write


def widths(rows, column=1):
    return [round(image.width * 72 / 150) - 20 for image in rows.values(rows.columns[column])]


# Lists of positives


def test_a_list_of_positives_becomes_rows(parquet, prepare):
    rows = prepare(parquet(query=["a", "b"], answer=[["c", "d", "e"], ["f"]]), positive())
    assert len(rows) == 4
    assert read_all(rows) == [("a", "c"), ("a", "d"), ("a", "e"), ("b", "f")]
    assert list(rows.values(rows.columns[0])) == ["a", "a", "a", "b"]
    assert [rows.value_at(rows.columns[1], row) for row in range(4)] == ["c", "d", "e", "f"]


def test_take_uses_the_first_so_many(parquet, prepare):
    rows = prepare(parquet(query=["a", "b"], answer=[["c", "d", "e"], ["f"]]), positive(take=2))
    assert read_all(rows) == [("a", "c"), ("a", "d"), ("b", "f")]


def test_a_label_goes_with_every_row_of_its_list(parquet, prepare):
    columns = positive() | {"score": ColumnConfig(role=Role.label)}
    rows = prepare(parquet(query=["a", "b"], answer=[["c", "d"], ["e"]], score=[0.5, 1.0]), columns)
    assert read_all(rows) == [("a", "c", 0.5), ("a", "d", 0.5), ("b", "e", 1.0)]
    assert list(rows.rows["score"]) == [0.5, 0.5, 1.0]


def test_one_query_has_all_positives_of_its_list(parquet, prepare):
    retrieval = RowRetrieval(prepare(parquet(query=["a", "b"], answer=[["c", "d"], ["e"]]), positive()))
    assert retrieval.query_ids == ["q0", "q1"]
    assert retrieval.corpus_ids == ["answer:0.0", "answer:0.1", "answer:1.0"]
    assert retrieval.relevant == {"q0": {"answer:0.0": 1, "answer:0.1": 1}, "q1": {"answer:1.0": 1}}
    assert list(retrieval.queries()) == [("text", "a"), ("text", "b")]
    assert [retrieval.query_at(index) for index in range(2)] == [("text", "a"), ("text", "b")]
    assert [value for _, value in retrieval.corpus()] == ["c", "d", "e"]
    assert retrieval.document_at(2) == ("text", "e")


def test_an_image_with_several_captions_is_stored_once(tmp_path, prepare, png):
    features = datasets.Features(
        {"picture": datasets.Image(), "answer": datasets.List(datasets.Value("string"))},
    )
    values = {"picture": [{"bytes": png("red"), "path": None}], "answer": [["a", "b", "c"]]}
    datasets.Dataset.from_dict(values, features=features).save_to_disk(tmp_path / "saved")
    columns = {
        "picture": ColumnConfig(role=Role.anchor, modality=Modality.image),
        "answer": ColumnConfig(role=Role.positive),
    }
    rows = prepare(tmp_path / "saved", columns)
    assert [rows.read(row)["answer"] for row in rows.rows] == [{"text": text} for text in "abc"]
    assert all(rows.read(row)["picture"].getpixel((0, 0)) == (255, 0, 0) for row in rows.rows)
    assert "picture" not in rows.rows.column_names
    assert len(rows.stored) == 1


def test_a_list_of_embedded_images(tmp_path, prepare, png):
    features = datasets.Features({"query": datasets.Value("string"), "image": datasets.List(datasets.Image())})
    images = [[{"bytes": png(colour), "path": None} for colour in ("red", "blue")], [{"bytes": png(), "path": None}]]
    datasets.Dataset.from_dict({"query": ["a", "b"], "image": images}, features=features).save_to_disk(tmp_path / "s")
    rows = prepare(tmp_path / "s")
    assert [image.getpixel((0, 0)) for image in rows.values(rows.columns[1])] == [(255, 0, 0), (0, 0, 255), (255, 0, 0)]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([["c"], []], "row 1, column answer: an empty list. Fill it, or remove the row."),
        ([["c"], None], "row 1, column answer: nothing there. Remove the row, or fill it."),
        ([["c"], ["d", None]], "row 1, column answer, entry 1: nothing there. Take it out of the list, or fill it."),
    ],
)
def test_positives_that_are_not_there(answers, message, fault):
    assert fault(positive(), query=["a", "b"], answer=answers) == f"datasets.train, {message}"


def test_entries_that_are_not_taken_may_be_missing(parquet, prepare):
    rows = prepare(parquet(query=["a", "b"], answer=[["c", None], ["d", "e"]]), positive(take=1))
    assert read_all(rows) == [("a", "c"), ("b", "d")]


def test_an_embedded_image_without_content_in_a_list(png, fault):
    image, nothing = {"bytes": png(), "path": None}, {"bytes": None, "path": None}
    message = fault(positive(modality=Modality.image), query=["a", "b"], answer=[[image], [image, nothing]])
    assert message.startswith("datasets.train, row 1, column answer, entry 1: nothing there.")


def test_a_broken_image_in_a_list_names_its_row(tmp_path, prepare, png):
    images = [[png(), png()]] * 99 + [[png(), png()[:-30]]] + [[png()]]
    datasets.Dataset.from_dict({"query": ["a"] * 101, "image": images}).to_parquet(str(tmp_path / "rows.parquet"))
    with pytest.raises(DataError, match=r"row 99, column image: .* Replace the file, or remove the row\."):
        prepare(tmp_path / "rows.parquet")


def test_two_lists_that_would_both_become_rows(fault):
    columns = positive() | {"other": ColumnConfig(role=Role.positive)}
    message = fault(columns, ConfigError, query=["a"], answer=[["b"]], other=[["c"]])
    assert message.startswith("datasets.train.columns: answer and other both hold lists or pages")


def test_an_anchor_is_no_list(fault):
    message = fault(positive(), ConfigError, query=[["a", "b"]], answer=["c"])
    assert message.startswith("datasets.train.columns.query: the cells are lists, and an anchor is one input.")


def test_nothing_to_take_from(fault):
    message = fault(positive(take=2), ConfigError, query=["a"], answer=["c"])
    assert message.startswith("datasets.train.columns.answer.take: the cells are no lists")


# Lists of negatives


def test_a_list_of_negatives_becomes_columns(parquet, prepare):
    rows = prepare(parquet(query=["a", "b"], page=["c", "d"], hard=[["e", "f"], ["g", "h"]]), negative())
    assert [column.name for column in rows.columns] == ["query", "page", "hard_0", "hard_1"]
    assert read_all(rows) == [("a", "c", "e", "f"), ("b", "d", "g", "h")]
    assert list(rows.values(rows.columns[3])) == ["f", "h"]


def test_take_of_lists_that_differ_in_length(parquet, prepare, fault):
    values = {"query": ["a", "b"], "page": ["c", "d"], "hard": [["e", "f", "i"], ["g", "h"]]}
    assert read_all(prepare(parquet(**values), negative(take=2))) == [("a", "c", "e", "f"), ("b", "d", "g", "h")]
    assert fault(negative(), **values) == (
        "datasets.train, row 1, column hard: a list of 2 negatives, and others have 3. "
        "Set take: 2 to use so many of each."
        " In training fill: sample, repeat or mine (with take) finds the missing ones."
    )
    assert "row 1, column hard: a list of 2 negatives, and take is 3." in fault(negative(take=3), **values)


def test_an_empty_list_of_negatives(fault):
    message = fault(negative(), query=["a", "b"], page=["c", "d"], hard=[["e"], []])
    assert message == (
        "datasets.train, row 1, column hard: a list of 0 negatives, and others have 1. Fill it, or remove the row."
        " In training fill: sample, repeat or mine (with take) finds the missing ones."
    )


def test_positives_and_negatives_in_lists(parquet, prepare):
    columns = positive() | {"hard": ColumnConfig(role=Role.negative)}
    rows = prepare(parquet(query=["a", "b"], answer=[["c", "d"], ["e"]], hard=[["f", "g"], ["h", "i"]]), columns)
    assert read_all(rows) == [("a", "c", "f", "g"), ("a", "d", "f", "g"), ("b", "e", "h", "i")]
    assert [c.name for c in RowRetrieval(rows).documents] == ["answer", "hard_0", "hard_1"]


def test_rows_are_named_by_their_number_in_the_source(prepare, parquet, fault):
    values = {"query": [str(n) for n in range(50)], "answer": [["x"]] * 49 + [[]]}
    seed = next(s for s in range(99) if 49 in random.Random(s).sample(range(50), 10))
    assert "row 49, column answer" in fault(positive(), fields={"max_rows": 10, "seed": seed}, **values)


# Pages of documents


@pytest.mark.parametrize(("wanted", "found"), [(None, [1, 2, 3, 1]), ("all", [1, 2, 3, 1]), ("first", [1, 1])])
def test_pages_become_rows(wanted, found, parquet, prepare, pdf):
    rows = prepare(parquet(query=["a", "b"], page=[pdf("m.pdf", 3), pdf("one.pdf", 1)]), pages(wanted))
    assert widths(rows) == found
    assert list(rows.values(rows.columns[0])) == ["a"] * (len(found) - 1) + ["b"]


def test_chosen_pages(parquet, prepare, pdf, fault):
    values = {"query": ["a", "b"], "page": [pdf("m.pdf", 3), pdf("n.pdf", 4)]}
    assert widths(prepare(parquet(**values), pages([1, 3]))) == [1, 3, 1, 3]
    message = fault(pages([1, 4]), **values)
    assert message.startswith("datasets.train, row 0, column page: ")
    assert "m.pdf: no page 4; the document has 3 pages" in message


def test_pages_and_images_side_by_side(parquet, prepare, pdf, png, tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    names = ["a.png", pdf("m.pdf", 2), "m.pdf#2"]
    rows = prepare(parquet(query=["a", "b", "c"], page=names), pages())
    assert widths(rows)[1:] == [1, 2, 2]
    assert [rows.read(row)["query"]["text"] for row in rows.rows] == ["a", "b", "b", "c"]


def test_a_page_that_a_cell_names(parquet, prepare, pdf, fault):
    pdf("m.pdf", 3)
    assert widths(prepare(parquet(query=["a", "b"], page=["m.pdf#3", "m.pdf#1"]), pages())) == [3, 1]
    assert "row 1, column page: " in fault(pages(), query=["a", "b"], page=["m.pdf#3", "m.pdf#4"])


def test_ids_keep_file_and_page(parquet, prepare, pdf):
    retrieval = RowRetrieval(prepare(parquet(query=["a", "b"], page=[pdf("m.pdf", 2), pdf("n.pdf", 1)]), pages()))
    assert retrieval.corpus_ids == ["m.pdf#1", "m.pdf#2", "n.pdf#1"]
    assert retrieval.relevant == {"q0": {"m.pdf#1": 1, "m.pdf#2": 1}, "q1": {"n.pdf#1": 1}}


def test_pages_that_are_there_twice_are_told_apart(parquet, prepare, pdf):
    names = [pdf("m.pdf", 2), "m.pdf", pdf("n.pdf", 1)]
    retrieval = RowRetrieval(prepare(parquet(query=["a", "b", "c"], page=names), pages()))
    assert retrieval.corpus_ids == ["page:0.1", "page:0.2", "page:1.1", "page:1.2", "n.pdf#1"]


def test_a_document_that_is_no_pdf(fault, pdf, tmp_path):
    pdf("m.pdf", 2)
    (tmp_path / "broken.pdf").write_text("no document")
    assert "row 1, column page: " in fault(pages(), query=["a", "b"], page=["m.pdf", "broken.pdf"])
    (tmp_path / "letter.docx").write_text("office")
    message = fault(pages(), query=["a", "b"], page=["m.pdf", "letter.docx"])
    assert "row 1, column page: " in message
    assert "convert it to PDF" in message


def test_an_anchor_is_one_page(fault, pdf, parquet, prepare):
    columns = {
        "page": ColumnConfig(role=Role.anchor, modality=Modality.image),
        "text": ColumnConfig(role=Role.positive),
    }
    message = fault(columns, page=[pdf("m.pdf", 2)], text=["a"])
    assert message.startswith("datasets.train, row 0, column page: m.pdf has 2 pages, and an anchor is one input.")
    columns["page"] = ColumnConfig(role=Role.anchor, modality=Modality.image, pages="first")
    assert widths(prepare(parquet(page=["m.pdf"], text=["a"]), columns), 0) == [1]


def test_pages_of_no_document(fault, png):
    message = fault(pages("first"), ConfigError, query=["a"], page=[png()])
    assert message.startswith("datasets.train.columns.page.pages: no cell names a PDF file")


def test_pages_in_lists(fault, pdf, parquet, prepare):
    values = {"query": ["a"], "page": [[pdf("m.pdf", 3), "m.pdf#2"]]}
    message = fault(pages("first"), ConfigError, **values)
    assert (
        message == "datasets.train.columns.page.pages: the cells are lists. Name the pages in them, as in file.pdf#1."
    )
    assert "row 0, column page: " in fault(pages(), **values)
    assert widths(prepare(parquet(query=["a"], page=[["m.pdf#3", "m.pdf#2"]]), pages())) == [3, 2]
