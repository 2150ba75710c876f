"""Table 2: scores of every way of going, and what each gains over the straight line on the same pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from hessgeo.evaluation.path_scores import (
    MeanInterval,
    independent_difference,
    mean_interval,
    paired_difference,
)

TABLES = ("table2", "table2_against_fisher", "table2_turning")
SPACES = ("embedding", "pixels", "perceptual")
STEADINESS = tuple(f"{space}_istd" for space in SPACES)
SCORES = ("fisher", *SPACES, "perceptual_path_length", *STEADINESS, "curvature", "bend")
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


def turning_at_boundaries(scores: pd.DataFrame, method: str, *, confidence: float = 0.95) -> MeanInterval:
    """How much more the paths of a method turn near phase boundaries than away from them, per unit of length.

    The mean over paths with both parts of ``curvature_at_boundary - curvature_inside``: positive where turning gathers
    at boundaries. It does not say that paths are straight elsewhere: see ``turning_contrasts``.
    """
    mine = scores[scores["method"] == method]
    return paired_difference(
        mine["curvature_at_boundary"].to_numpy(dtype=float),
        mine["curvature_inside"].to_numpy(dtype=float),
        confidence=confidence,
    )


def turning_contrasts(scores: pd.DataFrame, *, confidence: float = 0.95) -> pd.DataFrame:
    """Turning at phase boundaries beside that inside phases, by three measures, for each method.

    ``turning of parts``: per unit of length of the part of each path near a boundary, and of the rest; their difference
    is paired, over paths with both parts. ``curvature of pairs`` and ``bend of pairs``: of paths between points of two
    phases, and of paths between points of one; different pairs, so the difference is of independent means.

    Args:
        scores: one row for each ``method`` and ``pair``, with ``within_phase``, ``curvature``, ``bend``,
            ``curvature_inside`` and ``curvature_at_boundary``.
        confidence: of the intervals (Student's t, Welch's for independent means).

    Returns:
        One row for each ``contrast`` and ``method``: of ``boundary``, ``inside`` and ``difference`` the mean,
        ``<name>_low``, ``<name>_high`` and ``<name>_count``, the paths it is the mean of.
    """
    rows = []
    for contrast in ("turning of parts", "curvature of pairs", "bend of pairs"):
        for method, mine in scores.groupby("method", sort=False):
            if contrast == "turning of parts":
                names = ("curvature_at_boundary", "curvature_inside")
                boundary, inside = (mine[name].to_numpy(dtype=float) for name in names)
                difference = paired_difference(boundary, inside, confidence=confidence)
            else:
                name, within = contrast.split()[0], mine["within_phase"].to_numpy(dtype=bool)
                boundary, inside = (mine.loc[part, name].to_numpy(dtype=float) for part in (~within, within))
                difference = independent_difference(boundary, inside, confidence=confidence)
            found = {
                "boundary": mean_interval(boundary, confidence=confidence),
                "inside": mean_interval(inside, confidence=confidence),
                "difference": difference,
            }
            rows.append({"contrast": contrast, "method": method} | _columns(found))
    return pd.DataFrame(rows)


def _columns(found: dict[str, MeanInterval]) -> dict[str, float]:
    """Means by their names, with the ends of their intervals and their counts."""
    columns: dict[str, float] = {}
    for name, interval in found.items():
        ends = {"low": interval.low, "high": interval.high, "count": interval.count}
        columns |= {name: interval.mean} | {f"{name}_{end}": value for end, value in ends.items()}
    return columns


def path_tables(
    scores: Mapping[str, pd.DataFrame], settings: Mapping[str, Mapping[str, Any]]
) -> dict[str, pd.DataFrame]:
    """Every table of path scores, over all studies, by its name.

    Args:
        scores: of each study, as ``score_paths`` returns them.
        settings: the settings ``geodesics`` of each study.

    Returns:
        ``table2``, whose differences are from the straight line, ``table2_against_fisher``, where they are from the
        Fisher geodesic, which itself is left out, and ``table2_turning``, the rows of ``turning_contrasts``.
    """
    made: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    for study, table in scores.items():
        names, confidence = [name for name in SCORES if name in table], settings[study]["confidence"]
        for name, baseline in (("table2", "linear"), ("table2_against_fisher", "fisher")):
            part = table_2(table, names, baseline=baseline, confidence=confidence)
            made[name].append(part.assign(study=study))
        solved = table[~table["method"].isin(["linear", "spherical"])]  # lines turn nowhere
        made["table2_turning"].append(turning_contrasts(solved, confidence=confidence).assign(study=study))
    whole = {name: pd.concat(parts, ignore_index=True) for name, parts in made.items()}
    against = whole["table2_against_fisher"]
    whole["table2_against_fisher"] = against[against["method"] != "fisher"].reset_index(drop=True)
    return {name: table[["study", *table.columns.drop("study")]] for name, table in whole.items()}


def shown_pairs(scores: pd.DataFrame, count: int) -> list[int]:
    """The pairs that figures show: the first across a boundary, in the order drawn, then the first within a phase."""
    first = scores[scores["method"] == scores["method"].iloc[0]]
    return first["pair"].iloc[across_first(first["within_phase"].to_numpy(), count)].tolist()


def across_first(within_phase: Bool[np.ndarray, "pair"], count: int) -> list[int]:
    """Places of the first ``count`` pairs across a boundary, filled up with the first within a phase."""
    return np.argsort(within_phase, kind="stable")[:count].tolist()
