"""What a model's encoders take, and through which parts: of one encoder, or of each behind a router."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmst_cli.model.model_changes import pooling_of
from mmst_cli.model.model_parts import PARTS, encoders_of, processor_part, router_of, routes_for, takes

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


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
    route: str | None = None
    """The route it goes through, where a router chooses one."""


@dataclass(frozen=True)
class RouteFact:
    """What one route of a routed model does."""

    route: str
    takes: list[str]
    """Modalities that go through it."""
    architecture: str
    pooling: str | None
    encoder_dimension: int | None
    """Size of the encoder's vectors."""
    dimension: int | None
    """Size of the vectors at its end."""
    projected: bool
    """Whether a Dense layer stands between the two."""


def first_encoder(model: SentenceTransformer) -> Any:
    """Return the first Transformer module, inside a router too; None where there is none."""
    from sentence_transformers.sentence_transformer.modules import Transformer

    return next((module for module in model.modules() if isinstance(module, Transformer)), None)


def modality_facts(model: SentenceTransformer) -> list[ModalityFact]:
    """Return a fact for every modality, and for a routed model one for every route that takes it."""
    router = router_of(model)
    others = [modality for modality in model.modalities if modality not in PARTS and takes(model, modality)]
    facts = []
    for modality in [*PARTS, *others]:
        name = modality if isinstance(modality, str) else "+".join(modality)
        if not takes(model, modality):
            facts.append(ModalityFact(name, supported=False))
        elif router is None:
            facts.append(_modality_fact(modality, name, model[0], None))
        else:
            routes = routes_for(model, modality)
            facts += [_modality_fact(modality, name, router.sub_modules[route][0], route) for route in routes]
    return facts


def _modality_fact(modality: Any, name: str, encoder: Any, route: str | None) -> ModalityFact:
    part, value = _part_of(modality, encoder)
    part_class = None if part == PARTS["message"] else type(value).__name__
    return ModalityFact(name, True, part, part_class, _config_of(encoder, modality).get("method"), route)


def _part_of(modality: Any, encoder: Any) -> tuple[str, Any]:
    if modality not in PARTS:
        return "processor", getattr(encoder, "processor", None)
    if not hasattr(encoder, "processor"):  # word and static embeddings have a tokenizer alone
        return PARTS[modality], encoder.tokenizer
    value = processor_part(encoder, modality)
    return PARTS[modality], encoder.processor if value is None else value


def _config_of(encoder: Any, modality: Any) -> Mapping[str, Any]:
    config: Mapping[str, Any] = getattr(encoder, "modality_config", {}).get(modality, {})
    return config


def message_format(model: SentenceTransformer) -> str | None:
    """Return how messages are written: `structured`, a list of typed parts, or `flat`, a string; None if not taken."""
    return next((_config_of(encoder, "message").get("format") for encoder in encoders_of(model, "message")), None)


def route_facts(model: SentenceTransformer) -> list[RouteFact]:
    """Return what each route does, in their order; empty for a model of one encoder."""
    router = router_of(model)
    if router is None:
        return []
    taken = {modality: routes_for(model, modality) for modality in PARTS}
    return [
        _route_fact(name, list(modules), [modality for modality, routes in taken.items() if name in routes])
        for name, modules in router.sub_modules.items()
    ]


def _route_fact(name: str, modules: list[Any], taken: list[str]) -> RouteFact:
    sizes = [(module, module.get_embedding_dimension()) for module in modules if _has_size(module)]
    unprojected = [size for module, size in sizes if type(module).__name__ != "Dense"]
    return RouteFact(
        route=name,
        takes=taken,
        architecture=type(getattr(modules[0], "model", modules[0])).__name__,
        pooling=pooling_of(modules),
        encoder_dimension=unprojected[-1] if unprojected else None,
        dimension=sizes[-1][1] if sizes else None,
        projected=type(modules[-1]).__name__ == "Dense",
    )


def _has_size(module: Any) -> bool:
    return hasattr(module, "get_embedding_dimension")


def image_size(model: SentenceTransformer) -> dict[str, int] | None:
    """Return pixel bounds where edges are only names for them, as in Qwen's processors, else the edges."""
    processor = next((processor_part(encoder, "image") for encoder in encoders_of(model, "image")), None)
    size = getattr(processor, "size", None)
    if size is None:
        return None
    edges = {name: int(value) for name, value in dict(size).items() if isinstance(value, int | float)}
    if hasattr(processor, "merge_size") and {"shortest_edge", "longest_edge"} <= edges.keys():
        return {"min_pixels": edges["shortest_edge"], "max_pixels": edges["longest_edge"]}
    crop = getattr(processor, "crop_size", None) if getattr(processor, "do_center_crop", False) else None
    cropped = {f"crop_{name}": int(value) for name, value in dict(crop or {}).items() if value is not None}
    return {**edges, **cropped} or None
