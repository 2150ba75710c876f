"""The benchmark of outside estimators: a fixed protocol, with a version, on systems with exact answers.

A protocol says which systems, where in them, how many states, and of which seeds. Nothing of it is a setting: rows of
one version can be compared, whoever made them. What changes a number makes a new version.
"""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hessgeo.estimators.names import ESTIMATORS

if TYPE_CHECKING:
    import pandas as pd

    from hessgeo.estimators.estimate import Estimate
    from hessgeo.evaluation.tables import Record, Truth
    from hessgeo.learned.samples import Samples

VERSION = 1
REFERENCE = "benchmark.csv"  # our own rows, beside this module, written by benchmarks/outside_estimators.py
LIMIT = 600.0  # seconds an estimator may take for one set of samples
LOADING = 300.0  # seconds beside, to import what it needs and to draw the samples


@dataclass(frozen=True)
class BenchmarkProtocol:
    """What is scored.

    Attributes:
        name: the version, with what else tells protocols apart.
        seeds: of the samples.
        systems: by name, as entries of ``solvable.systems``.
    """

    name: str
    seeds: tuple[int, ...]
    systems: Mapping[str, Mapping[str, Any]]

    def settings(self, system: str) -> dict[str, Any]:
        """All settings of a system."""
        from hessgeo.pipeline.schema import fill_defaults, rules

        return fill_defaults(self.systems[system], rules("solvable_system"))


def _system(
    kind: str, size: int, extent: Sequence[Any], samples: int, grid: int, **more: Any
) -> dict[str, Any]:
    settings = {"kind": kind, "size": size, "extent": extent, "samples": samples, "shard": samples}
    return {**settings, "grid": [grid, grid], **more}


PROTOCOLS = {
    # A lattice across its crossover, one whose parameters are not its natural ones, one with first-order transitions.
    False: BenchmarkProtocol(
        f"{VERSION}",
        (1, 2),
        {
            "ising-6": _system("ising", 6, [[0.1, 0.5], [-0.25, 0.25]], 8000, 11),
            "isnnn-6": _system("isnnn", 6, [[0, 1], [0.8, 2]], 8000, 11, parameters="mixture"),
            "curie-weiss-32": _system("curie-weiss", 32, [[0.4, 1.2], [-0.4, 0.4]], 8000, 11),
        },
    ),
    True: BenchmarkProtocol(
        f"{VERSION}-quick",
        (1,),
        {
            "ising-chain-16": _system("ising-chain", 16, [[0.1, 0.8], [-0.4, 0.4]], 2000, 9),
            "curie-weiss-16": _system("curie-weiss", 16, [[0.4, 1.2], [-0.4, 0.4]], 2000, 9),
        },
    ),
}


@dataclass(frozen=True)
class Outcome:
    """What came of an estimator.

    Attributes:
        rows: see ``ranking.scored``, of this estimator, zero skill and the oracle.
        refused: one line for each set of samples that it gave no answer for.
    """

    rows: pd.DataFrame
    refused: tuple[str, ...]


def protocol(
    *, quick: bool = False, systems: Sequence[str] = (), seeds: Sequence[int] = ()
) -> BenchmarkProtocol:
    """The protocol, or a part of it, which its name says.

    Raises:
        ValueError: one line, if it has no such system or seed.
    """
    whole = PROTOCOLS[quick]
    for option, given, known in (("systems", systems, whole.systems), ("seeds", seeds, whole.seeds)):
        for one in given:
            if one not in known:
                words = ", ".join(map(str, known))
                raise ValueError(f"--{option}: {one} is not allowed; allowed: {words}")
    chosen = [name for name in whole.systems if name in systems or not systems]
    drawn = tuple(seed for seed in whole.seeds if seed in seeds or not seeds)
    part = "" if (len(chosen), len(drawn)) == (len(whole.systems), len(whole.seeds)) else ", in part"
    return BenchmarkProtocol(f"{whole.name}{part}", drawn, {name: whole.systems[name] for name in chosen})


def draw(settings: Mapping[str, Any], seed: int) -> Samples:
    """The samples of one system and seed: the same ones wherever they are drawn."""
    import numpy as np

    from hessgeo.grids import Grid, parameter_points
    from hessgeo.pipeline.solvable_systems import gather_samples, solvable_system

    t = parameter_points("uniform", Grid(settings["extent"], (2, 2)), settings["samples"], seed)
    return gather_samples(settings, solvable_system(settings).sample(t, np.arange(len(t)), seed), t)


