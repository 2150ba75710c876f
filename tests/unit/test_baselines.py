"""The baselines: what each must find where the answer is known in closed form."""

import json
from importlib import import_module

import numpy as np
import pytest
import torch
from scipy.special import ndtr

from hessgeo.estimators import registry
from hessgeo.estimators.base import Run
from hessgeo.estimators.mean_as_statistic import MeanRegression, train_mean_regression
from hessgeo.estimators.pca_vae import (
    LatentStatistics,
    VariationalAutoencoder,
    binary_input,
    principal_statistics,
    train_vae,
)
from hessgeo.estimators.score_classifier import Pairs, ScoreClassifier, score_metric, train_score_classifier
from hessgeo.estimators.state_images import squarest, state_images
from hessgeo.evaluation.metric_scores import constant_metric
from hessgeo.grids import Grid
from hessgeo.learned.samples import Samples
from hessgeo.learned.training import minimise
from hessgeo.numerics.training import in_blocks
from hessgeo.pipeline.derived import merged
from hessgeo.pipeline.schema import defaults
from hessgeo.store import write_network
from hessgeo.systems.solvable.base import natural_coordinates
from hessgeo.systems.solvable.curie_weiss import CurieWeiss
from hessgeo.systems.solvable.gaussian_linear import GaussianLinear
from hessgeo.systems.solvable.ising import Ising

BOX = ((0.1, 0.8), (-0.4, 0.4))
ENCODER = {"width": 4, "layers": 1, "hidden": 16}
FEW = {"steps": 3, "batch_size": 32, "learning_rate": 1e-2}


def curie_weiss(n, size=24, seed=1):
    system = CurieWeiss(size)
    t = np.random.default_rng(seed).uniform(*np.array(BOX).T, (n, 2))
    return system, t, system.sample(t, np.arange(n), seed)


def samples_of(geometry, n=200):
    rng = np.random.default_rng(3)
    shape = {"torus": (4, 6), "ring": (16,), "open": (16,), "exchangeable": (10,)}[geometry]
    states = np.where(rng.random((n, *shape)) < 0.5, -1, 1).astype(np.int8)
    t = rng.uniform(*np.array(BOX).T, (n, 2))
    return Samples(states, t, Grid(BOX, (5, 5)), natural_coordinates("K", "h"), geometry)


def posterior_mean(system, t_grid):
    """``E[t|M]`` of each number of spins up, under the uniform prior on the box, by a sum over a grid."""
    up = np.arange(system.size + 1)
    log_p = np.stack([system.sufficient_statistics(state[None])[0] @ t_grid.T for state in ordered(system)])
    log_p -= system.log_partition(t_grid)
    p = np.exp(log_p - log_p.max(axis=1, keepdims=True))
    assert len(p) == len(up)
    return p @ t_grid / p.sum(axis=1, keepdims=True)


def ordered(system):
    """A state with each number of spins up."""
    return np.where(np.tri(system.size + 1, system.size, -1) > 0, 1, -1).astype(np.int8)


# ---- posterior mean ----


@pytest.mark.slow
def test_the_regression_finds_the_posterior_mean():
    system, t, states = curie_weiss(8000)
    found = train_mean_regression(
        Samples(states, t, Grid(BOX, (5, 5)), system.coordinates, "exchangeable"),
        steps=600,
        batch_size=256,
        learning_rate=1e-2,
        encoder=ENCODER,
    )
    exact = posterior_mean(system, Grid(BOX, (41, 41)).points)
    up = (states > 0).sum(axis=1)
    off = (found(states) - exact[up]) / t.std(axis=0)
    # Some 25 values of M are told apart by 8000 samples: sqrt(25 / 8000) = 0.06 of the scatter of t given M.
    assert np.sqrt((off**2).mean(axis=0)).max() < 0.08
    explained = exact[up].var(axis=0) / t.var(axis=0)
    # Skill is stated on 800 held-out samples.
    np.testing.assert_allclose(found.config["skill"], explained, atol=0.06)


# ---- score ----


