"""Curvature of a two-dimensional Hessian metric."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def thermodynamic_curvature(
    hessian: Float[Tensor, "*batch 2 2"], third: Float[Tensor, "*batch 2 2 2"]
) -> Float[Tensor, "*batch"]:
    """Scalar (Ruppeiner) curvature ``R = 2 K`` of ``g = grad^2 F``, from second and third derivatives alone.

    For a Hessian metric the fourth derivatives cancel in the Riemann tensor, and

        R = -1/2 det[[F_11, F_12, F_22], [F_111, F_112, F_122], [F_112, F_122, F_222]] / det(g)^2,

    in the sign convention where the sphere has ``R > 0``. Its magnitude grows with the correlation volume and diverges
    where ``det g`` vanishes.
    """
    rows = [
        torch.stack([hessian[..., 0, 0], hessian[..., 0, 1], hessian[..., 1, 1]], dim=-1),
        torch.stack([third[..., 0, 0, 0], third[..., 0, 0, 1], third[..., 0, 1, 1]], dim=-1),
        torch.stack([third[..., 0, 0, 1], third[..., 0, 1, 1], third[..., 1, 1, 1]], dim=-1),
    ]
    return -torch.linalg.det(torch.stack(rows, dim=-2)) / (2 * torch.linalg.det(hessian) ** 2)
