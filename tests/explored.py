"""A study made of closed forms, for the explorer: two regions parted by a steep bend of F, and an image a node."""

import dataclasses

import numpy as np
import torch
import xarray as xr

from hessgeo.explorer import Content, Layer, make_atlas, study_layers
from hessgeo.explorer.atlas import grid_cells, scattered_cells
from hessgeo.explorer.rows import measured_rows
from hessgeo.grids import Grid
from hessgeo.metrics.gridded import GriddedMetric
from hessgeo.posteriors import posterior

GRID = Grid(((-1.0, 2.0), (0.0, 2.0)), (17, 13))
STEEP, RESOLUTION = 4.0, 60.0


def potential(t):
    """``F = log cosh(k (a - b / 2)) / k + |t|^2 / 4``, with gradient and Hessian."""
    x, direction = STEEP * (t[..., 0] - t[..., 1] / 2), np.array([1.0, -0.5])
    value = np.log(np.cosh(x)) / STEEP + (t**2).sum(axis=-1) / 4
    gradient = np.tanh(x)[..., None] * direction + t / 2
    bend = (STEEP / np.cosh(x) ** 2)[..., None, None] * np.outer(direction, direction)
    return value, gradient, bend + np.eye(2) / 2


def fields():
    """``free_energy``, ``metric`` and ``phases`` of it, as files have them."""
    t = GRID.points.reshape(*GRID.shape, 2)
    value, gradient, g = potential(t)
    axes = {"a": GRID.axes[0], "b": GRID.axes[1]}
    values = np.linalg.eigvalsh(g)
    free_energy = xr.Dataset(
        {
            "free_energy": (("a", "b"), value),
            "gradient": (("a", "b", "i"), gradient),
            "fisher_metric": (("a", "b", "i", "j"), g),
            "free_energy_error": (("a", "b"), 0.01 + 0 * value),
            "fisher_metric_error": (("a", "b", "i", "j"), 0.1 * np.abs(g)),
        },
        axes,
        {"resolution": RESOLUTION, "fit": "dual", "verdict": "resolved"},
    )
    metric = xr.Dataset(
        {
            "largest_eigenvalue": (("a", "b"), values[..., 1]),
            "log_determinant": (("a", "b"), np.log(values).sum(axis=-1)),
            "measured_metric": (("a", "b", "i", "j"), 1.1 * g),
        },
        axes,
    )
    label = np.where(t[..., 0] < t[..., 1] / 2, 1, 2)
    phases = xr.Dataset(
        {"label": (("a", "b"), label), "lipschitz": (("a", "b"), values[..., 1] ** 0.5)}, axes
    )
    return free_energy, metric, phases


def images():
    """An image a node whose first two pixels are its indices, times fifteen."""
    pictures = np.zeros((GRID.size, 6, 6, 1), np.uint8)
    pictures[:, 0, 0, 0], pictures[:, 0, 1, 0] = 15 * np.indices(GRID.shape).reshape(2, -1)
    return pictures


def scattered():
    """Samples that are no grid."""
    low, high = np.array(GRID.extent).T
    return low + (high - low) * np.random.default_rng(3).uniform(size=(150, 2))


def embedding(t=GRID.points):
    """Of each point a unit vector, from its slope."""
    slope = potential(t)[1]
    features = np.concatenate([0.4 * slope, np.ones((len(t), 1))], axis=1)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def fisher():
    """The metric in which geodesics are solved."""
    return GriddedMetric(potential(GRID.points.reshape(*GRID.shape, 2))[2], GRID)


def windows():
    """Two series of windows about a point; images tell their window and place."""
    places = np.arange(3 * 2 * 2).reshape(3, 2, 2)
    pictures = np.repeat(np.repeat(20 * places[..., None, None, None], 2, axis=3), 2, axis=4).astype(np.uint8)
    return xr.Dataset(
        {
            "label": (("window", "a", "b"), 1 + (np.arange(3 * 9).reshape(3, 3, 3) % 2)),
            "image": (("window", "ta", "tb", "y", "x", "channel"), pictures),
            "series": ("window", ["float64-25", "float64-25", "float16-25"]),
            "width": ("window", [1.0, 0.1, 1.0]),
            "resolved": ("window", [True, False, True]),
            "centre": (("window", "axis"), [[0.5, 1.0], [0.25, 0.5], [0.5, 1.0]]),
            "half": (("window", "axis"), [[1.5, 1.0], [0.15, 0.1], [1.5, 1.0]]),
        },
        attrs={"series": '["float64-25", "float16-25"]'},
    )


def content(*, history=False):
    """All that a page shows."""
    free_energy, metric, phases = fields()
    found = posterior(embedding(), GRID.points, resolution=RESOLUTION)
    traced = None  # of other targets, as the zoom
    if history:
        label = phases["label"].to_numpy()
        traced = xr.Dataset(
            {"label": (("step", "a", "b"), np.stack([1 + 0 * label, label])), "level": ("step", [2.0, 0.1])}
        )
    layers: list[Layer] = study_layers(free_energy, metric, phases, GRID, history=traced)
    middle = [[b / 2, b] for b in GRID.axes[1]]
    share = float((phases["label"] == 1).mean())
    return Content(
        name="closed <form>",
        grid=GRID,
        free_energy=free_energy,
        layers=layers,
        found={
            "phases": [
                {"label": 1, "area": share, "medoid": 3},
                {"label": 2, "area": 1 - share, "medoid": 150},
            ],
            "boundaries": [{"phases": [1, 2], "points": middle}],
            "triple_points": [],
        },
        posterior=found,
        metrics={
            "fisher": fisher(),
            "embedding": GriddedMetric(np.tile(np.eye(2), (*GRID.shape, 1, 1)), GRID),
        },
        titles={"fisher": "Fisher", "embedding": "flat"},
        atlas=make_atlas(images().__getitem__, (6, 6, 1), *grid_cells(GRID.shape)),
        rows=measured_rows(found, embedding(), GRID),
        windows=windows() if history else None,
    )


def scattered_content():
    """What a page shows of a study whose samples are no grid: their images hold their numbers."""
    t, on_grid = scattered(), content()
    pictures = np.zeros((len(t), 6, 6, 1), np.uint8)
    pictures[:, 0, 0, 0] = np.arange(len(t))
    found = posterior(embedding(t), t, resolution=RESOLUTION)
    return dataclasses.replace(
        on_grid,
        posterior=found,
        atlas=make_atlas(pictures.__getitem__, (6, 6, 1), *scattered_cells(len(t))),
        rows=measured_rows(found, embedding(t), GRID),
    )


def solved(starts, ends):
    """Certified geodesics of the metric."""
    from hessgeo.geodesics.solve import geodesics

    pairs = (torch.tensor(points, dtype=torch.float64) for points in (starts, ends))
    return geodesics(fisher(), *pairs, points=61, box=GRID.extent, valleys=True)
