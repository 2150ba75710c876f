"""One encoder of states for all learned estimators: local features, pooled over the sites, and a small head."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional

from hessgeo.learned.samples import Geometry

MODES = 8  # of the cosine series along an open chain
EDGE = 6  # sites at each end of an open chain that are read one by one


class Standardise(nn.Module):
    """Shift and scale of each feature to mean 0 and deviation 1 over the first batch of the training, fixed after it.

    Unlike batch normalisation it makes the features of a state a function of that state alone, in training too.
    """

    mean: Tensor
    scale: Tensor
    ready: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.register_buffer("ready", torch.zeros((), dtype=torch.bool))

    def forward(self, x: Float[Tensor, "n features"]) -> Float[Tensor, "n features"]:
        """The features, standardised."""
        if self.training and len(x) > 1 and not bool(self.ready):
            with torch.no_grad():
                deviation = x.std(dim=0)
                self.mean.copy_(x.mean(dim=0))
                # A feature that all states share tells nothing and keeps its scale.
                self.scale.copy_(torch.where(deviation > 1e-6, deviation, 1.0))
                self.ready.fill_(True)
        return (x - self.mean) / self.scale


class StateEncoder(nn.Module):
    """Local features of a state, their means over its sites, and a head that is a linear map plus a perceptron.

    Convolutions are circular on a torus or ring, padded by zeros on an open chain, and absent where all sites are
    alike, or where there are none: then every number of a state is read by itself. An open chain is read as spins and
    as their running sum (the height of a driven lattice gas), and has beside the mean its cosine moments and its ends,
    site by site.

    The means are in units of ``1 / sqrt(sites)``, so that their scatter does not shrink with the system; they are
    standardised over the first batch of the training.

    Args:
        shape: of a state.
        geometry: how its sites lie.
        outputs: numbers a state.
        width: channels of the convolutions.
        layers: of convolutions, 3 sites wide each.
        hidden: width of the perceptron.

    Raises:
        ValueError: if a state on a torus has no two axes, or one on a chain more than one.
    """

    pooling: Tensor

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
        if geometry not in ("exchangeable", "none") and len(shape) != (2 if geometry == "torus" else 1):
            raise ValueError(f"a state on a {geometry} cannot have the shape {self.shape}")
        layers = 0 if geometry in ("exchangeable", "none") else layers
        channels = [2 if geometry == "open" else 1, *[width] * layers]
        # A chain is a lattice one row high.
        self.kernel = (3, 3) if geometry == "torus" else (1, 3)
        self.convolutions = nn.ModuleList(
            [nn.Conv2d(channels[k], channels[k + 1], self.kernel) for k in range(layers)]
        )
        self.register_buffer("pooling", self._pooling(), persistent=False)
        pooled = sum(channels) * self.pooling.shape[0]
        self.normalise = Standardise(pooled)
        self.linear = nn.Linear(pooled, outputs)
        self.hidden = nn.Sequential(
            nn.Linear(pooled, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU()
        )
        self.last = nn.Linear(hidden, outputs)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def _pooling(self) -> Float[Tensor, "weight site"]:
        """Weights of the sites in each pooled number."""
        sites = math.prod(self.shape)
        mean = torch.full((1, sites), sites**-0.5)
        if self.geometry == "none":
            return torch.eye(sites)
        if self.geometry != "open":
            return mean
        place = (torch.arange(sites) + 0.5) / sites
        modes = torch.cos(math.pi * torch.arange(1, MODES)[:, None] * place) * (2 / sites) ** 0.5
        ends = torch.eye(sites)
        edge = min(EDGE, sites // 2)
        return torch.cat([mean, modes, ends[:edge], ends[sites - edge :]])

    def pooled(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n pooled"]:
        """The pooled local features, standardised: what the head reads."""
        sites = math.prod(self.shape)
        y = x.reshape(len(x), *(self.shape if self.geometry == "torus" else (1, sites)), 1)
        if self.geometry == "open":
            y = torch.cat([y, y.cumsum(dim=2) / sites**0.5], dim=3)
        pooled = [self._pool(y)]
        for convolution in self.convolutions:
            assert isinstance(convolution, nn.Conv2d)
            y = functional.gelu(self._convolve(y, convolution))
            pooled.append(self._pool(y))
        return self.normalise(torch.cat(pooled, dim=1))

    def _pool(self, y: Float[Tensor, "n a b channel"]) -> Float[Tensor, "n pooled"]:
        return (self.pooling @ y.flatten(1, 2)).flatten(1)

    def _convolve(
        self, y: Float[Tensor, "n a b channel"], convolution: nn.Conv2d
    ) -> Float[Tensor, "n a b width"]:
        """Convolution with channels last, as they lie in memory all the way to the pooling."""
        for axis, size in zip((1, 2), self.kernel, strict=True):
            if size == 3:
                first, last = y.narrow(axis, 0, 1), y.narrow(axis, y.shape[axis] - 1, 1)
                if self.geometry == "open":
                    first, last = torch.zeros_like(first), torch.zeros_like(last)
                y = torch.cat([last, y, first], dim=axis)
        if y.shape[3] > 1:
            return convolution(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        # With one channel a product with the windows is several times faster than a convolution.
        windows = y[..., 0].unfold(1, self.kernel[0], 1).unfold(2, self.kernel[1], 1).flatten(3)
        return functional.linear(windows, convolution.weight.flatten(1), convolution.bias)

    def features(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n feature"]:
        """All that the last linear maps read: the pooled features, and the last hidden layer of the perceptron."""
        pooled = self.pooled(x)
        return torch.cat([pooled, self.hidden(pooled)], dim=1)

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n outputs"]:
        """One row of numbers a state."""
        pooled = self.pooled(x)
        return self.linear(pooled) + self.last(self.hidden(pooled))


def as_input(states: Shaped[np.ndarray, "n *sample"]) -> Float[Tensor, "n *sample"]:
    """States as float32 spins -1 and 1; occupations 0 and 1 are moved there. Real numbers stay what they are."""
    x = torch.from_numpy(np.ascontiguousarray(states)).float()
    return x if states.dtype.kind == "f" or bool((x < 0).any()) else 2 * x - 1
