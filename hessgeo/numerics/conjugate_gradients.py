"""Conjugate gradients with a preconditioner, for a symmetric matrix that is known by its products."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Product = Callable[[Float[Tensor, "n *column"]], Float[Tensor, "n *column"]]


def conjugate_gradients(
    product: Product,
    right: Float[Tensor, "n *column"],
    preconditioned: Product,
    *,
    relative: float,
    most: int,
) -> Float[Tensor, "n *column"]:
    """The ``x`` with ``A x = right``, to a relative accuracy in the norm of the preconditioner.

    Args:
        product: ``A v``, of a matrix without negative eigenvalues.
        right: orthogonal to what ``A`` takes to zero; of several columns each is solved for itself, all in one product.
        preconditioned: ``M r`` with ``M`` positive definite, near to the inverse of ``A``.
        relative: of ``sqrt(r' M r)``, what of it at the start may be left.
        most: products at most. What is reached then is a direction of descent of the quadratic nevertheless.
    """
    x, r = torch.zeros_like(right), right
    z = preconditioned(r)
    p, left = z, (r * z).sum(0)
    enough = relative**2 * left
    for _ in range(most):
        image = product(p)
        stiffness = (p * image).sum(0)
        going = (left > enough) & (
            stiffness > 0
        )  # else the matrix takes the direction to zero, up to rounding
        if not going.any():
            break
        length = torch.where(going, left / stiffness.where(going, torch.ones_like(left)), 0.0)
        x, r = x + length * p, r - length * image
        z = preconditioned(r)
        now = (r * z).sum(0)
        p, left = (
            z + torch.where(going, now / left.where(going, torch.ones_like(left)), 0.0) * p,
            now.where(going, left),
        )
    return x
