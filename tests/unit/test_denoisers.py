"""Text-to-image models on given latents, beside the stock pipelines called by hand."""

import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from checkpoints import (
    small_ddim,
    small_flux,
    small_stable_diffusion,
    small_stable_diffusion_3,
    small_stable_diffusion_xl,
)

from hessgeo.systems.diffusion.checkpoints import describe_checkpoint
from hessgeo.systems.diffusion.denoisers import from_pixels, sample_generators, to_pixels
from hessgeo.systems.diffusion.pipelines import load_pipeline
from hessgeo.systems.diffusion.system import load_denoiser

BUILDERS = {
    "stable-diffusion": small_stable_diffusion,
    "stable-diffusion-xl": small_stable_diffusion_xl,
    "stable-diffusion-3": small_stable_diffusion_3,
    "flux": small_flux,
}
STEPS, COUNT = 3, 3


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    return {family: build(folder / family) for family, build in BUILDERS.items()}


def latents(denoiser, count=COUNT, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((count, *denoiser.latent_shape)))


def words(family, guidance):
    negative = "" if family == "flux" else "dull"
    return {"prompt": "a bright house", "negative_prompt": negative, "guidance": guidance}


def stock(family, folder, x, *, prompt, negative_prompt, guidance, **options):
    """The pipeline called as its documentation says, with a prompt for each latent."""
    checkpoint = describe_checkpoint(folder)
    pipeline = load_pipeline(checkpoint)
    height, width, _ = checkpoint.image_shape
    if family == "flux":
        x = pipeline._pack_latents(x, len(x), *x.shape[1:])
    else:
        options["negative_prompt"] = [negative_prompt or ""] * len(x)
    result = pipeline(
        prompt=[prompt] * len(x),
        latents=x.float(),
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        height=height,
        width=width,
        **options,
    )
    return pipeline, result.images


@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize("family", BUILDERS)
def test_latents_are_those_of_the_stock_pipeline(folders, family, guidance):
    text = words(family, guidance)
    denoiser = load_denoiser(describe_checkpoint(folders[family]), steps=STEPS, **text)
    x = latents(denoiser)
    ours = denoiser.denoise(x)
    pipeline, theirs = stock(family, folders[family], x, **text, output_type="latent")
    if family == "flux":
        height, width, _ = denoiser.image_shape
        theirs = pipeline._unpack_latents(theirs, height, width, pipeline.vae_scale_factor)
    assert ours.shape == theirs.shape == (COUNT, *denoiser.latent_shape)
    # Float32 rounding: the stock call encodes the prompt once for each image, in one batch.
    assert (ours - theirs).abs().max() <= 1e-5 * max(1, theirs.abs().max())
    assert (ours - x).abs().max() > 1e-2, "the comparison needs a model that does something"


@pytest.mark.parametrize("family", BUILDERS)
def test_images_are_those_of_the_stock_pipeline(folders, family):
    text = words(family, 5.0)
    denoiser = load_denoiser(describe_checkpoint(folders[family]), steps=STEPS, **text, decode_batch_size=2)
    x = latents(denoiser)
    images = denoiser.decode(denoiser.denoise(x))
    _, theirs = stock(family, folders[family], x, **text, output_type="np")
    assert images.dtype == np.uint8
    assert images.shape == (COUNT, *denoiser.image_shape)
    # Eight bits round by half a level; 1e-4 of the range is float32 rounding through the autoencoder.
    assert np.abs(images - 255 * theirs).max() < 0.5 + 255e-4
    assert images.std() > 5, "the comparison needs images that are not flat"


@pytest.mark.parametrize("family", BUILDERS)
def test_prompts_matter_and_guidance_does(folders, family):
    checkpoint = describe_checkpoint(folders[family])
    base = load_denoiser(checkpoint, steps=STEPS, **words(family, 5.0))
    other = load_denoiser(checkpoint, steps=STEPS, **words(family, 5.0) | {"prompt": "a dark tree"})
    weak = load_denoiser(checkpoint, steps=STEPS, **words(family, 2.0))
    x = latents(base, 1)
    assert (base.denoise(x) - other.denoise(x)).abs().max() > 1e-4
    assert (base.denoise(x) - weak.denoise(x)).abs().max() > 1e-4


@pytest.mark.parametrize("family", [family for family in BUILDERS if family != "flux"])
@pytest.mark.parametrize("guidance", [0.0, 0.5, 3.0])
def test_guidance_is_a_line_through_both_prompts_at_every_scale(folders, family, guidance):
    checkpoint = describe_checkpoint(folders[family])
    # One step of either sampler is affine in what the network says.
    texts = {"prompt": "a bright house", "negative_prompt": "dull"}
    guided = load_denoiser(checkpoint, steps=1, guidance=guidance, **texts)
    x = latents(guided)
    towards, away = (load_denoiser(checkpoint, steps=1, prompt=text).denoise(x) for text in texts.values())
    assert (towards - away).abs().max() > 1e-3
    expected = away + guidance * (towards - away)
    assert (guided.denoise(x) - expected).abs().max() <= 1e-4 * (
        towards - away
    ).abs().max() + 1e-6 * x.abs().max()


