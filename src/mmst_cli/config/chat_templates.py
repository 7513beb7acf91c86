"""Chats that the config makes of columns: messages with placeholders, filled from a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any

from mmst_cli.errors import DataError

MEDIA = ("image", "audio", "video")


@dataclass(frozen=True)
class Message:
    """One message of a template."""

    role: str
    content: tuple[tuple[str, str], ...]
    """Its parts: text with placeholders, or a modality and the column that holds it."""

    @property
    def sources(self) -> list[str]:
        """The columns it is made of."""
        found: list[str] = []
        for kind, value in self.content:
            found += placeholders(value) if kind == "text" else [value]
        return found


def placeholders(text: str) -> list[str]:
    """Return the columns that stand in braces in a text.

    Raises:
        ValueError: a brace is never closed, or nothing is in it.
    """
    names = [name for _, name, _, _ in Formatter().parse(text) if name is not None]
    if any(not name.strip() for name in names):
        raise ValueError("there is nothing between the braces")
    return names


def parse_template(messages: Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    """Return the messages of ``columns.X.message``, as the config rules have checked them."""
    return tuple(Message(str(message["role"]), _parts(message["content"])) for message in messages)


def _parts(content: Any) -> tuple[tuple[str, str], ...]:
    if isinstance(content, str):
        return (("text", content),)
    return tuple(
        next((kind, str(part[kind])) for kind in ("text", *MEDIA) if part.get(kind) is not None) for part in content
    )


def fill(messages: Sequence[Message], row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the chat that a template makes of a row; a part whose column is empty there is left out.

    Raises:
        DataError: a placeholder stands for something that is no text or number.
    """
    chat = []
    for message in messages:
        parts = []
        for kind, value in message.content:
            if kind == "text":
                parts.append({"type": "text", "text": _fill_text(value, row)})
            elif row[value] is not None:
                parts.append({"type": kind, kind: row[value]})
        chat.append({"role": message.role, "content": parts})
    return chat


def _fill_text(text: str, row: Mapping[str, Any]) -> str:
    values = {}
    for name in placeholders(text):
        value = row[name]
        if not isinstance(value, str | int | float) and value is not None:
            raise DataError(f"the template puts {name} into a text, but it holds {type(value).__name__}.")
        values[name] = "" if value is None else value
    return "".join(
        literal + (str(values[name]) if name is not None else "") for literal, name, _, _ in Formatter().parse(text)
    )