@pytest.mark.parametrize("distance", [0.05, 0.3])
def test_pairs_are_near_and_blind_to_which_state_is_shown(distance):
    t = np.random.default_rng(0).uniform(-1, 1, (3000, 2))
    # The state is the sample's own parameter, so it tells what the pair was.
    pairs = Pairs(torch.from_numpy(t), t, distance, seed=1)
    own, middle, step = (part.numpy() for part in pairs.draw(pairs.anchors))
    np.testing.assert_allclose(own, middle + step / 2, atol=1e-6)
    length = np.linalg.norm(step, axis=1)
    assert length.min() > 0
    assert length.max() <= distance + 1e-6
    # A fair coin: the step points inwards as often as outwards, also near the edges. 5 standard errors.
    edge = np.abs(middle).max(axis=1) > 1 - distance
    inward = (step * middle).sum(axis=1) < 0
    assert abs(inward[edge].mean() - 0.5) < 5 * 0.5 / np.sqrt(edge.sum())


def test_samples_without_a_partner_are_left_out():
    t = np.array([[0.0, 0.0], [0.9, 0.9], [0.05, 0.0], [0.9, -0.9]])
    assert Pairs(torch.zeros(4), t, 0.1, seed=0).anchors.tolist() == [0, 2]
    with pytest.raises(ValueError, match=r"no two of 4 samples lie within a distance of 0\.01"):
        Pairs(torch.zeros(4), t, 0.01, seed=0)


def test_exact_scores_give_the_exact_metric_at_the_rate_of_samples():
    system, errors = CurieWeiss(24), []
    nodes = Grid(((0.2, 0.7), (-0.3, 0.3)), (7, 7)).points
    truth = system.fisher_metric(nodes)
    for n in (1000, 8000):
        square = []
        for seed in range(4):
            _, t, states = curie_weiss(n, seed=seed)
            score = system.sufficient_statistics(states) - system.statistics_mean(t)
            metric = score_metric(score[None], t, BOX, nodes, splines=(7, 7))
            square.append(
                (((metric - truth) / np.linalg.norm(truth, axis=(1, 2))[:, None, None]) ** 2).mean()
            )
        errors.append(np.sqrt(np.mean(square)))
    # 1 / sqrt(n) without bias is 2.8. Cross-validation trades bias for variance, at worst n^-3/7 (penalty of order 3,
    # two dimensions), 2.4; and the weight it finds scatters.
    assert 1.7 < errors[0] / errors[1] < 4.5
    assert errors[1] < 0.12


def test_two_halves_have_no_bias_by_their_noise_and_one_has():
    system, t, states = curie_weiss(20_000)
    truth = system.fisher_metric(t)
    score = system.sufficient_statistics(states) - system.statistics_mean(t)
    rng, scale = np.random.default_rng(0), np.sqrt(truth[:, [0, 1], [0, 1]].mean(axis=0))
    noisy = score + 0.7 * scale * rng.standard_normal((2, *score.shape))
    diagonal = [0, 1], [0, 1]

    def ratio(scores):
        metric = score_metric(scores, t, BOX, t[:2000], splines=(7, 7))
        return metric[:, *diagonal].mean(axis=0) / truth[:2000][:, *diagonal].mean(axis=0)

    # The second moment of the noise, 0.49 of the metric, and its standard error 1.5 sqrt(2 / 20000), 1.5 %.
    np.testing.assert_allclose(ratio(noisy[:1]), 1.49, atol=0.06)
    np.testing.assert_allclose(ratio(noisy), 1.0, atol=0.06)


def test_scores_of_three_members_are_refused():
    with pytest.raises(ValueError, match=r"scores have shape \(3, 5, 2\)"):
        score_metric(np.zeros((3, 5, 2)), np.zeros((5, 2)), BOX, np.zeros((1, 2)))


