"""Posteriors over parameters from samples, and the choice of their resolution."""

from typing import TYPE_CHECKING, Any

from hessgeo.posteriors.base import Posterior
from hessgeo.posteriors.distance import posterior, posterior_rows
from hessgeo.posteriors.files import read_posterior, write_posterior
from hessgeo.posteriors.kernels import KERNELS
from hessgeo.posteriors.resolution import choose_resolution

if TYPE_CHECKING:
    from hessgeo.posteriors.neighbours import neighbour_posterior

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


def __getattr__(name: str) -> Any:
    # The one name here that needs torch, which the steps about blocks of rows would import for nothing.
    if name != "neighbour_posterior":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hessgeo.posteriors.neighbours import neighbour_posterior

    return neighbour_posterior
