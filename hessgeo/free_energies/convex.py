"""The convex problem behind the spline fit: its loss, gradient and Hessian, in blocks of sources."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hessgeo.grids import Grid, bilinear_weights
from hessgeo.numerics.bsplines import SplineBasis, derivatives
from hessgeo.posteriors.base import PAIRS, Posterior

# Probabilities below e^-100 are raised to it: no sum feels them, and no product becomes a slow denormal number.
_FLOOR = -100.0
_MEDIAN_OF_ONE = 0.4549364231195727  # of a chi-squared variable of one degree
_BLOCK_ENTRIES = 2**20  # entries of one block of the (source, node) matrix: 8 MiB, which the allocator keeps


@dataclass(frozen=True)
class Reduction:
    """Everything one pass over the (source, node) matrix yields; a ``penalised.Expansion`` of the loss.

    Almost every full step is taken, so each trial is reduced at once: the next step needs that anyway.

    ``mean`` and ``precision`` are those of ``q_F`` per source; the variance of one cell is added before inverting, so
    that a posterior narrower than a cell keeps a finite precision.
    """

    problem: ConvexProblem
    c: Float[Tensor, "size"]
    loss: float
    gradient: Float[Tensor, "size"]
    hessian: Float[Tensor, "size size"]
    mean: Float[Tensor, "source axis"]
    precision: Float[Tensor, "source axis axis"]

    def at(self, c: Float[Tensor, "size"]) -> Reduction:
        """The same of other coefficients."""
        return self.problem.reduce(c)

    def misfit(self, degrees: float) -> float:
        """Pearson's statistic of the posterior means about the fit, per degree of freedom left."""
        total = float(self._standardised(self.problem.mean - self.mean).sum())
        return total / max(self.mean.numel() - degrees, 1.0)

    def noise(self, scatter: Float[Tensor, "source axis"]) -> float:
        """Dispersion of the means between neighbours: the mean of a chi-squared variable of ``d``, over ``d``."""
        return float(self._standardised(scatter).mean()) / scatter.shape[1]

    def typical_noise(self, scatter: Float[Tensor, "source axis"]) -> float:
        """The same by the median of that variable (``2 log 2`` of 2), which a kink here and there does not move."""
        median = 2 * math.log(2) if scatter.shape[1] == 2 else _MEDIAN_OF_ONE
        return float(self._standardised(scatter).median()) / median

    def _standardised(self, residual: Float[Tensor, "source axis"]) -> Float[Tensor, "source"]:
        return torch.einsum("ik,ikl,il->i", residual, self.precision, residual)


