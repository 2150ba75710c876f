"""From what is kept of a sampler's steps to the history of a study's phases, driven by settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float, Int

from hessgeo.grids import Grid
from hessgeo.phases.decisions import crossing_curvature, crossings, decisions_of_curvature
from hessgeo.phases.history import Branch, Decision, decisions_of_maps, phase_tree, step_phases
from hessgeo.phases.label_entropy import (
    half_interval,
    half_time,
    image_weights,
    label_entropy,
    prior_entropy,
)
from hessgeo.phases.segment import medoids

PERMUTATIONS = 4  # of the labels, for the null of the entropy clock
SEGMENTED = ("persistence", "minimum_area", "smoothing")
DRAWN = ("draws", "confidence")
# Of the table of boundaries.
COLUMNS = ["phase", "other", "level", "low", "high", "places", "map_level", "map_low", "map_high"]


@dataclass(frozen=True)
class Steps:
    """What is kept of the steps of a sampler, on the nodes of a grid in their order.

    Attributes:
        numbers: of the steps, from 1.
        signal: ``alpha`` of the state ``x = alpha x_0 + sigma z`` that each step starts from.
        noise: ``sigma``.
        trajectory: states, and the clean latents predicted from them.
        features: embeddings of the predicted images.
        embedding: of the final images.
    """

    numbers: Sequence[int]
    signal: Sequence[float]
    noise: Sequence[float]
    trajectory: Float[np.ndarray, "n k 2 *latent"]
    features: Float[np.ndarray, "n k d"]
    embedding: Float[np.ndarray, "n d"]

    @property
    def levels(self) -> Float[np.ndarray, "k"]:
        """Noise level of each step, ``sigma / sqrt(alpha^2 + sigma^2)``."""
        alpha, sigma = np.array(self.signal), np.array(self.noise)
        return sigma / np.hypot(alpha, sigma)


def trace_history(
    phases: xr.Dataset, steps: Steps, grid: Grid, settings: Mapping[str, Any], *, seed: int
) -> tuple[xr.Dataset, dict[str, Any], pd.DataFrame]:
    """Phase maps, times of decision, the tree and the entropy clock of a study.

    Args:
        phases: ``label`` of the final phases on the nodes, the leaves of the tree.
        steps: what is kept of the sampler.
        grid: the nodes.
        settings: ``phases`` and ``history`` of the study.
        seed: of what is drawn.

    Returns:
        On dims ``(step, a, b)`` the ``label`` of each step, and by step its noise ``level`` and the entropy of the
        final phase with its null; what is told of boundaries, branches and the clock; and a row a boundary.
    """
    final = phases["label"].to_numpy().astype(int)
    drawn = {**{key: settings[key] for key in DRAWN}, "seed": seed}
    on_nodes = np.moveaxis(steps.features, 1, 0).reshape(len(steps.numbers), *grid.shape, -1)
    options = {key: settings[key] for key in SEGMENTED}
    maps = step_phases(on_nodes, steps.embedding.reshape(*grid.shape, -1), grid, **options)
    labels = np.stack([one.label for one in maps])
    by_maps = decisions_of_maps(labels, final, steps.levels, **drawn)
    by_density = decisions_of_density(steps, final, grid, drawn)
    tree = phase_tree(by_density, int(final.max()))
    fields, clock = _clock(steps, final, settings["nodes"], drawn)
    branches = _described(tree, steps, final.ravel())
    agreement = _concordance(by_density, by_maps)
    found: dict[str, Any] = {
        "steps": list(steps.numbers), "levels": steps.levels, "boundaries": _boundaries(by_density, by_maps),
        "branches": branches, "clock": clock, "concordance": agreement, "confidence": settings["confidence"],
        "verdict": phases.attrs.get("verdict", "resolved"),
    }  # fmt: skip
    found["summary"] = summary(found)
    data = {"label": (("step", *grid.dims), labels), "level": ("step", steps.levels), **fields}
    coordinates = {"step": list(steps.numbers), **dict(zip(grid.dims, grid.axes, strict=True))}
    dataset = xr.Dataset(data, coords=coordinates).assign(final=(grid.dims, final))
    return dataset, found, pd.DataFrame(found["boundaries"], columns=COLUMNS)


def decisions_of_density(
    steps: Steps, final: Int[np.ndarray, "a b"], grid: Grid, drawn: Mapping[str, Any]
) -> list[Decision]:
    """When the density of states gets a valley along each boundary of the final map."""
    if final.max() == 1:
        return []
    on_nodes = steps.trajectory.reshape(*grid.shape, *steps.trajectory.shape[1:])
    across = crossings(on_nodes[:, :, 0, 0], final)
    bends = [
        crossing_curvature(
            on_nodes[:, :, k, 0], on_nodes[:, :, k, 1], on_nodes[:, :, -1, 1], final, across, signal=alpha
        )
        for k, alpha in enumerate(steps.signal)
    ]
    curvature = {pair: np.stack([bend[pair] for bend in bends]) for pair in across}
    return decisions_of_curvature(curvature, final, steps.levels, **drawn)


def _clock(
    steps: Steps, final: Int[np.ndarray, "a b"], nodes: int, drawn: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Entropy of the final phase at each step with its null, and when half of it is gone."""
    label, count = final.ravel(), final.size
    rows = np.unique(np.linspace(0, count - 1, min(nodes, count)).round().astype(int))
    latents = steps.trajectory.reshape(*steps.trajectory.shape[:3], -1)
    clean, rng = latents[:, -1, 1], np.random.default_rng(drawn["seed"])
    shuffled = [rng.permutation(label) for _ in range(PERMUTATIONS)]
    found, null = [], []
    for k, (alpha, sigma) in enumerate(zip(steps.signal, steps.noise, strict=True)):
        weights = image_weights(latents[rows, k, 0], clean, signal=alpha, noise=sigma, own=rows)
        found.append(label_entropy(weights, label))
        null.append(np.mean([label_entropy(weights, other).mean() for other in shuffled]))
    entropies, levels, prior = np.array(found), steps.levels, prior_entropy(label)
    low, high = half_interval(entropies, levels, prior, **drawn)
    clock = {
        "prior": prior, "half": half_time(entropies.mean(axis=1), levels, prior), "low": low, "high": high,
        "null_half": half_time(np.array(null), levels, prior), "nodes": len(rows),
    }  # fmt: skip
    return {"entropy": ("step", entropies.mean(axis=1)), "null": ("step", np.array(null))}, clock


