"""Newton's method on the energy of many curves at once.

Between neighbouring points a curve is a cubic whose tangents at both ends are free, so the energy of a curve is a sum
of terms ``E_k(x_k, x_{k+1})``, each the least energy of a cubic (a Galerkin variational integrator, Marsden and West
2001; Hall and Leok 2015). Its Hessian in the points is block tridiagonal with blocks of 2 x 2. Energy, points and
momenta are those of the exact geodesic to sixth order in the step.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hessgeo.geodesics.curves import Curves
from hessgeo.metrics.base import Box, Metric
from hessgeo.numerics import block_tridiagonal
from hessgeo.numerics.quadrature import gauss_legendre

_ARMIJO = 1e-4
_ROUNDING = 1e-13  # of an energy, relative
_RESOLVED = 1e-4  # of an energy: what tangents may add to it
_PATIENCE, _PROGRESS = (
    12,
    1e-9,
)  # steps in which an energy must fall by that share, or the iteration has stalled
_DAMPING = (1e-8, 1e8)  # below the first no damping at all, above the second no hope
_POINTS, _TANGENTS = [0, 1, 4, 5], [2, 3, 6, 7]  # of a segment's unknowns (x0, m0, x1, m1)


@dataclass(frozen=True)
class _Curves:
    """Unknowns: points, and the tangents of every segment at its two ends (per segment, ``dx / dr``)."""

    points: Float[Tensor, "m n 2"]
    tangents: Float[Tensor, "m n-1 2 2"]

    def of_segments(self) -> Float[Tensor, "m n-1 4 2"]:
        """``(x0, m0, x1, m1)`` of every segment."""
        ends = torch.stack([self.points[:, :-1], self.points[:, 1:]], dim=2)
        return torch.stack([ends, self.tangents], dim=3).flatten(2, 3)

    def rows(self, index: Tensor) -> _Curves:
        return _Curves(self.points[index], self.tangents[index])


@dataclass(frozen=True)
class _Expansion:
    """The energy of every segment in its own unknowns, to second order.

    Attributes:
        energy: ``integral <x', g x'> ds`` of each curve.
        gradient, hessian: of each segment.
        base: the part of the Hessian that ignores how the metric changes, positive semi-definite: the Sobolev inner
            product of variations, which damps.
    """

    points: Float[Tensor, "m n 2"]
    tangents: Float[Tensor, "m s 2 2"]
    energy: Float[Tensor, "m"]
    gradient: Float[Tensor, "m s 8"]
    hessian: Float[Tensor, "m s 8 8"]
    base: Float[Tensor, "m s 8 8"]

    @property
    def curves(self) -> _Curves:
        return _Curves(self.points, self.tangents)

    def rows(self, index: Tensor) -> _Expansion:
        return _Expansion(*(getattr(self, field.name)[index] for field in fields(self)))

    def replaced(self, index: Bool[Tensor, "m"], other: _Expansion) -> _Expansion:
        """The curves of ``other`` where ``index`` is true."""
        parts = []
        for field in fields(self):
            mine, new = getattr(self, field.name), getattr(other, field.name)
            parts.append(torch.where(index.reshape(-1, *[1] * (mine.ndim - 1)), new, mine))
        return _Expansion(*parts)


@dataclass(frozen=True)
class Minimum:
    """What the iteration ended with.

    Attributes:
        points: of each curve.
        tangents: there, per segment, of a continuously differentiable curve.
        energy: of each curve.
        converged: whether the Newton decrement of a positive definite system fell below the tolerance.
        iterations: of each curve.
        decrement: last one, relative to the energy.
        minimal: whether the second variation is positive definite: no conjugate point along the curve (Jacobi).
    """

    points: Float[Tensor, "m n 2"]
    tangents: Float[Tensor, "m n 2"]
    energy: Float[Tensor, "m"]
    converged: Bool[Tensor, "m"]
    iterations: Int[Tensor, "m"]
    decrement: Float[Tensor, "m"]
    minimal: Bool[Tensor, "m"]

    def rows(self, index: Int[Tensor, "k"]) -> Minimum:
        """Some of the curves."""
        return Minimum(*(getattr(self, field.name)[index] for field in fields(self)))

    def replaced(self, index: Bool[Tensor, "m"], other: Minimum) -> Minimum:
        """All curves, those where ``index`` is true being the ones of ``other``, which holds no more."""
        parts = [getattr(self, field.name).clone() for field in fields(self)]
        for part, field in zip(parts, fields(self), strict=True):
            part[index] = getattr(other, field.name)
        return Minimum(*parts)


def minimise(
    metric: Metric,
    points: Float[Tensor, "m n 2"],
    tangents: Float[Tensor, "m n 2"],
    *,
    box: Box | None = None,
    nodes: int = 4,
    tolerance: float = 1e-14,
    max_iterations: int = 100,
) -> Minimum:
    """Minimise the energy of curves between fixed ends, each to its own Newton decrement.

    A Levenberg-Marquardt iteration: the Hessian plus ``mu`` times its positive part, ``mu`` of each curve raised until
    the sum is positive definite and the energy falls, and lowered to zero after good steps.

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
    count, device = len(points), points.device
    if box is not None:
        inside = points[:, 1:-1].clamp(*points.new_tensor(box).T)
        points = torch.cat([points[:, :1], inside, points[:, -1:]], dim=1)
    both = torch.stack([tangents[:, :-1], tangents[:, 1:]], dim=2)
    final = _Curves(points.clone(), both.clone())
    energy, relative = points.new_zeros(count), points.new_full((count,), torch.inf)
    converged = torch.zeros(count, dtype=torch.bool, device=device)
    iterations = torch.zeros(count, dtype=torch.long, device=device)
    active, damping = torch.arange(count, device=device), points.new_zeros(count)
    best, since = points.new_full((count,), torch.inf), torch.zeros_like(iterations)
    state = _expand(metric, _Curves(points, both), nodes)
    for iteration in range(max_iterations + 1):
        step, damping, definite = _step(state, _fixed(state, box), damping)
        trial = _moved(state.curves, step, box)
        decrement = _decrement(state, step, damping)
        # Where no damping helped, the step is zero, and a small decrement says nothing.
        done = definite & (decrement <= tolerance)
        fell = state.energy < (1 - _PROGRESS) * best
        best, since = torch.where(fell, state.energy, best), torch.where(fell, 0, since + 1)
        ended = done | (damping > _DAMPING[1]) | (since >= _PATIENCE) | (iteration == max_iterations)
        # The last step is taken on trust: it moves the curve by less than the energy can resolve.
        last = done & (damping <= 1)
        keep = active[ended]
        final.points[keep] = torch.where(last[:, None, None], trial.points, state.points)[ended]
        final.tangents[keep] = torch.where(last[:, None, None, None], trial.tangents, state.tangents)[ended]
        energy[keep], converged[keep], relative[keep] = state.energy[ended], done[ended], decrement[ended]
        iterations[keep] = iteration
        going = torch.nonzero(~ended)[:, 0]
        if len(going) == 0:
            break
        active, state, trial = active[going], state.rows(going), trial.rows(going)
        best, since = best[going], since[going]
        state, damping = _accept(state, _expand(metric, trial, nodes), damping[going])
    state = _expand(metric, final, nodes)
    minimal = _solve(state, _fixed(state, box), torch.zeros_like(energy))[1]
    return Minimum(
        final.points, _smooth(metric, state, nodes), energy, converged, iterations, relative, minimal
    )


