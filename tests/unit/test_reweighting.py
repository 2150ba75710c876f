"""Reweighting of samples, on systems whose metric is known."""

import numpy as np
import pytest
import torch
from truths import drawn_statistics, interior, metric_errors

from hessgeo.free_energies import reweighting_problem
from hessgeo.free_energies.reweighting import fit_reweighted
from hessgeo.systems.solvable.curie_weiss import CurieWeiss
from hessgeo.systems.solvable.gaussian_linear import GaussianLinear
from hessgeo.systems.solvable.ising_chain import IsingChain

CHAIN, CHAIN_BOX = IsingChain(64), ((0.0, 0.5), (-0.4, 0.4))
# The upper end of K lies beyond the critical point, where the law of the magnetisation has two peaks.
MAGNET, MAGNET_BOX = CurieWeiss(32), ((0.4, 1.2), (-0.4, 0.4))


@pytest.fixture(scope="module")
def fit():
    """Of 4,000 states of the chain."""
    return fit_reweighted(*drawn_statistics(CHAIN, CHAIN_BOX, 4_000))


def test_the_error_of_the_metric_falls_as_the_root_of_the_samples():
    t = interior(MAGNET_BOX, 8)

    def error(n, seed):
        return np.median(
            metric_errors(fit_reweighted(*drawn_statistics(MAGNET, MAGNET_BOX, n, seed)), MAGNET, t)[0]
        )

    few, many = (np.mean([error(n, seed) for seed in range(6)]) for n in (3_000, 27_000))
    # Some forty cells as wide as one sample's scatter hold 680 states each: sqrt(2 / 680) is an upper bound.
    assert many < 0.055
    # A factor of 9 in samples; one fit's median scatters by about a third, the mean of six by 0.14, two of them 0.2.
    assert 3 / 1.6 < few / many < 3 * 1.6


@pytest.mark.parametrize(("system", "box"), [(CHAIN, CHAIN_BOX), (MAGNET, MAGNET_BOX)])
def test_bars_of_95_percent_hold_the_truth_as_often(system, box):
    t, inside, squares = interior(box, 4), [], []
    for seed in range(20):
        _, z = metric_errors(fit_reweighted(*drawn_statistics(system, box, 1_500, seed)), system, t)
        inside.append((np.abs(z) < 1.96).mean())
        squares.append((z**2).mean())
    # Entries at neighbouring nodes go together: a fit counts as some six draws. Three deviations of 120 draws are 0.06
    # for the share and 0.39 for the mean square.
    assert 0.89 < np.mean(inside) < 0.99
    assert np.mean(squares) == pytest.approx(1, abs=0.39)


def test_errors_of_value_and_gradient_hold_the_truth():
    t = interior(MAGNET_BOX, 5)
    truth, value, gradient = MAGNET.cumulants(t), [], []
    level = MAGNET.log_partition
    for seed in range(25):
        f, drawn = drawn_statistics(MAGNET, MAGNET_BOX, 1_500, seed)
        one, at = fit_reweighted(f, drawn), torch.from_numpy(t)
        deviation = one.value(at).numpy() - (truth.log_partition - level(drawn).mean())
        value.append(deviation / one.value_error(at).numpy())
        gradient.append((one.gradient(at).numpy() - truth.mean) / one.gradient_error(at).numpy())
    # As above: three deviations of 150 draws.
    assert np.mean(np.square(value)) == pytest.approx(1, abs=0.35)
    assert np.mean(np.square(gradient)) == pytest.approx(1, abs=0.35)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_fit_on_a_gpu_is_the_same_and_answers_on_the_cpu(fit):
    there, t = (
        fit_reweighted(*drawn_statistics(CHAIN, CHAIN_BOX, 4_000), device="cuda"),
        interior(CHAIN_BOX, 4),
    )
    for name in ("value", "gradient", "hessian", "value_error", "gradient_error", "hessian_error"):
        one, other = (getattr(which, name)(torch.from_numpy(t)) for which in (fit, there))
        torch.testing.assert_close(other, one, rtol=1e-6, atol=1e-9)


