"""Gauss and Newton's step in coordinates, potential and slopes at once: slopes eliminated, the rest by iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.free_energies.dual_problem import seen_rows, without_leverage
from hessgeo.numerics.conjugate_gradients import conjugate_gradients

if TYPE_CHECKING:
    from hessgeo.free_energies.coordinate_problem import CoordinatePoint

_FORCING = 0.1  # relative accuracy of a step
_MOST_PRODUCTS = 60  # of conjugate gradients in one step


class CoordinateStep:
    r"""The quadratic model of the loss about a point.

    A change of ``d``, ``phi`` and ``theta`` changes the logits of source ``i`` by
    ``f_ig = <theta_i, du_g> - dphi_g + <u_g, dtheta_i>``, and the matrix is ``sum_i Cov_{q_i}[f, f]``. Every
    ``dtheta_i`` minimises its own part, which leaves the variances of ``f`` without what an affine function of ``u``
    explains.
    """

    def __init__(self, point: CoordinatePoint) -> None:
        self.point, self.problem, self.dual = point, point.problem, point.dual
        u, theta = self.dual.problem.nodes, point.theta
        self.ridge = self.dual.problem.ridge
        eye = torch.eye(u.shape[1]).to(u)
        self.precision = torch.linalg.inv(self.dual.covariance + self.ridge * eye)
        self.rows, self.columns = seen_rows(self.dual)
        self.plane = torch.cat([torch.ones_like(u[:, :1]), u], dim=1)
        products = torch.einsum("ic,id->icd", theta, theta).flatten(1)
        both = self._back(torch.cat([theta, products], dim=1))
        self.q_theta = both[:, : u.shape[1]]
        self.q_products = both[:, u.shape[1] :].reshape(-1, u.shape[1], u.shape[1])
        self.inverse_jacobian = torch.linalg.inv(point.jacobian)
        self._coarse = self._coarse_matrix()
        diagonal = self._coarse.diagonal()[: point.d.numel()]
        self.damped = point.damping * (diagonal + 1e-3 * diagonal.mean()).reshape(point.d.T.shape).T
        self._factor = self._coarse_factor()
        self._diagonal = without_leverage(self.dual.columns, self.columns, u, self.dual.mean, self.precision)

    def solve(self) -> tuple[tuple[Tensor, Tensor, Tensor], float]:
        """The step, and what the quadratic has left to fall."""
        by_d, by_phi, by_theta = self.gradient()
        drift = torch.einsum("icd,id->ic", self.precision, by_theta)
        by_u, by_value = self._backward(-(drift * self.dual.mean).sum(1), drift)
        right = self._joined(self.problem.bends.T @ by_u - by_d, by_value - by_phi)
        found = conjugate_gradients(
            self._product, right, self._preconditioned, relative=_FORCING, most=_MOST_PRODUCTS
        )
        d_d, d_phi = self._parted(found)
        covariance = self._forward(self.problem.bends @ d_d, d_phi)[1]
        d_theta = -torch.einsum("icd,id->ic", self.precision, covariance + by_theta)
        fall = (by_d * d_d).sum() + by_phi @ d_phi + (by_theta * d_theta).sum()
        return (d_d, d_phi, d_theta), -0.5 * float(fall)

    def gradient(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of the loss, by ``d``, ``phi`` and ``theta``."""
        p, dual, theta = self.problem, self.dual, self.point.theta
        pull = self.point.jacobian - self.inverse_jacobian.transpose(1, 2)
        by_d = p.bends.T @ dual.back(theta) - p.mean_bends.T @ theta + p.smoothness * p.penalty @ self.point.d
        by_d[:, :2] += p.barrier * torch.einsum("gca,agk->kc", pull, p.slopes)
        by_theta = dual.mean - dual.problem.mean + self.ridge * (theta - dual.problem.reference)
        return by_d, dual.problem.marginal - dual.columns, by_theta

    def _joined(self, d: Tensor, phi: Tensor) -> Float[Tensor, "unknown"]:
        return torch.cat([d.T.flatten(), self.dual.problem.without_gauge(phi)])

    def _parted(self, x: Float[Tensor, "unknown"]) -> tuple[Tensor, Tensor]:
        count = self.point.d.numel()
        return x[:count].reshape(self.point.d.T.shape).T, x[count:]

    def _forth(self, values: Float[Tensor, "node k"]) -> Float[Tensor, "source k"]:
        return (self.rows @ values.float()).double()

    def _back(self, values: Float[Tensor, "source k"]) -> Float[Tensor, "node k"]:
        return (self.columns @ values.float()).double()

    def _forward(
        self, du: Tensor, d_phi: Tensor
    ) -> tuple[Float[Tensor, "source"], Float[Tensor, "source component"]]:
        """Mean under ``q_i`` of the change of the logits at fixed slopes, and its covariance with ``u``."""
        moved = torch.cat([du, -d_phi[:, None]], dim=1)
        moments = self._forth(torch.einsum("gc,gp->gcp", moved, self.plane).flatten(1))
        weight = torch.nn.functional.pad(self.point.theta, (0, 1), value=1.0)
        moment = torch.einsum("icp,ic->ip", moments.reshape(-1, moved.shape[1], self.plane.shape[1]), weight)
        return moment[:, 0], moment[:, 1:] - self.dual.mean * moment[:, :1]

    def _backward(self, alpha: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
        """What logits ``alpha_i + <beta_i, u_g>`` pull at each ``u_g`` and each ``phi_g``."""
        affine = torch.cat([alpha[:, None], beta], dim=1)
        weight = torch.nn.functional.pad(self.point.theta, (0, 1), value=1.0)
        pulled = self._back(torch.einsum("ip,ic->icp", affine, weight).flatten(1))
        pulled = torch.einsum("gcp,gp->gc", pulled.reshape(-1, weight.shape[1], affine.shape[1]), self.plane)
        return pulled[:, :-1], -pulled[:, -1]

    def _product(self, x: Float[Tensor, "unknown"]) -> Float[Tensor, "unknown"]:
        p = self.problem
        d_d, d_phi = self._parted(x)
        du = p.bends @ d_d
        mean, covariance = self._forward(du, d_phi)
        beta = -torch.einsum("icd,id->ic", self.precision, covariance)
        by_u, by_phi = self._backward(-mean - (beta * self.dual.mean).sum(1), beta)
        by_u = by_u + torch.einsum("gcd,gd->gc", self.q_products, du) - self.q_theta * d_phi[:, None]
        by_phi = by_phi - (self.q_theta * du).sum(1) + self.dual.columns * d_phi
        by_d = p.bends.T @ by_u + p.smoothness * p.penalty @ d_d + self.damped * d_d
        turned = torch.einsum("gac,agk,kc->g", self.inverse_jacobian, p.slopes, d_d[:, :2])
        by_d[:, :2] += p.barrier * torch.einsum("g,gac,agk->kc", turned, self.inverse_jacobian, p.slopes)
        by_d[:, :2] += p.barrier * p.stretch @ d_d[:, :2]
        return self._joined(by_d, by_phi)

    def _preconditioned(self, r: Float[Tensor, "unknown"]) -> Float[Tensor, "unknown"]:
        """The matrix of the coordinates with few splines of ``phi`` solved exactly, and the diagonal of ``phi``."""
        coarse, (by_d, by_phi) = self.dual.problem.coarse, self._parted(r)
        short = torch.cat([by_d.T.flatten(), coarse.T @ by_phi])
        solved = torch.cholesky_solve(short[:, None], self._factor)[:, 0]
        d, smooth = solved[: by_d.numel()], coarse @ solved[by_d.numel() :]
        return self._joined(d.reshape(by_d.T.shape).T, by_phi / self._diagonal + smooth)

    def _coarse_matrix(self) -> Float[Tensor, "short short"]:
        """The matrix between all coordinates and few splines of ``phi``."""
        p, theta, mean = self.problem, self.point.theta, self.dual.mean
        basis = torch.cat([p.bends, self.dual.problem.coarse], dim=1)
        size, axes = p.bends.shape[1], theta.shape[1]
        whole = self._forth(basis)
        u = self.dual.problem.nodes
        centred = [self._forth(basis * u[:, k, None]) - mean[:, k, None] * whole for k in range(axes)]
        half = torch.linalg.cholesky(self.precision)
        parts = [whole] + [sum(half[:, k, j, None] * centred[k] for k in range(j, axes)) for j in range(axes)]
        second = torch.zeros(axes * size + basis.shape[1] - size, axes * size + basis.shape[1] - size).to(u)
        for c in range(axes + 1):
            rows = basis[:, :size] if c < axes else -basis[:, size:]
            for e in range(axes + 1):
                others = basis[:, :size] if e < axes else -basis[:, size:]
                weight = self._second_weight(c, e)
                place = slice(c * size, (c + 1) * size if c < axes else None)
                second[place, e * size : (e + 1) * size if e < axes else None] = rows.T @ (
                    weight[:, None] * others
                )
        for part in parts:
            logits = torch.cat(
                [*(theta[:, c, None] * part[:, :size] for c in range(axes)), -part[:, size:]], dim=1
            ).float()
            second -= (logits.T @ logits).double()
        rough = p.smoothness * p.penalty
        for c in range(axes):
            own = rough + p.barrier * p.stretch if c < 2 else rough
            second[c * size : (c + 1) * size, c * size : (c + 1) * size] += own
        turned = torch.einsum("gac,agk->gck", self.inverse_jacobian, p.slopes).flatten(1)
        second[: 2 * size, : 2 * size] += p.barrier * turned.T @ turned
        return (second + second.T) / 2

    def _second_weight(self, c: int, e: int) -> Float[Tensor, "node"]:
        axes = self.point.theta.shape[1]
        if c == e == axes:
            return self.dual.columns
        return self.q_theta[:, min(c, e)] if axes in (c, e) else self.q_products[:, c, e]

    def _coarse_factor(self) -> Float[Tensor, "short short"]:
        matrix, count = self._coarse.clone(), self.point.d.numel()
        diagonal = matrix.diagonal()
        # Single precision, and affine functions of u, which it takes to zero.
        firm = torch.cat(
            [self.damped.T.flatten(), 1e-5 * diagonal[count:].mean().expand(len(matrix) - count)]
        )
        for more in (1e-6, 1e-4, 1e-2, 1.0):
            factor, failed = torch.linalg.cholesky_ex(matrix + torch.diag(firm + more * diagonal.abs()))
            if not int(failed):
                return factor
        raise ArithmeticError("coordinates: the system of the coordinates has no factor")
