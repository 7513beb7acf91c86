"""What every test stands on: no network, caches of its own, the tiny model and a few pages."""

import gc
import io
import os
import random
import shutil
import signal
import tempfile
from contextlib import nullcontext

import pytest

# Set before any library reads them.
_OWN_CACHE = tempfile.mkdtemp(prefix="mmst-tests-")
os.environ["HF_HOME"] = f"{_OWN_CACHE}/hf"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("MMST_CACHE", f"{_OWN_CACHE}/mmst")
for _name in ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR"):  # of the terminal that the tests are started in
    os.environ.pop(_name, None)
os.environ["TERM"] = "xterm"
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as of what a shell starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure():
    shutil.rmtree(_OWN_CACHE, ignore_errors=True)


def pytest_collection_modifyitems(items):
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device here"))


def pytest_collection_finish():
    """The trainer collects garbage twice a run; of what the imports made, there is none."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def streams_end_at_once():
    """The library waits five seconds at the end of each stream that reads several files, for threads of pyarrow."""
    import datasets.config

    datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0


@pytest.fixture(scope="session", autouse=True)
def asking_one_fresh_process():
    """All runs of the session ask one fresh process, which starts when the first asks."""
    from one_fresh_process import one_fresh_process

    with one_fresh_process():
        yield


@pytest.fixture(scope="module", autouse=True)
def charts_only_where_they_are_looked_at(request):
    """Tests of evaluation have them; all others have empty ones."""
    from empty_charts import empty_charts

    with nullcontext() if "evaluation" in request.path.parts else empty_charts():
        yield


@pytest.fixture(scope="session")
def tiny_model_path():
    """Folder of `builtin:tiny-qwen3-vl`."""
    from mmst_cli.builtin.tiny_qwen3vl import build_tiny_qwen3vl

    return build_tiny_qwen3vl()


@pytest.fixture(scope="session")
def tiny_model(tiny_model_path):
    """`builtin:tiny-qwen3-vl`, shared: leave it as it is."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(tiny_model_path), device="cpu")


@pytest.fixture(scope="session")
def page_rows():
    """A function giving ``n`` (query, page) pairs, each page with attributes of its own."""
    from mmst_cli.builtin.page_drawing import draw_page
    from mmst_cli.builtin.pages import PAGES, write_query

    def rows(n, seed=0):
        rng = random.Random(seed)
        pages = [PAGES.sample(rng) for _ in range(n)]
        return [(write_query(page, rng), draw_page(page, index)) for index, page in enumerate(pages)]

    return rows


@pytest.fixture(scope="session")
def pages():
    """Six generated pages."""
    from mmst_cli.builtin.page_drawing import draw_page
    from mmst_cli.builtin.pages import PAGES

    rng = random.Random(0)
    return [draw_page(PAGES.sample(rng), noise) for noise in range(6)]


@pytest.fixture(scope="session")
def queries():
    """Seven queries about pages."""
    from mmst_cli.builtin.pages import sample_queries

    return list(sample_queries(7))


@pytest.fixture(scope="session")
def encoded():
    """A function giving an image's file content."""

    def encode(image, kind="PNG"):
        file = io.BytesIO()
        image.save(file, kind)
        return file.getvalue()

    return encode


@pytest.fixture
def quiet():
    """A Terminal that shows nothing; ``quiet.console.file`` keeps what it said, ``quiet.shown`` the results."""
    from rich.console import Console

    from mmst_cli.terminal import Terminal

    terminal = Terminal(Console(file=io.StringIO(), width=100), json_results=True)
    terminal.shown = terminal.console.file
    return terminal


@pytest.fixture(scope="session")
def section():
    """A function giving a dataset section; the columns are query (text) and image unless others are given."""

    from mmst_cli.config.schema import ColumnConfig, DatasetConfig, Modality, Role, Use

    query_and_image = {
        "query": ColumnConfig(role=Role.anchor),
        "image": ColumnConfig(role=Role.positive, modality=Modality.image),
    }

    def make(path, columns=None, **fields):
        return DatasetConfig(use=Use.train, path=str(path), columns=columns or query_and_image, **fields)

    return make


@pytest.fixture(scope="session")
def prepare(section):
    """A function that prepares the section `train`."""
    from mmst_cli.rows.row_preparation import prepare_rows

    return lambda path, columns=None, seed=0, **fields: prepare_rows("train", section(path, columns, **fields), seed)


@pytest.fixture
def parquet(tmp_path):
    """A function that writes columns as pandas does, and returns the file."""
    import pandas

    def write(name="rows.parquet", **columns):
        pandas.DataFrame(columns).to_parquet(tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture(scope="session")
def png(encoded):
    """A function giving the content of a small PNG file of one colour."""
    from PIL import Image

    return lambda colour="red": encoded(Image.new("RGB", (20, 24), colour))


@pytest.fixture
def no_way_out(monkeypatch):
    """Whatever connects or opens an image fails."""
    import socket

    from PIL import Image

    def refuse(*_args, **_kwargs):
        raise AssertionError("connected or opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(Image, "open", refuse)


@pytest.fixture(scope="session")
def pair():
    """Starts commands in processes that cost no imports, alone or two that share their work."""
    from process_pair import ProcessPair

    pair = ProcessPair()
    yield pair
    pair.close()
