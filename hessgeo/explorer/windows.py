"""The windows of a zoom on one point of a boundary, small enough for a page."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import UInt8
from PIL import Image

from hessgeo.explorer.packing import pack, text

MOST = 4_000_000  # bytes of images of all windows, before they are packed


def zoom_windows(windows: xr.Dataset) -> dict[str, Any]:
    """Series of windows, each smaller than the one before: labels of the study's phases, and a picture of images.

    Args:
        windows: ``windows.nc`` of the target ``zoom``: on ``(window, ...)`` ``label (a, b)``, ``image (ta, tb, y, x,
            channel)``, ``series``, ``width``, ``centre`` and ``half (axis)``, ``resolved``.

    Returns:
        ``series``; ``windows``: of each its series, width, centre, half sides, and whether it is resolved; ``labels``
        of all of them; and ``pictures``, a PNG each, or none where there would be too many.
    """
    images = windows["image"].transpose("window", "ta", "tb", "y", "x", "channel")
    places = zip(
        windows["series"].to_numpy().tolist(),
        windows["width"].to_numpy().tolist(),
        windows["centre"].to_numpy().tolist(),
        windows["half"].to_numpy().tolist(),
        windows["resolved"].to_numpy().tolist(),
        strict=True,
    )
    names = ("series", "width", "centre", "half", "resolved")
    return {
        "series": json.loads(windows.attrs["series"]),
        "windows": [dict(zip(names, place, strict=True)) for place in places],
        "labels": pack(windows["label"].transpose("window", "a", "b").to_numpy().astype(np.int32)),
        "pictures": [text(mosaic(one)) for one in images.to_numpy()] if images.nbytes <= MOST else [],
    }


def mosaic(images: UInt8[np.ndarray, "ta tb y x c"]) -> bytes:
    """One picture of images on a grid, the first parameter to the right and the second upwards, as PNG."""
    across, up, height, width, channels = images.shape
    whole = images[:, ::-1].transpose(1, 2, 0, 3, 4).reshape(up * height, across * width, channels)
    file = io.BytesIO()
    Image.fromarray(whole[..., 0] if channels == 1 else whole).save(file, format="PNG", optimize=True)
    return file.getvalue()
