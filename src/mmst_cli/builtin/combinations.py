"""Combinations of attributes for generated data: drawn at random, held out for evaluation, nearly the same."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

Attributes = TypeVar("Attributes")

NEAR_MISSES = 3  # combinations held out that differ from one of them in one or two attributes


@dataclass(frozen=True)
class Combinations(Generic[Attributes]):
    """All combinations of some attributes.

    Args:
        kind: the dataclass of a combination.
        domains: attribute to its values.
    """

    kind: type[Attributes]
    domains: Mapping[str, Sequence[Any]]

    def sample(self, rng: random.Random) -> Attributes:
        """Draw one combination."""
        return self.kind(**{name: rng.choice(values) for name, values in self.domains.items()})

    def near_miss(self, combination: Attributes, rng: random.Random, changes: int) -> Attributes:
        """Return ``combination`` with ``changes`` attributes changed."""
        names = rng.sample(list(self.domains), changes)
        others = {n: [v for v in self.domains[n] if v != getattr(combination, n)] for n in names}
        return replace(combination, **{n: rng.choice(values) for n, values in others.items()})  # type: ignore[type-var]

    def held_out(self, rows: int, seed: int) -> list[Attributes]:
        """Return ``rows`` different combinations in groups of near misses of one another."""
        rng = random.Random(seed)
        found: dict[Attributes, None] = {}
        while len(found) < rows:
            centre = self.sample(rng)
            group = [centre, *(self.near_miss(centre, rng, 1 + i // 2) for i in range(NEAR_MISSES))]
            if len(set(group)) == len(group) and not any(one in found for one in group):
                found.update(dict.fromkeys(group[: rows - len(found)]))
        return list(found)

    def others(self, rows: int, held_out: set[Attributes], seed: int) -> list[Attributes]:
        """Return ``rows`` combinations, none of them in ``held_out``."""
        rng = random.Random(f"train-{seed}")
        found: list[Attributes] = []
        while len(found) < rows:
            one = self.sample(rng)
            if one not in held_out:
                found.append(one)
        return found
