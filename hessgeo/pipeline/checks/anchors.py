"""Whether the anchors of a study are latents or images of its model."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from hessgeo.pipeline.derived import anchor_sources, image_shape, latent_shape

if TYPE_CHECKING:
    from hessgeo.pipeline.study import StudyCheck


def anchor_errors(check: StudyCheck) -> Iterator[str]:
    """One line for each anchor that is no latent and no image for the model of a study."""
    latents = latent_shape(check.settings["system"], check.models)
    for key, anchors in _anchors(check):
        yield from _source_errors(check, key, anchors, latents)


def _anchors(check: StudyCheck) -> Iterator[tuple[str, Any]]:
    plane = check.settings["slice"]
    if plane["triplets"]:
        yield from ((f"slice.triplets[{k}]", anchors) for k, anchors in enumerate(plane["triplets"]))
    else:
        yield "slice.anchors", plane["anchors"]


def _source_errors(check: StudyCheck, key: str, anchors: Any, latents: tuple[int, ...]) -> Iterator[str]:
    sources, whole = anchor_sources(anchors), not isinstance(anchors, list)
    plane = check.settings["slice"]
    by_norms = plane["normalisation"] == "anchors" or plane["interpolation"] == "spherical"
    are_draws = {type(source) for source in sources} == {int} and len({*sources}) == len(sources)
    if are_draws and prod(latents) > 2 and not by_norms:
        return  # independent ones are in general position
    read: dict[int | str, tuple[np.ndarray, float]] = {}
    for source in dict.fromkeys(sources):
        try:
            read[source] = _read_anchor(check, source, latents, is_whole=whole)
        except ValueError as error:
            yield check.line(key, source, str(error))
    if len(read) == len({*sources}) and (fault := _common_fault(check, [read[source] for source in sources])):
        yield check.line(key, anchors, f"three anchors that span a plane ({fault})")


def _read_anchor(
    check: StudyCheck, source: int | str, latents: tuple[int, ...], *, is_whole: bool
) -> tuple[np.ndarray, float]:
    """Latents of a source, or the pixels of an image, and the precision that they were saved in.

    Raises:
        ValueError: what is allowed instead, on a file that is no latent and no image for this model.
    """
    from hessgeo.systems.latent_files import FLOAT32, KINDS, find_latents, latent_fault
    from hessgeo.systems.slices import is_image, random_anchors, random_latent

    if isinstance(source, int):
        return (random_anchors if is_whole else random_latent)(source, latents), FLOAT32
    if is_image(source):
        return _check_image(check, source), 0.0
    shape = (3, *latents) if is_whole else latents
    try:
        file = find_latents(source, shape)
        values = file.read()
        for number, latent in enumerate(values if is_whole else [values], start=1):
            if fault := latent_fault(latent):
                raise ValueError(f"{f'latent {number} of ' if is_whole else ''}{source} {fault}")
    except ValueError as error:
        raise ValueError(f"{KINDS} of shape {shape}, or a seed ({error})") from error
    return values, file.precision


def _common_fault(check: StudyCheck, found: list[tuple[np.ndarray, float]]) -> str:
    """Why anchors span no plane, '' if they do; of images only that two are one, for their latents are not known."""
    from hessgeo.pipeline.loading import latent_plane
    from hessgeo.systems.latent_files import plane_fault

    values = [*found[0][0]] if len(found) == 1 else [value for value, _ in found]
    if any(value.dtype == np.uint8 for value in values):
        for first, second in combinations(range(3), 2):
            if np.array_equal(values[first], values[second]):
                return f"anchors {first + 1} and {second + 1} are one"
        return ""
    precision = max(precision for _, precision in found)
    plane = check.settings["slice"]
    if fault := plane_fault(np.stack(values), plane["normalisation"], precision):
        return fault
    by_norms = plane["normalisation"] == "anchors" or plane["interpolation"] == "spherical"
    if by_norms and all(low < high for low, high in plane["extent"]):
        try:
            latent_plane(np.stack(values), plane)
        except ValueError as error:
            return str(error)
    return ""


def _check_image(check: StudyCheck, source: str) -> np.ndarray:
    from hessgeo.systems.images import load_image

    system = check.settings["system"]
    height, width, _ = image_shape(system, check.models)
    allowed = f"an image of {width} x {height} pixels (width x height)"
    if system["kind"] == "generator":
        raise ValueError("a seed or a latent file: a generator in a file has no inverse")
    if system["eta"] > 0:
        raise ValueError(
            f"a seed or a latent file where system.eta is {system['eta']}: no noisy sampler has an inverse"
        )
    if system["scheduler"] not in ("auto", "DDIMScheduler", "FlowMatchEulerDiscreteScheduler"):
        raise ValueError(f"a seed or a latent file: {system['scheduler']} cannot be inverted")
    try:
        return load_image(source, image_shape(system, check.models))
    except ValueError as error:
        raise ValueError(f"{allowed} ({error})") from error
