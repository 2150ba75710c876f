"""The two-dimensional Ising model without a field on a torus of any size, by Kaufman's closed form."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def kaufman(
    coupling: Float[np.ndarray, "n"], *, width: int, height: int
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """``log Z`` of the torus at h = 0 and its first two derivatives by K > 0 (Kaufman 1949).

    The derivatives are the mean and the variance of ``sum_<ij> s_i s_j``; the variance loses digits to
    cancellation where the lattice is all but frozen (K > 2).

    Raises:
        ValueError: if a coupling is not positive.
    """
    k = torch.tensor(coupling, dtype=torch.float64, requires_grad=True)
    if bool((k <= 0).any()):
        raise ValueError(f"coupling is {float(k.detach().min()):g}, must be positive")
    log_z = _log_kaufman(k, width, height)
    (mean,) = torch.autograd.grad(log_z.sum(), k, create_graph=True)
    (variance,) = torch.autograd.grad(mean.sum(), k)
    return log_z.detach().numpy(), mean.detach().numpy(), variance.numpy()


def _log_kaufman(k: Float[Tensor, "n"], width: int, height: int) -> Float[Tensor, "n"]:
    """``log Z``, half of ``(2 sinh 2K)^(sites / 2)`` times the sum of four products over ``width`` angles each."""
    ratio = torch.cosh(2 * k) / torch.tanh(2 * k)
    zero = (
        height / 2 * (2 * k + torch.tanh(k).log())
    )  # of the angle 0; it changes its sign at the critical point
    scales, factors = [], []
    for odd in (1, 0):
        angle = torch.pi / width * torch.arange(2 - odd, 2 * width, 2, dtype=k.dtype)
        half = height / 2 * torch.arccosh(ratio[:, None] - angle.cos())
        for sign in (1, -1):
            # log 2 cosh x = x + log(1 + e^-2x), log 2 sinh x = x + log(1 - e^-2x).
            scale = (half + torch.log1p(sign * torch.exp(-2 * half))).sum(dim=1)
            size = torch.zeros_like(zero) if odd else zero.abs()
            factor = torch.ones_like(zero) if odd else (zero - size).exp() + sign * (-zero - size).exp()
            scales.append(scale + size)
            factors.append(factor)
    size, factor = torch.stack(scales), torch.stack(factors)
    top = size.amax(dim=0).detach()
    total = ((size - top).exp() * factor).sum(dim=0)
    bulk = 2 * k + torch.log(-torch.expm1(-4 * k))
    return top + torch.log(total) - math.log(2) + width * height / 2 * bulk
