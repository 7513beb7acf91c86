"""`mmst inspect-modalities`: what a model takes and gives, found out without reading a weight."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmst_cli.model.load import find_model
from mmst_cli.model.weightless import build_without_weights, read_header
from mmst_cli.runs import run_of_model

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# The processor's part that takes each modality; a chat template joins them into messages.
PARTS = {
    "text": "tokenizer",
    "image": "image_processor",
    "audio": "feature_extractor",
    "video": "video_processor",
    "message": "chat_template",
}
MAX_TOKENS = 10**9  # tokenizers without a limit say 10**30
SAFETENSORS_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16", "F64": "float64"}


@dataclass(frozen=True)
class ModalityFact:
    """Whether a model takes a modality, and how."""

    modality: str
    supported: bool
    part: str | None = None
    """The part of the processor, one of ``PARTS``."""
    part_class: str | None = None
    method: str | None = None
    """The method of the transformers model that embeds it."""


@dataclass(frozen=True)
class ModelFacts:
    """What is known about a model from its configs. None where they don't say."""

    model: str
    revision: str | None
    architecture: str
    """Class of the transformers model."""
    modalities: list[ModalityFact]
    message_format: str | None
    """structured, a list of typed parts; or flat, a string."""
    dimension: int | None
    matryoshka_dims: list[int] | None
    pooling: str | None
    normalised: bool
    """Whether the model's last step makes vectors of length 1."""
    similarity: str | None
    prompts: dict[str, str]
    default_prompt: str | None
    max_length: int | None
    """Tokens."""
    image_size: dict[str, int] | None
    """min_pixels and max_pixels of an image, or the edges it is resized to, in pixels."""
    parameters: int
    dtype: str | None
    """What the weights are stored in."""
    bytes_on_disk: int | None
    """Of the whole folder, or of the hub repository."""

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON takes them."""
        return asdict(self)


def run_inspection(name_or_path: str, revision: str | None = None, trust_remote_code: bool = False) -> ModelFacts:
    """Find out what a model takes and gives.

    Args:
        name_or_path: a hub id, a model folder, a run folder or a built-in model.
        revision: branch, tag or commit of a hub id.
        trust_remote_code: run Python code that comes with the model.

    Raises:
        ModelError: it isn't there, or its configs can't be read.
    """
    source = find_model(name_or_path)
    model = build_without_weights(source, revision, trust_remote_code)
    transformer = _transformer(model)
    config = getattr(transformer, "config", None)
    max_length = model.max_seq_length
    return ModelFacts(
        model=name_or_path,
        revision=revision,
        architecture=type(transformer.model if transformer is not None else model[0]).__name__,
        modalities=_modality_facts(model, transformer),
        message_format=_modality_config(transformer).get("message", {}).get("format"),
        dimension=model.get_embedding_dimension(),
        matryoshka_dims=_matryoshka_dims(source, model, config),
        pooling=_pooling(model),
        normalised=any(type(module).__name__ == "Normalize" for module in model.modules()),
        similarity=model.similarity_fn_name,
        prompts=dict(model.prompts),
        default_prompt=model.default_prompt_name,
        max_length=int(max_length) if max_length and max_length < MAX_TOKENS else None,
        image_size=_image_size(_part(transformer, "image_processor")),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        dtype=_dtype(source, config),
        bytes_on_disk=_bytes_on_disk(source, revision),
    )


def _transformer(model: SentenceTransformer) -> Any:
    """Return the first Transformer module, inside a router too; None where there is none."""
    from sentence_transformers.sentence_transformer.modules import Transformer

    return next((module for module in model.modules() if isinstance(module, Transformer)), None)


def _modality_config(transformer: Any) -> dict[Any, Any]:
    return dict(getattr(transformer, "modality_config", {}))


def _modality_facts(model: SentenceTransformer, transformer: Any) -> list[ModalityFact]:
    taken, config = model.modalities, _modality_config(transformer)
    others = [modality for modality in taken if modality not in PARTS]
    facts = []
    for modality in [*PARTS, *others]:
        if modality not in taken:
            facts.append(ModalityFact(modality, supported=False))
            continue
        part, value = _part_of(modality, model, transformer)
        method = config.get(modality, {}).get("method")
        name = modality if isinstance(modality, str) else "+".join(modality)
        part_class = None if part == PARTS["message"] else type(value).__name__
        facts.append(ModalityFact(name, True, part, part_class, method))
    return facts


def _part_of(modality: Any, model: SentenceTransformer, transformer: Any) -> tuple[str, Any]:
    part = PARTS.get(modality, "processor")
    if transformer is None:
        return part, model.tokenizer
    value = _part(transformer, part)
    # A model of one modality may have that part alone instead of a processor of parts.
    return (part, value) if value is not None else (part, transformer.processor)


def _part(transformer: Any, name: str) -> Any:
    processor = getattr(transformer, "processor", None)
    if name == "image_processor" and not hasattr(processor, name) and hasattr(processor, "image_mean"):
        return processor
    return getattr(processor, name, None)


def _pooling(model: SentenceTransformer) -> str | None:
    modes = [module.pooling_mode for module in model.modules() if type(module).__name__ == "Pooling"]
    if not modes:
        return None
    mode = modes[0]
    return mode if isinstance(mode, str) else "+".join(mode)


def _image_size(processor: Any) -> dict[str, int] | None:
    """Return pixel bounds where edges are only names for them, as in Qwen's processors, else the edges."""
    size = getattr(processor, "size", None)
    if size is None:
        return None
    edges = {name: int(value) for name, value in dict(size).items() if isinstance(value, int | float)}
    if hasattr(processor, "merge_size") and {"shortest_edge", "longest_edge"} <= edges.keys():
        return {"min_pixels": edges["shortest_edge"], "max_pixels": edges["longest_edge"]}
    crop = getattr(processor, "crop_size", None) if getattr(processor, "do_center_crop", False) else None
    cropped = {f"crop_{name}": int(value) for name, value in dict(crop or {}).items() if value is not None}
    return {**edges, **cropped} or None


