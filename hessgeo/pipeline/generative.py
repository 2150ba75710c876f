"""The geodesics of densities in a run: their paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hessgeo.figures import registry
from hessgeo.pipeline.folders import Folder


@dataclass(frozen=True)
class GenerativeLayout(Folder):
    """The paths of the geodesics of densities.

    Args:
        results: folder of everything that is produced.
        name: of their folder in it.
        settings: the section ``generative``.
    """

    settings: Mapping[str, Any]

    def model(self, file: str) -> str:
        """A file of the embedded diffusion model."""
        return "/".join((self.results, "models", self.settings["model"], "diffusion", file))

    def setting(self, *names: str) -> dict[str, Any]:
        """The seed and the entries of these parts of the section."""
        entries = {key: value for name in names for key, value in self.settings[name].items()}
        return {"seed": self.settings["seed"], **entries}

    def split(self, models: Mapping[str, Any]) -> dict[str, Any]:
        """How the digits are split that the diffusion model was trained on."""
        return {key: models[self.settings["model"]][key] for key in ("seed", "held_out")}

    @property
    def targets(self) -> list[str]:
        """Everything that the target generative_geodesics makes, beside the model."""
        results = [self.path(name) for figure in registry.DENSITY for name in figure.reads]
        return [*results, self.table("generative_clustering.csv"), *self.figure_files(registry.DENSITY)]
