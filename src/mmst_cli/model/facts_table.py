"""The facts of `mmst inspect-modalities` as tables for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table

from mmst_cli.model.inspect import ModelFacts


def facts_table(facts: ModelFacts) -> RenderableType:
    """Return two tables: the modalities, and everything else."""
    columns = ["modality", "taken", *(["route"] if facts.routes else []), "through", "by"]
    modalities = Table(*columns, title_justify="left", title=facts.model)
    for fact in facts.modalities:
        through = " ".join(filter(None, [(fact.part or "").replace("_", " "), fact.part_class])) or "-"
        taken = "yes" if fact.supported else "no"
        route = [fact.route or "-"] if facts.routes else []
        modalities.add_row(fact.modality, taken, *route, through, fact.method or "-")
    rest = Table(show_header=False)
    rest.add_column(no_wrap=True)
    rest.add_column(overflow="fold")
    for name, value in _lines(facts).items():
        rest.add_row(name, value)
    return Group(modalities, rest)


def _lines(facts: ModelFacts) -> dict[str, str]:
    dims = ", ".join(str(dim) for dim in facts.matryoshka_dims or [])
    size = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in (facts.image_size or {}).items())
    prompts = "\n".join(f"{name}: {text!r}" for name, text in facts.prompts.items() if text)
    routes = "\n".join(
        f"{route.route}: {route.architecture}, {route.pooling or 'no'} pooling, {route.encoder_dimension} dimensions"
        + (f" projected to {route.dimension}" if route.projected else "")
        for route in facts.routes
    )
    return {
        **({"routes": routes} if routes else {}),
        "architecture": facts.architecture,
        "parameters": f"{facts.parameters:,}",
        "dtype": facts.dtype or "not recorded",
        "size on disk": _in_units(facts.bytes_on_disk),
        "dimension": str(facts.dimension or "not recorded"),
        "Matryoshka dims": dims or "not recorded",
        "pooling": facts.pooling or "none",
        "normalised": "yes" if facts.normalised else "no",
        "similarity": facts.similarity or "not recorded",
        "message format": facts.message_format or "none",
        "maximum length": f"{facts.max_length:,} tokens" if facts.max_length else "not recorded",
        "image size": size or "none",
        "sampling rate": f"{facts.sampling_rate:,} Hz" if facts.sampling_rate else "none",
        "prompts": prompts or "none",
        "default prompt": facts.default_prompt or "none",
    }


def _in_units(size: int | None) -> str:
    if size is None:
        return "not known"
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"
