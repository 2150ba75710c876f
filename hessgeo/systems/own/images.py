"""Images of one's own, in files or in one array: found and described by their headers, read a few at a time."""

from __future__ import annotations

import glob
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped, UInt8

from hessgeo.systems.images import header_shape, load_image
from hessgeo.weights.files import check_file, npy_header

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
ALLOWED = (
    "a folder or a pattern of images of one size (PNG, JPEG, WebP, BMP or TIFF), or an array (n, height, width[, 1 or "
    "3]) of eight bits in a .npy file or a .zarr folder"
)

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class ImageFiles:
    """Images in a file each.

    Attributes:
        files: their paths, in the order of their names.
        shape: (height, width, channels) of every one.
    """

    files: tuple[str, ...]
    shape: Shape

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.files)

    def read(self, rows: Int[np.ndarray, "row"]) -> UInt8[np.ndarray, "row h w c"]:
        """Some of the images.

        Raises:
            ValueError: one line, on a file that cannot be read or is of another size.
        """
        return np.stack([load_image(self.files[row], self.shape) for row in rows])


@dataclass(frozen=True)
class ImageArray:
    """Images in one array.

    Attributes:
        path: a .npy file or a .zarr folder.
        count: number of images.
        shape: (height, width, channels) of every one.
        output_range: values that are black and white, of an array of floats; None for one of eight bits.
    """

    path: str
    count: int
    shape: Shape
    output_range: tuple[float, float] | None = None

    def read(self, rows: Int[np.ndarray, "row"]) -> UInt8[np.ndarray, "row h w c"]:
        """Some of the images; floats are rounded to eight bits.

        Raises:
            ValueError: one line, on a value outside ``output_range``, or an array that cannot be read.
        """
        try:
            values = np.asarray(_open(self.path)[rows]).reshape(len(rows), *self.shape)
        # A chunk that is damaged ends in whatever its decoder raises.
        except Exception as error:
            raise ValueError(f"{self.path} cannot be read ({' '.join(str(error).split())[:200]})") from error
        if self.output_range is None:
            return values
        low, high = self.output_range
        # The ends are rounded as the values are: in half precision a large one is infinity.
        with np.errstate(over="ignore"):
            inside = (values >= low) & (values <= high) & np.isfinite(values)
        outside = ~inside.all(axis=(1, 2, 3))
        if outside.any():
            row = int(rows[np.argmax(outside)])
            raise ValueError(f"image {row} of {self.path} has values outside {low:g} to {high:g}")
        return np.rint((values.astype(np.float64) - low) * (255 / (high - low))).astype(np.uint8)


def image_files(source: str) -> tuple[str, ...]:
    """Every file that images are read from, in the order of their names.

    Args:
        source: a folder of images, a pattern such as ``images/*.png``, a .npy file or a .zarr folder.

    Raises:
        ValueError: one line, if there is none.
    """
    path = Path(source)
    if path.suffix == ".npy":
        return (str(check_file(path, "an array of images")),)
    if path.suffix == ".zarr" and path.is_dir():
        return tuple(sorted(str(file) for file in path.rglob("*") if file.is_file()))
    if path.is_dir():
        files = [str(file) for file in path.iterdir() if file.suffix.lower() in SUFFIXES]
    elif glob.has_magic(source):
        files = glob.glob(source)
    else:
        raise ValueError(f"{source} is {'no such source' if path.exists() else 'missing'}")
    if not files:
        raise ValueError(f"{source} has no images")
    return tuple(sorted(files))


def describe_images(source: str, output_range: Sequence[float] | None = None) -> ImageFiles | ImageArray:
    """The images of a source, by the headers of its files alone.

    Args:
        source: as for ``image_files``.
        output_range: values of an array of floats that are black and white; None where none are said.

    Raises:
        ValueError: one line that names the file, what it holds and what it must: no images, one of another size or
            of other channels than the first, an array that holds no images.
    """
    files = image_files(source)
    if Path(source).suffix in (".npy", ".zarr"):
        return _describe_array(source, output_range)
    if output_range is not None:
        raise ValueError(
            f"{source} holds images of eight bits, must be an array of floats for an output range"
        )
    first = header_shape(files[0])
    for file in files[1:]:
        found = header_shape(file)
        if found != first:
            raise ValueError(f"image {file} is {_words(found)}, must be {_words(first)} as {files[0]}")
    return ImageFiles(files, first)


def _words(shape: Shape) -> str:
    return f"{'grey' if shape[2] == 1 else 'in colour'} of {shape[1]} x {shape[0]} pixels"


def _open(path: str) -> Any:
    """An array in a file, nothing of which is read yet."""
    if path.endswith(".npy"):
        npy_header(path, "a .npy file of images")
        return np.load(path, mmap_mode="r", allow_pickle=False)
    import zarr  # here, for it takes a third of a second

    files = [check_file(file, "a file of an array") for file in Path(path).rglob("*") if not file.is_dir()]
    array = zarr.open_array(path, mode="r")
    # Zarr reads a chunk that is missing as its fill value: as black images, where a copy was cut short.
    blocks = array.shards or array.chunks  # of which each is a file
    whole = math.prod(-(-length // side) for length, side in zip(array.shape, blocks, strict=True))
    there = len(files)
    if whole <= there:  # else they are not counted: metadata may promise any number
        each = math.prod(block // chunk for block, chunk in zip(blocks, array.chunks, strict=True))
        there = array.nchunks_initialized // each
    if there < whole:
        raise ValueError(
            f"{whole - there} of {whole:,} chunks are missing, must all be written, empty ones too"
        )
    return array


def _describe_array(path: str, output_range: Sequence[float] | None) -> ImageArray:
    try:
        array: Shaped[np.ndarray, "n *image"] = _open(path)
        shape, dtype = tuple(map(int, array.shape)), np.dtype(array.dtype)
    # Zarr meets metadata that are none with whatever they lead it to.
    except Exception as error:
        raise ValueError(f"{path} cannot be read ({' '.join(str(error).split())[:200]})") from error
    item = (*shape[1:], 1) if len(shape) == 3 else shape[1:]
    if len(item) != 3 or item[2] not in (1, 3) or min(shape) < 1:
        raise ValueError(
            f"{path} is of shape {shape}, must be (n, height, width) or (n, height, width, 1 or 3)"
        )
    if dtype == np.uint8 and output_range is not None:
        raise ValueError(f"{path} holds uint8, must hold floats for an output range")
    if dtype != np.uint8 and (dtype.kind != "f" or output_range is None):
        must = "uint8, or floats beside system.output_range, the values that are black and white"
        raise ValueError(f"{path} holds {dtype}, must hold {must}")
    bounds = None if output_range is None else (float(output_range[0]), float(output_range[1]))
    return ImageArray(path, shape[0], (item[0], item[1], item[2]), bounds)
