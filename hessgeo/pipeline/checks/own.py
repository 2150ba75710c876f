"""Whether a study of samples of one's own says anything that would do nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hessgeo.pipeline.study import StudyCheck

# What such a study may say of these sections.
USED = {
    "system": ("kind", "images", "parameters", "output_range"),
    "slice": ("extent",),
    "sampling": ("grid", "shard", "shards_per_job"),
}


def own_errors(check: StudyCheck) -> Iterator[str]:
    """A line for each setting that samples which are there have no use for; what they are is checked before."""
    for part, used in USED.items():
        for key in check.settings[part]:
            if key not in used and check.sets(f"{part}.{key}"):
                allowed = "nothing for the kind samples, whose images and points are there"
                yield check.line(f"{part}.{key}", check.override[part][key], allowed)
    bounds = check.settings["system"]["output_range"]
    if bounds is not None and not bounds[0] < bounds[1]:
        yield check.line("system.output_range", bounds, "[low, high] with low < high")
