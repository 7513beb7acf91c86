"""Rules for columns whose inputs are made of several cells: parts, messages, pages, lists."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter
from typing import Any

from mmst_cli.config.schema import ColumnConfig, DatasetConfig, Layout, Modality, Role
from mmst_cli.config.values import describe
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
    given = {"parts": column.parts, "message": column.message, "pages": column.pages, "take": column.take}
    made = [name for name, value in given.items() if value not in (None, [], {})]
    if column.role is Role.label and made:
        return [f"{key}.{made[0]}: a label is one value of one column. Leave it out."]
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
