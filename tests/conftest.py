"""What every test stands on: no network, caches of its own, the tiny model and a few pages."""

import io
import os
import random
import shutil
import tempfile

import pytest

# Set before any library reads them.
_OWN_CACHE = tempfile.mkdtemp(prefix="mmst-tests-")
os.environ["HF_HOME"] = f"{_OWN_CACHE}/hf"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("MMST_CACHE", f"{_OWN_CACHE}/mmst")


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


@pytest.fixture(scope="session")
def tiny_model_path():
    """Folder of `builtin:tiny-qwen3-vl`."""
    from mmst_cli.model.tiny_qwen3vl import build_tiny_qwen3vl

    return build_tiny_qwen3vl()


@pytest.fixture(scope="session")
def tiny_model(tiny_model_path):
    """`builtin:tiny-qwen3-vl`, shared: leave it as it is."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(tiny_model_path), device="cpu")


@pytest.fixture(scope="session")
def page_rows():
    """A function giving ``n`` (query, page) pairs, each page with attributes of its own."""
    from mmst_cli.data.page_drawing import draw_page
    from mmst_cli.data.pages import PAGES, write_query

    def rows(n, seed=0):
        rng = random.Random(seed)
        pages = [PAGES.sample(rng) for _ in range(n)]
        return [(write_query(page, rng), draw_page(page, index)) for index, page in enumerate(pages)]

    return rows


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
