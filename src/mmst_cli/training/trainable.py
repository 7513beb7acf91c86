"""What training refuses before it begins, told without a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmst_cli.config.schema import Config
from mmst_cli.model.precision import check_precision, default_device
from mmst_cli.retrieval.data_card import Rows
from mmst_cli.training.arguments import build_arguments
from mmst_cli.training.mixing import loss_rows


def check_trainable(config: Config, rows: Mapping[str, Rows]) -> None:
    """Check the trainer's arguments on this machine, and the columns as loaded against the losses.

    Raises:
        ConfigError: the arguments or the columns are refused.
        ModelError: this machine lacks the precision that is declared.
    """
    check_precision(config.training, default_device(config.training))
    build_arguments(config, Path(config.output_dir))
    loss_rows(config, rows)
