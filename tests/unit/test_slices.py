"""Latent slices."""

import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hessgeo.systems.slices import LatentSlice, load_anchors, load_latents, random_anchors, random_latent

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


def test_normalised_by_the_anchors_every_anchor_comes_back(anchors):
    uneven = anchors * np.array([0.6, 1.0, 1.3])[:, None, None, None]
    plane = LatentSlice(uneven, ((-0.2, 1.2), (-0.2, 1.2)), "anchors")
    # Float64: the norm that is divided by is that which is multiplied by, up to rounding.
    assert np.allclose(plane.latents(CORNERS), uneven, rtol=1e-14, atol=0)


def test_norms_between_anchors_are_interpolated(anchors):
    uneven = anchors * np.array([0.6, 1.0, 1.3])[:, None, None, None]
    plane = LatentSlice(uneven, ((-0.2, 1.2), (-0.2, 1.2)), "anchors")
    t = np.random.default_rng(0).uniform(-0.2, 1.2, (50, 2))
    r0, r1, r2 = np.linalg.norm(uneven.reshape(3, -1), axis=1)
    expected = r0 + t[:, 0] * (r1 - r0) + t[:, 1] * (r2 - r0)
    assert np.allclose(np.linalg.norm(plane.latents(t).reshape(50, -1), axis=1), expected, rtol=1e-13)
    straight = LatentSlice(uneven, plane.extent, "none").latents(t)
    cosine = (plane.latents(t) * straight).sum((1, 2, 3)) / (
        expected * np.linalg.norm(straight.reshape(50, -1), axis=1)
    )
    assert np.allclose(cosine, 1, atol=1e-13)


def test_anchors_whose_norm_turns_negative_are_refused(anchors):
    uneven = anchors * np.array([1.0, 0.1, 1.0])[:, None, None, None]
    LatentSlice(uneven, ((-0.5, 1.0), (0.0, 1.0)), "anchors")
    # The norm at a = 2 is 1 - 2 (1 - 0.1) of the first anchor's.
    with pytest.raises(ValueError, match="extrapolate to a negative one") as error:
        LatentSlice(uneven, ((-0.5, 2.0), (0.0, 1.0)), "anchors")
    assert "\n" not in str(error.value)
    LatentSlice(uneven, ((-0.5, 2.0), (0.0, 1.0)), "sphere")


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
    with pytest.raises(ValueError, match="holds Python objects"):
        load_anchors(path, LATENT)
    np.savez(tmp_path / "anchors.npz", anchors)
    with pytest.raises(ValueError, match=r"must be a \.npy, \.safetensors, \.pt or \.pth file"):
        load_anchors(tmp_path / "anchors.npz", LATENT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int32])
def test_latents_of_safetensors_files(tmp_path, dtype):
    path, latents = tmp_path / "latent.safetensors", torch.linspace(-3, 3, 40).view(LATENT).to(dtype)
    save_file({"whatever": latents}, path)
    loaded = load_latents(path, LATENT)
    assert loaded.dtype == np.float64
    # Every value of a shorter type is one of float64.
    assert np.array_equal(loaded, latents.double().numpy())


