"""The solvable systems of a run: their samplers as settings say, and every path of the tables that they make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hessgeo.workflow.schema import shown
from hessgeo.workflow.study import merged

if TYPE_CHECKING:
    from hessgeo.estimators.base import Samples
    from hessgeo.systems.solvable import Coordinates, SolvableSystem
    from hessgeo.systems.tasep import Tasep

# Settings that name what is scored, and the tables that are made of them.
SCORED = ("table1", "fisher", "convergence")
TABLES = ("table1", "table1_potential", "fisher", "sample_convergence")
TRAINED_FILES = ("config.json", "model.safetensors", "numbers.json")
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
GEOMETRIES = {
    "ising": "torus",
    "isnnn": "torus",
    "ising-chain": "ring",
    "curie-weiss": "exchangeable",
    "tasep": "open",
}
# Parameters of a study beside the natural ones.
PARAMETERS = {"ising": ("temperature",), "ising-chain": ("temperature",), "curie-weiss": ("temperature",),
              "isnnn": ("mixture",), "tasep": ()}  # fmt: skip
LATTICES = ("ising", "isnnn")


def coordinates(settings: Mapping[str, Any]) -> Coordinates | None:
    """The coordinates that a system's ``parameters`` name; None for its natural ones."""
    from hessgeo.systems.isnnn import MIXTURE
    from hessgeo.systems.solvable import TEMPERATURE_FIELD

    return {"natural": None, "temperature": TEMPERATURE_FIELD, "mixture": MIXTURE}[settings["parameters"]]


def load_system(settings: Mapping[str, Any]) -> SolvableSystem | Tasep:
    """The system that an entry of ``solvable.systems`` describes."""
    # Imported here: compiled samplers take a second to import, and settings are read by every job.
    from hessgeo.systems.curie_weiss import CurieWeiss
    from hessgeo.systems.ising import Ising
    from hessgeo.systems.ising_chain import IsingChain
    from hessgeo.systems.isnnn import IsingNextNearest
    from hessgeo.systems.tasep import Tasep

    kind, size, own = settings["kind"], settings["size"], coordinates(settings)
    # Only samplers have sweeps: an exact solution does without.
    sweeps = settings.get("sweeps", 1)
    if kind == "ising":
        return Ising(size, coordinates=own, sweeps=sweeps)
    if kind == "isnnn":
        return IsingNextNearest(size, coordinates=own, method="cluster", sweeps=sweeps)
    if kind == "ising-chain":
        return IsingChain(size, coordinates=own)
    if kind == "curie-weiss":
        return CurieWeiss(size, coordinates=own)
    return Tasep(size)


def gather_samples(settings: Mapping[str, Any], states: Any, t: Any) -> Samples:
    """Stored states as estimators take them, with the statistics that the system itself knows."""
    from hessgeo.estimators.base import Samples
    from hessgeo.grids import Grid
    from hessgeo.systems.solvable import SolvableSystem, natural_coordinates

    system = load_system(settings)
    known = isinstance(system, SolvableSystem)
    return Samples(
        states=states.reshape(-1, *system.sample_shape),
        t=t,
        grid=Grid(**grid_of(settings)),
        coordinates=system.coordinates if known else natural_coordinates("alpha", "beta"),
        geometry=GEOMETRIES[settings["kind"]],
        statistics=system.sufficient_statistics(states.reshape(-1, *system.sample_shape)) if known else None,
    )


def grid_of(settings: Mapping[str, Any]) -> dict[str, tuple]:
    """Arguments of the ``Grid`` of a system."""
    return {"extent": tuple(map(tuple, settings["extent"])), "shape": tuple(settings["grid"])}


def solvable_errors(solvable: Mapping[str, Any]) -> Iterator[str]:
    """One line for each entry of ``solvable`` that does not fit the others."""
    from hessgeo.estimators.registry import ESTIMATORS, NETWORKS

    systems = solvable["systems"]
    for name, system in systems.items():
        yield from _system_errors(f"solvable.systems.{name}", system)
    for table in SCORED:
        entry = solvable[table]
        for place, name in enumerate(entry["systems"]):
            if name not in systems:
                known = ", ".join(systems) or "none here"
                yield _line(
                    f"solvable.{table}.systems[{place}]", name, f"an entry of solvable.systems ({known})"
                )
        for place, name in enumerate(entry["estimators"]):
            if name not in ESTIMATORS:
                yield _line(f"solvable.{table}.estimators[{place}]", name, ", ".join(ESTIMATORS))
    for name in systems:
        for key in systems[name]["networks"]:
            if key not in NETWORKS:
                yield _line(f"solvable.systems.{name}.networks", key, ", ".join(NETWORKS))
    for place, count in enumerate(solvable["convergence"]["samples"]):
        for name in solvable["convergence"]["systems"]:
            if name in systems and count > systems[name]["samples"]:
                allowed = f"at most the samples of {name}, {systems[name]['samples']}"
                yield _line(f"solvable.convergence.samples[{place}]", count, allowed)


