"""What a diffusion checkpoint in local files holds, from its configurations and headers alone.

Neither torch nor diffusers is imported: this runs whenever settings are read.
"""

from __future__ import annotations

from pathlib import Path

from hessgeo.systems.diffusion.families import PIPELINES, Checkpoint, scheduler_names
from hessgeo.systems.diffusion.folders import describe_folder
from hessgeo.systems.diffusion.single_files import describe_file
from hessgeo.weights.files import check_file

__all__ = ["PIPELINES", "Checkpoint", "describe_checkpoint", "scheduler_names"]


def describe_checkpoint(
    path: str | Path, *, config: str | Path | None = None, size: tuple[int, int] | None = None
) -> Checkpoint:
    """Describe a diffusion model in local files, without reading its weights.

    Args:
        path: a pipeline folder of ``diffusers``, or a checkpoint in one safetensors file in the original layout.
        config: for a single file, the folder of configurations and tokenizers; a single Stable Diffusion 3 or
            Flux file replaces the transformer of the whole pipeline in that folder.
        size: (height, width) of the images in pixels; the size that the model was trained at if None.

    Raises:
        ValueError: one line that names the path and says what is wrong with it and what would be allowed.
    """
    path = Path(path)
    if path.is_dir():
        if config is not None:
            raise ValueError(
                f"config is {config}, must be null: {path} is a folder with its own configuration"
            )
        return describe_folder(path, size)
    check_file(path, "a pipeline folder of diffusers or a .safetensors file")
    return describe_file(path, None if config is None else Path(config), size)
