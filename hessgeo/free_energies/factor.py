"""Factors of symmetric matrices, and one line in words where there are none."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


class DegenerateError(ArithmeticError):
    """The data leave something undetermined, or rounding has eaten it."""


def cholesky(
    matrix: Float[Tensor, "size size"], what: str, *, firm: tuple[float, ...] = (0.0,)
) -> Float[Tensor, "size size"]:
    """Lower Cholesky factor.

    Args:
        matrix: symmetric.
        what: the fit, for the message.
        firm: shares of the mean diagonal to add to it, one after another until the factor exists.

    Raises:
        DegenerateError: if the matrix is not positive definite or not finite.
    """
    diagonal = matrix.diagonal().mean()
    for share in firm:
        firmer = matrix.clone()
        firmer.diagonal().add_(share * diagonal)
        factor, failed = torch.linalg.cholesky_ex(firmer)
        if not int(failed) and bool(torch.isfinite(factor).all()):
            return factor
    raise DegenerateError(
        f"{what}: the data do not determine all of its {len(matrix)} unknowns: take fewer of them, more or wider "
        "spread samples, or more smoothing"
    )
