"""Paths of a study by every method of Table 2, driven by its settings: its metrics, and what is solved in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from scipy.ndimage import gaussian_filter

from hessgeo.evaluation.path_images import OF_SOLVED, Features
from hessgeo.evaluation.path_scores import (
    draw_pairs,
    draw_shares,
    points_at,
)
from hessgeo.geodesics import Curves, geodesics
from hessgeo.geodesics.curves import subdivided
from hessgeo.geodesics.lines import spherical_lines, straight_lines
from hessgeo.geodesics.reference import adam_geodesics
from hessgeo.geodesics.solve import RESIDUAL_TOLERANCE
from hessgeo.grids import Grid
from hessgeo.metrics.conformal import DensityMetric, quantile_constants
from hessgeo.metrics.framed import in_frame
from hessgeo.metrics.gridded import GriddedMetric
from hessgeo.metrics.measured import FeatureRows
from hessgeo.metrics.pullback import feature_metric
from hessgeo.metrics.repair import repaired_field
from hessgeo.systems.slices import LatentSlice

Along = Callable[[int], np.ndarray]  # count -> (pair, count, 2), points along each path, ends included

TRACK = 361  # points between which a path is straight where it is read at any place


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
    features: Mapping[str, Float[np.ndarray, "na nb d"] | FeatureRows],
    log_density: Float[np.ndarray, "na nb"] | None,
    grid: Grid,
    settings: Mapping[str, Any],
) -> dict[str, StudyMetric]:
    """The metrics whose geodesics a study compares, by the name of the method.

    Args:
        fisher: Hessian of the free energy at the nodes.
        features: at the nodes, of the pull-back metrics, by name; or functions that make one row of nodes.
        log_density: at the nodes, of the density metric, up to a constant; None to leave it out.
        grid: the nodes.
        settings: the settings ``geodesics``.
    """
    floor, smoothing = settings["floor"], settings["smoothing"]
    mended = repaired_field(fisher, grid, smoothing=smoothing, floor=floor)
    metric = GriddedMetric(mended.metric, grid)
    metrics = {"fisher": StudyMetric(metric, mended.count / grid.size, mended.floor)}
    for name, values in features.items():
        found = feature_metric(values, grid, smoothing=smoothing, floor=floor)
        metrics[name] = StudyMetric(found.metric, found.repaired / grid.size, found.floor)
    if log_density is not None:
        metrics["density"] = StudyMetric(_density_metric(log_density, grid, settings), 0.0, 0.0)
    return metrics


def _density_metric(
    log_density: Float[np.ndarray, "na nb"], grid: Grid, settings: Mapping[str, Any]
) -> GriddedMetric:
    """The conformal metric of a density that is known at the nodes, ``p0`` its median."""
    if settings["smoothing"] > 0:
        log_density = gaussian_filter(log_density, settings["smoothing"], mode="nearest")
    values = torch.from_numpy(np.ascontiguousarray(log_density, dtype=float).ravel())
    log_p0, log_lam = quantile_constants(values, settings["density_quantile"])
    conformal = DensityMetric(lambda _: values, log_p0=log_p0, log_lam=log_lam)
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
    ``own`` they are equidistant in the metric of each method, those of ``linear`` in the parameters: few and even
    points jump across a boundary that others resolve, and their sum of distances is shorter for that. Those of
    ``spherical`` are even in the angle of the latents with both: it lies on the straight line, and its spacing is all
    that makes it another way.

    Args:
        metrics: by name; a method without its metric is left out.
        plane: the slice.
        grid: the nodes, whose box the pairs are drawn from and the curves stay in.
        settings: the settings ``geodesics``.
        seed: of the pairs.
        progress: show bars.

    Returns:
        On dims ``(method, pair, ...)``: ``points (point, i)``, ``waypoints (place, i)``, ``probes (probe, side, i)``
        (random places at a share ``s`` of the path, and the same at ``s + epsilon``, with the spacing of the
        way-points; the shares of a pair are the same on all its paths), ``own_length``, ``fisher_length``,
        ``certified``, ``converged``, ``minimal``, ``residual``, ``segments``, ``from_grid``, ``held``; the last seven
        of solved methods alone, else NaN (see ``geodesics.solve.Geodesics``).
    """
    starts, ends = draw_pairs(grid, settings["pairs"], seed=seed, margin=settings["margin"])
    step = settings["path_length_epsilon"]
    shares = draw_shares(len(starts), settings["path_length_places"], epsilon=step, seed=seed)
    fisher = metrics["fisher"].metric
    methods = [
        name
        for name in settings["methods"]
        if name in metrics or name in ("linear", "spherical", "published")
    ]
    parts = []
    for name in methods:
        if name in metrics:
            part, along = _solved(metrics[name].metric, starts, ends, settings, progress)
        elif name == "published":
            part, along = _published(fisher, starts, ends, settings, progress)
        else:
            along = _line(name, starts, ends, plane)
            part = {"points": along(settings["points"])}
        curve = _polyline(torch.from_numpy(part["points"]), fisher)
        # A solved curve is a spline: its own length is more exact than that of the polyline through its points.
        own = part["own_length"] if name == "fisher" else None
        part["fisher_length"] = curve.length(fisher).numpy() if own is None else own
        if settings["spacing"] == "fisher" and name not in ("fisher", "spherical"):
            along = _even(curve, fisher, grid)
        part["waypoints"], track = along(settings["waypoints"]), along(TRACK)
        part["probes"] = np.stack([points_at(track, shares), points_at(track, shares + step)], axis=2)
        parts.append(part)
    dims = {"points": ("point", "i"), "waypoints": ("place", "i"), "probes": ("probe", "side", "i")}
    missing = np.full(len(starts), np.nan)
    names = dict.fromkeys(key for part in parts for key in part)
    fields = {
        key: (("method", "pair", *dims.get(key, ())), np.stack([part.get(key, missing) for part in parts]))
        for key in names
    }
    return xr.Dataset(fields, coords={"method": methods, "i": ["a", "b"]}, attrs={"seed": seed})


