"""Every path of the tables and figures of solvable systems, and the settings that rules give to their scripts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hessgeo.estimators.names import ESTIMATORS, NETWORKS
from hessgeo.pipeline.derived import merged
from hessgeo.pipeline.digest import digest
from hessgeo.pipeline.solvable import LATTICES, SCORED

# What is made of the estimates.
TABLES = ("table1", "table1_potential", "fisher", "sample_convergence")
TRAINED_FILES = ("config.json", "model.safetensors", "numbers.json")
STORE_FILES = {
    "group": "zarr.json",
    "embeddings": "embedding/zarr.json",
    "points_metadata": "t/zarr.json",
    "states_metadata": "state/zarr.json",
}
TABLE_KINDS = ("csv", "tex", "html")
FIGURES = (
    "ising_free_energy",
    "tasep_free_energy",
    "learned_statistics",
    "sample_convergence",
    "posterior_sharpening",
    "hessian_convergence",
    "finite_size_scaling",
    "curvature_comparison",
    "fisher_comparison",
)


@dataclass(frozen=True)
class SolvableLayout:
    """The paths of the tables and figures of solvable systems.

    Args:
        results: folder of everything that is produced.
        solvable: the checked settings ``solvable``.
    """

    results: str
    solvable: Mapping[str, Any]

    @property
    def systems(self) -> Mapping[str, Any]:
        """Settings of the systems by name."""
        return self.solvable["systems"]

    @cached_property
    def seeds(self) -> list[int]:
        """Seeds of samples and networks."""
        return list(self.solvable["seeds"])

    # Templates for rules.

    def path(self, *parts: str) -> str:
        """Path in the folder of the solvable systems."""
        return "/".join((self.results, "solvable", *parts))

    def seeded(self, *parts: str) -> str:
        """Path in the folder of one system and seed."""
        return self.path("{system}", "seed-{seed}", *parts)

    def counted(self, *parts: str) -> str:
        """Path in the folder of one system, seed and number of samples."""
        return self.seeded("{first}", *parts)

    def table(self, name: str) -> str:
        """Path of a table, across systems."""
        return "/".join((self.results, "tables", name))

    # Of one system and seed.

    def digest(self, system: str) -> str:
        """Name of the sample store: a digest of all that its samples depend on."""
        return digest(self.sampling(system))

    def sampling(self, system: str) -> dict[str, Any]:
        """Every setting that a sample of a system depends on, and how many a shard holds."""
        keys = ("kind", "size", "parameters", "extent", "samples", "shard", "sweeps")
        entry = self.systems[system]
        return {key: entry[key] for key in keys if key != "sweeps" or entry["kind"] in LATTICES}

    def store(self, system: str, seed: str | int) -> str:
        """The sample store."""
        return self.path(system, f"seed-{seed}", "samples", f"{self.digest(system)}.zarr")

    def samples(self, system: str, seed: str | int) -> list[str]:
        """All that a job waits for that reads the samples: metadata, shards and sidecars."""
        entry, store = self.systems[system], self.store(system, seed)
        shards = range(entry["samples"] // entry["shard"])
        manifest = self.path(system, f"seed-{seed}", "manifest", self.digest(system))
        return [
            *(f"{store}/{name}" for name in STORE_FILES.values()),
            f"{store}/t/c/0/0",
            f"{manifest}/t/0.json",
            *(f"{store}/state/c/{k}/0" for k in shards),
            *(f"{manifest}/state/{k}.json" for k in shards),
        ]

    def estimate(self, system: str, seed: str | int, count: int, estimator: str) -> str:
        """The estimate of one estimator from the first ``count`` samples."""
        return self.path(system, f"seed-{seed}", str(count), "estimates", f"{estimator}.nc")

    def network_files(self, system: str, seed: str | int, count: str | int, estimator: str) -> list[str]:
        """The files of the network that an estimator reads."""
        network = ESTIMATORS[estimator].network
        folder = self.path(system, f"seed-{seed}", str(count), "networks", str(network))
        return [f"{folder}/{file}" for file in TRAINED_FILES if network]

    def solved(self, wildcards: Any) -> dict[str, Any]:
        """The settings of a rule's system that its exact solution depends on."""
        keys = ("kind", "size", "parameters", "extent", "grid", "truth_samples")
        return {key: self.systems[wildcards.system][key] for key in keys}

    def seen(self, system: str) -> dict[str, Any]:
        """The settings of a system that its networks and estimators see: what it is, and the nodes they answer at."""
        return {key: self.systems[system][key] for key in ("kind", "size", "parameters", "extent", "grid")}

    def network_settings(self, system: str, network: str) -> dict[str, Any]:
        """Settings of a network for a system."""
        return merged(self.solvable["networks"][network], self.systems[system]["networks"].get(network, {}))

    def estimator_settings(self, system: str, estimator: str) -> dict[str, Any]:
        """Settings of an estimator for a system."""
        own = self.systems[system]["estimators"].get(estimator, {})
        return merged(self.solvable["estimators"][estimator], own)

    # The code of what is chosen by name, see ``Code.of``.

    def estimator_code(self, wildcards: Any) -> dict[str, list[str]]:
        """The module of an estimator, and that of the network it reads."""
        entry = ESTIMATORS[wildcards.estimator]
        network = [] if entry.network is None else [NETWORKS[entry.network][0]]
        return {"hessgeo.estimators": [entry.module, *network]}

    def network_code(self, wildcards: Any) -> dict[str, list[str]]:
        """The module of the trainer of a network."""
        return {"hessgeo.estimators": [NETWORKS[wildcards.network][0]]}

    # Functions of wildcards.

    def of(self, name: str, *keys: str) -> Callable[[Any], Any]:
        """A function of a rule's wildcards: a method of the layout applied to those of them that ``keys`` name."""
        return lambda wildcards: getattr(self, name)(*(getattr(wildcards, key) for key in keys))

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
        """Whether an estimator can be used on a system: known statistics exist in exponential families alone."""
        return not (ESTIMATORS[estimator].exact and self.systems[system]["kind"] == "tasep")

    @property
    def scored(self) -> list[str]:
        """All systems that a table has, each once."""
        return list(dict.fromkeys(name for table in SCORED for name in self.solvable[table]["systems"]))

    @property
    def truths(self) -> list[str]:
        """The exact fields of those systems."""
        return [self.path(system, "truth.nc") for system in self.scored]

    @property
    def table_files(self) -> list[str]:
        """The tables, each as numbers, for a paper and for a reader."""
        return [self.table(f"{name}.{kind}") for name in TABLES for kind in TABLE_KINDS]

    @property
    def figure_files(self) -> list[str]:
        """The figures and the numbers in them."""
        return [
            self.path("figures", f"{name}.{kind}") for name in self.shown for kind in ("svg", "png", "csv")
        ]

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
        results = [*self.table_files, *self.figure_files, self.path("numbers.json")]
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
        lattice = [name for name in natural if self.systems[name]["kind"] == "ising"]
        systems = {
            "ising_free_energy": [self.first("table1", "ising")],
            "tasep_free_energy": [self.first("table1", "tasep")],
            "learned_statistics": lattice,
            "sample_convergence": self.solvable["convergence"]["systems"],
            "posterior_sharpening": lattice,
            "hessian_convergence": [
                name
                for name in self.solvable["convergence"]["systems"]
                if self.systems[name]["parameters"] == "natural" and self.systems[name]["kind"] != "tasep"
            ][:1],
            "finite_size_scaling": ["ising"],
            "curvature_comparison": natural,
            "fisher_comparison": lattice or natural,
        }
        return {
            name: [one for one in systems[name] if one is not None] for name in FIGURES if any(systems[name])
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

    def shown_estimates(self, figure: str) -> list[str]:
        """The files of those estimates."""
        return [record["path"] for record in self.shown_records(figure)]

    def shown_truths(self, figure: str) -> list[str]:
        """The exact fields of the systems of a figure."""
        return [self.path(name, "truth.nc") for name in self.shown.get(figure, [])]

    def shown_systems(self, figure: str) -> dict[str, Any]:
        """Settings of the systems of a figure."""
        return {name: self.systems[name] for name in self.shown.get(figure, []) if name in self.systems}

    @property
    def _lattice(self) -> tuple[str, int, int] | None:
        """The lattice whose learned statistics are drawn, with a seed and the number of its samples."""
        names = self.shown.get("learned_statistics", [])
        return (names[0], self.seeds[0], self.systems[names[0]]["samples"]) if names else None

    @property
    def shown_samples(self) -> list[str]:
        """Its samples."""
        return self.samples(*self._lattice[:2]) if self._lattice else []

    @property
    def shown_store(self) -> str | None:
        """The store of them."""
        return self.store(*self._lattice[:2]) if self._lattice else None

    @property
    def shown_network(self) -> list[str]:
        """The network that learned statistics of them."""
        return self.network_files(*self._lattice, "exponential") if self._lattice else []
