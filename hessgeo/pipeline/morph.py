"""Morphs of a study: frames along its geodesics beside those of straight lines, driven by the settings ``morph``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from hessgeo.evaluation.morphs import (
    Floor,
    Floors,
    Frames,
    Look,
    Pictures,
    frames_at,
    joined,
    looked_along,
    metric_steps,
    shared_out,
    steps_within,
    stops,
)
from hessgeo.geodesics import geodesics
from hessgeo.geodesics.lines import straight_lines
from hessgeo.geodesics.means import frechet_mean
from hessgeo.geodesics.result import Geodesics
from hessgeo.grids import Grid
from hessgeo.metrics.base import Metric
from hessgeo.systems.base import System

WAYS = ("geodesic", "straight line")
TRACK = 721  # points between which a way is straight where it is looked at for stops
MOST = 2_000  # frames
OF_MEAN = 25  # points of the paths that a Frechet mean is found by


def model_look(system: System, features: Any, *, seed: int) -> Look:
    """Fresh samples of a model; one that adds noise adds the same to all, that of sample 0."""

    def look(points: Float[np.ndarray, "m 2"]) -> Pictures:
        images = system.sample(points, np.zeros(len(points), dtype=int), seed)
        return images, features(images)

    return look


def nearest_look(
    t: Float[np.ndarray, "n 2"], images: Any, features: Float[np.ndarray, "n d"], grid: Grid
) -> Look:
    """The samples nearest to points, where there is no model to ask; ``images`` are read by row."""
    tree = cKDTree(grid.frame.into(t))

    def look(points: Float[np.ndarray, "m 2"]) -> Pictures:
        rows, place = np.unique(tree.query(grid.frame.into(points))[1], return_inverse=True)
        return np.asarray(images[rows])[place.ravel()], features[rows][place.ravel()]

    return look


def medoids_of_two(phases: Sequence[Mapping[str, Any]], t: Float[np.ndarray, "n 2"]) -> list[list[float]]:
    """Where the medoids of the two largest phases are.

    Raises:
        ValueError: if there is one phase alone.
    """
    if len(phases) < 2:
        raise ValueError(
            "morph.points: null is not allowed; allowed: two points or more, for the study has one phase"
        )
    largest = sorted(phases, key=lambda phase: (-phase["area"], phase["label"]))[:2]
    return [t[phase["medoid"]].tolist() for phase in largest]


def checked_points(
    points: Sequence[Sequence[float]], grid: Grid, *, loop: bool, names: Sequence[str] | None = None
) -> Float[np.ndarray, "k 2"]:
    """The points that a morph goes through, its first once more at the end of a loop.

    Args:
        points: two or more.
        grid: whose box they must lie in.
        loop: whether to end where it starts.
        names: what each is called where it is refused.

    Raises:
        ValueError: one line, on a point outside the box, or one that is where the one before it is.
    """
    called = list(names) if names else [f"morph.points[{k}]" for k in range(len(points))]
    (low_a, high_a), (low_b, high_b) = grid.extent
    allowed = f"a in [{low_a:g}, {high_a:g}] and b in [{low_b:g}, {high_b:g}]"
    for name, (a, b) in zip(called, points, strict=True):
        if not (low_a <= a <= high_a and low_b <= b <= high_b):
            raise ValueError(f"{name}: ({a:g}, {b:g}) is not allowed; allowed: {allowed}")
    whole = np.array([*points, points[0]] if loop else points, dtype=float)
    same = np.flatnonzero((np.diff(whole, axis=0) == 0).all(axis=1))
    if len(same):
        k = (int(same[0]) + 1) % len(points)
        a, b = points[k]
        raise ValueError(
            f"{called[k]}: ({a:g}, {b:g}) is not allowed; allowed: another point than the one before it"
        )
    return whole


def by_the_mean(metric: Metric, stops: Float[np.ndarray, "k 2"]) -> Float[np.ndarray, "j 2"]:
    """The same way, over the Frechet mean of its points between every two."""
    different = torch.from_numpy(np.unique(stops, axis=0))
    mean = frechet_mean(metric, different, points=OF_MEAN).point.numpy()
    found = [stops[0]]
    for stop in stops[1:]:
        found += [mean, stop]
    return np.array([one for k, one in enumerate(found) if k == 0 or (one != found[k - 1]).any()])


def make_morph(
    stops_at: Float[np.ndarray, "k 2"],
    metric: Metric,
    floors: Floors,
    look: Look,
    settings: Mapping[str, Any],
    solver: Mapping[str, Any],
) -> xr.Dataset:
    """Frames along the geodesics through some points, and as many along the straight lines.

    Args:
        stops_at: points in turn.
        metric: in which ways are shortest, and frames are spaced evenly with the pace ``fisher``.
        floors: of the study's features.
        look: what makes images and features.
        settings: ``frames``, ``step`` and ``pace`` of the settings ``morph``.
        solver: ``points``, ``refinement`` and ``doublings`` of the settings ``geodesics``.

    Returns:
        On dims ``(way, frame, ...)``: ``image``, ``point (i)``; on ``(way, step)``: ``feature_step`` and
        ``metric_step``; on ``leg``: ``steps``, ``certified``, ``length``, ``floor``, ``whole``, and ``reason`` where a
        path is not certified; ``bound``, the longest step asked for, NaN where a number of frames is; warnings, a line
        each, in ``warnings``.

    Raises:
        ValueError: if a path cannot be solved, or a bound takes more than ``MOST`` frames.
    """
    starts, ends = stops_at[:-1], stops_at[1:]
    points = solver["refinement"] * (solver["points"] - 1) + 1
    first, last = torch.from_numpy(starts), torch.from_numpy(ends)
    box = floors.grid.extent if metric.box is None else metric.box
    paths = geodesics(
        metric, first, last, points=points, doublings=solver["doublings"], box=box, valleys=True
    )
    if paths.failures:
        raise ValueError(next(iter(paths.failures.values())))
    legs, counts, missed = _legs(paths, look, settings)
    straight = [
        frames_at(straight_lines(starts[k : k + 1], ends[k : k + 1], count + 1)[0], look)
        for k, count in enumerate(counts)
    ]
    found = [floors.between(*leg) for leg in zip(starts, ends, strict=True)]
    lines = [*_cuts(found, legs, starts, ends), *missed]
    return _dataset([joined(legs), joined(straight)], metric, floors, paths, counts, found, lines)


def _legs(
    paths: Geodesics, look: Look, settings: Mapping[str, Any]
) -> tuple[list[Frames], list[int], list[str]]:
    """The frames of each leg of the geodesic, the number of its steps, and a line for each bound that was missed."""
    lengths, step = paths.length.numpy(), settings["step"]
    if settings["pace"] == "fisher":
        counts = (
            _counted(lengths, settings["frames"]) if step is None else np.ceil(lengths / step * (1 - 1e-12))
        )
        counts = _limited(np.maximum(counts, 1).astype(int))
        legs = [frames_at(paths.equidistant(count + 1).numpy()[k], look) for k, count in enumerate(counts)]
        return legs, counts.tolist(), []
    tracks = paths.equidistant(TRACK).numpy()
    guess = _counted(lengths, settings["frames"])
    seen = [looked_along(track, count, look) for track, count in zip(tracks, guess, strict=True)]
    missed: list[str] = []
    if step is None:
        counts = _counted(np.array([one.steps.sum() for one in seen]), settings["frames"])
    else:
        bounds = [steps_within(one, step) for one in seen]
        counts = np.array([count for count, _ in bounds])
        missed = [
            f"step {step:g} is not kept in leg {k}: neighbouring images differ by {bound:.3g}, however close they are"
            for k, (_, bound) in enumerate(bounds)
            if bound > step
        ]
    counts = np.minimum(_limited(counts), [len(one.points) - 1 for one in seen])
    legs = [stops(one, count) for one, count in zip(seen, counts.tolist(), strict=True)]
    return legs, counts.tolist(), missed


def _counted(lengths: Float[np.ndarray, "k"], frames: int) -> Int[np.ndarray, "k"]:
    return shared_out(lengths, max(frames - 1, len(lengths)))


def _limited(counts: Int[np.ndarray, "k"]) -> Int[np.ndarray, "k"]:
    if counts.sum() >= MOST:
        raise ValueError(
            f"morph.step: it takes {int(counts.sum()) + 1} frames, which is not allowed; allowed: {MOST} at most"
        )
    return counts


def _cuts(floors: Sequence[Floor], legs: Sequence[Frames], starts: np.ndarray, ends: np.ndarray) -> list[str]:
    """A line for each leg with a cut: unavoidable over the nodes, and no less with the images between them."""
    return [
        f"a cut cannot be avoided between ({a[0]:.3g}, {a[1]:.3g}) and ({b[0]:.3g}, {b[1]:.3g}): every way over "
        f"neighbouring nodes has a step of {floor.longest:.3g} or more, and the ends differ by {floor.whole:.3g}"
        for floor, leg, a, b in zip(floors, legs, starts, ends, strict=True)
        if floor.is_cut and float(leg.steps.max()) >= floor.longest * (1 - 1e-6)
    ]


def _dataset(
    ways: Sequence[Frames],
    metric: Metric,
    floors: Floors,
    paths: Geodesics,
    counts: Sequence[int],
    found: Sequence[Floor],
    lines: Sequence[str],
) -> xr.Dataset:
    reasons = [reason or "" for reason in paths.reasons()]
    steps = np.stack([metric_steps(metric, floors.grid, way.points) for way in ways])
    return xr.Dataset(
        {
            "image": (("way", "frame", "y", "x", "channel"), np.stack([way.images for way in ways])),
            "point": (("way", "frame", "i"), np.stack([way.points for way in ways])),
            "feature_step": (("way", "step"), np.stack([way.steps for way in ways])),
            "metric_step": (("way", "step"), steps),
            "steps": ("leg", np.array(counts)),
            "certified": ("leg", paths.certified.numpy().astype(np.int8)),
            "reason": ("leg", np.array(reasons, dtype=object)),
            "length": ("leg", paths.length.numpy()),
            "floor": ("leg", np.array([floor.longest for floor in found])),
            "whole": ("leg", np.array([floor.whole for floor in found])),
        },
        {"way": list(WAYS), "i": ["a", "b"]},
        {"warnings": "\n".join(lines)},
    )


def morph_numbers(morph: xr.Dataset) -> dict[str, Any]:
    """What is reported of a morph: its largest and mean steps beside the straight line's, and what warns."""
    feature, measured = morph["feature_step"], morph["metric_step"]
    largest = feature.max("step").to_numpy()
    return {
        "frames": morph.sizes["frame"],
        "legs": morph.sizes["leg"],
        "certified": int(morph["certified"].sum()),
        "reasons": [text for text in morph["reason"].to_numpy().tolist() if text],
        "length": float(morph["length"].sum()),
        "largest_feature_step": dict(zip(WAYS, map(float, largest), strict=True)),
        "mean_feature_step": dict(zip(WAYS, map(float, feature.mean("step").to_numpy()), strict=True)),
        "largest_metric_step": dict(zip(WAYS, map(float, measured.max("step").to_numpy()), strict=True)),
        "ratio": float(largest[0] / largest[1]) if largest[1] > 0 else math.nan,
        "floor": float(morph["floor"].max()),
        "warnings": [line for line in str(morph.attrs["warnings"]).split("\n") if line],
    }
