"""From what `mmst encode` wrote to what is nearest, with models and as a command."""

import io
import json
import shutil
import sys

import numpy as np
import pytest
import torch
from html_page import Page
from media_samples import tone, wav
from typer.testing import CliRunner

from mmst_cli.cli import app
from mmst_cli.encoding.encode import run_encode
from mmst_cli.errors import ConfigError, DataError, ModelError, RunError
from mmst_cli.searching import search_page
from mmst_cli.searching.query_vectors import find_query_model
from mmst_cli.searching.search import run_search


@pytest.fixture(scope="module")
def collection(tmp_path_factory, tiny_model_path, pages, queries):
    """A folder with six pages, a file of texts, and a model that has prompts."""
    from sentence_transformers import SentenceTransformer

    folder = tmp_path_factory.mktemp("collection")
    (folder / "pages").mkdir()
    for number, page in enumerate(pages):
        page.save(folder / "pages" / f"{number}.png")
    (folder / "texts.txt").write_text("\n".join(queries))
    model = SentenceTransformer(str(tiny_model_path), device="cpu")
    model.prompts.update(query="Find the page: ", document="", other="Of what is this: ")
    model.save(str(folder / "model"))
    return folder


@pytest.fixture
def here(collection, tmp_path, monkeypatch):
    """A copy of it, as the current folder."""
    shutil.copytree(collection, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def model(here):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(here / "model"), device="cpu")


@pytest.fixture
def encode(here, quiet):
    """A function that encodes the pages."""

    def run(inputs=("pages",), name="vectors", **options):
        run_encode("model", list(inputs), here / name, terminal=quiet, **options)
        return here / name

    return run


@pytest.fixture
def search(quiet):
    return lambda vectors, *queries, **options: run_search(vectors, queries, terminal=quiet, **options)


def ranked(scores, names, k):
    order = torch.argsort(scores, descending=True)[:k].tolist()
    return [(names[place], pytest.approx(float(scores[place]), abs=2e-6)) for place in order]


NAMES = [f"pages/{number}.png" for number in range(6)]


@pytest.mark.parametrize(
    ("prompt_name", "method"),
    [(None, "encode_query"), ("query", "encode_query"), ("document", "encode_document"), ("other", "encode")],
)
def test_texts_are_embedded_as_queries(prompt_name, method, encode, search, model, pages, queries):
    prompt = {"prompt_name": "other"} if prompt_name == "other" else {}
    wanted = getattr(model, method)(queries[:2], convert_to_tensor=True, **prompt)
    scores = model.similarity(wanted, model.encode_document(pages, convert_to_tensor=True))
    result = search(encode(), *queries[:2], top=4, prompt_name=prompt_name)
    assert result.hits == [ranked(row, NAMES, 4) for row in scores]
    assert [query.name for query in result.queries] == queries[:2]


def test_texts_images_and_lines_in_their_order(encode, search, model, pages, queries, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(queries[:2]).encode())))
    wanted = torch.cat(
        [
            model.encode_query(values, convert_to_tensor=True)
            for values in (queries[4:5], pages[3:4], queries[:2], queries[5:6])
        ]
    )
    scores = model.similarity(wanted, model.encode_document(pages, convert_to_tensor=True))
    result = search(encode(rows_per_part=4), queries[4], "pages/3.png", "-", queries[5], top=2)
    assert result.hits == [ranked(row, NAMES, 2) for row in scores]


@pytest.mark.parametrize("similarity", ["dot", "euclidean", "manhattan"])
def test_the_similarity_is_the_models(similarity, here, encode, search, model, pages, queries):
    model.similarity_fn_name = similarity
    model.save(str(here / "model"))
    documents = model.encode_document(pages, convert_to_tensor=True)
    scores = model.similarity(model.encode_query(queries[:1], convert_to_tensor=True), documents)
    result = search(encode(), queries[0])
    assert result.similarity == similarity
    assert [name for name, _ in result.hits[0]] == [name for name, _ in ranked(scores[0], NAMES, 6)]
    assert json.loads((here / "vectors" / "_manifest.json").read_text())["similarity"] == similarity


