"""The dual problem: ``F`` at nodes and a slope at every source, jointly convex, and Newton's step in both."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hessgeo.grids import Grid, bilinear_weights
from hessgeo.numerics.bsplines import SplineBasis
from hessgeo.numerics.conjugate_gradients import conjugate_gradients
from hessgeo.numerics.factor import cholesky
from hessgeo.numerics.row_matrices import entries, row_matrix, with_entries
from hessgeo.posteriors.base import Posterior

_FLOOR = (
    -100.0
)  # of log-probabilities: no sum feels what is below, and no product becomes a slow denormal number
_BLOCK_ENTRIES = 2**20  # entries of one block of the (source, node) matrix: 8 MiB, which the allocator keeps
_SEEN = 1e-7  # probabilities below are left out of Newton's matrix, not of the loss nor of its gradient
_KEPT_ENTRIES = 2**27  # of that matrix; where more are seen, the least of them are left out
_COARSE = 12  # splines along an axis, at most, in which Newton's system is solved exactly as a preconditioner
_FIRM = (
    1e-5,
    1e-4,
    1e-3,
    1e-2,
)  # shares of its diagonal that are tried, one after another, to make it definite
_FORCING = 0.03  # relative accuracy of Newton's step
_MOST_PRODUCTS = 400  # of conjugate gradients in one step


@dataclass(frozen=True)
class DualProblem:
    r"""Sources, nodes and the data's two reductions, as float64 tensors on one device.

    With ``phi = N F`` at the nodes and ``theta_i = N eta_i`` at the sources the loss is

        J = sum_i [ log sum_g w_g exp(<theta_i, u_g> - phi_g) - <theta_i, m_i> ] + sum_g s_g phi_g,

    convex in both together, and free of affine functions of ``u`` in ``phi`` (the gauge). Its minimum is the dual of a
    maximum of entropy: the rows ``q_i`` nearest to ``w`` that have means ``m_i`` and the sum ``s``, so it exists
    wherever the data are those of a posterior. A ridge about reference slopes bounds those that the data leave open,
    of posteriors that lie on a node.

    Attributes:
        nodes: positions ``u_g``, of a grid in box units or moved from there.
        log_weight: ``log w_g``, how many samples a node stands for; minus infinity where none.
        mean: ``m_i`` in the coordinates of the nodes.
        marginal: ``s_g``.
        coarse: values of a few splines at the nodes, affine functions among them: where Newton's system is coarse.
        ridge: squared units of the nodes.
        reference: slopes that the ridge draws to, in nats.
    """

    nodes: Float[Tensor, "node axis"]
    log_weight: Float[Tensor, "node"]
    mean: Float[Tensor, "source axis"]
    marginal: Float[Tensor, "node"]
    coarse: Float[Tensor, "node spline"]
    ridge: float
    reference: Float[Tensor, "source axis"]

    @classmethod
    def on_grid(
        cls, posterior: Posterior, carrier: Grid, grid: Grid, *, ridge: float, device: str
    ) -> DualProblem:
        """Spread a posterior over the nodes of a grid, in box units of another; mass and means are kept.

        Args:
            posterior: means and marginal of every source.
            carrier: the nodes.
            grid: whose box is ``[-1, 1]^d``.
            ridge: squared cells of the carrier.
            device: where the sums run.

        Raises:
            ValueError: on values that are not finite or points outside the box.
        """
        _refuse(posterior)
        spread = bilinear_weights(posterior.points, carrier)
        with np.errstate(divide="ignore"):  # a node without samples has weight zero: it carries no posterior
            log_weight = np.log(np.asarray(spread.sum(axis=0)).ravel())
        marginal = spread.T @ posterior.marginal
        return cls._made(posterior, carrier.unit.points, log_weight, marginal, carrier, grid, ridge, device)

    @classmethod
    def on_samples(
        cls, posterior: Posterior, carrier: Grid, grid: Grid, *, ridge: float, device: str
    ) -> DualProblem:
        """With the points that carry the posterior as nodes: nothing is spread. Arguments as of ``on_grid``."""
        _refuse(posterior)
        nodes = grid.frame.into(posterior.points)
        return cls._made(
            posterior, nodes, np.zeros(len(nodes)), posterior.marginal, carrier, grid, ridge, device
        )

    @classmethod
    def _made(
        cls,
        posterior: Posterior,
        nodes: Float[np.ndarray, "node axis"],
        log_weight: Float[np.ndarray, "node"],
        marginal: Float[np.ndarray, "node"],
        carrier: Grid,
        grid: Grid,
        ridge: float,
        device: str,
    ) -> DualProblem:
        def tensor(values: np.ndarray) -> Tensor:
            return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float64, device=device)

        mean = tensor(grid.frame.into(posterior.mean))
        cell = np.array(carrier.unit.spacing)
        return cls(
            nodes=tensor(nodes),
            log_weight=tensor(log_weight),
            mean=mean,
            marginal=tensor(marginal),
            coarse=tensor(coarse_splines(nodes, carrier.shape)),
            ridge=ridge * float(np.prod(cell) ** (2 / len(cell))),
            reference=torch.zeros_like(mean),
        )

    @cached_property
    def gauge(self) -> Float[Tensor, "node part"]:
        """Orthonormal basis of the affine functions at the nodes."""
        ones = torch.ones_like(self.nodes[:, :1])
        return torch.linalg.qr(torch.cat([ones, self.nodes], dim=1))[0]

    def without_gauge(self, values: Float[Tensor, "node *column"]) -> Float[Tensor, "node *column"]:
        """The part that is no affine function."""
        return values - self.gauge @ (self.gauge.T @ values)

    def at(self, phi: Float[Tensor, "node"], theta: Float[Tensor, "source axis"]) -> DualPoint:
        """The loss and its derivatives at a potential and slopes."""
        return DualPoint(self, phi, theta)


def coarse_splines(
    nodes: Float[np.ndarray, "node axis"], shape: tuple[int, ...]
) -> Float[np.ndarray, "node spline"]:
    """Values at nodes in box units of a tensor product of few cubic splines, which span the affine functions."""
    counts = tuple(min(_COARSE, max(4, count // 2)) for count in shape)
    basis = SplineBasis.over(((-1.0, 1.0),) * len(shape), counts)
    return basis.design(nodes, (0,) * len(shape)).toarray()


def _refuse(posterior: Posterior) -> None:
    for name in ("t", "mean", "marginal", "points"):
        if not np.isfinite(getattr(posterior, name)).all():
            raise ValueError(f"posterior.{name} holds values that are not finite")


class DualPoint:
    """The loss at one potential and its slopes, a ``newton.Point``; what one pass over the rows yields is kept."""

    def __init__(
        self, problem: DualProblem, phi: Float[Tensor, "node"], theta: Float[Tensor, "source axis"]
    ) -> None:
        self.problem = problem
        self.phi = phi
        self.theta = theta

    @cached_property
    def _reduced(self) -> tuple[float, Tensor, Tensor, Tensor]:
        """Loss, column sums, means and covariances of the rows."""
        p = self.problem
        products = torch.einsum("gk,gl->gkl", p.nodes, p.nodes).flatten(1)
        features = torch.cat([p.nodes, products], dim=1)
        columns = torch.zeros_like(self.phi)
        normalisers, moments = [], []
        for block in self.blocks():
            q, log_normaliser = self.rows(block)
            normalisers.append(log_normaliser)
            moments.append(q @ features)
            columns += q.sum(dim=0)
        moment = torch.cat(moments)
        dims = p.nodes.shape[1]
        mean = moment[:, :dims]
        covariance = moment[:, dims:].reshape(-1, dims, dims) - mean[:, :, None] * mean[:, None, :]
        off = self.theta - p.reference
        loss = torch.cat(normalisers).sum() - (self.theta * p.mean).sum() + p.marginal @ self.phi
        return float(loss + p.ridge / 2 * (off**2).sum()), columns, mean, covariance

    def blocks(self) -> tuple[Tensor, ...]:
        """Sources whose rows are made at once."""
        count = max(1, _BLOCK_ENTRIES // len(self.phi))
        return torch.arange(len(self.theta), device=self.phi.device).split(count)

    def rows(self, sources: Tensor) -> tuple[Float[Tensor, "block node"], Float[Tensor, "block"]]:
        """Fitted posteriors ``q_i`` of some sources, and the logarithms of their normalisers."""
        p = self.problem
        logit = torch.addmm(p.log_weight - self.phi, self.theta[sources], p.nodes.T)
        top = logit.amax(dim=1, keepdim=True)
        q = logit.sub_(top).clamp_(min=_FLOOR).exp_()
        total = q.sum(dim=1, keepdim=True)
        return q.div_(total), (top + total.log())[:, 0]

    def mean_of(self, values: Float[Tensor, "node k"]) -> Float[Tensor, "source k"]:
        """Mean of functions on the nodes under each ``q_i``."""
        return torch.cat([self.rows(block)[0] @ values for block in self.blocks()])

    def back(self, values: Float[Tensor, "source k"]) -> Float[Tensor, "node k"]:
        """``sum_i q_ig v_i``."""
        total = torch.zeros(len(self.phi), values.shape[1]).to(values)
        for block in self.blocks():
            total += self.rows(block)[0].T @ values[block]
        return total

    @property
    def loss(self) -> float:
        """``J`` in nats, summed over sources."""
        return self._reduced[0]

    @property
    def columns(self) -> Float[Tensor, "node"]:
        """``sum_i q_i``."""
        return self._reduced[1]

    @property
    def mean(self) -> Float[Tensor, "source axis"]:
        """Mean of each ``q_i``."""
        return self._reduced[2]

    @property
    def covariance(self) -> Float[Tensor, "source axis axis"]:
        """Covariance of each ``q_i``."""
        return self._reduced[3]

    def moved(self, step: tuple[Tensor, Tensor], length: float) -> DualPoint:
        """See ``newton.Point``."""
        return DualPoint(self.problem, self.phi + length * step[0], self.theta + length * step[1])

    def newton(self) -> tuple[tuple[Tensor, Tensor], float]:
        """See ``newton.Point``."""
        p = self.problem
        by_phi = p.marginal - self.columns
        by_theta = self.mean - p.mean + p.ridge * (self.theta - p.reference)
        d_phi, d_theta = (step[..., 0] for step in self.response(-by_phi[:, None], -by_theta[:, :, None]))
        return (d_phi, d_theta), -0.5 * float(by_phi @ d_phi + (by_theta * d_theta).sum())

    def response(
        self,
        phi: Float[Tensor, "node column"],
        theta: Float[Tensor, "source axis column"],
        *,
        relative: float = _FORCING,
    ) -> tuple[Float[Tensor, "node column"], Float[Tensor, "source axis column"]]:
        """What Newton's matrix takes to right sides: the slopes eliminated, the rest by conjugate gradients."""
        system = self._eliminated
        drift = torch.einsum("ikl,ilc->ikc", system.precision, theta)
        mean = torch.einsum("ik,ikc->ic", self.mean, drift)
        right = self.problem.without_gauge(phi + system.adjoint(-mean, drift))
        d_phi = conjugate_gradients(
            system.product, right, system.preconditioned, relative=relative, most=_MOST_PRODUCTS
        )
        d_theta = torch.einsum("ikl,ilc->ikc", system.precision, system.moments(d_phi)[1] + theta)
        return d_phi, d_theta

    @property
    def seen(self) -> tuple[Tensor, Tensor]:
        """The rows as Newton's matrix sees them, and their transpose, see ``seen_rows``."""
        return self._eliminated.rows, self._eliminated.columns

    @cached_property
    def _eliminated(self) -> _Eliminated:
        return _Eliminated(self)


