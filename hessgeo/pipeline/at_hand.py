"""The model of a finished study, where the settings that it was made by are at hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hessgeo import store
from hessgeo.pipeline.config_files import merge_config
from hessgeo.pipeline.place import workflow_folder
from hessgeo.pipeline.settings import SettingsError, read_settings
from hessgeo.pipeline.study_layout import StudyLayout
from hessgeo.pipeline.vouched import loaded_embedding, loaded_system
from hessgeo.systems.base import System


class NotAtHandError(ValueError):
    """Why the model of a study cannot be asked, in a line."""


def study_at_hand(folder: str | Path, files: Sequence[str | Path] = ()) -> StudyLayout:
    """The paths and settings of a finished study, from the configuration that it was made by.

    Args:
        folder: of the study, such as ``results/digits``.
        files: of settings, merged over ``config.yaml`` as ``hessgeo run`` does.

    Raises:
        NotAtHandError: if the settings have no such study, or would make other samples than it has.
        SettingsError: if the settings are not allowed.
    """
    folder = Path(folder)
    name, results = folder.resolve().name, folder.parent.as_posix()
    config = merge_config([workflow_folder() / "config.yaml", *files], {})
    known = sorted(config.get("studies", {}))
    entry = name if name in known else name.rpartition("-")[0]  # one of several triplets of a study
    if entry not in known:
        raise NotAtHandError(f"the settings at hand have the studies {', '.join(known)}, and not {name}")
    settings = read_settings({**config, "results": results, "run": [entry], "comparisons": {}})
    if name not in settings.studies:
        raise NotAtHandError(f"the settings at hand have no study {name}")
    layout = StudyLayout(settings, name)
    if not Path(layout.samples).exists():
        raise NotAtHandError(f"the settings at hand make other samples than {folder} has")
    return layout


def system_at_hand(layout: StudyLayout, *, most: int) -> System:
    """The system of a study, loaded.

    Args:
        layout: of the study.
        most: images that are asked for at once.

    Raises:
        NotAtHandError: if there is no model, or a file of it is missing.
    """
    if layout.is_own:
        raise NotAtHandError("its samples are its own: no model made them")
    _refuse_missing(layout.system_model.files)
    anchors = store.read_npy(layout.anchor_file("anchors"))
    return loaded_system(layout.system, anchors, layout.plane, most=most)


def load_at_hand(layout: StudyLayout) -> tuple[System, Any]:
    """The system of a study and its embedding.

    Raises:
        NotAtHandError: if there is no model, or a file of it is missing.
    """
    if not (layout.is_own or layout.has_paths):
        raise NotAtHandError("new images cannot be embedded as those of the study are")
    sampler = system_at_hand(layout, most=layout.setting("sampling", "shard"))
    _refuse_missing(layout.embedding_model.files)
    return sampler, loaded_embedding(layout.embedder, layout.image_shape)


def _refuse_missing(files: Iterable[str | Path]) -> None:
    for file in files:
        if not Path(file).exists():
            raise NotAtHandError(f"{file} is missing")


__all__ = [
    "NotAtHandError",
    "SettingsError",
    "load_at_hand",
    "study_at_hand",
    "system_at_hand",
]
