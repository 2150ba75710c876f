"""Scores of an estimated free energy against a true one, as in Table 1 of Lobashev et al. (Eq. 118)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hessgeo.estimators.estimate import Estimate
from hessgeo.evaluation.gauge import (
    GAUGES,
    AffineFunctions,
    Aligned,
    Gauge,
    affine_in_parameters,
    align,
    check_not_affine,
)

Points = Float[np.ndarray, "node 2"]


@dataclass(frozen=True)
class TableScores:
    """Root-mean-square errors over the nodes, once the gauge is removed; NaN of what the estimate does not say.

    Attributes:
        value: of ``F``, in its own units.
        first: of its derivative by the first parameter.
        second: by the second.
        scale: the factor that was put on the estimate; 1 in the gauge ``shift+slope``.
    """

    value: float
    first: float
    second: float
    scale: float


def table_scores(
    estimate: Estimate,
    truth: Estimate,
    t: Points,
    *,
    gauge: Gauge = "shift+slope",
    gauge_coordinates: AffineFunctions | None = None,
) -> TableScores:
    """RMSE of ``F`` and of both derivatives, minimal over the gauge (Eq. 118).

    ``min over (s, c) of sqrt(mean_n (s F_n + <c, A_n> - F*_n)^2)`` with ``A = (1, coordinate 1, coordinate 2)``;
    ``s = 1`` unless the gauge has a scale. The gauge is found on the values alone, and the slope and the scale so
    found are applied to the gradient: its errors are not minimised on their own.

    Args:
        estimate: what is scored, at the nodes.
        truth: value and gradient to meet, at the same nodes.
        t: the nodes, in the parameters of the study.
        gauge: whether a scale is free too.
        gauge_coordinates: the functions that are free: ``affine_in_natural`` where the family is exponential in other
            parameters than the study's; affine in ``t``, as in the paper, if None.

    Raises:
        ValueError: on an unknown gauge, shapes that do not match, numbers that are not finite, or a truth that is
            itself a function of the gauge or has no value or gradient.
    """
    if truth.value is None or truth.gradient is None:
        raise ValueError("the truth has no value or no gradient, must have both")
    aligned = in_gauge_of(estimate, truth, t, gauge=gauge, gauge_coordinates=gauge_coordinates)
    if aligned is None:
        return TableScores(math.nan, math.nan, math.nan, math.nan)
    value = float(np.sqrt(np.mean((aligned.value - truth.value) ** 2)))
    first = second = math.nan
    if aligned.gradient is not None:
        first, second = np.sqrt(np.mean((aligned.gradient - truth.gradient) ** 2, axis=0)).tolist()
    return TableScores(value, first, second, aligned.scale)


def in_gauge_of(
    estimate: Estimate,
    truth: Estimate,
    t: Points,
    *,
    gauge: Gauge = "shift+slope",
    gauge_coordinates: AffineFunctions | None = None,
) -> Aligned | None:
    """The estimate in the gauge in which ``table_scores`` scores it, None where it has no values.

    Raises:
        ValueError: see ``table_scores``.
    """
    if gauge not in GAUGES:
        raise ValueError(f"gauge is {gauge!r}, must be one of {', '.join(GAUGES)}")
    if truth.value is None:
        raise ValueError("the truth has no value, must have one")
    functions = affine_in_parameters(t) if gauge_coordinates is None else gauge_coordinates
    for name, potential in (("estimate", estimate), ("truth", truth)):
        _check(name, potential, len(functions.values))
    check_not_affine(functions, truth.value)
    if estimate.value is None:
        return None
    return align(
        estimate.value, estimate.gradient, truth.value, functions, scale=gauge == "shift+slope+scale"
    )


def zero_skill_scores(
    truth: Estimate, t: Points, *, gauge_coordinates: AffineFunctions | None = None
) -> TableScores:
    """Scores of ``F = 0``: what the best function of the gauge leaves of the truth.

    An estimate that scores no better has learned nothing that the gauge does not give away. A scale does not help it.
    """
    nothing = Estimate(value=np.zeros(len(t)), gradient=np.zeros((len(t), 2)))
    return table_scores(nothing, truth, t, gauge_coordinates=gauge_coordinates)


def oracle_scores(
    exact: Estimate,
    truth: Estimate,
    t: Points,
    *,
    gauge: Gauge = "shift+slope",
    gauge_coordinates: AffineFunctions | None = None,
) -> TableScores:
    """Scores of the exact potential under a protocol: the best that a right method can do by it.

    They are 0 where the protocol's truth is that potential and its gauge is the family's. They are not where the
    protocol compares with something else (the current of TASEP), or frees other functions than those that data leave
    undetermined (affine in ``(T, H)`` where they are affine in ``(K, h)``).

    Args:
        exact: the potential whose Hessian is the Fisher metric.
        truth: what the protocol compares with.
        t: the nodes, in the parameters of the study.
        gauge: of the protocol.
        gauge_coordinates: of the protocol.
    """
    return table_scores(exact, truth, t, gauge=gauge, gauge_coordinates=gauge_coordinates)


def _check(name: str, potential: Estimate, nodes: int) -> None:
    for part, values, shape in (
        ("value", potential.value, (nodes,)),
        ("gradient", potential.gradient, (nodes, 2)),
    ):
        if values is None:
            continue
        if values.shape != shape:
            raise ValueError(f"the {part} of the {name} has shape {values.shape}, must be {shape}")
        if not np.isfinite(values).all():
            raise ValueError(f"the {part} of the {name} holds a number that is not finite")
