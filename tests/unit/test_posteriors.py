"""The posterior of embedding distances against a brute-force one in float64 and a Gaussian in closed form."""

import numpy as np
import pytest
from pairs import brute_force

from hessgeo.grids import Grid, bilinear_weights
from hessgeo.posteriors import KERNELS, distance, factors, posterior, posterior_rows

BOX = Grid(((-1.0, 2.0), (0.0, 1.0)), (6, 5))
RESOLUTION = {"gaussian": 30.0, "laplace": 8.0}


def scattered(n=300, d=16, seed=0):
    """A smooth unit-norm embedding of scattered parameters."""
    rng = np.random.default_rng(seed)
    t = rng.uniform((-1, 0), (2, 1), (n, 2))
    embedding = np.cos(t @ rng.normal(size=(2, d)) + rng.uniform(0, 6, d))
    return (embedding / np.linalg.norm(embedding, axis=1, keepdims=True)).astype(np.float32), t


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("exclude_self", [False, True])
def test_reductions_equal_brute_force(kernel, exclude_self, monkeypatch):
    monkeypatch.setattr(factors, "COLUMNS", 64)  # several tiles, the last one ragged
    embedding, t = scattered()
    p, log_z = brute_force(embedding, kernel, RESOLUTION[kernel], exclude_self)
    settings = {"kernel": kernel, "resolution": RESOLUTION[kernel], "exclude_self": exclude_self}
    found = posterior(embedding, t, coarse=BOX, **settings)
    entropy = -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=1)
    # Float32 squared distances are good to 1e-7: 3e-6 in a logit at N = 30. The root of the Laplace kernel makes
    # 1e-7 N / d of it, 8e-5 for the closest of these samples, at d = 0.01.
    near = {"gaussian": 1e-5, "laplace": 8e-5}[kernel]
    np.testing.assert_allclose(found.mean, p @ t, atol=near)
    np.testing.assert_allclose(found.marginal, p.sum(axis=0), rtol=near)
    np.testing.assert_allclose(found.entropy, entropy, atol=near)
    np.testing.assert_allclose(found.log_normaliser, log_z, atol=near)
    np.testing.assert_allclose(found.coarse.reshape(len(t), -1), p @ bilinear_weights(t, BOX), atol=near)
    covariance = np.einsum("ij,ja,jb->iab", p, t, t) - np.einsum("ia,ib->iab", p @ t, p @ t)
    np.testing.assert_allclose(found.covariance, covariance, atol=near)
    rows = posterior_rows(embedding, np.arange(0, 300, 7), **settings)
    # Float64 throughout; the Laplace kernel takes the root of a difference of squares, good to 1e-8 at worst.
    np.testing.assert_allclose(rows, p[::7], rtol=1e-6 if kernel == "laplace" else 1e-11, atol=1e-15)


def test_rows_sum_to_one_and_the_marginal_to_n():
    embedding, t = scattered()
    found = posterior(embedding, t, resolution=100.0, coarse=BOX)
    assert found.marginal.sum() == pytest.approx(len(t), rel=1e-6)
    np.testing.assert_allclose(found.coarse.sum(axis=(1, 2)), 1, rtol=1e-5)
    rows = posterior_rows(embedding, np.arange(len(t)), kernel="gaussian", resolution=100.0)
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-13)


def test_the_coarse_posterior_keeps_the_mean():
    embedding, t = scattered()
    found = posterior(embedding, t, resolution=100.0, coarse=BOX)
    # Bilinear weights keep first moments; float32 storage of 30 nodes rounds at 1e-7 each.
    np.testing.assert_allclose(found.coarse.reshape(len(t), -1) @ BOX.points, found.mean, atol=1e-6)


@pytest.mark.parametrize("resolution", [1e-6, 10.0, 1e5])
def test_entropy_lies_between_zero_and_that_of_the_flat_posterior(resolution):
    embedding, t = scattered()
    entropy = posterior(embedding, t, resolution=resolution).entropy
    assert np.all(entropy >= 0)
    assert np.all(entropy <= np.log(len(t)) + 1e-6)
    if resolution == 1e-6:
        np.testing.assert_allclose(entropy, np.log(len(t)), atol=1e-5)


def test_a_very_sharp_posterior_stays_finite():
    # Logits down to -1e8: without the row maximum every weight but the own one, which is excluded, vanishes.
    embedding, t = scattered()
    sharp = posterior(embedding, t, resolution=1e8, exclude_self=True, neighbours=len(t) - 1)
    for values in (sharp.mean, sharp.entropy, sharp.marginal, sharp.log_normaliser):
        assert np.isfinite(values).all()
    # All others are listed, however improbable, and never the sample itself.
    assert np.all(sharp.neighbours != np.arange(len(t))[:, None])
    np.testing.assert_allclose(sharp.effective_cells.min(), 1, atol=1e-6)


