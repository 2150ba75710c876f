"""Photographs and other images that anchors of a slice are made of."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from hessgeo.weights.files import open_file

MODES = {1: "L", 3: "RGB"}
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")  # of PIL, which for others may start a program
# Modes of PIL; others would be clipped, not scaled.
EIGHT_BITS = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr", "CMYK")

GREY = ("1", "L", "LA", "La")  # of these, those without colour
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)  # the note of a camera, and its values for a picture that lies


def eight_bits(image: Float[np.ndarray, "*shape"], low: float, high: float) -> UInt8[np.ndarray, "*shape"]:
    """Pixels ``round(255 clip((x - low) / (high - low), 0, 1))``, in double precision.

    Args:
        image: one image, so that no more is held in double precision at once.
        low: the value of black.
        high: the value of full intensity.
    """
    unit = np.clip((image.astype(np.float64) - low) / (high - low), 0, 1)
    return np.round(255 * unit).astype(np.uint8)


def load_image(
    path: str | Path, image_shape: tuple[int, int, int]
) -> UInt8[np.ndarray, "height width channels"]:
    """Read an image as it is seen on a white page, in the size and the channels of a model.

    It is turned upright as its camera noted, its colours are brought to sRGB if it carries a profile, and what is
    transparent shows white. It is not resized: what to cut away and how to filter is for its owner to decide. Of
    several pictures in one JPEG (a phone's depth map, say) the first is taken.

    Raises:
        ValueError: one line, if the file is missing, no image, of another size, of more than eight bits a channel or
            several frames. The size is refused before any pixel is read.
    """
    height, width, channels = image_shape
    with _opened(path, f"{width} x {height} pixels") as image:
        if fault := _header_fault(image, (width, height)):
            raise _UnfitError(fault)
        upright = ImageOps.exif_transpose(_on_white(image))
        if upright.size != (width, height):
            raise _UnfitError(_size_fault(upright, (width, height)))
        pixels = np.asarray(upright.convert(MODES[channels]), dtype=np.uint8)
    return pixels.reshape(height, width, channels)


def header_shape(path: str | Path) -> tuple[int, int, int]:
    """Height, width and channels of an image as ``load_image`` reads it upright; one channel if it has no colour.

    Raises:
        ValueError: one line, if the file is missing, no image, of more than eight bits a channel or several frames.
    """
    with _opened(path, "a size of its own") as image:
        if fault := _header_fault(image, image.size):
            raise _UnfitError(fault)
        turned = image.getexif().get(ORIENTATION, 1) in SIDEWAYS
        width, height = image.size[::-1] if turned else image.size
        return height, width, 1 if image.mode in GREY else 3


@contextmanager
def _opened(path: str | Path, size: str) -> Iterator[Image.Image]:
    """An image in a file, whose faults end in one line.

    Args:
        path: the file.
        size: that it must have.
    """
    with open_file(path, f"an image of {size}") as file, warnings.catch_warnings():
        # Of what is large, or of damage that the decoder works around; both are judged here.
        warnings.simplefilter("ignore")
        try:
            with Image.open(file, formats=FORMATS) as image:
                yield image
        except _UnfitError as error:
            raise ValueError(f"image {path} {error}") from None
        except Image.DecompressionBombError:
            raise ValueError(f"image {path} is far larger than {size}") from None
        except UnidentifiedImageError:
            raise ValueError(
                f"image {path} cannot be read (it is no PNG, JPEG, WebP, BMP or TIFF, or damaged)"
            ) from None
        # A decoder meets a damaged file with any of these.
        except (OSError, ValueError, SyntaxError, LookupError, TypeError, ArithmeticError, EOFError, MemoryError,
                ImageCms.PyCMSError) as error:  # fmt: skip
            raise ValueError(f"image {path} cannot be read ({' '.join(str(error).split())[:200]})") from error


class _UnfitError(Exception):
    """Why an image that can be read is not used."""


def _header_fault(image: Image.Image, size: tuple[int, int]) -> str:
    """What is wrong with an image whose pixels are not read yet; '' if nothing."""
    if image.mode not in EIGHT_BITS:
        return f"has the mode {image.mode}, must have eight bits a channel"
    if any(";16" in str(tile[3]) for tile in getattr(image, "tile", [])):
        return f"has the mode {image.mode} in sixteen bits, must have eight bits a channel"
    # Which way it is turned may stand behind its pixels.
    if sorted(image.size) != sorted(size):
        return _size_fault(image, size)
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        return f"has {frames} frames, must be one picture"
    return ""


def _size_fault(image: Image.Image, size: tuple[int, int]) -> str:
    found, expected = f"{image.width} x {image.height}", f"{size[0]} x {size[1]}"
    return f"is {found} pixels, must be {expected} (width x height)"


def _on_white(image: Image.Image) -> Image.Image:
    """An image in sRGB, what is transparent in it on white; its other notes are kept."""
    notes = image.getexif().tobytes()
    if image.has_transparency_data:
        # La and RGBa hold colours that are multiplied by their opacity, and convert to one mode alone.
        straight = {"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode)
        layered = image.convert(straight).convert("RGBA")
        colour, opacity = layered.convert("RGB"), layered.getchannel("A")
    else:
        is_print_or_grey = image.mode in ("CMYK", "L")
        colour, opacity = (image.copy() if is_print_or_grey else image.convert("RGB")), None
    colour = _to_srgb(colour, image.info.get("icc_profile"))
    if opacity is not None:
        white = Image.new("RGB", colour.size, "white")
        white.paste(colour, mask=opacity)
        colour = white
    colour.info = {"exif": notes}
    return colour


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Colours by the profile that an image carries, as sRGB; those without one are sRGB."""
    if not profile:
        return image if image.mode == "L" else image.convert("RGB")
    found = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = found.profile.xcolor_space.strip()
    mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(space)
    if mode is None or (mode == "CMYK") != (image.mode == "CMYK"):
        raise _UnfitError(f"has the mode {image.mode} and a colour profile for {space}, must fit each other")
    image = image.convert(mode)
    converted = ImageCms.profileToProfile(image, found, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None  # None is for images that are changed in place
    return converted
