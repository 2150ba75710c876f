"""Geodesics of any metric of the plane: ``geodesics(metric, starts, ends)``."""

from hessgeo.geodesics.curves import Curves
from hessgeo.geodesics.solve import Geodesics, geodesics

__all__ = ["Curves", "Geodesics", "geodesics"]
