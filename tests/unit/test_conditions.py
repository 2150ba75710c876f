"""Conditions that differ from image to image: each image is that of a model which has its conditions for good."""

import re

import checkpoints
import numpy as np
import pytest
import torch
from checkpoints import TEXT_TO_IMAGE

from hessgeo.pipeline.config_files import SettingsError, merge_config
from hessgeo.pipeline.derived import merged
from hessgeo.pipeline.loading import load_system
from hessgeo.pipeline.settings import read_settings
from hessgeo.systems.diffusion.checkpoints import describe_checkpoint
from hessgeo.systems.diffusion.system import DiffusionSystem, load_denoiser
from hessgeo.systems.slices import LatentSlice, random_anchors

STEPS = 2


@pytest.fixture(params=TEXT_TO_IMAGE)
def checkpoint(request, small_checkpoint):
    return describe_checkpoint(small_checkpoint(request.param))


def latents(denoiser, n=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, *denoiser.latent_shape, generator=generator, dtype=torch.float64)


def close(found, expected):
    # Float32 rounding of the same sums in batches of another size.
    return (found - expected).abs().max() <= 1e-5 * max(1, float(expected.abs().max()))


def test_every_image_has_the_guidance_that_a_model_of_its_own_would_have(checkpoint):
    varied = load_denoiser(checkpoint, steps=STEPS, prompt="a red cat", varied={"guidance": None})
    x, scales = latents(varied), [1.5, 4.0, 7.0]
    if "guidance" in varied.shared:
        scales = [4.0, 4.0, 4.0]
    found = varied.denoise(x, conditions={"guidance": np.array(scales)})
    for k, scale in enumerate(scales):
        own = load_denoiser(checkpoint, steps=STEPS, prompt="a red cat", guidance=scale)
        assert close(found[k : k + 1], own.denoise(x[k : k + 1]))
    assert not close(found, varied.denoise(x, conditions={"guidance": np.full(3, 1.0)}))


def test_prompts_at_the_ends_are_those_of_models_of_their_own_and_between_lies_another(checkpoint):
    texts = {"prompt": "a red cat", "varied": {"prompt": "a dark tree, " * 3}}
    varied = load_denoiser(checkpoint, steps=STEPS, **texts)
    x = latents(varied)
    found = varied.denoise(x, conditions={"prompt": np.array([0.0, 0.5, 1.0])})
    for k, text in ((0, "a red cat"), (2, "a dark tree, " * 3)):
        own = load_denoiser(checkpoint, steps=STEPS, prompt=text)
        assert close(found[k : k + 1], own.denoise(x[k : k + 1]))
    ends = varied.denoise(x[[1, 1]], conditions={"prompt": np.array([0.0, 1.0])})
    assert all((found[1] - end).abs().max() > 1e-5 for end in ends)


def test_a_lora_weighs_what_one_merged_for_good_weighs(small_checkpoint, tmp_path):
    folder = small_checkpoint("small_stable_diffusion")
    checkpoint, file = (
        describe_checkpoint(folder),
        checkpoints.small_lora(folder, tmp_path / "lora.safetensors"),
    )
    varied = load_denoiser(checkpoint, steps=STEPS, varied={"lora": file})
    plane = LatentSlice(
        random_anchors(3, varied.latent_shape), ((0.0, 1.5), (-1.0, 1.0)), axes=("lora", "latent")
    )
    t = np.array([[1.5, 0.2], [0.0, 0.2], [0.7, -0.3], [1.5, 0.4], [0.0, 1.0]])
    images = DiffusionSystem(varied, plane, batch_size=2).sample(t, np.arange(5), 0)
    for k, (weight, _) in enumerate(t):
        lora = [{"file": file, "weight": weight}] if weight else []
        own = DiffusionSystem(load_denoiser(checkpoint, steps=STEPS, lora=lora), fixed(plane), batch_size=2)
        expected = own.sample(t[k : k + 1, [1, 1]] * [1, 0], np.array([k]), 0)
        assert np.abs(images[k].astype(int) - expected[0].astype(int)).max() <= 1
    # The weight matters, and is gone again where it is zero.
    assert np.abs(images[0].astype(int) - images[1].astype(int)).max() > 1


def fixed(plane):
    """The slice along its one moving latent alone."""
    return LatentSlice(plane.anchors, ((-1.0, 1.0), (-1.0, 1.0)))


