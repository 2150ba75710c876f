"""Systems: samplers of ``x ~ p(x | t)`` over a two-parameter box."""

from hessgeo.systems.base import System

__all__ = ["System"]
