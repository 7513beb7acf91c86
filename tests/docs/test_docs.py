"""The pages that people read: no link leads nowhere, all are on the site, and every option in them is one."""

import re
import shlex

import pytest
import typer.main
from page_blocks import PAGES, ROOT, commands_of, name_of, text_of

from mmst_cli.cli import app

LINK = re.compile(r"\]\((?!https?://|mailto:)([^)\s]+)\)")


def anchors_of(page):
    headings = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for target in LINK.findall(text_of(page)):
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors_of(path), target


def parse(words):
    """Parse the words of a command of `mmst` by its options."""
    group = typer.main.get_command(app)
    context = group.context_class(group, info_name="mmst")
    if not words or words[0].startswith("-"):
        group.make_parser(context).parse_args(list(words))
        return
    name, command, rest = group.resolve_command(context, list(words))
    command.make_parser(command.context_class(command, context, name)).parse_args(rest)


@pytest.mark.parametrize("page", [page for page in PAGES if commands_of(page)], ids=name_of)
def test_every_option_is_one(page):
    """Of those commands, too, that can't run here."""
    for command in commands_of(page):
        words = shlex.split(command.line, comments=True)
        starts = [place + 1 for place, word in enumerate(words) if word in ("mmst", ".venv/bin/mmst", "mmst_cli")]
        for start in starts:
            ends = [place for place in range(start, len(words)) if words[place] in ("|", "<", ">", "&&", ";")]
            parse(words[start : min(ends, default=len(words))])


def test_an_option_that_is_not_there_would_be_found():
    with pytest.raises(Exception, match="No such option: --nope"):
        parse(["train", "x.yaml", "--nope"])


def test_every_page_is_on_the_site_and_the_readme_stays_short():
    nav = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f'"{page.name}"' not in nav] == []
    assert len(text_of(ROOT / "README.md").splitlines()) < 250
