"""Curvature, connection and volume of metrics of the plane."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.metrics.base import Metric


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


def volume_element(metric: Metric, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
    """``sqrt(det g)``: area of the metric per area of parameters (the Jeffreys density of a Fisher metric)."""
    return torch.linalg.det(metric(t)).sqrt()


def christoffel_of(
    g: Float[Tensor, "*batch d d"], first: Float[Tensor, "*batch d d d"]
) -> Float[Tensor, "*batch d d d"]:
    """``[..., k, i, j] = Gamma^k_ij = g^kl (d_i g_jl + d_j g_il - d_l g_ij) / 2`` from ``g`` and its derivatives."""
    lowered = (
        torch.einsum("...jli->...lij", first) + torch.einsum("...ilj->...lij", first)
    ) / 2 - torch.einsum("...ijl->...lij", first) / 2
    return torch.einsum("...kl,...lij->...kij", torch.linalg.inv(g), lowered)


def christoffel(metric: Metric, t: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d d d"]:
    """Christoffel symbols ``[..., k, i, j] = Gamma^k_ij`` of the Levi-Civita connection, by differentiation."""
    return christoffel_of(*metric.slope(t))


def gauss_curvature(metric: Metric, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
    """Gauss curvature ``K`` of any metric of the plane; positive for the sphere.

    ``K = R_1212 / det g``, ``R_1212 = d_12 g_12 - (d_22 g_11 + d_11 g_22) / 2 + g_mn (G^m_12 G^n_12 - G^m_11 G^n_22)``
    with ``G`` the Christoffel symbols. The scalar curvature is ``2 K``: of a Hessian metric
    ``thermodynamic_curvature``, which needs no fourth derivatives.
    """
    g, first, second = metric.jet(t)
    gamma = christoffel_of(g, first)
    bend = second[..., 0, 1, 0, 1] - (second[..., 0, 0, 1, 1] + second[..., 1, 1, 0, 0]) / 2
    crossed = torch.einsum("...mn,...m,...n->...", g, gamma[..., 0, 1], gamma[..., 0, 1])
    straight = torch.einsum("...mn,...m,...n->...", g, gamma[..., 0, 0], gamma[..., 1, 1])
    return (bend + crossed - straight) / torch.linalg.det(g)
