"""Bundles of images from neighbouring parameters, their smoothed targets, and the split into training and test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy.spatial import cKDTree
from tqdm import tqdm

from hessgeo.grids import Grid

_BLOCK_BYTES = 2**26  # of the images that are resized at once, as float32


@runtime_checkable
class Images(Protocol):
    """What images are read from: an array of NumPy, Dask or Zarr, read a slice of rows at a time."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __getitem__(self, rows: slice) -> UInt8[np.ndarray, "rows h w c"]:
        """A range of images."""


def resize_images(
    images: Images,
    shape: tuple[int, ...],
    *,
    out: UInt8[np.ndarray, "n a b c"] | None = None,
    progress: bool = False,
) -> UInt8[np.ndarray, "n a b c"]:
    """All images at the size of the posterior's grid, antialiased, read block by block.

    Args:
        images: ``uint8`` of shape ``(n, h, w, c)``.
        shape: height and width to bring them to.
        out: where to put them, such as a memory map, where all of them do not fit into memory; or None.
        progress: show a progress bar of images.

    Raises:
        ValueError: if the images are not ``uint8`` of four dimensions, or ``out`` has another shape or type.
    """
    import torch  # a posterior of distances has no bundles
    from torch.nn import functional

    if len(images.shape) != 4 or images.dtype != np.uint8:
        raise ValueError(f"images must be uint8 of shape (n, h, w, c), not {images.dtype} {images.shape}")
    n, height, width, channels = images.shape
    full = (n, *shape, channels)
    out = np.empty(full, np.uint8) if out is None else out
    if out.shape != full or out.dtype != np.uint8:
        raise ValueError(f"out must be uint8 of shape {full}, not {out.dtype} {out.shape}")
    rows = max(1, _BLOCK_BYTES // (4 * channels * max(height * width, shape[0] * shape[1])))
    with tqdm(total=n, desc="resize", unit="image", disable=not progress) as bar:
        for start in range(0, n, rows):
            block = np.asarray(images[start : start + rows])
            x = torch.from_numpy(np.ascontiguousarray(block)).permute(0, 3, 1, 2).float()
            if (height, width) != shape:
                x = functional.interpolate(x, size=shape, mode="bilinear", antialias=True)
            out[start : start + rows] = x.round_().clamp_(0, 255).byte().permute(0, 2, 3, 1).numpy()
            bar.update(len(block))
    return out


def candidates(
    t: Float[np.ndarray, "n 2"],
    sources: Int[np.ndarray, "s"],
    pool: Int[np.ndarray, "p"],
    grid: Grid,
    *,
    bundle: int,
    neighbours: int,
) -> Int[np.ndarray, "s m"]:
    """The samples of a pool that a bundle of each source is drawn from: those nearest to it, itself among them.

    ``neighbours`` counts them among all ``n`` samples. A pool that holds a share of the samples offers the same
    share of that number, so that bundles of training, held-out and all samples spread over about the same area,
    but never fewer than ``bundle``. Distances are relative to the sides of the box.

    Args:
        t: parameters of all samples.
        sources: index of each source.
        pool: indices of the samples to draw from.
        grid: its box gives the sides.
        bundle: images in a bundle.
        neighbours: samples it is drawn from, were the pool all of them.

    Raises:
        ValueError: if ``neighbours`` is less than ``bundle``, or the pool has too few samples.
    """
    if not 1 <= bundle <= neighbours:
        raise ValueError(f"bundle={bundle} must lie in 1..neighbours={neighbours}")
    count = max(bundle, round(neighbours * len(pool) / len(t)))
    if count > len(pool):
        raise ValueError(
            f"a bundle of {bundle} needs more samples to draw from than the {len(pool)} there are"
        )
    scaled = t / np.ptp(np.array(grid.extent), axis=1)
    _, nearest = cKDTree(scaled[pool]).query(scaled[sources], k=count)
    return pool[np.asarray(nearest).reshape(len(sources), count)]


def draw_bundles(
    offered: Int[np.ndarray, "s m"], bundle: int, rng: np.random.Generator
) -> Int[np.ndarray, "s bundle"]:
    """``bundle`` different ones of the candidates of each source, in random order.

    PAPER: leaves open whether a bundle holds the sample whose parameter is its target. Here the source is one
    candidate like the others, so that all places of the bundle are alike and none points to the target.
    """
    order = rng.random(offered.shape).argsort(axis=1)[:, :bundle]
    return np.take_along_axis(offered, order, axis=1)


def smoothing_width(grid: Grid, smoothing: float) -> tuple[float, float]:
    """Standard deviation of the targets along ``a`` and ``b``, in parameter units.

    PAPER: a share ``smoothing`` of each side of the box. Here at least half a grid step: narrower ones, sampled
    at nodes, move the mean of a target by more than 2.3 hundredths of a step.

    Raises:
        ValueError: if the smoothing is not positive.
    """
    if not smoothing > 0:
        raise ValueError(f"smoothing must be positive, not {smoothing}")
    sides = np.ptp(np.array(grid.extent), axis=1)
    a, b = np.maximum(smoothing * sides, np.array(grid.spacing) / 2)
    return float(a), float(b)


def smoothed_targets(grid: Grid, sigma: tuple[float, float]) -> Callable[[np.ndarray], np.ndarray]:
    """The target ``exp(-|t_g - t|^2 / 2 sigma^2) / Z`` over the nodes (Eq. 128), as a function ``(n, 2) -> (n, node)``.

    It is cut at the box and normalised over the nodes, so near an edge its mean lies inside of ``t``.
    """

    def targets(t: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n node"]:
        along = []
        for k, (axis, width) in enumerate(zip(grid.axes, sigma, strict=True)):
            weight = np.exp(-(((t[:, k : k + 1] - axis) / width) ** 2) / 2)
            along.append(weight / weight.sum(axis=1, keepdims=True))
        return np.einsum("na,nb->nab", *along).reshape(len(t), -1)

    return targets
