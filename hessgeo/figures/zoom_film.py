"""A film of a zoom: images and phases of one window after another, each growing until the next takes its place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from hessgeo.figures.zoom_strip import colours_of, mosaic_of

SIDE, HEADER = 288, 24  # pixels of a picture, and of the line above
FRAMES = 12  # from one window to the next
HOLD = 6  # frames that a window stands still
MILLISECONDS = 70  # of a frame


def frames(windows: xr.Dataset, series: str) -> Iterator[UInt8[np.ndarray, "y x 3"]]:
    """Pictures of one series, from the whole box inwards.

    Args:
        windows: of ``pipeline.zoom_verdicts.windows_shown``.
        series: whose windows.

    Raises:
        ValueError: if it has no window.
    """
    chosen = np.flatnonzero(windows["series"].to_numpy() == series)
    if not len(chosen):
        raise ValueError(f"there is no window of the series {series}")
    palette = np.array([_rgb(colour) for colour in colours_of(windows["label"].to_numpy())], dtype=np.uint8)
    for k, now in enumerate(chosen):
        window = windows.isel(window=int(now))
        pictures = [_mosaic(window), Image.fromarray(palette[window["label"].to_numpy().T[::-1] - 1])]
        following = windows.isel(window=int(chosen[k + 1])) if k + 1 < len(chosen) else None
        boxes = [(0.0, 0.0, 1.0, 1.0)] * HOLD
        if following is not None:
            boxes += list(_approach(window, following))
        for box in boxes:
            yield _frame(pictures, box, f"{series}   width {float(window['width']):.0e}")


def _approach(window: xr.Dataset, following: xr.Dataset) -> Iterator[tuple[float, float, float, float]]:
    """Boxes from a whole window to the next one in it, shares of its picture: left, upper, right, lower."""
    half, ratio = window["half"].to_numpy(), float(following["width"]) / float(window["width"])
    aim = (following["centre"].to_numpy() - window["centre"].to_numpy()) / (2 * half) + 0.5
    for share in np.arange(1, FRAMES) / FRAMES:
        size = ratio**share
        # The centre moves so that the next window never leaves the picture.
        moved = (1 - size) / (1 - ratio)
        place: Float[np.ndarray, 2] = 0.5 + (aim - 0.5) * moved
        left, lower = place - size / 2
        yield float(left), float(1 - lower - size), float(left + size), float(1 - lower)


def _mosaic(window: xr.Dataset) -> Image.Image:
    mosaic = mosaic_of(window["image"].to_numpy())
    return Image.fromarray(mosaic if mosaic.shape[-1] == 3 else np.repeat(mosaic, 3, axis=-1))


def _frame(
    pictures: list[Image.Image], box: tuple[float, float, float, float], words: str
) -> UInt8[np.ndarray, "y x 3"]:
    frame = Image.new("RGB", (2 * SIDE + 4, SIDE + HEADER), "white")
    for k, picture in enumerate(pictures):
        (wide, high), (left, top, right, bottom) = picture.size, box
        cut = (left * wide, top * high, right * wide, bottom * high)
        frame.paste(picture.resize((SIDE, SIDE), Image.Resampling.NEAREST, box=cut), (k * (SIDE + 4), HEADER))
    ImageDraw.Draw(frame).text((4, 4), words, fill="black", font=ImageFont.load_default(13))
    return np.asarray(frame)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
