"""What the history of a study needs, and which steps of its sampler it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Settings ``system.scheduler`` whose steps predict a clean image: ``auto`` is one of the other two.
SCHEDULERS = ("auto", "DDIMScheduler", "FlowMatchEulerDiscreteScheduler")


def history_steps(study: Mapping[str, Any]) -> list[int]:
    """Numbers of the steps whose predictions are kept, from 1, in rising order."""
    chosen = study["history"]["steps"]
    return list(range(1, study["system"]["steps"] + 1)) if chosen == "all" else sorted(chosen)


def no_history(study: Mapping[str, Any]) -> str:
    """Why a study has no history, in words that follow ``needs``; empty if it has one."""
    system, sampling = study["system"], study["sampling"]
    if system["kind"] != "diffusion":
        return f"a diffusion model, whose sampler takes steps; system.kind is {system['kind']}"
    if system["scheduler"] not in SCHEDULERS:
        return f"system.scheduler {', '.join(SCHEDULERS)}, whose steps predict an image, not {system['scheduler']}"
    if sampling["design"] != "grid" or len(sampling["grid"]) != 2:
        return "an image on every node of a plane: sampling.design grid, with two sides"
    if study["embedding"]["kind"] == "file":
        return "an embedding that can be had of new images; embedding.kind is file"
    return "" if len(history_steps(study)) > 1 else "a sampler of at least two steps"
