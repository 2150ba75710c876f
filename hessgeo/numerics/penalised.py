"""Penalised fits: a loss plus ``(lambda / 2) c' S c``, its Newton step, and the ``lambda`` that the data ask for.

``S`` is that of ``SplineBasis.third_difference_penalty``, free in the quadratics: six directions, three of one axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.numerics.factor import cholesky

_LEAST = 1e-13  # weight of the penalty, relative to the balance of the two traces
_MOST = 1e2


class Expansion(Protocol):
    """A loss without penalty, to second order about coefficients; parts that are not asked for need not be computed.

    ``hessian`` may be the Fisher information.
    """

    @property
    def c(self) -> Float[Tensor, "size"]:
        """Where."""

    @property
    def loss(self) -> float:
        """Infinite where it is not defined."""

    @property
    def gradient(self) -> Float[Tensor, "size"]:
        """Of the loss."""

    @property
    def hessian(self) -> Float[Tensor, "size size"]:
        """Positive semi-definite."""

    def at(self, c: Float[Tensor, "size"]) -> Any:
        """The same about other coefficients."""


# See ``newton``: a bound would be asked for by computing all derivatives.
if TYPE_CHECKING:
    E = TypeVar("E", bound=Expansion)
else:
    E = TypeVar("E")


@dataclass(frozen=True)
class Penalised(Generic[E]):
    """A point of ``newton.minimise``.

    Attributes:
        data: the loss without penalty.
        penalty: ``S``.
        weight: ``lambda``.
        factor: the Cholesky factor of ``H + lambda S``, with what neither determines pinned.
    """

    data: E
    penalty: Float[Tensor, "size size"]
    weight: float
    factor: Callable[[Float[Tensor, "size size"]], Float[Tensor, "size size"]]

    @property
    def c(self) -> Float[Tensor, "size"]:
        """The coefficients."""
        return self.data.c

    @property
    def loss(self) -> float:
        """With the penalty."""
        return self.data.loss + float(self.weight / 2 * self.c @ self.penalty @ self.c)

    def inverse(self) -> Float[Tensor, "size size"]:
        """``(H + lambda S)^-1``."""
        return torch.cholesky_inverse(self._root())

    def newton(self) -> tuple[Float[Tensor, "size"], float]:
        """See ``newton.Point``."""
        slope = self.data.gradient + self.weight * self.penalty @ self.c
        step = -torch.cholesky_solve(slope[:, None], self._root())[:, 0]
        return step, float(-(slope @ step) / 2)

    def moved(self, step: Any, length: float) -> Penalised[E]:
        """See ``newton.Point``."""
        return replace(self, data=self.data.at(self.c + length * step))

    def _root(self) -> Float[Tensor, "size size"]:
        return self.factor(self.data.hessian + self.weight * self.penalty)


def pin_constant(stiffness: Float[Tensor, "size size"], what: str) -> Float[Tensor, "size size"]:
    """Cholesky factor where the loss and the penalty leave the constant free: it is pinned to zero.

    Args:
        stiffness: ``H + lambda S``.
        what: the fit, for the message of a ``DegenerateError``.
    """
    diagonal = stiffness.diagonal().mean()
    pinned = stiffness + diagonal / len(stiffness)
    pinned.diagonal().add_(1e-13 * diagonal)
    return cholesky(pinned, what)


def balance(hessian: Float[Tensor, "size size"], penalty: Float[Tensor, "size size"]) -> float:
    """The weight at which ``H`` and ``lambda S`` have the same trace, whatever their units."""
    return float(hessian.trace() / penalty.trace())


def evidence_weight(
    data: E,
    penalty: Float[Tensor, "size size"],
    factor: Callable[[Float[Tensor, "size size"]], Float[Tensor, "size size"]],
    *,
    free: int = 6,
    scale: float | None = None,
    noise: Callable[[Float[Tensor, "direction"]], float] = lambda _: 1.0,
) -> float:
    """The ``lambda`` of highest marginal likelihood of a loss expanded about a fit or near it.

    In the basis that makes ``H`` the identity and ``S`` diagonal, ``d``, with the free optimum at ``z``,

        -2 log p(lambda) = sum_k z_k^2 lambda d_k / (1 + lambda d_k) / phi + log(1 + 1 / (lambda d_k)).

    Args:
        data: the loss without the penalty.
        penalty: ``S``, free in the quadratics.
        factor: see ``Penalised``.
        free: directions that the penalty leaves free, ``SplineBasis.quadratics``.
        scale: of ``lambda``; the balance of the two traces here if None.
        noise: ``phi``, the dispersion of the data, as a function of ``d``; the loss is a likelihood if it is one.
    """
    scale = balance(data.hessian, penalty) if scale is None else scale
    # Directions the data do not see at all get the least weight there is, so that H can be factored.
    root = factor(data.hessian + _LEAST * scale * penalty)
    half = torch.linalg.solve_triangular(root, penalty, upper=False)
    whitened = torch.linalg.solve_triangular(root, half.T, upper=False)
    d, vectors = torch.linalg.eigh((whitened + whitened.T) / 2)
    pull = torch.linalg.solve_triangular(root, data.gradient[:, None], upper=False)[:, 0]
    stiff = d[free:].clamp(min=torch.finfo(d.dtype).tiny)
    z = (vectors.T @ (root.T @ data.c - pull))[free:]
    dispersion = noise(stiff)
    low, high = (math.log(bound * scale) for bound in (_LEAST, _MOST))
    trial = torch.linspace(low, high, 1201, dtype=d.dtype, device=d.device).exp()
    shrink = trial[:, None] * stiff
    cost = (z**2 * shrink / (1 + shrink)).sum(1) / dispersion + torch.log1p(1 / shrink).sum(1)
    return float(trial[cost.argmin()])