def truth_of(name: str, settings: Mapping[str, Any]) -> Truth:
    """The exact answers of one system."""
    from hessgeo.evaluation.tables import Truth
    from hessgeo.evaluation.truth import exact_fields
    from hessgeo.grids import Grid
    from hessgeo.pipeline.solvable_systems import grid_of, solvable_system

    return Truth(name, settings["size"], exact_fields(solvable_system(settings), Grid(**grid_of(settings))))


def score_outside(
    path: str | Path,
    chosen: BenchmarkProtocol,
    *,
    limit: float = LIMIT,
    told: Callable[[str], None] = lambda line: None,
    asked: Callable[..., tuple[Estimate, float]] | None = None,
) -> Outcome:
    """Ask the estimator in a file for every system and seed, each in a process of its own, and score it.

    A system that it fails with one seed counts as failed. The others are scored all the same.

    Args:
        path: the file, see ``estimators.outside``.
        chosen: the protocol.
        limit: seconds that it may take each time.
        told: what is called with each line that says what it failed at, when it did.
        asked: what asks it, ``(path, settings, seed, limit) -> (estimate, seconds)``; a process of its own, if None.

    Raises:
        ValueError: one line, if there is no estimator in the file.
    """
    from hessgeo.estimators.outside import load_estimator

    estimator, ask = load_estimator(path), asked or in_a_process
    refused: list[str] = []
    name = f"{estimator.name}{' (knows the statistics)' if estimator.exact else ''}"
    answers: dict[str, list[tuple[int, Estimate, float]]] = {}
    for system in chosen.systems:
        for seed in chosen.seeds:
            try:
                found = ask(str(path), chosen.settings(system), seed, limit)
            except ValueError as error:
                refused.append(f"{estimator.name} on {system}, seed {seed}: {error}")
                told(refused[-1])
                answers.pop(system, None)
                break
            answers.setdefault(system, []).append((seed, *found))
    return Outcome(_rows(name, estimator.natural, answers, chosen), tuple(refused))


def score_own(name: str, chosen: BenchmarkProtocol) -> Outcome:
    """The same of an estimator of ours, with the settings that it has by default."""
    from hessgeo.estimators import registry
    from hessgeo.estimators.base import Run
    from hessgeo.pipeline.schema import defaults

    networks, settings = defaults("solvable_networks"), defaults("solvable_estimators")[name]
    entry = ESTIMATORS[name]
    answers: dict[str, list[tuple[int, Estimate, float]]] = {}
    refused = []
    for system in chosen.systems:
        for seed in chosen.seeds:
            samples, start = draw(chosen.settings(system), seed), time.process_time()
            try:
                network = entry.network
                trained = network and registry.train(network, samples, networks[network], Run(seed))
                found = registry.estimate(name, samples, trained or None, settings, Run(seed))
            except ValueError as error:
                refused.append(f"{name} on {system}, seed {seed}: {error}")
                answers.pop(system, None)
                break
            answers.setdefault(system, []).append((seed, found, time.process_time() - start))
    title = f"{entry.title}{' (knows the statistics)' if entry.exact else ''}"
    return Outcome(_rows(title, entry.natural, answers, chosen), tuple(refused))


