"""Every path of the tables and figures of solvable systems, and the settings that rules give to their scripts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hessgeo.estimators.names import ESTIMATORS
from hessgeo.figures import registry
from hessgeo.figures.registry import Figure
from hessgeo.pipeline.derived import merged
from hessgeo.pipeline.digest import digest
from hessgeo.pipeline.folders import Folder, SampleStore
from hessgeo.pipeline.solvable import LATTICES, NO_FAMILIES, SCORED
from hessgeo.pipeline.solvable_groups import Group, Samples, groups_of

# What is made of the estimates, with what the report calls it.
TABLES = {
    "table1": "Table 1",
    "table1_potential": "Table 1, like with like",
    "fisher": "Fisher metrics",
    "sample_convergence": "against the number of samples",
}
TRAINED_FILES = {"config": "config.json", "weights": "model.safetensors", "numbers": "numbers.json"}
# Settings of a system that samples, exact solutions and estimates depend on: what it is, and what each needs beside.
SYSTEM = ("kind", "size", "parameters", "extent")
PARTS = {
    "samples": (*SYSTEM, "flow", "samples", "shard", "sweeps"),
    "truth": (*SYSTEM, "flow", "grid", "truth_samples"),
    "estimates": (*SYSTEM, "flow", "grid"),
}
# Settings that only some kinds have.
KINDS_WITH = {"sweeps": LATTICES, "flow": ("mixture-flow",)}
SHOWN_NETWORK = "exponential"  # of the figures that show one
TABLE_KINDS = ("csv", "tex", "html")


@dataclass(frozen=True)
class SolvableLayout(Folder):
    """The paths of the tables and figures of solvable systems; of wildcards in braces, templates for rules.

    Args:
        results: folder of everything that is produced.
        name: of the folder of the solvable systems in it.
        solvable: the checked settings ``solvable``.
    """

    solvable: Mapping[str, Any]

    @property
    def systems(self) -> Mapping[str, Any]:
        """Settings of the systems by name."""
        return self.solvable["systems"]

    @property
    def seeds(self) -> list[int]:
        """Seeds of samples and networks."""
        return list(self.solvable["seeds"])

    def of(self, name: str, *keys: str, **options: Any) -> Callable[[Any], Any]:
        """A function of a rule's wildcards: a method of the layout applied to those of them that ``keys`` name."""
        return lambda wildcards: getattr(self, name)(*(getattr(wildcards, key) for key in keys), **options)

    # Paths of one system, seed, number of samples.

    def truth(self, system: str) -> str:
        """The exact fields."""
        return self.path(system, "truth.nc")

    def sample_store(self, system: str, seed: str | int) -> SampleStore:
        """The sample store, whose name is a digest of all that its samples depend on."""
        return SampleStore(self.path(system, f"seed-{seed}"), digest(self.part(system, of="samples")))

    @property
    def any_store(self) -> SampleStore:
        """The sample store of whatever system and seed a rule works for, with wildcards."""
        return SampleStore(self.path("{system}", "seed-{seed}"), "{digest}")

    def store(self, system: str, seed: str | int) -> str:
        """Path of the sample store."""
        return self.sample_store(system, seed).path

    def samples(self, system: str, seed: str | int) -> list[str]:
        """All that a job waits for that reads the samples: metadata, shards and sidecars."""
        entry, store = self.systems[system], self.sample_store(system, seed)
        states = store.complete("state", entry["samples"] // entry["shard"])
        return list(dict.fromkeys([store.metadata("embedding"), *store.complete("t", 1), *states]))

    def network(self, system: str, seed: str | int, samples: str | int, network: str) -> dict[str, str]:
        """The files of a network that was trained on so many samples, by the names of the rule's outputs."""
        folder = self.path(system, f"seed-{seed}", str(samples), "networks", network)
        return {name: f"{folder}/{file}" for name, file in TRAINED_FILES.items()}

    def network_files(self, system: str, seed: str | int, samples: str | int, estimator: str) -> list[str]:
        """The files of the network that an estimator reads."""
        network = ESTIMATORS[estimator].network
        return list(self.network(system, seed, samples, network).values()) if network else []

    def estimate(self, system: str, seed: str | int, samples: str | int, estimator: str) -> str:
        """The estimate of one estimator from so many samples."""
        return self.path(system, f"seed-{seed}", str(samples), "estimates", f"{estimator}.nc")

    def parts(self, system: str, seed: str | int, samples: str | int) -> str:
        """The record of the networks and estimates that are made of so many samples, and of what each was made of."""
        return self.path(system, f"seed-{seed}", str(samples), "parts.json")

    def sidecars(self, system: str, seed: str | int) -> list[str]:
        """The sidecars of all samples, which say what each shard holds."""
        entry, store = self.systems[system], self.sample_store(system, seed)
        states = (store.sidecar("state", shard) for shard in range(entry["samples"] // entry["shard"]))
        return [store.sidecar("t", 0), *states]

    @property
    def templates(self) -> list[str]:
        """The files of any network and estimator, with wildcards."""
        place = ("{system}", "{seed}", "{samples}")
        return [*self.network(*place, "{network}").values(), self.estimate(*place, "{estimator}")]

    @cached_property
    def groups(self) -> list[Group]:
        """What one job makes each, a group a rule."""
        return groups_of(self, [figure.name for figure in self.figures if "estimates" in figure.reads])

    # Settings of one system.

    def part(self, system: str, *, of: str) -> dict[str, Any]:
        """The settings of a system that ``samples``, its ``truth`` or ``estimates`` depend on."""
        entry = self.systems[system]
        return {
            key: entry[key] for key in PARTS[of] if entry["kind"] in KINDS_WITH.get(key, (entry["kind"],))
        }

    def method(self, system: str, name: str, *, of: str) -> dict[str, Any]:
        """Settings of one of the ``networks`` or ``estimators`` for a system."""
        return merged(self.solvable[of][name], self.systems[system][of].get(name, {}))

    # What tables and figures read.

    def records(self, table: str) -> list[dict[str, Any]]:
        """The estimates that a table scores, in its order: ``system, estimator, samples, seed`` and their ``path``."""
        entry = self.solvable[table]
        seeds = self.seeds[: entry["seeds"]] if table == "convergence" else self.seeds
        return [
            {
                "system": system,
                "estimator": name,
                "samples": samples,
                "seed": seed,
                "path": self.estimate(system, seed, samples, name),
            }
            for system in entry["systems"]
            for samples in (entry["samples"] if table == "convergence" else [self.systems[system]["samples"]])
            for name in entry["estimators"]
            if self.fits(system, name)
            for seed in seeds
        ]

    def estimates(self, table: str) -> list[str]:
        """The files of those estimates."""
        return [record["path"] for record in self.records(table)]

    def fits(self, system: str, estimator: str) -> bool:
        """Whether an estimator can be used on a system.

        Known statistics exist in exponential families alone, and some networks read states of two values alone.
        """
        kind, entry = self.systems[system]["kind"], ESTIMATORS[estimator]
        return not (entry.exact and kind in NO_FAMILIES) and not (entry.binary and kind == "mixture-flow")

    @property
    def scored(self) -> list[str]:
        """All systems that a table has, each once."""
        return list(dict.fromkeys(name for table in SCORED for name in self.solvable[table]["systems"]))

    @property
    def truths(self) -> list[str]:
        """The exact fields of those systems."""
        return [self.truth(system) for system in self.scored]

    @property
    def table_files(self) -> list[str]:
        """The tables, each as numbers, for a paper and for a reader."""
        return [self.table(f"{name}.{kind}") for name in TABLES for kind in TABLE_KINDS]

    @property
    def targets(self) -> list[str]:
        """Everything that the target ``table1`` makes, with what is between: a result that was lost is made again."""
        records = [record for table in SCORED for record in self.records(table)]
        made = [
            path
            for record in records
            for path in (
                *self.samples(record["system"], record["seed"]),
                *self.network_files(record["system"], record["seed"], record["samples"], record["estimator"]),
                record["path"],
            )
        ]
        results = [*self.table_files, *self.figure_files(self.figures), self.path("numbers.json")]
        return [*dict.fromkeys([*self.truths, *made]), *results]

    # What figures show.

    def first(self, table: str, kind: str, *, natural: bool | None = None) -> str | None:
        """The first system of a kind in a table, in natural parameters (or not) if that matters; None if none is."""
        for name in self.solvable[table]["systems"]:
            system = self.systems[name]
            if system["kind"] == kind and natural in (None, system["parameters"] == "natural"):
                return name
        return None

    @property
    def shown(self) -> dict[str, list[str]]:
        """The systems that each figure shows; a figure for which there is none is not drawn."""
        families = [self.first("fisher", kind, natural=True) for kind in ("curie-weiss", "ising")]
        natural = [name for name in families if name is not None]
        flows = [self.first("fisher", "mixture-flow")]
        lattice = [name for name in natural if self.systems[name]["kind"] == "ising"]
        systems = {
            "ising_free_energy": [self.first("table1", "ising")],
            "tasep_free_energy": [self.first("table1", "tasep")],
            "learned_statistics": lattice,
            "sample_convergence": self.solvable["convergence"]["systems"],
            "posterior_sharpening": lattice,
            "bregman_divergence": lattice,
            "hessian_convergence": [
                name
                for name in self.solvable["convergence"]["systems"]
                if self.systems[name]["parameters"] == "natural"
                and self.systems[name]["kind"] not in NO_FAMILIES
            ][:1],
            "finite_size_scaling": ["ising"],
            "curvature_comparison": natural,
            "fisher_comparison": lattice or natural or flows,
            # Of none of them: a pair of modes is computed.
            "mode_pair": lattice or natural or flows,
            "noisy_flow": flows,
        }
        return {
            name: [one for one in names if one is not None] for name, names in systems.items() if any(names)
        }

    def shown_records(self, figure: str) -> list[dict[str, Any]]:
        """The estimates that a figure shows: of the first seed, and of all samples unless they are what it is about."""
        table = {"sample_convergence": "convergence", "hessian_convergence": "convergence"}.get(
            figure, "fisher"
        )
        systems, choice = self.shown.get(figure, []), self.solvable["figures"]
        if figure == "sample_convergence":
            return self.records(table)
        if figure in ("hessian_convergence", "fisher_comparison"):
            first = (systems[:1], self.seeds[0])
            return [r for r in self.records(table) if ([r["system"]], r["seed"]) == first]
        estimator = choice["tasep_estimator" if figure == "tasep_free_energy" else "estimator"]
        return [
            {
                "system": name,
                "estimator": estimator,
                "samples": (count := self.systems[name]["samples"]),
                "seed": self.seeds[0],
                "path": self.estimate(name, self.seeds[0], count, estimator),
            }
            for name in systems
        ]

    @property
    def shown_networks(self) -> list[tuple[Samples, str]]:
        """The networks that figures show by themselves, with the samples that they are trained on."""
        names = [
            name for figure in self.figures if "network" in figure.reads for name in self.shown[figure.name]
        ]
        return [((name, self.seeds[0], self.systems[name]["samples"]), SHOWN_NETWORK) for name in names]

    @property
    def figures(self) -> list[Figure]:
        """The figures that are drawn."""
        return [figure for figure in registry.SOLVABLE if figure.name in self.shown]
