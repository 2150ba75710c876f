"""Systems: samplers of ``x ~ p(x | t)`` over a two-parameter box.

``SYSTEMS`` names the loader of each kind; a new kind is one file and one line here.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from hessgeo.systems.base import System

__all__ = ["SYSTEMS", "System", "system_loader"]

# Names, not functions: a system's libraries take seconds to import, and only its own studies should wait.
SYSTEMS = {
    "diffusion": "hessgeo.systems.diffusion:load_diffusion",
    "generator": "hessgeo.systems.generator:load_generator",
}


def system_loader(kind: str) -> Callable[..., System]:
    """The function that makes a system of a kind.

    Raises:
        ValueError: on an unknown kind.
    """
    if kind not in SYSTEMS:
        raise ValueError(f"system kind {kind!r} is not one of {', '.join(sorted(SYSTEMS))}")
    module, name = SYSTEMS[kind].split(":")
    return getattr(import_module(module), name)
