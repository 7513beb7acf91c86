"""Loading a model: one encoder, by hub id, folder, run folder or built-in name, or several put together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mmst_cli.builtin.registry import build_builtin
from mmst_cli.config.rules_training import UNSCALABLE
from mmst_cli.config.schema import Attention, Dtype, ModelConfig
from mmst_cli.errors import ConfigError, ModelError, did_you_mean, visible
from mmst_cli.model.adapter_folder import ADAPTER_CONFIG
from mmst_cli.model.attention import AttentionChoice, choose_attention
from mmst_cli.model.checkpoint import is_raw, lacks_attention, load_checkpoint, read_checkpoint_config
from mmst_cli.model.image_planes import take_planes
from mmst_cli.model.model_changes import set_normalisation, set_pooling
from mmst_cli.model.model_checks import check_pixel_bounds
from mmst_cli.model.model_media import keep_whole_sounds
from mmst_cli.model.model_parts import build_router, router_of
from mmst_cli.model.precision import HALF, Precision, Runtime
from mmst_cli.model.processor_arguments import check_processor_arguments
from mmst_cli.model.quantization import check_quantizable, quantization_kwargs
from mmst_cli.model.text_cutting import cut_texts_beside_media
from mmst_cli.model.text_inputs import take_mapped_texts
from mmst_cli.model.vector_width import settle_width
from mmst_cli.runs import RunFolder
from mmst_cli.storage import closed_to_us, expand_home

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


MODEL_FILES = ("modules.json", "config.json", ADAPTER_CONFIG)
"""One of them makes a folder a model's."""


def find_model(name_or_path: str) -> str:
    """Return the folder or hub id that ``name_or_path`` stands for.

    A built-in model is built at its first use; a run folder stands for the model in it.

    Raises:
        ModelError: nothing there, or a folder that holds no model.
    """
    if not name_or_path:
        raise ModelError(
            "the name of a model is empty. Name a hub id, a model folder, a run folder or a built-in model."
        )
    if name_or_path.startswith("builtin:"):
        return str(build_builtin(name_or_path))
    folder = expand_home(name_or_path)
    if folder.is_dir():
        for candidate in (folder, folder / "model"):
            open_to_us = not candidate.is_dir() or os.access(candidate, os.R_OK | os.X_OK)
            if not open_to_us or any((candidate / name).is_file() for name in MODEL_FILES):
                if closed := closed_to_us(candidate):
                    raise ModelError(f"{visible(name_or_path)}: {visible(closed)} can't be read: permission denied.")
                return str(candidate)
        run = RunFolder(folder)
        hint = f" {run.way_to_model()}" if run.is_run() else ""
        raise ModelError(
            f"{visible(name_or_path)}: this folder holds no model (no modules.json or config.json in it or in its"
            f" model/).{hint}"
        )
    if folder.exists():
        raise ModelError(f"{visible(name_or_path)}: a file, but a model is a folder or a hub id.")
    if name_or_path.startswith(("/", ".", "~")) or name_or_path.count("/") > 1 or visible(name_or_path) != name_or_path:
        raise ModelError(f"{visible(name_or_path)}: no such folder. Name a model folder, a run folder or a hub id.")
    if "/" in name_or_path and (runs := _runs_in(folder.parent)):
        near = did_you_mean(folder.name, runs)
        raise ModelError(f"{name_or_path}: no such run in {folder.parent}, which holds {len(runs)}.{near}")
    return name_or_path


def _runs_in(folder: Path) -> list[str]:
    """Return the names of the runs in a folder, which nobody would call as a hub's user is called."""
    return sorted(path.name for path in folder.iterdir() if RunFolder(path).is_run()) if folder.is_dir() else []


