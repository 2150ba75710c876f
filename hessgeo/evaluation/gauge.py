"""Remove what a posterior cannot determine of a potential before comparing it with another.

A free energy is known up to an affine function of ``t``, and up to a scale where the resolution number is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from hessgeo.free_energies.base import FreeEnergy


@dataclass(frozen=True)
class GaugeErrors:
    """Root-mean-square errors after the gauge is removed, absolute and relative to the truth's own range.

    ``gradient`` is the error of the gradient vector over both components; its range is the largest distance of two
    true gradients along one axis.
    """

    value: float
    gradient: float
    value_relative: float
    gradient_relative: float
    scale: float


def affine_part(t: Float[np.ndarray, "n 2"], values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "3"]:
    """Least-squares coefficients ``(c, u_a, u_b)`` of ``c + <u, t>``."""
    design = np.column_stack([np.ones(len(t)), t])
    return np.linalg.lstsq(design, values, rcond=None)[0]


def remove_affine_part(t: Float[np.ndarray, "n 2"], values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """``values`` less their least-squares affine function of ``t``."""
    return values - np.column_stack([np.ones(len(t)), t]) @ affine_part(t, values)


def compare(
    estimate: FreeEnergy, truth: FreeEnergy, t: Float[np.ndarray, "n 2"], *, scale: bool = False
) -> GaugeErrors:
    """Errors of an estimated potential at points ``t``, gauge removed by least squares on the values.

    Args:
        estimate: the potential under test.
        truth: the exact one.
        t: where to compare.
        scale: remove a best factor too (for estimates whose resolution number is unknown).

    Raises:
        ValueError: if the truth is affine on ``t``, so that nothing is left to compare.
    """
    points = torch.from_numpy(np.ascontiguousarray(t))
    with torch.no_grad():
        true_value, value = truth.value(points).numpy(), estimate.value(points).numpy()
    true_gradient, gradient = truth.gradient(points).numpy(), estimate.gradient(points).detach().numpy()
    true_shape = remove_affine_part(t, true_value)
    shape = remove_affine_part(t, value)
    if np.ptp(true_shape) < 1e-12 * max(1.0, np.ptp(true_value)):
        raise ValueError(
            "the true potential is affine on these points: nothing is left once its gauge is removed"
        )
    factor = float(shape @ true_shape / (shape @ shape)) if scale else 1.0
    slope = affine_part(t, factor * value - true_value)[1:]
    value_rmse = float(np.sqrt(np.mean((factor * shape - true_shape) ** 2)))
    gradient_rmse = float(np.sqrt(np.mean(np.sum((factor * gradient - slope - true_gradient) ** 2, axis=1))))
    return GaugeErrors(
        value=value_rmse,
        gradient=gradient_rmse,
        value_relative=value_rmse / float(np.ptp(true_value)),
        gradient_relative=gradient_rmse / float(np.ptp(true_gradient, axis=0).max()),
        scale=factor,
    )
