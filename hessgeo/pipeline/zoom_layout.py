"""The zoom of one study: its series of windows, their paths, and what its rules give to their scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hessgeo.figures import registry
from hessgeo.pipeline.checks.zoom import ADAPTIVE, no_limit, no_zoom

if TYPE_CHECKING:
    from hessgeo.pipeline.study_layout import StudyLayout

DEEPEST = "float64"  # the precision that goes on to smaller windows
# Films: an MP4 where there is an ffmpeg, of the extra animation.
FILMS = {"gif": "film.gif", **({"mp4": "film.mp4"} if find_spec("imageio_ffmpeg") else {})}
RESULTS = ("zoom.csv", "zoom.json", "windows.nc")


@dataclass(frozen=True)
class Series:
    """Windows of one map: the model in a precision, with so many steps of its sampler, or the limit of many."""

    precision: str
    steps: int | str

    @property
    def name(self) -> str:
        """Its folder."""
        return f"{self.precision}-{self.steps}"

    @classmethod
    def named(cls, name: str) -> Series:
        """The series of a folder."""
        precision, _, steps = name.partition("-")
        return cls(precision, steps if steps == ADAPTIVE else int(steps))


def zoom_widths(factor: float, levels: int, smallest: float) -> list[float]:
    """Widths ``factor^k`` of at most ``levels`` windows, none below ``smallest`` by more than a rounding."""
    return [factor**k for k in range(levels) if factor**k >= smallest * (1 - 1e-9)]


@dataclass(frozen=True)
class ZoomLayout:
    """The zoom of a study.

    Args:
        study: its paths and settings.
    """

    study: StudyLayout

    @property
    def settings(self) -> Mapping[str, Any]:
        """The section ``zoom``."""
        found: Mapping[str, Any] = self.study.setting("zoom")
        return found

    @cached_property
    def need(self) -> str:
        """What the study lacks for one, empty if nothing."""
        sections = ("system", "embedding", "slice", "sampling", "zoom")
        return no_zoom({key: self.study.setting(key) for key in sections}, self._models)

    @property
    def is_there(self) -> bool:
        """Whether the study can have one: a plane of latents, a model in any precision, real features."""
        return not self.need

    @property
    def series(self) -> list[Series]:
        """Every precision with the steps of the study, then the first of them with the further numbers of steps."""
        steps, precisions = self.study.setting("system", "steps"), self.settings["precisions"]
        asked = [other for other in self.settings["steps"] if other != steps]
        more = [Series(precisions[0], other) for other in asked if other != ADAPTIVE or self._has_limit]
        return [*(Series(precision, steps) for precision in precisions), *more]

    @property
    def _has_limit(self) -> bool:
        return not no_limit(self.study.setting("system"), self._models)

    @property
    def _models(self) -> Mapping[str, Any]:
        """The embedded models."""
        return self.study.settings.models

    def widths(self, series: Series) -> list[float]:
        """Widths of the windows of a series, shares of the box."""
        key = "smallest_float64" if series.precision == DEEPEST else "smallest"
        return zoom_widths(self.settings["factor"], self.settings["levels"], self.settings[key])

    # What jobs are told.

    def windowed(self) -> dict[str, Any]:
        """The settings that a window depends on beside its width."""
        return {key: self.settings[key] for key in ("grid", "images")}

    @property
    def margin(self) -> float:
        """Share of the box beside its edge about which the second window would leave it."""
        return float(self.settings["factor"]) / 2

    def phases(self) -> dict[str, Any]:
        """The settings by which a window is segmented."""
        found = self.study.setting("phases")
        return {key: found[key] for key in ("persistence", "minimum_area", "smoothing")}

    def memory_mb(self) -> int:
        """Memory of a job that loads system and embedding."""
        return self.study.system_memory_mb + self.study.embedding_model.size_mb

    # Paths.

    def boundary(self, series: Series) -> str:
        """The boundary point of a series."""
        return self.study.path("zoom", series.name, "boundary.nc")

    def window(self, series: Series, level: int) -> str:
        """A window of a series."""
        return self.study.path("zoom", series.name, f"level-{level}.nc")

    def windows(self) -> list[str]:
        """All windows, series by series."""
        return [self.window(*place) for place in self._places()]

    def boundaries(self) -> list[str]:
        """All boundary points."""
        return [self.boundary(series) for series in self.series]

    def _places(self) -> Iterator[tuple[Series, int]]:
        for series in self.series:
            yield from ((series, level) for level in range(len(self.widths(series))))

    @property
    def targets(self) -> list[str]:
        """Everything that the target zoom makes of the study; nothing of one that can have none."""
        if not self.is_there:
            return []
        results = [self.study.path("zoom", name) for name in (*RESULTS, *FILMS.values())]
        figures = self.study.folder.figure_files(registry.ZOOM)
        return [*self.boundaries(), *self.windows(), *results, *figures]
