"""The pages that people read: no link leads nowhere, and every command in them is one, with options that it has."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from mmst_cli.cli import app

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks" / "README.md"])
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)\s]+)\)")
FENCED = re.compile(r"```bash\n(.*?)```", re.DOTALL)
IMPERFECT = {"CHANGELOG.md"}  # of what was


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands_of(page: Path) -> list[list[str]]:
    """Return the words of each `mmst` command in a page's blocks, as a shell would hand them over."""
    lines = (
        line
        for block in FENCED.findall(page.read_text(encoding="utf-8"))
        for line in block.replace("\\\n", " ").splitlines()
    )
    found = []
    for line in lines:
        words = shlex.split(line, comments=True)
        while "mmst" in [Path(word).name for word in words]:
            names = [Path(word).name for word in words]
            words = words[names.index("mmst") + 1 :]
            ends = [place for place, word in enumerate(words) if word in ("|", "<", ">", "&&", ";")]
            found.append(words[: min(ends, default=len(words))])
            words = words[min(ends, default=len(words)) :]
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors_of(path), target


@pytest.mark.parametrize(
    ("page", "words"),
    [
        pytest.param(page, words, id=f"{page.name}: mmst {' '.join(words)}"[:100])
        for page in PAGES
        if page.name not in IMPERFECT
        for words in commands_of(page)
    ],
)
def test_commands_are_there_with_their_options(page, words):
    group = typer.main.get_command(app)
    context = group.context_class(group, info_name="mmst")
    if not words or words[0].startswith("-"):
        group.make_parser(context).parse_args(list(words))
        return
    name, command, rest = group.resolve_command(context, list(words))
    command.make_parser(command.context_class(command, context, name)).parse_args(rest)


def test_an_option_that_is_not_there_would_be_found():
    with pytest.raises(Exception, match="No such option: --nope"):
        test_commands_are_there_with_their_options(None, ["train", "x.yaml", "--nope"])


def test_every_page_is_on_the_site_and_the_readme_stays_short():
    nav = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f'"{page.name}"' not in nav] == []
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 250