def _expand(metric: Metric, curves: _Curves, nodes: int) -> _Expansion:
    segments = curves.points.shape[1] - 1
    weights, position, velocity, to_ends = (v.to(curves.points) for v in _elements(nodes))
    unknowns = curves.of_segments()
    x, v = position @ unknowns, velocity @ unknowns  # m s q 2
    g, first, second = metric.jet(x)
    lowered = (g @ v[..., None])[..., 0]
    along = (v[..., None, :] @ first.flatten(-2))[..., 0, :].unflatten(
        -1, (2, 2)
    )  # v_i d_k g_ij, over (j, k)
    in_x = (v[..., None, :] @ along)[..., 0, :]
    scale = segments * weights
    energy = ((v * lowered).sum(-1) @ scale).sum(-1)
    gradient = (scale[:, None] * position).mT @ in_x + 2 * (scale[:, None] * velocity).mT @ lowered
    # Hessian of <v, g(x) v> in (x, v), then in the unknowns of the segment.
    squares = (v[..., :, None] * v[..., None, :]).flatten(-2)
    xx = (squares[..., None, :] @ second.flatten(-4, -3).flatten(-2))[..., 0, :].unflatten(-1, (2, 2))
    local = torch.cat([torch.cat([xx, 2 * along.mT], -1), torch.cat([2 * along, 2 * g], -1)], -2)
    base = torch.nn.functional.pad(2 * g, (2, 0, 2, 0))
    return _Expansion(
        curves.points,
        curves.tangents,
        energy,
        gradient.flatten(2),
        segments * _to_ends(local, to_ends),
        segments * _to_ends(base, to_ends),
    )


