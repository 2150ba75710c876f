"""Studies of samples of one's own: what their settings name, and what of the settings follows from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from hessgeo.features.file import FeatureFile
from hessgeo.grids import Extent
from hessgeo.pipeline.content import remembered_of
from hessgeo.systems.own import OwnSamples, describe_images, image_files, pair, read_points
from hessgeo.systems.own.images import ALLOWED as IMAGES
from hessgeo.systems.own.images import ImageArray, ImageFiles
from hessgeo.systems.own.points import ALLOWED as POINTS

if TYPE_CHECKING:
    from hessgeo.pipeline.study import StudyCheck


def complete(check: StudyCheck) -> tuple[dict[str, Any], tuple[str, str] | None]:
    """The settings of a study with what follows from its samples: size, box, design, grid, count and shard.

    Returns:
        The settings; and, if the samples cannot be used, the key of the setting that is to be refused and what is
        allowed instead.
    """
    settings = dict(check.settings)
    if not check.states("system.output_range"):
        settings["system"] = {**settings["system"], "output_range": None}
    extent, grid = (settings[part][key] if check.states(f"{part}.{key}") else None
                    for part, key in (("slice", "extent"), ("sampling", "grid")))  # fmt: skip
    system = settings["system"]
    for key, allowed in (("images", IMAGES), ("parameters", POINTS)):
        if system[key] is None:
            return settings, (f"system.{key}", f"{allowed}, for the kind samples")
    if extent is not None and any(low >= high for low, high in extent):
        return settings, ("slice.extent", "[[a_min, a_max], [b_min, b_max]], each increasing")
    try:
        images = _images(system["images"], system["output_range"])
    except ValueError as error:
        return settings, ("system.images", f"{IMAGES} ({error})")
    try:
        own = pair(images, read_points(system["parameters"]), _box(extent))
    except ValueError as error:
        return settings, ("system.parameters", f"{POINTS} ({error})")
    if own.grid is not None and grid not in (None, list(own.grid.shape)):
        return settings, ("sampling.grid", f"{list(own.grid.shape)}, the grid of the points")
    return _completed(settings, own), None


def own_samples(settings: Mapping[str, Any]) -> OwnSamples:
    """The samples of a study whose settings are complete.

    Args:
        settings: ``images``, ``parameters``, ``output_range`` and ``extent``.

    Raises:
        ValueError: as ``describe_images``, ``read_points`` and ``pair``.
    """
    images = _images(settings["images"], settings["output_range"])
    return pair(images, read_points(settings["parameters"]), _box(settings["extent"]))


def feature_rows(path: str, own: Mapping[str, Any] | None) -> Callable[[slice], Float32[np.ndarray, "row d"]]:
    """What reads the features of some samples from a file of one's own.

    Args:
        path: of the file, which has a row a point in the order of the points.
        own: the settings of ``own_samples`` if the samples are one's own, whose points a store may hold in another
            order; None for points that the study has drawn.
    """
    features = FeatureFile(path)
    lines = np.arange(features.shape[0]) if own is None else own_samples(own).lines
    return lambda samples: features.rows(lines[samples])


def _box(extent: Any) -> Extent | None:
    return None if extent is None else ((extent[0][0], extent[0][1]), (extent[1][0], extent[1][1]))


def _images(source: str, output_range: list[float] | None) -> ImageFiles | ImageArray:
    """``describe_images``, of many files from memory: every command and every job asks."""
    files = image_files(source)
    if len(files) == 1 or source.endswith(".zarr"):
        return describe_images(source, output_range)

    def read() -> list[int]:
        found = describe_images(source, output_range)
        assert isinstance(found, ImageFiles)
        return list(found.shape)

    try:
        height, width, channels = remembered_of(source, files, f"image headers {output_range}", read)
    except OSError as error:
        raise ValueError(f"{error.filename} cannot be read ({error.strerror}), must be an image") from error
    return ImageFiles(files, (height, width, channels))


def _completed(settings: Mapping[str, Any], own: OwnSamples) -> dict[str, Any]:
    height, width, channels = own.images.shape
    system = {**settings["system"], "size": [height, width], "channels": channels}
    box = [list(side) for side in own.extent]
    sampling = dict(settings["sampling"])
    sampling["shard"] = min(sampling["shard"], len(own.t))
    if own.grid is None:
        sampling |= {"design": "scattered", "count": len(own.t)}
    else:
        sampling |= {"design": "grid", "grid": list(own.grid.shape), "count": None}
    return {**settings, "system": system, "slice": {**settings["slice"], "extent": box}, "sampling": sampling}
