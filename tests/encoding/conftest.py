import io
import json

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from mmst_cli.builtin.tiny_clap import build_tiny_clap
from mmst_cli.builtin.tiny_qwen3vl import build_tiny_qwen3vl
from mmst_cli.encoding.encode import run_encode
from mmst_cli.model.patch_embedding import multiply_patches
from mmst_cli.terminal import Terminal


@pytest.fixture(scope="session")
def model_folder():
    return str(build_tiny_qwen3vl())


@pytest.fixture(scope="session")
def model(model_folder):
    """The model as `mmst encode` has it: bitwise the same vectors, which are those of the library but for rounding."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(model_folder, device="cpu")
    multiply_patches(model)
    return model


@pytest.fixture(scope="session")
def clap_folder():
    return str(build_tiny_clap())


@pytest.fixture(scope="session")
def clap(clap_folder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(clap_folder, device="cpu")


@pytest.fixture
def folder(tmp_path, pages, monkeypatch):
    """Six pages in nested folders and a note, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pages" / "more").mkdir(parents=True)
    for number, page in enumerate(pages):
        page.save(tmp_path / "pages" / ("more" if number > 3 else ".") / f"{number}.png")
    (tmp_path / "pages" / "note.md").write_text("not a page")
    return tmp_path


@pytest.fixture
def said():
    return io.StringIO()


@pytest.fixture
def encode(model_folder, said):
    def run(inputs, output, **options):
        terminal = Terminal(Console(file=said, width=100), json_results=True)
        return run_encode(options.pop("model", model_folder), inputs, output, terminal=terminal, **options)

    return run


@pytest.fixture
def read_output():
    def read(output):
        import numpy

        ids, vectors = [], []
        for path in sorted(output.glob("part-*.parquet")):
            table = pq.read_table(path)
            ids += table["id"].to_pylist()
            vectors += table["embedding"].to_pylist()
        return ids, numpy.array(vectors, dtype="float32")

    return read


@pytest.fixture
def read_errors():
    def read(output):
        path = output / "_errors.jsonl"
        return {e["id"]: e["error"] for e in map(json.loads, path.read_text().splitlines())} if path.is_file() else {}

    return read
