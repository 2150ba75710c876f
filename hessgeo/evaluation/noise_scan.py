"""What a sampler's noise leaves of phases and boundaries, against how much of it there is: the smoothing of Fig. 9.

Fig. 9 of Lobashev et al. (2025) sets two landscapes beside each other, without noise and with some. Between them lie
three questions: how sharp boundaries still are, whether phases are still those without noise, and whether the map is a
property of the model at all, or of the noise that was drawn: another seed tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from hessgeo.evaluation.contrast import boundary_contrast
from hessgeo.evaluation.flow_boundaries import contrast_table, noise_table
from hessgeo.evaluation.model_differences import Blocks, Interval

FLAT = 1.05  # contrast below which boundaries count as no steeper than the rest
EXACT_FROM = 0.1  # less noise takes grids of ten thousands of nodes
EXACT_LATENTS = np.linspace(-2, 2, 81)


@dataclass(frozen=True)
class NoiseLevel:
    """What one amount of noise leaves.

    Attributes:
        eta: of the sampler.
        phases: their number.
        agreement: adjusted Rand index with the phases without noise.
        again: the same with those of another seed, if there are any.
        images: how much steeper images are at the boundaries without noise than elsewhere, in the embedding.
        metric: the same of the Fisher metric, in its length.
    """

    eta: float
    phases: int
    agreement: Interval
    again: Interval | None
    images: Interval | None
    metric: Interval | None


def metric_contrast(
    metric: Float[np.ndarray, "*nodes i i"], label: Int[np.ndarray, "*nodes"], blocks: Blocks
) -> Interval | None:
    """How much longer a step is at boundaries than elsewhere, by the largest eigenvalue of a metric.

    See ``boundary_contrast``; None, too, where a metric has no positive eigenvalue somewhere.
    """
    length = np.sqrt(np.maximum(np.linalg.eigvalsh(metric)[..., -1], 0.0))
    return boundary_contrast(length, label, blocks)


def exact_contrasts(
    sigma: float, steps: int, etas: Sequence[float], rules: Sequence[str]
) -> dict[str, list[float]]:
    """The same of two modes on a line, exact: root of the Fisher metric at the boundary over its least, by rule.

    Args:
        sigma: width of the modes, which lie at 1 and -1.
        steps: of the sampler.
        etas: noise; NaN stands for those below .1, which take long, and at 1, where no memory of the latent is left.
        rules: of the noise.
    """
    asked = [eta for eta in etas if EXACT_FROM <= eta < 1]
    found: dict[str, list[float]] = {}
    for rule in rules:
        table = contrast_table(noise_table(sigma, steps, asked, EXACT_LATENTS, [rule])) if asked else None
        known = {} if table is None else dict(zip(table["eta"], np.sqrt(table["contrast"]), strict=True))
        found[rule] = [float(known.get(eta, np.nan)) for eta in etas]
    return found


def half_way(levels: Sequence[NoiseLevel], name: str) -> tuple[float, float] | None:
    """Between which two amounts of noise half of the sharpness is lost; None if it is not.

    Half of the logarithm of the contrast without noise: what is ten times as steep there is then three times as steep.

    Args:
        levels: from no noise to the most.
        name: ``images`` or ``metric``.
    """
    contrasts: list[Interval | None] = [getattr(level, name) for level in levels]
    if contrasts[0] is None or contrasts[0].value <= 1:
        return None
    bound = np.sqrt(contrasts[0].value)
    for (before, _), (after, contrast) in pairwise(zip(levels, contrasts, strict=True)):
        if contrast is None or contrast.value < bound:
            return before.eta, after.eta
    return None


def flat_from(levels: Sequence[NoiseLevel], name: str) -> float | None:
    """The least noise from which on boundaries are steeper than the rest by less than FLAT; None if there is none."""
    found = None
    for level in reversed(levels):
        contrast: Interval | None = getattr(level, name)
        if contrast is not None and contrast.value >= FLAT:
            break
        found = level.eta
    return found


def decided_by_noise(levels: Sequence[NoiseLevel]) -> float | None:
    """The least noise at which two seeds agree on less than half of what chance leaves open; None if they do always.

    An adjusted Rand index of one half, of the interval's upper end: what is told apart from it.
    """
    return next((level.eta for level in levels if level.again is not None and level.again.high < 0.5), None)


def noise_frame(
    scan: Mapping[str, Sequence[NoiseLevel]], exact: Mapping[str, Sequence[float]]
) -> pd.DataFrame:
    """A row for each rule and amount of noise, with intervals in columns ``_low`` and ``_high``."""
    rows = []
    for rule, levels in scan.items():
        for level, known in zip(levels, exact[rule], strict=True):
            row: dict[str, float | int | str] = {"eta_rule": rule, "eta": level.eta, "phases": level.phases}
            for name in ("agreement", "again", "images", "metric"):
                found: Interval | None = getattr(level, name)
                values = (np.nan, np.nan, np.nan) if found is None else (found.value, found.low, found.high)
                row |= dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))
            rows.append({**row, "exact": known})
    return pd.DataFrame(rows)


def finding(scan: Mapping[str, Sequence[NoiseLevel]]) -> str:
    """What a scan says of Fig. 9, in sentences."""
    names = {"ddim": "By DDIM's rule", "renewal": "By renewal"}
    return " ".join(f"{names[rule]} {_told(levels)}." for rule, levels in scan.items())


def _told(levels: Sequence[NoiseLevel]) -> str:
    first, last = levels[0], levels[-1]
    between, flat, seeds = half_way(levels, "images"), flat_from(levels, "images"), decided_by_noise(levels)
    if first.images is None:
        return (
            f"there is no boundary without noise: {first.phases} phases, {last.phases} at eta = {last.eta:g}"
        )
    sharp = f"{first.images.value:.2g} times as steep beside boundaries as elsewhere at eta = {first.eta:g}"
    if between is None:
        text = f"the landscape keeps its boundaries: images are {sharp}, and more than half of that is left to the end"
    else:
        text = f"the landscape smooths between eta = {between[0]:g} and {between[1]:g}: images are {sharp}, "
        text += "and lose half of its logarithm there"
    text += "" if flat is None else f"; from {flat:g} on they are less than 5 % steeper there"
    if seeds is not None:
        text += f"; from {seeds:g} on two seeds draw two maps (adjusted Rand below .5)"
    return f"{text}; {first.phases} phases at eta = {first.eta:g} are {last.phases} at {last.eta:g}"
