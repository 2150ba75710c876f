"""The ways from samples to a posterior that a study's settings choose between; blocks of rows need no torch."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from hessgeo.grids import Grid
from hessgeo.posteriors import Posterior, choose_resolution
from hessgeo.posteriors.bundles import Images, resize_images
from hessgeo.posteriors.distance import block_rows, distance_rows
from hessgeo.posteriors.kernels import Rows
from hessgeo.posteriors.row_files import Start
from hessgeo.posteriors.strips import RowProblem, strip_count, whole_posterior
from hessgeo.posteriors.tiles import cut_tiles


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
    start = Start(*_resolution(embedding, t, grid, settings, seed))
    with row_problem(embedding, t, grid, settings, start, threads=threads, device=device) as problem:
        about = about_rows(settings, start)
        result = whole_posterior(problem, t, threads=threads, progress=progress, **about)
    return result, {"chosen": start.chosen, **left_out(result)}


def _resolution(
    embedding: Rows, t: Float[np.ndarray, "n axis"], grid: Grid, settings: Mapping[str, Any], seed: int
) -> tuple[float, bool]:
    """The resolution number, and whether it was chosen from the data."""
    automatic = settings["resolution"] == "auto"
    if automatic:
        rule = {key: settings[key] for key in ("kernel", "cells", "quantile", "sources")}
        resolution = choose_resolution(embedding, t, **rule, seed=seed, grid=grid)
    else:
        resolution = float(settings["resolution"])
    logging.getLogger(__name__).info("resolution N = %.6g", resolution)
    return resolution, automatic


def start_rows(
    embedding: Rows, t: Float[np.ndarray, "n axis"], grid: Grid, settings: Mapping[str, Any], *, seed: int
) -> Start:
    """What jobs start from that share the rows of a posterior: its resolution and, by neighbours, its tiles.

    Args:
        embedding: as in ``distance_posterior``, and so are the others.
        t: parameters.
        grid: the nodes.
        settings: ``posterior`` of a study.
        seed: of the choice of the resolution.
    """
    found = _resolution(embedding, t, grid, settings, seed)
    return Start(*found, cut=cut_tiles(embedding) if settings["method"] == "neighbours" else None)


def about_rows(settings: Mapping[str, Any], start: Start) -> dict[str, Any]:
    """What is said of a posterior beside its arrays."""
    return {key: settings[key] for key in ("kernel", "exclude_self")} | {"resolution": start.resolution}


def count_strips(settings: Mapping[str, Any], start: Start, samples: int) -> int:
    """Strips of a posterior of so many samples, as ``row_problem`` will have them."""
    if start.cut is not None:
        return strip_count(len(start.cut.starts) - 1)
    return strip_count(-(-samples // block_rows(samples, memory_mb=settings["memory_mb"])))


@contextmanager
def row_problem(
    embedding: Rows,
    t: Float[np.ndarray, "n axis"],
    grid: Grid,
    settings: Mapping[str, Any],
    start: Start,
    *,
    threads: int = 1,
    device: str = "cpu",
) -> Iterator[RowProblem]:
    """The rows of a posterior, to be reduced in a ``with`` block; arguments as in ``distance_posterior``."""
    options = {key: settings[key] for key in ("neighbours", "memory_mb")} | about_rows(settings, start)
    coarse = settings["coarse"]
    options["coarse"] = Grid(grid.extent, tuple(coarse)) if coarse else None
    if settings["method"] == "blocks" and 4 * math.prod(embedding.shape) <= settings["memory_mb"] * 2**20:
        yield distance_rows(np.asarray(embedding), t, **options)
        return
    with tempfile.TemporaryDirectory(prefix="hessgeo-") as scratch:
        if settings["method"] == "blocks":
            yield distance_rows(embedding, t, **options, file=Path(scratch, "factors.f4"))
            return
        from hessgeo.posteriors.neighbours import neighbour_rows, single_threads

        # What is read in slices does not fit into memory, and its sorted copy goes into a file.
        file = None if isinstance(embedding, np.ndarray) else Path(scratch, "embedding.f4")
        options |= {"missing": settings["missing"], "cut": start.cut, "file": file, "device": device}
        with single_threads():
            yield neighbour_rows(embedding, t, **options, threads=threads if device == "cpu" else 1)


def posterior_numbers(result: Posterior, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a posterior: those given, and how many samples its rows spread over."""
    low, median, high = np.quantile(result.effective_cells, [0.05, 0.5, 0.95])
    cells = {"effective_cells_05": low, "effective_cells_median": median, "effective_cells_95": high}
    about = {"resolution": result.resolution, "kernel": result.kernel, **numbers}
    return {**about, "samples": len(result.t), **cells}


def left_out(result: Posterior) -> dict[str, float]:
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
    from hessgeo.posteriors.network import load_network, network_posterior
    from hessgeo.posteriors.network_calibration import calibrate

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
