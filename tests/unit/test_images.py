"""Images that anchors are made of."""

import re

import numpy as np
import pytest
from PIL import Image

from hessgeo.systems.images import load_image

ORIENTATION = 0x0112  # tag of the Exif standard


def pixels(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_come_back(tmp_path, suffix, channels):
    image = pixels((6, 4, channels))
    Image.fromarray(image.squeeze()).save(tmp_path / f"image.{suffix}")
    loaded = load_image(tmp_path / f"image.{suffix}", image.shape)
    assert loaded.dtype == np.uint8
    assert np.array_equal(loaded, image)


@pytest.mark.parametrize(
    ("orientation", "as_stored"),
    [
        (1, lambda upright: upright),
        (3, lambda upright: upright[::-1, ::-1]),
        # The camera was turned: what is stored is the picture turned back, so that its first row is a side.
        (6, lambda upright: np.rot90(upright, 1)),
        (8, lambda upright: np.rot90(upright, -1)),
    ],
)
def test_a_photograph_is_turned_upright(tmp_path, orientation, as_stored):
    upright = pixels((6, 4, 3))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = np.ascontiguousarray(as_stored(upright))
    Image.fromarray(stored).save(tmp_path / "photograph.png", exif=exif)
    assert np.array_equal(load_image(tmp_path / "photograph.png", upright.shape), upright)


def test_colour_becomes_grey_and_grey_becomes_colour(tmp_path):
    grey, colour = pixels((5, 7)), pixels((5, 7, 3), 1)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(colour).save(tmp_path / "colour.png")
    assert np.array_equal(
        load_image(tmp_path / "grey.png", (5, 7, 3)), np.repeat(grey[..., None], 3, axis=-1)
    )
    luma = colour @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    found = load_image(tmp_path / "colour.png", (5, 7, 1))
    assert found.shape == (5, 7, 1)
    assert np.abs(found[..., 0] - luma).max() <= 1  # a whole level, however it rounds


def test_a_palette_and_a_transparent_image_are_read_as_colour(tmp_path):
    image = pixels((4, 4, 3)) // 128 * 255  # eight colours, which a palette holds
    Image.fromarray(image).quantize(8).save(tmp_path / "palette.png")
    assert np.array_equal(load_image(tmp_path / "palette.png", (4, 4, 3)), image)
    opaque = np.concatenate([image, np.full((4, 4, 1), 255, dtype=np.uint8)], axis=-1)
    Image.fromarray(opaque).save(tmp_path / "transparent.png")
    assert np.array_equal(load_image(tmp_path / "transparent.png", (4, 4, 3)), image)


def refused(path, shape):
    with pytest.raises(ValueError, match=f"^(?:image )?{re.escape(str(path))} ") as error:
        load_image(path, shape)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_refusals(tmp_path):
    path = tmp_path / "image.png"
    assert refused(path, (4, 4, 3)) == f"{path} is missing, must be an image of 4 x 4 pixels"
    path.write_bytes(b"no image at all")
    assert refused(path, (4, 4, 3)).startswith(f"image {path} cannot be read (")
    Image.fromarray(pixels((6, 4, 3))).save(path)
    assert refused(path, (4, 6, 3)) == f"image {path} is 4 x 6 pixels, must be 6 x 4 (width x height)"
    path.write_bytes(path.read_bytes()[:60])
    assert refused(path, (6, 4, 3)).startswith(f"image {path} cannot be read (")


def test_sixteen_bits_are_refused_and_not_clipped_to_white(tmp_path):
    Image.fromarray(np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match="has the mode I;16, must have eight bits a channel"):
        load_image(tmp_path / "deep.png", (8, 8, 1))
