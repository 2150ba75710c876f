"""Cells of samples in the parameter plane, each no wider than what one sample can tell, and what they hold."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve
from scipy.spatial import Delaunay, QhullError, cKDTree

_FEWEST = 16  # samples of a cell; fewer have no scatter to speak of
_WIDEST = 1.0  # of a cell, in standard deviations of an estimate of t from one sample


@dataclass(frozen=True)
class Cells:
    """Cells of samples, by halving the widest until all are narrow.

    Attributes:
        centre: mean parameter of each cell's samples.
        spread: covariance of the same.
        count: samples in each.
        mean: mean statistic.
        metric: covariance of the statistic about its regression on ``t`` within the cell, a rough Fisher metric.
        width: the longer side, ``sqrt(12 Var t_k g_kk)``.
    """

    centre: Float[np.ndarray, "cell 2"]
    spread: Float[np.ndarray, "cell 2 2"]
    count: Float[np.ndarray, "cell"]
    mean: Float[np.ndarray, "cell 2"]
    metric: Float[np.ndarray, "cell 2 2"]
    width: Float[np.ndarray, "cell"]

    @classmethod
    def of(cls, t: Float[np.ndarray, "n 2"], statistics: Float[np.ndarray, "n 2"], *, largest: int) -> Cells:
        """Halve cells, at the median along their longer side, down to width 1 or to ``largest`` cells."""
        ticket = itertools.count()

        def entry(members: Int[np.ndarray, "samples"]) -> tuple[float, int, int, np.ndarray]:
            sides = _sides(*_moments(t[members], statistics[members])[1:])
            return -float(sides.max()), next(ticket), int(sides.argmax()), members

        cells, narrow = [entry(np.arange(len(t)))], list[np.ndarray]()
        while cells and len(cells) + len(narrow) < largest:
            width, _, axis, members = heapq.heappop(cells)
            along = t[members, axis]
            # At a value, so that samples of one parameter stay together.
            low = along <= np.median(along)
            if -width <= _WIDEST or not _FEWEST <= low.sum() <= len(members) - _FEWEST:
                narrow.append(members)
                continue
            for half in (members[low], members[~low]):
                heapq.heappush(cells, entry(half))
        return cls._describe(t, statistics, narrow + [members for *_, members in cells])

    @classmethod
    def _describe(cls, t: np.ndarray, statistics: np.ndarray, cells: list[np.ndarray]) -> Cells:
        means, spreads, metrics = zip(*[_moments(t[of], statistics[of]) for of in cells], strict=True)
        return cls(
            centre=np.stack(means)[:, :2],
            spread=np.stack(spreads),
            count=np.array([float(len(members)) for members in cells]),
            mean=np.stack(means)[:, 2:],
            metric=np.stack(metrics),
            width=np.array([_sides(*pair).max() for pair in zip(spreads, metrics, strict=True)]),
        )

    def nodes(self) -> tuple[Float[np.ndarray, "node 2"], Float[np.ndarray, "node"]]:
        """Four points a cell with the mean and the covariance of its samples, and the samples that each stands for.

        For a cell filled evenly they are the nodes of the Gauss-Legendre rule of order two.
        """
        variance, axes = np.linalg.eigh(self.spread)
        arms = axes * np.sqrt(variance.clip(min=0))[:, None, :]
        signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
        points = self.centre[:, None] + np.einsum("sk,cik->csi", signs, arms)
        return points.reshape(-1, 2), np.repeat(self.count / 4, 4)

    def potential(self, points: Float[np.ndarray, "node 2"]) -> Float[np.ndarray, "node"]:
        """A first ``F``, by thermodynamic integration of the mean statistic over the edges between cells.

        Neighbours differ by ``<(f + f') / 2, t' - t>``; all edges of a Delaunay triangulation are met by weighted
        least squares, and about each cell ``F`` is its quadratic. One potential for all where cells lie in a line.
        """
        level = self._levels()
        scale = self.centre.std(axis=0)
        scale[scale == 0] = 1
        _, cell = cKDTree(self.centre / scale).query(points / scale)
        offset = points - self.centre[cell]
        bend = np.einsum("pi,pij,pj->p", offset, self.metric[cell], offset)
        return level[cell] + (self.mean[cell] * offset).sum(axis=1) + bend / 2

    def _levels(self) -> Float[np.ndarray, "cell"]:
        count = len(self.centre)
        try:
            triangles = Delaunay(self.centre, qhull_options="QJ").simplices
            pairs = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
        except (QhullError, ValueError):
            # Too few cells for a triangle: one after another.
            order = np.lexsort(self.centre.T)
            pairs = np.stack([order[:-1], order[1:]], axis=1)
        one, two = np.unique(np.sort(pairs, axis=1), axis=0).T
        apart = self.centre[two] - self.centre[one]
        rise = ((self.mean[one] + self.mean[two]) / 2 * apart).sum(axis=1)
        length = np.einsum("ei,eij,ej->e", apart, self.metric[one] + self.metric[two], apart)
        weight = 1 / (1 + length) ** 2
        rows, edges = np.concatenate([one, two]), np.tile(np.arange(len(one)), 2)
        incidence = coo_matrix(
            (np.repeat([-1.0, 1.0], len(one)), (rows, edges)), shape=(count, len(one))
        ).tocsr()
        laplacian = (incidence.multiply(weight) @ incidence.T).tolil()
        laplacian[0, 0] += 1
        return np.atleast_1d(spsolve(laplacian.tocsc(), incidence @ (weight * rise)))


def _moments(
    t: Float[np.ndarray, "n 2"], statistics: Float[np.ndarray, "n 2"]
) -> tuple[Float[np.ndarray, "4"], Float[np.ndarray, "2 2"], Float[np.ndarray, "2 2"]]:
    """Mean of ``(t, f)``, covariance of ``t``, and that of ``f`` about its regression on ``t``."""
    both = np.column_stack([t, statistics])
    mean = both.mean(axis=0)
    covariance = (both - mean).T @ (both - mean) / len(both)
    spread, cross = covariance[:2, :2], covariance[:2, 2:]
    return mean, spread, covariance[2:, 2:] - cross.T @ np.linalg.pinv(spread, hermitian=True) @ cross


def _sides(spread: Float[np.ndarray, "2 2"], metric: Float[np.ndarray, "2 2"]) -> Float[np.ndarray, "2"]:
    """How wide a cell is along each axis; rounding may leave a frozen cell's metric below zero."""
    return np.sqrt(12 * (spread.diagonal() * metric.diagonal()).clip(min=0))
