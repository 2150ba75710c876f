"""The film of a morph: where it is on the map, the geodesic and the straight line, and the steps of both below."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from hessgeo.figures import style
from hessgeo.figures.morph import COLOURS
from hessgeo.figures.phases import colours_of

LEAST, MOST = 256, 512  # pixels of a picture's side, at least and at most
HEADER, FOOTER, GAP = 26, 56, 6  # pixels: the lines above and below, and between pictures
HOLD = 6  # frames that both ends stand still
MILLISECONDS = 90  # of a frame
SHADES = 128  # colours of a frame of a GIF
FINE = 3  # times as large lines and points are drawn, which makes them smooth
PALE = 0.45  # share of white in the colours of phases, on which the ways are drawn
NARROWEST = 0.5  # width of the map over its height, at least, and the inverse at most
WORDS = "bars: distance from the frame\nbefore, in the embedding"


def film(morph: xr.Dataset, phases: xr.Dataset, *, loop: bool) -> Iterator[UInt8[np.ndarray, "y x 3"]]:
    """Pictures of a morph: there and back, each end held; or round and round, the last frame being the first.

    Args:
        morph: of ``pipeline.morph.make_morph``.
        phases: ``label`` on ``(a, b)``, the map that the ways are drawn on.
        loop: whether it ends where it starts.
    """
    images, steps = morph["image"].to_numpy(), morph["feature_step"].to_numpy()
    count = images.shape[1]
    there = list(range(count - 1)) if loop else [0] * HOLD + list(range(1, count - 1)) + [count - 1] * HOLD
    back = [] if loop else list(range(count - 2, 0, -1))
    names = [str(name) for name in morph["way"].to_numpy()]
    wide, high = _size(*images.shape[2:4])
    base, places = _map(phases, morph["point"].to_numpy(), high)
    for frame in [*there, *back]:
        pictures = [_picture(image, (wide, high)) for image in images[:, frame]]
        yield _frame([_pointed(base, places[:, frame]), *pictures], names, steps, frame)


def _size(h: int, w: int) -> tuple[int, int]:
    """Width and height of a picture; whole pixels, and even ones, for films have half as many colours along sides."""
    scale = max(LEAST / w, 1.0) if max(h, w) < LEAST else min(MOST / max(h, w), 1.0)
    return 2 * round(scale * w / 2), 2 * round(scale * h / 2)


def _picture(image: UInt8[np.ndarray, "h w c"], size: tuple[int, int]) -> Image.Image:
    look = Image.Resampling.NEAREST if size[0] > image.shape[1] else Image.Resampling.LANCZOS
    return Image.fromarray(np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image).resize(size, look)


def _map(
    phases: xr.Dataset, points: Float[np.ndarray, "way frame 2"], high: int
) -> tuple[Image.Image, Float[np.ndarray, "way frame 2"]]:
    """Phases and the ways over them, ``FINE`` times as large as they are shown, and where the points are on it."""
    label = style.field(phases, "label").astype(int)
    a, b = style.axes_of(phases)
    ratio = min(max(1 / style.height_ratio(a, b), NARROWEST), 1 / NARROWEST)
    wide = 2 * round(high * ratio / 2)
    colours = colours_of(range(1, int(label.max()) + 1))
    palette = np.array([(1 - PALE) * np.array(colour) + PALE for colour in colours.values()])
    flat = (255 * palette[label.T[::-1] - 1]).astype(np.uint8)
    base = Image.fromarray(flat).resize((FINE * wide, FINE * high), Image.Resampling.NEAREST)
    # Nodes lie in the middle of their cells.
    share = [
        (0.5 + (points[..., axis] - x[0]) / (x[-1] - x[0]) * (len(x) - 1)) / len(x)
        for axis, x in enumerate((a, b))
    ]
    places = FINE * np.stack([wide * share[0], high * (1 - share[1])], axis=-1)
    draw = ImageDraw.Draw(base)
    for way, colour in zip(places, COLOURS, strict=True):
        track = [tuple(place) for place in way.tolist()]
        draw.line(track, fill="white", width=5 * FINE, joint="curve")
        draw.line(track, fill=colour, width=2 * FINE, joint="curve")
    return base, places


def _pointed(base: Image.Image, places: Float[np.ndarray, "way 2"]) -> Image.Image:
    """The map with a point on each way."""
    found = base.copy()
    draw = ImageDraw.Draw(found)
    for (x, y), colour in zip(places[::-1].tolist(), COLOURS[::-1], strict=True):
        for radius, fill in ((8 * FINE, "white"), (6 * FINE, colour)):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
    return found.resize((base.width // FINE, base.height // FINE), Image.Resampling.LANCZOS)


def _frame(
    pictures: list[Image.Image], names: list[str], steps: Float[np.ndarray, "way k"], frame: int
) -> UInt8[np.ndarray, "y x 3"]:
    """One frame of the film: the map, the picture of each way, the steps of both."""
    high = pictures[0].height
    width = sum(picture.width for picture in pictures) + GAP * (len(pictures) - 1)
    canvas = Image.new("RGB", (width, HEADER + high + FOOTER), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    titles = [
        "phases",
        *(f"{name}: largest step {one.max():.3g}" for name, one in zip(names, steps, strict=True)),
    ]
    left, top, floor = 0, float(steps.max()) or 1.0, HEADER + high
    for k, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        canvas.paste(picture, (left, HEADER))
        draw.text((left + 4, 5), title, fill=COLOURS[k - 1] if k else "#262626", font=font)
        if k:
            box = (left, floor + 4, left + picture.width, floor + FOOTER - 2)
            _bars(draw, steps[k - 1] / top, box, frame, COLOURS[k - 1])
        left += picture.width + GAP
    draw.text((4, floor + 10), WORDS, fill="#595959", font=font)
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
