"""What every estimator of a free energy or a Fisher metric gives; torch is not imported to read one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Estimate:
    """What an estimator says at every node of the grid, in the parameters of the study; None where it says nothing.

    Attributes:
        value: ``F``, in nats a sample, up to an affine function of the natural parameters.
        gradient: ``dF / dt``.
        metric: the Fisher metric.
        metric_error: standard errors of its entries.
        curvature: scalar (Ruppeiner) curvature of the metric, the same in all parameters; NaN where it is no metric.
        numbers: what else is to be reported of it: calibration, convergence, weights.
    """

    value: Float[np.ndarray, "node"] | None = None
    gradient: Float[np.ndarray, "node 2"] | None = None
    metric: Float[np.ndarray, "node 2 2"] | None = None
    metric_error: Float[np.ndarray, "node 2 2"] | None = None
    curvature: Float[np.ndarray, "node"] | None = None
    numbers: dict[str, Any] = field(default_factory=dict)
