"""How a diffusion model makes images: the settings of its sampler, prompt and precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """What turns a latent into an image beside the checkpoint.

    Attributes:
        steps: steps of the sampler.
        eta: 0 for a deterministic DDIM sampler, 1 for the most noise.
        eta_rule: what ``eta`` is a share of: ``ddim``, the deviation of DDPM's posterior, or ``renewal``, that of all
            noise that is left (``RenewalScheduler``).
        scheduler: a class of ``scheduler_names(family)``, or ``auto``: DDIM on the checkpoint's noise schedule, and for
            flow matching the checkpoint's own.
        prompt: what to draw, see ``parse_prompt``.
        negative_prompt: what classifier-free guidance leads away from, the same.
        guidance: scale ``g`` of classifier-free guidance, ``e_0 + g (e - e_0)`` of what the network says to the
            negative prompt (``e_0``) and to the prompt, none at 1; the scale itself of a network that takes it.
        clip_skip: last layers of the CLIPs that the prompt skips; None for none.
        lora: ``file`` and ``weight`` of low-rank changes of the network, merged into it in this order.
        dtype: precision, ``float32``, ``float16`` or ``bfloat16``.
        compile: whether to compile the network, at its first call.
        decode_batch_size: images that an autoencoder decodes at once.

    Raises:
        ValueError: on ``eta`` outside [0, 1].
    """

    steps: int = 50
    eta: float = 0.0
    eta_rule: str = "ddim"
    scheduler: str = "auto"
    prompt: str = ""
    negative_prompt: str = ""
    guidance: float = 1.0
    clip_skip: int | None = None
    lora: Sequence[Mapping[str, Any]] = ()
    dtype: str = "float32"
    compile: bool = False
    decode_batch_size: int = 8

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta is {self.eta}, must be between 0 and 1")


def clean_of(kind: str, output: Any, x: Any, alpha: float, sigma: float) -> Any:
    """The clean data that a network predicts at ``x = alpha x_0 + sigma z``, of arrays or tensors alike.

    Args:
        kind: what its output is: ``epsilon``, the noise; ``v_prediction``, ``alpha z - sigma x_0``; or ``sample``.
        output: of the network.
        x: the state.
        alpha: share of the data.
        sigma: share of the noise.
    """
    if kind == "v_prediction":
        return alpha * x - sigma * output
    return output if kind == "sample" else (x - sigma * output) / alpha
