"""Embeddings: maps from images to unit vectors, in which the distance of two images is measured.

``EMBEDDINGS`` names, for each kind, the function that loads it and the class that describes its checkpoint
without reading it; a new kind is a file of its own and one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from hessgeo.features.base import Embedding, EmbeddingCheckpoint, embed
from hessgeo.features.shrunk import ShrunkEmbedding, shrunk

__all__ = [
    "EMBEDDINGS",
    "Embedding",
    "check_embedding",
    "embed",
    "embedding_dimension",
    "embedding_files",
    "embedding_loader",
    "load_embedding",
]


class Kind(NamedTuple):
    """Where the two halves of an embedding are, each as ``module:name``."""

    loader: str
    checkpoint: str


# Names, not functions: torch and open_clip take seconds to import, and only the study that uses them should wait.
EMBEDDINGS = {
    "open_clip": Kind(
        "hessgeo.features.open_clip:load_open_clip",
        "hessgeo.features.open_clip_checkpoint:OpenClipCheckpoint",
    ),
    "timm": Kind("hessgeo.features.timm:load_timm", "hessgeo.features.timm_checkpoint:TimmCheckpoint"),
    "pixels": Kind("hessgeo.features.pixels:load_pixels", "hessgeo.features.pixels:PixelCheckpoint"),
}


def embedding_loader(kind: str) -> Callable[..., Embedding]:
    """The function that loads a kind: ``load(checkpoint, *, model, dtype, device, image_shape)``.

    Raises:
        ValueError: on an unknown kind.
    """
    return _named(_kind(kind).loader)


def load_embedding(
    settings: Mapping[str, Any], checkpoint: str | None, image_shape: tuple[int, int, int], *, device: str
) -> Embedding:
    """The embedding that the settings ``embedding`` of a study describe, of images (height, width, channels).

    Args:
        settings: ``kind``, ``model``, ``size`` and ``dtype``.
        checkpoint: folder or file of its model.
        image_shape: of the images.
        device: where to run it.

    Raises:
        ValueError: on an unknown kind, and what the loader of the kind refuses.
    """
    options = {key: settings[key] for key in ("model", "dtype")}
    load, (height, width, channels) = embedding_loader(settings["kind"]), image_shape
    size = shrunk((height, width), settings["size"])
    embedding = load(checkpoint, **options, device=device, image_shape=(*size, channels))
    return embedding if size == (height, width) else ShrunkEmbedding(embedding, size)


def embedding_dimension(
    kind: str,
    checkpoint: str | None,
    model: str | None,
    image_shape: tuple[int, int, int],
    *,
    size: int | None = None,
) -> int:
    """Dimension of an embedding of images (height, width, channels), without reading any weights.

    Args:
        kind: of the embedding.
        checkpoint: folder or file of its model.
        model: name of the architecture in a file.
        image_shape: of the images.
        size: pixels along the shorter side that they are shrunk to, see ``ShrunkEmbedding``.

    Raises:
        ValueError: on an unknown kind, or a checkpoint that its own files do not describe.
    """
    height, width, channels = image_shape
    return _checkpoint(kind, checkpoint, model).dimension((*shrunk((height, width), size), channels))


def check_embedding(kind: str, checkpoint: str | None, model: str | None) -> None:
    """Refuse a checkpoint that could not be loaded, from its configuration and the header of its weights.

    Raises:
        ValueError: one line that names the file, or the model, and what is wrong with it.
    """
    _checkpoint(kind, checkpoint, model).check()


def embedding_files(kind: str, checkpoint: str | None) -> list[str]:
    """The files of an embedding that a job waits for.

    Raises:
        ValueError: on an unknown kind.
    """
    return _checkpoint(kind, checkpoint, None).files()


def _checkpoint(kind: str, checkpoint: str | None, model: str | None) -> EmbeddingCheckpoint:
    return _named(_kind(kind).checkpoint)(checkpoint, model)


def _kind(kind: str) -> Kind:
    if kind not in EMBEDDINGS:
        raise ValueError(f"embedding kind {kind!r} is not one of {', '.join(sorted(EMBEDDINGS))}")
    return EMBEDDINGS[kind]


def _named(place: str) -> Any:
    module, name = place.split(":")
    return getattr(import_module(module), name)
