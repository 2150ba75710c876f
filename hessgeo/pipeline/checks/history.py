"""Whether a study can have the history that it asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hessgeo.pipeline.history_settings import no_history

if TYPE_CHECKING:
    from hessgeo.pipeline.study import StudyCheck


def history_errors(check: StudyCheck) -> Iterator[str]:
    """A line for steps that the sampler does not take, or that are asked for of a study without a history."""
    steps, taken = check.settings["history"]["steps"], check.settings["system"]["steps"]
    if steps == "all":
        return
    # Steps of the defaults are for all studies that have a history.
    if "steps" in check.override.get("history", {}) and (need := no_history(check.settings)):
        yield check.line(
            "history.steps", steps, f"all: a history, which this study cannot have, needs {need}"
        )
    elif max(steps) > taken and not no_history(check.settings):
        yield check.line("history.steps", steps, f"all, or numbers from 1 to system.steps, {taken}")
