"""The maps of phases of one study by other means: other extractors, resolutions and grids, and replicates of each."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from hessgeo.features.shrunk import shrunk
from hessgeo.grids import Grid
from hessgeo.metrics.measured import embedding_metric, posterior_metric
from hessgeo.phases.replicates import embedding_noise, replicate
from hessgeo.pipeline.phase_chain import phase_map
from hessgeo.posteriors import posterior

PIXELS = 16  # along the shorter side of what counts as raw pixels; larger images are shrunk to it
MOST = 64  # principal components of an extractor's features, beyond which there is little but rounding
COMPONENTS = 8  # of pixels, of the extractor ``components``

Labels = Int[np.ndarray, "*nodes"]


def principal(features: Float[np.ndarray, "n d"], count: int) -> Float[np.ndarray, "n e"]:
    """The ``count`` principal components of features, or the features about their mean if they are no more."""
    centred = np.asarray(features, dtype=float)
    centred = centred - centred.mean(axis=0)
    if centred.shape[1] <= count:
        return centred
    _, axes = np.linalg.eigh(centred.T @ centred)
    return centred @ axes[:, : -count - 1 : -1]


def small_images(images: UInt8[np.ndarray, "n h w c"], side: int) -> Float[np.ndarray, "n d"]:
    """Grey values in [0, 1] of images with at most ``side`` pixels along the shorter side."""
    import torch
    from torch.nn import functional

    size = shrunk((images.shape[1], images.shape[2]), side)
    blocks = []
    for block in np.array_split(images, max(1, len(images) // 256)):
        x = torch.from_numpy(np.ascontiguousarray(block)).movedim(-1, 1).double()
        blocks.append(functional.interpolate(x, size, mode="bilinear", antialias=True).flatten(1).numpy())
    return np.concatenate(blocks) / 255


def extractor_features(
    names: Sequence[str],
    embedding: Float[np.ndarray, "n d"],
    images: UInt8[np.ndarray, "n h w c"],
    classifier: str | None,
) -> dict[str, Float[np.ndarray, "n e"]]:
    """Features of every node by extractor, at most 64 principal components of each.

    Args:
        names: of ``pixels``, ``shrunk`` (half of them a side), ``components`` (eight principal ones of pixels) and
            ``classifier`` (its hidden layer), beside ``embedding``, which is always there.
        embedding: of the study.
        images: of every node.
        classifier: folder of the digit classifier; without it ``classifier`` is left out.
    """
    found = {"embedding": principal(embedding, MOST)}
    side = min(PIXELS, *images.shape[1:3])
    pixels = small_images(images, side) if set(names) & {"pixels", "components"} else np.empty((0, 0))
    for name in names:
        if name == "pixels":
            found[name] = principal(pixels, MOST)
        elif name == "components":
            found[name] = principal(pixels, COMPONENTS)
        elif name == "shrunk":
            found[name] = principal(small_images(images, max(2, side // 2)), MOST)
        elif classifier is None:
            logging.getLogger(__name__).info("without the extractor classifier: the images are no digits")
        else:
            from hessgeo.models.digit_classifier import load_classifier
            from hessgeo.models.digit_features import hidden_features

            found[name] = principal(hidden_features(load_classifier(classifier), images), MOST)
    return found


def measured_phases(
    features: Float[np.ndarray, "*nodes d"], grid: Grid, settings: Mapping[str, Any]
) -> Labels:
    """Phases of the metric measured from embeddings, in a box that is made a square."""
    return _phases(embedding_metric(features, grid), grid, settings)


def _phases(metric: Float[np.ndarray, "*nodes axis axis"], grid: Grid, settings: Mapping[str, Any]) -> Labels:
    largest = np.linalg.eigvalsh(metric * np.outer(grid.square, grid.square))[..., -1]
    if not (largest > 0).any():  # all embeddings alike: nothing parts them
        return np.ones(grid.shape, np.int32)
    return phase_map(largest, grid, settings).label


def replicate_phases(
    features: Float[np.ndarray, "n d"], grid: Grid, settings: Mapping[str, Any], *, count: int, seed: int
) -> list[Labels]:
    """Phases of replicates; the same draw of nodes for every extractor, so that pairs can be compared draw by draw."""
    nodes = features.reshape(*grid.shape, -1)
    noise = embedding_noise(nodes)
    return [
        measured_phases(replicate(nodes, noise, np.random.default_rng([seed, k])), grid, settings)
        for k in range(count)
    ]


def thinned_phases(
    features: Float[np.ndarray, "n d"], grid: Grid, stride: int, settings: Mapping[str, Any]
) -> Labels:
    """Phases of every ``stride``-th node along each axis; the other nodes have the phase of the nearest of them."""
    kept = [np.arange(0, nodes, stride) for nodes in grid.shape]
    coarse = Grid(
        tuple((float(axis[own[0]]), float(axis[own[-1]])) for axis, own in zip(grid.axes, kept, strict=True)),
        tuple(len(own) for own in kept),
    )
    nodes = features.reshape(*grid.shape, -1)[np.ix_(*kept)]
    label = measured_phases(nodes, coarse, settings)
    nearest = [
        np.minimum((np.arange(nodes) + stride // 2) // stride, len(own) - 1)
        for nodes, own in zip(grid.shape, kept, strict=True)
    ]
    return label[np.ix_(*nearest)]


def resolved_phases(
    embedding: Float[np.ndarray, "n d"],
    grid: Grid,
    resolution: float,
    kernel: str,
    settings: Mapping[str, Any],
    *,
    threads: int = 1,
) -> Labels:
    """Phases at a resolution number, of the metric that the widths of the posteriors show: no fit is made.

    A posterior on one node is narrower than the grid can tell: its metric counts as the largest of all.
    """
    data = posterior(embedding, grid.points, kernel=kernel, resolution=resolution, threads=threads)
    metric = posterior_metric(data).reshape(*grid.shape, 2, 2)
    known = np.isfinite(metric).all(axis=(-1, -2))
    if not known.any():
        return np.ones(grid.shape, np.int32)
    largest = np.linalg.eigvalsh(np.where(known[..., None, None], metric, np.eye(2)))[..., -1]
    sharpest = np.argmax(np.where(known, largest, -np.inf))
    filled = np.where(known[..., None, None], metric, metric.reshape(-1, 2, 2)[sharpest])
    return _phases(filled, grid, settings)