@pytest.mark.slow
def test_the_classifier_finds_the_score_of_a_gaussian():
    # score = A'(x - A t) / s^2, linear in x and t; A is so that a pair is told apart two times in three.
    system, n = GaussianLinear(np.array([[1.0, 0.3], [-0.5, 1.0], [0.2, 0.4]]), noise=0.3), 12_000
    t = np.random.default_rng(5).uniform(-0.5, 0.5, (n, 2))
    x = system.sample(t, np.arange(n), 5)
    found = train_score_classifier(
        Samples(x, t, Grid(((-0.5, 0.5), (-0.5, 0.5)), (5, 5)), system.coordinates, "open"),
        steps=800, batch_size=256, learning_rate=1e-2, encoder=ENCODER, features=4, hidden=8, distance=0.3,
    )  # fmt: skip
    truth = system.sufficient_statistics(x) - system.statistics_mean(t)
    error = np.linalg.norm(found(x, t)[0] - truth) / np.linalg.norm(truth)
    # A pair's logit l has information l^2 / 4 on its scale, 0.2 here. Two components read from 50 pooled features, in
    # part redundant: sqrt(100 / (0.2 * 10800)) = 0.21 of the score.
    assert error < 0.25
    (calibration,) = found.config["calibration"]
    # A pair at dt has accuracy Phi(|dt|_g / 2), here over the distances drawn, within 4 standard errors of 1200 states.
    pairs = Pairs(torch.zeros(n), 2 * t, 0.6, seed=9)
    step = pairs.draw(pairs.anchors)[2].numpy() / 2
    metric = system.matrix.T @ system.matrix / 0.09
    best = ndtr(np.sqrt(np.einsum("ni,ij,nj->n", step, metric, step)) / 2).mean()
    assert best - 0.07 < calibration["accuracy"] < best + 0.055
    assert calibration["nll"] < calibration["nll_chance"]
    assert calibration["slope"] == pytest.approx(1, abs=0.15)


# ---- principal components ----


def test_components_of_latent_numbers_find_what_was_put_in():
    rng = np.random.default_rng(0)
    order, disorder = rng.standard_normal(4000), rng.uniform(0.5, 1.5, 4000)
    noise = 0.01 * rng.standard_normal((2, 4000, 3))
    means = np.outer(order, [0.6, -0.8, 0.0]) + noise[0]
    deviations = np.outer(disorder, [0.1, 0.3, 0.2]) + noise[1]
    for components in ("separate", "joint"):
        found = principal_statistics(means, deviations, components=components)
        for truth, value in zip((order, disorder), found.values.T, strict=True):
            # Noise of 0.01 beside a signal of at least 0.1.
            assert abs(np.corrcoef(truth, value)[0, 1]) > 0.99
    assert sum(found.explained) > 0.99


def test_components_of_nothing_are_refused():
    with pytest.raises(ValueError, match="must be separate or joint"):
        principal_statistics(np.eye(3), np.eye(3), components="all")
    with pytest.raises(ValueError, match="do not vary"), np.errstate(invalid="ignore"):
        principal_statistics(np.ones((9, 2)), np.eye(9, 2), components="separate")


def test_the_bound_is_that_of_its_definition():
    torch.manual_seed(0)
    network = VariationalAutoencoder((6,), "exchangeable", latents=2, channels=2).double()
    x = torch.tensor([[1.0, -1, 1, 1, -1, -1]], dtype=torch.float64)
    mean, log_variance = network.encode(x)
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    noise = torch.randn(1, 2, dtype=torch.float64)
    logits = network.decode(mean + noise * (log_variance / 2).exp())
    spins, divergence = network.negative_bound(x, noise)
    likelihood = torch.distributions.Bernoulli(logits=logits).log_prob((x + 1) / 2).sum()
    torch.testing.assert_close(spins[0], -likelihood)
    prior = torch.distributions.Normal(0.0, 1.0)
    torch.testing.assert_close(divergence[0], torch.distributions.kl_divergence(posterior, prior).sum())


@pytest.mark.parametrize(
    ("shape", "geometry"),
    [((8, 8), "torus"), ((5, 7), "torus"), ((64,), "ring"), ((33,), "open"), ((20,), "exchangeable")],
)
def test_the_autoencoder_takes_states_of_any_geometry(shape, geometry):
    network = VariationalAutoencoder(shape, geometry, latents=3, channels=4)
    x = torch.ones(2, *shape)
    assert network(x).shape == (2, 6)
    assert network.decode(torch.zeros(2, 3)).shape == x.shape


