"""Models that losses are given beside the one that is trained, such as the guide of GISTEmbedLoss."""

from __future__ import annotations

from typing import Any

from mmst_cli.config.arguments import Signature, is_model
from mmst_cli.config.rules_model import check_model
from mmst_cli.config.schema import LossConfig, ModelConfig
from mmst_cli.config.validation import section_faults


def model_arguments(signature: Signature) -> list[str]:
    """Return the arguments that are models, but for the model that is trained."""
    return [name for name, parameter in signature.parameters.items() if name != "model" and is_model(parameter)]


def models_of(loss: LossConfig, signature: Signature | None) -> dict[str, ModelConfig]:
    """Return argument to the model that it names, of a loss that the rules passed."""
    named = model_arguments(signature) if signature else []
    return {name: ModelConfig.model_validate(loss.args[name]) for name in named if loss.args.get(name) is not None}


def check_loss_models(loss: LossConfig, signature: Signature, key: str) -> list[str]:
    """Return the faults of the models that a loss names; ``key`` is that of its arguments."""
    faults = []
    for name in model_arguments(signature):
        at, required = f"{key}.{name}", signature.parameters[name].required
        if name in loss.args and (loss.args[name] is not None or required):
            faults += _check_section(loss.args[name], at)
        elif required:
            faults.append(f"{at}: missing. {loss.type} needs a model here. Write {name}: {{name_or_path: ...}}.")
    return faults


def _check_section(tree: Any, key: str) -> list[str]:
    if isinstance(tree, str):
        return [f"{key}: found the text {tree}, and a model is a mapping. Write {{name_or_path: {tree}}}."]
    if faults := section_faults(ModelConfig, tree, key):
        return faults
    model = ModelConfig.model_validate(tree)
    if trained := [name for name in ("frozen", "adapter") if getattr(model, name)]:
        return [f"{key}.{trained[0]}: nothing of this model is trained. Leave it out."]
    return [key + fault.removeprefix("model") for fault in check_model(model)]
