import json
from itertools import islice

import datasets
import pytest
from PIL import Image

from mmst_cli.config.schema import ColumnConfig, DatasetConfig, Layout, MediaConfig, Modality, Role, Use
from mmst_cli.errors import ConfigError, DataError
from mmst_cli.retrieval.judgements import prepare_judgements

ANCHOR, POSITIVE = ColumnConfig(role=Role.anchor), ColumnConfig(role=Role.positive)
PICTURE = ColumnConfig(role=Role.positive, modality=Modality.image)
TEXTS = {"queries/text": ANCHOR, "corpus/text": POSITIVE}
QUERIES = [{"_id": f"q{number}", "text": f"query {number}", "metadata": {}} for number in range(4)]
CORPUS = [
    {"_id": "d0", "title": "Zero", "text": "of nothing", "metadata": {"url": "a"}},
    {"_id": "d1", "title": "", "text": "one of two", "metadata": {}},
    {"_id": "d2", "title": " ", "text": "two ", "metadata": {}},
    {"_id": "d3", "title": "Three", "text": "", "metadata": {}},
]
QRELS = [("q0", "d0", 2), ("q0", "d1", 1), ("q1", "d2", 1), ("q1", "d3", 0), ("q3", "d3", -1)]


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        write_jsonl(path, rows)
    elif path.suffix == ".parquet":
        datasets.Dataset.from_list(rows).to_parquet(str(path))
    else:
        separator = "\t" if path.suffix == ".tsv" else ","
        lines = [rows[0].keys(), *(row.values() for row in rows)]
        path.write_text("".join(separator.join(map(str, line)) + "\n" for line in lines))


def as_rows(qrels):
    return [{"query-id": query, "corpus-id": document, "score": score} for query, document, score in qrels]


@pytest.fixture
def folder(tmp_path):
    """A function that writes BEIR's files, and returns their folder."""

    def write(queries=QUERIES, corpus=CORPUS, qrels=QRELS, split="test", kinds=("jsonl", "tsv")):
        write_table(tmp_path / f"queries.{kinds[0]}", queries)
        write_table(tmp_path / f"corpus.{kinds[0]}", corpus)
        write_table(tmp_path / "qrels" / f"{split}.{kinds[1]}", as_rows(qrels))
        return tmp_path

    return write


def prepare(path, columns=None, seed=0, split="test", **fields):
    section = DatasetConfig(
        use=Use.eval, path=str(path), layout=Layout.beir, split=split, columns=columns or TEXTS, **fields
    )
    return prepare_judgements("eval", section, seed)


def fault(path, columns=None, kind=DataError, **fields):
    with pytest.raises(kind) as caught:
        prepare(path, columns, **fields)
    message = str(caught.value)
    assert message.startswith("datasets.eval")
    assert "\n" not in message
    return message


def test_a_folder_of_beir_files(folder):
    judged = prepare(folder())
    assert judged.query_ids == ["q0", "q1"]
    assert judged.corpus_ids == ["d0", "d1", "d2", "d3"]
    assert judged.relevant == {"q0": {"d0": 2, "d1": 1}, "q1": {"d2": 1}}
    assert list(judged.queries()) == [("text", "query 0"), ("text", "query 1")]
    assert [column.name for column in judged.columns] == ["queries/text", "corpus/text"]


def test_a_title_stands_before_its_text(folder):
    judged = prepare(folder())
    expected = ["Zero of nothing", "one of two", "two ", "Three"]
    assert [text for _, text in judged.corpus()] == expected
    assert [judged.document_at(index) for index in range(4)] == [("text", text) for text in expected]


