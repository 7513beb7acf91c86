import json

import numpy
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sentence_transformers.util import quantize_embeddings

from mmst_cli.errors import MmstError
from mmst_cli.vectors.ranges import load_ranges, measure_ranges, save_ranges


@pytest.fixture
def whole(model, pages):
    return model.encode(pages, convert_to_tensor=True)


@pytest.fixture
def run(folder, model, whole):
    """A run folder with a model and the ranges that an evaluation of it left."""
    model.save_pretrained(str(folder / "run" / "model"), create_model_card=False)
    ranges = measure_ranges(torch.cat([whole, -whole]), [128, 32], "run")
    save_ranges(folder / "run" / "eval" / "pages.ranges.json", ranges)
    return folder / "run"


def read(output):
    table = pa.concat_tables(pq.read_table(path) for path in sorted(output.glob("part-*.parquet")))
    return numpy.stack([numpy.array(row) for row in table["embedding"].to_pylist()])


def kind(output):
    return pq.read_schema(output / "part-00000.parquet").field("embedding").type


def manifest(output):
    return json.loads((output / "_manifest.json").read_text())


@pytest.mark.parametrize("dim", [None, 32, 13])
def test_half_and_bits_are_those_of_the_library(dim, folder, encode, model, pages):
    direct = model.encode(pages, truncate_dim=dim, normalize_embeddings=dim is not None)
    size = dim or 128
    encode(["pages"], folder / "half", dim=dim, precision="float16", rows_per_part=4)
    assert numpy.array_equal(read(folder / "half"), model_half := direct.astype("float16"))
    assert model_half.dtype == numpy.float16
    assert kind(folder / "half") == pa.list_(pa.float16(), size)
    encode(["pages"], folder / "bits", dim=dim, precision="binary", rows_per_part=4)
    assert numpy.array_equal(read(folder / "bits"), quantize_embeddings(direct, "ubinary"))
    assert kind(folder / "bits") == pa.list_(pa.uint8(), (size + 7) // 8)
    said = manifest(folder / "bits")
    assert (said["precision"], said["bytes_per_vector"], said["normalised"]) == ("binary", (size + 7) // 8, None)
    assert said["packing"].startswith("ubinary")
    assert manifest(folder / "half")["bytes_per_vector"] == 2 * size


@pytest.mark.parametrize("dim", [None, 128, 32])
def test_int8_uses_the_ranges_of_the_run(dim, folder, encode, model, pages, run):
    encode(["pages"], folder / "out", model=str(run), dim=dim, precision="int8")
    direct = model.encode(pages, truncate_dim=dim, normalize_embeddings=dim is not None)
    saved = load_ranges(run / "eval" / "pages.ranges.json").by_dim[dim or 128]
    assert numpy.array_equal(read(folder / "out"), quantize_embeddings(direct, "int8", ranges=saved))
    assert kind(folder / "out") == pa.list_(pa.int8(), dim or 128)
    said = manifest(folder / "out")["ranges"]
    assert said["origin"].endswith("run/eval/pages.ranges.json")
    assert (said["vectors"], said["model"]) == (12, "run")
    assert said["digest"] == json.loads((folder / "out" / "_job.json").read_text())["ranges"]


def test_queries_take_the_ranges_that_lie_beside_the_vectors(folder, encode, model, run, queries):
    encode(["pages"], folder / "out", model=str(run), dim=32, precision="int8")
    (folder / "queries.txt").write_text(queries[0])
    ranges = folder / "out" / "_ranges.json"
    encode(["queries.txt"], folder / "query", dim=32, precision="int8", ranges=ranges)
    direct = model.encode(queries[:1], truncate_dim=32, normalize_embeddings=True)
    expected = quantize_embeddings(direct, "int8", ranges=load_ranges(ranges).by_dim[32])
    assert numpy.array_equal(read(folder / "query"), expected)


def test_ranges_of_vectors_that_were_encoded_before(folder, encode, model, pages):
    encode(["pages"], folder / "floats")
    part = folder / "floats" / "part-00000.parquet"
    encode(["pages"], folder / "out", dim=32, precision="int8", ranges=part)
    direct = model.encode(pages, truncate_dim=32, normalize_embeddings=True)
    assert numpy.array_equal(read(folder / "out"), quantize_embeddings(direct, "int8"))


def test_resume_keeps_to_the_precision_and_the_ranges(folder, encode, run, whole):
    options = {"model": str(run), "precision": "int8", "rows_per_part": 2}
    encode(["pages"], folder / "out", **options)
    before = {path.name: path.read_bytes() for path in (folder / "out").iterdir()}
    (folder / "out" / "part-00001.parquet").unlink()
    encode(["pages"], folder / "out", resume=True, **options)
    assert {path.name: path.read_bytes() for path in (folder / "out").iterdir()} == before
    with pytest.raises(MmstError, match='was begun with precision "int8", and now it is "float16"'):
        encode(["pages"], folder / "out", resume=True, **{**options, "precision": "float16"})
    save_ranges(run / "eval" / "pages.ranges.json", measure_ranges(whole, [128], "run"))
    with pytest.raises(MmstError, match="was begun with ranges"):
        encode(["pages"], folder / "out", resume=True, **options)
    assert {path.name: path.read_bytes() for path in (folder / "out").iterdir()} == before


@pytest.mark.parametrize("precision", ["float16", "int8", "binary"])
def test_pandas_and_duckdb_read_it(precision, folder, encode, run):
    duckdb, pandas = pytest.importorskip("duckdb"), pytest.importorskip("pandas")
    encode(["pages"], folder / "out", model=str(run), precision=precision)
    expected = read(folder / "out").tolist()
    frame = pandas.read_parquet(folder / "out" / "part-00000.parquet")
    assert numpy.stack(frame["embedding"]).tolist() == expected
    rows = duckdb.sql(f"select embedding from '{folder}/out/*.parquet'").fetchall()
    assert [list(row[0]) for row in rows] == expected


def test_hamming_search_on_what_was_written(folder, encode, model, pages, queries):
    (folder / "queries.txt").write_text("\n".join(queries))
    encode(["pages"], folder / "out", precision="binary")
    encode(["queries.txt"], folder / "query", precision="binary")
    stored, asked = (numpy.unpackbits(read(folder / name).astype("uint8"), axis=1) for name in ("out", "query"))
    found = (asked[:, None] != stored[None]).sum(axis=2)
    signs, query_signs = model.encode(pages) > 0, model.encode(queries) > 0
    assert numpy.array_equal(found, (query_signs[:, None] != signs[None]).sum(axis=2))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precision": "int4"}, "--precision: int4: no such precision. Write float32, float16, int8 or binary."),
        ({"precision": "int8"}, "--ranges a parquet file"),
        ({"precision": "int8", "dim": 7, "model": "run"}, "not 7"),
        ({"precision": "binary", "ranges": True}, "only int8 vectors have ranges"),
        ({"precision": "int8", "ranges": True}, "they are of vectors of 16 dimensions, and those of"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(options, words, folder, encode, run):
    if options.get("ranges"):
        ranges = measure_ranges(torch.randn(9, 16), [16], "another")
        options = {**options, "ranges": save_ranges(folder / "other.ranges.json", ranges)}
    with pytest.raises(MmstError) as caught:
        encode(["pages"], folder / "out", **options)
    assert words in str(caught.value)
    assert not (folder / "out").exists()


def test_a_vector_too_large_for_half_fails_alone(folder, encode, read_errors, monkeypatch):
    from mmst_cli.vectors import input_stream

    def enlarge(_model, _device, group, _raw):
        vectors = torch.ones(len(group.places), 128)
        vectors[1:2] *= 1e6
        return vectors

    monkeypatch.setattr(input_stream, "forward", enlarge)
    result = encode(["pages"], folder / "out", precision="float16")
    assert (result.count, result.failed) == (5, 1)
    assert "finite in float16" in read_errors(folder / "out")["pages/1.png"]
