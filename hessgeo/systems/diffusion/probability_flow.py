"""What a deterministic sampler tends to as its steps become many: the ODE of the probability flow.

A step of DDIM (Song et al. 2021) goes from ``x = cos(phi) x_0 + sin(phi) e``, with ``cos(phi)^2`` the schedule's
product of alphas, to the same sum at the next angle, of the clean image ``x_0`` and the noise ``e`` that the network
predicts. Ever more steps follow ``dx / dphi = cos(phi) e - sin(phi) x_0``. To the network time is a number; between
those it was trained at an angle has one, too.

A scheduler that clips ``x_0`` and keeps ``e`` does not tend to this: however short its step is, it moves the state by
``cos(phi)`` times what was clipped, so that more steps push more. The limit here is the network's, without clipping.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from torch import Tensor

from hessgeo.numerics.extrapolation import common_times, follow
from hessgeo.systems.diffusion.denoisers import Denoiser
from hessgeo.systems.diffusion.sampler import clean_of

TOLERANCE = 1e-4  # of the error of a step in a pixel of range two
# Order six. Networks see a time by its sines, the fastest of a period of 2 pi of the schedule's thousand: a step longer
# than a few times gains nothing from a higher order.
PIECES = (2, 4, 6)


class ProbabilityFlow:
    """A network of pixels followed by an adaptive solver, all latents on the same steps.

    Args:
        denoiser: the network with its scheduler, ``DDIMScheduler`` without noise.
        typical: latents that the steps are chosen for.
        tolerance: of the error of a step.

    Raises:
        ValueError: on a sampler of another kind, or one that draws noise.
    """

    def __init__(
        self, denoiser: Denoiser, typical: Float[np.ndarray, "m c h w"], *, tolerance: float = TOLERANCE
    ) -> None:
        kind = type(denoiser.scheduler).__name__
        if kind != "DDIMScheduler" or denoiser.eta > 0:
            noise = f" with eta {denoiser.eta}" if denoiser.eta > 0 else ""
            raise ValueError(
                f"the sampler is {kind}{noise}, must be DDIMScheduler without noise to have this limit"
            )
        self.denoiser, self.typical, self.tolerance = (
            denoiser,
            np.asarray(typical, dtype=np.float64),
            tolerance,
        )

    def denoise(self, latents: Float[Tensor, "n c h w"], *, noise: Any = None) -> Float[Tensor, "n c h w"]:
        """Clean latents of standard normal ones, in the network's precision; no ``noise`` is drawn."""
        start = latents.double().cpu().numpy().reshape(len(latents), -1)
        state, _ = follow(self._field, start, self.angles, pieces=PIECES)
        clean, noise = self._predicted(state, self.angles[-1])
        last = float(self.denoiser.scheduler.final_alpha_cumprod)
        ended = np.sqrt(last) * clean + np.sqrt(1 - last) * noise
        return torch.from_numpy(ended.reshape(latents.shape)).to(self.denoiser.dtype)

    @cached_property
    def angles(self) -> Float[np.ndarray, "k"]:
        """The angles between which a step is made, from the noisiest to the cleanest of the schedule."""
        start = self.typical.reshape(len(self.typical), -1)
        begin, end = self._trained[-1], self._trained[0]
        return common_times(self._field, start, begin, end, tolerance=self.tolerance, pieces=PIECES)

    @cached_property
    def _trained(self) -> Float[np.ndarray, "t"]:
        """The angle of each time of the schedule, rising."""
        return np.arccos(np.sqrt(self.denoiser.scheduler.alphas_cumprod.double().numpy()))

    @cached_property
    def _time(self) -> CubicSpline:
        """The time of an angle."""
        return CubicSpline(self._trained, np.arange(len(self._trained)))

    def _field(self, angle: Float[np.ndarray, "n"], state: Float[np.ndarray, "n m"]) -> np.ndarray:
        clean, noise = self._predicted(state, angle[0])
        return np.cos(angle[0]) * noise - np.sin(angle[0]) * clean

    @torch.inference_mode()
    def _predicted(
        self, state: Float[np.ndarray, "n m"], angle: float
    ) -> tuple[Float[np.ndarray, "n m"], Float[np.ndarray, "n m"]]:
        """Clean image and noise that the network predicts."""
        network: Any = self.denoiser.network
        shape, kind = (
            (len(state), *self.denoiser.latent_shape),
            self.denoiser.scheduler.config.prediction_type,
        )
        x = torch.from_numpy(state.reshape(shape)).to(self.denoiser.device, self.denoiser.dtype)
        time = torch.tensor(float(self._time(angle)), dtype=torch.float64, device=x.device)
        output = network(x, time, return_dict=False)[0].double().cpu().numpy().reshape(state.shape)
        alpha, sigma = np.cos(angle), np.sin(angle)
        clean = clean_of(kind, output, state, alpha, sigma)
        return clean, output if kind == "epsilon" else (state - alpha * clean) / sigma
