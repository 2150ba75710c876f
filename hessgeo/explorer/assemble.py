"""The page of a study: markup, style and modules from files beside this one, and all that it shows as data in it."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from hessgeo.explorer.atlas import Atlas
from hessgeo.explorer.layers import PALETTES, Layer, palette
from hessgeo.explorer.packing import pack, script_json, text
from hessgeo.explorer.rows import Rows
from hessgeo.explorer.windows import zoom_windows
from hessgeo.figures.phases import colours_of
from hessgeo.grids import Grid
from hessgeo.metrics.gridded import GriddedMetric
from hessgeo.posteriors import Posterior

# In this order: a module uses those before it alone.
MODULES = (
    "data", "palettes", "metric", "heap", "graph", "geodesic", "posterior", "atlas", "study", "state", "map", "strip",
    "panel", "controls", "live", "zoom", "main",
)  # fmt: skip
IMPORT = re.compile(r'^import \{[^}]*\} from "\./[a-z]+\.js";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?function |class |const |let )", re.MULTILINE)


@dataclass(frozen=True)
class Content:
    """What a page shows of a study.

    Attributes:
        name: of the study.
        grid: the nodes.
        free_energy: of the fit.
        layers: the maps.
        found: phases, boundaries and triple points.
        posterior: of the samples.
        metrics: in which geodesics can be solved, by name; the first is the default.
        titles: what they are called.
        atlas: the images, or None.
        rows: measured posteriors, or None.
        geodesics: paths between the pairs of the study, where they were solved.
        windows: of a zoom, where it was made.
        axes: what the parameters are called.
        made_of: digest of the results, by which a page is known to be up to date.
    """

    name: str
    grid: Grid
    free_energy: xr.Dataset
    layers: Sequence[Layer]
    found: Mapping[str, Any]
    posterior: Posterior
    metrics: Mapping[str, GriddedMetric]
    titles: Mapping[str, str]
    atlas: Atlas | None = None
    rows: Rows | None = None
    geodesics: xr.Dataset | None = None
    windows: xr.Dataset | None = None
    axes: tuple[str, str] = ("latent coordinate a", "latent coordinate b")
    made_of: str = ""


def assemble(content: Content, *, live: str | None = None) -> str:
    """The page, as HTML: one file that opens from disk and asks nobody for anything.

    Args:
        content: what it shows.
        live: where on the page's own server a model is sampled, or None.
    """
    pictures: dict[str, str] = {}
    data = {
        "name": content.name,
        "verdict": str(content.free_energy.attrs.get("verdict", "")),
        "resolution": content.posterior.resolution,
        "kernel": content.posterior.kernel,
        "fit": str(content.free_energy.attrs.get("fit", "")),
        "axes": content.axes,
        "grid": {"extent": content.grid.extent, "shape": content.grid.shape},
        "layers": [_layer(layer) for layer in content.layers],
        "palettes": {name: pack(palette(name)) for name in PALETTES},
        **_phases(content.found),
        "fields": _fields(content.free_energy),
        "samples": _samples(content.posterior, content.grid),
        "metrics": [_metric(key, one, content.titles[key]) for key, one in content.metrics.items()],
        "paths": _paths(content.geodesics, content.metrics),
        "atlas": _atlas(content.atlas, pictures),
        "rows": _rows(content.rows, pictures),
        "zoom": None if content.windows is None else zoom_windows(content.windows),
        "live": live,
    }
    places = {
        "title": html.escape(content.name),
        "made_of": html.escape(content.made_of),
        "connect": "'self'" if live else "'none'",
        "style": page_file("style.css"),
        "data": script_json(data),
        "pictures": "\n".join(
            f'<script type="text/plain" id="{name}">{value}</script>' for name, value in pictures.items()
        ),
        "script": page_script(),
    }
    # In one pass: what is put in is not looked through again.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: places[found[1]], page_file("index.html"))


def page_file(name: str) -> str:
    """A file of the page's source."""
    return (files("hessgeo.explorer") / "page" / name).read_text(encoding="utf-8")


def page_script() -> str:
    """All modules as one, for a page opened from disk cannot import files: without their imports and exports."""
    return "\n".join(EXPORT.sub("", IMPORT.sub("", page_file(f"{name}.js"))) for name in MODULES)


def _layer(layer: Layer) -> dict[str, Any]:
    low, high = layer.limits
    about = {
        "key": layer.key,
        "title": layer.title,
        "words": layer.words,
        "unit": layer.unit,
        "low": low,
        "high": high,
    }
    return {
        **about,
        "palette": layer.palette,
        "scale": layer.scale,
        "steps": layer.steps,
        "values": pack(layer.values),
    }


