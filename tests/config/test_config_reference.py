"""docs/config.md is what the schema says."""

from config_reference import PAGE, page, shown


def test_the_page_is_written_from_the_schema():
    assert PAGE.read_text(encoding="utf-8") == page(), "python tests/config/config_reference.py writes it"


def test_every_key_has_a_meaning():
    assert [key.key for key in shown() if not key.description] == []
