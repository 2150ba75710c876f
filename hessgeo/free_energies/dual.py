"""The dual fit: ``F`` at nodes and a slope at every source, without a basis; a smooth potential through both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import uniform_filter
from torch import Tensor

from hessgeo.free_energies.approximation import ApproximationError, between_nodes, other_count
from hessgeo.free_energies.base import Certificate, FitData, FreeEnergy
from hessgeo.free_energies.cell_mean import CellMean
from hessgeo.free_energies.dual_bias import without_bias
from hessgeo.free_energies.dual_noise import Dispersion, Draws, Smoothed, redrawn, smooth
from hessgeo.free_energies.dual_solution import DualSolution, solve_dual
from hessgeo.free_energies.log_partition import LogPartition, nearest_log_partition
from hessgeo.free_energies.potential import Potential, nearest_potential
from hessgeo.free_energies.potential_problem import Misfit, Observations
from hessgeo.free_energies.response import response
from hessgeo.free_energies.verdict import judge, narrow_share
from hessgeo.grids import Frame, Grid, bilinear_weights
from hessgeo.numerics.bsplines import SplineBasis, derivatives
from hessgeo.numerics.factor import in_words
from hessgeo.posteriors.base import Posterior

_REPORTED = ("least_eigenvalue", "definite_share", "definite_everywhere", "value_error", "slope_error")
_MISSED = 2e-3  # root mean square of the slopes, of their range, from which splines are not near enough
_REACHED = 1e-6  # of the mean marginal
_CERTAIN = 9.0  # squares of noise, above which what a potential misses is none


class DualFreeEnergy(FreeEnergy):
    """A free energy known by values at nodes and slopes at sources, and by the convex potential that comes nearest.

    Value and gradient are the potential's plus what it misses, linearly between nodes: at the nodes they are the fit's
    own, kinks and all. The metric is the potential's, positive definite everywhere.

    Attributes:
        grid: the nodes.
        potential: convex: in cubic splines, or where they do not reach the slopes a log-partition function.
        missed_value: what ``F`` at the nodes has beyond the potential.
        missed_gradient: what the slopes have beyond its gradient.
        errors: mean squares of the errors at the nodes.
        slopes: ``eta`` at every source.
        sources: their parameters.
    """

    knows_errors = True

    def __init__(
        self,
        grid: Grid,
        potential: Potential | CellMean,
        *,
        missed_value: Float[Tensor, "*nodes"],
        missed_gradient: Float[Tensor, "*nodes axis"],
        errors: ApproximationError,
        sources: Float[np.ndarray, "source axis"],
        slopes: Float[np.ndarray, "source axis"],
        resolution: float,
        certificate: Certificate,
    ) -> None:
        self.grid, self.potential, self.errors = grid, potential, errors
        self.missed_value, self.missed_gradient = missed_value, missed_gradient
        self.sources, self.slopes = sources, slopes
        self.resolution, self.certificate = resolution, certificate

    @property
    def coefficients(self) -> Float[Tensor, "*counts"] | None:
        """Of the potential's splines over the box, if it has such."""
        return self.potential.coefficients_with_plane if isinstance(self.potential, Potential) else None

    @property
    def states(self) -> LogPartition | None:
        """What the potential is the log-partition function of, if it is one; its mean over cells is taken."""
        return self.potential.potential if isinstance(self.potential, CellMean) else None

    def value(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch"]:
        """``F(t)`` in nats per ``N``."""
        return self.potential.value(t) + between_nodes(self.grid.frame, self.missed_value, t)

    def gradient(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis"]:
        """``grad F(t)``."""
        return self.potential.gradient(t) + between_nodes(self.grid.frame, self.missed_gradient, t)

    def hessian(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis axis"]:
        """The potential's ``grad^2 F(t)``, positive definite."""
        return self.potential.hessian(t)

    def third(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis axis axis"]:
        """The potential's third derivatives, constant between knots along each axis."""
        return self.potential.third(t)

    def value_error(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch"]:
        """See ``FreeEnergy``."""
        return self.errors.of_value(t.reshape(-1, t.shape[-1])).sqrt().reshape(t.shape[:-1])

    def gradient_error(self, t: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch axis"]:
        """See ``FreeEnergy``."""
        return self.errors.of_gradient(t.reshape(-1, t.shape[-1])).sqrt().reshape(t.shape)

    def hessian_error(
        self, t: Float[Tensor, "*batch axis"], jacobian: Float[Tensor, "*batch axis axis"] | None = None
    ) -> Float[Tensor, "*batch axis axis"]:
        """See ``FreeEnergy``."""
        return self.errors.of_metric(t, jacobian)


@in_words("dual fit")
def fit_dual(
    posterior: Posterior,
    grid: Grid,
    *,
    tolerance: float = 1e-9,
    max_iterations: int = 100,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> DualFreeEnergy:
    r"""Fit the free energy to a posterior: values at nodes and a slope at every source, jointly convex.

    Minimises, over ``F`` at the nodes and ``eta_i`` at the sources, the cross-entropy of

        q_i(t_g) ~ w_g exp N(<eta_i, t_g> - F_g),

    with ``w_g`` the number of samples at node ``g`` (bilinear for scattered samples), see ``DualProblem``. For an
    exponential family the minimum is ``F`` and ``eta_i = grad F(t_i)``, however sharp its kinks. Of the smooth
    potential that comes nearest to both, third differences are held down as far as the noise of the posterior asks
    for (``dual_noise``), and its Hessian positive definite everywhere (``potential.nearest_potential``).

    Of posteriors that scatter like those of few draws the slopes take a part of the scatter, which ``dual_bias`` gives
    back to the metric.

    Bars hold the noise of the posterior, by its scatter between neighbouring sources, and what smoothing, convexity
    and splines of half the number change.

    Args:
        posterior: means and marginal of every source; its sources need not be nodes of the grid.
        grid: the nodes that carry ``q`` unless the posterior has its own, and the box.
        tolerance: Newton decrement to stop at, nats summed over sources.
        max_iterations: of Newton's method on each grid from coarse to fine.
        seed: of the draws by which noise is carried on.
        device: where the sums run.
        progress: show the decrement on a progress bar.

    Returns:
        The fit. ``certificate`` has ``converged``, ``iterations``, ``decrement``, ``ridge`` (see ``DualSolution``),
        ``smoothness``, ``noise``, ``mean_divergence`` (mean ``KL(P_i || q_i)``, nats), ``loss``, the verdict
        (``resolved``, ``verdict`` in words, ``narrow_share`` and ``explained_divergence``, see ``judge``), and of the
        potential its kind (``potential``), ``potential_converged``, ``least_eigenvalue``, ``definite_share``,
        ``definite_everywhere``, ``value_error`` and ``slope_error``.

    Raises:
        ValueError: if the posterior holds values that are not finite, a source lies outside the grid's box, or most
            posteriors sit on one node or one line.
        DegenerateError: if the data do not determine the potential.
    """
    carrier = posterior.carrier(grid)
    narrow = narrow_share(posterior, carrier)
    solution = solve_dual(
        posterior, grid, tolerance=tolerance, max_iterations=max_iterations, device=device, progress=progress
    )[-1]
    point, n = solution.point, len(posterior.t)
    source = grid.frame.into(posterior.t)
    dispersion = Dispersion.of(point, source)
    # What the ridge adds to the loss is no divergence.
    loss = float(point.loss - point.problem.ridge / 2 * ((point.theta - point.problem.reference) ** 2).sum())
    divergence = loss / n - float(posterior.entropy.mean())
    verdict = judge(narrow, divergence, dispersion.typical, math.exp(loss / n))
    solution, noise = without_bias(
        solution,
        dispersion.noise,
        source,
        posterior.entropy,
        tolerance=tolerance,
        max_iterations=max_iterations,
    )
    found = _Found.of(solution, posterior, grid)
    draws = redrawn(solution.point, noise, seed)
    smoothed = smooth(found.data, found.basis, carrier, draws, found.unit)
    splines = found.splines(smoothed.weight)
    sharp = found.log_partition(splines, smoothed)
    potential, reported = (
        (splines, splines.certificate) if sharp is None else (sharp, sharp.potential.certificate)
    )
    missed = found.missed(potential, smoothed)
    errors = found.spline_errors(splines, smoothed) if sharp is None else found.slope_errors(sharp, draws)
    return DualFreeEnergy(
        carrier,
        potential,
        missed_value=missed[0],
        missed_gradient=missed[1],
        errors=errors,
        sources=posterior.t,
        slopes=found.slopes,
        resolution=posterior.resolution,
        certificate={
            **solution.minimum.certificate,
            "ridge": solution.ridge,
            "smoothness": smoothed.weight,
            "noise": noise,
            "mean_divergence": divergence,
            "loss": loss,
            **verdict.numbers,
            "potential": "splines" if sharp is None else "log-partition",
            "potential_converged": reported["converged"],
            **{key: reported[key] for key in _REPORTED},
            "gauge": "values without affine part",
        },
    )


def dual_of_posterior(data: FitData, settings: Mapping[str, Any]) -> DualFreeEnergy:
    """``fit_dual`` with the settings ``free_energy`` of a study."""
    options = {key: settings[key] for key in ("tolerance", "max_iterations")}
    return fit_dual(
        data.posterior, data.grid, seed=data.seed, device=data.device, progress=data.progress, **options
    )


@dataclass(frozen=True)
class _Found:
    """What a solution says of the free energy, in parameter units, and as observations of a potential.

    Attributes:
        grid: the nodes.
        places: where the values are.
        values: ``F`` there, NaN where nothing is known.
        sources: parameters of the slopes.
        slopes: ``eta``.
        weights: covariances of the fitted posteriors, the weights of the slopes.
        mass: the marginal over sources, the weight of the values.
        data: all that.
        basis: splines of the potential, as many as nodes and two more.
        unit: of ``data`` in nats.
    """

    grid: Grid
    places: Float[np.ndarray, "place axis"]
    values: Float[np.ndarray, "place"]
    sources: Float[np.ndarray, "n axis"]
    slopes: Float[np.ndarray, "n axis"]
    weights: Float[np.ndarray, "n axis axis"]
    mass: Float[np.ndarray, "place"]
    data: Observations
    basis: SplineBasis
    unit: float

    @classmethod
    def of(cls, solution: DualSolution, posterior: Posterior, grid: Grid) -> _Found:
        point, carrier, half = solution.point, solution.grid, np.array(grid.frame.half)
        problem, resolution = point.problem, posterior.resolution
        marginal = problem.marginal.cpu().numpy()
        # Of a node that no posterior reaches nothing is known, sample or not.
        seen = torch.isfinite(problem.log_weight).cpu().numpy() & (marginal > _REACHED * marginal.mean())
        values = np.where(seen, point.phi.cpu().numpy() / resolution, np.nan)
        slopes = point.theta.cpu().numpy() / resolution / half
        weights = point.covariance.cpu().numpy() * np.outer(half, half)
        mass = np.where(seen, marginal, 0.0)
        places = np.array(grid.frame.centre) + half * problem.nodes.cpu().numpy()
        data = Observations.of(carrier, values, posterior.t, slopes, weights, mass, places)
        basis = SplineBasis.over(carrier.unit.extent, tuple(count + 2 for count in carrier.shape))
        return cls(
            carrier, places, values, posterior.t, slopes, weights, mass, data, basis, data.scale * resolution
        )

    def log_partition(self, splines: Potential, smoothed: Smoothed) -> CellMean | None:
        """The nearest log-partition function, where splines miss the slopes by more than noise, and it by less."""
        miss = float(splines.certificate["slope_error"])
        span = float(np.ptp(self.data.slopes, axis=0).max()) or 1.0
        noise = float(np.sqrt(smoothed.raw_gradient.mean())) / span
        full = np.isin(np.arange(self.grid.size), self.grid.nearest(self.places[self.data.some])).all()
        if miss < _MISSED or _CERTAIN * noise > miss or len(self.grid.shape) == 1 or not full:
            return None
        on_nodes = _spread(self.values[:, None], self.places, self.grid)[..., 0].numpy()
        found = nearest_log_partition(
            self.grid,
            on_nodes,
            self.sources,
            self.slopes,
            resolution=self.unit / self.data.scale,
            tolerance=1e-3,
        )
        return CellMean(found, self.grid.spacing) if float(found.certificate["slope_error"]) < miss else None

    def splines(self, smoothness: float) -> Potential:
        """The convex potential in splines that comes nearest."""
        return nearest_potential(
            self.grid, self.values, self.sources, self.slopes, self.weights,
            mass=self.mass, places=self.places, smoothness=smoothness,
        )  # fmt: skip

    def missed(
        self, potential: Potential | CellMean, smoothed: Smoothed
    ) -> tuple[Float[Tensor, "*nodes"], Float[Tensor, "*nodes axis"]]:
        """What values and slopes have beyond the potential and beyond noise, at the nodes of the grid."""
        value = self.values - potential.value(torch.from_numpy(self.places)).numpy()
        gradient = self.slopes - potential.gradient(torch.from_numpy(self.sources)).numpy()
        square = ((gradient * np.array(self.grid.frame.half)) ** 2).sum(axis=1)
        noise, tiny = smoothed.raw_gradient * self.data.scale**2, np.finfo(float).tiny
        # Where noise explains most of what the slopes have beyond it, the rest are its tails.
        whole = float(np.clip(1 - 2 * noise.mean() / max(float(square.mean()), tiny), 0, None))
        certain = np.clip(1 - _CERTAIN * noise / np.maximum(square, tiny), 0, None)
        value, gradient = whole * np.nan_to_num(value)[:, None], whole * certain[:, None] * gradient
        on_nodes = _spread(value, self.places, self.grid), _spread(gradient, self.sources, self.grid)
        return on_nodes[0][..., 0], on_nodes[1]

    def slope_errors(self, potential: CellMean, draws: Draws) -> ApproximationError:
        """How far a metric is from the response of the slopes, what steps hide of it, and noise, at the nodes."""
        grid = self.grid
        measured = response(grid, self.sources, self.slopes)
        t, shape, dims = torch.from_numpy(grid.points), grid.shape, len(grid.shape)
        pairs = np.triu_indices(dims)
        bias = (potential.hessian(t).numpy().reshape(measured.metric.shape) - measured.metric)[..., *pairs]
        hidden = measured.metric_error[..., *pairs]
        per_slope = 1 / (self.unit / self.data.scale * np.array(grid.frame.half))
        noise = np.stack(
            [
                response(grid, self.sources, draws.theta[:, :, k] * per_slope).metric[..., *pairs]
                for k in range(draws.theta.shape[2])
            ],
            axis=-1,
        )
        square = np.einsum("...id,...jd->...ij", noise, noise) / noise.shape[-1]
        square = (
            square + bias[..., :, None] * bias[..., None, :] + hidden[..., :, None] * hidden[..., None, :]
        )
        half = np.array(grid.frame.half)
        units = (half[:, None] * half)[pairs]
        square = uniform_filter(
            square * np.outer(units, units), size=(*(min(3, nodes) for nodes in shape), 1, 1), mode="nearest"
        )
        slopes = _spread(
            (draws.theta**2).mean(axis=-1) / (self.unit / self.data.scale) ** 2, self.sources, grid
        )
        values = _spread((draws.phi**2).mean(axis=-1)[:, None], self.places, grid)[..., 0]
        return ApproximationError(
            grid.frame, values / (self.unit / self.data.scale) ** 2, slopes, torch.from_numpy(square)
        )

    def spline_errors(self, potential: Potential, smoothed: Smoothed) -> ApproximationError:
        """Noise, smoothing, the splines' own error, and what convexity has changed, at the nodes."""
        t = torch.from_numpy(self.grid.unit.points)
        coarser = SplineBasis.over(self.grid.unit.extent, tuple(map(other_count, self.basis.shape)))
        # The same smoothness in another number of coefficients, whose third differences are larger.
        ratio = np.prod([b / a for a, b in zip(self.basis.shape, coarser.shape, strict=True)])
        spacing = np.prod([b.spacing / a.spacing for a, b in zip(self.basis.axes, coarser.axes, strict=True)])
        weight = smoothed.weight / (ratio * spacing ** (6 / len(self.grid.shape)))
        first = torch.from_numpy(Misfit.of(self.basis, self.data, smoothed.weight).least())
        second = torch.from_numpy(Misfit.of(coarser, self.data, float(weight)).least())
        unit_frame = Frame((0.0,) * len(self.grid.shape), (1.0,) * len(self.grid.shape))
        splines = ApproximationError.between(unit_frame, (self.basis, first), (coarser, second))
        convex = potential.coefficients.flatten() / self.data.scale - first
        orders = [derivatives(total, len(self.grid.shape)) for total in range(3)]
        moved = [
            torch.stack(
                [self.basis.evaluate(convex.reshape(self.basis.shape), t, o) for o in of_order], dim=-1
            )
            for of_order in orders
        ]
        shape, square = self.grid.shape, self.data.scale**2
        parts = [
            smoothed.value.ravel() + splines.of_value(t).numpy() + moved[0][:, 0].numpy() ** 2,
            smoothed.gradient.reshape(t.shape) + splines.of_gradient(t).numpy() + moved[1].numpy() ** 2,
            smoothed.hessian.reshape(len(t), *smoothed.hessian.shape[-2:])
            + splines.products(t).numpy()
            + (moved[2][:, :, None] * moved[2][:, None, :]).numpy(),
        ]
        return ApproximationError(
            self.grid.frame,
            *(torch.from_numpy(square * part.reshape(*shape, *part.shape[1:])) for part in parts),
        )


def _spread(
    values: Float[np.ndarray, "n part"], t: Float[np.ndarray, "n axis"], grid: Grid
) -> Float[Tensor, "*nodes part"]:
    """Mean around each node; zero where there is nothing."""
    weights = bilinear_weights(t, grid)
    total = np.asarray(weights.sum(axis=0)).ravel()
    mean = (weights.T @ values) / np.where(total > 1e-9, total, np.inf)[:, None]
    return torch.from_numpy(mean.reshape(*grid.shape, -1))
