"""The paper's own route: a U^2-Net's posterior, and a potential of the study's parameters that fits it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from hessgeo.estimators.base import Run, in_study
from hessgeo.estimators.estimate import Estimate
from hessgeo.estimators.state_images import state_images
from hessgeo.free_energies.base import FreeEnergy
from hessgeo.free_energies.mlp import fit_mlp
from hessgeo.free_energies.spline import fit_spline
from hessgeo.grids import Grid
from hessgeo.learned.samples import Samples
from hessgeo.posteriors.base import Posterior
from hessgeo.posteriors.network import PosteriorNetwork, load_network, network_posterior, save_network
from hessgeo.posteriors.network_calibration import calibrate
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


def train_u2net(
    samples: Samples,
    /,
    *,
    grid: int,
    calibration: int,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
    **settings: Any,
) -> TrainedPosterior:
    """The paper's posterior network on states as images (App. B.2, B.3), see ``train_posterior_network``.

    PAPER: full size, 128 x 128 nodes and sites, 200 epochs of 5.4e5 states on eight A100. All sizes are settings.

    Args:
        samples: states and their parameters.
        grid: nodes along each parameter, and pixels along each side of an image.
        calibration: bundles that the calibration is stated for.
        seed: of everything.
        device: where to train.
        progress: show a progress bar.
        **settings: ``samples``, how many of the first ones to train with, and options of ``train_posterior_network``.
    """
    used = samples.first(min(settings.pop("samples"), len(samples.t)))
    images = state_images(used.states, (grid, grid))
    nodes = Grid(used.grid.extent, (grid, grid))
    options = {**settings, "seed": seed, "device": device, "progress": progress}
    network = train_posterior_network(images, used.t, nodes, **options)
    found = calibrate(network, images, used.t, sources=calibration, seed=seed)
    training = {**network.config.training, "calibration": found}
    return TrainedPosterior(replace(network, config=replace(network.config, training=training)))


def spline_potential(
    samples: Samples, trained: TrainedPosterior, settings: Mapping[str, Any], run: Run
) -> Estimate:
    """The U^2-Net's posterior, fitted by the convex spline fit."""

    def fit(posterior: Posterior, grid: Grid, options: dict[str, Any]) -> FreeEnergy:
        splines = tuple(options.pop("splines"))
        return fit_spline(
            posterior, grid, splines=splines, **options, device=run.device, progress=run.progress
        )

    return _on_posterior(fit, samples, trained, settings, run)


def perceptron_potential(
    samples: Samples, trained: TrainedPosterior, settings: Mapping[str, Any], run: Run
) -> Estimate:
    """The paper's method entire: the U^2-Net's posterior, fitted by a perceptron in Jensen-Shannon divergence.

    The Hessian of its ReLU network vanishes almost everywhere; the metric is by differences over a step of the
    posterior's grid, see ``MlpFreeEnergy``. Nodes within a step of the edge use ``F`` outside of the box.
    """

    def fit(posterior: Posterior, grid: Grid, options: dict[str, Any]) -> FreeEnergy:
        chosen = posterior.row_sources
        if chosen is None:
            raise ValueError("rows is 0, must be at least 1: the perceptron is fitted to whole rows")
        return fit_mlp(
            posterior.kept_rows(chosen), posterior.t[chosen], grid, resolution=posterior.resolution,
            **options, seed=run.seed, device=run.device, progress=run.progress,
        )  # fmt: skip

    return _on_posterior(fit, samples, trained, settings, run)


def _on_posterior(
    fit: Callable[[Posterior, Grid, dict[str, Any]], FreeEnergy],
    samples: Samples,
    trained: TrainedPosterior,
    settings: Mapping[str, Any],
    run: Run,
) -> Estimate:
    """A potential fitted to the network's posterior over the nodes of its grid, in the study's parameters.

    PAPER: ``F`` is a function of (T, H) or (alpha, beta), in which these systems are not exponential; so is it here.
    """
    options, config = dict(settings), trained.network.config
    used = samples.first(min(options.pop("sources"), len(samples.t)))
    start = time.perf_counter()
    posterior = network_posterior(
        trained.network, trained.images(used), used.t,
        draws=options.pop("draws"), rows=options.pop("rows"), seed=run.seed, progress=run.progress,
    )  # fmt: skip
    read = time.perf_counter() - start
    free_energy = fit(posterior, config.grid, options)
    held_out = trained.calibration["held_out"]
    numbers = {
        **{name: held_out[name] for name in ("nll", "nll_floor", "skill", "calibration_error")},
        **free_energy.certificate,
        "largest_metric": list(config.largest_metric),
        "posterior_seconds": read,
    }
    return in_study(free_energy, samples, numbers)
