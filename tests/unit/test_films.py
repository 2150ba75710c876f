"""Films: what is read back from a GIF and an MP4 is what was drawn."""

import hashlib
from importlib import import_module

import numpy as np
import pytest
from PIL import Image

from hessgeo.store.films import write_films, write_gif, write_mp4

MILLISECONDS = 80


@pytest.fixture(scope="module")
def frames():
    """A bright square that walks over a ramp of colours, 48 x 32."""
    y, x = np.mgrid[:32, :48]
    ramp = np.stack([4 * x, 6 * y, 200 - 4 * x], axis=-1).astype(np.uint8)
    made = []
    for k in range(7):
        frame = ramp.copy()
        frame[8:24, 4 + 4 * k : 20 + 4 * k] = 240
        made.append(frame)
    return made


def read_mp4(path):
    """Its frames (n, y, x, 3), and what it says of itself."""
    reader = import_module("imageio_ffmpeg").read_frames(str(path))
    about = next(reader)
    width, height = about["size"]
    return np.stack([np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader]), about


def test_an_mp4_holds_the_frames_that_were_drawn(frames, tmp_path):
    write_mp4(tmp_path / "film.mp4", frames, milliseconds=MILLISECONDS)
    found, about = read_mp4(tmp_path / "film.mp4")
    assert found.shape == (7, 32, 48, 3)
    assert about["codec"] == "h264"
    assert about["fps"] == pytest.approx(1000 / MILLISECONDS)
    assert about["duration"] == pytest.approx(7 * MILLISECONDS / 1000, abs=0.01)
    # Colours are stored for every two pixels, so that edges blur; what is flat stays within a few of 255 levels.
    off = np.abs(found.astype(int) - np.stack(frames))
    assert off.mean() < 4
    for k, frame in enumerate(found):
        assert np.abs(frame[12:20, 8 + 4 * k : 16 + 4 * k].astype(int) - 240).max() <= 8
    # Each is nearer to its own than to its neighbours.
    assert off[3].mean() < 0.25 * np.abs(found[3].astype(int) - frames[4]).mean()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4"]


def test_the_same_frames_make_the_same_bytes(frames, tmp_path):
    for name in ("one.mp4", "two.mp4"):
        write_mp4(tmp_path / name, frames, milliseconds=MILLISECONDS)
    one, two = (hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("one.mp4", "two.mp4"))
    assert one == two


def test_a_film_is_written_in_every_format_that_is_asked_for(frames, tmp_path, caplog):
    write_films({kind: tmp_path / f"film.{kind}" for kind in ("gif", "mp4")}, frames, milliseconds=80)
    with Image.open(tmp_path / "film.gif") as gif:
        assert (gif.n_frames, gif.size, gif.info["duration"]) == (7, (48, 32), 80)
        first = np.asarray(gif.convert("RGB")).astype(int)
    assert np.abs(first - frames[0]).mean() < 8  # of 64 colours
    assert len(read_mp4(tmp_path / "film.mp4")[0]) == 7
    assert caplog.text == ""
    write_films({"gif": tmp_path / "film.gif"}, frames, milliseconds=80)
    assert "pip install 'hessgeo[animation]'" in caplog.text


@pytest.mark.parametrize("write", [write_gif, write_mp4])
def test_a_film_without_frames_is_refused_and_nothing_is_left(write, tmp_path):
    with pytest.raises(ValueError, match="at least one frame"):
        write(tmp_path / "film", [], milliseconds=80)
    assert list(tmp_path.iterdir()) == []


def test_odd_sides_are_refused(tmp_path):
    with pytest.raises(ValueError, match="frames are of 9 x 8 pixels, sides must be even"):
        write_mp4(tmp_path / "film.mp4", [np.zeros((8, 9, 3), np.uint8)], milliseconds=80)
