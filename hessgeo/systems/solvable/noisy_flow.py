r"""A diffusion sampler with noise of which everything is known: DDIM steps of the flow of a Gaussian mixture.

The parameter ``t`` is the latent itself, and every step but the last adds noise, so the data ``x`` have a density
``p(x | t)``. The chain is Markov with Gaussian kernels about the means of the steps: the density and its derivatives by
``t``, which enters in the first kernel alone, are carried from grid to grid by the trapezoidal rule, whose error falls
exponentially with the nodes in a kernel's width. The last step is one to one, and changes no information.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int
from scipy.special import ndtri

from hessgeo.systems.base import System
from hessgeo.systems.random_streams import uniforms
from hessgeo.systems.solvable.base import natural_coordinates
from hessgeo.systems.solvable.mixture_flow import MixtureFlow, Steps, noise_levels, step_noise

REACH = 7.0  # half-width of a grid beyond the means, in widths of the kernel: 1e-11 of its mass is outside
NODES = 1.4  # in the least width of what is summed: an error of some 1e-10
NEGLIGIBLE = 1e-18  # share of the largest density below which a node is left out
BLOCK = 2**22  # entries of a kernel at once
MOST_NODES = 40_000  # of a grid


class Level(NamedTuple):
    """Densities of the states at one noise level on the nodes of a grid.

    Attributes:
        nodes: of the grid.
        cell: volume of a cell.
        values: of each node the density under every ``t``, then its derivatives by each parameter.
    """

    nodes: Float[np.ndarray, "g d"]
    cell: float
    values: Float[np.ndarray, "g c"]


class NoisyFlow(System):
    """Data that a noisy sampler makes of the latent ``t``: no exponential family in ``t``, but its metric is known.

    Args:
        flow: of the mixture, in the plane (or on a line).
        steps: of the sampler, at least 2; or all noise levels, see ``noise_levels``.
        eta: noise of the sampler, between 0 and 1: at 0 there is no density, at 1 no memory of the latent.
        eta_rule: what ``eta`` is a share of, see ``step_noise``.

    Raises:
        ValueError: on another number of steps or dimensions, or other noise.
    """

    array = "state"
    dtype = np.dtype(np.float32)

    def __init__(self, flow: MixtureFlow, *, steps: Steps, eta: float, eta_rule: str = "ddim") -> None:
        self.levels = noise_levels(steps)
        if len(self.levels) < 3:
            raise ValueError(f"steps is {len(self.levels) - 1}, must be at least 2: the last adds no noise")
        if not 0 < eta < 1:
            raise ValueError(f"eta is {eta}, must be above 0 and below 1")
        if flow.dimension > 2:
            raise ValueError(f"the data have {flow.dimension} dimensions, must have 1 or 2")
        self.flow, self.eta, self.eta_rule = flow, float(eta), eta_rule
        self.widths = step_noise(self.levels, eta, eta_rule)
        self.sample_shape = (flow.dimension,)
        self.coordinates = natural_coordinates("a", "b")

    def sample(
        self, t: Float[np.ndarray, "n d"], index: Int[np.ndarray, "n"], seed: int
    ) -> Float32[np.ndarray, "n d"]:
        """Draw the data of one chain from each latent, see ``System.sample``."""
        return self.chain(t, index, seed)[-1].astype(np.float32)

    def chain(
        self, t: Float[np.ndarray, "n d"], index: Int[np.ndarray, "n"], seed: int
    ) -> Float[np.ndarray, "k n d"]:
        """The states of those chains at every noise level, the latent first."""
        t, steps = self._points(t), len(self.widths)
        numbers = uniforms(index, seed, count=steps * t.shape[1])
        noise = ndtri(np.maximum(numbers, 2.0**-54)).reshape(len(t), steps, -1).swapaxes(0, 1)
        return self.flow.trajectory(
            t, self.levels, eta=self.eta, eta_rule=self.eta_rule, noise=np.ascontiguousarray(noise)
        )[0]

    def fisher_metric(
        self, t: Float[np.ndarray, "n d"], *, nodes: float = NODES
    ) -> Float[np.ndarray, "n d d"]:
        """The Fisher metric of the data in ``t``, ``integral of dp dp^T / p``, exact to some 1e-8 of its largest value.

        289 latents of a plane take some seconds with four steps at ``eta = .5``; time goes as the fourth power of the
        nodes in a kernel's width, and as ``eta^-4``.

        Args:
            t: latents.
            nodes: in the least width of what is summed.

        Raises:
            ValueError: if a grid would have more than 40,000 nodes: there is little noise.
        """
        last = self._propagate(self._points(t), nodes)
        density, slopes = self._parts(last, len(t))
        with np.errstate(divide="ignore", invalid="ignore"):
            score = np.where(density > 0, slopes / density, 0.0)
        metric = np.einsum("ign,jgn->nij", score, slopes) * last.cell
        return (metric + metric.swapaxes(1, 2)) / 2

    def log_density_and_score(
        self, x: Float[np.ndarray, "m d"], t: Float[np.ndarray, "1 d"], *, nodes: float = NODES
    ) -> tuple[Float[np.ndarray, "m"], Float[np.ndarray, "m d"]]:
        """``log p(x | t)`` of states before the last step, and its gradient by the one latent ``t``."""
        t, x = self._points(t), self._points(x)
        if len(t) != 1:
            raise ValueError(f"there are {len(t)} latents, must be one")
        before = self._propagate(t, nodes, until=len(self.widths) - 2) if len(self.widths) > 2 else None
        values = self._first(x, t) if before is None else self._carry(before, x, len(self.widths) - 2)
        density, slopes = self._parts(Level(x, 1.0, values), 1)
        return np.log(density[:, 0]), (slopes[:, :, 0] / density[:, 0]).T

    # From level to level.

    def _propagate(self, t: Float[np.ndarray, "n d"], nodes: float, until: int | None = None) -> Level:
        """Densities before the last step, or before another."""
        until = len(self.widths) - 1 if until is None else until
        mean = self.flow.step_mean(t, self.levels[0], self.levels[1], self.widths[0])[0]
        grid, cell = self._grid(mean, 0, nodes)
        level = _pruned(Level(grid, cell, self._first(grid, t)), len(t))
        for step in range(1, until):
            mean = self._mean(level.nodes, step)
            grid, cell = self._grid(mean, step, nodes)
            level = _pruned(Level(grid, cell, self._carry(level, grid, step)), len(t))
        return level

    def _first(self, x: Float[np.ndarray, "g d"], t: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "g c"]:
        """The kernel of the first step, and its derivatives by ``t``."""
        width, number = self.widths[0], float(self.levels[0])
        if number > 0:
            raise ValueError(
                f"the first level is {number:g}, must be 0, where the mean is linear in the latent"
            )
        slope = math.sqrt((1 - self.levels[1]) * (1 + self.levels[1]) - width**2)
        mean = self.flow.step_mean(t, 0.0, self.levels[1], width)[0]
        apart = x[:, None, :] - mean
        density = np.exp(-(apart**2).sum(axis=2) / (2 * width**2)) / (2 * np.pi * width**2) ** (
            t.shape[1] / 2
        )
        return np.concatenate(
            [density, *(slope / width**2 * apart[:, :, k] * density for k in range(t.shape[1]))], 1
        )

    def _carry(self, level: Level, x: Float[np.ndarray, "m d"], step: int) -> Float[np.ndarray, "m c"]:
        """Densities at points one step on: the sum of the kernels of all nodes."""
        mean, width = self._mean(level.nodes, step), self.widths[step]
        factor = level.cell / (2 * np.pi * width**2) ** (x.shape[1] / 2)
        out = np.empty((len(x), level.values.shape[1]))
        rows = max(1, BLOCK // len(mean))
        for start in range(0, len(x), rows):
            part = x[start : start + rows]
            square = sum((part[:, k, None] - mean[None, :, k]) ** 2 for k in range(x.shape[1]))
            out[start : start + rows] = factor * np.exp(-square / (2 * width**2)) @ level.values
        return out

    def _mean(self, x: Float[np.ndarray, "g d"], step: int) -> Float[np.ndarray, "g d"]:
        return self.flow.step_mean(x, self.levels[step], self.levels[step + 1], self.widths[step])[0]

    def _grid(
        self, mean: Float[np.ndarray, "g d"], step: int, nodes: float
    ) -> tuple[Float[np.ndarray, "g d"], float]:
        """A grid around the means of a step that resolves its densities and the kernels of the next one."""
        width, least = self.widths[step], self.widths[step]
        if step + 2 < len(self.widths):
            least = min(width, self.widths[step + 1] / self._stretching(step + 1))
        low, high = mean.min(axis=0) - REACH * width, mean.max(axis=0) + REACH * width
        counts = np.ceil((high - low) / (least / nodes)).astype(int) + 1
        if math.prod(counts) > MOST_NODES:
            raise ValueError(
                f"the quadrature takes {math.prod(counts)} nodes, must be at most {MOST_NODES}: eta {self.eta} and "
                f"{len(self.widths)} steps add too little noise"
            )
        axes = [np.linspace(a, b, int(count)) for a, b, count in zip(low, high, counts, strict=True)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
        return grid, float(np.prod((high - low) / (counts - 1)))

    def _stretching(self, step: int) -> float:
        """A bound of the slope of a step's mean: no covariance of modes passes a quarter of their diameter squared."""
        alpha, target = self.levels[step], self.levels[step + 1]
        modes, v = self.flow.modes, float(self.flow.variance(alpha))
        square = float(((modes[:, None] - modes[None]) ** 2).sum(axis=2).max()) / 4
        own = self.flow.sigma**2 * alpha / v
        predicted = (1 - own * alpha) * alpha / v * square + own
        left = math.sqrt(max((1 - target) * (1 + target) - self.widths[step] ** 2, 0.0))
        noise = math.sqrt((1 - alpha) * (1 + alpha))
        return abs(target - left * alpha / noise) * predicted + left / noise

    def _parts(self, level: Level, count: int) -> tuple[Float[np.ndarray, "g n"], Float[np.ndarray, "d g n"]]:
        values = level.values.reshape(len(level.values), 1 + self.flow.dimension, count)
        return values[:, 0], np.moveaxis(values[:, 1:], 1, 0)

    def _points(self, t: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        t = np.asarray(t, dtype=np.float64)
        if t.ndim != 2 or t.shape[1] != self.flow.dimension or not np.isfinite(t).all():
            raise ValueError(
                f"points have shape {t.shape}, must be finite and of shape (n, {self.flow.dimension})"
            )
        return t


def _pruned(level: Level, count: int) -> Level:
    """The nodes at which any latent leaves a density to speak of."""
    largest = level.values[:, :count].max(axis=1)
    kept = largest > NEGLIGIBLE * largest.max()
    return Level(level.nodes[kept], level.cell, level.values[kept])
