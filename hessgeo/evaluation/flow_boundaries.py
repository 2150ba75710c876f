"""How sharp the boundary of two modes is: for an exact flow, for a sampler with few steps, and with noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from hessgeo.systems.solvable.mixture_flow import MixtureFlow
from hessgeo.systems.solvable.mode_pair import ModePair
from hessgeo.systems.solvable.noisy_flow import NoisyFlow

NEAR = 1e-7  # latent that stands for the slope at the boundary: the next term is the square of it
FINE = 1e-5  # between latents whose difference is a slope: a boundary is 1e-3 wide at sigma = .25
SHORT = 1e-4  # of the level, over which a rate is measured


def pair_flow(sigma: float) -> MixtureFlow:
    """The flow of two equal modes at 1 and -1."""
    return MixtureFlow(np.array([1.0, -1.0]), sigma=sigma)


def boundary_table(sigmas: Sequence[float]) -> pd.DataFrame:
    """Stretching and rate at the boundary: of the ODE as it is solved, and as they are known.

    Columns: ``sigma``; ``lipschitz``, the largest slope between neighbours 1e-5 apart of the solved map, and
    ``exact_lipschitz``, ``sigma exp(1 / (2 sigma^2))``; ``rate``, at which the solved flow parts neighbours where it
    ends, over ``beta``, and ``exact_rate``, that of Proposition 4.1 of Lobashev et al. (2025).
    """
    rows = []
    for sigma in sigmas:
        flow, pair = pair_flow(sigma), ModePair(sigma)
        line = np.arange(-5, 6)[:, None] * FINE
        slopes = np.diff(flow.map(line)[:, 0]) / FINE
        levels = (0.0, 1 - 2 * SHORT, 1 - SHORT, 1.0)
        first, second, last = np.log(flow.path(np.full((1, 1), NEAR), levels)[1:, 0, 0])
        rate = (3 * last - 4 * second + first) / (2 * SHORT) / 2
        rows.append((sigma, float(slopes.max()), pair.lipschitz, rate, pair.rate()))
    return pd.DataFrame(rows, columns=["sigma", "lipschitz", "exact_lipschitz", "rate", "exact_rate"])


def steps_table(sigmas: Sequence[float], counts: Sequence[int]) -> pd.DataFrame:
    """Stretching at the boundary by DDIM with some steps, as a share of the exact one: ``sigma, steps, share``."""
    rows = [
        (
            sigma,
            count,
            pair_flow(sigma).sample(np.full((1, 1), NEAR), count)[0, 0] / NEAR / ModePair(sigma).lipschitz,
        )
        for sigma in sigmas
        for count in counts
    ]
    return pd.DataFrame(rows, columns=["sigma", "steps", "share"])


def noise_table(
    sigma: float, steps: int, etas: Sequence[float], latents: np.ndarray, rules: Sequence[str]
) -> pd.DataFrame:
    """The exact Fisher metric across the boundary of a sampler with noise: ``eta_rule, eta, latent, metric``."""
    tables = []
    for rule in rules:
        for eta in etas:
            system = NoisyFlow(pair_flow(sigma), steps=steps, eta=eta, eta_rule=rule)
            metric = system.fisher_metric(latents[:, None])[:, 0, 0]
            about = {"eta_rule": rule, "eta": eta}
            tables.append(pd.DataFrame({**about, "latent": latents, "metric": metric}))
    return pd.concat(tables, ignore_index=True)


def contrast_table(noise: pd.DataFrame) -> pd.DataFrame:
    """How much of a boundary is left: ``eta_rule, eta, contrast, width`` of each profile of ``noise_table``.

    ``contrast`` is the metric at its largest over that at its least, ``width`` the range of latents where it is above
    the middle of both; NaN where it reaches the end of the profile.
    """
    rows = []
    for (rule, eta), profile in noise.groupby(["eta_rule", "eta"], sort=False):
        latent, metric = profile["latent"].to_numpy(), profile["metric"].to_numpy()
        above = np.flatnonzero(metric >= (metric.max() + metric.min()) / 2)
        inner = above[0] > 0 and above[-1] < len(metric) - 1
        width = latent[above[-1]] - latent[above[0]] if inner else math.nan
        rows.append((rule, eta, metric.max() / metric.min(), width))
    return pd.DataFrame(rows, columns=["eta_rule", "eta", "contrast", "width"])
