"""Factors of symmetric matrices, and one line in words where there are none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
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


def check_independent(statistics: Float[np.ndarray, "n 2"], what: str) -> None:
    """Refuse statistics of which a component is constant, or the two are one.

    Raises:
        DegenerateError: if so; they determine no metric.
    """
    spread = statistics.std(axis=0)
    if not (spread > 1e-12 * np.abs(statistics).max(axis=0)).all() or (
        np.abs(np.corrcoef(statistics.T)[0, 1]) > 1 - 1e-12
    ):
        raise DegenerateError(f"{what}: the statistics are constant or linearly dependent")


@contextmanager
def in_words(what: str) -> Iterator[None]:
    """For a fit, as a decorator: a factorisation that fails in it becomes a ``DegenerateError`` of one line.

    Args:
        what: the fit, for the message.
    """
    try:
        yield
    except (np.linalg.LinAlgError, torch.linalg.LinAlgError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DegenerateError(
            f"{what}: the data leave a direction undetermined ({reason}): take fewer unknowns or more samples"
        ) from error