def test_two_samples_that_exclude_themselves_point_at_each_other():
    embedding, t = np.eye(2, dtype=np.float32), np.array([[0.0, 1.0], [2.0, 5.0]])
    found = posterior(embedding, t, resolution=3.0, exclude_self=True)
    np.testing.assert_allclose(found.mean, t[::-1], rtol=1e-14)
    np.testing.assert_allclose(found.log_normaliser, -3.0, rtol=1e-6)  # -N/2 |E_0 - E_1|^2 with |.|^2 = 2
    np.testing.assert_allclose(found.entropy, 0, atol=1e-12)


def test_cancellation_does_not_blur_an_embedding_far_from_the_origin():
    # Distances of 0.01 about a point at distance 1: |E|^2 in float32 alone would be off by 1e-7 of 1e-4 / 2.
    rng = np.random.default_rng(1)
    embedding = (0.7 + 0.01 * rng.normal(size=(200, 2))).astype(np.float32)
    t = rng.uniform(size=(200, 2))
    p, _ = brute_force(embedding, "gaussian", 1e4)
    found = posterior(embedding, t, resolution=1e4)
    np.testing.assert_allclose(found.mean, p @ t, atol=2e-6)


@pytest.mark.parametrize("exclude_self", [False, True])
def test_neighbours_equal_a_full_sort(exclude_self):
    embedding, t = scattered()
    p, _ = brute_force(embedding, "gaussian", 30.0, exclude_self)
    found = posterior(embedding, t, resolution=30.0, exclude_self=exclude_self, neighbours=9)
    order = np.argsort(-p, axis=1)[:, :9]
    chosen = np.take_along_axis(p, found.neighbours, axis=1)
    # By weight and not by index: samples whose distances agree to float32 may come in either order.
    np.testing.assert_allclose(chosen, np.take_along_axis(p, order, axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.neighbour_weights, chosen, rtol=1e-5)
    assert np.mean(found.neighbours == order) > 0.99
    assert all(len(set(row)) == 9 for row in found.neighbours)
    assert np.any(found.neighbours == np.arange(len(t))[:, None]) != exclude_self


def test_threads_do_not_change_a_byte_and_blocks_only_rounding(monkeypatch):
    monkeypatch.setattr(distance, "ROWS", 64)
    embedding, t = scattered()
    settings = {"resolution": 200.0, "neighbours": 4, "coarse": BOX}
    one, three = (posterior(embedding, t, threads=threads, **settings) for threads in (1, 3))
    for name in ("mean", "central_moment", "marginal", "entropy", "log_normaliser", "neighbours", "coarse"):
        assert getattr(one, name).tobytes() == getattr(three, name).tobytes(), name
    # Room for eight rows: another shape of product, whose sums BLAS may order otherwise (1e-7 N = 2e-5 a
    # logit).
    small = posterior(embedding, t, memory_mb=8 * 4 * 300 / 2**20, **settings)
    np.testing.assert_allclose(small.mean, one.mean, atol=1e-5)
    np.testing.assert_allclose(small.marginal, one.marginal, rtol=2e-5)


def test_blocks_fit_the_memory_they_are_given():
    rng = np.random.default_rng(0)
    for n, memory_mb in ((20_000, 256.0), (60_000, 256.0), (1000, 0.1)):
        rows = distance.block_rows(n, memory_mb=memory_mb)
        assert rows == distance.ROWS or memory_mb / 2 < 8 * rows * n * 4 / 2**20 <= memory_mb
        settings = {"kernel": "gaussian", "resolution": 1.0, "memory_mb": memory_mb}
        problem = distance.distance_rows(
            rng.normal(size=(n, 2)).astype("f4"), rng.uniform(size=(n, 2)), **settings
        )
        # As many go side by side as fit, on however many threads.
        assert problem.at_once == int(memory_mb * 2**20 / (rows * n * 4)) >= 8
    with pytest.raises(ValueError, match=r"memory_mb=0\.1"):
        distance.block_rows(60_000, memory_mb=0.1)


def gaussian_posterior(nodes, resolution=400.0):
    """Posterior of the linear embedding E = A t on a grid, and its covariance (N A^T A)^-1."""
    grid = Grid(((-1.0, 1.0), (-1.0, 1.0)), (nodes, nodes))
    a = np.array([[1.0, 0.3], [0.0, 0.8], [0.5, -0.2]])
    embedding = (grid.points @ a.T).astype(np.float32)
    found = posterior(embedding, grid.points, resolution=resolution)
    inner = np.abs(grid.points).max(axis=1) < 0.5  # at least eight standard deviations from the edge
    return found, inner, np.linalg.inv(resolution * a.T @ a)


def test_a_linear_embedding_has_the_gaussian_posterior():
    found, inner, exact = gaussian_posterior(65)
    scale = np.linalg.norm(exact)
    # The spacing, 1/32, is 0.7 standard deviations, where the sum over nodes is the integral to exp(-2 pi^2 /
    # 0.7^2); what is left is the rounding of the logits.
    np.testing.assert_allclose(found.covariance[inner], np.broadcast_to(exact, found.covariance[inner].shape),
                               atol=2e-4 * scale)  # fmt: skip
    np.testing.assert_allclose(found.mean[inner], found.t[inner], atol=1e-5)
    cell = (2 / 64) ** 2
    cells = 2 * np.pi * np.e * np.sqrt(np.linalg.det(exact)) / cell
    np.testing.assert_allclose(found.effective_cells[inner], cells, rtol=1e-3)


def test_the_covariance_converges_with_the_spacing_as_theory_says():
    # Over nodes h apart a Gaussian of standard deviation s h has the variance (s h)^2 (1 - 8 pi^2 s^2 e^(-2
    # pi^2 s^2)), by Poisson summation; the next term is e^(-4 pi^2 s^2), 1.5 % of the deficit at s = 0.5.
    grid = Grid(((-1.0, 1.0), (-1.0, 1.0)), (41, 41))
    inner = np.abs(grid.points).max(axis=1) < 0.7
    for s in (0.5, 0.6, 0.7):
        variance = (s * grid.spacing[0]) ** 2
        found = posterior(grid.points.astype(np.float32), grid.points, resolution=1 / variance)
        deficit = 1 - np.mean(found.covariance[inner][:, [0, 1], [0, 1]]) / variance
        assert deficit == pytest.approx(8 * np.pi**2 * s**2 * np.exp(-2 * np.pi**2 * s**2), rel=0.03)


def test_a_rotation_and_a_shift_of_the_embedding_change_nothing():
    embedding, t = scattered()
    rotation, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(16, 16)))
    moved = (embedding @ rotation + 0.5).astype(np.float32)
    one, two = posterior(embedding, t, resolution=30.0), posterior(moved, t, resolution=30.0)
    # The moved embedding is rounded to float32 anew, 1e-7 of a distance: 1e-5 in the logits at N = 30.
    np.testing.assert_allclose(two.mean, one.mean, atol=1e-5)
    np.testing.assert_allclose(two.entropy, one.entropy, atol=1e-5)


