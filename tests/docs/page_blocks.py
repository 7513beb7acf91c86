"""The pages that people read, and what stands in their blocks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
        ROOT / "benchmarks" / "README.md",
    ]
)
FENCED = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, and what stands in it."""

    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """A line for a shell, and how what it says on stderr begins where the page shows it fail."""

    line: str
    error: str = ""


def name_of(page: Path) -> str:
    """Return a page's name below the root."""
    return page.relative_to(ROOT).as_posix()


def text_of(page: Path) -> str:
    """Return what a page says."""
    return page.read_text(encoding="utf-8")


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page that name a language, in order."""
    return [Block(language, text) for _, language, text in FENCED.findall(text_of(page))]


def commands_in(block: Block) -> list[Command]:
    """Return the commands of a block for a shell, each in one line."""
    commands: list[Command] = []
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.startswith("# error: "):
            commands[-1] = Command(commands[-1].line, line.removeprefix("# ").removesuffix("..."))
        elif line.strip() and not line.startswith("#"):
            commands.append(Command(re.sub(r"\s+# .*", "", line.strip())))
    return commands


def commands_of(page: Path) -> list[Command]:
    """Return the commands of all blocks of a page that are for a shell."""
    return [command for block in blocks_of(page) if block.language == "bash" for command in commands_in(block)]
