import json

import numpy
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mmst_cli.errors import MmstError
from mmst_cli.vectors.quantise import ranges_of, shorten
from mmst_cli.vectors.ranges import find_ranges, load_ranges, measure_ranges, save_ranges, without_width


@pytest.fixture
def vectors():
    return torch.nn.functional.normalize(torch.randn(50, 16, generator=torch.Generator().manual_seed(0)), dim=1)


@pytest.fixture
def run(tmp_path, vectors):
    """A run folder in which an evaluator saved ranges at three dimensions."""
    save_ranges(tmp_path / "run" / "eval" / "pages.ranges.json", measure_ranges(vectors, [16, 8, 3], "model"))
    save_ranges(tmp_path / "run" / "eval" / "pages.before.ranges.json", measure_ranges(-vectors, [16], "before"))
    return tmp_path / "run"


def write_vectors(path, vectors, kind=None):
    flat = pa.array(vectors.numpy().ravel(), kind or pa.float32())
    pq.write_table(pa.table({"embedding": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])}), path)
    return path


def test_they_are_those_of_the_vectors_as_written(vectors):
    measured = measure_ranges(vectors, [16, 8], "model")
    assert (measured.dimension, measured.vectors, measured.normalised) == (16, 50, True)
    assert numpy.array_equal(measured.by_dim[16], ranges_of(vectors))
    assert numpy.array_equal(measured.by_dim[8], ranges_of(torch.nn.functional.normalize(vectors[:, :8], dim=1)))
    assert not measure_ranges(vectors * 2, [16], "model").normalised


def test_saved_and_loaded_they_are_the_same(tmp_path, vectors):
    saved = measure_ranges(vectors * numpy.pi, [16, 8], "model")
    loaded = load_ranges(save_ranges(tmp_path / "some.ranges.json", saved))
    assert {**vars(loaded), "by_dim": None} == {**vars(saved), "by_dim": None}
    for dim in (16, 8):
        assert loaded.by_dim[dim].dtype == numpy.float32
        assert numpy.array_equal(loaded.by_dim[dim], saved.by_dim[dim])


def test_those_of_a_run_are_found(run, vectors):
    path, whole = find_ranges(str(run), None, None)
    assert path == run / "eval" / "pages.ranges.json"
    assert list(whole.by_dim) == [16]
    _, cut = find_ranges(str(run), None, 8)
    assert numpy.array_equal(cut.by_dim[8], ranges_of(shorten(vectors, 8)))


@pytest.mark.parametrize("dim", [None, 16, 8])
def test_those_of_a_parquet_file_are_measured(dim, tmp_path, vectors, monkeypatch):
    monkeypatch.setattr("mmst_cli.vectors.ranges.BATCH", 7)  # the last batch holds one vector
    path = write_vectors(tmp_path / "part-00000.parquet", vectors)
    _, ranges = find_ranges("any", path, dim)
    assert (ranges.vectors, ranges.dimension, ranges.normalised) == (50, 16, True)
    assert numpy.array_equal(ranges.by_dim[dim or 16], ranges_of(shorten(vectors, dim)))


def test_none_saved_says_how_to_get_them(tmp_path):
    with pytest.raises(MmstError, match="mmst eval RUN --precisions float32,int8"):
        find_ranges(str(tmp_path), None, None)


def test_several_are_not_chosen_from(run, vectors):
    save_ranges(run / "eval" / "clips.ranges.json", measure_ranges(vectors, [16], "model"))
    with pytest.raises(MmstError, match=r"several: .*clips\.ranges\.json, .*pages\.ranges\.json"):
        find_ranges(str(run), None, None)


def test_a_dimension_that_was_not_measured(run):
    with pytest.raises(MmstError, match=r"ranges for 16, 8, 3 dimensions, not 4; .*--dims 4 --precisions"):
        find_ranges(str(run), None, 4)


def test_whole_vectors_that_would_be_normalised(tmp_path, vectors):
    path = save_ranges(tmp_path / "a.ranges.json", measure_ranges(vectors * 3, [16, 8], "model"))
    assert find_ranges("any", path, None)
    assert find_ranges("any", path, 8)
    with pytest.raises(MmstError, match="leave --dim out"):
        find_ranges("any", path, 16)


def test_broken_files_are_refused_in_a_sentence(tmp_path, vectors):
    path = save_ranges(tmp_path / "a.ranges.json", measure_ranges(vectors, [16], "model"))
    content = json.loads(path.read_text())
    content["ranges"]["16"]["low"][0] = None
    for text, words in (("{", "no ranges"), ("[]", "no ranges"), ("{}", "no ranges"), (json.dumps(content), "damaged")):
        path.write_text(text)
        with pytest.raises(MmstError, match=words):
            find_ranges("any", path, None)
    with pytest.raises(MmstError, match="no ranges"):
        find_ranges("any", tmp_path / "gone.json", None)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other.parquet")
    for name in ("broken", "other", "gone"):
        with pytest.raises(MmstError, match="no parquet file of vectors"):
            find_ranges("any", tmp_path / f"{name}.parquet", None)
    with pytest.raises(MmstError, match=r"measured on float32 ones"):
        find_ranges("any", write_vectors(tmp_path / "half.parquet", vectors.half(), pa.float16()), None)
    with pytest.raises(MmstError, match="1 vectors in it"):
        find_ranges("any", write_vectors(tmp_path / "one.parquet", vectors[:1]), None)
    with pytest.raises(MmstError, match="have 16 dimensions"):
        find_ranges("any", write_vectors(tmp_path / "all.parquet", vectors), 17)


@pytest.mark.parametrize("noise", [0.0, 1e-8])
def test_ranges_of_vectors_that_are_all_the_same_are_refused(tmp_path, vectors, noise):
    same = vectors[:1].repeat(20, 1)
    same = same + noise * torch.arange(20)[:, None]
    path = save_ranges(tmp_path / "a.ranges.json", measure_ranges(same, [16], "model"))
    with pytest.raises(MmstError, match=r"a.ranges.json: ranges of 20 vectors that are all the same"):
        find_ranges("model", path, 16)


def test_ranges_without_width_in_some_dimensions_are_counted(tmp_path, vectors):
    some = vectors.clone()
    some[:, 3:5] = 0.25
    path = save_ranges(tmp_path / "a.ranges.json", measure_ranges(some, [16, 4], "model"))
    assert without_width(find_ranges("model", path, None)[1]) == 2
    assert without_width(measure_ranges(vectors, [16], "model")) == 0
