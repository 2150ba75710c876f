"""What the target ``compare`` measures: the studies of a comparison, each against the first, on the same latents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from hessgeo.evaluation.contrast import boundary_contrast
from hessgeo.evaluation.model_differences import (
    Blocks,
    agreement,
    boundary_shift,
    fewest_that_keep,
    image_distance,
    kept_at_half_a_step,
    matched_labels,
    metric_distance,
)
from hessgeo.evaluation.reseeding import Reseeded
from hessgeo.grids import Grid
from hessgeo.phases.lipschitz import lipschitz_field
from hessgeo.pipeline.node_means import to_grid


@dataclass(frozen=True)
class Compared:
    """A study as it is compared.

    Attributes:
        name: of the study.
        changed: its settings that differ from those of the first.
        label: phase of each node.
        metric: Fisher metric of each node.
        embedding: of each sample.
        t: parameters of each sample.
    """

    name: str
    changed: Mapping[str, Any]
    label: Int[np.ndarray, "a b"]
    metric: Float[np.ndarray, "a b i j"]
    embedding: Float[np.ndarray, "n d"]
    t: Float[np.ndarray, "n axis"]


def measure_differences(
    studies: Sequence[Compared],
    grid: Grid,
    null: Reseeded,
    settings: Mapping[str, Any],
    *,
    seed: int,
) -> tuple[xr.Dataset, list[dict[str, Any]], dict[str, Any]]:
    """Every study of a comparison against the first.

    Args:
        studies: at least two.
        grid: the nodes.
        null: what the first makes of its cells when it draws them again.
        settings: the settings ``differences``.
        seed: of the resamples.

    Returns:
        Fields on ``(study, a, b)``; a row a study; and all numbers with the verdict.

    Raises:
        ValueError: if two studies do not have the same parameters.
    """
    first, share = studies[0], settings["share"]
    about = {"resamples": settings["resamples"], "confidence": settings["confidence"], "seed": seed}
    blocks = Blocks.over(grid.shape, side=settings["blocks"], **about)
    threshold = null.threshold(share)
    rows, fields = [], []
    for other in studies[1:]:
        numbers, field = _difference(first, other, grid, blocks, threshold)
        rows.append(numbers)
        fields.append(field)
    names = [row["study"] for row in rows]
    numbers = {
        "first": first.name,
        "slopes": _slopes(first, first.label, grid, blocks),
        "share": share,
        "confidence": settings["confidence"],
        "null": {"by": null.by, "cells": len(null.row), "threshold": threshold,
                 "median": float(np.median(null.distance)),
                 "keeps_phase_at_half_a_step": kept_at_half_a_step(first.label)},
        "models": rows,
        "fewest_that_keep_phases": fewest_that_keep(names, _values(rows, "keeps_phase"), least=share),
        "fewest_that_keep_images": fewest_that_keep(names, _values(rows, "keeps_image"), least=share),
    }  # fmt: skip
    numbers["finding"] = verdict(numbers)
    stacked = {
        name: (("study", *grid.dims), np.stack([field[name] for field in fields])) for name in fields[0]
    }
    coordinates = {"study": names, **dict(zip(grid.dims, grid.axes, strict=True))}
    dataset = xr.Dataset({"first_label": (grid.dims, first.label), **stacked}, coordinates)
    return dataset, [flat(row) for row in rows], numbers


def _values(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [row[name]["value"] for row in rows]


def _difference(
    first: Compared, other: Compared, grid: Grid, blocks: Blocks, threshold: float
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The numbers of one study against the first, and the fields that they sum up."""
    if not np.array_equal(first.t, other.t):
        raise ValueError(
            f"{other.name} has other parameters than {first.name}: nothing to compare cell by cell"
        )
    label = matched_labels(first.label, other.label)
    metric = metric_distance(first.metric, other.metric)
    image = image_distance(first.embedding, other.embedding)
    place = blocks.of.ravel()[grid.nearest(first.t)]
    shift, measured = boundary_shift(first.label, other.label), np.isfinite(metric)
    numbers = {
        "study": other.name,
        "changed": dict(other.changed),
        "phases": int(other.label.max()),
        "adjusted_rand": asdict(agreement(first.label, other.label, blocks)),
        "keeps_phase": asdict(blocks.share(label == first.label)),
        "keeps_image": asdict(blocks.share(image <= threshold, place)),
        "image_distance": float(np.median(image)),
        "boundary_shift": None if shift is None else asdict(shift),
        "metric_distance": float(metric[measured].mean()) if measured.any() else None,
        "metric_compared": float(measured.mean()),
        **_slopes(other, first.label, grid, blocks),
    }
    return numbers, {
        "label": label,
        "metric_distance": metric,
        "image_distance": to_grid(image, first.t, grid),
    }


def _slopes(
    study: Compared, label: Int[np.ndarray, "a b"], grid: Grid, blocks: Blocks
) -> dict[str, float | dict[str, float] | None]:
    """How steep images are along the slice, nine places in ten, and how much steeper at the first's boundaries."""
    field = lipschitz_field(study.embedding, study.t, grid=grid if grid.are_nodes(study.t) else None)
    contrast = boundary_contrast(to_grid(field, study.t, grid), label, blocks)
    return {
        "lipschitz_upper": float(np.quantile(field, 0.9)),
        "boundary_contrast": None if contrast is None else asdict(contrast),
    }


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a table, of nested numbers: ``adjusted_rand`` and ``adjusted_rand_low``."""
    found: dict[str, Any] = {}
    for key, value in row.items():
        if key == "changed":
            found[key] = "; ".join(f"{name}: {entry}" for name, entry in value.items())
        elif isinstance(value, Mapping):
            found |= {key if name == "value" else f"{key}_{name}": entry for name, entry in value.items()}
        else:
            found[key] = value
    return found


def verdict(numbers: Mapping[str, Any]) -> str:
    """What the numbers say, in a sentence or two."""
    first, least, names = numbers["first"], numbers["share"], [row["study"] for row in numbers["models"]]
    sentences = []
    for what in ("phases", "images"):
        last = numbers[f"fewest_that_keep_{what}"]
        shares = _values(numbers["models"], f"keeps_{what[:-1]}")
        if last is None:
            found = f"{names[0]} does not keep the {what} of {first} ({100 * shares[0]:.1f} % of cells)"
        else:
            place = names.index(last)
            who = f"{names[0]} to {last} keep" if place else f"{last} keeps"
            found = f"{who} the {what} of {first} ({100 * shares[place]:.1f} % of cells)"
            if place + 1 < len(names):
                found += f", {names[place + 1]} does not ({100 * shares[place + 1]:.1f} %)"
        sentences.append(found)
    null = numbers["null"]
    return (
        f"{'; '.join(sentences)}. Kept is at least {100 * least:.0f} % of cells; an image is kept within "
        f"{null['threshold']:.3f} of the first's embedding, which {100 * least:.0f} % of its own cells stay "
        f"within by {null['by']}."
    )
