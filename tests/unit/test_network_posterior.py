"""The posterior network against images whose posterior is known, and the steps around it against sums written out."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from hessgeo.evaluation.posterior_rows import fitted_rows, measured_rows
from hessgeo.free_energies.base import free_energy_dataset
from hessgeo.free_energies.convex import ConvexProblem
from hessgeo.free_energies.spline import fit_spline
from hessgeo.grids import Grid
from hessgeo.numerics.training import split_samples
from hessgeo.pipeline import chain
from hessgeo.posteriors import Posterior, bundles, posterior, read_posterior, write_posterior
from hessgeo.posteriors.base import row_moments
from hessgeo.posteriors.calibration import LEVELS, judge_ranks, rank_names, region_mass
from hessgeo.posteriors.network import (
    NetworkConfig,
    PosteriorNetwork,
    load_network,
    network_posterior,
    save_network,
)
from hessgeo.posteriors.network_calibration import calibrate, held_out_ranks
from hessgeo.posteriors.network_training import cross_entropy, train_posterior_network
from hessgeo.posteriors.u2net import U2Net

BOX = ((-1.0, 1.0), (-1.0, 1.0))
GRID = Grid(BOX, (8, 8))
NOISE = 20.0  # of each pixel, grey levels
FINE = np.linspace(-1, 1, 401)
FAST = {
    "learning_rate": 5e-3,
    "batch_size": 32,
}  # steps as many and as large as take a network somewhere in seconds


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As the training job has: on maps this small more threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def patterns(shape):
    """Two orthogonal patterns of +-1: what ``a`` and ``b`` add to an image."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij")
    return np.stack([np.sign(x), np.sign(y)])


def linear_images(t, deviation, rng, shape=GRID.shape):
    """Images ``x = A t + noise``: one of them says ``t`` up to a Gaussian of that deviation along each axis."""
    gain = NOISE / (deviation * np.sqrt(np.prod(shape)))
    x = (
        128
        + gain * np.einsum("ni,iab->nab", t, patterns(shape))
        + NOISE * rng.standard_normal((len(t), *shape))
    )
    return x.clip(0, 255).round().astype(np.uint8)[..., None]


def true_posterior(members, deviation, config):
    """The posterior of bundles at one ``t``: a Gaussian cut at the box, and smoothed as the targets are."""
    grid, k = config.grid, config.bundle
    gain = NOISE / (deviation * np.sqrt(np.prod(grid.shape)))
    mean = (members[..., 0].astype(float) - 128).reshape(len(members), k, -1).mean(axis=1)
    centre = mean @ patterns(grid.shape).reshape(2, -1).T / (gain * np.prod(grid.shape))
    along = []
    for axis in (0, 1):
        weight = np.exp(-((centre[:, axis : axis + 1] - FINE) ** 2) * k / (2 * deviation**2))
        blur = np.exp(-((FINE[:, None] - grid.axes[axis]) ** 2) / (2 * config.sigma[axis] ** 2))
        along.append(weight / weight.sum(1, keepdims=True) @ (blur / blur.sum(1, keepdims=True)))
    return np.einsum("na,nb->nab", *along).reshape(len(members), -1)


def untrained(grid=GRID, *, bundle=2, channels=1, seed=0, samples=60, **more):
    """A network with random weights."""
    torch.manual_seed(seed)
    about = {
        "size": "tiny", "extent": grid.extent, "shape": grid.shape, "bundle": bundle, "neighbours": 2 * bundle,
        "sigma": bundles.smoothing_width(grid, 0.02), "mean": (0.5,) * channels, "deviation": (0.2,) * channels,
        "samples": samples, "held_out": 0.2, "seed": 3, "training": {"losses": [2.0]},
    }  # fmt: skip
    return PosteriorNetwork(U2Net(bundle * channels, size="tiny").eval(), NetworkConfig(**(about | more)))


def scattered(n=60, channels=1, grid=GRID, seed=0):
    rng = np.random.default_rng(seed)
    low, high = np.array(grid.extent).T
    return rng.integers(0, 256, (n, *grid.shape, channels), dtype="u1"), rng.uniform(low, high, (n, 2))


