"""The refinement of one study: the paths of its rounds, and what its rules give to their scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hessgeo.figures import registry
from hessgeo.pipeline.checks.refine import finest_shape, no_refinement

if TYPE_CHECKING:
    from hessgeo.pipeline.study_layout import StudyLayout

RESULTS = ("refined.nc", "refined.csv", "refined.json")


@dataclass(frozen=True)
class RefineLayout:
    """The refinement of a study.

    Args:
        study: its paths and settings.
    """

    study: StudyLayout

    @cached_property
    def _settings(self) -> Mapping[str, Any]:
        sections = ("system", "embedding", "sampling", "refine")
        return {key: self.study.setting(key) for key in sections}

    @property
    def need(self) -> str:
        """What the study lacks for one, empty if nothing."""
        return no_refinement(self._settings)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that decide what is sampled."""
        refine = self._settings["refine"]
        return {key: refine[key] for key in ("by", "error", "images")}

    @property
    def jobs(self) -> int:
        """Jobs that share a round."""
        return int(self._settings["refine"]["jobs"])

    @property
    def shape(self) -> list[int]:
        """Nodes of the finest grid."""
        return list(finest_shape(self._settings))

    def file(self, number: int, part: int) -> str:
        """What one job samples of a round."""
        return self.study.path("refined", f"round-{number}", f"{part}-of-{self.jobs}.nc")

    def before(self, number: int) -> list[str]:
        """All files of the rounds before one."""
        return [self.file(earlier, part) for earlier in range(1, number) for part in range(self.jobs)]

    @property
    def rounds(self) -> list[str]:
        """All files of all rounds."""
        return self.before(int(self._settings["refine"]["rounds"]) + 1)

    @property
    def targets(self) -> list[str]:
        """Everything that the target refine makes of the study; nothing of one that can have none."""
        if self.need:
            return []
        results = [self.study.path("refined", name) for name in RESULTS]
        return [*self.rounds, *results, *self.study.folder.figure_files(registry.REFINEMENT)]
