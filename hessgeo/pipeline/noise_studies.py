"""What is measured of studies that differ in the sampler's noise alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float, Int

from hessgeo.evaluation.model_differences import Blocks, Interval, agreement, matched_labels
from hessgeo.evaluation.noise_scan import NoiseLevel, exact_contrasts, finding, metric_contrast, noise_frame
from hessgeo.grids import Grid
from hessgeo.systems.solvable.mixture_flow import RULES

SIGMA = 0.2  # width of the two modes that stand beside it, as in workflow/studies/noisy-flow.yaml


@dataclass(frozen=True)
class Scanned:
    """A study of a scan.

    Attributes:
        name: of the study.
        eta: its noise.
        rule: of the noise.
        label: phase of each node.
        metric: Fisher metric of each node.
    """

    name: str
    eta: float
    rule: str
    label: Int[np.ndarray, "a b"]
    metric: Float[np.ndarray, "a b i j"]


def measure_scan(
    studies: Sequence[Scanned],
    differences: Mapping[str, Any],
    grid: Grid,
    settings: Mapping[str, Any],
    *,
    steps: int,
    seed: int,
) -> tuple[xr.Dataset, pd.DataFrame, dict[str, Any]]:
    """What is left of phases and boundaries, by rule and amount of noise.

    A study whose noise an earlier one has already is that one's with another seed: their agreement is what the noise
    that was drawn leaves to the model.

    Args:
        studies: the one without noise first.
        differences: of each against the first, ``models`` and ``slopes`` of ``measure_differences``.
        grid: the nodes.
        settings: the settings ``differences``.
        steps: of the sampler.
        seed: of the resamples.

    Returns:
        Phases on ``(rule, eta, a, b)``, called as those of the first that they overlap most; a row a rule and amount;
        and the finding, with what it rests on.
    """
    about = {"resamples": settings["resamples"], "confidence": settings["confidence"], "seed": seed}
    blocks = Blocks.over(grid.shape, side=settings["blocks"], **about)
    numbers = {row["study"]: row for row in differences["models"]}
    first, scan, maps = studies[0], {}, {}
    for rule in RULES:
        own = _by_noise([study for study in studies[1:] if study.rule == rule])
        if not own:
            continue
        scan[rule] = [
            _none(first, differences, blocks),
            *(_level(first, found, numbers[found[0].name], blocks) for found in own.values()),
        ]
        maps[rule] = [first.label, *(matched_labels(first.label, found[0].label) for found in own.values())]
    etas = {rule: [level.eta for level in levels] for rule, levels in scan.items()}
    exact = {rule: exact_contrasts(SIGMA, steps, etas[rule], [rule])[rule] for rule in scan}
    table = noise_frame(scan, exact)
    told = {"first": first.name, "steps": steps, "confidence": settings["confidence"], "sigma": SIGMA,
            "etas": etas, "finding": finding(scan)}  # fmt: skip
    return _stacked(maps, etas, grid), table, told


def _by_noise(studies: Sequence[Scanned]) -> dict[float, list[Scanned]]:
    """Studies by their noise, from the least."""
    found: dict[float, list[Scanned]] = {}
    for study in sorted(studies, key=lambda study: study.eta):
        found.setdefault(study.eta, []).append(study)
    return found


def _none(first: Scanned, differences: Mapping[str, Any], blocks: Blocks) -> NoiseLevel:
    """Without noise: the first study, which agrees with itself whatever the seed."""
    same = Interval(1.0, 1.0, 1.0)
    images = _interval(differences["slopes"]["boundary_contrast"])
    metric = metric_contrast(first.metric, first.label, blocks)
    return NoiseLevel(first.eta, int(first.label.max()), same, same, images, metric)


def _level(
    first: Scanned, found: Sequence[Scanned], numbers: Mapping[str, Any], blocks: Blocks
) -> NoiseLevel:
    study = found[0]
    # Two maps of one phase agree on nothing that noise could have moved.
    drawn = len(found) > 1 and max(one.label.max() for one in found[:2]) > 1
    again = agreement(study.label, found[1].label, blocks) if drawn else None
    return NoiseLevel(
        study.eta,
        int(study.label.max()),
        Interval(**numbers["adjusted_rand"]),
        again,
        _interval(numbers["boundary_contrast"]),
        metric_contrast(study.metric, first.label, blocks),
    )


def _interval(numbers: Mapping[str, float] | None) -> Interval | None:
    return None if numbers is None else Interval(**numbers)


def _stacked(
    maps: Mapping[str, Sequence[np.ndarray]], etas: Mapping[str, Sequence[float]], grid: Grid
) -> xr.Dataset:
    """The maps by rule and amount of noise; zero where a rule has not that amount."""
    every = sorted({eta for own in etas.values() for eta in own})
    label = np.zeros((len(maps), len(every), *grid.shape), dtype=int)
    for place, (rule, drawn) in enumerate(maps.items()):
        for eta, one in zip(etas[rule], drawn, strict=True):
            label[place, every.index(eta)] = one
    axes = dict(zip(grid.dims, grid.axes, strict=True))
    return xr.Dataset(
        {"label": (("eta_rule", "eta", *grid.dims), label)}, {"eta_rule": list(maps), "eta": every, **axes}
    )
