"""Embeddings: maps from images to unit vectors, in which the distance of two images is measured.

``EMBEDDINGS`` names the loader of each kind; a new kind is one file and one line here.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from hessgeo.embeddings.base import Embedding, embed

__all__ = ["EMBEDDINGS", "Embedding", "embed", "embedding_loader"]

# Names, not functions: open_clip takes seconds to import, and only the study that uses it should wait.
EMBEDDINGS = {
    "open_clip": "hessgeo.embeddings.open_clip:load_open_clip",
    "pixels": "hessgeo.embeddings.pixels:PixelEmbedding",
}


def embedding_loader(kind: str) -> Callable[..., Embedding]:
    """The function that makes an embedding of a kind.

    Raises:
        ValueError: on an unknown kind.
    """
    if kind not in EMBEDDINGS:
        raise ValueError(f"embedding kind {kind!r} is not one of {', '.join(sorted(EMBEDDINGS))}")
    module, name = EMBEDDINGS[kind].split(":")
    return getattr(import_module(module), name)