def test_images_are_brought_to_the_grid_block_by_block(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (7, 12, 10, 3), dtype="u1")
    whole = bundles.resize_images(images, (5, 6))
    monkeypatch.setattr(bundles, "_BLOCK_BYTES", 4 * 3 * 120 * 2)  # two images a block
    np.testing.assert_array_equal(bundles.resize_images(images, (5, 6), out=np.empty_like(whole)), whole)
    assert (
        abs(float(whole.mean()) - float(images.mean())) < 3
    )  # antialiased: means of areas, not picked pixels
    assert whole.std() < 0.7 * images.std()
    np.testing.assert_array_equal(bundles.resize_images(images, (12, 10)), images)
    constant = bundles.resize_images(np.full((1, 3, 3, 1), 77, "u1"), (8, 8))
    np.testing.assert_array_equal(constant, 77)
    with pytest.raises(ValueError, match="must be uint8"):
        bundles.resize_images(images.astype(float), (5, 6))
    with pytest.raises(ValueError, match=r"out must be uint8 of shape \(7, 5, 6, 3\)"):
        bundles.resize_images(images, (5, 6), out=np.empty((7, 5, 5, 3), "u1"))


def test_the_split_is_disjoint_whole_and_repeatable():
    train, test = split_samples(100, held_out=0.2, seed=4)
    assert len(test) == 20
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(100))
    np.testing.assert_array_equal(split_samples(100, held_out=0.2, seed=4)[1], test)
    assert not np.array_equal(split_samples(100, held_out=0.2, seed=5)[1], test)
    for share in (0.0, 1.0, 1e-4):
        with pytest.raises(ValueError, match="held_out"):
            split_samples(100, held_out=share, seed=0)


def test_bundles_are_drawn_from_the_nearest_of_their_pool():
    grid = Grid(((0.0, 10.0), (0.0, 1.0)), (8, 8))
    t = np.random.default_rng(1).uniform((0, 0), (10, 1), (200, 2))
    pool = np.arange(0, 200, 2)
    offered = bundles.candidates(t, pool[:30], pool, grid, bundle=3, neighbours=8)
    assert offered.shape == (30, 4)  # half of the samples, half of the neighbours
    distance = np.linalg.norm((t[pool[:30], None] - t[pool]) / (10, 1), axis=-1)
    np.testing.assert_array_equal(
        np.sort(offered, axis=1), np.sort(pool[distance.argsort(axis=1)[:, :4]], axis=1)
    )
    assert np.all(offered[:, 0] == pool[:30])  # a source is its own nearest sample
    rng = np.random.default_rng(0)
    drawn = np.stack([bundles.draw_bundles(offered, 3, rng) for _ in range(400)])
    assert all(len(set(bundle)) == 3 for bundle in drawn[0])
    # Each of four candidates is in each of three places equally often: 100 +- 9 of 400 draws, five deviations.
    counts = np.array([[(drawn[:, 5, k] == sample).sum() for sample in offered[5]] for k in range(3)])
    assert np.all(np.abs(counts - 100) < 45)
    with pytest.raises(ValueError, match=r"bundle=9 must lie in 1\.\.neighbours=8"):
        bundles.candidates(t, pool, pool, grid, bundle=9, neighbours=8)
    with pytest.raises(ValueError, match="than the 2 there are"):
        bundles.candidates(t, pool, pool[:2], grid, bundle=3, neighbours=8)


