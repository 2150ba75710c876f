"""The minimum of the dual problem: from few nodes to all of them, then with an ever weaker ridge."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.interpolate import make_interp_spline
from torch import Tensor
from tqdm import tqdm

from hessgeo.free_energies.dual_problem import DualPoint, DualProblem
from hessgeo.grids import Grid
from hessgeo.numerics.newton import Minimum, minimise
from hessgeo.posteriors.base import Posterior

_FEWEST = 9  # nodes along an axis of the coarsest grid
_ROUGH = 1e-3  # decrement per source that is enough on a grid that only starts a finer one
_RIDGES = (1e-5, 1e-6, 1e-7, 1e-8, 1e-9)  # squared cells: each starts the next
_PATIENCE = 12  # steps for each weaker ridge; data that leave slopes open would take them to infinity
_DOUBLINGS = 3  # of a step of Newton's, see ``minimise``
_ROUNDING = 1e-12  # of the loss, relative


@dataclass(frozen=True)
class DualSolution:
    """The minimum on one grid.

    Attributes:
        minimum: where it is, and how near Newton's method came.
        ridge: the weakest ridge at which it was reached, squared cells.
        grid: the nodes.
    """

    minimum: Minimum[DualPoint]
    ridge: float
    grid: Grid

    @property
    def point(self) -> DualPoint:
        """Potential and slopes, in nats and box units."""
        return self.minimum.point


def solve_dual(
    posterior: Posterior,
    grid: Grid,
    *,
    tolerance: float,
    max_iterations: int,
    device: str = "cpu",
    progress: bool = False,
) -> list[DualSolution]:
    """Solve the dual problem of a posterior on grids of more and more nodes, the carrier's own last.

    On fewer nodes the posterior is spread bilinearly over them: mass and means are kept, so that the problem has a
    minimum there, too, and all sources have their slopes. Each solution starts the next.

    Args:
        posterior: means and marginal of every source.
        grid: box units, and the nodes unless the posterior has its own.
        tolerance: Newton decrement to stop at, nats summed over sources.
        max_iterations: of Newton's method on each grid.
        device: where the sums run.
        progress: show the decrement on a progress bar.
    """
    solutions: list[DualSolution] = []
    with tqdm(desc="Newton", disable=not progress) as bar:
        for carrier in _ladder(posterior.carrier(grid)):
            problem = DualProblem.of(posterior, carrier, grid, ridge=_RIDGES[0], device=device)
            if solutions:
                start = replace(problem, reference=solutions[-1].point.theta).at(
                    problem.without_gauge(_prolonged(solutions[-1], carrier)), solutions[-1].point.theta
                )
            else:
                start = problem.at(torch.zeros_like(problem.marginal), torch.zeros_like(problem.mean))
            last = carrier.size == posterior.carrier(grid).size
            enough = tolerance if last else max(tolerance, _ROUGH * len(posterior.t))
            found = _newton(start, enough, max_iterations, 0, bar)
            solution = DualSolution(found, _RIDGES[0], carrier)
            solutions.append(_sharpened(solution, tolerance, max_iterations, bar) if last else solution)
    return solutions


def _sharpened(
    solution: DualSolution, tolerance: float, max_iterations: int, bar: tqdm | None
) -> DualSolution:
    """With weaker and weaker ridges about the slopes that are reached, as long as Newton's method gets there soon."""
    for ridge in _RIDGES[1:]:
        found = solution.minimum
        if not found.converged:
            break
        problem = found.point.problem
        weaker = replace(problem, ridge=problem.ridge * ridge / solution.ridge, reference=found.point.theta)
        limit = min(found.iterations + _PATIENCE, max_iterations)
        start = weaker.at(found.point.phi, found.point.theta)
        trial = _newton(start, tolerance, limit, found.iterations, bar)
        if not trial.converged:
            break
        solution = DualSolution(trial, ridge, solution.grid)
    return solution


def _newton(
    start: DualPoint, tolerance: float, max_iterations: int, spent: int, bar: tqdm | None
) -> Minimum[DualPoint]:
    return minimise(
        start, tolerance=tolerance, max_iterations=max_iterations, what="dual fit", spent=spent,
        rounding=_ROUNDING, doublings=_DOUBLINGS, bar=bar,
    )  # fmt: skip


def _ladder(carrier: Grid) -> list[Grid]:
    """Grids over the same box with half the nodes again and again, the coarsest first."""
    grids = [carrier]
    while all(nodes >= 2 * _FEWEST for nodes in grids[0].shape):
        grids.insert(0, Grid(carrier.extent, tuple(nodes // 2 for nodes in grids[0].shape)))
    return grids


def _prolonged(solution: DualSolution, onto: Grid) -> Float[Tensor, "node"]:
    """The potential between the nodes by cubic splines along each axis."""
    phi = solution.point.phi
    values: np.ndarray = phi.reshape(solution.grid.shape).cpu().numpy()
    for axis, (old, new) in enumerate(zip(solution.grid.unit.axes, onto.unit.axes, strict=True)):
        values = make_interp_spline(old, values, k=3, axis=axis)(new)
    return torch.from_numpy(np.ascontiguousarray(values)).to(phi).flatten()
