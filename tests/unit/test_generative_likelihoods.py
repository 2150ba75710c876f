"""The likelihoods of a normalising flow and of a diffusion model, against distributions that are known."""

import math

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from hessgeo.densities.flow import fit_flow
from hessgeo.densities.probability_flow import ProbabilityFlowDensity, network_velocity, scheduler_angles
from hessgeo.models.digit_diffusion import build_scheduler, build_unet

VARIANCES = torch.tensor([0.5, 1.5, 0.0], dtype=torch.float64)  # one axis without spread, as a blank pixel
START = 0.1


def gaussian_velocity(x, angle):
    """``E[cos(a) noise - sin(a) x_0 | x]`` for normal data."""
    total = math.cos(angle) ** 2 * VARIANCES + math.sin(angle) ** 2
    return math.sin(angle) * math.cos(angle) * (1 - VARIANCES) / total * x


def points(n=5):
    return torch.randn((n, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def exact(x):
    """``log p`` of normal data with noise of width ``tan(START)``."""
    variance = VARIANCES + math.tan(START) ** 2
    return -(x.square() / variance + variance.log() + math.log(2 * math.pi)).sum(dim=-1) / 2


def gaussian(steps, **options):
    return ProbabilityFlowDensity(gaussian_velocity, dimension=3, start=START, steps=steps, **options)


def test_the_likelihood_of_a_gaussian_diffusion_comes_at_the_order_of_the_solver():
    # The axis without spread has the quadratic form x^2 / tan^2(0.1): points at its scale, for absolute errors.
    x = points() * (VARIANCES + math.tan(START) ** 2).sqrt()
    errors = np.array([(gaussian(steps).log_prob(x) - exact(x)).abs().max().item() for steps in (8, 16, 32)])
    assert (np.log2(errors[:-1] / errors[1:]) > 3.6).all()  # fourth order, not quite reached
    assert errors[-1] < 1e-4


def test_both_scores_are_that_of_the_gaussian():
    x = points() * (VARIANCES + math.tan(START) ** 2).sqrt()
    score = -x / (VARIANCES + math.tan(START) ** 2)
    torch.testing.assert_close(gaussian(32).score(x), score, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(gaussian(8).model_score(x), score)  # one evaluation, no solver


def mixing_velocity(x, angle):
    """A flow whose Jacobian is not diagonal."""
    matrix = torch.tensor([[0.1, 0.5, -0.2], [0.3, -0.2, 0.4], [0.0, 0.6, 0.2]], dtype=x.dtype)
    return torch.sin(x) @ matrix * math.cos(angle)


def test_random_probes_are_right_on_average_and_scatter_as_their_number_says():
    x = points(3)
    options = {"dimension": 3, "start": 0.5, "steps": 4}
    truth = ProbabilityFlowDensity(mixing_velocity, **options).log_prob(x)
    scatter = []
    for probes in (4, 64):
        found = torch.stack(
            [
                ProbabilityFlowDensity(mixing_velocity, probes=probes, seed=k, **options).log_prob(x)
                for k in range(12)
            ]
        )
        error = found.std(dim=0) / math.sqrt(12)
        assert ((found.mean(dim=0) - truth).abs() < 4 * error).all()
        scatter.append(found.std(dim=0).mean().item())
    assert scatter[0] / scatter[1] == pytest.approx(4, rel=0.4)  # the root of 16; 12 draws know it to a fifth


def test_batches_do_not_change_a_likelihood():
    x = points(7)
    torch.testing.assert_close(gaussian(4, batch_size=7).log_prob(x), gaussian(4).log_prob(x))


@pytest.mark.parametrize("kind", ["v_prediction", "epsilon"])
def test_a_network_gives_the_velocity_of_its_schedule(kind):
    class Network(torch.nn.Module):
        """Predicts for data that are zero: all of x is noise."""

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def forward(self, x, times):
            angle = torch.from_numpy(np.interp(times.numpy(), np.arange(1000), angles)).reshape(-1, 1, 1, 1)
            noise = (x / angle.sin()).to(x.dtype)
            sample = noise * angle.cos().to(x.dtype) if kind == "v_prediction" else noise
            return type("Output", (), {"sample": sample})

    scheduler = build_scheduler()
    scheduler.register_to_config(prediction_type=kind)
    angles = scheduler_angles(scheduler)
    velocity = network_velocity(Network(), scheduler, (1, 2, 2))
    x = torch.randn((3, 4), generator=torch.Generator().manual_seed(0))
    # Times are single precision, up to 1000: angles are known to 1e-7 of a right angle or so.
    torch.testing.assert_close(velocity(x, 0.7), x * (math.cos(0.7) / math.sin(0.7)), rtol=1e-5, atol=1e-5)


class GaussianNetwork(torch.nn.Module):
    """The best prediction there is for normal data of the given variances: of the velocity, or of the noise."""

    def __init__(self, kind, angles, variances):
        super().__init__()
        self.kind, self.angles = kind, angles
        self.variances = torch.nn.Parameter(variances, requires_grad=False)

    def forward(self, x, times):
        angle = torch.from_numpy(np.interp(times.numpy(), np.arange(len(self.angles)), self.angles))
        sine, cosine = angle.sin().reshape(-1, 1, 1, 1), angle.cos().reshape(-1, 1, 1, 1)
        total = cosine**2 * self.variances + sine**2
        gain = sine / total if self.kind == "epsilon" else sine * cosine * (1 - self.variances) / total
        return type("Output", (), {"sample": gain * x})


@pytest.mark.parametrize("schedule", ["squaredcos_cap_v2", "scaled_linear"])
@pytest.mark.parametrize("kind", ["v_prediction", "epsilon"])
def test_networks_of_the_velocity_and_of_the_noise_have_the_likelihood_of_a_gaussian(kind, schedule):
    options = {"beta_start": 0.00085, "beta_end": 0.012} if schedule == "scaled_linear" else {}
    scheduler = DDIMScheduler(beta_schedule=schedule, prediction_type=kind, **options)
    angles = scheduler_angles(scheduler)
    variances = torch.tensor([0.3, 0.6, 1.2, 1.5], dtype=torch.float64).reshape(1, 2, 2)
    velocity = network_velocity(GaussianNetwork(kind, angles, variances), scheduler, (1, 2, 2))
    density = ProbabilityFlowDensity(velocity, dimension=4, start=0.3, steps=32)
    assert density.stop == (math.pi / 2 if kind == "v_prediction" else angles[-1])
    total = variances.reshape(-1) + math.tan(0.3) ** 2
    x = torch.randn((5, 4), generator=torch.Generator().manual_seed(0), dtype=torch.float64) * total.sqrt()
    expected = -(x.square() / total + total.log() + math.log(2 * math.pi)).sum(dim=-1) / 2
    # At the end the variance is 1 + cos^2(a) (variance - 1) and is taken for one: it costs half of that times (y^2 - 1)
    # a coordinate, y of unit variance; cos^2(a) is 0.0047 at the last time of Stable Diffusion's schedule. A network of
    # the velocity stands still for the little that is left of the way, with an error of the same kind.
    y, missing = x / total.sqrt(), math.cos(angles[-1]) ** 2 * (variances.reshape(-1) - 1)
    shift = (missing * (y.square() - 1)).sum(dim=-1).abs() / 2
    # The second order of that cost, and the solver's 2e-6 with 32 steps.
    assert (
        (density.log_prob(x) - expected).abs() < 1.1 * shift + 1e-4 * (schedule == "scaled_linear") + 1e-5
    ).all()


def test_a_network_of_the_noise_is_not_followed_beyond_its_schedule():
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", prediction_type="epsilon")
    angles = scheduler_angles(scheduler)
    velocity = network_velocity(GaussianNetwork("epsilon", angles, torch.ones(1, 2, 2)), scheduler, (1, 2, 2))
    with pytest.raises(ValueError, match="must rise between 0 and the last of the network's schedule"):
        ProbabilityFlowDensity(velocity, dimension=4, start=0.3, stop=math.pi / 2)
    ended = DDIMScheduler(prediction_type="epsilon", rescale_betas_zero_snr=True)
    ended.alphas_cumprod[-1] = 0.0
    with pytest.raises(ValueError, match="ends in pure noise"):
        network_velocity(GaussianNetwork("epsilon", angles, torch.ones(1, 2, 2)), ended, (1, 2, 2))


def test_the_digits_network_has_a_likelihood_with_a_gradient():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = build_unet([8]).double().eval().requires_grad_(False)
    density = ProbabilityFlowDensity(
        network_velocity(unet, build_scheduler(), (1, 8, 8)), dimension=64, start=0.3, steps=1, probes=2
    )
    x = torch.randn((1, 64), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    direction = torch.randn((1, 64), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    slope = (density.score(x) * direction).sum().item()
    difference = (
        density.log_prob(x + 1e-4 * direction) - density.log_prob(x - 1e-4 * direction)
    ).item() / 2e-4
    assert slope == pytest.approx(difference, rel=1e-5)  # central differences err as 1e-8


def test_a_flow_is_normalised_and_learns_a_rotated_gaussian():
    root = torch.tensor([[1.0, 0.0], [0.8, 0.3]], dtype=torch.float64)
    draws = (
        torch.randn((2000, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64) @ root.T + 3
    )
    flow = fit_flow(draws, steps=150, hidden=(32,), transforms=2, learning_rate=1e-2)
    axis = torch.linspace(-2, 8, 300, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1)
    # What lies beyond five standard deviations, and what a rule of 300 nodes misses of the ridge.
    assert flow.log_prob(grid).exp().sum().item() * (axis[1] - axis[0]).item() ** 2 == pytest.approx(
        1, abs=5e-3
    )
    entropy = 1 + math.log(2 * math.pi) + math.log(0.3)
    # Within 0.05 nats of the best that any density can, and 200 held-out points scatter by 0.07.
    assert flow.held_out == pytest.approx(-entropy, abs=0.25)
    step = 1e-5
    x = draws[:5]
    shifts = step * torch.eye(2, dtype=torch.float64)
    slopes = [(flow.log_prob(x + s) - flow.log_prob(x - s)) / (2 * step) for s in shifts]
    torch.testing.assert_close(flow.score(x), torch.stack(slopes, dim=-1), rtol=1e-4, atol=1e-4)


def test_a_flow_is_a_function_of_its_arguments():
    draws = torch.randn((50, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.manual_seed(1)
    first = fit_flow(draws, steps=3, hidden=(8,), transforms=1).log_prob(draws)
    torch.manual_seed(2)
    second = fit_flow(draws, steps=3, hidden=(8,), transforms=1).log_prob(draws)
    assert torch.equal(first, second)
    assert not torch.equal(first, fit_flow(draws, steps=3, hidden=(8,), transforms=1, seed=1).log_prob(draws))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gaussian(0), "steps 0"),
        (lambda: ProbabilityFlowDensity(gaussian_velocity, dimension=3, start=0.0), "must rise"),
        (lambda: ProbabilityFlowDensity(gaussian_velocity, dimension=3, start=0.1, stop=2.0), "must rise"),
        (lambda: fit_flow(torch.zeros(5, 2)), "5 points"),
        (lambda: fit_flow(torch.zeros(20, 2)), "axis 0 has no spread"),
    ],
)
def test_what_has_no_likelihood_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_network_that_predicts_the_sample_is_refused():
    scheduler = build_scheduler()
    scheduler.register_to_config(prediction_type="sample")
    with pytest.raises(ValueError, match="prediction_type is 'sample'"):
        network_velocity(build_unet([8]), scheduler, (1, 8, 8))