def model_label(config: ModelConfig) -> str:
    """Return what a model is called in messages: `some/model`, or `text: some/model, image: another/model`."""
    if not config.routes:
        return config.name_or_path
    return ", ".join(f"{route}: {section.name_or_path}" for route, section in config.routes.items())


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
        ModelError: a model isn't there, or asks for what this machine lacks.
    """
    check_quantizable(config, device)
    for key, section in _sections(config).items():
        _choose_attention(section, device, precision, key)
        read_checkpoint_config(_source(section, key), section.revision, key)


def check_scalable(config: ModelConfig, runtime: Runtime) -> None:
    """Check that the gradients of the weights can be scaled where training runs under fp16.

    Raises:
        ConfigError: the checkpoint holds weights in float16, and nothing says to hold them otherwise.
        ModelError: the model isn't there.
    """
    if runtime.precision.autocast is not torch.float16 or config.adapter is not None:
        return
    for key, section in _sections(config).items():
        if held_in(section, runtime.device, key) is torch.float16:
            found = f"the weights of {section.name_or_path} are float16"
            raise ConfigError(f"training.fp16: true, but {found}, {UNSCALABLE}")


def load_model(
    config: ModelConfig, device: torch.device, precision: Precision | None = None, *, seed: int = 42
) -> tuple[SentenceTransformer, AttentionChoice]:
    """Load a model as the config says, or put it together from encoders.

    Args:
        config: the ``model`` section.
        device: where to put it.
        precision: mixed precision it will run under; decides whether flash attention can be used.
        seed: of weights that no checkpoint has: the projections of ``model.routes``.

    Raises:
        ModelError: it isn't there, can't be read, doesn't fit together, or asks for what this machine lacks.
    """
    if not config.routes:
        return _load_encoder(config, device, precision, "model")
    loaded: dict[str, tuple[SentenceTransformer, AttentionChoice]] = {}
    for route, section in config.routes.items():
        # Equal sections are one encoder, shared by their routes.
        same = next((other for other in loaded if config.routes[other] == section), None)
        key = f"model.routes.{route}"
        loaded[route] = loaded[same] if same else _load_encoder(_sections(config)[key], device, precision, key)
        check_pixel_bounds(loaded[route][0], section.processor, f"{key}.processor")
    encoders = {route: encoder for route, (encoder, _) in loaded.items()}
    model = build_router(encoders, config.dimension, normalise=config.normalize is not False, seed=seed)
    return model, _join({route: choice for route, (_, choice) in loaded.items()})


def _sections(config: ModelConfig) -> dict[str, ModelConfig]:
    """Return dotted key to the encoder that is declared there, each as a model of its own."""
    if not config.routes:
        return {"model": config}
    # Half-precision projections are saved as such and read back in float32 by plain sentence-transformers,
    # which then can't run them behind their encoder: what is put together here is held in float32.
    dtype = Dtype.float32 if config.dtype is Dtype.auto else config.dtype
    if config.dimension is not None and dtype is not Dtype.float32:
        raise ModelError(
            f"model.dtype: {dtype}: a model with routes and dimension is held in float32. Write model.dtype=float32,"
            " and training.bf16=true for mixed precision."
        )
    shared = config.model_copy(update={"routes": {}, "dimension": None, "normalize": False, "dtype": dtype})
    return {
        f"model.routes.{route}": shared.model_copy(
            update={
                "name_or_path": section.name_or_path,
                "revision": section.revision,
                "pooling": section.pooling,
                "processor": section.processor,
            }
        )
        for route, section in config.routes.items()
    }


def _source(config: ModelConfig, key: str) -> str:
    try:
        return find_model(config.name_or_path)
    except ModelError as error:
        # Alone, the name says which model is meant; beside others, the route does.
        raise error if key == "model" else ModelError(f"{key}.name_or_path: {error}") from None


def _load_encoder(
    config: ModelConfig, device: torch.device, precision: Precision | None, key: str
) -> tuple[SentenceTransformer, AttentionChoice]:
    take_planes()
    choice = _choose_attention(config, device, precision, key)
    source = _source(config, key)
    weights = resolve_dtype(config.dtype, device)
    kwargs: dict[str, Any] = {"dtype": weights or "auto", **quantization_kwargs(config, weights)}
    kwargs["attn_implementation"] = choice.implementation
    try:
        model = load_checkpoint(source, config, device, kwargs, key)
    except ModelError as error:
        # A package without a kernel for this machine shows only now; a model that is broken fails again.
        may_go_without = lacks_attention(error) or choice.implementation == Attention.flash_attention_2
        if config.attn_implementation != Attention.auto or not may_go_without:
            raise
        del kwargs["attn_implementation"]
        model = load_checkpoint(source, config, device, kwargs, key)
        choice = _other_attention(model, choice, error)
    if router_of(model) is not None and weights in HALF:
        model.to(weights)  # projections are read in float32, whatever the encoders are
    _finish(model, config, source, key)
    check_processor_arguments(model, config.processor, source, config.revision, f"{key}.processor")
    keep_whole_sounds(model)
    take_mapped_texts(model)
    cut_texts_beside_media(model)
    return model, choice


def _finish(model: SentenceTransformer, config: ModelConfig, source: str, key: str) -> None:
    """Pool and normalise as the config says; what it doesn't say stays as sentence-transformers has it."""
    normalise = config.normalize
    raw = is_raw(source, config.revision)
    if raw:
        settle_width(model)
    if config.pooling is not None:
        set_pooling(model, config.pooling, raw=raw, key=key)
        # A pooling chosen here makes an embedding model of a checkpoint, and those are normalised.
        normalise = True if normalise is None and raw else normalise
    if normalise is not None:
        set_normalisation(model, normalise)


def _other_attention(model: SentenceTransformer, refused: AttentionChoice, error: ModelError) -> AttentionChoice:
    implementation = str(getattr(model.config, "_attn_implementation", "eager"))
    if not lacks_attention(error):
        why = str(error.__cause__ or error).strip().partition("\n")[0]
        return AttentionChoice(implementation, f"{refused.implementation} was not taken: {why}")
    architecture = type(model.transformers_model).__name__
    return AttentionChoice(implementation, f"{architecture} has no {refused.implementation}")


def _join(choices: Mapping[str, AttentionChoice]) -> AttentionChoice:
    different = list(dict.fromkeys(choices.values()))
    if len(different) == 1:
        return different[0]
    return AttentionChoice(
        ", ".join(dict.fromkeys(choice.implementation for choice in different)),
        "; ".join(f"{route}: {choice.implementation}, {choice.reason}" for route, choice in choices.items()),
    )


def _choose_attention(
    config: ModelConfig, device: torch.device, precision: Precision | None, key: str = "model"
) -> AttentionChoice:
    weights = held_in(config, device, key)
    return choose_attention(config.attn_implementation, device, weights, precision.autocast if precision else None)


def held_in(config: ModelConfig, device: torch.device, key: str = "model") -> torch.dtype | None:
    """Return what weights are held in, as far as config and checkpoint say."""
    weights = resolve_dtype(config.dtype, device)
    if weights is None:  # the checkpoint's own
        checkpoint = read_checkpoint_config(_source(config, key), config.revision, key) or {}
        name = str(checkpoint.get("dtype") or checkpoint.get("torch_dtype"))
        weights = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(name)
    return weights
