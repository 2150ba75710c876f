"""The link from a metric to phases that a study and its resolution scan share; no fit needs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from hessgeo.grids import Grid
from hessgeo.phases.segment import PhaseMap, segment_phases, smoothed_height


def phase_map(
    largest_eigenvalue: Float[np.ndarray, "na nb"], grid: Grid, settings: Mapping[str, Any]
) -> PhaseMap:
    """Phases as the settings ``phases`` of a study say.

    An eigenvalue that is not positive, which an indefinite fit may have, counts as the smallest positive one:
    it lies in a basin, never on a ridge.

    Raises:
        ValueError: if no eigenvalue is positive.
    """
    options = {key: settings[key] for key in ("persistence", "minimum_area", "smoothing")}
    return segment_phases(_positive(largest_eigenvalue), grid, **options)


def phase_height(
    largest_eigenvalue: Float[np.ndarray, "na nb"], settings: Mapping[str, Any]
) -> Float[np.ndarray, "na nb"]:
    """The smoothed logarithm of the eigenvalue in which ``phase_map`` finds ridges."""
    return smoothed_height(_positive(largest_eigenvalue), settings["smoothing"])


def _positive(largest_eigenvalue: Float[np.ndarray, "na nb"]) -> Float[np.ndarray, "na nb"]:
    positive = largest_eigenvalue[largest_eigenvalue > 0]
    if positive.size == 0:
        raise ValueError("the metric has no positive eigenvalue, so it has no ridges to part phases")
    return np.maximum(largest_eigenvalue, positive.min())
