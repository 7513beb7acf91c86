"""Folders and hub ids that hold an adapter: small matrices, and the name and revision of the model they belong to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file, save_file

from mmst_cli.errors import ModelError, visible

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
NAME = "default"
"""What an adapter is called inside of a model, as peft has it."""
_LENGTHS = "lora_magnitude_vector"
INSTALL = "pip install 'mmst-cli[peft]'"


@dataclass(frozen=True)
class AdapterBase:
    """The model that an adapter belongs to."""

    name: str
    """A folder or a hub id."""
    revision: str | None
    """Branch, tag or commit of a hub id."""
    settings: dict[str, Any]
    """The adapter's own config, as peft has it."""


def require_peft(key: str) -> None:
    """Raise a ModelError where peft isn't installed; the message begins with the key."""
    if find_spec("peft") is None:
        raise ModelError(f"{key}: adapters need the package peft, which isn't installed: {INSTALL}.")


def find_adapter(source: str, revision: str | None = None) -> AdapterBase | None:
    """Return what an adapter belongs to, or None where a model folder or hub id holds none.

    A folder with both a whole model and an adapter is taken for the model, with the adapter in it, as transformers
    takes it.

    Raises:
        ModelError: its base is a folder that isn't there.
    """
    path = _config_path(source, revision)
    if path is None:
        return None
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        name = str(settings["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{visible(path)}: no config of an adapter: it doesn't say of which model.") from error
    if name.startswith(("/", ".", "~")) and not Path(name).is_dir():
        raise ModelError(
            f"{visible(source)}: an adapter of the model in {visible(name)}, which isn't there. Bring that model back,"
            f" or write where it is as base_model_name_or_path into {visible(path)}."
        )
    return AdapterBase(name, settings.get("revision"), settings)


def _config_path(source: str, revision: str | None) -> Path | None:
    folder = Path(source)
    if folder.is_dir():
        holds = (folder / ADAPTER_CONFIG).is_file() and not (folder / "config.json").is_file()
        return folder / ADAPTER_CONFIG if holds else None
    from transformers.utils.peft_utils import find_adapter_config_file

    try:
        found = find_adapter_config_file(source, revision=revision)
    except (OSError, ValueError):  # what is wrong with the name is said by who loads the model
        return None
    return Path(found) if found else None


def lacks_modules(source: str, revision: str | None) -> bool:
    """Say whether a folder or hub id has none of sentence-transformers' modules."""
    from sentence_transformers.util import load_file_path

    return load_file_path(source, "modules.json", revision=revision) is None


def load_with_adapter(
    source: str,
    revision: str | None,
    build: Callable[[str, str | None], SentenceTransformer],
    *,
    weights: bool = True,
) -> SentenceTransformer:
    """Load a model, and its base first where it is an adapter, at the revision that is recorded.

    One that peft alone saved has no modules and no processor: those are the base's.

    Args:
        source: a model folder or hub id.
        revision: branch, tag or commit of a hub id.
        build: loads what has a name and a revision.
        weights: whether the adapter's weights are read; otherwise it has a shape alone, as the base has then.

    Raises:
        ModelError: it is an adapter of another model, or of none that is there.
    """
    adapter = find_adapter(source, revision)
    if adapter is None:
        return build(source, revision)
    require_peft(source)
    if not lacks_modules(source, revision):
        with _base_as_recorded(adapter, weights=weights):
            return build(source, revision)
    model = build(adapter.name, adapter.revision)
    _put_in_place(model.transformers_model, source, revision, weights=weights)
    return model


@contextmanager
def _base_as_recorded(base: AdapterBase, *, weights: bool) -> Iterator[None]:
    """Have sentence-transformers load the base of an adapter at the revision that its config says.

    By itself it takes the default branch, whatever the adapter was trained over.
    """
    from sentence_transformers.base.modules import Transformer
    from transformers import AutoConfig

    def load_config(_: Any, __: str, ___: str, config_kwargs: dict[str, Any]) -> tuple[Any, bool]:
        kept = {name: value for name, value in config_kwargs.items() if name not in ("revision", "subfolder")}
        return AutoConfig.from_pretrained(base.name, revision=base.revision, **kept), True

    def load_model(module: Any, source: str, task: Any, config: Any, backend: str, _: bool, **kwargs: Any) -> Any:
        given = {**kwargs, "revision": base.revision}
        loaded = originals["_load_model"](module, base.name, task, config, backend, False, **given)
        _put_in_place(loaded, source, kwargs.get("revision"), weights=weights)
        return loaded

    originals = {name: vars(Transformer)[name] for name in ("_load_config", "_load_model")}
    for name, stand_in in (("_load_config", load_config), ("_load_model", load_model)):
        setattr(Transformer, name, stand_in)
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(Transformer, name, original)


def _put_in_place(model: Any, source: str, revision: str | None, *, weights: bool) -> None:
    """Put an adapter into a model of transformers, by peft: what transformers has for it rounds and misses some.

    Raises:
        ModelError: its tensors aren't those that this model wants.
    """
    from peft import PeftConfig, load_peft_weights, set_peft_model_state_dict
    from peft.functional import cast_adapter_dtype

    settings = PeftConfig.from_pretrained(source, revision=revision)
    recorded = settings.base_model_name_or_path
    settings.inference_mode = True
    model.add_adapter(settings, NAME)
    settings.base_model_name_or_path = recorded  # transformers has written its own there
    if not weights:
        return
    cast_adapter_dtype(model, NAME)  # as it was trained, whatever the base is held in
    tensors = load_peft_weights(source, device="cpu", revision=revision)
    tensors = {name.removeprefix("base_model.model."): one for name, one in tensors.items()}
    found = set_peft_model_state_dict(model, tensors, NAME)
    missing = [name for name in found.missing_keys if NAME in name.split(".")]
    if wrong := missing or found.unexpected_keys:
        raise ModelError(
            f"{visible(source)}: this adapter has {'no' if missing else 'a'} {wrong[0]} ({len(wrong)} such tensors), so"
            f" that it isn't of this {type(model).__name__}."
        )
    model.requires_grad_(False).eval()


def save_model(model: SentenceTransformer, folder: Path) -> None:
    """Write a model into a folder without a card, and an adapter so that each library reads all of it.

    peft leaves out the last part of the names of DoRA's lengths, without which transformers doesn't find them.
    """
    model.save_pretrained(str(folder), create_model_card=False)
    path = folder / ADAPTER_WEIGHTS
    if not path.is_file():
        return
    tensors = load_file(path)
    if any(name.endswith(_LENGTHS) for name in tensors):
        renamed = {f"{name}.weight" if name.endswith(_LENGTHS) else name: one for name, one in tensors.items()}
        save_file(renamed, path, metadata={"format": "pt"})
