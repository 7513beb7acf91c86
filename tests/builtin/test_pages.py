import dataclasses
import io
import os
import random
import re
import subprocess
import sys
from itertools import combinations

import numpy
import pytest
from PIL import Image

from mmst_cli.builtin import pages
from mmst_cli.builtin.combinations import NEAR_MISSES
from mmst_cli.builtin.pages import (
    EVAL_ROWS,
    PAGES,
    TRAIN_ROWS,
    build_pages,
    draw_page,
    generate_rows,
    write_query,
)


@pytest.fixture(scope="module")
def evaluated():
    return PAGES.held_out(EVAL_ROWS, 0)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MMST_CACHE", str(tmp_path))
    return tmp_path


def changes(one, other):
    return sum(a != b for a, b in zip(dataclasses.astuple(one), dataclasses.astuple(other), strict=True))


@pytest.mark.parametrize("name", ["train", "eval"])
def test_a_seed_gives_the_same_bytes_and_another_seed_gives_others(name):
    once, again, other = (list(generate_rows(name, 12, seed)) for seed in (0, 0, 1))
    assert once == again
    assert [row["query"] for row in once] != [row["query"] for row in other]
    assert [row["image"]["bytes"] for row in once] != [row["image"]["bytes"] for row in other]


def test_more_rows_begin_with_the_same_ones():
    assert list(generate_rows("train", 20))[:12] == list(generate_rows("train", 12))


def test_rows_hold_a_query_and_a_png_page():
    row = next(generate_rows("eval", 4))
    image = Image.open(io.BytesIO(row["image"]["bytes"]))
    assert (image.format, image.size, image.mode) == ("PNG", (96, 128), "RGB")
    assert isinstance(row["query"], str)


def test_train_and_eval_share_no_combination(evaluated):
    trained = PAGES.others(TRAIN_ROWS, set(evaluated), 0)
    assert (len(trained), len(evaluated)) == (17_300, 400)
    assert not set(trained) & set(evaluated)


def test_what_is_drawn_for_train_and_eval_shares_no_combination(monkeypatch):
    def drawn_for(name, count):
        drawn = []
        monkeypatch.setattr(pages, "draw_page", lambda *args: drawn.append(args) or Image.new("RGB", (1, 1)))
        assert sum(1 for _ in generate_rows(name, count)) == count
        return drawn

    trained, evaluated = drawn_for("train", TRAIN_ROWS), drawn_for("eval", EVAL_ROWS)
    assert not {page for page, _ in trained} & {page for page, _ in evaluated}
    assert not {noise for _, noise in trained} & {noise for _, noise in evaluated}
    assert len({noise for _, noise in trained + evaluated}) == TRAIN_ROWS + EVAL_ROWS


def test_eval_pages_all_differ_and_each_has_a_near_miss(evaluated):
    assert len(set(evaluated)) == EVAL_ROWS
    for page in evaluated:
        assert 1 <= min(changes(page, other) for other in evaluated if other is not page) <= 2


def test_an_answer_has_three_near_misses_in_the_corpus(evaluated):
    for centre in evaluated[:: NEAR_MISSES + 1]:
        assert sum(1 <= changes(centre, other) <= 2 for other in evaluated) >= NEAR_MISSES


def test_a_query_names_all_six_attributes(evaluated):
    rng = random.Random(3)
    for page in evaluated:
        query = write_query(page, rng)
        values = dataclasses.astuple(page)
        for value in values:
            assert len(re.findall(rf"\b{value}\b", query)) >= values.count(value), query


@pytest.mark.parametrize("attribute", list(PAGES.domains))
def test_every_value_of_an_attribute_looks_different(attribute, evaluated):
    base = evaluated[0]
    drawn = [draw_page(dataclasses.replace(base, **{attribute: value}), 7) for value in PAGES.domains[attribute]]
    for one, other in combinations(drawn, 2):
        assert numpy.any(abs(numpy.int16(one) - numpy.int16(other)) > 60, axis=2).sum() > 40  # pixels


def test_noise_changes_a_page_but_not_its_header(evaluated):
    one, other = draw_page(evaluated[0], 1), draw_page(evaluated[0], 2)
    assert one.tobytes() != other.tobytes()
    assert one.getpixel((48, 5)) == other.getpixel((48, 5)) == pages.COLOURS[evaluated[0].header]


def test_a_second_call_builds_nothing(cache, monkeypatch):
    folder = build_pages("eval", 8)
    monkeypatch.setattr(pages, "generate_rows", None)
    assert build_pages("eval", 8) == folder
    assert folder.parent == cache
    assert list(cache.iterdir()) == [folder]


def test_each_content_has_its_own_folder(cache):
    folders = {build_pages("eval", 4), build_pages("train", 4), build_pages("eval", 8), build_pages("eval", 4, seed=1)}
    assert len(folders) == 4


def test_a_build_that_fails_leaves_nothing(cache, monkeypatch):
    def fail(*_args):
        yield {"query": "a", "image": None}
        raise KeyboardInterrupt

    monkeypatch.setattr(pages, "generate_rows", fail)
    with pytest.raises(KeyboardInterrupt):
        build_pages("eval", 8)
    assert list(cache.iterdir()) == []


def test_a_killed_build_is_never_taken_for_a_whole_one(cache):
    code = (
        "import os; from pathlib import Path; from mmst_cli import storage\n"
        "def build(folder): (folder / 'half').write_text('x'); os.kill(os.getpid(), 9)\n"
        "storage.build_folder(storage.cache_folder() / 'pages', build)"
    )
    source = os.pathsep.join(sys.path)
    killed = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": source}, check=False)
    assert killed.returncode == -9
    assert not (cache / "pages").exists()
