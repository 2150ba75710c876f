"""Load the pipeline of a diffusion checkpoint from local files; nothing is ever downloaded or unpickled."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hessgeo.own_folder import own_folder
from hessgeo.systems.architectures import ARCHITECTURES, write_configuration
from hessgeo.systems.families import PIPELINES, Checkpoint, scheduler_names
from hessgeo.weights import tensor_shapes

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline, SchedulerMixin

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
# One of the two matrices of each layer, as diffusers, peft and kohya name them.
LORA_LAYER = re.compile(r"lora\d?[._](A|down)(\.default)?\.weight$")
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
    checkpoint: Checkpoint,
    *,
    scheduler: str = "auto",
    loras: Sequence[Mapping[str, Any]] = (),
    dtype: str = "float32",
    device: str | torch.device = "cpu",
    compile: bool = False,
) -> DiffusionPipeline:
    """Load a checkpoint as the pipeline of ``diffusers`` that it is, ready to draw images.

    Args:
        checkpoint: as ``describe_checkpoint`` found it.
        scheduler: a class of ``scheduler_names(family)``, or ``auto``: DDIM on the checkpoint's noise schedule,
            and for flow matching the checkpoint's own.
        loras: ``file`` and ``weight`` of low-rank changes of the network, merged into it in this order.
        dtype: ``float32``, ``float16`` or ``bfloat16``.
        device: where to run.
        compile: whether to compile the network, at its first call.

    Returns:
        A pipeline in evaluation mode without gradients or progress bar; an unconditional one is a
        ``DDIMPipeline`` with ``unet`` and ``scheduler``, whatever the class of the scheduler.

    Raises:
        ValueError: one line, on weights that are incomplete or do not fit their configuration, a scheduler that
            the checkpoint cannot follow, an unknown dtype or a LoRA that does not fit.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}, must be one of {', '.join(DTYPES)}")
    with _quiet():
        pipeline = _load(checkpoint, make_scheduler(checkpoint, scheduler), DTYPES[dtype])
        _check_complete(pipeline, checkpoint)
        for lora in loras:
            _merge_lora(pipeline, checkpoint, Path(lora["file"]), float(lora["weight"]))
        pipeline.to(device)
    pipeline.set_progress_bar_config(disable=True)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval().requires_grad_(False)
    if compile:
        # By default torch keeps compiled code, which it runs, in a shared folder under a name that can be guessed.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(own_folder() / "torchinductor"))
        getattr(pipeline, checkpoint.network).compile()
    return pipeline


def make_scheduler(checkpoint: Checkpoint, name: str = "auto") -> SchedulerMixin:
    """A scheduler of ``diffusers`` on the noise schedule of a checkpoint.

    Args:
        checkpoint: the checkpoint.
        name: as ``scheduler`` of ``load_pipeline``.

    Raises:
        ValueError: on a scheduler that the checkpoint cannot follow.
    """
    import diffusers

    allowed = scheduler_names(checkpoint.family)
    if name not in ("auto", *allowed):
        raise ValueError(f"scheduler is {name!r}, must be auto or one of {', '.join(allowed)}")
    if checkpoint.architecture:
        config = ARCHITECTURES[checkpoint.architecture]["scheduler"]
    else:
        folder = checkpoint.config or checkpoint.path
        config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    if name == "auto":
        name = config["_class_name"] if checkpoint.flow else "DDIMScheduler"
    # Latents of an autoencoder have no bounds to be clipped to, which not every file says.
    latent = not checkpoint.flow and checkpoint.family != "unconditional"
    changes = {"clip_sample": False} if latent else {}
    # Its noise would be that of a batch, not of a sample.
    changes |= {"stochastic_sampling": False} if checkpoint.flow else {}
    # The first steps of PNDM as Stable Diffusion takes them, which any number of steps allows.
    changes |= {"skip_prk_steps": True} if name == "PNDMScheduler" else {}
    # Without, the scheduler changes this by itself, with a warning.
    changes |= {"lower_order_final": True} if name == "DPMSolverSinglestepScheduler" else {}
    return getattr(diffusers, name).from_config(config, **changes)


def _load(checkpoint: Checkpoint, scheduler: SchedulerMixin, dtype: torch.dtype) -> DiffusionPipeline:
    try:
        if checkpoint.family == "unconditional":
            return _load_unconditional(checkpoint, scheduler, dtype)
        if checkpoint.path.is_dir():
            return _load_folder(checkpoint.path, checkpoint, dtype, scheduler=scheduler)
        return _load_file(checkpoint, scheduler, dtype)
    except torch.OutOfMemoryError:
        raise
    # What diffusers, transformers and safetensors raise on files that do not fit together.
    except (ValueError, RuntimeError, OSError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{checkpoint.path} has weights or settings that do not fit: {_one_line(error)}"
        ) from error


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else f"{text[:200]}..."


