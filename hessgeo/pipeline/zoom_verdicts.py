"""What becomes of a boundary over the windows of a zoom: a table of all, and a verdict a series."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hessgeo.phases.fractality import UNRESOLVED, judge_fractality
from hessgeo.phases.scale_law import judge_scales
from hessgeo.phases.zoom_windows import CONSTANTS, is_resolved
from hessgeo.pipeline.zoom import window_numbers
from hessgeo.pipeline.zoom_layout import Series

Windows = Sequence[tuple[str, xr.Dataset]]  # of each series by its name, in the order of levels
ESTIMATORS = ("box", "correlation", "uncertainty")


def zoom_table(windows: Windows, boundaries: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """A row a window: what was counted in it, its Lipschitz constants, and the dimension of its boundary.

    ``resolved`` says whether the precision tells its nodes apart, by what a rounding makes at the boundary point.

    ``side`` is the geometric mean of the window's sides and ``step`` that of its grid's steps, in parameters; a
    dimension has its interval of 95 % in ``_low`` and ``_high``; ``boundary`` is the verdict of ``judge_fractality``.
    """
    floors = {name: float(boundary.attrs["embedding_floor"]) for name, boundary in boundaries.items()}
    return pd.DataFrame([_row(name, window, floors[name]) for name, window in windows])


def _row(name: str, window: xr.Dataset, floor: float) -> dict[str, Any]:
    series, label = Series.named(name), window["label"].to_numpy()
    half = np.array(window.attrs["half"], dtype=float)
    steps = 2 * half / (np.array(label.shape) - 1)
    row: dict[str, Any] = {"series": name, "precision": series.precision, "steps": series.steps}
    row |= window_numbers(window) | {"nodes": label.size}
    row |= {"side": float(2 * np.sqrt(half.prod())), "step": float(np.sqrt(steps.prod()))}
    difference = row["embedding_per_parameter"] * row["step"]
    row["resolved"] = is_resolved(row["inputs"], row["nodes"], difference, floor)
    found = judge_fractality(label)
    row |= {"boundary": found.verdict, "reason": found.reason}
    for estimator in ESTIMATORS:
        dimension = getattr(found, estimator)
        row |= {f"{estimator}_dimension": dimension.value}
        row |= {f"{estimator}_low": dimension.low, f"{estimator}_high": dimension.high}
    return row


def judge_series(table: pd.DataFrame, boundaries: Mapping[str, xr.Dataset]) -> dict[str, Any]:
    """The verdict of each series, by its name: on its Lipschitz constants, and on the shape of its boundary.

    Args:
        table: of ``zoom_table``.
        boundaries: of ``describe_boundary``, by series.
    """
    found = {}
    for name, rows in table.groupby("series", sort=False):
        boundary = boundaries[str(name)]
        about = {
            key: boundary.attrs[key] for key in ("precision", "bracket", "clean_floor", "embedding_floor")
        }
        place = {"point": list(map(float, boundary.attrs["point"])), "steps": Series.named(str(name)).steps}
        floors = {key: float(boundary.attrs[f"{key}_floor"]) for key in ("clean", "embedding")}
        laws = {f"{top}_per_{bottom}": _law(rows, top, bottom, floors) for top, bottom in CONSTANTS}
        line = {
            "widths": boundary["width"].to_numpy().tolist(),
            "slopes": boundary["slope"].to_numpy().tolist(),
        }
        found[str(name)] = {**about, **place, "lipschitz": laws, "boundary": _shape(rows), "line": line}
    return found


def _law(rows: pd.DataFrame, top: str, bottom: str, floors: Mapping[str, float]) -> dict[str, Any]:
    """The law of a constant over the windows, and what a rounding makes of it.

    Args:
        rows: of the windows of one series.
        top: what changes.
        bottom: what it changes with.
        floors: how far clean data and embeddings lie apart that differ by a rounding.
    """
    values, step = rows[f"{top}_per_{bottom}"].to_numpy(float), rows["step"].to_numpy(float)
    # The distance in parameters at which neighbours differ as much, in the units of what the constant is taken by.
    by_parameter = rows[f"{top}_per_parameter"].to_numpy(float) * step
    spacing = np.divide(by_parameter, values, out=step.copy(), where=values > 0)
    known = rows["inputs"].to_numpy() == rows["nodes"].to_numpy()
    resolution = np.where(known, floors[top], np.inf)
    law = judge_scales(rows["width"].to_numpy(float), values, spacing=spacing, resolution=resolution)
    names = ("exponent", "low", "high", "value", "limit")
    numbers = {name: float(getattr(law, name)) for name in names}
    return {"verdict": law.verdict, "reason": law.reason, **numbers}


def _shape(rows: pd.DataFrame) -> dict[str, Any]:
    """What the boundary is in the resolved windows: how often smooth, fractal or neither, and its dimension."""
    told = rows[rows["resolved"] & (rows["boundary"] != UNRESOLVED)]
    counts = Counter(rows.loc[rows["resolved"], "boundary"])
    kinds = list(dict.fromkeys(told["boundary"]))
    verdict = UNRESOLVED if not kinds else kinds[0] if len(kinds) == 1 else "both"
    narrowest = told.sort_values("width").head(1)
    fields = ("width", "box_dimension", "box_low", "box_high")
    numbers = {key: float(narrowest[key].iloc[0]) for key in fields} if len(narrowest) else {}
    below = rows[~rows["resolved"].astype(bool)]
    about = {"resolved": int(rows["resolved"].sum()), "below": dict(Counter(below["boundary"]))}
    if below["box_dimension"].notna().any():
        about["below_dimension"] = float(below["box_dimension"].max())
    return {"verdict": verdict, "windows": dict(counts), **about, **numbers}


def windows_shown(windows: Windows, table: pd.DataFrame) -> xr.Dataset:
    """The images and labels of all windows, on the dimension ``window``, with series, width and centre of each.

    Args:
        windows: all of them.
        table: of ``zoom_table``, a row each.
    """
    numbers = [window_numbers(window) for _, window in windows]
    kept = [window[["label", "phase", "image"]].drop_attrs() for _, window in windows]
    stacked = xr.concat(kept, dim="window")
    about = {
        "series": [name for name, _ in windows],
        "level": [entry["level"] for entry in numbers],
        "width": [entry["width"] for entry in numbers],
        "resolved": table["resolved"].astype(bool).tolist(),
    }
    centre = np.array([window.attrs["centre"] for _, window in windows], dtype=float)
    half = np.array([window.attrs["half"] for _, window in windows], dtype=float)
    places = {"centre": (("window", "axis"), centre), "half": (("window", "axis"), half)}
    stacked = stacked.assign({key: ("window", np.array(value)) for key, value in about.items()}).assign(
        places
    )
    return stacked.assign_attrs(series=json.dumps(list(dict.fromkeys(about["series"]))))
