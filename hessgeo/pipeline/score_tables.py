"""The tables of solvable systems as they are typeset: what they score, their columns and captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hessgeo import store
from hessgeo.estimators.names import ESTIMATORS
from hessgeo.evaluation import published
from hessgeo.evaluation.tables import Record, Truth
from hessgeo.figures.tables import Column

METHOD = [Column("label", "method"), Column("samples", "samples")]
POTENTIAL = [
    *METHOD,
    Column("quantity", "compared with"),
    Column("gauge", "gauge"),
    Column("gauge_coordinates", "affine in"),
    Column("value", "F", best="min", tex="$F$", mark="<i>F</i>"),
    Column("first", "dF/d1", best="min", tex=r"$\partial_1 F$", mark="∂₁<i>F</i>"),
    Column("second", "dF/d2", best="min", tex=r"$\partial_2 F$", mark="∂₂<i>F</i>"),
    Column("converged", "converged, %", percent=True),
    Column("seconds", "seconds"),
]
METRIC = [
    *METHOD,
    Column("median", "median error, %", best="min", percent=True),
    Column("percentile_90", "90th percentile, %", best="min", percent=True),
    Column("coverage", "coverage, %", best="target", target=0.95, percent=True),
    Column("indefinite", "indefinite, %", percent=True),
    Column("distance_mse", "distMSE", best="min"),
    Column("distance_mse_scaled", "distMSE_PS", best="min"),
    Column("distance_rank_error", "distRE, %", best="min", percent=True),
    Column("converged", "converged, %", percent=True),
    Column("seconds", "seconds"),
]
COLUMNS = {"table1": POTENTIAL, "table1_potential": POTENTIAL, "fisher": METRIC, "sample_convergence": METRIC}
TITLES = {
    "table1": "Table 1",
    "table1_potential": "Table 1, like with like",
    "fisher": "Fisher metrics",
    "sample_convergence": "Fisher metrics against the number of samples",
}
_GAUGE = (
    "RMSE a site over the nodes, mean ± standard deviation over seeds. The gauge is removed by least squares on the "
    "values alone: an affine function of the parameters that the method works in (natural ones for learned and known "
    "statistics, those of the study for the others; methods compare within one of them), and a scale where the gauge "
    "says so. Zero skill: what the gauge leaves of the truth. Seconds: training and estimate in one job. "
)
CAPTIONS = {
    "table1": _GAUGE
    + "The paper's protocol (Lobashev et al. 2025, Eq. 118): TASEP is compared with its limiting current J, which "
    "is no potential of its Fisher metric; the oracle is the exact potential under the same protocol. Published rows "
    "(in italics) stand at their own sizes, the others at ours.",
    "table1_potential": _GAUGE
    + "Compared with the potential whose Hessian is the Fisher metric: log Z for Ising, minus the entropy of the "
    "smaller rate for TASEP, in the limit of a long lattice.",
    "fisher": "Relative Frobenius error of the metric over the interior nodes (median and 90th percentile), coverage "
    "of its 95 % bars, share of nodes where it is not positive definite, and the scores of the straight-line distances "
    "(ClassiFIM): mean squared error, the same after the best scale, and the share of pairs in the wrong order. Zero "
    "skill: a constant metric. Oracle: the truth moved by its own standard error. Mean ± deviation over seeds.",
    "sample_convergence": "The scores of the metric as the number of samples grows; columns as in the table of Fisher "
    "metrics.",
}
KINDS = {
    "ising": "Ising", "isnnn": "Ising, next-nearest", "ising-chain": "Ising chain", "curie-weiss": "Curie-Weiss",
    "tasep": "TASEP",
}  # fmt: skip


def read_records(entries: Sequence[Mapping[str, Any]]) -> list[Record]:
    """Estimates from their files.

    Args:
        entries: ``system, estimator, samples, seed, path`` each.
    """
    return [
        Record(
            **{key: entry[key] for key in ("system", "estimator", "samples", "seed")},
            natural=ESTIMATORS[entry["estimator"]].natural,
            fields=store.read_dataset(entry["path"]),
        )
        for entry in entries
    ]


def read_truths(systems: Mapping[str, Mapping[str, Any]], paths: Mapping[str, str]) -> dict[str, Truth]:
    """Exact fields from their files.

    Args:
        systems: settings of each system.
        paths: of the exact fields, by the name of the system.
    """
    return {
        name: Truth(
            name,
            systems[name]["size"],
            store.read_dataset(path),
            temperature=systems[name]["parameters"] == "temperature",
        )
        for name, path in paths.items()
    }


def system_title(settings: Mapping[str, Any]) -> str:
    """What tables and figures call a system: its kind, size and parameters."""
    size = (
        f"{settings['size']} x {settings['size']}"
        if settings["kind"] in ("ising", "isnnn")
        else settings["size"]
    )
    parameters = {"temperature": "(T, H)", "mixture": "(l0, l1)"}.get(settings["parameters"])
    names = parameters or {"isnnn": "(K1, K2)", "tasep": "(alpha, beta)"}.get(settings["kind"], "(K, h)")
    return f"{KINDS[settings['kind']]} {names}, {size}"


def with_titles(table: pd.DataFrame, systems: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """A table with the columns ``title`` of the system and ``label`` of the method that are typeset."""
    titles = {name: system_title(settings) for name, settings in systems.items()}
    labels = {name: entry.title for name, entry in ESTIMATORS.items()}
    table = table.copy()
    table["title"] = table["system"].map(titles)
    table["label"] = table["method"].map(labels).fillna(table["method"])
    return table


def with_published(table: pd.DataFrame, systems: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """A table of potentials with the published rows of the systems that it has, at the published sizes."""
    parts = [table]
    rows = published.table_1()
    for name in table["system"].unique():
        kind, natural = systems[name]["kind"], systems[name]["parameters"] == "natural"
        # Published in (T, H) for Ising, and in the rates for TASEP.
        if kind == "tasep" or (kind == "ising" and not natural):
            own = rows[rows["system"] == kind].drop(columns=["title"])
            parts.append(
                own.assign(
                    system=name, quantity="as published", gauge="as published", gauge_coordinates="study"
                )
            )
    return pd.concat(parts, ignore_index=True)
