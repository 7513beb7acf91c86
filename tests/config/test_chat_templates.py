import pytest

from mmst_cli.config.chat_templates import fill, parse_template, placeholders
from mmst_cli.errors import DataError


def chat(text, **row):
    return fill(parse_template([{"role": "user", "content": text}]), row)[0]["content"][0]["text"]


def test_the_columns_of_a_template():
    content = [{"type": "text", "text": "{a} and {b}"}, {"image": "page"}, {"text": "{a}"}]
    (message,) = parse_template([{"role": "user", "content": content}])
    assert message.sources == ["a", "b", "page", "a"]


def test_braces_stand_for_columns_and_doubled_ones_for_themselves():
    assert placeholders("{a} {{b}} {c d}") == ["a", "c d"]
    assert chat("{a} {{b}}", a="x {b}") == "x {b} {b}"


@pytest.mark.parametrize("text", ["{", "{a", "}", "{}", "{ }"])
def test_broken_braces(text):
    with pytest.raises(ValueError, match=r"."):
        placeholders(text)


def test_numbers_and_nothing_in_a_text():
    assert chat("{a}, {b}.", a=3, b=None) == "3, ."


@pytest.mark.parametrize("value", [["x"], {"a": 1}, b"x"])
def test_what_is_no_text(value):
    with pytest.raises(DataError, match="the template puts a into a text, but it holds"):
        chat("{a}", a=value)


def test_media_stand_as_they_are_stored():
    template = parse_template([{"role": "user", "content": [{"image": "page"}, {"audio": "sound"}]}])
    (message,) = fill(template, {"page": "a.png", "sound": None})
    assert message["content"] == [{"type": "image", "image": "a.png"}]