def _boundaries(by_density: Sequence[Decision], by_maps: Sequence[Decision]) -> list[dict[str, Any]]:
    """A row for each boundary, that decided first on top."""
    seen = {decision.phases: decision for decision in by_maps}
    rows = []
    for decision in sorted(by_density, key=lambda one: (-one.level, one.phases)):
        other = seen[decision.phases]
        ends = {key: value for key, value in asdict(decision).items() if key != "phases"}
        by_eye = {"map_level": other.level, "map_low": other.low, "map_high": other.high}
        rows.append({"phase": decision.phases[0], "other": decision.phases[1], **ends, **by_eye})
    return rows


def _described(tree: Sequence[Branch], steps: Steps, final: Int[np.ndarray, "n"]) -> list[dict[str, Any]]:
    """The branches, each with its most typical node and the step whose prediction there shows it before it parts."""
    told = []
    for branch in tree:
        inside = np.flatnonzero(np.isin(final, branch.phases))
        # The last step above the level at which it parts; of a leaf, the image itself.
        step = None if not branch.children else max(0, int((steps.levels > branch.level).sum()) - 1)
        vectors = steps.embedding if step is None else steps.features[:, step]
        row = inside[medoids(vectors[inside], np.ones(len(inside), int))[1]]
        told.append({**asdict(branch), "step": step, "medoid": int(row), "share": len(inside) / len(final)})
    return told


def _concordance(by_density: Sequence[Decision], by_maps: Sequence[Decision]) -> float | None:
    """Kendall's tau of the times of decision by the two ways; None where there is no order to compare."""
    from scipy.stats import kendalltau

    first = [one.level for one in by_density]
    second = {one.phases: one.level for one in by_maps}
    others = [second[one.phases] for one in by_density]
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(others) == 0:
        return None
    return float(kendalltau(first, others).statistic)


def summary(history: Mapping[str, Any]) -> str:
    """What a history says, in two or three sentences made of its numbers."""
    boundaries, clock = history["boundaries"], history["clock"]
    if not boundaries:
        return "One phase: no boundary is decided."
    share = f"{history['confidence']:.0%}"

    def told(row: Mapping[str, Any]) -> str:
        return (
            f"{row['phase']}|{row['other']} at noise level {row['level']:.2f} "
            f"({share}: {row['low']:.2f} to {row['high']:.2f})"
        )

    first, last = boundaries[0], boundaries[-1]
    text = f"Decided first: {told(first)}"
    if len(boundaries) > 1:
        overlap = "; the intervals overlap" if last["high"] >= first["low"] else "; the intervals lie apart"
        text += f"; last: {told(last)}{overlap}"
    if (tau := history["concordance"]) is not None:
        middle = [float(np.median([row[key] for row in boundaries])) for key in ("map_level", "level")]
        text += (
            f". Maps of the predictions part at a median level of {middle[0]:.2f}, densities at {middle[1]:.2f}; "
            f"the orders agree by a Kendall's tau of {tau:.2f}"
        )
    half = f"{clock['half']:.2f} ({share}: {clock['low']:.2f} to {clock['high']:.2f})"
    null = f"at {clock['null_half']:.2f}" if clock["null_half"] else "never"
    return f"{text}. Half of the entropy of the final phase is gone at {half}; of shuffled labels {null}."
