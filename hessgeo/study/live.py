"""The model of a study that the workflow built, at any point of its slice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from hessgeo import store
from hessgeo.explorer.server import SAMPLE, LiveServer
from hessgeo.pipeline import pick_device
from hessgeo.pipeline.config_files import merge_config
from hessgeo.pipeline.layout import Layout
from hessgeo.pipeline.loading import load_system
from hessgeo.pipeline.place import workflow_folder
from hessgeo.pipeline.settings import read_settings
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
        FileNotFoundError, StoreError, ValueError: one line, if the folder holds no study, or not the one of these
            settings, or one whose samples no model draws.
    """
    parts, study = Stored(folder, {}), study_of(folder, settings)
    sampler = sampler_of(study, parts)
    return LiveServer(explorer_page(parts, live=SAMPLE), sampler, parts.grid.extent, port=port)


def study_of(folder: Path, settings: Path | None) -> StudyLayout:
    """The settings and paths of the study that was made in a folder.

    Raises:
        ValueError: one line, if these settings have no study of that folder, or one without a model.
    """
    root = workflow_folder()
    known = read_settings(merge_config([root / "config.yaml", *([settings] if settings else [])], {}))
    layout, name = Layout(known, root), folder.resolve().name
    if name not in known.studies or Path(layout.of(name).path()).resolve() != folder.resolve():
        names = ", ".join(str(Path(known.results, study)) for study in known.studies)
        raise ValueError(
            f"{folder} is no study of these settings; allowed: {names}, in the folder that the workflow was run in, "
            "with the file that it was run with"
        )
    study = layout.of(name)
    if study.is_own:
        raise ValueError(f"{folder} holds samples of one's own: no model is there to be sampled")
    return study


def sampler_of(study: StudyLayout, parts: Stored) -> Callable[[float, float], UInt8[np.ndarray, "h w c"]]:
    """The study's own system, loaded; its randomness at a point is that of the nearest node.

    Raises:
        ValueError: one line, if the samples of the folder are those of other settings.
    """
    if parts.samples.resolve() != Path(study.samples).resolve():
        raise ValueError(
            f"{parts.folder} holds samples of other settings: give the file that it was made with"
        )
    anchors, source = store.read_npy(study.anchor_file("anchors")), study.system
    with source.reading() as model:
        options = {"device": pick_device(), "most": 1, "model": model}
        system = load_system(source.settings, source.path, anchors, study.plane, **options)
    seed = study.setting("seed")

    def sample(a: float, b: float) -> UInt8[np.ndarray, "h w c"]:
        t = np.array([[a, b]])
        pixels: UInt8[np.ndarray, "h w c"] = np.asarray(system.sample(t, parts.grid.nearest(t), seed))[0]
        return pixels

    return sample
