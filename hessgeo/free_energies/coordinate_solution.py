"""The descent in coordinates: from few nodes to all of them, and from two coordinates to more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from hessgeo.free_energies.base import FitData
from hessgeo.free_energies.coordinate_problem import CoordinatePoint, CoordinateProblem
from hessgeo.free_energies.displacement import bending
from hessgeo.free_energies.dual_problem import DualPoint
from hessgeo.free_energies.dual_solution import DualSolution
from hessgeo.grids import Grid, bilinear_weights
from hessgeo.numerics.bsplines import SplineBasis
from hessgeo.numerics.interpolation import interpolate, interpolating_basis
from hessgeo.numerics.newton import Minimum, minimise

_BLOCK = 256  # sources whose posteriors are held at once
_BARRIER = 1e-3  # weight of the distortion at one node, nats
_LEVELS = 2  # of the grids of the dual fit, the finest ones: on these coordinates are learned
_FEWEST = 16  # nodes along an axis of a coarser level
_ROUGH = 1e-4  # decrement of the dual fit, nats a source, that is enough to go on from
_SETTLING = 20  # steps of it at most
_ROUNDING = 1e-12  # of the loss, relative


@dataclass(frozen=True)
class CoordinateOptions:
    """How coordinates are learned.

    Attributes:
        splines: of each component of the displacement along both axes.
        dimension: how many coordinates, at least two.
        smoothness: weight of its squared third differences, nats a source.
        steps: of Gauss and Newton for each dimension on each grid, at most; none leaves the given coordinates.
        step_tolerance: decrement, nats a source, that ends them.
        compared: other numbers of coordinates whose divergence is told.
    """

    splines: tuple[int, ...] = (16, 16)
    dimension: int = 2
    smoothness: float = 1e-6
    steps: int = 60
    step_tolerance: float = 1e-5
    compared: tuple[int, ...] = ()

    @property
    def dimensions(self) -> list[int]:
        """All numbers of coordinates that are asked for, and two."""
        return sorted({2, self.dimension, *self.compared})


@dataclass(frozen=True)
class CoordinateSolution:
    """The minimum in some coordinates on one grid.

    Attributes:
        minimum: where it is, and how near the descent came.
        grid: the nodes.
        basis: the splines of the displacement, box units.
    """

    minimum: Minimum[CoordinatePoint]
    grid: Grid
    basis: SplineBasis

    @property
    def point(self) -> CoordinatePoint:
        """Coordinates, potential and slopes."""
        return self.minimum.point


def solve_coordinates(
    data: FitData, given: list[DualSolution], options: CoordinateOptions
) -> dict[int, CoordinateSolution]:
    """Learn coordinates on the finest grids of the dual fit, the coarser first.

    Every source has its slope on the coarser grid, too, and most of what the coordinates do is seen there for a quarter
    of the work.

    Args:
        data: the posterior, and its rows.
        given: the dual fit in the given coordinates, coarse to fine.
        options: of the coordinates.

    Returns:
        The solution on the finest grid for each number of coordinates that is asked for.
    """
    levels = [solution for solution in given[:-1] if min(solution.grid.shape) >= _FEWEST][1 - _LEVELS :]
    found: dict[int, CoordinateSolution] = {}
    for level in [*levels, given[-1]]:
        problem, basis = coordinate_problem(data, level, options)
        points = _dimensions(problem, level.point, options, found, level.grid, data.progress)
        found = {dimension: CoordinateSolution(each, level.grid, basis) for dimension, each in points}
    return found


def coordinate_problem(
    data: FitData, given: DualSolution, options: CoordinateOptions
) -> tuple[CoordinateProblem, SplineBasis]:
    """The problem about the given coordinates, and the splines of the displacement."""
    carrier, finest = given.grid, data.posterior.carrier(data.grid)
    counts = zip(options.splines, finest.shape, strict=True)
    basis = SplineBasis.over(carrier.unit.extent, tuple(max(4, min(count, nodes)) for count, nodes in counts))
    directions, nodes = bending(basis), torch.from_numpy(carrier.unit.points)
    bends = basis.matrix(nodes) @ directions
    # Rows lie on the finest nodes: spread over fewer, they keep mass and means.
    spread = bilinear_weights(finest.points, carrier) @ bends.numpy()
    sources = np.arange(len(data.posterior.t))
    blocks = np.split(sources, range(_BLOCK, len(sources), _BLOCK))
    means = np.concatenate([np.asarray(data.rows(block), dtype=float) @ spread for block in blocks])
    slopes = torch.stack([basis.matrix(nodes, order) @ directions for order in ((1, 0), (0, 1))])
    like = given.point.phi
    problem = CoordinateProblem(
        dual=given.point.problem,
        bends=bends.to(like),
        mean_bends=torch.from_numpy(means).to(like),
        slopes=slopes.to(like),
        penalty=(directions.T @ basis.third_difference_penalty() @ directions).to(like),
        smoothness=options.smoothness * len(sources),
        barrier=_BARRIER * len(sources) / carrier.size,
    )
    return problem, basis


def _dimensions(
    problem: CoordinateProblem,
    given: DualPoint,
    options: CoordinateOptions,
    before: dict[int, CoordinateSolution],
    grid: Grid,
    progress: bool,
) -> Iterable[tuple[int, Minimum[CoordinatePoint]]]:
    """The minimum in two coordinates, from it that in three, and so on, or from what fewer nodes showed."""
    n = len(given.theta)
    point = problem.at(torch.zeros(problem.bends.shape[1], 2).to(given.phi), given.phi, given.theta)
    for dimension in options.dimensions if before else range(2, options.dimensions[-1] + 1):
        if dimension in before:
            coarse = before[dimension].point
            start = problem.at(coarse.d, _prolonged(coarse.phi, before[dimension].grid, grid), coarse.theta)
            start = _settled(start)
            point = start if start.loss < point.loss or dimension > point.d.shape[1] else point
        elif dimension > 2:
            point = _settled(point.grown())
        with tqdm(total=options.steps, desc=f"{dimension} coordinates", disable=not progress) as bar:
            found = minimise(
                point, tolerance=options.step_tolerance * n, max_iterations=options.steps, what="learned coordinates",
                rounding=_ROUNDING, bar=bar,
            )  # fmt: skip
        point = found.point
        if dimension in options.dimensions or not before:
            yield dimension, found


def _settled(point: CoordinatePoint) -> CoordinatePoint:
    """The same coordinates with the potential and the slopes that they ask for, nearly."""
    dual = point.problem.moved_dual(point.d)
    start = replace(dual, reference=point.theta).at(point.phi, point.theta)
    enough = _ROUGH * len(point.theta)
    found = minimise(
        start, tolerance=enough, max_iterations=_SETTLING, what="dual fit", rounding=_ROUNDING
    ).point
    return point.problem.at(point.d, found.phi, found.theta)


def _prolonged(values: Float[Tensor, "node"], grid: Grid, onto: Grid) -> Float[Tensor, "other"]:
    """Values at the nodes of a finer grid by the cubic splines through those at the nodes of one."""
    field = values.cpu().numpy().reshape(grid.shape)
    coefficients = torch.from_numpy(np.ascontiguousarray(interpolate(interpolate(field, 0), 1)))
    basis = interpolating_basis(grid.unit.extent, grid.shape)
    return basis.evaluate(coefficients, torch.from_numpy(onto.unit.points)).to(values)
