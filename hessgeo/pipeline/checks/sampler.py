"""Whether a diffusion model can follow the settings of its sampler, and whether each of them does something."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hessgeo.pipeline.derived import axis_names
from hessgeo.pipeline.schema import shown

if TYPE_CHECKING:
    from hessgeo.pipeline.study import StudyCheck
    from hessgeo.systems.diffusion.checkpoints import Checkpoint

# A key of the system, its value, and what is allowed.
Refusal = tuple[str, Any, str]
# What a model without prompts takes of them.
PROMPT_KEYS: Mapping[str, Any] = {"prompt": "", "negative_prompt": "", "guidance": 1.0, "lora": []}
# The tokenizer of the T5 of a family, whose window is all that it can read.
T5_TOKENIZERS = {"stable-diffusion-3": "tokenizer_3", "flux": "tokenizer_2"}

# What the schedule of the embedded models says, ``models.digit_diffusion.build_scheduler``, whose import takes seconds.
EMBEDDED_SCHEDULE = {"num_train_timesteps": 1000, "timestep_spacing": "trailing", "clip_sample": True}


def sampler_errors(
    check: StudyCheck, system: Mapping[str, Any], checkpoint: Checkpoint | None
) -> Iterator[str]:
    """A line for each setting of the sampler that cannot be or does nothing; an embedded model has no checkpoint."""
    schedule = list(_schedule_errors(system, checkpoint))
    for key, value, allowed in (
        *_noise_errors(system, checkpoint),
        # Of a schedule that is none steps are none either.
        *(() if schedule else _step_errors(system, checkpoint)),
        *_prompt_errors(system, checkpoint, axis_names(check.settings["slice"])),
        *_layer_errors(system, checkpoint),
        *schedule,
        *_lora_errors(system, checkpoint),
    ):
        yield check.line(f"system.{key}", value, allowed)
    if _family(checkpoint) == "unconditional" and check.sets("system.decode_batch_size"):
        allowed = "nothing for a model without an autoencoder"
        yield check.line("system.decode_batch_size", system["decode_batch_size"], allowed)


def _family(checkpoint: Checkpoint | None) -> str:
    return "unconditional" if checkpoint is None else checkpoint.family


def _noise_errors(system: Mapping[str, Any], checkpoint: Checkpoint | None) -> Iterator[Refusal]:
    from hessgeo.systems.diffusion.checkpoints import scheduler_names

    names = scheduler_names(_family(checkpoint))
    if system["scheduler"] != "auto" and system["scheduler"] not in names:
        yield "scheduler", system["scheduler"], f"auto, {', '.join(names)}"
    flow = checkpoint is not None and checkpoint.flow
    if system["eta"] > 0 and (flow or system["scheduler"] not in ("auto", "DDIMScheduler")):
        yield "eta", system["eta"], "0 for a sampler other than DDIM"
    if system["eta_rule"] != "ddim" and system["eta"] == 0:
        yield "eta_rule", system["eta_rule"], "ddim where system.eta is 0, which adds no noise"


def _step_errors(system: Mapping[str, Any], checkpoint: Checkpoint | None) -> Iterator[Refusal]:
    from hessgeo.systems.diffusion.checkpoints import scheduler_names

    if system["scheduler"] not in ("auto", *scheduler_names(_family(checkpoint))):
        return
    flow = checkpoint is not None and checkpoint.flow
    if checkpoint is not None:
        schedule = checkpoint.configuration("scheduler")
        # Steps as Stable Diffusion spaces them start so much above the lowest.
        above = (
            schedule.get("steps_offset", 0) if schedule.get("timestep_spacing", "leading") == "leading" else 0
        )
        most = schedule.get("num_train_timesteps", 1000) - (0 if checkpoint.flow else above)
        if system["steps"] > most:
            yield "steps", system["steps"], f"at most {most}, the steps of the schedule of {checkpoint.path}"
    if not flow and system["scheduler"] in ("auto", "DDIMScheduler"):
        from hessgeo.systems.diffusion.schedules import even_steps

        schedule = EMBEDDED_SCHEDULE if checkpoint is None else checkpoint.configuration("scheduler")
        if near := even_steps(system["steps"], schedule):
            allowed = "a number whose steps of DDIM meet, as those of {} and {} do".format(*near)
            yield "steps", system["steps"], allowed


def _prompt_errors(
    system: Mapping[str, Any], checkpoint: Checkpoint | None, axes: tuple[str, ...]
) -> Iterator[Refusal]:
    from hessgeo.systems.diffusion.guidance import guidance_errors, guidance_kind

    if checkpoint is None or checkpoint.family == "unconditional":
        for key, neutral in PROMPT_KEYS.items():
            if system[key] != neutral:
                yield key, system[key], f"{shown(neutral)} for an unconditional model"
        return
    kind = guidance_kind(checkpoint.pipeline, checkpoint.configuration(checkpoint.network))
    # Where the scale varies along an axis, it is not what the settings say.
    guided = {**system, "guidance": 2.0} if kind == "free" and "guidance" in axes else system
    for key, allowed in guidance_errors(kind, guided):
        yield key, system[key], allowed
    for key in ("prompt", "negative_prompt"):
        try:
            check_prompt(system[key], checkpoint)
        except ValueError as error:
            yield key, system[key], f"a prompt with {error}"


def check_prompt(prompt: str, checkpoint: Checkpoint) -> None:
    """Refuse a prompt that a model cannot read.

    Raises:
        ValueError: what a prompt must be instead.
    """
    from hessgeo.systems.diffusion.prompts import T5_WINDOW, check_length, parse_prompt, plain_text

    if checkpoint.family not in T5_TOKENIZERS:
        parse_prompt(prompt)
        return
    folder = (checkpoint.config or checkpoint.path) / T5_TOKENIZERS[checkpoint.family]
    check_length(plain_text(prompt), folder, T5_WINDOW[checkpoint.family])


def _layer_errors(system: Mapping[str, Any], checkpoint: Checkpoint | None) -> Iterator[Refusal]:
    skipped, family = system["clip_skip"] or 0, _family(checkpoint)
    if not skipped:
        return
    if checkpoint is None or family in ("unconditional", "flux"):
        yield "clip_skip", skipped, "null or 0 for a model that takes no layers of a CLIP"
        return
    encoders = [checkpoint.configuration(f"text_encoder{end}") for end in ("", "_2")]
    layers = [encoder["num_hidden_layers"] for encoder in encoders if "num_hidden_layers" in encoder]
    # One layer at least is left, after the one that all but Stable Diffusion 1 and 2 skip by themselves.
    most = min(layers, default=2) - (1 if family == "stable-diffusion" else 2)
    if skipped > most:
        yield (
            "clip_skip",
            skipped,
            f"at most {most}, for the CLIP of {checkpoint.path} has {min(layers)} layers",
        )


def _schedule_errors(system: Mapping[str, Any], checkpoint: Checkpoint | None) -> Iterator[Refusal]:
    from hessgeo.systems.diffusion.checkpoints import scheduler_names
    from hessgeo.systems.diffusion.schedules import check_schedule

    if system["scheduler"] not in ("auto", *scheduler_names(_family(checkpoint))):
        return
    if checkpoint is None:
        if system["scheduler"] not in ("auto", *embedded_schedulers()):
            allowed = f"auto, {', '.join(embedded_schedulers())}"
            yield (
                "scheduler",
                system["scheduler"],
                f"{allowed} for an embedded model, whose steps clip images",
            )
        return
    try:
        check_schedule(checkpoint, system["scheduler"])
    except ValueError as error:
        key = "checkpoint" if system["scheduler"] == "auto" else "scheduler"
        yield key, system[key], f"a sampler and a schedule that agree ({error})"


def embedded_schedulers() -> tuple[str, ...]:
    """The samplers that obey all that the schedule of the embedded models says."""
    from hessgeo.systems.diffusion.checkpoints import scheduler_names
    from hessgeo.systems.diffusion.schedules import KNOWS

    said = [knowing for key, knowing in KNOWS.items() if EMBEDDED_SCHEDULE.get(key)]
    return tuple(
        name for name in scheduler_names("unconditional") if all(name in knowing for knowing in said)
    )


def _lora_errors(system: Mapping[str, Any], checkpoint: Checkpoint | None) -> Iterator[Refusal]:
    from hessgeo.systems.diffusion.loras import check_lora

    for place, lora in enumerate(system["lora"]):
        if lora["weight"] == 0:
            allowed = "another number than 0, at which a LoRA does nothing"
            yield f"lora[{place}].weight", lora["weight"], allowed
        if checkpoint is None or checkpoint.family == "unconditional":
            continue  # which has a line of its own
        try:
            check_lora(lora["file"], checkpoint)
        except ValueError as error:
            yield "lora", lora["file"], f"an existing .safetensors file of a LoRA ({error})"