def in_a_process(path: str, settings: Mapping[str, Any], seed: int, limit: float) -> tuple[Estimate, float]:
    """The answer of the estimator in a file and the seconds of a processor that it took, in a process of its own.

    Raises:
        ValueError: one line, if there is none.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(there, path, dict(settings), seed), daemon=True)
    process.start()
    there.close()
    try:
        for seconds, doing in ((LOADING + limit, "loads"), (limit, "runs")):
            if not here.poll(seconds):
                raise ValueError(f"{doing} for more than {seconds:g} seconds, and was stopped")
            word, *what = here.recv()
            if word == "failed":
                raise ValueError(what[0])
        found, taken = what
        return found, taken
    except EOFError as error:
        process.join()
        raise ValueError(f"its process ended without an answer (exit status {process.exitcode})") from error
    finally:
        process.kill()
        process.join()
        here.close()


def reference(name: str) -> pd.DataFrame:
    """Our own rows under the protocol of a name; a part of a protocol has those of the whole."""
    import pandas as pd

    rows = pd.read_csv(str(files("hessgeo.pipeline") / REFERENCE), dtype={"protocol": str})
    return rows[rows["protocol"] == name.partition(",")[0]].drop(columns="protocol").reset_index(drop=True)


def ranked(outcome: Outcome, chosen: BenchmarkProtocol) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The order of an estimator and ours, and all rows that it comes from, with the protocol and the ranks."""
    import pandas as pd

    from hessgeo.evaluation.ranking import ranking

    ours = reference(chosen.name)
    ours = ours[ours["system"].isin(list(chosen.systems))]
    rows = pd.concat(
        [outcome.rows.assign(source="outside"), ours.assign(source="hessgeo")], ignore_index=True
    )
    rows.loc[rows["kind"].isin(["zero skill", "oracle"]), "source"] = "bound"
    taken = set(ours["method"])
    outside = (rows["source"] == "outside") & rows["method"].isin(taken)
    rows.loc[outside, "method"] += ", outside"
    order = ranking(rows, list(chosen.systems))
    order = order.merge(rows[["method", "source"]].drop_duplicates("method"), on="method", how="left")
    rows = rows.merge(order[["quantity", "method", "rank"]], on=["quantity", "method"], how="left")
    return order, rows.assign(protocol=chosen.name)


def lines_of(order: pd.DataFrame, chosen: BenchmarkProtocol) -> Iterator[str]:
    """The order as text, a line each; the outside estimator's has a mark."""
    systems, seeds = ", ".join(chosen.systems), ", ".join(map(str, chosen.seeds))
    yield f"benchmark protocol {chosen.name}: {systems}; seeds {seeds}"
    for quantity, table in order.groupby("quantity", sort=False):
        yield ""
        yield f"{quantity}: error as a share of that of zero skill, geometric mean over {len(chosen.systems)} systems"
        width = max(len(name) for name in table["method"])
        yield f"  rank  {'method':<{width}}     share     worst  in bars  seconds  systems"
        for row in table.to_dict("records"):
            mark = ">" if row["source"] == "outside" else " "
            rank = "–" if row["rank"] != row["rank"] or row["kind"] != "estimate" else str(row["rank"])
            bars = "–" if math.isnan(row["coverage"]) else f"{100 * row['coverage']:.0f} %"
            seconds = "–" if math.isnan(row["seconds"]) else f"{row['seconds']:.1f}"
            numbers = f"{row['share']:>9.3g} {row['worst']:>9.3g} {bars:>8} {seconds:>8} {row['systems']:>8}"
            yield f"{mark} {rank:>4}  {row['method']:<{width}} {numbers}"
    if not (order["source"] == "outside").any():
        yield "the estimator has no row: it gave no answer that could be scored"


def _rows(
    name: str,
    natural: bool,
    answers: Mapping[str, Sequence[tuple[int, Estimate, float]]],
    chosen: BenchmarkProtocol,
) -> pd.DataFrame:
    import pandas as pd

    from hessgeo.evaluation.ranking import failed, scored

    truths = [truth_of(system, chosen.settings(system)) for system in chosen.systems]
    records = [
        _record(system, name, natural, chosen.systems[system]["samples"], seed, found, seconds, truth)
        for system, truth in zip(chosen.systems, truths, strict=True)
        for seed, found, seconds in answers.get(system, ())
    ]
    missing = [failed(name, system) for system in chosen.systems if system not in answers]
    return pd.concat([scored(records, truths), *missing], ignore_index=True)


def _record(
    system: str,
    name: str,
    natural: bool,
    samples: int,
    seed: int,
    found: Estimate,
    seconds: float,
    truth: Truth,
) -> Record:
    from hessgeo.evaluation.tables import Record
    from hessgeo.evaluation.truth import estimate_dataset

    dataset = estimate_dataset(found, truth.grid).assign_attrs({"seconds": seconds, "training_seconds": 0.0})
    return Record(system, name, natural, samples, seed, dataset)


def _answer(connection: Connection, path: str, settings: Mapping[str, Any], seed: int) -> None:
    """In the process: say that it starts, then the answer."""
    from hessgeo.estimators.outside import ask, load_estimator

    try:
        estimator, samples = load_estimator(path), draw(settings, seed)
        connection.send(("starts",))
        start = time.process_time()
        found = ask(estimator, samples, seed)
        connection.send(("done", found, time.process_time() - start))
    except ValueError as error:
        connection.send(("failed", str(error)))
