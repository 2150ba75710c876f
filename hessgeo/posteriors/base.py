"""What a posterior over parameters leaves behind: its reductions per source, never the n x n matrix."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from jaxtyping import Float, Float32, Float64, Int, Int64

from hessgeo.grids import Frame, Grid

# Where second moments of one axis or two, each pair once, stand in a matrix.
PAIRS = {1: [[0]], 2: [[0, 1], [1, 2]]}


def monomials(u: Float[np.ndarray, "point axis"]) -> Float[np.ndarray, "point moment"]:
    """What first and second moments sum up: ``a, b, a a, a b, b b``, or of one axis ``a, a a``."""
    first, second = np.triu_indices(u.shape[1])
    return np.concatenate([u, u[:, first] * u[:, second]], axis=1)


def row_moments(
    p: Float[np.ndarray, "row point"], points: Float[np.ndarray, "point axis"]
) -> tuple[Float[np.ndarray, "row axis"], Float[np.ndarray, "row pair"]]:
    """Mean and central moments ``Cov[a, a], Cov[a, b], Cov[b, b]`` of rows of probabilities over points.

    Summed in box units, so that neither the units of the points nor their distance from the origin cost digits.
    """
    frame = Frame.around(points)
    half = np.array(frame.half)
    moments = p @ monomials(frame.into(points))
    return np.array(frame.centre) + half * moments[:, : len(half)], central_moments(moments, half)


def central_moments(
    moments: Float[np.ndarray, "row moment"], scale: Float[np.ndarray, "axis"]
) -> Float[np.ndarray, "row pair"]:
    """``Cov[a, a], Cov[a, b], Cov[b, b]`` from the means of ``monomials`` of ``(u, v)``, ``(a, b) = scale (u, v)``."""
    first, second = np.triu_indices(len(scale))
    central = moments[:, len(scale) :] - moments[:, first] * moments[:, second]
    variances = first == second
    central[:, variances] = central[:, variances].clip(min=0)  # of a row on one point a rounding is left
    return central * scale[first] * scale[second]


@dataclass(frozen=True)
class Posterior:
    """Reductions of the posterior ``P(t_j | t_i)`` of every sample ``i`` over the points ``j`` that carry it.

    These are the samples themselves, or for a network's posterior the nodes of its grid. Rows of ``P`` sum to one,
    so ``marginal`` sums to the number of samples.

    Attributes:
        t: parameters of the samples.
        mean: ``E[t | t_i] = sum_j P(t_j | t_i) t_j``, in parameter units.
        central_moment: ``Cov[t_a, t_a], Cov[t_a, t_b], Cov[t_b, t_b]`` given ``t_i``, of one parameter the first alone,
            about the row's own mean: about the origin, or the centre of a wide box, they would lose digits.
        marginal: ``s_j = sum_i P(t_j | t_i)``.
        entropy: entropy of each row in nats, between 0 and the logarithm of the number of points.
        log_normaliser: ``log sum_j exp(log_kernel(|E_i - E_j|))``, the row's log-partition sum.
        resolution: the resolution number ``N`` of the kernel, or the number of images a network reads at once.
        kernel: name of the kernel, a key of ``kernels.KERNELS``, or ``network``.
        exclude_self: whether a sample is left out of its own posterior.
        neighbours: indices of the most probable samples of each row, most probable first, or None.
        neighbour_weights: their probabilities, or None.
        coarse: the rows spread bilinearly over a coarser grid ``(ca, cb)``; each sums to one. Or None.
        support: the points that carry the probability, all nodes of a grid in order or scattered, or None: the samples.
        rows: whole rows of ``P`` that were kept, or None.
        row_sources: the samples whose rows these are, in increasing order, or None.
        missing: most of each row's mass that was left out, relative to what was summed, or None: nothing was.
        seen: samples that were summed of each row, or None: all.
    """

    t: Float64[np.ndarray, "n axis"]
    mean: Float64[np.ndarray, "n axis"]
    central_moment: Float64[np.ndarray, "n pair"]
    marginal: Float64[np.ndarray, "point"]
    entropy: Float64[np.ndarray, "n"]
    log_normaliser: Float64[np.ndarray, "n"]
    resolution: float
    kernel: str
    exclude_self: bool
    neighbours: Int64[np.ndarray, "n k"] | None = None
    neighbour_weights: Float32[np.ndarray, "n k"] | None = None
    coarse: Float32[np.ndarray, "n *cells"] | None = None
    support: Float64[np.ndarray, "point axis"] | None = None
    rows: Float32[np.ndarray, "r point"] | None = None
    row_sources: Int64[np.ndarray, "r"] | None = None
    missing: Float64[np.ndarray, "n"] | None = None
    seen: Int64[np.ndarray, "n"] | None = None

    @property
    def points(self) -> Float64[np.ndarray, "point axis"]:
        """The points that carry the probability: ``support``, or the samples."""
        return self.t if self.support is None else self.support

    @property
    def covariance(self) -> Float[np.ndarray, "n axis axis"]:
        """Posterior covariance ``E[(t - m_i) (t - m_i)^T | t_i]`` in squared parameter units."""
        return self.central_moment[:, PAIRS[self.t.shape[1]]]

    @property
    def effective_cells(self) -> Float[np.ndarray, "n"]:
        """Number of equally likely samples with the same entropy, ``exp(entropy)``."""
        return np.exp(self.entropy)

    def carrier(self, grid: Grid) -> Grid:
        """The nodes on which a model of this posterior lives: its own grid's if it has one, else those of ``grid``.

        Support that is no grid in these parameters, such as the image of one under a change of parameters, is spread
        over the nodes of ``grid`` like scattered samples.

        Raises:
            ValueError: if its own grid has another box.
        """
        if self.support is None:
            return grid
        shape = tuple(len(np.unique(side)) for side in self.support.T)
        if prod(shape) != len(self.support):
            return grid
        own = Grid(grid.extent, shape)
        off = np.abs(own.points - self.support) / np.array(own.spacing)
        if (off > 1e-6 + own.rounding).any():
            raise ValueError(
                f"the posterior's {len(self.support)} nodes are no grid over the box {grid.extent}"
            )
        return own

    def sources_with_rows(self, sources: Int[np.ndarray, "s"]) -> Int[np.ndarray, "s"]:
        """Of each source the nearest sample whose row can be had: itself, unless only some rows were kept."""
        if self.row_sources is None:
            return np.asarray(sources)
        u = Frame.around(self.t).into(self.t)
        distance = np.linalg.norm(u[sources][:, None] - u[self.row_sources], axis=-1)
        return self.row_sources[distance.argmin(axis=1)]

    def kept_rows(self, sources: Int[np.ndarray, "s"]) -> Float64[np.ndarray, "s point"]:
        """The whole rows that were kept of some sources, each summing to one.

        Raises:
            ValueError: if no row was kept of one of them.
        """
        if self.rows is None or self.row_sources is None:
            raise ValueError(f"the {self.kernel} posterior holds no rows: keep some when it is estimated")
        place = np.searchsorted(self.row_sources, sources).clip(max=len(self.row_sources) - 1)
        missing = np.asarray(sources)[self.row_sources[place] != sources]
        if missing.size:
            raise ValueError(
                f"no row was kept of source {missing[0]}, only of {len(self.row_sources)} others"
            )
        rows = self.rows[place].astype(float)
        return rows / rows.sum(axis=1, keepdims=True)
