"""What a checkpoint needs beside the model, so that a resumed run is the run: weights of the loss, rate, decay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME

from mmst_cli.errors import ConfigError, MmstError, RunError, first_line

LOSS_WEIGHTS = "loss.safetensors"
_SETTINGS = ("weight_decay", "betas", "eps")  # some optimizers keep what they learned beside these


@contextmanager
def told_of_damage(checkpoint: Path) -> Iterator[None]:
    """Turn what is raised about a file of a checkpoint into a sentence; each has its length, else it isn't whole.

    Raises:
        RunError: something was raised that is neither an :class:`MmstError` nor about memory.
    """
    try:
        yield
    except (MmstError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # torch, safetensors, transformers and the modules raise what they like
        reason = first_line(error).split(". ")[0].rstrip(".")
        raise RunError(
            f"{checkpoint} is damaged and can't be read: {reason}. Remove it to go on from the checkpoint before it, or"
            " begin anew by --overwrite."
        ) from error


def weights_of_losses(loss: nn.Module | Mapping[str, nn.Module], model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the parameters and buffers that losses have of their own: not the model's, and not a frozen guide's.

    Args:
        loss: the loss, or one a dataset, by its name.
        model: the model that is trained.
    """
    seen = {id(tensor) for tensor in model.state_dict(keep_vars=True).values()}
    losses = dict(loss) if isinstance(loss, Mapping) else {"": loss}
    found = {}
    for name, module in losses.items():
        for key, tensor in _own(module, f"{name}." if name else ""):
            if id(tensor) not in seen:  # datasets may share a loss
                seen.add(id(tensor))
                found[key] = tensor
    return found


def _own(module: nn.Module, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    lasting = {name for name in module._buffers if name not in module._non_persistent_buffers_set}
    for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
        if tensor is not None and (name in module._parameters or name in lasting):
            yield f"{prefix}{name}", tensor
    for name, inner in module.named_children():
        is_guide = isinstance(inner, SentenceTransformer) and not any(p.requires_grad for p in inner.parameters())
        if not is_guide:  # the copy of the model that ContrastiveTensionLoss trains is none
            yield from _own(inner, f"{prefix}{name}.")


def save_loss_weights(folder: Path, loss: nn.Module | Mapping[str, nn.Module], model: nn.Module) -> None:
    """Write what losses have learned into a checkpoint; nothing where they have no weights."""
    weights = weights_of_losses(loss, model)
    if weights:
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
        save_file(tensors, folder / LOSS_WEIGHTS)


def load_loss_weights(checkpoint: Path, loss: nn.Module | Mapping[str, nn.Module], model: nn.Module) -> str | None:
    """Give losses back what they had learned, and return a sentence where a checkpoint doesn't have it.

    Raises:
        ConfigError: its weights are others than the loss has.
    """
    weights = weights_of_losses(loss, model)
    path = checkpoint / LOSS_WEIGHTS
    if not path.is_file():
        return f"{checkpoint} was saved without the weights of the loss: they begin anew." if weights else None
    saved = load_file(path)
    if {name: tensor.shape for name, tensor in saved.items()} != {name: one.shape for name, one in weights.items()}:
        raise ConfigError(
            f"loss: its weights are {_shapes(weights)}, and {path} holds {_shapes(saved)}."
            " Resume with the loss as it was when the checkpoint was saved."
        )
    with torch.no_grad():
        for name, tensor in weights.items():
            tensor.copy_(saved[name])
    return None


def _shapes(weights: Mapping[str, torch.Tensor]) -> str:
    return ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in weights.items()) or "none"


class AskedSettings:
    """Learning rates and the optimizer's settings as the config asks for them, which a checkpoint has as they were."""

    def __init__(self, optimizer: Any, scheduler: Any) -> None:
        self.groups = [{name: group[name] for name in _SETTINGS if name in group} for group in optimizer.param_groups]
        self.rates = list(getattr(_inner(scheduler), "base_lrs", ()))

    def apply(self, optimizer: Any, scheduler: Any, step: int | None = None) -> None:
        """Set them, after a checkpoint was read. Where nothing changed, every number stays what it is.

        Args:
            optimizer: the optimizer, with what is in the checkpoint.
            scheduler: its schedule; one that isn't a function of the step stays as it is.
            step: steps taken, where the checkpoint has no state of the schedule.
        """
        for group, asked in zip(optimizer.param_groups, self.groups, strict=True):
            group.update(asked)
        inner = _inner(scheduler)
        if not isinstance(inner, LambdaLR):
            return
        if step is not None:
            inner.last_epoch, inner._step_count = step, step + 1
        inner.base_lrs = list(self.rates)
        rates = [rate * factor(inner.last_epoch) for rate, factor in zip(self.rates, inner.lr_lambdas, strict=True)]
        for group, base, rate in zip(optimizer.param_groups, self.rates, rates, strict=True):
            group["initial_lr"] = base
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        inner._last_lr = rates


def _inner(scheduler: Any) -> Any:
    return getattr(scheduler, "scheduler", scheduler)


def lacks_optimizer(checkpoint: Path) -> bool:
    """Say whether a checkpoint holds weights alone, as with ``save_only_model``."""
    # The library takes both or none.
    return not all((checkpoint / name).is_file() for name in (OPTIMIZER_NAME, SCHEDULER_NAME))
