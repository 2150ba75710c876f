"""The minimum of the dual problem: from few nodes to all of them, then with an ever weaker ridge."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.interpolate import RegularGridInterpolator
from torch import Tensor
from tqdm import tqdm

from hessgeo.free_energies.dual_problem import DualPoint, DualProblem
from hessgeo.grids import Grid
from hessgeo.numerics.newton import Minimum, minimise
from hessgeo.posteriors.base import Posterior

_FEWEST = 9  # nodes along an axis of the coarsest grid
_ROUGH = 1e-3  # decrement per source that is enough on a grid that only starts a finer one
_RIDGES = (1e-5, 1e-6, 1e-7, 1e-8, 1e-9)  # squared cells: each starts the next
_PATIENCE = (
    12  # steps for each weaker ridge, beyond which data that leave slopes open are taking them to infinity ..
)
_SMALL = 1e-6  # .. unless the decrement per source is less, nats: then as many again, twice
_DOUBLINGS = 3  # of a step of Newton's, see ``minimise``
_MOST_PAIRS = 2**29  # of a sample and a node; beyond, scattered samples are spread over a grid
_ROUNDING = 1e-12  # of the loss, relative


@dataclass(frozen=True)
class DualSolution:
    """The minimum on one set of nodes.

    Attributes:
        minimum: where it is, and how near Newton's method came.
        ridge: the weakest ridge at which it was reached, squared cells.
        grid: the nodes; where the samples themselves are, those of a grid as fine.
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
    minimum there, too, and all sources have their slopes. Each solution starts the next. Scattered samples become
    the nodes at last, as long as there are not too many, and nothing is spread.

    Args:
        posterior: means and marginal of every source.
        grid: box units, and the nodes unless the posterior has its own.
        tolerance: Newton decrement to stop at, nats summed over sources.
        max_iterations: of Newton's method on each set of nodes.
        device: where the sums run.
        progress: show the decrement on a progress bar.
    """
    carrier = posterior.carrier(grid)
    stages = [(DualProblem.on_grid, rung) for rung in _ladder(carrier)]
    if not _are_nodes(posterior, carrier) and len(posterior.points) * len(posterior.t) <= _MOST_PAIRS:
        stages.append((DualProblem.on_samples, carrier))
    solutions: list[DualSolution] = []
    with tqdm(desc="Newton", disable=not progress) as bar:
        for place, (make, rung) in enumerate(stages):
            problem = make(posterior, rung, grid, ridge=_RIDGES[0], device=device)
            last = place == len(stages) - 1
            start = _continued(solutions[-1], problem) if solutions else _flat(problem)
            enough = tolerance if last else max(tolerance, _ROUGH * len(posterior.t))
            solution = DualSolution(_newton(start, enough, max_iterations, 0, bar), _RIDGES[0], rung)
            solutions.append(_sharpened(solution, tolerance, max_iterations, bar) if last else solution)
    return solutions


def solved_again(
    solution: DualSolution, marginal: Float[Tensor, "node"], *, tolerance: float, max_iterations: int
) -> DualSolution:
    """The minimum with another marginal, from that of one near it; arguments as of ``solve_dual``."""
    point, spent = solution.point, solution.minimum.iterations
    problem = replace(
        point.problem,
        marginal=marginal,
        ridge=point.problem.ridge * _RIDGES[0] / solution.ridge,
        reference=point.theta,
    )
    minimum = _newton(problem.at(point.phi, point.theta), tolerance, spent + max_iterations, spent, None)
    return _sharpened(
        DualSolution(minimum, _RIDGES[0], solution.grid), tolerance, spent + max_iterations, None
    )


def _are_nodes(posterior: Posterior, carrier: Grid) -> bool:
    """Whether the points that carry the posterior are the nodes of a grid."""
    if len(posterior.points) != carrier.size:
        return False
    off = np.abs(posterior.points - carrier.points) / np.array(carrier.spacing)
    return bool((off <= 1e-6 + carrier.rounding).all())


def _flat(problem: DualProblem) -> DualPoint:
    return problem.at(torch.zeros_like(problem.marginal), torch.zeros_like(problem.mean))


def _continued(solution: DualSolution, problem: DualProblem) -> DualPoint:
    """Where a solution on other nodes starts a problem, whose ridge draws to the slopes that it has."""
    theta = solution.point.theta
    phi = _prolonged(solution, problem.nodes)
    return replace(problem, reference=theta).at(problem.without_gauge(phi), theta)


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
        if trial.decrement <= _SMALL * len(trial.point.theta):
            limit = min(trial.iterations + 2 * _PATIENCE, max_iterations)
            trial = _newton(trial.point, tolerance, limit, trial.iterations, bar)
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


def _prolonged(solution: DualSolution, nodes: Float[Tensor, "node axis"]) -> Float[Tensor, "node"]:
    """The potential at other nodes by a cubic spline through those of a grid, or nearly through them: a start."""
    phi = solution.point.phi
    values = phi.reshape(solution.grid.shape).cpu().numpy()
    between = RegularGridInterpolator(solution.grid.unit.axes, values, method="cubic", bounds_error=False)
    return torch.from_numpy(between(nodes.cpu().numpy().clip(-1, 1))).to(phi)
