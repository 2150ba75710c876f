"""What checkpoints say of their noise: heard, held against configurations, obeyed by samplers or refused."""

import inspect
import json
import shutil
from contextlib import nullcontext

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from test_checkpoints import header_only, original

from hessgeo.models.digit_diffusion import build_scheduler, build_unet
from hessgeo.pipeline.checks.sampler import EMBEDDED_SCHEDULE, embedded_schedulers
from hessgeo.pipeline.settings import SettingsError, merged, read_settings
from hessgeo.systems.diffusion.checkpoints import describe_checkpoint
from hessgeo.systems.diffusion.families import FLOW_SCHEDULERS, NOISE_SCHEDULERS
from hessgeo.systems.diffusion.pipelines import make_scheduler
from hessgeo.systems.diffusion.schedules import (
    ALLOWED,
    KNOWS,
    SAMPLE_PREDICTORS,
    SWITCHES,
    _alphas,
    check_schedule,
    even_steps,
)

FLOW = FLOW_SCHEDULERS["stable-diffusion-3"]


def known(name):
    return inspect.signature(getattr(diffusers, name).__init__).parameters


@pytest.mark.parametrize("key", KNOWS)
def test_what_samplers_know_is_what_diffusers_says(key):
    names = FLOW if KNOWS[key][0].startswith("FlowMatch") else NOISE_SCHEDULERS
    assert set(KNOWS[key]) == {name for name in names if key in known(name)}


def test_every_switch_of_a_sampler_is_checked_to_be_one():
    found = {
        key
        for name in (*NOISE_SCHEDULERS, *FLOW)
        for key, parameter in known(name).items()
        if isinstance(parameter.default, bool)
    }
    assert found - {"skip_prk_steps", "predict_x0"} <= set(SWITCHES)


@pytest.mark.parametrize("name", NOISE_SCHEDULERS)
@pytest.mark.parametrize("prediction", ALLOWED["prediction_type"])
def test_predictions_are_followed_as_diffusers_does(name, prediction):
    scheduler = getattr(diffusers, name)(prediction_type=prediction)
    scheduler.set_timesteps(10)
    x = torch.ones(1, 4, 4, 4)
    possible = True
    try:
        for time in scheduler.timesteps[:4]:
            x = scheduler.step(0.1 * scheduler.scale_model_input(x, time), time, x, return_dict=False)[0]
    except (ValueError, NotImplementedError):
        possible = False
    assert possible == (prediction != "sample" or name in SAMPLE_PREDICTORS)


@pytest.mark.parametrize("name", NOISE_SCHEDULERS)
@pytest.mark.parametrize("kind", ALLOWED["beta_schedule"])
def test_schedules_are_those_of_diffusers(name, kind):
    config = {"beta_schedule": kind, "beta_start": 0.00085, "beta_end": 0.012}
    np.testing.assert_allclose(_alphas(config), getattr(diffusers, name)(**config).alphas_cumprod, rtol=1e-3)
    if name == "DDIMScheduler":
        config |= {"rescale_betas_zero_snr": True}
        np.testing.assert_allclose(
            _alphas(config), diffusers.DDIMScheduler(**config).alphas_cumprod, atol=1e-6
        )


# --- configurations ---


@pytest.fixture
def copy(small_checkpoint, tmp_path):
    def make(builder="small_stable_diffusion", **changes):
        folder = shutil.copytree(small_checkpoint(builder), tmp_path / "copy", dirs_exist_ok=True)
        path = folder / "scheduler" / "scheduler_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
        return describe_checkpoint(folder)

    return make


