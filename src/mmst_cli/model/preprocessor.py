"""What of a model prepares its inputs, for processes that do only that."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import torch

from mmst_cli.model.image_planes import take_planes
from mmst_cli.model.raw_pixels import AS_BYTES, RawPixels

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class Preprocessor:
    """A model's `preprocess`. Pickled, it takes no weights along; a forked process has the model itself.

    Args:
        model: the model.
        raw: how pixels are handed over as bytes; as the processor normalises them if left out.
    """

    def __init__(self, model: SentenceTransformer, raw: RawPixels | None = None) -> None:
        self.model, self.raw = model, raw

    def __call__(self, inputs: list[Any], **options: Any) -> dict[str, Any]:
        """Return the features of inputs, as ``model.preprocess`` does, pixels as bytes where that was asked for."""
        if self.raw is None or all(map(_is_text, inputs)):
            return self.model.preprocess(inputs, **options)  # type: ignore[no-any-return]
        given = options.pop("processing_kwargs", {})
        told = {**given, "image": {**given.get("image", {}), **AS_BYTES}}
        return self.raw.pack(self.model.preprocess(inputs, processing_kwargs=told, **options))

    def __getstate__(self) -> dict[str, Any]:
        return {"model": without_weights(self.model), "raw": self.raw}

    def __setstate__(self, state: dict[str, Any]) -> None:
        take_planes()
        self.__dict__.update(state)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, dict) and value.keys() == {"text"})


def without_weights(model: SentenceTransformer) -> SentenceTransformer:
    """Return a copy of a model in memory whose parameters and buffers have a shape and no values.

    So do tensors that a forward pass leaves in a module, as Qwen3-VL's does. The data of its card are left out: a
    trainer puts examples there, images among them. So is what it does with features on their way to the device.
    """
    left = [value for module in model.modules() for value in vars(module).values() if torch.is_tensor(value)]
    tensors = [*model.parameters(), *model.buffers(), *left]
    memo: dict[int, Any] = {id(model.model_card_data): None, id(model._forward_pre_hooks): OrderedDict()}
    for tensor in tensors:
        empty = torch.empty_like(tensor, device="meta", requires_grad=False)
        is_parameter = isinstance(tensor, torch.nn.Parameter)
        memo[id(tensor)] = torch.nn.Parameter(empty, requires_grad=False) if is_parameter else empty
    copied = copy.deepcopy(model, memo)
    for shared in ("_inference", "_distributed_inference"):  # with the other processes of a run
        copied.__dict__.pop(shared, None)
    return copied


def runs_anywhere(model: SentenceTransformer) -> bool:
    """Say whether inputs can be prepared without the device that the model is on.

    Code that came with a checkpoint may do anything in its preprocessing.
    """
    owners = [model[0], getattr(model, "processor", None), getattr(model, "tokenizer", None)]
    owners += [module for module in model.modules() if hasattr(module, "preprocess")]
    return not any(type(owner).__module__.startswith("transformers_modules") for owner in owners)
