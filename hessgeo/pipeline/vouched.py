"""The models of a job, loaded from files that are those of the plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from hessgeo.features import load_embedding
from hessgeo.pipeline.content import Source
from hessgeo.pipeline.context import pick_device
from hessgeo.pipeline.loading import load_system
from hessgeo.systems.base import System


def loaded_system(
    source: Source, anchors: Float[np.ndarray, "3 *latent"], plane: Mapping[str, Any], *, most: int
) -> System:
    """A system of vouched files, for so many images at once, see ``load_system``."""
    with source.reading() as model:
        options: dict[str, Any] = {"device": pick_device(), "most": most, "model": model}
        return load_system(source.settings, str(source.path), anchors, plane, **options)


def loaded_embedding(source: Source, image_shape: tuple[int, int, int]) -> Any:
    """An embedding of vouched files, for images of a shape."""
    with source.reading():
        return load_embedding(source.settings, source.path, image_shape, device=pick_device())
