"""Images that anchors are made of."""

import random
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from hessgeo.systems.images import _on_white, load_image

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


# --- transparency ---


def on_white(colour, opacity):
    """As a page shows it: ``colour opacity + 255 (1 - opacity)``, in the values that are stored."""
    share = opacity[..., None] / 255
    return colour * share + 255 * (1 - share)


def cutout(hidden):
    """A disc of some colour, half transparent at its rim, in a background that nobody sees."""
    y, x = np.mgrid[:12, :12]
    opacity = np.clip((5 - np.hypot(x - 5.5, y - 5.5)) * 128, 0, 255).astype(np.uint8)
    colour = np.where((opacity > 0)[..., None], pixels((12, 12, 3), 2), hidden).astype(np.uint8)
    return colour, opacity


@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_hidden_does_not_matter(tmp_path, suffix, channels):
    found = []
    for hidden in (0, 240, 255):
        colour, opacity = cutout(hidden)
        path = tmp_path / f"{hidden}.{suffix}"
        Image.fromarray(np.dstack([colour, opacity])).save(path, lossless=True, exact=True)
        found.append(load_image(path, (12, 12, channels)))
        seen = on_white(colour, opacity)
        expected = seen @ np.array([0.299, 0.587, 0.114]) if channels == 1 else seen
        # A level for the rounding of the composite, one for that of the grey.
        assert np.abs(found[-1].squeeze() - expected).max() <= (2 if channels == 1 else 1)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def transparent(mode):
    """An image of each mode that can be transparent, and as it looks on white."""
    colour, opacity = cutout(30)
    rgba = Image.fromarray(np.dstack([colour, opacity]))
    grey = colour[..., 0]
    key = np.where(opacity[..., None] > 128, colour, (9, 8, 7)).astype(np.uint8)
    hard = np.where(opacity > 128, 255, 0)
    if mode in ("LA", "La"):
        image = Image.fromarray(np.dstack([grey, opacity]), "LA").convert(mode)
        return image, on_white(np.repeat(grey[..., None], 3, axis=-1), opacity), {}
    if mode == "RGBa":
        return rgba.convert("RGBa"), on_white(colour, opacity), {}
    if mode == "RGB":
        return Image.fromarray(key), on_white(key, hard), {"transparency": (9, 8, 7)}
    if mode == "L":
        grey = np.where(opacity > 128, np.clip(grey, 10, 255), 7).astype(np.uint8)
        return (
            Image.fromarray(grey),
            on_white(np.repeat(grey[..., None], 3, axis=-1), hard),
            {"transparency": 7},
        )
    if mode == "1":
        return (
            Image.fromarray(grey > 128),
            np.full((12, 12, 3), 255.0),
            {"transparency": 0},
        )
    # A palette of 12 x 12 colours, each with an opacity of its own.
    image = Image.fromarray(np.arange(144, dtype=np.uint8).reshape(12, 12), "P")
    image.putpalette(colour.tobytes())
    return image, on_white(colour, opacity), {"transparency": opacity.tobytes()}


@pytest.mark.parametrize("mode", ["LA", "RGB", "L", "1", "P"])
def test_every_kind_of_transparency_shows_white(tmp_path, mode):
    image, expected, options = transparent(mode)
    image.save(tmp_path / "image.png", **options)
    with Image.open(tmp_path / "image.png") as stored:
        assert (stored.mode, stored.has_transparency_data) == (mode, True)
    assert np.abs(load_image(tmp_path / "image.png", (12, 12, 3)) - expected).max() <= 1


@pytest.mark.parametrize("mode", ["La", "RGBa"])
def test_colours_multiplied_by_their_opacity_are_not_multiplied_again(mode):
    # No format that is read here gives them, but a plug-in may.
    image, expected, _ = transparent(mode)
    # Premultiplied eight bits keep a colour to half a level over its opacity, on white to about one.
    assert np.abs(np.asarray(_on_white(image)) - expected).max() <= 2


def test_a_transparent_photograph_is_turned_too(tmp_path):
    colour, opacity = cutout(0)
    opacity[:3] = 0
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    stored = np.rot90(np.dstack([colour, opacity])[:, :8], 1)
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "image.png", exif=exif)
    expected = on_white(colour, opacity)[:, :8]
    assert np.abs(load_image(tmp_path / "image.png", (12, 8, 3)) - expected).max() <= 1


# --- colours ---


