import io
import json
import socket

import numpy
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer

from mmst_cli.errors import MmstError


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_images_of_a_folder_get_the_vectors_of_model_encode(folder, encode, read_output, model, pages, said):
    result = encode(["pages"], folder / "out", batch_size=4)
    ids, vectors = read_output(folder / "out")
    assert ids == [f"pages/{n}.png" for n in range(4)] + ["pages/more/4.png", "pages/more/5.png"]
    assert numpy.array_equal(vectors, model.encode(pages, batch_size=4))
    assert (result.count, result.parts, result.dimension, result.failed) == (6, 1, 128, 0)
    assert "pages: skipped 1 file of no kind that can be embedded." in said.getvalue()
    assert f"next: mmst search {folder}/out QUERY" in said.getvalue().replace("\n", "")


def test_patches_are_multiplied_instead_of_convolved(folder, encode, read_output, model_folder, pages, monkeypatch):
    expected = SentenceTransformer(model_folder, device="cpu").encode(pages)
    monkeypatch.setattr(torch.nn.Conv3d, "forward", None)
    encode(["pages"], folder / "out")
    numpy.testing.assert_allclose(read_output(folder / "out")[1], expected, rtol=0, atol=1e-6)
    with pytest.raises(MmstError):  # in half precision it would round otherwise than in the evaluation
        encode(["pages"], folder / "half", dtype="bfloat16")


def test_lines_of_text_get_the_vectors_of_model_encode(folder, encode, read_output, model, queries):
    (folder / "queries.txt").write_text("\ufeff" + "\n".join([*queries[:3], "", "  ", *queries[3:]]))
    encode(["queries.txt"], folder / "out", batch_size=4)
    ids, vectors = read_output(folder / "out")
    assert ids == [f"queries.txt#{n}" for n in (0, 1, 2, 5, 6, 7, 8)]
    assert numpy.array_equal(vectors, model.encode(queries, batch_size=4))


def test_lines_of_stdin(folder, encode, read_output, model, queries, monkeypatch):
    text = io.TextIOWrapper(io.BytesIO("\n".join(queries).encode()))
    monkeypatch.setattr("sys.stdin", text)
    encode(["-"], folder / "out")
    ids, vectors = read_output(folder / "out")
    assert ids == [f"-#{n}" for n in range(7)]
    assert numpy.array_equal(vectors, model.encode(queries))


@pytest.mark.parametrize("column", ["query", "page", "png"])
def test_columns_of_parquet(column, folder, encode, read_output, model, queries, pages):
    rows = {
        "query": queries[:6],
        "page": [{"bytes": png(page), "path": None} for page in pages],
        "png": [png(page) for page in pages],
    }
    pq.write_table(pa.table(rows), folder / "rows.parquet", row_group_size=4)
    encode(["rows.parquet"], folder / "out", columns=[column])
    ids, vectors = read_output(folder / "out")
    assert ids == [f"rows.parquet#{n}" for n in range(6)]
    assert numpy.array_equal(vectors, model.encode(queries[:6] if column == "query" else pages))


def test_two_columns_make_one_input_in_their_order(folder, encode, read_output, model, queries, pages):
    lines = [{"ocr": query, "file": f"pages/{n}.png"} for n, query in enumerate(queries[:4])]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    encode(["rows.jsonl"], folder / "out", columns=["ocr", "file:image"])
    expected = model.encode([{"text": q, "image": p} for p, q in zip(pages, queries[:4], strict=False)])
    assert numpy.array_equal(read_output(folder / "out")[1], expected)


def test_paths_of_a_csv_are_relative_to_it(folder, encode, read_output, model, pages):
    (folder / "pages" / "rows.csv").write_text("n,file\n0,0.png\n1,1.png\n")
    encode(["pages/rows.csv"], folder / "out", columns=["file:image"])
    assert numpy.array_equal(read_output(folder / "out")[1], model.encode(pages[:2]))


def test_texts_and_images_in_one_run(folder, encode, read_output, model, pages, queries):
    (folder / "queries.txt").write_text("\n".join(queries))
    encode(["queries.txt", "pages"], folder / "out")
    expected = numpy.concatenate([model.encode(queries), model.encode(pages)])
    assert numpy.array_equal(read_output(folder / "out")[1], expected)


