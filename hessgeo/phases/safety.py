"""Which points of a slice are safe: how far from a phase boundary, and how likely a jitter is to cross one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr
from torch import Tensor

from hessgeo.geodesics.eikonal import GriddedMedium
from hessgeo.grids import Grid
from hessgeo.metrics.base import Metric

FINER = 4  # steps of the grid of distances in one of the study's
TYPICAL = (
    0.1  # share of a phase's samples, the nearest to its mean embedding, that its stable medoid is one of
)


def boundary_distances(
    metric: Metric | Callable[[Tensor], Tensor],
    lines: Sequence[Float[np.ndarray, "m 2"]],
    grid: Grid,
    *,
    finer: int = FINER,
) -> Float[np.ndarray, "na nb"]:
    """Distance of every node from the nearest of some lines in a metric.

    Fronts start from all lines at once and go through every valley (``GriddedMedium.from_curves``).

    Args:
        metric: such as the Fisher metric, whose distances are in roots of nats per unit of N.
        lines: in parameter units.
        grid: the nodes.
        finer: steps of the grid that is marched over in one of ``grid``; the error is of first order in its step.

    Returns:
        Distances; infinite without a line.
    """
    fine = Grid(grid.extent, tuple(finer * (nodes - 1) + 1 for nodes in grid.shape))
    return GriddedMedium.of(metric, fine).from_curves(lines)[::finer, ::finer]


def jitter_risk(
    label: Int[np.ndarray, "na nb"], sigma: float
) -> tuple[Float[np.ndarray, "na nb"], Float[np.ndarray, "na nb"]]:
    """Chance that a random shift of each node ends in another phase.

    The shift is normal with deviation ``sigma`` along each side of the box, a share of that side. A point has the
    phase of its nearest node, so that the chance is a sum over cells of products of two differences of the normal
    distribution: no draws, and exact for the map as it is. Shifts that leave the box are left out, for nothing is
    known there.

    Args:
        label: phase of each node, corners of the box included.
        sigma: positive.

    Returns:
        The chance among the shifts that stay in the box, and the share of shifts that do.

    Raises:
        ValueError: if ``sigma`` is not positive.
    """
    if not sigma > 0:
        raise ValueError(f"sigma is {sigma}, must be positive")
    along_a, along_b = (_cell_masses(nodes, sigma) for nodes in label.shape)
    inside = np.multiply.outer(along_a.sum(axis=1), along_b.sum(axis=1))
    stays = np.zeros(label.shape)
    for phase in np.unique(label):
        here = label == phase
        stays[here] = (along_a @ here @ along_b.T)[here]
    return np.clip(1 - stays / inside, 0, 1), inside


def _cell_masses(nodes: int, sigma: float) -> Float[np.ndarray, "n n"]:
    """Mass of a normal distribution about each node of an axis in the cell of each, the cells cut at the box."""
    place = np.arange(nodes)
    edges = np.concatenate([[0.0], place[:-1] + 0.5, [nodes - 1.0]])
    below = ndtr((edges - place[:, None]) / (sigma * (nodes - 1)))
    # What is near one in the far tail is a difference of numbers near zero on the other side.
    above = ndtr((place[:, None] - edges) / (sigma * (nodes - 1)))
    left = edges[1:] <= place[:, None]
    return np.where(left, np.diff(below, axis=1), -np.diff(above, axis=1))


@dataclass(frozen=True)
class StableMedoid:
    """The safest of the typical samples of a phase, beside its medoid.

    Attributes:
        label: of the phase.
        node: of the stable medoid.
        medoid: the most typical sample of the phase.
        least: the node of the phase with the largest risk.
    """

    label: int
    node: int
    medoid: int
    least: int


def stable_medoids(
    phases: Sequence[Mapping[str, Any]],
    label: Int[np.ndarray, "na nb"],
    embedding: Float[np.ndarray, "n d"],
    risk: Float[np.ndarray, "na nb"],
    distance: Float[np.ndarray, "na nb"],
    *,
    typical: float = TYPICAL,
) -> list[StableMedoid]:
    """Of each phase the typical sample that a jitter is least likely to move out of it.

    Typical is the share ``typical`` of its samples nearest to its mean embedding. Of equal risks the one farther from
    the boundary wins, then the earlier node.

    Args:
        phases: ``label`` and ``medoid`` of each.
        label: phase of each node.
        embedding: of the nodes, in their order.
        risk: of ``jitter_risk``.
        distance: of ``boundary_distances``.
        typical: share of a phase.
    """
    found, flat = [], label.ravel()
    for phase in phases:
        nodes = np.flatnonzero(flat == phase["label"])
        own = embedding[nodes].astype(float)
        far = np.linalg.norm(own - own.mean(axis=0), axis=1)
        few = nodes[np.argsort(far, kind="stable")[: max(1, round(typical * len(nodes)))]]
        # Chances that differ by rounding alone are the same.
        order = np.lexsort((few, -distance.ravel()[few], np.round(risk.ravel()[few], 12)))
        worst = nodes[np.lexsort((nodes, distance.ravel()[nodes], -np.round(risk.ravel()[nodes], 12)))[0]]
        found.append(StableMedoid(phase["label"], int(few[order[0]]), int(phase["medoid"]), int(worst)))
    return found
