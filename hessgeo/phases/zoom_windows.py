"""Windows that shrink about a point of a boundary, and what is measured in them: phases, Lipschitz constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int32

from hessgeo.grids import Extent, Grid
from hessgeo.metrics.diagnostics import eigenvalues
from hessgeo.metrics.measured import embedding_metric
from hessgeo.phases.segment import segment_phases
from hessgeo.phases.zoomed import Answer

# Half of the eight neighbours of a node: each pair once.
PAIRS = ((0, 1), (1, 0), (1, 1), (1, -1))
# Lipschitz constants, by the names of what changes and of what it changes with.
CONSTANTS = (
    ("clean", "parameter"), ("clean", "latent"), ("embedding", "parameter"), ("embedding", "latent"),
    ("embedding", "clean"),
)  # fmt: skip
ROUNDINGS = 8.0  # a difference of so many is one of the map, as in ``scale_law``


@dataclass(frozen=True)
class ZoomWindow:
    """A window of a box.

    Attributes:
        level: how many times the box was shrunk.
        width: share of the box along each side.
        centre: in parameters.
        half: half of its sides, in parameters.
    """

    level: int
    width: float
    centre: tuple[float, float]
    half: tuple[float, float]

    def grid(self, shape: tuple[int, int]) -> Grid:
        """Nodes as steps from the centre, in parameters."""
        return Grid(tuple((-half, half) for half in self.half), shape)


def zoom_window(box: Extent, point: tuple[float, float], level: int, width: float) -> ZoomWindow:
    """The window of a width about a point, moved as far as it must be to lie in the box."""
    centre, half = [], []
    for place, (low, high) in zip(point, box, strict=True):
        side = width * (high - low) / 2
        half.append(side)
        centre.append(min(max(place, low + side), high - side) if width < 1 else (low + high) / 2)
    return ZoomWindow(level, width, (centre[0], centre[1]), (half[0], half[1]))


def window_constants(
    answer: Answer, grid: Grid
) -> tuple[dict[str, Float64[np.ndarray, "a b"]], dict[str, float]]:
    """Local Lipschitz constants over the eight neighbours of each node: fields, and the largest of each.

    In parameters the box is made a square of the same area (``Grid.square``), as everywhere. Distances of latents are
    those of their offsets, before any rounding to a precision: of the exact latents that were asked for.
    """
    shape = grid.shape
    values = {name: getattr(answer, name).reshape(*shape, -1) for name in ("latent", "clean", "embedding")}
    fields = {f"{top}_per_{bottom}": np.zeros(shape) for top, bottom in CONSTANTS}
    for offset in PAIRS:
        here, there = _ends(offset, shape)
        apart = {name: np.linalg.norm(each[there] - each[here], axis=-1) for name, each in values.items()}
        step = float(np.hypot(*(np.array(offset) * grid.spacing / grid.square)))
        apart["parameter"] = np.full_like(apart["clean"], step)
        for top, bottom in CONSTANTS:
            ratio = np.divide(
                apart[top], apart[bottom], out=np.zeros_like(apart[top]), where=apart[bottom] > 0
            )
            field = fields[f"{top}_per_{bottom}"]
            field[here], field[there] = np.maximum(field[here], ratio), np.maximum(field[there], ratio)
    return fields, {name: float(field.max()) for name, field in fields.items()}


def _ends(offset: tuple[int, int], shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Nodes that have a neighbour at an offset, and these neighbours."""
    sides = list(zip(offset, shape, strict=True))
    here = tuple(slice(max(0, -step), nodes - max(0, step)) for step, nodes in sides)
    there = tuple(slice(max(0, step), nodes - max(0, -step)) for step, nodes in sides)
    return here, there


def window_phases(
    embedding: Float[np.ndarray, "n e"], grid: Grid, settings: dict[str, Any]
) -> Int32[np.ndarray, "a b"]:
    """Phases between ridges of the pulled-back metric, as ``segment_phases`` finds them, in box units.

    Args:
        embedding: features of every node.
        grid: the nodes.
        settings: of ``segment_phases``.
    """
    metric = embedding_metric(embedding.reshape(*grid.shape, -1), grid.unit)
    largest = eigenvalues(metric)[..., -1]
    if not (largest > 0).any():
        return np.ones(grid.shape, dtype=np.int32)
    floored = np.maximum(largest, largest[largest > 0].min())
    return segment_phases(floored, grid.unit, **settings).label.astype(np.int32)


def is_resolved(inputs: int, nodes: int, difference: float, floor: float) -> bool:
    """Whether a precision tells the nodes of a window apart.

    Args:
        inputs: different latents in the precision.
        nodes: of the window.
        difference: of the features of the two neighbours that differ most, in the sense of the Lipschitz constant.
        floor: of ``ZoomedMap.floor``.
    """
    return inputs == nodes and difference > ROUNDINGS * floor


def distinct(rows: np.ndarray) -> int:
    """How many rows are different."""
    return len(np.unique(rows.reshape(len(rows), -1), axis=0))
