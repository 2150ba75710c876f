"""Whether the sampler of a study tends to an ODE, which its zoom may follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hessgeo.pipeline.study import StudyCheck

ADAPTIVE = "adaptive"  # in place of a number of steps: what the sampler tends to as they become many


def no_limit(system: Mapping[str, Any]) -> str:
    """Why a sampler tends to no ODE that is followed here, in words that follow ``needs``; empty if it does."""
    if system["kind"] != "diffusion":
        return f"a diffusion model; system.kind is {system['kind']}"
    if system["scheduler"] not in ("auto", "DDIMScheduler"):
        return f"system.scheduler auto or DDIMScheduler, not {system['scheduler']}"
    return f"system.eta 0, not {system['eta']}" if system["eta"] > 0 else ""


def zoom_errors(check: StudyCheck) -> Iterator[str]:
    """A line for a limit that a study asks for and cannot have; of the defaults it is for those that can."""
    steps = check.override.get("zoom", {}).get("steps", [])
    if ADAPTIVE in steps and (need := no_limit(check.settings["system"])):
        yield check.line(
            "zoom.steps", steps, f"numbers of steps: {ADAPTIVE}, which this study cannot have, needs {need}"
        )
