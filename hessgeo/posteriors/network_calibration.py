"""How far the posterior network can be trusted: likelihood, coverage and calibration on held-out samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from hessgeo.grids import bilinear_weights
from hessgeo.numerics.training import split_samples
from hessgeo.posteriors.bundles import candidates, draw_bundles, smoothed_targets
from hessgeo.posteriors.calibration import LEVELS, RankTests, drawn_points, region_mass
from hessgeo.posteriors.network import PosteriorNetwork, check_images


def calibrate(
    network: PosteriorNetwork,
    images: UInt8[np.ndarray, "n a b c"],
    t: Float[np.ndarray, "n 2"],
    *,
    sources: int = 2048,
    batch_size: int = 256,
    seed: int = 0,
) -> dict[str, Any]:
    """Likelihood and coverage of the network's posterior for bundles of held-out samples, and of training ones beside.

    Bundles of held-out samples hold no training image. Each part of the result, ``held_out`` and ``training``, has

    - ``nll``: cross-entropy of the smoothed position, nats (Eqs. 125-128); ``nll_uniform``: of the uniform
      posterior, zero skill; ``nll_floor``: the entropy of the smoothed position itself, which no network goes
      below; ``skill``: the share of the way from uniform to floor;
    - ``coverage_50``, ``coverage_90``: share of the smoothed positions within the highest-posterior-density
      region of that mass, nominal for a calibrated network; ``calibration_error``: the mean distance from
      nominal over masses of 5 % to 95 %;
    - ``coverage_50_position``, ``coverage_90_position``: the same of the positions themselves, which are nearer
      to the middle of the posterior than smoothed ones, so above nominal where sigma is not small against it;
    - ``bundle_spread``: root mean square distance of a bundle's images from their source, in units of sigma.

    Args:
        network: the trained network.
        images: of every sample it was trained and tested with, at the size of its grid.
        t: their parameters.
        sources: bundles of each part, at most, one a source.
        batch_size: bundles at once.
        seed: of the sources and bundles.

    Raises:
        ValueError: if the images are not those of ``t`` at the grid's size, or are not the samples of the training.
    """
    pools = _pools(network, images, t)
    rng = np.random.default_rng(seed)
    result: dict[str, Any] = {}
    for name, pool in pools.items():
        chosen = np.sort(rng.choice(pool, min(sources, len(pool)), replace=False))
        result[name] = _judge(network, images, np.asarray(t, dtype=float), chosen, pool, batch_size, rng)
    return result


def held_out_ranks(
    network: PosteriorNetwork,
    images: UInt8[np.ndarray, "n a b c"],
    t: Float[np.ndarray, "n 2"],
    *,
    sources: int = 1024,
    batch_size: int = 256,
    seed: int = 0,
) -> tuple[Int[np.ndarray, "s"], Float[np.ndarray, "s test"]]:
    """Ranks of smoothed positions in the network's posteriors of bundles of held-out samples, see ``RankTests``.

    The targets of the training are smoothed (Eqs. 125-128), so the network's posterior is that of a position with
    normal noise of width ``sigma``, rounded to a node; such a one is drawn for every source. Bundles of neighbours may
    share an image: what little they depend on each other makes ranks a little less even than independent ones.

    Args:
        network: the trained network.
        images: as in ``calibrate``.
        t: their parameters.
        sources: at most, one bundle each.
        batch_size: bundles at once.
        seed: of the sources, the bundles and the ranks.

    Returns:
        The sources and their ranks, along ``rank_names``.

    Raises:
        ValueError: as ``calibrate``.
    """
    config, t = network.config, np.asarray(t, dtype=float)
    pool, rng = _pools(network, images, t)["held_out"], np.random.default_rng(seed)
    chosen = np.sort(rng.choice(pool, min(sources, len(pool)), replace=False))
    offered = candidates(t, chosen, pool, config.grid, bundle=config.bundle, neighbours=config.neighbours)
    members, uniform = draw_bundles(offered, config.bundle, rng), rng.random(len(chosen))
    nodes, targets = config.grid.points, smoothed_targets(config.grid, config.sigma)
    tests, parts = RankTests.draw(nodes, len(chosen), seed), []
    for start in range(0, len(chosen), batch_size):
        rows = slice(start, start + batch_size)
        p = network.log_posterior(images[members[rows]]).exp().cpu().numpy()
        truth = nodes[drawn_points(targets(t[chosen[rows]]), uniform[rows])]
        parts.append(tests.ranks(p, truth, rows))
    return chosen, np.concatenate(parts)


def _pools(
    network: PosteriorNetwork, images: UInt8[np.ndarray, "n a b c"], t: Float[np.ndarray, "n 2"]
) -> dict[str, Int[np.ndarray, "m"]]:
    """The samples of the network's training, and those that were held out of it."""
    config = network.config
    check_images(config, images, t)
    if len(t) != config.samples:
        raise ValueError(f"the network was trained with {config.samples} samples, not {len(t)}")
    training, held_out = split_samples(len(t), held_out=config.held_out, seed=config.seed)
    return {"training": training, "held_out": held_out}


def _judge(
    network: PosteriorNetwork,
    images: UInt8[np.ndarray, "n a b c"],
    t: Float[np.ndarray, "n 2"],
    chosen: Int[np.ndarray, "s"],
    pool: Int[np.ndarray, "p"],
    batch_size: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """The figures of one part."""
    config, grid = network.config, network.config.grid
    offered = candidates(t, chosen, pool, grid, bundle=config.bundle, neighbours=config.neighbours)
    members = draw_bundles(offered, config.bundle, rng)
    targets = smoothed_targets(grid, config.sigma)
    nll = floor = 0.0
    smoothed, exact = np.zeros(len(LEVELS)), np.zeros(len(LEVELS))
    for start in range(0, len(chosen), batch_size):
        rows = slice(start, start + batch_size)
        log_p = network.log_posterior(images[members[rows]]).cpu().numpy()
        target = targets(t[chosen[rows]])
        nll -= float((target * log_p).sum())
        floor -= float((target * np.log(np.maximum(target, 1e-300))).sum())
        smoothed += region_mass(np.exp(log_p), target, LEVELS).sum(axis=0)
        on_nodes = np.asarray(bilinear_weights(t[chosen[rows]], grid).todense())
        exact += region_mass(np.exp(log_p), on_nodes, LEVELS).sum(axis=0)
    n, uniform = len(chosen), float(np.log(grid.size))
    nll, floor, smoothed, exact = nll / n, floor / n, smoothed / n, exact / n
    offset = (t[members] - t[chosen, None]) / np.array(config.sigma)
    at = {level: int(np.abs(LEVELS - level / 100).argmin()) for level in (50, 90)}
    return {
        "bundles": n,
        "nll": nll,
        "nll_uniform": uniform,
        "nll_floor": floor,
        "skill": (uniform - nll) / (uniform - floor),
        **{f"coverage_{level}": float(smoothed[k]) for level, k in at.items()},
        **{f"coverage_{level}_position": float(exact[k]) for level, k in at.items()},
        "calibration_error": float(np.abs(smoothed - LEVELS).mean()),
        "bundle_spread": float(np.sqrt((offset**2).sum(axis=-1).mean())),
    }
