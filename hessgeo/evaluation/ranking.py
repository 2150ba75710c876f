"""The ranks of estimators over several systems with exact answers: errors as shares of what no skill scores.

An error says little by itself: systems differ in units and in how hard they are. Its share of the error of zero
skill is 1 for what has learned nothing, whatever the system, and 0 for what is exact. Over systems the shares are
averaged as their logarithms are (a geometric mean), so that no system weighs more for being harder; an estimator that
fails on a system has a share of 1 there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from hessgeo.evaluation.tables import Record, Truth, metric_table, potential_table

METRIC, FREE_ENERGY = "metric", "free energy"
QUANTITIES = (METRIC, FREE_ENERGY)
SCORE = {METRIC: "median", FREE_ENERGY: "value"}
LEAST = 1e-12  # share below which errors are rounding
COLUMNS = (
    "system",
    "quantity",
    "method",
    "kind",
    "error",
    "error_sd",
    "share",
    "coverage",
    "seconds",
    "seeds",
)


def scored(records: Sequence[Record], truths: Sequence[Truth]) -> pd.DataFrame:
    """The errors of estimates, of zero skill and of the oracle on every system: the columns ``COLUMNS``.

    The error of a metric is the median over inner nodes of its relative Frobenius error; of a free energy the root mean
    square over nodes, in nats a site, its gauge removed. ``share`` is that over the error of zero skill in the same
    gauge.
    """
    metric = metric_table(records, truths).assign(quantity=METRIC)
    metric["share"] = metric["median"] / metric["system"].map(_zero(metric, "median"))
    potential = potential_table(records, truths, target="potential")
    potential = potential[potential["gauge"] == "shift+slope"].assign(quantity=FREE_ENERGY, coverage=np.nan)
    zero = potential[potential["kind"] == "zero skill"].set_index(["system", "gauge_coordinates"])["value"]
    keys = pd.MultiIndex.from_frame(potential[["system", "gauge_coordinates"]])
    potential["share"] = potential["value"].to_numpy() / zero.reindex(keys).to_numpy()
    # Rows of zero skill differ by the gauge alone, and have a share of 1 in each.
    potential = potential[(potential["kind"] != "zero skill") | ~potential.duplicated(["system", "method"])]
    parts = []
    for table in (metric, potential):
        score = SCORE[table["quantity"].iloc[0]]
        table = table.rename(columns={score: "error", f"{score}_sd": "error_sd"})
        parts.append(table[list(COLUMNS)])
    return pd.concat(parts, ignore_index=True)


def failed(method: str, system: str, quantities: Sequence[str] = QUANTITIES) -> pd.DataFrame:
    """The rows of an estimator that gave no answer on a system: a share of 1, as of zero skill."""
    empty: dict[str, Any] = dict.fromkeys(COLUMNS, np.nan)
    head = {"system": system, "method": method, "kind": "failed", "share": 1.0, "seeds": 0}
    return pd.DataFrame(
        [{**empty, **head, "quantity": quantity} for quantity in quantities], columns=[*COLUMNS]
    )


def ranking(rows: pd.DataFrame, systems: Sequence[str]) -> pd.DataFrame:
    """Estimators in their order over some systems, for each quantity, with zero skill and the oracle in their places.

    Columns: ``quantity, rank, method, kind, share`` (the geometric mean over the systems), ``systems`` (of how many
    it gave an answer), ``worst`` (the largest share), ``coverage`` and ``seconds`` (means). Rank 1 is the best; zero
    skill and the oracle have no rank. An estimator without any answer of a quantity is not in its part.

    Args:
        rows: of ``scored`` and ``failed``, an estimator and system at most once for a quantity.
        systems: what is averaged over; what an estimator lacks of them counts as zero skill.
    """
    rows = rows[rows["system"].isin(systems)]
    parts = []
    for quantity in QUANTITIES:
        table = rows[rows["quantity"] == quantity]
        entries = [
            _over_systems(method, group, len(systems))
            for method, group in table.groupby("method", sort=False)
        ]
        found = pd.DataFrame([entry for entry in entries if entry["systems"]])
        if found.empty:
            continue
        found = found.sort_values("share", kind="stable").reset_index(drop=True)
        competes = found["kind"] == "estimate"
        # Ties share the better rank.
        found["rank"] = found["share"].where(competes).rank(method="min").astype("Int64")
        parts.append(found.assign(quantity=quantity))
    columns = ["quantity", "rank", "method", "kind", "share", "systems", "worst", "coverage", "seconds"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _over_systems(method: Any, group: pd.DataFrame, systems: int) -> dict[str, Any]:
    answered = group[group["kind"] != "failed"]
    shares = np.ones(systems)
    shares[: len(answered)] = answered["share"].clip(lower=LEAST)
    return {
        "method": method,
        "kind": answered["kind"].iloc[0] if len(answered) else "failed",
        "share": float(np.exp(np.mean(np.log(shares)))),
        "systems": len(answered),
        "worst": float(shares.max()),
        "coverage": float(answered["coverage"].mean()),
        "seconds": float(answered["seconds"].mean()),
    }


def _zero(table: pd.DataFrame, score: str) -> pd.Series:
    return table[table["kind"] == "zero skill"].set_index("system")[score]
