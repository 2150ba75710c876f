"""The figure of inverted images."""

import numpy as np
import pytest

from hessgeo.figures import inversion

NUMBERS = {
    "radius": [1.0, 1.0, 0.9],
    "images": ["cat.png", "dog.png"],
    "error": [0.1, 0.2],
    "error_in_slice": [0.15, 0.25],
    "error_of_autoencoder": [0.01, 0.02],
    "residual": [1e-3, 2e-3],
}


def pictures(channels, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (2, 12, 16, channels), dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_has_a_row_with_its_reconstruction_and_their_difference(channels):
    images, made = pictures(channels), pictures(channels, 1)
    figure, table = inversion.draw(images, made, NUMBERS)
    shown = [axis.images[0].get_array() for axis in figure.axes]
    assert len(shown) == 6
    assert np.array_equal(np.asarray(shown[3]).reshape(images[1].shape), images[1])
    assert np.array_equal(np.asarray(shown[4]).reshape(images[1].shape), made[1])
    difference = np.asarray(shown[5]).reshape(images[1].shape).astype(int) - 128
    # Half the difference, in whole levels.
    assert np.abs(2 * difference - (made[1].astype(int) - images[1])).max() <= 2
    assert list(table["error_in_slice"]) == [0.15, 0.25]
    assert "radius" not in table, "that is of the anchors, not of the images"
    assert "0.25" in figure.axes[4].texts[0].get_text()


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(ValueError, match="do not belong together"):
        inversion.draw(pictures(3), pictures(1), NUMBERS)
    with pytest.raises(ValueError, match="do not belong together"):
        inversion.draw(pictures(3), pictures(3), NUMBERS | {"images": ["cat.png"]})