def _matryoshka_dims(source: str, model: SentenceTransformer, config: Any) -> list[int] | None:
    """Look in the run's config, the model's config and the loss named in its card, in this order."""
    found: Any = _run_dims(Path(source))
    for key in ("matryoshka_dims", "matryoshka_dimensions"):
        found = found or getattr(config, key, None)
    if not found and (match := re.search(r'"matryoshka_dims":\s*(\[[\d\s,]+\])', _model_card(source, model))):
        found = json.loads(match.group(1))
    return sorted((int(dim) for dim in found), reverse=True) if found else None


def _run_dims(source: Path) -> Any:
    from omegaconf import OmegaConf

    run = run_of_model(str(source))
    if run is None:
        return None
    try:
        config: Any = OmegaConf.to_container(OmegaConf.load(run.config), resolve=True)
        return config.get("matryoshka_dims")
    except Exception:  # somebody else's config.yaml, which says nothing about this model
        return None


def _model_card(source: str, model: SentenceTransformer) -> str:
    path = Path(source) / "README.md"
    if path.is_file():
        return path.read_text(encoding="utf-8", errors="replace")
    return getattr(model, "_model_card_text", None) or ""


def _dtype(source: str, config: Any) -> str | None:
    """Return the config's dtype; where it has none, that of most values in the weights files' headers."""
    declared = getattr(config, "dtype", None)
    if declared is not None:
        return str(declared).removeprefix("torch.")
    counts: dict[str, int] = {}
    for path in sorted(Path(source).glob("*.safetensors")):
        for name, tensor in read_header(path).items():
            if name != "__metadata__":
                start, end = tensor["data_offsets"]
                counts[tensor["dtype"]] = counts.get(tensor["dtype"], 0) + end - start
    most = max(counts, key=lambda dtype: counts[dtype], default=None)
    return SAFETENSORS_DTYPES.get(most, most.lower()) if most else None


def _bytes_on_disk(source: str, revision: str | None) -> int | None:
    folder = Path(source)
    if folder.is_dir():
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    from huggingface_hub import model_info

    try:
        files = model_info(source, revision=revision, files_metadata=True).siblings or []
    except (OSError, ValueError):  # offline, with the configs in the cache
        return None
    return sum(file.size or 0 for file in files) or None
