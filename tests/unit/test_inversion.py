"""Latents of images: a linear model whose inverse is known, and small checkpoints run there and back."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler

from hessgeo.systems.diffusion.checkpoints import describe_checkpoint
from hessgeo.systems.diffusion.denoisers import UnconditionalDenoiser
from hessgeo.systems.diffusion.inversion import InverseScheduler, invert, reconstruction_error
from hessgeo.systems.diffusion.sampler import Sampler
from hessgeo.systems.diffusion.system import load_denoiser

SIDE, STEPS = 4, 10
VELOCITY = {"beta_schedule": "squaredcos_cap_v2", "clip_sample": False, "prediction_type": "v_prediction"}


class LinearNetwork(torch.nn.Module):
    """``x -> W x`` with an orthogonal ``W`` times 0.3, at every level."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        orthogonal = torch.linalg.qr(torch.randn((SIDE**2, SIDE**2), generator=generator))[0]
        self.matrix = torch.nn.Parameter(0.3 * orthogonal)

    def forward(self, x, time, return_dict):
        return ((x.flatten(1) @ self.matrix.T).view_as(x),)


def linear(scheduler=None, **options):
    scheduler = scheduler or DDIMScheduler(**VELOCITY)
    return UnconditionalDenoiser(
        LinearNetwork(), scheduler, Sampler(**{"steps": STEPS} | options), image_shape=(SIDE, SIDE, 1)
    )


def normal(denoiser, count=3, seed=0):
    latents = np.random.default_rng(seed).standard_normal((count, *denoiser.latent_shape))
    return torch.from_numpy(latents).float()


def backwards(denoiser, clean, iterations):
    """Latents of clean latents, and the residual of each."""
    scheduler = InverseScheduler(denoiser.scheduler, iterations)
    found = denoiser.denoise(clean, scheduler=scheduler)
    return found.float(), scheduler.residual


def distance(a, b):
    return float((a - b).square().mean().sqrt())


# --- a linear model ---


def test_the_inverse_of_a_linear_model_is_that_of_its_matrix():
    denoiser = linear()
    basis = torch.eye(SIDE**2).view(-1, 1, SIDE, SIDE)
    whole = denoiser.denoise(basis).flatten(1).T.double()  # of all steps
    z = normal(denoiser)
    clean = denoiser.denoise(z)
    solved = torch.linalg.solve(whole, clean.flatten(1).T.double()).T.view_as(z).float()
    assert distance(solved, z) < 1e-5  # float32 rounding: the oracle itself
    found, residual = backwards(denoiser, clean, 12)
    assert (found - solved).abs().max() < 1e-4
    assert residual.max() < 1e-5


def test_iterations_beat_the_explicit_inverse_by_orders_of_magnitude():
    denoiser = linear()
    z = normal(denoiser)
    clean = denoiser.denoise(z)
    explicit, iterated = (distance(backwards(denoiser, clean, count)[0], z) for count in (1, 12))
    assert explicit > 1e-2, "the comparison needs steps that are not short"
    assert iterated < 1e-3 * explicit


def test_flow_matching_is_inverted_too():
    denoiser = linear(FlowMatchEulerDiscreteScheduler())
    denoiser.scheduler.init_noise_sigma = 1.0  # which pipelines of flow matching do not ask for
    denoiser.scheduler.scale_model_input = lambda sample, time: sample
    z = normal(denoiser)
    found, residual = backwards(denoiser, denoiser.denoise(z), 12)
    assert distance(found, z) < 1e-4
    assert residual.max() < 1e-5


def test_the_slope_is_the_derivative_of_a_step_at_a_fixed_output():
    denoiser = linear(DDIMScheduler(**VELOCITY | {"clip_sample": True}))
    scheduler = InverseScheduler(denoiser.scheduler, 1)
    scheduler.set_timesteps(STEPS)
    forward, like = scheduler.forward, torch.zeros((1, 1, SIDE, SIDE))
    cumulative, times = forward.alphas_cumprod, forward.timesteps
    for level in range(STEPS - 1):
        here, there = cumulative[times[level]], cumulative[times[level + 1]]
        # Of v-prediction the step turns (x, v) by the difference of two angles.
        expected = torch.sqrt(here * there) + torch.sqrt((1 - here) * (1 - there))
        assert scheduler._slope(level, like) == pytest.approx(float(expected), rel=1e-3)  # from float32 steps


# --- checkpoints ---


