"""Generators whose images are not what their settings say, found on a few latents."""

import numpy as np
import pytest

from hessgeo.systems.generator import Generator, GeneratorSystem
from hessgeo.systems.generator_trial import range_fault, trial_latents, try_generator
from hessgeo.systems.slices import LatentSlice, random_anchors

LATENT, SIZE = 16, (16, 16)
WEIGHT = np.random.default_rng(0).normal(size=(LATENT, 3 * SIZE[0] * SIZE[1])) / 4


class Mapped(Generator):
    """``f(tanh(z W))`` as images."""

    name, latent_shape, batch = "g.onnx", None, None

    def __init__(self, f):
        self.f = f

    def __call__(self, z):
        images = self.f(np.tanh(z @ WEIGHT)).reshape(-1, 3, *SIZE)
        return images if images.dtype == np.uint8 else images.astype(np.float32)


def plane(extent=((0.0, 1.0), (0.0, 1.0)), **options):
    return LatentSlice(random_anchors(3, (LATENT,)), extent, **options)


def tried(f, output_range=(-1.0, 1.0), batch_size=5, latent_slice=None):
    generator = f if isinstance(f, Generator) else Mapped(f)
    options = {"size": SIZE, "output_range": output_range, "batch_size": batch_size}
    try_generator(GeneratorSystem(generator, latent_slice or plane(), **options))


def unit(x):
    return (x + 1) / 2


RIGHT = {
    "tanh": (lambda x: x, (-1, 1)),
    "sigmoid": (unit, (0, 1)),
    "a sigmoid that stays away from its ends": (lambda x: 0.27 + 0.46 * unit(x), (0, 1)),
    "grey pictures": (lambda x: 255 * (0.4 + 0.4 * unit(x)), (0, 255)),
    "bytes as numbers": (lambda x: 255 * unit(x), (0, 255)),
    "dark pictures": (lambda x: -1 + 0.3 * unit(x), (-1, 1)),
    "dark pictures of a sigmoid": (lambda x: 0.2 * unit(x), (0, 1)),
    "bright pictures with a little black": (lambda x: np.where(x < -0.95, -1, 0.9 + 0.1 * x), (-1, 1)),
    "white digits on black": (lambda x: np.where(x > 0.9, 1, -1), (-1, 1)),
    "black digits on white": (lambda x: np.where(x > 0.9, -1, 1), (-1, 1)),
    "white that overshoots": (lambda x: np.where(x > 0, 1.02, 1.3 * x), (-1, 1)),
    "no bounded last layer": (lambda x: 1.2 * x, (-1, 1)),
    "eight bits": (lambda x: np.round(255 * unit(x)).astype(np.uint8), (-1, 1)),
    "pale in eight bits": (lambda x: np.round(200 + 50 * unit(x)).astype(np.uint8), (-1, 1)),
}


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("batch_size", [1, 5, 40])
def test_images_as_networks_make_them_pass(name, batch_size):
    tried(*RIGHT[name], batch_size=batch_size)