def test_samples_of_one_point_are_plain_importance_sampling():
    t0, n = np.array([0.2, 0.1]), 3_000
    t = np.tile(t0, (n, 1))
    f = CHAIN.sufficient_statistics(CHAIN.sample(t, np.arange(n), 3))
    one, at = fit_reweighted(f, t), torch.tensor([[0.2, 0.1], [0.25, 0.08]], dtype=torch.float64)
    weight = np.exp((f - f.mean(axis=0)) @ (at.numpy() - t0).T)
    weight /= weight.sum(axis=0)
    np.testing.assert_allclose(one.gradient(at).numpy(), weight.T @ f, rtol=1e-10)
    np.testing.assert_allclose(one.effective_samples(at).numpy(), 1 / (weight**2).sum(axis=0), rtol=1e-10)
    np.testing.assert_allclose(one.gradient_error(at)[0].numpy(), f.std(axis=0) / n**0.5, rtol=1e-10)
    np.testing.assert_allclose(one.hessian(at)[0].numpy(), np.cov(f.T, bias=True), rtol=1e-9)


def test_two_points_satisfy_the_acceptance_ratio_of_bennett():
    points, n = np.array([[0.1, 0.0], [0.3, 0.1]]), 2_000
    t = np.repeat(points, [n, 2 * n], axis=0)
    f = CHAIN.sufficient_statistics(CHAIN.sample(t, np.arange(3 * n), 1))
    value = fit_reweighted(f, t).value(torch.from_numpy(points)).numpy()
    work = f @ (points[1] - points[0]) - (value[1] - value[0]) + np.log(2)
    # As many samples are taken for the second point's as were drawn there (Bennett 1976, eq. 12).
    assert (1 / (1 + np.exp(-work))).sum() == pytest.approx(2 * n, rel=1e-7)
    assert n * value[0] + 2 * n * value[1] == pytest.approx(0, abs=1e-7 * n)


def test_derivatives_are_those_of_the_value(fit):
    t = torch.from_numpy(interior(CHAIN_BOX, 3)).requires_grad_()
    (gradient,) = torch.autograd.grad(fit.value(t).sum(), t)
    torch.testing.assert_close(fit.gradient(t), gradient)
    for lower, higher in ((fit.gradient, fit.hessian), (fit.hessian, fit.third)):
        rows = torch.autograd.functional.jacobian(lambda x, f=lower: f(x).sum(0), t)
        torch.testing.assert_close(higher(t), rows.movedim(-2, 0), rtol=1e-7, atol=1e-7)


def test_the_metric_is_positive_far_outside_the_samples(fit):
    t = torch.from_numpy(interior(((-1, 2), (-2, 2)), 9))
    assert (torch.linalg.eigvalsh(fit.hessian(t)) > -1e-9).all()
    # Hardly a sample speaks of the far corner, of the box's middle nearly as many as there are within one deviation.
    assert (
        fit.effective_samples(t).min() < 2 < 200 < fit.effective_samples(torch.tensor([0.25, 0.0]).double())
    )


def test_errors_follow_a_change_of_parameters(fit):
    t = torch.from_numpy(interior(CHAIN_BOX, 2))
    plain = fit.hessian_error(t)
    half = fit.hessian_error(t, torch.eye(2).double().expand(4, 2, 2) / 2)
    torch.testing.assert_close(half, plain / 4)
    turned = fit.hessian_error(t, torch.tensor([[0.0, 1.0], [1.0, 0.0]]).double().expand(4, 2, 2))
    torch.testing.assert_close(turned, plain.flip(1, 2))