@pytest.mark.parametrize(("stored", "dim"), [(128, None), (64, None), (64, 32), (None, 32)])
def test_queries_are_cut_as_the_vectors_were(stored, dim, encode, search, model, pages, queries):
    cut = dim or stored
    wanted, documents = model.encode_query(queries[:1]), model.encode_document(pages)
    scores = model.similarity(wanted[:, :cut], documents[:, :cut])
    result = search(encode(dim=stored), queries[0], dim=dim)
    assert result.hits == [ranked(scores[0], NAMES, 6)]
    assert result.dim == cut


def test_stored_int8_is_searched_with_its_own_ranges(encode, search, model, queries):
    from sentence_transformers.util import quantize_embeddings

    whole = encode(name="whole", dim=32) / "part-00000.parquet"
    folder = encode(precision="int8", dim=32, ranges=whole)
    ranges = json.loads((folder / "_ranges.json").read_text())["ranges"]["32"]
    wanted = model.encode_query(queries[:1], truncate_dim=32, normalize_embeddings=True)
    codes = quantize_embeddings(wanted, "int8", ranges=np.array([ranges["low"], ranges["high"]]))
    import pyarrow.parquet as pq

    stored = np.array(pq.read_table(folder / "part-00000.parquet")["embedding"].to_pylist(), dtype=np.float64)
    codes = codes.astype(np.float64)[0]
    scores = stored @ codes / np.linalg.norm(stored, axis=1) / np.linalg.norm(codes)
    assert search(folder, queries[0]).hits == [ranked(torch.from_numpy(scores), NAMES, 6)]


def test_queries_given_as_vectors(encode, search, here, model, queries):
    import pandas

    folder = encode(dim=64)
    by_text = search(folder, *queries[:2], dim=32)
    assert by_text.to_dict()["model"] == "model"
    (here / "two.txt").write_text("\n".join(queries[:2]))
    wanted = model.encode_query(queries[:2])
    np.save("whole.npy", wanted)
    np.save("one.npy", wanted[0, :64].astype(np.float64))
    pandas.DataFrame({"id": ["a", "b"], "embedding": list(wanted[:, :32])}).to_parquet("cut.parquet")
    encode(["two.txt"], "encoded", dim=64, prompt_name="query")
    close = [[(name, pytest.approx(score, abs=2e-6)) for name, score in hits] for hits in by_text.hits]
    for given, names in [
        ("whole.npy", ["whole.npy#0", "whole.npy#1"]),
        ("one.npy", ["one.npy#0"]),
        ("cut.parquet", ["a", "b"]),
        ("encoded", ["two.txt#0", "two.txt#1"]),
    ]:
        result = search(folder, given=here / given, dim=32)
        assert result.hits == close[: len(names)]
        assert [query.name.removeprefix(f"{here}/") for query in result.queries] == names
        assert result.to_dict()["model"] is None


def test_given_vectors_that_do_not_fit_are_refused(encode, search, here):
    folder = encode(dim=64)
    encode(["texts.txt"], "bits", dim=64, precision="binary")
    shutil.copytree(here / "vectors", here / "others")
    manifest = json.loads((here / "others" / "_manifest.json").read_text()) | {"weights": "0"}
    (here / "others" / "_manifest.json").write_text(json.dumps(manifest))
    np.save("width.npy", np.ones((2, 50)))
    np.save("empty.npy", np.ones((0, 64)))
    np.save("nan.npy", np.array([[1.0] * 64, [np.nan] * 64]))
    np.save("words.npy", np.array(["a", "b"]))
    np.save("objects.npy", np.array([None, 1], dtype=object))
    (here / "no.npy").write_text("no")
    (here / "no.parquet").write_text("no")
    import pandas

    pandas.DataFrame({"vector": [[1.0]]}).to_parquet("column.parquet")
    pandas.DataFrame({"embedding": [[1.0] * 64, [1.0] * 63]}).to_parquet("ragged.parquet")
    pandas.DataFrame({"embedding": [1.0, 2.0]}).to_parquet("flat.parquet")
    for name, sentence in {
        "gone.npy": "gone.npy: no such file or folder",
        "texts.txt": "write a .npy or .parquet file",
        "width.npy": "vectors of 50 dimensions; 64 or 128 are needed",
        "empty.npy": "there are no vectors in it",
        "nan.npy": "vector 1 holds NaN or infinity",
        "words.npy": "<U1 of shape (2,)",
        "objects.npy": "no .npy file of numbers",
        "no.npy": "no .npy file of numbers",
        "no.parquet": "no parquet file with a column embedding",
        "column.parquet": "no parquet file with a column embedding",
        "ragged.parquet": "no parquet file with a column embedding",
        "flat.parquet": "holds double, not lists of numbers",
        "bits": "holds binary, and queries are given as floats",
        "others": "whose weights differ",
        "pages": "no folder that `mmst encode` wrote",
    }.items():
        with pytest.raises(DataError) as error:
            search(folder, given=here / name)
        assert sentence in str(error.value), name


