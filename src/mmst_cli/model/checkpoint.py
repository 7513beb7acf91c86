"""Reading one checkpoint from a folder or the hub, and saying in a sentence why it can't be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mmst_cli.config.schema import ModelConfig
from mmst_cli.errors import ModelError, WorkError, is_memory_shortage, visible
from mmst_cli.model.adapter_folder import ADAPTER_CONFIG, find_adapter, lacks_modules, load_with_adapter
from mmst_cli.runs import RunFolder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def read_checkpoint_config(source: str, revision: str | None, key: str) -> dict[str, Any] | None:
    """Return a model's ``config.json``, from its folder or the hub; None where it has none or no hub is reached.

    That of an adapter is its base's. The small file first: a wrong id or revision shows before anything large is
    downloaded.

    Args:
        source: a model folder or hub id.
        revision: branch, tag or commit of a hub id.
        key: dotted key of the section that names it, for messages.

    Raises:
        ModelError: the hub has no such model or revision, or doesn't give it.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    if adapter := find_adapter(source, revision):
        return read_checkpoint_config(adapter.name, adapter.revision, key)
    path = Path(source) / "config.json"
    try:
        if not Path(source).is_dir():
            path = Path(hf_hub_download(source, "config.json", revision=revision))
        values = json.loads(path.read_text(encoding="utf-8"))
    except (GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ModelError(_why_not_loaded(source, revision, key, error)) from error
    except (OSError, ValueError):  # loading it decides
        return None
    return values if isinstance(values, dict) else None


def checkpoint_commit(source: str, revision: str | None) -> str | None:
    """Return the commit that a hub id and a revision stand for; None where no hub tells.

    Raises:
        ModelError: the hub has no such model or revision.
    """
    from huggingface_hub import hf_hub_download

    read_checkpoint_config(source, revision, "model")  # says what is wrong with a name
    try:
        file = ADAPTER_CONFIG if find_adapter(source, revision) else "config.json"
        return Path(hf_hub_download(source, file, revision=revision)).parent.name
    except OSError:
        return None


def load_checkpoint(
    source: str, config: ModelConfig, device: torch.device, model_kwargs: dict[str, Any], key: str
) -> SentenceTransformer:
    """Load what stands at ``source`` as sentence-transformers has it.

    Args:
        source: a model folder or hub id.
        config: revision, processor arguments and trust.
        device: where to put it.
        model_kwargs: arguments of transformers' model: dtype, attention.
        key: dotted key of the section that names it, for messages.

    Raises:
        ModelError: it can't be read; the library's own error is its cause.
        WorkError: the device has no room for it.
    """
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer

    given = dict(model_kwargs)
    if given.get("dtype") == "auto" and find_adapter(source, config.revision):
        del given["dtype"]  # the folder of an adapter says itself what its base is held in

    def build(name: str, revision: str | None) -> SentenceTransformer:
        return SentenceTransformer(
            name,
            revision=revision,
            device=str(device),
            trust_remote_code=config.trust_remote_code or run_trusts(source),
            model_kwargs=dict(given),
            processor_kwargs=dict(config.processor) or None,
        )

    try:
        return load_with_adapter(source, config.revision, build)
    # A folder that was copied in part or edited raises any of these, depending on the file it happened to.
    except (OSError, ValueError, ImportError, KeyError, TypeError, RuntimeError, MemoryError, SafetensorError) as error:
        if is_memory_shortage(error):
            raise WorkError(
                f"{key}.name_or_path: {config.name_or_path}: out of memory: its weights don't fit into what is free of"
                f" {device}. Write {key}.dtype=bfloat16, or free the device."
            ) from error
        raise ModelError(_why_not_loaded(config.name_or_path, config.revision, key, error)) from error


def run_trusts(source: str) -> bool:
    """Say whether ``source`` is a model or a checkpoint of a run whose config allows the code that comes with it.

    That code was read, as the config says, before it was trained, and it is saved beside the weights.
    """
    from omegaconf import OmegaConf

    run = RunFolder(Path(source).parent)
    if not Path(source).is_dir() or not run.is_run():
        return False
    try:
        config: Any = OmegaConf.to_container(OmegaConf.load(run.config))
        return config["model"]["trust_remote_code"] is True
    except Exception:  # somebody else's config.yaml, which allows nothing
        return False


def is_raw(source: str, revision: str | None) -> bool:
    """Say whether ``source`` is a checkpoint of transformers alone, without sentence-transformers' modules.

    An adapter that has none is what the model is that it belongs to.
    """
    if not lacks_modules(source, revision):
        return False
    adapter = find_adapter(source, revision)
    return adapter is None or lacks_modules(adapter.name, adapter.revision)


def lacks_attention(error: ModelError) -> bool:
    """Say whether loading failed because the architecture doesn't have the attention implementation."""
    cause = error.__cause__
    return isinstance(cause, ValueError) and "does not support" in str(cause) and "ttention" in str(cause)


def _why_not_loaded(name: str, revision: str | None, key: str, error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    where = f"{key}.name_or_path: {visible(name)}"
    if isinstance(error, GatedRepoError):
        return f"{where}: this hub model is gated. Ask for access on its page, then `hf auth login`."
    if isinstance(error, RepositoryNotFoundError):
        return f"{where}: no such folder or hub model, or it is private and needs `hf auth login`."
    if isinstance(error, RevisionNotFoundError):
        return f"{key}.revision: {revision}: {visible(name)} has no such branch, tag or commit."
    at = f" at revision {revision}" if revision else ""
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "trust_remote_code" in str(error):
        first_line = (
            f"{first_line.rstrip('.')}. The model comes with Python code, which runs only if you allow it: read it,"
            " then train with model.trust_remote_code=true; what is made of that run may run it, too."
        )
    return f"{where}{at} can't be loaded: {first_line}"
