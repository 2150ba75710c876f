"""Two exponential-family networks, each trained on half of the samples, so that every sample is new to one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from torch import Tensor

from hessgeo.learned.exponential import ExponentialNetwork
from hessgeo.learned.exponential_training import calibrate, train_exponential
from hessgeo.learned.samples import Samples
from hessgeo.store import load_network, write_network

HALVES = 2


class ExponentialHalves:
    """One network of each half of the samples, see ``Samples.halves``.

    A network tells its own samples apart a little better than new ones, and what it makes of them has too large a
    covariance. Statistics of samples that it has not seen have none of that (cross-fitting, Chernozhukov et al.
    2018), and the difference of the two estimates tells their error.

    Attributes:
        networks: in the order of the halves that they were trained on.
    """

    def __init__(self, networks: tuple[ExponentialNetwork, ExponentialNetwork]) -> None:
        self.networks = networks

    @property
    def statistics_count(self) -> int:
        """``d``, the number of statistics."""
        return self.networks[0].config.statistics

    def unseen(self, samples: Samples) -> Iterator[tuple[ExponentialNetwork, Samples]]:
        """Each network with the samples that it was not trained on.

        Args:
            samples: those that both were trained on.
        """
        return zip(self.networks, reversed(samples.halves()), strict=True)

    def statistics(self, states: Shaped[np.ndarray, "n *shape"]) -> Float[np.ndarray, "n d"]:
        """The mean over the networks of two statistics, which are conjugate to the natural parameters in both."""
        return np.mean([network.statistics(states) for network in self.networks], axis=0)

    def save(self, folder: str | Path) -> None:
        """Write the weights of both as ``model.safetensors`` and everything else as ``config.json``."""
        weights = {
            f"{k}.{name}": value
            for k, network in enumerate(self.networks)
            for name, value in network.state_dict().items()
        }
        write_network(folder, weights, [asdict(network.config) for network in self.networks])

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "cpu") -> ExponentialHalves:
        """Read what ``save`` wrote.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if the configuration or the weights are not of two such networks.
        """

        def build(weights: dict[str, Tensor], config: Any) -> ExponentialHalves:
            networks = []
            for k, entries in enumerate(config):
                own = {
                    name.removeprefix(f"{k}."): w for name, w in weights.items() if name.startswith(f"{k}.")
                }
                networks.append(ExponentialNetwork.read(entries, own).to(device))
            first, second = networks
            return cls((first, second))

        return load_network(folder, build, kind="pair of exponential-family networks")


def train_halves(samples: Samples, *, seed: int = 0, **options: Any) -> ExponentialHalves:
    """Train a network on each half of the samples, and calibrate it with the other.

    Args:
        samples: states at parameters that are uniform over the box.
        seed: of both.
        **options: of ``train_exponential``.

    Raises:
        ValueError: on fewer than 4 samples, or see ``train_exponential``.
    """
    if len(samples.t) < 2 * HALVES:
        raise ValueError(f"there are {len(samples.t)} samples, must be at least {2 * HALVES}")
    parts = samples.halves()
    first, second = (
        train_exponential(part, seed=HALVES * seed + k, **options) for k, part in enumerate(parts)
    )
    for network, other in zip((first, second), reversed(parts), strict=True):
        network.config.calibration.update(calibrate(network, other))
    return ExponentialHalves((first, second))
