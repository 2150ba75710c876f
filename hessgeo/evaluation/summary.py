"""Runs with several seeds, summarised."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd


def over_seeds(runs: pd.DataFrame, by: Sequence[str], scores: Sequence[str]) -> pd.DataFrame:
    """Mean and standard deviation of scores over the runs that share everything named in ``by``.

    Args:
        runs: a row per run, with the columns of ``by`` and ``scores``.
        by: what tells rows of a table apart (system, size, method, gauge, ...); groups keep the order in which they
            appear, and missing values are values.
        scores: what is averaged. A score that one run lacks (NaN) is averaged over the others.

    Returns:
        The columns of ``by``, ``seeds`` (the number of runs), and of each score its mean and ``<score>_sd``, the
        sample standard deviation, NaN of a single run.

    Raises:
        ValueError: if a column is missing.
    """
    missing = [name for name in (*by, *scores) if name not in runs]
    if missing:
        raise ValueError(f"runs lack the columns {missing}; they have {list(runs.columns)}")
    groups = runs.groupby(list(by), sort=False, dropna=False)
    parts = [groups.size().rename("seeds")]
    for score in scores:
        parts += [groups[score].mean(), groups[score].std(ddof=1).rename(f"{score}_sd")]
    return pd.concat(parts, axis=1).reset_index()
