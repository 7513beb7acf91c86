"""Learning rates by the names of parameters: each pattern is for some that are trained."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import nn

from mmst_cli.errors import ConfigError

KEY = "training.learning_rate_mapping"
_SHOWN = 3  # names that a message gives


def check_rates(rates: Mapping[str, float], losses: Iterable[nn.Module]) -> None:
    """Check that each pattern of `learning_rate_mapping` matches a parameter that is trained.

    Args:
        rates: regular expressions, searched in names, to rates.
        losses: the losses, with the model in them: their parameters have the names that are searched.

    Raises:
        ConfigError: one doesn't, or is no regular expression.
    """
    named = dict(parameter for loss in losses for parameter in loss.named_parameters())
    trained = [name for name, parameter in named.items() if parameter.requires_grad]
    some = ", ".join(trained[:: max(1, len(trained) // _SHOWN)][:_SHOWN])
    for pattern in rates:
        try:
            matched = [name for name in named if re.search(pattern, name)]
        except re.error as error:
            raise ConfigError(f"{KEY}.{pattern}: not a regular expression: {error}.") from error
        if not matched:
            raise ConfigError(f"{KEY}.{pattern}: no parameter has a name that matches. Names are such as {some}.")
        if not any(named[name].requires_grad for name in matched):
            raise ConfigError(
                f"{KEY}.{pattern}: the {len(matched)} parameters that match aren't trained, such as {matched[0]}. Those"
                f" that are have names such as {some}."
            )
