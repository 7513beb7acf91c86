"""Loading a model: a hub id at a revision, a folder, a run folder or a built-in one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mmst_cli.config.schema import Dtype, ModelConfig
from mmst_cli.errors import ModelError, did_you_mean
from mmst_cli.model.attention import AttentionChoice, choose_attention
from mmst_cli.model.precision import Precision

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

BUILTIN_MODELS = ("builtin:tiny-qwen3-vl",)


def find_model(name_or_path: str) -> str:
    """Return the folder or hub id that ``name_or_path`` stands for.

    A built-in model is built at its first use; a run folder stands for the model in it.

    Raises:
        ModelError: nothing there, or a folder that holds no model.
    """
    if name_or_path.startswith("builtin:"):
        return str(_build_builtin(name_or_path))
    folder = Path(name_or_path).expanduser() if name_or_path.startswith("~/") else Path(name_or_path)
    if folder.is_dir():
        for candidate in (folder, folder / "model"):
            if (candidate / "modules.json").is_file() or (candidate / "config.json").is_file():
                return str(candidate)
        raise ModelError(
            f"{name_or_path}: this folder holds no model (no modules.json or config.json in it or in its model/)."
        )
    if folder.exists():
        raise ModelError(f"{name_or_path}: a file, but a model is a folder or a hub id.")
    if name_or_path.startswith(("/", ".", "~")) or name_or_path.count("/") > 1:
        raise ModelError(f"{name_or_path}: no such folder. Name a model folder, a run folder or a hub id.")
    return name_or_path


def _build_builtin(name: str) -> Path:
    if name not in BUILTIN_MODELS:
        raise ModelError(
            f"{name}: no such built-in model; there is {', '.join(BUILTIN_MODELS)}."
            + did_you_mean(name, BUILTIN_MODELS)
        )
    from mmst_cli.model.tiny_qwen3vl import build_tiny_qwen3vl

    return build_tiny_qwen3vl()


def resolve_dtype(dtype: Dtype, device: torch.device) -> torch.dtype | None:
    """Return the dtype to load weights in; None leaves it to the checkpoint.

    ``auto`` is float32 on a CPU, where bfloat16 is about five times slower.
    """
    if dtype is not Dtype.auto:
        return getattr(torch, str(dtype))  # type: ignore[no-any-return]
    return torch.float32 if device.type == "cpu" else None


def check_loadable(config: ModelConfig, device: torch.device, precision: Precision | None = None) -> None:
    """Notice a wrong name, revision or attention implementation at once, before data are read or downloaded.

    Raises:
        ModelError: the model isn't there, or asks for what this machine lacks.
    """
    _choose_attention(config, device, precision)
    _read_config(config)


def load_model(
    config: ModelConfig, device: torch.device, precision: Precision | None = None
) -> tuple[SentenceTransformer, AttentionChoice]:
    """Load a model as the config says.

    Args:
        config: the ``model`` section.
        device: where to put it.
        precision: mixed precision it will run under; decides whether flash attention can be used.

    Raises:
        ModelError: it isn't there, can't be read, or asks for what this machine lacks.
    """
    attention = _choose_attention(config, device, precision)
    source = find_model(config.name_or_path)
    model_kwargs: dict[str, Any] = {"attn_implementation": attention.implementation}
    model_kwargs["dtype"] = resolve_dtype(config.dtype, device) or "auto"
    return _load(source, config, device, model_kwargs), attention


def _choose_attention(config: ModelConfig, device: torch.device, precision: Precision | None) -> AttentionChoice:
    weights = resolve_dtype(config.dtype, device)
    if weights is None:  # the checkpoint's own
        checkpoint = _read_config(config) or {}
        name = str(checkpoint.get("dtype") or checkpoint.get("torch_dtype"))
        weights = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(name)
    return choose_attention(config.attn_implementation, device, weights, precision.autocast if precision else None)


def _read_config(config: ModelConfig) -> dict[str, Any] | None:
    """Return a model's ``config.json``, from its folder or the hub; None where it has none or no hub is reached.

    The small file first: a wrong id or revision shows before anything large is downloaded.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    source = find_model(config.name_or_path)
    path = Path(source) / "config.json"
    try:
        if not Path(source).is_dir():
            path = Path(hf_hub_download(source, "config.json", revision=config.revision))
        values = json.loads(path.read_text(encoding="utf-8"))
    except (GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ModelError(_why_not_loaded(config, error)) from error
    except (OSError, ValueError):  # loading it decides
        return None
    return values if isinstance(values, dict) else None


def _load(source: str, config: ModelConfig, device: torch.device, model_kwargs: dict[str, Any]) -> SentenceTransformer:
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(
            source,
            revision=config.revision,
            device=str(device),
            trust_remote_code=config.trust_remote_code,
            model_kwargs=model_kwargs,
            processor_kwargs=dict(config.processor) or None,
        )
    except torch.OutOfMemoryError:
        raise
    # A folder that was copied in part or edited raises any of these, depending on the file it happened to.
    except (OSError, ValueError, ImportError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ModelError(_why_not_loaded(config, error)) from error


def _why_not_loaded(config: ModelConfig, error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    name = config.name_or_path
    if isinstance(error, GatedRepoError):
        return f"model.name_or_path: {name}: this hub model is gated. Ask for access on its page, then `hf auth login`."
    if isinstance(error, RepositoryNotFoundError):
        return f"model.name_or_path: {name}: no such folder or hub model, or it is private and needs `hf auth login`."
    if isinstance(error, RevisionNotFoundError):
        return f"model.revision: {config.revision}: {name} has no such branch, tag or commit."
    at = f" at revision {config.revision}" if config.revision else ""
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f"model.name_or_path: {name}{at} can't be loaded: {first_line}"
