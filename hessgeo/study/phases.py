"""The phases of a study: the basins between the ridges of its metric, with all that is known of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from hessgeo.grids import Grid
from hessgeo.phases.segment import PhaseMap as Segmented
from hessgeo.study.drawing import draw
from hessgeo.study.functions import places
from hessgeo.study.parts import Parts
from hessgeo.study.shown import Shown, box, judged, share

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_NOISE = ("persistence", "noise", "noise_persistence")


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class PhaseMap(Shown, Segmented):
    """Phases on the nodes of a study.

    Attributes:
        parts: of the study.
    """

    parts: Parts

    @classmethod
    def of(cls, parts: Parts) -> PhaseMap:
        """The phases of a study."""
        label, ridge = (parts.phases[name].to_numpy() for name in ("label", "ridge"))
        noise = {key: value for key, value in parts.numbers.get("phases", {}).items() if key in _NOISE}
        return cls(label=label, ridge=ridge, **noise, parts=parts)

    @property
    def grid(self) -> Grid:
        """The nodes."""
        return self.parts.grid

    @property
    def phases(self) -> Sequence[Mapping[str, Any]]:
        """Of each phase, largest first: ``label``, ``area`` as a share, ``samples``, ``medoid``, ``mean_gradient``."""
        found: Sequence[Mapping[str, Any]] = self.parts.found["phases"]
        return found

    @property
    def boundaries(self) -> Sequence[Mapping[str, Any]]:
        """Of each line between two ``phases``: its ``points``, ``lowest`` and median ``strength`` in nats."""
        found: Sequence[Mapping[str, Any]] = self.parts.found["boundaries"]
        return found

    @property
    def triple_points(self) -> Sequence[Mapping[str, Any]]:
        """Where three ``phases`` or more meet: the ``point``."""
        found: Sequence[Mapping[str, Any]] = self.parts.found["triple_points"]
        return found

    def at(self, t: Any) -> np.ndarray:
        """Label of the phase at each of some points of the box ``(*batch, 2)``: that of the nearest node.

        Raises:
            ValueError: one line, on what is no such point.
        """
        points = places(t, self.grid.extent)
        nodes = self.grid.nearest(points.reshape(-1, 2))
        return np.asarray(self.label.ravel()[nodes]).reshape(points.shape[:-1])

    @property
    def facts(self) -> dict[str, str]:
        """See ``Shown``."""
        areas = ", ".join(share(phase["area"]) for phase in self.phases[:4])
        facts = {"phases": f"on {box(self.grid)}", "number": str(self.count), "areas": areas}
        if self.count > 4:
            facts["areas"] += ", ..."
        if self.boundaries:
            strengths = [line["strength"] for line in self.boundaries]
            facts["boundaries"] = f"{len(strengths)} of {min(strengths):.2g} to {max(strengths):.2g} nats"
        facts["triple points"] = str(len(self.triple_points))
        if self.persistence:
            facts["least rise"] = f"{self.persistence:.2g} nats"
        return {**facts, "verdict": judged(self.verdict)}

    def draw(self) -> tuple[Figure, pd.DataFrame]:
        """The map of phases, and the typical image of each."""
        return draw(self.parts, "phases")

    def to_xarray(self) -> xr.Dataset:
        """On dims ``(a, b)``: ``label``, ``ridge``, ``lipschitz``, ``largest_eigenvalue``."""
        return self.parts.phases.copy()
