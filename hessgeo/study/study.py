"""A study as an object: samples of a model on a slice, and the geometry found in them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from hessgeo.grids import Grid
from hessgeo.study.parts import Parts
from hessgeo.study.shown import Shown, box, finished, judged, share

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from hessgeo.metrics.base import Metric as Smooth
    from hessgeo.posteriors.base import Posterior
    from hessgeo.study.free_energy import FreeEnergy
    from hessgeo.study.geodesics import Geodesics
    from hessgeo.study.metric import Metric
    from hessgeo.study.phases import PhaseMap


class Study(Shown):
    """What ``map``, ``fit`` and ``open`` give. Each part is computed or read when it is first asked for.

    Args:
        parts: its results.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    @property
    def name(self) -> str:
        """Of the study."""
        return self.parts.name

    @property
    def grid(self) -> Grid:
        """The nodes of all fields."""
        return self.parts.grid

    @property
    def settings(self) -> dict[str, Any]:
        """All settings, as a configuration has them."""
        return dict(self.parts.settings)

    @property
    def points(self) -> Float[np.ndarray, "n 2"]:
        """Parameters of the samples."""
        return self.parts.t

    @property
    def anchors(self) -> Float[np.ndarray, "3 *latent"] | None:
        """The latents at ``(0, 0)``, ``(1, 0)`` and ``(0, 1)``; None where they are not known."""
        return self.parts.anchors

    @property
    def images(self) -> Any:
        """Of every sample, ``(n, H, W, C)`` of eight bits: an array, or one of Dask that is read in parts; or None."""
        return self.parts.images

    @property
    def embedding(self) -> Float[np.ndarray, "n d"]:
        """Of every sample, unit vectors."""
        return self.parts.embedding

    @property
    def samples(self) -> xr.Dataset:
        """``t (sample, i)``, ``embedding (sample, feature)``, ``image (sample, row, column, channel)`` if there are."""
        fields: dict[str, Any] = {
            "t": (("sample", "i"), self.points),
            "embedding": (("sample", "feature"), self.embedding),
        }
        if self.images is not None:
            fields["image"] = (("sample", "row", "column", "channel"), self.images)
        return xr.Dataset(fields, {"i": ["a", "b"]})

    @property
    def posterior(self) -> Posterior:
        """Means, covariances and entropies of the posterior of every sample."""
        return self.parts.posterior

    @cached_property
    def free_energy(self) -> FreeEnergy:
        """``F`` and its derivatives."""
        from hessgeo.study.free_energy import FreeEnergy

        return FreeEnergy(self.parts)

    @cached_property
    def metric(self) -> Metric:
        """The Fisher metric."""
        from hessgeo.study.metric import Metric

        return Metric(self.parts)

    @cached_property
    def phases(self) -> PhaseMap:
        """Phases, their boundaries and where these meet."""
        from hessgeo.study.phases import PhaseMap

        return PhaseMap.of(self.parts)

    def geodesic(
        self, start: Any, end: Any, metric: str | Smooth | Callable[[Any], Any] = "fisher"
    ) -> Geodesics:
        """The shortest path found between two points, with its certificate.

        Args:
            start: ``(a, b)``.
            end: ``(a, b)``.
            metric: ``fisher``, ``embedding``, ``pixels`` or ``density``; a ``Metric``; or a function of tensors
                ``(*batch, 2) -> (*batch, 2, 2)``.

        Raises:
            ValueError: one line, on points outside the box, or a metric that is none.
        """
        return self.geodesics([(start, end)], metric)

    def geodesics(self, pairs: Any, metric: str | Smooth | Callable[[Any], Any] = "fisher") -> Geodesics:
        """The shortest paths found between pairs of points ``(m, 2, 2)``; see ``geodesic``."""
        from hessgeo.study.geodesics import solve

        ends = np.asarray(pairs, dtype=float)
        if ends.ndim != 3 or ends.shape[1:] != (2, 2):
            raise ValueError(
                f"pairs of shape {ends.shape} are not allowed; allowed: (m, 2, 2), two points (a, b) each"
            )
        return solve(self.parts, ends[:, 0], ends[:, 1], metric)

    def distances(
        self, from_: Any = None, metric: str | Smooth | Callable[[Any], Any] = "fisher"
    ) -> xr.DataArray:
        """Distances in a metric from one point to all nodes ``(a, b)``, through every valley at once.

            study.distances((0.2, 0.4)).plot.contourf()

        They solve the eikonal equation on a grid four times as fine as the study's, and are of first order in its step;
        ``geodesic`` has the length of one path to all digits.

        Args:
            from_: ``(a, b)``; by default the medoid of the largest phase.
            metric: see ``geodesic``.

        Raises:
            ValueError: one line, on a point outside the box, or a metric that is none.
        """
        from hessgeo.study.distances import distances

        return distances(self.parts, from_, metric)

    @property
    def facts(self) -> dict[str, str]:
        """See ``Shown``."""
        parts = self.parts
        facts = {"study": self.name, "grid": box(self.grid), "samples": f"{len(self.points):,}"}
        if self.images is not None:
            facts["images"] = " x ".join(map(str, self.images.shape[1:]))
        facts["N"] = f"{parts.resolution:.4g}"
        if "mean_divergence" in parts.certificate:
            facts["KL of the fit"] = f"{parts.certificate['mean_divergence']:.3g} nats"
        facts["metric positive definite in"] = share(parts.positive_definite_share)
        facts["phases"] = str(len(parts.found["phases"]))
        return {**facts, "verdict": judged(self.verdict)}

    def draw(self, name: str | None = None) -> tuple[Figure, pd.DataFrame]:
        """A figure, see ``plot``, and the numbers in it."""
        from hessgeo.figures import overview
        from hessgeo.study import drawing

        if name is not None:
            return drawing.draw(self.parts, name)
        parts = self.parts
        pictures = None if parts.images is None else drawing.tiles(parts)
        return overview.draw(parts.free_energy, parts.metric, parts.phases, parts.found, pictures)

    def plot(self, name: str | None = None) -> Figure:
        """An overview: phases, free energy, volume of the metric, and images where they come from.

        Args:
            name: of another figure of the workflow, such as ``posteriors``, ``error_bars`` or ``mosaic``.

        Raises:
            ValueError: one line, on a name that is none.
        """
        return finished(self.draw(name)[0], self.verdict)

    def save(self, folder: str | Path, *, figures: bool = False) -> None:
        """Write a folder as the workflow does, with what vouches for each file; ``open`` reads it.

        Args:
            folder: a new one.
            figures: write the figures, too.

        Raises:
            FileExistsError: one line, if the folder holds something.
        """
        from hessgeo import store
        from hessgeo.figures.saving import save_figure
        from hessgeo.study.drawing import names
        from hessgeo.study.folder import save

        save(self.parts, folder)
        for name in names(self.parts) if figures else ():
            files = [Path(folder, "figures", f"{name}.{kind}") for kind in ("svg", "png", "csv")]
            save_figure(*self.draw(name), *files, verdict=self.verdict)
            store.vouch(files)