def test_a_model_that_is_gone_or_changed_is_said(encode, search, here, model, quiet):
    folder = encode()
    shutil.move("model", "moved")
    with pytest.raises(ModelError, match=r"made by the model in model, which is not there any more.*--model"):
        search(folder, "a page")
    assert search(folder, "a page", model="moved").hits
    with torch.no_grad():
        next(model.parameters()).add_(1)
    model.save(str(here / "model"))
    for options in ({}, {"model": "model"}):
        with pytest.raises(ModelError, match="the weights of model are not those that made the vectors"):
            search(folder, "a page", **options)


def test_the_record_names_the_weights_where_the_manifest_does_not(encode, search, here, model):
    folder = encode()
    manifest = json.loads((folder / "_manifest.json").read_text())
    del manifest["weights"], manifest["similarity"]
    (folder / "_manifest.json").write_text(json.dumps(manifest))
    assert search(folder, "a page").similarity == "cosine"
    with torch.no_grad():
        next(model.parameters()).add_(1)
    model.save(str(here / "model"))
    with pytest.raises(ModelError, match="the weights of model are not those"):
        search(folder, "a page")


def test_a_model_of_the_hub_is_taken_at_its_commit(store, quiet):
    folder = store(np.eye(3), model="some/model", commit="abc", revision="main", weights=None)
    assert find_query_model(folder, None, quiet) == ("some/model", "abc")
    assert not quiet.shown.getvalue()
    assert find_query_model(folder, "other/model", quiet) == ("other/model", None)
    assert "whether other/model is some/model, which made the vectors, can't be seen" in quiet.shown.getvalue()


@pytest.mark.parametrize(("key", "value"), [("dtype", "float8"), ("media", {"dpi": "many"}), ("media", 5)])
def test_a_damaged_record_is_said(key, value, encode, search):
    record = encode() / "_job.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {key: value}))
    with pytest.raises(DataError, match=r"_job\.json: damaged"):
        search(record.parent, "a page")
    record.unlink()
    assert search(record.parent, "a page").hits


def test_what_the_model_does_not_take_is_refused(encode, search, here):
    (here / "tone.wav").write_bytes(wav(tone(440)))
    (here / "broken.png").write_bytes(b"no image")
    folder = encode()
    for query, sentence in [
        ("tone.wav", "QUERY: tone.wav: audio, but the model takes text, image, video"),
        ("<|image_pad|>", "QUERY: <|image_pad|>: the model's processor refuses it"),
        ("broken.png", "QUERY: broken.png: "),
    ]:
        with pytest.raises((ModelError, DataError)) as error:
            search(folder, "a page", query)
        assert sentence in str(error.value)
    with pytest.raises(ModelError, match=r"--prompt-name qery: no such prompt; the model has .*Did you mean query"):
        search(folder, "a page", prompt_name="qery")


def test_arguments_that_do_not_go_together_are_refused(encode, search, here):
    folder = encode()
    np.save("one.npy", np.ones(128))
    (here / "there.html").write_text("mine")
    for arguments, options, sentence in [
        ((), {}, "QUERY: nothing to look for"),
        (("a",), {"given": here / "one.npy"}, "--vectors: these are the queries"),
        (("-", "-"), {}, "can be read only once"),
        ((), {"given": here / "one.npy", "model": "model"}, "--vectors: nothing is embedded"),
        (("a",), {"top": 0}, "--top: 0"),
        (("a",), {"index": "hnsw"}, "--index hnsw: write exact or faiss"),
        (("a",), {"page": here / "there.html"}, "--html: .*there.html is there already"),
        (("a",), {"page": here / "pages"}, "--html: .*pages is a folder"),
        (("a",), {"page": here / "model" / "config.json" / "page.html"}, "--html: .*is a file; name a folder"),
    ]:
        with pytest.raises((ConfigError, RunError), match=sentence):
            search(folder, *arguments, **options)
    assert (here / "there.html").read_text() == "mine"


