"""A small diffusion model of the digits, in the classes of ``diffusers``."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel
from jaxtyping import Float
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from hessgeo.models.digits import Digits
from hessgeo.numerics.training import descend, drawn, seeded


def build_unet(channels: Sequence[int]) -> UNet2DModel:
    """A U-Net for 8 x 8 grey images: one level per entry of ``channels``, one-headed self-attention on the last.

    Raises:
        ValueError: if there are more than three levels (8 x 8 halves three times) or a width is not a
            multiple of 8, the number of normalisation groups.
    """
    levels = len(channels)
    if not 1 <= levels <= 3 or any(width % 8 for width in channels):
        raise ValueError(f"channels is {list(channels)}, must be one to three multiples of 8")
    return UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=tuple(channels),
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * (levels - 1) + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * (levels - 1),
        attention_head_dim=channels[-1],
        norm_num_groups=8,
    )


def build_scheduler() -> DDIMScheduler:
    """The noise schedule: cosine, with the velocity as the network's target.

    Velocity ``v = sqrt(abar) noise - sqrt(1 - abar) x`` keeps the first step of a deterministic sampler
    finite, where the noise target divides by ``sqrt(abar)``, 5e-5 at the end of the cosine schedule. Steps
    are counted from the last time down (``trailing``), so that sampling starts from pure noise.
    """
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=True,
    )


def velocity_loss(
    unet: UNet2DModel, scheduler: DDIMScheduler, x: Float[Tensor, "n 1 8 8"], generator: torch.Generator
) -> Float[Tensor, ""]:
    """Mean squared error of the predicted velocity at random times.

    The times are stratified, one in each of ``n`` equal slices of the schedule: the same expectation as
    independent draws at a lower variance.

    Args:
        unet: the network.
        scheduler: its noise schedule.
        x: clean images in [-1, 1].
        generator: source of times and noise, on the CPU whatever the device.
    """
    n, last = len(x), scheduler.config.num_train_timesteps
    offsets = torch.rand(n, generator=generator)
    times = ((torch.arange(n) + offsets) / n * last).long().clamp(max=last - 1).to(x.device)
    noise = torch.randn(x.shape, generator=generator).to(x.device)
    noisy = scheduler.add_noise(x, noise, times)
    target = scheduler.get_velocity(x, noise, times)
    return torch.nn.functional.mse_loss(unet(noisy, times).sample, target)


def warmed_cosine(step: int, steps: int, warm_up: int = 50) -> float:
    """Learning-rate factor: linear over the first ``warm_up`` steps, then half a cosine down to 0."""
    return min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * step / steps))


def train_diffusion(
    digits: Digits,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    channels: Sequence[int],
    ema: float,
    seed: int,
    device: str = "cpu",
    progress: bool = False,
) -> DDIMPipeline:
    """Train a diffusion model on the training digits.

    Adam without weight decay on the velocity loss, a warmed cosine learning rate, and an exponential moving
    average of the weights, which is what the pipeline holds. On one machine and at one number of threads the
    weights are a function of the arguments alone: all randomness comes from generators seeded here.

    Args:
        digits: the images; only the training set is used.
        steps: optimiser steps.
        batch_size: images a step, drawn with replacement.
        learning_rate: peak learning rate.
        channels: widths of the U-Net's levels, see ``build_unet``.
        ema: decay of the moving average per step.
        seed: seed of the initial weights, the batches, the times and the noise.
        device: where to train.
        progress: show a progress bar.

    Returns:
        A pipeline in evaluation mode, which ``save_pretrained(folder, safe_serialization=True)`` writes.

    Raises:
        ValueError: on less than one step, or channels that ``build_unet`` refuses.
        FloatingPointError: if the loss is no longer finite.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}, must be at least 1")
    with seeded(seed):
        unet = build_unet(channels).to(device)
    generator = torch.Generator().manual_seed(seed)
    scheduler = build_scheduler()
    averaged = AveragedModel(unet, multi_avg_fn=get_ema_multi_avg_fn(ema))
    optimiser = torch.optim.Adam(unet.parameters(), lr=learning_rate, betas=(0.9, 0.99))
    schedule = LambdaLR(optimiser, lambda step: warmed_cosine(step, steps))
    images = torch.from_numpy(digits.train.images).permute(0, 3, 1, 2).to(device) / 127.5 - 1
    descend(
        lambda rows: velocity_loss(unet, scheduler, images[rows.to(device)], generator),
        drawn(len(images), batch_size, generator), optimiser, schedule,
        steps=steps, label="diffusion", progress=progress, after=lambda: averaged.update_parameters(unet),
    )  # fmt: skip
    return DDIMPipeline(unet=averaged.module.eval(), scheduler=scheduler)
