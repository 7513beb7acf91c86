"""docs/troubleshooting.md: what it quotes is what the source says."""

import ast
import re

import pytest
from page_blocks import ROOT, text_of

PAGE = ROOT / "docs" / "troubleshooting.md"
ANYTHING = "…"
QUOTES = re.findall(r"^- `+(.*?)`+$", text_of(PAGE), re.MULTILINE)
SENTENCES = [sentence for line in QUOTES for sentence in line.split("`, `")]


def said(node):
    """Return a text of the source, with dots for what is put into it; None for what is no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[sd]", ANYTHING, node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(said(part) or ANYTHING for part in node.values)
    return None


@pytest.fixture(scope="module")
def texts():
    """All texts of the source that are long enough to be sentences."""
    trees = [ast.parse(text_of(path)) for path in sorted((ROOT / "src").rglob("*.py"))]
    return [text for tree in trees for node in ast.walk(tree) if (text := said(node)) and len(text) > 12]


def is_said(sentence, texts):
    """Say whether the words of a sentence between its dots stand in one text of the source, in their order."""
    pieces = [piece for piece in re.split(rf"{ANYTHING}+", sentence) if piece.strip(" :.,")]
    assert max(map(len, pieces)) > 10, sentence
    pattern = re.compile(".*".join(map(re.escape, pieces)), re.DOTALL)
    return any(pattern.search(text) for text in texts)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_sentence_of_the_page_is_one_of_the_source(sentence, texts):
    assert is_said(sentence, texts)


def test_a_sentence_that_nothing_says_would_be_found(texts):
    assert len(SENTENCES) > 60
    assert not is_said("datasets.…: these rows are of no use", texts)
    assert not is_said("permission denied … the disk is full", texts)
