"""How the Hessian converges as the divergences do (Theorem 3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from hessgeo.estimators.estimate import Estimate
from hessgeo.evaluation.divergences import divergence_loss

if TYPE_CHECKING:
    from hessgeo.free_energies.base import FreeEnergy  # torch is not imported for a name


@dataclass(frozen=True)
class HessianErrors:
    """The loss of Eq. 13 of an estimate, and the error of its Hessian at the same points.

    Attributes:
        loss: mean of ``(exp(-D_F^) - exp(-D_F))^2`` over pairs of points.
        largest: largest Frobenius norm of the Hessian's error, over the largest norm of the true Hessian.
        rms: the root of the mean of its square, over the like of the true Hessian.
    """

    loss: float
    largest: float
    rms: float


def potential_at(free_energy: FreeEnergy, t: Float[np.ndarray, "n 2"]) -> Estimate:
    """Value, gradient and Hessian of a potential at points, in its own parameters."""
    import torch  # tables and figures of estimates do without it

    points = torch.from_numpy(np.ascontiguousarray(t))
    return Estimate(
        value=free_energy.value(points).detach().numpy(),
        gradient=free_energy.gradient(points).detach().numpy(),
        metric=free_energy.hessian(points).detach().numpy(),
    )


def hessian_errors(estimate: Estimate, truth: Estimate, t: Float[np.ndarray, "n 2"]) -> HessianErrors:
    """Compare an estimate with the truth by both sides of Theorem 3.2, which holds in natural parameters.

    Nothing is scaled or shifted: neither side depends on the affine part.

    Args:
        estimate: value, gradient and Hessian at points.
        truth: the same of the exact potential.
        t: the points, natural parameters that cover a box evenly.

    Raises:
        ValueError: if one of the six is missing.
    """
    value, gradient, metric = _complete(estimate)
    true_value, true_gradient, true_metric = _complete(truth)
    loss = divergence_loss(value, gradient, true_value, true_gradient, t)
    error = np.linalg.norm(metric - true_metric, axis=(1, 2))
    size = np.linalg.norm(true_metric, axis=(1, 2))
    return HessianErrors(
        loss=loss,
        largest=float(error.max() / size.max()),
        rms=float(np.sqrt((error**2).mean() / (size**2).mean())),
    )


def _complete(potential: Estimate) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if potential.value is None or potential.gradient is None or potential.metric is None:
        raise ValueError("estimate and truth must both have a value, a gradient and a metric")
    return potential.value, potential.gradient, potential.metric