@cache
def _elements(nodes: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Quadrature weights, the shape functions ``(q, 4)`` of (x0, m0, x1, m1) at the nodes, their derivatives, a map.

    The map takes local Hessians, flattened over (q, x or v, x or v), to the unknowns, flattened over (4, 4).
    """
    r, weights = gauss_legendre(nodes)
    position = torch.stack(
        [1 - 3 * r**2 + 2 * r**3, r - 2 * r**2 + r**3, 3 * r**2 - 2 * r**3, r**3 - r**2], dim=1
    )
    velocity = torch.stack(
        [6 * r**2 - 6 * r, 1 - 4 * r + 3 * r**2, 6 * r - 6 * r**2, 3 * r**2 - 2 * r], dim=1
    )
    both = torch.stack([position, velocity], dim=1)  # q, x or v, end
    return weights, position, velocity, torch.einsum("q,qae,qbf->qabef", weights, both, both).reshape(-1, 16)


def _to_ends(local: Float[Tensor, "m s q 4 4"], to_ends: Tensor) -> Float[Tensor, "m s 8 8"]:
    m, s, q = local.shape[:3]
    # (q, a, k, b, l) -> (k, l, q, a, b)
    ordered = local.reshape(m, s, q, 2, 2, 2, 2).permute(0, 1, 4, 6, 2, 3, 5).reshape(m, s, 4, -1)
    ends = (ordered @ to_ends).reshape(m, s, 2, 2, 4, 4)
    return ends.permute(0, 1, 4, 2, 5, 3).reshape(m, s, 8, 8)


def _fixed(state: _Expansion, box: Box | None) -> Bool[Tensor, "m n 2"]:
    """The ends, and coordinates of points on the edge of the box that would leave it."""
    fixed = torch.zeros_like(state.points, dtype=torch.bool)
    if box is not None:
        low, high = state.points.new_tensor(box).T
        slope = _to_points(state.gradient[..., :2], state.gradient[..., 4:6])
        fixed = ((state.points <= low) & (slope > 0)) | ((state.points >= high) & (slope < 0))
    fixed[:, [0, -1]] = True
    return fixed


def _to_points(first: Float[Tensor, "m s c"], last: Float[Tensor, "m s c"]) -> Float[Tensor, "m n c"]:
    """Sum, at each point, over the segment that starts and the one that ends there."""
    pad = torch.nn.functional.pad
    return pad(first, (0, 0, 0, 1)) + pad(last, (0, 0, 1, 0))


def _step(
    state: _Expansion, fixed: Bool[Tensor, "m n 2"], damping: Float[Tensor, "m"]
) -> tuple[_Curves, Float[Tensor, "m"], Bool[Tensor, "m"]]:
    """Newton step of every curve, its damping raised until the system is positive definite, and whether it became so.

    It does for any metric that is positive definite; where no damping helps the step is zero.
    """
    step, definite = _solve(state, fixed, damping)
    damping, reached = damping.clone(), definite.clone()
    todo = torch.nonzero(~definite)[:, 0]
    while len(todo):
        damping[todo] = (4 * damping[todo]).clamp(min=0.1)
        again, definite = _solve(state.rows(todo), fixed[todo], damping[todo])
        step.points[todo], step.tangents[todo] = again.points, again.tangents
        reached[todo] = definite
        todo = todo[~definite]
        step.points[todo], step.tangents[todo] = 0.0, 0.0
        todo = todo[damping[todo] <= _DAMPING[1]]
    return step, damping, reached


def _solve(
    state: _Expansion, fixed: Bool[Tensor, "m n 2"], damping: Float[Tensor, "m"]
) -> tuple[_Curves, Bool[Tensor, "m"]]:
    """The step of the damped system, and whether that is positive definite. Tangents are eliminated first."""
    hessian = state.hessian + damping[:, None, None, None] * state.base
    of_tangents = hessian[..., _TANGENTS, :]
    right = torch.cat([of_tangents[..., _POINTS], -state.gradient[..., _TANGENTS, None]], dim=-1)
    factor, info = torch.linalg.cholesky_ex(of_tangents[..., _TANGENTS])
    half = torch.linalg.solve_triangular(factor, right, upper=False)
    reduced = half[..., :4].mT @ half
    ends = hessian[..., _POINTS, :][..., _POINTS] - reduced[..., :4]
    moves = (~fixed).to(ends)
    diagonal = _to_points(ends[..., :2, :2].flatten(-2), ends[..., 2:, 2:].flatten(-2)).unflatten(-1, (2, 2))
    diagonal = diagonal * moves[..., :, None] * moves[..., None, :] + torch.diag_embed(1 - moves)
    upper = ends[..., :2, 2:] * moves[:, :-1, :, None] * moves[:, 1:, None, :]
    force = -state.gradient[..., _POINTS] - reduced[..., 4]
    points, definite = block_tridiagonal.solve(
        diagonal, upper, _to_points(force[..., :2], force[..., 2:]) * moves
    )
    shift = torch.cat([points[:, :-1], points[:, 1:]], dim=-1)[..., None]
    tangents = torch.linalg.solve_triangular(factor.mT, half[..., 4:] - half[..., :4] @ shift, upper=True)
    return _Curves(points, tangents[..., 0].unflatten(-1, (2, 2))), definite & (info == 0).all(dim=1)


def _decrement(state: _Expansion, step: _Curves, damping: Float[Tensor, "m"]) -> Float[Tensor, "m"]:
    """``g' H^-1 g / 2`` relative to the energy; the damping is taken out of it, to be on the safe side."""
    slope = (state.gradient * step.of_segments().flatten(2)).sum(dim=(1, 2))
    tiny = torch.finfo(slope.dtype).tiny
    return (1 + damping) * -slope / 2 / state.energy.clamp(min=tiny)


def _moved(curves: _Curves, step: _Curves, box: Box | None) -> _Curves:
    """The curves after a step; points that leave the box are put on its edge."""
    points, tangents = curves.points + step.points, curves.tangents + step.tangents
    if box is not None:
        # The ends are inside already, up to a rounding that is none of the solver's business.
        inside = points[:, 1:-1].clamp(*points.new_tensor(box).T)
        points = torch.cat([points[:, :1], inside, points[:, -1:]], dim=1)
    return _Curves(points, tangents)


def _accept(
    state: _Expansion, trial: _Expansion, damping: Float[Tensor, "m"]
) -> tuple[_Expansion, Float[Tensor, "m"]]:
    """Keep the trials whose energy fell as predicted, and adapt the damping of each curve."""
    moved = _Curves(trial.points - state.points, trial.tangents - state.tangents).of_segments().flatten(2)
    curved = (state.hessian @ moved[..., None])[..., 0]
    predicted = (moved * (state.gradient + curved / 2)).sum(dim=(1, 2))
    change = trial.energy - state.energy
    noise = _ROUNDING * state.energy
    unresolved = (predicted.abs() <= noise) & (change <= noise)
    better = torch.isfinite(change) & ((change <= _ARMIJO * predicted.clamp(max=0)) | unresolved)
    good = better & ((change <= 0.5 * predicted) | unresolved)
    lowered = torch.where(damping / 10 < _DAMPING[0], 0.0, damping / 10)
    raised = (4 * damping).clamp(min=0.1)
    return state.replaced(better, trial), torch.where(good, lowered, torch.where(better, damping, raised))


def _smooth(metric: Metric, state: _Expansion, nodes: int) -> Float[Tensor, "m n 2"]:
    """Tangents that make each curve continuously differentiable.

    Those of the momenta are exact to the order of the points; where points are too few for the metric, they may be far
    off, and the mean of the tangents on both sides is better.
    """
    tangents = state.tangents
    mean = (tangents[:, :-1, 1] + tangents[:, 1:, 0]) / 2
    mean = torch.cat([tangents[:, :1, 0], mean, tangents[:, -1:, 1]], dim=1)
    exact = _momenta(metric, state)
    by_mean, by_momenta = (Curves.hermite(state.points, m).energy(metric, nodes=nodes) for m in (mean, exact))
    # Not a number is not better. Where points are enough, both are the same to far more digits.
    return torch.where((by_momenta <= by_mean * (1 + _RESOLVED))[:, None, None], exact, mean)


def _momenta(metric: Metric, state: _Expansion) -> Float[Tensor, "m n 2"]:
    """Tangents from ``p = dE_k / dx_{k+1} = -dE_k+1 / dx_{k+1} = 2 g dx/ds``: the discrete Legendre transformation."""
    segments = state.tangents.shape[1]
    backward, forward = -state.gradient[..., :1, 0:2], state.gradient[..., -1:, 4:6]
    inner = (state.gradient[:, :-1, 4:6] - state.gradient[:, 1:, 0:2]) / 2
    momentum = torch.cat([backward, inner, forward], dim=1)
    # Where the metric is singular there is no such tangent, and what comes out is not taken.
    return torch.linalg.solve_ex(metric(state.points), momentum)[0] / (2 * segments)
