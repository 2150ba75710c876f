"""Whether the settings of the geodesics of densities fit each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hessgeo.pipeline.schema import listed, nearest, refusal


def generative_errors(settings: Mapping[str, Any], models: Mapping[str, Any]) -> Iterator[str]:
    """What the schema cannot say about the section ``generative``: a line for each mistake.

    Args:
        settings: the section, complete.
        models: the embedded models, by name.
    """
    if settings["model"] not in models:
        allowed = f"an entry of models ({listed(sorted(models))}){nearest(settings['model'], models)}"
        yield refusal("generative.model", settings["model"], allowed)
    # A picture's trustworthiness is defined for fewer neighbours than half of its points.
    for section, key, share, words in (
        ("clustering", "points", 1, ""),
        ("digits", "embedded", 2, "half of "),
    ):
        most, neighbours = settings[section][key], settings[section]["neighbours"]
        if neighbours * share >= most:
            yield refusal(f"generative.{section}.neighbours", neighbours, f"fewer than {words}{key}, {most}")
