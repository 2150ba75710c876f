"""The open exclusion process: its matrices against the master equation, all else against its matrices."""

import numpy as np
import pytest
import truths

from hessgeo.systems.solvable.tasep import Tasep, limiting_current

RATES = np.array([[0.3, 0.6], [0.7, 0.2], [0.3, 0.3], [0.9, 0.8], [1.4, 0.5]])


def steady_state(sites, alpha, beta):
    """All states and their odds, from the null vector of the rates between them; no matrix product."""
    states = truths.all_states((sites,), values=(0, 1))
    number = {tuple(state): k for k, state in enumerate(states)}
    rates = np.zeros((len(states), len(states)))
    for k, state in enumerate(states):
        moves = [(i, i + 1, 1.0) for i in range(sites - 1) if state[i] and not state[i + 1]]
        moves += [(None, 0, alpha)] * (not state[0]) + [(sites - 1, None, beta)] * bool(state[-1])
        for source, target, rate in moves:
            after = state.copy()
            if source is not None:
                after[source] = 0
            if target is not None:
                after[target] = 1
            rates[number[tuple(after)], k] += rate
            rates[k, k] -= rate
    rates[0] = 1
    return states, np.linalg.solve(rates, np.eye(len(states))[0])


@pytest.mark.parametrize("sites", [1, 2, 5])
def test_weights_are_the_steady_state_of_the_master_equation(sites):
    process = Tasep(sites)
    for rates in RATES:
        states, odds = steady_state(sites, *rates)
        points = np.tile(rates, (len(states), 1))
        log_p = process.log_weight(states, points) - process.log_partition(points)
        np.testing.assert_allclose(np.exp(log_p), odds, rtol=1e-10)
        np.testing.assert_allclose(
            truths.tasep_density(process.sites, rates[None])[0], odds @ states, rtol=1e-10
        )
        entered = rates[0] * odds[states[:, 0] == 0].sum()
        assert truths.tasep_current(process.sites, rates[None])[0] == pytest.approx(entered, rel=1e-10)


def test_the_score_is_the_gradient_of_log_p():
    process, step = Tasep(7), 1e-5
    states = truths.all_states((7,), values=(0, 1))
    for rates in RATES:
        points = np.tile(rates, (len(states), 1))
        score = process.score(states, points)
        for axis in (0, 1):
            log_p = [
                process.log_weight(states, points + d) - process.log_partition(points + d)
                for d in (step * np.eye(2)[axis], -step * np.eye(2)[axis])
            ]
            # The error of the difference is step^2 times a third derivative, up to 1e3.
            np.testing.assert_allclose(score[:, axis], (log_p[0] - log_p[1]) / (2 * step), atol=1e-6)
        probability = np.exp(process.log_weight(states, points) - process.log_partition(points))
        np.testing.assert_allclose(probability @ score, 0, atol=1e-12)


def test_the_metric_is_the_second_derivative_of_the_divergence():
    process, reach, direction = Tasep(6), 1e-3, np.array([0.6, 0.8])
    states = truths.all_states((6,), values=(0, 1))
    for rates in RATES:
        log_p = [
            process.log_weight(states, np.tile(t, (len(states), 1))) - process.log_partition(t[None])
            for t in (rates, rates + reach * direction, rates - reach * direction)
        ]
        divergence = np.exp(log_p[0]) @ (2 * log_p[0] - log_p[1] - log_p[2])
        length = direction @ process.fisher_metric(rates[None])[0] @ direction
        # Fourth derivatives of log p over its second, times reach^2.
        assert divergence / reach**2 == pytest.approx(length, rel=1e-3)


def test_one_site_is_a_coin():
    # Occupied with odds alpha / (alpha + beta): the Fisher metric of a coin, pulled back.
    alpha, beta = 0.3, 0.5
    p = alpha / (alpha + beta)
    slope = np.array([beta, -alpha]) / (alpha + beta) ** 2
    expected = np.outer(slope, slope) / (p * (1 - p))
    np.testing.assert_allclose(Tasep(1).fisher_metric(np.array([[alpha, beta]]))[0], expected, rtol=1e-12)


def test_holes_are_particles_that_go_the_other_way():
    process = Tasep(9)
    rng = np.random.default_rng(0)
    states, points = rng.integers(0, 2, (20, 9)).astype(np.int8), rng.uniform(0.1, 1, (20, 2))
    mirrored = 1 - states[:, ::-1]
    np.testing.assert_allclose(
        process.score(states, points), process.score(mirrored, points[:, ::-1])[:, ::-1], rtol=1e-9
    )


def test_the_current_tends_to_its_three_phases():
    rates = np.array([[0.2, 0.7], [0.7, 0.3], [0.8, 0.9]])
    np.testing.assert_allclose(limiting_current(rates), [0.16, 0.21, 0.25])
    errors = np.array([np.abs(truths.tasep_current(n, rates) - limiting_current(rates)) for n in (100, 200)])
    # Exponentially fast at low and high density; as 3 / (8 N) in the phase of largest current.
    assert np.all(errors[:, :2] < 1e-6)
    np.testing.assert_allclose(errors[:, 2] * [100, 200], 3 / 8, rtol=0.05)
    # log Z a site tends to -log J.
    per_site = Tasep(2000).log_partition(rates) / 2000
    np.testing.assert_allclose(per_site, -np.log(limiting_current(rates)), atol=0.01)


