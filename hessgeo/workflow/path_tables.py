"""Table 2 as it is typeset: its columns, and captions that state the settings it was made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from hessgeo.plotting.tables import Column

SCORES = {
    "fisher": "Fisher",
    "clip": "CLIP",
    "pixels": "pixels",
    "perceptual": "perceptual",
    "perceptual_path_length": "perceptual path length",
    "curvature": "curvature",
    "bend": "bend",
}
METHODS = {
    "linear": "straight line",
    "spherical": "spherical line",
    "fisher": "Fisher (ours)",
    "published": "Fisher, the paper's solver",
    "pixels": "pixel metric (Shao)",
    "perceptual": "perceptual metric (Wang)",
    "clip": "CLIP metric",
    "density": "density metric",
}
TITLE = "Table 2"


def score_columns(table: pd.DataFrame) -> list[Column]:
    """The scores that a table has, as columns beside the method."""
    scores = [Column(name, title) for name, title in SCORES.items() if name in table]
    return [Column("label", "path"), *scores]


def with_labels(table: pd.DataFrame) -> pd.DataFrame:
    """A table with what is typeset: ``label`` of the method, ``group`` of the pairs, ``kind`` of the row."""
    group = [f"{row.study}, {row.pairs}: {row.count_of_pairs} pairs" for row in _rows(table)]
    return table.assign(label=table["method"].map(METHODS), group=group, kind="estimate")


def _rows(table: pd.DataFrame) -> Any:
    # Tuples have a method ``count`` of their own.
    return table.rename(columns={"count": "count_of_pairs"}).itertuples()


def caption(settings: Mapping[str, Mapping[str, Any]]) -> str:
    """What Table 2 shows, with the settings ``geodesics`` of each study that a number depends on."""
    return (
        "Mean and standard deviation over pairs of points of the slice, all of them and split by whether both ends "
        "lie in one phase. Fisher: length in the Fisher metric. CLIP, pixels, perceptual: sums of distances of the "
        "images at neighbouring way-points, in unit embeddings, grey values in [0, 1], and the features of the "
        "perceptual network. Curvature: mean turning angle per unit of length in the plane, rad. Bend: largest "
        f"distance from the chord over the chord. {_path_length(settings)} {_spacing(settings)}"
    )


def _path_length(settings: Mapping[str, Mapping[str, Any]]) -> str:
    """How the perceptual path length was measured."""
    names = ("path_length_epsilon", "path_length_places", "path_length_clip")
    found = {study: tuple(entry[name] for name in names) for study, entry in settings.items()}
    said = {study: _step(*entry) for study, entry in found.items()}
    if len(set(said.values())) == 1:
        stated = next(iter(said.values()))
    else:
        stated = "; ".join(f"{study}: {text}" for study, text in said.items())
    return (
        "Perceptual path length (Karras et al. 2019): mean of |f(s + epsilon) - f(s)|^2 / epsilon^2 over random "
        "places s of a path in the plane, s running from 0 to 1, the same on all paths of a pair; f the perceptual "
        f"features of the image; {stated}."
    )


def _step(epsilon: float, places: int, clip: list[float] | None) -> str:
    left = (
        "nothing left out"
        if clip is None
        else f"steps below the {clip[0]:g} and above the {clip[1]:g} quantile of a method's left out"
    )
    return f"epsilon {epsilon:g}, {places} places a path, {left}"


def _spacing(settings: Mapping[str, Mapping[str, Any]]) -> str:
    """Where way-points lie."""
    told = {
        "fisher": "equidistant in the Fisher metric on every path but the spherical",
        "own": "equidistant in the metric of each method, those of the straight line in the parameters",
    }
    by_rule = {
        rule: [study for study, entry in settings.items() if entry["spacing"] == rule] for rule in told
    }
    stated = [
        text if len(by_rule[rule]) == len(settings) else f"{text} ({', '.join(by_rule[rule])})"
        for rule, text in told.items()
        if by_rule[rule]
    ]
    return (
        f"Way-points, and s, are {'; '.join(stated)}. The spherical line lies on the straight one; its way-points are "
        "even in the angle of the latents, which is all that differs."
    )
