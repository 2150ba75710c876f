"""Anchors of a slice when some of them are images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8

from hessgeo.pipeline.loading import latent_plane
from hessgeo.systems.diffusion.denoisers import Denoiser
from hessgeo.systems.diffusion.inversion import invert, reconstruction_error
from hessgeo.systems.images import load_image
from hessgeo.systems.latent_files import plane_fault
from hessgeo.systems.slices import is_image, load_anchor

CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # parameters of the three anchors


def invert_images(
    sources: Sequence[int | str],
    latent_shape: tuple[int, ...],
    image_shape: tuple[int, int, int],
    settings: Mapping[str, Any],
    denoiser: Denoiser,
) -> tuple[Float[np.ndarray, "3 *latent"], dict[str, Any], UInt8[np.ndarray, "m h w c"]]:
    """Three anchors, those given by images through inversion, with how well the slice brings the images back.

    Args:
        sources: a seed, a latent file or an image for each anchor.
        latent_shape: shape of one latent.
        image_shape: (height, width, channels) of an image.
        settings: ``slice`` of a study.
        denoiser: the study's model.

    Returns:
        The anchors; the numbers, a list over the image anchors each; and each image as the slice has it at its
        anchor, after the latent was normalised.

    Raises:
        ValueError: as ``load_image``, ``load_latents`` and ``invert``.
    """
    places = [k for k, source in enumerate(sources) if is_image(source)]
    images = np.stack([load_image(str(sources[k]), image_shape) for k in places])
    inversion = invert(denoiser, images, iterations=settings["inversion"]["iterations"])
    found = iter(inversion.latents)
    anchors = np.stack(
        [
            next(found).astype(float) if is_image(source) else load_anchor(source, latent_shape)
            for source in sources
        ]
    )
    if fault := plane_fault(anchors, settings["normalisation"]):
        raise ValueError(f"of the anchors {', '.join(map(str, sources))}: {fault}")
    # The whole box, or a normalisation could refuse what lies outside the one of the anchors.
    whole = {"extent": [[0.0, 1.0], [0.0, 1.0]], "axes": ["latent", "latent"]}
    plane = latent_plane(anchors, {**settings, **whole})
    normalised = torch.from_numpy(plane.latents(CORNERS[places]))
    reconstructions = denoiser.decode(denoiser.denoise(normalised))
    numbers = {
        "images": [str(sources[k]) for k in places],
        "error": inversion.error,
        "error_in_slice": reconstruction_error(images, reconstructions),
        "error_of_autoencoder": inversion.floor,
        "residual": inversion.residual,
    }
    return anchors, numbers, reconstructions
