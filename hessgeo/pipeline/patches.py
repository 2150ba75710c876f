"""Methods of other packages' classes, put in other words where a run needs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Method = Callable[..., Any]


def patch(owner: type, name: str, *wrappers: Callable[[Method], Method]) -> None:
    """Wrap a method of a class; done again, as in a process that reads the Snakefile twice, it is not wrapped twice.

    Args:
        owner: the class.
        name: of the method.
        wrappers: each takes a method and returns one in its place, from the inside out.
    """
    method = getattr(owner, name)
    before = wrapped = vars(method).get("before_hessgeo", method)
    for wrapper in wrappers:
        wrapped = wrapper(wrapped)
    wrapped.before_hessgeo = before
    setattr(owner, name, wrapped)
