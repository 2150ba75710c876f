"""Whether the model of a study can follow the conditions that the axes of its slice vary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hessgeo.pipeline.checks.sampler import check_prompt
from hessgeo.pipeline.derived import LATENT, axis_names, conditions

if TYPE_CHECKING:
    from hessgeo.pipeline.study import StudyCheck
    from hessgeo.systems.diffusion.checkpoints import Checkpoint


CONDITIONS = ("guidance", "prompt", "lora")  # of a diffusion model


def axis_errors(check: StudyCheck, checkpoint: Checkpoint | None) -> Iterator[str]:
    """A line for each axis that moves nothing, or nothing that the model has; an embedded one has no checkpoint."""
    plane, system = check.settings["slice"], check.settings["system"]
    names = axis_names(plane)
    if len(names) == 2 and names[0] == names[1] != LATENT:
        yield check.line("slice.axes", plane["axes"], "two axes that are not of one kind, or both latent")
    for place, name in enumerate(names):
        if name != LATENT and (allowed := _fault(name, conditions(plane)[name], system, checkpoint)):
            yield check.line(f"slice.axes[{place}]", plane["axes"][place], allowed)
    if "guidance" in names and system["guidance"] != 1:
        yield check.line("system.guidance", system["guidance"], "1.0 where an axis of the slice is guidance")


def input_errors(check: StudyCheck) -> Iterator[str]:
    """A line for each axis that is no further input of a generator, or one that has a value already."""
    plane, given = check.settings["slice"], check.settings["system"]["inputs"]
    names = axis_names(plane)
    if len(names) == 2 and names[0] == names[1] != LATENT:
        yield check.line("slice.axes", plane["axes"], "two axes that are not of one kind, or both latent")
    for place, (axis, name) in enumerate(zip(plane["axes"], names, strict=True)):
        if axis != LATENT and "input" not in axis:
            allowed = "latent or {input: NAME} for the kind generator"
            yield check.line(f"slice.axes[{place}]", axis, allowed)
        elif axis != LATENT and name in (LATENT, *given):
            allowed = "an input that has no value in system.inputs" if name in given else "another input"
            yield check.line(f"slice.axes[{place}]", axis, allowed)


def _fault(
    name: str, end: str | None, system: Mapping[str, Any], checkpoint: Checkpoint | None
) -> str | None:
    """What is allowed instead of a condition; None if it is."""
    from hessgeo.systems.diffusion.guidance import guidance_kind
    from hessgeo.systems.diffusion.loras import check_lora

    if name not in CONDITIONS:
        return "latent, guidance, {prompt: ..} or {lora: ..} for the kind diffusion"
    if checkpoint is None or checkpoint.family == "unconditional":
        return "latent for an unconditional model"
    try:
        if name == "prompt":
            if end == system["prompt"]:
                return "a prompt other than system.prompt"
            check_prompt(str(end), checkpoint)
        elif name == "lora":
            check_lora(str(end), checkpoint)
        elif guidance_kind(checkpoint.pipeline, checkpoint.configuration(checkpoint.network)) == "none":
            return "an axis other than guidance for a model without guidance"
    except ValueError as error:
        return f"a prompt with {error}" if name == "prompt" else f"a .safetensors file of a LoRA ({error})"
    return None
