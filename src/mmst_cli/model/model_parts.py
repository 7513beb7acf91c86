"""What a model is made of: one encoder, or several behind a router, and the parts of their processors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmst_cli.config.rules_model import SIDES, split_route
from mmst_cli.errors import ModelError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Router

    Modality = str | tuple[str, ...]
    Mappings = dict[tuple[str | None, Modality | None], str]

# The processor's part that takes each modality; a chat template joins them into messages.
PARTS = {
    "text": "tokenizer",
    "image": "image_processor",
    "audio": "feature_extractor",
    "video": "video_processor",
    "message": "chat_template",
}


def build_router(
    encoders: Mapping[str, SentenceTransformer], dimension: int | None, *, normalise: bool, seed: int
) -> SentenceTransformer:
    """Put encoders together: Router of (encoder, Dense to ``dimension``), then Normalize.

    An encoder that stands under several routes is shared by them, in memory and on disk, and trained by all of
    them; its routes have a projection each.

    Args:
        encoders: route, such as `text` or `query/image`, to its encoder, without a last normalisation.
        dimension: common size of the vectors; None where the encoders have the same size anyway.
        normalise: whether to end with vectors of length 1.
        seed: of the projections' first weights.

    Raises:
        ModelError: an encoder doesn't take what its route is for, or the sizes differ.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router
    from sentence_transformers.sentence_transformer.modules import Normalize

    _check_encoders(encoders, dimension)
    modules: dict[str, Any] = {_module_name(route): list(encoder) for route, encoder in encoders.items()}
    if dimension is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for route, encoder in encoders.items():
                modules[_module_name(route)].append(_projection(_size(encoder), dimension))
    # No default route: what no route is for is refused by name, instead of going through the first of them.
    router = Router(modules, route_mappings=_mappings(list(encoders)), allow_empty_key=False)
    device = next(iter(encoders.values())).device
    return SentenceTransformer(modules=[router, Normalize()] if normalise else [router], device=str(device))


def _projection(size: int, dimension: int) -> Dense:
    import torch
    from sentence_transformers.base.modules import Dense

    return Dense(size, dimension, bias=False, activation_function=torch.nn.Identity())


def _check_encoders(encoders: Mapping[str, SentenceTransformer], dimension: int | None) -> None:
    for route, encoder in encoders.items():
        _, modality = split_route(route)
        if modality is not None and modality not in encoder.modalities:
            raise ModelError(
                f"model.routes.{route}: {modality}: its encoder takes {', '.join(map(str, encoder.modalities))}."
                " Name one that takes it, or change the route."
            )
    sizes = {route: _size(encoder) for route, encoder in encoders.items()}
    if dimension is None and len(set(sizes.values())) > 1:
        found = ", ".join(f"{route} {size}" for route, size in sizes.items())
        raise ModelError(
            f"model.routes: the encoders' vectors differ in size: {found}. "
            f"Set model.dimension, such as {min(sizes.values())}, to project them to one."
        )


def _size(encoder: SentenceTransformer) -> int:
    size: int | None = encoder.get_embedding_dimension()
    if size is None:
        raise ModelError("model.routes: an encoder doesn't say how many dimensions its vectors have.")
    return size


def _module_name(route: str) -> str:
    return route.replace("/", "_")  # it becomes a folder's name


def _mappings(routes: list[str]) -> Mappings:
    """Return (side, modality) to module name.

    An input whose side isn't said is taken for a document; where no document route is for it, for a query.
    """
    mappings: Mappings = {}
    by_side = sorted(routes, key=lambda route: ("document", None, "query").index(split_route(route)[0]))
    for route in by_side:
        mappings[split_route(route)] = _module_name(route)
    for route in by_side:
        mappings.setdefault((None, split_route(route)[1]), _module_name(route))
    return mappings


def router_of(model: SentenceTransformer) -> Router | None:
    """Return the router at the beginning of a model, if it has one."""
    from sentence_transformers.base.modules import Router

    return model[0] if isinstance(model[0], Router) else None


def routes_for(model: SentenceTransformer, modality: Modality) -> list[str]:
    """Return the names of a routed model's routes that inputs of ``modality`` can go through."""
    router = router_of(model)
    if router is None:
        return []
    meant: dict[str, set[Any]] = {name: set() for name in router.sub_modules}
    for (_, wanted), name in router.route_mappings.items():
        meant[name].add(tuple(sorted(wanted)) if isinstance(wanted, tuple) else wanted)
    key = tuple(sorted(modality)) if isinstance(modality, tuple) else modality
    return [
        name
        for name, wanted in meant.items()
        # A route without a mapping is found by its name, that of a modality or of a side.
        if wanted & {key, None} or (not wanted and (name == key or name in SIDES or name == router.default_route))
        if _takes(getattr(router.sub_modules[name][0], "modalities", ["text"]), key)
    ]


def takes(model: SentenceTransformer, modality: Modality) -> bool:
    """Say whether a model takes a modality, or several in one input, on one of its routes if it has any.

    ``model.supports`` of a routed model answers for all encoders together, whatever their routes are for.
    """
    if router_of(model) is not None:
        return bool(routes_for(model, modality))
    return _takes(list(model.modalities), tuple(sorted(modality)) if isinstance(modality, tuple) else modality)


def taken_by(model: SentenceTransformer) -> str:
    """Return what a model takes, for messages."""
    return ", ".join(one if isinstance(one, str) else "+".join(one) for one in model.modalities)


def _takes(modalities: list[Any], wanted: Modality) -> bool:
    # As SentenceTransformer.supports, of one encoder.
    if wanted in modalities:
        return True
    return isinstance(wanted, tuple) and "message" in modalities and all(part in modalities for part in wanted)


def encoders_of(model: SentenceTransformer, modality: str) -> list[Any]:
    """Return the input modules that take ``modality``: of a routed model, those of the routes for it; else the first.

    Also those that take it beside others only, as PaliGemma takes images with a text. Empty where the model takes none.
    An encoder that several routes share comes once.
    """
    router = router_of(model)
    if router is None:
        known = (kind if isinstance(kind, tuple) else (kind,) for kind in model.modalities)
        return [model[0]] if any(modality in kinds for kinds in known) else []
    modules = (router.sub_modules[route][0] for route in routes_for(model, modality))
    return list({id(module): module for module in modules}.values())


def processor_part(encoder: Any, modality: str) -> Any:
    """Return the part of an encoder's processor that takes ``modality``; None where it has none.

    An encoder of one modality may have that part alone instead of a processor of parts.
    """
    processor = getattr(encoder, "processor", None)
    part = getattr(processor, PARTS[modality], None)
    if part is None and list(getattr(encoder, "modalities", ())) == [modality]:
        return processor
    return part
