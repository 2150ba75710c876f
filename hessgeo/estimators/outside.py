"""Estimators that others wrote, in a file of their own: how they are found, asked and held to their answer.

The file has a function ``estimate(states, t, grid, seed)``, or a class ``Estimator`` with a method of that name, which
is made anew for every set of samples. It returns a mapping with one or more of

- ``metric``: the Fisher metric at ``grid.points``, shape ``(n, 2, 2)``, in the parameters of the study;
- ``metric_error``: standard errors of its entries, of the same shape;
- ``value``: the free energy of a whole state at ``grid.points``, shape ``(n,)``, in nats, up to an affine function of
  the parameters (of the natural ones, if the file says ``NATURAL = True``);
- ``gradient``: its derivatives, ``(n, 2)``;

or an ``Estimate``. A function that names them as parameters is given ``geometry`` (how sites lie), ``coordinates`` (to
natural parameters) and ``statistics`` (the system's own, which no analysis of a new system has: tables say so).
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hessgeo.estimators.estimate import Estimate
from hessgeo.learned.samples import Samples

FUNCTION, CLASS = "estimate", "Estimator"
GIVEN = ("states", "t", "grid", "seed")
ON_REQUEST = ("geometry", "coordinates", "statistics")
ANSWERS = ("value", "gradient", "metric", "metric_error")


@dataclass(frozen=True)
class OutsideEstimator:
    """An estimator in a file.

    Attributes:
        name: what tables call it.
        call: the function.
        natural: whether what it leaves undetermined is affine in the natural parameters; else in those of the study.
        requested: which of ``ON_REQUEST`` it is given.
    """

    name: str
    call: Callable[..., Any]
    natural: bool
    requested: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """Whether it reads the system's own statistics."""
        return "statistics" in self.requested


def load_estimator(path: str | Path) -> OutsideEstimator:
    """Run a file, and find the estimator in it.

    Raises:
        ValueError: one line, if there is no such file, it does not run, or has no estimator that can be asked.
    """
    path = Path(path)
    if path.suffix != ".py" or not path.is_file():
        raise ValueError(
            f"{path} is no estimator; allowed: a .py file with a function {FUNCTION}({', '.join(GIVEN)})"
        )
    module = _run(path)
    made = getattr(module, CLASS, None)
    try:
        found = getattr(made(), FUNCTION, None) if inspect.isclass(made) else getattr(module, FUNCTION, None)
    except Exception as error:
        raise ValueError(f"{path}: {CLASS}() raises {_in_a_line(error)}") from error
    if not callable(found):
        raise ValueError(
            f"{path} has no function {FUNCTION}({', '.join(GIVEN)}), and no class {CLASS} with one"
        )
    names = inspect.signature(found).parameters
    unknown = [
        name
        for name, parameter in names.items()
        if name not in (*GIVEN, *ON_REQUEST)
        and parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]
    if unknown or not set(GIVEN) <= set(names):
        raise ValueError(
            f"{path}: {FUNCTION}({', '.join(names)}) cannot be asked; allowed: {', '.join(GIVEN)}, "
            f"and {', '.join(ON_REQUEST)} on request"
        )
    requested = tuple(name for name in ON_REQUEST if name in names)
    name = str(getattr(module, "NAME", path.stem))
    return OutsideEstimator(name, found, bool(getattr(module, "NATURAL", False)), requested)


def ask(estimator: OutsideEstimator, samples: Samples, seed: int) -> Estimate:
    """The answer of an estimator, checked.

    It gets copies, so that it can change nothing.

    Raises:
        ValueError: one line, if it raises, or answers what cannot be scored.
    """
    given = {"states": samples.states.copy(), "t": samples.t.copy(), "grid": samples.grid, "seed": seed}
    statistics = None if samples.statistics is None else samples.statistics.copy()
    asked = {"geometry": samples.geometry, "coordinates": samples.coordinates, "statistics": statistics}
    try:
        answer = estimator.call(**given, **{name: asked[name] for name in estimator.requested})
    except Exception as error:
        raise ValueError(f"raises {_in_a_line(error)}") from error
    return _checked(answer, samples.grid.size)


def _run(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"outside_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no file of Python")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickles look their module up; what lies beside the file can be imported by it.
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.resolve().parent))
    # Nothing of ours is left beside it.
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ValueError(f"{path} does not run: {_in_a_line(error)}") from error
    finally:
        sys.dont_write_bytecode = kept
        sys.path.remove(str(path.resolve().parent))
    return module


def _checked(answer: Any, nodes: int) -> Estimate:
    """An answer as an estimate, in float64."""
    if isinstance(answer, Estimate):
        answer = {
            field.name: getattr(answer, field.name) for field in fields(answer) if field.name in ANSWERS
        }
    if not isinstance(answer, Mapping):
        raise ValueError(f"returns {type(answer).__name__}; allowed: a mapping of {', '.join(ANSWERS)}")
    if unknown := [str(name) for name in answer if name not in ANSWERS]:
        raise ValueError(f"returns {', '.join(unknown)}; allowed: {', '.join(ANSWERS)}")
    shapes = {
        "value": (nodes,),
        "gradient": (nodes, 2),
        "metric": (nodes, 2, 2),
        "metric_error": (nodes, 2, 2),
    }
    arrays: dict[str, Any] = {
        name: _array(name, values, shapes[name]) for name, values in answer.items() if values is not None
    }
    if not {"value", "metric"} & set(arrays):
        raise ValueError("returns neither a metric nor a value; allowed: one of them, or both")
    estimate = Estimate(**arrays)
    if estimate.metric is None:
        return estimate
    turned = np.swapaxes(estimate.metric, 1, 2)
    # Rounding of sums in another order, of the largest entry at a node; more is no rounding.
    if np.abs(estimate.metric - turned).max() > 1e-6 * np.abs(estimate.metric).max():
        raise ValueError("metric is not symmetric; allowed: g_12 = g_21 at every node")
    return replace(estimate, metric=(estimate.metric + turned) / 2)


def _array(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} holds no numbers: {_in_a_line(error)}") from error
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, must be {shape}")
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise ValueError(f"{name} holds {bad:,} numbers of {array.size:,} that are not finite")
    return array


def _in_a_line(error: BaseException) -> str:
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}"[:300] if words else type(error).__name__
