"""The arguments that a model's processors have: others are passed over by transformers without a word."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmst_cli.errors import ModelError, did_you_mean
from mmst_cli.model.model_parts import PARTS, router_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

FILES = (
    *("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json", "tokenizer_config.json"),
    *("image_processor_config.json", "feature_extractor_config.json"),
)
# What `from_pretrained` and tokenizers take besides: they name it nowhere that can be read.
ALWAYS = (
    *("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder", "use_fast", "backend"),
    *("trust_remote_code", "proxies", "gguf_file", "tokenizer_type", "fix_mistral_regex", "chat_template"),
    *("add_bos_token", "add_eos_token", "add_prefix_space", "legacy", "do_lower_case", "from_slow"),
    *("min_pixels", "max_pixels"),  # seen to be followed by other means
)


def check_processor_arguments(
    model: SentenceTransformer, arguments: Mapping[str, Any], source: str, revision: str | None, key: str
) -> None:
    """Check that a part of the model's processors has every argument.

    Args:
        model: the model, loaded with them.
        arguments: name to value, as in the config.
        source: the folder or hub id it was loaded from; what its processor files name is an argument.
        revision: branch, tag or commit of a hub id.
        key: dotted key of the arguments.

    Raises:
        ModelError: none has one of them.
    """
    if not arguments:
        return
    parts = list(_parts(model))
    if any(type(part).__module__.startswith("transformers_modules") for part in parts):
        return  # code of its own takes what it likes
    known = {*ALWAYS, *(name for part in parts for name in _names(part)), *_named_in_files(source, revision)}
    for name in arguments:
        if name not in known:
            classes = " and ".join(dict.fromkeys(type(part).__name__ for part in parts)) or type(model[0]).__name__
            raise ModelError(
                f"{key}.{name}: {classes} has no such argument.{did_you_mean(name, sorted(known))}"
                " Write one that it has, or leave it out."
            )


def _parts(model: SentenceTransformer) -> Iterator[Any]:
    router = router_of(model)
    encoders = [model[0]] if router is None else [modules[0] for modules in router.sub_modules.values()]
    for encoder in encoders:
        processor = getattr(encoder, "processor", None)
        parts = [processor, *(getattr(processor, name, None) for name in PARTS.values())]
        yield from (part for part in parts if part is not None and not isinstance(part, str | dict))


def _names(part: Any) -> Iterator[str]:
    """Yield the arguments of a processor, an image processor, a feature extractor or a tokenizer, by its class."""
    yield from getattr(getattr(type(part), "valid_kwargs", None), "__annotations__", {})
    yield from getattr(part, "SPECIAL_TOKENS_ATTRIBUTES", ())
    for owner in type(part).__mro__[:-1]:
        yield from _of_init(owner)
        yield from (name for name, value in vars(owner).items() if _is_setting(name, value))


def _of_init(owner: type) -> Iterable[str]:
    if "__init__" not in vars(owner):
        return ()
    try:
        return [name for name in inspect.signature(vars(owner)["__init__"]).parameters if name != "self"]
    except (TypeError, ValueError):
        return ()


def _is_setting(name: str, value: Any) -> bool:
    methods = (property, classmethod, staticmethod)
    return not name.startswith("_") and not callable(value) and not isinstance(value, methods)


def _named_in_files(source: str, revision: str | None) -> Iterator[str]:
    from sentence_transformers.util import load_file_path

    for name in FILES:
        path = load_file_path(source, name, revision=revision)
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
        except (OSError, ValueError):  # loading it says what is wrong with it
            continue
        yield from values
        yield from (inner for value in values.values() if isinstance(value, dict) for inner in value)
