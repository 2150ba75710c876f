"""A morph of a finished study, for the command: its points, its frames, its films and its figure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hessgeo.evaluation.morphs import Floors, Look
from hessgeo.figures import morph as figure
from hessgeo.figures.morph_film import MILLISECONDS, SHADES, film
from hessgeo.figures.saving import save_figure
from hessgeo.pipeline.at_hand import NotAtHandError, load_at_hand, study_at_hand
from hessgeo.pipeline.morph import (
    by_the_mean,
    checked_points,
    make_morph,
    model_look,
    morph_numbers,
    nearest_look,
)
from hessgeo.pipeline.schema import defaults, schema_errors
from hessgeo.pipeline.zoom_layout import FILMS
from hessgeo.store.films import write_gif, write_mp4
from hessgeo.study.folder import Stored
from hessgeo.study.metric import named_metric
from hessgeo.study.parts import Parts

WRITERS: Mapping[str, Callable[..., None]] = {"gif": partial(write_gif, colours=SHADES), "mp4": write_mp4}


def film_study(
    folder: Path, points: Mapping[str, str], asked: Mapping[str, Any], out: Path, files: Sequence[Path]
) -> Iterator[str]:
    """Make the morph that the command asks for, and say line by line what it is.

    Args:
        folder: of the study.
        points: ``a,b`` in turn, by the option that gives each.
        asked: entries of the settings ``morph``; one that is None is by default.
        out: see ``write_morph``.
        files: of settings that the study was made by.

    Raises:
        ValueError: one line, on whatever is not allowed.
        FileNotFoundError: one line, if the folder holds no study.
    """
    settings = asked_settings(asked)
    check_name(out)
    parts = Stored(folder, {})
    places = {name: point_of(text, name.partition(" ")[0]) for name, text in points.items()}
    checked_points(list(places.values()), parts.grid, loop=settings["loop"], names=list(places))
    look, drawn = look_of(parts, files)
    if drawn:
        yield drawn
    morph = morph_study(parts, places, look, settings).assign_attrs(drawn=drawn)
    yield from told(morph)
    yield from map(
        str,
        write_morph(
            morph, parts.phases, out, loop=settings["loop"], verdict=parts.free_energy.attrs["verdict"]
        ),
    )


def asked_settings(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The settings ``morph`` that options say, complete.

    Raises:
        ValueError: one line, on two numbers of frames, or what the settings do not allow.
    """
    given = {name: value for name, value in asked.items() if value is not None}
    if {"frames", "step"} <= set(given):
        raise ValueError(f"--step: {given['step']:g} is not allowed beside --frames; allowed: one of both")
    if errors := schema_errors({"defaults": {"morph": given}}):
        raise ValueError(errors[0].replace("defaults.morph.", "--"))
    return {**defaults("study")["morph"], **given}


def point_of(text: str, name: str) -> tuple[float, float]:
    """A point from ``a,b``.

    Raises:
        ValueError: one line, if it is none.
    """
    try:
        a, b = map(float, text.split(","))
    except ValueError:
        raise ValueError(f"{name}: {text!r} is not allowed; allowed: two numbers a,b") from None
    return a, b


def look_of(parts: Stored, files: Sequence[Path]) -> tuple[Look, str]:
    """What gives images of a study at any point: its model, or its nearest samples; and what is to be said of that.

    Args:
        parts: of the study.
        files: of settings that it was made by, over the defaults.

    Raises:
        ValueError: one line, if it has neither model nor images.
    """
    try:
        layout = study_at_hand(parts.folder, files)
        return model_look(*load_at_hand(layout), seed=layout.setting("seed")), ""
    except NotAtHandError as error:
        if parts.images is None:
            raise ValueError(f"{parts.folder} has no images, and no model at hand: {error}") from None
        look = nearest_look(parts.t, parts.pictures, parts.embedding, parts.grid)
        return look, f"Frames are the nearest samples: {error}."


def morph_study(
    parts: Parts,
    points: Mapping[str, tuple[float, float]],
    look: Look,
    settings: Mapping[str, Any],
) -> xr.Dataset:
    """The frames of a morph through points of a study.

    Args:
        parts: of the study.
        points: by what they are called where they are refused.
        look: see ``look_of``.
        settings: all entries of the settings ``morph`` but ``points``.

    Raises:
        ValueError: one line, on points outside the box or the same twice, and as ``make_morph``.
    """
    grid = parts.grid
    stops = checked_points(list(points.values()), grid, loop=settings["loop"], names=list(points))
    metric = named_metric(parts, settings["metric"]).metric
    if settings["mean"]:
        stops = by_the_mean(metric, stops)
    floors = Floors(np.asarray(parts.embedding), grid)
    return make_morph(stops, metric, floors, look, settings, parts.settings["geodesics"])


def check_name(out: Path) -> str:
    """The kind of film that a name asks for, empty for all of them.

    Raises:
        ValueError: one line, on another ending, or an MP4 without the extra ``animation``.
    """
    kind = out.suffix.removeprefix(".")
    if kind and kind not in WRITERS:
        raise ValueError(
            f"--out: {str(out)!r} is not allowed; allowed: a name ending in .gif or .mp4, or in neither"
        )
    if kind and kind not in FILMS:
        raise ValueError(f"--out: {str(out)!r} needs the extra animation: pip install 'hessgeo[animation]'")
    return kind


def write_morph(morph: xr.Dataset, phases: xr.Dataset, out: Path, *, loop: bool, verdict: str) -> list[Path]:
    """Write films and figure beside each other; with an ending that is of a film, that film alone of both.

    Args:
        morph: of ``morph_study``.
        phases: of the study, see ``morph_film.film``.
        out: where, with the ending ``.gif`` or ``.mp4`` or without.
        loop: whether it ends where it starts.
        verdict: on the fit, for the figure.

    Returns:
        The files.

    Raises:
        ValueError: as ``check_name``.
    """
    kind = check_name(out)
    base = out.with_suffix("") if kind else out
    pictures = list(film(morph, phases, loop=loop))
    written = [Path(f"{base}.{one}") for one in ([kind] if kind else FILMS)]
    for file in written:
        WRITERS[file.suffix.removeprefix(".")](file, pictures, milliseconds=MILLISECONDS)
    drawn = [Path(f"{base}.{one}") for one in ("svg", "png", "csv")]
    save_figure(*figure.draw(morph), *drawn, verdict=verdict)
    return [*written, *drawn]


def told(morph: xr.Dataset) -> list[str]:
    """What the command says of a morph, line by line."""
    numbers = morph_numbers(morph)
    geodesic, straight = numbers["largest_feature_step"].values()
    said = [
        f"{numbers['frames']} frames, {numbers['certified']} of {numbers['legs']} legs certified, length "
        f"{numbers['length']:.4g}",
        f"largest step in the embedding: {geodesic:.3g}, of the straight line {straight:.3g} "
        f"(the least of all ways over neighbouring nodes alone: {numbers['floor']:.3g})",
    ]
    said += [f"not certified: {reason}" for reason in numbers["reasons"]]
    return said + [f"warning: {line}" for line in numbers["warnings"]]
