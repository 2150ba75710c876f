"""Adaptive quadrature of many integrands at once: Gauss-Kronrod pairs in cells that are halved until they agree.

What a sum over fixed nodes passes over, it does not know. Here every piece starts in several cells of 15 nodes, and a
cell whose sum of 15 nodes differs from that of 7 by more than its share of the tolerance is halved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

# (piece of each cell, places (cell, node) on it) -> (cell, node): not negative; NaN where there is no such thing.
Rate = Callable[[Tensor, Tensor], Tensor]

TOLERANCE = 1e-9  # of an integral, relative
MEASURED = 1e-6  # error of an integral, relative, above which it is not called measured
DEEPEST = 60  # halvings of a cell
LARGEST = 100_000  # cells of one integral
BLOCK = 2**18  # nodes evaluated at once
_NOISE = 1e-5  # relative error below which one that both halves of a cell keep is the integrand's own


@dataclass(frozen=True)
class Integrals:
    """Integrals over curves made of pieces, and the cells that they were found in.

    Attributes:
        value: of each curve; NaN where the integrand is, or is infinite.
        error: estimate of its absolute error, from above: the differences of both sums over all cells, and rounding.
        piece, start, width: of each cell, sorted: where it lies within its piece, which runs from 0 to 1.
        part: integral over each cell.
    """

    value: Float[Tensor, "m"]
    error: Float[Tensor, "m"]
    piece: Int[Tensor, "c"]
    start: Float[Tensor, "c"]
    width: Float[Tensor, "c"]
    part: Float[Tensor, "c"]


@cache
def gauss_legendre(nodes: int) -> tuple[Float[Tensor, "q"], Float[Tensor, "q"]]:
    """Nodes and weights on [0, 1], exact to polynomials of degree ``2 nodes - 1``; the weights sum to one.

    Raises:
        ValueError: on less than one node.
    """
    if nodes < 1:
        raise ValueError(f"nodes is {nodes}, must be at least 1")
    x, w = np.polynomial.legendre.leggauss(nodes)
    return torch.from_numpy((x + 1) / 2), torch.from_numpy(w / 2)


# Of 15 nodes on [-1, 1] the positive ones, and zero (Kronrod 1965; Piessens et al. 1983); every second is Gauss's.
_PLACES = (
    0.991455371120812639206, 0.949107912342758524526, 0.864864423359769072790, 0.741531185599394439864,
    0.586087235467691130294, 0.405845151377397166907, 0.207784955007898467601, 0.0,
)  # fmt: skip
_KRONROD = (
    0.022935322010529224964, 0.063092092629978553291, 0.104790010322250183840, 0.140653259715525918745,
    0.169004726639267902827, 0.190350578064785409913, 0.204432940075298892414, 0.209482141084727828013,
)  # fmt: skip


_RULES = {
    15: (_PLACES, _KRONROD),
    7: (
        (0.960491268708020283424, 0.774596669241483377036, 0.434243749346802558002, 0.0),
        (0.104656226026467265194, 0.268488089868333440729, 0.401397414775962222905, 0.450916538658474142345),
    ),
}  # fmt: skip


@cache
def gauss_kronrod(count: int = 15) -> tuple[Float[Tensor, "q"], Float[Tensor, "q"], Float[Tensor, "p"]]:
    """15 (or 7) nodes on [0, 1], their weights, and the weights of every second of them by Gauss's rule."""
    places, weights = (np.array([*half, *half[-2::-1]]) for half in _RULES[count])
    places[: count // 2] *= -1
    return torch.from_numpy((places + 1) / 2), torch.from_numpy(weights / 2), gauss_legendre(count // 2)[1]


def integrate(
    rate: Rate,
    curve: Int[Tensor, "piece"],
    count: int,
    *,
    cells: int,
    tolerance: float = TOLERANCE,
    rule: int = 15,
    block: int = BLOCK,
    like: Tensor,
) -> Integrals:
    """Integrals of a rate over curves, each to ``tolerance`` relative to itself.

    A cell is accepted where both sums differ by less than the tolerance times the larger of its own integral and its
    share of its curve's; where the difference is the integrand's own noise; or where it cannot be halved any more. In
    the last two cases ``error`` is larger than was asked for. A feature is found if one of the first nodes sees it.

    Args:
        rate: what is integrated.
        curve: that each piece belongs to, not falling.
        count: number of curves.
        cells: that each piece starts with.
        tolerance: relative.
        rule: nodes of a cell, 15 or 7.
        block: nodes evaluated at once, as memory allows.
        like: a tensor whose type and device are those of the work.
    """
    pieces = torch.bincount(curve, minlength=count)
    piece = torch.arange(len(curve), device=like.device).repeat_interleave(cells)
    start = torch.arange(cells, device=like.device).to(like).div(cells).repeat(len(curve))
    width, before = torch.full_like(start, 1 / cells), torch.full_like(start, torch.inf)
    settled = like.new_zeros(count)
    found: list[tuple[Tensor, ...]] = []
    eps = torch.finfo(like.dtype).eps
    for depth in range(DEEPEST + 1):
        part, error, lost = _cells(rate, piece, start, width, gauss_kronrod(rule), block, like)
        owner = curve[piece]
        total = settled.index_add(0, owner, torch.where(torch.isfinite(part), part, 0.0))
        share = total[owner] * width / pieces[owner]
        good = error <= torch.maximum(tolerance * torch.maximum(part, share), 50 * eps * part)
        own = error / part
        if depth > 1:
            kept = (own >= 0.3 * before) & (own < _NOISE)
            good |= (kept[0::2] & kept[1::2]).repeat_interleave(2)
        # A curve that is lost somewhere has no integral: its other cells need no more work.
        gone = torch.zeros(count, dtype=torch.bool, device=like.device).index_fill(0, owner[lost], True)
        many = torch.bincount(owner, minlength=count) > LARGEST
        good |= gone[owner] | many[owner] | (width <= 16 * eps * start) | (depth == DEEPEST)
        settled = settled.index_add(0, owner[good], part[good].nan_to_num(0, 0, 0))
        found.append(tuple(v[good] for v in (piece, start, width, part, error)))
        rest = torch.nonzero(~good)[:, 0]
        if len(rest) == 0:
            break
        half = width[rest] / 2
        piece, width, before = (v.repeat_interleave(2) for v in (piece[rest], half, own[rest]))
        start = torch.stack([start[rest], start[rest] + half], dim=1).flatten()
    piece, start, width, part, error = (torch.cat(parts) for parts in zip(*found, strict=True))
    if len(found) > 1:
        order = torch.from_numpy(np.lexsort((start.cpu().numpy(), piece.cpu().numpy()))).to(like.device)
        piece, start, width, part, error = (v[order] for v in (piece, start, width, part, error))
    value = like.new_zeros(count).index_add(0, curve[piece], part)
    value = torch.where(torch.isfinite(value), value, torch.nan)
    missed = like.new_zeros(count).index_add(0, curve[piece], error) + 8 * eps * value
    return Integrals(value, missed, piece, start, width, part)


def _cells(
    rate: Rate,
    piece: Tensor,
    start: Tensor,
    width: Tensor,
    rule: tuple[Tensor, Tensor, Tensor],
    block: int,
    like: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Integral over each cell, its error, and whether the integrand is at none of its nodes a number."""
    nodes, kronrod, gauss = (v.to(like) for v in rule)
    parts, errors, lost = [], [], []
    rows = max(1, block // len(nodes))
    for k, a, h in zip(piece.split(rows), start.split(rows), width.split(rows), strict=True):
        values = rate(k, a[:, None] + h[:, None] * nodes)
        parts.append(h * (values @ kronrod))
        errors.append(h * ((values @ kronrod) - (values[:, 1::2] @ gauss)).abs())
        lost.append((~torch.isfinite(values)).all(dim=1))
    return torch.cat(parts), torch.cat(errors), torch.cat(lost)
