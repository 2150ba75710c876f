"""The nearest log-partition function: a potential that is convex by its form, and bends as sharply as ``N`` lets it.

``N F(t) = log sum_k x_k exp(N <eta_k, t>)`` is what the free energy of every exponential family is, the states counted
by their means ``eta`` over ``N`` draws. It is convex wherever the weights are not negative, and smooth to any order; at
kinks, which no polynomial spline follows while it stays convex, it is sharp to ``1 / N``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import csr_matrix, vstack
from torch import Tensor

from hessgeo.free_energies.base import Certificate
from hessgeo.free_energies.mixture_potential import MixturePotential
from hessgeo.free_energies.potential_problem import Observations
from hessgeo.free_energies.response import slopes_at_nodes
from hessgeo.grids import Frame, Grid
from hessgeo.numerics.mixture_weights import mixture_weights

_FLOOR = 1e-8  # least eigenvalue of the Hessian, of F in its range and the box in half sides
_MARGIN = 3  # cells beyond the edge whose slopes, continued, take part: else it would not bend at the edge
_RING = 0.25  # weight of a value continued beyond the edge
_ALIKE = 0.02  # nats over the box by which two slopes may differ and count as one
_SEEN = 25.0  # nats below its largest value on the nodes, a plane is not seen
_FARTHEST = 600.0
_KEPT = 1e-10  # share of a node below which, at all of them, a plane is left out in the end
_BLOCK = 2**22  # entries of (point, plane) at a time
_LATTICE = 4


@dataclass(frozen=True)
class LogPartition:
    """``affine(u) + scale (floor |u|^2 / 2 + log(sum_k exp(beta <slope_k, u> + height_k)) / beta)``, in box units.

    Attributes:
        frame: box units.
        planes: of slopes, heights in nats, and the resolution ``beta``.
        scale: of the potential.
        affine: constant, and slope in box units.
        certificate: see ``nearest_log_partition``.
    """

    frame: Frame
    planes: MixturePotential
    scale: float
    affine: tuple[float, ...]
    certificate: Certificate

    @property
    def fields(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """What it is made of, as variables of a dataset; ``of_fields`` makes it again."""
        scalars = np.array([self.planes.resolution, self.scale, *self.affine])
        return {
            "state_slope": (("state", "i"), self.planes.slopes.numpy()),
            "state_height": (("state",), self.planes.heights.numpy()),
            "state_units": (("unit",), scalars),
        }

    @classmethod
    def of_fields(cls, frame: Frame, fields: Mapping[str, np.ndarray]) -> LogPartition:
        """The same from the values of these variables."""
        sharpness, scale, *affine = fields["state_units"].tolist()
        slopes, heights = (torch.from_numpy(fields[name]) for name in ("state_slope", "state_height"))
        return cls(frame, MixturePotential(slopes, heights, sharpness), scale, tuple(affine), {})

    def value(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch"]:
        """``F(t)``, in the units and the gauge of the values it was made from."""
        u = self.frame.into(t)
        bent = _FLOOR / 2 * (u**2).sum(-1) + self.planes.value(u)
        return self.scale * bent + self.affine[0] + u @ u.new_tensor(self.affine[1:])

    def gradient(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis"]:
        """``grad F(t)``: the mean slope."""
        u = self.frame.into(t)
        bent = self.planes.gradient(u) + _FLOOR * u
        return (self.scale * bent + u.new_tensor(self.affine[1:])) / self.frame.scale(t)

    def hessian(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis axis"]:
        """``grad^2 F(t)``: ``N`` times the covariance of the slopes."""
        u = self.frame.into(t)
        half = self.frame.scale(t)
        floor = _FLOOR * torch.eye(t.shape[-1]).to(u)
        return self.scale * (self.planes.hessian(u) + floor) / (half[:, None] * half)

    def third(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis axis axis"]:
        """Third derivatives: ``N^2`` times the third central moments of the slopes."""
        half = self.frame.scale(t)
        moments = self.planes.third(self.frame.into(t))
        return self.scale * moments / (half[:, None, None] * half[:, None] * half)


def nearest_log_partition(
    grid: Grid,
    values: Float[np.ndarray, "*nodes"],
    t: Float[np.ndarray, "n axis"],
    slopes: Float[np.ndarray, "n axis"],
    *,
    resolution: float,
    mass: Float[np.ndarray, "*nodes"] | None = None,
    tolerance: float = 1e-4,
    max_iterations: int = 600,
) -> LogPartition:
    r"""The log-partition function over ``N`` draws that comes nearest to values at nodes, on planes of given slopes.

    Of ``F(t) = log(sum_k x_k exp(N <eta_k, t>)) / N`` the slopes are those of the sources, and beyond the edges the
    same reflected; the weights ``x_k >= 0`` minimise ``sum_g s_g (y_g - log y_g)``, ``y_g = exp N (F(t_g) - F_g)``,
    which is convex in them and, to second order, ``N^2 / 2`` times the squared error of ``F``. Where the values are
    those of the dual problem's minimum the weights are close to its own normalisers: ``s_g = sum_i q_i(g)`` says
    ``F_g = log(sum_i exp N (<eta_i, t_g> - A_i)) / N`` up to ``log(w_g / s_g) / N``.

    The Hessian is ``N`` times a covariance of slopes: positive definite at every point, by construction.
    It resolves what is wider than ``1 / N`` over the jump of the slope; where ``N`` is so large that
    a posterior is narrower than a cell, it is that of separate planes and wrong between the nodes.

    Args:
        grid: the nodes, and the box; at least three along each axis.
        values: at the nodes; a node of no mass may hold NaN.
        t: sources.
        slopes: at each, in the gauge of the values.
        resolution: ``N``, per unit of the values.
        mass: weight of each value, by default one.
        tolerance: root mean square of ``F``, of its range, by which it may miss the nearest.
        max_iterations: passes over the planes.

    Returns:
        The potential, whose certificate has what that of ``nearest_potential`` has, and ``planes``, their number.
        ``gap`` is a bound on the mean square by which it misses the nearest.

    Raises:
        ValueError: on shapes that do not match, or values that are not finite.
    """
    data = Observations.of(grid, values, t, slopes, None, mass)
    beta = resolution * data.scale
    around = _continued(grid, data)
    kernel, offsets, planes = _kernel(around, beta)
    squares = 2 / (beta**2 * around.mass.sum())  # from the loss to a mean square of F
    found = mixture_weights(
        kernel, around.mass, tolerance=tolerance**2 / squares, max_iterations=max_iterations
    )
    seen = np.asarray((kernel.multiply(1 / (kernel @ found.weights)[:, None])).max(axis=0).todense()).ravel()
    kept = seen * found.weights > _KEPT
    made = LogPartition(
        grid.frame,
        MixturePotential(
            torch.from_numpy(planes[kept]),
            torch.from_numpy(np.log(found.weights[kept]) - offsets[kept]),
            beta,
        ),
        data.scale,
        data.affine,
        {},
    )
    certificate = {
        "converged": found.converged, "iterations": found.iterations, "decrement": found.gap * squares,
        "gap": found.gap * squares, "planes": int(kept.sum()), **_definiteness(made, grid),
    }  # fmt: skip
    return LogPartition(**{**vars(made), "certificate": {**certificate, **_distance(made, data)}})


@dataclass(frozen=True)
class _Around:
    """Nodes with one ring more, in box units: values, masses, and the slopes of all planes."""

    nodes: Float[np.ndarray, "node axis"]
    values: Float[np.ndarray, "node"]
    mass: Float[np.ndarray, "node"]
    slopes: Float[np.ndarray, "plane axis"]


def _continued(grid: Grid, data: Observations) -> _Around:
    """Continue slopes beyond the edges by reflection, values by a cell along them: an edge bends as the inside."""
    at_nodes = slopes_at_nodes(grid.unit, data.t, data.slopes)
    margin = min(_MARGIN, min(grid.shape) - 1)
    sides = [(margin, margin)] * len(grid.shape) + [(0, 0)]
    beyond = np.pad(at_nodes, sides, mode="reflect", reflect_type="odd").reshape(-1, len(grid.shape))
    full, mass = np.full(grid.size, np.nan), np.zeros(grid.size)
    rows = grid.unit.nearest(data.nodes)
    full[rows], mass[rows] = data.values, data.mass
    full, mass = full.reshape(grid.shape), mass.reshape(grid.shape)
    axes = list(grid.unit.axes)
    eta = at_nodes
    for k, step in enumerate(grid.unit.spacing):
        ends = [
            np.take(full, row, axis=k) - side * step * _edge_slope(eta[..., k], k, side)
            for row, side in ((0, 1), (-1, -1))
        ]
        full = np.concatenate([np.expand_dims(ends[0], k), full, np.expand_dims(ends[1], k)], axis=k)
        ring = [(1, 1) if axis == k else (0, 0) for axis in range(len(grid.shape))]
        mass = np.concatenate(
            [_RING * np.take(mass, [0], axis=k), mass, _RING * np.take(mass, [-1], axis=k)], axis=k
        )
        eta = np.pad(eta, [*ring, (0, 0)], mode="reflect", reflect_type="odd")
        axes[k] = np.concatenate([[-1 - step], axes[k], [1 + step]])
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    some = mass.ravel() > 0
    inner = at_nodes.reshape(-1, len(axes))[rows]
    outside = some & (np.abs(nodes) > 1 + 1e-9).any(axis=1)
    heights = data.values - (inner * data.nodes).sum(axis=1)
    # No convex function passes below the planes that touch it.
    values = full.ravel()
    values[outside] = np.maximum(values[outside], (nodes[outside] @ inner.T + heights).max(axis=1))
    return _Around(nodes[some], values[some], mass.ravel()[some], np.concatenate([data.slopes, beyond]))


def _edge_slope(eta: Float[np.ndarray, "*nodes"], axis: int, side: int) -> Float[np.ndarray, "*others"]:
    """Slope half-way to the node beyond an edge; by the lesser of two differences, lest a kink be continued."""
    edge, second, third = (np.take(eta, row, axis=axis) for row in ((0, 1, 2) if side > 0 else (-1, -2, -3)))
    near, far = edge - second, second - third
    return edge + np.where(near * far > 0, np.sign(near) * np.minimum(np.abs(near), np.abs(far)), 0.0) / 2


def _kernel(
    around: _Around, beta: float
) -> tuple[csr_matrix, Float[np.ndarray, "plane"], Float[np.ndarray, "plane axis"]]:
    """``exp(beta (<eta_k, u_g> - F_g) - offset_k)``, at most one; the offsets, and the slopes, alike ones once."""
    pitch, most = _ALIKE / beta, 4 * len(around.nodes)
    while True:
        _, chosen = np.unique(np.round(around.slopes / pitch), axis=0, return_index=True)
        if len(chosen) <= most:
            break
        pitch *= 2
    planes = around.slopes[np.sort(chosen)]
    offsets = np.full(len(planes), -np.inf)
    blocks = np.array_split(np.arange(len(around.nodes)), max(1, len(around.nodes) * len(planes) // _BLOCK))
    for block in blocks:
        nats = beta * (around.nodes[block] @ planes.T - around.values[block, None])
        offsets = np.maximum(offsets, nats.max(axis=0))
    parts = []
    for block in blocks:
        nats = beta * (around.nodes[block] @ planes.T - around.values[block, None]) - offsets
        # What its nearest plane alone brings to a node counts, however far it is.
        least = np.minimum(-_SEEN, nats.max(axis=1, keepdims=True))
        parts.append(csr_matrix(np.where(nats >= least, np.exp(nats.clip(min=-_FARTHEST)), 0.0)))
    return csr_matrix(vstack(parts)), offsets, planes


def _definiteness(made: LogPartition, grid: Grid) -> Certificate:
    lattice = Grid(grid.unit.extent, tuple(_LATTICE * (nodes - 1) + 1 for nodes in grid.shape))
    half = np.array(grid.frame.half)
    t = torch.from_numpy(lattice.points * half + np.array(grid.frame.centre))
    least = torch.linalg.eigvalsh(made.hessian(t) * torch.from_numpy(np.outer(half, half)) / made.scale)[:, 0]
    return {
        "least_eigenvalue": float(least.min()),
        "definite_share": float((least > 0).double().mean()),
        "eigenvalue_bound": _FLOOR,
        "definite_everywhere": True,
    }


def _distance(made: LogPartition, data: Observations) -> dict[str, float]:
    """How far the data are missed, as ``Observations.distance`` says."""
    axes = len(made.frame.half)
    plain = LogPartition(Frame((0.0,) * axes, (1.0,) * axes), made.planes, 1.0, (0.0,) * (1 + axes), {})
    return data.misses(
        plain.value(torch.from_numpy(data.nodes)).numpy() - data.values,
        plain.gradient(torch.from_numpy(data.t)).numpy() - data.slopes,
    )
