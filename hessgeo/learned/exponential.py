"""The exponential-family network: a posterior that is linear in statistics of the state, which it learns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from numpy.polynomial.legendre import Legendre
from torch import Tensor, nn

from hessgeo.grids import Extent, Grid
from hessgeo.learned.encoder import StateEncoder, as_input
from hessgeo.learned.samples import Geometry
from hessgeo.numerics.bsplines import SplineAxis, SplineBasis

ROWS = 4096  # states read at once

Natural = Callable[[Float[np.ndarray, "n 2"]], Float[np.ndarray, "n 2"]]


@dataclass(frozen=True)
class ExponentialConfig:
    """Everything about a network but its weights.

    Attributes:
        state_shape: of a state.
        geometry: how its sites lie.
        extent: the box of parameters, over which they are uniform.
        nodes: cells along each parameter over which the posterior is normalised.
        statistics: number ``d`` of statistics.
        splines: of ``A`` along each parameter.
        eta_splines: of ``eta`` where ``d > 2``; with two statistics ``eta`` is the natural parameters.
        width: channels of the convolutions.
        layers: of convolutions.
        hidden: width of the perceptron.
        samples: number of samples it was trained on.
        seed: of the weights, the batches and the nodes.
        training: settings and course of the training.
        calibration: of the posteriors of samples that it was not trained on.
    """

    state_shape: tuple[int, ...]
    geometry: Geometry
    extent: Extent
    nodes: tuple[int, int]
    statistics: int
    splines: tuple[int, int]
    eta_splines: tuple[int, int]
    width: int
    layers: int
    hidden: int
    samples: int
    seed: int
    training: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.statistics < 2:
            raise ValueError(f"statistics is {self.statistics}, must be at least 2, one for each parameter")
        if min(self.nodes) < 2:
            raise ValueError(f"nodes is {self.nodes}, must be at least 2 along each parameter")

    @property
    def cells(self) -> Grid:
        """A grid whose nodes are the middles of the cells, and its box therefore half a cell smaller all around."""
        steps = [(high - low) / n for (low, high), n in zip(self.extent, self.nodes, strict=True)]
        inner = [
            (low + step / 2, high - step / 2) for (low, high), step in zip(self.extent, steps, strict=True)
        ]
        return Grid((inner[0], inner[1]), self.nodes)


class ExponentialNetwork(nn.Module):
    """``log p(t|x) = <f(x), eta(t)> - A(t) + const(x)``, uniform prior over the box (Eq. 6 read as a posterior).

    With two statistics ``eta`` is the natural parameters and ``f`` their conjugates, in their units: the family of the
    paper. With more, ``eta`` is a spline map whose first two components start as the natural parameters. ``A`` is a
    tensor product of cubic splines. Within the network natural parameters are relative to the middle and half
    the range of their box; the methods take and give them in their own units.

    Args:
        config: sizes.
        natural: from the parameters of the study to natural ones.
    """

    center: Tensor
    reach: Tensor
    natural_cells: Tensor

    def __init__(self, config: ExponentialConfig, natural: Natural | None = None) -> None:
        super().__init__()
        self.config = config
        self.encoder = StateEncoder(
            config.state_shape,
            config.geometry,
            config.statistics,
            width=config.width,
            layers=config.layers,
            hidden=config.hidden,
        )
        self.basis = _basis(config.extent, config.splines)
        self.potential = nn.Parameter(torch.zeros(config.splines))
        cells = config.cells.points
        image = cells if natural is None else natural(cells)
        self.register_buffer("natural_cells", torch.from_numpy(np.array(image, dtype=float)))
        low, high = image.min(axis=0), image.max(axis=0)
        self.register_buffer("center", torch.from_numpy((low + high) / 2))
        self.register_buffer("reach", torch.from_numpy((high - low) / 2))
        self.eta_basis = _basis(config.extent, config.eta_splines)
        self.bend = nn.Parameter(self._first_bend()) if config.statistics > 2 else None

    def _first_bend(self) -> Float[Tensor, "d count_a count_b"]:
        """Nothing in the first two components, and products of Legendre polynomials, by degree, in the others."""
        axes = [2 * (axis.greville - axis.low) / (axis.high - axis.low) - 1 for axis in self._eta_axes]
        pairs = ((p, total - p) for total in count(2) for p in range(total, -1, -1))
        extra = [
            np.outer(Legendre.basis(p)(axes[0]), Legendre.basis(q)(axes[1]))
            for p, q in islice(pairs, self.config.statistics - 2)
        ]
        return torch.from_numpy(np.stack([np.zeros_like(extra[0])] * 2 + extra)).float()

    @property
    def _eta_axes(self) -> tuple[SplineAxis, SplineAxis]:
        return self.eta_basis.a, self.eta_basis.b

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.potential.device

    def standardised_eta(
        self, t: Float[Tensor, "n 2"], natural: Float[Tensor, "n 2"]
    ) -> Float[Tensor, "n d"]:
        """``eta`` in the units of the network."""
        first = (natural - self.center) / self.reach
        if self.bend is None:
            return first
        rest = torch.stack([self.eta_basis.evaluate(c, t) for c in self.bend], dim=-1)
        return rest + nn.functional.pad(first, (0, self.config.statistics - 2))

    def eta(self, t: Float[np.ndarray, "n 2"], natural: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n d"]:
        """``eta(t)``, of which the first two are in the units of the natural parameters, the others without unit."""
        with torch.no_grad():
            eta = self.standardised_eta(
                *(torch.from_numpy(np.array(x)).to(self.center) for x in (t, natural))
            )
        scale, shift = self._units()
        return eta.cpu().numpy() * scale + shift

    def eta_slope(
        self, t: Float[np.ndarray, "n 2"], jacobian: Float[np.ndarray, "n 2 2"]
    ) -> Float[np.ndarray, "n d 2"]:
        """``d eta_k / d t_j``, given the Jacobian of the natural parameters."""
        slope = np.zeros((len(t), self.config.statistics, 2))
        slope[:, :2] = jacobian
        if self.bend is not None:
            points = torch.from_numpy(np.array(t)).to(self.center)
            with torch.no_grad():
                bend = [
                    [self.eta_basis.evaluate(c, points, order) for order in ((1, 0), (0, 1))]
                    for c in self.bend
                ]
            rest = np.array([[s.cpu().numpy() for s in pair] for pair in bend])
            slope += np.moveaxis(rest, 2, 0) * self._units()[0][:, None]
        return slope

    def _units(self) -> tuple[Float[np.ndarray, "d"], Float[np.ndarray, "d"]]:
        rest = self.config.statistics - 2
        scale = np.concatenate([self.reach.cpu().numpy(), np.ones(rest)])
        return scale, np.concatenate([self.center.cpu().numpy(), np.zeros(rest)])

    @torch.no_grad()
    def statistics(self, states: Shaped[np.ndarray, "n *shape"]) -> Float[np.ndarray, "n d"]:
        """``f(x)`` of each state, conjugate to ``eta``; with two statistics, ``E[f|t] = grad F`` up to a constant.

        Raises:
            ValueError: if the states have another shape than the network reads.
        """
        if states.shape[1:] != self.config.state_shape:
            raise ValueError(
                f"states have shape {states.shape}, the network reads {('n', *self.config.state_shape)}"
            )
        self.eval()
        parts = [
            self.encoder(as_input(states[k : k + ROWS]).to(self.device)).double().cpu()
            for k in range(0, len(states), ROWS)
        ]
        return torch.cat(parts).numpy() / self._units()[0]

    def value(self, t: Float[Tensor, "n 2"]) -> Float[Tensor, "n"]:
        """``A(t)`` in nats, that of ``eta`` in the network's units, in which ``eta`` is zero in the middle."""
        return self.basis.evaluate(self.potential, t)

    @torch.no_grad()
    def log_posterior(
        self,
        statistics: Float[np.ndarray, "n d"],
        *,
        bundle: float = 1.0,
        nodes: tuple[Float[np.ndarray, "node 2"], Float[np.ndarray, "node 2"]] | None = None,
    ) -> tuple[Float[np.ndarray, "n node"], Float[np.ndarray, "n"]]:
        """``log P`` of each node given a bundle of states, by the mean of their statistics: no retraining.

        States drawn at one ``t`` multiply their likelihoods, so a bundle of ``K`` has the posterior
        ``softmax K (<mean f, eta> - A)``.

        Args:
            statistics: mean over each bundle of ``f``.
            bundle: number of states in it.
            nodes: points of equal prior weight and their natural parameters; the middles of the cells unless given.

        Returns:
            Logarithms of the posterior, each row's exponentials summing to one, and of the sum they were divided by.

        Raises:
            ValueError: on statistics of another number than the network's, or a bundle that is not positive.
        """
        if np.ndim(statistics) != 2 or np.shape(statistics)[1] != self.config.statistics:
            raise ValueError(
                f"statistics have shape {np.shape(statistics)}, must be {('n', self.config.statistics)}"
            )
        if not bundle > 0:
            raise ValueError(f"bundle is {bundle}, must be positive")
        cells = (self.config.cells.points, self.natural_cells.cpu().numpy())
        t, natural = (torch.from_numpy(np.array(x)).to(self.center) for x in nodes or cells)
        eta, f = self.standardised_eta(t, natural), np.asarray(statistics) * self._units()[0]
        logits = bundle * (torch.from_numpy(f).to(eta) @ eta.T - self.value(t))
        log_z = logits.logsumexp(dim=1, keepdim=True)
        return (logits - log_z).cpu().numpy(), log_z[:, 0].cpu().numpy()

    @classmethod
    def read(cls, entries: dict[str, Any], weights: Mapping[str, Tensor]) -> ExponentialNetwork:
        """The network of a configuration as JSON has it (lists for tuples) and its state.

        Raises:
            ValueError, KeyError, TypeError, RuntimeError: if they are not of such a network, or not of the same.
        """
        pairs = {name: tuple(entries[name]) for name in ("state_shape", "nodes", "splines", "eta_splines")}
        first, second = entries["extent"]
        network = cls(ExponentialConfig(**{**entries, **pairs, "extent": (tuple(first), tuple(second))}))
        network.load_state_dict(weights)
        return network.eval()


def _basis(extent: Extent, splines: tuple[int, int]) -> SplineBasis:
    return SplineBasis.over(extent, splines)