def _line(name: str, starts: np.ndarray, ends: np.ndarray, plane: LatentSlice) -> Along:
    """The straight line, even in the parameters, or the spherical one, even in the angle of the latents."""
    if name == "linear":
        return lambda count: straight_lines(starts, ends, count)
    return lambda count: spherical_lines(starts, ends, plane, count)


def _even(curve: Curves, metric: GriddedMetric, grid: Grid) -> Along:
    """Points of curves at equal distances in a metric, within the box."""
    low, high = torch.tensor(grid.extent, dtype=torch.float64).T
    return lambda count: curve.at(curve.equidistant(metric, count)).clamp(low, high).numpy()


def _solved(
    metric: GriddedMetric, starts: np.ndarray, ends: np.ndarray, settings: Mapping[str, Any], progress: bool
) -> tuple[dict[str, np.ndarray], Along]:
    first, last = torch.from_numpy(starts), torch.from_numpy(ends)
    every = settings["refinement"]
    points = every * (settings["points"] - 1) + 1
    paths = geodesics(
        metric, first, last, points=points, doublings=settings["doublings"], valleys=True, progress=progress
    )
    numbers = {name: getattr(paths, name) for name in OF_SOLVED}
    part = {
        "points": paths.points[:, ::every].numpy(),
        "own_length": paths.length.numpy(),
        **{name: value.double().numpy() for name, value in numbers.items()},
    }
    return part, lambda count: paths.equidistant(count).numpy()


def _published(
    metric: GriddedMetric, starts: np.ndarray, ends: np.ndarray, settings: Mapping[str, Any], progress: bool
) -> tuple[dict[str, np.ndarray], Along]:
    first, last = torch.from_numpy(starts), torch.from_numpy(ends)
    options = {"points": settings["points"], "steps": settings["published_steps"]}
    # In box units: with one rate for both axes, and a share of the gradient that counts as none, units would choose the
    # way.
    frame = metric.grid.frame
    inside = in_frame(metric, frame)
    rate = settings["published_learning_rate"] / float(np.exp(np.log(frame.half).mean()))
    found = adam_geodesics(
        inside, frame.into(first), frame.into(last), **options, learning_rate=rate, box=inside.box,
        progress=progress,
    )  # fmt: skip
    points = frame.out_of(found.points)
    curve = _polyline(points, metric)
    part = {"points": points.numpy(), "own_length": curve.length(metric).numpy()}
    return part, lambda count: curve.at(curve.equidistant(metric, count)).numpy()


def _polyline(points: Float[torch.Tensor, "m n 2"], metric: GriddedMetric) -> Curves:
    """The polylines, in segments no longer than a grid step: those of the published scheme may cross a phase in one."""
    return Curves.polyline(subdivided(points, metric.grid.spacing))


def feature_maps(perceptual: Mapping[str, Any] | None, *, device: str = "cpu") -> dict[str, Features]:
    """Feature spaces that ask for no embedding: grey values in [0, 1], and perceptual ones where there is a network.

    Args:
        perceptual: ``kind`` classifier with its folder as ``checkpoint``, or lpips with ``checkpoint``, ``linear`` and
            ``size`` of ``LpipsCheckpoint``; None for no network.
        device: where LPIPS runs.
    """
    maps: dict[str, Features] = {"pixels": lambda images: images.reshape(len(images), -1) / np.float32(255)}
    if perceptual is not None and perceptual["kind"] == "classifier":
        from hessgeo.models.digit_classifier import load_classifier, perceptual_features

        model = load_classifier(perceptual["checkpoint"])
        maps["perceptual"] = lambda images: perceptual_features(model, images)
    elif perceptual is not None:
        from hessgeo.features.lpips_checkpoint import LpipsCheckpoint

        files = LpipsCheckpoint(perceptual["checkpoint"], perceptual["linear"], size=perceptual["size"])
        maps["perceptual"] = files.load(device=device)
    return maps


def rows_of(features: Features, images: Callable[[slice], np.ndarray], grid: Grid) -> FeatureRows:
    """Features of a row of nodes at a time, of images that ``images`` reads when they are asked for."""
    width = grid.shape[1]
    return lambda row: features(images(slice(row * width, (row + 1) * width)))


def certificates(paths: xr.Dataset, metrics: Mapping[str, StudyMetric]) -> dict[str, Any]:
    """Numbers that certify the paths of each solved method, and what was repaired of its metric.

    ``certified`` counts the paths that converged, are minimal, whose residual is within its tolerance, and that the
    distance over a grid does not undercut and is known well enough to judge. ``longer`` counts Fisher paths longer than
    those of the published scheme.
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
