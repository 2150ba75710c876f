"""Maps of the explorer: what of the results of a study is drawn, in which colours and on which scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from jaxtyping import Num, UInt8

from hessgeo.figures.look import register_maps
from hessgeo.grids import Grid
from hessgeo.metrics.diagnostics import eigenvalues, in_units

# Perceptually uniform, and told apart by the colour-blind.
PALETTES = ("viridis", "cividis", "vlag")
TAILS = (0.5, 99.5)  # percentiles between which a scale is set


@dataclass(frozen=True)
class Layer:
    """A map.

    Attributes:
        key: short name, which addresses keep.
        title: what it is called.
        words: what it shows, in one sentence.
        unit: of its values, or empty.
        values: on the nodes, or by step on the nodes.
        palette: ``phases``, or one of ``PALETTES``.
        scale: ``linear`` or ``log``; of phases ``phases``.
        steps: what each step is called, of a layer by step.
    """

    key: str
    title: str
    words: str
    unit: str
    values: Num[np.ndarray, "*step a b"]
    palette: str = "viridis"
    scale: str = "linear"
    steps: tuple[str, ...] = ()

    @property
    def limits(self) -> tuple[float, float]:
        """Ends of the scale: percentiles, or of a diverging one the same on both sides of zero."""
        known = self.values[np.isfinite(self.values)].astype(float)
        if self.scale == "log":
            known = known[known > 0]
        if known.size == 0:
            return (0.1, 1.0) if self.scale == "log" else (0.0, 1.0)
        low, high = (float(value) for value in np.percentile(known, TAILS))
        if self.palette == "vlag":
            reach = max(abs(low), abs(high)) or 1.0
            return -reach, reach
        if high - low <= 1e-9 * max(abs(low), abs(high)):
            return (low / 1.5, high * 1.5) if self.scale == "log" else (low - 0.5, high + 0.5)
        return low, high


def study_layers(
    free_energy: xr.Dataset,
    metric: xr.Dataset,
    phases: xr.Dataset,
    grid: Grid,
    *,
    history: xr.Dataset | None = None,
    safety: xr.Dataset | None = None,
) -> list[Layer]:
    """All maps that a study has.

    Args:
        free_energy: of the fit, see the table of results in ``docs/architecture.md``, as what follows.
        metric: its invariants.
        phases: labels and the Lipschitz field.
        grid: the nodes.
        history: labels by step, where they were traced.
        safety: which seeds are safe, where that was measured.
    """
    found = [*_of_phases(phases), *_of_fit(free_energy, metric), *_of_metrics(metric, phases, grid)]
    found += _of_errors(free_energy, metric, grid)
    if history is not None:
        found.append(_of_history(history))
    if safety is not None:
        found += _of_safety(safety)
    return found


def _of_phases(phases: xr.Dataset) -> Iterator[Layer]:
    yield Layer("phase", "Phase", "Regions between ridges of the metric.", "", _field(phases, "label").astype(np.int32),
                "phases", "phases")  # fmt: skip


def _of_fit(free_energy: xr.Dataset, metric: xr.Dataset) -> Iterator[Layer]:
    yield Layer("F", "Free energy F", "The convex potential whose Hessian is the metric.", "nats per N",
                _field(free_energy, "free_energy"))  # fmt: skip
    yield Layer("logdet", "log det g", "Logarithm of the metric's determinant: volume.", "",
                _field(metric, "log_determinant"))  # fmt: skip
    yield Layer("largest", "Largest eigenvalue", "How fast images change in the direction of fastest change.",
                "nats per N", _field(metric, "largest_eigenvalue"), scale="log")  # fmt: skip


def _of_metrics(metric: xr.Dataset, phases: xr.Dataset, grid: Grid) -> Iterator[Layer]:
    """What is measured without the fit."""
    titles = {"measured_metric": ("measured", "Measured from embeddings", "Largest eigenvalue of the metric of finite "
                                  "differences of embeddings, without a fit.", ""),
              "posterior_metric": ("posterior", "Measured from posteriors", "Largest eigenvalue of the metric of the "
                                   "posteriors' means and covariances, without a fit.", "nats per N")}  # fmt: skip
    for name, (key, title, words, unit) in titles.items():
        if name in metric and np.isfinite(values := _field(metric, name)).any():
            # Box made a square, as of the fitted metric's.
            largest = _largest(values, grid)
            yield Layer(key, title, words, unit, largest, scale="log")
    if "lipschitz" in phases and np.isfinite(values := _field(phases, "lipschitz")).any():
        yield Layer("lipschitz", "Lipschitz constant", "Largest |ΔE| / |Δt| to a neighbouring node.", "", values,
                    scale="log")  # fmt: skip
    if "curvature" in metric:
        yield Layer("curvature", "Gaussian curvature", "Of the fitted metric; zero where it is flat.", "N per nat",
                    _field(metric, "curvature"), "vlag")  # fmt: skip


def _of_errors(free_energy: xr.Dataset, metric: xr.Dataset, grid: Grid) -> Iterator[Layer]:
    if "free_energy_error" in free_energy:
        yield Layer("F_error", "Error of F", "Standard error of the free energy.", "nats per N",
                    _field(free_energy, "free_energy_error"), "cividis")  # fmt: skip
    if "fisher_metric_error" in free_energy:
        yield Layer("g_error", "Error of the metric", "Standard error of the metric over its size.", "",
                    relative_error(free_energy, grid), "cividis", "log")  # fmt: skip
    if "response_difference" in metric and np.isfinite(values := _field(metric, "response_difference")).any():
        yield Layer("response", "Response less Fisher", "How far slopes of posteriors turn otherwise than a Fisher "
                    "metric says, relative to it.", "", values, "cividis")  # fmt: skip


def _of_history(history: xr.Dataset) -> Layer:
    label = history["label"].transpose("step", "a", "b").to_numpy().astype(np.int32)
    level = history["level"].to_numpy() if "level" in history else np.full(len(label), np.nan)
    steps = tuple(f"step {k + 1} of {len(label)}, noise level {value:.3g}" for k, value in enumerate(level))
    return Layer("history", "Phases through the sampler's time", "Regions of the image that is predicted at each step.",
                 "", label, "phases", "phases", steps)  # fmt: skip


def _of_safety(safety: xr.Dataset) -> Iterator[Layer]:
    if "boundary_distance" in safety:
        yield Layer("boundary_distance", "Distance to a boundary", "Fisher distance to the nearest boundary of phases: "
                    "seeds far from one are safe.", "√(nats per N)", _field(safety, "boundary_distance"))  # fmt: skip
    if "jitter_risk" in safety:
        yield Layer("jitter_risk", "Risk of a jitter", "Chance that a small change of the seed leads to another phase.",
                    "", _field(safety, "jitter_risk"), "cividis")  # fmt: skip


def relative_error(free_energy: xr.Dataset, grid: Grid) -> Num[np.ndarray, "a b"]:
    """Frobenius norm of the metric's standard errors over that of the metric, the box made a square."""
    norms = [
        np.sqrt((in_units(_field(free_energy, name), grid.square) ** 2).sum(axis=(-2, -1)))
        for name in ("fisher_metric_error", "fisher_metric")
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(norms[0] / norms[1])


def _largest(values: Num[np.ndarray, "a b 2 2"], grid: Grid) -> Num[np.ndarray, "a b"]:
    """Largest eigenvalues; NaN where an entry is not finite."""
    known = np.isfinite(values).all(axis=(-2, -1))
    filled = np.where(known[..., None, None], values, np.eye(2))
    return np.where(known, eigenvalues(in_units(filled, grid.square))[..., 1], np.nan)


def palette(name: str) -> UInt8[np.ndarray, "256 3"]:
    """The colours of a palette, from low to high."""
    register_maps()  # vlag is none of matplotlib's own
    colours: Any = mpl.colormaps[name](np.linspace(0, 1, 256))
    return np.rint(255 * colours[:, :3]).astype(np.uint8)


def _field(dataset: xr.Dataset, name: str) -> Num[np.ndarray, "a b *component"]:
    return dataset[name].transpose("a", "b", ...).to_numpy()