def test_the_page_shows_what_was_found(encode, search, here, queries):
    folder = encode(["pages", "texts.txt"])
    text = "<script>window.hacked = 1</script>"
    search(folder, text, "pages/2.png", top=20, page=here / "page.html")
    page = Page(here / "page.html")
    assert [image["alt"] for image in page.all("img")].count("Query pages/2.png") == 1
    assert sum(image["alt"].startswith("Document pages/") for image in page.all("img")) == 12
    assert text in page.text and not page.all("script")
    assert all(query in page.text for query in queries)
    assert "13 in" in page.text and "128 dimensions as float32" in page.text
    shutil.rmtree("pages")
    search(folder, "a page", page=here / "page.html", overwrite=True)
    assert Page(here / "page.html").text.count("No longer where it was.") >= 3


def test_a_page_of_many_documents_shows_the_first(encode, search, here, monkeypatch):
    monkeypatch.setattr(search_page, "HITS", 4)
    monkeypatch.setattr(search_page, "SHOWN", 2)
    search(encode(), "one", "two", "three", page=here / "page.html")
    page = Page(here / "page.html")
    assert len(page.all("img")) == 8
    assert page.text.count("2 more are not shown.") == 2
    assert "1 more query is not shown" in page.text


def test_rows_of_tables_are_shown(encode, search, here, pages, queries, encoded):
    import pandas

    rows = {"query": queries[:6], "page": [encoded(page) for page in pages]}
    pandas.DataFrame(rows).to_parquet("rows.parquet")
    search(encode(["rows.parquet"], columns=["page"]), "a page", page=here / "page.html")
    assert len(Page(here / "page.html").all("img")) == 6
    search(encode(["rows.parquet"], "texts", columns=["query"]), "a page", page=here / "texts.html")
    assert all(query in Page(here / "texts.html").text for query in queries[:6])
    (here / "rows.parquet").unlink()
    search(here / "texts", "a page", page=here / "texts.html", overwrite=True)
    assert "rows.parquet: no such file" in Page(here / "texts.html").text


@pytest.fixture
def mmst():
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command(encode, mmst, here, queries):
    encode()
    done = mmst("search", "vectors", queries[0], "-k", 3, "--json")
    assert done.exit_code == 0
    result = json.loads(done.stdout)
    assert [hit["rank"] for hit in result["queries"][0]["hits"]] == [1, 2, 3]
    assert (result["vectors"], result["precision"], result["index"]) == ("vectors", "float32", "exact")
    done = mmst("search", "vectors", queries[0], "--top", 2, "--html", "page.html")
    assert "rank   score  id" in done.stdout and "page: page.html" in done.stdout


def test_mistakes_are_a_line_and_end_with_2(encode, mmst, here):
    encode()
    (here / "vectors" / "_manifest.json").rename("kept")
    half = mmst("search", "vectors", "a page")
    shutil.move("kept", here / "vectors" / "_manifest.json")
    for done, sentence in [
        (half, "error: VECTORS: vectors: half done; the command it was begun with ends it with --resume.\n"),
        (mmst("search", "gone", "a page"), "error: VECTORS: gone: no such folder; `mmst encode` writes one.\n"),
        (mmst("search", "pages", "a page"), "error: VECTORS: pages: no folder that `mmst encode` wrote"),
        (mmst("search", "vectors", "a page", "--dim", 200), "error: --dim 200: the vectors of vectors have 128"),
        (mmst("search", "vectors"), "error: QUERY: nothing to look for"),
        (mmst("search", "vectors", "gone.png"), "error: QUERY: gone.png: no such file."),
    ]:
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr.startswith(sentence)
        assert "Traceback" not in done.stderr
