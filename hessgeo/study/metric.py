"""The Fisher metric of a study: on its nodes as it was fitted, between them as geodesics are solved in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from hessgeo.metrics.base import Metric as Smooth
from hessgeo.metrics.base import MetricJet, SpeedJet, as_metric
from hessgeo.pipeline.paths import StudyMetric, feature_maps, rows_of, study_metrics
from hessgeo.study.drawing import draw
from hessgeo.study.functions import places
from hessgeo.study.parts import Parts
from hessgeo.study.shown import Shown, box, judged, share

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

NAMES = ("fisher", "embedding", "pixels", "density")


class Metric(Shown, Smooth):
    """The Fisher metric ``grad^2 F``, per unit of ``N``.

    As a function of points it is smooth and positive definite: filtered and repaired as the settings ``geodesics`` say.
    ``to_xarray`` gives it as it was fitted.

    Args:
        parts: of the study.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts, self.grid, self.box = parts, parts.grid, parts.grid.extent

    @cached_property
    def solved(self) -> StudyMetric:
        """What geodesics are solved in, and what was repaired of it."""
        return named_metric(self.parts, "fisher")

    @property
    def positive_definite_share(self) -> float:
        """Share of the nodes at which the fitted metric is positive definite."""
        return self.parts.positive_definite_share

    def __call__(self, t: Any) -> Any:
        """The smooth metric at points ``(*batch, 2)``: of a tensor a tensor, of other arrays and lists an array.

        Raises:
            ValueError: one line, on arrays and lists that are no points of the box.
        """
        if isinstance(t, torch.Tensor):
            return self.solved.metric(t if t.is_floating_point() else t.double())
        with torch.no_grad():
            return self.solved.metric(torch.from_numpy(places(t, self.grid.extent))).numpy()

    def slope(self, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``metrics.base.Metric``."""
        return self.solved.metric.slope(t)

    def jet(self, t: torch.Tensor) -> MetricJet:
        """See ``metrics.base.Metric``."""
        return self.solved.metric.jet(t)

    def speed_jet(self, t: torch.Tensor, v: torch.Tensor) -> SpeedJet:
        """See ``metrics.base.Metric``."""
        return self.solved.metric.speed_jet(t, v)

    @property
    def facts(self) -> dict[str, str]:
        """See ``Shown``."""
        largest = self.parts.metric["largest_eigenvalue"].to_numpy()
        return {
            "Fisher metric": f"on {box(self.grid)}",
            "N": f"{self.parts.resolution:.4g}",
            "positive definite in": share(self.positive_definite_share),
            "largest eigenvalue": f"{np.median(largest):.3g} (median) to {largest.max():.3g} nats per N",
            "verdict": judged(self.verdict),
        }

    def draw(self) -> tuple[Figure, pd.DataFrame]:
        """Its volume and its largest stretch, with the boundaries of phases."""
        return draw(self.parts, "metric")

    def to_xarray(self) -> xr.Dataset:
        """On dims ``(a, b)``: ``fisher_metric``, its invariants, and the metrics measured without a fit."""
        return self.parts.metric.assign(fisher_metric=self.parts.free_energy["fisher_metric"])


def named_metric(parts: Parts, name: str) -> StudyMetric:
    """A metric of a study by name, smooth and positive definite.

    ``fisher``; ``embedding`` and ``pixels``, pull-backs of these features; ``density``, conformal by the kernel density
    of the embedded samples.

    Raises:
        ValueError: one line, on a name that is none, or a metric that the study cannot have.
    """
    if name not in NAMES:
        raise ValueError(
            f"metric {name!r} is not allowed; allowed: {', '.join(NAMES)}, or a function of points"
        )
    if name != "fisher" and not parts.on_grid:
        raise ValueError(f"the metric {name} needs a sample on every node, in their order")
    grid, settings = parts.grid, parts.settings["geodesics"]
    rows = {}
    if name == "embedding":
        rows[name] = rows_of(np.asarray, parts.embedding.__getitem__, grid)
    elif name == "pixels":
        if parts.images is None:
            raise ValueError("the metric pixels needs images, and the study has none")
        rows[name] = rows_of(feature_maps(None)[name], partial(_read, parts.images), grid)
    density = None
    if name == "density":
        if parts.posterior.kernel == "network":
            raise ValueError("the metric density needs a posterior of distances: a network knows no density")
        density = parts.posterior.log_normaliser.reshape(grid.shape)
    return study_metrics(parts.free_energy["fisher_metric"].to_numpy(), rows, density, grid, settings)[name]


def _read(images: Any, rows: slice) -> np.ndarray:
    return np.asarray(images[rows])


def chosen_metric(
    parts: Parts, metric: str | Smooth | Callable[[torch.Tensor], torch.Tensor]
) -> tuple[str, Smooth]:
    """What a metric is called, and the metric, by its name or as it is."""
    if isinstance(metric, str) or not callable(metric):
        return metric, named_metric(parts, metric).metric
    return "fisher" if isinstance(metric, Metric) else "own", as_metric(metric)
