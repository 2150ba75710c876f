"""How the workflow draws each figure of the registry: what it reads of a run, what it is told, where it goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from hessgeo.figures import registry
from hessgeo.figures.registry import Figure
from hessgeo.pipeline.layout import Layout
from hessgeo.pipeline.solvable_layout import SHOWN_NETWORK
from hessgeo.pipeline.study_layout import StudyLayout

# What figures read of a study, by the names of the registry: results, arrays of the sample store, and what was made
# of the anchors.
RESULTS = {
    "free_energy": "free_energy.nc",
    "metric": "metric.nc",
    "fields": "phases.nc",
    "phases": "phases.json",
    "posterior": "posterior.zarr",
    "scan": "resolution_scan.csv",
    "calibration": "calibration.nc",
    "paths": "geodesics.nc",
    "scores": "path_scores.csv",
    "strips": "path_strips.nc",
    "history": "history.json",
    "history_fields": "history.nc",
    "stability": "stability.json",
    "agreements": "stability.csv",
    "safety": "safety.json",
    "safety_fields": "safety.nc",
    "morph": "morph/morph.nc",
    "zoom_windows": "zoom/windows.nc",
    "zoom_table": "zoom/zoom.csv",
    "zoom_verdicts": "zoom/zoom.json",
    "refined": "refined/refined.nc",
    "refined_numbers": "refined/refined.json",
}
# What they read of a comparison.
DIFFERENCES = {
    "differences": "differences.nc",
    "measured": "differences.json",
    "noise_maps": "noise.nc",
    "noise": "noise.csv",
    "noise_numbers": "noise.json",
}
ARRAYS = {"points": "t", "images": "image", "embedding": "embedding", "predictions": "prediction"}
ANCHORS = {"anchor_numbers": "numbers", "reconstructions": "reconstructions"}
# Where a study has the settings that figures take; others are properties of its layout.
SETTINGS = {
    "tiles": ("figures", "mosaic"),
    "sources": ("figures", "sources"),
    "shown": ("geodesics", "shown"),
    "smoothing": ("geodesics", "smoothing"),
    "floor": ("geodesics", "floor"),
    "frames": ("history", "shown"),
}


@dataclass(frozen=True)
class Drawing:
    """What the rule of a figure says.

    Attributes:
        figure: the figure.
        path: of its files, without the ending; wildcards in braces.
        category: where the report has it.
        input: paths by name, or functions of wildcards that give them.
        params: what its script is told, in the same way.
        script: that script.
        of: what it is drawn of, in words for people.
    """

    figure: Figure
    path: str
    category: str
    input: Mapping[str, Any]
    params: Mapping[str, Any]
    script: str
    of: str

    def modules(self, _: Any) -> dict[str, list[str]]:
        """The module that its script imports by name, see ``Code.of``."""
        return {"hessgeo.figures": [self.figure.name]}


def drawings(layout: Layout) -> Iterator[Drawing]:
    """Every figure of a run, one a rule."""
    of_targets = (
        *registry.HISTORY,
        *registry.STABILITY,
        *registry.ZOOM,
        *registry.SAFETY,
        *registry.MORPH,
        *registry.REFINEMENT,
    )
    for figure in (*registry.STUDY, *registry.PATHS, *of_targets, *registry.PAPER):
        yield _of_study(layout, figure)
    yield _of_comparison(layout, registry.COMPARISON, layout.comparison("{comparison}"))
    yield _of_comparison(layout, registry.HISTORIES, layout.comparison("{comparison}/histories"))
    yield _of_differences(layout, registry.DIFFERENCES)
    yield _of_differences(layout, registry.NOISE)
    for figure in registry.SOLVABLE:
        yield _of_solvable(layout, figure)
    for figure in registry.PAPER_SOLVABLE:
        yield replace(_of_solvable(layout, figure), path=layout.paper.path(f"computed/{figure.name}"))
    for figure in registry.DENSITY:
        density = layout.generative
        files = {name.partition(".")[0]: density.path(name) for name in figure.reads}
        path = density.path("figures", figure.name)
        about: dict[str, Any] = {"arrays": {}, "settings": {}}
        yield Drawing(figure, path, "generative geodesics", files, about, "draw_figure.py", "densities")


def _of_study(layout: Layout, figure: Figure) -> Drawing:
    def told(wildcards: Any, *, part: Any) -> dict[str, Any]:
        return part(layout.of(wildcards.study), figure)

    files = {
        name: partial(lambda wildcards, name: shown(layout.of(wildcards.study), name), name=name)
        for name in figure.reads
    }
    params = {"arrays": partial(told, part=arrays), "settings": partial(told, part=settings)}
    path = layout.any_study.path("figures", figure.name)
    return Drawing(figure, path, "{study}", files, params, "draw_figure.py", "{wildcards.study}")


def _of_comparison(layout: Layout, figure: Figure, path: str) -> Drawing:
    files = {name: layout.of_comparison(RESULTS[name]) for name in figure.reads}
    labels = layout.of_comparison("name")
    params = {"arrays": {}, "settings": lambda wildcards: {"labels": labels(wildcards)}}
    of = "the studies of {wildcards.comparison}"
    return Drawing(figure, path, "comparisons", files, params, "draw_figure.py", of)


def _of_differences(layout: Layout, figure: Figure) -> Drawing:
    folder = layout.comparison("{comparison}")
    files = {name: f"{folder}/{DIFFERENCES[name]}" for name in figure.reads}
    params: dict[str, Any] = {"arrays": {}, "settings": {}}
    path, of = f"{folder}/{figure.name}", "{wildcards.comparison}"
    return Drawing(figure, path, "comparisons", files, params, "draw_figure.py", of)


def _of_solvable(layout: Layout, figure: Figure) -> Drawing:
    solvable = layout.solvable
    names, read = (
        [name for name in solvable.shown.get(figure.name, []) if name in solvable.systems],
        figure.reads,
    )
    records = solvable.shown_records(figure.name) if "estimates" in read else []
    files, stores = {}, {}
    if "estimates" in read:
        files["estimates"] = [record["path"] for record in records]
    if "truths" in read:
        files["truths"] = [solvable.truth(name) for name in names]
    if "samples" in read:
        seed = solvable.seeds[0]
        files["samples"] = [path for name in names for path in solvable.samples(name, seed)]
        stores = {name: solvable.store(name, seed) for name in names}
        counts = {name: solvable.systems[name]["samples"] for name in names}
        files["network"] = [
            path
            for name in names
            for path in solvable.network(name, seed, counts[name], SHOWN_NETWORK).values()
        ]
    params = {
        "systems": {name: solvable.systems[name] for name in names},
        "records": records,
        "stores": stores,
        "settings": {name: solvable.solvable["figures"][name] for name in figure.settings},
    }
    path = solvable.path("figures", figure.name)
    return Drawing(
        figure, path, "solvable systems", files, params, "draw_solvable_figure.py", "solvable systems"
    )


def shown(study: StudyLayout, name: str) -> str | list[str]:
    """What a job waits for that reads a result of a study, by its name in the registry: a path, or all of an array."""
    if name in ARRAYS:
        return study.complete(ARRAYS[name])
    return study.anchor_file(ANCHORS[name]) if name in ANCHORS else study.path(RESULTS[name])


def arrays(study: StudyLayout, figure: Figure) -> dict[str, list[str]]:
    """Store and name of each array that a figure reads rows of."""
    read = [name for name in figure.reads if name in ARRAYS]
    return {name: [study.samples, study.folder.array(ARRAYS[name])] for name in read}


def settings(study: StudyLayout, figure: Figure) -> dict[str, Any]:
    """The settings that a figure takes of a study."""
    return {
        name: study.setting(*SETTINGS[name]) if name in SETTINGS else getattr(study, name)
        for name in figure.settings
    }
