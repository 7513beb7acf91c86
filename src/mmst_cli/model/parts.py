"""The encoders within a model and the parts of their processors, behind a router too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmst_cli.model.routes import router_of, routes_for

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


def encoders_of(model: SentenceTransformer, modality: str) -> list[Any]:
    """Return the input modules that take ``modality``: of a routed model, those of the routes for it; else the first.

    Empty where the model doesn't take it. An encoder that several routes share comes once.
    """
    router = router_of(model)
    if router is None:
        return [model[0]] if modality in model.modalities else []
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
