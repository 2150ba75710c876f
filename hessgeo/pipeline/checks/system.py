"""Whether the model of a study can be loaded and sampled as its settings say."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from math import inf
from typing import TYPE_CHECKING, Any

from hessgeo.pipeline.checks.anchors import anchor_errors
from hessgeo.pipeline.checks.axes import axis_errors, input_errors
from hessgeo.pipeline.checks.own import own_errors
from hessgeo.pipeline.checks.sampler import sampler_errors
from hessgeo.pipeline.derived import LATENT, axis_names, checkpoint_of
from hessgeo.pipeline.schema import shown

if TYPE_CHECKING:
    from hessgeo.pipeline.study import StudyCheck

# What a diffusion model has no use for.
DIFFUSION_NEUTRAL: Mapping[str, Any] = {
    "latent": None, "channels": 3, "output_range": [-1, 1], "inputs": {}, "output": None, "layout": None,
}  # fmt: skip
# What a generator in a file has no use for.
SAMPLER_KEYS: Mapping[str, Any] = {
    "config": None, "scheduler": "auto", "prompt": "", "negative_prompt": "", "guidance": 1.0, "clip_skip": None,
    "lora": [], "eta": 0.0, "eta_rule": "ddim", "compile": False,
}  # fmt: skip
# The same, where the defaults are for studies of every kind: refused in the settings of a study alone.
IDLE_KEYS: Mapping[str, str] = {
    "steps": "nothing for the kind generator, which is called once",
    "dtype": "float32 for the kind generator, whose file has its own precision",
    "decode_batch_size": "nothing for the kind generator, which has no autoencoder",
}


def system_errors(check: StudyCheck) -> Iterator[str]:
    """A line for each setting of the model, or else of the anchors, that cannot be."""
    system = check.settings["system"]
    if system["kind"] == "samples":
        yield from own_errors(check)
        return
    for key in ("images", "parameters"):
        if system[key] is not None:
            yield check.line(f"system.{key}", system[key], f"null for the kind {system['kind']}")
    if missing := check.missing("system", "checkpoint", "a pipeline folder or a .safetensors file"):
        yield from missing
        return
    kind_errors = _generator_errors if system["kind"] == "generator" else _diffusion_errors
    yield from (found := list(kind_errors(check, system)))
    if not found:
        yield from anchor_errors(check)


def _generator_errors(check: StudyCheck, system: Mapping[str, Any]) -> Iterator[str]:
    from hessgeo.systems.generator_files import ImagesOfFile, check_generator

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
    for key, allowed in IDLE_KEYS.items():
        if check.sets(f"system.{key}") and (key, system[key]) != ("dtype", "float32"):
            yield check.line(f"system.{key}", system[key], allowed)
    low, high = system["output_range"]
    if not -inf < low < high < inf:
        yield check.line("system.output_range", system["output_range"], "[low, high] with low < high")
    if lines := list(input_errors(check)):
        yield from lines
        return
    described = {field.name: system[field.name] for field in fields(ImagesOfFile)}
    varied = set(axis_names(check.settings["slice"])) - {LATENT}
    try:
        check_generator(system["checkpoint"], varied, **described)
    except ValueError as error:
        allowed = f"a TorchScript, torch.export or ONNX file ({error})"
        yield check.line("system.checkpoint", system["checkpoint"], allowed)


def _diffusion_errors(check: StudyCheck, system: Mapping[str, Any]) -> Iterator[str]:
    for key, neutral in DIFFUSION_NEUTRAL.items():
        if system[key] != neutral:
            yield check.line(f"system.{key}", system[key], f"{shown(neutral)} for the kind diffusion")
    if system["compile"] and not (compiler := cpp_compiler())[1]:
        allowed = (
            f"false where there is no C++ compiler: {compiler[0]}, which CXX may name, is not to be found"
        )
        yield check.line("system.compile", True, allowed)
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
    try:
        lines = [*sampler_errors(check, system, checkpoint), *axis_errors(check, checkpoint)]
    except ValueError as error:  # of a configuration among its files
        lines = [check.line("system.checkpoint", system["checkpoint"], f"a complete checkpoint ({error})")]
    yield from lines


def cpp_compiler() -> tuple[str, str | None]:
    """The C++ compiler that ``torch.compile`` calls, and the path where it is, if it is there."""
    name = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    return name, shutil.which(name)
