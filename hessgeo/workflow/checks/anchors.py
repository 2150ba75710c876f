"""Whether the anchors of a study are latents or images of its model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hessgeo.files import npy_header
from hessgeo.workflow.derived import anchor_sources, image_shape, latent_shape

if TYPE_CHECKING:
    from hessgeo.workflow.study import StudyCheck


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
    whole = isinstance(anchors, str)
    for source in anchor_sources(anchors):
        if isinstance(source, int):
            continue
        try:
            _check_anchor(check, source, (3, *latents) if whole else latents)
        except ValueError as error:
            yield check.line(key, source, str(error))


def _check_anchor(check: StudyCheck, source: str, shape: tuple[int, ...]) -> None:
    """Refuse a file that is no latent and no image for this model, with what is allowed."""
    from hessgeo.systems.slices import is_image
    from hessgeo.weights import tensor_shapes

    if is_image(source):
        _check_image(check, source)
        return
    allowed = f"a .npy or .safetensors file of shape {shape}, or a seed"
    try:
        is_array = source.endswith(".npy")
        shapes = [npy_header(source)[0]] if is_array else list(tensor_shapes(source).values())
    except ValueError as error:
        raise ValueError(f"{allowed} ({error})") from error
    if shapes != [shape]:
        what = f"its shape is {shapes[0]}" if len(shapes) == 1 else f"it holds {len(shapes)} tensors"
        raise ValueError(f"{allowed} ({what})")


def _check_image(check: StudyCheck, source: str) -> None:
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
        load_image(source, image_shape(system, check.models))
    except ValueError as error:
        raise ValueError(f"{allowed} ({error})") from error
