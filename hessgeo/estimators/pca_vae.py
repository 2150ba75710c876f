"""Statistics without supervision (Walker, Tam & Jarrell 2020): principal components of what a VAE makes of states."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Shaped
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn import functional

from hessgeo.estimators.base import Run, TrainedModule
from hessgeo.estimators.estimate import Estimate
from hessgeo.estimators.integration import integrated
from hessgeo.learned.encoder import as_input
from hessgeo.learned.samples import Geometry, Samples
from hessgeo.learned.training import minimise
from hessgeo.numerics.training import in_blocks, seeded, split_samples

Components = Literal["separate", "joint"]
_SMALLEST = 4  # sites along a side at which halving stops
_LOG_VARIANCE = (-12.0, 6.0)  # bounds that keep the exponential finite


class VariationalAutoencoder(nn.Module):
    """A Gaussian encoder and a Bernoulli decoder of states of spins (Kingma & Welling 2014).

    On a lattice or chain both are convolutions 3 sites wide with a halving after each, circular where the geometry is;
    where all sites are alike they are perceptrons.

    Args:
        shape: of a state.
        geometry: how its sites lie.
        latents: number of latent variables.
        channels: of the convolutions, or a quarter of the width of the perceptrons.
    """

    def __init__(self, shape: tuple[int, ...], geometry: Geometry, *, latents: int, channels: int) -> None:
        super().__init__()
        self.shape, self.latents = tuple(shape), latents
        self.sides = _halvings(self.shape) if geometry != "exchangeable" else [self.shape]
        self.channels = channels
        convolution = nn.Conv2d if len(shape) == 2 else nn.Conv1d
        options: dict[str, Any] = {
            "kernel_size": 3,
            "padding": 1,
            "padding_mode": "zeros" if geometry == "open" else "circular",
        }
        depth = len(self.sides) - 1
        self.down = nn.ModuleList(
            convolution(1 if k == 0 else channels, channels, stride=2, **options) for k in range(depth)
        )
        self.up = nn.ModuleList(
            convolution(channels, 1 if k == 0 else channels, **options) for k in reversed(range(depth))
        )
        inner = math.prod(self.sides[-1]) * (channels if depth else 1)
        hidden = 4 * channels
        self.encoder = nn.Sequential(nn.Linear(inner, hidden), nn.GELU(), nn.Linear(hidden, 2 * latents))
        self.decoder = nn.Sequential(nn.Linear(latents, hidden), nn.GELU(), nn.Linear(hidden, inner))

    def encode(self, x: Float[Tensor, "n *shape"]) -> tuple[Float[Tensor, "n z"], Float[Tensor, "n z"]]:
        """Mean and log-variance of the latent variables."""
        y = x[:, None]
        for convolution in self.down:
            y = functional.gelu(convolution(y))
        mean, log_variance = self.encoder(y.flatten(1)).chunk(2, dim=1)
        return mean, log_variance.clamp(*_LOG_VARIANCE)

    def decode(self, z: Float[Tensor, "n z"]) -> Float[Tensor, "n *shape"]:
        """Log-odds of each spin to be up."""
        y = self.decoder(z).reshape(len(z), -1, *self.sides[-1])
        for side, convolution in zip(reversed(self.sides[:-1]), self.up, strict=True):
            y = convolution(functional.interpolate(functional.gelu(y), size=side, mode="nearest"))
        return y.reshape(len(z), *self.shape)

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n twice"]:
        """Means and standard deviations of the latent variables, side by side."""
        mean, log_variance = self.encode(x)
        return torch.cat([mean, (log_variance / 2).exp()], dim=1)

    def negative_bound(
        self, x: Float[Tensor, "n *shape"], noise: Float[Tensor, "n z"]
    ) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"]]:
        """The two parts of ``-ELBO`` in nats: the cross-entropy of the spins, and ``KL(q(z|x) || N(0, 1))``."""
        mean, log_variance = self.encode(x)
        logits = self.decode(mean + noise * (log_variance / 2).exp())
        # -log sigmoid(s l) for a spin s = -1 or 1 of log-odds l.
        spins = functional.softplus(-x * logits).flatten(1).sum(dim=1)
        divergence = (mean**2 + log_variance.exp() - 1 - log_variance).sum(dim=1) / 2
        return spins, divergence


class LatentStatistics(TrainedModule[VariationalAutoencoder]):
    """A trained autoencoder.

    Attributes:
        module: the autoencoder.
        config: the state's shape and geometry, settings, and the held-out ``bound`` and ``divergence`` in nats a state
            (a fair coin a site has a bound of ``sites log 2``).
    """

    kind = "variational autoencoder"

    @staticmethod
    def build(config: dict[str, Any]) -> VariationalAutoencoder:
        """See ``TrainedModule``."""
        return VariationalAutoencoder(
            tuple(config["shape"]), config["geometry"], latents=config["latents"], channels=config["channels"]
        )

    def __call__(
        self, states: Shaped[np.ndarray, "n *sample"]
    ) -> tuple[Float[np.ndarray, "n z"], Float[np.ndarray, "n z"]]:
        """Means and standard deviations of the latent variables of each state."""
        both = in_blocks(self.module, binary_input(states), device=self.device).numpy()
        return both[:, : self.module.latents], both[:, self.module.latents :]


@dataclass(frozen=True)
class PrincipalStatistics:
    """Two numbers a state.

    Attributes:
        values: of each state.
        explained: share of the variance that each has of its own analysis.
    """

    values: Float[np.ndarray, "n 2"]
    explained: tuple[float, float]


def principal_statistics(
    means: Float[np.ndarray, "n z"], deviations: Float[np.ndarray, "n z"], *, components: Components
) -> PrincipalStatistics:
    """The leading principal components of latent means and standard deviations.

    Args:
        means: of the latent variables of each state.
        deviations: their standard deviations.
        components: ``separate``, the first component of the means and the first of the standard deviations, which
            stand for order and for disorder; or ``joint``, the first two of all of them together, each latent number
            as it is.

    Raises:
        ValueError: on another choice, or numbers that do not vary.
    """
    if components == "joint":
        analysis = PCA(2, svd_solver="full").fit(both := np.concatenate([means, deviations], axis=1))
        first, second = analysis.explained_variance_ratio_
        values = analysis.transform(both)
    elif components == "separate":
        parts = [PCA(1, svd_solver="full").fit(part) for part in (means, deviations)]
        values = np.column_stack(
            [part.transform(data) for part, data in zip(parts, (means, deviations), strict=True)]
        )
        first, second = (part.explained_variance_ratio_[0] for part in parts)
    else:
        raise ValueError(f"components is {components!r}, must be separate or joint")
    if not (values.std(axis=0) > 1e-9 * np.abs(means).max()).all():
        raise ValueError(
            "the latent variables do not vary between states: the autoencoder has learned nothing"
        )
    return PrincipalStatistics(values, (float(first), float(second)))


def train_vae(
    samples: Samples,
    *,
    latents: int,
    channels: int,
    beta: float,
    steps: int,
    batch_size: int,
    learning_rate: float,
    held_out: float = 0.1,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> LatentStatistics:
    """Train the autoencoder on states alone, by the evidence lower bound with one draw a state and step.

    Args:
        samples: the states.
        latents: number of latent variables, at least two.
        channels: of the convolutions.
        beta: weight of the divergence; 1 is the bound.
        steps: of the optimiser.
        batch_size: samples a step.
        learning_rate: of AdamW at the start.
        held_out: share of the samples kept for the figures.
        seed: of the split, the weights, the batches and the draws.
        device: where to train.
        progress: show a progress bar.

    Raises:
        ValueError: on settings out of range, or states of more than two values.
        FloatingPointError: if the bound is no longer finite.
    """
    if latents < 2 or not beta >= 0:
        raise ValueError(f"latents={latents} must be at least 2 and beta={beta} not negative")
    start = time.perf_counter()
    train, test = (
        torch.from_numpy(part) for part in split_samples(len(samples.t), held_out=held_out, seed=seed)
    )
    x = binary_input(samples.states)
    config: dict[str, Any] = {
        "shape": list(samples.states.shape[1:]), "geometry": samples.geometry, "latents": latents, "channels": channels,
        "beta": beta, "seed": seed, "samples": len(samples.t), "held_out": held_out,
        "steps": steps, "batch_size": batch_size, "learning_rate": learning_rate,
    }  # fmt: skip
    with seeded(seed):
        network = LatentStatistics.build(config).to(device)

    def loss(batch: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(len(batch), latents, generator=generator).to(device)
        spins, divergence = network.negative_bound(x[train[batch]].to(device), noise)
        return (spins + beta * divergence).mean()

    course = minimise(
        network, loss, len(train),
        steps=steps, batch_size=batch_size, learning_rate=learning_rate, seed=seed, progress=progress,
    )  # fmt: skip
    noise = torch.randn(len(test), latents, generator=torch.Generator().manual_seed(seed + 1))

    def figures(block: Tensor, draw: Tensor) -> Tensor:
        return torch.stack(network.negative_bound(block, draw), dim=1)

    spins, divergence = in_blocks(figures, x[test], noise, device=torch.device(device)).mean(dim=0).tolist()
    config.update(
        losses=course, bound=spins + divergence, divergence=divergence, seconds=time.perf_counter() - start
    )
    return LatentStatistics(network, config)


def principal_components(
    samples: Samples, trained: LatentStatistics, settings: Mapping[str, Any], run: Run
) -> Estimate:
    """Principal components of latent means and standard deviations as statistics, integrated to a potential.

    A principal component has no scale, no sign, and nothing that tells which parameter it belongs to. The rule: the
    pair is mapped by ``B = J' C^-1`` of ``response_map``, the best linear prediction of the score from it, which needs
    no truth. That is the map after which the statistics' mean is nearest, in the least-squares sense, to the gradient
    of a potential whose Hessian is their covariance; where the components are an affine map of the sufficient
    statistics it is the inverse of that map. The potential is then that whose gradient is nearest to ``E[B s|t]``.

    PAPER: does not say which affine map it takes to its parameters; the error over all of them is no larger than ours.
    """
    principal = principal_statistics(*trained(samples.states), components=settings["components"])
    numbers = {"explained": list(principal.explained), "bound": trained.config["bound"]}
    return integrated(samples, principal.values, settings, numbers)


def binary_input(states: Shaped[np.ndarray, "n *sample"]) -> Float[Tensor, "n *sample"]:
    """States as float32 spins -1 and 1.

    Raises:
        ValueError: if they have other values: a Bernoulli likelihood needs two.
    """
    x = as_input(states)
    if not bool((x.abs() == 1).all()):
        raise ValueError(
            "states hold other values than two spins or occupations: they have no Bernoulli likelihood"
        )
    return x


def _halvings(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The shape, and its halves, rounded up, down to a few sites."""
    sides = [shape]
    while max(sides[-1]) > _SMALLEST:
        sides.append(tuple(-(-side // 2) for side in sides[-1]))
    return sides
