"""Images and features of every node of a slice, made by two functions of a user."""

from __future__ import annotations

import sys

import numpy as np
from jaxtyping import Float, Float32, UInt8
from tqdm import tqdm

from hessgeo.features.base import directions
from hessgeo.features.pixels import PixelEmbedding
from hessgeo.grids import Grid
from hessgeo.study.functions import Function, at_rest, to_numpy
from hessgeo.study.images import Convention
from hessgeo.systems.batches import even_batch
from hessgeo.systems.memory import fit_batch_size
from hessgeo.systems.slices import LatentSlice

LOOKED_AT = 32  # images, spread over the box, by which it is judged what their values mean
MOST = 64  # images at once; more bring nothing


def sample(
    generate: Function,
    embed: Function | None,
    plane: LatentSlice,
    grid: Grid,
    *,
    output_range: tuple[float, float] | None = None,
) -> tuple[UInt8[np.ndarray, "n h w c"], Float32[np.ndarray, "n d"]]:
    """The image of every node, in eight bits, and its features, divided by their norm.

    ``embed`` gets the images as ``generate`` gives them. As many are made at once as fit into memory.

    Args:
        generate: latents ``(n, *latent)`` in single precision to images.
        embed: images to features ``(n, d)``; None for the pixels themselves.
        plane: the slice.
        grid: the nodes.
        output_range: values of black and of full intensity of float images, where they cannot be guessed.

    Raises:
        ValueError: one line, if a function takes no batch, or gives what is none of images or of features.
        FloatingPointError: if an image or features are not finite.
    """
    t = grid.points

    def make(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images = generate(plane.latents(t[rows]).astype(np.float32))
        pixels = convention.pixels(to_numpy(images))
        if embed is None:
            return pixels, PixelEmbedding(pixels.shape[1:])(pixels)
        return pixels, unit_vectors(to_numpy(embed(images)))

    functions = [function for function in (generate, embed) if function is not None]
    with at_rest(*functions):
        looked_at = np.unique(np.linspace(0, grid.size - 1, min(LOOKED_AT, grid.size)).astype(int))
        # One by one: how many fit into memory is not known yet.
        seen = [to_numpy(generate(plane.latents(t[[row]]).astype(np.float32))) for row in looked_at]
        convention = Convention.of(np.concatenate(seen), output_range)
        # A function is asked what it takes before its memory is measured.
        images, features = (np.empty((grid.size, *one.shape[1:]), one.dtype) for one in make(looked_at[:1]))
        device = next((one.device for one in functions if one.device != "cpu"), "cpu")
        fits = fit_batch_size(lambda count: make(np.zeros(count, dtype=int)), device=device, limit=MOST)
        batch = even_batch(grid.size, fits)
        starts = tqdm(range(0, grid.size, batch), desc="images", disable=not sys.stderr.isatty())
        for start in starts:
            rows = slice(start, min(start + batch, grid.size))
            made = make(np.arange(rows.start, rows.stop))
            for what, found, of_all in zip(("images", "features"), made, (images, features), strict=True):
                if found.shape[1:] != of_all.shape[1:]:
                    raise ValueError(
                        f"{what} of {len(found)} latents at once are of shape {found.shape[1:]} each, of one latent "
                        f"{of_all.shape[1:]}: they must be the same"
                    )
                of_all[rows] = found
    return images, features


def unit_vectors(features: Float[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    """Features divided by their norm.

    Raises:
        ValueError: one line, if they are no ``(n, d)``, not finite, or have no direction.
    """
    if features.ndim != 2 or not len(features) or features.dtype.kind not in "fiu":
        raise ValueError(
            f"features are {features.dtype} of shape {features.shape}, must be real numbers (n, d), n at least 1"
        )
    unit, lost = directions(features)
    if lost.any():
        raise ValueError(f"the features of sample {np.argmax(lost)} must be finite and not zero")
    return unit.astype(np.float32)
