"""Whether a posterior determines a free energy on its nodes, and whether a fit follows it: a verdict in words."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hessgeo.grids import Grid
from hessgeo.posteriors.base import Posterior
from hessgeo.posteriors.widths import NARROW, least_variances

_ONE_POSTERIOR = 1e-9  # cells that the means of all spread over, above which it is more than rounding
FEWEST_NODES = 3  # along an axis: two hold no second derivative that a posterior between them could show
_NARROW_SHARE = 0.25  # of the sources, above which the whole is not resolved
_ONE_NODE = 0.01  # least variance, squared cells: nothing between the nodes is seen
DIVERGENCE = 0.05  # nats between measured and fitted posteriors beyond what noise explains


@dataclass(frozen=True)
class Verdict:
    """What keeps a fit from being the free energy that the posteriors ask for.

    Attributes:
        narrow_share: share of the sources, off the edge, whose posterior is narrower than about a third of a cell.
        divergence: mean ``KL`` of the measured and the fitted posteriors, nats.
        explained: the most of it that the scatter between neighbouring sources explains.
        reasons: each in words; none if the fit is resolved.
    """

    narrow_share: float
    divergence: float
    explained: float
    reasons: tuple[str, ...]

    @property
    def numbers(self) -> dict[str, float | bool | str]:
        """What is reported of it."""
        return {
            "resolved": not self.reasons,
            "verdict": "; ".join(self.reasons) or "resolved",
            "narrow_share": self.narrow_share,
            "explained_divergence": self.explained,
        }


def judge(narrow_share: float, divergence: float, dispersion: float, cells: float) -> Verdict:
    """The verdict on a fit.

    Of rows known from ``n`` draws each the expected divergence is at most ``log(1 + (c - 1) / n)`` with ``c`` the cells
    that a row spreads over; the dispersion of the means stands for ``1 / n``, doubled. A fit whose posteriors differ by
    0.05 nats more than that does not follow them, be it that the splines cannot bend as a kink does, or that the
    posteriors are those of no potential.

    Args:
        narrow_share: see ``least_widths``.
        divergence: mean ``KL`` of measured and fitted posteriors.
        dispersion: median scatter of the means, relative to that of single draws.
        cells: ``exp`` of the mean cross-entropy.
    """
    explained = math.log1p(2 * dispersion * cells)
    reasons = []
    if narrow_share > _NARROW_SHARE:
        reasons.append(f"posteriors of {narrow_share:.0%} of the sources are narrower than a third of a cell")
    if divergence > explained + DIVERGENCE:
        reasons.append(
            f"fitted posteriors differ from the measured ones by {divergence:.2g} nats, noise explains {explained:.2g}"
        )
    return Verdict(narrow_share, divergence, explained, tuple(reasons))


def narrow_share(posterior: Posterior, carrier: Grid) -> float:
    """Share of the sources whose posterior is narrower, in some direction, than about a third of a cell.

    Raises:
        ValueError: if the nodes are too few along an axis, most posteriors sit on one node or along a line, so that
            nothing between the nodes is known, or all posteriors are one.
    """
    if min(carrier.shape) < FEWEST_NODES:
        raise ValueError(
            f"grid {carrier.shape} has fewer than {FEWEST_NODES} nodes along an axis: it shows no second derivative"
        )
    spread, cell = np.ptp(posterior.mean, axis=0), np.array(carrier.spacing)
    if (spread <= (_ONE_POSTERIOR + carrier.rounding) * cell).all():
        raise ValueError(
            f"resolution N = {posterior.resolution:.6g}: the posteriors of all sources are one: the features of the "
            "samples must differ, and by more than this N can tell apart"
        )
    least = least_variances(posterior.t, posterior.covariance, carrier)
    lost = float(np.mean(least < _ONE_NODE))
    if not lost <= 0.5:
        raise ValueError(
            f"resolution N = {posterior.resolution:.6g}: the posteriors of {lost:.0%} of the sources lie on one node "
            f"or one line of the grid {carrier.shape}, so no slope between its nodes is seen: lower N, or take more "
            "nodes or samples"
        )
    return float(np.mean(least < NARROW))