def test_the_metric_follows_a_change_of_the_statistics():
    f, drawn = drawn_statistics(MAGNET, MAGNET_BOX, 2_000)
    f = f - f.mean(axis=0)
    one, t = fit_reweighted(f, drawn, tolerance=1e-10), torch.from_numpy(interior(MAGNET_BOX, 3))
    response, step = one.hessian_response(t), 1e-4
    for k, c in ((0, 0), (0, 1), (1, 0), (1, 1)):
        change = np.zeros((2, 2))
        change[k, c] = step
        above, below = (
            fit_reweighted(f @ (np.eye(2) + sign * change).T, drawn, tolerance=1e-10).hessian(t)
            for sign in (1, -1)
        )
        found = (above - below) / (2 * step)
        error = torch.linalg.norm(response[..., k, c] - found) / torch.linalg.norm(found)
        # Nodes stand at means of the samples' parameters, which the differences let follow their cells.
        assert error < 0.01


def test_statistics_without_a_lattice_are_carried_by_a_share_of_them(monkeypatch):
    system = GaussianLinear(np.array([[3.0, 1], [0, 2], [1, 1]]), noise=0.5)
    f, t = drawn_statistics(system, ((0, 1), (-1, 1)), 3_000)
    at = torch.from_numpy(interior(((0, 1), (-1, 1)), 4))
    whole = fit_reweighted(f, t)
    monkeypatch.setattr(reweighting_problem, "LARGEST_CARRIED", 750)
    monkeypatch.setattr(reweighting_problem, "BLOCK", 2**17)
    part = fit_reweighted(f, t)
    assert part.certificate["converged"]
    # The same minimum, by other steps; its curvature, and so the errors, from a quarter of the samples.
    torch.testing.assert_close(part.hessian(at), whole.hessian(at), rtol=1e-4, atol=1e-4)
    ratio = part.hessian_error(at) / whole.hessian_error(at)
    assert 0.75 < ratio.min() < ratio.max() < 1.35
    truth = system.fisher_metric(at.numpy())
    assert np.median(np.abs(whole.hessian(at).numpy() / truth - 1)) < 0.1


def test_a_first_order_line_in_a_wedge_of_parameters():
    # The magnetisation jumps where h changes its sign; (K, h) = (1, H) / T fill a fan.
    rng = np.random.default_rng(0)
    temperature, field = rng.uniform(0.5, 3, 8_000), rng.uniform(-1, 1, 8_000)
    t = np.stack([1 / temperature, field / temperature], axis=1)
    f = MAGNET.sufficient_statistics(MAGNET.sample(t, np.arange(8_000), 5))
    found = fit_reweighted(f, t)
    assert found.certificate["converged"]
    grid = interior(((0.5, 3), (-1, 1)), 8)
    at = np.stack([1 / grid[:, 0], grid[:, 1] / grid[:, 0]], axis=1)
    relative, z = metric_errors(found, MAGNET, at)
    # 8,000 states: 0.02 twice over for the median; where all spins are up but a few, their number alone is known.
    assert np.median(relative) < 0.05
    assert np.quantile(relative, 0.9) < 0.15
    assert np.abs(z).max() < 6


def test_pearson_tells_statistics_of_another_law():
    f, t = drawn_statistics(CHAIN, CHAIN_BOX, 2_000)
    mean = CHAIN.statistics_mean(t)
    assert fit_reweighted(f, t).certificate["pearson"] == pytest.approx(1, abs=0.1)
    # Each sample's mean kept and its scatter doubled: no exponential family.
    assert fit_reweighted(mean + 2 * (f - mean), t).certificate["pearson"] > 1.3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, t: (f[:, :1], t), "must both have shape"),
        (lambda f, t: (np.where(f > 0, np.nan, f), t), "not finite"),
        (lambda f, t: (-f, t), "sign is not that of f"),
    ],
)
def test_what_cannot_be_fitted_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        fit_reweighted(*change(*drawn_statistics(CHAIN, CHAIN_BOX, 200)))
