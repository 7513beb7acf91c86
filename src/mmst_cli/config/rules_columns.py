"""Rules for columns: what an input is made of, and whether the loss takes inputs of these roles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any

from mmst_cli.config.arguments import describe
from mmst_cli.config.schema import ColumnConfig, DatasetConfig, Layout, Modality, Role
from mmst_cli.config.signatures import LossInput, fitting_losses, loss_inputs
from mmst_cli.errors import did_you_mean

PARTS = (Modality.text, Modality.image, Modality.audio, Modality.video)
"""What an input may be put together from."""

SPEAKERS = ("system", "user", "assistant")
"""Who says a message."""

_CONTENT = "a text, or a list of {text: ...} and {image: column}, {audio: column}, {video: column}"


def check_columns(dataset: DatasetConfig, key: str) -> list[str]:
    """Return the faults of a dataset's columns, each by itself. ``key`` is that of the dataset."""
    faults = []
    for name, column in dataset.columns.items():
        faults += _check_column(column, f"{key}.columns.{name}", dataset.layout)
    return faults


def _check_column(column: ColumnConfig, key: str, layout: Layout) -> list[str]:
    given = {name: getattr(column, name) for name in ("parts", "message", "pages", "fill", "take")}
    made = [name for name, value in given.items() if value not in (None, [], {})]
    if column.role is Role.label and (refused := [name for name in made if name != "take"]):
        return [f"{key}.{refused[0]}: a label is one value of one column. Leave it out."]
    if layout is Layout.beir and (refused := [name for name in made if name != "parts"]):
        return [
            f"{key}.{refused[0]}: in layout beir every input is one cell of queries or corpus, or parts of one row."
            " Put it together in the tables, or take layout rows."
        ]
    faults = []
    if column.parts:
        faults += _check_alone(column, made, "parts", "mixed", key) + _check_parts(column.parts, f"{key}.parts")
    elif column.message:
        faults += _check_alone(column, made, "message", "message", key)
        faults += [fault for i, m in enumerate(column.message) for fault in _check_message(m, f"{key}.message.{i}")]
    if column.pages is not None:
        faults += _check_pages(column, f"{key}.pages")
    if column.fill is not None and column.role is not Role.negative:
        faults.append(f"{key}.fill: only lists of negatives are filled up, not of {column.role}s. Leave it out.")
    elif column.fill is not None and column.take is None:
        faults.append(f"{key}.take: missing. fill says where negatives come from; say how many each row is to have.")
    if column.take is not None and column.take < 1:
        faults.append(f"{key}.take: found {column.take}; it is 1 or more. Leave it out for all entries.")
    return faults


def _check_alone(column: ColumnConfig, made: list[str], what: str, modality: str, key: str) -> list[str]:
    """Return faults where something else is declared that ``what`` already says."""
    faults = [
        f"{key}.{other}: {what} already says what the input is made of. Leave one of the two out."
        for other in made
        if other != what
    ]
    if column.modality not in (Modality.text, Modality(modality)):
        faults.append(f"{key}.modality: found {column.modality}, but {what} makes it {modality}. Leave modality out.")
    return faults


def _check_parts(parts: Mapping[str, str], key: str) -> list[str]:
    return [
        f"{key}.{name}: an input has parts {', '.join(PARTS)}." + did_you_mean(str(name), PARTS)
        for name in parts
        if name not in list(PARTS)
    ]


def _check_message(message: Mapping[str, Any], key: str) -> list[str]:
    faults = []
    for name in message:
        if name not in ("role", "content"):
            faults.append(
                f"{key}.{name}: a message has role and content.{did_you_mean(str(name), ('role', 'content'))}"
            )
    role = message.get("role")
    if role not in SPEAKERS:
        suggestion = did_you_mean(role, SPEAKERS) if isinstance(role, str) else ""
        faults.append(f"{key}.role: found {describe(role)}; it is one of {', '.join(SPEAKERS)}.{suggestion}")
    content = message.get("content")
    if isinstance(content, str):
        return faults + _check_text(content, f"{key}.content")
    if not isinstance(content, list) or not content:
        return [*faults, f"{key}.content: found {describe(content)}; it is {_CONTENT}."]
    return faults + [fault for i, part in enumerate(content) for fault in _check_part(part, f"{key}.content.{i}")]


