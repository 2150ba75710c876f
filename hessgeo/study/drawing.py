"""The workflow's figures of a study, drawn from what the study holds."""

from __future__ import annotations

from functools import reduce
from importlib import import_module
from operator import getitem
from typing import TYPE_CHECKING, Any

from hessgeo.study.parts import Parts

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# What figures read, by the names of the registry, as parts of a study.
_PARTS = {
    "free_energy": "free_energy",
    "metric": "metric",
    "fields": "phases",
    "phases": "found",
    "posterior": "posterior",
    "points": "t",
    "images": "pictures",
    "embedding": "embedding",
}


def names(parts: Parts) -> list[str]:
    """The figures that there are of a study: of the workflow's those that show nothing but its parts."""
    from hessgeo.figures.registry import STUDY

    learned = parts.settings["free_energy"].get("coordinates") == "learned"
    lacking = {"is_line"} if learned else {"is_line", "learns_coordinates"}
    found = [
        figure.name for figure in STUDY if set(figure.reads) <= set(_PARTS) and figure.needs not in lacking
    ]
    return [name for name in found if name != "mosaic" or parts.images is not None]


def draw(parts: Parts, name: str) -> tuple[Figure, pd.DataFrame]:
    """A figure by its name, and the numbers in it.

    Raises:
        ValueError: one line, on a name that is none.
    """
    from hessgeo.figures.registry import STUDY
    from hessgeo.figures.saving import drawn

    if name not in names(parts):
        raise ValueError(f"figure {name!r} is not allowed; allowed: {', '.join(names(parts))}")
    figure = next(one for one in STUDY if one.name == name)
    results = [getattr(parts, _PARTS[what]) for what in figure.reads]
    settings = {what: _setting(parts, what) for what in figure.settings}
    return drawn(import_module(f"hessgeo.figures.{name}"), results, settings)


def tiles(parts: Parts) -> tuple[Any, Any]:
    """The images of a mosaic, and the nodes that they stand for."""
    from hessgeo.figures.mosaic import gather

    points: Any = parts.t  # which a figure reads by rows, wherever they are
    found = gather(parts.found, points, parts.pictures, grid=parts.grid, tiles=_setting(parts, "tiles"))
    return found["images"], found["nodes"]


def _setting(parts: Parts, name: str) -> Any:
    from hessgeo.pipeline.figures import SETTINGS

    return reduce(getitem, SETTINGS[name], parts.settings) if name in SETTINGS else getattr(parts, name)
