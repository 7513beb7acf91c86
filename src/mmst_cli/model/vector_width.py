"""How many numbers an encoder's vectors have, where its config says something else."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from mmst_cli.errors import is_memory_shortage

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def settle_width(model: SentenceTransformer) -> None:
    """Make a raw checkpoint say how wide its vectors are, as one of them shows.

    sentence-transformers reads the width from the config under names that most families use; some have a projection
    behind that (EmbeddingGemma 2), or a top-level size that nothing in them has (PaliGemma). Without weights an
    encoder is run for its shapes alone, which some can't be: then the size of its tokens stands, if they are pooled.

    Args:
        model: one encoder, as it was loaded from a raw checkpoint; changed in place.
    """
    from sentence_transformers.sentence_transformer.modules import Pooling

    said = model[0].get_embedding_dimension()
    found = _width(model)
    if found is None and any(isinstance(module, Pooling) for module in model):
        found = getattr(model.config.get_text_config(), "hidden_size", None)  # of the tokens that are pooled
    if found is None or found == said:
        return
    model[0].get_embedding_dimension = partial(int, found)
    for place, module in enumerate(model):
        if isinstance(module, Pooling):
            model[place] = Pooling(found, pooling_mode=module.pooling_mode)


def _width(model: SentenceTransformer) -> int | None:
    features = _probe(model[0])
    if features is None:
        return None
    if model.device.type == "meta" and "input_ids" in features:
        # What looks at values can't be run without them: masks, and the places that images go to.
        features = {name: features[name] for name in ("input_ids", "modality") if name in features}
        features["attention_mask"] = None
    moved = {name: value.to(model.device) if torch.is_tensor(value) else value for name, value in features.items()}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            made = model[0](moved)
    except Exception as error:  # what it can't run is told when it is asked to
        if is_memory_shortage(error):
            raise
        return None
    vectors = made.get("token_embeddings", made.get("sentence_embedding"))
    return int(vectors.shape[-1]) if torch.is_tensor(vectors) else None


def _probe(encoder: Any) -> dict[str, Any] | None:
    """Return the features of a small input that the encoder takes."""
    from PIL import Image

    image = Image.new("RGB", (64, 64), "white")
    inputs = {"text": {"text": "a"}, "image": image, ("image", "text"): {"text": "a", "image": image}}
    kind = next((kind for kind in inputs if kind in getattr(encoder, "modalities", ())), None)
    try:
        return dict(encoder.preprocess([inputs[kind]])) if kind is not None else None
    except Exception:  # as above
        return None
