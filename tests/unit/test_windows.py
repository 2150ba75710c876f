"""Windows of latents keep their digits at any depth."""

import numpy as np
import pytest
from mpmath import mp, mpf

from hessgeo.systems.slices import NORMALISATIONS, LatentSlice, random_anchors
from hessgeo.systems.windows import LatentWindow

BOX = ((-0.4, 1.0), (-0.4, 1.0))
CENTRE = (0.3, 0.3)
ANCHORS = random_anchors(3, (2, 3, 2)) * np.array([1.0, 1.3, 0.8])[:, None, None, None]


def window(normalisation, centre=CENTRE):
    return LatentWindow(LatentSlice(ANCHORS, BOX, normalisation), centre)


def steps(width, n=9):
    return width * np.stack(np.meshgrid(*2 * [np.linspace(-1, 1, n)]), axis=-1).reshape(-1, 2)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_wide_windows_are_the_slice(normalisation):
    found = window(normalisation).latents(steps(0.7))
    np.testing.assert_allclose(
        found, window(normalisation).plane.latents(CENTRE + steps(0.7)), rtol=1e-13, atol=1e-14
    )


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_windows_of_1e_12_equal_those_of_1e_6_in_box_units(normalisation):
    wide, narrow = (window(normalisation).offsets(steps(width)) / width for width in (1e-6, 1e-12))
    # Curvature of the sphere is all that differs, of the order of the wider window; the digits do not.
    np.testing.assert_allclose(narrow, wide, atol=2e-5)
    halved = window(normalisation).offsets(steps(0.5e-12)) / 0.5e-12
    np.testing.assert_allclose(narrow, halved, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_a_step_of_1e_12_is_right_to_fifteen_digits(normalisation):
    mp.dps = 60
    step = np.array([[0.7e-12, -1e-12]])
    anchors = [[mpf(float(x)) for x in anchor.ravel()] for anchor in ANCHORS]

    def latent(a, b):
        q = [z0 + a * (z1 - z0) + b * (z2 - z0) for z0, z1, z2 in zip(*anchors, strict=True)]
        mean = sum(q) / len(q) if normalisation == "std" else 0
        norm = mp.sqrt(sum((x - mean) ** 2 for x in q))
        radii = [mp.sqrt(sum(x * x for x in anchor)) for anchor in anchors]
        radius = {
            "none": norm,
            "anchors": radii[0] + a * (radii[1] - radii[0]) + b * (radii[2] - radii[0]),
        }.get(normalisation, mp.sqrt(len(q)))
        return [radius * x / norm for x in q]

    a, b = map(mpf, CENTRE)
    near, far = latent(a, b), latent(a + mpf(step[0, 0]), b + mpf(step[0, 1]))
    exact = np.array([float(y - x) for x, y in zip(near, far, strict=True)])
    found = window(normalisation).offsets(step).ravel()
    # Edges and centre are rounded once each: a few units in the last place of the largest component.
    np.testing.assert_allclose(found, exact, rtol=0, atol=2e-15 * np.abs(exact).max() * 4)


def test_what_is_no_plane_of_latents_is_refused():
    with pytest.raises(ValueError, match="linear in the latents alone"):
        LatentWindow(LatentSlice(ANCHORS, BOX, interpolation="spherical"), CENTRE)
    with pytest.raises(ValueError, match="lies outside the extent"):
        window("sphere", (2.5, 0.0))
