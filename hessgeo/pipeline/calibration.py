"""The calibration of a study: of its posterior, as far as that has a meaning, and of the fit to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int, UInt8

from hessgeo.evaluation.posterior_rows import fitted_rows, measured_rows
from hessgeo.grids import Grid
from hessgeo.posteriors import Posterior
from hessgeo.posteriors.calibration import RankTests, drawn_points, judge_ranks, rank_names

if TYPE_CHECKING:
    from hessgeo.posteriors.network import PosteriorNetwork

SOURCES = 1024  # at most: a band of .04 about the diagonal
_ROWS = 128  # posteriors at once
TRUTHS = {
    "held-out": "a smoothed position of samples that the network was not trained on",
    "source": "the source itself",
    "drawn": "a draw from the measured posterior",
}


def calibrate_study(
    posterior: Posterior,
    embedding: Float[np.ndarray, "n d"],
    free_energy: xr.Dataset,
    grid: Grid,
    *,
    seed: int,
    network: PosteriorNetwork | None = None,
    images: UInt8[np.ndarray, "n h w c"] | None = None,
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Ranks of the truth in measured and in fitted posteriors, and what they say.

    In the measured posterior: of a network that of held-out samples, of distances the source itself, which says of a
    deterministic sampler how much wider the chosen resolution is than what its samples tell, and no more. In the fitted
    one: a draw from the measured posterior of the same source. See ``hessgeo.posteriors.calibration``.

    Args:
        posterior: of the samples.
        embedding: of them; a network's posterior holds its own rows.
        free_energy: the fit, on the nodes of ``grid``.
        grid: the nodes.
        seed: of sources and ranks.
        network: whose posterior it is, or None: of distances.
        images: of every sample, at the size of the network.

    Returns:
        ``measured (source, test)`` and ``fitted (fitted_source, test)``, their sources' parameters, and the numbers.

    Raises:
        ValueError: if a network comes without images.
    """
    # A network's posterior has nodes of its own, and the rows of some sources.
    own = None if posterior.support is None else posterior.carrier(grid)
    nodes, known = own or grid, np.arange(len(posterior.t))
    known = known if posterior.row_sources is None else posterior.row_sources
    chosen = _some(known, seed)
    tests, uniform = (
        RankTests.draw(nodes.points, len(chosen), seed),
        np.random.default_rng([seed, 1]).random(len(chosen)),
    )
    measured, fitted = [], []
    for start in range(0, len(chosen), _ROWS):
        rows = slice(start, start + _ROWS)
        sources = chosen[rows]
        p = measured_rows(posterior, embedding, sources, nodes)
        q = fitted_rows(free_energy, posterior.t, sources, grid, carrier=own)
        fitted.append(tests.ranks(q, nodes.points[drawn_points(p, uniform[rows])], rows))
        if network is None:
            measured.append(tests.ranks(p, posterior.t[sources], rows))
    truth, among = "source", chosen
    if network is None:
        ranks = np.concatenate(measured)
    elif images is None:
        raise ValueError("the calibration of a network's posterior needs its images")
    else:
        from hessgeo.posteriors.network_calibration import held_out_ranks

        truth = "held-out"
        among, ranks = held_out_ranks(network, images, posterior.t, sources=SOURCES, seed=seed)
    return _reported(
        posterior, {"measured": (truth, among, ranks), "fitted": ("drawn", chosen, np.concatenate(fitted))}
    )


def _some(known: Int[np.ndarray, "n"], seed: int) -> Int[np.ndarray, "s"]:
    """At random, so that none of a grid's rows and columns are left out."""
    if len(known) <= SOURCES:
        return known
    return np.sort(np.random.default_rng(seed).choice(known, SOURCES, replace=False))


def _reported(
    posterior: Posterior, found: dict[str, tuple[str, Int[np.ndarray, "s"], Float[np.ndarray, "s test"]]]
) -> tuple[xr.Dataset, dict[str, Any]]:
    names = rank_names(posterior.t.shape[1])
    fields: dict[str, Any] = {}
    numbers: dict[str, Any] = {}
    for name, (truth, sources, ranks) in found.items():
        about, verdict = f"{name}_source", judge_ranks(ranks, names)
        fields[name] = (
            (about, "test"),
            ranks,
            {"truth": truth, "verdict": verdict.words, "p_value": verdict.p_value},
        )
        fields[f"{name}_t"] = ((about, "i"), posterior.t[sources])
        numbers[name] = {
            "truth": TRUTHS[truth],
            "posteriors": len(ranks),
            "calibrated": verdict.calibrated,
            "verdict": verdict.words,
            "p_value": verdict.p_value,
            **verdict.coverage,
            "by_test": verdict.by_test,
        }
    axes = ["a", "b"][: posterior.t.shape[1]]
    return xr.Dataset(fields, coords={"test": list(names), "i": axes}), numbers
