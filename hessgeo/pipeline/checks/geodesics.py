"""Whether a study can have the methods of its paths, and the perceptual features that they need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hessgeo.pipeline.derived import image_shape, methods_left_out

if TYPE_CHECKING:
    from hessgeo.pipeline.study import StudyCheck


def path_errors(check: StudyCheck) -> Iterator[str]:
    """A line for each setting of paths that cannot be, or that lacks what it needs."""
    methods = check.settings["geodesics"]["methods"]
    if not {"linear", "fisher"} <= set(methods):
        yield check.line(
            "geodesics.methods", methods, "a list with linear and fisher, which others are compared with"
        )
    clip = check.settings["geodesics"]["path_length_clip"]
    if clip is not None and not clip[0] < clip[1]:
        yield check.line("geodesics.path_length_clip", clip, "null, or two quantiles that rise")
    # The list of the defaults is for all studies, each leaves out of it what it cannot have.
    if "methods" in check.override.get("geodesics", {}):
        for method, need in methods_left_out(check.settings, check.models).items():
            yield check.line("geodesics.methods", methods, f"a list without {method}, which needs {need}")
    yield from _perceptual_errors(check)


def _perceptual_errors(check: StudyCheck) -> Iterator[str]:
    from hessgeo.features.lpips_checkpoint import SMALLEST, LpipsCheckpoint

    perceptual = check.settings["geodesics"]["perceptual"]
    network, linear = perceptual["checkpoint"], perceptual["linear"]
    if network is None:
        if linear is not None:
            allowed = "null where geodesics.perceptual.checkpoint is null"
            yield check.line("geodesics.perceptual.linear", linear, allowed)
        return
    try:
        LpipsCheckpoint(network).check()
    except ValueError as error:
        allowed = f"null, or a .safetensors file of VGG-16 or LPIPS ({error})"
        yield check.line("geodesics.perceptual.checkpoint", network, allowed)
        return
    if linear is not None:
        try:
            LpipsCheckpoint(network, linear).check()
        except ValueError as error:
            allowed = f"null, or a .safetensors file of linear weights of LPIPS ({error})"
            yield check.line("geodesics.perceptual.linear", linear, allowed)
    size = _image_size(check)
    if size is not None and min(size) < SMALLEST:
        allowed = f"null for images of {size[1]} x {size[0]} pixels: VGG-16 needs {SMALLEST} along each side"
        yield check.line("geodesics.perceptual.checkpoint", network, allowed)


def _image_size(check: StudyCheck) -> tuple[int, int] | None:
    """Height and width of an image; None while the system, which has lines of its own, does not say."""
    system = check.settings["system"]
    if system["checkpoint"] is None or (system["kind"] == "generator" and system["size"] is None):
        return None
    try:
        return image_shape(system, check.models)[:2]
    except ValueError:
        return None