@pytest.fixture(scope="module")
def unconditional(small_checkpoint, tmp_path_factory):
    """A random U-Net for a velocity, whose images stay in range; the usual target would saturate every pixel."""
    folder = tmp_path_factory.mktemp("velocity") / "pipeline"
    shutil.copytree(small_checkpoint("small_ddim"), folder)
    file = folder / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | VELOCITY))
    return load_denoiser(describe_checkpoint(folder), steps=STEPS)


def test_images_made_by_a_model_come_back(unconditional):
    z = 0.4 * normal(unconditional, 2)  # keeps most pixels in range
    images = unconditional.decode(unconditional.denoise(z))
    assert images.std() > 20, "the comparison needs images that are not flat"
    explicit, iterated = (invert(unconditional, images, iterations=count) for count in (1, 10))
    assert iterated.error.max() < 1e-3
    assert iterated.error.max() < 1e-2 * explicit.error.min()
    # Pixels that are cut off at black or white leave the latent open, so only its length is compared with noise.
    assert iterated.latents.dtype == np.float32
    assert iterated.radius.max() < 1.25
    assert np.array_equal(iterated.floor, np.zeros(len(z))), "pixels are their own latents"
    assert np.allclose(iterated.error, reconstruction_error(images, iterated.reconstruction))


def test_residual_falls_with_iterations(unconditional):
    clean = unconditional.denoise(normal(unconditional, 2))
    residuals = torch.stack([backwards(unconditional, clean, count)[1] for count in (1, 2, 4, 8)])
    assert (residuals.diff(dim=0) < 0).all()


@pytest.mark.parametrize("builder", ["small_stable_diffusion", "small_stable_diffusion_3", "small_flux"])
def test_pipelines_run_backwards(small_checkpoint, builder):
    checkpoint = describe_checkpoint(small_checkpoint(builder))
    denoiser = load_denoiser(checkpoint, steps=5, prompt="a bright house", guidance=1.0)
    own = denoiser.pipeline.scheduler
    z = normal(denoiser, 2)
    clean = denoiser.denoise(z)
    (first, explicit), (found, residual) = (backwards(denoiser, clean, count) for count in (1, 6))
    assert found.shape == z.shape
    assert torch.isfinite(found).all()
    assert (residual < 0.1 * explicit).all()
    assert distance(found, z) < 0.1 * distance(first, z)
    assert denoiser.pipeline.scheduler is own, "the sampler's own is there again"


def test_images_of_a_flow_matching_pipeline_are_inverted(small_checkpoint):
    denoiser = load_denoiser(describe_checkpoint(small_checkpoint("small_stable_diffusion_3")), steps=2)
    images = denoiser.decode(denoiser.denoise(normal(denoiser, 1)))
    assert np.isfinite(invert(denoiser, images, iterations=2).latents).all()


# --- refusals ---


def blank(denoiser):
    return np.zeros((1, *denoiser.image_shape), dtype=np.uint8)


def test_a_sampler_with_noise_is_refused():
    denoiser = linear(eta=0.5)
    with pytest.raises(ValueError, match=r"^eta is 0\.5, must be 0"):
        invert(denoiser, blank(denoiser))


def test_images_of_another_size_are_refused():
    line = re.escape("images have shape (8, 8, 1), the model makes (4, 4, 1)")
    with pytest.raises(ValueError, match=f"^{line}"):
        invert(linear(), np.zeros((1, 8, 8, 1), dtype=np.uint8))


@pytest.mark.parametrize(
    ("scheduler", "iterations", "line"),
    [
        (
            EulerDiscreteScheduler(),
            1,
            "scheduler EulerDiscreteScheduler cannot be inverted, must be one of DDIM",
        ),
        (FlowMatchEulerDiscreteScheduler(stochastic_sampling=True), 1, "draws noise"),
        (DDIMScheduler(), 0, "iterations is 0, must be at least 1"),
    ],
)
def test_schedulers_and_iterations_are_refused(scheduler, iterations, line):
    with pytest.raises(ValueError, match=re.escape(line)) as error:
        InverseScheduler(scheduler, iterations)
    assert "\n" not in str(error.value)


def test_error_is_relative_to_the_image():
    images = np.array([[0, 200], [10, 10]], dtype=np.uint8)
    others = np.array([[10, 200], [0, 10]], dtype=np.uint8)
    error = reconstruction_error(images, others)
    assert error[0] == pytest.approx(50 / 100**2)
    assert np.isnan(error[1]), "a flat image has no variance"
