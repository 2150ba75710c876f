"""The moments of a posterior, where they used to be."""

from hessgeo.posterior import Posterior

__all__ = ["Posterior"]