def test_targets_are_gaussians_about_the_parameter():
    grid = Grid(((0.0, 2.0), (-1.0, 1.0)), (41, 31))
    sigma = bundles.smoothing_width(grid, 0.05)
    assert sigma == (pytest.approx(0.1), pytest.approx(0.1))
    t = np.array([[1.013, 0.21], [0.9, -0.333]])
    target = bundles.smoothed_targets(grid, sigma)(t)
    direct = np.exp(-((t[:, None] - grid.points) ** 2).sum(-1) / (2 * 0.1**2))
    np.testing.assert_allclose(target, direct / direct.sum(1, keepdims=True), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(target @ grid.points, t, atol=1e-6)
    variance = target @ grid.points**2 - (target @ grid.points) ** 2
    np.testing.assert_allclose(variance, 0.01, rtol=1e-5)


def test_a_narrow_target_is_widened_until_its_mean_stays_in_place():
    grid = Grid(BOX, (16, 16))
    sigma = bundles.smoothing_width(grid, 1e-6)
    assert sigma == (pytest.approx(1 / 15), pytest.approx(1 / 15))
    t = np.random.default_rng(0).uniform(-0.6, 0.6, (200, 2))
    mean = bundles.smoothed_targets(grid, sigma)(t) @ grid.points
    # Poisson's sum: a deviation of half a step h leaves at most h pi exp(-pi^2 / 2), 2.3 % of a step.
    most = np.pi * np.exp(-(np.pi**2) / 2) * grid.spacing[0]
    assert 0.9 * most < np.abs(mean - t).max() < 1.01 * most
    with pytest.raises(ValueError, match="smoothing must be positive"):
        bundles.smoothing_width(grid, 0.0)


def test_the_loss_is_the_cross_entropy_and_the_target_its_minimum():
    target = bundles.smoothed_targets(GRID, bundles.smoothing_width(GRID, 0.1))(
        np.array([[0.2, -0.4], [0.0, 0.9]])
    )
    logits = torch.randn(2, 1, 8, 8, dtype=torch.double)
    p = torch.from_numpy(target)
    expected = functional.cross_entropy(logits.flatten(1), p)
    torch.testing.assert_close(cross_entropy(logits, p), expected)
    entropy = -(p * p.log()).sum(1).mean()
    torch.testing.assert_close(cross_entropy(p.log().reshape(2, 1, 8, 8), p), entropy)
    assert cross_entropy(logits, p) > entropy


def test_a_bundle_is_stacked_in_channels_and_standardised():
    network = untrained(bundle=2, channels=3)
    images, _ = scattered(4, channels=3)
    x = network.prepare(images.reshape(2, 2, 8, 8, 3))
    assert x.shape == (2, 6, 8, 8)
    np.testing.assert_allclose(x[1, 4], (images[3, ..., 1] / 255 - 0.5) / 0.2, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="the network reads"):
        network.prepare(images[:, None])


def test_reductions_are_those_of_the_rows():
    network, (images, t) = untrained(), scattered()
    found = network_posterior(network, images, t, draws=3, rows=60, batch_size=7, seed=5)
    np.testing.assert_array_equal(found.row_sources, np.arange(60))
    p = found.rows.astype(float)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    # Rows are kept in single precision, reductions are taken in double.
    np.testing.assert_allclose(found.mean, p @ GRID.points, atol=1e-6)
    offset = GRID.points - found.mean[:, None]
    covariance = np.einsum("ij,ija,ijb->iab", p, offset, offset)
    np.testing.assert_allclose(found.covariance, covariance, atol=1e-6)
    np.testing.assert_allclose(found.marginal, p.sum(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.entropy, -(p * np.log(p)).sum(axis=1), atol=1e-5)
    assert found.marginal.sum() == pytest.approx(60, rel=1e-9)
    assert (found.resolution, found.kernel) == (2.0, "network")
    np.testing.assert_array_equal(found.points, GRID.points)
    assert np.all(found.log_normaliser <= 0)  # Jensen: a geometric mean weighs no more than its terms


def test_rows_are_geometric_means_over_the_draws():
    network, (images, t) = untrained(), scattered()
    near = {"bundle": 2, "neighbours": 4}
    offered = bundles.candidates(t, np.arange(60), np.arange(60), GRID, **near)
    members = bundles.draw_bundles(np.repeat(offered, 5, axis=0), 2, np.random.default_rng(9))
    log_p = network.log_posterior(images[members]).numpy().reshape(60, 5, -1).mean(axis=1)
    expected = np.exp(log_p) / np.exp(log_p).sum(axis=1, keepdims=True)
    found = network_posterior(network, images, t, draws=5, rows=60, batch_size=10_000, seed=9)
    np.testing.assert_allclose(found.rows, expected, rtol=1e-5)
    np.testing.assert_allclose(found.log_normaliser, np.log(np.exp(log_p).sum(axis=1)), atol=1e-9)
    alone = network_posterior(network, images, t, draws=1, rows=0)
    np.testing.assert_allclose(alone.log_normaliser, 0, atol=1e-12)
    assert alone.rows is None


def test_a_network_comes_back_from_its_folder(tmp_path):
    network, (images, t) = untrained(channels=3), scattered(channels=3)
    save_network(tmp_path / "net", network)
    again = load_network(tmp_path / "net")
    assert again.config == network.config
    one, two = (network_posterior(net, images, t, rows=8) for net in (network, again))
    for first, second in zip(network.net.state_dict().values(), again.net.state_dict().values(), strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)
    np.testing.assert_allclose(one.rows, two.rows, rtol=1e-5)  # memory formats differ, so the order of sums
    config = json.loads((tmp_path / "net" / "config.json").read_text())
    (tmp_path / "net" / "config.json").write_text(json.dumps(config | {"size": "small"}))
    with pytest.raises(ValueError, match="does not hold a posterior network"):
        load_network(tmp_path / "net")
    with pytest.raises(FileNotFoundError):
        load_network(tmp_path / "nowhere")


def test_a_network_posterior_comes_back_from_the_store(tmp_path):
    network, (images, t) = untrained(), scattered()
    found = network_posterior(network, images, t, rows=8)
    write_posterior(tmp_path / "posterior.zarr", found)
    again = read_posterior(tmp_path / "posterior.zarr")
    for name in ("t", "mean", "marginal", "support", "rows", "row_sources"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
        assert getattr(again, name).dtype == getattr(found, name).dtype
    assert again.neighbours is None
    assert again.kernel == "network"


def test_kept_rows_are_found_by_their_source():
    network, (images, t) = untrained(), scattered()
    every = network_posterior(network, images, t, rows=60)
    some = network_posterior(network, images, t, rows=7)
    np.testing.assert_array_equal(some.rows, every.rows[some.row_sources])
    order = some.row_sources[[4, 0, 6]]
    np.testing.assert_allclose(some.kept_rows(order), every.rows[order], rtol=1e-6)
    nearest = some.sources_with_rows(np.array([11, int(order[0])]))
    assert nearest[1] == order[0]
    distance = np.linalg.norm(t[some.row_sources] - t[11], axis=1)
    assert nearest[0] == some.row_sources[distance.argmin()]
    stranger = next(k for k in range(60) if k not in some.row_sources)
    with pytest.raises(ValueError, match=f"no row was kept of source {stranger}"):
        some.kept_rows(np.array([stranger]))
    with pytest.raises(ValueError, match="holds no rows"):
        network_posterior(network, images, t, rows=0).kept_rows(np.array([0]))


def test_a_network_posterior_is_fitted_on_its_own_nodes():
    """Its grid is coarser than that of the fit, and its sources lie on neither."""
    network, (images, t) = untrained(), scattered()
    found = network_posterior(network, images, t, rows=60)
    fine = Grid(BOX, (15, 13))
    assert found.carrier(fine) == GRID
    problem = ConvexProblem.of(found, fine, (6, 6), "cpu")
    np.testing.assert_allclose(problem.marginal, found.marginal, rtol=1e-12)
    np.testing.assert_array_equal(problem.log_weight, 0)
    np.testing.assert_allclose(problem.nodes, GRID.points)
    rows = measured_rows(found, np.empty((60, 0)), np.array([3, 17]), GRID)
    np.testing.assert_allclose(rows, found.rows[[3, 17]], rtol=1e-5)
    with pytest.raises(ValueError, match="no grid over the box"):
        found.carrier(Grid(((-1.0, 2.0), (-1.0, 1.0)), (15, 13)))


def test_the_perceptron_is_fitted_to_kept_rows():
    network, (images, t) = untrained(), scattered()
    settings = {
        "fit": "mlp",
        "mlp": {"sources": 9, "width": 8, "depth": 2, "steps": 2, "learning_rate": 1e-3},
    }
    some = network_posterior(network, images, t, rows=12)
    fit = chain.fit_free_energy(some, np.empty((60, 0)), Grid(BOX, (15, 13)), settings, seed=0)
    assert fit.certificate["iterations"] == 2


def test_a_gaussian_family_is_recovered_from_rows_on_other_nodes():
    """``F = g |t|^2 / 2`` on 22 nodes, its sources and its result on other grids: posterior, fit and rows agree."""
    g, n, carrier, fine = 9.0, 4.0, Grid(BOX, (22, 22)), Grid(BOX, (15, 13))
    t = np.random.default_rng(0).uniform(-1, 1, (300, 2))
    logit = -n * g / 2 * ((t[:, None] - carrier.points) ** 2).sum(axis=-1)
    p = np.exp(logit) / np.exp(logit).sum(axis=1, keepdims=True)
    mean, central = row_moments(p, carrier.points)
    exact = Posterior(
        t=t, mean=mean, central_moment=central,
        marginal=p.sum(axis=0), entropy=-(p * np.log(p)).sum(axis=1), log_normaliser=np.zeros(300), resolution=n,
        kernel="network", exclude_self=False, support=carrier.points,
        rows=p.astype("f4"), row_sources=np.arange(300),
    )  # fmt: skip
    fit = fit_spline(exact, fine, splines=(8, 8))
    # A cubic spline holds a quadratic exactly, and Newton's tolerance is far below single precision.
    np.testing.assert_allclose(
        fit.hessian(torch.from_numpy(fine.points)), np.tile(g * np.eye(2), (195, 1, 1)), atol=0.05
    )
    assert fit.certificate["mean_divergence"] == pytest.approx(0, abs=1e-5)
    fields = free_energy_dataset(fit, fine, attributes={})
    chosen = np.array([4, 250])
    fitted = fitted_rows(fields, t, chosen, fine, carrier=carrier)
    np.testing.assert_allclose(
        fitted, measured_rows(exact, np.empty((300, 0)), chosen, carrier), atol=1e-3 * p.max()
    )


def test_points_and_sources_of_a_distance_posterior_are_its_samples():
    images, t = scattered()
    embedding = images.reshape(60, -1)[:, :6].astype("f4") / 255
    found = posterior(embedding, t, resolution=3.0)
    assert found.points is found.t
    np.testing.assert_array_equal(found.sources_with_rows(np.array([4, 2])), [4, 2])


def test_regions_have_their_mass():
    p = np.random.default_rng(0).dirichlet(np.ones(50), 20)
    np.testing.assert_allclose(region_mass(p, p, LEVELS), np.tile(LEVELS, (20, 1)), atol=1e-12)
    peak = np.eye(50)[p.argmax(axis=1)]
    np.testing.assert_allclose(region_mass(p, peak, np.array([1.0])), 1)
    assert np.all(region_mass(p, peak, LEVELS) >= LEVELS)


def test_calibration_knows_a_perfect_and_a_blind_network(monkeypatch):
    images, t = scattered(200)
    network = untrained(samples=200)
    members: list[np.ndarray] = []
    monkeypatch.setattr(
        PosteriorNetwork,
        "log_posterior",
        lambda self, b: torch.full((len(b), 64), -np.log(64.0), dtype=torch.double),
    )
    blind = calibrate(network, images, t)["held_out"]
    assert blind["bundles"] == 40
    assert blind["nll"] == pytest.approx(np.log(64))
    assert blind["skill"] == pytest.approx(0, abs=1e-12)
    # The prior is a calibrated posterior, too.
    assert judge_ranks(held_out_ranks(network, images, t)[1], rank_names(2)).calibrated
    # A network that knows the target: each image holds the row of its sample, and a bundle of one reads it.
    images[:] = 0
    images[:, 0, 0, 0] = np.arange(200)
    network = untrained(samples=200, bundle=1, neighbours=1)
    targets = bundles.smoothed_targets(GRID, network.config.sigma)

    def oracle(self, b):
        members.append(b[:, 0, 0, 0, 0])
        return torch.from_numpy(np.log(np.maximum(targets(t[b[:, 0, 0, 0, 0]]), 1e-300)))

    monkeypatch.setattr(PosteriorNetwork, "log_posterior", oracle)
    report = calibrate(network, images, t)
    _, test = split_samples(200, held_out=0.2, seed=3)
    assert set(np.concatenate(members[-1:])) == set(test)
    for part in report.values():
        assert part["skill"] == pytest.approx(1)
        assert part["nll"] == pytest.approx(part["nll_floor"])
        assert part["coverage_50"] == pytest.approx(0.5)
        assert part["calibration_error"] == pytest.approx(0, abs=1e-9)
        assert part["coverage_90_position"] > 0.9
        assert part["bundle_spread"] == 0
    chosen, ranks = held_out_ranks(network, images, t, batch_size=16)
    assert chosen.tolist() == sorted(test)
    assert judge_ranks(ranks, rank_names(2)).calibrated
    np.testing.assert_array_equal(held_out_ranks(network, images, t, batch_size=7)[1], ranks)
    # A network that takes every position for its mirror image is far from calibrated.
    monkeypatch.setattr(PosteriorNetwork, "log_posterior", lambda self, b: oracle(self, b).flip(1))
    assert judge_ranks(held_out_ranks(network, images, t)[1], rank_names(2)).p_value < 1e-6
    with pytest.raises(ValueError, match="trained with 200 samples, not 60"):
        calibrate(network, images[:60], t[:60])


def test_what_does_not_fit_the_network_is_refused():
    network, (images, t) = untrained(), scattered()
    with pytest.raises(ValueError, match=r"uint8 of shape \(60, 8, 8, 1\)"):
        network_posterior(network, images[:, :7], t)
    with pytest.raises(ValueError, match="lie in the network's box"):
        network_posterior(network, images, t + 1)
    with pytest.raises(ValueError, match="draws and batch_size"):
        network_posterior(network, images, t, draws=0)
    with pytest.raises(ValueError, match="epochs must be at least 1"):
        train_posterior_network(images, t, GRID, epochs=0)


def test_the_cap_of_the_metric_follows_from_the_smoothing():
    network = untrained(bundle=4, sigma=(0.1, 0.2))
    assert network.config.largest_metric == (pytest.approx(25.0), pytest.approx(6.25))


def test_training_repeats_and_leaves_the_global_stream_alone():
    images, t = scattered()
    options = {"bundle": 2, "neighbours": 4, "epochs": 1, "batch_size": 16, "seed": 8}
    state = torch.get_rng_state()
    one, two = (train_posterior_network(images, t, GRID, **options) for _ in range(2))
    torch.testing.assert_close(torch.get_rng_state(), state)
    for first, second in zip(one.net.state_dict().values(), two.net.state_dict().values(), strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert one.config.training["losses"] == two.config.training["losses"]
    assert not one.net.training


@pytest.mark.slow
def test_the_network_approaches_the_known_posterior():
    rng, deviation = np.random.default_rng(0), 0.4
    t = rng.uniform(-1, 1, (800, 2))
    images = linear_images(t, deviation, rng)
    position = np.repeat(rng.uniform(-0.9, 0.9, (300, 2)), 4, axis=0)
    members = linear_images(position, deviation, rng).reshape(300, 4, *GRID.shape, 1)
    divergence = []
    for epochs in (2, 12):
        network = train_posterior_network(images, t, GRID, epochs=epochs, **FAST)
        q, p = network.log_posterior(members).numpy(), true_posterior(members, deviation, network.config)
        divergence.append(float((p * (np.log(np.maximum(p, 1e-300)) - q)).sum(axis=1).mean()))
    blind = np.log(64) + float((p * np.log(np.maximum(p, 1e-300))).sum(axis=1).mean())
    assert divergence[1] < divergence[0] < blind
    assert divergence[1] < 0.3 * blind  # a fifth was measured; the rest is what 640 noisy images leave open
    mean, true_mean = np.exp(q) @ GRID.points, p @ GRID.points
    width = np.sqrt(p @ GRID.points**2 - true_mean**2)
    assert np.sqrt(((mean - true_mean) ** 2).mean()) < 0.8 * width.mean()
    spread = np.sqrt(np.maximum(np.exp(q) @ GRID.points**2 - mean**2, 0))
    assert np.median(spread / width) == pytest.approx(1, abs=0.4)
    report = calibrate(network, images, t)["held_out"]
    assert 0.3 < report["skill"] < 1
    assert report["calibration_error"] < 0.15


@pytest.mark.slow
def test_more_images_in_a_bundle_narrow_the_posterior():
    rng, deviation = np.random.default_rng(1), 0.25
    t = rng.uniform(-1, 1, (600, 2))
    images = linear_images(t, deviation, rng)
    middle, variance = np.flatnonzero(np.abs(t).max(axis=1) < 0.5), []
    for bundle in (1, 8):
        network = train_posterior_network(images, t, GRID, bundle=bundle, epochs=12, **FAST)
        found = network_posterior(network, images, t, draws=1, rows=0)
        variance.append(np.median(found.covariance[middle][:, [0, 1], [0, 1]]) - network.config.sigma[0] ** 2)
    # Theory: deviation^2 / K beside the smoothing, so an eighth. The neighbours' own spread, 0.03, and what is not
    # learned in seconds add to the second.
    assert variance[0] > 0.5 * deviation**2
    assert variance[1] < 0.5 * variance[0]


@pytest.mark.slow
def test_labels_that_mean_nothing_give_no_skill():
    rng = np.random.default_rng(2)
    t = rng.uniform(-1, 1, (600, 2))
    images = linear_images(rng.permutation(t), 0.4, rng)
    network = train_posterior_network(images, t, GRID, epochs=3, learning_rate=1e-3)
    report = calibrate(network, images, t)["held_out"]
    # Nothing can be learned, so it cannot beat the uniform posterior but by chance of 120 draws.
    assert report["nll"] > report["nll_uniform"] - 0.05
    assert abs(report["skill"]) < 0.15
