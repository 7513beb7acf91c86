"""What the libraries raise at an argument of `training`, in a sentence by its key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mmst_cli.errors import ConfigError, MmstError


@contextmanager
def told_by_key(training: Mapping[str, Any], *beginnings: str, note: str = "") -> Iterator[None]:
    """Turn whatever is raised into a sentence by the key of ``training`` that it is about.

    Args:
        training: what is given.
        beginnings: how the keys begin that it is about, unless the error names another one; the most likely first.
        note: what stands before the error's own words.

    Raises:
        ConfigError: something was raised that is no :class:`MmstError`.
    """
    try:
        yield
    except MmstError:
        raise
    except Exception as error:
        found = _key_in(error, beginnings, training)
        value = f"found {training[found]}. " if found in training else ""
        key = f"training.{found}" if found else "training"
        raise ConfigError(f"{key}: {value}{note}{in_words(error)}") from error


def in_words(error: BaseException) -> str:
    """Return what an error says, in a sentence."""
    text = " ".join(str(error).split()).rstrip(" .:") or type(error).__name__
    kind = "" if isinstance(error, ValueError | ImportError | RuntimeError | Warning) else f"{type(error).__name__}: "
    return f"{kind}{text if len(text) < 400 else text[:400] + ' ...'}."


def _key_in(error: Exception, beginnings: tuple[str, ...], training: Mapping[str, Any]) -> str:
    """Return the key that an error names, one that begins as expected, or one whose value the error has."""
    if type(error).__module__.partition(".")[0] in ("huggingface_hub", "httpx") and "push_to_hub" in training:
        return "push_to_hub"
    text = str(error).lower()
    # An argument, the words of a sentence, or a class that is built of it.
    named = [name for name in training if any(name.replace("_", between) in text for between in ("_", " ", ""))]
    begun = [name for beginning in beginnings for name in training if name.startswith(beginning)]
    held = [name for name, value in training.items() if any(word in text for word in _words_in(value))]
    told = [name for name in held if name in begun]
    return next(iter((*named, *told, *begun, *held, *beginnings)), "")


def _words_in(value: Any) -> list[str]:
    """Return the texts that a value is or holds."""
    if isinstance(value, Mapping):
        return [word for pair in value.items() for one in pair for word in _words_in(one)]
    if isinstance(value, list | tuple):
        return [word for one in value for word in _words_in(one)]
    return [value.lower()] if isinstance(value, str) and len(value) > 2 else []
