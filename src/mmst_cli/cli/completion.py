"""What a shell offers where Tab is pressed, beside commands, options and files."""

from __future__ import annotations

from pathlib import Path

import typer

Offers = list[tuple[str, str]]
_RUNS = Path("runs")


def complete_key(incomplete: str) -> Offers:
    """Offer keys of configs."""
    from mmst_cli.config.key_completion import offered_keys

    return list(offered_keys(incomplete).items())


def complete_override(context: typer.Context, incomplete: str) -> Offers:
    """Offer KEY=VALUE for the config that the command line names before it."""
    from mmst_cli.config.key_completion import offered_overrides, offered_values

    named, words = _config_and_words(context)
    config = named / "config.yaml" if named.is_dir() else named
    name = _key_before(words, incomplete)
    offers = offered_overrides(incomplete, config) if name is None else offered_values(name, incomplete, config)
    return list(offers.items())


def _config_and_words(context: typer.Context) -> tuple[Path, list[str]]:
    """Return the config or run that a command line names, and the words behind it."""
    given = context.params
    target = given.get("target")
    if isinstance(target, list | tuple):  # of `mmst eval`, which takes all in one
        return Path(str(target[0])), list(target[1:])
    return Path(str(target or given.get("config") or "")), list(given.get("overrides") or ())


def _key_before(words: list[str], incomplete: str) -> str | None:
    """Return the key whose value is typed, in bash, which takes `=` for a word of its own; None while a key is."""
    if words[-1:] == ["="]:
        return words[-2] if len(words) > 1 else None
    # Right behind the `=` Typer leaves it out.
    behind = words and not incomplete and "=" not in words[-1] and words[-2:-1] != ["="] and "." in words[-1]
    return words[-1] if behind else None


def complete_run(incomplete: str) -> Offers:
    """Offer the run folders under `runs/`, the newest first; a shell offers files by itself where nothing fits."""
    newest = sorted(_RUNS.glob("*/config.yaml"), key=lambda file: file.stat().st_mtime, reverse=True)
    return [(str(file.parent), "a run") for file in newest if str(file.parent).startswith(incomplete)]


def complete_shipped(incomplete: str) -> Offers:
    """Offer the configs that come with mmst."""
    from mmst_cli.config.shipped import shipped_configs

    return [(one.name, one.description) for one in shipped_configs() if one.name.startswith(incomplete)]


def complete_device(incomplete: str) -> Offers:
    """Offer the devices that a plan can be made for."""
    from mmst_cli.planning.devices import DEVICES, GIB

    shown = {name: f"{one.label}, {one.memory / GIB:.0f} GiB" for name, one in DEVICES.items()}
    return [(name, words) for name, words in shown.items() if name.startswith(incomplete)]


def complete_target(context: typer.Context, incomplete: str) -> Offers:
    """Offer a run, then KEY=VALUE for its config, or for the config that stands in its place."""
    return complete_override(context, incomplete) if context.params.get("target") else complete_run(incomplete)