def _system_errors(key: str, system: Mapping[str, Any]) -> Iterator[str]:
    kind = system["kind"]
    parameters = ("natural", *PARAMETERS[kind])
    positive = {"temperature": (0,), "mixture": (1,)}.get(
        system["parameters"], (0, 1) if kind == "tasep" else ()
    )
    if system["parameters"] not in parameters:
        yield _line(f"{key}.parameters", system["parameters"], f"{', '.join(parameters)} for the kind {kind}")
    elif any(system["extent"][axis][0] <= 0 for axis in positive):
        yield _line(f"{key}.extent", system["extent"], "bounds above 0 for temperatures and rates")
    if any(low >= high for low, high in system["extent"]):
        yield _line(f"{key}.extent", system["extent"], "[[a_min, a_max], [b_min, b_max]], each increasing")
    if kind == "isnnn" and system["size"] > 10:
        yield _line(
            f"{key}.size", system["size"], "at most 10 for the kind isnnn, whose exact solution ends there"
        )
    if kind == "ising" and system["size"] > 16:
        yield _line(
            f"{key}.size", system["size"], "at most 16 for the kind ising, whose exact solution ends there"
        )
    if system["samples"] % system["shard"]:
        yield _line(
            f"{key}.shard", system["shard"], f"a divisor of the number of samples, {system['samples']}"
        )


def _line(key: str, value: Any, allowed: str) -> str:
    return f"{key}: {shown(value)} is not allowed; allowed: {allowed}"


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
        from hessgeo.workflow.layout import digest

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
        """All that a job waits for that reads the samples: shards and sidecars."""
        entry, store = self.systems[system], self.store(system, seed)
        shards = range(entry["samples"] // entry["shard"])
        manifest = self.path(system, f"seed-{seed}", "manifest", self.digest(system))
        return [
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
        from hessgeo.estimators.registry import ESTIMATORS

        network = ESTIMATORS[estimator].network
        folder = self.path(system, f"seed-{seed}", str(count), "networks", str(network))
        return [f"{folder}/{file}" for file in TRAINED_FILES if network]

    def solved(self, wildcards: Any) -> dict[str, Any]:
        """The settings of a rule's system that its exact solution depends on."""
        keys = ("kind", "size", "parameters", "extent", "grid", "truth_samples")
        return {key: self.systems[wildcards.system][key] for key in keys}

    def network_settings(self, system: str, network: str) -> dict[str, Any]:
        """Settings of a network for a system."""
        return merged(
            self.solvable["networks"].get(network, {}), self.systems[system]["networks"].get(network, {})
        )

    def estimator_settings(self, system: str, estimator: str) -> dict[str, Any]:
        """Settings of an estimator for a system."""
        own = self.systems[system]["estimators"].get(estimator, {})
        return merged(self.solvable["estimators"].get(estimator, {}), own)

    # Functions of wildcards.

    def of(self, name: str, *keys: str) -> Callable[[Any], Any]:
        """A function of a rule's wildcards: a method of the layout applied to those of them that ``keys`` name."""
        return lambda wildcards: getattr(self, name)(*(getattr(wildcards, key) for key in keys))

    def setting(self, *keys: str) -> Callable[[Any], Any]:
        """A function of a rule's wildcards: settings of its system, or an entry of them."""

        def read(wildcards: Any) -> Any:
            value = self.systems[wildcards.system]
            for key in keys:
                value = value[key]
            return value

        return read

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
        from hessgeo.estimators.registry import ESTIMATORS

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
        return [self.path("figures", f"{name}.{kind}") for name in FIGURES for kind in ("svg", "png", "csv")]

    @property
    def targets(self) -> list[str]:
        """Everything that the target ``table1`` makes."""
        return [*self.table_files, *self.figure_files, self.path("numbers.json")]
