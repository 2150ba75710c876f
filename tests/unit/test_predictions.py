"""What is kept of a sampler's steps: the same images to the bit, and the clean image that each step heads for."""

import numpy as np
import pytest
import torch

from hessgeo.pipeline.history_settings import SCHEDULERS
from hessgeo.systems.diffusion.checkpoints import describe_checkpoint
from hessgeo.systems.diffusion.denoisers import to_pixels
from hessgeo.systems.diffusion.predictions import (
    RECORDED,
    RecordedSystem,
    RecordingScheduler,
    check_same_images,
)
from hessgeo.systems.diffusion.system import DiffusionSystem, load_denoiser
from hessgeo.systems.slices import LatentSlice, random_anchors

BOX = ((-1.0, 2.0), (-1.0, 2.0))
FAMILIES = {
    "small_ddim": {},
    "small_stable_diffusion": {"prompt": "a house", "guidance": 3.0},
    "small_flux": {"prompt": "a house", "guidance": 2.0},
}
POINTS = np.random.default_rng(0).uniform(-1, 2, (5, 2))


@pytest.fixture
def system(small_checkpoint):
    def load(builder, *, steps=4, batch_size=3, **settings):
        checkpoint = describe_checkpoint(small_checkpoint(builder))
        denoiser = load_denoiser(checkpoint, steps=steps, **FAMILIES[builder], **settings)
        plane = LatentSlice(random_anchors(1, denoiser.latent_shape), BOX, "sphere")
        return DiffusionSystem(denoiser, plane, batch_size=batch_size)

    return load


@pytest.mark.parametrize("builder", FAMILIES)
def test_the_images_are_the_same_to_the_bit_and_the_last_prediction_is_the_image(system, builder):
    own, index = system(builder), np.arange(5)
    made = RecordedSystem(own, [1, 3, 4]).record(POINTS, index, 7)
    assert np.array_equal(made.images, own.sample(POINTS, index, 7))
    assert made.predictions.shape == (5, 3, *own.sample_shape)
    assert made.trajectory.shape == (5, 3, 2, *own.denoiser.latent_shape)
    # The last step ends where it predicts, up to a rounding; Stable Diffusion's leaves some noise, 3 % of its own.
    most = 8 if builder == "small_stable_diffusion" else 1
    assert np.abs(made.predictions[:, -1].astype(int) - made.images).max() <= most
    assert np.all(np.diff(made.noise / np.hypot(made.signal, made.noise)) < 0)


def test_every_prediction_is_that_of_the_scheduler(system):
    own = system("small_ddim", batch_size=5)
    made = RecordedSystem(own, [1, 2, 3, 4]).record(POINTS, np.arange(5), 0)
    scheduler, unet = own.denoiser.scheduler, own.denoiser.unet
    scheduler.set_timesteps(4)
    x = torch.from_numpy(own.latent_slice.latents(POINTS)).float()
    for k, time in enumerate(scheduler.timesteps):
        with torch.inference_mode():
            step = scheduler.step(unet(x, time).sample, time, x)
        # Float32 rounds by less than a tenth of a level, and so may turn it at a half.
        expected = to_pixels(step.pred_original_sample)
        assert np.abs(made.predictions[:, k].astype(int) - expected).max() <= 1
        assert np.allclose(made.trajectory[:, k, 0], x, atol=1e-5)
        x = step.prev_sample


def test_noise_of_the_sampler_is_the_same_with_a_history(system):
    own, index = system("small_ddim", eta=1.0), np.arange(40, 45)
    made = RecordedSystem(own, [2]).record(POINTS, index, 7)
    assert np.array_equal(made.images, own.sample(POINTS, index, 7))


@pytest.mark.parametrize("steps", [[], [0, 1], [2, 2], [3, 1], [5]])
def test_steps_that_the_sampler_does_not_take_are_refused(system, steps):
    with pytest.raises(ValueError, match="must be rising numbers from 1 to the 4 steps of the sampler"):
        RecordedSystem(system("small_ddim"), steps)


def test_a_scheduler_without_predictions_is_refused(system):
    with pytest.raises(ValueError, match="DPMSolverMultistepScheduler predicts no clean image"):
        RecordedSystem(system("small_ddim", scheduler="DPMSolverMultistepScheduler"), [1])


def test_settings_and_sampler_name_the_same_schedulers():
    # The one that follows the other rule for its noise is called DDIM in settings.
    assert set(SCHEDULERS) - {"auto"} == set(RECORDED) - {"RenewalScheduler"}


def test_what_a_pipeline_asks_of_a_step_can_be_seen(system):
    from inspect import signature

    own = system("small_ddim").denoiser.scheduler
    recorder = RecordingScheduler(own, [1])
    assert signature(recorder.step) == signature(own.step)
    assert recorder.config is own.config


def test_other_images_than_those_of_the_store_are_refused():
    images = np.zeros((3, 2, 2, 1), np.uint8)
    check_same_images(images, images.copy(), "shard 0")
    other = images.copy()
    other[1, 0, 0] = 2
    with pytest.raises(
        ArithmeticError, match=r"1 of 3 images of shard 0 came out otherwise .* by up to 2 of 255"
    ):
        check_same_images(images, other, "shard 0")
