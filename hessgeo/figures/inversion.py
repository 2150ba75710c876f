"""Images that a slice starts from, beside what their latents bring back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from matplotlib.figure import Figure

from hessgeo.figures import style
from hessgeo.figures.thumbnails import shrink
from hessgeo.systems.images import load_image
from hessgeo.systems.slices import is_image

SIDE = 320  # pixels of a panel
COLUMNS = ("image", "as the slice has it", "difference")


def gather(
    reconstructions: UInt8[np.ndarray, "m h w c"],
    numbers: Mapping[str, Sequence],
    *,
    anchor_sources: Sequence[Any],
    image_shape: tuple[int, int, int],
) -> dict[str, Any]:
    """The images among the sources of the anchors, at the size that the study has."""
    height, width, channels = image_shape  # a list, where it comes from a file
    images = [load_image(source, (height, width, channels)) for source in anchor_sources if is_image(source)]
    return {"images": np.stack(images), "reconstructions": reconstructions, "numbers": numbers}


@style.theme()
def draw(
    images: UInt8[np.ndarray, "m h w c"],
    reconstructions: UInt8[np.ndarray, "m h w c"],
    numbers: Mapping[str, Sequence],
) -> tuple[Figure, pd.DataFrame]:
    """A row for each image: the image, its reconstruction at the anchor, and the difference of the two.

    Args:
        images: the images that were inverted, one or three channels.
        reconstructions: what the slice has at their anchors.
        numbers: ``images``, ``error``, ``error_in_slice``, ``error_of_autoencoder`` and ``residual`` of each.

    Returns:
        The figure, 7 inches wide, and a row of numbers an image. Errors are mean squared differences over the
        variance of the image's pixels; differences are grey where there is none.

    Raises:
        ValueError: if there is not one reconstruction of each image.
    """
    if images.shape != reconstructions.shape or len(images) != len(numbers["images"]):
        raise ValueError(
            f"images {images.shape}, reconstructions {reconstructions.shape} and the numbers of "
            f"{len(numbers['images'])} images do not belong together"
        )
    table = pd.DataFrame({name: list(numbers[name]) for name in numbers if name != "radius"})
    ratio = images.shape[1] / images.shape[2]
    figure = Figure(figsize=(7.0, (7.0 / 3 * ratio + 0.45) * len(images)), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.14, wspace=0.0, hspace=0.0)
    panels = figure.subplots(len(images), 3, squeeze=False)
    difference = np.clip(np.rint((reconstructions.astype(int) - images) / 2 + 128), 0, 255).astype(np.uint8)
    for row, axes in enumerate(panels):
        for column, (axis, stack) in enumerate(zip(axes, (images, reconstructions, difference), strict=True)):
            picture = shrink(stack[row], SIDE)
            axis.imshow(
                picture.squeeze(-1) if picture.shape[-1] == 1 else picture, cmap="gray", vmin=0, vmax=255
            )
            axis.set_axis_off()
            if row == 0:
                axis.set_title(COLUMNS[column])
        entry = table.iloc[row]
        axes[1].text(
            0.5,
            -0.03,
            f"error {entry['error_in_slice']:.2g} of the variance; "
            f"before normalisation {entry['error']:.2g}; autoencoder {entry['error_of_autoencoder']:.2g}",
            transform=axes[1].transAxes,
            ha="center",
            va="top",
            in_layout=False,
        )
    return figure, table
