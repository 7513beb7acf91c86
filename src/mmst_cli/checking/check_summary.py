"""What `mmst check` says while it goes on, and what it found in a page of a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mmst_cli.checking.check_result import PAGE, CheckResult
from mmst_cli.checking.checked_sets import CheckedSet, Numbers
from mmst_cli.checking.findings import Finding, Harm, counted
from mmst_cli.config.load import as_yaml
from mmst_cli.retrieval.data_card import columns_in_words
from mmst_cli.shell_words import quoted
from mmst_cli.terminal import Terminal

STYLES = {Harm.serious: "bold red", Harm.warning: "yellow", Harm.note: "cyan"}
SHOWN = 2  # examples of a finding


def say_what_is_examined(sets: Sequence[CheckedSet], examined: Sequence[Numbers], terminal: Terminal) -> None:
    """Say which rows are examined in full."""
    for one, rows in zip(sets, examined, strict=True):
        of = f"all {len(rows):,} rows" if len(rows) == len(one.rows) else f"{len(rows):,} of {len(one.rows):,} rows"
        terminal.say(f"data: {one.name}: {of}: {columns_in_words(one.rows.columns)}")


def show_result(result: CheckResult, sets: Sequence[CheckedSet], terminal: Terminal) -> None:
    """Show the columns, the findings in order of harm, and what to do next."""
    terminal.show(columns_table(result))
    for finding in result.findings:
        for part in _describe(finding):
            terminal.show(part)
    terminal.show(verdict(result))
    terminal.show(f"report: {result.output / PAGE}")
    if result.cleaned:
        kept, dropped = counted(result.cleaned.kept, "row"), counted(result.cleaned.dropped, "row")
        terminal.show(
            f"clean: {result.cleaned.path}: {kept}; {dropped} left out, with reasons in {result.cleaned.reasons}"
        )
        path = as_yaml(str(result.cleaned.path))
        terminal.show(f"next: mmst train CONFIG {quoted(f'datasets.{result.cleaned.dataset}.path={path}')}")
    elif result.sample is not None and any(len(one.rows) > result.sample for one in sets):
        terminal.show("next: the same command with --all looks at every row")


def verdict(result: CheckResult) -> str:
    """Return what came of it in a sentence."""
    counts = {harm: sum(finding.harm is harm for finding in result.findings) for harm in Harm}
    looked = "Every row" if result.sample is None else f"Of each dataset up to {result.sample:,} rows"
    verb = "was" if result.sample is None else "were"
    if not result.findings:
        return f"{looked} {verb} looked at, and nothing was found."
    words = [f"{count} {harm.name}" for harm, count in counts.items() if count]
    failed = f" Mend first: {', '.join(result.failed)}." if result.failed else ""
    return f"{looked} {verb} looked at: {counted(len(result.findings), 'finding')}, {', '.join(words)}.{failed}"


def _describe(finding: Finding) -> Iterator[RenderableType]:
    where = finding.dataset + (f".{finding.column}" if finding.column else "")
    heading = Text()
    heading.append(f"{finding.harm.name}: {finding.kind}", style=STYLES[finding.harm])
    heading.append(f"  {where}  {finding.count:,} of {finding.of:,} ({finding.count / max(1, finding.of):.1%})")
    yield heading
    yield Padding(Text(f"{finding.sentence} {finding.advice}"), (0, 0, 0, 2))
    for example in finding.examples[:SHOWN]:
        names = " and ".join(map(str, example.names))
        line = Text(f"{names}: {example.note}" if example.note else names, style="dim", overflow="ellipsis")
        line.no_wrap = True
        yield Padding(line, (0, 0, 0, 4))


def columns_table(result: CheckResult) -> Table:
    """Return what each column holds."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("dataset", "column", "role", "rows", "different", "holds"):
        right = heading in ("rows", "different")
        table.add_column(heading, justify="right" if right else "left", no_wrap=heading != "holds")
    for dataset, columns in result.columns.items():
        for name, facts in columns.items():
            row = (dataset, name, facts["role"], f"{facts['rows']:,}", f"{facts.get('different', 0):,}")
            table.add_row(*row, "; ".join(holds(facts)))
    return table


def holds(facts: dict[str, Any]) -> Iterator[str]:
    """Yield what a column holds, in words."""
    if "width" in facts:
        yield f"{_middle(facts['width'])} x {_middle(facts['height'])} pixels"
    for name in ("characters", "seconds"):
        if name in facts:
            yield f"{_middle(facts[name])} {name}"
    processed = facts.get("processed", {})
    if "tokens" in processed:
        yield f"{_middle(processed['tokens'])} tokens"
    if "pixels_seen" in processed:
        yield f"{_middle(processed['pixels_seen'])} pixels seen"
    if "languages" in facts:
        shares = [f"{language} {share:.0%}" for language, share in list(facts["languages"].items())[:3]]
        yield ", ".join(shares)
    if "counts" in facts:
        yield ", ".join(f"{value}: {count:,}" for value, count in facts["counts"].items())
    elif "values" in facts:
        yield f"{_middle(facts['values'])}"


def _middle(values: dict[str, float]) -> str:
    """Return the median, and the range where there is one."""
    if not values:
        return "?"
    digits = 0 if values["max"] >= 20 or all(float(v).is_integer() for v in values.values()) else 1
    low, middle, high = (f"{values[name]:,.{digits}f}" for name in ("min", "median", "max"))
    return middle if low == high else f"{middle} ({low} to {high})"
