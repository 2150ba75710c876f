"""Numbers that others have published, with the sizes at which they stand, for comparison in tables.

At other sizes than theirs a comparison is not like for like: every row carries its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

_Row = dict[str, float | str | None]

SOURCE = "Lobashev et al. 2025, Table 1"
_SYSTEMS = {
    "ising": ("Ising (T, H)", "128 x 128", 540_000),
    # The text at hand gives no number of samples for TASEP.
    "tasep": ("TASEP (alpha, beta)", "16,384", None),
}
# RMSE of F and of both derivatives, as printed.
_TABLE_1 = [
    ("ising", "Convex (paper)", "0.0883 ± 0.0006", "0.1106 ± 0.0002", "0.1237 ± 0.0016"),
    ("ising", "Mean-as-Stat (paper)", "0.0981 ± 0.0010", "0.4766 ± 0.0023", "1.0936 ± 0.0033"),
    ("ising", "PCA-VAE (paper)", "0.1669 ± 0.0018", "0.7428 ± 0.0025", "0.7988 ± 0.0022"),
    ("tasep", "Convex (paper)", "0.0112 ± 0.00008", "0.1165 ± 0.0025", "0.1135 ± 0.0017"),
    ("tasep", "Mean-as-Stat (paper)", "0.0529 ± 0.0005", "0.3832 ± 0.0038", "0.3833 ± 0.0031"),
    ("tasep", "PCA-VAE (paper)", "0.0524 ± 0.0006", "0.3837 ± 0.0038", "0.3872 ± 0.0022"),
]
_CLASSIFIM = "ClassiFIM (arXiv 2408.03323), IsNNN400"
# distMSE, distMSE_PS and distRE in percent, as printed; of a constant metric the last two.
_ISNNN = [
    ("ClassiFIM (published)", "4.61 ± 0.91", "10.94 ± 1.33", "4.51 ± 0.37"),
    ("constant metric (published)", "", "55.6", "26.1"),
]


def table_1() -> pd.DataFrame:
    """Table 1 of Lobashev et al.: RMSE of ``F`` and its two derivatives, means and standard deviations.

    Returns:
        Columns ``system`` (``ising``, ``tasep``), ``title``, ``size``, ``samples``, ``method``, ``kind``
        (``published``), ``source``, and ``value``, ``first``, ``second``, each with ``<name>_sd`` and, as printed,
        ``<name>_text``.
    """
    rows = []
    for system, method, *scores in _TABLE_1:
        title, size, samples = _SYSTEMS[system]
        row: _Row = {"system": system, "title": title, "size": size, "samples": samples, "method": method}
        row |= {"kind": "published", "source": SOURCE}
        rows.append(row | _numbers(("value", "first", "second"), scores))
    return pd.DataFrame(rows).astype({"samples": "Int64"})


def isnnn() -> pd.DataFrame:
    """Scores of ClassiFIM on the 20 x 20 torus with nearest and next-nearest couplings.

    Returns:
        Columns as in ``table_1``, with ``distance_mse``, ``distance_mse_scaled`` and ``distance_rank_error``: a share,
        printed in percent.
    """
    names = ("distance_mse", "distance_mse_scaled", "distance_rank_error")
    rows = []
    for method, *scores in _ISNNN:
        row: _Row = {
            "system": "isnnn",
            "title": "IsNNN",
            "size": "20 x 20",
            "method": method,
            "kind": "published",
        }
        rows.append(row | {"source": _CLASSIFIM} | _numbers(names, scores))
    table = pd.DataFrame(rows)
    shares = ["distance_rank_error", "distance_rank_error_sd"]
    table[shares] = table[shares] / 100
    return table


def _numbers(names: Sequence[str], scores: Sequence[str]) -> _Row:
    """Means, deviations and what is printed; nothing where nothing was published."""
    row: _Row = {}
    for name, text in zip(names, scores, strict=True):
        mean, _, deviation = text.partition(" ± ")
        row[name] = float(mean) if mean else None
        row[f"{name}_sd"] = float(deviation) if deviation else None
        row[f"{name}_text"] = text or None
    return row


def with_published(table: pd.DataFrame, systems: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """A table of potentials with the published rows of the systems that it has, at the published sizes.

    Args:
        table: of scores.
        systems: ``kind`` and ``parameters`` of each. Rows are published in (T, H) for Ising, in the rates for TASEP.
    """
    parts, rows = [table], table_1()
    about = {"quantity": "as published", "gauge": "as published", "gauge_coordinates": "study"}
    for name in table["system"].unique():
        kind, natural = systems[name]["kind"], systems[name]["parameters"] == "natural"
        if kind == "tasep" or (kind == "ising" and not natural):
            own = rows[rows["system"] == kind].drop(columns=["title"])
            parts.append(own.assign(system=name, **about))
    return pd.concat(parts, ignore_index=True)
