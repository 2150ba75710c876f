"""The limit of a sampler without noise, for data whose flow is known: a Gaussian, with its exact predictions."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from hessgeo.pipeline.layout import Layout
from hessgeo.pipeline.settings import merged, read_settings
from hessgeo.systems.diffusion import denoisers
from hessgeo.systems.diffusion.denoisers import UnconditionalDenoiser
from hessgeo.systems.diffusion.probability_flow import ProbabilityFlow
from hessgeo.systems.diffusion.sampler import Sampler

MEAN, WIDTH = 0.3, 0.2


class GaussianNetwork(torch.nn.Module):
    """What a network trained without error predicts of pixels that are ``N(MEAN, WIDTH^2)``, at any real time."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.unused = kind, torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
        levels = DDIMScheduler(beta_schedule="squaredcos_cap_v2").alphas_cumprod.double().numpy()
        self.angles = np.arccos(np.sqrt(levels))

    def forward(self, x, time, return_dict=False):
        angle = float(np.interp(float(time), np.arange(len(self.angles)), self.angles))
        alpha, sigma = np.cos(angle), np.sin(angle)
        clean = MEAN + alpha * WIDTH**2 / (alpha**2 * WIDTH**2 + sigma**2) * (x - alpha * MEAN)
        noise = (x - alpha * clean) / sigma
        kinds = {"epsilon": noise, "sample": clean, "v_prediction": alpha * noise - sigma * clean}
        return (kinds[self.kind],)


def denoiser(kind="epsilon", *, steps=10, eta=0.0, scheduler=DDIMScheduler, **options):
    options = {"clip_sample": False, "timestep_spacing": "trailing", **options}
    schedule = scheduler(beta_schedule="squaredcos_cap_v2", prediction_type=kind, **options)
    return UnconditionalDenoiser(
        GaussianNetwork(kind), schedule, Sampler(steps=steps, eta=eta), image_shape=(2, 2, 1)
    )


@pytest.fixture(scope="module")
def latents():
    return np.random.default_rng(0).standard_normal((6, 1, 2, 2))


def exact(latents):
    """Where the flow of the Gaussian ends: deviations from its mean grow with the square root of its variance."""
    angles = GaussianNetwork("epsilon").angles
    alpha, first = np.cos(angles[-1]), np.cos(angles[0])

    def width(level):
        return np.sqrt(level**2 * WIDTH**2 + 1 - level**2)

    x = first * MEAN + width(first) / width(alpha) * (latents - alpha * MEAN)
    return MEAN + first * WIDTH**2 / width(first) ** 2 * (x - first * MEAN)


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_the_limit_is_the_exact_flow(latents, kind):
    found = ProbabilityFlow(denoiser(kind), latents[:3], tolerance=1e-6).denoise(torch.from_numpy(latents))
    np.testing.assert_allclose(found.numpy(), exact(latents), atol=2e-5)


def test_a_tighter_tolerance_is_nearer(latents):
    errors, steps = [], []
    for tolerance in (1e-3, 1e-5):
        flow = ProbabilityFlow(denoiser(), latents[:3], tolerance=tolerance)
        errors.append(np.abs(flow.denoise(torch.from_numpy(latents)).numpy() - exact(latents)).max())
        steps.append(len(flow.angles))
    assert errors[1] < errors[0] / 5
    assert steps[1] > steps[0]


def test_samplers_of_more_steps_come_nearer_to_it(latents):
    limit = ProbabilityFlow(denoiser(), latents[:3]).denoise(torch.from_numpy(latents)).numpy()
    apart = [
        np.abs(denoiser(steps=steps).denoise(torch.from_numpy(latents)).numpy() - limit).max()
        for steps in (20, 100, 500)
    ]
    assert apart[0] > 4 * apart[1] > 16 * apart[2]


def test_steps_that_do_not_meet_are_refused_since_they_end_elsewhere(latents, monkeypatch):
    with pytest.raises(
        ValueError, match="steps is 150, whose steps of DDIM do not meet; those of 142 and 164 do"
    ):
        denoiser(steps=150)
    monkeypatch.setattr(denoisers, "even_steps", lambda *_: None)
    apart = {
        n: np.abs(denoiser(steps=n).denoise(torch.from_numpy(latents)).numpy() - exact(latents)).max()
        for n in (142, 150, 164)
    }
    assert apart[150] > 1.5 * max(apart[142], apart[164])


def test_clipping_keeps_a_sampler_from_its_limit(latents):
    # Data about .3, clipped at .25: every step pushes, so that more steps end farther away.
    limit = ProbabilityFlow(denoiser(), latents[:3]).denoise(torch.from_numpy(latents)).numpy()
    apart = [
        np.abs(clipped.denoise(torch.from_numpy(latents)).numpy() - limit).mean()
        for clipped in (denoiser(steps=n, clip_sample=True, clip_sample_range=0.25) for n in (20, 100))
    ]
    assert apart[1] > apart[0] > 0.05


def test_others_have_no_limit(latents):
    with pytest.raises(ValueError, match="the sampler is DDPMScheduler, must be DDIMScheduler without noise"):
        ProbabilityFlow(denoiser(scheduler=DDPMScheduler), latents)
    with pytest.raises(ValueError, match=r"DDIMScheduler with eta 0\.5, must be"):
        ProbabilityFlow(denoiser(eta=0.5), latents)


def test_a_study_has_a_series_of_it_where_its_sampler_tends_to_it(config, repository):
    def series(**change):
        study = {"zoom": {"steps": [50, "adaptive"]}}
        settings = read_settings(merged(config, {"defaults": study, "studies": {"digits": change}}))
        return [one.name for one in Layout(settings, repository).of("digits").zoom.series[-2:]]

    assert series() == ["float64-50", "float64-adaptive"]
    assert series(system={"eta": 0.5}) == ["bfloat16-25", "float64-50"]
    asked = {"zoom": {"steps": ["adaptive"]}, "system": {"eta": 0.5}}
    refused = r"studies\.digits\.zoom\.steps: .*which this study cannot have, needs system\.eta 0"
    with pytest.raises(ValueError, match=refused):
        read_settings(merged(config, {"studies": {"digits": asked}}))
