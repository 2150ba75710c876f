"""Batched symmetric block-tridiagonal systems: the second variation of a curve couples neighbouring points only."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def solve(
    diagonal: Float[Tensor, "batch n d d"],
    upper: Float[Tensor, "batch n-1 d d"],
    right: Float[Tensor, "batch n d"],
) -> tuple[Float[Tensor, "batch n d"], Bool[Tensor, "batch"]]:
    """Solve ``A x = right`` by a block Cholesky factorisation, all systems of a batch at once, in ``O(n d^3)`` each.

    Returns:
        The solutions, and whether each ``A`` is positive definite; the solution of one that is not means nothing.
    """
    count = diagonal.shape[1]
    definite = torch.ones(len(diagonal), dtype=torch.bool, device=diagonal.device)
    links, halves = [], []  # L_k^-1 [A_k,k+1, right_k]
    block, rest = diagonal[:, 0], right[:, 0, :, None]
    factors = []
    for k in range(count):
        factor, info = torch.linalg.cholesky_ex(block)
        definite &= info == 0
        factors.append(factor)
        if k == count - 1:
            halves.append(torch.linalg.solve_triangular(factor, rest, upper=False))
            break
        both = torch.linalg.solve_triangular(factor, torch.cat([upper[:, k], rest], dim=-1), upper=False)
        link, half = both[..., :-1], both[..., -1:]
        links.append(link)
        halves.append(half)
        eliminated = link.mT @ both
        block = diagonal[:, k + 1] - eliminated[..., :-1]
        rest = right[:, k + 1, :, None] - eliminated[..., -1:]
    x = torch.linalg.solve_triangular(factors[-1].mT, halves[-1], upper=True)
    solution = [x]
    for k in range(count - 2, -1, -1):
        x = torch.linalg.solve_triangular(factors[k].mT, halves[k] - links[k] @ x, upper=True)
        solution.append(x)
    return torch.stack(solution[::-1], dim=1)[..., 0], definite
