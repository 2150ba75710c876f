"""Whether the model of a study can be loaded and sampled as its settings say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hessgeo.workflow.checks.anchors import anchor_errors
from hessgeo.workflow.derived import checkpoint_of
from hessgeo.workflow.schema import shown

if TYPE_CHECKING:
    from hessgeo.workflow.study import StudyCheck

# Families with classifier-free guidance.
GUIDED = ("stable-diffusion", "stable-diffusion-xl", "stable-diffusion-3")
# What a generator in a file has no use for.
SAMPLER_KEYS: Mapping[str, Any] = {
    "config": None, "scheduler": "auto", "prompt": "", "negative_prompt": "", "guidance": 1.0, "lora": [], "eta": 0.0,
    "compile": False,
}  # fmt: skip


def system_errors(check: StudyCheck) -> Iterator[str]:
    """A line for each setting of the model, or else of the anchors, that cannot be."""
    system = check.settings["system"]
    if missing := check.missing("system", "checkpoint", "a pipeline folder or a .safetensors file"):
        yield from missing
        return
    kind_errors = _generator_errors if system["kind"] == "generator" else _diffusion_errors
    yield from (found := list(kind_errors(check, system)))
    if not found:
        yield from anchor_errors(check)


def _generator_errors(check: StudyCheck, system: Mapping[str, Any]) -> Iterator[str]:
    from hessgeo.systems.generator import check_generator

    for key, example in (
        ("latent", "the shape of z, such as [512]"),
        ("size", "[height, width] of its images"),
    ):
        if system[key] is None:
            yield check.line(f"system.{key}", None, f"{example}, for the kind generator")
    for key, neutral in SAMPLER_KEYS.items():
        if system[key] != neutral:
            allowed = f"{shown(neutral)} for the kind generator, which has no sampler"
            yield check.line(f"system.{key}", system[key], allowed)
    described = {key: system[key] for key in ("latent", "size", "channels", "output_range")}
    try:
        check_generator(system["checkpoint"], **described)
    except ValueError as error:
        allowed = f"a TorchScript or ONNX file ({error})"
        yield check.line("system.checkpoint", system["checkpoint"], allowed)


def _diffusion_errors(check: StudyCheck, system: Mapping[str, Any]) -> Iterator[str]:
    for key, neutral in (("latent", None), ("channels", 3), ("output_range", [-1, 1])):
        if system[key] != neutral:
            yield check.line(f"system.{key}", system[key], f"{shown(neutral)} for the kind diffusion")
    embedded = system["checkpoint"] in check.models
    try:
        checkpoint = None if embedded else checkpoint_of(system)
    except ValueError as error:
        allowed = (
            f"an entry of models ({', '.join(check.models) or 'none here'}), a pipeline folder of diffusers or a "
            f".safetensors file ({error})"
        )
        yield check.line("system.checkpoint", system["checkpoint"], allowed)
        return
    for key in ("size", "config"):
        if embedded and system[key] is not None:
            yield check.line(f"system.{key}", system[key], "null for an embedded model")
    yield from _sampler_errors(check, system, "unconditional" if checkpoint is None else checkpoint.family)


def _sampler_errors(check: StudyCheck, system: Mapping[str, Any], family: str) -> Iterator[str]:
    from hessgeo.systems.checkpoints import scheduler_names
    from hessgeo.weights import refuse_pickle

    names = scheduler_names(family)
    if system["scheduler"] != "auto" and system["scheduler"] not in names:
        yield check.line("system.scheduler", system["scheduler"], f"auto, {', '.join(names)}")
    flow = family in ("stable-diffusion-3", "flux")
    if system["eta"] > 0 and (flow or system["scheduler"] not in ("auto", "DDIMScheduler")):
        yield check.line("system.eta", system["eta"], "0 for a sampler other than DDIM")
    if family == "unconditional":
        for key, neutral in (("prompt", ""), ("negative_prompt", ""), ("guidance", 1.0), ("lora", [])):
            if system[key] != neutral:
                yield check.line(f"system.{key}", system[key], f"{shown(neutral)} for an unconditional model")
    if family in GUIDED and system["negative_prompt"] and system["guidance"] <= 1:
        allowed = f"'' where system.guidance is {system['guidance']}: it acts at a guidance above 1 alone"
        yield check.line("system.negative_prompt", system["negative_prompt"], allowed)
    if family == "flux" and system["negative_prompt"]:
        yield check.line(
            "system.negative_prompt", system["negative_prompt"], "'' for Flux, which has no use for one"
        )
    for lora in system["lora"]:
        try:
            refuse_pickle(lora["file"])
        except ValueError as error:
            yield check.line("system.lora", lora["file"], f"an existing .safetensors file ({error})")