def _phases(found: Mapping[str, Any]) -> dict[str, Any]:
    entries = sorted(found["phases"], key=lambda phase: -phase["area"])
    colours = colours_of([phase["label"] for phase in entries])
    return {
        "phases": [
            {
                "label": phase["label"],
                "area": phase["area"],
                "medoid": phase.get("medoid"),
                "colour": [round(255 * channel) for channel in colours[phase["label"]]],
            }
            for phase in entries
        ],
        "boundaries": [_rounded(line["points"]) for line in found["boundaries"]],
        "corners": [_rounded(corner["point"]) for corner in found["triple_points"]],
    }


def _fields(free_energy: xr.Dataset) -> dict[str, Any]:
    """What is told of a node: the free energy, its slope, the metric, and errors where there are any."""
    names = {"F": "free_energy", "slope": "gradient", "g": "fisher_metric"}
    names |= {
        "F_error": "free_energy_error",
        "slope_error": "gradient_error",
        "g_error": "fisher_metric_error",
    }
    known = {key: name for key, name in names.items() if name in free_energy}
    # Slopes and potential make the fitted posterior: times N, sixteen bits are too few.
    return {
        key: pack(
            free_energy[name].transpose("a", "b", ...).to_numpy(),
            exact=10**9 if key in ("F", "slope") else 20_000,
        )
        for key, name in known.items()
    }


def _samples(posterior: Posterior, grid: Grid) -> dict[str, Any]:
    """Where samples are, unless they are the nodes, and mean and covariance of each posterior."""
    on_grid = grid.are_nodes(posterior.t)
    return {
        "count": len(posterior.t),
        "onGrid": on_grid,
        "t": None if on_grid else pack(posterior.t, exact=10**9),
        "mean": pack(posterior.mean),
        "covariance": pack(posterior.central_moment),
        "entropy": pack(posterior.entropy),
    }


def _metric(key: str, metric: GriddedMetric, title: str) -> dict[str, Any]:
    """The splines that the metric's logarithm is made of, so that the page's is the same one."""
    coefficients = metric.coefficients.numpy()
    units = metric.grid.square
    return {
        "key": key,
        "title": title,
        "units": units.tolist(),
        "coefficients": pack(coefficients, exact=400_000),
    }


def _paths(
    geodesics: xr.Dataset | None, metrics: Mapping[str, GriddedMetric], most: int = 81
) -> dict[str, Any]:
    """Solved paths of the metrics that the page has, thinned to ``most`` points, with length and certificate."""
    if geodesics is None:
        return {}
    found = {}
    for method in geodesics["method"].to_numpy().tolist():
        one = geodesics.sel({"method": method})  # by keyword it would be a way to look up
        if method not in metrics or "own_length" not in one:
            continue
        points = one["points"].transpose("pair", "point", "i").to_numpy()
        kept = np.unique(np.linspace(0, points.shape[1] - 1, min(most, points.shape[1])).round().astype(int))
        whole = np.isfinite(points).all(axis=(1, 2)) & np.isfinite(one["own_length"].to_numpy())
        found[method] = {
            "points": pack(points[whole][:, kept], exact=400_000),
            "length": pack(one["own_length"].to_numpy()[whole]),
            "certified": pack(one["certified"].to_numpy()[whole] == 1),
        }
    return found


def _atlas(atlas: Atlas | None, pictures: dict[str, str]) -> dict[str, Any] | None:
    if atlas is None:
        return None
    levels = []
    for k, level in enumerate(atlas.levels):
        names = {}
        for (column, row), data in level.blocks.items():
            names[f"{column},{row}"] = name = f"images-{k}-{column}-{row}"
            pictures[name] = text(data)
        levels.append({"tile": level.tile, "across": level.across, "kind": level.kind, "blocks": names})
    return {
        "levels": levels,
        "shape": atlas.shape,
        "cells": pack(atlas.cells.astype(np.int32)),
        "source": atlas.source,
        "words": atlas.words,
    }


def _rows(rows: Rows | None, pictures: dict[str, str]) -> dict[str, Any] | None:
    if rows is None:
        return None
    pictures["rows"] = text(rows.picture)
    return {"shape": rows.shape, "columns": rows.columns, "picture": "rows"}


def _rounded(points: Any) -> Float[np.ndarray, "..."]:
    return np.asarray(points, dtype=float).round(6).tolist()
