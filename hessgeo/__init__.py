"""hessgeo: the Hessian geometry of what a generative model has learned.

    import hessgeo as hg

    study = hg.map(generate, embed, anchors=hg.random_anchors(3, (100, 1, 1)))
    study = hg.open("results/digits")
    study = hg.fit(embedding, points)
    study.phases.plot()

What stands here is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hessgeo.grids import Grid
    from hessgeo.phases.adaptive import sample_adaptively
    from hessgeo.study.free_energy import FreeEnergy
    from hessgeo.study.geodesics import Geodesics
    from hessgeo.study.making import fit, map, open
    from hessgeo.study.metric import Metric
    from hessgeo.study.phases import PhaseMap
    from hessgeo.study.study import Study
    from hessgeo.systems.slices import random_anchors

__version__ = "0.1.0"

__all__ = [
    "FreeEnergy",
    "Geodesics",
    "Grid",
    "Metric",
    "PhaseMap",
    "Study",
    "fit",
    "map",
    "open",
    "random_anchors",
    "sample_adaptively",
]

# Where each name is, relative to the package: steps of the workflow, whose code all that they name is, need none of it.
_PLACES = {
    "FreeEnergy": ".study.free_energy",
    "Geodesics": ".study.geodesics",
    "Grid": ".grids",
    "Metric": ".study.metric",
    "PhaseMap": ".study.phases",
    "Study": ".study.study",
    "fit": ".study.making",
    "map": ".study.making",
    "open": ".study.making",
    "random_anchors": ".systems.slices",
    "sample_adaptively": ".phases.adaptive",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name], __name__), name)


def __dir__() -> list[str]:
    loaded = [name for name, value in globals().items() if name[:2] == "__" or isinstance(value, ModuleType)]
    return sorted({*loaded, *__all__})
