"""The model of a study that the workflow built, at any point of its slice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from hessgeo.explorer.server import SAMPLE, LiveServer
from hessgeo.pipeline.at_hand import NotAtHandError, study_at_hand, system_at_hand
from hessgeo.pipeline.study_layout import StudyLayout
from hessgeo.study.explorer import explorer_page
from hessgeo.study.folder import Stored


def live_server(folder: Path, settings: Path | None, *, port: int = 0) -> LiveServer:
    """The explorer of a study, with its model behind it.

    Args:
        folder: of the study, as the workflow made it.
        settings: the file it was made with, or None for the defaults; its paths are those of the working directory.
        port: see ``LiveServer``.

    Raises:
        FileNotFoundError, StoreError: one line, if the folder holds no study.
        NotAtHandError: see ``study_at_hand`` and ``sampler_of``.
    """
    parts = Stored(folder, {})
    sampler = sampler_of(study_at_hand(folder, [settings] if settings else []), parts)
    return LiveServer(explorer_page(parts, live=SAMPLE), sampler, parts.grid.extent, port=port)


def sampler_of(study: StudyLayout, parts: Stored) -> Callable[[float, float], UInt8[np.ndarray, "h w c"]]:
    """The study's own system, loaded; its randomness at a point is that of the nearest node.

    Raises:
        NotAtHandError: one line, if the samples of the folder are those of other settings, or of no model.
    """
    if parts.samples.resolve() != Path(study.samples).resolve() and not study.is_own:
        raise NotAtHandError(
            f"{parts.folder} has samples of other settings: give the file that it was made with"
        )
    system = system_at_hand(study, most=1)
    seed = study.setting("seed")

    def sample(a: float, b: float) -> UInt8[np.ndarray, "h w c"]:
        t = np.array([[a, b]])
        pixels: UInt8[np.ndarray, "h w c"] = np.asarray(system.sample(t, parts.grid.nearest(t), seed))[0]
        return pixels

    return sample
