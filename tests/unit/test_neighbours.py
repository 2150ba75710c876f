"""The posterior by neighbours against every row by its definition in float64, and the bound of what it leaves out."""

import dask.array as da
import numpy as np
import pytest
import torch
from pairs import brute_force

from hessgeo.grids import Grid, bilinear_weights
from hessgeo.posteriors import KERNELS, posterior, read_posterior, write_posterior
from hessgeo.posteriors.neighbours import neighbour_posterior
from hessgeo.posteriors.tiles import make_tiles

BOX = Grid(((-1.0, 2.0), (0.0, 1.0)), (6, 5))
RESOLUTION = {"gaussian": 400.0, "laplace": 80.0}
# Float32 squared distances are good to 1e-7 within a unit ball: 4e-5 in a logit at N = 400. The root of the Laplace
# kernel makes 1e-7 N / d of it, 8e-4 for the closest of these samples, at d = 0.01.
ROUNDING = {"gaussian": 4e-5, "laplace": 8e-4}


def unit(embedding):
    return (embedding / np.linalg.norm(embedding, axis=1, keepdims=True)).astype(np.float32)


def smooth(t, d=12, seed=0):
    """A smooth unit-norm embedding of parameters."""
    rng = np.random.default_rng(seed)
    return unit(np.cos(t @ rng.normal(size=(t.shape[1], d)) + rng.uniform(0, 6, d)))


def scattered(n=500, seed=0):
    t = np.random.default_rng(seed).uniform((-1, 0), (2, 1), (n, 2))
    return smooth(t), t


def clustered(n=500):
    """Three phases, each a small patch of its own, far from the others."""
    rng = np.random.default_rng(3)
    t = rng.uniform((-1, 0), (2, 1), (n, 2))
    centre = rng.normal(size=(3, 12))[np.floor(t[:, 0] + 1).astype(int).clip(0, 2)]
    return unit(centre + 0.05 * smooth(t)), t


def on_a_grid():
    t = Grid(BOX.extent, (24, 20)).points
    return smooth(t, seed=1), t


def one_parameter(n=400):
    t = np.linspace(-1, 2, n)[:, None]
    return smooth(t, seed=2), t


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("exclude_self", [False, True])
@pytest.mark.parametrize("samples", [scattered, clustered, on_a_grid, one_parameter])
def test_reductions_equal_brute_force_to_the_bound(samples, kernel, exclude_self):
    embedding, t = samples()
    settings = {"kernel": kernel, "resolution": RESOLUTION[kernel], "exclude_self": exclude_self}
    p, log_z = brute_force(embedding, **settings)
    found = neighbour_posterior(embedding, t, **settings, missing=1e-4, tile=16)
    near = ROUNDING[kernel]
    assert found.seen.mean() < 0.7 * len(t)  # something was left out
    assert 0 < found.missing.max() <= 1e-4
    # What is left out is positive and below its bound, row by row.
    lacking = np.expm1(log_z - found.log_normaliser)
    assert np.all(lacking >= -near)
    assert np.all(lacking <= found.missing + near)
    extent = np.ptp(t, axis=0)
    assert np.all(np.abs(found.mean - p @ t) <= (found.missing[:, None] + near) * extent)
    # A row within eps of another in variation has an entropy within eps log(n / eps), roughly, and second moments
    # within eps of the box's squared sides; the marginal may lack eps of a row once more.
    entropy = -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=1)
    np.testing.assert_allclose(found.entropy, entropy, atol=1e-4 * np.log(len(t) / 1e-4) + near)
    covariance = np.einsum("ij,ja,jb->iab", p, t, t) - np.einsum("ia,ib->iab", p @ t, p @ t)
    np.testing.assert_allclose(found.covariance, covariance, atol=(3e-4 + near) * extent.max() ** 2)
    assert np.abs(found.marginal - p.sum(axis=0)).sum() <= (3 * 1e-4 + near) * len(t)


@pytest.mark.parametrize("missing", [1e-2, 1e-5, 1e-8])
def test_less_is_left_out_of_a_smaller_share(missing):
    embedding, t = scattered()
    exact = posterior(embedding, t, resolution=400.0)
    found = neighbour_posterior(embedding, t, resolution=400.0, missing=missing, tile=16)
    looser = neighbour_posterior(embedding, t, resolution=400.0, missing=1e-2, tile=16)
    assert found.missing.max() <= missing
    assert np.all(found.seen >= looser.seen)
    np.testing.assert_allclose(found.marginal.sum(), len(t), rtol=missing + 1e-6)
    assert np.abs(found.mean - exact.mean).max() <= 3 * (missing + 4e-5)