def test_progress_is_shown_on_request_only(capsys):
    embedding, t = scattered(40)
    posterior(embedding, t, resolution=1.0)
    assert capsys.readouterr().err == ""
    posterior(embedding, t, resolution=1.0, progress=True)
    assert "posterior" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"kernel": "cauchy"}, "kernel 'cauchy' is not one of gaussian, laplace"),
        ({"resolution": 0.0}, "resolution"),
        ({"resolution": np.nan}, "resolution"),
        ({"neighbours": 20, "exclude_self": True}, "neighbours"),
        ({"neighbours": -1}, "neighbours"),
        ({"threads": 0}, "threads"),
        ({"memory_mb": 1e-6}, "memory_mb"),
        ({"t": np.zeros((20, 3))}, "t must"),
        ({"t": np.full((20, 2), np.nan)}, "t must"),
        ({"embedding": np.full((20, 4), np.inf, np.float32)}, "embedding"),
        ({"coarse": Grid(((0.0, 0.1), (0.0, 0.1)), (3, 3))}, "outside"),
    ],
)
def test_bad_input_is_named(changes, named):
    embedding, t = scattered(20, 4)
    arguments = {"embedding": embedding, "t": t, "resolution": 1.0, **changes}
    with pytest.raises(ValueError, match=named):
        posterior(arguments.pop("embedding"), arguments.pop("t"), **arguments)


def test_rows_name_bad_sources():
    embedding, _ = scattered(20, 4)
    with pytest.raises(ValueError, match="sources"):
        posterior_rows(embedding, np.array([3, 20]), kernel="gaussian", resolution=1.0)
    with pytest.raises(ValueError, match="cauchy"):
        posterior_rows(embedding, np.array([3]), kernel="cauchy", resolution=1.0)
