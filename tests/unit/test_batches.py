"""Batches divide a shard: few images are made for nothing, and no more at once than fit."""

import tracemalloc
from math import ceil

import numpy as np
import pytest
import torch

from hessgeo.pipeline.loading import load_system
from hessgeo.systems import memory
from hessgeo.systems.batches import MOST_WASTED, even_batch, padded_count
from hessgeo.systems.generator import Generator, GeneratorSystem, load_generator
from hessgeo.systems.slices import LatentSlice, random_anchors

PLANE = LatentSlice(random_anchors(3, (4,)), ((0.0, 1.0), (0.0, 1.0)))
SLICE = {
    "extent": [[0.0, 1.0], [0.0, 1.0]],
    "normalisation": "sphere",
    "interpolation": "linear",
    "axes": ["latent", "latent"],
}


@pytest.mark.parametrize(
    ("count", "most", "batch"),
    [
        (1024, 256, 256),
        (1024, 1023, 512),
        (1024, 700, 512),
        (256, 192, 128),
        (1000, 64, 63),
        (64, 256, 64),
        (65, 64, 33),
        (65, 8, 6),  # nine batches of eight would make 72
        (7, 4, 1),
        (1, 1, 1),
    ],
)
def test_batches_are_as_even_as_they_can_be(count, most, batch):
    assert even_batch(count, most) == batch


def test_hardly_any_image_is_made_for_nothing():
    counts = [*range(1, 140), *range(140, 1100, 37), 1024, 4096, 10_000]
    for count in counts:
        for most in [*range(1, 140), *range(140, 1100, 41)]:
            batch = even_batch(count, most)
            assert 1 <= batch <= most
            assert count <= padded_count(count, batch) <= (1 + MOST_WASTED) * count
            plain = ceil(count / ceil(count / most))
            if padded_count(count, plain) <= (1 + MOST_WASTED) * count:
                assert batch == plain, "no more passes than the memory asks for"


def test_many_images_are_not_made_one_at_a_time():
    for count in range(64, 1100):
        for most in (8, 31, 64, 100):
            assert even_batch(count, most) >= min(count, most) / 4


@pytest.mark.parametrize(("count", "most"), [(0, 4), (4, 0)])
def test_nothing_cannot_be_divided(count, most):
    with pytest.raises(ValueError, match="must be at least 1"):
        even_batch(count, most)


# --- systems ---


