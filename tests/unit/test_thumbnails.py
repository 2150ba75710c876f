"""Small pictures keep the mean of large ones, and drawing them takes no more memory when there are more images."""

import gc
import runpy
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from hessgeo import store
from hessgeo.figures import mosaic
from hessgeo.figures.thumbnails import shrink
from hessgeo.grids import Grid

SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"
SIDE = 128


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype="u1")


def test_whole_blocks_are_averaged():
    images = noise(3, 12, 8, 3)
    blocks = images.reshape(3, 3, 4, 2, 4, 3).mean(axis=(2, 4))
    np.testing.assert_array_equal(shrink(images, 3), np.rint(blocks))


@pytest.mark.parametrize(("side", "shape"), [(13, (13, 8, 3)), (20, (20, 13, 3)), (1, (1, 1, 3))])
def test_mean_and_shape_are_kept(side, shape):
    image = noise(31, 20, 3)
    small = shrink(image, side)
    assert small.shape == shape
    # Each new pixel is rounded by half a unit at most.
    np.testing.assert_allclose(small.mean(axis=(0, 1)), image.mean(axis=(0, 1)), atol=0.5)


def test_small_images_stay_as_they_are():
    images = noise(2, 8, 6, 1)
    assert shrink(images, 8) is images


def test_no_side_is_refused():
    with pytest.raises(ValueError, match="side is 0"):
        shrink(noise(8, 8, 1), 0)


def make_store(folder, count):
    """A store of random images, sixteen a shard, which is one chunk, on the nodes of a grid."""
    path, grid = folder / "study" / "samples" / "layout.zarr", Grid(((0.0, 1.0), (0.0, 1.0)), (count // 8, 8))
    item = (SIDE, SIDE, 3)
    store.create_samples(path, points=grid.points, arrays={"image": (item, "u1")}, shard=16, attributes={})
    for shard in range(count // 16):
        store.write_shard(path, "image", shard, noise(16, *item), about={})
    return path, grid


def peak_bytes(work):
    """Most memory that Python and NumPy hold at once while ``work`` runs."""
    gc.collect()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def draw_mosaic(folder, count):
    path, grid = make_store(folder, count)
    images, boundaries = store.describe_array(path, "image"), {"boundaries": []}
    return peak_bytes(
        lambda: mosaic.draw(**mosaic.gather(boundaries, grid.points, images, grid=grid, tiles=4))
    )


def check_samples(folder, count):
    path, _ = make_store(folder, count)
    main = runpy.run_path(str(SCRIPTS / "check_samples.py"))["main"]
    judge = lambda _, images: (np.zeros(len(images), int), images.mean(axis=(1, 2, 3)))  # noqa: E731
    main.__globals__.update(load_classifier=lambda _: None, recognise=judge)
    return peak_bytes(lambda: main(path, None, folder / "samples.json"))


@pytest.mark.parametrize("script", [draw_mosaic, check_samples])
def test_memory_does_not_grow_with_the_number_of_images(script, tmp_path):
    script(tmp_path / "first", 16)  # imports and caches
    few, many = (script(tmp_path / str(count), count) for count in (64, 256))
    # 192 more images are 9 MB. What grows are points and paths; what differs by chance are the chunks that happen to be
    # decoded at once and what waits for the garbage collector, together a few MB.
    assert many - few < 192 * SIDE * SIDE * 3 / 2


def test_rows_are_read_in_little_more_than_their_own_memory(tmp_path):
    path, _ = make_store(tmp_path, 128)
    # All but one, so that they are no slice; the rest are a chunk of 16 images, as bytes and decoded.
    peak = peak_bytes(lambda: store.read_rows(path, "image", np.arange(1, 128)))
    assert peak < 2 * 127 * SIDE * SIDE * 3
