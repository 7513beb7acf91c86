"""Faults of single inputs: broken, of another kind, empty, blank, silent, far too long or large."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mmst_cli.checking.checked_sets import Numbers
from mmst_cli.checking.examined_input import IS_TEXT, NAMES_MEDIUM
from mmst_cli.checking.findings import EXAMPLES, Checked, Finding, counted
from mmst_cli.config.schema import Modality

BLANK = 16.0  # difference of the darkest and the brightest pixel up to which a page shows nothing, 0 to 255
SILENT = 1e-3  # peak of a sound, 0 to 1
TINY, HUGE = 32, 50_000_000  # pixels of the shorter side, and of the whole image
SHORT = 0.05  # seconds
LONG_TEXT, LONG_SOUND, TIMES = 1000, 60.0, 10.0  # characters, seconds; and so many times the median

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Column:
    """The inputs of one column that were examined."""

    checked: Checked
    number: int
    column: int
    rows: Numbers
    """Rows of the set."""
    places: Numbers
    """Their places in the examination."""

    @cached_property
    def broken(self) -> Mask:
        """Which of them can't be read."""
        return np.array([bool(self.checked.examined.error[i]) for i in self.places], dtype=bool)

    def find(
        self,
        kind: str,
        mask: Mask,
        sentence: str,
        advice: str,
        note: Callable[[int], str],
        worst: Numbers | None = None,
    ) -> Iterator[Finding]:
        """Yield the finding about the inputs that a mask marks, if there are any, the worst examples first."""
        marked = np.flatnonzero(mask)
        if not len(marked):
            return
        order = marked if worst is None else marked[np.argsort(-worst[marked], kind="stable")]
        set_name, name = self.checked.sets[self.number].name, self.checked.inputs(self.number)[self.column].name
        shown = [
            self.checked.example((self.number, self.column, self.rows[i]), note=note(self.places[i]))
            for i in order[:EXAMPLES]
        ]
        reasons = {int(self.rows[i]): f"{name}: {note(self.places[i])}" for i in marked}
        text = sentence.format(count=counted(len(marked), "input"))
        yield Finding(kind, set_name, name, len(marked), len(self.rows), text, advice, shown, reasons)


def find_bad_inputs(checked: Checked) -> Iterator[Finding]:
    """Yield what is wrong with single inputs, column by column."""
    for number in range(len(checked.sets)):
        for column, declared in enumerate(checked.inputs(number)):
            rows = checked.examined_rows[number]
            of = _Column(checked, number, column, rows, checked.examined_of(number, column)[rows])
            yield from _unreadable(of, declared.modality)
            yield from _empty(of)
            yield from _out_of_range(of, declared.modality)


def _unreadable(of: _Column, modality: Modality) -> Iterator[Finding]:
    examined = of.checked.examined
    texts = np.array([examined.remark[i] == IS_TEXT for i in of.places], dtype=bool)
    names = np.array([examined.remark[i] == NAMES_MEDIUM for i in of.places], dtype=bool)
    yield from of.find(
        "broken",
        of.broken & ~texts,
        "{count} can't be read.",
        "Replace the files or leave the rows out; on_bad_row: skip leaves them out while training.",
        lambda i: examined.error[i],
    )
    yield from of.find(
        "wrong-content",
        texts,
        f"{{count}} declared {modality} hold words.",
        "Two columns may be swapped in these rows. Mend or remove them.",
        lambda i: examined.error[i],
    )
    yield from of.find(
        "wrong-content",
        names,
        "{count} declared text that may be meant as the path or address of a medium: embedded as these words.",
        "If the medium is meant, declare its modality; if columns are swapped in these rows, mend them.",
        lambda i: "a text that looks like the path or address of a medium",
    )


def _empty(of: _Column) -> Iterator[Finding]:
    examined = of.checked.examined
    kinds = np.array([examined.kind[i] for i in of.places])
    level, length = examined.level[of.places], examined.length[of.places]
    read = ~of.broken
    yield from of.find(
        "empty",
        read & (kinds == "text") & (length == 0),
        "{count} hold no words.",
        "They all get the same vector. Fill them, or remove the rows.",
        lambda i: "an empty text",
    )
    yield from of.find(
        "blank",
        read & np.isin(kinds, ("image", "video")) & (level <= BLANK),
        "{count} show nothing: one colour from edge to edge.",
        "Nothing can be learnt from them. Remove the rows.",
        lambda i: f"blank: its pixels differ by {examined.level[i]:.0f} of 255 at most",
    )
    yield from of.find(
        "silence",
        read & (kinds == "audio") & (level <= SILENT),
        "{count} are silent.",
        "Nothing can be learnt from them. Remove the rows.",
        lambda i: f"silent: its peak is {examined.level[i]:.4f} of 1",
    )


def _out_of_range(of: _Column, modality: Modality) -> Iterator[Finding]:
    examined = of.checked.examined
    read = ~of.broken
    if modality in (Modality.image, Modality.video):
        width, height = examined.width[of.places], examined.height[of.places]
        extreme = read & ((np.minimum(width, height) < TINY) | (width * height > HUGE))
        yield from of.find(
            "extreme",
            extreme,
            f"{{count}} are narrower than {TINY} pixels or larger than {HUGE // 10**6} megapixels.",
            "Scale them, or remove the rows if they aren't what they should be.",
            lambda i: f"{examined.width[i]:.0f}x{examined.height[i]:.0f} pixels",
            np.abs(np.log(np.maximum(1, width * height) / 1e6)),
        )
    length = examined.length[of.places]
    known = length[read & (length > 0)]
    if not len(known):
        return
    median, unit = float(np.median(known)), "characters" if modality in _WORDS else "s"
    bound = max(TIMES * median, LONG_TEXT if modality in _WORDS else LONG_SOUND)
    extreme = read & ((length > bound) | ((length < SHORT) & (modality is Modality.audio)))
    middle = f"{median:,.0f} {unit}" if modality in _WORDS else f"{median:,.1f} {unit}"
    yield from of.find(
        "extreme",
        extreme,
        f"{{count}} are of a length far from the others, whose median is {middle}.",
        "Cut them, or remove the rows: in a batch all others wait for the longest.",
        lambda i: f"{examined.length[i]:,.0f} {unit}" if modality in _WORDS else f"{examined.length[i]:,.2f} {unit}",
        np.nan_to_num(length),
    )


_WORDS = (Modality.text, Modality.message, Modality.mixed)
