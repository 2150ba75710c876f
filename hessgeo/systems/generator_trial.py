"""A generator tried on a few latents before it is used: whether its images are what its settings say."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float32

from hessgeo.systems.slices import LATENT, LatentSlice

if TYPE_CHECKING:
    from hessgeo.systems.generator import GeneratorSystem

# Ranges that networks are trained to.
USUAL = ((0.0, 1.0), (-0.5, 0.5), (-1.0, 1.0), (0.0, 255.0), (-127.5, 127.5))
# Shares of output_range. Networks without a bounded last layer overshoot a little at white and black.
LEAST_SPREAD = 0.02  # five grey levels, less than any picture has
OVERSHOOT, MOST_OVERSHOT = 0.05, 0.2  # what passes for overshoot, and the share of values that may go beyond
FARTHEST = 0.25  # beyond which no more than a thousandth of the values may go
# Values that reach black and little more are dark pictures; those that never come near it, where another usual range
# holds them too, are of that one.
NEAR_BLACK = 0.1
LEAST_FILLED = 0.25  # of a usual range, by values that it is named for
SAMPLED = 100_000  # values of an image that are looked at
AT_ONCE = 2  # images, few enough for any memory and enough to see one depend on the others


def try_generator(system: GeneratorSystem) -> None:
    """Refuse a network whose images are no function of the latent alone, or do not fit ``output_range``.

    It is run on nine latents over the slice and on the three anchors, and on a batch of the first alone, ``AT_ONCE``
    images at a time where it takes any number.

    Raises:
        ValueError: one line, if an image depends on the others of its batch or on chance, all images are one, or
            their values are constant, clipped, or better held by a narrower range, which is then named; and as
            ``GeneratorSystem.outputs``.
        FloatingPointError: as ``GeneratorSystem.outputs``.
    """
    latents = trial_latents(system.latent_slice)
    corners = [np.array([corner]) for corner in zip(*system.latent_slice.extent, strict=True)]
    first, apart, values = None, 0.0, []
    batch = system.generator.batch or min(system.batch_size, AT_ONCE)
    # Alike within a batch, which may have to share them; at the ends of the slice, where whole numbers are whole.
    ends = [system.latent_slice.conditions(np.repeat(corner, batch, axis=0)) for corner in corners]
    for k, start in enumerate(range(0, len(latents), batch)):
        rows = np.arange(start, min(start + batch, len(latents)))
        outputs = system.outputs(latents[np.resize(rows, batch)], ends[k % 2])[: len(rows)]
        first = outputs[0].copy() if first is None else first
        apart = max(apart, _distance(outputs, first))
        values += [image.ravel()[:: 1 + image.size // SAMPLED].astype(np.float32) for image in outputs]
    assert first is not None
    low, high = (0.0, 255.0) if first.dtype == np.uint8 else (system.low, system.high)
    again = system.outputs(np.repeat(latents[:1], batch, axis=0), ends[0])
    # A thousandth of the range is a quarter of a grey level; a GPU's sums differ by far less.
    if _distance(again, first) > 1e-3 * (high - low):
        raise ValueError(
            f"{system.generator.name} gives two images of one latent: it draws its own noise, or mixes those of a "
            "batch; export it in evaluation mode with the noise fixed"
        )
    fault = range_fault(np.concatenate(values), low, high, eight_bits=first.dtype == np.uint8)
    if fault:
        raise ValueError(f"{system.generator.name} {fault}")
    if apart < (high - low) / 510:
        raise ValueError(f"{system.generator.name} gives one image whatever the latent, must follow it")


def trial_latents(latent_slice: LatentSlice) -> Float[np.ndarray, "m *latent"]:
    """Latents of a grid of 3 points along each axis of the slice, then those of its anchors.

    The anchors stand for the network as a whole where the slice is a small window.
    """
    t = np.array(list(product(*(np.linspace(*side, 3) for side in latent_slice.extent))))
    # By "anchors" they come back as they are, as they do by "none", which extrapolates no norm.
    normalisation = latent_slice.normalisation if latent_slice.normalisation in ("sphere", "std") else "none"
    box = ((0.0, 1.0), (0.0, 1.0))
    unit = replace(latent_slice, extent=box, axes=(LATENT, LATENT), normalisation=normalisation)
    return np.concatenate([latent_slice.latents(t), unit.latents(np.array([[0, 0], [1, 0], [0, 1]]))])


def range_fault(
    values: Float32[np.ndarray, "n"], low: float, high: float, *, eight_bits: bool = False
) -> str:
    """What is wrong with values that are to be shown from black at ``low`` to white at ``high``; '' if nothing.

    Args:
        values: of several images.
        low: that of black.
        high: that of full intensity.
        eight_bits: whether they are whole numbers from 0 to 255, which cannot be clipped and mean what they are.
    """
    span = high - low
    bottom, top = map(float, np.quantile(values, [0.001, 0.999]))
    least, most = float(values.min()), float(values.max())
    clipped = np.mean((values < low - OVERSHOOT * span) | (values > high + OVERSHOOT * span))
    found = f"gives values from {least:.3g} to {most:.3g}"
    fit = f"output_range {_usual(bottom, top) or f'[{bottom:.3g}, {top:.3g}]'} would fit"
    if most - least < LEAST_SPREAD * span:
        advice = "" if eight_bits else f"; {fit}"
        return f"{found}, a constant to output_range [{low:g}, {high:g}]{advice}"
    if eight_bits:
        return ""
    if clipped > MOST_OVERSHOT or max(low - bottom, top - high) > FARTHEST * span:
        share = np.mean((values < low) | (values > high))
        return f"{found}, of which output_range [{low:g}, {high:g}] clips {100 * share:.0f} %; {fit}"
    if bottom > low + NEAR_BLACK * span and (narrower := _usual(bottom, top, span * (1 - OVERSHOOT))):
        return (
            f"{found}, which uses {100 * (top - bottom) / span:.0f} % of output_range [{low:g}, {high:g}] and has no "
            f"black; output_range {narrower} would fit (of images that are so pale, export uint8, which is taken as it "
            "is)"
        )
    return ""


def _usual(bottom: float, top: float, widest: float = np.inf) -> str:
    """The narrowest usual range that holds values from ``bottom`` to ``top``, '' if none does."""
    for low, high in sorted(USUAL, key=lambda pair: pair[1] - pair[0]):
        slack, filled = OVERSHOOT * (high - low), (top - bottom) / (high - low) >= LEAST_FILLED
        if high - low <= widest and filled and low - slack <= bottom and top <= high + slack:
            return f"[{low:g}, {high:g}]"
    return ""


def _distance(images: np.ndarray, image: np.ndarray) -> float:
    """Largest difference of any pixel, one image at a time."""
    return max(float(np.abs(other.astype(np.float32) - image.astype(np.float32)).max()) for other in images)
