"""The networks and estimates of a group of solvable systems as parts of one job, with what each depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from hessgeo.pipeline.digest import digest
from hessgeo.pipeline.parts import Part

Parts = Mapping[str, Mapping[str, Mapping[str, Any]]]


def parts_of(
    parts: Parts, makers: Mapping[str, Callable[..., None]], about: Mapping[str, Any]
) -> Iterator[Part]:
    """The parts in the order in which they can be made.

    Args:
        parts: ``Group.parts``.
        makers: what makes one of the ``networks``, ``(name, part)``, or ``estimators``, ``(name, part, network)``,
            with the part of the network or None.
        about: what all depend on, such as the samples, and the digests of ``code`` of each part.
    """
    common = {key: value for key, value in about.items() if key != "code"}

    def depends(kind: str, name: str) -> dict[str, Any]:
        return {"settings": parts[kind][name]["settings"], "code": about["code"][kind][name]}

    for name, part in parts["networks"].items():
        whole = {**common, "network": [name, depends("networks", name)]}
        yield Part(
            f"network {name}", tuple(part["files"]), digest(whole), partial(makers["networks"], name, part)
        )
    for name, part in parts["estimators"].items():
        network = part["network"]
        read = [network, depends("networks", network)] if network else None
        whole = {**common, "network": read, "estimator": [name, depends("estimators", name)]}
        make = partial(makers["estimators"], name, part, parts["networks"][network] if network else None)
        yield Part(f"estimate {name}", tuple(part["files"]), digest(whole), make)
