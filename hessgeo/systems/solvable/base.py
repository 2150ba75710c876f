"""Systems whose partition function is known exactly, so that every estimate can be scored against the truth."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from hessgeo.systems.base import System

Points = Float[np.ndarray, "n 2"]
Metrics = Float[np.ndarray, "n 2 2"]


class Cumulants(NamedTuple):
    """``log Z`` and its first two derivatives: the mean and the covariance of the sufficient statistics."""

    log_partition: Float[np.ndarray, "n"]
    mean: Points
    metric: Metrics


@dataclass(frozen=True)
class Coordinates:
    """Parameters ``t`` of a study, as a map to natural parameters.

    Attributes:
        names: of the two parameters.
        natural: the natural parameters at each ``t``.
        jacobian: their derivatives, ``[n, i, j] = d natural_i / d t_j``.
    """

    names: tuple[str, str]
    natural: Callable[[Points], Points]
    jacobian: Callable[[Points], Metrics]


def natural_coordinates(*names: str) -> Coordinates:
    """The natural parameters themselves, under these names.

    Raises:
        ValueError: unless there are two names.
    """
    if len(names) != 2:
        raise ValueError(f"there are {len(names)} names of parameters ({', '.join(names)}), must be 2")
    return Coordinates(
        (names[0], names[1]), lambda t: t.copy(), lambda t: np.broadcast_to(np.eye(2), (len(t), 2, 2)).copy()
    )


def _from_temperature(t: Points) -> Points:
    _check_temperature(t)
    return np.stack([1 / t[:, 0], t[:, 1] / t[:, 0]], axis=1)


def _temperature_jacobian(t: Points) -> Metrics:
    _check_temperature(t)
    temperature, field = t.T
    rows = [[-1 / temperature**2, np.zeros(len(t))], [-field / temperature**2, 1 / temperature]]
    return np.moveaxis(np.array(rows), 2, 0)


def _check_temperature(t: Points) -> None:
    if np.any(t[:, 0] <= 0):
        raise ValueError(f"temperature is {t[:, 0].min()}, must be positive")


TEMPERATURE_FIELD = Coordinates(("T", "H"), _from_temperature, _temperature_jacobian)
"""(T, H) with ``K = 1 / T`` and ``h = H / T``, in units of the coupling."""


def check_points(t: Points) -> Points:
    """Parameter points as float64.

    Raises:
        ValueError: unless they are finite and of shape (n, 2).
    """
    t = np.asarray(t, dtype=np.float64)
    if t.ndim != 2 or t.shape[1] != 2:
        raise ValueError(f"parameter points have shape {t.shape}, must be (n, 2)")
    if not np.isfinite(t).all():
        raise ValueError("parameter points hold a value that is not finite")
    return t


class SolvableSystem(System):
    """An exponential family ``p(x | t) = exp(<f(x), natural> - log Z(natural))`` with known ``log Z``.

    ``sample`` takes the parameters ``t`` of a study; ``cumulants`` and what follows from it take natural ones,
    in which the family is exponential; ``natural`` leads from one to the other.

    Attributes:
        coordinates: the parameters of the study.
    """

    array = "state"
    dtype = np.dtype(np.int8)
    coordinates: Coordinates

    @abstractmethod
    def cumulants(self, natural: Points) -> Cumulants:
        """``log Z``, its gradient and its Hessian at natural parameters, exact up to rounding."""

    @abstractmethod
    def sufficient_statistics(self, states: Shaped[np.ndarray, "n *sample"]) -> Points:
        """The statistics ``f(x)`` of each state, conjugate to the natural parameters."""

    def log_partition(self, natural: Points) -> Float[np.ndarray, "n"]:
        """``log Z`` at natural parameters, in nats."""
        return self.cumulants(natural).log_partition

    def statistics_mean(self, natural: Points) -> Points:
        """``E[f] = grad log Z`` at natural parameters."""
        return self.cumulants(natural).mean

    def fisher_metric(self, natural: Points) -> Metrics:
        """``Cov[f] = grad^2 log Z`` in natural parameters (Lobashev et al., eq. 8)."""
        return self.cumulants(natural).metric

    def natural(self, t: Points) -> Points:
        """Natural parameters at parameters of the study."""
        return self.coordinates.natural(check_points(t))

    def jacobian(self, t: Points) -> Metrics:
        """``[n, i, j] = d natural_i / d t_j`` at parameters of the study."""
        return self.coordinates.jacobian(check_points(t))

    def pulled_back_metric(self, t: Points) -> Metrics:
        """The Fisher metric in the parameters of the study, ``J^T g J``."""
        jacobian = self.jacobian(t)
        return np.swapaxes(jacobian, 1, 2) @ self.fisher_metric(self.natural(t)) @ jacobian
