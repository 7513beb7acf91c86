"""Batches as large as a device's memory takes, on the CPU, whose tensors are counted against a limit."""

import json
import shutil

import numpy
import pyarrow.parquet as pq
import pytest
import torch
from counted_memory import limit
from text_job import WORDS

from mmst_cli.cli.encode_command import _batch_size
from mmst_cli.encoding.encode import run_encode
from mmst_cli.errors import ConfigError
from mmst_cli.vectors import found_sizes
from mmst_cli.vectors.batch_sizes import choose_sizes
from mmst_cli.vectors.found_sizes import DEFAULT

MIB = 2**20


@pytest.fixture
def shapes(monkeypatch):
    """The shapes of the token ids that the encoder was given; ``shapes.most`` tokens at a time, else it has no room."""
    from sentence_transformers.base.modules import Transformer

    class Shapes(list):
        most = 10**9

    found, forward = Shapes(), Transformer.forward

    def noting(module, features, **options):
        rows, tokens = features["input_ids"].shape
        if rows * tokens > found.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        found.append((rows, tokens))
        return forward(module, features, **options)

    monkeypatch.setattr(Transformer, "forward", noting)
    return found


def texts(lengths):
    """Return texts of so many words."""
    return [" ".join(f"{WORDS[(index + k) % 12]} {index}" for k in range(n)) for index, n in enumerate(lengths)]


LENGTHS = ([2] * 7 + [20]) * 45 + [60] * 5


@pytest.fixture
def encode(tmp_path, quiet):
    """Encode texts of so many words into a folder; returns id to vector, in order."""

    def encode(name, lengths=LENGTHS, **options):
        (tmp_path / "texts.txt").write_text("\n".join(texts(lengths)))
        run_encode("builtin:tiny-text", [str(tmp_path / "texts.txt")], tmp_path / name, terminal=quiet, **options)
        tables = [pq.read_table(part) for part in sorted((tmp_path / name).glob("part-*.parquet"))]
        ids = [one for table in tables for one in table["id"].to_pylist()]
        assert len(set(ids)) == len(ids) == len(lengths)
        return ids, numpy.concatenate([numpy.stack(table["embedding"].to_numpy()) for table in tables])

    encode.said = lambda: " ".join(quiet.console.file.getvalue().split())
    return encode


def test_long_texts_go_into_small_batches_and_short_ones_into_large_ones(encode, monkeypatch, shapes):
    ids, asked = encode("asked", batch_size=32)
    memory = limit(monkeypatch, 8 * MIB)
    shapes.clear()
    found_ids, found = encode("found", batch_size=None)
    assert found_ids == ids
    numpy.testing.assert_allclose(found, asked, atol=1e-6)
    longest = max(tokens for _, tokens in shapes)
    fits = max(rows for rows, tokens in shapes if tokens == longest)
    assert f"auto: {fits} of the longest texts go into a batch" in encode.said()
    assert max(peak for peak in memory.peaks if peak) <= 0.9 * memory.total
    real = shapes[1 + len(memory.peaks) :]  # behind the probe of the model and what was tried
    assert sum(rows for rows, _ in real) == len(ids)
    assert real[0] == (fits, longest) and max(rows for rows, _ in real) > 4 * fits
    assert all(rows * tokens <= fits * longest for rows, tokens in real)


def test_nothing_is_tried_on_the_cpu_and_the_default_is_said(encode):
    _, asked = encode("asked", batch_size=32)
    _, found = encode("found", batch_size=None)
    assert numpy.array_equal(asked, found)
    assert "--batch-size auto: 32 inputs go into a batch, for the memory of the CPU isn't measured." in encode.said()


def test_few_inputs_are_no_matter_of_memory(encode, monkeypatch):
    memory = limit(monkeypatch, 8 * MIB)
    encode("few", [3] * (DEFAULT - 1), batch_size=None)
    assert not memory.peaks


def test_a_longer_text_later_halves_its_batch_and_nothing_is_lost(encode, monkeypatch, shapes):
    ids, asked = encode("asked", [3] * 64 + [60] * 40, batch_size=32)
    limit(monkeypatch, 8 * MIB)
    # Of the first part, which holds no long text, as many fit as there are; then the device is found to be smaller.
    monkeypatch.setattr(found_sizes, "MOST", 64)
    shapes.most = 1500
    found_ids, found = encode("found", [3] * 64 + [60] * 40, batch_size=None, rows_per_part=64)
    assert found_ids == ids and encode.said().count("out of memory with") == 1
    numpy.testing.assert_allclose(found, asked, atol=1e-6)


def test_an_interrupted_job_goes_on_with_what_was_found(encode, monkeypatch, tmp_path):
    memory = limit(monkeypatch, 8 * MIB)
    encode("whole", batch_size=None, rows_per_part=100)
    tried = len(memory.peaks)
    shutil.copytree(tmp_path / "whole", tmp_path / "out")
    for number in (1, 2, 3):
        (tmp_path / f"out/part-{number:05d}.parquet").unlink()
    encode("out", batch_size=None, rows_per_part=100, resume=True)
    for part in sorted((tmp_path / "whole").glob("part-*")):
        assert (tmp_path / "out" / part.name).read_bytes() == part.read_bytes()
    assert len(memory.peaks) == tried
    assert json.loads((tmp_path / "out/_job.json").read_text())["batch_size"] == "auto"


def test_images_are_tried_by_the_largest_of_the_first(tmp_path, quiet, monkeypatch, pages):
    for number in range(40):
        page = pages[number % 6] if number != 17 else pages[0].resize((400, 500))
        page.save(tmp_path / f"{number:02d}.png")
    memory = limit(monkeypatch, 24 * MIB)
    run_encode("builtin:tiny-qwen3-vl", [str(tmp_path)], tmp_path / "out", batch_size=None, terminal=quiet)
    assert pq.read_table(tmp_path / "out/part-00000.parquet").num_rows == 40
    said = " ".join(quiet.console.file.getvalue().split())
    assert "inputs go into a batch, as the memory of the device allows." in said and len(memory.peaks) > 2


def test_all_processes_take_the_smallest(tiny_model, monkeypatch):
    limit(monkeypatch, MIB)
    said = []
    sizes = choose_sizes(tiny_model, None, None, None, said.append, None)
    sizes.take([{"sized": {"inputs": 9, "tokens": 90, "tried": 64}}, {"sized": {"inputs": 7, "tokens": 99}}, {}])
    sizes.take([{"sized": {"inputs": 8, "tokens": 90, "tried": 64}}])
    assert sizes.record() == {"sized": {"inputs": 8, "tokens": 90, "tried": 64}} and len(said) == 1
    assert sizes.inputs(sized=True) == 8 and sizes.inputs(sized=False) == DEFAULT


@pytest.mark.parametrize("given", ["0", "-3", "1.5", "car"])
def test_what_is_no_size_is_refused(given):
    with pytest.raises(ConfigError, match=rf"^--batch-size: {given}; write a whole number above 0, or auto\.$"):
        _batch_size(given)
    assert _batch_size("auto") is None and _batch_size("7") == 7
