"""Read a config: YAML, overrides and interpolation by OmegaConf; every fault together; models out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import GrammarParseError, OmegaConfBaseException

from mmst_cli.config.schema import SECRETS, Config, Section
from mmst_cli.config.shipped import SUFFIXES, shipped_configs
from mmst_cli.config.validation import Keys, dotted, fill_defaults, validate
from mmst_cli.config.yaml_names import keys_as_names
from mmst_cli.errors import ConfigError, did_you_mean, visible
from mmst_cli.shell_words import quoted

TABLES = (".csv", ".tsv", ".jsonl", ".parquet", ".arrow")
"""Endings of files of rows, which are given in place of a config at times."""


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> Config:
    """Read the config at ``path``, apply ``KEY=VALUE`` overrides and resolve interpolations.

    Relative paths in it are left as written. Rules across fields are not checked here.

    Raises:
        ConfigError: with every fault at once: a missing or broken file, an unknown key, a wrong type, a
            missing required field, an interpolation to nothing, an override that is none.
    """
    config, faults = read_config(path, overrides)
    if faults or config is None:
        raise ConfigError(*faults)
    return config


def read_config(path: Path | str, overrides: Sequence[str] = ()) -> tuple[Config | None, list[str]]:
    """Do what :func:`load_config` does, and return the faults beside the config.

    Where the faults are no more than unknown keys and bad overrides there is a config all the same, so that
    the rules can be checked on it and everything be reported together.

    Raises:
        ConfigError: the file is missing or no YAML.
    """
    faults: list[str] = []
    tree = read_tree(Path(path))
    for override in overrides:
        faults += _apply_override(tree, override)
    broken: dict[Keys, str] = {}
    unset: set[Keys] = set()
    plain = _resolve(_to_node(fill_defaults(tree, Config), path), broken, unset)
    config, found = validate(plain, broken, unset)
    return config, [*faults, *broken.values(), *found]


def with_model(config: Config, name_or_path: str) -> Config:
    """Return the config with another model, as a whole one: what the config's own is made of or gets is left out."""
    put_together: dict[str, Any] = {"routes": {}, "dimension": None, "frozen": []}
    put_together |= {"adapter": None, "quantization": None}
    model = config.model.model_copy(update={"name_or_path": name_or_path, "revision": None, **put_together})
    return config.model_copy(update={"model": model})


def with_override(config: Config, override: str) -> Config:
    """Return the config with one ``KEY=VALUE`` set, as the command line sets it.

    Raises:
        ConfigError: it can't be set.
    """
    tree = config.model_dump()
    if faults := _apply_override(tree, override):
        raise ConfigError(*faults)
    return Config.model_validate(tree)


def config_to_yaml(config: Config) -> str:
    """Return the config as YAML that ``load_config`` reads back to an equal one.

    Keys stand in the schema's order; fields left at None or at an empty default are left out, and so are tokens: what
    is written into a run, its report and its card is shown around.
    """
    training = {name: value for name, value in config.training.items() if name not in SECRETS}
    return OmegaConf.to_yaml(OmegaConf.create(_to_plain(config.model_copy(update={"training": training}))))


def as_yaml(value: Any) -> str:
    """Return a value on one line, as it stands for itself in a file or behind the `=` of an override."""
    listed = yaml.safe_dump([_to_plain(value)], default_flow_style=True, sort_keys=False, allow_unicode=True, width=inf)
    return str(listed).strip()[1:-1]


def read_tree(path: Path) -> dict[str, Any]:
    """Return a config as it is written, with nothing resolved or checked.

    Raises:
        ConfigError: the file is missing or no YAML.
    """
    if not path.is_file():
        raise ConfigError(f"{visible(path)}: {_nothing_there(path)}")
    refuse_rows(path)
    try:
        named = keys_as_names(path.read_text(encoding="utf-8"))
        tree = OmegaConf.to_container(OmegaConf.create(named) if named else OmegaConf.load(path), resolve=False)
    except yaml.MarkedYAMLError as error:
        mark, problem = error.problem_mark, error.problem or error.context
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(f"{path}: {where}this is not YAML: {problem}.") from error
    except GrammarParseError as error:
        raise ConfigError(_broken_interpolation(error, path)) from error
    except OmegaConfBaseException as error:
        key = f"{error.full_key}: " if error.full_key else ""
        raise ConfigError(f"{path}: {key}{str(error).splitlines()[0]}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: it can't be read as YAML: it is no text.{_drafted(path)}") from error
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: it can't be read as YAML: {error}.") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: a config is a mapping of keys to values; this is a list.{_drafted(path)}")
    return {str(key): value for key, value in tree.items()}


def refuse_rows(path: Path) -> None:
    """Raise where a file of rows is given in place of a config.

    Raises:
        ConfigError: its name ends as theirs do.
    """
    if path.suffix.lower() in TABLES and path.is_file():
        raise ConfigError(f"{visible(path)}: these are rows, not a config.{_drafted(path)}")


def _drafted(path: Path) -> str:
    """Return how to come from data to a config; nothing of what is called as configs are."""
    return "" if path.suffix in SUFFIXES else f" `mmst init --from {quoted(path)}` writes a config for data."


def _nothing_there(path: Path) -> str:
    if path.is_dir():
        nearby, found = path, "this is a folder, not a config file."
    else:
        nearby, found = path.parent, f"no such file; looked for {visible(path.absolute())}."
    names = sorted(str(p) for folder in (nearby, nearby / "configs") for p in folder.glob("*.y*ml"))[:8]
    suggestion = did_you_mean(str(path), names) + ("" if path.is_dir() else _how_to_get(path))
    if path.is_dir() and not names:
        return f"{found}{_drafted(path)}"
    return f"{found}{suggestion}" + (f" Configs nearby: {', '.join(names)}." if names else "")


