"""States as images, which the paper's U^2-Net reads."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Shaped, UInt8


def state_images(
    states: Shaped[np.ndarray, "n *sample"], shape: tuple[int, ...]
) -> UInt8[np.ndarray, "n a b 1"]:
    """Each state as one black and white image of a given size, as in App. B.2 of Lobashev et al.

    The lower of two values is 0 and the higher 255. A chain is laid out in raster-scan order in the squarest image that
    holds it exactly. A smaller image is enlarged by repeating the nearest site, as evenly as can be.

    PAPER: grid and image have the same size. Here the grid may be finer than the state, but not coarser: a site that
    the network does not see would not be the paper's route.

    Args:
        states: spins -1 and 1, or occupations 0 and 1.
        shape: of the images.

    Raises:
        ValueError: on states of other values or more than two dimensions, or larger than the images.
    """
    if states.ndim not in (2, 3):
        raise ValueError(
            f"states have shape {states.shape}, must be chains (n, sites) or lattices (n, rows, columns)"
        )
    low = -1 if (states < 0).any() else 0
    if not ((states == low) | (states == 1)).all():
        raise ValueError("states hold other values than -1 and 1 or 0 and 1")
    image = states if states.ndim == 3 else states.reshape(len(states), *squarest(states.shape[1]))
    rows, columns = image.shape[1:]
    if rows > shape[0] or columns > shape[1]:
        raise ValueError(
            f"states make images of {rows} x {columns}, the grid has only {shape[0]} x {shape[1]} nodes"
        )
    pick_rows, pick_columns = (
        np.arange(new) * old // new for new, old in zip(shape, (rows, columns), strict=True)
    )
    large = image[:, pick_rows[:, None], pick_columns]
    return np.where(large > 0, np.uint8(255), np.uint8(0))[..., None]


def squarest(sites: int) -> tuple[int, int]:
    """Rows and columns of the squarest rectangle of ``sites`` cells, no more columns than rows."""
    columns = next(side for side in range(math.isqrt(sites), 0, -1) if sites % side == 0)
    return sites // columns, columns
