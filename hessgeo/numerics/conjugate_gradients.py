"""Conjugate gradients with a preconditioner, for a symmetric matrix that is known by its products."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Product = Callable[[Float[Tensor, "n"]], Float[Tensor, "n"]]


def conjugate_gradients(
    product: Product, right: Float[Tensor, "n"], preconditioned: Product, *, relative: float, most: int
) -> Float[Tensor, "n"]:
    """The ``x`` with ``A x = right``, to a relative accuracy in the norm of the preconditioner.

    Args:
        product: ``A v``, of a matrix without negative eigenvalues.
        right: orthogonal to what ``A`` takes to zero.
        preconditioned: ``M r`` with ``M`` positive definite, near to the inverse of ``A``.
        relative: of ``sqrt(r' M r)``, what of it at the start may be left.
        most: products at most. What is reached then is a direction of descent of the quadratic nevertheless.
    """
    x, r = torch.zeros_like(right), right
    z = preconditioned(r)
    p, left = z, float(r @ z)
    enough = relative**2 * left
    for _ in range(most):
        if left <= enough:
            break
        image = product(p)
        stiffness = float(p @ image)
        if stiffness <= 0:  # a direction that A takes to zero, up to rounding
            break
        length = left / stiffness
        x, r = x + length * p, r - length * image
        z = preconditioned(r)
        p, left = z + (float(r @ z) / left) * p, float(r @ z)
    return x