def _load_unconditional(
    checkpoint: Checkpoint, scheduler: SchedulerMixin, dtype: torch.dtype
) -> DiffusionPipeline:
    import diffusers

    unet = diffusers.UNet2DModel.from_pretrained(
        checkpoint.path / "unet",
        variant=checkpoint.variant,
        dtype=dtype,
        use_safetensors=True,
        local_files_only=True,
    )
    pipeline = diffusers.DDIMPipeline(unet, scheduler)
    pipeline.scheduler = scheduler  # which the pipeline has made a DDIMScheduler of
    return pipeline


def _load_folder(folder: Path, checkpoint: Checkpoint, dtype: torch.dtype, **parts: Any) -> DiffusionPipeline:
    return _pipeline_class(checkpoint).from_pretrained(
        folder,
        variant=checkpoint.variant,
        dtype=dtype,
        use_safetensors=True,
        local_files_only=True,
        **ABSENT[checkpoint.family],
        **parts,
    )


def _load_file(checkpoint: Checkpoint, scheduler: SchedulerMixin, dtype: torch.dtype) -> DiffusionPipeline:
    """Load a single file; the transformer of Stable Diffusion 3 and Flux takes the other parts from ``config``."""
    import diffusers

    options = {"dtype": dtype, "local_files_only": True}
    if checkpoint.flow:
        flux = checkpoint.family == "flux"
        kind = diffusers.FluxTransformer2DModel if flux else diffusers.SD3Transformer2DModel
        file, config = str(checkpoint.path), str(checkpoint.config)
        transformer = kind.from_single_file(file, config=config, subfolder="transformer", **options)
        parts = {"transformer": transformer, "scheduler": scheduler}
        return _load_folder(Path(config), checkpoint, dtype, **parts)
    with tempfile.TemporaryDirectory() as made:
        folder = checkpoint.config or write_configuration(str(checkpoint.architecture), made)
        return _pipeline_class(checkpoint).from_single_file(
            str(checkpoint.path),
            config=str(folder),
            scheduler=scheduler,
            **options,
            **ABSENT[checkpoint.family],
        )


def _pipeline_class(checkpoint: Checkpoint) -> type[DiffusionPipeline]:
    import diffusers

    return getattr(diffusers, next(kind for kind, family in PIPELINES.items() if family == checkpoint.family))


def _check_complete(pipeline: DiffusionPipeline, checkpoint: Checkpoint) -> None:
    """Refuse weights that lack some of a network: its loaders may only warn, and leave random numbers there."""
    for name, part in pipeline.components.items():
        if not isinstance(part, torch.nn.Module):
            continue
        parameters = dict(part.named_parameters())
        empty = [key for key, value in parameters.items() if value.is_meta]
        folder = (
            checkpoint.path if checkpoint.path.is_dir() else checkpoint.config or checkpoint.path
        ) / name
        files = [file for file in checkpoint.files if file.parent == folder and file.suffix == ".safetensors"]
        shapes = [shape for file in files for shape in tensor_shapes(file).values()]
        held, needed = sum(map(_numel, shapes)), sum(value.numel() for value in parameters.values())
        if empty or (files and held < needed):
            what = f"such as {empty[0]}" if empty else f"{held} numbers of {needed}"
            raise ValueError(f"{checkpoint.path} does not hold all weights of its {name}: {what}")


def _numel(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())


def _merge_lora(pipeline: DiffusionPipeline, checkpoint: Checkpoint, file: Path, weight: float) -> None:
    shapes = tensor_shapes(file)
    if checkpoint.family == "unconditional":
        raise ValueError(f"{file} is for a text-to-image model, {checkpoint.path} is unconditional")
    try:
        pipeline.load_lora_weights(str(file.parent), weight_name=file.name, local_files_only=True)
    except (RuntimeError, ValueError, KeyError) as error:
        raise ValueError(f"{file} does not fit {checkpoint.path}: {_one_line(error)}") from error
    # Layers that do not fit are only warned of. (One of a fused projection becomes three.)
    parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    merged = sum(".lora_A." in name for part in parts for name in part.state_dict())
    held = sum(LORA_LAYER.search(name) is not None for name in shapes)
    if merged == 0 or merged < held:
        raise ValueError(f"{file} does not fit {checkpoint.path}: {merged} of its {held} layers are there")
    pipeline.fuse_lora(lora_scale=weight)
    pipeline.unload_lora_weights()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence progress bars and warnings of diffusers and transformers; what matters is checked here."""
    import diffusers.utils.logging
    import transformers.utils.logging

    libraries = (diffusers.utils.logging, transformers.utils.logging)
    states = [(library, library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]
    try:
        for library in libraries:
            library.set_verbosity_error()
            library.disable_progress_bar()
        yield
    finally:
        for library, verbosity, bars in states:
            library.set_verbosity(verbosity)
            if bars:
                library.enable_progress_bar()