def swapped_profile():
    """A profile of sRGB with red and green exchanged: what it calls red is what sRGB calls green."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    # An entry of the table: signature, offset, length.
    profile[red + 4 : red + 12], profile[green + 4 : green + 12] = (
        profile[green + 4 : green + 12],
        profile[red + 4 : red + 12],
    )
    return bytes(profile)


@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
@pytest.mark.parametrize("opacity", [None, 255, 100])
def test_colours_are_those_of_the_profile(tmp_path, suffix, opacity):
    image = pixels((6, 5, 3))
    layers = image if opacity is None else np.dstack([image, np.full((6, 5), opacity, np.uint8)])
    options = {"icc_profile": swapped_profile(), "lossless": True}
    Image.fromarray(layers).save(tmp_path / f"image.{suffix}", **options)
    expected = on_white(image[..., [1, 0, 2]], np.full((6, 5), 255 if opacity is None else opacity))
    # A level for the conversion, one for the composite.
    assert np.abs(load_image(tmp_path / f"image.{suffix}", (6, 5, 3)) - expected).max() <= 2


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3)])
def test_srgb_stays_as_it_is(tmp_path, shape):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(pixels(shape)).save(tmp_path / "image.png", icc_profile=profile)
    expected = pixels(shape) if len(shape) == 3 else np.repeat(pixels(shape)[..., None], 3, axis=-1)
    assert np.array_equal(load_image(tmp_path / "image.png", (6, 5, 3)), expected)


def test_inks_become_colours(tmp_path):
    inks = np.zeros((2, 2, 4), dtype=np.uint8)
    inks[0, 1, 3] = inks[1, 0, 0] = inks[1, 1, 1] = 255
    Image.fromarray(inks, "CMYK").save(tmp_path / "image.tiff")
    expected = [[[255, 255, 255], [0, 0, 0]], [[0, 255, 255], [255, 0, 255]]]
    assert load_image(tmp_path / "image.tiff", (2, 2, 3)).tolist() == expected


def test_a_profile_of_other_colours_is_refused(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("CMYK", (4, 4)).save(tmp_path / "image.tiff", icc_profile=profile)
    assert "the mode CMYK and a colour profile for RGB" in refused(tmp_path / "image.tiff", (4, 4, 3))
    Image.new("RGB", (4, 4)).save(tmp_path / "image.png", icc_profile=b"no profile")
    assert "cannot be read" in refused(tmp_path / "image.png", (4, 4, 3))


# --- what is refused before a pixel is read ---


def test_sixteen_bits_of_colour_are_refused_too(tmp_path):
    # Pillow writes none: a header, and rows of zeros.
    rows = zlib.compress((b"\0" + bytes(4 * 8)) * 4)
    header = struct.pack(">IIBBBBB", 4, 4, 16, 6, 0, 0, 0)
    (tmp_path / "image.png").write_bytes(png(header, rows))
    assert "must have eight bits a channel" in refused(tmp_path / "image.png", (4, 4, 3))


def png(header, rows):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [60_000, 12_000, 100])
def test_the_size_is_refused_before_pixels_are_read(tmp_path, side, recwarn):
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    # Pixels that cannot be read: a refusal that names the size has not tried.
    (tmp_path / "image.png").write_bytes(png(header, b"no zlib stream"))
    line = refused(tmp_path / "image.png", (8, 8, 3))
    assert "far larger than 8 x 8" in line or f"is {side} x {side} pixels, must be 8 x 8" in line
    assert not recwarn.list


def test_several_frames_are_refused(tmp_path):
    frames = [Image.fromarray(pixels((4, 4, 3), seed)) for seed in range(3)]
    for suffix in ("png", "webp", "tiff"):
        path = tmp_path / f"image.{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:])
        assert refused(path, (4, 4, 3)) == f"image {path} has 3 frames, must be one picture"


def test_the_first_picture_of_a_telephone_is_taken(tmp_path):
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("navy", "white"))
    first.save(tmp_path / "image.jpg", "MPO", save_all=True, append_images=[second], quality=100)
    # JPEG keeps one colour to a level or two.
    assert np.abs(load_image(tmp_path / "image.jpg", (8, 8, 3)) - np.array([0.0, 0, 128])).max() <= 2


def test_other_formats_are_refused_whatever_their_name(tmp_path):
    path = tmp_path / "image.png"
    Image.new("RGB", (4, 4)).save(path, "EPS")  # to read one starts another program
    assert "is no PNG, JPEG, WebP, BMP or TIFF" in refused(path, (4, 4, 3))
    Image.new("RGB", (4, 4)).save(path, "GIF")
    assert "is no PNG, JPEG, WebP, BMP or TIFF" in refused(path, (4, 4, 3))


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "webp", "bmp"])
def test_damage_is_one_line_or_an_image(tmp_path, suffix):
    whole, chance = tmp_path / f"image.{suffix}", random.Random(0)
    Image.fromarray(pixels((8, 8, 3))).save(whole)
    content = whole.read_bytes()
    for _ in range(100):
        damaged = bytearray(content)
        for place in chance.sample(range(len(content)), 3):
            damaged[place] = chance.randrange(256)
        whole.write_bytes(damaged[: chance.choice([len(content), chance.randrange(len(content))])])
        try:
            assert load_image(whole, (8, 8, 3)).shape == (8, 8, 3)
        except ValueError as error:
            line = str(error)
            assert line.startswith(f"image {whole} ")
            assert "\n" not in line
