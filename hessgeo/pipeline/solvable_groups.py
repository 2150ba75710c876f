"""What one job makes of the same samples of a solvable system: networks, and the estimates that read them.

A job of its own for each would spend more on imports than on most of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hessgeo.estimators.names import ESTIMATORS, NETWORKS
from hessgeo.pipeline.solvable import SCORED

if TYPE_CHECKING:
    from hessgeo.pipeline.code import Code
    from hessgeo.pipeline.solvable_layout import SolvableLayout

Samples = tuple[str, int, int]  # system, seed, number of samples
SCRIPT = "estimate_geometry.py"


@dataclass(frozen=True)
class Group:
    """The parts that the jobs of one rule make, and the samples that they are made of.

    Args:
        layout: the paths of solvable systems.
        number: of the rule among those alike, from zero.
        networks, estimators: their names.
        members: the samples of which all of these and no others are made.
    """

    layout: SolvableLayout
    number: int
    networks: tuple[str, ...]
    estimators: tuple[str, ...]
    members: tuple[Samples, ...]

    @property
    def suffix(self) -> str:
        """What the name of the rule ends with."""
        return f"_{self.number + 1}" if self.number else ""

    @property
    def systems(self) -> str:
        """Pattern of the wildcard ``system``, which looks ahead: other samples of a system may be of another group."""
        places = (f"{re.escape(name)}(?=/seed-{seed}/{samples}/)" for name, seed, samples in self.members)
        return "|".join(places) or "none"

    @property
    def outputs(self) -> list[str]:
        """The files that a job makes, with wildcards: the record of its parts first."""
        place = ("{system}", "{seed}", "{samples}")
        networks = (self.layout.network(*place, name).values() for name in self.networks)
        estimates = [self.layout.estimate(*place, name) for name in self.estimators]
        return [self.layout.parts(*place), *(path for files in networks for path in files), *estimates]

    def parts(self, wildcards: Any) -> dict[str, dict[str, dict[str, Any]]]:
        """Settings and files of the ``networks`` and ``estimators``, by name; of an estimator its network's name."""
        place = (wildcards.system, wildcards.seed, wildcards.samples)

        def part(kind: str, name: str, files: list[str]) -> dict[str, Any]:
            return {"settings": self.layout.method(wildcards.system, name, of=kind), "files": files}

        return {
            "networks": {
                name: part("networks", name, list(self.layout.network(*place, name).values()))
                for name in self.networks
            },
            "estimators": {
                name: part("estimators", name, [self.layout.estimate(*place, name)])
                | {"network": ESTIMATORS[name].network}
                for name in self.estimators
            },
        }

    def code(self, code: Code) -> Callable[[Any], dict[str, dict[str, str]]]:
        """A function of a rule's wildcards: a digest of the code of each part, by its kind and name."""

        def digest(*modules: str) -> str:
            return code.of(SCRIPT, {"hessgeo.estimators": modules})

        def digests(_: Any) -> dict[str, dict[str, str]]:
            return {
                "networks": {name: digest(NETWORKS[name].module) for name in self.networks},
                "estimators": {name: digest(*_modules(name)) for name in self.estimators},
            }

        return digests


def _modules(estimator: str) -> list[str]:
    """The module of an estimator, and that of the network it reads."""
    entry = ESTIMATORS[estimator]
    return list(dict.fromkeys([entry.module, *([NETWORKS[entry.network].module] if entry.network else [])]))


def groups_of(layout: SolvableLayout, figures: Iterable[str]) -> list[Group]:
    """The groups of all that tables and figures read, one for each set of networks and estimators.

    Args:
        layout: the paths of solvable systems.
        figures: the names of the figures that show estimates.
    """
    records = [record for table in SCORED for record in layout.records(table)]
    records += [record for figure in figures for record in layout.shown_records(figure)]
    estimators: dict[Samples, set[str]] = {}
    for record in records:
        place = (record["system"], int(record["seed"]), int(record["samples"]))
        estimators.setdefault(place, set()).add(record["estimator"])
    networks = {
        place: {network for name in names if (network := ESTIMATORS[name].network)}
        for place, names in estimators.items()
    }
    for place, name in layout.shown_networks:
        estimators.setdefault(place, set())
        networks.setdefault(place, set()).add(name)
    members: dict[tuple[tuple[str, ...], tuple[str, ...]], list[Samples]] = {}
    for place, names in estimators.items():
        # In the order of the registry: the sets of two groups may differ in one name.
        key = (
            tuple(name for name in NETWORKS if name in networks[place]),
            tuple(name for name in ESTIMATORS if name in names),
        )
        members.setdefault(key, []).append(place)
    return [
        Group(layout, number, *key, tuple(places)) for number, (key, places) in enumerate(members.items())
    ]