def _how_to_get(path: Path) -> str:
    """Return how to write a config that comes with mmst to where it was looked for; nothing if none is called so."""
    if path.stem not in [config.name for config in shipped_configs()] or path.suffix not in (*SUFFIXES, ""):
        return ""
    output = quoted(path if path.suffix else path.with_suffix(".yaml"))
    return f" It comes with mmst: `mmst init {path.stem} --output {output}` writes it."


def _apply_override(tree: dict[str, Any], override: str) -> list[str]:
    """Set one ``KEY=VALUE`` in ``tree``, in place; return what is wrong with it."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        return [f"{override}: an override is KEY=VALUE, such as training.learning_rate=1e-5."]
    if override != override.encode("utf-8", "replace").decode():
        return [f"{visible(key)}: its value or its name holds bytes that are no text. Write it in UTF-8."]
    try:
        named = keys_as_names(text) or text
        parsed = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={named}"]), resolve=False)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        return [f"{key}: `{text}` can't be read as a YAML value: {str(error).splitlines()[0]}."]
    assert isinstance(parsed, dict)
    node: Any = tree
    *parents, last = key.split(".")
    for depth, name in enumerate(parents):
        if isinstance(node, dict):
            node = _child(node, name)
        elif fault := _bad_index(node, name, ".".join(parents[:depth])):
            return [f"{key}: {fault}"]
        else:
            node = node[int(name)]
    if isinstance(node, dict):
        node[last] = parsed["value"]
    elif fault := _bad_index(node, last, ".".join(parents)):
        return [f"{key}: {fault}"]
    else:
        node[int(last)] = parsed["value"]
    return []


def _child(node: dict[str, Any], name: str) -> Any:
    if node.get(name) is None:
        node[name] = {}
    return node[name]


def _bad_index(node: Any, name: str, parent: str) -> str | None:
    """Say what keeps ``name`` from being an entry of the list ``node``, or None if it is one."""
    if not isinstance(node, list):
        return f"{parent} is neither a mapping nor a list, so nothing in it can be set. Set {parent} itself."
    if not name.isdigit() or int(name) >= len(node):
        return f"{parent} is a list of {len(node)}; its entries are 0 to {len(node) - 1}, not {name}."
    return None


def _to_node(tree: dict[str, Any], path: Path | str) -> DictConfig:
    try:
        return OmegaConf.create(tree)
    except GrammarParseError as error:
        raise ConfigError(_broken_interpolation(error, path)) from error


def _broken_interpolation(error: GrammarParseError, path: Path | str) -> str:
    cause = str(error).splitlines()[0]
    key = re.sub(r"\[(\d+)\]", r".\1", error.full_key or str(path))
    return f"{key}: a broken interpolation, {cause}. It is written ${{key.of.another}}."


def _resolve(
    node: DictConfig | ListConfig,
    broken: dict[Keys, str],
    unset: set[Keys],
    above: Keys = (),
    inside: tuple[int, ...] = (),
) -> Any:
    """Return ``node`` as plain dicts and lists with every interpolation resolved.

    Where one refers to nothing, the entry is left out of a mapping and None in a list.

    Args:
        node: what is resolved.
        broken: takes the keys of such entries, each with its fault.
        unset: takes the keys of entries that are `???`.
        above: the keys of ``node`` itself.
        inside: identities of the nodes around it.
    """
    is_mapping = isinstance(node, DictConfig)
    plain: dict[Any, Any] = {}
    for name in list(node) if is_mapping else range(len(node)):
        keys = (*above, name)
        value: Any = None
        try:
            value = "???" if OmegaConf.is_missing(node, name) else node[name]
        except (OmegaConfBaseException, RecursionError) as error:
            broken[keys] = _unresolved(node, name, dotted(keys), error)
        if id(value) in (*inside, id(node)):
            broken[keys] = f"{dotted(keys)}: the interpolation refers to what it stands in."
        if value == "???":
            unset.add(keys)
        if keys in broken:
            value = None
        elif OmegaConf.is_config(value):
            value = _resolve(value, broken, unset, keys, (*inside, id(node)))
        if not (is_mapping and keys in broken):
            plain[name] = value
    return plain if is_mapping else list(plain.values())


def _unresolved(node: DictConfig | ListConfig, name: Any, full_key: str, error: Exception) -> str:
    text = str(OmegaConf.to_container(node, resolve=False)[name])  # type: ignore[index, call-overload]
    root = node._get_root()
    known = list(_all_keys(OmegaConf.to_container(root, resolve=False)))
    unknown = [inner for inner in re.findall(r"\$\{([\w.-]+)\}", text) if inner not in known]
    if not unknown:
        return f"{full_key}: {text} can't be resolved: {str(error).splitlines()[0]}."
    return f"{full_key}: {text} refers to nothing in the config.{did_you_mean(unknown[0], known)}"


def _all_keys(tree: Any, key: str = "") -> Iterator[str]:
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, value in entries:
        full_key = f"{key}.{name}" if key else str(name)
        yield full_key
        yield from _all_keys(value, full_key)


def _to_plain(value: Any) -> Any:
    """Return plain values without what says nothing, and with every literal ``${`` kept from being resolved."""
    if isinstance(value, Section):
        left_out = type(value).model_construct()
        kept = {n: v for n, v in value if not (_says_nothing(v) and v == getattr(left_out, n, None))}
        return {name: _to_plain(item) for name, item in kept.items()}
    if isinstance(value, Mapping):
        return {key: _to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(item) for item in value]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", str(value)) if isinstance(value, str) else value


def _says_nothing(value: Any) -> bool:
    return isinstance(value, Section) or value in (None, [], {})
