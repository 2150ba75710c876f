"""How sharp the boundary of two modes is, and how near drawn boundaries come to those of a flow in the plane."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.spatial import cKDTree

from hessgeo.grids import Grid
from hessgeo.phases.boundaries import BoundaryLine, TriplePoint
from hessgeo.systems.solvable.mixture_flow import MixtureFlow
from hessgeo.systems.solvable.mode_pair import ModePair
from hessgeo.systems.solvable.noisy_flow import NoisyFlow

NEAR = 1e-7  # latent that stands for the slope at the boundary: the next term is the square of it
FINE = 1e-5  # between latents whose difference is a slope: a boundary is 1e-3 wide at sigma = .25
SHORT = 1e-4  # of the level, over which a rate is measured
DENSE = 8  # places of a drawn line in each grid step that are held against the exact one


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


def exact_boundaries(flow: MixtureFlow, grid: Grid, *, count: int = 1201) -> Float[np.ndarray, "m 2"]:
    """Places of all boundaries of a flow of the plane within a box, ``count`` of each line before it is cut."""
    low, high = np.array(grid.extent).T
    reach = float(np.linalg.norm(np.maximum(np.abs(low), np.abs(high))))
    pairs = combinations(range(len(flow.modes)), 2)
    lines = [flow.boundary(i, j, reach=reach, count=count) for i, j in pairs]
    places = np.concatenate([np.empty((0, 2)), *(line for line in lines if line is not None)])
    return places[((places >= low) & (places <= high)).all(axis=1)]


def drawn_errors(
    lines: Sequence[BoundaryLine],
    corners: Sequence[TriplePoint],
    flow: MixtureFlow,
    grid: Grid,
    *,
    exact: Float[np.ndarray, "m 2"] | None = None,
) -> dict[str, float]:
    """How far boundaries that were drawn lie from those of a flow, in grid steps.

    Places along drawn lines against the nearest exact one, and the other way round, so that neither a line too many nor
    one that is missing goes unseen: ``median``, ``upper`` (nine in ten), ``largest``; and of each exact triple point in
    the box the nearest drawn one: ``triple`` (the farthest of them), NaN if there are none.

    Raises:
        ValueError: if no line was drawn, or the steps of the grid differ.
    """
    step = grid.spacing[0]
    if not np.allclose(grid.spacing, step):
        raise ValueError(f"steps of the grid are {grid.spacing}, must be alike to measure distances in them")
    if not lines:
        raise ValueError("no line was drawn, must be at least one")
    places = np.concatenate([_dense(line.points, step) for line in lines])
    known = exact_boundaries(flow, grid) if exact is None else exact
    error = np.concatenate([cKDTree(known).query(places)[0], cKDTree(places).query(known)[0]]) / step
    low, high = np.array(grid.extent).T
    meetings = [place for _, place in flow.triple_points() if ((place >= low) & (place <= high)).all()]
    drawn = np.array([corner.point for corner in corners]).reshape(-1, 2)
    apart = [np.linalg.norm(drawn - place, axis=1).min(initial=math.inf) / step for place in meetings]
    return {
        "median": float(np.median(error)),
        "upper": float(np.quantile(error, 0.9)),
        "largest": float(error.max()),
        "triple": float(max(apart, default=math.nan)),
    }


def _dense(points: Float[np.ndarray, "m 2"], step: float) -> Float[np.ndarray, "k 2"]:
    """Places along a line, at least ``DENSE`` a step."""
    parts = [points[-1:]]
    for start, stop in pairwise(points):
        count = max(math.ceil(DENSE * float(np.linalg.norm(stop - start)) / step), 1)
        parts.append(start + np.arange(count)[:, None] / count * (stop - start))
    return np.concatenate(parts)
