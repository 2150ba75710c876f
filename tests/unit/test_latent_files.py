"""Latents in files, and whether three of them span a plane."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hessgeo.systems import latent_files
from hessgeo.systems.latent_files import find_latents, latent_fault, load_latents, plane_fault

SHAPE = (3, 4, 6, 5)


def write(path, tensor):
    kind = path.suffix
    if kind == ".npy":
        np.save(path, tensor.numpy())
    elif kind == ".safetensors":
        save_file({"latents": tensor.contiguous()}, path)
    else:
        torch.save({"latents": tensor} if kind == ".pth" else tensor, path)
    return path


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


KINDS = pytest.mark.parametrize("kind", [".npy", ".safetensors", ".pt", ".pth"])


@KINDS
@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int32], ids=str
)
@pytest.mark.parametrize("shape", [SHAPE, (3, 1, 4, 6, 5), (1, 3, 4, 1, 6, 5)])
def test_batches_of_one_are_latents(tmp_path, kind, dtype, shape):
    if kind == ".npy" and dtype == torch.bfloat16:
        pytest.skip("NumPy has no bfloat16")
    tensor = (100 * torch.from_numpy(noise(*shape))).to(dtype)
    loaded = load_latents(write(tmp_path / f"x{kind}", tensor), SHAPE)
    assert loaded.dtype == np.float64
    # Every value of a shorter type is one of float64.
    assert np.array_equal(loaded, tensor.double().numpy().reshape(SHAPE))


def test_the_layout_of_published_anchors(tmp_path):
    torch.save(torch.from_numpy(noise(3, 1, 4, 64, 64)).half(), tmp_path / "stable_version_latents.pt")
    assert load_latents(tmp_path / "stable_version_latents.pt", (3, 4, 64, 64)).shape == (3, 4, 64, 64)


@KINDS
@pytest.mark.parametrize("shape", [(4, 3, 6, 5), (12, 6, 5), (2, 4, 6, 5), (), (1,)])
def test_other_shapes_are_refused(tmp_path, kind, shape):
    path = write(tmp_path / f"x{kind}", torch.ones(shape))
    with pytest.raises(
        ValueError, match=r"holds float32 of shape .*, must be real numbers of shape \(3, 4, 6, 5\)"
    ):
        find_latents(path, SHAPE)


@KINDS
@pytest.mark.parametrize("dtype", [torch.bool, torch.complex64], ids=str)
def test_other_types_are_refused(tmp_path, kind, dtype):
    with pytest.raises(ValueError, match=r"must be real numbers of shape"):
        find_latents(write(tmp_path / f"x{kind}", torch.ones(SHAPE, dtype=dtype)), SHAPE)


@pytest.mark.parametrize(
    "content", [np.full(SHAPE, "a"), np.full(SHAPE, None), np.zeros(SHAPE, "V3"), np.zeros(SHAPE, "M8[s]")]
)
def test_arrays_of_no_numbers_are_refused(tmp_path, content):
    np.save(tmp_path / "x.npy", content)
    with pytest.raises(ValueError, match=r"must be (a latent file of )?real numbers of shape") as raised:
        find_latents(tmp_path / "x.npy", SHAPE)
    assert "\n" not in str(raised.value)


@KINDS
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(tmp_path, kind, value):
    tensor = torch.from_numpy(noise(*SHAPE))
    tensor[1, 2, 3, 4] = value
    with pytest.raises(ValueError, match="holds 1 numbers that are not finite"):
        load_latents(write(tmp_path / f"x{kind}", tensor), SHAPE)


def test_several_tensors_are_refused(tmp_path):
    torch.save({"a": torch.ones(SHAPE), "b": torch.ones(SHAPE)}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="holds 2 tensors, must hold one"):
        find_latents(tmp_path / "x.pt", SHAPE)
    torch.save({"step": 3}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="holds 0 tensors, must hold one"):
        find_latents(tmp_path / "x.pt", SHAPE)


def test_a_view_of_a_small_batch_is_read_and_of_a_huge_one_refused(tmp_path, monkeypatch):
    batch = torch.from_numpy(noise(7, *SHAPE))
    torch.save(batch[3], tmp_path / "x.pt")
    assert np.array_equal(load_latents(tmp_path / "x.pt", SHAPE), batch[3].numpy())
    monkeypatch.setattr(latent_files, "LARGEST_STORAGE", 4 * batch[0].nbytes - 1)
    with pytest.raises(ValueError, match="must be saved as a copy"):
        find_latents(tmp_path / "x.pt", SHAPE)


@KINDS
def test_a_file_of_anything_else_is_one_line(tmp_path, kind):
    path = tmp_path / f"x{kind}"
    for content in (b"", b"nothing of the kind", write(path, torch.ones(SHAPE)).read_bytes()[:-40]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=str(path)) as raised:
            find_latents(path, SHAPE)
        assert "\n" not in str(raised.value)


def test_a_latent_is_finite_and_not_constant():
    latent = noise(4, 6, 5)
    assert latent_fault(latent) == ""
    assert latent_fault(np.array([3.0])) == "", "the only number of a latent may be any"
    assert latent_fault(0 * latent + 2) == "is 2 everywhere"
    latent[0, 0, 0] = np.inf
    assert "not finite" in latent_fault(latent)


# --- planes ---


def saved(z, dtype):
    return torch.from_numpy(z).to(dtype).double().numpy()


PRECISIONS = {
    torch.float64: 2.0**-23,
    torch.float32: 2.0**-23,
    torch.float16: 2.0**-10,
    torch.bfloat16: 2.0**-7,
}
TYPES = pytest.mark.parametrize(("dtype", "precision"), PRECISIONS.items(), ids=str)


@TYPES
@pytest.mark.parametrize("normalisation", ["sphere", "std", "anchors", "none"])
def test_noise_spans_a_plane(dtype, precision, normalisation):
    assert plane_fault(saved(noise(3, 4, 8, 8), dtype), normalisation, precision) == ""


@TYPES
@pytest.mark.parametrize("share", [0.5, -1.3, 7.0, 1e-3])
def test_a_line_is_no_plane_however_it_was_rounded(dtype, precision, share):
    z0, z1 = noise(2, 4, 8, 8)
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        z = saved(np.stack([z0, z1, z0 + share * (z1 - z0)])[list(order)], dtype)
        assert "on a line" in plane_fault(z, "none", precision) or "are one latent" in plane_fault(
            z, "none", precision
        )


@TYPES
def test_two_that_are_equal_are_no_plane(dtype, precision):
    z = noise(3, 4, 8, 8)
    z[2] = z[0] * (1 + 1e-9)
    assert "anchors 1 and 3 are one latent" in plane_fault(saved(z, dtype), "none", precision)


def test_a_small_triangle_is_a_plane():
    z0, e1, e2 = noise(3, 4, 64, 64)
    z = np.stack([z0, z0 + 1e-5 * e1, z0 + 1e-5 * e2])
    for normalisation in ("sphere", "std", "anchors", "none"):
        assert plane_fault(z, normalisation) == ""
        assert plane_fault(saved(z, torch.float32), normalisation) == ""


def test_a_plane_through_the_origin_is_a_line_once_normalised():
    z0, z1 = noise(2, 4, 8, 8)
    z = np.stack([z0, z1, 0.3 * z0 - 2.0 * z1])
    assert plane_fault(z, "none") == plane_fault(z, "anchors") == ""
    assert "goes through the origin" in plane_fault(z, "sphere")
    assert "goes through the origin" in plane_fault(z, "std")
    assert "goes through the origin" in plane_fault(noise(3, 2), "sphere"), "every plane of two numbers does"
    assert plane_fault(noise(3, 2), "none") == ""
    assert "on a line" in plane_fault(noise(3, 1), "none")
