"""What functions of a user take and give: images in any convention, of numpy or torch, called at rest."""

import re

import numpy as np
import pytest
import torch

from hessgeo.study.functions import Function, at_rest
from hessgeo.study.images import Convention


def images_of(shape, low, high, dtype=np.float32):
    return np.linspace(low, high, int(np.prod(shape))).reshape(shape).astype(dtype)


@pytest.mark.parametrize("shape", [(4, 8, 6, 3), (4, 3, 8, 6), (4, 8, 6, 1), (4, 1, 8, 6), (4, 8, 6)])
@pytest.mark.parametrize(
    ("low", "high", "black", "white"), [(0, 1, 0, 1), (-1, 1, -1, 1), (-1.3, 1.2, -1, 1), (0.2, 0.9, 0, 1)]
)
def test_images_become_eight_bits_by_their_shape_and_range(shape, low, high, black, white):
    images = images_of(shape, low, high)
    pixels = Convention.of(images, None).pixels(images)
    channels_first = len(shape) == 4 and shape[1] in (1, 3)
    expected = np.round(255 * np.clip((images.astype(float) - black) / (white - black), 0, 1))
    expected = np.moveaxis(expected, 1, -1) if channels_first else expected
    assert pixels.dtype == np.uint8
    assert pixels.shape == (4, 8, 6, 3 if 3 in shape else 1)
    assert (pixels.squeeze() == expected.squeeze()).all()


def test_images_of_eight_bits_stay_as_they_are():
    images = images_of((4, 3, 8, 6), 0, 255, np.uint8)
    assert (Convention.of(images, None).pixels(images) == images.transpose(0, 2, 3, 1)).all()


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (images_of((4, 3, 8, 3), 0, 1), "both ends could be the channels"),
        (images_of((4, 4, 8, 8), 0, 1), "neither end is 1 or 3 channels"),
        (images_of((4, 64), 0, 1), "neither end is 1 or 3 channels"),
        (images_of((4, 8, 6, 3), 0, 255, np.int64), "images of int64 are not allowed"),
        (images_of((4, 8, 6, 3), 0, 255), "float images from 0 to 255 lie neither in"),
        (images_of((4, 8, 6, 3), -0.1, 1), "could be of [0, 1] or of [-1, 1]: give output_range"),
        (np.full((4, 8, 6, 3), np.nan, np.float32), "lie neither in"),
        (np.zeros((4, 0, 6, 3), np.float32), "images of shape (4, 0, 6, 3) have no pixels"),
    ],
)
def test_images_that_could_mean_anything_are_refused_in_a_line(images, words):
    with pytest.raises(ValueError, match=re.escape(words)) as refused:
        Convention.of(images, None)
    assert "\n" not in str(refused.value)


def test_a_range_that_is_given_holds():
    images = images_of((4, 8, 6, 3), 0, 255)
    assert (Convention.of(images, (0, 255)).pixels(images) == np.round(images)).all()
    for images_, given in (
        (images, (1, 1)),
        (images, 1),
        (images, (0, 1, 2)),
        (images.astype(np.uint8), (0, 9)),
    ):
        with pytest.raises(ValueError, match=r"^output_range .* is not allowed; allowed: "):
            Convention.of(images_, given)


def test_images_that_leave_the_range_that_they_seemed_to_have_are_refused():
    seen = Convention.of(images_of((4, 8, 6, 3), 0, 1), None)
    with pytest.raises(ValueError, match="reach -1 elsewhere"):
        seen.pixels(images_of((4, 8, 6, 3), -1, 1))


class Linear(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 64).double()
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, z):
        assert z.dtype == torch.float64
        return self.drop(torch.sigmoid(self.layer(z))).reshape(-1, 1, 8, 8)


@pytest.mark.parametrize("call", [lambda model: model, lambda model: model.forward])
def test_a_module_gets_tensors_of_its_precision_is_used_at_rest_and_left_as_it_was(call):
    model = Linear().train()
    model.layer.eval()
    function = Function("generate", call(model))
    z = np.ones((3, 2), np.float32)
    with at_rest(function):
        assert (function(z) == function(z)).all()  # without dropout
        assert not function(z).requires_grad
    assert model.training
    assert model.drop.training
    assert not model.layer.training


@pytest.mark.parametrize(
    "function",
    [
        lambda z: np.sin(z),
        lambda z: torch.sin(z),
        lambda z: torch.from_numpy(z).sin(),
        lambda z: z.sin().numpy(),
    ],
)
def test_any_function_of_numpy_or_torch_is_called_with_what_it_takes(function):
    z = np.linspace(0, 1, 6, dtype=np.float32).reshape(3, 2)
    assert np.allclose(np.asarray(Function("generate", function)(z)), np.sin(z))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda z: None, "generate gave NoneType for 3 entries"),
        (lambda z: np.zeros((2, 8)), r"generate gave an array of shape \(2, 8\) for 3 entries"),
        (lambda z: z.nonsense, "AttributeError: .*nonsense"),
    ],
)
def test_a_function_that_gives_no_batch_is_refused_in_a_line(function, words):
    with pytest.raises(ValueError, match=words) as refused:
        Function("generate", function)(np.zeros((3, 2), np.float32))
    assert "\n" not in str(refused.value)
