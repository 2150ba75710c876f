"""Films, frame by frame: GIF by Pillow, MP4 by ffmpeg where the extra ``animation`` is installed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from hessgeo.store.files import whole

Frames = Sequence[UInt8[np.ndarray, "y x 3"]]
QUALITY = 8  # of 10, of an MP4: edges of pixels and letters stay sharp
# The name says nothing of the format while it is written; one thread, for the bytes depend on how many there are; a
# page may play it before it has all of it.
OUTPUT = ("-f", "mp4", "-threads", "1", "-movflags", "+faststart")


def write_films(
    files: Mapping[str, str | Path], frames: Frames, *, milliseconds: int, colours: int = 64
) -> None:
    """Write the same frames as ``files["gif"]``, and as ``files["mp4"]`` where there is one; a log line says if not."""
    write_gif(files["gif"], frames, milliseconds=milliseconds, colours=colours)
    if "mp4" in files:
        write_mp4(files["mp4"], frames, milliseconds=milliseconds)
    else:
        logging.getLogger(__name__).warning(
            "no film.mp4: it needs the extra animation, pip install 'hessgeo[animation]'"
        )


def write_gif(path: str | Path, frames: Frames, *, milliseconds: int, colours: int = 64) -> None:
    """Write frames of one size as an animated GIF that repeats, in so many colours a frame, whole or not at all.

    Raises:
        ValueError: if there is no frame.
    """
    if not len(frames):
        raise ValueError("a film needs at least one frame")
    first, *others = (Image.fromarray(frame).quantize(colours) for frame in frames)
    with whole(path) as partial, partial.open("wb") as file:
        options = {"duration": milliseconds, "loop": 0, "optimize": True}
        first.save(file, format="GIF", save_all=True, append_images=others, **options)


def write_mp4(path: str | Path, frames: Frames, *, milliseconds: int) -> None:
    """Write the same as H.264 in MP4, whole or not at all.

    Args:
        path: where.
        frames: of one size, with even sides.
        milliseconds: of a frame.

    Raises:
        ValueError: if there is no frame, or a side is odd, which the film could not have.
        ModuleNotFoundError: without the extra ``animation``.
    """
    ffmpeg = import_module("imageio_ffmpeg")  # which no other step needs

    if not len(frames):
        raise ValueError("a film needs at least one frame")
    height, width = frames[0].shape[:2]
    if height % 2 or width % 2:
        raise ValueError(f"frames are of {width} x {height} pixels, sides must be even")
    options = {"fps": 1000 / milliseconds, "codec": "libx264", "quality": QUALITY, "macro_block_size": 2}
    with whole(path) as partial:
        writer = ffmpeg.write_frames(str(partial), (width, height), **options, output_params=list(OUTPUT))
        writer.send(None)
        for frame in frames:
            writer.send(np.ascontiguousarray(frame))
        writer.close()
