"""The trainer's own arguments, from the ``training`` section."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmst_cli.config.schema import Config
from mmst_cli.errors import ConfigError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformerTrainingArguments


def build_arguments(config: Config, output_dir: Path) -> SentenceTransformerTrainingArguments:
    """Build SentenceTransformerTrainingArguments; nothing is written.

    Raises:
        ConfigError: the class refuses a value.
    """
    from sentence_transformers import SentenceTransformerTrainingArguments

    given = dict(config.training)
    if any(dataset.streaming for dataset in config.datasets.values()):
        # Accelerate would cut batches of a stream by the length of their first tensor, and images with them.
        given["accelerator_config"] = {"dispatch_batches": False, **(given.get("accelerator_config") or {})}
    try:
        return SentenceTransformerTrainingArguments(output_dir=str(output_dir), run_name=config.run_name, **given)
    except (ValueError, TypeError, ImportError) as error:
        raise ConfigError(f"training: {' '.join(str(error).split())}") from error