@pytest.mark.slow
def test_a_latent_variable_that_moves_all_spins_is_found():
    # Spins that are independent given one number z: the mean of the spins is all there is to learn.
    rng = np.random.default_rng(0)
    z = rng.standard_normal(6000)
    states = np.where(rng.random((6000, 32)) < 1 / (1 + np.exp(-2 * z[:, None])), 1, -1).astype(np.int8)
    nowhere = Samples(
        states, np.zeros((6000, 2)), Grid(BOX, (5, 5)), natural_coordinates("K", "h"), "exchangeable"
    )
    found = train_vae(nowhere, latents=2, channels=8, beta=1.0, steps=600, batch_size=256, learning_rate=5e-3)
    principal = principal_statistics(*found(states), components="separate")
    assert abs(np.corrcoef(principal.values[:, 0], states.mean(axis=1))[0, 1]) > 0.98
    # The exact evidence, by quadrature over z; a bound lies above it, a good one within 5 %.
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    up = (states > 0).sum(axis=1)
    log_p = -np.logaddexp(0, -2 * nodes) * up[:, None] - np.logaddexp(0, 2 * nodes) * (32 - up[:, None])
    exact = -np.log(np.exp(log_p) @ weights / np.sqrt(2 * np.pi)).mean()
    assert exact * 0.99 < found.config["bound"] < 1.05 * exact


def test_states_of_three_values_have_no_bernoulli_likelihood():
    with pytest.raises(ValueError, match="other values than two"):
        binary_input(np.array([[-1, 0, 1]]))


# ---- images of states ----


def test_a_chain_is_laid_out_row_by_row_and_repeated():
    image = state_images(np.array([[0, 1, 1, 1, 0, 0]], dtype=np.int8), (6, 4))
    assert image.shape == (1, 6, 4, 1)
    assert image.dtype == np.uint8
    expected = np.repeat(np.repeat([[0, 255], [255, 255], [0, 0]], 2, axis=0), 2, axis=1)
    np.testing.assert_array_equal(image[0, :, :, 0], expected)


def test_a_lattice_of_the_size_of_the_grid_is_itself():
    states = np.array([[[-1, 1, 1], [1, -1, -1]]], dtype=np.int8)
    np.testing.assert_array_equal(state_images(states, (2, 3))[0, :, :, 0], np.where(states[0] > 0, 255, 0))


def test_the_squarest_rectangle():
    assert [squarest(n) for n in (64, 32, 6, 7, 256)] == [(8, 8), (8, 4), (3, 2), (7, 1), (16, 16)]


@pytest.mark.parametrize(
    ("states", "message"),
    [
        (np.zeros((2, 9, 9)), "grid has only 8 x 8"),
        (np.full((2, 4), 2), "other values"),
        (np.zeros((2, 2, 2, 2)), "must be chains"),
    ],
)
def test_states_that_make_no_image_are_refused(states, message):
    with pytest.raises(ValueError, match=message):
        state_images(states, (8, 8))


# ---- what trained parts share ----


def trained(kind, geometry="ring", seed=0):
    samples = samples_of(geometry)
    common = {**FEW, "seed": seed}
    if kind == "mean":
        return train_mean_regression(samples, encoder=ENCODER, **common)
    if kind == "vae":
        return train_vae(samples, latents=2, channels=2, beta=1.0, **common)
    return train_score_classifier(
        samples, encoder=ENCODER, features=2, hidden=4, distance=0.5,
        halves=kind == "halves", **common,
    )  # fmt: skip


def output(part):
    samples = samples_of("ring")
    arguments = (samples.states, samples.t) if isinstance(part, ScoreClassifier) else (samples.states,)
    return np.concatenate([np.atleast_3d(values) for values in np.atleast_1d(part(*arguments))], axis=-1)


@pytest.mark.parametrize("kind", ["mean", "vae", "score", "halves"])
def test_training_is_a_function_of_the_seed_and_files_keep_it(kind, tmp_path):
    torch.manual_seed(7)
    part, stream = trained(kind), torch.rand(1)
    torch.manual_seed(7)
    assert torch.equal(stream, torch.rand(1)), "training must leave torch's global stream alone"
    np.testing.assert_array_equal(output(part), output(trained(kind)))
    assert not np.array_equal(output(part), output(trained(kind, seed=1)))
    part.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    again = type(part).load(tmp_path)
    np.testing.assert_array_equal(output(part), output(again))
    assert again.config == json.loads(json.dumps(part.config))


