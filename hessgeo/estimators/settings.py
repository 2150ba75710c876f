"""Settings of an estimator: its defaults, and what was said instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def with_defaults(settings: Mapping[str, Any], defaults: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """The defaults, with settings in their place.

    A setting that is itself a mapping replaces the entries it names alone.

    Args:
        settings: what was said.
        defaults: every setting there is.
        owner: whose they are, for the message.

    Raises:
        ValueError: on a setting that is not among the defaults.
    """
    unknown = sorted(set(settings) - set(defaults))
    if unknown:
        raise ValueError(f"{owner} has no setting {unknown[0]}, only {', '.join(defaults) or 'none'}")
    merged = {**defaults, **settings}
    for name, default in defaults.items():
        if isinstance(default, Mapping):
            merged[name] = with_defaults(merged[name], default, f"{owner}.{name}")
    return merged
