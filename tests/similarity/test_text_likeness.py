"""Which texts say the same."""

import random

import pytest

from mmst_cli.similarity.sketch import is_near, sketch_of
from mmst_cli.similarity.text_likeness import normalise


def near(a, b):
    return is_near(sketch_of("text", a), sketch_of("text", b))


def long_text(seed, words=200):
    rng = random.Random(seed)
    return ["".join(rng.choices("abcdefghij", k=5)) for _ in range(words)]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("find the page", "Find the page!"),
        ("  a \n b ", "a b"),
        ("ﬁnd it", "find it"),
        ("page 10", "page, 10"),
        ("", "  "),
        ("日本語のページ", "日本語のページ"),
    ],
)
def test_the_same_in_other_writing(a, b):
    assert near(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("a page with a red header", "a page with a blue header"),
        ("page 10", "page 11"),
        ("?", "!"),
        ("a b", "ab"),
        ("", "a"),
    ],
)
def test_short_texts_differ_by_a_word(a, b):
    assert not near(a, b)


def test_a_long_text_with_few_other_words_is_the_same():
    words = long_text(0)
    changed = [*words[:100], "other", *words[101:]]
    assert near(" ".join(words), " ".join(changed))
    assert not near(" ".join(words), " ".join([*words[:100], *long_text(1, 100)]))
    assert not near(" ".join(words), " ".join(words[:49]))


def test_normalised_text_keeps_its_words():
    assert normalise("Find the  Page, please!") == "find the page please"
    assert normalise("?!") == "?!"