def test_batches_of_a_slice_keep_their_order_and_share_what_they_must(small_checkpoint, tmp_path):
    folder = small_checkpoint("small_stable_diffusion")
    file = checkpoints.small_lora(folder, tmp_path / "lora.safetensors")
    varied = load_denoiser(describe_checkpoint(folder), steps=1, varied={"lora": file, "guidance": None})
    plane = LatentSlice(
        random_anchors(3, varied.latent_shape), ((0.0, 1.0), (1.0, 7.0)), axes=("lora", "guidance")
    )
    system = DiffusionSystem(varied, plane, batch_size=2)
    t = np.array([[0.5, 1.0], [0.0, 2.0], [0.5, 3.0], [0.5, 4.0]])
    batches = list(system._batches(plane.conditions(t), len(t)))
    assert [rows.tolist() for rows in batches] == [[1], [0, 2], [3]]


def test_what_a_model_cannot_vary_is_refused(small_checkpoint):
    plain = describe_checkpoint(small_checkpoint("small_ddim"))
    with pytest.raises(ValueError, match="is an unconditional model, which no prompt changes"):
        load_denoiser(plain, steps=1, varied={"prompt": "a cat"})
    denoiser = load_denoiser(plain, steps=1)
    plane = LatentSlice(
        random_anchors(3, denoiser.latent_shape), ((0, 1), (0, 1)), axes=("latent", "guidance")
    )
    with pytest.raises(ValueError, match="an axis of the slice is guidance, must be one of latent"):
        DiffusionSystem(denoiser, plane, batch_size=2)


@pytest.fixture
def study(repository, small_checkpoint, tmp_path, monkeypatch):
    """The complete settings of a study of a small Stable Diffusion, or the lines that refuse it."""
    monkeypatch.chdir(tmp_path)
    folder = small_checkpoint("small_stable_diffusion")
    checkpoints.small_lora(folder, "lora.safetensors")
    common = merge_config([repository / "config.yaml"], {})

    def read(system, **plane):
        own = {
            "system": {"checkpoint": str(folder), **system},
            "slice": plane,
            "embedding": {"kind": "pixels"},
        }
        try:
            return read_settings(merged(common, {"studies": {"digits": own}})).studies["digits"]
        except SettingsError as error:
            return str(error)

    return read


def test_a_study_from_one_prompt_to_another_and_along_guidance(study):
    plane = {"axes": [{"prompt": "a dark tree"}, "guidance"], "extent": [[0, 1], [1, 8]]}
    settings = study({"prompt": "a house", "negative_prompt": "dull", "steps": 2}, **plane)
    anchors = random_anchors(3, (4, 8, 8))
    system = load_system(
        settings["system"], settings["system"]["checkpoint"], anchors, settings["slice"], device="cpu", most=4
    )
    t = np.array([[0.0, 4.0], [1.0, 4.0], [0.5, 4.0], [0.0, 7.0]])
    images = system.sample(t, np.arange(4), 0).astype(int)
    # One latent throughout: whatever differs, the conditions did.
    assert np.abs(np.diff(images, axis=0)).reshape(3, -1).max(axis=1).min() > 1


@pytest.mark.parametrize(
    ("system", "axes", "words"),
    [
        (
            {"guidance": 3.0},
            ["latent", "guidance"],
            "system.guidance: 3.0 is not allowed; allowed: 1.0 where an axis",
        ),
        ({"prompt": "a"}, ["latent", {"prompt": "a"}], "allowed: a prompt other than system.prompt"),
        ({}, ["latent", {"prompt": "(a"}], "allowed: a prompt with"),
        (
            {},
            [{"lora": "no.safetensors"}, "latent"],
            r"slice.axes\[0\]: .* allowed: a .safetensors file of a LoRA",
        ),
        ({}, ["guidance", "guidance"], "allowed: two axes that are not of one kind, or both latent"),
        ({"negative_prompt": "dull"}, ["latent", "latent"], "empty where system.guidance is 1.0"),
    ],
)
def test_axes_that_cannot_be_are_refused_in_one_line(study, system, axes, words):
    lines = study(system, axes=axes)
    assert isinstance(lines, str)
    assert re.search(words, lines), lines
    assert lines.count("\n") == 0
