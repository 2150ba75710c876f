"""What a fit stands on: samples that are fit for it, factors of its matrices, and one line in words where not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.grids import Extent


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


def check_samples(
    values: Float[np.ndarray, "n m"],
    t: Float[np.ndarray, "n 2"],
    what: str,
    extent: Extent | None = None,
    *,
    columns: int | None = 2,
) -> None:
    """Refuse samples that nothing can be fitted to.

    Args:
        values: numbers of each sample.
        t: their parameters.
        what: the numbers, for the message.
        extent: the box that the samples must lie in, up to a rounding.
        columns: how many numbers a sample has; any if None.

    Raises:
        ValueError: on shapes that do not match, values that are not finite, or samples outside the box.
    """
    if values.ndim != 2 or t.shape != (len(values), 2) or columns not in (None, values.shape[1]):
        shapes = "have shapes (n, m) and (n, 2)" if columns is None else f"both have shape (n, {columns})"
        raise ValueError(f"{what} {values.shape} and t {t.shape} must {shapes}")
    if not (np.isfinite(values).all() and np.isfinite(t).all()):
        raise ValueError(f"{what} or t hold values that are not finite")
    if extent is not None:
        low, high = np.array(extent, dtype=float).T
        near = 1e-9 * (high - low) + 4 * np.finfo(float).eps * np.maximum(np.abs(low), np.abs(high))
        if (t < low - near).any() or (t > high + near).any():
            raise ValueError(f"samples lie outside the extent {extent}")


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
