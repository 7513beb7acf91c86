"""Every command of the pages runs as it is written, in a folder that has in small what its reader has."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from page_blocks import PAGES, ROOT, blocks_of, commands_in, commands_of, name_of
from page_folders import FEW_STEPS, clone, file, model, photos, reranker, table, texts
from warm_mmst import WarmMmst

PAGES_TABLE = {"query": "question", "image": "page"}
QUESTION = "find the page with a red header\n"


def quickstart(folder: Path) -> None:
    """Stands for the run of the first command of README.md, which is made once."""


FOLDERS = {  # what the reader of a page has; of each page with commands
    "README.md": [clone, table("pages.parquet", columns=PAGES_TABLE)],
    "docs/checking.md": [clone],
    "docs/choosing-a-size.md": [clone, quickstart],
    "docs/encoding-and-search.md": [
        clone,
        quickstart,
        table("pages-0.parquet", columns=PAGES_TABLE, rows=6),
        texts("bucket/pages.parquet", rows=6),
        table("owner/dataset/test.parquet", columns={"image": "image"}, rows=6),
        file("questions.txt", QUESTION),
    ],
    "docs/encoding-on-a-cluster.md": [],
    "docs/first-search.md": [photos, model("Qwen/Qwen3-VL-Embedding-2B", "builtin:tiny-qwen3-vl")],
    "docs/guarantees.md": [clone],
    "docs/hard-negatives.md": [
        clone,
        quickstart,
        table("pages.parquet", columns=PAGES_TABLE),
        texts("bucket/0.jsonl.gz"),
        model("M", "builtin:tiny-text"),
    ],
    "docs/losses.md": [
        texts("pages.parquet"),
        model("some/strong-model", "builtin:tiny-text"),
        model("some/small-model", "builtin:tiny-text"),
        reranker("some/reranker"),
    ],
    "docs/merging.md": [clone],
    "docs/one-24-gb-card.md": [clone],
    "docs/serving.md": [clone, quickstart],
    "docs/several-gpus.md": [],
    "docs/starting.md": [table("pages.parquet", columns=PAGES_TABLE)],
    "docs/tracking.md": [clone],
    "docs/training.md": [clone, quickstart],
    "docs/vectors-elsewhere.md": [clone, quickstart],
}
INSTEAD = {  # what is run in another way, and why
    r"^make quickstart$": ("mmst train configs/quickstart.yaml", "make would install everything"),
    r"^\.venv/bin/mmst ": ("mmst ", "the virtualenv is the one of the tests"),
    r"s3://bucket/": ("bucket/", "tests/sources/test_remote_files.py reads from an object store"),
}
NOT_RUN = {  # what can't run here, and why
    r"^pip install ": "installs",
    r"^ray start ": "needs machines",
    r"--engine ray": "tests/encoding/test_encode_ray.py encodes by a Ray, which takes long to start",
    r"--num-processes |^torchrun ": "tests/training/test_launchers.py starts processes, which import everything",
    r"training\.push_to_hub=true": "tests/hub/test_pushing.py runs it with a stand-in of the hub",
}


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    shell = WarmMmst(tmp_path_factory.mktemp("warm"))
    yield shell
    shell.close()


@pytest.fixture(scope="module")
def trained(shell, tmp_path_factory):
    """The run folder of the quickstart in small."""
    folder = tmp_path_factory.mktemp("quickstart")
    clone(folder)
    done = shell.run("mmst train configs/quickstart.yaml", folder)
    assert done.returncode == 0, done.stderr
    return folder / "runs/quickstart"


def run(shell, command, folder):
    line = command.line
    for pattern, (instead, _) in INSTEAD.items():
        line = re.sub(pattern, instead, line)
    if not any(re.search(pattern, line) for pattern in NOT_RUN):
        done = shell.run(line, folder, HOME=str(folder))
        assert (done.returncode != 0) == bool(command.error), (line, done.stderr)
        assert done.stderr.startswith(command.error), (line, done.stderr)


@pytest.mark.parametrize("page", [page for page in PAGES if name_of(page) in FOLDERS], ids=name_of)
def test_commands_run_as_they_are_written(page, shell, trained, tmp_path):
    for give in FOLDERS[name_of(page)]:
        if give is quickstart:
            shutil.copytree(trained, tmp_path / "runs/quickstart")
        else:
            give(tmp_path)
    for block in blocks_of(page):
        if block.language == "yaml" and (named := re.match(r"# (\w+\.yaml)\b", block.text)):
            (tmp_path / named[1]).write_text(block.text)
        if block.language == "python":
            done = shell.run(f"{sys.executable} - <<'END'\n{block.text}END", tmp_path)
            assert done.returncode == 0, done.stderr
        if block.language == "bash":
            for command in commands_in(block):
                run(shell, command, tmp_path)


def test_each_page_with_commands_has_a_folder():
    pages = {name_of(page) for page in PAGES if commands_of(page)}
    assert pages == set(FOLDERS)


@pytest.mark.parametrize("pattern", [*INSTEAD, *NOT_RUN])
def test_what_is_not_run_as_written_is_on_a_page_and_has_a_reason(pattern):
    lines = [command.line for page in PAGES for command in commands_of(page)]
    assert any(re.search(pattern, line) for line in lines)
    reason = NOT_RUN[pattern] if pattern in NOT_RUN else INSTEAD[pattern][1]
    assert all((ROOT / test).is_file() for test in re.findall(r"tests/\S+\.py", reason))