def test_the_share_that_is_summed_falls_with_the_number_of_samples():
    # N such that rows stay as wide in grid steps: of four times the samples a fourth, but for the edges of tiles.
    shares = []
    for nodes in (20, 40):
        t = Grid(BOX.extent, (nodes, nodes)).points
        found = neighbour_posterior(smooth(t), t, resolution=0.5 * nodes**2, tile=16)
        shares.append(found.seen.mean() / len(t))
    assert shares[1] < 0.5 * shares[0] < 0.5


def test_equal_embeddings_are_summed_all():
    _, t = scattered(100)
    found = neighbour_posterior(np.ones((100, 4), np.float32), t, resolution=1e6, tile=8)
    np.testing.assert_array_equal(found.missing, 0)
    np.testing.assert_array_equal(found.seen, 100)
    np.testing.assert_allclose(found.mean, np.broadcast_to(t.mean(axis=0), t.shape), rtol=1e-12)
    np.testing.assert_allclose(found.entropy, np.log(100), rtol=1e-12)
    np.testing.assert_allclose(found.marginal, 1, rtol=1e-6)


def test_embeddings_without_any_near_ones_are_summed_all():
    # Noise of many dimensions: all distances are alike, balls tell nothing, and what is left is the exact posterior.
    rng = np.random.default_rng(0)
    embedding, t = unit(rng.normal(size=(300, 128))), rng.uniform(size=(300, 2))
    found = neighbour_posterior(embedding, t, resolution=5.0, tile=16)
    np.testing.assert_array_equal(found.seen, 300)
    np.testing.assert_array_equal(found.missing, 0)
    exact = posterior(embedding, t, resolution=5.0)
    for name in ("mean", "central_moment", "marginal", "entropy", "log_normaliser"):
        one, two = getattr(found, name), getattr(exact, name)
        np.testing.assert_allclose(one, two, rtol=2e-6, atol=1e-8, err_msg=name)


def test_a_very_sharp_posterior_stays_finite():
    embedding, t = scattered()
    sharp = neighbour_posterior(embedding, t, resolution=1e8, exclude_self=True, tile=16, neighbours=3)
    for values in (sharp.mean, sharp.entropy, sharp.marginal, sharp.log_normaliser, sharp.missing):
        assert np.isfinite(values).all()
    e = embedding.astype(float)
    distance = np.stack([((e - one) ** 2).sum(axis=1) for one in e]) + 10 * np.eye(len(e))
    np.testing.assert_array_equal(sharp.neighbours[:, 0], distance.argmin(axis=1))
    assert np.all(sharp.neighbours != np.arange(len(t))[:, None])