def test_a_title_that_is_declared_or_belongs_to_no_text_stays_apart(folder):
    path = folder()
    both = prepare(path, {"queries/text": ANCHOR, "corpus/text": POSITIVE, "title": POSITIVE})
    assert [text for _, text in both.corpus()] == [row[name] for name in ("text", "title") for row in CORPUS]
    bodies = [{"_id": row["_id"], "title": row["title"], "body": row["text"]} for row in CORPUS]
    judged = prepare(folder(corpus=bodies), {"text": ANCHOR, "body": POSITIVE})
    assert [text for _, text in judged.corpus()] == [row["text"] for row in CORPUS]


def test_some_titles_may_be_missing(folder):
    corpus = [{"_id": "d0", "text": "a", "title": None}, {"_id": "d1", "text": "b"}, {**CORPUS[2], "title": "C"}]
    qrels = [("q0", "d0", 1), ("q1", "d1", 1)]
    assert [text for _, text in prepare(folder(corpus=corpus, qrels=qrels)).corpus()] == ["a", "b", "C two"]


def test_what_is_left_out_is_told(folder):
    assert prepare(folder()).notes == [
        "1 of 4 queries are not judged in qrels/test.tsv, and are left out.",
        "1 of 4 queries are judged but have no relevant document in the corpus, and are left out.",
    ]
    whole = [(f"q{number}", f"d{number}", 1) for number in range(4)]
    assert prepare(folder(qrels=whole)).notes == []


@pytest.mark.parametrize("kinds", [("jsonl", "tsv"), ("parquet", "parquet"), ("csv", "csv"), ("csv", "jsonl")])
def test_kinds_of_files(kinds, folder):
    plain = [{"_id": row["_id"], "text": row["text"] or "x"} for row in CORPUS]
    queries = [{"_id": row["_id"], "text": row["text"]} for row in QUERIES]
    judged = prepare(folder(queries, plain, kinds=kinds))
    assert judged.relevant == {"q0": {"d0": 2, "d1": 1}, "q1": {"d2": 1}}
    assert [text for _, text in judged.corpus()] == [row["text"] for row in plain]


@pytest.mark.parametrize("kinds", [("jsonl", "tsv"), ("csv", "csv"), ("parquet", "tsv"), ("csv", "tsv")])
def test_ids_of_digits_keep_their_zeros(kinds, folder):
    queries = [{"_id": "007", "text": "a"}, {"_id": "7", "text": "b"}]
    corpus = [{"_id": "01", "text": "c"}, {"_id": "1", "text": "d"}]
    judged = prepare(folder(queries, corpus, [("007", "1", 1), ("7", "01", 1)], kinds=kinds))
    assert judged.query_ids == ["007", "7"]
    assert judged.relevant == {"007": {"1": 1}, "7": {"01": 1}}


def test_ids_may_be_numbers(folder):
    queries = [{"query_id": 3, "text": "a"}]
    judged = prepare(folder(queries, [{"corpus-id": 5, "text": "b"}], [(3, 5, 1)], kinds=("parquet", "parquet")))
    assert (judged.query_ids, judged.corpus_ids, judged.relevant) == (["3"], ["5"], {"3": {"5": 1}})


def test_ids_may_be_of_both_kinds(folder):
    queries = [{"_id": 1, "text": "a"}, {"_id": "b", "text": "c"}]
    assert prepare(folder(queries, qrels=[(1, "d0", 1), ("b", "d1", 1)])).relevant == {"1": {"d0": 1}, "b": {"d1": 1}}


def test_of_two_judgements_of_a_pair_the_higher_counts(folder):
    judged = prepare(folder(qrels=[("q0", "d0", 1), ("q0", "d0", 3), ("q0", "d0", 2)]))
    assert judged.relevant == {"q0": {"d0": 3}}


def test_scores_may_be_written_as_decimals(folder):
    assert prepare(folder(qrels=[("q0", "d0", "2.0"), ("q0", "d1", "0.0")])).relevant == {"q0": {"d0": 2}}


@pytest.mark.parametrize("score", ["0.5", "high", "", "nan", "inf"])
def test_scores_that_are_none(score, folder):
    message = fault(folder(qrels=[("q0", "d0", "1"), ("q0", "d1", score)]))
    assert "qrels/test.tsv, row 1: a score is a whole number, found" in message


