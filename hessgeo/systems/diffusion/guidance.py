"""What the scale of guidance does in each kind of model, and what is refused where it does nothing.

Neither torch nor diffusers is imported: this is asked whenever settings are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def guidance_kind(pipeline: str, network: Mapping[str, Any]) -> str:
    """What guides a pipeline of ``diffusers``.

    Args:
        pipeline: name of its class.
        network: configuration of its network.

    Returns:
        ``free`` for classifier-free guidance, ``input`` where the network takes the scale as an input (it was
        distilled from guided ones), ``none`` where there is neither.
    """
    if pipeline == "FluxPipeline":
        return "input" if network.get("guidance_embeds") else "none"
    if not pipeline.startswith("StableDiffusion"):
        return "none"
    return "input" if network.get("time_cond_proj_dim") else "free"


def guidance_errors(kind: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys of ``prompt``, ``negative_prompt`` and ``guidance`` that would do nothing, each with what is allowed.

    Args:
        kind: see ``guidance_kind``.
        settings: of the system of a study.
    """
    guidance, negative = settings["guidance"], settings["negative_prompt"]
    if kind == "none" and guidance != 1:
        yield "guidance", "1.0 for a model without guidance"
    if negative and kind != "free":
        yield (
            "negative_prompt",
            "empty for a model without classifier-free guidance, which has no use for one",
        )
    elif negative and guidance == 1:
        yield "negative_prompt", f"empty where system.guidance is {guidance}, which leaves it out"
    if settings["prompt"] and kind == "free" and guidance == 0:
        yield "prompt", "empty where system.guidance is 0, which leaves it out"


def guided_below_one(pipeline: type) -> type:
    """A pipeline class of ``diffusers`` whose classifier-free guidance is off at a scale of 1 alone.

    The stock classes take every scale below 1 for 1.
    """
    if not hasattr(pipeline, "do_classifier_free_guidance"):
        return pipeline

    def guided(self: Any) -> bool:
        network = getattr(self, "unet", None) or self.transformer
        # A scale for each image, a tensor, guides even where one of them is 1.
        one = isinstance(self.guidance_scale, int | float) and self.guidance_scale == 1
        return not one and guidance_kind(pipeline.__name__, network.config) == "free"

    return type(pipeline.__name__, (pipeline,), {"do_classifier_free_guidance": property(guided)})