@pytest.mark.parametrize("part", [MeanRegression, LatentStatistics, ScoreClassifier])
def test_other_files_are_refused(part, tmp_path):
    write_network(tmp_path, {}, {})
    with pytest.raises(ValueError, match="does not hold a"):
        part.load(tmp_path)


def test_outputs_do_not_depend_on_blocks():
    part, samples = trained("mean"), samples_of("ring")
    np.testing.assert_allclose(part(samples.states)[:7], part(samples.states[:7]), atol=1e-6)


def test_the_halves_see_different_samples():
    part = trained("halves")
    first, second = part(samples_of("ring").states, samples_of("ring").t)
    assert not np.allclose(first, second)
    assert len(part.config["calibration"]) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be"),
        ({"batch_size": 1}, "batch_size at least 2"),
        ({"learning_rate": 0.0}, "positive"),
    ],
)
def test_training_with_a_number_out_of_range_is_refused(change, message):
    line = torch.nn.Linear(1, 1)
    with pytest.raises(ValueError, match=message):
        minimise(line, lambda rows, _: line(torch.ones(1)).sum(), 10, seed=0, **{**FEW, **change})


def test_least_squares_by_minimise_reach_the_normal_equations():
    rng = torch.Generator().manual_seed(0)
    x, line = torch.randn(64, 2, generator=rng), torch.nn.Linear(2, 1)
    y = x @ torch.tensor([0.5, -1.0]) + 0.3 + 0.1 * torch.randn(64, generator=rng)
    loss = lambda rows, _: ((line(x[rows])[:, 0] - y[rows]) ** 2).mean()  # noqa: E731
    course = minimise(line, loss, 64, steps=600, batch_size=64, learning_rate=0.05, seed=0)
    design = torch.cat([x, torch.ones(64, 1)], dim=1)
    exact = torch.linalg.lstsq(design, y[:, None]).solution[:, 0]
    # Weight decay of 0.01 times learning rates below 0.05 moves the weights by less than a per cent.
    np.testing.assert_allclose(torch.cat([line.weight[0], line.bias]).detach(), exact, atol=0.01)
    assert len(course) == 10
    assert course[-1] < course[0]


# ---- the interface ----


def test_every_estimator_reads_a_network_that_has_a_trainer():
    entries = registry.ESTIMATORS.values()
    assert {entry.network for entry in entries} - {None} == set(registry.NETWORKS)
    assert len({entry.title for entry in entries}) == len(entries)
    for entry in entries:
        assert callable(getattr(import_module(f"hessgeo.estimators.{entry.module}"), entry.name))
    samples = samples_of("ring")
    with pytest.raises(ValueError, match="estimator 'best' is not one of statistics, exponential"):
        registry.estimate("best", samples, None, {}, Run())
    with pytest.raises(ValueError, match="network 'best' is not one of exponential"):
        registry.train("best", samples, {}, Run())


SMALL = {
    "mean-regression": {**FEW, "encoder": ENCODER},
    "vae": {**FEW, "latents": 2, "channels": 2},
    "score": {**FEW, "features": 2, "hidden": 4, "distance": 0.5, "encoder": ENCODER, "halves": False},
    "u2net": {"grid": 8, "epochs": 1, "batch_size": 40, "calibration": 16},
}
QUICK = {
    "mean-as-statistic": {"splines": [5, 5]},
    "pca-vae": {"splines": [5, 5], "components": "joint"},
    "score-classifier": {"splines": [5, 5], "debias": "slope"},
    "u2net": {"splines": [5, 5]},
    "u2net-mlp": {"steps": 2, "width": 8, "depth": 2, "rows": 20},
}


def settings_of(part, name, changes):
    """Settings of an estimator or a network: the defaults, with changes in their place."""
    return merged(defaults(f"solvable_{part}")[name], changes)