SDE = {"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++"}
REFUSED = [
    (SDE, "DPMSolverMultistepScheduler", "algorithm_type sde-dpmsolver.*draw noise in every step"),
    (SDE, "DPMSolverSinglestepScheduler", "algorithm_type sde-dpmsolver"),
    ({"rescale_betas_zero_snr": True}, "PNDMScheduler", "rescale_betas_zero_snr True, which PNDM"),
    ({"rescale_betas_zero_snr": "yes"}, "auto", "rescale_betas_zero_snr yes, must be true or false"),
    ({"timestep_spacing": "trailing"}, "DPMSolverSinglestepScheduler", "timestep_spacing trailing, which"),
    ({"timestep_spacing": "even"}, "auto", "timestep_spacing even, must be leading or linspace or trailing"),
    ({"thresholding": True}, "auto", "thresholding True, must be false for a model of latents"),
    ({"prediction_type": "flow_prediction"}, "auto", "prediction_type flow_prediction, must be epsilon or"),
    ({"prediction_type": "sample"}, "PNDMScheduler", "prediction_type sample, which PNDMScheduler cannot follow"),
    ({"beta_schedule": "sigmoid"}, "auto", "beta_schedule sigmoid, must be linear or"),
    ({"timestep_type": "continuous"}, "EulerDiscreteScheduler", "timestep_type continuous, must be discrete"),
    ({"use_flow_sigmas": True}, "auto", "use_flow_sigmas True, must be False"),
    ({"variance_type": "learned_range"}, "DPMSolverMultistepScheduler", "variance_type learned_range, must be null"),
    ({"sigma_max": 80.0}, "auto", "sigma_max 80.0, which DDIMScheduler does not know"),
    ({"trained_betas": [0.1, 0.2]}, "auto", "trained_betas .0.1, 0.2., must be null or 1000 numbers"),
    ({"num_train_timesteps": 0}, "auto", "num_train_timesteps 0, must be a whole number"),
    ({"num_train_timesteps": "1000"}, "auto", "num_train_timesteps 1000, must be a whole number"),
    ({"steps_offset": 0.5}, "auto", "steps_offset 0.5, must be a whole number from 0 to 999"),
    ({"beta_end": 2}, "auto", "beta_end 2, must be a number between 0 and 1"),
    (
        {"use_karras_sigmas": True, "use_beta_sigmas": True}, "EulerDiscreteScheduler",
        "must be true for one kind of sigmas alone",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "scheduler", "message"), REFUSED)
def test_a_sampler_that_would_do_another_thing_is_refused(copy, changes, scheduler, message):
    checkpoint = copy(**changes)
    for attempt in (check_schedule, make_scheduler):
        with pytest.raises(ValueError, match=message) as error:
            attempt(checkpoint, scheduler)
        assert "scheduler_config.json says" in str(error.value)
        assert "\n" not in str(error.value)


FLOW_REFUSED = [
    (
        {"stochastic_sampling": True},
        "auto",
        "stochastic_sampling True, must be False: noise would be that of a batch",
    ),
    ({"invert_sigmas": True}, "auto", "invert_sigmas True, must be False"),
    (
        {"use_dynamic_shifting": True},
        "FlowMatchHeunDiscreteScheduler",
        "use_dynamic_shifting True, which Flow",
    ),
    (
        {"use_karras_sigmas": True},
        "FlowMatchHeunDiscreteScheduler",
        "use_karras_sigmas True, which FlowMatchHeun",
    ),
    ({"shift_terminal": 0.02}, "FlowMatchHeunDiscreteScheduler", "shift_terminal 0.02, which FlowMatchHeun"),
    ({"num_train_timesteps": None}, "auto", "num_train_timesteps None, must be a whole number"),
]


@pytest.mark.parametrize(("changes", "scheduler", "message"), FLOW_REFUSED)
def test_flow_matching_too(copy, changes, scheduler, message):
    with pytest.raises(ValueError, match=message):
        check_schedule(copy("small_stable_diffusion_3", **changes), scheduler)


def test_pixels_are_clipped_as_the_configuration_says_or_not_at_all(copy):
    checkpoint = copy("small_ddim", clip_sample=True)
    assert make_scheduler(checkpoint).config.clip_sample
    with pytest.raises(ValueError, match="clip_sample True, which EulerDiscreteScheduler does not know"):
        check_schedule(checkpoint, "EulerDiscreteScheduler")
    check_schedule(copy("small_ddim", clip_sample=False, thresholding=False), "EulerDiscreteScheduler")


def test_what_a_sampler_obeys_or_leaves_to_another_is_accepted(copy):
    # DDIM takes the noise of a checkpoint; how another solver makes its steps is not its concern.
    scheduler = make_scheduler(
        copy(**SDE, use_karras_sigmas=True, solver_order=3, final_sigmas_type="sigma_min")
    )
    assert type(scheduler).__name__ == "DDIMScheduler"
    karras = make_scheduler(copy(use_karras_sigmas=True), "EulerDiscreteScheduler")
    assert karras.config.use_karras_sigmas
    zero = copy(rescale_betas_zero_snr=True, prediction_type="v_prediction", timestep_spacing="trailing")
    assert float(make_scheduler(zero).alphas_cumprod[-1]) == 0
    betas = np.linspace(0.001, 0.01, 1000).tolist()
    trained = make_scheduler(copy(trained_betas=betas), "UniPCMultistepScheduler")
    np.testing.assert_allclose(trained.betas, betas, rtol=1e-6)


