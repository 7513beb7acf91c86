"""How media are read, as the command line says it: options in the place of the config's ``media`` section."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mmst_cli.config.load import load_config
from mmst_cli.config.rules_model import check_media
from mmst_cli.config.schema import MediaConfig
from mmst_cli.errors import ConfigError
from mmst_cli.model.load_model import find_model
from mmst_cli.runs import run_of_model

_SETTING = re.compile(rf"\bmedia\.({'|'.join(MediaConfig.model_fields)})\b")


def media_settings(model: str, given: Mapping[str, Any]) -> MediaConfig:
    """Return how media are read: as given, else as the run was trained, else as they are.

    Args:
        model: as on the command line.
        given: fields of MediaConfig; None where one was not given.

    Raises:
        ConfigError: a value that it can't be.
    """
    run = run_of_model(find_model(model))
    trained = load_config(run.config).media if run is not None else MediaConfig()
    settings = trained.model_copy(update={name: value for name, value in given.items() if value is not None})
    if faults := check_media(settings):
        raise ConfigError(*map(in_options, faults))
    return settings


def parse_pages(text: str | None) -> Any:
    """Return ``--pages`` as the config has it: None, all, first or a list of numbers.

    Raises:
        ConfigError: it is none of these.
    """
    if text is None or text in ("all", "first"):
        return text
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise ConfigError(f"--pages {text}: write all, first, or numbers from 1 such as 1,3.")
    return list(dict.fromkeys(numbers))


def in_options(message: str) -> str:
    """Return a message with the options of the command line in place of the config's ``media`` keys."""
    return _SETTING.sub(lambda found: f"--{found[1].replace('_', '-')}", message)
