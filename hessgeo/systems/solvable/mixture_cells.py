r"""Where one mode of a Gaussian mixture is as likely as another: the cells of a power diagram in the space of data.

Modes of one width share a quadratic term, so the odds of mode ``k`` at ``x`` go with the linear function ``a_k(x) = <x,
mu_k> / sigma^2 - |mu_k|^2 / (2 sigma^2) + log w_k``: cells have straight edges, whatever the weights.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

TIE = 1e-9  # of log odds, within which modes at a corner are as likely as one another


class Edge(NamedTuple):
    """Part of the line where two modes are the likeliest of all and as likely as one another.

    Attributes:
        point: of the line, nearest to the middle of the two modes.
        direction: of the line, of unit length.
        low, high: where the edge begins and ends along it, from ``point``; infinite where it does not.
    """

    point: Float[np.ndarray, "2"]
    direction: Float[np.ndarray, "2"]
    low: float
    high: float


def linear_odds(
    modes: Float[np.ndarray, "k d"], weights: Float[np.ndarray, "k"], sigma: float
) -> tuple[Float[np.ndarray, "k d"], Float[np.ndarray, "k"]]:
    """Slope and offset of ``a_k(x)``, whose softmax are the odds of the modes."""
    return modes / sigma**2, np.log(weights) - (modes**2).sum(axis=1) / (2 * sigma**2)


def edge(
    modes: Float[np.ndarray, "k 2"], weights: Float[np.ndarray, "k"], sigma: float, pair: tuple[int, int]
) -> Edge | None:
    """The edge between two modes of the plane; None where others are likelier all along their line.

    Raises:
        ValueError: if both are at one place.
    """
    i, j = pair
    slope, offset = linear_odds(modes, weights, sigma)
    normal = slope[i] - slope[j]
    length = math.hypot(*normal)
    if length == 0:
        raise ValueError(f"modes {i} and {j} are at one place, must be apart to have a boundary")
    middle = (modes[i] + modes[j]) / 2
    point = middle - normal / length**2 * (normal @ middle + offset[i] - offset[j])
    direction = np.array([-normal[1], normal[0]]) / length
    low, high = -math.inf, math.inf
    for k in sorted(set(range(len(modes))) - {i, j}):
        lead = (slope[i] - slope[k]) @ point + offset[i] - offset[k]  # must stay positive along the edge
        rate = (slope[i] - slope[k]) @ direction
        if rate > 0:
            low = max(low, -lead / rate)
        elif rate < 0:
            high = min(high, -lead / rate)
        elif lead < 0:
            return None
    return Edge(point, direction, low, high) if low < high else None


def corners(
    modes: Float[np.ndarray, "k 2"], weights: Float[np.ndarray, "k"], sigma: float
) -> list[tuple[tuple[int, ...], Float[np.ndarray, "2"]]]:
    """The modes that meet at each corner of the diagram, three or more, and where it is."""
    slope, offset = linear_odds(modes, weights, sigma)
    found: dict[tuple[int, ...], np.ndarray] = {}
    for first, second, third in itertools.combinations(range(len(modes)), 3):
        matrix = np.stack([slope[first] - slope[second], slope[first] - slope[third]])
        if abs(np.linalg.det(matrix)) <= TIE * np.abs(matrix).max() ** 2:
            continue  # on one line: their edges are parallel
        place = np.linalg.solve(matrix, [offset[second] - offset[first], offset[third] - offset[first]])
        odds = slope @ place + offset
        tied = np.flatnonzero(odds >= odds.max() - TIE * max(1.0, np.abs(odds).max()))
        if {first, second, third} <= set(tied.tolist()):
            found[tuple(int(k) for k in tied)] = place
    return list(found.items())
