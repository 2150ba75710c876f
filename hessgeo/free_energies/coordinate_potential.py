"""The convex potential of a free energy in learned coordinates, on the box that holds their image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree
from torch import Tensor

from hessgeo.free_energies.displacement import Displacement
from hessgeo.free_energies.potential import Potential, nearest_potential
from hessgeo.grids import Grid

_MARGIN = 1e-6  # of the sides of the box round the image: sources at its edge lie within
_PREIMAGE_STEPS = 30
_FOUND = 1e-9  # box units: how near a preimage must come


def convex_potential(
    coordinates: Displacement,
    carrier: Grid,
    value: Callable[[Float[Tensor, "point 2"]], Float[Tensor, "point"]],
    slopes: Float[np.ndarray, "node 2"],
    weights: Float[np.ndarray, "node 2 2"],
) -> Potential:
    """``Phi``, twice continuously differentiable and convex everywhere, nearest to values and slopes of a fit.

    Its splines live on a grid of as many nodes as the carrier over the box that holds the image of the coordinates;
    of its nodes those in the image have a value, at their preimage.

    Args:
        coordinates: two of them.
        carrier: the nodes in the parameters, which are the sources.
        value: ``A(t)``.
        slopes: ``theta`` at the nodes, nats per ``N`` and box unit.
        weights: of their errors, the covariances of the posteriors in these coordinates.
    """
    u = coordinates(torch.from_numpy(carrier.points)).numpy()
    low, high = u.min(axis=0), u.max(axis=0)
    side = _MARGIN * (high - low)
    image = Grid(tuple(zip((low - side).tolist(), (high + side).tolist(), strict=True)), carrier.shape)
    t, inside = preimages(coordinates, carrier, image.points)
    values = np.full(image.size, np.nan)
    values[inside] = value(torch.from_numpy(t[inside])).numpy()
    return nearest_potential(
        image,
        values.reshape(image.shape),
        u,
        slopes,
        weights,
        mass=inside.astype(float).reshape(image.shape),
    )


def preimages(
    coordinates: Displacement, carrier: Grid, u: Float[np.ndarray, "point 2"]
) -> tuple[Float[np.ndarray, "point 2"], Bool[np.ndarray, "point"]]:
    """The parameters that two coordinates take to points, by Newton's method from the nearest node.

    Returns:
        The parameters, and which of the points have one in the box; of the others they mean nothing.
    """
    nodes = torch.from_numpy(carrier.points)
    _, nearest = cKDTree(coordinates(nodes).numpy()).query(u)
    t, target = nodes[nearest].clone(), torch.from_numpy(u)
    low, high = (torch.tensor(side) for side in zip(*carrier.extent, strict=True))
    reach = (high - low) / (torch.tensor(carrier.shape) - 1)
    for _ in range(_PREIMAGE_STEPS):
        off = coordinates(t) - target
        t = t - torch.linalg.solve(coordinates.jacobian(t), off)
        t = torch.minimum(torch.maximum(t, low - reach), high + reach)  # beyond, splines are only continued
    met = (coordinates(t) - target).abs().amax(dim=1) < _FOUND
    return t.numpy(), (met & (t >= low).all(dim=1) & (t <= high).all(dim=1)).numpy()