class _Eliminated:
    r"""Newton's matrix in ``phi`` when every slope follows: ``sum_i`` of the residuals of regressions under ``q_i``.

    ``H v = sum_i q_i (v - alpha_i - <beta_i, u>)``, where ``alpha_i + <beta_i, u>`` is the affine function nearest to
    ``v`` in the mean square under ``q_i`` (the ridge added to its variances).
    """

    def __init__(self, point: DualPoint) -> None:
        p = point.problem
        self.point, self.problem = point, p
        eye = torch.eye(p.nodes.shape[1], dtype=p.nodes.dtype, device=p.nodes.device)
        self.precision = torch.linalg.inv(point.covariance + p.ridge * eye)
        self.rows, self.columns = seen_rows(point)
        ones = torch.ones_like(p.nodes[:, :1])
        self.plane = torch.cat([ones, p.nodes], dim=1).float()
        self._coarse = self._coarse_factor()

    def moments(
        self, v: Float[Tensor, "node column"]
    ) -> tuple[Float[Tensor, "source column"], Float[Tensor, "source axis column"]]:
        """Mean of each ``v`` under each ``q_i``, and its covariance with ``u``."""
        weighted = (self.plane[:, :, None] * v.float()[:, None, :]).flatten(1)
        moment = (self.rows @ weighted).to(v).reshape(len(self.rows), -1, v.shape[1])
        return moment[:, 0], moment[:, 1:] - self.point.mean[:, :, None] * moment[:, :1]

    def adjoint(
        self, alpha: Float[Tensor, "source column"], beta: Float[Tensor, "source axis column"]
    ) -> Float[Tensor, "node column"]:
        """``sum_i q_i (alpha_i + <beta_i, u>)``."""
        parts = torch.cat([alpha[:, None], beta], dim=1)
        total = (self.columns @ parts.flatten(1).float()).to(alpha).reshape(-1, *parts.shape[1:])
        return total[:, 0] + torch.einsum("gk,gkc->gc", self.problem.nodes, total[:, 1:])

    def product(self, v: Float[Tensor, "node column"]) -> Float[Tensor, "node column"]:
        """``H v``."""
        mean, covariance = self.moments(v)
        beta = torch.einsum("ikl,ilc->ikc", self.precision, covariance)
        alpha = mean - torch.einsum("ik,ikc->ic", self.point.mean, beta)
        return self.problem.without_gauge(self.point.columns[:, None] * v - self.adjoint(alpha, beta))

    def preconditioned(self, r: Float[Tensor, "node column"]) -> Float[Tensor, "node column"]:
        """The inverse of the diagonal, and of ``H`` between few splines, added up."""
        coarse = self.problem.coarse
        smooth = coarse @ torch.cholesky_solve(coarse.T @ r, self._coarse)
        return self.problem.without_gauge(r / self._diagonal[:, None] + smooth)

    @cached_property
    def _diagonal(self) -> Float[Tensor, "node"]:
        """Of ``H``: ``sum_i q_ig (1 - leverage of g)``."""
        return without_leverage(
            self.point.columns, self.columns, self.problem.nodes, self.point.mean, self.precision
        )

    def _coarse_factor(self) -> Float[Tensor, "spline spline"]:
        p, splines = self.problem, self.problem.coarse.float()
        whole = self.rows @ splines
        centred = [
            self.rows @ (splines * p.nodes[:, k, None].float()) - self.point.mean[:, k, None].float() * whole
            for k in range(p.nodes.shape[1])
        ]
        half = torch.linalg.cholesky(self.precision).float()
        parts = [whole] + [
            sum(half[:, k, j, None] * centred[k] for k in range(j, len(centred))) for j in range(len(centred))
        ]
        matrix = splines.T @ (self.point.columns.float()[:, None] * splines)
        for part in parts:
            matrix = matrix - part.T @ part
        matrix = (matrix + matrix.T).double() / 2
        # Affine functions span its null space, and rounding in single precision is the size of its least values.
        return cholesky(matrix, "dual fit", firm=_FIRM)


