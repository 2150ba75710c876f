"""Pipelines in the layout of the first ones: an unconditional network and its scheduler in the root of a folder."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from hessgeo.systems.diffusion.checkpoints import describe_checkpoint
from hessgeo.systems.diffusion.system import load_denoiser
from hessgeo.weights.__main__ import main

# As attention was called then.
OLD_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


@pytest.fixture
def root(small_checkpoint, tmp_path):
    """The files of a pipeline moved to the root, as ``google/ddpm-*`` have them."""

    def build(*, index=True, old_names=False):
        source, folder = small_checkpoint("small_ddim"), tmp_path / "ddpm"
        folder.mkdir()
        for name in ("config.json", "diffusion_pytorch_model.safetensors"):
            shutil.copy(source / "unet" / name, folder)
        shutil.copy(source / "scheduler" / "scheduler_config.json", folder)
        if index:
            parts = {"scheduler": ["diffusers", "DDPMScheduler"], "unet": ["diffusers", "UNet2DModel"]}
            text = json.dumps({"_class_name": "DDPMPipeline", "_diffusers_version": "0.1.1", **parts})
            (folder / "model_index.json").write_text(text)
        if old_names:
            file = folder / "diffusion_pytorch_model.safetensors"
            weights = load_file(file)
            for new, old in OLD_NAMES.items():
                weights = {name.replace(f".{new}.", f".{old}."): tensor for name, tensor in weights.items()}
            assert any(".query." in name for name in weights)
            save_file(weights, file, metadata={"format": "pt"})
        return folder

    return build


def drawn(path):
    latents = np.random.default_rng(0).standard_normal((2, 3, 8, 8))
    denoiser = load_denoiser(describe_checkpoint(path), steps=2)
    return denoiser.denoise(torch.from_numpy(latents))


@pytest.mark.parametrize("index", [True, False], ids=["with an index", "without"])
@pytest.mark.parametrize("old_names", [False, True], ids=["names of today", "names of then"])
def test_images_are_those_of_the_same_weights_in_folders(root, small_checkpoint, index, old_names):
    folder = root(index=index, old_names=old_names)
    expected = describe_checkpoint(small_checkpoint("small_ddim"))
    found = describe_checkpoint(folder)
    assert (found.family, found.latent_shape, found.image_shape) == (
        expected.family, expected.latent_shape, expected.image_shape,
    )  # fmt: skip
    names = {"config.json", "diffusion_pytorch_model.safetensors", "scheduler_config.json"}
    assert {file.name for file in found.files} == names | ({"model_index.json"} if index else set())
    assert found.configuration("scheduler") == expected.configuration("scheduler")
    # Both are the same sums of the same numbers.
    assert torch.allclose(drawn(folder), drawn(expected.path), atol=1e-5)


def test_a_pickle_in_the_root_is_refused_with_what_converts_it(root):
    folder = root()
    weights = folder / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), folder / "diffusion_pytorch_model.bin")
    weights.unlink()
    with pytest.raises(ValueError, match="is a pickle, which can run code") as raised:
        describe_checkpoint(folder)
    command = str(raised.value).partition("`python -m hessgeo.weights ")[2].partition("`")[0]
    main(command.split())
    assert describe_checkpoint(folder).family == "unconditional"


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (
            "diffusion_pytorch_model.safetensors",
            "has no weights of unet: there is no diffusion_pytorch_model.safetensors",
        ),
        ("scheduler_config.json", r"scheduler_config\.json is missing"),
        ("config.json", "is missing"),
    ],
)
def test_what_is_missing_is_named(root, file, reason):
    folder = root()
    (folder / file).unlink()
    with pytest.raises(ValueError, match=reason) as raised:
        describe_checkpoint(folder)
    assert "\n" not in str(raised.value)


def test_another_network_in_the_root_is_refused(root):
    folder = root(index=False)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"_class_name": "UNet1DModel"}))
    with pytest.raises(ValueError, match=r"has no model_index\.json"):
        describe_checkpoint(folder)
