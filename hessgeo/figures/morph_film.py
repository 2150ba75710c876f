"""The film of a morph: the geodesic and the straight line side by side, with the steps of both below."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from hessgeo.figures.morph import COLOURS

LEAST, HEADER, FOOTER, GAP = (
    256,
    26,
    56,
    6,
)  # pixels: a picture's side at least, the lines above and below, between
MOST = 512  # pixels of a picture's side, at most
HOLD = 6  # frames that both ends stand still
MILLISECONDS = 90  # of a frame
SHADES = 128  # colours of a frame of a GIF


def film(morph: xr.Dataset, *, loop: bool) -> Iterator[UInt8[np.ndarray, "y x 3"]]:
    """Pictures of a morph: there and back, each end held; or round and round, the last frame being the first.

    Args:
        morph: of ``pipeline.morph.make_morph``.
        loop: whether it ends where it starts.
    """
    images, steps = morph["image"].to_numpy(), morph["feature_step"].to_numpy()
    count = images.shape[1]
    there = list(range(count - 1)) if loop else [0] * HOLD + list(range(1, count - 1)) + [count - 1] * HOLD
    back = [] if loop else list(range(count - 2, 0, -1))
    names = [str(name) for name in morph["way"].to_numpy()]
    for frame in [*there, *back]:
        yield _picture(images[:, frame], names, steps, frame)


def _picture(
    images: UInt8[np.ndarray, "way h w c"], names: list[str], steps: Float[np.ndarray, "way k"], frame: int
) -> UInt8[np.ndarray, "y x 3"]:
    """One frame of the film."""
    h, w = images.shape[1:3]
    scale = max(LEAST / w, 1.0) if max(h, w) < LEAST else min(MOST / max(h, w), 1.0)
    # Whole pixels, and even ones, for films have half as many colours along each side.
    wide, high = (2 * round(scale * side / 2) for side in (w, h))
    look = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    canvas = Image.new("RGB", (2 * wide + GAP, HEADER + high + FOOTER), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    top = float(steps.max()) or 1.0
    for k, name in enumerate(names):
        left = k * (wide + GAP)
        colours = np.repeat(images[k], 3, axis=-1) if images.shape[-1] == 1 else images[k]
        canvas.paste(Image.fromarray(colours).resize((wide, high), look), (left, HEADER))
        draw.text((left + 4, 5), f"{name}: largest step {steps[k].max():.3g}", fill=COLOURS[k], font=font)
        _bars(
            draw,
            steps[k] / top,
            (left, HEADER + high + 4, left + wide, HEADER + high + FOOTER - 2),
            frame,
            COLOURS[k],
        )
    return np.asarray(canvas)


def _bars(
    draw: ImageDraw.ImageDraw,
    shares: Float[np.ndarray, "k"],
    box: tuple[int, int, int, int],
    frame: int,
    colour: str,
) -> None:
    """A bar for each step, as high as its share; those up to a frame in colour."""
    left, top, right, bottom = box
    pitch = (right - left) / len(shares)
    for k, share in enumerate(shares):
        near, far = left + k * pitch, left + (k + 1) * pitch - (1 if pitch > 3 else 0)
        fill = colour if k < frame else "#c8c8c8"
        draw.rectangle(
            (near, bottom - max(1.0, share * (bottom - top)), max(far - 1, near), bottom), fill=fill
        )
