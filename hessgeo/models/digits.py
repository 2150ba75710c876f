"""The 8 x 8 handwritten digits of scikit-learn, with captions from measured properties of the stroke."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from sklearn import datasets
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn import functional

DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
STROKE_WORDS = (
    ("thin", "medium", "bold"),
    ("left-leaning", "upright", "right-leaning"),
    ("narrow", "regular", "wide"),
)


@dataclass(frozen=True)
class DigitSet:
    """Images of digits with what is known of each.

    Args:
        images: ink from 0 (paper) to 255, shape (n, 8, 8, 1).
        labels: the digit, 0 to 9.
        captions: one sentence fragment an image, such as ``a bold, right-leaning, wide seven``.
    """

    images: UInt8[np.ndarray, "n 8 8 1"]
    labels: Int[np.ndarray, "n"]
    captions: list[str]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Digits:
    """A training set and a held-out set with the same share of each digit."""

    train: DigitSet
    test: DigitSet


def stroke_measures(images: UInt8[np.ndarray, "n h w 1"]) -> Float[np.ndarray, "n 3"]:
    """Weight, slant and width of the stroke, from the moments of the ink.

    With ink-weighted means and central moments ``mu_xx, mu_xy, mu_yy`` in pixels (``x`` to the right, ``y``
    *up*):

    - weight: mean ink over the image, from 0 to 1;
    - slant: ``mu_xy / mu_yy``, the shear that the digit was drawn with (horizontal pixels per vertical pixel,
      positive to the right);
    - width: ``sqrt(mu_xx - mu_xy^2 / mu_yy)``, the horizontal standard deviation in pixels once that shear is
      undone, so that slant alone does not make a digit wide.

    Raises:
        ValueError: if an image has no ink, or ink in one row only, where a slant has no meaning.
    """
    ink = images[..., 0].astype(float) / 255
    height, width = ink.shape[1:]
    x, y = np.arange(width), np.arange(height)[::-1]
    total = ink.sum(axis=(1, 2))
    if np.any(total == 0):
        raise ValueError(f"image {int(np.argmin(total))} is blank: a stroke cannot be measured")
    dx = x - (np.einsum("nyx,x->n", ink, x) / total)[:, None]
    dy = y - (np.einsum("nyx,y->n", ink, y) / total)[:, None]
    mu_xx = np.einsum("nyx,nx->n", ink, dx**2) / total
    mu_yy = np.einsum("nyx,ny->n", ink, dy**2) / total
    mu_xy = np.einsum("nyx,ny,nx->n", ink, dy, dx) / total
    if np.any(mu_yy == 0):
        raise ValueError(
            f"image {int(np.argmin(mu_yy))} has ink in one row only: its slant cannot be measured"
        )
    # Cauchy-Schwarz makes the difference non-negative; rounding may not.
    straight = np.maximum(mu_xx - mu_xy**2 / mu_yy, 0)
    return np.stack([ink.mean(axis=(1, 2)), mu_xy / mu_yy, np.sqrt(straight)], axis=1)


def captions(
    measures: Float[np.ndarray, "n 3"], labels: Int[np.ndarray, "n"], terciles: Float[np.ndarray, "2 3"]
) -> list[str]:
    """Words for the measures of each image, by the tercile that each measure falls in.

    Args:
        measures: weight, slant and width, as ``stroke_measures`` gives them.
        labels: the digit of each image.
        terciles: lower and upper tercile of each measure.
    """
    bins = (measures[:, None, :] > terciles[None]).sum(axis=1)
    return [
        f"a {', '.join(words[b] for words, b in zip(STROKE_WORDS, row, strict=True))} {DIGIT_WORDS[label]}"
        for row, label in zip(bins, labels, strict=True)
    ]


def load_digits(*, held_out: float, seed: int) -> Digits:
    """Read the 1,797 digits, split them and caption them.

    The terciles that turn a measure into a word are those of the training set, so a word says how an image
    compares with the training images of all digits.

    Args:
        held_out: share of images in the test set, the same for each digit up to rounding.
        seed: seed of the split.

    Raises:
        ValueError: if ``held_out`` is not between 0 and 1 or leaves a digit without an image on either side.
    """
    if not 0 < held_out < 1:
        raise ValueError(f"held_out is {held_out}, must be a share between 0 and 1")
    bunch = datasets.load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int64)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=held_out, random_state=seed, stratify=labels
    )
    measures = stroke_measures(images)
    terciles = np.quantile(measures[train], [1 / 3, 2 / 3], axis=0)
    sets = [
        DigitSet(images[rows], labels[rows], captions(measures[rows], labels[rows], terciles))
        for rows in (np.sort(train), np.sort(test))
    ]
    return Digits(*sets)


def as_ink(images: UInt8[np.ndarray, "n 8 8 1"]) -> Float[Tensor, "n 1 8 8"]:
    """Images as networks read them, from 0 (paper) to 1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def jitter(
    ink: Float[Tensor, "n c h w"], generator: torch.Generator, *, shift: float, noise: float
) -> Float[Tensor, "n c h w"]:
    """Move each image by a random fraction of a pixel and add noise, so that training sees no exact grid.

    Args:
        ink: images from 0 (paper) to 1; paper moves in at the edges.
        generator: source of the shifts and the noise, on the CPU whatever the device.
        shift: standard deviation of the bilinear shift along each axis, in pixels.
        noise: standard deviation of the noise on each pixel, in units of full ink; the result is clipped to
            [0, 1].
    """
    n, _, height, width = ink.shape
    offset = shift * torch.randn((n, 2), generator=generator)
    theta = torch.zeros((n, 2, 3))
    theta[:, 0, 0] = theta[:, 1, 1] = 1
    # affine_grid counts an image as 2 units wide.
    theta[:, :, 2] = offset * torch.tensor([2 / width, 2 / height])
    flow = functional.affine_grid(theta.to(ink), list(ink.shape), align_corners=False)
    moved = functional.grid_sample(ink, flow, padding_mode="zeros", align_corners=False)
    return (moved + noise * torch.randn(ink.shape, generator=generator).to(ink)).clamp(0, 1)
