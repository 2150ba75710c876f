"""The zoom of a study: its model in a precision, where it starts, and what is kept of each window."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int

from hessgeo.features import load_embedding
from hessgeo.features.continuous import continued
from hessgeo.figures.thumbnails import shrink
from hessgeo.grids import AXES, Extent, Grid
from hessgeo.phases.zoom_windows import (
    ZoomWindow,
    distinct,
    window_constants,
    window_phases,
    zoom_window,
)
from hessgeo.phases.zoomed import Answer, BoundaryPoint, ZoomedMap, locate_boundary, nearest_reference
from hessgeo.pipeline.checks.zoom import ADAPTIVE
from hessgeo.pipeline.loading import latent_plane, load_model
from hessgeo.systems.diffusion.denoisers import Denoiser, sample_generators
from hessgeo.systems.diffusion.probability_flow import ProbabilityFlow
from hessgeo.systems.slices import LatentSlice

BATCH, FEW = 64, 17  # images at once; a bracket has 17, and a precision that tells few latents apart has few
CANDIDATES = 8  # edges of the grid that the sharpest boundary is looked for on
THUMBNAIL = 32  # pixels of an image that is kept


def zoomed_model(params: Any, anchors: Float[np.ndarray, "3 *latent"], *, device: str) -> ZoomedMap:
    """Model and embedding of a study as a map of real values, in one precision throughout.

    A sampler that adds noise adds the same to all images, that of sample 0: the map is a function of the latent.

    Args:
        params: of a rule of the zoom: the sources ``system`` and ``embedder``, the slice's settings ``plane``,
            ``image_shape``, the ``precision`` of latents, model and embedding, the sampler's ``steps``, the ``seed``.
        anchors: of the slice.
        device: where to run both.
    """
    from hessgeo.systems.diffusion.real_images import real_images, to_precision

    dtype, system, embedder = getattr(torch, params.precision), params.system, params.embedder
    plane = latent_plane(anchors, params.plane)
    chosen = {**system.settings, "dtype": "float32"}
    if params.steps != ADAPTIVE:
        chosen["steps"] = params.steps
    with system.reading(), embedder.reading():
        denoiser = load_model(chosen, str(system.path), device=device)
        single = {**embedder.settings, "dtype": "float32"}
        embedding = load_embedding(single, embedder.path, tuple(params.image_shape), device=device)
    to_precision(denoiser, dtype)
    features = continued(embedding, dtype)
    limit = ProbabilityFlow(denoiser, _typical(plane)) if params.steps == ADAPTIVE else None

    most = BATCH if system.settings["batch_size"] == "auto" else min(BATCH, system.settings["batch_size"])

    def generate(latents: Float[np.ndarray, "n c h w"]) -> Float[np.ndarray, "n c h w"]:
        return _in_batches(limit or denoiser, latents, params.seed, most)

    def picture(clean: Float[np.ndarray, "n c h w"]) -> Float[np.ndarray, "n height width channels"]:
        return pixel_values(real_images(denoiser, clean))

    def embed(clean: Float[np.ndarray, "n c h w"]) -> Float[np.ndarray, "n d"]:
        parts = np.split(clean, range(most, len(clean), most))
        return np.concatenate([features(picture(part)) for part in parts])

    return ZoomedMap(plane, generate, embed, params.precision, picture)


def _typical(plane: LatentSlice) -> Float[np.ndarray, "5 c h w"]:
    """Latents at the corners of a slice and in its middle."""
    (low, high), (below, above) = plane.extent
    ends = [(low, below), (low, above), (high, below), (high, above), ((low + high) / 2, (below + above) / 2)]
    return plane.latents(np.array(ends))


def _in_batches(
    denoiser: Denoiser | ProbabilityFlow, latents: Float[np.ndarray, "n c h w"], seed: int, most: int
) -> np.ndarray:
    """Clean data of latents, in batches of one shape: the last is filled up."""
    size = most if len(latents) > FEW else min(most, FEW)
    made = []
    for first in range(0, len(latents), size):
        rows = np.resize(np.arange(first, min(first + size, len(latents))), size)
        noise = sample_generators(np.zeros(size, dtype=int), seed)
        with torch.inference_mode():
            clean = denoiser.denoise(torch.from_numpy(latents[rows]), noise=noise)
        made.append(clean.double().cpu().numpy()[: len(latents) - first])
    return np.concatenate(made)


def pixel_values(clean: Float[np.ndarray, "n c h w"]) -> Float[np.ndarray, "n h w c"]:
    """What pixels of values from -1 to 1 are rounded from, 0 to 1, as in ``denoisers.to_pixels``."""
    return np.clip(clean / 2 + 0.5, 0, 1).transpose(0, 2, 3, 1)


def starting_pairs(
    embedding: Float[np.ndarray, "n d"],
    label: Int[np.ndarray, "n"],
    grid: Grid,
    centre: str | tuple[float, float],
    *,
    margin: float,
) -> tuple[Float[np.ndarray, "m 2"], Float[np.ndarray, "m 2"]]:
    """Pairs of points across a boundary: about edges of the grid whose ends differ in phase.

    A pair reaches one grid step beyond both ends of its edge, for a boundary that moves with precision and steps.

    Args:
        embedding: of the nodes, in their order.
        label: their phases.
        grid: the nodes.
        centre: ``sharpest``, for the edges of the largest ``|Delta E| / |Delta t|``; or a point, for the nearest edge.
        margin: share of the box along each side that is left out, as windows about a point there would leave it.

    Raises:
        ValueError: if there is no edge between phases.
    """
    here, there = _edges(grid)
    low, high = np.array(grid.extent).T
    middle = (grid.points[here] + grid.points[there]) / 2
    inside = np.all(
        (middle - low >= margin * (high - low)) & (high - middle >= margin * (high - low)), axis=1
    )
    apart = np.flatnonzero((label[here] != label[there]) & inside)
    if not len(apart):
        raise ValueError(
            "no neighbouring nodes of the study lie in different phases: there is no boundary to zoom on"
        )
    direction = grid.points[there] - grid.points[here]
    if isinstance(centre, str):
        rise = np.linalg.norm(embedding[there].astype(float) - embedding[here], axis=1)
        worth = rise / np.linalg.norm(direction / grid.square, axis=1)
        chosen = apart[np.argsort(-worth[apart], kind="stable")[:CANDIDATES]]
    else:
        far = np.linalg.norm((middle - np.array(centre)) / grid.square, axis=1)
        chosen = apart[np.argsort(far[apart], kind="stable")[:1]]
    starts, ends = grid.points[here] - direction, grid.points[there] + direction
    return starts[chosen].clip(low, high), ends[chosen].clip(low, high)


def _edges(grid: Grid) -> tuple[Int[np.ndarray, "m"], Int[np.ndarray, "m"]]:
    """Rows of the nodes at both ends of each edge of a grid."""
    row = np.arange(grid.size).reshape(grid.shape)
    pairs = [(row[:-1], row[1:]), (row[:, :-1], row[:, 1:])]
    here, there = (np.concatenate([pair[end].ravel() for pair in pairs]) for end in (0, 1))
    return here, there


def describe_boundary(
    zoomed: ZoomedMap,
    references: Float[np.ndarray, "k d"],
    starts: Float[np.ndarray, "m 2"],
    ends: Float[np.ndarray, "m 2"],
) -> xr.Dataset:
    """The sharpest boundary point of a map, with what a rounding makes there, and the references of its phases.

    Raises:
        ValueError: as ``locate_boundary``.
    """
    found: BoundaryPoint = locate_boundary(zoomed, starts, ends, nearest_reference(references))
    clean_floor, embedding_floor = zoomed.floor(found.point)
    return xr.Dataset(
        {
            "reference": (("phase", "feature"), references.astype(np.float64)),
            "slope": (("width",), found.slopes),
        },
        {"width": found.widths},
        {
            "point": list(found.point),
            "phases": list(found.phases),
            "bracket": found.bracket,
            "clean_floor": clean_floor,
            "embedding_floor": embedding_floor,
            "precision": zoomed.precision,
        },
    )


def window_of(boundary: xr.Dataset, box: Extent, level: int, width: float) -> ZoomWindow:
    """The window of a level about the point of a boundary."""
    a, b = (float(value) for value in boundary.attrs["point"])
    return zoom_window(box, (a, b), level, width)


def describe_window(
    zoomed: ZoomedMap,
    boundary: xr.Dataset,
    window: ZoomWindow,
    settings: Mapping[str, Any],
    phases: Mapping[str, Any],
) -> xr.Dataset:
    """What a map is in a window, in box units.

    Args:
        zoomed: the map.
        boundary: of ``describe_boundary``.
        window: the window.
        settings: ``zoom`` of the study.
        phases: ``phases`` of the study.

    Returns:
        ``label`` (the nearest of the study's typical images), ``phase`` (between ridges of the metric measured in the
        window), Lipschitz constants, and some images; numbers as JSON in ``numbers``.
    """
    shape = (int(settings["grid"][0]), int(settings["grid"][1]))
    grid = window.grid(shape)
    answer = zoomed.answer(window.centre, grid.points)
    label = nearest_reference(boundary["reference"].to_numpy())(answer.embedding).reshape(shape)
    options = {key: phases[key] for key in ("persistence", "minimum_area", "smoothing")}
    phase = window_phases(answer.embedding, grid, options)
    fields, constants = window_constants(answer, grid)
    images, kept = _images(zoomed, answer, shape, int(settings["images"]))
    numbers = {
        "level": window.level,
        "width": window.width,
        "inputs": answer.inputs,
        "images": distinct(answer.clean),
        "pictures": distinct(images),
        "labels": len(np.unique(label)),
        "phases": int(phase.max()),
        **constants,
    }
    maps = {"label": label, "phase": phase, **fields}
    data = {name: (AXES, values) for name, values in maps.items()}
    tiles = shrink(images.reshape(*shape, *images.shape[1:])[np.ix_(*kept)], THUMBNAIL)
    about = {"centre": list(window.centre), "half": list(window.half), "numbers": json.dumps(numbers)}
    a, b = grid.unit.axes
    return xr.Dataset(
        {**data, "image": (("ta", "tb", "y", "x", "channel"), tiles)},
        {"a": a, "b": b, "ta": a[kept[0]], "tb": b[kept[1]]},
        about,
    )


def _images(
    zoomed: ZoomedMap, answer: Answer, shape: tuple[int, int], most: int
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Eight-bit images of all nodes, and the nodes along each side that are kept."""
    clean, picture = answer.clean.reshape(-1, *zoomed.plane.latent_shape), zoomed.picture or pixel_values
    parts = np.split(clean, range(BATCH, len(clean), BATCH))
    images = np.concatenate([np.rint(255 * picture(part)).astype(np.uint8) for part in parts])
    first, second = (np.rint(np.linspace(0, n - 1, min(n, most))).astype(int) for n in shape)
    return images, (first, second)


def window_numbers(window: xr.Dataset) -> dict[str, Any]:
    """The numbers of a window."""
    return dict(json.loads(window.attrs["numbers"]))