def without_leverage(
    total: Float[Tensor, "node"],
    columns: Float[Tensor, "node source"],
    nodes: Float[Tensor, "node axis"],
    mean: Float[Tensor, "source axis"],
    precision: Float[Tensor, "source axis axis"],
) -> Float[Tensor, "node"]:
    """``sum_i q_ig (1 - leverage of g)``, with the leverage ``q_ig (1 + (t_g - m_i)' P_i (t_g - m_i))``."""
    along = torch.einsum("ikl,il->ik", precision, mean)
    quadratic = torch.cat([1 + (along * mean).sum(1, keepdim=True), -2 * along, precision.flatten(1)], dim=1)
    products = torch.einsum("gk,gl->gkl", nodes, nodes).flatten(1)
    powers = torch.cat([torch.ones_like(nodes[:, :1]), nodes, products], dim=1)
    squares = with_entries(columns, entries(columns) ** 2)
    leverage = ((squares @ quadratic.float()).to(powers) * powers).sum(1)
    return (total - leverage).clamp(min=1e-6 * float(total.max()))


def seen_rows(point: DualPoint) -> tuple[Tensor, Tensor]:
    """The rows ``q_i`` in single precision and their transpose, without what is too small to be seen."""
    share = min(1.0, _KEPT_ENTRIES / (len(point.theta) * len(point.phi)))
    blocks = []
    for block in point.blocks():
        q = point.rows(block)[0].float()
        least = _SEEN
        if share < 1:
            some = q[:: max(1, len(q) // 16)].flatten()[: 2**23]
            least = max(least, float(torch.quantile(some, 1 - share)))
        q[q < least] = 0
        blocks.append(q.to_sparse())
    return row_matrix(blocks)
