"""`mmst inspect-modalities`: what a model takes and gives, found out without reading a weight."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table

from mmst_cli.model.adapter_folder import find_adapter
from mmst_cli.model.load_model import find_model
from mmst_cli.model.modality_facts import (
    ModalityFact,
    RouteFact,
    first_encoder,
    image_size,
    message_format,
    modality_facts,
    route_facts,
)
from mmst_cli.model.model_changes import pooling_of
from mmst_cli.model.model_media import sampling_rate
from mmst_cli.model.model_parts import encoders_of, router_of
from mmst_cli.model.weightless import build_without_weights, stored_tensors
from mmst_cli.runs import run_of_model

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

MAX_TOKENS = 10**9  # tokenizers without a limit say 10**30
SAFETENSORS_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16", "F64": "float64"}


@dataclass(frozen=True)
class ModelFacts:
    """What is known about a model from its configs. None where they don't say."""

    model: str
    revision: str | None
    architecture: str
    """Class of the transformers model; of a routed model, those of its routes."""
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
    sampling_rate: int | None
    """Of the sounds it wants, in Hz."""
    routes: list[RouteFact]
    """What each route of a routed model does; empty for a model of one encoder."""
    adapter: str | None
    """What it is an adapter of, in words; None for a whole model."""
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
    routes = route_facts(model)
    encoder = first_encoder(model)
    config = getattr(encoder, "config", None)
    max_length = _max_length(model)
    return ModelFacts(
        model=name_or_path,
        revision=revision,
        architecture=_by_route(routes, "architecture") or type(getattr(encoder, "model", model[0])).__name__,
        modalities=modality_facts(model),
        message_format=message_format(model),
        dimension=model.get_embedding_dimension(),
        matryoshka_dims=_matryoshka_dims(source, model, config),
        pooling=_by_route(routes, "pooling") if routes else pooling_of(model),
        normalised=_normalised(model),
        similarity=model.similarity_fn_name,
        prompts=dict(model.prompts),
        default_prompt=model.default_prompt_name,
        max_length=max_length if max_length and max_length < MAX_TOKENS else None,
        image_size=image_size(model),
        sampling_rate=sampling_rate(model),
        routes=routes,
        adapter=_adapter(source, revision),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        dtype=_dtype(source, config),
        bytes_on_disk=_bytes_on_disk(source, revision),
    )


def _adapter(source: str, revision: str | None) -> str | None:
    found = find_adapter(source, revision)
    if found is None:
        return None
    method = str(found.settings.get("peft_type"))
    kind = "DoRA" if found.settings.get("use_dora") else {"LORA": "LoRA"}.get(method, method)
    rank = f" of rank {found.settings['r']}" if found.settings.get("r") else ""
    return f"{kind}{rank} over {found.name}{f' at {found.revision}' if found.revision else ''}"


def _by_route(routes: list[RouteFact], name: str) -> str | None:
    """Return what all routes have, or what each of them has: `text: BertModel, image: CLIPModel`."""
    values = {route.route: getattr(route, name) for route in routes}
    if len(set(values.values())) <= 1:
        return next(iter(values.values()), None)
    return ", ".join(f"{route}: {value or 'none'}" for route, value in values.items())


def _normalised(model: SentenceTransformer) -> bool:
    router = router_of(model)
    ends = [model[-1]] if router is None or len(model) > 1 else [route[-1] for route in router.sub_modules.values()]
    return all(type(module).__name__ == "Normalize" for module in ends)


def _max_length(model: SentenceTransformer) -> int | None:
    if router_of(model) is None:
        length: int | None = model.max_seq_length
        return length
    lengths = [getattr(encoder, "max_seq_length", None) for encoder in encoders_of(model, "text")]
    return max((int(length) for length in lengths if length and length < MAX_TOKENS), default=None)


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
        for shape, dtype in stored_tensors(path).values():
            counts[dtype] = counts.get(dtype, 0) + prod(shape)
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


def facts_table(facts: ModelFacts) -> RenderableType:
    """Return two tables: the modalities, and everything else."""
    columns = ["modality", "taken", *(["route"] if facts.routes else []), "through", "by"]
    modalities = Table(title_justify="left", title=facts.model)
    for column in columns:
        modalities.add_column(column, overflow="fold")
    for fact in facts.modalities:
        through = " ".join(filter(None, [(fact.part or "").replace("_", " "), fact.part_class])) or "-"
        taken = "yes" if fact.supported else "no"
        route = [fact.route or "-"] if facts.routes else []
        modalities.add_row(fact.modality, taken, *route, through, fact.method or "-")
    rest = Table(show_header=False)
    rest.add_column(no_wrap=True)
    rest.add_column(overflow="fold")
    for name, value in _lines(facts).items():
        rest.add_row(name, value)
    return Group(modalities, rest)


def _lines(facts: ModelFacts) -> dict[str, str]:
    dims = ", ".join(str(dim) for dim in facts.matryoshka_dims or [])
    size = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in (facts.image_size or {}).items())
    prompts = "\n".join(f"{name}: {text!r}" for name, text in facts.prompts.items() if text)
    routes = "\n".join(
        f"{route.route}: {route.architecture}, {route.pooling or 'no'} pooling, {route.encoder_dimension} dimensions"
        + (f" projected to {route.dimension}" if route.projected else "")
        for route in facts.routes
    )
    return {
        **({"routes": routes} if routes else {}),
        **({"adapter": facts.adapter} if facts.adapter else {}),
        "architecture": facts.architecture,
        "parameters": f"{facts.parameters:,}",
        "dtype": facts.dtype or "not recorded",
        "size on disk": _in_units(facts.bytes_on_disk),
        "dimension": str(facts.dimension or "not recorded"),
        "Matryoshka dims": dims or "not recorded",
        "pooling": facts.pooling or "none",
        "normalised": "yes" if facts.normalised else "no",
        "similarity": facts.similarity or "not recorded",
        "message format": facts.message_format or "none",
        "maximum length": f"{facts.max_length:,} tokens" if facts.max_length else "not recorded",
        "image size": size or "none",
        "sampling rate": f"{facts.sampling_rate:,} Hz" if facts.sampling_rate else "none",
        "prompts": prompts or "none",
        "default prompt": facts.default_prompt or "none",
    }


def _in_units(size: int | None) -> str:
    if size is None:
        return "not known"
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"
