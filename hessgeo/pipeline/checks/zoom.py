"""Whether a study can have a zoom, and whether its sampler tends to an ODE, which the zoom may follow."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hessgeo.pipeline.derived import axis_names, checkpoint_of

if TYPE_CHECKING:
    from hessgeo.pipeline.study import StudyCheck

ADAPTIVE = "adaptive"  # in place of a number of steps: what the sampler tends to as they become many
CONTINUED = ("open_clip", "timm", "pixels")  # embeddings that can be taken of real values
SINGLE = ("EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler")  # whose steps are in single precision


def no_zoom(study: Mapping[str, Any], models: Collection[str]) -> str:
    """Why a study has no zoom, in words that follow ``needs``; empty if it has one.

    Args:
        study: its settings.
        models: names of the embedded models.
    """
    system, embedding, plane = study["system"], study["embedding"], study["slice"]
    if system["kind"] != "diffusion":
        return f"a diffusion model, which runs in any precision; system.kind is {system['kind']}"
    if embedding["kind"] not in CONTINUED:
        return f"an embedding of real values, {', '.join(CONTINUED)}; embedding.kind is {embedding['kind']}"
    if embedding["size"] is not None:
        return f"embedding.size null, for images are shrunk in eight bits, not {embedding['size']}"
    if study["sampling"]["design"] != "grid" or len(study["sampling"]["grid"]) != 2:
        return "an image on every node of a plane: sampling.design grid, with two sides"
    if plane["interpolation"] != "linear" or set(axis_names(plane)) != {"latent"}:
        return "a plane of latents: slice.interpolation linear, both slice.axes latent"
    if "float64" in study["zoom"]["precisions"] and (name := _sampler(system, models)) in SINGLE:
        return f"zoom.precisions without float64 for the sampler {name}, whose steps are in single precision"
    return ""


def _sampler(system: Mapping[str, Any], models: Collection[str]) -> str:
    """The class of the sampler of a diffusion model."""
    if system["scheduler"] != "auto":
        return str(system["scheduler"])
    checkpoint = None if system["checkpoint"] in models else checkpoint_of(system)
    if checkpoint is None or not checkpoint.flow:
        return "DDIMScheduler"
    return str(checkpoint.configuration("scheduler")["_class_name"])


def no_limit(system: Mapping[str, Any], models: Collection[str]) -> str:
    """Why a sampler tends to no ODE that is followed here, in words that follow ``needs``; empty if it does."""
    if system["kind"] != "diffusion":
        return f"a diffusion model; system.kind is {system['kind']}"
    if system["scheduler"] not in ("auto", "DDIMScheduler"):
        return f"system.scheduler auto or DDIMScheduler, not {system['scheduler']}"
    if system["checkpoint"] not in models and (family := checkpoint_of(system).family) != "unconditional":
        return f"an unconditional model, not {family}"
    return f"system.eta 0, not {system['eta']}" if system["eta"] > 0 else ""


def zoom_errors(check: StudyCheck) -> Iterator[str]:
    """A line for a zoom or a limit that a study asks for and cannot have; defaults are for those that can."""
    asked, settings = check.override.get("zoom", {}), check.settings
    if not asked or (settings["system"]["kind"], settings["system"]["checkpoint"]) == ("diffusion", None):
        return
    try:
        needs = no_zoom(settings, check.models), no_limit(settings["system"], check.models)
    except ValueError:  # of a checkpoint that cannot be read, which has a line of its own
        return
    steps = asked.get("steps", [])
    if needs[0]:
        key = "precisions" if needs[0].startswith("zoom.precisions") else next(iter(asked))
        allowed = f"nothing here: a zoom, which this study cannot have, needs {needs[0]}"
        yield check.line(f"zoom.{key}", settings["zoom"][key], allowed)
    elif ADAPTIVE in steps and needs[1]:
        yield check.line(
            "zoom.steps",
            steps,
            f"numbers of steps: {ADAPTIVE}, which this study cannot have, needs {needs[1]}",
        )
