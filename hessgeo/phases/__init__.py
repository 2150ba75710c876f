"""Phases: basins of the metric, their boundaries and meeting points, and the local Lipschitz number."""

from hessgeo.phases.lipschitz import lipschitz_field
from hessgeo.phases.scaling import boundary_growth, size_verdict
from hessgeo.phases.segment import (
    BoundaryLine,
    PhaseMap,
    TriplePoint,
    boundary_lines,
    boundary_strengths,
    medoids,
    segment_phases,
    triple_points,
)

__all__ = [
    "BoundaryLine",
    "PhaseMap",
    "TriplePoint",
    "boundary_growth",
    "boundary_lines",
    "boundary_strengths",
    "lipschitz_field",
    "medoids",
    "segment_phases",
    "size_verdict",
    "triple_points",
]