WRONG = {
    "sigmoid, half of the range": (
        unit,
        (-1, 1),
        r"which uses 50 % of output_range \[-1, 1\] and has no black; output_range \[0, 1\] would fit",
    ),
    "a sigmoid that does not reach its ends": (
        lambda x: 0.2 + 0.6 * unit(x),
        (-1, 1),
        r"output_range \[0, 1\] would fit",
    ),
    "the middle half": (lambda x: x / 2, (-1, 1), r"output_range \[-0\.5, 0\.5\] would fit"),
    "tanh as a sigmoid": (
        lambda x: x,
        (0, 1),
        r"gives values from -0\.99\d to 0\.99\d, .* \[0, 1\] clips \d\d %; output_range \[-1, 1\] would fit",
    ),
    "white digits of tanh as a sigmoid": (
        lambda x: np.where(x > 0.9, 1, -1),
        (0, 1),
        r"output_range \[-1, 1\] would fit",
    ),
    "black digits of tanh as a sigmoid": (
        lambda x: np.where(x > 0.9, -1, 1),
        (0, 1),
        r"output_range \[-1, 1\] would fit",
    ),
    "bytes as tanh": (lambda x: 255 * unit(x), (-1, 1), r"clips 100 %; output_range \[0, 255\] would fit"),
    "tanh as bytes": (
        lambda x: x,
        (0, 255),
        r"a constant to output_range \[0, 255\]; output_range \[-1, 1\] would",
    ),
    "sigmoid as bytes": (unit, (0, 255), r"a constant to .*; output_range \[0, 1\] would fit"),
    "standardised as photographs are": (
        lambda x: (unit(x) - 0.45) / 0.225,
        (-1, 1),
        r"output_range \[-1\.99, 2\.43\] would fit",
    ),
    "dark tanh as a sigmoid": (lambda x: -1 + 0.3 * unit(x), (0, 1), r"clips 100 %"),
    "one colour each": (lambda x: 0 * x + x[:, :1] / 200, (-1, 1), r"a constant to output_range"),
    "one image": (lambda x: 0 * x + WEIGHT[:1], (-1, 1), "gives one image whatever the latent"),
    "eight bits of a sigmoid": (
        lambda x: unit(x).astype(np.uint8),
        (-1, 1),
        r"gives values from 0 to [01], a constant",
    ),
    "eight bits with a range": (
        lambda x: np.round(255 * unit(x)).astype(np.uint8),
        (0, 1),
        "gives uint8, which means 0 to 255: output_range must be left out",
    ),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("batch_size", [1, 5, 40])
def test_images_of_another_range_are_refused_in_one_line(name, batch_size):
    f, output_range, message = WRONG[name]
    with pytest.raises(ValueError, match=rf"^g\.onnx .*{message}") as raised:
        tried(f, output_range, batch_size)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("f", [lambda x: x, unit, lambda x: 255 * unit(x), lambda x: 3 * x - 1])
def test_the_range_that_is_named_is_taken(f):
    with pytest.raises(ValueError, match="would fit") as raised:
        tried(f, (-40, -20))
    low, high = map(float, str(raised.value).partition("output_range [")[2].partition("]")[0].split(", "))
    assert (low, high) == (-40, -20)
    named = str(raised.value).rpartition("output_range [")[2].partition("]")[0]
    tried(f, tuple(map(float, named.split(", "))))


class Batched(Mapped):
    """As a network exported in training mode: it subtracts the mean of its batch."""

    def __call__(self, z):
        images = super().__call__(z)
        return images - images.mean(axis=0, keepdims=True)


class Noisy(Mapped):
    def __init__(self, f):
        super().__init__(f)
        self.chance = np.random.default_rng(0)

    def __call__(self, z):
        images = super().__call__(z)
        return images + self.chance.normal(scale=0.1, size=images.shape).astype(np.float32)


@pytest.mark.parametrize("kind", [Batched, Noisy])
@pytest.mark.parametrize("batch_size", [2, 5, 40])
def test_an_image_is_a_function_of_its_latent_alone(kind, batch_size):
    with pytest.raises(
        ValueError, match=r"two images of one latent: it draws its own noise, or mixes those of a"
    ):
        tried(kind(lambda x: x), batch_size=batch_size)


@pytest.mark.parametrize("normalisation", ["sphere", "std", "anchors", "none"])
def test_a_window_without_change_passes_where_the_network_changes(normalisation):
    window = plane(((0.5, 0.5 + 1e-9), (0.5, 0.5 + 1e-9)), normalisation=normalisation)
    tried(lambda x: x, latent_slice=window)
    latents = trial_latents(window)
    assert latents.shape == (12, LATENT)
    expected = window.anchors
    if normalisation in ("sphere", "std"):
        radius = np.linalg.norm if normalisation == "sphere" else lambda z: np.std(z) * np.sqrt(LATENT)
        expected = np.stack([z / radius(z) * np.sqrt(LATENT) for z in window.anchors])
    # Both are float64, rounded a few times.
    assert np.allclose(latents[9:], expected, rtol=1e-12)


def test_a_fault_is_a_share_of_the_range_whatever_its_unit():
    values = np.random.default_rng(0).uniform(0, 1, 10_000).astype(np.float32)
    assert range_fault(values, -1, 1).replace("[0, 1]", "").startswith("gives values from")
    assert range_fault(values, 0, 1) == ""
    assert range_fault(1000 * values, 0, 1000) == ""
