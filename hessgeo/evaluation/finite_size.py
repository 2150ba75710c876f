"""The heat capacity of the two-dimensional Ising model on finite lattices, and how its peak moves and grows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.optimize import minimize_scalar
from tqdm import tqdm

from hessgeo.systems.solvable.base import TEMPERATURE_FIELD
from hessgeo.systems.solvable.ising import CRITICAL_COUPLING, CRITICAL_TEMPERATURE, Ising
from hessgeo.systems.solvable.kaufman import kaufman

PEAK_SLOPE = 8 / math.pi * CRITICAL_COUPLING**2
"""Growth of the peak with ``ln L`` on the square torus, ``(8 / pi) K_c^2 = 0.4945`` (Ferdinand and Fisher 1969)."""
LARGEST_SAMPLED = 64  # lattices beyond it take minutes for what the smaller ones show
SWEEPS = 100


class Peak(NamedTuple):
    """Where the heat capacity is largest, and how large, in units of ``J / k_B`` and of ``k_B`` a site."""

    temperature: float
    height: float


def heat_capacity(temperature: Float[np.ndarray, "n"], side: int) -> Float[np.ndarray, "n"]:
    """Heat capacity a site of the ``side x side`` torus at h = 0, ``K^2 Var[sum s_i s_j] / side^2``, exact (Kaufman).

    Args:
        temperature: in units of ``J / k_B``, positive.
        side: spins along each axis.

    Raises:
        ValueError: if a temperature is not positive.
    """
    coupling = 1 / np.asarray(temperature, dtype=float)
    _, _, variance = kaufman(coupling, width=side, height=side)
    return coupling**2 * variance / side**2


def heat_capacity_peak(side: int) -> Peak:
    """The maximum of ``heat_capacity``, which lies above the critical temperature by about ``0.36 T_c / side``.

    Raises:
        ValueError: if the side is below 3.
    """
    if side < 3:
        raise ValueError(f"side is {side}, must be at least 3: on a smaller torus neighbours meet twice")
    bounds = CRITICAL_TEMPERATURE * (1 - 0.5 / side), CRITICAL_TEMPERATURE * (1 + 1.5 / side)
    found = minimize_scalar(
        lambda t: -float(heat_capacity(np.array([t]), side)[0]),
        bounds=bounds,
        method="bounded",
        options={"xatol": 1e-8},
    )
    return Peak(float(found.x), -float(found.fun))


def measured_heat_capacity(
    bonds: Float[np.ndarray, "n"], temperature: float, sites: int
) -> tuple[float, float]:
    """Heat capacity a site from independent samples at one temperature, and its standard error.

    The error of a variance ``v`` of ``n`` samples is ``sqrt((m4 - v^2) / n)`` with the fourth central moment ``m4``.

    Args:
        bonds: ``sum_<ij> s_i s_j`` of each sample.
        temperature: at which they were drawn.
        sites: of the lattice.

    Raises:
        ValueError: if there are fewer than two samples.
    """
    if len(bonds) < 2:
        raise ValueError(f"there are {len(bonds)} samples, must be at least 2")
    deviation = bonds - bonds.mean()
    variance = float((deviation**2).sum() / (len(bonds) - 1))
    error = math.sqrt(max(float((deviation**4).mean()) - variance**2, 0.0) / len(bonds))
    factor = 1 / (temperature**2 * sites)
    return factor * variance, factor * error


def scaling_tables(sides: Sequence[int], samples: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Exact curves of the heat capacity, their peaks, and what samples measure on lattices to ``LARGEST_SAMPLED``.

    Args:
        sides: of the lattices.
        samples: at each of nine temperatures.

    Returns:
        Tables with ``side``, ``temperature``, and ``heat_capacity``, ``height``, or ``heat_capacity`` and ``error``.
    """
    fine, few = (CRITICAL_TEMPERATURE * np.linspace(*box) for box in ((0.8, 1.3, 401), (0.85, 1.25, 9)))
    curves = pd.concat(
        pd.DataFrame({"side": side, "temperature": fine, "heat_capacity": heat_capacity(fine, side)})
        for side in sides
    )
    peaks = pd.DataFrame({"side": side, **heat_capacity_peak(side)._asdict()} for side in sides)
    sampled = [side for side in sides if side <= LARGEST_SAMPLED]
    return curves, peaks, pd.DataFrame(row for side in sampled for row in _measured(side, few, samples))


def _measured(side: int, temperatures: Float[np.ndarray, "n"], samples: int) -> Iterator[dict[str, Any]]:
    system = Ising(side, coordinates=TEMPERATURE_FIELD, sweeps=SWEEPS)
    for temperature in tqdm(temperatures, desc=f"side {side}"):
        points = np.tile([temperature, 0.0], (samples, 1))
        bonds = system.sufficient_statistics(system.sample(points, np.arange(samples), side))[:, 0]
        value, error = measured_heat_capacity(bonds, temperature, side**2)
        yield {"side": side, "temperature": temperature, "heat_capacity": value, "error": error}