@pytest.mark.parametrize("family", [family for family in BUILDERS if family != "flux"])
def test_no_guidance_at_all_is_the_negative_prompt_alone(folders, family):
    checkpoint = describe_checkpoint(folders[family])
    unguided = load_denoiser(
        checkpoint, steps=STEPS, prompt="a bright house", negative_prompt="dull", guidance=0.0
    )
    x = latents(unguided)
    expected = load_denoiser(checkpoint, steps=STEPS, prompt="dull").denoise(x)
    assert (unguided.denoise(x) - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_the_network_of_flux_takes_the_scale_itself(tmp_path):
    dev, schnell = (
        describe_checkpoint(small_flux(tmp_path / str(embeds), guidance_embeds=embeds))
        for embeds in (True, False)
    )
    x = latents(load_denoiser(dev, steps=STEPS))
    found = [load_denoiser(dev, steps=STEPS, guidance=scale).denoise(x) for scale in (0.0, 0.5, 1.0, 3.5)]
    assert all((a - b).abs().max() > 1e-5 for a, b in pairwise(found))
    load_denoiser(schnell, steps=STEPS, prompt="a tree")
    with pytest.raises(ValueError, match=r"^guidance is 0.5, must be 1.0 for a model without guidance"):
        load_denoiser(schnell, steps=STEPS, guidance=0.5)


def test_layers_are_skipped(folders):
    checkpoint, text = describe_checkpoint(folders["stable-diffusion"]), words("", 3.0)
    whole, same, less = (
        load_denoiser(checkpoint, steps=STEPS, **text, clip_skip=skip) for skip in (None, 0, 1)
    )
    x = latents(whole)
    assert torch.equal(whole.denoise(x), same.denoise(x))
    assert (whole.denoise(x) - less.denoise(x)).abs().max() > 1e-3


def test_text_encoders_are_let_go(folders):
    denoiser = load_denoiser(describe_checkpoint(folders["stable-diffusion-3"]), steps=STEPS, prompt="a tree")
    assert all(getattr(denoiser.pipeline, f"text_encoder{k}") is None for k in ("", "_2", "_3"))


def test_noise_belongs_to_the_sample_not_to_its_batch(folders):
    denoiser = load_denoiser(
        describe_checkpoint(folders["stable-diffusion"]), steps=STEPS, eta=1.0, **words("", 3.0)
    )
    x, index = latents(denoiser), np.array([4, 9, 2])
    together = denoiser.denoise(x, noise=sample_generators(index, 5))
    alone = torch.cat(
        [denoiser.denoise(x[k : k + 1], noise=sample_generators(index[k : k + 1], 5)) for k in range(COUNT)]
    )
    assert (together - alone).abs().max() <= 1e-5 * alone.abs().max()  # float32 rounding of another batch
    again = denoiser.denoise(x, noise=sample_generators(index, 6))
    assert (together - again).abs().max() > 1e-2


def test_eta_is_the_stock_pipeline_s(folders):
    text = words("", 3.0)
    denoiser = load_denoiser(describe_checkpoint(folders["stable-diffusion"]), steps=STEPS, eta=0.5, **text)
    x = latents(denoiser)
    ours = denoiser.denoise(x, noise=sample_generators(np.arange(COUNT), 5))
    noise = sample_generators(np.arange(COUNT), 5)
    folder = folders["stable-diffusion"]
    _, theirs = stock("stable-diffusion", folder, x, **text, output_type="latent", eta=0.5, generator=noise)
    assert (ours - theirs).abs().max() <= 1e-5 * max(1, theirs.abs().max())


@pytest.mark.parametrize("family", BUILDERS)
def test_the_autoencoder_goes_both_ways(folders, family):
    denoiser = load_denoiser(describe_checkpoint(folders[family]), steps=STEPS)
    images = np.random.default_rng(0).integers(0, 256, (3, *denoiser.image_shape), dtype=np.uint8)
    encoded = denoiser.encode(images)
    assert encoded.shape == (3, *denoiser.latent_shape)
    vae = denoiser.pipeline.vae
    with torch.inference_mode():
        mean = vae.encode(from_pixels(images)).latent_dist.mean
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    assert torch.allclose(encoded, (mean - shift) * vae.config.scaling_factor, atol=1e-5)
    assert np.array_equal(to_pixels(vae.decode(mean, return_dict=False)[0]), denoiser.decode(encoded))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_stays_near(folders, dtype):
    checkpoint, text = describe_checkpoint(folders["stable-diffusion-xl"]), words("", 3.0)
    exact = load_denoiser(checkpoint, steps=STEPS, **text)
    half = load_denoiser(checkpoint, steps=STEPS, **text, dtype=dtype)
    x = latents(exact)
    difference = (half.denoise(x).float() - exact.denoise(x)).square().mean().sqrt()
    # Eleven or eight bits, through a few layers and steps.
    assert difference < (0.01 if dtype == "float16" else 0.08) * exact.denoise(x).std()
    assert np.abs(half.decode(half.denoise(x)).astype(float) - exact.decode(exact.denoise(x))).mean() < 8


def test_refusals(folders, tmp_path):
    sd, flux = (describe_checkpoint(folders[name]) for name in ("stable-diffusion", "flux"))
    ddim = describe_checkpoint(small_ddim(tmp_path / "ddim"))
    for checkpoint, options, line in (
        (sd, {"steps": 2000}, "steps is 2000, must be between 1 and the schedule's 1000"),
        (sd, {"eta": -0.1}, "eta is -0.1, must be between 0 and 1"),
        (flux, {"eta": 0.1}, "eta is 0.1, must be 0 for FlowMatchEulerDiscreteScheduler"),
        (flux, {"negative_prompt": "dull"}, "negative_prompt is 'dull', must be empty"),
        (ddim, {"prompt": "a house"}, "prompt is 'a house', must be ''"),
        (ddim, {"guidance": 5.0}, "guidance is 5.0, must be 1.0"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(line)}") as error:
            load_denoiser(checkpoint, **{"steps": STEPS} | options)
        assert "\n" not in str(error.value)


def test_pixels_round_trip_and_must_be_finite():
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    assert np.array_equal(to_pixels(from_pixels(images)), images)
    with pytest.raises(FloatingPointError, match="not finite"):
        to_pixels(torch.full((1, 1, 2, 2), torch.nan))
