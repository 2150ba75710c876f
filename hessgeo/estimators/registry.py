"""The estimators and the trainers of the networks they read, by name; a module is imported when it is needed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from hessgeo.estimators.names import ESTIMATORS, NETWORKS

if TYPE_CHECKING:
    # Names are all that settings need: torch is not imported to check them.
    from hessgeo.estimators.base import Estimator, Trainer


__all__ = ["ESTIMATORS", "NETWORKS", "estimator", "trainer"]


def _named(module: str, name: str) -> type:
    return getattr(import_module(f"hessgeo.estimators.{module}"), name)


def estimator(name: str) -> Estimator:
    """The estimator of that name.

    Raises:
        ValueError: if there is none.
    """
    if name not in ESTIMATORS:
        raise ValueError(f"estimator {name!r} is not one of {', '.join(ESTIMATORS)}")
    return _named(ESTIMATORS[name].module, ESTIMATORS[name].name)()


def trainer(name: str) -> Trainer:
    """The trainer of the network of that name.

    Raises:
        ValueError: if there is none.
    """
    if name not in NETWORKS:
        raise ValueError(f"network {name!r} is not one of {', '.join(NETWORKS)}")
    return _named(*NETWORKS[name])()