# --- single files ---


@pytest.fixture
def file(small_checkpoint, tmp_path):
    import checkpoints

    def make(tensors=(), metadata=None, **changes):
        folder = small_checkpoint("small_stable_diffusion")
        path = checkpoints.single_file(folder, tmp_path / "x.safetensors")
        config = shutil.copytree(
            checkpoints.configuration_only(folder, tmp_path / "whole"), tmp_path / "config"
        )
        named = tensors if isinstance(tensors, dict) else {name: torch.zeros(0) for name in tensors}
        save_file(load_file(path) | named, path, metadata=metadata)
        place = config / "scheduler" / "scheduler_config.json"
        place.write_text(json.dumps(json.loads(place.read_text()) | changes))
        return describe_checkpoint(path, config=config)

    return make


ALPHAS = torch.tensor(_alphas({"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}))
VELOCITY = {"prediction_type": "v_prediction"}
ZERO = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
CONTRADICTIONS = [
    (("v_pred",), None, {}, "says prediction_type v_prediction .the tensor v_pred., but .*config.json says epsilon"),
    (("v_pred", "ztsnr"), None, VELOCITY, "says rescale_betas_zero_snr True .the tensor ztsnr., but .* says False"),
    (("ztsnr",), None, {}, "says rescale_betas_zero_snr True"),
    (("edm_mean", "edm_std"), None, {}, "has a tensor edm_mean: its noise is that of EDM"),
    (("edm_vpred.sigma_max",), None, VELOCITY, "has a tensor edm_vpred.sigma_max"),
    ((), {"modelspec.prediction_type": "v"}, {}, "modelspec.prediction_type., but"),
    ((), {"modelspec.prediction_type": "epsilon"}, VELOCITY, "says prediction_type epsilon"),
    ((), {"modelspec.prediction_type": "flow"}, {}, "modelspec.prediction_type flow, must be epsilon or v"),
    ((), {"ss_v_parameterization": "True"}, {}, "ss_v_parameterization., but"),
    ((), {"ss_v_parameterization": "maybe"}, {}, "ss_v_parameterization maybe, must be True or False"),
    ((), {"ss_zero_terminal_snr": "True"}, VELOCITY, "ss_zero_terminal_snr., but"),
    (("v_pred",), {"modelspec.prediction_type": "epsilon"}, VELOCITY, "contradicts itself: "),
    ({"alphas_cumprod": ALPHAS**2}, None, {}, "has alphas_cumprod of another noise schedule than"),
    ({"alphas_cumprod": torch.zeros(1000)}, None, {}, "has alphas_cumprod of another noise schedule"),
    ({"alphas_cumprod": torch.arange(3)}, None, {}, "alphas_cumprod of type I64, must be F64"),
    ({"denoiser.sigmas": torch.ones(1000)}, None, {}, "has denoiser.sigmas of another noise schedule"),
]  # fmt: skip


@pytest.mark.parametrize(("tensors", "metadata", "changes", "message"), CONTRADICTIONS)
def test_a_file_that_contradicts_its_configuration_is_refused(file, tensors, metadata, changes, message):
    with pytest.raises(ValueError, match=message) as error:
        file(tensors, metadata, **changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("tensors", "metadata", "changes"),
    [
        (("v_pred",), {"modelspec.prediction_type": "v", "ss_v_parameterization": "True"}, VELOCITY),
        (("v_pred", "ztsnr"), None, VELOCITY | ZERO),
        ({"alphas_cumprod": ALPHAS.half()}, {"modelspec.prediction_type": "epsilon"}, {}),
        ({"alphas_cumprod": ALPHAS.bfloat16(), "betas": torch.ones(1000)}, None, {}),
        ({"denoiser.sigmas": ((1 - ALPHAS) / ALPHAS).sqrt().half()}, None, {}),
        ((), {"ss_zero_terminal_snr": "None", "format": "pt"}, {}),
    ],
)
def test_a_file_that_agrees_is_read(file, tensors, metadata, changes):
    assert make_scheduler(file(tensors, metadata, **changes)).config.prediction_type == changes.get(
        "prediction_type", "epsilon"
    )


def named(path, shapes, metadata):
    """A file of the full size with metadata."""
    header_only(path, shapes)
    data = path.read_bytes()[:8]
    length = int.from_bytes(data, "little")
    with path.open("rb") as source:
        source.seek(8)
        header = json.loads(source.read(length)) | {"__metadata__": metadata}
    size, text = path.stat().st_size - 8 - length, json.dumps(header).encode()
    with path.open("wb") as target:
        target.write(len(text).to_bytes(8, "little") + text)
        target.truncate(8 + len(text) + size)
    return path


def test_without_a_configuration_a_file_is_taken_at_its_word(tmp_path):
    marks = original(2048, text="xl") | {"v_pred": (1,), "ztsnr": (1,)}
    found = describe_checkpoint(header_only(tmp_path / "x.safetensors", marks))
    scheduler = make_scheduler(found)
    assert scheduler.config.prediction_type == "v_prediction"
    assert scheduler.config.timestep_spacing == "trailing"
    assert float(scheduler.alphas_cumprod[-1]) == 0
    plain = describe_checkpoint(header_only(tmp_path / "y.safetensors", original(2048, text="xl")))
    assert make_scheduler(plain).config.prediction_type == "epsilon"
    assert plain.schedule == ()


@pytest.mark.parametrize(
    ("name", "metadata", "architecture"),
    [
        ("v2", {"modelspec.prediction_type": "v"}, "stable-diffusion-2"),
        ("v2", {"modelspec.prediction_type": "epsilon"}, "stable-diffusion-2-base"),
        ("v2-768", {"modelspec.architecture": "stable-diffusion-v2-768-v"}, "stable-diffusion-2"),
    ],
)
def test_the_second_version_may_say_what_it_predicts(tmp_path, name, metadata, architecture):
    shapes = original(1024, text="open_clip")
    found = describe_checkpoint(named(tmp_path / f"{name}.safetensors", shapes, metadata))
    assert found.architecture == architecture


def test_the_second_version_may_not_say_two_things(tmp_path):
    path = named(
        tmp_path / "v2-512.safetensors", original(1024, text="open_clip"), {"modelspec.prediction_type": "v"}
    )
    with pytest.raises(
        ValueError, match=r"says prediction_type v_prediction .*, but its name says the opposite"
    ):
        describe_checkpoint(path)


@pytest.mark.parametrize("steps", [1, 7, 25, 30, 50, 60, 62, 64, 150, 300, 400, 999, 1000])
def test_steps_that_meet_are_those_of_which_each_ends_where_the_next_begins(steps):
    scheduler = diffusers.DDIMScheduler(timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    gaps = -np.diff(scheduler.timesteps.numpy())
    short = gaps.mean() / (1000 // steps) - 1 if steps > 1 else 0
    near = even_steps(steps, scheduler.config)
    assert (near is None) == (short < 0.025)
    if near:
        assert near[0] < steps < near[1]
        assert all(even_steps(one, scheduler.config) is None for one in near)
    assert even_steps(steps, {"timestep_spacing": "leading"}) is None


def test_embedded_models_are_refused_every_sampler_that_their_schedule_refuses(tmp_path, config):
    folder = tmp_path / "digits"
    diffusers.DDIMPipeline(build_unet([8, 8]), build_scheduler()).save_pretrained(folder)
    checkpoint = describe_checkpoint(folder)
    assert checkpoint.configuration("scheduler").items() >= EMBEDDED_SCHEDULE.items()
    for name in NOISE_SCHEDULERS:
        system = {"system": {"scheduler": name}}
        obeys = name in embedded_schedulers()
        with nullcontext() if obeys else pytest.raises(ValueError, match="does not know"):
            check_schedule(checkpoint, name)
        line = rf"studies\.digits\.system\.scheduler: '{name}' is not allowed; allowed: auto, DDIMScheduler, Heun"
        with nullcontext() if obeys else pytest.raises(SettingsError, match=line):
            read_settings(merged(config, {"studies": {"digits": system}}))
