"""Hessian coordinates: the free energy in coordinates that are part of the fit.

Every analytic metric of a surface is a Hessian in some local coordinates (Bryant, Amari and Armstrong), seldom in the
parameters at hand: there a phase boundary of a convex ``F`` with kinks is straight. So let the coordinates bend.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.free_energies.base import Certificate, FitData, FreeEnergy
from hessgeo.free_energies.coordinate_potential import convex_potential
from hessgeo.free_energies.coordinate_solution import CoordinateOptions, CoordinateSolution, solve_coordinates
from hessgeo.free_energies.displacement import Displacement, bending
from hessgeo.free_energies.dual_noise import Dispersion
from hessgeo.free_energies.dual_problem import DualPoint
from hessgeo.free_energies.dual_solution import DualSolution, solve_dual
from hessgeo.free_energies.mixture_potential import MixturePotential
from hessgeo.free_energies.potential import Potential
from hessgeo.free_energies.verdict import judge, narrow_share
from hessgeo.grids import Grid
from hessgeo.numerics.bsplines import SplineBasis
from hessgeo.numerics.factor import in_words
from hessgeo.numerics.interpolation import interpolate, interpolating_basis
from hessgeo.numerics.newton import Minimum, minimise

_LATTICE = 4  # times as fine as the nodes: where the map is tested for folds
_REPORTED = ("converged", "least_eigenvalue", "definite_everywhere", "value_error", "slope_error")  # of Phi
_ROUGH = 1e-4  # decrement of the dual fit in the given coordinates, nats a source
_RIDGE = 1e-5  # squared cells, of the dual fit at the end
_DOUBLINGS = 3  # of a step of Newton's, see ``minimise``
_ROUNDING = 1e-12  # of the loss, relative


class CoordinateFreeEnergy(FreeEnergy):
    r"""A free energy ``A(t) = Phi(u(t))`` with slopes ``theta(t) = grad Phi(u(t))`` in coordinates ``u``.

    The posterior is ``softmax N(<u(t), theta(t')> - A(t))``. ``hessian`` is the metric ``J_u' Phi''(u) J_u``, the
    Hessian in ``u`` pulled back, which is not that of ``A`` in ``t``.

    Of two coordinates ``Phi`` is a convex potential, so that value, slope and metric are of one function and the metric
    is positive definite everywhere: splines next to what the fit found, or the mixture of its sources, whichever's own
    posteriors ``softmax N(<u(t), grad Phi(u(t'))> - Phi(u(t)))`` come nearer to the measured ones. Splines are the more
    exact of what is smooth, kinks between two nodes only the mixture can follow. Beside it stands the response of the
    slopes: as ``Phi'' J_u = J_theta``, the same metric is ``J_u' J_theta``, if the posteriors are those of a potential.
    Of more coordinates there is the response alone, and its symmetric part is the metric. Between nodes ``A`` and
    ``theta`` are cubic splines through what the fit found there. Coordinates count in box units, their metric in those
    of ``t``.

    Attributes:
        coordinates: the map ``u``.
        basis: of value and slopes, over the unit box.
        parts: coefficients of ``A`` and of each component of ``theta``.
        potential: ``Phi``; None of more than two coordinates.
    """

    def __init__(
        self,
        coordinates: Displacement,
        basis: SplineBasis,
        parts: Float[Tensor, "part *counts"],
        potential: Potential | MixturePotential | None,
        *,
        resolution: float,
        certificate: Certificate,
    ) -> None:
        self.coordinates = coordinates
        self.basis = basis
        self.parts = parts
        self.potential = potential
        self.resolution = resolution
        self.certificate = certificate

    def value(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch"]:
        """``A(t)`` in nats per ``N``."""
        if self.potential is not None:
            return self.potential.value(self.coordinates(t))
        return self._parts(t, (0, 0))[..., 0]

    def gradient(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis"]:
        """``J_u' theta``: the slope of ``A``; of more than two coordinates, if the posteriors have a potential."""
        potential = self.potential
        slopes = self.theta(t) if potential is None else potential.gradient(self.coordinates(t))
        return torch.einsum("...ci,...c->...i", self.coordinates.jacobian(t), slopes)

    def hessian(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis axis"]:
        """The metric, see above."""
        if self.potential is not None:
            jacobian = self.coordinates.jacobian(t)
            return jacobian.transpose(-1, -2) @ self.potential.hessian(self.coordinates(t)) @ jacobian
        response = self.response(t)
        return (response + response.transpose(-1, -2)) / 2

    def theta(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch component"]:
        """``theta(t)`` as the fit found it, per ``N`` and box unit."""
        return self._parts(t, (0, 0))[..., 1:]

    def response(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis axis"]:
        """``J_u' J_theta``; what of it is not symmetric measures how far from a potential the posteriors are."""
        return torch.einsum("...ci,...cj->...ij", self.coordinates.jacobian(t), self._slope_jacobian(t))

    def response_at(self, grid: Grid) -> Float[Tensor, "node axis axis"]:
        """The response at the nodes of a grid by central differences of the slopes, of second order.

        The spline through slopes that jump rings beside the jump; where it matters the differences stand for it.
        """
        nodes = torch.from_numpy(grid.points)
        theta = self.theta(nodes).numpy().reshape(*grid.shape, -1)
        bent = np.stack(np.gradient(theta, *grid.spacing, axis=(0, 1)), axis=-1).reshape(grid.size, -1, 2)
        return torch.einsum("gci,gcj->gij", self.coordinates.jacobian(nodes), torch.from_numpy(bent))

    def third(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis axis axis"]:
        """``Phi'''`` pulled back, ``u_i theta_jk - u_jk theta_i`` by the response, its symmetric part.

        Second derivatives of the slopes know it better than the third ones of a cubic spline. With the metric it gives
        the curvature of a surface with two coordinates; of one that lies in more it says nothing, and is NaN.
        """
        if self.coordinates.dimension > 2:
            return torch.full((*t.shape, 2, 2), torch.nan).to(t)
        jacobian, slope = self.coordinates.jacobian(t), self._slope_jacobian(t)
        bent = torch.einsum("...ci,...cjk->...ijk", jacobian, self._slope_second(t))
        bent = bent - torch.einsum("...cjk,...ci->...ijk", self.coordinates.second(t), slope)
        return (bent + bent.transpose(-3, -2) + bent.transpose(-3, -1)) / 3

    def _parts(self, t: Tensor, order: tuple[int, int]) -> Float[Tensor, "*batch part"]:
        unit = self.coordinates.frame.into(t)
        return torch.stack([self.basis.evaluate(c, unit, order) for c in self.parts], dim=-1)

    def _slope_jacobian(self, t: Tensor) -> Float[Tensor, "*batch component axis"]:
        along = torch.stack([self._parts(t, order)[..., 1:] for order in ((1, 0), (0, 1))], dim=-1)
        return along / self.coordinates.frame.scale(t)

    def _slope_second(self, t: Tensor) -> Float[Tensor, "*batch component axis axis"]:
        aa, ab, bb = (self._parts(t, order)[..., 1:] for order in ((2, 0), (1, 1), (0, 2)))
        scale = self.coordinates.frame.scale(t)
        rows = [torch.stack([aa, ab], dim=-1), torch.stack([ab, bb], dim=-1)]
        return torch.stack(rows, dim=-2) / torch.outer(scale, scale)


@in_words("learned coordinates")
def fit_coordinates(
    data: FitData,
    options: CoordinateOptions,
    *,
    tolerance: float = 1e-9,
    max_iterations: int = 100,
) -> CoordinateFreeEnergy:
    r"""Fit coordinates, potential and slopes to a posterior.

    Minimises ``sum_i KL(P(.|t_i), q_i)``, ``log q_i(t_g) = log w_g + N(<u(t_g), theta_i> - A_g) + const``, over
    ``u(t) = t + d(t)`` (splines), ``A`` and ``theta``. Beside the marginal it needs of every posterior the means of the
    splines, one pass. At ``d = 0`` it is the dual fit, the start. Then steps of Gauss and Newton in all three at once,
    damped, each of which lowers the loss; last the dual fit again in the coordinates found, which is convex.

    In two dimensions the posteriors are those of ``Phi`` on the image of ``u``; a third coordinate and more, without
    a ``t`` of their own, start as the bend in which measured and fitted posteriors differ most.

    Args:
        data: a posterior whose sources are the nodes, and its rows.
        options: of the coordinates.
        tolerance: Newton decrement of the dual fit at the end, nats summed over sources.
        max_iterations: of the dual fits.

    Returns:
        The fit. ``certificate`` has ``converged``, ``iterations`` and ``decrement`` of the dual fit at the end;
        ``coordinates_converged``, ``coordinates_steps`` and ``coordinates_decrement`` of the coordinates;
        ``mean_divergence`` (nats) and ``divergence_given``, ``divergence_2`` and so on, those of fewer and more
        coordinates; ``displacement`` (root mean square of ``d``, box units), ``least_jacobian`` (of ``det J_u`` of the
        first two components, on a lattice four times as fine as the nodes), ``antisymmetric_share`` of the response
        at the nodes and ``response_definite_share`` of its symmetric part there; of two coordinates which
        ``potential``, and ``potential_excess_divergence``, how much farther from the measured posteriors its own are
        (nats); and the verdict.

    Raises:
        ValueError: if the sources are not the nodes of a grid in the plane, or most posteriors lie on one node.
    """
    posterior, carrier = data.posterior, data.posterior.carrier(data.grid)
    _check(data, carrier, options)
    narrow = narrow_share(posterior, carrier)
    entropy = float(posterior.entropy.mean())
    n = len(posterior.t)
    # Where the coordinates move it is the start alone.
    enough = max(tolerance, _ROUGH * n) if options.steps else tolerance
    given = solve_dual(
        posterior, data.grid, tolerance=enough, max_iterations=max_iterations, device=data.device,
        progress=data.progress,
    )  # fmt: skip
    found = solve_coordinates(data, given, options)
    losses = {"given": given[-1].point.loss, **{str(k): each.point.dual.loss for k, each in found.items()}}
    chosen = found[options.dimension]
    last = _polished(chosen, given[-1], tolerance, max_iterations)
    fit = _free_energy(chosen, last.point, posterior.resolution, last.certificate)
    divergence = last.point.loss / n - entropy
    dispersion = Dispersion.of(given[-1].point, data.grid.frame.into(posterior.t))
    fit.certificate |= {
        "coordinates_converged": chosen.minimum.converged,
        "coordinates_steps": chosen.minimum.iterations,
        "coordinates_decrement": chosen.minimum.decrement,
        "mean_divergence": divergence,
        "loss": last.point.loss,
        **{f"divergence_{name}": loss / n - entropy for name, loss in losses.items()},
        **_shape(fit, carrier),
        **judge(narrow, divergence, dispersion.typical, math.exp(divergence + entropy)).numbers,
        "gauge": "no affine part in the displacement",
    }
    return fit


def coordinates_of_posterior(data: FitData, settings: Mapping[str, Any]) -> CoordinateFreeEnergy:
    """``fit_coordinates`` with the settings ``free_energy`` of a study."""
    learned = settings["learned"]
    options = CoordinateOptions(
        dimension=learned["dimension"],
        splines=tuple(learned["splines"]),
        smoothness=learned["smoothness"],
        steps=learned["steps"],
        step_tolerance=learned["tolerance"],
        compared=tuple(learned["compared"]),
    )
    return fit_coordinates(
        data, options, tolerance=settings["tolerance"], max_iterations=settings["max_iterations"]
    )


def _check(data: FitData, carrier: Grid, options: CoordinateOptions) -> None:
    if options.dimension < 2 or any(dimension < 2 for dimension in options.compared):
        raise ValueError("learned coordinates: at least 2 of them, one is given by order alone")
    if len(carrier.shape) != 2:
        raise ValueError("learned coordinates need two parameters: along one, every metric is a Hessian")
    t, nodes = data.posterior.t, carrier.points
    if t.shape != nodes.shape or not np.allclose(carrier.frame.into(t), carrier.unit.points, atol=1e-9):
        raise ValueError(
            f"learned coordinates need one source at each node of the grid {carrier.shape}, not {len(t)}"
        )


def _polished(
    solution: CoordinateSolution, given: DualSolution, tolerance: float, max_iterations: int
) -> Minimum[DualPoint]:
    """The dual fit in the coordinates found: convex, and to its tolerance.

    The ridge is that of the first stage of a dual fit, about the slopes reached, from which those that the data leave
    open hardly move; with a weaker one they would be followed towards infinity.
    """
    point = solution.point.dual
    problem = replace(point.problem, ridge=_RIDGE * point.problem.ridge / given.ridge, reference=point.theta)
    return minimise(
        problem.at(point.phi, point.theta), tolerance=tolerance, max_iterations=max_iterations, what="dual fit",
        rounding=_ROUNDING, doublings=_DOUBLINGS,
    )  # fmt: skip


def _free_energy(
    solution: CoordinateSolution, point: DualPoint, resolution: float, certificate: Certificate
) -> CoordinateFreeEnergy:
    """What lies between the nodes, ``A`` without an affine function of ``u``."""
    coefficients = (bending(solution.basis) @ solution.point.d.cpu()).T.reshape(-1, *solution.basis.shape)
    coordinates = Displacement(solution.grid.frame, solution.basis, coefficients)
    gauge = torch.cat([torch.ones_like(point.phi[:, None]), point.problem.nodes], dim=1)
    affine = torch.linalg.lstsq(gauge, point.phi[:, None]).solution[:, 0]
    parts = torch.cat([(point.phi - gauge @ affine)[:, None], point.theta - affine[1:]], dim=1) / resolution
    grid, values = solution.grid, parts.cpu().numpy()
    found = interpolate(interpolate(values.reshape(*grid.shape, -1), 0), 1)
    basis = interpolating_basis(grid.unit.extent, grid.shape)
    splines = torch.from_numpy(np.ascontiguousarray(np.moveaxis(found, -1, 0)))
    fit = CoordinateFreeEnergy(
        coordinates, basis, splines, None, resolution=resolution, certificate=certificate
    )
    if coordinates.dimension == 2:
        fit.potential = _nearer(fit, point, parts.cpu(), grid)
    return fit


def _nearer(
    fit: CoordinateFreeEnergy, point: DualPoint, parts: Float[Tensor, "node part"], grid: Grid
) -> Potential | MixturePotential:
    """Of two convex potentials the one whose posteriors have the lower cross-entropy, as the certificate then says."""
    dual, resolution = point.problem, fit.resolution
    nodes, values, slopes = dual.nodes.cpu(), parts[:, 0], parts[:, 1:]
    splines = convex_potential(
        fit.coordinates, grid, fit.value, slopes.numpy(), point.covariance.cpu().numpy()
    )
    mixture = MixturePotential.of(nodes, dual.log_weight.cpu(), values, slopes, resolution=resolution)
    losses = {}
    for name, candidate in (("splines", splines), ("mixture", mixture)):
        own = replace(dual, ridge=0.0).at(
            resolution * candidate.value(nodes).to(point.phi),
            resolution * candidate.gradient(nodes).to(point.phi),
        )
        losses[name] = own.loss
    better = min(losses, key=lambda name: losses[name])
    excess = (losses[better] - point.loss) / len(slopes)
    fit.certificate |= {"potential": better, "potential_excess_divergence": excess}
    if better == "splines":
        kept = {f"potential_{name}": splines.certificate[name] for name in _REPORTED}
        fit.certificate |= kept
        return splines
    return mixture


def _shape(fit: CoordinateFreeEnergy, carrier: Grid) -> dict[str, float]:
    """How far the coordinates went, and what the metric is like."""
    frame, nodes = carrier.frame, torch.from_numpy(carrier.points)
    moved = fit.coordinates(nodes)
    moved[:, :2] -= frame.into(nodes)
    fine = Grid(carrier.extent, tuple(_LATTICE * (count - 1) + 1 for count in carrier.shape))
    scale = frame.scale(nodes)
    jacobian = fit.coordinates.jacobian(torch.from_numpy(fine.points))[:, :2] * scale
    response = fit.response_at(carrier) * torch.outer(scale, scale)
    skew = (response - response.transpose(-1, -2)) / 2
    least = torch.linalg.eigvalsh(response - skew)[:, 0]
    return {
        "displacement": float(moved.square().sum(-1).mean().sqrt()),
        "least_jacobian": float(torch.linalg.det(jacobian).min()),
        "antisymmetric_share": float(skew.square().sum().sqrt() / response.square().sum().sqrt()),
        "response_definite_share": float((least > 0).double().mean()),
    }
