"""Rounds of new images for a study, where a boundary or its embedding is least known, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float, Int, UInt8

from hessgeo import store
from hessgeo.grids import AXES, Grid
from hessgeo.phases.adaptive import AdaptiveSamples, resume
from hessgeo.phases.zoomed import nearest_reference
from hessgeo.systems.base import System

BATCH = 64  # images embedded at once, always as many: what else is in a batch must not show in a vector


def nodes_within(grid: Grid, fine: Grid) -> Int[np.ndarray, "n"]:
    """Rows in a finer grid of the nodes of one that it was halved from."""
    every = [(there - 1) // (here - 1) for here, there in zip(grid.shape, fine.shape, strict=True)]
    rows = np.arange(fine.size).reshape(fine.shape)
    return rows[:: every[0], :: every[1]].ravel()


def refined_so_far(
    embedding: Float[np.ndarray, "n d"],
    medoids: Sequence[int],
    rounds: Sequence[xr.Dataset],
    grid: Grid,
    fine: Grid,
    settings: Mapping[str, Any],
) -> tuple[AdaptiveSamples, Int[np.ndarray, "m"]]:
    """How far the rounds of a study have come, and the nodes that the next one is to sample: none if it has ended.

    Args:
        embedding: of the study's nodes, the first round.
        medoids: of its phases, whose nearest one is the label of an image.
        rounds: what jobs made after it: ``index`` in the fine grid, and ``embedding``.
        grid: the study's nodes.
        fine: the nodes that may be sampled.
        settings: ``by``, ``error`` and ``images`` of ``refine``.
    """
    index = np.concatenate([nodes_within(grid, fine), *(part["index"].to_numpy() for part in rounds)])
    vectors = np.concatenate([embedding, *(part["embedding"].to_numpy() for part in rounds)]).astype(float)
    by_boundary = settings["by"] == "boundary"
    outputs = nearest_reference(embedding[list(medoids)])(vectors) if by_boundary else vectors
    error, images = settings["error"] or 1 / (min(fine.shape) - 1), settings["images"]
    most = None if images is None else grid.size + images
    start = grid.shape[0], grid.shape[1]
    return resume(fine, index, outputs, error=error, start=start, images=most)


def read_rounds(
    inputs: Any, params: Any
) -> tuple[AdaptiveSamples, Int[np.ndarray, "m"], Float[np.ndarray, "k d"]]:
    """``refined_so_far`` of what the rules of a refinement are given, and the vectors of the medoids."""
    grid, embedding = Grid(**params.grid), store.read_array(params.store, params.array)
    fine = Grid(grid.extent, tuple(params.shape))
    medoids = [phase["medoid"] for phase in store.read_json(inputs.phases)["phases"]]
    rounds = list(map(store.read_dataset, inputs.rounds))
    found, left = refined_so_far(embedding, medoids, rounds, grid, fine, params.refine)
    return found, left, embedding[medoids]


def sample_nodes(
    index: Int[np.ndarray, "n"], fine: Grid, system: System, features: Any, *, first: int, seed: int
) -> xr.Dataset:
    """Images of some nodes and their embedding.

    Args:
        index: rows of the nodes; none is allowed.
        fine: their grid.
        system: of the study.
        features: from images to vectors.
        first: the sample that the first node of the grid is counted as, after those of the study.
        seed: of the study.
    """
    images = system.sample(fine.points[index], first + index, seed)
    vectors = [_embedded(features, images[k : k + BATCH]) for k in range(0, len(index), BATCH)]
    return _round(index, images, np.concatenate(vectors))


def no_nodes(image_shape: Sequence[int], dimension: int) -> xr.Dataset:
    """What a job makes that has nothing to sample."""
    return _round(
        np.empty(0, dtype=np.int64),
        np.empty((0, *image_shape), np.uint8),
        np.empty((0, dimension), np.float32),
    )


def _embedded(features: Any, images: UInt8[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n d"]:
    padded = images[np.resize(np.arange(len(images)), BATCH)]
    return np.asarray(features(padded))[: len(images)]


def _round(index: np.ndarray, images: np.ndarray, vectors: np.ndarray) -> xr.Dataset:
    return xr.Dataset(
        {
            "index": (("sample",), index.astype(np.int64)),
            "image": (("sample", "y", "x", "channel"), images),
            "embedding": (("sample", "feature"), vectors.astype(np.float32)),
        }
    )


def describe_refinement(
    found: AdaptiveSamples, left: Int[np.ndarray, "m"], medoids: Float[np.ndarray, "k d"]
) -> tuple[xr.Dataset, pd.DataFrame, dict[str, Any]]:
    """The refined map, the samples, and the numbers of a refinement.

    Args:
        found: the samples.
        left: nodes that rounds were too few for.
        medoids: typical vectors of the phases.

    Returns:
        ``label`` and ``round`` (-1 where there is no sample) on the finest nodes; a row a sample; numbers.
    """
    fine, filled = found.grid, found.filled()
    label = filled if filled.ndim == 1 else nearest_reference(medoids)(filled)
    number = np.full(fine.size, -1)
    ends = np.array(found.rounds)
    number[found.index] = np.searchsorted(ends, np.arange(len(found.index)), side="right")
    a, b = fine.axes
    fields = {"label": label.astype(int), "round": number}
    maps = xr.Dataset(
        {name: (AXES, values.reshape(fine.shape)) for name, values in fields.items()}, {"a": a, "b": b}
    )
    t = found.t
    table = pd.DataFrame(
        {"round": number[found.index], "a": t[:, 0], "b": t[:, 1], "label": label[found.index]}
    )
    numbers = {
        "study_images": found.rounds[0],
        "new_images": len(found.index) - found.rounds[0],
        "finest_nodes": list(fine.shape),
        "uniform_images": fine.size,
        "share": len(found.index) / fine.size,
        "rounds": [int(count) for count in found.rounds],
        "left": len(left),
        "error": found.error,
        "reached": found.reached,
        "converged": found.converged,
        "by": "boundary" if found.outputs.ndim == 1 else "embedding",
    }
    return maps, table, numbers
