"""What a sampler believes on its way: at every step its state, and the clean image that it predicts from there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, UInt8
from torch import Tensor

from hessgeo.systems.diffusion.sampler import clean_of
from hessgeo.systems.diffusion.system import DiffusionSystem

if TYPE_CHECKING:
    from hessgeo.systems.slices import LatentSlice

# Schedulers whose steps say what clean image they head for; the others are refused by the checks.
RECORDED = ("DDIMScheduler", "RenewalScheduler", "FlowMatchEulerDiscreteScheduler")


@dataclass(frozen=True)
class Recording:
    """Images with what the sampler predicted before they were done.

    Attributes:
        images: as ``DiffusionSystem.sample`` makes them, to the bit.
        predictions: the predicted clean image at each step that was asked for, decoded as the images are.
        trajectory: the state of the sampler at that step, and the clean latent that the model predicts from it, before
            anything is clipped.
        signal: ``alpha`` of the state ``x = alpha x_0 + sigma z`` at each step.
        noise: ``sigma``.
    """

    images: UInt8[np.ndarray, "n h w c"]
    predictions: UInt8[np.ndarray, "n k h w c"]
    trajectory: Float32[np.ndarray, "n k 2 *latent"]
    signal: Float[np.ndarray, "k"]
    noise: Float[np.ndarray, "k"]


class RecordingScheduler:
    """A scheduler that notes the state and the predicted clean latent of its steps, and changes nothing.

    Of what the model says at ``x = alpha x_0 + sigma z`` the clean latent is ``(x - sigma eps) / alpha`` (noise),
    ``alpha x - sigma v`` (velocity), or the output itself; of flow matching, ``x - sigma v``. It is used in place of a
    pipeline's own scheduler, so that prompt and guidance count in the prediction as they do in the step.

    Args:
        scheduler: one of ``RECORDED``.
        steps: numbers of the steps to note, from 1.

    Raises:
        ValueError: on another scheduler.
    """

    def __init__(self, scheduler: Any, steps: Sequence[int]) -> None:
        if type(scheduler).__name__ not in RECORDED:
            allowed = ", ".join(RECORDED)
            raise ValueError(
                f"scheduler {type(scheduler).__name__} predicts no clean image, must be one of {allowed}"
            )
        self._own, self._wanted = scheduler, frozenset(steps)

        # Pipelines look which arguments a step takes.
        @wraps(scheduler.step)
        def step(model_output: Tensor, timestep: Any, sample: Tensor, *rest: Any, **options: Any) -> Any:
            self._note(model_output, timestep, sample)
            return scheduler.step(model_output, timestep, sample, *rest, **options)

        self.step = step
        self.begin()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def begin(self) -> None:
        """Forget what was noted."""
        self.states: list[Tensor] = []
        self.clean: list[Tensor] = []
        self.levels: list[tuple[float, float]] = []
        self._calls = 0

    def _note(self, output: Tensor, timestep: Any, sample: Tensor) -> None:
        self._calls += 1
        if self._calls in self._wanted:
            alpha, sigma = self._level(timestep)
            self.levels.append((alpha, sigma))
            self.states.append(sample.float())
            self.clean.append(self._clean(output.float(), sample.float(), alpha, sigma))

    def _level(self, timestep: Any) -> tuple[float, float]:
        """``alpha`` and ``sigma`` of the state that a step starts from."""
        if type(self._own).__name__ == "FlowMatchEulerDiscreteScheduler":
            sigma = float(self._own.sigmas[self._calls - 1])
            return 1 - sigma, sigma
        squared = float(self._own.alphas_cumprod[int(timestep)])
        return squared**0.5, (1 - squared) ** 0.5

    def _clean(self, output: Tensor, x: Tensor, alpha: float, sigma: float) -> Tensor:
        if type(self._own).__name__ == "FlowMatchEulerDiscreteScheduler":
            return x - sigma * output
        return clean_of(self._own.config.prediction_type, output, x, alpha, sigma)


class RecordedSystem(DiffusionSystem):
    """A diffusion model on a slice whose samples come with what was predicted on the way.

    Args:
        system: the model as it makes the samples: the same batches, and so the same rounding.
        steps: numbers of the steps to note, from 1, in rising order.

    Raises:
        ValueError: as ``RecordingScheduler``, or on a step that the sampler does not take.
    """

    def __init__(self, system: DiffusionSystem, steps: Sequence[int]) -> None:
        plane: LatentSlice = system.latent_slice
        super().__init__(system.denoiser, plane, batch_size=system.batch_size)
        if (
            not steps
            or sorted(set(steps)) != list(steps)
            or not 1 <= steps[0] <= steps[-1] <= self.denoiser.steps
        ):
            allowed = f"rising numbers from 1 to the {self.denoiser.steps} steps of the sampler"
            raise ValueError(f"steps is {list(steps)}, must be {allowed}")
        self.steps = tuple(steps)
        self.scheduler = RecordingScheduler(self.denoiser.scheduler, self.steps)

    @torch.inference_mode()
    def record(self, t: Float[np.ndarray, "n d"], index: Int[np.ndarray, "n"], seed: int) -> Recording:
        """Draw one image at each parameter point with its history; arguments and randomness as of ``sample``."""
        count, shape = len(self.steps), self.denoiser.latent_shape
        images = np.empty((len(t), *self.sample_shape), np.uint8)
        predictions = np.empty((len(t), count, *self.sample_shape), np.uint8)
        trajectory = np.empty((len(t), count, 2, *shape), np.float32)
        for rows in self._batches(self.latent_slice.conditions(t), len(t)):
            padded, kept = np.resize(rows, self.batch_size), len(rows)
            self.scheduler.begin()
            images[rows] = self._images(t[padded], index[padded], seed)[:kept]
            for k, (state, clean) in enumerate(zip(self.scheduler.states, self.scheduler.clean, strict=True)):
                state, clean = self._unpacked(state[:kept]), self._unpacked(clean[:kept])
                predictions[rows, k] = self.denoiser.decode(clean)
                trajectory[rows, k] = torch.stack([state, clean], dim=1).cpu().numpy()
        signal, noise = np.array(self.scheduler.levels).T
        return Recording(images, predictions, trajectory, signal, noise)

    def _unpacked(self, x: Tensor) -> Tensor:
        """Latents in the shape of the slice, which a pipeline may have packed."""
        if not getattr(self.denoiser, "packed", False):
            return x
        pipeline: Any = self.denoiser.pipeline  # type: ignore[attr-defined]
        height, width = self.denoiser.image_shape[:2]
        return pipeline._unpack_latents(x, height, width, pipeline.vae_scale_factor)


def joined(parts: Iterable[Recording]) -> Recording:
    """Recordings of one sampler, one after the other."""
    parts = list(parts)
    arrays = ("images", "predictions", "trajectory")
    return replace(
        parts[0], **{name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays}
    )


def check_same_images(
    made: UInt8[np.ndarray, "n h w c"], stored: UInt8[np.ndarray, "n h w c"], place: str
) -> None:
    """Refuse a history of other images than those in the store.

    Raises:
        ArithmeticError: one line, if a pixel differs.
    """
    if different := int((made != stored).any(axis=(1, 2, 3)).sum()):
        most = int(np.abs(made.astype(int) - stored).max())
        raise ArithmeticError(
            f"{different} of {len(made)} images of {place} came out otherwise when sampled again, by up to {most} of "
            "255: predictions can only be kept where the samples were made, on the same device with the same versions"
        )
