"""The paper's own route: a U^2-Net's posterior, and a potential of the study's parameters that fits it."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from hessgeo.estimators.base import Estimate, Estimator, Trainer, in_study
from hessgeo.estimators.state_images import state_images
from hessgeo.free_energies.base import FreeEnergy
from hessgeo.free_energies.mlp import fit_mlp
from hessgeo.free_energies.spline import fit_spline
from hessgeo.grids import Grid
from hessgeo.learned.samples import Samples
from hessgeo.posteriors.base import Posterior
from hessgeo.posteriors.calibration import calibrate
from hessgeo.posteriors.network import PosteriorNetwork, load_network, network_posterior, save_network
from hessgeo.posteriors.network_training import train_posterior_network


@dataclass(frozen=True)
class TrainedPosterior:
    """A posterior network, and how far it is to be trusted: ``calibrate``'s numbers stand with its training."""

    network: PosteriorNetwork

    @property
    def calibration(self) -> dict[str, Any]:
        """See ``calibrate``."""
        return self.network.config.training["calibration"]

    def save(self, folder: str | Path) -> None:
        """Write ``model.safetensors`` and ``config.json``."""
        save_network(folder, self.network)

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "cpu") -> TrainedPosterior:
        """Read what ``save`` wrote.

        Raises:
            ValueError: if it is not that.
        """
        return cls(load_network(folder, device=device))

    def images(self, samples: Samples) -> UInt8[np.ndarray, "n a b 1"]:
        """States as the network reads them."""
        return state_images(samples.states, self.network.config.shape)


class U2NetTrainer(Trainer):
    """The paper's posterior network on states as images (App. B.2, B.3), see ``train_posterior_network``.

    PAPER: full size, 128 x 128 nodes and sites, 200 epochs of 5.4e5 states on eight A100. All sizes are settings.
    """

    def train(
        self, samples: Samples, settings: Mapping[str, Any], *, seed: int, device: str, progress: bool
    ) -> TrainedPosterior:
        """See ``Trainer``."""
        chosen = dict(settings)
        used = samples.first(min(chosen.pop("samples"), len(samples.t)))
        nodes, sources = chosen.pop("grid"), chosen.pop("calibration")
        images = state_images(used.states, (nodes, nodes))
        grid = Grid(used.grid.extent, (nodes, nodes))
        network = train_posterior_network(
            images, used.t, grid, **chosen, seed=seed, device=device, progress=progress
        )
        calibration = calibrate(network, images, used.t, sources=sources, seed=seed)
        training = {**network.config.training, "calibration": calibration}
        return TrainedPosterior(replace(network, config=replace(network.config, training=training)))

    def load(self, folder: str | Path, *, device: str) -> TrainedPosterior:
        """See ``Trainer``."""
        return TrainedPosterior.load(folder, device=device)


class _OnPosterior(Estimator):
    """A potential fitted to the network's posterior, in the study's parameters.

    PAPER: ``F`` is a function of (T, H) or (alpha, beta), in which these systems are not exponential; so is it here.
    """

    def estimate(
        self,
        samples: Samples,
        trained: TrainedPosterior,
        settings: Mapping[str, Any],
        *,
        seed: int,
        device: str = "cpu",
        progress: bool = False,
    ) -> Estimate:
        """See ``Estimator``."""
        chosen = dict(settings)
        used = samples.first(min(chosen.pop("sources"), len(samples.t)))
        start = time.perf_counter()
        posterior = network_posterior(
            trained.network, trained.images(used), used.t,
            draws=chosen.pop("draws"), rows=chosen.pop("rows"), seed=seed, progress=progress,
        )  # fmt: skip
        read = time.perf_counter() - start
        free_energy = self._fit(posterior, trained.network.config.grid, chosen, seed, device, progress)
        held_out = trained.calibration["held_out"]
        numbers = {
            **{name: held_out[name] for name in ("nll", "nll_floor", "skill", "calibration_error")},
            **free_energy.certificate,
            "largest_metric": list(trained.network.config.largest_metric),
            "posterior_seconds": read,
        }
        return in_study(free_energy, samples, numbers)

    @abstractmethod
    def _fit(
        self,
        posterior: Posterior,
        grid: Grid,
        settings: dict[str, Any],
        seed: int,
        device: str,
        progress: bool,
    ) -> FreeEnergy:
        """Fit a potential to the posterior, over the nodes of its grid."""


class U2NetSpline(_OnPosterior):
    """The U^2-Net's posterior, fitted by the convex spline fit."""

    def _fit(
        self,
        posterior: Posterior,
        grid: Grid,
        settings: dict[str, Any],
        seed: int,
        device: str,
        progress: bool,
    ) -> FreeEnergy:
        a, b = settings.pop("splines")
        return fit_spline(posterior, grid, splines=(a, b), **settings, device=device, progress=progress)


class PaperPerceptron(_OnPosterior):
    """The paper's method entire: the U^2-Net's posterior, fitted by a perceptron in Jensen-Shannon divergence.

    The Hessian of its ReLU network vanishes almost everywhere; the metric is by differences over a step of the
    posterior's grid, see ``MlpFreeEnergy``. Nodes within a step of the edge use ``F`` outside of the box.
    """

    def _fit(
        self,
        posterior: Posterior,
        grid: Grid,
        settings: dict[str, Any],
        seed: int,
        device: str,
        progress: bool,
    ) -> FreeEnergy:
        chosen = posterior.row_sources
        if chosen is None:
            raise ValueError("rows is 0, must be at least 1: the perceptron is fitted to whole rows")
        return fit_mlp(
            posterior.kept_rows(chosen), posterior.t[chosen], grid, resolution=posterior.resolution,
            **settings, seed=seed, device=device, progress=progress,
        )  # fmt: skip
