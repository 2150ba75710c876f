"""The geodesics of densities in a run: their paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hessgeo.pipeline.folders import Folder

# The results that each figure shows, in the order that its module takes them.
DENSITY_FIGURES: Mapping[str, tuple[str, ...]] = {
    "generative_lambda": ("lambda_sweep.nc",),
    "generative_graphs": ("graphs.nc",),
    "generative_convergence": ("point_convergence.csv", "node_convergence.csv"),
    "generative_affinity": ("affinity.nc",),
    "generative_clustering": ("clustering.csv",),
    "generative_embedding": ("embedding.nc",),
    "generative_interpolation": ("interpolation.nc",),
}


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
    def figures(self) -> tuple[str, ...]:
        """Names of the figures."""
        return tuple(DENSITY_FIGURES)

    def shown(self, wildcards: Any) -> list[str]:
        """The results that a figure shows."""
        return [self.path(name) for name in DENSITY_FIGURES[wildcards.density_figure]]

    def figure_code(self, wildcards: Any) -> dict[str, list[str]]:
        """The module of a figure, see ``Code.of``."""
        return {"hessgeo.figures": [wildcards.density_figure]}

    @property
    def targets(self) -> list[str]:
        """Everything that the target generative_geodesics makes, beside the model."""
        results = [self.path(name) for names in DENSITY_FIGURES.values() for name in names]
        return [*results, self.table("generative_clustering.csv"), *self.figure_files(self.figures)]
