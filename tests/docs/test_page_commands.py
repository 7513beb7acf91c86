"""Every command of the pages runs as it is written, in a folder that has in small what its reader has."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from page_blocks import PAGES, ROOT, Command, blocks_of, commands_in, commands_of, name_of
from page_folders import clone, file, made, model, photos, reranker, scans, table, texts
from warm_mmst import PYTHON, WarmMmst

README, ELSEWHERE = ROOT / "README.md", ROOT / "docs/vectors-elsewhere.md"
QWEN = "Qwen/Qwen3-VL-Embedding-2B"
PAGES_TABLE = {"query": "question", "image": "page"}
QUESTION = "find the page with a red header\n"


def quickstart(folder: Path) -> None:
    """Stands for the run of the first command of README.md, which is made once."""


FOLDERS = {  # what the reader of a page has; of each page with commands
    "README.md": [clone, quickstart],
    "docs/checking.md": [clone],
    "docs/choosing-a-size.md": [clone, quickstart],
    "docs/encoding-and-search.md": [
        clone,
        quickstart,
        table("pages-0.parquet", columns=PAGES_TABLE, rows=6),
        table("bucket/pages.parquet", columns={"image": "page", "query": "title"}, rows=6),
        table("owner/dataset/test.parquet", columns={"image": "image"}, rows=6),
        file("questions.txt", QUESTION),
        scans,
    ],
    "docs/encoding-on-a-cluster.md": [],
    "docs/first-search.md": [photos, model(QWEN, "builtin:tiny-qwen3-vl")],
    "docs/guarantees.md": [clone],
    "docs/hard-negatives.md": [
        clone,
        quickstart,
        table("pages.parquet", columns=PAGES_TABLE),
        texts("bucket/0.jsonl.gz"),
        model("M", "builtin:tiny-text"),
    ],
    "docs/losses.md": [
        texts("pages.parquet", rows=100),
        model("some/strong-model", "builtin:tiny-text"),
        model("some/small-model", "builtin:tiny-text"),
        reranker("some/reranker"),
    ],
    "docs/merging.md": [clone],
    "docs/one-24-gb-card.md": [clone],
    "docs/how-it-is-built.md": [clone],
    "docs/planning.md": [clone],
    "docs/own-clips.md": [
        made("clips", "examples/clips/make_clips.py", "--clips", 40),
        model(QWEN, "builtin:tiny-qwen3-vl-video"),
    ],
    "docs/own-pdfs.md": [
        made("reports", "examples/pdf-pages/make_reports.py", "--reports", 6),
        model(QWEN, "builtin:tiny-qwen3-vl"),
    ],
    "docs/own-sounds.md": [
        made("recordings", "examples/sounds/make_recordings.py", "--recordings", 50),
        model("laion/clap-htsat-unfused", "builtin:tiny-clap"),
    ],
    "docs/serving.md": [clone, quickstart],
    "docs/several-gpus.md": [],
    "docs/starting.md": [table("pages.parquet", columns=PAGES_TABLE)],
    "docs/tracking.md": [clone],
    "docs/training.md": [clone, quickstart],
    "docs/vectors-elsewhere.md": [clone, quickstart],  # its own test, below
    "examples/clips/README.md": [clone],
    "examples/pdf-pages/README.md": [clone],
    "examples/sounds/README.md": [clone],
}
FOUND = {  # what the page of a search shows
    "docs/first-search.md": "IMG_0",
    "docs/own-clips.md": "clip-0",
    "docs/own-pdfs.md": "report-0",
    "docs/own-sounds.md": "recording-0",
    "examples/clips/README.md": "clip-0",
    "examples/pdf-pages/README.md": "report-0",
    "examples/sounds/README.md": "recording-0",
}
INSTEAD = {  # what is run in another way, and why
    r"^\.venv/bin/mmst ": ("mmst ", "the virtualenv is the one of the tests"),
    r"(make_reports.py reports)$": (r"\1 --reports 6", "fewer files show that the commands go together"),
    r"(make_recordings.py recordings)$": (r"\1 --recordings 50", "fewer files show that the commands go together"),
    r"(make_clips.py clips)$": (r"\1 --clips 40", "fewer files show that the commands go together"),
    r"^(mmst train (examples/\S+|\w+)\.yaml\b(?!.*--dry-run).*)$": (
        r"\1 training.max_steps=2 training.per_device_train_batch_size=8"
        r" training.eval_strategy='no' training.save_strategy='no'",
        "two small steps show that it trains",
    ),
    r"max_pixels=360000": ("max_pixels=65536", "of large pages the tiny model makes many tokens, too"),
    r"s3://bucket/": ("bucket/", "tests/sources/test_remote_files.py reads from an object store"),
}
NOT_RUN = {  # what can't run here, and why
    r"^make quickstart$": "installs, and then trains, which `quickstart` has done in small",
    r"^pip install ": "installs",
    r"^mmst --install-completion$": "tests/test_completion.py runs it, as a child of the shell that it looks for",
    r"^ray start ": "needs machines",
    r"--engine ray": "tests/encoding/test_encode_ray.py encodes by a Ray, which takes long to start",
    r"--num-processes |^torchrun ": "tests/training/test_launchers.py starts processes, which import everything",
    r"^mmst plan .* --probe$": "tests/training/test_plan.py tries it under a limit, for the memory of a CPU has none",
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
    done = shell.run(line, folder, HOME=str(folder))
    assert (done.returncode != 0) == bool(command.error), (line, done.stderr)
    assert done.stderr.startswith(command.error), (line, done.stderr)
    return done.stdout


def is_run_here(command, page):
    """Say whether a command runs here, and on this page: what README.md repeats runs where it is explained."""
    repeated = page == README and command in [other for docs in PAGES if docs != README for other in commands_of(docs)]
    return not repeated and not any(re.search(pattern, command.line) for pattern in NOT_RUN)


@pytest.fixture
def reader(request, trained, tmp_path):
    """The folder that the reader of a page has."""
    for give in FOLDERS[name_of(request.param)]:
        if give is quickstart:
            shutil.copytree(trained, tmp_path / "runs/quickstart")
        else:
            give(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("page", "reader"),
    [(page, page) for page in PAGES if name_of(page) in FOLDERS if page != ELSEWHERE],
    ids=lambda page: name_of(page),
    indirect=["reader"],
)
def test_commands_run_as_they_are_written(page, shell, reader):
    for block in blocks_of(page):
        if named := re.match(r"# (\w+\.yaml)\b", block.text):  # a whole file, by its name
            (reader / named[1]).write_text(block.text)
    for block in blocks_of(page):
        if block.language == "python":
            run(shell, Command(f"{PYTHON} <<'END'\n{block.text}END"), reader)
        if block.language == "bash":
            for command in commands_in(block):
                if is_run_here(command, page):
                    run(shell, command, reader)
    if name_of(page) in FOUND:
        assert FOUND[name_of(page)] in (reader / "found.html").read_text()


def test_each_page_with_commands_has_a_folder():
    pages = {name_of(page) for page in PAGES if any(block.language in ("bash", "python") for block in blocks_of(page))}
    assert pages == set(FOLDERS)


@pytest.mark.parametrize("pattern", [*INSTEAD, *NOT_RUN])
def test_what_is_not_run_as_written_is_on_a_page_and_has_a_reason(pattern):
    lines = [command.line for page in PAGES for command in commands_of(page)]
    assert any(re.search(pattern, line) for line in lines)
    reason = NOT_RUN[pattern] if pattern in NOT_RUN else INSTEAD[pattern][1]
    assert all((ROOT / test).is_file() for test in re.findall(r"tests/\S+\.py", reason))


@pytest.mark.parametrize("reader", [ELSEWHERE], indirect=True)
def test_other_programs_find_what_the_search_finds(shell, reader):
    for command in commands_of(ELSEWHERE):
        run(shell, command, reader)
    found = json.loads(run(shell, Command("mmst search vectors --vectors query --top 3 --json"), reader))
    programs = [block.text for block in blocks_of(ELSEWHERE) if block.language == "python"]
    assert len(programs) == 4
    for program in programs:
        assert run(shell, Command(f"{PYTHON} <<'END'\n{program}print(nearest)\nEND"), reader).strip() == str(
            [hit["id"] for hit in found["queries"][0]["hits"]]
        )
