"""Geodesics of a study, each with its certificate, or why it has none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float

from hessgeo.geodesics.curves import Curves, subdivided
from hessgeo.geodesics.result import Geodesics as Solved
from hessgeo.geodesics.solve import geodesics
from hessgeo.metrics.base import Metric
from hessgeo.metrics.diagnostics import eigenvalues, in_units
from hessgeo.study.drawing import tiles
from hessgeo.study.metric import chosen_metric
from hessgeo.study.parts import Parts
from hessgeo.study.shown import Shown, judged

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

DOUBTS = 3  # paths without certificate of which it is said why


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Geodesics(Shown, Solved):
    """Shortest paths found between points of a study, with what certifies each.

    Attributes:
        name: of the metric.
        parts: of the study.
    """

    name: str
    parts: Parts

    @cached_property
    def straight_length(self) -> Float[torch.Tensor, "m"]:
        """Length of the straight line between the ends, in the same metric; NaN for a pair that failed."""
        kept, found = ~self.failed, self.length.clone()
        lines = subdivided(self.points[kept][:, [0, -1]], self.parts.grid.spacing)
        found[kept] = Curves.polyline(lines).length(self.metric)
        return found

    @property
    def facts(self) -> dict[str, str]:
        """See ``Shown``."""
        ratio = self.length / self.straight_length
        facts = {
            "geodesics": f"of the metric {self.name}",
            "certified": f"{int(self.certified.sum())} of {len(self)}",
        }
        if len(self) == 1:
            facts["length"] = (
                f"{float(self.length):.5g}, of the straight line {float(self.straight_length):.5g}"
            )
        else:
            low, middle, high = np.nanquantile(self.length.numpy(), [0, 0.5, 1])
            facts["lengths"] = f"{low:.4g} to {high:.4g}, median {middle:.4g}"
            facts["over the straight line's"] = f"{float(ratio.nanmedian()):.3g} (median)"
        facts["verdict"] = judged(self.verdict)  # before what may be long
        doubts = [(row, why) for row, why in enumerate(self.reasons()) if why is not None]
        for row, why in doubts[:DOUBTS]:
            facts["not certified" if len(self) == 1 else f"path {row} not certified"] = why
        return facts

    def draw(self) -> tuple[Figure, pd.DataFrame]:
        """The paths and the straight lines on the images and on the metric."""
        from hessgeo.figures import geodesic_mosaic

        grid = self.parts.grid
        images, nodes = tiles(self.parts)
        with torch.no_grad():
            g = self.metric(torch.from_numpy(grid.points)).numpy().reshape(*grid.shape, 2, 2)
        largest = eigenvalues(in_units(g, grid.square))[..., 1]
        shown = ~self.failed
        numbers: Mapping[str, Any] = {
            "length": self.length[shown].numpy(),
            "length_of_line": self.straight_length[shown].numpy(),
            "certified": self.certified[shown].numpy(),
            "residual": self.residual[shown].numpy(),
        }
        boundaries = self.parts.found["boundaries"]
        return geodesic_mosaic.draw(
            images, nodes, grid, largest, boundaries, self.points[shown].numpy(), numbers
        )

    def to_xarray(self) -> xr.Dataset:
        """On dims ``(pair, point, i)``: ``points``; and on ``pair`` lengths and what certifies them."""
        names = ("length", "length_error", "straight_length", "certified", "converged", "minimal", "residual")
        columns = {name: ("pair", getattr(self, name).numpy()) for name in names}
        points = (("pair", "point", "i"), self.points.numpy())
        return xr.Dataset({"points": points, **columns}, {"i": ["a", "b"]}, {"metric": self.name})


def solve(
    parts: Parts,
    starts: Any,
    ends: Any,
    metric: str | Metric | Callable[[torch.Tensor], torch.Tensor],
) -> Geodesics:
    """The shortest paths between pairs of points, with the points and refinement of the settings ``geodesics``.

    Args:
        parts: of the study.
        starts: first points, ``(m, 2)``.
        ends: last points.
        metric: see ``chosen_metric``.

    Raises:
        ValueError: one line, as ``geodesics.geodesics`` and ``named_metric``.
    """
    settings = parts.settings["geodesics"]
    name, smooth = chosen_metric(parts, metric)
    first, last = (torch.as_tensor(np.asarray(points, dtype=float)) for points in (starts, ends))
    points = settings["refinement"] * (settings["points"] - 1) + 1
    box = parts.grid.extent if smooth.box is None else smooth.box
    found = geodesics(
        smooth, first, last, points=points, doublings=settings["doublings"], box=box, valleys=True
    )
    return Geodesics(**{one.name: getattr(found, one.name) for one in fields(found)}, name=name, parts=parts)
