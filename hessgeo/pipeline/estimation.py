"""The two ways from samples to a posterior that a study's settings choose between."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from hessgeo.grids import Grid
from hessgeo.posteriors import Posterior, choose_resolution, neighbour_posterior, posterior
from hessgeo.posteriors.bundles import Images, resize_images
from hessgeo.posteriors.network import load_network, network_posterior
from hessgeo.posteriors.network_calibration import calibrate
from hessgeo.posteriors.tiles import Rows


@contextmanager
def resized_images(images: Images, shape: tuple[int, ...]) -> Iterator[UInt8[np.ndarray, "n a b c"]]:
    """All images at the size of a grid, in a temporary file that is mapped into memory, for a ``with`` block.

    Only the parts in use are held in memory, however many images there are.

    Args:
        images: ``uint8`` of shape ``(n, h, w, c)``, read block by block.
        shape: of the grid.
    """
    with tempfile.TemporaryDirectory(prefix="hessgeo-") as scratch:
        full = (images.shape[0], *shape, images.shape[-1])
        small: np.memmap = np.memmap(Path(scratch, "images.u1"), dtype=np.uint8, mode="w+", shape=full)
        yield resize_images(images, shape, out=small, progress=True)


def distance_posterior(
    embedding: Rows,
    t: Float[np.ndarray, "n axis"],
    grid: Grid,
    settings: Mapping[str, Any],
    *,
    seed: int,
    threads: int = 1,
    device: str = "cpu",
    progress: bool = True,
) -> tuple[Posterior, dict[str, Any]]:
    """The posterior of embedding distances (Eq. 19), at the resolution of the settings or one chosen from the data.

    Args:
        embedding: of every sample, in memory; for the method ``neighbours`` it may be read in slices.
        t: their parameters.
        grid: the nodes that are to carry it, which no chosen resolution makes it narrower than; and the box.
        settings: ``posterior`` of a study.
        seed: of the sources that the choice of the resolution looks at.
        threads: threads that work at once.
        device: where to compute by ``neighbours``.
        progress: show a bar.

    Returns:
        The posterior, and what is worth reporting of it.
    """
    automatic = settings["resolution"] == "auto"
    if automatic:
        rule = {key: settings[key] for key in ("kernel", "cells", "quantile", "sources")}
        resolution = choose_resolution(np.asarray(embedding), t, **rule, seed=seed, grid=grid)
    else:
        resolution = float(settings["resolution"])
    logging.getLogger(__name__).info("resolution N = %.6g", resolution)
    options = {key: settings[key] for key in ("kernel", "exclude_self", "neighbours", "memory_mb")}
    coarse = settings["coarse"]
    options["coarse"] = Grid(grid.extent, tuple(coarse)) if coarse else None
    options |= {"resolution": resolution, "threads": threads, "progress": progress}
    if settings["method"] == "blocks":
        return posterior(np.asarray(embedding), t, **options), {"chosen": automatic}
    with tempfile.TemporaryDirectory(prefix="hessgeo-") as scratch:
        # What is read in slices does not fit into memory, and its sorted copy goes into a file.
        file = None if isinstance(embedding, np.ndarray) else Path(scratch, "embedding.f4")
        result = neighbour_posterior(
            embedding, t, **options, missing=settings["missing"], file=file, device=device
        )
    return result, {"chosen": automatic, **_left_out(result)}


def _left_out(result: Posterior) -> dict[str, float]:
    """What is worth reporting of a posterior by neighbours: bounds of the mass left out, and samples summed."""
    if result.missing is None or result.seen is None:
        return {}
    return {
        "missing_largest": float(result.missing.max()),
        "missing_99": float(np.quantile(result.missing, 0.99)),
        "seen_share": float(result.seen.mean() / len(result.t)),
        "seen_median": float(np.median(result.seen)),
        "seen_largest": int(result.seen.max()),
    }


def trained_posterior(
    folder: str | Path,
    images: Images,
    t: Float[np.ndarray, "n axis"],
    settings: Mapping[str, Any],
    *,
    seed: int,
    device: str = "cpu",
) -> tuple[Posterior, dict[str, Any]]:
    """The posterior of a trained network (App. B.3), with its calibration on held-out samples.

    Args:
        folder: of the network.
        images: of every sample, ``uint8`` of shape ``(n, h, w, c)``.
        t: their parameters.
        settings: ``posterior.network`` of a study.
        seed: of the bundles.
        device: where the network runs.

    Returns:
        The posterior, and what is worth reporting of it.
    """
    network = load_network(folder, device=device)
    config = network.config
    with resized_images(images, config.shape) as small:
        options = {key: settings[key] for key in ("draws", "rows")}
        result = network_posterior(network, small, t, **options, seed=seed, progress=True)
        calibration = calibrate(network, small, t, seed=seed)
    losses = config.training["losses"]
    numbers = {
        "sigma": config.sigma,
        "largest_metric": config.largest_metric,
        "training_loss_first_epoch": losses[0],
        "training_loss_last_epoch": losses[-1],
        "training_seconds": config.training["seconds"],
        "network_parameters": sum(weights.numel() for weights in network.net.parameters()),
        "calibration": calibration,
    }
    return result, numbers
