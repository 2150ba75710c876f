"""What a checkpoint says of its noise, and which samplers can do what it says; from configurations and headers alone.

A configuration of ``diffusers`` goes from one class of sampler to another by dropping, without a word, what the other
does not know; and a single file says in marks of its own what its configuration may contradict. Here both are heard.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hessgeo.systems.diffusion.families import NOISE_SCHEDULERS, Checkpoint, part_folder
from hessgeo.weights.headers import Header, TensorEntry, read_tensor, shown_name

Said = dict[str, tuple[Any, str]]
"""What a file says of its schedule: for each setting of a scheduler a value, and where it says so."""

# What single files say by the presence of a tensor.
MARKS = {"v_pred": ("prediction_type", "v_prediction"), "ztsnr": ("rescale_betas_zero_snr", True)}
PREDICTIONS = {
    "epsilon": "epsilon", "eps": "epsilon", "v": "v_prediction", "v_prediction": "v_prediction", "x0": "sample",
    "sample": "sample",
}  # fmt: skip
# Zero signal at the last step is seen only by a sampler that starts there.
ZERO_SNR = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
SHORT = 0.02  # share of its way by which a step of DDIM may end above the start of the next

# What the samplers know, where it differs between them; the tests compare it with diffusers.
KNOWS = {
    "rescale_betas_zero_snr": (
        "DDIMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler", "UniPCMultistepScheduler",
    ),
    "clip_sample": ("DDIMScheduler", "HeunDiscreteScheduler"),
    "thresholding": (
        "DDIMScheduler", "DEISMultistepScheduler", "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler",
        "UniPCMultistepScheduler",
    ),
    "timestep_spacing": tuple(name for name in NOISE_SCHEDULERS if name != "DPMSolverSinglestepScheduler"),
    "sigma_min": ("EulerDiscreteScheduler", "UniPCMultistepScheduler"),
    "sigma_max": ("EulerDiscreteScheduler", "UniPCMultistepScheduler"),
    "use_dynamic_shifting": ("FlowMatchEulerDiscreteScheduler",),
    "shift_terminal": ("FlowMatchEulerDiscreteScheduler",),
    "use_karras_sigmas": ("FlowMatchEulerDiscreteScheduler",),
    "use_exponential_sigmas": ("FlowMatchEulerDiscreteScheduler",),
    "use_beta_sigmas": ("FlowMatchEulerDiscreteScheduler",),
}  # fmt: skip
"""Settings that change images, and the samplers that obey them."""
SAMPLE_PREDICTORS = tuple(
    name for name in NOISE_SCHEDULERS if name not in ("KDPM2DiscreteScheduler", "PNDMScheduler")
)
CLIPPED_BY_DEFAULT = ("DDIMScheduler", "DDIMParallelScheduler", "DDPMScheduler", "DDPMParallelScheduler")
ALLOWED: dict[str, tuple[Any, ...]] = {
    "prediction_type": ("epsilon", "v_prediction", "sample"),
    "beta_schedule": ("linear", "scaled_linear", "squaredcos_cap_v2"),
    "timestep_spacing": ("leading", "linspace", "trailing"),
    "timestep_type": ("discrete",),  # the other is that of EDM, whose noise no sampler here has
    "use_flow_sigmas": (False,),
    "invert_sigmas": (False,),
    "stochastic_sampling": (False,),
}
SWITCHES = (
    "rescale_betas_zero_snr", "clip_sample", "thresholding", "set_alpha_to_one", "use_karras_sigmas",
    "use_exponential_sigmas", "use_beta_sigmas", "use_flow_sigmas", "use_dynamic_shifting", "invert_sigmas",
    "stochastic_sampling", "lower_order_final", "euler_at_final", "use_lu_lambdas",
)  # fmt: skip


def check_schedule(checkpoint: Checkpoint, scheduler: str = "auto") -> None:
    """Refuse a sampler that would not do what the configuration of a checkpoint's scheduler says, or add noise.

    Args:
        checkpoint: the checkpoint.
        scheduler: a class of ``scheduler_names(family)``, or ``auto``.

    Raises:
        ValueError: one line that names the setting, its value and its file.
    """
    config, place = checkpoint.configuration("scheduler"), _place(checkpoint)
    name = scheduler
    if scheduler == "auto":
        name = config["_class_name"] if checkpoint.flow else "DDIMScheduler"
    for key, why in _problems(
        config, name, latent=checkpoint.family != "unconditional", flow=checkpoint.flow
    ):
        value = shown_name(str(config.get(key)))
        raise ValueError(f"{place} says {key} {value}, {why}")


def _place(checkpoint: Checkpoint) -> Path:
    if checkpoint.architecture:
        return checkpoint.path
    return part_folder(checkpoint.config or checkpoint.path, "scheduler") / "scheduler_config.json"


def _problems(config: Mapping[str, Any], name: str, *, latent: bool, flow: bool) -> Iterator[tuple[str, str]]:
    for key in SWITCHES:
        if key in config and not isinstance(config[key], bool):
            yield key, "must be true or false"
    for key, allowed in ALLOWED.items():
        if key in config and config[key] not in allowed:
            yield (
                key,
                f"must be {' or '.join(map(str, allowed))}"
                + (
                    ": noise would be that of a batch, not of a sample"
                    if key == "stochastic_sampling"
                    else ""
                ),
            )
    steps, above = config.get("num_train_timesteps", 1000), config.get("steps_offset", 0)
    if type(steps) is not int or not 1 <= steps <= 1_000_000:
        yield "num_train_timesteps", "must be a whole number from 1 to 1000000"
    elif type(above) is not int or not 0 <= above < steps:
        yield "steps_offset", f"must be a whole number from 0 to {steps - 1}"
    source = config.get("_class_name")
    neutral = {"clip_sample": source in CLIPPED_BY_DEFAULT and not latent}
    for key, knowing in KNOWS.items():
        ours = knowing[0].startswith("FlowMatch") == flow
        value = config.get(key, neutral.get(key, False))
        # Only the last step before pure noise matters of a grid: other samplers have other grids.
        matters = value == "trailing" if key == "timestep_spacing" else value not in (None, False)
        matters = matters and not (
            key == "clip_sample" and latent
        )  # latents have no bounds, see make_scheduler
        if ours and matters and name not in knowing:
            yield key, f"which {name} does not know; scheduler must be one of {', '.join(knowing)}"
    if not flow:
        yield from _noise_problems(config, name, latent)


def _noise_problems(config: Mapping[str, Any], name: str, latent: bool) -> Iterator[tuple[str, str]]:
    if config.get("prediction_type") == "sample" and name not in SAMPLE_PREDICTORS:
        yield "prediction_type", f"which {name} cannot follow; scheduler must be another"
    if latent and config.get("thresholding"):
        yield "thresholding", "must be false for a model of latents, which have no bounds"
    if "learned" in str(config.get("variance_type")) and name.startswith("DPMSolver"):
        yield "variance_type", "must be null: the network predicts no variance"
    if str(config.get("algorithm_type")).startswith("sde") and name.startswith(("DPMSolver", "DEIS")):
        yield (
            "algorithm_type",
            f"which makes {name} draw noise in every step; must be dpmsolver++ or dpmsolver",
        )
    if sum(bool(config.get(f"use_{kind}_sigmas")) for kind in ("karras", "exponential", "beta")) > 1:
        yield "use_beta_sigmas", "must be true for one kind of sigmas alone"
    steps, betas = config.get("num_train_timesteps", 1000), config.get("trained_betas")
    if betas is not None and not (
        isinstance(betas, list) and len(betas) == steps and all(map(_is_beta, betas))
    ):
        yield "trained_betas", f"must be null or {steps} numbers between 0 and 1, one a training step"
    for key in ("beta_start", "beta_end"):
        if key in config and not _is_beta(config[key]):
            yield key, "must be a number between 0 and 1"


def even_steps(steps: int, config: Mapping[str, Any]) -> tuple[int, int] | None:
    """The nearest numbers of steps of DDIM that meet each other, below and above; None where these do.

    Trailing steps start at equal shares of the trained times, but go back by whole times: of 1,000 times and 60 steps
    by 16, where the next step starts 16.7 lower. The state is then taken for less noisy than it is, at every step anew.
    Of the handwritten digits pixels end twice as far from the limit of many steps with 60 steps as with 50, and six
    times with 150.

    Args:
        steps: their number.
        config: of a ``DDIMScheduler``.
    """
    trained = config.get("num_train_timesteps", 1000)
    if config.get("timestep_spacing", "leading") != "trailing" or not 1 <= steps <= trained:
        return None

    def meet(number: int) -> bool:
        return trained / number <= (1 + SHORT) * (trained // number)

    if meet(steps):
        return None
    below, above = (range(steps - 1, 0, -1), range(steps + 1, trained + 1))
    return next(filter(meet, below)), next(filter(meet, above))


def _is_beta(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1


# --- what a single file says ---


def said_by_file(header: Header) -> Said:
    """What a file says of its schedule, in tensors that serve as marks and in its metadata.

    Raises:
        ValueError: one line, on noise of another kind, a word that is not known, or words that contradict each other.
    """
    said: Said = {}
    for key, value, source in _statements(header):
        known, before = said.get(key, (value, source))
        if known != value:
            raise ValueError(
                f"{header.path} contradicts itself: {before} says {key} {known}, {source} {value}"
            )
        said[key] = (value, before)
    return said


def _statements(header: Header) -> Iterator[tuple[str, Any, str]]:
    for name in header.tensors:
        if name.startswith("edm_"):
            raise ValueError(
                f"{header.path} has a tensor {shown_name(name)}: its noise is that of EDM, which no sampler here has"
            )
        if name in MARKS:
            key, value = MARKS[name]
            yield key, value, f"the tensor {name}"
    metadata = header.metadata
    word = metadata.get("modelspec.prediction_type")
    if word is not None:
        if word.lower() not in PREDICTIONS:
            allowed = "epsilon or v"
            raise ValueError(
                f"{header.path} says modelspec.prediction_type {shown_name(word)}, must be {allowed}"
            )
        yield "prediction_type", PREDICTIONS[word.lower()], "modelspec.prediction_type"
    if "v2-768-v" in metadata.get("modelspec.architecture", ""):
        yield "prediction_type", "v_prediction", "modelspec.architecture"
    if (flag := _flag(header, "ss_v_parameterization")) is not None:
        yield "prediction_type", "v_prediction" if flag else "epsilon", "ss_v_parameterization"
    if (flag := _flag(header, "ss_zero_terminal_snr")) is not None:
        yield "rescale_betas_zero_snr", flag, "ss_zero_terminal_snr"


def _flag(header: Header, key: str) -> bool | None:
    word = header.metadata.get(key)
    if word in (None, "None", ""):
        return None
    if word.lower() not in ("true", "false"):
        raise ValueError(f"{header.path} says {key} {shown_name(word)}, must be True or False")
    return word.lower() == "true"


def check_agreement(header: Header, config: Mapping[str, Any], place: str | Path) -> None:
    """Refuse a scheduler's configuration that contradicts what a file of weights says.

    Args:
        header: the header of the file; also of a LoRA, which was trained on a model of the same kind.
        config: the configuration.
        place: where it stands.

    Raises:
        ValueError: one line that names both, the setting and its two values.
    """
    flow = "FlowMatch" in str(config.get("_class_name"))
    for key, (value, source) in said_by_file(header).items():
        ours = config.get(key, "epsilon" if key == "prediction_type" else False)
        if flow and value is not False:
            raise ValueError(
                f"{header.path} says {key} {value} ({source}), but the model is of flow matching"
            )
        if not flow and ours != value:
            raise ValueError(
                f"{header.path} says {key} {value} ({source}), but {place} says {ours}, must be the same"
            )
    for name, to_alphas in BUFFERS.items():
        entry = header.tensors.get(name)
        if entry is None or flow:
            continue
        expected, found = _alphas(config), np.sort(to_alphas(_numbers(header, name, entry)))[::-1]
        # Half precision knows the smallest of them, 5e-3, to 1e-3 of it, and rounds some thousand betas.
        if found.shape != expected.shape or not np.allclose(found, expected, rtol=0.02, atol=5e-4):
            raise ValueError(f"{header.path} has {name} of another noise schedule than {place}")


LARGEST_BUFFER = 8_000_000  # bytes
BUFFERS = {
    "alphas_cumprod": lambda values: values,
    "denoiser.sigmas": lambda values: 1 / (1 + values**2),
}
"""Buffers in which original files keep their schedule, and the cumulative products of 1 - beta that they stand for."""


def _numbers(header: Header, name: str, entry: TensorEntry) -> np.ndarray:
    if entry.dtype not in ("F64", "F32", "F16", "BF16"):
        raise ValueError(f"{header.path} has {name} of type {entry.dtype}, must be F64, F32, F16 or BF16")
    if len(entry.shape) != 1 or entry.stop - entry.start > LARGEST_BUFFER:
        raise ValueError(
            f"{header.path} has {name} of shape {entry.shape}, must be one number a training step"
        )
    return read_tensor(header.path, entry).astype(float)


def _alphas(config: Mapping[str, Any]) -> np.ndarray:
    """Cumulative products of 1 - beta of a noise schedule."""
    steps = config.get("num_train_timesteps", 1000)
    start, end = config.get("beta_start", 1e-4), config.get("beta_end", 0.02)
    kind = config.get("beta_schedule", "linear")
    if config.get("trained_betas") is not None:
        alphas = np.cumprod(1 - np.asarray(config["trained_betas"], float))
    elif kind == "squaredcos_cap_v2":
        time = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
        alphas = np.cumprod(1 - np.minimum(1 - time[1:] / time[:-1], 0.999))
    else:
        power = 2 if kind == "scaled_linear" else 1
        alphas = np.cumprod(1 - np.linspace(start ** (1 / power), end ** (1 / power), steps) ** power)
    if config.get("rescale_betas_zero_snr"):  # Lin et al. 2024, algorithm 1
        roots = np.sqrt(alphas)
        alphas = ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2
    return alphas
