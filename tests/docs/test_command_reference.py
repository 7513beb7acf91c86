"""docs/commands.md is what the commands say of themselves."""

import re

from command_reference import PAGE, page


def test_the_page_is_written_from_the_commands():
    assert PAGE.read_text(encoding="utf-8") == page(), "python tests/docs/command_reference.py writes it"


def test_every_argument_and_option_has_a_meaning():
    lines = re.findall(r"^\| `(.+?)` \| (.*) \|$", page(), re.MULTILINE)
    assert len(lines) > 100
    assert [name for name, said in lines if not said] == []
