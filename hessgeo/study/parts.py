"""What a study consists of, from samples to phases: computed here, one from another, each when it is asked for."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Float, UInt8

from hessgeo.grids import Grid

if TYPE_CHECKING:
    # Torch takes seconds to import, which a look at results that are there need not wait for.
    from hessgeo.posteriors.base import Posterior

MOST_THREADS = 8  # of the posterior, as of the workflow's job


class Parts:
    """The results of a study, from embedded samples, as the workflow makes them of the same with the same settings.

    Each is computed once, when it is first asked for.

    Args:
        name: of the study.
        settings: complete, as a configuration has them.
        grid: the nodes.
        t: parameters of the samples.
        embedding: of each, unit vectors.
        images: of each, or None.
        anchors: latents that span the slice, or None.
    """

    def __init__(
        self,
        name: str,
        settings: Mapping[str, Any],
        grid: Grid,
        t: Float[np.ndarray, "n 2"],
        embedding: Float[np.ndarray, "n d"],
        images: UInt8[np.ndarray, "n h w c"] | None = None,
        anchors: Float[np.ndarray, "3 *latent"] | None = None,
    ) -> None:
        self.name = name
        self._settings, self._grid = settings, grid
        self._t, self._embedding, self._images, self._anchors = t, embedding, images, anchors

    @property
    def settings(self) -> Mapping[str, Any]:
        """All settings of the study."""
        return self._settings

    @property
    def grid(self) -> Grid:
        """The nodes."""
        return self._grid

    @property
    def t(self) -> Float[np.ndarray, "n 2"]:
        """Parameters of the samples."""
        return self._t

    @property
    def embedding(self) -> Float[np.ndarray, "n d"]:
        """Of every sample, unit vectors."""
        return self._embedding

    @property
    def images(self) -> Any:
        """All images ``(n, H, W, C)`` of eight bits, in memory or read in parts; None where there are none."""
        return self._images

    @property
    def anchors(self) -> Float[np.ndarray, "3 *latent"] | None:
        """The latents that span the slice; None where they are not known."""
        return self._anchors

    @cached_property
    def posterior(self) -> Posterior:
        """Of every sample, from distances of embeddings."""
        from hessgeo.pipeline.estimation import distance_posterior

        threads = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1, MOST_THREADS)
        options = {"seed": self.settings["seed"], "threads": threads, "progress": sys.stderr.isatty()}
        return distance_posterior(self.embedding, self.t, self.grid, self.settings["posterior"], **options)[0]

    @cached_property
    def free_energy(self) -> xr.Dataset:
        """On the nodes, with its derivatives, certificate and verdict."""
        import torch

        from hessgeo.free_energies.base import free_energy_dataset
        from hessgeo.pipeline.chain import fit_free_energy

        settings = self.settings["free_energy"]
        fit = fit_free_energy(
            self.posterior,
            self.embedding,
            self.grid,
            settings,
            seed=self.settings["seed"],
            device="cuda" if torch.cuda.is_available() else "cpu",
            progress=sys.stderr.isatty(),
        )
        about = {"fit": settings["fit"], "kernel": self.posterior.kernel, "verdict": fit.verdict}
        return free_energy_dataset(fit, self.grid, attributes=about)

    @cached_property
    def _derived(self) -> tuple[xr.Dataset, dict[str, float]]:
        from hessgeo.pipeline.metric_chain import derive_metric

        embedded = self.embedding if self.on_grid else None
        return derive_metric(self.free_energy, self.posterior, embedded, self.grid)

    @cached_property
    def _segmented(self) -> tuple[xr.Dataset, dict[str, Any], dict[str, Any]]:
        from hessgeo.pipeline.phase_chain import describe_phases

        given = (self.metric, self.free_energy, self.embedding, self.t, self.grid, self.settings["phases"])
        return describe_phases(*given, on_grid=self.on_grid)

    @property
    def metric(self) -> xr.Dataset:
        """Its invariants on the nodes, and the metrics measured beside."""
        return self._derived[0]

    @property
    def phases(self) -> xr.Dataset:
        """Labels, ridges and the Lipschitz field on the nodes."""
        return self._segmented[0]

    @property
    def found(self) -> dict[str, Any]:
        """Phases, boundaries, triple points, and the verdict on the fit."""
        return self._segmented[1]

    @property
    def numbers(self) -> Mapping[str, Mapping[str, Any]]:
        """What is reported of steps, by their name."""
        return {"metric": self._derived[1], "phases": self._segmented[2]}

    @property
    def pictures(self) -> Any:
        """All images as figures take them, by rows; blank ones where there are none."""
        return np.full((len(self.t), 1, 1, 1), 255, np.uint8) if self.images is None else self.images

    @property
    def verdict(self) -> str:
        """``resolved``, or what keeps the fit from being trusted."""
        return str(self.free_energy.attrs["verdict"])

    @property
    def certificate(self) -> dict[str, Any]:
        """Numbers that certify the fit, which a file holds as text."""
        known = self.free_energy.attrs["certificate"]
        return dict(json.loads(known) if isinstance(known, str) else known)

    @property
    def resolution(self) -> float:
        """The resolution number ``N``."""
        return float(self.free_energy.attrs["resolution"])

    @property
    def positive_definite_share(self) -> float:
        """Share of the nodes at which the fitted metric is positive definite."""
        return float(self.metric["positive_definite"].mean())

    @property
    def on_grid(self) -> bool:
        """Whether the samples are the nodes, in their order."""
        return self.grid.are_nodes(self.t)
