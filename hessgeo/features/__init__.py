"""Embeddings: maps from images to unit vectors, in which the distance of two images is measured.

``EMBEDDINGS`` names, for each kind, the class that describes its checkpoint without reading it, and loads it; a new
kind is a file of its own and one line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from hessgeo.features.base import Embedding, FeatureCheckpoint, embed
from hessgeo.features.shrunk import ShrunkEmbedding, shrunk

__all__ = [
    "EMBEDDINGS",
    "Embedding",
    "FeatureCheckpoint",
    "describe_embedding",
    "embed",
    "embedding_dimension",
    "embedding_of",
    "load_embedding",
]

# Names, not classes: each as ``module:name``, so that only the study that uses a library waits for it.
EMBEDDINGS = {
    "open_clip": "hessgeo.features.open_clip:OpenClipCheckpoint",
    "timm": "hessgeo.features.timm:TimmCheckpoint",
    "network": "hessgeo.features.network_file:NetworkFileCheckpoint",
    "pixels": "hessgeo.features.pixels:PixelCheckpoint",
    "file": "hessgeo.features.file:FeatureFile",
}


def describe_embedding(
    kind: str, checkpoint: str | Path | None, model: str | None = None, **options: Any
) -> FeatureCheckpoint:
    """The checkpoint of an embedding, of which nothing is read yet.

    Args:
        kind: one of ``EMBEDDINGS``.
        checkpoint: folder or file of its model.
        model: name of the architecture in a file.
        options: ``input`` and ``output`` of the kind ``network``, see ``NetworkFileCheckpoint``.

    Raises:
        ValueError: on an unknown kind, or no checkpoint for a kind that needs one.
    """
    if kind not in EMBEDDINGS:
        raise ValueError(f"embedding kind {kind!r} is not one of {', '.join(sorted(EMBEDDINGS))}")
    module, name = EMBEDDINGS[kind].split(":")
    return getattr(import_module(module), name)(checkpoint, model, **options)


def embedding_of(settings: Mapping[str, Any], checkpoint: str | None) -> FeatureCheckpoint:
    """The checkpoint of the embedding that the settings ``embedding`` of a study describe; see ``load_embedding``."""
    options = {key: settings[key] for key in ("input", "output") if settings["kind"] == "network"}
    return describe_embedding(settings["kind"], checkpoint, settings["model"], **options)


def load_embedding(
    settings: Mapping[str, Any], checkpoint: str | None, image_shape: tuple[int, int, int], *, device: str
) -> Embedding:
    """The embedding that the settings ``embedding`` of a study describe, of images (height, width, channels).

    Args:
        settings: ``kind``, ``model``, ``size`` and ``dtype``, and of the kind ``network`` ``input`` and ``output``.
        checkpoint: folder or file of its model.
        image_shape: of the images.
        device: where to run it.

    Raises:
        ValueError: as ``describe_embedding`` and ``FeatureCheckpoint.load``.
    """
    described = embedding_of(settings, checkpoint)
    shape = _seen(settings, image_shape)
    embedding: Any = described.load(shape, dtype=settings["dtype"], device=device)
    return embedding if shape == tuple(image_shape) else ShrunkEmbedding(embedding, shape[:2])


def embedding_dimension(
    settings: Mapping[str, Any], checkpoint: str | None, image_shape: tuple[int, int, int]
) -> int:
    """The dimension of that embedding, without reading any weights; see ``load_embedding``.

    Raises:
        ValueError: as ``describe_embedding``, or on a checkpoint that its own files do not describe.
    """
    described = embedding_of(settings, checkpoint)
    return described.dimension(_seen(settings, image_shape))


def _seen(settings: Mapping[str, Any], image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Shape of the images that the embedding sees, with the pixels along the shorter side that the settings say."""
    return (*shrunk((image_shape[0], image_shape[1]), settings["size"]), image_shape[2])