# Images


@pytest.fixture
def with_images(folder, tmp_path):
    """A function that writes images where `corpus` or `queries` names them, and returns the folder."""

    def write(side, colours=("red", "green", "blue", "red")):
        (tmp_path / "images").mkdir()
        for number, colour in enumerate(colours):
            Image.new("RGB", (12, 10), colour).save(tmp_path / "images" / f"{number}.png")
        rows = [{"_id": f"{side[0]}{n}", "image": f"images/{n}.png", "text": f"ocr {n}"} for n in range(len(colours))]
        rows = [{**row, "_id": row["_id"].replace("c", "d")} for row in rows]
        return folder(**{side: rows})

    return write


def test_text_queries_and_an_image_corpus(with_images):
    judged = prepare(with_images("corpus"), {"text": ANCHOR, "image": PICTURE})
    assert [(m, image.getpixel((0, 0))) for m, image in judged.corpus()] == [
        ("image", colour) for colour in [(255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 0, 0)]
    ]
    assert judged.document_at(2)[1].getpixel((0, 0)) == (0, 0, 255)


def test_image_queries_and_a_text_corpus(with_images):
    columns = {"image": ColumnConfig(role=Role.anchor, modality=Modality.image), "text": POSITIVE}
    judged = prepare(with_images("queries", ("red", "green", "blue", "gray")), columns)
    assert [image.getpixel((0, 0)) for _, image in judged.queries()] == [(255, 0, 0), (0, 128, 0)]
    assert judged.query_at(1)[1].getpixel((0, 0)) == (0, 128, 0)
    assert judged.document_at(0) == ("text", "Zero of nothing")


def test_several_columns_of_documents(with_images):
    judged = prepare(with_images("corpus"), {"queries/text": ANCHOR, "image": PICTURE, "corpus/text": POSITIVE})
    assert judged.corpus_ids == [f"{name}:d{row}" for name in ("image", "corpus/text") for row in range(4)]
    assert judged.relevant["q1"] == {"image:d2": 1, "corpus/text:d2": 1}
    assert [modality for modality, _ in judged.corpus()] == ["image"] * 4 + ["text"] * 4
    assert judged.document_at(5) == ("text", "ocr 1")
    for index, document in enumerate(judged.corpus()):
        assert judged.document_at(index) == document


def test_images_are_decoded_one_at_a_time(with_images, monkeypatch):
    judged = prepare(with_images("corpus"), {"text": ANCHOR, "image": PICTURE})
    opened, real = [], Image.open
    monkeypatch.setattr(Image, "open", lambda file, *args, **kw: opened.append(1) or real(file, *args, **kw))
    corpus = judged.corpus()
    assert (judged.corpus_ids, judged.relevant, judged.query_ids, opened) and not opened
    for count, _ in enumerate(islice(corpus, 3), start=1):
        assert len(opened) == count
    judged.document_at(3)
    judged.query_at(0)
    list(judged.queries())
    assert len(opened) == 4


def test_a_missing_image(with_images, tmp_path):
    path = with_images("corpus")
    (tmp_path / "images" / "2.png").unlink()
    message = fault(path, {"text": ANCHOR, "image": PICTURE})
    assert message.startswith("datasets.eval, row 2, column image: no such image file: ")


def test_a_text_that_is_not_there(folder):
    message = fault(folder(corpus=[*CORPUS[:3], {"_id": "d3", "text": None}]))
    assert message.startswith("datasets.eval, row 3, column corpus/text: nothing there")


# Ids that don't fit


def test_a_single_unknown_document_is_a_mistake(folder):
    message = fault(folder(qrels=[("q0", "d0", 1), ("q1", "d1", 1), ("q0", "dx", 1)]))
    assert message.startswith("datasets.eval.path: 1 of 3 judgements in qrels/test.tsv name an id that isn't there")
    assert "the first the document dx in row 2" in message


