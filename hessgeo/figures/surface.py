"""Surfaces in perspective: how they are lit, and the axes around them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.colors import LightSource
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D


def unit_height(values: Float[np.ndarray, "a b"]) -> Float[np.ndarray, "a b"]:
    """Values between 0 and 1; 0 where all are the same."""
    return (values - values.min()) / max(np.ptp(values), np.finfo(float).tiny)


def hillshade(unit: Float[np.ndarray, "a b"], *, relief: float) -> Float[np.ndarray, "a b"]:
    """Light on a surface over a square, between 0 in the shade and 1.

    Args:
        unit: heights between 0 and 1.
        relief: height over the side of the square.
    """
    # LightSource reads rows as y and columns as x: transpose in and out.
    steps = {"dx": 1 / (len(unit) - 1), "dy": 1 / (unit.shape[1] - 1)}
    return LightSource(azdeg=300, altdeg=50).hillshade(unit.T, vert_exag=relief, **steps).T


def dress(axes: Axes3D, labels: Sequence[str]) -> None:
    """Axes without walls, with few numbers and their labels close by."""
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color((1, 1, 1, 0))
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axis._axinfo["grid"].update(color="0.88", linewidth=0.5)
    axes.tick_params(pad=-2)
    axes.set_xlabel(labels[0], labelpad=-4)
    axes.set_ylabel(labels[1], labelpad=-4)
    axes.set_zlabel(labels[2], labelpad=-2)
