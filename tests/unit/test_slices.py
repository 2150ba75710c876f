"""Latent slices."""

import numpy as np
import pytest

from hessgeo.systems.slices import LatentSlice, load_anchors, random_anchors

BOX = ((-1.0, 2.0), (-1.0, 2.0))
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
LATENT = (2, 4, 5)


@pytest.fixture(scope="module")
def anchors():
    return random_anchors(21, LATENT)


def points(n=200, seed=0):
    return np.random.default_rng(seed).uniform(-1, 2, (n, 2))


def test_anchors_come_back_bit_by_bit(anchors):
    assert np.array_equal(LatentSlice(anchors, BOX, "none").latents(CORNERS), anchors)


@pytest.mark.parametrize("normalisation", ["sphere", "std"])
def test_normalised_anchors_keep_their_direction(anchors, normalisation):
    latents = LatentSlice(anchors, BOX, normalisation).latents(CORNERS)
    cosine = (latents * anchors).sum((1, 2, 3)) / (
        np.linalg.norm(latents.reshape(3, -1), axis=1) * np.linalg.norm(anchors.reshape(3, -1), axis=1)
    )
    assert np.allclose(cosine, 1, atol=1e-14)


def test_plane_is_the_formula(anchors):
    t = points()
    z0, z1, z2 = anchors
    a, b = t.T[:, :, None, None, None]
    expected = z0 + a * (z1 - z0) + b * (z2 - z0)
    # Both orders of the same float64 sums.
    assert np.allclose(LatentSlice(anchors, BOX, "none").latents(t), expected, atol=1e-13)


def test_norms(anchors):
    t, dim = points(), np.prod(LATENT)
    sphere = LatentSlice(anchors, BOX, "sphere").latents(t).reshape(len(t), -1)
    assert np.allclose(np.linalg.norm(sphere, axis=1), np.sqrt(dim), rtol=1e-14)
    spread = LatentSlice(anchors, BOX, "std").latents(t).reshape(len(t), -1)
    assert np.allclose(spread.std(axis=1), 1, rtol=1e-14)
    assert np.ptp(spread.mean(axis=1)) > 1e-3, "std keeps the mean, as the published code does"


def test_random_anchors_depend_on_seed_and_position_alone():
    first = random_anchors(4, (6,))
    assert np.array_equal(first[2], np.random.default_rng([4, 2]).standard_normal(6))
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first, random_anchors(5, (6,)))


def test_outside_the_box_is_refused(anchors):
    with pytest.raises(ValueError, match="outside the extent"):
        LatentSlice(anchors, BOX).latents(np.array([[0.0, 2.1]]))


@pytest.mark.parametrize("normalisation", ["sphere", "std"])
def test_latent_without_a_scale_is_refused(normalisation):
    flat = LatentSlice(np.zeros((3, 4)), BOX, normalisation)
    with pytest.raises(ValueError, match="cannot be normalised"):
        flat.latents(CORNERS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalisation": "cube"}, "sphere, std, anchors, none"),
        ({"anchors": np.ones((2, 4))}, r"\(3, \*latent\)"),
        ({"anchors": np.full((3, 4), np.nan)}, "not finite"),
        ({"extent": ((0.0, 0.0), (0.0, 1.0))}, "must increase"),
    ],
)
def test_bad_slices_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        LatentSlice(**{"anchors": np.ones((3, 4)), "extent": BOX, "normalisation": "none"} | change)


def test_anchor_files(tmp_path, anchors):
    path = tmp_path / "anchors.npy"
    np.save(path, anchors.astype(np.float32))
    loaded = load_anchors(path, LATENT)
    assert loaded.dtype == np.float64
    assert np.array_equal(loaded, anchors.astype(np.float32))
    with pytest.raises(ValueError, match=r"must be real numbers of shape \(3, 1, 8, 8\)"):
        load_anchors(path, (1, 8, 8))
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="plain numeric"):
        load_anchors(path, LATENT)
    np.savez(tmp_path / "anchors.npz", anchors)
    with pytest.raises(ValueError, match="archive"):
        load_anchors(tmp_path / "anchors.npz", LATENT)
