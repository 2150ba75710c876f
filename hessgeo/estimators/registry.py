"""Estimators, and the networks they read, by name; a module is imported when it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hessgeo.estimators.names import ESTIMATORS, NETWORKS

if TYPE_CHECKING:
    # Names are all that settings need: torch is not imported to check them.
    from hessgeo.estimators.base import Run, TrainedPart
    from hessgeo.estimators.estimate import Estimate
    from hessgeo.learned.samples import Samples


def estimate(name: str, samples: Samples, trained: Any, settings: Mapping[str, Any], run: Run) -> Estimate:
    """The estimate of one estimator at the nodes of the samples' grid.

    Args:
        name: of the estimator.
        samples: the data.
        trained: the network that ``ESTIMATORS`` names, or None.
        settings: of this estimator, all of them; the workflow has its defaults in ``hessgeo.pipeline.schema``.
        run: seed, device and progress.

    Raises:
        ValueError: if there is no such estimator, or it refuses the samples or a setting.
    """
    entry = _entry(ESTIMATORS, name, "estimator")
    return _named(entry.module, entry.name)(samples, trained, settings, run)


def train(network: str, samples: Samples, settings: Mapping[str, Any], run: Run) -> TrainedPart:
    """Train a network from nothing; its weights are a function of the arguments alone, at one number of threads.

    Raises:
        ValueError: if there is no such network, or a setting is out of range.
    """
    entry = _entry(NETWORKS, network, "network")
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    return _named(entry.module, entry.train)(samples, **options, **asdict(run))


def load(network: str, folder: str | Path, *, device: str = "cpu") -> TrainedPart:
    """Read what ``save`` of a trained network wrote.

    Raises:
        FileNotFoundError: if there is nothing.
        ValueError: if there is no such network, or the folder holds another.
    """
    entry = _entry(NETWORKS, network, "network")
    return _named(entry.module, entry.part).load(folder, device=device)


def _entry(entries: Mapping[str, Any], name: str, kind: str) -> Any:
    if name not in entries:
        raise ValueError(f"{kind} {name!r} is not one of {', '.join(entries)}")
    return entries[name]


def _named(module: str, name: str) -> Any:
    return getattr(import_module(f"hessgeo.estimators.{module}"), name)
