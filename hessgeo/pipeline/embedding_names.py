"""What tables and captions call the embedding of a study."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import PurePath
from typing import Any


def embedding_name(embedding: Mapping[str, Any], models: Collection[str]) -> str:
    """What the settings ``embedding`` of a study name: an embedded model, an architecture, a folder or file, pixels.

    Args:
        embedding: the settings.
        models: names of the embedded models, all of which are CLIPs.
    """
    kind, checkpoint = embedding["kind"], embedding["checkpoint"]
    if kind == "pixels":
        return "pixel embedding"
    if kind == "open_clip" and checkpoint in models:
        return f"CLIP {checkpoint}"
    return f"{embedding['model'] or PurePath(checkpoint).stem} ({kind})"
