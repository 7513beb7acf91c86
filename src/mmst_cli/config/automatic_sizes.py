"""`mini_batch_size: auto`: for which losses it stands, and the config with the numbers that were found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmst_cli.config.load import load_config
from mmst_cli.config.rules_loss import loss_layers, used_losses
from mmst_cli.config.schema import AUTO, Config
from mmst_cli.config.signatures import loss_signature
from mmst_cli.errors import ConfigError

SIZE = "mini_batch_size"


def automatic_losses(config: Config) -> list[str]:
    """Return the dotted keys of the losses whose mini-batches the memory of the device decides."""
    return [key for key, layers in used_losses(config).items() if layers and layers[0].args.get(SIZE) == AUTO]


def default_size(config: Config, key: str) -> int:
    """Return the rows of a mini-batch of the loss of a dotted key, where the config doesn't say."""
    signature = loss_signature(loss_layers(config, key)[0].type)
    default = signature.parameters[SIZE].default if signature else None
    return int(default) if default else 32


def size_key(key: str) -> str:
    """Return the dotted key of the size of mini-batches, by that of the loss."""
    return f"{key}.0.args.{SIZE}"


def with_sizes(config: Config, sizes: Mapping[str, int]) -> Config:
    """Return the config with the sizes of mini-batches, by the dotted key of the loss."""
    found = config.model_copy(deep=True)
    for key, size in sizes.items():
        loss_layers(found, key)[0].args[SIZE] = size
    return found


def with_recorded_sizes(config: Config, begun: Path) -> Config:
    """Return the config with the sizes that a run was begun with, where it says auto: gone on with, it is the same run.

    Args:
        config: what the run is gone on with.
        begun: the ``config.yaml`` of the run; where it can't be read, others say so.
    """
    keys = automatic_losses(config)
    if not keys or not begun.is_file():
        return config
    try:
        before = load_config(begun)
    except ConfigError:
        return config
    return with_sizes(config, {key: size for key in keys if (size := _recorded(before, config, key))})


def _recorded(before: Config, now: Config, key: str) -> int | None:
    try:
        then = loss_layers(before, key)
    except KeyError:  # the dataset wasn't there
        return None
    size = then[0].args.get(SIZE) if then and then[0].type == loss_layers(now, key)[0].type else None
    return size if isinstance(size, int) else None