def _check_part(part: Any, key: str) -> list[str]:
    if not isinstance(part, Mapping):
        return [f"{key}: found {describe(part)}; a content that is a list holds {_CONTENT.partition('list of ')[2]}."]
    kinds = [name for name in part if name != "type"]
    if len(kinds) != 1 or kinds[0] not in list(PARTS):
        suggestion = next((hint for kind in kinds if (hint := did_you_mean(str(kind), PARTS))), "")
        return [f"{key}: found {', '.join(map(str, kinds)) or 'nothing'}; it is one of {', '.join(PARTS)}.{suggestion}"]
    kind, value = kinds[0], part[kinds[0]]
    if part.get("type", kind) != kind:
        return [f"{key}.type: found {describe(part['type'])} beside {kind}. Leave type out."]
    if not isinstance(value, str) or not value:
        return [f"{key}.{kind}: found {describe(value)}; it is {'a text' if kind == 'text' else 'a column'}."]
    return _check_text(value, f"{key}.text") if kind == Modality.text else []


def _check_text(text: str, key: str) -> list[str]:
    """Return the faults of the placeholders in a text."""
    advice = "{name} stands for a column, and {{ for a brace."
    try:
        fields = [field for field in Formatter().parse(text) if field[1] is not None]
    except ValueError as error:
        return [f"{key}: {error}. {advice}"]
    if any(not str(name).strip() for _, name, _, _ in fields):
        return [f"{key}: there is nothing between the braces. {advice}"]
    return [
        f"{key}: {{{name}}} can't be formatted any further. {advice}"
        for _, name, form, conversion in fields
        if form or conversion
    ]


def _check_pages(column: ColumnConfig, key: str) -> list[str]:
    pages = column.pages
    if column.modality is not Modality.image and not column.parts and not column.message:
        return [f"{key}: the pages of a document are images. Set modality: image, or leave pages out."]
    numbers = isinstance(pages, list) and pages and all(type(page) is int and page > 0 for page in pages)
    if pages in ("all", "first") or numbers:
        return []
    suggestion = did_you_mean(pages, ("all", "first")) if isinstance(pages, str) else ""
    return [f"{key}: found {describe(pages)}; it is all, first, or a list of page numbers from 1.{suggestion}"]


def check_roles(columns: Sequence[ColumnConfig], innermost: str | None, key: str) -> list[str]:
    """Return the faults of columns as declared.

    A negative column may turn out to hold lists, each entry an input of its own, so without `take` the number
    of inputs is known from below only.

    Args:
        columns: the columns.
        innermost: class name of the loss that takes them; None if there is none to check against.
        key: dotted key of the columns in the file.
    """
    roles = [
        column.role for column in columns for _ in range((column.take or 1) if column.role is Role.negative else 1)
    ]
    open_ended = any(column.role is Role.negative and column.take is None for column in columns)
    return check_inputs(roles, innermost, key, or_more=open_ended)


def check_inputs(roles: Sequence[Role], innermost: str | None, key: str, *, or_more: bool = False) -> list[str]:
    """Return the faults of inputs of these roles: their number, and the losses that take them if this one can't.

    Args:
        roles: one an input, and one a label.
        innermost: class name of the loss.
        key: dotted key of the columns in the file.
        or_more: whether there may be more inputs than that.
    """
    anchors, labels = roles.count(Role.anchor), roles.count(Role.label)
    inputs = loss_inputs(innermost) if innermost else None
    faults = []
    if anchors != 1:
        faults.append(f"{key}: {anchors or 'no'} columns have the role anchor. Give it to exactly one.")
    if labels > 1:
        faults.append(f"{key}: {labels} columns have the role label. Give it to one at most.")
    if inputs and Role.positive not in roles and all((line.at_least or 1) > 1 for line in inputs):
        faults.append(f"{key}: no column has the role positive, and {innermost} needs one.")
    if faults or inputs is None:
        return faults
    count = len(roles) - labels
    if any(line.fits(count, labels == 1, or_more=or_more) for line in inputs):
        return []
    found = f"{_counted(count)} ({', '.join(role for role in roles if role is not Role.label)})"
    choices = " or ".join(dict.fromkeys(_takes(line) for line in inputs))
    return [
        f"{key}: found {found} {'and a label' if labels else 'and no label'}, but {innermost} takes {choices}."
        + _alternatives(count, labels == 1, or_more)
    ]


def _alternatives(columns: int, label: bool, or_more: bool) -> str:
    names = fitting_losses(columns, label, or_more=or_more, lists=False)
    of_lists = fitting_losses(columns, label, or_more=or_more, lists=True) if label else ()
    told = f" If the label is a list of numbers: {', '.join(of_lists)}." if of_lists else ""
    return told + (f" With these columns: {', '.join(names[:6])}." if names else "")


def _takes(line: LossInput) -> str:
    label = {True: " and a label", False: " and no label", None: ""}[line.label]
    if line.at_least is None:
        return f"any input columns{label}"
    if line.at_most is None:
        return f"{line.at_least} or more input columns{label}"
    return f"{_counted(line.at_least)}{label}"


def _counted(columns: int) -> str:
    return f"{columns} input column{'' if columns == 1 else 's'}"
