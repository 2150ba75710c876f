"""Newton's method on the energy of many curves at once, in any number of dimensions.

Between neighbouring points a curve is a cubic whose tangents at both ends are free, so the energy of a curve is a sum
of terms ``E_k(x_k, x_{k+1})``, each the least energy of a cubic (a Galerkin variational integrator, Marsden and West
2001; Hall and Leok 2015). Its Hessian in the points is block tridiagonal with blocks of d x d. Energy, points and
momenta are those of the exact geodesic to sixth order in the step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hessgeo.geodesics import second_variation
from hessgeo.geodesics.mesh import Mesh
from hessgeo.geodesics.segments import CurveState, Expansion, energy, expand
from hessgeo.metrics.base import Box, Metric

_ARMIJO = 1e-4
_ROUNDING = 1e-13  # of an energy, relative
_RESOLVED = 1e-4  # of an energy: what tangents may add to it
# Steps in which an energy must fall by that share, or the iteration has stalled.
_PATIENCE, _PROGRESS = 12, 1e-9
_DAMPING = (1e-8, 1e8)  # below the first no damping at all, above the second no hope


@dataclass(frozen=True)
class Descent:
    """What the iteration ended with, on curves of any mesh.

    Attributes:
        points: of all curves.
        velocity: ``dx / ds`` there, of continuously differentiable curves.
        energy: of each curve.
        converged: whether the Newton decrement of a positive definite system fell below the tolerance.
        iterations: of each curve.
        decrement: last one, relative to the energy.
        minimal: whether the second variation is positive definite: no conjugate point along the curve (Jacobi).
    """

    points: Float[Tensor, "p d"]
    velocity: Float[Tensor, "p d"]
    energy: Float[Tensor, "m"]
    converged: Bool[Tensor, "m"]
    iterations: Int[Tensor, "m"]
    decrement: Float[Tensor, "m"]
    minimal: Bool[Tensor, "m"]


@dataclass(frozen=True)
class Minimum:
    """What the iteration ended with, on curves of as many even segments each.

    Attributes:
        points: of each curve.
        tangents: there, per segment, of a continuously differentiable curve.
        energy, converged, iterations, decrement, minimal: see ``Descent``.
    """

    points: Float[Tensor, "m n d"]
    tangents: Float[Tensor, "m n d"]
    energy: Float[Tensor, "m"]
    converged: Bool[Tensor, "m"]
    iterations: Int[Tensor, "m"]
    decrement: Float[Tensor, "m"]
    minimal: Bool[Tensor, "m"]


def minimise(
    metric: Metric,
    points: Float[Tensor, "m n d"],
    tangents: Float[Tensor, "m n d"],
    *,
    box: Box | None = None,
    nodes: int = 4,
    tolerance: float = 1e-14,
    max_iterations: int = 100,
) -> Minimum:
    """Minimise the energy of curves of as many points each, see ``descend``.

    Args:
        metric: with two derivatives (``Metric.jet``); if they jump, as those of a Hessian of cubic splines do, curves
            may stall at a decrement above the tolerance.
        points: to start from.
        tangents: there, per segment.
        box: points stay in it; between two points on its edge a curve may bulge out, by second order in the step.
        nodes: of quadrature in each segment.
        tolerance: decrement (half of ``g' H^-1 g``) relative to the energy.
        max_iterations: of each curve.
    """
    count, n = points.shape[:2]
    mesh = Mesh.even(count, n - 1, points)
    found = descend(
        metric,
        mesh,
        CurveState(
            points.flatten(0, 1), torch.stack([tangents[:, :-1], tangents[:, 1:]], dim=2).flatten(0, 1)
        ),
        box=box,
        nodes=nodes,
        tolerance=tolerance,
        max_iterations=max_iterations,
    )
    return Minimum(
        points=found.points.unflatten(0, (count, n)),
        tangents=found.velocity.unflatten(0, (count, n)) / (n - 1),
        energy=found.energy,
        converged=found.converged,
        iterations=found.iterations,
        decrement=found.decrement,
        minimal=found.minimal,
    )


def descend(
    metric: Metric,
    mesh: Mesh,
    start: CurveState,
    *,
    box: Box | None,
    nodes: int,
    tolerance: float,
    max_iterations: int,
) -> Descent:
    """Minimise the energy of curves between fixed ends, each to its own Newton decrement.

    A Levenberg-Marquardt iteration: the Hessian plus ``mu`` times its positive part, ``mu`` of each curve raised until
    the sum is positive definite and the energy falls, and lowered to zero after good steps.

    Args:
        metric: with two derivatives, see ``minimise``.
        mesh: of the curves.
        start: to start from.
        box: points stay in it.
        nodes: of quadrature in each segment.
        tolerance: decrement relative to the energy.
        max_iterations: of each curve.
    """
    start = CurveState(_inside(mesh, start.points, box), start.tangents)
    points, tangents = start.points.clone(), start.tangents.clone()
    count = mesh.count
    least, relative = points.new_zeros(count), points.new_full((count,), torch.inf)
    converged = torch.zeros(count, dtype=torch.bool, device=points.device)
    iterations = torch.zeros(count, dtype=torch.long, device=points.device)
    active, damping = torch.arange(count, device=points.device), points.new_zeros(count)
    best, since = points.new_full((count,), torch.inf), torch.zeros_like(iterations)
    slope, settled = points.new_zeros(len(mesh.curve), 4 * points.shape[1]), torch.zeros_like(converged)
    state = expand(metric, mesh, start, nodes)
    for iteration in range(max_iterations + 1):
        step, damping, definite = _step(state, _fixed(state, box), damping)
        trial = _moved(state, step, box)
        decrement = _decrement(state, step, damping)
        # Where no damping helped, the step is zero, and a small decrement says nothing.
        done = definite & (decrement <= tolerance)
        fell = state.energy < (1 - _PROGRESS) * best
        best, since = torch.where(fell, state.energy, best), torch.where(fell, 0, since + 1)
        ended = done | (damping > _DAMPING[1]) | (since >= _PATIENCE) | (iteration == max_iterations)
        if bool(ended.any()):
            # The last step is taken on trust: it moves the curve by less than the energy can resolve.
            last = done & (damping <= 1)
            _put(mesh, active, (points, tangents, slope), state, trial, last, ended)
            keep = active[ended]
            settled[keep] = (done & (damping == 0) & ~_on_edge(state, box))[ended]
            least[keep], converged[keep], relative[keep] = state.energy[ended], done[ended], decrement[ended]
            iterations[keep] = iteration
            going = ~ended
            if not bool(going.any()):
                break
            _, segments, of_points = state.mesh.kept(going)
            active, damping, best, since = active[going], damping[going], best[going], since[going]
            state, trial = state.kept(going), CurveState(trial.points[of_points], trial.tangents[segments])
        state, damping = _accept(state, expand(metric, state.mesh, trial, nodes), damping)
    curves, minimal = CurveState(points, tangents), settled
    if not bool(settled.all()):
        state = expand(metric, mesh, curves, nodes)
        _, _, minimal = second_variation.solve(mesh, state.hessian, state.gradient, _fixed(state, box))
        slope = state.gradient
    velocity = _smooth(metric, mesh, curves, slope, nodes)
    return Descent(points, velocity, least, converged, iterations, relative, minimal)


def _on_edge(state: Expansion, box: Box | None) -> Bool[Tensor, "m"]:
    """Curves that have a point between their ends on the edge of the box."""
    if box is None:
        return torch.zeros_like(state.energy, dtype=torch.bool)
    points = state.state.points
    low, high = points.new_tensor(box).T
    held = ((points <= low) | (points >= high)).any(dim=1) & ~state.mesh.edge
    return state.energy.new_zeros(state.mesh.count).index_add(0, state.mesh.of_point, held.to(points)) > 0


def _put(
    mesh: Mesh,
    active: Tensor,
    whole: tuple[Tensor, Tensor, Tensor],
    state: Expansion,
    trial: CurveState,
    last: Tensor,
    ended: Tensor,
) -> None:
    """Write the curves that ended, with their last step or without it, into points, tangents and gradients of all.

    A last step is so short that the gradient after it is linear in it.
    """
    points, tangents, slope = whole
    over = torch.zeros(mesh.count, dtype=torch.bool, device=ended.device).index_fill(0, active[ended], True)
    _, segments, of_points = state.mesh.kept(ended)
    moved, own = last[state.mesh.of_point][:, None], last[state.mesh.curve][:, None]
    shift = _shift(state, trial)
    ahead = state.gradient + torch.where(own, (state.hessian @ shift[..., None])[..., 0], 0.0)
    points[over[mesh.of_point]] = torch.where(moved, trial.points, state.state.points)[of_points]
    tangents[over[mesh.curve]] = torch.where(own[..., None], trial.tangents, state.state.tangents)[segments]
    slope[over[mesh.curve]] = ahead[segments]


def _shift(state: Expansion, trial: CurveState) -> Float[Tensor, "s 4*d"]:
    """What the unknowns of every segment moved by."""
    moved = CurveState(trial.points - state.state.points, trial.tangents - state.state.tangents)
    return moved.of_segments(state.mesh).flatten(1)


def _inside(mesh: Mesh, points: Float[Tensor, "p d"], box: Box | None) -> Float[Tensor, "p d"]:
    """Points that leave the box are put on its edge."""
    if box is None:
        return points
    # The ends are inside already, up to a rounding that is none of the solver's business.
    return torch.where(mesh.edge[:, None], points, points.clamp(*points.new_tensor(box).T))


def _fixed(state: Expansion, box: Box | None) -> Bool[Tensor, "p d"]:
    """The ends, and coordinates of points on the edge of the box that would leave it."""
    points = state.state.points
    if box is None:
        return state.mesh.edge[:, None].expand_as(points)
    low, high = points.new_tensor(box).T
    d = points.shape[1]
    slope = state.mesh.to_points(state.gradient[:, :d], state.gradient[:, 2 * d : 3 * d])
    return ((points <= low) & (slope > 0)) | ((points >= high) & (slope < 0)) | state.mesh.edge[:, None]


def _step(
    state: Expansion, fixed: Bool[Tensor, "p d"], damping: Float[Tensor, "m"]
) -> tuple[CurveState, Float[Tensor, "m"], Bool[Tensor, "m"]]:
    """Newton step of every curve, its damping raised until the system is positive definite, and whether it became so.

    It does for any metric that is positive definite; where no damping helps the step is zero.
    """
    step, definite = _solve(state, fixed, damping)
    if bool(definite.all()):
        return step, damping, definite
    damping, reached, todo = damping.clone(), definite.clone(), ~definite
    while bool(todo.any()):
        damping[todo] = (4 * damping[todo]).clamp(min=0.1)
        mesh, segments, points = state.mesh.kept(todo)
        again, definite = _solve(state.kept(todo), fixed[points], damping[todo])
        good = definite.to(again.points)
        step.points[points] = again.points * good[mesh.of_point][:, None]
        step.tangents[segments] = again.tangents * good[mesh.curve][:, None, None]
        reached[todo] = definite
        todo = ~reached & (damping <= _DAMPING[1])
    return step, damping, reached


def _solve(
    state: Expansion, fixed: Bool[Tensor, "p d"], damping: Float[Tensor, "m"]
) -> tuple[CurveState, Bool[Tensor, "m"]]:
    """The step of the damped system, and whether that is positive definite."""
    hessian = state.hessian
    if bool((damping > 0).any()):
        hessian = hessian + damping[state.mesh.curve][:, None, None] * state.base
    points, tangents, definite = second_variation.solve(state.mesh, hessian, state.gradient, fixed)
    return CurveState(points, tangents), definite


def _decrement(state: Expansion, step: CurveState, damping: Float[Tensor, "m"]) -> Float[Tensor, "m"]:
    """``g' H^-1 g / 2`` relative to the energy; the damping is taken out of it, to be on the safe side."""
    slope = state.mesh.total((state.gradient * step.of_segments(state.mesh).flatten(1)).sum(dim=1))
    tiny = torch.finfo(slope.dtype).tiny
    return (1 + damping) * -slope / 2 / state.energy.clamp(min=tiny)


def _moved(state: Expansion, step: CurveState, box: Box | None) -> CurveState:
    """The curves after a step; points that leave the box are put on its edge."""
    points = _inside(state.mesh, state.state.points + step.points, box)
    return CurveState(points, state.state.tangents + step.tangents)


def _accept(
    state: Expansion, trial: Expansion, damping: Float[Tensor, "m"]
) -> tuple[Expansion, Float[Tensor, "m"]]:
    """Keep the trials whose energy fell as predicted, and adapt the damping of each curve."""
    shift = _shift(state, trial.state)
    curved = (state.hessian @ shift[..., None])[..., 0]
    predicted = state.mesh.total((shift * (state.gradient + curved / 2)).sum(dim=1))
    change = trial.energy - state.energy
    noise = _ROUNDING * state.energy
    unresolved = (predicted.abs() <= noise) & (change <= noise)
    better = torch.isfinite(change) & ((change <= _ARMIJO * predicted.clamp(max=0)) | unresolved)
    # In a curved valley steps fail just below a damping that they succeed with: it is lowered with care there.
    good, fair = ((change <= share * predicted) | unresolved for share in (0.8, 0.5))
    lowered = damping / torch.where(good, 10.0, torch.where(fair, 2.0, 1.0))
    lowered = torch.where(lowered < _DAMPING[0], 0.0, lowered)
    raised = (3 * damping).clamp(min=0.01)
    return state.replaced(better, trial), torch.where(better, lowered, raised)


def _smooth(
    metric: Metric, mesh: Mesh, curves: CurveState, slope: Float[Tensor, "s 4*d"], nodes: int
) -> Float[Tensor, "p d"]:
    """Velocities that make each curve continuously differentiable.

    Those of the momenta are exact to the order of the points; where points are too few for the metric, they may be far
    off, and the mean of the velocities on both sides is better.
    """
    width = mesh.width[:, None]
    sides = torch.where(mesh.edge, 1.0, 0.5)[:, None].to(width)
    first, last = (curves.tangents[:, k] / width for k in (0, 1))
    mean = mesh.to_points(first, last) * sides
    exact = _momenta(metric, mesh, curves, slope)

    def whole(velocity: Tensor) -> Tensor:
        tangents = width[..., None] * torch.stack([velocity[mesh.first], velocity[mesh.first + 1]], dim=1)
        return mesh.total(energy(metric, mesh, CurveState(curves.points, tangents), nodes))

    # Not a number is not better. Where points are enough, both are the same to far more digits.
    better = whole(exact) <= whole(mean) * (1 + _RESOLVED)
    return torch.where(better[mesh.of_point][:, None], exact, mean)


def _momenta(
    metric: Metric, mesh: Mesh, curves: CurveState, slope: Float[Tensor, "s 4*d"]
) -> Float[Tensor, "p d"]:
    """Velocities from ``p = dE_k / dx_{k+1} = -dE_k+1 / dx_{k+1} = 2 g dx/ds`` (discrete Legendre transformation)."""
    d = curves.points.shape[1]
    sides = torch.where(mesh.edge, 0.5, 0.25)[:, None].to(slope)
    momentum = mesh.to_points(-slope[:, :d], slope[:, 2 * d : 3 * d]) * sides
    # Where the metric is singular there is no such velocity, and what comes out is not taken.
    return torch.linalg.solve_ex(metric(curves.points), momentum)[0]
