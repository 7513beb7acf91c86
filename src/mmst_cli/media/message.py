"""Chat messages, whose images, sounds and clips are read where they stand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mmst_cli.config.schema import Modality
from mmst_cli.errors import DataError, did_you_mean
from mmst_cli.media.content import show

PARTS = ("text", "image", "audio", "video")  # what the content of a message, or a mixed input, may hold

Read = Callable[[Modality, Any], Any]


def read_message(value: Any, read: Read) -> list[dict[str, Any]]:
    """Return a chat in the structured form of chat templates, with decoded media.

    Args:
        value: a list of messages, one message, or either as JSON. A message has ``role`` and ``content``: a string,
            or a list of parts such as ``{"type": "image", "image": ...}``. The type may be left out, and OpenAI's
            ``image_url`` is an image.
        read: reads a value of a modality; text into a plain string.

    Raises:
        DataError: it is no chat, holds an unknown part, or a part can't be read.
    """
    messages = _parse(value) if isinstance(value, str) else value
    if isinstance(messages, Mapping):
        messages = [messages]
    if not isinstance(messages, list | tuple) or not messages:
        raise DataError(f"a chat is a list of messages with role and content, found {show(value)!r}.")
    return [_read_one(number, message, read) for number, message in enumerate(messages)]


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"a chat is a list of messages or JSON of one, found {show(text)!r}.") from error


def _read_one(number: int, message: Any, read: Read) -> dict[str, Any]:
    at = f"message {number}"
    if not isinstance(message, Mapping) or not {"role", "content"} <= message.keys():
        raise DataError(f"{at}: a message has role and content, found {show(message)}.")
    role, content = message["role"], message["content"]
    if not isinstance(role, str):
        raise DataError(f"{at}: role is a string such as user or system, found {show(role)}.")
    if isinstance(content, str):
        return {"role": role, "content": content}
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, list | tuple) or not content:
        raise DataError(f"{at}: content is a string or a list of parts, found {show(content)}.")
    return {
        "role": role,
        "content": [_read_part(f"{at}, part {place}", part, read) for place, part in enumerate(content)],
    }


def _read_part(at: str, part: Any, read: Read) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, Mapping):
        raise DataError(f"{at}: a part is a mapping such as {{type: text, text: ...}}, found {show(part)}.")
    kind, value = _find_kind(at, {key: entry for key, entry in part.items() if entry is not None})
    try:
        medium = read(Modality(kind), value)
    except DataError as error:
        raise DataError(f"{at}: {error}") from error
    if isinstance(medium, Mapping):  # transformers takes the bare array inside a message; templates pass over the rest
        return {"type": kind, kind: medium["array"]} | {key: entry for key, entry in medium.items() if key != "array"}
    return {"type": kind, kind: medium}


def _find_kind(at: str, part: dict[Any, Any]) -> tuple[str, Any]:
    """Return the modality of a part and its value."""
    kind = part.get("type")
    if kind == "image_url" or (kind is None and "image_url" in part):
        address = part.get("image_url")
        kind, part = "image", {"image": address.get("url") if isinstance(address, Mapping) else address}
    if kind is None:
        kinds = [key for key in PARTS if key in part]
        if len(kinds) != 1:
            raise DataError(f"{at}: a part has one of {', '.join(PARTS)}, found {_keys(part)}.")
        kind = kinds[0]
    if kind not in PARTS:
        raise DataError(
            f"{at}: unknown type {show(kind)}; it is one of {', '.join(PARTS)}.{did_you_mean(str(kind), PARTS)}"
        )
    if part.get(kind) is None:
        raise DataError(f"{at}: a part of type {kind} has its value under {kind}, found {_keys(part)}.")
    return kind, part[kind]


def _keys(part: Mapping[Any, Any]) -> str:
    return show(", ".join(map(str, part)) or "nothing")


def parts_of(chat: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the role and each part of a chat that was read, in order; a content that is a string is a text."""
    for message in chat:
        content = message["content"]
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            yield message.get("role", ""), part


def clip_options(inputs: Iterable[Any]) -> dict[str, Any]:
    """Return the ``processing_kwargs`` with which the clips in a batch of chats are taken as clips by themselves are.

    sentence-transformers passes the rate and the frames of other clips on to the processor, but not of those inside
    messages, which are then taken for 24 frames a second. Empty where no chat holds a clip.
    """
    chats = [chat for chat in inputs if isinstance(chat, list)]
    clips = [part["video_metadata"] for chat in chats for _, part in parts_of(chat) if part["type"] == "video"]
    return {"video": {"video_metadata": clips}} if clips else {}