@pytest.mark.parametrize("key", QUICK)
def test_every_baseline_runs_from_samples_to_estimate(key, tmp_path):
    samples, network = samples_of("torus"), registry.ESTIMATORS[key].network
    training = settings_of("networks", network, SMALL[network])
    registry.train(network, samples, training, Run()).save(tmp_path)
    part, settings = registry.load(network, tmp_path), settings_of("estimators", key, QUICK[key])
    found = registry.estimate(key, samples, part, settings, Run())
    nodes = samples.grid.size
    shapes = {
        "value": (nodes,),
        "gradient": (nodes, 2),
        "metric": (nodes, 2, 2),
        "metric_error": (nodes, 2, 2),
    }
    for name, shape in shapes.items():
        values = getattr(found, name)
        assert values is None or (values.shape == shape and np.isfinite(values).all())
    np.testing.assert_array_equal(found.metric, np.swapaxes(found.metric, 1, 2))
    assert (found.value is None) == (key == "score-classifier")
    json.dumps(found.numbers, allow_nan=False)


class Predicts:
    """A regression that predicts by a formula."""

    def __init__(self, formula):
        self.formula, self.config = formula, {"skill": [0.0, 0.0]}

    def __call__(self, states):
        return self.formula(states)


def test_the_map_of_the_mean_gives_nats():
    # Means of a network that are A times the sufficient statistics: with the response map F is log Z.
    system, t, states = curie_weiss(20_000)

    mixture = np.array([[0.1, 0.0], [0.02, -0.3]])
    network = Predicts(lambda states: system.sufficient_statistics(states) @ mixture.T)
    samples = Samples(states, t, Grid(BOX, (15, 15)), system.coordinates, "exchangeable")
    settings = settings_of("estimators", "mean-as-statistic", {"map": "response"})
    found = registry.estimate("mean-as-statistic", samples, network, settings, Run())
    exact, points = system.log_partition(samples.grid.points), samples.grid.points
    design = np.column_stack([np.ones(len(points)), points])
    left = found.value - exact
    left -= design @ np.linalg.lstsq(design, left, rcond=None)[0]
    shape = exact - design @ np.linalg.lstsq(design, exact, rcond=None)[0]
    # The map is known to 2 to 4 per cent, and so is F.
    assert left.std() < 0.06 * shape.std()


def test_a_map_that_is_none_is_refused():
    network = Predicts(lambda states: np.random.default_rng(0).standard_normal((len(states), 2)))
    settings = settings_of("estimators", "mean-as-statistic", {"map": "best"})
    with pytest.raises(ValueError, match="must be none or response"):
        registry.estimate("mean-as-statistic", samples_of("ring"), network, settings, Run())


@pytest.mark.slow
def test_on_the_ising_model_the_score_classifier_and_the_mean_beat_zero_skill():
    system = Ising(4)
    box = ((0.1, 0.4), (-0.25, 0.25))
    t = np.random.default_rng(0).uniform(*np.array(box).T, (8000, 2))
    states = system.sample(t, np.arange(len(t)), 1)
    samples = Samples(states, t, Grid(box, (9, 9)), system.coordinates, "torus")
    truth = system.fisher_metric(samples.grid.points)

    def error(metric):
        return np.median(np.linalg.norm(metric - truth, axis=(1, 2)) / np.linalg.norm(truth, axis=(1, 2)))

    common, found = {"steps": 400, "encoder": {"width": 8}}, {}
    # A quarter of the sites of 8 x 8, so a quarter of the metric: pairs twice as far apart tell as much.
    own = {"score": {"halves": False, "distance": 0.3}, "mean-regression": {}}
    for network, key in (("score", "score-classifier"), ("mean-regression", "mean-as-statistic")):
        quick = settings_of("networks", network, {**common, **own[network]})
        part = registry.train(network, samples, quick, Run())
        settings = settings_of("estimators", key, {})
        found[key] = error(registry.estimate(key, samples, part, settings, Run()).metric)
    zero = constant_metric(truth, samples.grid).metric
    best = min(error(scale * zero) for scale in np.geomspace(0.1, 10, 100))
    # Zero skill stands at 0.54, its scale fitted to the truth; the others know theirs.
    assert found["score-classifier"] < 0.7 * best
    assert found["mean-as-statistic"] < 0.9 * best


def test_blocks_of_several_inputs_go_together():
    x = torch.arange(10_000.0)
    out = in_blocks(lambda a, b: a - b, x, x, device=torch.device("cpu"))
    assert out.dtype == torch.float64
    assert not out.any()