@pytest.mark.parametrize("exclude_self", [False, True])
def test_neighbours_and_coarse_rows_are_those_of_the_blocks(exclude_self):
    embedding, t = scattered()
    settings = {"resolution": 400.0, "exclude_self": exclude_self, "neighbours": 7, "coarse": BOX}
    exact = posterior(embedding, t, **settings)
    found = neighbour_posterior(embedding, t, **settings, tile=16)
    p, _ = brute_force(embedding, "gaussian", 400.0, exclude_self)
    # By weight and not by index: samples whose distances agree to float32 may come in either order.
    chosen, expected = (np.take_along_axis(p, one.neighbours, axis=1) for one in (found, exact))
    np.testing.assert_allclose(chosen, expected, rtol=1e-4)
    np.testing.assert_allclose(found.neighbour_weights, chosen, rtol=1e-4)
    np.testing.assert_allclose(found.coarse, exact.coarse, atol=4e-5)
    np.testing.assert_allclose(found.coarse.reshape(len(t), -1).sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(p @ bilinear_weights(t, BOX), found.coarse.reshape(len(t), -1), atol=4e-5)


def test_neither_threads_nor_slices_nor_a_file_change_a_byte(tmp_path):
    embedding, t = scattered()
    settings = {"resolution": 400.0, "tile": 16, "neighbours": 3, "coarse": BOX}
    first = neighbour_posterior(embedding, t, **settings)
    lazy = da.from_array(embedding, chunks=(70, 12))
    others = [
        neighbour_posterior(embedding, t, **settings, threads=3),
        neighbour_posterior(lazy, t, **settings, file=tmp_path / "sorted.f4"),
        # No room for any weights: all are computed twice, to the same bytes.
        neighbour_posterior(embedding, t, **settings, memory_mb=1e-3),
    ]
    names = (
        "mean",
        "central_moment",
        "marginal",
        "entropy",
        "log_normaliser",
        "missing",
        "neighbours",
        "coarse",
    )
    for other in others:
        for name in names:
            assert getattr(other, name).tobytes() == getattr(first, name).tobytes(), name


def test_units_and_offsets_of_parameters_change_nothing():
    embedding, t = scattered()
    plain = neighbour_posterior(embedding, t, resolution=400.0, tile=16)
    scale, offset = np.array([2.0**-20, 2.0**20]), np.array([3.0, -7.0])
    moved = neighbour_posterior(embedding, (t + offset) * scale, resolution=400.0, tile=16)
    # Offsets cost the parameters themselves a rounding, scales of powers of two none.
    np.testing.assert_allclose(moved.mean / scale - offset, plain.mean, atol=1e-13)
    factor = np.array([scale[0] ** 2, 1.0, scale[1] ** 2])
    np.testing.assert_allclose(moved.central_moment / factor, plain.central_moment, atol=1e-13)


def test_tiles_hold_all_samples_in_balls_that_bound_distances():
    embedding, _ = clustered()
    tiles = make_tiles(embedding, tile=32)
    sizes = np.diff(tiles.starts)
    np.testing.assert_array_equal(np.sort(tiles.order), np.arange(500))
    assert sizes.max() <= 32
    assert sizes.min() >= 15
    np.testing.assert_array_equal(tiles.rows.numpy(), embedding[tiles.order])
    e = embedding.astype(float)
    for own in range(tiles.count):
        bound = tiles.distance_bounds(own).numpy()
        for other in range(tiles.count):
            one, two = (e[tiles.order[tiles.places(tile)]] for tile in (own, other))
            distance = np.linalg.norm(one[:, None] - two, axis=-1).min(axis=1)
            assert np.all(bound[:, other] <= distance + 1e-7)


def test_the_bound_is_stored_with_the_posterior(tmp_path):
    embedding, t = scattered()
    found = neighbour_posterior(embedding, t, resolution=400.0, tile=16)
    write_posterior(tmp_path / "posterior.zarr", found)
    again = read_posterior(tmp_path / "posterior.zarr")
    np.testing.assert_array_equal(again.missing, found.missing)
    np.testing.assert_array_equal(again.seen, found.seen)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")
def test_a_gpu_gives_the_numbers_of_the_cpu():
    embedding, t = scattered()
    settings = {"resolution": 400.0, "tile": 16, "neighbours": 3, "coarse": BOX}
    cpu, gpu = (neighbour_posterior(embedding, t, **settings, device=device) for device in ("cpu", "cuda"))
    for name in ("mean", "marginal", "entropy", "log_normaliser", "coarse"):
        np.testing.assert_allclose(getattr(gpu, name), getattr(cpu, name), atol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"missing": 0.0}, "missing must lie above 0 and at most at 0.01, not 0.0"),
        ({"missing": 0.02}, "missing must lie above 0 and at most at 0.01, not 0.02"),
        ({"tile": 3}, "tile must be at least 4, not 3"),
        ({"kernel": "cauchy"}, "kernel 'cauchy' is not one of gaussian, laplace"),
        ({"resolution": np.inf}, "resolution must be a positive number of at most 1e+30, not inf"),
        ({"resolution": 1e31}, "resolution must be a positive number of at most 1e+30, not 1e+31"),
        ({"resolution": None}, "resolution must be a positive number of at most 1e+30, not None"),
        ({"neighbours": 101}, "neighbours must lie in 0..100, not 101"),
        ({"threads": 0}, "threads must be at least 1, not 0"),
        ({"embedding": np.ones(100)}, "embedding must be a matrix of at least one row, not of shape (100,)"),
        ({"embedding": np.full((100, 2), np.nan)}, "embedding holds values that are not finite"),
        ({"t": np.zeros((99, 2))}, "t must be finite of shape (100, 2), or 1, not (99, 2)"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(change, line):
    given = {
        "embedding": np.eye(100, 4, dtype=np.float32),
        "t": np.zeros((100, 2)),
        "resolution": 1.0,
    } | change
    with pytest.raises(ValueError, match=r".") as caught:
        neighbour_posterior(given.pop("embedding"), given.pop("t"), **given)
    assert str(caught.value) == line
