r"""What two noisy measurements of the same scores tell of the metric that neither of them has whole.

Two networks of other samples see the score ``s`` of a state as ``s + d_1`` and ``s + d_2``, each with an error of its
own. The best use of one of them alone, ``s_1 = E[s | s + d_1]``, which likelihood finds, has the covariance
``g_1 = g^1/2 (1 + K)^-1 g^1/2`` with ``K`` the covariance of ``d_1`` in units of ``g``: information is lost, the metric
too small, and the same in both, so that their difference does not show it. The covariance of the two,
``g^1/2 (1 + K)^-2 g^1/2``, does: relative to ``g_1`` it is the reliability ``R = (1 + K)^-1`` (Spearman 1904), and
``g = g_1^1/2 R^-1 g_1^1/2``. What both networks lack alike, neither shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hessgeo.grids import Extent
from hessgeo.metrics.score_covariance import ScoreCovariance, fit_score_covariance

LEAST = 0.2  # reliability that is corrected for: below it, little of what is seen is score


@dataclass(frozen=True)
class Reliability:
    """Covariances of the half sum and the half difference of two measurements of scores, smooth in the parameters.

    Attributes:
        shared: of the half sum, what both have and half of the noise.
        apart: of the half difference, half of the noise.
    """

    shared: ScoreCovariance
    apart: ScoreCovariance

    @classmethod
    def of(
        cls,
        first: Float[np.ndarray, "n 2"],
        second: Float[np.ndarray, "n 2"],
        t: Float[np.ndarray, "n 2"],
        extent: Extent,
        *,
        splines: tuple[int, int] = (8, 8),
    ) -> Reliability:
        """From the scores of the same samples by two networks.

        Args:
            first: scores by one network, each up to a function of ``t``.
            second: by the other.
            t: parameters of each sample.
            extent: the box of the splines.
            splines: of either covariance along each parameter.

        Raises:
            ValueError: see ``fit_score_covariance``; scores of both that are all the same have no difference.
        """
        half = (first + second) / 2, (first - second) / 2
        shared, apart = (fit_score_covariance(scores, t, extent, splines=splines) for scores in half)
        return cls(shared, apart)

    def corrected(
        self, t: Float[np.ndarray, "n 2"]
    ) -> tuple[Float[np.ndarray, "n 2 2"], Float[np.ndarray, "n"]]:
        """``A`` with ``g = A g_1 A'``, and the largest share ``1 / R - 1`` by which that raises the metric."""
        shared, apart = self.shared.metric(t), self.apart.metric(t)
        root = np.linalg.cholesky(shared + apart)
        inverse = np.linalg.inv(root)
        value, vector = np.linalg.eigh(inverse @ (shared - apart) @ np.swapaxes(inverse, 1, 2))
        value = value.clip(min=LEAST)
        raised = (vector / np.sqrt(value)[:, None]) @ np.swapaxes(vector, 1, 2)
        return root @ raised @ inverse, 1 / value[:, 0] - 1
