"""Geodesics between two points as solutions of their differential equation: the reference for all else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.integrate import solve_bvp
from torch import Tensor

from hessgeo.metrics.conformal import DensityMetric


@dataclass(frozen=True)
class BoundaryValueGeodesic:
    """A solution of the geodesic equation between two points.

    Attributes:
        points: on the mesh of the solver.
        length: in the metric, an integral carried along with the solution.
        converged: whether the residual is below the tolerance everywhere.
        residual: largest root-mean-square residual of the equation over an interval of the mesh, relative.
    """

    points: Float[np.ndarray, "n d"]
    length: float
    converged: bool
    residual: float


def solve_geodesic(
    metric: DensityMetric,
    guess: Float[Tensor, "n d"],
    *,
    tolerance: float = 1e-8,
    max_nodes: int = 20_000,
) -> BoundaryValueGeodesic:
    """Solve the geodesic equation of a conformal metric with both ends given.

    With ``phi`` the logarithm of the cost of a step, a geodesic run through at constant Euclidean speed obeys
    the equation of a ray in a medium of refractive index ``exp(phi)``,

        x'' = |x'|^2 grad phi - <grad phi, x'> x',    s' = exp(phi) |x'|,

    solved by collocation of fourth order (``scipy.integrate.solve_bvp``), which knows nothing of graphs,
    chains or quadrature along edges. A geodesic is a local minimum: which one is found lies with the guess.

    Args:
        metric: where to solve.
        guess: a path between the ends, at constant Euclidean speed or nearly, such as a refined one.
        tolerance: of the relative residual.
        max_nodes: of the mesh.
    """
    path = guess.detach().cpu().numpy().astype(float)
    d = path.shape[1]
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    total = along[-1]
    time = along / total
    velocity = np.gradient(path, time, axis=0)

    def equation(_: np.ndarray, y: np.ndarray) -> np.ndarray:
        x, v = torch.from_numpy(y[:d].T.copy()), y[d : 2 * d].T
        phi, slope = (values.numpy() for values in metric.log_speed_and_gradient(x))
        square = (v**2).sum(axis=1, keepdims=True)
        force = square * slope - (slope * v).sum(axis=1, keepdims=True) * v
        rate = np.exp(phi) * np.sqrt(square[:, 0])
        return np.concatenate([v.T, force.T, rate[None]])

    def ends(first: np.ndarray, last: np.ndarray) -> np.ndarray:
        return np.concatenate([first[:d] - path[0], last[:d] - path[-1], first[2 * d :]])

    lengths = metric.segment_lengths(guess[:-1], guess[1:]).cpu().numpy()
    arc = np.concatenate([[0.0], np.cumsum(lengths)])
    start = np.concatenate([path.T, velocity.T, arc[None]])
    found = solve_bvp(equation, ends, time, start, tol=tolerance, max_nodes=max_nodes)
    return BoundaryValueGeodesic(
        points=found.y[:d].T,
        length=float(found.y[2 * d, -1]),
        converged=bool(found.status == 0),
        residual=float(found.rms_residuals.max()),
    )
