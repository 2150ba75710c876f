"""Families of diffusion models: the classes of ``diffusers`` that hold them, their parts, and their samplers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hessgeo.systems.diffusion.architectures import ARCHITECTURES
from hessgeo.weights.files import read_json_object

PIPELINES = {
    "DDIMPipeline": "unconditional",
    "DDPMPipeline": "unconditional",
    "PNDMPipeline": "unconditional",
    "StableDiffusionPipeline": "stable-diffusion",
    "StableDiffusionXLPipeline": "stable-diffusion-xl",
    "StableDiffusion3Pipeline": "stable-diffusion-3",
    "FluxPipeline": "flux",
}
"""Family of each supported class of ``diffusers``."""

# What denoises, its class, and how many latent pixels each of its patches is wide.
NETWORKS = {
    "unconditional": ("unet", "UNet2DModel", 1),
    "stable-diffusion": ("unet", "UNet2DConditionModel", 1),
    "stable-diffusion-xl": ("unet", "UNet2DConditionModel", 1),
    "stable-diffusion-3": ("transformer", "SD3Transformer2DModel", 2),
    "flux": ("transformer", "FluxTransformer2DModel", 2),
}
REQUIRED = {
    "unconditional": ("scheduler",),
    "stable-diffusion": ("scheduler", "vae", "text_encoder", "tokenizer"),
    "stable-diffusion-xl": ("scheduler", "vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
    "stable-diffusion-3": ("scheduler", "vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
    "flux": ("scheduler", "vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
}
OPTIONAL = {"stable-diffusion-3": ("text_encoder_3", "tokenizer_3")}
"""Parts that a family may do without."""
TEXT_ENCODERS = ("CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel")
"""Classes of ``transformers`` that read a prompt."""
# Parts that a pipeline may name and that have no influence on an image made from a latent and a prompt.
IGNORED = ("safety_checker", "feature_extractor", "image_encoder")

# Schedulers that draw noise in every step are left out: an image must be a function of its latent, or of the noise
# that is drawn for this sample alone, as DDIM's is.
NOISE_SCHEDULERS = (
    "DDIMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)
# With which a checkpoint may come besides: their schedules are read, whichever scheduler then follows them.
NOISE_SCHEDULES = (
    *NOISE_SCHEDULERS,
    "DDIMParallelScheduler",
    "DDPMParallelScheduler",
    "DDPMScheduler",
    "DPMSolverSDEScheduler",
    "EulerAncestralDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "LCMScheduler",
    "SASolverScheduler",
    "TCDScheduler",
)
FLOW_SCHEDULERS = {
    "stable-diffusion-3": ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"),
    "flux": (
        "FlowMatchEulerDiscreteScheduler",
    ),  # whose time shift the pipeline sets, which Heun's cannot take
}


@dataclass(frozen=True)
class Checkpoint:
    """A diffusion model in local files.

    Attributes:
        path: its folder or file.
        family: ``unconditional``, ``stable-diffusion`` (1.x and 2.x), ``stable-diffusion-xl``,
            ``stable-diffusion-3`` or ``flux``.
        latent_shape: (channels, height, width) of a latent; of Flux before packing.
        image_shape: (height, width, channels) of an image.
        files: every file that is read to load it.
        config: folder of the configurations that a single file lacks, if one is given.
        flow: whether it is trained by flow matching, not to predict noise.
        architecture: one of ``ARCHITECTURES`` for a single file without ``config``.
        variant: the variant of the weights in a folder, such as ``fp16``, where there are no others.
        schedule: settings of the scheduler that a single file without ``config`` states itself.
    """

    path: Path
    family: str
    latent_shape: tuple[int, int, int]
    image_shape: tuple[int, int, int]
    files: tuple[Path, ...]
    config: Path | None = None
    flow: bool = False
    architecture: str | None = None
    variant: str | None = None
    schedule: tuple[tuple[str, Any], ...] = ()

    @property
    def network(self) -> str:
        """Name of the part that denoises, ``unet`` or ``transformer``."""
        return NETWORKS[self.family][0]

    @property
    def pipeline(self) -> str:
        """Name of the class of ``diffusers``."""
        return next(kind for kind, family in PIPELINES.items() if family == self.family)

    def configuration(self, part: str) -> dict[str, Any]:
        """Configuration of a part, such as ``unet`` or ``scheduler``; empty where there is no such part.

        Raises:
            ValueError: one line, if it is not valid JSON.
        """
        if self.architecture:
            stated = dict(self.schedule) if part == "scheduler" else {}
            return ARCHITECTURES[self.architecture].get(part, {}) | stated
        file = "scheduler_config.json" if part == "scheduler" else "config.json"
        path = part_folder(self.config or self.path, part) / file
        return read_json_object(path) if path.is_file() else {}


def part_folder(folder: Path, part: str) -> Path:
    """Where a part of a pipeline folder lies: in a folder of its name, or in the root.

    There the first pipelines (``google/ddpm-cifar10-32``, say) have ``config.json`` and the weights of their one
    network, and ``scheduler_config.json``.
    """
    is_old = (
        part in ("unet", "scheduler") and (folder / "config.json").is_file() and not (folder / part).is_dir()
    )
    return folder if is_old else folder / part


def scheduler_names(family: str) -> tuple[str, ...]:
    """Names of the scheduler classes of ``diffusers`` that a family can follow.

    Raises:
        ValueError: on an unknown family.
    """
    if family not in NETWORKS:
        raise ValueError(f"family is {family!r}, must be one of {', '.join(NETWORKS)}")
    return FLOW_SCHEDULERS.get(family, NOISE_SCHEDULERS)
