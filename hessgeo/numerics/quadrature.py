"""Rules of quadrature on the unit interval."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


@cache
def gauss_legendre(nodes: int) -> tuple[Float[Tensor, "q"], Float[Tensor, "q"]]:
    """Nodes and weights on [0, 1], exact to polynomials of degree ``2 nodes - 1``; the weights sum to one.

    Raises:
        ValueError: if there is no node.
    """
    if nodes < 1:
        raise ValueError(f"nodes is {nodes}, must be at least 1")
    x, w = np.polynomial.legendre.leggauss(nodes)
    return torch.from_numpy((x + 1) / 2), torch.from_numpy(w / 2)
