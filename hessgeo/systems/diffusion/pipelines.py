"""Load the pipeline of a diffusion checkpoint from local files; nothing is ever downloaded or unpickled."""

from __future__ import annotations

import logging
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hessgeo.systems.diffusion.architectures import write_configuration
from hessgeo.systems.diffusion.families import Checkpoint, scheduler_names
from hessgeo.systems.diffusion.folders import parts_with_weights, read_index
from hessgeo.systems.diffusion.merging import merge_lora
from hessgeo.systems.diffusion.networks import load_file_parts, load_folder_part
from hessgeo.systems.diffusion.sampler import Sampler
from hessgeo.systems.diffusion.schedules import check_schedule
from hessgeo.weights.own_folder import own_folder
from hessgeo.weights.precisions import precision_of

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline, SchedulerMixin

# Parts that change no image, which a pipeline would otherwise load or warn of.
ABSENT: dict[str, dict[str, Any]] = {
    "stable-diffusion": {
        "safety_checker": None,
        "feature_extractor": None,
        "image_encoder": None,
        "requires_safety_checker": False,
    },
    "stable-diffusion-xl": {"feature_extractor": None, "image_encoder": None, "add_watermarker": False},
    "stable-diffusion-3": {"feature_extractor": None, "image_encoder": None},
    "flux": {"feature_extractor": None, "image_encoder": None},
}


def load_pipeline(
    checkpoint: Checkpoint, sampler: Sampler | None = None, *, device: str | torch.device = "cpu"
) -> DiffusionPipeline:
    """Load a checkpoint as the pipeline of ``diffusers`` that it is, ready to draw images.

    Args:
        checkpoint: as ``describe_checkpoint`` found it.
        sampler: its scheduler, LoRAs and precision, and whether to compile; the defaults of ``Sampler`` if None.
        device: where to run.

    Returns:
        A pipeline in evaluation mode without gradients or progress bar; an unconditional one is a
        ``DDIMPipeline`` with ``unet`` and ``scheduler``, whatever the class of the scheduler.

    Raises:
        ValueError: one line, on weights that are incomplete or do not fit their configuration, a scheduler that
            the checkpoint cannot follow, an unknown dtype or a LoRA that does not fit.
    """
    sampler = sampler or Sampler()
    precision = precision_of(sampler.dtype)
    with _heard(checkpoint.path):
        pipeline = _load(checkpoint, make_scheduler(checkpoint, sampler.scheduler), precision)
        for lora in sampler.lora:
            merge_lora(pipeline, checkpoint, lora["file"], float(lora["weight"]))
        pipeline.to(device)
    pipeline.set_progress_bar_config(disable=True)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval().requires_grad_(False)
    if sampler.compile:
        # By default torch keeps compiled code, which it runs, in a shared folder under a name that can be guessed.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(own_folder() / "torchinductor"))
        getattr(pipeline, checkpoint.network).compile()
    return pipeline


def make_scheduler(checkpoint: Checkpoint, name: str = "auto") -> SchedulerMixin:
    """A scheduler of ``diffusers`` on the noise schedule of a checkpoint.

    Args:
        checkpoint: the checkpoint.
        name: as ``scheduler`` of ``Sampler``.

    Raises:
        ValueError: on a scheduler that the checkpoint cannot follow, see ``check_schedule``.
    """
    import diffusers

    allowed = scheduler_names(checkpoint.family)
    if name not in ("auto", *allowed):
        raise ValueError(f"scheduler is {name!r}, must be auto or one of {', '.join(allowed)}")
    check_schedule(checkpoint, name)
    config = checkpoint.configuration("scheduler")
    if name == "auto":
        name = config["_class_name"] if checkpoint.flow else "DDIMScheduler"
    # Latents of an autoencoder have no bounds to be clipped to, which not every file says.
    latent = not checkpoint.flow and checkpoint.family != "unconditional"
    changes = {"clip_sample": False} if latent else {}
    # The first steps of PNDM as Stable Diffusion takes them, which any number of steps allows.
    changes |= {"skip_prk_steps": True} if name == "PNDMScheduler" else {}
    # Without, the scheduler changes this by itself, with a warning.
    changes |= {"lower_order_final": True} if name == "DPMSolverSinglestepScheduler" else {}
    try:
        return getattr(diffusers, name).from_config(config, **changes)
    except (ValueError, NotImplementedError, TypeError, ImportError) as error:
        raise ValueError(
            f"{checkpoint.path} has a schedule that {name} cannot follow: {_one_line(error)}"
        ) from error


