"""Table 2 and those beside it as they are typeset: their columns, and captions that state the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from hessgeo.figures.saving import RESOLVED
from hessgeo.figures.tables import Column, number_with_interval

SCORES = {
    "fisher": "Fisher",
    "embedding": "embedding",
    "pixels": "pixels",
    "perceptual": "perceptual",
    "perceptual_path_length": "perceptual path length",
    "embedding_istd": "ISTD, embedding",
    "pixels_istd": "ISTD, pixels",
    "perceptual_istd": "ISTD, perceptual",
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
    "embedding": "{} metric",
    "density": "density metric",
}
TITLES = {
    "table2": "Table 2",
    "table2_against_fisher": "Table 2, less the Fisher geodesic",
    "table2_turning": "Turning in phases and at boundaries",
}


def columns(name: str, table: pd.DataFrame, embeddings: Mapping[str, str]) -> list[Column]:
    """The columns of a table that are typeset: the path, and its scores, their differences, or contrasts of them.

    Args:
        name: of the table.
        table: as ``path_tables`` made it.
        embeddings: of each study, see ``embedding_name``; one that all share heads its column.
    """
    if name == "table2_turning":
        parts = {"boundary": "boundary", "inside": "inside", "difference": "boundary less inside"}
        return [Column("label", "path"), *(Column(part, title) for part, title in parts.items())]
    ending = "_difference" if name == "table2_against_fisher" else ""
    shared = _shared(embeddings)
    titles = {**SCORES, "embedding": shared, "embedding_istd": f"ISTD, {shared}"}
    scores = [
        Column(f"{score}{ending}", title) for score, title in titles.items() if f"{score}{ending}" in table
    ]
    return [Column("label", "path"), *scores]


def _shared(embeddings: Mapping[str, str]) -> str:
    """The embedding of all studies, or that they have one each."""
    return next(iter(embeddings.values())) if len(set(embeddings.values())) == 1 else SCORES["embedding"]


def typeset(name: str, table: pd.DataFrame, embeddings: Mapping[str, str]) -> pd.DataFrame:
    """A table with what is typeset: ``label`` of the method, ``group`` of the pairs, ``kind`` of the row, intervals."""
    rows = table.to_dict("records")
    label = [METHODS[row["method"]].format(embeddings[row["study"]]) for row in rows]
    if name == "table2_turning":
        group = [f"{row['study']}, {row['contrast']}" for row in rows]
        texts = {
            f"{part}_text": [_counted(row, part) for row in rows]
            for part in ("boundary", "inside", "difference")
        }
        return table.assign(label=label, group=group, kind="estimate", **texts)
    group = [f"{row['study']}, {row['pairs']}: {row['count']} pairs" for row in rows]
    table = table.assign(label=label, group=group, kind="estimate")
    if name == "table2_against_fisher":
        for score in SCORES:
            if score in table:
                keys = [f"{score}_{end}" for end in ("difference", "low", "high")]
                table[f"{score}_difference_text"] = [
                    number_with_interval(*(row[key] for key in keys)) for row in rows
                ]
    return table


def _counted(row: Mapping[str, Any], part: str) -> str:
    """A mean of ``turning_contrasts`` with its interval, and of how many paths."""
    numbers = [row[f"{part}{end}"] for end in ("", "_low", "_high")]
    return f"{number_with_interval(*numbers)} ({row[f'{part}_count']})"


def caption(
    name: str,
    settings: Mapping[str, Mapping[str, Any]],
    embeddings: Mapping[str, str],
    verdicts: Mapping[str, str] | None = None,
) -> str:
    """What a table shows, with the settings ``geodesics`` and the embedding of each study that a number depends on.

    Before it stands the verdict on the fit of each study that is not resolved.
    """
    poor = {study: words for study, words in (verdicts or {}).items() if words != RESOLVED}
    mark = (
        f"NOT RESOLVED: {'; '.join(f'{study}: {words}' for study, words in poor.items())}. " if poor else ""
    )
    return mark + _shown(name, settings, embeddings)


def _shown(name: str, settings: Mapping[str, Mapping[str, Any]], embeddings: Mapping[str, str]) -> str:
    split = "over pairs of points of the slice, all of them and split by whether both ends lie in one phase"
    if name == "table2_against_fisher":
        return (
            "The score of each path less that of the geodesic of the Fisher metric between the same ends: mean "
            f"{split}, with its interval of {_confidence(settings)} (Student's t over pairs; each holds by itself, "
            "none is widened for their number). Above zero the geodesic has the lower score. "
            f"{_scores(settings, embeddings)}"
        )
    if name == "table2_turning":
        return (
            f"Where paths turn: means with their intervals of {_confidence(settings)} (Student's t), in brackets of "
            "how many paths. Turning of parts: turning angle per unit of length in the plane, rad, of the part of each "
            "path within two nodes of a phase boundary, and of the rest of it; the difference is over paths that have "
            "both. Curvature and bend of pairs: of paths whose ends lie in two phases (boundary) and in one (inside), "
            "two sets of pairs (Welch's interval). A difference above zero says that turning gathers at boundaries; a "
            "mean well above zero inside, that paths are not straight there. A straight line has zero everywhere."
        )
    return f"Mean and standard deviation {split}. {_scores(settings, embeddings)}"


def _confidence(settings: Mapping[str, Mapping[str, Any]]) -> str:
    levels = dict.fromkeys(f"{100 * entry['confidence']:g} %" for entry in settings.values())
    return " or ".join(levels)


def _scores(settings: Mapping[str, Mapping[str, Any]], embeddings: Mapping[str, str]) -> str:
    """What the columns are."""
    shared = _shared(embeddings)
    head, each = shared[0].upper() + shared[1:], ""
    if len(set(embeddings.values())) > 1:
        each = f" (of {', of '.join(f'{study}: {embedding}' for study, embedding in embeddings.items())})"
    return (
        f"Fisher: length in the Fisher metric. {head}, pixels, perceptual: sums of distances of the images at "
        f"neighbouring way-points, in unit embeddings{each}, pixel values in [0, 1], and the features of the "
        "perceptual network. ISTD (Guo et al. 2023): standard deviation of those distances along a path, mean over "
        "paths; zero where every step changes the image as much. Curvature: mean turning angle per unit of length in "
        "the plane, rad. Bend: largest distance from the chord over the chord. "
        f"{_path_length(settings)} {_spacing(settings)}"
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
