"""Whether a boundary is fractal: its dimension by three estimators, beside smooth curves in the same window."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Int64, Integer

from hessgeo.phases.dimension import Dimension, box_dimension, correlation_dimension, uncertainty_exponent

FRACTAL, SMOOTH, UNRESOLVED = "fractal", "smooth", "not resolved"

_WIDE = 0.12  # half-width of an interval from which neither verdict can be read
_ESTIMATORS = {
    "box": box_dimension,
    "correlation": correlation_dimension,
    "uncertainty": uncertainty_exponent,
}


@dataclass(frozen=True)
class Fractality:
    """A verdict on a boundary, and all that it rests on.

    Attributes:
        verdict: ``fractal``, ``smooth`` or ``not resolved``.
        reason: one sentence with the numbers that decided.
        box: box-counting dimension.
        correlation: correlation dimension.
        uncertainty: dimension by the uncertainty exponent.
        null: least and largest dimension that each estimator, by name, gives of smooth curves in the same window.
        length: of the boundary as the largest box sees it, in shorter sides of the window.
    """

    verdict: str
    reason: str
    box: Dimension
    correlation: Dimension
    uncertainty: Dimension
    null: dict[str, tuple[float, float]]
    length: float


def judge_fractality(labels: Integer[np.ndarray, "a b"]) -> Fractality:
    """Dimension of the boundary between labels by all estimators, and whether it is that of a smooth curve.

    ``fractal`` where the interval of the box dimension lies above all that smooth curves of the same window and
    about the same length give by the same code, and so does that of one of the others at least; ``smooth`` where the
    interval of the box dimension reaches the smooth ones, and the others do not contradict; else, or
    where an interval is wider than .24, ``not resolved``.

    Args:
        labels: of the nodes of a grid with square cells; at least 24 nodes along each side.

    Raises:
        ValueError: if the map is no such array.
    """
    found = {name: estimate(labels) for name, estimate in _ESTIMATORS.items()}
    box = found["box"]
    side = min(labels.shape)
    # The largest box counts a length l about 4 l / pi s times, of all angles; the places are those of a smaller window.
    length = float(np.pi / 4 * box.counts[-1] * box.scales[-1] / side) if box.resolved else 0.0
    null = _null_bands(labels.shape, _curves(length)) if box.resolved else {}
    verdict, reason = _verdict(found, null)
    return Fractality(verdict, reason, **found, null=null, length=length)


def smooth_curves(shape: tuple[int, int], count: int) -> dict[str, Int64[np.ndarray, "a b"]]:
    """Maps with smooth boundaries through a window, each about ``count`` of its shorter sides long.

    Straight lines at three angles, waves, circles about one centre, and three sectors that meet in a point.
    """
    side = min(shape)
    u, v = np.meshgrid(*((np.arange(nodes) + 0.3 - nodes / 2) / side for nodes in shape), indexing="ij")
    maps = {}
    for name, angle, height in (
        ("shallow", 0.2, 0.0),
        ("oblique", 0.7, 0.0),
        ("steep", 1.3, 0.0),
        ("wave", 0.5, 0.1),
    ):
        along, across = np.cos(angle) * u + np.sin(angle) * v, np.cos(angle) * v - np.sin(angle) * u
        maps[name] = np.floor(
            count * (across + height * np.sin(7 * along)) + (0.5 if count % 2 else 0.0) + 0.03
        )
    # Circles of radii k / (2 count) have the length pi / 4 count (1 + 1 / count) inside the window.
    maps["circles"] = np.floor(2 * (count + 1) * np.hypot(u, v) / 2**0.5 + 0.1)
    maps["sectors"] = np.floor((np.arctan2(v - 0.02, u + 0.03) / np.pi + 1) / 2 * max(3, 2 * count))
    return {name: np.asarray(found, dtype=np.int64) for name, found in maps.items()}


def _curves(length: float) -> int:
    """Curves across the window that are as long, rounded to a few, so that maps of a cascade share their null."""
    return next((few for few in (1, 2, 4) if length < 1.5 * few), 6)


@cache
def _null_bands(shape: tuple[int, int], count: int) -> dict[str, tuple[float, float]]:
    maps = smooth_curves(shape, count).values()
    bands = {}
    for name, estimate in _ESTIMATORS.items():
        values = np.array([estimate(labels).value for labels in maps])
        bands[name] = (
            (float(np.nanmin(values)), float(np.nanmax(values))) if np.isfinite(values).any() else (1.0, 1.0)
        )
    return bands


def _verdict(found: dict[str, Dimension], null: dict[str, tuple[float, float]]) -> tuple[str, str]:
    box = found["box"]
    if not box.resolved:
        return UNRESOLVED, "the boundary is absent, fills the window, or spans too few scales for a slope"
    said = f"box dimension {_words(box)}, of smooth curves {null['box'][0]:.3f} to {null['box'][1]:.3f}"
    others = {name: one for name, one in found.items() if name != "box" and one.resolved}
    above = {name for name, one in {"box": box, **others}.items() if one.low > null[name][1]}
    witness = ", ".join(f"{name} {_words(one)}" for name, one in others.items())
    said += f"; {witness}" if witness else "; no other estimator has a value"
    if "box" in above and len(above) > 1:
        return FRACTAL, said
    if (box.high - box.low) / 2 > _WIDE:
        return UNRESOLVED, f"{said}; the interval is too wide"
    if above:
        return UNRESOLVED, f"{said}; only by {' and '.join(sorted(above))} it lies above the smooth ones"
    return SMOOTH, said


def _words(one: Dimension) -> str:
    return f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"
