"""The digits, their measured strokes, their captions and their jitter."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from hessgeo.models.digits import DIGIT_WORDS, STROKE_WORDS, captions, jitter, load_digits, stroke_measures


@pytest.fixture(scope="module")
def digits():
    return load_digits(held_out=0.2, seed=3)


def ellipse(slant=0.0, width=1.0, ink=200.0, size=33):
    """A smooth blob with the given shear (to the right) and horizontal standard deviation at no shear."""
    y, x = np.mgrid[size // 2 : -(size // 2) - 1 : -1, -(size // 2) : size // 2 + 1]
    blob = np.exp(-(((x - slant * y) / width) ** 2 + (y / 4) ** 2) / 2)
    return np.round(ink * blob).astype(np.uint8)[None, ..., None]


def test_split_is_stratified_and_disjoint(digits):
    assert len(digits.train) + len(digits.test) == 1797
    share = np.bincount(digits.test.labels) / np.bincount(
        np.concatenate([digits.train.labels, digits.test.labels])
    )
    # 0.2 of about 180 images a digit, rounded to an image.
    assert np.all(np.abs(share - 0.2) < 1 / 170)
    assert digits.train.images.dtype == np.uint8
    assert digits.train.images.shape[1:] == (8, 8, 1)
    assert digits.train.images.max() == 255
    again, other = load_digits(held_out=0.2, seed=3), load_digits(held_out=0.2, seed=4)
    assert np.array_equal(again.test.images, digits.test.images)
    assert not np.array_equal(other.test.images, digits.test.images)


def test_captions_name_the_digit_and_split_each_measure_in_thirds(digits):
    split = [caption.removeprefix("a ").replace(",", "").split() for caption in digits.train.captions]
    assert [row[3] for row in split] == [DIGIT_WORDS[label] for label in digits.train.labels]
    for position, words in enumerate(STROKE_WORDS):
        counts = [sum(row[position] == word for row in split) for word in words]
        # Terciles of 1,437 images; equal measures (the ink takes few values) keep a third from being exact.
        assert np.all(np.abs(np.array(counts) / len(split) - 1 / 3) < 0.02)


def test_captions_follow_the_terciles():
    terciles = np.array([[1.0, 1, 1], [2, 2, 2]])
    said = captions(np.array([[0.5, 1.5, 2.5], [3, 3, 0]]), np.array([7, 0]), terciles)
    assert said == ["a thin, upright, wide seven", "a bold, right-leaning, narrow zero"]


@pytest.mark.parametrize("slant", [-0.6, 0.0, 0.4])
@pytest.mark.parametrize("width", [1.5, 2.5])
def test_measures_of_a_sheared_gaussian_are_its_parameters(slant, width):
    _, measured_slant, measured_width = stroke_measures(ellipse(slant, width))[0]
    # Sampling a Gaussian of 1.5 pixels or more at whole pixels costs 1e-4; rounding to 8 bits costs the rest.
    assert measured_slant == pytest.approx(slant, abs=0.01)
    assert measured_width == pytest.approx(width, rel=0.01)


def test_measures_grow_with_known_shears_and_dilations(digits):
    images = digits.train.images[:50]
    padded = np.pad(images, ((0, 0), (6, 6), (6, 6), (0, 0)))
    by_shear = []
    for shear in (-0.5, 0.0, 0.5):
        # output[y, x] reads input[y, x + shear (y - centre)]: rows above the centre (small y) move right.
        matrix, centre = np.array([[1, 0], [shear, 1]]), 9.5
        sheared = [
            ndimage.affine_transform(
                image[..., 0].astype(float), matrix, offset=[0, -shear * centre], order=1
            )
            for image in padded
        ]
        by_shear.append(stroke_measures(np.clip(sheared, 0, 255).astype(np.uint8)[..., None]))
    slants = np.array(by_shear)[:, :, 1]
    # A shear adds to the slant exactly; bilinear reading and 8 bits blur it by a few hundredths.
    assert np.allclose(np.diff(slants, axis=0), 0.5, atol=0.08)
    thick = np.stack([ndimage.grey_dilation(image[..., 0], size=(3, 3)) for image in padded])[..., None]
    assert np.all(stroke_measures(thick)[:, 0] > stroke_measures(padded)[:, 0])
    stretched = np.repeat(padded, 2, axis=2)
    wider = stroke_measures(stretched)[:, 2] / stroke_measures(padded)[:, 2]
    # Twice the columns, twice the spread; a pixel's own width adds 1/4 to the doubled variance.
    assert np.all((wider > 1.99) & (wider < 2.3))


def test_width_ignores_the_slant():
    widths = [stroke_measures(ellipse(slant, 1.5))[0, 2] for slant in (-0.8, 0.0, 0.8)]
    assert np.ptp(widths) < 0.02


@pytest.mark.parametrize("held_out", [0.0, 1.0, -0.2, 1.5])
def test_held_out_must_be_a_share(held_out):
    with pytest.raises(ValueError, match="held_out"):
        load_digits(held_out=held_out, seed=0)


def test_strokes_of_degenerate_images_are_refused():
    blank = np.zeros((2, 8, 8, 1), dtype=np.uint8)
    blank[0, 2:4] = 9
    with pytest.raises(ValueError, match="image 1 is blank"):
        stroke_measures(blank)
    row = np.zeros((1, 8, 8, 1), dtype=np.uint8)
    row[0, 4] = 200
    with pytest.raises(ValueError, match="one row"):
        stroke_measures(row)


def test_jitter_moves_the_centre_of_ink_by_the_shift_it_names(digits):
    ink = torch.zeros((2000, 1, 8, 8))
    ink[:, 0, 3:5, 3:5] = 1
    moved = jitter(ink, torch.Generator().manual_seed(0), shift=0.5, noise=0.0)[:, 0]
    axis = torch.arange(8.0) - 3.5
    for weights in (moved.sum(1), moved.sum(2)):
        centre = (weights * axis).sum(1) / weights.sum(1)
        # Standard error of a standard deviation from 2,000 draws: 0.5 / sqrt(4000) = 0.008.
        assert centre.std().item() == pytest.approx(0.5, abs=0.03)
        assert abs(centre.mean().item()) < 0.04
    still = jitter(ink, torch.Generator().manual_seed(0), shift=0.0, noise=0.0)
    assert torch.allclose(still, ink, atol=1e-6)
    noisy = jitter(torch.full((500, 1, 8, 8), 0.5), torch.Generator().manual_seed(0), shift=0.0, noise=0.1)
    assert noisy.std().item() == pytest.approx(0.1, rel=0.02)
