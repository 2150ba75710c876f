"""Distances between many points at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.csgraph import csgraph_from_masked, floyd_warshall
from torch import Tensor

from hessgeo.geodesics.solve import geodesics
from hessgeo.metrics.base import Metric

_ROUNDING = 1e-9  # of a distance, relative: by what the way over other points may be shorter


@dataclass(frozen=True)
class Distances:
    """All distances between points.

    Attributes:
        matrix: symmetric, zero on the diagonal, and without a breach of the triangle inequality; infinite where no way
            was found.
        unconverged: pairs whose solver did not reach its tolerance; their length is that of the curve found.
        uncertified: pairs whose curve is not certified (``result.Geodesics.certified``), those among them.
        failed: pairs without a curve of their own, as where the metric is not positive definite between them.
        repaired: pairs whose way over other points is shorter than their own curve, and is what the matrix holds.
    """

    matrix: Float[Tensor, "n n"]
    unconverged: int
    uncertified: int
    failed: int
    repaired: int


def distance_matrix(
    metric: Metric | Callable[[Tensor], Tensor], t: Float[Tensor, "n d"], **options: Any
) -> Distances:
    """Distances between all pairs of points, each the length of its geodesic.

    Each length is measured on a curve that exists, and so is the sum of two of them: where a way over other points is
    shorter than the curve of a pair, that curve is not the shortest, and the matrix holds the way. Pairs that failed,
    or are longer than that way by more than rounding, are counted.

    Args:
        metric: see ``solve.geodesics``.
        t: points, two or more.
        options: of ``solve.geodesics``; ``points=25`` is enough for distances in a smooth metric.

    Raises:
        ValueError: if there are fewer than two points, or no pair can be solved.
    """
    if len(t) < 2:
        raise ValueError(f"{len(t)} points have no distances; at least 2")
    first, second = torch.triu_indices(len(t), len(t), offset=1, device=t.device)
    solved = geodesics(metric, t[first], t[second], **options)
    own = solved.length.nan_to_num(torch.inf)
    matrix = own.new_zeros(len(t), len(t))
    matrix[first, second] = matrix[second, first] = own
    # Masked zeros: to scipy an entry of zero in a dense matrix is no edge, but two points may coincide.
    edges = np.ma.masked_array(matrix.cpu().numpy(), mask=~np.isfinite(matrix.cpu().numpy()))
    ways = torch.from_numpy(floyd_warshall(csgraph_from_masked(edges), directed=False)).to(matrix)
    around = ways[first, second]
    repaired = around < (1 - _ROUNDING) * own
    matrix[first, second] = matrix[second, first] = torch.where(repaired, around, own)
    counts = (~solved.converged, ~solved.certified | repaired, solved.failed, repaired)
    return Distances(matrix, *(int(one.sum()) for one in counts))
