"""Geodesics of any metric of the plane: ``geodesics(metric, starts, ends)``."""

from hessgeo.geodesics.curves import Curves
from hessgeo.geodesics.result import Geodesics
from hessgeo.geodesics.solve import geodesics

__all__ = ["Curves", "Geodesics", "geodesics"]