def test_queries_without_an_answer_are_left_out_and_told(folder):
    judged = prepare(folder(qrels=[("q0", "d0", 1), ("q1", "d1", 1), ("q2", "d2", 0), ("q3", "d3", 1)]))
    assert judged.query_ids == ["q0", "q1", "q3"]
    assert judged.notes == ["1 of 4 queries are judged but have no relevant document in the corpus, and are left out."]


def test_mostly_unknown_ids_are_a_mistake(folder):
    message = fault(folder(qrels=[("q0", "d0", 1), ("q1", "1", 1), ("x", "d2", 1)]))
    assert (
        "2 of 3 judgements in qrels/test.tsv name an id that isn't there, the first the document 1 in row 1" in message
    )
    assert "the first the query x in row 0" in fault(folder(qrels=[("x", "d0", 1)]))


def test_no_answer_at_all(folder):
    message = fault(folder(qrels=[("q0", "d0", 0), ("q1", "d1", -1)]))
    assert message.endswith("qrels/test.tsv has no relevant document for any query: nothing to evaluate.")


def test_ids_that_are_not_unique(folder):
    message = fault(folder(corpus=[*CORPUS, CORPUS[1]]))
    assert message.endswith("corpus.jsonl: the id d1 stands in rows 1 and 4. Make ids unique.")


@pytest.mark.parametrize(("value", "found"), [(None, "nothing"), ("", "nothing")])
def test_a_row_without_an_id(value, found, folder):
    message = fault(folder(queries=[QUERIES[0], {"_id": value, "text": "a"}]))
    assert message.endswith(f"queries.jsonl, row 1: an id is text or a number, found {found}.")


@pytest.mark.parametrize(("value", "found"), [(1.5, "float"), (["a"], "list")])
def test_ids_that_are_none(value, found, folder):
    message = fault(folder(queries=[{"_id": value, "text": "a"}]))
    assert message.endswith(f"queries.jsonl, row 0: an id is text or a number, found {found}.")


# Choosing


def test_at_most_so_many_queries(folder):
    whole = [(f"q{number}", "d0", 1) for number in range(50)]
    path = folder([{"_id": f"q{number}", "text": f"query {number}"} for number in range(60)], qrels=whole)
    chosen = [prepare(path, max_rows=7, seed=seed).query_ids for seed in (1, 1, 2)]
    assert chosen[0] == chosen[1] != chosen[2]
    judged = prepare(path, max_rows=7, seed=1)
    assert len(judged.query_ids) == 7
    assert [int(query[1:]) for query in judged.query_ids] == sorted(int(query[1:]) for query in judged.query_ids)
    assert set(judged.relevant) == set(judged.query_ids) <= {f"q{number}" for number in range(50)}
    assert [text for _, text in judged.queries()] == [f"query {query[1:]}" for query in judged.query_ids]
    assert judged.query_at(3) == list(judged.queries())[3]
    assert len(judged.corpus_ids) == 4
    assert prepare(path, max_rows=500).query_ids == [f"q{number}" for number in range(50)]


def test_a_slice_of_the_judgements(folder):
    assert prepare(folder(), split="test[:2]").relevant == {"q0": {"d0": 2, "d1": 1}}


# Configurations, as on the hub


