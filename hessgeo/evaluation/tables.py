"""The tables in which estimators are scored: a row for an estimator on a system, mean and deviation over seeds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from hessgeo.estimators.estimate import Estimate
from hessgeo.evaluation.gauge import GAUGES, AffineFunctions, Gauge, affine_in_parameters
from hessgeo.evaluation.helmholtz import helmholtz
from hessgeo.evaluation.metric_scores import constant_metric, metric_scores
from hessgeo.evaluation.summary import over_seeds
from hessgeo.evaluation.table_scores import TableScores, oracle_scores, table_scores, zero_skill_scores
from hessgeo.grids import Grid
from hessgeo.systems.solvable.base import Coordinates, SolvableSystem

if TYPE_CHECKING:
    from hessgeo.learned.samples import Samples
    from hessgeo.systems.solvable.noisy_flow import NoisyFlow
    from hessgeo.systems.solvable.tasep import Tasep

Target = Literal["paper", "potential"]
# What estimates state of themselves: the share of their fits that converged, and of what a family's law would give
# the scatter of its statistics.
STATED = ("converged", "pearson")
# Rows that bound every method from both sides.
ZERO_SKILL: dict[str, Any] = {
    "method": "zero skill",
    "kind": "zero skill",
    "samples": None,
    "seconds": np.nan,
    **dict.fromkeys(STATED, np.nan),
}
ORACLE: dict[str, Any] = {**ZERO_SKILL, "method": "oracle", "kind": "oracle"}
POTENTIAL_COLUMNS = ("value", "first", "second")
METRIC_COLUMNS = (
    "median", "percentile_90", "coverage", "indefinite", "distance_mse", "distance_mse_scaled", "distance_rank_error",
)  # fmt: skip


@dataclass(frozen=True)
class Truth:
    """The exact fields of one system, see ``exact_fields``.

    Attributes:
        system: its name.
        size: side of a lattice, or number of sites.
        fields: the fields.
        temperature: whether the parameters are ``(T, H)``.
    """

    system: str
    size: int
    fields: xr.Dataset
    temperature: bool = False

    @property
    def grid(self) -> Grid:
        """The nodes."""
        a, b = self.fields["a"].to_numpy(), self.fields["b"].to_numpy()
        return Grid(((a[0], a[-1]), (b[0], b[-1])), (len(a), len(b)))

    @property
    def sites(self) -> int:
        """Number of sites."""
        return int(self.fields.attrs["sites"])

    def flat(self, name: str) -> np.ndarray:
        """A field with the nodes in one axis."""
        values = self.fields[name].to_numpy()
        return values.reshape(-1, *values.shape[2:])

    def potential(self, target: Target) -> Estimate:
        """Value and gradient a site: of the potential of the metric, or of what the paper compares with."""
        prefix = "paper_" if target == "paper" else ""
        return Estimate(
            value=self.flat(f"{prefix}value") / self.sites,
            gradient=self.flat(f"{prefix}gradient") / self.sites,
        )

    def gauge(self, natural: bool) -> AffineFunctions:
        """Affine functions of the natural parameters, or of those of the study."""
        if not natural:
            return affine_in_parameters(self.grid.points)
        coordinates, jacobian = self.flat("natural"), self.flat("jacobian")
        values = np.column_stack([np.ones(len(coordinates)), coordinates])
        return AffineFunctions(values, np.concatenate([np.zeros((len(values), 1, 2)), jacobian], axis=1))


@dataclass(frozen=True)
class Record:
    """What one estimator made of the samples of one seed.

    Attributes:
        system: name of the system.
        estimator: name of the estimator.
        natural: whether it works in the natural parameters, so that its gauge is affine in them.
        samples: number of samples.
        seed: of samples and network.
        fields: of the estimate, see ``estimate_dataset``; attributes ``seconds`` and ``training_seconds``.
    """

    system: str
    estimator: str
    natural: bool
    samples: int
    seed: int
    fields: xr.Dataset

    @property
    def estimate(self) -> Estimate:
        """The estimate, as the estimator gave it."""

        def flat(name: str) -> np.ndarray | None:
            if name not in self.fields:
                return None
            values = self.fields[name].to_numpy()
            return values.reshape(-1, *values.shape[2:])

        return Estimate(flat("value"), flat("gradient"), flat("metric"), flat("metric_error"))

    @property
    def seconds(self) -> float:
        """Time of training and estimate."""
        return float(self.fields.attrs["seconds"]) + float(self.fields.attrs["training_seconds"])

    def stated(self, name: str) -> float:
        """A number that the estimate states of itself, the mean of those of its parts; NaN where it states none."""
        numbers = self.fields.attrs.get("numbers", {})
        numbers = json.loads(numbers) if isinstance(numbers, str) else numbers
        return float(np.mean(numbers[name])) if name in numbers else np.nan


@dataclass(frozen=True)
class Case:
    """A system with exact answers and what there is of it to look at.

    Attributes:
        title: what tables and figures call it.
        system: itself.
        grid: the nodes at which estimates answer.
        truth: its exact fields, if they were asked for.
        records: what estimators made of its samples.
        samples: some of its samples, if they were asked for.
        network: a file of the network that learned statistics of them, if it was.
    """

    title: str
    system: SolvableSystem | Tasep | NoisyFlow
    grid: Grid
    truth: Truth | None = None
    records: Sequence[Record] = ()
    samples: Samples | None = None
    network: str | None = None

    @property
    def names(self) -> tuple[str, str]:
        """Names of the two parameters."""
        return parameter_names(self.system)

    @property
    def family(self) -> SolvableSystem:
        """The system as an exponential family.

        Raises:
            ValueError: if it is none.
        """
        if not isinstance(self.system, SolvableSystem):
            raise ValueError(f"{self.title} is an exponential family in no two parameters")
        return self.system

    @property
    def exact(self) -> Truth:
        """Its exact fields.

        Raises:
            ValueError: if they were not asked for.
        """
        if self.truth is None:
            raise ValueError(f"{self.title} comes without its exact fields")
        return self.truth


def parameter_names(system: SolvableSystem | Tasep | NoisyFlow) -> tuple[str, str]:
    """Names of the two parameters of a system, those of its study."""
    own: Coordinates | None = getattr(system, "coordinates", None)
    return ("alpha", "beta") if own is None else own.names


def per_site(estimate: Estimate, sites: int) -> Estimate:
    """Value and gradient of an estimate for one site."""
    value = None if estimate.value is None else estimate.value / sites
    gradient = None if estimate.gradient is None else estimate.gradient / sites
    return Estimate(value=value, gradient=gradient)


@dataclass(frozen=True)
class Protocol:
    """What free energies are compared with, and how.

    Attributes:
        quantity: what is compared.
        target: its exact values and gradient a site.
        exact: the potential of the metric in the same form, which the row of the oracle scores.
        convert: what is done to an estimate in natural parameters first.
        natural_gauge: what such an estimate cannot determine.
        study_gauge: the same of one in the parameters of the study.
    """

    quantity: str
    target: Estimate
    exact: Estimate
    convert: Callable[[Estimate], Estimate]
    natural_gauge: AffineFunctions
    study_gauge: AffineFunctions

    @property
    def gauges(self) -> dict[str, AffineFunctions]:
        """Those of the estimators that there are, by the parameters in which they are affine."""
        own, study = self.natural_gauge, self.study_gauge
        both = {"natural": own, "study": study}
        return {"study": study} if np.array_equal(own.values, study.values) else both

    def score(self, estimate: Estimate, gauge: Gauge, points: np.ndarray, *, natural: bool) -> TableScores:
        """Errors of an estimate a site."""
        functions = self.natural_gauge if natural else self.study_gauge
        estimate = self.convert(estimate) if natural else estimate
        return table_scores(estimate, self.target, points, gauge=gauge, gauge_coordinates=functions)


def protocols(truth: Truth, target: Target) -> list[Protocol]:
    """The comparisons that are made on a system.

    With the potential of its metric; or with what the paper takes for its free energy: of TASEP the current, of others
    ``log Z``, and in ``(T, H)`` also ``-T log Z``, whose gauge is affine in ``(T, H)`` as the paper's is.

    PAPER: the equations that would tell which of the two is meant for the Ising model are lost in the text at hand.
    """
    exact, study = truth.potential("potential"), truth.gauge(False)
    names = {"potential": "F", "paper": "log Z" if _same(truth) else "J"}
    plain = Protocol(names[target], truth.potential(target), exact, lambda one: one, truth.gauge(True), study)
    if target == "potential" or not truth.temperature:
        return [plain]

    def thermal(potential: Estimate) -> Estimate:
        return helmholtz(potential, truth.grid.points)

    return [plain, Protocol("-T log Z", thermal(exact), thermal(exact), thermal, study, study)]


def _same(truth: Truth) -> bool:
    """Whether the paper compares with the potential of the metric."""
    return bool(np.array_equal(truth.flat("value"), truth.flat("paper_value")))


def potential_table(records: Sequence[Record], truths: Sequence[Truth], *, target: Target) -> pd.DataFrame:
    """Errors of free energies a site, in both gauges, with rows of zero skill and one of the exact potential.

    Columns: ``system, size, quantity, samples, method, kind, gauge, gauge_coordinates``, then ``value, first, second``
    (RMSE of ``F`` and its derivatives by the two parameters), ``scale``, ``seconds`` and those of ``STATED`` with their
    deviations over seeds (``_sd``), and ``seeds``. The gauge of an estimator is affine in the parameters it works in,
    natural ones or those of the study: that is what it cannot determine. There is a row of zero skill for each.

    Args:
        records: of all estimators, systems and seeds.
        truths: of the systems.
        target: what to compare with, see ``protocols``.
    """
    rows: list[dict[str, Any]] = []
    for truth in truths:
        points = truth.grid.points
        for protocol, gauge in product(protocols(truth, target), GAUGES):
            head = {"system": truth.system, "size": truth.size, "quantity": protocol.quantity, "gauge": gauge}
            for place, functions in protocol.gauges.items():
                zero = zero_skill_scores(protocol.target, points, gauge_coordinates=functions)
                rows.append({**head, **ZERO_SKILL, "gauge_coordinates": place, **asdict(zero)})
            oracle = oracle_scores(
                protocol.exact, protocol.target, points, gauge=gauge, gauge_coordinates=protocol.natural_gauge
            )
            rows.append(
                {**head, **ORACLE, "gauge_coordinates": next(iter(protocol.gauges)), **asdict(oracle)}
            )
            for record, estimate in _of(records, truth):
                if estimate.value is not None:
                    one = per_site(estimate, truth.sites)
                    scores = protocol.score(one, gauge, points, natural=record.natural)
                    place = "natural" if record.natural and "natural" in protocol.gauges else "study"
                    rows.append({**head, **_about(record), "gauge_coordinates": place, **asdict(scores)})
    keys = ("system", "size", "quantity", "samples", "method", "kind", "gauge", "gauge_coordinates")
    return over_seeds(pd.DataFrame(rows), keys, (*POTENTIAL_COLUMNS, "scale", "seconds", *STATED))


def metric_table(records: Sequence[Record], truths: Sequence[Truth], *, margin: int = 1) -> pd.DataFrame:
    """Errors of Fisher metrics, with a row of a constant metric.

    Columns: ``system, size, samples, method, kind``, those of ``MetricScores``, ``seconds`` and those of ``STATED``
    with their deviations over seeds (``_sd``), and ``seeds``. Where the truth is an average over samples, its own error
    is added to the bars, and the row of the oracle says what that error alone would score.

    Args:
        records: of all estimators, systems and seeds.
        truths: of the systems; those without a metric are left out.
        margin: rings of nodes along the edge that are not scored.
    """
    rows: list[dict[str, Any]] = []
    for truth in truths:
        metric, error = truth.flat("metric"), truth.flat("metric_error")
        if not np.isfinite(metric).all():
            continue
        head = {"system": truth.system, "size": truth.size}
        zero = metric_scores(constant_metric(metric, truth.grid), metric, truth.grid, margin=margin)
        rows.append({**head, **ZERO_SKILL, **asdict(zero)})
        shaken = _shaken(metric, error)
        oracle = metric_scores(Estimate(metric=shaken), metric, truth.grid, margin=margin)
        rows.append({**head, **ORACLE, **asdict(oracle)})
        for record, estimate in _of(records, truth):
            if estimate.metric is not None:
                scores = metric_scores(estimate, metric, truth.grid, truth_error=error, margin=margin)
                rows.append({**head, **_about(record), **asdict(scores)})
    keys = ("system", "size", "samples", "method", "kind")
    return over_seeds(pd.DataFrame(rows), keys, (*METRIC_COLUMNS, "seconds", *STATED))


def _shaken(metric: np.ndarray, error: np.ndarray) -> np.ndarray:
    """The metric moved by its own standard errors, once; the same where it is exact."""
    noise = np.random.default_rng(0).standard_normal(metric.shape)
    noise[:, 1, 0] = noise[:, 0, 1]
    return metric + noise * error


def _of(records: Sequence[Record], truth: Truth) -> Iterator[tuple[Record, Estimate]]:
    for record in records:
        if record.system == truth.system:
            yield record, record.estimate


def _about(record: Record) -> dict[str, Any]:
    return {
        "samples": record.samples, "method": record.estimator, "kind": "estimate", "seconds": record.seconds,
        **{name: record.stated(name) for name in STATED},
    }  # fmt: skip
