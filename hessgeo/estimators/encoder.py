"""One encoder of states for all learned estimators: local features, pooled over the sites, and a small head."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional

from hessgeo.estimators.base import Geometry

MODES = 8  # of the cosine series along an open chain
EDGE = 6  # sites at each end of an open chain that are read one by one


class StateEncoder(nn.Module):
    """Local features of a state, their means over its sites, and a head that is a linear map plus a perceptron.

    Convolutions are circular on a torus or ring, plain on an open chain, and absent where all sites are alike. An
    open chain has beside the mean its cosine moments and its ends, site by site.

    The means are in units of ``1 / sqrt(sites)``, so that their scatter does not shrink with the system.

    Args:
        shape: of a state.
        geometry: how its sites lie.
        outputs: numbers a state.
        width: channels of the convolutions.
        layers: of convolutions, 3 sites wide each.
        hidden: width of the perceptron.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        geometry: Geometry,
        outputs: int,
        *,
        width: int = 16,
        layers: int = 2,
        hidden: int = 64,
    ) -> None:
        super().__init__()
        self.shape, self.geometry = tuple(shape), geometry
        convolution = nn.Conv2d if geometry == "torus" else nn.Conv1d
        mode = "circular" if geometry in ("torus", "ring") else "zeros"
        layers = 0 if geometry == "exchangeable" else layers
        channels = [1, *[width] * layers]
        self.convolutions = nn.ModuleList(
            [
                convolution(channels[k], channels[k + 1], 3, padding=1, padding_mode=mode)
                for k in range(layers)
            ]
        )
        self.register_buffer("pooling", self._pooling(), persistent=False)
        pooled = sum(channels) * self.pooling.shape[0]
        self.normalise = nn.BatchNorm1d(pooled, affine=False, momentum=None)
        self.linear = nn.Linear(pooled, outputs)
        self.perceptron = nn.Sequential(
            nn.Linear(pooled, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, outputs),
        )
        nn.init.zeros_(self.perceptron[-1].weight)
        nn.init.zeros_(self.perceptron[-1].bias)

    def _pooling(self) -> Float[Tensor, "weight site"]:
        """Weights of the sites in each pooled number."""
        sites = math.prod(self.shape)
        mean = torch.full((1, sites), sites**-0.5)
        if self.geometry != "open":
            return mean
        place = (torch.arange(sites) + 0.5) / sites
        modes = torch.cos(math.pi * torch.arange(1, MODES)[:, None] * place) * (2 / sites) ** 0.5
        ends = torch.eye(sites)
        edge = min(EDGE, sites // 2)
        return torch.cat([mean, modes, ends[:edge], ends[sites - edge :]])

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n outputs"]:
        """One row of numbers a state."""
        y = x.reshape(len(x), 1, *self.shape)
        features = [y.flatten(2)]
        for convolution in self.convolutions:
            y = functional.gelu(convolution(y))
            features.append(y.flatten(2))
        pooled = self.normalise((torch.cat(features, dim=1) @ self.pooling.T).flatten(1))
        return self.linear(pooled) + self.perceptron(pooled)


def as_input(states: Shaped[np.ndarray, "n *sample"]) -> Float[Tensor, "n *sample"]:
    """States as float32 spins -1 and 1; occupations 0 and 1 are moved there."""
    x = torch.from_numpy(np.ascontiguousarray(states)).float()
    return x if bool((x < 0).any()) else 2 * x - 1
