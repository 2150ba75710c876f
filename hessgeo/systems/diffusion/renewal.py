"""A sampler that renews a fixed share of the noise at each step."""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler
from torch import Tensor


class RenewalScheduler(DDIMScheduler):
    r"""DDIM whose steps replace the share ``eta^2`` of what noise is left, as the code of Lobashev et al. (2025) does.

    With the predicted image ``x_0`` and noise ``eps``, and ``a`` the cumulative product of alphas at the end of the
    step,

    ``x <- sqrt(a) x_0 + sqrt(1 - a) (sqrt(1 - eta^2) eps + eta z)``, ``z ~ N(0, 1)``,

    where DDIM (Song et al. 2021, Eq. 12) adds ``eta`` times the deviation of DDPM's posterior instead. Both keep the
    marginal of every step given the clean image, and are the same at ``eta = 0``. With its prediction in its place only
    DDIM's comes to the data as steps grow: this one narrows them, see ``mixture_flow.step_noise``. At equal ``eta`` it
    adds far more noise: over the 50 steps of Stable Diffusion, 6.5 times its variance.
    """

    def _get_variance(self, timestep: int, prev_timestep: int) -> Tensor:
        """Variance of the noise at ``eta = 1``, that of all noise that is left after the step."""
        left = 1 - (self.alphas_cumprod[prev_timestep] if prev_timestep >= 0 else self.final_alpha_cumprod)
        # A deviation rounded down: the step takes its square from `left` again, which must not fall below zero.
        return torch.nextafter(left.sqrt(), torch.zeros_like(left)).square()
