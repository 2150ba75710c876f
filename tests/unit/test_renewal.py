"""The noise rule of the code of Lobashev et al., beside its formula and beside DDIM."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from hessgeo.systems.diffusion.checkpoints import describe_checkpoint
from hessgeo.systems.diffusion.denoisers import sample_generators
from hessgeo.systems.diffusion.renewal import RenewalScheduler
from hessgeo.systems.diffusion.system import load_denoiser

STABLE_DIFFUSION = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def steps(kind, count=50, **changes):
    scheduler = kind(**STABLE_DIFFUSION | changes)
    scheduler.set_timesteps(count)
    gap = scheduler.config.num_train_timesteps // count
    for time in scheduler.timesteps:
        past = scheduler.alphas_cumprod[time - gap] if time >= gap else scheduler.final_alpha_cumprod
        yield scheduler, time, float(scheduler.alphas_cumprod[time]), float(past)


@pytest.mark.parametrize("eta", [0.1, 0.7, 1.0])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_step_is_the_formula(eta, prediction):
    generator = torch.Generator().manual_seed(0)
    x, output, z = (torch.randn(2, 4, 3, 3, generator=generator, dtype=torch.float64) for _ in range(3))
    for scheduler, time, now, past in steps(RenewalScheduler, prediction_type=prediction):
        found = scheduler.step(output, time, x, eta=eta, variance_noise=z).prev_sample
        if prediction == "epsilon":
            noise, clean = output, (x - np.sqrt(1 - now) * output) / np.sqrt(now)
        else:
            noise = np.sqrt(now) * output + np.sqrt(1 - now) * x
            clean = np.sqrt(now) * x - np.sqrt(1 - now) * output
        mixed = np.sqrt(1 - eta**2) * noise + eta * z
        expected = np.sqrt(past) * clean + np.sqrt(1 - past) * mixed
        # The schedule is in single precision; at eta = 1 the direction is the root of its rounding.
        assert torch.allclose(found, expected, rtol=0, atol=2e-3 if eta == 1 else 1e-5)


def test_without_noise_it_is_ddim_bit_by_bit():
    x, output = torch.randn(2, 1, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    for (ours, time, *_), (theirs, *_) in zip(steps(RenewalScheduler), steps(DDIMScheduler), strict=True):
        pair = (scheduler.step(output, time, x, eta=0.0).prev_sample for scheduler in (ours, theirs))
        assert torch.equal(*pair)


def test_it_adds_six_and_a_half_times_the_variance_of_ddim():
    def added(kind):
        x, z = torch.zeros(1, 1, 1, 1, dtype=torch.float64), torch.ones(1, 1, 1, 1, dtype=torch.float64)
        return np.array(
            [
                float(scheduler.step(x, time, x, eta=0.1, variance_noise=z).prev_sample)
                for scheduler, time, *_ in steps(kind)
            ]
        )

    ours, theirs = added(RenewalScheduler), added(DDIMScheduler)
    assert np.allclose(ours, [0.1 * np.sqrt(1 - past) for *_, past in steps(RenewalScheduler)], rtol=1e-5)
    assert (ours**2).sum() / (theirs**2).sum() == pytest.approx(6.5, abs=0.1)
    assert np.median(ours) == pytest.approx(0.083, abs=0.002)
    assert np.median(theirs) == pytest.approx(0.029, abs=0.002)


def test_full_renewal_has_no_step_that_is_not_finite():
    x = torch.ones(1, 1, 2, 2)
    for changes in (
        {},
        {"set_alpha_to_one": True},
        {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"},
    ):
        for scheduler, time, *_ in steps(RenewalScheduler, count=999, **changes):
            stepped = scheduler.step(x, time, x, eta=1.0, variance_noise=x).prev_sample
            assert torch.isfinite(stepped).all()


@pytest.mark.parametrize("builder", ["small_ddim", "small_stable_diffusion"])
def test_noise_is_of_the_sample_alone_and_the_rule_matters(small_checkpoint, builder):
    checkpoint = describe_checkpoint(small_checkpoint(builder))
    options = {"steps": 3, "eta": 0.5}
    ours = load_denoiser(checkpoint, **options, eta_rule="renewal")
    theirs = load_denoiser(checkpoint, **options)
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((3, *ours.latent_shape)))
    index = np.array([7, 1, 4])
    together = ours.denoise(x, noise=sample_generators(index, 5))
    alone = torch.cat(
        [ours.denoise(x[k : k + 1], noise=sample_generators(index[k : k + 1], 5)) for k in range(3)]
    )
    assert (together - alone).abs().max() <= 1e-5 * alone.abs().max()  # float32 rounding of another batch
    assert (together - theirs.denoise(x, noise=sample_generators(index, 5))).abs().max() > 1e-2
    quiet = (load_denoiser(checkpoint, steps=3, eta_rule=rule).denoise(x) for rule in ("renewal", "ddim"))
    assert torch.equal(*quiet)


def test_other_samplers_have_no_such_rule(small_checkpoint):
    checkpoint = describe_checkpoint(small_checkpoint("small_ddim"))
    for options in ({"scheduler": "EulerDiscreteScheduler", "eta_rule": "renewal"}, {"eta_rule": "more"}):
        with pytest.raises(ValueError, match=f"^eta_rule is '{options['eta_rule']}', must be ddim"):
            load_denoiser(checkpoint, steps=3, **options)