def test_nothing_overflows_at_extreme_rates():
    process = Tasep(1024)
    rates = np.array([[1e-4, 0.9], [0.9, 1e-4], [1e-4, 1e-4], [1e-4, 2e-4], [50.0, 50.0], [0.49, 1e-3]])
    states = process.sample(rates, np.arange(6), 0)
    assert set(np.unique(states)) <= {0, 1}
    assert states[0].mean() < 0.01 < 0.99 < states[1].mean()
    assert np.isfinite(process.score(states, rates)).all()
    assert np.all(process.log_weight(states, rates) < process.log_partition(rates))


@pytest.mark.parametrize("rates", RATES)
def test_samples_have_the_odds_of_their_states(rates):
    process, samples = Tasep(6), 30_000
    states, points = truths.all_states((6,), values=(0, 1)), np.tile(rates, (64, 1))
    expected = samples * np.exp(process.log_weight(states, points) - process.log_partition(points))
    drawn = process.sample(np.tile(rates, (samples, 1)), np.arange(samples), 11)
    found = np.bincount(drawn @ (1 << np.arange(6)[::-1]), minlength=64)
    # Chi squared of 63 degrees of freedom: 4.5 standard deviations above.
    assert ((found - expected) ** 2 / expected).sum() < 63 + 4.5 * np.sqrt(2 * 63)


@pytest.mark.parametrize("rates", [(0.2, 0.7), (0.7, 0.3), (0.8, 0.9), (0.3, 0.3)])
def test_samples_of_a_long_lattice_have_the_exact_densities_and_mean_score(rates):
    process, samples = Tasep(200), 2000
    points = np.tile(rates, (samples, 1))
    states = process.sample(points, np.arange(samples), 5)
    deviation = states - truths.tasep_density(process.sites, points[:1])
    truths.assert_zero_mean(deviation)
    truths.assert_zero_mean(deviation.sum(axis=1))
    truths.assert_zero_mean(process.score(states, points))


def test_the_estimated_metric_is_the_exact_one_within_its_error():
    process = Tasep(10)
    exact = process.fisher_metric(RATES[:3])
    estimate, error = process.estimated_metric(RATES[:3], samples=4000, seed=0)
    assert np.all(np.abs(estimate - exact) < 4.5 * error)
    assert np.all(error < 0.2 * np.abs(exact).max(axis=(1, 2), keepdims=True))


def test_the_estimated_metric_is_even_under_exchange_of_particles_and_holes():
    rates = np.array([[0.3, 0.7], [0.7, 0.3], [0.4, 0.4], [0.3, 0.7]])
    estimate, error = Tasep(12).estimated_metric(rates, samples=300, seed=2)
    for values in (estimate, error):
        np.testing.assert_array_equal(values[0], values[1][::-1, ::-1])
        np.testing.assert_array_equal(values[0], values[3])
        # A point does not depend on those beside it.
    np.testing.assert_array_equal(
        Tasep(12).estimated_metric(rates[:1], samples=300, seed=2)[0][0], estimate[0]
    )
    exact = Tasep(12).fisher_metric(rates)
    assert np.all(np.abs(estimate - exact) < 4.5 * error)


def test_tables_that_are_made_twice_are_the_same(monkeypatch):
    points = np.concatenate([RATES, RATES[:2], [[0.01, 0.4]]])
    for sites in (1, 2, 50, 64):
        monkeypatch.setattr("hessgeo.systems.solvable.tasep.LARGEST_WHOLE", 256)
        whole = Tasep(sites).sample(points, np.arange(8), 1)
        monkeypatch.setattr("hessgeo.systems.solvable.tasep.LARGEST_WHOLE", 0)
        np.testing.assert_array_equal(Tasep(sites).sample(points, np.arange(8), 1), whole)


def test_a_state_depends_on_seed_index_and_point_alone():
    points = np.random.default_rng(1).uniform(0.1, 1, (20, 2))
    points[7] = points[3]
    truths.assert_batches_do_not_matter(Tasep(40), points)


def test_what_has_no_steady_state_is_refused():
    with pytest.raises(ValueError, match="sites is 0, must be at least 1"):
        Tasep(0)
    with pytest.raises(ValueError, match="a rate of entry or exit is 0, must be positive"):
        Tasep(4).sample(np.array([[0.0, 0.5]]), np.arange(1), 0)
    with pytest.raises(ValueError, match="sites is 15, must be at most 14"):
        Tasep(15).fisher_metric(RATES)
    with pytest.raises(ValueError, match="samples is 1, must be at least 2"):
        Tasep(15).estimated_metric(RATES, samples=1, seed=0)
    with pytest.raises(ValueError, match=r"states have shape \(1, 3\), must be \(1, 4\)"):
        Tasep(4).score(np.zeros((1, 3)), RATES[:1])
