"""Keys of YAML mappings as they are written: `no`, `2024` and `null` are names, not false, a number or nothing."""

from __future__ import annotations

import yaml  # type: ignore[import-untyped]

_TEXT, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"


def keys_as_names(text: str) -> str | None:
    """Return YAML in which every key is text, or None where that is so already or ``text`` is no YAML."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:  # told by who reads it
        return None
    changed, seen, waiting = False, set[int](), [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
            continue
        for key, value in node.value:
            waiting.append(value)
            if isinstance(key, yaml.ScalarNode) and (key.tag not in (_TEXT, _MERGE) or _is_number(key)):
                key.tag, key.style, changed = _TEXT, "'", True
    return yaml.serialize(root) if changed else None


def _is_number(key: yaml.ScalarNode) -> bool:
    """Whether OmegaConf takes for a number what YAML takes for text: 1e5."""
    try:
        return key.style is None and float(key.value) is not None
    except ValueError:
        return False
