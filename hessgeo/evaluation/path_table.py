"""Table 2: scores of every way of going, and what each gains over the straight line on the same pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hessgeo.evaluation.path_scores import PairedDifference, paired_difference

SPLITS = ("all", "within a phase", "across a boundary")


def table_2(
    scores: pd.DataFrame, columns: Sequence[str], *, baseline: str = "linear", confidence: float = 0.95
) -> pd.DataFrame:
    """Mean and deviation of each score, and its paired difference from a baseline with a confidence interval.

    Args:
        scores: one row for each ``method`` and ``pair``, with ``within_phase`` and the scores.
        columns: the scores.
        baseline: the method that others are compared with.
        confidence: of the intervals (Student's t over pairs).

    Returns:
        One row for each split of the pairs (all, within a phase, across a boundary) and method: ``pairs``, method,
        ``count``, and for each score ``<score>``, ``<score>_sd``, ``<score>_difference``, ``<score>_low``,
        ``<score>_high`` and ``<score>_count``, the pairs that have both scores of the difference. Of a split without
        pairs there are no rows.

    Raises:
        ValueError: if the baseline is not among the methods.
    """
    if baseline not in set(scores["method"]):
        raise ValueError(f"baseline {baseline!r} is not among the methods {sorted(set(scores['method']))}")
    rows = []
    for split in SPLITS:
        part = scores if split == "all" else scores[scores["within_phase"] == (split == "within a phase")]
        reference = part[part["method"] == baseline].sort_values("pair")
        for method in dict.fromkeys(part["method"]):
            mine = part[part["method"] == method].sort_values("pair")
            row = {"pairs": split, "method": method, "count": len(mine)}
            for column in columns:
                values = mine[column].to_numpy(dtype=float)
                found = paired_difference(
                    values, reference[column].to_numpy(dtype=float), confidence=confidence
                )
                measured = values[np.isfinite(values)]
                row |= {
                    column: np.mean(measured) if len(measured) else np.nan,
                    f"{column}_sd": np.std(measured, ddof=1) if len(measured) > 1 else np.nan,
                    f"{column}_difference": found.mean,
                    f"{column}_low": found.low,
                    f"{column}_high": found.high,
                    f"{column}_count": found.count,
                }
            rows.append(row)
    return pd.DataFrame(rows)


def turning_at_boundaries(scores: pd.DataFrame, method: str, *, confidence: float = 0.95) -> PairedDifference:
    """How much more the paths of a method turn near phase boundaries than away from them, per unit of length.

    The mean over paths with both parts of ``curvature_at_boundary - curvature_inside``: positive where paths are nearly
    straight inside phases and bend at boundaries.
    """
    mine = scores[scores["method"] == method]
    return paired_difference(
        mine["curvature_at_boundary"].to_numpy(dtype=float),
        mine["curvature_inside"].to_numpy(dtype=float),
        confidence=confidence,
    )