@dataclass(frozen=True)
class ConvexProblem:
    """The convex problem: sources, nodes and the data's two reductions, as float64 tensors on one device.

    All in box units, so that neither units nor offsets enter: ``<t, grad F>`` is the same up to a row's constant. Along
    one axis ``in_b`` is one constant on one node.
    """

    basis: SplineBasis
    resolution: float
    axes: tuple[Float[Tensor, "_"], ...]
    in_a: Float[Tensor, "na count_a"]
    in_b: Float[Tensor, "nb count_b"]
    log_weight: Float[Tensor, "node"]
    source: Float[Tensor, "source axis"]
    mean: Float[Tensor, "source axis"]
    marginal: Float[Tensor, "node"]

    @classmethod
    def of(cls, posterior: Posterior, grid: Grid, splines: tuple[int, ...], device: str) -> ConvexProblem:
        """Gather what the fit needs; raises ValueError on values that are not finite or points outside the box."""
        for name in ("t", "mean", "marginal", "points"):
            if not np.isfinite(getattr(posterior, name)).all():
                raise ValueError(f"posterior.{name} holds values that are not finite")
        carrier = posterior.carrier(grid)
        spread = bilinear_weights(posterior.points, carrier)
        with np.errstate(divide="ignore"):  # a node without samples has weight zero: it carries no posterior
            log_weight = np.log(np.asarray(spread.sum(axis=0)).ravel())
        basis, frame = SplineBasis.over(grid.unit.extent, splines), grid.frame

        def tensor(values: np.ndarray) -> Tensor:
            return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float64, device=device)

        axes = tuple(map(tensor, carrier.unit.axes))
        in_a, in_b = _designs(basis, axes)
        return cls(
            basis=basis,
            resolution=posterior.resolution,
            axes=axes,
            in_a=in_a,
            in_b=in_b,
            log_weight=tensor(log_weight),
            source=tensor(frame.into(posterior.t)),
            mean=tensor(frame.into(posterior.mean)),
            marginal=tensor(spread.T @ posterior.marginal),
        )

    def with_splines(self, splines: tuple[int, ...]) -> ConvexProblem:
        """The same data in another number of splines."""
        basis = SplineBasis.over(((-1.0, 1.0),) * len(splines), splines)
        in_a, in_b = _designs(basis, self.axes)
        return replace(self, basis=basis, in_a=in_a, in_b=in_b)

    @cached_property
    def nodes(self) -> Float[Tensor, "node axis"]:
        """The grid's nodes, row by row."""
        return torch.stack(torch.meshgrid(*self.axes, indexing="ij"), dim=-1).reshape(-1, len(self.axes))

    def node_values(self, c: Float[Tensor, "size"]) -> Float[Tensor, "node"]:
        """``F`` at every node."""
        return (self.in_a @ c.reshape(self._splines) @ self.in_b.T).flatten()

    def blocks(self) -> list[slice]:
        """Ranges of sources small enough for one block of the (source, node) matrix."""
        rows = max(1, _BLOCK_ENTRIES // len(self.log_weight))
        return [slice(k, k + rows) for k in range(0, len(self.source), rows)]

    def logits(self, c: Float[Tensor, "size"], block: slice) -> Float[Tensor, "rows node"]:
        """``log w_g + N (<t_g, grad F(t_i)> - F(t_g))`` for one block of sources."""
        slope = torch.stack(
            [(value[block] * c[rows[block]]).sum(dim=1) for rows, value in self.slopes], dim=-1
        )
        offset = self.log_weight - self.resolution * self.node_values(c)
        return torch.addmm(offset, self.resolution * slope, self.nodes.T)

    @cached_property
    def linear(self) -> Float[Tensor, "size"]:
        """``d/dc`` of the part of the loss that is linear in ``c``: the data's side of the gradient."""
        marginal = self.marginal.reshape(len(self.in_a), len(self.in_b))
        linear = (self.in_a.T @ marginal @ self.in_b).flatten()
        for k, (rows, slope) in enumerate(self.slopes):
            linear.index_add_(0, rows.flatten(), -(slope * self.mean[:, k : k + 1]).flatten())
        return self.resolution * linear

    @cached_property
    def carried(self) -> float:
        """``sum_g s_g log w_g``: the part of ``log q`` that the nodes' weights bring, which no ``c`` changes."""
        return float(torch.where(self.marginal > 0, self.marginal * self.log_weight, 0.0).sum())

    def reduce(self, c: Float[Tensor, "size"]) -> Reduction:
        """Loss, gradient and Hessian (``N^2 sum_i Cov_{q_i}[<dPhi(t_i), t> - Phi(t)]``) in one pass."""
        size, n = self.basis.size, self.resolution
        hessian = torch.zeros(size, size, dtype=torch.float64, device=c.device)
        gradient = torch.zeros(size, dtype=torch.float64, device=c.device)
        node_mass = torch.zeros_like(self.marginal)
        log_z, means, seconds = 0.0, [], []
        for block in self.blocks():
            logits = self.logits(c, block)
            peak = logits.amax(dim=1, keepdim=True)
            q = logits.sub_(peak).clamp_(min=_FLOOR).exp_()
            norm = q.sum(dim=1, keepdim=True)
            q.div_(norm)
            log_z += float((peak + norm.log()).sum())
            node_mass += q.sum(dim=0)
            moments = q @ self._monomials()
            mean, second = moments[:, : len(self.axes)], moments[:, len(self.axes) :]
            basis_mean, cross = self._expected_basis(q)
            statistic = basis_mean.neg_()
            for k, (rows, slope) in enumerate(self.slopes):
                statistic.scatter_add_(1, rows[block], mean[:, k : k + 1] * slope[block])
            gradient += statistic.sum(dim=0)
            hessian -= statistic.T @ statistic
            self._add_slope_products(hessian, block, second, cross)
            means.append(mean)
            seconds.append(second)
        hessian += self._basis_products(node_mass)
        loss = float(self.linear @ c) + log_z - self.carried
        gradient, hessian = self.linear + n * gradient, n**2 * (hessian + hessian.T) / 2
        return Reduction(
            problem=self,
            c=c,
            loss=loss,
            gradient=gradient,
            hessian=hessian,
            mean=torch.cat(means),
            precision=self._precision(torch.cat(means), torch.cat(seconds)),
        )

    @cached_property
    def slopes(self) -> list[tuple[Int[Tensor, "source near"], Float[Tensor, "source near"]]]:
        """``dB_k/da`` and ``dB_k/db`` at the sources: rows and values of the sixteen that are not zero."""
        return [self.basis.local(self.source, d) for d in derivatives(1, len(self.axes))]

    def _add_slope_products(
        self,
        hessian: Float[Tensor, "size size"],
        block: slice,
        second: Float[Tensor, "rows pair"],
        cross: tuple[Float[Tensor, "rows size"], Float[Tensor, "rows size"]],
    ) -> None:
        """Add ``sum_i dPhi_i E[t t'] dPhi_i' - 2 dPhi_i E[t Phi']``; the caller's symmetrising splits the 2."""
        moments = second[:, PAIRS[len(self.axes)]]
        for k, (rows, slope) in enumerate(self.slopes):
            right = cross[k].mul_(-2.0)
            for m, (others, other) in enumerate(self.slopes):
                right.scatter_add_(1, others[block], moments[:, k, m, None] * other[block])
            for column in range(rows.shape[1]):
                hessian.index_add_(0, rows[block][:, column], slope[block][:, column, None] * right)

    def _monomials(self) -> Float[Tensor, "node moment"]:
        first, second = torch.triu_indices(len(self.axes), len(self.axes))
        return torch.cat([self.nodes, self.nodes[:, first] * self.nodes[:, second]], dim=1)

    @property
    def _splines(self) -> tuple[int, int]:
        """Splines along both axes; one along the second where there is none."""
        return self.in_a.shape[1], self.in_b.shape[1]

    def _expected_basis(
        self, q: Float[Tensor, "rows node"]
    ) -> tuple[Float[Tensor, "rows size"], tuple[Float[Tensor, "rows size"], Float[Tensor, "rows size"]]]:
        """``E_q[Phi]`` and ``(E_q[a Phi], E_q[b Phi])``, contracted one axis at a time; without a second ``b`` is 0."""
        rows, (na, nb) = len(q), (len(self.in_a), len(self.in_b))
        b = self.axes[1] if len(self.axes) == 2 else torch.zeros_like(self.axes[0][:1])
        right = torch.cat([self.in_b, b[:, None] * self.in_b], dim=1)
        half = (q.reshape(rows * na, nb) @ right).reshape(rows, na, 2, self.in_b.shape[1])
        plain, with_b = half[:, :, 0], half[:, :, 1]
        left = torch.cat([self.in_a, self.axes[0][:, None] * self.in_a], dim=1).T
        both = (left @ plain).reshape(rows, 2, self.basis.size)
        return both[:, 0], (both[:, 1], (self.in_a.T @ with_b).flatten(1))

    def _basis_products(self, mass: Float[Tensor, "node"]) -> Float[Tensor, "size size"]:
        """``sum_g mass_g Phi(t_g) Phi(t_g)'``."""
        grid = mass.reshape(len(self.in_a), len(self.in_b))
        pairs_a = torch.einsum("gk,gm->gkm", self.in_a, self.in_a).flatten(1)
        pairs_b = torch.einsum("hl,hn->hln", self.in_b, self.in_b).flatten(1)
        ka, kb = self._splines
        products = (pairs_a.T @ grid @ pairs_b).reshape(ka, ka, kb, kb)
        return products.permute(0, 2, 1, 3).reshape(self.basis.size, self.basis.size)

    def _precision(
        self, mean: Float[Tensor, "source axis"], second: Float[Tensor, "source pair"]
    ) -> Float[Tensor, "source axis axis"]:
        """Inverse covariances of ``q_F``, with the variance of a cell added."""
        cell = torch.stack([(axis[1] - axis[0]) ** 2 / 12 for axis in self.axes])
        square = mean[:, :, None] * mean[:, None, :]
        return torch.linalg.inv(second[:, PAIRS[len(self.axes)]] - square + torch.diag(cell))


def _designs(
    basis: SplineBasis, axes: tuple[Float[Tensor, "_"], ...]
) -> tuple[Float[Tensor, "na count_a"], Float[Tensor, "nb count_b"]]:
    """The splines at the nodes along both axes; of one axis a constant stands for the second."""
    in_a = basis.a.matrix(axes[0])
    return in_a, basis.b.matrix(axes[1]) if len(axes) == 2 else torch.ones_like(in_a[:1, :1])
