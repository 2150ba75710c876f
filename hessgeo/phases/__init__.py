"""Phases: basins of the metric, their boundaries and meeting points, and the local Lipschitz number."""

from hessgeo.phases.lipschitz import lipschitz_field
from hessgeo.phases.segment import (
    BoundaryLine,
    PhaseMap,
    TriplePoint,
    boundary_lines,
    medoids,
    segment_phases,
    triple_points,
)

__all__ = [
    "BoundaryLine",
    "PhaseMap",
    "TriplePoint",
    "boundary_lines",
    "lipschitz_field",
    "medoids",
    "segment_phases",
    "triple_points",
]
