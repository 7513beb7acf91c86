"""What a run does that its plan doesn't count, in a line each."""

from __future__ import annotations

from collections.abc import Iterator

from mmst_cli.config.rules_loss import loss_datasets, used_losses
from mmst_cli.config.rules_loss_models import models_of
from mmst_cli.config.rules_mining import fills_by_mining
from mmst_cli.config.schema import Config, DatasetConfig
from mmst_cli.config.signatures import loss_signature

_OF_TRAINING = {
    "torch_compile": "what compiling takes and saves.",
    "use_liger_kernel": "what its kernels save.",
    "auto_find_batch_size": "smaller batches, where the one that is declared has no room.",
    "push_to_hub": "uploading the model.",
}
"""Fields of `training` that change what a run takes, and how."""
_SEEN_WHEN_MEASURED = ("torch_compile", "use_liger_kernel")


def not_counted(config: Config, processes: int, *, measured: bool) -> list[str]:
    """Return what a plan leaves out, each begun by its key.

    Args:
        config: the whole config.
        processes: that train together.
        measured: whether real steps were taken, which have all that a step has.
    """
    found = [line for name, section in config.datasets.items() for line in _of_dataset(name, section)]
    found += [f"datasets.{name}: evaluating the loss on it." for name in loss_datasets(config)]
    found += _of_guides(config, measured)
    fields = [name for name in _OF_TRAINING if not (measured and name in _SEEN_WHEN_MEASURED)]
    found += [f"training.{name}: {_OF_TRAINING[name]}" for name in fields if config.training.get(name)]
    if processes > 1:
        found.append("training: the time in which processes wait for each other and exchange gradients.")
    return found


def _of_dataset(name: str, section: DatasetConfig) -> Iterator[str]:
    every = None if section.mine is None else section.mine.every_epochs
    again = f", and again every {f'{every} epochs' if every > 1 else 'epoch'}" if every else ""
    if section.mine is not None or fills_by_mining(section):
        yield f"datasets.{name}.mine: mining its negatives before training{again}."
    if section.prepare:
        yield (
            f"datasets.{name}.prepare: preparing its images once; reading them is timed as if they weren't prepared."
        )


def _of_guides(config: Config, measured: bool) -> Iterator[str]:
    what = "its weights, which the memory measured has and the table leaves out" if measured else None
    for key, layers in used_losses(config).items():
        for index, layer in enumerate(layers):
            for name in models_of(layer, loss_signature(layer.type)):
                yield f"{key}.{index}.args.{name}: {what or 'the weights of this model and what it computes'}."