def _load(checkpoint: Checkpoint, scheduler: SchedulerMixin, dtype: torch.dtype) -> DiffusionPipeline:
    try:
        if checkpoint.path.is_dir():
            return _assemble(checkpoint, checkpoint.path, {}, scheduler, dtype)
        with tempfile.TemporaryDirectory() as made:
            folder = checkpoint.config or write_configuration(str(checkpoint.architecture), made)
            parts = load_file_parts(checkpoint, folder, dtype)
            return _assemble(checkpoint, folder, parts, scheduler, dtype)
    except torch.OutOfMemoryError:
        raise
    # What diffusers, transformers and safetensors raise on files that do not fit together.
    except (ValueError, RuntimeError, OSError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{checkpoint.path} has weights or settings that do not fit: {_one_line(error)}"
        ) from error


def _one_line(error: object) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]}..."


def _assemble(
    checkpoint: Checkpoint,
    folder: Path,
    parts: Mapping[str, torch.nn.Module],
    scheduler: SchedulerMixin,
    dtype: torch.dtype,
) -> DiffusionPipeline:
    """A pipeline of networks from a single file, of the others from a folder, and of the folder's tokenizers."""
    import diffusers

    names = parts_with_weights(read_index(folder)[1])
    parts = dict(parts) | {
        name: load_folder_part(checkpoint, folder, name, dtype) for name in names if name not in parts
    }
    if checkpoint.family == "unconditional":
        pipeline = diffusers.DDIMPipeline(parts["unet"], scheduler)
        pipeline.scheduler = scheduler  # which the pipeline has made a DDIMScheduler of
        return pipeline
    return getattr(diffusers, checkpoint.pipeline).from_pretrained(
        folder, scheduler=scheduler, local_files_only=True, **parts, **ABSENT[checkpoint.family]
    )


# Warnings of loaders that say that a file and its network do not fit.
MISFIT = re.compile(
    r"unexpected|missing|not used|newly initialized|mismatch|ignor|not expected|unsupported|incompatible|filter out"
    r"|not found|no LoRA keys|will be (dropped|replaced)",
    re.IGNORECASE,
)
# Where they are raised, when they are not logged.
OF_LOADERS = re.compile(r"[/\\](diffusers|transformers|peft|accelerate)[/\\]")
# But these are of samplers, whose settings check_schedule reads, and of what tokenizers say of themselves.
OF_NO_WEIGHT = re.compile(r"Scheduler|Tokenizer|pad_token|safety_checker|feature_extractor|image_encoder")


class _Ear(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self.heard.append(record.getMessage())


@contextmanager
def _heard(path: Path) -> Iterator[None]:
    """Read what loaders warn of, in place of printing it, and refuse files that do not fit their networks.

    Raises:
        ValueError: one line with the first such warning.
    """
    import diffusers.utils.logging
    import transformers.utils.logging

    ear, libraries = _Ear(), (diffusers.utils.logging, transformers.utils.logging)
    bars = [library.is_progress_bar_enabled() for library in libraries]
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers", "peft")]
    states = [(logger, logger.handlers, logger.level, logger.propagate) for logger in loggers]
    try:
        for library in libraries:
            library.disable_progress_bar()
        for logger in loggers:
            logger.handlers, logger.propagate = [ear], False
            logger.setLevel(logging.WARNING)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield
    finally:
        for logger, handlers, level, propagate in states:
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)
        for library, enabled in zip(libraries, bars, strict=True):
            if enabled:
                library.enable_progress_bar()
    for warning in warned:
        if OF_LOADERS.search(warning.filename):
            ear.heard.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    for message in ear.heard:
        if MISFIT.search(message) and not OF_NO_WEIGHT.search(message):
            raise ValueError(f"{path} was loaded with a warning: {_one_line(message)}")