def test_a_text_is_never_opened_or_fetched(folder, encode, read_output, model, monkeypatch):
    texts = ["pages/0.png", "https://example.com/a.png", "data:image/png;base64,iVBORw0KGgo="]
    expected = model.encode([{"text": text} for text in texts])
    (folder / "lines.txt").write_text("\n".join(texts))
    (folder / "rows.jsonl").write_text("\n".join(json.dumps({"query": text}) for text in texts))

    def refuse(*_args, **_kwargs):
        raise AssertionError("opened or fetched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(Image, "open", refuse)
    encode(["lines.txt"], folder / "out")
    encode(["rows.jsonl"], folder / "rows", columns=["query"])
    assert numpy.array_equal(read_output(folder / "out")[1], expected)
    assert numpy.array_equal(read_output(folder / "rows")[1], expected)


def test_dim_truncates_and_normalises(folder, encode, read_output, model, pages):
    result = encode(["pages"], folder / "out", dim=32)
    _, vectors = read_output(folder / "out")
    assert result.dimension == 32
    assert vectors.shape == (6, 32)
    assert numpy.array_equal(vectors, model.encode(pages, truncate_dim=32, normalize_embeddings=True))
    manifest = json.loads((folder / "out" / "_manifest.json").read_text())
    assert (manifest["dimension"], manifest["model_dimension"], manifest["normalised"]) == (32, 128, True)


def test_prompt_name(folder, model_folder, encode, read_output, queries, tmp_path):
    from sentence_transformers import SentenceTransformer

    prompts = {"query": "find: ", "document": "a page: ", "other": "more: "}
    prompted = SentenceTransformer(model_folder, device="cpu", prompts=prompts)
    prompted.save_pretrained(str(tmp_path / "prompted"), create_model_card=False)
    (folder / "queries.txt").write_text("\n".join(queries))
    # A collection is embedded as the documents of an evaluation are, unless another prompt is named.
    for name, as_named in (("query", "query"), ("other", "other"), ("document", "document"), (None, "document")):
        encode(["queries.txt"], folder / str(name), model=str(tmp_path / "prompted"), prompt_name=name)
        wanted = prompted.encode(queries, prompt_name=as_named)
        assert numpy.array_equal(read_output(folder / str(name))[1], wanted)
        assert json.loads((folder / str(name) / "_manifest.json").read_text())["prompt_name"] == as_named


def test_what_cannot_be_read_is_listed_and_the_rest_is_done(folder, encode, read_output, read_errors, pages, model):
    whole = (folder / "pages" / "1.png").read_bytes()
    (folder / "pages" / "1.png").write_bytes(whole[: len(whole) // 2])
    (folder / "pages" / "2.png").write_bytes(b"")
    Image.new("RGB", (4000, 4)).save(folder / "pages" / "3.png")  # read, and then refused by the processor
    result = encode(["pages"], folder / "out")
    ids, vectors = read_output(folder / "out")
    errors = read_errors(folder / "out")
    assert list(errors) == ["pages/1.png", "pages/2.png", "pages/3.png"]
    assert "truncated" in errors["pages/1.png"]
    assert "aspect ratio" in errors["pages/3.png"]
    assert ids == ["pages/0.png", "pages/more/4.png", "pages/more/5.png"]
    assert numpy.array_equal(vectors, model.encode([pages[0], *pages[4:]]))
    assert (result.count, result.failed) == (3, 3)


def test_all_inputs_failing_still_leaves_a_readable_output(folder, encode, read_output):
    (folder / "empty.png").write_bytes(b"")
    result = encode(["empty.png"], folder / "out")
    assert (result.count, result.failed) == (0, 1)
    assert pq.read_table(folder / "out" / "part-00000.parquet").num_rows == 0


def test_pandas_and_duckdb_read_it(folder, encode, read_output):
    duckdb, pandas = pytest.importorskip("duckdb"), pytest.importorskip("pandas")
    encode(["pages"], folder / "out", rows_per_part=4)
    ids, vectors = read_output(folder / "out")
    frame = pandas.concat(pandas.read_parquet(path) for path in sorted((folder / "out").glob("*.parquet")))
    assert list(frame["id"]) == ids
    assert numpy.array_equal(numpy.stack(frame["embedding"]), vectors)
    rows = duckdb.sql(f"select id, embedding from '{folder}/out/*.parquet' order by id").fetchall()
    assert [row[0] for row in rows] == sorted(ids)
    kind = pq.read_schema(folder / "out" / "part-00000.parquet").field("embedding").type
    assert kind == pa.list_(pa.float32(), 128)


def test_manifest(folder, encode, model_folder):
    import hashlib

    encode(["pages"], folder / "out", rows_per_part=4)
    manifest = json.loads((folder / "out" / "_manifest.json").read_text())
    assert manifest["model"] == model_folder
    assert (manifest["count"], manifest["failed"], manifest["precision"]) == (6, 0, "float32")
    assert [part["rows"] for part in manifest["parts"]] == [4, 2]
    for part in manifest["parts"]:
        content = (folder / "out" / part["file"]).read_bytes()
        assert part["sha256"] == hashlib.sha256(content).hexdigest()
    assert set(manifest["versions"]) == {"mmst", "sentence_transformers", "transformers", "torch"}


@pytest.mark.parametrize(
    ("inputs", "options", "words"),
    [
        (["gone.png"], {}, "gone.png: no such file"),
        (["https://example.com/a.png"], {}, "nothing is fetched"),
        (["note.md"], {}, "can't tell what this file is"),
        (["empty"], {}, "holds no images"),
        (["rows.csv"], {}, "--column: rows.csv has text, other"),
        (["rows.csv"], {"columns": ["txet"]}, "no column txet; there is text, other. Did you mean text?"),
        (["rows.csv"], {"columns": ["text:audio"]}, "rows.csv: audio, but"),
        (
            ["rows.csv"],
            {"columns": ["text:sound"]},
            "encode takes text, image, audio, video, message, mixed, not sound",
        ),
        (["rows.csv"], {"columns": ["text:message", "other"]}, "a message column is an input by itself"),
        (["report.docx"], {}, "report.docx: office files aren't read; convert it to PDF"),
        (["office"], {}, "holds no images, sounds, clips or PDF files"),
        (["office"], {}, "Convert the office documents"),
        (["pages"], {"pages": "0"}, "--pages 0: write all, first, or numbers from 1 such as 1,3."),
        (["pages"], {"pages": "last"}, "--pages last: write all"),
        (["pages"], {"media": {"dpi": 5}}, "--dpi: found 5"),
        (["pages"], {"media": {"max_seconds": 0.0}}, "--max-seconds: found 0"),
        (["pages"], {"media": {"max_frames": 1}}, "--max-frames: 1: the model takes 2 frames"),
        (["rows.csv"], {"columns": ["text", "other"]}, "different modalities"),
        (["broken.jsonl"], {"columns": ["text"]}, "broken.jsonl: can't be read"),
        (["pages"], {"columns": ["text"]}, "have columns"),
        (["-", "-"], {}, "only once"),
        (["blank.txt"], {}, "nothing to encode"),
        (["pages"], {"dim": 0}, "--dim: 0"),
        (["pages"], {"dim": 129}, "have 128 dimensions"),
        (["pages"], {"batch_size": 0}, "--batch-size: 0"),
        (["pages"], {"resume": True, "overwrite": True}, "Choose one"),
        (["pages"], {"prompt_name": "qeury"}, "no such prompt"),
        (["pages"], {"model": "./gone"}, "no such folder"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(inputs, options, words, folder, encode):
    (folder / "note.md").touch()
    (folder / "empty").mkdir()
    (folder / "rows.csv").write_text("text,other\na,b\n")
    (folder / "broken.jsonl").write_text("{'text'")
    (folder / "blank.txt").write_text("\n\n")
    (folder / "report.docx").write_bytes(b"PK")
    (folder / "office").mkdir()
    (folder / "office" / "report.docx").write_bytes(b"PK")
    with pytest.raises(MmstError) as caught:
        encode(inputs, folder / "out", **options)
    assert words in str(caught.value)
    assert caught.value.exit_code == 2
    assert not (folder / "out").exists()


@pytest.mark.parametrize("inputs", [["gone.png"], ["note.md"]])
def test_inputs_are_checked_before_the_model_is_loaded(inputs, folder, encode, monkeypatch):
    monkeypatch.setattr("mmst_cli.encoding.encoder.prepare_model", lambda *_, **__: pytest.fail("loaded"))
    (folder / "note.md").touch()
    with pytest.raises(MmstError):
        encode(inputs, folder / "out")


def test_a_modality_the_model_lacks(folder, encode):
    from tokenizers import Tokenizer, models
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    sizes = {"vocab_size": 4, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    BertModel(BertConfig(**sizes, intermediate_size=8)).save_pretrained(folder / "bert")
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "[PAD]": 1}, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]").save_pretrained(folder / "bert")
    with pytest.raises(MmstError, match=r"pages: image, but \./bert takes text"):
        encode(["pages"], folder / "out", model="./bert")
    assert not (folder / "out").exists()


def test_output_that_holds_something_is_refused(folder, encode):
    (folder / "out").mkdir()
    (folder / "out" / "thesis.tex").touch()
    with pytest.raises(MmstError, match=r"holds other files, such as thesis\.tex"):
        encode(["pages"], folder / "out", overwrite=True)
    encode(["pages"], folder / "new")
    with pytest.raises(MmstError, match="--resume"):
        encode(["pages"], folder / "new")


def test_overwrite_replaces_all_of_an_earlier_output(folder, encode, read_output):
    (folder / "pages" / "0.png").write_bytes(b"")
    encode(["pages"], folder / "out", rows_per_part=2)
    result = encode(["pages/1.png"], folder / "out", overwrite=True)
    assert result.parts == 1
    names = {path.name for path in (folder / "out").iterdir()}
    assert names == {"part-00000.parquet", "_manifest.json", "_job.json"}
    assert read_output(folder / "out")[0] == ["pages/1.png"]
