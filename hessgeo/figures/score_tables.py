"""The tables of solvable systems as they are typeset: their columns, titles and captions."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from hessgeo.estimators.names import ESTIMATORS
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


def with_titles(table: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """A table with the columns ``title`` of the system and ``label`` of the method that are typeset.

    Args:
        table: of scores.
        titles: of its systems.
    """
    labels = {name: entry.title for name, entry in ESTIMATORS.items()}
    label = table["method"].map(labels).fillna(table["method"])
    return table.assign(title=table["system"].map(titles), label=label)