class Wave(torch.nn.Module):
    """Images of 8 x 8 pixels that follow their latent."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.sin(z @ torch.arange(768.0, device=z.device).view(4, 192) / 50).view(-1, 3, 8, 8)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """The settings of a generator in a file, in a working directory of its own."""
    monkeypatch.chdir(tmp_path)
    torch.jit.trace(Wave(), torch.zeros(1, 4)).save("wave.ts")
    return {
        "kind": "generator",
        "checkpoint": "wave.ts",
        "latent": [4],
        "inputs": {},
        "output": None,
        "layout": None,
        "size": [8, 8],
        "channels": 3,
        "output_range": [-1, 1],
        "batch_size": "auto",
    }


def load(settings, most, **options):
    return load_system(
        settings, settings["checkpoint"], PLANE.anchors, SLICE, device="cpu", most=most, **options
    )


@pytest.fixture
def made(monkeypatch):
    """Sizes of the batches that a generator is asked for."""
    sizes, outputs = [], GeneratorSystem.outputs

    def count(self, latents, *conditions):
        sizes.append(len(latents))
        return outputs(self, latents, *conditions)

    monkeypatch.setattr(GeneratorSystem, "outputs", count)
    return sizes


@pytest.mark.parametrize(("batch_size", "most", "batch"), [(300, 1000, 250), (192, 256, 128), (256, 64, 64)])
def test_a_system_takes_batches_that_divide_its_shards(settings, made, batch_size, most, batch):
    system = load({**settings, "batch_size": batch_size}, most)
    assert system.batch_size == batch
    made.clear()
    system.sample(np.random.default_rng(0).uniform(size=(most, 2)), np.arange(most), 0)
    assert sum(made) == most


def test_a_generator_is_fitted_into_memory(settings, made, monkeypatch):
    monkeypatch.setattr(memory, "_measure", lambda work, device: work() or 100 * made[-1])
    monkeypatch.setattr(memory, "free_memory", lambda device: 100 * 20 / 0.85 + 1)
    fit = memory.fit_batch_size
    monkeypatch.setattr(memory, "fit_batch_size", lambda *a, **k: fit(*a, free=memory.free_memory, **k))
    assert load(settings, 1024).batch_size == 20
    assert max(made) == 2, "neither the trial nor the measurement needs many"


def test_memory_is_measured_once_for_a_model_and_a_device(settings, made, tmp_path):
    first = load(settings, 64, model="a" * 64)
    tried = len(made)
    assert load(settings, 64, model="a" * 64).batch_size == first.batch_size
    again = len(made) - tried
    load(settings, 64, model="b" * 64)
    other = len(made) - tried - again
    load({**settings, "size": [8, 8], "dtype": "float16"}, 64, model="a" * 64)
    last = len(made) - tried - again - other
    assert tried == other == last == again + 3, "a warm-up, one image and two"


def test_a_trial_is_small_whatever_the_batch(settings, made):
    load_generator("wave.ts", PLANE, size=(8, 8), batch_size=1024)
    assert max(made) <= 2


def test_pixels_are_made_without_a_copy_of_all_values():
    class Constant(Generator):
        name, latent_shape = "constant", (None,)

        def __call__(self, z):
            return np.zeros((len(z), 3, 128, 128), np.float32)

    system = GeneratorSystem(Constant(), PLANE, size=(128, 128), batch_size=64)
    values = system.outputs(PLANE.latents(np.zeros((64, 2))))
    tracemalloc.start()
    pixels = system.quantise(values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (pixels == 128).all()
    # The pixels, and one image in double precision a few times.
    assert peak < 1.1 * pixels.nbytes + 4 * 8 * pixels[0].size
    assert pixels.flags.c_contiguous


def test_pixels_are_those_of_double_precision():
    class Noise(Generator):
        name, latent_shape = "noise", (None,)

        def __call__(self, z):
            return np.random.default_rng(0).normal(size=(len(z), 3, 8, 8)).astype(np.float32)

    system = GeneratorSystem(Noise(), PLANE, size=(8, 8), output_range=(-0.9, 1.2), batch_size=5)
    values = system.outputs(np.zeros((5, 4)))
    expected = np.round(255 * np.clip((values.astype(float) + 0.9) / 2.1, 0, 1)).transpose(0, 2, 3, 1)
    assert np.array_equal(system.quantise(values), expected)


def test_batches_of_a_diffusion_model_divide_its_shards(small_checkpoint, monkeypatch):
    from hessgeo.systems.diffusion.system import DiffusionSystem

    folder = str(small_checkpoint("small_ddim"))
    keys = {"eta": 0.0, "eta_rule": "ddim", "scheduler": "auto", "prompt": "", "negative_prompt": ""}
    keys |= {"guidance": 1.0, "clip_skip": None, "lora": [], "dtype": "float32", "compile": False}
    system = {"kind": "diffusion", "config": None, "size": None, "steps": 1, "decode_batch_size": 8, **keys}
    from hessgeo.systems.diffusion.checkpoints import describe_checkpoint

    anchors = random_anchors(1, describe_checkpoint(folder).latent_shape)
    loaded = load_system({**system, "batch_size": 24}, folder, anchors, SLICE, device="cpu", most=32)
    sizes, generate = [], DiffusionSystem.generate
    monkeypatch.setattr(
        DiffusionSystem, "generate", lambda self, z, *rest: sizes.append(len(z)) or generate(self, z, *rest)
    )
    loaded.sample(np.random.default_rng(0).uniform(size=(32, 2)), np.arange(32), 0)
    assert sizes == [16, 16]
