"""Paths seen through their images: features of their way-points, their scores, and the ones that are shown."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Float, Int, UInt8

from hessgeo.evaluation.path_scores import (
    bend,
    near_boundary,
    path_length,
    perceptual_path_length,
    step_deviation,
    turning_by_place,
    within_one_phase,
)
from hessgeo.evaluation.path_table import across_first
from hessgeo.geodesics.curves import curvature
from hessgeo.grids import Grid
from hessgeo.systems.base import System
from hessgeo.systems.batches import SAMPLED_AT_ONCE

Features = Callable[[np.ndarray], np.ndarray]

# What a dataset of paths knows of those that were solved.
OF_SOLVED = ("certified", "converged", "minimal", "residual", "segments", "from_grid", "held")


def perceptual_path_lengths(
    paths: xr.Dataset,
    system: System,
    perceptual: Features,
    *,
    epsilon: float,
    clip: tuple[float, float] | None,
    seed: int,
) -> Float[np.ndarray, "method pair"]:
    """The perceptual path length of each path, from images at its ``probes``; clipped among the paths of a method.

    Both images of a step have the same index, so that noise of a stochastic sampler is the same in both.

    Args:
        paths: of every method and pair.
        system: what makes the images.
        perceptual: features of images.
        epsilon: see ``perceptual_path_length``.
        clip: see there.
        seed: of the images.
    """
    places = paths["probes"].transpose("method", "pair", "side", "probe", "i").to_numpy()
    methods, pairs, _, count = places.shape[:4]
    here, ahead = np.empty((2, methods, pairs, count, 2 * count))
    sides = (images_by_path(places[:, :, side], system, seed=seed) for side in range(2))
    for number, images in enumerate(zip(*sides, strict=True)):
        path = divmod(number, pairs)
        found = span_coordinates(np.concatenate([perceptual(part) for part in images]))
        here[path], ahead[path] = found[:count], found[count:]
    methods_apart = zip(here, ahead, strict=True)
    return np.stack([perceptual_path_length(*one, epsilon=epsilon, clip=clip) for one in methods_apart])


def images_by_path(
    waypoints: Float[np.ndarray, "*batch place 2"], system: System, *, seed: int
) -> Iterator[UInt8[np.ndarray, "place h w c"]]:
    """The images at all way-points, those of one path after another, few of them in memory.

    The image of a way-point depends on the point and on its number among all, not on how many are drawn at once.
    """
    flat, places = waypoints.reshape(-1, 2), waypoints.shape[-2]
    waiting: list[np.ndarray] = []
    # In whole batches, so that the last one of all is the only one to be filled up.
    batch = getattr(system, "batch_size", 1)
    step = max(1, SAMPLED_AT_ONCE // batch) * batch
    for k in range(0, len(flat), step):
        index = np.arange(k, min(k + step, len(flat)))
        waiting.extend(system.sample(flat[index], index, seed))
        while len(waiting) >= places:
            yield np.stack(waiting[:places])
            del waiting[:places]


def span_coordinates(features: Float[np.ndarray, "place d"]) -> Float[np.ndarray, "place place"]:
    """Coordinates of points in the space that they span, from the first of them: their distances, with few numbers.

    ``R'`` of the QR decomposition of the differences, in double precision; padded with zeros where there are fewer
    features than points.
    """
    away = features.astype(float) - features[0].astype(float)
    rotated = np.asarray(np.linalg.qr(away.T, mode="r")).T
    return np.pad(rotated, ((0, 0), (0, len(features) - rotated.shape[1])))


def path_features(
    waypoints: Float[np.ndarray, "method pair place 2"],
    system: System,
    maps: Mapping[str, Features],
    shown: Collection[tuple[int, int]],
    *,
    seed: int,
) -> tuple[dict[str, Float[np.ndarray, "method pair place place"]], dict[tuple[int, int], np.ndarray]]:
    """Features of the images at all way-points, path by path, and the images of the paths that are shown.

    Args:
        waypoints: of every path.
        system: what makes the images.
        maps: of images to features, by name.
        shown: method and pair of the paths whose images to keep.
        seed: of the images.

    Returns:
        For each map the ``span_coordinates`` of each path, and the images of the paths that are shown, in their order.
        Distances hold within a path alone: every path has coordinates of its own.
    """
    methods, pairs, places = waypoints.shape[:3]
    found = {name: np.empty((methods, pairs, places, places)) for name in maps}
    kept = {}
    for number, images in enumerate(images_by_path(waypoints, system, seed=seed)):
        path = divmod(number, pairs)
        for name, features in maps.items():
            found[name][path] = span_coordinates(features(images))
        if path in shown:
            kept[path] = images
    return found, {path: kept[path] for path in shown}


def score_paths(
    paths: xr.Dataset,
    features: Mapping[str, Float[np.ndarray, "method pair place d"]],
    label: Int[np.ndarray, "na nb"],
    grid: Grid,
) -> pd.DataFrame:
    """Scores of each path, one row for each method and pair.

    Columns: ``method``, ``pair``, ``within_phase``, ``fisher`` (length in the Fisher metric), for each feature space
    the sum of distances of consecutive way-points and, as ``<name>_istd``, their deviation, ``curvature`` (mean turning
    angle per unit of length in the plane, rad), ``bend`` (largest distance from the chord over the chord),
    ``curvature_inside`` and ``curvature_at_boundary`` (the turning away from and near boundaries), all four with the
    box made a square of the same area, and what the dataset knows of the path: its certificate, and
    ``perceptual_path_length`` if it was measured.
    """
    points = paths["points"].to_numpy()
    starts, ends = points[0, :, 0], points[0, :, -1]
    within = within_one_phase(label, grid, starts, ends)
    # Angles depend on the units of either axis: they are those of the box made a square of the same area.
    side, rows = float(np.exp(np.log(grid.frame.half).mean())), []
    for place, method in enumerate(paths["method"].to_numpy()):
        curves = grid.frame.into(points[place]) * side
        turned = turning_by_place(curves, near_boundary(label, grid, points[place]))
        part = paths.isel(method=place)
        columns = {
            "method": method,
            "pair": np.arange(len(curves)),
            "within_phase": within,
            "fisher": part["fisher_length"].to_numpy(),
            **{name: path_length(values[place]) for name, values in features.items()},
            **{f"{name}_istd": step_deviation(values[place]) for name, values in features.items()},
            "curvature": curvature(torch.from_numpy(curves)).numpy(),
            "bend": bend(curves),
            "curvature_inside": turned[:, 0],
            "curvature_at_boundary": turned[:, 1],
        }
        known = ("perceptual_path_length", "own_length", *OF_SOLVED)
        columns |= {name: part[name].to_numpy() for name in known if name in part}
        rows.append(pd.DataFrame(columns))
    return pd.concat(rows, ignore_index=True)


def shown_paths(
    paths: xr.Dataset, label: Int[np.ndarray, "na nb"], grid: Grid, count: int
) -> list[tuple[int, int]]:
    """Method and pair of the geodesics and straight lines that figures show, known before any path is scored."""
    methods, points = list(paths["method"].to_numpy()), paths["points"].to_numpy()
    within = within_one_phase(label, grid, points[0, :, 0], points[0, :, -1])
    pairs = across_first(within, count)
    return [(methods.index(name), pair) for name in ("fisher", "linear") for pair in pairs]


def strips_of(
    paths: xr.Dataset,
    images: Mapping[tuple[int, int], UInt8[np.ndarray, "place h w c"]],
    embedding: Float[np.ndarray, "method pair place d"],
) -> xr.Dataset:
    """Images, way-points and embedding steps of the paths that are shown, along the geodesic and the straight line.

    Args:
        paths: of every method and pair.
        images: of the paths of ``shown_paths``.
        embedding: of the way-points; distances within a path count.
    """
    ways, pairs = (list(dict.fromkeys(path[k] for path in images)) for k in (0, 1))
    pick = np.ix_(ways, pairs)
    steps = np.linalg.norm(np.diff(embedding[pick].astype(float), axis=2), axis=3)
    arrays = {
        "images": (
            ("pair", "way", "place", "h", "w", "c"),
            np.stack([np.stack([images[way, pair] for pair in pairs]) for way in ways]),
        ),
        "points": (("pair", "way", "place", "i"), paths["waypoints"].to_numpy()[pick]),
        "steps": (("pair", "way", "step"), steps),
    }
    fields = {name: (dims, np.swapaxes(values, 0, 1)) for name, (dims, values) in arrays.items()}
    coordinates = {"pair": pairs, "way": ["fisher", "linear"], "i": ["a", "b"]}
    # What is to be known of the fit that the geodesics are of.
    kept = {key: paths.attrs[key] for key in ("verdict",) if key in paths.attrs}
    return xr.Dataset(fields, coords=coordinates, attrs=kept)
