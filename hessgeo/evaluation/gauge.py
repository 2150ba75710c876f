"""Remove what a posterior cannot determine of a potential before comparing it with another.

A free energy is known up to an affine function of the natural parameters, and up to a scale where the resolution
number is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from hessgeo.grids import Frame
from hessgeo.systems.solvable.base import Coordinates

if TYPE_CHECKING:
    from hessgeo.free_energies.base import FreeEnergy  # torch is not imported for a name

Gauge = Literal["shift+slope", "shift+slope+scale"]
_ROUNDING = (
    64 * np.finfo(float).eps
)  # of a potential: what is left of it, less than that, is none of its shape
GAUGES: tuple[Gauge, ...] = ("shift+slope", "shift+slope+scale")


@dataclass(frozen=True)
class GaugeErrors:
    """Root-mean-square errors after the gauge is removed, absolute and relative to the truth's own range.

    Gradients are per half side of the box around the points, so that parameters of different units count alike:
    ``gradient`` is the error of the vector over all components, its range the largest distance of two true gradients
    along one axis.
    """

    value: float
    gradient: float
    value_relative: float
    gradient_relative: float
    scale: float


@dataclass(frozen=True)
class AffineFunctions:
    """The functions that span the gauge, at points: one and two coordinates, with derivatives by the parameters.

    Coordinates are in units of their own range and about its middle: raw ones far from the origin, or of very
    different sizes, would be told apart from the constant by rounding alone.

    Attributes:
        values: columns ``1``, first and second coordinate.
        gradients: ``[n, k, j]``, the derivative of column ``k`` by parameter ``j``.
    """

    values: Float[np.ndarray, "n part"]
    gradients: Float[np.ndarray, "n part axis"]


@dataclass(frozen=True)
class Aligned:
    """A potential in the gauge that brings its values closest to those of another.

    Attributes:
        value: the values, a gauge function added.
        gradient: the gradient of the same, or None where none was given.
        scale: the factor on both.
    """

    value: Float[np.ndarray, "n"]
    gradient: Float[np.ndarray, "n 2"] | None
    scale: float


def affine_in_parameters(t: Float[np.ndarray, "n axis"]) -> AffineFunctions:
    """The affine functions of the parameters themselves."""
    dims = t.shape[1]
    return _affine(t, np.broadcast_to(np.eye(dims), (len(t), dims, dims)))


def affine_in_natural(t: Float[np.ndarray, "n 2"], coordinates: Coordinates) -> AffineFunctions:
    """The affine functions of the natural parameters, with derivatives by those of the study: the Jacobian."""
    return _affine(coordinates.natural(t), coordinates.jacobian(t))


def _affine(
    coordinates: Float[np.ndarray, "n axis"], jacobian: Float[np.ndarray, "n axis axis"]
) -> AffineFunctions:
    frame = Frame.around(coordinates)
    values = np.column_stack([np.ones(len(coordinates)), frame.into(coordinates)])
    slopes = jacobian / np.array(frame.half)[:, None]
    return AffineFunctions(
        values, np.concatenate([np.zeros((len(coordinates), 1, jacobian.shape[2])), slopes], axis=1)
    )


def remove_affine_part(
    t: Float[np.ndarray, "n axis"], values: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n"]:
    """``values`` less their least-squares affine function of ``t``."""
    return _remove(affine_in_parameters(t), values)


def align(
    value: Float[np.ndarray, "n"],
    gradient: Float[np.ndarray, "n 2"] | None,
    truth: Float[np.ndarray, "n"],
    functions: AffineFunctions,
    *,
    scale: bool = False,
) -> Aligned:
    """Bring a potential into the gauge of another, by least squares on the values alone.

    Minimises ``sum_n (s F_n + <c, A_n> - truth_n)^2`` over ``c``, and over ``s`` with ``scale`` (else ``s = 1``). The
    same ``s`` and ``c`` then apply to the gradient, ``s grad F + <c, grad A>``: nothing is fitted to it. An unknown
    resolution number is positive, so ``s >= 0``: an estimate upside down has no skill, and not a perfect one.

    Args:
        value: the potential.
        gradient: its gradient, if it has one.
        truth: the values to meet.
        functions: what spans the gauge, at the same points.
        scale: whether a factor is free too; it is 0 where the potential is a function of the gauge itself, or falls
            where the truth rises.
    """
    shape = _remove(functions, value)
    factor = 1.0
    if scale:
        # Up to rounding there is nothing left to scale: a factor would blow the rounding up.
        flat = np.abs(shape).max() <= _ROUNDING * max(np.abs(value).max(), np.finfo(float).tiny)
        factor = 0.0 if flat else max(0.0, float(shape @ _remove(functions, truth) / (shape @ shape)))
    c = _coefficients(functions, truth - factor * value)
    moved = None if gradient is None else factor * gradient + np.einsum("k,nkj->nj", c, functions.gradients)
    return Aligned(factor * value + functions.values @ c, moved, factor)


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
    import torch  # tables and figures of estimates do without it

    points = torch.from_numpy(np.ascontiguousarray(t))
    with torch.no_grad():
        true_value, value = truth.value(points).numpy(), estimate.value(points).numpy()
    true_gradient, gradient = truth.gradient(points).numpy(), estimate.gradient(points).detach().numpy()
    functions = affine_in_parameters(t)
    check_not_affine(functions, true_value)
    aligned = align(value, gradient, true_value, functions, scale=scale)
    value_rmse = float(np.sqrt(np.mean((aligned.value - true_value) ** 2)))
    half = np.array(Frame.around(t).half)
    gradient_rmse = float(np.sqrt(np.mean(np.sum((half * (aligned.gradient - true_gradient)) ** 2, axis=1))))
    return GaugeErrors(
        value=value_rmse,
        gradient=gradient_rmse,
        value_relative=value_rmse / float(np.ptp(true_value)),
        gradient_relative=gradient_rmse / float(np.ptp(half * true_gradient, axis=0).max()),
        scale=aligned.scale,
    )


def check_not_affine(functions: AffineFunctions, truth: Float[np.ndarray, "n"]) -> None:
    """Refuse a truth that is a function of the gauge itself.

    Raises:
        ValueError: if nothing is left of it to compare with.
    """
    if not np.ptp(_remove(functions, truth)) > _ROUNDING * np.abs(truth).max():
        raise ValueError(
            "the true potential is affine on these points: nothing is left once its gauge is removed"
        )


def _coefficients(functions: AffineFunctions, values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "part"]:
    return np.linalg.lstsq(functions.values, values, rcond=None)[0]


def _remove(functions: AffineFunctions, values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    return values - functions.values @ _coefficients(functions, values)
