"""The linear map that makes two statistics conjugate to their parameters, from exchanged pairs of samples alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree
from scipy.special import expit, log_expit

RANKS = (
    1,
    4,
    16,
    64,
    256,
    1024,
)  # partners of a sample: its nearest in the parameters, its fourth nearest, ...
_STEPS, _HALVINGS, _TOLERANCE = 60, 40, 1e-10


class ConjugateMap(NamedTuple):
    """``f -> B f`` and the covariance of the entries of ``B``, row by row."""

    matrix: Float[np.ndarray, "2 2"]
    covariance: Float[np.ndarray, "4 4"]


def conjugate_map(
    statistics: Float[np.ndarray, "n 2"],
    natural: Float[np.ndarray, "n 2"],
    t: Float[np.ndarray, "n 2"],
    extent: tuple[tuple[float, float], tuple[float, float]],
) -> ConjugateMap:
    r"""The map ``B`` for which ``B f`` has ``p(f | theta) ~ exp <B f, theta>``, by conditional likelihood.

    Given two samples and their two parameters, but not which belongs to which, the odds of the pairing that was seen
    are

        p(f_i|theta_i) p(f_j|theta_j) / (p(f_i|theta_j) p(f_j|theta_i)) = exp <B (f_i - f_j), theta_i - theta_j>:

    the free energy cancels, whatever it is. The sum of ``log sigma`` of these logits over pairs is concave in the four
    numbers ``B``, and is maximised by Newton's method. Each sample is paired with its nearest in the parameters, its
    4th, 16th, ... nearest: pairs at all distances, chosen without a look at the statistics.

    The covariance is that of estimating equations over samples, each of which is part of several pairs; a pair's own
    square counts for both of its samples, so that it errs on the large side.

    Args:
        statistics: two statistics of each sample, sufficient up to a linear map.
        natural: natural parameters of each sample.
        t: its parameters in the study, in which neighbours are found.
        extent: the box of the study, whose sides are the units of distance.

    Raises:
        ValueError: on fewer than 16 samples, or shapes that do not match.
        ArithmeticError: if the pairs do not determine the map.
    """
    if len(t) < 16 or not statistics.shape == natural.shape == t.shape == (len(t), 2):
        raise ValueError(
            f"statistics {statistics.shape}, natural {natural.shape} and t {t.shape} must have one shape (n, 2), "
            "n at least 16"
        )
    first, second = _pairs(t / np.ptp(np.array(extent, dtype=float), axis=1))
    scales = np.outer(natural.std(axis=0), statistics.std(axis=0)).ravel()
    change = (natural[first] - natural[second])[:, :, None] * (statistics[first] - statistics[second])[
        :, None, :
    ]
    design = change.reshape(-1, 4) / scales
    b, information = _newton(design)
    score = design * expit(-design @ b)[:, None]
    whole = np.zeros((len(t), 4))
    np.add.at(whole, first, score)
    np.add.at(whole, second, score)
    inverse = np.linalg.inv(information)
    covariance = inverse @ (whole.T @ whole) @ inverse
    return ConjugateMap((b / scales).reshape(2, 2), covariance / np.outer(scales, scales))


def _pairs(place: Float[np.ndarray, "n 2"]) -> tuple[np.ndarray, np.ndarray]:
    """Indices of both samples of each pair, a sample and one of its neighbours."""
    ranks = [rank for rank in RANKS if rank < len(place) // 2]
    _, near = cKDTree(place).query(place, k=[rank + 1 for rank in ranks])
    first = np.repeat(np.arange(len(place)), len(ranks))
    second = near.ravel()
    apart = first != second
    return first[apart], second[apart]


def _newton(design: Float[np.ndarray, "pair 4"]) -> tuple[Float[np.ndarray, "4"], Float[np.ndarray, "4 4"]]:
    """The maximum of ``sum log sigma(x b)`` and its information."""
    b, value = np.zeros(design.shape[1]), log_expit(np.zeros(len(design))).sum()
    for _ in range(_STEPS):
        wrong = expit(-design @ b)
        if wrong.max() < 0.5:
            raise ArithmeticError("the pairs do not determine a map: the statistics tell all of them apart")
        gradient = design.T @ wrong
        information = design.T @ (design * (wrong * (1 - wrong))[:, None])
        step = np.linalg.solve(information + 1e-12 * np.trace(information) * np.eye(len(b)), gradient)
        if gradient @ step < _TOLERANCE * len(design):
            return b, information
        for halving in range(_HALVINGS):
            trial = b + step / 2**halving
            after = log_expit(design @ trial).sum()
            if after > value:
                break
        b, value = trial, after
    raise ArithmeticError(f"no map was found in {_STEPS} steps")
