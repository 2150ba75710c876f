"""Paths of a study by every method of Table 2, driven by its settings: solved, sampled, scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Float, Int, UInt8
from scipy.ndimage import gaussian_filter

from hessgeo.evaluation.path_scores import (
    bend,
    draw_pairs,
    near_boundary,
    path_length,
    turning_by_place,
    within_one_phase,
)
from hessgeo.geodesics import Curves, geodesics
from hessgeo.geodesics.curves import curvature, subdivided
from hessgeo.geodesics.lines import spherical_lines, straight_lines
from hessgeo.geodesics.reference import adam_geodesics
from hessgeo.geodesics.solve import RESIDUAL_TOLERANCE
from hessgeo.grids import Grid
from hessgeo.metrics.conformal import DensityMetric, log_quantile
from hessgeo.metrics.gridded import GriddedMetric
from hessgeo.metrics.pullback import feature_metric
from hessgeo.metrics.repair import Repaired, relative_floor, repair
from hessgeo.systems.base import System
from hessgeo.systems.slices import LatentSlice

Features = Callable[[np.ndarray], np.ndarray]

OF_FEATURES = ("pixels", "perceptual", "clip")
OF_SOLVED = ("certified", "converged", "minimal", "residual", "segments", "from_grid", "held")
SAMPLED_AT_ONCE = 1024


@dataclass(frozen=True)
class StudyMetric:
    """A metric of a study, smooth and positive definite.

    Attributes:
        metric: what curves are solved with.
        repaired: share of nodes at which an eigenvalue was raised to ``floor``.
        floor: the least eigenvalue.
    """

    metric: GriddedMetric
    repaired: float
    floor: float


def study_metrics(
    fisher: Float[np.ndarray, "na nb 2 2"],
    features: Mapping[str, Float[np.ndarray, "na nb d"]],
    log_density: Float[np.ndarray, "na nb"] | None,
    grid: Grid,
    settings: Mapping[str, Any],
) -> dict[str, StudyMetric]:
    """The metrics whose geodesics a study compares, by the name of the method.

    Args:
        fisher: Hessian of the free energy at the nodes.
        features: at the nodes, of the pull-back metrics, by name.
        log_density: at the nodes, of the density metric, up to a constant; None to leave it out.
        grid: the nodes.
        settings: the settings ``geodesics``.
    """
    floor, mended = settings["floor"], fisher_field(fisher, settings)
    metric = GriddedMetric(mended.metric, grid)
    metrics = {"fisher": StudyMetric(metric, mended.count / grid.size, mended.floor)}
    for name, values in features.items():
        found = feature_metric(values, grid, smoothing=settings["smoothing"], floor=floor)
        metrics[name] = StudyMetric(found.metric, found.repaired / grid.size, found.floor)
    if log_density is not None:
        metrics["density"] = StudyMetric(_density_metric(log_density, grid, settings), 0.0, 0.0)
    return metrics


def fisher_field(fisher: Float[np.ndarray, "na nb 2 2"], settings: Mapping[str, Any]) -> Repaired:
    """The Fisher metric at the resolution that paths are solved at: filtered, then repaired.

    A Gaussian filter over a Hessian is the Hessian of the filtered potential. Without it the metric changes by orders
    of magnitude from node to node, which neither the grid nor a path can resolve.
    """
    width = settings["smoothing"]
    smooth = gaussian_filter(fisher, (width, width, 0, 0), mode="nearest") if width > 0 else fisher
    return repair(smooth, floor=relative_floor(smooth, settings["floor"]))


def _density_metric(
    log_density: Float[np.ndarray, "na nb"], grid: Grid, settings: Mapping[str, Any]
) -> GriddedMetric:
    """The conformal metric of a density that is known at the nodes, ``p0`` its median."""
    if settings["smoothing"] > 0:
        log_density = gaussian_filter(log_density, settings["smoothing"], mode="nearest")
    values = torch.from_numpy(np.ascontiguousarray(log_density, dtype=float).ravel())
    conformal = DensityMetric(
        lambda _: values,
        log_lambda=log_quantile(values, settings["density_quantile"]),
        log_reference=log_quantile(values, 0.5),
    )
    return GriddedMetric(conformal(torch.from_numpy(grid.points)).numpy().reshape(*grid.shape, 2, 2), grid)


def solve_paths(
    metrics: Mapping[str, StudyMetric],
    plane: LatentSlice,
    grid: Grid,
    settings: Mapping[str, Any],
    *,
    seed: int,
    progress: bool = False,
) -> xr.Dataset:
    """The paths of every method between the pairs of a study.

    ``published`` is the scheme of Lobashev et al. with its detached gradient, under the Fisher metric. With the spacing
    ``fisher`` the way-points of every path are equidistant in the Fisher metric: what differs is the path alone. With
    ``own`` they are equidistant in the metric of each method, those of ``linear`` in the parameters, those of
    ``spherical`` in the angle of the latents: few and even points jump across a boundary that others resolve, and their
    sum of distances is shorter for that.

    Args:
        metrics: by name; a method without its metric is left out.
        plane: the slice.
        grid: the nodes, whose box the pairs are drawn from and the curves stay in.
        settings: the settings ``geodesics``.
        seed: of the pairs.
        progress: show bars.

    Returns:
        On dims ``(method, pair, ...)``: ``points (point, i)``, ``waypoints (place, i)``, ``own_length``,
        ``fisher_length``, ``certified``, ``converged``, ``minimal``, ``residual``, ``segments``, ``from_grid``,
        ``held``; the last seven of solved methods alone, else NaN (see ``geodesics.solve.Geodesics``).
    """
    starts, ends = draw_pairs(grid, settings["pairs"], seed=seed, margin=settings["margin"])
    fisher = metrics["fisher"].metric
    methods = [
        name
        for name in settings["methods"]
        if name in metrics or name in ("linear", "spherical", "published")
    ]
    parts = []
    for name in methods:
        if name in metrics:
            parts.append(_solved(metrics[name].metric, starts, ends, settings, progress))
        elif name == "published":
            parts.append(_published(fisher, starts, ends, settings, progress))
        else:
            make = straight_lines if name == "linear" else _spherical(plane)
            points = make(starts, ends, settings["points"])
            parts.append({"points": points, "waypoints": make(starts, ends, settings["waypoints"])})
        curve = _polyline(torch.from_numpy(parts[-1]["points"]), fisher)
        # A solved curve is a spline: its own length is more exact than that of the polyline through its points.
        own = parts[-1]["own_length"] if name == "fisher" else None
        parts[-1]["fisher_length"] = curve.length(fisher).numpy() if own is None else own
        if settings["spacing"] == "fisher" and name != "fisher":
            places = curve.equidistant(fisher, settings["waypoints"])
            parts[-1]["waypoints"] = curve.at(places).clamp(*torch.tensor(grid.extent).T).numpy()
    dims = {"points": ("point", "i"), "waypoints": ("place", "i")}
    missing = np.full(len(starts), np.nan)
    names = dict.fromkeys(key for part in parts for key in part)
    fields = {
        key: (("method", "pair", *dims.get(key, ())), np.stack([part.get(key, missing) for part in parts]))
        for key in names
    }
    return xr.Dataset(fields, coords={"method": methods, "i": ["a", "b"]}, attrs={"seed": seed})


def _spherical(plane: LatentSlice) -> Callable[[np.ndarray, np.ndarray, int], np.ndarray]:
    return lambda starts, ends, points: spherical_lines(starts, ends, plane, points)


def _solved(
    metric: GriddedMetric, starts: np.ndarray, ends: np.ndarray, settings: Mapping[str, Any], progress: bool
) -> dict[str, np.ndarray]:
    first, last = torch.from_numpy(starts), torch.from_numpy(ends)
    every = settings["refinement"]
    points = every * (settings["points"] - 1) + 1
    paths = geodesics(metric, first, last, points=points, doublings=settings["doublings"], progress=progress)
    numbers = {name: getattr(paths, name) for name in OF_SOLVED}
    return {
        "points": paths.points[:, ::every].numpy(),
        "waypoints": paths.equidistant(settings["waypoints"]).numpy(),
        "own_length": paths.length.numpy(),
        **{name: value.double().numpy() for name, value in numbers.items()},
    }


def _published(
    metric: GriddedMetric, starts: np.ndarray, ends: np.ndarray, settings: Mapping[str, Any], progress: bool
) -> dict[str, np.ndarray]:
    first, last = torch.from_numpy(starts), torch.from_numpy(ends)
    options = {"points": settings["points"], "steps": settings["published_steps"]}
    rate = settings["published_learning_rate"]
    paths = adam_geodesics(
        metric, first, last, **options, learning_rate=rate, box=metric.box, progress=progress
    )
    curve = _polyline(paths.points, metric)
    return {
        "points": paths.points.numpy(),
        "waypoints": curve.at(curve.equidistant(metric, settings["waypoints"])).numpy(),
        "own_length": curve.length(metric).numpy(),
    }


def _polyline(points: Float[torch.Tensor, "m n 2"], metric: GriddedMetric) -> Curves:
    """The polylines, in segments no longer than a grid step: those of the published scheme may cross a phase in one."""
    return Curves.polyline(subdivided(points, min(metric.grid.spacing)))


def sample_waypoints(
    waypoints: Float[np.ndarray, "*batch 2"], system: System, *, seed: int
) -> UInt8[np.ndarray, "*batch h w c"]:
    """The image at each way-point, the same point and index giving the same image whatever else is asked for."""
    flat = waypoints.reshape(-1, 2)
    blocks = []
    for k in range(0, len(flat), SAMPLED_AT_ONCE):
        index = np.arange(k, min(k + SAMPLED_AT_ONCE, len(flat)))
        blocks.append(system.sample(flat[index], index, seed))
    images = np.concatenate(blocks)
    return images.reshape(*waypoints.shape[:-1], *images.shape[1:])


def score_paths(
    paths: xr.Dataset,
    features: Mapping[str, Float[np.ndarray, "method pair place d"]],
    label: Int[np.ndarray, "na nb"],
    grid: Grid,
) -> pd.DataFrame:
    """Scores of each path, one row for each method and pair.

    Columns: ``method``, ``pair``, ``within_phase``, ``fisher`` (length in the Fisher metric), for each feature space
    the sum of distances of consecutive way-points, ``curvature`` (mean turning angle per unit of length in the plane,
    rad), ``bend`` (largest distance from the chord over the chord), ``curvature_inside`` and ``curvature_at_boundary``
    (the turning away from and near boundaries), and what ``solve_paths`` knows of the path.
    """
    points = paths["points"].to_numpy()
    starts, ends = points[0, :, 0], points[0, :, -1]
    within = within_one_phase(label, grid, starts, ends)
    rows = []
    for place, method in enumerate(paths["method"].to_numpy()):
        curves = points[place]
        turned = turning_by_place(curves, near_boundary(label, grid, curves))
        part = paths.isel(method=place)
        columns = {
            "method": method,
            "pair": np.arange(len(curves)),
            "within_phase": within,
            "fisher": part["fisher_length"].to_numpy(),
            **{name: path_length(values[place]) for name, values in features.items()},
            "curvature": curvature(torch.from_numpy(curves)).numpy(),
            "bend": bend(curves),
            "curvature_inside": turned[:, 0],
            "curvature_at_boundary": turned[:, 1],
        }
        known = ("own_length", *OF_SOLVED)
        columns |= {name: part[name].to_numpy() for name in known if name in part}
        rows.append(pd.DataFrame(columns))
    return pd.concat(rows, ignore_index=True)


def feature_maps(classifier: str | None) -> dict[str, Features]:
    """Feature spaces that ask for no embedding: grey values in [0, 1], and perceptual ones where there is a network.

    Args:
        classifier: folder of the digit classifier, or None.
    """
    maps: dict[str, Features] = {"pixels": lambda images: images.reshape(len(images), -1) / 255.0}
    if classifier is not None:
        from hessgeo.models.digit_classifier import load_classifier, perceptual_features

        model = load_classifier(classifier)
        maps["perceptual"] = lambda images: perceptual_features(model, images)
    return maps


def certificates(paths: xr.Dataset, metrics: Mapping[str, StudyMetric]) -> dict[str, Any]:
    """Numbers that certify the paths of each solved method, and what was repaired of its metric.

    ``certified`` counts the paths that converged, are minimal, and whose residual is within its tolerance. Of what is
    shorter elsewhere it says nothing; ``longer`` counts Fisher paths longer than those of the published scheme.
    """
    numbers: dict[str, Any] = {}
    for name, entry in metrics.items():
        if name not in paths["method"]:
            continue
        part = paths.sel({"method": name})
        numbers[name] = {
            "repaired_share": entry.repaired,
            "floor": entry.floor,
            "certified": int(part["certified"].sum()),
            "residual_tolerance": RESIDUAL_TOLERANCE,
            "converged": int(part["converged"].sum()),
            "minimal": int(part["minimal"].sum()),
            "from_grid": int(part["from_grid"].sum()),
            "held_by_the_box": int((part["held"] > 0).sum()),
            "residual_median": float(part["residual"].median()),
            "residual_90": float(part["residual"].quantile(0.9)),
            "residual_largest": float(part["residual"].max()),
        }
    fisher = paths["fisher_length"]
    if {"fisher", "linear"} <= set(paths["method"].to_numpy()):
        ratio = fisher.sel({"method": "fisher"}) / fisher.sel({"method": "linear"})
        numbers["fisher_over_linear"] = {"median": float(ratio.median()), "largest": float(ratio.max())}
    if {"fisher", "published"} <= set(paths["method"].to_numpy()):
        ratio = fisher.sel({"method": "fisher"}) / fisher.sel({"method": "published"})
        numbers["fisher_over_published"] = {
            "median": float(ratio.median()),
            "largest": float(ratio.max()),
            "longer": int((ratio > 1 + 1e-6).sum()),
        }
    return {"pairs": paths.sizes["pair"], **numbers}


def shown_pairs(scores: pd.DataFrame, count: int) -> list[int]:
    """The pairs that figures show: the first across a boundary, in the order drawn, then the first within a phase."""
    first = scores[scores["method"] == scores["method"].iloc[0]].sort_values("within_phase", kind="stable")
    return [int(pair) for pair in first["pair"].iloc[:count]]


def strips_of(
    paths: xr.Dataset,
    images: UInt8[np.ndarray, "method pair place h w c"],
    embedding: Float[np.ndarray, "method pair place d"],
    scores: pd.DataFrame,
    count: int,
) -> xr.Dataset:
    """Images, way-points and embedding steps of the pairs that are shown, along the geodesic and the straight line."""
    methods = list(paths["method"].to_numpy())
    ways, pairs = [methods.index(name) for name in ("fisher", "linear")], shown_pairs(scores, count)
    pick = np.ix_(ways, pairs)
    steps = np.linalg.norm(np.diff(embedding[pick].astype(float), axis=2), axis=3)
    arrays = {
        "images": (("pair", "way", "place", "h", "w", "c"), images[pick]),
        "points": (("pair", "way", "place", "i"), paths["waypoints"].to_numpy()[pick]),
        "steps": (("pair", "way", "step"), steps),
    }
    fields = {name: (dims, np.swapaxes(values, 0, 1)) for name, (dims, values) in arrays.items()}
    return xr.Dataset(fields, coords={"pair": pairs, "way": ["fisher", "linear"], "i": ["a", "b"]})
