"""Phases: basins of the metric, their boundaries and meeting points, the local Lipschitz number, and dimensions."""

from hessgeo.phases.adaptive import AdaptiveSamples, sample_adaptively
from hessgeo.phases.boundaries import BoundaryLine, TriplePoint, boundary_lines, triple_points
from hessgeo.phases.dimension import Dimension, box_dimension, correlation_dimension, uncertainty_exponent
from hessgeo.phases.fractality import Fractality, judge_fractality
from hessgeo.phases.lipschitz import lipschitz_field
from hessgeo.phases.scale_law import ScaleLaw, judge_scales
from hessgeo.phases.scaling import boundary_growth, size_verdict
from hessgeo.phases.segment import PhaseMap, boundary_strengths, medoids, segment_phases

__all__ = [
    "AdaptiveSamples",
    "BoundaryLine",
    "Dimension",
    "Fractality",
    "PhaseMap",
    "ScaleLaw",
    "TriplePoint",
    "boundary_growth",
    "boundary_lines",
    "boundary_strengths",
    "box_dimension",
    "correlation_dimension",
    "judge_fractality",
    "judge_scales",
    "lipschitz_field",
    "medoids",
    "sample_adaptively",
    "segment_phases",
    "size_verdict",
    "triple_points",
    "uncertainty_exponent",
]