def test_safetensors_files_are_refused(tmp_path):
    path = tmp_path / "latent.safetensors"
    allowed = re.escape(f"must be real numbers of shape {LATENT}")
    with pytest.raises(ValueError, match="is missing"):
        load_latents(path, LATENT)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="is not a safetensors file"):
        load_latents(path, LATENT)
    save_file({"a": torch.zeros(LATENT), "b": torch.zeros(LATENT)}, path)
    with pytest.raises(ValueError, match="holds 2 tensors, must hold one"):
        load_latents(path, LATENT)
    save_file({"a": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match=rf"holds float32 of shape \(3,\), {allowed}"):
        load_latents(path, LATENT)
    save_file({"a": torch.zeros(LATENT, dtype=torch.complex64)}, path)
    with pytest.raises(ValueError, match=f"holds C64 .*{allowed}"):
        load_latents(path, LATENT)


def test_anchors_of_seeds_and_files(tmp_path, anchors):
    save_file({"latent": torch.from_numpy(anchors[1])}, tmp_path / "one.safetensors")
    np.save(tmp_path / "two.npy", anchors[2])
    mixed = load_anchors([5, str(tmp_path / "one.safetensors"), str(tmp_path / "two.npy")], LATENT)
    assert np.array_equal(mixed, np.stack([random_latent(5, LATENT), anchors[1], anchors[2]]))
    assert np.array_equal(random_latent(5, LATENT), random_anchors(5, LATENT)[0])
    with pytest.raises(ValueError, match=r"^missing\.npy is missing, must be a latent file"):
        load_anchors([5, 6, "missing.npy"], LATENT)
    with pytest.raises(ValueError, match=r"^anchor cat\.JPG is an image"):
        load_anchors([5, "cat.JPG", "missing.npy"], LATENT)


def slerp(share, z0, z1):
    """Shoemake's formula for directions, times the norms interpolated linearly."""
    n0, n1 = np.linalg.norm(z0), np.linalg.norm(z1)
    angle = np.arccos(np.clip(np.vdot(z0, z1) / (n0 * n1), -1, 1))
    u = (np.sin((1 - share) * angle) * z0 / n0 + np.sin(share * angle) * z1 / n1) / np.sin(angle)
    return u * ((1 - share) * n0 + share * n1)


def test_spherical_axes_are_great_circles_through_the_anchors(anchors):
    plane = LatentSlice(anchors, BOX, "none", interpolation="spherical")
    corners = plane.latents(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    np.testing.assert_allclose(corners, anchors, rtol=1e-12, atol=1e-12)
    for share in (-0.7, 0.3, 1.6):
        found = plane.latents(np.array([[share, 0.0], [0.0, share]]))
        np.testing.assert_allclose(found[0], slerp(share, anchors[0], anchors[1]), atol=1e-12)
        np.testing.assert_allclose(found[1], slerp(share, anchors[0], anchors[2]), atol=1e-12)


def test_spherical_interpolation_keeps_to_the_sphere_without_being_told(anchors):
    unit = anchors / np.linalg.norm(anchors.reshape(3, -1), axis=1).reshape(3, *[1] * (anchors.ndim - 1))
    plane = LatentSlice(unit, BOX, "none", interpolation="spherical")
    norms = np.linalg.norm(plane.latents(points()).reshape(200, -1), axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-12)


@pytest.mark.parametrize("second", ["opposite", "zero"])
def test_anchors_without_a_great_circle_are_refused(anchors, second):
    other = -2 * anchors[0] if second == "opposite" else 0 * anchors[0]
    with pytest.raises(ValueError, match="zero or opposite"), np.errstate(invalid="ignore"):
        LatentSlice(np.stack([anchors[0], other, anchors[2]]), BOX, interpolation="spherical")


def test_a_parameter_that_moves_no_latent_leaves_it(anchors):
    both = LatentSlice(anchors, BOX, "none")
    second = LatentSlice(anchors, BOX, "none", axes=("guidance", "latent"))
    t = points()
    # The first anchor that is moved to is the second one, whichever parameter moves there.
    np.testing.assert_array_equal(
        second.latents(t), both.latents(np.column_stack([t[:, 1], np.zeros(len(t))]))
    )
    still = LatentSlice(anchors, BOX, "none", axes=("prompt", "guidance"))
    told = still.conditions(t)
    assert list(told) == ["prompt", "guidance"]
    np.testing.assert_array_equal(told["guidance"], t[:, 1])
    with pytest.raises(ValueError, match="each condition at most once"):
        LatentSlice(anchors, BOX, axes=("lora", "lora"))
    np.testing.assert_array_equal(still.latents(t), np.broadcast_to(anchors[0], (len(t), *anchors.shape[1:])))
