"""The diffusion system, on a tiny random checkpoint."""

import shutil

import numpy as np
import pytest
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMScheduler, UNet2DModel

from hessgeo.systems.diffusion.checkpoints import describe_checkpoint
from hessgeo.systems.diffusion.system import DiffusionSystem, load_denoiser
from hessgeo.systems.slices import LatentSlice, random_anchors

BOX = ((-1.0, 2.0), (-1.0, 2.0))
SHAPE = (2, 8, 8)


def tiny_unet(**changes):
    torch.manual_seed(0)
    settings = {
        "sample_size": 8,
        "in_channels": 2,
        "out_channels": 2,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "norm_num_groups": 4,
    }
    return UNet2DModel(**settings | changes)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    # No clipping, so that an error in one step is not hidden by the next.
    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2", clip_sample=False, prediction_type="v_prediction"
    )
    DDIMPipeline(tiny_unet(), scheduler).save_pretrained(folder, safe_serialization=True)
    return folder


def load(checkpoint, *, steps=2, eta=0.0, batch_size=8):
    plane = LatentSlice(random_anchors(1, SHAPE), BOX, "sphere")
    denoiser = load_denoiser(describe_checkpoint(checkpoint), steps=steps, eta=eta)
    return DiffusionSystem(denoiser, plane, batch_size=batch_size)


def points(n, seed=0):
    return np.random.default_rng(seed).uniform(-1, 2, (n, 2))


def test_agrees_with_the_stock_pipeline(checkpoint, monkeypatch):
    t, system = points(5), load(checkpoint)
    stock = DDIMPipeline.from_pretrained(checkpoint, local_files_only=True)
    stock.set_progress_bar_config(disable=True)
    latents = torch.from_numpy(system.latent_slice.latents(t)).float()
    monkeypatch.setattr(
        "diffusers.pipelines.ddim.pipeline_ddim.randn_tensor", lambda *args, **kwargs: latents
    )
    expected = stock(batch_size=5, num_inference_steps=2, eta=0.0, output_type="np").images
    sampled = system.sample(t, np.arange(5), 0)
    assert sampled.shape == (5, 8, 8, 2)
    assert sampled.dtype == np.uint8
    # Rounding to 8 bits moves a value by at most half a level; 1e-5 of the range is float32 rounding.
    assert np.abs(sampled - 255 * expected).max() < 0.5 + 255e-5
    assert sampled.std() > 10, "the comparison needs images that are not flat"


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_batches_shards_and_order_change_no_bit(checkpoint, eta):
    t, index = points(19), np.arange(100, 119)
    whole = load(checkpoint, eta=eta).sample(t, index, 7)
    shards = [
        load(checkpoint, eta=eta).sample(t[rows], index[rows], 7) for rows in np.split(np.arange(19), [3, 14])
    ]
    assert np.array_equal(np.concatenate(shards), whole)
    order = np.random.default_rng(0).permutation(19)
    assert np.array_equal(load(checkpoint, eta=eta).sample(t[order], index[order], 7), whole[order])
    other_batch = load(checkpoint, eta=eta, batch_size=5).sample(t, index, 7)
    # Another batch shape may round another way in the network: a value on a half may fall to the next level.
    assert np.abs(other_batch.astype(int) - whole).max() <= 1


def test_noise_follows_seed_and_index(checkpoint):
    t = np.repeat(points(1), 3, axis=0)
    noisy = load(checkpoint, eta=1.0)
    images = noisy.sample(t, np.array([0, 1, 0]), 7)
    assert np.array_equal(images[0], images[2])
    assert not np.array_equal(images[0], images[1])
    assert not np.array_equal(noisy.sample(t, np.array([0, 1, 0]), 8)[0], images[0])
    quiet = load(checkpoint, eta=0.0).sample(t, np.array([0, 1, 2]), 7)
    assert np.array_equal(quiet[0], quiet[1])


def test_noise_has_the_variance_of_ddpm(checkpoint):
    system = load(checkpoint, steps=2, eta=1.0, batch_size=400)
    scheduler = system.denoiser.scheduler
    scheduler.set_timesteps(2)
    first, second = (int(time) for time in scheduler.timesteps)
    seen = []
    step = scheduler.step

    def spy(model_output, timestep, sample, eta=0.0, generator=None, variance_noise=None, return_dict=True):
        stepped = step(model_output, timestep, sample, eta=eta, generator=generator, return_dict=return_dict)
        quiet = step(model_output, timestep, sample, eta=eta, variance_noise=torch.zeros_like(sample))
        seen.append((stepped[0] - quiet.prev_sample).numpy())
        return stepped

    scheduler.step = spy
    system.sample(np.zeros((400, 2)), np.arange(400), 0)
    alpha = scheduler.alphas_cumprod.double().numpy()
    beta = 1 - alpha[first] / alpha[second]
    variance = beta * (1 - alpha[second]) / (1 - alpha[first])
    # 51,200 normal draws: the sample variance is good to sqrt(2 / 51200) = 0.6 %; four times that.
    assert seen[0].var() == pytest.approx(variance, rel=0.025)
    assert np.all(seen[1] == 0), "the last step lands on the image without noise"


def test_ddpm_schedules_are_followed_too(checkpoint, tmp_path):
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    DDPMScheduler(
        beta_schedule="squaredcos_cap_v2", clip_sample=False, prediction_type="v_prediction"
    ).save_pretrained(copy / "scheduler")
    t = points(3)
    assert np.array_equal(load(copy).sample(t, np.arange(3), 0), load(checkpoint).sample(t, np.arange(3), 0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"steps": 1001}, "between 1 and the schedule's 1000"),
        ({"eta": 1.5}, "eta is 1.5"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_bad_options_are_refused(checkpoint, options, message):
    with pytest.raises(ValueError, match=message):
        load(checkpoint, **options)


def test_a_slice_of_another_shape_is_refused(checkpoint):
    plane = LatentSlice(random_anchors(1, (1, 8, 8)), BOX, "sphere")
    denoiser = load_denoiser(describe_checkpoint(checkpoint), steps=2)
    with pytest.raises(ValueError, match=r"shape \(1, 8, 8\), the network takes \(2, 8, 8\)"):
        DiffusionSystem(denoiser, plane, batch_size=4)


def test_values_that_are_not_finite_raise(checkpoint):
    system = load(checkpoint)
    with torch.no_grad():
        system.denoiser.unet.conv_out.bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="not finite"):
        system.sample(points(2), np.arange(2), 0)