def write_configurations(folder, tables, splits):
    """Write a dataset repository whose configurations are the given tables."""
    front = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: {splits[name]}\n    path: {name}/*.parquet\n"
        for name in tables
    )
    for name, rows in tables.items():
        (folder / name).mkdir(parents=True)
        rows = rows if isinstance(rows, datasets.Dataset) else datasets.Dataset.from_list(rows)
        rows.to_parquet(folder / name / "part-0.parquet")
    (folder / "README.md").write_text(f"---\nconfigs:\n{front}---\n")
    return folder


def plain(rows):
    return [{name: value for name, value in row.items() if name != "metadata"} for row in rows]


@pytest.mark.parametrize("qrels", ["qrels", "default"])
@pytest.mark.parametrize("split", ["corpus", "test", "train"])
def test_configurations(qrels, split, tmp_path):
    tables = {"corpus": plain(CORPUS), "queries": plain(QUERIES), qrels: as_rows(QRELS)}
    splits = {"corpus": split, "queries": "queries" if split == "corpus" else split, qrels: "test"}
    judged = prepare(write_configurations(tmp_path / "copy", tables, splits))
    assert judged.relevant == {"q0": {"d0": 2, "d1": 1}, "q1": {"d2": 1}}
    assert next(judged.corpus()) == ("text", "Zero of nothing")
    assert f"not judged in configuration {qrels}" in judged.notes[0]


def test_configurations_with_embedded_images(tmp_path, page_rows):
    pairs = page_rows(3)
    features = datasets.Features({"corpus-id": datasets.Value("int64"), "image": datasets.Image()})
    pages = [{"corpus-id": number, "image": page} for number, (_, page) in enumerate(pairs)]
    tables = {
        "corpus": datasets.Dataset.from_list(pages, features=features),
        "queries": [{"query-id": 10 + number, "query": query} for number, (query, _) in enumerate(pairs)],
        "qrels": as_rows((10 + number, number, 1) for number in range(3)),
    }
    path = write_configurations(tmp_path / "pages", tables, dict.fromkeys(tables, "test"))
    judged = prepare(path, {"query": ANCHOR, "image": PICTURE})
    assert judged.relevant == {"10": {"0": 1}, "11": {"1": 1}, "12": {"2": 1}}
    assert [value for _, value in judged.queries()] == [query for query, _ in pairs]
    assert [value.tobytes() for _, value in judged.corpus()] == [page.tobytes() for _, page in pairs]


def test_a_folder_without_the_configurations(tmp_path):
    tables = {"corpus": plain(CORPUS), "queries": plain(QUERIES), "other": as_rows(QRELS)}
    splits = dict.fromkeys(tables, "test")
    path = write_configurations(tmp_path / "a", tables, splits)
    assert fault(path).endswith("nor one called default; its configurations are corpus, queries, other.")
    path = write_configurations(tmp_path / "b", {"pages": plain(CORPUS)}, {"pages": "test"})
    assert fault(path).endswith("nor configurations of these names; its configurations are pages.")
    (tmp_path / "empty").mkdir()
    assert str(tmp_path / "empty") in fault(tmp_path / "empty")


def test_a_split_that_no_configuration_has(tmp_path):
    tables = {"corpus": plain(CORPUS), "queries": plain(QUERIES), "qrels": as_rows(QRELS)}
    path = write_configurations(tmp_path / "copy", tables, dict.fromkeys(tables, "test"))
    assert fault(path, split="tset").endswith("has test. Did you mean test?")
    assert fault(path, split="tset").startswith("datasets.eval.split: tset: ")


def test_queries_in_several_splits(tmp_path):
    corpus = datasets.Dataset.from_list(plain(CORPUS))
    tables = {"corpus": corpus, "queries": plain(QUERIES), "qrels": as_rows(QRELS)}
    path = write_configurations(tmp_path / "copy", tables, dict.fromkeys(tables, "test"))
    front = (path / "README.md").read_text()
    corpus.to_parquet(path / "corpus" / "train.parquet")
    more = "  - split: train\n    path: corpus/train.parquet\n"
    (path / "README.md").write_text(front.replace("corpus/*.parquet\n", f"corpus/part-0.parquet\n{more}"))
    assert prepare(path).corpus_ids == ["d0", "d1", "d2", "d3"]
    front = (path / "README.md").read_text()
    (path / "README.md").write_text(front.replace("test\n    path: corpus", "dev\n    path: corpus"))
    message = fault(path)
    assert message == (
        "datasets.eval.split: test: configuration corpus has dev, train, and none is called corpus or test."
    )


def test_inputs_of_several_parts(folder, png):
    path = folder()
    for number in range(4):
        (path / f"{number}.png").write_bytes(png())
    write_jsonl(path / "corpus.jsonl", [{**row, "page": f"{number}.png"} for number, row in enumerate(CORPUS)])
    parts = ColumnConfig(role=Role.positive, parts={"text": "corpus/text", "image": "page"})
    judged = prepare(path, {"queries/text": ANCHOR, "document": parts})
    documents = [value for _, value in judged.corpus()]
    assert [document["text"] for document in documents] == [row["text"] for row in CORPUS]
    assert {document["image"].size for document in documents} == {(20, 24)}


def test_sounds_are_read_as_the_config_says(folder):
    import numpy
    import soundfile

    path = folder()
    soundfile.write(path / "a.wav", numpy.sin(numpy.arange(800) / 9), 8000)
    write_jsonl(path / "corpus.jsonl", [{"_id": row["_id"], "sound": "a.wav"} for row in CORPUS])
    section = DatasetConfig(
        use=Use.eval,
        path=str(path),
        layout=Layout.beir,
        split="test",
        columns={"text": ANCHOR, "sound": ColumnConfig(role=Role.positive, modality=Modality.audio)},
    )
    judged = prepare_judgements("eval", section, 0, MediaConfig(max_seconds=0.05))
    assert {value["array"].shape for _, value in judged.corpus()} == {(400,)}


def test_lists_in_a_corpus(folder):
    path = folder(corpus=[{**row, "text": [row["text"]]} for row in CORPUS])
    assert "columns.corpus/text: the cells are lists of inputs" in fault(path)


# Mistakes


def test_a_split_that_is_no_file(folder):
    assert fault(folder(), split="tst") == "datasets.eval.split: tst: qrels has test. Did you mean test?"


@pytest.mark.parametrize("name", ["queries.jsonl", "qrels/test.tsv"])
def test_a_file_that_is_missing(name, folder):
    path = folder()
    (path / name).unlink()
    assert f"has corpus files, but no {name}" in fault(path)


@pytest.mark.parametrize("path", ["./gone", "a/b/c", "gone.jsonl"])
def test_nothing_there(path):
    assert fault(path) == f"datasets.eval.path: {path}: layout beir reads a folder or a hub id, found nothing there."


def test_a_file_instead_of_a_folder(folder):
    message = fault(folder() / "corpus.jsonl")
    assert message.endswith("corpus.jsonl: layout beir reads a folder or a hub id, found a file.")


def test_columns_that_are_not_there(folder):
    with pytest.raises(ConfigError) as caught:
        prepare(folder(), {"queries/txt": ANCHOR, "titel": POSITIVE})
    assert caught.value.faults == [
        "datasets.eval.columns.queries/txt: no such column; queries.jsonl has _id, text, metadata. Did you mean text?",
        "datasets.eval.columns.titel: no such column; corpus.jsonl has _id, title, text, metadata. Did you mean title?",
    ]


@pytest.mark.parametrize(("renamed", "table"), [("_id", "corpus.jsonl"), ("score", "qrels/test.tsv")])
def test_a_column_that_the_layout_needs(renamed, table, folder):
    path = folder()
    (path / table).write_text((path / table).read_text().replace(renamed, "other"))
    assert f"{table} has no column {'_id or id' if renamed == '_id' else 'score'}" in fault(path)


@pytest.mark.parametrize("content", ["", "query-id\tcorpus-id\tscore\n", "query-id\tcorpus-id\tscore\nq0\td0\n"])
def test_broken_judgements(content, folder):
    path = folder()
    (path / "qrels" / "test.tsv").write_text(content)
    assert "qrels/test.tsv" in fault(path)


def test_a_corpus_without_documents(folder):
    path = folder()
    (path / "corpus.jsonl").write_text("")
    assert "holds no rows" in fault(path)
