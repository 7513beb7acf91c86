"""Whether the weights of a model are on this machine, which is asked without reading or downloading any."""

from __future__ import annotations

from pathlib import Path

from mmst_cli.config.schema import ModelConfig
from mmst_cli.model.load_model import find_model

_CONFIGS = ("config.json", "modules.json", "config_sentence_transformers.json")
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")


def missing_weights(config: ModelConfig) -> list[str]:
    """Return the models of a section whose weights aren't here, by what the config calls them.

    Raises:
        ModelError: a folder that holds no model.
    """
    named = [(config.name_or_path, config.revision)] if config.name_or_path else []
    named += [(route.name_or_path, route.revision) for route in config.routes.values()]
    return [name for name, revision in dict.fromkeys(named) if not _are_here(name, revision)]


def _are_here(name: str, revision: str | None) -> bool:
    folder = Path(find_model(name))
    if not folder.is_dir():
        found = _in_cache(name, revision)
        if found is None:
            return False
        folder = found
    return any(path.suffix in _WEIGHTS for path in folder.rglob("*"))


def _in_cache(name: str, revision: str | None) -> Path | None:
    """Return the folder of a hub's model in the libraries' cache; None where nothing of it is there."""
    from huggingface_hub import try_to_load_from_cache

    paths = (try_to_load_from_cache(name, file, revision=revision) for file in _CONFIGS)
    return next((Path(path).parent for path in paths if isinstance(path, str)), None)
