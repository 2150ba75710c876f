"""Replicates of a map of phases: half of its nodes drawn anew, with the noise of their embeddings."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import correlate

from hessgeo.phases.significance import noise_level

_BLOCK = 8  # nodes along the side of a block


def half_of_nodes(shape: tuple[int, ...], rng: np.random.Generator) -> Bool[np.ndarray, "*nodes"]:
    """One colour of a checkerboard, drawn block by block of eight nodes along a side: every second node."""
    colour = np.indices(shape).sum(axis=0) % 2
    blocks = rng.integers(0, 2, [-(-nodes // _BLOCK) for nodes in shape])
    for axis, nodes in enumerate(shape):
        blocks = np.repeat(blocks, _BLOCK, axis=axis)[(slice(None),) * axis + (slice(nodes),)]
    return (colour + blocks) % 2 == 0


def from_neighbours(
    embedding: Float[np.ndarray, "*nodes d"], kept: Bool[np.ndarray, "*nodes"]
) -> Float[np.ndarray, "*nodes d"]:
    """Embeddings of which only the ``kept`` nodes are used: each other node has the mean of its kept neighbours.

    Raises:
        ValueError: if a node that is not kept has no neighbour along the axes that is.
    """
    cross = np.zeros((3,) * kept.ndim)
    for axis in range(kept.ndim):
        for side in (0, 2):
            cross[tuple(side if k == axis else 1 for k in range(kept.ndim))] = 1
    count = correlate(kept.astype(float), cross, mode="constant")
    if (count[~kept] == 0).any():
        raise ValueError("a node that is left out has no neighbour that is kept")
    used = np.where(kept[..., None], embedding, 0)
    mean = correlate(used, cross[..., None], mode="constant") / np.maximum(count, 1)[..., None]
    return np.where(kept[..., None], embedding, mean)


def embedding_noise(embedding: Float[np.ndarray, "*nodes d"]) -> Float[np.ndarray, "d"]:
    """Noise floor of each feature, by what changes from node to node (``significance.noise_level``).

    What bends within a grid step counts as noise, too: an upper bound on the noise of a smooth map.
    """
    return np.array([noise_level(embedding[..., k]) for k in range(embedding.shape[-1])])


def replicate(
    embedding: Float[np.ndarray, "*nodes d"], noise: Float[np.ndarray, "d"], rng: np.random.Generator
) -> Float[np.ndarray, "*nodes d"]:
    """Embeddings from a random half of the nodes, with fresh noise on every one.

    Each node's sample has noise of its own, so that the half that is drawn resamples the sampler's seeds as well. The
    embeddings' noise counts twice, as it is in them already: a boundary that stands is found in spite of it.
    """
    thinned = from_neighbours(embedding, half_of_nodes(embedding.shape[:-1], rng))
    return thinned + noise * rng.standard_normal(embedding.shape)
