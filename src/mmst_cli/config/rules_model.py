"""Rules for the model, what it is put together from, how media are read for it, and its prompts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from mmst_cli.config.arguments import describe
from mmst_cli.config.schema import Attention, Config, DatasetConfig, MediaConfig, ModelConfig, Role, Use
from mmst_cli.errors import did_you_mean

SIDES = ("query", "document")
MODALITIES = ("text", "image", "audio", "video")
MIN_DPI, MAX_DPI = 10, 1200

_PROMPTED = (Role.anchor, Role.positive, Role.negative)


def split_route(route: str) -> tuple[str | None, str | None]:
    """Return side and modality of a route: `query/text` is both, `image` and `document` are one.

    Raises:
        ValueError: it is neither.
    """
    side, slash, modality = route.partition("/")
    if slash:
        if side in SIDES and modality in MODALITIES:
            return side, modality
    elif route in SIDES:
        return route, None
    elif route in MODALITIES:
        return None, route
    raise ValueError(f"{route}: not a route")


def check_model(model: ModelConfig) -> list[str]:
    """Return the faults of the ``model`` section: its name or routes, bounds of pixels, frozen parameters."""
    faults = _check_routes(model) if model.routes else _check_single(model)
    faults += _check_attention(model.attn_implementation)
    faults += _check_bounds(model.processor, "model.processor")
    if model.dimension is not None and model.dimension < 1:
        faults.append(f"model.dimension: found {model.dimension}; it is 1 or more.")
    for index, pattern in enumerate(model.frozen):
        try:
            re.compile(pattern)
        except re.error as error:
            faults.append(f"model.frozen.{index}: {pattern}: not a regular expression: {error}.")
    return faults


def _check_attention(name: str) -> list[str]:
    if name in list(Attention) or is_kernel(name):
        return []
    return [
        f"model.attn_implementation: found {describe(name)}, but it takes one of {', '.join(Attention)}, or a kernel of"
        f" the hub, such as kernels-community/flash-attn2.{did_you_mean(name, Attention)}"
    ]


def is_kernel(attention: str) -> bool:
    """Say whether an attention implementation is a kernel of the hub: `owner/name`, with `@revision` or `:function`."""
    return re.fullmatch(r"[^/:\s]+/[^/:\s]+(?::[^/:\s]+)?", attention) is not None


def check_media(media: MediaConfig) -> list[str]:
    """Return the faults of the ``media`` section."""
    above_zero = {"max_seconds": media.max_seconds, "fps": media.fps}
    whole = {"max_frames": media.max_frames, "max_pixels": media.max_pixels}
    faults = [
        f"media.{name}: found {value:g}; it is above 0. Leave it out for no limit."
        if name == "max_seconds"
        else f"media.{name}: found {value:g}; it is above 0. Leave it out for the processor's own."
        for name, value in above_zero.items()
        if value is not None and not 0 < value < float("inf")
    ]
    faults += [
        f"media.{name}: found {value}; it is 1 or more. Leave it out for no limit."
        for name, value in whole.items()
        if value is not None and value < 1
    ]
    if not MIN_DPI <= media.dpi <= MAX_DPI:
        faults.append(f"media.dpi: found {media.dpi}; it is {MIN_DPI} to {MAX_DPI} dots per inch.")
    return faults


def _check_single(model: ModelConfig) -> list[str]:
    faults = []
    if not model.name_or_path:
        faults.append(
            "model.name_or_path: missing. Name a hub id, a model folder or a built-in model as text, or declare routes."
        )
    if model.dimension is not None:
        faults.append(
            "model.dimension: only for a model with routes, which it gives one size. Leave it out; Matryoshka"
            " dimensions make the vectors of a model smaller."
        )
    return faults


def _check_routes(model: ModelConfig) -> list[str]:
    faults = []
    if model.name_or_path:
        faults.append("model.name_or_path: found beside routes, which have encoders of their own. Leave one out.")
    for name in ("revision", "pooling", "processor"):
        if getattr(model, name):
            faults.append(f"model.{name}: with routes, each encoder has its own: write it under model.routes.")
    if len(model.routes) < 2:
        faults.append("model.routes: one route needs no router. Write its encoder as model.name_or_path.")
    for route, section in model.routes.items():
        faults += _check_route_name(str(route))
        if not section.name_or_path:
            faults.append(f"model.routes.{route}.name_or_path: missing. Name a hub id, a folder or a built-in model.")
        faults += _check_bounds(section.processor, f"model.routes.{route}.processor")
    return faults


def _check_route_name(route: str) -> list[str]:
    try:
        split_route(route)
    except ValueError:
        return [
            f"model.routes.{route}: a route is a modality ({', '.join(MODALITIES)}), a side ({', '.join(SIDES)}) or"
            f" both, such as query/text.{did_you_mean(route, (*MODALITIES, *SIDES))}"
        ]
    return []


def _check_bounds(processor: Mapping[str, Any], key: str) -> list[str]:
    """Return the faults of the pixel bounds: positive whole numbers, the lower below the upper."""
    faults = []
    bounds = {name: processor[name] for name in ("min_pixels", "max_pixels") if name in processor}
    for name, value in bounds.items():
        if type(value) is not int or value < 1:
            faults.append(f"{key}.{name}: found {describe(value)}; it is a whole number of pixels above 0.")
    if not faults and len(bounds) == 2 and bounds["min_pixels"] > bounds["max_pixels"]:
        faults.append(
            f"{key}.min_pixels: {bounds['min_pixels']} is above max_pixels, {bounds['max_pixels']}."
            " Swap or change them."
        )
    return faults


def check_prompts(config: Config) -> list[str]:
    """Return the faults of `prompts`, at the top of the file and in the datasets."""
    faults = _check_roles(config.prompts, config.datasets.values(), "prompts", "no dataset has")
    negative = config.prompts.get(Role.negative)
    if negative is not None and negative != config.prompts.get(Role.positive):
        faults.append(
            "prompts.negative: positives and negatives are documents alike and take one prompt in evaluation."
            " Leave it out: negatives have the prompt of positives."
        )
    for name, dataset in config.datasets.items():
        key = f"datasets.{name}.prompts"
        faults += _check_roles(dataset.prompts, [dataset], key, f"{name} doesn't have")
        if dataset.prompts and dataset.use is not Use.train:
            faults.append(f"{key}: these are for training; evaluation takes `prompts` at the top. Leave them out.")
    if config.training.get("prompts") and (config.prompts or any(d.prompts for d in config.datasets.values())):
        faults.append("training.prompts: `prompts` says this by role. Keep one of the two.")
    return faults


def check_names_of_columns(config: Config) -> list[str]:
    """Return the faults of arguments of the trainer by column: names that no dataset has."""
    datasets, fields = list(config.datasets.values()), ("prompts", "router_mapping")
    given = {f"training.{field}": config.training.get(field) for field in fields}
    return [fault for key, value in given.items() for fault in _check_columns(value, datasets, key, config)]


def _check_columns(given: Any, datasets: list[DatasetConfig], key: str, config: Config) -> list[str]:
    """Return the faults of a mapping by column, or by dataset and column: names that there are not."""
    columns = [name for dataset in datasets for name in dataset.columns]
    faults = []
    for name, inner in given.items() if isinstance(given, Mapping) else ():
        if isinstance(inner, Mapping) and name in config.datasets:
            faults += _check_columns(inner, [config.datasets[name]], f"{key}.{name}", config)
        elif name not in config.datasets and not str(name).startswith(tuple(columns)):  # a list becomes several columns
            faults.append(f"{key}.{name}: there is no such column.{did_you_mean(str(name), columns)}")
    return faults


def _check_roles(prompts: Mapping[str, str], datasets: Iterable[DatasetConfig], key: str, nobody: str) -> list[str]:
    there = {column.role for dataset in datasets for column in dataset.columns.values()}
    if Role.positive in there or Role.negative in there:
        there |= {Role.positive}  # the prompt of documents, negatives among them
    faults = []
    for role in prompts:
        if role not in list(_PROMPTED):
            suggestion = did_you_mean(str(role), _PROMPTED)
            faults.append(f"{key}.{role}: prompts go by role: {', '.join(_PROMPTED)}.{suggestion}")
        elif role not in there:
            faults.append(f"{key}.{role}: {nobody} a column of the role {role}. Leave it out.")
    return faults
