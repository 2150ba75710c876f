"""What a Lipschitz constant does as the window shrinks: diverge as a power, saturate, or end in rounding.

A difference quotient over neighbours ``h`` apart sees the slope where the map is smooth below ``h``, ``h^(a - 1)`` at a
cusp ``|t|^a``, and ``jump / h`` across a jump. In an arithmetic that tells outputs no finer than ``r`` it is never
surely less than ``r / h``, whatever the map does. So three laws are held against each other, and a fourth answer is
that none of them can be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy.optimize import least_squares
from scipy.stats import t as student

DIVERGES, SATURATES = "diverges", "saturates"
LIMITED, UNRESOLVED = "limited by precision", "not resolved"

_FEW = 4  # windows that a law needs
_SPAN = 7.9  # and least ratio of the widest of them to the narrowest: three halvings
_MARGIN = 8.0  # a difference of so many roundings is one of the map
_ACCUMULATED = 1000.0  # roundings that a long computation may add up to
_FLAT = 0.05  # exponents that are none
_STRAIGHT = 2.0  # largest residual of a law, in errors of a value
_BEND = 0.6  # of the mean exponent, left at the narrow end of a law that is a power
_ROUNDING, _PLATEAU = 0.75, 0.35  # exponents of rounding, at least, and of what came before it, at most
_CURVE = 6  # windows that the curve of four constants needs
_REACHED = 0.25  # of the crossover: a saturation is seen when this is left of what is above it


@dataclass(frozen=True)
class ScaleLaw:
    """The law of values over a cascade of windows.

    Attributes:
        verdict: ``diverges``, ``saturates``, ``limited by precision`` or ``not resolved``.
        exponent: ``gamma`` of ``value ~ width^-gamma`` over the windows used; NaN where no straight law holds.
        low: lower end of the interval of 95 %: of the exponent where values diverge, else of the value.
        high: upper end.
        value: where they saturate; else the one of the narrowest window used, which bounds the constant from below.
        limit: width of the widest window that the arithmetic limits; NaN if none does.
        used: widths of the windows that the law was read from, from wide to narrow.
        reason: one sentence with the numbers that decided.
    """

    verdict: str
    exponent: float
    low: float
    high: float
    value: float
    limit: float
    used: Float64[np.ndarray, "window"]
    reason: str


def judge_scales(
    widths: Float[np.ndarray, "window"] | Sequence[float],
    values: Float[np.ndarray, "window"] | Sequence[float],
    *,
    spacing: Float[np.ndarray, "window"] | Sequence[float] | None = None,
    resolution: Float[np.ndarray, "window"] | Sequence[float] | float | None = None,
    noise: float = 0.02,
) -> ScaleLaw:
    """Decide what Lipschitz constants do as windows shrink.

    1. A window is limited where its largest difference, ``value * spacing``, is below eight roundings, or zero; so are
       all narrower ones. Windows are limited, too, from where values, having levelled off (local exponent below .35),
       rise again as one over the width (mean exponent above .75), by differences of less than a thousand roundings:
       those of a long computation add up. If the rounding is not known, that is the sign of it, or of a jump so
       small that only a known rounding tells it from one.
    2. The law is the longest straight line in logarithms that ends at the narrowest window left, over four windows
       and a factor of eight at least, from which no value strays by more than two errors.
    3. An exponent whose interval lies above .05 diverges, unless the line bends (less than .6 of its exponent is left
       at the narrow end); one whose interval lies within +-.05 saturates. Where there is no line, a curve
       ``L / (1 + (w / w0)^p)^(q / p)`` through six windows or more may show that a crossover has been passed.

    Nothing changes with the units of widths or values.

    Args:
        widths: of the windows, in any unit and order, no two alike.
        values: Lipschitz constant of each, output per width.
        spacing: of neighbours in each window; the widths if not given.
        resolution: smallest difference of outputs that the arithmetic tells, output units, of all windows or of each.
        noise: relative error of a value, of where the nodes fall and of the sampling.

    Raises:
        ValueError: if lengths differ, widths are not positive and distinct, values are negative, or noise is not
            positive.
    """
    w, v, h, r = _cascade(widths, values, spacing, resolution, noise)
    limited = _limited(v, h, r)
    returning = _returning(w, v)
    limited |= returning if resolution is None else returning & (v * h <= _ACCUMULATED * r)
    limit = float(w[limited][0]) if limited.any() else np.nan
    used = ~limited
    left, x = w[used], np.log(w[used])
    errors = np.hypot(noise, r[used] / np.where(used, v * h, 1.0)[used])
    if len(left) < _FEW:
        return _without(left, v[used], limit, f"{len(left)} windows are resolved, a law needs {_FEW}")
    y = np.log(v[used])
    start = _straight(x, y, errors)
    if start is None:
        return _curve(left, x, y, errors, limit)
    return _line(left[start:], x[start:], y[start:], errors[start:], limit)


def _cascade(widths: object, values: object, spacing: object, resolution: object, noise: float) -> tuple:
    """All as arrays, from wide to narrow."""
    w, v = np.asarray(widths, dtype=float), np.asarray(values, dtype=float)
    h = w if spacing is None else np.asarray(spacing, dtype=float)
    r = np.broadcast_to(np.asarray(0.0 if resolution is None else resolution, dtype=float), w.shape)
    if w.ndim != 1 or not w.shape == v.shape == h.shape:
        raise ValueError(
            f"widths, values and spacing must be as many, not {w.shape}, {v.shape} and {h.shape}"
        )
    if not (np.isfinite(w).all() and (w > 0).all() and (h > 0).all()) or len(np.unique(w)) < len(w):
        raise ValueError(f"widths and spacing must be positive, and no two widths alike, not {w.tolist()}")
    if (v < 0).any() or not (r >= 0).all():
        raise ValueError("values and resolution must not be negative")
    if not noise > 0:
        raise ValueError(f"noise must be positive, not {noise}")
    order = np.argsort(-w)
    return w[order], v[order], h[order], r[order]


def _limited(v: np.ndarray, h: np.ndarray, r: np.ndarray) -> Bool[np.ndarray, "window"]:
    """Windows from the first on whose differences the arithmetic hardly tells."""
    return np.logical_or.accumulate(~np.isfinite(v) | (v * h <= _MARGIN * r) | (v == 0))


def _returning(w: np.ndarray, v: np.ndarray) -> Bool[np.ndarray, "window"]:
    """Windows from which on values rise again as one over the width, and those of no value."""
    limited = _limited(v, w, np.zeros_like(v))
    x, y = np.log(w[~limited]), np.log(v[~limited])
    if len(x) < 3:
        return limited
    towards = -(y[-1] - y[:-1]) / (x[-1] - x[:-1])  # mean exponent from each window to the last
    rises = np.logical_and.accumulate((towards >= _ROUNDING)[::-1])[::-1]
    if not rises.any():
        return limited
    start = int(np.argmax(rises))
    local = -np.diff(y)[:start] / np.diff(x)[:start]
    if start and local.min() < _PLATEAU:
        limited[start + 1 :] = True
    return limited


def _straight(x: np.ndarray, y: np.ndarray, errors: np.ndarray) -> int | None:
    """First window of the longest straight line that ends at the last one."""
    for start in range(len(x) - _FEW + 1):
        if x[start] - x[-1] < np.log(_SPAN):
            break
        slope, level, _ = _fit(x[start:], y[start:], errors[start:])
        if (np.abs(y[start:] - level - slope * x[start:]) <= _STRAIGHT * errors[start:]).all():
            return start
    return None


def _fit(x: np.ndarray, y: np.ndarray, errors: np.ndarray) -> tuple[float, float, float]:
    """Slope and level of the weighted line, and half the interval of the slope: by its scatter or the errors stated."""
    weight = errors**-2.0
    middle = weight @ x / weight.sum()
    spread = weight @ (x - middle) ** 2
    slope = weight @ ((x - middle) * y) / spread
    level = weight @ y / weight.sum() - slope * middle
    chi = weight @ (y - level - slope * x) ** 2 / max(len(x) - 2, 1)
    half = max(student.ppf(0.975, max(len(x) - 2, 1)) * np.sqrt(chi / spread), 1.96 / np.sqrt(spread))
    return float(slope), float(level), float(half)


def _line(w: np.ndarray, x: np.ndarray, y: np.ndarray, errors: np.ndarray, limit: float) -> ScaleLaw:
    slope, _, half = _fit(x, y, errors)
    gamma, last = -slope, float(np.exp(y[-1]))
    said = (
        f"exponent {gamma:.3f} [{gamma - half:.3f}, {gamma + half:.3f}] over {len(x)} windows, {_between(w)}"
    )
    if gamma - half > _FLAT:
        end = -float(np.polyval(np.polyder(np.polyfit(x, y, 2)), x[-1]))
        if end < _BEND * gamma:
            return _without(w, np.exp(y), limit, f"{said}, but {end:.3f} at the narrow end", gamma)
        return ScaleLaw(DIVERGES, gamma, gamma - half, gamma + half, last, limit, w, _ended(said, limit))
    if abs(gamma) + half < _FLAT:
        low, value, high = _level(y, errors)
        said = f"value {value:.4g} [{low:.4g}, {high:.4g}], {said}"
        return ScaleLaw(SATURATES, gamma, low, high, value, limit, w, _ended(said, limit))
    return _without(w, np.exp(y), limit, f"{said}: neither flat nor growing", gamma)


def _level(y: np.ndarray, errors: np.ndarray) -> tuple[float, float, float]:
    """Value and interval of a flat law, by its narrower half; what the wider half differs by is part of the error."""
    weight = errors**-2.0
    half = len(y) // 2
    value = weight[half:] @ y[half:] / weight[half:].sum()
    drift = weight @ y / weight.sum() - value
    # Each value may be off by its error in the same direction: nodes fall alike in all windows.
    error = np.hypot(1.96 * np.sqrt((weight[half:] @ errors[half:] ** 2) / weight[half:].sum()), drift)
    return float(np.exp(value - error)), float(np.exp(value)), float(np.exp(value + error))


def _curve(w: np.ndarray, x: np.ndarray, y: np.ndarray, errors: np.ndarray, limit: float) -> ScaleLaw:
    """Whether a curve that levels off describes all windows, and its crossover has been passed."""
    if len(x) < _CURVE:
        return _without(w, np.exp(y), limit, f"no straight law at the narrow end of {len(x)} windows")

    def curve(constants: np.ndarray) -> np.ndarray:
        level, cross, p, q = constants
        return level - q / p * np.logaddexp(0.0, p * (x - cross))

    bounds = ([-np.inf, -np.inf, 0.5, 0.05], [np.inf, np.inf, 4.0, 1.5])
    trials = [
        least_squares(lambda c: (curve(c) - y) / errors, [y.max(), cross, p, 1.0], bounds=bounds)
        for cross in x[1:-1:2]
        for p in (1.0, 2.0)
    ]
    best = min(trials, key=lambda trial: trial.cost)
    level, cross, p, q = best.x
    lacking = q / p * np.logaddexp(0.0, p * (x[-1] - cross))  # of the logarithm, at the narrowest window
    if np.abs(best.fun).max() > _STRAIGHT or lacking > _REACHED:
        return _without(w, np.exp(y), limit, f"values still bend at the narrow end of {len(x)} windows")
    covariance = np.linalg.pinv(best.jac.T @ best.jac)
    half = student.ppf(0.975, len(x) - 4) * np.sqrt(covariance[0, 0] * max(1.0, 2 * best.cost / (len(x) - 4)))
    low, value, high = (float(np.exp(level + sign * half)) for sign in (-1, 0, 1))
    said = (
        f"value {value:.4g} [{low:.4g}, {high:.4g}] of a curve that levels off at width {np.exp(cross):.3g}"
    )
    return ScaleLaw(SATURATES, np.nan, low, high, value, limit, w, _ended(said, limit))


def _without(w: np.ndarray, v: np.ndarray, limit: float, said: str, exponent: float = np.nan) -> ScaleLaw:
    """No law: the arithmetic's fault if it took windows away."""
    verdict = UNRESOLVED if np.isnan(limit) else LIMITED
    value = float(v[-1]) if len(v) else np.nan
    return ScaleLaw(verdict, exponent, np.nan, np.nan, value, limit, w, _ended(said, limit))


def _between(w: np.ndarray) -> str:
    return f"widths {w[0]:.3g} to {w[-1]:.3g}"


def _ended(said: str, limit: float) -> str:
    return said if np.isnan(limit) else f"{said}; rounding from width {limit:.3g} on"
