"""Posteriors over parameters from samples, and the choice of their resolution."""

from hessgeo.posteriors.base import Posterior
from hessgeo.posteriors.distance import posterior, posterior_rows
from hessgeo.posteriors.files import read_posterior, write_posterior
from hessgeo.posteriors.kernels import KERNELS
from hessgeo.posteriors.neighbours import neighbour_posterior
from hessgeo.posteriors.resolution import choose_resolution

__all__ = [
    "KERNELS",
    "Posterior",
    "choose_resolution",
    "neighbour_posterior",
    "posterior",
    "posterior_rows",
    "read_posterior",
    "write_posterior",
]
