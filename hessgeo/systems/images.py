"""Photographs and other images that anchors of a slice are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from hessgeo.files import open_file

MODES = {1: "L", 3: "RGB"}
EIGHT_BITS = (
    "1",
    "L",
    "LA",
    "P",
    "RGB",
    "RGBA",
    "YCbCr",
    "CMYK",
)  # of PIL; others would be clipped, not scaled


def load_image(
    path: str | Path, image_shape: tuple[int, int, int]
) -> UInt8[np.ndarray, "height width channels"]:
    """Read an image in the size and the channels of a model, turned upright as its camera noted.

    It is not resized: what to cut away and how to filter is for its owner to decide.

    Raises:
        ValueError: if the file is missing, no image, or of another size.
    """
    path, (height, width, channels) = Path(path), image_shape
    try:
        with open_file(path, f"an image of {width} x {height} pixels") as file, Image.open(file) as image:
            if image.mode not in EIGHT_BITS:
                raise ValueError(f"image {path} has the mode {image.mode}, must have eight bits a channel")
            upright = ImageOps.exif_transpose(image)
            if upright.size != (width, height):
                found = f"{upright.width} x {upright.height}"
                raise ValueError(
                    f"image {path} is {found} pixels, must be {width} x {height} (width x height)"
                )
            pixels = np.asarray(upright.convert(MODES[channels]), dtype=np.uint8)
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"image {path} cannot be read ({error})") from error
    return pixels.reshape(height, width, channels)
